// tests/compiler/gpu/lab.h - kernel text, launched on the emulator over buffers of int32: what it
// reports, as its user reads it, and what it counts.
#ifndef TESTS_COMPILER_GPU_LAB_H
#define TESTS_COMPILER_GPU_LAB_H
#include <criterion/criterion.h>

#include "compiler/compile.h"

enum { LAB_ARGS = 6 };

typedef struct LabArg {
    int32_t *data; ///< NULL: an integer argument
    int32_t n;     ///< elements of `data`
    int64_t value;
    const char *name; ///< of the memory, in reports; NULL: data is a view of an argument before it
} LabArg;

typedef struct LabRun {
    KilnStatus st;
    ImageCounters counters;
    char report[4096]; ///< all diagnostics, as printed
} LabRun;

/// Runs `spec` of the kernel text `source` (named kernel.py) over `grid` programs, `n_runs` launches
/// one after the other of one image.
LabRun lab_run_kernel(const char *target, const char *source, const char *spec, Grid grid,
                      int32_t n_args, const LabArg *args, int32_t n_runs);
#endif
