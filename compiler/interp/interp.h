// compiler/interp/interp.h - the scalar interpreter: walks the tile IR element by element. It is the
// meaning of every op, and what all other executions are compared with.
//
//   value    an array of Slots (ir/elem_eval.h), one per element, made once and reused by every program
//   op       a loop over its elements; elementwise ops are elem_eval(), which folding shares
//   sums     dots, reductions and scans add in f64 and round once; every other op rounds by itself
//   memory   lanes whose mask is false are not touched; with ranges given, every lane that is touched
//            must lie in one of them
//
// Asynchronous ops run at once. Programs run in increasing order, lanes too, so results never vary.
//
// Threads  one at a time per function and scratch arena
#ifndef COMPILER_INTERP_INTERP_H
#define COMPILER_INTERP_INTERP_H
#include "compiler/compile.h"
#include "ir/elem_eval.h"

/// Runs programs first .. first + n - 1 of a kernel.
/// @param args     laid out as CUDA lays out parameters: natural alignment, in order; i1 is one byte
/// @param ranges   all memory the kernel may touch; NULL: not checked
/// @param scratch  values live here; released before returning
/// @return KILN_OK; KILN_ERR_DEVICE with a place in diag:
///   E1101 access outside of every range   E1102 device_assert   E1103 a promise (assume, multiple_of) is false
MUST_USE KilnStatus interp_run(const Func *fn, const void *args, const Grid *grid, int64_t first,
                               int64_t n, int32_t n_ranges, const MemRange *ranges, Arena *scratch,
                               Diag *diag);

/// The same with all it can do.
typedef struct InterpCall {
    const Func *fn;
    const void *args;          ///< block of arguments, or NULL with `params`
    const Slot *const *params; ///< [n_params][numel]: scalars and tiles by value (tests of passes)
    Slot *const
        *results; ///< [fn->n_results][numel] receives what the last program returned; may be NULL
    Grid grid;
    int64_t first, n;
    int32_t n_ranges;
    const MemRange *ranges;
    StrBuf *print; ///< lines of device_print are appended; NULL: dropped
    Arena *scratch;
    Diag *diag;
} InterpCall;

MUST_USE KilnStatus interp_call(const InterpCall *call);
/// Offset and size of each parameter in the argument block. @return bytes of the block
int32_t interp_args_layout(const Func *fn, int32_t *offsets);
#endif
