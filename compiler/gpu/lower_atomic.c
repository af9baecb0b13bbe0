// compiler/gpu/lower_atomic.c - read-modify-write and compare-and-swap on global memory.
//
//   @%p atom.acq_rel.gpu.global.add.f32 %old, [%at], %x;
//
// Each element acts once: a layout that repeats elements acts in the owner and hands the old value
// on through shared memory; a scalar acts in thread 0. f32 min and max act on the bits as ints,
// which order as floats do up to sign: one of a signed max and an unsigned min. bf16 sums below
// sm_90 and whatever else has no instruction loop on compare-and-swap.
#include "compiler/gpu/lower.h"

#include <stdio.h>

static const char *sem_text(const Op *op)
{
    static const char *const names[] = {".acq_rel", ".acquire", ".release", ".relaxed"};
    return names[op_attr_i(op, ATTR_SEM)];
}

static const char *scope_text(const Op *op)
{
    static const char *const names[] = {".gpu", ".cta", ".sys"};
    return names[op_attr_i(op, ATTR_SCOPE)];
}

/// The same two for the emulator: MemSem | MemScope << 2.
static int32_t emu_order(const Op *op)
{
    return (int32_t)(op_attr_i(op, ATTR_SEM) | op_attr_i(op, ATTR_SCOPE) << 2);
}

/// How an operation on one type reads in PTX: `add` of f32 is "add.f32"; NULL: no instruction.
static const char *rmw_text(const Lower *lo, RmwKind k, DType t)
{
    int32_t bits = dtype_bits(t);
    bool is_float = dtype_is_float(t), is_signed = dtype_is_signed(t);
    switch (k) {
    case RMW_ADD:
        if (t == DTYPE_F16) return "add.noftz.f16";
        if (t == DTYPE_BF16) return lo->cx->sm->sm >= 90 ? "add.noftz.bf16" : NULL;
        if (is_float) return bits == 64 ? "add.f64" : "add.f32";
        return bits == 64 ? "add.u64" : "add.u32";
    case RMW_MIN:
        return is_float     ? NULL
               : bits == 64 ? (is_signed ? "min.s64" : "min.u64")
               : is_signed  ? "min.s32"
                            : "min.u32";
    case RMW_MAX:
        return is_float     ? NULL
               : bits == 64 ? (is_signed ? "max.s64" : "max.u64")
               : is_signed  ? "max.s32"
                            : "max.u32";
    case RMW_AND:
        return bits == 64 ? "and.b64" : "and.b32";
    case RMW_OR:
        return bits == 64 ? "or.b64" : "or.b32";
    case RMW_XOR:
        return bits == 64 ? "xor.b64" : "xor.b32";
    case RMW_XCHG:
        return bits == 64 ? "exch.b64" : "exch.b32";
    }
    return NULL;
}

static char letter_of(int32_t bits)
{
    return bits == 64 ? 'l' : bits == 32 ? 'i' : 'h';
}

static LLVMTypeRef word_type(Lower *lo, int32_t bits)
{
    return LLVMIntTypeInContext(lo->c, (unsigned)bits);
}

/// The old word where `pred` holds, else 0. Values travel as their bits; the constraint letter of
/// PTX's own type matters (f32 wants an f register), so floats are moved inside the text.
static LLVMValueRef emit_rmw(Lower *lo, const Op *op, const char *what, int32_t bits,
                             int32_t emu_kind, LLVMValueRef pred, LLVMValueRef at, LLVMValueRef x)
{
    char text[256], args[8] = {'b', 'p', letter_of(bits), 0}, ret[2] = {letter_of(bits), 0};
    snprintf(text, sizeof text, "{ mov.b%d $0, 0; @$1 atom%s%s.global.%s $0, [$2], $3; }", bits,
             sem_text(op), scope_text(op), what);
    char *name =
        arena_printf(lo->cx->arena, "atom%s%s.%s.%d", sem_text(op), scope_text(op), what, emu_kind);
    Intrinsic row = {
        name,     arena_strdup(lo->cx->arena, ret),          arena_strdup(lo->cx->arena, args),
        KIND_ASM, arena_strdup(lo->cx->arena, text),         EMU_ATOMIC,
        "SLE",    emu_kind | bits << 8 | emu_order(op) << 16};
    return kiln_call_row(lo, &row, (LLVMValueRef[]){pred, at, x});
}

static LLVMValueRef emit_cas(Lower *lo, const Op *op, int32_t bits, LLVMValueRef pred,
                             LLVMValueRef at, LLVMValueRef expected, LLVMValueRef x)
{
    char text[256], l = letter_of(bits), args[8] = {'b', 'p', l, l, 0}, ret[2] = {l, 0};
    snprintf(text, sizeof text, "{ mov.b%d $0, 0; @$1 atom%s%s.global.cas.b%d $0, [$2], $3, $4; }",
             bits, sem_text(op), scope_text(op), bits);
    char *name = arena_printf(lo->cx->arena, "cas%s%s.%d", sem_text(op), scope_text(op), bits);
    Intrinsic row = {name,     arena_strdup(lo->cx->arena, ret),  arena_strdup(lo->cx->arena, args),
                     KIND_ASM, arena_strdup(lo->cx->arena, text), EMU_ATOMIC_CAS,
                     "SLE",    bits | emu_order(op) << 16};
    return kiln_call_row(lo, &row, (LLVMValueRef[]){pred, at, expected, x});
}

static LLVMValueRef bits_from(Lower *lo, LLVMValueRef x, int32_t bits)
{
    return LLVMBuildBitCast(lo->b, x, word_type(lo, bits), "");
}

/// old = *at; loop: seen = cas(at, old, combine(old, x)) until seen == old.
static LLVMValueRef by_swapping(Lower *lo, Op *op, LLVMValueRef pred, LLVMValueRef at,
                                LLVMValueRef x)
{
    static const ElemKind kinds[] = {
        [RMW_ADD] = ELEM_ADD, [RMW_MIN] = ELEM_MIN, [RMW_MAX] = ELEM_MAX};
    const Type *t = op->in[1]->type->element;
    int32_t bits = dtype_bits(t->dtype);
    LLVMTypeRef word = word_type(lo, bits), type = element_type(lo, t);
    LLVMValueRef zero = LLVMConstNull(word);
    LLVMValueRef start = emit_cas(lo, op, bits, pred, at, zero, zero); // reads: 0 is replaced by 0
    LLVMBasicBlockRef from = LLVMGetInsertBlock(lo->b), head = block_new(lo, "swap"),
                      after = block_new(lo, "swapped");
    LLVMBuildBr(lo->b, head);
    block_enter(lo, head);
    LLVMValueRef old = LLVMBuildPhi(lo->b, word, "");
    LLVMAddIncoming(old, &start, &from, 1);
    LLVMValueRef in[2] = {LLVMBuildBitCast(lo->b, old, type, ""), x};
    LLVMValueRef sum = bits_from(lo, emit_elem(lo, kinds[op_attr_i(op, ATTR_RMW)], t, in), bits);
    LLVMValueRef seen = emit_cas(lo, op, bits, pred, at, old, sum);
    LLVMValueRef fails =
        LLVMBuildAnd(lo->b, pred, LLVMBuildICmp(lo->b, LLVMIntNE, seen, old, ""), "");
    LLVMBasicBlockRef latch = LLVMGetInsertBlock(lo->b);
    LLVMBuildCondBr(lo->b, fails, head, after);
    LLVMAddIncoming(old, &seen, &latch, 1);
    block_enter(lo, after);
    return LLVMBuildBitCast(lo->b, seen, type, "");
}

/// Floats order as signed ints when positive and as reversed unsigned ones when negative.
static LLVMValueRef float_extreme(Lower *lo, Op *op, LLVMValueRef pred, LLVMValueRef at,
                                  LLVMValueRef x)
{
    bool is_max = op_attr_i(op, ATTR_RMW) == RMW_MAX;
    int32_t bits = dtype_bits(op->in[1]->type->dtype);
    LLVMValueRef w = bits_from(lo, x, bits),
                 negative = LLVMBuildICmp(lo->b, LLVMIntSLT, w, LLVMConstNull(LLVMTypeOf(w)), "");
    LLVMValueRef p = LLVMBuildAnd(lo->b, pred, LLVMBuildNot(lo->b, negative, ""), ""),
                 n = LLVMBuildAnd(lo->b, pred, negative, "");
    const char *plus = bits == 64 ? (is_max ? "max.s64" : "min.s64")
                       : is_max   ? "max.s32"
                                  : "min.s32";
    const char *minus = bits == 64 ? (is_max ? "min.u64" : "max.u64")
                        : is_max   ? "min.u32"
                                   : "max.u32";
    LLVMValueRef a =
        emit_rmw(lo, op, plus, bits, (is_max ? RMW_MAX : RMW_MIN) | 16, p, at, w); // 16: signed
    LLVMValueRef b = emit_rmw(lo, op, minus, bits, is_max ? RMW_MIN : RMW_MAX, n, at, w);
    return LLVMBuildBitCast(lo->b, LLVMBuildOr(lo->b, a, b, ""), LLVMTypeOf(x),
                            ""); // the one that did not act is 0
}

static LLVMValueRef act(Lower *lo, Op *op, LLVMValueRef pred, LLVMValueRef at, int32_t r)
{
    const Type *t = op->in[1]->type->element;
    int32_t bits = t->is_ptr ? 64 : dtype_bits(t->dtype);
    LLVMTypeRef type = element_type(lo, t);
    LLVMValueRef x = reg_of(lo, op->in[1], op->in[1]->type->kind == TYPE_TILE ? r : 0);
    if (op->kind == OP_ATOMIC_CAS) {
        LLVMValueRef y = reg_of(lo, op->in[2], op->in[2]->type->kind == TYPE_TILE ? r : 0);
        LLVMValueRef old =
            emit_cas(lo, op, bits, pred, at, bits_from(lo, x, bits), bits_from(lo, y, bits));
        return LLVMBuildBitCast(lo->b, old, type, "");
    }
    RmwKind k = (RmwKind)op_attr_i(op, ATTR_RMW);
    bool is_float = dtype_is_float(t->dtype);
    if (is_float && bits >= 32 && (k == RMW_MIN || k == RMW_MAX))
        return float_extreme(lo, op, pred, at, x);
    const char *what = rmw_text(lo, k, t->dtype);
    if (!what) return by_swapping(lo, op, pred, at, x);
    int32_t kind = (int32_t)k | (is_float && k == RMW_ADD    ? 32
                                 : dtype_is_signed(t->dtype) ? 16
                                                             : 0);
    if (t->dtype == DTYPE_BF16) kind |= 64;
    return LLVMBuildBitCast(
        lo->b, emit_rmw(lo, op, what, bits, kind, pred, at, bits_from(lo, x, bits)), type, "");
}

/// The owner's old values, handed to every thread that holds a copy.
static void share(Lower *lo, Op *op, LLVMValueRef owner, LLVMValueRef *regs)
{
    const Type *t = op->out[0].type;
    LLVMTypeRef type = element_type(lo, t);
    LLVMValueRef base = scratch_enter(lo, op);
    LLVMBasicBlockRef writes = block_new(lo, "old"), after = block_new(lo, "olds");
    Layout rows =
        t->kind == TYPE_TILE ? layout_row_major(t->rank, t->shape) : layout_empty(0, NULL);
    LLVMBuildCondBr(lo->b, owner, writes, after);
    block_enter(lo, writes);
    if (t->kind == TYPE_TILE)
        shared_put(lo, t->layout, &rows, type, regs, base);
    else
        shared_store(lo, type, 1, base, regs);
    LLVMBuildBr(lo->b, after);
    block_enter(lo, after);
    barrier(lo);
    if (t->kind == TYPE_TILE)
        shared_get(lo, t->layout, &rows, type, base, regs);
    else
        shared_load(lo, type, 1, base, regs);
}

void lower_atomic(Lower *lo, Op *op)
{
    const Value *ptr = op->in[0];
    bool is_tile = ptr->type->kind == TYPE_TILE;
    if (op_note(op)->global_barrier) barrier(lo);
    int32_t n = value_regs(ptr);
    LLVMValueRef owner = is_tile ? owner_predicate(lo, ptr->type->layout)
                                 : LLVMBuildICmp(lo->b, LLVMIntEQ, lo->tid, const_i32(lo, 0), "");
    LLVMValueRef always = LLVMConstInt(lo->i1, 1, false);
    Tile out = tile_new(lo, n, false);
    for (int32_t r = 0; r < n; r++) {
        LLVMValueRef pred = owner ? owner : always;
        if (op->kind == OP_ATOMIC_RMW && op->n_in > 2)
            pred = LLVMBuildAnd(
                lo->b, pred, reg_of(lo, op->in[2], op->in[2]->type->kind == TYPE_TILE ? r : 0), "");
        out.v[r] = act(lo, op, pred, reg_of(lo, ptr, r), r);
    }
    if (op_note(op)->scratch.bytes) share(lo, op, owner, out.v);
    tile_set(lo, &op->out[0], out);
}
