// compiler/infer.c - types: promotion by the table of tile-language.md 6, weak numbers,
// broadcasting, casts, and the operators of section 7 on run-time values.
#include <math.h>
#include <stdio.h>

#include "compiler/lower.h"

// ---- promotion --------------------------------------------------------------------------------

static bool is_fp8(DType t)
{
    return t == DTYPE_F8E4M3 || t == DTYPE_F8E5M2;
}

/// Rule 7: `int1` counts as unsigned of width 1.
static DType promote_ints(DType a, DType b, ArithClass class, const char **code)
{
    bool sa = dtype_is_signed(a), sb = dtype_is_signed(b);
    if (sa == sb) return dtype_bits(a) >= dtype_bits(b) ? a : b;
    if (class == ARITH_DIV) {
        *code = "E0403";
        return DTYPE_VOID;
    }
    DType u = sa ? b : a, s = sa ? a : b;
    return dtype_bits(u) >= dtype_bits(s) ? u : s;
}

DType infer_promote(DType a, DType b, ArithClass class, const char **code)
{
    bool fa = dtype_is_float(a), fb = dtype_is_float(b);
    *code = NULL;
    if (a == DTYPE_F64 || b == DTYPE_F64) return DTYPE_F64;
    if ((is_fp8(a) && !fb) || (is_fp8(b) && !fa)) {
        *code = "E0402";
        return DTYPE_VOID;
    }
    if (class == ARITH_DIV && (fa || fb)) return DTYPE_F32;
    if (a == DTYPE_F32 || b == DTYPE_F32) return DTYPE_F32;
    if (a == DTYPE_F16 || b == DTYPE_F16) return DTYPE_F16;
    if (a == DTYPE_BF16 || b == DTYPE_BF16) return a == b ? DTYPE_BF16 : DTYPE_F32;
    if (is_fp8(a)) return a == b ? a : DTYPE_F16;
    return promote_ints(a, b, class, code);
}

DType infer_default(Val v)
{
    if (v.kind == VAL_BOOL) return DTYPE_I1;
    if (v.kind == VAL_INT) {
        if (v.i >= INT32_MIN && v.i <= INT32_MAX) return DTYPE_I32;
        if (v.i >= 0 && v.i <= UINT32_MAX) return DTYPE_U32;
        if (v.i >= INT64_MIN && v.i <= INT64_MAX) return DTYPE_I64;
        return v.i >= 0 && v.i <= (Int128)UINT64_MAX ? DTYPE_U64 : DTYPE_VOID;
    }
    double m = fabs(v.f);
    bool plain = v.f == 0 || isnan(v.f) || isinf(v.f) || (m >= 0x1p-126 && m <= 0x1.fffffep127);
    return plain ? DTYPE_F32 : DTYPE_F64;
}

// ---- numbers become values ----------------------------------------------------------------------

static bool fits(Int128 i, DType t)
{
    int32_t bits = dtype_bits(t);
    if (!dtype_is_signed(t)) return i >= 0 && i < (Int128)1 << bits;
    return i >= -((Int128)1 << (bits - 1)) && i < (Int128)1 << (bits - 1);
}

/// A constant of type `t` (scalar or tile), the number converted as a cast would.
static Value *constant(Lower *cx, const Type *t, Val v)
{
    if (dtype_is_float(t->dtype)) return build_const_float(&cx->b, t, val_as_float(v));
    if (t->dtype == DTYPE_I1) return build_const_int(&cx->b, t, val_as_float(v) != 0);
    if (v.kind != VAL_FLOAT) return build_const_int(&cx->b, t, (int64_t)val_as_int(v));
    Value *f = build_const_float(&cx->b, type_with_dtype(cx->m, t, infer_default(v)), v.f);
    return infer_cast(cx, f, t->dtype, ROUND_RNE);
}

Value *infer_number(Lower *cx, Val v, DType t, const Node *n)
{
    cx->b.span = lower_span(cx, n);
    if (dtype_is_int(t) && t != DTYPE_I1 && val_is_integral(v) && !fits(val_as_int(v), t)) {
        if (val_as_int(v) < 0 && !dtype_is_signed(t)) {
            DiagItem *e =
                lower_error(cx, n, "E0405", "negative constant %s in an operation of type %s",
                            val_text(cx->arena, v), dtype_facts[t].user);
            diag_help(cx->diag, e, "cast the tile to a signed type");
        } else {
            lower_error(cx, n, "E0404", "%s does not fit in %s, the type of this operation",
                        val_text(cx->arena, v), dtype_facts[t].user);
        }
        return NULL;
    }
    return constant(cx, type_scalar(cx->m, t), v);
}

Value *infer_run(Lower *cx, Val v, const Node *n)
{
    if (v.kind == VAL_RUN) return v.run;
    if (v.kind == VAL_ERROR) return NULL;
    if (!val_is_number(v)) {
        lower_error(cx, n, "E0414", "%s cannot be used as a run-time value", lower_describe(cx, v));
        return NULL;
    }
    DType t = infer_default(v);
    if (t == DTYPE_VOID) {
        lower_error(cx, n, "E0306", "the integer %s fits in no integer type",
                    val_text(cx->arena, v));
        return NULL;
    }
    cx->b.span = lower_span(cx, n);
    return constant(cx, type_scalar(cx->m, t), v);
}

Val infer_materialise(Lower *cx, Val v, const Node *n)
{
    if (val_is_number(v)) {
        Value *run = infer_run(cx, v, n);
        return run ? val_run(run) : val_error();
    }
    if (v.kind == VAL_TUPLE) {
        Val copy = val_tuple(cx->arena, v.n, v.items);
        copy.is_list = v.is_list;
        for (int32_t i = 0; i < v.n; i++)
            copy.items[i] = infer_materialise(cx, v.items[i], n);
        return copy;
    }
    return v;
}

// ---- casts ------------------------------------------------------------------------------------

Value *infer_truth(Lower *cx, Value *v)
{
    if (!v->type->is_ptr && v->type->dtype == DTYPE_I1) return v;
    return build_binary(&cx->b, ELEM_NE, v, build_zero(&cx->b, v->type));
}

Value *infer_cast(Lower *cx, Value *v, DType to, RoundMode round)
{
    DType from = v->type->dtype;
    if (from == to) return v;
    if (to == DTYPE_I1) return infer_truth(cx, v);
    if ((is_fp8(from) && dtype_is_int(to)) || (is_fp8(to) && dtype_is_int(from))) // through fp32
        v = build_cast(&cx->b, v, DTYPE_F32, ROUND_RNE);
    return build_cast(&cx->b, v, to, round);
}

/// Pointers to and from integers and pointers.
static Val cast_pointer(Lower *cx, Value *v, TypeRef to, bool bitcast, const Node *n)
{
    const Type *from = v->type;
    if (to.is_ptr && (from->is_ptr || dtype_is_int(from->dtype))) {
        if (!from->is_ptr) {
            if (bitcast && dtype_bits(from->dtype) != 64) goto width;
            v = infer_cast(cx, v, dtype_is_signed(from->dtype) ? DTYPE_I64 : DTYPE_U64, ROUND_RNE);
        }
        return val_run(build_bitcast(&cx->b, v, type_ptr(cx->m, to.dtype, to.is_const)));
    }
    if (!to.is_ptr && to.dtype == DTYPE_I1 && !bitcast) return val_run(infer_truth(cx, v));
    if (!to.is_ptr && (to.dtype == DTYPE_I64 || to.dtype == DTYPE_U64))
        return val_run(build_bitcast(&cx->b, v, type_scalar(cx->m, to.dtype)));
    lower_error(cx, n, "E0407", "cannot cast %s to %s", lower_type_text(cx, from),
                typeref_text(cx->arena, to));
    return val_error();
width:
    lower_error(cx, n, "E0408", "a bitcast needs equal widths, got %s to %s",
                lower_type_text(cx, from), typeref_text(cx->arena, to));
    return val_error();
}

Val infer_to(Lower *cx, Val v, Val type, bool bitcast, bool has_round, RoundMode round,
             const Node *nv, const Node *nt, const Node *n)
{
    if (is_error(v) || is_error(type)) return val_error();
    if (type.kind != VAL_DTYPE || type.type.rank ||
        (!type.type.is_ptr && type.type.dtype == DTYPE_VOID)) {
        DiagItem *e =
            lower_error(cx, nt, "E0401", "expected an element type such as `tl.float32`, got %s",
                        lower_describe(cx, type));
        if (type.kind == VAL_BUILTIN)
            diag_help(cx->diag, e, "use `tl.int1`, `tl.int32` or `tl.float32`");
        return val_error();
    }
    Value *x = infer_run(cx, v, nv);
    if (!x) return val_error();
    cx->b.span = lower_span(cx, n);
    TypeRef to = type.type;
    if (x->type->is_ptr || to.is_ptr) return cast_pointer(cx, x, to, bitcast, n);
    DType from = x->type->dtype;
    bool narrowing =
        dtype_is_float(from) && dtype_is_float(to.dtype) && dtype_bits(to.dtype) < dtype_bits(from);
    if (has_round && !narrowing) {
        lower_error(cx, n, "E0406",
                    "`fp_downcast_rounding` is for narrowing float casts, not %s to %s",
                    dtype_facts[from].user, dtype_facts[to.dtype].user);
        return val_error();
    }
    if (!bitcast) return val_run(infer_cast(cx, x, to.dtype, round));
    if (dtype_bits(from) != dtype_bits(to.dtype)) {
        lower_error(cx, n, "E0408", "a bitcast needs equal widths, got %s to %s",
                    dtype_facts[from].user, dtype_facts[to.dtype].user);
        return val_error();
    }
    return val_run(build_bitcast(&cx->b, x, type_scalar(cx->m, to.dtype)));
}

// ---- broadcasting -----------------------------------------------------------------------------

static bool has_shape(const Type *t, int32_t rank, const int32_t *shape)
{
    return t->rank == rank &&
           (rank == 0 || !memcmp(t->shape, shape, (size_t)rank * sizeof(int32_t)));
}

Value *infer_broadcast(Lower *cx, Value *v, int32_t rank, const int32_t *shape, const Node *n)
{
    const Type *t = v->type;
    if (has_shape(t, rank, shape)) return v;
    if (t->rank == 0) return build_splat(&cx->b, v, rank, shape);
    if (t->rank > rank) {
        lower_error(cx, n, "E0503", "cannot broadcast shape %s to %s",
                    lower_shape_text(cx, t->rank, t->shape), lower_shape_text(cx, rank, shape));
        return NULL;
    }
    for (int32_t i = 0; i < t->rank; i++) {
        int32_t have = t->shape[t->rank - 1 - i], want = shape[rank - 1 - i];
        if (have == want || have == 1) continue;
        lower_error(cx, n, "E0503", "cannot broadcast shape %s to %s: axis %d is %d and must be %d",
                    lower_shape_text(cx, t->rank, t->shape), lower_shape_text(cx, rank, shape),
                    rank - 1 - i, have, want);
        return NULL;
    }
    while (v->type->rank < rank)
        v = build_expand_dims(&cx->b, v, 0);
    if (has_shape(v->type, rank, shape)) return v;
    return build_broadcast(&cx->b, v, rank, shape);
}

bool infer_broadcast2(Lower *cx, Value **a, Value **b, const Node *n)
{
    const Type *x = (*a)->type, *y = (*b)->type;
    int32_t rank = MAX(x->rank, y->rank), shape[TYPE_MAX_RANK];
    int64_t numel = 1;
    for (int32_t i = 0; i < rank; i++) {
        int32_t m = i < rank - x->rank ? 1 : x->shape[i - (rank - x->rank)];
        int32_t k = i < rank - y->rank ? 1 : y->shape[i - (rank - y->rank)];
        if (m != k && m != 1 && k != 1) {
            lower_error(
                cx, n, "E0503",
                "cannot broadcast shapes %s and %s: axis %d is %d on the left and %d on the right",
                lower_shape_text(cx, x->rank, x->shape), lower_shape_text(cx, y->rank, y->shape), i,
                m, k);
            return false;
        }
        shape[i] = MAX(m, k);
        numel *= shape[i];
        if (numel > TYPE_MAX_NUMEL) {
            lower_error(cx, n, "E0502", "a tile may have at most %d elements, this one has %lld",
                        TYPE_MAX_NUMEL, (long long)numel);
            return false;
        }
    }
    *a = infer_broadcast(cx, *a, rank, shape, n);
    *b = infer_broadcast(cx, *b, rank, shape, n);
    return *a && *b;
}

// ---- operands ---------------------------------------------------------------------------------

static int32_t number_rank(Val v)
{
    return v.kind == VAL_BOOL ? 0 : v.kind == VAL_INT ? 1 : 2;
}

static int32_t dtype_rank(DType t)
{
    return t == DTYPE_I1 ? 0 : dtype_is_int(t) ? 1 : 2;
}

/// Is `v` something that arithmetic takes? Records what is wrong with it.
static bool is_operand(Lower *cx, Val v, const Node *n, const char *op)
{
    if (is_error(v)) return false;
    if (infer_is_ptr(v)) {
        lower_error(cx, n, "E0409", "%s cannot take a pointer, got %s", op, lower_describe(cx, v));
        return false;
    }
    if (v.kind == VAL_RUN || val_is_number(v)) return true;
    lower_error(cx, n, "E0414", "%s cannot take %s", op, lower_describe(cx, v));
    return false;
}

static DType no_common(Lower *cx, const char *code, DType a, DType b, const char *op, const Node *n)
{
    DiagItem *e;
    if (!strcmp(code, "E0403")) {
        e = lower_error(cx, n, code, "%s on %s and %s mixes signedness", op, dtype_facts[a].user,
                        dtype_facts[b].user);
        diag_help(cx->diag, e, "cast one side");
    } else {
        e = lower_error(cx, n, code, "%s has no common type for %s and %s", op, dtype_facts[a].user,
                        dtype_facts[b].user);
        diag_help(cx->diag, e, "cast one side");
    }
    return DTYPE_VOID;
}

/// The type in which a op b is computed, DTYPE_VOID after an error.
static DType common_type(Lower *cx, Val a, Val b, const Node *n, const char *op, ArithClass class,
                         bool weak)
{
    const char *code;
    bool na = val_is_number(a), nb = val_is_number(b);
    DType ta = na ? infer_default(a) : a.run->type->dtype,
          tb = nb ? infer_default(b) : b.run->type->dtype;
    if (ta == DTYPE_VOID || tb == DTYPE_VOID) {
        if (weak && na != nb) { // the other side may be unsigned or float and hold it
            if (ta == DTYPE_VOID) ta = tb;
            if (tb == DTYPE_VOID) tb = ta;
        } else {
            lower_error(cx, n, "E0306", "an integer operand of %s fits in no integer type", op);
            return DTYPE_VOID;
        }
    }
    if (weak && na != nb) {
        DType other = na ? tb : ta;
        if (number_rank(na ? a : b) <= dtype_rank(other)) ta = tb = other;
    }
    DType t = infer_promote(ta, tb, class, &code);
    return t == DTYPE_VOID ? no_common(cx, code, ta, tb, op, n) : t;
}

/// One operand in type `t`: weak numbers become constants of it, others are converted.
static Value *operand(Lower *cx, Val v, DType t, bool weak, const Node *nv, const Node *n)
{
    cx->b.span = lower_span(cx, n);
    if (!val_is_number(v)) return infer_cast(cx, v.run, t, ROUND_RNE);
    if (weak) return infer_number(cx, v, t, nv);
    return infer_cast(cx, constant(cx, type_scalar(cx->m, infer_default(v)), v), t,
                      ROUND_RNE); // as a scalar first
}

bool infer_operands(Lower *cx, Val a, Val b, const Node *na, const Node *nb, const Node *n,
                    const char *op, ArithClass class, bool weak, Value **x, Value **y)
{
    bool ok = is_operand(cx, a, na, op);
    ok = is_operand(cx, b, nb, op) && ok;
    if (!ok) return false;
    DType t = common_type(cx, a, b, n, op, class, weak);
    if (t == DTYPE_VOID) return false;
    *x = operand(cx, a, t, weak, na, n);
    *y = operand(cx, b, t, weak, nb, n);
    if (!*x || !*y) return false;
    cx->b.span = lower_span(cx, n);
    return infer_broadcast2(cx, x, y, n);
}

// ---- operators --------------------------------------------------------------------------------

/// pointer + integer, integer + pointer, pointer - integer.
static Val pointer_arithmetic(Lower *cx, TokenId op, Val a, Val b, const Node *na, const Node *nb,
                              const Node *n)
{
    bool left = infer_is_ptr(a), right = infer_is_ptr(b);
    const char *text = token_text(op);
    if (is_error(a) || is_error(b)) return val_error();
    if ((left && right) || (op != T_ADD && op != T_SUB) || (op == T_SUB && right)) {
        lower_error(cx, n, "E0409", "`%s` is not defined for %s and %s", text,
                    lower_describe(cx, a), lower_describe(cx, b));
        return val_error();
    }
    Value *ptr = left ? a.run : b.run;
    Val other = left ? b : a;
    bool integral =
        other.kind == VAL_RUN ? dtype_is_int(other.run->type->dtype) : val_is_integral(other);
    if (!integral) {
        if (other.kind == VAL_RUN || val_is_number(other))
            lower_error(cx, n, "E0409", "a pointer offset must be an integer, got %s",
                        lower_describe(cx, other));
        else
            lower_error(cx, left ? nb : na, "E0414", "a pointer offset must be an integer, got %s",
                        lower_describe(cx, other));
        return val_error();
    }
    Value *offset = infer_run(cx, other, left ? nb : na);
    if (!offset) return val_error();
    cx->b.span = lower_span(cx, n);
    if (op == T_SUB) {
        if (!dtype_is_signed(offset->type->dtype))
            offset = infer_cast(cx, offset, DTYPE_I64, ROUND_RNE);
        offset = build_unary(&cx->b, ELEM_NEG, offset);
    }
    if (offset->type->dtype == DTYPE_I1) offset = infer_cast(cx, offset, DTYPE_I32, ROUND_RNE);
    if (!infer_broadcast2(cx, &ptr, &offset, n)) return val_error();
    return val_run(build_addptr(&cx->b, ptr, offset));
}

/// fp8 arithmetic computes in fp16 and rounds back.
static Value *arith(Lower *cx, ElemKind e, Value *x, Value *y)
{
    DType t = x->type->dtype;
    if (!is_fp8(t)) return build_binary(&cx->b, e, x, y);
    x = infer_cast(cx, x, DTYPE_F16, ROUND_RNE);
    y = infer_cast(cx, y, DTYPE_F16, ROUND_RNE);
    return infer_cast(cx, build_binary(&cx->b, e, x, y), t, ROUND_RNE);
}

/// `>>` is arithmetic iff the left operand as written is signed, whatever the common type is.
static Val shift(Lower *cx, TokenId op, Val a, Val b, const Node *nb, const Node *n, Value *x,
                 Value *y)
{
    DType t = x->type->dtype;
    bool is_signed = dtype_is_signed(a.kind == VAL_RUN   ? a.run->type->dtype
                                     : b.kind == VAL_RUN ? b.run->type->dtype
                                                         : t);
    if (val_is_number(b) && (val_as_float(b) < 0 || val_as_float(b) >= dtype_bits(t)))
        lower_warn(cx, nb, "W0402", "shift count %s is outside 0 to %d", val_text(cx->arena, b),
                   dtype_bits(t) - 1);
    cx->b.span = lower_span(cx, n);
    if (op == T_SHL) return val_run(build_binary(&cx->b, ELEM_SHL, x, y));
    if (t == DTYPE_I1 || is_signed == dtype_is_signed(t))
        return val_run(build_binary(&cx->b, ELEM_SHR, x, y));
    static const DType flipped[DTYPE_COUNT] = {
        [DTYPE_I8] = DTYPE_U8,   [DTYPE_I16] = DTYPE_U16, [DTYPE_I32] = DTYPE_U32,
        [DTYPE_I64] = DTYPE_U64, [DTYPE_U8] = DTYPE_I8,   [DTYPE_U16] = DTYPE_I16,
        [DTYPE_U32] = DTYPE_I32, [DTYPE_U64] = DTYPE_I64};
    const Type *other = type_scalar(cx->m, flipped[t]);
    Value *r = build_binary(&cx->b, ELEM_SHR, build_bitcast(&cx->b, x, other),
                            build_bitcast(&cx->b, y, other));
    return val_run(build_bitcast(&cx->b, r, type_scalar(cx->m, t)));
}

/// x ** k for a constexpr k: repeated multiplication, or sqrt for 0.5.
static Val power(Lower *cx, Val a, Val b, const Node *na, const Node *nb, const Node *n)
{
    int32_t k;
    bool half = b.kind == VAL_FLOAT && b.f == 0.5;
    if (!is_operand(cx, a, na, "`**`") || is_error(b)) return val_error();
    if (!half && (!val_fits_i32(b, &k) || k < -64 || k > 64)) {
        DiagItem *e =
            lower_error(cx, nb, "E0411",
                        "`**` on run-time values needs a compile-time integer exponent, got %s",
                        lower_describe(cx, b));
        diag_help(cx->diag, e, "use `libdevice.pow`");
        return val_error();
    }
    Value *x = infer_run(cx, a, na);
    if (!x) return val_error();
    bool is_float = dtype_is_float(x->type->dtype);
    lower_extension(cx, n, "`**` on run-time values");
    cx->b.span = lower_span(cx, n);
    if (half || (k < 0 && !is_float)) {
        if (!half || (x->type->dtype != DTYPE_F32 && x->type->dtype != DTYPE_F64)) {
            lower_error(cx, nb, "E0411", "`**` with exponent %s needs float32 or float64, got %s",
                        lower_describe(cx, b), lower_describe(cx, a));
            return val_error();
        }
        return val_run(build_unary(&cx->b, ELEM_SQRT, x));
    }
    Value *one =
        is_float ? build_const_float(&cx->b, x->type, 1.0) : build_const_int(&cx->b, x->type, 1);
    Value *result = NULL, *square = x;
    for (int32_t e = k < 0 ? -k : k; e; e >>= 1) {
        if (e & 1) result = result ? arith(cx, ELEM_MUL, result, square) : square;
        if (e > 1) square = arith(cx, ELEM_MUL, square, square);
    }
    if (!result) result = one;
    return val_run(k < 0 ? arith(cx, ELEM_DIV, one, result) : result);
}

static bool any_float(Val a)
{
    return a.kind == VAL_FLOAT || (a.kind == VAL_RUN && dtype_is_float(a.run->type->dtype));
}

/// Both numbers or tuples and so on: Python's operators.
static Val fold(Lower *cx, TokenId op, Val a, Val b, const Node *n)
{
    ConstFault fault;
    Val v = const_binary(cx->arena, op, a, b, &fault);
    if (v.kind != VAL_ERROR) return v;
    if (fault.code)
        lower_error(cx, n, fault.code, "%s", fault.text);
    else
        lower_error(cx, n, "E0414", "`%s` is not defined for %s and %s", token_text(op),
                    lower_describe(cx, a), lower_describe(cx, b));
    return v;
}

Val infer_binary(Lower *cx, TokenId op, Val a, Val b, const Node *na, const Node *nb, const Node *n)
{
    if (is_error(a) || is_error(b)) return val_error();
    if (a.kind != VAL_RUN && b.kind != VAL_RUN) return fold(cx, op, a, b, n);
    if (op == T_MATMUL) {
        DiagItem *e = lower_error(cx, n, "E0110", "`@` is not supported in a kernel");
        diag_help(cx->diag, e, "use `tl.dot`");
        return val_error();
    }
    if (a.kind == VAL_TUPLE || b.kind == VAL_TUPLE) return fold(cx, op, a, b, n);
    if (infer_is_ptr(a) || infer_is_ptr(b)) return pointer_arithmetic(cx, op, a, b, na, nb, n);
    if (op == T_POW) return power(cx, a, b, na, nb, n);
    char text[16];
    snprintf(text, sizeof text, "`%s`", token_text(op));
    bool floats = any_float(a) || any_float(b);
    bool bitwise = op == T_AMP || op == T_PIPE || op == T_CARET || op == T_SHL || op == T_SHR;
    if (floats && (op == T_FLOORDIV || bitwise)) {
        DiagItem *e =
            lower_error(cx, n, bitwise ? "E0412" : "E0410", "%s needs integers, got %s and %s",
                        text, lower_describe(cx, a), lower_describe(cx, b));
        if (!bitwise) diag_help(cx->diag, e, "`tl.floor(a / b)`");
        return val_error();
    }
    Value *x, *y;
    ArithClass class = op == T_DIV || op == T_FLOORDIV || op == T_MOD ? ARITH_DIV : ARITH_PLAIN;
    if (!infer_operands(cx, a, b, na, nb, n, text, class, true, &x, &y)) return val_error();
    cx->b.span = lower_span(cx, n);
    if (op == T_SHL || op == T_SHR) return shift(cx, op, a, b, nb, n, x, y);
    if (op == T_DIV && dtype_is_int(x->type->dtype)) {
        x = infer_cast(cx, x, DTYPE_F32, ROUND_RNE);
        y = infer_cast(cx, y, DTYPE_F32, ROUND_RNE);
    }
    static const struct {
        TokenId op;
        ElemKind elem;
    } elems[] = {{T_ADD, ELEM_ADD}, {T_SUB, ELEM_SUB},      {T_MUL, ELEM_MUL},
                 {T_DIV, ELEM_DIV}, {T_FLOORDIV, ELEM_DIV}, {T_MOD, ELEM_REM},
                 {T_AMP, ELEM_AND}, {T_PIPE, ELEM_OR},      {T_CARET, ELEM_XOR}};
    for (int32_t i = 0; i < COUNT_OF(elems); i++)
        if (elems[i].op == op) return val_run(arith(cx, elems[i].elem, x, y));
    BUG("no operator %s", token_text(op));
}

Val infer_unary(Lower *cx, TokenId op, Val a, const Node *na, const Node *n)
{
    if (is_error(a)) return a;
    if (a.kind != VAL_RUN) {
        ConstFault fault;
        Val v = const_unary(op, a, &fault);
        if (v.kind != VAL_ERROR) return v;
        lower_error(cx, n, fault.code ? fault.code : "E0414",
                    fault.text ? "%s" : "this operator is not defined for %s",
                    fault.text ? fault.text : lower_describe(cx, a));
        return v;
    }
    cx->b.span = lower_span(cx, n);
    if (op == T_KW_NOT) {
        if (a.run->type->is_ptr || a.run->type->dtype != DTYPE_I1)
            lower_extension(cx, n, "`not` of a value that is not int1");
        cx->b.span = lower_span(cx, n);
        return val_run(build_unary(&cx->b, ELEM_NOT, infer_truth(cx, a.run)));
    }
    if (!is_operand(cx, a, na, op == T_SUB ? "unary `-`" : op == T_ADD ? "unary `+`" : "`~`"))
        return val_error();
    DType t = a.run->type->dtype;
    if (op == T_TILDE && dtype_is_float(t)) {
        lower_error(cx, n, "E0412", "`~` needs an integer, got %s", lower_describe(cx, a));
        return val_error();
    }
    if (op == T_ADD) return a;
    if (op == T_SUB && is_fp8(t)) {
        Value *h = build_unary(&cx->b, ELEM_NEG, infer_cast(cx, a.run, DTYPE_F16, ROUND_RNE));
        return val_run(infer_cast(cx, h, t, ROUND_RNE));
    }
    return val_run(build_unary(&cx->b, op == T_SUB ? ELEM_NEG : ELEM_NOT, a.run));
}

Val infer_compare(Lower *cx, TokenId op, Val a, Val b, const Node *na, const Node *nb,
                  const Node *n)
{
    if (is_error(a) || is_error(b)) return val_error();
    if (op == T_KW_IS ||
        op == T_BANG) { // identity of compile-time values; a run-time value is nothing but itself
        ConstFault fault;
        return const_compare(op, a, b, &fault);
    }
    bool in = op == T_KW_IN || op == T_KW_NOT;
    if ((a.kind != VAL_RUN && b.kind != VAL_RUN) ||
        ((a.kind == VAL_NONE || b.kind == VAL_NONE) && !in)) {
        ConstFault fault;
        Val v = const_compare(op, a, b, &fault);
        if (v.kind == VAL_ERROR)
            lower_error(cx, n, "E0414", "%s and %s cannot be compared", lower_describe(cx, a),
                        lower_describe(cx, b));
        return v;
    }
    if (in) {
        lower_error(cx, n, "E0303", "`in` needs compile-time operands, got %s",
                    lower_describe(cx, a.kind == VAL_RUN ? a : b));
        return val_error();
    }
    static const ElemKind elems[T_ID_COUNT] = {
        [T_EQ] = ELEM_EQ, [T_NE] = ELEM_NE, [T_LT] = ELEM_LT,
        [T_LE] = ELEM_LE, [T_GT] = ELEM_GT, [T_GE] = ELEM_GE};
    Value *x, *y;
    if (infer_is_ptr(a) && infer_is_ptr(b) && (op == T_EQ || op == T_NE)) {
        x = a.run, y = b.run;
        lower_extension(cx, n, "comparing pointers");
        if (x->type->dtype != y->type->dtype)
            y = build_bitcast(&cx->b, y, type_ptr(cx->m, x->type->dtype, x->type->is_const));
        return infer_broadcast2(cx, &x, &y, n) ? val_run(build_binary(&cx->b, elems[op], x, y))
                                               : val_error();
    }
    char text[16];
    snprintf(text, sizeof text, "`%s`", token_text(op));
    if (!infer_operands(cx, a, b, na, nb, n, text, ARITH_PLAIN, false, &x, &y)) return val_error();
    cx->b.span = lower_span(cx, n);
    if (is_fp8(x->type->dtype)) {
        x = infer_cast(cx, x, DTYPE_F16, ROUND_RNE);
        y = infer_cast(cx, y, DTYPE_F16, ROUND_RNE);
    }
    return val_run(build_binary(&cx->b, elems[op], x, y));
}
