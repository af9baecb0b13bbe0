// ir/loop.h - `for` loops: how often they run, and one that carries more.
//
//   step > 0                      counts up while i < end
//   step < 0, an OP_CONST         counts down while i > end
//   step <= 0, not a constant     runs no iteration (tile-language.md section 9); so does a constant 0
#ifndef IR_LOOP_H
#define IR_LOOP_H
#include "ir/ir.h"

/// Iterations of a loop over dtype `t` (bounds as stored in a Slot). `may_go_down`: the step is a constant.
int64_t loop_trips(DType t, int64_t begin, int64_t end, int64_t step, bool may_go_down);
/// Is the step of this OP_FOR a constant, so that a negative one counts down?
bool loop_step_is_const(const Op *op);

typedef struct LoopFacts {
    int64_t trips;  ///< -1: not known
    int64_t step;   ///< 0: not known
    bool has_range; ///< the index lies in [lo, hi] in every iteration
    int64_t lo, hi;
    int32_t
        log_divisor; ///< the index is a multiple of 2^this in every iteration (0 when begin is not known)
} LoopFacts;

LoopFacts loop_facts(const Op *op);

/// The OP_FOR with `n` more carried values, which start at `initial`; the body goes over to it and its yield still
/// lacks them (loop_yield_more). `op` is erased. @return the loop; the new arguments are the last of its body
Op *loop_carry_more(Module *m, Op *op, int32_t n, Value *const *initial);
/// Appends `next` to what the body yields.
void loop_yield_more(Module *m, Region *body, int32_t n, Value *const *next);
#endif
