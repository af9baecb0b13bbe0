// compiler/gpu/barriers.c - the ops in front of which all threads of a block meet, as few as it takes.
//
//   wait            own copies have landed
//   --- barrier     others' too; and everybody has read the stage that is written next
//   copy   b[w]     w = r + 2 mod 3
//   load   b[r]     the barrier above came after the wait: none here
//   dot             registers
//
// One walk over the program keeps what was accessed since the last barrier. An op that writes what
// was read or written, or reads what was written, meets a barrier first; which clears the list.
// Loops go round until the list at their head stands still. Two accesses do not meet when
//
//   they lie in different places of shared memory,
//   they name stages of one buffer that differ: two constants, or two counters of one loop that
//   walk round the same ring some stages apart (a lap later the distance is one less), or
//   every element is touched by the same thread on both sides.
//
// A copy that is not waited for is on the list too, and no barrier takes it off.
//
// Global memory is ordered by the same walk: other threads of a block may hold the same address
// when a layout repeats elements or when a store and a load of one pointer use different layouts
// (tile-language.md 11.3 promises program order there).
//
// Source: layouts.md 7.7
#include "compiler/gpu/gpu.h"

typedef enum StageKind {
    STAGE_ANY,   ///< unknown, or no stages at all
    STAGE_CONST, ///< `at`
    STAGE_RING,  ///< (at + trips of `loop` so far) mod `n`, seen from its present iteration
} StageKind;

typedef struct Stage {
    StageKind kind;
    const Op *loop;
    int32_t at, n;
} Stage;

/// An access of shared memory since the last barrier.
typedef struct Access {
    int32_t begin, end; ///< bytes: all stages of a buffer
    const Op *buffer;   ///< NULL: an op's own scratch
    Stage stage;
    const Layout *layout; ///< of the threads, where each element has one; NULL: any thread
    bool is_write;
    bool in_flight; ///< a copy, not yet waited for
    int32_t age;    ///< copies issued after it: the fewest on any way here
} Access;

/// An access of global memory since the last barrier.
typedef struct Global {
    const Value *root;    ///< the pointer argument it comes from; NULL: unknown, meets everything
    const Layout *layout; ///< NULL: scalar
    bool is_store;
} Global;

typedef struct State {
    VEC(Access) shared;
    VEC(Global) global;
} State;

enum { WALK_STEPS = 1 << 21 }; // of loops in loops in loops ... each walked until it stands still

typedef struct Walk {
    Arena *arena;
    int32_t steps; ///< that are left; then every access gets a barrier
} Walk;

// ---- lists ------------------------------------------------------------------------------------

static bool same_stage(const Stage *a, const Stage *b)
{
    return a->kind == b->kind && a->loop == b->loop && a->at == b->at && a->n == b->n;
}

/// Adds `x`, or lowers the age of what stands there already. @return true: the list has changed
static bool add_shared(const Walk *w, State *s, Access x)
{
    for (int32_t i = 0; i < s->shared.len; i++) {
        Access *a = &s->shared.data[i];
        bool same = a->begin == x.begin && a->end == x.end && a->buffer == x.buffer &&
                    same_stage(&a->stage, &x.stage) && a->layout == x.layout &&
                    a->is_write == x.is_write && a->in_flight == x.in_flight;
        if (!same) continue;
        if (a->age <= x.age) return false;
        a->age = x.age;
        return true;
    }
    vec_push(w->arena, &s->shared, x);
    return true;
}

static bool add_global(const Walk *w, State *s, Global x)
{
    for (int32_t i = 0; i < s->global.len; i++) {
        const Global *a = &s->global.data[i];
        if (a->root == x.root && a->layout == x.layout && a->is_store == x.is_store) return false;
    }
    vec_push(w->arena, &s->global, x);
    return true;
}

static bool join(const Walk *w, State *into, const State *from)
{
    bool changed = false;
    for (int32_t i = 0; i < from->shared.len; i++)
        changed |= add_shared(w, into, from->shared.data[i]);
    for (int32_t i = 0; i < from->global.len; i++)
        changed |= add_global(w, into, from->global.data[i]);
    return changed;
}

static State copy_of(const Walk *w, const State *s)
{
    State c = {0};
    join(w, &c, s);
    return c;
}

static void after_barrier(State *s)
{
    int32_t n = 0;
    for (int32_t i = 0; i < s->shared.len; i++)
        if (s->shared.data[i].in_flight) s->shared.data[n++] = s->shared.data[i];
    s->shared.len = n;
    s->global.len = 0;
}

// ---- stages -----------------------------------------------------------------------------------

static bool is_int(const Value *v, int64_t wanted)
{
    int64_t x;
    return value_const_int(v, &x) && x == wanted;
}

/// Is `next` the step of `arg` round a ring of `n`: select(arg + 1 == n, 0, arg + 1)?
static bool steps_round(const Value *next, const Value *arg, int32_t n)
{
    const Op *select = next->def;
    if (!op_is_elem(select, ELEM_SELECT) || !is_int(select->in[1], 0)) return false;
    const Op *is_end = select->in[0]->def, *more = select->in[2]->def;
    return op_is_elem(more, ELEM_ADD) && more->in[0] == arg && is_int(more->in[1], 1) &&
           op_is_elem(is_end, ELEM_EQ) && is_end->in[0] == select->in[2] &&
           is_int(is_end->in[1], n);
}

static Stage stage_of(const Value *v, int32_t n)
{
    int64_t at;
    if (value_const_int(v, &at)) return (Stage){.kind = STAGE_CONST, .at = (int32_t)at, .n = n};
    const Op *loop = v->def ? NULL : v->region->owner;
    if (!loop || loop->kind != OP_FOR || v->index == 0) return (Stage){.n = n};
    if (!value_const_int(loop->in[v->index + 2], &at) || at < 0 || at >= n) return (Stage){.n = n};
    if (!steps_round(loop->regions[0]->last->in[v->index - 1], v, n)) return (Stage){.n = n};
    return (Stage){STAGE_RING, loop, (int32_t)at, n};
}

static bool stages_differ(const Stage *a, const Stage *b)
{
    return a->kind != STAGE_ANY && a->kind == b->kind && a->loop == b->loop && a->at != b->at;
}

/// What is said of stages at the head of `loop`, from outside: counters stand at their beginning.
static void enter_loop(State *s, const Op *loop)
{
    for (int32_t i = 0; i < s->shared.len; i++) {
        Stage *x = &s->shared.data[i].stage;
        if (x->kind == STAGE_CONST) x->kind = STAGE_RING, x->loop = loop;
    }
}

/// The same an iteration later: every counter is one further.
static void next_iteration(State *s, const Op *loop)
{
    for (int32_t i = 0; i < s->shared.len; i++) {
        Stage *x = &s->shared.data[i].stage;
        if (x->kind == STAGE_RING && x->loop == loop) x->at = (x->at + x->n - 1) % x->n;
    }
}

static void leave_loop(const Walk *w, State *s, const Op *loop)
{
    State before = *s;
    memset(&s->shared, 0, sizeof s->shared);
    for (int32_t i = 0; i < before.shared.len; i++) {
        Access x = before.shared.data[i];
        if (x.stage.kind == STAGE_RING && x.stage.loop == loop) x.stage = (Stage){.n = x.stage.n};
        add_shared(w, s, x);
    }
}

// ---- what ops touch ---------------------------------------------------------------------------

static bool meets_shared(const Access *a, const Access *b)
{
    if (!a->is_write && !b->is_write) return false;
    if (a->end <= b->begin || b->end <= a->begin) return false;
    if (a->buffer != b->buffer || !a->buffer) return true;
    return !stages_differ(&a->stage, &b->stage) && !(a->layout && a->layout == b->layout);
}

static Access access_of(const Op *alloc, const Op *op, const Layout *layout, bool is_write)
{
    const Scratch *x = &op_note(alloc)->scratch;
    return (Access){.begin = x->offset,
                    .end = x->offset + (int32_t)x->bytes,
                    .buffer = alloc,
                    .stage = stage_of(op->in[1], alloc->out[0].type->stages),
                    .layout = buffer_is_private(alloc) ? layout : NULL,
                    .is_write = is_write,
                    .in_flight = op->kind == OP_COPY_ASYNC};
}

static bool meets_any(const State *s, const Access *x)
{
    for (int32_t i = 0; i < s->shared.len; i++)
        if (meets_shared(&s->shared.data[i], x)) return true;
    return false;
}

static bool meets_global(const Global *a, const Global *b)
{
    if (!a->is_store && !b->is_store) return false;
    if (a->root && b->root && a->root != b->root) return false;
    // One thread of its own for each element on both sides: program order holds by itself.
    return !a->layout || a->layout != b->layout || layout_repeats(a->layout);
}

static void touch_global(const Walk *w, State *s, Op *op)
{
    const Value *ptr = op->in[pointer_operand(op)];
    bool is_atomic = op->kind == OP_ATOMIC_RMW || op->kind == OP_ATOMIC_CAS;
    bool orders = is_atomic && op_attr_i(op, ATTR_SEM) != SEM_RELAXED;
    Global mine = {orders ? NULL : pointer_root(ptr), ptr->type->layout,
                   op->kind == OP_STORE || is_atomic};
    bool meets = orders && s->global.len > 0;
    for (int32_t i = 0; i < s->global.len; i++)
        meets |= meets_global(&s->global.data[i], &mine);
    op_note(op)->global_barrier = meets;
    if (meets) after_barrier(s);
    if (orders) mine.layout = NULL;
    add_global(w, s, mine);
}

/// An access of a buffer, behind a barrier where it meets another.
static void touch_buffer(const Walk *w, State *s, Op *op)
{
    const Value *data = op->kind == OP_BUF_LOAD ? &op->out[0] : op->in[2];
    Access x = access_of(op->in[0]->def, op, data->type->layout, op->kind != OP_BUF_LOAD);
    op_note(op)->scratch.needs_barrier = meets_any(s, &x);
    if (op_note(op)->scratch.needs_barrier) after_barrier(s);
    if (op->kind == OP_COPY_ASYNC)
        for (int32_t i = 0; i < s->shared.len; i++)
            s->shared.data[i].age += s->shared.data[i].in_flight;
    add_shared(w, s, x);
}

/// Own copies land, but for the `pending` youngest.
static void land(const Walk *w, State *s, int64_t pending)
{
    State before = *s;
    memset(&s->shared, 0, sizeof s->shared);
    for (int32_t i = 0; i < before.shared.len; i++) {
        Access x = before.shared.data[i];
        if (x.in_flight && x.age >= pending) x.in_flight = false, x.age = 0;
        add_shared(w, s, x);
    }
}

/// Writes, meets the others, reads.
static void touch_scratch(const Walk *w, State *s, Op *op)
{
    Scratch *own = &op_note(op)->scratch;
    Access x = {.begin = own->offset, .end = own->offset + (int32_t)own->bytes, .is_write = true};
    own->needs_barrier = meets_any(s, &x);
    after_barrier(s);
    x.is_write = false;
    add_shared(w, s, x);
}

// ---- the walk ---------------------------------------------------------------------------------

static void walk_region(Walk *w, State *s, Region *r);

static void walk_loop(Walk *w, State *s, Op *op)
{
    State head = copy_of(w, s);
    if (op->kind == OP_FOR) enter_loop(&head, op);
    for (bool changed = true; changed && w->steps > 0;) {
        State now = copy_of(w, &head);
        walk_region(w, &now, op->regions[0]);
        *s = copy_of(w, op->kind == OP_FOR ? &head : &now); // the way out
        if (op->kind == OP_WHILE) walk_region(w, &now, op->regions[1]);
        next_iteration(&now, op);
        changed = join(w, &head, &now);
    }
    leave_loop(w, s, op);
}

static void walk_op(Walk *w, State *s, Op *op)
{
    switch (op->kind) {
    case OP_FOR:
    case OP_WHILE:
        walk_loop(w, s, op);
        return;
    case OP_IF: {
        State other = copy_of(w, s);
        walk_region(w, s, op->regions[0]);
        walk_region(w, &other, op->regions[1]);
        join(w, s, &other);
        return;
    }
    case OP_BARRIER:
        after_barrier(s);
        return;
    case OP_WAIT:
        land(w, s, op_attr_i(op, ATTR_PENDING));
        return;
    case OP_COPY_ASYNC:
    case OP_BUF_LOAD:
    case OP_BUF_STORE:
        if (op->kind == OP_COPY_ASYNC) touch_global(w, s, op);
        touch_buffer(w, s, op);
        return;
    default:
        break;
    }
    if (pointer_operand(op) >= 0) touch_global(w, s, op);
    if (op->kind != OP_ALLOC && op_note(op) && op_note(op)->scratch.bytes) touch_scratch(w, s, op);
}

static void walk_region(Walk *w, State *s, Region *r)
{
    EACH_OP(op, r)
        if (w->steps-- > 0) walk_op(w, s, op);
}

/// What needs no proof.
static void order_always(Op *op, void *user)
{
    OpNote *note = op_note(op);
    (void)user;
    if (!note) return;
    bool is_buffer =
        op->kind == OP_COPY_ASYNC || op->kind == OP_BUF_LOAD || op->kind == OP_BUF_STORE;
    note->scratch.needs_barrier = is_buffer || (note->scratch.bytes && op->kind != OP_ALLOC);
    note->global_barrier = pointer_operand(op) >= 0;
}

static void count(Op *op, void *user)
{
    GpuCx *cx = user;
    OpNote *note = op_note(op);
    if (!note || (!note->scratch.needs_barrier && !note->global_barrier)) return;
    if (++cx->n_barriers == cx->left_out)
        note->scratch.needs_barrier = note->global_barrier = false;
}

void barriers_place(GpuCx *cx)
{
    Walk w = {cx->arena, WALK_STEPS};
    State s = {0};
    walk_region(&w, &s, cx->fn->body);
    if (w.steps <= 0) region_walk(cx->fn->body, order_always, NULL);
    cx->n_barriers = 0;
    region_walk(cx->fn->body, count, cx);
}
