#include "compiler/interp/interp.h"

#include "compiler/interp/state.h"
#include "ir/loop.h"

// ---- values -------------------------------------------------------------------------------------

Slot *interp_room(Interp *s, const Value *v)
{
    Slot **at = &s->slots[v->id];
    if (!*at) {
        int64_t stages = v->type->kind == TYPE_BUF ? v->type->stages : 1;
        *at = arena_array(s->arena, Slot, v->type->numel * stages);
    }
    return *at;
}

/// A type as users know it: "float32[64, 64]", "*float16[64]".
static const char *user_type(Arena *a, const Type *t)
{
    const char *text = arena_printf(a, "%s%s", t->is_ptr ? "*" : "", dtype_facts[t->dtype].user);
    for (int32_t i = 0; i < t->rank; i++)
        text = arena_printf(a, "%s%s%d", text, i ? ", " : "[", t->shape[i]);
    return t->rank ? arena_printf(a, "%s]", text) : text;
}

/// "element (3, 5) of float32[64, 64]".
static const char *element_text(Arena *a, const Type *t, int64_t element)
{
    const char *index = "";
    for (int32_t i = t->rank - 1; i >= 0; i--) {
        index = arena_printf(a, "%lld%s%s", (long long)(element % t->shape[i]), *index ? ", " : "",
                             index);
        element /= t->shape[i];
    }
    return arena_printf(a, "element (%s) of %s", index, user_type(a, t));
}

bool interp_fail(Interp *s, const Op *op, const char *code, const Type *t, int64_t element,
                 const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const char *what = arena_vprintf(s->arena, fmt, args);
    va_end(args);
    const char *where = t && t->rank && element >= 0
                            ? arena_printf(s->arena, ", %s", element_text(s->arena, t, element))
                            : "";
    diag_add(s->call->diag, DIAG_ERROR, code, op->span, "%s (program (%d, %d, %d)%s)", what,
             s->program[0], s->program[1], s->program[2], where);
    s->failed = true;
    return false;
}

// ---- ops on equal shapes --------------------------------------------------------------------------

static bool exec_const(Interp *s, const Op *op)
{
    bool is_new = !s->slots[op->out->id];
    Slot *out = result(s, op, 0);
    if (!is_new) return true; // never changes
    Slot x = slot_from_attr(op->out->type, &op->attrs[0]);
    for (int64_t i = 0; i < op->out->type->numel; i++)
        out[i] = x;
    return true;
}

static bool exec_program_id(Interp *s, const Op *op)
{
    result(s, op, 0)->i = s->program[op_attr_i(op, ATTR_AXIS)];
    return true;
}

static bool exec_num_programs(Interp *s, const Op *op)
{
    const int32_t extents[3] = {s->call->grid.x, s->call->grid.y, s->call->grid.z};
    result(s, op, 0)->i = extents[op_attr_i(op, ATTR_AXIS)];
    return true;
}

static bool exec_arange(Interp *s, const Op *op)
{
    int64_t start = op_attr_i(op, ATTR_START);
    Slot *out = result(s, op, 0);
    for (int64_t i = 0; i < op->out->type->numel; i++)
        out[i].i = start + i;
    return true;
}

static bool exec_elem(Interp *s, const Op *op)
{
    const Slot *in[3] = {0};
    for (int32_t i = 0; i < op->n_in; i++)
        in[i] = operand(s, op, i);
    const Type *t = op->in[op->elem == ELEM_SELECT ? 1 : 0]->type;
    elem_eval(op->elem, slot_dtype(t), t->numel, in, result(s, op, 0));
    return true;
}

static bool exec_cast(Interp *s, const Op *op)
{
    const Type *from = op->in[0]->type, *to = op->out->type;
    cast_eval(from->dtype, to->dtype, (RoundMode)op_attr_i(op, ATTR_ROUND), to->numel,
              operand(s, op, 0), result(s, op, 0));
    return true;
}

static bool exec_bitcast(Interp *s, const Op *op)
{
    const Type *from = op->in[0]->type, *to = op->out->type;
    bitcast_eval(slot_dtype(from), slot_dtype(to), to->numel, operand(s, op, 0), result(s, op, 0));
    return true;
}

static bool exec_addptr(Interp *s, const Op *op)
{
    const Slot *ptr = operand(s, op, 0), *offset = operand(s, op, 1);
    Slot *out = result(s, op, 0);
    uint64_t bytes = (uint64_t)dtype_bytes(op->out->type->dtype);
    for (int64_t i = 0; i < op->out->type->numel; i++)
        out[i].i = (int64_t)((uint64_t)ptr[i].i + (uint64_t)offset[i].i * bytes);
    return true;
}

/// The result is the operand: nothing is copied.
static bool exec_same(Interp *s, const Op *op)
{
    s->slots[op->out->id] = s->slots[op->in[0]->id];
    return true;
}

static bool exec_hint(Interp *s, const Op *op)
{
    const Type *t = op->out->type;
    exec_same(s, op);
    if (t->rank || op_attr_i(op, ATTR_HINT) != HINT_MULTIPLE_OF) return true;
    int64_t x = s->slots[op->out->id]->i;
    int32_t divisor = op->attrs[1].list[0];
    if (x % divisor == 0) return true;
    return interp_fail(s, op, "E1103", NULL, -1,
                       "this value was promised to be a multiple of %d but is %lld", divisor,
                       (long long)x);
}

static bool exec_splat(Interp *s, const Op *op)
{
    Slot x = *operand(s, op, 0), *out = result(s, op, 0);
    for (int64_t i = 0; i < op->out->type->numel; i++)
        out[i] = x;
    return true;
}

static bool exec_nothing(Interp *s, const Op *op)
{
    (void)s, (void)op;
    return true;
}

// ---- control --------------------------------------------------------------------------------------

/// Copies values into the room of `to`, as if all at once.
static void assign(Interp *s, Value *const *from, int32_t n, Value *const *to)
{
    const Slot **sources = NULL;
    ArenaMark mark = arena_mark(s->arena);
    for (int32_t i = 0; i < n; i++) {
        const Slot *x = s->slots[from[i]->id];
        for (int32_t j = 0; j < i && x; j++) { // written before it is read?
            if (x != s->slots[to[j]->id]) continue;
            if (!sources) sources = arena_array(s->arena, const Slot *, n);
            size_t bytes = sizeof(Slot) * (size_t)from[i]->type->numel;
            sources[i] = memcpy(arena_array(s->arena, Slot, from[i]->type->numel), x, bytes);
            break;
        }
    }
    for (int32_t i = 0; i < n; i++) {
        const Type *t = from[i]->type;
        if (t->kind == TYPE_BUF) {
            s->slots[to[i]->id] = s->slots[from[i]->id]; // a name for storage, not a value
            continue;
        }
        const Slot *x = sources && sources[i] ? sources[i] : s->slots[from[i]->id];
        Slot *y = s->slots[to[i]->id];
        if (x && x != y) memcpy(y, x, sizeof(Slot) * (size_t)t->numel);
    }
    if (sources) arena_release(s->arena, mark);
}

static void make_room(Interp *s, const Region *r)
{
    for (int32_t i = 0; i < r->n_args; i++)
        if (r->args[i]->type->kind != TYPE_BUF) interp_room(s, r->args[i]);
}

static bool exec_for(Interp *s, const Op *op)
{
    const Region *body = op->regions[0];
    DType t = op->in[0]->type->dtype;
    int64_t begin = operand(s, op, 0)->i, step = operand(s, op, 2)->i;
    int64_t trips = loop_trips(t, begin, operand(s, op, 1)->i, step, loop_step_is_const(op));
    int32_t n = body->n_args - 1;
    make_room(s, body);
    assign(s, op->in + 3, n, body->args + 1);
    for (int64_t i = 0; i < trips; i++) {
        uint64_t index = (uint64_t)begin + (uint64_t)i * (uint64_t)step;
        s->slots[body->args[0]->id]->i = int_wrap(t, (int64_t)index);
        if (!interp_region(s, body)) return false;
        assign(s, body->last->in, n, body->args + 1);
    }
    for (int32_t i = 0; i < op->n_out; i++)
        s->slots[op->out[i].id] = s->slots[body->args[i + 1]->id];
    return true;
}

static bool exec_while(Interp *s, const Op *op)
{
    const Region *test = op->regions[0], *body = op->regions[1];
    make_room(s, test);
    assign(s, op->in, op->n_in, test->args);
    for (;;) {
        if (!interp_region(s, test)) return false;
        const Op *end = test->last;
        bool goes_on = operand(s, end, 0)->i != 0;
        for (int32_t i = 0; i < op->n_out; i++) {
            Slot *x = s->slots[end->in[i + 1]->id];
            s->slots[goes_on ? body->args[i]->id : op->out[i].id] = x;
        }
        if (!goes_on) return true;
        if (!interp_region(s, body)) return false;
        assign(s, body->last->in, op->n_in, test->args);
    }
}

static bool exec_if(Interp *s, const Op *op)
{
    const Region *r = op->regions[operand(s, op, 0)->i ? 0 : 1];
    if (!interp_region(s, r)) return false;
    for (int32_t i = 0; i < op->n_out; i++)
        s->slots[op->out[i].id] = s->slots[r->last->in[i]->id];
    return true;
}

static const Exec execs[] = {
    // clang-format off
    [OP_CONST] = exec_const,            [OP_PROGRAM_ID] = exec_program_id,  [OP_NUM_PROGRAMS] = exec_num_programs,
    [OP_ARANGE] = exec_arange,          [OP_ELEM] = exec_elem,              [OP_CAST] = exec_cast,
    [OP_BITCAST] = exec_bitcast,        [OP_ADDPTR] = exec_addptr,          [OP_HINT] = exec_hint,
    [OP_SPLAT] = exec_splat,            [OP_BROADCAST] = exec_mapped,       [OP_EXPAND_DIMS] = exec_same,
    [OP_RESHAPE] = exec_same,           [OP_TRANS] = exec_mapped,           [OP_JOIN] = exec_join,
    [OP_SPLIT] = exec_split,            [OP_CAT] = exec_cat,                [OP_FLIP] = exec_mapped,
    [OP_REDUCE] = exec_reduce,          [OP_SCAN] = exec_scan,              [OP_SORT] = exec_sort,
    [OP_GATHER] = exec_gather,          [OP_HISTOGRAM] = exec_histogram,    [OP_DOT] = exec_dot,
    [OP_LOAD] = exec_load,              [OP_STORE] = exec_store,            [OP_ATOMIC_RMW] = exec_atomic_rmw,
    [OP_ATOMIC_CAS] = exec_atomic_cas,  [OP_BARRIER] = exec_nothing,        [OP_PRINT] = exec_print,
    [OP_ASSERT] = exec_assert,          [OP_ASSUME] = exec_assert,          [OP_ALLOC] = exec_alloc,
    [OP_COPY_ASYNC] = exec_copy_async,  [OP_WAIT] = exec_nothing,           [OP_BUF_LOAD] = exec_buf_load,
    [OP_BUF_STORE] = exec_buf_store,    [OP_MMA_ASYNC] = exec_mma_async,    [OP_MMA_WAIT] = exec_same,
    [OP_CONVERT] = exec_same,           [OP_FOR] = exec_for,                [OP_WHILE] = exec_while,
    [OP_IF] = exec_if,                  [OP_YIELD] = exec_nothing,          [OP_CONDITION] = exec_nothing,
    [OP_RETURN] = exec_nothing,
    // clang-format on
};
_Static_assert(COUNT_OF(execs) == OP_KIND_COUNT, "an op has no meaning");

bool interp_region(Interp *s, const Region *r)
{
    EACH_OP(op, r)
        if (!execs[op->kind](s, op)) return false;
    return true;
}

// ---- programs -------------------------------------------------------------------------------------

int32_t interp_args_layout(const Func *fn, int32_t *offsets)
{
    int32_t at = 0;
    for (int32_t i = 0; i < fn->n_params; i++) {
        int32_t bytes = type_element_bytes(fn->params[i].value->type);
        at = (int32_t)round_up(at, bytes);
        offsets[i] = at;
        at += bytes;
    }
    return at;
}

static void set_params(Interp *s)
{
    const InterpCall *call = s->call;
    const Func *fn = call->fn;
    int32_t *offsets = arena_array(s->arena, int32_t, fn->n_params + 1);
    interp_args_layout(fn, offsets);
    for (int32_t i = 0; i < fn->n_params; i++) {
        const Value *v = fn->params[i].value;
        Slot *room = interp_room(s, v);
        if (call->params)
            memcpy(room, call->params[i], sizeof(Slot) * (size_t)v->type->numel);
        else
            *room = slot_load(slot_dtype(v->type), (const char *)call->args + offsets[i]);
    }
}

static void take_results(Interp *s)
{
    const Op *end = s->call->fn->body->last;
    for (int32_t i = 0; i < end->n_in; i++)
        memcpy(s->call->results[i], operand(s, end, i),
               sizeof(Slot) * (size_t)end->in[i]->type->numel);
}

KilnStatus interp_call(const InterpCall *call)
{
    Func *fn = (Func *)(uintptr_t)call->fn; // numbering writes nothing that is right already
    ArenaMark mark = arena_mark(call->scratch);
    Interp s = {.call = call, .arena = call->scratch};
    int32_t n_values = func_number(fn);
    s.slots = arena_array(s.arena, Slot *, n_values + 1);
    s.maps = arena_array(s.arena, int32_t *, n_values + 1);
    set_params(&s);
    for (int64_t i = call->first; i < call->first + call->n && !s.failed; i++) {
        s.program[0] = (int32_t)(i % call->grid.x);
        s.program[1] = (int32_t)(i / call->grid.x % call->grid.y);
        s.program[2] = (int32_t)(i / ((int64_t)call->grid.x * call->grid.y));
        interp_region(&s, fn->body);
    }
    if (!s.failed && call->results && call->n > 0) take_results(&s);
    arena_release(call->scratch, mark);
    return s.failed ? KILN_ERR_DEVICE : KILN_OK;
}

KilnStatus interp_run(const Func *fn, const void *args, const Grid *grid, int64_t first, int64_t n,
                      int32_t n_ranges, const MemRange *ranges, Arena *scratch, Diag *diag)
{
    return interp_call(&(InterpCall){.fn = fn,
                                     .args = args,
                                     .grid = *grid,
                                     .first = first,
                                     .n = n,
                                     .n_ranges = n_ranges,
                                     .ranges = ranges,
                                     .scratch = scratch,
                                     .diag = diag});
}
