// compiler/cpu/convert.c - casts and roundings on vectors, by instruction where the level has one and by
// integer arithmetic where it has not. Every sequence is exact: round to nearest even, once.
#include "compiler/cpu/cpu.h"

static LLVMValueRef bits_of(Cx *cx, LLVMValueRef x)
{
    return LLVMBuildBitCast(cx->b, x, type_like(LLVMTypeOf(x), cx->i32), "");
}

static LLVMValueRef float_of(Cx *cx, LLVMValueRef bits)
{
    return LLVMBuildBitCast(cx->b, bits, type_like(LLVMTypeOf(bits), cx->f32), "");
}

static LLVMValueRef and_const(Cx *cx, LLVMValueRef x, uint32_t mask)
{
    return LLVMBuildAnd(cx->b, x, const_int(LLVMTypeOf(x), (int32_t)mask), "");
}

static LLVMValueRef is_nan(Cx *cx, LLVMValueRef x)
{
    return LLVMBuildFCmp(cx->b, LLVMRealUNO, x, x, "");
}

// ---- narrow floats that live in f32 ---------------------------------------------------------------

/// A narrow format: 1 sign bit, e exponent bits, m mantissa bits; `top` is its largest finite value.
typedef struct Narrow {
    int32_t mantissa, min_exponent; ///< min_exponent: of the smallest normal value
    float top;
    bool saturates; ///< overflow gives `top`, else infinity
} Narrow;

static Narrow narrow_of(DType t)
{
    switch (t) {
    case DTYPE_F16:
        return (Narrow){10, -14, 65504.0f, false};
    case DTYPE_BF16:
        return (Narrow){7, -126, 0x1.fep127f, false};
    case DTYPE_F8E4M3:
        return (Narrow){3, -6, 448.0f, true};
    default:
        return (Narrow){2, -14, 57344.0f, true};
    }
}

/// Rounds |x| on the grid of `n`: adding and subtracting a power of two whose ulp is the grid's step there
/// makes the addition's own rounding do it. The power is 2^(23 - mantissa) times that of x, or of the smallest
/// normal value, below which the grid is even.
static LLVMValueRef round_magnitude(Cx *cx, LLVMValueRef magnitude, Narrow n)
{
    LLVMValueRef exponent = and_const(cx, bits_of(cx, magnitude), 0x7f800000u);
    LLVMValueRef least = const_int(LLVMTypeOf(exponent), (int64_t)(n.min_exponent + 127) << 23);
    LLVMValueRef below = LLVMBuildICmp(cx->b, LLVMIntSLT, exponent, least, "");
    exponent = LLVMBuildSelect(cx->b, below, least, exponent, "");
    LLVMValueRef most =
        const_int(LLVMTypeOf(exponent), (int64_t)(127 + 100) << 23); // past every format's range
    exponent = LLVMBuildSelect(cx->b, LLVMBuildICmp(cx->b, LLVMIntSGT, exponent, most, ""), most,
                               exponent, "");
    LLVMValueRef up = const_int(LLVMTypeOf(exponent), (int64_t)(23 - n.mantissa) << 23);
    LLVMValueRef magic = float_of(cx, LLVMBuildAdd(cx->b, exponent, up, ""));
    LLVMValueRef sum = LLVMBuildFAdd(cx->b, magnitude, magic, "");
    return LLVMBuildFSub(cx->b, sum, magic, "");
}

static LLVMValueRef truncate_magnitude(Cx *cx, LLVMValueRef magnitude, Narrow n)
{
    LLVMValueRef r = round_magnitude(cx, magnitude, n);
    LLVMValueRef above = LLVMBuildFCmp(cx->b, LLVMRealOGT, r, magnitude, "");
    LLVMValueRef exponent = and_const(cx, bits_of(cx, magnitude), 0x7f800000u);
    LLVMValueRef least = const_int(LLVMTypeOf(exponent), (int64_t)(n.min_exponent + 127) << 23);
    LLVMValueRef below = LLVMBuildICmp(cx->b, LLVMIntSLT, exponent, least, "");
    exponent = LLVMBuildSelect(cx->b, below, least, exponent, "");
    LLVMValueRef down = const_int(LLVMTypeOf(exponent), (int64_t)n.mantissa << 23);
    LLVMValueRef step = float_of(cx, LLVMBuildSub(cx->b, exponent, down, ""));
    return LLVMBuildSelect(cx->b, above, LLVMBuildFSub(cx->b, r, step, ""), r, "");
}

/// bf16 in four integer operations and a NaN guard: add half an ulp, ties by the last kept bit, cut.
static LLVMValueRef round_bf16(Cx *cx, LLVMValueRef x)
{
    LLVMValueRef u = bits_of(cx, x);
    LLVMTypeRef t = LLVMTypeOf(u);
    LLVMValueRef odd = and_const(cx, LLVMBuildLShr(cx->b, u, const_int(t, 16), ""), 1);
    LLVMValueRef sum =
        LLVMBuildAdd(cx->b, LLVMBuildAdd(cx->b, u, const_int(t, 0x7fff), ""), odd, "");
    LLVMValueRef quiet = LLVMBuildOr(cx->b, u, const_int(t, 0x400000), "");
    LLVMValueRef r = LLVMBuildSelect(cx->b, is_nan(cx, x), quiet, sum, "");
    return float_of(cx, and_const(cx, r, 0xffff0000u));
}

LLVMValueRef round_to(Cx *cx, DType t, LLVMValueRef x, RoundMode round)
{
    if (t != DTYPE_F16 && t != DTYPE_BF16 && t != DTYPE_F8E4M3 && t != DTYPE_F8E5M2) return x;
    if (t == DTYPE_BF16 && round == ROUND_RNE) return round_bf16(cx, x);
    if (t == DTYPE_BF16) {
        LLVMValueRef u = bits_of(cx, x),
                     quiet = LLVMBuildOr(cx->b, u, const_int(LLVMTypeOf(u), 0x400000), "");
        return float_of(
            cx, and_const(cx, LLVMBuildSelect(cx->b, is_nan(cx, x), quiet, u, ""), 0xffff0000u));
    }
    if (t == DTYPE_F16 && round == ROUND_RNE && cx->isa->facts & ISA_F16C) {
        LLVMTypeRef type = LLVMTypeOf(x);
        LLVMValueRef h =
            LLVMBuildFPTrunc(cx->b, x, type_like(type, LLVMHalfTypeInContext(cx->c)), "");
        return LLVMBuildFPExt(cx->b, h, type, "");
    }
    Narrow n = narrow_of(t);
    LLVMTypeRef type = LLVMTypeOf(x);
    LLVMValueRef u = bits_of(cx, x), sign = and_const(cx, u, 0x80000000u);
    LLVMValueRef magnitude = float_of(cx, and_const(cx, u, 0x7fffffffu));
    LLVMValueRef r = round == ROUND_RTZ ? truncate_magnitude(cx, magnitude, n)
                                        : round_magnitude(cx, magnitude, n);
    LLVMValueRef top = const_real(type, (double)n.top), inf = const_real(type, __builtin_inf());
    LLVMValueRef over = LLVMBuildFCmp(cx->b, LLVMRealOGT, r, top, "");
    // past the top: saturating formats and truncation give the top, the others infinity (which stays infinity)
    LLVMValueRef limit = n.saturates || round == ROUND_RTZ ? top : inf;
    r = LLVMBuildSelect(cx->b, over, limit, r, "");
    if (!n.saturates)
        r = LLVMBuildSelect(cx->b, LLVMBuildFCmp(cx->b, LLVMRealOEQ, magnitude, inf, ""), inf, r,
                            "");
    else
        r = LLVMBuildSelect(cx->b, LLVMBuildFCmp(cx->b, LLVMRealOEQ, magnitude, inf, ""), top, r,
                            "");
    r = LLVMBuildSelect(cx->b, is_nan(cx, x), magnitude, r, "");
    return float_of(cx, LLVMBuildOr(cx->b, bits_of(cx, r), sign, ""));
}

// ---- memory forms ---------------------------------------------------------------------------------

/// A format narrower than f32 whose exponent needs rebiasing: shift the fields into place and multiply by a power
/// of two, which also makes subnormals right; infinity and NaN are patched.
static LLVMValueRef widen_narrow(Cx *cx, LLVMValueRef bits, int32_t width, int32_t mantissa,
                                 int32_t bias, uint32_t inf_from)
{
    LLVMTypeRef t = type_like(LLVMTypeOf(bits), cx->i32);
    LLVMValueRef u = LLVMBuildZExt(cx->b, bits, t, "");
    LLVMValueRef magnitude = and_const(cx, u, (1u << (width - 1)) - 1);
    LLVMValueRef sign =
        LLVMBuildShl(cx->b, LLVMBuildXor(cx->b, u, magnitude, ""), const_int(t, 32 - width), "");
    LLVMValueRef shifted = LLVMBuildShl(cx->b, magnitude, const_int(t, 23 - mantissa), "");
    LLVMValueRef f = float_of(cx, shifted);
    uint32_t scale_bits = (uint32_t)(127 + 127 - bias) << 23;
    f = LLVMBuildFMul(cx->b, f, const_real(LLVMTypeOf(f), (double)f32_from_bits(scale_bits)), "");
    LLVMValueRef special = LLVMBuildICmp(cx->b, LLVMIntUGE, magnitude, const_int(t, inf_from), "");
    LLVMValueRef patched = LLVMBuildOr(cx->b, shifted, const_int(t, 0x7f800000), "");
    LLVMValueRef r = LLVMBuildSelect(cx->b, special, patched, bits_of(cx, f), "");
    return float_of(cx, LLVMBuildOr(cx->b, r, sign, ""));
}

LLVMValueRef from_memory(Cx *cx, const Type *elem, LLVMValueRef x)
{
    if (elem->is_ptr) return x;
    LLVMTypeRef t = LLVMTypeOf(x);
    switch (elem->dtype) {
    case DTYPE_I1:
        return LLVMBuildICmp(cx->b, LLVMIntNE, x, LLVMConstNull(t), "");
    case DTYPE_BF16: {
        LLVMValueRef u = LLVMBuildZExt(cx->b, x, type_like(t, cx->i32), "");
        return float_of(cx, LLVMBuildShl(cx->b, u, const_int(LLVMTypeOf(u), 16), ""));
    }
    case DTYPE_F16:
        if (cx->isa->facts & ISA_F16C) {
            LLVMValueRef h =
                LLVMBuildBitCast(cx->b, x, type_like(t, LLVMHalfTypeInContext(cx->c)), "");
            return LLVMBuildFPExt(cx->b, h, type_like(t, cx->f32), "");
        }
        return widen_narrow(cx, x, 16, 10, 15, 0x7c00);
    case DTYPE_F8E5M2:
        return widen_narrow(cx, x, 8, 2, 15, 0x7c);
    case DTYPE_F8E4M3:
        return widen_narrow(cx, x, 8, 3, 7, 0x7f);
    default:
        return x;
    }
}

/// The inverse for a value that the format holds exactly.
static LLVMValueRef narrow_exact(Cx *cx, LLVMValueRef x, int32_t width, int32_t mantissa,
                                 int32_t bias, uint32_t inf_bits)
{
    LLVMValueRef u = bits_of(cx, x);
    LLVMTypeRef t = LLVMTypeOf(u);
    LLVMValueRef magnitude = and_const(cx, u, 0x7fffffffu);
    LLVMValueRef sign =
        LLVMBuildLShr(cx->b, and_const(cx, u, 0x80000000u), const_int(t, 32 - width), "");
    double scale =
        (double)f32_from_bits((uint32_t)bias << 23); // 2^(bias - 127): exponents drop by 127 - bias
    LLVMValueRef scaled =
        LLVMBuildFMul(cx->b, float_of(cx, magnitude), const_real(type_like(t, cx->f32), scale), "");
    LLVMValueRef r = LLVMBuildLShr(cx->b, bits_of(cx, scaled), const_int(t, 23 - mantissa), "");
    LLVMValueRef is_special =
        LLVMBuildICmp(cx->b, LLVMIntUGE, magnitude, const_int(t, 0x7f800000), "");
    LLVMValueRef is_nan_bits =
        LLVMBuildICmp(cx->b, LLVMIntUGT, magnitude, const_int(t, 0x7f800000), "");
    uint32_t nan_bits = inf_bits | (mantissa == 3 ? 0u : 1u << (mantissa - 1));
    LLVMValueRef special =
        LLVMBuildSelect(cx->b, is_nan_bits, const_int(t, nan_bits), const_int(t, inf_bits), "");
    r = LLVMBuildSelect(cx->b, is_special, special, r, "");
    r = LLVMBuildOr(cx->b, r, sign, "");
    return LLVMBuildTrunc(cx->b, r, type_like(t, width == 8 ? cx->i8 : cx->i16), "");
}

LLVMValueRef to_memory(Cx *cx, const Type *elem, LLVMValueRef x)
{
    if (elem->is_ptr) return x;
    LLVMTypeRef t = LLVMTypeOf(x);
    switch (elem->dtype) {
    case DTYPE_I1:
        return LLVMBuildZExt(cx->b, x, type_like(t, cx->i8), "");
    case DTYPE_BF16: {
        LLVMValueRef u = bits_of(cx, x);
        return LLVMBuildTrunc(cx->b, LLVMBuildLShr(cx->b, u, const_int(LLVMTypeOf(u), 16), ""),
                              type_like(t, cx->i16), "");
    }
    case DTYPE_F16:
        if (cx->isa->facts & ISA_F16C) {
            LLVMValueRef h =
                LLVMBuildFPTrunc(cx->b, x, type_like(t, LLVMHalfTypeInContext(cx->c)), "");
            return LLVMBuildBitCast(cx->b, h, type_like(t, cx->i16), "");
        }
        return narrow_exact(cx, x, 16, 10, 15, 0x7c00);
    case DTYPE_F8E5M2:
        return narrow_exact(cx, x, 8, 2, 15, 0x7c);
    case DTYPE_F8E4M3:
        return narrow_exact(cx, x, 8, 3, 7, 0x7f);
    default:
        return x;
    }
}

// ---- casts ------------------------------------------------------------------------------------------

/// f64 to a narrow float in one rounding: to f32 rounding to odd first, after which the second rounding is the only one.
static LLVMValueRef f64_to_odd_f32(Cx *cx, LLVMValueRef x)
{
    LLVMTypeRef d = LLVMTypeOf(x), f = type_like(d, cx->f32), i = type_like(d, cx->i32);
    LLVMValueRef r = LLVMBuildFPTrunc(cx->b, x, f, "");
    LLVMValueRef back = LLVMBuildFPExt(cx->b, r, d, "");
    LLVMValueRef inexact = LLVMBuildFCmp(cx->b, LLVMRealONE, back, x, "");
    LLVMValueRef u = bits_of(cx, r);
    // when r overshoots in magnitude step back, then set the last bit: between two neighbours the odd one
    LLVMValueRef a[] = {back}, b[] = {x};
    LLVMValueRef over = LLVMBuildFCmp(cx->b, LLVMRealOGT, call_intrinsic(cx, "llvm.fabs", d, 1, a),
                                      call_intrinsic(cx, "llvm.fabs", d, 1, b), "");
    LLVMValueRef down = LLVMBuildSub(cx->b, u, LLVMBuildZExt(cx->b, over, i, ""), "");
    LLVMValueRef odd = LLVMBuildOr(cx->b, down, const_int(i, 1), "");
    return float_of(cx, LLVMBuildSelect(cx->b, inexact, odd, u, ""));
}

/// f32 to ints of up to 32 bits with a sign, or of up to 16 without, in lanes: clamped first, since LLVM takes its own
/// saturating conversion of vectors apart on x86. NaN becomes 0.
static LLVMValueRef clamped_to_int(Cx *cx, DType to, LLVMValueRef x)
{
    LLVMTypeRef f = LLVMTypeOf(x), i = type_like(f, cx->i32), t = type_like(f, dtype_type(cx, to));
    int32_t bits = dtype_bits(to) - dtype_is_signed(to);
    double low = dtype_is_signed(to) ? -(double)((int64_t)1 << bits) : 0,
           end = (double)((int64_t)1 << bits), high = bits == 31 ? end - 128 : end - 1;
    LLVMValueRef least = const_real(f, low), most = const_real(f, high);
    LLVMValueRef above = LLVMBuildFCmp(cx->b, LLVMRealOGT, x, least, "");
    LLVMValueRef v = LLVMBuildSelect(cx->b, above, x, least, ""); // NaN is the least, for now
    v = LLVMBuildSelect(cx->b, LLVMBuildFCmp(cx->b, LLVMRealOLT, v, most, ""), v, most, "");
    v = LLVMBuildFPToSI(cx->b, v, i, "");
    if (bits == 31) { // the greatest int is no f32
        LLVMValueRef past = LLVMBuildFCmp(cx->b, LLVMRealOGE, x, const_real(f, end), "");
        v = LLVMBuildSelect(cx->b, past, const_int(i, INT32_MAX), v, "");
    }
    LLVMValueRef number = LLVMBuildFCmp(cx->b, LLVMRealORD, x, x, "");
    v = LLVMBuildSelect(cx->b, number, v, LLVMConstNull(i), "");
    return dtype_bits(to) == 32 ? v : LLVMBuildTrunc(cx->b, v, t, "");
}

static LLVMValueRef float_to_int(Cx *cx, DType to, LLVMValueRef x)
{
    LLVMTypeRef t = type_like(LLVMTypeOf(x), dtype_type(cx, to));
    if (to == DTYPE_I1)
        return LLVMBuildFCmp(cx->b, LLVMRealUNE, x, LLVMConstNull(LLVMTypeOf(x)), "");
    if (!(cx->isa->facts & ISA_ARM) && lanes_of(t) > 1 && scalar_of(LLVMTypeOf(x)) == cx->f32 &&
        dtype_bits(to) - dtype_is_signed(to) < 32 && dtype_bits(to) >= 8)
        return clamped_to_int(cx, to, x);
    LLVMTypeRef overload[] = {t, LLVMTypeOf(x)};
    LLVMTypeRef type;
    const char *name = dtype_is_signed(to) ? "llvm.fptosi.sat" : "llvm.fptoui.sat";
    LLVMValueRef f = llvm_intrinsic(&cx->ll, name, 2, overload, &type);
    return LLVMBuildCall2(cx->b, type, f, &x, 1, "");
}

static LLVMValueRef int_to_float(Cx *cx, DType from, DType to, LLVMValueRef x, RoundMode round)
{
    // ints wider than 24 bits reach a narrow float through f64 (53 bits) or, for 64-bit ones, with the bits
    // below the 53rd gathered into a sticky one, so that rounding happens once
    bool is_narrow = to != DTYPE_F32 && to != DTYPE_F64;
    LLVMTypeRef t = LLVMTypeOf(x);
    if (!is_narrow) {
        LLVMTypeRef f = type_like(t, dtype_type(cx, to));
        return dtype_is_signed(from) ? LLVMBuildSIToFP(cx->b, x, f, "")
                                     : LLVMBuildUIToFP(cx->b, x, f, "");
    }
    LLVMTypeRef f = type_like(t, cx->f32);
    LLVMValueRef r =
        dtype_is_signed(from) ? LLVMBuildSIToFP(cx->b, x, f, "") : LLVMBuildUIToFP(cx->b, x, f, "");
    if (to == DTYPE_F8E4M3 || to == DTYPE_F8E5M2 || dtype_bits(from) <= 16)
        return round_to(cx, to, r, round);
    if (dtype_bits(from) == 32) {
        LLVMTypeRef d = type_like(t, cx->f64);
        LLVMValueRef wide = dtype_is_signed(from) ? LLVMBuildSIToFP(cx->b, x, d, "")
                                                  : LLVMBuildUIToFP(cx->b, x, d, "");
        return round_to(cx, to, f64_to_odd_f32(cx, wide), round);
    }
    LLVMValueRef low = LLVMBuildAnd(cx->b, x, const_int(t, 0x7ff), "");
    LLVMValueRef sticky =
        LLVMBuildZExt(cx->b, LLVMBuildICmp(cx->b, LLVMIntNE, low, LLVMConstNull(t), ""), t, "");
    sticky = LLVMBuildShl(cx->b, sticky, const_int(t, 11), "");
    LLVMValueRef high =
        LLVMBuildOr(cx->b, LLVMBuildAnd(cx->b, x, const_int(t, ~(int64_t)0x7ff), ""), sticky, "");
    LLVMValueRef magnitude = LLVMBuildAnd(cx->b, x, const_int(t, ~(((int64_t)1 << 40) - 1)), "");
    LLVMValueRef small = LLVMBuildICmp(cx->b, LLVMIntEQ, magnitude, LLVMConstNull(t), "");
    LLVMValueRef small_negative =
        LLVMBuildICmp(cx->b, LLVMIntEQ, magnitude, const_int(t, ~(((int64_t)1 << 40) - 1)), "");
    if (dtype_is_signed(from)) small = LLVMBuildOr(cx->b, small, small_negative, "");
    x = LLVMBuildSelect(cx->b, small, x, high, ""); // below 2^40 every bit fits f64 as it is
    LLVMTypeRef d = type_like(t, cx->f64);
    LLVMValueRef wide =
        dtype_is_signed(from) ? LLVMBuildSIToFP(cx->b, x, d, "") : LLVMBuildUIToFP(cx->b, x, d, "");
    return round_to(cx, to, f64_to_odd_f32(cx, wide), round);
}

static LLVMValueRef float_to_float(Cx *cx, DType from, DType to, RoundMode round, LLVMValueRef x)
{
    LLVMTypeRef t = LLVMTypeOf(x);
    if (to == DTYPE_F64)
        return from == DTYPE_F64 ? x : LLVMBuildFPExt(cx->b, x, type_like(t, cx->f64), "");
    if (from != DTYPE_F64) return to == DTYPE_F32 ? x : round_to(cx, to, x, round);
    if (to == DTYPE_F32 && round == ROUND_RNE)
        return LLVMBuildFPTrunc(cx->b, x, type_like(t, cx->f32), "");
    if (to == DTYPE_F32) { // toward zero: step back where rounding went up; overflow stays finite
        LLVMValueRef r = LLVMBuildFPTrunc(cx->b, x, type_like(t, cx->f32), "");
        LLVMValueRef back[] = {LLVMBuildFPExt(cx->b, r, t, "")}, given[] = {x};
        LLVMValueRef over =
            LLVMBuildFCmp(cx->b, LLVMRealOGT, call_intrinsic(cx, "llvm.fabs", t, 1, back),
                          call_intrinsic(cx, "llvm.fabs", t, 1, given), "");
        LLVMValueRef u = bits_of(cx, r);
        return float_of(cx,
                        LLVMBuildSub(cx->b, u, LLVMBuildZExt(cx->b, over, LLVMTypeOf(u), ""), ""));
    }
    return round_to(cx, to, f64_to_odd_f32(cx, x), round);
}

LLVMValueRef cast_emit(Cx *cx, DType from, DType to, RoundMode round, LLVMValueRef x)
{
    LLVMTypeRef t = LLVMTypeOf(x);
    if (from == to) return x;
    if (dtype_is_float(from)) {
        return dtype_is_float(to) ? float_to_float(cx, from, to, round, x)
                                  : float_to_int(cx, to, x);
    }
    if (dtype_is_float(to)) return int_to_float(cx, from, to, x, round);
    if (to == DTYPE_I1) return LLVMBuildICmp(cx->b, LLVMIntNE, x, LLVMConstNull(t), "");
    LLVMTypeRef r = type_like(t, dtype_type(cx, to));
    if (dtype_bits(to) == dtype_bits(from)) return x;
    if (dtype_bits(to) < dtype_bits(from)) return LLVMBuildTrunc(cx->b, x, r, "");
    return dtype_is_signed(from) ? LLVMBuildSExt(cx->b, x, r, "") : LLVMBuildZExt(cx->b, x, r, "");
}

LLVMValueRef bitcast_emit(Cx *cx, const Type *from, const Type *to, LLVMValueRef x)
{
    LLVMTypeRef t = LLVMTypeOf(x);
    if (from->is_ptr && to->is_ptr) return x;
    if (from->is_ptr) return LLVMBuildPtrToInt(cx->b, x, type_like(t, cx->i64), "");
    if (to->is_ptr) return LLVMBuildIntToPtr(cx->b, x, type_like(t, cx->ptr), "");
    if (from->dtype == to->dtype) return x;
    if (from->dtype == DTYPE_I1) return x;
    x = to_memory(cx, from->element, x);
    x = LLVMBuildBitCast(cx->b, x, type_like(t, memory_type(cx, to->element)), "");
    return from_memory(cx, to->element, x);
}
