// bench/gpu_suite/model_file.c - a GGUF file of a Llama shape, full of random weights: where only sizes matter.
//
// A piece of random blocks is made once and written over and over: gigabytes take seconds. Weights are small
// normal numbers, so that activations stay finite.
#include "bench/gpu_suite/model_file.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/num.h"
#include "base/random.h"
#include "tests/support/gguf_write.h"

typedef struct BlockForm {
    const char *name;
    uint32_t gguf;
    int32_t weights, bytes; ///< of a block
} BlockForm;

static const BlockForm forms[] = {{"f32", 0, 1, 4},
                                  {"f16", 1, 1, 2},
                                  {"bf16", 30, 1, 2},
                                  {"q8_0", 8, 32, 34},
                                  {"q4_0", 2, 32, 18}};

enum { PIECE = 34 * 18 * 4096 }; ///< whole blocks of every form

static const BlockForm *form_of(const char *name)
{
    for (int32_t i = 0; i < COUNT_OF(forms); i++)
        if (!strcmp(forms[i].name, name)) return &forms[i];
    return NULL;
}

static void fill_piece(const BlockForm *f, uint8_t *out)
{
    Random r = {5};
    for (int32_t at = 0; at < PIECE; at += f->bytes) {
        uint16_t scale = f16_from_f32(f->bytes == 34 ? 0.0003f : 0.004f);
        double v = 0.02 * random_normal(&r);
        if (f->weights == 1) {
            dtype_store_f64(f->gguf == 0   ? DTYPE_F32
                            : f->gguf == 1 ? DTYPE_F16
                                           : DTYPE_BF16,
                            out + at, v);
            continue;
        }
        memcpy(out + at, &scale, 2);
        for (int32_t i = 2; i < f->bytes; i++)
            out[at + i] = (uint8_t)random_u64(&r);
    }
}

typedef struct Plan {
    GgufWriter w;
    uint64_t size;    ///< of the data so far
    int64_t matrices; ///< bytes of the matrices, for what() is said
} Plan;

static void tensor(Plan *p, const char *name, const BlockForm *f, int64_t cols, int64_t rows)
{
    p->size = (p->size + 31) / 32 * 32;
    gw_text(&p->w.infos, str_of(name));
    gw_le(&p->w.infos, rows > 1 ? 2 : 1, 4);
    gw_le(&p->w.infos, (uint64_t)cols, 8);
    if (rows > 1) gw_le(&p->w.infos, (uint64_t)rows, 8);
    gw_le(&p->w.infos, f->gguf, 4);
    gw_le(&p->w.infos, p->size, 8);
    p->size += (uint64_t)(cols * rows / f->weights * f->bytes);
    p->w.n_tensors++;
}

/// A vocabulary that the loader accepts: three controls, the 256 bytes, and names that no text becomes.
static void tokenizer(GgufWriter *w, int32_t vocab)
{
    char name[32];
    gw_str(w, "tokenizer.ggml.model", "llama");
    gw_array(w, "tokenizer.ggml.tokens", GGUF_STRING, (uint64_t)vocab);
    for (int32_t i = 0; i < vocab; i++) {
        static const char *const controls[] = {"<unk>", "<s>", "</s>"};
        snprintf(name, sizeof name, i < 259 ? "<0x%02X>" : "<token %d>", i < 259 ? i - 3 : i);
        gw_text(&w->kv, str_of(i < 3 ? controls[i] : name));
    }
    gw_array(w, "tokenizer.ggml.scores", GGUF_F32, (uint64_t)vocab);
    for (int32_t i = 0; i < vocab; i++)
        gw_le(&w->kv, f32_bits((float)-i), 4);
    gw_array(w, "tokenizer.ggml.token_type", GGUF_I32, (uint64_t)vocab);
    for (int32_t i = 0; i < vocab; i++)
        gw_le(&w->kv, i == 0 ? 2 : i < 3 ? 3 : i < 259 ? 6 : 1, 4);
    gw_u32(w, "tokenizer.ggml.bos_token_id", 1);
    gw_u32(w, "tokenizer.ggml.eos_token_id", 2);
}

static void plan_all(Plan *p, const ModelSize *m, const BlockForm *f)
{
    GgufWriter *w = &p->w;
    char name[64];
    int64_t kv = (int64_t)m->kv_heads * (m->width / m->heads);
    gw_str(w, "general.architecture", "llama");
    gw_str(w, "general.name", m->name);
    gw_u32(w, "llama.context_length", (uint32_t)m->context);
    gw_u32(w, "llama.embedding_length", (uint32_t)m->width);
    gw_u32(w, "llama.block_count", (uint32_t)m->layers);
    gw_u32(w, "llama.feed_forward_length", (uint32_t)m->ff);
    gw_u32(w, "llama.attention.head_count", (uint32_t)m->heads);
    gw_u32(w, "llama.attention.head_count_kv", (uint32_t)m->kv_heads);
    gw_f32(w, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    gw_u32(w, "llama.rope.dimension_count", (uint32_t)(m->width / m->heads));
    gw_f32(w, "llama.rope.freq_base", 500000);
    tokenizer(w, m->vocab);
    tensor(p, "token_embd.weight", f, m->width, m->vocab);
    tensor(p, "output_norm.weight", &forms[0], m->width, 1);
    for (int32_t i = 0; i < m->layers; i++) {
        const struct {
            const char *name;
            int64_t cols, rows;
        } t[] = {{"attn_norm", m->width, 1},
                 {"attn_q", m->width, m->width},
                 {"attn_k", m->width, kv},
                 {"attn_v", m->width, kv},
                 {"attn_output", m->width, m->width},
                 {"ffn_norm", m->width, 1},
                 {"ffn_gate", m->width, m->ff},
                 {"ffn_up", m->width, m->ff},
                 {"ffn_down", m->ff, m->width}};
        for (int32_t k = 0; k < COUNT_OF(t); k++) {
            snprintf(name, sizeof name, "blk.%d.%s.weight", i, t[k].name);
            tensor(p, name, t[k].rows > 1 ? f : &forms[0], t[k].cols, t[k].rows);
        }
    }
}

/// The matrices' random bytes cover the norms too: f32 words of random blocks would be nonsense there, so
/// norms are found and written once more as ones.
static void write_ones(FILE *out, long data_at, const ModelSize *m, const Plan *p)
{
    const char *at = p->w.infos.data;
    float *ones = calloc((size_t)m->width, 4);
    for (int32_t i = 0; ones && i < m->width; i++)
        ones[i] = 1;
    for (uint64_t i = 0; ones && i < p->w.n_tensors; i++) {
        uint64_t len, offset;
        uint32_t rank, type;
        memcpy(&len, at, 8), at += 8 + len;
        memcpy(&rank, at, 4), at += 4 + 8 * (size_t)rank;
        memcpy(&type, at, 4), at += 4;
        memcpy(&offset, at, 8), at += 8;
        if (rank != 1) continue;
        fseek(out, data_at + (long)offset, SEEK_SET);
        fwrite(ones, 4, (size_t)m->width, out);
    }
    free(ones);
}

KilnStatus model_file_write(const char *path, const ModelSize *m, const char *form, Diag *diag)
{
    KilnStatus st = KILN_OK;
    Plan p = {0}, names = {0};
    StrBuf head = {0};
    const BlockForm *f = form_of(form);
    uint8_t *piece = malloc(PIECE);
    FILE *out = NULL;
    if (!f) TRY(fail(diag, KILN_ERR_INPUT, "K901", "%s: no such kind of weights", form));
    plan_all(&p, m, f), plan_all(&names, m, f);
    size_t data_at = gw_finish(&names.w, &head);
    out = fopen(path, "wb");
    if (!piece || !out) TRY(fail(diag, KILN_ERR_IO, "K101", "%s: cannot be written", path));
    fill_piece(f, piece);
    bool ok = fwrite(head.data, 1, data_at, out) == data_at;
    for (uint64_t done = 0; ok && done < p.size; done += PIECE) {
        size_t n = (size_t)MIN((uint64_t)PIECE, p.size - done);
        ok = fwrite(piece, 1, n, out) == n;
    }
    if (ok) write_ones(out, (long)data_at, m, &p);
    if (!ok || fflush(out) != 0)
        st = fail(diag, KILN_ERR_IO, "K101", "%s: not enough room for %.1f GB", path,
                  (double)p.size * 1e-9);
done:
    if (out) fclose(out);
    free(piece);
    strbuf_free(&head), strbuf_free(&p.w.kv), strbuf_free(&p.w.infos), strbuf_free(&p.w.data);
    return st;
}
