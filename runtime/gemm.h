// runtime/gemm.h - matrix products that a vendor's library does better than our kernels.
//
//   y [m][n] = x [m][k] w[n][k]^T      dense, row-major, sums in f32
//
// The tile compiler's own gemm is always there; a library is asked only where a row of the table says so,
// the device has one, and that library knows the shape. A product is planned when a step is recorded and
// then is a node of the graph, like a launch.
//
// Tests    tests/runtime/test_cuda.c
#ifndef RUNTIME_GEMM_H
#define RUNTIME_GEMM_H
#include "runtime/device.h"

struct GemmShape {
    DType y, x, w;
    int32_t m, n, k; ///< m: upper bound of the rows; all of them are computed
};

/// From which size on a library is asked, for x and w of one type. The first row that fits counts.
typedef struct GemmRule {
    DType dtype;
    int32_t min_m, min_n, min_k;
    const char *why; ///< with the measurement, or "unmeasured"
} GemmRule;

int32_t gemm_rules(const GemmRule **out);
/// The rule that sends this shape to a library, or NULL.
const GemmRule *gemm_rule_for(const GemmShape *shape);
/// A plan for this shape, or NULL: take our own kernel. Plans belong to the device and are found again.
const Gemm *device_gemm(Device *dev, const GemmShape *shape);
#endif
