// compiler/express.c - expressions: names, attributes, subscripts, calls, and/or, conditional
// expressions.
#include "compiler/lower.h"
#include "compiler/scope.h"

// ---- names ------------------------------------------------------------------------------------

/// A module-level name, evaluated once per compilation.
static Val global(Lower *cx, Str name, const Binding **binding)
{
    const Source *s = cx->frame->func->source;
    const Binding *b = map_get(&s->names, name);
    *binding = b;
    if (!b || b->kind != BIND_EXPR) return scope_name(s, cx->arena, name, binding);
    Val *known = map_get(&cx->globals, name);
    if (!known) {
        known = arena_new(cx->arena, Val);
        *known = scope_name(s, cx->arena, name, binding);
        map_put(cx->arena, &cx->globals, name, known);
    }
    return *known;
}

Val express_lookup(Lower *cx, Str name, const Binding **binding)
{
    *binding = NULL;
    Local *l = local_find(cx->frame, name);
    if (l && l->kind != LOCAL_UNBOUND) return l->val;
    Val v = global(cx, name, binding);
    return v.kind == VAL_ABSENT ? scope_python(name) : v;
}

static Val undefined_name(Lower *cx, const Node *n)
{
    const char *names[512];
    int32_t count = 0;
    const Frame *f = cx->frame;
    for (int32_t i = 0; i < f->locals.len && count < 200; i++)
        names[count++] =
            arena_strndup(cx->arena, f->locals.data[i].name.data, f->locals.data[i].name.len);
    const Map *m = &f->func->source->names;
    for (int32_t i = 0; i < m->len && count < 400; i++)
        names[count++] = arena_strndup(cx->arena, m->entries[i].key.data, m->entries[i].key.len);
    for (int32_t i = 0; i < n_builtins && count < COUNT_OF(names); i++)
        if (!strcmp(builtins[i].space, "py")) names[count++] = builtins[i].name;
    DiagItem *e = lower_error(cx, n, "E0201", "name `%.*s` is not defined", STR_ARG(n->text));
    const char *near = n->text.len > 2 ? str_nearest(n->text, names, count)
                                       : NULL; // short names are near to anything
    if (near) diag_help(cx->diag, e, "did you mean `%s`?", near);
    return val_error();
}

/// A name bound by an import that leads nowhere, or by host code.
static Val opaque_name(Lower *cx, const Node *n, const Binding *b)
{
    const char *import = b->kind == BIND_MODULE ? "E0204" : "E0203";
    DiagItem *e;
    if (b->kind == BIND_MODULE)
        e = lower_error(cx, n, import, "`%.*s` was imported from a module that was not found",
                        STR_ARG(n->text));
    else
        e = lower_error(cx, n, import,
                        "`%.*s` was bound by a statement the compiler does not evaluate",
                        STR_ARG(n->text));
    Span at = {cx->frame->file, b->begin, b->end};
    diag_note(cx->diag, e, at, "`%.*s` is bound here", STR_ARG(n->text));
    if (b->kind == BIND_EXPR) { // what stopped the host evaluator, where it knows
        HostEval h = host_eval_new(cx->frame->func->source, cx->arena);
        host_eval(&h, b->expr, NULL);
        if (h.why) diag_note(cx->diag, e, lower_span(cx, h.where), "%s", h.why);
    }
    if (b->kind != BIND_MODULE)
        diag_help(cx->diag, e, "pass it as an argument or write `%.*s = tl.constexpr(...)`",
                  STR_ARG(n->text));
    return val_error();
}

/// W0206, once per name: upstream rejects plain constants.
static void plain_constant(Lower *cx, const Node *n, const Binding *b, Val v)
{
    bool plain = val_is_number(v) || v.kind == VAL_STR || v.kind == VAL_TUPLE;
    if (!plain || b->kind != BIND_EXPR) return;
    if (!b->is_constexpr && b->expr->kind == NODE_CALL &&
        str_is(source_path_of(cx->frame->func->source, cx->arena, b->expr->a), "tl.constexpr"))
        return;
    Str key = str_of(arena_printf(cx->arena, "W0206 %.*s", STR_ARG(n->text)));
    if (map_get(&cx->globals, key)) return;
    map_put(cx->arena, &cx->globals, key, cx);
    DiagItem *w = lower_warn(cx, n, "W0206",
                             "`%.*s` is a plain module constant; Triton rejects it in a kernel",
                             STR_ARG(n->text));
    diag_help(cx->diag, w, "write `%.*s = tl.constexpr(...)`", STR_ARG(n->text));
}

static Val express_name(Lower *cx, const Node *n)
{
    Local *l = local_find(cx->frame, n->text);
    if (l && l->kind == LOCAL_DECLARED) {
        lower_error(cx, n, "E0705", "`%.*s` is declared but has no value yet", STR_ARG(n->text));
        return val_error();
    }
    if (l && l->kind != LOCAL_UNBOUND) {
        if (l->val.kind != VAL_ABSENT) return l->val;
        lower_error(cx, n, "E0705", "%s", l->why ? l->why : "this name has no value here");
        l->val = val_error(); // said once
        return val_error();
    }
    const Binding *b;
    Val v = express_lookup(cx, n->text, &b);
    if (v.kind == VAL_ABSENT) return undefined_name(cx, n);
    if (b && v.kind == VAL_OPAQUE) return opaque_name(cx, n, b);
    if (b) plain_constant(cx, n, b, v);
    return v;
}

// ---- attributes -------------------------------------------------------------------------------

static Val no_attribute(Lower *cx, const Node *n, const char *of, const char *near)
{
    DiagItem *e = lower_error(cx, n, "E0202", "%s has no `%.*s`%s%s%s", of, STR_ARG(n->text),
                              near ? "; did you mean `" : "", near ? near : "", near ? "`?" : "");
    (void)e;
    return val_error();
}

static int32_t mantissa_bits(DType t)
{
    static const int8_t bits[DTYPE_COUNT] = {
        [DTYPE_F8E4M3] = 3, [DTYPE_F8E5M2] = 2, [DTYPE_F16] = 10,
        [DTYPE_BF16] = 7,   [DTYPE_F32] = 23,   [DTYPE_F64] = 52};
    return bits[t];
}

static Val shape_tuple(Lower *cx, int32_t rank, const int32_t *shape)
{
    Val items[TYPE_MAX_RANK];
    for (int32_t i = 0; i < rank; i++)
        items[i] = val_int(shape[i]);
    return val_tuple(cx->arena, rank, items);
}

static Val dtype_attr(Lower *cx, TypeRef t, const Node *n)
{
    Str name = n->text;
    int32_t bits = t.is_ptr ? 64 : dtype_bits(t.dtype);
    TypeRef element = t;
    element.rank = 0;
    if (str_is(name, "name")) return val_str(str_of(typeref_name(cx->arena, t)));
    if (str_is(name, "primitive_bitwidth")) return val_int(bits);
    if (str_is(name, "itemsize")) return val_int(t.is_ptr ? 8 : dtype_bytes(t.dtype));
    if (str_is(name, "int_bitwidth") && !t.is_ptr && dtype_is_int(t.dtype)) return val_int(bits);
    if (str_is(name, "fp_mantissa_width") && !t.is_ptr && dtype_is_float(t.dtype))
        return val_int(mantissa_bits(t.dtype));
    if (str_is(name, "scalar")) return (Val){.kind = VAL_DTYPE, .type = element};
    if (str_is(name, "shape") && t.rank) return shape_tuple(cx, t.rank, t.shape);
    if (str_is(name, "element_ty")) {
        if (t.rank) return (Val){.kind = VAL_DTYPE, .type = element};
        if (t.is_ptr) return val_dtype(t.dtype);
    }
    return no_attribute(cx, n, arena_printf(cx->arena, "`%s`", typeref_text(cx->arena, t)), NULL);
}

static TypeRef typeref_of(const Type *t)
{
    return (TypeRef){t->dtype, t->is_ptr, t->is_const, t->rank, t->shape};
}

static Val method_of(Lower *cx, Val self, Str name)
{
    const Builtin *b = builtin_method(name);
    if (!b) return val_of(VAL_ABSENT);
    Val *copy = arena_new(cx->arena, Val);
    *copy = self;
    return (Val){.kind = VAL_METHOD, .builtin = b, .self = copy};
}

static Val run_attr(Lower *cx, Val base, const Node *n)
{
    const Type *t = base.run->type;
    TypeRef ref = typeref_of(t);
    if (str_is(n->text, "type")) return (Val){.kind = VAL_DTYPE, .type = ref};
    ref.rank = 0;
    if (str_is(n->text, "dtype")) return (Val){.kind = VAL_DTYPE, .type = ref};
    if (str_is(n->text, "shape")) return shape_tuple(cx, t->rank, t->shape);
    if (str_is(n->text, "numel")) return val_int(t->numel);
    if (str_is(n->text, "T")) {
        if (t->rank != 2) {
            lower_error(cx, n, "E0510", "`.T` needs a tile of rank 2, got %s",
                        lower_describe(cx, base));
            return val_error();
        }
        cx->b.span = lower_span(cx, n);
        return val_run(build_trans(&cx->b, base.run, (int32_t[]){1, 0}));
    }
    Val m = method_of(cx, base, n->text);
    if (m.kind != VAL_ABSENT) return m;
    return no_attribute(
        cx, n, arena_printf(cx->arena, "a value of type %s", lower_describe(cx, base)), NULL);
}

Val express_attr(Lower *cx, Val base, const Node *n)
{
    switch (base.kind) {
    case VAL_ERROR:
        return base;
    case VAL_MODULE: {
        Val v = scope_attr(cx->arena, base, n->text);
        if (v.kind != VAL_ABSENT) return v;
        return no_attribute(cx, n, arena_printf(cx->arena, "`%.*s`", STR_ARG(base.s)),
                            scope_nearest(base.s, n->text));
    }
    case VAL_RUN:
        return run_attr(cx, base, n);
    case VAL_DTYPE:
        return dtype_attr(cx, base.type, n);
    case VAL_BOOL:
    case VAL_INT:
    case VAL_FLOAT: {
        if (str_is(n->text, "value")) return base;
        if (str_is(n->text, "dtype") || str_is(n->text, "type"))
            return val_dtype(infer_default(base));
        Val m = method_of(cx, base, n->text);
        if (m.kind != VAL_ABSENT) return m;
        break;
    }
    case VAL_NONE:
    case VAL_STR:
    case VAL_TUPLE:
        if (str_is(n->text, "value")) return base;
        break;
    case VAL_FUNC:
        if (str_is(n->text, "__name__")) return val_str(str_of(base.func->name));
        break;
    default:
        break;
    }
    return no_attribute(cx, n, lower_describe(cx, base), NULL);
}

// ---- subscripts -------------------------------------------------------------------------------

static Val tuple_index(Lower *cx, Val base, const Node *n)
{
    int32_t len = base.kind == VAL_STR ? (int32_t)base.s.len : base.n, i, from = 0, to = len;
    const Node *at = n->list.data[0];
    if (n->list.len == 1 && at->kind == NODE_SLICE) {
        Val a = at->a ? express(cx, at->a) : val_int(0),
            b = at->b ? express(cx, at->b) : val_int(len);
        if (is_error(a) || is_error(b)) return val_error();
        if (at->c || base.kind == VAL_STR || !val_fits_i32(a, &from) || !val_fits_i32(b, &to)) {
            lower_error(cx, at, "E0303", "a slice of a tuple needs compile-time bounds");
            return val_error();
        }
        from = MIN(MAX(from < 0 ? from + len : from, 0), len);
        to = MIN(MAX(to < 0 ? to + len : to, from), len);
        return val_tuple(cx->arena, to - from, base.items + from);
    }
    Val v = n->list.len == 1 ? express(cx, at) : val_of(VAL_NONE);
    if (is_error(v)) return v;
    if (!val_fits_i32(v, &i)) {
        lower_error(cx, at, "E0303", "a tuple needs a compile-time index, got %s",
                    lower_describe(cx, v));
        return val_error();
    }
    if (i < 0) i += len;
    if (i < 0 || i >= len) {
        lower_error(cx, at, "E0307", "index %s is out of range for %d values",
                    val_text(cx->arena, v), len);
        return val_error();
    }
    return base.kind == VAL_STR ? val_str((Str){base.s.data + i, 1}) : base.items[i];
}

static Val element_access(Lower *cx, Val base, const Node *n, const Node *at)
{
    const Type *t = base.run->type;
    DiagItem *e = lower_error(cx, n, "E0505", "a tile cannot be indexed by element");
    Str index = lower_source(cx, at), tile = lower_source(cx, n->a);
    if (t->rank == 1)
        diag_help(cx->diag, e,
                  "`tl.sum(tl.where(tl.arange(0, %d) == %.*s, %.*s, 0), 0)` or `tl.gather`",
                  t->shape[0], STR_ARG(index), STR_ARG(tile));
    else
        diag_help(cx->diag, e, "reduce with a mask, or `tl.gather`");
    return val_error();
}

/// x[:, None], x[None], x[...]
static Val tile_index(Lower *cx, Val base, const Node *n)
{
    const Type *t = base.run->type;
    int32_t keeps = 0;
    bool dots = false;
    for (int32_t i = 0; i < n->list.len; i++) {
        const Node *at = n->list.data[i];
        if (at->kind == NODE_CONSTANT && at->op == T_ELLIPSIS) dots = true;
        if (at->kind == NODE_SLICE) keeps++;
        if (at->kind == NODE_SLICE && (at->a || at->b || at->c))
            return element_access(cx, base, n, at);
    }
    if (keeps > t->rank) {
        lower_error(cx, n, "E0504", "%d axes are kept but the tile has rank %d", keeps, t->rank);
        return val_error();
    }
    Value *v = base.run;
    int32_t axis = 0;
    for (int32_t i = 0; i < n->list.len; i++) {
        const Node *at = n->list.data[i];
        if (at->kind == NODE_SLICE) {
            axis++;
        } else if (at->kind == NODE_CONSTANT && at->op == T_ELLIPSIS) {
            axis += t->rank - keeps;
            lower_extension(cx, at, "`...` in a subscript");
        } else {
            Val entry = express(cx, at);
            if (is_error(entry)) return entry;
            if (entry.kind != VAL_NONE) return element_access(cx, base, n, at);
            if (v->type->rank == TYPE_MAX_RANK) {
                lower_error(cx, n, "E0507", "a tile may have at most %d axes", TYPE_MAX_RANK);
                return val_error();
            }
            cx->b.span = lower_span(cx, n);
            v = v->type->rank ? build_expand_dims(&cx->b, v, axis)
                              : build_splat(&cx->b, v, 1, (int32_t[]){1});
            axis++;
        }
    }
    (void)dots;
    return val_run(v);
}

static Val express_subscript(Lower *cx, const Node *n)
{
    Val base = express(cx, n->a);
    switch (base.kind) {
    case VAL_ERROR:
        return base;
    case VAL_TUPLE:
    case VAL_STR:
        return tuple_index(cx, base, n);
    case VAL_RUN:
        return tile_index(cx, base, n);
    default:
        break;
    }
    lower_error(cx, n, "E0202", "%s cannot be subscripted", lower_describe(cx, base));
    return val_error();
}

// ---- and, or, conditions ----------------------------------------------------------------------

int32_t express_condition(Lower *cx, Val v, const Node *n, Value **out)
{
    *out = NULL;
    if (is_error(v)) return -1;
    bool truth;
    if (v.kind == VAL_BOOL || v.kind == VAL_INT || v.kind == VAL_NONE)
        return const_truth(v, &truth) && truth;
    if (v.kind != VAL_RUN) {
        lower_error(cx, n, "E0703",
                    "a condition known at compile time must be bool, int or None, got %s",
                    lower_describe(cx, v));
        return -1;
    }
    Value *x = v.run;
    if (x->type->numel > 1) {
        DiagItem *e = lower_error(cx, n, "E0702", "the truth value of %s is ambiguous",
                                  lower_describe(cx, v));
        diag_help(cx->diag, e, "`tl.where`, a mask, or reduce with `tl.max`");
        return -1;
    }
    cx->b.span = lower_span(cx, n);
    if (x->type->rank) {
        lower_warn(cx, n, "W0701", "a tile of one element is used as a condition");
        cx->b.span = lower_span(cx, n);
        x = infer_truth(cx, x);
        while (x->type->rank)
            build_reduce(&cx->b, COMBINE_OR, x, 0, &x);
    }
    *out = infer_truth(cx, x);
    return 2;
}

/// A run-time operand of and/or as int1.
static Value *logical_operand(Lower *cx, Val v, const Node *n)
{
    if (v.run->type->is_ptr || (v.run->type->dtype != DTYPE_I1 && v.run->type->rank)) {
        lower_error(cx, n, "E0413", "`and` and `or` need int1, got %s", lower_describe(cx, v));
        return NULL;
    }
    if (v.run->type->dtype != DTYPE_I1)
        lower_extension(cx, n, "`and`/`or` of a scalar that is not int1");
    if (v.run->type->rank)
        lower_warn(cx, n, "W0802", "`and`/`or` on tiles does not short-circuit; use `&` or `|`");
    cx->b.span = lower_span(cx, n);
    return infer_truth(cx, v.run);
}

static Val express_bool(Lower *cx, const Node *n)
{
    bool is_or = n->op == T_KW_OR, truth;
    Value *sofar = NULL;
    Val last = val_of(VAL_NONE);
    for (int32_t i = 0; i < n->list.len; i++) {
        const Node *operand = n->list.data[i];
        last = express(cx, operand);
        if (is_error(last)) return last;
        if (last.kind != VAL_RUN) {
            if (!const_truth(last, &truth)) {
                lower_error(cx, operand, "E0703", "%s has no truth value",
                            lower_describe(cx, last));
                return val_error();
            }
            if (truth == is_or) return last; // decides, whatever the others are
            continue;
        }
        Value *x = logical_operand(cx, last, operand);
        if (!x) return val_error();
        if (sofar) {
            cx->b.span = lower_span(cx, n);
            if (!infer_broadcast2(cx, &sofar, &x, n)) return val_error();
            sofar = build_binary(&cx->b, is_or ? ELEM_OR : ELEM_AND, sofar, x);
        } else {
            sofar = x;
        }
    }
    return sofar ? val_run(sofar) : last;
}

static Val express_compare(Lower *cx, const Node *n)
{
    if (n->list.len == 2) {
        Val a = express(cx, n->list.data[0]);
        Val b = express(cx, n->list.data[1]);
        return infer_compare(cx, n->ops[0], a, b, n->list.data[0], n->list.data[1], n);
    }
    lower_extension(cx, n, "a chained comparison");
    Val left = express(cx, n->list.data[0]), all = val_of(VAL_ABSENT);
    for (int32_t i = 1; i < n->list.len; i++) {
        Val right = express(cx, n->list.data[i]);
        Val c =
            infer_compare(cx, n->ops[i - 1], left, right, n->list.data[i - 1], n->list.data[i], n);
        all = i == 1 ? c : infer_binary(cx, T_AMP, all, c, n, n, n);
        left = right;
    }
    return all;
}

static Val express_ifexp(Lower *cx, const Node *n)
{
    Val c = express(cx, n->b);
    bool truth;
    Value *cond;
    if (is_error(c)) return c;
    if (c.kind != VAL_RUN) {
        if (const_truth(c, &truth)) return express(cx, truth ? n->a : n->c);
        lower_error(cx, n->b, "E0703", "%s has no truth value", lower_describe(cx, c));
        return val_error();
    }
    return express_condition(cx, c, n->b, &cond) == 2 ? control_select(cx, n, cond) : val_error();
}

// ---- calls ------------------------------------------------------------------------------------

static const Node *param_of(const JitFunc *f, int32_t i)
{
    return f->def->list.data[i];
}

/// Fills in defaults and checks that every parameter has a value.
static bool complete_args(Lower *cx, const JitFunc *f, Val *args, const Node *call)
{
    bool ok = true;
    for (int32_t i = 0; i < f->def->list.len; i++) {
        const Node *p = param_of(f, i);
        if (args[i].kind != VAL_ABSENT) continue;
        if (p->op == T_MUL || p->op == T_POW) {
            lower_not_yet(cx, call, "a helper with `*` parameters");
            return false;
        }
        if (p->b) {
            HostEval h = host_eval_new(f->source, cx->arena);
            args[i] = host_eval(&h, p->b, NULL);
            if (args[i].kind != VAL_OPAQUE) continue;
            lower_error(cx, call, "E0203",
                        "the default of `%.*s` in `%s` is not evaluated by the compiler",
                        STR_ARG(p->text), f->name);
        } else {
            lower_error(cx, call, "E0716", "`%s` needs an argument for `%.*s`", f->name,
                        STR_ARG(p->text));
        }
        ok = false;
    }
    return ok;
}

/// Elements of `*t` in a call or a display.
static bool spread(Lower *cx, const Node *star, Val *out, int32_t *n, int32_t cap)
{
    Val v = express(cx, star->a);
    if (is_error(v)) return false;
    if (v.kind != VAL_TUPLE) {
        lower_error(cx, star, "E0716", "`*` needs a tuple, got %s", lower_describe(cx, v));
        return false;
    }
    for (int32_t i = 0; i < v.n && *n < cap; i++)
        out[(*n)++] = v.items[i];
    return true;
}

static Val call_func(Lower *cx, const JitFunc *f, const Node *n)
{
    int32_t count = f->def->list.len, positional = 0;
    Val *args = arena_array(cx->arena, Val, count + 1);
    bool ok = true;
    int32_t cap = n->list.len + (ast_contains(&n->list, NODE_STAR) ? 256 : 0);
    Val *given = arena_array(cx->arena, Val, cap + 1); // not on the stack: calls nest in arguments
    for (int32_t i = 0; i < n->list.len; i++) {
        const Node *arg = n->list.data[i];
        if (arg->kind == NODE_KEYWORD) {
            int32_t k = 0;
            while (k < count && !str_eq(param_of(f, k)->text, arg->text))
                k++;
            Val v = express(cx, arg->a);
            if (k == count || args[k].kind != VAL_ABSENT) {
                lower_error(cx, arg, "E0716",
                            k == count ? "`%s` has no parameter `%.*s`"
                                       : "`%s` got two values for `%.*s`",
                            f->name, STR_ARG(arg->text));
                ok = false;
                continue;
            }
            args[k] = v;
            continue;
        }
        if (arg->kind == NODE_DSTAR) {
            lower_error(cx, arg, "E0110", "`**` in a call is not supported in a kernel");
            return val_error();
        }
        int32_t from = positional;
        if (arg->kind == NODE_STAR)
            ok = spread(cx, arg, given, &positional, cap) && ok;
        else if (positional < cap)
            given[positional++] = express(cx, arg);
        for (; from < positional; from++) {
            if (from < count)
                args[from] = given[from];
            else {
                lower_error(cx, arg, "E0716", "`%s` takes %d arguments, more are given", f->name,
                            count);
                return val_error();
            }
        }
    }
    if (!complete_args(cx, f, args, n) || !ok) return val_error();
    return express_inline(cx, f, count, args, n);
}

/// t.is_fp16() and the like.
static Val dtype_method(Lower *cx, TypeRef t, const Node *attr)
{
    Str name = attr->text;
    bool scalar = !t.is_ptr && !t.rank;
    DType d = t.dtype;
    bool is_int = !t.is_ptr && dtype_is_int(d), is_float = !t.is_ptr && dtype_is_float(d);
    bool fp8 = is_float && dtype_bits(d) == 8;
    const struct {
        const char *name;
        bool value;
    } facts[] = {{"is_int", is_int},
                 {"is_int_signed", is_int && dtype_is_signed(d)},
                 {"is_int_unsigned", is_int && !dtype_is_signed(d)},
                 {"is_floating", is_float},
                 {"is_standard_floating", is_float && !fp8},
                 {"is_fp8", fp8},
                 {"is_bool", scalar && d == DTYPE_I1},
                 {"is_ptr", t.is_ptr && !t.rank},
                 {"is_block", t.rank > 0},
                 {"is_const", t.is_ptr && t.is_const}};
    for (int32_t i = 0; i < COUNT_OF(facts); i++)
        if (str_is(name, facts[i].name)) return val_bool(facts[i].value);
    if (str_starts(name, "is_")) {
        Str rest = {name.data + 3, name.len - 3};
        for (int32_t k = 1; k < DTYPE_COUNT; k++)
            if (str_is(rest, dtype_facts[k].tl) || str_is(rest, dtype_facts[k].user))
                return val_bool(!t.is_ptr && d == (DType)k);
    }
    if (str_is(name, "get_block_shapes") && t.rank) return shape_tuple(cx, t.rank, t.shape);
    return no_attribute(cx, attr, arena_printf(cx->arena, "`%s`", typeref_text(cx->arena, t)),
                        NULL);
}

static Val express_call(Lower *cx, const Node *n)
{
    const Node *callee = n->a;
    Val f;
    if (callee->kind == NODE_ATTR) {
        Val base = express(cx, callee->a);
        if (base.kind == VAL_DTYPE &&
            (str_starts(callee->text, "is_") || str_starts(callee->text, "get_")))
            return dtype_method(cx, base.type, callee);
        f = express_attr(cx, base, callee);
    } else {
        f = express(cx, callee);
    }
    switch (f.kind) {
    case VAL_ERROR:
        return f;
    case VAL_FUNC:
        return call_func(cx, f.func, n);
    case VAL_BUILTIN:
        return builtin_call(cx, f.builtin, val_of(VAL_ABSENT), NULL, n);
    case VAL_METHOD:
        return builtin_call(cx, f.builtin, *f.self, callee->a, n);
    default:
        break;
    }
    lower_error(cx, n, "E0202", "%s is not callable", lower_describe(cx, f));
    return val_error();
}

Val express_inline(Lower *cx, const JitFunc *f, int32_t n_args, const Val *args, const Node *call)
{
    ASSERT(cx->frame); // the kernel's, at least
    for (const Frame *c = cx->frame; c; c = c->caller)
        if (c->func == f) {
            lower_error(cx, call, "E0717", "`%s` calls itself; recursion is not supported",
                        f->name);
            return val_error();
        }
    if (cx->frame->depth >= LOWER_MAX_CALLS) {
        lower_error(cx, call, "E0717", "calls are nested more than %d deep", LOWER_MAX_CALLS);
        return val_error();
    }
    Frame *frame = arena_new(cx->arena, Frame);
    *frame = (Frame){.caller = cx->frame,
                     .func = f,
                     .call = call,
                     .file = source_diag_file(f->source, cx->diag),
                     .depth = cx->frame->depth + 1};
    for (int32_t i = 0; i < n_args; i++) {
        const Node *p = param_of(f, i);
        bool constexpr_param =
            p->a && str_is(source_path_of(f->source, cx->arena, p->a), "tl.constexpr");
        if (constexpr_param && args[i].kind == VAL_RUN)
            lower_warn(cx, call, "W0301",
                       "`%.*s` of `%s` is tl.constexpr but gets a run-time value", STR_ARG(p->text),
                       f->name);
        Frame *caller = cx->frame;
        cx->frame = frame;
        Local *l = local_slot(cx, p->text);
        *l = (Local){.name = p->text, .kind = LOCAL_PARAM, .val = args[i], .where = p};
        cx->frame = caller;
    }
    cx->frame = frame;
    lower_suite(cx, &f->def->list2, 0, true);
    cx->frame = frame->caller;
    cx->b.span = lower_span(cx, call);
    return frame->ret.state == RET_NEVER ? val_of(VAL_NONE) : frame->ret.val;
}

// ---- the rest ---------------------------------------------------------------------------------

static Val express_fstring(Lower *cx, const Node *n)
{
    StrBuf out = {0};
    bool ok = true;
    for (int32_t i = 0; i < n->list.len && ok; i++) {
        const Node *p = n->list.data[i];
        if (p->kind == NODE_STRING) {
            strbuf_add(&out, p->text.data, p->text.len);
            continue;
        }
        Val v = express(cx, p->a), spec = p->b ? express(cx, p->b) : val_str(STR(""));
        ok = !is_error(v) && spec.kind == VAL_STR;
        if (ok && !val_is_constexpr(v)) {
            lower_error(cx, p->a, "E0303",
                        "a field of an f-string must be known at compile time, got %s",
                        lower_describe(cx, v));
            ok = false;
        }
        if (!ok) break;
        if (str_is(p->text, "r")) {
            val_print(&out, v, true);
        } else if (!val_format(&out, v, spec.s)) {
            lower_error(cx, p->a, "E0303", "the format `%.*s` does not suit %s", STR_ARG(spec.s),
                        lower_describe(cx, v));
            ok = false;
        }
    }
    Val v =
        ok ? val_str((Str){arena_strndup(cx->arena, out.data ? out.data : "", out.len), out.len})
           : val_error();
    strbuf_free(&out);
    return v;
}

static Val express_display(Lower *cx, const Node *n)
{
    VEC(Val) items = {0};
    bool ok = true;
    for (int32_t i = 0; i < n->list.len; i++) {
        const Node *e = n->list.data[i];
        if (e->kind == NODE_STAR) {
            enum { MAX_SPREAD = 256 };
            Val *some = arena_array(cx->arena, Val, MAX_SPREAD);
            int32_t count = 0;
            ok = spread(cx, e, some, &count, MAX_SPREAD) && ok;
            for (int32_t k = 0; k < count; k++)
                vec_push(cx->arena, &items, some[k]);
            continue;
        }
        Val v = express(cx, e);
        ok = ok && !is_error(v);
        vec_push(cx->arena, &items, v);
    }
    if (!ok) return val_error();
    Val v = val_tuple(cx->arena, items.len, items.data);
    v.is_list = n->kind == NODE_LIST;
    return v;
}

static Val reject(Lower *cx, const Node *n)
{
    static const struct {
        NodeKind kind;
        const char *form, *help;
    } forms[] = {{NODE_LAMBDA, "lambda", "define a @triton.jit function"},
                 {NODE_DICT, "a dict", "use separate names or a tuple"},
                 {NODE_SET, "a set", "use a tuple"},
                 {NODE_COMP, "a comprehension", "use `tl.static_range`"},
                 {NODE_IMAGINARY, "a complex number", NULL},
                 {NODE_STAR, "`*`", NULL},
                 {NODE_SLICE, "a slice", NULL}};
    for (int32_t i = 0; i < COUNT_OF(forms); i++) {
        if (forms[i].kind != n->kind) continue;
        DiagItem *e = lower_error(cx, n, "E0110", "%s is not supported in a kernel", forms[i].form);
        if (forms[i].help) diag_help(cx->diag, e, "%s", forms[i].help);
        return val_error();
    }
    lower_error(cx, n, "E0110", "`%.*s` is not supported in a kernel", STR_ARG(n->text));
    return val_error();
}

static Val express_node(Lower *cx, const Node *n)
{
    switch (n->kind) {
    case NODE_NAME:
        return express_name(cx, n);
    case NODE_INT:
        if (!n->overflow) return val_int(n->i);
        lower_error(cx, n, "E0306", "this integer constant needs more than 128 bits");
        return val_error();
    case NODE_FLOAT:
        return val_float(n->f);
    case NODE_STRING:
        return val_str(n->text);
    case NODE_FSTRING:
        return express_fstring(cx, n);
    case NODE_CONSTANT:
        if (n->op == T_ELLIPSIS) break;
        return n->op == T_KW_NONE ? val_of(VAL_NONE) : val_bool(n->op == T_KW_TRUE);
    case NODE_TUPLE:
    case NODE_LIST:
        return express_display(cx, n);
    case NODE_UNARY: {
        Val a = express(cx, n->a);
        return infer_unary(cx, n->op, a, n->a, n);
    }
    case NODE_BINARY: {
        Val a = express(cx, n->a);
        Val b = express(cx, n->b);
        return infer_binary(cx, n->op, a, b, n->a, n->b, n);
    }
    case NODE_COMPARE:
        return express_compare(cx, n);
    case NODE_BOOL:
        return express_bool(cx, n);
    case NODE_IFEXP:
        return express_ifexp(cx, n);
    case NODE_CALL:
        return express_call(cx, n);
    case NODE_ATTR:
        return express_attr(cx, express(cx, n->a), n);
    case NODE_SUBSCRIPT:
        return express_subscript(cx, n);
    case NODE_WALRUS: {
        Val v = express(cx, n->b);
        lower_assign(cx, n->a, v, n->b);
        Local *l = n->a->kind == NODE_NAME ? local_find(cx->frame, n->a->text) : NULL;
        return l ? l->val : v;
    }
    default:
        break;
    }
    return reject(cx, n);
}

Val express(Lower *cx, const Node *n)
{
    if (cx->stopped) return val_error();
    if (++cx->exprs > LOWER_MAX_EXPRS) {
        lower_error(cx, n, "E0708", "this kernel elaborates more than %d expressions",
                    LOWER_MAX_EXPRS);
        cx->stopped = true;
        return val_error();
    }
    if (!lower_deeper(cx, n)) return val_error();
    Val v = express_node(cx, n);
    cx->nesting--;
    return v;
}
