// bench/kernel_peers.c - what kiln's kernels are compared with by compare-kernels: plain C loops, and oneDNN's products.
//
//   kernel_peers softmax ROWS N          gcc -O3 -ffast-math -march=native with libmvec, one thread, data in the second cache
//   kernel_peers silu_mul ROWS N
//   kernel_peers f32|bf16|int8 M N K     oneDNN, weights packed as it likes; threads of OMP_NUM_THREADS (with -DHAS_DNNL)
//
// Prints seconds per run: the median of 15 passes of at least 5 ms each. Exit code 3: oneDNN cannot do it here.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PASSES = 15 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

typedef struct Work {
    void (*run)(const struct Work *w);
    float *y, *a, *b;
    int rows, n;
    void *more[4];
} Work;

static void softmax(const Work *w)
{
    for (int r = 0; r < w->rows; r++) {
        const float *restrict x = w->a + (size_t)r * w->n;
        float *restrict y = w->y + (size_t)r * w->n;
        float top = x[0], sum = 0;
        for (int i = 1; i < w->n; i++)
            top = x[i] > top ? x[i] : top;
        for (int i = 0; i < w->n; i++)
            sum += y[i] = expf(x[i] - top);
        for (int i = 0; i < w->n; i++)
            y[i] *= 1 / sum;
    }
}

static void silu_mul(const Work *w)
{
    const float *restrict gate = w->a, *restrict up = w->b;
    float *restrict y = w->y;
    for (int i = 0; i < w->rows * w->n; i++)
        y[i] = gate[i] / (1 + expf(-gate[i])) * up[i];
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median_seconds(const Work *w)
{
    double took[PASSES], begin;
    int n = 1;
    for (double t = 0; t < 0.005; n *= t < 0.005 ? 2 : 1) {
        begin = now();
        for (int i = 0; i < n; i++)
            w->run(w);
        t = now() - begin;
    }
    for (int p = 0; p < PASSES; p++) {
        begin = now();
        for (int i = 0; i < n; i++)
            w->run(w);
        took[p] = (now() - begin) / n;
    }
    qsort(took, PASSES, sizeof *took, by_value);
    return took[PASSES / 2];
}

static float *some(size_t n)
{
    float *x = aligned_alloc(64, (n * sizeof *x + 63) / 64 * 64);
    if (!x) exit(1);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(i * 2654435761u % 2000) * 0.01f - 10;
    return x;
}

#ifdef HAS_DNNL
#include <dnnl.h>

static void check(dnnl_status_t st)
{
    if (st == dnnl_success) return;
    fprintf(stderr, "oneDNN: status %d\n", (int)st);
    exit(3);
}

static dnnl_memory_t memory_of(const dnnl_memory_desc_t *d, dnnl_engine_t engine)
{
    dnnl_memory_t m;
    size_t bytes = dnnl_memory_desc_get_size(d);
    void *at = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!at) exit(1);
    memset(at, 1, bytes);
    check(dnnl_memory_create(&m, d, engine, at));
    return m;
}

static void product(const Work *w)
{
    dnnl_exec_arg_t args[] = {{DNNL_ARG_SRC, w->more[2]},
                              {DNNL_ARG_WEIGHTS, w->more[3]},
                              {DNNL_ARG_DST, (dnnl_memory_t)(void *)w->y}};
    check(dnnl_primitive_execute(w->more[0], w->more[1], 3, args));
    check(dnnl_stream_wait(w->more[1]));
}

static Work product_of(const char *type, dnnl_dim_t m, dnnl_dim_t n, dnnl_dim_t k)
{
    dnnl_data_type_t in = !strcmp(type, "f32")    ? dnnl_f32
                          : !strcmp(type, "bf16") ? dnnl_bf16
                                                  : dnnl_s8;
    dnnl_data_type_t act = in == dnnl_s8 ? dnnl_u8 : in, out = in == dnnl_s8 ? dnnl_s32 : dnnl_f32;
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_memory_desc_t x, w, y;
    dnnl_matmul_desc_t d;
    dnnl_primitive_desc_t pd;
    dnnl_primitive_t p;
    check(dnnl_engine_create(&engine, dnnl_cpu, 0));
    check(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags));
    check(dnnl_memory_desc_init_by_tag(&x, 2, (dnnl_dims_t){m, k}, act, dnnl_ab));
    check(dnnl_memory_desc_init_by_tag(&w, 2, (dnnl_dims_t){k, n}, in, dnnl_format_tag_any));
    check(dnnl_memory_desc_init_by_tag(&y, 2, (dnnl_dims_t){m, n}, out, dnnl_ab));
    check(dnnl_matmul_desc_init(&d, &x, &w, NULL, &y));
    check(dnnl_primitive_desc_create(&pd, &d, NULL, engine, NULL));
    check(dnnl_primitive_create(&p, pd));
    const dnnl_memory_desc_t *packed = dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0);
    return (Work){.run = product,
                  .y = (float *)memory_of(&y, engine),
                  .more = {p, stream, memory_of(&x, engine), memory_of(packed, engine)}};
}
#endif

int main(int argc, char **argv)
{
    Work w = {0};
    if (argc == 4 && (!strcmp(argv[1], "softmax") || !strcmp(argv[1], "silu_mul"))) {
        int rows = atoi(argv[2]), n = atoi(argv[3]);
        size_t all = (size_t)rows * (size_t)n;
        w = (Work){
            argv[1][1] == 'o' ? softmax : silu_mul, some(all), some(all), some(all), rows, n, {0}};
#ifdef HAS_DNNL
    } else if (argc == 5) {
        w = product_of(argv[1], atoi(argv[2]), atoi(argv[3]), atoi(argv[4]));
#endif
    } else {
        fprintf(stderr,
                "kernel_peers softmax|silu_mul ROWS N, or f32|bf16|int8 M N K with oneDNN\n");
        return 3;
    }
    printf("{\"seconds\": %.9g}\n", median_seconds(&w));
    return 0;
}
