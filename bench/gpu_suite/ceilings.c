// bench/gpu_suite/ceilings.c - what the machine can do, in the same run as what is compared with it.
//
//   environment   device, driver, memory, libraries, the system's own words about clocks and power
//   copy          the driver's copy inside the device, and ours: bytes read plus bytes written
//   read, write   4 GiB summed or filled; what lies in L2, read again and again
//   gemm          the library's bf16 product, 4096 and 8192, on random numbers
//   gap           from launch to launch of an empty kernel: queued one by one, and as one graph
#include <stdlib.h>

#include "bench/gpu_suite/suite.h"

static void say_command(Suite *s, const char *name, const char *command)
{
    char line[1024];
    FILE *f = popen(command, "r");
    while (f && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        if (line[0]) suite_text(s, "environment", name, line);
    }
    if (f) pclose(f);
}

KilnStatus stage_environment(Suite *s)
{
    const DeviceFacts *f = &s->dev->facts;
    char target[24], text[256];
    target_text(&f->target, target);
    snprintf(text, sizeof text, "%s: %s, %s, %.1f GiB, %.1f GiB free, %s", f->name, f->model,
             target, (double)f->memory_total / 1073741824,
             (double)device_memory_free(s->dev) / 1073741824,
             f->libraries[0] ? f->libraries : "no matrix library");
    suite_text(s, "environment", "device", text);
    suite_text(s, "environment", "code", f->code_tag);
    if (f->has_stream) {
        say_command(s, "nvidia-smi",
                    "nvidia-smi --query-gpu=name,driver_version,clocks.sm,clocks.max.sm,clocks.mem,"
                    "clocks.max.mem,power.draw,power.limit,temperature.gpu,"
                    "clocks_event_reasons.active --format=csv,noheader 2>&1");
        say_command(s, "compute-sanitizer", "compute-sanitizer --version 2>&1 | tail -1");
    }
    return KILN_OK;
}

// ---- memory -------------------------------------------------------------------------------------

typedef struct Copy {
    Suite *s;
    void *to;
    const void *from;
    size_t bytes;
} Copy;

static KilnStatus run_copies(void *user, int32_t count, Diag *diag)
{
    Copy *c = user;
    for (int32_t i = 0; i < count; i++)
        device_copy(c->s->dev, c->to, c->from, c->bytes);
    return device_check(c->s->dev, diag);
}

enum { BLOCK = 2048 };

static void memory_value(Suite *s, const char *name, double bytes, const Times *t, const char *note)
{
    suite_value(s, "ceiling", name, bytes / MAX(t->med, 1e-3) * 1e-3, "GB/s", note);
}

/// `n` floats in `x` are copied to, or summed into, or written over by `y`.
static KilnStatus time_kernel(Suite *s, const char *name, const char *func, void *y, void *x,
                              int64_t n, double bytes, int32_t steps)
{
    Times t;
    Call c = call_of("suite.py", func, grid_of(n / (BLOCK * steps), 1, 1)), *one = &c;
    call_ptr(&c, "y", DTYPE_F32, y);
    if (x) call_ptr(&c, "x", DTYPE_F32, x);
    if (!x) call_float(&c, "value", 1.5);
    if (steps > 1) call_int(&c, "steps", steps);
    call_const(&c, "BLOCK", BLOCK);
    KilnStatus st = suite_time(s, 1, &one, &t);
    if (st == KILN_OK) memory_value(s, name, bytes, &t, "our kernel");
    call_free(&c);
    return st;
}

static KilnStatus memory_ceilings(Suite *s)
{
    KilnStatus st = KILN_OK;
    int32_t mark = suite_mark(s);
    size_t room = device_memory_free(s->dev) / 3;
    int64_t n = s->quick ? 1 << 18 : (int64_t)1 << 30;
    while (n > 1 << 18 && (size_t)n * 4 > room)
        n /= 2;
    void *x, *y;
    Times t;
    TRY(suite_numbers(s, DTYPE_F32, n, 1, &x));
    TRY(suite_numbers(s, DTYPE_F32, n, 1, &y));
    Copy c = {s, y, x, (size_t)n * 4};
    TRY(suite_time_work(s, run_copies, &c, &t));
    memory_value(s, "copy", 8.0 * (double)n, &t, "the driver's");
    TRY(time_kernel(s, "copy", "copy", y, x, n, 8.0 * (double)n, 1));
    TRY(time_kernel(s, "read", "read", y, x, n, 4.0 * (double)n, 16));
    TRY(time_kernel(s, "write", "write", y, NULL, n, 4.0 * (double)n, 1));
    n = MIN(n, 6 << 20);
    n -= n % (BLOCK * 16);
    TRY(time_kernel(s, "l2", "read", y, x, n, 4.0 * (double)n, 16));
done:
    suite_release(s, mark);
    return st;
}

// ---- products -----------------------------------------------------------------------------------

static KilnStatus library_ceiling(Suite *s, int32_t size, const char *name)
{
    KilnStatus st = KILN_OK;
    int32_t mark = suite_mark(s);
    GemmShape shape = {DTYPE_BF16, DTYPE_BF16, DTYPE_BF16, size, size, size};
    const Gemm *gemm = device_gemm(s->dev, &shape);
    Graph *g = NULL;
    void *y, *x, *w;
    Times t;
    if (!gemm) {
        suite_text(s, "ceiling", name, "skipped: no matrix library, or not this shape");
        return KILN_OK;
    }
    TRY(suite_numbers(s, DTYPE_BF16, (int64_t)size * size, 1, &y));
    TRY(suite_numbers(s, DTYPE_BF16, (int64_t)size * size, 1, &x));
    TRY(suite_numbers(s, DTYPE_BF16, (int64_t)size * size, 1, &w));
    TRY(graph_new(s->dev, name, &g, &s->diag));
    TRY(graph_gemm(g, gemm, &shape, arg_ptr("y", DTYPE_BF16, y), arg_ptr("x", DTYPE_BF16, x),
                   arg_ptr("w", DTYPE_BF16, w), &s->diag));
    TRY(graph_finish(g, &s->diag));
    TRY(suite_time_graph(s, g, &t));
    suite_value(s, "ceiling", name, 2.0 * size * size * (double)size / MAX(t.med, 1e-3) * 1e-6,
                "TFLOP/s", s->dev->facts.libraries);
done:
    graph_free(g);
    suite_release(s, mark);
    return st;
}

// ---- launches -----------------------------------------------------------------------------------

typedef struct Empty {
    const Launch *launch;
    Graph *graph;
} Empty;

static KilnStatus run_empty(void *user, int32_t count, Diag *diag)
{
    KilnStatus st = KILN_OK;
    const Launch *l = ((Empty *)user)->launch;
    for (int32_t i = 0; i < count && st == KILN_OK; i++)
        st = device_run(l->kernel->dev, 1, &l, diag);
    return st;
}

static KilnStatus gaps(Suite *s)
{
    KilnStatus st = KILN_OK;
    int32_t mark = suite_mark(s), nodes = s->quick ? 10 : 1000;
    static uint8_t block[LAUNCH_MAX_ARGS_BYTES];
    Call c = call_of("suite.py", "empty", grid_of(1, 1, 1));
    Launch launch;
    Empty e = {&launch, NULL};
    Kernel *k;
    Times t;
    void *y;
    TRY(suite_one(s, 0, &y));
    call_ptr(&c, "y", DTYPE_F32, y);
    call_int(&c, "n", 0);
    TRY(call_kernel(s, &c, &k));
    TRY(launch_make(k, c.grid, c.n_args, c.args, NULL, block, NULL, &launch, &s->diag));
    TRY(suite_time_work(s, run_empty, &e, &t));
    suite_value(s, "ceiling", "gap_stream", t.med, "us", "launch after launch");
    if (!s->dev->ops->capture) goto done;
    TRY(graph_new(s->dev, "gaps", &e.graph, &s->diag));
    for (int32_t i = 0; i < nodes; i++)
        TRY(graph_launch(e.graph, k, c.grid, c.n_args, c.args, &s->diag));
    TRY(graph_finish(e.graph, &s->diag));
    TRY(suite_time_graph(s, e.graph, &t));
    suite_value(s, "ceiling", "gap_graph", t.med / nodes, "us", "nodes of one graph");
done:
    graph_free(e.graph);
    call_free(&c);
    suite_release(s, mark);
    return st;
}

KilnStatus stage_ceilings(Suite *s)
{
    if (memory_ceilings(s) != KILN_OK) suite_miss(s, "ceiling", "memory");
    if (gaps(s) != KILN_OK) suite_miss(s, "ceiling", "gaps");
    if (s->quick) return KILN_OK;
    if (library_ceiling(s, 4096, "gemm4096") != KILN_OK) suite_miss(s, "ceiling", "gemm4096");
    if (library_ceiling(s, 8192, "gemm8192") != KILN_OK) suite_miss(s, "ceiling", "gemm8192");
    return KILN_OK;
}
