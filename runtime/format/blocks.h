// runtime/format/blocks.h - how weights are packed, and the plain way to read and write a row.
//
//   Q8_0, 32 weights in 34 bytes   [ d: f16 | q0 q1 ... q31: int8 ]   weight i = d * q[i]
//   Q4_0, 32 weights in 18 bytes   [ d: f16 | b0 b1 ... b15: u8  ]   weight i = d * ((b[i] & 15) - 8),
//                                                                    weight i + 16 = d * ((b[i] >> 4) - 8)
//
//   Q4_K, 256 in 144   [ d: f16 | dmin: f16 | 8 x (6-bit scale, 6-bit min) in 12 | 4-bit codes: 128 ]
//   Q5_K, 256 in 176   [ d: f16 | dmin: f16 | the same 12 | fifth bits: 32 | low four bits: 128 ]
//                                                                    weight = d * scale * code - dmin * min
//   Q6_K, 256 in 210   [ low four bits: 128 | high two: 64 | 16 scales: int8 | d: f16 ]
//                                                                    weight = d * scale * (code - 32)
//
// Loaders ask for sizes; tests use the readers as the oracle of the kernels. Values are never
// checked: a NaN scale gives NaN weights.
//
// Source   ggml's block formats; widths and formulas restated in blocks.def and blocks.c
// Tests    tests/runtime/format/test_blocks.c
#ifndef RUNTIME_FORMAT_BLOCKS_H
#define RUNTIME_FORMAT_BLOCKS_H
#include "base/num.h"

typedef enum BlockType {
#define BLOCK(id, name, block, bytes, dtype, read, write) BLOCK_##name = id,
#include "runtime/format/blocks.def"
#undef BLOCK
    BLOCK_TYPE_END = 42, ///< every id is below
} BlockType;

/// Unpacks `n` elements (a multiple of the block) from `src` (any alignment) to `dst`.
typedef void BlockRead(const void *src, float *dst, int64_t n);
/// Packs `n` elements; rounding as the format's reference quantiser.
typedef void BlockWrite(const float *src, void *dst, int64_t n);

typedef struct BlockFacts {
    const char *name;     ///< "Q8_0"; NULL for ids that mean nothing
    int32_t block, bytes; ///< elements and bytes of one block
    DType dtype;          ///< plain element type, or DTYPE_VOID
    BlockRead *read;      ///< NULL: the type can be sized but not run
    BlockWrite *write;
} BlockFacts;

/// Facts of type `id`. @return NULL when the id is unknown or withdrawn
const BlockFacts *block_facts(uint32_t id);
/// Bytes of a row of `n` elements; -1 when `n` is no multiple of the block. n up to 2^48.
int64_t block_row_bytes(BlockType type, int64_t n);
/// The block type of a plain element type. @return false when there is none
bool block_of_dtype(DType t, BlockType *out);
#endif
