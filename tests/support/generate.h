// tests/support/generate.h - runs a model on recorded prompts: ids in, ids and logits out.
#ifndef TESTS_SUPPORT_GENERATE_H
#define TESTS_SUPPORT_GENERATE_H
#include "runtime/engine.h"
#include "runtime/format/json.h"

typedef struct Lab {
    Arena arena;
    Diag diag;
    Device *dev;
    KernelCache *kernels;
    Model *model;
    Engine *engine;
} Lab;

typedef struct LabOptions {
    const char *device;     ///< NULL: cpu
    const char *cuda_lib;   ///< for "cuda"; NULL: the machine's driver
    const char *cublas_lib; ///< beside cuda_lib; NULL: none
    DType activations;      ///< VOID: the device's own
    EngineOptions engine;
} LabOptions;

/// Opens everything for the model at `path`; fails the test with the diagnostics when something is wrong.
void lab_open(Lab *lab, const char *path, const LabOptions *options);
void lab_close(Lab *lab);

typedef struct LabCase {
    int32_t n_prompt, n_expected;
    int32_t *prompt, *expected;
    const JsonValue *json; ///< the whole case
} LabCase;

/// The cases of a JSON file of recorded generations: {"cases": [{PROMPT_KEY: [ids], EXPECTED_KEY: [ids]}]}.
int32_t lab_cases(Lab *lab, const char *path, const char *prompt_key, const char *expected_key,
                  JsonDoc *doc, LabCase **out);
/// The ids of a JSON array; arena.
int32_t *lab_ids(Lab *lab, const JsonValue *array, int32_t *n);

/// Queues a prompt for `n` greedy tokens that no end token stops. `logits` [n_prompt][vocab] or NULL.
int32_t lab_submit(Lab *lab, int32_t n_prompt, const int32_t *prompt, int32_t n, float *logits);
/// Runs until all is done.
void lab_run(Lab *lab);
/// How many of the first n ids of `request` equal `expected`.
int32_t lab_agreement(Lab *lab, int32_t request, int32_t n, const int32_t *expected);
/// Fails the test with what diag says, unless st is KILN_OK.
void lab_check(Lab *lab, KilnStatus st, const char *what);
#endif
