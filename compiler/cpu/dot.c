// compiler/cpu/dot.c - matrix products: a register-blocked micro-kernel.
//
//   out[m, n] = acc[m, n] + sum over k of a[m, k] b[k, n]
//
//   for n in steps of NV vectors                 lanes run along n
//     for m in steps of MR rows
//       c[MR][NV] = acc                           registers
//       for k:  load NV vectors of b; for each row: broadcast a[m, k], MR * NV multiply-adds
//       out = c
//
//   level     registers   MR x NV at large M     at M = 1
//   avx512    32          8 x 2                   1 x 8
//   avx2      16          4 x 2                   1 x 8
//
// An operand is read where it lies when that is cheap and every element is wanted once or converts for nothing;
// otherwise it is first written to scratch in the type the multiply-add wants (f16 and bf16 as f32). Ints
// of 8 bits are multiplied as pairs of i16 along k (pmaddwd), so lanes hold two neighbours in k.
// Sums of narrow floats are kept in f32 whatever the result's type; it is rounded at the end.
#include "compiler/cpu/cpu.h"

typedef struct Dot {
    Op *op;
    Value *a, *b, *acc, *out;
    int32_t m_bits, n_bits, k_bits, batch_bits; ///< log2 of extents
    int32_t mr_bits, nv_bits, w_bits,
        ku_bits;             ///< micro-tile: rows, vectors, lanes along n; k-steps per iteration
    int32_t pair_bits;       ///< 1: lanes hold pairs along k
    DType type;              ///< of the accumulator in registers
    const Type *operand;     ///< element type that the micro-kernel reads
    Held a_packed, b_packed; ///< base NULL: read in place
} Dot;

/// Is element (i, j) of `v` cheap to get again and again: memory of ours, or an unmasked affine load?
static bool is_direct(Cx *cx, const Dot *d, Value *v)
{
    const Info *info = info_of(cx, v);
    bool same = v->type->dtype == d->operand->dtype;
    if (info->mode == MODE_HELD && (info->is_ready || !info->is_keep)) return same;
    if (!v->def) return false;
    if (v->def->kind == OP_LOAD)
        return same && v->def->n_in == 1 && !affine_of(cx->affine, v->def->in[0])->slow;
    if (v->def->kind == OP_TRANS || v->def->kind == OP_BROADCAST ||
        v->def->kind == OP_EXPAND_DIMS || v->def->kind == OP_RESHAPE)
        return is_direct(cx, d, v->def->in[0]);
    return v->def->kind == OP_CONST || v->def->kind == OP_SPLAT;
}

/// Do neighbours along n (bit 0 of b) lie side by side in what `v` reads?
static bool is_contiguous(Cx *cx, Value *v)
{
    Cone cone = {0};
    cone_add(cx, &cone, v, NULL, 0);
    VEC_EACH(Access, a, &cone.accesses) {
        const Affine *f = affine_of(cx->affine, a->pointer);
        int32_t p = a->map[0];
        if (p < 0) continue;
        if (f->slow >> p & 1 || !coeff_is_const(&f->coeff[p]) ||
            f->coeff[p].scale != dtype_bytes(a->pointer->type->dtype))
            return false;
    }
    for (Op *op = v->def; op; op = op->in[0]->def) { // transposed memory of ours is not either
        if (op->kind == OP_TRANS && info_of(cx, op->in[0])->mode == MODE_HELD) return false;
        if (op->kind != OP_TRANS && op->kind != OP_CAST && op->kind != OP_BROADCAST &&
            op->kind != OP_EXPAND_DIMS)
            break;
    }
    return true;
}

static int32_t value_cost(Cx *cx, Value *v)
{
    Cone cone = {0};
    cone_add(cx, &cone, v, NULL, 0);
    return cone.cost;
}

/// A copy of operand `v` in the type that the micro-kernel reads.
static Held pack(Cx *cx, Dot *d, Value *v)
{
    Held h = held_bytes(cx, v->type->numel * dtype_bytes(d->operand->dtype));
    h.is_small = false;
    group_add(cx, (Root){.kind = ROOT_WRITE, .value = v, .to = h, .elem = d->operand});
    return h;
}

static void choose_types(Cx *cx, Dot *d)
{
    DType a = d->a->type->dtype;
    Module *m = cx->fn->module;
    d->type = DTYPE_F32;
    if (a == DTYPE_F64) d->type = DTYPE_F64;
    if (dtype_is_int(a)) d->type = DTYPE_I32;
    d->pair_bits = dtype_is_int(a) && dtype_bits(a) == 8 && dtype_bits(d->b->type->dtype) == 8 &&
                   d->k_bits >= 1 && d->n_bits >= 2;
    d->operand = type_scalar(m, d->pair_bits ? DTYPE_I16 : d->type);
}

static void choose_tile(Cx *cx, Dot *d)
{
    int32_t bytes = dtype_bytes(d->type), regs = cx->isa->n_registers;
    d->w_bits = MIN(d->n_bits, log2_floor((uint64_t)(cx->isa->vector_bytes / bytes)));
    d->mr_bits = MIN(d->m_bits, regs == 32 ? 3 : 2);
    int32_t accumulators = regs == 32 ? 4 : 3; // log2: half of the registers
    d->nv_bits = MIN(accumulators - d->mr_bits, d->n_bits - d->w_bits);
    if (d->nv_bits < accumulators - d->mr_bits)
        d->mr_bits = MIN(d->m_bits, accumulators - d->nv_bits);
    int32_t steps = d->k_bits - d->pair_bits;
    d->ku_bits = MIN(steps, MAX(0, 5 - d->mr_bits - d->nv_bits));
}

static void choose_operands(Cx *cx, Dot *d)
{
    bool one_row_block = d->m_bits <= d->mr_bits;
    bool a_direct = is_direct(cx, d, d->a), b_direct = is_direct(cx, d, d->b);
    bool b_inline = is_contiguous(cx, d->b) && !d->pair_bits &&
                    (b_direct || (one_row_block && value_cost(cx, d->b) <= 24));
    // masks of a lazily read operand would be tested in the inner loop: copy such operands
    Cone cone = {0};
    cone_add(cx, &cone, d->b, NULL, 0);
    if (cone.terms.len) b_inline = false;
    if (!a_direct || d->pair_bits) d->a_packed = pack(cx, d, d->a);
    if (!b_inline) d->b_packed = pack(cx, d, d->b);
    group_flush(cx);
}

// ---- elements -------------------------------------------------------------------------------------------

/// A loop variable over some bits of one of n, k, m, batch.
typedef struct Coord {
    Field field; ///< `at` within its own axis; var NULL: none
    uint32_t fixed;
} Coord;

typedef struct Point {
    Coord n, k, m, batch;
} Point;

static void put(Chunk *c, const Coord *x, int32_t low, int32_t width)
{
    c->fixed |= x->fixed << low;
    if (!x->field.var || !width) return;
    Field f = x->field;
    f.at = (int8_t)(f.at + low);
    chunk_add_field(c, f);
}

/// The chunk of an operand at `p`; lanes are added by the caller. Axes come lowest bits first.
static Chunk operand_chunk(const Dot *d, const Point *p, bool has_m, bool has_k, bool has_n)
{
    Chunk c = chunk_zero();
    int32_t n_low = 0, k_low = has_n ? d->n_bits : 0, m_low = k_low + (has_k ? d->k_bits : 0);
    int32_t batch_low = m_low + (has_m ? d->m_bits : 0);
    put(&c, &p->batch, batch_low, d->batch_bits); // outer loops first
    if (has_m) put(&c, &p->m, m_low, d->m_bits);
    if (has_k) put(&c, &p->k, k_low, d->k_bits);
    if (has_n) put(&c, &p->n, n_low, d->n_bits);
    return c;
}

static LLVMValueRef element(Cx *cx, Dot *d, Value *v, const Held *packed, const Chunk *c)
{
    if (!packed->base) {
        LLVMValueRef x = eval_here(cx, v, c);
        return cast_emit(cx, v->type->dtype, d->operand->dtype, ROUND_RNE, x);
    }
    Place p = place_of_held(cx, packed, type_with_element(cx->fn->module, v->type, d->operand), c);
    at_depth(cx, cx->depth);
    return place_load(cx, &p, NULL);
}

/// a[m, k] (or the pair at k, k + 1) in every lane.
static LLVMValueRef a_broadcast(Cx *cx, Dot *d, const Point *p)
{
    Chunk c = operand_chunk(d, p, true, true, false);
    if (d->pair_bits) {
        c.log_w = 1;
        c.lane[0] = 0; // k0 is the lowest bit of a
    }
    LLVMValueRef x = element(cx, d, d->a, &d->a_packed, &c);
    if (d->pair_bits) x = LLVMBuildBitCast(cx->b, x, cx->i32, "");
    return splat(cx, x, d->w_bits);
}

/// b[k, n ..] (or pairs along k).
static LLVMValueRef b_vector(Cx *cx, Dot *d, const Point *p)
{
    Chunk c = operand_chunk(d, p, false, true, true);
    for (int32_t j = 0; j < d->w_bits; j++)
        c.lane[c.log_w++] = (int8_t)j;
    if (!d->pair_bits) return element(cx, d, d->b, &d->b_packed, &c);
    LLVMValueRef low = element(cx, d, d->b, &d->b_packed, &c);
    c.fixed |= 1u << d->n_bits;
    LLVMValueRef high = element(cx, d, d->b, &d->b_packed, &c);
    int32_t order[PLACE_MAX_LANES], w = 1 << d->w_bits;
    for (int32_t l = 0; l < w; l++) {
        order[2 * l] = l;
        order[2 * l + 1] = w + l;
    }
    return shuffle(cx, low, high, 2 * w, order);
}

/// Sums of products of i16 pairs.
static LLVMValueRef multiply_pairs(Cx *cx, Dot *d, LLVMValueRef a, LLVMValueRef b)
{
    int32_t bytes = 4 << d->w_bits;
    const char *name = bytes == 64   ? "llvm.x86.avx512.pmaddw.d.512"
                       : bytes == 32 ? "llvm.x86.avx2.pmadd.wd"
                                     : "llvm.x86.sse2.pmadd.wd";
    LLVMValueRef in[] = {LLVMBuildBitCast(cx->b, a, LLVMTypeOf(b), ""), b};
    return call_intrinsic(cx, name, NULL, 2, in);
}

static LLVMValueRef multiply_add(Cx *cx, Dot *d, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c)
{
    if (d->pair_bits) return LLVMBuildAdd(cx->b, c, multiply_pairs(cx, d, a, b), "");
    if (dtype_is_float(d->type)) return mul_add(cx, a, b, c);
    return LLVMBuildAdd(cx->b, c, LLVMBuildMul(cx->b, a, b, ""), "");
}

// ---- loops ------------------------------------------------------------------------------------------------

enum { MAX_ACCUMULATORS = 16 };

/// One pass over `1 << ku_bits` k-steps for the whole micro-tile.
static void k_step(Cx *cx, Dot *d, Point p, LLVMValueRef *slot, LLVMTypeRef type)
{
    int32_t mr = 1 << d->mr_bits, nv = 1 << d->nv_bits;
    uint32_t k_fixed = p.k.fixed, n_fixed = p.n.fixed, m_fixed = p.m.fixed;
    for (uint32_t u = 0; u < 1u << d->ku_bits; u++) {
        p.k.fixed = k_fixed | u << d->pair_bits;
        LLVMValueRef b[MAX_ACCUMULATORS];
        for (int32_t v = 0; v < nv; v++) {
            p.n.fixed = n_fixed | (uint32_t)v << d->w_bits;
            b[v] = b_vector(cx, d, &p);
        }
        for (int32_t r = 0; r < mr; r++) {
            p.m.fixed = m_fixed | (uint32_t)r;
            LLVMValueRef a = a_broadcast(cx, d, &p);
            for (int32_t v = 0; v < nv; v++) {
                LLVMValueRef c = LLVMBuildLoad2(cx->b, type, slot[r * nv + v], "");
                LLVMBuildStore(cx->b, multiply_add(cx, d, a, b[v], c), slot[r * nv + v]);
            }
        }
    }
}

static Coord loop_coord(Cx *cx, const Loop *l, int32_t at, int32_t width)
{
    return (Coord){
        .field = {l->var, (int8_t)at, (int8_t)(width - at), (int8_t)at, (int8_t)cx->depth, true}};
}

static void micro_kernel(Cx *cx, Dot *d, Point p)
{
    int32_t mr = 1 << d->mr_bits, nv = 1 << d->nv_bits;
    LLVMTypeRef type = vector_of(dtype_type(cx, d->type), d->w_bits);
    LLVMValueRef slot[MAX_ACCUMULATORS];
    uint32_t n_fixed = p.n.fixed;
    Chunk chunks[MAX_ACCUMULATORS];
    for (int32_t i = 0; i < mr * nv; i++) {
        p.m.fixed = (uint32_t)(i / nv);
        p.n.fixed = n_fixed | (uint32_t)(i % nv) << d->w_bits;
        chunks[i] = operand_chunk(d, &p, true, false, true);
        for (int32_t j = 0; j < d->w_bits; j++)
            chunks[i].lane[chunks[i].log_w++] = (int8_t)j;
        LLVMValueRef start = eval_here(cx, d->acc, &chunks[i]);
        slot[i] = stack_slot(cx, type, 64);
        at_depth(cx, cx->depth);
        LLVMBuildStore(cx->b, start, slot[i]);
    }
    p.m.fixed = 0;
    p.n.fixed = n_fixed;
    int32_t unit = d->ku_bits + d->pair_bits;
    if (d->k_bits > unit) {
        Loop l = loop_open(cx, const_i64(cx, 0), const_i64(cx, (int64_t)1 << d->k_bits),
                           (int64_t)1 << unit);
        p.k = loop_coord(cx, &l, unit, d->k_bits);
        k_step(cx, d, p, slot, type);
        loop_close(cx, &l);
    } else {
        k_step(cx, d, p, slot, type);
    }
    Held out = info_of(cx, d->out)->held;
    for (int32_t i = 0; i < mr * nv; i++) {
        at_depth(cx, cx->depth);
        LLVMValueRef v =
            round_to(cx, d->out->type->dtype, LLVMBuildLoad2(cx->b, type, slot[i], ""), ROUND_RNE);
        Place place = place_of_held(cx, &out, d->out->type, &chunks[i]);
        at_depth(cx, cx->depth);
        place_store(cx, &place, v, NULL);
        depth_moved(cx, cx->depth);
    }
}

static void loop_m(Cx *cx, Dot *d, Point p)
{
    if (d->m_bits <= d->mr_bits) {
        micro_kernel(cx, d, p);
        return;
    }
    Loop l = loop_open(cx, const_i64(cx, 0), const_i64(cx, (int64_t)1 << d->m_bits),
                       (int64_t)1 << d->mr_bits);
    p.m = loop_coord(cx, &l, d->mr_bits, d->m_bits);
    micro_kernel(cx, d, p);
    loop_close(cx, &l);
}

static void loop_n(Cx *cx, Dot *d, Point p)
{
    int32_t unit = d->w_bits + d->nv_bits;
    if (d->n_bits <= unit) {
        loop_m(cx, d, p);
        return;
    }
    Loop l =
        loop_open(cx, const_i64(cx, 0), const_i64(cx, (int64_t)1 << d->n_bits), (int64_t)1 << unit);
    p.n = loop_coord(cx, &l, unit, d->n_bits);
    loop_m(cx, d, p);
    loop_close(cx, &l);
}

void dot_emit(Cx *cx, Op *op)
{
    const Type *t = op->out[0].type, *a = op->in[0]->type;
    Dot d = {.op = op, .a = op->in[0], .b = op->in[1], .acc = op->in[2], .out = op->out};
    d.m_bits = log2_floor((uint64_t)t->shape[t->rank - 2]);
    d.n_bits = log2_floor((uint64_t)t->shape[t->rank - 1]);
    d.k_bits = log2_floor((uint64_t)a->shape[a->rank - 1]);
    d.batch_bits = log_numel(t) - d.m_bits - d.n_bits;
    Info *info = info_of(cx, d.out);
    if (!info->held.base) info->held = held_new(cx, t);
    int64_t mark = scratch_mark(cx);
    choose_types(cx, &d);
    choose_tile(cx, &d);
    choose_operands(cx, &d);
    Point p = {0};
    if (d.batch_bits) {
        Loop l = loop_open(cx, const_i64(cx, 0), const_i64(cx, (int64_t)1 << d.batch_bits), 1);
        p.batch = loop_coord(cx, &l, 0, d.batch_bits);
        loop_n(cx, &d, p);
        loop_close(cx, &l);
    } else {
        loop_n(cx, &d, p);
    }
    memo_drop(cx, 0);
    scratch_release(cx, mark);
}
