// compiler/gpu/pipeline.c - loads of loops become copies that run num_stages - 1 iterations ahead.
//
//   for %i = 0 to %n step 32 carry (%acc) {       %b = alloc : buf<64x32xf16, stages=3>
//     %p = %x + %i                                copy_async %b, 0, %x + 0,  0 < %n
//     %a = load %p                         ==>    copy_async %b, 1, %x + 32, 32 < %n
//     %acc' = dot %a, ...                         for %i = ... carry (%acc, %r = 0, %w = 2) {
//     yield %acc'                                   wait {pending=1}
//   }                                               copy_async %b, %w, %x + (%i + 64), %i + 64 < %n
//                                                   %a = buf_load %b, %r
//                                                   %acc' = dot %a, ...
//                                                   yield %acc', next(%r), next(%w)
//                                                 }
//                                                 wait {pending=0}
//
// Every copy_async is a group of its own and is issued in every iteration, with an all-false mask
// behind the last one: so the number that may be pending is a constant, and loops of any length
// need no epilogue. One barrier per iteration, between the wait and the copy, makes everybody's
// data visible and ends the reads of the stage that is written next.
//
// To know an address some iterations early its computation is copied, with other values in place of
// the loop's own:   %i -> %i + 2 * step;   a carried value -> a shadow of it, carried that far
// ahead;   a value loaded from a page table -> the same, loaded one iteration earlier still, so that
// it is there when the copy wants it.
//
// What is pipelined: loads that feed dots and others beside them, loads where the loop asks
// (tl.range(num_stages=)) or where they stream 16 bytes for every thread and iteration; by the
// bit-affine form of address and mask at least 4 bytes at a time (cp.async), each once. Arguments may point to the same memory, so a loop that
// stores is left alone, unless it asks: that promises that what it stores to and what it loads
// through another argument are different tensors.
//
// Source: layouts.md 7; the schedule is its first row (prefetch distance S-1, S buffers, wait S-2)
#include "compiler/gpu/gpu.h"
#include "ir/loop.h"
#include "ir/pass.h"

enum { MAX_LOADS = 16, MAX_STAGES = 16, AHEAD_PER_THREAD = 4, COPY_BYTES = 16, LEAST_BYTES = 4 };

typedef VEC(Op *) OpList;

typedef struct Stream {
    Op *load;
    Value *buf;
    const Layout *threads;      ///< who copies what
    bool feeds_dots, dots_only; ///< dots alone: read back as they want it
} Stream;

typedef struct Plan {
    GpuCx *cx;
    const AffineCx *affine;
    Arena *arena;
    Op *loop;
    Region *body;
    int32_t stages, distance, n_values;
    int32_t n_carried; ///< before
    int64_t step;      ///< 0: known at run time alone
    Stream streams[MAX_LOADS];
    int32_t n_streams;
    OpList stores;   ///< in the loop
    OpList ahead;    ///< loads whose values the addresses of streams need
    bool *is_chain;  ///< [ahead]: the body wants it too: every value on the way there is carried
    bool *is_shadow; ///< [carried]: addresses need it
    int32_t n_extra; ///< carried values more than before
    int32_t read_at, write_at, shadows_at, ahead_at; ///< which of them is what
} Plan;

/// What stands for the loop's own values some iterations away.
typedef struct Env {
    Value **map;     ///< by Value.id; NULL: not made yet
    Value *in_range; ///< i1: the loop gets there
} Env;

// ---- which loops ------------------------------------------------------------------------------

typedef struct Survey {
    Plan *plan;
    bool fits;
} Survey;

static void survey(Op *op, void *user)
{
    Survey *s = user;
    bool is_atomic = op->kind == OP_ATOMIC_RMW || op->kind == OP_ATOMIC_CAS;
    if (op->kind == OP_FOR || op->kind == OP_WHILE || op->kind == OP_BARRIER ||
        op->kind == OP_WAIT || op->kind == OP_COPY_ASYNC ||
        (is_atomic && op_attr_i(op, ATTR_SEM) != SEM_RELAXED))
        s->fits = false; // not the innermost loop, or its order is said by hand
    if (op->kind == OP_STORE || is_atomic) vec_push(s->plan->arena, &s->plan->stores, op);
}

/// The step, as far as the distance to the end can be compared with multiples of it.
static bool plan_step(Plan *p)
{
    DType t = p->loop->in[0]->type->dtype;
    int32_t bits = dtype_bytes(t) * 8;
    int64_t step = 0;
    if (bits < 32) return false;
    if (!value_const_int(p->loop->in[2], &step)) return bits == 32;
    if (step == 0 || (step < 0 && (!dtype_is_signed(t) || !loop_step_is_const(p->loop))))
        return false;
    int64_t most = (int64_t)1 << (bits - 2);
    p->step = step;
    return step > -most / MAX_STAGES && step < most / MAX_STAGES;
}

static bool plan_loop(Plan *p)
{
    int64_t asked = op_attr_i(p->loop, ATTR_STAGES);
    p->stages = (int32_t)MIN(asked ? asked : p->cx->fn->num_stages, MAX_STAGES);
    if (p->cx->most_stages) p->stages = MIN(p->stages, p->cx->most_stages);
    int64_t trips = loop_facts(p->loop).trips;
    if (trips >= 0) p->stages = (int32_t)MIN(p->stages, trips);
    if (p->stages < 2) return false;
    Survey s = {p, true};
    region_walk(p->body, survey, &s);
    return s.fits && plan_step(p);
}

// ---- which loads ------------------------------------------------------------------------------

static bool is_inside(const Plan *p, const Value *v)
{
    const Region *r = v->def ? v->def->parent : v->region;
    for (; r; r = r->owner ? r->owner->parent : NULL)
        if (r == p->body) return true;
    return false;
}

static bool may_be_stored(const Plan *p, const Op *load)
{
    const Value *root = pointer_root(load->in[0]);
    for (int32_t i = 0; i < p->stores.len; i++) {
        const Value *other = pointer_root(p->stores.data[i]->in[0]);
        bool apart = root && other && root != other && op_attr_i(p->loop, ATTR_STAGES);
        if (!apart) return true;
    }
    return false;
}

static bool is_movement(OpKind k)
{
    return k == OP_ELEM || k == OP_CAST || k == OP_BITCAST || k == OP_ADDPTR || k == OP_HINT ||
           k == OP_SPLAT || k == OP_BROADCAST || k == OP_EXPAND_DIMS || k == OP_RESHAPE ||
           k == OP_TRANS || k == OP_JOIN || k == OP_SPLIT || k == OP_CAT;
}

typedef struct Users {
    bool dots, others;
    int32_t steps; ///< uses that may still be followed; what lies behind counts as others
} Users;

enum { USERS_STEPS = 4096 };

/// Who uses `v` in the end, through elementwise ops and changes of shape.
static void find_users(const Value *v, Users *out)
{
    EACH_USE(use, v) {
        const Op *op = use->op;
        bool follows = is_movement(op->kind) && out->steps-- > 0;
        if (op->kind == OP_DOT && use->index < 2)
            out->dots = true;
        else if (!follows)
            out->others = true;
        for (int32_t i = 0; i < op->n_out && follows; i++)
            find_users(&op->out[i], out);
    }
}

/// What a copy ahead of time may need of the loop.
typedef struct Need {
    Plan *plan;
    uint8_t *seen;   ///< by Value.id: a bit per level
    bool *is_shadow; ///< [carried]
    OpList ahead;
    bool moves; ///< something differs from one iteration to the next
} Need;

enum { LEVEL_COPY, LEVEL_AHEAD, LEVEL_SHADOW };

static bool need(Need *n, const Value *v, int32_t level);

static bool need_inputs(Need *n, const Op *op, int32_t level)
{
    for (int32_t i = 0; i < op->n_in; i++)
        if (!need(n, op->in[i], level)) return false;
    return true;
}

static bool need_load(Need *n, Op *op, int32_t level)
{
    const Plan *p = n->plan;
    int64_t threads = (int64_t)32 << p->cx->log_warps;
    if (level == LEVEL_SHADOW || op_attr_i(op, ATTR_VOLATILE) || may_be_stored(p, op)) return false;
    if (op->out[0].type->numel > AHEAD_PER_THREAD * threads) return false;
    bool is_known = level != LEVEL_COPY;
    for (int32_t i = 0; i < n->ahead.len; i++)
        is_known |= n->ahead.data[i] == op;
    if (!is_known) vec_push(p->arena, &n->ahead, op);
    return need_inputs(n, op, LEVEL_AHEAD);
}

/// Can `v` be computed for a later iteration? Notes what that takes.
static bool need(Need *n, const Value *v, int32_t level)
{
    const Plan *p = n->plan;
    if (!is_inside(p, v)) return true;
    if (!v->def) {
        if (v->region != p->body) return false;
        n->moves = true;
        if (v->index == 0 || n->is_shadow[v->index - 1]) return true;
        n->is_shadow[v->index - 1] = true;
        return need(n, p->body->last->in[v->index - 1], LEVEL_SHADOW);
    }
    if (v->def->parent != p->body) return false;
    if (n->seen[v->id] >> level & 1) return true;
    n->seen[v->id] |= (uint8_t)(1 << level);
    OpKind k = v->def->kind;
    if (k == OP_LOAD) return need_load(n, v->def, level);
    bool is_cheap = is_movement(k) || k == OP_CONST || k == OP_ARANGE || k == OP_PROGRAM_ID ||
                    k == OP_NUM_PROGRAMS;
    return is_cheap && need_inputs(n, v->def, level);
}

/// Bytes of the runs with which the registers of `l` begin.
static int32_t run_bytes(const MemFacts *facts, const Layout *l, int32_t bytes)
{
    int32_t v = 0;
    while (v < facts->v_max && v < l->n_col[IN_REG] &&
           layout_cols(l, IN_REG)[v] == 1u << facts->chain[v])
        v++;
    return bytes << v;
}

/// Does it pay to copy `load` ahead of time, and by which threads? `beside_dots`: the loop waits
/// for copies anyway.
static bool pays(const Plan *p, Op *load, bool beside_dots, Stream *out)
{
    const Type *t = load->out[0].type;
    int32_t bytes = dtype_bytes(t->dtype);
    const MemFacts *facts = &op_note(load)->mem;
    if (t->kind != TYPE_TILE || op_attr_i(load, ATTR_VOLATILE) || !facts->anchor) return false;
    if (facts->still) return false; // most of what would be copied is there already
    Users users = {.steps = USERS_STEPS};
    find_users(&load->out[0], &users);
    *out = (Stream){.load = load, .feeds_dots = users.dots};
    out->dots_only = users.dots && !users.others;
    bool by_others = users.dots || beside_dots;
    out->threads = by_others ? anchor_copy(p->cx, p->affine, load) : facts->anchor;
    int32_t run = run_bytes(facts, out->threads, bytes);
    if (run < LEAST_BYTES) return false;
    if (by_others || op_attr_i(p->loop, ATTR_STAGES)) return true;
    return run == COPY_BYTES && t->numel * bytes >= (int64_t)COPY_BYTES * 32 << p->cx->log_warps;
}

static void add_stream(Plan *p, Op *load, bool beside_dots)
{
    Stream s;
    if (p->n_streams == MAX_LOADS || !pays(p, load, beside_dots, &s) || may_be_stored(p, load))
        return;
    int32_t n = p->n_carried;
    Need all = {.plan = p,
                .seen = arena_array(p->arena, uint8_t, p->n_values),
                .is_shadow = arena_array(p->arena, bool, n + 1)};
    memcpy(all.is_shadow, p->is_shadow, sizeof(bool) * (size_t)n);
    for (int32_t i = 0; i < p->ahead.len; i++)
        vec_push(p->arena, &all.ahead, p->ahead.data[i]);
    if (!need(&all, load->in[0], LEVEL_COPY)) return;
    if (load->n_in > 1 && !need(&all, load->in[1], LEVEL_COPY)) return;
    if (!all.moves) return;
    p->is_shadow = all.is_shadow;
    p->ahead = all.ahead;
    p->streams[p->n_streams++] = s;
}

static bool is_stream(const Plan *p, const Op *load)
{
    for (int32_t i = 0; i < p->n_streams; i++)
        if (p->streams[i].load == load) return true;
    return false;
}

static void find_streams(Plan *p)
{
    bool any_dots = false;
    EACH_OP(op, p->body)
        if (op->kind == OP_LOAD) add_stream(p, op, false);
    for (int32_t i = 0; i < p->n_streams; i++)
        any_dots |= p->streams[i].feeds_dots;
    EACH_OP(op, p->body)
        if (any_dots && op->kind == OP_LOAD && !is_stream(p, op)) add_stream(p, op, true);
}

/// Is `v` used for nothing but addresses and masks of what is copied ahead of time?
static bool is_address_only(const Plan *p, const Value *v, int32_t *steps)
{
    EACH_USE(use, v) {
        const Op *op = use->op;
        if (is_stream(p, op) && use->index < 2) continue;
        if (!is_movement(op->kind) || (*steps)-- <= 0) return false;
        for (int32_t i = 0; i < op->n_out; i++)
            if (!is_address_only(p, &op->out[i], steps)) return false;
    }
    return true;
}

static void find_chains(Plan *p)
{
    p->is_chain = arena_array(p->arena, bool, p->ahead.len + 1);
    for (int32_t i = 0; i < p->ahead.len; i++) {
        int32_t steps = USERS_STEPS;
        const Op *load = p->ahead.data[i];
        p->is_chain[i] = !is_stream(p, load) && !is_address_only(p, &load->out[0], &steps);
    }
}

/// Fewer stages where the buffers alone would not fit.
static bool fit_stages(Plan *p)
{
    int64_t total = 0;
    for (int32_t i = 0; i < p->n_streams; i++) {
        const Type *t = p->streams[i].load->out[0].type;
        total += round_up(t->numel * dtype_bytes(t->dtype), 16);
    }
    int32_t asked = p->stages, *left = &p->cx->stages_left;
    while (p->stages > 1 && total * p->stages > p->cx->sm->shared_bytes)
        p->stages--;
    if (p->stages < asked) *left = *left ? MIN(*left, p->stages) : p->stages;
    p->distance = p->stages - 1;
    return p->stages > 1;
}

// ---- other iterations -------------------------------------------------------------------------

static Value *multiple_of_step(const Plan *p, Builder *b, int32_t k)
{
    const Type *t = p->loop->in[2]->type;
    if (p->step) return build_const_int(b, t, k * p->step);
    return build_binary(b, ELEM_MUL, p->loop->in[2], build_const_int(b, t, k));
}

static Value *cast_int(Builder *b, Value *x, DType t)
{
    return build_cast(b, x, t, ROUND_RNE);
}

/// Does the loop go on for `k` iterations after the one at `i`, which it reaches? Exact: what is
/// left to the end is compared unsigned, so nothing wraps.
static Value *goes_on(const Plan *p, Builder *b, Value *i, int32_t k)
{
    Value *end = p->loop->in[1];
    Value *left =
        p->step < 0 ? build_binary(b, ELEM_SUB, i, end) : build_binary(b, ELEM_SUB, end, i);
    DType wide = dtype_bytes(left->type->dtype) == 4 ? DTYPE_U32 : DTYPE_U64;
    left = cast_int(b, left, wide);
    if (p->step) {
        int64_t by = k * (p->step < 0 ? -p->step : p->step);
        return build_binary(b, ELEM_GT, left, build_const_int(b, left->type, by));
    }
    left = cast_int(b, left, DTYPE_I64);
    Value *by = cast_int(b, p->loop->in[2], DTYPE_I64);
    by = build_binary(b, ELEM_MUL, by, build_const_int(b, by->type, k));
    return build_binary(b, ELEM_GT, left, by);
}

/// Does the loop run more than `k` iterations?
static Value *runs(const Plan *p, Builder *b, int32_t k)
{
    Value *begin = p->loop->in[0], *end = p->loop->in[1], *step = p->loop->in[2];
    Value *any = build_binary(b, p->step < 0 ? ELEM_GT : ELEM_LT, begin, end);
    if (!p->step) {
        Value *rises = build_binary(b, ELEM_GT, step, build_const_int(b, step->type, 0));
        any = build_binary(b, ELEM_AND, any, rises);
    }
    return k ? build_binary(b, ELEM_AND, any, goes_on(p, b, begin, k)) : any;
}

/// The iteration's index and range; its carried values are the caller's to fill in.
static Env env_new(const Plan *p, Builder *b, Value *from, int32_t k, Value *in_range)
{
    Env e = {arena_array(p->arena, Value *, p->n_values), in_range};
    e.map[p->body->args[0]->id] =
        k ? build_binary(b, ELEM_ADD, from, multiple_of_step(p, b, k)) : from;
    return e;
}

static Value *splat_like(Builder *b, Value *scalar, const Type *t)
{
    return t->rank ? build_splat(b, scalar, t->rank, t->shape) : scalar;
}

static Value *masked(Builder *b, const Env *e, Value *mask, const Type *t)
{
    Value *here = splat_like(b, e->in_range, t);
    return mask ? build_binary(b, ELEM_AND, here, mask) : here;
}

static Value *value_at(const Plan *p, Env *e, Builder *b, Value *v);

/// The load in another iteration, which the loop need not reach: masked by that.
static Op *load_at(const Plan *p, Env *e, Builder *b, const Op *op)
{
    const Type *type = op->out[0].type;
    Value *in[3] = {0};
    for (int32_t i = 0; i < op->n_in; i++)
        in[i] = value_at(p, e, b, op->in[i]);
    in[1] = masked(b, e, in[1], type);
    Op *load = op_new(p->cx->module, OP_LOAD, op->span, MAX(2, op->n_in), in, 1, &type, 0);
    memcpy(load->attrs, op->attrs, sizeof load->attrs);
    load->out[0].name = op->out[0].name;
    load->note = arena_new(p->cx->arena, OpNote);
    op_note(load)->mem = op_note(op)->mem;
    return load;
}

/// `v` of the loop's body in another iteration; ops are copied to `b`.
static Value *value_at(const Plan *p, Env *e, Builder *b, Value *v)
{
    if (!is_inside(p, v)) return v;
    if (e->map[v->id]) return e->map[v->id];
    Op *op = v->def, *copy;
    ASSERT(op);
    if (op->kind == OP_LOAD) {
        copy = load_at(p, e, b, op);
        e->map[v->id] = &copy->out[0];
    } else {
        for (int32_t i = 0; i < op->n_in; i++)
            value_at(p, e, b, op->in[i]);
        copy = op_clone(p->cx->module, op, e->map);
    }
    op_insert(copy, b->region, b->before);
    return e->map[v->id];
}

static bool is_zero(const Value *v)
{
    Attr a = {0};
    if (!value_const(v, &a)) return false;
    return dtype_is_float(v->type->dtype) ? a.f == 0 && 1 / a.f > 0 : a.i == 0;
}

static void emit_copy(const Plan *p, Env *e, Builder *b, const Stream *s, Value *stage)
{
    const Op *load = s->load;
    Value *ptr = value_at(p, e, b, load->in[0]);
    Value *mask = load->n_in > 1 ? value_at(p, e, b, load->in[1]) : NULL;
    Value *in[] = {s->buf, stage, ptr, masked(b, e, mask, ptr->type)};
    const Type *token = type_token(p->cx->module);
    b->span = load->span;
    Op *copy = build_op(b, OP_COPY_ASYNC, 4, in, 1, &token, 0);
    copy->note = arena_new(p->cx->arena, OpNote);
    op_note(copy)->mem = op_note(load)->mem;
    op_note(copy)->mem.anchor = s->threads;
}

static void emit_wait(Builder *b, int32_t pending)
{
    Op *wait = build_op(b, OP_WAIT, 0, NULL, 0, NULL, 0);
    op_attr(wait, ATTR_PENDING)->i = pending;
}

static Value *stage_const(Builder *b, int32_t k)
{
    return build_const_int(b, type_scalar(b->module, DTYPE_I32), k);
}

static Value *next_stage(const Plan *p, Builder *b, Value *at)
{
    Value *more = build_binary(b, ELEM_ADD, at, stage_const(b, 1));
    Value *is_end = build_binary(b, ELEM_EQ, more, stage_const(b, p->stages));
    return build_select(b, is_end, stage_const(b, 0), more);
}

// ---- before the loop --------------------------------------------------------------------------

/// Carried values as they are an iteration after `from`.
static void carry_on(const Plan *p, Env *from, Env *to, Builder *b)
{
    for (int32_t i = 0; i < p->n_carried; i++)
        if (p->is_shadow[i])
            to->map[p->body->args[i + 1]->id] = value_at(p, from, b, p->body->last->in[i]);
}

/// Buffers, the first copies, and what the new carried values start with.
static void emit_prologue(Plan *p, Value **initial)
{
    Builder b = build_before(p->cx->fn, p->loop);
    Env now = {0};
    Value **ahead = arena_array(p->arena, Value *, p->ahead.len * (p->distance + 1) + 1);
    b.span = p->loop->span;
    for (int32_t i = 0; i < p->n_streams; i++) {
        const Type *t = p->streams[i].load->out[0].type;
        const Type *type = type_buf(p->cx->module, t->dtype, t->rank, t->shape, p->stages, NULL);
        b.span = p->streams[i].load->span;
        p->streams[i].buf = &build_op(&b, OP_ALLOC, 0, NULL, 1, &type, 0)->out[0];
        p->streams[i].buf->name = p->streams[i].load->out[0].name;
    }
    for (int32_t k = 0; k <= p->distance; k++) {
        b.span = p->loop->span;
        Env next = env_new(p, &b, p->loop->in[0], k, runs(p, &b, k));
        if (k) carry_on(p, &now, &next, &b);
        for (int32_t i = 0; i < p->n_carried && !k; i++)
            next.map[p->body->args[i + 1]->id] = p->loop->in[i + 3];
        now = next;
        for (int32_t i = 0; i < p->n_streams && k < p->distance; i++)
            emit_copy(p, &now, &b, &p->streams[i], stage_const(&b, k));
        for (int32_t i = 0; i < p->ahead.len; i++)
            if (p->is_chain[i] || k == p->distance)
                ahead[i * (p->distance + 1) + k] = value_at(p, &now, &b, &p->ahead.data[i]->out[0]);
    }
    int32_t n = 0;
    ASSERT(now.map);
    b.span = p->loop->span;
    p->read_at = n, initial[n++] = stage_const(&b, 0);
    p->write_at = n, initial[n++] = stage_const(&b, p->distance);
    p->shadows_at = n;
    for (int32_t i = 0; i < p->n_carried; i++)
        if (p->is_shadow[i]) initial[n++] = now.map[p->body->args[i + 1]->id];
    p->ahead_at = n;
    for (int32_t i = 0; i < p->ahead.len * (p->distance + 1); i++)
        if (ahead[i]) initial[n++] = ahead[i];
    p->n_extra = n;
}

// ---- the loop ---------------------------------------------------------------------------------

/// Where the carried values of ahead[i] begin: of this iteration and each on the way, or only the
/// one that the copies of this iteration want.
static int32_t ahead_at(const Plan *p, int32_t i)
{
    int32_t at = p->ahead_at;
    for (int32_t k = 0; k < i; k++)
        at += p->is_chain[k] ? p->distance + 1 : 1;
    return at;
}

/// Copies at the head of the body, and what is carried on.
static void emit_steady(Plan *p, Value **args, Value **next)
{
    Builder b = build_before(p->cx->fn, p->body->first);
    Value *index = p->body->args[0];
    b.span = p->loop->span;
    emit_wait(&b, (p->distance - 1) * p->n_streams);
    Env there = env_new(p, &b, index, p->distance, goes_on(p, &b, index, p->distance));
    int32_t n = p->shadows_at;
    for (int32_t i = 0; n < p->ahead_at; i++)
        if (p->is_shadow[i]) there.map[p->body->args[i + 1]->id] = args[n++];
    for (int32_t i = 0; i < p->ahead.len; i++)
        there.map[p->ahead.data[i]->out[0].id] = args[ahead_at(p, i + 1) - 1];
    for (int32_t i = 0; i < p->n_streams; i++)
        emit_copy(p, &there, &b, &p->streams[i], args[p->write_at]);
    b.span = p->loop->span;
    next[p->read_at] = next_stage(p, &b, args[p->read_at]);
    next[p->write_at] = next_stage(p, &b, args[p->write_at]);
    if (p->n_extra == p->shadows_at) return;
    int32_t k = p->distance + 1;
    Env beyond = env_new(p, &b, index, k, goes_on(p, &b, index, k));
    carry_on(p, &there, &beyond, &b);
    n = p->shadows_at;
    for (int32_t i = 0; n < p->ahead_at; i++)
        if (p->is_shadow[i]) next[n++] = beyond.map[p->body->args[i + 1]->id];
    for (int32_t i = 0; i < p->ahead.len; i++) {
        int32_t at = ahead_at(p, i), last = ahead_at(p, i + 1) - 1;
        for (; at < last; at++)
            next[at] = args[at + 1];
        next[last] = value_at(p, &beyond, &b, &p->ahead.data[i]->out[0]);
    }
}

/// The op of the body that is, or holds, the first user of `load`; `load` itself when there is none.
/// Reading there keeps operands out of registers until they are wanted.
static Op *first_user(const Plan *p, Op *load)
{
    for (Op *op = load->next; op; op = op->next)
        EACH_USE(use, &load->out[0]) {
            const Op *user = use->op;
            while (user->parent != p->body)
                user = user->parent->owner;
            if (user == op) return op;
        }
    return load;
}

/// The load reads its stage of the buffer; masked-off elements, zero there, become `other`.
static void replace_load(const Plan *p, const Stream *s, Value *stage)
{
    Op *load = s->load;
    Builder b = build_before(p->cx->fn, first_user(p, load));
    const Type *type = load->out[0].type;
    b.span = load->span;
    Op *read = build_op(&b, OP_BUF_LOAD, 2, (Value *[]){s->buf, stage}, 1, &type, 0);
    read->note = arena_new(p->cx->arena, OpNote);
    op_note(read)->mem.anchor = s->dots_only ? NULL : op_note(load)->mem.anchor;
    Value *x = &read->out[0];
    if (load->n_in > 2 && !is_zero(load->in[2])) x = build_select(&b, load->in[1], x, load->in[2]);
    x->name = load->out[0].name;
    x->span = load->out[0].span;
    replace_uses(&load->out[0], x);
    op_erase(load);
}

static void rewrite(Plan *p)
{
    int32_t most = 2 + p->n_carried + p->ahead.len * (p->distance + 1);
    Value **initial = arena_array(p->arena, Value *, most),
          **next = arena_array(p->arena, Value *, most);
    emit_prologue(p, initial);
    p->loop = loop_carry_more(p->cx->module, p->loop, p->n_extra, initial);
    Value **args = p->body->args + p->body->n_args - p->n_extra;
    args[p->read_at]->name = "read", args[p->write_at]->name = "write";
    emit_steady(p, args, next);
    loop_yield_more(p->cx->module, p->body, p->n_extra, next);
    for (int32_t i = 0; i < p->n_streams; i++)
        replace_load(p, &p->streams[i], args[p->read_at]);
    for (int32_t i = 0; i < p->ahead.len; i++) {
        if (!p->is_chain[i]) continue;
        replace_uses(&p->ahead.data[i]->out[0], args[ahead_at(p, i)]);
        op_erase(p->ahead.data[i]);
    }
    Builder after = build_before(p->cx->fn, p->loop->next);
    after.span = p->loop->span;
    emit_wait(&after, 0);
}

// ---- all loops --------------------------------------------------------------------------------

/// @return the loop that stands for `op`
static Op *pipeline_loop(GpuCx *cx, const AffineCx *affine, Op *op)
{
    Plan p = {.cx = cx, .affine = affine, .arena = cx->arena, .loop = op, .body = op->regions[0]};
    p.n_carried = op->n_out;
    if (!plan_loop(&p)) return op;
    p.n_values = cx->module->n_values;
    p.is_shadow = arena_array(p.arena, bool, op->n_out + 1);
    find_streams(&p);
    if (!p.n_streams || !fit_stages(&p)) return op;
    find_chains(&p);
    rewrite(&p);
    cx->n_pipelined++;
    cx->stages_used = MAX(cx->stages_used, p.stages);
    return p.loop;
}

static void walk(GpuCx *cx, const AffineCx *affine, Region *r)
{
    for (Op *op = r->first; op; op = op->next) {
        if (op->kind == OP_FOR || op->kind == OP_WHILE || op->kind == OP_IF)
            for (int32_t i = 0; i < op->n_regions; i++)
                walk(cx, affine, op->regions[i]);
        if (op->kind == OP_FOR) op = pipeline_loop(cx, affine, op);
    }
}

KilnStatus pipeline_loops(GpuCx *cx, const AffineCx *affine)
{
    cx->n_pipelined = cx->stages_used = 0;
    if (!cx->sm->has_cp_async) return KILN_OK;
    walk(cx, affine, cx->fn->body);
    if (!cx->n_pipelined) return KILN_OK;
    // Prologues are full of constants, and the loops' own addresses are nobody's any more.
    PassCx tidy = {.module = cx->module, .diag = cx->diag};
    return passes_run(&tidy, cx->fn, "fold,cse,licm,dce");
}
