#include "runtime/engine.h"

#include <stdio.h>
#include <time.h>

#include "runtime/engine_private.h"

static int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

// ---- opening ----------------------------------------------------------------------------------

/// 1 2 4 8 ... n_slots sequences; 16 64 256 512 1024 ... n_batch tokens.
static void make_buckets(Engine *e)
{
    for (int32_t n = 1, k = 0; k < MAX_BUCKETS; n *= 2, k++) {
        e->buckets[PHASE_DECODE][k].n = MIN(n, e->options.n_slots);
        e->n_buckets[PHASE_DECODE] = k + 1;
        if (n >= e->options.n_slots) break;
    }
    for (int32_t n = 16, k = 0; k < MAX_BUCKETS; n *= n < 256 ? 4 : 2, k++) {
        e->buckets[PHASE_PREFILL][k].n = MIN(n, e->options.n_batch);
        e->n_buckets[PHASE_PREFILL] = k + 1;
        if (n >= e->options.n_batch) break;
    }
}

KilnStatus engine_open(KernelCache *kernels, Model *m, const EngineOptions *options, Engine **out,
                       Diag *diag)
{
    KilnStatus st = KILN_OK;
    Device *dev = kernel_cache_device(kernels);
    *out = NULL;
    Engine *e = heap_new(dev->heap, Engine);
    if (!e) return fail(diag, KILN_ERR_NOMEM, "K102", "no memory for an engine");
    e->kernels = kernels;
    e->dev = dev;
    e->heap = dev->heap;
    e->model = m;
    e->options = engine_defaults(options);
    TRY(engine_plan(dev, m, options, &e->memory, diag));
    e->options.max_context = e->memory.max_context;
    make_buckets(e);
    if (!m->is_loaded) TRY(m->ops->load(m, kernels, diag));
    m->is_loaded = true;
    KvShape shape = engine_kv_shape(m, &e->options, e->options.max_context);
    TRY(kv_pool_open(dev, &shape, e->memory.kv, &e->kv, diag));
    int32_t logit_rows = e->options.all_logits ? e->options.n_batch : e->options.n_slots;
    size_t tables = dev->facts.has_stream ? kv_table_bytes(e->kv) : 0; // one copy per step
    TRY(batch_open_with(dev, e->options.n_batch, e->options.n_slots, logit_rows, m->facts.vocab,
                        tables, &e->batch, diag));
    if (tables) {
        void *host, *device;
        batch_room(e->batch, &host, &device);
        kv_use_tables(e->kv, host, device);
    }
    batch_buffers(e->batch, &e->step);
    kv_buffers(e->kv, &e->step);
    e->arena_bytes = e->memory.activations;
    TRY(device_alloc(dev, e->arena_bytes, "activations", &e->arena, diag));
    device_hide(dev, e->arena);
    e->slot_used = heap_array(e->heap, bool, e->options.n_slots);
    e->queue = heap_array(e->heap, Seq *, e->options.n_slots);
    if (!e->slot_used || !e->queue)
        TRY(fail(diag, KILN_ERR_NOMEM, "K102", "no memory for %d slots", e->options.n_slots));
    e->opened = dev->counters;
    *out = e;
    e = NULL;
done:
    engine_close(e);
    return st;
}

static void seq_free(Engine *e, Seq *q)
{
    heap_free(e->heap, q->tokens);
    heap_free(e->heap, q->stops);
    heap_free(e->heap, q);
}

void engine_close(Engine *e)
{
    if (!e) return;
    for (Seq *q = e->first, *next; q; q = next) {
        next = q->next;
        seq_free(e, q);
    }
    for (int32_t phase = 0; phase < 2; phase++)
        for (int32_t i = 0; i < e->n_buckets[phase]; i++)
            graph_free(e->buckets[phase][i].graph);
    device_free(e->dev, e->arena);
    kv_pool_close(e->kv);
    batch_close(e->batch);
    heap_free(e->heap, e->slot_used);
    heap_free(e->heap, e->queue);
    heap_free(e->heap, e);
}

// ---- graphs -----------------------------------------------------------------------------------

static KilnStatus record(Engine *e, Phase phase, Bucket *b, Diag *diag)
{
    KilnStatus st = KILN_OK;
    char name[48];
    Graph *g = NULL;
    StepShape shape = {.phase = phase,
                       .n_tokens = b->n,
                       .n_seqs = MIN(b->n, e->options.n_slots),
                       .max_context = e->options.max_context,
                       .all_logits = e->options.all_logits && phase == PHASE_PREFILL};
    snprintf(name, sizeof name, "%s %d", phase == PHASE_DECODE ? "decode" : "prefill", b->n);
    TRY(graph_new(e->dev, name, &g, diag));
    TRY(e->model->ops->record(e->model, g, &e->step, &shape, diag));
    graph_use_memory(g, e->arena, e->arena_bytes);
    TRY(graph_finish(g, diag));
    log_info(e->dev->log, "engine", "recorded %s launches=%d waves=%d bytes=%zu", name,
             graph_n_launches(g), graph_n_waves(g), graph_arena_bytes(g));
    b->graph = g;
    g = NULL;
done:
    graph_free(g);
    return st;
}

/// The smallest bucket that holds n; with `recorded`, of those already recorded (NULL: none).
static Bucket *bucket_for(Engine *e, Phase phase, int32_t n, bool recorded)
{
    for (int32_t i = 0; i < e->n_buckets[phase]; i++) {
        Bucket *b = &e->buckets[phase][i];
        if (b->n >= n && (b->graph || !recorded)) return b;
    }
    return NULL;
}

KilnStatus engine_graph(Engine *e, Phase phase, int32_t n, Graph **out, Diag *diag)
{
    Bucket *b = bucket_for(e, phase, n, false);
    *out = NULL;
    if (!b)
        return fail(diag, KILN_ERR_LIMIT, "K406", "no %s graph holds %d (the largest: %d)",
                    phase == PHASE_DECODE ? "decode" : "prefill", n,
                    e->buckets[phase][e->n_buckets[phase] - 1].n);
    KilnStatus st = b->graph ? KILN_OK : record(e, phase, b, diag);
    *out = b->graph;
    return st;
}

KilnStatus engine_warm(Engine *e, Diag *diag)
{
    for (int32_t phase = 0; phase < 2; phase++)
        for (int32_t i = e->n_buckets[phase] - 1; i >= 0; i--) {
            Graph *g;
            KilnStatus st = engine_graph(e, (Phase)phase, e->buckets[phase][i].n, &g, diag);
            if (st != KILN_OK) return st;
        }
    return KILN_OK;
}

/// Everything that a request may run through: its chunks, the full chunk when others run beside it, its decodes.
static KilnStatus prepare(Engine *e, int32_t n_prompt, int32_t n_others, Diag *diag)
{
    KilnStatus st = KILN_OK;
    Graph *g;
    int32_t batch = e->options.n_batch, rest = n_prompt % batch;
    if (n_prompt >= batch || (n_others && e->options.n_slots > 1))
        TRY(engine_graph(e, PHASE_PREFILL, batch, &g, diag));
    if (rest > 1) TRY(engine_graph(e, PHASE_PREFILL, rest, &g, diag));
    TRY(engine_graph(e, PHASE_DECODE, MIN(n_others + 1, e->options.n_slots), &g, diag));
done:
    return st;
}

// ---- requests ---------------------------------------------------------------------------------

static Seq *seq_find(const Engine *e, int32_t id)
{
    for (Seq *q = e->first; q; q = q->next)
        if (q->id == id) return q;
    return NULL;
}

static KilnStatus check_request(const Engine *e, const Request *r, Diag *diag)
{
    int32_t vocab = e->model->facts.vocab;
    if (r->n_prompt < 1) return fail(diag, KILN_ERR_INPUT, "K403", "the prompt has no tokens");
    if (r->n_prompt > e->options.max_context)
        return fail(diag, KILN_ERR_LIMIT, "K401", "prompt has %d tokens, the context is %d",
                    r->n_prompt, e->options.max_context);
    for (int32_t i = 0; i < r->n_prompt; i++)
        if (r->prompt[i] < 0 || r->prompt[i] >= vocab)
            return fail(diag, KILN_ERR_INPUT, "K403",
                        "token %d of the prompt is %d (expected 0 to %d)", i, r->prompt[i],
                        vocab - 1);
    if (r->prompt_logits && !e->options.all_logits)
        return fail(diag, KILN_ERR_INPUT, "K403",
                    "logits of all prompt positions were not asked for when the engine was opened");
    return sample_check(&r->sample, diag);
}

KilnStatus engine_submit(Engine *e, const Request *r, int32_t *id, Diag *diag)
{
    KilnStatus st = KILN_OK;
    Seq *q = NULL;
    *id = -1;
    TRY(check_request(e, r, diag));
    q = heap_new(e->heap, Seq);
    if (!q) TRY(fail(diag, KILN_ERR_NOMEM, "K102", "no memory for a request"));
    int64_t most = r->n_predict < 0 ? e->options.max_context : (int64_t)r->n_prompt + r->n_predict;
    q->cap_tokens = (int32_t)MIN(most, e->options.max_context) + 1;
    q->tokens = heap_array(e->heap, int32_t, q->cap_tokens);
    q->stops = heap_array(e->heap, int32_t, MAX(r->n_stop, 1));
    if (!q->tokens || !q->stops)
        TRY(fail(diag, KILN_ERR_NOMEM, "K102", "no memory for a request of %d tokens",
                 q->cap_tokens));
    int32_t n_others = 0;
    for (const Seq *o = e->first; o; o = o->next)
        n_others += o->state != SEQ_DONE;
    TRY(prepare(e, r->n_prompt, n_others, diag));
    memcpy(q->tokens, r->prompt, (size_t)r->n_prompt * sizeof(int32_t));
    if (r->n_stop > 0) memcpy(q->stops, r->stop_ids, (size_t)r->n_stop * sizeof(int32_t));
    q->request = *r;
    q->request.prompt = q->tokens;
    q->request.stop_ids = q->stops;
    q->n_tokens = r->n_prompt;
    q->slot = q->list = -1;
    q->id = *id = e->next_id++;
    if (e->last)
        e->last->next = q;
    else
        e->first = q;
    e->last = q;
    q = NULL;
done:
    if (q) seq_free(e, q);
    return st;
}

/// Gives slot and pages back; the tokens stay.
static void release(Engine *e, Seq *q)
{
    if (q->list >= 0) kv_list_free(e->kv, q->list);
    if (q->slot >= 0) e->slot_used[q->slot] = false;
    q->slot = q->list = -1;
    q->n_cached = q->in_batch = 0;
}

static void finish(Engine *e, Seq *q, FinishReason reason)
{
    release(e, q);
    q->state = SEQ_DONE;
    q->reason = reason;
}

void engine_cancel(Engine *e, int32_t id)
{
    Seq *q = seq_find(e, id);
    if (q && q->state != SEQ_DONE) finish(e, q, FINISH_CANCEL);
}

const int32_t *engine_tokens(const Engine *e, int32_t id, int32_t *n, FinishReason *reason)
{
    const Seq *q = seq_find(e, id);
    *n = q ? q->n_tokens - q->request.n_prompt : 0;
    if (reason) *reason = q ? q->reason : FINISH_NONE;
    return q ? q->tokens + q->request.n_prompt : NULL;
}

void engine_forget(Engine *e, int32_t id)
{
    Seq *q = seq_find(e, id), *before = NULL;
    if (!q || q->state != SEQ_DONE) return;
    for (Seq *o = e->first; o != q; o = o->next)
        before = o;
    if (before)
        before->next = q->next;
    else
        e->first = q->next;
    if (e->last == q) e->last = before;
    seq_free(e, q);
}

// ---- one step ---------------------------------------------------------------------------------

/// Entries that the cached tokens of `q`, those to be fed and one more will need.
static int32_t entries_for(const Engine *e, const Seq *q)
{
    return (int32_t)div_up(MIN(q->n_tokens + 1, e->options.max_context), e->options.page_len);
}

/// Entries promised to running sequences that they have not taken yet.
static int32_t entries_promised(const Engine *e)
{
    int32_t n = 0;
    for (const Seq *q = e->first; q; q = q->next)
        if (q->state == SEQ_RUNNING)
            n += MAX(entries_for(e, q) -
                         (int32_t)div_up(kv_list_len(e->kv, q->list), e->options.page_len),
                     0);
    return n;
}

/// Lets waiting requests in, oldest first, while there are a slot and pages for the whole prompt.
static void admit(Engine *e)
{
    int32_t slot = 0;
    for (Seq *q = e->first; q; q = q->next) {
        if (q->state != SEQ_WAITING) continue;
        while (slot < e->options.n_slots && e->slot_used[slot])
            slot++;
        if (slot == e->options.n_slots ||
            entries_for(e, q) > kv_free_entries(e->kv) - entries_promised(e))
            return;
        q->list = kv_list_new(e->kv, false);
        ASSERT(q->list >= 0);
        q->slot = slot;
        e->slot_used[slot] = true;
        kv_assign_all(e->kv, slot, q->list);
        q->state = SEQ_RUNNING;
        q->admitted = ++e->n_admitted;
    }
}

/// Sends the youngest running sequence that is not in the step, and is not `self`, back to the queue.
static bool preempt(Engine *e, const Seq *self)
{
    Seq *victim = NULL;
    for (Seq *q = e->first; q; q = q->next)
        if (q->state == SEQ_RUNNING && q != self && !q->in_batch &&
            (!victim || q->admitted > victim->admitted))
            victim = q;
    if (!victim) return false;
    release(e, victim);
    victim->state = SEQ_WAITING;
    e->stats.preemptions++;
    return true;
}

/// Adds up to `rows` tokens of q to the step, if there are pages or can be.
static void schedule(Engine *e, Seq *q, int32_t rows)
{
    int32_t n = MIN(q->n_tokens - q->n_cached, rows);
    while (kv_list_extend(e->kv, q->list, n) != KILN_OK) {
        if (preempt(e, q)) continue;
        if (batch_n_seqs(e->batch) == 0) finish(e, q, FINISH_LENGTH); // alone, and still no page
        return; // else: next step, when others are done
    }
    q->in_batch = n;
    q->batch_index = batch_n_seqs(e->batch);
    q->first_row = batch_n_tokens(e->batch);
    e->queue[q->batch_index] = q;
    batch_add(e->batch, &(BatchSeq){.slot = q->slot,
                                    .first_pos = q->n_cached,
                                    .n_tokens = n,
                                    .tokens = q->tokens + q->n_cached,
                                    .sample = q->request.sample});
}

/// Decodes first, one row each; then chunks of prompts, in order of submission, while there are rows.
static void build(Engine *e)
{
    batch_reset(e->batch);
    for (int32_t pass = 0; pass < 2; pass++)
        for (Seq *q = e->first; q; q = q->next) {
            int32_t room = e->options.n_batch - batch_n_tokens(e->batch);
            bool is_decode = q->n_tokens - q->n_cached == 1;
            if (q->state == SEQ_RUNNING && !q->in_batch && room > 0 && is_decode == (pass == 0))
                schedule(e, q, room);
        }
}

/// Copies logits of prompt positions to the request.
static void copy_logits(Engine *e, const Seq *q, bool every_row)
{
    int64_t vocab = e->model->facts.vocab;
    int32_t first = q->n_cached, end = MIN(q->n_cached + q->in_batch, q->request.n_prompt);
    if (!q->request.prompt_logits || first >= end) return;
    int64_t row = every_row ? q->first_row : q->batch_index;
    device_download(e->dev, q->request.prompt_logits + first * vocab, e->step.logits + row * vocab,
                    (size_t)((end - first) * vocab) * sizeof(float));
}

/// What a sampled token means for its sequence.
static KilnStatus accept(Engine *e, Seq *q, int32_t token, Diag *diag)
{
    const Request *r = &q->request;
    int32_t index = q->n_tokens - r->n_prompt;
    if (r->n_predict == 0) {
        finish(e, q, FINISH_LENGTH);
        return KILN_OK;
    }
    if (token < 0 || token >= e->model->facts.vocab) {
        finish(e, q, FINISH_ERROR);
        return fail(diag, KILN_ERR_DEVICE, "K407", "request %d: no logit at position %d is finite",
                    q->id, q->n_tokens - 1);
    }
    for (int32_t i = 0; i < r->n_stop && !r->ignore_stop; i++)
        if (r->stop_ids[i] == token) {
            finish(e, q, FINISH_STOP);
            return KILN_OK;
        }
    q->tokens[q->n_tokens++] = token;
    bool goes_on = !r->on_token || r->on_token(r->user, q->id, token, index);
    if (q->state == SEQ_DONE) return KILN_OK; // cancelled by its own callback
    if (!goes_on)
        finish(e, q, FINISH_STOP);
    else if (index + 1 == r->n_predict || q->n_tokens > e->options.max_context ||
             q->n_tokens == q->cap_tokens)
        finish(e, q, FINISH_LENGTH);
    return KILN_OK;
}

/// After the run: counts, logits, tokens.
static KilnStatus collect(Engine *e, Phase phase, const int32_t *ids, int64_t took_us, Diag *diag)
{
    KilnStatus st = KILN_OK;
    EngineStats *s = &e->stats;
    int32_t n = batch_n_seqs(e->batch);
    bool is_decode = true;
    size_t kv_bytes = 0;
    for (int32_t i = 0; i < n; i++) {
        Seq *q = e->queue[i];
        bool is_prompt = q->n_cached < q->request.n_prompt;
        is_decode &= !is_prompt;
        *(is_prompt ? &s->prefill_tokens : &s->decode_tokens) += q->in_batch;
        kv_bytes += (size_t)kv_list_len(e->kv, q->list) * e->memory.kv_per_token;
    }
    s->steps++;
    s->decode_steps += is_decode;
    *(is_decode ? &s->decode_us : &s->prefill_us) += took_us;
    if (is_decode) s->decode_bytes += (int64_t)(e->model->facts.token_bytes + kv_bytes);
    for (int32_t i = 0; i < n; i++) {
        Seq *q = e->queue[i];
        if (q->state != SEQ_RUNNING) continue; // cancelled by another's callback
        copy_logits(e, q, e->options.all_logits && phase == PHASE_PREFILL);
        q->n_cached += q->in_batch;
        q->in_batch = 0;
        if (q->n_cached < q->n_tokens) continue;
        KilnStatus one = accept(e, q, ids[i], diag);
        if (st == KILN_OK) st = one;
    }
    return st;
}

static KilnStatus run_batch(Engine *e, Diag *diag)
{
    KilnStatus st = KILN_OK;
    int32_t n_tokens = batch_n_tokens(e->batch), n_seqs = batch_n_seqs(e->batch);
    Phase phase = n_tokens == n_seqs ? PHASE_DECODE : PHASE_PREFILL;
    int32_t n = phase == PHASE_DECODE ? n_seqs : n_tokens;
    Bucket *b = bucket_for(e, phase, n, true);
    Graph *g = b ? b->graph : NULL;
    if (!g) TRY(engine_graph(e, phase, n, &g, diag));
    int64_t start = now_us();
    batch_upload_with(e->batch, kv_flush(e->kv));
    if (e->options.one_by_one)
        TRY(graph_run_timed(g, NULL, diag));
    else
        TRY(graph_run(g, diag));
    const int32_t *ids = batch_ids(e->batch); // the one place where the host waits
    TRY(device_check(e->dev, diag));
    TRY(collect(e, phase, ids, now_us() - start, diag));
done:
    return st;
}

KilnStatus engine_step(Engine *e, bool *busy, Diag *diag)
{
    KilnStatus st = KILN_OK;
    DeviceCounters before = e->dev->counters;
    *busy = false;
    admit(e);
    build(e);
    if (batch_n_seqs(e->batch)) st = run_batch(e, diag);
    const DeviceCounters *after = &e->dev->counters;
    e->stats.flow_records += after->records - before.records;
    e->stats.flow_compiles += after->compiles - before.compiles;
    e->stats.flow_allocations += after->allocations - before.allocations;
    for (Seq *q = e->first; q; q = q->next) {
        if (st != KILN_OK && q->state == SEQ_RUNNING && q->in_batch)
            finish(e, q, FINISH_ERROR); // the step is lost
        *busy |= q->state != SEQ_DONE;
    }
    return st;
}

KilnStatus engine_run(Engine *e, Diag *diag)
{
    bool busy = true;
    while (busy) {
        KilnStatus st = engine_step(e, &busy, diag);
        if (st != KILN_OK) return st;
    }
    return KILN_OK;
}

// ---- facts ------------------------------------------------------------------------------------

void engine_stats(const Engine *e, EngineStats *out)
{
    const DeviceCounters *now = &e->dev->counters;
    *out = e->stats;
    out->records = now->records - e->opened.records;
    out->compiles = now->compiles - e->opened.compiles;
    out->allocations = now->allocations - e->opened.allocations;
    for (const Seq *q = e->first; q; q = q->next) {
        out->n_running += q->state == SEQ_RUNNING;
        out->n_waiting += q->state == SEQ_WAITING;
    }
    out->kv_used_bytes = kv_used_bytes(e->kv);
    out->kv_total_bytes = e->memory.kv;
    out->weight_bytes = e->model->facts.weight_bytes;
    out->activation_bytes = e->arena_bytes;
}

const MemoryPlan *engine_memory(const Engine *e)
{
    return &e->memory;
}

KvPool *engine_kv(Engine *e)
{
    return e->kv;
}
