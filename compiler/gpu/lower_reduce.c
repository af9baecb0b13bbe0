// compiler/gpu/lower_reduce.c - reductions over one axis.
//
//   1. registers   a tree inside each thread, lowest bit first
//   2. lanes       butterflies over the lane bits of the axis: both partners end with the result
//   3. warps       each warp writes its part to [kept element][slot], a barrier, everybody folds
//   the slots in order
//
// The order is fixed by the layout, so results repeat bit for bit. f16 and bf16 are held in f32 on
// the way and rounded once at the end. The result's layout is the operand's with the axis squeezed
// out: lanes and warps of the axis hold copies, and broadcasting back costs nothing.
//
// Source: layouts.md 5.1
#include "compiler/gpu/lower.h"

enum { MAX_PARTS = 16 };

/// The dtype in which a combine works on elements of `t`.
static DType wide_dtype(DType t)
{
    return t == DTYPE_F16 || t == DTYPE_BF16 || t == DTYPE_F8E4M3 || t == DTYPE_F8E5M2 ? DTYPE_F32
                                                                                       : t;
}

static bool is_arg(const Op *op)
{
    CombineKind k = (CombineKind)op_attr_i(op, ATTR_COMBINE);
    return k == COMBINE_ARGMIN || k == COMBINE_ARGMAX;
}

static ElemKind elem_of(CombineKind k)
{
    switch (k) {
    case COMBINE_ADD:
        return ELEM_ADD;
    case COMBINE_MUL:
        return ELEM_MUL;
    case COMBINE_MIN:
        return ELEM_MIN;
    case COMBINE_MAX:
        return ELEM_MAX;
    case COMBINE_AND:
        return ELEM_AND;
    case COMBINE_OR:
        return ELEM_OR;
    case COMBINE_XOR:
        return ELEM_XOR;
    default:
        BUG("combine kind %d is no elementwise op", k);
    }
}

/// (value, index): the better value wins, the lower index among equals, NaN loses against numbers.
static void combine_arg(Lower *lo, Op *op, const LLVMValueRef *x, const LLVMValueRef *y,
                        LLVMValueRef *out)
{
    bool is_max = op_attr_i(op, ATTR_COMBINE) == COMBINE_ARGMAX;
    DType d = wide_dtype(op->in[0]->type->dtype);
    LLVMValueRef better, equal;
    if (dtype_is_float(d)) {
        better = LLVMBuildFCmp(lo->b, is_max ? LLVMRealOGT : LLVMRealOLT, y[0], x[0], "");
        equal = LLVMBuildFCmp(lo->b, LLVMRealOEQ, y[0], x[0], "");
        LLVMValueRef only = LLVMBuildAnd(lo->b, LLVMBuildFCmp(lo->b, LLVMRealUNO, x[0], x[0], ""),
                                         LLVMBuildFCmp(lo->b, LLVMRealORD, y[0], y[0], ""), "");
        LLVMValueRef neither =
            LLVMBuildAnd(lo->b, LLVMBuildFCmp(lo->b, LLVMRealUNO, x[0], x[0], ""),
                         LLVMBuildFCmp(lo->b, LLVMRealUNO, y[0], y[0], ""), "");
        better = LLVMBuildOr(lo->b, better, only, "");
        equal = LLVMBuildOr(lo->b, equal, neither, "");
    } else {
        LLVMIntPredicate up = dtype_is_signed(d) ? LLVMIntSGT : LLVMIntUGT,
                         down = dtype_is_signed(d) ? LLVMIntSLT : LLVMIntULT;
        better = LLVMBuildICmp(lo->b, is_max ? up : down, y[0], x[0], "");
        equal = LLVMBuildICmp(lo->b, LLVMIntEQ, y[0], x[0], "");
    }
    LLVMValueRef lower = LLVMBuildICmp(lo->b, LLVMIntSLT, y[1], x[1], "");
    LLVMValueRef take = LLVMBuildOr(lo->b, better, LLVMBuildAnd(lo->b, equal, lower, ""), "");
    for (int32_t i = 0; i < 2; i++)
        out[i] = LLVMBuildSelect(lo->b, take, y[i], x[i], "");
}

void emit_combine(Lower *lo, Op *op, int32_t n, const LLVMValueRef *x, const LLVMValueRef *y,
                  LLVMValueRef *out)
{
    CombineKind k = (CombineKind)op_attr_i(op, ATTR_COMBINE);
    LLVMValueRef all[2 * MAX_PARTS];
    if (k == COMBINE_REGION) {
        memcpy(all, x, sizeof *x * (size_t)n);
        memcpy(all + n, y, sizeof *y * (size_t)n);
        lower_combine(lo, op->regions[0], all, out);
        lo->op = op;
    } else if (k == COMBINE_ARGMIN || k == COMBINE_ARGMAX) {
        combine_arg(lo, op, x, y, out);
    } else {
        all[0] = x[0], all[1] = y[0];
        const Type *t = type_with_dtype(lo->cx->module, op->in[0]->type->element,
                                        wide_dtype(op->in[0]->type->dtype));
        out[0] = emit_elem(lo, elem_of(k), t, all);
    }
}

typedef struct Reduce {
    Lower *lo;
    Op *op;
    const Layout *layout;
    Layout result;
    int32_t low, width, n;      ///< axis field; values per element (1, 2 for arg, or the region's)
    uint32_t axis, regs;        ///< axis bits of the coordinate; register bits on the axis
    LLVMValueRef *x[MAX_PARTS]; ///< [parts][registers], kept registers valid as steps go by
} Reduce;

static void load_parts(Reduce *r)
{
    Lower *lo = r->lo;
    int32_t n_regs = layout_regs(r->layout);
    bool widens = op_attr_i(r->op, ATTR_COMBINE) != COMBINE_REGION;
    for (int32_t i = 0; i < r->op->n_in; i++) {
        r->x[i] = regs_new(lo, n_regs);
        regs_of(lo, r->op->in[i], r->x[i]);
        DType d = r->op->in[i]->type->dtype;
        for (int32_t k = 0; widens && k < n_regs; k++)
            r->x[i][k] = emit_cast(lo, r->x[i][k], d, wide_dtype(d), ROUND_RNE);
    }
    if (!is_arg(r->op)) return;
    LLVMValueRef thread = thread_field(lo, r->layout, r->low, r->width);
    r->x[1] = regs_new(lo, n_regs);
    for (int32_t k = 0; k < n_regs; k++) {
        uint32_t own = (layout_at(r->layout, (uint32_t)k, 0, 0) & r->axis) >> r->low;
        r->x[1][k] = own ? LLVMBuildOr(lo->b, thread, const_i32(lo, own), "") : thread;
    }
}

static void get(const Reduce *r, int32_t reg, LLVMValueRef *out)
{
    for (int32_t i = 0; i < r->n; i++)
        out[i] = r->x[i][reg];
}

static void put(Reduce *r, int32_t reg, const LLVMValueRef *in)
{
    for (int32_t i = 0; i < r->n; i++)
        r->x[i][reg] = in[i];
}

static void in_thread(Reduce *r)
{
    int32_t n_regs = layout_regs(r->layout);
    uint32_t done = 0;
    for (uint32_t bits = r->regs; bits; bits &= bits - 1) {
        uint32_t bit = bits & -bits;
        done |= bit;
        for (uint32_t k = 0; k < (uint32_t)n_regs; k++) {
            if (k & done) continue;
            LLVMValueRef a[MAX_PARTS], b[MAX_PARTS], c[MAX_PARTS];
            get(r, (int32_t)k, a), get(r, (int32_t)(k | bit), b);
            emit_combine(r->lo, r->op, r->n, a, b, c);
            put(r, (int32_t)k, c);
        }
    }
}

static bool kept(const Reduce *r, uint32_t reg)
{
    return !(reg & r->regs);
}

static void in_warp(Reduce *r)
{
    Lower *lo = r->lo;
    bool ordered = op_attr_i(r->op, ATTR_COMBINE) == COMBINE_REGION;
    for (int32_t i = 0; i < LAYOUT_LANES; i++) {
        if (!(layout_cols(r->layout, IN_LANE)[i] & r->axis)) continue;
        LLVMValueRef upper = NULL;
        if (ordered)
            upper = LLVMBuildTrunc(lo->b, LLVMBuildLShr(lo->b, lo->lane, const_i32(lo, i), ""),
                                   lo->i1, "");
        for (int32_t k = 0; k < layout_regs(r->layout); k++) {
            if (!kept(r, (uint32_t)k)) continue;
            LLVMValueRef mine[MAX_PARTS], theirs[MAX_PARTS], a[MAX_PARTS], b[MAX_PARTS],
                c[MAX_PARTS];
            get(r, k, mine);
            for (int32_t p = 0; p < r->n; p++) {
                theirs[p] = shuffle_bfly(lo, mine[p], 1u << i);
                // The lower lane's value is the left operand on both partners, so that copies agree
                // bit for bit.
                a[p] = ordered ? LLVMBuildSelect(lo->b, upper, theirs[p], mine[p], "") : mine[p];
                b[p] = ordered ? LLVMBuildSelect(lo->b, upper, mine[p], theirs[p], "") : theirs[p];
            }
            emit_combine(lo, r->op, r->n, a, b, c);
            put(r, k, c);
        }
    }
}

/// Address of the slots of the kept element in register `reg`, for part p.
static LLVMValueRef slots_at(Reduce *r, LLVMValueRef base, int32_t p, int32_t k_warps, uint32_t reg,
                             LLVMValueRef thread)
{
    Lower *lo = r->lo;
    uint32_t own = 0; // the register's bits in the squeezed coordinate
    Layout full = *r->layout;
    uint32_t c = layout_at(&full, reg, 0, 0);
    own = (c & ((1u << r->low) - 1)) | c >> (r->low + r->width) << r->low;
    int64_t plane = round_up((int64_t)(1 << (layout_bits(&full) - r->width)) << k_warps, 2) * 8 * p;
    LLVMValueRef at = LLVMBuildShl(lo->b, thread, const_i32(lo, k_warps + 3), "");
    at = shared_at(lo, base, at);
    return shared_at(lo, at, const_i32(lo, ((int64_t)own << (k_warps + 3)) + plane));
}

static void across_warps(Reduce *r)
{
    Lower *lo = r->lo;
    const Layout *l = r->layout;
    uint32_t slot_cols[GF2_MAX] = {0}, none[LAYOUT_LANES] = {0},
             quiet = layout_free(l, IN_WARP) << LAYOUT_LANES;
    int32_t k_warps = 0;
    for (int32_t i = 0; i < l->n_col[IN_WARP]; i++)
        if (layout_cols(l, IN_WARP)[i] & r->axis) slot_cols[i] = 1u << k_warps++;
    if (!k_warps) return;
    for (int32_t i = 0; i < LAYOUT_LANES; i++)
        if (!layout_cols(l, IN_LANE)[i] || (layout_cols(l, IN_LANE)[i] & r->axis)) quiet |= 1u << i;
    LLVMValueRef base = scratch_enter(lo, r->op);
    LLVMValueRef thread = thread_field(lo, layout_intern(lo->cx->module, &r->result), 0,
                                       MAX(1, layout_bits(&r->result)));
    LLVMValueRef slot = LLVMBuildShl(lo->b, thread_xor(lo, none, l->n_col[IN_WARP], slot_cols),
                                     const_i32(lo, 3), "");
    LLVMValueRef speaks =
        LLVMBuildICmp(lo->b, LLVMIntEQ, LLVMBuildAnd(lo->b, lo->tid, const_i32(lo, quiet), ""),
                      const_i32(lo, 0), "");
    LLVMBasicBlockRef writes = block_new(lo, "part"), after = block_new(lo, "parts");
    LLVMBuildCondBr(lo->b, speaks, writes, after);
    block_enter(lo, writes);
    for (int32_t k = 0; k < layout_regs(l); k++)
        for (int32_t p = 0; p < r->n && kept(r, (uint32_t)k); p++)
            shared_store(lo, LLVMTypeOf(r->x[p][k]), 1,
                         shared_at(lo, slots_at(r, base, p, k_warps, (uint32_t)k, thread), slot),
                         &r->x[p][k]);
    LLVMBuildBr(lo->b, after);
    block_enter(lo, after);
    barrier(lo);
    for (int32_t k = 0; k < layout_regs(l); k++) {
        if (!kept(r, (uint32_t)k)) continue;
        LLVMValueRef sum[MAX_PARTS];
        for (int32_t s = 0; s < 1 << k_warps; s++) {
            LLVMValueRef part[MAX_PARTS], c[MAX_PARTS];
            for (int32_t p = 0; p < r->n; p++) {
                LLVMValueRef at = slots_at(r, base, p, k_warps, (uint32_t)k, thread);
                shared_load(lo, LLVMTypeOf(r->x[p][k]), 1, shared_at(lo, at, const_i32(lo, 8 * s)),
                            &part[p]);
            }
            if (s) emit_combine(lo, r->op, r->n, sum, part, c);
            memcpy(sum, s ? c : part, sizeof sum);
        }
        put(r, k, sum);
    }
}

void lower_reduce(Lower *lo, Op *op)
{
    Reduce r = {.lo = lo, .op = op, .layout = op->in[0]->type->layout};
    int32_t axis = (int32_t)op_attr_i(op, ATTR_AXIS);
    layout_field(r.layout, axis, &r.low, &r.width);
    r.axis = ((1u << r.width) - 1) << r.low;
    r.n = is_arg(op) ? 2 : op->n_in;
    r.result = layout_squeeze(r.layout, axis);
    if (r.n > MAX_PARTS) BUG("a reduction of %d tiles", r.n);
    for (int32_t i = 0; i < r.layout->n_col[IN_REG]; i++)
        if (layout_cols(r.layout, IN_REG)[i] & r.axis) r.regs |= 1u << i;
    load_parts(&r);
    in_thread(&r);
    in_warp(&r);
    across_warps(&r);
    for (int32_t i = 0; i < op->n_out; i++) {
        Tile t = tile_new(lo, layout_regs(&r.result), false);
        DType d = op->out[i].type->dtype;
        bool narrows = op_attr_i(op, ATTR_COMBINE) != COMBINE_REGION && i == 0;
        for (int32_t k = 0, at = 0; k < layout_regs(r.layout); k++) {
            if (!kept(&r, (uint32_t)k)) continue;
            t.v[at++] = narrows ? emit_cast(lo, r.x[i][k], wide_dtype(d), d, ROUND_RNE) : r.x[i][k];
        }
        tile_set(lo, &op->out[i], t);
    }
}
