// ir/passes/dce.c - remove what nobody needs.
//
//     %1 = add %0, %0                                             gone: no uses, no effect
//     %2, %3 = for %i = ... carry (%a = %x, %b = %y) {   ==>      %3 = for %i = ... carry (%b = %y) {
//       %4 = add %a, %a    // only feeds itself                     ...
//
// Liveness starts at ops with effects (stores, atomics, volatile loads, prints, `while`, returns) and spreads to
// what they read. A carried value is alive when its result or its argument is; then so are its initial value
// and what the body yields for it. Loops and ifs that neither do nor give anything go as a whole.
//
// Cost    one walk to mark, a work list, one walk to sweep
#include "base/bits.h"
#include "ir/pass.h"

typedef struct Dce {
    PassCx *cx;
    Bits live; ///< by Value.id
    VEC(Value *) work;
} Dce;

static void mark(Dce *d, Value *v)
{
    if (bits_has(&d->live, v->id)) return;
    bits_set(&d->live, v->id);
    vec_push(d->cx->scratch, &d->work, v);
}

static bool has_effects(const Op *op)
{
    switch (op_facts[op->kind].effects) {
    case EFFECT_PURE:
        return false;
    case EFFECT_READS:
        return op->kind == OP_LOAD && op_attr_i(op, ATTR_VOLATILE);
    case EFFECT_WRITES:
        return op->kind != OP_ALLOC;
    case EFFECT_CONTROL:
        return op->kind == OP_WHILE; // it may not end
    }
    return true;
}

/// Does `op` or anything inside it have an effect?
static bool is_rooted(const Op *op)
{
    if (has_effects(op)) return true;
    for (int32_t i = 0; i < op->n_regions; i++)
        EACH_OP(inner, op->regions[i])
            if (is_rooted(inner)) return true;
    return false;
}

static void mark_inputs(Dce *d, const Op *op, int32_t first, int32_t n)
{
    for (int32_t i = first; i < first + n; i++)
        mark(d, op->in[i]);
}

/// Marks what must be there for the effects of `r`; terminators follow their results.
static void mark_roots(Dce *d, const Region *r)
{
    EACH_OP(op, r) {
        if (op->kind == OP_RETURN) mark_inputs(d, op, 0, op->n_in);
        if (op->kind == OP_CONDITION) mark(d, op->in[0]);
        if (!is_rooted(op)) continue;
        switch (op->kind) {
        case OP_FOR:
            mark_inputs(d, op, 0, 3);
            break;
        case OP_IF:
            mark(d, op->in[0]);
            break;
        case OP_WHILE:
            break;
        default:
            mark_inputs(d, op, 0, op->n_in);
            break;
        }
        for (int32_t i = 0; i < op->n_regions; i++)
            mark_roots(d, op->regions[i]);
    }
}

/// The k-th carried value of a loop or result of an if is alive: so are all values that flow into it.
static void mark_carried(Dce *d, const Op *op, int32_t k)
{
    mark(d, &op->out[k]);
    switch (op->kind) {
    case OP_FOR:
        mark_inputs(d, op, 0, 3);
        mark(d, op->in[3 + k]);
        mark(d, op->regions[0]->args[1 + k]);
        mark(d, op->regions[0]->last->in[k]);
        break;
    case OP_WHILE:
        mark(d, op->in[k]);
        mark(d, op->regions[0]->args[k]);
        mark(d, op->regions[1]->args[k]);
        mark(d, op->regions[0]->last->in[0]);
        mark(d, op->regions[0]->last->in[1 + k]);
        mark(d, op->regions[1]->last->in[k]);
        break;
    case OP_IF:
        mark(d, op->in[0]);
        mark(d, op->regions[0]->last->in[k]);
        mark(d, op->regions[1]->last->in[k]);
        break;
    default:
        BUG("%s carries nothing", op_facts[op->kind].name);
    }
}

/// A live result of a reduce or scan keeps the whole op.
static void mark_whole(Dce *d, const Op *op)
{
    mark_inputs(d, op, 0, op->n_in);
    for (int32_t i = 0; i < op->n_regions; i++) {
        const Op *end = op->regions[i]->last;
        mark_inputs(d, end, 0, end->n_in);
    }
}

static void spread(Dce *d, const Value *v)
{
    const Op *op = v->def ? v->def : v->region->owner;
    if (!op) return; // a parameter
    if (v->def) {
        if (op->kind == OP_FOR || op->kind == OP_WHILE || op->kind == OP_IF)
            mark_carried(d, op, v->index);
        else
            mark_whole(d, op);
        return;
    }
    if (op->kind == OP_FOR && v->index == 0)
        mark_inputs(d, op, 0, 3);
    else if (op->kind == OP_FOR)
        mark_carried(d, op, v->index - 1);
    else if (op->kind == OP_WHILE)
        mark_carried(d, op, v->index);
}

// ---- sweeping -------------------------------------------------------------------------------------

static void sweep(Dce *d, Region *r);

/// Copies the values of `from` that `keep` names.
static int32_t kept(const Bits *keep, Value *const *from, int32_t n, Value **to)
{
    int32_t at = 0;
    for (int32_t i = 0; i < n; i++)
        if (bits_has(keep, i)) to[at++] = from[i];
    return at;
}

/// Gives `end` only the operands that `keep` names, after the first `fixed`.
static void shorten_terminator(Dce *d, Op *end, int32_t fixed, const Bits *keep)
{
    Value **in = arena_array(d->cx->scratch, Value *, end->n_in + 1);
    for (int32_t i = 0; i < fixed; i++)
        in[i] = end->in[i];
    int32_t n = fixed + kept(keep, end->in + fixed, end->n_in - fixed, in + fixed);
    Op *fresh = op_new(d->cx->module, end->kind, end->span, n, in, 0, NULL, 0);
    op_insert(fresh, end->parent, end);
    op_erase(end);
}

static void shorten_region(Dce *d, Region *r, int32_t fixed_args, const Bits *keep)
{
    int32_t at = fixed_args;
    for (int32_t i = fixed_args; i < r->n_args; i++) {
        if (!bits_has(keep, i - fixed_args)) continue;
        r->args[i]->index = at;
        r->args[at++] = r->args[i];
    }
    if (r->n_args > fixed_args) r->n_args = at;
    shorten_terminator(d, r->last, r->last->kind == OP_CONDITION ? 1 : 0, keep);
}

/// Replaces `op` by one with only the results that `keep` names. Its regions move over.
static void shorten(Dce *d, Op *op, const Bits *keep)
{
    int32_t fixed = op->kind == OP_FOR ? 3 : op->kind == OP_IF ? 1 : 0;
    Value **in = arena_array(d->cx->scratch, Value *, op->n_in + 1);
    const Type **types = arena_array(d->cx->scratch, const Type *, op->n_out + 1);
    int32_t n_out = 0, n_in = fixed;
    for (int32_t i = 0; i < fixed; i++)
        in[i] = op->in[i];
    n_in += kept(keep, op->in + fixed, op->n_in - fixed, in + fixed);
    for (int32_t i = 0; i < op->n_out; i++)
        if (bits_has(keep, i)) types[n_out++] = op->out[i].type;
    Op *fresh = op_new(d->cx->module, op->kind, op->span, n_in, in, n_out, types, op->n_regions);
    memcpy(fresh->attrs, op->attrs, sizeof(fresh->attrs));
    op_insert(fresh, op->parent, op);
    for (int32_t i = 0; i < op->n_regions; i++) {
        shorten_region(d, op->regions[i], op->kind == OP_FOR ? 1 : 0, keep);
        op->regions[i]->owner = fresh;
        fresh->regions[i] = op->regions[i];
    }
    op->n_regions = 0;
    for (int32_t i = 0, at = 0; i < op->n_out; i++) {
        if (!bits_has(keep, i)) continue;
        fresh->out[at].name = op->out[i].name;
        fresh->out[at].span = op->out[i].span;
        fresh->out[at].id = op->out[i].id;
        replace_uses(&op->out[i], &fresh->out[at++]);
    }
    op_erase(op);
}

static void sweep_op(Dce *d, Op *op)
{
    bool is_carrier = op->kind == OP_FOR || op->kind == OP_WHILE || op->kind == OP_IF;
    bool any_live = false, all_live = true;
    for (int32_t i = 0; i < op->n_out; i++) {
        bool live = bits_has(&d->live, op->out[i].id);
        any_live |= live;
        all_live &= live;
    }
    if (!any_live && !is_rooted(op)) {
        for (int32_t i = 0; i < op->n_out; i++)
            ASSERT(!op->out[i].uses);
        op_erase(op);
        pass_count(d->cx, "ops");
        return;
    }
    if (!is_carrier) return;
    if (all_live) {
        for (int32_t i = 0; i < op->n_regions; i++)
            sweep(d, op->regions[i]);
        return;
    }
    Bits keep = bits_new(d->cx->scratch, op->n_out);
    for (int32_t i = 0; i < op->n_out; i++)
        if (bits_has(&d->live, op->out[i].id)) bits_set(&keep, i);
    pass_count(d->cx, "carried");
    Region *regions[2] = {op->regions[0], op->n_regions > 1 ? op->regions[1] : NULL};
    shorten(d, op, &keep); // first, so that dead carried values lose their last use
    for (int32_t i = 0; i < 2 && regions[i]; i++)
        sweep(d, regions[i]);
}

/// Users before what they use: from the end.
static void sweep(Dce *d, Region *r)
{
    for (Op *op = r->last, *prev; op; op = prev) {
        prev = op->prev;
        if (op_facts[op->kind].effects == EFFECT_CONTROL && !op->n_regions) continue; // terminators
        sweep_op(d, op);
    }
}

static KilnStatus run(PassCx *cx, Func *fn)
{
    Dce d = {.cx = cx, .live = bits_new(cx->scratch, func_number(fn))};
    mark_roots(&d, fn->body);
    while (d.work.len) {
        Value *v = vec_pop(&d.work);
        spread(&d, v);
    }
    sweep(&d, fn->body);
    return KILN_OK;
}

const Pass pass_dce = {.name = "dce", .run = run};
