// tests/runtime/test_plan.c - buffers that live at the same time never share a byte.
#include <criterion/criterion.h>

#include "base/random.h"
#include "runtime/plan.h"

static bool is_used(const PlanItem *p)
{
    return p->first <= p->last && p->bytes > 0;
}

static bool collide(const PlanItem *a, const PlanItem *b)
{
    bool in_time = a->first <= b->last && b->first <= a->last;
    bool in_space = a->offset < b->offset + b->bytes && b->offset < a->offset + a->bytes;
    return is_used(a) && is_used(b) && in_time && in_space;
}

/// Bytes that live at one time: no plan can do with less.
static size_t least_bytes(const PlanItem *items, int32_t n)
{
    size_t most = 0;
    for (int32_t t = 0; t < 64; t++) {
        size_t sum = 0;
        for (int32_t i = 0; i < n; i++)
            if (is_used(&items[i]) && items[i].first <= t && t <= items[i].last)
                sum += items[i].bytes;
        most = MAX(most, sum);
    }
    return most;
}

Test(plan, keeps_buffers_that_live_together_apart)
{
    Arena a;
    arena_init(&a, heap_default());
    PlanItem items[60];
    double waste = 0;
    for (int32_t seed = 0; seed < 500; seed++) {
        Random r = {(uint64_t)seed};
        int32_t n = (int32_t)random_below(&r, COUNT_OF(items) + 1);
        for (int32_t i = 0; i < n; i++) {
            int32_t first = (int32_t)random_below(&r, 40);
            items[i] = (PlanItem){(size_t)random_below(&r, 5000), first,
                                  first + (int32_t)random_below(&r, 9) - 1, 7};
        }
        size_t total = plan_offsets(&a, n, items, 64);
        for (int32_t i = 0; i < n; i++) {
            cr_assert_eq(items[i].offset % 64, 0);
            cr_assert(!is_used(&items[i]) || items[i].offset + items[i].bytes <= total,
                      "seed %d item %d ends behind the arena", seed, i);
            for (int32_t j = 0; j < i; j++)
                cr_assert(!collide(&items[i], &items[j]), "seed %d: items %d and %d", seed, i, j);
        }
        size_t least = least_bytes(items, n);
        cr_assert_geq(total, least);
        if (least) waste += (double)total / (double)least - 1;
    }
    cr_expect_lt(waste / 500, 0.10, "on average %.1f %% above the lower bound", waste / 5);
    arena_reset(&a);
}

Test(plan, gives_a_chain_the_room_of_two_links)
{
    Arena a;
    arena_init(&a, heap_default());
    PlanItem items[20];
    for (int32_t i = 0; i < 20; i++)
        items[i] = (PlanItem){1024, i, i + 1, 0};
    cr_expect_eq(plan_offsets(&a, 20, items, 64), 2048);
    arena_reset(&a);
}

Test(plan, gives_unused_buffers_nothing)
{
    Arena a;
    arena_init(&a, heap_default());
    PlanItem items[2] = {{1024, 1, 0, 0}, {100, 3, 3, 0}};
    cr_expect_eq(plan_offsets(&a, 2, items, 64), 128);
    cr_expect_eq(plan_offsets(&a, 0, items, 64), 0);
    arena_reset(&a);
}
