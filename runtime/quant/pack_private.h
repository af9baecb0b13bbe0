// runtime/quant/pack_private.h - what the packers of all types share: 16 rows to read, and the move to words of rows.
#ifndef RUNTIME_QUANT_PACK_PRIVATE_H
#define RUNTIME_QUANT_PACK_PRIVATE_H
#include "runtime/quant/pack.h"

enum { PACK_PLAIN = 16 }; ///< plain elements that count as one block

/// The rows of a panel. Block b of row n is at[n] + b * step[n]; a step of 0 is a row that is not there.
typedef struct PackSource {
    const uint8_t *at[PACK_ROWS];
    size_t step[PACK_ROWS];
    int64_t cols;
} PackSource;

/// The panel in each plane.
typedef struct PackTo {
    uint8_t *at[PACK_PLANES];
} PackTo;

typedef void PackRows(const PackSource *s, const PackTo *to);

PackRows pack_q4_k, pack_q5_k, pack_q6_k; // pack_k.c

/// out[n_words][16 rows] u32: the words at `offset` of block b. An even number of words is moved in squares of 2 x 2.
static inline void rows_words(const PackSource *s, int64_t b, size_t offset, int32_t n_words,
                              void *out)
{
    for (int32_t n = 0; n < PACK_ROWS; n += 2) {
        const uint8_t *x = s->at[n] + (size_t)b * s->step[n] + offset,
                      *y = s->at[n + 1] + (size_t)b * s->step[n + 1] + offset;
        uint8_t *to = (uint8_t *)out + 4 * n;
        int32_t j = 0;
        for (; j + 2 <= n_words; j += 2) {
            uint64_t a, c;
            memcpy(&a, x + 4 * j, 8);
            memcpy(&c, y + 4 * j, 8);
            uint64_t first = (uint32_t)a | c << 32, second = a >> 32 | (c >> 32 << 32);
            memcpy(to + 64 * j, &first, 8);
            memcpy(to + 64 * (j + 1), &second, 8);
        }
        for (; j < n_words; j++) {
            memcpy(to + 64 * j, x + 4 * j, 4);
            memcpy(to + 64 * j + 4, y + 4 * j, 4);
        }
    }
}

/// out[16 rows] u16: the half words at `offset` of block b.
static inline void rows_halves(const PackSource *s, int64_t b, size_t offset, void *out)
{
    for (int32_t n = 0; n < PACK_ROWS; n++)
        memcpy((uint8_t *)out + 2 * n, s->at[n] + (size_t)b * s->step[n] + offset, 2);
}
#endif
