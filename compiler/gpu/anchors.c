// compiler/gpu/anchors.c - layouts of loads and stores, from addresses; of dots, from their shape.
//
//   address of element e = base + sum of c_i over the index bits i of e      (ir/affine.h)
//
//   c = w, 2w, 4w ...    the chain: neighbours in memory, one vector access of up to 16 bytes
//   then                 lanes take the next coefficients in order: a warp reads whole sectors
//   then                 warps; what remains is registers, where constants become immediate offsets
//
// Everything is in packed coordinates, so column-major, 3-D or packed int4 tiles need no case of
// their own.
//
// Source: layouts.md 3.1
#include "compiler/gpu/gpu.h"

enum { VECTOR_BYTES = 16 };

static Value *mask_of(const Op *op)
{
    if (op->kind == OP_LOAD) return op->n_in > 1 ? op->in[1] : NULL;
    if (op->kind == OP_STORE || op->kind == OP_ATOMIC_RMW) return op->n_in > 2 ? op->in[2] : NULL;
    if (op->kind == OP_COPY_ASYNC) return op->n_in > 3 ? op->in[3] : NULL;
    return NULL;
}

static bool is_const_coeff(const Coeff *c, int64_t value)
{
    return coeff_is_const(c) && c->scale == value;
}

/// Index bits whose coefficient is w, 2w, 4w ..., as far as they go.
static int32_t find_chain(const Affine *a, int32_t w, int8_t chain[5])
{
    int32_t n = 0;
    for (bool found = true; found && n < 5;) {
        found = false;
        for (int32_t b = 0; b < a->n_bits && !found; b++) {
            if ((a->slow >> b & 1) || !is_const_coeff(&a->coeff[b], (int64_t)w << n)) continue;
            chain[n++] = (int8_t)b;
            found = true;
        }
    }
    return n;
}

/// Is the mask term the same on aligned runs of 2^v elements along the chain?
static bool term_is_uniform(const AffineCx *affine, const Type *t, const MaskTerm *term,
                            const int8_t *chain, int32_t v)
{
    if (term->axis == -1) return true;
    uint32_t bits = 0;
    int32_t low = 0, width = 0;
    for (int32_t i = 0; i < v; i++)
        bits |= 1u << chain[i];
    if (term->axis >= 0) {
        affine_axis_bits(t, term->axis, &low, &width);
        if (!(bits & (((1u << width) - 1) << low))) return true;
    } else {
        return v == 0;
    }
    if (!term->is_prefix || term->is_inclusive || term->stride != 1) return v == 0;
    for (int32_t i = 0; i < v;
         i++) // the run must count the low bits of the axis; it starts aligned, so it cannot wrap
        if (chain[i] != low + i) return false;
    int64_t left = affine_alignment(affine, term->left, ~0u),
            right = affine_alignment(affine, term->right, ~0u);
    return MIN(left, right) >= (int64_t)1 << v;
}

/// lg of the elements that one aligned access may move.
static int32_t widest(const AffineCx *affine, const Op *op, const Affine *a, int32_t w,
                      const MemFacts *facts)
{
    const Value *ptr = op->in[pointer_operand(op)], *mask = mask_of(op);
    MaskTerm terms[AFFINE_MAX_TERMS];
    int32_t n_terms = mask ? affine_mask(affine, mask, terms) : 0;
    int32_t v = MIN(facts->n_chain, log2_floor((uint64_t)MAX(1, VECTOR_BYTES / w)));
    if (op->kind == OP_ATOMIC_RMW || op->kind == OP_ATOMIC_CAS) v = 0;
    for (; v > 0; v--) {
        uint32_t zero = 0;
        for (int32_t i = 0; i < v; i++)
            zero |= 1u << facts->chain[i];
        bool good = affine_alignment(affine, ptr, zero) >= (int64_t)w << v;
        for (int32_t i = 0; i < n_terms && good; i++)
            good = term_is_uniform(affine, ptr->type, &terms[i], facts->chain, v);
        if (good) break;
    }
    (void)a;
    return v;
}

/// The anchor for vectors of 2^v elements.
static Layout anchor_memory(const GpuCx *cx, const AffineCx *affine, const Value *ptr,
                            const Affine *a, const MemFacts *facts, int32_t v)
{
    Layout l = layout_empty(ptr->type->rank, ptr->type->shape);
    int32_t order[AFFINE_MAX_BITS], n = affine_bit_order(affine, ptr, order), at = 0,
                                    warps = cx->log_warps;
    uint32_t taken = 0;
    for (int32_t i = 0; i < v; i++) {
        layout_push(&l, IN_REG, 1u << facts->chain[i]);
        taken |= 1u << facts->chain[i];
    }
    int32_t moving[AFFINE_MAX_BITS], n_moving = 0, still[AFFINE_MAX_BITS], n_still = 0;
    for (int32_t i = 0; i < n; i++) {
        if (taken >> order[i] & 1) continue;
        if (!(a->slow >> order[i] & 1) && coeff_is_zero(&a->coeff[order[i]]))
            still[n_still++] = order[i];
        else
            moving[n_moving++] = order[i];
    }
    int32_t spare = 0; // bits along which the address stands still serve lanes and warps last
    for (int32_t i = 0; i < LAYOUT_LANES + warps; i++) {
        uint32_t bit = at < n_moving     ? 1u << moving[at++]
                       : spare < n_still ? 1u << still[spare++]
                                         : 0;
        layout_push(&l, i < LAYOUT_LANES ? IN_LANE : IN_WARP, bit);
    }
    while (at < n_moving)
        layout_push(&l, IN_REG, 1u << moving[at++]);
    while (spare < n_still)
        layout_push(&l, IN_REG, 1u << still[spare++]);
    return l;
}

static int32_t moving_bits(const Affine *a)
{
    int32_t n = 0;
    for (int32_t b = 0; b < a->n_bits; b++)
        n += (a->slow >> b & 1) || !coeff_is_zero(&a->coeff[b]);
    return n;
}

typedef struct Walk {
    GpuCx *cx;
    AffineCx *affine;
    VEC(Op *) ops;
    VEC(int32_t) wanted; ///< lg of the vector each op would choose alone
} Walk;

static void collect(Op *op, void *user)
{
    Walk *w = user;
    OpNote *note = arena_new(w->cx->arena, OpNote);
    op->note = note;
    if (pointer_operand(op) < 0) return;
    const Value *ptr = op->in[pointer_operand(op)];
    if (ptr->type->kind != TYPE_TILE) return;
    const Affine *a = affine_of(w->affine, ptr);
    int32_t bytes = dtype_bytes(ptr->type->dtype);
    note->mem.n_chain = find_chain(a, bytes, note->mem.chain);
    for (int32_t i = 0; i < a->n_bits; i++)
        if (!(a->slow >> i & 1) && coeff_is_zero(&a->coeff[i])) note->mem.still |= 1u << i;
    note->mem.v_max = widest(w->affine, op, a, bytes, &note->mem);
    // Never starve lanes to widen: two narrower accesses by all threads beat one by half of them.
    int32_t v = MIN(note->mem.v_max, MAX(0, moving_bits(a) - LAYOUT_LANES - w->cx->log_warps));
    if (op->kind == OP_COPY_ASYNC) v = note->mem.v_max; // but for copies, which hold no registers
    vec_push(w->cx->arena, &w->ops, op);
    vec_push(w->cx->arena, &w->wanted, v);
}

/// Memory ops of one shape share the widest vector (in elements) as long as that costs none of them
/// more than two accesses per vector: then no conversion lies between them.
static int32_t agreed(const Walk *w, int32_t i)
{
    const Op *op = w->ops.data[i];
    int32_t v = w->wanted.data[i];
    for (int32_t k = 0; k < w->ops.len; k++) {
        const Op *o = w->ops.data[k];
        const MemFacts *mine = &op_note(op)->mem, *theirs = &op_note(o)->mem;
        int32_t more = w->wanted.data[k];
        if (more <= v || more > w->wanted.data[i] + 1 || op->kind == OP_COPY_ASYNC ||
            o->kind == OP_COPY_ASYNC || !type_same_shape(op->in[0]->type, o->in[0]->type))
            continue;
        if (mine->n_chain < more || memcmp(mine->chain, theirs->chain, (size_t)more) != 0) continue;
        if (mine->v_max + 1 >= more) v = more;
    }
    return v;
}

void anchors_choose(GpuCx *cx, AffineCx *affine)
{
    Walk w = {.cx = cx, .affine = affine};
    region_walk(cx->fn->body, collect, &w);
    for (int32_t i = 0; i < w.ops.len; i++) {
        Op *op = w.ops.data[i];
        MemFacts *facts = &op_note(op)->mem;
        const Value *ptr = op->in[pointer_operand(op)];
        Layout l = anchor_memory(cx, affine, ptr, affine_of(affine, ptr), facts, agreed(&w, i));
        facts->anchor = layout_intern(cx->module, &l);
    }
}

const Layout *anchor_copy(const GpuCx *cx, const AffineCx *affine, const Op *load)
{
    const MemFacts *facts = &op_note(load)->mem;
    const Value *ptr = load->in[0];
    Layout l = anchor_memory(cx, affine, ptr, affine_of(affine, ptr), facts, facts->v_max);
    return layout_intern(cx->module, &l);
}

/// Takes bits of dimension d into input `in`, from used[d] on.
static void take(Layout *l, int32_t in, int32_t d, int32_t *used, int32_t n)
{
    int32_t low, width;
    layout_field(l, d, &low, &width);
    for (; n > 0 && used[d] < width; n--, used[d]++)
        layout_push(l, in, 1u << (low + used[d]));
}

static int32_t left_over(const Layout *l, int32_t d, const int32_t *used)
{
    return l->log_dim[d] - used[d];
}

Layout anchor_dot(const GpuCx *cx, const Type *acc)
{
    Layout l = layout_empty(acc->rank, acc->shape);
    int32_t used[LAYOUT_MAX_RANK] = {0}, n = acc->rank - 1, m = acc->rank - 2;
    int32_t threads = LAYOUT_LANES + cx->log_warps, spare = layout_bits(&l) - threads;
    int32_t per_n = MIN(2, MAX(0, spare - spare / 2)), per_m = MIN(2, MAX(0, spare / 2));
    take(&l, IN_REG, n, used, per_n), take(&l, IN_REG, m, used, per_m);
    for (int32_t i = 0; i < threads; i++) {
        int32_t in = i < LAYOUT_LANES ? IN_LANE : IN_WARP, before = l.n_all;
        if (in ==
            IN_LANE) { // lanes: three bits of n, then m, so that a warp reads rows of both operands
            int32_t first = i < 3 && left_over(&l, n, used) ? n : left_over(&l, m, used) ? m : n;
            take(&l, in, first, used, 1);
        } else {
            for (int32_t d = 0; d < m && l.n_all == before; d++)
                take(&l, in, d, used, 1);
            if (l.n_all == before)
                take(&l, in, left_over(&l, m, used) >= left_over(&l, n, used) ? m : n, used, 1);
        }
        for (int32_t d = 0; d < acc->rank && l.n_all == before; d++)
            take(&l, in, d, used, 1);
        if (l.n_all == before) layout_push(&l, in, 0);
    }
    for (int32_t d = acc->rank - 1; d >= 0; d--)
        take(&l, IN_REG, d, used, 32);
    return l;
}
