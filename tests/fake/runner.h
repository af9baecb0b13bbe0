// tests/fake/runner.h - lets the fake driver's kernels run: each in the emulator, from the same source.
//
//   runner_open --fake_hook--> launch of PTX text --found among those learnt--> the emulator's image
//
// The emulator runs the very module that goes to PTX, on the addresses that the fake driver gave out.
#ifndef TESTS_FAKE_RUNNER_H
#define TESTS_FAKE_RUNNER_H
#include "runtime/graph.h"

typedef struct Runner Runner;

/// @param target  "emu:sm_80"
Runner *runner_open(const char *target, const KernelCacheOptions *options);
/// Kernels of the CUDA device that may be launched from now on.
void runner_learn(Runner *r, const Kernel *k);
void runner_learn_graph(Runner *r, const Graph *g);
/// Launches that ran.
int64_t runner_n_launches(const Runner *r);
void runner_close(Runner *r);
#endif
