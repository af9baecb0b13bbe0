// compiler/gpu/lower_elem.c - elementwise ops and casts, one register at a time.
//
//   ints     LLVM's own ops; shift counts and zero divisors get the language's meaning
//   f32 f64  LLVM's own ops, contracted to fma where the kernel allows; functions in lower_math.c
//   f16      + - * natively, the rest by way of f32; bf16 by way of f32, rounded once per op
//   fp8      by way of f16: computed in f32, rounded to f16, then to fp8
#include "compiler/gpu/lower.h"

#include <math.h>

typedef LLVMValueRef (*EmitRow)(Lower *lo, const Type *t, LLVMValueRef *in);

static bool is_signed(const Type *t)
{
    return !t->is_ptr && dtype_is_signed(t->dtype);
}

static LLVMValueRef int_const(LLVMValueRef like, int64_t v)
{
    return LLVMConstInt(LLVMTypeOf(like), (unsigned long long)v, true);
}

static LLVMValueRef call1(Lower *lo, const char *name, LLVMValueRef x)
{
    LLVMTypeRef type = LLVMTypeOf(x), ft;
    LLVMValueRef f = llvm_intrinsic(lo->ll, name, 1, &type, &ft);
    return LLVMBuildCall2(lo->b, ft, f, &x, 1, "");
}

static LLVMValueRef call2(Lower *lo, const char *name, LLVMValueRef x, LLVMValueRef y)
{
    LLVMTypeRef type = LLVMTypeOf(x), ft;
    LLVMValueRef f = llvm_intrinsic(lo->ll, name, 1, &type, &ft), args[] = {x, y};
    return LLVMBuildCall2(lo->b, ft, f, args, 2, "");
}

// ---- ints -------------------------------------------------------------------------------------

#define INT2(name, build)                                                                          \
    static LLVMValueRef int_##name(Lower *lo, const Type *t, LLVMValueRef *in)                     \
    {                                                                                              \
        (void)t;                                                                                   \
        return build(lo->b, in[0], in[1], "");                                                     \
    }
#define INT_CMP(name, s, u)                                                                        \
    static LLVMValueRef int_##name(Lower *lo, const Type *t, LLVMValueRef *in)                     \
    {                                                                                              \
        return LLVMBuildICmp(lo->b, is_signed(t) ? (s) : (u), in[0], in[1], "");                   \
    }
INT2(ADD, LLVMBuildAdd)
INT2(SUB, LLVMBuildSub)
INT2(MUL, LLVMBuildMul)
INT2(AND, LLVMBuildAnd)
INT2(OR, LLVMBuildOr)
INT2(XOR, LLVMBuildXor)
INT_CMP(EQ, LLVMIntEQ, LLVMIntEQ)
INT_CMP(NE, LLVMIntNE, LLVMIntNE)
INT_CMP(LT, LLVMIntSLT, LLVMIntULT)
INT_CMP(LE, LLVMIntSLE, LLVMIntULE)
INT_CMP(GT, LLVMIntSGT, LLVMIntUGT)
INT_CMP(GE, LLVMIntSGE, LLVMIntUGE)

/// Division that cannot trap: by 0 gives x (remainder 0), INT_MIN / -1 wraps.
static LLVMValueRef divide(Lower *lo, const Type *t, LLVMValueRef x, LLVMValueRef y, bool want_rest)
{
    LLVMValueRef zero = int_const(y, 0), one = int_const(y, 1);
    bool is_const = LLVMIsConstant(y) && LLVMIsAConstantInt(y) &&
                    LLVMConstIntGetZExtValue(y) != 0 && LLVMConstIntGetSExtValue(y) != -1;
    LLVMValueRef d =
        is_const ? y
                 : LLVMBuildSelect(lo->b, LLVMBuildICmp(lo->b, LLVMIntEQ, y, zero, ""), one, y, "");
    if (!is_signed(t))
        return want_rest ? LLVMBuildURem(lo->b, x, d, "") : LLVMBuildUDiv(lo->b, x, d, "");
    if (is_const)
        return want_rest ? LLVMBuildSRem(lo->b, x, d, "") : LLVMBuildSDiv(lo->b, x, d, "");
    LLVMValueRef minus = LLVMBuildICmp(lo->b, LLVMIntEQ, y, int_const(y, -1), "");
    d = LLVMBuildSelect(lo->b, minus, one, d, "");
    if (want_rest) return LLVMBuildSRem(lo->b, x, d, "");
    return LLVMBuildSelect(lo->b, minus, LLVMBuildNeg(lo->b, x, ""), LLVMBuildSDiv(lo->b, x, d, ""),
                           "");
}

static LLVMValueRef int_DIV(Lower *lo, const Type *t, LLVMValueRef *in)
{
    return divide(lo, t, in[0], in[1], false);
}
static LLVMValueRef int_REM(Lower *lo, const Type *t, LLVMValueRef *in)
{
    return divide(lo, t, in[0], in[1], true);
}

static LLVMValueRef int_MULHI(Lower *lo, const Type *t, LLVMValueRef *in)
{
    unsigned bits = LLVMGetIntTypeWidth(LLVMTypeOf(in[0]));
    LLVMTypeRef wide = LLVMIntTypeInContext(lo->c, 2 * bits);
    LLVMValueRef x = LLVMBuildZExt(lo->b, in[0], wide, ""),
                 y = LLVMBuildZExt(lo->b, in[1], wide, "");
    x = LLVMBuildLShr(lo->b, LLVMBuildMul(lo->b, x, y, ""), LLVMConstInt(wide, bits, false), "");
    (void)t;
    return LLVMBuildTrunc(lo->b, x, LLVMTypeOf(in[0]), "");
}

static LLVMValueRef int_MIN(Lower *lo, const Type *t, LLVMValueRef *in)
{
    return call2(lo, is_signed(t) ? "llvm.smin" : "llvm.umin", in[0], in[1]);
}
static LLVMValueRef int_MAX(Lower *lo, const Type *t, LLVMValueRef *in)
{
    return call2(lo, is_signed(t) ? "llvm.smax" : "llvm.umax", in[0], in[1]);
}

/// A count of the width or more shifts everything out.
static LLVMValueRef shift(Lower *lo, const Type *t, LLVMValueRef *in, bool right)
{
    int64_t bits = LLVMGetIntTypeWidth(LLVMTypeOf(in[0]));
    LLVMValueRef last = int_const(in[1], bits - 1);
    LLVMValueRef inside = LLVMBuildICmp(lo->b, LLVMIntULE, in[1], last, "");
    LLVMValueRef count = LLVMBuildSelect(lo->b, inside, in[1], last, "");
    if (right && is_signed(t)) return LLVMBuildAShr(lo->b, in[0], count, "");
    LLVMValueRef x =
        right ? LLVMBuildLShr(lo->b, in[0], count, "") : LLVMBuildShl(lo->b, in[0], count, "");
    return LLVMBuildSelect(lo->b, inside, x, int_const(in[0], 0), "");
}
static LLVMValueRef int_SHL(Lower *lo, const Type *t, LLVMValueRef *in)
{
    return shift(lo, t, in, false);
}
static LLVMValueRef int_SHR(Lower *lo, const Type *t, LLVMValueRef *in)
{
    return shift(lo, t, in, true);
}
static LLVMValueRef int_NEG(Lower *lo, const Type *t, LLVMValueRef *in)
{
    (void)t;
    return LLVMBuildNeg(lo->b, in[0], "");
}
static LLVMValueRef int_NOT(Lower *lo, const Type *t, LLVMValueRef *in)
{
    (void)t;
    return LLVMBuildNot(lo->b, in[0], "");
}
static LLVMValueRef int_ABS(Lower *lo, const Type *t, LLVMValueRef *in)
{
    if (!is_signed(t)) return in[0];
    LLVMValueRef less = LLVMBuildICmp(lo->b, LLVMIntSLT, in[0], int_const(in[0], 0), "");
    return LLVMBuildSelect(lo->b, less, LLVMBuildNeg(lo->b, in[0], ""), in[0], "");
}

// ---- floats: f32 and f64, and f16 for + - * ----------------------------------------------------

static LLVMValueRef contracted(Lower *lo, LLVMValueRef v)
{
    if (lo->cx->fn->fp_fusion && LLVMTypeOf(v) != lo->f16 && LLVMIsAInstruction(v))
        LLVMSetFastMathFlags(v, LLVMFastMathAllowContract);
    return v;
}

#define FLOAT2(name, build)                                                                        \
    static LLVMValueRef float_##name(Lower *lo, const Type *t, LLVMValueRef *in)                   \
    {                                                                                              \
        (void)t;                                                                                   \
        return contracted(lo, build(lo->b, in[0], in[1], ""));                                     \
    }
#define FLOAT_CALL2(name, text)                                                                    \
    static LLVMValueRef float_##name(Lower *lo, const Type *t, LLVMValueRef *in)                   \
    {                                                                                              \
        (void)t;                                                                                   \
        return call2(lo, text, in[0], in[1]);                                                      \
    }
#define FLOAT_CALL1(name, text)                                                                    \
    static LLVMValueRef float_##name(Lower *lo, const Type *t, LLVMValueRef *in)                   \
    {                                                                                              \
        (void)t;                                                                                   \
        return call1(lo, text, in[0]);                                                             \
    }
#define FLOAT_CMP(name, pred)                                                                      \
    static LLVMValueRef float_##name(Lower *lo, const Type *t, LLVMValueRef *in)                   \
    {                                                                                              \
        (void)t;                                                                                   \
        return LLVMBuildFCmp(lo->b, pred, in[0], in[1], "");                                       \
    }
#define FLOAT_MATH(name)                                                                           \
    static LLVMValueRef float_##name(Lower *lo, const Type *t, LLVMValueRef *in)                   \
    {                                                                                              \
        (void)t;                                                                                   \
        return emit_math(lo, ELEM_##name, in[0]);                                                  \
    }
FLOAT2(ADD, LLVMBuildFAdd)
FLOAT2(SUB, LLVMBuildFSub)
FLOAT2(MUL, LLVMBuildFMul)
FLOAT_CALL2(MIN, "llvm.minnum")
FLOAT_CALL2(MAX, "llvm.maxnum")
FLOAT_CMP(EQ, LLVMRealOEQ)
FLOAT_CMP(NE, LLVMRealUNE)
FLOAT_CMP(LT, LLVMRealOLT)
FLOAT_CMP(LE, LLVMRealOLE)
FLOAT_CMP(GT, LLVMRealOGT)
FLOAT_CMP(GE, LLVMRealOGE)
FLOAT_CALL1(ABS, "llvm.fabs")
FLOAT_CALL1(FLOOR, "llvm.floor")
FLOAT_CALL1(CEIL, "llvm.ceil")
FLOAT_CALL1(TRUNC, "llvm.trunc")
FLOAT_CALL1(RINT, "llvm.rint")
FLOAT_MATH(SQRT)
FLOAT_MATH(SQRT_RN)
FLOAT_MATH(RSQRT)
FLOAT_MATH(EXP)
FLOAT_MATH(EXP2)
FLOAT_MATH(LOG)
FLOAT_MATH(LOG2)
FLOAT_MATH(SIN)
FLOAT_MATH(COS)
FLOAT_MATH(ERF)
FLOAT_MATH(TANH)

static LLVMValueRef float_NEG(Lower *lo, const Type *t, LLVMValueRef *in)
{
    (void)t;
    return LLVMBuildFNeg(lo->b, in[0], "");
}

/// The one that is NaN wins; else the smaller or larger.
static LLVMValueRef pick_nan(Lower *lo, LLVMValueRef *in, LLVMRealPredicate pred)
{
    LLVMValueRef nan = LLVMBuildFCmp(lo->b, LLVMRealUNO, in[1], in[1], "");
    LLVMValueRef better = LLVMBuildOr(lo->b, nan, LLVMBuildFCmp(lo->b, pred, in[1], in[0], ""), "");
    return LLVMBuildSelect(lo->b, better, in[1], in[0], "");
}
static LLVMValueRef float_MIN_NAN(Lower *lo, const Type *t, LLVMValueRef *in)
{
    (void)t;
    return pick_nan(lo, in, LLVMRealOLT);
}
static LLVMValueRef float_MAX_NAN(Lower *lo, const Type *t, LLVMValueRef *in)
{
    (void)t;
    return pick_nan(lo, in, LLVMRealOGT);
}

static LLVMValueRef float_DIV(Lower *lo, const Type *t, LLVMValueRef *in)
{
    (void)t;
    return LLVMTypeOf(in[0]) == lo->f32 ? KILN2(lo, DIV, in[0], in[1])
                                        : LLVMBuildFDiv(lo->b, in[0], in[1], "");
}
static LLVMValueRef float_DIV_RN(Lower *lo, const Type *t, LLVMValueRef *in)
{
    (void)t;
    return LLVMBuildFDiv(lo->b, in[0], in[1], "");
}

LLVMValueRef emit_fma(Lower *lo, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c)
{
    LLVMTypeRef type = LLVMTypeOf(a), ft;
    LLVMValueRef f = llvm_intrinsic(lo->ll, "llvm.fma", 1, &type, &ft), args[] = {a, b, c};
    return LLVMBuildCall2(lo->b, ft, f, args, 3, "");
}
static LLVMValueRef float_FMA(Lower *lo, const Type *t, LLVMValueRef *in)
{
    (void)t;
    return emit_fma(lo, in[0], in[1], in[2]);
}

/// x - trunc(x / y) * y in f64, where the product and difference are exact for quotients below
/// 2^53; one step mends a quotient that was rounded across an integer.
static LLVMValueRef float_REM(Lower *lo, const Type *t, LLVMValueRef *in)
{
    LLVMTypeRef type = LLVMTypeOf(in[0]);
    LLVMValueRef x = type == lo->f32 ? LLVMBuildFPExt(lo->b, in[0], lo->f64, "") : in[0];
    LLVMValueRef y = type == lo->f32 ? LLVMBuildFPExt(lo->b, in[1], lo->f64, "") : in[1];
    LLVMValueRef ax = call1(lo, "llvm.fabs", x), ay = call1(lo, "llvm.fabs", y);
    LLVMValueRef q = call1(lo, "llvm.trunc", LLVMBuildFDiv(lo->b, ax, ay, ""));
    LLVMValueRef r = emit_fma(lo, LLVMBuildFNeg(lo->b, q, ""), ay, ax);
    LLVMValueRef zero = LLVMConstNull(lo->f64);
    r = LLVMBuildSelect(lo->b, LLVMBuildFCmp(lo->b, LLVMRealOLT, r, zero, ""),
                        LLVMBuildFAdd(lo->b, r, ay, ""), r, "");
    r = LLVMBuildSelect(lo->b, LLVMBuildFCmp(lo->b, LLVMRealOGE, r, ay, ""),
                        LLVMBuildFSub(lo->b, r, ay, ""), r, "");
    LLVMValueRef unbounded =
        LLVMBuildFCmp(lo->b, LLVMRealOEQ, ay, LLVMConstReal(lo->f64, INFINITY), "");
    LLVMValueRef finite =
        LLVMBuildFCmp(lo->b, LLVMRealONE, ax, LLVMConstReal(lo->f64, INFINITY), "");
    r = LLVMBuildSelect(lo->b, LLVMBuildAnd(lo->b, unbounded, finite, ""), ax, r, "");
    r = call2(lo, "llvm.copysign", r, x);
    (void)t;
    return type == lo->f32 ? LLVMBuildFPTrunc(lo->b, r, lo->f32, "") : r;
}

static LLVMValueRef any_SELECT(Lower *lo, const Type *t, LLVMValueRef *in)
{
    (void)t;
    return LLVMBuildSelect(lo->b, in[0], in[1], in[2], "");
}

#define int_SELECT   any_SELECT
#define float_SELECT any_SELECT
#define NONE         NULL
#define int_FMA      NONE
#define int_DIV_RN   NONE
#define int_MIN_NAN  NONE
#define int_MAX_NAN  NONE
#define int_FLOOR    NONE
#define int_CEIL     NONE
#define int_TRUNC    NONE
#define int_RINT     NONE
#define int_SQRT     NONE
#define int_SQRT_RN  NONE
#define int_RSQRT    NONE
#define int_EXP      NONE
#define int_EXP2     NONE
#define int_LOG      NONE
#define int_LOG2     NONE
#define int_SIN      NONE
#define int_COS      NONE
#define int_ERF      NONE
#define int_TANH     NONE
#define float_MULHI  NONE
#define float_AND    NONE
#define float_OR     NONE
#define float_XOR    NONE
#define float_SHL    NONE
#define float_SHR    NONE
#define float_NOT    NONE

static const EmitRow int_rows[ELEM_KIND_COUNT] = {
#define ELEM(NAME, ...) [ELEM_##NAME] = int_##NAME,
#include "ir/elem.def"
#undef ELEM
};
static const EmitRow float_rows[ELEM_KIND_COUNT] = {
#define ELEM(NAME, ...) [ELEM_##NAME] = float_##NAME,
#include "ir/elem.def"
#undef ELEM
};

/// Low-precision operands go to f32 and the result back, unless the row only looks at bits.
static bool stays_low(ElemKind e, DType t)
{
    if (e == ELEM_SELECT) return true;
    return t == DTYPE_F16 &&
           (e == ELEM_ADD || e == ELEM_SUB || e == ELEM_MUL || e == ELEM_NEG || e == ELEM_ABS);
}

LLVMValueRef emit_elem(Lower *lo, ElemKind e, const Type *t, LLVMValueRef *in)
{
    if (t->is_ptr && e != ELEM_SELECT) {
        LLVMValueRef a[2] = {LLVMBuildPtrToInt(lo->b, in[0], lo->i64, ""),
                             LLVMBuildPtrToInt(lo->b, in[1], lo->i64, "")};
        return int_rows[e](lo, t, a);
    }
    DType d = t->dtype;
    if (t->is_ptr || !dtype_is_float(d)) return int_rows[e](lo, t, in);
    if (d == DTYPE_F32 || d == DTYPE_F64 || stays_low(e, d)) return float_rows[e](lo, t, in);
    LLVMValueRef wide[3];
    for (int32_t i = 0; i < elem_facts[e].arity; i++)
        wide[i] = emit_cast(lo, in[i], d, DTYPE_F32, ROUND_RNE);
    LLVMValueRef x = float_rows[e](lo, t, wide);
    if (elem_facts[e].result == RESULT_BOOL) return x;
    if (d == DTYPE_F8E4M3 || d == DTYPE_F8E5M2)
        x = emit_cast(lo, emit_cast(lo, x, DTYPE_F32, DTYPE_F16, ROUND_RNE), DTYPE_F16, DTYPE_F32,
                      ROUND_RNE);
    return emit_cast(lo, x, DTYPE_F32, d, ROUND_RNE);
}

// ---- addresses --------------------------------------------------------------------------------

static int64_t off_at(const Tile *t, int32_t r)
{
    return t->off ? t->off[r] : 0;
}

/// Registers whose operands are those of an earlier register share its result.
static int32_t same_as(const Tile *a, const Tile *b, int32_t r)
{
    for (int32_t k = MAX(0, r - 64); k < r; k++)
        if (a->v[k] == a->v[r] && (!b || b->v[k] == b->v[r])) return k;
    return -1;
}

/// pointer + offset: constants of both stay apart, so that they end as immediates of the access.
static void lower_addptr(Lower *lo, Op *op)
{
    const Value *p = op->in[0], *o = op->in[1];
    DType od = o->type->dtype;
    bool keeps = dtype_is_signed(od) && dtype_bits(od) >= 32;
    int32_t n = value_regs(&op->out[0]), bytes = dtype_bytes(p->type->dtype);
    Tile *pt = tile_of(lo, p), ot = *tile_of(lo, o);
    if (!keeps && ot.off) {
        ot = tile_new(lo, n, false);
        regs_of(lo, o, ot.v);
    }
    Tile out = tile_new(lo, n, true);
    for (int32_t r = 0; r < n; r++) {
        int32_t k = same_as(pt, &ot, r);
        out.off[r] = off_at(pt, r) + off_at(&ot, r) * bytes;
        if (k >= 0) {
            out.v[r] = out.v[k];
            continue;
        }
        LLVMValueRef x = ot.v[r];
        if (dtype_bits(od) < 64)
            x = dtype_is_signed(od) ? LLVMBuildSExt(lo->b, x, lo->i64, "")
                                    : LLVMBuildZExt(lo->b, x, lo->i64, "");
        out.v[r] =
            LLVMBuildGEP2(lo->b, LLVMArrayType2(lo->i8, (uint64_t)bytes), pt->v[r], &x, 1, "");
    }
    tile_set(lo, &op->out[0], out);
}

/// x + y, x - y, x * c on ints: offsets of registers are carried along as constants.
static bool lower_offsets(Lower *lo, Op *op)
{
    const Type *t = op->out[0].type;
    if (op->kind != OP_ELEM || t->is_ptr || !dtype_is_int(t->dtype) || dtype_bits(t->dtype) < 32)
        return false;
    if (op->elem != ELEM_ADD && op->elem != ELEM_SUB && op->elem != ELEM_MUL) return false;
    Tile *a = tile_of(lo, op->in[0]), *b = tile_of(lo, op->in[1]);
    if (!a->off && !b->off) return false;
    int64_t scale = 1;
    bool is_mul = op->elem == ELEM_MUL;
    if (is_mul) {
        if (b->off || !LLVMIsAConstantInt(b->v[0]) || !value_const_int(op->in[1], &scale))
            return false;
    }
    Tile out = tile_new(lo, a->n, true);
    for (int32_t r = 0; r < a->n; r++) {
        int64_t x = off_at(a, r), y = off_at(b, r);
        out.off[r] = is_mul ? x * scale : op->elem == ELEM_ADD ? x + y : x - y;
        int32_t k = same_as(a, b, r);
        out.v[r] =
            k >= 0 ? out.v[k] : int_rows[op->elem](lo, t, (LLVMValueRef[]){a->v[r], b->v[r]});
    }
    tile_set(lo, &op->out[0], out);
    return true;
}

/// i32 -> i64 keeps offsets apart (signed indices do not wrap inside a tile: ir/affine.h); hints
/// keep everything.
static bool lower_passing(Lower *lo, Op *op)
{
    Tile *in = tile_of(lo, op->in[0]);
    if (op->kind == OP_HINT) {
        tile_set(lo, &op->out[0], *in);
        return true;
    }
    const Type *from = op->in[0]->type, *to = op->out[0].type;
    if (op->kind != OP_CAST || !in->off || from->is_ptr || to->is_ptr) return false;
    if (from->dtype != DTYPE_I32 || to->dtype != DTYPE_I64) return false;
    Tile out = {in->n, regs_new(lo, in->n), in->off};
    for (int32_t r = 0; r < in->n; r++) {
        int32_t k = same_as(in, NULL, r);
        out.v[r] = k >= 0 ? out.v[k] : LLVMBuildSExt(lo->b, in->v[r], lo->i64, "");
    }
    tile_set(lo, &op->out[0], out);
    return true;
}

// ---- dispatch ---------------------------------------------------------------------------------

static LLVMValueRef bitcast(Lower *lo, LLVMValueRef x, const Type *from, const Type *to)
{
    LLVMTypeRef type = element_type(lo, to);
    if (from->is_ptr && !to->is_ptr) return LLVMBuildPtrToInt(lo->b, x, type, "");
    if (!from->is_ptr && to->is_ptr) return LLVMBuildIntToPtr(lo->b, x, type, "");
    return LLVMBuildBitCast(lo->b, x, type, "");
}

static LLVMValueRef emit_one(Lower *lo, Op *op, LLVMValueRef *in)
{
    const Type *from = op->in[0]->type, *to = op->out[0].type;
    if (op->kind == OP_BITCAST) return bitcast(lo, in[0], from, to);
    if (op->kind == OP_CAST) {
        if (from->is_ptr || to->is_ptr) {
            if (to->is_ptr || to->dtype != DTYPE_I1) return bitcast(lo, in[0], from, to);
            return LLVMBuildIsNotNull(lo->b, in[0], "");
        }
        return emit_cast(lo, in[0], from->dtype, to->dtype, (RoundMode)op_attr_i(op, ATTR_ROUND));
    }
    return emit_elem(lo, op->elem, op->in[op->elem == ELEM_SELECT]->type, in);
}

/// f32 -> bf16 of neighbouring registers is one instruction for two.
static bool lower_packed_cast(Lower *lo, Op *op, LLVMValueRef *const in[3], Tile *out)
{
    if (op->kind != OP_CAST || !lo->cx->sm->has_bf16 || out->n % 2) return false;
    if (op->in[0]->type->is_ptr || op->in[0]->type->dtype != DTYPE_F32 ||
        op->out[0].type->dtype != DTYPE_BF16)
        return false;
    if (op_attr_i(op, ATTR_ROUND) != ROUND_RNE) return false;
    for (int32_t r = 0; r < out->n; r += 2) {
        LLVMValueRef pair = KILN2(lo, BF16X2, in[0][r + 1], in[0][r]);
        out->v[r] = LLVMBuildTrunc(lo->b, pair, lo->i16, "");
        out->v[r + 1] =
            LLVMBuildTrunc(lo->b, LLVMBuildLShr(lo->b, pair, const_i32(lo, 16), ""), lo->i16, "");
    }
    return true;
}

void lower_elementwise(Lower *lo, Op *op)
{
    if (op->kind == OP_ADDPTR) {
        lower_addptr(lo, op);
        return;
    }
    if (lower_offsets(lo, op)) return;
    if ((op->kind == OP_HINT || op->kind == OP_CAST) && lower_passing(lo, op)) return;
    int32_t n = value_regs(&op->out[0]);
    LLVMValueRef *in[3] = {0};
    ASSERT(op->n_in > 0);
    for (int32_t i = 0; i < op->n_in; i++) {
        in[i] = regs_new(lo, n);
        ASSERT(tile_of(lo, op->in[i])->n == n);
        regs_of(lo, op->in[i], in[i]);
    }
    Tile out = tile_new(lo, n, false);
    if (!lower_packed_cast(lo, op, in, &out)) {
        for (int32_t r = 0; r < n; r++) {
            int32_t same = -1;
            for (int32_t k = MAX(0, r - 64); k < r && same < 0; k++) {
                bool equal = true;
                for (int32_t i = 0; i < op->n_in; i++)
                    equal &= in[i][k] == in[i][r];
                if (equal) same = k;
            }
            LLVMValueRef args[3] = {in[0][r], op->n_in > 1 ? in[1][r] : NULL,
                                    op->n_in > 2 ? in[2][r] : NULL};
            out.v[r] = same >= 0 ? out.v[same] : emit_one(lo, op, args);
        }
    }
    tile_set(lo, &op->out[0], out);
}
