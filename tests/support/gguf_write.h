// tests/support/gguf_write.h - writes small GGUF files in memory, right or deliberately wrong.
//
//   GgufWriter w = {0};
//   gw_str(&w, "general.architecture", "llama");
//   gw_tensor(&w, "output_norm.weight", BLOCK_F32, 1, (int64_t[]){32}, norm, sizeof norm);
//   gw_finish(&w, &bytes);
#ifndef TESTS_SUPPORT_GGUF_WRITE_H
#define TESTS_SUPPORT_GGUF_WRITE_H
#include "base/str.h"
#include "runtime/format/gguf.h"

typedef struct GgufWriter {
    StrBuf kv, infos, data;
    uint64_t n_kv, n_tensors;
} GgufWriter;

static inline void gw_le(StrBuf *b, uint64_t x, int n)
{
    for (int i = 0; i < n; i++)
        strbuf_putc(b, (char)(x >> 8 * i));
}

static inline void gw_text(StrBuf *b, Str s)
{
    gw_le(b, s.len, 8);
    strbuf_add(b, s.data, s.len);
}

static inline void gw_key(GgufWriter *w, const char *key, GgufType type)
{
    gw_text(&w->kv, str_of(key));
    gw_le(&w->kv, type, 4);
    w->n_kv++;
}

static inline void gw_u32(GgufWriter *w, const char *key, uint32_t x)
{
    gw_key(w, key, GGUF_U32);
    gw_le(&w->kv, x, 4);
}

static inline void gw_f32(GgufWriter *w, const char *key, float x)
{
    gw_key(w, key, GGUF_F32);
    gw_le(&w->kv, f32_bits(x), 4);
}

static inline void gw_bool(GgufWriter *w, const char *key, bool x)
{
    gw_key(w, key, GGUF_BOOL);
    gw_le(&w->kv, x, 1);
}

static inline void gw_str(GgufWriter *w, const char *key, const char *text)
{
    gw_key(w, key, GGUF_STRING);
    gw_text(&w->kv, str_of(text));
}

static inline void gw_array(GgufWriter *w, const char *key, GgufType elem, uint64_t n)
{
    gw_key(w, key, GGUF_ARRAY);
    gw_le(&w->kv, elem, 4);
    gw_le(&w->kv, n, 8);
}

static inline void gw_strs(GgufWriter *w, const char *key, const Str *texts, int32_t n)
{
    gw_array(w, key, GGUF_STRING, (uint64_t)n);
    for (int32_t i = 0; i < n; i++)
        gw_text(&w->kv, texts[i]);
}

static inline void gw_f32s(GgufWriter *w, const char *key, const float *x, int32_t n)
{
    gw_array(w, key, GGUF_F32, (uint64_t)n);
    for (int32_t i = 0; i < n; i++)
        gw_le(&w->kv, f32_bits(x[i]), 4);
}

static inline void gw_i32s(GgufWriter *w, const char *key, const int32_t *x, int32_t n)
{
    gw_array(w, key, GGUF_I32, (uint64_t)n);
    for (int32_t i = 0; i < n; i++)
        gw_le(&w->kv, (uint32_t)x[i], 4);
}

/// ne[0] is the contiguous dimension. Data is padded to 32 bytes before each tensor.
static inline void gw_tensor(GgufWriter *w, const char *name, uint32_t type, int32_t rank,
                             const int64_t *ne, const void *data, size_t size)
{
    while (w->data.len % 32)
        strbuf_putc(&w->data, 0);
    gw_text(&w->infos, str_of(name));
    gw_le(&w->infos, (uint32_t)rank, 4);
    for (int32_t i = 0; i < rank; i++)
        gw_le(&w->infos, (uint64_t)ne[i], 8);
    gw_le(&w->infos, type, 4);
    gw_le(&w->infos, w->data.len, 8);
    strbuf_add(&w->data, data, size);
    w->n_tensors++;
}

/// Appends the whole file to `out` and frees the writer. @return where tensor data begins
static inline size_t gw_finish(GgufWriter *w, StrBuf *out)
{
    strbuf_add(out, "GGUF", 4);
    gw_le(out, 3, 4);
    gw_le(out, w->n_tensors, 8);
    gw_le(out, w->n_kv, 8);
    strbuf_add(out, w->kv.data, w->kv.len);
    strbuf_add(out, w->infos.data, w->infos.len);
    while (out->len % 32)
        strbuf_putc(out, 0);
    size_t data_at = out->len;
    strbuf_add(out, w->data.data, w->data.len);
    strbuf_free(&w->kv);
    strbuf_free(&w->infos);
    strbuf_free(&w->data);
    *w = (GgufWriter){0};
    return data_at;
}
#endif
