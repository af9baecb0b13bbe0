// ir/passes/licm.c - pure ops that do not change in a loop move before it.
//
//     %3 = for %i = ... {                 %4 = mul %0, %1
//       %4 = mul %0, %1         ==>       %3 = for %i = ... {
//       %5 = add %4, %i                     %5 = add %4, %i
//
// Nothing pure traps, so moving is safe even out of loops that never run. Inner loops first: what leaves
// them may leave the outer ones too. Ops in an `if` stay: they may never be needed. So do loads: a store in the
// loop may change them.
//
// Cost    one walk, outermost loops last
#include "ir/pass.h"

/// Is `v` defined inside `loop`, at any depth?
static bool is_inside(const Value *v, const Op *loop)
{
    const Region *r = v->def ? v->def->parent : v->region;
    for (; r; r = r->owner ? r->owner->parent : NULL)
        if (r->owner == loop) return true;
    return false;
}

static bool can_move(const Op *op, const Op *loop)
{
    if (op_facts[op->kind].effects != EFFECT_PURE || op->kind == OP_MMA_WAIT) return false;
    for (int32_t i = 0; i < op->n_in; i++)
        if (is_inside(op->in[i], loop)) return false;
    for (int32_t i = 0; i < op->n_regions; i++)
        EACH_OP(inner, op->regions[i])
            for (int32_t k = 0; k < inner->n_in; k++)
                if (is_inside(inner->in[k], loop) && !is_inside(inner->in[k], op)) return false;
    return true;
}

static void hoist(PassCx *cx, Op *loop, Region *r)
{
    EACH_OP_SAFE(op, r)
    {
        if (!can_move(op, loop)) continue;
        op_unlink(op);
        op_insert(op, loop->parent, loop);
        pass_count(cx, "moved");
    }
}

static void walk(PassCx *cx, Region *r)
{
    EACH_OP(op, r) {
        for (int32_t i = 0; i < op->n_regions; i++)
            walk(cx, op->regions[i]);
        if (op->kind == OP_FOR || op->kind == OP_WHILE)
            for (int32_t i = 0; i < op->n_regions; i++)
                hoist(cx, op, op->regions[i]);
    }
}

static KilnStatus run(PassCx *cx, Func *fn)
{
    walk(cx, fn->body);
    return KILN_OK;
}

const Pass pass_licm = {.name = "licm", .run = run};
