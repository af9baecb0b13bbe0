// runtime/engine.h - several sequences, one ragged batch per step.
//
//   submit --> waiting --admit (a slot, pages for the prompt)--> running --> done
//                 ^                                                |
//                 `------- preempt the youngest: no page left -----'   recomputed later, never lost
//
//   step   rows = one decode per running sequence + prefill chunks up to n_batch tokens
//          bucket = the smallest recorded graph that holds them; upload, run, read ids, stream
//
// A graph is recorded once per (phase, bucket). Decode buckets are 1 2 4 8 ... sequences; prefill buckets
// 16 64 256 512 ... tokens. engine_submit records what a request will need, so that nothing is compiled
// or recorded while tokens flow (stats.records says so).
//
// Threads  one at a time per engine
// Tests    tests/runtime/test_engine.c
#ifndef RUNTIME_ENGINE_H
#define RUNTIME_ENGINE_H
#include "runtime/kv/pages.h"
#include "runtime/model.h"

typedef struct Engine Engine;

/// A field left zero takes the default in brackets.
typedef struct EngineOptions {
    int32_t n_slots;     ///< sequences at once [1]
    int32_t max_context; ///< tokens per sequence [the smaller of the model's and what fits]
    int32_t n_batch;     ///< rows per step: the prefill chunk [512]
    int32_t page_len;    ///< [32]
    KvFormat kv_format;
    double mem_fraction; ///< of free device memory for weights, cache and activations [0.9]
    size_t memory_limit; ///< bytes to plan with instead of the free memory [none]
    size_t
        kv_bytes; ///< of the cache [every slot full]; with less, the youngest sequences may be preempted
    bool all_logits; ///< requests may ask for logits of all prompt positions
    bool one_by_one; ///< no waves: launch after launch (--no-cuda-graph)
} EngineOptions;

/// What a plan says, in bytes.
typedef struct MemoryPlan {
    size_t weights, kv, activations, step; ///< step: token arrays and logits
    size_t available;                      ///< what may be used
    size_t kv_per_token;                   ///< of one sequence
    int32_t max_context, n_slots;
    bool fits;
} MemoryPlan;

/// Plans without loading. When max_context is 0 the largest that fits is chosen (at least one page).
/// @return KILN_OK: fits; KILN_ERR_LIMIT: K301 with the numbers; `out` is filled in both cases
MUST_USE KilnStatus engine_plan(Device *dev, const Model *m, const EngineOptions *options,
                                MemoryPlan *out, Diag *diag);

/// Plans, loads the weights, opens the cache.
/// @param m        borrowed; outlives the engine
/// @param kernels  borrowed; outlives the engine; its device is the engine's
/// @param out      owned: engine_close()
MUST_USE KilnStatus engine_open(KernelCache *kernels, Model *m, const EngineOptions *options,
                                Engine **out, Diag *diag);
void engine_close(Engine *e);

typedef enum FinishReason {
    FINISH_NONE,   ///< not finished
    FINISH_STOP,   ///< an end token, or the callback said so
    FINISH_LENGTH, ///< n_predict or the context is full
    FINISH_CANCEL,
    FINISH_ERROR,
} FinishReason;

/// One token of one request; may call engine_submit and engine_cancel. @return false to end the request here
typedef bool (*TokenFn)(void *user, int32_t request, int32_t token, int32_t index);

typedef struct Request {
    const int32_t *prompt; ///< [n_prompt] copied; n_prompt >= 1
    int32_t n_prompt;
    int32_t
        n_predict; ///< tokens; negative: until an end token or the context is full; 0: prefill only
    SampleParams sample;
    const int32_t *stop_ids; ///< [n_stop] copied: end of generation; not emitted
    int32_t n_stop;
    bool ignore_stop; ///< --ignore-eos
    TokenFn on_token; ///< may be NULL
    void *user;
    float *prompt_logits; ///< [n_prompt][vocab] host, filled during prefill; NULL: not wanted
} Request;

/// Queues a request and records the graphs it needs.
/// @return KILN_OK; KILN_ERR_LIMIT: K401 prompt longer than the context; KILN_ERR_INPUT: K403
MUST_USE KilnStatus engine_submit(Engine *e, const Request *r, int32_t *id, Diag *diag);
/// Ends a request wherever it is. Unknown numbers are fine.
void engine_cancel(Engine *e, int32_t id);
/// One step. @param[out] busy  false: nothing is waiting or running
MUST_USE KilnStatus engine_step(Engine *e, bool *busy, Diag *diag);
/// Steps until nothing is left.
MUST_USE KilnStatus engine_run(Engine *e, Diag *diag);

/// Generated so far. @return [*n] borrowed until the next step; NULL: unknown number
const int32_t *engine_tokens(const Engine *e, int32_t id, int32_t *n, FinishReason *reason);
/// Forgets a finished request. Not from a callback.
void engine_forget(Engine *e, int32_t id);

typedef struct EngineStats {
    int64_t steps, prefill_tokens, decode_tokens, preemptions;
    int64_t prefill_us, decode_us; ///< steps with a chunk of a prompt; steps without
    int64_t decode_steps;
    int64_t decode_bytes; ///< weights and cache read by decode steps (counted, not measured)
    int64_t records, compiles, allocations;                ///< since the engine was opened
    int64_t flow_records, flow_compiles, flow_allocations; ///< of those, inside engine_step
    int32_t n_running, n_waiting;
    size_t kv_used_bytes, kv_total_bytes, weight_bytes, activation_bytes;
} EngineStats;
void engine_stats(const Engine *e, EngineStats *out);
const MemoryPlan *engine_memory(const Engine *e);
/// Records every bucket now.
MUST_USE KilnStatus engine_warm(Engine *e, Diag *diag);
/// The graph for `n` sequences (decode) or tokens (prefill), recorded if need be; borrowed.
MUST_USE KilnStatus engine_graph(Engine *e, Phase phase, int32_t n, Graph **out, Diag *diag);
KvPool *engine_kv(Engine *e);
#endif
