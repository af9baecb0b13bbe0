// tests/runtime/test_fake.c - the fake driver objects to each thing it is there to object to.
//
// Its functions are called directly, as a careless runtime would; every test makes one mistake.
#include <criterion/criterion.h>
#include <string.h>

#include "runtime/cuda.h"
#include "tests/fake/fake.h"

TestSuite(fake, .init = fake_reset, .timeout = 30);

// The driver's functions as symbols of the library that this program is linked with.
#define CUDA(need, since, name, params) CUresult name params;
#define LT(need, since, name, params)
#include "runtime/cuda.def"
#undef CUDA
#undef LT

static CUcontext cx;
static CUstream s;

static void ready(void)
{
    cr_assert_eq(cuInit(0), 0);
    cr_assert_eq(cuDevicePrimaryCtxRetain(&cx, 0), 0);
    cr_assert_eq(cuCtxPushCurrent_v2(cx), 0);
    cr_assert_eq(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING), 0);
}

/// The one objection so far contains `says`.
static void objects(const char *says)
{
    cr_expect(strstr(fake_errors(), says), "expected \"%s\" in \"%s\"", says, fake_errors());
    cr_expect_eq(strchr(fake_errors(), '\n'), strrchr(fake_errors(), '\n'), "once: %s",
                 fake_errors());
}

static char ptx[] = ".version 8.0\n.target sm_80\n.visible .entry k(\n\t.param .u64 k_param_0,\n"
                    "\t.param .u32 k_param_1\n)\n.reqntid 32, 1, 1\n{\n\tret;\n}\n";

static CUmodule load(CUfunction *fn)
{
    CUmodule m;
    cr_assert_eq(cuModuleLoadDataEx(&m, ptx, 0, NULL, NULL), 0);
    cr_assert_eq(cuModuleGetFunction(fn, m, "k"), 0);
    return m;
}

static CUresult start(CUfunction fn, CUdeviceptr at, size_t size, unsigned shared, unsigned threads)
{
    uint8_t args[16] = {0};
    memcpy(args, &at, 8);
    void *extra[] = {CU_LAUNCH_PARAM_BUFFER, args, CU_LAUNCH_PARAM_SIZE, &size, NULL};
    CUlaunchConfig c = {.grid_x = 1,
                        .grid_y = 1,
                        .grid_z = 1,
                        .block_x = threads,
                        .block_y = 1,
                        .block_z = 1,
                        .shared_bytes = shared,
                        .stream = s};
    return cuLaunchKernelEx(&c, fn, NULL, extra);
}

Test(fake, a_call_before_cuInit)
{
    int n;
    cr_expect_eq(cuDeviceGetCount(&n), 3);
    objects("cuDeviceGetCount before cuInit");
}

Test(fake, a_call_without_a_context)
{
    CUdeviceptr at;
    cr_assert_eq(cuInit(0), 0);
    cr_expect_eq(cuMemAlloc_v2(&at, 4), 201);
    objects("cuMemAlloc_v2 without a current context");
}

Test(fake, a_handle_of_another_context)
{
    fake_set("devices", 2);
    ready();
    CUcontext other;
    cr_assert_eq(cuDevicePrimaryCtxRetain(&other, 1), 0);
    cr_assert_eq(cuCtxPushCurrent_v2(other), 0);
    cr_expect_neq(cuStreamSynchronize(s), 0);
    objects("in another context");
}

Test(fake, memory_that_was_freed)
{
    ready();
    CUdeviceptr at;
    CUfunction fn;
    (void)load(&fn);
    cr_assert_eq(cuMemAllocAsync(&at, 64, s), 0);
    cr_assert_eq(cuMemFreeAsync(at, s), 0);
    cr_expect_neq(cuMemsetD8Async(at, 0, 64, s), 0);
    objects("was freed");
    cr_expect_neq(start(fn, at, 12, 0, 32), 0);
    cr_expect_not_null(strstr(fake_errors(), "argument 0 points to"));
    cr_expect_neq(cuMemFreeAsync(at, s), 0);
    cr_expect_not_null(strstr(fake_errors(), "cuMemFreeAsync of"));
}

Test(fake, bytes_behind_an_allocation)
{
    ready();
    CUdeviceptr at;
    cr_assert_eq(cuMemAllocAsync(&at, 64, s), 0);
    cr_expect_neq(cuMemsetD8Async(at + 32, 0, 33, s), 0);
    objects("end behind it");
}

Test(fake, a_copy_from_memory_that_is_not_pinned)
{
    ready();
    CUdeviceptr at;
    char host[8];
    cr_assert_eq(cuMemAllocAsync(&at, 64, s), 0);
    (void)cuMemcpyHtoDAsync_v2(at, host, sizeof host, s);
    objects("is not pinned memory");
}

Test(fake, an_argument_buffer_of_the_wrong_size)
{
    ready();
    CUfunction fn;
    (void)load(&fn);
    cr_expect_neq(start(fn, 0, 16, 0, 32), 0);
    objects("launch of k with 16 bytes of arguments, its parameters have 12");
}

Test(fake, a_block_of_the_wrong_size)
{
    ready();
    CUfunction fn;
    (void)load(&fn);
    cr_expect_neq(start(fn, 0, 12, 0, 64), 0);
    objects("of 64 threads (reqntid 32)");
}

Test(fake, shared_memory_that_was_not_asked_for)
{
    ready();
    CUfunction fn;
    (void)load(&fn);
    cr_expect_neq(start(fn, 0, 12, (48 << 10) + 1, 32), 0);
    objects("bytes of shared memory, 49152 were asked for");
}

Test(fake, captures_that_are_opened_or_closed_twice)
{
    ready();
    CUgraph g;
    cr_expect_neq(cuStreamEndCapture(s, &g), 0);
    objects("not being captured");
    fake_reset();
    ready();
    cr_assert_eq(cuStreamBeginCapture_v2(s, CU_CAPTURE_THREAD_LOCAL), 0);
    cr_expect_neq(cuStreamBeginCapture_v2(s, CU_CAPTURE_THREAD_LOCAL), 0);
    objects("that is being captured");
    fake_reset();
    ready();
    cr_assert_eq(cuStreamBeginCapture_v2(s, CU_CAPTURE_THREAD_LOCAL), 0);
    (void)cuStreamDestroy_v2(s);
    objects("cuStreamDestroy while it is being captured");
}

Test(fake, calls_that_a_capture_forbids)
{
    CUgraph g;
    CUdeviceptr at;
    CUmodule m;
    void *host;
    for (int32_t i = 0; i < 4; i++) {
        fake_reset();
        ready();
        cr_assert_eq(cuStreamBeginCapture_v2(s, CU_CAPTURE_THREAD_LOCAL), 0);
        CUresult e = i == 0   ? cuMemAlloc_v2(&at, 4)
                     : i == 1 ? cuStreamSynchronize(s)
                     : i == 2 ? cuModuleLoadDataEx(&m, ptx, 0, NULL, NULL)
                              : cuMemHostAlloc(&host, 4, 0);
        cr_expect_eq(e, 900, "call %d", i);
        objects("captured");
        cr_expect_eq(cuStreamEndCapture(s, &g), 901, "and the capture is lost");
        cr_expect_null(g);
    }
}

Test(fake, things_destroyed_twice)
{
    ready();
    CUfunction fn;
    CUmodule m = load(&fn);
    cr_assert_eq(cuModuleUnload(m), 0);
    cr_expect_neq(cuModuleUnload(m), 0);
    objects("which was destroyed");
    cr_expect_neq(start(fn, 0, 12, 0, 32), 0);
    cr_expect_not_null(strstr(fake_errors(), "of function"));
}

Test(fake, a_graph_whose_kernel_or_memory_is_gone)
{
    ready();
    CUfunction fn;
    CUmodule m = load(&fn);
    CUgraph g;
    CUgraphExec x;
    CUdeviceptr at;
    cr_assert_eq(cuMemAllocAsync(&at, 64, s), 0);
    cr_assert_eq(cuStreamBeginCapture_v2(s, CU_CAPTURE_THREAD_LOCAL), 0);
    cr_assert_eq(start(fn, at, 12, 0, 32), 0);
    cr_assert_eq(cuStreamEndCapture(s, &g), 0);
    cr_assert_eq(cuGraphInstantiateWithFlags(&x, g, 0), 0);
    cr_expect_eq(cuGraphLaunch(x, s), 0);
    cr_assert_eq(cuMemFreeAsync(at, s), 0);
    cr_expect_neq(cuGraphLaunch(x, s), 0);
    objects("argument 0 points to");
    cr_assert_eq(cuModuleUnload(m), 0);
    cr_expect_neq(cuGraphLaunch(x, s), 0);
    cr_expect_not_null(strstr(fake_errors(), "kernel k was unloaded"));
}

Test(fake, what_is_alive_when_the_context_goes)
{
    ready();
    CUdeviceptr at;
    cr_assert_eq(cuMemAllocAsync(&at, 64, s), 0);
    cr_assert_eq(cuCtxPopCurrent_v2(&cx), 0);
    cr_assert_eq(cuDevicePrimaryCtxRelease_v2(0), 0);
    cr_expect_not_null(strstr(fake_errors(), "leak: memory"));
    cr_expect_not_null(strstr(fake_errors(), "leak: stream"));
    cr_expect_neq(cuDevicePrimaryCtxRelease_v2(0), 0);
    cr_expect_not_null(strstr(fake_errors(), "not retained"));
}

Test(fake, pinned_memory_that_is_written_while_its_copy_is_queued_is_seen)
{
    ready();
    CUdeviceptr at;
    void *host;
    cr_assert_eq(cuMemAllocAsync(&at, 4, s), 0);
    cr_assert_eq(cuMemHostAlloc(&host, 8, 0), 0);
    memcpy(host, "good", 4);
    cr_assert_eq(cuMemcpyHtoDAsync_v2(at, host, 4, s), 0);
    memcpy(host, "evil", 4);
    cr_assert_eq(cuMemcpyDtoHAsync_v2((char *)host + 4, at, 4, s), 0);
    cr_assert_eq(cuStreamSynchronize(s), 0);
    cr_expect_eq(memcmp((char *)host + 4, "evil", 4), 0, "streams run when somebody waits");
    cr_expect_str_eq(fake_errors(), "");
}
