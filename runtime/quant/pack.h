// runtime/quant/pack.h - a weight matrix as kernels of a CPU want it: panels of 16 rows, k-major, ready to multiply.
//
//   file, row-major blocks                       panels: P = n >> 4, then k, then the 16 rows of the panel
//
//   row 0   [d|q q q ...][d|q q q ...]            codes  P0: k 0..3 of rows 0 1 2 .. 15 | k 4..7 of rows 0 ..
//   row 1   [d|q q q ...][d|q q q ...]     ==>           P1: k 0..3 of rows 16 ..
//   row 2   ...                                   scale  P0: block 0 of rows 0 1 2 .. 15 | block 1 ...
//
//   type         codes                            other planes, each element [.., 16 n]
//   F32, F16     [P][K][16 n]
//   BF16         [P][K/2][16 n][2 k]              an odd K gets one more column, of zeros
//   Q8_0         i8 [P][K/4][16 n][4 k]           scale f16 [P][K/32]
//   Q4_0         u8 [P][K/32][4 j][16 n][4 i]     scale f16 [P][K/32]
//   Q4_K         as Q4_0                          scale, min u8 [P][K/32]; super f16 [P][K/256][2: d, dmin]
//   Q5_K         as Q4_0, the low four bits       as Q4_K, and high u8 [P][K/32][16 n][4 i]
//   Q6_K         as Q4_0, the low four bits       scale i8 [P][K/16]; super f16 [P][K/256];
//                                                 high u8 [P][K/32][2 h][16 n][4 i]
//
//   nibbles      byte (b, j, n, i): low is k = 32b + 4j + i, high is k + 16, whatever the pairing of the file
//   high, Q5_K   bit s of byte (b, n, i) is the fifth bit of k = 32b + 4s + i
//   high, Q6_K   bits 2f, 2f + 1 of byte (b, h, n, i) are the high bits of k = 32b + 16h + 4f + i
//
//   value        Q8_0 scale * code      Q4_0 scale * (code - 8)      Q6_K d * scale * (code - 32)
//                Q4_K, Q5_K d * scale * code - dmin * min
//
// The bytes are those of the file in another order, so a packed matrix is as large as the file's (the K types: up to
// 3 % larger, as 6-bit numbers take a byte) and as exact. Rows past the last are all zero bits.
//
// Threads  nothing is shared: panels may be packed by any number of threads at once
// Tests    tests/runtime/test_pack.c: every element of every type against block_read; the product of each
#ifndef RUNTIME_QUANT_PACK_H
#define RUNTIME_QUANT_PACK_H
#include "runtime/format/blocks.h"

enum { PACK_ROWS = 16, PACK_ALIGN = 64 };

typedef enum PackPlane {
    PACK_CODES, ///< kernel argument w
    PACK_HIGH,  ///< wh
    PACK_SCALE, ///< ws of Q8_0 and Q4_0, sc of the K types
    PACK_MIN,   ///< mn
    PACK_SUPER, ///< sd
    PACK_PLANES,
} PackPlane;

typedef struct PackPlaneFacts {
    DType dtype;        ///< DTYPE_VOID: the type has no such plane
    size_t panel_bytes; ///< of 16 rows; panel p begins at p * panel_bytes
    size_t bytes;       ///< of all panels
    size_t
        at; ///< where the plane begins in one block of PackLayout.bytes; a multiple of PACK_ALIGN
} PackPlaneFacts;

typedef struct PackLayout {
    BlockType type;
    int64_t rows, cols, n_panels;
    PackPlaneFacts plane[PACK_PLANES];
    size_t bytes; ///< of all planes, one behind the other, each aligned
} PackLayout;

/// Panels of a [rows, cols] matrix. `out` is whole only when the answer is true.
/// @return false: the type has no panels, cols is no multiple of its block, or a size is below 1 or past 2^40 elements
bool pack_layout(BlockType type, int64_t rows, int64_t cols, PackLayout *out);

/// The planes in one block of layout->bytes at `base` (on PACK_ALIGN). out: absent planes are NULL
void pack_planes(const PackLayout *layout, void *base, void *out[PACK_PLANES]);

/// The planes from `row` on, a multiple of 16: where the next of several matrices stacked in one goes. q, k and v
/// as one matrix: a layout of q's rows + k's rows + v's rows for the memory, one layout each for packing, k's planes
/// at row q.rows. All but the last have a multiple of 16 rows.
void pack_planes_at(const PackLayout *layout, void *const planes[PACK_PLANES], int64_t row,
                    void *out[PACK_PLANES]);

/// Packs panels begin .. end - 1 of the matrix of `layout`, at memory speed. Allocates nothing.
/// @param src     [rows] rows of blocks as in the file, block_row_bytes() apart, on any address
/// @param planes  where panel 0 of this matrix lies in each plane; the planes that the type has, not NULL
void pack_rows(const PackLayout *layout, const void *src, void *const planes[PACK_PLANES],
               int64_t begin, int64_t end);

/// What element (n, k) stands for, computed in f32: the slow and plain way, for tests.
float pack_read(const PackLayout *layout, void *const planes[PACK_PLANES], int64_t n, int64_t k);
#endif
