// compiler/cpu/atomic.c - atomic operations, one element after the other in a scalar loop.
//
// Ints and exchanges are one instruction. Float additions, minima and maxima of any width are a loop around
// compare-and-exchange on the bits: round(old + value), or the better of two.
#include "compiler/cpu/cpu.h"

static LLVMAtomicOrdering ordering(const Op *op)
{
    switch ((MemSem)op_attr_i(op, ATTR_SEM)) {
    case SEM_RELAXED:
        return LLVMAtomicOrderingMonotonic;
    case SEM_ACQUIRE:
        return LLVMAtomicOrderingAcquire;
    case SEM_RELEASE:
        return LLVMAtomicOrderingRelease;
    default:
        return LLVMAtomicOrderingAcquireRelease;
    }
}

static LLVMBasicBlockRef new_block(Cx *cx)
{
    return LLVMAppendBasicBlockInContext(cx->c, cx->function, "");
}

static LLVMTypeRef bits_type(Cx *cx, DType t)
{
    return LLVMIntTypeInContext(cx->c, (unsigned)dtype_bytes(t) * 8);
}

static LLVMValueRef to_bits(Cx *cx, const Type *elem, LLVMValueRef x)
{
    return LLVMBuildBitCast(cx->b, to_memory(cx, elem, x), bits_type(cx, elem->dtype), "");
}

static LLVMValueRef from_bits(Cx *cx, const Type *elem, LLVMValueRef x)
{
    return from_memory(cx, elem, LLVMBuildBitCast(cx->b, x, memory_type(cx, elem), ""));
}

static LLVMValueRef int_rmw(Cx *cx, Op *op, RmwKind kind, DType t, LLVMValueRef at, LLVMValueRef v)
{
    bool is_signed = dtype_is_signed(t);
    LLVMAtomicRMWBinOp rmw[] = {
        [RMW_ADD] = LLVMAtomicRMWBinOpAdd,
        [RMW_MIN] = is_signed ? LLVMAtomicRMWBinOpMin : LLVMAtomicRMWBinOpUMin,
        [RMW_MAX] = is_signed ? LLVMAtomicRMWBinOpMax : LLVMAtomicRMWBinOpUMax,
        [RMW_AND] = LLVMAtomicRMWBinOpAnd,
        [RMW_OR] = LLVMAtomicRMWBinOpOr,
        [RMW_XOR] = LLVMAtomicRMWBinOpXor,
        [RMW_XCHG] = LLVMAtomicRMWBinOpXchg,
    };
    return LLVMBuildAtomicRMW(cx->b, rmw[kind], at, v, ordering(op), false);
}

/// old = *at; do new = f(old) while the exchange fails. @return old
static LLVMValueRef float_rmw(Cx *cx, Op *op, RmwKind kind, const Type *elem, LLVMValueRef at,
                              LLVMValueRef v)
{
    LLVMTypeRef t = bits_type(cx, elem->dtype);
    LLVMValueRef first = LLVMBuildLoad2(cx->b, t, at, "");
    LLVMSetOrdering(first, LLVMAtomicOrderingMonotonic);
    LLVMSetAlignment(first, (unsigned)dtype_bytes(elem->dtype));
    LLVMBasicBlockRef before = LLVMGetInsertBlock(cx->b), again = new_block(cx),
                      done = new_block(cx);
    LLVMBuildBr(cx->b, again);
    LLVMPositionBuilderAtEnd(cx->b, again);
    LLVMValueRef bits = LLVMBuildPhi(cx->b, t, ""), old = from_bits(cx, elem, bits);
    LLVMValueRef pair[] = {old, v};
    ElemKind e = kind == RMW_ADD ? ELEM_ADD : kind == RMW_MIN ? ELEM_MIN : ELEM_MAX;
    LLVMValueRef next = to_bits(cx, elem, elem_emit(cx, e, elem->dtype, pair));
    LLVMValueRef r = LLVMBuildAtomicCmpXchg(cx->b, at, bits, next, ordering(op),
                                            LLVMAtomicOrderingMonotonic, false);
    LLVMValueRef seen = LLVMBuildExtractValue(cx->b, r, 0, ""),
                 won = LLVMBuildExtractValue(cx->b, r, 1, "");
    LLVMAddIncoming(bits, (LLVMValueRef[]){first, seen},
                    (LLVMBasicBlockRef[]){before, LLVMGetInsertBlock(cx->b)}, 2);
    LLVMBuildCondBr(cx->b, won, done, again);
    LLVMPositionBuilderAtEnd(cx->b, done);
    return from_bits(cx, elem, bits);
}

static LLVMValueRef one(Cx *cx, Op *op, LLVMValueRef at, LLVMValueRef *v)
{
    const Type *elem = op->out[0].type->element;
    DType t = elem->dtype;
    if (op->kind == OP_ATOMIC_CAS) {
        LLVMValueRef expected = to_bits(cx, elem, v[0]), next = to_bits(cx, elem, v[1]);
        LLVMValueRef r = LLVMBuildAtomicCmpXchg(cx->b, at, expected, next, ordering(op),
                                                LLVMAtomicOrderingMonotonic, false);
        return from_bits(cx, elem, LLVMBuildExtractValue(cx->b, r, 0, ""));
    }
    RmwKind kind = (RmwKind)op_attr_i(op, ATTR_RMW);
    if (kind == RMW_XCHG)
        return from_bits(cx, elem, int_rmw(cx, op, kind, DTYPE_U64, at, to_bits(cx, elem, v[0])));
    return dtype_is_float(t) ? float_rmw(cx, op, kind, elem, at, v[0])
                             : int_rmw(cx, op, kind, t, at, v[0]);
}

/// The element at `c`, under its mask. @return the old value, 0 where masked off
static LLVMValueRef element(Cx *cx, Op *op, const Chunk *c)
{
    bool is_cas = op->kind == OP_ATOMIC_CAS;
    LLVMValueRef v[2] = {eval_here(cx, op->in[1], c), is_cas ? eval_here(cx, op->in[2], c) : NULL};
    LLVMValueRef mask = !is_cas && op->n_in > 2 ? eval_here(cx, op->in[2], c) : NULL;
    LLVMValueRef at = eval_here(cx, op->in[0], c);
    at_depth(cx, cx->depth);
    if (mask && is_all_ones(mask)) mask = NULL;
    if (!mask) {
        LLVMValueRef old = one(cx, op, at, v);
        depth_moved(cx, cx->depth);
        return old;
    }
    LLVMBasicBlockRef before = LLVMGetInsertBlock(cx->b), act = new_block(cx),
                      after = new_block(cx);
    LLVMBuildCondBr(cx->b, mask, act, after);
    LLVMPositionBuilderAtEnd(cx->b, act);
    LLVMValueRef old = one(cx, op, at, v), zero = LLVMConstNull(LLVMTypeOf(old));
    LLVMBasicBlockRef end = LLVMGetInsertBlock(cx->b);
    LLVMBuildBr(cx->b, after);
    LLVMPositionBuilderAtEnd(cx->b, after);
    LLVMValueRef phi = LLVMBuildPhi(cx->b, LLVMTypeOf(old), "");
    LLVMAddIncoming(phi, (LLVMValueRef[]){zero, old}, (LLVMBasicBlockRef[]){before, end}, 2);
    depth_moved(cx, cx->depth);
    return phi;
}

void atomic_emit_scalar(Cx *cx, Op *op)
{
    Chunk c = chunk_zero();
    info_of(cx, op->out)->scalar = element(cx, op, &c);
    memo_drop(cx, 0);
}

void atomic_emit(Cx *cx, Op *op)
{
    const Type *t = op->out[0].type;
    Info *info = info_of(cx, op->out);
    bool is_wanted = op->out[0].uses != NULL;
    if (is_wanted && !info->held.base) info->held = held_new(cx, t);
    Loop l = loop_open(cx, const_i64(cx, 0), const_i64(cx, t->numel), 1);
    Chunk c = chunk_zero();
    chunk_add_field(&c, (Field){l.var, 0, (int8_t)log_numel(t), 0, (int8_t)cx->depth, true});
    LLVMValueRef old = element(cx, op, &c);
    if (is_wanted) {
        Place p = place_of_held(cx, &info->held, t, &c);
        at_depth(cx, cx->depth);
        place_store(cx, &p, old, NULL);
    }
    loop_close(cx, &l);
    memo_drop(cx, 0);
}
