// compiler/cpu/types.c - LLVM types and constants of tile elements, and the level table.
//
// f16, bf16 and fp8 are computed as f32 whose value the narrow type holds exactly: loading widens, an
// operation computes in f32 and rounds once, storing drops zero bits.
#include <stdarg.h>

#include "compiler/cpu/cpu.h"

static const Isa levels[] = {
#define ISA(LEVEL, text, triple, cpu, tune, features, bytes, registers, facts)                     \
    {LEVEL, text, triple, cpu, tune, features, bytes, registers, facts},
#include "compiler/cpu/isa.def"
#undef ISA
};

const Isa *isa_of(CpuLevel level)
{
    for (int32_t i = 0; i < COUNT_OF(levels); i++)
        if (levels[i].level == level) return &levels[i];
    return NULL;
}

void cpu_error(Cx *cx, KilnStatus st, const char *code, Span span, const char *fmt, ...)
{
    if (cx->st != KILN_OK) return;
    cx->st = st;
    va_list args;
    va_start(args, fmt);
    diag_add(cx->diag, DIAG_ERROR, code, span, "%s", arena_vprintf(cx->arena, fmt, args));
    va_end(args);
}

LLVMTypeRef dtype_type(Cx *cx, DType t)
{
    switch (t) {
    case DTYPE_I1:
        return cx->i1;
    case DTYPE_I8:
    case DTYPE_U8:
        return cx->i8;
    case DTYPE_I16:
    case DTYPE_U16:
        return cx->i16;
    case DTYPE_I32:
    case DTYPE_U32:
        return cx->i32;
    case DTYPE_I64:
    case DTYPE_U64:
        return cx->i64;
    case DTYPE_F64:
        return cx->f64;
    default:
        return cx->f32;
    }
}

LLVMTypeRef elem_type(Cx *cx, const Type *t)
{
    return t->is_ptr ? cx->ptr : dtype_type(cx, t->dtype);
}

LLVMTypeRef memory_type(Cx *cx, const Type *t)
{
    if (t->is_ptr) return cx->ptr;
    switch (t->dtype) {
    case DTYPE_I1:
    case DTYPE_F8E4M3:
    case DTYPE_F8E5M2:
        return cx->i8;
    case DTYPE_F16:
    case DTYPE_BF16:
        return cx->i16;
    default:
        return dtype_type(cx, t->dtype);
    }
}

LLVMTypeRef vector_of(LLVMTypeRef elem, int32_t log_w)
{
    return log_w ? LLVMVectorType(elem, 1u << log_w) : elem;
}

int32_t lanes_of(LLVMTypeRef t)
{
    return LLVMGetTypeKind(t) == LLVMVectorTypeKind ? (int32_t)LLVMGetVectorSize(t) : 1;
}

LLVMTypeRef scalar_of(LLVMTypeRef t)
{
    return LLVMGetTypeKind(t) == LLVMVectorTypeKind ? LLVMGetElementType(t) : t;
}

LLVMTypeRef type_like(LLVMTypeRef like, LLVMTypeRef elem)
{
    return LLVMGetTypeKind(like) == LLVMVectorTypeKind
               ? LLVMVectorType(elem, LLVMGetVectorSize(like))
               : elem;
}

/// `x` in every lane of `t`.
static LLVMValueRef const_splat(LLVMTypeRef t, LLVMValueRef x)
{
    if (LLVMGetTypeKind(t) != LLVMVectorTypeKind) return x;
    LLVMValueRef lanes[PLACE_MAX_LANES];
    unsigned n = LLVMGetVectorSize(t);
    for (unsigned i = 0; i < n; i++)
        lanes[i] = x;
    return LLVMConstVector(lanes, n);
}

LLVMValueRef const_int(LLVMTypeRef t, int64_t x)
{
    return const_splat(t, LLVMConstInt(scalar_of(t), (uint64_t)x, true));
}

LLVMValueRef const_real(LLVMTypeRef t, double x)
{
    return const_splat(t, LLVMConstReal(scalar_of(t), x));
}

LLVMValueRef const_i64(Cx *cx, int64_t x)
{
    return LLVMConstInt(cx->i64, (uint64_t)x, true);
}

bool is_all_ones(LLVMValueRef v)
{
    return LLVMIsConstant(v) && v == LLVMConstAllOnes(LLVMTypeOf(v));
}

bool is_zero(LLVMValueRef v)
{
    return LLVMIsConstant(v) && LLVMIsNull(v);
}

LLVMValueRef shuffle(Cx *cx, LLVMValueRef x, LLVMValueRef y, int32_t n, const int32_t *lanes)
{
    LLVMValueRef mask[PLACE_MAX_LANES * 2];
    for (int32_t i = 0; i < n; i++)
        mask[i] = LLVMConstInt(cx->i32, (uint64_t)(uint32_t)lanes[i], false);
    return LLVMBuildShuffleVector(cx->b, x, y ? y : LLVMGetPoison(LLVMTypeOf(x)),
                                  LLVMConstVector(mask, (unsigned)n), "");
}

LLVMValueRef splat(Cx *cx, LLVMValueRef scalar, int32_t log_w)
{
    if (!log_w) return scalar;
    LLVMTypeRef t = vector_of(LLVMTypeOf(scalar), log_w);
    if (LLVMIsConstant(scalar) && !LLVMIsAConstantExpr(scalar)) return const_splat(t, scalar);
    LLVMValueRef one = LLVMBuildInsertElement(cx->b, LLVMGetPoison(t), scalar,
                                              LLVMConstInt(cx->i32, 0, false), "");
    int32_t zeros[PLACE_MAX_LANES] = {0};
    return shuffle(cx, one, NULL, 1 << log_w, zeros);
}

LLVMValueRef call_intrinsic(Cx *cx, const char *name, LLVMTypeRef overload, int32_t n,
                            LLVMValueRef *args)
{
    LLVMTypeRef type;
    LLVMValueRef f = llvm_intrinsic(&cx->ll, name, overload ? 1 : 0, &overload, &type);
    return LLVMBuildCall2(cx->b, type, f, args, (unsigned)n, "");
}

LLVMValueRef stack_slot(Cx *cx, LLVMTypeRef t, int32_t align)
{
    LLVMBasicBlockRef here = LLVMGetInsertBlock(cx->b);
    LLVMValueRef first = LLVMGetFirstInstruction(cx->entry);
    if (first)
        LLVMPositionBuilderBefore(cx->b, first);
    else
        LLVMPositionBuilderAtEnd(cx->b, cx->entry);
    LLVMValueRef slot = LLVMBuildAlloca(cx->b, t, "");
    LLVMSetAlignment(slot, (unsigned)align);
    LLVMPositionBuilderAtEnd(cx->b, here);
    return slot;
}
