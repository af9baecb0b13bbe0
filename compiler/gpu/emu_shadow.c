// compiler/gpu/emu_shadow.c - see emu_shadow.h: pages by address, cells that split on demand.
#include "compiler/gpu/emu_shadow.h"

#include "base/heap.h"

void shadow_init(Shadow *s, size_t limit)
{
    *s = (Shadow){.limit = limit};
}

void shadow_reset(Shadow *s)
{
    for (int32_t i = 0; i < s->cap; i++) {
        if (!s->table[i]) continue;
        heap_free(heap_default(), s->table[i]->cells);
        heap_free(heap_default(), s->table[i]);
    }
    heap_free(heap_default(), s->table);
    shadow_init(s, s->limit);
}

static int32_t slot_of(const Shadow *s, uint64_t number)
{
    int32_t at = (int32_t)(number * 0x9e3779b97f4a7c15u >> 40) & (s->cap - 1);
    while (s->table[at] && s->table[at]->number != number)
        at = (at + 1) & (s->cap - 1);
    return at;
}

static bool grow(Shadow *s)
{
    Shadow bigger = {.cap = s->cap ? s->cap * 2 : 256};
    bigger.table = heap_array(heap_default(), ShadowPage *, bigger.cap);
    if (!bigger.table) return false;
    for (int32_t i = 0; i < s->cap; i++)
        if (s->table[i]) bigger.table[slot_of(&bigger, s->table[i]->number)] = s->table[i];
    heap_free(heap_default(), s->table);
    s->table = bigger.table, s->cap = bigger.cap;
    return true;
}

static ShadowCell *cells_new(Shadow *s, int32_t shift)
{
    size_t n = (size_t)SHADOW_PAGE >> shift, bytes = n * sizeof(ShadowCell);
    if (s->bytes + bytes > s->limit) return NULL;
    ShadowCell *cells = heap_array(heap_default(), ShadowCell, n);
    if (cells) s->bytes += bytes;
    return cells;
}

static ShadowPage *page_new(Shadow *s, uint64_t number, int32_t shift)
{
    if (2 * (s->n_pages + 1) > s->cap && !grow(s)) return NULL;
    ShadowPage *p = heap_new(heap_default(), ShadowPage);
    ShadowCell *cells = p ? cells_new(s, shift) : NULL;
    if (!cells) {
        heap_free(heap_default(), p);
        return NULL;
    }
    *p = (ShadowPage){.number = number, .shift = shift, .cells = cells};
    s->table[slot_of(s, number)] = p;
    s->n_pages++;
    return p;
}

/// Makes the cells of a page narrower: each becomes several that remember the same.
static bool split(Shadow *s, ShadowPage *p, int32_t shift)
{
    ShadowCell *cells = cells_new(s, shift);
    if (!cells) return false;
    for (int32_t i = 0; i < SHADOW_PAGE >> shift; i++)
        cells[i] = p->cells[i >> (p->shift - shift)];
    s->bytes -= ((size_t)SHADOW_PAGE >> p->shift) * sizeof(ShadowCell);
    heap_free(heap_default(), p->cells);
    p->cells = cells, p->shift = shift;
    return true;
}

static ShadowPage *page_at(Shadow *s, uint64_t number, int32_t shift)
{
    ShadowPage **near = &s->near[number % SHADOW_NEAR];
    if (*near && (*near)->number == number) return *near;
    ShadowPage *p = s->cap ? s->table[slot_of(s, number)] : NULL;
    if (!p) p = page_new(s, number, shift);
    if (p) *near = p;
    return p;
}

ShadowCell *shadow_cells(Shadow *s, uint64_t at, int32_t bytes, int32_t *n)
{
    int32_t shift = log2_floor((uint64_t)bytes);
    ShadowPage *p = page_at(s, at >> SHADOW_PAGE_SHIFT, shift);
    if (!p || (p->shift > shift && !split(s, p, shift))) {
        s->n_unwatched++;
        return NULL;
    }
    *n = bytes >> p->shift;
    return p->cells + ((at & (SHADOW_PAGE - 1)) >> p->shift);
}
