// bench/onednn_peer.c - matrix products of kiln and of oneDNN, taking turns in one process: for compare-onednn.
//
//   onednn_peer KERNELS THREADS ROUNDS TYPE M N K      KERNELS: the folder of panel.py; TYPE: f32, bf16, int8
//
//   a round   kiln: panel, weights in panels of 16 rows        oneDNN: matmul, weights in the format it chose (any)
//   int8      Q8_0: codes times codes, f32 scales per 32       u8 x s8 -> s32, no scales: less work
//
// Each prints seconds per product as JSON: {"round": 0, "kiln": s, "onednn": s}, and first {"impl", "tile", "difference"}: the
// largest between both results (f32, bf16), relative to the largest element. Of kiln's tiles (rows x panels) the one is taken that is
// fastest before the rounds. A type that this oneDNN does not multiply on this CPU: {"unsupported": why}.
// Built by compare-onednn. oneDNN 2 (Debian: libdnnl-dev).
#include <dnnl.h>
#include <math.h>

#include "kernel_peer.h"

#if DNNL_VERSION_MAJOR != 2
#error "this uses the C API of oneDNN 2"
#endif

typedef struct Shape {
    int64_t m, n, k;
} Shape;

typedef enum Type { TYPE_F32, TYPE_BF16, TYPE_INT8 } Type;
static const char *const type_names[] = {"f32", "bf16", "int8"};

// ---- oneDNN -------------------------------------------------------------------------------------

typedef struct Dnn {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_desc_t desc;
    dnnl_primitive_t product;
    dnnl_memory_t x, w, y;
    const char *impl;
} Dnn;

static void must(dnnl_status_t s, const char *what)
{
    if (s != dnnl_success) die("oneDNN", what);
}

static void *data_of(dnnl_memory_t m)
{
    void *at;
    must(dnnl_memory_get_data_handle(m, &at), "data");
    return at;
}

static dnnl_memory_t memory_of(const Dnn *d, const dnnl_memory_desc_t *desc)
{
    dnnl_memory_t m;
    must(dnnl_memory_create(&m, desc, d->engine, DNNL_MEMORY_ALLOCATE), "memory");
    return m;
}

/// Weights [n][k], as its chosen format.
static void pack_weights(Dnn *d, const dnnl_memory_desc_t *plain, const void *w, size_t bytes)
{
    dnnl_primitive_desc_t desc;
    dnnl_primitive_t reorder;
    dnnl_memory_t from = memory_of(d, plain);
    memcpy(data_of(from), w, bytes);
    const dnnl_memory_desc_t *packed =
        dnnl_primitive_desc_query_md(d->desc, dnnl_query_weights_md, 0);
    d->w = memory_of(d, packed);
    must(dnnl_reorder_primitive_desc_create(&desc, plain, d->engine, packed, d->engine, NULL),
         "reorder");
    must(dnnl_primitive_create(&reorder, desc), "reorder");
    dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, d->w}};
    must(dnnl_primitive_execute(reorder, d->stream, 2, args), "reorder");
    must(dnnl_stream_wait(d->stream), "reorder");
    dnnl_primitive_destroy(reorder);
    dnnl_primitive_desc_destroy(desc);
    dnnl_memory_destroy(from);
}

/// @return false: it does not multiply this type here
static bool dnn_up(Dnn *d, Type type, Shape s, const void *x, size_t x_bytes, const void *w,
                   size_t w_bytes)
{
    static const dnnl_data_type_t x_types[] = {dnnl_f32, dnnl_bf16, dnnl_u8},
                                  w_types[] = {dnnl_f32, dnnl_bf16, dnnl_s8},
                                  y_types[] = {dnnl_f32, dnnl_f32, dnnl_s32};
    dnnl_memory_desc_t xd, any, plain, yd;
    dnnl_matmul_desc_t op;
    dnnl_dims_t xs = {s.m, s.k}, ws = {s.k, s.n}, ys = {s.m, s.n};
    must(dnnl_engine_create(&d->engine, dnnl_cpu, 0), "engine");
    must(dnnl_stream_create(&d->stream, d->engine, dnnl_stream_default_flags), "stream");
    must(dnnl_memory_desc_init_by_tag(&xd, 2, xs, x_types[type], dnnl_ab), "x");
    must(dnnl_memory_desc_init_by_tag(&any, 2, ws, w_types[type], dnnl_format_tag_any), "w");
    must(dnnl_memory_desc_init_by_tag(&plain, 2, ws, w_types[type], dnnl_ba), "w");
    must(dnnl_memory_desc_init_by_tag(&yd, 2, ys, y_types[type], dnnl_ab), "y");
    must(dnnl_matmul_desc_init(&op, &xd, &any, NULL, &yd), "matmul");
    if (dnnl_primitive_desc_create(&d->desc, &op, NULL, d->engine, NULL) != dnnl_success)
        return false;
    must(dnnl_primitive_desc_query(d->desc, dnnl_query_impl_info_str, 0, (void *)&d->impl), "impl");
    must(dnnl_primitive_create(&d->product, d->desc), "matmul");
    d->x = memory_of(d, &xd);
    d->y = memory_of(d, &yd);
    memcpy(data_of(d->x), x, x_bytes);
    pack_weights(d, &plain, w, w_bytes);
    return true;
}

static double dnn_run(const Dnn *d)
{
    dnnl_exec_arg_t args[] = {{DNNL_ARG_SRC, d->x}, {DNNL_ARG_WEIGHTS, d->w}, {DNNL_ARG_DST, d->y}};
    double begin = now();
    must(dnnl_primitive_execute(d->product, d->stream, 3, args), "matmul");
    must(dnnl_stream_wait(d->stream), "matmul");
    return now() - begin;
}

// ---- kiln ---------------------------------------------------------------------------------------

typedef struct Tile {
    int32_t rows, panels;
} Tile;

static const Tile tiles[] = {{4, 1}, {8, 1}, {16, 1}, {32, 1}, {64, 1},
                             {4, 2}, {8, 2}, {16, 2}, {32, 2}, {64, 2}};

enum { N_TILES = sizeof tiles / sizeof tiles[0] };

typedef struct Panel {
    Kiln kiln;
    KilnSource *source;
    KilnKernel *kernels[N_TILES];
    int32_t best;
    Shape shape;
    KilnBuffer *y;
    KilnArg args[11];
    int32_t n_args;
} Panel;

/// Element (n, k) of panels with `group` neighbours along k side by side.
static int64_t panel_at(int64_t n, int64_t k, int64_t K, int64_t group)
{
    return (n / 16 * (K / group) + k / group) * 16 * group + n % 16 * group + k % group;
}

static void add_arg(Panel *p, KilnArg a)
{
    p->args[p->n_args++] = a;
}

static void compile_tiles(Panel *p, Type type)
{
    static const char *const words[] = {
        "x: *f32:16, xs: None, xc: None, w: *f32:16, ws: None",
        "x: *bf16:16, xs: None, xc: None, w: *bf16:16, ws: None",
        "x: *i8:16, xs: *f32:16, xc: *i32:16, w: *i8:16, ws: *f16:16",
    };
    char spec[512];
    for (int32_t i = 0; i < N_TILES; i++) {
        snprintf(spec, sizeof spec,
                 "panel(y: *f32:16, %s, bias: None, rows: *i32, N: i32:16, K: i32:16, sy: i32:16, "
                 "sx: i32:16, BLOCK_M=%d, PANELS=%d)[num_warps=4]",
                 words[type], (int)tiles[i].rows, (int)tiles[i].panels);
        kiln_must(&p->kiln,
                  kiln_compile(p->kiln.dev, p->source, spec, &p->kernels[i], p->kiln.err));
    }
}

static double panel_run(const Panel *p, int32_t tile)
{
    int64_t rows = tiles[tile].rows, columns = 16 * tiles[tile].panels;
    int32_t grid[3] = {(int32_t)((p->shape.m + rows - 1) / rows),
                       (int32_t)((p->shape.n + columns - 1) / columns), 1};
    double begin = now();
    kiln_must(&p->kiln, kiln_launch(p->kernels[tile], grid, p->n_args, p->args, p->kiln.err));
    return now() - begin;
}

static void choose_tile(Panel *p)
{
    double best = 1e9;
    for (int32_t i = 0; i < N_TILES; i++)
        for (int32_t again = 0; again < 3; again++) {
            double took = panel_run(p, i);
            if (took < best) best = took, p->best = i;
        }
}

static void panel_up(Panel *p, const char *folder, int threads, Type type, Shape s, const void *x,
                     size_t x_bytes, const char *w, size_t element)
{
    static const int64_t groups[] = {1, 2, 4};
    p->kiln = kiln_up(threads);
    p->source = source_of(&p->kiln, folder, "panel.py");
    p->shape = s;
    size_t bytes = (size_t)(s.n * s.k) * element;
    char *panels = malloc(bytes);
    if (!panels) die("onednn_peer", "no memory");
    for (int64_t n = 0; n < s.n; n++)
        for (int64_t k = 0; k < s.k; k++)
            memcpy(panels + (size_t)panel_at(n, k, s.k, groups[type]) * element,
                   w + (size_t)(n * s.k + k) * element, element);
    int32_t rows = (int32_t)s.m;
    const Kiln *k = &p->kiln;
    p->y = buffer_of(k, NULL, (size_t)(s.m * s.n) * 4);
    add_arg(p, buffer_arg("y", p->y));
    add_arg(p, buffer_arg("x", buffer_of(k, x, x_bytes)));
    add_arg(p, buffer_arg("w", buffer_of(k, panels, bytes)));
    add_arg(p, buffer_arg("rows", buffer_of(k, &rows, sizeof rows)));
    add_arg(p, kiln_arg_int("N", s.n));
    add_arg(p, kiln_arg_int("K", s.k));
    add_arg(p, kiln_arg_int("sy", s.n));
    add_arg(p, kiln_arg_int("sx", s.k));
    if (type == TYPE_INT8) { // scales are zero: they are multiplied all the same
        add_arg(p, buffer_arg("xs", buffer_of(k, NULL, (size_t)(s.m * s.k / 32) * 4)));
        add_arg(p, buffer_arg("xc", buffer_of(k, NULL, (size_t)(s.m * s.k / 32) * 4)));
        add_arg(p, buffer_arg("ws", buffer_of(k, NULL, (size_t)(s.n * s.k / 32) * 2)));
    }
    free(panels);
    compile_tiles(p, type);
    choose_tile(p);
}

// ---- both ---------------------------------------------------------------------------------------

/// `n` numbers of `type`, [-0.5, 0.5) or 0 .. 15.
static void *numbers(Type type, int64_t n, unsigned seed, size_t *bytes)
{
    size_t element = type == TYPE_F32 ? 4 : type == TYPE_BF16 ? 2 : 1;
    *bytes = (size_t)n * element;
    char *data = malloc(*bytes);
    if (!data) die("onednn_peer", "no memory");
    for (int64_t i = 0; i < n; i++) {
        float f = next_float(&seed);
        unsigned bits;
        memcpy(&bits, &f, 4);
        unsigned short high = (unsigned short)(bits >> 16);
        char code = (char)(seed >> 28);
        memcpy(data + (size_t)i * element,
               type == TYPE_F32    ? (void *)&f
               : type == TYPE_BF16 ? (void *)&high
                                   : (void *)&code,
               element);
    }
    return data;
}

/// The largest between both results, relative to the largest element.
static double difference(const Panel *p, const Dnn *d)
{
    size_t n = (size_t)(p->shape.m * p->shape.n);
    float *mine = malloc(n * 4);
    const float *theirs = data_of(d->y);
    double worst = 0, most = 0;
    if (!mine) die("onednn_peer", "no memory");
    kiln_must(&p->kiln, kiln_buffer_download(p->y, 0, mine, n * 4, p->kiln.err));
    for (size_t i = 0; i < n; i++) {
        most = fmax(most, fabs((double)theirs[i]));
        worst = fmax(worst, fabs((double)mine[i] - (double)theirs[i]));
    }
    free(mine);
    return worst / most;
}

int main(int argc, char **argv)
{
    if (argc != 8) die("usage", "onednn_peer KERNELS THREADS ROUNDS f32|bf16|int8 M N K");
    int threads = atoi(argv[2]), rounds = atoi(argv[3]), type = 0;
    while (type < 3 && strcmp(argv[4], type_names[type]) != 0)
        type++;
    Shape s = {atoll(argv[5]), atoll(argv[6]), atoll(argv[7])};
    if (type == 3 || s.n % 16 || s.k % 32) die("onednn_peer", "type or shape");
    size_t x_bytes, w_bytes;
    void *x = numbers((Type)type, s.m * s.k, 1, &x_bytes),
         *w = numbers((Type)type, s.n * s.k, 2, &w_bytes);
    Panel p = {0};
    Dnn d = {0};
    if (!dnn_up(&d, (Type)type, s, x, x_bytes, w, w_bytes)) {
        printf("{\"unsupported\": \"oneDNN has no %s product for this CPU\"}\n", type_names[type]);
        return 0;
    }
    panel_up(&p, argv[1], threads, (Type)type, s, x, x_bytes, w, w_bytes / (size_t)(s.n * s.k));
    dnn_run(&d);
    printf("{\"impl\": \"%s\", \"tile\": \"%d x %d\", \"difference\": %g}\n", d.impl,
           (int)tiles[p.best].rows, 16 * (int)tiles[p.best].panels,
           type == TYPE_INT8 ? 0.0 : difference(&p, &d));
    for (int r = 0; r < rounds; r++) {
        double mine = panel_run(&p, p.best), theirs = dnn_run(&d);
        printf("{\"round\": %d, \"kiln\": %.9f, \"onednn\": %.9f}\n", r, mine, theirs);
    }
    kiln_down(&p.kiln);
    return 0;
}
