// tests/kernels/agree.h - do two runs of one case agree? Each kernel's tolerance, by element type and
// length of its sums.
#ifndef TESTS_KERNELS_AGREE_H
#define TESTS_KERNELS_AGREE_H
#include "runtime/cards.h"

/// The first element of argument `i` that differs by more than it may, or -1.
/// @param worst  raised to the largest error as a share of its tolerance
int64_t buffer_differs(const Case *want, const Case *got, int32_t i, double *worst);
#endif
