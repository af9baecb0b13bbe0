// compiler/gpu/async.c - buffers in shared memory: their layouts, copies into them, waits, reads.
//
//   alloc b : buf<64x32xf16, #s, stages=3>    base + stage * 4096 bytes, element c at #s^-1(c)
//   copy_async b, w, ptrs, mask               cp.async.cg [b + ...], [ptr], 16, mask ? 16 : 0
//                                             cp.async.commit_group          every copy is a group
//   wait {pending=2}                          cp.async.wait_group 2
//   x = buf_load b, r                         ld.shared or ldmatrix, in the layout its user wants
//
// Elements that are neighbours in memory and stay so in the buffer go together, 4, 8 or 16 bytes at
// a time; what is masked off becomes zero. A copy that cannot be had that way (narrower than 4
// bytes, `other` that is not zero, an architecture without cp.async) is a load and a store to the
// buffer, in the same place of the program, ordered by the same wait and barrier.
//
// The layout of a buffer keeps the runs of its writer and lets both sides go without bank conflicts
// (ir/swizzle.h).
#include <math.h>

#include "compiler/gpu/lower.h"
#include "ir/swizzle.h"

// ---- layouts ----------------------------------------------------------------------------------

/// lg of the elements that one copy of `op` moves: its runs, as far as the registers of its layout
/// begin with them. The buffer keeps them together.
static int32_t copy_run(const Op *op)
{
    const Layout *l = op->in[2]->type->layout;
    const MemFacts *facts = &op_note(op)->mem;
    int32_t v = 0;
    while (v < facts->v_max && v < l->n_col[IN_REG] &&
           layout_cols(l, IN_REG)[v] == 1u << facts->chain[v])
        v++;
    return v;
}

typedef struct Sides {
    const Op *copy, *store, *load; ///< the first of each
} Sides;

static Sides sides_of(const Op *alloc)
{
    Sides s = {0};
    EACH_USE(use, &alloc->out[0]) {
        const Op *op = use->op, **side = op->kind == OP_COPY_ASYNC  ? &s.copy
                                         : op->kind == OP_BUF_STORE ? &s.store
                                         : op->kind == OP_BUF_LOAD  ? &s.load
                                                                    : NULL;
        if (side) *side = op; // uses are listed from the last: the first one stays
    }
    return s;
}

static Layout buffer_layout(const Op *alloc)
{
    const Type *t = alloc->out[0].type;
    int32_t bytes = dtype_bytes(t->dtype);
    Sides s = sides_of(alloc);
    if ((s.copy || s.store) && s.load) {
        const Layout *dst = s.load->out[0].type->layout;
        if (s.copy) {
            const Layout *src = s.copy->in[2]->type->layout;
            return swizzle_for_copy(src, copy_run(s.copy), dst, bytes).mem;
        }
        return swizzle_build(s.store->in[2]->type->layout, dst, bytes).mem;
    }
    return layout_row_major(t->rank, t->shape);
}

static void assign(Op *op, void *user)
{
    GpuCx *cx = user;
    if (op->kind != OP_ALLOC || op->out[0].type->layout) return;
    Layout l = buffer_layout(op);
    op->out[0].type = type_with_layout(cx->module, op->out[0].type, layout_intern(cx->module, &l));
}

void buffers_assign(GpuCx *cx)
{
    region_walk(cx->fn->body, assign, cx);
}

static const Layout *threads_of(const Op *op)
{
    return (op->kind == OP_BUF_LOAD ? op->out[0].type : op->in[2]->type)->layout;
}

bool buffer_is_private(const Op *alloc)
{
    const Layout *l = NULL;
    EACH_USE(use, &alloc->out[0]) {
        if (use->op->kind == OP_MMA_ASYNC) return false;
        const Layout *mine = threads_of(use->op);
        if (!mine || (l && mine != l)) return false;
        l = mine;
    }
    return l && !layout_repeats(l);
}

// ---- places -----------------------------------------------------------------------------------

static const Op *alloc_of(const Op *op)
{
    const Op *alloc = op->in[0]->def;
    ASSERT(alloc && alloc->kind == OP_ALLOC);
    return alloc;
}

/// The barrier in front of `op`, where one is due; @return where its stage of the buffer begins.
static LLVMValueRef stage_enter(Lower *lo, const Op *op)
{
    const Op *alloc = alloc_of(op);
    const OpNote *note = op_note(op);
    if (note->scratch.needs_barrier || note->global_barrier) barrier(lo);
    int64_t bytes = op_note(alloc)->scratch.bytes / alloc->out[0].type->stages;
    LLVMValueRef stage = gpu_scalar_of(lo, op->in[1]);
    if (LLVMTypeOf(stage) != lo->i32) stage = LLVMBuildIntCast2(lo->b, stage, lo->i32, false, "");
    LLVMValueRef at = LLVMBuildMul(lo->b, stage, const_i32(lo, bytes), "");
    at = LLVMBuildAdd(lo->b, at, const_i32(lo, op_note(alloc)->scratch.offset), "");
    return shared_at(lo, lo->smem, at);
}

/// The thread's part of the byte at which its elements in layout `l` lie, and the bits it may set;
/// computed once per kernel.
static LLVMValueRef thread_place(Lower *lo, const Layout *l, const Layout *mem, int32_t bytes,
                                 uint32_t *bits)
{
    Layout inverse = layout_invert(mem);
    uint32_t lane[GF2_MAX] = {0}, warp[GF2_MAX] = {0};
    *bits = 0;
    for (int32_t i = 0; i < LAYOUT_LANES; i++) {
        lane[i] = layout_apply(&inverse, layout_cols(l, IN_LANE)[i]) * (uint32_t)bytes;
        *bits |= lane[i];
    }
    for (int32_t i = 0; i < l->n_col[IN_WARP]; i++) {
        warp[i] = layout_apply(&inverse, layout_cols(l, IN_WARP)[i]) * (uint32_t)bytes;
        *bits |= warp[i];
    }
    char *key = arena_printf(lo->cx->arena, "place:%p:%p", (const void *)l, (const void *)mem);
    LLVMValueRef v = map_get(&lo->fields, str_of(key));
    if (v) return v;
    LLVMBasicBlockRef here = LLVMGetInsertBlock(lo->b);
    block_enter(lo, lo->entry);
    v = thread_xor(lo, lane, l->n_col[IN_WARP], warp);
    block_enter(lo, here);
    map_put(lo->cx->arena, &lo->fields, str_of(key), v);
    return v;
}

// ---- copies -----------------------------------------------------------------------------------

typedef struct CopyShape {
    const Layout *layout;
    int32_t bytes, v;     ///< of an element; lg of the elements per copy
    uint32_t at[GF2_MAX]; ///< byte in the stage that each register bit is worth
    uint32_t thread_bits;
    LLVMValueRef thread;
} CopyShape;

/// How wide one copy may be: runs of the address that are runs of the buffer, aligned in both.
static int32_t copy_width(const Op *op, const CopyShape *c)
{
    int32_t most = MIN(copy_run(op), log2_floor(16 / (uint64_t)c->bytes)), v = 0;
    for (; v < most; v++) {
        uint32_t unit = (uint32_t)c->bytes << v, others = c->thread_bits;
        for (int32_t k = 0; k < c->layout->n_col[IN_REG]; k++)
            if (k != v) others |= c->at[k];
        if (c->at[v] != unit || (others & unit)) break;
    }
    return v;
}

static CopyShape copy_shape(Lower *lo, const Op *op)
{
    const Type *buf = op->in[0]->type;
    CopyShape c = {.layout = op->in[2]->type->layout, .bytes = dtype_bytes(buf->dtype)};
    c.thread = thread_place(lo, c.layout, buf->layout, c.bytes, &c.thread_bits);
    Layout inverse = layout_invert(buf->layout);
    for (int32_t i = 0; i < c.layout->n_col[IN_REG]; i++)
        c.at[i] = layout_apply(&inverse, layout_cols(c.layout, IN_REG)[i]) * (uint32_t)c.bytes;
    c.v = copy_width(op, &c);
    return c;
}

static bool is_zero(const Value *v)
{
    Attr a = {0};
    return value_const(v, &a) &&
           (dtype_is_float(v->type->dtype) ? a.f == 0 && !signbit(a.f) : !a.i);
}

static bool is_asynchronous(const Lower *lo, const Op *op, const CopyShape *c)
{
    if (!lo->cx->sm->has_cp_async || c->bytes << c->v < 4) return false;
    return op->n_in <= 4 || is_zero(op->in[4]);
}

/// @p cp.async [to], [from], bytes, read
static void copy_one(Lower *lo, int32_t bytes, LLVMValueRef acts, LLVMValueRef to,
                     LLVMValueRef from, LLVMValueRef n_read)
{
    LLVMValueRef args[4];
    char letters[8] = {0};
    int32_t n = 0;
    if (acts) letters[n] = 'b', args[n++] = acts;
    int32_t first = n;
    letters[n] = 's', args[n++] = to;
    letters[n] = 'p', args[n++] = from;
    if (n_read) letters[n] = 'i', args[n++] = n_read;
    Arena *a = lo->cx->arena;
    const char *size = n_read ? arena_printf(a, ", $%d", first + 2) : "";
    Intrinsic row = {.name = arena_printf(a, "cp.async.%d.%s", bytes, letters),
                     .ret = "",
                     .args = arena_strdup(a, letters),
                     .kind = KIND_ASM,
                     .text = arena_printf(a, "%scp.async.%s.shared.global [$%d], [$%d], %d%s;",
                                          acts ? "@$0 " : "", bytes == 16 ? "cg" : "ca", first,
                                          first + 1, bytes, size),
                     .emu = EMU_CP_ASYNC,
                     .flags = "SL",
                     .imm = bytes | (acts ? 256 : 0) | (n_read ? 512 : 0)};
    kiln_call_row(lo, &row, args);
}

static void copy_all(Lower *lo, const Op *op, const CopyShape *c, LLVMValueRef base)
{
    const Value *ptr = op->in[2], *mask = op->n_in > 3 ? op->in[3] : NULL;
    LLVMValueRef owner = owner_predicate(lo, c->layout);
    int32_t bytes = c->bytes << c->v;
    LLVMValueRef last_mask = NULL, n_read = NULL;
    for (uint32_t r = 0; r < (uint32_t)layout_regs(c->layout); r += 1u << c->v) {
        uint32_t own = gf2_apply(c->at, r), folded = own & c->thread_bits;
        LLVMValueRef to =
            folded ? LLVMBuildXor(lo->b, c->thread, const_i32(lo, folded), "") : c->thread;
        to = shared_at(lo, base, to);
        if (own & ~folded) to = shared_at(lo, to, const_i32(lo, own & ~folded));
        LLVMValueRef m = mask ? reg_of(lo, mask, (int32_t)r) : NULL;
        if (m != last_mask)
            n_read = LLVMBuildSelect(lo->b, m, const_i32(lo, bytes), const_i32(lo, 0), "");
        last_mask = m;
        copy_one(lo, bytes, owner, to, reg_of(lo, ptr, (int32_t)r), m ? n_read : NULL);
    }
}

static void lower_copy(Lower *lo, Op *op)
{
    const Type *buf = op->in[0]->type;
    CopyShape c = copy_shape(lo, op);
    LLVMValueRef base = stage_enter(lo, op);
    if (is_asynchronous(lo, op, &c)) {
        copy_all(lo, op, &c, base);
    } else {
        LLVMValueRef *regs = regs_new(lo, layout_regs(c.layout));
        Layout inverse = layout_invert(buf->layout);
        load_registers(lo, op, 2, regs);
        shared_put(lo, c.layout, &inverse, gpu_dtype_type(lo, buf->dtype), regs, base);
    }
    if (lo->cx->sm->has_cp_async) KILN0(lo, CP_COMMIT);
}

static void lower_wait(Lower *lo, const Op *op)
{
    if (!lo->cx->sm->has_cp_async) return;
    int32_t pending = (int32_t)op_attr_i(op, ATTR_PENDING);
    Arena *a = lo->cx->arena;
    Intrinsic row = {.name = arena_printf(a, "cp.wait.%d", pending),
                     .ret = "",
                     .args = "",
                     .kind = KIND_ASM,
                     .text = arena_printf(a, "cp.async.wait_group %d;", pending),
                     .emu = EMU_CP_WAIT,
                     .flags = "SL",
                     .imm = pending};
    kiln_call_row(lo, &row, NULL);
}

// ---- plain accesses ---------------------------------------------------------------------------

static void lower_buf_load(Lower *lo, Op *op)
{
    const Type *buf = op->in[0]->type;
    const Layout *l = op->out[0].type->layout;
    Layout inverse = layout_invert(buf->layout);
    Tile out = tile_new(lo, layout_regs(l), false);
    LLVMValueRef base = stage_enter(lo, op);
    LLVMTypeRef type = gpu_dtype_type(lo, buf->dtype);
    if (buffer_is_private(alloc_of(op))) // nobody waits for others here
        shared_get_own(lo, l, &inverse, type, base, out.v);
    else
        shared_get(lo, l, &inverse, type, base, out.v);
    tile_set(lo, &op->out[0], out);
}

static void lower_buf_store(Lower *lo, Op *op)
{
    const Type *buf = op->in[0]->type;
    const Layout *l = op->in[2]->type->layout;
    Layout inverse = layout_invert(buf->layout);
    LLVMValueRef *regs = regs_new(lo, layout_regs(l));
    regs_of(lo, op->in[2], regs);
    shared_put(lo, l, &inverse, gpu_dtype_type(lo, buf->dtype), regs, stage_enter(lo, op));
}

void lower_async(Lower *lo, Op *op)
{
    switch (op->kind) {
    case OP_COPY_ASYNC:
        lower_copy(lo, op);
        break;
    case OP_WAIT:
        lower_wait(lo, op);
        break;
    case OP_BUF_LOAD:
        lower_buf_load(lo, op);
        break;
    case OP_BUF_STORE:
        lower_buf_store(lo, op);
        break;
    default: // ALLOC: a place, known since shared_assign()
        break;
    }
}
