// compiler/interp/tile.c - ops that move elements, and products of matrices.
//
// Shape ops are one idea: for each element of the result, which element of the operand is it?
#include <math.h>
#include <stdlib.h>

#include "compiler/interp/internal.h"

/// Splits row-major index `e` of shape [rank] into coordinates.
static void coordinates(int32_t rank, const int32_t *shape, int64_t e, int32_t *out)
{
    for (int32_t d = rank - 1; d >= 0; d--) {
        out[d] = (int32_t)(e % shape[d]);
        e /= shape[d];
    }
}

static int64_t flat(int32_t rank, const int32_t *shape, const int32_t *at)
{
    int64_t e = 0;
    for (int32_t d = 0; d < rank; d++) e = e * shape[d] + at[d];
    return e;
}

static int64_t source_of(const Op *op, int64_t e)
{
    const Type *from = op->in[0]->type, *to = op->out[0].type;
    int32_t at[TYPE_MAX_RANK] = {0}, back[TYPE_MAX_RANK] = {0};
    switch (op->kind) {
    case OP_SPLAT: return 0;
    case OP_RESHAPE:
    case OP_EXPAND_DIMS: return e;
    case OP_BROADCAST:
        coordinates(to->rank, to->shape, e, at);
        for (int32_t d = 0; d < to->rank; d++)
            if (from->shape[d] == 1) at[d] = 0;
        return flat(from->rank, from->shape, at);
    case OP_TRANS: {
        const Attr *perm = op_attr((Op *)(uintptr_t)op, ATTR_LIST);
        coordinates(to->rank, to->shape, e, at);
        for (int32_t d = 0; d < to->rank; d++) back[perm->list[d]] = at[d];
        return flat(from->rank, from->shape, back);
    }
    default: { // FLIP
        int64_t axis = op_attr_i(op, ATTR_AXIS);
        coordinates(to->rank, to->shape, e, at);
        at[axis] = to->shape[axis] - 1 - at[axis];
        return flat(from->rank, from->shape, at);
    }
    }
}

static void run_cat(Interp *x, const Op *op)
{
    const Type *from = op->in[0]->type, *to = op->out[0].type;
    int64_t axis = op_attr_i(op, ATTR_AXIS);
    Slot *out = define(x, &op->out[0]);
    for (int64_t e = 0; e < to->numel; e++) {
        int32_t at[TYPE_MAX_RANK];
        coordinates(to->rank, to->shape, e, at);
        bool second = at[axis] >= from->shape[axis];
        if (second) at[axis] -= from->shape[axis];
        out[e] = input(x, op, second)[flat(from->rank, from->shape, at)];
    }
}

bool interp_shape(Interp *x, const Op *op)
{
    switch (op->kind) {
    case OP_ARANGE: {
        Slot *out = define(x, &op->out[0]);
        for (int64_t i = 0; i < op->out[0].type->numel; i++) out[i].i = op_attr_i(op, ATTR_START) + i;
        return true;
    }
    case OP_SPLAT:
    case OP_BROADCAST:
    case OP_EXPAND_DIMS:
    case OP_RESHAPE:
    case OP_TRANS:
    case OP_FLIP: {
        const Slot *in = input(x, op, 0);
        Slot *out = define(x, &op->out[0]);
        for (int64_t e = 0; e < op->out[0].type->numel; e++) out[e] = in[source_of(op, e)];
        return true;
    }
    case OP_JOIN: {
        Slot *out = define(x, &op->out[0]);
        for (int64_t e = 0; e < op->out[0].type->numel; e++) out[e] = input(x, op, e & 1)[e / 2];
        return true;
    }
    case OP_SPLIT: {
        const Slot *in = input(x, op, 0);
        Slot *half[2] = {define(x, &op->out[0]), define(x, &op->out[1])};
        for (int64_t e = 0; e < op->in[0]->type->numel; e++) half[e & 1][e / 2] = in[e];
        return true;
    }
    case OP_CAT: run_cat(x, op); return true;
    default: return false;
    }
}

/// out = acc + a b over leading batch axes: exact products, summed in double (ints: wrapping), rounded once.
void interp_dot(Interp *x, const Op *op)
{
    const Type *ta = op->in[0]->type, *tc = op->out[0].type;
    int32_t r = ta->rank, M = ta->shape[r - 2], K = ta->shape[r - 1], N = tc->shape[r - 1];
    const Slot *a = input(x, op, 0), *b = input(x, op, 1), *acc = input(x, op, 2);
    Slot *out = define(x, &op->out[0]);
    for (int64_t e = 0; e < tc->numel; e++) {
        int64_t n = e % N, m = e / N % M, batch = e / N / M;
        const Slot *row = a + (batch * M + m) * K, *col = b + batch * K * N + n;
        if (dtype_is_float(tc->dtype)) {
            double sum = 0;
            for (int32_t k = 0; k < K; k++) sum += row[k].f * col[(int64_t)k * N].f;
            out[e].f = float_round(tc->dtype, acc[e].f + sum);
        } else {
            uint64_t sum = (uint64_t)acc[e].i;
            for (int32_t k = 0; k < K; k++) sum += (uint64_t)row[k].i * (uint64_t)col[(int64_t)k * N].i;
            out[e].i = int_wrap(tc->dtype, (int64_t)sum);
        }
    }
}

static int compare_ints(const void *a, const void *b)
{
    int64_t x = ((const Slot *)a)->i, y = ((const Slot *)b)->i;
    return (x > y) - (x < y);
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = (uint64_t)((const Slot *)a)->i, y = (uint64_t)((const Slot *)b)->i;
    return (x > y) - (x < y);
}

/// NaNs go last.
static int compare_floats(const void *a, const void *b)
{
    double x = ((const Slot *)a)->f, y = ((const Slot *)b)->f;
    if (isnan(x) || isnan(y)) return isnan(x) - isnan(y);
    return (x > y) - (x < y);
}

void interp_sort(Interp *x, const Op *op)
{
    const Type *from = op->in[0]->type, *to = op->out[0].type;
    int32_t n = from->shape[from->rank - 1], k = to->shape[to->rank - 1];
    int (*compare)(const void *, const void *) = dtype_is_float(from->dtype) ? compare_floats
                                                 : from->dtype == DTYPE_U64  ? compare_u64
                                                                             : compare_ints;
    bool descending = op_attr_i(op, ATTR_DESCENDING);
    Slot *out = define(x, &op->out[0]);
    ArenaMark mark = arena_mark(x->arena);
    Slot *row = arena_array(x->arena, Slot, n);
    for (int64_t r = 0; r < from->numel / n; r++) {
        memcpy(row, input(x, op, 0) + r * n, (size_t)n * sizeof *row);
        qsort(row, (size_t)n, sizeof *row, compare);
        for (int32_t i = 0; i < k; i++) out[r * k + i] = row[descending ? n - 1 - i : i];
    }
    arena_release(x->arena, mark);
}

/// An index outside the axis is taken modulo its extent: unspecified, but no fault.
void interp_gather(Interp *x, const Op *op)
{
    const Type *from = op->in[0]->type, *to = op->out[0].type;
    int64_t axis = op_attr_i(op, ATTR_AXIS);
    const Slot *src = input(x, op, 0), *index = input(x, op, 1);
    Slot *out = define(x, &op->out[0]);
    for (int64_t e = 0; e < to->numel; e++) {
        int32_t at[TYPE_MAX_RANK];
        coordinates(to->rank, to->shape, e, at);
        at[axis] = (int32_t)((uint64_t)index[e].i % (uint64_t)from->shape[axis]);
        out[e] = src[flat(from->rank, from->shape, at)];
    }
}

void interp_histogram(Interp *x, const Op *op)
{
    int64_t bins = op->out[0].type->numel;
    const Slot *in = input(x, op, 0), *mask = op->n_in > 1 ? input(x, op, 1) : NULL;
    Slot *out = define(x, &op->out[0]);
    memset(out, 0, (size_t)bins * sizeof *out);
    for (int64_t e = 0; e < op->in[0]->type->numel; e++)
        if ((!mask || mask[e].i) && in[e].i >= 0 && in[e].i < bins) out[in[e].i].i++;
}
