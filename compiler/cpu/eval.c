// compiler/cpu/eval.c - a tile value at a chunk: the walk from a consumer up to memory.
//
//   eval(add(load(p), broadcast(s)), lanes 8..15 of row r)
//     load(p)       contiguous -> one vector load                depth of the loop over lanes
//     broadcast(s)  renames bits: s at [r] -> scalar load, splat   depth of the loop over rows: hoisted
//
// A bit along which a value does not change is dropped from its chunk first; so a broadcast row is evaluated
// as a scalar, and x[k // 32] over 32 lanes is one load. What was evaluated is remembered (memo) for as
// long as the loops it depends on are open.
#include "compiler/cpu/cpu.h"

void at_depth(Cx *cx, int32_t d)
{
    LLVMPositionBuilderAtEnd(cx->b, cx->at[d]);
}

void depth_moved(Cx *cx, int32_t d)
{
    cx->at[d] = LLVMGetInsertBlock(cx->b);
}

void memo_drop(Cx *cx, int32_t d)
{
    int32_t kept = 0;
    for (int32_t i = 0; i < cx->memo.len; i++)
        if (cx->memo.data[i].ev.depth < d) cx->memo.data[kept++] = cx->memo.data[i];
    cx->memo.len = kept;
}

// ---- chunks ---------------------------------------------------------------------------------------

Chunk chunk_zero(void)
{
    return (Chunk){0};
}

void chunk_add_field(Chunk *c, Field f)
{
    ASSERT(c->n_fields < MAX_FIELDS);
    c->fields[c->n_fields++] = f;
}

/// Bits [from, from + n) of field `f`, renamed to flat bits [at, at + n).
static Field field_part(const Field *f, int32_t from, int32_t n, int32_t at)
{
    Field p = *f;
    p.lo = (int8_t)(f->lo + from);
    p.width = (int8_t)n;
    p.at = (int8_t)at;
    p.is_whole = f->is_whole && n == f->width;
    return p;
}

void chunk_map(const Chunk *c, const int8_t *map, Chunk *out)
{
    Chunk r = {.log_w = c->log_w};
    for (int32_t j = 0; j < c->log_w; j++)
        r.lane[j] = c->lane[j] < 0 ? (int8_t)-1 : map[c->lane[j]];
    for (uint32_t left = c->fixed; left; left &= left - 1) {
        int32_t to = map[__builtin_ctz(left)];
        if (to >= 0) r.fixed |= 1u << to;
    }
    for (int32_t i = 0; i < c->n_fields; i++) {
        const Field *f = &c->fields[i];
        for (int32_t from = 0, n; from < f->width; from += n) {
            int32_t to = map[f->at + from];
            n = 1;
            while (from + n < f->width && map[f->at + from + n] == (to < 0 ? -1 : to + n))
                n++;
            if (to >= 0) chunk_add_field(&r, field_part(f, from, n, to));
        }
    }
    *out = r;
}

/// Only the bits of `dep`; lanes outside it disappear. `source[l]`: the lane of the small chunk that lane l reads.
static Chunk chunk_reduced(const Chunk *c, uint32_t dep, int32_t *source)
{
    int8_t map[MAX_BITS];
    for (int32_t b = 0; b < MAX_BITS; b++)
        map[b] = dep >> b & 1 ? (int8_t)b : (int8_t)-1;
    Chunk r;
    chunk_map(c, map, &r);
    int32_t n = 0, kept[MAX_LANE_BITS];
    for (int32_t j = 0; j < r.log_w; j++) {
        kept[j] = -1;
        if (r.lane[j] < 0) continue;
        kept[j] = n;
        r.lane[n++] = r.lane[j];
    }
    for (int32_t l = 0; l < 1 << c->log_w; l++) {
        source[l] = 0;
        for (int32_t j = 0; j < c->log_w; j++)
            if (kept[j] >= 0 && l >> j & 1) source[l] |= 1 << kept[j];
    }
    for (int32_t j = n; j < MAX_LANE_BITS; j++)
        r.lane[j] = 0;
    r.log_w = (int8_t)n;
    return r;
}

void memo_add(Cx *cx, Value *v, const Chunk *c, LLVMValueRef x)
{
    int32_t source[PLACE_MAX_LANES];
    Chunk small = chunk_reduced(c, info_of(cx, v)->dep, source);
    ASSERT(small.log_w == c->log_w);
    vec_push(cx->arena, &cx->memo, (MemoEntry){v, small, {x, cx->depth}});
}

static bool chunk_same(const Chunk *a, const Chunk *b)
{
    if (a->log_w != b->log_w || a->n_fields != b->n_fields || a->fixed != b->fixed) return false;
    for (int32_t j = 0; j < a->log_w; j++)
        if (a->lane[j] != b->lane[j]) return false;
    for (int32_t i = 0; i < a->n_fields; i++) {
        const Field *f = &a->fields[i], *g = &b->fields[i];
        if (f->var != g->var || f->lo != g->lo || f->width != g->width || f->at != g->at)
            return false;
    }
    return true;
}

/// f's bits as a number shifted left by `up` (right when negative).
static LLVMValueRef field_value(Cx *cx, const Field *f, int32_t up)
{
    LLVMValueRef v = f->var;
    int32_t shift = up - f->lo;
    if (!f->is_whole) {
        if (f->lo) v = LLVMBuildLShr(cx->b, v, const_i64(cx, f->lo), "");
        v = LLVMBuildAnd(cx->b, v, const_i64(cx, ((int64_t)1 << f->width) - 1), "");
        shift = up;
    }
    if (shift > 0) return LLVMBuildShl(cx->b, v, const_i64(cx, shift), "");
    if (shift < 0) return LLVMBuildLShr(cx->b, v, const_i64(cx, -shift), "");
    return v;
}

Ev chunk_index(Cx *cx, const Chunk *c, uint32_t bits)
{
    Ev sum = {const_i64(cx, c->fixed & bits), 0};
    for (int32_t d = 0; d <= cx->depth; d++) { // outer loops first, so that their part is hoisted
        for (int32_t i = 0; i < c->n_fields; i++) {
            const Field *f = &c->fields[i];
            if (f->depth != d || !(bits >> f->at & 1)) continue;
            at_depth(cx, d);
            LLVMValueRef part = field_value(cx, f, f->at);
            sum.v = is_zero(sum.v) ? part : LLVMBuildAdd(cx->b, sum.v, part, "");
            sum.depth = d;
        }
    }
    return sum;
}

// ---- shape operations rename bits ---------------------------------------------------------------------

static void axis_lows(const Type *t, int32_t *low)
{
    int32_t at = 0;
    for (int32_t a = t->rank - 1; a >= 0; a--) {
        low[a] = at;
        at += log2_floor((uint64_t)t->shape[a]);
    }
}

bool shape_map(const Op *op, int8_t map[MAX_BITS])
{
    const Type *in = op->in[0]->type, *out = op->out[0].type;
    int32_t in_low[TYPE_MAX_RANK], out_low[TYPE_MAX_RANK];
    for (int32_t b = 0; b < MAX_BITS; b++)
        map[b] = -1;
    switch (op->kind) {
    case OP_SPLAT:
        return true;
    case OP_EXPAND_DIMS:
    case OP_RESHAPE:
    case OP_HINT:
    case OP_CONVERT:
        for (int32_t b = 0; b < log_numel(out); b++)
            map[b] = (int8_t)b;
        return true;
    case OP_BROADCAST:
        axis_lows(in, in_low);
        axis_lows(out, out_low);
        for (int32_t a = 0; a < out->rank; a++)
            if (in->shape[a] != 1)
                for (int32_t j = 0; j < log2_floor((uint64_t)out->shape[a]); j++)
                    map[out_low[a] + j] = (int8_t)(in_low[a] + j);
        return true;
    case OP_TRANS: {
        const Attr *perm = &op->attrs[0];
        axis_lows(in, in_low);
        axis_lows(out, out_low);
        for (int32_t a = 0; a < out->rank; a++)
            for (int32_t j = 0; j < log2_floor((uint64_t)out->shape[a]); j++)
                map[out_low[a] + j] = (int8_t)(in_low[perm->list[a]] + j);
        return true;
    }
    default:
        return false;
    }
}

// ---- leaves -------------------------------------------------------------------------------------------

static Ev eval_const(Cx *cx, const Op *op)
{
    const Type *t = op->out[0].type;
    const Attr *a = &op->attrs[0];
    LLVMTypeRef e = elem_type(cx, t);
    if (t->is_ptr) return (Ev){LLVMConstIntToPtr(const_i64(cx, a->i), e), 0};
    return (Ev){dtype_is_float(t->dtype) ? const_real(e, a->f) : const_int(e, a->i), 0};
}

/// Lane offsets sum_j bit_j(l) * step[j] as a constant vector.
static LLVMValueRef lane_offsets(LLVMTypeRef elem, int32_t log_w, const int64_t *step)
{
    LLVMValueRef lanes[PLACE_MAX_LANES];
    for (int32_t l = 0; l < 1 << log_w; l++) {
        int64_t x = 0;
        for (int32_t j = 0; j < log_w; j++)
            x += l >> j & 1 ? step[j] : 0;
        lanes[l] = LLVMConstInt(elem, (uint64_t)x, true);
    }
    return log_w ? LLVMConstVector(lanes, 1u << log_w) : lanes[0];
}

static Ev eval_arange(Cx *cx, const Op *op, const Chunk *c)
{
    Ev index = chunk_index(cx, c, ~0u);
    at_depth(cx, index.depth);
    LLVMValueRef v = LLVMBuildTrunc(cx->b, index.v, cx->i32, "");
    v = LLVMBuildAdd(cx->b, v, LLVMConstInt(cx->i32, (uint64_t)op_attr_i(op, ATTR_START), true),
                     "");
    if (!c->log_w) return (Ev){v, index.depth};
    int64_t step[MAX_LANE_BITS];
    for (int32_t j = 0; j < c->log_w; j++)
        step[j] = (int64_t)1 << c->lane[j];
    v = LLVMBuildAdd(cx->b, splat(cx, v, c->log_w), lane_offsets(cx->i32, c->log_w, step), "");
    return (Ev){v, index.depth};
}

static Ev eval_load(Cx *cx, Op *op, const Chunk *c)
{
    Value *other = op->n_in > 2 ? op->in[2] : NULL;
    if ((int32_t)(intptr_t)op->note <
        cx->last_write) // plan.c keeps what a write may change: a mistake of ours, not a wrong number
        cpu_error(cx, KILN_ERR_UNSUPPORTED, "E9999", op->span,
                  "internal error: a load was moved behind a store");
    LLVMTypeRef type = vector_of(elem_type(cx, op->out[0].type), c->log_w);
    Ev mask = {NULL, 0};
    if (op->n_in > 1) mask = eval(cx, op->in[1], c);
    if (mask.v && is_zero(mask.v)) {
        if (!other) return (Ev){LLVMConstNull(type), mask.depth};
        Ev o = eval(cx, other, c);
        return (Ev){o.v, MAX(o.depth, mask.depth)};
    }
    bool is_masked = mask.v && !is_all_ones(mask.v);
    Ev o = {NULL, 0};
    if (is_masked && other) o = eval(cx, other, c);
    Place p = place_of_pointer(cx, op->in[0], c);
    int32_t depth = MAX(MAX(p.depth, mask.depth), o.depth);
    at_depth(cx, depth);
    LLVMValueRef v = place_load(cx, &p, is_masked ? mask.v : NULL);
    depth_moved(cx, depth);
    if (is_masked && o.v && !is_zero(o.v)) v = LLVMBuildSelect(cx->b, mask.v, v, o.v, "");
    return (Ev){v, depth};
}

// ---- operations ---------------------------------------------------------------------------------------

/// Is `m`, read where `map` says (bit of x -> bit of m), at least x at every element, or one of the two NaN?
static bool is_maximum_of(const Value *m, const Value *x, const int8_t *map)
{
    int8_t inner[MAX_BITS], outer[MAX_BITS];
    const Op *op = m->def;
    if (!op) return false;
    if (op->kind == OP_ELEM && (op->elem == ELEM_MAX || op->elem == ELEM_MAX_NAN))
        return is_maximum_of(op->in[0], x, map) || is_maximum_of(op->in[1], x, map);
    if (op->kind == OP_REDUCE && op->n_in == 1 && op->in[0] == x) {
        if (op_attr_i(op, ATTR_COMBINE) != COMBINE_MAX) return false;
        int32_t low, width;
        affine_axis_bits(x->type, (int32_t)op_attr_i(op, ATTR_AXIS), &low, &width);
        for (int32_t b = 0; b < log_numel(x->type); b++)
            if (map[b] != (b < low ? b : b < low + width ? -1 : b - width)) return false;
        return true;
    }
    if (!op->n_in || !shape_map(op, inner)) return false;
    for (int32_t b = 0; b < MAX_BITS; b++)
        outer[b] = map[b] < 0 ? (int8_t)-1 : inner[map[b]];
    return is_maximum_of(op->in[0], x, outer);
}

/// x - max(x), as a softmax subtracts it.
static bool is_never_positive(const Value *v)
{
    int8_t same[MAX_BITS];
    for (int32_t b = 0; b < MAX_BITS; b++)
        same[b] = (int8_t)b;
    return op_is_elem(v->def, ELEM_SUB) && v->type->kind == TYPE_TILE &&
           is_maximum_of(v->def->in[1], v->def->in[0], same);
}

static Ev eval_elem(Cx *cx, Op *op, const Chunk *c)
{
    LLVMValueRef in[3];
    int32_t d = 0;
    for (int32_t i = 0; i < op->n_in; i++) {
        Ev e = eval(cx, op->in[i], c);
        in[i] = e.v;
        d = MAX(d, e.depth);
    }
    const Type *t = op->in[op->elem == ELEM_SELECT ? 1 : 0]->type;
    at_depth(cx, d);
    if (t->is_ptr && op->elem != ELEM_SELECT) // comparisons of addresses
        for (int32_t i = 0; i < op->n_in; i++)
            in[i] = LLVMBuildPtrToInt(cx->b, in[i], vector_of(cx->i64, c->log_w), "");
    bool is_low = (op->elem == ELEM_EXP || op->elem == ELEM_EXP2) && is_never_positive(op->in[0]);
    LLVMValueRef v = is_low ? elem_emit_low(cx, op->elem, t->dtype, in)
                            : elem_emit(cx, op->elem, t->is_ptr ? DTYPE_U64 : t->dtype, in);
    depth_moved(cx, d);
    return (Ev){v, d};
}

static Ev eval_addptr(Cx *cx, Op *op, const Chunk *c)
{
    Ev p = eval(cx, op->in[0], c), o = eval(cx, op->in[1], c);
    int32_t d = MAX(p.depth, o.depth);
    at_depth(cx, d);
    const Type *t = op->in[1]->type;
    LLVMTypeRef wide = vector_of(cx->i64, c->log_w);
    if (dtype_bits(t->dtype) < 64)
        o.v = dtype_is_signed(t->dtype) ? LLVMBuildSExt(cx->b, o.v, wide, "")
                                        : LLVMBuildZExt(cx->b, o.v, wide, "");
    int32_t bytes = dtype_bytes(op->in[0]->type->dtype);
    if (bytes > 1) o.v = LLVMBuildMul(cx->b, o.v, const_int(wide, bytes), "");
    return (Ev){LLVMBuildGEP2(cx->b, cx->i8, p.v, &o.v, 1, ""), d};
}

static Ev eval_convert(Cx *cx, Op *op, const Chunk *c)
{
    Ev x = eval(cx, op->in[0], c);
    const Type *from = op->in[0]->type, *to = op->out[0].type;
    at_depth(cx, x.depth);
    if (op->kind == OP_BITCAST) {
        x.v = bitcast_emit(cx, from, to, x.v);
    } else if (from->is_ptr || to->is_ptr) {
        LLVMTypeRef t = vector_of(cx->i64, c->log_w);
        if (from->is_ptr && to->is_ptr) return x;
        if (to->is_ptr) {
            x.v = cast_emit(cx, from->dtype, DTYPE_U64, ROUND_RNE, x.v);
            x.v = LLVMBuildIntToPtr(cx->b, x.v, vector_of(cx->ptr, c->log_w), "");
        } else {
            x.v = cast_emit(cx, DTYPE_U64, to->dtype, ROUND_RNE,
                            LLVMBuildPtrToInt(cx->b, x.v, t, ""));
        }
    } else {
        x.v = cast_emit(cx, from->dtype, to->dtype, (RoundMode)op_attr_i(op, ATTR_ROUND), x.v);
    }
    depth_moved(cx, x.depth);
    return x;
}

/// Two operands along one index bit: lanes of that bit are taken from one or the other; a loop bit selects.
static Ev eval_two(Cx *cx, Op *op, const Chunk *c, int32_t bit)
{
    int8_t map[MAX_BITS];
    for (int32_t b = 0; b < MAX_BITS; b++)
        map[b] = b == bit ? (int8_t)-1 : (int8_t)(b > bit ? b - 1 : b);
    Chunk inner;
    chunk_map(c, map, &inner);
    bool is_lane = false, is_field = false;
    LLVMValueRef pick[PLACE_MAX_LANES];
    int32_t n = 1 << c->log_w;
    for (int32_t l = 0; l < n; l++)
        pick[l] = LLVMConstInt(cx->i1, c->fixed >> bit & 1, false);
    for (int32_t j = 0; j < c->log_w; j++) {
        if (c->lane[j] != bit) continue;
        is_lane = true;
        for (int32_t l = 0; l < n; l++)
            pick[l] = LLVMConstInt(cx->i1, l >> j & 1, false);
    }
    for (int32_t i = 0; i < c->n_fields; i++)
        is_field |= bit >= c->fields[i].at && bit < c->fields[i].at + c->fields[i].width;
    if (!is_lane && !is_field) return eval(cx, op->in[c->fixed >> bit & 1], &inner);
    Ev x = eval(cx, op->in[0], &inner), y = eval(cx, op->in[1], &inner);
    int32_t d = MAX(x.depth, y.depth);
    LLVMValueRef choose;
    if (is_lane) {
        choose = LLVMConstVector(pick, (unsigned)n);
        at_depth(cx, d);
    } else {
        int8_t only[MAX_BITS];
        for (int32_t b = 0; b < MAX_BITS; b++)
            only[b] = b == bit ? 0 : -1;
        Chunk one;
        chunk_map(c, only, &one);
        Ev index = chunk_index(cx, &one, ~0u);
        d = MAX(d, index.depth);
        at_depth(cx, d);
        choose = LLVMBuildTrunc(cx->b, index.v, cx->i1, "");
    }
    return (Ev){LLVMBuildSelect(cx->b, choose, y.v, x.v, ""), d};
}

static Ev eval_split(Cx *cx, Op *op, int32_t which, const Chunk *c)
{
    int8_t map[MAX_BITS];
    for (int32_t b = 0; b < MAX_BITS; b++)
        map[b] = (int8_t)(b + 1);
    Chunk inner;
    chunk_map(c, map, &inner);
    inner.fixed |= (uint32_t)which;
    return eval(cx, op->in[0], &inner);
}

/// Index bits of the axis are inverted: lanes come in reverse, loop bits as their complement.
static Ev eval_flip(Cx *cx, Op *op, const Chunk *c)
{
    int32_t low, width;
    affine_axis_bits(op->out[0].type, (int32_t)op_attr_i(op, ATTR_AXIS), &low, &width);
    uint32_t mask = ((1u << width) - 1) << low;
    Chunk inner = {.log_w = c->log_w, .fixed = c->fixed};
    uint32_t lanes = 0, loops = 0;
    for (int32_t j = 0; j < c->log_w; j++) {
        inner.lane[j] = c->lane[j];
        if (c->lane[j] >= 0 && mask >> c->lane[j] & 1) lanes |= 1u << j;
    }
    for (int32_t i = 0; i < c->n_fields; i++) {
        const Field *f = &c->fields[i];
        uint32_t bits = ((1u << f->width) - 1) << f->at;
        if (!(bits & mask)) {
            chunk_add_field(&inner, *f);
            continue;
        }
        for (int32_t b = 0; b < f->width; b++) { // bit by bit: a field may cross the axis
            Field one = field_part(f, b, 1, f->at + b);
            one.is_whole = false;
            if (mask >> one.at & 1) {
                at_depth(cx, f->depth);
                one.var = LLVMBuildNot(cx->b, f->var, "");
            }
            chunk_add_field(&inner, one);
        }
        loops |= bits;
    }
    uint32_t lane_bits = 0;
    for (int32_t j = 0; j < c->log_w; j++)
        if (c->lane[j] >= 0) lane_bits |= 1u << c->lane[j];
    inner.fixed ^= mask & ~loops & ~lane_bits;
    Ev x = eval(cx, op->in[0], &inner);
    if (!lanes) return x;
    int32_t order[PLACE_MAX_LANES];
    for (int32_t l = 0; l < 1 << c->log_w; l++)
        order[l] = l ^ (int32_t)lanes;
    at_depth(cx, x.depth);
    return (Ev){shuffle(cx, x.v, NULL, 1 << c->log_w, order), x.depth};
}

static Ev eval_held(Cx *cx, Value *v, const Chunk *c)
{
    Place p = place_of_held(cx, &info_of(cx, v)->held, v->type, c);
    at_depth(cx, p.depth);
    return (Ev){place_load(cx, &p, NULL), p.depth};
}

/// A carried tile that is its initial value plus a uniform running sum.
static Ev eval_delta(Cx *cx, Value *v, const Chunk *c)
{
    Info *info = info_of(cx, v);
    Ev x = eval(cx, info->base, c);
    at_depth(cx, x.depth);
    LLVMValueRef d = splat(cx, info->delta, c->log_w);
    if (v->type->is_ptr) return (Ev){LLVMBuildGEP2(cx->b, cx->i8, x.v, &d, 1, ""), x.depth};
    return (Ev){LLVMBuildAdd(cx->b, x.v, d, ""), x.depth};
}

static Ev eval_op(Cx *cx, Value *v, const Chunk *c)
{
    Op *op = v->def;
    int8_t map[MAX_BITS];
    int32_t low, width;
    switch (op->kind) {
    case OP_CONST:
        return eval_const(cx, op);
    case OP_ARANGE:
        return eval_arange(cx, op, c);
    case OP_ELEM:
        return eval_elem(cx, op, c);
    case OP_CAST:
    case OP_BITCAST:
        return eval_convert(cx, op, c);
    case OP_ADDPTR:
        return eval_addptr(cx, op, c);
    case OP_LOAD:
        return eval_load(cx, op, c);
    case OP_GATHER:
        return gather_eval(cx, op, c);
    case OP_JOIN:
        return eval_two(cx, op, c, 0);
    case OP_CAT:
        affine_axis_bits(v->type, (int32_t)op_attr_i(op, ATTR_AXIS), &low, &width);
        return eval_two(cx, op, c, low + width - 1);
    case OP_SPLIT:
        return eval_split(cx, op, v->index, c);
    case OP_FLIP:
        return eval_flip(cx, op, c);
    default:
        break;
    }
    if (shape_map(op, map)) {
        Chunk inner;
        chunk_map(c, map, &inner);
        return eval(cx, op->in[0], &inner);
    }
    cpu_error(cx, KILN_ERR_UNSUPPORTED, "E0901", op->span,
              "not supported yet: `%s` on the CPU target", op_facts[op->kind].name);
    return (Ev){LLVMGetPoison(vector_of(elem_type(cx, v->type), c->log_w)), 0};
}

static Ev eval_core(Cx *cx, Value *v, const Chunk *c)
{
    Info *info = info_of(cx, v);
    for (int32_t i = 0; i < cx->assumed.len; i++)
        if (cx->assumed.data[i].term == v)
            return (Ev){LLVMConstAllOnes(vector_of(cx->i1, c->log_w)), cx->assumed.data[i].depth};
    if (info->mode == MODE_DELTA) return eval_delta(cx, v, c);
    if (info->mode == MODE_HELD && (info->is_ready || !info->is_keep)) return eval_held(cx, v, c);
    return eval_op(cx, v, c);
}

/// Short arithmetic on one loaded int, wanted in every lane: it is done in lanes, because a load spreads by itself
/// and a scalar's result does not.
static bool spreads_first(const Value *v, int32_t steps)
{
    const Op *op = v->def;
    int64_t k;
    if (!op || !steps || v->type->is_ptr || v->type->dtype != DTYPE_I32) return false;
    if (op->kind == OP_LOAD) return op->n_in == 1;
    if (op->kind == OP_EXPAND_DIMS || op->kind == OP_BROADCAST || op->kind == OP_RESHAPE)
        return spreads_first(op->in[0], steps);
    if (op->kind != OP_ELEM || op->n_in != 2 ||
        (op->elem != ELEM_ADD && op->elem != ELEM_SUB && op->elem != ELEM_MUL))
        return false;
    bool left = value_const_int(op->in[0], &k), right = value_const_int(op->in[1], &k);
    return left != right && spreads_first(op->in[left], steps - 1);
}

Ev eval(Cx *cx, Value *v, const Chunk *c)
{
    if (v->type->kind != TYPE_TILE) {
        at_depth(cx, 0);
        return (Ev){splat(cx, eval_scalar(cx, v), c->log_w), 0};
    }
    int32_t source[PLACE_MAX_LANES];
    Chunk small = chunk_reduced(c, info_of(cx, v)->dep, source);
    Ev r = {NULL, 0};
    if (!small.log_w && c->log_w >= 2 && v->def && v->def->kind != OP_LOAD && spreads_first(v, 3)) {
        small.log_w = c->log_w;
        for (int32_t j = 0; j < c->log_w; j++)
            small.lane[j] = -1;
    }
    for (int32_t i = cx->memo.len - 1; i >= 0 && !r.v; i--)
        if (cx->memo.data[i].value == v && chunk_same(&cx->memo.data[i].chunk, &small))
            r = cx->memo.data[i].ev;
    if (!r.v) {
        r = eval_core(cx, v, &small);
        vec_push(cx->arena, &cx->memo, (MemoEntry){v, small, r});
    }
    if (small.log_w == c->log_w) return r;
    at_depth(cx, r.depth);
    r.v = small.log_w ? shuffle(cx, r.v, NULL, 1 << c->log_w, source) : splat(cx, r.v, c->log_w);
    return r;
}

LLVMValueRef eval_here(Cx *cx, Value *v, const Chunk *c)
{
    Ev e = eval(cx, v, c);
    at_depth(cx, cx->depth);
    return e.v;
}

LLVMValueRef eval_scalar(Cx *cx, Value *v)
{
    Info *info = info_of(cx, v);
    if (info->scalar) return info->scalar;
    if (cx->st != KILN_OK)
        return LLVMGetPoison(elem_type(cx, v->type)); // an error was reported; nothing is run
    BUG("value %d (%s) has no scalar yet", v->id,
        v->def ? op_facts[v->def->kind].name : "argument");
}

/// eval_op() of a rank-0 result; its operands are scalars, or one-element tiles that it reshapes.
LLVMValueRef emit_scalar_op(Cx *cx, Op *op)
{
    Chunk one = chunk_zero();
    Value *v = &op->out[0];
    Ev e;
    switch (op->kind) {
    case OP_RESHAPE:
    case OP_HINT:
    case OP_SPLAT:
    case OP_CONVERT:
    case OP_BROADCAST:
        e = eval(cx, op->in[0], &one);
        break;
    default:
        e = eval_op(cx, v, &one);
    }
    at_depth(cx, 0);
    return e.v;
}
