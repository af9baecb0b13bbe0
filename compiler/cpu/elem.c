// compiler/cpu/elem.c - every elementwise opcode on LLVM vectors, by a table indexed by opcode.
//
// Nothing here may assume finite numbers, and nothing may trap: divisors are guarded, shift counts are
// checked against the width. f32 and f64 products may fuse into sums (`contracted`); narrow floats round in between.
#include "compiler/cpu/cpu.h"

typedef struct Operands {
    DType t;
    LLVMValueRef x, y, z;
    LLVMTypeRef type;
    bool is_low; ///< x is never positive
} Operands;

typedef LLVMValueRef Emitter(Cx *cx, const Operands *o);

static bool is_float(const Operands *o)
{
    return dtype_is_float(o->t);
}

/// Lets the code generator fuse f32 and f64 products into sums, where the language allows it.
static LLVMValueRef contracted(Cx *cx, const Operands *o, LLVMValueRef v)
{
    bool may =
        cx->fn->fp_fusion && (o->t == DTYPE_F32 || o->t == DTYPE_F64) && cx->isa->facts & ISA_FMA;
    if (may && LLVMIsAInstruction(v)) LLVMSetFastMathFlags(v, LLVMFastMathAllowContract);
    return v;
}

static LLVMValueRef emit_add(Cx *cx, const Operands *o)
{
    return is_float(o) ? contracted(cx, o, LLVMBuildFAdd(cx->b, o->x, o->y, ""))
                       : LLVMBuildAdd(cx->b, o->x, o->y, "");
}

static LLVMValueRef emit_sub(Cx *cx, const Operands *o)
{
    return is_float(o) ? contracted(cx, o, LLVMBuildFSub(cx->b, o->x, o->y, ""))
                       : LLVMBuildSub(cx->b, o->x, o->y, "");
}

static LLVMValueRef emit_mul(Cx *cx, const Operands *o)
{
    return is_float(o) ? contracted(cx, o, LLVMBuildFMul(cx->b, o->x, o->y, ""))
                       : LLVMBuildMul(cx->b, o->x, o->y, "");
}

/// The divisor with 0 replaced by 1, so that x / 0 is x and x % 0 is 0; for signed types -1 too, whose
/// quotient is the negation (INT_MIN wraps).
static LLVMValueRef safe_divisor(Cx *cx, const Operands *o, LLVMValueRef *is_minus_one)
{
    LLVMValueRef one = const_int(o->type, 1);
    LLVMValueRef zero = LLVMBuildICmp(cx->b, LLVMIntEQ, o->y, LLVMConstNull(o->type), "");
    LLVMValueRef d = LLVMBuildSelect(cx->b, zero, one, o->y, "");
    *is_minus_one = NULL;
    if (!dtype_is_signed(o->t)) return d;
    *is_minus_one = LLVMBuildICmp(cx->b, LLVMIntEQ, o->y, const_int(o->type, -1), "");
    return LLVMBuildSelect(cx->b, *is_minus_one, one, d, "");
}

static LLVMValueRef emit_div(Cx *cx, const Operands *o)
{
    if (is_float(o)) return LLVMBuildFDiv(cx->b, o->x, o->y, "");
    if (o->t == DTYPE_I1) return o->x; // x / 1, and x / 0 is x
    LLVMValueRef minus, d = safe_divisor(cx, o, &minus);
    if (!minus) return LLVMBuildUDiv(cx->b, o->x, d, "");
    LLVMValueRef q = LLVMBuildSDiv(cx->b, o->x, d, "");
    return LLVMBuildSelect(cx->b, minus, LLVMBuildNeg(cx->b, o->x, ""), q, "");
}

static LLVMValueRef emit_rem(Cx *cx, const Operands *o)
{
    if (is_float(o)) return math_fmod(cx, o->x, o->y);
    if (o->t == DTYPE_I1) return LLVMConstNull(o->type);
    LLVMValueRef minus, d = safe_divisor(cx, o, &minus);
    return minus ? LLVMBuildSRem(cx->b, o->x, d, "") : LLVMBuildURem(cx->b, o->x, d, "");
}

static LLVMValueRef emit_mulhi(Cx *cx, const Operands *o)
{
    int32_t bits = dtype_bits(o->t);
    if (o->t == DTYPE_I1) return LLVMConstNull(o->type);
    LLVMTypeRef wide = type_like(o->type, LLVMIntTypeInContext(cx->c, 2 * (unsigned)bits));
    LLVMValueRef p = LLVMBuildMul(cx->b, LLVMBuildZExt(cx->b, o->x, wide, ""),
                                  LLVMBuildZExt(cx->b, o->y, wide, ""), "");
    return LLVMBuildTrunc(cx->b, LLVMBuildLShr(cx->b, p, const_int(wide, bits), ""), o->type, "");
}

/// minNum and maxNum: a NaN operand loses.
static LLVMValueRef min_max(Cx *cx, const Operands *o, bool max)
{
    if (is_float(o)) {
        LLVMValueRef in[] = {o->x, o->y};
        return call_intrinsic(cx, max ? "llvm.maxnum" : "llvm.minnum", o->type, 2, in);
    }
    bool is_signed = dtype_is_signed(o->t);
    LLVMIntPredicate p =
        max ? (is_signed ? LLVMIntSGT : LLVMIntUGT) : (is_signed ? LLVMIntSLT : LLVMIntULT);
    return LLVMBuildSelect(cx->b, LLVMBuildICmp(cx->b, p, o->x, o->y, ""), o->x, o->y, "");
}

static LLVMValueRef emit_min(Cx *cx, const Operands *o)
{
    return min_max(cx, o, false);
}

static LLVMValueRef emit_max(Cx *cx, const Operands *o)
{
    return min_max(cx, o, true);
}

/// A NaN operand wins: unordered lanes take the sum, which is NaN.
static LLVMValueRef min_max_nan(Cx *cx, const Operands *o, LLVMRealPredicate p)
{
    LLVMValueRef r =
        LLVMBuildSelect(cx->b, LLVMBuildFCmp(cx->b, p, o->x, o->y, ""), o->x, o->y, "");
    LLVMValueRef unordered = LLVMBuildFCmp(cx->b, LLVMRealUNO, o->x, o->y, "");
    return LLVMBuildSelect(cx->b, unordered, LLVMBuildFAdd(cx->b, o->x, o->y, ""), r, "");
}

static LLVMValueRef emit_min_nan(Cx *cx, const Operands *o)
{
    return min_max_nan(cx, o, LLVMRealOLT);
}

static LLVMValueRef emit_max_nan(Cx *cx, const Operands *o)
{
    return min_max_nan(cx, o, LLVMRealOGT);
}

static LLVMValueRef emit_and(Cx *cx, const Operands *o)
{
    if (is_all_ones(o->x) || is_zero(o->y)) return o->y;
    if (is_all_ones(o->y) || is_zero(o->x)) return o->x;
    return LLVMBuildAnd(cx->b, o->x, o->y, "");
}

static LLVMValueRef emit_or(Cx *cx, const Operands *o)
{
    if (is_all_ones(o->x) || is_zero(o->y)) return o->x;
    if (is_all_ones(o->y) || is_zero(o->x)) return o->y;
    return LLVMBuildOr(cx->b, o->x, o->y, "");
}

static LLVMValueRef emit_xor(Cx *cx, const Operands *o)
{
    return LLVMBuildXor(cx->b, o->x, o->y, "");
}

/// The count, clamped to what a shift allows, and whether it was too large.
static LLVMValueRef safe_count(Cx *cx, const Operands *o, LLVMValueRef *too_large)
{
    LLVMValueRef last = const_int(o->type, dtype_bits(o->t) - 1);
    *too_large = LLVMBuildICmp(cx->b, LLVMIntUGT, o->y, last, "");
    return LLVMBuildSelect(cx->b, *too_large, last, o->y, "");
}

static LLVMValueRef emit_shl(Cx *cx, const Operands *o)
{
    LLVMValueRef large, n = safe_count(cx, o, &large);
    return LLVMBuildSelect(cx->b, large, LLVMConstNull(o->type), LLVMBuildShl(cx->b, o->x, n, ""),
                           "");
}

static LLVMValueRef emit_shr(Cx *cx, const Operands *o)
{
    LLVMValueRef large, n = safe_count(cx, o, &large);
    if (dtype_is_signed(o->t))
        return LLVMBuildAShr(cx->b, o->x, n, ""); // the last count leaves the sign
    return LLVMBuildSelect(cx->b, large, LLVMConstNull(o->type), LLVMBuildLShr(cx->b, o->x, n, ""),
                           "");
}

static LLVMValueRef compare(Cx *cx, const Operands *o, LLVMRealPredicate f, LLVMIntPredicate s,
                            LLVMIntPredicate u)
{
    if (is_float(o)) return LLVMBuildFCmp(cx->b, f, o->x, o->y, "");
    return LLVMBuildICmp(cx->b, dtype_is_signed(o->t) ? s : u, o->x, o->y, "");
}

static LLVMValueRef emit_eq(Cx *cx, const Operands *o)
{
    return compare(cx, o, LLVMRealOEQ, LLVMIntEQ, LLVMIntEQ);
}

static LLVMValueRef emit_ne(Cx *cx, const Operands *o)
{
    return compare(cx, o, LLVMRealUNE, LLVMIntNE, LLVMIntNE);
}

static LLVMValueRef emit_lt(Cx *cx, const Operands *o)
{
    return compare(cx, o, LLVMRealOLT, LLVMIntSLT, LLVMIntULT);
}

static LLVMValueRef emit_le(Cx *cx, const Operands *o)
{
    return compare(cx, o, LLVMRealOLE, LLVMIntSLE, LLVMIntULE);
}

static LLVMValueRef emit_gt(Cx *cx, const Operands *o)
{
    return compare(cx, o, LLVMRealOGT, LLVMIntSGT, LLVMIntUGT);
}

static LLVMValueRef emit_ge(Cx *cx, const Operands *o)
{
    return compare(cx, o, LLVMRealOGE, LLVMIntSGE, LLVMIntUGE);
}

static LLVMValueRef emit_select(Cx *cx, const Operands *o)
{
    if (is_all_ones(o->x)) return o->y;
    if (is_zero(o->x)) return o->z;
    return LLVMBuildSelect(cx->b, o->x, o->y, o->z, "");
}

static LLVMValueRef emit_fma(Cx *cx, const Operands *o)
{
    return exact_fma(cx, o->x, o->y, o->z);
}

static LLVMValueRef emit_neg(Cx *cx, const Operands *o)
{
    return is_float(o) ? LLVMBuildFNeg(cx->b, o->x, "") : LLVMBuildNeg(cx->b, o->x, "");
}

static LLVMValueRef emit_not(Cx *cx, const Operands *o)
{
    return LLVMBuildNot(cx->b, o->x, "");
}

static LLVMValueRef unary(Cx *cx, const Operands *o, const char *intrinsic)
{
    LLVMValueRef in[] = {o->x};
    return call_intrinsic(cx, intrinsic, o->type, 1, in);
}

static LLVMValueRef emit_abs(Cx *cx, const Operands *o)
{
    if (is_float(o)) return unary(cx, o, "llvm.fabs");
    if (!dtype_is_signed(o->t)) return o->x;
    LLVMValueRef negative = LLVMBuildICmp(cx->b, LLVMIntSLT, o->x, LLVMConstNull(o->type), "");
    return LLVMBuildSelect(cx->b, negative, LLVMBuildNeg(cx->b, o->x, ""), o->x, "");
}

/// Nearest even without an instruction for it: adding 2^(mantissa bits) leaves no fraction bits.
static LLVMValueRef rint_by_magic(Cx *cx, const Operands *o)
{
    LLVMTypeRef i = type_like(o->type, o->t == DTYPE_F64 ? cx->i64 : cx->i32);
    LLVMValueRef magic = const_real(o->type, o->t == DTYPE_F64 ? 0x1p52 : 0x1p23);
    LLVMValueRef magnitude = unary(cx, o, "llvm.fabs");
    LLVMValueRef r = LLVMBuildFSub(cx->b, LLVMBuildFAdd(cx->b, magnitude, magic, ""), magic, "");
    LLVMValueRef small = LLVMBuildFCmp(cx->b, LLVMRealOLT, magnitude, magic, "");
    int64_t sign_bit = o->t == DTYPE_F64 ? INT64_MIN : (int64_t)INT32_MIN;
    LLVMValueRef sign =
        LLVMBuildAnd(cx->b, LLVMBuildBitCast(cx->b, o->x, i, ""), const_int(i, sign_bit), "");
    LLVMValueRef bits = LLVMBuildOr(cx->b, LLVMBuildBitCast(cx->b, r, i, ""), sign, "");
    return LLVMBuildSelect(cx->b, small, LLVMBuildBitCast(cx->b, bits, o->type, ""), o->x, "");
}

/// floor and ceil by rounding and stepping back; the sign of zero is the operand's.
static LLVMValueRef step_back(Cx *cx, const Operands *o, bool down)
{
    LLVMValueRef r = rint_by_magic(cx, o);
    LLVMValueRef wrong = LLVMBuildFCmp(cx->b, down ? LLVMRealOGT : LLVMRealOLT, r, o->x, "");
    LLVMValueRef back = LLVMBuildFAdd(cx->b, r, const_real(o->type, down ? -1.0 : 1.0), "");
    LLVMValueRef in[] = {LLVMBuildSelect(cx->b, wrong, back, r, ""), o->x};
    if (down) return in[0]; // floor of a positive fraction is +0 already
    return call_intrinsic(cx, "llvm.copysign", o->type, 2, in);
}

static bool has_round(const Cx *cx)
{
    return cx->isa->level != CPU_GENERIC; // SSE2 has no roundps, and LLVM would call libm
}

static LLVMValueRef emit_floor(Cx *cx, const Operands *o)
{
    return has_round(cx) ? unary(cx, o, "llvm.floor") : step_back(cx, o, true);
}

static LLVMValueRef emit_ceil(Cx *cx, const Operands *o)
{
    return has_round(cx) ? unary(cx, o, "llvm.ceil") : step_back(cx, o, false);
}

static LLVMValueRef emit_trunc(Cx *cx, const Operands *o)
{
    if (has_round(cx)) return unary(cx, o, "llvm.trunc");
    Operands m = *o;
    m.x = unary(cx, o, "llvm.fabs");
    LLVMValueRef in[] = {step_back(cx, &m, true), o->x};
    return call_intrinsic(cx, "llvm.copysign", o->type, 2, in);
}

static LLVMValueRef emit_rint(Cx *cx, const Operands *o)
{
    return has_round(cx) ? unary(cx, o, "llvm.rint") : rint_by_magic(cx, o);
}

static LLVMValueRef emit_sqrt(Cx *cx, const Operands *o)
{
    return unary(cx, o, "llvm.sqrt");
}

static LLVMValueRef emit_rsqrt(Cx *cx, const Operands *o)
{
    return math_rsqrt(cx, o->x);
}

static LLVMValueRef emit_exp(Cx *cx, const Operands *o)
{
    return math_exp(cx, o->x, o->is_low);
}

static LLVMValueRef emit_exp2(Cx *cx, const Operands *o)
{
    return math_exp2(cx, o->x, o->is_low);
}

static LLVMValueRef emit_log(Cx *cx, const Operands *o)
{
    return math_log(cx, o->x);
}

static LLVMValueRef emit_log2(Cx *cx, const Operands *o)
{
    return math_log2(cx, o->x);
}

static LLVMValueRef emit_sin(Cx *cx, const Operands *o)
{
    return math_sin(cx, o->x, false);
}

static LLVMValueRef emit_cos(Cx *cx, const Operands *o)
{
    return math_sin(cx, o->x, true);
}

static LLVMValueRef emit_erf(Cx *cx, const Operands *o)
{
    return math_erf(cx, o->x);
}

static LLVMValueRef emit_tanh(Cx *cx, const Operands *o)
{
    return math_tanh(cx, o->x);
}

static Emitter *const emitters[ELEM_KIND_COUNT] = {
    [ELEM_ADD] = emit_add,         [ELEM_SUB] = emit_sub,         [ELEM_MUL] = emit_mul,
    [ELEM_DIV] = emit_div,         [ELEM_DIV_RN] = emit_div,      [ELEM_REM] = emit_rem,
    [ELEM_MULHI] = emit_mulhi,     [ELEM_MIN] = emit_min,         [ELEM_MAX] = emit_max,
    [ELEM_MIN_NAN] = emit_min_nan, [ELEM_MAX_NAN] = emit_max_nan, [ELEM_AND] = emit_and,
    [ELEM_OR] = emit_or,           [ELEM_XOR] = emit_xor,         [ELEM_SHL] = emit_shl,
    [ELEM_SHR] = emit_shr,         [ELEM_EQ] = emit_eq,           [ELEM_NE] = emit_ne,
    [ELEM_LT] = emit_lt,           [ELEM_LE] = emit_le,           [ELEM_GT] = emit_gt,
    [ELEM_GE] = emit_ge,           [ELEM_SELECT] = emit_select,   [ELEM_FMA] = emit_fma,
    [ELEM_NEG] = emit_neg,         [ELEM_NOT] = emit_not,         [ELEM_ABS] = emit_abs,
    [ELEM_FLOOR] = emit_floor,     [ELEM_CEIL] = emit_ceil,       [ELEM_TRUNC] = emit_trunc,
    [ELEM_RINT] = emit_rint,       [ELEM_SQRT] = emit_sqrt,       [ELEM_SQRT_RN] = emit_sqrt,
    [ELEM_RSQRT] = emit_rsqrt,     [ELEM_EXP] = emit_exp,         [ELEM_EXP2] = emit_exp2,
    [ELEM_LOG] = emit_log,         [ELEM_LOG2] = emit_log2,       [ELEM_SIN] = emit_sin,
    [ELEM_COS] = emit_cos,         [ELEM_ERF] = emit_erf,         [ELEM_TANH] = emit_tanh,
};
_Static_assert(ELEM_TANH == ELEM_KIND_COUNT - 1, "a new row of elem.def needs its emitter here");

static LLVMValueRef emit_rounded(Cx *cx, ElemKind e, DType t, LLVMValueRef *in, bool is_low)
{
    int32_t n = elem_facts[e].arity;
    Operands o = {t, in[0], n > 1 ? in[1] : NULL, n > 2 ? in[2] : NULL, NULL, is_low};
    o.type = LLVMTypeOf(e == ELEM_SELECT ? in[1] : in[0]);
    LLVMValueRef r = emitters[e](cx, &o);
    if (elem_facts[e].result != RESULT_SAME || !is_float(&o)) return r;
    // moving a value rounds nothing; fp8 arithmetic is f16 arithmetic rounded again
    if (e == ELEM_NEG || e == ELEM_ABS || e == ELEM_MIN || e == ELEM_MAX) return r;
    if (t == DTYPE_F8E4M3 || t == DTYPE_F8E5M2) r = round_to(cx, DTYPE_F16, r, ROUND_RNE);
    return round_to(cx, t, r, ROUND_RNE);
}

LLVMValueRef elem_emit(Cx *cx, ElemKind e, DType t, LLVMValueRef *in)
{
    return emit_rounded(cx, e, t, in, false);
}

LLVMValueRef elem_emit_low(Cx *cx, ElemKind e, DType t, LLVMValueRef *in)
{
    return emit_rounded(cx, e, t, in, true);
}

LLVMValueRef combine_identity(CombineKind k, DType t, LLVMTypeRef type)
{
    int32_t bits = dtype_bits(t);
    bool is_signed = dtype_is_signed(t) && !dtype_is_float(t);
    int64_t low = is_signed ? (int64_t)((uint64_t)-1 << (bits - 1)) : 0,
            high = is_signed ? ~low : -1;
    switch (k) {
    case COMBINE_MUL:
        return dtype_is_float(t) ? const_real(type, 1.0) : const_int(type, 1);
    case COMBINE_AND:
        return const_int(type, -1);
    case COMBINE_MIN: // NaN loses to everything, and is the answer when there is nothing else
        return dtype_is_float(t) ? const_real(type, __builtin_nan("")) : const_int(type, high);
    case COMBINE_MAX:
        return dtype_is_float(t) ? const_real(type, __builtin_nan("")) : const_int(type, low);
    default:
        return LLVMConstNull(type);
    }
}

LLVMValueRef combine_emit(Cx *cx, CombineKind k, DType t, LLVMValueRef x, LLVMValueRef y)
{
    static const ElemKind elem[] = {
        [COMBINE_ADD] = ELEM_ADD, [COMBINE_MUL] = ELEM_MUL, [COMBINE_MIN] = ELEM_MIN,
        [COMBINE_MAX] = ELEM_MAX, [COMBINE_AND] = ELEM_AND, [COMBINE_OR] = ELEM_OR,
        [COMBINE_XOR] = ELEM_XOR,
    };
    DType wide = dtype_is_float(t) && t != DTYPE_F64
                     ? DTYPE_F32
                     : t; // without rounding: narrow floats accumulate in f32
    Operands o = {wide, x, y, NULL, LLVMTypeOf(x), false};
    return emitters[elem[k]](cx, &o);
}
