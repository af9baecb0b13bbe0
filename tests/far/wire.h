// tests/far/wire.h - what a test and the program in the emulator say to each other, over one socket.
//
//   FarRequest | payload          --->     FAR_LOAD  object file
//                                          FAR_RUN   n_pointers FarPointer, n_ranges FarRange, arguments, memory
//   FarReply   | payload          <---     FAR_RUN   memory
//
// Both sides are little-endian LP64.
#ifndef TESTS_FAR_WIRE_H
#define TESTS_FAR_WIRE_H
#include "compiler/compile.h"

typedef enum FarOp { FAR_LEVEL, FAR_LOAD, FAR_FREE, FAR_RUN } FarOp;

typedef struct FarRequest {
    int32_t op, image; ///< FAR_FREE, FAR_RUN: what FAR_LOAD gave
    int64_t bytes;     ///< FAR_LOAD: of the object file
    int64_t scratch_bytes;
    char entry[64];
    Grid grid;
    int64_t first, n;
    int32_t args_bytes, n_pointers, n_ranges;
} FarRequest;

/// A piece of memory, which keeps its distance from the page below: a buffer against a guard page stays so.
typedef struct FarRange {
    uint64_t at; ///< on the test's side
    int64_t bytes;
} FarRange;

/// The argument at byte `offset` of the block points into a range.
typedef struct FarPointer {
    int32_t offset, range;
    int64_t into;
} FarPointer;

typedef struct FarReply {
    int32_t status; ///< KilnStatus
    int32_t image;  ///< FAR_LOAD
    int32_t level;  ///< FAR_LEVEL: target_host_level() there
    int32_t fault;  ///< FAR_RUN: Tls.fault
    char why[256];
} FarReply;

enum { FAR_MAX_IMAGES = 64, FAR_MAX_RANGES = CODE_MAX_PARAMS, FAR_MOST_BYTES = 1 << 30 };
#endif
