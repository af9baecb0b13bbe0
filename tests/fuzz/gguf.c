// tests/fuzz/gguf.c - any bytes as a GGUF file, then as a model's configuration and tokenizer.
//
// For every file that is accepted, every tensor's bytes lie inside it.
#include <stdlib.h>

#include "runtime/format/config.h"
#include "runtime/token/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void touch(const Gguf *g, const uint8_t *data, size_t size)
{
    for (int32_t i = 0; i < gguf_n_tensors(g); i++) {
        const GgufTensor *t = gguf_tensor(g, i);
        const uint8_t *at = t->data;
        if (at < data || at > data + size || t->size > (size_t)(data + size - at)) abort();
        if (gguf_find_tensor(g, t->name) != t) abort();
    }
    for (int32_t i = 0; i < gguf_n_values(g); i++) {
        const GgufValue *v = gguf_value(g, i);
        int64_t integer;
        double real;
        size_t at = 0, bytes = 0;
        Str s;
        if (v->elem != GGUF_STRING)
            (void)gguf_value_int(v, v->count - 1, &integer),
                (void)gguf_value_real(v, v->count - 1, &real);
        while (gguf_next_string(v, &at, &s))
            bytes += s.len;
        if (bytes > size) abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Heap heap;
    Diag diag;
    Gguf *g = NULL;
    Tokenizer *tok = NULL;
    ModelConfig config;
    heap_init(&heap);
    diag_init(&diag, heap_default());
    KilnStatus st = gguf_read((Str){(const char *)data, size}, "fuzz.gguf", &heap, &g, &diag);
    if (st == KILN_OK) {
        touch(g, data, size);
        if (config_from_gguf(g, &config, &diag) == KILN_OK) {
            static float steps[CONFIG_HEAD_DIM_MAX / 2];
            config_rope_steps(&config, NULL, steps);
        }
        if (tokenizer_from_gguf(g, &heap, &tok, &diag) == KILN_OK) {
            Arena arena;
            TokenIds ids = {0};
            StrBuf text = {0};
            arena_init(&arena, &heap);
            if (tokenizer_encode(tok, (Str){(const char *)data, MIN(size, (size_t)200)}, 3, &arena,
                                 &ids, &diag) == KILN_OK)
                tokenizer_decode(tok, ids.data, ids.len, true, &text);
            strbuf_free(&text);
            arena_reset(&arena);
        }
    } else if (diag.n_errors == 0) {
        abort(); // a refusal without a word
    }
    tokenizer_close(tok);
    gguf_close(g);
    diag_reset(&diag);
    if (heap.n_live) abort();
    return 0;
}
