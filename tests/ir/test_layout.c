// tests/ir/test_layout.c - the algebra of linear layouts, the layouts we ship, and their swizzles.
#include <criterion/criterion.h>

#include "base/random.h"
#include "ir/layout.h"
#include "ir/swizzle.h"

static Arena arena;
static void up(void)
{
    arena_init(&arena, heap_default());
}
static void down(void)
{
    arena_reset(&arena);
}
TestSuite(layout, .init = up, .fini = down, .timeout = 60);

static uint32_t below(Random *r, uint32_t n)
{
    return (uint32_t)(random_u64(r) % n);
}

static void expect_text(Layout l, const char *want)
{
    const char *got = layout_text(&arena, &l);
    cr_expect_str_eq(got, want, "got  %s\nwant %s", got, want);
}

/// Row and column of (reg, lane, warp) of a rank-2 layout.
static void expect_at(Layout l, uint32_t reg, uint32_t lane, uint32_t warp, uint32_t row,
                      uint32_t col)
{
    uint32_t at = layout_at(&l, reg, lane, warp), n = l.log_dim[1];
    cr_expect(at >> n == row && (at & ((1u << n) - 1)) == col,
              "%s: r %u lane %u warp %u is (%u, %u), not (%u, %u)", layout_text(&arena, &l), reg,
              lane, warp, at >> n, at & ((1u << n) - 1), row, col);
}

/// A random sub-permutation (D1, D2) of `bits` coordinate bits over `rank` dimensions.
static Layout random_layout(Random *r, int32_t rank, int32_t bits, int32_t warps)
{
    int32_t shape[4] = {1, 1, 1, 1};
    for (int32_t i = 0; i < bits; i++)
        shape[below(r, (uint32_t)rank)] *= 2;
    Layout l = layout_empty(rank, shape);
    uint32_t order[16];
    for (int32_t i = 0; i < bits; i++)
        order[i] = 1u << i;
    for (int32_t i = bits - 1; i > 0; i--) {
        uint32_t k = below(r, (uint32_t)i + 1), t = order[i];
        order[i] = order[k], order[k] = t;
    }
    int32_t next = 0;
    for (int32_t i = 0; i < 5; i++)
        layout_push(&l, IN_LANE, next < bits && below(r, 4) ? order[next++] : 0);
    for (int32_t i = 0; i < warps; i++)
        layout_push(&l, IN_WARP, next < bits && below(r, 4) ? order[next++] : 0);
    while (next < bits)
        layout_push(&l, IN_REG, order[next++]);
    return l;
}

Test(layout, fragments_hold_what_the_ptx_tables_say)
{
    expect_at(layout_mma_acc(16, 8, 1, 1), 3, 13, 0, 11, 3);
    expect_at(layout_mma_operand(false, 16, 16, 16, 1, 1), 6, 13, 0, 11, 10);
    expect_at(layout_mma_operand(false, 16, 32, 8, 1, 1), 11, 13, 0, 3, 23);
    expect_at(layout_mma_operand(false, 16, 8, 32, 1, 1), 2, 13, 0, 3, 5);
    expect_at(layout_mma_operand(true, 8, 16, 16, 1, 1), 3, 13, 0, 11, 3);
    expect_at(layout_mma_operand(true, 8, 32, 8, 1, 1), 6, 13, 0, 22, 3);
    expect_at(layout_mma_operand(true, 8, 8, 32, 1, 1), 1, 13, 0, 5, 3);
    expect_at(layout_wgmma_acc(64, 128, 2), 37, 22, 2, 37, 77);
    expect_at(layout_mma_acc(64, 64, 4, 1), 21, 13, 2, 35, 43);
    expect_text(layout_mma_acc(64, 64, 4, 1),
                "#l<64x64>{reg 1 512 8 16 32; lane 2 4 64 128 256; warp 1024 2048}");
}

Test(layout, the_accumulator_is_the_operand_of_a_chained_16_bit_dot)
{
    Layout acc = layout_mma_acc(64, 64, 4, 1), op = layout_mma_operand(false, 64, 64, 16, 4, 1);
    cr_expect(layout_equal(&acc, &op));
}

Test(layout, mma_accumulators_follow_the_formula_of_the_instruction)
{
    for (int32_t wm = 1; wm <= 4; wm *= 2)
        for (int32_t wn = 1; wn <= 4; wn *= 2) {
            Layout l = layout_mma_acc(64, 32, wm, wn);
            cr_assert_null(layout_check(&l), "%s", layout_check(&l));
            for (uint32_t lane = 0; lane < 32; lane++)
                for (uint32_t r = 0; r < 4; r++)
                    expect_at(l, r, lane, 0, lane / 4 + 8 * (r / 2), lane % 4 * 2 + r % 2);
        }
}

Test(layout, shared_layouts_follow_their_formulas)
{
    Layout s = layout_hw_swizzled(64, 64, 2, 128);
    expect_text(s, "#s<64x64>{1 2 4 8 16 32 72 144 288 512 1024 2048}");
    cr_expect_eq(layout_apply(&s, 72), 1 * 64 + 0);
    cr_expect_eq(layout_apply(&s, 1000), 15 * 64 + 16);
    cr_expect_eq(layout_apply(&s, 4095), 63 * 64 + 7);
    Layout inv = layout_invert(&s);
    cr_expect_eq(2 * layout_apply(&inv, 5 * 64 + 19), 758);
    cr_expect_eq(2 * layout_apply(&inv, 9 * 64 + 8), 1152);
    Layout s64 = layout_hw_swizzled(32, 64, 2, 64), i64 = layout_invert(&s64);
    expect_text(s64, "#s<32x64>{1 2 4 8 16 64 136 272 512 1024 32}");
    cr_expect_eq(2 * layout_apply(&i64, 5 * 64 + 40), 2416);
    Layout s32 = layout_hw_swizzled(16, 16, 2, 32), i32 = layout_invert(&s32);
    expect_text(s32, "#s<16x16>{1 2 4 8 16 32 72 128}");
    cr_expect_eq(2 * layout_apply(&i32, 13 * 16 + 9), 418);
    Layout soft = layout_swizzled(2, (int32_t[2]){16, 64}, 8, 1, 8);
    for (uint32_t r = 0; r < 16; r++)
        for (uint32_t c = 0; c < 64; c++)
            cr_assert_eq(layout_apply(&soft, r * 64 + (c ^ (8 * (r % 8)))), r * 64 + c);
}

Test(layout, squeezing_the_reduced_axis_leaves_free_lanes)
{
    Layout acc = layout_mma_acc(64, 64, 4, 1), row = layout_squeeze(&acc, 1);
    expect_text(row, "#l<64>{reg 8; lane 0 0 1 2 4; warp 16 32}");
    cr_expect_eq(layout_free(&row, IN_LANE), 3);
    cr_expect_eq(layout_free(&row, IN_WARP), 0);
}

Test(layout, blocked_equals_its_definition_by_division)
{
    Random r = {3};
    for (int32_t round = 0; round < 300; round++) {
        int32_t rank = 1 + (int32_t)below(&r, 3), shape[3], spt[3], tpw[3], wpc[3],
                order[3] = {0, 1, 2};
        for (int32_t d = 0; d < rank; d++)
            shape[d] = 1 << below(&r, 6), spt[d] = 1 << below(&r, 3), tpw[d] = wpc[d] = 1;
        for (int32_t i = 0; i < 5; i++)
            tpw[below(&r, (uint32_t)rank)] *= 2;
        for (int32_t i = 0; i < 2; i++)
            wpc[below(&r, (uint32_t)rank)] *= 2;
        for (int32_t d = rank - 1; d > 0; d--) {
            int32_t k = (int32_t)below(&r, (uint32_t)d + 1), t = order[d];
            order[d] = order[k], order[k] = t;
        }
        Layout l = layout_blocked(rank, shape, spt, tpw, wpc, order);
        cr_assert_null(layout_check(&l), "%s: %s", layout_check(&l), layout_text(&arena, &l));
        for (uint32_t t = 0; t < 128; t++) {
            uint32_t lane = t % 32, warp = t / 32, want = 0;
            int32_t in_lane[3], in_warp[3];
            for (int32_t o = 0; o < rank; o++) {
                int32_t d = order[o];
                in_lane[d] = (int32_t)lane % tpw[d], lane /= (uint32_t)tpw[d];
                in_warp[d] = (int32_t)warp % wpc[d], warp /= (uint32_t)wpc[d];
            }
            for (int32_t d = 0; d < rank;
                 d++) // register 0 sits at the corner of the thread's block
                want = want * (uint32_t)shape[d] +
                       (uint32_t)((in_lane[d] * spt[d] + in_warp[d] * spt[d] * tpw[d]) % shape[d]);
            cr_assert_eq(layout_at(&l, 0, t % 32, t / 32), want, "%s thread %u",
                         layout_text(&arena, &l), t);
        }
    }
}

Test(layout, laws_of_composition_and_inverses_hold)
{
    Random r = {4};
    for (int32_t round = 0; round < 500; round++) {
        Layout l = random_layout(&r, 2, 4 + (int32_t)below(&r, 6), 2);
        cr_assert_null(layout_check(&l));
        uint32_t n = 1u << l.n_all, x = below(&r, n), y = below(&r, n);
        cr_assert_eq(layout_apply(&l, x ^ y), layout_apply(&l, x) ^ layout_apply(&l, y));
        Layout right = layout_right_inverse(&l);
        for (uint32_t c = 0; c < 1u << layout_bits(&l); c++)
            cr_assert_eq(layout_apply(&l, layout_apply(&right, c)), c);
        Layout back = layout_left_inverse(&right), same = layout_compose(&back, &right);
        for (int32_t i = 0; i < same.n_all; i++)
            cr_assert_eq(same.col[i], 1u << i);
        int32_t zeros = __builtin_popcount(layout_free(&l, IN_LANE)) +
                        __builtin_popcount(layout_free(&l, IN_WARP));
        cr_assert_eq(gf2_rank(l.n_all, l.col) + zeros, l.n_all);
    }
}

Test(layout, dividing_a_product_gives_the_other_factor)
{
    Random r = {5};
    for (int32_t round = 0; round < 500; round++) {
        Layout b = random_layout(&r, 2, 3, 0), c = random_layout(&r, 2, 4, 1), got;
        Layout p = layout_product(&b, &c);
        cr_assert(layout_divide(&p, &b, &got));
        cr_assert(layout_equal(&got, &c));
        Layout other = p;
        other.col[below(&r, other.n_all)] ^= 1u << below(&r, (uint32_t)layout_bits(&p));
        if (layout_divide(&other, &b, &got)) cr_assert_not(layout_equal(&got, &c));
    }
}

Test(layout, shape_operations_undo_each_other)
{
    Random r = {6};
    for (int32_t round = 0; round < 300; round++) {
        Layout l = random_layout(&r, 3, 6, 1);
        int32_t perm[3] = {2, 0, 1}, back[3] = {1, 2, 0}, d = (int32_t)below(&r, 4);
        Layout t = layout_trans(&l, perm), same = layout_trans(&t, back);
        cr_assert(layout_equal(&same, &l));
        Layout un = layout_unsqueeze(&l, d), sq = layout_squeeze(&un, d);
        cr_assert(layout_equal(&sq, &l));
        Layout j = layout_join(&l), s;
        cr_assert(layout_split(&j, &s) && layout_equal(&s, &l));
        for (int32_t i = 0; i < 3; i++) {
            Layout q = layout_squeeze(&l, i);
            cr_assert_null(layout_check(&q), "%s", layout_check(&q));
        }
    }
}

Test(layout, text_reads_back_as_the_same_layout)
{
    Random r = {11};
    for (int32_t round = 0; round < 300; round++) {
        Layout l = random_layout(&r, 1 + (int32_t)below(&r, 3), 7, 2), back;
        cr_assert(layout_parse(str_of(layout_text(&arena, &l)), &back));
        cr_assert(layout_equal(&l, &back));
    }
    Layout s = layout_hw_swizzled(16, 16, 2, 32), back;
    cr_expect(layout_parse(str_of(layout_text(&arena, &s)), &back) && layout_equal(&s, &back));
    static const char *const bad[] = {
        "", "#l<", "#l<3>{reg 1}", "#l<4>{reg 4}", "#s<4>{1}", "#l<4>{reg 1 2} x"};
    for (int32_t i = 0; i < COUNT_OF(bad); i++)
        cr_expect_not(layout_parse(str_of(bad[i]), &back), "%s", bad[i]);
}

Test(layout, a_swizzle_serves_writers_and_readers_without_bank_conflicts)
{
    Random r = {12};
    for (int32_t round = 0; round < 400; round++) {
        int32_t bytes = 1 << below(&r, 4);
        Layout s = random_layout(&r, 2, 9 + (int32_t)below(&r, 3), 2), d = s;
        do {
            Layout other = random_layout(&r, 2, layout_bits(&s), 2);
            memcpy(d.col, other.col, sizeof d.col);
            memcpy(d.n_col, other.n_col, sizeof d.n_col);
            d.n_all = other.n_all;
        } while (layout_check(&d));
        Swizzle z = swizzle_build(&s, &d, bytes);
        cr_assert_null(layout_check(&z.mem), "%s", layout_check(&z.mem));
        Layout inv = layout_invert(&z.mem);
        for (int32_t i = 0; i < z.dst_vec; i++) // a vector is contiguous and aligned
            for (int32_t k = 0; k < d.n_all; k++)
                if (layout_apply(&inv, d.col[k]) & 1u << i)
                    cr_assert_eq(layout_apply(&inv, d.col[k]), 1u << i);
        int32_t cs = swizzle_conflicts(&z.mem, &s, z.src_vec, bytes),
                cd = swizzle_conflicts(&z.mem, &d, z.dst_vec, bytes);
        bool fits = z.src_vec == z.vec && z.dst_vec == z.vec && bytes << z.vec >= 4;
        if (fits)
            cr_expect(cs == 1 && cd == 1, "round %d bytes %d: %d %d ways\n%s\n%s\n%s", round, bytes,
                      cs, cd, layout_text(&arena, &s), layout_text(&arena, &d),
                      layout_text(&arena, &z.mem));
    }
}

Test(layout, the_worked_transpose_is_free_of_conflicts)
{
    Layout s, d;
    cr_assert(layout_parse(STR("#l<32x32>{reg 1 2 512; lane 4 8 16 32 64; warp 128 256}"), &s));
    cr_assert(layout_parse(STR("#l<32x32>{reg 32 64 16; lane 128 256 512 1 2; warp 4 8}"), &d));
    Swizzle z = swizzle_build(&s, &d, 4);
    cr_expect_eq(z.src_vec, 2);
    cr_expect_eq(z.dst_vec, 0);
    cr_expect_eq(swizzle_conflicts(&z.mem, &s, z.src_vec, 4), 1);
    cr_expect_eq(swizzle_conflicts(&z.mem, &d, z.dst_vec, 4), 1);
}

Test(layout, the_conflict_count_sees_an_unswizzled_column)
{
    Layout mem = layout_row_major(2, (int32_t[2]){32, 32}), column;
    cr_assert(layout_parse(STR("#l<32x32>{reg 1 2 4 8 16; lane 32 64 128 256 512}"), &column));
    cr_expect_eq(swizzle_conflicts(&mem, &column, 0, 4), 32);
}

Test(layout, drawings_name_every_owner)
{
    StrBuf b = {0};
    Layout l = layout_default(2, (int32_t[2]){4, 8}, 0, 1);
    layout_draw(&l, &b);
    cr_expect_not_null(strstr(b.data, "t31:r0"));
    strbuf_free(&b);
    StrBuf svg = {0};
    layout_draw_svg(&l, &svg);
    cr_expect_not_null(strstr(svg.data, "<svg"));
    cr_expect_not_null(strstr(svg.data, "t31:r0"));
    strbuf_free(&svg);
}
