// compiler/builtin_mem.c - sections 11.3, 11.4, 11.11: loads, stores, atomics, hints, barriers.
#include "compiler/lower.h"

// ---- operands of memory operations ------------------------------------------------------------

/// The pointer argument 0. NULL after E0601; memory inside a combine function is E0719.
static Value *pointer(Lower *cx, Call *c)
{
    Val v = c->args[0];
    if (cx->pure) {
        lower_error(cx, c->node, "E0719", "`%s` may not be used in a combine function", c->name);
        return NULL;
    }
    if (infer_is_ptr(v)) return v.run;
    lower_error(cx, c->nodes[0], "E0601", "`%s` needs a pointer, got %s", c->name,
                lower_describe(cx, v));
    return NULL;
}

/// Can `t` be broadcast to the pointer's shape without growing it?
static bool fits_pointer(const Type *t, const Type *ptr)
{
    if (t->rank > ptr->rank) return false;
    for (int32_t i = 0; i < t->rank; i++) {
        int32_t have = t->shape[t->rank - 1 - i];
        if (have != 1 && have != ptr->shape[ptr->rank - 1 - i]) return false;
    }
    return true;
}

/// `v`, which messages call `what`, in the pointer's shape. NULL after E0603.
static Value *to_pointer(Lower *cx, Call *c, Value *v, const Type *ptr, const char *what,
                         const Node *n)
{
    if (fits_pointer(v->type, ptr)) {
        cx->b.span = lower_span(cx, c->node);
        return ptr->rank ? infer_broadcast(cx, v, ptr->rank, ptr->shape, n) : v;
    }
    if (ptr->rank == 0 && !strcmp(what, "value")) {
        DiagItem *e = lower_error(cx, n, "E0603", "cannot store %s through a scalar pointer",
                                  lower_describe(cx, val_run(v)));
        if (v->type->rank == 1)
            diag_help(cx->diag, e, "`%.*s + tl.arange(0, %d)`",
                      STR_ARG(lower_source(cx, c->nodes[0])), v->type->shape[0]);
    } else {
        lower_error(cx, n, "E0603", "the %s has shape %s but the pointer has shape %s", what,
                    lower_shape_text(cx, v->type->rank, v->type->shape),
                    lower_shape_text(cx, ptr->rank, ptr->shape));
    }
    return NULL;
}

/// The mask argument. @return false after an error; `*out` NULL: every lane
static bool mask_of(Lower *cx, Call *c, int32_t index, const Type *ptr, Value **out)
{
    Val v = c->args[index];
    *out = NULL;
    if (!arg_given(c, index) || (v.kind == VAL_BOOL && v.b)) return true;
    Value *m = arg_run(cx, c, index);
    if (!m) return false;
    if (m->type->is_ptr || m->type->dtype != DTYPE_I1) {
        DiagItem *e = lower_error(cx, c->nodes[index], "E0604", "`mask` must be int1, got %s",
                                  lower_describe(cx, val_run(m)));
        diag_help(cx->diag, e, "write a comparison");
        return false;
    }
    *out = to_pointer(cx, c, m, ptr, "mask", c->nodes[index]);
    return *out != NULL;
}

/// A value that goes to memory: cast to the pointee, in the pointer's shape.
static Value *stored(Lower *cx, Call *c, int32_t index, const Type *ptr, const char *what)
{
    Val v = c->args[index];
    const Node *n = c->nodes[index];
    DType t = ptr->dtype;
    cx->b.span = lower_span(cx, c->node);
    if (val_is_number(v)) {
        const Type *type = type_with_dtype(cx->m, ptr, t);
        if (dtype_is_float(t)) return build_const_float(&cx->b, type, val_as_float(v));
        if (t == DTYPE_I1) return build_const_int(&cx->b, type, val_as_float(v) != 0);
        if (val_is_integral(v)) return build_const_int(&cx->b, type, (int64_t)val_as_int(v));
    }
    Value *x = infer_run(cx, v, n);
    if (!x) return NULL;
    cx->b.span = lower_span(cx, c->node);
    if (x->type->is_ptr) {
        if (t != DTYPE_I64 && t != DTYPE_U64) {
            lower_error(cx, n, "E0407", "cannot store %s as %s", lower_describe(cx, val_run(x)),
                        dtype_facts[t].user);
            return NULL;
        }
        x = build_bitcast(&cx->b, x, type_scalar(cx->m, t));
    }
    x = to_pointer(cx, c, x, ptr, what, n);
    return x ? infer_cast(cx, x, t, ROUND_RNE) : NULL;
}

typedef struct Word {
    const char *text;
    int32_t value;
} Word;

/// A keyword argument that is one of `words`. @return false after E0804
static bool one_of(Lower *cx, Call *c, int32_t index, const char *what, const Word *words,
                   int32_t n, int32_t *out)
{
    Str s;
    *out = words[0].value;
    if (!arg_str(cx, c, index, words[0].text, &s)) return false;
    const char *list = "";
    for (int32_t i = 0; i < n; i++) {
        if (str_is(s, words[i].text)) return *out = words[i].value, true;
        list = arena_printf(cx->arena, "%s%s\"%s\"", list, i ? ", " : "", words[i].text);
    }
    lower_error(cx, c->nodes[index], "E0804", "`%s` must be one of %s, got \"%.*s\"", what, list,
                STR_ARG(s));
    return false;
}

static const Word load_caches[] = {
    {"", CACHE_NONE}, {".ca", CACHE_CA}, {".cg", CACHE_CG}, {".cs", CACHE_CS}, {".cv", CACHE_CV}};
static const Word store_caches[] = {
    {"", CACHE_NONE}, {".wb", CACHE_WB}, {".cg", CACHE_CG}, {".cs", CACHE_CS}, {".wt", CACHE_WT}};
static const Word evictions[] = {
    {"", EVICT_NONE}, {"evict_first", EVICT_FIRST}, {"evict_last", EVICT_LAST}};
static const Word sems[] = {{"acq_rel", SEM_ACQ_REL},
                            {"acquire", SEM_ACQUIRE},
                            {"release", SEM_RELEASE},
                            {"relaxed", SEM_RELAXED}};
static const Word scopes[] = {{"gpu", SCOPE_GPU}, {"cta", SCOPE_CTA}, {"sys", SCOPE_SYS}};

/// Keywords of block pointers on a plain pointer are E0606.
static bool plain_only(Lower *cx, Call *c, int32_t index, const char *what)
{
    Val v = c->args[index];
    bool empty = !arg_given(c, index) || (v.kind == VAL_TUPLE && v.n == 0) ||
                 (v.kind == VAL_STR && v.s.len == 0);
    if (!empty)
        lower_error(cx, c->nodes[index], "E0606",
                    "`%s` is for block pointers, not for a plain pointer", what);
    return empty;
}

// ---- load, store ------------------------------------------------------------------------------

Val tl_load(Lower *cx, Call *c)
{
    int32_t cache, evict;
    bool is_volatile;
    Value *ptr = pointer(cx, c), *mask, *other = NULL;
    if (!ptr || !plain_only(cx, c, 3, "boundary_check") || !plain_only(cx, c, 4, "padding_option"))
        return val_error();
    if (arg_given(c, 2) && !arg_given(c, 1)) {
        lower_error(cx, c->nodes[2], "E0602", "`other` has no effect without `mask`");
        return val_error();
    }
    if (!one_of(cx, c, 5, "cache_modifier", load_caches, COUNT_OF(load_caches), &cache) ||
        !one_of(cx, c, 6, "eviction_policy", evictions, COUNT_OF(evictions), &evict) ||
        !arg_bool(cx, c, 7, false, &is_volatile))
        return val_error();
    if (!mask_of(cx, c, 1, ptr->type, &mask)) return val_error();
    if (mask && arg_given(c, 2) && !(other = stored(cx, c, 2, ptr->type, "`other`")))
        return val_error();
    cx->b.span = lower_span(cx, c->node);
    Value *v = build_load(&cx->b, ptr, mask, other);
    op_attr(v->def, ATTR_CACHE)->i = cache;
    op_attr(v->def, ATTR_EVICT)->i = evict;
    op_attr(v->def, ATTR_VOLATILE)->i = is_volatile;
    return val_run(v);
}

static bool writable(Lower *cx, Call *c, const Value *ptr)
{
    if (!ptr->type->is_const) return true;
    lower_error(cx, c->nodes[0], "E0605", "`%s` through a pointer to constant memory", c->name);
    return false;
}

Val tl_store(Lower *cx, Call *c)
{
    int32_t cache, evict;
    Value *ptr = pointer(cx, c), *mask, *value;
    if (!ptr || !plain_only(cx, c, 3, "boundary_check") || !writable(cx, c, ptr))
        return val_error();
    if (!one_of(cx, c, 4, "cache_modifier", store_caches, COUNT_OF(store_caches), &cache) ||
        !one_of(cx, c, 5, "eviction_policy", evictions, COUNT_OF(evictions), &evict))
        return val_error();
    value = stored(cx, c, 1, ptr->type, "value");
    if (!mask_of(cx, c, 2, ptr->type, &mask) || !value) return val_error();
    cx->b.span = lower_span(cx, c->node);
    Op *op = build_store(&cx->b, ptr, value, mask);
    op_attr(op, ATTR_CACHE)->i = cache;
    op_attr(op, ATTR_EVICT)->i = evict;
    return val_of(VAL_NONE);
}

// ---- atomics ----------------------------------------------------------------------------------

/// Does atomic `kind` exist for `t`? (tile-language.md 11.4)
static bool atomic_type(RmwKind kind, DType t)
{
    bool wide = dtype_bits(t) == 32 || dtype_bits(t) == 64;
    if (dtype_is_int(t)) return wide;
    switch (kind) {
    case RMW_ADD:
        return t == DTYPE_F16 || t == DTYPE_BF16 || wide;
    case RMW_MIN:
    case RMW_MAX:
    case RMW_XCHG:
        return wide;
    default:
        return false;
    }
}

Val tl_atomic(Lower *cx, Call *c)
{
    RmwKind kind = (RmwKind)c->builtin->aux;
    int32_t sem, scope;
    Value *ptr = pointer(cx, c), *mask, *value;
    if (!ptr || !writable(cx, c, ptr)) return val_error();
    if (!atomic_type(kind, ptr->type->dtype)) {
        lower_error(cx, c->nodes[0], "E0612", "`%s` does not exist for %s", c->name,
                    dtype_facts[ptr->type->dtype].user);
        return val_error();
    }
    value = stored(cx, c, 1, ptr->type, "value");
    if (!mask_of(cx, c, 2, ptr->type, &mask) || !value) return val_error();
    if (!one_of(cx, c, 3, "sem", sems, COUNT_OF(sems), &sem) ||
        !one_of(cx, c, 4, "scope", scopes, COUNT_OF(scopes), &scope))
        return val_error();
    cx->b.span = lower_span(cx, c->node);
    return val_run(build_atomic_rmw(&cx->b, kind, ptr, value, mask, (MemSem)sem, (MemScope)scope));
}

Val tl_atomic_cas(Lower *cx, Call *c)
{
    int32_t sem, scope;
    Value *ptr = pointer(cx, c), *v[2];
    if (!ptr || !writable(cx, c, ptr)) return val_error();
    DType t = ptr->type->dtype;
    if (dtype_bits(t) < 16) {
        lower_error(cx, c->nodes[0], "E0612", "`%s` does not exist for %s", c->name,
                    dtype_facts[t].user);
        return val_error();
    }
    for (int32_t i = 0; i < 2; i++) {
        Val a = c->args[1 + i];
        if (a.kind == VAL_RUN && (a.run->type->is_ptr || a.run->type->dtype != t)) {
            lower_error(cx, c->nodes[1 + i], "E0416", "`%s` needs %s here, got %s", c->name,
                        dtype_facts[t].user, lower_describe(cx, a));
            return val_error();
        }
        if (!(v[i] = stored(cx, c, 1 + i, ptr->type, "value"))) return val_error();
    }
    if (!one_of(cx, c, 3, "sem", sems, COUNT_OF(sems), &sem) ||
        !one_of(cx, c, 4, "scope", scopes, COUNT_OF(scopes), &scope))
        return val_error();
    cx->b.span = lower_span(cx, c->node);
    return val_run(build_atomic_cas(&cx->b, ptr, v[0], v[1], (MemSem)sem, (MemScope)scope));
}

// ---- hints ------------------------------------------------------------------------------------

Val tl_hint(Lower *cx, Call *c)
{
    Value *x = arg_run(cx, c, 0);
    int32_t list[TYPE_MAX_RANK];
    if (!x) return val_error();
    Val values = c->args[1];
    if (val_is_integral(values)) values = val_tuple(cx->arena, 1, &c->args[1]);
    int32_t want = MAX(1, x->type->rank);
    if (values.kind != VAL_TUPLE) {
        lower_error(cx, c->nodes[1], "E0303", "`%s` needs compile-time integers, got %s", c->name,
                    lower_describe(cx, values));
        return val_error();
    }
    if (values.n != want) {
        lower_error(cx, c->nodes[1], "E0808", "`%s` needs %d value%s for %s, got %d", c->name, want,
                    want == 1 ? "" : "s", lower_describe(cx, val_run(x)), values.n);
        return val_error();
    }
    for (int32_t i = 0; i < want; i++)
        if (!val_fits_i32(values.items[i], &list[i]) || list[i] < 1) {
            lower_error(cx, c->nodes[1], "E0303",
                        "`%s` needs positive compile-time integers, got %s", c->name,
                        lower_describe(cx, values.items[i]));
            return val_error();
        }
    return val_run(build_hint(&cx->b, x, (HintKind)c->builtin->aux, want, list));
}

Val tl_assume(Lower *cx, Call *c)
{
    Val v = c->args[0];
    if (v.kind == VAL_BOOL && v.b) return val_of(VAL_NONE);
    if (v.kind != VAL_RUN || v.run->type->is_ptr || v.run->type->dtype != DTYPE_I1) {
        lower_error(cx, c->nodes[0], "E0413", "`tl.assume` needs int1, got %s",
                    lower_describe(cx, v));
        return val_error();
    }
    build_op(&cx->b, OP_ASSUME, 1, &v.run, 0, NULL, 0);
    return val_of(VAL_NONE);
}

Val tl_debug_barrier(Lower *cx, Call *c)
{
    if (cx->pure)
        lower_error(cx, c->node, "E0719", "`%s` may not be used in a combine function", c->name);
    else
        build_barrier(&cx->b);
    return val_of(VAL_NONE);
}
