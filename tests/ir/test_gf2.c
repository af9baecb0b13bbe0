// tests/ir/test_gf2.c - elimination over GF(2): solving, kernels, complements, bit scatter.
#include <criterion/criterion.h>

#include "base/random.h"
#include "ir/gf2.h"

static uint32_t below(Random *r, uint32_t n)
{
    return (uint32_t)(random_u64(r) % n);
}

Test(gf2, solve_finds_a_preimage_exactly_when_there_is_one)
{
    Random r = {7};
    for (int32_t round = 0; round < 400; round++) {
        uint32_t f[6], image[64] = {0};
        int32_t n = 1 + (int32_t)below(&r, 6);
        for (int32_t i = 0; i < n; i++)
            f[i] = below(&r, 64);
        for (uint32_t x = 0; x < 1u << n; x++)
            image[gf2_apply(f, x)] = 1;
        Gf2Basis b = gf2_basis(n, f);
        for (uint32_t y = 0; y < 64; y++) {
            uint32_t x;
            cr_assert_eq(gf2_solve(&b, y, &x), image[y] == 1, "round %d y %u", round, y);
            cr_assert_eq(gf2_in_span(&b, y), image[y] == 1);
            if (image[y]) cr_assert_eq(gf2_apply(f, x), y);
        }
        cr_assert_eq(b.rank + b.n_kernel, n);
        for (int32_t i = 0; i < b.n_kernel; i++)
            cr_assert(b.kernel[i] && gf2_apply(f, b.kernel[i]) == 0);
    }
}

Test(gf2, a_complement_and_a_span_meet_in_zero_and_fill_the_space)
{
    Random r = {8};
    for (int32_t round = 0; round < 400; round++) {
        uint32_t f[12];
        int32_t n = (int32_t)below(&r, 5);
        for (int32_t i = 0; i < n; i++)
            f[i] = below(&r, 64);
        int32_t rank = gf2_rank(n, f), more = gf2_complement(n, f, 6, f + n);
        cr_assert_eq(rank + more, 6);
        cr_assert_eq(gf2_rank(n + more, f), 6);
    }
}

Test(gf2, two_subspaces_of_one_dimension_have_a_common_complement)
{
    Random r = {9};
    for (int32_t round = 0; round < 1000; round++) {
        int32_t d = 1 + (int32_t)below(&r, 8), t = (int32_t)below(&r, (uint32_t)d + 1);
        uint32_t f[16], g[16], out[32], all[48];
        do
            for (int32_t i = 0; i < t; i++)
                f[i] = below(&r, 1u << d);
        while (gf2_rank(t, f) != t);
        do
            for (int32_t i = 0; i < t; i++)
                g[i] = below(&r, 1u << d);
        while (gf2_rank(t, g) != t);
        int32_t n = gf2_common_complement(t, f, g, d, out);
        cr_assert_eq(n, d - t, "d %d t %d", d, t);
        memcpy(all, out, sizeof out);
        memcpy(all + n, f, sizeof *f * (size_t)t);
        cr_assert_eq(gf2_rank(d, all), d);
        memcpy(all + n, g, sizeof *g * (size_t)t);
        cr_assert_eq(gf2_rank(d, all), d);
    }
}

Test(gf2, intersect_spans_exactly_the_common_vectors)
{
    Random r = {10};
    for (int32_t round = 0; round < 300; round++) {
        uint32_t f[4], g[4], out[32];
        for (int32_t i = 0; i < 4; i++)
            f[i] = below(&r, 64), g[i] = below(&r, 64);
        int32_t n = gf2_intersect(4, f, 4, g, out);
        Gf2Basis bf = gf2_basis(4, f), bg = gf2_basis(4, g), bo = gf2_basis(n, out);
        cr_assert_eq(bo.rank, n);
        for (uint32_t v = 0; v < 64; v++)
            cr_assert_eq(gf2_in_span(&bo, v), gf2_in_span(&bf, v) && gf2_in_span(&bg, v));
    }
}

Test(gf2, extract_undoes_deposit)
{
    for (uint32_t mask = 0; mask < 256; mask++)
        for (uint32_t x = 0; x < 1u << __builtin_popcount(mask); x++) {
            uint32_t y = gf2_deposit(x, mask);
            cr_assert_eq(y & ~mask, 0);
            cr_assert_eq(gf2_extract(y, mask), x);
        }
}
