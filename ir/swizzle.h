// ir/swizzle.h - shared-memory layouts for a conversion, free of bank conflicts, by linear algebra.
//
//   offset bits   [ V | B | Z ]     V one vector access, B the rest of a 128-byte bank row, Z the
//   rows source S writes vectors, a barrier, destination D reads vectors
//
// A side X meets no conflict when span(Z) and P_X = span(V, lanes of one phase) share only zero.
// Both P_S and P_D have at most t = lg(128 / bytes) dimensions, and two such subspaces of one space
// always have a common complement: so one bijection serves both sides, without padding
// (layouts.md 4.3).
#ifndef IR_SWIZZLE_H
#define IR_SWIZZLE_H
#include "ir/layout.h"

typedef struct Swizzle {
    Layout mem;  ///< shared layout: element offset -> coordinate
    int32_t vec; ///< lg of the elements of V
    int32_t
        src_vec; ///< lg of the elements of one access of the source: a prefix of V in its registers
    int32_t dst_vec;
} Swizzle;

/// Finds the shared layout for moving a tile of elements of `bytes` (1, 2, 4, 8) from `src` to
/// `dst`, both canonical distributed layouts of one shape.
Swizzle swizzle_build(const Layout *src, const Layout *dst, int32_t bytes);
/// The largest number of different 128-byte rows that lanes of one phase want from one bank: 1 is
/// free of conflicts. Counted lane by lane, the slow way, for tests and reports. `vec`: lg of the
/// elements per access.
int32_t swizzle_conflicts(const Layout *mem, const Layout *side, int32_t vec, int32_t bytes);
#endif
