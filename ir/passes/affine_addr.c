// ir/passes/affine_addr.c - carried tiles that move as a whole become a tile that stays and a scalar that moves.
//
//     %p = for ... carry (%q = %start) {            %o = for ... carry (%s = 0) {
//       load %q                                       %q = addptr %start, splat %s
//       %n = addptr %q, splat %step          ==>      load %q
//       yield %n                                      %t = add %s, %step
//     }                                               yield %t
//                                                   }
//                                                   %p = addptr %start, splat %o
//
// The usual `a_ptrs += BLOCK_K * stride` of a matrix product. Afterwards every address in the loop is an
// expression of loop-invariant tiles and scalars, so its bit-affine form and its element 0 are known (ir/affine.h), and
// no tile of pointers lives in registers from one iteration to the next. Ints likewise: `offs += BLOCK`.
//
// Exact   pointers count in i64, as addptr does; ints wrap in their own type
// Needs   "fold" before, so that uniform steps are splats or constants
// Leaves  the carried tile, which now only feeds itself, for "dce"
#include "ir/elem_eval.h"
#include "ir/loop.h"
#include "ir/pass.h"

enum { MAX_CHAIN = 16 };

typedef struct Step {
    Value *by[MAX_CHAIN]; ///< splats or uniform constants, in the order they are added
    int32_t n;
} Step;

static bool is_uniform(const Value *v)
{
    int64_t c;
    return v->def && (v->def->kind == OP_SPLAT || value_const_int(v, &c));
}

static bool is_candidate(const Value *arg)
{
    const Type *t = arg->type;
    return t->kind == TYPE_TILE && !t->layout &&
           (t->is_ptr || (dtype_is_int(t->dtype) && t->dtype != DTYPE_I1));
}

/// Follows `v` back to `arg` through sums with uniform tiles.
static bool find_step(const Value *v, const Value *arg, const Region *body, Step *out)
{
    out->n = 0;
    while (v != arg) {
        const Op *op = v->def;
        bool adds = op && (op->kind == OP_ADDPTR || op_is_elem(op, ELEM_ADD));
        if (!adds || op->parent != body || out->n == MAX_CHAIN) return false;
        int32_t side = is_uniform(op->in[1]) ? 1 : 0;
        if (!is_uniform(op->in[side])) return false;
        out->by[out->n++] = op->in[side];
        v = op->in[1 - side];
    }
    return out->n > 0;
}

/// The scalar that a uniform tile repeats, as dtype `t`.
static Value *scalar_of(Builder *b, Value *v, DType t)
{
    int64_t c;
    if (value_const_int(v, &c))
        return build_const_int(b, type_scalar(b->module, t), int_wrap(v->type->dtype, c));
    return build_cast(b, v->def->in[0], t, ROUND_RNE);
}

/// start moved by the scalar `by`, as a tile like `start`.
static Value *moved(Builder *b, Value *start, Value *by)
{
    Value *tile = build_splat(b, by, start->type->rank, start->type->shape);
    return start->type->is_ptr ? build_addptr(b, start, tile)
                               : build_binary(b, ELEM_ADD, start, tile);
}

/// Carried value k of `op` moves by `step`. @return the loop that stands for `op`
static Op *rewrite(PassCx *cx, Func *fn, Op *op, int32_t k, const Step *step)
{
    Value *start = op->in[3 + k];
    DType t = start->type->is_ptr ? DTYPE_I64 : start->type->dtype;
    Builder before = build_before(fn, op);
    Value *zero = build_const_int(&before, type_scalar(cx->module, t), 0);
    Op *loop = loop_carry_more(cx->module, op, 1, &zero);
    Region *body = loop->regions[0];
    Value *arg = body->args[1 + k], *by = body->args[body->n_args - 1];

    Builder end = build_before(fn, body->last);
    Value *next = by;
    for (int32_t i = 0; i < step->n; i++)
        next = build_binary(&end, ELEM_ADD, next, scalar_of(&end, step->by[i], t));
    loop_yield_more(cx->module, body, 1, &next);

    Builder first = build_before(fn, body->first);
    first.span = arg->span;
    Value *tile = moved(&first, start, by);
    tile->name = arg->name;
    by->name = arg->name;
    replace_uses(arg, tile);

    Op *after = loop->next;
    Builder behind = build_before(fn, after);
    behind.span = loop->span;
    Value *last = moved(&behind, start, &loop->out[loop->n_out - 1]);
    last->name = loop->out[k].name;
    replace_uses(&loop->out[k], last);
    op_set_input(body->last, k, arg); // carried unchanged, by nobody read
    pass_count(cx, "carried");
    return loop;
}

static void walk(PassCx *cx, Func *fn, Region *r)
{
    for (Op *op = r->first; op; op = op->next) {
        for (int32_t i = 0; i < op->n_regions; i++)
            walk(cx, fn, op->regions[i]);
        if (op->kind != OP_FOR) continue;
        int32_t n = op->n_out;
        for (int32_t k = 0; k < n; k++) {
            Step step;
            Region *body = op->regions[0];
            if (!is_candidate(body->args[1 + k])) continue;
            if (!find_step(body->last->in[k], body->args[1 + k], body, &step)) continue;
            op = rewrite(cx, fn, op, k, &step);
        }
    }
}

static KilnStatus run(PassCx *cx, Func *fn)
{
    walk(cx, fn, fn->body);
    return KILN_OK;
}

const Pass pass_affine_addr = {.name = "affine-addr", .run = run};
