// compiler/cpu/plan.c - which tiles are kept in scratch memory, decided before anything is emitted.
//
//   x = load; m = max(x); e = exp(x - m); s = sum(e); store(e / s)
//
//     x   two consumers, cheap            evaluated (loaded) again
//     e   two consumers, 16 operations    kept: written by the loop of `sum`, read by that of `store`
//
// A tile is kept when
//   cost     it takes several operations and more than one root, or an expanding broadcast, wants it
//   loops    it is defined outside a loop whose body wants it, and is more than index arithmetic
//   memory   evaluating it reads memory that a store or barrier between it and its consumer may change; or it loads
//            from the buffer that its consumer stores to, at other addresses. (Different pointer arguments
//            may be one buffer too: then kernels that would race on a GPU are not told apart.)
//   access   its consumer wants to address it freely (the source of a gather), or it is volatile
// Carried pointer tiles that only move by a uniform amount are not kept: they are their initial
// value plus a running sum (MODE_DELTA).
#include "compiler/cpu/cpu.h"

enum { COST_KEEP = 6, COST_MAX = 1000 };

/// Positions of the roots that consume a value: the first two, and the last.
typedef struct Roots {
    int32_t a, b, last; ///< -1: none
    int32_t depth;      ///< deepest loop nesting of a consumer
} Roots;

/// A write to memory; `effective` is the position where its cluster of stores happens.
typedef struct Write {
    Op *op;
    int32_t at, effective;
} Write;

typedef struct Plan {
    Cx *cx;
    VEC(Op *) ops; ///< in order, nested ones too
    VEC(Write) writes;
    Roots *roots;      ///< by Value.id
    uint64_t *reduces; ///< by Value.id: the reductions it is computed from, a bit each
    int32_t n_reduces;
    int32_t *loop_depth; ///< by position
    int32_t *effective;  ///< by position: of a store, where its cluster begins
} Plan;

static int32_t position(const Op *op)
{
    return (int32_t)(intptr_t)op->note;
}

/// Ops whose tile results are evaluated on demand.
static bool is_lazy(const Op *op)
{
    switch (op->kind) {
    case OP_CONST:
    case OP_ARANGE:
    case OP_ELEM:
    case OP_CAST:
    case OP_BITCAST:
    case OP_ADDPTR:
    case OP_HINT:
    case OP_SPLAT:
    case OP_BROADCAST:
    case OP_EXPAND_DIMS:
    case OP_RESHAPE:
    case OP_TRANS:
    case OP_JOIN:
    case OP_SPLIT:
    case OP_CAT:
    case OP_FLIP:
    case OP_GATHER:
    case OP_LOAD:
    case OP_CONVERT:
        return true;
    default:
        return false;
    }
}

static bool is_tile(const Value *v)
{
    return v->type->kind == TYPE_TILE;
}

static bool writes_memory(const Op *op)
{
    return op->kind == OP_STORE || op->kind == OP_ATOMIC_RMW || op->kind == OP_ATOMIC_CAS ||
           op->kind == OP_BARRIER;
}

const Value *pointer_base(const Cx *cx, const Value *v)
{
    for (;;) {
        const Info *info = info_of(cx, v);
        if (info->mode == MODE_DELTA)
            v = info->base;
        else if (!v->def)
            return v->type->kind == TYPE_PTR ? v : NULL;
        else if (v->def->kind == OP_ADDPTR || v->def->kind == OP_SPLAT ||
                 v->def->kind == OP_BROADCAST || v->def->kind == OP_HINT ||
                 v->def->kind == OP_EXPAND_DIMS || v->def->kind == OP_RESHAPE ||
                 v->def->kind == OP_TRANS || v->def->kind == OP_BITCAST)
            v = v->def->in[0];
        else
            return NULL;
    }
}

bool pointers_conflict(const Cx *cx, const Value *x, const Value *y, bool in_place)
{
    if (x == y && in_place) return false; // the same position: in the order of the program
    const Value *a = pointer_base(cx, x), *b = pointer_base(cx, y);
    return !a || !b || a == b;
}

/// Reductions that `op` is computed from, over all its operands.
static uint64_t reduces_of(const Plan *p, const Op *op)
{
    uint64_t mask = 0;
    for (int32_t i = 0; i < op->n_in; i++)
        mask |= p->reduces[op->in[i]->id];
    return mask;
}

/// Results of loops, branches, dots and scans are there before any later group begins; a reduction may still be
/// pending. Past 64 of them bit 63 stands for the rest, which are never told apart.
static void note_reduces(Plan *p, Op *op)
{
    uint64_t mask = is_lazy(op) || (op->n_out && !is_tile(op->out)) ? reduces_of(p, op) : 0;
    if (op->kind == OP_REDUCE) {
        mask = reduces_of(p, op) | (uint64_t)1 << MIN(p->n_reduces, 63);
        p->n_reduces++;
    }
    for (int32_t i = 0; i < op->n_out; i++)
        p->reduces[op->out[i].id] = mask;
}

/// Is what `op` needs emitted whenever the stores of `cluster` may be? Else it would end their group.
static bool follows_cluster(const Plan *p, const Op *cluster, const Op *op)
{
    return !(reduces_of(p, op) & ~(reduces_of(p, cluster) & INT64_MAX));
}

/// May `op` share the loop of the stores in `cluster`: same shape, and no element that another of them writes?
static bool joins_cluster(Plan *p, const Op *cluster, const Op *op)
{
    if (!type_same_shape(cluster->in[0]->type, op->in[0]->type) || !follows_cluster(p, cluster, op))
        return false;
    for (int32_t i = 0; i < p->writes.len; i++) {
        const Write *w = &p->writes.data[i];
        if (w->effective == position(cluster) &&
            pointers_conflict(p->cx, w->op->in[0], op->in[0], true))
            return false;
    }
    return true;
}

// ---- facts --------------------------------------------------------------------------------------------

static void number_ops(Plan *p, Region *r, int32_t depth)
{
    Op *cluster = NULL; // first of the stores that will share a loop
    EACH_OP(op, r) {
        op->note = (void *)(intptr_t)p->ops.len;
        vec_push(p->cx->arena, &p->ops, op);
        p->loop_depth[position(op)] = depth;
        p->effective[position(op)] = position(op);
        bool is_loop = op->kind == OP_FOR || op->kind == OP_WHILE;
        note_reduces(p, op);
        if (op->kind == OP_STORE && is_tile(op->in[0])) {
            if (cluster && joins_cluster(p, cluster, op))
                p->effective[position(op)] = position(cluster);
            else
                cluster = op;
        } else if (op->n_regions || writes_memory(op) ||
                   (!is_lazy(op) && op->n_out && is_tile(op->out)) || op->kind == OP_REDUCE ||
                   op->kind == OP_LOAD || op->kind == OP_ASSERT || op->kind == OP_PRINT) {
            cluster = NULL;
        } else if (cluster && op->n_out && !is_tile(op->out) && !follows_cluster(p, cluster, op)) {
            cluster = NULL; // a scalar that waits for a reduction ends the group
        }
        if (writes_memory(op))
            vec_push(p->cx->arena, &p->writes,
                     (Write){op, position(op), p->effective[position(op)]});
        for (int32_t i = 0; i < op->n_regions; i++)
            number_ops(p, op->regions[i], depth + is_loop);
    }
}

static void count_op(Op *op, void *user)
{
    (void)op;
    ++*(int32_t *)user;
}

/// The uniform amount by which `next` exceeds the carried `arg`, or NULL. @param minus  it is subtracted
static Value *uniform_step(Cx *cx, Value *arg, Value *next, bool *minus)
{
    Op *op = next->def;
    *minus = false;
    if (!op) return NULL;
    bool is_add = op->kind == OP_ADDPTR || op_is_elem(op, ELEM_ADD),
         is_sub = op_is_elem(op, ELEM_SUB);
    if (!is_add && !is_sub) return NULL;
    if (!arg->type->is_ptr && !dtype_is_int(arg->type->dtype)) return NULL;
    *minus = is_sub;
    Value *step = op->in[0] == arg ? op->in[1] : op->in[0];
    if (op->in[0] != arg && (is_sub || op->kind == OP_ADDPTR || op->in[1] != arg)) return NULL;
    return step != arg && affine_is_uniform(cx->affine, step) ? step : NULL;
}

Value *carried_step(Cx *cx, Op *loop, int32_t i, bool *minus)
{
    if (loop->kind != OP_FOR) return NULL;
    Region *body = loop->regions[0];
    return uniform_step(cx, body->args[1 + i], body->last->in[i], minus);
}

/// An address that is a sum of index bits costs nothing: it is evaluated at one element.
static int32_t operand_cost(const Cx *cx, const Op *op)
{
    int32_t cost = 0;
    for (int32_t i = op->kind == OP_LOAD && !affine_of(cx->affine, op->in[0])->slow; i < op->n_in;
         i++)
        if (is_tile(op->in[i])) cost += info_of(cx, op->in[i])->cost;
    return cost;
}

static uint32_t dependence(const Cx *cx, const Value *v)
{
    uint32_t all = (uint32_t)(((uint64_t)1 << log_numel(v->type)) - 1), dep = 0;
    const Affine *a = affine_of(cx->affine, v);
    for (int32_t b = 0; b < log_numel(v->type); b++)
        if (a->slow >> b & 1 || !coeff_is_zero(&a->coeff[b])) dep |= 1u << b;
    return dep & all;
}

/// First facts of a value defined by `op` (NULL: a region argument) at `at`.
static void describe(Plan *p, Value *v, Op *op, int32_t at)
{
    Info *info = info_of(p->cx, v);
    info->def_at = at;
    info->depth = at < 0 ? 0 : p->loop_depth[at];
    info->mode = MODE_SCALAR;
    if (!is_tile(v)) return;
    info->dep = dependence(p->cx, v);
    info->mode = MODE_HELD;
    info->cost = 1;
    if (!op || !is_lazy(op)) {
        if (!op || op->kind != OP_CONST)
            info->dep = (uint32_t)(((uint64_t)1 << log_numel(v->type)) - 1);
        return;
    }
    info->mode = MODE_LAZY;
    info->cost = MIN(op_cost(op) + operand_cost(p->cx, op), COST_MAX);
    info->has_load = op->kind == OP_LOAD;
    for (int32_t i = 0; i < op->n_in; i++)
        info->has_load |= info_of(p->cx, op->in[i])->has_load;
}

static void describe_carried(Plan *p, Op *op)
{
    for (int32_t r = 0; r < op->n_regions; r++) {
        Region *region = op->regions[r];
        for (int32_t i = 0; i < region->n_args; i++) {
            Value *v = region->args[i];
            describe(p, v, NULL, position(op) + 1);
            info_of(p->cx, v)->depth = p->loop_depth[position(op)] + 1;
            bool minus;
            if (op->kind != OP_FOR || !i || !is_tile(v) || !carried_step(p->cx, op, i - 1, &minus))
                continue;
            Info *info = info_of(p->cx, v), *out = info_of(p->cx, &op->out[i - 1]);
            info->mode = out->mode = MODE_DELTA;
            info->base = out->base = op->in[2 + i];
            info->dep = out->dep = info_of(p->cx, op->in[2 + i])->dep;
            info->cost = out->cost = info_of(p->cx, op->in[2 + i])->cost + 1;
        }
    }
}

static void describe_all(Plan *p)
{
    Func *fn = p->cx->fn;
    for (int32_t i = 0; i < fn->body->n_args; i++)
        describe(p, fn->body->args[i], NULL, -1);
    for (int32_t i = 0; i < p->ops.len; i++) {
        Op *op = p->ops.data[i];
        for (int32_t k = 0; k < op->n_out; k++)
            describe(p, &op->out[k], op, i);
        describe_carried(p, op);
    }
}

// ---- decisions ------------------------------------------------------------------------------------------

static void add_root(Roots *r, int32_t at, int32_t depth)
{
    if (r->a < 0 || r->a == at)
        r->a = at;
    else if (r->b < 0)
        r->b = at;
    r->last = MAX(r->last, at);
    r->depth = MAX(r->depth, depth);
}

static void merge_roots(Roots *r, const Roots *from)
{
    if (from->a >= 0) add_root(r, from->a, from->depth);
    if (from->b >= 0) add_root(r, from->b, from->depth);
    r->last = MAX(r->last, from->last);
    r->depth = MAX(r->depth, from->depth);
}

/// The roots of `v` through one of its uses.
static void use_roots(Plan *p, const Use *use, Roots *r)
{
    Op *op = use->op;
    int32_t at = position(op);
    if (op->kind == OP_FOR &&
        use->index >= 3) { // an initial value: a delta's is consumed wherever the argument is
        Value *arg = op->regions[0]->args[use->index - 2];
        if (info_of(p->cx, arg)->mode == MODE_DELTA) {
            merge_roots(r, &p->roots[arg->id]);
            merge_roots(r, &p->roots[op->out[use->index - 3].id]);
            return;
        }
    }
    bool lazy = false;
    for (int32_t i = 0; i < op->n_out && is_lazy(op); i++) {
        Value *out = &op->out[i];
        if (!is_tile(out)) continue;
        lazy = true;
        if (info_of(p->cx, out)->is_keep)
            add_root(r, at, p->loop_depth[at]);
        else
            merge_roots(r, &p->roots[out->id]);
    }
    if (!lazy) add_root(r, p->effective[at], p->loop_depth[at]);
}

static bool wants_memory(const Value *v)
{
    EACH_USE(u, v)
        if (u->op->kind == OP_GATHER && u->index == 0) return true;
    return v->def->kind == OP_LOAD && op_attr_i(v->def, ATTR_VOLATILE);
}

/// Is `v` only ever part of addresses that are sums of index bits? They are evaluated at one element (access.c), so
/// however long the arithmetic, the tile is not worth memory.
static bool is_address(const Plan *p, const Value *v)
{
    if (affine_of(p->cx->affine, v)->slow || (!v->type->is_ptr && !dtype_is_int(v->type->dtype)))
        return false;
    EACH_USE(u, v) {
        const Op *op = u->op;
        if (v->type->is_ptr && !u->index && (op->kind == OP_LOAD || op->kind == OP_STORE)) continue;
        if (!is_lazy(op) || op->n_out != 1 || !is_tile(op->out) || op->kind == OP_LOAD ||
            op->kind == OP_GATHER || !info_of(p->cx, op->out)->is_address)
            return false;
    }
    return true;
}

static bool is_expanded(const Value *v)
{
    EACH_USE(u, v)
        if (u->op->kind == OP_BROADCAST && u->op->out[0].type->numel > v->type->numel) return true;
    return false;
}

static void keep(Plan *p, Value *v)
{
    Info *info = info_of(p->cx, v);
    info->is_keep = true;
}

/// Consumers before producers: cost, loops, access.
static void decide_backward(Plan *p)
{
    for (int32_t i = p->ops.len - 1; i >= 0; i--) {
        Op *op = p->ops.data[i];
        for (int32_t r = 0; r < op->n_regions; r++)
            for (int32_t k = 0; k < op->regions[r]->n_args; k++) {
                Value *arg = op->regions[r]->args[k];
                EACH_USE(u, arg)
                    use_roots(p, u, &p->roots[arg->id]);
            }
        for (int32_t k = 0; k < op->n_out; k++) {
            Value *v = &op->out[k];
            Info *info = info_of(p->cx, v);
            Roots *r = &p->roots[v->id];
            if (!is_tile(v)) continue;
            EACH_USE(u, v)
                use_roots(p, u, r);
            if (info->mode != MODE_LAZY) continue;
            info->is_address = is_address(p, v);
            if (info->is_address && !info->has_load) continue;
            bool several = r->b >= 0 && info->cost >= COST_KEEP;
            bool expanded = info->cost >= COST_KEEP && is_expanded(v);
            bool deeper = r->depth > info->depth && (info->has_load || info->cost >= COST_KEEP);
            if (several || expanded || deeper || wants_memory(v)) keep(p, v);
        }
    }
}

/// Does evaluating `v` for a use cross a write that may change what it loads?
static bool crosses_write(Plan *p, const Value *v, const Use *use)
{
    int32_t from = info_of(p->cx, v)->def_at, at = position(use->op);
    Roots r = {-1, -1, -1, 0};
    use_roots(p, use, &r);
    for (int32_t i = 0; i < p->writes.len; i++) {
        const Write *w = &p->writes.data[i];
        if (w->at > from && w->at < at && w->effective < r.last) return true;
    }
    return false;
}

/// Does a load feed stores to its own buffer at other addresses?
static bool feeds_conflict(Plan *p, const Value *v)
{
    if (v->def->kind != OP_LOAD) return false;
    const Roots *r = &p->roots[v->id];
    for (int32_t i = 0; i < p->writes.len; i++) {
        const Write *w = &p->writes.data[i];
        bool is_root = w->effective == r->a || w->effective == r->b ||
                       (r->b >= 0 && w->effective >= r->b && w->effective <= r->last);
        if (w->op->kind != OP_STORE || !is_root) continue;
        bool in_place = true;
        for (int32_t k = 1; k < w->op->n_in; k++)
            in_place &= value_reads(p->cx, w->op->in[k], v) != READS_ANYWHERE;
        if (pointers_conflict(p->cx, v->def->in[0], w->op->in[0], in_place)) return true;
    }
    return false;
}

/// Producers before consumers: memory. @return did anything change?
static bool decide_forward(Plan *p)
{
    bool changed = false;
    for (int32_t i = 0; i < p->ops.len; i++) {
        Op *op = p->ops.data[i];
        if (!is_lazy(op)) continue;
        for (int32_t k = 0; k < op->n_out; k++) {
            Value *v = &op->out[k];
            Info *info = info_of(p->cx, v);
            if (!is_tile(v)) continue;
            info->has_load = op->kind == OP_LOAD;
            for (int32_t j = 0; j < op->n_in; j++) {
                const Info *in = info_of(p->cx, op->in[j]);
                info->has_load |= in->has_load && !in->is_keep;
            }
            if (info->is_keep || !info->has_load) continue;
            bool crosses = feeds_conflict(p, v);
            EACH_USE(u, v)
                crosses |= crosses_write(p, v, u);
            if (crosses) keep(p, v);
            changed |= crosses;
        }
    }
    return changed;
}

/// A kept tile of another shape between the stores of a cluster ends their common loop: later ones happen
/// where they stand. @return did anything change?
static bool split_clusters(Plan *p)
{
    bool changed = false;
    for (int32_t i = 0; i < p->writes.len; i++) {
        Write *w = &p->writes.data[i];
        if (w->op->kind != OP_STORE || w->effective == w->at) continue;
        int32_t begin = w->effective, from = begin;
        for (int32_t at = begin; at < w->at; at++) {
            const Op *op = p->ops.data[at];
            for (int32_t k = 0; k < op->n_out; k++)
                if (is_tile(&op->out[k]) && info_of(p->cx, &op->out[k])->is_keep &&
                    !type_same_shape(op->out[k].type, w->op->in[0]->type))
                    from = at;
        }
        if (from == begin) continue;
        int32_t first = w->at; // of the cluster's stores after `from`, the first leads
        for (int32_t k = 0; k < p->writes.len; k++)
            if (p->writes.data[k].effective == begin && p->writes.data[k].at > from)
                first = MIN(first, p->writes.data[k].at);
        w->effective = p->effective[w->at] = first;
        changed = true;
    }
    return changed;
}

static void find_roots(Plan *p)
{
    for (int32_t i = 0; i < p->cx->fn->module->n_values; i++)
        p->roots[i] = (Roots){-1, -1, -1, 0};
    decide_backward(p);
}

void plan_function(Cx *cx)
{
    int32_t n_ops = 0;
    region_walk(cx->fn->body, count_op, &n_ops);
    Plan p = {.cx = cx};
    p.loop_depth = arena_array(cx->arena, int32_t, n_ops + 1);
    p.effective = arena_array(cx->arena, int32_t, n_ops + 1);
    int32_t n_values = cx->fn->module->n_values;
    p.roots = arena_array(cx->arena, Roots, n_values);
    p.reduces = arena_array(cx->arena, uint64_t, n_values);
    cx->info = arena_array(cx->arena, Info, n_values);
    number_ops(&p, cx->fn->body, 0);
    describe_all(&p);
    bool changed = true;
    while (changed) { // keeps are only added and clusters only split, so this ends
        find_roots(&p);
        changed = decide_forward(&p);
        changed |= split_clusters(&p);
    }
    cx->cluster = p.effective;
    for (int32_t i = 0; i < p.writes.len; i++)
        if (p.writes.data[i].op->kind == OP_STORE)
            vec_push(cx->arena, &cx->stores, p.writes.data[i].op);
    for (int32_t i = 0; i < n_values; i++)
        cx->info[i].last_root = p.roots[i].last;
}
