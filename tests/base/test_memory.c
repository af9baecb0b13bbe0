// tests/base/test_memory.c - arenas, heaps, vectors and maps.
#include <criterion/criterion.h>

#include "base/arena.h"
#include "base/bits.h"
#include "base/map.h"
#include "base/random.h"
#include "base/vec.h"

Test(arena, memory_is_aligned_and_zero_even_after_a_release)
{
    Heap heap;
    heap_init(&heap);
    Arena a;
    arena_init(&a, &heap);
    for (int round = 0; round < 3; round++) {
        ArenaMark mark = arena_mark(&a);
        for (size_t align = 1; align <= 64; align *= 2)
            for (size_t size = 0; size < 3000; size += 311) {
                unsigned char *p = arena_alloc(&a, size, align);
                cr_assert_eq((uintptr_t)p % align, 0);
                for (size_t i = 0; i < size; i++)
                    cr_assert_eq(p[i], 0);
                memset(p, 0xAB, size);
            }
        arena_release(&a, mark);
        cr_expect_eq(a.used_bytes, 0);
    }
    arena_reset(&a);
    cr_expect_eq(heap.n_live, 0, "an arena gives every chunk back");
}

Test(arena, a_failing_heap_jumps_to_the_escape)
{
    Heap heap;
    heap_init(&heap);
    heap.fail_at = 2;
    Arena a;
    arena_init(&a, &heap);
    jmp_buf escape;
    volatile int jumped = 0;
    if (setjmp(escape))
        jumped = 1;
    else {
        a.escape = &escape;
        for (int i = 0; i < 100; i++)
            arena_alloc(&a, 10000, 8);
    }
    arena_reset(&a);
    cr_expect(jumped);
    cr_expect_eq(heap.n_live, 0);
}

Test(heap, overflowing_counts_give_null)
{
    Heap heap;
    heap_init(&heap);
    cr_expect_null(heap_alloc_array(&heap, SIZE_MAX / 2, 3, 8));
    cr_expect_null(heap_alloc(&heap, SIZE_MAX - 3, 8));
    cr_expect_eq(heap.n_live, 0);
}

Test(vec, pushes_keep_order_across_growth)
{
    Arena a;
    arena_init(&a, heap_default());
    VEC(int64_t) v = {0};
    for (int64_t i = 0; i < 1000; i++)
        vec_push(&a, &v, i * i);
    int64_t i = 0;
    VEC_EACH(int64_t, it, &v) {
        cr_assert_eq(*it, i * i, "%ld", (long)i);
        i++;
    }
    cr_expect_eq(i, 1000);
    arena_reset(&a);
}

Test(map, agrees_with_a_linear_scan_and_keeps_insertion_order)
{
    Arena a;
    arena_init(&a, heap_default());
    Map m = {0};
    Random r = {42};
    static int64_t values[4000];
    int32_t first_seen[512], n_seen = 0;
    for (int32_t i = 0; i < COUNT_OF(values); i++) {
        int32_t key = (int32_t)random_below(&r, 512);
        const char *text = arena_printf(&a, "key%d", key);
        if (map_find(&m, str_of(text)) < 0) first_seen[n_seen++] = key;
        values[key] = i;
        map_put(&a, &m, str_of(text), &values[key]);
    }
    cr_assert_eq(m.len, n_seen);
    for (int32_t i = 0; i < n_seen; i++) {
        cr_expect(str_is(m.entries[i].key, arena_printf(&a, "key%d", first_seen[i])));
        cr_expect_eq(map_get(&m, m.entries[i].key), &values[first_seen[i]]);
    }
    cr_expect_null(map_get(&m, STR("absent")));
    arena_reset(&a);
}

Test(bits, set_and_clear_touch_one_bit)
{
    Arena a;
    arena_init(&a, heap_default());
    Bits b = bits_new(&a, 200);
    for (int32_t i = 0; i < 200; i++) {
        bits_set(&b, i);
        for (int32_t k = 0; k < 200; k++)
            cr_assert_eq(bits_has(&b, k), k == i);
        bits_clear(&b, i);
    }
    arena_reset(&a);
}
