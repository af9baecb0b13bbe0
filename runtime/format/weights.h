// runtime/format/weights.h - a model file, whatever its format: one configuration, one table of
// tensors.
//
//   model.gguf --------------------.
//   model-00001-of-00003.gguf -----+-->  ModelConfig, "blk.3.attn_q.weight" -> {type, shape, bytes}
//   directory with config.json ----'
//
// Tensors have canonical names, those of GGUF, and are row-major [rows = outputs, cols = inputs].
// They are borrowed from the mapping; only data that lies on an odd address for its element type is
// copied once. Rows of q and k are in the file's own order: config.rope_kind says which rotation
// fits them.
//
//   token_embd.weight          [vocab, d_model]
//   output.weight              [vocab, d_model], the embedding itself when config.tied
//   output_norm.weight         [d_model]
//   blk.N.attn_norm.weight     [d_model]
//   blk.N.attn_q.weight        [n_heads * head_dim, d_model]
//   blk.N.attn_k.weight        [n_kv_heads * head_dim, d_model]
//   blk.N.attn_v.weight        [n_kv_heads * head_dim, d_model]
//   blk.N.attn_output.weight   [d_model, n_heads * head_dim]
//   blk.N.ffn_norm.weight      [d_model]
//   blk.N.ffn_gate.weight      [d_ff, d_model]
//   blk.N.ffn_up.weight        [d_ff, d_model]
//   blk.N.ffn_down.weight      [d_model, d_ff]
//   rope_freqs.weight          [rope_dim / 2] f32, in some GGUF files
//
// Source   the tensor names of GGUF and of Hugging Face's Llama checkpoints
// Threads  an open model file is never written: many may read
// Tests    tests/runtime/format/test_weights.c
#ifndef RUNTIME_FORMAT_WEIGHTS_H
#define RUNTIME_FORMAT_WEIGHTS_H
#include "runtime/format/blocks.h"
#include "runtime/format/config.h"
#include "runtime/format/gguf.h"

typedef struct ModelFile ModelFile;

typedef struct WeightTensor {
    const char *name;      ///< canonical
    const char *file_name; ///< as the file calls it, for messages
    BlockType type;        ///< one whose block_facts()->read is not NULL
    int32_t rank;          ///< 1 or 2
    int64_t shape[4];      ///< [rows, cols], or [n]; unused ones are 1
    const void *data;      ///< on an address fit for the element (packed: for 2 bytes); borrowed
    size_t size_bytes;
} WeightTensor;

/// Opens a GGUF file (or the first of a split one) or a Hugging Face directory, and checks that
/// every tensor the architecture needs is there, in the shape the configuration implies and in a
/// type that runs.
/// @param heap  holds the tables; outlives the file
/// @param out   owned by the caller: model_file_close(); NULL unless KILN_OK
/// @return KILN_OK; KILN_ERR_IO: K211 there is no such path (with the command to download it when
///         it looks like a name on the Hub); KILN_ERR_INPUT: K201-K204, K206, K208-K210;
///         KILN_ERR_UNSUPPORTED: K205 architecture, K207 tensor type; KILN_ERR_NOMEM
MUST_USE KilnStatus model_file_open(const char *path, Heap *heap, ModelFile **out, Diag *diag);
/// NULL is fine.
void model_file_close(ModelFile *m);

const ModelConfig *model_file_config(const ModelFile *m);
/// The path it was opened with.
const char *model_file_path(const ModelFile *m);
/// A tensor by canonical name. @return NULL when the model has none of that name
const WeightTensor *model_file_tensor(const ModelFile *m, const char *name);
/// Tensor `base` of layer `layer`: model_file_layer_tensor(m, 3, "attn_q") is blk.3.attn_q.weight.
const WeightTensor *model_file_layer_tensor(const ModelFile *m, int32_t layer, const char *base);
/// All tensors in a fixed order: embedding, layers, output; tied output and unused tensors are not
/// listed.
int32_t model_file_n_tensors(const ModelFile *m);
const WeightTensor *model_file_tensor_at(const ModelFile *m, int32_t i);
/// Bytes of all listed tensors.
int64_t model_file_bytes(const ModelFile *m);

/// The rotary steps of config_rope_steps(), with the file's own divisors where it has them. out:
/// [rope_dim/2]
void model_file_rope_steps(const ModelFile *m, float *out);

/// The GGUF file behind it (the first of a split one), or NULL for a directory.
const Gguf *model_file_gguf(const ModelFile *m);
#endif
