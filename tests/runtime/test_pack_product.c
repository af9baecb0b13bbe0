// tests/runtime/test_pack_product.c - a packed matrix times quantised activations, against the file's weights in f64.
//
//   x --quantize.py--> codes, scales --panel.py, panel_k.py--> y      against     sum of x[k] w[n, k] in f64
//   blocks --pack_rows--> panels ------^                                           block_read(blocks)
//
// Weights are exact, so what is off comes from the activations: int8 codes with a scale per 32. Its relative RMS
// error depends on their tails; the bounds are what such codes give in f64 (K 2048: Gaussian 5.3e-3, Student's t of
// 4 degrees 7.2e-3), and a fifth for chance.
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

#include "base/random.h"
#include "runtime/launch.h"
#include "runtime/quant/pack.h"

TestSuite(pack_product, .timeout = 120);

enum { ROWS = 5, N = 83, K = 2048, BLOCKS = K / 32, READABLE = 8 };

typedef struct Bench {
    Diag diag;
    Device *dev;
    KernelCache *cache;
    Random random;
} Bench;

static void up(Bench *b, uint64_t seed)
{
    diag_init(&b->diag, heap_default());
    b->random = (Random){seed};
    cr_assert_eq(device_open(&(DeviceOptions){.name = "cpu"}, &b->dev, &b->diag), KILN_OK);
    KernelCacheOptions o = {.folder = KILN_SOURCE_DIR "/kernels.dsl"};
    cr_assert_eq(kernel_cache_open(b->dev, &o, &b->cache, &b->diag), KILN_OK);
}

static void down(Bench *b)
{
    kernel_cache_close(b->cache);
    device_close(b->dev);
    diag_reset(&b->diag);
}

static void *take(Bench *b, size_t bytes)
{
    void *at;
    cr_assert_eq(device_alloc(b->dev, bytes, "test", &at, &b->diag), KILN_OK);
    memset(at, 0, bytes);
    return at;
}

static void launch(Bench *b, const char *file, const char *spec, Grid grid, int32_t n,
                   const Arg *args)
{
    Kernel *k;
    KilnStatus st = kernel_find(b->cache, file, str_of(spec), &k, &b->diag);
    if (st == KILN_OK) st = kernel_launch(k, grid, n, args, &b->diag);
    if (st == KILN_OK) st = device_sync(b->dev, &b->diag);
    cr_assert_eq(st, KILN_OK, "%s: %s", spec, diag_first(&b->diag));
}

/// Rows of activations, and their codes.
typedef struct Rows {
    float *x, *scale;
    int8_t *codes;
    int32_t *sum, *count;
} Rows;

/// Student's t of 4 degrees, or a Gaussian.
static float activation(Random *r, bool has_tails)
{
    double z = random_normal(r), chi = 0;
    for (int32_t i = 0; i < 4 && has_tails; i++) {
        double g = random_normal(r);
        chi += g * g / 4;
    }
    return (float)(has_tails ? z / sqrt(chi) : z);
}

static Rows rows_of(Bench *b, bool has_tails)
{
    Rows r = {take(b, sizeof(float) * READABLE * K), take(b, sizeof(float) * READABLE * BLOCKS),
              take(b, READABLE * K), take(b, sizeof(int32_t) * READABLE * BLOCKS), take(b, 64)};
    *r.count = ROWS;
    for (int32_t i = 0; i < ROWS * K; i++)
        r.x[i] = activation(&b->random, has_tails);
    const Arg args[] = {arg_ptr("q", DTYPE_VOID, r.codes),
                        arg_ptr("s", DTYPE_VOID, r.scale),
                        arg_ptr("c", DTYPE_VOID, r.sum),
                        arg_ptr("x", DTYPE_VOID, r.x),
                        arg_ptr("rows", DTYPE_I32, r.count),
                        arg_int("n", K),
                        arg_int("sq", K),
                        arg_int("sx", K)};
    launch(b, "quantize.py",
           "quantize(q: *i8:16, s: *f32:16, c: *i32:16, x: *f32:16, rows: *i32, n: i32, sq: i32, "
           "sx: i32, BLOCK=256)",
           (Grid){ROWS, K / 256, 1}, COUNT_OF(args), args);
    return r;
}

/// The product as kernels make it. @return [ROWS, N]
static float *product(Bench *b, const PackLayout *l, void *const planes[PACK_PLANES], const Rows *r)
{
    float *y = take(b, sizeof(float) * ROWS * N);
    bool is_k = planes[PACK_SUPER] != NULL;
    static const char *const k_names[] = {"w", "wh", "sc", "mn", "sd"}, *const names[] = {
                                                                            "w", NULL, "ws", NULL,
                                                                            NULL};
    Arg args[16];
    int32_t n = 0;
    char spec[400], planes_text[160] = "";
    for (int32_t p = 0; p < PACK_PLANES; p++) {
        const char *name = (is_k ? k_names : names)[p];
        if (!name) continue;
        size_t at = strlen(planes_text);
        if (planes[p]) {
            args[n++] = arg_ptr(name, DTYPE_VOID, planes[p]);
            snprintf(planes_text + at, sizeof planes_text - at, "%s: *%s:16, ", name,
                     dtype_facts[l->plane[p].dtype].name);
        } else {
            snprintf(planes_text + at, sizeof planes_text - at, "%s: None, ", name);
        }
    }
    snprintf(
        spec, sizeof spec,
        "%s(y: *f32:16, x: *i8:16, xs: *f32:16, xc: *i32:16, %sbias: None, rows: *i32, N: i32, "
        "K: i32:16, sy: i32, sx: i32:16, BLOCK_M=4, PANELS=2)",
        is_k ? "panel_k" : "panel", planes_text);
    const Arg rest[] = {arg_ptr("y", DTYPE_VOID, y),
                        arg_ptr("x", DTYPE_VOID, r->codes),
                        arg_ptr("xs", DTYPE_VOID, r->scale),
                        arg_ptr("xc", DTYPE_VOID, r->sum),
                        arg_ptr("rows", DTYPE_I32, r->count),
                        arg_int("N", N),
                        arg_int("K", K),
                        arg_int("sy", N),
                        arg_int("sx", K)};
    memcpy(args + n, rest, sizeof rest);
    launch(b, is_k ? "panel_k.py" : "panel.py", spec, (Grid){2, (N + 31) / 32, 1},
           n + COUNT_OF(rest), args);
    return y;
}

/// sqrt(sum (y - exact)^2 / sum exact^2) over all rows.
static double error_of(const BlockFacts *facts, const uint8_t *blocks, const Rows *r,
                       const float *y)
{
    static float w[K];
    double off = 0, all = 0;
    for (int32_t n = 0; n < N; n++) {
        facts->read(blocks + (size_t)n * (size_t)(K / facts->block * facts->bytes), w, K);
        for (int32_t i = 0; i < ROWS; i++) {
            double exact = 0;
            for (int32_t k = 0; k < K; k++)
                exact += (double)w[k] * (double)r->x[i * K + k];
            double d = (double)y[i * N + n] - exact;
            off += d * d;
            all += exact * exact;
        }
    }
    return sqrt(off / all);
}

static void expect_error(bool has_tails, double bound)
{
    static const BlockType types[] = {BLOCK_Q8_0, BLOCK_Q4_0, BLOCK_Q4_K, BLOCK_Q5_K, BLOCK_Q6_K};
    Bench b;
    up(&b, 11);
    Rows r = rows_of(&b, has_tails);
    for (int32_t t = 0; t < COUNT_OF(types); t++) {
        const BlockFacts *facts = block_facts(types[t]);
        PackLayout l;
        void *planes[PACK_PLANES];
        cr_assert(pack_layout(types[t], N, K, &l));
        uint8_t *blocks = take(&b, N * (size_t)block_row_bytes(types[t], K));
        float *w = take(&b, sizeof(float) * N * K);
        for (int32_t i = 0; i < N * K; i++)
            w[i] = (float)random_normal(&b.random) * 0.02f;
        facts->write(w, blocks, N * K);
        pack_planes(&l, take(&b, l.bytes), planes);
        pack_rows(&l, blocks, planes, 0, l.n_panels);
        double error = error_of(facts, blocks, &r, product(&b, &l, planes, &r));
        cr_expect_lt(error, bound, "%s: relative RMS error %.2e, codes of 8 bits give %.2e",
                     facts->name, error, bound / 1.2);
        cr_expect_gt(error, bound / 4, "%s: error %.2e is too small to be true", facts->name,
                     error);
    }
    down(&b);
}

Test(pack_product, gaussian_activations_are_off_by_half_a_percent)
{
    expect_error(false, 1.2 * 5.3e-3);
}

Test(pack_product, heavy_tails_cost_a_third_more)
{
    expect_error(true, 1.2 * 7.2e-3);
}
