// bench/gpu_suite/decode.c - whole models: are the tokens right, how many per second, and where does the time go?
//
//   kiln-tiny   greedy tokens here against the same program's CPU code, token by token
//   1B, 8B      random weights of those shapes: batch 1, 8, 64 by captured graphs; then each kernel of the
//               step on its own, as the model records it
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "bench/gpu_suite/model_file.h"
#include "bench/gpu_suite/stages.h"
#include "runtime/engine.h"

enum { TINY_TOKENS = 64, TINY_LEAST = 8 };

static const ModelSize one_b = {"1B", 16, 2048, 32, 8, 8192, 128256, 131072},
                       eight_b = {"8B", 32, 4096, 32, 8, 14336, 128256, 131072},
                       toy = {"toy", 2, 64, 4, 2, 128, 320, 512};

// ---- the shipped model --------------------------------------------------------------------------

static KilnStatus generate(KernelCache *kernels, const char *path, int32_t n, int32_t *ids,
                           int32_t *n_ids, Diag *diag)
{
    KilnStatus st = KILN_OK;
    Model *m = NULL;
    Engine *e = NULL;
    ModelOptions mo = {.use_mmap = true};
    EngineOptions eo = {.n_slots = 1, .max_context = 256};
    static const int32_t prompt[] = {1, 300, 17, 42};
    Request r = {.prompt = prompt,
                 .n_prompt = COUNT_OF(prompt),
                 .n_predict = n,
                 .ignore_stop = true,
                 .sample = {.top_p = 1}};
    int32_t id;
    FinishReason why;
    *n_ids = 0;
    TRY(model_open(path, &mo, &m, diag));
    TRY(engine_open(kernels, m, &eo, &e, diag));
    TRY(engine_submit(e, &r, &id, diag));
    TRY(engine_run(e, diag));
    const int32_t *got = engine_tokens(e, id, n_ids, &why);
    memcpy(ids, got, (size_t)*n_ids * sizeof *ids);
done:
    engine_close(e);
    model_close(m);
    return st;
}

static KilnStatus compare_tiny(Suite *s)
{
    KilnStatus st = KILN_OK;
    Device *cpu = NULL;
    KernelCache *kernels = NULL;
    int32_t want[TINY_TOKENS + 8], got[TINY_TOKENS + 8], n_want, n_got, same = 0;
    int32_t n = s->quick ? TINY_LEAST : TINY_TOKENS;
    const char *path = arena_printf(&s->arena, "%s/kiln-tiny.gguf", s->out);
    DeviceOptions device = {.name = "cpu"};
    KernelCacheOptions cache = {.texts = kernel_texts, .n_texts = kernel_n_texts};
    TRY(file_replace(path, suite_model, (size_t)(suite_model_end - suite_model), &s->diag));
    TRY(device_open(&device, &cpu, &s->diag));
    TRY(kernel_cache_open(cpu, &cache, &kernels, &s->diag));
    TRY(generate(kernels, path, n, want, &n_want, &s->diag));
    TRY(generate(s->kernels, path, n, got, &n_got, &s->diag));
    while (same < MIN(n_want, n_got) && want[same] == got[same])
        same++;
    bool is_wrong = !s->no_judge && same < TINY_LEAST;
    suite_value(s, "decode", "kiln-tiny tokens like the CPU's", same, "of 64",
                is_wrong ? "WRONG" : "");
    if (is_wrong) suite_text(s, "correctness", "WRONG", "kiln-tiny: other tokens than on the CPU");
    s->n_wrong += is_wrong;
done:
    kernel_cache_close(kernels);
    device_close(cpu);
    unlink(path);
    return st;
}

// ---- sizes of real models -----------------------------------------------------------------------

typedef struct Total {
    const char *name;
    double us;
    int32_t n;
} Total;

/// "gemv(y: *f32, ..., BLOCK_N=4)[num_warps=4]" as "gemv BLOCK_N=4 num_warps=4".
static const char *short_name(Arena *a, const char *text)
{
    StrBuf b = {0};
    strbuf_add(&b, text, strcspn(text, "("));
    for (const char *p = text; *p; p++) {
        size_t n = strcspn(p, ",)[]");
        const char *word = p + strspn(p, " (");
        if (word < p + n && memchr(word, '=', n - (size_t)(word - p)) &&
            !memchr(word, ':', n - (size_t)(word - p)))
            strbuf_putc(&b, ' '), strbuf_add(&b, word, n - (size_t)(word - p));
        p += n;
        if (!*p) break;
    }
    const char *out = arena_strdup(a, b.data);
    strbuf_free(&b);
    return out;
}

/// Every kernel of one step alone, summed by name.
static KilnStatus profile(Suite *s, Engine *e, const char *name, int32_t batch)
{
    Graph *g;
    KilnStatus st = engine_graph(e, PHASE_DECODE, batch, &g, &s->diag);
    if (st != KILN_OK) return st;
    int32_t n = graph_n_nodes(g), n_totals = 0;
    double *us = calloc((size_t)n + 1, sizeof *us);
    Total totals[64] = {0};
    for (int32_t round = 0; us && round < 3 && st == KILN_OK; round++)
        st = graph_run_timed(g, us, &s->diag); // the last round counts
    for (int32_t i = 0; us && st == KILN_OK && i < n; i++) {
        const Kernel *k = graph_node_kernel(g, i);
        const char *text = k ? short_name(&s->arena, k->text) : "library product or copy";
        int32_t j = 0;
        while (j < n_totals && strcmp(totals[j].name, text) != 0)
            j++;
        if (j == COUNT_OF(totals)) continue;
        if (j == n_totals) totals[n_totals++].name = text;
        totals[j].us += us[i], totals[j].n++;
    }
    for (int32_t j = 0; j < n_totals; j++)
        suite_value(s, "profile",
                    arena_printf(&s->arena, "%s batch %d: %d x %s", name, batch, totals[j].n,
                                 totals[j].name),
                    totals[j].us, "us", "each launch alone");
    free(us);
    return st;
}

static KilnStatus run_batch(Suite *s, const char *path, const char *name, const ModelSize *size,
                            const char *form, int32_t batch, int32_t steps)
{
    KilnStatus st = KILN_OK;
    Model *m = NULL;
    Engine *e = NULL;
    ModelOptions mo = {.use_mmap = true};
    EngineOptions eo = {.n_slots = batch, .max_context = MIN(1024, size->context)};
    int32_t prompt[16], id;
    EngineStats before, after;
    char shape[32], config[64];
    for (int32_t i = 0; i < COUNT_OF(prompt); i++)
        prompt[i] = 1 + i * 13 % (size->vocab - 1);
    Request r = {.prompt = prompt,
                 .n_prompt = COUNT_OF(prompt),
                 .n_predict = steps,
                 .ignore_stop = true,
                 .sample = {.top_p = 1}};
    TRY(model_open(path, &mo, &m, &s->diag));
    TRY(engine_open(s->kernels, m, &eo, &e, &s->diag));
    for (int32_t round = 0; round < 2; round++) { // the first warms up
        engine_stats(e, &before);
        for (int32_t i = 0; i < batch; i++)
            TRY(engine_submit(e, &r, &id, &s->diag));
        TRY(engine_run(e, &s->diag));
        engine_stats(e, &after);
    }
    int64_t n = MAX(after.decode_steps - before.decode_steps, 1);
    double us = (double)(after.decode_us - before.decode_us) / (double)n;
    Times t = {us, us, us, us, (int32_t)n, s->dev->ops->capture != NULL};
    snprintf(shape, sizeof shape, "{\"B\":%d}", batch);
    snprintf(config, sizeof config, "{\"steps\":%lld,\"tok_s\":%.1f}", (long long)n,
             batch * 1e6 / MAX(us, 1e-3));
    Record rec = {.stage = "decode",
                  .kernel = name,
                  .impl = "kiln",
                  .dtype = form,
                  .shape = shape,
                  .config = config,
                  .bytes = (double)(after.decode_bytes - before.decode_bytes) / (double)n,
                  .sets = 8,
                  .note = "steps of the engine: upload, graph, ids back"};
    suite_record(s, &rec, &t);
    TRY(profile(s, e, name, batch));
done:
    engine_close(e);
    model_close(m);
    return st;
}

static KilnStatus run_model(Suite *s, const ModelSize *size, const char *form)
{
    static const int32_t batches[] = {1, 8, 64};
    const char *path = arena_printf(&s->arena, "%s/random.gguf", s->out);
    const char *name = arena_printf(&s->arena, "%s %s", size->name, form);
    KilnStatus st = model_file_write(path, size, form, &s->diag);
    int32_t n = s->quick ? 2 : COUNT_OF(batches);
    for (int32_t i = 0; st == KILN_OK && i < n && !suite_is_late(s); i++)
        st = run_batch(s, path, name, size, form, s->quick ? MIN(batches[i], 2) : batches[i],
                       s->quick ? 4 : 128);
    unlink(path);
    return st;
}

KilnStatus stage_decode(Suite *s)
{
    static const struct {
        const ModelSize *size;
        const char *form;
    } models[] = {{&one_b, "bf16"}, {&one_b, "q8_0"}, {&eight_b, "q4_0"}};
    if (compare_tiny(s) != KILN_OK) suite_miss(s, "decode", "kiln-tiny");
    if (s->quick) return run_model(s, &toy, "bf16");
    for (int32_t i = 0; i < COUNT_OF(models) && !suite_is_late(s) && !s->dev->is_lost; i++)
        if (run_model(s, models[i].size, models[i].form) != KILN_OK)
            suite_miss(s, "decode", models[i].size->name);
    return KILN_OK;
}
