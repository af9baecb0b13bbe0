// compiler/llvm.h - the door to LLVM-C: contexts, errors as KilnStatus, passes, object code.
//
//   llvm_open ---> context, module, builder, target machine          one compilation, one thread
//   (the back end builds IR)
//   llvm_guard --> runs a step under a net: LLVM's fatal errors come back as a status
//   llvm_passes    a light pipeline, named in LLVM's own text
//   llvm_emit      object file or assembly (PTX is assembly)
//   llvm_close --> everything goes; after a fatal error the context is left behind, since its state is unknown
//
// LLVM reports in three ways, and all of them end in a Diag here: LLVMErrorRef (bad pass pipeline), the context's
// diagnostics (severity error means the output is wrong even where emission says it succeeded), and
// report_fatal_error, which would end the process: its handler jumps back to the guard of the same thread.
//
// Threads  any number of contexts on any threads; a context belongs to one thread
#ifndef COMPILER_LLVM_H
#define COMPILER_LLVM_H
#include <llvm-c/Core.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>

#include "base/diag.h"

typedef struct LlvmCx {
    LLVMContextRef context;
    LLVMModuleRef module;
    LLVMBuilderRef builder;
    LLVMTargetMachineRef machine;
    LLVMTargetDataRef layout;
    Diag *diag;       ///< borrowed
    int64_t us;       ///< wall clock spent in llvm_passes and llvm_emit
    bool is_poisoned; ///< a fatal error was caught: the context must not be touched again
    char error[256];  ///< first error that the context's diagnostics reported; "" for none
} LlvmCx;

/// How a target machine is made. `features` in LLVM's form "+avx2,+fma"; NULL: none.
typedef struct LlvmTarget {
    const char *triple, *cpu, *features;
    bool is_pic;
} LlvmTarget;

/// Initialises LLVM's back ends once per process and the options they all need. llvm_open() calls it.
void llvm_setup(void);

/// A fresh context with an empty module named `name`, whose triple and data layout are the target's.
/// @param out  filled in; llvm_close() in every case
/// @return KILN_OK; KILN_ERR_UNSUPPORTED: this LLVM lacks the target (K130)
MUST_USE KilnStatus llvm_open(const char *name, const LlvmTarget *target, LlvmCx *out, Diag *diag);
/// A zeroed LlvmCx is fine.
void llvm_close(LlvmCx *cx);

/// Calls step(user). A fatal error of LLVM inside it becomes E9999 and poisons `cx`.
/// Locals of the caller that `step` changes through `user` keep their values.
/// @return what `step` returns, or KILN_ERR_UNSUPPORTED after a fatal error
MUST_USE KilnStatus llvm_guard(LlvmCx *cx, KilnStatus (*step)(void *user), void *user);

/// Runs a new-pass-manager pipeline over the module, under a guard.
MUST_USE KilnStatus llvm_passes(LlvmCx *cx, const char *pipeline);
/// Checks the module; a malformed one is our own mistake: E9999 with LLVM's text.
MUST_USE KilnStatus llvm_verify(LlvmCx *cx);
/// Appends the module as object file (`assembly` false) or text, under a guard.
MUST_USE KilnStatus llvm_emit(LlvmCx *cx, bool assembly, StrBuf *out);
/// Appends the module's IR.
void llvm_print(LlvmCx *cx, StrBuf *out);

/// A module-level intrinsic, e.g. llvm_intrinsic(cx, "llvm.fma", 1, &type).
LLVMValueRef llvm_intrinsic(LlvmCx *cx, const char *name, unsigned n_types, LLVMTypeRef *types,
                            LLVMTypeRef *function_type);
/// Adds `key`=`value` to a function.
void llvm_function_attribute(LlvmCx *cx, LLVMValueRef function, const char *key, const char *value);
/// Adds an enum attribute (nounwind, noalias, readonly, ...) at `index` (LLVMAttributeFunctionIndex or 1 + parameter).
void llvm_enum_attribute(LlvmCx *cx, LLVMValueRef function, unsigned index, const char *name,
                         uint64_t value);
/// Marks the loop whose back edge is `branch`: llvm.loop.unroll.disable.
void llvm_loop_no_unroll(LlvmCx *cx, LLVMValueRef branch);
#endif
