// compiler/interp/interp_mem.c - memory, asynchronous copies (at once), prints and asserts.
#include <math.h>
#include <stdlib.h>

#include "compiler/interp/state.h"

// ---- checks -----------------------------------------------------------------------------------------

/// Says what the access missed and by how much: distances, not addresses, so that runs compare equal.
static bool outside(Interp *s, const Op *op, const char *what, int64_t element, uintptr_t at,
                    size_t bytes)
{
    const InterpCall *call = s->call;
    const char *place = "far from every buffer";
    uintptr_t nearest = 1 << 20;
    for (int32_t i = 0; i < call->n_ranges; i++) {
        const MemRange *r = &call->ranges[i];
        uintptr_t begin = (uintptr_t)r->begin, end = begin + r->bytes;
        const char *name = r->name ? r->name : "a buffer";
        if (at < begin && begin - at < nearest) {
            nearest = begin - at;
            place =
                arena_printf(s->arena, "%llu bytes before `%s`", (unsigned long long)nearest, name);
        } else if (at >= begin && at + bytes > end && (at < end ? 0 : at - end) < nearest) {
            nearest = at < end ? 0 : at - end;
            place = at < end ? arena_printf(s->arena, "across the end of `%s` (%zu bytes)", name,
                                            r->bytes)
                             : arena_printf(s->arena, "%llu bytes past the end of `%s` (%zu bytes)",
                                            (unsigned long long)nearest, name, r->bytes);
        }
    }
    return interp_fail(s, op, "E1101", op->in[op->kind == OP_COPY_ASYNC ? 2 : 0]->type, element,
                       "out of bounds: this %s of %zu bytes is %s", what, bytes, place);
}

static bool is_inside(const MemRange *r, uintptr_t at, size_t bytes)
{
    uintptr_t begin = (uintptr_t)r->begin;
    return at >= begin && at - begin <= r->bytes && r->bytes - (at - begin) >= bytes;
}

/// May `bytes` at `at` be touched?
static bool check(Interp *s, const Op *op, const char *what, int64_t element, uintptr_t at,
                  size_t bytes)
{
    const InterpCall *call = s->call;
    if (!call->ranges) return true;
    if (s->last_range < call->n_ranges && is_inside(&call->ranges[s->last_range], at, bytes))
        return true;
    for (int32_t i = 0; i < call->n_ranges; i++)
        if (is_inside(&call->ranges[i], at, bytes)) {
            s->last_range = i;
            return true;
        }
    return outside(s, op, what, element, at, bytes);
}

// ---- loads and stores -------------------------------------------------------------------------------

/// Operands `first` ptr, mask?, other? into `out`.
static bool load(Interp *s, const Op *op, int32_t first, Slot *out)
{
    const Type *t = op->in[first]->type;
    const Slot *ptr = operand(s, op, first);
    const Slot *mask = op->n_in > first + 1 ? operand(s, op, first + 1) : NULL;
    const Slot *other = op->n_in > first + 2 ? operand(s, op, first + 2) : NULL;
    size_t bytes = (size_t)dtype_bytes(t->dtype);
    for (int64_t i = 0; i < t->numel; i++) {
        if (mask && !mask[i].i) {
            out[i] = other ? other[i] : (Slot){.i = 0};
            continue;
        }
        uintptr_t at = (uintptr_t)ptr[i].i;
        if (!check(s, op, "load", i, at, bytes)) return false;
        out[i] = slot_load(t->dtype, (const void *)at);
    }
    return true;
}

bool exec_load(Interp *s, const Op *op)
{
    return load(s, op, 0, result(s, op, 0));
}

bool exec_store(Interp *s, const Op *op)
{
    const Type *t = op->in[0]->type;
    const Slot *ptr = operand(s, op, 0), *value = operand(s, op, 1),
               *mask = op->n_in > 2 ? operand(s, op, 2) : NULL;
    size_t bytes = (size_t)dtype_bytes(t->dtype);
    for (int64_t i = 0; i < t->numel; i++) {
        if (mask && !mask[i].i) continue;
        uintptr_t at = (uintptr_t)ptr[i].i;
        if (!check(s, op, "store", i, at, bytes)) return false;
        slot_store(t->dtype, (void *)at, value[i]);
    }
    return true;
}

/// Minimum or maximum in IEEE order, -0 below +0.
static Slot extreme(bool is_max, DType t, Slot a, Slot b)
{
    if (dtype_is_float(t) && a.f == b.f) return (signbit(a.f) != 0) == is_max ? b : a;
    Slot out;
    elem_eval(is_max ? ELEM_MAX : ELEM_MIN, t, 1, (const Slot *const[]){&a, &b}, &out);
    return out;
}

static Slot modified(int64_t kind, DType t, Slot old, Slot x)
{
    static const ElemKind elems[] = {
        [RMW_ADD] = ELEM_ADD, [RMW_AND] = ELEM_AND, [RMW_OR] = ELEM_OR, [RMW_XOR] = ELEM_XOR};
    if (kind == RMW_XCHG) return x;
    if (kind == RMW_MIN || kind == RMW_MAX) return extreme(kind == RMW_MAX, t, old, x);
    Slot out;
    elem_eval(elems[kind], t, 1, (const Slot *const[]){&old, &x}, &out);
    return out;
}

bool exec_atomic_rmw(Interp *s, const Op *op)
{
    const Type *t = op->in[0]->type;
    const Slot *ptr = operand(s, op, 0), *value = operand(s, op, 1),
               *mask = op->n_in > 2 ? operand(s, op, 2) : NULL;
    int64_t kind = op_attr_i(op, ATTR_RMW);
    Slot *out = result(s, op, 0);
    size_t bytes = (size_t)dtype_bytes(t->dtype);
    for (int64_t i = 0; i < t->numel; i++) {
        if (mask && !mask[i].i) {
            out[i].i = 0;
            continue;
        }
        uintptr_t at = (uintptr_t)ptr[i].i;
        if (!check(s, op, "atomic access", i, at, bytes)) return false;
        out[i] = slot_load(t->dtype, (const void *)at);
        slot_store(t->dtype, (void *)at, modified(kind, t->dtype, out[i], value[i]));
    }
    return true;
}

bool exec_atomic_cas(Interp *s, const Op *op)
{
    const Type *t = op->in[0]->type;
    const Slot *ptr = operand(s, op, 0), *expected = operand(s, op, 1), *value = operand(s, op, 2);
    Slot *out = result(s, op, 0);
    size_t bytes = (size_t)dtype_bytes(t->dtype);
    for (int64_t i = 0; i < t->numel; i++) {
        uintptr_t at = (uintptr_t)ptr[i].i;
        uint64_t wanted = 0;
        if (!check(s, op, "atomic access", i, at, bytes)) return false;
        out[i] = slot_load(t->dtype, (const void *)at);
        slot_store(t->dtype, &wanted, expected[i]);
        if (memcmp(&wanted, (const void *)at, bytes) == 0)
            slot_store(t->dtype, (void *)at, value[i]);
    }
    return true;
}

// ---- asynchronous ops ---------------------------------------------------------------------------------

bool exec_alloc(Interp *s, const Op *op)
{
    memset(result(s, op, 0), 0,
           sizeof(Slot) * (size_t)(op->out->type->numel * op->out->type->stages));
    return true;
}

/// The stage of buffer operand `buf` that operand `stage` names, or NULL after a failure.
static Slot *stage_of(Interp *s, const Op *op, int32_t buf, int32_t stage)
{
    const Type *t = op->in[buf]->type;
    int64_t n = operand(s, op, stage)->i;
    if (n >= 0 && n < t->stages) return s->slots[op->in[buf]->id] + n * t->numel;
    interp_fail(s, op, "E9999", NULL, -1, "internal error: stage %lld of a buffer with %d",
                (long long)n, t->stages);
    return NULL;
}

bool exec_copy_async(Interp *s, const Op *op)
{
    Slot *to = stage_of(s, op, 0, 1);
    return to && load(s, op, 2, to);
}

bool exec_buf_load(Interp *s, const Op *op)
{
    const Slot *from = stage_of(s, op, 0, 1);
    if (!from) return false;
    memcpy(result(s, op, 0), from, sizeof(Slot) * (size_t)op->out->type->numel);
    return true;
}

bool exec_buf_store(Interp *s, const Op *op)
{
    Slot *to = stage_of(s, op, 0, 1);
    if (!to) return false;
    memcpy(to, operand(s, op, 2), sizeof(Slot) * (size_t)op->in[2]->type->numel);
    return true;
}

bool exec_mma_async(Interp *s, const Op *op)
{
    const Slot *x = stage_of(s, op, 0, 2), *y = x ? stage_of(s, op, 1, 2) : NULL;
    if (!y) return false;
    Slot *out = result(s, op, 0);
    interp_product(s, op->in[0]->type, x, y, op->in[3]->type, operand(s, op, 3), out);
    return true;
}

// ---- messages -----------------------------------------------------------------------------------------

static void print_value(StrBuf *out, const Type *t, Slot x, bool hex)
{
    if (hex || t->is_ptr) {
        uint64_t bits = 0;
        slot_store(slot_dtype(t), &bits, x);
        strbuf_printf(out, "0x%0*llx", 2 * type_element_bytes(t), (unsigned long long)bits);
    } else if (dtype_is_float(t->dtype)) {
        strbuf_printf(out, "%.*g", t->dtype == DTYPE_F64 ? 17 : 9, x.f);
    } else if (t->dtype == DTYPE_U64) {
        strbuf_printf(out, "%llu", (unsigned long long)x.i);
    } else {
        strbuf_printf(out, "%lld", (long long)x.i);
    }
}

static void print_line(Interp *s, const Op *op, const Type *t, int64_t element)
{
    StrBuf *out = s->call->print;
    int64_t rest = element, inner = t->numel;
    strbuf_printf(out, "pid (%d, %d, %d) ", s->program[0], s->program[1], s->program[2]);
    for (int32_t i = 0; i < t->rank; i++) {
        inner /= t->shape[i];
        strbuf_printf(out, "%s%lld", i ? ", " : "idx (", (long long)(rest / inner));
        rest %= inner;
    }
    strbuf_printf(out, "%s%s", t->rank ? ") " : "", op->attrs[0].text ? op->attrs[0].text : "");
}

bool exec_print(Interp *s, const Op *op)
{
    StrBuf *out = s->call->print;
    if (!out) return true;
    if (!op->n_in) {
        const Type one = {.kind = TYPE_SCALAR, .numel = 1};
        print_line(s, op, &one, 0);
        strbuf_putc(out, '\n');
    }
    for (int32_t k = 0; k < op->n_in; k++) {
        const Type *t = op->in[k]->type;
        for (int64_t i = 0; i < t->numel; i++) {
            print_line(s, op, t, i);
            strbuf_puts(out, ": ");
            print_value(out, t, operand(s, op, k)[i], op_attr_i(op, ATTR_HEX) != 0);
            strbuf_putc(out, '\n');
        }
    }
    return true;
}

bool exec_assert(Interp *s, const Op *op)
{
    const Type *t = op->in[0]->type;
    const Slot *cond = operand(s, op, 0), *mask = op->n_in > 1 ? operand(s, op, 1) : NULL;
    for (int64_t i = 0; i < t->numel; i++) {
        if (cond[i].i || (mask && !mask[i].i)) continue;
        if (op->kind == OP_ASSUME)
            return interp_fail(s, op, "E1103", t, i, "this assumption is false");
        const char *text = op->attrs[0].text;
        bool has_text = text && *text;
        return interp_fail(s, op, "E1102", t, i, "device assertion failed%s%s",
                           has_text ? ": " : "", has_text ? text : "");
    }
    return true;
}
