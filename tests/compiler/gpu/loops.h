// tests/compiler/gpu/loops.h - the kernels of pipeline.py, and modules taken through the GPU passes
// by hand, where a test wants to look inside.
#ifndef TESTS_COMPILER_GPU_LOOPS_H
#define TESTS_COMPILER_GPU_LOOPS_H
#include "compiler/compile.h"
#include "compiler/gpu/gpu.h"
#include "tests/compiler/gpu/harness.h"

/// Specialisations with one %d, the number of stages.
extern const char gemm_f16[], downward_i8[], pages_f16[], gemv_f16[], nested_f16[], stream_f32[],
    asked_f32[];
enum { LOOP_SPECS = 7 };
extern const char *const loop_specs[LOOP_SPECS];

/// What became of a kernel.
typedef struct Ran {
    Code code;
    ImageCounters counters;
    StrBuf after;
} Ran;

/// Compiles `spec` of pipeline.py, keeps its text after the pass `after` where that is not NULL, and
/// runs one program where `args` is not NULL. Fails the test on an error.
void run(const char *spec_words, const char *target_name, const char *after, int32_t n_args,
         const Arg *args, Ran *out);
void ran_free(Ran *r);
/// All diagnostics as text (owned by `diag`).
const char *rendered(Diag *diag);

typedef struct Built {
    Kernel k;
    GpuCx cx;
    Image image;
} Built;

/// `text` through all GPU passes for emu:sm_80, without the barrier of number `left_out`.
void build_text(Built *b, const char *text, int32_t left_out);
void built_free(Built *b);
/// Runs one program: pointers get the buffers, ints `number`.
KilnStatus run_built(Built *b, Buffer *buffers, int64_t number);
/// The tile IR of a kernel of pipeline.py, as GPU passes get it.
const char *common_text(Arena *a, const char *spec);
/// Data for every pointer of `fn`: floats, small codes, and page numbers that are all 0.
void make_buffers(Func *fn, Buffer *out, int32_t *n);
#endif
