// bench/llama_peer.c - llama.cpp through its C API: rows, logits and first tokens for compare-llamacpp and compare_logits.
//
//   llama_peer MODEL [-t N] [-fa 0|1] [-ctk f16|f32|bf16|q8_0] [-c TOKENS] rows TEST...
//   llama_peer MODEL [...] run N TEXT       tokenises TEXT, takes the best id N times
//   llama_peer MODEL [...] logits OUT ID... the logits after each of the ids: f32 [ids, vocabulary], one decode of all
//   llama_peer MODEL [...] steps  OUT ID... the same, one decode per id
//
//   TEST        what it prints, as JSON lines
//   pp512       a prompt of 512 random ids: {"test": "pp512", "ts": tokens per second}
//   tg32@16     32 single ids after 16: "tg32 @ d16"
//   fill2048+32 both at once: "pp2048" and "tg32 @ d2048", so that a deep context is filled once for two numbers
//
// Settings are those of llama-bench (batches of 2048, micro-batches of 512, ids drawn at random, choosing an id not timed).
// Each test has a warm-up of at most 512 ids and one step. Built by bench/peer.py against the libraries beside llama-bench.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "llama.h"

typedef struct Peer {
    struct llama_model *model;
    struct llama_context *ctx;
    const struct llama_vocab *vocab;
    int n_vocab;
    int threads, flash, n_ctx;
    enum ggml_type cache;
} Peer;

enum { BATCH = 2048, MICRO = 512, MOST_IDS = 1 << 20 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void die(const char *what)
{
    fprintf(stderr, "llama_peer: %s\n", what);
    exit(1);
}

static void keep_errors(enum ggml_log_level level, const char *text, void *user)
{
    (void)user;
    if (level == GGML_LOG_LEVEL_ERROR) fputs(text, stderr);
}

static void open_context(Peer *p, int n_ctx)
{
    struct llama_context_params c = llama_context_default_params();
    if (p->ctx) llama_free(p->ctx);
    c.n_ctx = (uint32_t)(p->n_ctx > n_ctx ? p->n_ctx : n_ctx);
    c.n_batch = BATCH;
    c.n_ubatch = MICRO;
    c.n_threads = c.n_threads_batch = p->threads;
    c.flash_attn_type = p->flash ? LLAMA_FLASH_ATTN_TYPE_ENABLED : LLAMA_FLASH_ATTN_TYPE_DISABLED;
    c.type_k = c.type_v = p->cache;
    p->ctx = llama_init_from_model(p->model, c);
    if (!p->ctx) die("no context");
}

static void decode(Peer *p, llama_token *ids, int n)
{
    for (int i = 0; i < n; i += BATCH) {
        int part = n - i < BATCH ? n - i : BATCH;
        if (llama_decode(p->ctx, llama_batch_get_one(ids + i, part)) != 0) die("decode failed");
    }
    llama_synchronize(p->ctx);
}

static void decode_random(Peer *p, int n)
{
    llama_token *ids = malloc((size_t)n * sizeof *ids);
    if (!ids) die("no memory");
    for (int i = 0; i < n; i++)
        ids[i] = rand() % p->n_vocab;
    decode(p, ids, n);
    free(ids);
}

static double time_steps(Peer *p, int n)
{
    double begin = now();
    for (int i = 0; i < n; i++)
        decode_random(p, 1);
    return n / (now() - begin);
}

static void run_test(Peer *p, const char *test)
{
    int n = 0, depth = 0;
    double begin, fill = 0;
    if (sscanf(test, "pp%d", &depth) != 1 && sscanf(test, "fill%d+%d", &depth, &n) != 2 &&
        sscanf(test, "tg%d@%d", &n, &depth) != 2)
        die("a test is pp512, tg32@16 or fill2048+32");
    open_context(p, depth + n + 1);
    if (depth) decode_random(p, depth < MICRO ? depth : MICRO);
    if (n) decode_random(p, 1);
    llama_memory_clear(llama_get_memory(p->ctx), true);
    begin = now();
    if (depth) decode_random(p, depth);
    fill = depth / (now() - begin);
    if (test[0] != 't') printf("{\"test\": \"pp%d\", \"ts\": %.4f}\n", depth, fill);
    if (n) printf("{\"test\": \"tg%d @ d%d\", \"ts\": %.4f}\n", n, depth, time_steps(p, n));
    fflush(stdout);
}

static llama_token best(const Peer *p)
{
    const float *logit = llama_get_logits_ith(p->ctx, -1);
    llama_token at = 0;
    for (llama_token i = 1; i < p->n_vocab; i++)
        if (logit[i] > logit[at]) at = i;
    return at;
}

static void run_text(Peer *p, int n, const char *text, double start)
{
    int len = (int)strlen(text);
    llama_token *ids = malloc(((size_t)len + 2) * sizeof *ids), next;
    int n_ids = ids ? llama_tokenize(p->vocab, text, len, ids, len + 2, true, false) : 0;
    if (n_ids < 1) die("no ids");
    open_context(p, n_ids + n);
    printf("{\"prompt\": [");
    for (int i = 0; i < n_ids; i++)
        printf("%s%d", i ? ", " : "", ids[i]);
    decode(p, ids, n_ids);
    next = best(p);
    printf("], \"first_token_s\": %.4f, \"ids\": [%d", now() - start, next);
    for (int i = 1; i < n; i++) {
        decode(p, &next, 1);
        next = best(p);
        printf(", %d", next);
    }
    printf("]}\n");
    free(ids);
}

static void write_row(const Peer *p, FILE *f, int i)
{
    const float *logit = llama_get_logits_ith(p->ctx, i);
    if (!logit || fwrite(logit, sizeof *logit, (size_t)p->n_vocab, f) != (size_t)p->n_vocab)
        die("logits not written");
}

static void write_logits(Peer *p, const char *path, int n, char **texts, int by_step)
{
    FILE *f = fopen(path, "wb");
    struct llama_batch batch = llama_batch_init(n, 0, 1);
    if (!f || n > BATCH) die("cannot write the logits");
    open_context(p, n);
    for (int i = 0; i < n; i++) {
        llama_token id = atoi(texts[i]);
        int at = by_step ? 0 : i;
        batch.token[at] = id, batch.pos[at] = i, batch.n_seq_id[at] = 1, batch.seq_id[at][0] = 0;
        batch.logits[at] = 1;
        batch.n_tokens = at + 1;
        if (by_step || i == n - 1)
            if (llama_decode(p->ctx, batch) != 0) die("decode failed");
        if (by_step) write_row(p, f, 0);
    }
    for (int i = 0; !by_step && i < n; i++)
        write_row(p, f, i);
    if (fclose(f) != 0) die("logits not written");
    llama_batch_free(batch);
}

static enum ggml_type type_of(const char *name)
{
    static const struct {
        const char *name;
        enum ggml_type type;
    } types[] = {{"f16", GGML_TYPE_F16},
                 {"f32", GGML_TYPE_F32},
                 {"bf16", GGML_TYPE_BF16},
                 {"q8_0", GGML_TYPE_Q8_0}};
    for (int i = 0; i < 4; i++)
        if (!strcmp(types[i].name, name)) return types[i].type;
    die("-ctk is f16, f32, bf16 or q8_0");
    return GGML_TYPE_F16;
}

int main(int argc, char **argv)
{
    double start = now();
    Peer p = {.threads = 1, .flash = 1, .cache = GGML_TYPE_F16};
    int at = 2;
    for (; at + 1 < argc && argv[at][0] == '-'; at += 2) {
        if (!strcmp(argv[at], "-t")) p.threads = atoi(argv[at + 1]);
        if (!strcmp(argv[at], "-fa")) p.flash = atoi(argv[at + 1]);
        if (!strcmp(argv[at], "-ctk")) p.cache = type_of(argv[at + 1]);
        if (!strcmp(argv[at], "-c")) p.n_ctx = atoi(argv[at + 1]);
    }
    if (at + 1 >= argc) die("llama_peer MODEL [options] rows | run | logits | steps ...");
    llama_log_set(keep_errors, NULL);
    llama_backend_init();
    p.model = llama_model_load_from_file(argv[1], llama_model_default_params());
    if (!p.model) die("no model");
    p.vocab = llama_model_get_vocab(p.model);
    p.n_vocab = llama_vocab_n_tokens(p.vocab);
    if (!strcmp(argv[at], "rows")) printf("{\"llama\": \"%s\"}\n", llama_version());
    if (!strcmp(argv[at], "rows"))
        for (int i = at + 1; i < argc; i++)
            run_test(&p, argv[i]);
    else if (!strcmp(argv[at], "run") && argc == at + 3)
        run_text(&p, atoi(argv[at + 1]), argv[at + 2], start);
    else if ((!strcmp(argv[at], "logits") || !strcmp(argv[at], "steps")) && argc > at + 2)
        write_logits(&p, argv[at + 1], argc - at - 2, argv + at + 2, argv[at][0] == 's');
    else
        die("rows TEST..., run N TEXT, logits OUT ID..., steps OUT ID...");
    llama_free(p.ctx);
    llama_model_free(p.model);
    llama_backend_free();
    return 0;
}
