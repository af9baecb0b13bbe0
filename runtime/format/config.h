// runtime/format/config.h - what a model is, in one set of fields, whatever file said so.
//
//   GGUF  llama.embedding_length ----.
//   HF    config.json hidden_size ----+-->  d_model
//
// Every field is checked against the limits below before anyone allocates by it.
//
// Source   the key tables of GGUF and of Hugging Face's LlamaConfig; rotary scaling: Llama 3.1's
//          reference code (llama3), Chen et al. 2023, arXiv:2306.15595 (linear)
// Tests    tests/runtime/format/test_config.c, tests/fuzz/config.c
#ifndef RUNTIME_FORMAT_CONFIG_H
#define RUNTIME_FORMAT_CONFIG_H
#include "base/diag.h"
#include "runtime/format/gguf.h"

enum {
    CONFIG_LAYERS_MAX = 1024,
    CONFIG_WIDTH_MAX = 1 << 20, ///< d_model and d_ff
    CONFIG_HEADS_MAX = 4096,
    CONFIG_HEAD_DIM_MAX = 4096,
    CONFIG_VOCAB_MAX = 4 << 20,
    CONFIG_CONTEXT_MAX = 64 << 20,
    CONFIG_EOS_MAX = 16,
};

/// Which elements of a head turn together.
typedef enum RopeKind {
    ROPE_INTERLEAVED, ///< (x[2i], x[2i+1]); GGUF files of the Llama family ("norm")
    ROPE_HALF_SPLIT,  ///< (x[i], x[i + rope_dim/2]); Hugging Face checkpoints ("neox")
} RopeKind;

typedef enum RopeScaling {
    ROPE_SCALING_NONE,
    ROPE_SCALING_LINEAR,   ///< f / factor
    ROPE_SCALING_LLAMA3,   ///< long wavelengths / factor, short ones kept, a ramp between
    ROPE_SCALING_DIVISORS, ///< f[i] / tensor rope_freqs.weight[i]: how GGUF spells llama3
} RopeScaling;

typedef struct ModelConfig {
    const char *arch; ///< "llama" or "mistral"; a static string
    int32_t n_layers;
    int32_t d_model;             ///< width of the residual stream
    int32_t n_heads, n_kv_heads; ///< query heads; key and value heads, which divides n_heads
    int32_t head_dim;            ///< n_heads * head_dim may differ from d_model
    int32_t d_ff;
    int32_t vocab;   ///< rows of the embedding; the tokenizer may know fewer ids
    int32_t context; ///< positions the model was trained for
    double rms_eps;
    RopeKind rope_kind;
    int32_t rope_dim; ///< rotated elements of each head, even, <= head_dim; the rest pass
    double rope_theta;
    RopeScaling rope_scaling;
    double rope_factor;
    double rope_low_freq_factor, rope_high_freq_factor; ///< llama3
    int32_t rope_original_context;                      ///< llama3
    bool tied;                                          ///< the output matrix is the embedding
    int32_t bos;                                        ///< -1: none
    int32_t eos[CONFIG_EOS_MAX];                        ///< ids that end generation, ascending
    int32_t n_eos;
} ModelConfig;

/// Reads the hyperparameters of a GGUF file. Shapes are not looked at; `vocab` is taken from the
/// rows of token_embd.weight, or from the token list when there are no tensors; `tied` from
/// output.weight.
/// @return KILN_OK; KILN_ERR_INPUT: K208 a field; KILN_ERR_UNSUPPORTED: K205 architecture or
///         feature
MUST_USE KilnStatus config_from_gguf(const Gguf *g, ModelConfig *out, Diag *diag);

/// Reads config.json and, when `generation.data` is not NULL, generation_config.json.
/// @param path, generation_path  for messages
/// @return as config_from_gguf, and K209 for text that is no JSON
MUST_USE KilnStatus config_from_hf(Str config, const char *path, Str generation,
                                   const char *generation_path, Heap *heap, ModelConfig *out,
                                   Diag *diag);

/// The angular step of each rotated pair: position p turns pair i by p * out[i].
/// Computed in f64, stored as f32, as the reference implementations do.
/// @param divisors  [rope_dim/2] for ROPE_SCALING_DIVISORS, else NULL
/// @param out       [rope_dim/2]
void config_rope_steps(const ModelConfig *c, const float *divisors, float *out);
#endif
