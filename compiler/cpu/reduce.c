// compiler/cpu/reduce.c - reductions: vector accumulators in the loop, one horizontal step behind it.
//
//   sum over columns of 4 rows x 1024, lanes along columns, 2 rows at a time
//     begin   acc[0] = acc[1] = 0                         vectors
//     step    acc[row] += chunk
//     end     out[row] = acc[row] folded in halves        log2(lanes) shuffles
//
// Accumulators are stack slots that LLVM turns into registers. Narrow floats accumulate in f32 and
// round once at the end. A region without an identity keeps a flag: has anything been seen yet?
#include "compiler/cpu/cpu.h"

enum { MAX_PARTS = 4, MAX_SLOTS = 16 };

struct Reduction {
    Op *op;
    CombineKind kind;
    int32_t n_parts; ///< values carried: inputs, or value and index
    uint32_t axis_bits;
    int32_t axis_low, axis_width, log_w;
    int8_t lane[MAX_LANE_BITS];
    uint32_t slot_bits; ///< unrolled bits outside the axis: an accumulator for each of their values
    int32_t n_slots;
    DType dtype[MAX_PARTS];
    LLVMTypeRef type[MAX_PARTS];
    LLVMValueRef slot[MAX_SLOTS][MAX_PARTS], started[MAX_SLOTS];
};

static bool is_arg(CombineKind k)
{
    return k == COMBINE_ARGMIN || k == COMBINE_ARGMAX;
}

Reduction *reduction_new(Cx *cx, Op *op, const Nest *n, uint32_t unrolled)
{
    Reduction *r = arena_new(cx->arena, Reduction);
    r->op = op;
    r->kind = (CombineKind)op_attr_i(op, ATTR_COMBINE);
    r->n_parts = is_arg(r->kind) ? 2 : op->n_in;
    if (r->n_parts > MAX_PARTS) {
        cpu_error(cx, KILN_ERR_UNSUPPORTED, "E0901", op->span,
                  "not supported yet: a reduction of more than %d tiles", MAX_PARTS);
        r->n_parts = MAX_PARTS;
    }
    affine_axis_bits(op->in[0]->type, (int32_t)op_attr_i(op, ATTR_AXIS), &r->axis_low,
                     &r->axis_width);
    r->axis_bits = ((1u << r->axis_width) - 1) << r->axis_low;
    r->log_w = n->log_w;
    memcpy(r->lane, n->lane, sizeof r->lane);
    r->slot_bits = unrolled & ~r->axis_bits;
    for (int32_t j = 0; j < n->log_w; j++)
        r->slot_bits &= ~(1u << n->lane[j]);
    r->n_slots = 1 << __builtin_popcount(r->slot_bits);
    for (int32_t i = 0; i < r->n_parts; i++) {
        r->dtype[i] = is_arg(r->kind) && i ? DTYPE_I32 : op->in[i]->type->dtype;
        r->type[i] = vector_of(dtype_type(cx, r->dtype[i]), r->log_w);
    }
    for (int32_t s = 0; s < r->n_slots; s++) {
        for (int32_t i = 0; i < r->n_parts; i++)
            r->slot[s][i] = stack_slot(cx, r->type[i], 64);
        if (r->kind == COMBINE_REGION) r->started[s] = stack_slot(cx, cx->i1, 1);
    }
    for (int32_t i = 0; i < op->n_out; i++) {
        Info *info = info_of(cx, &op->out[i]);
        if (info->mode == MODE_HELD && !info->held.base) info->held = held_new(cx, op->out[i].type);
    }
    return r;
}

static LLVMValueRef start_value(const Reduction *r, int32_t part)
{
    if (r->kind == COMBINE_REGION) return LLVMConstNull(r->type[part]);
    if (!is_arg(r->kind)) return combine_identity(r->kind, r->dtype[part], r->type[part]);
    bool is_float = dtype_is_float(r->dtype[0]);
    if (part) return const_int(r->type[1], is_float ? 0 : INT32_MAX);
    return combine_identity(r->kind == COMBINE_ARGMIN ? COMBINE_MIN : COMBINE_MAX, r->dtype[0],
                            r->type[0]);
}

void reduction_begin(Cx *cx, Reduction *r)
{
    at_depth(cx, cx->depth);
    for (int32_t s = 0; s < r->n_slots; s++) {
        for (int32_t i = 0; i < r->n_parts; i++)
            LLVMBuildStore(cx->b, start_value(r, i), r->slot[s][i]);
        if (r->started[s]) LLVMBuildStore(cx->b, LLVMConstInt(cx->i1, 0, false), r->started[s]);
    }
}

static int32_t slot_of(const Reduction *r, uint32_t fixed)
{
    int32_t s = 0, k = 0;
    for (uint32_t left = r->slot_bits; left; left &= left - 1, k++)
        if (fixed >> __builtin_ctz(left) & 1) s |= 1 << k;
    return s;
}

static uint32_t slot_fixed(const Reduction *r, int32_t s)
{
    uint32_t fixed = 0;
    int32_t k = 0;
    for (uint32_t left = r->slot_bits; left; left &= left - 1, k++)
        if (s >> k & 1) fixed |= 1u << __builtin_ctz(left);
    return fixed;
}

/// out = the better of (x0, x1) and (y0, y1), lower index first among equals; NaN loses.
static void combine_arg(Cx *cx, const Reduction *r, LLVMValueRef *x, LLVMValueRef *y,
                        LLVMValueRef *out)
{
    LLVMValueRef pair[] = {y[0], x[0]};
    LLVMValueRef better =
        elem_emit(cx, r->kind == COMBINE_ARGMIN ? ELEM_LT : ELEM_GT, r->dtype[0], pair);
    LLVMValueRef same = elem_emit(cx, ELEM_EQ, r->dtype[0], pair);
    LLVMValueRef lower = LLVMBuildICmp(cx->b, LLVMIntSLT, y[1], x[1], "");
    LLVMValueRef take = LLVMBuildOr(cx->b, better, LLVMBuildAnd(cx->b, same, lower, ""), "");
    if (dtype_is_float(r->dtype[0])) {
        LLVMValueRef x_nan = LLVMBuildFCmp(cx->b, LLVMRealUNO, x[0], x[0], "");
        LLVMValueRef y_number = LLVMBuildFCmp(cx->b, LLVMRealORD, y[0], y[0], "");
        take = LLVMBuildOr(cx->b, take, LLVMBuildAnd(cx->b, x_nan, y_number, ""), "");
    }
    for (int32_t i = 0; i < 2; i++)
        out[i] = LLVMBuildSelect(cx->b, take, y[i], x[i], "");
}

/// out = x combined with y, x earlier.
static void combine(Cx *cx, const Reduction *r, LLVMValueRef *x, LLVMValueRef *y, LLVMValueRef *out)
{
    if (is_arg(r->kind)) {
        combine_arg(cx, r, x, y, out);
    } else if (r->kind == COMBINE_REGION) {
        LLVMValueRef in[2 * MAX_PARTS];
        for (int32_t i = 0; i < r->n_parts; i++) {
            in[i] = x[i];
            in[r->n_parts + i] = y[i];
        }
        combine_region_emit(cx, r->op->regions[0], in, out);
    } else {
        out[0] = combine_emit(cx, r->kind, r->dtype[0], x[0], y[0]);
    }
}

/// Index along the axis of every lane.
static LLVMValueRef axis_index(Cx *cx, const Reduction *r, const Chunk *c)
{
    Ev index = chunk_index(cx, c, r->axis_bits);
    at_depth(cx, cx->depth);
    LLVMValueRef v = LLVMBuildTrunc(
        cx->b, LLVMBuildLShr(cx->b, index.v, const_i64(cx, r->axis_low), ""), cx->i32, "");
    if (!c->log_w) return v;
    LLVMValueRef lanes[PLACE_MAX_LANES];
    for (int32_t l = 0; l < 1 << c->log_w; l++) {
        uint64_t x = 0;
        for (int32_t j = 0; j < c->log_w; j++)
            if (l >> j & 1 && r->axis_bits >> c->lane[j] & 1)
                x += (uint64_t)1 << (c->lane[j] - r->axis_low);
        lanes[l] = LLVMConstInt(cx->i32, x, false);
    }
    return LLVMBuildAdd(cx->b, splat(cx, v, c->log_w), LLVMConstVector(lanes, 1u << c->log_w), "");
}

void reduction_step(Cx *cx, Reduction *r, LLVMValueRef *values, const Chunk *c)
{
    int32_t s = slot_of(r, c->fixed);
    LLVMValueRef acc[MAX_PARTS], in[MAX_PARTS], out[MAX_PARTS];
    for (int32_t i = 0; i < r->n_parts; i++)
        in[i] = is_arg(r->kind) && i ? axis_index(cx, r, c) : values[i];
    for (int32_t i = 0; i < r->n_parts; i++)
        acc[i] = LLVMBuildLoad2(cx->b, r->type[i], r->slot[s][i], "");
    combine(cx, r, acc, in, out);
    if (r->kind == COMBINE_REGION) {
        LLVMValueRef started = LLVMBuildLoad2(cx->b, cx->i1, r->started[s], "");
        for (int32_t i = 0; i < r->n_parts; i++)
            out[i] = LLVMBuildSelect(cx->b, started, out[i], in[i], "");
        LLVMBuildStore(cx->b, LLVMConstInt(cx->i1, 1, false), r->started[s]);
    }
    for (int32_t i = 0; i < r->n_parts; i++)
        LLVMBuildStore(cx->b, out[i], r->slot[s][i]);
}

/// Folds lane bit `j` of vectors of 2^log_w lanes.
static void fold_lane(Cx *cx, const Reduction *r, LLVMValueRef *v, int32_t log_w, int32_t j)
{
    LLVMValueRef low[MAX_PARTS], high[MAX_PARTS];
    int32_t order[2][PLACE_MAX_LANES], n[2] = {0, 0};
    for (int32_t l = 0; l < 1 << log_w; l++)
        order[l >> j & 1][n[l >> j & 1]++] = l;
    for (int32_t i = 0; i < r->n_parts; i++) {
        if (log_w == 1) {
            low[i] = LLVMBuildExtractElement(cx->b, v[i], LLVMConstInt(cx->i32, 0, false), "");
            high[i] = LLVMBuildExtractElement(cx->b, v[i], LLVMConstInt(cx->i32, 1, false), "");
        } else {
            low[i] = shuffle(cx, v[i], NULL, n[0], order[0]);
            high[i] = shuffle(cx, v[i], NULL, n[1], order[1]);
        }
    }
    combine(cx, r, low, high, v);
}

/// Folds the lanes of one accumulator from the top, in halves, and writes the result.
static void finish_slot(Cx *cx, Reduction *r, int32_t s, const Chunk *c)
{
    LLVMValueRef v[MAX_PARTS];
    for (int32_t i = 0; i < r->n_parts; i++)
        v[i] = LLVMBuildLoad2(cx->b, r->type[i], r->slot[s][i], "");
    Chunk out = *c;
    out.fixed |= slot_fixed(r, s);
    out.log_w = 0;
    int32_t log_w = r->log_w;
    for (int32_t j = r->log_w - 1; j >= 0; j--) {
        if (!(r->axis_bits >> r->lane[j] & 1)) continue;
        fold_lane(cx, r, v, log_w--, j);
    }
    for (int32_t j = 0; j < r->log_w; j++)
        if (!(r->axis_bits >> r->lane[j] & 1)) out.lane[out.log_w++] = r->lane[j];
    int8_t map[MAX_BITS];
    for (int32_t b = 0; b < MAX_BITS; b++)
        map[b] = b < r->axis_low                   ? (int8_t)b
                 : b < r->axis_low + r->axis_width ? (int8_t)-1
                                                   : (int8_t)(b - r->axis_width);
    Chunk place_chunk;
    chunk_map(&out, map, &place_chunk);
    for (int32_t i = 0; i < r->op->n_out; i++) {
        Value *result = &r->op->out[i];
        Info *info = info_of(cx, result);
        LLVMValueRef x = round_to(cx, r->dtype[i], v[i], ROUND_RNE);
        if (info->mode == MODE_SCALAR) {
            info->scalar = x;
            continue;
        }
        Place p = place_of_held(cx, &info->held, result->type, &place_chunk);
        at_depth(cx, cx->depth);
        place_store(cx, &p, x, NULL);
        info->is_ready = true;
    }
}

void reduction_end(Cx *cx, Reduction *r, const Chunk *c)
{
    for (int32_t s = 0; s < r->n_slots; s++) {
        at_depth(cx, cx->depth);
        finish_slot(cx, r, s, c);
        depth_moved(cx, cx->depth);
    }
}

// ---- combine regions on vectors -------------------------------------------------------------------------

typedef struct Binding {
    const Value *value;
    LLVMValueRef v;
} Binding;

typedef struct RegionCx {
    VEC(Binding) bound;
    LLVMTypeRef like;
} RegionCx;

static LLVMValueRef region_value(Cx *cx, RegionCx *rc, Value *v)
{
    for (int32_t i = rc->bound.len - 1; i >= 0; i--)
        if (rc->bound.data[i].value == v) return rc->bound.data[i].v;
    return splat(cx, eval_scalar(cx, v), log2_floor((uint64_t)lanes_of(rc->like)));
}

static void region_bind(Cx *cx, RegionCx *rc, const Value *v, LLVMValueRef x)
{
    vec_push(cx->arena, &rc->bound, (Binding){v, x});
}

static void region_ops(Cx *cx, RegionCx *rc, Region *r);

static void region_op(Cx *cx, RegionCx *rc, Op *op)
{
    LLVMValueRef in[3];
    for (int32_t i = 0; i < MIN(op->n_in, 3); i++)
        in[i] = region_value(cx, rc, op->in[i]);
    const Type *t = op->n_out ? op->out[0].type : NULL;
    switch (op->kind) {
    case OP_CONST: {
        ASSERT(t);
        LLVMTypeRef e = type_like(rc->like, elem_type(cx, t));
        region_bind(cx, rc, op->out,
                    dtype_is_float(t->dtype) ? const_real(e, op->attrs[0].f)
                                             : const_int(e, op->attrs[0].i));
        return;
    }
    case OP_ELEM: {
        const Type *operand = op->in[op->elem == ELEM_SELECT ? 1 : 0]->type;
        region_bind(cx, rc, op->out,
                    elem_emit(cx, op->elem, operand->is_ptr ? DTYPE_U64 : operand->dtype, in));
        return;
    }
    case OP_CAST:
        ASSERT(t);
        region_bind(cx, rc, op->out,
                    cast_emit(cx, op->in[0]->type->dtype, t->dtype,
                              (RoundMode)op_attr_i(op, ATTR_ROUND), in[0]));
        return;
    case OP_BITCAST:
        region_bind(cx, rc, op->out, bitcast_emit(cx, op->in[0]->type, t, in[0]));
        return;
    case OP_HINT:
        region_bind(cx, rc, op->out, in[0]);
        return;
    case OP_ASSUME:
        return;
    case OP_IF: { // both sides are pure: compute both, select
        LLVMValueRef arm[2][8];
        for (int32_t k = 0; k < 2; k++) {
            region_ops(cx, rc, op->regions[k]);
            for (int32_t i = 0; i < MIN(op->n_out, 8); i++)
                arm[k][i] = region_value(cx, rc, op->regions[k]->last->in[i]);
        }
        for (int32_t i = 0; i < MIN(op->n_out, 8); i++)
            region_bind(cx, rc, &op->out[i],
                        LLVMBuildSelect(cx->b, in[0], arm[0][i], arm[1][i], ""));
        return;
    }
    default:
        cpu_error(cx, KILN_ERR_UNSUPPORTED, "E0901", op->span,
                  "not supported yet: `%s` in a combine function on the CPU target",
                  op_facts[op->kind].name);
        for (int32_t i = 0; i < op->n_out; i++)
            region_bind(cx, rc, &op->out[i],
                        LLVMGetPoison(type_like(rc->like, elem_type(cx, op->out[i].type))));
    }
}

static void region_ops(Cx *cx, RegionCx *rc, Region *r)
{
    EACH_OP(op, r)
        if (op != r->last) region_op(cx, rc, op);
}

void combine_region_emit(Cx *cx, Region *r, LLVMValueRef *in, LLVMValueRef *out)
{
    RegionCx rc = {.like = LLVMTypeOf(in[0])};
    for (int32_t i = 0; i < r->n_args; i++)
        region_bind(cx, &rc, r->args[i], in[i]);
    region_ops(cx, &rc, r);
    for (int32_t i = 0; i < r->last->n_in; i++)
        out[i] = region_value(cx, &rc, r->last->in[i]);
}
