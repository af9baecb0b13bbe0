// compiler/cpu/math.c - mathematical functions as polynomials in the vector type at hand.
//
//   function   method                                                         f32 error, AVX2 and up
//   exp        x = n ln2 + r, degree 6 in r; n goes into the exponent bits     < 1 ulp
//   exp2       x = n + f, degree 6 in f, minimax                               < 1 ulp
//   log, log2  x = 2^k (1 + f), s = f / (2 + f), odd polynomial in s           < 1 ulp
//   sin, cos   x - n pi/2 in f64, Payne and Hanek past 2^28                    0.51 ulp
//   erf, tanh  polynomial near 0, 1 - exp elsewhere                            < 2 ulp
//   rsqrt      1 / sqrt(x), one compensated Newton step                       < 1 ulp
//
// Results below the normal range may be flushed to zero (tile-language.md 6.4). A level without fused
// multiply-add computes f32 functions in f64 and rounds once. f64 functions stay within 2 ulp.
// Nothing calls a library.
//
// Sources  exp, log, sin, cos in f64: Sun's fdlibm; sin and cos of f32: B. Gladman and S. Kargl's
//          float variants of it; erf and tanh of f32: N. Juffa's published minimax forms; tanh of f64: Cephes
#include "compiler/cpu/cpu.h"

typedef LLVMValueRef V;

static V add(Cx *cx, V a, V b)
{
    return LLVMBuildFAdd(cx->b, a, b, "");
}
static V sub(Cx *cx, V a, V b)
{
    return LLVMBuildFSub(cx->b, a, b, "");
}
static V mul(Cx *cx, V a, V b)
{
    return LLVMBuildFMul(cx->b, a, b, "");
}
static V divide(Cx *cx, V a, V b)
{
    return LLVMBuildFDiv(cx->b, a, b, "");
}
static V neg(Cx *cx, V a)
{
    return LLVMBuildFNeg(cx->b, a, "");
}
static V real(V like, double x)
{
    return const_real(LLVMTypeOf(like), x);
}
static V sel(Cx *cx, V c, V a, V b)
{
    return LLVMBuildSelect(cx->b, c, a, b, "");
}
static V fcmp(Cx *cx, LLVMRealPredicate p, V a, V b)
{
    return LLVMBuildFCmp(cx->b, p, a, b, "");
}
static bool is_f64(Cx *cx, V x)
{
    return scalar_of(LLVMTypeOf(x)) == cx->f64;
}
static LLVMTypeRef int_like(Cx *cx, V x)
{
    return type_like(LLVMTypeOf(x), is_f64(cx, x) ? cx->i64 : cx->i32);
}
static V bits(Cx *cx, V x)
{
    return LLVMBuildBitCast(cx->b, x, int_like(cx, x), "");
}
static V unbits(Cx *cx, V u, V like)
{
    return LLVMBuildBitCast(cx->b, u, LLVMTypeOf(like), "");
}
static V fabs_of(Cx *cx, V x)
{
    return call_intrinsic(cx, "llvm.fabs", LLVMTypeOf(x), 1, &x);
}
static V sqrt_of(Cx *cx, V x)
{
    return call_intrinsic(cx, "llvm.sqrt", LLVMTypeOf(x), 1, &x);
}
static V copysign_of(Cx *cx, V magnitude, V sign)
{
    V in[] = {magnitude, sign};
    return call_intrinsic(cx, "llvm.copysign", LLVMTypeOf(magnitude), 2, in);
}
static V widen(Cx *cx, V x)
{
    return LLVMBuildFPExt(cx->b, x, type_like(LLVMTypeOf(x), cx->f64), "");
}
static V narrow(Cx *cx, V x)
{
    return LLVMBuildFPTrunc(cx->b, x, type_like(LLVMTypeOf(x), cx->f32), "");
}
static bool goes_wide(Cx *cx, V x)
{
    return !is_f64(cx, x) && !(cx->isa->facts & ISA_FMA);
}

V mul_add(Cx *cx, V a, V b, V c)
{
    if (!(cx->isa->facts & ISA_FMA)) return add(cx, mul(cx, a, b), c);
    V in[] = {a, b, c};
    return call_intrinsic(cx, "llvm.fma", LLVMTypeOf(a), 3, in);
}

/// c[0] + x c[1] + ... by Horner.
static V poly(Cx *cx, V x, int32_t n, const double *c)
{
    V r = real(x, c[n - 1]);
    for (int32_t i = n - 2; i >= 0; i--)
        r = mul_add(cx, r, x, real(x, c[i]));
    return r;
}
#define POLY(x, ...)                                                                               \
    poly(cx, x, (int32_t)(sizeof((double[]){__VA_ARGS__}) / sizeof(double)),                       \
         (const double[]){__VA_ARGS__})

// ---- fused multiply-add without an instruction --------------------------------------------------------

static void two_sum(Cx *cx, V a, V b, V *high, V *low)
{
    V s = add(cx, a, b), t = sub(cx, s, a);
    *high = s;
    *low = add(cx, sub(cx, a, sub(cx, s, t)), sub(cx, b, t));
}

/// a * b = high + low exactly, by Dekker's splitting (f64).
static void two_product(Cx *cx, V a, V b, V *high, V *low)
{
    V f = real(a, 134217729.0);
    V ta = mul(cx, a, f), ah = sub(cx, ta, sub(cx, ta, a)), al = sub(cx, a, ah);
    V tb = mul(cx, b, f), bh = sub(cx, tb, sub(cx, tb, b)), bl = sub(cx, b, bh);
    V p = mul(cx, a, b);
    V e = add(cx, sub(cx, mul(cx, ah, bh), p), add(cx, mul(cx, ah, bl), mul(cx, al, bh)));
    *high = p;
    *low = add(cx, e, mul(cx, al, bl));
}

/// a + b rounded to odd: where the sum is inexact and even, its neighbour toward the exact value.
static V add_odd(Cx *cx, V a, V b)
{
    V s, e;
    two_sum(cx, a, b, &s, &e);
    V u = bits(cx, s), zero = real(s, 0.0);
    LLVMTypeRef t = LLVMTypeOf(u);
    V inexact =
        LLVMBuildAnd(cx->b, fcmp(cx, LLVMRealUNE, e, zero), fcmp(cx, LLVMRealORD, e, e), "");
    V even = LLVMBuildICmp(cx->b, LLVMIntEQ, LLVMBuildAnd(cx->b, u, const_int(t, 1), ""),
                           LLVMConstNull(t), "");
    V outward = LLVMBuildICmp(cx->b, LLVMIntSGE, LLVMBuildXor(cx->b, bits(cx, e), u, ""),
                              LLVMConstNull(t), "");
    V step = sel(cx, outward, const_int(t, 1), const_int(t, -1));
    V moved = unbits(cx, LLVMBuildAdd(cx->b, u, step, ""), s);
    return sel(cx, LLVMBuildAnd(cx->b, inexact, even, ""), moved, s);
}

V exact_fma(Cx *cx, V a, V b, V c)
{
    if (cx->isa->facts & ISA_FMA) return mul_add(cx, a, b, c);
    if (!is_f64(cx,
                a)) // the product is exact in f64; the sum rounds to odd there and once more to f32
        return narrow(cx, add_odd(cx, mul(cx, widen(cx, a), widen(cx, b)), widen(cx, c)));
    // Boldo and Melquiond 2008; products whose error underflows or overflows take the plain form
    V uh, ul, th, tl, vh, vl;
    two_product(cx, a, b, &uh, &ul);
    two_sum(cx, c, ul, &th, &tl);
    two_sum(cx, uh, th, &vh, &vl);
    V exact = add(cx, vh, add_odd(cx, tl, vl)), plain = add(cx, mul(cx, a, b), c);
    return sel(cx, fcmp(cx, LLVMRealORD, exact, exact), exact, plain);
}

// ---- exponentials -----------------------------------------------------------------------------------

/// y * 2^n for y near 1, where t = n + 1.5 * 2^mantissa: n sits in t's low bits, and moves into y's exponent.
static V scale_by_bits(Cx *cx, V y, V t)
{
    V u = bits(cx, t);
    V n = LLVMBuildShl(cx->b, u, const_int(LLVMTypeOf(u), is_f64(cx, y) ? 52 : 23), "");
    return unbits(cx, LLVMBuildAdd(cx->b, bits(cx, y), n, ""), y);
}

/// y 2^n, t as above, where low <= x <= high; 0 below, infinity above, NaN for NaN.
static V exp_ends(Cx *cx, V x, V y, V t, double low, double high)
{
    y = scale_by_bits(cx, y, t);
    V above = fcmp(cx, LLVMRealUGT, x, real(x, high));
    y = sel(cx, above, add(cx, x, real(x, __builtin_inf())), y);
    return sel(cx, fcmp(cx, LLVMRealOLT, x, real(x, low)), real(x, 0.0), y);
}

/// The same in f32 for x <= 0 or NaN: there is nothing above, and a product keeps NaN.
static V exp_low_end(Cx *cx, V x, V y, V t, double low)
{
    LLVMTypeRef ints = int_like(cx, x);
    V n = LLVMBuildShl(cx->b, bits(cx, t), const_int(ints, 23), "");
    V power = unbits(cx, LLVMBuildAdd(cx->b, n, const_int(ints, 0x3f800000), ""), x);
    return sel(cx, fcmp(cx, LLVMRealOLT, x, real(x, low)), real(x, 0.0), mul(cx, y, power));
}

/// exp(hi - lo) for |hi - lo| <= ln2 / 2, f64.
static V exp_reduced64(Cx *cx, V hi, V lo)
{
    V r = sub(cx, hi, lo), z = mul(cx, r, r);
    V p = POLY(z, 1.66666666666666019037e-01, -2.77777777770155933842e-03,
               6.61375632143793436117e-05, -1.65339022054652515390e-06, 4.13813679705723846039e-08);
    V c = sub(cx, r, mul(cx, z, p));
    V q = divide(cx, mul(cx, r, c), sub(cx, real(r, 2.0), c));
    return add(cx, real(r, 1.0), add(cx, sub(cx, q, lo), hi));
}

static V exp64(Cx *cx, V x)
{
    V magic = real(x, 0x1.8p52);
    V t = mul_add(cx, x, real(x, 1.44269504088896338700), magic), n = sub(cx, t, magic);
    V hi = mul_add(cx, neg(cx, n), real(x, 6.93147180369123816490e-01), x);
    V lo = mul(cx, n, real(x, 1.90821492927058770002e-10));
    return exp_ends(cx, x, exp_reduced64(cx, hi, lo), t, -708.39641853226408, 709.78271289338397);
}

V math_exp(Cx *cx, V x, bool is_low)
{
    if (is_f64(cx, x)) return exp64(cx, x);
    if (goes_wide(cx, x)) return narrow(cx, exp64(cx, widen(cx, x)));
    V magic = real(x, 0x1.8p23);
    V t = mul_add(cx, x, real(x, 1.44269504), magic), minus = neg(cx, sub(cx, t, magic));
    V r = mul_add(cx, minus, real(x, 0.693359375), x);
    r = mul_add(cx, minus, real(x, -2.12194440e-4), r);
    V y = POLY(r, 1.0, 1.0, 4.9999993432e-1, 1.6666520399e-1, 4.1668390788e-2, 8.3687451089e-3,
               1.3814540177e-3); // minimax with the first two given: relative error 3e-9
    const double low = -87.3365447504;
    return is_low ? exp_low_end(cx, x, y, t, low) : exp_ends(cx, x, y, t, low, 88.7228317260);
}

static V exp2_64(Cx *cx, V x)
{
    V magic = real(x, 0x1.8p52), t = add(cx, x, magic), f = sub(cx, x, sub(cx, t, magic));
    V hi = mul(cx, f, real(x, 0x1.62e42ffp-1)),
      lo = neg(cx, mul(cx, f, real(x, -0x1.718432a1b0e26p-35)));
    return exp_ends(cx, x, exp_reduced64(cx, hi, lo), t, -1022.0, 0x1.fffffffffffffp9);
}

V math_exp2(Cx *cx, V x, bool is_low)
{
    if (is_f64(cx, x)) return exp2_64(cx, x);
    if (goes_wide(cx, x)) return narrow(cx, exp2_64(cx, widen(cx, x)));
    V magic = real(x, 0x1.8p23), t = add(cx, x, magic), f = sub(cx, x, sub(cx, t, magic));
    V y = POLY(f, 1.0, 0.6931471825, 0.2402264774, 0.0555033237, 0.0096184369, 0.0013398874,
               0.0001535336);
    return is_low ? exp_low_end(cx, x, y, t, -126.0) : exp_ends(cx, x, y, t, -126.0, 0x1.fffffep6);
}

// ---- logarithms ---------------------------------------------------------------------------------------

typedef struct LogParts {
    V f, k;        ///< x = 2^k (1 + f), sqrt(1/2) <= 1 + f < sqrt(2)
    V half_square; ///< f * f / 2
    V s, r;        ///< log(1 + f) = f - half_square + s * (half_square + r)
} LogParts;

static LogParts log_parts(Cx *cx, V x)
{
    bool wide = is_f64(cx, x);
    LLVMTypeRef t = int_like(cx, x);
    int32_t mantissa = wide ? 52 : 23, bias = wide ? 1023 : 127;
    int64_t low = wide ? 0x3fe6a09e667f3bcd : 0x3f3504f3, one = (int64_t)bias << mantissa;
    V tiny =
        fcmp(cx, LLVMRealOLT, x, real(x, wide ? 0x1p-1022 : 0x1p-126)); // subnormal: scale up first
    V y = sel(cx, tiny, mul(cx, x, real(x, wide ? 0x1p54 : 0x1p25)), x);
    V u = LLVMBuildAdd(cx->b, bits(cx, y), const_int(t, one - low), "");
    V k = LLVMBuildSub(cx->b, LLVMBuildLShr(cx->b, u, const_int(t, mantissa), ""),
                       const_int(t, bias), "");
    k = LLVMBuildSub(cx->b, k, sel(cx, tiny, const_int(t, wide ? 54 : 25), LLVMConstNull(t)), "");
    V m = LLVMBuildAnd(cx->b, u, const_int(t, ((int64_t)1 << mantissa) - 1), "");
    m = LLVMBuildAdd(cx->b, m, const_int(t, low), "");
    LogParts p;
    p.f = sub(cx, unbits(cx, m, x), real(x, 1.0));
    V magic = real(x, wide ? 0x1.8p52 : 0x1.8p23);
    p.k = sub(cx, unbits(cx, LLVMBuildAdd(cx->b, k, bits(cx, magic), ""), x), magic);
    p.half_square = mul(cx, real(x, 0.5), mul(cx, p.f, p.f));
    p.s = divide(cx, p.f, add(cx, real(x, 2.0), p.f));
    V z = mul(cx, p.s, p.s), w = mul(cx, z, z);
    V odd, even;
    if (wide) {
        odd = POLY(w, 3.999999999940941908e-01, 2.222219843214978396e-01, 1.531383769920937332e-01);
        even = POLY(w, 6.666666666666735130e-01, 2.857142874366239149e-01, 1.818357216161805012e-01,
                    1.479819860511658591e-01);
    } else {
        odd = POLY(w, 0.40000972152, 0.24279078841);
        even = POLY(w, 0.66666662693, 0.28498786688);
    }
    p.r = add(cx, mul(cx, w, odd), mul(cx, z, even));
    return p;
}

/// -inf at 0, NaN below, infinity and NaN as they are.
static V log_ends(Cx *cx, V x, V y)
{
    V inf = real(x, __builtin_inf());
    y = sel(cx, fcmp(cx, LLVMRealOEQ, x, inf), x, y);
    y = sel(cx, fcmp(cx, LLVMRealOEQ, x, real(x, 0.0)), neg(cx, inf), y);
    return sel(cx, fcmp(cx, LLVMRealULT, x, real(x, 0.0)), real(x, __builtin_nan("")), y);
}

V math_log(Cx *cx, V x)
{
    if (goes_wide(cx, x)) return narrow(cx, math_log(cx, widen(cx, x)));
    bool wide = is_f64(cx, x);
    LogParts p = log_parts(cx, x);
    V hi = real(x, wide ? 6.93147180369123816490e-01 : 0.69313812256),
      lo = real(x, wide ? 1.90821492927058770002e-10 : 9.0580006145e-06);
    V y = mul(cx, p.s, add(cx, p.half_square, p.r));
    y = sub(cx, add(cx, y, mul(cx, p.k, lo)), p.half_square);
    y = add(cx, add(cx, y, p.f), mul(cx, p.k, hi));
    return log_ends(cx, x, y);
}

V math_log2(Cx *cx, V x)
{
    if (goes_wide(cx, x)) return narrow(cx, math_log2(cx, widen(cx, x)));
    bool wide = is_f64(cx, x);
    LogParts p = log_parts(cx, x);
    LLVMTypeRef t = int_like(cx, x);
    V hi = sub(cx, p.f, p.half_square); // cut, so that hi * (high part of 1/ln2) is exact
    hi = unbits(cx,
                LLVMBuildAnd(cx->b, bits(cx, hi),
                             const_int(t, wide ? (int64_t)0xffffffff00000000
                                               : (int64_t)(int32_t)0xfffff000u),
                             ""),
                x);
    V lo = add(cx, sub(cx, sub(cx, p.f, hi), p.half_square),
               mul(cx, p.s, add(cx, p.half_square, p.r)));
    V ch = real(x, wide ? 1.44269504072144627571e+00 : 1.4428710938e+00);
    V cl = real(x, wide ? 1.67517131648865118353e-10 : -1.7605285393e-04);
    V high = mul(cx, hi, ch);
    V low = add(cx, mul(cx, add(cx, lo, hi), cl), mul(cx, lo, ch));
    V w = add(cx, p.k, high); // k dominates: keep what the sum drops
    low = add(cx, low, add(cx, sub(cx, p.k, w), high));
    return log_ends(cx, x, add(cx, low, w));
}

// ---- sine and cosine ----------------------------------------------------------------------------------

/// r and quadrant of x * 2 / pi for |x| >= 2^28 (f32), by multiplying the mantissa with the 96 bits of
/// 2 / pi that matter. In: f32; out: r in f64, quadrant in i64.
static void reduce_large(Cx *cx, V x, V *r, V *quadrant)
{
    static const uint64_t two_over_pi[] = {0xA2F9836E4E441529u, 0x4E441529FC2757D1u,
                                           0xFC2757D1F534DDC0u, 0xF534DDC0DB629599u,
                                           0xDB6295993C439041u, 0x3C439041FE5163ABu};
    LLVMTypeRef l = type_like(LLVMTypeOf(x), cx->i64);
    V u = LLVMBuildZExt(cx->b, bits(cx, x), l, "");
    V m = LLVMBuildAnd(cx->b, u, const_int(l, 0x7fffff), "");
    m = LLVMBuildOr(cx->b, m, const_int(l, 0x800000), "");
    V exponent =
        LLVMBuildAnd(cx->b, LLVMBuildLShr(cx->b, u, const_int(l, 23), ""), const_int(l, 255), "");
    V skip = LLVMBuildSub(cx->b, exponent, const_int(l, 127 + 23 + 2),
                          ""); // bits whose weight is a multiple of 4
    V word = LLVMBuildLShr(cx->b, skip, const_int(l, 5), ""),
      shift = LLVMBuildAnd(cx->b, skip, const_int(l, 31), "");
    V high = const_int(l, (int64_t)two_over_pi[0]), low = const_int(l, (int64_t)two_over_pi[2]);
    for (int32_t i = 1; i < 4; i++) {
        V here = LLVMBuildICmp(cx->b, LLVMIntEQ, word, const_int(l, i), "");
        high = sel(cx, here, const_int(l, (int64_t)two_over_pi[i]), high);
        low = sel(cx, here, const_int(l, (int64_t)two_over_pi[i + 2]), low);
    }
    V spill = LLVMBuildLShr(cx->b, LLVMBuildLShr(cx->b, low, const_int(l, 1), ""),
                            LLVMBuildSub(cx->b, const_int(l, 63), shift, ""), "");
    high = LLVMBuildOr(cx->b, LLVMBuildShl(cx->b, high, shift, ""), spill, "");
    low = LLVMBuildLShr(cx->b, LLVMBuildShl(cx->b, low, shift, ""), const_int(l, 32), "");
    V c = LLVMBuildLShr(cx->b, LLVMBuildMul(cx->b, m, low, ""), const_int(l, 32), "");
    V p =
        LLVMBuildAdd(cx->b, LLVMBuildMul(cx->b, m, high, ""), c, ""); // in units of 2^-62, modulo 4
    V q = LLVMBuildLShr(cx->b, LLVMBuildAdd(cx->b, p, const_int(l, (int64_t)1 << 61), ""),
                        const_int(l, 62), "");
    V fraction = LLVMBuildSub(cx->b, p, LLVMBuildShl(cx->b, q, const_int(l, 62), ""), "");
    V rr = LLVMBuildSIToFP(cx->b, fraction, type_like(LLVMTypeOf(x), cx->f64), "");
    rr = mul(cx, rr, real(rr, 1.57079632679489661923 * 0x1p-62));
    V negative = LLVMBuildICmp(cx->b, LLVMIntNE, LLVMBuildLShr(cx->b, u, const_int(l, 31), ""),
                               LLVMConstNull(l), "");
    *r = sel(cx, negative, neg(cx, rr), rr);
    *quadrant = sel(cx, negative, LLVMBuildNeg(cx->b, q, ""), q);
}

/// Is a lane of the i1 vector set?
static V any_of(Cx *cx, V mask)
{
    int32_t n = lanes_of(LLVMTypeOf(mask));
    if (n == 1) return mask;
    V u = LLVMBuildBitCast(cx->b, mask, LLVMIntTypeInContext(cx->c, (unsigned)n), "");
    return LLVMBuildICmp(cx->b, LLVMIntNE, u, LLVMConstNull(LLVMTypeOf(u)), "");
}

static LLVMBasicBlockRef new_block(Cx *cx)
{
    return LLVMAppendBasicBlockInContext(cx->c, cx->function, "");
}

/// Kernel polynomials on [-pi/4, pi/4] for an f32 result, in f64; odd quadrants take the cosine.
static V sin_quadrant32(Cx *cx, V r, V quadrant)
{
    V z = mul(cx, r, r), w = mul(cx, z, z);
    V s = mul(cx, z, r);
    V sine =
        add(cx, add(cx, r, mul(cx, s, POLY(z, -0x15555554cbac77.0p-55, 0x111110896efbb2.0p-59))),
            mul(cx, mul(cx, s, w), POLY(z, -0x1a00f9e2cae774.0p-65, 0x16cd878c3b46a7.0p-71)));
    V cosine =
        add(cx,
            add(cx, add(cx, real(r, 1.0), mul(cx, z, real(r, -0x1ffffffd0c5e81.0p-54))),
                mul(cx, w, real(r, 0x155553e1053a42.0p-57))),
            mul(cx, mul(cx, w, z), POLY(z, -0x16c087e80f1e27.0p-62, 0x199342e0ee5069.0p-68)));
    LLVMTypeRef l = LLVMTypeOf(quadrant);
    V odd = LLVMBuildTrunc(cx->b, quadrant, type_like(l, cx->i1), "");
    V y = sel(cx, odd, cosine, sine);
    V sign = LLVMBuildShl(cx->b, LLVMBuildAnd(cx->b, quadrant, const_int(l, 2), ""),
                          const_int(l, 62), "");
    return unbits(cx, LLVMBuildXor(cx->b, bits(cx, y), sign, ""), y);
}

static V sin32(Cx *cx, V x, bool cosine)
{
    V d = widen(cx, x), magic = real(d, 0x1.8p52);
    V t = add(cx, mul(cx, d, real(d, 6.36619772367581382433e-01)), magic), n = sub(cx, t, magic);
    V r = sub(cx, sub(cx, d, mul(cx, n, real(d, 1.57079631090164184570e+00))),
              mul(cx, n, real(d, 1.58932547735281966916e-08)));
    V quadrant = bits(cx, t); // n in the low bits
    V large = fcmp(cx, LLVMRealOGE, fabs_of(cx, x), real(x, 0x1p28));
    LLVMBasicBlockRef before = LLVMGetInsertBlock(cx->b), slow = new_block(cx),
                      after = new_block(cx);
    LLVMBuildCondBr(cx->b, any_of(cx, large), slow, after);
    LLVMPositionBuilderAtEnd(cx->b, slow);
    V slow_r, slow_q;
    reduce_large(cx, x, &slow_r, &slow_q);
    slow_r = sel(cx, large, slow_r, r);
    slow_q = sel(cx, large, slow_q, quadrant);
    LLVMBuildBr(cx->b, after);
    LLVMPositionBuilderAtEnd(cx->b, after);
    V pr = LLVMBuildPhi(cx->b, LLVMTypeOf(r), ""),
      pq = LLVMBuildPhi(cx->b, LLVMTypeOf(quadrant), "");
    LLVMBasicBlockRef from[] = {before, slow};
    LLVMAddIncoming(pr, (V[]){r, slow_r}, from, 2);
    LLVMAddIncoming(pq, (V[]){quadrant, slow_q}, from, 2);
    if (cosine) pq = LLVMBuildAdd(cx->b, pq, const_int(LLVMTypeOf(pq), 1), "");
    V y = narrow(cx, sin_quadrant32(cx, pr, pq));
    V finite = fcmp(cx, LLVMRealOLT, fabs_of(cx, x), real(x, __builtin_inf()));
    return sel(cx, finite, y, real(x, __builtin_nan("")));
}

/// f64: x - n pi/2 in three parts, exact to 2^-100 for |x| < 2^52.
static V sin64(Cx *cx, V x, bool cosine)
{
    V magic = real(x, 0x1.8p52),
      t = add(cx, mul(cx, x, real(x, 6.36619772367581382433e-01)), magic), n = sub(cx, t, magic);
    V minus = neg(cx, n);
    V p2 = real(x, 6.123233995736766036e-17), p3 = real(x, -1.497384904859169777e-33);
    V r0 = exact_fma(cx, minus, real(x, 1.57079632679489655800e+00), x);
    V wh = mul(cx, n, p2), wl = exact_fma(cx, n, p2, neg(cx, wh));
    V r, e;
    two_sum(cx, r0, neg(cx, wh), &r, &e);
    V tail = sub(cx, sub(cx, e, wl), mul(cx, n, p3));
    V y = add(cx, r, tail);
    tail = add(cx, sub(cx, r, y), tail);
    V z = mul(cx, y, y), w = mul(cx, z, z), half = real(x, 0.5);
    V rs = add(
        cx,
        POLY(z, 8.33333333332248946124e-03, -1.98412698298579493134e-04,
             2.75573137070700676789e-06),
        mul(cx, mul(cx, z, w), POLY(z, -2.50507602534068634195e-08, 1.58969099521155010221e-10)));
    V v = mul(cx, z, y);
    V inner = sub(cx, mul(cx, z, sub(cx, mul(cx, half, tail), mul(cx, v, rs))), tail);
    V sine = sub(cx, y, sub(cx, inner, mul(cx, v, real(x, -1.66666666666666324348e-01))));
    V rc = add(cx,
               mul(cx, z,
                   POLY(z, 4.16666666666666019037e-02, -1.38888888888741095749e-03,
                        2.48015872894767294178e-05)),
               mul(cx, mul(cx, w, w),
                   POLY(z, -2.75573143513906633035e-07, 2.08757232129817482790e-09,
                        -1.13596475577881948265e-11)));
    V hz = mul(cx, half, z), one = real(x, 1.0), ww = sub(cx, one, hz);
    V cos_y = add(
        cx, ww, add(cx, sub(cx, sub(cx, one, ww), hz), sub(cx, mul(cx, z, rc), mul(cx, y, tail))));
    V quadrant = bits(cx, t);
    LLVMTypeRef l = LLVMTypeOf(quadrant);
    if (cosine) quadrant = LLVMBuildAdd(cx->b, quadrant, const_int(l, 1), "");
    V odd = LLVMBuildTrunc(cx->b, quadrant, type_like(l, cx->i1), "");
    V sign = LLVMBuildShl(cx->b, LLVMBuildAnd(cx->b, quadrant, const_int(l, 2), ""),
                          const_int(l, 62), "");
    V result = unbits(cx, LLVMBuildXor(cx->b, bits(cx, sel(cx, odd, cos_y, sine)), sign, ""), x);
    V finite = fcmp(cx, LLVMRealOLT, fabs_of(cx, x), real(x, __builtin_inf()));
    return sel(cx, finite, result, real(x, __builtin_nan("")));
}

V math_sin(Cx *cx, V x, bool cosine)
{
    return is_f64(cx, x) ? sin64(cx, x, cosine) : sin32(cx, x, cosine);
}

// ---- erf, tanh, rsqrt -----------------------------------------------------------------------------------

/// 1 - erf for |x| >= 1.25, f64: exp(-x^2) with the square's rounding error put back.
static V erfc_tail64(Cx *cx, V a)
{
    V s = divide(cx, real(a, 1.0), mul(cx, a, a));
    V r1 =
        POLY(s, -9.86494403484714822705e-03, -6.93858572707181764372e-01,
             -1.05586262253232909814e+01, -6.23753324503260060396e+01, -1.62396669462573470355e+02,
             -1.84605092906711035994e+02, -8.12874355063065934246e+01, -9.81432934416914548592e+00);
    V s1 =
        POLY(s, 1.0, 1.96512716674392571292e+01, 1.37657754143519042600e+02,
             4.34565877475229228821e+02, 6.45387271733267880336e+02, 4.29008140027567833386e+02,
             1.08635005541779435134e+02, 6.57024977031928170135e+00, -6.04244152148580987438e-02);
    V r2 =
        POLY(s, -9.86494292470009928597e-03, -7.99283237680523006574e-01,
             -1.77579549177547519889e+01, -1.60636384855821916062e+02, -6.37566443368389627722e+02,
             -1.02509513161107724954e+03, -4.83519191608651397019e+02);
    V s2 = POLY(s, 1.0, 3.03380607434824582924e+01, 3.25792512996573918826e+02,
                1.53672958608443695994e+03, 3.19985821950859553908e+03, 2.55305040643316442583e+03,
                4.74528541206955367215e+02, -2.24409524465858183362e+01);
    V near = fcmp(cx, LLVMRealOLT, a, real(a, 1.0 / 0.35));
    V ratio = divide(cx, sel(cx, near, r1, r2), sel(cx, near, s1, s2));
    LLVMTypeRef t = int_like(cx, a);
    V z = unbits(
        cx, LLVMBuildAnd(cx->b, bits(cx, a), const_int(t, (int64_t)0xffffffff00000000), ""), a);
    V e1 = exp64(cx, sub(cx, mul(cx, neg(cx, z), z), real(a, 0.5625)));
    V e2 = exp64(cx, add(cx, mul(cx, sub(cx, z, a), add(cx, z, a)), ratio));
    return divide(cx, mul(cx, e1, e2), a);
}

static V erf64(Cx *cx, V x)
{
    V a = fabs_of(cx, x), z = mul(cx, x, x);
    V pp =
        POLY(z, 1.28379167095512558561e-01, -3.25042107247001499370e-01,
             -2.84817495755985104766e-02, -5.77027029648944159157e-03, -2.37630166566501626084e-05);
    V qq =
        POLY(z, 1.0, 3.97917223959155352819e-01, 6.50222499887672944485e-02,
             5.08130628187576562776e-03, 1.32494738004321644526e-04, -3.96022827877536812320e-06);
    V near = add(cx, x, mul(cx, x, divide(cx, pp, qq)));
    V s = sub(cx, a, real(x, 1.0));
    V pa =
        POLY(s, -2.36211856075265944077e-03, 4.14856118683748331666e-01,
             -3.72207876035701323847e-01, 3.18346619901161753674e-01, -1.10894694282396677476e-01,
             3.54783043256182359371e-02, -2.16637559486879084300e-03);
    V qa = POLY(s, 1.0, 1.06420880400844228286e-01, 5.40397917702171048937e-01,
                7.18286544141962662868e-02, 1.26171219808761642112e-01, 1.36370839120290507362e-02,
                1.19844998467991074170e-02);
    V middle = add(cx, real(x, 8.45062911510467529297e-01), divide(cx, pa, qa));
    V cut = sel(cx, fcmp(cx, LLVMRealOGT, a, real(x, 6.0)), real(x, 6.0), a);
    V far = sub(cx, real(x, 1.0), erfc_tail64(cx, cut));
    V outer = copysign_of(cx, sel(cx, fcmp(cx, LLVMRealOLT, a, real(x, 1.25)), middle, far), x);
    V y = sel(cx, fcmp(cx, LLVMRealOLT, a, real(x, 0.84375)), near, outer);
    return sel(cx, fcmp(cx, LLVMRealUNO, x, x), x, y);
}

V math_erf(Cx *cx, V x)
{
    if (is_f64(cx, x)) return erf64(cx, x);
    if (goes_wide(cx, x)) return narrow(cx, erf64(cx, widen(cx, x)));
    V t = fabs_of(cx, x), s = mul(cx, x, x);
    V r = mul_add(cx, real(x, -1.72853470e-5), t, real(x, 3.83197126e-4));
    V u = mul_add(cx, real(x, -3.88396438e-3), t, real(x, 2.42546219e-2));
    r = mul_add(cx, r, s, u);
    r = mul_add(cx, r, t, real(x, -1.06777877e-1));
    r = mul_add(cx, r, t, real(x, -6.34846687e-1));
    r = mul_add(cx, r, t, real(x, -1.28717512e-1));
    r = mul_add(cx, r, t, neg(cx, t));
    V far = copysign_of(cx, sub(cx, real(x, 1.0), math_exp(cx, r, false)), x);
    V far_end = copysign_of(cx, real(x, 1.0), x);
    far = sel(cx, fcmp(cx, LLVMRealOGT, t, real(x, 4.0)), far_end, far);
    V near = POLY(s, 1.28379166e-1, -3.76125336e-1, 1.12819925e-1, -2.67681349e-2, 4.99119423e-3,
                  -5.96761703e-4);
    near = mul_add(cx, near, x, x);
    V y = sel(cx, fcmp(cx, LLVMRealOGT, t, real(x, 0.927734375)), far, near);
    return sel(cx, fcmp(cx, LLVMRealUNO, x, x), x, y);
}

V math_tanh(Cx *cx, V x)
{
    if (goes_wide(cx, x)) return narrow(cx, math_tanh(cx, widen(cx, x)));
    bool wide = is_f64(cx, x);
    V a = fabs_of(cx, x), s = mul(cx, x, x), one = real(x, 1.0), two = real(x, 2.0);
    V top = real(x, wide ? 22.0 : 10.0); // 1 to the last bit from here on
    V cut = sel(cx, fcmp(cx, LLVMRealOGT, a, top), top, a);
    V e = math_exp(cx, add(cx, cut, cut), false);
    V far = copysign_of(cx, sub(cx, one, divide(cx, two, add(cx, e, one))), x);
    V near;
    if (wide) {
        V p = POLY(s, -1.61468768441708447952e3, -9.92877231001918586564e1,
                   -9.64399179425052238628e-1);
        V q = POLY(s, 4.84406305325125486048e3, 2.23548839060100448583e3, 1.12811678491632931402e2,
                   1.0);
        near = add(cx, x, mul(cx, mul(cx, x, s), divide(cx, p, q)));
    } else {
        V p = POLY(s, -3.33327681e-1, 1.33152470e-1, -5.23025580e-2, 1.57394409e-2);
        near = mul_add(cx, mul(cx, p, s), x, x);
    }
    V y = sel(cx, fcmp(cx, LLVMRealOGE, a, real(x, wide ? 0.625 : 0.55)), far, near);
    return sel(cx, fcmp(cx, LLVMRealUNO, x, x), x, y);
}

V math_rsqrt(Cx *cx, V x)
{
    if (goes_wide(cx, x)) return narrow(cx, math_rsqrt(cx, widen(cx, x)));
    V one = real(x, 1.0), s = sqrt_of(cx, x), y = divide(cx, one, s);
    if (!(cx->isa->facts & ISA_FMA)) return y; // f64: 1.5 ulp at most
    // 1 - x y^2 with x y in two parts, then one Newton step
    V t = mul(cx, x, y), t_low = mul_add(cx, x, y, neg(cx, t));
    V left = mul_add(cx, neg(cx, t), y, one);
    left = mul_add(cx, neg(cx, t_low), y, left);
    V better = mul_add(cx, mul(cx, real(x, 0.5), y), left, y);
    return sel(cx, fcmp(cx, LLVMRealORD, better, better), better,
               y); // 0 and infinity have no residual
}

// ---- remainder --------------------------------------------------------------------------------------------

/// fmod of f64 by long division, a quotient bit per step: every subtraction is exact.
static V fmod64(Cx *cx, V x, V y)
{
    V ax = fabs_of(cx, x), ay = fabs_of(cx, y), zero = real(x, 0.0), inf = real(x, __builtin_inf());
    V fine = LLVMBuildAnd(cx->b, fcmp(cx, LLVMRealOLT, ax, inf),
                          fcmp(cx, LLVMRealOGE, ay, real(x, 0x1p-1022)), "");
    ax = sel(cx, fine, ax, zero); // other lanes finish at once
    V divisor = sel(cx, fine, ay, real(x, 1.0));
    divisor = sel(cx, fcmp(cx, LLVMRealOLT, divisor, inf), divisor, real(x, 0x1p1023));
    V infinite = fcmp(cx, LLVMRealOEQ, ay, inf);
    LLVMBasicBlockRef before = LLVMGetInsertBlock(cx->b), head = new_block(cx),
                      body = new_block(cx), after = new_block(cx);
    LLVMBuildBr(cx->b, head);
    LLVMPositionBuilderAtEnd(cx->b, head);
    V r = LLVMBuildPhi(cx->b, LLVMTypeOf(x), "");
    V open = LLVMBuildAnd(cx->b, fcmp(cx, LLVMRealOGE, r, divisor),
                          LLVMBuildNot(cx->b, infinite, ""), "");
    LLVMBuildCondBr(cx->b, any_of(cx, open), body, after);
    LLVMPositionBuilderAtEnd(cx->b, body);
    V u = bits(cx, r), d = bits(cx, divisor);
    LLVMTypeRef t = LLVMTypeOf(u);
    V exponent = LLVMBuildAnd(cx->b, u, const_int(t, 0x7ff0000000000000), "");
    V mantissa = LLVMBuildAnd(cx->b, d, const_int(t, 0x000fffffffffffff), "");
    V step = unbits(cx, LLVMBuildOr(cx->b, mantissa, exponent, ""), x); // the divisor in r's binade
    V too_much = fcmp(cx, LLVMRealOGT, step, r);
    step = sel(cx, too_much, mul(cx, step, real(x, 0.5)), step);
    V next = sel(cx, open, sub(cx, r, step), r);
    LLVMAddIncoming(r, (V[]){ax, next}, (LLVMBasicBlockRef[]){before, LLVMGetInsertBlock(cx->b)},
                    2);
    LLVMBuildBr(cx->b, head);
    LLVMPositionBuilderAtEnd(cx->b, after);
    V result = copysign_of(cx, sel(cx, infinite, fabs_of(cx, x), r), x);
    V bad = fcmp(cx, LLVMRealUEQ, ay, zero); // y is 0 or NaN
    bad = LLVMBuildOr(cx->b, bad, fcmp(cx, LLVMRealUEQ, fabs_of(cx, x), inf), "");
    return sel(cx, bad, real(x, __builtin_nan("")), result);
}

V math_fmod(Cx *cx, V x, V y)
{
    return is_f64(cx, x) ? fmod64(cx, x, y) : narrow(cx, fmod64(cx, widen(cx, x), widen(cx, y)));
}
