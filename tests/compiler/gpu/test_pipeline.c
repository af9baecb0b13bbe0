// tests/compiler/gpu/test_pipeline.c - loops whose loads run ahead: the same answers with any number
// of stages, warps and iterations, copies under way while the dots work, and waits and barriers
// without which the emulator would have complained.
#include "compiler/compile.h"
#include "compiler/gpu/emu.h"
#include "compiler/gpu/gpu.h"
#include "ir/verify.h"
#include "tests/compiler/gpu/harness.h"

static const int32_t trips_of[] = {0, 1, 2, 3, 17};
static const int32_t stages_of[] = {1, 2, 3, 4};

// ---- kernels of pipeline.py -------------------------------------------------------------------

typedef struct Ran {
    Code code;
    ImageCounters counters;
    StrBuf after;
} Ran;

static void ran_free(Ran *r)
{
    code_free(&r->code);
    strbuf_free(&r->after);
}

static const char *rendered(Diag *diag)
{
    StrBuf b = {0};
    diag_render(diag, &b);
    const char *text = arena_strdup(&diag->arena, b.data ? b.data : "");
    strbuf_free(&b);
    return text;
}

/// Compiles `spec` of pipeline.py; runs one program where `args` is not NULL.
static void run(const char *spec_words, const char *target_name, const char *after, int32_t n_args,
                const Arg *args, Ran *out)
{
    Arena arena;
    Diag diag;
    Source *source;
    Spec spec;
    Target target;
    memset(out, 0, sizeof *out);
    arena_init(&arena, heap_default());
    diag_init(&diag, heap_default());
    Emit emit = {.tile_after = &out->after, .tile_after_pass = after};
    KilnStatus st = source_open(KILN_SOURCE_DIR "/tests/compiler/gpu/pipeline.py", &source, &diag);
    if (st == KILN_OK) st = spec_parse(source, str_of(spec_words), &arena, &spec, &diag);
    if (st == KILN_OK) st = target_parse(target_name, &target, &diag);
    if (st == KILN_OK)
        st = compile_kernel(source, &spec, &target, after ? &emit : NULL, &out->code, &diag);
    cr_assert_eq(st, KILN_OK, "%s for %s: %s", spec_words, target_name, rendered(&diag));
    if (args) {
        Image *image = NULL;
        MemRange ranges[CODE_MAX_PARAMS];
        int32_t n_ranges = 0;
        char block[256] = {0};
        cr_assert_eq(out->code.n_params, n_args);
        for (int32_t i = 0; i < n_args; i++) {
            const CodeParam *p = &out->code.params[i];
            if (args[i].buffer) {
                const Buffer *b = args[i].buffer;
                memcpy(block + p->offset, &b->data, 8);
                ranges[n_ranges++] =
                    (MemRange){b->data, (size_t)(b->n * dtype_bytes(b->dtype)), p->name};
            } else {
                memcpy(block + p->offset, &args[i].i, (size_t)p->bytes);
            }
        }
        st = image_load(&out->code, source, &spec, &image, &diag);
        if (st == KILN_OK)
            st = image_run(image, block, &(Grid){1, 1, 1, 0}, 0, 1, n_ranges, ranges, &diag);
        cr_assert_eq(st, KILN_OK, "%s on %s: %s", spec_words, target_name, rendered(&diag));
        image_counters(image, &out->counters);
        image_free(image);
    }
    source_close(source);
    diag_reset(&diag);
    arena_reset(&arena);
}

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

// ---- modules as they come out -----------------------------------------------------------------

static const char *const targets[] = {"sm_75", "sm_80", "sm_86", "sm_89", "sm_90a"};

static const char gemm_f16[] = "gemm(y: *f32:16, x: *f16:16, w: *f16:16, K: i32:16, BM=64, BN=64, "
                               "BK=32)[num_warps=4, num_stages=%d]";
static const char downward_i8[] = "downward(y: *f32:16, x: *f16:16, w: *i8:16, K: i32:16, BM=32, "
                                  "BN=32, BK=32)[num_warps=4, num_stages=%d]";
static const char pages_f16[] =
    "attention(y: *f32:16, q: *f16:16, kp: *f16:16, vp: *f16:16, "
    "bias: *f32:16, table: *i32, n: i32, BM=16, D=64, P=32)[num_warps=4, "
    "num_stages=%d]";
static const char gemv_f16[] = "gemv(y: *f32:16, x: *f16:16, w: *f16:16, K: i32:16, ROWS=8, "
                               "BK=256)[num_warps=4, num_stages=%d]";
static const char nested_f16[] = "nested(y: *f32:16, x: *f16:16, w: *f16:16, rows: i32, K: i32:16, "
                                 "BM=32, BN=32, BK=32)[num_warps=4, num_stages=%d]";
static const char stream_f32[] = "stream(y: *f32:16, w: *f32:16, K: i32:16, ROWS=8, "
                                 "BK=128)[num_warps=4, num_stages=%d]";
static const char asked_f32[] = "asked(y: *f32:16, x: *f32:16, n: i32, step: i32, BLOCK=64, "
                                "STAGES=%d)[num_warps=4]";
static const char *const all_specs[] = {gemm_f16,   downward_i8, pages_f16, gemv_f16,
                                        nested_f16, stream_f32,  asked_f32};

static int32_t count_in(const char *text, const char *words)
{
    int32_t n = 0;
    for (const char *at = text; (at = strstr(at, words)); at += strlen(words))
        n++;
    return n;
}

Test(gpu_pipeline, ptx_copies_asynchronously_where_the_architecture_can, .timeout = 300)
{
    for (int32_t i = 0; i < COUNT_OF(all_specs); i++) {
        for (int32_t t = 0; t < COUNT_OF(targets); t++) {
            char spec[256];
            Ran ran;
            snprintf(spec, sizeof spec, all_specs[i], 3);
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
    for (int32_t i = 0; i < COUNT_OF(all_specs); i++) {
        char spec[256];
        Ran ran;
        Kernel again = {0};
        snprintf(spec, sizeof spec, all_specs[i], 3);
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

// ---- built by hand: what is left out, what is placed where ------------------------------------

typedef struct Built {
    Kernel k;
    GpuCx cx;
    Image image;
} Built;

/// `text` through all GPU passes for emu:sm_80, without the barrier of number `left_out`.
static void build_text(Built *b, const char *text, int32_t left_out)
{
    static const Emit nothing;
    int32_t offsets[CODE_MAX_PARAMS];
    memset(b, 0, sizeof *b);
    kernel_open(&b->k, text);
    b->cx = (GpuCx){.fn = b->k.fn,
                    .module = b->k.module,
                    .arena = &b->k.arena,
                    .diag = &b->k.diag,
                    .sm = sm_facts(80, false),
                    .is_emu = true,
                    .left_out = left_out,
                    .log_warps = log2_floor((uint64_t)b->k.fn->num_warps)};
    b->k.code = (Code){.num_warps = b->k.fn->num_warps, .n_params = b->k.fn->n_params};
    b->k.code.args_bytes = interp_args_layout(b->k.fn, offsets);
    for (int32_t i = 0; i < b->k.fn->n_params; i++)
        b->k.code.params[i].offset = offsets[i];
    snprintf(b->k.code.entry, sizeof b->k.code.entry, "%s", b->k.fn->name);
    cr_assert_eq(gpu_decide(&b->cx, &nothing), KILN_OK, "%s", kernel_messages(&b->k));
    cr_assert_eq(gpu_generate(&b->cx, &nothing, &b->k.code), KILN_OK, "%s", kernel_messages(&b->k));
}

static void built_free(Built *b)
{
    if (b->image.ops) b->image.ops->free(b->image.self);
    kernel_close(&b->k);
}

/// Runs one program: pointers get the buffers, ints `number`.
static KilnStatus run_built(Built *b, Buffer *buffers, int64_t number)
{
    char block[256] = {0};
    MemRange ranges[CODE_MAX_PARAMS];
    int32_t n = 0;
    for (int32_t i = 0; i < b->k.fn->n_params; i++) {
        if (!b->k.fn->params[i].value->type->is_ptr) {
            memcpy(block + b->k.code.params[i].offset, &number, 4);
            continue;
        }
        memcpy(block + b->k.code.params[i].offset, &buffers[n].data, 8);
        ranges[n] = (MemRange){buffers[n].data,
                               (size_t)(buffers[n].n * dtype_bytes(buffers[n].dtype)), "p"};
        n++;
    }
    cr_assert_eq(emu_image_load(&b->k.code, b->k.fn, &b->image, &b->k.diag), KILN_OK);
    return b->image.ops->run(b->image.self, block, &(Grid){1, 1, 1, 0}, 0, 1, n, ranges,
                             &b->k.diag);
}

/// The tile IR of a kernel of pipeline.py, as GPU passes get it.
static const char *common_text(Arena *a, const char *spec)
{
    Ran ran;
    run(spec, "sm_80", "dce", 0, NULL, &ran);
    const char *text = arena_printf(a, "%.*s", (int)ran.after.len, ran.after.data);
    ran_free(&ran);
    return text;
}

/// Data for every kernel above: floats, small codes, and a page table of zeros at the end.
static void make_buffers(Func *fn, Buffer *out, int32_t *n)
{
    *n = 0;
    for (int32_t i = 0; i < fn->n_params; i++) {
        const Type *t = fn->params[i].value->type;
        if (!t->is_ptr) continue;
        out[*n] = buffer_new(t->dtype, 1 << 17);
        if (t->dtype == DTYPE_I32)
            memset(out[*n].data, 0, 4 << 17);
        else
            buffer_random(&out[*n], (uint64_t)i, -2, 2);
        ++*n;
    }
}

typedef struct Barriers {
    int32_t all, in_loops;
} Barriers;

static void count_barrier(Op *op, void *user)
{
    Barriers *n = user;
    const OpNote *note = op_note(op);
    if (!note || (!note->scratch.needs_barrier && !note->global_barrier)) return;
    n->all++;
    n->in_loops += op->parent->owner != NULL;
    if (getenv("KILN_SHOW"))
        fprintf(stderr, "barrier before %s at %d\n", op_facts[op->kind].name, op->span.begin);
}

/// How many barriers there are between ops, each of which the emulator misses when it is left out.
static Barriers needed_barriers(const char *text, int64_t number)
{
    Built b;
    Buffer buffers[8];
    int32_t n, n_barriers = 1;
    Barriers found = {0};
    for (int32_t left_out = 0; left_out <= n_barriers; left_out++) {
        build_text(&b, text, left_out);
        n_barriers = b.cx.n_barriers;
        make_buffers(b.k.fn, buffers, &n);
        KilnStatus st = run_built(&b, buffers, number);
        if (left_out) {
            cr_expect_eq(st, KILN_ERR_DEVICE, "barrier %d of %d is not needed in\n%s", left_out,
                         n_barriers, text);
            cr_expect_not_null(strstr(kernel_messages(&b.k), "E110"), "%s", kernel_messages(&b.k));
        } else {
            cr_expect_eq(st, KILN_OK, "%s", kernel_messages(&b.k));
            region_walk(b.k.fn->body, count_barrier, &found);
        }
        for (int32_t i = 0; i < n; i++)
            buffer_free(&buffers[i]);
        built_free(&b);
    }
    cr_expect_eq(found.all, n_barriers);
    return found;
}

Test(gpu_pipeline, a_pipelined_loop_meets_once_per_iteration_and_every_barrier_is_needed,
     .timeout = 300)
{
    static const struct {
        const char *format;
        int32_t stages, number;
        Barriers barriers;
    } rows[] = {
        {gemm_f16, 2, 96, {1, 1}},
        {gemm_f16, 3, 160, {1, 1}},
        {gemm_f16, 4, 160, {1, 1}},
        {downward_i8, 3, 96, {1, 1}},
        {pages_f16, 3, 5, {2, 1}},
        {stream_f32, 3, 640, {0, 0}}, // threads keep to what they copied
        {nested_f16, 3, 64, {2, 2}},  // the second: the buffers of the round before are being read
    };
    Arena a;
    arena_init(&a, heap_default());
    for (int32_t i = 0; i < COUNT_OF(rows); i++) {
        char spec[256];
        snprintf(spec, sizeof spec, rows[i].format, rows[i].stages);
        Barriers n = needed_barriers(common_text(&a, spec), rows[i].number);
        cr_expect_eq(n.all, rows[i].barriers.all, "%s: %d barriers", spec, n.all);
        cr_expect_eq(n.in_loops, rows[i].barriers.in_loops, "%s: %d in the loop", spec, n.in_loops);
    }
    arena_reset(&a);
}

static int32_t barriers_of(const char *text)
{
    Barriers n = needed_barriers(text, 4);
    return n.all;
}

Test(gpu_pipeline, reductions_in_a_row_need_no_barrier_between_them)
{
    // Each meets once inside. A loop around one meets again: its scratch is still being read.
    static const char head[] = "func @sums(%0.y: ptr<f32> {align=16}, %1.n: i32) num_warps=4 {\n"
                               "  %2 = arange {start=0} : tile<128xi32>\n"
                               "  %3 = splat %0 : tile<128xptr<f32>>\n"
                               "  %4 = addptr %3, %2 : tile<128xptr<f32>>\n"
                               "  %5 = load %4 : tile<128xf32>\n";
    static const char one[] = "  %6 = reduce %5 {combine=add, axis=0} : f32\n"
                              "  store %0, %6\n  return\n}\n";
    static const char two[] = "  %6 = reduce %5 {combine=add, axis=0} : f32\n"
                              "  %7 = splat %6 : tile<128xf32>\n"
                              "  %8 = add %7, %5 : tile<128xf32>\n"
                              "  %9 = reduce %8 {combine=max, axis=0} : f32\n"
                              "  store %0, %9\n  return\n}\n";
    static const char loop_one[] =
        "  %6 = const {value=0} : i32\n  %7 = const {value=1} : i32\n"
        "  %8 = for %9 = %6 to %1 step %7 carry (%10 = %5) : tile<128xf32> {\n"
        "    %11 = reduce %10 {combine=max, axis=0} : f32\n"
        "    %12 = splat %11 : tile<128xf32>\n    %13 = sub %10, %12 : tile<128xf32>\n"
        "    yield %13\n  }\n  store %4, %8\n  return\n}\n";
    static const char loop_two[] =
        "  %6 = const {value=0} : i32\n  %7 = const {value=1} : i32\n"
        "  %8 = for %9 = %6 to %1 step %7 carry (%10 = %5) : tile<128xf32> {\n"
        "    %11 = reduce %10 {combine=max, axis=0} : f32\n"
        "    %12 = splat %11 : tile<128xf32>\n    %13 = sub %10, %12 : tile<128xf32>\n"
        "    %14 = reduce %13 {combine=add, axis=0} : f32\n"
        "    %15 = splat %14 : tile<128xf32>\n    %16 = sub %13, %15 : tile<128xf32>\n"
        "    yield %16\n  }\n  store %4, %8\n  return\n}\n";
    Arena a;
    arena_init(&a, heap_default());
    // The load and the store of `y` in different threads: one barrier orders those.
    cr_expect_eq(barriers_of(arena_printf(&a, "%s%s", head, one)), 0);
    cr_expect_eq(barriers_of(arena_printf(&a, "%s%s", head, two)), 0);
    cr_expect_eq(barriers_of(arena_printf(&a, "%s%s", head, loop_one)), 1);
    cr_expect_eq(barriers_of(arena_printf(&a, "%s%s", head, loop_two)), 0);
    arena_reset(&a);
}

// ---- modules that wait too little -------------------------------------------------------------

static const char copied_head[] =
    "func @copied(%0.y: ptr<f32> {align=16}, %1.x: ptr<f32> {align=16}) num_warps=4 {\n"
    "  %2 = arange {start=0} : tile<1024xi32>\n"
    "  %3 = splat %1 : tile<1024xptr<f32>>\n"
    "  %4 = addptr %3, %2 : tile<1024xptr<f32>>\n"
    "  %5 = const {value=1024} : tile<1024xi32>\n"
    "  %6 = addptr %4, %5 : tile<1024xptr<f32>>\n"
    "  %7 = const {value=0} : i32\n"
    "  %8 = const {value=1} : i32\n"
    "  %9 = alloc : buf<1024xf32, stages=2>\n"
    "  %10 = copy_async %9, %7, %4 : token\n"
    "  %11 = copy_async %9, %8, %6 : token\n";
static const char copied_first[] = "  %12 = buf_load %9, %7 : tile<1024xf32>\n",
                  copied_second[] = "  %13 = buf_load %9, %8 : tile<1024xf32>\n";
static const char copied_tail[] = "  %14 = add %12, %13 : tile<1024xf32>\n"
                                  "  %15 = splat %0 : tile<1024xptr<f32>>\n"
                                  "  %16 = addptr %15, %2 : tile<1024xptr<f32>>\n"
                                  "  store %16, %14\n"
                                  "  return\n"
                                  "}\n";

/// What the emulator says of the text above with these lines in it; NULL when the sums are right.
static const char *copied_says(Arena *a, const char *first, const char *second, const char *third)
{
    Built b;
    Buffer buffers[2] = {buffer_new(DTYPE_F32, 1024), buffer_new(DTYPE_F32, 2048)};
    float *y = buffers[0].data, *x = buffers[1].data;
    buffer_random(&buffers[1], 20, -9, 9);
    build_text(&b,
               arena_printf(a, "%s%s%s%s%s%s%s", copied_head, first, copied_first, second,
                            copied_second, third, copied_tail),
               0);
    KilnStatus st = run_built(&b, buffers, 0);
    const char *says = st == KILN_OK ? NULL : arena_strdup(a, kernel_messages(&b.k));
    for (int32_t i = 0; i < 1024 && !says; i++)
        cr_assert_eq(y[i], x[i] + x[1024 + i], "element %d", i);
    built_free(&b);
    buffer_free(&buffers[0]), buffer_free(&buffers[1]);
    return says;
}

Test(gpu_pipeline, a_copy_that_is_not_waited_for_is_reported_where_it_is_read)
{
    static const struct {
        const char *first, *second, *third;
        const char *line; ///< of the read that comes too early; NULL: the module is good
    } rows[] = {
        {"  wait {pending=0}\n", "", "", NULL},
        {"  wait {pending=1}\n", "  wait {pending=0}\n", "", NULL},
        {"", "", "", "kernel.tile:12:"},                                         // no wait
        {"  wait {pending=2}\n", "  wait {pending=0}\n", "", "kernel.tile:13:"}, // too many
        {"  wait {pending=1}\n", "", "", "kernel.tile:14:"},                     // the second not
        {"  wait {pending=0}\n", "  %20 = copy_async %9, %8, %4 : token\n", "",
         "kernel.tile:15:"}, // overtaken by a third
        {"  wait {pending=0}\n", "", "  %20 = copy_async %9, %8, %4 : token\n", NULL},
    };
    Arena a;
    arena_init(&a, heap_default());
    for (int32_t i = 0; i < COUNT_OF(rows); i++) {
        const char *says = copied_says(&a, rows[i].first, rows[i].second, rows[i].third);
        if (!rows[i].line) {
            cr_expect_null(says, "row %d: %s", i, says);
            continue;
        }
        cr_assert_not_null(says, "row %d: nothing was reported", i);
        cr_expect_not_null(strstr(says, "E1108"), "row %d: %s", i, says);
        cr_expect_not_null(strstr(says, rows[i].line), "row %d: %s", i, says);
        cr_expect_not_null(strstr(says, "buf_load"), "row %d: %s", i, says);
    }
    arena_reset(&a);
}

// ---- places -----------------------------------------------------------------------------------

enum { MAX_EVENTS = 20000 };

/// The ops of one run of the program, in order: loops go round twice, both sides of an `if` run.
typedef struct Trace {
    const Op *ops[MAX_EVENTS];
    int32_t n;
} Trace;

static void trace_region(Trace *t, const Region *r)
{
    EACH_OP(op, r) {
        cr_assert_lt(t->n, MAX_EVENTS);
        t->ops[t->n++] = op;
        int32_t rounds = op->kind == OP_FOR || op->kind == OP_WHILE ? 2 : 1;
        bool is_control = rounds == 2 || op->kind == OP_IF;
        for (int32_t k = 0; k < rounds && is_control; k++)
            for (int32_t i = 0; i < op->n_regions; i++)
                trace_region(t, op->regions[i]);
    }
}

/// The last event at which what `t->ops[from]` allocated is alive: touched, or still being copied
/// to.
static int32_t last_alive(const Trace *t, int32_t from)
{
    const Op *alloc = t->ops[from];
    int32_t last = from;
    bool in_flight = false;
    for (int32_t i = from + 1; i < t->n && t->ops[i] != alloc; i++) {
        const Op *op = t->ops[i];
        bool touches = false;
        for (int32_t k = 0; k < op->n_in; k++)
            touches |= op->in[k] == &alloc->out[0];
        if (touches && op->kind == OP_COPY_ASYNC) in_flight = true;
        if (touches || in_flight) last = i;
        if (op->kind == OP_WAIT && op_attr_i(op, ATTR_PENDING) == 0) in_flight = false;
    }
    return last;
}

/// Checks every pair of lives that meet. @return bytes that would be needed without sharing
static int64_t expect_apart(const char *what, const GpuCx *cx)
{
    static Trace t;
    static int32_t end[MAX_EVENTS];
    t.n = 0;
    trace_region(&t, cx->fn->body);
    int64_t all = 0;
    for (int32_t i = 0; i < t.n; i++) {
        bool again = false;
        for (int32_t k = 0; k < i; k++)
            again |= t.ops[k] == t.ops[i];
        const Scratch *x = &op_note(t.ops[i])->scratch;
        end[i] = x->bytes == 0 ? -1 : t.ops[i]->kind == OP_ALLOC ? last_alive(&t, i) : i;
        if (!again) all += x->bytes;
        cr_expect_leq(x->offset + x->bytes, cx->shared_bytes);
        cr_expect_eq(x->offset % (t.ops[i]->kind == OP_ALLOC ? 128 : 16), 0);
    }
    for (int32_t i = 0; i < t.n; i++)
        for (int32_t k = i + 1; k <= end[i]; k++) {
            const Scratch *x = &op_note(t.ops[i])->scratch, *y = &op_note(t.ops[k])->scratch;
            bool overlap = x->offset < y->offset + y->bytes && y->offset < x->offset + x->bytes;
            cr_expect(!(y->bytes && overlap && t.ops[i] != t.ops[k]), "%s: %s at %d and %s at %d",
                      what, op_facts[t.ops[i]->kind].name, x->offset, op_facts[t.ops[k]->kind].name,
                      y->offset);
        }
    return all;
}

Test(gpu_pipeline, what_lives_at_the_same_time_has_places_of_its_own)
{
    Arena a;
    arena_init(&a, heap_default());
    int64_t used = 0, alone = 0;
    for (int32_t i = 0; i < COUNT_OF(all_specs); i++) {
        for (int32_t stages = 2; stages <= 4; stages++) {
            Built b;
            char spec[256];
            snprintf(spec, sizeof spec, all_specs[i], stages);
            build_text(&b, common_text(&a, spec), 0);
            alone += expect_apart(spec, &b.cx);
            used += b.cx.shared_bytes;
            built_free(&b);
        }
    }
    cr_expect_lt(used, alone, "%lld of %lld bytes", (long long)used, (long long)alone);
    arena_reset(&a);
}

Test(gpu_pipeline, loops_behind_each_other_share_their_buffers)
{
    Arena a;
    Built b;
    arena_init(&a, heap_default());
    build_text(&b,
               common_text(&a, "twice(y: *f32:16, x: *f16:16, w: *f16:16, K: i32:16, BM=64, "
                               "BN=64, BK=32)[num_warps=4, num_stages=3]"),
               0);
    // 3 stages of 64 x 32 and 32 x 64 f16, once, though there are two such loops.
    cr_expect_eq(b.cx.shared_bytes, 3 * 8192);
    cr_expect_eq(expect_apart("twice", &b.cx), 2 * 3 * 8192);
    built_free(&b);
    arena_reset(&a);
}

// ---- other copies and buffers -----------------------------------------------------------------

Test(gpu_pipeline, what_cp_async_cannot_copy_is_loaded_and_stored)
{
    // Three bytes apart, `other` is 7: neither 4 neighbours nor zeros.
    static const char text[] =
        "func @odd(%0.y: ptr<i8>, %1.x: ptr<i8>, %2.n: i32) num_warps=4 {\n"
        "  %3 = arange {start=0} : tile<64xi32>\n  %4 = const {value=3} : tile<64xi32>\n"
        "  %5 = mul %3, %4 : tile<64xi32>\n  %6 = splat %1 : tile<64xptr<i8>>\n"
        "  %7 = addptr %6, %5 : tile<64xptr<i8>>\n  %8 = splat %2 : tile<64xi32>\n"
        "  %9 = lt %3, %8 : tile<64xi1>\n  %10 = const {value=7} : tile<64xi8>\n"
        "  %11 = alloc : buf<64xi8, stages=2>\n  %12 = const {value=1} : i32\n"
        "  %13 = copy_async %11, %12, %7, %9, %10 : token\n  wait %13 {pending=0}\n"
        "  %14 = buf_load %11, %12 : tile<64xi8>\n  %15 = splat %0 : tile<64xptr<i8>>\n"
        "  %16 = addptr %15, %3 : tile<64xptr<i8>>\n  store %16, %14\n  return\n}\n";
    Buffer y = buffer_new(DTYPE_I8, 64), x = buffer_new(DTYPE_I8, 41 * 3);
    buffer_random(&x, 22, -100, 100);
    Arg args[] = {{.buffer = &y}, {.buffer = &x}, {.i = 41}};
    expect_agreement("odd", text, 3, args, (Grid){1, 1, 1, 0}, 0, 0);
    for (int32_t i = 0; i < 64; i++)
        cr_expect_eq(((int8_t *)y.data)[i], i < 41 ? ((int8_t *)x.data)[3 * i] : 7);
    expect_assembles("odd", text, false);
    buffer_free(&y), buffer_free(&x);
}

Test(gpu_pipeline, a_buffer_turns_a_tile_around)
{
    // Written by rows, read by columns, once per round: the others' data, and the stage again.
    static const char text[] =
        "func @turn(%0.y: ptr<f32> {align=16}, %1.x: ptr<f32> {align=16}, %2.n: i32) num_warps=4 "
        "{\n"
        "  %3 = arange {start=0} : tile<32xi32>\n"
        "  %4 = expand_dims %3 {axis=1} : tile<32x1xi32>\n"
        "  %5 = const {value=32} : tile<32x1xi32>\n  %6 = mul %4, %5 : tile<32x1xi32>\n"
        "  %7 = expand_dims %3 {axis=0} : tile<1x32xi32>\n"
        "  %8 = broadcast %6 : tile<32x32xi32>\n  %9 = broadcast %7 : tile<32x32xi32>\n"
        "  %10 = add %8, %9 : tile<32x32xi32>\n  %11 = splat %1 : tile<32x32xptr<f32>>\n"
        "  %12 = addptr %11, %10 : tile<32x32xptr<f32>>\n"
        "  %13 = splat %0 : tile<32x32xptr<f32>>\n"
        "  %14 = addptr %13, %10 : tile<32x32xptr<f32>>\n  %15 = load %12 : tile<32x32xf32>\n"
        "  %16 = alloc : buf<32x32xf32, stages=1>\n  %17 = const {value=0} : i32\n"
        "  %18 = const {value=1} : i32\n"
        "  %19 = for %20 = %17 to %2 step %18 carry (%21 = %15) : tile<32x32xf32> {\n"
        "    %22 = add %21, %15 : tile<32x32xf32>\n    buf_store %16, %17, %22\n"
        "    %23 = buf_load %16, %17 : tile<32x32xf32>\n"
        "    %24 = trans %23 {list=[1, 0]} : tile<32x32xf32>\n    yield %24\n  }\n"
        "  store %14, %19\n  return\n}\n";
    Buffer y = buffer_new(DTYPE_F32, 1024), x = buffer_new(DTYPE_F32, 1024);
    buffer_random(&x, 23, -9, 9);
    Arg args[] = {{.buffer = &y}, {.buffer = &x}, {.i = 3}};
    expect_agreement("turn", text, 3, args, (Grid){1, 1, 1, 0}, 0, 0);
    cr_expect_eq(needed_barriers(text, 3).in_loops, 2);
    expect_assembles("turn", text, false);
    buffer_free(&y), buffer_free(&x);
}

// ---- the emulator's copies --------------------------------------------------------------------

/// What a thread of the block below does: copies 16 bytes, changes their source, waits.
typedef struct Late {
    uint64_t source[32][2];
    uint64_t before_wait[32][2];
} Late;

static void copy_late(const void *args)
{
    Late *late = (Late *)(uintptr_t)*(const uint64_t *)args;
    EmuThread *t = fiber_user(fiber_self());
    uint64_t to = (uint64_t)(uintptr_t)(t->block->shared + 16 * t->id), *from = late->source[t->id];
    uint64_t issue[] = {to, (uint64_t)(uintptr_t)from, (uint64_t)-1}, place = (uint64_t)-1;
    emu_copy_issue(t, 16, issue, NULL);
    emu_copy_commit(t, 0, &place, NULL);
    emu_copy_wait(t, 1, &place, NULL);
    memcpy(late->before_wait[t->id], (const void *)(uintptr_t)to, 16);
    from[0] += 100;
    emu_copy_wait(t, 0, &place, NULL);
}

Test(gpu_pipeline, an_emulated_copy_reads_and_writes_when_it_lands)
{
    for (uint64_t seed = 0; seed < 4; seed++) {
        Diag diag;
        Late late = {0};
        uint64_t at = (uint64_t)(uintptr_t)&late;
        diag_init(&diag, heap_default());
        EmuBlock *b = emu_block_new(32, 512);
        cr_assert_not_null(b);
        b->entry = copy_late, b->args = &at, b->diag = &diag, b->seed = seed;
        memset(b->shared, 0xee, 512);
        for (uint64_t i = 0; i < 32; i++)
            late.source[i][0] = i, late.source[i][1] = 2 * i;
        emu_block_run(b);
        cr_assert(!b->has_fault, "%s", rendered(&diag));
        for (uint64_t i = 0; i < 32; i++) {
            const uint64_t *got = (const uint64_t *)b->shared + 2 * i;
            cr_expect_eq(late.before_wait[i][0], 0xeeeeeeeeeeeeeeeeu, "landed too early");
            cr_expect_eq(got[0], i + 100);
            cr_expect_eq(got[1], 2 * i);
        }
        cr_expect_eq(b->counters->copies, 32);
        cr_expect_eq(b->counters->copies_in_flight, 1);
        emu_block_free(b);
        diag_reset(&diag);
    }
}
