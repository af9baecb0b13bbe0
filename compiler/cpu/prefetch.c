// compiler/cpu/prefetch.c - memory that the next program will touch, asked for while this one computes.
//
//   softmax, row 7    max          reads x[7] from memory
//                     exp, sum     reads x[7] from the cache; memory would be idle: ask for x[8] and y[8]
//                     divide       writes y[7], which the program before asked for
//
// A loop nest is such a host when it computes a lot, reads nothing that was not read before, and writes
// nothing of the user's. What is asked for are the tiles that lie in one piece, have the host's shape, and
// move with program_id(0) by scalar arithmetic alone. Past the last program an address may be anything:
// prefetches do not fault.
#include "compiler/cpu/cpu.h"

enum { LINE_BYTES = 64, MIN_LOG_ELEMENTS = 9, MIN_COST = 14, MAX_BYTES = 1 << 16, MAX_STEPS = 48 };

typedef struct Walk {
    int32_t steps;
    bool moves; ///< program_id(0) was met
    VEC(Value *) swapped;
    VEC(LLVMValueRef) old;
} Walk;

/// The scalar as the next program will compute it; NULL: it takes more than arithmetic.
static LLVMValueRef next_scalar(Cx *cx, Walk *w, Value *v)
{
    Op *op = v->def;
    if (!op) return info_of(cx, v)->scalar;
    if (++w->steps > MAX_STEPS) return NULL;
    LLVMValueRef old[3], next[3];
    int32_t axis;
    switch (op->kind) {
    case OP_PROGRAM_ID:
        axis = (int32_t)op_attr_i(op, ATTR_AXIS);
        if (axis) return cx->program[axis];
        w->moves = true;
        return LLVMBuildAdd(cx->b, cx->program[0], LLVMConstInt(cx->i32, 1, false), "");
    case OP_NUM_PROGRAMS:
        return cx->n_programs[op_attr_i(op, ATTR_AXIS)];
    case OP_CONST:
    case OP_ELEM:
    case OP_CAST:
    case OP_BITCAST:
    case OP_ADDPTR:
    case OP_HINT:
        break;
    default:
        return NULL;
    }
    ASSERT(op->n_in <= 3);
    for (int32_t i = 0; i < op->n_in; i++)
        if (!(next[i] = next_scalar(cx, w, op->in[i]))) return NULL;
    for (int32_t i = 0; i < op->n_in; i++) {
        old[i] = info_of(cx, op->in[i])->scalar;
        info_of(cx, op->in[i])->scalar = next[i];
    }
    LLVMValueRef r = emit_scalar_op(cx, op);
    for (int32_t i = op->n_in; i-- > 0;)
        info_of(cx, op->in[i])->scalar = old[i];
    return r;
}

/// Puts next scalars in place of all that tile `v` is computed from.
static bool swap_leaves(Cx *cx, Walk *w, Value *v)
{
    if (v->type->kind != TYPE_TILE) {
        for (int32_t i = 0; i < w->swapped.len; i++)
            if (w->swapped.data[i] == v) return true;
        LLVMValueRef next = next_scalar(cx, w, v);
        if (!next) return false;
        vec_push(cx->arena, &w->swapped, v);
        vec_push(cx->arena, &w->old, info_of(cx, v)->scalar);
        info_of(cx, v)->scalar = next;
        return true;
    }
    if (!v->def || info_of(cx, v)->mode != MODE_LAZY || ++w->steps > MAX_STEPS) return false;
    switch (v->def->kind) {
    case OP_LOAD:
    case OP_GATHER:
        return false;
    default:
        break;
    }
    for (int32_t i = 0; i < v->def->n_in; i++)
        if (!swap_leaves(cx, w, v->def->in[i])) return false;
    return true;
}

/// Where element 0 of pointer tile `v` lies for the next program; NULL: unknown, or where it lies now.
static LLVMValueRef next_origin(Cx *cx, Value *v)
{
    Walk w = {0};
    Chunk zero = chunk_zero();
    LLVMValueRef r = NULL;
    memo_drop(cx, 0);
    if (swap_leaves(cx, &w, v) && w.moves) r = eval_here(cx, v, &zero);
    for (int32_t i = w.swapped.len; i-- > 0;)
        info_of(cx, w.swapped.data[i])->scalar = w.old.data[i];
    memo_drop(cx, 0);
    return r;
}

static void add_stream(Cx *cx, Prefetch *p, const Type *space, Value *pointer)
{
    int32_t bytes = dtype_bytes(pointer->type->dtype);
    int64_t size = space->numel * bytes;
    if (p->n == PREFETCH_MAX || p->bytes + size > MAX_BYTES ||
        !type_same_shape(pointer->type, space))
        return;
    if (affine_contiguity_flat(cx->affine, pointer) < space->numel) return;
    LLVMValueRef at = next_origin(cx, pointer);
    if (!at) return;
    p->bytes += size;
    p->streams[p->n++] = (Stream){at, bytes};
}

static bool was_touched(const Cx *cx, const Value *pointer)
{
    for (int32_t i = 0; i < cx->touched.len; i++)
        if (cx->touched.data[i] == pointer) return true;
    return false;
}

Prefetch prefetch_plan(Cx *cx, const Op *root, const Type *space, const Cone *cone, bool has_stores)
{
    Prefetch p = {0};
    if (!root || !op_is_once(root)) return p;
    bool is_host = cone->cost >= MIN_COST && !has_stores && log_numel(space) >= MIN_LOG_ELEMENTS;
    VEC_EACH(Access, a, &cone->accesses) {
        if (was_touched(cx, a->pointer)) continue;
        is_host = false;
        vec_push(cx->arena, &cx->touched, (Value *)a->pointer);
    }
    if (!is_host) return p;
    for (int32_t i = 0; i < cx->touched.len; i++)
        add_stream(cx, &p, space, cx->touched.data[i]);
    for (int32_t i = 0; i < cx->stores.len; i++) {
        Op *op = cx->stores.data[i];
        int32_t n = p.n;
        if (!op_is_once(op) || was_touched(cx, op->in[0])) continue;
        add_stream(cx, &p, space, op->in[0]);
        if (p.n == n || !n || !store_may_stream(cx, op)) continue;
        // a store past the caches wants no line of its own there: a line that is asked for anyway costs nothing
        LLVMValueRef large = launch_is_large(cx, op->in[0]->type);
        p.streams[n].next = LLVMBuildSelect(cx->b, large, p.streams[0].next, p.streams[n].next, "");
    }
    return p;
}

void prefetch_emit(Cx *cx, const Prefetch *p, const Chunk *c)
{
    for (int32_t j = 0; j < c->log_w; j++)
        if (c->lane[j] != j) return; // lanes do not follow memory
    for (int32_t i = 0; i < p->n; i++) {
        const Stream *s = &p->streams[i];
        Ev index = chunk_index(cx, c, ~0u);
        at_depth(cx, cx->depth);
        LLVMValueRef at = LLVMBuildMul(cx->b, index.v, const_i64(cx, s->element_bytes), "");
        int32_t bytes = s->element_bytes << c->log_w;
        for (int32_t k = 0; k < bytes; k += LINE_BYTES) {
            LLVMValueRef line = LLVMBuildAdd(cx->b, at, const_i64(cx, k), "");
            LLVMValueRef args[] = {LLVMBuildGEP2(cx->b, cx->i8, s->next, &line, 1, ""),
                                   LLVMConstInt(cx->i32, 0, false), LLVMConstInt(cx->i32, 3, false),
                                   LLVMConstInt(cx->i32, 1, false)};
            call_intrinsic(cx, "llvm.prefetch", cx->ptr, 4, args);
        }
    }
}
