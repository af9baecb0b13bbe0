// compiler/gpu/words.c - elements of 8 and 16 bits in 32-bit words, cut out and put together.
//
//   word_part    x = trunc(word >> 16)
//   word_pack    {trunc(w), trunc(w >> 16)}  ==>  w             a word that was read as one stays one
//                {bf16(a), bf16(b)}          ==>  cvt.rn.bf16x2 one instruction rounds and packs
//                else                             shifts and ors, which ptxas makes PRMT
#include "compiler/gpu/lower.h"

LLVMValueRef word_part(Lower *lo, LLVMValueRef word, int32_t i, int32_t per, LLVMTypeRef type)
{
    LLVMTypeRef mem = gpu_memory_type(lo, type);
    int32_t bits = 32 / per;
    LLVMValueRef x = i ? LLVMBuildLShr(lo->b, word, const_i32(lo, i * bits), "") : word;
    LLVMTypeRef ints = LLVMIntTypeInContext(lo->c, (unsigned)bits);
    if (bits < 32) x = LLVMBuildTrunc(lo->b, x, ints, "");
    if (mem != ints) x = LLVMBuildBitCast(lo->b, x, mem, "");
    return gpu_from_memory(lo, x, type);
}

/// The word of which `v` is part `i`, `bits` wide; NULL: it was not cut out of one.
static LLVMValueRef word_of_part(const Lower *lo, LLVMValueRef v, int32_t i, int32_t bits)
{
    if (LLVMIsABitCastInst(v)) v = LLVMGetOperand(v, 0);
    if (!LLVMIsATruncInst(v)) return NULL;
    v = LLVMGetOperand(v, 0);
    if (i) {
        if (!LLVMIsAInstruction(v) || LLVMGetInstructionOpcode(v) != LLVMLShr) return NULL;
        LLVMValueRef by = LLVMGetOperand(v, 1);
        if (!LLVMIsAConstantInt(by) || LLVMConstIntGetZExtValue(by) != (unsigned)(i * bits))
            return NULL;
        v = LLVMGetOperand(v, 0);
    }
    return LLVMTypeOf(v) == lo->i32 ? v : NULL;
}

/// Both halves come from f32: one instruction rounds and packs them. @return NULL: they do not
static LLVMValueRef packed_floats(Lower *lo, const LLVMValueRef *v)
{
    LLVMValueRef x[2], bf16 = map_get(&lo->functions, STR("bf16"));
    bool half = LLVMTypeOf(v[0]) == lo->f16;
    if (!lo->cx->sm->has_bf16) return NULL;
    for (int32_t i = 0; i < 2; i++) {
        if (half) {
            if (!LLVMIsAFPTruncInst(v[i])) return NULL;
        } else if (!LLVMIsACallInst(v[i]) || LLVMGetCalledValue(v[i]) != bf16) {
            return NULL;
        }
        x[i] = LLVMGetOperand(v[i], 0);
        if (LLVMTypeOf(x[i]) != lo->f32) return NULL;
    }
    return half ? KILN2(lo, F16X2, x[1], x[0]) : KILN2(lo, BF16X2, x[1], x[0]);
}

LLVMValueRef word_pack(Lower *lo, int32_t n, const LLVMValueRef *v)
{
    int32_t bits = 32 / n;
    LLVMValueRef whole = word_of_part(lo, v[0], 0, bits);
    for (int32_t i = 1; i < n && whole; i++)
        if (word_of_part(lo, v[i], i, bits) != whole) whole = NULL;
    if (whole) return whole;
    if (n == 2) whole = packed_floats(lo, v);
    if (whole) return whole;
    for (int32_t i = 0; i < n; i++) {
        LLVMValueRef x = gpu_to_memory(lo, v[i]);
        if (LLVMTypeOf(x) == lo->f16) x = LLVMBuildBitCast(lo->b, x, lo->i16, "");
        if (LLVMTypeOf(x) == lo->f32) x = LLVMBuildBitCast(lo->b, x, lo->i32, "");
        if (n > 1) x = LLVMBuildZExt(lo->b, x, lo->i32, "");
        if (i) x = LLVMBuildShl(lo->b, x, const_i32(lo, i * bits), "");
        whole = i ? LLVMBuildOr(lo->b, whole, x, "") : x;
    }
    return whole;
}
