// compiler/loop.c - loops: names that a run-time loop's body rebinds are carried; static loops are
// unrolled.
//
//   acc = 0.0                    %a = const 0.0
//   for i in range(n):    ==>    %r = for %i = 0 to %n step 1 carry (%acc = %a) { ...; yield %next
//   }
//       acc += f(i)              acc ==> %r
//
// What is carried is found before the body is walked: the names that it assigns and that have a
// run-time value already. The body must leave each with the type it had (E0710).
#include "compiler/lower.h"

/// A name that a loop carries: its value before, made of `n` run-time parts.
typedef struct Carried {
    Str name;
    int32_t slot, first, n;
    Val initial;
    const Node *where; ///< its binding before the loop
} Carried;

typedef VEC(Value *) Values;

typedef struct Loop {
    Lower *cx;
    const Node *n;
    VEC(Carried) names;
    Values initial;
    Locals before;
} Loop;

/// Collects the run-time parts of `v`.
static void flatten(Lower *cx, Val v, Values *out)
{
    if (v.kind == VAL_RUN) vec_push(cx->arena, out, v.run);
    if (v.kind == VAL_TUPLE)
        for (int32_t i = 0; i < v.n; i++)
            flatten(cx, v.items[i], out);
}

/// `shape` with its run-time parts replaced by the next ones of `parts`.
static Val rebuild(Lower *cx, Val shape, Value **parts, int32_t *next)
{
    if (shape.kind == VAL_RUN) return val_run(parts[(*next)++]);
    if (shape.kind != VAL_TUPLE) return shape;
    Val copy = val_tuple(cx->arena, shape.n, shape.items);
    for (int32_t i = 0; i < shape.n; i++)
        copy.items[i] = rebuild(cx, shape.items[i], parts, next);
    return copy;
}

/// Finds what the loop carries: names bound before it and assigned in its body, materialised.
static void find_carried(Loop *loop, Str target)
{
    Lower *cx = loop->cx;
    NameList names = {0};
    ast_assigned(cx->arena, &loop->n->list, &names);
    for (int32_t i = 0; i < names.len; i++) {
        if (str_eq(names.data[i], target)) continue;
        Local *l = local_find(cx->frame, names.data[i]);
        if (!l || l->kind == LOCAL_UNBOUND || l->kind == LOCAL_CONSTEXPR ||
            l->kind == LOCAL_DECLARED)
            continue;
        if (l->val.kind != VAL_RUN && l->val.kind != VAL_TUPLE && !val_is_number(l->val)) continue;
        l->was_number |= val_is_number(l->val);
        l->val = infer_materialise(cx, l->val, loop->n);
        Carried c = {.name = names.data[i],
                     .slot = (int32_t)(l - cx->frame->locals.data),
                     .first = loop->initial.len,
                     .initial = l->val,
                     .where = l->where};
        flatten(cx, l->val, &loop->initial);
        c.n = loop->initial.len - c.first;
        vec_push(cx->arena, &loop->names, c);
    }
    loop->before = locals_copy(cx, &cx->frame->locals);
}

/// Binds carried names to `parts` (region arguments or results).
static void bind_carried(Loop *loop, Value **parts)
{
    for (int32_t i = 0; i < loop->names.len; i++) {
        Carried *c = &loop->names.data[i];
        Local *l = &loop->cx->frame->locals.data[c->slot];
        int32_t next = c->first;
        l->val = rebuild(loop->cx, c->initial, parts, &next);
        for (int32_t k = c->first; k < next; k++)
            if (!parts[k]->name)
                parts[k]->name = arena_strndup(loop->cx->arena, c->name.data, c->name.len);
    }
}

static bool same_types(Lower *cx, Val a, Val b)
{
    if (a.kind == VAL_RUN && b.kind == VAL_RUN) return a.run->type == b.run->type;
    if (a.kind != VAL_TUPLE || b.kind != VAL_TUPLE) return a.kind == b.kind && val_equal(a, b);
    if (a.n != b.n) return false;
    for (int32_t i = 0; i < a.n; i++)
        if (!same_types(cx, a.items[i], b.items[i])) return false;
    return true;
}

/// E0710, with what helps: a first value of the other kind, or a cast.
static void carried_differs(Loop *loop, const Carried *c, const Local *now)
{
    Lower *cx = loop->cx;
    const Local *was = &loop->before.data[c->slot];
    const Node *at = now->where ? now->where : loop->n;
    if (now->val.kind == VAL_ABSENT) {
        lower_error(cx, at, "E0705", "%s",
                    now->why ? now->why : "a name carried by this loop has no value at its end");
        return;
    }
    const char *before = lower_describe(cx, c->initial), *after = lower_describe(cx, now->val);
    DiagItem *e =
        lower_error(cx, at, "E0710", "`%.*s` is %s before the loop but %s at the end of its body",
                    STR_ARG(c->name), before, after);
    if (c->where)
        diag_note(cx->diag, e, lower_span(cx, c->where), "`%.*s` is %s here", STR_ARG(c->name),
                  before);
    bool to_float = now->val.kind == VAL_RUN && !now->val.run->type->is_ptr &&
                    dtype_is_float(now->val.run->type->dtype);
    bool scalar = now->val.kind == VAL_RUN && now->val.run->type->rank == 0;
    if (was->was_number && to_float && scalar)
        diag_help(cx->diag, e, "start with `0.0`");
    else if (now->val.kind == VAL_RUN && c->initial.kind == VAL_RUN &&
             type_same_shape(now->val.run->type, c->initial.run->type) &&
             !now->val.run->type->is_ptr)
        diag_help(cx->diag, e, "cast with `.to(...)`, or start with %s", after);
    else if (now->val.kind == VAL_RUN && c->initial.kind == VAL_RUN &&
             now->val.run->type->rank > c->initial.run->type->rank)
        diag_help(cx->diag, e, "start with `tl.zeros` of that shape");
}

/// The parts that the body yields, checked against what came in.
static void end_body(Loop *loop, Values *out)
{
    Lower *cx = loop->cx;
    for (int32_t i = 0; i < loop->names.len; i++) {
        const Carried *c = &loop->names.data[i];
        Local *now = &cx->frame->locals.data[c->slot];
        Val v = infer_materialise(cx, now->val, loop->n);
        if (same_types(cx, c->initial, v)) {
            flatten(cx, v, out);
            continue;
        }
        bool silent = is_error(v);
        for (int32_t k = 0; v.kind == VAL_TUPLE && k < v.n; k++)
            silent |= is_error(v.items[k]);
        if (!silent && !is_error(c->initial)) carried_differs(loop, c, now);
        flatten(cx, c->initial, out); // to keep the counts; nothing is made of IR with errors
        now->val = val_error();
    }
    for (int32_t i = 0; i < loop->before.len;
         i++) { // compile-time values may not change in a run-time loop
        Local *was = &loop->before.data[i], *now = &cx->frame->locals.data[i];
        bool constant = was->kind != LOCAL_UNBOUND && was->val.kind != VAL_RUN &&
                        was->val.kind != VAL_TUPLE && was->val.kind != VAL_ABSENT;
        if (!constant || is_error(was->val) || is_error(now->val) || val_is_number(was->val))
            continue;
        if (now->val.kind == was->val.kind && val_equal(now->val, was->val)) continue;
        lower_error(cx, now->where ? now->where : loop->n, "E0710",
                    "`%.*s` is %s before the loop but %s at the end of its body",
                    STR_ARG(was->name), lower_describe(cx, was->val), lower_describe(cx, now->val));
    }
}

/// The frame after the loop: carried names are its results, others as before, names of the body
/// undefined.
static void after_loop(Loop *loop, Op *op, Str target)
{
    Lower *cx = loop->cx;
    Frame *f = cx->frame;
    Locals body = f->locals;
    f->locals = locals_copy(cx, &loop->before);
    for (int32_t i = 0; i < body.len; i++) {
        if (i >= f->locals.len) vec_push(cx->arena, &f->locals, (Local){.name = body.data[i].name});
        Local *l = &f->locals.data[i];
        bool is_target = target.len && str_eq(l->name, target);
        bool fresh = l->kind == LOCAL_UNBOUND && body.data[i].kind != LOCAL_UNBOUND;
        if (!is_target && !fresh) continue;
        *l = (Local){.name = l->name, .kind = LOCAL_PLAIN, .where = body.data[i].where};
        if (is_error(body.data[i].val))
            l->val = val_error();
        else
            l->why = is_target ? arena_printf(cx->arena,
                                              "loop variable `%.*s` has no value after the loop",
                                              STR_ARG(l->name))
                               : arena_printf(cx->arena,
                                              "`%.*s` is assigned only in the body of the loop at "
                                              "line %d, which may not run",
                                              STR_ARG(l->name), lower_line(cx, loop->n));
    }
    if (op && op->n_out == loop->initial.len) {
        Value **parts = arena_array(cx->arena, Value *, op->n_out + 1);
        for (int32_t i = 0; i < op->n_out; i++)
            parts[i] = &op->out[i];
        bind_carried(loop, parts);
    }
    for (int32_t i = 0; i < loop->names.len; i++) {
        Local *was = &body.data[loop->names.data[i].slot],
              *l = &f->locals.data[loop->names.data[i].slot];
        l->where = was->where;
        if (is_error(was->val)) l->val = val_error();
    }
}

typedef struct Range {
    const char *name; ///< "range", "static_range"
    Val v[3];         ///< begin, end, step
    const Node *at[3];
    int64_t stages, unroll;
} Range;

/// Reads range(...) and its hints. @return false after an error
static bool read_range(Lower *cx, const Node *call, const char *name, Range *r)
{
    *r = (Range){.name = name, .v = {val_int(0), val_int(0), val_int(1)}, .at = {call, call, call}};
    static const char *const hints[] = {
        "num_stages", "loop_unroll_factor", "disallow_acc_multi_buffer",
        "flatten",    "warp_specialize",    "disable_licm"};
    int32_t n = 0;
    bool ok = true;
    for (int32_t i = 0; i < call->list.len; i++) {
        const Node *arg = call->list.data[i];
        Val v = express(cx, arg->kind == NODE_KEYWORD ? arg->a : arg);
        if (is_error(v)) ok = false;
        if (arg->kind == NODE_KEYWORD) {
            static const char *const positions[] = {"arg1", "arg2", "step"};
            int32_t hint = 0, p = 0;
            while (hint < COUNT_OF(hints) && !str_is(arg->text, hints[hint]))
                hint++;
            while (p < 3 && !str_is(arg->text, positions[p]))
                p++;
            int32_t k;
            if (p < 3)
                r->v[p] = v, r->at[p] = arg->a;
            else if (hint == COUNT_OF(hints)) {
                lower_error(cx, arg, "E0716", "`%s` has no parameter `%.*s`", name,
                            STR_ARG(arg->text));
                ok = false;
            } else if (hint < 2 && v.kind != VAL_NONE && !val_fits_i32(v, &k)) {
                lower_error(cx, arg->a, "E0303", "`%.*s` must be a compile-time integer, got %s",
                            STR_ARG(arg->text), lower_describe(cx, v));
                ok = false;
            } else if (hint < 2 && v.kind != VAL_NONE) {
                *(hint == 0 ? &r->stages : &r->unroll) = MIN(MAX(k, 0), 64);
            }
            continue;
        }
        if (n < 3) r->v[n] = v, r->at[n] = arg;
        n++;
    }
    if (n == 1) r->v[1] = r->v[0], r->at[1] = r->at[0], r->v[0] = val_int(0);
    if (n >= 1 && n <= 3) return ok;
    lower_error(cx, call, "E0716", "`%s` takes 1 to 3 arguments, got %d", name, n);
    return false;
}

/// The bounds as scalars of one type. @return false after E0706, E0707
static bool range_bounds(Lower *cx, const Range *r, Value *out[3])
{
    static const char *const what[] = {"start", "end", "step"};
    DType t = DTYPE_VOID;
    const char *code;
    if (val_is_integral(r->v[2]) && val_as_int(r->v[2]) == 0) {
        lower_error(cx, r->at[2], "E0707", "the step of a range may not be 0");
        return false;
    }
    for (int32_t i = 0; i < 3; i++) {
        Val v = r->v[i];
        bool integral = v.kind == VAL_RUN ? !v.run->type->rank && !v.run->type->is_ptr &&
                                                dtype_is_int(v.run->type->dtype)
                                          : val_is_integral(v);
        if (!integral) {
            if (!is_error(v))
                lower_error(cx, r->at[i], "E0706",
                            "the %s of a range must be an integer scalar, got %s", what[i],
                            lower_describe(cx, v));
            return false;
        }
        out[i] = infer_run(cx, v, r->at[i]);
        if (!out[i]) return false;
        DType d = out[i]->type->dtype == DTYPE_I1 ? DTYPE_I32 : out[i]->type->dtype;
        t = t == DTYPE_VOID ? d : infer_promote(t, d, ARITH_PLAIN, &code);
    }
    for (int32_t i = 0; i < 3; i++)
        out[i] = infer_cast(cx, out[i], t, ROUND_RNE);
    return true;
}

/// Turns `for i in range(a, b, -s)` into k = 0 .. ceil((a - b) / s), i = a - k * s. @return a, with
/// `s` as b[2]
static Value *count_down(Lower *cx, Value *b[3])
{
    Builder *at = &cx->b;
    Value *start = b[0], *zero = build_zero(at, start->type),
          *one = build_const_int(at, start->type, 1);
    Value *s = build_unary(at, ELEM_NEG, b[2]);
    Value *span = build_binary(at, ELEM_SUB, b[0], b[1]);
    Value *n = build_binary(
        at, ELEM_DIV, build_binary(at, ELEM_ADD, span, build_binary(at, ELEM_SUB, s, one)), s);
    b[0] = zero;
    b[1] = build_select(at, build_binary(at, ELEM_GT, start, b[1]), n, zero);
    b[2] = one;
    return s;
}

/// Lowers the suite into the region entered with `saved`, ends it with what the loop carries, and leaves it.
static void walk_body(Loop *loop, Builder saved)
{
    Lower *cx = loop->cx;
    Frame *f = cx->frame;
    int32_t statics = f->statics;
    f->loops++;
    f->statics = 0;
    lower_suite(cx, &loop->n->list, 0, false);
    f->loops--;
    f->statics = statics;
    Values yields = {0};
    end_body(loop, &yields);
    cx->b.span = lower_span(cx, loop->n);
    build_yield(&cx->b, yields.len, yields.data);
    control_leave(cx, saved);
}

static Flow run_loop(Lower *cx, const Node *n, const Range *r)
{
    Value *b[3], *start = NULL, *stride = NULL;
    if (!range_bounds(cx, r, b)) {
        control_poison(cx, &n->list);
        return FLOW_NEXT;
    }
    cx->b.span = lower_span(cx, n->b);
    if (val_is_integral(r->v[2]) && val_as_int(r->v[2]) < 0) {
        start = b[0];
        stride = count_down(cx, b);
    }
    Str target = n->a->text;
    Loop loop = {.cx = cx, .n = n};
    find_carried(&loop, target);
    cx->b.span = lower_span(cx, n);
    Op *op = build_for(&cx->b, b[0], b[1], b[2], loop.initial.len, loop.initial.data);
    op_attr(op, ATTR_STAGES)->i = r->stages;
    op_attr(op, ATTR_UNROLL)->i = r->unroll;
    Region *body = op->regions[0];
    Builder saved = control_enter(cx, body);
    Value *i = body->args[0];
    i->name = arena_strndup(cx->arena, target.data, target.len);
    if (stride)
        i = build_binary(&cx->b, ELEM_SUB, start, build_binary(&cx->b, ELEM_MUL, i, stride));
    bind_carried(&loop, body->args + 1);
    Local *l = local_slot(cx, target);
    *l = (Local){.name = target, .kind = LOCAL_PLAIN, .val = val_run(i), .where = n->a};
    walk_body(&loop, saved);
    after_loop(&loop, op, target);
    return FLOW_NEXT;
}

/// Passes `from` to the last, each walked in place. What follows a pass that may have returned is
/// guarded.
Flow loop_passes(Lower *cx, const StaticLoop *loop, int32_t from)
{
    const Node *n = loop->n;
    for (int32_t k = from; k < loop->trips && !cx->stopped; k++) {
        Val v = loop->items ? loop->items[k] : val_int(loop->begin + k * loop->step);
        if (n->a->kind == NODE_NAME) {
            Local *l = local_slot(cx, n->a->text);
            *l = (Local){.name = n->a->text, .kind = LOCAL_PLAIN, .val = v, .where = n->a};
        } else {
            lower_assign(cx, n->a, v, n->b);
        }
        Flow flow = lower_suite(cx, &n->list, 0, false);
        if (flow == FLOW_RETURN) return flow;
        if (flow == FLOW_BREAK) break;
        if (cx->frame->ret.state == RET_MAYBE && k + 1 < loop->trips) {
            if (!lower_deeper(cx, n)) break;
            flow = control_guard_loop(cx, loop, k + 1);
            cx->nesting--;
            return flow;
        }
    }
    return FLOW_NEXT;
}

static Flow static_loop(Lower *cx, const Node *n, const Range *r, Val items)
{
    Frame *f = cx->frame;
    Int128 b[3] = {0, items.n, 1};
    for (int32_t i = 0; r && i < 3; i++) {
        if (!val_is_integral(r->v[i])) {
            static const char *const what[] = {"start", "end", "step"};
            DiagItem *e = lower_error(cx, r->at[i], "E0303",
                                      "`tl.static_range` needs a compile-time `%s`, got %s",
                                      what[i], lower_describe(cx, r->v[i]));
            lower_note_binding(cx, e, r->at[i]);
            control_poison(cx, &n->list);
            return FLOW_NEXT;
        }
        b[i] = val_as_int(r->v[i]);
    }
    if (b[2] == 0) {
        lower_error(cx, r->at[2], "E0707", "the step of a range may not be 0");
        return FLOW_NEXT;
    }
    Int128 span = b[2] > 0 ? b[1] - b[0] : b[0] - b[1], step = b[2] > 0 ? b[2] : -b[2];
    Int128 trips = span > 0 ? (span + step - 1) / step : 0;
    if (trips > LOWER_MAX_STATIC_RANGE) {
        lower_error(cx, n->b, "E0708",
                    "a static loop may have at most %d iterations, this one has %s",
                    LOWER_MAX_STATIC_RANGE, val_text(cx->arena, val_int(trips)));
        return FLOW_NEXT;
    }
    StaticLoop loop = {n, b[0], b[2], (int32_t)trips, r ? NULL : items.items};
    int32_t runtime = f->static_runtime;
    f->statics++;
    f->static_runtime = 0;
    Flow flow = loop_passes(cx, &loop, 0);
    f->statics--;
    f->static_runtime = runtime;
    return flow;
}

Flow loop_for(Lower *cx, const Node *n)
{
    if (n->list2.len) {
        lower_error(cx, n->list2.data[0], "E0110", "`for ... else` is not supported in a kernel");
        return FLOW_NEXT;
    }
    const Node *iter = n->b;
    Val callee = val_of(VAL_ABSENT);
    if (iter->kind == NODE_CALL)
        callee =
            iter->a->kind == NODE_NAME || iter->a->kind == NODE_ATTR || iter->a->kind == NODE_IFEXP
                ? express(cx, iter->a)
                : callee;
    if (callee.kind == VAL_BUILTIN && strstr(callee.builtin->name, "range")) {
        Range r;
        bool is_static = !strcmp(callee.builtin->name, "static_range");
        const char *name = builtin_text(cx->arena, callee.builtin);
        if (!read_range(cx, iter, name, &r)) {
            control_poison(cx, &n->list);
            return FLOW_NEXT;
        }
        if (is_static) return static_loop(cx, n, &r, val_of(VAL_NONE));
        if (n->a->kind == NODE_NAME) return run_loop(cx, n, &r);
        lower_error(cx, n->a, "E0110", "a tuple as loop variable is not supported in a kernel");
        return FLOW_NEXT;
    }
    Val items = is_error(callee) ? callee : express(cx, iter);
    if (items.kind == VAL_TUPLE) return static_loop(cx, n, NULL, items);
    if (!is_error(items)) {
        DiagItem *e = lower_error(cx, iter, "E0110", "looping over %s is not supported in a kernel",
                                  lower_describe(cx, items));
        diag_help(cx->diag, e, "loop over `range`, `tl.range` or `tl.static_range`");
    }
    control_poison(cx, &n->list);
    return FLOW_NEXT;
}

Flow loop_while(Lower *cx, const Node *n)
{
    Frame *f = cx->frame;
    if (n->list2.len) {
        lower_error(cx, n->list2.data[0], "E0110", "`while ... else` is not supported in a kernel");
        return FLOW_NEXT;
    }
    Loop loop = {.cx = cx, .n = n};
    find_carried(&loop, (Str){0});
    cx->b.span = lower_span(cx, n);
    Op *op = build_while(&cx->b, loop.initial.len, loop.initial.data);
    Builder saved = control_enter(cx, op->regions[0]);
    bind_carried(&loop, op->regions[0]->args);
    Value *cond;
    int32_t c = express_condition(cx, express(cx, n->a), n->a, &cond);
    cx->b.span = lower_span(cx, n);
    if (c == 2) build_condition(&cx->b, cond, op->regions[0]->n_args, op->regions[0]->args);
    control_leave(cx, saved);
    if (c != 2) {
        if (c == 1) {
            DiagItem *e = lower_error(cx, n->a, "E0709", "this loop never ends");
            diag_help(cx->diag, e, "the condition is known to be true at compile time");
        }
        if (c == 0) op_erase(op); // its body never runs
        f->locals = locals_copy(cx, &loop.before);
        if (c != 0) control_poison(cx, &n->list);
        return FLOW_NEXT;
    }
    saved = control_enter(cx, op->regions[1]);
    bind_carried(&loop, op->regions[1]->args);
    walk_body(&loop, saved);
    after_loop(&loop, op, (Str){0});
    return FLOW_NEXT;
}
