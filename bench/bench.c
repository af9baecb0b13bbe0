#include "bench/bench.h"

#include <stdlib.h>
#include <time.h>

double bench_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

KilnStatus bench_rounds(int32_t n, BenchCase *cases, int32_t rounds, Diag *diag)
{
    KilnStatus st = KILN_OK;
    for (int32_t r = -1; r < rounds; r++)
        for (int32_t i = 0; i < n; i++) {
            double begin = bench_now();
            TRY(cases[i].run(cases[i].user, diag));
            if (r >= 0) cases[i].seconds[r] = bench_now() - begin;
        }
done:
    return st;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_median(int32_t n, const double *values)
{
    double sorted[BENCH_MAX_ROUNDS];
    memcpy(sorted, values, (size_t)n * sizeof *sorted);
    qsort(sorted, (size_t)n, sizeof *sorted, by_value);
    return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

double bench_ratio(const BenchCase *a, const BenchCase *b, int32_t rounds)
{
    double ratio[BENCH_MAX_ROUNDS];
    for (int32_t i = 0; i < rounds; i++)
        ratio[i] = a->seconds[i] / b->seconds[i];
    return bench_median(rounds, ratio);
}
