// bench/gpu_suite/gemm.c - matrix products in bf16: the best of a few configurations against the library.
//
//   y [M, N] = x [M, K] w [N, K]^T      {1024 .. 8192}^3, and M in {16, 64, 256} against 4096 x 14336
//
// Every configuration is timed, the fastest recorded; the library's product is timed right after it, on the
// same numbers, so that both see the same clocks.
#include "bench/gpu_suite/suite.h"

typedef struct Config {
    int32_t m, n, k, warps, stages;
    bool is_small; ///< for few rows
} Config;

static const Config configs[] = {
    {128, 128, 32, 4, 4, false}, {128, 128, 64, 8, 3, false}, {128, 256, 32, 8, 4, false},
    {128, 64, 64, 4, 4, false},  {64, 64, 64, 4, 4, true},    {64, 128, 64, 4, 4, true},
    {16, 128, 64, 4, 4, true},
};

typedef struct Shape {
    int32_t m, n, k;
} Shape;

static const Shape shapes[] = {{1024, 1024, 1024}, {2048, 2048, 2048}, {4096, 4096, 4096},
                               {8192, 8192, 8192}, {16, 14336, 4096},  {64, 14336, 4096},
                               {256, 14336, 4096}};
static const Shape quick_shapes[] = {{64, 64, 64}};

typedef struct Operands {
    void *y, *x, *w, *rows;
} Operands;

static double flops_of(Shape p)
{
    return 2.0 * p.m * p.n * (double)p.k;
}

static double bytes_of(Shape p)
{
    return 2.0 * ((double)p.m * p.k + (double)p.n * p.k + (double)p.m * p.n);
}

static Call call_config(const Config *c, Shape p, const Operands *o)
{
    Call call = call_of("gemm.py", "gemm", grid_of(div_up(p.m, c->m), div_up(p.n, c->n), 1));
    call_ptr(&call, "y", DTYPE_BF16, o->y);
    call_ptr(&call, "x", DTYPE_BF16, o->x);
    call_ptr(&call, "w", DTYPE_BF16, o->w);
    call_ptr(&call, "scale", DTYPE_F16, NULL);
    call_ptr(&call, "bias", DTYPE_F32, NULL);
    call_ptr(&call, "rows", DTYPE_I32, o->rows);
    call_int(&call, "N", p.n), call_int(&call, "K", p.k);
    call_int(&call, "sy", p.n), call_int(&call, "sx", p.k);
    call_const(&call, "BLOCK_M", c->m), call_const(&call, "BLOCK_N", c->n);
    call_const(&call, "BLOCK_K", c->k);
    call_bool(&call, "EVEN_K", p.k % c->k == 0);
    call.warps = c->warps, call.stages = c->stages;
    return call;
}

static void record(Suite *s, const char *impl, Shape p, const char *config, const Kernel *k,
                   int32_t sets, const Times *t)
{
    char shape[96];
    snprintf(shape, sizeof shape, "{\"M\":%d,\"N\":%d,\"K\":%d}", p.m, p.n, p.k);
    Record r = {.stage = "gemm",
                .kernel = "gemm",
                .impl = impl,
                .dtype = "bf16",
                .shape = shape,
                .config = config,
                .k = k,
                .bytes = bytes_of(p),
                .flops = flops_of(p),
                .sets = sets};
    suite_record(s, &r, t);
}

static KilnStatus time_library(Suite *s, Shape p, int32_t n_sets, const Operands *o)
{
    KilnStatus st = KILN_OK;
    GemmShape shape = {DTYPE_BF16, DTYPE_BF16, DTYPE_BF16, p.m, p.n, p.k};
    const Gemm *gemm = device_gemm(s->dev, &shape);
    Graph *g = NULL;
    Times t;
    if (!gemm) return KILN_OK;
    TRY(graph_new(s->dev, "library", &g, &s->diag));
    for (int32_t i = 0; i < n_sets; i++)
        TRY(graph_gemm(g, gemm, &shape, arg_ptr("y", DTYPE_BF16, o[i].y),
                       arg_ptr("x", DTYPE_BF16, o[i].x), arg_ptr("w", DTYPE_BF16, o[i].w),
                       &s->diag));
    TRY(graph_finish(g, &s->diag));
    TRY(suite_time_graph(s, g, &t));
    t.med /= n_sets, t.p10 /= n_sets, t.p90 /= n_sets, t.min /= n_sets;
    t.is_graph = true;
    record(s, "cublas", p, NULL, NULL, n_sets, &t);
done:
    graph_free(g);
    return st;
}

static KilnStatus time_config(Suite *s, const Config *c, Shape p, int32_t n_sets, const Operands *o,
                              Times *t, Kernel **k)
{
    static Call calls[CALL_MAX_SETS];
    Call *sets[CALL_MAX_SETS];
    for (int32_t i = 0; i < n_sets; i++) {
        calls[i] = call_config(c, p, &o[i]);
        sets[i] = &calls[i];
    }
    KilnStatus st = suite_time(s, n_sets, sets, t);
    if (st == KILN_OK) st = call_kernel(s, sets[0], k);
    for (int32_t i = 0; i < n_sets; i++)
        call_free(&calls[i]);
    return st;
}

static KilnStatus measure(Suite *s, Shape p)
{
    KilnStatus st = KILN_OK;
    int32_t mark = suite_mark(s), n_sets = suite_sets(s, bytes_of(p));
    static Operands o[CALL_MAX_SETS];
    const Config *best = NULL;
    Kernel *k = NULL, *best_kernel = NULL;
    Times t, best_times = {0};
    char text[160];
    for (int32_t i = 0; i < n_sets; i++) {
        TRY(suite_numbers(s, DTYPE_BF16, (int64_t)p.m * p.n, 1, &o[i].y));
        TRY(suite_numbers(s, DTYPE_BF16, (int64_t)p.m * p.k, 1, &o[i].x));
        TRY(suite_numbers(s, DTYPE_BF16, (int64_t)p.n * p.k, 1, &o[i].w));
        TRY(suite_one(s, p.m, &o[i].rows));
    }
    for (int32_t i = 0; i < COUNT_OF(configs) && !suite_is_late(s); i++) {
        const Config *c = &configs[i];
        if (c->is_small != (p.m < 512)) continue;
        if (time_config(s, c, p, n_sets, o, &t, &k) != KILN_OK) {
            suite_miss(s, "gemm", "a configuration");
            if (s->dev->is_lost) return KILN_ERR_DEVICE;
            continue;
        }
        if (best && t.med >= best_times.med) continue;
        best = c, best_times = t, best_kernel = k;
    }
    if (best) {
        snprintf(text, sizeof text, "{\"BM\":%d,\"BN\":%d,\"BK\":%d,\"warps\":%d,\"stages\":%d}",
                 best->m, best->n, best->k, best->warps, best->stages);
        record(s, "kiln", p, text, best_kernel, n_sets, &best_times);
    }
    TRY(time_library(s, p, n_sets, o));
done:
    suite_release(s, mark);
    return st;
}

KilnStatus stage_gemm(Suite *s)
{
    const Shape *list = s->quick ? quick_shapes : shapes;
    int32_t n = s->quick ? COUNT_OF(quick_shapes) : COUNT_OF(shapes);
    for (int32_t i = 0; i < n && !suite_is_late(s) && !s->dev->is_lost; i++)
        if (measure(s, list[i]) != KILN_OK) suite_miss(s, "gemm", "a shape");
    return KILN_OK;
}
