// ir/affine.h - bit-affine values: one analysis for all addresses and masks (architecture.md 3.1).
//
//   element e of a tile, with packed index bits b0 b1 ... (row-major: the last axis has the lowest bits),
//   is    value(e) = base(slow bits of e) + sum over the other bits of b_j * coeff_j
//
//   p + rows[:, None] * stride + cols[None, :]    of 4 x 8 f32, rows and cols aranges
//        b0 b1 b2 -> 4, 8, 16 (bytes)    b3 b4 -> 4 * stride, 8 * stride    slow: none
//   p + table[tokens // 16] * 256 + tokens % 16   a page table: the loaded block is uniform along b0..b3
//        b0..b3 -> 4, 8, 16, 32          slow: the bits above, where base is whatever was loaded
//
// Units: ints in their own value, pointers in BYTES. `base` is not stored: it is element 0 of the value
// (with the slow bits fixed), which affine_origin() computes with scalar ops in the program's own types. What
// is known of it is a congruence base == residue (mod 2^known), for every setting of the slow bits.
//
// Signed int arithmetic is taken not to wrap from one element of a tile to another when it is extended to
// addresses or compared: `wraps` tells where that could not be proved. Unsigned forms are kept only where
// it was proved.
#ifndef IR_AFFINE_H
#define IR_AFFINE_H
#include "ir/build.h"

enum { AFFINE_MAX_BITS = 20, AFFINE_MAX_FACTORS = 2 };

/// scale * factor[0] * factor[1]; NULL factors are 1. A factor is a scalar, or a tile that is uniform
/// (element 0 then). Zero is scale 0 without factors.
typedef struct Coeff {
    int64_t scale;
    const Value *factor[AFFINE_MAX_FACTORS];
    int32_t log_divisor; ///< the coefficient is a multiple of 2^this; 63 for zero
} Coeff;

typedef struct Affine {
    int32_t n_bits; ///< log2(numel)
    uint32_t slow;  ///< bits on which base depends in an unknown way; their coeff is zero
    Coeff coeff[AFFINE_MAX_BITS];
    int32_t known;   ///< base == residue (mod 2^known); 64: base is the constant `residue`
    int64_t residue; ///< in [0, 2^known) when known < 64
    bool has_range;  ///< every element lies in [lo, hi]
    int64_t lo, hi;
    bool wraps;
} Affine;

typedef struct AffineCx AffineCx;

/// Analyses every value of `fn`, which it numbers (func_number). Results live in `a` and hold until the
/// function changes.
AffineCx *affine_new(Arena *a, Func *fn);
/// The form of `v`; never NULL. Values that are no ints or pointers have zero coefficients or slow bits.
const Affine *affine_of(const AffineCx *cx, const Value *v);

// ---- questions ----------------------------------------------------------------------------------

static inline bool coeff_is_zero(const Coeff *c)
{
    return c->scale == 0;
}
static inline bool coeff_is_const(const Coeff *c)
{
    return !c->factor[0];
}
/// All elements are equal.
bool affine_is_uniform(const AffineCx *cx, const Value *v);
/// Bits of the packed index that belong to `axis`: the lowest, and how many.
void affine_axis_bits(const Type *t, int32_t axis, int32_t *low, int32_t *width);

typedef enum AxisKind {
    AXIS_UNIFORM, ///< does not change along the axis
    AXIS_CONST,   ///< a constant stride
    AXIS_SCALED,  ///< stride.scale * run-time factors, uniform
    AXIS_ANY,     ///< no form
} AxisKind;

/// How a value moves along one axis. The stride holds in aligned runs of `run` elements; at run
/// boundaries anything may happen (`run` is the extent when the whole axis has the form; 1 for AXIS_ANY).
typedef struct AxisForm {
    AxisKind kind;
    Coeff stride; ///< per step of the axis index, in bytes for pointers
    int32_t run;
} AxisForm;

AxisForm affine_axis(const AffineCx *cx, const Value *v, int32_t axis);
/// Elements along `axis` that follow each other in memory (pointers) or count up by one (ints), in aligned
/// runs: a power of two, 1 when none.
int32_t affine_contiguity(const AffineCx *cx, const Value *v, int32_t axis);
/// The same over packed index bits from bit 0, across axes: how many leading elements of the row-major tile follow
/// each other.
int32_t affine_contiguity_flat(const AffineCx *cx, const Value *v);
/// The largest power of two (at most 2^30) that divides the value at every element whose index bits in `zero`
/// are zero. With zero = 0: at every element.
int64_t affine_alignment(const AffineCx *cx, const Value *v, uint32_t zero);
/// The widest access in bytes, a power of two <= max_bytes, that moves neighbours along `axis` of the pointer
/// tile `v` at once and is aligned to its own size everywhere. At least the element's bytes.
int32_t affine_vector_bytes(const AffineCx *cx, const Value *v, int32_t axis, int32_t max_bytes);
/// Index bits ordered by coefficient: constant ones by magnitude, then run-time ones, then slow ones, then those
/// that do not matter (zero). Ties keep bit order. @return n_bits
int32_t affine_bit_order(const AffineCx *cx, const Value *v, int32_t order[AFFINE_MAX_BITS]);

/// One conjunct of a mask.
///
///   prefix:  true exactly for indices 0 .. count-1 of `axis`, whatever the other axes, where
///            count = clamp(div_up(right - left + inclusive, stride), 0, extent), in i64, of elements 0
typedef struct MaskTerm {
    const Value *value; ///< the i1 tile of this conjunct
    int32_t axis;       ///< the only axis along which it changes; -1: uniform; -2: several
    bool is_prefix;
    bool is_inclusive; ///< left <= right instead of left < right
    const Value *left, *right;
    int64_t stride; ///< of left minus right along the axis, > 0
    bool wraps;     ///< see top
} MaskTerm;

enum { AFFINE_MAX_TERMS = 8 };

/// Splits an i1 value at ANDs (through broadcasts and expand_dims) into terms, whose axes count in `mask`'s own shape.
/// @return how many; 0 for a constant true; a mask of more than AFFINE_MAX_TERMS conjuncts is one term
int32_t affine_mask(const AffineCx *cx, const Value *mask, MaskTerm out[AFFINE_MAX_TERMS]);

// ---- code ---------------------------------------------------------------------------------------

/// Emits scalar ops that compute element 0 of `v` (all index bits zero), in the types of the program: exact,
/// wraps included. NULL when that would need more than scalar arithmetic (a load, a reduction, a dot,
/// a carried tile ...). `b` stands where `v` is visible.
Value *affine_origin(Builder *b, Value *v);
/// Emits the i64 value of a coefficient; NULL when a factor has no origin.
Value *affine_coeff(Builder *b, const Coeff *c);
#endif
