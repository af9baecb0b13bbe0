// compiler/gpu/lower_cast.c - value conversions of one register (tile-language.md 6.3).
//
//   bf16      the upper half of an f32; rounding by cvt.rn.bf16 where the architecture has it, else
//   on the bits fp8       to f16 exactly by shifting bits (e5m2 is f16's upper half; e4m3 needs its
//   bias times 2^8);
//             from f32 by rounding the bits once, subnormals by adding 2^23
//   to ints   toward zero, out of range saturates, NaN gives 0
#include "compiler/gpu/lower.h"

static LLVMValueRef bits_of(Lower *lo, LLVMValueRef x)
{
    return LLVMBuildBitCast(lo->b, x, lo->i32, "");
}

static LLVMValueRef shr(Lower *lo, LLVMValueRef x, int32_t n)
{
    return LLVMBuildLShr(lo->b, x, LLVMConstInt(LLVMTypeOf(x), (unsigned)n, false), "");
}

static LLVMValueRef and_const(Lower *lo, LLVMValueRef x, uint32_t mask)
{
    return LLVMBuildAnd(lo->b, x, LLVMConstInt(LLVMTypeOf(x), mask, false), "");
}

static LLVMValueRef add_const(Lower *lo, LLVMValueRef x, int64_t v)
{
    return LLVMBuildAdd(lo->b, x, const_i32(lo, v), "");
}

static LLVMValueRef is_nan(Lower *lo, LLVMValueRef x)
{
    return LLVMBuildFCmp(lo->b, LLVMRealUNO, x, x, "");
}

// ---- to f32 -----------------------------------------------------------------------------------

static LLVMValueRef f32_from_bf16(Lower *lo, LLVMValueRef x)
{
    LLVMValueRef wide =
        LLVMBuildShl(lo->b, LLVMBuildZExt(lo->b, x, lo->i32, ""), const_i32(lo, 16), "");
    return LLVMBuildBitCast(lo->b, wide, lo->f32, "");
}

static LLVMValueRef f32_from_f8(Lower *lo, LLVMValueRef x, DType t)
{
    LLVMValueRef w = LLVMBuildZExt(lo->b, x, lo->i16, "");
    if (t == DTYPE_F8E5M2) {
        LLVMValueRef h = LLVMBuildShl(lo->b, w, LLVMConstInt(lo->i16, 8, false), "");
        return LLVMBuildFPExt(lo->b, LLVMBuildBitCast(lo->b, h, lo->f16, ""), lo->f32, "");
    }
    LLVMValueRef sign =
        LLVMBuildShl(lo->b, and_const(lo, w, 0x80), LLVMConstInt(lo->i16, 8, false), "");
    LLVMValueRef size =
        LLVMBuildShl(lo->b, and_const(lo, w, 0x7f), LLVMConstInt(lo->i16, 7, false), "");
    LLVMValueRef h = LLVMBuildBitCast(lo->b, LLVMBuildOr(lo->b, sign, size, ""), lo->f16, "");
    LLVMValueRef f = LLVMBuildFMul(lo->b, LLVMBuildFPExt(lo->b, h, lo->f32, ""),
                                   LLVMConstReal(lo->f32, 256), "");
    LLVMValueRef nan = LLVMBuildICmp(lo->b, LLVMIntEQ, and_const(lo, w, 0x7f),
                                     LLVMConstInt(lo->i16, 0x7f, false), "");
    return LLVMBuildSelect(lo->b, nan,
                           LLVMBuildBitCast(lo->b, const_i32(lo, 0x7fc00000), lo->f32, ""), f, "");
}

static LLVMValueRef to_f32(Lower *lo, LLVMValueRef x, DType from)
{
    switch (from) {
    case DTYPE_F16:
        return LLVMBuildFPExt(lo->b, x, lo->f32, "");
    case DTYPE_BF16:
        return f32_from_bf16(lo, x);
    case DTYPE_F8E4M3:
    case DTYPE_F8E5M2:
        return f32_from_f8(lo, x, from);
    case DTYPE_F64:
        return LLVMBuildFPTrunc(lo->b, x, lo->f32, "");
    default:
        return x;
    }
}

// ---- from f32 ---------------------------------------------------------------------------------

static LLVMValueRef bf16_from(Lower *lo, LLVMValueRef x, RoundMode round)
{
    if (round == ROUND_RNE && lo->cx->sm->has_bf16) return KILN1(lo, BF16, x);
    LLVMValueRef u = bits_of(lo, x), kept = shr(lo, u, 16);
    LLVMValueRef magnitude = and_const(lo, u, 0x7fffffff);
    LLVMValueRef quiet = LLVMBuildOr(lo->b, kept, const_i32(lo, 0x40), "");
    LLVMValueRef r;
    if (round == ROUND_RNE) {
        r = shr(lo, LLVMBuildAdd(lo->b, add_const(lo, u, 0x7fff), and_const(lo, kept, 1), ""), 16);
    } else { // nothing rounds up, so only infinity itself is infinite
        r = kept;
    }
    LLVMValueRef nan = LLVMBuildICmp(lo->b, LLVMIntUGT, magnitude, const_i32(lo, 0x7f800000), "");
    return LLVMBuildTrunc(lo->b, LLVMBuildSelect(lo->b, nan, quiet, r, ""), lo->i16, "");
}

/// e4m3: 3 mantissa bits, bias 7, largest 448; e5m2: 2, 15, 57344. Both saturate and round once.
static LLVMValueRef f8_from(Lower *lo, LLVMValueRef x, DType t, RoundMode round)
{
    bool e4 = t == DTYPE_F8E4M3;
    int32_t mantissa = e4 ? 3 : 2, bias = e4 ? 7 : 15, drop = 23 - mantissa,
            largest = e4 ? 0x7e : 0x7b;
    double tiny = e4 ? 0x1p-6 : 0x1p-14, steps = e4 ? 0x1p9 : 0x1p16;
    LLVMValueRef u = bits_of(lo, x), sign = and_const(lo, shr(lo, u, 24), 0x80),
                 a = and_const(lo, u, 0x7fffffff);
    LLVMValueRef size = LLVMBuildBitCast(lo->b, a, lo->f32, "");
    LLVMValueRef half = round == ROUND_RNE
                            ? LLVMBuildAdd(lo->b, const_i32(lo, (1 << (drop - 1)) - 1),
                                           and_const(lo, shr(lo, a, drop), 1), "")
                            : const_i32(lo, 0);
    LLVMValueRef normal =
        add_const(lo, shr(lo, LLVMBuildAdd(lo->b, a, half, ""), drop), -((127 - bias) << mantissa));
    LLVMValueRef top = const_i32(lo, largest);
    normal =
        LLVMBuildSelect(lo->b, LLVMBuildICmp(lo->b, LLVMIntSGT, normal, top, ""), top, normal, "");
    LLVMValueRef scaled = LLVMBuildFMul(lo->b, size, LLVMConstReal(lo->f32, steps), ""), small;
    if (round == ROUND_RNE) {
        small = add_const(
            lo, bits_of(lo, LLVMBuildFAdd(lo->b, scaled, LLVMConstReal(lo->f32, 0x1p23), "")),
            -0x4b000000);
    } else { // only asked where the value is small; the select below drops the rest
        LLVMValueRef in_range =
            LLVMBuildFCmp(lo->b, LLVMRealOLT, size, LLVMConstReal(lo->f32, tiny), "");
        small = LLVMBuildFPToSI(
            lo->b, LLVMBuildSelect(lo->b, in_range, scaled, LLVMConstNull(lo->f32), ""), lo->i32,
            "");
    }
    LLVMValueRef is_small =
        LLVMBuildFCmp(lo->b, LLVMRealOLT, size, LLVMConstReal(lo->f32, tiny), "");
    LLVMValueRef code = LLVMBuildSelect(lo->b, is_small, small, normal, "");
    code = LLVMBuildSelect(lo->b, is_nan(lo, x), const_i32(lo, 0x7f), code, "");
    return LLVMBuildTrunc(lo->b, LLVMBuildOr(lo->b, code, sign, ""), lo->i8, "");
}

static LLVMValueRef from_f32(Lower *lo, LLVMValueRef x, DType to, RoundMode round)
{
    switch (to) {
    case DTYPE_F16:
        if (round == ROUND_RTZ) return LLVMBuildBitCast(lo->b, KILN1(lo, F16_RTZ, x), lo->f16, "");
        return LLVMBuildFPTrunc(lo->b, x, lo->f16, "");
    case DTYPE_BF16:
        return bf16_from(lo, x, round);
    case DTYPE_F8E4M3:
    case DTYPE_F8E5M2:
        return f8_from(lo, x, to, round);
    case DTYPE_F64:
        return LLVMBuildFPExt(lo->b, x, lo->f64, "");
    default:
        return x;
    }
}

/// f64 -> f32 such that a second rounding to fewer bits is as if there were only one: toward zero,
/// and the last bit set where anything was lost (round to odd).
static LLVMValueRef f32_odd(Lower *lo, LLVMValueRef x)
{
    LLVMValueRef near = LLVMBuildFPTrunc(lo->b, x, lo->f32, ""),
                 back = LLVMBuildFPExt(lo->b, near, lo->f64, "");
    LLVMTypeRef type = lo->f64, ft;
    LLVMValueRef fabs = llvm_intrinsic(lo->ll, "llvm.fabs", 1, &type, &ft);
    LLVMValueRef ax = LLVMBuildCall2(lo->b, ft, fabs, &x, 1, ""),
                 ab = LLVMBuildCall2(lo->b, ft, fabs, &back, 1, "");
    LLVMValueRef u = bits_of(lo, near);
    LLVMValueRef over =
        LLVMBuildZExt(lo->b, LLVMBuildFCmp(lo->b, LLVMRealOGT, ab, ax, ""), lo->i32, "");
    LLVMValueRef lost =
        LLVMBuildZExt(lo->b, LLVMBuildFCmp(lo->b, LLVMRealONE, ab, ax, ""), lo->i32, "");
    LLVMValueRef odd = LLVMBuildOr(lo->b, LLVMBuildSub(lo->b, u, over, ""), lost, "");
    LLVMValueRef infinite = LLVMBuildICmp(lo->b, LLVMIntEQ, and_const(lo, u, 0x7fffffff),
                                          const_i32(lo, 0x7f800000), "");
    return LLVMBuildBitCast(lo->b, LLVMBuildSelect(lo->b, infinite, u, odd, ""), lo->f32, "");
}

// ---- ints -------------------------------------------------------------------------------------

static LLVMValueRef float_to_int(Lower *lo, LLVMValueRef x, DType from, DType to)
{
    if (from != DTYPE_F32 && from != DTYPE_F64) x = to_f32(lo, x, from);
    if (to == DTYPE_I1)
        return LLVMBuildFCmp(lo->b, LLVMRealUNE, x, LLVMConstNull(LLVMTypeOf(x)), "");
    LLVMTypeRef types[2] = {gpu_dtype_type(lo, to), LLVMTypeOf(x)}, ft;
    LLVMValueRef f = llvm_intrinsic(
        lo->ll, dtype_is_signed(to) ? "llvm.fptosi.sat" : "llvm.fptoui.sat", 2, types, &ft);
    return LLVMBuildCall2(lo->b, ft, f, &x, 1, "");
}

static LLVMValueRef int_to_float(Lower *lo, LLVMValueRef x, DType from, DType to)
{
    bool is_signed = dtype_is_signed(from);
    if (to == DTYPE_F32 || to == DTYPE_F64) {
        LLVMTypeRef type = gpu_dtype_type(lo, to);
        return is_signed ? LLVMBuildSIToFP(lo->b, x, type, "")
                         : LLVMBuildUIToFP(lo->b, x, type, "");
    }
    if (dtype_bits(from) <= 16 || to == DTYPE_F8E4M3 || to == DTYPE_F8E5M2) {
        LLVMValueRef f = is_signed ? LLVMBuildSIToFP(lo->b, x, lo->f32, "")
                                   : LLVMBuildUIToFP(lo->b, x, lo->f32, "");
        return from_f32(lo, f, to, ROUND_RNE);
    }
    LLVMValueRef d =
        is_signed ? LLVMBuildSIToFP(lo->b, x, lo->f64, "") : LLVMBuildUIToFP(lo->b, x, lo->f64, "");
    return from_f32(lo, f32_odd(lo, d), to,
                    ROUND_RNE); // 64-bit ints lose bits far below what bf16 and f16 keep
}

static LLVMValueRef int_to_int(Lower *lo, LLVMValueRef x, DType from, DType to)
{
    if (to == DTYPE_I1) return LLVMBuildIsNotNull(lo->b, x, "");
    LLVMTypeRef type = gpu_dtype_type(lo, to);
    if (dtype_bits(to) < dtype_bits(from)) return LLVMBuildTrunc(lo->b, x, type, "");
    if (dtype_bits(to) == dtype_bits(from)) return x;
    return dtype_is_signed(from) ? LLVMBuildSExt(lo->b, x, type, "")
                                 : LLVMBuildZExt(lo->b, x, type, "");
}

LLVMValueRef emit_cast(Lower *lo, LLVMValueRef x, DType from, DType to, RoundMode round)
{
    if (from == to) return x;
    bool from_float = dtype_is_float(from), to_float = dtype_is_float(to);
    if (!from_float) return to_float ? int_to_float(lo, x, from, to) : int_to_int(lo, x, from, to);
    if (!to_float) return float_to_int(lo, x, from, to);
    if (from == DTYPE_F64 && to != DTYPE_F32) return from_f32(lo, f32_odd(lo, x), to, round);
    return from_f32(lo, to_f32(lo, x, from), to, round);
}
