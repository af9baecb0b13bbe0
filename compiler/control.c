// compiler/control.c - run-time if, loops and return: what the two arms of an `if` leave behind is merged,
// what a loop's body rebinds is carried.
//
//   if c:        ==>   %r:2 = if %c { ...; yield %x1, %true } else { ...; yield %x2, %false }
//       x = 1                          x                flag: has the function returned?
//       return         if not %r.1 { what follows }
//   x = 2
//
// When one arm always returns, what follows is walked inside the other arm instead, which needs no flag; and
// where nothing follows (`tail`), nothing is merged. An arm that has returned yields zeros for the names that
// the other arm goes on with; nobody reads them.
#include <stdio.h>

#include "compiler/lower.h"

Region *control_region(Lower *cx)
{
    return region_new(cx->m, cx->b.func, NULL, 0, NULL);
}

Builder control_enter(Lower *cx, Region *r)
{
    Builder saved = cx->b;
    cx->b.region = r;
    cx->b.before = NULL;
    return saved;
}

void control_leave(Lower *cx, Builder saved)
{
    cx->b = saved;
}

// ---- merging two arms ---------------------------------------------------------------------------

/// One suite of an `if`, and what was true at its end.
typedef struct Arm {
    Region *region;
    Locals locals;
    Returned ret;
    Flow flow;
} Arm;

/// The values that the `if` will yield, and the places where its results go.
typedef struct Merge {
    Lower *cx;
    const Node *n;
    Region *region[2];
    VEC(Value *) yields[2];
    VEC(Value *) holes; ///< stand for results until the op is made; index: which
} Merge;

static Locals copy_locals(Lower *cx, const Locals *from)
{
    Locals to = {0};
    cx->exprs += from->len / 8;
    to.data = arena_array(cx->arena, Local, from->len + 4);
    to.cap = from->len + 4;
    to.len = from->len;
    if (from->len) memcpy(to.data, from->data, (size_t)from->len * sizeof(Local));
    return to;
}

/// What an arm walks: statements of a list, or the passes of a static loop that are left.
typedef struct Rest {
    const NodeList *list;
    int32_t from;
    bool tail;
    const struct StaticLoop *loop; ///< when not NULL: its passes from `from`
} Rest;

static Flow static_passes(Lower *cx, const struct StaticLoop *loop, int32_t from);

/// Walks `rest` as an arm, starting from `before`; or goes on with an arm already begun.
static void run_arm(Lower *cx, Arm *arm, const Locals *before, Returned ret, Rest rest)
{
    Frame *f = cx->frame;
    if (before) {
        arm->region = control_region(cx);
        f->locals = copy_locals(cx, before);
        f->ret = ret;
    } else {
        f->locals = arm->locals;
        f->ret = arm->ret;
    }
    Builder saved = control_enter(cx, arm->region);
    f->static_runtime++;
    arm->flow = rest.loop ? static_passes(cx, rest.loop, rest.from) : lower_suite(cx, rest.list, rest.from, rest.tail);
    f->static_runtime--;
    control_leave(cx, saved);
    arm->locals = f->locals;
    arm->ret = f->ret;
}

/// A result of the `if` that is `v[0]` from the first arm and `v[1]` from the second; NULL stands for zero.
static Val add_pair(Merge *mg, Value *a, Value *b)
{
    Value *v[2] = {a, b};
    const Type *type = (a ? a : b)->type;
    for (int32_t k = 0; k < 2; k++) {
        if (!v[k]) {
            Builder saved = control_enter(mg->cx, mg->region[k]);
            v[k] = build_zero(&mg->cx->b, type);
            control_leave(mg->cx, saved);
        }
        vec_push(mg->cx->arena, &mg->yields[k], v[k]);
    }
    Value *hole = arena_new(mg->cx->arena, Value);
    hole->type = type;
    hole->index = mg->holes.len;
    vec_push(mg->cx->arena, &mg->holes, hole);
    return val_run(hole);
}

/// A number as a run-time scalar, made at the end of arm `k`.
static Value *run_in_arm(Merge *mg, int32_t k, Val v)
{
    Builder saved = control_enter(mg->cx, mg->region[k]);
    Value *run = infer_run(mg->cx, v, mg->n);
    control_leave(mg->cx, saved);
    return run;
}

/// Makes a value of only one arm (`k`) come out of the `if`.
static Val one_sided(Merge *mg, int32_t k, Val v)
{
    if (v.kind == VAL_RUN) return add_pair(mg, k == 0 ? v.run : NULL, k == 1 ? v.run : NULL);
    if (v.kind != VAL_TUPLE) return v;
    Val copy = val_tuple(mg->cx->arena, v.n, v.items);
    for (int32_t i = 0; i < v.n; i++) copy.items[i] = one_sided(mg, k, v.items[i]);
    return copy;
}

typedef enum Clash { CLASH_NONE, CLASH_TYPES, CLASH_KINDS } Clash;

static Val both_sided(Merge *mg, Val a, Val b, Clash *clash)
{
    Lower *cx = mg->cx;
    if (is_error(a) || is_error(b)) return val_error();
    if (a.kind == b.kind && val_equal(a, b)) return a;
    bool ra = a.kind == VAL_RUN || val_is_number(a), rb = b.kind == VAL_RUN || val_is_number(b);
    if (ra && rb) {
        Value *x = run_in_arm(mg, 0, a), *y = run_in_arm(mg, 1, b);
        if (!x || !y) return val_error();
        if (x->type == y->type) return add_pair(mg, x, y);
        *clash = CLASH_TYPES;
        return val_error();
    }
    if (a.kind == VAL_TUPLE && b.kind == VAL_TUPLE && a.n == b.n) {
        Val copy = val_tuple(cx->arena, a.n, a.items);
        for (int32_t i = 0; i < a.n; i++) copy.items[i] = both_sided(mg, a.items[i], b.items[i], clash);
        return copy;
    }
    *clash = CLASH_KINDS;
    return val_of(VAL_ABSENT);
}

/// As lower_describe, a number by the type it would get.
static const char *type_of_val(Lower *cx, Val v)
{
    DType t = val_is_number(v) ? infer_default(v) : DTYPE_VOID;
    return t == DTYPE_VOID ? lower_describe(cx, v) : dtype_facts[t].user;
}

static void types_differ(Lower *cx, const Node *n, const Local *a, const Local *b)
{
    DiagItem *e = lower_error(cx, n, "E0704", "`%.*s` is %s on one path and %s on the other", STR_ARG(a->name),
                              type_of_val(cx, a->val), type_of_val(cx, b->val));
    if (a->where) diag_note(cx->diag, e, lower_span(cx, a->where), "%s here", type_of_val(cx, a->val));
    if (b->where && b->where != a->where) diag_note(cx->diag, e, lower_span(cx, b->where), "%s here", type_of_val(cx, b->val));
}

static int32_t line_of(const Lower *cx, const Node *n)
{
    int32_t line, column;
    Span s = lower_span(cx, n);
    if (!cx->diag || s.file < 0) return 0;
    diag_line_column(cx->diag, s.file, s.begin, &line, &column);
    return line;
}

/// Do two bindings of a name have different run-time types? For an `if` after which nothing follows.
static bool types_clash(Lower *cx, const Local *a, const Local *b)
{
    const Type *t[2] = {NULL, NULL};
    const Local *l[2] = {a, b};
    for (int32_t k = 0; k < 2; k++) {
        if (l[k]->val.kind == VAL_RUN) t[k] = l[k]->val.run->type;
        if (val_is_number(l[k]->val) && infer_default(l[k]->val) != DTYPE_VOID) t[k] = type_scalar(cx->m, infer_default(l[k]->val));
    }
    return t[0] && t[1] && t[0] != t[1];
}

/// What name `i` is after the `if`.
static Local merge_local(Merge *mg, const Local *a, const Local *b)
{
    Lower *cx = mg->cx;
    static const Local none = {0};
    if (!a) a = &none;
    if (!b) b = &none;
    Local out = b->kind != LOCAL_UNBOUND ? *b : *a;
    bool has_a = a->kind != LOCAL_UNBOUND, has_b = b->kind != LOCAL_UNBOUND;
    if (!has_a && !has_b) return out;
    if (a->val.kind == VAL_ABSENT && b->val.kind == VAL_ABSENT && has_a && has_b) return out;
    if (!has_a || !has_b || a->val.kind == VAL_ABSENT || b->val.kind == VAL_ABSENT) {
        const Local *gone = has_a && a->val.kind == VAL_ABSENT && a->why ? a : has_b && b->val.kind == VAL_ABSENT && b->why ? b : NULL;
        out.val = val_of(VAL_ABSENT);
        out.kind = LOCAL_PLAIN;
        out.why = gone ? gone->why
                       : arena_printf(cx->arena, "`%.*s` is assigned on only one path of the `if` at line %d", STR_ARG(out.name), line_of(cx, mg->n));
        return out;
    }
    Clash clash = CLASH_NONE;
    bool same = a->val.kind == b->val.kind && val_equal(a->val, b->val);
    out.val = both_sided(mg, a->val, b->val, &clash);
    if (!same && out.kind == LOCAL_CONSTEXPR) out.kind = LOCAL_PLAIN;
    out.was_number = out.was_number && same;
    if (clash == CLASH_TYPES) types_differ(cx, mg->n, a, b);
    if (clash == CLASH_KINDS) {
        bool none_side = a->val.kind == VAL_NONE || b->val.kind == VAL_NONE;
        out.val = val_of(VAL_ABSENT);
        out.why = arena_printf(cx->arena, none_side ? "`%.*s` is None on one path of the `if` at line %d"
                                                    : "`%.*s` has different compile-time values on the paths of the `if` at line %d",
                               STR_ARG(out.name), line_of(cx, mg->n));
    }
    return out;
}

/// A name of arm `k` after an `if` whose other arm has returned.
static Local carry_local(Merge *mg, int32_t k, const Local *now, const Local *before)
{
    Local out = *now;
    bool unchanged = before && before->kind != LOCAL_UNBOUND && before->val.kind == now->val.kind && val_equal(before->val, now->val);
    if (!unchanged && now->kind != LOCAL_UNBOUND) out.val = one_sided(mg, k, now->val);
    return out;
}

static void fill_holes(Val *v, const Merge *mg, Op *op)
{
    if (v->kind == VAL_RUN) {
        int32_t i = v->run->index;
        if (i < mg->holes.len && mg->holes.data[i] == v->run) v->run = &op->out[i];
    } else if (v->kind == VAL_TUPLE) {
        for (int32_t i = 0; i < v->n; i++) fill_holes(&v->items[i], mg, op);
    }
}

/// Makes the `if` of two finished regions and puts its results where the holes are.
static Op *make_if(Merge *mg, Value *cond)
{
    Lower *cx = mg->cx;
    int32_t n = mg->holes.len;
    const Type **types = arena_array(cx->arena, const Type *, n + 1);
    for (int32_t i = 0; i < n; i++) types[i] = mg->holes.data[i]->type;
    for (int32_t k = 0; k < 2; k++) {
        Builder saved = control_enter(cx, mg->region[k]);
        cx->b.span = lower_span(cx, mg->n);
        build_yield(&cx->b, n, mg->yields[k].data);
        control_leave(cx, saved);
    }
    cx->b.span = lower_span(cx, mg->n);
    if (n == 0 && mg->region[0]->first->kind == OP_YIELD && mg->region[1]->first->kind != OP_YIELD) {
        cond = build_unary(&cx->b, ELEM_NOT, cond); // `if c: return` reads as `if not c { the rest }`
        Region *rest = mg->region[1];
        mg->region[1] = mg->region[0];
        mg->region[0] = rest;
    }
    Op *op = op_new(cx->m, OP_IF, cx->b.span, 1, &cond, n, types, 2);
    for (int32_t k = 0; k < 2; k++) {
        op->regions[k] = mg->region[k];
        mg->region[k]->owner = op;
    }
    op_insert(op, cx->b.region, cx->b.before);
    return op;
}

/// What the function has returned after the arms; the values that arms return must agree (E0713).
static Returned merge_returns(Merge *mg, const Returned ret[2])
{
    Lower *cx = mg->cx;
    if (ret[0].state == RET_NEVER && ret[1].state == RET_NEVER) return (Returned){0};
    Returned out = {.where = ret[0].where ? ret[0].where : ret[1].where};
    Clash clash = CLASH_NONE;
    if (ret[0].state == RET_NEVER || ret[1].state == RET_NEVER) {
        int32_t k = ret[0].state == RET_NEVER;
        out.val = one_sided(mg, k, ret[k].val); // constants are the same everywhere
    } else {
        out.val = both_sided(mg, ret[0].val, ret[1].val, &clash);
    }
    if (clash != CLASH_NONE) {
        DiagItem *e = lower_error(cx, ret[1].where ? ret[1].where : mg->n, "E0713", "`%s` returns %s here and %s elsewhere", cx->frame->func->name,
                                  type_of_val(cx, ret[1].val), type_of_val(cx, ret[0].val));
        if (ret[0].where) diag_note(cx->diag, e, lower_span(cx, ret[0].where), "the other `return`");
        out.val = val_error();
    }
    out.state = ret[0].state == RET_ALWAYS && ret[1].state == RET_ALWAYS ? RET_ALWAYS : RET_MAYBE;
    if (out.state == RET_ALWAYS) return out;
    Value *flags[2];
    for (int32_t k = 0; k < 2; k++) {
        Builder saved = control_enter(cx, mg->region[k]);
        flags[k] = ret[k].state == RET_MAYBE ? ret[k].flag
                                             : build_const_int(&cx->b, type_scalar(cx->m, DTYPE_I1), ret[k].state == RET_ALWAYS);
        control_leave(cx, saved);
    }
    out.flag = add_pair(mg, flags[0], flags[1]).run;
    return out;
}

/// Joins two arms at `n` and leaves the frame as it is after the `if`.
static Flow join(Lower *cx, const Node *n, Value *cond, Arm arm[2], const Locals *before, bool tail)
{
    Frame *f = cx->frame;
    Merge mg = {.cx = cx, .n = n, .region = {arm[0].region, arm[1].region}};
    Returned ret[2] = {arm[0].ret, arm[1].ret};
    for (int32_t k = 0; k < 2; k++) {
        if (arm[k].flow == FLOW_RETURN) ret[k].state = RET_ALWAYS;
        if (tail && ret[k].state == RET_NEVER) ret[k] = (Returned){.state = RET_ALWAYS, .val = val_of(VAL_NONE)}; // falls off the end
    }
    bool through = tail && arm[0].flow == FLOW_NEXT && arm[1].flow == FLOW_NEXT; // both fall off the end
    bool gone[2] = {ret[0].state == RET_ALWAYS, ret[1].state == RET_ALWAYS};
    int32_t n_slots = MAX(arm[0].locals.len, arm[1].locals.len);
    f->locals = (Locals){0};
    for (int32_t i = 0; i < n_slots; i++) {
        const Local *a = i < arm[0].locals.len ? &arm[0].locals.data[i] : NULL, *b = i < arm[1].locals.len ? &arm[1].locals.data[i] : NULL;
        const Local *was = i < before->len ? &before->data[i] : NULL;
        Local out = {.name = (a ? a : b)->name};
        if (through && a && b && types_clash(cx, a, b)) types_differ(cx, n, a, b);
        if (gone[0] && gone[1]) out = was ? *was : out;
        else if (gone[0]) out = b ? carry_local(&mg, 1, b, was) : out;
        else if (gone[1]) out = a ? carry_local(&mg, 0, a, was) : out;
        else out = merge_local(&mg, a, b);
        vec_push(cx->arena, &f->locals, out);
    }
    f->ret = merge_returns(&mg, ret);
    Op *op = make_if(&mg, cond);
    for (int32_t i = 0; i < f->locals.len; i++) {
        Local *l = &f->locals.data[i];
        fill_holes(&l->val, &mg, op);
        if (l->val.kind == VAL_RUN && l->val.run->def == op && !l->val.run->name)
            l->val.run->name = arena_strndup(cx->arena, l->name.data, l->name.len);
    }
    fill_holes(&f->ret.val, &mg, op);
    for (int32_t i = 0; i < mg.holes.len; i++)
        if (f->ret.flag == mg.holes.data[i]) f->ret.flag = &op->out[i];
    return f->ret.state == RET_ALWAYS ? FLOW_RETURN : FLOW_NEXT;
}

// ---- if ---------------------------------------------------------------------------------------

/// Does every path through `list` end in `return`? (By its text; a hint that nothing has to be merged.)
static bool ends_in_return(const NodeList *list)
{
    if (!list->len) return false;
    const Node *last = list->data[list->len - 1];
    if (last->kind == NODE_RETURN) return true;
    return last->kind == NODE_IF && ends_in_return(&last->list) && ends_in_return(&last->list2);
}

/// After a condition that was an error: names assigned in either suite have no known type.
static void poison(Lower *cx, const NodeList *list)
{
    NameList names = {0};
    ast_assigned(cx->arena, list, &names);
    for (int32_t i = 0; i < names.len; i++) {
        Local *l = local_slot(cx, names.data[i]);
        l->kind = LOCAL_PLAIN;
        l->val = val_error();
    }
}

Flow control_if(Lower *cx, const Node *n, const NodeList *rest, int32_t from, bool tail, bool *rest_done)
{
    Frame *f = cx->frame;
    Value *cond;
    *rest_done = false;
    int32_t c = express_condition(cx, express(cx, n->a), n->a, &cond);
    bool last = from >= rest->len;
    if (c == 0 || c == 1) return lower_suite(cx, c ? &n->list : &n->list2, 0, tail && last);
    if (c < 0) {
        poison(cx, &n->list);
        poison(cx, &n->list2);
        return FLOW_NEXT;
    }
    const NodeList *suite[2] = {&n->list, &n->list2};
    Locals before = copy_locals(cx, &f->locals);
    Returned ret = f->ret;
    Arm arm[2];
    for (int32_t k = 0; k < 2; k++) run_arm(cx, &arm[k], &before, ret, (Rest){suite[k], 0, (tail && last) || ends_in_return(suite[k]), NULL});
    for (int32_t k = 0; k < 2; k++) // one arm has returned: what follows belongs to the other
        if (!last && !*rest_done && arm[k].flow == FLOW_RETURN && arm[!k].flow == FLOW_NEXT && arm[!k].ret.state == RET_NEVER) {
            *rest_done = true;
            run_arm(cx, &arm[!k], NULL, ret, (Rest){rest, from, tail, NULL});
        }
    for (int32_t k = 0; k < 2; k++)
        if (arm[k].flow == FLOW_BREAK || arm[k].flow == FLOW_CONTINUE) arm[k].flow = FLOW_NEXT; // E0711 was said
    return join(cx, n, cond, arm, &before, tail && (last || *rest_done));
}

/// Walks `rest` where the function has not returned yet: `if not flag`.
static Flow guard(Lower *cx, Rest rest, const Node *n)
{
    Frame *f = cx->frame;
    static const NodeList nothing;
    Locals before = copy_locals(cx, &f->locals);
    Returned ret = f->ret;
    cx->b.span = lower_span(cx, n);
    Value *cond = build_unary(&cx->b, ELEM_NOT, ret.flag);
    Arm arm[2];
    run_arm(cx, &arm[0], &before, (Returned){0}, rest);
    run_arm(cx, &arm[1], &before, (Returned){.state = RET_ALWAYS, .val = ret.val, .where = ret.where}, (Rest){&nothing, 0, false, NULL});
    arm[1].flow = FLOW_RETURN;
    return join(cx, n, cond, arm, &before, rest.tail);
}

Flow control_guard(Lower *cx, const NodeList *rest, int32_t from, bool tail, const Node *n)
{
    return guard(cx, (Rest){rest, from, tail, NULL}, n);
}

Val control_select(Lower *cx, const Node *n, Value *cond)
{
    Merge mg = {.cx = cx, .n = n};
    Val v[2];
    for (int32_t k = 0; k < 2; k++) {
        mg.region[k] = control_region(cx);
        Builder saved = control_enter(cx, mg.region[k]);
        v[k] = express(cx, k == 0 ? n->a : n->c);
        control_leave(cx, saved);
    }
    Clash clash = CLASH_NONE;
    bool tuple = v[0].kind == VAL_TUPLE || v[1].kind == VAL_TUPLE;
    Val out = tuple ? val_error() : both_sided(&mg, v[0], v[1], &clash);
    if (tuple || clash != CLASH_NONE) {
        lower_error(cx, n, "E0701", "the arms of this conditional are %s and %s", type_of_val(cx, v[0]), type_of_val(cx, v[1]));
        return val_error();
    }
    if (is_error(out)) return out;
    Op *op = make_if(&mg, cond);
    fill_holes(&out, &mg, op);
    return out;
}

// ---- loops ------------------------------------------------------------------------------------

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
        for (int32_t i = 0; i < v.n; i++) flatten(cx, v.items[i], out);
}

/// `shape` with its run-time parts replaced by the next ones of `parts`.
static Val rebuild(Lower *cx, Val shape, Value **parts, int32_t *next)
{
    if (shape.kind == VAL_RUN) return val_run(parts[(*next)++]);
    if (shape.kind != VAL_TUPLE) return shape;
    Val copy = val_tuple(cx->arena, shape.n, shape.items);
    for (int32_t i = 0; i < shape.n; i++) copy.items[i] = rebuild(cx, shape.items[i], parts, next);
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
        if (!l || l->kind == LOCAL_UNBOUND || l->kind == LOCAL_CONSTEXPR || l->kind == LOCAL_DECLARED) continue;
        if (l->val.kind != VAL_RUN && l->val.kind != VAL_TUPLE && !val_is_number(l->val)) continue;
        l->was_number |= val_is_number(l->val);
        l->val = infer_materialise(cx, l->val, loop->n);
        Carried c = {.name = names.data[i], .slot = (int32_t)(l - cx->frame->locals.data), .first = loop->initial.len, .initial = l->val, .where = l->where};
        flatten(cx, l->val, &loop->initial);
        c.n = loop->initial.len - c.first;
        vec_push(cx->arena, &loop->names, c);
    }
    loop->before = copy_locals(cx, &cx->frame->locals);
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
            if (!parts[k]->name) parts[k]->name = arena_strndup(loop->cx->arena, c->name.data, c->name.len);
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
        lower_error(cx, at, "E0705", "%s", now->why ? now->why : "a name carried by this loop has no value at its end");
        return;
    }
    const char *before = lower_describe(cx, c->initial), *after = lower_describe(cx, now->val);
    DiagItem *e = lower_error(cx, at, "E0710", "`%.*s` is %s before the loop but %s at the end of its body", STR_ARG(c->name), before, after);
    if (c->where) diag_note(cx->diag, e, lower_span(cx, c->where), "`%.*s` is %s here", STR_ARG(c->name), before);
    bool to_float = now->val.kind == VAL_RUN && !now->val.run->type->is_ptr && dtype_is_float(now->val.run->type->dtype);
    bool scalar = now->val.kind == VAL_RUN && now->val.run->type->rank == 0;
    if (was->was_number && to_float && scalar) diag_help(cx->diag, e, "start with `0.0`");
    else if (now->val.kind == VAL_RUN && c->initial.kind == VAL_RUN && type_same_shape(now->val.run->type, c->initial.run->type) && !now->val.run->type->is_ptr)
        diag_help(cx->diag, e, "cast with `.to(...)`, or start with %s", after);
    else if (now->val.kind == VAL_RUN && c->initial.kind == VAL_RUN && now->val.run->type->rank > c->initial.run->type->rank)
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
        for (int32_t k = 0; v.kind == VAL_TUPLE && k < v.n; k++) silent |= is_error(v.items[k]);
        if (!silent && !is_error(c->initial)) carried_differs(loop, c, now);
        flatten(cx, c->initial, out); // to keep the counts; nothing is made of IR with errors
        now->val = val_error();
    }
    for (int32_t i = 0; i < loop->before.len; i++) { // compile-time values may not change in a run-time loop
        Local *was = &loop->before.data[i], *now = &cx->frame->locals.data[i];
        bool constant = was->kind != LOCAL_UNBOUND && was->val.kind != VAL_RUN && was->val.kind != VAL_TUPLE && was->val.kind != VAL_ABSENT;
        if (!constant || is_error(was->val) || is_error(now->val) || val_is_number(was->val)) continue;
        if (now->val.kind == was->val.kind && val_equal(now->val, was->val)) continue;
        lower_error(cx, now->where ? now->where : loop->n, "E0710", "`%.*s` is %s before the loop but %s at the end of its body",
                    STR_ARG(was->name), lower_describe(cx, was->val), lower_describe(cx, now->val));
    }
}

/// The frame after the loop: carried names are its results, others as before, names of the body undefined.
static void after_loop(Loop *loop, Op *op, Str target)
{
    Lower *cx = loop->cx;
    Frame *f = cx->frame;
    Locals body = f->locals;
    f->locals = copy_locals(cx, &loop->before);
    for (int32_t i = 0; i < body.len; i++) {
        if (i >= f->locals.len) vec_push(cx->arena, &f->locals, (Local){.name = body.data[i].name});
        Local *l = &f->locals.data[i];
        bool is_target = target.len && str_eq(l->name, target);
        bool fresh = l->kind == LOCAL_UNBOUND && body.data[i].kind != LOCAL_UNBOUND;
        if (!is_target && !fresh) continue;
        *l = (Local){.name = l->name, .kind = LOCAL_PLAIN, .where = body.data[i].where};
        if (is_error(body.data[i].val)) l->val = val_error();
        else
            l->why = is_target ? arena_printf(cx->arena, "loop variable `%.*s` has no value after the loop", STR_ARG(l->name))
                               : arena_printf(cx->arena, "`%.*s` is assigned only in the body of the loop at line %d, which may not run", STR_ARG(l->name),
                                              line_of(cx, loop->n));
    }
    if (op && op->n_out == loop->initial.len) {
        Value **parts = arena_array(cx->arena, Value *, op->n_out + 1);
        for (int32_t i = 0; i < op->n_out; i++) parts[i] = &op->out[i];
        bind_carried(loop, parts);
    }
    for (int32_t i = 0; i < loop->names.len; i++) {
        Local *was = &body.data[loop->names.data[i].slot], *l = &f->locals.data[loop->names.data[i].slot];
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
    static const char *const hints[] = {"num_stages", "loop_unroll_factor", "disallow_acc_multi_buffer", "flatten", "warp_specialize", "disable_licm"};
    int32_t n = 0;
    bool ok = true;
    for (int32_t i = 0; i < call->list.len; i++) {
        const Node *arg = call->list.data[i];
        Val v = express(cx, arg->kind == NODE_KEYWORD ? arg->a : arg);
        if (is_error(v)) ok = false;
        if (arg->kind == NODE_KEYWORD) {
            static const char *const positions[] = {"arg1", "arg2", "step"};
            int32_t hint = 0, p = 0;
            while (hint < COUNT_OF(hints) && !str_is(arg->text, hints[hint])) hint++;
            while (p < 3 && !str_is(arg->text, positions[p])) p++;
            int32_t k;
            if (p < 3) r->v[p] = v, r->at[p] = arg->a;
            else if (hint == COUNT_OF(hints)) {
                lower_error(cx, arg, "E0716", "`%s` has no parameter `%.*s`", name, STR_ARG(arg->text));
                ok = false;
            } else if (hint < 2 && v.kind != VAL_NONE && !val_fits_i32(v, &k)) {
                lower_error(cx, arg->a, "E0303", "`%.*s` must be a compile-time integer, got %s", STR_ARG(arg->text), lower_describe(cx, v));
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
        bool integral = v.kind == VAL_RUN ? !v.run->type->rank && !v.run->type->is_ptr && dtype_is_int(v.run->type->dtype) : val_is_integral(v);
        if (!integral) {
            if (!is_error(v)) lower_error(cx, r->at[i], "E0706", "the %s of a range must be an integer scalar, got %s", what[i], lower_describe(cx, v));
            return false;
        }
        out[i] = infer_run(cx, v, r->at[i]);
        if (!out[i]) return false;
        DType d = out[i]->type->dtype == DTYPE_I1 ? DTYPE_I32 : out[i]->type->dtype;
        t = t == DTYPE_VOID ? d : infer_promote(t, d, ARITH_PLAIN, &code);
    }
    for (int32_t i = 0; i < 3; i++) out[i] = infer_cast(cx, out[i], t, ROUND_RNE);
    return true;
}

/// Turns `for i in range(a, b, -s)` into k = 0 .. ceil((a - b) / s), i = a - k * s. @return a, with `s` as b[2]
static Value *count_down(Lower *cx, Value *b[3])
{
    Builder *at = &cx->b;
    Value *start = b[0], *zero = build_zero(at, start->type), *one = build_const_int(at, start->type, 1);
    Value *s = build_unary(at, ELEM_NEG, b[2]);
    Value *span = build_binary(at, ELEM_SUB, b[0], b[1]);
    Value *n = build_binary(at, ELEM_DIV, build_binary(at, ELEM_ADD, span, build_binary(at, ELEM_SUB, s, one)), s);
    b[0] = zero;
    b[1] = build_select(at, build_binary(at, ELEM_GT, start, b[1]), n, zero);
    b[2] = one;
    return s;
}

static Flow run_loop(Lower *cx, const Node *n, const Range *r)
{
    Frame *f = cx->frame;
    Value *b[3], *start = NULL, *stride = NULL;
    if (!range_bounds(cx, r, b)) {
        poison(cx, &n->list);
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
    if (stride) i = build_binary(&cx->b, ELEM_SUB, start, build_binary(&cx->b, ELEM_MUL, i, stride));
    bind_carried(&loop, body->args + 1);
    Local *l = local_slot(cx, target);
    *l = (Local){.name = target, .kind = LOCAL_PLAIN, .val = val_run(i), .where = n->a};
    int32_t statics = f->statics;
    f->loops++;
    f->statics = 0;
    lower_suite(cx, &n->list, 0, false);
    f->loops--;
    f->statics = statics;
    Values yields = {0};
    end_body(&loop, &yields);
    cx->b.span = lower_span(cx, n);
    build_yield(&cx->b, yields.len, yields.data);
    control_leave(cx, saved);
    after_loop(&loop, op, target);
    return FLOW_NEXT;
}

/// An unrolled loop: over begin, begin + step, ..., or over the elements of a tuple.
typedef struct StaticLoop {
    const Node *n;
    Int128 begin, step;
    int32_t trips;
    const Val *items; ///< NULL: the range
} StaticLoop;

/// Passes `from` to the last, each walked in place. What follows a pass that may have returned is guarded.
static Flow static_passes(Lower *cx, const StaticLoop *loop, int32_t from)
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
            flow = guard(cx, (Rest){NULL, k + 1, false, loop}, n);
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
            DiagItem *e = lower_error(cx, r->at[i], "E0303", "`tl.static_range` needs a compile-time `%s`, got %s", what[i], lower_describe(cx, r->v[i]));
            lower_note_binding(cx, e, r->at[i]);
            poison(cx, &n->list);
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
        lower_error(cx, n->b, "E0708", "a static loop may have at most %d iterations, this one has %s", LOWER_MAX_STATIC_RANGE, val_text(cx->arena, val_int(trips)));
        return FLOW_NEXT;
    }
    StaticLoop loop = {n, b[0], b[2], (int32_t)trips, r ? NULL : items.items};
    int32_t runtime = f->static_runtime;
    f->statics++;
    f->static_runtime = 0;
    Flow flow = static_passes(cx, &loop, 0);
    f->statics--;
    f->static_runtime = runtime;
    return flow;
}

Flow control_for(Lower *cx, const Node *n)
{
    if (n->list2.len) {
        lower_error(cx, n->list2.data[0], "E0110", "`for ... else` is not supported in a kernel");
        return FLOW_NEXT;
    }
    const Node *iter = n->b;
    Val callee = val_of(VAL_ABSENT);
    if (iter->kind == NODE_CALL) callee = iter->a->kind == NODE_NAME || iter->a->kind == NODE_ATTR || iter->a->kind == NODE_IFEXP ? express(cx, iter->a) : callee;
    if (callee.kind == VAL_BUILTIN && strstr(callee.builtin->name, "range")) {
        Range r;
        bool is_static = !strcmp(callee.builtin->name, "static_range");
        const char *name = builtin_text(cx->arena, callee.builtin);
        if (!read_range(cx, iter, name, &r)) {
            poison(cx, &n->list);
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
        DiagItem *e = lower_error(cx, iter, "E0110", "looping over %s is not supported in a kernel", lower_describe(cx, items));
        diag_help(cx->diag, e, "loop over `range`, `tl.range` or `tl.static_range`");
    }
    poison(cx, &n->list);
    return FLOW_NEXT;
}

Flow control_while(Lower *cx, const Node *n)
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
        f->locals = copy_locals(cx, &loop.before);
        if (c != 0) poison(cx, &n->list);
        return FLOW_NEXT;
    }
    saved = control_enter(cx, op->regions[1]);
    bind_carried(&loop, op->regions[1]->args);
    int32_t statics = f->statics;
    f->loops++;
    f->statics = 0;
    lower_suite(cx, &n->list, 0, false);
    f->loops--;
    f->statics = statics;
    Values yields = {0};
    end_body(&loop, &yields);
    cx->b.span = lower_span(cx, n);
    build_yield(&cx->b, yields.len, yields.data);
    control_leave(cx, saved);
    after_loop(&loop, op, (Str){0});
    return FLOW_NEXT;
}

// ---- return -----------------------------------------------------------------------------------

Flow control_return(Lower *cx, const Node *n)
{
    Frame *f = cx->frame;
    Val v = n->a ? express(cx, n->a) : val_of(VAL_NONE);
    if (f->loops) {
        if (f->caller) lower_error(cx, n, "E0714", "`return` inside a run-time loop is not supported in a helper");
        else lower_not_yet(cx, n, "`return` inside a run-time loop");
        return FLOW_NEXT;
    }
    if (!f->caller && v.kind != VAL_NONE && !is_error(v)) {
        DiagItem *e = lower_error(cx, n, "E0712", "a kernel returns nothing, got %s", lower_describe(cx, v));
        diag_help(cx->diag, e, "store the value through a pointer");
        v = val_of(VAL_NONE);
    }
    f->ret = (Returned){.state = RET_ALWAYS, .val = v, .where = n};
    return FLOW_RETURN;
}
