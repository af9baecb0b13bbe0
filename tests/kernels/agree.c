// tests/kernels/agree.c - see agree.h.
//
// Tolerance. Both rungs round every operation to its type; they differ in the order of sums, in
// contraction (a * b + c rounded once or twice) and in the last places of exp, sin and the like. So for
// a buffer whose elements are sums of `terms` products of order `unit`:
//
//     |a - b| <= (ulp(dtype) + ulp(f32) * (8 + 2 sqrt(terms)) + ulp(inner)) * max(largest |b|, unit)
//
// where `inner` is a 16-bit type that the kernel rounds to on the way. Codes of int8 may differ by one
// where a value lies on the edge between two; other integers may not differ.
#include "tests/kernels/agree.h"

#include <math.h>

typedef struct Bound {
    const char *kernel, *terms; ///< the word that is the length of its sums; NULL: 1
    bool is_product;   ///< sums of products of inputs that are not normalised: unit is sqrt(terms)
    const char *inner; ///< the argument whose dtype the kernel rounds to on the way
} Bound;

static const Bound bounds[] = {
    {"rmsnorm", "n", false, "x"},
    {"silu_mul", NULL, false, NULL},
    {"softmax", "BLOCK", false, NULL},
    {"embed", NULL, false, NULL},
    {"embed_panel", NULL, false, NULL},
    {"gemv", "K", true, NULL},
    {"gemv_dot", "K", true, "x"},
    {"gemm", "K", true, "x"},
    {"panel", "K", true, "w"},
    {"panel_k", "K", true, NULL},
    {"rope_append", NULL, true, "q"},
    {"attend", "PAGE", false, "q"},
    {"attend_merge", "SPLITS", true, NULL},
    {"quantize", NULL, false, NULL},
    {"argmax", NULL, false, NULL},
    {"sample", NULL, false, NULL},
};

static const double ulp_f32 = 0x1p-23;

static double ulp_of(DType t)
{
    return t == DTYPE_F16 ? 0x1p-10 : t == DTYPE_BF16 ? 0x1p-7 : t == DTYPE_F64 ? 0x1p-52 : ulp_f32;
}

static const Bound *bound_of(const char *func)
{
    for (int32_t i = 0; i < COUNT_OF(bounds); i++)
        if (!strcmp(bounds[i].kernel, func)) return &bounds[i];
    static const Bound other = {"", NULL, true, NULL};
    return &other;
}

static void relative_tolerance(const Case *c, const char *func, DType dtype, double *share,
                               double *unit)
{
    const Bound *b = bound_of(func);
    const CaseWord *w = b->terms ? case_word(c, b->terms) : NULL;
    double terms = w ? MAX(w->number, 1.0) : 1.0, inner = 0;
    for (int32_t i = 0; b->inner && i < c->card->spec.n_params; i++) {
        const SpecParam *p = &c->card->spec.params[i];
        if (!strcmp(p->name, b->inner) && p->kind == SPEC_PTR && ulp_of(p->dtype) > ulp_f32)
            inner = ulp_of(p->dtype);
    }
    *share = ulp_of(dtype) + ulp_f32 * (8 + 2 * sqrt(terms)) + inner;
    *unit = b->is_product ? 2 * sqrt(terms) : 1;
}

static bool is_same(double a, double b)
{
    return a == b || (isnan(a) && isnan(b));
}

int64_t buffer_differs(const Case *want, const Case *got, int32_t i, double *worst)
{
    const SpecParam *p = &want->card->spec.params[i];
    const CaseBuffer *w = &want->buffers[i], *g = &got->buffers[i];
    if (!w->bytes || !memcmp(w->at, g->at, w->bytes)) return -1;
    int64_t size = dtype_bytes(p->dtype), n = (int64_t)w->bytes / size, off_by_one = 0;
    double share = 0, unit = 1, largest = 0;
    if (dtype_is_float(p->dtype))
        relative_tolerance(want, want->card->spec.func, p->dtype, &share, &unit);
    for (int64_t k = 0; k < n; k++) {
        double x = fabs(dtype_load_f64(p->dtype, w->at + k * size));
        if (isfinite(x)) largest = MAX(largest, x);
    }
    double tolerance = share * MAX(largest, unit);
    for (int64_t k = 0; k < n; k++) {
        double a = dtype_load_f64(p->dtype, w->at + k * size),
               b = dtype_load_f64(p->dtype, g->at + k * size);
        if (is_same(a, b)) continue;
        double error = fabs(a - b);
        if (p->dtype == DTYPE_I8 && error == 1 && ++off_by_one <= 1 + n / 50) continue;
        if (!dtype_is_float(p->dtype) || !(error <= tolerance)) return k;
        *worst = MAX(*worst, error / tolerance);
    }
    return -1;
}
