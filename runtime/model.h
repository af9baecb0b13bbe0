// runtime/model.h - what the engine knows of a model: a few numbers, and how to record a step.
//
//   engine --StepBuffers, StepShape--> ops->record --> a Graph of launches (tokens -> logits -> ids)
//
// The engine knows no architecture, and a model knows no device: it asks for kernels by name, planned
// buffers by size, and launches. models/ fills this in (models/registry.c defines model_open).
#ifndef RUNTIME_MODEL_H
#define RUNTIME_MODEL_H
#include "runtime/batch.h"
#include "runtime/graph.h"

typedef struct Model Model;

typedef struct ModelFacts {
    char name[96], arch[32]; ///< "Qwen2.5-0.5B", "qwen2"
    char weight_type[24];    ///< "Q8_0", "BF16": of most bytes
    int32_t n_layers, n_heads, n_kv_heads, head_dim, hidden, vocab;
    int32_t max_context; ///< trained; 0 unknown
    int64_t n_params;
    size_t weight_bytes; ///< on the device once loaded
    size_t token_bytes;  ///< weights read to decode one token
} ModelFacts;

typedef struct ModelOps {
    /// Puts the weights on the device and parses the kernels. Called once, after the memory plan was accepted.
    KilnStatus (*load)(Model *m, KernelCache *kernels, Diag *diag);
    /// Records one forward step for every batch up to `shape`: rows of tokens to sampled ids.
    /// K and V of the rows go to the cache at the end of each list (list_len includes them).
    KilnStatus (*record)(Model *m, Graph *g, const StepBuffers *step, const StepShape *shape,
                         Diag *diag);
    /// About how many bytes of planned buffers a graph of this shape needs; for the memory plan.
    size_t (*activation_bytes)(const Model *m, const StepShape *shape);
    void (*close)(Model *m);
} ModelOps;

/// First field of every model of models/.
struct Model {
    const ModelOps *ops;
    ModelFacts facts;
    Heap *heap;
    bool is_loaded; ///< set by the first engine_open
    struct Tokenizer *
        tokenizer; ///< runtime/token/tokenizer.h; owned by the model; NULL when the files have none
};

typedef struct ModelOptions {
    DType activations; ///< DTYPE_VOID: F32 on a CPU; on a GPU F16, or BF16 for a model in BF16
    bool use_mmap;     ///< weights that can be used where they lie are not copied
    const Log *log;
    Heap *heap; ///< NULL: the process heap
} ModelOptions;

/// Opens a GGUF file or a folder of safetensors: headers, configuration and tokenizer, not the weights.
/// Defined by models/, so that this floor names no architecture.
/// @param out owned: model_close()
/// @return KILN_OK; KILN_ERR_IO, KILN_ERR_INPUT (K2xx), KILN_ERR_UNSUPPORTED (K205)
MUST_USE KilnStatus model_open(const char *path, const ModelOptions *options, Model **out,
                               Diag *diag);

/// The kernel files that the program carries (kernels.dsl/). Defined by models/.
extern const KernelText kernel_texts[];
extern const int32_t kernel_n_texts;

static inline void model_close(Model *m)
{
    if (m) m->ops->close(m);
}
#endif
