// tests/runtime/format/test_blocks.c - block formats against recorded values and against their own
// rounding.
#include "runtime/format/blocks.h"

#include <criterion/criterion.h>
#include <math.h>

#include "base/random.h"
#include "tests/support/fixture.h"

TestSuite(blocks, .init = fixture_up, .fini = fixture_down, .timeout = 60);

// b[k] = (73 k + 41) & 255 with d = 0.0999755859375: the published self-check.
Test(blocks, q8_0_reads_the_recorded_block)
{
    uint8_t block[34];
    float y[32], sum = 0;
    for (int32_t k = 0; k < 34; k++)
        block[k] = (uint8_t)(73 * k + 41);
    block[0] = 0x66;
    block[1] = 0x2E;
    block_facts(BLOCK_Q8_0)->read(block, y, 32);
    for (int32_t i = 0; i < 32; i++)
        sum += y[i];
    cr_expect_float_eq(y[0], -6.898315f, 1e-6);
    cr_expect_float_eq(y[1], 0.3999023f, 1e-6);
    cr_expect_float_eq(y[17], -10.79736f, 1e-5);
    cr_expect_float_eq(y[31], -10.99731f, 1e-5);
    cr_expect_float_eq(sum, -4.798828f, 1e-4);
}

// |x - d q| <= d/2 for the exact d; storing d as f16 moves it by at most 2^-11 of d * 127.
Test(blocks, q8_0_rounds_to_within_half_a_step)
{
    Random random = {5};
    for (int32_t round = 0; round < 500; round++) {
        float x[64], y[64];
        uint8_t packed[68];
        float largest[2] = {0};
        for (int32_t i = 0; i < 64; i++) {
            x[i] = (float)random_normal(&random) * (round % 7 ? 1.0f : 1e-3f);
            largest[i / 32] = fmaxf(largest[i / 32], fabsf(x[i]));
        }
        block_facts(BLOCK_Q8_0)->write(x, packed, 64);
        block_facts(BLOCK_Q8_0)->read(packed, y, 64);
        for (int32_t i = 0; i < 64; i++) {
            float d = largest[i / 32] / 127,
                  bound = d * 0.501f + largest[i / 32] * 0x1p-11f + 0x1p-24f * 127;
            cr_assert_leq(fabsf(x[i] - y[i]), bound, "round %d: %g became %g", round, (double)x[i],
                          (double)y[i]);
        }
    }
}

Test(blocks, zeros_and_extremes_survive_q8_0)
{
    float zero[32] = {0}, y[32], big[32] = {-127, 127, 63.5f, -0.5f};
    uint8_t packed[34];
    block_facts(BLOCK_Q8_0)->write(zero, packed, 32);
    for (int32_t i = 0; i < 34; i++)
        cr_expect_eq(packed[i], 0);
    block_facts(BLOCK_Q8_0)->write(big, packed, 32);
    cr_expect_eq((int8_t)packed[2], -127);
    cr_expect_eq((int8_t)packed[3], 127);
    cr_expect_eq((int8_t)packed[4], 64, "halves go away from zero");
    cr_expect_eq((int8_t)packed[5], -1);
    big[7] = NAN;
    big[8] = INFINITY;
    block_facts(BLOCK_Q8_0)->write(big, packed, 32); // no value is undefined behaviour
    block_facts(BLOCK_Q8_0)->read(packed, y, 32);
}

// The same self-check; weight i + 16 lies in the high nibble of byte i.
Test(blocks, q4_0_reads_the_recorded_block)
{
    uint8_t block[18];
    float y[32], sum = 0;
    for (int32_t k = 0; k < 18; k++)
        block[k] = (uint8_t)(73 * k + 41);
    block[0] = 0x66;
    block[1] = 0x2E;
    block_facts(BLOCK_Q4_0)->read(block, y, 32);
    for (int32_t i = 0; i < 32; i++)
        sum += y[i];
    cr_expect_float_eq(y[0], 0.2999268f, 1e-6);
    cr_expect_float_eq(y[1], -0.3999023f, 1e-6);
    cr_expect_float_eq(y[17], -0.7998047f, 1e-6);
    cr_expect_float_eq(y[31], -0.7998047f, 1e-6);
    cr_expect_float_eq(sum, -3.299194f, 1e-5);
}

// Codes 0..15 stand for -8 .. 7 steps of d = |m| / 8: within half a step, a whole one for what is as far
// from zero as m on the other side. d as f16 is off by at most 2^-11 of itself, times 8 steps.
Test(blocks, q4_0_rounds_to_within_its_step)
{
    Random random = {6};
    for (int32_t round = 0; round < 500; round++) {
        float x[64], y[64];
        uint8_t packed[36];
        for (int32_t i = 0; i < 64; i++)
            x[i] = (float)random_normal(&random) * (round % 7 ? 1.0f : 1e-2f);
        block_facts(BLOCK_Q4_0)->write(x, packed, 64);
        block_facts(BLOCK_Q4_0)->read(packed, y, 64);
        for (int32_t b = 0; b < 2; b++) {
            float m = 0;
            for (int32_t i = 32 * b; i < 32 * b + 32; i++)
                if (fabsf(x[i]) > fabsf(m)) m = x[i];
            for (int32_t i = 32 * b; i < 32 * b + 32; i++) {
                float d = fabsf(m) / 8, slack = fabsf(m) * 0x1p-11f + 8 * 0x1p-24f;
                float bound = (m * x[i] < 0 ? d : d * 0.501f) + slack;
                cr_assert_leq(fabsf(x[i] - y[i]), bound, "round %d: %g became %g", round,
                              (double)x[i], (double)y[i]);
                if (x[i] == m) cr_assert_leq(fabsf(x[i] - y[i]), slack);
            }
        }
    }
}

Test(blocks, zeros_and_extremes_survive_q4_0)
{
    float zero[32] = {0}, y[32], big[32] = {-8, 7, 8, 3.5f};
    uint8_t packed[18];
    block_facts(BLOCK_Q4_0)->write(zero, packed, 32);
    block_facts(BLOCK_Q4_0)->read(packed, y, 32);
    for (int32_t i = 0; i < 32; i++)
        cr_expect_eq(y[i], 0);
    block_facts(BLOCK_Q4_0)->write(big, packed, 32);
    block_facts(BLOCK_Q4_0)->read(packed, y, 32);
    cr_expect_eq(y[0], -8, "the largest is exact, the first of two counts");
    cr_expect_eq(y[1], 7);
    cr_expect_eq(y[2], 7, "there is no 8");
    cr_expect_eq(y[3], 4, "halves go up");
    big[7] = NAN;
    big[8] = INFINITY;
    block_facts(BLOCK_Q4_0)->write(big, packed, 32); // no value is undefined behaviour
    block_facts(BLOCK_Q4_0)->read(packed, y, 32);
}

// The published self-check of the K types: halves 0.0999755859375 and, for minima, 0.04998779296875.
Test(blocks, k_types_read_the_recorded_blocks)
{
    static const struct {
        BlockType type;
        int32_t d, dmin;
        double y0, y1, y17, last, sum;
    } rows[] = {
        {BLOCK_Q4_K, 0, 2, 9.247742, 0.1499634, 0.1499634, -1.149719, 5333.897},
        {BLOCK_Q5_K, 0, 2, 30.04266, 0.1499634, 0.1499634, -1.149719, 11004.51},
        {BLOCK_Q6_K, 208, -1, 16.09607, -4.598877, 9.997559, 28.79297, -1484.038},
    };
    for (int32_t r = 0; r < COUNT_OF(rows); r++) {
        const BlockFacts *f = block_facts(rows[r].type);
        uint8_t block[256];
        float y[256];
        double sum = 0;
        for (int32_t k = 0; k < f->bytes; k++)
            block[k] = (uint8_t)(73 * k + 41);
        block[rows[r].d] = 0x66, block[rows[r].d + 1] = 0x2E;
        if (rows[r].dmin >= 0) block[rows[r].dmin] = 0x66, block[rows[r].dmin + 1] = 0x2A;
        f->read(block, y, 256);
        for (int32_t i = 0; i < 256; i++)
            sum += (double)y[i];
        cr_expect_float_eq(y[0], rows[r].y0, 1e-5, "%s: %g", f->name, (double)y[0]);
        cr_expect_float_eq(y[1], rows[r].y1, 1e-5, "%s: %g", f->name, (double)y[1]);
        cr_expect_float_eq(y[17], rows[r].y17, 1e-5, "%s: %g", f->name, (double)y[17]);
        cr_expect_float_eq(y[255], rows[r].last, 1e-5, "%s: %g", f->name, (double)y[255]);
        cr_expect_float_eq(sum, rows[r].sum, 0.005, "%s: %g", f->name, sum);
    }
}

// A block b[i] = 37 i i + 11 i + 5 with the same halves, read by `dequantize` of PyPI's gguf 0.19: eight of the 256
// values, their sum, and the sum of i mod 17 of each.
Test(blocks, k_types_read_as_the_format_s_own_package_does)
{
    static const int32_t at[] = {0, 1, 31, 32, 100, 128, 200, 255};
    static const struct {
        BlockType type;
        int32_t d, dmin;
        double y[8], sum, weighted;
    } rows[] = {
        {BLOCK_Q4_K,
         0,
         2,
         {-0.94976806640625, -0.94976806640625, 0.04998779296875, 26.04364013671875,
          0.94976806640625, 18.64544677734375, 21.54473876953125, 28.4930419921875},
         6065.71875,
         47681.65612792969},
        {BLOCK_Q5_K,
         0,
         2,
         {0.64984130859375, 0.64984130859375, 1.64959716796875, 1.04974365234375, 24.34405517578125,
          84.22943115234375, 51.93731689453125, 34.6915283203125},
         12884.853515625,
         103891.92956542969},
        {BLOCK_Q6_K,
         208,
         -1,
         {-75.8814697265625, -75.8814697265625, -34.0916748046875, 18.6954345703125,
          124.169677734375, 38.4906005859375, -216.2471923828125, -42.4896240234375},
         -850.1923828125,
         -7038.3812255859375},
    };
    for (int32_t r = 0; r < COUNT_OF(rows); r++) {
        const BlockFacts *f = block_facts(rows[r].type);
        uint8_t block[256];
        float y[256];
        double sum = 0, weighted = 0;
        for (int32_t i = 0; i < f->bytes; i++)
            block[i] = (uint8_t)(37 * i * i + 11 * i + 5);
        block[rows[r].d] = 0x66, block[rows[r].d + 1] = 0x2E;
        if (rows[r].dmin >= 0) block[rows[r].dmin] = 0x66, block[rows[r].dmin + 1] = 0x2A;
        f->read(block, y, 256);
        for (int32_t i = 0; i < 256; i++)
            sum += (double)y[i], weighted += i % 17 * (double)y[i];
        for (int32_t i = 0; i < 8; i++)
            cr_expect_float_eq(y[at[i]], rows[r].y[i], 1e-5, "%s at %d: %g", f->name, at[i],
                               (double)y[at[i]]);
        cr_expect_float_eq(sum, rows[r].sum, 1e-3, "%s: %g", f->name, sum);
        cr_expect_float_eq(weighted, rows[r].weighted, 1e-2, "%s: %g", f->name, weighted);
    }
}

// A code is off by half a step of its block. Its step and minimum are off by half of 1/63 (Q6_K 1/127) of the
// largest of the 256, which moves a code by as much again as there are codes, and by f16's 2^-11.
Test(blocks, k_types_round_to_within_their_steps)
{
    static const struct {
        BlockType type;
        double bound; ///< of |x - y|, in the span of the 256 elements
    } rows[] = {
        {BLOCK_Q4_K, 0.5 / 15 + 1.0 / 63 + 0x1p-10},
        {BLOCK_Q5_K, 0.5 / 31 + 1.0 / 63 + 0x1p-10},
        {BLOCK_Q6_K, 1.0 / 64 + 0.5 / 127 + 0x1p-10},
    };
    Random random = {9};
    for (int32_t round = 0; round < 600; round++) {
        const BlockFacts *f = block_facts(rows[round % 3].type);
        float x[512], y[512];
        uint8_t packed[2 * 210];
        for (int32_t i = 0; i < 512; i++)
            x[i] = (float)random_normal(&random) * (round % 7 ? 1.0f : 1e-2f) +
                   (round % 5 ? 0.0f : 0.5f);
        f->write(x, packed, 512);
        f->read(packed, y, 512);
        for (int32_t b = 0; b < 2; b++) {
            double least = 0, greatest = 0;
            for (int32_t i = 256 * b; i < 256 * b + 256; i++)
                least = fmin(least, x[i]), greatest = fmax(greatest, x[i]);
            double span =
                rows[round % 3].type == BLOCK_Q6_K ? 2 * fmax(-least, greatest) : greatest - least;
            double bound = rows[round % 3].bound * span + 64 * 0x1p-24;
            for (int32_t i = 256 * b; i < 256 * b + 256; i++)
                cr_assert_leq(fabs((double)x[i] - (double)y[i]), bound,
                              "%s, round %d: %g became %g", f->name, round, (double)x[i],
                              (double)y[i]);
        }
    }
}

Test(blocks, zeros_and_no_numbers_survive_the_k_types)
{
    static const BlockType types[] = {BLOCK_Q4_K, BLOCK_Q5_K, BLOCK_Q6_K};
    for (int32_t t = 0; t < COUNT_OF(types); t++) {
        const BlockFacts *f = block_facts(types[t]);
        float x[256] = {0}, y[256];
        uint8_t packed[210];
        f->write(x, packed, 256);
        f->read(packed, y, 256);
        for (int32_t i = 0; i < 256; i++)
            cr_expect_eq(y[i], 0);
        x[7] = NAN;
        x[80] = INFINITY;
        x[200] = -INFINITY;
        f->write(x, packed, 256); // no value is undefined behaviour
        f->read(packed, y, 256);
    }
}

Test(blocks, plain_types_come_back_from_any_alignment)
{
    static const BlockType types[] = {BLOCK_F32, BLOCK_F16, BLOCK_BF16};
    static const float exact[] = {0, 1, -2.5f, 0.15625f, 240, -0.0f};
    for (int32_t t = 0; t < COUNT_OF(types); t++) {
        char packed[64];
        float y[6];
        block_facts(types[t])->write(exact, packed + 1, 6);
        block_facts(types[t])->read(packed + 1, y, 6);
        for (int32_t i = 0; i < 6; i++)
            cr_expect_eq(f32_bits(y[i]), f32_bits(exact[i]), "%s", block_facts(types[t])->name);
    }
}

Test(blocks, sizes_and_ids_are_those_of_the_table)
{
    static const uint32_t gone[] = {4, 5, 31, 32, 33, 36, 37, 38, 42, 255, UINT32_MAX};
    BlockType type;
    for (int32_t i = 0; i < COUNT_OF(gone); i++)
        cr_expect_null(block_facts(gone[i]), "%u", gone[i]);
    cr_expect_eq(block_row_bytes(BLOCK_Q8_0, 64), 68);
    cr_expect_eq(block_row_bytes(BLOCK_Q8_0, 33), -1);
    cr_expect_eq(block_row_bytes(BLOCK_Q4_0, 64), 36);
    cr_expect_eq(block_row_bytes(BLOCK_Q6_K, 512), 420);
    cr_expect(block_of_dtype(DTYPE_BF16, &type) && type == BLOCK_BF16);
    cr_expect_not(block_of_dtype(DTYPE_VOID, &type));
    cr_expect_not(block_of_dtype(DTYPE_U8, &type));
    for (uint32_t id = 0; id < BLOCK_TYPE_END; id++) {
        const BlockFacts *f = block_facts(id);
        cr_expect(!f || (f->block > 0 && f->bytes > 0 && !f->read == !f->write), "%u", id);
    }
}
