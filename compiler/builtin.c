// compiler/builtin.c - the table of the language's functions, the binder of their arguments, and
// the functions of sections 11.1 and 11.12: programs, creation, compile time, debugging.
#include "compiler/lower.h"
#include "compiler/scope.h"

#define M true
#define F false
#define BUILTIN(space, name, method, params, handler, aux)                                         \
    {#space, #name, method, params, tl_##handler, aux},
const Builtin builtins[] = {
#include "compiler/builtin.def"
};
#undef BUILTIN
#undef M
#undef F
const int32_t n_builtins = COUNT_OF(builtins);

const Builtin *builtin_find(const char *space, Str name)
{
    for (int32_t i = 0; i < n_builtins; i++)
        if (str_is(name, builtins[i].name) && !strcmp(builtins[i].space, space))
            return &builtins[i];
    return NULL;
}

const Builtin *builtin_method(Str name)
{
    for (int32_t i = 0; i < n_builtins; i++)
        if (builtins[i].is_method && str_is(name, builtins[i].name)) return &builtins[i];
    return NULL;
}

const char *builtin_text(Arena *arena, const Builtin *b)
{
    if (!strcmp(b->space, "py")) return b->name;
    if (!strcmp(b->space, "method")) return arena_printf(arena, ".%s", b->name);
    return arena_printf(arena, "%s.%s", !strcmp(b->space, "target") ? "tl.target_info" : b->space,
                        b->name);
}

// ---- binding ----------------------------------------------------------------------------------

/// A parameter list, split: "input *shape can_reorder?".
typedef struct Params {
    Str name[BUILTIN_MAX_PARAMS];
    bool optional[BUILTIN_MAX_PARAMS];
    int32_t n, star; ///< star: index of the `*` parameter, or -1
} Params;

static Params split(const char *text)
{
    Params p = {.star = -1};
    while (*text) {
        size_t len = strcspn(text, " ");
        Str word = {text, len};
        if (word.data[0] == '*') p.star = p.n, word.data++, word.len--;
        if (word.data[word.len - 1] == '?') p.optional[p.n] = true, word.len--;
        p.name[p.n++] = word;
        text += len;
        while (*text == ' ')
            text++;
    }
    return p;
}

static bool unknown_keyword(Lower *cx, const Call *c, const Params *p, const Node *arg)
{
    const char *names[BUILTIN_MAX_PARAMS];
    for (int32_t i = 0; i < p->n; i++)
        names[i] = arena_strndup(cx->arena, p->name[i].data, p->name[i].len);
    const char *near = str_nearest(arg->text, names, p->n);
    DiagItem *e =
        near ? lower_error(cx, arg, "E0716", "`%s` has no parameter `%.*s`; did you mean `%s`?",
                           c->name, STR_ARG(arg->text), near)
             : lower_error(cx, arg, "E0716", "`%s` has no parameter `%.*s`", c->name,
                           STR_ARG(arg->text));
    if (str_starts(arg->text, "trans_"))
        diag_help(cx->diag, e, "transpose the operand with `tl.trans`");
    return false;
}

/// Gives one positional value its place.
static bool place(Lower *cx, Call *c, const Params *p, int32_t *next, Val v, const Node *n)
{
    if (*next == p->star) {
        if (c->n_rest == BUILTIN_MAX_REST) {
            lower_error(cx, n, "E0716", "`%s` takes at most %d values here", c->name,
                        BUILTIN_MAX_REST);
            return false;
        }
        c->rest[c->n_rest] = v;
        c->rest_nodes[c->n_rest++] = n;
        return true;
    }
    if (*next >= p->n) {
        lower_error(cx, n, "E0716", "`%s` takes at most %d arguments", c->name, p->n);
        return false;
    }
    c->args[*next] = v;
    c->nodes[(*next)++] = n;
    return true;
}

static bool bind_args(Lower *cx, Call *c, const Params *p, Val self, const Node *self_node)
{
    int32_t next = 0;
    bool ok = true;
    if (self.kind != VAL_ABSENT) ok = place(cx, c, p, &next, self, self_node);
    for (int32_t i = 0; i < c->node->list.len && ok; i++) {
        const Node *arg = c->node->list.data[i];
        if (arg->kind == NODE_STAR) {
            Val v = express(cx, arg->a);
            if (v.kind != VAL_TUPLE) {
                if (!is_error(v))
                    lower_error(cx, arg, "E0716", "`*` needs a tuple, got %s",
                                lower_describe(cx, v));
                return false;
            }
            for (int32_t k = 0; k < v.n && ok; k++)
                ok = place(cx, c, p, &next, v.items[k], arg);
        } else if (arg->kind == NODE_KEYWORD) {
            int32_t k = 0;
            while (k < p->n && !str_eq(p->name[k], arg->text))
                k++;
            if (k == p->n && str_is(arg->text, "_semantic")) continue;
            Val v = express(cx, arg->a);
            if (k == p->n) return unknown_keyword(cx, c, p, arg);
            if (c->args[k].kind != VAL_ABSENT) {
                lower_error(cx, arg, "E0716", "`%s` got two values for `%.*s`", c->name,
                            STR_ARG(arg->text));
                return false;
            }
            if (k == p->star) {
                c->rest[0] = v, c->rest_nodes[0] = arg->a, c->n_rest = 1;
                continue;
            }
            c->args[k] = v;
            c->nodes[k] = arg->a;
        } else if (arg->kind == NODE_DSTAR) {
            lower_error(cx, arg, "E0110", "`**` in a call is not supported in a kernel");
            return false;
        } else {
            ok = place(cx, c, p, &next, express(cx, arg), arg);
        }
    }
    for (int32_t i = 0; i < p->n && ok; i++) {
        if (i == p->star || p->optional[i] || c->args[i].kind != VAL_ABSENT) continue;
        lower_error(cx, c->node, "E0716", "`%s` needs an argument for `%.*s`", c->name,
                    STR_ARG(p->name[i]));
        ok = false;
    }
    return ok;
}

Val builtin_call(Lower *cx, const Builtin *b, Val self, const Node *self_node, const Node *call)
{
    Call *c = arena_new(cx->arena, Call); // not on the stack: calls nest in arguments
    c->builtin = b;
    c->node = call;
    c->name = builtin_text(cx->arena, b);
    Params p = split(b->params);
    if (p.star >= 0) {
        c->rest = arena_array(cx->arena, Val, BUILTIN_MAX_REST);
        c->rest_nodes = arena_array(cx->arena, const Node *, BUILTIN_MAX_REST);
    }
    for (int32_t i = 0; i < BUILTIN_MAX_PARAMS; i++)
        c->nodes[i] = call;
    if (!bind_args(cx, c, &p, self, self_node)) return val_error();
    for (int32_t i = 0; i < p.n; i++)
        if (is_error(c->args[i])) return val_error();
    for (int32_t i = 0; i < c->n_rest; i++)
        if (is_error(c->rest[i])) return val_error();
    cx->b.span = lower_span(cx, call);
    return b->lower(cx, c);
}

// ---- arguments --------------------------------------------------------------------------------

/// "E0303: `tl.arange` needs a compile-time `end`, but `n` is a run-time int32", with a note at the
/// binding.
static void not_constexpr(Lower *cx, Call *c, int32_t index, const char *what)
{
    const Node *n = c->nodes[index];
    Val v = c->args[index];
    DiagItem *e;
    if (v.kind == VAL_RUN)
        e = lower_error(cx, n, "E0303",
                        "`%s` needs a compile-time `%s`, but `%.*s` is a run-time %s", c->name,
                        what, STR_ARG(lower_source(cx, n)), lower_describe(cx, v));
    else
        e = lower_error(cx, n, "E0303", "`%s` needs a compile-time integer as `%s`, got %s",
                        c->name, what, lower_describe(cx, v));
    lower_note_binding(cx, e, n);
    const Local *l = n->kind == NODE_NAME ? local_find(cx->frame, n->text) : NULL;
    if (l && l->was_number)
        diag_help(cx->diag, e, "`%.*s: tl.constexpr = %s`", STR_ARG(n->text),
                  val_text(cx->arena, l->number));
}

bool arg_int(Lower *cx, Call *c, int32_t index, const char *what, int64_t *out)
{
    Val v = c->args[index];
    if (!val_is_integral(v)) {
        not_constexpr(cx, c, index, what);
        return false;
    }
    Int128 i = val_as_int(v);
    *out = (int64_t)i;
    if (i == (Int128)*out) return true;
    lower_error(cx, c->nodes[index], "E0306", "%s does not fit in 64 bits", val_text(cx->arena, v));
    return false;
}

bool arg_bool(Lower *cx, Call *c, int32_t index, bool otherwise, bool *out)
{
    Val v = c->args[index];
    *out = otherwise;
    if (v.kind == VAL_ABSENT || v.kind == VAL_NONE) return true;
    if (v.kind != VAL_RUN && const_truth(v, out)) return true;
    lower_error(cx, c->nodes[index], "E0303", "`%s` needs a compile-time bool here, got %s",
                c->name, lower_describe(cx, v));
    return false;
}

bool arg_str(Lower *cx, Call *c, int32_t index, const char *otherwise, Str *out)
{
    Val v = c->args[index];
    *out = str_of(otherwise);
    if (v.kind == VAL_ABSENT || v.kind == VAL_NONE) return true;
    if (v.kind == VAL_STR) return *out = v.s, true;
    lower_error(cx, c->nodes[index], "E0303", "`%s` needs a compile-time string here, got %s",
                c->name, lower_describe(cx, v));
    return false;
}

bool arg_dtype(Lower *cx, Call *c, int32_t index, DType *out)
{
    Val v = c->args[index];
    if (v.kind == VAL_DTYPE && !v.type.is_ptr && !v.type.rank && v.type.dtype != DTYPE_VOID)
        return *out = v.type.dtype, true;
    DiagItem *e = lower_error(cx, c->nodes[index], "E0401",
                              "`%s` needs an element type such as `tl.float32`, got %s", c->name,
                              lower_describe(cx, v));
    if (v.kind == VAL_BUILTIN) diag_help(cx->diag, e, "use `tl.int1`, `tl.int32` or `tl.float32`");
    return false;
}

Value *arg_run(Lower *cx, Call *c, int32_t index)
{
    Value *v = infer_run(cx, c->args[index], c->nodes[index]);
    cx->b.span = lower_span(cx, c->node);
    return v;
}

Value *arg_numeric(Lower *cx, Call *c, int32_t index)
{
    Value *v = arg_run(cx, c, index);
    if (!v || !v->type->is_ptr) return v;
    lower_error(cx, c->nodes[index], "E0409", "`%s` cannot take a pointer, got %s", c->name,
                lower_describe(cx, val_run(v)));
    return NULL;
}

bool arg_shape(Lower *cx, Call *c, Val v, const Node *n, int32_t *rank,
               int32_t shape[TYPE_MAX_RANK])
{
    if (val_is_integral(v)) v = val_tuple(cx->arena, 1, &v);
    if (v.kind != VAL_TUPLE || v.n > TYPE_MAX_RANK) {
        lower_error(cx, n, "E0507", "`%s` needs a shape: a tuple of compile-time integers, got %s",
                    c->name, lower_describe(cx, v));
        return false;
    }
    int64_t numel = 1;
    *rank = v.n;
    for (int32_t i = 0; i < v.n; i++) {
        Val e = v.items[i];
        const Node *at = (n->kind == NODE_TUPLE || n->kind == NODE_LIST) && i < n->list.len
                             ? n->list.data[i]
                             : n;
        if (!val_is_integral(e)) {
            DiagItem *item = lower_error(
                cx, at, "E0507", "`%s` needs a shape of compile-time integers, but axis %d is %s",
                c->name, i, lower_describe(cx, e));
            lower_note_binding(cx, item, at);
            return false;
        }
        Int128 extent = val_as_int(e);
        if (extent <= 0 || extent > INT32_MAX || !is_pow2((int64_t)extent)) {
            DiagItem *item = lower_error(cx, at, "E0501",
                                         "the length of a tile axis must be a power of two, got %s",
                                         val_text(cx->arena, e));
            if (extent > 0 && extent < 1 << 20)
                diag_help(cx->diag, item, "use %lld and mask",
                          (long long)next_pow2((int64_t)extent));
            return false;
        }
        shape[i] = (int32_t)extent;
        numel = numel > (int64_t)1 << 40 ? numel : numel * shape[i];
    }
    if (numel <= TYPE_MAX_NUMEL) return true;
    lower_error(cx, n, "E0502", "a tile may have at most %d elements, this one has %lld",
                TYPE_MAX_NUMEL, (long long)numel);
    return false;
}

bool arg_axis(Lower *cx, Call *c, int32_t index, int32_t rank, int32_t *out)
{
    int64_t axis;
    if (!arg_int(cx, c, index, "axis", &axis)) return false;
    *out = (int32_t)(axis < 0 ? axis + rank : axis);
    if (axis >= -rank && axis < rank) return true;
    lower_error(cx, c->nodes[index], "E0508", "axis %lld is out of range for a tile of rank %d",
                (long long)axis, rank);
    return false;
}

// ---- 11.1 programs and creation -----------------------------------------------------------------

Val tl_program_id(Lower *cx, Call *c)
{
    int64_t axis;
    if (!arg_int(cx, c, 0, "axis", &axis)) return val_error();
    if (axis < 0 || axis > 2) {
        lower_error(cx, c->nodes[0], "E0801", "the axis of `%s` must be 0, 1 or 2, got %lld",
                    c->name, (long long)axis);
        return val_error();
    }
    bool id = c->builtin->aux == OP_PROGRAM_ID;
    return val_run(id ? build_program_id(&cx->b, (int32_t)axis)
                      : build_num_programs(&cx->b, (int32_t)axis));
}

Val tl_arange(Lower *cx, Call *c)
{
    int64_t v[2];
    if (!arg_int(cx, c, 0, "start", &v[0]) || !arg_int(cx, c, 1, "end", &v[1])) return val_error();
    for (int32_t i = 0; i < 2; i++)
        if (v[i] < INT32_MIN || v[i] > INT32_MAX) {
            lower_error(cx, c->nodes[i], "E0306",
                        "the bounds of `tl.arange` must fit in int32, got %lld", (long long)v[i]);
            return val_error();
        }
    int64_t n = v[1] - v[0];
    if (n <= 0) {
        lower_error(cx, c->node, "E0802",
                    "`tl.arange` needs an end greater than its start, got %lld to %lld",
                    (long long)v[0], (long long)v[1]);
        return val_error();
    }
    Val extent = val_int(n);
    int32_t rank, shape[TYPE_MAX_RANK];
    if (!arg_shape(cx, c, extent, c->node, &rank, shape)) return val_error();
    return val_run(build_arange(&cx->b, (int32_t)v[0], (int32_t)v[1]));
}

/// A tile of `shape` with `value` (a number or a scalar) in every element.
static Val filled(Lower *cx, Call *c, int32_t rank, const int32_t *shape, Val value, const Node *n,
                  DType t)
{
    const Type *type = type_tile(cx->m, type_scalar(cx->m, t), rank, shape);
    if (val_is_number(value)) {
        if (dtype_is_float(t)) return val_run(build_const_float(&cx->b, type, val_as_float(value)));
        if (t == DTYPE_I1) return val_run(build_const_int(&cx->b, type, val_as_float(value) != 0));
        if (val_is_integral(value))
            return val_run(build_const_int(&cx->b, type, (int64_t)val_as_int(value)));
    }
    Value *v = infer_run(cx, value, n);
    if (!v) return val_error();
    cx->b.span = lower_span(cx, c->node);
    if (v->type->is_ptr) {
        lower_error(cx, n, "E0409", "`%s` cannot take a pointer", c->name);
        return val_error();
    }
    while (v->type->rank && v->type->numel == 1)
        build_reduce(&cx->b, COMBINE_MAX, v, 0, &v);
    if (v->type->rank) {
        lower_error(cx, n, "E0803", "`%s` needs one value, got %s", c->name,
                    lower_describe(cx, value));
        return val_error();
    }
    v = infer_cast(cx, v, t, ROUND_RNE);
    return val_run(rank ? build_splat(&cx->b, v, rank, shape) : v);
}

Val tl_full(Lower *cx, Call *c)
{
    int32_t rank, shape[TYPE_MAX_RANK];
    DType t;
    bool ok = arg_shape(cx, c, c->args[0], c->nodes[0], &rank, shape);
    if (!arg_dtype(cx, c, 2, &t) || !ok) return val_error();
    return filled(cx, c, rank, shape, c->args[1], c->nodes[1], t);
}

Val tl_zeros(Lower *cx, Call *c)
{
    int32_t rank, shape[TYPE_MAX_RANK];
    DType t;
    bool ok = arg_shape(cx, c, c->args[0], c->nodes[0], &rank, shape);
    if (!arg_dtype(cx, c, 1, &t) || !ok) return val_error();
    return filled(cx, c, rank, shape, val_int(0), c->node, t);
}

Val tl_zeros_like(Lower *cx, Call *c)
{
    Value *v = arg_numeric(cx, c, 0);
    return v ? val_run(build_zero(&cx->b, v->type)) : val_error();
}

Val tl_to_tensor(Lower *cx, Call *c)
{
    Value *v = arg_run(cx, c, 0);
    return v ? val_run(v) : val_error();
}

Val tl_cast(Lower *cx, Call *c)
{
    bool bitcast;
    Str round;
    if (!arg_str(cx, c, 2, "", &round) || !arg_bool(cx, c, 3, false, &bitcast)) return val_error();
    if (round.len && !str_is(round, "rtne") && !str_is(round, "rtz")) {
        lower_error(cx, c->nodes[2], "E0804",
                    "`fp_downcast_rounding` must be \"rtne\" or \"rtz\", got \"%.*s\"",
                    STR_ARG(round));
        return val_error();
    }
    RoundMode mode = str_is(round, "rtz") ? ROUND_RTZ : ROUND_RNE;
    return infer_to(cx, c->args[0], c->args[1], bitcast, round.len > 0, mode, c->nodes[0],
                    c->nodes[1], c->node);
}

// ---- 11.12 compile time, debugging, target ----------------------------------------------------

Val tl_static_assert(Lower *cx, Call *c)
{
    bool truth;
    Str msg = {0};
    if (c->args[0].kind == VAL_RUN || !const_truth(c->args[0], &truth)) {
        lower_error(cx, c->nodes[0], "E0303",
                    "`tl.static_assert` needs a condition known at compile time, got %s",
                    lower_describe(cx, c->args[0]));
        return val_error();
    }
    if (truth) return val_of(VAL_NONE);
    if (c->args[1].kind == VAL_STR) msg = c->args[1].s;
    lower_error(cx, c->node, "E0308", "static assertion failed%s%.*s", msg.len ? ": " : "",
                STR_ARG(msg));
    return val_error();
}

/// Said as a note at its place; whoever shows the diagnostics shows it.
Val tl_static_print(Lower *cx, Call *c)
{
    Str sep;
    if (!arg_str(cx, c, 1, " ", &sep)) return val_error();
    StrBuf out = {0};
    for (int32_t i = 0; i < c->n_rest; i++) {
        if (i) strbuf_add(&out, sep.data, sep.len);
        if (c->rest[i].kind == VAL_RUN)
            strbuf_puts(&out, lower_describe(cx, c->rest[i]));
        else
            val_print(&out, c->rest[i], false);
    }
    diag_add(cx->diag, DIAG_NOTE, "", lower_span(cx, c->node), "%s", out.data ? out.data : "");
    strbuf_free(&out);
    return val_of(VAL_NONE);
}

Val tl_device_print(Lower *cx, Call *c)
{
    Value *values[BUILTIN_MAX_REST];
    bool hex;
    Val prefix = c->args[0];
    bool ascii = prefix.kind == VAL_STR;
    for (size_t i = 0; ascii && i < prefix.s.len; i++)
        ascii = (unsigned char)prefix.s.data[i] < 0x80;
    if (!ascii) {
        lower_error(cx, c->nodes[0], "E0809",
                    "the prefix of `%s` must be a compile-time ASCII string, got %s", c->name,
                    lower_describe(cx, prefix));
        return val_error();
    }
    if (!arg_bool(cx, c, 2, false, &hex)) return val_error();
    for (int32_t i = 0; i < c->n_rest; i++)
        if (!(values[i] = infer_run(cx, c->rest[i], c->rest_nodes[i]))) return val_error();
    cx->b.span = lower_span(cx, c->node);
    Op *op = build_op(&cx->b, OP_PRINT, c->n_rest, values, 0, NULL, 0);
    op_attr(op, ATTR_TEXT)->text = arena_strndup(cx->arena, prefix.s.data, prefix.s.len);
    op_attr(op, ATTR_HEX)->i = hex;
    return val_of(VAL_NONE);
}

Val tl_device_assert(Lower *cx, Call *c)
{
    Str msg;
    bool truth;
    Val cond = c->args[0];
    if (!arg_str(cx, c, 1, "", &msg)) return val_error();
    if (cond.kind != VAL_RUN && const_truth(cond, &truth) && truth) return val_of(VAL_NONE);
    if (cond.kind != VAL_RUN && cond.kind != VAL_BOOL && cond.kind != VAL_INT) goto type;
    if (cond.kind == VAL_RUN && (cond.run->type->is_ptr || cond.run->type->dtype != DTYPE_I1))
        goto type;
    if (!cx->debug) return val_of(VAL_NONE);
    Value *in[2] = {arg_run(cx, c, 0), NULL};
    if (!in[0]) return val_error();
    in[0] = infer_truth(cx, in[0]);
    if (arg_given(c, 2)) {
        in[1] = arg_run(cx, c, 2);
        if (!in[1] || !(in[1] = infer_broadcast(cx, infer_truth(cx, in[1]), in[0]->type->rank,
                                                in[0]->type->shape, c->nodes[2])))
            return val_error();
    }
    Op *op = build_op(&cx->b, OP_ASSERT, in[1] ? 2 : 1, in, 0, NULL, 0);
    op_attr(op, ATTR_TEXT)->text = arena_strndup(cx->arena, msg.data, msg.len);
    return val_of(VAL_NONE);
type:
    lower_error(cx, c->nodes[0], "E0413", "`%s` needs int1, got %s", c->name,
                lower_describe(cx, cond));
    return val_error();
}

Val tl_constexpr(Lower *cx, Call *c)
{
    if (c->builtin->aux && c->args[0].kind != VAL_TUPLE) {
        lower_error(cx, c->nodes[0], "E0303", "`%s` needs a tuple, got %s", c->name,
                    lower_describe(cx, c->args[0]));
        return val_error();
    }
    return c->args[0];
}

Val tl_dtype(Lower *cx, Call *c)
{
    Val v = c->args[0];
    if (v.kind == VAL_DTYPE) return v;
    DType t = v.kind == VAL_STR ? dtype_from_name(v.s.data, v.s.len) : DTYPE_VOID;
    if (t != DTYPE_VOID) return val_dtype(t);
    lower_error(cx, c->nodes[0], "E0401", "`tl.dtype` needs the name of an element type, got %s",
                lower_describe(cx, v));
    return val_error();
}

Val tl_pointer_type(Lower *cx, Call *c)
{
    DType t;
    bool is_const;
    if (!arg_dtype(cx, c, 0, &t) || !arg_bool(cx, c, 2, false, &is_const)) return val_error();
    return (Val){.kind = VAL_DTYPE, .type = {.dtype = t, .is_ptr = true, .is_const = is_const}};
}

Val tl_loop_only(Lower *cx, Call *c)
{
    lower_error(cx, c->node, "E0110", "`%s` is only for `for ... in` in a kernel", c->name);
    return val_error();
}

Val tl_int_dtype(Lower *cx, Call *c)
{
    int64_t bits;
    bool is_signed;
    if (!arg_int(cx, c, 0, "bitwidth", &bits) || !arg_bool(cx, c, 1, true, &is_signed))
        return val_error();
    for (int32_t t = 1; t < DTYPE_COUNT; t++)
        if (dtype_is_int((DType)t) && dtype_bits((DType)t) == bits &&
            (bits == 1 || dtype_is_signed((DType)t) == is_signed))
            return val_dtype((DType)t);
    lower_error(cx, c->nodes[0], "E0401", "no integer type has %lld bits", (long long)bits);
    return val_error();
}

Val tl_const_log2(Lower *cx, Call *c)
{
    int64_t i;
    if (!arg_int(cx, c, 0, "i", &i)) return val_error();
    if (c->builtin->aux) return val_bool(is_pow2(i));
    return val_int(i > 0 ? log2_floor((uint64_t)i) : 0);
}

Val tl_target_is(Lower *cx, Call *c)
{
    const Target *t = cx->target;
    bool cuda = t && (t->kind == TARGET_SM || t->kind == TARGET_EMU);
    if (c->builtin->aux == 0) return val_bool(cuda);
    if (c->builtin->aux == 1) return val_bool(false);
    if (c->builtin->aux == 2) return val_bool(!cuda);
    int64_t major, minor = 0;
    if (!arg_int(cx, c, 0, "major", &major) ||
        (arg_given(c, 1) && !arg_int(cx, c, 1, "minor", &minor)))
        return val_error();
    return val_bool(cuda && (t->sm / 10 > major || (t->sm / 10 == major && t->sm % 10 >= minor)));
}

Val tl_len(Lower *cx, Call *c)
{
    Val v = c->args[0];
    if (v.kind == VAL_TUPLE) return val_int(v.n);
    if (v.kind == VAL_STR) return val_int((Int128)v.s.len);
    lower_error(cx, c->nodes[0], "E0303", "`len` needs a tuple or a string, got %s",
                lower_describe(cx, v));
    return val_error();
}

/// float(c), int(c), bool(c) of constexprs.
Val tl_py_number(Lower *cx, Call *c)
{
    Val v = c->args[0];
    if (v.kind == VAL_RUN) {
        DiagItem *e =
            lower_error(cx, c->nodes[0], "E0303",
                        "`%s` needs a compile-time value, but `%.*s` is a run-time %s", c->name,
                        STR_ARG(lower_source(cx, c->nodes[0])), lower_describe(cx, v));
        diag_help(cx->diag, e, "`.to(%s)`",
                  c->builtin->aux == VAL_FLOAT ? "tl.float32"
                  : c->builtin->aux == VAL_INT ? "tl.int32"
                                               : "tl.int1");
        return val_error();
    }
    Source none = {0};
    HostEval h = host_eval_new(&none, cx->arena);
    Node name = {.kind = NODE_NAME, .text = str_of(c->builtin->name)},
         arg = {.kind = NODE_NAME, .text = STR("v")};
    Node *args[] = {&arg};
    Node call = {.kind = NODE_CALL, .a = &name, .list = {args, 1, 1}};
    HostEnv env = {STR("v"), v, NULL};
    Val r = host_eval(&h, &call, &env);
    if (val_is_number(r)) return r;
    lower_error(cx, c->nodes[0], "E0303", "`%s` of %s has no value", c->name,
                lower_describe(cx, v));
    return val_error();
}

Val tl_isinstance(Lower *cx, Call *c)
{
    Val v = c->args[0], class = c->args[1];
    if (class.kind == VAL_BUILTIN && !strcmp(class.builtin->name, "constexpr"))
        return val_bool(val_is_constexpr(v) && v.kind != VAL_NONE);
    if (class.kind == VAL_BUILTIN && !strcmp(class.builtin->name, "tuple"))
        return val_bool(v.kind == VAL_TUPLE);
    if (class.kind == VAL_MODULE && str_is(class.s, "tl.tensor"))
        return val_bool(v.kind == VAL_RUN);
    if (class.kind == VAL_BUILTIN && !strcmp(class.builtin->name, "pointer_type"))
        return val_bool(v.kind == VAL_DTYPE && v.type.is_ptr);
    return lower_not_yet(cx, c->node, "`isinstance` with this class");
}

/// math.f and triton.f on constexprs.
Val tl_host_math(Lower *cx, Call *c)
{
    HostEval h = host_eval_new(NULL, cx->arena);
    bool one = !c->n_rest;
    const Val *args = one ? c->args : c->rest;
    int32_t n = one ? (c->args[0].kind != VAL_ABSENT) : c->n_rest;
    for (int32_t i = 0; i < n; i++)
        if (args[i].kind == VAL_RUN) {
            lower_error(cx, one ? c->nodes[0] : c->rest_nodes[i], "E0303",
                        "`%s` needs compile-time values, got %s", c->name,
                        lower_describe(cx, args[i]));
            return val_error();
        }
    Val v = host_function(&h, str_of(c->builtin->space), str_of(c->builtin->name), n, args);
    if (val_is_number(v)) return v;
    lower_error(cx, c->node, "E0305", "`%s` has no value for these arguments", c->name);
    return val_error();
}

Val tl_unfinished(Lower *cx, Call *c)
{
    return lower_not_yet(cx, c->node, arena_printf(cx->arena, "`%s`", c->name));
}
