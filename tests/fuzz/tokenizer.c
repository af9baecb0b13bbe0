// tests/fuzz/tokenizer.c - any bytes as tokenizer.json; when it is accepted, texts are encoded and
// decoded with it.
#include <stdlib.h>

#include "runtime/token/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const Tokenizer *tok, Str text, Heap *heap, Diag *diag)
{
    Arena arena;
    TokenIds ids = {0};
    StrBuf out = {0};
    arena_init(&arena, heap);
    if (tokenizer_encode(tok, text, ENCODE_ADD_SPECIAL | ENCODE_PARSE_SPECIAL, &arena, &ids,
                         diag) == KILN_OK) {
        for (int32_t i = 0; i < ids.len; i++)
            if (ids.data[i] < 0 || ids.data[i] >= tokenizer_n_ids(tok)) abort();
        tokenizer_decode(tok, ids.data, ids.len, true, &out);
    }
    strbuf_free(&out);
    arena_reset(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Heap heap;
    Diag diag;
    Tokenizer *tok = NULL;
    heap_init(&heap);
    diag_init(&diag, heap_default());
    HfTokenizerFiles files = {
        .tokenizer = {(const char *)data, size}, .path = "tokenizer.json", .bos = -1};
    if (tokenizer_from_hf(&files, &heap, &tok, &diag) == KILN_OK) {
        use(tok, STR("the and\n  \xC3\xA9 e\xCC\x81 <s>12 \xFF\xE2\x96\x81 don't<|end|>"), &heap,
            &diag);
        use(tok, (Str){(const char *)data, MIN(size, (size_t)300)}, &heap, &diag);
    } else if (diag.n_errors == 0) {
        abort();
    }
    tokenizer_close(tok);
    diag_reset(&diag);
    if (heap.n_live) abort();
    return 0;
}
