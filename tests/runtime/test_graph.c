// tests/runtime/test_graph.c - random graphs against one-after-another execution; waves, plans, text.
#include <criterion/criterion.h>

#include "base/random.h"
#include "runtime/graph.h"
#include "tests/runtime/hand_made.h"

enum { N = 256, BUFS = 12 };

// out[i] = a[i] * 3 + b[i] + k, in wrapping 32-bit integers: order and aliasing mistakes change the answer.
typedef struct MixArgs {
    uint32_t *out;
    const uint32_t *a, *b;
    int32_t k;
} MixArgs;

static void mix(const void *args, const Grid *grid, int64_t first, int64_t n, Tls *tls)
{
    const MixArgs *p = args;
    (void)grid;
    (void)tls;
    for (int64_t i = first; i < first + n; i++)
        p->out[i] = p->a[i] * 3 + p->b[i] + (uint32_t)p->k;
}

static const CodeParam mix_params[] = {
    {.name = "out", .kind = SPEC_PTR, .dtype = DTYPE_U32, .divisible = 16, .is_written = true},
    {.name = "a", .kind = SPEC_PTR, .dtype = DTYPE_U32, .divisible = 16},
    {.name = "b", .kind = SPEC_PTR, .dtype = DTYPE_U32, .divisible = 16},
    {.name = "k", .kind = SPEC_SCALAR, .dtype = DTYPE_I32},
};

static KilnStatus record_mix(Graph *g, Kernel *k, Arg out, Arg a, Arg b, int32_t value, Diag *diag)
{
    out.name = "out", a.name = "a", b.name = "b";
    Arg args[] = {out, a, b, arg_int("k", value)};
    return graph_launch(g, k, grid_of(N, 1, 1), 4, args, diag);
}

/// One random program over buffers; planned ones are written before they are read.
static void check_random(Bench *bench, Kernel *k, uint64_t seed, bool shared_arena)
{
    Random r = {seed};
    Graph *g;
    static uint32_t ref[BUFS][N]; // 0..3 device memory, the rest planned
    uint32_t *mem[4];
    int32_t tensor[BUFS];
    bool written[BUFS] = {false};
    cr_assert_eq(graph_new(bench->dev, "random", &g, NULL), KILN_OK);
    for (int32_t i = 0; i < 4; i++) {
        mem[i] = bench_memory(bench, N * 4);
        for (int32_t j = 0; j < N; j++)
            mem[i][j] = ref[i][j] = (uint32_t)random_u64(&r);
        written[i] = true;
    }
    for (int32_t i = 4; i < BUFS; i++)
        tensor[i] = graph_tensor(g, "t", N * 4);
    int32_t n_nodes = 5 + (int32_t)random_below(&r, 120);
    for (int32_t node = 0; node < n_nodes; node++) {
        int32_t pick[3]; // out, a, b: the last node writes memory, so that there is an answer
        pick[0] = node == n_nodes - 1 ? 0 : (int32_t)random_below(&r, BUFS);
        for (int32_t i = 1; i < 3; i++)
            do
                pick[i] = (int32_t)random_below(&r, BUFS);
            while (!written[pick[i]]);
        Arg arg[3];
        for (int32_t i = 0; i < 3; i++)
            arg[i] = pick[i] < 4 ? arg_ptr(NULL, DTYPE_U32, mem[pick[i]])
                                 : arg_tensor(NULL, DTYPE_U32, tensor[pick[i]], 0);
        bool is_copy = random_below(&r, 6) == 0 && pick[0] != pick[1];
        if (is_copy)
            cr_assert_eq(graph_copy(g, arg[0], arg[1], N * 4, NULL), KILN_OK);
        else
            cr_assert_eq(record_mix(g, k, arg[0], arg[1], arg[2], node, NULL), KILN_OK);
        for (int32_t j = 0; j < N; j++)
            ref[pick[0]][j] =
                is_copy ? ref[pick[1]][j] : ref[pick[1]][j] * 3 + ref[pick[2]][j] + (uint32_t)node;
        written[pick[0]] = true;
    }
    void *arena = shared_arena ? bench_memory(bench, BUFS * N * 4) : NULL;
    if (arena) graph_use_memory(g, arena, BUFS * N * 4);
    cr_assert_eq(graph_finish(g, NULL), KILN_OK);
    cr_expect_leq(graph_arena_bytes(g), graph_tensor_bytes(g));
    cr_assert_eq(graph_run(g, NULL), KILN_OK);
    for (int32_t i = 0; i < 4; i++)
        for (int32_t j = 0; j < N; j++)
            cr_assert_eq(mem[i][j], ref[i][j], "seed %d: buffer %d element %d of %d nodes",
                         (int)seed, i, j, n_nodes);
    graph_free(g);
    device_free(bench->dev, arena);
    for (int32_t i = 0; i < 4; i++)
        device_free(bench->dev, mem[i]);
}

Test(graph, computes_what_one_launch_after_another_does)
{
    Bench b = bench_open(2);
    Kernel *k = bench_kernel(&b, "mix", mix, 4, mix_params);
    for (uint64_t seed = 0; seed < 300; seed++)
        check_random(&b, k, seed, seed % 2);
    cr_expect_eq(b.dev->counters.bytes_live, 0);
    cr_expect_eq(b.dev->counters.records, 300);
    bench_close(&b);
}

/// h = mix(x, x); q, k, v = mix(h, h); o = q + k + v; the three in the middle are independent.
static Graph *diamond(Bench *b, Kernel *k, uint32_t *x, uint32_t *y)
{
    Graph *g;
    cr_assert_eq(graph_new(b->dev, "diamond", &g, NULL), KILN_OK);
    int32_t t[5];
    const char *names[] = {"h", "q", "k", "v", "qk"};
    for (int32_t i = 0; i < 5; i++)
        t[i] = graph_tensor(g, names[i], N * 4);
    Arg in = arg_ptr(NULL, DTYPE_U32, x), out = arg_ptr(NULL, DTYPE_U32, y), a[5];
    for (int32_t i = 0; i < 5; i++)
        a[i] = arg_tensor(NULL, DTYPE_U32, t[i], 0);
    graph_section(g, "layer 0");
    cr_assert_eq(record_mix(g, k, a[0], in, in, 0, NULL), KILN_OK);
    for (int32_t i = 1; i < 4; i++)
        cr_assert_eq(record_mix(g, k, a[i], a[0], a[0], i, NULL), KILN_OK);
    cr_assert_eq(record_mix(g, k, a[4], a[1], a[2], 0, NULL), KILN_OK);
    cr_assert_eq(record_mix(g, k, out, a[4], a[3], 0, NULL), KILN_OK);
    cr_assert_eq(graph_finish(g, NULL), KILN_OK);
    return g;
}

Test(graph, puts_independent_launches_in_one_wave)
{
    Bench b = bench_open(2);
    Kernel *k = bench_kernel(&b, "mix", mix, 4, mix_params);
    uint32_t *x = bench_memory(&b, N * 4), *y = bench_memory(&b, N * 4);
    x[5] = 10;
    Graph *g = diamond(&b, k, x, y);
    cr_expect_eq(graph_n_nodes(g), 6);
    cr_expect_eq(graph_n_waves(g), 4);
    cr_expect_eq(graph_arena_bytes(g), 4 * N * 4,
                 "qk lies where h was, of five buffers four are live at once");
    StrBuf text = {0};
    graph_text(g, &text);
    cr_expect(strstr(text.data, "graph diamond: 6 launches, 0 copies, 4 waves"), "%s", text.data);
    cr_expect(strstr(text.data, "    2 wave 1    launch mix (256, 1, 1) =k, h, h"), "%s",
              text.data);
    cr_expect(strstr(text.data, "layer 0:\n"), "%s", text.data);
    strbuf_free(&text);
    int64_t allocations = b.dev->counters.allocations;
    for (int32_t i = 0; i < 100; i++)
        cr_assert_eq(graph_run(g, NULL), KILN_OK);
    cr_expect_eq(b.dev->counters.allocations, allocations);
    uint32_t h = 40, q = 4 * h + 1, kk = 4 * h + 2, v = 4 * h + 3;
    cr_expect_eq(y[5], (q * 3 + kk) * 3 + v);
    double us[6];
    y[5] = 0;
    cr_assert_eq(graph_run_timed(g, us, NULL), KILN_OK);
    cr_expect_eq(y[5], (q * 3 + kk) * 3 + v);
    graph_free(g);
    bench_close(&b);
}

Test(graph, refuses_what_does_not_fit_its_buffers)
{
    Bench b = bench_open(1);
    Kernel *k = bench_kernel(&b, "mix", mix, 4, mix_params);
    uint32_t *x = bench_memory(&b, N * 4);
    Graph *g;
    cr_assert_eq(graph_new(b.dev, "bad", &g, NULL), KILN_OK);
    int32_t t = graph_tensor(g, "t", N * 4);
    Arg in = arg_ptr(NULL, DTYPE_U32, x), good = arg_tensor(NULL, DTYPE_U32, t, 0);
    Diag d;
    diag_init(&d, heap_default());
    cr_expect_eq(record_mix(g, k, arg_tensor(NULL, DTYPE_U32, 7, 0), in, in, 0, &d),
                 KILN_ERR_INPUT);
    cr_expect_eq(record_mix(g, k, arg_tensor(NULL, DTYPE_U32, t, N * 4 + 16), in, in, 0, &d),
                 KILN_ERR_INPUT);
    cr_expect_eq(record_mix(g, k, arg_tensor(NULL, DTYPE_U32, t, 8), in, in, 0, &d), KILN_ERR_INPUT,
                 "8 is no multiple of 16");
    cr_expect_eq(record_mix(g, k, arg_tensor(NULL, DTYPE_F32, t, 0), in, in, 0, &d),
                 KILN_ERR_INPUT);
    cr_expect_eq(graph_copy(g, good, in, N * 4 + 1, &d), KILN_ERR_INPUT);
    cr_expect_eq(graph_copy(g, good, arg_int(NULL, 3), 4, &d), KILN_ERR_INPUT);
    cr_expect_eq(d.n_errors, 6);
    cr_expect_eq(graph_n_nodes(g), 0, "what was refused is not recorded");
    cr_expect_eq(
        graph_launch(g, k, grid_of(0, 1, 1), 4, (Arg[]){good, in, in, arg_int(NULL, 0)}, &d),
        KILN_OK);
    cr_expect_eq(graph_n_nodes(g), 0, "an empty grid is no node");
    cr_expect_eq(graph_finish(g, &d), KILN_OK);
    cr_expect_eq(graph_run(g, &d), KILN_OK, "an empty graph runs");
    arena_reset(&d.arena);
    graph_free(g);
    bench_close(&b);
}
