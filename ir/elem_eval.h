// ir/elem_eval.h - the meaning of every elementwise row and cast, as one piece of code.
//
//   fold evaluates constants with it, the interpreter evaluates tiles with it: they cannot disagree.
//
// A Slot holds one element of any type: ints sign- or zero-extended by their own dtype (i1: 0 or 1),
// floats as the double that their dtype represents exactly, pointers as their address. Ops on f16 and
// bf16 are computed in f32 and rounded once, fp8 by way of f16; f32 functions are computed in double and
// rounded once; ints wrap; nothing traps: x / 0 is x and x % 0 is 0, which the language leaves open.
#ifndef IR_ELEM_EVAL_H
#define IR_ELEM_EVAL_H
#include "ir/ir.h"

typedef union Slot {
    int64_t i;
    double f;
} Slot;

/// out[i] = e(in[0][i], ...) for n elements of operand type `t` (DTYPE_U64 for pointers; SELECT: the type of
/// operands 1 and 2). `out` may be one of the inputs.
void elem_eval(ElemKind e, DType t, int64_t n, const Slot *const *in, Slot *out);
/// Value conversion, tile-language.md 6.3.
void cast_eval(DType from, DType to, RoundMode round, int64_t n, const Slot *in, Slot *out);
/// Reinterprets the bits of elements of equal width; pointers are u64.
void bitcast_eval(DType from, DType to, int64_t n, const Slot *in, Slot *out);

/// `x` truncated to the width of `t` and extended again by its sign.
int64_t int_wrap(DType t, int64_t x);
/// `x` rounded once to nearest even, as a cast from f64 rounds it.
double float_round(DType t, double x);
/// Rounds results of arithmetic: f16 and bf16 by way of f32, fp8 by way of f16. In place.
void elem_round(DType t, int64_t n, Slot *x);

/// One element of memory; pointers are DTYPE_U64.
Slot slot_load(DType t, const void *at);
void slot_store(DType t, void *at, Slot x);
/// The dtype that holds an element of `t`: DTYPE_U64 for pointers.
static inline DType slot_dtype(const Type *t)
{
    return t->is_ptr ? DTYPE_U64 : t->dtype;
}
/// The value of a constant of type `t`, and back.
Slot slot_from_attr(const Type *t, const Attr *attr);
Attr slot_to_attr(const Type *t, Slot x);
/// Same bits: NaNs are equal to NaNs, 0.0 is not -0.0.
bool slot_same(DType t, Slot a, Slot b);
#endif
