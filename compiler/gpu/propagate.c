// compiler/gpu/propagate.c - one layout for every tile value, and a CONVERT where two meet.
//
//   anchors     loads, stores, dots, reductions say what they want
//   natural(v)  the layout in which v is computed anyway: a load's is its anchor, that of x + y the
//               one of x or y, a dot's its accumulator
//   passive     aranges, constants, splats, broadcasts and arithmetic on them have none of their own:
//               they are computed again in whatever layout a user asks for (in_layout.c)
//
//   %p = addptr ...                 passive         ==>  %p' = addptr ... : #a
//   %x = load %p                    anchor #a            %x  = load %p'
//   %s = reduce %x                  squeeze(#a)
//   %y = x / broadcast(%s)                               the broadcast in #a's own slice: no move
//
// 1. infer  natural layouts to a fixed point; values that loops carry take what the body makes
// 2. fix    each op gets its operands in the layouts it needs
// 3. sweep  what has no users any more goes
//
// Source: layouts.md 6
#include "compiler/gpu/propagate.h"

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
