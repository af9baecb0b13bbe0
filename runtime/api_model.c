// runtime/api_model.c - the public API: models, tokens, engines.
#include <stdio.h>
#include <stdlib.h>

#include "runtime/api.h"
#include "runtime/engine.h"
#include "runtime/token/tokenizer.h"

struct KilnModel {
    KilnDevice *device;
    Model *model;
};

/// One request of an engine: its text as it grows.
typedef struct ApiRequest {
    struct ApiRequest *next;
    KilnEngine *engine;
    int32_t id, n_prompt;
    TokenStream stream;
    StrBuf text;
    KilnTextFn on_text;
    void *user;
} ApiRequest;

struct KilnEngine {
    KilnModel *model;
    Engine *engine;
    int32_t *ends; ///< ids that end generation
    int32_t n_ends;
    ApiRequest *requests;
};

// ---- models -----------------------------------------------------------------------------------

KilnStatus kiln_model_load(KilnDevice *device, const char *path, KilnModel **out, KilnError *error)
{
    KilnStatus st = KILN_OK;
    Diag *diag = api_begin(error);
    *out = NULL;
    KilnModel *m = calloc(1, sizeof *m);
    if (!m) TRY(fail(diag, KILN_ERR_NOMEM, "K102", "no memory for a model"));
    m->device = device;
    ModelOptions options = {.use_mmap = true, .log = &device->log};
    TRY(model_open(path, &options, &m->model, diag));
    *out = m;
    m = NULL;
done:
    free(m);
    return api_end(error, st);
}

void kiln_model_free(KilnModel *m)
{
    if (!m) return;
    pthread_mutex_lock(&m->device->lock);
    model_close(m->model);
    pthread_mutex_unlock(&m->device->lock);
    free(m);
}

KilnStatus kiln_model_info(const KilnModel *m, KilnModelInfo *info, KilnError *error)
{
    const ModelFacts *f = &m->model->facts;
    const Tokenizer *tok = m->model->tokenizer;
    KilnModelInfo answer = {.n_layers = f->n_layers,
                            .n_heads = f->n_heads,
                            .n_kv_heads = f->n_kv_heads,
                            .head_dim = f->head_dim,
                            .hidden = f->hidden,
                            .vocab = f->vocab,
                            .max_context = f->max_context,
                            .n_params = f->n_params,
                            .weight_bytes = f->weight_bytes,
                            .bos = tok ? tokenizer_bos(tok) : -1,
                            .eos = tok ? tokenizer_eos(tok) : -1};
    Diag *diag = api_begin(error);
    snprintf(answer.name, sizeof answer.name, "%s", f->name);
    snprintf(answer.arch, sizeof answer.arch, "%s", f->arch);
    snprintf(answer.weight_type, sizeof answer.weight_type, "%s", f->weight_type);
    return api_end(error, api_answer(info, &answer, sizeof answer, diag));
}

static KilnStatus need_tokenizer(const KilnModel *m, Diag *diag)
{
    if (m->model->tokenizer) return KILN_OK;
    return fail(diag, KILN_ERR_UNSUPPORTED, "K220",
                "%s: the model has no tokenizer: hand in token ids", m->model->facts.name);
}

KilnStatus kiln_tokenize(const KilnModel *m, const char *text, size_t len, bool add_special,
                         int32_t **out, int32_t *n, KilnError *error)
{
    KilnStatus st = KILN_OK;
    Diag *diag = api_begin(error);
    TokenIds ids = {0};
    Arena scratch;
    arena_init(&scratch, heap_default());
    *out = NULL;
    *n = 0;
    TRY(need_tokenizer(m, diag));
    uint32_t flags = add_special ? ENCODE_ADD_SPECIAL | ENCODE_PARSE_SPECIAL : ENCODE_PLAIN;
    TRY(tokenizer_encode(m->model->tokenizer, (Str){text, len}, flags, &scratch, &ids, diag));
    *out = calloc((size_t)MAX(ids.len, 1), sizeof **out);
    if (!*out) TRY(fail(diag, KILN_ERR_NOMEM, "K102", "no memory for %d tokens", ids.len));
    if (ids.len) memcpy(*out, ids.data, (size_t)ids.len * sizeof **out);
    *n = ids.len;
done:
    arena_reset(&scratch);
    return api_end(error, st);
}

KilnStatus kiln_detokenize(const KilnModel *m, const int32_t *ids, int32_t n, char **out,
                           KilnError *error)
{
    KilnStatus st = KILN_OK;
    Diag *diag = api_begin(error);
    StrBuf text = {0};
    *out = NULL;
    TRY(need_tokenizer(m, diag));
    tokenizer_decode(m->model->tokenizer, ids, n, true, &text);
    strbuf_add(&text, "", 0);
    if (text.failed)
        TRY(fail(diag, KILN_ERR_NOMEM, "K102", "no memory for the text of %d tokens", n));
    *out = text.data ? text.data : calloc(1, 1);
    text = (StrBuf){0};
done:
    strbuf_free(&text);
    return api_end(error, st);
}

const char *kiln_token_piece(const KilnModel *m, int32_t id, size_t *len)
{
    Str piece = m->model->tokenizer ? tokenizer_piece(m->model->tokenizer, id) : STR("");
    *len = piece.len;
    return piece.data ? piece.data : "";
}

// ---- engines ----------------------------------------------------------------------------------

static KilnStatus engine_words(const KilnEngineOptions *theirs, EngineOptions *out, Diag *diag)
{
    KilnEngineOptions o = {0};
    KilnStatus st = api_options(&o, sizeof o, theirs, diag);
    if (st != KILN_OK) return st;
    *out = (EngineOptions){.n_slots = o.n_slots,
                           .max_context = o.max_context,
                           .n_batch = o.n_batch,
                           .page_len = o.page_len,
                           .mem_fraction = o.mem_fraction,
                           .all_logits = o.all_logits};
    return kv_format_parse(o.kv_type ? o.kv_type : "f32", &out->kv_format, diag);
}

KilnStatus kiln_memory_plan(const KilnModel *m, const KilnEngineOptions *options,
                            KilnMemoryPlan *plan, KilnError *error)
{
    KilnStatus st = KILN_OK;
    Diag *diag = api_begin(error);
    EngineOptions o;
    MemoryPlan p = {0};
    TRY(engine_words(options, &o, diag));
    pthread_mutex_lock(&m->device->lock);
    st = engine_plan(m->device->dev, m->model, &o, &p, diag);
    pthread_mutex_unlock(&m->device->lock);
    KilnMemoryPlan answer = {.weights = p.weights,
                             .kv = p.kv,
                             .activations = p.activations,
                             .step = p.step,
                             .available = p.available,
                             .kv_per_token = p.kv_per_token,
                             .max_context = p.max_context,
                             .n_slots = p.n_slots,
                             .fits = p.fits};
    KilnStatus given = api_answer(plan, &answer, sizeof answer, diag);
    if (st == KILN_OK) st = given;
done:
    return api_end(error, st);
}

/// The ids after which the model says nothing more.
static KilnStatus find_ends(KilnEngine *e, Diag *diag)
{
    const Tokenizer *tok = e->model->model->tokenizer;
    if (!tok) return KILN_OK;
    for (int32_t pass = 0; pass < 2; pass++) { // count, then fill
        e->n_ends = 0;
        for (int32_t id = 0; id < tokenizer_n_ids(tok); id++) {
            if (!tokenizer_is_eog(tok, id)) continue;
            if (pass) e->ends[e->n_ends] = id;
            e->n_ends++;
        }
        if (!pass) e->ends = calloc((size_t)MAX(e->n_ends, 1), sizeof *e->ends);
        if (!e->ends) return fail(diag, KILN_ERR_NOMEM, "K102", "no memory for an engine");
    }
    return KILN_OK;
}

KilnStatus kiln_engine_create(KilnModel *m, const KilnEngineOptions *options, KilnEngine **out,
                              KilnError *error)
{
    KilnStatus st = KILN_OK;
    Diag *diag = api_begin(error);
    EngineOptions o;
    KilnEngine *e = NULL;
    *out = NULL;
    pthread_mutex_lock(&m->device->lock);
    TRY(engine_words(options, &o, diag));
    e = calloc(1, sizeof *e);
    if (!e) TRY(fail(diag, KILN_ERR_NOMEM, "K102", "no memory for an engine"));
    e->model = m;
    TRY(find_ends(e, diag));
    TRY(engine_open(m->device->kernels, m->model, &o, &e->engine, diag));
    *out = e;
    e = NULL;
done:
    pthread_mutex_unlock(&m->device->lock);
    kiln_engine_free(e);
    return api_end(error, st);
}

static void request_free(ApiRequest *r)
{
    strbuf_free(&r->text);
    free(r);
}

void kiln_engine_free(KilnEngine *e)
{
    if (!e) return;
    pthread_mutex_lock(&e->model->device->lock);
    engine_close(e->engine);
    pthread_mutex_unlock(&e->model->device->lock);
    for (ApiRequest *r = e->requests, *next; r; r = next) {
        next = r->next;
        request_free(r);
    }
    free(e->ends);
    free(e);
}

/// A token becomes text when its characters are whole.
static bool on_token(void *user, int32_t id, int32_t token, int32_t index)
{
    ApiRequest *r = user;
    size_t before = r->text.len;
    (void)id;
    (void)index;
    if (r->engine->model->model->tokenizer) token_stream_push(&r->stream, token, &r->text);
    if (!r->on_text) return true;
    size_t fresh = r->text.len - before;
    return r->on_text(r->user, fresh ? r->text.data + before : "", fresh, token);
}

/// The prompt as ids: the caller's, or those of its text. @param ids in `arena`
static KilnStatus prompt_of(const KilnEngine *e, const KilnRequest *r, Arena *arena, TokenIds *ids,
                            Diag *diag)
{
    if (!r->prompt) {
        for (int32_t i = 0; i < r->n_tokens; i++)
            vec_push(arena, ids, r->tokens[i]);
        return KILN_OK;
    }
    KilnStatus st = need_tokenizer(e->model, diag);
    if (st != KILN_OK) return st;
    return tokenizer_encode(e->model->model->tokenizer, str_of(r->prompt),
                            ENCODE_ADD_SPECIAL | ENCODE_PARSE_SPECIAL, arena, ids, diag);
}

static KilnStatus submit(KilnEngine *e, const KilnRequest *theirs, ApiRequest **out, Diag *diag)
{
    KilnStatus st = KILN_OK;
    KilnRequest r = {0};
    TokenIds ids = {0};
    Arena scratch;
    arena_init(&scratch, heap_default());
    *out = NULL;
    ApiRequest *a = calloc(1, sizeof *a);
    if (!a) TRY(fail(diag, KILN_ERR_NOMEM, "K102", "no memory for a request"));
    TRY(api_options(&r, sizeof r, theirs, diag));
    TRY(prompt_of(e, &r, &scratch, &ids, diag));
    *a = (ApiRequest){.next = e->requests,
                      .engine = e,
                      .n_prompt = ids.len,
                      .on_text = r.on_text,
                      .user = r.user};
    if (e->model->model->tokenizer)
        token_stream_init(&a->stream, e->model->model->tokenizer, false);
    Request q = {.prompt = ids.data,
                 .n_prompt = ids.len,
                 .n_predict = r.n_predict,
                 .sample = {.temperature = r.sampling.temperature,
                            .top_k = r.sampling.top_k,
                            .min_p = r.sampling.min_p,
                            .top_p = r.sampling.top_p == 0 ? 1 : r.sampling.top_p,
                            .seed = r.sampling.seed},
                 .stop_ids = e->ends,
                 .n_stop = e->n_ends,
                 .ignore_stop = r.ignore_end,
                 .on_token = on_token,
                 .user = a};
    TRY(engine_submit(e->engine, &q, &a->id, diag));
    *out = e->requests = a;
    a = NULL;
done:
    if (a) request_free(a);
    arena_reset(&scratch);
    return st;
}

KilnStatus kiln_engine_submit(KilnEngine *e, const KilnRequest *request, int32_t *id,
                              KilnError *error)
{
    Diag *diag = api_begin(error);
    ApiRequest *a;
    pthread_mutex_lock(&e->model->device->lock);
    KilnStatus st = submit(e, request, &a, diag);
    pthread_mutex_unlock(&e->model->device->lock);
    *id = a ? a->id : -1;
    return api_end(error, st);
}

static KilnStatus step(KilnEngine *e, bool *busy, Diag *diag)
{
    pthread_mutex_lock(&e->model->device->lock);
    KilnStatus st = engine_step(e->engine, busy, diag);
    pthread_mutex_unlock(&e->model->device->lock);
    return st;
}

KilnStatus kiln_engine_step(KilnEngine *e, bool *busy, KilnError *error)
{
    Diag *diag = api_begin(error);
    return api_end(error, step(e, busy, diag));
}

static ApiRequest *find(const KilnEngine *e, int32_t id)
{
    for (ApiRequest *r = e->requests; r; r = r->next)
        if (r->id == id) return r;
    return NULL;
}

KilnStatus kiln_engine_poll(const KilnEngine *e, int32_t id, KilnProgress *progress,
                            KilnError *error)
{
    Diag *diag = api_begin(error);
    const ApiRequest *r = find(e, id);
    if (!r) return api_end(error, fail(diag, KILN_ERR_INPUT, "K605", "there is no request %d", id));
    FinishReason reason;
    KilnProgress answer = {.n_prompt = r->n_prompt, .text = r->text.data ? r->text.data : ""};
    answer.tokens = engine_tokens(e->engine, id, &answer.n_tokens, &reason);
    answer.finish = (KilnFinish)reason; // the same order
    return api_end(error, api_answer(progress, &answer, sizeof answer, diag));
}

void kiln_engine_cancel(KilnEngine *e, int32_t id)
{
    engine_cancel(e->engine, id);
}

void kiln_engine_forget(KilnEngine *e, int32_t id)
{
    FinishReason reason;
    int32_t n;
    engine_tokens(e->engine, id, &n, &reason);
    if (reason == FINISH_NONE) return;
    engine_forget(e->engine, id);
    for (ApiRequest **at = &e->requests; *at; at = &(*at)->next) {
        if ((*at)->id != id) continue;
        ApiRequest *gone = *at;
        *at = gone->next;
        request_free(gone);
        return;
    }
}

KilnStatus kiln_generate(KilnEngine *e, const KilnRequest *request, char **out, KilnError *error)
{
    KilnStatus st = KILN_OK;
    Diag *diag = api_begin(error);
    ApiRequest *a = NULL;
    bool busy = true;
    int32_t n;
    FinishReason reason = FINISH_NONE;
    if (out) *out = NULL;
    pthread_mutex_lock(&e->model->device->lock);
    st = submit(e, request, &a, diag);
    pthread_mutex_unlock(&e->model->device->lock);
    if (st != KILN_OK) return api_end(error, st);
    while (reason == FINISH_NONE && busy) {
        TRY(step(e, &busy, diag));
        engine_tokens(e->engine, a->id, &n, &reason);
    }
    if (e->model->model->tokenizer) token_stream_finish(&a->stream, &a->text);
    strbuf_add(&a->text, "", 0);
    if (a->text.failed) TRY(fail(diag, KILN_ERR_NOMEM, "K102", "no memory for the text"));
    if (out) {
        *out = a->text.data ? a->text.data : calloc(1, 1);
        a->text = (StrBuf){0};
    }
done:
    engine_cancel(e->engine, a->id);
    kiln_engine_forget(e, a->id);
    return api_end(error, st);
}

KilnStatus kiln_logits(KilnEngine *e, const int32_t *tokens, int32_t n, float *out,
                       KilnError *error)
{
    KilnStatus st = KILN_OK;
    Diag *diag = api_begin(error);
    int32_t id = -1, count;
    bool busy = true;
    FinishReason reason = FINISH_NONE;
    Request q = {.prompt = tokens, .n_prompt = n, .sample = {.top_p = 1}, .prompt_logits = out};
    pthread_mutex_lock(&e->model->device->lock);
    st = engine_submit(e->engine, &q, &id, diag);
    pthread_mutex_unlock(&e->model->device->lock);
    while (st == KILN_OK && reason == FINISH_NONE && busy) {
        st = step(e, &busy, diag);
        engine_tokens(e->engine, id, &count, &reason);
    }
    engine_cancel(e->engine, id);
    engine_forget(e->engine, id);
    return api_end(error, st);
}

KilnStatus kiln_engine_stats(const KilnEngine *e, KilnEngineStats *stats, KilnError *error)
{
    Diag *diag = api_begin(error);
    EngineStats s;
    engine_stats(e->engine, &s);
    KilnEngineStats answer = {.steps = s.steps,
                              .prefill_tokens = s.prefill_tokens,
                              .decode_tokens = s.decode_tokens,
                              .decode_steps = s.decode_steps,
                              .preemptions = s.preemptions,
                              .prefill_us = s.prefill_us,
                              .decode_us = s.decode_us,
                              .decode_bytes = s.decode_bytes,
                              .records = s.records,
                              .compiles = s.compiles,
                              .flow_records = s.flow_records,
                              .flow_compiles = s.flow_compiles,
                              .flow_allocations = s.flow_allocations,
                              .n_running = s.n_running,
                              .n_waiting = s.n_waiting,
                              .kv_used_bytes = s.kv_used_bytes,
                              .kv_total_bytes = s.kv_total_bytes};
    return api_end(error, api_answer(stats, &answer, sizeof answer, diag));
}
