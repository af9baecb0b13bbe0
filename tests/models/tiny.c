// tests/models/tiny.c - see tiny.h. The forward pass is written from the formulas, sharing nothing with models/.
#include "tests/models/tiny.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/random.h"

// ---- writing GGUF -------------------------------------------------------------------------------------

typedef struct Tensor {
    char name[64];
    int64_t rows, cols; ///< a vector: rows 0
    BlockType type;
    size_t offset, bytes;
} Tensor;

typedef struct Writer {
    StrBuf head, data;
    Tensor tensors[256];
    int32_t n_tensors, n_kv;
    Random rng;
} Writer;

static void put(StrBuf *b, const void *v, size_t n)
{
    strbuf_add(b, v, n);
}
static void put_u32(StrBuf *b, uint32_t v)
{
    put(b, &v, 4);
}
static void put_u64(StrBuf *b, uint64_t v)
{
    put(b, &v, 8);
}
static void put_text(StrBuf *b, const char *text)
{
    put_u64(b, strlen(text));
    put(b, text, strlen(text));
}
static void key(Writer *w, const char *name, GgufType type)
{
    put_text(&w->head, name);
    put_u32(&w->head, (uint32_t)type);
    w->n_kv++;
}
static void key_int(Writer *w, const char *arch, const char *name, int64_t v)
{
    char full[96];
    snprintf(full, sizeof full, "%s%s%s", arch, *arch ? "." : "", name);
    key(w, full, GGUF_U32);
    put_u32(&w->head, (uint32_t)v);
}
static void key_float(Writer *w, const char *arch, const char *name, float v)
{
    char full[96];
    snprintf(full, sizeof full, "%s.%s", arch, name);
    key(w, full, GGUF_F32);
    put(&w->head, &v, 4);
}
static void key_text(Writer *w, const char *name, const char *v)
{
    key(w, name, GGUF_STRING);
    put_text(&w->head, v);
}

static void write_tokens(Writer *w, int32_t vocab)
{
    key_text(w, "tokenizer.ggml.model", "llama");
    key(w, "tokenizer.ggml.tokens", GGUF_ARRAY);
    put_u32(&w->head, GGUF_STRING);
    put_u64(&w->head, (uint64_t)vocab);
    for (int32_t i = 0; i < vocab; i++) {
        char piece[32];
        snprintf(piece, sizeof piece,
                 i == 0   ? "<unk>"
                 : i == 1 ? "<s>"
                 : i == 2 ? "</s>"
                          : "piece%d",
                 (int)i);
        put_text(&w->head, piece);
    }
    key(w, "tokenizer.ggml.scores", GGUF_ARRAY);
    put_u32(&w->head, GGUF_F32);
    put_u64(&w->head, (uint64_t)vocab);
    for (int32_t i = 0; i < vocab; i++)
        put(&w->head, &(float){(float)-i}, 4);
    key(w, "tokenizer.ggml.token_type", GGUF_ARRAY);
    put_u32(&w->head, GGUF_I32);
    put_u64(&w->head, (uint64_t)vocab);
    for (int32_t i = 0; i < vocab; i++)
        put_u32(&w->head, i == 0 ? 2 : i < 3 ? 3 : 1);
    key_int(w, "", "tokenizer.ggml.bos_token_id", 1);
    key_int(w, "", "tokenizer.ggml.eos_token_id", 2);
}

static void tensor(Writer *w, const TinyShape *s, const char *name, int64_t rows, int64_t cols,
                   double scale)
{
    if (s->without && !strcmp(s->without, name)) return;
    Tensor *t = &w->tensors[w->n_tensors++];
    snprintf(t->name, sizeof t->name, "%s", name);
    t->rows = rows;
    t->cols = cols;
    t->type = rows == 0                                      ? BLOCK_F32
              : cols % block_facts((uint32_t)s->type)->block ? BLOCK_F16
                                                             : s->type;
    while (w->data.len % 32)
        strbuf_putc(&w->data, 0);
    t->offset = w->data.len;
    const BlockFacts *facts = block_facts((uint32_t)t->type);
    size_t row_bytes = (size_t)block_row_bytes(t->type, cols);
    float *row = malloc((size_t)cols * sizeof *row);
    void *packed = malloc(row_bytes);
    for (int64_t r = 0; r < MAX(rows, 1); r++) {
        for (int64_t c = 0; c < cols; c++)
            row[c] = (float)(rows == 0 ? 1 + 0.2 * random_normal(&w->rng)
                                       : scale * random_normal(&w->rng));
        facts->write(row, packed, cols);
        put(&w->data, packed, row_bytes);
    }
    t->bytes = w->data.len - t->offset;
    free(packed);
    free(row);
}

static void layer_tensors(Writer *w, const TinyShape *s, int32_t l)
{
    char name[64];
    const struct {
        const char *name;
        int64_t rows, cols;
    } rows[] = {
        {"attn_norm", 0, s->d_model},
        {"attn_q", s->n_heads * s->head_dim, s->d_model},
        {"attn_k", s->n_kv_heads * s->head_dim, s->d_model},
        {"attn_v", s->n_kv_heads * s->head_dim, s->d_model},
        {"attn_output", s->d_model, s->n_heads * s->head_dim},
        {"ffn_norm", 0, s->d_model},
        {"ffn_gate", s->d_ff, s->d_model},
        {"ffn_up", s->d_ff, s->d_model},
        {"ffn_down", s->d_model, s->d_ff},
    };
    for (int32_t i = 0; i < COUNT_OF(rows); i++) {
        snprintf(name, sizeof name, "blk.%d.%s.weight", (int)l, rows[i].name);
        tensor(w, s, name, rows[i].rows, rows[i].cols, 1.5 / sqrt((double)rows[i].cols));
    }
}

static void write_config(Writer *w, const TinyShape *s)
{
    const char *arch = s->arch ? s->arch : "llama";
    key_text(w, "general.architecture", arch);
    key_int(w, arch, "context_length", 256);
    key_int(w, arch, "embedding_length", s->d_model);
    key_int(w, arch, "block_count", s->n_layers);
    key_int(w, arch, "feed_forward_length", s->d_ff);
    key_int(w, arch, "attention.head_count", s->n_heads);
    key_int(w, arch, "attention.head_count_kv", s->n_kv_heads);
    key_int(w, arch, "attention.key_length", s->head_dim);
    key_int(w, arch, "attention.value_length", s->head_dim);
    key_int(w, arch, "rope.dimension_count", s->head_dim);
    key_int(w, arch, "vocab_size", s->vocab);
    key_float(w, arch, "rope.freq_base", 10000);
    key_float(w, arch, "attention.layer_norm_rms_epsilon", 1e-5f);
    write_tokens(w, s->vocab);
}

static void write_infos(const Writer *w, StrBuf *out)
{
    for (int32_t i = 0; i < w->n_tensors; i++) {
        const Tensor *t = &w->tensors[i];
        put_text(out, t->name);
        put_u32(out, t->rows ? 2 : 1);
        put_u64(out, (uint64_t)t->cols);
        if (t->rows) put_u64(out, (uint64_t)t->rows);
        put_u32(out, (uint32_t)t->type);
        put_u64(out, t->offset);
    }
    while (out->len % 32)
        strbuf_putc(out, 0);
}

const char *tiny_write(Arena *arena, const TinyShape *shape, uint64_t seed)
{
    Writer *w = arena_new(arena, Writer);
    w->rng.state = seed;
    write_config(w, shape);
    tensor(w, shape, "token_embd.weight", shape->vocab, shape->d_model, 1.0);
    for (int32_t l = 0; l < shape->n_layers; l++)
        layer_tensors(w, shape, l);
    tensor(w, shape, "output_norm.weight", 0, shape->d_model, 1.0);
    if (!shape->tied)
        tensor(w, shape, "output.weight", shape->vocab, shape->d_model, 1.0 / sqrt(shape->d_model));
    StrBuf out = {0};
    strbuf_puts(&out, "GGUF");
    put_u32(&out, 3);
    put_u64(&out, (uint64_t)w->n_tensors);
    put_u64(&out, (uint64_t)w->n_kv);
    put(&out, w->head.data, w->head.len);
    write_infos(w, &out);
    put(&out, w->data.data, w->data.len);

    char *path = arena_strdup(arena, "/tmp/kiln-tiny-XXXXXX");
    int fd = mkstemp(path);
    if (fd < 0 || write(fd, out.data, out.len) != (ssize_t)out.len) abort();
    close(fd);
    strbuf_free(&out);
    strbuf_free(&w->head);
    strbuf_free(&w->data);
    return path;
}

// ---- the forward pass ---------------------------------------------------------------------------------

/// Row `r` of a tensor as doubles.
static void read_row(const WeightTensor *w, int64_t r, double *out)
{
    int64_t cols = w->rank == 1 ? w->shape[0] : w->shape[1];
    float *row = malloc((size_t)cols * sizeof *row);
    const BlockFacts *facts = block_facts((uint32_t)w->type);
    facts->read((const uint8_t *)w->data + r * block_row_bytes(w->type, cols), row, cols);
    for (int64_t i = 0; i < cols; i++)
        out[i] = row[i];
    free(row);
}

static void multiply(const WeightTensor *w, const double *x, double *y)
{
    double *row = malloc((size_t)w->shape[1] * sizeof *row);
    for (int64_t r = 0; r < w->shape[0]; r++) {
        read_row(w, r, row);
        y[r] = 0;
        for (int64_t c = 0; c < w->shape[1]; c++)
            y[r] += row[c] * x[c];
    }
    free(row);
}

static void normalise(const ModelConfig *c, const WeightTensor *gain, const double *x, double *y)
{
    double sum = 0, *g = malloc((size_t)c->d_model * sizeof *g);
    read_row(gain, 0, g);
    for (int32_t i = 0; i < c->d_model; i++)
        sum += x[i] * x[i];
    for (int32_t i = 0; i < c->d_model; i++)
        y[i] = x[i] / sqrt(sum / c->d_model + c->rms_eps) * g[i];
    free(g);
}

static void rotate(const ModelConfig *c, RopeKind kind, double *head, int32_t pos)
{
    int32_t half = c->rope_dim / 2;
    for (int32_t i = 0; i < half; i++) {
        int32_t a = kind == ROPE_INTERLEAVED ? 2 * i : i,
                b = kind == ROPE_INTERLEAVED ? 2 * i + 1 : i + half;
        float step = (float)pow(c->rope_theta, -2.0 * i / c->rope_dim);
        double angle = (float)pos * step, x = head[a], y = head[b];
        head[a] = x * cos(angle) - y * sin(angle);
        head[b] = x * sin(angle) + y * cos(angle);
    }
}

static double *array(int64_t n)
{
    return calloc((size_t)n, sizeof(double));
}

/// out [heads * head_dim] of position t, from all q, k, v so far.
static void attention(const ModelConfig *c, const double *q, const double *k, const double *v,
                      int32_t t, double *out)
{
    int32_t D = c->head_dim, group = c->n_heads / c->n_kv_heads, kv = c->n_kv_heads * D;
    double *p = array(t + 1);
    for (int32_t h = 0; h < c->n_heads; h++) {
        double top = -INFINITY, sum = 0;
        for (int32_t s = 0; s <= t; s++) {
            p[s] = 0;
            for (int32_t d = 0; d < D; d++)
                p[s] += q[h * D + d] * k[s * kv + h / group * D + d];
            p[s] /= sqrt((double)D);
            top = fmax(top, p[s]);
        }
        for (int32_t s = 0; s <= t; s++)
            sum += p[s] = exp(p[s] - top);
        for (int32_t d = 0; d < D; d++) {
            out[h * D + d] = 0;
            for (int32_t s = 0; s <= t; s++)
                out[h * D + d] += p[s] / sum * v[s * kv + h / group * D + d];
        }
    }
    free(p);
}

static void forward_layer(const ModelFile *file, const ModelConfig *c, RopeKind rope, int32_t l,
                          double *x, int32_t n)
{
    int32_t qw = c->n_heads * c->head_dim, kw = c->n_kv_heads * c->head_dim, d = c->d_model;
    double *h = array(d), *q = array((int64_t)n * qw), *k = array((int64_t)n * kw),
           *v = array((int64_t)n * kw), *a = array(qw);
    double *gate = array(c->d_ff), *up = array(c->d_ff), *y = array(d);
    for (int32_t t = 0; t < n; t++) {
        normalise(c, model_file_layer_tensor(file, l, "attn_norm"), x + t * d, h);
        multiply(model_file_layer_tensor(file, l, "attn_q"), h, q + t * qw);
        multiply(model_file_layer_tensor(file, l, "attn_k"), h, k + t * kw);
        multiply(model_file_layer_tensor(file, l, "attn_v"), h, v + t * kw);
        for (int32_t i = 0; i < c->n_heads; i++)
            rotate(c, rope, q + t * qw + i * c->head_dim, t);
        for (int32_t i = 0; i < c->n_kv_heads; i++)
            rotate(c, rope, k + t * kw + i * c->head_dim, t);
    }
    for (int32_t t = 0; t < n; t++) {
        attention(c, q + t * qw, k, v, t, a);
        multiply(model_file_layer_tensor(file, l, "attn_output"), a, y);
        for (int32_t i = 0; i < d; i++)
            x[t * d + i] += y[i];
        normalise(c, model_file_layer_tensor(file, l, "ffn_norm"), x + t * d, h);
        multiply(model_file_layer_tensor(file, l, "ffn_gate"), h, gate);
        multiply(model_file_layer_tensor(file, l, "ffn_up"), h, up);
        for (int32_t i = 0; i < c->d_ff; i++)
            gate[i] = gate[i] / (1 + exp(-gate[i])) * up[i];
        multiply(model_file_layer_tensor(file, l, "ffn_down"), gate, y);
        for (int32_t i = 0; i < d; i++)
            x[t * d + i] += y[i];
    }
    double *all[] = {h, q, k, v, a, gate, up, y};
    for (int32_t i = 0; i < COUNT_OF(all); i++)
        free(all[i]);
}

void tiny_forward(const ModelFile *file, RopeKind rope, const int32_t *tokens, int32_t n,
                  double *out)
{
    const ModelConfig *c = model_file_config(file);
    const WeightTensor *embedding = model_file_tensor(file, "token_embd.weight");
    const WeightTensor *output = c->tied ? embedding : model_file_tensor(file, "output.weight");
    double *x = array((int64_t)n * c->d_model), *h = array(c->d_model);
    for (int32_t t = 0; t < n; t++)
        read_row(embedding, tokens[t], x + t * c->d_model);
    for (int32_t l = 0; l < c->n_layers; l++)
        forward_layer(file, c, rope, l, x, n);
    for (int32_t t = 0; t < n; t++) {
        normalise(c, model_file_tensor(file, "output_norm.weight"), x + t * c->d_model, h);
        multiply(output, h, out + (int64_t)t * c->vocab);
    }
    free(h);
    free(x);
}
