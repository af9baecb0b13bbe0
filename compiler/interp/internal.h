// compiler/interp/internal.h - what the files of the interpreter share.
#ifndef COMPILER_INTERP_INTERNAL_H
#define COMPILER_INTERP_INTERNAL_H
#include "compiler/interp/interp.h"
#include "ir/elem_eval.h"

/// One run. A value's elements are in cells[id], NULL before it is defined.
typedef struct Interp {
    const Func *fn;
    Arena *arena;
    Diag *diag;
    Slot **cells; ///< [func_number]
    const Grid *grid;
    int64_t program;
    int32_t pid[3], extent[3];
    int32_t n_ranges;
    const MemRange *ranges;
} Interp;

static inline Slot *cells_of(const Interp *x, const Value *v)
{
    return x->cells[v->id];
}
static inline const Slot *input(const Interp *x, const Op *op, int32_t i)
{
    return x->cells[op->in[i]->id];
}
/// The array of a value, taken from the arena the first time.
Slot *define(Interp *x, const Value *v);

/// Runs the ops of `r` up to its terminator. @return the terminator in *end
MUST_USE KilnStatus interp_region(Interp *x, const Region *r, const Op **end);

// tile.c: shape ops, gather, histogram, sort, dot
bool interp_shape(Interp *x, const Op *op);
void interp_dot(Interp *x, const Op *op);
void interp_sort(Interp *x, const Op *op);
void interp_gather(Interp *x, const Op *op);
void interp_histogram(Interp *x, const Op *op);

// combine.c: reduce and scan
MUST_USE KilnStatus interp_combine(Interp *x, const Op *op);

// memory.c
MUST_USE KilnStatus interp_load(Interp *x, const Op *op);
MUST_USE KilnStatus interp_store(Interp *x, const Op *op);
MUST_USE KilnStatus interp_atomic(Interp *x, const Op *op);
MUST_USE KilnStatus interp_async(Interp *x, const Op *op);
/// Records a run-time failure at `op` in this program and element.
KilnStatus interp_fail(Interp *x, const Op *op, int64_t element, const char *fmt, ...) PRINTF_LIKE(4, 5);
#endif
