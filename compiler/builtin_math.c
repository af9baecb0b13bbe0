// compiler/builtin_math.c - sections 11.5 to 11.9: dot, selection, elementwise functions,
// reductions, scans.
#include <stdlib.h>

#include "compiler/lower.h"

static bool is_lowp(DType t)
{
    return t == DTYPE_F16 || t == DTYPE_BF16;
}

static bool is_fp8(DType t)
{
    return t == DTYPE_F8E4M3 || t == DTYPE_F8E5M2;
}

static Val run_or_error(Value *v)
{
    return v ? val_run(v) : val_error();
}

// ---- 11.7 math ----------------------------------------------------------------------------------

/// Argument `index` as fp32 or fp64; numbers become fp32. NULL after E0422.
static Value *float_arg(Lower *cx, Call *c, int32_t index)
{
    Val v = c->args[index];
    cx->b.span = lower_span(cx, c->node);
    if (val_is_number(v))
        return build_const_float(&cx->b, type_scalar(cx->m, DTYPE_F32), val_as_float(v));
    Value *x = arg_run(cx, c, index);
    if (!x) return NULL;
    if (!x->type->is_ptr && (x->type->dtype == DTYPE_F32 || x->type->dtype == DTYPE_F64)) return x;
    DiagItem *e = lower_error(cx, c->nodes[index], "E0422", "`%s` needs float32 or float64, got %s",
                              c->name, lower_describe(cx, v));
    if (!x->type->is_ptr)
        diag_help(cx->diag, e, "`%s(%.*s.to(tl.float32))`", c->name,
                  STR_ARG(lower_source(cx, c->nodes[index])));
    return NULL;
}

Val tl_math(Lower *cx, Call *c)
{
    Value *x = float_arg(cx, c, 0);
    return x ? val_run(build_unary(&cx->b, (ElemKind)c->builtin->aux, x)) : val_error();
}

static Value *sigmoid(Lower *cx, Value *x)
{
    Value *one = build_const_float(&cx->b, x->type, 1.0);
    Value *e = build_unary(&cx->b, ELEM_EXP, build_unary(&cx->b, ELEM_NEG, x));
    return build_binary(&cx->b, ELEM_DIV, one, build_binary(&cx->b, ELEM_ADD, one, e));
}

Val tl_sigmoid(Lower *cx, Call *c)
{
    Value *x = float_arg(cx, c, 0);
    return x ? val_run(sigmoid(cx, x)) : val_error();
}

Val tl_isnan(Lower *cx, Call *c)
{
    Value *x = float_arg(cx, c, 0);
    return x ? val_run(build_binary(&cx->b, ELEM_NE, x, x)) : val_error();
}

// ---- 11.6 selection and elementwise -----------------------------------------------------------

Val tl_where(Lower *cx, Call *c)
{
    Value *cond, *x, *y;
    Val cv = c->args[0];
    bool truth;
    bool constant = cv.kind != VAL_RUN;
    if (constant && !const_truth(cv, &truth)) {
        lower_error(cx, c->nodes[0], "E0413", "the condition of `tl.where` must be int1, got %s",
                    lower_describe(cx, cv));
        return val_error();
    }
    if (infer_is_ptr(c->args[1]) && infer_is_ptr(c->args[2])) {
        x = c->args[1].run, y = c->args[2].run;
        if (x->type->element != y->type->element) {
            lower_error(cx, c->node, "E0409",
                        "`tl.where` needs pointers of one type, got %s and %s",
                        lower_describe(cx, c->args[1]), lower_describe(cx, c->args[2]));
            return val_error();
        }
        if (!infer_broadcast2(cx, &x, &y, c->node)) return val_error();
    } else if (!infer_operands(cx, c->args[1], c->args[2], c->nodes[1], c->nodes[2], c->node,
                               "`tl.where`", ARITH_PLAIN, true, &x, &y)) {
        return val_error();
    }
    if (constant) return val_run(truth ? x : y);
    cond = cv.run;
    if (cond->type->is_ptr || cond->type->dtype != DTYPE_I1) {
        lower_warn(cx, c->nodes[0], "W0804",
                   "the condition of `tl.where` is %s; it is compared with 0",
                   lower_describe(cx, cv));
        cx->b.span = lower_span(cx, c->node);
        cond = infer_truth(cx, cond);
    }
    cx->b.span = lower_span(cx, c->node);
    if (!infer_broadcast2(cx, &cond, &x, c->node)) return val_error();
    y = infer_broadcast(cx, y, x->type->rank, x->type->shape, c->node);
    return y ? val_run(build_select(&cx->b, cond, x, y)) : val_error();
}

/// minimum or maximum of two values of one type and shape.
static Value *pick(Lower *cx, ElemKind e, Value *x, Value *y, bool nan)
{
    DType t = x->type->dtype;
    if (t == DTYPE_I1) return build_binary(&cx->b, e == ELEM_MIN ? ELEM_AND : ELEM_OR, x, y);
    if (nan && dtype_is_float(t)) e = e == ELEM_MIN ? ELEM_MIN_NAN : ELEM_MAX_NAN;
    if (!is_fp8(t)) return build_binary(&cx->b, e, x, y);
    Value *r = build_binary(&cx->b, e, infer_cast(cx, x, DTYPE_F16, ROUND_RNE),
                            infer_cast(cx, y, DTYPE_F16, ROUND_RNE));
    return infer_cast(cx, r, t, ROUND_RNE);
}

/// bf16 promotes to fp32 first.
static Val widened(Lower *cx, Val v)
{
    if (v.kind == VAL_RUN && !v.run->type->is_ptr && v.run->type->dtype == DTYPE_BF16)
        v.run = infer_cast(cx, v.run, DTYPE_F32, ROUND_RNE);
    return v;
}

static Val minmax(Lower *cx, ElemKind e, Val a, Val b, bool nan, const Node *na, const Node *nb,
                  const Node *n, const char *name)
{
    Value *x, *y;
    cx->b.span = lower_span(cx, n);
    a = widened(cx, a), b = widened(cx, b);
    if (!infer_operands(cx, a, b, na, nb, n, name, ARITH_PLAIN, false, &x, &y)) return val_error();
    return val_run(pick(cx, e, x, y, nan));
}

static bool propagate_nan(Lower *cx, Call *c, int32_t index, bool *out)
{
    Str s;
    if (!arg_str(cx, c, index, "NONE", &s)) return false;
    *out = str_is(s, "ALL");
    if (*out || str_is(s, "NONE")) return true;
    lower_error(cx, c->nodes[index], "E0804",
                "`propagate_nan` must be `tl.PropagateNan.NONE` or `tl.PropagateNan.ALL`");
    return false;
}

static const char *quoted(Lower *cx, const Call *c)
{
    return arena_printf(cx->arena, "`%s`", c->name);
}

Val tl_minmax(Lower *cx, Call *c)
{
    bool nan;
    if (!propagate_nan(cx, c, 2, &nan)) return val_error();
    return minmax(cx, (ElemKind)c->builtin->aux, c->args[0], c->args[1], nan, c->nodes[0],
                  c->nodes[1], c->node, quoted(cx, c));
}

/// Python's min and max: constexpr of constexprs, else tl.minimum and tl.maximum from left to
/// right.
Val tl_py_minmax(Lower *cx, Call *c)
{
    ElemKind e = (ElemKind)c->builtin->aux;
    const Val *items = c->rest;
    int32_t n = c->n_rest;
    if (n == 1 && items[0].kind == VAL_TUPLE) n = items[0].n, items = items[0].items;
    if (n == 0) {
        lower_error(cx, c->node, "E0716", "`%s` needs at least one value", c->name);
        return val_error();
    }
    Val best = items[0];
    for (int32_t i = 1; i < n; i++) {
        const Node *at = c->n_rest == n ? c->rest_nodes[i] : c->node;
        bool tile = (items[i].kind == VAL_RUN && items[i].run->type->rank) ||
                    (best.kind == VAL_RUN && best.run->type->rank);
        if (tile)
            lower_warn(cx, c->node, "W0801", "`%s` of a tile; use `tl.%simum`", c->name, c->name);
        if (best.kind == VAL_RUN || items[i].kind == VAL_RUN) {
            best =
                minmax(cx, e, best, items[i], false, c->rest_nodes[0], at, c->node, quoted(cx, c));
            if (is_error(best)) return best;
            continue;
        }
        ConstFault fault;
        Val better = const_compare(e == ELEM_MIN ? T_LT : T_GT, items[i], best, &fault);
        if (better.kind != VAL_BOOL) {
            lower_error(cx, at, "E0414", "%s and %s cannot be compared", lower_describe(cx, best),
                        lower_describe(cx, items[i]));
            return val_error();
        }
        if (better.b) best = items[i];
    }
    return best;
}

Val tl_clamp(Lower *cx, Call *c)
{
    bool nan;
    if (!propagate_nan(cx, c, 3, &nan)) return val_error();
    Val low = minmax(cx, ELEM_MAX, c->args[0], c->args[1], nan, c->nodes[0], c->nodes[1], c->node,
                     "`tl.clamp`");
    if (is_error(low)) return low;
    Val v = minmax(cx, ELEM_MIN, low, c->args[2], nan, c->node, c->nodes[2], c->node, "`tl.clamp`");
    if (is_error(v) || dtype_is_float(v.run->type->dtype)) return v;
    DiagItem *e =
        lower_error(cx, c->node, "E0420", "`tl.clamp` needs floats, got %s", lower_describe(cx, v));
    diag_help(cx->diag, e, "`tl.minimum` and `tl.maximum`");
    return val_error();
}

Val tl_abs(Lower *cx, Call *c)
{
    if (val_is_number(c->args[0]) && !strcmp(c->builtin->space, "py")) {
        ConstFault fault;
        bool negative = val_as_float(c->args[0]) < 0;
        return const_unary(negative ? T_SUB : T_ADD, c->args[0], &fault);
    }
    Value *x = arg_numeric(cx, c, 0);
    if (!x) return val_error();
    DType t = x->type->dtype;
    if (!dtype_is_signed(t)) return val_run(x);
    if (is_fp8(t))
        return val_run(
            infer_cast(cx, build_unary(&cx->b, ELEM_ABS, infer_cast(cx, x, DTYPE_F16, ROUND_RNE)),
                       t, ROUND_RNE));
    return val_run(build_unary(&cx->b, ELEM_ABS, x));
}

Val tl_operator(Lower *cx, Call *c)
{
    return infer_binary(cx, (TokenId)c->builtin->aux, c->args[0], c->args[1], c->nodes[0],
                        c->nodes[1], c->node);
}

/// (x + (y - 1)) // y by the operators' own rules.
Val tl_cdiv(Lower *cx, Call *c)
{
    Val x = c->args[0], y = c->args[1];
    for (int32_t i = 0; i < 2; i++) {
        Val v = c->args[i];
        bool is_float = v.kind == VAL_FLOAT || (v.kind == VAL_RUN && !v.run->type->is_ptr &&
                                                dtype_is_float(v.run->type->dtype));
        if (!is_float) continue;
        lower_error(cx, c->nodes[i], "E0410", "`%s` needs integers, got %s", c->name,
                    lower_describe(cx, v));
        return val_error();
    }
    Val less = infer_binary(cx, T_SUB, y, val_int(1), c->nodes[1], c->node, c->node);
    Val sum = infer_binary(cx, T_ADD, x, less, c->nodes[0], c->nodes[1], c->node);
    return infer_binary(cx, T_FLOORDIV, sum, y, c->node, c->nodes[1], c->node);
}

Val tl_fdiv(Lower *cx, Call *c)
{
    Value *x, *y;
    bool ieee;
    if (!arg_bool(cx, c, 2, false, &ieee)) return val_error();
    for (int32_t i = 0; i < 2; i++) {
        Val v = c->args[i];
        bool is_int = val_is_integral(v) || (v.kind == VAL_RUN && !v.run->type->is_ptr &&
                                             dtype_is_int(v.run->type->dtype));
        if (!is_int) continue;
        lower_error(cx, c->nodes[i], "E0421", "`tl.fdiv` needs floats, got %s",
                    lower_describe(cx, v));
        return val_error();
    }
    if (!infer_operands(cx, c->args[0], c->args[1], c->nodes[0], c->nodes[1], c->node, "`tl.fdiv`",
                        ARITH_PLAIN, false, &x, &y))
        return val_error();
    DType t = x->type->dtype;
    if (is_fp8(t))
        x = infer_cast(cx, x, DTYPE_F16, ROUND_RNE), y = infer_cast(cx, y, DTYPE_F16, ROUND_RNE);
    Value *q = build_binary(
        &cx->b, ieee && (t == DTYPE_F32 || t == DTYPE_F64) ? ELEM_DIV_RN : ELEM_DIV, x, y);
    return val_run(infer_cast(cx, q, t, ROUND_RNE));
}

Val tl_div_rn(Lower *cx, Call *c)
{
    Value *x = float_arg(cx, c, 0), *y = float_arg(cx, c, 1);
    if (!x || !y) return val_error();
    if (x->type->dtype != y->type->dtype) {
        lower_error(cx, c->node, "E0422", "`%s` needs two operands of one type, got %s and %s",
                    c->name, lower_describe(cx, val_run(x)), lower_describe(cx, val_run(y)));
        return val_error();
    }
    return infer_broadcast2(cx, &x, &y, c->node) ? val_run(build_binary(&cx->b, ELEM_DIV_RN, x, y))
                                                 : val_error();
}

Val tl_fma(Lower *cx, Call *c)
{
    Value *v[3], *unused;
    if (!infer_operands(cx, c->args[0], c->args[1], c->nodes[0], c->nodes[1], c->node, "`tl.fma`",
                        ARITH_PLAIN, false, &v[0], &v[1]))
        return val_error();
    if (!infer_operands(cx, val_run(v[0]), c->args[2], c->node, c->nodes[2], c->node, "`tl.fma`",
                        ARITH_PLAIN, false, &unused, &v[2]))
        return val_error();
    DType t = v[2]->type->dtype;
    DType wide = is_lowp(t) || is_fp8(t)
                     ? DTYPE_F32
                     : t; // low precision goes through fp32: one rounding at the end
    for (int32_t i = 0; i < 3; i++) {
        v[i] = infer_broadcast(cx, infer_cast(cx, v[i], wide, ROUND_RNE), v[2]->type->rank,
                               v[2]->type->shape, c->node);
        if (!v[i]) return val_error();
    }
    if (!dtype_is_float(t))
        return val_run(
            build_binary(&cx->b, ELEM_ADD, build_binary(&cx->b, ELEM_MUL, v[0], v[1]), v[2]));
    return val_run(infer_cast(cx, build_elem(&cx->b, ELEM_FMA, 3, v), t, ROUND_RNE));
}

Val tl_umulhi(Lower *cx, Call *c)
{
    Value *x, *y;
    if (!infer_operands(cx, c->args[0], c->args[1], c->nodes[0], c->nodes[1], c->node,
                        "`tl.umulhi`", ARITH_PLAIN, false, &x, &y))
        return val_error();
    DType t = x->type->dtype;
    if (dtype_is_int(t) && dtype_bits(t) >= 32)
        return val_run(build_binary(&cx->b, ELEM_MULHI, x, y));
    lower_error(cx, c->node, "E0422", "`tl.umulhi` needs 32- or 64-bit integers, got %s",
                lower_describe(cx, val_run(x)));
    return val_error();
}

/// Row-major (i, j) of size_i x size_j ==> column-major within groups of size_g rows; the last may
/// be short.
Val tl_swizzle2d(Lower *cx, Call *c)
{
    const Node *n = c->node;
    Val i = c->args[0], j = c->args[1], size_i = c->args[2], size_j = c->args[3],
        size_g = c->args[4];
#define OP2(op, a, b) infer_binary(cx, op, a, b, n, n, n)
    Val ij = OP2(T_ADD, OP2(T_MUL, i, size_j), j);
    Val size_gj = OP2(T_MUL, size_g, size_j);
    Val off_i = OP2(T_MUL, OP2(T_FLOORDIV, ij, size_gj), size_g);
    Val rows =
        minmax(cx, ELEM_MIN, OP2(T_SUB, size_i, off_i), size_g, false, n, n, n, "`tl.swizzle2d`");
    ij = OP2(T_MOD, ij, size_gj);
    Val new_i = OP2(T_ADD, off_i, OP2(T_MOD, ij, rows)), new_j = OP2(T_FLOORDIV, ij, rows);
#undef OP2
    if (is_error(new_i) || is_error(new_j)) return val_error();
    return val_tuple(cx->arena, 2, (Val[]){new_i, new_j});
}

// ---- 11.8 reductions --------------------------------------------------------------------------

/// The tile argument 0 and the axis argument: -1 for all elements. NULL after an error.
static Value *reduced_tile(Lower *cx, Call *c, int32_t axis_index, int32_t *axis)
{
    Value *x = arg_numeric(cx, c, 0);
    if (!x) return NULL;
    if (!x->type->rank) {
        lower_error(cx, c->nodes[0], "E0518", "`%s` needs a tile, got %s", c->name,
                    lower_describe(cx, val_run(x)));
        return NULL;
    }
    *axis = -1;
    if (arg_given(c, axis_index) && !arg_axis(cx, c, axis_index, x->type->rank, axis)) return NULL;
    return x;
}

/// All elements as one axis when `*axis` is -1.
static Value *flat(Lower *cx, Value *x, int32_t *axis)
{
    if (*axis >= 0) return x;
    *axis = 0;
    return x->type->rank == 1 ? x
                              : build_reshape(&cx->b, x, 1, (int32_t[]){(int32_t)x->type->numel});
}

/// Puts the reduced axis back with length 1.
static Value *keep(Lower *cx, Value *v, int32_t rank, int32_t axis, bool keep_dims)
{
    if (!keep_dims) return v;
    int32_t ones[TYPE_MAX_RANK];
    for (int32_t i = 0; i < rank; i++)
        ones[i] = 1;
    if (v->type->rank == 0) return build_splat(&cx->b, v, rank, ones);
    return build_expand_dims(&cx->b, v, axis);
}

static Value *reduce_one(Lower *cx, CombineKind kind, Value *x, int32_t axis, bool keep_dims)
{
    Value *v;
    int32_t rank = x->type->rank, at = axis;
    x = flat(cx, x, &at);
    build_reduce(&cx->b, kind, x, at, &v);
    return keep(cx, v, rank, axis, keep_dims);
}

/// The type that sum and cumsum work in by default.
static DType sum_type(DType t)
{
    if (dtype_is_float(t) || dtype_bits(t) >= 32) return t;
    return dtype_is_signed(t) ? DTYPE_I32 : DTYPE_U32;
}

/// fp16 and bf16 sums accumulate in fp32 and round once.
static DType accumulator(DType t)
{
    return is_lowp(t) || is_fp8(t) ? DTYPE_F32 : t;
}

Val tl_sum(Lower *cx, Call *c)
{
    int32_t axis;
    bool keep_dims;
    Value *x = reduced_tile(cx, c, 1, &axis);
    if (!x || !arg_bool(cx, c, 2, false, &keep_dims)) return val_error();
    DType t = sum_type(x->type->dtype);
    if (arg_given(c, 3) && !arg_dtype(cx, c, 3, &t)) return val_error();
    cx->b.span = lower_span(cx, c->node);
    x = infer_cast(cx, infer_cast(cx, x, t, ROUND_RNE), accumulator(t), ROUND_RNE);
    return val_run(infer_cast(cx, reduce_one(cx, COMBINE_ADD, x, axis, keep_dims), t, ROUND_RNE));
}

/// Value and index along the axis.
static Val indexed(Lower *cx, CombineKind kind, Value *x, int32_t axis, bool keep_dims)
{
    Value *out[2];
    DType t = x->type->dtype == DTYPE_BF16 ? DTYPE_F32 : x->type->dtype;
    DType in = is_fp8(t) ? DTYPE_F16 : t == DTYPE_I1 ? DTYPE_U8 : t;
    build_reduce(&cx->b, kind, infer_cast(cx, x, in, ROUND_RNE), axis, out);
    for (int32_t i = 0; i < 2; i++)
        out[i] = keep(cx, out[i], x->type->rank, axis, keep_dims);
    out[0] = infer_cast(cx, out[0], t, ROUND_RNE);
    return val_tuple(cx->arena, 2, (Val[]){val_run(out[0]), val_run(out[1])});
}

Val tl_max(Lower *cx, Call *c)
{
    int32_t axis;
    bool keep_dims, indices;
    Value *x = reduced_tile(cx, c, 1, &axis);
    if (!x || !arg_bool(cx, c, 2, false, &indices) || !arg_bool(cx, c, 4, false, &keep_dims))
        return val_error();
    CombineKind kind = (CombineKind)c->builtin->aux;
    cx->b.span = lower_span(cx, c->node);
    if (indices) {
        if (axis >= 0)
            return indexed(cx, kind == COMBINE_MAX ? COMBINE_ARGMAX : COMBINE_ARGMIN, x, axis,
                           keep_dims);
        lower_error(cx, c->node, "E0508", "`%s` with `return_indices` needs an axis", c->name);
        return val_error();
    }
    DType t = x->type->dtype;
    if (is_lowp(t) || is_fp8(t)) t = DTYPE_F32;
    if (dtype_is_int(t) && dtype_bits(t) < 32) t = DTYPE_I32;
    return val_run(reduce_one(cx, kind, infer_cast(cx, x, t, ROUND_RNE), axis, keep_dims));
}

Val tl_argmax(Lower *cx, Call *c)
{
    int32_t axis;
    bool keep_dims;
    Value *x = reduced_tile(cx, c, 1, &axis);
    if (!x || !arg_bool(cx, c, 3, false, &keep_dims)) return val_error();
    int32_t at = axis;
    cx->b.span = lower_span(cx, c->node);
    Value *f = flat(cx, x, &at);
    Val pair = indexed(cx, (CombineKind)c->builtin->aux, f, at, false);
    return val_run(keep(cx, pair.items[1].run, x->type->rank, axis, keep_dims));
}

Val tl_bit_reduce(Lower *cx, Call *c)
{
    int32_t axis;
    bool keep_dims;
    Value *x = reduced_tile(cx, c, 1, &axis);
    if (!x || !arg_bool(cx, c, 2, false, &keep_dims)) return val_error();
    if (dtype_is_int(x->type->dtype))
        return val_run(reduce_one(cx, (CombineKind)c->builtin->aux, x, axis, keep_dims));
    lower_error(cx, c->nodes[0], "E0412", "`%s` needs integers, got %s", c->name,
                lower_describe(cx, val_run(x)));
    return val_error();
}

Val tl_softmax(Lower *cx, Call *c)
{
    Value *x = arg_numeric(cx, c, 0);
    int32_t axis = 0;
    bool ieee;
    if (!x || !arg_bool(cx, c, 3, false, &ieee)) return val_error();
    if (!x->type->rank || !dtype_is_float(x->type->dtype)) {
        lower_error(cx, c->nodes[0], x->type->rank ? "E0422" : "E0518",
                    "`%s` needs a tile of floats, got %s", c->name, lower_describe(cx, val_run(x)));
        return val_error();
    }
    if (arg_given(c, 1) && !arg_axis(cx, c, 1, x->type->rank, &axis)) return val_error();
    cx->b.span = lower_span(cx, c->node);
    x = infer_cast(cx, x, accumulator(x->type->dtype), ROUND_RNE);
    Value *top = infer_broadcast(cx, reduce_one(cx, COMBINE_MAX, x, axis, true), x->type->rank,
                                 x->type->shape, c->node);
    Value *e = build_unary(&cx->b, ELEM_EXP, build_binary(&cx->b, ELEM_SUB, x, top));
    Value *sum = infer_broadcast(cx, reduce_one(cx, COMBINE_ADD, e, axis, true), x->type->rank,
                                 x->type->shape, c->node);
    return val_run(build_binary(&cx->b, ieee ? ELEM_DIV_RN : ELEM_DIV, e, sum));
}

// ---- reductions and scans by a function -------------------------------------------------------

/// The tiles of argument 0: one, or a tuple of n of one shape. @return n, 0 after an error
static int32_t tiles_of(Lower *cx, Call *c, Value **x)
{
    Val v = c->args[0];
    Val one = v;
    int32_t n = v.kind == VAL_TUPLE ? v.n : 1;
    const Val *items = v.kind == VAL_TUPLE ? v.items : &one;
    for (int32_t i = 0; i < n; i++) {
        if (n > 8 || items[i].kind != VAL_RUN || !items[i].run->type->rank ||
            items[i].run->type->is_ptr) {
            lower_error(cx, c->nodes[0], "E0518",
                        "`%s` needs a tile or a tuple of at most 8, got %s", c->name,
                        lower_describe(cx, v));
            return 0;
        }
        x[i] = items[i].run;
        if (type_same_shape(x[0]->type, x[i]->type)) continue;
        lower_error(cx, c->nodes[0], "E0503", "`%s` needs tiles of one shape, got %s", c->name,
                    lower_describe(cx, v));
        return 0;
    }
    return n;
}

/// Walks the combine function in the region of `op`. @return false after an error
static bool fill_combine(Lower *cx, Call *c, Op *op, int32_t n, const JitFunc *f)
{
    Region *r = op->regions[0];
    Val args[16];
    for (int32_t i = 0; i < 2 * n; i++)
        args[i] = val_run(r->args[i]);
    if (f->def->list.len != 2 * n) {
        lower_error(cx, c->nodes[2], "E0718",
                    "the combine function `%s` must take %d scalars, it takes %d", f->name, 2 * n,
                    f->def->list.len);
        return false;
    }
    Builder saved = control_enter(cx, r);
    bool pure = cx->pure;
    cx->pure = true;
    Val v = express_inline(cx, f, 2 * n, args, c->node);
    cx->pure = pure;
    Value *out[8] = {0};
    bool ok = !is_error(v);
    if (ok && n > 1 && (v.kind != VAL_TUPLE || v.n != n)) ok = false;
    for (int32_t i = 0; i < n && ok; i++) {
        Val e = n > 1 ? v.items[i] : v;
        if (val_is_number(e)) e = run_or_error(infer_run(cx, e, c->node));
        ok = e.kind == VAL_RUN && e.run->type == r->args[i]->type;
        if (ok) out[i] = e.run;
    }
    if (ok) build_yield(&cx->b, n, out);
    control_leave(cx, saved);
    if (!ok && !is_error(v))
        lower_error(
            cx, c->nodes[2], "E0718",
            "the combine function `%s` must return the types of its arguments, it returns %s",
            f->name, lower_describe(cx, v));
    return ok;
}

/// A region that is one elementwise op of its two arguments is a built-in combine.
static CombineKind recognised(const Op *op)
{
    static const CombineKind kinds[ELEM_KIND_COUNT] = {
        [ELEM_ADD] = COMBINE_ADD, [ELEM_MUL] = COMBINE_MUL, [ELEM_MIN] = COMBINE_MIN,
        [ELEM_MAX] = COMBINE_MAX, [ELEM_AND] = COMBINE_AND, [ELEM_OR] = COMBINE_OR,
        [ELEM_XOR] = COMBINE_XOR};
    const Region *r = op->regions[0];
    const Op *first = r->first;
    if (r->n_args != 2 || !first || first->kind != OP_ELEM || first->n_in != 2 ||
        first->next != r->last || r->last->in[0] != first->out)
        return COMBINE_REGION;
    bool direct = first->in[0] == r->args[0] && first->in[1] == r->args[1],
         swapped = first->in[0] == r->args[1] && first->in[1] == r->args[0];
    return direct || swapped ? kinds[first->elem] : COMBINE_REGION;
}

Val tl_reduce(Lower *cx, Call *c)
{
    Value *x[8];
    int32_t n = tiles_of(cx, c, x), axis = -1;
    bool keep_dims;
    if (n < 1 || !arg_bool(cx, c, 3, false, &keep_dims)) return val_error();
    int32_t rank = x[0]->type->rank;
    if (arg_given(c, 1) && !arg_axis(cx, c, 1, rank, &axis)) return val_error();
    if (c->args[2].kind != VAL_FUNC) {
        lower_error(cx, c->nodes[2], "E0718", "`combine_fn` must be a jit function, got %s",
                    lower_describe(cx, c->args[2]));
        return val_error();
    }
    int32_t at = axis;
    cx->b.span = lower_span(cx, c->node);
    for (int32_t i = 0; i < n; i++) {
        at = axis;
        x[i] = flat(cx, x[i], &at);
    }
    Op *op = build_reduce_region(&cx->b, n, x, at);
    if (!fill_combine(cx, c, op, n, c->args[2].func)) return val_error();
    CombineKind kind = recognised(op);
    Val items[8];
    if (kind != COMBINE_REGION) {
        op_erase(op);
        return val_run(reduce_one(cx, kind, x[0], axis < 0 ? 0 : axis, keep_dims && axis >= 0));
    }
    for (int32_t i = 0; i < n; i++)
        items[i] = val_run(keep(cx, &op->out[i], rank, axis, keep_dims));
    return n == 1 ? items[0] : val_tuple(cx->arena, n, items);
}

Val tl_scan(Lower *cx, Call *c)
{
    Value *x[8];
    int32_t n = tiles_of(cx, c, x), axis;
    bool reverse;
    if (n < 1 || !arg_bool(cx, c, 3, false, &reverse) ||
        !arg_axis(cx, c, 1, x[0]->type->rank, &axis))
        return val_error();
    if (c->args[2].kind != VAL_FUNC) {
        lower_error(cx, c->nodes[2], "E0718", "`combine_fn` must be a jit function, got %s",
                    lower_describe(cx, c->args[2]));
        return val_error();
    }
    Op *op = build_scan_region(&cx->b, n, x, axis, reverse);
    if (!fill_combine(cx, c, op, n, c->args[2].func)) return val_error();
    CombineKind kind = recognised(op);
    if (kind != COMBINE_REGION) {
        op_erase(op);
        cx->b.span = lower_span(cx, c->node);
        return val_run(build_scan(&cx->b, kind, x[0], axis, reverse));
    }
    Val items[8];
    for (int32_t i = 0; i < n; i++)
        items[i] = val_run(&op->out[i]);
    return n == 1 ? items[0] : val_tuple(cx->arena, n, items);
}

Val tl_cumsum(Lower *cx, Call *c)
{
    int32_t axis = 0;
    bool reverse, is_sum = c->builtin->aux == COMBINE_ADD;
    Value *x = arg_numeric(cx, c, 0);
    if (!x || !arg_bool(cx, c, 2, false, &reverse)) return val_error();
    if (!x->type->rank) {
        lower_error(cx, c->nodes[0], "E0518", "`%s` needs a tile, got %s", c->name,
                    lower_describe(cx, val_run(x)));
        return val_error();
    }
    if (arg_given(c, 1) && !arg_axis(cx, c, 1, x->type->rank, &axis)) return val_error();
    DType t = is_sum ? sum_type(x->type->dtype) : x->type->dtype;
    if (t == DTYPE_BF16) t = DTYPE_F32;
    if (is_sum && arg_given(c, 3) && !arg_dtype(cx, c, 3, &t)) return val_error();
    cx->b.span = lower_span(cx, c->node);
    x = infer_cast(cx, infer_cast(cx, x, t, ROUND_RNE), accumulator(t), ROUND_RNE);
    return val_run(infer_cast(
        cx, build_scan(&cx->b, (CombineKind)c->builtin->aux, x, axis, reverse), t, ROUND_RNE));
}

// ---- 11.5 dot ---------------------------------------------------------------------------------

/// Shapes of the operands (E0514, E0515); fills in the result's.
static bool dot_shapes(Lower *cx, Call *c, const Value *a, const Value *b, int32_t *shape)
{
    const Type *x = a->type, *y = b->type;
    int32_t r = x->rank;
    bool ok = r == y->rank && r >= 2;
    for (int32_t i = 0; ok && i < r - 2; i++)
        ok = x->shape[i] == y->shape[i];
    if (!ok) {
        lower_error(cx, c->node, "E0514",
                    "`tl.dot` needs two tiles of equal rank of at least 2 and equal batch axes, "
                    "got %s and %s",
                    lower_describe(cx, c->args[0]), lower_describe(cx, c->args[1]));
        return false;
    }
    if (x->shape[r - 1] != y->shape[r - 2]) {
        DiagItem *e = lower_error(
            cx, c->node, "E0515", "inner dimensions of `tl.dot` differ: left is %s, right is %s",
            lower_shape_text(cx, r, x->shape), lower_shape_text(cx, r, y->shape));
        if (x->shape[r - 1] == y->shape[r - 1])
            diag_help(cx->diag, e, "`tl.trans` the right operand");
        return false;
    }
    memcpy(shape, x->shape, (size_t)r * sizeof(int32_t));
    shape[r - 1] = y->shape[r - 1];
    int64_t numel = 1;
    for (int32_t i = 0; i < r; i++)
        numel *= shape[i];
    if (numel <= TYPE_MAX_NUMEL) return true;
    lower_error(cx, c->node, "E0502", "a tile may have at most %d elements, this one has %lld",
                TYPE_MAX_NUMEL, (long long)numel);
    return false;
}

static bool dot_precision(Lower *cx, Call *c, DotPrecision *out)
{
    static const struct {
        const char *text;
        DotPrecision value;
    } words[] = {{"tf32", DOT_TF32},
                 {"tf32x3", DOT_TF32X3},
                 {"ieee", DOT_IEEE},
                 {"bf16x3", DOT_BF16X3},
                 {"bf16x6", DOT_BF16X6}};
    bool allow;
    Str s;
    *out = DOT_DEFAULT;
    if (arg_given(c, 3) && arg_given(c, 4)) {
        lower_error(cx, c->nodes[4], "E0806",
                    "`allow_tf32` and `input_precision` may not both be given");
        return false;
    }
    if (!arg_bool(cx, c, 4, true, &allow) || !arg_str(cx, c, 3, "", &s)) return false;
    if (arg_given(c, 4)) *out = allow ? DOT_TF32 : DOT_IEEE;
    if (!s.len) return true;
    for (int32_t i = 0; i < COUNT_OF(words); i++)
        if (str_is(s, words[i].text)) return *out = words[i].value, true;
    lower_error(cx, c->nodes[3], "E0804",
                "`input_precision` must be \"tf32\", \"tf32x3\", \"ieee\", \"bf16x3\" or "
                "\"bf16x6\", got \"%.*s\"",
                STR_ARG(s));
    return false;
}

/// The result's element type from the operands', `out_dtype` and `acc` (E0417, E0418, E0419).
static bool dot_type(Lower *cx, Call *c, DType a, DType b, const Value *acc, DType *out)
{
    bool fp8 = is_fp8(a) && is_fp8(b);
    bool known =
        a == DTYPE_I8 || a == DTYPE_U8 || is_lowp(a) || a == DTYPE_F32 || a == DTYPE_F64 || fp8;
    if ((a != b && !fp8) || !known) {
        DiagItem *e =
            a != b
                ? lower_error(cx, c->node, "E0417",
                              "operands of `tl.dot` must have the same element type, got %s and %s",
                              dtype_facts[a].user, dtype_facts[b].user)
                : lower_error(cx, c->node, "E0417", "`tl.dot` does not take %s",
                              dtype_facts[a].user);
        if (a != b)
            diag_help(cx->diag, e, "`%.*s.to(tl.%s)`", STR_ARG(lower_source(cx, c->nodes[1])),
                      dtype_facts[a].user);
        return false;
    }
    if (a == DTYPE_U8) lower_extension(cx, c->node, "`tl.dot` of uint8");
    DType natural = dtype_is_int(a) ? DTYPE_I32 : a == DTYPE_F64 ? DTYPE_F64 : DTYPE_F32;
    DType want = natural;
    bool may_f16 = a == DTYPE_F16 || fp8, given = arg_given(c, 6);
    if (given && !arg_dtype(cx, c, 6, &want)) return false;
    if (given && want != natural && !(want == DTYPE_F16 && may_f16)) {
        lower_error(cx, c->nodes[6], "E0418", "`tl.dot` of %s cannot give %s", dtype_facts[a].user,
                    dtype_facts[want].user);
        return false;
    }
    if (acc && !given) want = acc->type->dtype;
    if (acc && (want != acc->type->dtype || (want != natural && !(want == DTYPE_F16 && may_f16)))) {
        lower_error(cx, c->nodes[2], "E0419", "`acc` is %s but this dot produces %s",
                    dtype_facts[acc->type->dtype].user, dtype_facts[given ? want : natural].user);
        return false;
    }
    *out = want;
    return true;
}

static void dot_warnings(Lower *cx, Call *c, DType t, int32_t k)
{
    int32_t bits = dtype_bits(t), least = bits == 8 ? 32 : bits == 16 ? 16 : bits == 32 ? 8 : 4;
    if (k < least)
        lower_warn(
            cx, c->node, "W0803",
            "an inner dimension of %d is below the %d that Triton needs for %s [-Wtriton-compat]",
            k, least, dtype_facts[t].user);
}

Val tl_dot(Lower *cx, Call *c)
{
    Value *a = arg_numeric(cx, c, 0), *b = arg_numeric(cx, c, 1), *acc = NULL;
    int32_t shape[TYPE_MAX_RANK];
    DotPrecision precision;
    DType t;
    int64_t imprecise = 0;
    if (!a || !b || (arg_given(c, 2) && !(acc = arg_numeric(cx, c, 2)))) return val_error();
    if (!dot_shapes(cx, c, a, b, shape) || !dot_precision(cx, c, &precision)) return val_error();
    if (!dot_type(cx, c, a->type->dtype, b->type->dtype, acc, &t)) return val_error();
    int32_t rank = a->type->rank, k = a->type->shape[rank - 1];
    if (arg_given(c, 5) && !arg_int(cx, c, 5, "max_num_imprecise_acc", &imprecise))
        return val_error();
    if (imprecise > k && is_fp8(a->type->dtype)) {
        lower_error(cx, c->nodes[5], "E0804",
                    "`max_num_imprecise_acc` may be at most the inner dimension %d, got %lld", k,
                    (long long)imprecise);
        return val_error();
    }
    const Type *type = type_tile(cx->m, type_scalar(cx->m, t), rank, shape);
    if (acc && !type_same_shape(acc->type, type)) {
        lower_error(cx, c->nodes[2], "E0516", "`acc` has shape %s but the result has shape %s",
                    lower_shape_text(cx, acc->type->rank, acc->type->shape),
                    lower_shape_text(cx, rank, shape));
        return val_error();
    }
    dot_warnings(cx, c, a->type->dtype, k);
    cx->b.span = lower_span(cx, c->node);
    DType wide =
        t == DTYPE_F16 ? DTYPE_F32 : t; // accumulation is in fp32 also when the result is fp16
    acc = acc ? infer_cast(cx, acc, wide, ROUND_RNE)
              : build_zero(&cx->b, type_with_dtype(cx->m, type, wide));
    Value *r = build_dot(&cx->b, a, b, acc, precision);
    return val_run(infer_cast(cx, r, t, ROUND_RNE));
}
