// ir/affine_form.h - arithmetic on bit-affine forms, for ir/affine*.c alone.
#ifndef IR_AFFINE_FORM_H
#define IR_AFFINE_FORM_H
#include "ir/affine.h"

struct AffineCx {
    Affine *forms; ///< by Value.id
};

// ---- coefficients -------------------------------------------------------------------------------

Coeff coeff_zero(void);
Coeff coeff_const(int64_t c);
Coeff coeff_scaled(const Coeff *c, int64_t by);
bool coeff_same(const Coeff *a, const Coeff *b);
/// a + b. @return false: no single product says it
bool coeff_sum(const Coeff *a, const Coeff *b, Coeff *out);

// ---- forms --------------------------------------------------------------------------------------

int32_t affine_type_bits(const Type *t);
/// Nothing is known but that no bit matters; ints up to 32 bits have their type's range.
Affine affine_unknown(const Type *t);
Affine affine_constant(const Type *t, int64_t x);
/// Bits on which the value depends.
uint32_t affine_moving(const Affine *x);
/// Trailing zero bits of base that are known; 63 for zero.
int32_t affine_base_zeros(const Affine *x);
/// Adds a coefficient to base: what is known of base afterwards.
void affine_shift_base(Affine *x, const Coeff *c);
/// What holds for both.
Affine affine_joined(const Affine *x, const Affine *y);

Affine affine_plus(const Affine *x, const Affine *y, bool negate_y);
Affine affine_times(const Affine *x, int64_t c);
/// x is split into high * d + low with 0 <= low < d, d > 0; for every x when `floors`, else for x >= 0 only.
/// @return false: not known to hold
bool affine_divide(const Affine *x, int64_t d, Affine *high, Affine *low);
/// The form of an int cast to type `t`.
Affine affine_cast(const Affine *x, DType from, const Type *t);
/// The form of an elementwise op.
Affine affine_elem(AffineCx *cx, const Op *op);
#endif
