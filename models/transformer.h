// models/transformer.h - the decoder that all architectures here are rows of, and its weights on a device.
//
//   model file --transformer_open--> shapes, facts      (headers only)
//              --load-->             Matrix per tensor  (in place where it can be, else copied or repacked)
//              --record-->           launches of kernels.dsl/ in a Graph, once per bucket
//
//   token -> [ x = E[token]
//            | h = rms(x)   q k v = W h   rotate, append   a = attend(q, pages)   x += Wo a
//            | h = rms(x)   g u = W h     silu(g) * u                             x += Wd ..   ] per layer
//         -> logits = Wout rms(x) of the last row of each sequence -> sampled id
//
// On a CPU weights are packed when loaded, in panels of 16 rows (runtime/quant/pack.h); the pages of the file are
// given back then. q, k and v of a layer become one matrix, gate and up another: one launch reads all of them.
// On a GPU, and where activations are to stay floats, Q8_0 and Q4_0 are split into planes: blocks of 34 or 18 bytes
// are never aligned, planes of codes ([rows, cols] int8, or [rows, cols / 2] bytes of two nibbles, in the file's
// order) and of scales [rows, cols / 32] f16 are.
//
// Source   Touvron et al. 2023, LLaMA (arXiv:2302.13971)
// Tests    tests/models/test_transformer.c against a forward pass in f64; test_golden.c
#ifndef MODELS_TRANSFORMER_H
#define MODELS_TRANSFORMER_H
#include "runtime/format/weights.h"
#include "runtime/model.h"
#include "runtime/quant/pack.h"

/// What one architecture is, beside the numbers of its ModelConfig. A constant per file of models/.
typedef struct Architecture {
    const char *name;  ///< general.architecture and model_type
    const char *about; ///< for `kiln info`
    /// Tensors of a layer by canonical name; the recorder knows them by these roles.
    const char *attn_norm, *attn_q, *attn_k, *attn_v, *attn_output;
    const char *ffn_norm, *ffn_gate, *ffn_up, *ffn_down;
    const char *embedding, *output_norm, *output; ///< of the model
} Architecture;

extern const Architecture arch_llama, arch_mistral;

/// A weight on the device.
typedef struct Matrix {
    const void *at;     ///< [rows][cols] of dtype; packed: the codes
    const void *scale;  ///< packed: f16 [rows][cols / 32]; else NULL
    DType dtype;        ///< F32, F16, BF16; I8: Q8_0; U8: Q4_0 and the K types, two codes per byte
    int32_t rows, cols; ///< a vector: rows 1
    bool is_panels;     ///< `plane` says where it is
    BlockType type;
    void *plane[PACK_PLANES]; ///< of panels; absent ones NULL
} Matrix;

enum { STACK_MAX = 3 };

/// Matrices of equally long rows that are multiplied with the same activations. n_parts 1: all of them are rows of
/// part[0], one below the other; else part[i] is the i-th.
typedef struct Stack {
    Matrix part[STACK_MAX];
    int32_t n_parts, n;         ///< n: how many matrices there are
    int32_t rows_of[STACK_MAX]; ///< of each matrix
} Stack;

typedef struct Layer {
    Matrix attn_norm, o;
    Matrix ffn_norm, down;
    Stack qkv, gate_up;
} Layer;

typedef struct Transformer {
    Model model; ///< first: a Model * is a Transformer *
    const Architecture *arch;
    ModelFile *file;
    ModelConfig config;
    DType wanted_act; ///< the user's choice; VOID: the device's
    DType act;        ///< of activations; F32 until the weights are on a device
    bool
        packs; ///< weights are in panels, and packed types are multiplied with int8 codes of activations
    bool use_mmap;
    const Log *log;
    // after load
    KernelCache *kernels;
    Device *dev;
    Matrix embedding, output_norm, output;
    Layer *layers; ///< [n_layers] heap
    float *steps;  ///< device, f32 [rope_dim / 2]
    void **held;   ///< device addresses to free, heap
    int32_t n_held, cap_held;
    size_t copied_bytes, mapped_bytes; ///< weights in memory of ours, and used where they lie
} Transformer;

/// Checks shapes and fills in `facts`; reads no weights. Takes over `file` when it succeeds.
/// @param out owned: model_close()
/// @return KILN_OK; KILN_ERR_INPUT: K204 a tensor is missing or has another shape; KILN_ERR_NOMEM
MUST_USE KilnStatus transformer_open(const Architecture *arch, ModelFile *file,
                                     const ModelOptions *options, Model **out, Diag *diag);

// The ops of a transformer, each in a file of its own.
MUST_USE KilnStatus transformer_load(Model *m, KernelCache *kernels, Diag *diag);
MUST_USE KilnStatus transformer_record(Model *m, Graph *g, const StepBuffers *step,
                                       const StepShape *shape, Diag *diag);
size_t transformer_activation_bytes(const Model *m, const StepShape *shape);
/// Gives the weights back, and forgets them.
void transformer_unload(Transformer *t);

/// Looks a tensor up and checks it. layer < 0: one of the model.
/// @return KILN_OK; KILN_ERR_INPUT: K204
MUST_USE KilnStatus transformer_tensor(const Transformer *t, int32_t layer, const char *name,
                                       int32_t rows, int32_t cols, const WeightTensor **out,
                                       Diag *diag);
#endif
