// runtime/device_cpu.c - the host as a device: native code over a pool, and the checked runners.
//
//   wave of launches   A: 3 tasks   B: 2 tasks   C: 4 tasks
//   pool tasks         0 1 2        3 4          5 6 7 8       one job, ranges per thread, stealing
#include <sys/mman.h>
#include <unistd.h>

#include "runtime/launch.h"

// ---- memory -----------------------------------------------------------------------------------

enum { BIG = 1 << 20 }; // from here on: pages of their own, large ones where the system has them

/// [guard page | ... data | guard page]: data ends at an unmapped page, so one byte too far stops there.
static void *guarded_alloc(size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t room = (size_t)round_up((int64_t)bytes, (int64_t)page);
    char *base = mmap(NULL, room + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) return NULL;
    if (mprotect(base + page, room, PROT_READ | PROT_WRITE) != 0) {
        munmap(base, room + 2 * page);
        return NULL;
    }
    return base + page + (room - (size_t)round_up((int64_t)bytes, 64));
}

static void guarded_free(char *at, size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t room = (size_t)round_up((int64_t)bytes, (int64_t)page);
    char *base = at - (room - (size_t)round_up((int64_t)bytes, 64)) - page;
    munmap(base, room + 2 * page);
}

static void *host_alloc(Device *dev, size_t bytes)
{
    if (dev->guard) return guarded_alloc(bytes);
    if (bytes < BIG) return heap_alloc(dev->heap, bytes, 64);
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) return NULL;
    (void)madvise(at, bytes, MADV_HUGEPAGE); // advice only: fewer translations for streams
    return at;
}

static void host_free(Device *dev, void *at, size_t bytes)
{
    if (dev->guard)
        guarded_free(at, bytes);
    else if (bytes < BIG)
        heap_free(dev->heap, at);
    else
        munmap(at, bytes);
}

static void host_copy(Device *dev, void *dst, const void *src, size_t bytes)
{
    (void)dev;
    memmove(dst, src, bytes);
}

// ---- native launches --------------------------------------------------------------------------

enum { WAVE_MAX = 64 };

typedef struct Wave {
    Device *dev;
    int32_t n;
    const Launch *const *launches;
    int64_t first_task[WAVE_MAX + 1];
} Wave;

static void wave_task(void *user, int32_t thread, int64_t task)
{
    const Wave *w = user;
    int32_t i = 0;
    while (task >= w->first_task[i + 1])
        i++; // a wave has a handful of launches
    const Launch *l = w->launches[i];
    int64_t first = (task - w->first_task[i]) * l->chunk;
    l->kernel->entry(l->args, &l->grid, first, MIN(l->chunk, l->n_programs - first),
                     &w->dev->tls[thread]);
}

/// The first fault that a thread of the wave recorded, as an error; clears them.
static KilnStatus take_faults(Wave *w, Diag *diag)
{
    KilnStatus st = KILN_OK;
    for (int32_t t = 0; t < w->dev->facts.n_threads; t++) {
        Tls *tls = &w->dev->tls[t];
        if (!tls->fault) continue;
        if (st == KILN_OK)
            st = fail(diag, KILN_ERR_DEVICE, "K117", "%s:%d: %s failed in program %d",
                      w->launches[0]->kernel->path, tls->fault,
                      w->n == 1 ? w->launches[0]->kernel->code.entry
                                : "a check of this kernel or one beside it",
                      tls->fault_program);
        tls->fault = 0;
    }
    return st;
}

static KilnStatus cpu_run(Device *dev, int32_t n, const Launch *const *launches, Diag *diag)
{
    for (int32_t from = 0; from < n; from += WAVE_MAX) {
        Wave w = {.dev = dev, .n = MIN(n - from, WAVE_MAX), .launches = launches + from};
        for (int32_t i = 0; i < w.n; i++) {
            const Launch *l = w.launches[i];
            w.first_task[i + 1] = w.first_task[i] + div_up(l->n_programs, l->chunk);
        }
        pool_run(dev->pool, wave_task, &w, w.first_task[w.n]);
        KilnStatus st = take_faults(&w, diag);
        if (st != KILN_OK) return st;
    }
    return KILN_OK;
}

const DeviceOps device_cpu_ops = {
    .kind = "cpu",
    .alloc = host_alloc,
    .free = host_free,
    .upload = host_copy,
    .download = host_copy,
    .copy = host_copy,
    .run = cpu_run,
};

// ---- interpreter and emulator -----------------------------------------------------------------

/// The ranges a launch may touch: the device's, and the planned buffers it names.
static int32_t check_ranges(Device *dev, const Launch *l)
{
    int32_t n = 0, want = dev->n_ranges + l->n_ranges;
    if (want > dev->cap_checks) {
        MemRange *more = heap_array(dev->heap, MemRange, want * 2);
        if (!more) return -1;
        heap_free(dev->heap, dev->checks);
        dev->checks = more;
        dev->cap_checks = want * 2;
    }
    for (int32_t i = 0; i < dev->n_ranges; i++)
        if (!dev->ranges[i].is_hidden) dev->checks[n++] = dev->ranges[i].range;
    for (int32_t i = 0; i < l->n_ranges; i++)
        dev->checks[n++] = l->ranges[i];
    return n;
}

static KilnStatus checked_run(Device *dev, int32_t n, const Launch *const *launches, Diag *diag)
{
    for (int32_t i = 0; i < n; i++) {
        const Launch *l = launches[i];
        int32_t n_ranges = check_ranges(dev, l);
        if (n_ranges < 0)
            return fail(diag, KILN_ERR_NOMEM, "K102",
                        "no memory for the ranges of a checked launch");
        if (!l->kernel->image) { // made by hand
            l->kernel->entry(l->args, &l->grid, 0, l->n_programs, &dev->tls[0]);
            continue;
        }
        KilnStatus st = image_run(l->kernel->image, l->args, &l->grid, 0, l->n_programs, n_ranges,
                                  dev->checks, diag);
        if (st != KILN_OK) return st;
    }
    return KILN_OK;
}

const DeviceOps device_checked_ops = {
    .kind = "checked",
    .alloc = host_alloc,
    .free = host_free,
    .upload = host_copy,
    .download = host_copy,
    .copy = host_copy,
    .run = checked_run,
};
