// base/random.h - a seeded generator for tests, tuning and benches (splitmix64); never for security.
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H
#include "base/base.h"

typedef struct Random {
    uint64_t state;
} Random;

static inline uint64_t random_u64(Random *r)
{
    uint64_t z = (r->state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}
/// Uniform in [0, n), n >= 1.
static inline int64_t random_below(Random *r, int64_t n)
{
    return (int64_t)(random_u64(r) % (uint64_t)n);
}
/// Uniform in [0, 1).
static inline double random_unit(Random *r)
{
    return (double)(random_u64(r) >> 11) * 0x1p-53;
}
/// Standard normal, by the sum of twelve uniforms: cheap, and the same bits everywhere.
static inline double random_normal(Random *r)
{
    double s = -6;
    for (int i = 0; i < 12; i++)
        s += random_unit(r);
    return s;
}
#endif
