// compiler/cpu/scan.c - inclusive scans.
//
//   lanes along the axis      in a vector by doubling: x[i] = f(x[i - 1], x[i]); then i - 2, i - 4 ...
//                             and the last lane is carried to the next chunk
//   lanes across the axis     one vector per step, carried
//
// A reverse scan walks chunks and lanes from the end. Sums of narrow floats are carried in f32 and rounded as
// they are written.
#include "compiler/cpu/cpu.h"

enum { MAX_PARTS = 4 };

typedef struct Scan {
    Op *op;
    CombineKind kind;
    bool reverse, along; ///< along: lanes run along the axis
    int32_t n, log_w, low, width;
    Held out[MAX_PARTS];
    LLVMValueRef carry[MAX_PARTS], started;
    LLVMTypeRef type[MAX_PARTS];
} Scan;

/// f(earlier, later) for every lane.
static void combine(Cx *cx, Scan *s, LLVMValueRef *earlier, LLVMValueRef *later, LLVMValueRef *out)
{
    if (s->kind != COMBINE_REGION) {
        out[0] = combine_emit(cx, s->kind, s->op->in[0]->type->dtype, earlier[0], later[0]);
        return;
    }
    LLVMValueRef in[2 * MAX_PARTS];
    for (int32_t i = 0; i < s->n; i++) {
        in[i] = earlier[i];
        in[s->n + i] = later[i];
    }
    combine_region_emit(cx, s->op->regions[0], in, out);
}

/// Scans the lanes of v in place.
static void scan_lanes(Cx *cx, Scan *s, LLVMValueRef *v)
{
    int32_t w = 1 << s->log_w;
    for (int32_t step = 1; step < w; step *= 2) {
        int32_t order[PLACE_MAX_LANES];
        LLVMValueRef has[PLACE_MAX_LANES], moved[MAX_PARTS], next[MAX_PARTS];
        for (int32_t l = 0; l < w; l++) {
            int32_t from = s->reverse ? l + step : l - step;
            bool inside = from >= 0 && from < w;
            order[l] = inside ? from : l;
            has[l] = LLVMConstInt(cx->i1, inside, false);
        }
        LLVMValueRef mask = LLVMConstVector(has, (unsigned)w);
        for (int32_t i = 0; i < s->n; i++)
            moved[i] = shuffle(cx, v[i], NULL, w, order);
        combine(cx, s, moved, v, next);
        for (int32_t i = 0; i < s->n; i++)
            v[i] = LLVMBuildSelect(cx->b, mask, next[i], v[i], "");
    }
}

static void scan_step(Cx *cx, Scan *s, const Chunk *c)
{
    LLVMValueRef v[MAX_PARTS], carry[MAX_PARTS], with[MAX_PARTS];
    for (int32_t i = 0; i < s->n; i++)
        v[i] = eval_here(cx, s->op->in[i], c);
    at_depth(cx, cx->depth);
    if (s->along && s->log_w) scan_lanes(cx, s, v);
    LLVMValueRef started = LLVMBuildLoad2(cx->b, cx->i1, s->started, "");
    for (int32_t i = 0; i < s->n; i++)
        carry[i] = LLVMBuildLoad2(cx->b, s->type[i], s->carry[i], "");
    combine(cx, s, carry, v, with);
    for (int32_t i = 0; i < s->n; i++) {
        v[i] = LLVMBuildSelect(cx->b, started, with[i], v[i], "");
        LLVMValueRef next = v[i];
        if (s->along && s->log_w) {
            int32_t last[PLACE_MAX_LANES];
            for (int32_t l = 0; l < 1 << s->log_w; l++)
                last[l] = s->reverse ? 0 : (1 << s->log_w) - 1;
            next = shuffle(cx, v[i], NULL, 1 << s->log_w, last);
        }
        LLVMBuildStore(cx->b, next, s->carry[i]);
    }
    LLVMBuildStore(cx->b, LLVMConstInt(cx->i1, 1, false), s->started);
    for (int32_t i = 0; i < s->n; i++) {
        const Type *t = s->op->out[i].type;
        Place p = place_of_held(cx, &s->out[i], t, c);
        at_depth(cx, cx->depth);
        place_store(cx, &p, round_to(cx, t->dtype, v[i], ROUND_RNE), NULL);
    }
    depth_moved(cx, cx->depth);
}

/// The loop along the axis, forward or backward, over chunks of 2^low_bits indices.
static void scan_axis(Cx *cx, Scan *s, const Chunk *outer, int32_t lane_bits)
{
    at_depth(cx, cx->depth);
    LLVMBuildStore(cx->b, LLVMConstInt(cx->i1, 0, false), s->started);
    for (int32_t i = 0; i < s->n; i++)
        LLVMBuildStore(cx->b, LLVMConstNull(s->type[i]), s->carry[i]);
    int64_t extent = (int64_t)1 << s->width, step = (int64_t)1 << lane_bits;
    Chunk c = *outer;
    if (extent == step) {
        scan_step(cx, s, &c);
        return;
    }
    Loop l = loop_open(cx, const_i64(cx, 0), const_i64(cx, extent), step);
    LLVMValueRef at = l.var;
    if (s->reverse) at = LLVMBuildSub(cx->b, const_i64(cx, extent - step), at, "");
    chunk_add_field(&c, (Field){at, (int8_t)lane_bits, (int8_t)(s->width - lane_bits),
                                (int8_t)(s->low + lane_bits), (int8_t)cx->depth, true});
    scan_step(cx, s, &c);
    loop_close(cx, &l);
}

void scan_emit(Cx *cx, Op *op)
{
    Scan s = {.op = op,
              .kind = (CombineKind)op_attr_i(op, ATTR_COMBINE),
              .reverse = op_attr_i(op, ATTR_REVERSE),
              .n = op->n_in};
    const Type *t = op->in[0]->type;
    if (s.n > MAX_PARTS || s.kind == COMBINE_ARGMIN || s.kind == COMBINE_ARGMAX) {
        cpu_error(cx, KILN_ERR_UNSUPPORTED, "E0901", op->span,
                  "not supported yet: this scan on the CPU target");
        return;
    }
    affine_axis_bits(t, (int32_t)op_attr_i(op, ATTR_AXIS), &s.low, &s.width);
    int32_t bits = log_numel(t);
    s.along = s.low == 0;
    int32_t room = s.along ? s.width : s.low;
    s.log_w =
        MIN(room,
            log2_floor((uint64_t)(cx->isa->vector_bytes / MIN(8, MAX(4, type_element_bytes(t))))));
    for (int32_t i = 0; i < s.n; i++) {
        Info *info = info_of(cx, &op->out[i]);
        if (!info->held.base) info->held = held_new(cx, op->out[i].type);
        s.out[i] = info->held;
        s.type[i] = vector_of(elem_type(cx, op->in[i]->type), s.log_w);
        s.carry[i] = stack_slot(cx, s.type[i], 64);
    }
    s.started = stack_slot(cx, cx->i1, 1);
    Chunk c = {.log_w = (int8_t)s.log_w};
    for (int32_t j = 0; j < s.log_w; j++)
        c.lane[j] = (int8_t)j;
    int32_t low_lanes = s.along ? 0 : s.log_w; // bits below the axis that are lanes
    Loop loops[2];
    int32_t n_loops = 0, from[] = {s.low + s.width, low_lanes}, to[] = {bits, s.low};
    for (int32_t k = 0; k < 2; k++) { // bits above the axis, then free bits below it
        if (to[k] <= from[k]) continue;
        loops[n_loops] =
            loop_open(cx, const_i64(cx, 0), const_i64(cx, (int64_t)1 << (to[k] - from[k])), 1);
        chunk_add_field(&c, (Field){loops[n_loops].var, 0, (int8_t)(to[k] - from[k]),
                                    (int8_t)from[k], (int8_t)cx->depth, true});
        n_loops++;
    }
    scan_axis(cx, &s, &c, s.along ? s.log_w : 0);
    while (n_loops)
        loop_close(cx, &loops[--n_loops]);
    memo_drop(cx, 0);
}
