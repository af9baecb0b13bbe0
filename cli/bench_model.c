// cli/bench_model.c - rows of a model: prompts, generation, both; after a depth of context; several at once.
//
//   pp512 @ d2048    | depth, 2048 tokens  | prompt, 512 tokens, timed |                    the clock runs
//   tg128 @ d2048    | depth, 2048 tokens  +1st id | 128 steps, timed                      |
//   tg128            | 1 token, 128 steps, timed                                           |
//   pp512+tg128      | prompt, 512 tokens, 1st id, 128 steps, timed                        |
//
// Prompts are random ids from a seed, as in llama-bench; a step is fed the best id of the one before it, so a
// row's ids are the same in every repetition, and a repetition that differs fails (exit 4). Choosing the id is
// timed. The engine is opened for each row with the context that the row needs.
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/random.h"
#include "cli/bench.h"

typedef struct Grid1 {
    int32_t n;
    int64_t *v;
} Grid1;

/// The settings as lists, each with at least one number (prompts and gens may hold 0: none).
typedef struct Plan {
    Grid1 prompts, gens, pgs, depths, batches, ubatches, threads, parallel;
    const char *const *ctk, *const *ctv;
    int32_t n_ctk, n_ctv;
} Plan;

typedef struct Bench {
    BenchReport *report;
    const Settings *s;
    Arena *arena;
    Diag *diag;
    Session x;
    BenchCeiling ceiling;
    BenchMeter meter;
    double load_seconds; ///< of the weights, with the first engine
    int32_t n_left_out;  ///< pairs of -ctk and -ctv
    bool ids_differ;
} Bench;

/// One repetition as it runs.
typedef struct Rep {
    const BenchRow *row;
    int32_t *requests; ///< [n_parallel] ids
    int32_t n_first;   ///< sequences that have their first token
    double begin, first_token;
    Hasher ids;
    bool is_wrong; ///< an id outside the vocabulary
    int32_t vocab;
} Rep;

// ---- lists --------------------------------------------------------------------------------------

static KilnStatus numbers(Bench *b, const char *flag, const TextList *list, int64_t usual,
                          int64_t least, Grid1 *out)
{
    KilnStatus st = bench_numbers(flag, list, b->arena, &out->n, &out->v, b->diag);
    if (st == KILN_OK && !list->n) {
        out->v = arena_new(b->arena, int64_t);
        out->v[0] = usual;
        out->n = 1;
    }
    for (int32_t i = 0; st == KILN_OK && i < out->n; i++)
        if (out->v[i] < least)
            st = fail(b->diag, KILN_ERR_INPUT, "", "%s: %lld is below %lld", flag,
                      (long long)out->v[i], (long long)least);
    return st;
}

/// Pieces of a list between commas.
static int32_t names(Arena *arena, const TextList *list, const char *const **out)
{
    VEC(const char *) v = {0};
    for (int32_t i = 0; i < list->n; i++)
        for (const char *at = list->items[i];; at++) {
            size_t len = strcspn(at, ",");
            vec_push(arena, &v, arena_strndup(arena, at, len));
            at += len;
            if (!*at) break;
        }
    *out = v.data;
    return v.len;
}

static KilnStatus read_pairs(Bench *b, Grid1 *out)
{
    const TextList *list = &b->s->bench_pg;
    *out = (Grid1){0, arena_array(b->arena, int64_t, 2 * COUNT_OF(list->items))};
    for (int32_t i = 0; i < list->n; i++) {
        const char *comma = strchr(list->items[i], ',');
        int64_t *pair = out->v + 2 * out->n++;
        if (!comma ||
            !parse_count(arena_strndup(b->arena, list->items[i], (size_t)(comma - list->items[i])),
                         &pair[0]) ||
            !parse_count(comma + 1, &pair[1]) || pair[0] < 1 || pair[1] < 1 || pair[0] > 1 << 24 ||
            pair[1] > 1 << 24)
            return fail(b->diag, KILN_ERR_INPUT, "", "-pg %s: is no pair such as 512,128",
                        list->items[i]);
    }
    return KILN_OK;
}

static KilnStatus read_types(Bench *b, Plan *p)
{
    static const char *const usual[] = {"f32"};
    KilnStatus st = KILN_OK;
    KvFormat format;
    p->n_ctk = names(b->arena, &b->s->bench_ctk, &p->ctk);
    if (!p->n_ctk) p->ctk = usual, p->n_ctk = 1;
    p->n_ctv = names(b->arena, &b->s->bench_ctv, &p->ctv);
    for (int32_t i = 0; i < p->n_ctk + p->n_ctv; i++)
        TRY(kv_format_parse(i < p->n_ctk ? p->ctk[i] : p->ctv[i - p->n_ctk], &format, b->diag));
done:
    return st;
}

static KilnStatus read_plan(Bench *b, Plan *p)
{
    KilnStatus st = KILN_OK;
    const Settings *s = b->s;
    TRY(numbers(b, "-p", &s->bench_prompt, 512, 0, &p->prompts));
    TRY(numbers(b, "-n", &s->bench_gen, 128, 0, &p->gens));
    TRY(read_pairs(b, &p->pgs));
    TRY(numbers(b, "-d", &s->bench_depth, 0, 0, &p->depths));
    TRY(numbers(b, "-b", &s->bench_batch, 2048, 1, &p->batches));
    TRY(numbers(b, "-ub", &s->bench_ubatch, 512, 1, &p->ubatches));
    TRY(numbers(b, "-t", &s->bench_threads, 0, 0, &p->threads));
    TRY(numbers(b, "-np", &s->bench_parallel, 1, 1, &p->parallel));
    TRY(read_types(b, p));
done:
    return st;
}

/// A step takes up to a chunk of tokens and does not end where the depth does, unless chunks end there.
static KilnStatus check_depths(Bench *b, const Plan *p)
{
    bool has_prompts = p->pgs.n > 0;
    for (int32_t i = 0; i < p->prompts.n; i++)
        has_prompts |= p->prompts.v[i] > 0;
    for (int32_t d = 0; has_prompts && d < p->depths.n; d++)
        for (int32_t u = 0; u < p->ubatches.n; u++)
            for (int32_t k = 0; k < p->batches.n; k++) {
                int64_t depth = p->depths.v[d], chunk = MIN(p->ubatches.v[u], p->batches.v[k]);
                if (depth % chunk)
                    return fail_hint(
                        b->diag, KILN_ERR_INPUT, "",
                        "give -p 0 for rows of generation only, or another -d or -ub",
                        "-d %lld: rows of prompts want a multiple of the chunk of %lld tokens",
                        (long long)depth, (long long)chunk);
            }
    for (int32_t i = 0; has_prompts && i < p->parallel.n; i++)
        for (int32_t d = 0; d < p->depths.n; d++)
            if (p->parallel.v[i] > 1 && p->depths.v[d] > 0)
                return fail_hint(b->diag, KILN_ERR_INPUT, "", "give -p 0, or -d 0",
                                 "-np %lld -d %lld: prompts of several sequences share steps with "
                                 "their depths",
                                 (long long)p->parallel.v[i], (long long)p->depths.v[d]);
    return KILN_OK;
}

// ---- what a row needs ---------------------------------------------------------------------------

/// Operations and bytes of one step: `rows` tokens, the first at `pos`, of each of `seqs` sequences.
static void count_step(const Bench *b, BenchRow *row, int64_t rows, int64_t pos, int64_t seqs,
                       double *memory, double *compute)
{
    const ModelFacts *m = &b->x.model->facts;
    bool tied = m->token_bytes == m->weight_bytes;
    double head = (double)m->vocab * m->hidden;
    double layers = (double)m->n_params - (tied ? head : 2 * head);
    double keys = (double)rows * ((double)pos + ((double)rows + 1) /
                                                    2); // one row sees those before it, and itself
    double attend = 4.0 * m->n_heads * m->head_dim * keys * m->n_layers;
    double flops = (double)seqs * (2 * layers * (double)rows + 2 * head + attend);
    double kv = (double)engine_memory(b->x.engine)->kv_per_token * (double)(pos + rows);
    double bytes = (double)m->token_bytes + (double)seqs * kv;
    const BenchCeiling *c = &row->ceiling;
    double by_memory = c->read > 0 ? bytes / c->read : 0;
    double peak = c->peak[row->peak], by_compute = peak > 0 ? flops / peak : 0;
    row->bytes += bytes;
    row->flops += flops;
    row->least += MAX(by_memory, by_compute);
    *(by_compute > by_memory ? compute : memory) += MAX(by_memory, by_compute);
}

/// The share needs the ceilings, so it is counted when the row has been measured.
static void count_row(const Bench *b, BenchRow *row)
{
    double memory = 0, compute = 0;
    int64_t np = row->n_parallel, chunk = row->n_batch, left = row->n_prompt * np,
            pos = row->n_depth;
    const char *type = b->x.model->facts.weight_type;
    bool is_low = !strncmp(type, "Q4", 2) || !strncmp(type, "Q5", 2);
    row->peak = is_low                  ? PEAK_I4
                : type[0] == 'Q'        ? PEAK_I8
                : !strcmp(type, "BF16") ? PEAK_BF16
                                        : PEAK_F32;
    if (row->peak == PEAK_I4 && row->ceiling.peak[PEAK_I4] < row->ceiling.peak[PEAK_I8])
        row->peak = PEAK_I8;
    if (row->ceiling.peak[row->peak] < row->ceiling.peak[PEAK_F32]) row->peak = PEAK_F32;
    row->bytes = row->flops = row->least = 0;
    if (np == 1) {
        for (; left > 0; left -= chunk, pos += chunk)
            count_step(b, row, MIN(left, chunk), pos, 1, &memory, &compute);
    } else { // chunks hold several whole prompts, or parts of one
        int64_t whole = MAX(chunk / MAX(row->n_prompt, 1), 1);
        for (int64_t seqs = row->n_prompt ? np : 0; seqs > 0; seqs -= whole)
            count_step(b, row, row->n_prompt, 0, MIN(seqs, whole), &memory, &compute);
    }
    for (int64_t i = 0; i < row->n_gen; i++)
        count_step(b, row, 1, row->n_depth + row->n_prompt + i, np, &memory, &compute);
    row->is_compute = compute > memory;
    bool needs_peak = row->n_prompt > 0 && row->ceiling.peak[row->peak] <= 0;
    if (needs_peak || row->ceiling.read <= 0) row->least = 0;
}

static const char *test_name(Arena *a, const BenchRow *r)
{
    const char *what = r->n_prompt && r->n_gen ? arena_printf(a, "pp%d+tg%d", r->n_prompt, r->n_gen)
                       : r->n_prompt           ? arena_printf(a, "pp%d", r->n_prompt)
                                               : arena_printf(a, "tg%d", r->n_gen);
    if (r->n_parallel > 1) what = arena_printf(a, "%s x%d", what, r->n_parallel);
    return r->n_depth ? arena_printf(a, "%s @ d%d", what, r->n_depth) : what;
}

// ---- one repetition -----------------------------------------------------------------------------

static bool on_token(void *user, UNUSED int32_t request, int32_t token, int32_t index)
{
    Rep *rep = user;
    if (!rep->first_token) rep->first_token = seconds_now();
    rep->n_first += index == 0;
    rep->is_wrong |= token < 0 || token >= rep->vocab;
    hasher_add(&rep->ids, &token, sizeof token);
    return true;
}

/// Generated by every sequence before the clock starts: with a depth the prefill gives one id for nothing.
static bool has_free_token(const BenchRow *row)
{
    return row->n_gen && (row->n_depth || row->n_prompt);
}

static int32_t most_tokens(const BenchRow *row)
{
    int32_t fed = MAX(row->n_depth + row->n_prompt, 1);
    int32_t others =
        row->n_parallel > 1 // decode while the prompts of others are taken in
            ? (int32_t)div_up((int64_t)fed * row->n_parallel, row->n_batch) + row->n_parallel
            : 0;
    return row->n_gen ? row->n_gen + has_free_token(row) + others : 1;
}

static KilnStatus submit_all(Bench *b, Rep *rep)
{
    const BenchRow *row = rep->row;
    int32_t n = MAX(row->n_depth + row->n_prompt, 1), vocab = rep->vocab > 0 ? rep->vocab : 1;
    Random random = {(uint64_t)(b->s->seed < 0 ? 1 : b->s->seed)};
    int32_t *prompt = malloc((size_t)n * sizeof *prompt);
    if (!prompt) return fail(b->diag, KILN_ERR_NOMEM, "K102", "no memory for %d tokens", n);
    KilnStatus st = KILN_OK;
    for (int32_t i = 0; st == KILN_OK && i < row->n_parallel; i++) {
        for (int32_t k = 0; k < n; k++)
            prompt[k] = (int32_t)random_below(&random, vocab);
        Request q = {.prompt = prompt,
                     .n_prompt = n,
                     .n_predict = most_tokens(row),
                     .sample = {.top_p = 1},
                     .ignore_stop = true,
                     .on_token = on_token,
                     .user = rep};
        st = engine_submit(b->x.engine, &q, &rep->requests[i], b->diag);
    }
    free(prompt);
    return st;
}

static KilnStatus step(Bench *b, bool *busy)
{
    return engine_step(b->x.engine, busy, b->diag);
}

/// Steps before the clock: the depth, and for generation the first id of every sequence.
static KilnStatus step_to_start(Bench *b, const Rep *rep)
{
    const BenchRow *row = rep->row;
    bool busy = true;
    KilnStatus st = KILN_OK;
    if (row->n_prompt) // check_depths: chunks end where the depth does
        for (int32_t i = 0; i < row->n_depth / row->n_batch; i++)
            TRY(step(b, &busy));
    else if (row->n_depth)
        while (rep->n_first < row->n_parallel && busy && !bench_interrupted())
            TRY(step(b, &busy));
done:
    return st;
}

static KilnStatus step_timed(Bench *b, const Rep *rep)
{
    const BenchRow *row = rep->row;
    bool busy = true;
    KilnStatus st = KILN_OK;
    while (row->n_prompt && rep->n_first < row->n_parallel && busy && !bench_interrupted())
        TRY(step(b, &busy));
    for (int32_t i = 0; i < row->n_gen && !bench_interrupted(); i++)
        TRY(step(b, &busy));
done:
    return st;
}

/// What a row's warm-up runs: its prompt behind at most one chunk of depth, a few steps. A depth is filled to make keys
/// and values that a step reads; the code and the memory that its chunks run in are those of the first chunk.
static BenchRow *warm_up_of(const Bench *b, const BenchRow *row)
{
    BenchRow *warm = arena_new(b->arena, BenchRow);
    *warm = *row;
    warm->n_depth = MIN(row->n_depth, row->n_batch);
    warm->n_gen = MIN(row->n_gen, 4);
    return warm;
}

/// `index` -1: a warm-up, whose times are not kept.
static KilnStatus run_once(Bench *b, BenchRow *row, int32_t index)
{
    KilnStatus st = KILN_OK;
    char hex[33];
    Rep rep = {.row = row,
               .requests = arena_array(b->arena, int32_t, row->n_parallel),
               .vocab = b->x.model->facts.vocab};
    memset(rep.requests, 0xFF, (size_t)row->n_parallel * sizeof *rep.requests);
    TRY(submit_all(b, &rep));
    rep.begin = seconds_now();
    TRY(step_to_start(b, &rep));
    double start = seconds_now();
    TRY(step_timed(b, &rep));
    double end = seconds_now();
    if (rep.is_wrong)
        TRY(fail(b->diag, KILN_ERR_DEVICE, "K407", "%s: an id is outside the vocabulary",
                 row->test));
    hash_hex(hasher_finish(&rep.ids), hex);
    if (!bench_interrupted() && row->ids[0] && strcmp(row->ids, hex) != 0)
        b->ids_differ = true, st = fail(b->diag, KILN_ERR_DEVICE, "",
                                        "%s: two repetitions gave different ids", row->test);
    if (st != KILN_OK) goto done;
    memcpy(row->ids, hex, sizeof hex);
    if (index >= 0 && !bench_interrupted()) {
        row->seconds[index] = end - start;
        row->ttft[index] = rep.first_token - rep.begin;
        row->n_reps = index + 1;
    }
done:
    for (int32_t i = 0; i < row->n_parallel; i++) {
        engine_cancel(b->x.engine, rep.requests[i]);
        engine_forget(b->x.engine, rep.requests[i]);
    }
    return st;
}

// ---- one row ------------------------------------------------------------------------------------

static size_t status_field(const char *name)
{
    char line[160];
    unsigned long long kib = 0;
    size_t len = strlen(name);
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, name, len) && line[len] == ':') kib = strtoull(line + len + 1, NULL, 10);
    if (f) fclose(f);
    return (size_t)kib << 10;
}

/// From here on VmHWM is the peak of what follows. Where that is not allowed it is the peak of the process.
static void reset_peak(void)
{
    FILE *f = fopen("/proc/self/clear_refs", "w");
    if (!f) return;
    fputs("5", f);
    fclose(f);
}

static KilnStatus open_engine(Bench *b, const BenchRow *row)
{
    KilnStatus st = KILN_OK;
    Settings s = *b->s;
    EngineOptions options;
    s.cache_k = row->type_k;
    s.cache_v = row->type_v;
    s.ubatch = row->n_batch;
    s.ctx_size =
        round_up(MAX(row->n_depth + row->n_prompt, 1) + most_tokens(row) + 1, MAX(s.page_size, 1));
    TRY(session_options(&s, row->n_parallel, &options, b->diag));
    TRY(session_engine(&b->x, &options, b->diag));
done:
    return st;
}

static KilnStatus measure_row(Bench *b, BenchRow *row)
{
    KilnStatus st = KILN_OK;
    const MemoryPlan *plan;
    EngineStats stats;
    row->test = test_name(b->arena, row);
    reset_peak();
    TRY(open_engine(b, row));
    show_messages(b->diag);
    if (!b->load_seconds) b->load_seconds = b->x.load_seconds;
    row->load_seconds = b->load_seconds;
    if (!b->s->no_warmup) TRY(run_once(b, warm_up_of(b, row), -1));
    for (int32_t i = 0; i < b->s->repetitions && !bench_interrupted(); i++) {
        bench_progress(b->s, row->test, i + 1, (int32_t)b->s->repetitions);
        TRY(run_once(b, row, i));
    }
    bench_progress(b->s, NULL, 0, 0);
    row->rss = status_field("VmHWM");
    plan = engine_memory(b->x.engine);
    engine_stats(b->x.engine, &stats);
    row->weights = plan->weights;
    row->kv = plan->kv;
    row->activations = stats.activation_bytes + plan->step;
    row->ceiling = b->ceiling;
    bench_meter_row(&b->meter, &row->ceiling);
    row->tokens = (double)row->n_parallel * (row->n_prompt + row->n_gen);
    count_row(b, row);
    if (row->n_reps) bench_report_row(b->report, row);
done:
    engine_close(b->x.engine);
    b->x.engine = NULL;
    return st;
}

// ---- all rows -----------------------------------------------------------------------------------

static BenchRow *row_like(Bench *b, const BenchRow *like, int64_t n_prompt, int64_t n_gen)
{
    BenchRow *row = arena_new(b->arena, BenchRow);
    *row = *like;
    row->n_prompt = (int32_t)n_prompt;
    row->n_gen = (int32_t)n_gen;
    return row;
}

/// Prompts, then generation, then pairs: the order of llama-bench.
static KilnStatus run_tests(Bench *b, const Plan *p, const BenchRow *like)
{
    KilnStatus st = KILN_OK;
    for (int32_t i = 0; i < p->prompts.n && !bench_interrupted(); i++)
        if (p->prompts.v[i]) TRY(measure_row(b, row_like(b, like, p->prompts.v[i], 0)));
    for (int32_t i = 0; i < p->gens.n && !bench_interrupted(); i++)
        if (p->gens.v[i]) TRY(measure_row(b, row_like(b, like, 0, p->gens.v[i])));
    for (int32_t i = 0; i < p->pgs.n && !bench_interrupted(); i++)
        TRY(measure_row(b, row_like(b, like, p->pgs.v[2 * i], p->pgs.v[2 * i + 1])));
done:
    return st;
}

/// Every combination of what does not need another device.
static KilnStatus run_grid(Bench *b, const Plan *p, BenchRow *like)
{
    KilnStatus st = KILN_OK;
    int32_t n_ctv = MAX(p->n_ctv, 1);
    int64_t n =
        (int64_t)p->parallel.n * p->n_ctk * n_ctv * p->ubatches.n * p->batches.n * p->depths.n;
    for (int64_t i = 0; i < n; i++) { // the last changes fastest
        int64_t at = i;
        like->n_depth = (int32_t)p->depths.v[at % p->depths.n], at /= p->depths.n;
        int64_t batch = p->batches.v[at % p->batches.n];
        at /= p->batches.n;
        like->n_ubatch = (int32_t)p->ubatches.v[at % p->ubatches.n], at /= p->ubatches.n;
        const char *v = p->n_ctv ? p->ctv[at % n_ctv] : NULL;
        at /= n_ctv;
        like->type_k = p->ctk[at % p->n_ctk], at /= p->n_ctk;
        like->type_v = v ? v : like->type_k;
        like->n_parallel = (int32_t)p->parallel.v[at];
        like->n_batch = (int32_t)MAX(MIN(batch, like->n_ubatch), like->n_parallel);
        if (strcmp(like->type_k, like->type_v) != 0)
            b->n_left_out++;
        else
            TRY(run_tests(b, p, like));
    }
done:
    return st;
}

static KilnStatus run_threads(Bench *b, const Plan *p, int64_t n_threads)
{
    KilnStatus st = KILN_OK;
    b->meter = (BenchMeter){0};
    Settings s = *b->s;
    s.threads = n_threads;
    TRY(session_device(&b->x, &s, b->arena, b->diag));
    TRY(session_model(&b->x, &s, b->diag));
    b->load_seconds = 0;
    bench_meter_open(&b->meter, &b->x, b->arena, &b->ceiling);
    const ModelFacts *m = &b->x.model->facts;
    const DeviceFacts *f = &b->x.dev->facts;
    BenchRow like = {.n_threads = f->n_threads,
                     .model = arena_printf(b->arena, "%s %s", m->name, m->weight_type),
                     .path = s.model,
                     .device = arena_strndup(b->arena, f->name, strlen(f->name)),
                     .device_model = arena_strndup(b->arena, f->model, strlen(f->model)),
                     .model_bytes = m->weight_bytes,
                     .n_params = m->n_params};
    TRY(run_grid(b, p, &like));
done:
    session_close(&b->x); // before the source that kernels came from
    source_close(b->meter.source);
    return st;
}

int bench_model(BenchReport *r, Diag *diag)
{
    KilnStatus st = KILN_OK;
    Plan plan = {0};
    Bench b = {.report = r, .s = r->s, .arena = r->arena, .diag = diag};
    if (read_plan(&b, &plan) != KILN_OK || check_depths(&b, &plan) != KILN_OK) return EXIT_USAGE;
    for (int32_t i = 0; st == KILN_OK && i < plan.threads.n && !bench_interrupted(); i++)
        st = run_threads(&b, &plan, plan.threads.v[i]);
    bench_report_end(r);
    if (b.n_left_out)
        say(r->s, "note: %d pair%s of -ctk and -ctv left out: keys and values have one type",
            b.n_left_out, b.n_left_out > 1 ? "s" : "");
    return b.ids_differ ? EXIT_CHECK : exit_of(st);
}
