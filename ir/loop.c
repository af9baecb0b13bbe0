#include "ir/loop.h"

__extension__ typedef __int128 Wide;

static Wide widen(DType t, int64_t x)
{
    return dtype_is_signed(t) ? (Wide)x : (Wide)(uint64_t)x;
}

int64_t loop_trips(DType t, int64_t begin, int64_t end, int64_t step, bool may_go_down)
{
    Wide from = widen(t, begin), to = widen(t, end), by = widen(t, step);
    if (by == 0 || (by < 0 && !may_go_down)) return 0;
    Wide distance = by > 0 ? to - from : from - to;
    Wide stride = by > 0 ? by : -by;
    if (distance <= 0) return 0;
    Wide trips = (distance + stride - 1) / stride;
    return trips > INT64_MAX ? INT64_MAX : (int64_t)trips;
}

bool loop_step_is_const(const Op *op)
{
    const Op *step = op->in[2]->def;
    return step && step->kind == OP_CONST;
}

static int32_t low_zeros(int64_t x)
{
    return x == 0 ? 63 : __builtin_ctzll((uint64_t)x);
}

LoopFacts loop_facts(const Op *op)
{
    LoopFacts facts = {.trips = -1};
    int64_t begin = 0, end = 0, step = 0;
    bool has_begin = value_const_int(op->in[0], &begin), has_end = value_const_int(op->in[1], &end);
    DType t = op->in[0]->type->dtype;
    if (!value_const_int(op->in[2], &step)) return facts;
    bool is_const = loop_step_is_const(op);
    facts.step = step;
    if (has_begin) facts.log_divisor = MIN(low_zeros(begin), low_zeros(step));
    if (has_begin && has_end) facts.trips = loop_trips(t, begin, end, step, is_const);
    if (step <= 0 || !dtype_is_signed(t)) return facts;
    // Counting up: from begin to below end. An end that is not known leaves the type's own limit.
    if (has_begin) {
        int64_t limit = (int64_t)(UINT64_MAX >> (65 - dtype_bits(t)));
        facts.has_range = true;
        facts.lo = begin;
        facts.hi = MAX(begin, has_end ? end - 1 : limit - 1);
    }
    return facts;
}

Op *loop_carry_more(Module *m, Op *op, int32_t n, Value *const *initial)
{
    Region *body = op->regions[0];
    Value **in = arena_array(m->arena, Value *, op->n_in + n);
    const Type **types = arena_array(m->arena, const Type *, op->n_out + n);
    Value **args = arena_array(m->arena, Value *, body->n_args + n);
    for (int32_t i = 0; i < op->n_in; i++)
        in[i] = op->in[i];
    for (int32_t i = 0; i < op->n_out; i++)
        types[i] = op->out[i].type;
    memcpy(args, body->args, sizeof *args * (size_t)body->n_args);
    for (int32_t i = 0; i < n; i++) {
        in[op->n_in + i] = initial[i];
        types[op->n_out + i] = initial[i]->type;
        args[body->n_args + i] = arena_new(m->arena, Value);
        *args[body->n_args + i] = (Value){.type = initial[i]->type,
                                          .region = body,
                                          .index = body->n_args + i,
                                          .span = op->span,
                                          .name = initial[i]->name,
                                          .id = m->n_values++};
    }
    Op *fresh = op_new(m, OP_FOR, op->span, op->n_in + n, in, op->n_out + n, types, 1);
    memcpy(fresh->attrs, op->attrs, sizeof fresh->attrs);
    op_insert(fresh, op->parent, op);
    body->args = args;
    body->n_args += n;
    body->owner = fresh;
    fresh->regions[0] = body;
    op->n_regions = 0;
    for (int32_t i = 0; i < op->n_out; i++) {
        fresh->out[i].name = op->out[i].name;
        fresh->out[i].span = op->out[i].span;
        replace_uses(&op->out[i], &fresh->out[i]);
    }
    op_erase(op);
    return fresh;
}

void loop_yield_more(Module *m, Region *body, int32_t n, Value *const *next)
{
    Op *end = body->last;
    Value **in = arena_array(m->arena, Value *, end->n_in + n);
    for (int32_t i = 0; i < end->n_in; i++)
        in[i] = end->in[i];
    memcpy(in + end->n_in, next, sizeof *next * (size_t)n);
    op_insert(op_new(m, OP_YIELD, end->span, end->n_in + n, in, 0, NULL, 0), body, end);
    op_erase(end);
}
