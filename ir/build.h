// ir/build.h - typed constructors at an insertion point. Each checks its operands (ASSERT) and folds
// nothing: folding is a pass. Spans come from `b->span`, set by the caller as it walks the source.
#ifndef IR_BUILD_H
#define IR_BUILD_H
#include "ir/ir.h"

typedef struct Builder {
    Module *module;
    Func *func;
    Region *region;
    Op *before; ///< insert before this op; NULL: at the end of `region`
    Span span;
} Builder;

Builder build_at_end(Func *fn, Region *r);
Builder build_before(Func *fn, Op *op);

Value *build_const_int(Builder *b, const Type *t, int64_t value);  ///< scalar or tile, int dtype
Value *build_const_float(Builder *b, const Type *t, double value); ///< rounded to the dtype
Value *build_zero(Builder *b, const Type *t);
Value *build_program_id(Builder *b, int32_t axis);
Value *build_num_programs(Builder *b, int32_t axis);
Value *build_arange(Builder *b, int32_t start, int32_t end);

Value *build_elem(Builder *b, ElemKind e, int32_t n, Value *const *in);
Value *build_unary(Builder *b, ElemKind e, Value *x);
Value *build_binary(Builder *b, ElemKind e, Value *x, Value *y);
Value *build_select(Builder *b, Value *c, Value *x, Value *y);
Value *build_cast(Builder *b, Value *x, DType to,
                  RoundMode round); ///< identity when `to` is its dtype
Value *build_bitcast(Builder *b, Value *x, const Type *element);
Value *build_addptr(Builder *b, Value *ptr, Value *offset);
Value *build_hint(Builder *b, Value *x, HintKind kind, int32_t n, const int32_t *list);

Value *build_splat(Builder *b, Value *scalar, int32_t rank, const int32_t *shape);
Value *build_broadcast(Builder *b, Value *x, int32_t rank, const int32_t *shape);
Value *build_expand_dims(Builder *b, Value *x, int32_t axis);
Value *build_reshape(Builder *b, Value *x, int32_t rank, const int32_t *shape);
Value *build_trans(Builder *b, Value *x, const int32_t *perm);
Value *build_join(Builder *b, Value *x, Value *y);
void build_split(Builder *b, Value *x, Value *out[2]);
Value *build_cat(Builder *b, Value *x, Value *y, int32_t axis);
Value *build_flip(Builder *b, Value *x, int32_t axis);

/// Built-in combines of one tile; ARGMIN and ARGMAX fill out[0] value, out[1] i32 index.
void build_reduce(Builder *b, CombineKind kind, Value *x, int32_t axis, Value **out);
Value *build_scan(Builder *b, CombineKind kind, Value *x, int32_t axis, bool reverse);
/// n tiles of one shape combined by a region the caller fills: args 2n scalars, yields n.
Op *build_reduce_region(Builder *b, int32_t n, Value *const *x, int32_t axis);
Op *build_scan_region(Builder *b, int32_t n, Value *const *x, int32_t axis, bool reverse);
Value *build_sort(Builder *b, Value *x, bool descending,
                  int32_t k); ///< k: extent of the result's last axis
Value *build_gather(Builder *b, Value *src, Value *index, int32_t axis);
Value *build_histogram(Builder *b, Value *x, Value *mask, int32_t bins);
Value *build_dot(Builder *b, Value *x, Value *y, Value *acc, DotPrecision precision);

Value *build_load(Builder *b, Value *ptr, Value *mask, Value *other); ///< mask, other may be NULL
Op *build_store(Builder *b, Value *ptr, Value *value, Value *mask);
Value *build_atomic_rmw(Builder *b, RmwKind kind, Value *ptr, Value *value, Value *mask, MemSem sem,
                        MemScope scope);
Value *build_atomic_cas(Builder *b, Value *ptr, Value *expected, Value *value, MemSem sem,
                        MemScope scope);
void build_barrier(Builder *b);

/// The caller fills op->regions[0], whose arguments are (i, carried...), and ends it with build_yield.
Op *build_for(Builder *b, Value *begin, Value *end, Value *step, int32_t n, Value *const *initial);
Op *build_while(Builder *b, int32_t n, Value *const *initial);
Op *build_if(Builder *b, Value *cond, int32_t n_results, const Type *const *types);
void build_yield(Builder *b, int32_t n, Value *const *values);
void build_condition(Builder *b, Value *cond, int32_t n, Value *const *values);
void build_return(Builder *b, int32_t n, Value *const *values);
/// Result types, where they follow from the operands.
const Type *elem_result_type(Module *m, ElemKind e, Value *const *in);
const Type *reduce_result_type(Module *m, const Type *t, int32_t axis);
/// Anything else, by its row.
Op *build_op(Builder *b, OpKind kind, int32_t n_in, Value *const *in, int32_t n_out,
             const Type *const *types, int32_t n_regions);
#endif
