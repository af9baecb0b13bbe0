// ir/gf2.h - small matrices over GF(2): lists of columns, each a word of bits; addition is xor.
//
//   F = [f0 f1 f2 ...]     F x = xor of f_i over the set bits i of x
//
// Layouts are such matrices, so every question about them (inverse, which conversion, bank
// conflicts) is elimination here. At most 32 columns of 32 bits, so each function is a few hundred
// word operations and nothing allocates. Choices break ties by column order: same input, same
// bytes.
//
// Source: Gaussian elimination with pivots sorted by leading bit; layouts.md 1.2.
#ifndef IR_GF2_H
#define IR_GF2_H
#include "base/base.h"

enum { GF2_MAX = 32 };

/// Columns reduced one by one. `combo` remembers which original columns were xored into a pivot.
typedef struct Gf2Basis {
    uint32_t pivot[GF2_MAX]; ///< by leading bit; 0: none
    uint32_t combo[GF2_MAX];
    uint32_t kernel[GF2_MAX]; ///< combinations of original columns that are zero
    int32_t rank, n_kernel, n_cols;
} Gf2Basis;

/// F x.
uint32_t gf2_apply(const uint32_t *f, uint32_t x);
/// The elimination of f[0..n).
Gf2Basis gf2_basis(int32_t n, const uint32_t *f);
/// Adds one column. @return true when it raised the rank
bool gf2_basis_add(Gf2Basis *b, uint32_t column);
int32_t gf2_rank(int32_t n, const uint32_t *f);
bool gf2_in_span(const Gf2Basis *b, uint32_t y);
/// One x with F x = y; free unknowns are 0. @return false: y is outside the span
bool gf2_solve(const Gf2Basis *b, uint32_t y, uint32_t *x);
/// Unit vectors of a d-dimensional space that complete span(f) to all of it, lowest first. @return
/// how many
int32_t gf2_complement(int32_t n, const uint32_t *f, int32_t d, uint32_t *out);
/// A basis of span(f) and span(g) intersected. @return its dimension
int32_t gf2_intersect(int32_t nf, const uint32_t *f, int32_t ng, const uint32_t *g, uint32_t *out);
/// One subspace that is a complement of span(f) and of span(g), both of dimension `t` in a
/// d-dimensional space: always exists. @return its dimension, d - t
int32_t gf2_common_complement(int32_t t, const uint32_t *f, const uint32_t *g, int32_t d,
                              uint32_t *out);
/// Spreads the low bits of x over the set bits of `mask`, lowest first; extract is its inverse.
uint32_t gf2_deposit(uint32_t x, uint32_t mask);
uint32_t gf2_extract(uint32_t x, uint32_t mask);
#endif
