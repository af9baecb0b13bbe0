// compiler/cpu/sort.c - ops that address elements by value: sort, gather, histogram.
//
// Sorting is bitonic, in scratch, vectors at a time:
//
//   for k = 2, 4 .. n:  for j = k/2 .. 1:  compare-exchange (i, i ^ j), ascending where i & k is 0
//
// with j >= lanes as two vectors and j < lanes as one vector and a shuffle of it. A compare-exchange swaps, it
// never copies, so NaNs are moved around but not lost.
#include "compiler/cpu/cpu.h"

typedef struct Sort {
    const Type *tile, *elem;
    Held work;
    bool descending;
    int32_t axis_bits, log_w;
    LLVMTypeRef type;
} Sort;

static LLVMValueRef address(Cx *cx, const Sort *s, LLVMValueRef index)
{
    LLVMValueRef at = LLVMBuildMul(cx->b, index, const_i64(cx, type_element_bytes(s->tile)), "");
    return LLVMBuildGEP2(cx->b, cx->i8, s->work.base, &at, 1, "");
}

static LLVMValueRef get(Cx *cx, const Sort *s, LLVMValueRef at)
{
    LLVMValueRef v = LLVMBuildLoad2(cx->b, vector_of(memory_type(cx, s->elem), s->log_w), at, "");
    LLVMSetAlignment(v, (unsigned)type_element_bytes(s->tile));
    return from_memory(cx, s->elem, v);
}

static void set(Cx *cx, const Sort *s, LLVMValueRef at, LLVMValueRef v)
{
    LLVMValueRef st = LLVMBuildStore(cx->b, to_memory(cx, s->elem, v), at);
    LLVMSetAlignment(st, (unsigned)type_element_bytes(s->tile));
}

/// Must x and y change places so that x comes first? `up` is i1: this block ascends.
static LLVMValueRef out_of_order(Cx *cx, const Sort *s, LLVMValueRef x, LLVMValueRef y,
                                 LLVMValueRef up)
{
    LLVMValueRef pair[] = {x, y};
    DType t = s->elem->is_ptr ? DTYPE_U64 : s->elem->dtype;
    LLVMValueRef greater = elem_emit(cx, ELEM_GT, t, pair), less = elem_emit(cx, ELEM_LT, t, pair);
    return LLVMBuildSelect(cx->b, up, greater, less, "");
}

/// Does the block of index i in stage k ascend? (i & k) == 0, flipped when the whole sort descends.
static LLVMValueRef ascends(Cx *cx, const Sort *s, LLVMValueRef i, LLVMValueRef k)
{
    LLVMValueRef bit = LLVMBuildAnd(cx->b, i, k, "");
    return LLVMBuildICmp(cx->b, s->descending ? LLVMIntNE : LLVMIntEQ, bit,
                         LLVMConstNull(LLVMTypeOf(bit)), "");
}

/// Exchanges at distance j >= lanes: for each pair of vectors.
static void far_stage(Cx *cx, const Sort *s, LLVMValueRef k, LLVMValueRef j)
{
    int64_t pairs = s->tile->numel >> (s->log_w + 1);
    Loop l = loop_open(cx, const_i64(cx, 0), const_i64(cx, pairs), 1);
    LLVMValueRef p = LLVMBuildShl(cx->b, l.var, const_i64(cx, s->log_w), "");
    LLVMValueRef low = LLVMBuildAnd(cx->b, p, LLVMBuildSub(cx->b, j, const_i64(cx, 1), ""), "");
    LLVMValueRef high = LLVMBuildShl(cx->b, LLVMBuildSub(cx->b, p, low, ""), const_i64(cx, 1), "");
    LLVMValueRef i = LLVMBuildOr(cx->b, high, low, "");
    LLVMValueRef ax = address(cx, s, i), ay = address(cx, s, LLVMBuildOr(cx->b, i, j, ""));
    LLVMValueRef x = get(cx, s, ax), y = get(cx, s, ay);
    LLVMValueRef within =
        LLVMBuildAnd(cx->b, i, const_i64(cx, ((int64_t)1 << s->axis_bits) - 1), "");
    LLVMValueRef swap = out_of_order(cx, s, x, y, splat(cx, ascends(cx, s, within, k), s->log_w));
    set(cx, s, ax, LLVMBuildSelect(cx->b, swap, y, x, ""));
    set(cx, s, ay, LLVMBuildSelect(cx->b, swap, x, y, ""));
    depth_moved(cx, cx->depth);
    loop_close(cx, &l);
}

/// All distances below the lanes, for stage k: vector by vector.
static void near_stages(Cx *cx, const Sort *s, LLVMValueRef k, int32_t first_log_j)
{
    if (first_log_j < 0) return;
    int32_t w = 1 << s->log_w;
    Loop l = loop_open(cx, const_i64(cx, 0), const_i64(cx, s->tile->numel), w);
    LLVMValueRef at = address(cx, s, l.var), x = get(cx, s, at), lane[PLACE_MAX_LANES];
    for (int32_t i = 0; i < w; i++)
        lane[i] = const_i64(cx, i);
    LLVMValueRef within =
        LLVMBuildAnd(cx->b, l.var, const_i64(cx, ((int64_t)1 << s->axis_bits) - 1), "");
    LLVMValueRef index =
        LLVMBuildAdd(cx->b, splat(cx, within, s->log_w), LLVMConstVector(lane, (unsigned)w), "");
    LLVMValueRef up = ascends(cx, s, index, splat(cx, k, s->log_w));
    for (int32_t j = first_log_j; j >= 0; j--) {
        int32_t low[PLACE_MAX_LANES], high[PLACE_MAX_LANES], back[PLACE_MAX_LANES];
        for (int32_t i = 0; i < w; i++) {
            low[i] = i & ~(1 << j);
            high[i] = i | 1 << j;
            back[i] = i >> j & 1 ? w + i : i;
        }
        // every lane sees its pair in order and decides alike; lower lanes keep the first, upper the second
        LLVMValueRef a = shuffle(cx, x, NULL, w, low), b = shuffle(cx, x, NULL, w, high);
        LLVMValueRef swap = out_of_order(cx, s, a, b, up);
        LLVMValueRef first = LLVMBuildSelect(cx->b, swap, b, a, ""),
                     second = LLVMBuildSelect(cx->b, swap, a, b, "");
        x = shuffle(cx, first, second, w, back);
    }
    set(cx, s, at, x);
    depth_moved(cx, cx->depth);
    loop_close(cx, &l);
}

/// Stages k = 2^log_k; the far distances in a loop.
static void sort_stage(Cx *cx, const Sort *s, int32_t log_k)
{
    LLVMValueRef k = const_i64(cx, (int64_t)1 << log_k);
    if (log_k == s->axis_bits)
        k = const_i64(cx, (int64_t)1 << 40); // the last stage merges one way throughout
    for (int32_t j = log_k - 1; j >= s->log_w; j--)
        far_stage(cx, s, k, const_i64(cx, (int64_t)1 << j));
    near_stages(cx, s, k, MIN(log_k, s->log_w) - 1);
}

void sort_emit(Cx *cx, Op *op)
{
    const Type *t = op->in[0]->type, *out = op->out[0].type;
    Sort s = {.tile = t, .elem = t->element, .descending = op_attr_i(op, ATTR_DESCENDING)};
    s.axis_bits = log2_floor((uint64_t)t->shape[t->rank - 1]);
    int32_t out_bits = log2_floor((uint64_t)out->shape[out->rank - 1]);
    int32_t bytes = MAX(4, type_element_bytes(t));
    s.log_w = MIN(s.axis_bits, log2_floor((uint64_t)(cx->isa->vector_bytes / bytes)));
    Info *info = info_of(cx, op->out);
    if (!info->held.base) info->held = held_new(cx, out);
    s.work = out_bits == s.axis_bits ? info->held : held_new(cx, t);
    group_add(cx, (Root){.kind = ROOT_WRITE, .value = op->in[0], .to = s.work, .elem = t->element});
    group_flush(cx);
    for (int32_t log_k = 1; log_k <= s.axis_bits; log_k++)
        sort_stage(cx, &s, log_k);
    if (out_bits == s.axis_bits) return;
    int64_t rows = out->numel >> out_bits; // the first 2^out_bits of every row
    Loop l = loop_open(cx, const_i64(cx, 0), const_i64(cx, rows << out_bits), 1);
    LLVMValueRef row = LLVMBuildLShr(cx->b, l.var, const_i64(cx, out_bits), "");
    LLVMValueRef column =
        LLVMBuildAnd(cx->b, l.var, const_i64(cx, ((int64_t)1 << out_bits) - 1), "");
    LLVMValueRef from =
        LLVMBuildAdd(cx->b, LLVMBuildShl(cx->b, row, const_i64(cx, s.axis_bits), ""), column, "");
    Sort to = s;
    s.log_w = to.log_w = 0;
    to.work = info->held;
    set(cx, &to, address(cx, &to, l.var), get(cx, &s, address(cx, &s, from)));
    depth_moved(cx, cx->depth);
    loop_close(cx, &l);
}

Ev gather_eval(Cx *cx, Op *op, const Chunk *c)
{
    Value *src = op->in[0];
    const Type *t = src->type, *out = op->out[0].type;
    int32_t axis = (int32_t)op_attr_i(op, ATTR_AXIS), low, width, out_low, out_width,
            w = 1 << c->log_w;
    affine_axis_bits(t, axis, &low, &width);
    affine_axis_bits(out, axis, &out_low, &out_width);
    Ev index = eval(cx, op->in[1], c);
    uint32_t above = ~0u << (out_low + out_width), below = (1u << out_low) - 1;
    Ev low_part = chunk_index(cx, c, below), high_part = chunk_index(cx, c, above);
    int32_t depth = MAX(MAX(index.depth, low_part.depth), high_part.depth);
    at_depth(cx, depth);
    LLVMTypeRef wide = vector_of(cx->i64, c->log_w);
    LLVMValueRef i = LLVMBuildSExtOrBitCast(cx->b, index.v, wide, "");
    i = LLVMBuildAnd(cx->b, i, const_int(wide, ((int64_t)1 << width) - 1),
                     ""); // out of range reads some element
    i = LLVMBuildShl(cx->b, i, const_int(wide, low), "");
    LLVMValueRef high =
        high_part.v; // bits above the axis sit `out_width - width` places higher in the result
    int32_t shift = (low + width) - (out_low + out_width);
    if (shift > 0) high = LLVMBuildShl(cx->b, high, const_i64(cx, shift), "");
    if (shift < 0) high = LLVMBuildLShr(cx->b, high, const_i64(cx, -shift), "");
    LLVMValueRef rest = LLVMBuildAdd(cx->b, high, low_part.v, ""), lane[PLACE_MAX_LANES];
    for (int32_t l = 0; l < w; l++) {
        int64_t x = 0;
        for (int32_t j = 0; j < c->log_w; j++) {
            int32_t b = c->lane[j];
            if (!(l >> j & 1) || (b >= out_low && b < out_low + out_width)) continue;
            x += (int64_t)1 << (b < out_low ? b : b + shift);
        }
        lane[l] = const_i64(cx, x);
    }
    LLVMValueRef offsets = c->log_w ? LLVMConstVector(lane, (unsigned)w) : lane[0];
    LLVMValueRef at =
        LLVMBuildAdd(cx->b, LLVMBuildAdd(cx->b, i, splat(cx, rest, c->log_w), ""), offsets, "");
    at = LLVMBuildMul(cx->b, at, const_int(wide, type_element_bytes(t)), "");
    LLVMValueRef base = splat(cx, info_of(cx, src)->held.base, c->log_w);
    Place p = {.each = LLVMBuildGEP2(cx->b, cx->i8, base, &at, 1, ""),
               .log_w = c->log_w,
               .elem = t->element};
    return (Ev){place_load(cx, &p, NULL), depth};
}

void histogram_emit(Cx *cx, Op *op)
{
    const Type *t = op->in[0]->type, *out = op->out[0].type;
    Info *info = info_of(cx, op->out);
    if (!info->held.base) info->held = held_new(cx, out);
    Loop l = loop_open(cx, const_i64(cx, 0), const_i64(cx, out->numel), 1);
    LLVMValueRef at = LLVMBuildMul(cx->b, l.var, const_i64(cx, 4), "");
    LLVMBuildStore(cx->b, LLVMConstInt(cx->i32, 0, false),
                   LLVMBuildGEP2(cx->b, cx->i8, info->held.base, &at, 1, ""));
    loop_close(cx, &l);
    l = loop_open(cx, const_i64(cx, 0), const_i64(cx, t->numel), 1);
    Chunk c = chunk_zero();
    chunk_add_field(&c, (Field){l.var, 0, (int8_t)log_numel(t), 0, (int8_t)cx->depth, true});
    LLVMValueRef x = eval_here(cx, op->in[0], &c),
                 mask = op->n_in > 1 ? eval_here(cx, op->in[1], &c) : NULL;
    at_depth(cx, cx->depth);
    x = cast_emit(cx, t->dtype, DTYPE_I64, ROUND_RNE, x);
    LLVMValueRef counts = LLVMBuildICmp(cx->b, LLVMIntULT, x, const_i64(cx, out->numel), "");
    if (mask) counts = LLVMBuildAnd(cx->b, counts, mask, "");
    x = LLVMBuildSelect(cx->b, counts, x, const_i64(cx, 0), "");
    LLVMValueRef offset = LLVMBuildShl(cx->b, x, const_i64(cx, 2), "");
    LLVMValueRef bin = LLVMBuildGEP2(cx->b, cx->i8, info->held.base, &offset, 1, "");
    LLVMValueRef n = LLVMBuildLoad2(cx->b, cx->i32, bin, "");
    LLVMBuildStore(cx->b, LLVMBuildAdd(cx->b, n, LLVMBuildZExt(cx->b, counts, cx->i32, ""), ""),
                   bin);
    loop_close(cx, &l);
    memo_drop(cx, 0);
}
