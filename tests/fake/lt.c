// tests/fake/lt.c - cuBLASLt on the host: the few calls that kiln makes, computed plainly.
//
// Column-major, as the library: D = op(A) B, sums in f32. Handles are counted by the driver beside it, and a
// product is queued on its stream, or becomes part of a capture, as a kernel would.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake.h"

#define EXPORT __attribute__((visibility("default")))

enum { F32 = 0, F16 = 2, BF16 = 14, INVALID = 7, UNSUPPORTED = 15 };

typedef struct Desc {
    int transpose_a;
} Desc;

typedef struct Shape {
    int type;
    uint64_t rows, cols;
    int64_t ld;
} Shape;

typedef struct Heuristic {
    uint64_t algo[8];
    size_t workspace;
    int state;
    float waves;
    int reserved[4];
} Heuristic;

static size_t size_of(int type)
{
    return type == F32 ? 4 : 2;
}

static float half_to_float(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, mantissa = h & 1023;
    float out;
    uint32_t bits;
    if (!exponent) {
        out = (float)mantissa * 0x1p-24f;
        memcpy(&bits, &out, 4);
        bits |= sign;
    } else
        bits = sign | (exponent == 31 ? 255u : exponent + 112) << 23 | mantissa << 13;
    memcpy(&out, &bits, 4);
    return out;
}

static float load(int type, const char *base, size_t i)
{
    uint16_t h;
    uint32_t bits;
    float out;
    if (type == F32) {
        memcpy(&out, base + 4 * i, 4);
        return out;
    }
    memcpy(&h, base + 2 * i, 2);
    if (type == F16) return half_to_float(h);
    bits = (uint32_t)h << 16;
    memcpy(&out, &bits, 4);
    return out;
}

static void store(int type, char *base, size_t i, float v)
{
    uint32_t bits;
    memcpy(&bits, &v, 4);
    if (type == F32)
        memcpy(base + 4 * i, &v, 4);
    else if (type == BF16) {
        uint16_t h = (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
        memcpy(base + 2 * i, &h, 2);
    } else {
        _Float16 h = (_Float16)v;
        memcpy(base + 2 * i, &h, 2);
    }
}

EXPORT size_t cublasLtGetVersion(void)
{
    return 120405;
}

EXPORT int cublasLtCreate(void **lt)
{
    int e = fake_enter(__func__, "%s", "");
    if (e) return e;
    *lt = calloc(1, 8);
    fake_track("a cuBLASLt handle", 1);
    return 0;
}

static int destroy(const char *what, const char *call, void *at)
{
    (void)fake_enter(call, "%s", "");
    fake_track(what, -1);
    free(at);
    return 0;
}

EXPORT int cublasLtDestroy(void *lt)
{
    return destroy("a cuBLASLt handle", __func__, lt);
}

EXPORT int cublasLtMatmulDescCreate(void **desc, int compute, int scale)
{
    (void)fake_enter(__func__, "compute=%d scale=%d", compute, scale);
    if (compute != 68 || scale != F32) return UNSUPPORTED;
    *desc = calloc(1, sizeof(Desc));
    fake_track("a description of a product", 1);
    return 0;
}

EXPORT int cublasLtMatmulDescDestroy(void *desc)
{
    return destroy("a description of a product", __func__, desc);
}

EXPORT int cublasLtMatmulDescSetAttribute(void *desc, int attribute, const void *value, size_t size)
{
    (void)fake_enter(__func__, "attribute=%d", attribute);
    if (attribute != 3 || size != sizeof(int)) return INVALID;
    memcpy(&((Desc *)desc)->transpose_a, value, size);
    return 0;
}

EXPORT int cublasLtMatrixLayoutCreate(void **layout, int type, uint64_t rows, uint64_t cols,
                                      int64_t ld)
{
    (void)fake_enter(__func__, "type=%d rows=%d cols=%d ld=%d", type, (int)rows, (int)cols,
                     (int)ld);
    if ((uint64_t)ld < rows) return INVALID;
    Shape *s = calloc(1, sizeof *s);
    *s = (Shape){type, rows, cols, ld};
    *layout = s;
    fake_track("a layout", 1);
    return 0;
}

EXPORT int cublasLtMatrixLayoutDestroy(void *layout)
{
    return destroy("a layout", __func__, layout);
}

EXPORT int cublasLtMatmulPreferenceCreate(void **preference)
{
    (void)fake_enter(__func__, "%s", "");
    *preference = calloc(1, 8);
    fake_track("a preference", 1);
    return 0;
}

EXPORT int cublasLtMatmulPreferenceDestroy(void *preference)
{
    return destroy("a preference", __func__, preference);
}

EXPORT int cublasLtMatmulPreferenceSetAttribute(void *preference, int attribute, const void *value,
                                                size_t size)
{
    (void)preference, (void)value;
    (void)fake_enter(__func__, "attribute=%d", attribute);
    return attribute == 1 && size == sizeof(size_t) ? 0 : INVALID;
}

EXPORT int cublasLtMatmulAlgoGetHeuristic(void *lt, void *desc, void *a, void *b, void *c, void *d,
                                          void *preference, int wanted, Heuristic *out, int *got)
{
    (void)lt, (void)desc, (void)c, (void)preference;
    const Shape *sa = a, *sb = b, *sd = d;
    int e = fake_enter(__func__, "m=%d n=%d k=%d", (int)sd->cols, (int)sd->rows, (int)sa->rows);
    *got = 0;
    if (e) return e;
    if (sa->type != sb->type || (sd->type != sa->type && sd->type != F32)) return UNSUPPORTED;
    if (wanted < 1) return INVALID;
    *out = (Heuristic){.algo = {42}};
    *got = 1;
    return 0;
}

typedef struct Product {
    int transpose_a;
    Shape sa, sb, sd;
    const char *a, *b;
    char *d;
} Product;

static void run(const void *payload)
{
    const Product *p = payload;
    for (uint64_t i = 0; i < p->sd.rows; i++)
        for (uint64_t j = 0; j < p->sd.cols; j++) {
            float sum = 0;
            for (uint64_t k = 0; k < p->sb.rows; k++) {
                size_t at = p->transpose_a ? k + i * (size_t)p->sa.ld : i + k * (size_t)p->sa.ld;
                sum +=
                    load(p->sa.type, p->a, at) * load(p->sb.type, p->b, k + j * (size_t)p->sb.ld);
            }
            store(p->sd.type, p->d, i + j * (size_t)p->sd.ld, sum);
        }
}

EXPORT int cublasLtMatmul(void *lt, void *desc, const float *alpha, const void *a, void *a_layout,
                          const void *b, void *b_layout, const float *beta, const void *c,
                          void *c_layout, void *d, void *d_layout, const uint64_t *algo,
                          void *workspace, size_t workspace_bytes, void *stream)
{
    (void)lt, (void)c, (void)c_layout;
    Product p = {.transpose_a = ((Desc *)desc)->transpose_a,
                 .sa = *(Shape *)a_layout,
                 .sb = *(Shape *)b_layout,
                 .sd = *(Shape *)d_layout,
                 .a = a,
                 .b = b,
                 .d = d};
    int e = fake_enter(__func__, "m=%d n=%d k=%d type=%d", (int)p.sd.cols, (int)p.sd.rows,
                       (int)p.sb.rows, p.sa.type);
    if (e) return e;
    if (*alpha != 1 || *beta != 0 || algo[0] != 42) return INVALID;
    const struct {
        const Shape *s;
        const void *at;
    } ends[] = {{&p.sa, a}, {&p.sb, b}, {&p.sd, d}};
    for (int i = 0; i < 3; i++)
        if (!fake_check_memory(__func__, ends[i].at,
                               size_of(ends[i].s->type) * (size_t)ends[i].s->ld * ends[i].s->cols))
            return INVALID;
    if (!fake_check_memory(__func__, workspace, workspace_bytes)) return INVALID;
    return fake_enqueue(stream, __func__, run, &p, sizeof p);
}
