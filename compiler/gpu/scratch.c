// compiler/gpu/scratch.c - shared memory of conversions, reductions and dots: sizes, places,
// barriers.
//
//   op k      write A | barrier | read A        region 0
//   op k+1    write B | barrier | read B        region 1: the barrier inside it also ends the reads
//   of A op k+2    write A ...                       so no barrier is needed in front
//
// A barrier goes in front of an op only where reads of its own region may still be pending, which a
// walk over the regions of the program finds (loops twice: the back edge is a path too). The same
// walk orders global memory: other threads of a block may hold the same address when a layout
// repeats elements or when a store and a load of one pointer use different layouts
// (tile-language.md 11.3 promises program order there).
//
// Source: layouts.md 7.7, 7.8, in their first form
#include "compiler/gpu/gpu.h"

typedef struct Access {
    const Value *root;    ///< the pointer argument it comes from; NULL: unknown, meets everything
    const Layout *layout; ///< NULL: scalar
    bool is_store;
} Access;

typedef struct State {
    uint32_t pending;     ///< regions with reads since the last barrier
    VEC(Access) accesses; ///< of global memory since the last barrier
} State;

typedef struct Walk {
    GpuCx *cx;
    int32_t n_items;
    bool single;
    int64_t size[2];
} Walk;

// ---- sizes ------------------------------------------------------------------------------------

static int64_t bytes_of(const Type *t)
{
    ASSERT(t);
    return t->numel * (t->is_ptr ? 8 : dtype_bytes(t->dtype));
}

/// Low-precision sums are held in f32 on the way.
static int64_t reduce_bytes(const GpuCx *cx, const Op *op)
{
    const Layout *l = op->in[0]->type->layout;
    int32_t low, width, warps = 0;
    layout_field(l, (int32_t)op_attr_i(op, ATTR_AXIS), &low, &width);
    uint32_t axis = ((1u << width) - 1) << low;
    for (int32_t i = 0; i < l->n_col[IN_WARP]; i++)
        warps += (layout_cols(l, IN_WARP)[i] & axis) != 0;
    if (!warps) return 0;
    int64_t kept = op->in[0]->type->numel >> width, total = 0;
    for (int32_t i = 0; i < MAX(op->n_in, op->n_out); i++)
        total += round_up((kept << warps) * 8, 16);
    (void)cx;
    return total;
}

static bool repeats(const Layout *l)
{
    return layout_free(l, IN_LANE) || layout_free(l, IN_WARP);
}

int64_t scratch_bytes(const GpuCx *cx, const Op *op)
{
    const Type *in = op->n_in ? op->in[0]->type : NULL, *out = op->n_out ? op->out[0].type : NULL;
    switch (op->kind) {
    case OP_CONVERT: {
        ASSERT(in && out);
        ConvertPlan p = convert_classify(in->layout, out->layout);
        return p.kind == CONVERT_SHARED ? bytes_of(in) : 0;
    }
    case OP_REDUCE:
    case OP_SCAN:
        return reduce_bytes(cx, op);
    case OP_DOT:
        return round_up(bytes_of(in), 16) + bytes_of(op->in[1]->type);
    case OP_GATHER:
    case OP_FLIP:
    case OP_SORT:
        return bytes_of(in);
    case OP_HISTOGRAM:
        return bytes_of(out);
    case OP_ATOMIC_RMW:
    case OP_ATOMIC_CAS:
        if (!op->out[0].uses) return 0;
        ASSERT(out);
        if (out->kind != TYPE_TILE) return 16;
        return repeats(out->layout) ? bytes_of(out) : 0;
    default:
        return 0;
    }
}

// ---- order ------------------------------------------------------------------------------------

static const Value *root_of(const Value *v)
{
    for (int32_t steps = 0; steps < 256; steps++) {
        if (!v->def) {
            Op *owner = v->region->owner;
            if (!owner) return v; // an argument of the kernel
            if (owner->kind != OP_FOR || v->index == 0) return NULL;
            v = owner->in[v->index + 2];
            continue;
        }
        switch (v->def->kind) {
        case OP_ADDPTR:
        case OP_SPLAT:
        case OP_BROADCAST:
        case OP_EXPAND_DIMS:
        case OP_RESHAPE:
        case OP_TRANS:
        case OP_HINT:
        case OP_CONVERT:
            v = v->def->in[0];
            break;
        default:
            return NULL;
        }
    }
    return NULL;
}

static bool may_meet(const Access *a, const Access *b)
{
    if (!a->is_store && !b->is_store) return false;
    if (a->root && b->root && a->root != b->root) return false;
    // One thread of its own for each element on both sides: program order holds by itself.
    return !a->layout || a->layout != b->layout || repeats(a->layout);
}

static void after_barrier(State *s)
{
    s->pending = 0;
    s->accesses.len = 0;
}

static void touch_global(const Walk *w, State *s, Op *op)
{
    const Type *t = op->in[0]->type;
    bool is_atomic = op->kind == OP_ATOMIC_RMW || op->kind == OP_ATOMIC_CAS;
    bool orders = is_atomic && op_attr_i(op, ATTR_SEM) != SEM_RELAXED;
    Access mine = {orders ? NULL : root_of(op->in[0]), t->layout, op->kind != OP_LOAD};
    bool meets = orders && s->accesses.len > 0;
    for (int32_t i = 0; i < s->accesses.len; i++)
        meets |= may_meet(&s->accesses.data[i], &mine);
    if (meets) {
        op_note(op)->global_barrier = true;
        after_barrier(s);
    }
    if (orders) mine.layout = NULL;
    for (int32_t i = 0; i < s->accesses.len; i++) {
        const Access *a = &s->accesses.data[i];
        if (a->root == mine.root && a->layout == mine.layout && a->is_store == mine.is_store)
            return;
    }
    vec_push(w->cx->arena, &s->accesses, mine);
}

static void walk_region(Walk *w, State *s, Region *r);

static void join(const Walk *w, State *into, const State *from)
{
    into->pending |= from->pending;
    for (int32_t i = 0; i < from->accesses.len; i++)
        vec_push(w->cx->arena, &into->accesses, from->accesses.data[i]);
}

static State copy_of(const Walk *w, const State *s)
{
    State c = {.pending = s->pending};
    join(w, &c, s);
    return c;
}

static void walk_control(Walk *w, State *s, Op *op)
{
    if (op->kind == OP_IF) {
        State other = copy_of(w, s);
        walk_region(w, s, op->regions[0]);
        walk_region(w, &other, op->regions[1]);
        join(w, s, &other);
        return;
    }
    State entry = copy_of(w, s);
    for (int32_t round = 0; round < 2; round++) {
        for (int32_t i = 0; i < op->n_regions; i++)
            walk_region(w, s, op->regions[i]);
        join(w, s, &entry);
    }
}

static void walk_op(Walk *w, State *s, Op *op)
{
    OpNote *note = op_note(op);
    if (op->kind == OP_FOR || op->kind == OP_WHILE || op->kind == OP_IF) {
        walk_control(w, s, op);
        return;
    }
    if (op->kind == OP_BARRIER) after_barrier(s);
    if (op->kind == OP_LOAD || op->kind == OP_STORE || op->kind == OP_ATOMIC_RMW ||
        op->kind == OP_ATOMIC_CAS)
        touch_global(w, s, op);
    if (!note || !note->scratch.bytes) return;
    if (s->pending >> note->scratch.region & 1) note->scratch.needs_barrier = true;
    after_barrier(s);
    s->pending = 1u << note->scratch.region;
}

static void walk_region(Walk *w, State *s, Region *r)
{
    EACH_OP(op, r)
        walk_op(w, s, op);
}

// ---- places -----------------------------------------------------------------------------------

static void measure(Op *op, void *user)
{
    Walk *w = user;
    if (!op->note) op->note = arena_new(w->cx->arena, OpNote);
    Scratch *x = &op_note(op)->scratch;
    *x = (Scratch){.bytes = scratch_bytes(w->cx, op)};
    if (!x->bytes) return;
    x->region = w->single ? 0 : w->n_items++ & 1;
    w->size[x->region] = MAX(w->size[x->region], round_up(x->bytes, 16));
}

static void place(Op *op, void *user)
{
    Walk *w = user;
    Scratch *x = &op_note(op)->scratch;
    x->offset = x->region ? (int32_t)w->size[0] : 0;
}

typedef struct Largest {
    const Op *op;
} Largest;

static void find_largest(Op *op, void *user)
{
    Largest *l = user;
    if (!l->op || op_note(op)->scratch.bytes > op_note(l->op)->scratch.bytes) l->op = op;
}

KilnStatus scratch_assign(GpuCx *cx)
{
    Walk w = {.cx = cx};
    region_walk(cx->fn->body, measure, &w);
    if (w.size[0] + w.size[1] > cx->sm->shared_bytes) {
        w = (Walk){.cx = cx, .single = true};
        region_walk(cx->fn->body, measure, &w);
    }
    int64_t total = w.size[0] + w.size[1];
    if (total > cx->sm->shared_bytes) {
        Largest l = {0};
        region_walk(cx->fn->body, find_largest, &l);
        DiagItem *item =
            diag_add(cx->diag, DIAG_ERROR, "E0904", l.op->span,
                     "kernel needs %lld bytes of shared memory, sm_%d%s has %d", (long long)total,
                     cx->sm->sm, cx->sm->a ? "a" : "", cx->sm->shared_bytes);
        diag_help(cx->diag, item, "use smaller tiles; this operation alone takes %lld bytes",
                  (long long)op_note(l.op)->scratch.bytes);
        return KILN_ERR_LIMIT;
    }
    region_walk(cx->fn->body, place, &w);
    State s = {0};
    walk_region(&w, &s, cx->fn->body);
    cx->shared_bytes = (int32_t)total;
    return KILN_OK;
}
