// tests/runtime/test_cuda_faults.c - what the CUDA device does when the driver says no, and products by the
// library.
#include <math.h>
#include <stdlib.h>

#include "base/random.h"
#include "tests/runtime/cuda_bench.h"

TestSuite(cuda_faults, .init = fake_reset, .timeout = 60);

// ---- faults -----------------------------------------------------------------------------------

Test(cuda_faults, a_fault_names_its_kernel_and_later_calls_come_back_at_once)
{
    Bench b;
    DeviceEvent *e, *f;
    void *more;
    float x[4] = {5, 5, 5, 5};
    double us;
    bench_open(&b, "cuda", NULL);
    float *at = floats(&b, 4);
    Kernel *k = hand(&b), *other;
    cr_assert_eq(device_event_new(b.dev, &e, NULL), KILN_OK);
    fake_fail("run/kiln_hand", 1, 700);
    cr_expect_eq(add_one(&b, k, at, 4), KILN_OK, "queued");
    device_download(b.dev, x, at, sizeof x);
    cr_expect_eq(x[0], 0, "what could not be read is zero");
    cr_expect_eq(device_check(b.dev, &b.diag), KILN_ERR_DEVICE);
    cr_expect_str_eq(b.diag.items.data[0]->code, "K304");
    cr_expect_str_eq(diag_first(&b.diag),
                     "cuda:0: kernel kiln_hand brought the GPU's context down: an illegal memory "
                     "access was encountered (CUDA_ERROR_ILLEGAL_ADDRESS, 700)");
    fake_clear_log();
    cr_expect_eq(add_one(&b, k, at, 4), KILN_ERR_DEVICE);
    cr_expect_eq(device_alloc(b.dev, 4, "more", &more, NULL), KILN_ERR_DEVICE);
    cr_expect_eq(device_sync(b.dev, NULL), KILN_ERR_DEVICE);
    cr_expect_eq(hand_kernel(&b, 0, &other), KILN_ERR_DEVICE);
    cr_expect_eq(device_event_new(b.dev, &f, NULL), KILN_ERR_DEVICE);
    device_event_record(e);
    cr_expect_eq(device_event_us(e, e, &us, NULL), KILN_ERR_DEVICE);
    device_upload(b.dev, at, x, sizeof x);
    device_copy(b.dev, at, at + 2, 8);
    device_free(b.dev, at);
    cr_expect_str_eq(fake_log(), "", "nothing reaches the driver any more");
    device_event_free(e);
    kernel_cache_close(b.cache);
    device_close(b.dev);
    cr_expect_eq(fake_count("cuDevicePrimaryCtxRelease_v2"), 1);
    cr_expect_str_eq(fake_errors(), "");
    arena_reset(&b.diag.arena);
}

Test(cuda_faults, a_call_that_fails_is_said_once_and_the_device_goes_on)
{
    Bench b;
    float x[4];
    bench_open(&b, "cuda", NULL);
    float *at = floats(&b, 4);
    Kernel *k = hand(&b);
    fake_fail("cuLaunchKernelEx", 1, 701);
    cr_expect_eq(add_one(&b, k, at, 4), KILN_ERR_DEVICE);
    cr_expect_str_eq(b.diag.items.data[0]->code, "K303");
    cr_expect_not_null(strstr(diag_first(&b.diag), "the launch of kiln_hand failed: too many"));
    cr_expect_eq(add_one(&b, k, at, 4), KILN_OK);
    fake_fail("cuMemcpyHtoDAsync_v2", 1, 1);
    device_upload(b.dev, at, x, sizeof x);
    cr_expect_eq(device_check(b.dev, NULL), KILN_ERR_DEVICE);
    cr_expect_eq(device_check(b.dev, NULL), KILN_OK);
    bench_close(&b);
}

/// Whatever call fails, with whatever error: no crash, no objection, nothing left alive.
Test(cuda_faults, any_call_may_fail_with_any_error)
{
    const char *const calls[] = {
        "cuDeviceGetCount",     "cuDeviceGet",          "cuDevicePrimaryCtxRetain",
        "cuCtxPushCurrent_v2",  "cuStreamCreate",       "cuMemHostAlloc",
        "cuEventCreate",        "cuMemAllocAsync",      "cuMemsetD8Async",
        "cuMemcpyHtoDAsync_v2", "cuMemcpyDtoHAsync_v2", "cuMemGetInfo_v2",
        "cuLinkCreate_v2",      "cuLinkAddData_v2",     "cuLinkComplete",
        "cuModuleLoadDataEx",   "cuModuleGetFunction",  "cuLaunchKernelEx",
        "cuStreamSynchronize",  "cuEventRecord",        "cuStreamEndCapture",
        "cuGraphLaunch",        "cublasLtCreate",       "cublasLtMatmulAlgoGetHeuristic"};
    const int32_t errors[] = {1, 2, 700};
    int32_t n_failed = 0;
    for (int32_t i = 0; i < COUNT_OF(calls) * COUNT_OF(errors) * 2; i++) {
        KilnStatus st = KILN_OK;
        Device *dev = NULL;
        KernelCache *cache = NULL;
        Graph *g = NULL;
        Diag diag;
        void *at = NULL;
        float x[4] = {0};
        diag_init(&diag, heap_default());
        fake_reset();
        fake_fail(calls[i / 6], i % 2 + 1, errors[i / 2 % 3]);
        TRY(device_open(&(DeviceOptions){.name = "cuda",
                                         .cuda_lib = FAKE_CUDA_LIB,
                                         .cublas_lib = FAKE_CUBLAS_LIB},
                        &dev, &diag));
        TRY(kernel_cache_open(dev, &(KernelCacheOptions){0}, &cache, &diag));
        Bench b = {.dev = dev, .cache = cache};
        Kernel *k;
        diag_init(&b.diag, heap_default());
        st = hand_kernel(&b, 0, &k);
        arena_reset(&b.diag.arena);
        if (st != KILN_OK) goto done;
        TRY(device_alloc(dev, 64, "x", &at, &diag));
        device_upload(dev, at, x, sizeof x);
        const Arg args[] = {arg_ptr("x", DTYPE_F32, at), arg_int("n", 4)};
        TRY(graph_new(dev, "g", &g, &diag));
        TRY(graph_launch(g, k, grid_of(1, 1, 1), 2, args, &diag));
        TRY(graph_finish(g, &diag));
        TRY(graph_run(g, &diag));
        TRY(graph_run_timed(g, NULL, &diag));
        device_download(dev, x, at, sizeof x);
        TRY(device_check(dev, &diag));
    done:
        n_failed += st != KILN_OK;
        graph_free(g);
        kernel_cache_close(cache);
        device_close(dev);
        cr_expect_str_empty(fake_errors(), "%s fails with %d: %s", calls[i / 6], errors[i / 2 % 3],
                            fake_errors());
        diag_reset(&diag);
        arena_reset(&diag.arena);
    }
    cr_expect_gt(n_failed, COUNT_OF(calls) * 3, "most failures are seen");
}

// ---- products by the library ------------------------------------------------------------------

static double at_of(DType t, const uint8_t *base, int64_t i)
{
    return dtype_load_f64(t, base + i * dtype_bytes(t));
}

Test(cuda_faults, a_product_by_the_library_is_a_node_that_gives_the_right_numbers)
{
    const struct {
        DType y, xw;
        double tolerance;
    } rows[] = {{DTYPE_F32, DTYPE_F32, 1e-5},
                {DTYPE_BF16, DTYPE_BF16, 1e-2},
                {DTYPE_F32, DTYPE_BF16, 1e-5},
                {DTYPE_F16, DTYPE_F16, 2e-3}};
    enum { M = 70, N = 96, K = 64 };
    for (int32_t row = 0; row < COUNT_OF(rows); row++) {
        fake_reset();
        Bench b;
        Graph *g;
        DType ty = rows[row].y, tx = rows[row].xw;
        GemmShape shape = {ty, tx, tx, M, N, K};
        uint8_t *x = calloc(M * K, 4), *w = calloc(N * K, 4), *y = calloc(M * N, 4);
        Random r = {7};
        for (int32_t i = 0; i < M * K; i++)
            dtype_store_f64(tx, x + i * dtype_bytes(tx), random_unit(&r) - 0.5);
        for (int32_t i = 0; i < N * K; i++)
            dtype_store_f64(tx, w + i * dtype_bytes(tx), random_unit(&r) - 0.5);
        bench_open(&b, "cuda", NULL);
        void *dx, *dw, *dy;
        size_t bx = (size_t)(M * K * dtype_bytes(tx)), bw = (size_t)(N * K * dtype_bytes(tx)),
               by = (size_t)(M * N * dtype_bytes(ty));
        cr_assert_eq(device_alloc(b.dev, bx, "x", &dx, NULL), KILN_OK);
        cr_assert_eq(device_alloc(b.dev, bw, "w", &dw, NULL), KILN_OK);
        cr_assert_eq(device_alloc(b.dev, by, "y", &dy, NULL), KILN_OK);
        device_upload(b.dev, dx, x, bx);
        device_upload(b.dev, dw, w, bw);
        const Gemm *gemm = device_gemm(b.dev, &shape);
        cr_assert_not_null(gemm);
        cr_expect_eq(device_gemm(b.dev, &shape), gemm, "planned once");
        cr_assert_eq(graph_new(b.dev, "product", &g, NULL), KILN_OK);
        int32_t t = graph_tensor(g, "t", by);
        cr_assert_eq(graph_gemm(g, gemm, &shape, arg_tensor("y", ty, t, 0), arg_ptr("x", tx, dx),
                                arg_ptr("w", tx, dw), NULL),
                     KILN_OK);
        cr_assert_eq(graph_copy(g, arg_ptr("y", ty, dy), arg_tensor("t", ty, t, 0), by, NULL),
                     KILN_OK);
        cr_assert_eq(graph_finish(g, &b.diag), KILN_OK, "%s", diag_first(&b.diag));
        cr_expect_eq(graph_n_gemms(g), 1);
        StrBuf text = {0};
        graph_text(g, &text);
        cr_expect_not_null(strstr(text.data, "gemm"));
        strbuf_free(&text);
        cr_expect_eq(graph_run(g, NULL), KILN_OK);
        device_download(b.dev, y, dy, by);
        double worst = 0;
        for (int32_t i = 0; i < M * N; i++) {
            double want = 0;
            for (int32_t k = 0; k < K; k++)
                want += at_of(tx, x, i / N * K + k) * at_of(tx, w, i % N * K + k);
            worst = fmax(worst, fabs(want - at_of(ty, y, i)));
        }
        cr_expect_leq(worst, rows[row].tolerance * 4, "row %d: %g", row, worst);
        cr_expect_eq(b.dev->counters.gemms, 1);
        cr_expect_eq(fake_count("cublasLtMatmul"), 1);
        cr_expect_not_null(strstr(fake_log(), "mode=2"), "the library may load its code");
        graph_free(g);
        bench_close(&b);
        free(x);
        free(w);
        free(y);
    }
}

Test(cuda_faults, small_shapes_mixed_types_and_a_missing_library_keep_our_own_kernels)
{
    const GemmShape shapes[] = {
        {DTYPE_BF16, DTYPE_BF16, DTYPE_BF16, 1, 4096, 4096},  // decode
        {DTYPE_BF16, DTYPE_BF16, DTYPE_BF16, 63, 4096, 4096}, // below the row's rows
        {DTYPE_F32, DTYPE_F32, DTYPE_BF16, 512, 4096, 4096},  // two types
        {DTYPE_F32, DTYPE_F32, DTYPE_I8, 512, 4096, 4096},    // quantised
        {DTYPE_F16, DTYPE_BF16, DTYPE_BF16, 512, 4096, 4096},
    };
    Bench b;
    bench_open(&b, "cuda", NULL);
    for (int32_t i = 0; i < COUNT_OF(shapes); i++)
        cr_expect_null(device_gemm(b.dev, &shapes[i]), "shape %d", i);
    GemmShape large = {DTYPE_BF16, DTYPE_BF16, DTYPE_BF16, 512, 4096, 4096};
    cr_expect_not_null(device_gemm(b.dev, &large));
    fake_fail("cublasLtMatmulAlgoGetHeuristic", 1, 15);
    large.m = 513;
    cr_expect_null(device_gemm(b.dev, &large), "the library does not know it");
    cr_expect_null(device_gemm(b.dev, &large), "and is not asked again");
    cr_expect_eq(fake_count("cublasLtMatmulAlgoGetHeuristic"), 2);
    bench_close(&b);
    Device *dev;
    cr_assert_eq(
        device_open(&(DeviceOptions){.name = "cuda", .cuda_lib = FAKE_CUDA_LIB, .cublas_lib = ""},
                    &dev, NULL),
        KILN_OK);
    cr_expect_null(device_gemm(dev, &large));
    cr_expect_str_eq(dev->facts.libraries, "");
    device_close(dev);
    cr_assert_eq(device_open(&(DeviceOptions){.name = "cpu"}, &dev, NULL), KILN_OK);
    cr_expect_null(device_gemm(dev, &large));
    device_close(dev);
    const GemmRule *rules;
    for (int32_t i = 0; i < gemm_rules(&rules); i++)
        cr_expect(rules[i].why && *rules[i].why, "row %d says why", i);
}
