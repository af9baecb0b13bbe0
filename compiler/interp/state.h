// compiler/interp/state.h - what the files of the interpreter share.
#ifndef COMPILER_INTERP_STATE_H
#define COMPILER_INTERP_STATE_H
#include "compiler/interp/interp.h"

typedef struct Interp {
    const InterpCall *call;
    Arena *arena;
    Slot **slots;   ///< by Value.id: the elements; NULL before the first execution
    int32_t **maps; ///< by Value.id of a result: which element of operand 0 each element is
    int32_t program[3];
    int32_t last_range; ///< where the last access was found
    bool failed;
} Interp;

/// Runs one op. @return false: failed, diag says why
typedef bool (*Exec)(Interp *s, const Op *op);

static inline const Slot *operand(const Interp *s, const Op *op, int32_t i)
{
    return s->slots[op->in[i]->id];
}
/// Room for all elements of `v`, the same each time.
Slot *interp_room(Interp *s, const Value *v);
static inline Slot *result(Interp *s, const Op *op, int32_t i)
{
    return interp_room(s, &op->out[i]);
}
/// Runs the ops of `r` up to its terminator.
bool interp_region(Interp *s, const Region *r);
/// Records an error at `op`, naming the program and, where `element` >= 0, the element of `t`. @return false
bool interp_fail(Interp *s, const Op *op, const char *code, const Type *t, int64_t element,
                 const char *fmt, ...) PRINTF_LIKE(6, 7);

/// Doubles or ints of a slot under dtype t, for sums.
static inline bool slot_is_float(const Type *t)
{
    return !t->is_ptr && dtype_is_float(t->dtype);
}

// interp_tile.c: shapes and what goes across elements
bool exec_join(Interp *s, const Op *op);
bool exec_split(Interp *s, const Op *op);
bool exec_cat(Interp *s, const Op *op);
bool exec_mapped(Interp *s, const Op *op); ///< broadcast, trans, flip
bool exec_reduce(Interp *s, const Op *op);
bool exec_scan(Interp *s, const Op *op);
bool exec_sort(Interp *s, const Op *op);
bool exec_gather(Interp *s, const Op *op);
bool exec_histogram(Interp *s, const Op *op);
bool exec_dot(Interp *s, const Op *op);
/// (batch x) M x K . K x N + acc.
void interp_product(Interp *s, const Type *x_type, const Slot *x, const Slot *y,
                    const Type *acc_type, const Slot *acc, Slot *out);

// interp_mem.c: memory, asynchronous buffers, messages
bool exec_load(Interp *s, const Op *op);
bool exec_store(Interp *s, const Op *op);
bool exec_atomic_rmw(Interp *s, const Op *op);
bool exec_atomic_cas(Interp *s, const Op *op);
bool exec_alloc(Interp *s, const Op *op);
bool exec_copy_async(Interp *s, const Op *op);
bool exec_buf_load(Interp *s, const Op *op);
bool exec_buf_store(Interp *s, const Op *op);
bool exec_mma_async(Interp *s, const Op *op);
bool exec_print(Interp *s, const Op *op);
bool exec_assert(Interp *s, const Op *op);
#endif
