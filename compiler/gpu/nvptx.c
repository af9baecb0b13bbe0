// compiler/gpu/nvptx.c - LLVM's NVPTX target for one architecture.
#include "compiler/gpu/nvptx.h"

KilnStatus nvptx_open(const SmFacts *sm, LlvmCx *out, Diag *diag)
{
    LlvmTarget t = {.triple = "nvptx64-nvidia-cuda", .cpu = sm->cpu, .features = sm->features};
    return llvm_open("kiln", &t, out, diag);
}
