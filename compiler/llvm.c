// compiler/llvm.c - see llvm.h.
#include "compiler/llvm.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <time.h>

#include <llvm-c/Analysis.h>
#include <llvm-c/DebugInfo.h>
#include <llvm-c/Error.h>
#include <llvm-c/ErrorHandling.h>
#include <llvm-c/Support.h>
#include <llvm-c/Transforms/PassBuilder.h>

/// The guard of the running step on this thread, and what LLVM said. LLVM's fatal handler takes no user
/// pointer, so this is the one place that needs a thread-local.
typedef struct Net {
    jmp_buf back;
    char reason[256];
} Net;

static _Thread_local Net *net;

static void on_fatal(const char *reason)
{
    if (!net) return; // outside any guard LLVM ends the process, as it would without us
    snprintf(net->reason, sizeof net->reason, "%s", reason);
    longjmp(net->back, 1);
}

static void setup_once(void)
{
#ifdef KILN_LLVM_AARCH64
    LLVMInitializeAArch64TargetInfo();
    LLVMInitializeAArch64Target();
    LLVMInitializeAArch64TargetMC();
    LLVMInitializeAArch64AsmPrinter();
#endif
#ifdef KILN_LLVM_X86
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
#endif
    LLVMInitializeNVPTXTargetInfo();
    LLVMInitializeNVPTXTarget();
    LLVMInitializeNVPTXTargetMC();
    LLVMInitializeNVPTXAsmPrinter();
    const char *options[] = {
        "kiln", "-nvptx-short-ptr"}; // 32-bit shared pointers; before any target machine
    LLVMParseCommandLineOptions(COUNT_OF(options), options, "");
    LLVMInstallFatalErrorHandler(on_fatal);
}

void llvm_setup(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, setup_once);
}

static int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void on_diagnostic(LLVMDiagnosticInfoRef info, void *user)
{
    LlvmCx *cx = user;
    if (LLVMGetDiagInfoSeverity(info) != LLVMDSError || cx->error[0]) return;
    char *text = LLVMGetDiagInfoDescription(info);
    snprintf(cx->error, sizeof cx->error, "%s", text);
    LLVMDisposeMessage(text);
}

KilnStatus llvm_open(const char *name, const LlvmTarget *target, LlvmCx *out, Diag *diag)
{
    llvm_setup();
    *out = (LlvmCx){.diag = diag};
    LLVMTargetRef t = NULL;
    char *why = NULL;
    if (LLVMGetTargetFromTriple(target->triple, &t, &why)) {
        KilnStatus st =
            fail_hint(diag, KILN_ERR_UNSUPPORTED, "K130",
                      "builds with -DKILN_CROSS=ON make code for AArch64 and x86-64 alike",
                      "this build makes no code for %s: %s", target->triple, why);
        LLVMDisposeMessage(why);
        return st;
    }
    out->machine = LLVMCreateTargetMachine(
        t, target->triple, target->cpu ? target->cpu : "", target->features ? target->features : "",
        LLVMCodeGenLevelAggressive, target->is_pic ? LLVMRelocPIC : LLVMRelocDefault,
        LLVMCodeModelDefault);
    if (!out->machine)
        return fail(diag, KILN_ERR_UNSUPPORTED, "K130", "LLVM makes no code for %s",
                    target->triple);
    out->context = LLVMContextCreate();
    LLVMContextSetDiagnosticHandler(out->context, on_diagnostic, out);
    out->module = LLVMModuleCreateWithNameInContext(name, out->context);
    out->builder = LLVMCreateBuilderInContext(out->context);
    out->layout = LLVMCreateTargetDataLayout(out->machine);
    LLVMSetTarget(out->module, target->triple);
    LLVMSetModuleDataLayout(out->module, out->layout);
    return KILN_OK;
}

void llvm_close(LlvmCx *cx)
{
    if (!cx->is_poisoned) { // after a fatal error only the parts outside the context are safe to free
        if (cx->builder) LLVMDisposeBuilder(cx->builder);
        if (cx->module) LLVMDisposeModule(cx->module);
        if (cx->context) LLVMContextDispose(cx->context);
        if (cx->layout) LLVMDisposeTargetData(cx->layout);
        if (cx->machine) LLVMDisposeTargetMachine(cx->machine);
    }
    *cx = (LlvmCx){0};
}

KilnStatus llvm_guard(LlvmCx *cx, KilnStatus (*step)(void *user), void *user)
{
    Net mine, *outer = net;
    mine.reason[0] = 0;
    if (setjmp(mine.back)) {
        net = outer;
        cx->is_poisoned = true;
        diag_add(cx->diag, DIAG_ERROR, "E9999", NO_SPAN, "internal error in LLVM: %s", mine.reason);
        return KILN_ERR_UNSUPPORTED;
    }
    net = &mine;
    KilnStatus st = step(user);
    net = outer;
    return st;
}

typedef struct PassStep {
    LlvmCx *cx;
    const char *pipeline;
} PassStep;

static KilnStatus run_passes(void *user)
{
    PassStep *s = user;
    LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
    LLVMErrorRef error = LLVMRunPasses(s->cx->module, s->pipeline, s->cx->machine, options);
    LLVMDisposePassBuilderOptions(options);
    if (!error) return KILN_OK;
    char *text = LLVMGetErrorMessage(error);
    diag_add(s->cx->diag, DIAG_ERROR, "E9999", NO_SPAN, "internal error: passes `%s`: %s",
             s->pipeline, text);
    LLVMDisposeErrorMessage(text);
    return KILN_ERR_UNSUPPORTED;
}

KilnStatus llvm_passes(LlvmCx *cx, const char *pipeline)
{
    PassStep s = {cx, pipeline};
    int64_t begin = now_us();
    KilnStatus st = llvm_guard(cx, run_passes, &s);
    cx->us += now_us() - begin;
    return st;
}

KilnStatus llvm_verify(LlvmCx *cx)
{
    char *text = NULL;
    KilnStatus st = KILN_OK;
    if (LLVMVerifyModule(cx->module, LLVMReturnStatusAction, &text)) {
        diag_add(cx->diag, DIAG_ERROR, "E9999", NO_SPAN, "internal error: malformed LLVM IR: %s",
                 text);
        st = KILN_ERR_UNSUPPORTED;
    }
    LLVMDisposeMessage(text);
    return st;
}

typedef struct EmitStep {
    LlvmCx *cx;
    bool assembly;
    LLVMMemoryBufferRef bytes;
} EmitStep;

static KilnStatus run_emit(void *user)
{
    EmitStep *s = user;
    char *text = NULL;
    LLVMCodeGenFileType type = s->assembly ? LLVMAssemblyFile : LLVMObjectFile;
    if (LLVMTargetMachineEmitToMemoryBuffer(s->cx->machine, s->cx->module, type, &text,
                                            &s->bytes)) {
        diag_add(s->cx->diag, DIAG_ERROR, "E9999", NO_SPAN, "internal error: code generation: %s",
                 text);
        LLVMDisposeMessage(text);
        return KILN_ERR_UNSUPPORTED;
    }
    return KILN_OK;
}

KilnStatus llvm_emit(LlvmCx *cx, bool assembly, StrBuf *out)
{
    EmitStep s = {cx, assembly, NULL};
    int64_t begin = now_us();
    cx->error[0] = 0;
    KilnStatus st = llvm_guard(cx, run_emit, &s);
    cx->us += now_us() - begin;
    if (st != KILN_OK) return st;
    if (cx->error[0]) { // emission "succeeded", yet what it wrote is wrong
        diag_add(cx->diag, DIAG_ERROR, "E9999", NO_SPAN, "internal error: code generation: %s",
                 cx->error);
        st = KILN_ERR_UNSUPPORTED;
    } else {
        strbuf_add(out, LLVMGetBufferStart(s.bytes), LLVMGetBufferSize(s.bytes));
        if (out->failed)
            st = fail(cx->diag, KILN_ERR_NOMEM, "K102", "no memory for generated code");
    }
    LLVMDisposeMemoryBuffer(s.bytes);
    return st;
}

void llvm_print(LlvmCx *cx, StrBuf *out)
{
    char *text = LLVMPrintModuleToString(cx->module);
    strbuf_puts(out, text);
    LLVMDisposeMessage(text);
}

LLVMValueRef llvm_intrinsic(LlvmCx *cx, const char *name, unsigned n_types, LLVMTypeRef *types,
                            LLVMTypeRef *function_type)
{
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    if (!id) BUG("LLVM has no intrinsic %s", name);
    *function_type = LLVMIntrinsicGetType(cx->context, id, types, n_types);
    return LLVMGetIntrinsicDeclaration(cx->module, id, types, n_types);
}

void llvm_function_attribute(LlvmCx *cx, LLVMValueRef function, const char *key, const char *value)
{
    LLVMAttributeRef a = LLVMCreateStringAttribute(cx->context, key, (unsigned)strlen(key), value,
                                                   (unsigned)strlen(value));
    LLVMAddAttributeAtIndex(function, LLVMAttributeFunctionIndex, a);
}

void llvm_enum_attribute(LlvmCx *cx, LLVMValueRef function, unsigned index, const char *name,
                         uint64_t value)
{
    unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
    if (!kind) BUG("LLVM has no attribute %s", name);
    LLVMAddAttributeAtIndex(function, index, LLVMCreateEnumAttribute(cx->context, kind, value));
}

void llvm_loop_no_unroll(LlvmCx *cx, LLVMValueRef branch)
{
    LLVMContextRef c = cx->context;
    const char *text = "llvm.loop.unroll.disable";
    LLVMMetadataRef name = LLVMMDStringInContext2(c, text, strlen(text));
    LLVMMetadataRef no_unroll = LLVMMDNodeInContext2(c, &name, 1);
    LLVMMetadataRef temporary = LLVMTemporaryMDNode(c, NULL, 0);
    LLVMMetadataRef parts[] = {temporary, no_unroll};
    LLVMMetadataRef id = LLVMMDNodeInContext2(c, parts, 2);
    LLVMMetadataReplaceAllUsesWith(temporary,
                                   id); // the first operand of a loop id is the id itself
    LLVMSetMetadata(branch, LLVMGetMDKindIDInContext(c, "llvm.loop", 9),
                    LLVMMetadataAsValue(c, id));
}
