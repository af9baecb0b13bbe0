// runtime/batch.h - one step's ragged batch, as device arrays of fixed capacity.
//
//   sequences of the batch      0 (slot 2)     1 (slot 0)     T = 5 rows of S = 2 sequences
//   rows                        a b c d        e
//   tokens   [T]                17 4 99 3      8              a prefill chunk of four and one decode
//   pos      [T]                0 1 2 3        41             position of the row in its sequence
//   seq_of   [T]                0 0 0 0        1              its sequence in the batch
//   q_start  [S+1]              0              4      5       rows of sequence s: q_start[s] .. q_start[s+1]
//   slot_of  [S]                2              0
//   counts   [4]                n_tokens 5, n_seqs 2, longest chunk 4, 0
//
// A recorded graph covers every batch up to its bucket: rows past n_tokens and sequences past n_seqs are
// dead, and programs leave early when they see that. All arrays live in one device block that is filled
// on the host and uploaded once per step; dead entries are 0, dead slots -1.
#ifndef RUNTIME_BATCH_H
#define RUNTIME_BATCH_H
#include "runtime/device.h"

/// How one sequence's next token is drawn (formats-and-models.md 11). temperature 0: greedy.
typedef struct SampleParams {
    float temperature; ///< [0, 100]
    float top_p;       ///< (0, 1]; 1: off
    float min_p;       ///< [0, 1]; 0: off
    int32_t top_k;     ///< 0: off
    uint64_t seed;
} SampleParams;

/// KILN_ERR_INPUT with K403 when a field is out of range.
MUST_USE KilnStatus sample_check(const SampleParams *p, Diag *diag);

/// Device addresses of the arrays of a step, and the cache; what a recorder passes to kernels.
typedef struct StepBuffers {
    int32_t *tokens, *pos, *seq_of;     ///< [max_tokens]
    int32_t *q_start;                   ///< [max_seqs + 1]; dead entries repeat n_tokens
    int32_t *slot_of;                   ///< [max_seqs]; dead: -1
    int32_t *counts;                    ///< [4]: n_tokens, n_seqs, longest chunk, 0
    float *temperature, *top_p, *min_p; ///< [max_seqs]
    int32_t *top_k;                     ///< [max_seqs]
    int64_t *seed;                      ///< [max_seqs] of the request
    int32_t *draw;    ///< [max_seqs] counter of the draw: the position of the token being drawn
    int32_t *out_ids; ///< [max_seqs] written by the sampling kernel
    float *logits;    ///< [max_seqs or, for StepShape.all_logits, n_tokens][vocab] f32
    int32_t max_tokens, max_seqs; ///< capacities

    // The cache (kv/pages.h). Physical page of logical page i of list n for (layer l, kv-head h):
    //   list_pages[n * max_pages + i] + list_spread[n] * (l * n_kv_heads + h)
    // at kv_base + page * page_bytes: K [page_len][head_dim], at v_offset V the same; int8 adds a scale per token.
    uint8_t *kv_base;
    DType kv_dtype;    ///< F32, F16, BF16, I8
    DType scale_dtype; ///< I8: F32; else VOID
    int32_t page_len, max_pages;
    int64_t page_bytes, v_offset;
    int64_t k_scale_offset, v_scale_offset; ///< bytes into the page: [page_len] of scale_dtype
    int32_t *list_of;                       ///< [slot][layer][kv-head] list numbers
    int32_t *list_pages;                    ///< [max_lists][max_pages]
    int32_t *list_len;                      ///< [max_lists] tokens, those of this step included
    int32_t *list_spread;                   ///< [max_lists]
} StepBuffers;

typedef enum Phase {
    PHASE_PREFILL, ///< rows of several sequences, chunks of any length (1 included)
    PHASE_DECODE,  ///< exactly one row per sequence: row s is sequence s
} Phase;

/// The bucket a graph is recorded for: upper bounds.
typedef struct StepShape {
    Phase phase;
    int32_t n_tokens, n_seqs;
    int32_t max_context; ///< the longest list, in tokens
    bool all_logits;     ///< logits for every row, not only the last of each sequence
} StepShape;

typedef struct Batch Batch;

/// One sequence's part of a step.
typedef struct BatchSeq {
    int32_t slot, first_pos, n_tokens;
    const int32_t *tokens; ///< [n_tokens]
    SampleParams sample;
} BatchSeq;

/// Allocates the arrays. `vocab` rows of logits: max(max_seqs, logit_rows).
/// @param out owned: batch_close()
MUST_USE KilnStatus batch_open(Device *dev, int32_t max_tokens, int32_t max_seqs,
                               int32_t logit_rows, int32_t vocab, Batch **out, Diag *diag);
/// The same with `room` more bytes behind the arrays, for what should travel with them (batch_room).
MUST_USE KilnStatus batch_open_with(Device *dev, int32_t max_tokens, int32_t max_seqs,
                                    int32_t logit_rows, int32_t vocab, size_t room, Batch **out,
                                    Diag *diag);
/// The host's copy of the room, and the device's; borrowed, 64-byte aligned.
void batch_room(const Batch *b, void **host, void **device);
void batch_close(Batch *b);
/// The addresses, without the cache's.
void batch_buffers(const Batch *b, StepBuffers *out);
/// Starts an empty step.
void batch_reset(Batch *b);
/// Adds a sequence. The caller keeps within max_tokens and max_seqs (asserted).
void batch_add(Batch *b, const BatchSeq *seq);
int32_t batch_n_tokens(const Batch *b);
int32_t batch_n_seqs(const Batch *b);
/// Copies the step to the device, and the first `room_bytes` of the room with it, in one go. Allocates nothing.
void batch_upload_with(Batch *b, size_t room_bytes);
void batch_upload(Batch *b);
/// Copies the n_seqs sampled ids back. @return [n_seqs] borrowed until the next call
const int32_t *batch_ids(Batch *b);
/// Appends a table of the step, for people.
void batch_text(const Batch *b, StrBuf *out);
#endif
