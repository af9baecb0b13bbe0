// compiler/cpu/cpu.c - tile IR to a native function, and that to an object file.
//
//   void k(args, grid, first, n, tls)
//     entry:   arguments -> scalars (once), scratch buffers
//     program: for i in first .. first + n: program ids from i, then the kernel's body
//
// Passes are few, because values are placed where they belong as they are emitted: stack slots become
// registers (sroa), equal instructions merge (early-cse), dead ones go (dce). See llvm-notes: more passes
// took 20 times as long and gave no better code.
#include "compiler/cpu/cpu.h"

#include <llvm-c/Transforms/PassBuilder.h>

static void types_init(Cx *cx)
{
    LLVMContextRef c = cx->c;
    cx->i1 = LLVMInt1TypeInContext(c);
    cx->i8 = LLVMInt8TypeInContext(c);
    cx->i16 = LLVMInt16TypeInContext(c);
    cx->i32 = LLVMInt32TypeInContext(c);
    cx->i64 = LLVMInt64TypeInContext(c);
    cx->f32 = LLVMFloatTypeInContext(c);
    cx->f64 = LLVMDoubleTypeInContext(c);
    cx->ptr = LLVMPointerTypeInContext(c, 0);
}

static LLVMValueRef field_at(Cx *cx, LLVMValueRef base, int64_t offset, LLVMTypeRef t)
{
    LLVMValueRef at = const_i64(cx, offset);
    LLVMValueRef p = offset ? LLVMBuildGEP2(cx->b, cx->i8, base, &at, 1, "") : base;
    return LLVMBuildLoad2(cx->b, t, p, "");
}

/// Arguments lie at their natural alignment, in order.
static void load_arguments(Cx *cx, LLVMValueRef args)
{
    int64_t offset = 0;
    for (int32_t i = 0; i < cx->fn->n_params; i++) {
        Value *v = cx->fn->params[i].value;
        int32_t bytes = type_element_bytes(v->type);
        offset = round_up(offset, bytes);
        LLVMValueRef raw = field_at(cx, args, offset, memory_type(cx, v->type));
        info_of(cx, v)->scalar = from_memory(cx, v->type, raw);
        offset += bytes;
    }
}

/// x = i % gx, y = i / gx % gy, z = i / (gx gy), as i32.
static void program_ids(Cx *cx)
{
    LLVMValueRef extent[3], i = cx->pid;
    for (int32_t a = 0; a < 3; a++)
        extent[a] = LLVMBuildZExt(cx->b, cx->n_programs[a], cx->i64, "");
    for (int32_t a = 0; a < 3; a++) {
        LLVMValueRef here = a < 2 ? LLVMBuildURem(cx->b, i, extent[a], "") : i;
        cx->program[a] = LLVMBuildTrunc(cx->b, here, cx->i32, "");
        if (a < 2) i = LLVMBuildUDiv(cx->b, i, extent[a], "");
    }
}

static void function_begin(Cx *cx, const char *name)
{
    LLVMTypeRef params[] = {cx->ptr, cx->ptr, cx->i64, cx->i64, cx->ptr};
    LLVMTypeRef type = LLVMFunctionType(LLVMVoidTypeInContext(cx->c), params, 5, false);
    cx->function = LLVMAddFunction(cx->ll.module, name, type);
    llvm_enum_attribute(&cx->ll, cx->function, LLVMAttributeFunctionIndex, "nounwind", 0);
    llvm_function_attribute(&cx->ll, cx->function, "target-cpu", cx->isa->cpu);
    llvm_function_attribute(&cx->ll, cx->function, "tune-cpu", cx->isa->tune);
    if (cx->isa->features[0])
        llvm_function_attribute(&cx->ll, cx->function, "target-features", cx->isa->features);
    if (cx->isa->vector_bytes == 64)
        llvm_function_attribute(&cx->ll, cx->function, "prefer-vector-width", "512");
    cx->entry = LLVMAppendBasicBlockInContext(cx->c, cx->function, "entry");
    LLVMPositionBuilderAtEnd(cx->b, cx->entry);
    cx->grid = LLVMGetParam(cx->function, 1);
    cx->tls = LLVMGetParam(cx->function, 4);
    cx->dummy = stack_slot(cx, cx->i64, 8);
    cx->scratch = field_at(cx, cx->tls, offsetof(Tls, scratch), cx->ptr);
    for (int32_t a = 0; a < 3; a++)
        cx->n_programs[a] = field_at(cx, cx->grid, 4 * a, cx->i32);
    load_arguments(cx, LLVMGetParam(cx->function, 0));
}

static KilnStatus build(void *user)
{
    Cx *cx = user;
    LLVMValueRef first = LLVMGetParam(cx->function, 2), n = LLVMGetParam(cx->function, 3);
    LLVMValueRef last = LLVMBuildAdd(cx->b, first, n, "");
    LLVMBasicBlockRef program = LLVMAppendBasicBlockInContext(cx->c, cx->function, "program");
    LLVMBasicBlockRef done = LLVMAppendBasicBlockInContext(cx->c, cx->function, "done");
    cx->next_program = LLVMAppendBasicBlockInContext(cx->c, cx->function, "next");
    LLVMPositionBuilderAtEnd(cx->b, program);
    cx->pid = LLVMBuildPhi(cx->b, cx->i64, "");
    program_ids(cx);
    cx->at[0] = program;
    region_emit(cx, cx->fn->body);
    at_depth(cx, 0);
    if (!LLVMGetBasicBlockTerminator(cx->at[0])) LLVMBuildBr(cx->b, cx->next_program);
    LLVMPositionBuilderAtEnd(cx->b, cx->next_program);
    LLVMValueRef next = LLVMBuildAdd(cx->b, cx->pid, const_i64(cx, 1), "");
    LLVMBuildCondBr(cx->b, LLVMBuildICmp(cx->b, LLVMIntSLT, next, last, ""), program, done);
    LLVMPositionBuilderAtEnd(cx->b, cx->entry);
    LLVMBuildCondBr(cx->b, LLVMBuildICmp(cx->b, LLVMIntSLT, first, last, ""), program, done);
    LLVMAddIncoming(cx->pid, (LLVMValueRef[]){first, next},
                    (LLVMBasicBlockRef[]){cx->entry, cx->next_program}, 2);
    LLVMPositionBuilderAtEnd(cx->b, done);
    if (cx->needs_fence) LLVMBuildFence(cx->b, LLVMAtomicOrderingSequentiallyConsistent, false, "");
    LLVMBuildRetVoid(cx->b);
    return cx->st;
}

static KilnStatus code_bytes(Code *out, StrBuf *object, Diag *diag)
{
    out->bytes = heap_array(heap_default(), uint8_t, object->len ? object->len : 1);
    if (!out->bytes) return fail(diag, KILN_ERR_NOMEM, "K102", "no memory for generated code");
    memcpy(out->bytes, object->data, object->len);
    out->size = object->len;
    return KILN_OK;
}

KilnStatus cpu_compile(Func *fn, const Target *target, const Emit *emit, Code *out, Diag *diag)
{
    KilnStatus st = KILN_OK;
    StrBuf object = {0};
    Arena arena;
    arena_init(&arena, heap_default());
    Cx *cx = arena_new(&arena, Cx);
    cx->arena = &arena;
    cx->diag = diag;
    cx->fn = fn;
    cx->isa = isa_of(target->cpu);
    cx->last_write = -1;
    if (!cx->isa)
        TRY(fail(diag, KILN_ERR_UNSUPPORTED, "K130",
                 "this build makes no code for the CPU level asked for"));
    TRY(llvm_open(fn->name, &(LlvmTarget){cx->isa->triple, cx->isa->cpu, cx->isa->features, true},
                  &cx->ll, diag));
    cx->c = cx->ll.context;
    cx->b = cx->ll.builder;
    types_init(cx);
    cx->affine = affine_new(&arena, fn);
    plan_function(cx);
    cx->group = group_new(&arena);
    function_begin(cx, out->entry[0] ? out->entry : fn->name);
    TRY(llvm_guard(&cx->ll, build, cx));
#ifdef KILN_ASSERTS
    TRY(llvm_verify(&cx->ll));
#endif
    TRY(llvm_passes(&cx->ll, "function(sroa,early-cse,dce)"));
    if (emit && emit->llvm) llvm_print(&cx->ll, emit->llvm);
    if (emit && emit->assembly) TRY(llvm_emit(&cx->ll, true, emit->assembly));
    TRY(llvm_emit(&cx->ll, false, &object));
    TRY(code_bytes(out, &object, diag));
    out->scratch_bytes = round_up(cx->scratch_max, 64);
    out->llvm_us = cx->ll.us;
done:
    llvm_close(&cx->ll);
    strbuf_free(&object);
    arena_reset(&arena);
    return st;
}
