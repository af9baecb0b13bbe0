// compiler/gpu/lower_scan.c - inclusive scans along one axis, in either direction, for any
// associative combine.
//
//   for each axis bit a, from the lowest:  element x with bit a set becomes  op(v[y], v[x])
//   where y = x with bit a clear and all lower axis bits set: the last element of the lower half
//
//   a on a register   in the thread (or from the lane that holds the lower half's last element)
//   a on a lane       one shuffle per register whose lower axis bits are set, selected by the
//   lane's bit warps             hold the top bits of the axis (propagate.c sees to that): totals
//   through shared memory
//
// Reverse swaps the roles of 0 and 1.
//
// Source: layouts.md 5.2
#include "compiler/gpu/lower.h"

enum { MAX_PARTS = 16 };

typedef struct Scan {
    Lower *lo;
    Op *op;
    const Layout *layout;
    int32_t low, width, n;
    bool reverse;
    LLVMValueRef *x[MAX_PARTS];
} Scan;

/// Register bits, and lane bits, that hold the axis bits below `bit`.
static void below(const Scan *s, int32_t bit, uint32_t *regs, uint32_t *lanes)
{
    uint32_t field = ((1u << bit) - 1) << s->low;
    *regs = *lanes = 0;
    for (int32_t i = 0; i < s->layout->n_col[IN_REG]; i++)
        if (layout_cols(s->layout, IN_REG)[i] & field) *regs |= 1u << i;
    for (int32_t i = 0; i < LAYOUT_LANES; i++)
        if (layout_cols(s->layout, IN_LANE)[i] & field) *lanes |= 1u << i;
}

/// `word` with the bits of `mask` as they are at the far end of a lower half: all set, or all clear
/// in reverse.
static uint32_t far_reg(const Scan *s, uint32_t word, uint32_t mask)
{
    return s->reverse ? word & ~mask : word | mask;
}

static LLVMValueRef far_lane(const Scan *s, uint32_t mask, uint32_t flip)
{
    Lower *lo = s->lo;
    LLVMValueRef l = LLVMBuildXor(lo->b, lo->lane, const_i32(lo, flip), "");
    return s->reverse ? LLVMBuildAnd(lo->b, l, const_i32(lo, ~mask), "")
                      : LLVMBuildOr(lo->b, l, const_i32(lo, mask), "");
}

static void combine_into(Scan *s, const LLVMValueRef *earlier, int32_t reg)
{
    LLVMValueRef mine[MAX_PARTS], c[MAX_PARTS];
    for (int32_t p = 0; p < s->n; p++)
        mine[p] = s->x[p][reg];
    emit_combine(s->lo, s->op, s->n, earlier, mine, c);
    for (int32_t p = 0; p < s->n; p++)
        s->x[p][reg] = c[p];
}

static void step_register(Scan *s, int32_t bit, int32_t reg_bit)
{
    uint32_t regs, lanes, own = 1u << reg_bit;
    below(s, bit, &regs, &lanes);
    int32_t n_regs = layout_regs(s->layout);
    LLVMValueRef
        *last[MAX_PARTS]; // what the far end of each lower half holds, before anything changes
    for (int32_t p = 0; p < s->n; p++)
        last[p] = regs_new(s->lo, n_regs);
    for (uint32_t r = 0; r < (uint32_t)n_regs; r++) {
        bool takes = s->reverse ? !(r & own) : (r & own);
        uint32_t from = far_reg(s, r ^ own, regs);
        if (!takes) continue;
        for (int32_t p = 0; p < s->n; p++) {
            if (!last[p][from])
                last[p][from] = lanes ? shuffle_idx(s->lo, s->x[p][from], far_lane(s, lanes, 0))
                                      : s->x[p][from];
            last[p][r] = last[p][from];
        }
    }
    for (uint32_t r = 0; r < (uint32_t)n_regs; r++) {
        if (s->reverse ? (r & own) : !(r & own)) continue;
        LLVMValueRef earlier[MAX_PARTS];
        for (int32_t p = 0; p < s->n; p++)
            earlier[p] = last[p][r];
        combine_into(s, earlier, (int32_t)r);
    }
}

static void step_lane(Scan *s, int32_t bit, int32_t lane_bit)
{
    Lower *lo = s->lo;
    uint32_t regs, lanes, own = 1u << lane_bit;
    below(s, bit, &regs, &lanes);
    int32_t n_regs = layout_regs(s->layout);
    LLVMValueRef is_upper = LLVMBuildTrunc(
        lo->b, LLVMBuildLShr(lo->b, lo->lane, const_i32(lo, lane_bit), ""), lo->i1, "");
    LLVMValueRef takes = s->reverse ? LLVMBuildNot(lo->b, is_upper, "") : is_upper;
    LLVMValueRef from_lane = far_lane(s, lanes, own);
    LLVMValueRef *last[MAX_PARTS];
    for (int32_t p = 0; p < s->n; p++)
        last[p] = regs_new(lo, n_regs);
    for (uint32_t r = 0; r < (uint32_t)n_regs; r++)
        for (int32_t p = 0; p < s->n; p++) {
            uint32_t from = far_reg(s, r, regs);
            if (!last[p][from]) last[p][from] = shuffle_idx(lo, s->x[p][from], from_lane);
        }
    for (uint32_t r = 0; r < (uint32_t)n_regs; r++) {
        LLVMValueRef earlier[MAX_PARTS], mine[MAX_PARTS], c[MAX_PARTS];
        for (int32_t p = 0; p < s->n; p++)
            earlier[p] = last[p][far_reg(s, r, regs)], mine[p] = s->x[p][r];
        emit_combine(lo, s->op, s->n, earlier, mine, c);
        for (int32_t p = 0; p < s->n; p++)
            s->x[p][r] = LLVMBuildSelect(lo->b, takes, c[p], mine[p], "");
    }
}

/// Byte address of slot 0 of the kept element that register `reg` belongs to, for part p.
static LLVMValueRef totals_at(Scan *s, LLVMValueRef base, LLVMValueRef thread, int32_t p,
                              int32_t k_warps, uint32_t reg)
{
    uint32_t c = layout_at(s->layout, reg, 0, 0);
    int64_t own = (c & ((1u << s->low) - 1)) | c >> (s->low + s->width) << s->low;
    int64_t plane =
        round_up((int64_t)(1 << (layout_bits(s->layout) - s->width)) << k_warps, 2) * 8 * p;
    LLVMValueRef at =
        shared_at(s->lo, base, LLVMBuildShl(s->lo->b, thread, const_i32(s->lo, k_warps + 3), ""));
    return shared_at(s->lo, at, const_i32(s->lo, (own << (k_warps + 3)) + plane));
}

static void write_totals(Scan *s, LLVMValueRef base, LLVMValueRef thread, LLVMValueRef slot,
                         int32_t k_warps, uint32_t regs, uint32_t lanes)
{
    Lower *lo = s->lo;
    uint32_t quiet = layout_free(s->layout, IN_LANE) | layout_free(s->layout, IN_WARP)
                                                           << LAYOUT_LANES;
    LLVMValueRef want = const_i32(lo, s->reverse ? 0 : lanes);
    LLVMValueRef speaks = LLVMBuildICmp(
        lo->b, LLVMIntEQ, LLVMBuildAnd(lo->b, lo->tid, const_i32(lo, quiet | lanes), ""), want, "");
    LLVMBasicBlockRef writes = block_new(lo, "total"), after = block_new(lo, "totals");
    LLVMBuildCondBr(lo->b, speaks, writes, after);
    block_enter(lo, writes);
    LLVMValueRef shift = LLVMBuildShl(lo->b, slot, const_i32(lo, 3), "");
    for (uint32_t r = 0; r < (uint32_t)layout_regs(s->layout); r++) {
        if (far_reg(s, r, regs) != r) continue;
        for (int32_t p = 0; p < s->n; p++)
            shared_store(lo, LLVMTypeOf(s->x[p][r]), 1,
                         shared_at(lo, totals_at(s, base, thread, p, k_warps, r), shift),
                         &s->x[p][r]);
    }
    LLVMBuildBr(lo->b, after);
    block_enter(lo, after);
}

static void step_warps(Scan *s, int32_t k_warps)
{
    Lower *lo = s->lo;
    uint32_t regs, lanes;
    below(s, s->width, &regs, &lanes);
    Layout squeezed = layout_squeeze(s->layout, (int32_t)op_attr_i(s->op, ATTR_AXIS));
    LLVMValueRef thread = thread_field(lo, layout_intern(lo->cx->module, &squeezed), 0,
                                       MAX(1, layout_bits(&squeezed)));
    LLVMValueRef slot = thread_field(lo, s->layout, s->low + s->width - k_warps, k_warps);
    LLVMValueRef base = scratch_enter(lo, s->op);
    write_totals(s, base, thread, slot, k_warps, regs, lanes);
    barrier(lo);
    int32_t n_slots = 1 << k_warps;
    for (uint32_t r = 0; r < (uint32_t)layout_regs(s->layout); r++) {
        if (far_reg(s, r, regs) != r)
            continue; // one per kept element; then all registers of that element
        LLVMValueRef before[MAX_PARTS] = {0};
        for (int32_t i = 0; i < n_slots - 1; i++) {
            int32_t k = s->reverse ? n_slots - 1 - i : i;
            LLVMValueRef part[MAX_PARTS], c[MAX_PARTS];
            LLVMValueRef earlier = LLVMBuildICmp(lo->b, s->reverse ? LLVMIntUGT : LLVMIntULT,
                                                 const_i32(lo, k), slot, "");
            for (int32_t p = 0; p < s->n; p++)
                shared_load(
                    lo, LLVMTypeOf(s->x[p][r]), 1,
                    shared_at(lo, totals_at(s, base, thread, p, k_warps, r), const_i32(lo, 8 * k)),
                    &part[p]);
            if (i) emit_combine(lo, s->op, s->n, before, part, c);
            for (int32_t p = 0; p < s->n; p++)
                before[p] = i ? LLVMBuildSelect(lo->b, earlier, c[p], before[p], "") : part[p];
        }
        int32_t first = s->reverse ? n_slots - 1 : 0;
        LLVMValueRef has = LLVMBuildICmp(lo->b, LLVMIntNE, slot, const_i32(lo, first), "");
        for (uint32_t q = 0; q < (uint32_t)layout_regs(s->layout); q++) {
            if (far_reg(s, q, regs) != r) continue;
            LLVMValueRef mine[MAX_PARTS], c[MAX_PARTS];
            for (int32_t p = 0; p < s->n; p++)
                mine[p] = s->x[p][q];
            emit_combine(lo, s->op, s->n, before, mine, c);
            for (int32_t p = 0; p < s->n; p++)
                s->x[p][q] = LLVMBuildSelect(lo->b, has, c[p], mine[p], "");
        }
    }
}

static DType wide_dtype(const Scan *s, int32_t i)
{
    DType d = s->op->in[i]->type->dtype;
    bool low = d == DTYPE_F16 || d == DTYPE_BF16 || d == DTYPE_F8E4M3 || d == DTYPE_F8E5M2;
    return low && op_attr_i(s->op, ATTR_COMBINE) != COMBINE_REGION ? DTYPE_F32 : d;
}

void lower_scan(Lower *lo, Op *op)
{
    Scan s = {.lo = lo,
              .op = op,
              .layout = op->in[0]->type->layout,
              .n = op->n_in,
              .reverse = op_attr_i(op, ATTR_REVERSE)};
    layout_field(s.layout, (int32_t)op_attr_i(op, ATTR_AXIS), &s.low, &s.width);
    if (s.n > MAX_PARTS) BUG("a scan of %d tiles", s.n);
    int32_t n_regs = layout_regs(s.layout), k_warps = 0;
    for (int32_t i = 0; i < s.n; i++) {
        s.x[i] = regs_new(lo, n_regs);
        regs_of(lo, op->in[i], s.x[i]);
        for (int32_t r = 0; r < n_regs; r++)
            s.x[i][r] =
                emit_cast(lo, s.x[i][r], op->in[i]->type->dtype, wide_dtype(&s, i), ROUND_RNE);
    }
    for (int32_t bit = 0; bit < s.width; bit++) {
        uint32_t column = 1u << (s.low + bit);
        for (int32_t i = 0; i < s.layout->n_col[IN_REG]; i++)
            if (layout_cols(s.layout, IN_REG)[i] == column) step_register(&s, bit, i);
        for (int32_t i = 0; i < LAYOUT_LANES; i++)
            if (layout_cols(s.layout, IN_LANE)[i] == column) step_lane(&s, bit, i);
        for (int32_t i = 0; i < s.layout->n_col[IN_WARP]; i++)
            k_warps += layout_cols(s.layout, IN_WARP)[i] == column;
    }
    if (k_warps) step_warps(&s, k_warps);
    for (int32_t i = 0; i < op->n_out; i++) {
        Tile t = tile_new(lo, n_regs, false);
        for (int32_t r = 0; r < n_regs; r++)
            t.v[r] = emit_cast(lo, s.x[i][r], wide_dtype(&s, i), op->out[i].type->dtype, ROUND_RNE);
        tile_set(lo, &op->out[i], t);
    }
}
