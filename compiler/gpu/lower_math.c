// compiler/gpu/lower_math.c - functions of f32 and f64: instructions where the GPU has them, else
// polynomials.
//
//   f32   exp = ex2.approx(x log2 e), log = lg2.approx * ln 2, sqrt, rsqrt by instruction; sin,
//   cos, erf, tanh own f64   no instructions but sqrt: argument reduction and polynomials
//
// Bounds in tile-language.md 12. The emulator's ex2 and lg2 are the host's, so results differ
// within them.
//
// Source: sin, cos and tanh coefficients from Moshier's Cephes; erf (f32) from N. Juffa's public
// note on minimax erf; exp and log (f64) by Taylor and atanh series after reduction
#include "compiler/gpu/lower.h"

#include <math.h>

static LLVMValueRef real(LLVMValueRef like, double v)
{
    return LLVMConstReal(LLVMTypeOf(like), v);
}

static LLVMValueRef mul(Lower *lo, LLVMValueRef x, LLVMValueRef y)
{
    return LLVMBuildFMul(lo->b, x, y, "");
}

static LLVMValueRef call1(Lower *lo, const char *name, LLVMValueRef x)
{
    LLVMTypeRef type = LLVMTypeOf(x), ft;
    LLVMValueRef f = llvm_intrinsic(lo->ll, name, 1, &type, &ft);
    return LLVMBuildCall2(lo->b, ft, f, &x, 1, "");
}

static LLVMValueRef copysign_of(Lower *lo, LLVMValueRef x, LLVMValueRef sign)
{
    LLVMTypeRef type = LLVMTypeOf(x), ft;
    LLVMValueRef f = llvm_intrinsic(lo->ll, "llvm.copysign", 1, &type, &ft), args[] = {x, sign};
    return LLVMBuildCall2(lo->b, ft, f, args, 2, "");
}

static LLVMValueRef if_less(Lower *lo, LLVMValueRef x, double bound, LLVMValueRef yes,
                            LLVMValueRef no)
{
    return LLVMBuildSelect(lo->b, LLVMBuildFCmp(lo->b, LLVMRealOLT, x, real(x, bound), ""), yes, no,
                           "");
}

/// c[0] x^(n-1) + ... + c[n-1], highest power first.
static LLVMValueRef horner(Lower *lo, LLVMValueRef x, int32_t n, const double *c)
{
    LLVMValueRef r = real(x, c[0]);
    for (int32_t i = 1; i < n; i++)
        r = emit_fma(lo, r, x, real(x, c[i]));
    return r;
}

// ---- f32 --------------------------------------------------------------------------------------

/// q = rint(x * 2/pi); r = x - q * pi/2 in three parts; q's low bits choose function and sign.
static LLVMValueRef sin_cos(Lower *lo, LLVMValueRef x, bool is_cos)
{
    static const double sine[] = {-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1};
    static const double cosine[] = {2.443315711809948e-5, -1.388731625493765e-3,
                                    4.166664568298827e-2};
    static const double sine_d[] = {1.58962301576546568060E-10, -2.50507477628578072866E-8,
                                    2.75573136213857245213E-6,  -1.98412698295895385996E-4,
                                    8.33333333332211858878E-3,  -1.66666666666666307295E-1};
    static const double cosine_d[] = {-1.13585365213876817300E-11, 2.08757008419747316778E-9,
                                      -2.75573141792967388112E-7,  2.48015872888517045348E-5,
                                      -1.38888888888730564116E-3,  4.16666666666665929218E-2};
    bool wide = LLVMTypeOf(x) == lo->f64;
    LLVMTypeRef ints = wide ? lo->i64 : lo->i32;
    LLVMValueRef q = call1(lo, "llvm.rint", mul(lo, x, real(x, 0.63661977236758134308))), r,
                 minus = LLVMBuildFNeg(lo->b, q, "");
    r = emit_fma(lo, minus, real(x, wide ? 0x1.921fb54442d18p+0 : 0x1.921fb6p+0), x);
    r = emit_fma(lo, minus, real(x, wide ? 0x1.1a62633145c07p-54 : -0x1.777a5cp-25), r);
    r = emit_fma(lo, minus, real(x, wide ? -0x1.f1976b7ed8fbcp-110 : -0x1.ee59dap-50), r);
    LLVMTypeRef sat[2] = {ints, LLVMTypeOf(x)}, ft;
    LLVMValueRef f = llvm_intrinsic(lo->ll, "llvm.fptosi.sat", 2, sat, &ft);
    LLVMValueRef k = LLVMBuildCall2(lo->b, ft, f, &q, 1, "");
    if (is_cos) k = LLVMBuildAdd(lo->b, k, LLVMConstInt(ints, 1, false), "");
    LLVMValueRef z = mul(lo, r, r), s, c;
    s = emit_fma(lo, mul(lo, wide ? horner(lo, z, 6, sine_d) : horner(lo, z, 3, sine), z), r, r);
    c = wide ? horner(lo, z, 6, cosine_d) : horner(lo, z, 3, cosine);
    c = emit_fma(lo, mul(lo, c, z), z, emit_fma(lo, real(x, -0.5), z, real(x, 1)));
    LLVMValueRef odd = LLVMBuildTrunc(lo->b, k, lo->i1, "");
    LLVMValueRef v = LLVMBuildSelect(lo->b, odd, c, s, "");
    LLVMValueRef two = LLVMBuildAnd(lo->b, k, LLVMConstInt(ints, 2, false), "");
    return LLVMBuildSelect(lo->b, LLVMBuildIsNotNull(lo->b, two, ""), LLVMBuildFNeg(lo->b, v, ""),
                           v, "");
}

static LLVMValueRef exp_f32(Lower *lo, LLVMValueRef x)
{
    return KILN1(lo, EX2, mul(lo, x, real(x, 1.4426950408889634)));
}

static LLVMValueRef erf_f32(Lower *lo, LLVMValueRef x)
{
    static const double near[] = {-5.96761703e-4, 4.99119423e-3,  -2.67681349e-2,
                                  1.12819925e-1,  -3.76125336e-1, 1.28379166e-1};
    LLVMValueRef t = call1(lo, "llvm.fabs", x), s = mul(lo, x, x);
    LLVMValueRef r = emit_fma(lo, real(x, -1.72853470e-5), t, real(x, 3.83197126e-4));
    LLVMValueRef u = emit_fma(lo, real(x, -3.88396438e-3), t, real(x, 2.42546219e-2));
    r = emit_fma(lo, r, s, u);
    r = emit_fma(lo, r, t, real(x, -1.06777877e-1));
    r = emit_fma(lo, r, t, real(x, -6.34846687e-1));
    r = emit_fma(lo, r, t, real(x, -1.28717512e-1));
    r = emit_fma(lo, r, t, LLVMBuildFNeg(lo->b, t, ""));
    LLVMValueRef far = copysign_of(lo, LLVMBuildFSub(lo->b, real(x, 1), exp_f32(lo, r), ""), x);
    LLVMValueRef close = emit_fma(lo, horner(lo, s, 6, near), x, x);
    LLVMValueRef is_far = LLVMBuildFCmp(lo->b, LLVMRealOGT, t, real(x, 0.927734375), "");
    return LLVMBuildSelect(lo->b, is_far, far, close, "");
}

static LLVMValueRef tanh_f32(Lower *lo, LLVMValueRef x)
{
    static const double near[] = {-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2,
                                  1.33314422036e-1, -3.33332819422e-1};
    LLVMValueRef t = call1(lo, "llvm.fabs", x), z = mul(lo, x, x);
    LLVMValueRef close = emit_fma(lo, mul(lo, horner(lo, z, 5, near), z), x, x);
    LLVMValueRef e = LLVMBuildFAdd(lo->b, exp_f32(lo, mul(lo, t, real(x, 2))), real(x, 1), "");
    LLVMValueRef far =
        LLVMBuildFSub(lo->b, real(x, 1), LLVMBuildFDiv(lo->b, real(x, 2), e, ""), "");
    far = copysign_of(lo, far, x);
    return if_less(lo, t, 0.625, close,
                   LLVMBuildSelect(lo->b, LLVMBuildFCmp(lo->b, LLVMRealUNO, x, x, ""), x, far, ""));
}

// ---- f64 --------------------------------------------------------------------------------------

/// 2^k for integral k in [-1074, 1023], in two halves so that neither leaves the range.
static LLVMValueRef scale_by_exponent(Lower *lo, LLVMValueRef x, LLVMValueRef k)
{
    LLVMValueRef half = LLVMBuildAShr(lo->b, k, LLVMConstInt(lo->i64, 1, false), ""),
                 rest = LLVMBuildSub(lo->b, k, half, "");
    for (int32_t i = 0; i < 2; i++) {
        LLVMValueRef e = LLVMBuildAdd(lo->b, i ? rest : half, gpu_const_i64(lo, 1023), "");
        e = LLVMBuildShl(lo->b, e, gpu_const_i64(lo, 52), "");
        x = mul(lo, x, LLVMBuildBitCast(lo->b, e, lo->f64, ""));
    }
    return x;
}

/// exp(x) = 2^k exp(r), |r| <= ln 2 / 2, by its Taylor series to r^13.
static LLVMValueRef exp_f64(Lower *lo, LLVMValueRef x, bool base2)
{
    double c[14];
    c[13] = 1;
    for (int32_t i = 1; i < 14; i++)
        c[13 - i] = c[14 - i] / i;
    double bound = base2 ? 1080 : 748;
    LLVMTypeRef type = lo->f64, ft;
    LLVMValueRef top = llvm_intrinsic(lo->ll, "llvm.minnum", 1, &type, &ft),
                 bottom = llvm_intrinsic(lo->ll, "llvm.maxnum", 1, &type, &ft);
    LLVMValueRef y = LLVMBuildCall2(lo->b, ft, top, (LLVMValueRef[]){x, real(x, bound)}, 2, "");
    y = LLVMBuildCall2(lo->b, ft, bottom, (LLVMValueRef[]){y, real(x, -bound)}, 2, "");
    LLVMValueRef q = call1(lo, "llvm.rint", base2 ? y : mul(lo, y, real(x, 1.4426950408889634074))),
                 r;
    LLVMValueRef minus = LLVMBuildFNeg(lo->b, q, "");
    if (base2) {
        r = mul(lo, LLVMBuildFAdd(lo->b, y, minus, ""), real(x, 0.69314718055994530942));
    } else {
        r = emit_fma(lo, minus, real(x, 0x1.62e42fefa39efp-1), y);
        r = emit_fma(lo, minus, real(x, 0x1.abc9e3b39803fp-56), r);
    }
    LLVMValueRef p = horner(lo, r, 14, c);
    LLVMValueRef k = LLVMBuildFPToSI(lo->b, q, lo->i64, "");
    k = LLVMBuildSelect(lo->b, LLVMBuildICmp(lo->b, LLVMIntSGT, k, gpu_const_i64(lo, 2000), ""),
                        gpu_const_i64(lo, 2000), k, "");
    LLVMValueRef v = scale_by_exponent(lo, p, k);
    return LLVMBuildSelect(lo->b, LLVMBuildFCmp(lo->b, LLVMRealUNO, x, x, ""), x, v, "");
}

/// log(x) = k ln 2 + 2 atanh((m - 1) / (m + 1)), m in [sqrt(1/2), sqrt(2)).
static LLVMValueRef log_f64(Lower *lo, LLVMValueRef x, bool base2)
{
    double c[11];
    for (int32_t i = 0; i < 11; i++)
        c[10 - i] = 2.0 / (2 * i + 3);
    LLVMValueRef tiny = LLVMBuildFCmp(lo->b, LLVMRealOLT, x, real(x, 0x1p-1022), "");
    LLVMValueRef y = LLVMBuildSelect(lo->b, tiny, mul(lo, x, real(x, 0x1p54)), x, "");
    LLVMValueRef bits = LLVMBuildBitCast(lo->b, y, lo->i64, "");
    LLVMValueRef shifted = LLVMBuildSub(lo->b, bits, gpu_const_i64(lo, 0x3fe6a09e667f3bcd), "");
    LLVMValueRef k = LLVMBuildAShr(lo->b, shifted, gpu_const_i64(lo, 52), "");
    LLVMValueRef m =
        LLVMBuildSub(lo->b, bits, LLVMBuildShl(lo->b, k, gpu_const_i64(lo, 52), ""), "");
    m = LLVMBuildBitCast(lo->b, m, lo->f64, "");
    k = LLVMBuildSub(lo->b, k,
                     LLVMBuildSelect(lo->b, tiny, gpu_const_i64(lo, 54), gpu_const_i64(lo, 0), ""),
                     "");
    LLVMValueRef kd = LLVMBuildSIToFP(lo->b, k, lo->f64, "");
    LLVMValueRef f = LLVMBuildFSub(lo->b, m, real(x, 1), "");
    LLVMValueRef s = LLVMBuildFDiv(lo->b, f, LLVMBuildFAdd(lo->b, m, real(x, 1), ""), ""),
                 z = mul(lo, s, s);
    // 2s + s^3 P(z): f - s (f - z P) keeps the exact f as its leading part.
    LLVMValueRef tail = mul(lo, s, LLVMBuildFSub(lo->b, f, mul(lo, z, horner(lo, z, 11, c)), ""));
    LLVMValueRef v;
    if (base2) {
        LLVMValueRef l = LLVMBuildFSub(lo->b, f, tail, "");
        v = emit_fma(lo, l, real(x, 1.4426950408889634074), kd);
    } else {
        LLVMValueRef low =
            emit_fma(lo, kd, real(x, 0x1.abc9e3b39803fp-56), LLVMBuildFNeg(lo->b, tail, ""));
        v = emit_fma(lo, kd, real(x, 0x1.62e42fefa39efp-1), LLVMBuildFAdd(lo->b, low, f, ""));
    }
    v = LLVMBuildSelect(lo->b, LLVMBuildFCmp(lo->b, LLVMRealOEQ, x, real(x, 0), ""),
                        real(x, -INFINITY), v, "");
    v = LLVMBuildSelect(lo->b, LLVMBuildFCmp(lo->b, LLVMRealOEQ, x, real(x, INFINITY), ""), x, v,
                        "");
    return LLVMBuildSelect(lo->b, LLVMBuildFCmp(lo->b, LLVMRealULT, x, real(x, 0), ""),
                           real(x, NAN), v, "");
}

static LLVMValueRef tanh_f64(Lower *lo, LLVMValueRef x)
{
    static const double p[] = {-9.64399179425052238628E-1, -9.92877231001918586564E1,
                               -1.61468768441708447952E3};
    static const double q[] = {1, 1.12811678491632931402E2, 2.23548839060100448583E3,
                               4.84406305325125486048E3};
    LLVMValueRef t = call1(lo, "llvm.fabs", x), z = mul(lo, x, x);
    LLVMValueRef ratio = LLVMBuildFDiv(lo->b, horner(lo, z, 3, p), horner(lo, z, 4, q), "");
    LLVMValueRef close = emit_fma(lo, mul(lo, ratio, z), x, x);
    LLVMValueRef e =
        LLVMBuildFAdd(lo->b, exp_f64(lo, mul(lo, t, real(x, 2)), false), real(x, 1), "");
    LLVMValueRef far = copysign_of(
        lo, LLVMBuildFSub(lo->b, real(x, 1), LLVMBuildFDiv(lo->b, real(x, 2), e, ""), ""), x);
    return if_less(lo, t, 0.625, close,
                   LLVMBuildSelect(lo->b, LLVMBuildFCmp(lo->b, LLVMRealUNO, x, x, ""), x, far, ""));
}

/// erf(x) = x T(x^2)/U(x^2) for |x| <= 1, else 1 - exp(-x^2) P(|x|)/Q(|x|) (Cephes ndtr.c).
static LLVMValueRef erf_f64(Lower *lo, LLVMValueRef x)
{
    static const double t[] = {9.60497373987051638749E0, 9.00260197203842689217E1,
                               2.23200534594684319226E3, 7.00332514112805075473E3,
                               5.55923013010394962768E4};
    static const double u[] = {1,
                               3.35617141647503099647E1,
                               5.21357949780152679795E2,
                               4.59432382970980127987E3,
                               2.26290000613890934246E4,
                               4.92673942608635921086E4};
    static const double p[] = {
        2.46196981473530512524E-10, 5.64189564831068821977E-1, 7.46321056442269912687E0,
        4.86371970985681366614E1,   1.96520832956077098242E2,  5.26445194995477358631E2,
        9.34528527171957607540E2,   1.02755188689515710272E3,  5.57535335369399327526E2};
    static const double q[] = {1,
                               1.32281951154744992508E1,
                               8.67072140885989742329E1,
                               3.54937778887819891062E2,
                               9.75708501743205489753E2,
                               1.82390916687909736289E3,
                               2.24633760818710981792E3,
                               1.65666309194161350182E3,
                               5.57535340817727675546E2};
    LLVMValueRef a = call1(lo, "llvm.fabs", x), z = mul(lo, x, x);
    LLVMValueRef close =
        mul(lo, x, LLVMBuildFDiv(lo->b, horner(lo, z, 5, t), horner(lo, z, 6, u), ""));
    LLVMValueRef c = if_less(lo, a, 6.5, a, real(x, 6.5)); // erf is 1 from there on
    LLVMValueRef e = exp_f64(lo, LLVMBuildFNeg(lo->b, mul(lo, c, c), ""), false);
    LLVMValueRef far =
        mul(lo, e, LLVMBuildFDiv(lo->b, horner(lo, c, 9, p), horner(lo, c, 9, q), ""));
    far = copysign_of(lo, LLVMBuildFSub(lo->b, real(x, 1), far, ""), x);
    far = LLVMBuildSelect(lo->b, LLVMBuildFCmp(lo->b, LLVMRealUNO, x, x, ""), x, far, "");
    return if_less(lo, a, 1, close, far);
}

static LLVMValueRef math_f64(Lower *lo, ElemKind e, LLVMValueRef x)
{
    switch (e) {
    case ELEM_SQRT:
    case ELEM_SQRT_RN:
        return KILN1(lo, SQRT_D, x);
    case ELEM_RSQRT:
        return LLVMBuildFDiv(lo->b, real(x, 1), KILN1(lo, SQRT_D, x), "");
    case ELEM_EXP:
        return exp_f64(lo, x, false);
    case ELEM_EXP2:
        return exp_f64(lo, x, true);
    case ELEM_LOG:
        return log_f64(lo, x, false);
    case ELEM_LOG2:
        return log_f64(lo, x, true);
    case ELEM_SIN:
        return sin_cos(lo, x, false);
    case ELEM_COS:
        return sin_cos(lo, x, true);
    case ELEM_ERF:
        return erf_f64(lo, x);
    case ELEM_TANH:
        return tanh_f64(lo, x);
    default:
        BUG("no f64 form of %s", elem_facts[e].name);
    }
}

LLVMValueRef emit_math(Lower *lo, ElemKind e, LLVMValueRef x)
{
    if (LLVMTypeOf(x) == lo->f64) return math_f64(lo, e, x);
    switch (e) {
    case ELEM_SQRT:
        return KILN1(lo, SQRT, x);
    case ELEM_SQRT_RN:
        return KILN1(lo, SQRT_RN, x);
    case ELEM_RSQRT:
        return KILN1(lo, RSQRT, x);
    case ELEM_EXP:
        return exp_f32(lo, x);
    case ELEM_EXP2:
        return KILN1(lo, EX2, x);
    case ELEM_LOG:
        return mul(lo, KILN1(lo, LG2, x), real(x, 0.69314718055994530942));
    case ELEM_LOG2:
        return KILN1(lo, LG2, x);
    case ELEM_SIN:
        return sin_cos(lo, x, false);
    case ELEM_COS:
        return sin_cos(lo, x, true);
    case ELEM_ERF:
        return erf_f32(lo, x);
    case ELEM_TANH:
        return tanh_f32(lo, x);
    default:
        BUG("no f32 form of %s", elem_facts[e].name);
    }
}
