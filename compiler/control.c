// compiler/control.c - run-time if and return: what the two arms of an `if` leave behind is merged.
//
//   if c:        ==>   %r:2 = if %c { ...; yield %x1, %true } else { ...; yield %x2, %false }
//       x = 1                          x                flag: has the function returned?
//       return         if not %r.1 { what follows }
//   x = 2
//
// When one arm always returns, what follows is walked inside the other arm instead, which needs no
// flag; and where nothing follows (`tail`), nothing is merged. An arm that has returned yields
// zeros for the names that the other arm goes on with; nobody reads them.
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

Locals locals_copy(Lower *cx, const Locals *from)
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
    const StaticLoop *loop; ///< when not NULL: its passes from `from`
} Rest;

/// Walks `rest` as an arm, starting from `before`; or goes on with an arm already begun.
static void run_arm(Lower *cx, Arm *arm, const Locals *before, Returned ret, Rest rest)
{
    Frame *f = cx->frame;
    if (before) {
        arm->region = control_region(cx);
        f->locals = locals_copy(cx, before);
        f->ret = ret;
    } else {
        f->locals = arm->locals;
        f->ret = arm->ret;
    }
    Builder saved = control_enter(cx, arm->region);
    f->static_runtime++;
    arm->flow = rest.loop ? loop_passes(cx, rest.loop, rest.from)
                          : lower_suite(cx, rest.list, rest.from, rest.tail);
    f->static_runtime--;
    control_leave(cx, saved);
    arm->locals = f->locals;
    arm->ret = f->ret;
}

/// A result of the `if` that is `v[0]` from the first arm and `v[1]` from the second; NULL stands
/// for zero.
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
    for (int32_t i = 0; i < v.n; i++)
        copy.items[i] = one_sided(mg, k, v.items[i]);
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
        for (int32_t i = 0; i < a.n; i++)
            copy.items[i] = both_sided(mg, a.items[i], b.items[i], clash);
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
    DiagItem *e = lower_error(cx, n, "E0704", "`%.*s` is %s on one path and %s on the other",
                              STR_ARG(a->name), type_of_val(cx, a->val), type_of_val(cx, b->val));
    if (a->where)
        diag_note(cx->diag, e, lower_span(cx, a->where), "%s here", type_of_val(cx, a->val));
    if (b->where && b->where != a->where)
        diag_note(cx->diag, e, lower_span(cx, b->where), "%s here", type_of_val(cx, b->val));
}

int32_t lower_line(const Lower *cx, const Node *n)
{
    int32_t line, column;
    Span s = lower_span(cx, n);
    if (!cx->diag || s.file < 0) return 0;
    diag_line_column(cx->diag, s.file, s.begin, &line, &column);
    return line;
}

/// Do two bindings of a name have different run-time types? For an `if` after which nothing
/// follows.
static bool types_clash(Lower *cx, const Local *a, const Local *b)
{
    const Type *t[2] = {NULL, NULL};
    const Local *l[2] = {a, b};
    for (int32_t k = 0; k < 2; k++) {
        if (l[k]->val.kind == VAL_RUN) t[k] = l[k]->val.run->type;
        if (val_is_number(l[k]->val) && infer_default(l[k]->val) != DTYPE_VOID)
            t[k] = type_scalar(cx->m, infer_default(l[k]->val));
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
        const Local *gone = has_a && a->val.kind == VAL_ABSENT && a->why   ? a
                            : has_b && b->val.kind == VAL_ABSENT && b->why ? b
                                                                           : NULL;
        out.val = val_of(VAL_ABSENT);
        out.kind = LOCAL_PLAIN;
        out.why = gone ? gone->why
                       : arena_printf(cx->arena,
                                      "`%.*s` is assigned on only one path of the `if` at line %d",
                                      STR_ARG(out.name), lower_line(cx, mg->n));
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
        out.why = arena_printf(
            cx->arena,
            none_side
                ? "`%.*s` is None on one path of the `if` at line %d"
                : "`%.*s` has different compile-time values on the paths of the `if` at line %d",
            STR_ARG(out.name), lower_line(cx, mg->n));
    }
    return out;
}

/// A name of arm `k` after an `if` whose other arm has returned.
static Local carry_local(Merge *mg, int32_t k, const Local *now, const Local *before)
{
    Local out = *now;
    bool unchanged = before && before->kind != LOCAL_UNBOUND && before->val.kind == now->val.kind &&
                     val_equal(before->val, now->val);
    if (!unchanged && now->kind != LOCAL_UNBOUND) out.val = one_sided(mg, k, now->val);
    return out;
}

static void fill_holes(Val *v, const Merge *mg, Op *op)
{
    if (v->kind == VAL_RUN) {
        int32_t i = v->run->index;
        if (mg->holes.data && i < mg->holes.len && mg->holes.data[i] == v->run)
            v->run = &op->out[i];
    } else if (v->kind == VAL_TUPLE) {
        for (int32_t i = 0; i < v->n; i++)
            fill_holes(&v->items[i], mg, op);
    }
}

/// Makes the `if` of two finished regions and puts its results where the holes are.
static Op *make_if(Merge *mg, Value *cond)
{
    Lower *cx = mg->cx;
    int32_t n = mg->holes.len;
    const Type **types = arena_array(cx->arena, const Type *, n + 1);
    for (int32_t i = 0; i < n; i++)
        types[i] = mg->holes.data[i]->type;
    for (int32_t k = 0; k < 2; k++) {
        Builder saved = control_enter(cx, mg->region[k]);
        cx->b.span = lower_span(cx, mg->n);
        build_yield(&cx->b, n, mg->yields[k].data);
        control_leave(cx, saved);
    }
    cx->b.span = lower_span(cx, mg->n);
    if (n == 0 && mg->region[0]->first->kind == OP_YIELD &&
        mg->region[1]->first->kind != OP_YIELD) {
        cond =
            build_unary(&cx->b, ELEM_NOT, cond); // `if c: return` reads as `if not c { the rest }`
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
        DiagItem *e = lower_error(cx, ret[1].where ? ret[1].where : mg->n, "E0713",
                                  "`%s` returns %s here and %s elsewhere", cx->frame->func->name,
                                  type_of_val(cx, ret[1].val), type_of_val(cx, ret[0].val));
        if (ret[0].where)
            diag_note(cx->diag, e, lower_span(cx, ret[0].where), "the other `return`");
        out.val = val_error();
    }
    out.state = ret[0].state == RET_ALWAYS && ret[1].state == RET_ALWAYS ? RET_ALWAYS : RET_MAYBE;
    if (out.state == RET_ALWAYS) return out;
    Value *flags[2];
    for (int32_t k = 0; k < 2; k++) {
        Builder saved = control_enter(cx, mg->region[k]);
        flags[k] = ret[k].state == RET_MAYBE ? ret[k].flag
                                             : build_const_int(&cx->b, type_scalar(cx->m, DTYPE_I1),
                                                               ret[k].state == RET_ALWAYS);
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
        if (tail && ret[k].state == RET_NEVER)
            ret[k] = (Returned){.state = RET_ALWAYS, .val = val_of(VAL_NONE)}; // falls off the end
    }
    bool through =
        tail && arm[0].flow == FLOW_NEXT && arm[1].flow == FLOW_NEXT; // both fall off the end
    bool gone[2] = {ret[0].state == RET_ALWAYS, ret[1].state == RET_ALWAYS};
    int32_t n_slots = MAX(arm[0].locals.len, arm[1].locals.len);
    f->locals = (Locals){0};
    for (int32_t i = 0; i < n_slots; i++) {
        const Local *a = i < arm[0].locals.len ? &arm[0].locals.data[i] : NULL,
                    *b = i < arm[1].locals.len ? &arm[1].locals.data[i] : NULL;
        const Local *was = i < before->len ? &before->data[i] : NULL;
        Local out = {.name = (a ? a : b)->name};
        if (through && a && b && types_clash(cx, a, b)) types_differ(cx, n, a, b);
        if (gone[0] && gone[1])
            out = was ? *was : out;
        else if (gone[0])
            out = b ? carry_local(&mg, 1, b, was) : out;
        else if (gone[1])
            out = a ? carry_local(&mg, 0, a, was) : out;
        else
            out = merge_local(&mg, a, b);
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

/// Does every path through `list` end in `return`? (By its text; a hint that nothing has to be
/// merged.)
static bool ends_in_return(const NodeList *list)
{
    if (!list->len) return false;
    const Node *last = list->data[list->len - 1];
    if (last->kind == NODE_RETURN) return true;
    return last->kind == NODE_IF && ends_in_return(&last->list) && ends_in_return(&last->list2);
}

/// After a condition that was an error: names assigned in either suite have no known type.
void control_poison(Lower *cx, const NodeList *list)
{
    NameList names = {0};
    ast_assigned(cx->arena, list, &names);
    for (int32_t i = 0; i < names.len; i++) {
        Local *l = local_slot(cx, names.data[i]);
        l->kind = LOCAL_PLAIN;
        l->val = val_error();
    }
}

Flow control_if(Lower *cx, const Node *n, const NodeList *rest, int32_t from, bool tail,
                bool *rest_done)
{
    Frame *f = cx->frame;
    Value *cond;
    *rest_done = false;
    int32_t c = express_condition(cx, express(cx, n->a), n->a, &cond);
    bool last = from >= rest->len;
    if (c == 0 || c == 1) return lower_suite(cx, c ? &n->list : &n->list2, 0, tail && last);
    if (c < 0) {
        control_poison(cx, &n->list);
        control_poison(cx, &n->list2);
        return FLOW_NEXT;
    }
    const NodeList *suite[2] = {&n->list, &n->list2};
    Locals before = locals_copy(cx, &f->locals);
    Returned ret = f->ret;
    Arm arm[2];
    for (int32_t k = 0; k < 2; k++)
        run_arm(cx, &arm[k], &before, ret,
                (Rest){suite[k], 0, (tail && last) || ends_in_return(suite[k]), NULL});
    for (int32_t k = 0; k < 2; k++) // one arm has returned: what follows belongs to the other
        if (!last && !*rest_done && arm[k].flow == FLOW_RETURN && arm[!k].flow == FLOW_NEXT &&
            arm[!k].ret.state == RET_NEVER) {
            *rest_done = true;
            run_arm(cx, &arm[!k], NULL, ret, (Rest){rest, from, tail, NULL});
        }
    for (int32_t k = 0; k < 2; k++)
        if (arm[k].flow == FLOW_BREAK || arm[k].flow == FLOW_CONTINUE)
            arm[k].flow = FLOW_NEXT; // E0711 was said
    return join(cx, n, cond, arm, &before, tail && (last || *rest_done));
}

/// Walks `rest` where the function has not returned yet: `if not flag`.
static Flow guard(Lower *cx, Rest rest, const Node *n)
{
    Frame *f = cx->frame;
    static const NodeList nothing;
    Locals before = locals_copy(cx, &f->locals);
    Returned ret = f->ret;
    cx->b.span = lower_span(cx, n);
    Value *cond = build_unary(&cx->b, ELEM_NOT, ret.flag);
    Arm arm[2];
    run_arm(cx, &arm[0], &before, (Returned){0}, rest);
    run_arm(cx, &arm[1], &before,
            (Returned){.state = RET_ALWAYS, .val = ret.val, .where = ret.where},
            (Rest){&nothing, 0, false, NULL});
    arm[1].flow = FLOW_RETURN;
    return join(cx, n, cond, arm, &before, rest.tail);
}

Flow control_guard(Lower *cx, const NodeList *rest, int32_t from, bool tail, const Node *n)
{
    return guard(cx, (Rest){rest, from, tail, NULL}, n);
}

Flow control_guard_loop(Lower *cx, const StaticLoop *loop, int32_t from)
{
    return guard(cx, (Rest){NULL, from, false, loop}, loop->n);
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
        lower_error(cx, n, "E0701", "the arms of this conditional are %s and %s",
                    type_of_val(cx, v[0]), type_of_val(cx, v[1]));
        return val_error();
    }
    if (is_error(out)) return out;
    Op *op = make_if(&mg, cond);
    fill_holes(&out, &mg, op);
    return out;
}

// ---- return -----------------------------------------------------------------------------------

Flow control_return(Lower *cx, const Node *n)
{
    Frame *f = cx->frame;
    Val v = n->a ? express(cx, n->a) : val_of(VAL_NONE);
    if (f->loops) {
        if (f->caller)
            lower_error(cx, n, "E0714",
                        "`return` inside a run-time loop is not supported in a helper");
        else
            lower_not_yet(cx, n, "`return` inside a run-time loop");
        return FLOW_NEXT;
    }
    if (!f->caller && v.kind != VAL_NONE && !is_error(v)) {
        DiagItem *e =
            lower_error(cx, n, "E0712", "a kernel returns nothing, got %s", lower_describe(cx, v));
        diag_help(cx->diag, e, "store the value through a pointer");
        v = val_of(VAL_NONE);
    }
    f->ret = (Returned){.state = RET_ALWAYS, .val = v, .where = n};
    return FLOW_RETURN;
}
