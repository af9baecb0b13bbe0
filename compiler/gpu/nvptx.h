// compiler/gpu/nvptx.h - where a lowered module goes: PTX text, or this host for the emulator.
#ifndef COMPILER_GPU_NVPTX_H
#define COMPILER_GPU_NVPTX_H
#include "compiler/gpu/gpu.h"
#include "compiler/llvm.h"

/// Passes before code generation: addresses, hoisting and unrolling are ours, so LLVM only tidies
/// (architecture.md 4).
#define NVPTX_PASSES "always-inline,function(sroa,early-cse,dce)"

/// A module for one architecture, PTX version as sm.def asks.
MUST_USE KilnStatus nvptx_open(const SmFacts *sm, LlvmCx *out, Diag *diag);
/// A module for this CPU.
MUST_USE KilnStatus emu_open(LlvmCx *out, Diag *diag);
#endif
