// tests/support/toy_model.c - one list of tensors, two writers.
#include "tests/support/toy_model.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/random.h"

static const struct ToyTensor {
    const char *name, *hf;
    bool per_layer;
    int32_t rows, cols; ///< cols 0: a vector
} tensors[] = {
    {"token_embd", "model.embed_tokens", false, TOY_VOCAB, TOY_WIDTH},
    {"output_norm", "model.norm", false, TOY_WIDTH, 0},
    {"output", "lm_head", false, TOY_VOCAB, TOY_WIDTH},
    {"attn_norm", "input_layernorm", true, TOY_WIDTH, 0},
    {"attn_q", "self_attn.q_proj", true, TOY_HEADS *TOY_HEAD_DIM, TOY_WIDTH},
    {"attn_k", "self_attn.k_proj", true, TOY_KV_HEADS *TOY_HEAD_DIM, TOY_WIDTH},
    {"attn_v", "self_attn.v_proj", true, TOY_KV_HEADS *TOY_HEAD_DIM, TOY_WIDTH},
    {"attn_output", "self_attn.o_proj", true, TOY_WIDTH, TOY_HEADS *TOY_HEAD_DIM},
    {"ffn_norm", "post_attention_layernorm", true, TOY_WIDTH, 0},
    {"ffn_gate", "mlp.gate_proj", true, TOY_FFN, TOY_WIDTH},
    {"ffn_up", "mlp.up_proj", true, TOY_FFN, TOY_WIDTH},
    {"ffn_down", "mlp.down_proj", true, TOY_WIDTH, TOY_FFN},
};

// In order of preference: the merge that makes a piece has the piece's place.
static const struct {
    const char *text, *left, *right;
} pieces[TOY_PIECES] = {
    {"\xE2\x96\x81", NULL, NULL},
    {"t", NULL, NULL},
    {"h", NULL, NULL},
    {"e", NULL, NULL},
    {"a", NULL, NULL},
    {"n", NULL, NULL},
    {"d", NULL, NULL},
    {"th", "t", "h"},
    {"the", "th", "e"},
    {"an", "a", "n"},
    {"and", "an", "d"},
    {"\xE2\x96\x81the", "\xE2\x96\x81", "the"},
};

typedef void EachFn(void *cx, const char *name, const char *hf_name, const struct ToyTensor *t,
                    const ToyOptions *o);

static void each_tensor(const ToyOptions *o, int32_t begin, int32_t end, bool model, EachFn *fn,
                        void *cx)
{
    for (int32_t i = 0; i < COUNT_OF(tensors); i++) {
        const struct ToyTensor *t = &tensors[i];
        if (!t->per_layer && (!model || (strcmp(t->name, "output") == 0 && !o->untied))) continue;
        for (int32_t layer = t->per_layer ? begin : 0; layer < (t->per_layer ? end : 1); layer++) {
            char name[80], hf[80];
            if (t->per_layer) {
                snprintf(name, sizeof name, "blk.%d.%s.weight", layer, t->name);
                snprintf(hf, sizeof hf, "model.layers.%d.%s.weight", layer, t->hf);
            } else {
                snprintf(name, sizeof name, "%s.weight", t->name);
                snprintf(hf, sizeof hf, "%s.weight", t->hf);
            }
            if (!o->skip || strcmp(o->skip, name) != 0) fn(cx, name, hf, t, o);
        }
    }
}

/// Row-major values from the tensor's name, packed as `type`. @return the rows stored
static int32_t values(const char *name, const struct ToyTensor *t, BlockType type,
                      const ToyOptions *o, StrBuf *out)
{
    Random random = {hash_bytes(name, strlen(name)).lo};
    int32_t rows = t->rows - (o->reshape && strcmp(o->reshape, name) == 0),
            cols = t->cols ? t->cols : rows;
    int32_t n_rows = t->cols ? rows : 1;
    float row[TOY_VOCAB];
    char packed[4 * TOY_VOCAB];
    for (int32_t r = 0; r < n_rows; r++) {
        for (int32_t c = 0; c < cols; c++)
            row[c] = (float)(random_normal(&random) * 0.2) + (t->cols ? 0 : 1);
        block_facts(type)->write(row, packed, cols);
        strbuf_add(out, packed, (size_t)block_row_bytes(type, cols));
    }
    return rows;
}

// ---- GGUF --------------------------------------------------------------------------------------

void toy_gguf_metadata(GgufWriter *w, const ToyOptions *o)
{
    (void)o;
    gw_str(w, "general.architecture", "llama");
    gw_u32(w, "llama.context_length", TOY_CONTEXT);
    gw_u32(w, "llama.embedding_length", TOY_WIDTH);
    gw_u32(w, "llama.block_count", TOY_LAYERS);
    gw_u32(w, "llama.feed_forward_length", TOY_FFN);
    gw_u32(w, "llama.attention.head_count", TOY_HEADS);
    gw_u32(w, "llama.attention.head_count_kv", TOY_KV_HEADS);
    gw_f32(w, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    gw_u32(w, "llama.rope.dimension_count", TOY_HEAD_DIM);
    gw_f32(w, "llama.rope.freq_base", 10000);
}

void toy_gguf_tokenizer(GgufWriter *w)
{
    static char bytes[256][8];
    Str texts[TOY_VOCAB] = {STR("<unk>"), STR("<s>"), STR("</s>")};
    float scores[TOY_VOCAB] = {0};
    int32_t types[TOY_VOCAB] = {2, 3, 3};
    for (int32_t b = 0; b < 256; b++) {
        snprintf(bytes[b], sizeof bytes[b], "<0x%02X>", b);
        texts[3 + b] = str_of(bytes[b]);
        types[3 + b] = 6;
    }
    for (int32_t i = 0; i < TOY_PIECES; i++) {
        texts[259 + i] = str_of(pieces[i].text);
        scores[259 + i] = -(float)i;
        types[259 + i] = 1;
    }
    gw_str(w, "tokenizer.ggml.model", "llama");
    gw_strs(w, "tokenizer.ggml.tokens", texts, TOY_VOCAB);
    gw_f32s(w, "tokenizer.ggml.scores", scores, TOY_VOCAB);
    gw_i32s(w, "tokenizer.ggml.token_type", types, TOY_VOCAB);
    gw_u32(w, "tokenizer.ggml.bos_token_id", 1);
    gw_u32(w, "tokenizer.ggml.eos_token_id", 2);
}

void toy_gguf_bytes(GgufWriter *w, const char *pre)
{
    static char alphabet[256][4];
    Str texts[260];
    int32_t types[260], next = 0x100;
    for (int32_t b = 0; b < 256; b++) {
        bool itself = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
        int32_t cp = itself ? b : next++, len = 0;
        if (cp >= 0x80) alphabet[b][len++] = (char)(0xC0 | cp >> 6);
        alphabet[b][len++] = (char)(cp < 0x80 ? cp : 0x80 | (cp & 63));
        texts[b] = (Str){alphabet[b], (size_t)len};
        types[b] = 1;
    }
    texts[256] = STR("th");
    texts[257] = STR("the");
    texts[258] = STR("\xC4\xA0the");
    texts[259] = STR("<|end|>");
    types[256] = types[257] = types[258] = 1;
    types[259] = 3;
    gw_str(w, "tokenizer.ggml.model", "gpt2");
    if (pre) gw_str(w, "tokenizer.ggml.pre", pre);
    gw_strs(w, "tokenizer.ggml.tokens", texts, 260);
    gw_i32s(w, "tokenizer.ggml.token_type", types, 260);
    gw_strs(w, "tokenizer.ggml.merges", (Str[]){STR("t h"), STR("th e"), STR("\xC4\xA0 the")}, 3);
}

static void put_gguf(void *cx, const char *name, const char *hf, const struct ToyTensor *t,
                     const ToyOptions *o)
{
    (void)hf;
    StrBuf data = {0};
    BlockType type = t->cols ? o->matrices : BLOCK_F32;
    int32_t rows = values(name, t, type, o, &data);
    int64_t ne[2] = {t->cols ? t->cols : rows, rows};
    gw_tensor(cx, name, type, t->cols ? 2 : 1, ne, data.data, data.len);
    strbuf_free(&data);
}

void toy_gguf_tensors(GgufWriter *w, const ToyOptions *o)
{
    each_tensor(o, 0, TOY_LAYERS, true, put_gguf, w);
}

size_t toy_gguf(const ToyOptions *o, StrBuf *out)
{
    GgufWriter w = {0};
    toy_gguf_metadata(&w, o);
    if (!o->no_tokenizer) toy_gguf_tokenizer(&w);
    toy_gguf_tensors(&w, o);
    return gw_finish(&w, out);
}

// ---- Hugging Face ------------------------------------------------------------------------------

void toy_config(const ToyOptions *o, StrBuf *out)
{
    strbuf_printf(
        out,
        "{\"model_type\": \"llama\", \"hidden_size\": %d, \"num_hidden_layers\": %d, "
        "\"intermediate_size\": %d,\n"
        " \"num_attention_heads\": %d, \"num_key_value_heads\": %d, \"vocab_size\": %d, "
        "\"rms_norm_eps\": 1e-05,\n"
        " \"max_position_embeddings\": %d, \"rope_theta\": 10000.0, \"tie_word_embeddings\": %s,\n"
        " \"hidden_act\": \"silu\", \"bos_token_id\": 1, \"eos_token_id\": 2}\n",
        TOY_WIDTH, TOY_LAYERS, TOY_FFN, TOY_HEADS, TOY_KV_HEADS, TOY_VOCAB, TOY_CONTEXT,
        o->untied ? "false" : "true");
}

typedef struct SafeWriter {
    StrBuf header, data;
} SafeWriter;

static void put_safetensor(void *cx, const char *name, const char *hf, const struct ToyTensor *t,
                           const ToyOptions *o)
{
    SafeWriter *w = cx;
    BlockType type = t->cols ? o->matrices : BLOCK_F32;
    size_t begin = w->data.len;
    int32_t rows = values(name, t, type, o, &w->data);
    strbuf_printf(&w->header, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%d", w->header.len ? "," : "{",
                  hf, block_facts(type)->name, rows);
    if (t->cols) strbuf_printf(&w->header, ",%d", t->cols);
    strbuf_printf(&w->header, "],\"data_offsets\":[%zu,%zu]}", begin, w->data.len);
}

void toy_safetensors(const ToyOptions *o, int32_t begin, int32_t end, bool model, StrBuf *out)
{
    SafeWriter w = {0};
    each_tensor(o, begin, end, model, put_safetensor, &w);
    strbuf_puts(&w.header, "}");
    while (w.header.len % 8)
        strbuf_putc(&w.header, ' ');
    gw_le(out, w.header.len, 8);
    strbuf_add(out, w.header.data, w.header.len);
    strbuf_add(out, w.data.data, w.data.len);
    strbuf_free(&w.header);
    strbuf_free(&w.data);
}

void toy_tokenizer_json(StrBuf *out)
{
    static const char *const specials[] = {"<unk>", "<s>", "</s>"};
    strbuf_puts(out, "{\"version\": \"1.0\", \"added_tokens\": [\n");
    for (int32_t i = 0; i < 3; i++)
        strbuf_printf(
            out, "{\"id\": %d, \"content\": \"%s\", \"special\": true, \"normalized\": false}%s\n",
            i, specials[i], i < 2 ? "," : "");
    strbuf_puts(out, "], \"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": "
                     "\"Prepend\", \"prepend\": \"\xE2\x96\x81\"},\n"
                     "{\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": "
                     "\"\xE2\x96\x81\"}]}, \"pre_tokenizer\": null,\n"
                     "\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": "
                     "[{\"SpecialToken\": {\"id\": \"<s>\", \"type_id\": 0}},\n"
                     "{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}], \"special_tokens\": "
                     "{\"<s>\": {\"id\": \"<s>\", \"ids\": [1], \"tokens\": [\"<s>\"]}}},\n"
                     "\"decoder\": {\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Replace\", "
                     "\"pattern\": {\"String\": \"\xE2\x96\x81\"}, \"content\": \" \"},\n"
                     "{\"type\": \"ByteFallback\"}, {\"type\": \"Fuse\"}, {\"type\": \"Strip\", "
                     "\"content\": \" \", \"start\": 1, \"stop\": 0}]},\n"
                     "\"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": \"<unk>\", "
                     "\"continuing_subword_prefix\": null,\n"
                     "\"end_of_word_suffix\": null, \"fuse_unk\": true, \"byte_fallback\": true, "
                     "\"ignore_merges\": false, \"vocab\": {\n");
    for (int32_t i = 0; i < 3; i++)
        strbuf_printf(out, "\"%s\": %d,\n", specials[i], i);
    for (int32_t b = 0; b < 256; b++)
        strbuf_printf(out, "\"<0x%02X>\": %d,\n", b, 3 + b);
    for (int32_t i = 0; i < TOY_PIECES; i++)
        strbuf_printf(out, "\"%s\": %d%s\n", pieces[i].text, 259 + i,
                      i + 1 < TOY_PIECES ? "," : "");
    strbuf_puts(out, "}, \"merges\": [");
    const char *comma = "";
    for (int32_t i = 0; i < TOY_PIECES; i++) {
        if (!pieces[i].left) continue;
        strbuf_printf(out, "%s\"%s %s\"", comma, pieces[i].left, pieces[i].right);
        comma = ", ";
    }
    strbuf_puts(out, "]}}\n");
}

void toy_bytes_json(StrBuf *out)
{
    strbuf_puts(
        out,
        "{\"added_tokens\": [{\"id\": 259, \"content\": \"<|end|>\", \"special\": true}], "
        "\"normalizer\": {\"type\": \"NFC\"},\n"
        "\"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"use_regex\": "
        "true},\n"
        "\"post_processor\": {\"type\": \"ByteLevel\"}, \"decoder\": {\"type\": \"ByteLevel\"},\n"
        "\"model\": {\"type\": \"BPE\", \"vocab\": {\n");
    int32_t next = 0x100;
    for (int32_t b = 0; b < 256; b++) {
        bool itself = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
        int32_t cp = itself ? b : next++;
        if (cp == '"' || cp == '\\')
            strbuf_printf(out, "\"\\%c\": %d,\n", cp, b);
        else if (cp < 0x80)
            strbuf_printf(out, "\"%c\": %d,\n", cp, b);
        else
            strbuf_printf(out, "\"%c%c\": %d,\n", 0xC0 | cp >> 6, 0x80 | (cp & 63), b);
    }
    strbuf_puts(out, "\"th\": 256, \"the\": 257, \"\xC4\xA0the\": 258}, \"merges\": [\"t h\", "
                     "[\"th\", \"e\"], \"\xC4\xA0 the\"]}}\n");
}

// ---- directories -------------------------------------------------------------------------------

StrBuf toy_directory(void)
{
    StrBuf path = {0};
    const char *root = getenv("TMPDIR");
    strbuf_printf(&path, "%s/kiln-test-XXXXXX", root ? root : "/tmp");
    if (!mkdtemp(path.data)) BUG("no temporary directory %s", path.data);
    return path;
}

void toy_put(const StrBuf *dir, const char *name, Str bytes)
{
    StrBuf path = {0};
    strbuf_printf(&path, "%s/%s", dir->data, name);
    if (file_replace(path.data, bytes.data, bytes.len, NULL) != KILN_OK)
        BUG("%s cannot be written", path.data);
    strbuf_free(&path);
}

void toy_remove(const StrBuf *dir)
{
    DIR *d = opendir(dir->data);
    for (struct dirent *e; d && (e = readdir(d));) {
        StrBuf path = {0};
        strbuf_printf(&path, "%s/%s", dir->data, e->d_name);
        if (e->d_name[0] != '.') unlink(path.data);
        strbuf_free(&path);
    }
    if (d) closedir(d);
    rmdir(dir->data);
}
