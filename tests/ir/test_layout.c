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

/// M x N x K of one batch, warps wm x wn.
static MmaTile mma_tile(int32_t m, int32_t n, int32_t k, int32_t wm, int32_t wn)
{
    MmaTile t = {.m = log2_floor((uint64_t)m),
                 .n = log2_floor((uint64_t)n),
                 .k = log2_floor((uint64_t)k),
                 .warps_row = log2_floor((uint64_t)wm),
                 .warps_col = log2_floor((uint64_t)wn)};
    layout_mma_k_runs(&t, 0, 0);
    return t;
}

/// Without the batch of one.
static Layout flat(Layout l)
{
    return layout_reshape(&l, 2, (int32_t[2]){1 << l.log_dim[1], 1 << l.log_dim[2]});
}

static Layout acc_of(int32_t m, int32_t n, int32_t wm, int32_t wn)
{
    MmaTile t = mma_tile(m, n, 16, wm, wn);
    return flat(layout_mma_acc(&t));
}

/// Operand A [mn, k] or B [k, mn] of elements of `bits` bits.
static Layout operand_of(bool b, int32_t mn, int32_t k, int32_t bits, int32_t wm, int32_t wn)
{
    MmaTile t = mma_tile(b ? 16 : mn, b ? mn : 8, k, wm, wn);
    layout_mma_k_runs(&t, log2_floor(32 / (uint64_t)bits), log2_floor(32 / (uint64_t)bits));
    return flat(layout_mma_operand(&t, b, log2_floor(32 / (uint64_t)bits)));
}

Test(layout, fragments_hold_what_the_vectors_of_the_specification_say)
{
    expect_at(acc_of(16, 8, 1, 1), 3, 13, 0, 11, 3);
    expect_at(operand_of(false, 16, 16, 16, 1, 1), 6, 13, 0, 11, 10);
    expect_at(operand_of(false, 16, 32, 8, 1, 1), 11, 13, 0, 3, 23);
    expect_at(operand_of(false, 16, 8, 32, 1, 1), 2, 13, 0, 3, 5);
    expect_at(operand_of(true, 8, 16, 16, 1, 1), 3, 13, 0, 11, 3);
    expect_at(operand_of(true, 8, 32, 8, 1, 1), 6, 13, 0, 22, 3);
    expect_at(operand_of(true, 8, 8, 32, 1, 1), 1, 13, 0, 5, 3);
    expect_at(layout_wgmma_acc(64, 128, 2), 37, 22, 2, 37, 77);
    expect_at(acc_of(64, 64, 4, 1), 21, 13, 2, 35, 43);
    expect_text(acc_of(64, 64, 4, 1),
                "#l<64x64>{reg 1 512 8 16 32; lane 2 4 64 128 256; warp 1024 2048}");
    expect_text(operand_of(false, 64, 64, 16, 4, 1),
                "#l<64x64>{reg 1 512 8 16 32; lane 2 4 64 128 256; warp 1024 2048}");
}

/// Row and k (or k and column) of element i of word w of a lane, as the PTX ISA's tables of
/// fragments say for mma.m16n8 with words of `per` elements.
static void ptx_operand(bool b, int32_t per, int32_t w, int32_t i, int32_t lane, int32_t *mn,
                        int32_t *k)
{
    int32_t group = lane >> 2, in_group = lane % 4;
    *mn = b ? group : group + 8 * (w & 1);
    *k = in_group * per + i + 4 * per * (b ? w : w >> 1);
}

Test(layout, every_element_of_every_operand_is_where_the_ptx_isa_puts_it)
{
    for (int32_t log_word = 0; log_word <= 3; log_word++)
        for (int32_t b = 0; b < 2; b++) {
            int32_t per = 1 << log_word, k_len = 8 * per, n_words = b ? 2 : 4;
            Layout l = operand_of(b, b ? 8 : 16, k_len, 32 >> log_word, 1, 1);
            cr_assert_null(layout_check(&l), "%s", layout_check(&l));
            cr_assert_eq(layout_regs(&l), n_words * per);
            for (int32_t lane = 0; lane < 32; lane++)
                for (int32_t w = 0; w < n_words; w++)
                    for (int32_t i = 0; i < per; i++) {
                        int32_t mn, k;
                        ptx_operand(b, per, w, i, lane, &mn, &k);
                        expect_at(l, (uint32_t)(w * per + i), (uint32_t)lane, 0,
                                  (uint32_t)(b ? k : mn), (uint32_t)(b ? mn : k));
                    }
        }
}

Test(layout, half_as_long_operands_are_the_first_registers_of_the_whole_ones)
{
    for (int32_t log_word = 0; log_word <= 2; log_word++)
        for (int32_t b = 0; b < 2; b++) {
            int32_t k = 8 << log_word, mn = b ? 8 : 16;
            Layout whole = operand_of(b, mn, k, 32 >> log_word, 1, 1),
                   half = operand_of(b, mn, k / 2, 32 >> log_word, 1, 1);
            cr_assert_eq(2 * layout_regs(&half), layout_regs(&whole));
            for (uint32_t lane = 0; lane < 32; lane++)
                for (uint32_t r = 0; r < (uint32_t)layout_regs(&half); r++) {
                    uint32_t at = layout_at(&whole, r, lane, 0);
                    if (b)
                        expect_at(half, r, lane, 0, at / 8, at % 8);
                    else
                        expect_at(half, r, lane, 0, at / (uint32_t)k, at % (uint32_t)k);
                }
        }
}

Test(layout, the_accumulator_is_the_operand_of_a_chained_dot)
{
    // 16 bits: the same layout. 8 bits and tf32: the same but for the order of registers, with k in
    // another order for both operands.
    Layout acc = acc_of(64, 64, 4, 1);
    for (int32_t log_word = 0; log_word <= 2; log_word++) {
        MmaTile t = mma_tile(64, 32, 64, 4, 1);
        layout_mma_k_chained(&t, log_word);
        Layout a = flat(layout_mma_operand(&t, false, log_word)),
               b = flat(layout_mma_operand(&t, true, log_word));
        cr_assert_null(layout_check(&a));
        cr_assert_null(layout_check(&b));
        cr_expect(layout_equal_up_to_regs(&a, &acc), "%s", layout_text(&arena, &a));
        cr_expect_eq(layout_equal(&a, &acc), log_word == 1);
        if (log_word != 1) continue;
        Layout standard = operand_of(false, 64, 64, 16, 4, 1);
        cr_expect(layout_equal(&a, &standard));
    }
    MmaTile bytes = mma_tile(64, 32, 64, 4, 1);
    layout_mma_k_chained(&bytes, 2);
    static const int8_t pi[] = {0, 3, 1, 2, 4, 5};
    cr_expect(!memcmp(bytes.k_slot, pi, sizeof pi));
}

/// Both operands of one dot: lane by lane and word by word the same k.
Test(layout, both_operands_of_a_dot_have_k_in_the_same_order)
{
    for (int32_t log_word = 0; log_word <= 2; log_word++)
        for (int32_t log_run = log_word; log_run <= 4; log_run++) {
            MmaTile t = mma_tile(16, 8, 64, 1, 1);
            layout_mma_k_runs(&t, log_word, log_run);
            Layout a = flat(layout_mma_operand(&t, false, log_word)),
                   b = flat(layout_mma_operand(&t, true, log_word));
            cr_assert_null(layout_check(&a));
            cr_assert_null(layout_check(&b));
            for (uint32_t lane = 0; lane < 4; lane++)
                for (uint32_t r = 0; r < (uint32_t)layout_regs(&b); r++) {
                    uint32_t low = r & ((1u << log_word) - 1),
                             high = r >> log_word << (log_word + 1);
                    cr_assert_eq(layout_at(&b, r, lane, 0) / 8, layout_at(&a, low | high, lane, 0));
                }
            uint32_t seen = 0; // a lane has 2^log_run neighbours along k
            for (uint32_t r = 0; r < (uint32_t)layout_regs(&b); r++)
                if (layout_at(&b, r, 0, 0) / 8 < 1u << log_run) seen++;
            cr_expect_eq(seen, 1u << log_run);
        }
}

Test(layout, mma_accumulators_follow_the_formula_of_the_instruction)
{
    for (int32_t swap = 0; swap < 2; swap++)
        for (int32_t wm = 1; wm <= 4; wm *= 2)
            for (int32_t wn = 1; wn <= 4; wn *= 2) {
                MmaTile t = mma_tile(64, 64, 16, wm, wn);
                t.swap = swap;
                Layout l = flat(layout_mma_acc(&t));
                cr_assert_null(layout_check(&l), "%s", layout_check(&l));
                for (uint32_t lane = 0; lane < 32; lane++)
                    for (uint32_t r = 0; r < 4; r++) {
                        uint32_t row = lane / 4 + 8 * (r / 2), col = lane % 4 * 2 + r % 2;
                        expect_at(l, r, lane, 0, swap ? col : row, swap ? row : col);
                    }
            }
}

Test(layout, small_and_batched_tiles_have_every_element_once_per_owner)
{
    Random r = {31};
    for (int32_t round = 0; round < 500; round++) {
        int32_t log_word = (int32_t)below(&r, 3);
        MmaTile t = {.batch = (int32_t)below(&r, 3),
                     .m = (int32_t)below(&r, 8),
                     .n = (int32_t)below(&r, 8),
                     .k = log_word + 2 + (int32_t)below(&r, 4),
                     .warps_batch = (int32_t)below(&r, 3),
                     .warps_row = (int32_t)below(&r, 3),
                     .warps_col = (int32_t)below(&r, 3),
                     .swap = below(&r, 2)};
        layout_mma_k_runs(&t, log_word, log_word);
        Layout all[3] = {layout_mma_acc(&t), layout_mma_operand(&t, false, log_word),
                         layout_mma_operand(&t, true, log_word)};
        int32_t warps = t.warps_batch + t.warps_row + t.warps_col;
        for (int32_t i = 0; i < 3; i++) {
            cr_assert_null(layout_check(&all[i]), "%s: %s", layout_check(&all[i]),
                           layout_text(&arena, &all[i]));
            cr_assert_eq(all[i].n_col[IN_WARP], warps);
        }
        // A warp's operands are those of its part of the accumulator.
        for (uint32_t w = 0; w < 1u << warps; w++) {
            uint32_t c = layout_at(&all[0], 0, 0, w), a = layout_at(&all[1], 0, 0, w),
                     b = layout_at(&all[2], 0, 0, w);
            cr_assert_eq(c >> t.n, a >> t.k);
            cr_assert_eq(c & ((1u << t.n) - 1), b & ((1u << t.n) - 1));
            cr_assert_eq(c >> (t.n + t.m), b >> (t.n + t.k));
        }
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
    static const struct {
        int32_t cols, vec, pp, mp;
    } soft[] = {{64, 8, 1, 8}, {32, 8, 2, 4}, {16, 8, 4, 2}};
    for (int32_t i = 0; i < COUNT_OF(soft); i++) {
        int32_t cols = soft[i].cols;
        Layout l = layout_swizzled_rows(16, cols, 2);
        for (int32_t at = 0; at < 16 * cols; at++) {
            int32_t r = at / cols, c = at % cols, x = soft[i].vec * (r / soft[i].pp % soft[i].mp);
            cr_assert_eq(layout_apply(&l, (uint32_t)(r * cols + (c ^ x))), (uint32_t)at,
                         "%d columns", cols);
        }
    }
}

Test(layout, a_descriptor_says_where_the_hardware_finds_an_operand)
{
    cr_expect_eq(wgmma_descriptor(0x2000, 16, 1024, 128), 0x4000004000010200u);
    cr_expect_eq(wgmma_descriptor(0x2000 + 32, 16, 1024, 128), 0x4000004000010202u);
    cr_expect_eq(wgmma_descriptor(0x2000, 8192, 1024, 128), 0x4000004002000200u);
    // What wgmma reads for (mn, k) of a k-major operand of 2-byte elements, from the fields of its descriptor.
    for (uint32_t w = 32; w <= 128; w *= 2) {
        uint64_t d = wgmma_descriptor(0, 16, 8 * w, (int32_t)w);
        uint32_t stride = (uint32_t)(d >> 32 & 0x3FFF) << 4, chunks = w / 16;
        cr_expect_eq(d >> 62, w == 128 ? 1u : w == 64 ? 2u : 3u);
        Layout mem = layout_hw_swizzled(64, (int32_t)w / 2, 2, (int32_t)w),
               inverse = layout_invert(&mem);
        for (uint32_t mn = 0; mn < 64; mn++)
            for (uint32_t k = 0; k < w / 2; k++) {
                uint32_t at = mn % 8 * w + mn / 8 * stride + 2 * k;
                at ^= (at >> 7 & (chunks - 1)) << 4;
                cr_assert_eq(at, 2 * layout_apply(&inverse, mn * (w / 2) + k));
            }
    }
}

Test(layout, squeezing_the_reduced_axis_leaves_free_lanes)
{
    Layout acc = acc_of(64, 64, 4, 1), row = layout_squeeze(&acc, 1);
    expect_text(row, "#l<64>{reg 8; lane 0 0 1 2 4; warp 16 32}");
    cr_expect_eq(layout_free(&row, IN_LANE), 3);
    cr_expect_eq(layout_free(&row, IN_WARP), 0);
}

Test(layout, blocked_equals_its_definition_by_division)
{
    const int32_t tile[2] = {64, 64}, eight[2] = {1, 8}, lanes[2] = {4, 8}, four[2] = {4, 1},
                  last[2] = {1, 0};
    Layout rows = layout_blocked(2, tile, eight, lanes, four, last);
    expect_text(rows, "#l<64x64>{reg 1 2 4 1024 2048; lane 8 16 32 64 128; warp 256 512}");
    expect_at(rows, 9, 13, 2, 25, 41);
    expect_at(rows, 31, 31, 3, 63, 63);
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

/// What ldmatrix leaves in (register, lane), from the addresses of all lanes, by the PTX ISA.
static uint32_t matrix_element(const MatrixRead *m, const Layout *l, const Layout *inverse,
                               const Layout *mem, uint32_t reg, uint32_t lane, int32_t bytes)
{
    uint32_t in_word = 0, matrix = 0, base = reg;
    for (int32_t i = 0; i < m->n_word; i++)
        if (reg & m->word[i]) in_word |= 1u << i, base &= ~m->word[i];
    for (int32_t i = 0; i < m->n_more; i++)
        if (reg & m->more[i]) matrix |= 1u << i, base &= ~m->more[i];
    uint32_t at = layout_apply(inverse, layout_at(l, base, 0, 0)), per = 4u / (uint32_t)bytes;
    uint32_t row = m->trans ? lane % 4 * 2 + in_word : lane / 4,
             col = m->trans ? lane / 4 : lane % 4 * per + in_word;
    uint32_t address = at ^ gf2_apply(m->lane, row | matrix << 3);
    cr_assert_eq(address * (uint32_t)bytes % 16, 0, "row %u starts at byte %u", row,
                 address * (uint32_t)bytes);
    return layout_apply(mem, address + col);
}

static void expect_matrix_read(Layout mem, Layout l, int32_t bytes, bool trans, int32_t n_more)
{
    Layout inverse = layout_invert(&mem);
    MatrixRead m;
    cr_assert(matrix_read_applies(&l, &inverse, bytes, &m), "%s from %s", layout_text(&arena, &l),
              layout_text(&arena, &mem));
    cr_expect_eq(m.trans, trans);
    cr_expect_eq(m.n_more, n_more);
    cr_expect_eq(matrix_read_conflicts(&l, &inverse, bytes, &m), 1, "%s from %s",
                 layout_text(&arena, &l), layout_text(&arena, &mem));
    for (uint32_t lane = 0; lane < 32; lane++)
        for (uint32_t r = 0; r < (uint32_t)layout_regs(&l); r++)
            cr_assert_eq(matrix_element(&m, &l, &inverse, &mem, r, lane, bytes),
                         layout_at(&l, r, lane, 0), "register %u of lane %u", r, lane);
}

Test(layout, ldmatrix_reads_operands_from_a_hardware_swizzle)
{
    Layout mem = layout_hw_swizzled(64, 64, 2, 128);
    expect_matrix_read(mem, operand_of(false, 64, 64, 16, 4, 1), 2, false, 2);
    expect_matrix_read(mem, operand_of(true, 64, 64, 16, 4, 1), 2, true, 2);
    expect_matrix_read(layout_hw_swizzled(16, 16, 2, 32), operand_of(false, 16, 16, 16, 1, 1), 2,
                       false, 2);
    expect_matrix_read(layout_hw_swizzled(16, 16, 2, 32), operand_of(true, 16, 16, 16, 1, 1), 2,
                       true, 2);
    expect_matrix_read(layout_hw_swizzled(64, 64, 1, 64), operand_of(false, 64, 64, 8, 2, 2), 1,
                       false, 2);
    expect_matrix_read(layout_hw_swizzled(64, 32, 4, 128), operand_of(false, 64, 32, 32, 2, 2), 4,
                       false, 2);
    expect_matrix_read(layout_hw_swizzled(16, 8, 2, 32), operand_of(true, 8, 16, 16, 1, 1), 2, true,
                       1);
}

Test(layout, ldmatrix_does_not_read_what_its_rows_do_not_hold)
{
    Layout mem = layout_row_major(2, (int32_t[2]){64, 64}), inverse = layout_invert(&mem);
    MatrixRead m;
    Layout acc = acc_of(64, 64, 2, 2), b = operand_of(true, 64, 64, 8, 4, 1),
           rows = layout_default(2, (int32_t[2]){64, 64}, 2, 4);
    cr_expect(matrix_read_applies(&acc, &inverse, 2, &m));
    cr_expect_gt(matrix_read_conflicts(&acc, &inverse, 2, &m), 1); // 128-byte rows, no swizzle
    cr_expect_not(matrix_read_pays(&acc, &inverse, 2, &m) &&
                  matrix_read_conflicts(&acc, &inverse, 2, &m) == 1);
    cr_expect_not(matrix_read_applies(&b, &inverse, 1, &m)); // bytes of a column
    cr_expect_not(matrix_read_applies(&acc, &inverse, 8, &m));
    cr_expect_not(matrix_read_applies(&rows, &inverse, 2, &m));
    Layout other = operand_of(false, 64, 64, 16, 4, 1); // one column flipped: another fragment
    cr_expect(matrix_read_applies(&other, &inverse, 2, &m));
    uint32_t c = other.col[0], first = (uint32_t)layout_first(&other, IN_LANE);
    other.col[0] = other.col[first], other.col[first] = c;
    cr_expect_not(matrix_read_applies(&other, &inverse, 2, &m));
}

/// A coalesced load of the tile: 16 bytes per lane along its contiguous axis.
static Layout load_of(int32_t rows, int32_t cols, bool by_rows, int32_t bytes, int32_t log_warps)
{
    int32_t v = 16 / bytes, n = by_rows ? cols : rows, per = MIN(32, MAX(1, n / v));
    int32_t spt[2] = {by_rows ? 1 : v, by_rows ? v : 1},
            tpw[2] = {by_rows ? 32 / per : per, by_rows ? per : 32 / per},
            wpc[2] = {by_rows ? 1 << log_warps : 1, by_rows ? 1 : 1 << log_warps},
            order[2] = {by_rows ? 1 : 0, by_rows ? 0 : 1};
    return layout_blocked(2, (int32_t[2]){rows, cols}, spt, tpw, wpc, order);
}

/// @return the destination reads with ldmatrix
static bool expect_no_conflicts(Swizzle z, Layout s, Layout d, int32_t bytes)
{
    cr_assert_null(layout_check(&z.mem));
    Layout inverse = layout_invert(&z.mem);
    MatrixRead m;
    bool reads = matrix_read_pays(&d, &inverse, bytes, &m);
    cr_expect_eq(reads, z.by_matrix);
    int32_t cs = swizzle_conflicts(&z.mem, &s, z.src_vec, bytes),
            cd = reads ? matrix_read_conflicts(&d, &inverse, bytes, &m)
                       : swizzle_conflicts(&z.mem, &d, z.dst_vec, bytes);
    cr_expect(cs == 1 && cd == 1, "%d bytes, %d and %d ways:\n%s\n%s\n%s", bytes, cs, cd,
              layout_text(&arena, &s), layout_text(&arena, &z.mem), layout_text(&arena, &d));
    return reads;
}

Test(layout, operands_of_every_type_are_stored_and_read_without_bank_conflicts)
{
    int32_t matrices = 0, cases = 0;
    for (int32_t log_word = 0; log_word <= 2; log_word++)
        for (int32_t warps = 0; warps <= 3; warps++)
            for (int32_t b = 0; b < 2; b++)
                for (int32_t by_rows = 0; by_rows < 2; by_rows++)
                    for (int32_t mn = 16; mn <= 128; mn *= 2)
                        for (int32_t k = 8 << log_word; k <= 128; k *= 2) {
                            int32_t bytes = 4 >> log_word, wm = 1 << (warps - warps / 2),
                                    wn = 1 << (warps / 2), size = mn * k * bytes;
                            if (size < 16 * 32 << warps) continue;
                            Layout d = operand_of(b, mn, k, 8 * bytes, wm, wn),
                                   s = b ? load_of(k, mn, by_rows, bytes, warps)
                                         : load_of(mn, k, by_rows, bytes, warps);
                            bool along_k = by_rows != b;
                            expect_no_conflicts(swizzle_build(&s, &d, bytes), s, d, bytes);
                            Swizzle z =
                                swizzle_for_copy(&s, log2_floor(16 / (uint64_t)bytes), &d, bytes);
                            bool reads = expect_no_conflicts(z, s, d, bytes);
                            cr_expect_eq(reads, along_k || bytes == 2, "%s",
                                         layout_text(&arena, &d));
                            cr_expect_eq(bytes << z.src_vec, 16);
                            if (reads) expect_matrix_read(z.mem, d, bytes, !along_k, 2);
                            matrices += reads, cases++;
                        }
    cr_expect_gt(matrices, 200, "%d of %d", matrices, cases);
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
