// compiler/gpu/lower_sort.c - ops that look anywhere along an axis: sort, gather, histogram, flip.
//
// All go through shared memory, the tile lying row-major. A sort is a bitonic network on the last
// axis: for k = 2, 4 .. n and j = k/2 .. 1, element i meets element i ^ j; both sides compute the
// same exchange and keep their own half, so nothing but the write and the read between two barriers
// is shared.
//
// Source: Batcher 1968, Sorting networks and their applications
#include "compiler/gpu/lower.h"

static Layout row_major_of(const Type *t)
{
    return layout_row_major(t->rank, t->shape);
}

static void put_tile(Lower *lo, const Value *v, LLVMValueRef *regs, LLVMValueRef base)
{
    Layout rows = row_major_of(v->type);
    shared_put(lo, v->type->layout, &rows, element_type(lo, v->type), regs, base);
}

/// Packed coordinate of register r, i32.
static LLVMValueRef coordinate(Lower *lo, const Layout *l, int32_t r)
{
    int32_t bits = layout_bits(l);
    LLVMValueRef thread = bits ? thread_field(lo, l, 0, bits) : const_i32(lo, 0);
    uint32_t own = layout_at(l, (uint32_t)r, 0, 0);
    return own ? LLVMBuildOr(lo->b, thread, const_i32(lo, own), "") : thread;
}

static LLVMValueRef load_element(Lower *lo, LLVMTypeRef type, LLVMValueRef base, LLVMValueRef index)
{
    LLVMValueRef out;
    int32_t bytes = type_bytes(lo, gpu_memory_type(lo, type));
    LLVMValueRef at = LLVMBuildMul(lo->b, index, const_i32(lo, bytes), "");
    shared_load(lo, type, 1, shared_at(lo, base, at), &out);
    return out;
}

void lower_flip(Lower *lo, Op *op)
{
    const Value *in = op->in[0], *out = &op->out[0];
    const Layout *l = out->type->layout;
    int32_t low, width, n = layout_regs(l);
    layout_field(l, (int32_t)op_attr_i(op, ATTR_AXIS), &low, &width);
    LLVMValueRef *regs = regs_new(lo, n), base = scratch_enter(lo, op);
    regs_of(lo, in, regs);
    put_tile(lo, in, regs, base);
    barrier(lo);
    Tile t = tile_new(lo, n, false);
    for (int32_t r = 0; r < n; r++) {
        LLVMValueRef at =
            LLVMBuildXor(lo->b, coordinate(lo, l, r), const_i32(lo, ((1 << width) - 1) << low), "");
        t.v[r] = load_element(lo, element_type(lo, in->type), base, at);
    }
    tile_set(lo, out, t);
}

void lower_gather(Lower *lo, Op *op)
{
    const Value *src = op->in[0], *index = op->in[1], *out = &op->out[0];
    const Layout *l = out->type->layout, *sl = src->type->layout;
    int32_t axis = (int32_t)op_attr_i(op, ATTR_AXIS), low, width, source_low, source_width;
    layout_field(l, axis, &low, &width);
    layout_field(sl, axis, &source_low, &source_width);
    LLVMValueRef *regs = regs_new(lo, layout_regs(sl)), base = scratch_enter(lo, op);
    regs_of(lo, src, regs);
    put_tile(lo, src, regs, base);
    barrier(lo);
    Tile t = tile_new(lo, layout_regs(l), false);
    for (int32_t r = 0; r < t.n; r++) {
        LLVMValueRef c = coordinate(lo, l, r), i = reg_of(lo, index, r);
        i = LLVMBuildIntCast2(lo->b, i, lo->i32, false, "");
        i = LLVMBuildAnd(lo->b, i, const_i32(lo, (1 << source_width) - 1),
                         ""); // out of range reads some element
        LLVMValueRef at = LLVMBuildAnd(lo->b, c, const_i32(lo, (1 << low) - 1), "");
        at = LLVMBuildOr(lo->b, at, LLVMBuildShl(lo->b, i, const_i32(lo, low), ""), "");
        LLVMValueRef high = LLVMBuildLShr(lo->b, c, const_i32(lo, low + width), "");
        at = LLVMBuildOr(lo->b, at,
                         LLVMBuildShl(lo->b, high, const_i32(lo, low + source_width), ""), "");
        t.v[r] = load_element(lo, element_type(lo, src->type), base, at);
    }
    tile_set(lo, out, t);
}

/// Tells the emulator of an atomic on a word of shared memory.
static void check_add(Lower *lo, LLVMValueRef at)
{
    enum { ADDS = 2 }; // EMU_ADDS
    static const Intrinsic row = {"shared.add", "",         "s",  KIND_ASM,
                                  "",           EMU_SHARED, "SL", 4 | ADDS << 8};
    if (lo->cx->is_emu) kiln_call_row(lo, &row, &at);
}

/// Every thread clears its share of the bins; owners of elements add; everybody reads.
void lower_histogram(Lower *lo, Op *op)
{
    const Value *in = op->in[0], *out = &op->out[0];
    const Layout *l = in->type->layout;
    int32_t bins = (int32_t)out->type->numel, threads = 32 << lo->cx->log_warps;
    LLVMValueRef base = scratch_enter(lo, op), zero = const_i32(lo, 0),
                 owner = owner_predicate(lo, l);
    for (int32_t i = 0; i < bins; i += threads) {
        LLVMValueRef at = LLVMBuildAdd(lo->b, lo->tid, const_i32(lo, i), "");
        LLVMBasicBlockRef clears = block_new(lo, "clear"), after = block_new(lo, "cleared");
        LLVMBuildCondBr(lo->b, LLVMBuildICmp(lo->b, LLVMIntULT, at, const_i32(lo, bins), ""),
                        clears, after);
        block_enter(lo, clears);
        shared_store(lo, lo->i32, 1,
                     shared_at(lo, base, LLVMBuildShl(lo->b, at, const_i32(lo, 2), "")), &zero);
        LLVMBuildBr(lo->b, after);
        block_enter(lo, after);
    }
    barrier(lo);
    for (int32_t r = 0; r < layout_regs(l); r++) {
        LLVMValueRef x = LLVMBuildIntCast2(lo->b, reg_of(lo, in, r), lo->i32, false, "");
        LLVMValueRef counts = LLVMBuildICmp(lo->b, LLVMIntULT, x, const_i32(lo, bins), "");
        if (op->n_in > 1) counts = LLVMBuildAnd(lo->b, counts, reg_of(lo, op->in[1], r), "");
        if (owner) counts = LLVMBuildAnd(lo->b, counts, owner, "");
        LLVMBasicBlockRef adds = block_new(lo, "count"), after = block_new(lo, "counted");
        LLVMBuildCondBr(lo->b, counts, adds, after);
        block_enter(lo, adds);
        LLVMValueRef at = shared_at(lo, base, LLVMBuildShl(lo->b, x, const_i32(lo, 2), ""));
        check_add(lo, at);
        LLVMBuildAtomicRMW(lo->b, LLVMAtomicRMWBinOpAdd, at, const_i32(lo, 1),
                           LLVMAtomicOrderingMonotonic, false);
        LLVMBuildBr(lo->b, after);
        block_enter(lo, after);
    }
    barrier(lo);
    Tile t = tile_new(lo, value_regs(out), false);
    for (int32_t r = 0; r < t.n; r++)
        t.v[r] = load_element(lo, lo->i32, base, coordinate(lo, out->type->layout, r));
    tile_set(lo, out, t);
}

// ---- sort -------------------------------------------------------------------------------------

typedef struct Sort {
    Lower *lo;
    Op *op;
    const Layout *layout;
    LLVMTypeRef type;
    LLVMValueRef base;
    int32_t n_regs, width;
} Sort;

/// One exchange at distance j in runs of k.
static void exchange(Sort *s, LLVMValueRef j, LLVMValueRef k, LLVMValueRef *x)
{
    Lower *lo = s->lo;
    const Value *in = s->op->in[0];
    bool descending = op_attr_i(s->op, ATTR_DESCENDING);
    put_tile(lo, in, x, s->base);
    barrier(lo);
    for (int32_t r = 0; r < s->n_regs; r++) {
        LLVMValueRef c = coordinate(lo, s->layout, r), zero = const_i32(lo, 0);
        LLVMValueRef i = LLVMBuildAnd(lo->b, c, const_i32(lo, (1 << s->width) - 1), "");
        LLVMValueRef other = load_element(lo, s->type, s->base, LLVMBuildXor(lo->b, c, j, ""));
        LLVMValueRef upper =
            LLVMBuildICmp(lo->b, LLVMIntNE, LLVMBuildAnd(lo->b, i, j, ""), zero, "");
        LLVMValueRef falls =
            LLVMBuildICmp(lo->b, LLVMIntNE, LLVMBuildAnd(lo->b, i, k, ""), zero, "");
        if (descending) falls = LLVMBuildNot(lo->b, falls, "");
        LLVMValueRef first = LLVMBuildSelect(lo->b, upper, other, x[r], ""),
                     second = LLVMBuildSelect(lo->b, upper, x[r], other, "");
        LLVMValueRef a[2] = {LLVMBuildSelect(lo->b, falls, second, first, ""),
                             LLVMBuildSelect(lo->b, falls, first, second, "")};
        LLVMValueRef swap = emit_elem(lo, ELEM_GT, in->type->element, a);
        x[r] = LLVMBuildSelect(lo->b, swap, other, x[r], "");
    }
    barrier(lo);
}

/// while (k <= n) { for (j = k / 2; j; j /= 2) exchange; k *= 2 } as one loop over (k, j).
static void network(Sort *s, LLVMValueRef *x)
{
    Lower *lo = s->lo;
    LLVMBasicBlockRef from = LLVMGetInsertBlock(lo->b), head = block_new(lo, "sort"),
                      after = block_new(lo, "sorted");
    LLVMBuildBr(lo->b, head);
    block_enter(lo, head);
    LLVMValueRef k = LLVMBuildPhi(lo->b, lo->i32, ""), j = LLVMBuildPhi(lo->b, lo->i32, "");
    LLVMValueRef *phi = regs_new(lo, s->n_regs), two = const_i32(lo, 2), one = const_i32(lo, 1);
    LLVMAddIncoming(k, &two, &from, 1);
    LLVMAddIncoming(j, &one, &from, 1);
    for (int32_t r = 0; r < s->n_regs; r++) {
        phi[r] = LLVMBuildPhi(lo->b, LLVMTypeOf(x[r]), "");
        LLVMAddIncoming(phi[r], &x[r], &from, 1);
        x[r] = phi[r];
    }
    exchange(s, j, k, x);
    LLVMValueRef half = LLVMBuildLShr(lo->b, j, one, ""),
                 ends = LLVMBuildICmp(lo->b, LLVMIntEQ, half, const_i32(lo, 0), "");
    LLVMValueRef next_k = LLVMBuildSelect(lo->b, ends, LLVMBuildShl(lo->b, k, one, ""), k, "");
    LLVMValueRef next_j = LLVMBuildSelect(lo->b, ends, k, half, "");
    LLVMValueRef goes_on =
        LLVMBuildICmp(lo->b, LLVMIntULE, next_k, const_i32(lo, 1 << s->width), "");
    LLVMBasicBlockRef latch = LLVMGetInsertBlock(lo->b);
    llvm_loop_no_unroll(lo->ll, LLVMBuildCondBr(lo->b, goes_on, head, after));
    LLVMAddIncoming(k, &next_k, &latch, 1);
    LLVMAddIncoming(j, &next_j, &latch, 1);
    for (int32_t r = 0; r < s->n_regs; r++)
        LLVMAddIncoming(phi[r], &x[r], &latch, 1);
    block_enter(lo, after);
}

void lower_sort(Lower *lo, Op *op)
{
    const Value *in = op->in[0], *out = &op->out[0];
    Sort s = {.lo = lo, .op = op, .layout = in->type->layout, .type = element_type(lo, in->type)};
    s.n_regs = layout_regs(s.layout);
    s.width = s.layout->log_dim[in->type->rank - 1];
    s.base = scratch_enter(lo, op);
    LLVMValueRef *x = regs_new(lo, s.n_regs);
    regs_of(lo, in, x);
    if (s.width) network(&s, x);
    put_tile(lo, in, x, s.base);
    barrier(lo);
    const Layout *l = out->type->layout;
    int32_t out_width = l->log_dim[out->type->rank - 1];
    Tile t = tile_new(lo, layout_regs(l), false);
    for (int32_t r = 0; r < t.n; r++) { // the first of each sorted row
        LLVMValueRef c = coordinate(lo, l, r),
                     row = LLVMBuildLShr(lo->b, c, const_i32(lo, out_width), "");
        LLVMValueRef i = LLVMBuildAnd(lo->b, c, const_i32(lo, (1 << out_width) - 1), "");
        t.v[r] = load_element(
            lo, s.type, s.base,
            LLVMBuildOr(lo->b, LLVMBuildShl(lo->b, row, const_i32(lo, s.width), ""), i, ""));
    }
    tile_set(lo, out, t);
}
