// runtime/quant/pack_k.c - panels of Q4_K, Q5_K and Q6_K: blocks of 256 with scales of their own inside.
//
//   bytes of a block    Q4_K  d 2, dmin 2, scales 12, nibbles 128
//                       Q5_K  d 2, dmin 2, scales 12, fifth bits 32, nibbles 128
//                       Q6_K  nibbles 128, high bits 64, scales 16, d 2
//
// The file pairs a weight with the one 32 or 64 further in a byte, panels with the one 16 further: nibbles are
// taken apart and paired again, 16 rows at a time. Bits above the fourth are a small matrix of bits per byte,
// (eighth of a block, block) in the file; here it is transposed, and each block gets its own:
//
//   file, byte l of Q5_K:   bit B is of block B, weight l         panel, block B, byte i:   bit s is of weight 4s + i
#include "runtime/quant/pack_private.h"

typedef uint32_t Words[PACK_ROWS]; ///< one word of each row

/// Nibbles of 32 bytes of the file (in[8]): low ones are 32 weights of one block, high ones of another.
static void repair(Words in[8], uint8_t *low, uint8_t *high)
{
    Words out[2][4];
    for (int32_t j = 0; j < 4; j++)
        for (int32_t n = 0; n < PACK_ROWS; n++) {
            uint32_t a = in[j][n], b = in[j + 4][n];
            out[0][j][n] = (a & 0x0F0F0F0Fu) | (b & 0x0F0F0F0Fu) << 4;
            out[1][j][n] = (a >> 4 & 0x0F0F0F0Fu) | (b & 0xF0F0F0F0u);
        }
    memcpy(low, out[0], sizeof out[0]);
    memcpy(high, out[1], sizeof out[1]);
}

/// out[8 blocks][16 rows] from the 8 bytes of each row, block 0 first.
static void spread(const uint64_t bytes[PACK_ROWS], uint8_t *out)
{
    for (int32_t b = 0; b < 8; b++)
        for (int32_t n = 0; n < PACK_ROWS; n++)
            out[16 * b + n] = (uint8_t)(bytes[n] >> 8 * b);
}

/// The head of a block of Q4_K or Q5_K: d and dmin, and eight 6-bit scales and minima in 12 bytes.
static void head(const PackSource *s, int64_t b, const PackTo *to)
{
    const uint32_t six = 0x3F3F3F3Fu, four = 0x0F0F0F0Fu, two = 0x03030303u;
    Words w[3];
    uint64_t scale[PACK_ROWS], min[PACK_ROWS];
    rows_words(s, b, 4, 3, w);
    for (int32_t n = 0; n < PACK_ROWS; n++) {
        uint32_t scale_high = (w[2][n] & four) | (w[0][n] >> 6 & two) << 4;
        uint32_t min_high = (w[2][n] >> 4 & four) | (w[1][n] >> 6 & two) << 4;
        scale[n] = (w[0][n] & six) | (uint64_t)scale_high << 32;
        min[n] = (w[1][n] & six) | (uint64_t)min_high << 32;
    }
    spread(scale, to->at[PACK_SCALE] + 128 * b);
    spread(min, to->at[PACK_MIN] + 128 * b);
    rows_halves(s, b, 0, to->at[PACK_SUPER] + 64 * b);
    rows_halves(s, b, 2, to->at[PACK_SUPER] + 64 * b + 32);
}

/// 128 bytes of nibbles at `offset`: 32 at a time, of neighbouring blocks.
static void nibbles(const PackSource *s, int64_t b, size_t offset, uint8_t *out)
{
    Words w[8];
    for (int32_t g = 0; g < 4; g++) {
        rows_words(s, b, offset + 32 * (size_t)g, 8, w);
        repair(w, out + 512 * g, out + 512 * g + 256);
    }
}

void pack_q4_k(const PackSource *s, const PackTo *to)
{
    for (int64_t b = 0; b < s->cols / 256; b++) {
        head(s, b, to);
        nibbles(s, b, 16, to->at[PACK_CODES] + 2048 * b);
    }
}

/// Swaps the bits of x chosen by `mask` << shift with those of y chosen by `mask`, of all rows.
static inline void exchange(Words x, Words y, int32_t shift, uint32_t mask)
{
    for (int32_t n = 0; n < PACK_ROWS; n++) {
        uint32_t t = (x[n] >> shift ^ y[n]) & mask;
        y[n] ^= t;
        x[n] ^= t << shift;
    }
}

/// In every byte: bit B of word s becomes bit s of word B. Three rounds of quarters that change places.
static void transpose_bits(Words w[8])
{
    for (int32_t i = 0; i < 4; i++)
        exchange(w[i], w[i + 4], 4, 0x0F0F0F0Fu);
    for (int32_t i = 0; i < 4; i++)
        exchange(w[i / 2 * 4 + i % 2], w[i / 2 * 4 + i % 2 + 2], 2, 0x33333333u);
    for (int32_t i = 0; i < 4; i++)
        exchange(w[2 * i], w[2 * i + 1], 1, 0x55555555u);
}

void pack_q5_k(const PackSource *s, const PackTo *to)
{
    Words w[8];
    for (int64_t b = 0; b < s->cols / 256; b++) {
        head(s, b, to);
        rows_words(s, b, 16, 8, w);
        transpose_bits(w);
        memcpy(to->at[PACK_HIGH] + 512 * b, w, sizeof w);
        nibbles(s, b, 48, to->at[PACK_CODES] + 2048 * b);
    }
}

/// In every byte: the two bits j of word f become the two bits f of word j.
static void transpose_pairs(Words w[4])
{
    exchange(w[0], w[2], 4, 0x0F0F0F0Fu);
    exchange(w[1], w[3], 4, 0x0F0F0F0Fu);
    exchange(w[0], w[1], 2, 0x33333333u);
    exchange(w[2], w[3], 2, 0x33333333u);
}

/// Halves of 128 weights: 64 bytes of nibbles, low ones of the first two blocks, high ones of the last two, and 32
/// bytes of bit pairs, pair j of block j.
void pack_q6_k(const PackSource *s, const PackTo *to)
{
    Words w[8];
    for (int64_t b = 0; b < s->cols / 256; b++) {
        for (int32_t half = 0; half < 2; half++) {
            uint8_t *codes = to->at[PACK_CODES] + 2048 * b + 1024 * half;
            uint8_t *high = to->at[PACK_HIGH] + 1024 * b + 512 * half;
            for (int32_t g = 0; g < 2; g++) {
                rows_words(s, b, 64 * (size_t)half + 32 * (size_t)g, 8, w);
                repair(w, codes + 256 * g, codes + 256 * g + 512);
            }
            rows_words(s, b, 128 + 32 * (size_t)half, 8, w);
            for (int32_t h = 0; h < 2; h++) {
                transpose_pairs(w + 4 * h);
                for (int32_t j = 0; j < 4; j++)
                    memcpy(high + 128 * j + 64 * h, w[4 * h + j], sizeof w[0]);
            }
        }
        uint64_t scales[2][PACK_ROWS];
        for (int32_t n = 0; n < PACK_ROWS; n++) {
            const uint8_t *at = s->at[n] + (size_t)b * s->step[n] + 192;
            memcpy(&scales[0][n], at, 8);
            memcpy(&scales[1][n], at + 8, 8);
        }
        spread(scales[0], to->at[PACK_SCALE] + 256 * b);
        spread(scales[1], to->at[PACK_SCALE] + 256 * b + 128);
        rows_halves(s, b, 208, to->at[PACK_SUPER] + 32 * b);
    }
}
