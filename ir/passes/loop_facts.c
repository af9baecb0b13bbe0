// ir/passes/loop_facts.c - loops whose number of trips is known to be none or one, and carried values that stay.
//
//     %1 = for %i = %c0 to %c0 step %c1 carry (%a = %x) {...}   ==>   %1 is %x            no trip
//     %1 = for %i = %c0 to %c4 step %c8 carry (%a = %x) {...}   ==>   the body, %i = %c0  one trip
//     %1 = for ... carry (%a = %x) { ... yield %a }             ==>   %a and %1 are %x    never changes
//
// Uses    loop_trips() of ir/loop.h, which the interpreter counts with
// Cost    one walk, inner loops last, so that a body that was unrolled is looked at too
#include "ir/loop.h"
#include "ir/pass.h"

static void replace_by_initial(Op *op)
{
    for (int32_t i = 0; i < op->n_out; i++)
        replace_uses(&op->out[i], op->in[3 + i]);
    op_erase(op);
}

/// Moves the body before the loop, with the index at `begin` and the carried values at their initial ones.
static void run_once(Op *op)
{
    Region *body = op->regions[0];
    replace_uses(body->args[0], op->in[0]);
    for (int32_t i = 0; i < op->n_out; i++)
        replace_uses(body->args[1 + i], op->in[3 + i]);
    Op *end = body->last;
    while (body->first != end) {
        Op *inner = body->first;
        op_unlink(inner);
        op_insert(inner, op->parent, op);
    }
    for (int32_t i = 0; i < op->n_out; i++)
        replace_uses(&op->out[i], end->in[i]);
    op_erase(op);
}

/// The k-th carried value is yielded as it came.
static void forget_unchanged(PassCx *cx, Op *op)
{
    Region *body = op->regions[0];
    for (int32_t i = 0; i < op->n_out; i++) {
        Value *arg = body->args[1 + i];
        bool is_same = body->last->in[i] == arg || body->last->in[i] == op->in[3 + i];
        if (!is_same || arg->type != op->in[3 + i]->type || op->out[i].type != arg->type) continue;
        if (!op->out[i].uses && value_has_one_use(arg) && body->last->in[i] == arg)
            continue; // nothing to gain
        replace_uses(&op->out[i], op->in[3 + i]);
        op_set_input(body->last, i, op->in[3 + i]);
        replace_uses(arg, op->in[3 + i]);
        op_set_input(body->last, i, arg); // dce drops it now
        pass_count(cx, "unchanged");
    }
}

static void walk(PassCx *cx, Region *r)
{
    for (Op *op = r->first, *next; op; op = next) {
        next = op->next;
        if (op->kind == OP_FOR) {
            int64_t trips = loop_facts(op).trips;
            Op *before = op->prev;
            if (trips == 0) {
                replace_by_initial(op);
                pass_count(cx, "no-trip");
                continue;
            }
            if (trips == 1) {
                run_once(op);
                pass_count(cx, "one-trip");
                next = before ? before->next : r->first; // look at what came out
                continue;
            }
            forget_unchanged(cx, op);
        }
        for (int32_t i = 0; i < op->n_regions; i++)
            walk(cx, op->regions[i]);
    }
}

static KilnStatus run(PassCx *cx, Func *fn)
{
    walk(cx, fn->body);
    return KILN_OK;
}

const Pass pass_loop_facts = {.name = "loop-facts", .run = run};
