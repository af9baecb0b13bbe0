// compiler/gpu/in_layout.c - a value in the layout that an op wants.
//
//   passive      an arange, a constant, a broadcast: made again, in that layout
//   otherwise    whichever costs less: a CONVERT, or the operation once more on operands in that
//                layout, and so on up to loads of few addresses and buffers
//
//   %q = load i8   %w = cast %q   %x = mul %w, %s   dot wants %x in #b
//   ==>   %q' = convert %q : #b   and cast, mul in #b: a quarter of the bytes of %x move
//
// A clone or a convert stands right behind the definition it reads, so that what does not change in a
// loop is moved outside of it.
//
// Source: layouts.md 4.6, 6.3
#include "compiler/gpu/propagate.h"

Layout source_of(const Op *op, const Layout *l)
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
    return convert_classify(from, to, type_element_bytes(v->type)).cost;
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
    if (v->def && is_passive(s, v)) {
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
Value *in_layout(Assign *s, Value *v, const Layout *l)
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
