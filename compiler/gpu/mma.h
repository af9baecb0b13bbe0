// compiler/gpu/mma.h - the matrix instructions, and which of them a dot has been given.
//
//   dot (types, extents, precision)  --select_dot.c-->  DotPlan: instruction, warps, k order, layouts
//   DotPlan  --propagate.c-->  operands arrive in registers in plan->a, plan->b
//            --mma.c-->        one kiln.mma.<shape> per fragment of the accumulator and step of k
#ifndef COMPILER_GPU_MMA_H
#define COMPILER_GPU_MMA_H
#include "compiler/gpu/gpu.h"

typedef struct MmaRow {
    const char *shape, *suffix;
    DType a, b, sum;
    int32_t rows, k;
    int32_t first, last; ///< architectures
} MmaRow;

typedef enum MmaId {
#define MMA(ID, ...) MMA_##ID,
#include "compiler/gpu/mma.def"
#undef MMA
    MMA_COUNT,
} MmaId;

extern const MmaRow mma_rows[MMA_COUNT];

/// What a dot was given. Arena of the compilation; shared by the copies of the op.
typedef struct DotPlan {
    MmaId mma;        ///< zeros fill up a K of half its own
    DType a, b;       ///< element types that the instruction takes; fp8 may become f16
    int32_t log_word; ///< lg of the elements in a 32-bit operand register
    int32_t n_passes; ///< 3: f32 as sums of two tf32
    MmaTile tile;
    const Layout *acc, *left, *right;
} DotPlan;
#endif
