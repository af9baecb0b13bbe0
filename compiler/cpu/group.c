// compiler/cpu/group.c - roots that share one loop nest.
//
//   store(y, x * s); t = sum(x)            for c:  v = load x      once
//                                    ==>           store v * s
//                                                  acc += v
//
// A root waits in the pending group until something needs its result or the order of memory accesses.
// It joins when its space is the group's and nothing in it depends on a result of the group. In each
// iteration all values are evaluated before anything is written.
#include "compiler/cpu/cpu.h"

enum { GROUP_MAX = 30 };

/// A load that a root evaluates; in place: at the root's own position.
typedef struct Load {
    const Value *pointer;
    bool in_place;
} Load;

struct Group {
    int32_t n;
    Root roots[GROUP_MAX];
    const Type *space;
    int32_t axis;        ///< that reductions remove, or -1
    int32_t first_store; ///< position of the first store, or INT32_MAX
    VEC(Load) loads;
};

Group *group_new(Arena *a)
{
    return arena_new(a, Group);
}

static int32_t position(const Op *op)
{
    return (int32_t)(intptr_t)op->note;
}

static const Type *root_space(const Root *r)
{
    switch (r->kind) {
    case ROOT_STORE:
        return r->op->in[0]->type;
    case ROOT_REDUCE:
        return r->op->in[0]->type;
    default:
        return r->value->type;
    }
}

/// Where the root stands: a store or reduction, or what computes a value that is written to memory of ours.
static const Op *root_op(const Root *r)
{
    return r->kind == ROOT_WRITE ? r->value->def : r->op;
}

// ---- dependences --------------------------------------------------------------------------------------

/// A walk over what `v` is computed from.
typedef struct Walk {
    const Group *group;
    VEC(const Value *) seen;
    bool blocks;         ///< a result of the group is needed elsewhere than at the same position
    int32_t latest_load; ///< position
    VEC(Load) loads;
} Walk;

static bool keeps_position(const Op *op)
{
    switch (op->kind) {
    case OP_ELEM:
    case OP_CAST:
    case OP_BITCAST:
    case OP_ADDPTR:
    case OP_LOAD:
    case OP_HINT:
    case OP_RESHAPE:
    case OP_EXPAND_DIMS:
        return true;
    default:
        return false;
    }
}

static void walk(Cx *cx, Walk *w, const Value *v, bool in_place)
{
    for (int32_t i = 0; i < w->group->n; i++) {
        const Root *r = &w->group->roots[i];
        if (r->kind == ROOT_WRITE && r->is_keep && r->value == v && !in_place) w->blocks = true;
        if (r->kind == ROOT_REDUCE && v->def == r->op) w->blocks = true;
    }
    const Info *info = info_of(cx, v);
    if (w->blocks || info->mode == MODE_SCALAR) return;
    if (info->mode == MODE_HELD && (info->is_ready || !info->is_keep)) return;
    for (int32_t i = 0; i < w->seen.len; i++)
        if (w->seen.data[i] == v && in_place)
            return; // seen out of place is walked again: rare and short
    if (in_place) vec_push(cx->arena, &w->seen, v);
    if (info->mode == MODE_DELTA) {
        walk(cx, w, info->base, in_place);
        return;
    }
    if (!v->def) return;
    if (v->def->kind == OP_LOAD) {
        w->latest_load = MAX(w->latest_load, position(v->def));
        vec_push(cx->arena, &w->loads, (Load){v->def->in[0], in_place});
    }
    for (int32_t i = 0; i < v->def->n_in; i++)
        walk(cx, w, v->def->in[i], in_place && keeps_position(v->def));
}

bool group_blocks(Cx *cx, Value *v)
{
    if (!cx->group || !cx->group->n) return false;
    for (int32_t i = 0; i < cx->group->n; i++)
        if (v->def && cx->group->roots[i].kind == ROOT_REDUCE && cx->group->roots[i].op == v->def)
            return true;
    Walk w = {.group = cx->group};
    walk(cx, &w, v, v->type->kind == TYPE_TILE);
    return w.blocks;
}

bool group_has_stores(const Cx *cx)
{
    return cx->group->n && cx->group->first_store != INT32_MAX;
}

static Reading reads(Cx *cx, const Value *v, const Value *what, bool in_place, int32_t *budget)
{
    if (v == what) return in_place ? READS_IN_PLACE : READS_ANYWHERE;
    const Info *info = info_of(cx, v);
    if (--*budget < 0) return READS_ANYWHERE;
    if (info->mode == MODE_SCALAR || info->is_address || // an address hangs on no memory of ours
        (info->mode == MODE_HELD && (info->is_ready || !info->is_keep)))
        return READS_NOT;
    if (info->mode == MODE_DELTA) return reads(cx, info->base, what, in_place, budget);
    Reading r = READS_NOT;
    for (int32_t i = 0; v->def && i < v->def->n_in; i++)
        r = MAX(r, reads(cx, v->def->in[i], what, in_place && keeps_position(v->def), budget));
    return r;
}

Reading value_reads(Cx *cx, const Value *v, const Value *what)
{
    int32_t budget = 2000; // a walk over shared operands may be long: past this, the safe answer
    return reads(cx, v, what, true, &budget);
}

/// Will a store of the cluster that begins with `op` change what the group loads? Then the group ends before it, so that
/// the cluster stays together.
static bool cluster_conflicts(Cx *cx, const Group *g, const Op *op)
{
    for (int32_t k = 0; k < cx->stores.len; k++) {
        const Op *s = cx->stores.data[k];
        if (cx->cluster[position(s)] != cx->cluster[position(op)]) continue;
        for (int32_t i = 0; i < g->loads.len; i++)
            if (pointers_conflict(cx, g->loads.data[i].pointer, s->in[0],
                                  g->loads.data[i].in_place))
                return true;
    }
    return false;
}

/// Would a store of one root change what a load of the other reads elsewhere?
static bool stores_conflict(Cx *cx, const Group *g, const Root *r, const Walk *w)
{
    if (r->kind == ROOT_STORE)
        for (int32_t i = 0; i < g->loads.len; i++)
            if (pointers_conflict(cx, g->loads.data[i].pointer, r->op->in[0],
                                  g->loads.data[i].in_place))
                return true;
    for (int32_t k = 0; k < g->n; k++) {
        if (g->roots[k].kind == ROOT_STORE) {
            const Value *to = g->roots[k].op->in[0];
            if (r->kind == ROOT_STORE && pointers_conflict(cx, r->op->in[0], to, true)) return true;
            for (int32_t i = 0; i < w->loads.len; i++)
                if (pointers_conflict(cx, w->loads.data[i].pointer, to, w->loads.data[i].in_place))
                    return true;
        }
    }
    return false;
}

static bool can_join(Cx *cx, const Group *g, const Root *r, const Walk *w)
{
    if (!g->n) return true;
    if (r->kind == ROOT_STORE && g->first_store < cx->cluster[position(r->op)])
        return false; // plan.c tells clusters apart
    if (g->n == GROUP_MAX || !type_same_shape(g->space, root_space(r))) return false;
    if (r->kind == ROOT_REDUCE && g->axis >= 0 && g->axis != op_attr_i(r->op, ATTR_AXIS))
        return false;
    // a load that comes after a store of the group must see it
    return !w->blocks && w->latest_load < g->first_store && !stores_conflict(cx, g, r, w);
}

static Walk root_walk(Cx *cx, const Root *r)
{
    Walk w = {.group = cx->group, .latest_load = -1};
    if (r->kind == ROOT_WRITE) walk(cx, &w, r->value, true);
    for (int32_t i = 0; r->kind != ROOT_WRITE && i < r->op->n_in; i++)
        walk(cx, &w, r->op->in[i], true);
    return w;
}

void group_add(Cx *cx, Root root)
{
    Group *g = cx->group;
    Walk w = root_walk(cx, &root);
    if (g->n == GROUP_MAX && group_has_stores(cx)) // plan.c counts on these stores to stay together
        cpu_error(cx, KILN_ERR_LIMIT, "E0904", root.op ? root.op->span : root.value->span,
                  "more than %d stores and kept tiles in a row on the CPU target", GROUP_MAX);
    bool leads = root.kind == ROOT_STORE && g->first_store == INT32_MAX;
    if (!can_join(cx, g, &root, &w) || (g->n && leads && cluster_conflicts(cx, g, root.op))) {
        group_flush(cx);
        w = root_walk(cx, &root); // kept tiles are in memory now
    }
    if (!g->n) *g = (Group){.space = root_space(&root), .axis = -1, .first_store = INT32_MAX};
    if (root.kind == ROOT_REDUCE) g->axis = (int32_t)op_attr_i(root.op, ATTR_AXIS);
    if (root.kind == ROOT_STORE && g->first_store == INT32_MAX) g->first_store = position(root.op);
    g->roots[g->n++] = root;
    for (int32_t i = 0; i < w.loads.len; i++)
        vec_push(cx->arena, &g->loads, w.loads.data[i]);
}

void value_keep(Cx *cx, Value *v)
{
    Info *info = info_of(cx, v);
    info->mode = MODE_HELD;
    info->is_keep = true;
    if (!info->held.base) info->held = held_new(cx, v->type);
    group_add(cx, (Root){.kind = ROOT_WRITE,
                         .value = v,
                         .to = info->held,
                         .elem = v->type->element,
                         .is_keep = true});
}

// ---- emission -----------------------------------------------------------------------------------------

enum { ROOT_MAX_INPUTS = 8 };

typedef struct Emission {
    Group *g;
    Reduction *reductions[GROUP_MAX];
    Prefetch prefetch;
    bool past_caches;
} Emission;

static void begin(Cx *cx, void *user, const Chunk *c)
{
    Emission *e = user;
    (void)c;
    for (int32_t i = 0; i < e->g->n; i++)
        if (e->reductions[i]) reduction_begin(cx, e->reductions[i]);
}

static void end(Cx *cx, void *user, const Chunk *c)
{
    Emission *e = user;
    for (int32_t i = 0; i < e->g->n; i++)
        if (e->reductions[i]) reduction_end(cx, e->reductions[i], c);
}

static void write_store(Cx *cx, LLVMValueRef value, LLVMValueRef mask, Place *p, bool past_caches)
{
    if (mask && is_zero(mask)) return;
    at_depth(cx, cx->depth);
    p->is_past_caches = past_caches;
    place_store(cx, p, value, mask && !is_all_ones(mask) ? mask : NULL);
}

static void body(Cx *cx, void *user, const Chunk *c)
{
    Emission *e = user;
    Group *g = e->g;
    LLVMValueRef values[GROUP_MAX][ROOT_MAX_INPUTS];
    Place places[GROUP_MAX];
    prefetch_emit(cx, &e->prefetch, c);
    for (int32_t i = 0; i < g->n; i++) { // everything is evaluated, then everything is written
        Root *r = &g->roots[i];
        if (r->kind == ROOT_WRITE) {
            values[i][0] = eval_here(cx, r->value, c);
            if (!r->elem->is_ptr)
                values[i][0] =
                    cast_emit(cx, r->value->type->dtype, r->elem->dtype, ROUND_RNE, values[i][0]);
            depth_moved(cx, cx->depth);
            const Type *t = type_with_element(cx->fn->module, r->value->type, r->elem);
            places[i] = place_of_held(cx, &r->to, t, c);
            continue;
        }
        int32_t first = r->kind == ROOT_STORE;
        for (int32_t k = first; k < r->op->n_in; k++)
            values[i][k - first] = eval_here(cx, r->op->in[k], c);
        if (r->kind == ROOT_STORE) places[i] = place_of_pointer(cx, r->op->in[0], c);
    }
    for (int32_t i = 0; i < g->n; i++) {
        Root *r = &g->roots[i];
        at_depth(cx, cx->depth);
        if (r->kind == ROOT_WRITE)
            place_store(cx, &places[i], values[i][0], NULL);
        else if (r->kind == ROOT_STORE)
            write_store(cx, values[i][0], r->op->n_in > 2 ? values[i][1] : NULL, &places[i],
                        e->past_caches);
        else
            reduction_step(cx, e->reductions[i], values[i], c);
        depth_moved(cx, cx->depth);
    }
}

/// Rows of a reduction along columns that are walked together: each column chunk of what the rows share is then
/// read once, and their accumulators are independent.
static uint32_t row_block(Cx *cx, const Group *g, const Cone *cone, int32_t *log_w)
{
    if (g->axis < 0 || cone->cost > 14) return 0;
    int32_t low, width;
    affine_axis_bits(g->space, g->axis, &low, &width);
    if (low || width <= *log_w || width >= log_numel(g->space)) return 0;
    int32_t rows = MIN(2, log_numel(g->space) - width);
    int32_t bytes = cone->lane_bytes ? cone->lane_bytes : 4;
    while (*log_w > 1 &&
           (bytes << *log_w) > cx->isa->vector_bytes * (cx->isa->n_registers / 2 >> rows))
        --*log_w;
    return ((1u << rows) - 1) << width;
}

static bool may_stream(Cx *cx, const Group *g)
{
    for (int32_t i = 0; i < g->n; i++)
        if (!store_may_stream(cx, g->roots[i].op)) return false;
    return true;
}

/// The loops with stores past the caches, and with ordinary ones for launches that are small (stream.c).
static void emit_both_ways(Cx *cx, Nest *n, Emission *e)
{
    LLVMValueRef streams = NULL;
    for (int32_t i = 0; i < e->g->n; i++) {
        LLVMValueRef one = store_streams(cx, e->g->roots[i].op);
        streams = streams ? LLVMBuildAnd(cx->b, streams, one, "") : one;
    }
    LLVMBasicBlockRef ways[2], ends[2];
    cx->needs_fence = true;
    for (int32_t k = 0; k < 2; k++)
        ways[k] = LLVMAppendBasicBlockInContext(cx->c, cx->function, "");
    at_depth(cx, 0);
    LLVMBuildCondBr(cx->b, streams, ways[1], ways[0]);
    for (int32_t k = 0; k < 2; k++) {
        memo_drop(cx, 0);
        cx->at[0] = ways[k];
        e->past_caches = k == 1;
        nest_emit(cx, n);
        at_depth(cx, 0);
        ends[k] = cx->at[0];
    }
    cx->at[0] = LLVMAppendBasicBlockInContext(cx->c, cx->function, "");
    for (int32_t k = 0; k < 2; k++) {
        LLVMPositionBuilderAtEnd(cx->b, ends[k]);
        LLVMBuildBr(cx->b, cx->at[0]);
    }
    at_depth(cx, 0);
}

static void emit_group(Cx *cx, Group *g)
{
    Cone cone = {0};
    uint32_t stores = 0;
    bool writes_small = false;
    for (int32_t i = 0; i < g->n; i++) {
        Root *r = &g->roots[i];
        if (r->kind == ROOT_STORE) {
            stores |= 1u << i;
            cone_add_access(cx, &cone, r->op->in[0], NULL, 2);
            cone_add(cx, &cone, r->op->in[1], NULL, 0);
            if (r->op->n_in > 2) cone_add(cx, &cone, r->op->in[2], NULL, 1u << i);
        } else if (r->kind == ROOT_WRITE) {
            cone_add(cx, &cone, r->value, NULL, 0);
            writes_small |= r->to.is_small;
        } else {
            for (int32_t k = 0; k < r->op->n_in; k++)
                cone_add(cx, &cone, r->op->in[k], NULL, 0);
        }
    }
    int32_t log_w = cone_width(cx, &cone, g->space), low = 0, width = 0;
    uint32_t rows = row_block(cx, g, &cone, &log_w);
    if (g->axis >= 0) affine_axis_bits(g->space, g->axis, &low, &width);
    Emission e = {.g = g};
    Nest n = {.begin = begin, .body = body, .end = end, .user = &e};
    nest_plan(cx, &n, g->space, &cone, log_w, ((1u << width) - 1) << low, rows,
              g->n == 1 && g->roots[0].kind == ROOT_WRITE);
    nest_unroll(&n, writes_small || cone.reads_small ? 8 : 1);
    bool only_stores = stores == (1u << g->n) - 1;
    n.stores = only_stores ? stores : 0;
    for (int32_t i = 0; i < g->n; i++)
        if (g->roots[i].kind == ROOT_REDUCE)
            e.reductions[i] = reduction_new(cx, g->roots[i].op, &n, rows);
    e.prefetch = prefetch_plan(cx, root_op(&g->roots[0]), g->space, &cone, stores != 0);
    if (only_stores && n.n_dims && may_stream(cx, g))
        emit_both_ways(cx, &n, &e);
    else
        nest_emit(cx, &n);
}

void group_flush(Cx *cx)
{
    Group *g = cx->group;
    if (!g->n) return;
    at_depth(cx, 0);
    emit_group(cx, g);
    for (int32_t i = 0; i < g->n; i++)
        if (g->roots[i].kind == ROOT_STORE)
            cx->last_write = MAX(cx->last_write, position(g->roots[i].op));
    for (int32_t i = 0; i < g->n; i++)
        if (g->roots[i].is_keep) info_of(cx, g->roots[i].value)->is_ready = true;
    memo_drop(cx, 0);
    cx->assumed.len = 0;
    g->n = 0;
    at_depth(cx, 0);
}
