// bench/gpu_suite/model_file.h - a model file of a given shape, with random weights.
#ifndef BENCH_GPU_SUITE_MODEL_FILE_H
#define BENCH_GPU_SUITE_MODEL_FILE_H
#include "base/diag.h"

typedef struct ModelSize {
    const char *name;
    int32_t layers, width, heads, kv_heads, ff, vocab, context;
} ModelSize;

/// Writes a GGUF file; vocab is 259 or more. @param form  f32 f16 bf16 q8_0 q4_0: of the matrices
/// @return KILN_OK; KILN_ERR_IO: K101 no room; KILN_ERR_INPUT: no such form
MUST_USE KilnStatus model_file_write(const char *path, const ModelSize *m, const char *form,
                                     Diag *diag);
#endif
