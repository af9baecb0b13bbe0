// compiler/interp/combine.c - reductions and scans.
//
//   shape [outer, n, inner]: lane (o, i) is n elements, `inner` apart, beginning at o * n * inner + i
//
// Sums of floats are kept in double and rounded once (scans: at each element that is written), so a compiled
// kernel's order of summation is compared with something better than either. Regions combine element by
// element in order, as written.
#include <math.h>

#include "compiler/interp/internal.h"

typedef struct Lanes {
    int64_t outer, n, inner;
} Lanes;

static Lanes lanes_of(const Type *t, int64_t axis)
{
    Lanes l = {1, t->shape[axis], 1};
    for (int32_t d = 0; d < axis; d++) l.outer *= t->shape[d];
    for (int32_t d = (int32_t)axis + 1; d < t->rank; d++) l.inner *= t->shape[d];
    return l;
}

/// a (+) b without rounding. NaN: the other operand wins for MIN and MAX.
static Slot combine(CombineKind kind, DType t, Slot a, Slot b)
{
    if (dtype_is_float(t)) switch (kind) {
        case COMBINE_ADD: return (Slot){.f = a.f + b.f};
        case COMBINE_MUL: return (Slot){.f = a.f * b.f};
        case COMBINE_MIN: return (Slot){.f = isnan(a.f) || b.f < a.f ? b.f : a.f};
        default: return (Slot){.f = isnan(a.f) || b.f > a.f ? b.f : a.f};
        }
    bool less = t == DTYPE_U64 ? (uint64_t)b.i < (uint64_t)a.i : b.i < a.i;
    switch (kind) {
    case COMBINE_ADD: return (Slot){.i = int_wrap(t, (int64_t)((uint64_t)a.i + (uint64_t)b.i))};
    case COMBINE_MUL: return (Slot){.i = int_wrap(t, (int64_t)((uint64_t)a.i * (uint64_t)b.i))};
    case COMBINE_MIN: return less ? b : a;
    case COMBINE_MAX: return less ? a : b;
    case COMBINE_AND: return (Slot){.i = a.i & b.i};
    case COMBINE_OR: return (Slot){.i = a.i | b.i};
    default: return (Slot){.i = a.i ^ b.i};
    }
}

static Slot rounded(DType t, Slot s)
{
    return dtype_is_float(t) ? (Slot){.f = float_round(t, s.f)} : s;
}

static void reduce(Interp *x, const Op *op, CombineKind kind)
{
    const Type *t = op->in[0]->type;
    Lanes l = lanes_of(t, op_attr_i(op, ATTR_AXIS));
    const Slot *in = input(x, op, 0);
    Slot *out = define(x, &op->out[0]);
    for (int64_t o = 0; o < l.outer; o++)
        for (int64_t i = 0; i < l.inner; i++) {
            const Slot *lane = in + o * l.n * l.inner + i;
            Slot sum = lane[0];
            for (int64_t k = 1; k < l.n; k++) sum = combine(kind, t->dtype, sum, lane[k * l.inner]);
            out[o * l.inner + i] = rounded(t->dtype, sum);
        }
}

/// Does b beat a? A NaN loses to a number; ties keep the lower index.
static bool beats(CombineKind kind, DType t, Slot a, Slot b)
{
    if (dtype_is_float(t)) {
        if (isnan(a.f)) return !isnan(b.f);
        return kind == COMBINE_ARGMIN ? b.f < a.f : b.f > a.f;
    }
    if (t == DTYPE_U64) return kind == COMBINE_ARGMIN ? (uint64_t)b.i < (uint64_t)a.i : (uint64_t)b.i > (uint64_t)a.i;
    return kind == COMBINE_ARGMIN ? b.i < a.i : b.i > a.i;
}

static void reduce_arg(Interp *x, const Op *op, CombineKind kind)
{
    const Type *t = op->in[0]->type;
    Lanes l = lanes_of(t, op_attr_i(op, ATTR_AXIS));
    const Slot *in = input(x, op, 0);
    Slot *value = define(x, &op->out[0]), *index = define(x, &op->out[1]);
    for (int64_t o = 0; o < l.outer; o++)
        for (int64_t i = 0; i < l.inner; i++) {
            const Slot *lane = in + o * l.n * l.inner + i;
            int64_t best = 0;
            for (int64_t k = 1; k < l.n; k++)
                if (beats(kind, t->dtype, lane[best * l.inner], lane[k * l.inner])) best = k;
            value[o * l.inner + i] = lane[best * l.inner];
            index[o * l.inner + i].i = best;
        }
}

static void scan(Interp *x, const Op *op, CombineKind kind)
{
    const Type *t = op->in[0]->type;
    Lanes l = lanes_of(t, op_attr_i(op, ATTR_AXIS));
    bool reverse = op_attr_i(op, ATTR_REVERSE);
    const Slot *in = input(x, op, 0);
    Slot *out = define(x, &op->out[0]);
    for (int64_t o = 0; o < l.outer; o++)
        for (int64_t i = 0; i < l.inner; i++) {
            int64_t base = o * l.n * l.inner + i;
            Slot sum = {0};
            for (int64_t step = 0; step < l.n; step++) {
                int64_t at = base + (reverse ? l.n - 1 - step : step) * l.inner;
                sum = step ? combine(kind, t->dtype, sum, in[at]) : in[at];
                out[at] = rounded(t->dtype, sum);
            }
        }
}

/// Runs the op's region on `left` and `right` (n slots each); the result replaces `left`.
static KilnStatus call_region(Interp *x, const Op *op, int32_t n, Slot *left, const Slot *right)
{
    const Region *r = op->regions[0];
    const Op *end;
    for (int32_t i = 0; i < n; i++) {
        *define(x, r->args[i]) = left[i];
        *define(x, r->args[n + i]) = right[i];
    }
    KilnStatus st = interp_region(x, r, &end);
    for (int32_t i = 0; i < n && st == KILN_OK; i++) left[i] = *input(x, end, i);
    return st;
}

/// One lane: reduce writes its end, scan every step.
static KilnStatus region_lane(Interp *x, const Op *op, Lanes l, int64_t base, int64_t to)
{
    enum { MOST = 8 };
    Slot left[MOST], right[MOST];
    int32_t n = op->n_in;
    bool scans = op->kind == OP_SCAN, reverse = scans && op_attr_i(op, ATTR_REVERSE);
    if (n > MOST) return interp_fail(x, op, 0, "more than %d tiles in one reduce or scan", MOST);
    for (int64_t step = 0; step < l.n; step++) {
        int64_t at = base + (reverse ? l.n - 1 - step : step) * l.inner;
        for (int32_t i = 0; i < n; i++) (step ? right : left)[i] = input(x, op, i)[at];
        KilnStatus st = step ? call_region(x, op, n, left, right) : KILN_OK;
        if (st != KILN_OK) return st;
        for (int32_t i = 0; i < n && scans; i++) cells_of(x, &op->out[i])[at] = left[i];
    }
    for (int32_t i = 0; i < n && !scans; i++) cells_of(x, &op->out[i])[to] = left[i];
    return KILN_OK;
}

static KilnStatus by_region(Interp *x, const Op *op)
{
    Lanes l = lanes_of(op->in[0]->type, op_attr_i(op, ATTR_AXIS));
    for (int32_t i = 0; i < op->n_out; i++) define(x, &op->out[i]);
    for (int64_t o = 0; o < l.outer; o++)
        for (int64_t i = 0; i < l.inner; i++) {
            KilnStatus st = region_lane(x, op, l, o * l.n * l.inner + i, o * l.inner + i);
            if (st != KILN_OK) return st;
        }
    return KILN_OK;
}

KilnStatus interp_combine(Interp *x, const Op *op)
{
    CombineKind kind = (CombineKind)op_attr_i(op, ATTR_COMBINE);
    if (kind == COMBINE_REGION) return by_region(x, op);
    if (op->kind == OP_SCAN) scan(x, op, kind);
    else if (kind == COMBINE_ARGMIN || kind == COMBINE_ARGMAX) reduce_arg(x, op, kind);
    else reduce(x, op, kind);
    return KILN_OK;
}
