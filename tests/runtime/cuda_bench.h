// tests/runtime/cuda_bench.h - a CUDA device on the fake driver, and a kernel made by hand.
#ifndef TESTS_RUNTIME_CUDA_BENCH_H
#define TESTS_RUNTIME_CUDA_BENCH_H
#include <criterion/criterion.h>
#include <stdio.h>

#include "runtime/graph.h"
#include "tests/fake/fake.h"

typedef struct Bench {
    Device *dev;
    KernelCache *cache;
    Diag diag;
} Bench;

UNUSED static void bench_open(Bench *b, const char *name, const char *cache_dir)
{
    diag_init(&b->diag, heap_default());
    DeviceOptions o = {.name = name, .cuda_lib = FAKE_CUDA_LIB, .cublas_lib = FAKE_CUBLAS_LIB};
    cr_assert_eq(device_open(&o, &b->dev, &b->diag), KILN_OK, "%s", diag_first(&b->diag));
    KernelCacheOptions c = {.cache_dir = cache_dir};
    cr_assert_eq(kernel_cache_open(b->dev, &c, &b->cache, &b->diag), KILN_OK);
}

/// Closes everything; the driver must have nothing to object to.
UNUSED static void bench_close(Bench *b)
{
    kernel_cache_close(b->cache);
    device_close(b->dev);
    cr_expect_str_eq(fake_errors(), "");
    cr_expect_eq(fake_live(), 0);
    diag_reset(&b->diag);
    arena_reset(&b->diag.arena);
}

/// x[i] += 1 for n floats: what the hand-made kernel is said to do.
UNUSED static int hand_run(void *user, const FakeLaunch *l)
{
    struct {
        float *x;
        int32_t n;
    } args;
    int32_t *n_runs = user;
    memcpy(&args, l->args, 12);
    for (int32_t i = 0; i < args.n; i++)
        args.x[i] += 1;
    ++*n_runs;
    return 0;
}

UNUSED static const char hand_ptx[] =
    ".version 8.0\n.target %s\n.address_size 64\n"
    ".visible .entry kiln_hand(\n\t.param .u64 kiln_hand_param_0,\n"
    "\t.param .u32 kiln_hand_param_1\n)\n.reqntid 128, 1, 1\n"
    "{\n\tret;\n}\n";

/// A kernel of PTX made by hand, for this device.
UNUSED static KilnStatus hand_kernel(Bench *b, int32_t shared_bytes, Kernel **out)
{
    char text[512], target[24];
    target_text(&b->dev->facts.target, target);
    int n = snprintf(text, sizeof text, hand_ptx, target);
    Code code = {.target = b->dev->facts.target,
                 .entry = "kiln_hand",
                 .n_params = 2,
                 .args_bytes = 16, // rounded up, as the compiler does
                 .params = {{"x", SPEC_PTR, DTYPE_F32, 0, 8, 16, true},
                            {"n", SPEC_SCALAR, DTYPE_I32, 8, 4, 1, false}},
                 .num_warps = 4,
                 .shared_bytes = shared_bytes,
                 .bytes = (uint8_t *)text,
                 .size = (size_t)n};
    return kernel_from_code(b->cache, &code, out, &b->diag);
}

UNUSED static Kernel *hand(Bench *b)
{
    Kernel *k;
    cr_assert_eq(hand_kernel(b, 0, &k), KILN_OK, "%s", diag_first(&b->diag));
    return k;
}

UNUSED static KilnStatus add_one(Bench *b, Kernel *k, float *x, int32_t n)
{
    const Arg args[] = {arg_ptr("x", DTYPE_F32, x), arg_int("n", n)};
    return kernel_launch(k, grid_of(2, 1, 1), 2, args, &b->diag);
}

UNUSED static float *floats(Bench *b, int32_t n)
{
    void *at;
    cr_assert_eq(device_alloc(b->dev, (size_t)n * 4, "x", &at, &b->diag), KILN_OK);
    return at;
}
#endif
