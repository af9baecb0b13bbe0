// compiler/interp/memory.c - loads, stores, atomics and buffers, with every address checked.
#include "compiler/interp/internal.h"

KilnStatus interp_fail(Interp *x, const Op *op, int64_t element, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    ArenaMark mark = arena_mark(x->arena);
    const char *what = arena_vprintf(x->arena, fmt, args);
    va_end(args);
    DiagItem *item = diag_add(x->diag, DIAG_ERROR, "E0904", op->span, "%s: %s", x->fn->name, what);
    diag_note(x->diag, item, NO_SPAN, "in program (%d, %d, %d), element %lld", x->pid[0], x->pid[1], x->pid[2], (long long)element);
    arena_release(x->arena, mark);
    return KILN_ERR_DEVICE;
}

static KilnStatus check(Interp *x, const Op *op, int64_t element, uint64_t address, int32_t bytes)
{
    if (!x->ranges) return KILN_OK;
    for (int32_t i = 0; i < x->n_ranges; i++) {
        uint64_t begin = (uint64_t)(uintptr_t)x->ranges[i].begin;
        if (address >= begin && address - begin <= x->ranges[i].bytes && x->ranges[i].bytes - (address - begin) >= (uint64_t)bytes) return KILN_OK;
    }
    return interp_fail(x, op, element, "%s of %d bytes at %#llx is outside every buffer", op_facts[op->kind].name, bytes, (unsigned long long)address);
}

static void *address_of(Slot s)
{
    return (void *)(uintptr_t)(uint64_t)s.i;
}

KilnStatus interp_load(Interp *x, const Op *op)
{
    const Type *t = op->out[0].type;
    DType dtype = op->in[0]->type->dtype;
    const Slot *ptr = input(x, op, 0), *mask = op->n_in > 1 ? input(x, op, 1) : NULL, *other = op->n_in > 2 ? input(x, op, 2) : NULL;
    Slot *out = define(x, &op->out[0]);
    for (int64_t i = 0; i < t->numel; i++) {
        if (mask && !mask[i].i) {
            out[i] = other ? other[i] : dtype_is_float(dtype) ? (Slot){.f = 0} : (Slot){.i = 0};
            continue;
        }
        KilnStatus st = check(x, op, i, (uint64_t)ptr[i].i, dtype_bytes(dtype));
        if (st != KILN_OK) return st;
        out[i] = slot_load(dtype, address_of(ptr[i]));
    }
    return KILN_OK;
}

KilnStatus interp_store(Interp *x, const Op *op)
{
    DType dtype = op->in[0]->type->dtype;
    const Slot *ptr = input(x, op, 0), *value = input(x, op, 1), *mask = op->n_in > 2 ? input(x, op, 2) : NULL;
    for (int64_t i = 0; i < op->in[0]->type->numel; i++) {
        if (mask && !mask[i].i) continue;
        KilnStatus st = check(x, op, i, (uint64_t)ptr[i].i, dtype_bytes(dtype));
        if (st != KILN_OK) return st;
        slot_store(dtype, address_of(ptr[i]), value[i]);
    }
    return KILN_OK;
}

static Slot apply(RmwKind kind, DType t, Slot old, Slot value)
{
    static const ElemKind by_kind[] = {[RMW_ADD] = ELEM_ADD, [RMW_MIN] = ELEM_MIN, [RMW_MAX] = ELEM_MAX,
                                       [RMW_AND] = ELEM_AND, [RMW_OR] = ELEM_OR,   [RMW_XOR] = ELEM_XOR};
    if (kind == RMW_XCHG) return value;
    Slot out;
    elem_eval(by_kind[kind], t, 1, (const Slot *const[]){&old, &value}, &out);
    return out;
}

KilnStatus interp_atomic(Interp *x, const Op *op)
{
    DType dtype = op->in[0]->type->dtype;
    bool swaps = op->kind == OP_ATOMIC_CAS;
    const Slot *ptr = input(x, op, 0), *a = input(x, op, 1), *b = op->n_in > 2 ? input(x, op, 2) : NULL;
    Slot *out = define(x, &op->out[0]);
    for (int64_t i = 0; i < op->in[0]->type->numel; i++) {
        out[i] = dtype_is_float(dtype) ? (Slot){.f = 0} : (Slot){.i = 0};
        if (!swaps && b && !b[i].i) continue; // b is the mask
        KilnStatus st = check(x, op, i, (uint64_t)ptr[i].i, dtype_bytes(dtype));
        if (st != KILN_OK) return st;
        out[i] = slot_load(dtype, address_of(ptr[i]));
        if (!swaps) slot_store(dtype, address_of(ptr[i]), apply((RmwKind)op_attr_i(op, ATTR_RMW), dtype, out[i], a[i]));
        else if (slot_same(dtype, out[i], a[i])) slot_store(dtype, address_of(ptr[i]), b[i]);
    }
    return KILN_OK;
}

/// The stages of a buffer: [stages][numel].
static Slot *stage_of(Interp *x, const Value *buf, int64_t stage)
{
    int64_t count = buf->type->stages ? buf->type->stages : 1;
    Slot **cell = &x->cells[buf->id];
    if (!*cell) *cell = arena_array(x->arena, Slot, buf->type->numel * count);
    return *cell + (uint64_t)stage % (uint64_t)count * (uint64_t)buf->type->numel;
}

static KilnStatus copy_in(Interp *x, const Op *op)
{
    DType dtype = op->in[2]->type->dtype;
    const Slot *ptr = input(x, op, 2), *mask = op->n_in > 3 ? input(x, op, 3) : NULL, *other = op->n_in > 4 ? input(x, op, 4) : NULL;
    Slot *to = stage_of(x, op->in[0], input(x, op, 1)->i);
    define(x, &op->out[0])->i = 0;
    for (int64_t i = 0; i < op->in[2]->type->numel; i++) {
        if (mask && !mask[i].i) {
            to[i] = other ? other[i] : (Slot){0};
            continue;
        }
        KilnStatus st = check(x, op, i, (uint64_t)ptr[i].i, dtype_bytes(dtype));
        if (st != KILN_OK) return st;
        to[i] = slot_load(dtype, address_of(ptr[i]));
    }
    return KILN_OK;
}

static void mma(Interp *x, const Op *op)
{
    const Type *ta = op->in[0]->type, *tc = op->out[0].type;
    int64_t stage = input(x, op, 2)->i, K = ta->shape[1], N = tc->shape[1];
    const Slot *a = stage_of(x, op->in[0], stage), *b = stage_of(x, op->in[1], stage), *acc = input(x, op, 3);
    Slot *out = define(x, &op->out[0]);
    for (int64_t e = 0; e < tc->numel; e++) {
        double sum = 0;
        for (int64_t k = 0; k < K; k++) sum += a[e / N * K + k].f * b[k * N + e % N].f;
        out[e].f = float_round(tc->dtype, acc[e].f + sum);
    }
}

KilnStatus interp_async(Interp *x, const Op *op)
{
    switch (op->kind) {
    case OP_ALLOC: stage_of(x, &op->out[0], 0); return KILN_OK;
    case OP_COPY_ASYNC: return copy_in(x, op);
    case OP_BUF_LOAD:
        memcpy(define(x, &op->out[0]), stage_of(x, op->in[0], input(x, op, 1)->i), (size_t)op->out[0].type->numel * sizeof(Slot));
        return KILN_OK;
    case OP_BUF_STORE:
        memcpy(stage_of(x, op->in[0], input(x, op, 1)->i), input(x, op, 2), (size_t)op->in[2]->type->numel * sizeof(Slot));
        return KILN_OK;
    case OP_MMA_ASYNC: mma(x, op); return KILN_OK;
    default: return KILN_OK; // WAIT: everything has happened already
    }
}
