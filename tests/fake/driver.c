// tests/fake/driver.c - the functions that every driver has.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "core.h"

// ---- the driver -------------------------------------------------------------------------------

EXPORT int cuInit(unsigned flags)
{
    ENTER(FREE, "flags=%u", flags);
    if (S.devices < 1) return 100;
    S.is_init = true;
    return 0;
}

EXPORT int cuDriverGetVersion(int *version)
{
    ENTER(FREE, "%s", "");
    *version = (int)S.driver;
    return 0;
}

static const struct {
    int e;
    const char *name, *text;
} errors[] = {
    {1, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {2, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {3, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {100, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {201, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {209, "CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution"},
    {218, "CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"},
    {221, "CUDA_ERROR_JIT_COMPILER_NOT_FOUND", "PTX JIT compiler library not found"},
    {222, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
     "the provided PTX was compiled with an unsupported toolchain."},
    {400, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {700, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {701, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "too many resources requested for launch"},
    {719, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {900, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
     "operation not permitted when stream is capturing"},
    {901, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
     "operation failed due to a previous error during capture"},
    {999, "CUDA_ERROR_UNKNOWN", "unknown error"},
};

EXPORT int cuGetErrorName(int e, const char **text)
{
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i].e == e) return *text = errors[i].name, 0;
    *text = NULL;
    return 1;
}

EXPORT int cuGetErrorString(int e, const char **text)
{
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i].e == e) return *text = errors[i].text, 0;
    *text = NULL;
    return 1;
}

EXPORT int cuDeviceGetCount(int *n)
{
    ENTER(INIT, "%s", "");
    *n = (int)S.devices;
    return 0;
}

EXPORT int cuDeviceGet(int *dev, int ordinal)
{
    ENTER(INIT, "ordinal=%d", ordinal);
    if (ordinal < 0 || ordinal >= S.devices) return 101;
    *dev = ordinal;
    return 0;
}

EXPORT int cuDeviceGetName(char *name, int size, int dev)
{
    ENTER(INIT, "dev=%d", dev);
    snprintf(name, (size_t)size, "Fake GPU %d", dev);
    return 0;
}

EXPORT int cuDeviceTotalMem_v2(size_t *bytes, int dev)
{
    ENTER(INIT, "dev=%d", dev);
    *bytes = (size_t)S.memory;
    return 0;
}

EXPORT int cuDeviceGetAttribute(int *value, int attribute, int dev)
{
    ENTER(INIT, "attribute=%d dev=%d", attribute, dev);
    const struct {
        int attribute;
        int64_t value;
    } facts[] = {{16, 108},    {75, S.major},  {76, S.minor},
                 {97, 166912}, {115, S.pools}, {120, S.clusters}};
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++)
        if (facts[i].attribute == attribute) return *value = (int)facts[i].value, 0;
    fake_object("cuDeviceGetAttribute: attribute %d is not known here", attribute);
    return 1;
}

EXPORT int cuDevicePrimaryCtxRetain(void **cx, int dev)
{
    ENTER(INIT, "dev=%d", dev);
    if (!S.contexts[dev]) {
        S.contexts[dev] = object_new(CONTEXT);
        S.contexts[dev]->device = dev;
    }
    S.contexts[dev]->refs++;
    *cx = S.contexts[dev];
    return 0;
}

/// What is alive in a context that goes away leaks, unless a fault has taken everything anyway.
void report_leaks(int dev)
{
    if (S.poisoned[dev]) return;
    for (int i = 0; i < S.n_objects; i++) {
        Object *o = S.objects[i];
        if (!counts_as_alive(o) || o->device != dev) continue;
        fake_object("leak: %s %s%s%s", kind_name(o->kind), name_of(o), *o->entry ? " " : "",
                    o->entry);
        o->alive = false;
    }
    bool is_last = true; // objects of libraries belong to no device that is known here
    for (int i = 0; i < 16; i++)
        is_last &= !S.contexts[i] || i == dev;
    if (S.tracked && is_last) fake_object("leak: %d objects of a library", S.tracked);
}

EXPORT int cuDevicePrimaryCtxRelease_v2(int dev)
{
    ENTER(INIT, "dev=%d", dev);
    if (!S.contexts[dev] || S.contexts[dev]->refs < 1) {
        fake_object("cuDevicePrimaryCtxRelease of a context that is not retained");
        return 201;
    }
    if (--S.contexts[dev]->refs) return 0;
    for (int i = 0; i < S.n_objects; i++) // frees that were queued take effect
        if (S.objects[i]->is_leaving) S.objects[i]->alive = false;
    report_leaks(dev);
    S.contexts[dev]->alive = false;
    S.contexts[dev] = NULL;
    S.poisoned[dev] = 0;
    return 0;
}

EXPORT int cuCtxPushCurrent_v2(void *cx)
{
    ENTER(INIT, "%s", name_of(cx));
    Object *o = object_of(__func__, cx, CONTEXT);
    if (!o || fake_current.depth == 16) return 201;
    fake_current.stack[fake_current.depth++] = o;
    return 0;
}

EXPORT int cuCtxPopCurrent_v2(void **cx)
{
    ENTER(INIT, "%s", "");
    if (!fake_current.depth) {
        fake_object("cuCtxPopCurrent without a context");
        return 201;
    }
    *cx = fake_current.stack[--fake_current.depth];
    return 0;
}

// ---- memory -----------------------------------------------------------------------------------

/// Fresh pages, never used before; freed ones stay reserved, so that no address comes twice.
int take(Kind kind, size_t bytes, bool is_async, Object **out)
{
    if (kind == MEMORY && S.used + (int64_t)bytes > S.memory) return 2;
    void *at = mmap(NULL, bytes ? bytes : 1, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) return 2;
    Object *o = object_new(kind);
    o->at = at, o->bytes = bytes, o->is_async = is_async;
    if (kind == MEMORY) {
        memset(at, 0xCD, bytes < 4096 ? bytes : 4096); // nobody said it is zero
        S.used += (int64_t)bytes;
    }
    *out = o;
    return 0;
}

void give(Object *o)
{
    o->alive = false;
    if (o->kind == MEMORY) S.used -= (int64_t)o->bytes;
    mprotect(o->at, o->bytes, PROT_NONE);
}

/// The allocation that begins at `at`, alive.
Object *allocation(const char *call, const void *at, Kind kind)
{
    Object *o = memory_at(at);
    if (!o || o->kind != kind || o->at != at)
        fake_object("%s of an address that was not allocated", call);
    else if (!o->alive || o->is_leaving)
        fake_object("%s of %s, which was freed", call, name_of(o));
    else if (o->device != current_device())
        fake_object("%s of %s in another context", call, name_of(o));
    else
        return o;
    return NULL;
}

EXPORT int cuMemAlloc_v2(Address *at, size_t bytes)
{
    ENTER(INIT | CURRENT | OUTSIDE_CAPTURE, "bytes=%zu", bytes);
    Object *o;
    int e = take(MEMORY, bytes, false, &o);
    if (!e) *at = (Address)(uintptr_t)o->at;
    return e;
}

EXPORT int cuMemFree_v2(Address at)
{
    ENTER(INIT | CURRENT | OUTSIDE_CAPTURE, "%s", address_name((void *)(uintptr_t)at));
    Object *o = allocation(__func__, (void *)(uintptr_t)at, MEMORY);
    if (!o) return 1;
    for (int i = 0; i < S.n_objects; i++) // it waits for everything
        if (S.objects[i]->kind == STREAM && S.objects[i]->alive) (void)drain(S.objects[i], NULL);
    give(o);
    return 0;
}

EXPORT int cuMemGetInfo_v2(size_t *free_bytes, size_t *total_bytes)
{
    ENTER(INIT | CURRENT, "%s", "");
    *total_bytes = (size_t)S.memory;
    *free_bytes = (size_t)(S.memory - S.used);
    return 0;
}

EXPORT int cuMemHostAlloc(void **at, size_t bytes, unsigned flags)
{
    ENTER(INIT | CURRENT | OUTSIDE_CAPTURE, "bytes=%zu flags=%u", bytes, flags);
    Object *o;
    int e = take(HOST, bytes, false, &o);
    if (!e) *at = o->at;
    return e;
}

EXPORT int cuMemFreeHost(void *at)
{
    ENTER(INIT | CURRENT | OUTSIDE_CAPTURE, "%s", address_name(at));
    Object *o = allocation(__func__, at, HOST);
    if (!o) return 1;
    give(o);
    return 0;
}

/// Copies between the device and pinned memory only: from elsewhere the driver would wait.
static int copy(const char *call, char *dst, const char *src, size_t bytes, int from_host,
                int to_host, void *stream)
{
    const char *ends[] = {src, dst};
    const int is_host[] = {from_host, to_host};
    for (int i = 0; i < 2; i++) {
        Object *o = memory_at(ends[i]);
        if (!is_host[i] && !fake_check_memory(call, ends[i], bytes)) return 1;
        if (is_host[i] && (!o || o->kind != HOST || !o->alive))
            fake_object("%s: %p is not pinned memory", call, (const void *)ends[i]);
    }
    Op op = {.kind = OP_COPY, .dst = dst, .src = src, .bytes = bytes};
    return queue(call, stream, op);
}

EXPORT int cuMemcpyHtoDAsync_v2(Address dst, const void *src, size_t bytes, void *stream)
{
    char *to = (char *)(uintptr_t)dst;
    ENTER(INIT | CURRENT, "dst=%s bytes=%zu stream=%s", address_name(to), bytes, name_of(stream));
    return copy(__func__, to, src, bytes, 1, 0, stream);
}

EXPORT int cuMemcpyDtoHAsync_v2(void *dst, Address src, size_t bytes, void *stream)
{
    char *from = (char *)(uintptr_t)src;
    ENTER(INIT | CURRENT, "src=%s bytes=%zu stream=%s", address_name(from), bytes, name_of(stream));
    return copy(__func__, dst, from, bytes, 0, 1, stream);
}

EXPORT int cuMemcpyDtoDAsync_v2(Address dst, Address src, size_t bytes, void *stream)
{
    char *to = (char *)(uintptr_t)dst, *from = (char *)(uintptr_t)src;
    ENTER(INIT | CURRENT, "dst=%s src=%s bytes=%zu stream=%s", address_name(to), address_name(from),
          bytes, name_of(stream));
    return copy(__func__, to, from, bytes, 0, 0, stream);
}

EXPORT int cuMemsetD8Async(Address dst, unsigned char value, size_t n, void *stream)
{
    char *to = (char *)(uintptr_t)dst;
    ENTER(INIT | CURRENT, "dst=%s value=%u bytes=%zu stream=%s", address_name(to), value, n,
          name_of(stream));
    if (!fake_check_memory(__func__, to, n)) return 1;
    return queue(__func__, stream, (Op){.kind = OP_SET, .dst = to, .bytes = n, .value = value});
}

// ---- code -------------------------------------------------------------------------------------

/// An image that cuLinkComplete makes and cuModuleLoadDataEx takes: for one architecture.
static const char cubin_magic[] = "\x7f"
                                  "FAKE";

EXPORT int cuLinkAddData_v2(void *link, int kind, void *data, size_t size, const char *name,
                            unsigned n, int *options, void **values);

/// The log buffer of a list of JIT options, or NULL.
static char *error_log(unsigned n, const int *options, void **values, size_t *size)
{
    char *at = NULL;
    for (unsigned i = 0; i < n; i++) {
        if (options[i] == 5) at = values[i];
        if (options[i] == 6) *size = (size_t)(uintptr_t)values[i];
    }
    return at;
}

/// ".version 8.4" of a driver for CUDA 12.4 and so on, unless a test says otherwise.
static int64_t newest_ptx(void)
{
    return S.ptx ? S.ptx : (S.driver / 1000 - 4) * 10 + S.driver % 1000 / 10;
}

/// Parses the head of a module: version, target. @return an error of the JIT or 0
static int check_ptx(const char *text, char *log, size_t log_size)
{
    int major = 0, minor = 0, sm = 0;
    char suffix = 0;
    const char *version = strstr(text, ".version "), *target = strstr(text, ".target sm_");
    if (!version || sscanf(version, ".version %d.%d", &major, &minor) != 2 || !target ||
        sscanf(target, ".target sm_%d%c", &sm, &suffix) < 1) {
        if (log)
            snprintf(log, log_size, "ptxas application ptx input, line 1; fatal   : no .version");
        return 218;
    }
    if (major * 10 + minor > newest_ptx()) {
        if (log)
            snprintf(log, log_size,
                     "ptxas application ptx input, line 1; fatal   : Unsupported .version %d.%d; "
                     "current version is '%d.%d'",
                     major, minor, (int)newest_ptx() / 10, (int)newest_ptx() % 10);
        return 222;
    }
    int here = (int)(S.major * 10 + S.minor);
    if (suffix == 'a' ? sm != here : sm > here) {
        if (log)
            snprintf(log, log_size,
                     "ptxas fatal   : SM version specified by .target is higher than default SM "
                     "version assumed");
        return 209;
    }
    return 0;
}

EXPORT int cuModuleLoadDataEx(void **module, const void *image, unsigned n, int *options,
                              void **values)
{
    ENTER(INIT | CURRENT | OUTSIDE_CAPTURE, "options=%u", n);
    const char *text = image;
    size_t log_size = 0;
    char *log = error_log(n, options, values, &log_size);
    if (!memcmp(text, cubin_magic, 5)) {
        int sm = atoi(text + 5);
        if (sm != S.major * 10 + S.minor) return 209;
        text = strchr(text, '\n') + 1;
    }
    int e = check_ptx(text, log, log_size);
    if (e) return e;
    Object *o = object_new(MODULE);
    o->text = strdup(text);
    *module = o;
    return 0;
}

EXPORT int cuModuleUnload(void *module)
{
    ENTER(INIT | CURRENT | OUTSIDE_CAPTURE, "%s", name_of(module));
    Object *o = object_of(__func__, module, MODULE);
    if (!o) return 400;
    o->alive = false;
    for (int i = 0; i < S.n_objects; i++)
        if (S.objects[i]->kind == FUNCTION && S.objects[i]->module == o)
            S.objects[i]->alive = false;
    return 0;
}

/// Sizes of the parameters behind "(" and the block size behind ")".
static void read_signature(Object *f, const char *at)
{
    const char *end = strchr(at, ')');
    size_t offset = 0;
    while (end && (at = strstr(at, ".param .")) && at < end && f->n_params < 64) {
        char type;
        int bits = 0;
        if (sscanf(at, ".param .%c%d", &type, &bits) != 2) break;
        size_t bytes = (size_t)bits / 8;
        offset = (offset + bytes - 1) / bytes * bytes + bytes;
        f->param_bytes[f->n_params++] = (int)bytes;
        at += 8;
    }
    f->args_bytes = offset;
    const char *threads = end ? strstr(end, ".reqntid ") : NULL;
    const char *body = end ? strchr(end, '{') : NULL;
    f->threads = threads && threads < body ? (unsigned)atoi(threads + 9) : 0;
}

EXPORT int cuModuleGetFunction(void **fn, void *module, const char *name)
{
    ENTER(INIT | CURRENT, "%s %s", name_of(module), name);
    Object *m = object_of(__func__, module, MODULE);
    if (!m) return 400;
    char head[160];
    snprintf(head, sizeof head, ".entry %s(", name);
    const char *at = strstr(m->text, head);
    if (!at) return 500;
    Object *f = object_new(FUNCTION);
    f->module = m, f->shared_limit = 48 << 10;
    snprintf(f->entry, sizeof f->entry, "%s", name);
    snprintf(m->entry, sizeof m->entry, "%s", name);
    read_signature(f, at);
    *fn = f;
    return 0;
}

EXPORT int cuFuncSetAttribute(void *fn, int attribute, int value)
{
    ENTER(INIT | CURRENT, "%s attribute=%d value=%d", name_of(fn), attribute, value);
    Object *f = object_of(__func__, fn, FUNCTION);
    if (!f) return 400;
    if (attribute == 8 && (value < 0 || value > 166912)) return 1;
    if (attribute == 8) f->shared_limit = (unsigned)value;
    return 0;
}

#ifndef FAKE_WITHOUT_LINK
EXPORT int cuLinkCreate_v2(unsigned n, int *options, void **values, void **link)
{
    ENTER(INIT | CURRENT | OUTSIDE_CAPTURE, "options=%u", n);
    Object *o = object_new(LINK);
    o->at = error_log(n, options, values, &o->bytes);
    *link = o;
    return 0;
}
#endif

EXPORT int cuLinkAddData_v2(void *link, int kind, void *data, size_t size, const char *name,
                            unsigned n, int *options, void **values)
{
    (void)n, (void)options, (void)values;
    ENTER(INIT | CURRENT, "%s kind=%d bytes=%zu %s", name_of(link), kind, size, name);
    Object *o = object_of(__func__, link, LINK);
    if (!o) return 400;
    if (kind != 1 || !size || ((char *)data)[size - 1]) {
        fake_object("cuLinkAddData: PTX without its final NUL");
        return 1;
    }
    int e = check_ptx(data, o->at, o->bytes);
    if (!e) o->text = strdup(data);
    return e;
}

EXPORT int cuLinkComplete(void *link, void **image, size_t *size)
{
    ENTER(INIT | CURRENT, "%s", name_of(link));
    Object *o = object_of(__func__, link, LINK);
    if (!o || !o->text) return 400;
    char head[32];
    int n = snprintf(head, sizeof head, "%s%d\n", cubin_magic, (int)(S.major * 10 + S.minor));
    *size = (size_t)n + strlen(o->text) + 1;
    char *made = o->image = malloc(*size);
    memcpy(made, head, (size_t)n);
    strcpy(made + n, o->text);
    *image = made;
    return 0;
}

EXPORT int cuLinkDestroy(void *link)
{
    ENTER(INIT | CURRENT, "%s", name_of(link));
    Object *o = object_of(__func__, link, LINK);
    if (!o) return 400;
    o->alive = false;
    free(o->image); // a caller that keeps it reads freed memory
    o->image = NULL;
    return 0;
}

// ---- launches ---------------------------------------------------------------------------------

/// The argument buffer out of `extra`.
static const void *buffer_of(void **extra, size_t *size)
{
    const void *at = NULL;
    for (; extra && *extra; extra += 2) {
        if (*extra == (void *)1) at = extra[1];
        if (*extra == (void *)2) *size = *(size_t *)extra[1];
    }
    return at;
}

/// Arguments that point into memory that was freed.
bool check_args(const Object *f, const char *args)
{
    size_t offset = 0;
    for (int i = 0; i < f->n_params; i++) {
        size_t bytes = (size_t)f->param_bytes[i];
        offset = (offset + bytes - 1) / bytes * bytes;
        void *p = NULL;
        if (bytes == sizeof p) memcpy(&p, args + offset, sizeof p);
        Object *o = p ? memory_at(p) : NULL;
        if (o && o->kind == MEMORY && (!o->alive || o->is_leaving || o->device != f->device)) {
            fake_object("launch of %s: argument %d points to %s, which was freed or is of another "
                        "device",
                        f->entry, i, address_name(p));
            return false;
        }
        offset += bytes;
    }
    return true;
}

int launch(const char *call, void *fn, const unsigned grid[3], const unsigned block[3],
           unsigned shared, void *stream, void **params, void **extra)
{
    size_t size = 0;
    const void *args = buffer_of(extra, &size);
    Object *f = object_of(call, fn, FUNCTION);
    if (!f) return 400;
    unsigned threads = block[0] * block[1] * block[2];
    if (params || !args || size != f->args_bytes) {
        fake_object("launch of %s with %zu bytes of arguments, its parameters have %zu", f->entry,
                    size, f->args_bytes);
        return 1;
    }
    if (!grid[0] || !grid[1] || !grid[2] || grid[1] > 65535 || grid[2] > 65535 || !threads ||
        threads > 1024 || (f->threads && threads != f->threads)) {
        fake_object("launch of %s: grid %u x %u x %u of %u threads (reqntid %u)", f->entry, grid[0],
                    grid[1], grid[2], threads, f->threads);
        return 1;
    }
    if (shared > f->shared_limit) {
        fake_object("launch of %s with %u bytes of shared memory, %u were asked for", f->entry,
                    shared, f->shared_limit);
        return 1;
    }
    if (!check_args(f, args)) return 1;
    Op op = {.kind = OP_RUN,
             .object = f,
             .shared = shared,
             .payload = (void *)(uintptr_t)args,
             .payload_bytes = size};
    memcpy(op.grid, grid, sizeof op.grid);
    memcpy(op.block, block, sizeof op.block);
    return queue(call, stream, op);
}

EXPORT int cuLaunchKernel(void *fn, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                          unsigned bz, unsigned shared, void *stream, void **params, void **extra)
{
    ENTER(INIT | CURRENT, "%s grid=%u,%u,%u block=%u shared=%u stream=%s",
          fn ? ((Object *)fn)->entry : "null", gx, gy, gz, bx, shared, name_of(stream));
    return launch(__func__, fn, (unsigned[]){gx, gy, gz}, (unsigned[]){bx, by, bz}, shared, stream,
                  params, extra);
}

// ---- streams and events -----------------------------------------------------------------------

EXPORT int cuStreamCreate(void **stream, unsigned flags)
{
    ENTER(INIT | CURRENT | OUTSIDE_CAPTURE, "flags=%u", flags);
    *stream = object_new(STREAM);
    return 0;
}

EXPORT int cuStreamDestroy_v2(void *stream)
{
    ENTER(INIT | CURRENT, "%s", name_of(stream));
    Object *s = object_of(__func__, stream, STREAM);
    if (!s) return 400;
    if (s->is_capturing) fake_object("cuStreamDestroy while it is being captured");
    int e = drain(s, NULL);
    s->alive = false;
    return e;
}

EXPORT int cuStreamSynchronize(void *stream)
{
    ENTER(INIT | CURRENT, "%s", name_of(stream));
    Object *s = object_of(__func__, stream, STREAM);
    if (!s) return 400;
    if (s->is_capturing) {
        fake_object("cuStreamSynchronize of a stream that is being captured");
        s->capture_failed = true;
        return 900;
    }
    return drain(s, NULL);
}

EXPORT int cuEventCreate(void **event, unsigned flags)
{
    ENTER(INIT | CURRENT, "flags=%u", flags);
    Object *e = object_new(EVENT);
    e->capture_mode = (int)flags;
    *event = e;
    return 0;
}

EXPORT int cuEventRecord(void *event, void *stream)
{
    ENTER(INIT | CURRENT, "%s stream=%s", name_of(event), name_of(stream));
    Object *e = object_of(__func__, event, EVENT);
    if (!e) return 400;
    e->is_recorded = true;
    return queue(__func__, stream, (Op){.kind = OP_RECORD, .object = e});
}

EXPORT int cuEventSynchronize(void *event)
{
    ENTER(INIT | CURRENT | OUTSIDE_CAPTURE, "%s", name_of(event));
    Object *e = object_of(__func__, event, EVENT);
    if (!e) return 400;
    for (int i = 0; i < S.n_objects; i++) {
        Object *s = S.objects[i];
        if (s->kind != STREAM || !s->alive || s->device != e->device || s->is_capturing) continue;
        int error = drain(s, e);
        if (error) return error;
    }
    return 0;
}

EXPORT int cuEventElapsedTime(float *ms, void *begin, void *end)
{
    ENTER(INIT | CURRENT, "%s %s", name_of(begin), name_of(end));
    Object *a = object_of(__func__, begin, EVENT), *b = object_of(__func__, end, EVENT);
    if (!a || !b) return 400;
    if (!a->is_recorded || !b->is_recorded || a->capture_mode & 2 || b->capture_mode & 2) {
        fake_object("cuEventElapsedTime of events without a time");
        return 400;
    }
    *ms = (float)((b->time - a->time) * 1e3);
    return 0;
}

EXPORT int cuEventDestroy_v2(void *event)
{
    ENTER(INIT | CURRENT, "%s", name_of(event));
    Object *e = object_of(__func__, event, EVENT);
    if (!e) return 400;
    e->alive = false;
    return 0;
}
