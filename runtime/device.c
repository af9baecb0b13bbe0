// runtime/device.c - which devices there are, and the accounts of their memory.
#include "runtime/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "runtime/launch.h"

// ---- the table --------------------------------------------------------------------------------

// clang-format off
#define HOST_KINDS                                                                                 \
    {"cpu", "native code on this machine's threads (cpu:generic, cpu:avx2, cpu:avx512, cpu:neon, " \
            "cpu:neon-dot, cpu:neon-i8mm force a level)", true, NULL},                             \
    {"interp", "the meaning of the tile IR, every access checked", true, NULL},                    \
    {"emu", "GPU code on this CPU, checked: emu:sm_75, 80, 86, 89, 90a", true, NULL}
// clang-format on

static const DeviceKind kinds[] = {
    HOST_KINDS,
    {"cuda", "NVIDIA GPUs: cuda:0, cuda:1 ...; cuda is the first", true, NULL},
};
static const DeviceKind kinds_without_cuda[] = {
    HOST_KINDS,
    {"cuda", "NVIDIA GPUs", false,
     "no NVIDIA driver that can be used (kiln doctor says why); emu:sm_80 and emu:sm_90a run the "
     "same code on the CPU"},
};

int32_t device_kinds(const DeviceKind **out)
{
    CudaList cards;
    *out = device_cuda_list(NULL, &cards, NULL) == KILN_OK ? kinds : kinds_without_cuda;
    return COUNT_OF(kinds);
}

static const DeviceKind *kind_named(const char *name)
{
    size_t len = strcspn(name, ":");
    for (int32_t i = 0; i < COUNT_OF(kinds); i++)
        if (strlen(kinds[i].name) == len && !strncmp(kinds[i].name, name, len)) return &kinds[i];
    return NULL;
}

/// The number after `key` in a file of "key value" lines, or -1.
static int64_t file_number(const char *path, const char *key)
{
    FILE *f = fopen(path, "re");
    if (!f) return -1;
    char line[256];
    int64_t value = -1;
    while (value < 0 && fgets(line, sizeof line, f)) {
        if (strncmp(line, key, strlen(key)) != 0) continue;
        char *end;
        long long v = strtoll(line + strlen(key), &end, 10);
        if (end != line + strlen(key)) value = v;
    }
    fclose(f);
    return value;
}

/// What the system says is available, within the limit of this control group.
static size_t host_memory_free(void)
{
    int64_t kib = file_number("/proc/meminfo", "MemAvailable:");
    int64_t bytes =
        kib > 0 ? kib * 1024 : (int64_t)sysconf(_SC_AVPHYS_PAGES) * sysconf(_SC_PAGESIZE);
    int64_t limit = file_number("/sys/fs/cgroup/memory.max", "");
    int64_t used = file_number("/sys/fs/cgroup/memory.current", "");
    if (limit > 0 && used >= 0 && limit - used < bytes) bytes = MAX(limit - used, 0);
    return (size_t)MAX(bytes, 0);
}

static void host_model(char *out, size_t size)
{
    snprintf(out, size, "unknown CPU");
    FILE *f = fopen("/proc/cpuinfo", "re");
    if (!f) return;
    char line[256];
    while (fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon) continue;
        colon += 1 + strspn(colon + 1, " ");
        colon[strcspn(colon, "\n")] = 0;
        snprintf(out, size, "%s", colon);
        break;
    }
    fclose(f);
}

static KilnStatus resolve(const char *name, Target *target, Diag *diag)
{
    if (!kind_named(name))
        return fail_hint(
            diag, KILN_ERR_INPUT, "K302",
            "there are: cpu, cpu:avx2, cpu:generic, cuda:0, emu:sm_80, emu:sm_90a, interp",
            "--device %s: no such device", name);
    KilnStatus st = target_parse(name, target, diag);
    if (st != KILN_OK) return st;
    if (!target_runs_here(target))
        return fail(diag, KILN_ERR_UNSUPPORTED, "K302",
                    "--device %s: this machine cannot run such code", name);
    return KILN_OK;
}

static KilnStatus open_host(Device *dev, const char *name, Diag *diag)
{
    KilnStatus st = resolve(name, &dev->facts.target, diag);
    if (st != KILN_OK) return st;
    bool is_native = dev->facts.target.kind == TARGET_CPU;
    dev->ops = is_native ? &device_cpu_ops : &device_checked_ops;
    host_model(dev->facts.model, sizeof dev->facts.model);
    dev->facts.is_host_memory = true;
    dev->facts.is_checked = !is_native;
    dev->facts.memory_total = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
    dev->facts.memory_free = host_memory_free();
    return KILN_OK;
}

KilnStatus device_open(const DeviceOptions *options, Device **out, Diag *diag)
{
    KilnStatus st = KILN_OK;
    Heap *heap = options->heap ? options->heap : heap_default();
    const char *name = options->name ? options->name : "cpu";
    *out = NULL;
    Device *dev = heap_new(heap, Device);
    if (!dev) return fail(diag, KILN_ERR_NOMEM, "K102", "no memory for device %s", name);
    dev->heap = heap;
    dev->log = options->log;
    dev->guard = options->guard;
    snprintf(dev->facts.name, sizeof dev->facts.name, "%s", name);
    bool is_cuda = !strcmp(name, "cuda") || !strncmp(name, "cuda:", 5);
    TRY(is_cuda ? device_cuda_open(dev, options, diag) : open_host(dev, name, diag));
    bool is_native = dev->facts.target.kind == TARGET_CPU;
    PoolOptions pool = {.n_threads = is_native ? options->n_threads : 1, .pin = options->pin};
    TRY(pool_open(heap, &pool, &dev->pool, diag));
    dev->facts.n_threads = pool_n_threads(dev->pool);
    dev->tls = heap_array(heap, Tls, dev->facts.n_threads);
    if (!dev->tls) TRY(fail(diag, KILN_ERR_NOMEM, "K102", "no memory for device %s", name));
    *out = dev;
    dev = NULL;
done:
    device_close(dev);
    return st;
}

void device_close(Device *dev)
{
    if (!dev) return;
    while (dev->n_ranges)
        device_free(dev, dev->ranges[dev->n_ranges - 1].range.begin);
    if (dev->ops && dev->ops->close) dev->ops->close(dev);
    for (int32_t i = 0; dev->tls && i < dev->facts.n_threads; i++)
        heap_free(dev->heap, dev->tls[i].scratch);
    heap_free(dev->heap, dev->tls);
    heap_free(dev->heap, dev->ranges);
    heap_free(dev->heap, dev->checks);
    pool_close(dev->pool);
    heap_free(dev->heap, dev);
}

// ---- memory -----------------------------------------------------------------------------------

/// The index of the last range that begins at or before `at`, or -1.
static int32_t range_before(const Device *dev, const void *at)
{
    int32_t lo = 0, hi = dev->n_ranges;
    while (lo < hi) {
        int32_t mid = (lo + hi) / 2;
        if ((uintptr_t)dev->ranges[mid].range.begin <= (uintptr_t)at)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo - 1;
}

static KilnStatus range_add(Device *dev, DeviceRange r)
{
    if (dev->n_ranges == dev->cap_ranges) {
        int32_t cap = MAX(64, dev->cap_ranges * 2);
        DeviceRange *more = heap_array(dev->heap, DeviceRange, cap);
        if (!more) return KILN_ERR_NOMEM;
        if (dev->n_ranges) memcpy(more, dev->ranges, (size_t)dev->n_ranges * sizeof *more);
        heap_free(dev->heap, dev->ranges);
        dev->ranges = more;
        dev->cap_ranges = cap;
    }
    int32_t at = range_before(dev, r.range.begin) + 1;
    memmove(dev->ranges + at + 1, dev->ranges + at, (size_t)(dev->n_ranges - at) * sizeof r);
    dev->ranges[at] = r;
    dev->n_ranges++;
    return KILN_OK;
}

const MemRange *device_range(const Device *dev, const void *at)
{
    int32_t i = range_before(dev, at);
    if (i < 0) return NULL;
    const MemRange *r = &dev->ranges[i].range;
    return (uintptr_t)at < (uintptr_t)r->begin + MAX(r->bytes, 1) ? r : NULL;
}

void device_hide(Device *dev, const void *at)
{
    int32_t i = range_before(dev, at);
    if (i >= 0) dev->ranges[i].is_hidden = true;
}

KilnStatus device_alloc(Device *dev, size_t bytes, const char *name, void **out, Diag *diag)
{
    *out = NULL;
    size_t size = MAX(bytes, 1);
    void *at = size > SIZE_MAX / 2 ? NULL : dev->ops->alloc(dev, size);
    DeviceRange r = {.range = {at, size, name}};
    if (!at || range_add(dev, r) != KILN_OK) {
        if (at) dev->ops->free(dev, at, size);
        KilnStatus st = device_check(dev, diag);
        if (st != KILN_OK) return st;
        return fail(
            diag, KILN_ERR_NOMEM, "K301",
            "%s: %.1f MiB could not be had on %s (%.1f MiB in use, %.1f MiB of %.1f MiB free)",
            name, (double)bytes / 1048576, dev->facts.name,
            (double)dev->counters.bytes_live / 1048576, (double)device_memory_free(dev) / 1048576,
            (double)dev->facts.memory_total / 1048576);
    }
    dev->counters.allocations++;
    dev->counters.bytes_live += size;
    dev->counters.bytes_peak = MAX(dev->counters.bytes_peak, dev->counters.bytes_live);
    *out = at;
    return KILN_OK;
}

void device_free(Device *dev, void *at)
{
    if (!at) return;
    int32_t i = range_before(dev, at);
    if (i < 0 || dev->ranges[i].range.begin != at)
        BUG("device_free of an address that was not allocated");
    DeviceRange r = dev->ranges[i];
    memmove(dev->ranges + i, dev->ranges + i + 1, (size_t)(dev->n_ranges - i - 1) * sizeof r);
    dev->n_ranges--;
    if (r.is_borrowed) return;
    dev->counters.bytes_live -= r.range.bytes;
    dev->ops->free(dev, at, r.range.bytes);
}

KilnStatus device_import(Device *dev, const void *at, size_t bytes, const char *name)
{
    if (!dev->facts.is_host_memory) return KILN_ERR_UNSUPPORTED;
    DeviceRange r = {.range = {(void *)(uintptr_t)at, bytes, name}, .is_borrowed = true};
    return range_add(dev, r);
}

void device_upload(Device *dev, void *dst, const void *src, size_t bytes)
{
    if (bytes) dev->ops->upload(dev, dst, src, bytes);
}

void device_download(Device *dev, void *dst, const void *src, size_t bytes)
{
    if (bytes) dev->ops->download(dev, dst, src, bytes);
}

void device_copy(Device *dev, void *dst, const void *src, size_t bytes)
{
    if (bytes) dev->ops->copy(dev, dst, src, bytes);
}

KilnStatus device_run(Device *dev, int32_t n, const Launch *const *launches, Diag *diag)
{
    dev->counters.launches += n;
    return dev->ops->run(dev, n, launches, diag);
}

KilnStatus device_sync(Device *dev, Diag *diag)
{
    if (dev->ops->sync) dev->ops->sync(dev);
    return device_check(dev, diag);
}

KilnStatus device_check(Device *dev, Diag *diag)
{
    KilnStatus st = dev->fault;
    if (st == KILN_OK) return KILN_OK;
    if (!dev->is_lost) dev->fault = KILN_OK;
    if (dev->fault_hint)
        return fail_hint(diag, st, dev->fault_code, dev->fault_hint, "%s", dev->fault_text);
    return fail(diag, st, dev->fault_code, "%s", dev->fault_text);
}

size_t device_memory_free(Device *dev)
{
    if (!dev->ops->memory) return dev->facts.memory_free = host_memory_free();
    dev->ops->memory(dev, &dev->facts.memory_free, &dev->facts.memory_total);
    return dev->facts.memory_free;
}

KilnStatus device_reserve_scratch(Device *dev, int64_t bytes, Diag *diag)
{
    if (bytes <= dev->scratch_bytes) return KILN_OK;
    bytes =
        next_pow2(bytes); // so that a hundred kernels of growing size do not mean a hundred moves
    for (int32_t i = 0; i < dev->facts.n_threads; i++) {
        void *more = heap_alloc(dev->heap, (size_t)bytes, 64);
        if (!more)
            return fail(diag, KILN_ERR_NOMEM, "K301",
                        "no memory for %lld bytes of scratch per thread", (long long)bytes);
        heap_free(dev->heap, dev->tls[i].scratch);
        dev->tls[i].scratch = more;
    }
    dev->scratch_bytes = bytes;
    return KILN_OK;
}

// ---- time -------------------------------------------------------------------------------------

struct DeviceEvent {
    Device *dev;
    double us;    ///< of the host's clock when recorded
    void *handle; ///< of a device with a stream
};

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

KilnStatus device_event_new(Device *dev, DeviceEvent **out, Diag *diag)
{
    DeviceEvent *e = *out = heap_new(dev->heap, DeviceEvent);
    if (!e) return fail(diag, KILN_ERR_NOMEM, "K102", "no memory for an event");
    e->dev = dev;
    if (!dev->ops->event_new) return KILN_OK;
    e->handle = dev->ops->event_new(dev);
    if (e->handle) return KILN_OK;
    *out = NULL;
    heap_free(dev->heap, e);
    KilnStatus st = device_check(dev, diag);
    return st == KILN_OK ? fail(diag, KILN_ERR_DEVICE, "K303", "%s gave no event", dev->facts.name)
                         : st;
}

void device_event_free(DeviceEvent *e)
{
    if (!e) return;
    if (e->handle) e->dev->ops->event_free(e->dev, e->handle);
    heap_free(e->dev->heap, e);
}

void device_event_record(DeviceEvent *e)
{
    if (e->handle)
        e->dev->ops->event_record(e->dev, e->handle);
    else
        e->us = seconds() * 1e6;
}

KilnStatus device_event_us(const DeviceEvent *begin, const DeviceEvent *end, double *us, Diag *diag)
{
    ASSERT(begin->dev == end->dev);
    *us = end->handle ? end->dev->ops->event_us(end->dev, begin->handle, end->handle)
                      : end->us - begin->us;
    return device_check(end->dev, diag);
}

// ---- bandwidth --------------------------------------------------------------------------------

typedef struct Stream {
    char *src, *dst;
    size_t bytes, step; ///< per thread; copied in pieces of `step`
    volatile uint64_t sink;
} Stream;

/// memchr for a byte that is not there: the C library's fastest plain reader.
static void stream_scan(void *user, int32_t thread, int64_t task)
{
    (void)thread;
    Stream *s = user;
    if (memchr(s->src + (size_t)task * s->bytes, 0xFF, s->bytes)) s->sink = 1;
}

static void stream_sum(void *user, int32_t thread, int64_t task)
{
    (void)thread;
    Stream *s = user;
    const uint64_t *at = (const uint64_t *)(s->src + (size_t)task * s->bytes);
    uint64_t sum[16] = {0};
    for (size_t i = 0; i + 16 <= s->bytes / 8; i += 16)
        for (int j = 0; j < 16; j++)
            sum[j] += at[i + (size_t)j];
    uint64_t all = 0;
    for (int j = 0; j < 16; j++)
        all += sum[j];
    if (all == 1) s->sink = all; // keeps the loop
}

/// Large memcpy writes past the caches (non-temporal); pieces that fit them are plain copies.
static void stream_copy(void *user, int32_t thread, int64_t task)
{
    (void)thread;
    Stream *s = user;
    size_t at = (size_t)task * s->bytes;
    for (size_t i = 0; i < s->bytes; i += s->step)
        memcpy(s->dst + at + i, s->src + at + i, MIN(s->step, s->bytes - i));
}

/// Copies inside the device, timed by its events.
static KilnStatus measure_copies(Device *dev, void *dst, const void *src, size_t bytes,
                                 DeviceBandwidth *out, Diag *diag)
{
    KilnStatus st = KILN_OK;
    DeviceEvent *begin = NULL, *end = NULL;
    TRY(device_event_new(dev, &begin, diag));
    TRY(device_event_new(dev, &end, diag));
    for (int32_t pass = 0; pass < 5; pass++) {
        double us;
        device_event_record(begin);
        device_copy(dev, dst, src, bytes);
        device_event_record(end);
        TRY(device_event_us(begin, end, &us, diag));
        if (us > 0) out->copy = MAX(out->copy, 2 * (double)bytes / us * 1e6);
    }
    out->read = out->copy;
done:
    device_event_free(begin);
    device_event_free(end);
    return st;
}

/// One way to use the memory, and whether it copies.
typedef struct StreamWay {
    PoolTask task;
    size_t step;
    bool is_copy;
} StreamWay;

/// The best rates of several passes over `s` in each of the ways.
static void measure_ways(Device *dev, Stream *s, int32_t n_ways, const StreamWay *ways,
                         DeviceBandwidth *out)
{
    int32_t n = dev->facts.n_threads;
    for (int32_t pass = 0; pass < 5; pass++)
        for (int32_t w = 0; w < n_ways; w++) {
            s->step = ways[w].step;
            double start = seconds();
            pool_run(dev->pool, ways[w].task, s, n);
            double rate = (double)s->bytes * n * (ways[w].is_copy ? 2 : 1) / (seconds() - start);
            double *best = ways[w].is_copy ? &out->copy : &out->read;
            *best = MAX(*best, rate);
        }
}

static size_t share_of(const Device *dev, size_t bytes)
{
    return bytes / (size_t)dev->facts.n_threads & ~(size_t)4095;
}

KilnStatus device_measure_reads(Device *dev, double *out, Diag *diag)
{
    static const StreamWay ways[] = {{stream_scan, 0, false}, {stream_sum, 0, false}};
    DeviceBandwidth b = {0};
    void *src = NULL;
    *out = 0;
    if (!dev->facts.is_host_memory) {
        KilnStatus st = device_measure_bandwidth(dev, 0, &b, diag);
        *out = b.read;
        return st;
    }
    Stream s = {.bytes = share_of(dev, (size_t)128 << 20)};
    size_t bytes = s.bytes * (size_t)dev->facts.n_threads;
    KilnStatus st = device_alloc(dev, bytes, "bandwidth source", &src, diag);
    if (st != KILN_OK) return st;
    s.src = src;
    memset(src, 1, bytes);
    measure_ways(dev, &s, COUNT_OF(ways), ways, &b);
    *out = b.read;
    device_free(dev, src);
    return KILN_OK;
}

KilnStatus device_measure_bandwidth(Device *dev, size_t bytes, DeviceBandwidth *out, Diag *diag)
{
    KilnStatus st = KILN_OK;
    int32_t n = dev->facts.n_threads;
    *out = (DeviceBandwidth){0};
    Stream s = {.bytes = share_of(dev, bytes ? bytes : (size_t)256 << 20)};
    void *src = NULL, *dst = NULL;
    TRY(device_alloc(dev, s.bytes * (size_t)n, "bandwidth source", &src, diag));
    TRY(device_alloc(dev, s.bytes * (size_t)n, "bandwidth target", &dst, diag));
    if (!dev->facts.is_host_memory) {
        TRY(measure_copies(dev, dst, src, s.bytes, out, diag));
        goto done;
    }
    s.src = src;
    s.dst = dst;
    memset(s.src, 1, s.bytes * (size_t)n);
    memset(s.dst, 1, s.bytes * (size_t)n);
    const StreamWay ways[] = {{stream_scan, 0, false},
                              {stream_sum, 0, false},
                              {stream_copy, s.bytes, true},
                              {stream_copy, 1 << 16, true}};
    measure_ways(dev, &s, COUNT_OF(ways), ways, out);
done:
    device_free(dev, src);
    device_free(dev, dst);
    return st;
}
