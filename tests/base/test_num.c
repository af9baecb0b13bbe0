// tests/base/test_num.c - small floats, whole domains, against arithmetic that cannot round twice.
#include <criterion/criterion.h>
#include <math.h>

#include "base/num.h"
#include "base/random.h"

/// The representable value nearest to x among two neighbours, ties to the even pattern: by definition.
static uint32_t nearest(double x, uint32_t lo, uint32_t hi, double lo_value, double hi_value)
{
    double below = x - lo_value, above = hi_value - x;
    if (below != above) return below < above ? lo : hi;
    return lo & 1 ? hi : lo;
}

Test(f16, every_pattern_survives_the_way_through_f32)
{
    for (uint32_t u = 0; u < 65536; u++) {
        float x = f16_to_f32((uint16_t)u);
        if (isnan(x))
            cr_assert(isnan(f16_to_f32(f16_from_f32(x))));
        else
            cr_assert_eq(f16_from_f32(x), u, "%#x", u);
    }
}

Test(f16, halfway_cases_go_to_the_even_neighbour)
{
    for (uint32_t u = 0; u < 0x7BFF; u++) {
        double a = (double)f16_to_f32((uint16_t)u), b = (double)f16_to_f32((uint16_t)(u + 1));
        for (int k = 1; k < 4; k++) {
            double x = a + (b - a) * k / 4;
            cr_assert_eq(f16_from_f64(x), nearest(x, u, u + 1, a, b), "%#x + %d/4", u, k);
            cr_assert_eq(f16_from_f32_rtz((float)x), u);
        }
    }
    cr_expect_eq(f16_from_f32(65520.0f), 0x7C00, "past the largest finite value lies infinity");
    cr_expect_eq(f16_from_f32(65519.0f), 0x7BFF);
    cr_expect_eq(f16_from_f32_rtz(1e30f), 0x7BFF);
}

Test(bf16, every_pattern_survives_and_halves_go_to_even)
{
    for (uint32_t u = 0; u < 65536; u++) {
        float x = bf16_to_f32((uint16_t)u);
        if (!isnan(x)) cr_assert_eq(bf16_from_f32(x), u);
    }
    for (uint32_t u = 0; u < 0x7F7F; u += 7) {
        double a = (double)bf16_to_f32((uint16_t)u), b = (double)bf16_to_f32((uint16_t)(u + 1));
        double x = a + (b - a) / 2;
        cr_assert_eq(bf16_from_f64(x), nearest(x, u, u + 1, a, b), "%#x", u);
        if ((double)(float)x == x) cr_assert_eq(bf16_from_f32((float)x), bf16_from_f64(x));
    }
    cr_expect(isnan(bf16_to_f32(bf16_from_f32(f32_from_bits(0x7F800001)))),
              "a NaN with low payload bits stays NaN");
}

Test(fp8, every_finite_pattern_survives_and_overflow_saturates)
{
    for (uint32_t u = 0; u < 256; u++) {
        float e4 = f8e4m3_to_f32((uint8_t)u), e5 = f8e5m2_to_f32((uint8_t)u);
        if (!isnan(e4)) cr_assert_eq(f8e4m3_from_f32(e4), u);
        if (!isnan(e5) && !isinf(e5)) cr_assert_eq(f8e5m2_from_f32(e5), u);
    }
    cr_expect_eq(f8e4m3_to_f32(f8e4m3_from_f32(1e9f)), 448.0f);
    cr_expect_eq(f8e4m3_to_f32(f8e4m3_from_f32(-INFINITY)), -448.0f);
    cr_expect_eq(f8e5m2_to_f32(f8e5m2_from_f32(INFINITY)), 57344.0f);
    cr_expect_eq(f8e4m3_to_f32(0x7E), 448.0f);
    cr_expect(isnan(f8e4m3_to_f32(0x7F)));
}

Test(dtype, every_name_finds_its_type)
{
    for (int t = 1; t < DTYPE_COUNT; t++) {
        cr_expect_eq(dtype_from_name(dtype_facts[t].name, strlen(dtype_facts[t].name)), (DType)t);
        cr_expect_eq(dtype_from_name(dtype_facts[t].user, strlen(dtype_facts[t].user)), (DType)t);
        cr_expect_eq(dtype_from_name(dtype_facts[t].tl, strlen(dtype_facts[t].tl)), (DType)t);
    }
    cr_expect_eq(dtype_from_name("int7", 4), DTYPE_VOID);
}

Test(dtype, elements_survive_a_store_and_a_load)
{
    Random r = {7};
    for (int t = 1; t < DTYPE_COUNT; t++)
        for (int i = 0; i < 100; i++) {
            unsigned char at[8] = {0};
            double x = t == DTYPE_I1
                           ? (double)(i & 1)
                           : (double)random_below(&r, 17) - (dtype_is_signed((DType)t) ? 8 : 0);
            dtype_store_f64((DType)t, at, x);
            cr_assert_eq(dtype_load_f64((DType)t, at), x, "%s %g", dtype_facts[t].name, x);
        }
}
