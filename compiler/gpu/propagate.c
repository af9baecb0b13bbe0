// compiler/gpu/propagate.c - one layout for every tile value, and a CONVERT where two meet.
//
//   anchors     loads, stores, dots, reductions say what they want
//   natural(v)  the layout in which v is computed anyway: of a load its anchor, of x + y the one of
//   x or y passive     aranges, constants, splats, broadcasts and arithmetic on them: no layout of
//   their own; they are
//               computed again in whatever layout a user asks for, which costs nothing worth moving
//               data for
//
//   %p = addptr ...  passive       %x = load %p   anchor #a        ==>  %p' = addptr ... : #a, %x =
//   load %p' %s = reduce %x   squeeze(#a)   %y = x / broadcast(s)           ==>  broadcast of #a's
//   own slice: no move
//
// 1. infer: natural layouts to a fixed point; values carried by loops take what the body makes of
// them
// 2. fix:   each op gets its operands in the layouts it needs. A clone or a convert stands right
// behind the
//           definition it reads, so that loop-invariant ones are outside the loop by construction
// 3. sweep: passive originals without users go
//
// Source: layouts.md 6
#include "compiler/gpu/mma.h"

typedef struct Made {
    const Layout *layout;
    Value *value;
} Made;

typedef VEC(Made) MadeList;

typedef struct Assign {
    GpuCx *cx;
    const Layout **natural; ///< by Value.id, of the values that were there at the start
    MadeList *made;         ///< by Value.id: what exists in other layouts
    int32_t n_values;
    VEC(Value *) origin; ///< by Value.id - n_values: what a clone or convert was made of
    int32_t budget;      ///< values that the cost in question may still look at
    bool changed;
    KilnStatus st;
} Assign;

static bool is_tile(const Value *v)
{
    return v->type->kind == TYPE_TILE;
}

static const Layout *intern(Assign *s, Layout l)
{
    Layout canon = layout_canon(&l);
    return layout_intern(s->cx->module, &canon);
}

static const Layout *default_layout(Assign *s, const Type *t)
{
    return intern(s, layout_default(t->rank, t->shape, s->cx->log_warps, 1));
}

/// Scans want the axis bits of warps above all others of the axis: their operand's own layout if it
/// has that, else rows of neighbours, which put warps on top.
static const Layout *scan_layout(Assign *s, const Op *op, const Layout *own)
{
    const Type *t = op->in[0]->type;
    int32_t low, width, top;
    if (own) {
        layout_field(own, (int32_t)op_attr_i(op, ATTR_AXIS), &low, &width);
        uint32_t axis = ((1u << width) - 1) << low, seen = 0;
        bool good = true;
        for (int32_t i = own->n_col[IN_WARP] - 1; i >= 0; i--) {
            uint32_t c = layout_cols(own, IN_WARP)[i] & axis;
            if (!c) continue;
            top = low + width - 1 - __builtin_popcount(seen);
            good &= c == 1u << top;
            seen |= c;
        }
        if (good) return own;
    }
    int64_t threads = (int64_t)32 << s->cx->log_warps;
    return intern(s, layout_default(t->rank, t->shape, s->cx->log_warps,
                                    (int32_t)MAX(1, t->numel / threads)));
}

static bool is_shape_op(OpKind k)
{
    return k == OP_BROADCAST || k == OP_EXPAND_DIMS || k == OP_RESHAPE || k == OP_TRANS;
}

static bool is_pointwise(OpKind k)
{
    return k == OP_ELEM || k == OP_CAST || k == OP_BITCAST || k == OP_ADDPTR || k == OP_HINT;
}

static const Layout *natural(const Assign *s, const Value *v)
{
    return is_tile(v) ? s->natural[v->id] : NULL;
}

static void set_natural(Assign *s, const Value *v, const Layout *l)
{
    if (!is_tile(v) || s->natural[v->id] == l) return;
    s->natural[v->id] = l;
    s->changed = true;
}

/// Lane and warp bits that tell elements apart: more is better.
static int32_t spread(const Layout *l)
{
    return LAYOUT_LANES + l->n_col[IN_WARP] - __builtin_popcount(layout_free(l, IN_LANE)) -
           __builtin_popcount(layout_free(l, IN_WARP));
}

static const Layout *best_operand(const Assign *s, const Op *op)
{
    const Layout *best = NULL;
    for (int32_t i = 0; i < op->n_in; i++) {
        const Layout *l = natural(s, op->in[i]);
        if (l && (!best || spread(l) > spread(best))) best = l;
    }
    return best;
}

/// The layout of `op`'s operand through a shape op when its result is in `l` (exact).
static Layout source_of(const Op *op, const Layout *l)
{
    const Type *in = op->in[0]->type;
    switch (op->kind) {
    case OP_BROADCAST:
        return layout_broadcast_source(l, in->shape);
    case OP_EXPAND_DIMS:
        return layout_squeeze(l, (int32_t)op_attr_i(op, ATTR_AXIS));
    case OP_RESHAPE:
        return layout_reshape(l, in->rank, in->shape);
    default:
        break;
    }
    const Attr *perm = op_attr((Op *)(uintptr_t)op, ATTR_LIST);
    int32_t back[LAYOUT_MAX_RANK] = {0};
    for (int32_t i = 0; i < perm->n_list; i++)
        back[perm->list[i]] = i;
    return layout_trans(l, back);
}

/// The layout of a shape op's result when its operand is in `l`; NULL for a broadcast, which leaves
/// it open.
static const Layout *result_of(Assign *s, const Op *op, const Layout *l)
{
    const Type *out = op->out[0].type;
    switch (op->kind) {
    case OP_EXPAND_DIMS:
        return intern(s, layout_unsqueeze(l, (int32_t)op_attr_i(op, ATTR_AXIS)));
    case OP_RESHAPE:
        return intern(s, layout_reshape(l, out->rank, out->shape));
    case OP_TRANS:
        return intern(s, layout_trans(l, op_attr((Op *)(uintptr_t)op, ATTR_LIST)->list));
    default:
        return NULL;
    }
}

// ---- 1. infer ---------------------------------------------------------------------------------

static const Layout *operand_or_default(Assign *s, const Value *v);

/// The layout that some user asks of `v`, which has none of its own (a carried pointer, say).
static const Layout *wanted(Assign *s, const Value *v, int32_t depth)
{
    if (depth > 12) return NULL;
    EACH_USE(use, v) {
        const Op *op = use->op;
        const Layout *l = NULL;
        if (pointer_operand(op) >= 0 && op_note(op)) {
            l = op_note(op)->mem.anchor;
        } else if (is_pointwise(op->kind) && is_tile(&op->out[0])) {
            l = natural(s, &op->out[0]);
            if (!l) l = wanted(s, &op->out[0], depth + 1);
        } else if (is_shape_op(op->kind)) {
            l = wanted(s, &op->out[0], depth + 1);
            if (l) l = intern(s, source_of(op, l));
        }
        if (l) return l;
    }
    return NULL;
}

static const Layout *operand_or_default(Assign *s, const Value *v)
{
    const Layout *l = natural(s, v);
    if (!l && v->def &&
        v->def->kind == OP_BROADCAST) { // spread what is broadcast over registers last
        l = default_layout(s, v->type);
    }
    return l ? l : default_layout(s, v->type);
}

static void infer_region(Assign *s, const Region *r);

/// Carried values of a loop: what the body yields wins over what comes in.
static void infer_for(Assign *s, const Op *op)
{
    const Region *body = op->regions[0];
    for (int32_t i = 0; i < op->n_out; i++)
        if (!natural(s, body->args[i + 1]))
            set_natural(s, body->args[i + 1], natural(s, op->in[i + 3]));
    infer_region(s, body);
    for (int32_t i = 0; i < op->n_out; i++) {
        const Layout *next = natural(s, body->last->in[i]);
        if (next) set_natural(s, body->args[i + 1], next);
        set_natural(s, &op->out[i], natural(s, body->args[i + 1]));
    }
}

static void infer_while(Assign *s, const Op *op)
{
    const Region *test = op->regions[0], *body = op->regions[1];
    for (int32_t i = 0; i < test->n_args; i++)
        if (!natural(s, test->args[i])) set_natural(s, test->args[i], natural(s, op->in[i]));
    infer_region(s, test);
    for (int32_t i = 0; i < body->n_args; i++) {
        const Layout *l = natural(s, test->last->in[i + 1]);
        if (!natural(s, body->args[i])) set_natural(s, body->args[i], l);
        set_natural(s, &op->out[i], natural(s, body->args[i]));
    }
    infer_region(s, body);
    for (int32_t i = 0; i < test->n_args; i++) {
        const Layout *next = natural(s, body->last->in[i]);
        if (next) set_natural(s, test->args[i], next);
    }
}

static const Layout *infer_result(Assign *s, const Op *op)
{
    const Type *t = op->out[0].type;
    const Layout *l;
    switch (op->kind) {
    case OP_LOAD:
    case OP_BUF_LOAD: // NULL where it feeds dots alone: read as they want it
        return op_note(op)->mem.anchor;
    case OP_ATOMIC_RMW:
    case OP_ATOMIC_CAS:
        return op_note(op)->mem.anchor;
    case OP_DOT:
        if (op_note(op)->dot) return op_note(op)->dot->acc;
        return intern(s, anchor_dot(s->cx, t));
    case OP_REDUCE:
        return intern(
            s, layout_squeeze(operand_or_default(s, op->in[0]), (int32_t)op_attr_i(op, ATTR_AXIS)));
    case OP_SCAN:
        return scan_layout(s, op, natural(s, op->in[0]));
    case OP_FLIP:
        return operand_or_default(s, op->in[0]);
    case OP_SORT:
    case OP_HISTOGRAM:
        return default_layout(s, t);
    case OP_GATHER:
        return operand_or_default(s, op->in[1]);
    case OP_CAT:
        return intern(s, layout_expand(operand_or_default(s, op->in[0]), t->shape));
    case OP_JOIN:
        l = best_operand(s, op);
        return intern(s, layout_join(l ? l : default_layout(s, op->in[0]->type)));
    default:
        return default_layout(s, t);
    }
}

/// The layout that SPLIT's operand must have: its own with the last bit on register 0, or a joined
/// default.
static Layout split_operand(Assign *s, const Op *op)
{
    const Layout *l = operand_or_default(s, op->in[0]);
    Layout half;
    if (layout_split(l, &half)) return *l;
    half = layout_default(op->out[0].type->rank, op->out[0].type->shape, s->cx->log_warps, 1);
    return layout_join(&half);
}

static void infer_op(Assign *s, const Op *op)
{
    if (op->kind == OP_FOR) {
        infer_for(s, op);
    } else if (op->kind == OP_WHILE) {
        infer_while(s, op);
    } else if (op->kind == OP_IF) {
        for (int32_t i = 0; i < 2; i++)
            infer_region(s, op->regions[i]);
        for (int32_t i = 0; i < op->n_out; i++) {
            const Layout *a = natural(s, op->regions[0]->last->in[i]),
                         *b = natural(s, op->regions[1]->last->in[i]);
            set_natural(s, &op->out[i], a ? a : b);
        }
    } else if (op->n_out && is_tile(&op->out[0])) {
        if (is_pointwise(op->kind)) {
            set_natural(s, &op->out[0], best_operand(s, op));
        } else if (is_shape_op(op->kind)) {
            const Layout *l = natural(s, op->in[0]);
            set_natural(s, &op->out[0], l ? result_of(s, op, l) : NULL);
        } else if (op->kind == OP_SPLIT) {
            Layout l = split_operand(s, op), half;
            bool splits = layout_split(&l, &half);
            ASSERT(splits);
            (void)splits;
            for (int32_t i = 0; i < 2; i++)
                set_natural(s, &op->out[i], intern(s, half));
        } else if (op->kind != OP_CONST && op->kind != OP_ARANGE && op->kind != OP_SPLAT) {
            const Layout *l = infer_result(s, op);
            for (int32_t i = 0; i < op->n_out; i++)
                set_natural(s, &op->out[i], l);
        }
    }
}

static void infer_region(Assign *s, const Region *r)
{
    EACH_OP(op, r)
        infer_op(s, op);
}

/// Carried values that are passive all around the loop get the layout of some user, or the default.
static void settle(Op *op, void *user)
{
    Assign *s = user;
    if (op->kind != OP_FOR && op->kind != OP_WHILE && op->kind != OP_IF) return;
    for (int32_t r = 0; r < (op->kind == OP_IF ? 0 : op->n_regions); r++) {
        for (int32_t i = 0; i < op->regions[r]->n_args; i++) {
            Value *v = op->regions[r]->args[i];
            if (!is_tile(v) || natural(s, v)) continue;
            const Layout *l = wanted(s, v, 0);
            set_natural(s, v, l ? l : default_layout(s, v->type));
        }
    }
    for (int32_t i = 0; i < op->n_out; i++) {
        Value *v = &op->out[i];
        if (!is_tile(v) || natural(s, v)) continue;
        const Layout *l =
            op->kind == OP_FOR ? natural(s, op->regions[0]->args[i + 1]) : wanted(s, v, 0);
        set_natural(s, v, l ? l : default_layout(s, v->type));
    }
}

// ---- 2. fix -----------------------------------------------------------------------------------

/// A copy of `op` with other operands and a result type, right behind `op`.
static Value *clone_behind(Assign *s, Op *op, Value *const *in, const Type *type)
{
    Op *copy = op_new(s->cx->module, op->kind, op->span, op->n_in, in, 1, &type, 0);
    copy->elem = op->elem;
    memcpy(copy->attrs, op->attrs, sizeof copy->attrs);
    copy->note = arena_new(s->cx->arena, OpNote);
    if (op->note) *op_note(copy) = *op_note(op);
    copy->out[0].span = op->out[0].span;
    copy->out[0].name = op->out[0].name;
    op_insert(copy, op->parent, op->next);
    return &copy->out[0];
}

static Value *convert(Assign *s, Value *v, const Layout *l)
{
    const Type *type = type_with_layout(s->cx->module, v->type, l);
    Span span = v->def ? v->def->span : v->span;
    Op *op = op_new(s->cx->module, OP_CONVERT, span, 1, &v, 1, &type, 0);
    op->note = arena_new(s->cx->arena, OpNote);
    op->out[0].span = v->span;
    op->out[0].name = v->name;
    Op *next = v->def ? v->def->next : v->region->first;
    while (next->kind == OP_WAIT) // behind a pipelined loop: its buffers are free from there on
        next = next->next;
    op_insert(op, next->parent, next);
    return &op->out[0];
}

static bool is_passive(const Assign *s, const Value *v)
{
    if (!v->def) return false;
    OpKind k = v->def->kind;
    if (k == OP_CONST || k == OP_ARANGE || k == OP_SPLAT || is_shape_op(k)) return true;
    if (k == OP_BUF_LOAD) return true; // read once more, in place
    return is_pointwise(k) && !s->natural[v->id];
}

/// What was there before conversions.
static Value *original(const Assign *s, Value *v)
{
    return v->id < s->n_values ? v : s->origin.data[v->id - s->n_values];
}

static Value *made_in(const Assign *s, const Value *v, const Layout *l)
{
    if (v->type->layout == l) return (Value *)(uintptr_t)v;
    const MadeList *made = &s->made[v->id];
    for (int32_t i = 0; i < made->len; i++)
        if (made->data[i].layout == l) return made->data[i].value;
    return NULL;
}

// ---- what it costs ----------------------------------------------------------------------------
//
// In issue slots of a warp (layouts.md 4.6): a value is moved, or computed once more where it is
// wanted from operands that are moved instead. So a convert ends up where the tile is narrowest:
// above widening casts and dequantisation, below narrowing ones.

enum {
    COST_BARRIER = 25,
    COST_ADDRESS = 6,
    COST_LOAD = 4,
    COST_BUDGET = 1000,
    COST_NEVER = 1 << 24
};

static int32_t move_cost(const Value *v, const Layout *from, const Layout *to)
{
    ConvertPlan p = convert_classify(from, to);
    int32_t bytes = type_element_bytes(v->type),
            words = MAX(1, layout_regs(from) * bytes / 4) + MAX(1, layout_regs(to) * bytes / 4);
    if (p.kind == CONVERT_SAME || p.kind == CONVERT_REGISTERS) return 0;
    if (p.kind == CONVERT_SHUFFLE) return 2 * layout_regs(to) * MAX(1, bytes / 4);
    return words + COST_ADDRESS + COST_BARRIER;
}

/// Of one register of an elementwise op.
static int32_t step_cost(const Op *op)
{
    if (op->kind != OP_ELEM) return 1;
    switch (op->elem) {
    case ELEM_DIV:
    case ELEM_REM:
        return dtype_is_int(op->out[0].type->dtype) ? 20 : 4;
    case ELEM_EXP:
    case ELEM_EXP2:
    case ELEM_LOG:
    case ELEM_LOG2:
    case ELEM_SQRT:
    case ELEM_RSQRT:
        return 4;
    case ELEM_SIN:
    case ELEM_COS:
    case ELEM_ERF:
    case ELEM_TANH:
        return 20;
    default:
        return 1;
    }
}

/// A load is done again only where few different addresses are read: scales, biases, page numbers.
static int32_t reload_cost(const Op *op, const Layout *l)
{
    enum { FEW = 3 }; // at most one in 2^3 of (thread, register) reads an address of its own
    uint32_t still = op_note(op)->mem.still;
    int32_t repeated = 0, different = 0;
    for (int32_t i = 0; i < l->n_all; i++) {
        bool same = !(l->col[i] & ~still);
        repeated += same;
        different += !same && i < l->n_col[IN_REG];
    }
    if (op_attr_i(op, ATTR_VOLATILE) || repeated < FEW) return COST_NEVER;
    return COST_LOAD << different;
}

static bool is_column(const Layout *l, int32_t in, int32_t i, int32_t bit)
{
    return i < l->n_col[in] && layout_cols(l, in)[i] == 1u << bit;
}

/// Instructions that read a buffer in `l`: vectors along the runs that were copied into it, or
/// ldmatrix.
static int32_t read_cost(const Op *op, const Layout *l)
{
    const MemFacts *m = NULL;
    int32_t bytes = dtype_bytes(op->out[0].type->dtype), regs = layout_regs(l), v = 0;
    EACH_USE(use, op->in[0])
        if (use->op->kind == OP_COPY_ASYNC) m = &op_note(use->op)->mem;
    if (!m) return regs;
    for (bool found = true; found && v < m->n_chain && bytes << v < 16; v += found) {
        found = false;
        for (int32_t i = 0; i < l->n_col[IN_REG]; i++)
            found |= is_column(l, IN_REG, i, m->chain[v]);
    }
    bool rows = bytes << v == 4 && m->n_chain > v + 1 && is_column(l, IN_LANE, 0, m->chain[v]) &&
                is_column(l, IN_LANE, 1, m->chain[v + 1]);
    bool columns = bytes == 2 && m->n_chain > 2 && is_column(l, IN_LANE, 2, m->chain[0]) &&
                   is_column(l, IN_LANE, 3, m->chain[1]) && is_column(l, IN_LANE, 4, m->chain[2]);
    return rows || columns ? MAX(1, regs * bytes / 16) : regs >> v;
}

static int32_t cost_in(Assign *s, Value *v, const Layout *l);

/// Of computing `v` once more, in `l`. COST_NEVER: it cannot be.
static int32_t redo_cost(Assign *s, const Value *v, const Layout *l)
{
    const Op *op = v->def;
    Layout half;
    int32_t cost = 0;
    if (!op || s->budget-- <= 0) return COST_NEVER;
    if (is_shape_op(op->kind)) return cost_in(s, op->in[0], intern(s, source_of(op, l)));
    if (op->kind == OP_JOIN) {
        if (!layout_split(l, &half)) return COST_NEVER;
        l = intern(s, half);
    } else if (op->kind == OP_LOAD) {
        cost = reload_cost(op, l);
    } else if (!is_pointwise(op->kind)) {
        return COST_NEVER;
    } else {
        int32_t gone = value_has_one_use(v) ? layout_regs(natural(s, v)) : 0; // else others need it
        cost = step_cost(op) * (layout_regs(l) - gone);
    }
    for (int32_t i = 0; i < op->n_in && cost < COST_NEVER; i++)
        cost += cost_in(s, op->in[i], l);
    return MIN(cost, COST_NEVER);
}

/// Of having `v` in `l`.
static int32_t cost_in(Assign *s, Value *v, const Layout *l)
{
    v = original(s, v);
    if (!is_tile(v) || made_in(s, v, l)) return 0;
    if (v->def && v->def->kind == OP_BUF_LOAD) return read_cost(v->def, l);
    if (is_passive(s, v)) {
        int32_t cost = 0;
        for (int32_t i = 0; i < v->def->n_in && s->budget-- > 0; i++)
            cost += cost_in(s, v->def->in[i],
                            is_shape_op(v->def->kind) ? intern(s, source_of(v->def, l)) : l);
        return MIN(cost, COST_NEVER);
    }
    const Layout *own = natural(s, v);
    int32_t move = own ? move_cost(v, own, l) : 0;
    return move ? MIN(move, redo_cost(s, v, l)) : 0;
}

static bool is_redone(Assign *s, const Value *v, const Layout *l)
{
    if (is_passive(s, v)) return true;
    const Layout *own = natural(s, v);
    if (!own || !v->def) return false;
    s->budget = COST_BUDGET;
    return redo_cost(s, v, l) < move_cost(v, own, l);
}

static Value *in_layout(Assign *s, Value *v, const Layout *l);

/// Computes `v` once more, in `l`.
static Value *redo(Assign *s, Value *v, const Layout *l)
{
    Op *op = v->def;
    Value *in[3];
    const Layout *operands = l;
    Layout half;
    if (op->kind == OP_JOIN) {
        layout_split(l, &half);
        operands = intern(s, half);
    } else if (is_shape_op(op->kind)) {
        operands = intern(s, source_of(op, l));
    }
    for (int32_t i = 0; i < op->n_in; i++)
        in[i] = in_layout(s, op->in[i], operands); // scalars and buffers stay
    return clone_behind(s, op, in, type_with_layout(s->cx->module, v->type, l));
}

/// `v` in layout `l`: itself, its definition once more, or a convert, whichever costs least.
static Value *in_layout(Assign *s, Value *v, const Layout *l)
{
    if (!is_tile(v) || v->type->layout == l) return v;
    v = original(s, v);
    Value *made = made_in(s, v, l);
    if (made) return made;
    made = is_redone(s, v, l) ? redo(s, v, l) : convert(s, v, l);
    made->id = s->n_values + s->origin.len;
    vec_push(s->cx->arena, &s->origin, v);
    vec_push(s->cx->arena, &s->made[v->id], (Made){l, made});
    return made;
}

static void want(Assign *s, Op *op, int32_t i, const Layout *l)
{
    if (i < op->n_in && is_tile(op->in[i])) op_set_input(op, i, in_layout(s, op->in[i], l));
}

static void want_all(Assign *s, Op *op, const Layout *l)
{
    for (int32_t i = 0; i < op->n_in; i++)
        want(s, op, i, l);
}

static void set_layout(Assign *s, Value *v, const Layout *l)
{
    if (is_tile(v)) v->type = type_with_layout(s->cx->module, v->type, l);
}

/// Vector width that a store would have in layout `l`.
static int32_t width_in(const MemFacts *facts, const Layout *l)
{
    int32_t v = 0;
    for (bool found = true; found && v < facts->v_max;) {
        found = false;
        for (int32_t i = 0; i < l->n_col[IN_REG]; i++)
            if (layout_cols(l, IN_REG)[i] == 1u << facts->chain[v]) found = true;
        v += found;
    }
    return v;
}

/// lg of the neighbours that the vectors of a warp cover without a gap: lanes go on where the
/// registers end.
static int32_t run_in(const MemFacts *facts, const Layout *l)
{
    int32_t n = MIN(width_in(facts, l), facts->n_chain);
    for (bool found = true; found && n < facts->n_chain; n += found) {
        found = false;
        for (int32_t i = 0; i < LAYOUT_LANES; i++)
            found |= layout_cols(l, IN_LANE)[i] == 1u << facts->chain[n];
    }
    return n;
}

static void fix_store(Assign *s, Op *op)
{
    enum { SECTOR_BYTES = 32 };
    const MemFacts *facts = &op_note(op)->mem;
    const Layout *own = natural(s, op->in[1]), *l = facts->anchor;
    bool fills = own && type_element_bytes(op->in[1]->type) << run_in(facts, own) >= SECTOR_BYTES &&
                 width_in(facts, own) + 1 >= width_in(facts, l);
    if (own && spread(own) >= spread(l) && (fills || width_in(facts, own) >= width_in(facts, l)))
        l = own;
    want_all(s, op, l);
}

static void fix_region(Assign *s, Region *r);

static void fix_control(Assign *s, Op *op)
{
    if (op->kind == OP_FOR) {
        Region *body = op->regions[0];
        for (int32_t i = 0; i < op->n_out; i++) {
            const Layout *l = natural(s, body->args[i + 1]);
            want(s, op, i + 3, l);
            set_layout(s, body->args[i + 1], l);
            set_layout(s, &op->out[i], l);
        }
        fix_region(s, body);
        for (int32_t i = 0; i < op->n_out; i++)
            want(s, body->last, i, natural(s, body->args[i + 1]));
        return;
    }
    if (op->kind == OP_IF) {
        for (int32_t k = 0; k < 2; k++) {
            fix_region(s, op->regions[k]);
            for (int32_t i = 0; i < op->n_out; i++)
                want(s, op->regions[k]->last, i, natural(s, &op->out[i]));
        }
    } else {
        Region *test = op->regions[0], *body = op->regions[1];
        for (int32_t i = 0; i < test->n_args; i++) {
            want(s, op, i, natural(s, test->args[i]));
            set_layout(s, test->args[i], natural(s, test->args[i]));
        }
        for (int32_t i = 0; i < body->n_args; i++)
            set_layout(s, body->args[i], natural(s, body->args[i]));
        fix_region(s, test);
        for (int32_t i = 0; i < body->n_args; i++)
            want(s, test->last, i + 1, natural(s, body->args[i]));
        fix_region(s, body);
        for (int32_t i = 0; i < test->n_args; i++)
            want(s, body->last, i, natural(s, test->args[i]));
    }
    for (int32_t i = 0; i < op->n_out; i++)
        set_layout(s, &op->out[i],
                   op->kind == OP_WHILE ? natural(s, op->regions[1]->args[i])
                                        : natural(s, &op->out[i]));
}

static void fix_op(Assign *s, Op *op)
{
    const Layout *out = op->n_out ? natural(s, &op->out[0]) : NULL;
    switch (op->kind) {
    case OP_FOR:
    case OP_WHILE:
    case OP_IF:
        fix_control(s, op);
        return;
    case OP_STORE:
        if (is_tile(op->in[0])) fix_store(s, op);
        return;
    case OP_LOAD:
    case OP_ATOMIC_RMW:
    case OP_ATOMIC_CAS:
    case OP_JOIN:
        if (out && op->kind == OP_JOIN) {
            Layout half;
            layout_split(out, &half);
            want_all(s, op, intern(s, half));
        } else if (out) {
            want_all(s, op, out);
        }
        break;
    case OP_COPY_ASYNC:
        want_all(s, op, op_note(op)->mem.anchor);
        return;
    case OP_SPLIT:
        want(s, op, 0, intern(s, split_operand(s, op)));
        break;
    case OP_SCAN:
        want_all(s, op, out);
        break;
    case OP_REDUCE:
    case OP_FLIP:
    case OP_CAT:
        want_all(s, op, operand_or_default(s, op->in[0]));
        break;
    case OP_GATHER:
        want(s, op, 0, operand_or_default(s, op->in[0]));
        want(s, op, 1, out);
        break;
    default: // dots, sorts, histograms, prints, asserts take operands as they are
        if (is_pointwise(op->kind) || is_shape_op(op->kind)) {
            if (is_shape_op(op->kind) || !out) return; // passive: made when asked for
            want_all(s, op, out);
            break;
        }
        bool alike = op->kind == OP_HISTOGRAM || op->kind == OP_PRINT || op->kind == OP_ASSERT;
        const Layout *first =
            alike && op->n_in && is_tile(op->in[0]) ? operand_or_default(s, op->in[0]) : NULL;
        for (int32_t i = 0; i < op->n_in; i++)
            if (op->kind == OP_DOT && i == 2)
                want(s, op, i, out);
            else if (op->kind == OP_DOT && op_note(op)->dot)
                want(s, op, i, i ? op_note(op)->dot->right : op_note(op)->dot->left);
            else if (alike)
                want(s, op, i, first);
            else if (op->kind != OP_YIELD && op->kind != OP_CONDITION && op->kind != OP_RETURN &&
                     op->kind != OP_SPLAT && is_tile(op->in[i]))
                want(s, op, i, operand_or_default(s, op->in[i]));
    }
    for (int32_t i = 0; i < op->n_out; i++)
        if (out) set_layout(s, &op->out[i], natural(s, &op->out[i]));
}

static void fix_region(Assign *s, Region *r)
{
    for (Op *op = r->first; op; op = op->next)
        if (op->n_out == 0 || op->out[0].id < s->n_values) fix_op(s, op); // others are clones
}

// ---- 3. sweep ---------------------------------------------------------------------------------

static bool unused(const Op *op)
{
    for (int32_t i = 0; i < op->n_out; i++)
        if (op->out[i].uses) return false;
    return true;
}

static void sweep(Region *r)
{
    for (Op *op = r->last, *prev; op; op = prev) {
        prev = op->prev;
        for (int32_t i = 0; i < op->n_regions; i++)
            if (op->kind == OP_FOR || op->kind == OP_WHILE || op->kind == OP_IF)
                sweep(op->regions[i]);
        bool can_go = op_facts[op->kind].effects == EFFECT_PURE || op->kind == OP_BUF_LOAD ||
                      (op->kind == OP_LOAD && !op_attr_i(op, ATTR_VOLATILE));
        if (can_go && op->n_out && unused(op)) op_erase(op);
    }
}

static KilnStatus check_region(Assign *s, const Region *r)
{
    EACH_OP(op, r) {
        for (int32_t i = 0; i < op->n_out; i++) {
            const Value *v = &op->out[i];
            if (!is_tile(v)) continue;
            if (!v->type->layout) BUG("%s has no layout", op_facts[op->kind].name);
            if (v->type->layout->n_col[IN_REG] <= LAYOUT_MAX_REG) continue;
            diag_add(s->cx->diag, DIAG_ERROR, "E0904", op->span,
                     "tile %s has %d elements per thread, more than the %d that fit in registers",
                     type_text(s->cx->arena, type_with_layout(s->cx->module, v->type, NULL)),
                     value_regs(v), 1 << LAYOUT_MAX_REG);
            return KILN_ERR_LIMIT;
        }
        for (int32_t i = 0; i < op->n_regions; i++) {
            KilnStatus st = check_region(s, op->regions[i]);
            if (st != KILN_OK) return st;
        }
    }
    return KILN_OK;
}

KilnStatus layouts_assign(GpuCx *cx)
{
    Assign s = {.cx = cx};
    s.n_values = func_number(cx->fn);
    s.natural = arena_array(cx->arena, const Layout *, s.n_values);
    s.made = arena_array(cx->arena, MadeList, s.n_values);
    enum { ROUNDS = 4 }; // layouts move through at most this many nested loops before they settle
    for (int32_t round = 0; round < ROUNDS; round++) {
        s.changed = false;
        infer_region(&s, cx->fn->body);
        if (!s.changed) break;
    }
    for (int32_t round = 0; round < ROUNDS; round++) {
        s.changed = false;
        region_walk(cx->fn->body, settle, &s);
        infer_region(&s, cx->fn->body);
        if (!s.changed) break;
    }
    fix_region(&s, cx->fn->body);
    sweep(cx->fn->body);
    return check_region(&s, cx->fn->body);
}

// ---- printing ---------------------------------------------------------------------------------

typedef struct Printer {
    StrBuf *out;
    Arena arena;
    Map drawn;
    bool as_picture;
} Printer;

static void print_op(Op *op, void *user)
{
    Printer *p = user;
    for (int32_t i = 0; i < op->n_out; i++) {
        const Value *v = &op->out[i];
        if (!is_tile(v) || !v->type->layout) continue;
        const char *text = layout_text(&p->arena, v->type->layout);
        if (!p->as_picture) {
            strbuf_printf(
                p->out, "%%%d%s%s = %s : %s\n", v->id, v->name ? "." : "", v->name ? v->name : "",
                op->kind == OP_ELEM ? elem_facts[op->elem].name : op_facts[op->kind].name, text);
        } else if (map_find(&p->drawn, str_of(text)) < 0) {
            map_put(&p->arena, &p->drawn, str_of(text), p);
            strbuf_printf(p->out, "<!-- %s -->\n", text);
            layout_draw_svg(v->type->layout, p->out);
        }
    }
}

static void print_all(Func *fn, StrBuf *out, bool as_picture)
{
    Printer p = {.out = out, .as_picture = as_picture};
    arena_init(&p.arena, heap_default());
    func_number(fn);
    region_walk(fn->body, print_op, &p);
    arena_reset(&p.arena);
}

void layouts_print(Func *fn, StrBuf *out)
{
    print_all(fn, out, false);
}

void layouts_draw(Func *fn, StrBuf *out)
{
    print_all(fn, out, true);
}
