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

/// How ldmatrix serves a distributed layout: 8 x 8 matrices of 16-bit units, whose 8 rows of 16
/// contiguous bytes are read at the addresses of 8 lanes (layouts.md 2.4).
///
///   lane      l0 l1: which 4 bytes of a row, l2 l3 l4: which row       .trans: l2 l3 l4: which 2
///   register  the elements of those 4 bytes; up to two more bits         bytes, l0 l1 and the word's
///             choose among 4 matrices                                    register bit: which row
typedef struct MatrixRead {
    bool trans;
    int32_t n_word, n_more;
    uint32_t word[2]; ///< register bits (masks) of the elements in one 32-bit result, lowest first
    uint32_t more[2]; ///< register bits of the matrices that one instruction reads: 2^n_more
    uint32_t lane[LAYOUT_LANES]; ///< element offset that each bit of the addressing lane is worth
} MatrixRead;

/// Does ldmatrix read `l` from shared memory where element c lies at inverse(c), elements of
/// `bytes`? The memory starts at a multiple of 16 bytes.
bool matrix_read_applies(const Layout *l, const Layout *inverse, int32_t bytes, MatrixRead *out);
/// The same, and it costs no more wavefronts and instructions than vectors would.
bool matrix_read_pays(const Layout *l, const Layout *inverse, int32_t bytes, MatrixRead *out);
/// The most rows of one matrix that share banks, over all registers and warps: 1 is free of
/// conflicts. Counted row by row.
int32_t matrix_read_conflicts(const Layout *l, const Layout *inverse, int32_t bytes,
                              const MatrixRead *m);

typedef struct Swizzle {
    Layout mem;  ///< shared layout: element offset -> coordinate
    int32_t vec; ///< lg of the elements of V
    int32_t
        src_vec; ///< lg of the elements of one access of the source: a prefix of V in its registers
    int32_t dst_vec;
    bool by_matrix; ///< the destination reads with ldmatrix; dst_vec is then the row's
} Swizzle;

/// Finds the shared layout for moving a tile of elements of `bytes` (1, 2, 4, 8) from `src` to
/// `dst`, both canonical distributed layouts of one shape: the cheapest of reading with vectors and
/// with ldmatrix, in wavefronts and instructions of a warp.
Swizzle swizzle_build(const Layout *src, const Layout *dst, int32_t bytes);
/// The same for a source that copies runs of 2^log_run elements straight from global memory
/// (cp.async): its first log_run register columns, in this order, are one run and stay one.
Swizzle swizzle_for_copy(const Layout *src, int32_t log_run, const Layout *dst, int32_t bytes);
/// The largest number of different 128-byte rows that lanes of one phase want from one bank: 1 is
/// free of conflicts. Counted lane by lane, the slow way, for tests and reports. `vec`: lg of the
/// elements per access.
int32_t swizzle_conflicts(const Layout *mem, const Layout *side, int32_t vec, int32_t bytes);

/// The 64-bit descriptor by which wgmma finds an operand in shared memory that layout_hw_swizzled() laid out:
/// its start, the leading and the stride byte offsets (multiples of 16) and the swizzle w in {32, 64, 128}
/// (layouts.md 2.6). The tile lies at a multiple of 8 w, so that its base offset is 0.
uint64_t wgmma_descriptor(uint32_t start, uint32_t leading, uint32_t stride, int32_t w);
#endif
