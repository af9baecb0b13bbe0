// bench/kernels.c - streaming kernels against the bandwidth of the same run.
//
//   bench_kernels [--threads N] [--rounds N] [--mib N] [--json]
//
// Each kernel moves `mib` MiB or more per tensor; GB/s counts bytes read plus bytes written. The ceiling is
// the best of two copies over as many bytes, measured in the same rounds: a plain loop that the compiler
// vectorises, and memcpy, which goes past the caches for blocks of this size.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/random.h"
#include "bench/bench.h"
#include "models/kernel_texts.h"
#include "runtime/launch.h"

typedef struct Bench {
    Device *dev;
    KernelCache *kernels;
    Diag *diag;
    int64_t mib;
    int32_t rounds, threads;
    char *from, *to; ///< the copies' blocks
    size_t copy_bytes;
} Bench;

typedef struct Streaming {
    Bench *b;
    Launch launch;
    uint8_t args[LAUNCH_MAX_ARGS_BYTES];
} Streaming;

enum { WIDTH = 2048, HEADS = 32, KV_HEADS = 8, HEAD_DIM = 64, PAGE = 32 };

static KilnStatus run_launch(void *user, Diag *diag)
{
    return launch_run(&((Streaming *)user)->launch, diag);
}

// ---- the ceiling ------------------------------------------------------------------------------

typedef struct CopyPart {
    char *to;
    const char *from;
    size_t bytes;
    bool plain;
} CopyPart;

static void *copy_part(void *user)
{
    CopyPart *p = user;
    if (p->plain) {
        uint64_t *to = (uint64_t *)(void *)p->to;
        const uint64_t *from = (const uint64_t *)(const void *)p->from;
        for (size_t i = 0; i < p->bytes / 8; i++) {
            to[i] = from[i];
            __asm__ volatile("" ::: "memory"); // keeps the loop from becoming a call to memcpy
        }
    } else {
        memcpy(p->to, p->from, p->bytes);
    }
    return NULL;
}

static KilnStatus copy_all(Bench *b, bool plain)
{
    pthread_t threads[64];
    CopyPart parts[64];
    int32_t n = MIN(b->threads, COUNT_OF(threads));
    size_t part = b->copy_bytes / (size_t)n;
    for (int32_t i = 0; i < n; i++) {
        parts[i] = (CopyPart){b->to + (size_t)i * part, b->from + (size_t)i * part, part, plain};
        if (i && pthread_create(&threads[i], NULL, copy_part, &parts[i]) != 0)
            return KILN_ERR_DEVICE;
    }
    copy_part(&parts[0]);
    for (int32_t i = 1; i < n; i++)
        pthread_join(threads[i], NULL);
    return KILN_OK;
}

static KilnStatus run_plain_copy(void *user, Diag *diag)
{
    (void)diag;
    return copy_all(user, true);
}

static KilnStatus run_memcpy(void *user, Diag *diag)
{
    (void)diag;
    return copy_all(user, false);
}

// ---- buffers ----------------------------------------------------------------------------------

static KilnStatus floats(Bench *b, int64_t n, void **out)
{
    KilnStatus st = device_alloc(b->dev, (size_t)n * sizeof(float), "bench", out, b->diag);
    if (st != KILN_OK) return st;
    Random r = {1};
    float *x = *out;
    for (int64_t i = 0; i < n; i++)
        x[i] = (float)random_unit(&r) - 0.5f;
    return KILN_OK;
}

static KilnStatus ints(Bench *b, int64_t n, int32_t first, int32_t step, void **out)
{
    KilnStatus st = device_alloc(b->dev, (size_t)n * sizeof(int32_t), "bench", out, b->diag);
    if (st != KILN_OK) return st;
    int32_t *x = *out;
    for (int64_t i = 0; i < n; i++)
        x[i] = first + (int32_t)i * step;
    return KILN_OK;
}

// ---- the kernels ------------------------------------------------------------------------------

static KilnStatus make(Bench *b, const char *file, const char *words, Grid grid, int32_t n,
                       const Arg *args, Streaming *out)
{
    Kernel *k;
    KilnStatus st = kernel_find(b->kernels, file, str_of(words), &k, b->diag);
    if (st != KILN_OK) return st;
    out->b = b;
    return launch_make(k, grid, n, args, NULL, out->args, NULL, &out->launch, b->diag);
}

static KilnStatus make_rmsnorm(Bench *b, Streaming *out, double *bytes)
{
    KilnStatus st = KILN_OK;
    int64_t rows = b->mib * (1 << 20) / (WIDTH * 4);
    void *y, *x, *r, *g, *n;
    TRY(floats(b, rows * WIDTH, &y));
    TRY(floats(b, rows * WIDTH, &x));
    TRY(floats(b, rows * WIDTH, &r));
    TRY(floats(b, WIDTH, &g));
    TRY(ints(b, 1, (int32_t)rows, 0, &n));
    *bytes = 4.0 * (double)rows * WIDTH * 4;
    const Arg args[] = {arg_ptr("y", DTYPE_F32, y),    arg_ptr("x", DTYPE_F32, x),
                        arg_ptr("r", DTYPE_F32, r),    arg_ptr("g", DTYPE_F32, g),
                        arg_ptr("rows", DTYPE_I32, n), arg_int("n", WIDTH),
                        arg_float("eps", 1e-5),        arg_int("sy", WIDTH),
                        arg_int("sx", WIDTH),          arg_int("sr", WIDTH)};
    st = make(b, "rmsnorm.py",
              "rmsnorm(y: *f32:16, x: *f32:16, r: *f32:16, g: *f32:16, rows: *i32, ends: None, n: "
              "i32:16, eps: f32, "
              "sy: i32:16, sx: i32:16, sr: i32:16, BLOCK=2048)",
              grid_of(rows, 1, 1), COUNT_OF(args), args, out);
done:
    return st;
}

static KilnStatus make_silu(Bench *b, Streaming *out, double *bytes)
{
    KilnStatus st = KILN_OK;
    int64_t rows = b->mib * (1 << 20) / (WIDTH * 4);
    void *y, *gate, *up, *n;
    TRY(floats(b, rows * WIDTH, &y));
    TRY(floats(b, rows * WIDTH, &gate));
    TRY(floats(b, rows * WIDTH, &up));
    TRY(ints(b, 1, (int32_t)rows, 0, &n));
    *bytes = 3.0 * (double)rows * WIDTH * 4;
    const Arg args[] = {arg_ptr("y", DTYPE_F32, y),   arg_ptr("gate", DTYPE_F32, gate),
                        arg_ptr("up", DTYPE_F32, up), arg_ptr("rows", DTYPE_I32, n),
                        arg_int("n", WIDTH),          arg_int("sy", WIDTH),
                        arg_int("sg", WIDTH),         arg_int("su", WIDTH)};
    st = make(b, "silu_mul.py",
              "silu_mul(y: *f32:16, gate: *f32:16, up: *f32:16, rows: *i32, n: i32:16, sy: i32:16, "
              "sg: i32:16, su: i32:16, BLOCK=2048)",
              grid_of(rows, 1, 1), COUNT_OF(args), args, out);
done:
    return st;
}

static KilnStatus make_softmax(Bench *b, Streaming *out, double *bytes)
{
    KilnStatus st = KILN_OK;
    int64_t rows = b->mib * (1 << 20) / (WIDTH * 4);
    void *y, *x, *cols, *n;
    TRY(floats(b, rows * WIDTH, &y));
    TRY(floats(b, rows * WIDTH, &x));
    TRY(ints(b, rows, WIDTH, 0, &cols));
    TRY(ints(b, 1, (int32_t)rows, 0, &n));
    *bytes = 2.0 * (double)rows * WIDTH * 4;
    const Arg args[] = {
        arg_ptr("y", DTYPE_F32, y),    arg_ptr("x", DTYPE_F32, x), arg_ptr("cols", DTYPE_I32, cols),
        arg_ptr("rows", DTYPE_I32, n), arg_int("sy", WIDTH),       arg_int("sx", WIDTH)};
    st = make(b, "softmax.py",
              "softmax(y: *f32:16, x: *f32:16, cols: *i32, rows: *i32, sy: i32:16, sx: i32:16, "
              "BLOCK=2048)",
              grid_of(rows, 1, 1), COUNT_OF(args), args, out);
done:
    return st;
}

/// One sequence of `tokens` tokens in consecutive pages: q in place, k and v into the cache.
static KilnStatus make_rope(Bench *b, Streaming *out, double *bytes)
{
    KilnStatus st = KILN_OK;
    int64_t tokens = b->mib * (1 << 20) / (HEADS * HEAD_DIM * 4), pages = tokens / PAGE;
    void *q, *k, *v, *kv, *steps, *pos, *zeros, *q_start, *list_len, *entries, *spread, *n;
    TRY(floats(b, tokens * HEADS * HEAD_DIM, &q));
    TRY(floats(b, tokens * KV_HEADS * HEAD_DIM, &k));
    TRY(floats(b, tokens * KV_HEADS * HEAD_DIM, &v));
    TRY(floats(b, 2 * pages * KV_HEADS * PAGE * HEAD_DIM, &kv));
    TRY(floats(b, HEAD_DIM / 2, &steps));
    TRY(ints(b, tokens, 0, 1, &pos));
    TRY(ints(b, tokens, 0, 0, &zeros));
    TRY(ints(b, 2, 0, (int32_t)tokens, &q_start));
    TRY(ints(b, 1, (int32_t)tokens, 0, &list_len));
    TRY(ints(b, pages, 0, KV_HEADS, &entries));
    TRY(ints(b, 1, 1, 0, &spread));
    TRY(ints(b, 1, (int32_t)tokens, 0, &n));
    *bytes = (double)tokens * HEAD_DIM * 4 * (2.0 * HEADS + 4.0 * KV_HEADS);
    const int64_t page_elements = 2 * PAGE * HEAD_DIM;
    const Arg args[] = {arg_ptr("q", DTYPE_F32, q),
                        arg_ptr("k", DTYPE_F32, k),
                        arg_ptr("v", DTYPE_F32, v),
                        arg_ptr("k_page", DTYPE_F32, kv),
                        arg_ptr("v_page", DTYPE_F32, (float *)kv + PAGE * HEAD_DIM),
                        arg_ptr("steps", DTYPE_F32, steps),
                        arg_ptr("pos", DTYPE_I32, pos),
                        arg_ptr("seq_of", DTYPE_I32, zeros),
                        arg_ptr("q_start", DTYPE_I32, q_start),
                        arg_ptr("slot_of", DTYPE_I32, zeros),
                        arg_ptr("list_of", DTYPE_I32, zeros),
                        arg_ptr("list_len", DTYPE_I32, list_len),
                        arg_ptr("list_pages", DTYPE_I32, entries),
                        arg_ptr("list_spread", DTYPE_I32, spread),
                        arg_ptr("tokens", DTYPE_I32, n),
                        arg_int("per", KV_HEADS),
                        arg_int("layer0", 0),
                        arg_int("max_pages", pages),
                        arg_int("sq", HEADS * HEAD_DIM),
                        arg_int("sk", KV_HEADS * HEAD_DIM),
                        arg_int("sv", KV_HEADS * HEAD_DIM),
                        arg_int("page_k", page_elements),
                        arg_int("page_v", page_elements),
                        arg_int("page_s", 0)};
    st =
        make(b, "rope.py",
             "rope_append(q: *f32:16, k: *f32:16, v: *f32:16, k_page: *f32:16, v_page: *f32:16, "
             "k_scale: None, v_scale: None, "
             "steps: *f32, pos: *i32, seq_of: *i32, q_start: *i32, slot_of: *i32, list_of: *i32, "
             "list_len: *i32, list_pages: *i32, "
             "list_spread: *i32, tokens: *i32, per: i32, layer0: i32, max_pages: i32, sq: i32:16, "
             "sk: i32:16, sv: i32:16, "
             "page_k: i32:16, page_v: i32:16, page_s: i32, HEADS=8, G=4, HEAD_DIM=64, ROPE_DIM=64, "
             "INTERLEAVED=False, PAGE=32, DIM_MAJOR=True, "
             "HALF=32, BLOCK_D=64, BLOCK_G=4)",
             grid_of(tokens, 1, 1), COUNT_OF(args), args, out);
done:
    return st;
}

static const struct {
    const char *name;
    KilnStatus (*make)(Bench *b, Streaming *out, double *bytes);
} kernels[] = {{"rmsnorm + residual", make_rmsnorm},
               {"rope + append", make_rope},
               {"silu * mul", make_silu},
               {"softmax", make_softmax}};

static void report(const Bench *b, int32_t n, const BenchCase *cases, bool json)
{
    const BenchCase *ceiling = &cases[0];
    double best = 0;
    for (int32_t i = 0; i < 2; i++) {
        double rate = cases[i].bytes / bench_median(b->rounds, cases[i].seconds);
        if (rate > best) best = rate, ceiling = &cases[i];
    }
    if (!json)
        printf("%-20s %8s %8s   %d threads, %lld MiB per tensor, %d rounds\n", "kernel", "GB/s",
               "of copy", b->threads, (long long)b->mib, b->rounds);
    for (int32_t i = 0; i < n; i++) {
        double rate = cases[i].bytes / bench_median(b->rounds, cases[i].seconds);
        double share = cases[i].bytes / ceiling->bytes / bench_ratio(&cases[i], ceiling, b->rounds);
        if (json)
            printf("{\"bench\": \"%s\", \"gb_per_s\": %.2f, \"of_copy\": %.3f, \"threads\": %d, "
                   "\"mib\": %lld}\n",
                   cases[i].name, rate / 1e9, share, b->threads, (long long)b->mib);
        else
            printf("%-20s %8.1f %8.2f%s\n", cases[i].name, rate / 1e9, share,
                   &cases[i] == ceiling ? "   the ceiling" : "");
    }
}

static KilnStatus run_bench(Bench *b, bool json)
{
    KilnStatus st = KILN_OK;
    BenchCase cases[2 + COUNT_OF(kernels)] = {0};
    static Streaming launches[COUNT_OF(kernels)];
    void *from, *to;
    b->copy_bytes = (size_t)b->mib << 20;
    TRY(floats(b, b->mib << 18, &from));
    TRY(floats(b, b->mib << 18, &to));
    b->from = from;
    b->to = to;
    cases[0] = (BenchCase){.name = "copy, plain loop",
                           .bytes = 2.0 * (double)b->copy_bytes,
                           .run = run_plain_copy,
                           .user = b};
    cases[1] = (BenchCase){
        .name = "copy, memcpy", .bytes = 2.0 * (double)b->copy_bytes, .run = run_memcpy, .user = b};
    for (int32_t i = 0; i < COUNT_OF(kernels); i++) {
        BenchCase *c = &cases[2 + i];
        *c = (BenchCase){.name = kernels[i].name, .run = run_launch, .user = &launches[i]};
        TRY(kernels[i].make(b, &launches[i], &c->bytes));
    }
    TRY(bench_rounds(COUNT_OF(cases), cases, b->rounds, b->diag));
    report(b, COUNT_OF(cases), cases, json);
done:
    return st;
}

int main(int argc, char **argv)
{
    Diag diag;
    diag_init(&diag, heap_default());
    Bench b = {.diag = &diag, .mib = 64, .rounds = 9, .threads = 2};
    bool json = false;
    for (int i = 1; i < argc; i++) {
        int32_t value = i + 1 < argc ? MAX(1, atoi(argv[i + 1])) : 0;
        if (!strcmp(argv[i], "--json")) {
            json = true;
            continue;
        }
        if (value && !strcmp(argv[i], "--threads"))
            b.threads = value;
        else if (value && !strcmp(argv[i], "--rounds"))
            b.rounds = MIN(value, BENCH_MAX_ROUNDS);
        else if (value && !strcmp(argv[i], "--mib"))
            b.mib = value;
        else
            return fprintf(stderr,
                           "usage: bench_kernels [--threads N] [--rounds N] [--mib N] [--json]\n"),
                   2;
        i++;
    }
    KilnStatus st = KILN_OK;
    DeviceOptions device = {.name = "cpu", .n_threads = b.threads};
    KernelCacheOptions cache = {.texts = kernel_texts, .n_texts = kernel_n_texts};
    TRY(device_open(&device, &b.dev, &diag));
    TRY(kernel_cache_open(b.dev, &cache, &b.kernels, &diag));
    st = run_bench(&b, json);
done:;
    StrBuf text = {0};
    diag_render(&diag, &text);
    if (text.len) fputs(text.data, stderr);
    strbuf_free(&text);
    kernel_cache_close(b.kernels);
    device_close(b.dev);
    diag_reset(&diag);
    return st == KILN_OK ? 0 : 1;
}
