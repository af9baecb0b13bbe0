// tests/compiler/gpu/harness.h - a kernel as tile text, run by the interpreter and by the emulator
// on equal data, and assembled for every architecture where a toolkit is present.
#ifndef TESTS_COMPILER_GPU_HARNESS_H
#define TESTS_COMPILER_GPU_HARNESS_H
#include <criterion/criterion.h>

#include "base/random.h"
#include "compiler/backend.h"
#include "compiler/interp/interp.h"
#include "ir/pass.h"
#include "ir/text.h"
#include "tests/support/ptxas.h"

typedef struct Kernel {
    Arena arena;
    Diag diag;
    Module *module;
    Func *fn;
    Code code;
    StrBuf ptx, layout, llvm;
} Kernel;

/// Parses `text`, runs the common passes. The last function of the module is the kernel.
void kernel_open(Kernel *k, const char *text);
void kernel_close(Kernel *k);
/// Compiles for "sm_80", "emu:sm_80" ... @return what gpu_compile says
KilnStatus kernel_compile(Kernel *k, const char *target);
/// All diagnostics as text (owned by the kernel's arena).
const char *kernel_messages(Kernel *k);

typedef struct Buffer {
    DType dtype;
    int64_t n;
    void *data; ///< n elements, 64-byte aligned, exactly allocated
} Buffer;

Buffer buffer_new(DType t, int64_t n);
void buffer_free(Buffer *b);
void buffer_random(Buffer *b, uint64_t seed, double low, double high);

/// One argument of a launch: a buffer, or a scalar.
typedef struct Arg {
    Buffer *buffer;
    int64_t i;
    double f;
} Arg;

/// Runs `text` on `target` ("interp" or "emu:sm_80") over the whole grid.
KilnStatus launch(const char *text, const char *target, int32_t n_args, const Arg *args, Grid grid,
                  char *messages, size_t size);
/// Runs on both and compares every buffer, |a - b| <= absolute + relative * |b|.
void expect_agreement(const char *name, const char *text, int32_t n_args, Arg *args, Grid grid,
                      double relative, double absolute);
/// PTX for all five architectures is accepted by ptxas (where present). @return registers at sm_80;
/// spills are failures unless `may_spill`
int32_t expect_assembles(const char *name, const char *text, bool may_spill);
#endif
