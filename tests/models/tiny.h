// tests/models/tiny.h - random little models as GGUF files, and what they should say, in f64.
#ifndef TESTS_MODELS_TINY_H
#define TESTS_MODELS_TINY_H
#include "runtime/format/weights.h"

typedef struct TinyShape {
    int32_t n_layers, d_model, n_heads, n_kv_heads, head_dim, d_ff, vocab;
    bool tied;
    BlockType type;      ///< of matrices whose rows are whole blocks; the others are F16
    const char *arch;    ///< NULL: "llama"
    const char *without; ///< a tensor left out, or NULL
} TinyShape;

/// Writes a GGUF file with seeded weights. @return its path, arena; remove it after use
const char *tiny_write(Arena *arena, const TinyShape *shape, uint64_t seed);

/// Logits of every position of `tokens`, computed plainly in f64 from the file's own weights.
/// @param out [n][vocab]
void tiny_forward(const ModelFile *file, RopeKind rope, const int32_t *tokens, int32_t n,
                  double *out);
#endif
