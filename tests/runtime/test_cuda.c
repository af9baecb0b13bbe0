// tests/runtime/test_cuda.c - the CUDA device on the recording driver of tests/fake/: what it asks of the
// driver, and in which order.
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/random.h"
#include "tests/fake/runner.h"
#include "tests/runtime/cuda_bench.h"

TestSuite(cuda, .init = fake_reset, .timeout = 60);

// ---- opening ----------------------------------------------------------------------------------

Test(cuda, the_compute_capability_picks_the_newest_code_not_above_it)
{
    const struct {
        int32_t major, minor;
        const char *target; // NULL: refused
    } rows[] = {{7, 0, NULL},     {7, 5, "sm_75"},  {8, 0, "sm_80"},
                {8, 6, "sm_86"},  {8, 7, "sm_86"},  {8, 9, "sm_89"},
                {9, 0, "sm_90a"}, {10, 0, "sm_90"}, {12, 0, "sm_90"}};
    for (int32_t i = 0; i < COUNT_OF(rows); i++) {
        fake_reset();
        fake_set("major", rows[i].major);
        fake_set("minor", rows[i].minor);
        Device *dev;
        char target[24] = "";
        KilnStatus st = device_open(
            &(DeviceOptions){.name = "cuda", .cuda_lib = FAKE_CUDA_LIB, .cublas_lib = ""}, &dev,
            NULL);
        cr_expect_eq(st, rows[i].target ? KILN_OK : KILN_ERR_DEVICE, "%d.%d", rows[i].major,
                     rows[i].minor);
        if (st == KILN_OK) target_text(&dev->facts.target, target);
        cr_expect_str_eq(target, rows[i].target ? rows[i].target : "");
        device_close(dev);
        cr_expect_str_eq(fake_errors(), "");
    }
}

Test(cuda, lists_every_gpu_and_opens_the_one_that_is_named)
{
    fake_set("devices", 3);
    CudaList list;
    cr_assert_eq(device_cuda_list(FAKE_CUDA_LIB, &list, NULL), KILN_OK);
    cr_expect_eq(list.n, 3);
    cr_expect_eq(list.driver, 12040);
    cr_expect_str_eq(list.cards[2].model, "Fake GPU 2");
    cr_expect_eq(list.cards[0].n_sms, 108);
    Bench b;
    bench_open(&b, "cuda:2", NULL);
    cr_expect_str_eq(b.dev->facts.name, "cuda:2");
    cr_expect_str_eq(b.dev->facts.model, "Fake GPU 2");
    cr_expect_str_eq(b.dev->facts.libraries, "cuBLASLt 12.4.5");
    cr_expect(b.dev->facts.has_stream && !b.dev->facts.is_host_memory);
    bench_close(&b);
    const char *const wrong[] = {"cuda:3", "cuda:-1", "cuda:", "cuda:x", "cuda:0,1", "cuda:99999"};
    for (int32_t i = 0; i < COUNT_OF(wrong); i++) {
        Device *dev;
        cr_expect_neq(
            device_open(&(DeviceOptions){.name = wrong[i], .cuda_lib = FAKE_CUDA_LIB}, &dev, NULL),
            KILN_OK, "%s", wrong[i]);
        cr_expect_null(dev);
    }
    cr_expect_str_eq(fake_errors(), "");
    cr_expect_eq(fake_live(), 0);
}

Test(cuda, says_why_it_is_off)
{
    const struct {
        const char *setting;
        int64_t value;
        const char *call; // that fails
        int32_t error;
        const char *lib, *says;
    } rows[] = {
        {NULL, 0, NULL, 0, "/nowhere/libcuda.so.1",
         "/nowhere/libcuda.so.1 was not found (no NVIDIA driver on this machine)"},
        {NULL, 0, NULL, 0, KILN_SOURCE_DIR "/README.md", "cannot be opened"},
        {NULL, 0, NULL, 0, "libm.so.6", "does not tell its version"},
        {NULL, 0, NULL, 0, FAKE_CUDA_BROKEN_LIB, "has no cuLinkCreate_v2"},
        {"driver", 11040, NULL, 0, FAKE_CUDA_LIB,
         "too old: found CUDA 11.4, expected 12.0 or newer"},
        {"devices", 0, NULL, 0, FAKE_CUDA_LIB, "error 100: no NVIDIA GPU is there"},
        {NULL, 0, "cuInit", 999, FAKE_CUDA_LIB, "cuInit failed with error 999: unknown error"},
        {NULL, 0, "cuInit", 803, FAKE_CUDA_LIB, "differ in version"},
        {NULL, 0, "cuInit", 2, FAKE_CUDA_LIB, "cuInit failed: out of memory"},
        {NULL, 0, "cuDeviceTotalMem_v2", 999, FAKE_CUDA_LIB, "cannot be described"},
    };
    for (int32_t i = 0; i < COUNT_OF(rows); i++) {
        fake_reset();
        Diag d;
        CudaList list;
        Device *dev;
        diag_init(&d, heap_default());
        for (int32_t way = 0; way < 2; way++) {
            if (rows[i].setting) fake_set(rows[i].setting, rows[i].value);
            if (rows[i].call) fake_fail(rows[i].call, 1, rows[i].error);
            KilnStatus st =
                way ? device_open(&(DeviceOptions){.name = "cuda", .cuda_lib = rows[i].lib}, &dev,
                                  &d)
                    : device_cuda_list(rows[i].lib, &list, &d);
            cr_expect_eq(st, KILN_ERR_DEVICE, "row %d", i);
            cr_assert_eq(d.n_errors, 1, "row %d: one line", i);
            cr_expect_str_eq(d.items.data[0]->code, "K302");
            cr_expect(strstr(diag_first(&d), rows[i].says), "row %d: %s", i, diag_first(&d));
            diag_reset(&d);
        }
        arena_reset(&d.arena);
    }
}

// ---- memory and order -------------------------------------------------------------------------

Test(cuda, memory_is_zeroed_counted_and_given_back)
{
    Bench b;
    bench_open(&b, "cuda", NULL);
    void *at[3];
    char seen[300];
    size_t free_before = device_memory_free(b.dev);
    for (int32_t i = 0; i < 3; i++)
        cr_assert_eq(device_alloc(b.dev, 300, "block", &at[i], NULL), KILN_OK);
    memset(seen, 1, sizeof seen);
    device_download(b.dev, seen, at[1], sizeof seen);
    for (size_t i = 0; i < sizeof seen; i++)
        cr_assert_eq(seen[i], 0, "the driver's memory is not zero, ours is");
    cr_expect_eq(b.dev->counters.bytes_live, 900);
    cr_expect_eq(free_before - device_memory_free(b.dev), 900);
    cr_expect_eq(fake_count("cuMemAllocAsync"), 3, "from the pool");
    device_free(b.dev, at[0]);
    cr_expect_eq(device_sync(b.dev, NULL), KILN_OK);
    cr_expect_eq(free_before - device_memory_free(b.dev), 600);
    bench_close(&b); // frees the rest
}

Test(cuda, too_little_memory_is_a_message_with_numbers_and_the_device_goes_on)
{
    fake_set("memory", 1 << 20);
    Bench b;
    void *at;
    bench_open(&b, "cuda", NULL);
    cr_assert_eq(device_alloc(b.dev, 700000, "one", &at, NULL), KILN_OK);
    cr_expect_eq(device_alloc(b.dev, 700000, "two", &at, &b.diag), KILN_ERR_NOMEM);
    cr_expect_null(at);
    cr_expect_str_eq(b.diag.items.data[0]->code, "K301");
    cr_expect_str_eq(diag_first(&b.diag), "two: 0.7 MiB could not be had on cuda:0 (0.7 MiB in "
                                          "use, 0.3 MiB of 1.0 MiB free)");
    cr_expect_eq(device_check(b.dev, NULL), KILN_OK);
    cr_expect_eq(device_alloc(b.dev, 1000, "three", &at, NULL), KILN_OK);
    bench_close(&b);
}

Test(cuda, memory_whose_free_is_queued_can_be_had_again)
{
    fake_set("memory", 1 << 20);
    Bench b;
    void *at;
    bench_open(&b, "cuda", NULL);
    for (int32_t i = 0; i < 4; i++) {
        cr_assert_eq(device_alloc(b.dev, 700000, "most", &at, NULL), KILN_OK, "round %d", i);
        device_free(b.dev, at);
    }
    bench_close(&b);
}

Test(cuda, an_upload_may_forget_its_source_at_once)
{
    enum { BYTES = 21 << 20 }; // more than all pieces of pinned memory
    Bench b;
    void *at;
    bench_open(&b, "cuda", NULL);
    uint8_t *data = malloc(BYTES), *back = malloc(BYTES);
    Random r = {4};
    for (int32_t i = 0; i < BYTES; i += 4) {
        uint32_t v = (uint32_t)random_u64(&r);
        memcpy(data + i, &v, 4);
    }
    memcpy(back, data, BYTES);
    cr_assert_eq(device_alloc(b.dev, BYTES, "data", &at, NULL), KILN_OK);
    device_upload(b.dev, at, back, BYTES);
    cr_expect_lt(fake_count("cuStreamSynchronize"), 2, "an upload does not wait for the stream");
    memset(back, 0xEE, BYTES);
    for (int32_t i = 0; i < 9; i++) { // small ones, which reuse the pieces while copies are queued
        memset(back, i, 64);
        device_upload(b.dev, (char *)at + 64 * i, back, 64);
        memset(data + 64 * i, i, 64);
    }
    device_download(b.dev, back, at, BYTES);
    cr_expect_arr_eq(back, data, BYTES);
    free(data);
    free(back);
    bench_close(&b);
}

// ---- kernels ----------------------------------------------------------------------------------

Test(cuda, a_kernel_runs_between_its_upload_and_its_download)
{
    Bench b;
    int32_t n_runs = 0;
    float x[100];
    bench_open(&b, "cuda", NULL);
    fake_hook(hand_run, &n_runs);
    for (int32_t i = 0; i < 100; i++)
        x[i] = (float)i;
    float *at = floats(&b, 100);
    Kernel *k = hand(&b);
    device_upload(b.dev, at, x, sizeof x);
    cr_expect_eq(add_one(&b, k, at, 90), KILN_OK);
    cr_expect_eq(add_one(&b, k, at, 80), KILN_OK);
    cr_expect_eq(n_runs, 0, "launches are queued");
    device_download(b.dev, x, at, sizeof x);
    cr_expect_eq(n_runs, 2);
    for (int32_t i = 0; i < 100; i++)
        cr_expect_eq(x[i], (float)(i + (i < 90) + (i < 80)));
    const char *log = fake_log(), *last = log;
    const char *const order[] = {"cuInit",
                                 "cuDevicePrimaryCtxRetain",
                                 "cuStreamCreate",
                                 "cuMemAllocAsync",
                                 "cuLinkAddData_v2",
                                 "cuModuleLoadDataEx",
                                 "cuMemcpyHtoDAsync_v2",
                                 "kiln_hand grid=2,1,1 block=128 shared=0 cluster=1 overlap=0",
                                 "cuMemcpyDtoHAsync_v2",
                                 "cuStreamSynchronize"};
    for (int32_t i = 0; i < COUNT_OF(order); i++) {
        last = strstr(last, order[i]);
        cr_assert_not_null(last, "%s comes too early or not at all in\n%s", order[i], log);
    }
    cr_expect_eq(b.dev->counters.launches, 2);
    cr_expect_eq(b.dev->counters.assembles, 1);
    bench_close(&b);
}

static const char scale_text[] =
    "import triton\nimport triton.language as tl\n\n"
    "@triton.jit\ndef scale(y, x, n, f, BLOCK: tl.constexpr):\n"
    "    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)\n"
    "    tl.store(y + i, tl.load(x + i, mask=i < n) * f, mask=i < n)\n";

Test(cuda, a_compiled_kernel_computes_what_the_emulator_computes)
{
    const KernelText texts[] = {{"scale.py", scale_text, sizeof scale_text - 1}};
    Bench b;
    Kernel *k;
    float x[300], y[300];
    bench_open(&b, "cuda", NULL);
    kernel_cache_close(b.cache);
    KernelCacheOptions o = {.texts = texts, .n_texts = 1};
    cr_assert_eq(kernel_cache_open(b.dev, &o, &b.cache, NULL), KILN_OK);
    Str words = STR("scale(y: *fp32:16, x: *fp32:16, n: i32, f: f32, BLOCK=128)[num_warps=2]");
    cr_assert_eq(kernel_find(b.cache, "scale.py", words, &k, &b.diag), KILN_OK, "%s",
                 diag_first(&b.diag));
    Runner *runner = runner_open("emu:sm_80", &o);
    runner_learn(runner, k);
    for (int32_t i = 0; i < 300; i++)
        x[i] = (float)i;
    float *dx = floats(&b, 300), *dy = floats(&b, 300);
    device_upload(b.dev, dx, x, sizeof x);
    const Arg args[] = {arg_ptr("y", DTYPE_F32, dy), arg_ptr("x", DTYPE_F32, dx), arg_int("n", 290),
                        arg_float("f", 0.5)};
    cr_expect_eq(kernel_launch(k, grid_of(3, 1, 1), 4, args, &b.diag), KILN_OK);
    device_download(b.dev, y, dy, sizeof y);
    for (int32_t i = 0; i < 300; i++)
        cr_expect_eq(y[i], i < 290 ? (float)i * 0.5f : 0, "%d", i);
    cr_expect_eq(runner_n_launches(runner), 1);
    runner_close(runner);
    bench_close(&b);
}

Test(cuda, shared_memory_above_48_kilobytes_is_asked_for)
{
    Bench b;
    Kernel *k;
    bench_open(&b, "cuda", NULL);
    float *at = floats(&b, 4);
    cr_assert_eq(hand_kernel(&b, 48 << 10, &k), KILN_OK);
    cr_expect_eq(fake_count("cuFuncSetAttribute"), 0);
    cr_assert_eq(hand_kernel(&b, 100 << 10, &k), KILN_OK);
    cr_expect_eq(fake_count("cuFuncSetAttribute"), 1);
    cr_expect_eq(add_one(&b, k, at, 4), KILN_OK);
    cr_expect_not_null(strstr(fake_log(), "shared=102400"));
    cr_expect_neq(hand_kernel(&b, 300 << 10, &k), KILN_OK, "more than there is");
    bench_close(&b);
}

Test(cuda, clusters_and_overlap_are_attributes_where_the_gpu_knows_them)
{
    for (int32_t clusters = 0; clusters < 2; clusters++) {
        fake_reset();
        fake_set("major", 9);
        fake_set("clusters", clusters);
        Bench b;
        uint8_t block[16];
        Launch l;
        bench_open(&b, "cuda", NULL);
        float *at = floats(&b, 4);
        Kernel *k = hand(&b);
        const Arg args[] = {arg_ptr("x", DTYPE_F32, at), arg_int("n", 4)};
        cr_assert_eq(launch_make(k, grid_of(8, 1, 1), 2, args,
                                 &(LaunchOptions){.cluster = 4, .overlaps = true}, block, NULL, &l,
                                 NULL),
                     KILN_OK);
        cr_expect_eq(launch_run(&l, NULL), KILN_OK);
        cr_expect_not_null(
            strstr(fake_log(), clusters ? "cluster=4 overlap=1" : "cluster=1 overlap=0"));
        bench_close(&b);
    }
}

Test(cuda, an_older_driver_without_pool_graphs_and_attributes_will_do)
{
    void *old = dlopen(FAKE_CUDA_OLD_LIB, RTLD_NOW | RTLD_LOCAL);
    cr_assert_not_null(old, "%s", dlerror());
    cr_assert_null(dlsym(old, "cuLaunchKernelEx"));
    const char *(*errors)(void);
    int32_t (*count)(const char *);
    void (*hook)(FakeKernel, void *);
    *(void **)&errors = dlsym(old, "fake_errors");
    *(void **)&count = dlsym(old, "fake_count");
    *(void **)&hook = dlsym(old, "fake_hook");
    Bench b;
    Graph *g;
    int32_t n_runs = 0;
    float x[4] = {0};
    diag_init(&b.diag, heap_default());
    cr_assert_eq(
        device_open(
            &(DeviceOptions){.name = "cuda", .cuda_lib = FAKE_CUDA_OLD_LIB, .cublas_lib = ""},
            &b.dev, &b.diag),
        KILN_OK, "%s", diag_first(&b.diag));
    cr_assert_eq(kernel_cache_open(b.dev, &(KernelCacheOptions){0}, &b.cache, NULL), KILN_OK);
    hook(hand_run, &n_runs);
    float *at = floats(&b, 4);
    const Arg args[] = {arg_ptr("x", DTYPE_F32, at), arg_int("n", 4)};
    cr_assert_eq(graph_new(b.dev, "g", &g, NULL), KILN_OK);
    cr_assert_eq(graph_launch(g, hand(&b), grid_of(1, 1, 1), 2, args, NULL), KILN_OK);
    cr_assert_eq(graph_finish(g, NULL), KILN_OK);
    cr_expect(!graph_is_captured(g));
    cr_expect_eq(graph_run(g, NULL), KILN_OK);
    cr_expect_eq(graph_run(g, NULL), KILN_OK);
    device_download(b.dev, x, at, sizeof x);
    cr_expect_eq(x[3], 2);
    cr_expect_eq(count("cuLaunchKernel"), 2);
    cr_expect_eq(count("cuMemAlloc_v2"), 1);
    graph_free(g);
    kernel_cache_close(b.cache);
    device_close(b.dev);
    cr_expect_str_eq(errors(), "");
    arena_reset(&b.diag.arena);
}

// ---- machine code -----------------------------------------------------------------------------

static char *temporary_dir(void)
{
    static char path[] = "/tmp/kiln-cuda-XXXXXX";
    cr_assert_not_null(mkdtemp(path));
    return path;
}

static void remove_dir(const char *path)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    cr_expect_eq(system(command), 0);
}

Test(cuda, machine_code_is_kept_for_this_driver_and_this_gpu)
{
    const KernelText texts[] = {{"scale.py", scale_text, sizeof scale_text - 1}};
    Str words = STR("scale(y: *fp32:16, x: *fp32:16, n: i32, f: f32, BLOCK=128)[num_warps=2]");
    char *dir = temporary_dir();
    const struct {
        int64_t driver, minor;
        int32_t compiles, assembles;
    } starts[] = {
        {12040, 0, 1, 1}, // nothing is kept yet
        {12040, 0, 0, 0}, // everything is
        {12060, 0, 0, 1}, // another driver: the PTX is kept
        {12040, 2, 0, 1}, // another GPU, the same PTX
        {12060, 0, 0, 0},
    };
    for (int32_t i = 0; i < COUNT_OF(starts); i++) {
        fake_reset();
        fake_set("driver", starts[i].driver);
        fake_set("minor", starts[i].minor);
        Bench b;
        Kernel *k;
        bench_open(&b, "cuda", NULL);
        kernel_cache_close(b.cache);
        KernelCacheOptions o = {.cache_dir = dir, .texts = texts, .n_texts = 1};
        cr_assert_eq(kernel_cache_open(b.dev, &o, &b.cache, NULL), KILN_OK);
        cr_assert_eq(kernel_find(b.cache, "scale.py", words, &k, NULL), KILN_OK);
        cr_expect_eq(b.dev->counters.compiles, starts[i].compiles, "start %d", i);
        cr_expect_eq(b.dev->counters.assembles, starts[i].assembles, "start %d", i);
        cr_expect_eq(fake_count("cuLinkCreate_v2"), starts[i].assembles, "start %d", i);
        cr_expect_eq(fake_count("cuModuleLoadDataEx"), 1);
        cr_expect_not_null(k->handle);
        bench_close(&b);
    }
    remove_dir(dir);
}

Test(cuda, code_that_is_kept_but_refused_is_made_again)
{
    char *dir = temporary_dir();
    for (int32_t start = 0; start < 2; start++) {
        fake_reset();
        if (start) fake_fail("cuModuleLoadDataEx", 1, 200);
        Bench b;
        bench_open(&b, "cuda", dir);
        (void)hand(&b);
        cr_expect_eq(b.dev->counters.assembles, 1, "start %d", start);
        bench_close(&b);
    }
    remove_dir(dir);
}

Test(cuda, code_that_cannot_be_assembled_says_why)
{
    const struct {
        int64_t ptx;
        int32_t error;
        KilnStatus status;
        const char *code, *says, *log;
    } rows[] = {
        {78, 0, KILN_ERR_DEVICE, "K305",
         "the driver is too old for this PTX: version 8.0 needs CUDA 12.0, found 12.4", ""},
        {0, 222, KILN_ERR_DEVICE, "K305", "the driver is too old for this PTX", ""},
        {0, 221, KILN_ERR_DEVICE, "K303", "PTX JIT compiler library not found", ""},
        {0, 2, KILN_ERR_NOMEM, "K301", "out of memory", ""},
    };
    for (int32_t i = 0; i < COUNT_OF(rows); i++) {
        fake_reset();
        Bench b;
        Kernel *k;
        bench_open(&b, "cuda", NULL);
        fake_set("ptx", rows[i].ptx);
        if (rows[i].error) fake_fail("cuLinkAddData_v2", 1, rows[i].error);
        cr_expect_eq(hand_kernel(&b, 0, &k), rows[i].status, "row %d", i);
        cr_expect_null(k);
        cr_assert_eq(b.diag.n_errors, 1);
        cr_expect_str_eq(b.diag.items.data[0]->code, rows[i].code);
        cr_expect(strstr(diag_first(&b.diag), rows[i].says), "%s", diag_first(&b.diag));
        cr_expect_not_null(b.diag.items.data[0]->help);
        bench_close(&b);
    }
}

Test(cuda, ptx_that_the_linker_refuses_is_loaded_as_it_is)
{
    char *dir = temporary_dir();
    for (int32_t start = 0; start < 2; start++) {
        fake_reset();
        if (!start) fake_fail("cuLinkAddData_v2", 1, 209);
        Bench b;
        int32_t n_runs = 0;
        bench_open(&b, "cuda", dir);
        fake_hook(hand_run, &n_runs);
        Kernel *k = hand(&b);
        cr_expect_eq(fake_count("cuLinkCreate_v2"), start ? 0 : 1, "the second start finds it");
        cr_expect_eq(add_one(&b, k, floats(&b, 4), 4), KILN_OK);
        cr_expect_eq(device_sync(b.dev, NULL), KILN_OK);
        cr_expect_eq(n_runs, 1);
        bench_close(&b);
    }
    remove_dir(dir);
}

Test(cuda, the_assemblers_own_words_are_in_the_message)
{
    Bench b;
    Kernel *k;
    bench_open(&b, "cuda", NULL);
    char text[] = "this is no PTX";
    Code code = {.target = b.dev->facts.target,
                 .entry = "kiln_broken",
                 .num_warps = 4,
                 .bytes = (uint8_t *)text,
                 .size = strlen(text)};
    cr_expect_eq(kernel_from_code(b.cache, &code, &k, &b.diag), KILN_ERR_DEVICE);
    cr_expect_not_null(strstr(diag_first(&b.diag), "kiln_broken cannot be assembled"));
    cr_expect_not_null(strstr(diag_first(&b.diag), "ptxas application ptx input, line 1"));
    bench_close(&b);
}

// ---- graphs -----------------------------------------------------------------------------------

Test(cuda, a_graph_is_captured_once_and_started_by_one_call)
{
    Bench b;
    Graph *g;
    int32_t n_runs = 0;
    float x[64], y[64] = {0};
    bench_open(&b, "cuda", NULL);
    fake_hook(hand_run, &n_runs);
    Kernel *k = hand(&b);
    float *at = floats(&b, 64), *to = floats(&b, 64);
    cr_assert_eq(graph_new(b.dev, "pair", &g, NULL), KILN_OK);
    int32_t t = graph_tensor(g, "t", 256);
    const Arg dx = arg_ptr("x", DTYPE_F32, at), dt = arg_tensor("x", DTYPE_F32, t, 0);
    const Arg first[] = {dx, arg_int("n", 64)}, second[] = {dt, arg_int("n", 32)};
    cr_assert_eq(graph_launch(g, k, grid_of(1, 1, 1), 2, first, NULL), KILN_OK);
    cr_assert_eq(graph_copy(g, dt, dx, 256, NULL), KILN_OK);
    cr_assert_eq(graph_launch(g, k, grid_of(1, 1, 1), 2, second, NULL), KILN_OK);
    cr_assert_eq(graph_copy(g, arg_ptr(NULL, DTYPE_F32, to), dt, 256, NULL), KILN_OK);
    cr_assert_eq(graph_finish(g, NULL), KILN_OK);
    cr_expect(graph_is_captured(g));
    cr_expect_eq(n_runs, 0, "capturing runs nothing");
    memset(x, 0, sizeof x);
    device_upload(b.dev, at, x, sizeof x);
    fake_clear_log();
    for (int32_t i = 0; i < 3; i++)
        cr_expect_eq(graph_run(g, NULL), KILN_OK);
    cr_expect_eq(fake_count("cuGraphLaunch"), 3);
    cr_expect_eq(fake_count("cuLaunchKernelEx") + fake_count("cuMemcpyDtoDAsync_v2"), 0);
    device_download(b.dev, y, to, sizeof y);
    cr_expect_eq(n_runs, 6);
    for (int32_t i = 0; i < 64; i++)
        cr_expect_eq(y[i], (float)(3 + (i < 32)));
    cr_expect_eq(b.dev->counters.captures, 1);
    cr_expect_eq(b.dev->counters.replays, 3);
    cr_expect_eq(b.dev->counters.launches, 6);
    double us[4];
    cr_expect_eq(graph_run_timed(g, us, NULL), KILN_OK);
    for (int32_t i = 0; i < 4; i++)
        cr_expect_gt(us[i], 0, "node %d by events", i);
    StrBuf text = {0};
    graph_text(g, &text);
    cr_expect_not_null(strstr(text.data, "one CUDA graph"));
    strbuf_free(&text);
    graph_free(g);
    bench_close(&b);
}

Test(cuda, a_capture_that_fails_leaves_nothing_behind)
{
    const char *const calls[] = {"cuStreamBeginCapture_v2", "cuLaunchKernelEx",
                                 "cuStreamEndCapture", "cuGraphInstantiateWithFlags",
                                 "cuGraphUpload"};
    for (int32_t i = 0; i < COUNT_OF(calls); i++) {
        fake_reset();
        Bench b;
        Graph *g;
        bench_open(&b, "cuda", NULL);
        float *at = floats(&b, 4);
        const Arg args[] = {arg_ptr("x", DTYPE_F32, at), arg_int("n", 4)};
        Kernel *k = hand(&b);
        fake_fail(calls[i], 1, i == 4 ? 2 : 1);
        cr_assert_eq(graph_new(b.dev, "g", &g, NULL), KILN_OK);
        cr_assert_eq(graph_launch(g, k, grid_of(1, 1, 1), 2, args, NULL), KILN_OK);
        cr_expect_eq(graph_finish(g, &b.diag), i == 4 ? KILN_ERR_NOMEM : KILN_ERR_DEVICE, "%s",
                     calls[i]);
        graph_free(g);
        cr_expect_eq(add_one(&b, k, at, 4), KILN_OK, "after %s the device goes on", calls[i]);
        bench_close(&b);
    }
}

// ---- several, and time ------------------------------------------------------------------------

Test(cuda, two_gpus_take_turns)
{
    fake_set("devices", 2);
    Bench b[2];
    Kernel *k[2];
    float *at[2], x[2] = {0};
    int32_t n_runs = 0;
    fake_hook(hand_run, &n_runs);
    for (int32_t i = 0; i < 2; i++) {
        bench_open(&b[i], i ? "cuda:1" : "cuda:0", NULL);
        k[i] = hand(&b[i]);
        at[i] = floats(&b[i], 2);
    }
    for (int32_t i = 0; i < 8; i++)
        cr_expect_eq(add_one(&b[i % 2], k[i % 2], at[i % 2], i % 2 + 1), KILN_OK);
    for (int32_t i = 0; i < 2; i++) {
        device_download(b[i].dev, x, at[i], sizeof x);
        cr_expect_eq(x[0], 4);
        cr_expect_eq(x[1], i ? 4 : 0);
    }
    kernel_cache_close(b[0].cache);
    device_close(b[0].dev);
    arena_reset(&b[0].diag.arena);
    bench_close(&b[1]);
}

typedef struct Errand {
    Bench *b;
    Kernel *k;
    float *at;
    KilnStatus st;
} Errand;

static void *run_errand(void *user)
{
    Errand *e = user;
    const float two[4] = {2, 2, 2, 2};
    device_upload(e->b->dev, e->at, two, sizeof two);
    e->st = add_one(e->b, e->k, e->at, 4);
    return NULL;
}

Test(cuda, another_thread_may_make_the_calls)
{
    Bench b;
    pthread_t thread;
    float x[4];
    int32_t n_runs = 0;
    bench_open(&b, "cuda", NULL);
    fake_hook(hand_run, &n_runs);
    Errand e = {.b = &b, .k = hand(&b), .at = floats(&b, 4), .st = KILN_ERR_IO};
    cr_assert_eq(pthread_create(&thread, NULL, run_errand, &e), 0);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_expect_eq(e.st, KILN_OK, "its context is current there too");
    device_download(b.dev, x, e.at, sizeof x);
    cr_expect_eq(x[3], 3);
    bench_close(&b);
}

Test(cuda, a_guarded_device_waits_after_each_launch)
{
    Device *dev;
    Bench b = {0};
    diag_init(&b.diag, heap_default());
    DeviceOptions o = {.name = "cuda", .cuda_lib = FAKE_CUDA_LIB, .cublas_lib = "", .guard = true};
    cr_assert_eq(device_open(&o, &dev, NULL), KILN_OK);
    b.dev = dev;
    cr_assert_eq(kernel_cache_open(dev, &(KernelCacheOptions){0}, &b.cache, NULL), KILN_OK);
    float *at = floats(&b, 4);
    Kernel *k = hand(&b);
    fake_fail("run/kiln_hand", 2, 716);
    cr_expect_eq(add_one(&b, k, at, 4), KILN_OK);
    cr_expect_eq(add_one(&b, k, at, 4), KILN_ERR_DEVICE, "at once");
    cr_expect_not_null(strstr(diag_first(&b.diag), "kernel kiln_hand brought"));
    kernel_cache_close(b.cache);
    device_close(dev);
    cr_expect_str_eq(fake_errors(), "");
    arena_reset(&b.diag.arena);
}

Test(cuda, events_measure_the_work_between_them)
{
    Bench b;
    DeviceEvent *begin, *end;
    double one, three;
    bench_open(&b, "cuda", NULL);
    float *at = floats(&b, 4);
    Kernel *k = hand(&b);
    cr_assert_eq(device_event_new(b.dev, &begin, NULL), KILN_OK);
    cr_assert_eq(device_event_new(b.dev, &end, NULL), KILN_OK);
    for (int32_t n = 1; n <= 3; n += 2) {
        device_event_record(begin);
        for (int32_t i = 0; i < n; i++)
            cr_expect_eq(add_one(&b, k, at, 4), KILN_OK);
        device_event_record(end);
        cr_expect_eq(device_event_us(begin, end, n == 1 ? &one : &three, NULL), KILN_OK);
    }
    cr_expect_gt(one, 0);
    cr_expect_gt(three, one * 1.5, "%g us, %g us", one, three);
    DeviceBandwidth w;
    cr_expect_eq(device_measure_bandwidth(b.dev, 1 << 20, &w, NULL), KILN_OK);
    cr_expect_gt(w.copy, 0);
    device_event_free(begin);
    device_event_free(end);
    bench_close(&b);
}

Test(cuda, host_devices_have_events_too)
{
    Device *dev;
    DeviceEvent *begin, *end;
    double us;
    cr_assert_eq(device_open(&(DeviceOptions){.name = "cpu", .n_threads = 1}, &dev, NULL), KILN_OK);
    cr_assert_eq(device_event_new(dev, &begin, NULL), KILN_OK);
    cr_assert_eq(device_event_new(dev, &end, NULL), KILN_OK);
    device_event_record(begin);
    usleep(2000);
    device_event_record(end);
    cr_expect_eq(device_event_us(begin, end, &us, NULL), KILN_OK);
    cr_expect(us >= 2000 && us < 1e6, "%g us", us);
    device_event_free(begin);
    device_event_free(end);
    device_close(dev);
}
