// compiler/gpu/select_dot.c - which instruction multiplies a dot, and how warps share it.
//
//   types          f16 bf16 int8          mma.sync of mma.def
//                  f32                    tf32 where the dot allows it, three times for tf32x3; else
//                                         multiply-adds
//                  fp8                    natively on sm_89, as f16 (exact) elsewhere
//   extents        any M and N: fragments are padded to 16 x 8, by the side that fits the instruction's
//                  rows better; a K that does not fill the lanes (16 bytes) is left to multiply-adds
//   warps          batch axes first; on rows alone where rows are reduced or the result is an operand
//                  of the next dot, else where a warp has more fragments left
//   order of k     free, as long as both operands agree: an accumulator that becomes operand A stays
//                  where it is; what one word of memory brings (4 bytes, 8 packed weights) stays in
//                  one lane while it becomes 16-bit operands
//
// What is not selected keeps the multiply-adds of lower_dot.c.
//
// Source: layouts.md 2.2, 3.2, 6.5
#include "compiler/gpu/mma.h"

enum { SEARCH_DEPTH = 24 };

static bool is_pointwise(const Op *op)
{
    return op->kind == OP_ELEM || op->kind == OP_CAST || op->kind == OP_BITCAST ||
           op->kind == OP_HINT;
}

static int32_t lg(int64_t n)
{
    return log2_floor((uint64_t)n);
}

// ---- the instruction --------------------------------------------------------------------------

/// The row with the largest k that `k` fills; of those that it does not, the smallest. @return
/// MMA_COUNT: the architecture has none
static MmaId find_row(const SmFacts *sm, DType a, DType b, int64_t k)
{
    MmaId best = MMA_COUNT;
    for (MmaId i = 0; i < MMA_COUNT; i++) {
        const MmaRow *r = &mma_rows[i];
        if (r->a != a || r->b != b || sm->sm < r->first || sm->sm > r->last) continue;
        if (best == MMA_COUNT) {
            best = i;
            continue;
        }
        bool fits = r->k <= k, best_fits = mma_rows[best].k <= k;
        if (fits != best_fits ? fits : fits == (r->k > mma_rows[best].k)) best = i;
    }
    return best;
}

/// Fills in the instruction and the types it takes. @return false: multiply-adds
static bool choose_instruction(const GpuCx *cx, const Op *op, DotPlan *p)
{
    const Type *ta = op->in[0]->type, *tb = op->in[1]->type;
    int64_t k = ta->shape[ta->rank - 1];
    p->a = ta->dtype, p->b = tb->dtype, p->n_passes = 1;
    if (p->a == DTYPE_F32) {
        switch ((DotPrecision)op_attr_i(op, ATTR_PRECISION)) {
        case DOT_IEEE:
            return false;
        case DOT_DEFAULT:
        case DOT_TF32:
            break;
        default: // tf32x3 keeps 21 bits, as much as any of the others asks for
            p->n_passes = 3;
        }
    }
    p->mma = find_row(cx->sm, p->a, p->b, k);
    bool is_fp8 = dtype_is_float(p->a) && dtype_bits(p->a) == 8;
    if (p->mma == MMA_COUNT && is_fp8) {
        p->a = p->b = DTYPE_F16;
        p->mma = find_row(cx->sm, p->a, p->b, k);
    }
    if (p->mma == MMA_COUNT) return false;
    p->log_word = lg(32 / dtype_bits(p->a));
    return k * dtype_bits(p->a) >= 128;
}

// ---- what surrounds the dot -------------------------------------------------------------------

/// The dot whose result, elementwise operations later, is `v`; NULL: none.
static const Op *dot_behind(const Value *v, int32_t depth)
{
    const Op *op = v->def;
    if (!op || depth > SEARCH_DEPTH) return NULL;
    if (op->kind == OP_DOT) return op;
    if (!is_pointwise(op)) return NULL;
    for (int32_t i = 0; i < op->n_in; i++) {
        const Op *found =
            op->in[i]->type->kind == TYPE_TILE ? dot_behind(op->in[i], depth + 1) : NULL;
        if (found) return found;
    }
    return NULL;
}

/// Is `v`, elementwise operations later, reduced along its rows or operand A of a dot?
static bool wants_whole_rows(const Value *v, int32_t depth)
{
    if (depth > SEARCH_DEPTH) return false;
    EACH_USE(use, v) {
        const Op *op = use->op;
        if (op->kind == OP_REDUCE && op_attr_i(op, ATTR_AXIS) == v->type->rank - 1) return true;
        if (op->kind == OP_DOT && use->index == 0) return true;
        if (is_pointwise(op) && wants_whole_rows(&op->out[0], depth + 1)) return true;
    }
    return false;
}

enum { RUN_ANY = LAYOUT_MAX_BITS, LOG_BYTES_IN_WORD = 2 };

static int32_t run_in_memory(const MemFacts *m, DType t, int32_t k_low)
{
    int32_t n = 0;
    while (m->still >> (k_low + n) & 1)
        n++;
    if (n) return n; // several elements are cut out of what one address holds
    bool bytes = dtype_bits(t) == 8 && m->n_chain >= LOG_BYTES_IN_WORD && m->chain[0] == k_low &&
                 m->chain[1] == k_low + 1;
    return bytes ? LOG_BYTES_IN_WORD : 0;
}

/// lg of the neighbours along k (bits of the packed coordinate from k_low on) that one 32-bit word of
/// what `v` is made of, elementwise, brings: packed 4-bit weights 8, bytes 4. RUN_ANY: says nothing
static int32_t run_behind(const Value *v, int32_t k_low, int32_t depth)
{
    const Op *op = v->def;
    if (v->type->kind != TYPE_TILE) return RUN_ANY;
    if (!op || depth > SEARCH_DEPTH) return 0;
    switch (op->kind) {
    case OP_CONST:
    case OP_ARANGE:
    case OP_SPLAT:
    case OP_BROADCAST:
        return RUN_ANY;
    case OP_LOAD:
        return run_in_memory(&op_note(op)->mem, v->type->dtype, k_low);
    case OP_BUF_LOAD:
        EACH_USE(use, op->in[0])
            if (use->op->kind == OP_COPY_ASYNC)
                return run_in_memory(&op_note(use->op)->mem, v->type->dtype, k_low);
        return 0;
    default:
        break;
    }
    int32_t run = is_pointwise(op) ? RUN_ANY : 0;
    for (int32_t i = 0; i < op->n_in && run; i++)
        run = MIN(run, run_behind(op->in[i], k_low, depth + 1));
    return run;
}

/// The same for operand `i` of a dot; 0 where it is no longer than the word of the instruction.
static int32_t run_of_operand(const Op *op, const DotPlan *p, int32_t i)
{
    int32_t run = run_behind(op->in[i], i ? p->tile.n : 0, 0);
    return run > p->log_word && run < RUN_ANY ? run : 0;
}

/// lg of the neighbours along k that both operands hold per lane.
static int32_t run_of(const Op *op, const DotPlan *p)
{
    int32_t run = MAX(run_of_operand(op, p, 0), run_of_operand(op, p, 1));
    return MAX(p->log_word, MIN(run, p->tile.k - 2));
}

// ---- warps ------------------------------------------------------------------------------------

typedef enum Sharing { SHARE_EVENLY, SHARE_ROWS, SHARE_COLUMNS } Sharing;

/// One warp bit after the other, to the side that asks for it while that has fragments left.
static void share_warps(MmaTile *t, int32_t log_warps, Sharing how)
{
    int32_t rows = t->swap ? t->n : t->m, cols = t->swap ? t->m : t->n;
    t->warps_batch = MIN(log_warps, t->batch);
    t->warps_row = t->warps_col = 0;
    for (int32_t left = log_warps - t->warps_batch; left > 0; left--) {
        int32_t row_left = rows - 4 - t->warps_row, col_left = cols - 3 - t->warps_col;
        bool prefers_rows = how == SHARE_ROWS || (how == SHARE_EVENLY && row_left >= col_left);
        if (prefers_rows ? row_left > 0 : row_left > 0 && col_left <= 0)
            t->warps_row++;
        else
            t->warps_col++;
    }
}

/// Rows whole for reductions along them and for the next dot; an operand that comes as bytes is made
/// wide by one warp alone.
static Sharing sharing_of(const Op *op, const DotPlan *p)
{
    bool swap = p->tile.swap;
    if (!swap && (dot_behind(op->in[0], 0) || wants_whole_rows(&op->out[0], 0))) return SHARE_ROWS;
    if (run_of_operand(op, p, 1)) return swap ? SHARE_ROWS : SHARE_COLUMNS;
    if (run_of_operand(op, p, 0)) return swap ? SHARE_COLUMNS : SHARE_ROWS;
    return SHARE_EVENLY;
}

static const Layout *shaped(GpuCx *cx, Layout l, const Type *t)
{
    l = layout_reshape(&l, t->rank, t->shape);
    l = layout_canon(&l);
    return layout_intern(cx->module, &l);
}

/// Operand A is the result of a dot that stays in registers: warps share rows alone, alike in both.
static bool is_chained(const Op *op, const DotPlan *p)
{
    const Op *before = dot_behind(op->in[0], 0);
    const DotPlan *q = before && before->note ? op_note(before)->dot : NULL;
    return q && !q->tile.swap && !p->tile.swap && q->tile.m == p->tile.m &&
           q->tile.n == p->tile.k && q->tile.batch == p->tile.batch && !q->tile.warps_col &&
           q->tile.warps_row == p->tile.warps_row && q->tile.warps_batch == p->tile.warps_batch &&
           !p->tile.warps_col && p->tile.k >= 3;
}

static void plan_dot(GpuCx *cx, Op *op)
{
    enum { FEW_ROWS = 3 }; // lg of the instruction's columns
    const Type *ta = op->in[0]->type, *tc = op->out[0].type;
    DotPlan p = {0};
    if (!choose_instruction(cx, op, &p)) return;
    if (p.a == DTYPE_F32 && op_attr_i(op, ATTR_PRECISION) == DOT_DEFAULT && !cx->told_tf32) {
        DiagItem *item = diag_add(cx->diag, DIAG_WARNING, "W0805", op->span,
                                  "float32 operands are multiplied as tf32, with 10 bits");
        diag_help(cx->diag, item,
                  "input_precision=\"ieee\" keeps all 24, \"tf32\" says it is meant");
        cx->told_tf32 = true;
    }
    MmaTile *t = &p.tile;
    t->m = lg(tc->shape[tc->rank - 2]), t->n = lg(tc->shape[tc->rank - 1]);
    t->k = lg(ta->shape[ta->rank - 1]), t->batch = lg(tc->numel) - t->m - t->n;
    t->swap = t->m <= FEW_ROWS && t->n > FEW_ROWS;
    share_warps(t, cx->log_warps, sharing_of(op, &p));
    if (is_chained(op, &p)) {
        layout_mma_k_chained(t, p.log_word);
    } else {
        layout_mma_k_runs(t, p.log_word, run_of(op, &p));
    }
    p.acc = shaped(cx, layout_mma_acc(t), tc);
    p.left = shaped(cx, layout_mma_operand(t, false, p.log_word), ta);
    p.right = shaped(cx, layout_mma_operand(t, true, p.log_word), op->in[1]->type);
    if (!op->note) op->note = arena_new(cx->arena, OpNote);
    DotPlan *kept = arena_new(cx->arena, DotPlan);
    *kept = p;
    op_note(op)->dot = kept;
}

static void visit(Op *op, void *user)
{
    if (op->kind == OP_DOT) plan_dot(user, op);
}

void dots_select(GpuCx *cx)
{
    region_walk(cx->fn->body, visit, cx);
}
