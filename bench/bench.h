// bench/bench.h - timing that can be compared: warm-up, rounds in turn, medians, ratios to a ceiling of the same run.
//
// Machines are noisy and drift, so every round runs each case once, and the ceiling too; a figure is the
// median over rounds, a ratio the median of that round's ratio.
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H
#include "runtime/kernel.h"

enum { BENCH_MAX_ROUNDS = 64 };

typedef struct BenchCase {
    const char *name;
    double bytes, flops; ///< moved and computed per run
    KilnStatus (*run)(void *user, Diag *diag);
    void *user;
    double seconds[BENCH_MAX_ROUNDS]; ///< per round
} BenchCase;

/// Runs each case `rounds` times in turn after one warm-up round.
MUST_USE KilnStatus bench_rounds(int32_t n, BenchCase *cases, int32_t rounds, Diag *diag);
double bench_median(int32_t n, const double *values);
/// Median over rounds of a.seconds / b.seconds.
double bench_ratio(const BenchCase *a, const BenchCase *b, int32_t rounds);
double bench_now(void);
#endif
