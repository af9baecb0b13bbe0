// runtime/device_cuda.c - an NVIDIA GPU: one context, one stream, and everything in its order.
//
//   host    upload(step)      replay(decode 1)        download(ids) ...... waits here, and only here
//              | memcpy          | one call               | memcpy from pinned memory
//   stream   [ HtoD copy ] --> [ graph of launches ] --> [ DtoH copy ]
//
// The context is the device's primary one, made current around each call: libraries in this process share
// it, and a thread finds its own context again afterwards. Copies to and from the host pass through four
// pieces of pinned memory in turn, each with an event that says when it is free again, so that an upload
// returns at once. Memory comes from the driver's stream-ordered pool.
//
// A failure of a queued call is kept as the device's fault (device.h). After one that leaves the context
// unusable, an illegal address say, no call reaches the driver any more but the one that lets it go.
//
// Source   CUDA Driver API reference, 12.0 and 13.0
// Tests    tests/runtime/test_cuda.c, on the recording driver of tests/fake/
#include <stdio.h>
#include <stdlib.h>

#include "runtime/cuda.h"
#include "runtime/launch.h"

static const DeviceOps cuda_ops, cuda_ops_without_graphs;

static Cuda *cuda_of(const Device *dev)
{
    return dev->self;
}

// ---- faults -----------------------------------------------------------------------------------

/// What ran since the last wait, into `out`.
static void suspects(const Cuda *c, char *out, size_t size)
{
    if (c->last_graph)
        snprintf(out, size, "a kernel of graph %s (or one before it)", c->last_graph);
    else if (!c->last_kernel)
        snprintf(out, size, "a kernel");
    else if (c->n_queued <= 1)
        snprintf(out, size, "kernel %s", c->last_kernel);
    else
        snprintf(out, size, "kernel %s, or one of the %lld queued before it", c->last_kernel,
                 (long long)c->n_queued - 1);
}

bool cuda_ok(Device *dev, CUresult e, const char *call)
{
    if (!e) return true;
    if (dev->fault != KILN_OK) return false; // the first one says it
    Cuda *c = cuda_of(dev);
    char text[160], who[128];
    cuda_error_text(&c->lib, e, text, sizeof text);
    dev->fault_hint = NULL;
    dev->is_lost = cuda_error_is_final(e);
    if (dev->is_lost) {
        suspects(c, who, sizeof who);
        snprintf(dev->fault_code, sizeof dev->fault_code, "K304");
        snprintf(dev->fault_text, sizeof dev->fault_text,
                 "%s: %s brought the GPU's context down: %s", dev->facts.name, who, text);
        dev->fault_hint = c->last_graph || c->n_queued > 1
                              ? "--no-cuda-graph runs one kernel at a time and names it; "
                                "--device emu:sm_80 says where"
                              : "--device emu:sm_80 runs the same code with every access checked";
        dev->fault = KILN_ERR_DEVICE;
        return false;
    }
    bool is_memory = e == CU_ERROR_NO_MEMORY;
    size_t free_bytes = 0, total_bytes = 0;
    if (is_memory && c->is_current) (void)c->lib.cuMemGetInfo_v2(&free_bytes, &total_bytes);
    snprintf(dev->fault_code, sizeof dev->fault_code, is_memory ? "K301" : "K303");
    snprintf(dev->fault_text, sizeof dev->fault_text,
             is_memory ? "%s: %s failed: %s; %.1f MiB in use by kiln, %.1f MiB of %.1f MiB free"
                       : "%s: %s failed: %s",
             dev->facts.name, call, text, (double)dev->counters.bytes_live / 1048576,
             (double)free_bytes / 1048576, (double)total_bytes / 1048576);
    dev->fault = is_memory ? KILN_ERR_NOMEM : KILN_ERR_DEVICE;
    return false;
}

bool cuda_enter(Device *dev)
{
    if (dev->is_lost) return false;
    Cuda *c = cuda_of(dev);
    c->is_current = cuda_ok(dev, c->lib.cuCtxPushCurrent_v2(c->context), "cuCtxPushCurrent");
    return c->is_current;
}

void cuda_leave(Device *dev)
{
    CUcontext mine;
    Cuda *c = cuda_of(dev);
    c->is_current = false;
    (void)c->lib.cuCtxPopCurrent_v2(&mine);
}

void cuda_note(Cuda *c, const char *kernel, const char *graph, int32_t n)
{
    if (kernel) c->last_kernel = kernel;
    c->last_graph = graph;
    c->last_event = NULL;
    c->n_queued += n;
}

/// Everything that was queued is done.
static void forget_queued(Cuda *c)
{
    c->n_queued = 0;
    c->last_kernel = c->last_graph = NULL;
    c->last_event = NULL;
}

/// Waits for the stream. The context is current.
static bool wait_all(Device *dev)
{
    Cuda *c = cuda_of(dev);
    bool ok = cuda_ok(dev, c->lib.cuStreamSynchronize(c->stream), "cuStreamSynchronize");
    if (ok) forget_queued(c);
    return ok;
}

static void cuda_sync(Device *dev)
{
    if (!cuda_enter(dev)) return;
    (void)wait_all(dev);
    cuda_leave(dev);
}

// ---- memory -----------------------------------------------------------------------------------

/// One try. The context is current.
static CUresult take(Cuda *c, CUdeviceptr *at, size_t bytes)
{
    return c->is_pooled ? c->lib.cuMemAllocAsync(at, bytes, c->stream)
                        : c->lib.cuMemAlloc_v2(at, bytes);
}

static void *cuda_alloc(Device *dev, size_t bytes)
{
    Cuda *c = cuda_of(dev);
    CUdeviceptr at = 0;
    if (!cuda_enter(dev)) return NULL;
    CUresult e = take(c, &at, bytes);
    if (e == CU_ERROR_NO_MEMORY && c->is_pooled && wait_all(dev)) // what was freed comes back now
        e = take(c, &at, bytes);
    if (e == CU_ERROR_NO_MEMORY) at = 0; // no fault: the caller says what it wanted
    bool ok = e != CU_ERROR_NO_MEMORY && cuda_ok(dev, e, "cuMemAlloc");
    if (ok && !cuda_ok(dev, c->lib.cuMemsetD8Async(at, 0, bytes, c->stream), "cuMemsetD8Async")) {
        (void)c->lib.cuMemFree_v2(at);
        at = 0;
    }
    cuda_leave(dev);
    return ok ? (void *)(uintptr_t)at : NULL;
}

static void cuda_free(Device *dev, void *at, size_t bytes)
{
    Cuda *c = cuda_of(dev);
    (void)bytes;
    if (!cuda_enter(dev)) return;
    CUdeviceptr p = (CUdeviceptr)(uintptr_t)at;
    if (c->is_pooled)
        (void)cuda_ok(dev, c->lib.cuMemFreeAsync(p, c->stream), "cuMemFreeAsync");
    else
        (void)cuda_ok(dev, c->lib.cuMemFree_v2(p), "cuMemFree");
    cuda_leave(dev);
}

static void cuda_memory(Device *dev, size_t *free_bytes, size_t *total_bytes)
{
    Cuda *c = cuda_of(dev);
    *free_bytes = 0;
    if (!cuda_enter(dev)) return;
    (void)cuda_ok(dev, c->lib.cuMemGetInfo_v2(free_bytes, total_bytes), "cuMemGetInfo");
    cuda_leave(dev);
}

// ---- copies -----------------------------------------------------------------------------------

/// The next piece of pinned memory, once its last copy is done, or -1.
static int32_t stage_take(Device *dev)
{
    Cuda *c = cuda_of(dev);
    int32_t i = c->next_stage;
    c->next_stage = (i + 1) % STAGE_COUNT;
    if (c->stages[i].is_used &&
        !cuda_ok(dev, c->lib.cuEventSynchronize(c->stages[i].done), "cuEventSynchronize"))
        return -1;
    c->stages[i].is_used = false;
    return i;
}

static void cuda_upload(Device *dev, void *dst, const void *src, size_t bytes)
{
    Cuda *c = cuda_of(dev);
    if (!cuda_enter(dev)) return;
    for (size_t done = 0, n; done < bytes; done += n) {
        int32_t i = stage_take(dev);
        if (i < 0) break;
        n = MIN(bytes - done, (size_t)STAGE_BYTES);
        memcpy(c->stages[i].at, (const char *)src + done, n);
        CUdeviceptr to = (CUdeviceptr)(uintptr_t)dst + done;
        if (!cuda_ok(dev, c->lib.cuMemcpyHtoDAsync_v2(to, c->stages[i].at, n, c->stream),
                     "cuMemcpyHtoDAsync") ||
            !cuda_ok(dev, c->lib.cuEventRecord(c->stages[i].done, c->stream), "cuEventRecord"))
            break;
        c->stages[i].is_used = true;
    }
    cuda_leave(dev);
}

/// What cannot be read comes back as zeros: the fault says why.
static void cuda_download(Device *dev, void *dst, const void *src, size_t bytes)
{
    Cuda *c = cuda_of(dev);
    bool ok = cuda_enter(dev);
    if (!ok) {
        memset(dst, 0, bytes);
        return;
    }
    for (size_t done = 0, n; done < bytes; done += n) {
        int32_t i = ok ? stage_take(dev) : -1;
        n = MIN(bytes - done, (size_t)STAGE_BYTES);
        CUdeviceptr from = (CUdeviceptr)(uintptr_t)src + done;
        ok = i >= 0 &&
             cuda_ok(dev, c->lib.cuMemcpyDtoHAsync_v2(c->stages[i].at, from, n, c->stream),
                     "cuMemcpyDtoHAsync") &&
             wait_all(dev);
        if (ok)
            memcpy((char *)dst + done, c->stages[i].at, n);
        else
            memset((char *)dst + done, 0, n);
    }
    cuda_leave(dev);
}

/// Queues a copy inside the device. The context is current.
static void queue_copy(Device *dev, void *dst, const void *src, size_t bytes)
{
    Cuda *c = cuda_of(dev);
    (void)cuda_ok(dev,
                  c->lib.cuMemcpyDtoDAsync_v2((CUdeviceptr)(uintptr_t)dst,
                                              (CUdeviceptr)(uintptr_t)src, bytes, c->stream),
                  "cuMemcpyDtoDAsync");
}

static void cuda_copy(Device *dev, void *dst, const void *src, size_t bytes)
{
    if (!cuda_enter(dev)) return;
    queue_copy(dev, dst, src, bytes);
    cuda_leave(dev);
}

// ---- launches and graphs ----------------------------------------------------------------------

static KilnStatus cuda_run(Device *dev, int32_t n, const Launch *const *launches, Diag *diag)
{
    if (dev->fault != KILN_OK || !cuda_enter(dev)) return device_check(dev, diag);
    for (int32_t i = 0; i < n && dev->fault == KILN_OK; i++) {
        cuda_launch(dev, launches[i]);
        if (dev->guard && dev->fault == KILN_OK) (void)wait_all(dev);
    }
    cuda_leave(dev);
    return device_check(dev, diag);
}

static void cuda_gemm_step(Device *dev, const DeviceStep *step)
{
    if (!cuda_enter(dev)) return;
    cuda_gemm_run(dev, step);
    cuda_leave(dev);
}

typedef struct Captured {
    CUgraphExec exec;
    const char *name; ///< borrowed from the graph
    int32_t n_launches, n_gemms;
} Captured;

/// Queues all steps into a stream that is being captured; in order, so that each sees what came before.
static void queue_steps(Device *dev, int32_t n, const DeviceStep *steps, Captured *out)
{
    for (int32_t i = 0; i < n && dev->fault == KILN_OK; i++) {
        const DeviceStep *s = &steps[i];
        if (s->launch)
            cuda_launch(dev, s->launch), out->n_launches++;
        else if (s->gemm)
            cuda_gemm_run(dev, s), out->n_gemms++;
        else
            queue_copy(dev, s->dst, s->src, s->bytes);
    }
}

/// A library may load code of its own while it is captured, which only the relaxed mode lets it do.
static int capture_mode(int32_t n, const DeviceStep *steps)
{
    for (int32_t i = 0; i < n; i++)
        if (steps[i].gemm) return CU_CAPTURE_RELAXED;
    return CU_CAPTURE_THREAD_LOCAL;
}

static KilnStatus cuda_capture(Device *dev, const char *name, int32_t n, const DeviceStep *steps,
                               void **out, Diag *diag)
{
    Cuda *c = cuda_of(dev);
    CUgraph graph = NULL;
    *out = NULL;
    Captured *g = heap_new(dev->heap, Captured);
    if (!g) return fail(diag, KILN_ERR_NOMEM, "K102", "no memory for graph %s", name);
    g->name = name;
    if (dev->fault != KILN_OK || !cuda_enter(dev)) {
        heap_free(dev->heap, g);
        return device_check(dev, diag);
    }
    const int64_t n_queued = c->n_queued;
    const char *last_kernel = c->last_kernel, *last_graph = c->last_graph;
    if (cuda_ok(dev, c->lib.cuStreamBeginCapture_v2(c->stream, capture_mode(n, steps)),
                "cuStreamBeginCapture")) {
        queue_steps(dev, n, steps, g);
        CUresult e = c->lib.cuStreamEndCapture(c->stream, &graph); // also after a failure
        (void)cuda_ok(dev, e, "cuStreamEndCapture");
    }
    c->n_queued = n_queued; // nothing has run
    c->last_kernel = last_kernel;
    c->last_graph = last_graph;
    if (dev->fault == KILN_OK)
        (void)cuda_ok(dev, c->lib.cuGraphInstantiateWithFlags(&g->exec, graph, 0),
                      "cuGraphInstantiate");
    if (graph) (void)c->lib.cuGraphDestroy(graph);
    if (dev->fault == KILN_OK)
        (void)cuda_ok(dev, c->lib.cuGraphUpload(g->exec, c->stream), "cuGraphUpload");
    KilnStatus st = dev->fault;
    if (st != KILN_OK) {
        if (g->exec) (void)c->lib.cuGraphExecDestroy(g->exec);
        heap_free(dev->heap, g);
    } else
        *out = g;
    cuda_leave(dev);
    return device_check(dev, diag);
}

static KilnStatus cuda_replay(Device *dev, void *captured, Diag *diag)
{
    Cuda *c = cuda_of(dev);
    Captured *g = captured;
    if (dev->fault != KILN_OK || !cuda_enter(dev)) return device_check(dev, diag);
    cuda_note(c, NULL, g->name, g->n_launches + g->n_gemms);
    if (cuda_ok(dev, c->lib.cuGraphLaunch(g->exec, c->stream), "cuGraphLaunch")) {
        dev->counters.launches += g->n_launches;
        dev->counters.gemms += g->n_gemms;
    }
    cuda_leave(dev);
    return device_check(dev, diag);
}

static void cuda_forget(Device *dev, void *captured)
{
    Cuda *c = cuda_of(dev);
    Captured *g = captured;
    if (c->last_graph == g->name) c->last_graph = NULL;
    if (cuda_enter(dev)) {
        (void)cuda_ok(dev, c->lib.cuGraphExecDestroy(g->exec), "cuGraphExecDestroy");
        cuda_leave(dev);
    }
    heap_free(dev->heap, g);
}

// ---- events -----------------------------------------------------------------------------------

static void *cuda_event_new(Device *dev)
{
    CUevent e = NULL;
    if (!cuda_enter(dev)) return NULL;
    if (!cuda_ok(dev, cuda_of(dev)->lib.cuEventCreate(&e, 0), "cuEventCreate")) e = NULL;
    cuda_leave(dev);
    return e;
}

static void cuda_event_record(Device *dev, void *event)
{
    Cuda *c = cuda_of(dev);
    if (!cuda_enter(dev)) return;
    if (cuda_ok(dev, c->lib.cuEventRecord(event, c->stream), "cuEventRecord"))
        c->last_event = event;
    cuda_leave(dev);
}

static double cuda_event_us(Device *dev, void *begin, void *end)
{
    Cuda *c = cuda_of(dev);
    float ms = 0;
    if (!cuda_enter(dev)) return 0;
    if (cuda_ok(dev, c->lib.cuEventSynchronize(end), "cuEventSynchronize")) {
        if (c->last_event == end) forget_queued(c);
        (void)cuda_ok(dev, c->lib.cuEventElapsedTime(&ms, begin, end), "cuEventElapsedTime");
    }
    cuda_leave(dev);
    return (double)ms * 1e3;
}

static void cuda_event_free(Device *dev, void *event)
{
    if (!cuda_enter(dev)) return;
    (void)cuda_ok(dev, cuda_of(dev)->lib.cuEventDestroy_v2(event), "cuEventDestroy");
    cuda_leave(dev);
}

// ---- opening ----------------------------------------------------------------------------------

/// "cuda" is 0, "cuda:N" is N. @return -1: something else
static int32_t ordinal_of(const char *name)
{
    if (!strcmp(name, "cuda")) return 0;
    char *end;
    const char *digits = name + strlen("cuda:");
    long n = strtol(digits, &end, 10);
    return *digits >= '0' && *digits <= '9' && !*end && n < 1000 ? (int32_t)n : -1;
}

static KilnStatus find_card(Device *dev, const DeviceOptions *options, CudaCard *card,
                            int32_t *ordinal, Diag *diag)
{
    KilnStatus st = KILN_OK;
    Cuda *c = cuda_of(dev);
    int n = 0;
    *ordinal = ordinal_of(options->name);
    if (*ordinal < 0)
        TRY(fail_hint(diag, KILN_ERR_INPUT, "K302",
                      "cuda:0 is the first GPU; kiln doctor lists them",
                      "--device %s: no such device", options->name));
    TRY(cuda_lib_open(options->cuda_lib, &c->lib, diag));
    if (c->lib.cuDeviceGetCount(&n) != 0) n = 0;
    if (*ordinal >= n)
        TRY(fail_hint(diag, KILN_ERR_DEVICE, "K302", "kiln doctor lists them",
                      "--device %s: there %s %d GPU%s", options->name, n == 1 ? "is" : "are", n,
                      n == 1 ? "" : "s"));
    TRY(cuda_card(&c->lib, *ordinal, card, diag));
    if (card->is_old)
        TRY(fail(diag, KILN_ERR_DEVICE, "K302",
                 "cuda:%d: %s has compute capability %d.%d (expected 7.5 or newer)", *ordinal,
                 card->model, card->major, card->minor));
done:
    return st;
}

static void fill_facts(Device *dev, const CudaCard *card, int32_t ordinal)
{
    Cuda *c = cuda_of(dev);
    DeviceFacts *f = &dev->facts;
    snprintf(f->name, sizeof f->name, "cuda:%d", ordinal);
    memcpy(f->model, card->model, sizeof f->model);
    f->target = card->target;
    f->has_stream = true;
    f->memory_total = card->memory_total;
    snprintf(f->code_tag, sizeof f->code_tag, "driver %d sm %d.%d", c->lib.driver, card->major,
             card->minor);
}

/// Stream and pinned memory. The context is current.
static void open_stream(Device *dev)
{
    Cuda *c = cuda_of(dev);
    int pools = 0, clusters = 0;
    if (!cuda_ok(dev, c->lib.cuStreamCreate(&c->stream, CU_STREAM_NON_BLOCKING), "cuStreamCreate"))
        return;
    (void)c->lib.cuDeviceGetAttribute(&pools, CU_ATTRIBUTE_POOLS, c->dev);
    (void)c->lib.cuDeviceGetAttribute(&clusters, CU_ATTRIBUTE_CLUSTERS, c->dev);
    c->is_pooled = pools && c->lib.has_pools;
    c->has_clusters = clusters && c->lib.cuLaunchKernelEx;
    for (int32_t i = 0; i < STAGE_COUNT && dev->fault == KILN_OK; i++) {
        void *at = NULL;
        if (cuda_ok(dev, c->lib.cuMemHostAlloc(&at, STAGE_BYTES, 0), "cuMemHostAlloc"))
            c->stages[i].at = at;
        enum { NO_TIMING = 2 };
        if (dev->fault == KILN_OK)
            (void)cuda_ok(dev, c->lib.cuEventCreate(&c->stages[i].done, NO_TIMING),
                          "cuEventCreate");
    }
}

KilnStatus device_cuda_open(Device *dev, const DeviceOptions *options, Diag *diag)
{
    KilnStatus st = KILN_OK;
    CudaCard card;
    int32_t ordinal;
    Cuda *c = heap_new(dev->heap, Cuda);
    if (!c) return fail(diag, KILN_ERR_NOMEM, "K102", "no memory for device %s", options->name);
    dev->self = c;
    TRY(find_card(dev, options, &card, &ordinal, diag));
    fill_facts(dev, &card, ordinal);
    if (cuda_ok(dev, c->lib.cuDeviceGet(&c->dev, ordinal), "cuDeviceGet") &&
        cuda_ok(dev, c->lib.cuDevicePrimaryCtxRetain(&c->context, c->dev),
                "cuDevicePrimaryCtxRetain"))
        dev->ops = c->lib.has_graphs ? &cuda_ops : &cuda_ops_without_graphs; // close() is due now
    TRY(device_check(dev, diag));
    if (cuda_enter(dev)) {
        open_stream(dev);
        cuda_leave(dev);
    }
    TRY(device_check(dev, diag));
    cuda_gemm_open(dev, options->cublas_lib);
    device_memory_free(dev);
    st = device_check(dev, diag);
done:
    if (!dev->ops) {
        heap_free(dev->heap, c);
        dev->self = NULL;
    }
    return st;
}

static void cuda_close(Device *dev)
{
    Cuda *c = cuda_of(dev);
    if (!dev->is_lost) dev->fault = KILN_OK; // nobody will ask any more
    if (c->stream) cuda_sync(dev);
    cuda_gemm_close(dev);
    if (cuda_enter(dev)) {
        for (int32_t i = 0; i < STAGE_COUNT; i++) {
            if (c->stages[i].done) (void)c->lib.cuEventDestroy_v2(c->stages[i].done);
            if (c->stages[i].at) (void)c->lib.cuMemFreeHost(c->stages[i].at);
        }
        if (c->stream) (void)c->lib.cuStreamDestroy_v2(c->stream);
        cuda_leave(dev);
    }
    (void)c->lib.cuDevicePrimaryCtxRelease_v2(c->dev);
    heap_free(dev->heap, c);
}

#define CUDA_OPS                                                                                   \
    .kind = "cuda", .alloc = cuda_alloc, .free = cuda_free, .upload = cuda_upload,                 \
    .download = cuda_download, .copy = cuda_copy, .run = cuda_run, .close = cuda_close,            \
    .sync = cuda_sync, .memory = cuda_memory, .assemble = cuda_assemble, .load = cuda_load,        \
    .unload = cuda_unload, .event_new = cuda_event_new, .event_record = cuda_event_record,         \
    .event_us = cuda_event_us, .event_free = cuda_event_free, .gemm_plan = cuda_gemm_plan,         \
    .gemm_run = cuda_gemm_step

static const DeviceOps cuda_ops = {
    CUDA_OPS,
    .capture = cuda_capture,
    .replay = cuda_replay,
    .forget = cuda_forget,
};
static const DeviceOps cuda_ops_without_graphs = {CUDA_OPS};
