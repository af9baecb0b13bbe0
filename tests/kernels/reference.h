// tests/kernels/reference.h - what each kernel means, as plain loops in f64 over a case's buffers.
#ifndef TESTS_KERNELS_REFERENCE_H
#define TESTS_KERNELS_REFERENCE_H
#include "runtime/cards.h"

typedef void Reference(Case *c);

/// @return NULL when there is none for `kernel`
Reference *reference_of(const char *kernel);
#endif
