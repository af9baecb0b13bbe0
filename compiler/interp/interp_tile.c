// compiler/interp/interp_tile.c - moving elements, and ops across elements.
//
// Along an axis a tile is outer x extent x inner: element (o, k, i) lies at (o * extent + k) * inner + i.
#include <math.h>
#include <stdlib.h>

#include "compiler/interp/state.h"

typedef struct Axis {
    int64_t outer, extent, inner;
} Axis;

static Axis axis_of(const Type *t, int64_t axis)
{
    Axis a = {1, t->shape[axis], 1};
    for (int32_t i = 0; i < t->rank; i++) {
        if (i < axis) a.outer *= t->shape[i];
        if (i > axis) a.inner *= t->shape[i];
    }
    return a;
}

// ---- moving ---------------------------------------------------------------------------------------

bool exec_join(Interp *s, const Op *op)
{
    const Slot *x = operand(s, op, 0), *y = operand(s, op, 1);
    Slot *out = result(s, op, 0);
    for (int64_t i = 0; i < op->in[0]->type->numel; i++) {
        out[2 * i] = x[i];
        out[2 * i + 1] = y[i];
    }
    return true;
}

bool exec_split(Interp *s, const Op *op)
{
    const Slot *x = operand(s, op, 0);
    Slot *even = result(s, op, 0), *odd = result(s, op, 1);
    for (int64_t i = 0; i < op->out[0].type->numel; i++) {
        even[i] = x[2 * i];
        odd[i] = x[2 * i + 1];
    }
    return true;
}

bool exec_cat(Interp *s, const Op *op)
{
    Axis a = axis_of(op->in[0]->type, op_attr_i(op, ATTR_AXIS));
    int64_t block = a.extent * a.inner;
    size_t bytes = sizeof(Slot) * (size_t)block;
    for (int64_t o = 0; o < a.outer; o++) {
        memcpy(result(s, op, 0) + 2 * o * block, operand(s, op, 0) + o * block, bytes);
        memcpy(result(s, op, 0) + (2 * o + 1) * block, operand(s, op, 1) + o * block, bytes);
    }
    return true;
}

/// Steps of operand 0's index per step of each result axis; `start` is where element 0 comes from.
static void source_strides(const Op *op, int64_t *stride, int64_t *start)
{
    const Type *x = op->in[0]->type;
    int64_t own[TYPE_MAX_RANK], step = 1;
    for (int32_t i = x->rank - 1; i >= 0; i--) {
        own[i] = step;
        step *= x->shape[i];
    }
    *start = 0;
    for (int32_t i = 0; i < x->rank; i++) {
        if (op->kind == OP_TRANS)
            stride[i] = own[op->attrs[0].list[i]];
        else if (op->kind == OP_BROADCAST)
            stride[i] = x->shape[i] == 1 ? 0 : own[i];
        else
            stride[i] = own[i];
    }
    if (op->kind == OP_FLIP) {
        int64_t axis = op_attr_i(op, ATTR_AXIS);
        *start = (x->shape[axis] - 1) * own[axis];
        stride[axis] = -own[axis];
    }
}

static int32_t *source_map(Interp *s, const Op *op)
{
    const Type *t = op->out->type;
    int64_t stride[TYPE_MAX_RANK] = {0}, at;
    int32_t index[TYPE_MAX_RANK] = {0};
    int32_t *map = arena_array(s->arena, int32_t, t->numel);
    source_strides(op, stride, &at);
    for (int64_t e = 0; e < t->numel; e++) {
        map[e] = (int32_t)at;
        for (int32_t i = t->rank - 1; i >= 0; i--) {
            at += stride[i];
            if (++index[i] < t->shape[i]) break;
            at -= stride[i] * t->shape[i];
            index[i] = 0;
        }
    }
    return map;
}

bool exec_mapped(Interp *s, const Op *op)
{
    int32_t **map = &s->maps[op->out->id];
    if (!*map) *map = source_map(s, op);
    const Slot *x = operand(s, op, 0);
    Slot *out = result(s, op, 0);
    for (int64_t i = 0; i < op->out->type->numel; i++)
        out[i] = x[(*map)[i]];
    return true;
}

// ---- combining --------------------------------------------------------------------------------------

/// One step of a built-in combine; sums and products of floats stay in f64.
static Slot combined(int64_t kind, const Type *t, Slot a, Slot b)
{
    static const ElemKind elems[] = {
        [COMBINE_MIN] = ELEM_MIN, [COMBINE_MAX] = ELEM_MAX, [COMBINE_AND] = ELEM_AND,
        [COMBINE_OR] = ELEM_OR,   [COMBINE_XOR] = ELEM_XOR,
    };
    if (kind == COMBINE_ADD)
        return slot_is_float(t) ? (Slot){.f = a.f + b.f}
                                : (Slot){.i = (int64_t)((uint64_t)a.i + (uint64_t)b.i)};
    if (kind == COMBINE_MUL)
        return slot_is_float(t) ? (Slot){.f = a.f * b.f}
                                : (Slot){.i = (int64_t)((uint64_t)a.i * (uint64_t)b.i)};
    Slot out;
    elem_eval(elems[kind], t->dtype, 1, (const Slot *const[]){&a, &b}, &out);
    return out;
}

static Slot rounded(const Type *t, Slot x)
{
    return slot_is_float(t) ? (Slot){.f = float_round(t->dtype, x.f)}
                            : (Slot){.i = int_wrap(t->dtype, x.i)};
}

/// Does b take the place of a as the extreme? Numbers beat NaNs; equals keep the lower index.
static bool is_better(int64_t kind, const Type *t, Slot a, Slot b)
{
    if (slot_is_float(t)) {
        if (isnan(a.f)) return !isnan(b.f);
        return kind == COMBINE_ARGMAX ? b.f > a.f : b.f < a.f;
    }
    Slot less;
    const Slot *const in[2] = {kind == COMBINE_ARGMAX ? &a : &b, kind == COMBINE_ARGMAX ? &b : &a};
    elem_eval(ELEM_LT, t->dtype, 1, in, &less);
    return less.i != 0;
}

static void reduce_arg(Interp *s, const Op *op, Axis a)
{
    const Type *t = op->in[0]->type;
    int64_t kind = op_attr_i(op, ATTR_COMBINE);
    const Slot *x = operand(s, op, 0);
    Slot *value = result(s, op, 0), *index = result(s, op, 1);
    for (int64_t o = 0; o < a.outer; o++)
        for (int64_t i = 0; i < a.inner; i++) {
            const Slot *line = x + o * a.extent * a.inner + i;
            int64_t best = 0;
            for (int64_t k = 1; k < a.extent; k++)
                if (is_better(kind, t, line[best * a.inner], line[k * a.inner])) best = k;
            value[o * a.inner + i] = line[best * a.inner];
            index[o * a.inner + i].i = best;
        }
}

static void reduce_builtin(Interp *s, const Op *op, Axis a)
{
    const Type *t = op->in[0]->type;
    int64_t kind = op_attr_i(op, ATTR_COMBINE);
    const Slot *x = operand(s, op, 0);
    Slot *out = result(s, op, 0);
    for (int64_t o = 0; o < a.outer; o++) {
        Slot *row = out + o * a.inner;
        memcpy(row, x + o * a.extent * a.inner, sizeof(Slot) * (size_t)a.inner);
        for (int64_t k = 1; k < a.extent; k++) {
            const Slot *line = x + (o * a.extent + k) * a.inner;
            if (kind == COMBINE_ADD && slot_is_float(t))
                for (int64_t i = 0; i < a.inner; i++)
                    row[i].f += line[i].f;
            else
                for (int64_t i = 0; i < a.inner; i++)
                    row[i] = combined(kind, t, row[i], line[i]);
        }
        for (int64_t i = 0; i < a.inner; i++)
            row[i] = rounded(t, row[i]);
    }
}

/// Runs the op's region on the n running scalars and n elements at `e`; the running ones receive the result.
static bool combine_at(Interp *s, const Op *op, Slot *running, int64_t e)
{
    const Region *r = op->regions[0];
    for (int32_t j = 0; j < op->n_in; j++) {
        *interp_room(s, r->args[j]) = running[j];
        *interp_room(s, r->args[j + op->n_in]) = operand(s, op, j)[e];
    }
    if (!interp_region(s, r)) return false;
    for (int32_t j = 0; j < op->n_in; j++)
        running[j] = *operand(s, r->last, j);
    return true;
}

/// Reduce (into element o, i of the results) or scan (into each) with a region, along every line.
static bool combine_lines(Interp *s, const Op *op, Axis a, bool is_scan, bool reverse)
{
    Slot running[COMBINE_MAX_OPERANDS];
    for (int32_t j = 0; j < op->n_out; j++)
        result(s, op, j);
    for (int64_t o = 0; o < a.outer; o++)
        for (int64_t i = 0; i < a.inner; i++)
            for (int64_t k = 0; k < a.extent; k++) {
                int64_t e = (o * a.extent + (reverse ? a.extent - 1 - k : k)) * a.inner + i;
                if (k == 0)
                    for (int32_t j = 0; j < op->n_in; j++)
                        running[j] = operand(s, op, j)[e];
                else if (!combine_at(s, op, running, e))
                    return false;
                int64_t at = is_scan ? e : o * a.inner + i;
                for (int32_t j = 0; j < op->n_in; j++)
                    result(s, op, j)[at] = running[j];
            }
    return true;
}

bool exec_reduce(Interp *s, const Op *op)
{
    int64_t kind = op_attr_i(op, ATTR_COMBINE);
    Axis a = axis_of(op->in[0]->type, op_attr_i(op, ATTR_AXIS));
    if (kind == COMBINE_REGION) return combine_lines(s, op, a, false, false);
    if (kind == COMBINE_ARGMIN || kind == COMBINE_ARGMAX)
        reduce_arg(s, op, a);
    else
        reduce_builtin(s, op, a);
    return true;
}

bool exec_scan(Interp *s, const Op *op)
{
    const Type *t = op->in[0]->type;
    int64_t kind = op_attr_i(op, ATTR_COMBINE);
    bool reverse = op_attr_i(op, ATTR_REVERSE) != 0;
    Axis a = axis_of(t, op_attr_i(op, ATTR_AXIS));
    if (kind == COMBINE_REGION) return combine_lines(s, op, a, true, reverse);
    const Slot *x = operand(s, op, 0);
    Slot *out = result(s, op, 0);
    for (int64_t o = 0; o < a.outer; o++)
        for (int64_t i = 0; i < a.inner; i++) {
            Slot running = {0};
            for (int64_t k = 0; k < a.extent; k++) {
                int64_t e = (o * a.extent + (reverse ? a.extent - 1 - k : k)) * a.inner + i;
                running = k ? combined(kind, t, running, x[e]) : x[e];
                out[e] = rounded(t, running);
            }
        }
    return true;
}

// ---- ordering -------------------------------------------------------------------------------------

static int by_signed(const void *a, const void *b)
{
    int64_t x = ((const Slot *)a)->i, y = ((const Slot *)b)->i;
    return (x > y) - (x < y);
}

static int by_unsigned(const void *a, const void *b)
{
    uint64_t x = (uint64_t)((const Slot *)a)->i, y = (uint64_t)((const Slot *)b)->i;
    return (x > y) - (x < y);
}

/// NaNs last.
static int by_float(const void *a, const void *b)
{
    double x = ((const Slot *)a)->f, y = ((const Slot *)b)->f;
    if (isnan(x) || isnan(y)) return isnan(x) - isnan(y);
    return (x > y) - (x < y);
}

bool exec_sort(Interp *s, const Op *op)
{
    const Type *t = op->in[0]->type;
    int64_t n = t->shape[t->rank - 1], k = op->out->type->shape[t->rank - 1];
    bool descending = op_attr_i(op, ATTR_DESCENDING) != 0;
    const Slot *x = operand(s, op, 0);
    Slot *out = result(s, op, 0);
    ArenaMark mark = arena_mark(s->arena);
    Slot *line = arena_array(s->arena, Slot, n);
    int (*order)(const void *, const void *) = slot_is_float(t)            ? by_float
                                               : dtype_is_signed(t->dtype) ? by_signed
                                                                           : by_unsigned;
    for (int64_t o = 0; o < t->numel / n; o++) {
        memcpy(line, x + o * n, sizeof(Slot) * (size_t)n);
        qsort(line, (size_t)n, sizeof(Slot), order);
        for (int64_t i = 0; i < k; i++)
            out[o * k + i] = line[descending ? n - 1 - i : i];
    }
    arena_release(s->arena, mark);
    return true;
}

bool exec_gather(Interp *s, const Op *op)
{
    Axis from = axis_of(op->in[0]->type, op_attr_i(op, ATTR_AXIS)),
         to = axis_of(op->out->type, op_attr_i(op, ATTR_AXIS));
    const Slot *x = operand(s, op, 0), *index = operand(s, op, 1);
    Slot *out = result(s, op, 0);
    for (int64_t e = 0; e < op->out->type->numel; e++) {
        int64_t i = e % to.inner, o = e / to.inner / to.extent, k = index[e].i;
        if (k < 0 || k >= from.extent) k = 0; // unspecified, no fault
        out[e] = x[(o * from.extent + k) * from.inner + i];
    }
    return true;
}

bool exec_histogram(Interp *s, const Op *op)
{
    const Slot *x = operand(s, op, 0), *mask = op->n_in > 1 ? operand(s, op, 1) : NULL;
    Slot *out = result(s, op, 0);
    int64_t bins = op->out->type->numel;
    memset(out, 0, sizeof(Slot) * (size_t)bins);
    for (int64_t i = 0; i < op->in[0]->type->numel; i++)
        if ((!mask || mask[i].i) && x[i].i >= 0 && x[i].i < bins) out[x[i].i].i++;
    return true;
}

// ---- products -------------------------------------------------------------------------------------

static void int_row(int64_t k_extent, int64_t n_extent, const Slot *x, const Slot *y, int64_t *sum)
{
    for (int64_t k = 0; k < k_extent; k++)
        for (int64_t n = 0; n < n_extent; n++)
            sum[n] += x[k].i * y[k * n_extent + n].i;
}

static void float_row(int64_t k_extent, int64_t n_extent, const Slot *x, const Slot *y, double *sum)
{
    for (int64_t k = 0; k < k_extent; k++)
        for (int64_t n = 0; n < n_extent; n++)
            sum[n] += x[k].f * y[k * n_extent + n].f;
}

void interp_product(Interp *s, const Type *x_type, const Slot *x, const Slot *y,
                    const Type *acc_type, const Slot *acc, Slot *out)
{
    int32_t r = acc_type->rank;
    int64_t m_extent = acc_type->shape[r - 2], n_extent = acc_type->shape[r - 1],
            k_extent = x_type->shape[r - 1];
    int64_t batch = acc_type->numel / (m_extent * n_extent);
    bool is_float = dtype_is_float(acc_type->dtype);
    ArenaMark mark = arena_mark(s->arena);
    Slot *sum = arena_array(s->arena, Slot, n_extent);
    for (int64_t row = 0; row < batch * m_extent; row++) {
        const Slot *a = x + row * k_extent, *b = y + row / m_extent * k_extent * n_extent;
        memset(sum, 0, sizeof(Slot) * (size_t)n_extent);
        if (is_float)
            float_row(k_extent, n_extent, a, b, &sum->f);
        else
            int_row(k_extent, n_extent, a, b, &sum->i);
        for (int64_t n = 0; n < n_extent; n++) {
            Slot c = acc[row * n_extent + n];
            if (is_float)
                out[row * n_extent + n].f = float_round(acc_type->dtype, c.f + sum[n].f);
            else
                out[row * n_extent + n].i = int_wrap(acc_type->dtype, c.i + sum[n].i);
        }
    }
    arena_release(s->arena, mark);
}

bool exec_dot(Interp *s, const Op *op)
{
    Slot *out = result(s, op, 0);
    interp_product(s, op->in[0]->type, operand(s, op, 0), operand(s, op, 1), op->in[2]->type,
                   operand(s, op, 2), out);
    return true;
}
