// runtime/plan.h - offsets in one arena for buffers with lives.
//
//   time ->  0 1 2 3 4
//   a        ######            a and c may lie at the same place, b may not
//   b          ######
//   c              ####
//
// Largest first, each at the lowest hole that fits between the buffers it lives beside (best fit of
// the holes). Source  Pisarchyk and Lee, Efficient Memory Management for Deep Neural Net Inference,
// 2020 (arXiv:2001.03288), section 5, greedy by size.
#ifndef RUNTIME_PLAN_H
#define RUNTIME_PLAN_H
#include "base/arena.h"

typedef struct PlanItem {
    size_t bytes;
    int32_t first, last; ///< times of first and last use, both included; first > last: never used
    size_t offset;       ///< answer
} PlanItem;

/// Fills in `offset` of n items, each a multiple of `align` (a power of two).
/// @return bytes of the arena
size_t plan_offsets(Arena *scratch, int32_t n, PlanItem *items, size_t align);
#endif
