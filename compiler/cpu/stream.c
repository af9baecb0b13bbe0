// compiler/cpu/stream.c - stores that go past the caches when a launch writes more than they hold.
//
//   n_programs * bytes of the tile >= 32 MiB, aligned      loops with non-temporal stores
//   else                                                   the same loops with ordinary ones
//
// An ordinary store reads the line first and pushes others out; where nobody can read the result from the cache
// anyway, that is a third of a copy's traffic for nothing. Both forms are in the code, because only a
// launch knows its size. Non-temporal stores are not ordered with others: a fence ends the function.
#include "compiler/cpu/cpu.h"

enum { STREAM_LOG_ELEMENTS = 9, STREAM_BYTES = 32 << 20 };

bool op_is_once(const Op *op)
{
    for (; op; op = op->parent->owner)
        if (op->kind == OP_FOR || op->kind == OP_WHILE) return false;
    return true;
}

bool store_may_stream(const Cx *cx, const Op *store)
{
    const Type *t = store->in[0]->type;
    return op_is_once(store) && log_numel(t) >= STREAM_LOG_ELEMENTS &&
           affine_contiguity_flat(cx->affine, store->in[0]) >= t->numel;
}

LLVMValueRef launch_is_large(Cx *cx, const Type *pointers)
{
    LLVMValueRef n = const_i64(cx, pointers->numel * dtype_bytes(pointers->dtype));
    at_depth(cx, 0);
    for (int32_t axis = 0; axis < 3; axis++)
        n = LLVMBuildMul(cx->b, n, LLVMBuildZExt(cx->b, cx->n_programs[axis], cx->i64, ""), "");
    return LLVMBuildICmp(cx->b, LLVMIntUGE, n, const_i64(cx, STREAM_BYTES), "");
}

LLVMValueRef store_streams(Cx *cx, Op *store)
{
    Chunk zero = chunk_zero();
    LLVMValueRef at = eval_here(cx, store->in[0], &zero),
                 large = launch_is_large(cx, store->in[0]->type);
    at = LLVMBuildAnd(cx->b, LLVMBuildPtrToInt(cx->b, at, cx->i64, ""),
                      const_i64(cx, cx->isa->vector_bytes - 1), "");
    LLVMValueRef aligned = LLVMBuildICmp(cx->b, LLVMIntEQ, at, const_i64(cx, 0), "");
    return LLVMBuildAnd(cx->b, large, aligned, "");
}

void store_past_caches(Cx *cx, LLVMValueRef store)
{
    LLVMValueRef one = LLVMConstInt(cx->i32, 1, false);
    LLVMMetadataRef node = LLVMValueAsMetadata(one);
    unsigned kind = LLVMGetMDKindIDInContext(cx->c, "nontemporal", 11);
    LLVMSetMetadata(store, kind, LLVMMetadataAsValue(cx->c, LLVMMDNodeInContext2(cx->c, &node, 1)));
    LLVMSetAlignment(store, (unsigned)cx->isa->vector_bytes);
}
