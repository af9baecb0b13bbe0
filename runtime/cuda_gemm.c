// runtime/cuda_gemm.c - dense products by cuBLASLt.
//
//   y [m][n] = x [m][k] w[n][k]^T, row-major    is, as the library's column-major matrices,
//   D (n x m, ld n) = A^T (k x n, ld k: w) * B (k x m, ld k: x)
//
// A plan asks the library once for its best algorithm; running it is one call with nothing to look up, so
// it can be captured. All products share one workspace: they run in the order of one stream.
//
// Source   cuBLAS library reference, cublasLtMatmul and cublasLtMatmulAlgoGetHeuristic
#include <stdio.h>

#include "runtime/cuda.h"

struct Gemm {
    Gemm *next;
    GemmShape shape;
    void *desc, *a, *b, *d; ///< of cuBLASLt
    LtAlgo algo;
    bool is_refused; ///< the library does not do this shape
};

/// Numbers of cuBLASLt's interface. The workspace is what NVIDIA recommends for Hopper.
enum {
    LT_F32 = 0,
    LT_F16 = 2,
    LT_BF16 = 14,
    LT_COMPUTE_F32 = 68,
    LT_DESC_TRANSPOSE_A = 3,
    LT_PREFERENCE_WORKSPACE = 1,
    LT_TRANSPOSE = 1,
    WORKSPACE_BYTES = 32 << 20,
};

static int lt_type(DType t)
{
    return t == DTYPE_BF16 ? LT_BF16 : t == DTYPE_F16 ? LT_F16 : LT_F32;
}

void cuda_gemm_open(Device *dev, const char *lib)
{
    Cuda *c = dev->self;
    if (!lt_lib_open(lib, &c->lt) || !cuda_enter(dev)) return;
    if (c->lt.cublasLtCreate(&c->lt_handle) != 0) c->lt_handle = NULL;
    cuda_leave(dev);
    if (!c->lt_handle) return;
    int32_t v = (int32_t)c->lt.version; // 120405; 11 and older wrote 11402
    snprintf(dev->facts.libraries, sizeof dev->facts.libraries, "cuBLASLt %d.%d.%d", v / 10000,
             v / 100 % 100, v % 100);
}

static void gemm_free(Device *dev, Gemm *g)
{
    LtLib *lt = &((Cuda *)dev->self)->lt;
    if (g->desc) (void)lt->cublasLtMatmulDescDestroy(g->desc);
    void *layouts[] = {g->a, g->b, g->d};
    for (int32_t i = 0; i < COUNT_OF(layouts); i++)
        if (layouts[i]) (void)lt->cublasLtMatrixLayoutDestroy(layouts[i]);
    heap_free(dev->heap, g);
}

void cuda_gemm_close(Device *dev)
{
    Cuda *c = dev->self;
    for (Gemm *g = c->gemms, *next; g; g = next) {
        next = g->next;
        gemm_free(dev, g);
    }
    c->gemms = NULL; // the workspace is device memory like any other
    if (!c->lt_handle) return;
    bool is_current = cuda_enter(dev); // its memory on the host goes in any case
    (void)c->lt.cublasLtDestroy(c->lt_handle);
    if (is_current) cuda_leave(dev);
    c->lt_handle = NULL;
}

/// Descriptors and the algorithm. The context is current. @return true when the library does this shape
static bool plan(Cuda *c, Gemm *g)
{
    const LtLib *lt = &c->lt;
    const GemmShape *s = &g->shape;
    void *preference = NULL;
    LtHeuristic best;
    int transpose = LT_TRANSPOSE, n_found = 0;
    size_t workspace = WORKSPACE_BYTES;
    uint64_t m = (uint64_t)s->m, n = (uint64_t)s->n, k = (uint64_t)s->k;
    bool ok = !lt->cublasLtMatmulDescCreate(&g->desc, LT_COMPUTE_F32, LT_F32) &&
              !lt->cublasLtMatmulDescSetAttribute(g->desc, LT_DESC_TRANSPOSE_A, &transpose,
                                                  sizeof transpose) &&
              !lt->cublasLtMatrixLayoutCreate(&g->a, lt_type(s->w), k, n, s->k) &&
              !lt->cublasLtMatrixLayoutCreate(&g->b, lt_type(s->x), k, m, s->k) &&
              !lt->cublasLtMatrixLayoutCreate(&g->d, lt_type(s->y), n, m, s->n) &&
              !lt->cublasLtMatmulPreferenceCreate(&preference) &&
              !lt->cublasLtMatmulPreferenceSetAttribute(preference, LT_PREFERENCE_WORKSPACE,
                                                        &workspace, sizeof workspace) &&
              !lt->cublasLtMatmulAlgoGetHeuristic(c->lt_handle, g->desc, g->a, g->b, g->d, g->d,
                                                  preference, 1, &best, &n_found);
    if (preference) (void)lt->cublasLtMatmulPreferenceDestroy(preference);
    if (!ok || n_found < 1) return false;
    g->algo = best.algo;
    return true;
}

static bool same_shape(const GemmShape *a, const GemmShape *b)
{
    return a->y == b->y && a->x == b->x && a->w == b->w && a->m == b->m && a->n == b->n &&
           a->k == b->k;
}

KilnStatus cuda_gemm_plan(Device *dev, const GemmShape *shape, Gemm **out, Diag *diag)
{
    Cuda *c = dev->self;
    Gemm *g = c->gemms;
    *out = NULL;
    if (!c->lt_handle) return KILN_ERR_UNSUPPORTED;
    while (g && !same_shape(&g->shape, shape))
        g = g->next;
    if (!g) {
        if (!c->workspace) {
            KilnStatus st =
                device_alloc(dev, WORKSPACE_BYTES, "cuBLAS workspace", &c->workspace, diag);
            if (st != KILN_OK) return st;
        }
        g = heap_new(dev->heap, Gemm);
        if (!g) return fail(diag, KILN_ERR_NOMEM, "K102", "no memory for a matrix product");
        g->shape = *shape;
        g->is_refused = true;
        if (cuda_enter(dev)) {
            g->is_refused = !plan(c, g);
            cuda_leave(dev);
        }
        g->next = c->gemms;
        c->gemms = g;
    }
    if (g->is_refused) return KILN_ERR_UNSUPPORTED;
    *out = g;
    return KILN_OK;
}

void cuda_gemm_run(Device *dev, const DeviceStep *step)
{
    Cuda *c = dev->self;
    const Gemm *g = step->gemm;
    static const float one = 1, zero = 0;
    cuda_note(c, "of cuBLASLt", NULL, 1);
    int e = c->lt.cublasLtMatmul(c->lt_handle, g->desc, &one, step->weight, g->a, step->src, g->b,
                                 &zero, step->dst, g->d, step->dst, g->d, &g->algo, c->workspace,
                                 WORKSPACE_BYTES, c->stream);
    if (!e || dev->fault != KILN_OK) return;
    dev->fault = KILN_ERR_DEVICE;
    dev->fault_hint = "--cublas-lib \"\" uses kiln's own kernels";
    snprintf(dev->fault_code, sizeof dev->fault_code, "K303");
    snprintf(dev->fault_text, sizeof dev->fault_text,
             "%s: cublasLtMatmul of %d x %d x %d failed with status %d", dev->facts.name,
             g->shape.m, g->shape.n, g->shape.k, e);
}
