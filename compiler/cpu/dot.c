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
// A lane may take a group of neighbours along k at a time (product.c): pairs of bf16 or i16, quads of i8. Then
// b's lanes are (k low, n), and a's broadcast is a whole group. An operand is read where it lies when that is cheap
// and it lies so; otherwise it is first written to scratch in the order and type the product wants (f16 and
// bf16 as f32 where the level multiplies f32). Sums of narrow floats are kept in f32 whatever the
// result's type; it is rounded at the end.
//
// Sums of quantised blocks live only inside one iteration of a loop over blocks:
//
//   for b:  part = dot(x[b], low[b], start)               for b:  for each micro-tile:
//           part = dot(x'[b], high[b], part)        ==>             c = start; both dots in registers
//           acc += float(part) * scale[b]                           acc = fma(float(c), scale, acc)
//
// Such dots are not emitted where they stand but where the loop yields, with what is computed of them (Fused).
#include "compiler/cpu/cpu.h"

typedef struct Dot {
    Op *op;
    Value *a, *b, *acc, *out;
    int32_t m_bits, n_bits, k_bits, batch_bits; ///< log2 of extents
    int32_t mr_bits, nv_bits, w_bits,
        ku_bits; ///< micro-tile: rows, vectors, lanes along n; k-steps per iteration
    Product product;
    const Type *operand;     ///< element type of copies of operands
    Held a_packed, b_packed; ///< base NULL: read in place
    bool a_raw, b_raw;       ///< bf16 read in place, as bits
    bool is_paired;          ///< two rows and two k-steps at a time (product_pairs)
    Value *stream;           ///< pointers that b reads once each, or NULL; ...
    LLVMValueRef ahead;      ///< ... and how far on it reads in the next iteration
    Op *b_pairs; ///< the load of bf16 pairs of k side by side, where singles of f32 are wanted
} Dot;

enum { MAX_SUMS = 4, MAX_CHAIN = 4 };

/// Dots of which each adds to the one before. They have one shape of result, and one micro-tile.
typedef struct Sum {
    int32_t n;
    Dot dots[MAX_CHAIN];
    Value *top; ///< what is computed of the sum, and of those before it, at once
} Sum;

struct Fused {
    int32_t n;
    Sum sums[MAX_SUMS]; ///< in the order of the program
    Value *value;       ///< what is written; NULL: the only sum itself
    Held to;
};

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

/// Do all accesses of `v` step by their element's size along bit order[0] of `v`, twice that along order[1] ...?
static bool lies_along(Cx *cx, Value *v, int32_t n, const int8_t *order)
{
    Cone cone = {0};
    cone_add(cx, &cone, v, NULL, 0);
    VEC_EACH(Access, a, &cone.accesses) {
        const Affine *f = affine_of(cx->affine, a->pointer);
        for (int32_t j = 0; j < n; j++) {
            int32_t p = a->map[order[j]];
            if (p < 0 && n == 1) continue;
            if (p < 0 || f->slow >> p & 1 || !coeff_is_const(&f->coeff[p]) ||
                f->coeff[p].scale != (int64_t)dtype_bytes(a->pointer->type->dtype) << j)
                return false;
        }
    }
    return true;
}

/// Do neighbours along n (bit 0 of b) lie side by side in what `v` reads?
static bool is_contiguous(Cx *cx, Value *v)
{
    const int8_t first = 0;
    if (!lies_along(cx, v, 1, &first)) return false;
    for (Op *op = v->def; op; op = op->in[0]->def) { // transposed memory of ours is not either
        if (op->kind == OP_TRANS && info_of(cx, op->in[0])->mode == MODE_HELD) return false;
        if (op->kind != OP_TRANS && op->kind != OP_CAST && op->kind != OP_BROADCAST &&
            op->kind != OP_EXPAND_DIMS)
            break;
    }
    return true;
}

/// Does b lie in memory as its lanes want it: groups along k, then n? Then it is decoded where it is read.
static bool is_grouped(Cx *cx, const Dot *d)
{
    int8_t order[MAX_LANE_BITS];
    int32_t n = 0;
    for (int32_t j = 0; j < d->product.group_bits; j++)
        order[n++] = (int8_t)(d->n_bits + j);
    for (int32_t j = 0; j < d->w_bits; j++)
        order[n++] = (int8_t)j;
    Cone cone = {0};
    cone_add(cx, &cone, d->b, NULL, 0);
    return cone.accesses.len && !cone.terms.len && lies_along(cx, d->b, n, order);
}

/// The load of b's bf16 elements, when they lie in pairs along k, then n: each vector of 32-bit lanes is one row k in
/// its low halves and row k + 1 in its high halves, and bf16 is the high half of f32.
static Op *paired_load(Cx *cx, const Dot *d)
{
    const Value *v = d->b;
    int8_t order[MAX_LANE_BITS] = {(int8_t)d->n_bits};
    int32_t n = 1;
    if (v->def && v->def->kind == OP_CAST && info_of(cx, v)->mode == MODE_LAZY) v = v->def->in[0];
    const Op *load = v->def;
    if (!load || load->kind != OP_LOAD || load->n_in != 1 || info_of(cx, v)->is_keep ||
        v->type->dtype != DTYPE_BF16 || d->product.sum != DTYPE_F32 || !d->ku_bits)
        return NULL;
    for (int32_t j = 0; j < d->w_bits; j++)
        order[n++] = (int8_t)j;
    return lies_along(cx, d->b, n, order) ? (Op *)(uintptr_t)load : NULL;
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
    DType a = d->a->type->dtype, b = d->b->type->dtype;
    DType sum = a == DTYPE_F64 ? DTYPE_F64 : dtype_is_int(a) ? DTYPE_I32 : DTYPE_F32;
    d->product = product_choose(cx, sum, a, b, d->n_bits >= 2 ? d->k_bits : 0, product_bound(d->a),
                                product_bound(d->b));
    d->operand = type_scalar(cx->fn->module, d->product.operand);
}

static void choose_tile(Cx *cx, Dot *d)
{
    int32_t bytes = dtype_bytes(d->product.sum), regs = cx->isa->n_registers;
    // log2 of products in an iteration: LLVM schedules a longer run of quads row by row, and spills what b decodes to; of
    // floats it moves loads up until they do not fit, but for a few rows of 16 registers
    int32_t unrolled = d->product.group_bits != 2       ? (regs == 32       ? 4
                                                           : d->m_bits >= 2 ? 6
                                                                            : 5)
                       : d->product.kind == PRODUCT_LOW ? 2
                                                        : 3;
    d->w_bits = MIN(d->n_bits, log2_floor((uint64_t)(cx->isa->vector_bytes / bytes)));
    d->mr_bits = MIN(d->m_bits, regs == 32 ? 3 : 2);
    int32_t accumulators = regs == 32 ? 4 : 3; // log2: half of the registers
    d->nv_bits = MIN(accumulators - d->mr_bits, d->n_bits - d->w_bits);
    if (d->nv_bits < accumulators - d->mr_bits)
        d->mr_bits = MIN(d->m_bits, accumulators - d->nv_bits);
    int32_t steps = d->k_bits - d->product.group_bits;
    d->ku_bits = MIN(steps, MAX(0, unrolled - d->mr_bits - d->nv_bits));
    d->is_paired = product_has_pairs(cx, &d->product) && d->mr_bits >= 1 && steps >= 1;
    if (d->is_paired) d->ku_bits = MAX(d->ku_bits, 1);
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

/// Bits of group members in front of n: the order of a packed b, [batch, k / group, n, group].
static Chunk packed_chunk(const Dot *d, const Point *p)
{
    Chunk c = chunk_zero();
    put(&c, &p->batch, d->n_bits + d->k_bits, d->batch_bits);
    put(&c, &p->k, d->n_bits, d->k_bits); // its low bits are members, which loops do not walk
    put(&c, &p->n, d->product.group_bits, d->n_bits);
    return c;
}

static LLVMValueRef element(Cx *cx, Dot *d, Value *v, const Held *packed, bool is_raw,
                            const Chunk *c)
{
    const Type *type = type_with_element(cx->fn->module, v->type, d->operand);
    if (!packed->base && !is_raw) {
        LLVMValueRef x = eval_here(cx, v, c);
        return cast_emit(cx, v->type->dtype, d->product.operand, ROUND_RNE, x);
    }
    Place p = is_raw ? place_of_pointer(cx, v->def->in[0], c) : place_of_held(cx, packed, type, c);
    if (d->product.operand == DTYPE_BF16) p.elem = type_scalar(cx->fn->module, DTYPE_U16);
    at_depth(cx, cx->depth);
    return place_load(cx, &p, NULL);
}

/// One of the halves of a quad that pack_halves() laid side by side, in every lane.
static LLVMValueRef half_broadcast(Cx *cx, Dot *d, const Point *p, uint32_t half)
{
    const Type *i16 = type_scalar(cx->fn->module, DTYPE_I16);
    Chunk c = operand_chunk(d, p, true, true, false);
    c.log_w = 1;
    c.lane[0] = 0;
    c.fixed |= half << 1;
    Place place =
        place_of_held(cx, &d->a_packed, type_with_element(cx->fn->module, d->a->type, i16), &c);
    at_depth(cx, cx->depth);
    LLVMValueRef x = place_load(cx, &place, NULL);
    return splat(cx, LLVMBuildBitCast(cx->b, x, cx->i32, ""), d->w_bits);
}

/// A group as one int. On AArch64 LLVM takes a short vector that was loaded apart, and an int not.
static LLVMValueRef group_as_int(Cx *cx, LLVMValueRef x, LLVMTypeRef type)
{
    if (!(cx->isa->facts & ISA_ARM) || !LLVMIsALoadInst(x))
        return LLVMBuildBitCast(cx->b, x, type, "");
    LLVMBasicBlockRef here = LLVMGetInsertBlock(cx->b);
    LLVMPositionBuilderBefore(cx->b, x);
    LLVMValueRef bits = LLVMBuildLoad2(cx->b, type, LLVMGetOperand(x, 0), "");
    LLVMSetAlignment(bits, LLVMGetAlignment(x));
    LLVMPositionBuilderAtEnd(cx->b, here);
    return bits;
}

/// a[m, k] or the group at k, in every lane.
static Factor a_broadcast(Cx *cx, Dot *d, const Point *p)
{
    if (d->product.kind == PRODUCT_WIDE)
        return (Factor){{half_broadcast(cx, d, p, 0), half_broadcast(cx, d, p, 1)}};
    Chunk c = operand_chunk(d, p, true, true, false);
    int32_t group = d->product.group_bits;
    for (int32_t j = 0; j < group; j++) // k's bits are the lowest of a
        c.lane[c.log_w++] = (int8_t)j;
    LLVMValueRef x = element(cx, d, d->a, &d->a_packed, d->a_raw, &c);
    if (group) x = group_as_int(cx, x, cx->i32);
    return product_factor(cx, &d->product, splat(cx, x, d->w_bits), true);
}

/// Two groups at k of rows m and m + 1, side by side.
static Factor a_pair(Cx *cx, Dot *d, Point p)
{
    LLVMTypeRef i64x2 = LLVMVectorType(cx->i64, 2);
    LLVMValueRef both = LLVMGetPoison(i64x2);
    uint32_t m_fixed = p.m.fixed;
    for (uint32_t r = 0; r < 2; r++) {
        p.m.fixed = m_fixed | r;
        Chunk c = operand_chunk(d, &p, true, true, false);
        for (int32_t j = 0; j <= d->product.group_bits; j++)
            c.lane[c.log_w++] = (int8_t)j;
        LLVMValueRef x = element(cx, d, d->a, &d->a_packed, d->a_raw, &c);
        x = group_as_int(cx, x, cx->i64);
        both = LLVMBuildInsertElement(cx->b, both, x, LLVMConstInt(cx->i32, r, false), "");
    }
    return (Factor){{both, NULL}};
}

/// The line that vector `v` of the micro-tile reads in the next iteration, when none before it lies there.
static void ask_ahead(Cx *cx, Dot *d, const Chunk *c, int32_t v)
{
    int32_t bytes = dtype_bytes(d->stream->type->dtype) << c->log_w;
    if (v * bytes % LINE_BYTES && bytes < LINE_BYTES) return;
    Place p = place_of_pointer(cx, d->stream, c);
    at_depth(cx, cx->depth);
    for (int32_t k = 0; p.base && k < bytes; k += LINE_BYTES)
        prefetch_line(cx, p.base, LLVMBuildAdd(cx->b, d->ahead, const_i64(cx, k), ""));
}

/// b[k, n ..] of a load in pairs. Both rows of a pair read the same vector.
static LLVMValueRef half_of_pairs(Cx *cx, Dot *d, const Point *p)
{
    Point even = *p;
    even.k.fixed &= ~1u;
    Chunk c = operand_chunk(d, &even, false, true, true);
    c.lane[c.log_w++] = (int8_t)d->n_bits;
    for (int32_t j = 0; j < d->w_bits; j++)
        c.lane[c.log_w++] = (int8_t)j;
    Place place = place_of_pointer(cx, d->b_pairs->in[0], &c);
    place.elem = type_scalar(cx->fn->module, DTYPE_U16);
    at_depth(cx, cx->depth);
    if (d->ahead && !(p->k.fixed & 1)) ask_ahead(cx, d, &c, (int32_t)(p->n.fixed >> d->w_bits));
    LLVMTypeRef type = vector_of(cx->i32, d->w_bits);
    LLVMValueRef x = LLVMBuildBitCast(cx->b, place_load(cx, &place, NULL), type, "");
    x = p->k.fixed & 1 ? LLVMBuildAnd(cx->b, x, const_int(type, -65536), "")
                       : LLVMBuildShl(cx->b, x, const_int(type, 16), "");
    return LLVMBuildBitCast(cx->b, x, vector_of(cx->f32, d->w_bits), "");
}

/// b[k, n ..], by groups along k, made ready for products.
static Factor b_vector(Cx *cx, Dot *d, const Point *p)
{
    if (d->b_pairs) return product_factor(cx, &d->product, half_of_pairs(cx, d, p), false);
    int32_t group = d->product.group_bits;
    bool is_packed = group && d->b_packed.base;
    Chunk c = is_packed ? packed_chunk(d, p) : operand_chunk(d, p, false, true, true);
    for (int32_t j = 0; j < group; j++)
        c.lane[c.log_w++] = (int8_t)(is_packed ? j : d->n_bits + j);
    for (int32_t j = 0; j < d->w_bits; j++)
        c.lane[c.log_w++] = (int8_t)(is_packed ? group + j : j);
    LLVMValueRef x = element(cx, d, d->b, &d->b_packed, d->b_raw, &c);
    if (d->ahead) ask_ahead(cx, d, &c, (int32_t)(p->n.fixed >> d->w_bits));
    return product_factor(cx, &d->product, x, false);
}

// ---- loops ------------------------------------------------------------------------------------------------

enum { MAX_ACCUMULATORS = 16 };

/// The sums of a micro-tile, [mr, nv], in memory that becomes registers.
typedef struct Acc {
    LLVMTypeRef type, narrow_type;
    bool
        is_paired; ///< while k-steps are added: lanes 0, 1 of rows r and r + 1, then lanes 2, 3 of both
    int32_t n, weight; ///< of what is summed in `narrow`: at most NARROW_MOST
    Chunk chunks[MAX_ACCUMULATORS];
    LLVMValueRef slot[MAX_ACCUMULATORS];
    LLVMValueRef excess[MAX_ACCUMULATORS]; ///< [nv]
    LLVMValueRef narrow[MAX_ACCUMULATORS]; ///< of i16; nothing is there while `weight` is 0
} Acc;

enum { NARROW_MOST = INT16_MAX };

static void acc_widen(Cx *cx, Acc *acc)
{
    for (int32_t i = 0; i < acc->n && acc->weight; i++) {
        LLVMValueRef c = LLVMBuildLoad2(cx->b, acc->type, acc->slot[i], "");
        LLVMValueRef x = LLVMBuildLoad2(cx->b, acc->narrow_type, acc->narrow[i], "");
        LLVMBuildStore(cx->b, product_widen(cx, x, c), acc->slot[i]);
    }
    acc->weight = 0;
}

/// Adds a[r] b[v] to sum `i`.
static void acc_add(Cx *cx, Acc *acc, int32_t i, const Product *p, const Factor *a, const Factor *b)
{
    if (!product_weight(p)) {
        LLVMValueRef c = LLVMBuildLoad2(cx->b, acc->type, acc->slot[i], "");
        LLVMBuildStore(cx->b, product_add(cx, p, a, b, c), acc->slot[i]);
        return;
    }
    LLVMValueRef x = NULL;
    if (acc->weight) x = LLVMBuildLoad2(cx->b, acc->narrow_type, acc->narrow[i], "");
    LLVMBuildStore(cx->b, product_narrow(cx, p, a, b, x), acc->narrow[i]);
}

/// Rows r and r + 1 of a vector of sums become their lower and their upper halves, and back.
static void acc_pair(Cx *cx, Acc *acc, int32_t nv)
{
    static const int32_t low[] = {0, 1, 4, 5}, high[] = {2, 3, 6, 7};
    for (int32_t i = 0; i < acc->n && acc->is_paired; i++) {
        if (i / nv % 2) continue;
        LLVMValueRef x = LLVMBuildLoad2(cx->b, acc->type, acc->slot[i], "");
        LLVMValueRef y = LLVMBuildLoad2(cx->b, acc->type, acc->slot[i + nv], "");
        LLVMBuildStore(cx->b, shuffle(cx, x, y, 4, low), acc->slot[i]);
        LLVMBuildStore(cx->b, shuffle(cx, x, y, 4, high), acc->slot[i + nv]);
    }
}

/// Two k-steps of b, lanes n0 n1 n2 n3 each, as n0 n1 and n2 n3 with both steps side by side.
static void b_pair(Cx *cx, Dot *d, Point p, uint32_t k_next, Factor out[2])
{
    static const int32_t low[] = {0, 4, 1, 5}, high[] = {2, 6, 3, 7};
    LLVMTypeRef i32x4 = LLVMVectorType(cx->i32, 4);
    LLVMValueRef x = LLVMBuildBitCast(cx->b, b_vector(cx, d, &p).v[0], i32x4, "");
    p.k.fixed = k_next;
    LLVMValueRef y = LLVMBuildBitCast(cx->b, b_vector(cx, d, &p).v[0], i32x4, "");
    out[0].v[0] = shuffle(cx, x, y, 4, low);
    out[1].v[0] = shuffle(cx, x, y, 4, high);
}

/// k_step() where sums are paired.
static void k_step_paired(Cx *cx, Dot *d, Point p, Acc *acc)
{
    int32_t mr = 1 << d->mr_bits, nv = 1 << d->nv_bits, group = d->product.group_bits;
    uint32_t k_fixed = p.k.fixed, n_fixed = p.n.fixed, m_fixed = p.m.fixed;
    for (uint32_t u = 0; u < 1u << d->ku_bits; u += 2) {
        p.k.fixed = k_fixed | u << group;
        Factor b[MAX_ACCUMULATORS][2];
        for (int32_t v = 0; v < nv; v++) {
            p.n.fixed = n_fixed | (uint32_t)v << d->w_bits;
            b_pair(cx, d, p, k_fixed | (u + 1) << group, b[v]);
        }
        for (int32_t r = 0; r < mr; r += 2) {
            p.m.fixed = m_fixed | (uint32_t)r;
            Factor a = a_pair(cx, d, p);
            for (int32_t i = 0; i < 2 * nv; i++) {
                LLVMValueRef slot = acc->slot[(r + i % 2) * nv + i / 2];
                LLVMValueRef c = LLVMBuildLoad2(cx->b, acc->type, slot, "");
                LLVMBuildStore(cx->b, product_pairs(cx, &d->product, &a, &b[i / 2][i % 2], c),
                               slot);
            }
        }
    }
}

/// One pass over `1 << ku_bits` k-steps for the whole micro-tile.
static void k_step(Cx *cx, Dot *d, Point p, Acc *acc)
{
    if (acc->is_paired) {
        k_step_paired(cx, d, p, acc);
        return;
    }
    int32_t mr = 1 << d->mr_bits, nv = 1 << d->nv_bits, weight = product_weight(&d->product);
    uint32_t k_fixed = p.k.fixed, n_fixed = p.n.fixed, m_fixed = p.m.fixed;
    for (uint32_t u = 0; u < 1u << d->ku_bits; u++) {
        p.k.fixed = k_fixed | u << d->product.group_bits;
        Factor b[MAX_ACCUMULATORS];
        for (int32_t v = 0; v < nv; v++) {
            p.n.fixed = n_fixed | (uint32_t)v << d->w_bits;
            b[v] = b_vector(cx, d, &p);
            if (!d->product.flips_a) continue;
            LLVMValueRef excess = LLVMBuildLoad2(cx->b, acc->type, acc->excess[v], "");
            LLVMBuildStore(cx->b, product_excess(cx, &b[v], excess), acc->excess[v]);
        }
        if (acc->weight + weight > NARROW_MOST) acc_widen(cx, acc);
        for (int32_t r = 0; r < mr; r++) {
            p.m.fixed = m_fixed | (uint32_t)r;
            Factor a = a_broadcast(cx, d, &p);
            for (int32_t v = 0; v < nv; v++)
                acc_add(cx, acc, r * nv + v, &d->product, &a, &b[v]);
        }
        acc->weight += weight;
    }
}

static Coord loop_coord(Cx *cx, const Loop *l, int32_t at, int32_t width)
{
    return (Coord){
        .field = {l->var, (int8_t)at, (int8_t)(width - at), (int8_t)at, (int8_t)cx->depth, true}};
}

static void acc_begin(Cx *cx, const Sum *s, Point p, Acc *acc)
{
    const Dot *d = &s->dots[0];
    int32_t nv = 1 << d->nv_bits;
    uint32_t n_fixed = p.n.fixed;
    bool flips = false, pairs = true;
    for (int32_t k = 0; k < s->n; k++) {
        flips |= s->dots[k].product.flips_a;
        pairs &= s->dots[k].is_paired;
    }
    *acc = (Acc){.type = vector_of(dtype_type(cx, d->product.sum), d->w_bits),
                 .narrow_type = vector_of(cx->i16, d->w_bits + 1),
                 .is_paired = pairs,
                 .n = nv << d->mr_bits};
    for (int32_t i = 0; i < acc->n; i++) {
        p.m.fixed = (uint32_t)(i / nv);
        p.n.fixed = n_fixed | (uint32_t)(i % nv) << d->w_bits;
        Chunk *c = &acc->chunks[i];
        *c = operand_chunk(d, &p, true, false, true);
        for (int32_t j = 0; j < d->w_bits; j++)
            c->lane[c->log_w++] = (int8_t)j;
        LLVMValueRef start =
            LLVMConstNull(acc->type); // what a loop over k need not carry is added after it
        if (!product_weight(&d->product)) start = eval_here(cx, d->acc, c);
        acc->slot[i] = stack_slot(cx, acc->type, 64);
        acc->narrow[i] = stack_slot(cx, acc->narrow_type, 64);
        at_depth(cx, cx->depth);
        LLVMBuildStore(cx->b, start, acc->slot[i]);
    }
    for (int32_t v = 0; v < nv && flips; v++) {
        acc->excess[v] = stack_slot(cx, acc->type, 64);
        LLVMBuildStore(cx->b, LLVMConstNull(acc->type), acc->excess[v]);
    }
    acc_pair(cx, acc, nv);
}

/// All steps of dots first .. end - 1, which have as many. What i16 can hold of them is carried so through the loop.
static void k_steps(Cx *cx, Sum *s, int32_t first, int32_t end, Point p, Acc *acc)
{
    const Dot *d = &s->dots[first];
    int32_t unit = d->ku_bits + d->product.group_bits;
    if (d->k_bits <= unit) {
        for (int32_t j = first; j < end; j++)
            k_step(cx, &s->dots[j], p, acc);
        return;
    }
    int64_t weight = 0;
    for (int32_t j = first; j < end; j++)
        weight += (int64_t)product_weight(&s->dots[j].product)
                  << (s->dots[j].k_bits - s->dots[j].product.group_bits);
    bool is_carried = weight && acc->weight + weight <= NARROW_MOST;
    if (!is_carried) acc_widen(cx, acc);
    for (int32_t i = 0; i < acc->n && is_carried && !acc->weight; i++)
        LLVMBuildStore(cx->b, LLVMConstNull(acc->narrow_type), acc->narrow[i]);
    int32_t all = acc->weight + (int32_t)weight;
    Loop l =
        loop_open(cx, const_i64(cx, 0), const_i64(cx, (int64_t)1 << d->k_bits), (int64_t)1 << unit);
    p.k = loop_coord(cx, &l, unit, d->k_bits);
    if (is_carried) acc->weight = 1;
    for (int32_t j = first; j < end; j++)
        k_step(cx, &s->dots[j], p, acc);
    if (!is_carried) acc_widen(cx, acc);
    loop_close(cx, &l);
    if (is_carried) acc->weight = all;
}

/// A chain's dots side by side, so that what they decode is read once; one after the other where they differ in length.
static void sum_steps(Cx *cx, Sum *s, Point p, Acc *acc)
{
    for (int32_t first = 0, end; first < s->n; first = end) {
        end = first + 1;
        while (end < s->n && s->dots[end].k_bits == s->dots[first].k_bits &&
               s->dots[end].ku_bits == s->dots[first].ku_bits &&
               s->dots[end].product.group_bits == s->dots[first].product.group_bits)
            end++;
        k_steps(cx, s, first, end, p, acc);
    }
    acc_widen(cx, acc);
    acc_pair(cx, acc, 1 << s->dots[0].nv_bits);
}

/// Sum `i` of the micro-tile, without what flipping added.
static LLVMValueRef acc_value(Cx *cx, const Dot *d, const Acc *acc, int32_t i)
{
    int32_t nv = 1 << d->nv_bits;
    at_depth(cx, cx->depth);
    LLVMValueRef v = LLVMBuildLoad2(cx->b, acc->type, acc->slot[i], "");
    if (product_weight(&d->product))
        v = LLVMBuildAdd(cx->b, v, eval_here(cx, d->acc, &acc->chunks[i]), "");
    if (!acc->excess[0]) return v;
    return LLVMBuildSub(cx->b, v, LLVMBuildLoad2(cx->b, acc->type, acc->excess[i % nv], ""), "");
}

static void micro_kernel(Cx *cx, Fused *f, Point p)
{
    LLVMValueRef values[MAX_ACCUMULATORS];
    Acc acc = {0};
    const Type *t = (f->value ? f->value : f->sums[0].dots[0].out)->type;
    for (int32_t k = 0; k < f->n; k++) {
        Sum *s = &f->sums[k];
        acc_begin(cx, s, p, &acc);
        sum_steps(cx, s, p, &acc);
        for (int32_t i = 0; i < acc.n; i++) {
            values[i] = acc_value(cx, &s->dots[0], &acc, i);
            if (!f->value) values[i] = round_to(cx, t->dtype, values[i], ROUND_RNE);
            if (f->value) memo_add(cx, s->dots[s->n - 1].out, &acc.chunks[i], values[i]);
        }
        for (int32_t i = 0; i < acc.n && f->value; i++)
            values[i] = eval_here(cx, s->top, &acc.chunks[i]);
    }
    for (int32_t i = 0; i < acc.n; i++) {
        Place place = place_of_held(cx, &f->to, t, &acc.chunks[i]);
        at_depth(cx, cx->depth);
        place_store(cx, &place, values[i], NULL);
        depth_moved(cx, cx->depth);
    }
}

static void loop_m(Cx *cx, Fused *f, Point p)
{
    const Dot *d = &f->sums[0].dots[0];
    if (d->m_bits <= d->mr_bits) {
        micro_kernel(cx, f, p);
        return;
    }
    Loop l = loop_open(cx, const_i64(cx, 0), const_i64(cx, (int64_t)1 << d->m_bits),
                       (int64_t)1 << d->mr_bits);
    p.m = loop_coord(cx, &l, d->mr_bits, d->m_bits);
    micro_kernel(cx, f, p);
    loop_close(cx, &l);
}

static void loop_n(Cx *cx, Fused *f, Point p)
{
    const Dot *d = &f->sums[0].dots[0];
    int32_t unit = d->w_bits + d->nv_bits;
    if (d->n_bits <= unit) {
        loop_m(cx, f, p);
        return;
    }
    Loop l =
        loop_open(cx, const_i64(cx, 0), const_i64(cx, (int64_t)1 << d->n_bits), (int64_t)1 << unit);
    p.n = loop_coord(cx, &l, unit, d->n_bits);
    loop_m(cx, f, p);
    loop_close(cx, &l);
}

static void loop_batch(Cx *cx, Fused *f)
{
    const Dot *d = &f->sums[0].dots[0];
    Point p = {0};
    if (!d->batch_bits) {
        loop_n(cx, f, p);
        return;
    }
    Loop l = loop_open(cx, const_i64(cx, 0), const_i64(cx, (int64_t)1 << d->batch_bits), 1);
    p.batch = loop_coord(cx, &l, 0, d->batch_bits);
    loop_n(cx, f, p);
    loop_close(cx, &l);
}

// ---- copies of operands -----------------------------------------------------------------------------------

/// Rows k, k + 1 ... of a group, a vector of n each, become one with the group's members side by side.
static LLVMValueRef interleaved(Cx *cx, LLVMValueRef *row, int32_t group_bits, int32_t log_w)
{
    int32_t order[PLACE_MAX_LANES];
    for (int32_t g = group_bits; g-- > 0;) {
        int32_t lanes = 1 << (log_w + group_bits - g - 1);
        for (int32_t l = 0; l < lanes; l++)
            order[2 * l] = l, order[2 * l + 1] = lanes + l;
        for (int32_t i = 0; i < 1 << g; i++) // first the rows farthest apart: 0 with 2, 1 with 3
            row[i] = shuffle(cx, row[i], row[i + (1 << g)], 2 * lanes, order);
    }
    return row[0];
}

/// Copies b into the order of packed_chunk(). It is read where it lies, or from its row-major copy.
static Held pack_groups(Cx *cx, Dot *d)
{
    int32_t group = d->product.group_bits, log_w = MIN(d->n_bits, MAX_LANE_BITS - 1 - group);
    const Type *type = type_with_element(cx->fn->module, d->b->type, d->operand);
    const Type *bits = type_scalar(cx->fn->module, DTYPE_U16);
    Held h = held_bytes(cx, d->b->type->numel * dtype_bytes(d->product.operand));
    h.is_small = false;
    Point p = {0};
    Loop batch = loop_open(cx, const_i64(cx, 0), const_i64(cx, (int64_t)1 << d->batch_bits), 1);
    p.batch = loop_coord(cx, &batch, 0, d->batch_bits);
    Loop k = loop_open(cx, const_i64(cx, 0), const_i64(cx, (int64_t)1 << d->k_bits),
                       (int64_t)1 << group);
    p.k = loop_coord(cx, &k, group, d->k_bits);
    Loop n = loop_open(cx, const_i64(cx, 0), const_i64(cx, (int64_t)1 << d->n_bits),
                       (int64_t)1 << log_w);
    p.n = loop_coord(cx, &n, log_w, d->n_bits);
    LLVMValueRef row[4];
    for (uint32_t i = 0; i < 1u << group; i++) {
        p.k.fixed = i;
        Chunk c = operand_chunk(d, &p, false, true, true);
        for (int32_t j = 0; j < log_w; j++)
            c.lane[c.log_w++] = (int8_t)j;
        row[i] = element(cx, d, d->b, &d->b_packed, false, &c);
        if (d->product.operand == DTYPE_BF16 && !d->b_packed.base)
            row[i] = to_memory(cx, d->operand, row[i]);
    }
    p.k.fixed = 0;
    Chunk c = packed_chunk(d, &p);
    for (int32_t j = 0; j < group + log_w; j++)
        c.lane[c.log_w++] = (int8_t)j;
    Place place = place_of_held(cx, &h, type, &c);
    if (d->product.operand == DTYPE_BF16) place.elem = bits;
    at_depth(cx, cx->depth);
    place_store(cx, &place, interleaved(cx, row, group, log_w), NULL);
    depth_moved(cx, cx->depth);
    loop_close(cx, &n);
    loop_close(cx, &k);
    loop_close(cx, &batch);
    memo_drop(cx, 0);
    return h;
}

/// Copies a as i16 with each quad in the order k0 k2 k1 k3: its halves, as they meet even and odd bytes of b.
static Held pack_halves(Cx *cx, Dot *d)
{
    const Type *i16 = type_scalar(cx->fn->module, DTYPE_I16);
    int32_t log_w = MIN(d->k_bits, 5), rows = d->m_bits + d->batch_bits, order[PLACE_MAX_LANES];
    Held h = held_bytes(cx, d->a->type->numel * 2);
    h.is_small = false;
    Chunk c = chunk_zero();
    Loop row = loop_open(cx, const_i64(cx, 0), const_i64(cx, (int64_t)1 << rows), 1);
    chunk_add_field(&c,
                    (Field){row.var, 0, (int8_t)rows, (int8_t)d->k_bits, (int8_t)cx->depth, true});
    Loop k = loop_open(cx, const_i64(cx, 0), const_i64(cx, (int64_t)1 << d->k_bits),
                       (int64_t)1 << log_w);
    chunk_add_field(&c, (Field){k.var, (int8_t)log_w, (int8_t)(d->k_bits - log_w), (int8_t)log_w,
                                (int8_t)cx->depth, true});
    for (int32_t j = 0; j < log_w; j++)
        c.lane[c.log_w++] = (int8_t)j;
    LLVMValueRef x = element(cx, d, d->a, &d->a_packed, false, &c);
    x = cast_emit(cx, d->product.operand, DTYPE_I16, ROUND_RNE, x);
    for (int32_t l = 0; l < 1 << log_w; l++)
        order[l] = (l & ~3) | (l & 1) << 1 | (l >> 1 & 1);
    x = shuffle(cx, x, NULL, 1 << log_w, order);
    Place place = place_of_held(cx, &h, type_with_element(cx->fn->module, d->a->type, i16), &c);
    at_depth(cx, cx->depth);
    place_store(cx, &place, x, NULL);
    depth_moved(cx, cx->depth);
    loop_close(cx, &k);
    loop_close(cx, &row);
    memo_drop(cx, 0);
    return h;
}

/// A load that can be read as bits, where elements are computed in another type.
static bool is_raw(const Dot *d, const Value *v)
{
    return v->def && v->def->kind == OP_LOAD && v->def->n_in == 1 &&
           v->type->dtype == d->product.operand;
}

/// b is read once: does the loop around tell where it will be read later?
static void plan_stream(Cx *cx, Dot *d)
{
    Cone cone = {0};
    cone_add(cx, &cone, d->b, NULL, 0);
    if (!cone.accesses.len) return; // of several the first: the others are smaller
    Value *pointer = (Value *)cone.accesses.data[0].pointer;
    if (!type_same_shape(pointer->type, d->b->type)) return;
    d->stream = pointer;
    d->ahead = prefetch_ahead(cx, d->op, pointer,
                              pointer->type->numel * dtype_bytes(pointer->type->dtype));
}

static void choose_operands(Cx *cx, Dot *d)
{
    bool one_row_block = d->m_bits <= d->mr_bits, is_group = d->product.group_bits > 0;
    bool is_bits = d->product.operand == DTYPE_BF16;
    const int8_t k_first[] = {0, 1};
    bool a_direct = is_direct(cx, d, d->a), b_direct = is_direct(cx, d, d->b), b_inline;
    if (is_group) {
        a_direct &= lies_along(cx, d->a, d->product.group_bits, k_first);
        d->a_raw = is_bits && a_direct && is_raw(d, d->a);
        d->b_raw = is_bits && is_grouped(cx, d) && is_raw(d, d->b);
        if (is_bits) a_direct = d->a_raw;
        b_inline =
            is_bits ? d->b_raw : d->b->type->dtype == d->product.operand && is_grouped(cx, d);
    } else {
        // masks of a lazily read operand would be tested in the inner loop: copy such operands
        Cone cone = {0};
        cone_add(cx, &cone, d->b, NULL, 0);
        d->b_pairs = paired_load(cx, d);
        b_inline = d->b_pairs || (is_contiguous(cx, d->b) && !cone.terms.len &&
                                  (b_direct || (one_row_block && value_cost(cx, d->b) <= 24)));
    }
    if (!a_direct) d->a_packed = pack(cx, d, d->a);
    if (!b_inline && !(is_group && is_contiguous(cx, d->b))) d->b_packed = pack(cx, d, d->b);
    group_flush(cx);
    if (!b_inline && is_group) d->b_packed = pack_groups(cx, d);
    if (d->product.kind == PRODUCT_WIDE) d->a_packed = pack_halves(cx, d);
    // of a few blocks of rows the first reads from memory, the others ask once more
    if (b_inline && d->m_bits - d->mr_bits <= 2) plan_stream(cx, d);
}

static Dot dot_of(Op *op)
{
    const Type *t = op->out[0].type, *a = op->in[0]->type;
    Dot d = {.op = op, .a = op->in[0], .b = op->in[1], .acc = op->in[2], .out = op->out};
    d.m_bits = log2_floor((uint64_t)t->shape[t->rank - 2]);
    d.n_bits = log2_floor((uint64_t)t->shape[t->rank - 1]);
    d.k_bits = log2_floor((uint64_t)a->shape[a->rank - 1]);
    d.batch_bits = log_numel(t) - d.m_bits - d.n_bits;
    return d;
}

static void fused_emit(Cx *cx, Fused *f)
{
    int64_t mark = scratch_mark(cx);
    for (int32_t k = 0; k < f->n; k++)
        for (int32_t j = 0; j < f->sums[k].n; j++) {
            Dot *d = &f->sums[k].dots[j];
            choose_types(cx, d);
            choose_tile(cx, d);
            d->mr_bits = f->sums[0].dots[0].mr_bits; // all of one kind have the same in any case
            d->nv_bits = f->sums[0].dots[0].nv_bits;
            choose_operands(cx, d);
            if (j && d->stream == f->sums[k].dots[j - 1].stream)
                d->ahead = NULL; // it has been asked for
        }
    loop_batch(cx, f);
    memo_drop(cx, 0);
    scratch_release(cx, mark);
}

void dot_emit(Cx *cx, Op *op)
{
    Info *info = info_of(cx, op->out);
    if (info->is_deferred) return;
    if (!info->held.base) info->held = held_new(cx, op->out->type);
    Fused *f = arena_new(cx->arena, Fused);
    f->n = f->sums[0].n = 1;
    f->sums[0].dots[0] = dot_of(op);
    f->to = info->held;
    fused_emit(cx, f);
}

// ---- dots that a loop's yield consumes ------------------------------------------------------------------------

static int32_t position(const Op *op)
{
    return (int32_t)(intptr_t)op->note;
}

static bool is_int_dot(const Value *v, const Region *body, const Type *shape)
{
    return v->def && v->def->kind == OP_DOT && v->def->parent == body && value_has_one_use(v) &&
           type_same_shape(v->type, shape) && v->type->dtype == DTYPE_I32;
}

/// Is `v` computed element by element, only for the consumer that led to it?
static bool is_step(const Cx *cx, const Value *v, const Region *body, const Type *shape)
{
    const Op *op = v->def;
    return op && op->parent == body && (op->kind == OP_ELEM || op->kind == OP_CAST) &&
           v->type->kind == TYPE_TILE && type_same_shape(v->type, shape) && value_has_one_use(v) &&
           !info_of(cx, v)->is_keep;
}

/// The int dots that `v` is computed from, element by element.
static bool collect_sums(Cx *cx, Fused *f, Value *v, const Region *body)
{
    const Type *shape = f->value->type;
    if (is_int_dot(v, body, shape)) {
        if (f->n == MAX_SUMS) return false;
        Sum *s = &f->sums[f->n++];
        Op *chain[MAX_CHAIN];
        chain[s->n++] = v->def;
        while (s->n < MAX_CHAIN && is_int_dot(chain[s->n - 1]->in[2], body, shape)) {
            chain[s->n] = chain[s->n - 1]->in[2]->def;
            s->n++;
        }
        for (int32_t j = 0; j < s->n; j++)
            s->dots[j] = dot_of(chain[s->n - 1 - j]);
        return true;
    }
    if (!is_step(cx, v, body, shape)) return true;
    for (int32_t i = 0; i < v->def->n_in; i++)
        if (!collect_sums(cx, f, v->def->in[i], body)) return false;
    return true;
}

/// Is `v` computed from one of the sums from..n, by steps?
static bool needs_later(const Cx *cx, const Fused *f, int32_t from, const Value *v,
                        const Region *body)
{
    for (int32_t k = from; k < f->n; k++)
        if (f->sums[k].dots[f->sums[k].n - 1].out == v) return true;
    if (!is_step(cx, v, body, f->value->type)) return false;
    for (int32_t i = 0; i < v->def->n_in; i++)
        if (needs_later(cx, f, from, v->def->in[i], body)) return true;
    return false;
}

static void find_tops(const Cx *cx, Fused *f, const Region *body)
{
    for (int32_t k = 1; k < f->n; k++) // few: in the order of the program
        for (int32_t j = k;
             j && position(f->sums[j].dots[0].op) < position(f->sums[j - 1].dots[0].op); j--) {
            Sum s = f->sums[j];
            f->sums[j] = f->sums[j - 1];
            f->sums[j - 1] = s;
        }
    for (int32_t k = 0; k < f->n; k++) {
        Value *top = f->sums[k].dots[f->sums[k].n - 1].out;
        while (top != f->value) {
            Value *next = &top->uses->op->out[0];
            if (needs_later(cx, f, k + 1, next, body)) break;
            top = next;
        }
        f->sums[k].top = top;
    }
}

/// May everything that the dots and their consumer read still be read at the end of the body?
static bool may_wait(Cx *cx, const Fused *f, const Op *loop, int32_t i)
{
    const Region *body = loop->regions[0];
    EACH_OP(op, body) {
        if (op->n_regions || op->kind == OP_STORE || op->kind == OP_ATOMIC_RMW ||
            op->kind == OP_ATOMIC_CAS || op->kind == OP_BARRIER)
            return false;
    }
    for (int32_t k = 0; k < loop->n_out; k++) {
        const Value *arg = body->args[1 + k];
        if (arg->type->kind != TYPE_TILE || info_of(cx, arg)->mode != MODE_HELD) continue;
        for (int32_t s = 0; s < f->n; s++)
            for (int32_t j = 0; j < f->sums[s].n; j++)
                for (int32_t n = 0; n < 3; n++)
                    if (value_reads(cx, f->sums[s].dots[j].op->in[n], arg) != READS_NOT)
                        return false;
    }
    for (int32_t k = 0; k < loop->n_out; k++)
        if (k != i && body->last->in[k]->type->kind == TYPE_TILE &&
            value_reads(cx, body->last->in[k], body->args[1 + i]) != READS_NOT)
            return false;
    return value_reads(cx, f->value, body->args[1 + i]) != READS_ANYWHERE;
}

Fused *dot_fuse(Cx *cx, Op *loop, int32_t i)
{
    Region *body = loop->regions[0];
    Value *y = body->last->in[i];
    const Info *info = info_of(cx, y);
    if (y->type->kind != TYPE_TILE || y->type->rank < 2 || info->mode != MODE_LAZY ||
        info_of(cx, body->args[1 + i])->mode != MODE_HELD || !is_step(cx, y, body, y->type))
        return NULL;
    Fused *f = arena_new(cx->arena, Fused);
    f->value = y;
    if (!collect_sums(cx, f, y, body) || !f->n || !may_wait(cx, f, loop, i)) return NULL;
    find_tops(cx, f, body);
    for (int32_t k = 0; k < f->n; k++)
        for (int32_t j = 0; j < f->sums[k].n; j++)
            info_of(cx, f->sums[k].dots[j].out)->is_deferred = true;
    return f;
}

Held dot_fused_held(Cx *cx, const Fused *f)
{
    Dot d = f->sums[0].dots[0];
    choose_types(cx, &d);
    choose_tile(cx, &d);
    int64_t bytes = f->value->type->numel * type_element_bytes(f->value->type);
    int64_t used = div_up(bytes, cx->isa->vector_bytes) + (1 << (d.mr_bits + d.nv_bits));
    return used + 4 <= cx->isa->n_registers ? held_bytes(cx, bytes) : held_scratch(cx, bytes);
}

void dot_emit_fused(Cx *cx, Fused *f, Held to)
{
    f->to = to;
    fused_emit(cx, f);
}
