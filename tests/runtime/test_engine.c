// tests/runtime/test_engine.c - a pretend model that reads its own cache, against its answer on flat tokens.
//
// The model's next token is a hash of every token so far, each read back from the K page of one (layer, head)
// and checked in all others, so a wrong page, length, position, slot or order of rows changes the text.
#include <criterion/criterion.h>
#include <math.h>

#include "base/random.h"
#include "runtime/engine.h"
#include "tests/runtime/hand_made.h"

enum { LAYERS = 2, HEADS = 3, DIM = 4, VOCAB = 97, STOP = 13 };

// ---- the model --------------------------------------------------------------------------------

/// What the hand-made kernel is told: the step's arrays, by way of host memory.
typedef struct Told {
    StepBuffers step;
    StepShape shape;
} Told;

typedef struct FakeArgs {
    const Told *told;
} FakeArgs;

static float *key_of(const StepBuffers *s, int32_t list, int32_t at, int32_t lh)
{
    int64_t page = s->list_pages[(int64_t)list * s->max_pages + at / s->page_len] +
                   (int64_t)s->list_spread[list] * lh;
    return (float *)(void *)(s->kv_base + page * s->page_bytes) + at % s->page_len * DIM;
}

static uint32_t mix_in(uint32_t h, int32_t token)
{
    return (h ^ (uint32_t)token) * 16777619u + 0x9E3779B9u;
}

static int32_t next_of(uint32_t h, float temperature, uint64_t seed, int32_t draw)
{
    Random r = {seed * 1000003 + (uint64_t)draw};
    return (int32_t)((h >> 8) % VOCAB + (temperature > 0 ? random_u64(&r) % VOCAB : 0)) % VOCAB;
}

/// One sequence: append its rows to its list, then hash the list up to each row.
static void forward(const Told *told, int32_t seq)
{
    const StepBuffers *s = &told->step;
    int32_t q0 = s->q_start[seq], q1 = s->q_start[seq + 1], slot = s->slot_of[seq];
    int32_t list = s->list_of[slot * LAYERS * HEADS], len = s->list_len[list];
    for (int32_t row = q0; row < q1; row++) {
        int32_t at = len - (q1 - row);
        bool sane = s->pos[row] == at && s->seq_of[row] == seq;
        for (int32_t lh = 0; lh < LAYERS * HEADS; lh++)
            *key_of(s, list, at, lh) = sane ? (float)(s->tokens[row] + lh) : -1000;
    }
    uint32_t h = 0;
    for (int32_t at = 0; at < len; at++) {
        int32_t token = (int32_t)*key_of(s, list, at, 0);
        for (int32_t lh = 1; lh < LAYERS * HEADS; lh++)
            if ((int32_t)*key_of(s, list, at, lh) != token + lh) token = -7;
        h = mix_in(h, token);
        int32_t row = q1 - (len - at);
        if (row < q0) continue;
        int32_t logit_row = told->shape.all_logits ? row : row == q1 - 1 ? seq : -1;
        if (logit_row >= 0)
            for (int32_t v = 0; v < VOCAB; v++)
                s->logits[logit_row * VOCAB + v] = v == next_of(h, 0, 0, 0) ? 1.0f : 0.0f;
    }
    s->out_ids[seq] = next_of(h, s->temperature[seq], (uint64_t)s->seed[seq], s->draw[seq]);
}

static void fake_step(const void *args, const Grid *grid, int64_t first, int64_t n, Tls *tls)
{
    const Told *told = ((const FakeArgs *)args)->told;
    (void)grid;
    (void)tls;
    for (int64_t seq = first; seq < first + n; seq++)
        if (seq < told->step.counts[1]) forward(told, (int32_t)seq);
}

static const CodeParam fake_params[] = {{.name = "told", .kind = SPEC_PTR, .dtype = DTYPE_I8}};

typedef struct FakeModel {
    Model base;
    Kernel *kernel;
    Told told[64];
    int32_t n_told, n_loads;
} FakeModel;

static KilnStatus fake_load(Model *m, KernelCache *kernels, Diag *diag)
{
    FakeModel *f = (FakeModel *)m;
    Code c = code_of("fake_step", 1, fake_params);
    f->n_loads++;
    return kernel_from_entry(kernels, &c, fake_step, &f->kernel, diag);
}

static KilnStatus fake_record(Model *m, Graph *g, const StepBuffers *step, const StepShape *shape,
                              Diag *diag)
{
    FakeModel *f = (FakeModel *)m;
    Told *told = &f->told[f->n_told++];
    *told = (Told){*step, *shape};
    (void)graph_tensor(g, "unused", 64);
    return graph_launch(g, f->kernel, grid_of(shape->n_seqs, 1, 1), 1,
                        (Arg[]){arg_ptr("told", DTYPE_I8, told)}, diag);
}

static size_t fake_activations(const Model *m, const StepShape *shape)
{
    (void)m;
    return (size_t)shape->n_tokens * 64;
}

static const ModelOps fake_ops = {
    .load = fake_load, .record = fake_record, .activation_bytes = fake_activations};

static FakeModel fake_model(void)
{
    return (FakeModel){.base = {.ops = &fake_ops,
                                .facts = {.name = "fake",
                                          .n_layers = LAYERS,
                                          .n_heads = HEADS,
                                          .n_kv_heads = HEADS,
                                          .head_dim = DIM,
                                          .vocab = VOCAB,
                                          .max_context = 300,
                                          .weight_bytes = 1000,
                                          .token_bytes = 1000}}};
}

// ---- the reference ----------------------------------------------------------------------------

typedef struct Want {
    int32_t prompt[300], n_prompt;
    int32_t out[400], n_out;
    FinishReason reason;
} Want;

static uint32_t hash_of(const int32_t *tokens, int32_t n)
{
    uint32_t h = 0;
    for (int32_t i = 0; i < n; i++)
        h = mix_in(h, tokens[i]);
    return h;
}

static void expect_text(Want *w, int32_t n_predict, int32_t context, const SampleParams *sample,
                        bool ignore_stop)
{
    int32_t all[800];
    memcpy(all, w->prompt, sizeof w->prompt);
    int32_t n = w->n_prompt;
    w->n_out = 0;
    w->reason = FINISH_LENGTH;
    while ((n_predict < 0 || w->n_out < n_predict) && n <= context) {
        int32_t token = next_of(hash_of(all, n), sample->temperature, sample->seed, n);
        if (token == STOP && !ignore_stop) {
            w->reason = FINISH_STOP;
            break;
        }
        all[n++] = w->out[w->n_out++] = token;
    }
}

typedef struct Setup {
    Bench bench;
    FakeModel model;
    Engine *engine;
} Setup;

static void set_up(Setup *s, EngineOptions options)
{
    s->bench = bench_open(2);
    s->model = fake_model();
    cr_assert_eq(engine_open(s->bench.cache, &s->model.base, &options, &s->engine, NULL), KILN_OK);
    cr_assert_eq(s->model.n_loads, 1);
}

static void tear_down(Setup *s)
{
    engine_close(s->engine);
    cr_expect_eq(s->bench.dev->counters.bytes_live, 0, "the engine left memory behind");
    bench_close(&s->bench);
}

static void random_prompt(Want *w, Random *r, int32_t most)
{
    w->n_prompt = 1 + (int32_t)random_below(r, most);
    for (int32_t i = 0; i < w->n_prompt; i++)
        w->prompt[i] = (int32_t)random_below(r, VOCAB);
}

/// Submits `n` random requests, some while others run, and compares every text.
static void check_traffic(Setup *s, uint64_t seed, int32_t n, int32_t most)
{
    static Want want[64];
    Random r = {seed};
    int32_t ids[64], stop = STOP;
    bool busy;
    for (int32_t i = 0; i < n; i++) {
        random_prompt(&want[i], &r, most);
        SampleParams sample = {
            .temperature = (float)random_below(&r, 2), .top_p = 1, .seed = random_u64(&r) >> 1};
        int32_t n_predict = random_below(&r, 4) ? (int32_t)random_below(&r, 60) : -1;
        bool ignore = random_below(&r, 2);
        expect_text(&want[i], n_predict, engine_memory(s->engine)->max_context, &sample, ignore);
        Request q = {.prompt = want[i].prompt,
                     .n_prompt = want[i].n_prompt,
                     .n_predict = n_predict,
                     .sample = sample,
                     .stop_ids = &stop,
                     .n_stop = 1,
                     .ignore_stop = ignore};
        cr_assert_eq(engine_submit(s->engine, &q, &ids[i], NULL), KILN_OK);
        for (int64_t k = random_below(&r, 9); k > 0; k--)
            cr_assert_eq(engine_step(s->engine, &busy, NULL), KILN_OK);
        cr_assert(kv_check(engine_kv(s->engine)));
    }
    cr_assert_eq(engine_run(s->engine, NULL), KILN_OK);
    for (int32_t i = 0; i < n; i++) {
        int32_t got_n;
        FinishReason reason;
        const int32_t *got = engine_tokens(s->engine, ids[i], &got_n, &reason);
        cr_assert_eq(got_n, want[i].n_out, "seed %d request %d: %d tokens, expected %d", (int)seed,
                     i, got_n, want[i].n_out);
        cr_assert_eq(reason, want[i].reason, "seed %d request %d: reason %d, expected %d",
                     (int)seed, i, reason, want[i].reason);
        for (int32_t t = 0; t < got_n; t++)
            cr_assert_eq(got[t], want[i].out[t], "seed %d request %d token %d: %d, expected %d",
                         (int)seed, i, t, got[t], want[i].out[t]);
        engine_forget(s->engine, ids[i]);
        cr_expect_null(engine_tokens(s->engine, ids[i], &got_n, NULL));
    }
    cr_expect_eq(kv_used_pages(engine_kv(s->engine)), 0);
}

Test(engine, writes_what_the_model_says_for_any_mix_of_requests)
{
    for (int32_t slots = 1; slots <= 6; slots += 2)
        for (uint64_t seed = 0; seed < 6; seed++) {
            Setup s;
            set_up(&s, (EngineOptions){.n_slots = slots,
                                       .max_context = 200,
                                       .n_batch = seed % 2 ? 24 : 512,
                                       .page_len = 1 << seed});
            check_traffic(&s, seed * 10 + (uint64_t)slots, 24, 150);
            EngineStats stats;
            engine_stats(s.engine, &stats);
            cr_expect_eq(stats.preemptions, 0);
            cr_expect_eq(stats.flow_records, 0, "%d graphs were recorded while tokens flowed",
                         (int)stats.flow_records);
            cr_expect_eq(stats.flow_allocations, 0);
            cr_expect_eq(stats.compiles, 0);
            cr_expect_gt(stats.records, 1);
            tear_down(&s);
        }
}

Test(engine, loses_no_request_when_pages_run_out)
{
    int64_t preemptions = 0;
    for (uint64_t seed = 0; seed < 8; seed++) {
        Setup s;
        EngineOptions o = {.n_slots = 5, .max_context = 200, .n_batch = 64, .page_len = 4};
        KvShape shape = {.n_layers = LAYERS,
                         .n_kv_heads = HEADS,
                         .head_dim = DIM,
                         .page_len = 4,
                         .max_context = 200,
                         .format = KV_f32};
        o.kv_bytes =
            kv_bytes_for(&shape, 200) + kv_bytes_for(&shape, 60); // one sequence, and a bit
        set_up(&s, o);
        check_traffic(&s, seed, 20, 120);
        EngineStats stats;
        engine_stats(s.engine, &stats);
        preemptions += stats.preemptions;
        cr_expect_eq(stats.flow_records, 0);
        tear_down(&s);
    }
    cr_expect_gt(preemptions, 5, "pages never ran out, so nothing was tested");
}

Test(engine, gives_logits_of_every_prompt_position)
{
    Setup s;
    set_up(&s,
           (EngineOptions){.n_slots = 2, .max_context = 128, .n_batch = 16, .all_logits = true});
    Random r = {5};
    static Want w;
    static float logits[128 * VOCAB];
    for (int32_t n_prompt = 1; n_prompt <= 97;
         n_prompt += 16) { // chunks of 16 and, each time, a rest of one
        random_prompt(&w, &r, 1);
        for (w.n_prompt = 0; w.n_prompt < n_prompt; w.n_prompt++)
            w.prompt[w.n_prompt] = (int32_t)random_below(&r, VOCAB);
        for (int32_t i = 0; i < COUNT_OF(logits); i++)
            logits[i] = NAN;
        Request q = {.prompt = w.prompt,
                     .n_prompt = n_prompt,
                     .n_predict = 4,
                     .sample = {.top_p = 1},
                     .prompt_logits = logits};
        int32_t id;
        cr_assert_eq(engine_submit(s.engine, &q, &id, NULL), KILN_OK);
        cr_assert_eq(engine_run(s.engine, NULL), KILN_OK);
        for (int32_t i = 0; i < n_prompt; i++)
            for (int32_t v = 0; v < VOCAB; v++) {
                float want = v == next_of(hash_of(w.prompt, i + 1), 0, 0, 0) ? 1.0f : 0.0f;
                cr_assert_eq(logits[i * VOCAB + v], want, "%d tokens: position %d id %d is %g",
                             n_prompt, i, v, (double)logits[i * VOCAB + v]);
            }
        cr_expect(isnan(logits[n_prompt * VOCAB]), "positions after the prompt are not written");
    }
    tear_down(&s);
}

typedef struct Heard {
    int32_t n, stop_after, last_index;
    Engine *engine;
    int32_t cancel;
} Heard;

static bool hear(void *user, int32_t request, int32_t token, int32_t index)
{
    Heard *h = user;
    (void)token;
    if (h->cancel >= 0 && h->n == 3) engine_cancel(h->engine, h->cancel);
    (void)request;
    h->last_index = index;
    return ++h->n < h->stop_after;
}

Test(engine, streams_and_stops_when_told)
{
    Setup s;
    set_up(&s, (EngineOptions){.n_slots = 2, .max_context = 100});
    int32_t prompt[] = {1, 2, 3}, id[2], n;
    Heard h = {.stop_after = 7, .cancel = -1};
    Request q = {.prompt = prompt,
                 .n_prompt = 3,
                 .n_predict = 50,
                 .sample = {.top_p = 1},
                 .on_token = hear,
                 .user = &h};
    FinishReason reason;
    cr_assert_eq(engine_submit(s.engine, &q, &id[0], NULL), KILN_OK);
    cr_assert_eq(engine_run(s.engine, NULL), KILN_OK);
    engine_tokens(s.engine, id[0], &n, &reason);
    cr_expect_eq(n, 7);
    cr_expect_eq(h.last_index, 6);
    cr_expect_eq(reason, FINISH_STOP);
    // One request's callback cancels the other, which is in the same step.
    h = (Heard){.stop_after = 99, .engine = s.engine};
    cr_assert_eq(engine_submit(s.engine, &q, &id[0], NULL), KILN_OK);
    q.on_token = NULL;
    cr_assert_eq(engine_submit(s.engine, &q, &id[1], NULL), KILN_OK);
    h.cancel = id[1];
    cr_assert_eq(engine_run(s.engine, NULL), KILN_OK);
    engine_tokens(s.engine, id[1], &n, &reason);
    cr_expect_eq(reason, FINISH_CANCEL);
    cr_expect_eq(n, 3);
    engine_tokens(s.engine, id[0], &n, &reason);
    cr_expect_eq(n, 50);
    tear_down(&s);
}

static void expect_refusal(Engine *e, Request q, const char *code, const char *what)
{
    Diag d;
    diag_init(&d, heap_default());
    int32_t id;
    cr_expect_neq(engine_submit(e, &q, &id, &d), KILN_OK, "%s", what);
    cr_assert_eq(d.items.len, 1, "%s", what);
    cr_expect_str_eq(d.items.data[0]->code, code, "%s: %s", what, diag_first(&d));
    arena_reset(&d.arena);
}

Test(engine, refuses_requests_that_cannot_be_served)
{
    Setup s;
    set_up(&s, (EngineOptions){.max_context = 64});
    static int32_t prompt[65];
    const Request good = {.prompt = prompt, .n_prompt = 3, .n_predict = 1, .sample = {.top_p = 1}};
    Request q = good;
    q.n_prompt = 65;
    expect_refusal(s.engine, q, "K401", "one token more than the context");
    q.n_prompt = 0;
    expect_refusal(s.engine, q, "K403", "no prompt");
    q = good;
    q.sample.temperature = NAN;
    expect_refusal(s.engine, q, "K403", "temperature NaN");
    q = good;
    q.sample.top_p = 0;
    expect_refusal(s.engine, q, "K403", "top_p 0");
    q = good;
    q.prompt_logits = (float[1]){0};
    expect_refusal(s.engine, q, "K403", "logits that were not planned");
    prompt[1] = VOCAB;
    expect_refusal(s.engine, good, "K403", "a token past the vocabulary");
    prompt[1] = 0;
    int32_t id, n;
    FinishReason reason;
    q = good;
    q.n_prompt = 64,
    q.n_predict = -1; // the whole context is one prompt: one token can still be drawn
    cr_assert_eq(engine_submit(s.engine, &q, &id, NULL), KILN_OK);
    cr_assert_eq(engine_run(s.engine, NULL), KILN_OK);
    engine_tokens(s.engine, id, &n, &reason);
    cr_expect_eq(n, 1);
    cr_expect_eq(reason, FINISH_LENGTH);
    tear_down(&s);
}

Test(engine, plans_memory_before_it_loads)
{
    Bench b = bench_open(1);
    FakeModel m = fake_model();
    m.base.facts.weight_bytes = 10 << 20;
    m.base.facts.max_context = 100000;
    EngineOptions o = {.n_slots = 4, .max_context = 100000, .memory_limit = 64 << 20};
    MemoryPlan plan;
    Diag d;
    diag_init(&d, heap_default());
    Engine *e;
    cr_expect_eq(engine_open(b.cache, &m.base, &o, &e, &d), KILN_ERR_LIMIT);
    cr_expect_null(e);
    cr_expect_eq(m.n_loads, 0, "weights are not loaded when the plan does not fit");
    cr_expect_str_eq(d.items.data[0]->code, "K301");
    cr_expect(strstr(d.items.data[0]->text,
                     "4 slots × 100000 tokens need 0.07 GiB, 0.05 GiB are free on cpu"),
              "%s", d.items.data[0]->text);
    int32_t fits = 0;
    cr_assert_eq(sscanf(d.items.data[0]->help, "fits: -c %d", &fits), 1, "%s",
                 d.items.data[0]->help);
    o.max_context = fits; // what the hint says holds, and a page more does not
    cr_expect_eq(engine_plan(b.dev, &m.base, &o, &plan, NULL), KILN_OK);
    cr_expect_leq(plan.weights + plan.kv + plan.activations + plan.step, (size_t)64 << 20);
    KvShape shape = {.n_layers = LAYERS,
                     .n_kv_heads = HEADS,
                     .head_dim = DIM,
                     .page_len = 32,
                     .max_context = fits};
    o.max_context = fits + (int32_t)(65536 / kv_page_bytes(&shape)) * 32; // an extent more
    cr_expect_eq(engine_plan(b.dev, &m.base, &o, &plan, NULL), KILN_ERR_LIMIT);
    o.max_context = 0;
    cr_expect_eq(engine_plan(b.dev, &m.base, &o, &plan, NULL), KILN_OK);
    cr_expect_eq(plan.max_context, fits, "left to itself it takes what fits");
    o.memory_limit = 1 << 20;
    cr_expect_eq(engine_plan(b.dev, &m.base, &o, &plan, &d), KILN_ERR_LIMIT);
    arena_reset(&d.arena);
    bench_close(&b);
}
