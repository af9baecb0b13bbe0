// runtime/tensor.h - a typed view of device memory: dtype, shape, strides, address.
#ifndef RUNTIME_TENSOR_H
#define RUNTIME_TENSOR_H
#include "base/num.h"

enum { TENSOR_MAX_DIMS = 4 };

/// Row-major unless strides say otherwise; borrowed memory.
typedef struct Tensor {
    void *at;
    DType dtype;
    int32_t n_dims;
    int64_t shape[TENSOR_MAX_DIMS];
    int64_t stride[TENSOR_MAX_DIMS]; ///< in elements
} Tensor;

/// A dense row-major tensor. @param shape [n_dims]
static inline Tensor tensor_of(void *at, DType dtype, int32_t n_dims, const int64_t *shape)
{
    Tensor t = {.at = at, .dtype = dtype, .n_dims = n_dims};
    int64_t stride = 1;
    for (int32_t d = n_dims - 1; d >= 0; d--) {
        t.shape[d] = shape[d];
        t.stride[d] = stride;
        stride *= shape[d];
    }
    return t;
}

static inline int64_t tensor_elements(const Tensor *t)
{
    int64_t n = 1;
    for (int32_t d = 0; d < t->n_dims; d++)
        n *= t->shape[d];
    return n;
}

/// Bytes of a dense tensor of this shape.
static inline size_t tensor_bytes(const Tensor *t)
{
    return (size_t)tensor_elements(t) * (size_t)dtype_bytes(t->dtype);
}
#endif
