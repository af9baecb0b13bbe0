// bench/libmvec_peer.c - softmax and SiLU-mul of kiln and of a C compiler with libmvec, taking turns in one process: for
// compare-libmvec.
//
//   libmvec_peer KERNELS THREADS ROUNDS softmax|silu_mul ROWS      KERNELS: the folder of softmax.py, silu_mul.py
//
// Rows of 2048 f32 that stay in the caches; a round passes over them PASSES times on each side. On kiln's side that is a recorded graph
// of as many launches. THREADS is kiln's; the C loops run on one. It prints {"difference"}, the largest between both results, then
// seconds per pass as {"round": 0, "kiln": s, "libmvec": s}. Built with -O3 -ffast-math -march=native by compare-libmvec, which looks
// whether the loops call libmvec (_ZGV...expf).
#include <math.h>

#include "kernel_peer.h"

enum { WIDTH = 2048, PASSES = 64 };

typedef struct Rows {
    int32_t n;
    float *y, *x, *up; ///< [n][WIDTH]
} Rows;

// ---- the C compiler's loops -----------------------------------------------------------------------

__attribute__((noinline)) static void softmax_row(float *restrict y, const float *restrict x)
{
    float most = x[0], sum = 0;
    for (int32_t i = 1; i < WIDTH; i++)
        most = x[i] > most ? x[i] : most;
    for (int32_t i = 0; i < WIDTH; i++) {
        float e = expf(x[i] - most);
        y[i] = e;
        sum += e;
    }
    float scale = 1.0f / sum;
    for (int32_t i = 0; i < WIDTH; i++)
        y[i] *= scale;
}

__attribute__((noinline)) static void silu_row(float *restrict y, const float *restrict gate,
                                               const float *restrict up)
{
    for (int32_t i = 0; i < WIDTH; i++)
        y[i] = gate[i] / (1.0f + expf(-gate[i])) * up[i];
}

static double loops_run(const Rows *r, int is_softmax)
{
    double begin = now();
    for (int32_t pass = 0; pass < PASSES; pass++)
        for (int32_t i = 0; i < r->n; i++) {
            size_t at = (size_t)i * WIDTH;
            if (is_softmax)
                softmax_row(r->y + at, r->x + at);
            else
                silu_row(r->y + at, r->x + at, r->up + at);
        }
    return (now() - begin) / PASSES;
}

// ---- kiln -------------------------------------------------------------------------------------------

typedef struct Passes {
    Kiln kiln;
    KilnBuffer *y;
    KilnGraph *graph;
} Passes;

static void passes_up(Passes *p, const char *folder, int threads, int is_softmax, const Rows *r)
{
    p->kiln = kiln_up(threads);
    const Kiln *k = &p->kiln;
    KilnSource *source = source_of(k, folder, is_softmax ? "softmax.py" : "silu_mul.py");
    KilnKernel *kernel;
    const char *spec = is_softmax
                           ? "softmax(y: *f32:16, x: *f32:16, cols: *i32, rows: *i32, sy: i32:16, "
                             "sx: i32:16, BLOCK=2048)"
                           : "silu_mul(y: *f32:16, gate: *f32:16, up: *f32:16, rows: *i32, n: "
                             "i32:16, sy: i32:16, sg: i32:16, su: i32:16, BLOCK=2048)";
    kiln_must(k, kiln_compile(k->dev, source, spec, &kernel, k->err));
    size_t bytes = (size_t)r->n * WIDTH * 4;
    int32_t *cols = malloc((size_t)r->n * 4);
    if (!cols) die("libmvec_peer", "no memory");
    for (int32_t i = 0; i < r->n; i++)
        cols[i] = WIDTH;
    p->y = buffer_of(k, NULL, bytes);
    KilnArg y = buffer_arg("y", p->y), rows = buffer_arg("rows", buffer_of(k, &r->n, 4)),
            sy = kiln_arg_int("sy", WIDTH);
    KilnArg softmax[] = {y,
                         buffer_arg("x", buffer_of(k, r->x, bytes)),
                         buffer_arg("cols", buffer_of(k, cols, (size_t)r->n * 4)),
                         rows,
                         sy,
                         kiln_arg_int("sx", WIDTH)};
    KilnArg silu[] = {y,
                      buffer_arg("gate", buffer_of(k, r->x, bytes)),
                      buffer_arg("up", buffer_of(k, r->up, bytes)),
                      rows,
                      kiln_arg_int("n", WIDTH),
                      sy,
                      kiln_arg_int("sg", WIDTH),
                      kiln_arg_int("su", WIDTH)};
    const int32_t grid[3] = {r->n, 1, 1};
    kiln_must(k, kiln_graph_begin(k->dev, "passes", &p->graph, k->err));
    for (int32_t i = 0; i < PASSES; i++)
        kiln_must(k, kiln_graph_add(p->graph, kernel, grid, is_softmax ? 6 : 8,
                                    is_softmax ? softmax : silu, k->err));
    kiln_must(k, kiln_graph_end(p->graph, k->err));
    free(cols);
}

static double passes_run(const Passes *p)
{
    double begin = now();
    kiln_must(&p->kiln, kiln_graph_launch(p->graph, p->kiln.err));
    return (now() - begin) / PASSES;
}

static double difference(const Passes *p, const Rows *r)
{
    size_t n = (size_t)r->n * WIDTH;
    float *mine = malloc(n * 4);
    double worst = 0;
    if (!mine) die("libmvec_peer", "no memory");
    kiln_must(&p->kiln, kiln_buffer_download(p->y, 0, mine, n * 4, p->kiln.err));
    for (size_t i = 0; i < n; i++)
        worst = fmax(worst, fabs((double)mine[i] - (double)r->y[i]));
    free(mine);
    return worst;
}

int main(int argc, char **argv)
{
    if (argc != 6) die("usage", "libmvec_peer KERNELS THREADS ROUNDS softmax|silu_mul ROWS");
    int threads = atoi(argv[2]), rounds = atoi(argv[3]), is_softmax = !strcmp(argv[4], "softmax");
    Rows r = {.n = atoi(argv[5])};
    size_t n = (size_t)r.n * WIDTH;
    unsigned seed = 1;
    float **all[] = {&r.y, &r.x, &r.up};
    for (int32_t i = 0; i < 3; i++) {
        *all[i] = aligned_alloc(64, n * 4);
        if (!*all[i]) die("libmvec_peer", "no memory");
        for (size_t j = 0; j < n; j++)
            (*all[i])[j] = 16 * next_float(&seed);
    }
    Passes p;
    passes_up(&p, argv[1], threads, is_softmax, &r);
    loops_run(&r, is_softmax);
    passes_run(&p);
    printf("{\"difference\": %g}\n", difference(&p, &r));
    for (int32_t i = 0; i < rounds; i++) {
        double mine = passes_run(&p), theirs = loops_run(&r, is_softmax);
        printf("{\"round\": %d, \"kiln\": %.9f, \"libmvec\": %.9f}\n", (int)i, mine, theirs);
    }
    kiln_graph_free(p.graph);
    kiln_down(&p.kiln);
    return 0;
}
