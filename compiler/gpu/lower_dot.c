// compiler/gpu/lower_dot.c - matrix products by fused multiply-adds, operands staged in shared
// memory.
//
//   A [.., M, K], B [.., K, N]  written row-major, a barrier, then each thread for its block of C:
//       for k in 0 .. K step U:   a[m][u], b[u][n] from shared;   acc[m][n] += a[m][u] * b[u][n]
//
// Operands of f16, bf16 and fp8 become f32, 8-bit ints i32: products are exact, sums are f32 or i32
// (f64 for f64). The loop keeps code size to registers * U multiply-adds whatever K is. Tensor
// cores are other files' business.
#include "compiler/gpu/lower.h"

typedef struct Dot {
    Lower *lo;
    Op *op;
    const Layout *acc;
    int32_t lm, ln, lk, unroll;
    DType type_a, type_b, sum; ///< fp8 operands may be of two formats
    LLVMValueRef a, b;         ///< shared memory
    LLVMValueRef thread_m, thread_n,
        thread_batch; ///< the thread's part of row (batch included), column, batch
} Dot;

static DType sum_dtype(DType t)
{
    return t == DTYPE_F64 ? DTYPE_F64 : dtype_is_float(t) ? DTYPE_F32 : DTYPE_I32;
}

/// The tile in shared memory, element c at c.
static void stage(Lower *lo, const Value *v, LLVMValueRef base)
{
    const Layout *l = v->type->layout;
    Layout rows = layout_row_major(v->type->rank, v->type->shape);
    LLVMValueRef *regs = regs_new(lo, layout_regs(l));
    regs_of(lo, v, regs);
    shared_put(lo, l, &rows, element_type(lo, v->type), regs, base);
}

static LLVMValueRef scaled(Lower *lo, LLVMValueRef v, int32_t log)
{
    return log ? LLVMBuildShl(lo->b, v, const_i32(lo, log), "") : v;
}

/// Loads `n` neighbours at element `index` (in elements, the register's own part `own` constant).
static void fetch(Dot *d, DType operand, LLVMValueRef base, LLVMValueRef index, int64_t own,
                  int32_t n, LLVMValueRef *out)
{
    Lower *lo = d->lo;
    LLVMTypeRef type = gpu_dtype_type(lo, operand);
    int32_t bytes = type_bytes(lo, gpu_memory_type(lo, type)), lg = log2_floor((uint64_t)bytes);
    LLVMValueRef at = shared_at(lo, base, scaled(lo, index, lg));
    if (own) at = shared_at(lo, at, const_i32(lo, own * bytes));
    int32_t most = MIN(n, 16 / bytes);
    for (int32_t i = 0; i < n; i += most) {
        LLVMValueRef raw[16];
        shared_load(lo, type, most, i ? shared_at(lo, at, const_i32(lo, (int64_t)i * bytes)) : at,
                    raw);
        for (int32_t k = 0; k < most; k++)
            out[i + k] = emit_cast(lo, raw[k], operand, d->sum, ROUND_RNE);
    }
}

static LLVMValueRef multiply_add(Dot *d, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c)
{
    if (dtype_is_float(d->sum)) return emit_fma(d->lo, a, b, c);
    return LLVMBuildAdd(d->lo->b, LLVMBuildMul(d->lo->b, a, b, ""), c, "");
}

/// Neighbouring columns that one thread owns in low register bits: one vector of B.
static int32_t run_of_n(const Dot *d)
{
    int32_t v = 0;
    while (v < 2 && v < d->acc->n_col[IN_REG] && layout_cols(d->acc, IN_REG)[v] == 1u << v &&
           v < d->ln)
        v++;
    return v;
}

/// acc += a[.., k0 .. k0 + U) * b for all registers.
static void step(Dot *d, LLVMValueRef k0, LLVMValueRef *acc)
{
    Lower *lo = d->lo;
    int32_t n_regs = layout_regs(d->acc), u = d->unroll, run = 1 << run_of_n(d);
    LLVMValueRef row = LLVMBuildAdd(lo->b, scaled(lo, d->thread_m, d->lk), k0, "");
    LLVMValueRef **a = arena_array(lo->cx->arena, LLVMValueRef *, n_regs),
                 **b = arena_array(lo->cx->arena, LLVMValueRef *, n_regs);
    for (int32_t r = 0; r < n_regs; r++) {
        uint32_t c = layout_at(d->acc, (uint32_t)r, 0, 0), m = c >> d->ln,
                 n = c & ((1u << d->ln) - 1), batch = m >> d->lm;
        for (int32_t k = 0; k < r; k++) { // rows and columns that earlier registers fetched
            uint32_t o = layout_at(d->acc, (uint32_t)k, 0, 0);
            if (!a[r] && o >> d->ln == m) a[r] = a[k];
            if (!b[r] && (o & ((1u << d->ln) - 1)) == n && o >> d->ln >> d->lm == batch)
                b[r] = b[k];
        }
        if (!a[r]) {
            a[r] = regs_new(lo, u);
            fetch(d, d->type_a, d->a, row, (int64_t)m << d->lk, u, a[r]);
        }
        if (b[r]) continue;
        for (int32_t e = 0; e < run; e++)
            b[r + e] = regs_new(lo, u); // r starts a run: its low bits are clear
        for (int32_t i = 0; i < u; i++) {
            LLVMValueRef k =
                LLVMBuildAdd(lo->b, LLVMBuildAdd(lo->b, scaled(lo, d->thread_batch, d->lk), k0, ""),
                             const_i32(lo, i), "");
            LLVMValueRef index = LLVMBuildAdd(lo->b, scaled(lo, k, d->ln), d->thread_n, ""),
                         columns[16];
            fetch(d, d->type_b, d->b, index, (int64_t)batch << (d->lk + d->ln) | n, run, columns);
            for (int32_t e = 0; e < run; e++)
                b[r + e][i] = columns[e];
        }
    }
    for (int32_t i = 0; i < u; i++)
        for (int32_t r = 0; r < n_regs; r++)
            acc[r] = multiply_add(d, a[r][i], b[r][i], acc[r]);
}

static void loop(Dot *d, LLVMValueRef *acc)
{
    Lower *lo = d->lo;
    int32_t n_regs = layout_regs(d->acc);
    if (d->unroll == 1 << d->lk) {
        step(d, const_i32(lo, 0), acc);
        return;
    }
    LLVMBasicBlockRef from = LLVMGetInsertBlock(lo->b), head = block_new(lo, "dot"),
                      after = block_new(lo, "dotted");
    LLVMBuildBr(lo->b, head);
    block_enter(lo, head);
    LLVMValueRef k = LLVMBuildPhi(lo->b, lo->i32, ""), zero = const_i32(lo, 0),
                 *phi = regs_new(lo, n_regs), *next = regs_new(lo, n_regs);
    LLVMAddIncoming(k, &zero, &from, 1);
    for (int32_t r = 0; r < n_regs; r++) {
        phi[r] = next[r] = LLVMBuildPhi(lo->b, LLVMTypeOf(acc[r]), "");
        LLVMAddIncoming(phi[r], &acc[r], &from, 1);
    }
    step(d, k, next);
    LLVMValueRef more = LLVMBuildAdd(lo->b, k, const_i32(lo, d->unroll), "");
    LLVMValueRef goes_on = LLVMBuildICmp(lo->b, LLVMIntULT, more, const_i32(lo, 1 << d->lk), "");
    LLVMBasicBlockRef latch = LLVMGetInsertBlock(lo->b);
    llvm_loop_no_unroll(lo->ll, LLVMBuildCondBr(lo->b, goes_on, head, after));
    LLVMAddIncoming(k, &more, &latch, 1);
    for (int32_t r = 0; r < n_regs; r++)
        LLVMAddIncoming(phi[r], &next[r], &latch, 1);
    block_enter(lo, after);
    memcpy(acc, next, sizeof *acc * (size_t)n_regs);
}

void lower_dot(Lower *lo, Op *op)
{
    if (op_note(op)->dot) {
        lower_mma(lo, op);
        return;
    }
    const Type *ta = op->in[0]->type, *tc = op->out[0].type;
    Dot d = {.lo = lo, .op = op, .acc = tc->layout};
    d.lm = d.acc->log_dim[tc->rank - 2], d.ln = d.acc->log_dim[tc->rank - 1];
    d.lk = log2_floor((uint64_t)ta->shape[ta->rank - 1]);
    d.type_a = ta->dtype, d.type_b = op->in[1]->type->dtype, d.sum = sum_dtype(ta->dtype);
    int32_t bytes = dtype_bytes(ta->dtype), n_regs = layout_regs(d.acc);
    d.unroll = MIN(1 << d.lk, n_regs > 64 ? 2 : 4);
    d.a = scratch_enter(lo, op);
    d.b = shared_at(lo, d.a, const_i32(lo, round_up(ta->numel * bytes, 16)));
    stage(lo, op->in[0], d.a);
    stage(lo, op->in[1], d.b);
    barrier(lo);
    int32_t bits = layout_bits(d.acc);
    d.thread_m = thread_field(lo, d.acc, d.ln, MAX(1, bits - d.ln));
    d.thread_n = d.ln ? thread_field(lo, d.acc, 0, d.ln) : const_i32(lo, 0);
    d.thread_batch = bits > d.ln + d.lm ? thread_field(lo, d.acc, d.ln + d.lm, bits - d.ln - d.lm)
                                        : const_i32(lo, 0);
    LLVMValueRef *acc = regs_new(lo, n_regs);
    regs_of(lo, op->in[2], acc);
    for (int32_t r = 0; r < n_regs; r++)
        acc[r] = emit_cast(lo, acc[r], tc->dtype, d.sum, ROUND_RNE);
    loop(&d, acc);
    Tile out = tile_new(lo, n_regs, false);
    for (int32_t r = 0; r < n_regs; r++)
        out.v[r] = emit_cast(lo, acc[r], d.sum, tc->dtype, ROUND_RNE);
    tile_set(lo, &op->out[0], out);
}
