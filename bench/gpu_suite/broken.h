// bench/gpu_suite/broken.h - modules that break a rule on purpose, for checkers to find.
#ifndef BENCH_GPU_SUITE_BROKEN_H
#define BENCH_GPU_SUITE_BROKEN_H
#include "runtime/device.h"

struct Suite;

/// Runs the module `name` once: load-past-end store-past-end misaligned missing-barrier, or none.
MUST_USE KilnStatus broken_run(struct Suite *s, const char *name);
#endif
