// cli/bench_peak.c - what this machine can do, measured now: bandwidth, and multiply-adds by type.
//
//   every thread:  acc[M, N] += a[M, K] b[K, N]   again and again, a and b in the first cache
//
// b lies in rows, or as panels of weights do: the 4 or 2 elements of a column that one instruction multiplies are
// neighbours. The better one counts.
// The kernel is tile language, compiled here as any other, so the figure is what the compiler gets out of the
// multiply-add that this CPU has for the type (fma, bf16 pairs, int8 quads): not a data sheet.
#include "cli/bench.h"
#include "runtime/launch.h"

static const char text[] =
    "import triton\nimport triton.language as tl\n\n"
    "@triton.jit\n"
    "def peak(out, a, b, n, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr, T: tl.constexpr,\n"
    "         LOW: tl.constexpr, PACK: tl.constexpr):\n"
    "    m = tl.arange(0, M)\n"
    "    c = tl.arange(0, N)\n"
    "    k = tl.arange(0, K)\n"
    "    acc = tl.zeros((M, N), T)\n"
    "    for _ in range(n):\n"
    "        x = tl.load(a + m[:, None] * K + k[None, :])\n"
    "        y = tl.load(b + (k // PACK * (PACK * N) + k % PACK)[:, None] + c[None, :] * PACK)\n"
    "        if LOW:\n"
    "            y = y & 15\n"
    "        acc = tl.dot(x, y, acc, out_dtype=T)\n"
    "    tl.store(out + tl.program_id(0) * M * N + m[:, None] * N + c[None, :], acc)\n";

typedef struct PeakRow {
    const char *name, *pointer, *sum; ///< of messages; type of the operands; type of the sums
    int32_t k, size;                  ///< extent along k; bytes of an operand's element
    bool is_low;                      ///< the second operand is masked to 4 bits
} PeakRow;

enum { M = 32, N = 32 };
static const PeakRow peaks[PEAK_COUNT] = {
    [PEAK_F32] = {"f32", "f32", "f32", 64, 4},
    [PEAK_BF16] = {"bf16", "bf16", "f32", 128, 2},
    [PEAK_I8] = {"int8", "i8", "i32", 128, 1},
    [PEAK_I4] = {"int4", "i8", "i32", 128, 1, .is_low = true},
};

const char *bench_peak_name(BenchPeak which)
{
    return peaks[which].name;
}

/// The best of several passes of about 20 ms. @return operations per second, 0: failed
static double measure(Session *x, const PeakRow *p, Kernel *kernel, void *const at[3])
{
    int32_t n_programs = x->dev->facts.n_threads;
    double best = 0;
    int64_t rounds = 64;
    for (int32_t pass = 0; pass < 8; pass++) {
        double begin = seconds_now();
        KilnStatus st = kernel_launch(
            kernel, grid_of(n_programs, 1, 1), 4,
            (Arg[]){arg_ptr("out", DTYPE_VOID, at[0]), arg_ptr("a", DTYPE_VOID, at[1]),
                    arg_ptr("b", DTYPE_VOID, at[2]), arg_int("n", rounds)},
            NULL);
        double took = seconds_now() - begin;
        if (st != KILN_OK) return 0;
        best = MAX(best, 2.0 * M * N * p->k * (double)rounds * n_programs / took);
        if (took < 0.01 && rounds < 1 << 20) rounds *= 2;
    }
    return best;
}

/// With b in rows (`side` 1), or with `side` elements of a column beside each other.
static double peak_as(Session *x, Arena *arena, const Source *source, const PeakRow *p,
                      int32_t side)
{
    KilnStatus st = KILN_OK;
    double rate = 0;
    Kernel *kernel;
    Spec spec;
    void *at[3] = {0};
    size_t bytes[3] = {(size_t)(M * N * 4 * x->dev->facts.n_threads), (size_t)(M * p->k * p->size),
                       (size_t)(p->k * N * p->size)};
    const char *words = arena_printf(
        arena,
        "peak(out: *%s:16, a: *%s:16, b: *%s:16, n: i32, M=%d, N=%d, K=%d, T=%s, LOW=%d, PACK=%d)",
        p->sum, p->pointer, p->pointer, M, N, p->k, p->sum, p->is_low, side);
    TRY(spec_parse(source, str_of(words), arena, &spec, NULL));
    TRY(kernel_get(x->kernels, source, &spec, &kernel, NULL));
    for (int32_t i = 0; i < 3; i++)
        TRY(device_alloc(x->dev, bytes[i], "peak", &at[i], NULL));
    rate = measure(x, p, kernel, at);
done:
    for (int32_t i = 0; i < 3; i++)
        device_free(x->dev, at[i]);
    return rate;
}

static double peak_of(Session *x, Arena *arena, const Source *source, const PeakRow *p)
{
    double rows = peak_as(x, arena, source, p, 1);
    return p->size == 4 ? rows : MAX(rows, peak_as(x, arena, source, p, 4 / p->size));
}

void bench_meter_open(BenchMeter *m, Session *x, Arena *arena, BenchCeiling *out)
{
    *m = (BenchMeter){.x = x, .arena = arena};
    *out = (BenchCeiling){0};
    if (x->dev->facts.target.kind != TARGET_CPU)
        out->why_no_peak = x->dev->facts.has_stream
                               ? "peaks are measured on CPUs; kiln_gpu_suite has those of GPUs"
                               : "a device that checks every access has no peak";
    else if (source_from_text("peak.py", str_of(text), &m->source, NULL) != KILN_OK)
        out->why_no_peak = "the kernel that measures it does not compile";
    bench_meter_row(m, out);
}

void bench_meter_row(BenchMeter *m, BenchCeiling *out)
{
    DeviceBandwidth now = m->last;
    double peak[PEAK_COUNT];
    memcpy(peak, m->peak, sizeof peak);
    if (!m->at || seconds_now() - m->at > 2) {
        if (device_measure_bandwidth(m->x->dev, 0, &now, NULL) != KILN_OK)
            now = (DeviceBandwidth){0};
        for (int32_t i = 0; m->source && i < PEAK_COUNT; i++)
            peak[i] = peak_of(m->x, m->arena, m->source, &peaks[i]);
        m->at = seconds_now();
    }
    out->read = MAX(now.read, m->last.read);
    out->copy = MAX(now.copy, m->last.copy);
    for (int32_t i = 0; i < PEAK_COUNT; i++)
        out->peak[i] = MAX(peak[i], m->peak[i]);
    m->last = now;
    memcpy(m->peak, peak, sizeof peak);
}
