// tests/compiler/gpu/test_pipeline.c - loops whose loads run ahead: the same answers with any number
// of stages, warps and iterations, copies under way while the dots work, and waits and barriers
// without which the emulator would have complained.
#include "tests/compiler/gpu/loops.h"

static const int32_t trips_of[] = {0, 1, 2, 3, 17};
static const int32_t stages_of[] = {1, 2, 3, 4};

/// A kernel with data; argument 0 is the f32 result.
typedef struct Bench {
    const char *format; ///< of the spec: a %s for what is in brackets
    int32_t n_args;
    Arg args[8];
    Buffer buffers[8];
    int32_t n_buffers;
    int32_t trips, loads; ///< iterations, loads that are pipelined in each
} Bench;

static void add_buffer(Bench *b, DType t, int64_t n, uint64_t seed)
{
    Buffer *x = &b->buffers[b->n_buffers++];
    *x = buffer_new(t, n);
    buffer_random(x, seed, -2, 3);
    b->args[b->n_args++] = (Arg){.buffer = x};
}

static void add_int(Bench *b, int64_t i)
{
    b->args[b->n_args++] = (Arg){.i = i};
}

static void bench_free(Bench *b)
{
    for (int32_t i = 0; i < b->n_buffers; i++)
        buffer_free(&b->buffers[i]);
}

/// Runs into a copy of the result. @return it
static Buffer result_of(Bench *b, const char *spec, const char *target, Ran *ran)
{
    Buffer y = buffer_new(DTYPE_F32, b->buffers[0].n);
    Arg args[8];
    memcpy(args, b->args, sizeof args);
    memcpy(y.data, b->buffers[0].data, (size_t)y.n * 4);
    args[0].buffer = &y;
    run(spec, target, NULL, b->n_args, args, ran);
    return y;
}

static void expect_near(const char *what, const Buffer *want, const Buffer *got, double tolerance)
{
    for (int64_t i = 0; i < want->n; i++) {
        double a = ((const float *)want->data)[i], b = ((const float *)got->data)[i];
        double off = a > b ? a - b : b - a, size = a < 0 ? -a : a;
        cr_assert(off <= tolerance * (1 + size), "%s: element %lld: %.9g, interpreter %.9g", what,
                  (long long)i, b, a);
    }
}

/// The interpreter's answer from every configuration; the same bits whatever the stages.
static void expect_all_stages(Bench *b, const char *target, int32_t warps, double tolerance)
{
    char spec[256], brackets[64];
    Ran ran;
    snprintf(brackets, sizeof brackets, "num_warps=%d", warps);
    snprintf(spec, sizeof spec, b->format, brackets);
    Buffer want = result_of(b, spec, "interp", &ran), first = {0};
    ran_free(&ran);
    for (int32_t i = 0; i < COUNT_OF(stages_of); i++) {
        snprintf(brackets, sizeof brackets, "num_warps=%d, num_stages=%d", warps, stages_of[i]);
        snprintf(spec, sizeof spec, b->format, brackets);
        Buffer y = result_of(b, spec, target, &ran);
        expect_near(spec, &want, &y, tolerance);
        if (i == 0) {
            first = y;
            cr_expect_eq(ran.counters.copies, 0, "%s copies asynchronously", spec);
        } else {
            cr_expect(!memcmp(first.data, y.data, (size_t)y.n * 4), "%s on %s: other bits", spec,
                      target);
            int64_t in_flight = b->loads * MIN(stages_of[i] - 1, b->trips);
            cr_expect_eq(ran.counters.copies_in_flight, in_flight, "%s on %s: %lld in flight", spec,
                         target, (long long)ran.counters.copies_in_flight);
            buffer_free(&y);
        }
        ran_free(&ran);
    }
    buffer_free(&want), buffer_free(&first);
}

static const char *const copying[] = {"emu:sm_80", "emu:sm_90a"};

/// On both architectures with cp.async, 4 and 8 warps.
static void expect_everywhere(Bench *b, double tolerance)
{
    for (int32_t t = 0; t < COUNT_OF(copying); t++)
        for (int32_t warps = 4; warps <= 8; warps *= 2)
            expect_all_stages(b, copying[t], warps, tolerance);
    bench_free(b);
}

Test(gpu_pipeline, a_product_is_the_same_with_any_number_of_stages, .timeout = 300)
{
    static const DType dtypes[] = {DTYPE_F16, DTYPE_F32};
    static const char *const formats[] = {
        "gemm(y: *f32:16, x: *f16:16, w: *f16:16, K: i32:16, BM=16, BN=32, BK=32)[%s]",
        "gemm(y: *f32:16, x: *f32:16, w: *f32:16, K: i32:16, BM=16, BN=32, BK=32)[%s]"};
    for (int32_t d = 0; d < 2; d++) {
        for (int32_t i = 0; i < COUNT_OF(trips_of); i++) {
            int32_t k = trips_of[i] * 32 - (i > 2 ? 16 : 0); // the last iteration is half masked
            Bench b = {.format = formats[d], .trips = trips_of[i], .loads = 2};
            add_buffer(&b, DTYPE_F32, 16 * 32, 1);
            add_buffer(&b, dtypes[d], 16 * MAX(k, 1), 2);
            add_buffer(&b, dtypes[d], 32 * MAX(k, 1), 3);
            add_int(&b, k);
            expect_everywhere(&b, 1e-4);
        }
    }
}

Test(gpu_pipeline, a_loop_may_count_down_over_widened_and_transposed_weights, .timeout = 300)
{
    for (int32_t i = 0; i < COUNT_OF(trips_of); i++) {
        int32_t k = trips_of[i] * 32;
        Bench b = {.format = "downward(y: *f32:16, x: *f16:16, w: *i8:16, K: i32:16, BM=16, BN=16, "
                             "BK=32)[%s]",
                   .trips = trips_of[i],
                   .loads = 2};
        add_buffer(&b, DTYPE_F32, 16 * 16, 4);
        add_buffer(&b, DTYPE_F16, 16 * MAX(k, 1), 5);
        add_buffer(&b, DTYPE_I8, 16 * MAX(k, 1), 6);
        add_int(&b, k);
        expect_everywhere(&b, 1e-4);
    }
}

Test(gpu_pipeline, pages_are_looked_up_an_iteration_before_they_are_copied, .timeout = 300)
{
    for (int32_t i = 0; i < COUNT_OF(trips_of); i++) {
        int32_t n = trips_of[i];
        Bench b = {.format = "attention(y: *f32:16, q: *f16:16, kp: *f16:16, vp: *f16:16, bias: "
                             "*f32:16, table: *i32, n: i32, BM=16, D=32, P=16)[%s]",
                   .trips = n,
                   .loads = 3};
        add_buffer(&b, DTYPE_F32, 16 * 32, 7);
        add_buffer(&b, DTYPE_F16, 16 * 32, 8);
        add_buffer(&b, DTYPE_F16, 8 * 16 * 32, 9);
        add_buffer(&b, DTYPE_F16, 8 * 16 * 32, 10);
        add_buffer(&b, DTYPE_F32, 8 * 16, 21);
        add_buffer(&b, DTYPE_I32, n, 11); // as many as there are: nobody may look behind the last
        for (int32_t p = 0; p < n; p++)
            ((int32_t *)b.buffers[5].data)[p] = (p * 5 + 3) % 8;
        add_int(&b, n);
        expect_everywhere(&b, 2e-2);
    }
}

Test(gpu_pipeline, a_tile_of_pages_is_looked_up_ahead_under_its_mask, .timeout = 300)
{
    for (int32_t i = 0; i < COUNT_OF(trips_of); i++) {
        int32_t n = trips_of[i] * 4 - (trips_of[i] > 1);
        Bench b = {.format =
                       "batched(y: *f32:16, q: *f16:16, kp: *f16:16, table: *i32, n: i32, S=4, "
                       "D=32, P=16)[%s]",
                   .trips = trips_of[i],
                   .loads = 2};
        add_buffer(&b, DTYPE_F32, 4 * 16 * 16, 41);
        add_buffer(&b, DTYPE_F16, 16 * 32, 42);
        add_buffer(&b, DTYPE_F16, 5 * 16 * 32, 43);
        Buffer *table = &b.buffers[b.n_buffers];
        add_buffer(&b, DTYPE_I32, MAX(n, 1), 44);
        for (int64_t k = 0; k < table->n; k++)
            ((int32_t *)table->data)[k] = (int32_t)(k * 7 % 5);
        add_int(&b, n);
        expect_everywhere(&b, 1e-4);
    }
}

Test(gpu_pipeline, rows_stream_through_threads_that_keep_what_they_copied, .timeout = 300)
{
    for (int32_t i = 0; i < COUNT_OF(trips_of); i++) {
        int32_t k = trips_of[i] * 256 - (i > 2 ? 144 : 0);
        Bench b = {.format = "gemv(y: *f32:16, x: *f16:16, w: *f16:16, K: i32:16, ROWS=8, "
                             "BK=256)[%s]",
                   .trips = trips_of[i],
                   .loads = 1}; // x is too small for a copy by every thread
        add_buffer(&b, DTYPE_F32, 8, 12);
        add_buffer(&b, DTYPE_F16, MAX(k, 1), 13);
        add_buffer(&b, DTYPE_F16, 8 * MAX(k, 1), 14);
        add_int(&b, k);
        expect_everywhere(&b, 1e-4);
    }
}

Test(gpu_pipeline, an_inner_loop_fills_its_buffers_afresh_in_every_round, .timeout = 300)
{
    for (int32_t i = 0; i < COUNT_OF(trips_of); i++) {
        int32_t k = trips_of[i] * 16;
        Bench b = {.format = "nested(y: *f32:16, x: *f16:16, w: *f16:16, rows: i32, K: i32:16, "
                             "BM=16, BN=16, BK=16)[%s]",
                   .trips = trips_of[i],
                   .loads = 2};
        add_buffer(&b, DTYPE_F32, 3 * 16 * 16, 15);
        add_buffer(&b, DTYPE_F16, MAX(3 * 16 * k, 1), 16);
        add_buffer(&b, DTYPE_F16, MAX(16 * k, 1), 17);
        add_int(&b, 3);
        add_int(&b, k);
        expect_everywhere(&b, 1e-4);
    }
}

// ---- loops that say so, and loops that may not -------------------------------------------------

/// asked() and in_place(): `n` of the loop, its step, and how many groups were in flight.
static int64_t in_flight_of(const char *func, int32_t n, int32_t step, int32_t stages)
{
    char spec[256];
    Ran ran;
    bool steps = strcmp(func, "asked") == 0;
    Buffer x = buffer_new(DTYPE_F32, MAX(1, n) * 64), y = buffer_new(DTYPE_F32, (n + 1) * 64), want;
    want = buffer_new(DTYPE_F32, y.n);
    buffer_random(&x, 18, -2, 2), buffer_random(&y, 19, -2, 2);
    memcpy(want.data, y.data, (size_t)y.n * 4);
    snprintf(spec, sizeof spec, "%s(y: *f32:16, x: *f32:16, n: i32, %sBLOCK=64, STAGES=%d)", func,
             steps ? "step: i32, " : "", stages);
    Arg args[] = {{.buffer = &want}, {.buffer = &x}, {.i = n}, {.i = step}};
    run(spec, "interp", NULL, 3 + steps, args, &ran);
    ran_free(&ran);
    args[0].buffer = &y;
    run(spec, "emu:sm_80", NULL, 3 + steps, args, &ran);
    cr_expect(!memcmp(want.data, y.data, (size_t)y.n * 4), "%s, n = %d, step %d", spec, n, step);
    int64_t in_flight = ran.counters.copies_in_flight;
    ran_free(&ran);
    buffer_free(&x), buffer_free(&y), buffer_free(&want);
    return in_flight;
}

Test(gpu_pipeline, a_loop_says_its_own_stages_and_its_step_may_be_unknown)
{
    for (int32_t n = 0; n < 6; n++)
        for (int32_t step = -1; step < 3; step++) {
            int32_t trips = step > 0 ? (n + step - 1) / step : 0;
            cr_expect_eq(in_flight_of("asked", n, step, 3), MIN(trips, 2), "n %d, step %d", n,
                         step);
            cr_expect_eq(in_flight_of("asked", n, step, 1), 0);
        }
}

Test(gpu_pipeline, what_the_loop_writes_is_not_read_ahead)
{
    cr_expect_eq(in_flight_of("in_place", 5, 1, 3), 2); // x alone
    cr_expect_eq(in_flight_of("in_place", 1, 1, 3), 1);
}

Test(gpu_pipeline, arguments_that_are_one_tensor_are_not_read_ahead)
{
    static const char spec[] = "shifted(y: *f32:16, x: *f32:16, n: i32, BLOCK=512)";
    Buffer got = buffer_new(DTYPE_F32, 6 * 512);
    memset(got.data, 0, 6 * 512 * 4);
    Buffer y = {DTYPE_F32, 5 * 512, (float *)got.data + 512}, x = {DTYPE_F32, 5 * 512, got.data};
    Arg args[] = {{.buffer = &y}, {.buffer = &x}, {.i = 5}};
    Ran ran;
    run(spec, "emu:sm_80", NULL, 3, args, &ran);
    for (int32_t i = 0; i < 6 * 512; i++)
        cr_assert_eq(((float *)got.data)[i], (float)(i / 512), "element %d", i);
    ran_free(&ran);
    buffer_free(&got);
}

// ---- random loops -----------------------------------------------------------------------------

/// A loop of random loads of 128 f32: by the index, by a carried offset, by one or two look-ups in a
/// table, under masks with and without other values; up or down, by 1 or 2, a constant or not.
typedef struct Writer {
    StrBuf body;
    Random rng;
    int32_t next, sum; ///< the next value's number; the running sum
} Writer;

static int32_t pick(Writer *w, int32_t n)
{
    return (int32_t)random_below(&w->rng, n);
}

/// The number of the block that a load reads, an i32: one of 0 .. n - 1.
static int32_t write_block(Writer *w)
{
    int32_t x = w->next, kind = pick(w, 4), from = 50;
    w->next += 8;
    if (kind == 0) return 50; // the index
    if (kind == 1) return 52; // carried
    for (int32_t k = 0; k < kind - 1; k++, from = x + 1 + 2 * (k - 1))
        strbuf_printf(&w->body, "  %%%d = addptr %%2, %%%d : ptr<i32>\n  %%%d = load %%%d : i32\n",
                      x + 2 * k, from, x + 2 * k + 1, x + 2 * k);
    if (pick(w, 2)) { // wanted by the body too
        strbuf_printf(&w->body,
                      "  %%%d = cast %%%d : f32\n  %%%d = splat %%%d : tile<128xf32>\n"
                      "  %%%d = add %%%d, %%%d : tile<128xf32>\n",
                      x + 4, x + 1, x + 5, x + 4, x + 6, w->sum, x + 5);
        w->sum = x + 6;
    }
    return x + 1 + 2 * (kind - 2);
}

static void write_load(Writer *w)
{
    int32_t block = write_block(w), x = w->next, mask = pick(w, 3), other = pick(w, 3);
    w->next += 14;
    strbuf_printf(&w->body,
                  "  %%%d = mul %%%d, %%24 : i32\n  %%%d = splat %%%d : tile<128xi32>\n"
                  "  %%%d = add %%%d, %%20 : tile<128xi32>\n  %%%d = addptr %%21, %%%d : "
                  "tile<128xptr<f32>>\n",
                  x, block, x + 1, x, x + 2, x + 1, x + 3, x + 2);
    if (mask)
        strbuf_printf(&w->body, "  %%%d = lt %%%d, %%%d : tile<128xi1>\n", x + 4, x + 2,
                      mask == 1 ? 27 : 28);
    strbuf_printf(&w->body, mask ? "  %%%d = load %%%d, %%%d" : "  %%%d = load %%%d", x + 5, x + 3,
                  x + 4);
    if (mask && other) strbuf_printf(&w->body, ", %%%d", other == 1 ? 29 : 30);
    strbuf_printf(&w->body,
                  " : tile<128xf32>\n  %%%d = mul %%%d, %%31 : tile<128xf32>\n"
                  "  %%%d = add %%%d, %%%d : tile<128xf32>\n",
                  x + 6, w->sum, x + 7, x + 6, x + 5);
    w->sum = x + 7;
    if (pick(w, 3)) return;
    strbuf_printf(&w->body,
                  "  %%%d = reduce %%%d {combine=max, axis=0} : f32\n"
                  "  %%%d = splat %%%d : tile<128xf32>\n  %%%d = sub %%%d, %%%d : tile<128xf32>\n",
                  x + 8, x + 7, x + 9, x + 8, x + 10, x + 7, x + 9);
    w->sum = x + 10;
}

/// %26, the last block's number, bounds masks; %32 is a step that nobody knows.
static const char *loop_text(Arena *a, Writer *w)
{
    static const char *const bounds[] = {"%22 to %3 step %23", "%26 to %33 step %33",
                                         "%22 to %3 step %34", "%22 to %3 step %32"};
    int32_t bound = pick(w, 4), stages = 1 + pick(w, 4), n = 1 + pick(w, 3);
    w->next = 100, w->sum = 51;
    for (int32_t i = 0; i < n; i++)
        write_load(w);
    const char *by = bound == 1 ? "%33" : bound == 2 ? "%34" : bound == 3 ? "%32" : "%23";
    return arena_printf(
        a,
        "func @loop(%%0.y: ptr<f32> {align=16}, %%1.x: ptr<f32> {align=16}, %%2.t: ptr<i32>, "
        "%%3.n: i32) num_warps=4 {\n"
        "  %%20 = arange {start=0} : tile<128xi32>\n  %%21 = splat %%1 : tile<128xptr<f32>>\n"
        "  %%22 = const {value=0} : i32\n  %%23 = const {value=1} : i32\n"
        "  %%24 = const {value=128} : i32\n  %%25 = mul %%3, %%24 : i32\n"
        "  %%26 = sub %%3, %%23 : i32\n  %%27 = splat %%25 : tile<128xi32>\n"
        "  %%35 = const {value=37} : tile<128xi32>\n  %%28 = sub %%27, %%35 : tile<128xi32>\n"
        "  %%29 = const {value=0.0} : tile<128xf32>\n  %%30 = const {value=1.5} : tile<128xf32>\n"
        "  %%31 = const {value=0.5} : tile<128xf32>\n  %%33 = const {value=-1} : i32\n"
        "  %%34 = const {value=2} : i32\n  %%36 = lt %%3, %%34 : i1\n"
        "  %%32 = select %%36, %%23, %%34 : i32\n"
        "  %%37 = select %%36, %%22, %%22 : i32\n"
        "  %%40, %%41 = for %%50 = %s carry (%%51 = %%30, %%52 = %s) {stages=%d} : tile<128xf32>, "
        "i32 {\n%.*s  %%53 = add %%52, %s : i32\n  yield %%%d, %%53\n  }\n"
        "  %%42 = splat %%0 : tile<128xptr<f32>>\n  %%43 = addptr %%42, %%20 : "
        "tile<128xptr<f32>>\n  store %%43, %%40\n  return\n}\n",
        bounds[bound], bound == 1 ? "%26" : "%22", stages, (int)w->body.len, w->body.data, by,
        w->sum);
}

Test(gpu_pipeline, random_loops_agree_with_the_interpreter, .timeout = 300)
{
    int32_t pipelined = 0;
    for (uint64_t seed = 1; seed <= 25; seed++) {
        Writer w = {.rng = {seed}};
        Arena a;
        Built b;
        arena_init(&a, heap_default());
        const char *text = loop_text(&a, &w);
        build_text(&b, text, 0);
        pipelined += b.cx.n_pipelined;
        built_free(&b);
        for (int32_t n = 0; n < 6; n += 1 + n / 3) {
            Buffer y = buffer_new(DTYPE_F32, 128), x = buffer_new(DTYPE_F32, n * 128),
                   t = buffer_new(DTYPE_I32, n); // whoever looks further is caught
            buffer_random(&x, seed, -8, 8);
            for (int32_t i = 0; i < n; i++)
                ((int32_t *)t.data)[i] = (i * 3 + (int32_t)seed) % n;
            Arg args[] = {{.buffer = &y}, {.buffer = &x}, {.buffer = &t}, {.i = n}};
            expect_agreement(text, text, 4, args, (Grid){1, 1, 1, 0}, 0, 0);
            buffer_free(&y), buffer_free(&x), buffer_free(&t);
        }
        strbuf_free(&w.body);
        arena_reset(&a);
    }
    cr_expect_gt(pipelined, 12, "%d loops were pipelined", pipelined);
}

// ---- modules as they come out -----------------------------------------------------------------

static const char *const targets[] = {"sm_75", "sm_80", "sm_86", "sm_89", "sm_90a"};

static int32_t count_in(const char *text, const char *words)
{
    int32_t n = 0;
    for (const char *at = text; (at = strstr(at, words)); at += strlen(words))
        n++;
    return n;
}

Test(gpu_pipeline, ptx_copies_asynchronously_where_the_architecture_can, .timeout = 300)
{
    for (int32_t i = 0; i < LOOP_SPECS; i++) {
        for (int32_t t = 0; t < COUNT_OF(targets); t++) {
            char spec[256];
            Ran ran;
            snprintf(spec, sizeof spec, loop_specs[i], 3);
            run(spec, targets[t], NULL, 0, NULL, &ran);
            const char *ptx = (const char *)ran.code.bytes;
            int32_t copies = count_in(ptx, "cp.async.c") - count_in(ptx, "cp.async.commit");
            if (t == 0)
                cr_expect_eq(copies, 0, "%s: sm_75 has no cp.async", spec);
            else
                cr_expect_gt(copies, 2, "%s for %s: %d copies", spec, targets[t], copies);
            cr_expect_eq(count_in(ptx, "cp.async.wait_group"), t ? 2 : 0);
            PtxasReport r = ptxas_run(ptx, ran.code.size, targets[t]);
            if (r.found) {
                cr_expect(r.ok, "%s for %s: ptxas: %s", spec, targets[t], r.log);
                cr_expect_eq(r.spill_stores, 0, "%s for %s spills", spec, targets[t]);
            }
            ran_free(&ran);
        }
    }
}

Test(gpu_pipeline, copies_and_reads_of_operands_meet_no_bank_conflicts)
{
    // Row-major and column-major operands of two sizes: what wavefronts of shared memory it takes is
    // what the bytes take at best.
    static const char *const specs[] = {
        "gemm(y: *f32:16, x: *f16:16, w: *f16:16, K: i32:16, BM=64, BN=64, BK=32)[num_warps=4, "
        "num_stages=3]",
        "gemm(y: *f32:16, x: *f16:16, w: *f16:16, K: i32:16, BM=32, BN=128, BK=64)[num_warps=8, "
        "num_stages=2]",
        "downward(y: *f32:16, x: *f16:16, w: *i8:16, K: i32:16, BM=64, BN=64, BK=64)[num_warps=4, "
        "num_stages=3]"};
    Buffer y = buffer_new(DTYPE_F32, 4096), x = buffer_new(DTYPE_F16, 1 << 15),
           w = buffer_new(DTYPE_F16, 1 << 15), codes = buffer_new(DTYPE_I8, 1 << 15);
    buffer_random(&x, 25, -1, 1), buffer_random(&w, 26, -1, 1), buffer_random(&codes, 27, -9, 9);
    for (int32_t i = 0; i < COUNT_OF(specs); i++) {
        Ran ran;
        Arg args[] = {{.buffer = &y}, {.buffer = &x}, {.buffer = i < 2 ? &w : &codes}, {.i = 256}};
        run(specs[i], "emu:sm_80", NULL, 4, args, &ran);
        const MemCounters *in = &ran.counters.shared_stores, *out = &ran.counters.shared_loads;
        if (getenv("KILN_SHOW"))
            fprintf(stderr, "%s: stores %lld of %lld, loads %lld of %lld\n", specs[i],
                    (long long)in->units, (long long)in->ideal, (long long)out->units,
                    (long long)out->ideal);
        cr_expect_gt(out->requests, 0);
        cr_expect_eq(in->units, in->ideal, "%s: %lld passes, at best %lld", specs[i],
                     (long long)in->units, (long long)in->ideal);
        cr_expect_eq(out->units, out->ideal, "%s: %lld passes, at best %lld", specs[i],
                     (long long)out->units, (long long)out->ideal);
        ran_free(&ran);
    }
    buffer_free(&y), buffer_free(&x), buffer_free(&w), buffer_free(&codes);
}

Test(gpu_pipeline, an_architecture_without_copies_gives_the_same_answer)
{
    Bench b = {.format = "gemm(y: *f32:16, x: *f16:16, w: *f16:16, K: i32:16, BM=16, BN=32, "
                         "BK=32)[%s]"};
    add_buffer(&b, DTYPE_F32, 16 * 32, 1);
    add_buffer(&b, DTYPE_F16, 16 * 112, 2);
    add_buffer(&b, DTYPE_F16, 32 * 112, 3);
    add_int(&b, 112);
    expect_all_stages(&b, "emu:sm_75", 4, 1e-4);
    bench_free(&b);
}

Test(gpu_pipeline, the_pipelined_text_parses_back_to_itself)
{
    for (int32_t i = 0; i < LOOP_SPECS; i++) {
        char spec[256];
        Ran ran;
        Kernel again = {0};
        snprintf(spec, sizeof spec, loop_specs[i], 3);
        run(spec, "sm_80", "pipeline", 0, NULL, &ran);
        cr_expect_not_null(strstr(ran.after.data, "copy_async"), "%s", ran.after.data);
        cr_expect_not_null(strstr(ran.after.data, "wait {pending="));
        arena_init(&again.arena, heap_default());
        diag_init(&again.diag, heap_default());
        again.module = module_new(&again.arena, &again.diag);
        KilnStatus st =
            module_parse(again.module, "after.tile", (Str){ran.after.data, ran.after.len});
        cr_assert_eq(st, KILN_OK, "%s", kernel_messages(&again));
        StrBuf text = {0};
        func_print(vec_last(&again.module->funcs), &text);
        cr_expect_eq(text.len, ran.after.len);
        cr_expect(!strncmp(text.data, ran.after.data, ran.after.len), "%s", text.data);
        strbuf_free(&text);
        kernel_close(&again);
        ran_free(&ran);
    }
}

Test(gpu_pipeline, stages_are_fewer_where_shared_memory_is_small)
{
    // 32 KB a stage, and 64 KB to turn the accumulator for the store, when the buffers are gone.
    static const char spec[] =
        "gemm(y: *f32:16, x: *f16:16, w: *f16:16, K: i32:16, BM=128, BN=128, "
        "BK=64)[num_warps=8, num_stages=4]";
    static const int32_t stages[] = {4, 4, 3, 3, 4};
    for (int32_t t = 0; t < COUNT_OF(targets); t++) {
        Ran ran;
        run(spec, targets[t], NULL, 0, NULL, &ran);
        cr_expect_eq(ran.code.num_stages, stages[t], "%s: %d stages", targets[t],
                     ran.code.num_stages);
        if (t) cr_expect_eq(ran.code.shared_bytes, stages[t] * 32768, "%d", ran.code.shared_bytes);
        ran_free(&ran);
    }
}
