// compiler/gpu/intrinsic.c - calls of kiln.<name>, and the one body that the target asks for.
//
//   define internal alwaysinline float @kiln.div(float %0, float %1)
//     NVPTX      call float asm "div.full.f32 $0, $1, $2;", "=f,f,f"
//     emulator   stores both in an array of i64, calls kiln_emu(op, array, result), loads the
//     result; an access that is only checked goes to kiln_touch(op, address, place)
//
// Everything else in the module is the same for both.
#include "compiler/gpu/lower.h"

#include <stdio.h>

static const Intrinsic rows[K_COUNT] = {
#define NVVM KIND_NVVM
#define ASM  KIND_ASM
#define SMEM KIND_SMEM
#define KILN(ID, NAME, RET, ARGS, KIND, TEXT, EMU, FLAGS)                                          \
    [K_##ID] = {NAME, RET, ARGS, KIND, TEXT, EMU_##EMU, FLAGS, 0},
#include "compiler/gpu/intrinsic.def"
#undef KILN
#undef NVVM
#undef ASM
#undef SMEM
};

static LLVMTypeRef letter_type(const Lower *lo, char letter)
{
    switch (letter) {
    case 'b':
        return lo->i1;
    case 'h':
        return lo->i16;
    case 'i':
        return lo->i32;
    case 'l':
        return lo->i64;
    case 'f':
        return lo->f32;
    case 'd':
        return lo->f64;
    case 'p':
        return lo->gptr;
    case 's':
        return lo->sptr;
    default:
        BUG("intrinsic letter '%c'", letter);
    }
}

/// Letters of inline assembly: 32-bit shared pointers and words are r, 64-bit ones l.
static char constraint(char letter)
{
    return letter == 'i' || letter == 's' ? 'r' : letter == 'p' ? 'l' : letter;
}

static LLVMTypeRef return_type(const Lower *lo, const char *ret)
{
    LLVMTypeRef types[8];
    uint32_t n = (uint32_t)strlen(ret);
    if (n == 0) return lo->nothing;
    if (n == 1) return letter_type(lo, ret[0]);
    for (uint32_t i = 0; i < n; i++)
        types[i] = letter_type(lo, ret[i]);
    return LLVMStructTypeInContext(lo->c, types, n, false);
}

static bool has_flag(const Intrinsic *row, char flag)
{
    return strchr(row->flags, flag) != NULL;
}

static bool has_place(const Lower *lo, const Intrinsic *row)
{
    return lo->cx->is_emu && has_flag(row, 'L');
}

static LLVMTypeRef function_type(const Lower *lo, const Intrinsic *row)
{
    LLVMTypeRef types[16];
    uint32_t n = (uint32_t)strlen(row->args);
    for (uint32_t i = 0; i < n; i++)
        types[i] = letter_type(lo, row->args[i]);
    if (has_place(lo, row)) types[n++] = lo->i64;
    return LLVMFunctionType(return_type(lo, row->ret), types, n, false);
}

static void add_flag(Lower *lo, LLVMValueRef call, const char *name)
{
    unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
    LLVMAddCallSiteAttribute(call, LLVMAttributeFunctionIndex,
                             LLVMCreateEnumAttribute(lo->c, kind, 0));
}

/// Ends the body with `value`, or a bare return.
static void finish(Lower *lo, const Intrinsic *row, LLVMValueRef value)
{
    if (row->ret[0])
        LLVMBuildRet(lo->b, value);
    else
        LLVMBuildRetVoid(lo->b);
}

static void body_nvvm(Lower *lo, const Intrinsic *row, LLVMValueRef f)
{
    LLVMValueRef args[16];
    uint32_t n = (uint32_t)strlen(row->args);
    for (uint32_t i = 0; i < n; i++)
        args[i] = LLVMGetParam(f, i);
    LLVMTypeRef type;
    LLVMValueRef callee = llvm_intrinsic(lo->ll, row->text, 0, NULL, &type);
    finish(lo, row, LLVMBuildCall2(lo->b, type, callee, args, n, ""));
}

static void body_asm(Lower *lo, const Intrinsic *row, LLVMValueRef f)
{
    char text[128];
    size_t at = 0, n_ret = strlen(row->ret), n = strlen(row->args);
    LLVMValueRef args[16];
    LLVMTypeRef types[16];
    for (size_t i = 0; i < n_ret; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s=%s%c", at ? "," : "",
                               has_flag(row, 'E') ? "&" : "", constraint(row->ret[i]));
    for (size_t i = 0; i < n; i++) {
        args[i] = LLVMGetParam(f, (unsigned)i);
        types[i] = LLVMTypeOf(args[i]);
        // Results that keep an old value where a predicate is false are tied to the first arguments
        // after it.
        bool tied = has_flag(row, 'T') && i >= 1 && i <= n_ret;
        if (tied)
            at += (size_t)snprintf(text + at, sizeof text - at, "%s%zu", at ? "," : "", i - 1);
        else
            at += (size_t)snprintf(text + at, sizeof text - at, "%s%c", at ? "," : "",
                                   constraint(row->args[i]));
    }
    if (has_flag(row, 'S')) snprintf(text + at, sizeof text - at, "%s~{memory}", at ? "," : "");
    LLVMTypeRef type = LLVMFunctionType(return_type(lo, row->ret), types, (unsigned)n, false);
    LLVMValueRef callee =
        LLVMGetInlineAsm(type, row->text, strlen(row->text), text, strlen(text), has_flag(row, 'S'),
                         false, LLVMInlineAsmDialectATT, false);
    LLVMValueRef call = LLVMBuildCall2(lo->b, type, callee, args, (unsigned)n, "");
    if (has_flag(row, 'C')) add_flag(lo, call, "convergent");
    finish(lo, row, call);
}

static void body_smem(Lower *lo)
{
    LLVMValueRef g = LLVMGetNamedGlobal(lo->ll->module, "kiln_shared");
    if (!g) {
        g = LLVMAddGlobalInAddressSpace(lo->ll->module, LLVMArrayType2(lo->i8, 0), "kiln_shared",
                                        3);
        LLVMSetLinkage(g, LLVMExternalLinkage);
        LLVMSetAlignment(g, 1024);
    }
    LLVMBuildRet(lo->b, g);
}

/// Any first-class value as 64 bits, and back.
static LLVMValueRef widen(Lower *lo, LLVMValueRef v)
{
    LLVMTypeRef t = LLVMTypeOf(v);
    switch (LLVMGetTypeKind(t)) {
    case LLVMPointerTypeKind:
        return LLVMBuildPtrToInt(lo->b, v, lo->i64, "");
    case LLVMFloatTypeKind:
        v = LLVMBuildBitCast(lo->b, v, lo->i32, "");
        break;
    case LLVMDoubleTypeKind:
        v = LLVMBuildBitCast(lo->b, v, lo->i64, "");
        break;
    default:
        break;
    }
    return LLVMBuildZExt(lo->b, v, lo->i64, "");
}

static LLVMValueRef narrow(Lower *lo, LLVMValueRef v, LLVMTypeRef t)
{
    switch (LLVMGetTypeKind(t)) {
    case LLVMPointerTypeKind:
        return LLVMBuildIntToPtr(lo->b, v, t, "");
    case LLVMFloatTypeKind:
        return LLVMBuildBitCast(lo->b, LLVMBuildTrunc(lo->b, v, lo->i32, ""), t, "");
    case LLVMDoubleTypeKind:
        return LLVMBuildBitCast(lo->b, v, t, "");
    default:
        return LLVMBuildTrunc(lo->b, v, t, "");
    }
}

/// Accesses are most of what emulated code asks for: a call without arrays.
static void body_touch(Lower *lo, const Intrinsic *row, LLVMValueRef f)
{
    LLVMTypeRef types[] = {lo->i64, lo->i64, lo->i64};
    LLVMTypeRef callee_type = LLVMFunctionType(lo->nothing, types, 3, false);
    LLVMValueRef callee = LLVMGetNamedFunction(lo->ll->module, "kiln_touch");
    if (!callee) callee = LLVMAddFunction(lo->ll->module, "kiln_touch", callee_type);
    LLVMValueRef args[] = {gpu_const_i64(lo, (int64_t)row->emu | (int64_t)row->imm << 16),
                           LLVMBuildPtrToInt(lo->b, LLVMGetParam(f, 0), lo->i64, ""),
                           LLVMGetParam(f, 1)};
    LLVMBuildCall2(lo->b, callee_type, callee, args, 3, "");
    LLVMBuildRetVoid(lo->b);
}

static void body_emu(Lower *lo, const Intrinsic *row, LLVMValueRef f)
{
    if (row->emu == EMU_SHARED || row->emu == EMU_CHECK_READ || row->emu == EMU_CHECK_WRITE) {
        body_touch(lo, row, f);
        return;
    }
    LLVMTypeRef ptr = LLVMPointerTypeInContext(lo->c, 0), types[] = {lo->i64, ptr, ptr};
    LLVMTypeRef callee_type = LLVMFunctionType(lo->nothing, types, 3, false);
    LLVMValueRef callee = LLVMGetNamedFunction(lo->ll->module, "kiln_emu");
    if (!callee) callee = LLVMAddFunction(lo->ll->module, "kiln_emu", callee_type);
    unsigned n = LLVMCountParams(f), n_ret = (unsigned)strlen(row->ret);
    LLVMValueRef in = LLVMBuildArrayAlloca(lo->b, lo->i64, const_i32(lo, MAX(n, 1)), "");
    LLVMValueRef out = LLVMBuildArrayAlloca(lo->b, lo->i64, const_i32(lo, MAX(n_ret, 1)), "");
    for (unsigned i = 0; i < n; i++) {
        LLVMValueRef index = const_i32(lo, i),
                     at = LLVMBuildGEP2(lo->b, lo->i64, in, &index, 1, "");
        LLVMBuildStore(lo->b, widen(lo, LLVMGetParam(f, i)), at);
    }
    LLVMValueRef args[] = {gpu_const_i64(lo, (int64_t)row->emu | (int64_t)row->imm << 16), in, out};
    LLVMBuildCall2(lo->b, callee_type, callee, args, 3, "");
    LLVMTypeRef result = return_type(lo, row->ret);
    LLVMValueRef value = n_ret > 1 ? LLVMGetUndef(result) : NULL;
    for (unsigned i = 0; i < n_ret; i++) {
        LLVMValueRef index = const_i32(lo, i),
                     at = LLVMBuildGEP2(lo->b, lo->i64, out, &index, 1, "");
        LLVMValueRef one =
            narrow(lo, LLVMBuildLoad2(lo->b, lo->i64, at, ""), letter_type(lo, row->ret[i]));
        value = n_ret == 1 ? one : LLVMBuildInsertValue(lo->b, value, one, i, "");
    }
    finish(lo, row, value);
}

static LLVMValueRef declare(Lower *lo, const Intrinsic *row)
{
    LLVMValueRef f = map_get(&lo->functions, str_of(row->name));
    if (f) return f;
    char *name = arena_printf(lo->cx->arena, "kiln.%s", row->name);
    f = LLVMAddFunction(lo->ll->module, name, function_type(lo, row));
    LLVMSetLinkage(f, LLVMInternalLinkage);
    llvm_enum_attribute(lo->ll, f, LLVMAttributeFunctionIndex,
                        lo->cx->is_emu ? "noinline" : "alwaysinline", 0);
    llvm_enum_attribute(lo->ll, f, LLVMAttributeFunctionIndex, "nounwind", 0);
    if (has_flag(row, 'C'))
        llvm_enum_attribute(lo->ll, f, LLVMAttributeFunctionIndex, "convergent", 0);
    map_put(lo->cx->arena, &lo->functions, str_of(arena_strdup(lo->cx->arena, row->name)), f);
    LLVMBasicBlockRef here = LLVMGetInsertBlock(lo->b);
    LLVMPositionBuilderAtEnd(lo->b, LLVMAppendBasicBlockInContext(lo->c, f, ""));
    if (lo->cx->is_emu)
        body_emu(lo, row, f);
    else if (row->kind == KIND_NVVM)
        body_nvvm(lo, row, f);
    else if (row->kind == KIND_ASM)
        body_asm(lo, row, f);
    else
        body_smem(lo);
    LLVMPositionBuilderAtEnd(lo->b, here);
    return f;
}

LLVMValueRef kiln_call_row(Lower *lo, const Intrinsic *row, LLVMValueRef *args)
{
    LLVMValueRef f = declare(lo, row), all[16];
    unsigned n = (unsigned)strlen(row->args);
    if (n) memcpy(all, args, sizeof *args * n);
    if (has_place(lo, row)) all[n++] = place_of(lo);
    LLVMValueRef call = LLVMBuildCall2(lo->b, function_type(lo, row), f, all, n, "");
    if (has_flag(row, 'C')) add_flag(lo, call, "convergent");
    return call;
}

LLVMValueRef kiln_call(Lower *lo, IntrinsicId id, int32_t n, LLVMValueRef *args)
{
    ASSERT((size_t)n == strlen(rows[id].args));
    (void)n;
    return kiln_call_row(lo, &rows[id], args);
}
