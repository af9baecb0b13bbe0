// tests/support/guard.h - buffers that end at pages nobody may touch, on both sides.
//
//   | forbidden | ....... bytes | forbidden |        placed at the end: one byte too far faults
//   | forbidden | bytes ....... | forbidden |        placed at the begin: one byte before it faults
//
// Sanitizers do not see compiled kernels; the memory system does.
#ifndef TESTS_SUPPORT_GUARD_H
#define TESTS_SUPPORT_GUARD_H
#include <stddef.h>
#include <stdint.h>

typedef struct Guarded {
    uint8_t *data; ///< `bytes` bytes, filled with 0xA5
    size_t bytes;
    void *map;
    size_t map_bytes;
} Guarded;

typedef enum GuardSide { GUARD_END, GUARD_BEGIN } GuardSide;

/// Stops the process when the system has no memory for it.
Guarded guard_new(size_t bytes, GuardSide side);
void guard_free(Guarded *g);
#endif
