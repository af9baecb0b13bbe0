// runtime/engine_private.h - what the files of the engine share: options with defaults, sequences.
#ifndef RUNTIME_ENGINE_PRIVATE_H
#define RUNTIME_ENGINE_PRIVATE_H
#include "runtime/engine.h"

/// `options` with defaults filled in (max_context stays 0 when not given).
EngineOptions engine_defaults(const EngineOptions *options);
KvShape engine_kv_shape(const Model *m, const EngineOptions *o, int32_t max_context);

typedef enum SeqState { SEQ_WAITING, SEQ_RUNNING, SEQ_DONE } SeqState;

/// One request, from submit to forget.
//
//   tokens   [ prompt ............ | generated ... ]
//              0          n_cached       n_tokens
//              `-- in the cache --'`-- to be fed --'
typedef struct Seq {
    struct Seq *next; ///< all requests, oldest first
    int32_t id;
    SeqState state;
    FinishReason reason;
    Request request; ///< prompt and stop_ids point into tokens and stops
    int32_t *tokens, *stops;
    int32_t n_tokens, cap_tokens, n_cached;
    int32_t slot, list;
    int64_t admitted;               ///< order of admission: the largest is the youngest
    int32_t in_batch;               ///< rows in the step being built, 0: none
    int32_t batch_index, first_row; ///< place in that step
} Seq;

enum { MAX_BUCKETS = 24 };

typedef struct Bucket {
    int32_t n;    ///< sequences (decode) or tokens (prefill)
    Graph *graph; ///< NULL: not recorded yet
} Bucket;

struct Engine {
    KernelCache *kernels;
    Device *dev;
    Heap *heap;
    Model *model;
    EngineOptions options; ///< with defaults; max_context as planned
    MemoryPlan memory;
    KvPool *kv;
    Batch *batch;
    StepBuffers step;
    void *arena; ///< planned buffers of all graphs: they never run at the same time
    size_t arena_bytes;
    Bucket buckets[2][MAX_BUCKETS]; ///< by phase, ascending
    int32_t n_buckets[2];
    Seq *first, *last;
    bool *slot_used; ///< [n_slots]
    Seq **queue;     ///< [n_slots] sequences of the step being built
    int32_t next_id;
    int64_t n_admitted;
    EngineStats stats;
    DeviceCounters opened; ///< counters when the engine was opened
};
#endif
