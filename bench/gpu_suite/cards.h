// bench/gpu_suite/cards.h - which cases of a card are stored and run.
#ifndef BENCH_GPU_SUITE_CARDS_H
#define BENCH_GPU_SUITE_CARDS_H
#include <stdio.h>

#include "bench/gpu_suite/pack.h"
#include "runtime/model.h"

static inline uint64_t suite_seed(int32_t i)
{
    return 7000 + (uint64_t)i;
}
#endif
