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
//
// An operand of a dot that is read once, straight from memory, asks for what it will read in the loop around it,
// line by line as it goes: some 4 KB on where addresses grow evenly, in the next iteration where they do not.
//
//   for i:  page = load(pages + i)             for i:  page = load(pages + i); ahead = load(pages + i + 1) - page
//           s = dot(q, load(k + page ..))  ==>         s = dot(q, load(k + page ..) and prefetch it + ahead)
#include "compiler/cpu/cpu.h"

enum {
    MIN_LOG_ELEMENTS = 9,
    MIN_COST = 14,
    MAX_BYTES = 1 << 16,
    MAX_STEPS = 48,
    AHEAD_BYTES = 4096
};

typedef struct Walk {
    int32_t steps;
    bool moves;         ///< program_id(0), or the loop's index, was met
    const Region *body; ///< of the loop whose next iteration is meant; NULL: the next program
    LLVMValueRef index; ///< there
    bool has_loaded;
    VEC(Value *) swapped;
    VEC(LLVMValueRef) old;
} Walk;

/// An argument of a region: the same next time, unless it is the loop's own.
static LLVMValueRef next_argument(Cx *cx, Walk *w, const Value *v)
{
    for (int32_t i = 0; w->body && i < w->body->n_args; i++) {
        if (w->body->args[i] != v) continue;
        w->moves |= !i;
        return i ? NULL : w->index;
    }
    return info_of(cx, v)->scalar;
}

/// The scalar as the next program or iteration will compute it; NULL: it takes more than arithmetic and, in a
/// loop, one load of what that iteration loads anyway.
static LLVMValueRef next_scalar(Cx *cx, Walk *w, Value *v)
{
    Op *op = v->def;
    if (!op) return next_argument(cx, w, v);
    if (w->body && op->parent != w->body) return info_of(cx, v)->scalar;
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
    case OP_LOAD: // its address takes no other load, so that it is one that iteration's
        if (!w->body || op->n_in > 1 || w->has_loaded) return NULL;
        w->has_loaded = true;
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

/// Where element 0 of `pointer` lies when `w` says; NULL: unknown, or where it lies now.
static LLVMValueRef origin_then(Cx *cx, Walk *w, Value *pointer)
{
    Chunk zero = chunk_zero();
    LLVMValueRef r = NULL;
    memo_drop(cx, 0);
    if (swap_leaves(cx, w, pointer) && w->moves) r = eval_here(cx, pointer, &zero);
    for (int32_t i = w->swapped.len; i-- > 0;)
        info_of(cx, w->swapped.data[i])->scalar = w->old.data[i];
    memo_drop(cx, 0);
    at_depth(cx, 0);
    return r;
}

/// The region of the loop that `at` is directly in, when its index only grows.
static const Region *body_around(const Op *at)
{
    const Op *loop = at->parent->owner;
    int64_t step;
    bool grows = loop && loop->kind == OP_FOR && dtype_is_signed(loop->in[0]->type->dtype) &&
                 value_const_int(loop->in[2], &step) && step > 0;
    return grows ? at->parent : NULL;
}

LLVMValueRef prefetch_ahead(Cx *cx, const Op *at, Value *pointer, int64_t bytes)
{
    const Region *body = body_around(at);
    Chunk zero = chunk_zero();
    if (!body || pointer->type->kind != TYPE_TILE) return NULL;
    at_depth(cx, 0);
    int64_t step;
    value_const_int(body->owner->in[2], &step);
    LLVMValueRef index = info_of(cx, body->args[0])->scalar,
                 end = eval_scalar(cx, body->owner->in[1]);
    LLVMTypeRef type = LLVMTypeOf(index);
    Walk linear = {.body = body, .has_loaded = true}; // no load is allowed
    linear.index =
        LLVMBuildAdd(cx->b, index, const_int(type, step * div_up(AHEAD_BYTES, bytes)), "");
    LLVMValueRef then = origin_then(cx, &linear, pointer);
    if (!then) {
        Walk w = {.body = body};
        w.index = LLVMBuildAdd(cx->b, index, const_int(type, step), "");
        LLVMValueRef is_there = LLVMBuildICmp(cx->b, LLVMIntSLT, w.index, end, "");
        w.index = LLVMBuildSelect(cx->b, is_there, w.index, index, ""); // the last asks for its own
        then = origin_then(cx, &w, pointer);
    }
    if (!then) return NULL;
    LLVMValueRef here = eval_here(cx, pointer, &zero);
    at_depth(cx, 0);
    return LLVMBuildSub(cx->b, LLVMBuildPtrToInt(cx->b, then, cx->i64, ""),
                        LLVMBuildPtrToInt(cx->b, here, cx->i64, ""), "");
}

static void add_stream(Cx *cx, Prefetch *p, const Type *space, Value *pointer)
{
    int32_t bytes = dtype_bytes(pointer->type->dtype);
    int64_t size = space->numel * bytes;
    if (p->n == PREFETCH_MAX || p->bytes + size > MAX_BYTES ||
        !type_same_shape(pointer->type, space))
        return;
    if (affine_contiguity_flat(cx->affine, pointer) < space->numel) return;
    Walk w = {0};
    LLVMValueRef at = origin_then(cx, &w, pointer);
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

void prefetch_line(Cx *cx, LLVMValueRef base, LLVMValueRef offset)
{
    LLVMValueRef args[] = {LLVMBuildGEP2(cx->b, cx->i8, base, &offset, 1, ""),
                           LLVMConstInt(cx->i32, 0, false), LLVMConstInt(cx->i32, 3, false),
                           LLVMConstInt(cx->i32, 1, false)};
    call_intrinsic(cx, "llvm.prefetch", cx->ptr, 4, args);
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
            prefetch_line(cx, s->next, LLVMBuildAdd(cx->b, at, const_i64(cx, k), ""));
        }
    }
}
