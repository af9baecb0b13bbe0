#include "runtime/plan.h"

#include <stdlib.h>

typedef struct Placed {
    const PlanItem *item;
    int32_t index;
} Placed;

/// Largest first; ties in the order given, so that the plan is the same every time.
static int by_size(const void *a, const void *b)
{
    const Placed *x = a, *y = b;
    if (x->item->bytes != y->item->bytes) return x->item->bytes > y->item->bytes ? -1 : 1;
    return x->index - y->index;
}

static bool lives_beside(const PlanItem *a, const PlanItem *b)
{
    return a->first <= b->last && b->first <= a->last;
}

/// The start of the smallest hole that takes `item` between the placed items it lives beside, or the end of them.
static size_t best_hole(const Placed *placed, int32_t n, const PlanItem *item)
{
    size_t top = 0, best = SIZE_MAX, best_size = SIZE_MAX;
    for (int32_t i = 0; i < n; i++) {
        const PlanItem *it = placed[i].item;
        if (!lives_beside(it, item)) continue;
        if (it->offset > top && it->offset - top >= item->bytes && it->offset - top < best_size) {
            best = top;
            best_size = it->offset - top;
        }
        top = MAX(top, it->offset + it->bytes);
    }
    return best == SIZE_MAX ? top : best;
}

size_t plan_offsets(Arena *scratch, int32_t n, PlanItem *items, size_t align)
{
    ArenaMark before = arena_mark(scratch);
    Placed *order = arena_array(scratch, Placed, MAX(n, 1));
    Placed *placed = arena_array(scratch, Placed, MAX(n, 1)); // by offset
    size_t total = 0;
    int32_t n_used = 0;
    for (int32_t i = 0; i < n; i++) {
        items[i].bytes = (size_t)round_up((int64_t)items[i].bytes, (int64_t)align);
        items[i].offset = 0;
        if (items[i].first <= items[i].last) order[n_used++] = (Placed){&items[i], i};
    }
    qsort(order, (size_t)n_used, sizeof *order, by_size);
    for (int32_t i = 0; i < n_used; i++) {
        PlanItem *item = &items[order[i].index];
        item->offset = best_hole(placed, i, item);
        total = MAX(total, item->offset + item->bytes);
        int32_t at = i;
        for (; at > 0 && placed[at - 1].item->offset > item->offset; at--)
            placed[at] = placed[at - 1];
        placed[at] = order[i];
    }
    arena_release(scratch, before);
    return total;
}
