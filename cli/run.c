// cli/run.c - kiln run: prompts in, text out as it is made, a summary of what it cost.
//
//   one prompt        text streams to stdout
//   --prompts-file    one JSON object per line in, one per line out, in order; all of them in one ragged batch
//   --json            one document with ids, text, timings
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "cli/session.h"
#include "runtime/format/json.h"
#include "runtime/token/tokenizer.h"

typedef struct Answer {
    const char *prompt;
    TokenIds ids;    ///< of the prompt
    TokenIds tokens; ///< generated
    StrBuf text;     ///< generated
    TokenStream stream;
    FinishReason reason;
    int32_t request;
    float *logits; ///< [ids.len][vocab] or NULL
} Answer;

typedef struct Run {
    const Settings *s;
    Arena *arena;
    Diag *diag;
    Session x;
    VEC(Answer *) answers;
    uint64_t seed;
    bool streams;       ///< text goes to stdout as it is made
    double first_token; ///< seconds_now() of the first token, 0 before
    double begin, end;
} Run;

static volatile sig_atomic_t interrupts;

static void on_interrupt(int number)
{
    (void)number;
    if (++interrupts > 1) _exit(EXIT_INTERRUPT);
}

static void add_prompt(Run *r, const char *text)
{
    Answer *a = arena_new(r->arena, Answer);
    a->prompt = text;
    vec_push(r->arena, &r->answers, a);
}

/// One JSON object per line: {"prompt": "..."}. Blank lines are skipped.
static KilnStatus read_prompts(Run *r, const char *path)
{
    KilnStatus st = KILN_OK;
    StrBuf text = {0};
    JsonDoc doc = {0};
    TRY(file_read(path, &text, r->diag));
    int32_t number = 0;
    for (size_t at = 0; at < text.len;) {
        size_t len = strcspn(text.data + at, "\n");
        Str line = {text.data + at, len};
        at += len + 1;
        number++;
        if (strspn(line.data, " \t\r") >= len) continue;
        const char *where = arena_printf(r->arena, "%s line %d", path, number);
        TRY(jsondoc_read(line, where, JSON_STRICT, heap_default(), &doc, r->diag));
        Str prompt = {0};
        TRY(jval_str(&doc, doc.root, "prompt", &prompt, r->diag));
        if (!prompt.data)
            TRY(fail(r->diag, KILN_ERR_INPUT, "K208", "%s: prompt: is missing", where));
        add_prompt(r, arena_strndup(r->arena, prompt.data, prompt.len));
        jsondoc_close(&doc);
        doc = (JsonDoc){0};
    }
    if (!r->answers.len) TRY(fail(r->diag, KILN_ERR_INPUT, "K208", "%s: holds no prompt", path));
done:
    jsondoc_close(&doc);
    strbuf_free(&text);
    return st;
}

static KilnStatus read_stdin(StrBuf *out, Diag *diag)
{
    char chunk[4096];
    ssize_t n;
    while ((n = read(STDIN_FILENO, chunk, sizeof chunk)) > 0)
        strbuf_add(out, chunk, (size_t)n);
    return n < 0 ? fail(diag, KILN_ERR_IO, "K101", "standard input cannot be read: %s",
                        strerror(errno))
                 : KILN_OK;
}

static KilnStatus collect_prompts(Run *r)
{
    KilnStatus st = KILN_OK;
    const Settings *s = r->s;
    StrBuf text = {0};
    int32_t n_ways = (s->prompt != NULL) + (s->prompt_file != NULL) + (s->prompts_file != NULL);
    if (n_ways != 1)
        TRY(fail(r->diag, KILN_ERR_INPUT, "",
                 n_ways ? "give one of -p, -f and --prompts-file"
                        : "no prompt: give -p TEXT, -f FILE or --prompts-file FILE"));
    if (s->prompts_file) TRY(read_prompts(r, s->prompts_file));
    if (s->prompt) add_prompt(r, s->prompt);
    if (s->prompt_file) {
        if (!strcmp(s->prompt_file, "-"))
            TRY(read_stdin(&text, r->diag));
        else
            TRY(file_read(s->prompt_file, &text, r->diag));
        add_prompt(r, arena_strndup(r->arena, text.data ? text.data : "", text.len));
    }
done:
    strbuf_free(&text);
    return st;
}

static bool on_token(void *user, int32_t request, int32_t token, int32_t index)
{
    Run *r = user;
    (void)index;
    if (!r->first_token) r->first_token = seconds_now();
    for (int32_t i = 0; i < r->answers.len; i++) {
        Answer *a = r->answers.data[i];
        if (a->request != request) continue;
        size_t had = a->text.len;
        vec_push(r->arena, &a->tokens, token);
        token_stream_push(&a->stream, token, &a->text);
        if (r->streams && a->text.len > had) {
            StrBuf fresh = {.data = a->text.data + had, .len = a->text.len - had};
            if (!print_out(&fresh)) return false; // the reader is gone
        }
    }
    return !interrupts;
}

static KilnStatus encode(Run *r, Answer *a)
{
    const Tokenizer *tok = r->x.model->tokenizer;
    if (!tok) return fail(r->diag, KILN_ERR_INPUT, "K220", "%s: has no tokenizer", r->x.path);
    KilnStatus st =
        tokenizer_encode(tok, str_of(a->prompt), ENCODE_ADD_SPECIAL, r->arena, &a->ids, r->diag);
    if (st == KILN_OK && !a->ids.len)
        st = fail(r->diag, KILN_ERR_INPUT, "K403", "the prompt is empty");
    token_stream_init(&a->stream, tok, false);
    return st;
}

static KilnStatus submit(Run *r, Answer *a, uint64_t seed)
{
    const Settings *s = r->s;
    const Tokenizer *tok = r->x.model->tokenizer;
    int32_t vocab = r->x.model->facts.vocab, stops[64], n_stops = 0;
    for (int32_t id = 0; id < tokenizer_n_ids(tok) && n_stops < COUNT_OF(stops); id++)
        if (tokenizer_is_eog(tok, id)) stops[n_stops++] = id;
    if (s->dump_logits) a->logits = arena_array(r->arena, float, (int64_t)a->ids.len *vocab);
    Request q = {.prompt = a->ids.data,
                 .n_prompt = a->ids.len,
                 .n_predict = (int32_t)s->predict,
                 .sample = {.temperature = (float)s->temp,
                            .top_p = (float)s->top_p,
                            .top_k = (int32_t)s->top_k,
                            .seed = seed},
                 .stop_ids = stops,
                 .n_stop = n_stops,
                 .ignore_stop = s->ignore_eos,
                 .on_token = on_token,
                 .user = r,
                 .prompt_logits = a->logits};
    return engine_submit(r->x.engine, &q, &a->request, r->diag);
}

static KilnStatus generate(Run *r)
{
    KilnStatus st = KILN_OK;
    for (int32_t i = 0; i < r->answers.len; i++)
        TRY(submit(r, r->answers.data[i], r->seed + (uint64_t)i));
    r->begin = seconds_now();
    for (bool busy = true; busy && !interrupts;)
        TRY(engine_step(r->x.engine, &busy, r->diag));
    r->end = seconds_now();
    for (int32_t i = 0; i < r->answers.len; i++) {
        Answer *a = r->answers.data[i];
        size_t had = a->text.len;
        int32_t n;
        token_stream_finish(&a->stream, &a->text);
        engine_tokens(r->x.engine, a->request, &n, &a->reason);
        StrBuf rest = {.data = a->text.data + had, .len = a->text.len - had};
        if (r->streams && rest.len) print_out(&rest);
    }
done:
    return st;
}

/// NumPy's .npy, version 1: f32 [rows, vocab] in C order.
static KilnStatus dump_logits(Run *r)
{
    const Answer *a = r->answers.data[0];
    StrBuf file = {0};
    char header[128];
    int n = snprintf(header, sizeof header,
                     "{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }", a->ids.len,
                     r->x.model->facts.vocab);
    enum { PREFIX = 10, TOTAL = 128 };
    strbuf_add(&file, "\x93NUMPY\x01\x00", 8);
    strbuf_add(&file, (const char[]){TOTAL - PREFIX, 0}, 2);
    strbuf_add(&file, header, (size_t)n);
    while (file.len < TOTAL - 1)
        strbuf_putc(&file, ' ');
    strbuf_putc(&file, '\n');
    strbuf_add(&file, (const char *)a->logits,
               (size_t)a->ids.len * (size_t)r->x.model->facts.vocab * sizeof(float));
    KilnStatus st = file.failed
                        ? fail(r->diag, KILN_ERR_NOMEM, "K102", "%s: no memory", r->s->dump_logits)
                        : file_replace(r->s->dump_logits, file.data, file.len, r->diag);
    strbuf_free(&file);
    return st;
}

static const char *reason_name(FinishReason reason)
{
    static const char *const names[] = {"interrupted", "stop", "length", "cancel", "error"};
    return names[reason];
}

static void json_ids(StrBuf *out, const char *key, const TokenIds *ids)
{
    strbuf_printf(out, "\"%s\": [", key);
    for (int32_t i = 0; i < ids->len; i++)
        strbuf_printf(out, i ? ", %d" : "%d", ids->data[i]);
    strbuf_puts(out, "]");
}

static void json_answer(StrBuf *out, const Answer *a)
{
    strbuf_puts(out, "\"prompt\": \"");
    strbuf_json(out, a->prompt, strlen(a->prompt));
    strbuf_puts(out, "\", ");
    json_ids(out, "prompt_tokens", &a->ids);
    strbuf_puts(out, ", ");
    json_ids(out, "tokens", &a->tokens);
    strbuf_puts(out, ", \"text\": \"");
    strbuf_json(out, a->text.data ? a->text.data : "", a->text.len);
    strbuf_printf(out, "\", \"finish\": \"%s\"", reason_name(a->reason));
}

static void json_timings(const Run *r, const EngineStats *e, StrBuf *out)
{
    const DeviceCounters *c = &r->x.dev->counters;
    strbuf_printf(
        out,
        "\"timings\": {\"load_s\": %.6f, \"prefill_tokens\": %lld, \"prefill_s\": %.6f, "
        "\"decode_tokens\": %lld, "
        "\"decode_steps\": %lld, \"decode_s\": %.6f, \"first_token_s\": %.6f}, \"seed\": %llu, ",
        r->x.load_seconds, (long long)e->prefill_tokens, (double)e->prefill_us / 1e6,
        (long long)e->decode_tokens, (long long)e->decode_steps, (double)e->decode_us / 1e6,
        r->first_token ? r->first_token - r->begin : 0.0, (unsigned long long)r->seed);
    strbuf_printf(out,
                  "\"kv_bytes\": %zu, \"weight_bytes\": %zu, \"decode_bytes\": %lld, \"compiled\": "
                  "%lld, \"compile_s\": %.6f, \"cached\": %lld, "
                  "\"flow\": {\"compiles\": %lld, \"records\": %lld, \"allocations\": %lld}, "
                  "\"device\": \"%s\"",
                  e->kv_total_bytes, e->weight_bytes, (long long)e->decode_bytes,
                  (long long)c->compiles, (double)c->compile_us / 1e6, (long long)c->cached_disk,
                  (long long)e->flow_compiles, (long long)e->flow_records,
                  (long long)e->flow_allocations, r->x.dev->facts.name);
}

static void print_results(Run *r, const EngineStats *e)
{
    StrBuf out = {0};
    if (r->s->json) {
        strbuf_puts(&out, "{\"schema\": \"kiln.run/1\", ");
        if (r->answers.len == 1 && !r->s->prompts_file)
            json_answer(&out, r->answers.data[0]);
        else {
            strbuf_puts(&out, "\"results\": [");
            for (int32_t i = 0; i < r->answers.len; i++) {
                strbuf_puts(&out, i ? ", {" : "{");
                json_answer(&out, r->answers.data[i]);
                strbuf_puts(&out, "}");
            }
            strbuf_puts(&out, "]");
        }
        strbuf_puts(&out, ", ");
        json_timings(r, e, &out);
        strbuf_puts(&out, "}\n");
    } else if (r->s->prompts_file) {
        for (int32_t i = 0; i < r->answers.len; i++) {
            strbuf_puts(&out, "{");
            json_answer(&out, r->answers.data[i]);
            strbuf_puts(&out, "}\n");
        }
    } else
        strbuf_putc(&out, '\n');
    print_out(&out);
    strbuf_free(&out);
}

static void hash_output(const Run *r, char hex[33])
{
    Hasher h = {0};
    for (int32_t i = 0; i < r->answers.len; i++) {
        const TokenIds *t = &r->answers.data[i]->tokens;
        hasher_add(&h, t->data ? t->data : (int32_t *)&h, (size_t)t->len * sizeof(int32_t));
    }
    hash_hex(hasher_finish(&h), hex);
}

static void summary(Run *r, const EngineStats *e)
{
    const Settings *s = r->s;
    if (s->quiet) return;
    const ModelFacts *m = &r->x.model->facts;
    const DeviceCounters *c = &r->x.dev->counters;
    const MemoryPlan *plan = engine_memory(r->x.engine);
    char hex[33];
    hash_output(r, hex);
    double prefill = (double)e->prefill_us / 1e6, decode = (double)e->decode_us / 1e6;
    const DeviceFacts *f = &r->x.dev->facts;
    say(s, "\nmodel   %s  %s %s  ctx %d  %s (%s)  kv %s", m->name, m->weight_type,
        bytes_text(r->arena, (double)m->weight_bytes), plan->max_context, f->name,
        f->has_stream ? f->model : arena_printf(r->arena, "%d threads", f->n_threads), s->cache_k);
    say(s,
        "load %.2f s   compile %lld in %.2f s (%lld cached)   prefill %lld tok in %.3f s = %.1f "
        "tok/s   decode %lld tok, %.2f ms/step = %.1f tok/s",
        r->x.load_seconds, (long long)c->compiles, (double)c->compile_us / 1e6,
        (long long)c->cached_disk, (long long)e->prefill_tokens, prefill,
        prefill > 0 ? (double)e->prefill_tokens / prefill : 0, (long long)e->decode_tokens,
        e->decode_steps ? decode * 1e3 / (double)e->decode_steps : 0,
        decode > 0 ? (double)e->decode_tokens / decode : 0);
    double limit;
    if (e->decode_steps && device_measure_reads(r->x.dev, &limit, NULL) == KILN_OK) {
        double rate = decode > 0 ? (double)e->decode_bytes / decode : 0;
        say(s,
            "decode reads %s/step → %.1f GB/s = %.0f %% of %.1f GB/s (measured)   kv %s   seed "
            "%llu   output xxh %.8s",
            bytes_text(r->arena, (double)e->decode_bytes / (double)e->decode_steps), rate / 1e9,
            100 * rate / limit, limit / 1e9, bytes_text(r->arena, (double)e->kv_total_bytes),
            (unsigned long long)r->seed, hex);
    }
}

static KilnStatus execute(Run *r, int32_t n_slots)
{
    KilnStatus st = KILN_OK;
    EngineOptions options;
    TRY(session_options(r->s, n_slots, &options, r->diag));
    TRY(session_device(&r->x, r->s, r->arena, r->diag));
    TRY(session_model(&r->x, r->s, r->diag));
    for (int32_t i = 0; i < r->answers.len; i++)
        TRY(encode(r, r->answers.data[i]));
    TRY(session_engine(&r->x, &options, r->diag));
    show_messages(r->diag); // notes and warnings before the text
    if (r->s->echo && r->streams)
        print_out(&(StrBuf){.data = (char *)(uintptr_t)r->answers.data[0]->prompt,
                            .len = strlen(r->answers.data[0]->prompt)});
    TRY(generate(r));
    if (r->s->dump_logits) TRY(dump_logits(r));
    EngineStats stats;
    engine_stats(r->x.engine, &stats);
    print_results(r, &stats);
    summary(r, &stats);
done:
    return st;
}

int command_run(const Settings *s, Arena *arena, Diag *diag)
{
    Run r = {.s = s,
             .arena = arena,
             .diag = diag,
             .streams = !s->json && !s->prompts_file,
             .seed = (uint64_t)s->seed};
    signal(SIGINT, on_interrupt);
    if (s->seed < 0 && getrandom(&r.seed, sizeof r.seed, 0) != sizeof r.seed) r.seed = 1;
    if (s->seed < 0) r.seed &= 0x7FFFFFFF; // short enough to type
    if (collect_prompts(&r) != KILN_OK)
        return s->prompt_file || s->prompts_file ? EXIT_FAILED : EXIT_USAGE;
    int32_t n_slots = s->parallel ? (int32_t)s->parallel : MIN(r.answers.len, 8);
    KilnStatus st = execute(&r, n_slots);
    session_close(&r.x);
    for (int32_t i = 0; i < r.answers.len; i++)
        strbuf_free(&r.answers.data[i]->text);
    if (interrupts) return EXIT_INTERRUPT;
    return exit_of(st);
}
