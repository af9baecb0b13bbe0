// compiler/interp/interp.c - control flow, elementwise ops, and the order of things.
#include "compiler/interp/internal.h"

Slot *define(Interp *x, const Value *v)
{
    Slot **cell = &x->cells[v->id];
    if (!*cell) *cell = arena_array(x->arena, Slot, v->type->numel);
    return *cell;
}

static void copy_value(Interp *x, const Value *to, const Value *from)
{
    memmove(define(x, to), cells_of(x, from), (size_t)to->type->numel * sizeof(Slot));
}

/// Copies several values at once: none of the new ones is read as an old one.
static void copy_values(Interp *x, int32_t n, Value *const *to, Value *const *from)
{
    for (int32_t i = 0; i < n; i++) define(x, to[i]); // these stay; what comes after the mark goes
    ArenaMark mark = arena_mark(x->arena);
    Slot **kept = arena_array(x->arena, Slot *, n);
    for (int32_t i = 0; i < n; i++) {
        kept[i] = arena_array(x->arena, Slot, from[i]->type->numel);
        memcpy(kept[i], cells_of(x, from[i]), (size_t)from[i]->type->numel * sizeof(Slot));
    }
    for (int32_t i = 0; i < n; i++) memcpy(cells_of(x, to[i]), kept[i], (size_t)to[i]->type->numel * sizeof(Slot));
    arena_release(x->arena, mark);
}

static void results_of(Interp *x, const Op *op, int32_t n, Value *const *from)
{
    Value *to[64];
    ASSERT(n <= COUNT_OF(to));
    for (int32_t i = 0; i < n; i++) to[i] = &op->out[i];
    copy_values(x, n, to, from);
}

static KilnStatus run_for(Interp *x, const Op *op)
{
    const Region *body = op->regions[0];
    int32_t n = op->n_out;
    DType t = op->in[0]->type->dtype;
    int64_t begin = input(x, op, 0)->i, end = input(x, op, 1)->i, step = input(x, op, 2)->i;
    copy_values(x, n, body->args + 1, op->in + 3);
    for (int64_t i = begin; step != 0 && (step > 0 ? i < end : i > end); i += step) {
        const Op *terminator;
        define(x, body->args[0])->i = int_wrap(t, i);
        KilnStatus st = interp_region(x, body, &terminator);
        if (st != KILN_OK) return st;
        copy_values(x, n, body->args + 1, terminator->in);
    }
    results_of(x, op, n, body->args + 1);
    return KILN_OK;
}

static KilnStatus run_while(Interp *x, const Op *op)
{
    const Region *test = op->regions[0], *body = op->regions[1];
    const Op *terminator;
    copy_values(x, test->n_args, test->args, op->in);
    for (;;) {
        KilnStatus st = interp_region(x, test, &terminator);
        if (st != KILN_OK) return st;
        if (!input(x, terminator, 0)->i) break;
        copy_values(x, body->n_args, body->args, terminator->in + 1);
        st = interp_region(x, body, &terminator);
        if (st != KILN_OK) return st;
        copy_values(x, test->n_args, test->args, terminator->in);
    }
    results_of(x, op, op->n_out, terminator->in + 1);
    return KILN_OK;
}

static KilnStatus run_if(Interp *x, const Op *op)
{
    const Op *terminator;
    KilnStatus st = interp_region(x, op->regions[input(x, op, 0)->i ? 0 : 1], &terminator);
    if (st == KILN_OK) results_of(x, op, op->n_out, terminator->in);
    return st;
}

/// i32 splat of one number.
static void fill(Interp *x, const Op *op, Slot value)
{
    Slot *out = define(x, &op->out[0]);
    for (int64_t i = 0; i < op->out[0].type->numel; i++) out[i] = value;
}

static void run_elem(Interp *x, const Op *op)
{
    const Slot *in[3];
    for (int32_t i = 0; i < op->n_in; i++) in[i] = input(x, op, i);
    const Type *t = op->in[op->n_in == 3 && op->elem == ELEM_SELECT ? 1 : 0]->type;
    elem_eval(op->elem, slot_dtype(t), op->out[0].type->numel, in, define(x, &op->out[0]));
}

static void run_addptr(Interp *x, const Op *op)
{
    const Slot *ptr = input(x, op, 0), *offset = input(x, op, 1);
    Slot *out = define(x, &op->out[0]);
    int64_t size = dtype_bytes(op->out[0].type->dtype);
    for (int64_t i = 0; i < op->out[0].type->numel; i++)
        out[i].i = (int64_t)((uint64_t)ptr[i].i + (uint64_t)offset[i].i * (uint64_t)size);
}

static KilnStatus run_assert(Interp *x, const Op *op)
{
    const Slot *ok = input(x, op, 0), *mask = op->n_in > 1 ? input(x, op, 1) : NULL;
    for (int64_t i = 0; i < op->in[0]->type->numel; i++)
        if (!ok[i].i && (!mask || mask[i].i)) {
            const char *text = op_attr((Op *)(uintptr_t)op, ATTR_TEXT)->text;
            return interp_fail(x, op, i, "device assert failed%s%s", text && *text ? ": " : "", text ? text : "");
        }
    return KILN_OK;
}

/// Ops that compute without memory or control. @return false when `op` is none of them
static bool run_plain(Interp *x, const Op *op)
{
    switch (op->kind) {
    case OP_CONST: fill(x, op, slot_from_attr(op->out[0].type, op_attr((Op *)(uintptr_t)op, ATTR_VALUE))); return true;
    case OP_PROGRAM_ID: fill(x, op, (Slot){.i = x->pid[op_attr_i(op, ATTR_AXIS)]}); return true;
    case OP_NUM_PROGRAMS: fill(x, op, (Slot){.i = x->extent[op_attr_i(op, ATTR_AXIS)]}); return true;
    case OP_ELEM: run_elem(x, op); return true;
    case OP_CAST:
        cast_eval(slot_dtype(op->in[0]->type), slot_dtype(op->out[0].type), (RoundMode)op_attr_i(op, ATTR_ROUND),
                  op->out[0].type->numel, input(x, op, 0), define(x, &op->out[0]));
        return true;
    case OP_BITCAST:
        bitcast_eval(slot_dtype(op->in[0]->type), slot_dtype(op->out[0].type), op->out[0].type->numel, input(x, op, 0),
                     define(x, &op->out[0]));
        return true;
    case OP_ADDPTR: run_addptr(x, op); return true;
    case OP_HINT:
    case OP_CONVERT:
    case OP_MMA_WAIT: copy_value(x, &op->out[0], op->in[0]); return true;
    case OP_ASSUME:
    case OP_BARRIER:
    case OP_PRINT: return true; // printing is the launcher's business; a program's own order is kept anyway
    case OP_DOT: interp_dot(x, op); return true;
    case OP_SORT: interp_sort(x, op); return true;
    case OP_GATHER: interp_gather(x, op); return true;
    case OP_HISTOGRAM: interp_histogram(x, op); return true;
    default: return interp_shape(x, op);
    }
}

static KilnStatus run_op(Interp *x, const Op *op)
{
    switch (op->kind) {
    case OP_FOR: return run_for(x, op);
    case OP_WHILE: return run_while(x, op);
    case OP_IF: return run_if(x, op);
    case OP_REDUCE:
    case OP_SCAN: return interp_combine(x, op);
    case OP_LOAD: return interp_load(x, op);
    case OP_STORE: return interp_store(x, op);
    case OP_ATOMIC_RMW:
    case OP_ATOMIC_CAS: return interp_atomic(x, op);
    case OP_ASSERT: return run_assert(x, op);
    case OP_ALLOC:
    case OP_COPY_ASYNC:
    case OP_WAIT:
    case OP_BUF_LOAD:
    case OP_BUF_STORE:
    case OP_MMA_ASYNC: return interp_async(x, op);
    default:
        if (run_plain(x, op)) return KILN_OK;
        return interp_fail(x, op, 0, "the interpreter has no `%s`", op_facts[op->kind].name);
    }
}

KilnStatus interp_region(Interp *x, const Region *r, const Op **end)
{
    for (const Op *op = r->first; op != r->last; op = op->next) {
        KilnStatus st = run_op(x, op);
        if (st != KILN_OK) return st;
    }
    *end = r->last;
    return KILN_OK;
}

/// Reads the argument block into the function's parameters.
static void bind_arguments(Interp *x, const void *args)
{
    size_t at = 0;
    for (int32_t i = 0; i < x->fn->n_params; i++) {
        const Value *v = x->fn->params[i].value;
        size_t size = (size_t)type_element_bytes(v->type);
        at = (at + size - 1) & ~(size - 1);
        *define(x, v) = slot_load(slot_dtype(v->type), (const char *)args + at);
        at += size;
    }
}

KilnStatus interp_run(const Func *fn, const void *args, const Grid *grid, int64_t first, int64_t n, int32_t n_ranges,
                      const MemRange *ranges, Arena *scratch, Diag *diag)
{
    KilnStatus st = KILN_OK;
    ArenaMark mark = arena_mark(scratch);
    Interp x = {.fn = fn, .arena = scratch, .diag = diag, .grid = grid, .n_ranges = n_ranges, .ranges = ranges,
                .extent = {grid->x, grid->y, grid->z}};
    x.cells = arena_array(scratch, Slot *, func_number((Func *)(uintptr_t)fn));
    for (int64_t p = first; p < first + n && st == KILN_OK; p++) {
        const Op *end;
        x.program = p;
        x.pid[0] = (int32_t)(p % grid->x);
        x.pid[1] = (int32_t)(p / grid->x % grid->y);
        x.pid[2] = (int32_t)(p / grid->x / grid->y);
        bind_arguments(&x, args);
        st = interp_region(&x, fn->body, &end);
    }
    arena_release(scratch, mark);
    return st;
}
