// compiler/cpu/nest.c - loops over the chunks of a space.
//
//   space 128 x 1024, lanes along columns            for row in 0 .. 128
//   mask (row < m) & (col < n)               ==>       k = clamp(n, 0, 1024) / 32
//                                                      for col in 0 .. k      `col < n` holds: no mask
//                                                      for col in k .. end    masked
//
// A comparison that is true for a prefix of a loop's indices, whatever the inner ones, splits the loop: in
// the first part it is assumed, and what depends on it (the mask of a load, a select) folds away. When only
// stores happen, the second part ends where their masks do.
#include "compiler/cpu/cpu.h"

// ---- what a space meets -----------------------------------------------------------------------------

static bool map_same(const int8_t *a, const int8_t *b)
{
    return memcmp(a, b, MAX_BITS) == 0;
}

static void identity(int8_t map[MAX_BITS])
{
    for (int32_t b = 0; b < MAX_BITS; b++)
        map[b] = (int8_t)b;
}

/// outer: space -> v; inner: v -> operand. @return space -> operand
static void compose(const int8_t *outer, const int8_t *inner, int8_t out[MAX_BITS])
{
    for (int32_t b = 0; b < MAX_BITS; b++)
        out[b] = outer[b] < 0 ? (int8_t)-1 : inner[outer[b]];
}

void cone_add_access(Cx *cx, Cone *cone, Value *pointer, const int8_t *map, int32_t weight)
{
    int8_t same[MAX_BITS];
    identity(same);
    Access a = {.pointer = pointer, .weight = weight};
    memcpy(a.map, map ? map : same, MAX_BITS);
    vec_push(cx->arena, &cone->accesses, a);
    if (!affine_of(cx->affine, pointer)->slow) return;
    Cone whole =
        *cone; // an indirect address: its own loads count as accesses, not as work per lane
    cone_add(cx, cone, pointer, a.map, 0);
    cone->cost = whole.cost;
    cone->lane_bytes = whole.lane_bytes;
}

/// @return false when `v` was met under this renaming before
static bool first_visit(Cx *cx, Cone *cone, Value *v, const int8_t *map)
{
    bool is_new = true, is_other = false;
    VEC_EACH(Term, t, &cone->seen) {
        if (t->value != v) continue;
        if (map_same(t->map, map))
            is_new = false;
        else
            is_other = true;
    }
    if (is_other)
        VEC_EACH(Term, t, &cone->terms)
            if (t->value == v) t->is_dead = true;
    Term mark = {.value = v};
    memcpy(mark.map, map, MAX_BITS);
    if (is_new) vec_push(cx->arena, &cone->seen, mark);
    return is_new;
}

static bool is_comparison(const Op *op)
{
    if (!op || op->kind != OP_ELEM) return false;
    const Type *t = op->in[0]->type;
    bool ordered =
        op->elem == ELEM_LT || op->elem == ELEM_LE || op->elem == ELEM_GT || op->elem == ELEM_GE;
    return ordered && !t->is_ptr && dtype_is_int(t->dtype) && t->dtype != DTYPE_U64 &&
           t->dtype != DTYPE_I1;
}

static void add_term(Cx *cx, Cone *cone, Value *v, const int8_t *map, uint32_t stores)
{
    VEC_EACH(Term, t, &cone->terms) {
        if (t->value != v) continue;
        if (map_same(t->map, map))
            t->stores |= stores;
        else
            t->is_dead = true;
        return;
    }
    Term term = {.value = v, .stores = stores};
    memcpy(term.map, map, MAX_BITS);
    VEC_EACH(Term, s, &cone->seen)
        if (s->value == v && !map_same(s->map, map)) term.is_dead = true;
    vec_push(cx->arena, &cone->terms, term);
}

static void note_bytes(Cone *cone, const Type *t)
{
    if (t->is_ptr) return;
    int32_t bytes = dtype_is_float(t->dtype) && t->dtype != DTYPE_F64 ? 4 : dtype_bytes(t->dtype);
    cone->lane_bytes = MAX(cone->lane_bytes, bytes);
}

/// Walks operands of `op` that are computed lane by lane. Addresses are not walked: they are scalars mostly.
static void walk_operands(Cx *cx, Cone *cone, Op *op, const int8_t *map)
{
    int8_t inner[MAX_BITS], next[MAX_BITS];
    switch (op->kind) {
    case OP_LOAD:
        cone_add_access(cx, cone, op->in[0], map, 1);
        note_bytes(cone, op->out[0].type);
        cone->cost += 2;
        for (int32_t i = 1; i < op->n_in; i++)
            cone_add(cx, cone, op->in[i], map, 0);
        return;
    case OP_GATHER: // its index has another shape
        note_bytes(cone, op->out[0].type);
        cone->cost += 8;
        return;
    case OP_ARANGE:
    case OP_CONST:
        return;
    case OP_JOIN:
    case OP_CAT:
    case OP_SPLIT:
    case OP_FLIP: {
        int32_t low = 0, width = 1;
        if (op->kind == OP_CAT)
            affine_axis_bits(op->out[0].type, (int32_t)op_attr_i(op, ATTR_AXIS), &low, &width);
        int32_t bit = op->kind == OP_CAT ? low + width - 1 : 0;
        for (int32_t b = 0; b < MAX_BITS; b++)
            inner[b] = (int8_t)b;
        for (int32_t b = 0; b < MAX_BITS && op->kind == OP_SPLIT; b++)
            inner[b] = b + 1 < MAX_BITS ? (int8_t)(b + 1) : (int8_t)-1;
        for (int32_t b = 0; b < MAX_BITS && (op->kind == OP_CAT || op->kind == OP_JOIN); b++)
            inner[b] = b == bit ? (int8_t)-1 : (int8_t)(b > bit ? b - 1 : b);
        if (op->kind == OP_FLIP) { // inverted bits: no prefix can be told from them
            affine_axis_bits(op->out[0].type, (int32_t)op_attr_i(op, ATTR_AXIS), &low, &width);
            for (int32_t b = low; b < low + width; b++)
                inner[b] = -1;
        }
        compose(map, inner, next);
        cone->cost += 2;
        for (int32_t i = 0; i < op->n_in; i++)
            cone_add(cx, cone, op->in[i], next, 0);
        return;
    }
    default:
        break;
    }
    if (shape_map(op, inner)) {
        compose(map, inner, next);
        cone_add(cx, cone, op->in[0], next, 0);
        return;
    }
    for (int32_t i = 0; i < op->n_in; i++)
        cone_add(cx, cone, op->in[i], map, 0);
}

/// Terms among the conjuncts of a store's mask.
static void add_conjuncts(Cx *cx, Cone *cone, Value *v, const int8_t *map, uint32_t stores)
{
    Op *op = v->def;
    int8_t inner[MAX_BITS], next[MAX_BITS];
    if (!op || v->type->kind != TYPE_TILE || info_of(cx, v)->mode == MODE_HELD) return;
    if (is_comparison(op)) {
        add_term(cx, cone, v, map, stores);
    } else if (op_is_elem(op, ELEM_AND)) {
        for (int32_t i = 0; i < 2; i++)
            add_conjuncts(cx, cone, op->in[i], map, stores);
    } else if (shape_map(op, inner)) {
        compose(map, inner, next);
        add_conjuncts(cx, cone, op->in[0], next, stores);
    }
}

/// Element operations whose emission is long, in vector instructions.
static int32_t elem_cost(ElemKind e)
{
    switch (e) {
    case ELEM_EXP:
    case ELEM_EXP2:
        return 16;
    case ELEM_LOG:
    case ELEM_LOG2:
    case ELEM_TANH:
        return 30;
    case ELEM_SIN:
    case ELEM_COS:
    case ELEM_ERF:
        return 40;
    case ELEM_DIV:
    case ELEM_DIV_RN:
    case ELEM_REM:
    case ELEM_RSQRT:
    case ELEM_SQRT:
        return 6;
    default:
        return 1;
    }
}

int32_t op_cost(const Op *op)
{
    const Type *t = op->out[0].type;
    switch (op->kind) {
    case OP_ELEM: {
        const Type *in = op->in[op->n_in - 1]->type;
        bool narrow = !in->is_ptr && dtype_is_float(in->dtype) && dtype_bits(in->dtype) < 32;
        return elem_cost(op->elem) + (narrow ? 4 : 0);
    }
    case OP_CAST:
        return !t->is_ptr && dtype_is_float(t->dtype) && dtype_bits(t->dtype) < 32 ? 5 : 1;
    case OP_LOAD:
        return 2;
    case OP_GATHER:
        return 12;
    case OP_JOIN:
    case OP_CAT:
    case OP_FLIP:
        return 2;
    case OP_ADDPTR:
        return 1;
    default:
        return 0;
    }
}

void cone_add(Cx *cx, Cone *cone, Value *v, const int8_t *map, uint32_t stores)
{
    int8_t same[MAX_BITS];
    if (!map) {
        identity(same);
        map = same;
    }
    if (v->type->kind != TYPE_TILE) return;
    if (stores) add_conjuncts(cx, cone, v, map, stores);
    if (!first_visit(cx, cone, v, map)) return;
    Info *info = info_of(cx, v);
    if (info->mode == MODE_HELD && (info->is_ready || !info->is_keep)) {
        note_bytes(cone, v->type);
        cone->cost += 1;
        cone->reads_small |= info->held.is_small;
        return;
    }
    if (info->mode == MODE_DELTA) {
        cone_add(cx, cone, info->base, map, 0);
        return;
    }
    if (is_comparison(v->def)) add_term(cx, cone, v, map, 0);
    if (!v->def) return;
    cone->cost += op_cost(v->def);
    bool is_index = !v->type->is_ptr && v->type->dtype == DTYPE_I1;
    if (v->def->kind == OP_CAST ||
        (v->def->kind == OP_ELEM && dtype_is_float(v->type->dtype) && !is_index))
        note_bytes(cone, v->type);
    walk_operands(cx, cone, v->def, map);
}

int32_t cone_width(Cx *cx, const Cone *cone, const Type *space)
{
    int32_t bytes = cone->lane_bytes ? cone->lane_bytes : 4;
    int32_t vectors = cone->cost <= 14 ? 4 : cone->cost <= 40 ? 2 : 1;
    int32_t lanes = cx->isa->vector_bytes / bytes * vectors;
    int32_t log_w = log2_floor((uint64_t)lanes);
    return MIN(MIN(log_w, log_numel(space)), MAX_LANE_BITS - 1);
}

// ---- lanes and loops ------------------------------------------------------------------------------------

/// The space's bit whose coefficient in `a` is `bytes`, or -1.
static int32_t bit_of_step(Cx *cx, const Access *a, const Type *space, int64_t bytes)
{
    const Affine *f = affine_of(cx->affine, a->pointer);
    for (int32_t b = 0; b < log_numel(space); b++) {
        int32_t p = a->map[b];
        if (p >= 0 && !(f->slow >> p & 1) && coeff_is_const(&f->coeff[p]) &&
            f->coeff[p].scale == bytes)
            return b;
    }
    return -1;
}

static void use_lane(Nest *n, int32_t *k, uint32_t *used, int32_t bit)
{
    if (*k == n->log_w || *used >> bit & 1) return;
    *used |= 1u << bit;
    n->lane[(*k)++] = (int8_t)bit;
}

/// Lane bits: those along which the access that decides is contiguous, in the order of its memory, whatever
/// axes they belong to; then up the axis of the first; then the lowest others.
static void choose_lanes(Cx *cx, Nest *n)
{
    int32_t votes[MAX_BITS] = {0}, best = 0, bits = log_numel(n->space), k = 0;
    uint32_t used = 0;
    VEC_EACH(Access, a, &n->cone->accesses) {
        int32_t b = bit_of_step(cx, a, n->space, dtype_bytes(a->pointer->type->dtype));
        if (b >= 0) votes[b] += a->weight;
    }
    for (int32_t b = 1; b < bits; b++)
        if (votes[b] > votes[best]) best = b;
    const Access *decides = NULL;
    int32_t most = -1;
    VEC_EACH(Access, a, &n->cone->accesses) { // of those that agree, the one that moves most memory
        int64_t size = dtype_bytes(a->pointer->type->dtype);
        int32_t moving = __builtin_popcount(info_of(cx, a->pointer)->dep);
        if (bit_of_step(cx, a, n->space, size) != best || moving <= most) continue;
        most = moving;
        decides = a;
    }
    for (int64_t step = decides ? dtype_bytes(decides->pointer->type->dtype) : 0; decides && step;
         step *= 2) {
        int32_t b = bit_of_step(cx, decides, n->space, step);
        if (b < 0) break;
        use_lane(n, &k, &used, b);
    }
    int32_t low = 0, width = 0;
    for (int32_t axis = 0; axis < n->space->rank; axis++) {
        affine_axis_bits(n->space, axis, &low, &width);
        if (best >= low && best < low + width) break;
    }
    for (int32_t b = best; b < low + width; b++)
        use_lane(n, &k, &used, b);
    for (int32_t b = 0; b < bits; b++)
        use_lane(n, &k, &used, b);
}

/// A copy whose source is contiguous along another axis than its destination: blocks of 8 x 8 lanes, which are
/// transposed in registers on their way.
static bool nest_transpose(Cx *cx, Nest *n)
{
    int32_t bits = log_numel(n->space), best = -1;
    VEC_EACH(Access, a, &n->cone->accesses) {
        int32_t b = bit_of_step(cx, a, n->space, dtype_bytes(a->pointer->type->dtype));
        if (b == 0) return false;
        if (b > 0) best = b;
    }
    if (best < 3 || bits < 6 || best + 3 > bits) return false;
    int32_t low, width;
    affine_axis_bits(n->space, n->space->rank - 1, &low, &width);
    if (width < 3 || best < width) return false;
    n->log_w = 6;
    for (int32_t j = 0; j < 3; j++) {
        n->lane[j] = (int8_t)(best + j);
        n->lane[3 + j] = (int8_t)j;
    }
    return true;
}

static void add_dim(Nest *n, int32_t axis_low, int32_t at, int32_t width, bool is_unrolled)
{
    ASSERT(n->n_dims < MAX_DIMS);
    if (width)
        n->dims[n->n_dims++] = (Dim){(int8_t)axis_low, (int8_t)at, (int8_t)width, is_unrolled};
}

/// Loops over the bits of `among` that are neither lanes nor unrolled: an axis at a time, that of lane 0 last.
static void add_loops(Nest *n, uint32_t among, uint32_t taken)
{
    for (int32_t last = 0; last < 2; last++) {
        for (int32_t axis = 0; axis < n->space->rank; axis++) {
            int32_t low, width;
            affine_axis_bits(n->space, axis, &low, &width);
            bool is_last = n->log_w && n->lane[0] >= low && n->lane[0] < low + width;
            if (is_last != (last == 1)) continue;
            for (int32_t b = low + width; b > low;) { // runs of free bits, highest first
                int32_t end = b;
                while (b > low && among >> (b - 1) & 1 && !(taken >> (b - 1) & 1))
                    b--;
                if (b < end)
                    add_dim(n, low, b, end - b, false);
                else
                    b--;
            }
        }
    }
}

void nest_plan(Cx *cx, Nest *n, const Type *space, Cone *cone, int32_t log_w, uint32_t inner,
               uint32_t unrolled, bool is_copy)
{
    n->space = space;
    n->cone = cone;
    n->log_w = log_w;
    if (!is_copy || !nest_transpose(cx, n)) choose_lanes(cx, n);
    log_w = n->log_w;
    uint32_t all = (1u << log_numel(space)) - 1, lanes = 0;
    for (int32_t j = 0; j < log_w; j++)
        lanes |= 1u << n->lane[j];
    unrolled &= ~lanes;
    add_loops(n, all & ~inner, lanes | unrolled);
    n->n_outer = n->n_dims;
    add_loops(n, inner, lanes | unrolled);
    for (int32_t b = 0; b < MAX_BITS; b++)
        if (unrolled >> b & 1) add_dim(n, b, b, 1, true);
}

void nest_unroll(Nest *n, int32_t most)
{
    int32_t chunks = 0;
    for (int32_t i = 0; i < n->n_dims; i++)
        chunks += n->dims[i].width;
    if (chunks >= 30 || 1 << chunks > most) return;
    for (int32_t i = 0; i < n->n_dims; i++)
        n->dims[i].is_unrolled = true;
}

// ---- loops ----------------------------------------------------------------------------------------------

static LLVMBasicBlockRef new_block(Cx *cx)
{
    return LLVMAppendBasicBlockInContext(cx->c, cx->function, "");
}

Loop loop_open(Cx *cx, LLVMValueRef begin, LLVMValueRef end, int64_t step)
{
    Loop l = {
        .begin = begin, .end = end, .step = step, .body = new_block(cx), .exit = new_block(cx)};
    l.runs_once_at_least = LLVMIsConstant(begin) && LLVMIsConstant(end) &&
                           LLVMConstIntGetSExtValue(begin) < LLVMConstIntGetSExtValue(end);
    ASSERT(cx->depth + 1 < MAX_DEPTH);
    cx->at[++cx->depth] = l.body;
    at_depth(cx, cx->depth);
    l.var = LLVMBuildPhi(cx->b, cx->i64, "");
    return l;
}

void loop_close(Cx *cx, Loop *l)
{
    at_depth(cx, cx->depth);
    LLVMBasicBlockRef latch = LLVMGetInsertBlock(cx->b);
    LLVMValueRef next = LLVMBuildAdd(cx->b, l->var, const_i64(cx, l->step), "");
    LLVMBuildCondBr(cx->b, LLVMBuildICmp(cx->b, LLVMIntSLT, next, l->end, ""), l->body, l->exit);
    memo_drop(cx, cx->depth);
    at_depth(cx, --cx->depth);
    LLVMBasicBlockRef before = LLVMGetInsertBlock(cx->b);
    if (l->runs_once_at_least)
        LLVMBuildBr(cx->b, l->body);
    else
        LLVMBuildCondBr(cx->b, LLVMBuildICmp(cx->b, LLVMIntSLT, l->begin, l->end, ""), l->body,
                        l->exit);
    LLVMAddIncoming(l->var, (LLVMValueRef[]){l->begin, next}, (LLVMBasicBlockRef[]){before, latch},
                    2);
    cx->at[cx->depth] = l->exit;
    at_depth(cx, cx->depth);
}

/// The smaller or larger of two i64.
static LLVMValueRef pick(Cx *cx, bool smaller, LLVMValueRef x, LLVMValueRef y)
{
    LLVMValueRef c = LLVMBuildICmp(cx->b, smaller ? LLVMIntSLT : LLVMIntSGT, x, y, "");
    return LLVMBuildSelect(cx->b, c, x, y, "");
}

/// A term seen from a loop: left < right (or <=), where left - right grows by `stride` per index of the axis.
typedef struct Prefix {
    Value *left, *right;
    bool is_inclusive, wraps;
    int64_t stride, left_step, right_step;
} Prefix;

static bool bits_ladder(const Affine *a, int32_t from, int32_t n, int64_t *step)
{
    *step = a->coeff[from].scale;
    for (int32_t j = 0; j < n; j++) {
        const Coeff *k = &a->coeff[from + j];
        if (a->slow >> (from + j) & 1 || !coeff_is_const(k) || k->scale != *step << j) return false;
    }
    return true;
}

/// Is `t` a prefix along the axis bits [low, low + n), given the outer bits?
static bool term_prefix(Cx *cx, const Term *t, int32_t low, int32_t n, uint32_t outer, Prefix *out)
{
    int32_t from = t->map[low];
    if (t->is_dead || from < 0) return false;
    uint32_t known = 0;
    for (int32_t j = 0; j < n; j++)
        if (t->map[low + j] != from + j) return false;
    for (int32_t b = 0; b < MAX_BITS; b++)
        if (t->map[b] >= 0 && (outer >> b & 1 || (b >= low && b < low + n)))
            known |= 1u << t->map[b];
    if (info_of(cx, t->value)->dep & ~known) return false; // changes along an inner or missing bit
    const Op *op = t->value->def;
    bool swap = op->elem == ELEM_GT || op->elem == ELEM_GE;
    *out = (Prefix){.left = op->in[swap],
                    .right = op->in[!swap],
                    .is_inclusive = op->elem == ELEM_LE || op->elem == ELEM_GE};
    const Affine *a = affine_of(cx->affine, out->left), *b = affine_of(cx->affine, out->right);
    if (!bits_ladder(a, from, n, &out->left_step) || !bits_ladder(b, from, n, &out->right_step))
        return false;
    out->stride = out->left_step - out->right_step;
    out->wraps = a->wraps || b->wraps;
    return out->stride > 0;
}

static LLVMValueRef extended(Cx *cx, Value *v, const Chunk *c)
{
    LLVMValueRef x = eval_here(cx, v, c);
    if (LLVMGetIntTypeWidth(LLVMTypeOf(x)) == 64) return x;
    return dtype_is_signed(v->type->dtype) ? LLVMBuildSExt(cx->b, x, cx->i64, "")
                                           : LLVMBuildZExt(cx->b, x, cx->i64, "");
}

/// Would `x` leave its type on the way to the axis's last index? NULL: it cannot.
static LLVMValueRef leaves_type(Cx *cx, LLVMValueRef x, DType t, int64_t travel)
{
    if (!travel || dtype_bits(t) == 64) return NULL;
    int64_t high = dtype_is_signed(t) ? ((int64_t)1 << (dtype_bits(t) - 1)) - 1
                                      : ((int64_t)1 << dtype_bits(t)) - 1;
    int64_t low = dtype_is_signed(t) ? -high - 1 : 0;
    LLVMValueRef end = LLVMBuildAdd(cx->b, x, const_i64(cx, travel), "");
    LLVMValueRef above = LLVMBuildICmp(cx->b, LLVMIntSGT, end, const_i64(cx, high), "");
    return LLVMBuildOr(cx->b, above, LLVMBuildICmp(cx->b, LLVMIntSLT, end, const_i64(cx, low), ""),
                       "");
}

/// How many of the axis's `extent` indices satisfy the term, an i64 at the current depth. Where an index would wrap
/// nothing is known: then it may hold for none (`full`) and for any (`end`).
static void prefix_count(Cx *cx, const Term *t, const Prefix *p, int64_t extent, const Chunk *c,
                         LLVMValueRef *full, LLVMValueRef *end)
{
    Chunk inner;
    chunk_map(c, t->map, &inner);
    LLVMValueRef left = extended(cx, p->left, &inner), right = extended(cx, p->right, &inner);
    LLVMValueRef d = LLVMBuildSub(cx->b, right, left, "");
    if (p->is_inclusive) d = LLVMBuildAdd(cx->b, d, const_i64(cx, 1), "");
    if (p->stride > 1) {
        d = LLVMBuildAdd(cx->b, d, const_i64(cx, p->stride - 1), "");
        d = LLVMBuildSDiv(cx->b, pick(cx, false, d, const_i64(cx, 0)), const_i64(cx, p->stride),
                          "");
    }
    d = pick(cx, false, d, const_i64(cx, 0));
    *full = *end = pick(cx, true, d, const_i64(cx, extent));
    if (!p->wraps) return;
    LLVMValueRef wraps[] = {
        leaves_type(cx, left, p->left->type->dtype, p->left_step * (extent - 1)),
        leaves_type(cx, right, p->right->type->dtype, p->right_step * (extent - 1))};
    for (int32_t i = 0; i < 2; i++) {
        if (!wraps[i]) continue;
        *full = LLVMBuildSelect(cx->b, wraps[i], const_i64(cx, 0), *full, "");
        *end = LLVMBuildSelect(cx->b, wraps[i], const_i64(cx, extent), *end, "");
    }
}

typedef struct Split {
    int32_t n; ///< terms that hold in the first part
    const Value *terms[16];
    LLVMValueRef full,
        end; ///< indices of the axis, multiples of the loop's step; end NULL: the extent
} Split;

/// Where to split the loop `d`, whose inner bits below `at` are walked by its body.
static Split split_loop(Cx *cx, Nest *n, int32_t level, const Chunk *c)
{
    Split s = {0};
    const Dim *d = &n->dims[level];
    int32_t bits = d->at + d->width - d->axis_low;
    int64_t extent = (int64_t)1 << bits, step = (int64_t)1 << (d->at - d->axis_low);
    uint32_t outer = 0, bounded = 0;
    for (int32_t i = 0; i < level; i++)
        outer |= ((1u << n->dims[i].width) - 1) << n->dims[i].at;
    LLVMValueRef store_end[32] = {0};
    VEC_EACH(Term, t, &n->cone->terms) {
        Prefix p;
        if (s.n == COUNT_OF(s.terms) || !term_prefix(cx, t, d->axis_low, bits, outer, &p)) continue;
        LLVMValueRef full, k;
        prefix_count(cx, t, &p, extent, c, &full, &k);
        s.terms[s.n++] = t->value;
        s.full = s.full ? pick(cx, true, s.full, full) : full;
        for (uint32_t left = t->stores & n->stores; left; left &= left - 1) {
            int32_t i = __builtin_ctz(left);
            store_end[i] = store_end[i] ? pick(cx, true, store_end[i], k) : k;
        }
        bounded |= t->stores;
    }
    if (!s.n) return s;
    s.full = LLVMBuildAnd(cx->b, s.full, const_i64(cx, -step), "");
    if (!n->stores || (bounded & n->stores) != n->stores) return s;
    for (uint32_t left = n->stores; left; left &= left - 1) {
        LLVMValueRef k = store_end[__builtin_ctz(left)];
        s.end = s.end ? pick(cx, false, s.end, k) : k;
    }
    return s;
}

static void emit_level(Cx *cx, Nest *n, int32_t level, const Chunk *c);

static void emit_loop(Cx *cx, Nest *n, int32_t level, const Chunk *c, LLVMValueRef begin,
                      LLVMValueRef end)
{
    const Dim *d = &n->dims[level];
    int32_t unit = d->at - d->axis_low;
    Loop l = loop_open(cx, begin, end, (int64_t)1 << unit);
    Chunk inner = *c;
    chunk_add_field(&inner, (Field){l.var, (int8_t)unit, d->width, d->at, (int8_t)cx->depth, true});
    emit_level(cx, n, level + 1, &inner);
    loop_close(cx, &l);
}

static void emit_dim(Cx *cx, Nest *n, int32_t level, const Chunk *c)
{
    const Dim *d = &n->dims[level];
    LLVMValueRef zero = const_i64(cx, 0),
                 extent = const_i64(cx, (int64_t)1 << (d->at + d->width - d->axis_low));
    Split s = split_loop(cx, n, level, c);
    if (!s.n) {
        emit_loop(cx, n, level, c, zero, extent);
        return;
    }
    int32_t mark = cx->assumed.len;
    for (int32_t i = 0; i < s.n; i++)
        vec_push(cx->arena, &cx->assumed, (Assumed){s.terms[i], cx->depth + 1});
    emit_loop(cx, n, level, c, zero, s.full);
    cx->assumed.len = mark;
    emit_loop(cx, n, level, c, s.full, s.end ? s.end : extent);
}

static void emit_level(Cx *cx, Nest *n, int32_t level, const Chunk *c)
{
    if (level == n->n_outer && n->begin) n->begin(cx, n->user, c);
    if (level == n->n_dims) {
        Chunk full = *c;
        full.log_w = (int8_t)n->log_w;
        for (int32_t j = 0; j < n->log_w; j++)
            full.lane[j] = n->lane[j];
        n->body(cx, n->user, &full);
    } else if (n->dims[level].is_unrolled) {
        for (uint32_t i = 0; i < 1u << n->dims[level].width; i++) {
            Chunk inner = *c;
            inner.fixed |= i << n->dims[level].at;
            emit_level(cx, n, level + 1, &inner);
        }
    } else {
        emit_dim(cx, n, level, c);
    }
    if (level == n->n_outer && n->end) n->end(cx, n->user, c);
}

void nest_emit(Cx *cx, Nest *n)
{
    Chunk c = chunk_zero();
    emit_level(cx, n, 0, &c);
}
