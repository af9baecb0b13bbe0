// runtime/token/merge.h - the loop both kinds of tokenizer share: merge the best adjacent pair
// until none is left.
//
//   l o w e r   --(1) l+o-->   lo w e r   --(2) lo+w-->   low e r   --(3) e+r-->   low er
//
// Symbols are a linked list in an array; candidate pairs wait in a binary heap by (rank, position).
// A waiting pair is stale when a side is gone or the two lengths no longer add up to what they
// were. n log n.
//
// Source   Sennrich et al. 2016, algorithm 1; the queue is SentencePiece's
#ifndef RUNTIME_TOKEN_MERGE_H
#define RUNTIME_TOKEN_MERGE_H
#include "base/str.h"

typedef struct Symbol {
    int32_t begin, len; ///< bytes of the word; len 0: merged into its left neighbour
    int32_t prev, next; ///< neighbours, -1 none
    int32_t id;         ///< -1: no piece
} Symbol;

/// Whether l and r, neighbours, merge: into which id, and how soon (lower first).
typedef bool MergeLookup(const void *cx, Str word, const Symbol *l, const Symbol *r, uint32_t *rank,
                         int32_t *id);

/// Links `n` symbols in order and merges them in place. Scratch memory is given back.
void merge_symbols(Symbol *symbols, int32_t n, Str word, MergeLookup *lookup, const void *cx,
                   Arena *scratch);

/// Pairs of ids that merge: (left, right) -> (rank, result). Open addressing.
typedef struct MergeTable {
    struct MergeEntry {
        int32_t left, right, id; ///< left -1: empty
        uint32_t rank;
    } *entries;
    uint64_t n_slots; ///< a power of two, 0 for an empty table
} MergeTable;

void merge_table_init(Arena *a, MergeTable *t, int32_t n);
/// @return false when the pair is there already
bool merge_table_put(MergeTable *t, int32_t left, int32_t right, uint32_t rank, int32_t id);
bool merge_table_get(const MergeTable *t, int32_t left, int32_t right, uint32_t *rank, int32_t *id);
#endif
