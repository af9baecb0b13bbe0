// tests/runtime/hand_made.h - kernels written in C, so that launches and graphs are tested without the compiler.
#ifndef TESTS_RUNTIME_HAND_MADE_H
#define TESTS_RUNTIME_HAND_MADE_H
#include <stdio.h>

#include "runtime/launch.h"

/// A description of `n` parameters, laid out as CUDA does.
static inline Code code_of(const char *name, int32_t n, const CodeParam *params)
{
    Code c = {.target = {.kind = TARGET_CPU}, .n_params = n};
    snprintf(c.entry, sizeof c.entry, "%s", name);
    for (int32_t i = 0; i < n; i++) {
        c.params[i] = params[i];
        c.params[i].bytes = params[i].kind == SPEC_PTR ? 8 : dtype_bytes(params[i].dtype);
        c.params[i].offset = c.args_bytes = (int32_t)round_up(c.args_bytes, c.params[i].bytes);
        c.args_bytes += c.params[i].bytes;
        if (!c.params[i].divisible) c.params[i].divisible = 1;
    }
    return c;
}

/// A CPU device with a cache that is never asked to compile.
typedef struct Bench {
    Device *dev;
    KernelCache *cache;
} Bench;

static inline Bench bench_open(int32_t n_threads)
{
    Bench b = {0};
    DeviceOptions o = {.name = "cpu", .n_threads = n_threads, .guard = true};
    if (device_open(&o, &b.dev, NULL) != KILN_OK) BUG("no device");
    if (kernel_cache_open(b.dev, &(KernelCacheOptions){0}, &b.cache, NULL) != KILN_OK)
        BUG("no cache");
    return b;
}

static inline void bench_close(Bench *b)
{
    kernel_cache_close(b->cache);
    device_close(b->dev);
}

static inline Kernel *bench_kernel(Bench *b, const char *name, KernelEntry entry, int32_t n,
                                   const CodeParam *params)
{
    Kernel *k;
    Code c = code_of(name, n, params);
    if (kernel_from_entry(b->cache, &c, entry, &k, NULL) != KILN_OK) BUG("no kernel");
    return k;
}

static inline void *bench_memory(Bench *b, size_t bytes)
{
    void *at;
    if (device_alloc(b->dev, bytes, "test", &at, NULL) != KILN_OK) BUG("no memory");
    return at;
}
#endif
