// bench/kernel_peer.h - what onednn_peer.c and libmvec_peer.c share: a clock, an end, and kiln's kernels through its C API.
#ifndef BENCH_KERNEL_PEER_H
#define BENCH_KERNEL_PEER_H
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kiln.h"

static inline double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static inline void die(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

/// A device, and the place for its messages. Any failure ends the program.
typedef struct Kiln {
    KilnDevice *dev;
    KilnError *err;
} Kiln;

static inline void kiln_must(const Kiln *k, KilnStatus st)
{
    if (st != KILN_OK) die("kiln", kiln_error_message(k->err));
}

static inline Kiln kiln_up(int threads)
{
    Kiln k = {.err = kiln_error_new()};
    KilnDeviceOptions options = {.size = sizeof options, .n_threads = threads};
    kiln_must(&k, kiln_device_open(&options, &k.dev, k.err));
    return k;
}

static inline void kiln_down(Kiln *k)
{
    kiln_device_close(k->dev);
    kiln_error_free(k->err);
}

/// Device memory with `data` in it (NULL: zeros).
static inline KilnBuffer *buffer_of(const Kiln *k, const void *data, size_t bytes)
{
    KilnBuffer *b;
    kiln_must(k, kiln_buffer_alloc(k->dev, bytes, &b, k->err));
    if (data) kiln_must(k, kiln_buffer_upload(b, 0, data, bytes, k->err));
    return b;
}

static inline KilnSource *source_of(const Kiln *k, const char *folder, const char *file)
{
    char path[4096];
    KilnSource *s;
    snprintf(path, sizeof path, "%s/%s", folder, file);
    kiln_must(k, kiln_source_load(path, &s, k->err));
    return s;
}

static inline KilnArg buffer_arg(const char *name, KilnBuffer *b)
{
    return kiln_arg_buffer(name, b);
}

/// -0.5 .. 0.5, from a linear congruence.
static inline float next_float(unsigned *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (float)(*state >> 8) / 16777216.0f - 0.5f;
}
#endif
