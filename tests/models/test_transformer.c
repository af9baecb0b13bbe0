// tests/models/test_transformer.c - random little models against a forward pass in f64.
//
// Multi-head and grouped heads, tied and untied output, both rotary layouts, every weight type, several page
// formats and lengths; prompts shorter and longer than a step, alone and two at a time.
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/random.h"
#include "models/kernel_texts.h"
#include "models/transformer.h"
#include "runtime/engine.h"
#include "tests/models/tiny.h"

TestSuite(transformer, .timeout = 300);

typedef struct Row {
    const char *what;
    TinyShape shape;
    RopeKind rope;
    KvFormat kv;
    int32_t page_len, n_batch;
    double
        tolerance; ///< of logits of order 1: f32 sums over d_ff and layers; roundings of the page format
    DType act;          ///< of activations; VOID: the device's own
    const char *kernel; ///< one that a decode step must launch, or NULL
    double
        share; ///< not 0: bounds the rms error as a share of the logits' rms, instead of each logit's
} Row;

static const Row rows[] = {
    {"heads alike, tied, f32",
     {2, 32, 4, 4, 8, 48, 67, true, BLOCK_F32},
     ROPE_INTERLEAVED,
     KV_f32,
     4,
     64,
     1e-4},
    {"grouped heads, untied, f32, odd widths",
     {3, 40, 6, 2, 8, 52, 101, false, BLOCK_F32},
     ROPE_INTERLEAVED,
     KV_f32,
     16,
     16,
     1e-4},
    {"one kv-head, half-split rotation, f16",
     {2, 64, 4, 1, 16, 96, 67, false, BLOCK_F16},
     ROPE_HALF_SPLIT,
     KV_f32,
     8,
     64,
     1e-4},
    {"Q8_0, grouped, tied",
     {2, 64, 4, 2, 16, 96, 96, true, BLOCK_Q8_0},
     ROPE_INTERLEAVED,
     KV_f32,
     32,
     64,
     1e-4,
     DTYPE_F32,
     "gemv"},
    {"Q8_0 with rows that are no whole blocks",
     {2, 64, 4, 2, 16, 44, 67, false, BLOCK_Q8_0},
     ROPE_HALF_SPLIT,
     KV_f32,
     1,
     8,
     1e-4,
     DTYPE_F32,
     "gemv"},
    {"Q4_0, grouped, tied",
     {2, 64, 4, 2, 16, 96, 96, true, BLOCK_Q4_0},
     ROPE_INTERLEAVED,
     KV_f32,
     32,
     64,
     1e-4,
     DTYPE_F32,
     "gemv"},
    {"Q4_0 with rows that are no whole blocks",
     {2, 96, 6, 2, 16, 44, 67, false, BLOCK_Q4_0},
     ROPE_HALF_SPLIT,
     KV_f32,
     1,
     8,
     1e-4,
     DTYPE_F32,
     "gemv"},
    {"Q8_0 by codes, grouped, tied",
     {2, 64, 4, 2, 16, 96, 96, true, BLOCK_Q8_0},
     ROPE_INTERLEAVED,
     KV_f32,
     32,
     64,
     1,
     DTYPE_VOID,
     "panel",
     3e-2},
    {"Q4_0 by codes, rows that are no whole blocks or panels",
     {2, 96, 6, 2, 16, 44, 67, false, BLOCK_Q4_0},
     ROPE_HALF_SPLIT,
     KV_f32,
     1,
     8,
     1,
     DTYPE_VOID,
     "panel",
     3e-2},
    {"bf16, head of 12",
     {2, 48, 4, 2, 12, 64, 67, false, BLOCK_BF16},
     ROPE_HALF_SPLIT,
     KV_f32,
     16,
     64,
     1e-4},
    {"f16 pages",
     {2, 64, 4, 2, 16, 96, 67, false, BLOCK_F32},
     ROPE_INTERLEAVED,
     KV_f16,
     16,
     64,
     2e-2},
    {"int8 pages",
     {2, 64, 4, 2, 16, 96, 67, false, BLOCK_F32},
     ROPE_INTERLEAVED,
     KV_int8,
     16,
     64,
     2e-1},
};

static void expect_ok(KilnStatus st, Diag *diag, const char *what)
{
    StrBuf out = {0};
    if (st != KILN_OK) diag_render(diag, &out);
    cr_assert(st == KILN_OK, "%s: %s", what, out.data ? out.data : "failed");
}

/// The id that the reference says comes next, or -1 when two are nearly as good.
static int32_t clear_winner(const double *logits, int32_t vocab, double gap)
{
    int32_t best = 0, second = -1;
    for (int32_t i = 1; i < vocab; i++) {
        if (logits[i] > logits[best])
            second = best, best = i;
        else if (second < 0 || logits[i] > logits[second])
            second = i;
    }
    return logits[best] - logits[second] > gap ? best : -1;
}

static void expect_logits(const Row *row, const float *got, const double *want, int32_t n,
                          int32_t vocab)
{
    double worst = 0, error = 0, all = 0;
    for (int64_t i = 0; i < (int64_t)n * vocab; i++) {
        worst = fmax(worst, fabs(got[i] - want[i]));
        error += (got[i] - want[i]) * (got[i] - want[i]), all += want[i] * want[i];
    }
    cr_expect(!row->share || sqrt(error / all) <= row->share,
              "%s, %d tokens: an error of %g of the logits, at most %g expected", row->what, (int)n,
              sqrt(error / all), row->share);
    cr_expect(worst <= row->tolerance, "%s, %d tokens: logits differ by %g, at most %g expected",
              row->what, (int)n, worst, row->tolerance);
}

/// Two prompts at once: logits of every position, and the ids drawn after them.
static void expect_engine_agrees(const Row *row, Engine *e, const ModelFile *file,
                                 const int32_t *prompt, int32_t n_a, int32_t n_b)
{
    Diag diag;
    diag_init(&diag, heap_default());
    enum { PREDICT = 5, MOST = 64 };
    int32_t vocab = row->shape.vocab, lengths[2] = {n_a, n_b}, ids[2];
    float *logits[2];
    for (int32_t i = 0; i < 2; i++) {
        logits[i] = calloc((size_t)(lengths[i] * vocab), sizeof(float));
        Request r = {.prompt = prompt + i,
                     .n_prompt = lengths[i],
                     .n_predict = PREDICT,
                     .sample = {.top_p = 1},
                     .ignore_stop = true,
                     .prompt_logits = logits[i]};
        expect_ok(engine_submit(e, &r, &ids[i], &diag), &diag, row->what);
    }
    expect_ok(engine_run(e, &diag), &diag, row->what);
    double *want = calloc((size_t)(MOST * vocab), sizeof *want);
    for (int32_t i = 0; i < 2; i++) {
        FinishReason reason;
        int32_t n, all[MOST];
        const int32_t *tokens = engine_tokens(e, ids[i], &n, &reason);
        cr_expect_eq(n, PREDICT);
        memcpy(all, prompt + i, (size_t)lengths[i] * sizeof *all);
        memcpy(all + lengths[i], tokens, (size_t)n * sizeof *all);
        tiny_forward(file, row->rope, all, lengths[i] + n, want);
        expect_logits(row, logits[i], want, lengths[i], vocab);
        for (int32_t k = 0; k < n; k++) {
            int32_t id = clear_winner(want + (int64_t)(lengths[i] + k - 1) * vocab, vocab,
                                      4 * row->tolerance);
            cr_expect(id < 0 || id == tokens[k], "%s: token %d is %d, expected %d", row->what,
                      (int)k, (int)tokens[k], (int)id);
        }
        engine_forget(e, ids[i]);
        free(logits[i]);
    }
    free(want);
    diag_reset(&diag);
}

static void expect_launched(const char *kernel, Engine *e)
{
    Graph *g;
    Diag diag;
    StrBuf text = {0};
    diag_init(&diag, heap_default());
    expect_ok(engine_graph(e, PHASE_DECODE, 1, &g, &diag), &diag, "a decode step");
    graph_text(g, &text);
    cr_expect(text.data && strstr(text.data, kernel), "no %s in:\n%s", kernel,
              text.data ? text.data : "");
    strbuf_free(&text);
    diag_reset(&diag);
}

static void expect_model_agrees(const Row *row, const char *device, uint64_t seed)
{
    Diag diag;
    Arena arena;
    diag_init(&diag, heap_default());
    arena_init(&arena, heap_default());
    const char *path = tiny_write(&arena, &row->shape, seed);
    Device *dev;
    KernelCache *kernels;
    Model *m;
    Engine *e;
    ModelFile *file;
    expect_ok(device_open(&(DeviceOptions){.name = device, .n_threads = 2}, &dev, &diag), &diag,
              device);
    KernelCacheOptions cache = {.texts = kernel_texts, .n_texts = kernel_n_texts};
    expect_ok(kernel_cache_open(dev, &cache, &kernels, &diag), &diag, "kernels");
    expect_ok(
        model_open(path, &(ModelOptions){.use_mmap = seed % 2, .activations = row->act}, &m, &diag),
        &diag, row->what);
    ((Transformer *)m)->config.rope_kind = row->rope;
    EngineOptions options = {.n_slots = 2,
                             .max_context = 128,
                             .n_batch = row->n_batch,
                             .page_len = row->page_len,
                             .kv_format = row->kv,
                             .all_logits = true,
                             .memory_limit = 64 << 20};
    expect_ok(engine_open(kernels, m, &options, &e, &diag), &diag, row->what);
    expect_ok(model_file_open(path, heap_default(), &file, &diag), &diag, row->what);

    int32_t prompt[64];
    Random rng = {seed};
    for (int32_t i = 0; i < COUNT_OF(prompt); i++)
        prompt[i] = (int32_t)(3 + random_below(&rng, row->shape.vocab - 3));
    static const int32_t lengths[][2] = {{1, 1}, {2, 7}, {37, 16}, {33, 1}};
    for (int32_t i = 0; i < COUNT_OF(lengths); i++)
        expect_engine_agrees(row, e, file, prompt, lengths[i][0], lengths[i][1]);
    EngineStats stats;
    engine_stats(e, &stats);
    cr_expect_eq(stats.flow_compiles, 0, "%s: compiled while tokens flowed", row->what);
    if (row->kernel) expect_launched(row->kernel, e);

    model_file_close(file);
    engine_close(e);
    model_close(m);
    kernel_cache_close(kernels);
    device_close(dev);
    unlink(path);
    arena_reset(&arena);
    diag_reset(&diag);
}

Test(transformer, every_kind_of_model_agrees_with_the_formulas)
{
    for (int32_t i = 0; i < COUNT_OF(rows); i++)
        expect_model_agrees(&rows[i], "cpu", (uint64_t)i + 7);
}

Test(transformer, a_model_agrees_in_the_interpreter_too)
{
    Row small = rows[0];
    small.shape.n_layers = 1;
    expect_model_agrees(&small, "interp", 3);
}

Test(transformer, a_model_agrees_on_the_emulated_gpu_with_its_checks_on)
{
    Row small = rows[1]; // grouped heads, odd widths, two kinds of linear kernel
    small.shape.n_layers = 1;
    small.act = DTYPE_F32;
    expect_model_agrees(&small, "emu:sm_80", 4);
}

// F16 activations: roundings of 2^-11, some of them of logits of order 30.
Test(transformer, packed_weights_go_through_the_matrix_unit_of_the_emulated_gpu)
{
    for (int32_t i = 0; i < COUNT_OF(rows); i++) {
        if (rows[i].shape.type != BLOCK_Q8_0 && rows[i].shape.type != BLOCK_Q4_0) continue;
        if (!rows[i].shape.tied) continue;
        Row small = rows[i];
        small.act = DTYPE_VOID;
        small.share = 0;
        small.shape.n_layers = 1;
        small.tolerance = 0.1;
        small.kernel = "gemv_dot";
        expect_model_agrees(&small, "emu:sm_80", 5);
    }
}

// ---- files that cannot run ----------------------------------------------------------------------------

static void expect_refusal(const TinyShape *shape, const char *code, const char *words)
{
    Diag diag;
    Arena arena;
    diag_init(&diag, heap_default());
    arena_init(&arena, heap_default());
    const char *path = tiny_write(&arena, shape, 1);
    Model *m = NULL;
    StrBuf out = {0};
    cr_expect_neq(model_open(path, &(ModelOptions){0}, &m, &diag), KILN_OK);
    cr_expect_null(m);
    diag_render(&diag, &out);
    cr_expect(out.data && strstr(out.data, code) && strstr(out.data, words),
              "expected %s and `%s`, got: %s", code, words, out.data ? out.data : "nothing");
    strbuf_free(&out);
    unlink(path);
    arena_reset(&arena);
    diag_reset(&diag);
}

Test(transformer, an_unknown_architecture_is_refused_with_the_list_of_known_ones)
{
    TinyShape shape = rows[0].shape;
    shape.arch = "rwkv6";
    expect_refusal(&shape, "K205", "llama");
}

Test(transformer, a_missing_tensor_is_named)
{
    TinyShape shape = rows[0].shape;
    shape.without = "blk.1.ffn_up.weight";
    expect_refusal(&shape, "K204", "blk.1.ffn_up.weight");
}

Test(transformer, every_allocation_of_an_open_may_fail)
{
    Arena arena;
    arena_init(&arena, heap_default());
    const char *path = tiny_write(&arena, &rows[1].shape, 5);
    for (int32_t fail_at = 1; fail_at < 10000; fail_at++) {
        Heap heap;
        Diag diag;
        Model *m;
        heap_init(&heap);
        diag_init(&diag, heap_default());
        heap.fail_at = fail_at;
        KilnStatus st = model_open(path, &(ModelOptions){.heap = &heap}, &m, &diag);
        if (st == KILN_OK)
            model_close(m);
        else
            cr_expect(st == KILN_ERR_NOMEM && diag.n_errors > 0 && !m, "allocation %d: status %d",
                      (int)fail_at, (int)st);
        cr_expect_eq(heap.n_live, 0, "allocation %d failed: %ld are not given back", (int)fail_at,
                     (long)heap.n_live);
        diag_reset(&diag);
        if (st == KILN_OK) {
            cr_expect_gt(fail_at, 2, "nothing was allocated");
            break;
        }
    }
    unlink(path);
    arena_reset(&arena);
}
