// tests/ir/test_elem.c - the meaning of elementwise rows and casts, against base/num.h and plain arithmetic.
#include <math.h>

#include "base/random.h"
#include "ir/elem_eval.h"
#include "tests/support/tile.h"

TestSuite(elem, .init = tile_up, .fini = tile_down, .timeout = 60);

static Slot eval(ElemKind e, DType t, Slot a, Slot b)
{
    Slot out;
    elem_eval(e, t, 1, (const Slot *const[]){&a, &b}, &out);
    return out;
}

static int64_t on_ints(ElemKind e, DType t, int64_t a, int64_t b)
{
    return eval(e, t, (Slot){.i = a}, (Slot){.i = b}).i;
}

static double on_floats(ElemKind e, DType t, double a, double b)
{
    return eval(e, t, (Slot){.f = a}, (Slot){.f = b}).f;
}

static Slot cast(DType from, DType to, RoundMode round, Slot x)
{
    Slot out;
    cast_eval(from, to, round, 1, &x, &out);
    return out;
}

Test(elem, ints_wrap_and_never_trap)
{
    cr_expect_eq(on_ints(ELEM_ADD, DTYPE_I8, 127, 1), -128);
    cr_expect_eq(on_ints(ELEM_SUB, DTYPE_U8, 0, 1), 255);
    cr_expect_eq(on_ints(ELEM_MUL, DTYPE_I32, 65536, 65536), 0);
    cr_expect_eq(on_ints(ELEM_DIV, DTYPE_I32, INT32_MIN, -1), INT32_MIN);
    cr_expect_eq(on_ints(ELEM_REM, DTYPE_I64, INT64_MIN, -1), 0);
    cr_expect_eq(on_ints(ELEM_DIV, DTYPE_I64, INT64_MIN, -1), INT64_MIN);
    cr_expect_eq(on_ints(ELEM_DIV, DTYPE_I32, -7, 2), -3, "toward zero");
    cr_expect_eq(on_ints(ELEM_REM, DTYPE_I32, -7, 2), -1, "the sign of the dividend");
    on_ints(ELEM_DIV, DTYPE_U64, 5, 0);
    on_ints(ELEM_REM, DTYPE_I16, 5, 0);
    cr_expect_eq(on_ints(ELEM_NEG, DTYPE_I32, INT32_MIN, 0), INT32_MIN);
    cr_expect_eq(on_ints(ELEM_ABS, DTYPE_I8, -128, 0), -128);
    cr_expect_eq(on_ints(ELEM_NOT, DTYPE_I1, 1, 0), 0);
    cr_expect_eq(on_ints(ELEM_MULHI, DTYPE_U64, -1, -1), -2, "high half of (2^64 - 1)^2");
    cr_expect_eq(on_ints(ELEM_MULHI, DTYPE_I32, -1, -1), -2, "of the unsigned product");
    cr_expect_eq(on_ints(ELEM_LT, DTYPE_U64, -1, 0), 0);
    cr_expect_eq(on_ints(ELEM_LT, DTYPE_I64, -1, 0), 1);
}

Test(elem, shifts_past_the_width_give_zero_or_the_sign)
{
    static const DType types[] = {DTYPE_I8,  DTYPE_U8,  DTYPE_I16, DTYPE_U16,
                                  DTYPE_I32, DTYPE_U32, DTYPE_I64, DTYPE_U64};
    for (int32_t i = 0; i < COUNT_OF(types); i++) {
        DType t = types[i];
        int64_t bits = dtype_bits(t);
        for (int64_t count = bits; count < bits + 3; count++) {
            int64_t minus = int_wrap(t, -5);
            cr_expect_eq(on_ints(ELEM_SHL, t, minus, count), 0);
            cr_expect_eq(on_ints(ELEM_SHR, t, minus, count), dtype_is_signed(t) ? -1 : 0);
        }
        cr_expect_eq(on_ints(ELEM_SHR, t, 5, int_wrap(t, -1)), 0,
                     "a negative count is a large one");
        cr_expect_eq(on_ints(ELEM_SHL, t, 1, bits - 1),
                     int_wrap(t, (int64_t)(UINT64_C(1) << (bits - 1))));
    }
}

Test(elem, minimum_and_maximum_treat_nan_as_named)
{
    cr_expect_eq(on_floats(ELEM_MIN, DTYPE_F32, NAN, 3), 3);
    cr_expect_eq(on_floats(ELEM_MAX, DTYPE_F32, 3, NAN), 3);
    cr_expect(isnan(on_floats(ELEM_MAX, DTYPE_F32, NAN, NAN)));
    cr_expect(isnan(on_floats(ELEM_MIN_NAN, DTYPE_F32, NAN, 3)));
    cr_expect(isnan(on_floats(ELEM_MAX_NAN, DTYPE_F32, 3, NAN)));
    cr_expect_eq(on_floats(ELEM_MAX_NAN, DTYPE_F32, 3, 5), 5);
    cr_expect_eq(eval(ELEM_NE, DTYPE_F64, (Slot){.f = NAN}, (Slot){.f = NAN}).i, 1);
    cr_expect_eq(eval(ELEM_EQ, DTYPE_F64, (Slot){.f = NAN}, (Slot){.f = NAN}).i, 0);
    cr_expect_eq(eval(ELEM_GE, DTYPE_F64, (Slot){.f = NAN}, (Slot){.f = 0}).i, 0);
}

// f32 arithmetic of C is the meaning of f32 and, rounded once more, of f16 and bf16.
Test(elem, low_precision_rounds_once_from_f32)
{
    static const ElemKind kinds[] = {ELEM_ADD, ELEM_SUB, ELEM_MUL, ELEM_DIV};
    Random r = {3};
    for (int32_t i = 0; i < 200000; i++) {
        DType t = i % 3 == 0 ? DTYPE_F16 : i % 3 == 1 ? DTYPE_BF16 : DTYPE_F32;
        uint64_t ba = random_u64(&r), bb = random_u64(&r);
        Slot a = slot_load(t, &ba), b = slot_load(t, &bb);
        ElemKind e = kinds[i / 3 % 4];
        float x = (float)a.f, y = (float)b.f;
        float z = e == ELEM_ADD ? x + y : e == ELEM_SUB ? x - y : e == ELEM_MUL ? x * y : x / y;
        double want = t == DTYPE_F16    ? (double)f16_to_f32(f16_from_f32(z))
                      : t == DTYPE_BF16 ? (double)bf16_to_f32(bf16_from_f32(z))
                                        : (double)z;
        Slot got = eval(e, t, a, b);
        cr_assert(slot_same(t, got, (Slot){.f = want}), "%s %s(%a, %a) is %a, not %a",
                  dtype_facts[t].name, elem_facts[e].name, a.f, b.f, got.f, want);
    }
}

Test(elem, fma_has_one_rounding)
{
    float a = 1 + 0x1p-12f, c = -(1 + 0x1p-11f);
    Slot in[3] = {{.f = (double)a}, {.f = (double)a}, {.f = (double)c}}, out;
    elem_eval(ELEM_FMA, DTYPE_F32, 1, (const Slot *const[]){&in[0], &in[1], &in[2]}, &out);
    cr_expect_eq(out.f, 0x1p-24, "%a", out.f);
}

Test(elem, casts_to_small_floats_agree_with_base)
{
    Random r = {5};
    for (int32_t i = 0; i < 200000; i++) {
        uint64_t bits = random_u64(&r);
        Slot x = slot_load(DTYPE_F32, &bits);
        float f = (float)x.f;
        double want[] = {
            (double)f16_to_f32(f16_from_f32(f)),       (double)bf16_to_f32(bf16_from_f32(f)),
            (double)f8e4m3_to_f32(f8e4m3_from_f32(f)), (double)f8e5m2_to_f32(f8e5m2_from_f32(f)),
            (double)f16_to_f32(f16_from_f32_rtz(f)),   (double)bf16_to_f32(bf16_from_f32_rtz(f))};
        static const DType to[] = {DTYPE_F16,    DTYPE_BF16, DTYPE_F8E4M3,
                                   DTYPE_F8E5M2, DTYPE_F16,  DTYPE_BF16};
        for (int32_t k = 0; k < 6; k++) {
            Slot got = cast(DTYPE_F32, to[k], k < 4 ? ROUND_RNE : ROUND_RTZ, x);
            cr_assert(slot_same(to[k], got, (Slot){.f = want[k]}), "%s of %a is %a, not %a",
                      dtype_facts[to[k]].name, x.f, got.f, want[k]);
        }
    }
}

Test(elem, every_f16_goes_to_memory_and_back)
{
    static const DType types[] = {DTYPE_F16, DTYPE_BF16, DTYPE_F8E4M3, DTYPE_F8E5M2};
    for (int32_t k = 0; k < 4; k++)
        for (uint32_t bits = 0; bits < 1u << dtype_bits(types[k]); bits++) {
            uint32_t back = 0;
            Slot x = slot_load(types[k], &bits);
            slot_store(types[k], &back, x);
            cr_assert(back == bits || isnan(x.f), "%s %#x became %#x", dtype_facts[types[k]].name,
                      bits, back);
        }
}

Test(elem, ints_round_once_to_floats)
{
    int64_t x =
        (INT64_C(1) << 60) + (INT64_C(1) << 52) - 1; // below half of a step of 2^53, but not in f32
    cr_expect_eq(cast(DTYPE_I64, DTYPE_BF16, ROUND_RNE, (Slot){.i = x}).f, 0x1p60);
    x = (INT64_C(1) << 60) + (INT64_C(1) << 52) + 1; // just above half: up
    cr_expect_eq(cast(DTYPE_I64, DTYPE_BF16, ROUND_RNE, (Slot){.i = x}).f, 0x1.02p60);
    cr_expect_eq(cast(DTYPE_I64, DTYPE_BF16, ROUND_RNE, (Slot){.i = x - 1}).f, 0x1p60,
                 "a tie goes to even");
    x = (INT64_C(1) << 62) + (INT64_C(1) << 38) + 1;
    cr_expect_eq(cast(DTYPE_I64, DTYPE_F32, ROUND_RNE, (Slot){.i = x}).f, (double)(float)x);
    cr_expect_eq(cast(DTYPE_U64, DTYPE_F32, ROUND_RNE, (Slot){.i = -1}).f, 0x1p64);
    cr_expect_eq(cast(DTYPE_U64, DTYPE_F64, ROUND_RNE, (Slot){.i = -1}).f, 0x1p64);
    cr_expect_eq(cast(DTYPE_I1, DTYPE_F32, ROUND_RNE, (Slot){.i = 1}).f, 1);
}

Test(elem, floats_go_to_ints_toward_zero_and_saturate)
{
    static const struct {
        double x;
        DType to;
        int64_t want;
    } rows[] = {
        {-2.9, DTYPE_I32, -2},
        {2.9, DTYPE_U8, 2},
        {300, DTYPE_U8, 255},
        {-1, DTYPE_U32, 0},
        {3e9, DTYPE_I32, INT32_MAX},
        {-3e9, DTYPE_I32, INT32_MIN},
        {1e30, DTYPE_I64, INT64_MAX},
        {-1e30, DTYPE_I64, INT64_MIN},
        {1e30, DTYPE_U64, -1},
        {NAN, DTYPE_I32, 0},
        {NAN, DTYPE_I1, 1},
        {-0.0, DTYPE_I1, 0},
        {0.25, DTYPE_I1, 1},
        {INFINITY, DTYPE_I8, 127},
        {0x1p63, DTYPE_U64, INT64_MIN},
    };
    for (int32_t i = 0; i < COUNT_OF(rows); i++)
        cr_expect_eq(cast(DTYPE_F64, rows[i].to, ROUND_RNE, (Slot){.f = rows[i].x}).i, rows[i].want,
                     "row %d", i);
}

Test(elem, ints_extend_by_their_own_sign)
{
    cr_expect_eq(cast(DTYPE_I8, DTYPE_U32, ROUND_RNE, (Slot){.i = -1}).i, 0xFFFFFFFF);
    cr_expect_eq(cast(DTYPE_U8, DTYPE_I32, ROUND_RNE, (Slot){.i = 255}).i, 255);
    cr_expect_eq(cast(DTYPE_I1, DTYPE_I32, ROUND_RNE, (Slot){.i = 1}).i, 1);
    cr_expect_eq(cast(DTYPE_I32, DTYPE_I1, ROUND_RNE, (Slot){.i = 256}).i, 1);
    cr_expect_eq(cast(DTYPE_I32, DTYPE_I8, ROUND_RNE, (Slot){.i = 0x180}).i, -128);
}

Test(elem, every_row_has_a_meaning_on_its_domain)
{
    static const DType ints[] = {DTYPE_I1, DTYPE_I8, DTYPE_U16, DTYPE_I32, DTYPE_U64},
                       floats[] = {DTYPE_F16, DTYPE_BF16, DTYPE_F32, DTYPE_F64};
    for (int32_t e = 0; e < ELEM_KIND_COUNT; e++) {
        ElemDomain d = elem_facts[e].domain;
        Slot out, a = {.i = 1}, b = {.i = 1}, x = {.f = 0.5};
        for (int32_t i = 0;
             i < COUNT_OF(ints) && (d == DOMAIN_NUM || d == DOMAIN_INT || d == DOMAIN_ANY); i++)
            elem_eval((ElemKind)e, ints[i], 1, (const Slot *const[]){&a, &b, &b}, &out);
        for (int32_t i = 0; i < COUNT_OF(floats) && d != DOMAIN_INT; i++) {
            elem_eval((ElemKind)e, floats[i], 1,
                      (const Slot *const[]){e == ELEM_SELECT ? &a : &x, &x, &x}, &out);
            if (elem_facts[e].result != RESULT_BOOL)
                cr_expect(isfinite(out.f), "%s(0.5)", elem_facts[e].name);
        }
    }
}
