// tests/support/toy_model.h - a whole Llama model of 60 thousand random weights, in memory, in both
// containers.
//
//   2 layers, width 32, 4 query and 2 key-value heads of 8, ffn 64, 512 positions, tied or not
//   vocabulary: <unk> <s> </s>, 256 bytes, a few pieces (by score in GGUF, by rank in tokenizer.json)
//
// The weights of both containers are the same numbers, but rows of q and k are in each one's own
// rotary order only by name: they are random either way.
#ifndef TESTS_SUPPORT_TOY_MODEL_H
#define TESTS_SUPPORT_TOY_MODEL_H
#include "base/str.h"
#include "runtime/format/blocks.h"
#include "tests/support/gguf_write.h"

enum {
    TOY_LAYERS = 2,
    TOY_WIDTH = 32,
    TOY_HEADS = 4,
    TOY_KV_HEADS = 2,
    TOY_HEAD_DIM = 8,
    TOY_FFN = 64,
    TOY_CONTEXT = 512,
    TOY_PIECES = 12, ///< beyond the specials and the bytes
    TOY_VOCAB = 3 + 256 + TOY_PIECES,
};

typedef struct ToyOptions {
    BlockType matrices; ///< type of the matrices; norms are F32
    bool untied;
    const char *skip;    ///< canonical name of a tensor to leave out, or NULL
    const char *reshape; ///< ... to store with one row too few, or NULL
    bool no_tokenizer;   ///< GGUF only
} ToyOptions;

/// Metadata only, so that a test can add to it before toy_gguf_tensors().
void toy_gguf_metadata(GgufWriter *w, const ToyOptions *o);
void toy_gguf_tokenizer(GgufWriter *w);
/// A byte-level tokenizer: 256 bytes, "th", "the", " the" and the control token <|end|>. pre NULL:
/// no such key.
void toy_gguf_bytes(GgufWriter *w, const char *pre);
void toy_gguf_tensors(GgufWriter *w, const ToyOptions *o);
/// All three. @return where tensor data begins
size_t toy_gguf(const ToyOptions *o, StrBuf *out);

/// Appends config.json.
void toy_config(const ToyOptions *o, StrBuf *out);
/// Appends a safetensors file with layers begin..end-1, and with the embedding, norm and output
/// when `model`.
void toy_safetensors(const ToyOptions *o, int32_t begin, int32_t end, bool model, StrBuf *out);
/// Appends tokenizer.json: the same vocabulary as ranked merges.
void toy_tokenizer_json(StrBuf *out);
/// Appends tokenizer.json of a byte-level vocabulary: 256 bytes, "th", "the", " the", and <|end|>,
/// cut like GPT-2.
void toy_bytes_json(StrBuf *out);

/// A new directory under the system's temporary one. Freed by strbuf_free(); emptied by
/// toy_remove().
StrBuf toy_directory(void);
void toy_put(const StrBuf *dir, const char *name, Str bytes);
void toy_remove(const StrBuf *dir);
#endif
