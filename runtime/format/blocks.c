// runtime/format/blocks.c - the plain loops over blocks.def: oracles first, fast nowhere.
#include "runtime/format/blocks.h"

#include <math.h>

static void block_read_f32(const void *src, float *dst, int64_t n)
{
    memcpy(dst, src, (size_t)n * sizeof *dst);
}

static void block_write_f32(const float *src, void *dst, int64_t n)
{
    memcpy(dst, src, (size_t)n * sizeof *src);
}

static void block_read_f16(const void *src, float *dst, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        uint16_t bits;
        memcpy(&bits, (const char *)src + 2 * i, 2);
        dst[i] = f16_to_f32(bits);
    }
}

static void block_write_f16(const float *src, void *dst, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        uint16_t bits = f16_from_f32(src[i]);
        memcpy((char *)dst + 2 * i, &bits, 2);
    }
}

static void block_read_bf16(const void *src, float *dst, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        uint16_t bits;
        memcpy(&bits, (const char *)src + 2 * i, 2);
        dst[i] = bf16_to_f32(bits);
    }
}

static void block_write_bf16(const float *src, void *dst, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        uint16_t bits = bf16_from_f32(src[i]);
        memcpy((char *)dst + 2 * i, &bits, 2);
    }
}

// Q8_0: f16 d, then 32 int8. y = d * q.
static void block_read_q8_0(const void *src, float *dst, int64_t n)
{
    const uint8_t *b = src;
    for (int64_t at = 0; at < n; at += 32, b += 34) {
        uint16_t bits;
        memcpy(&bits, b, 2);
        float d = f16_to_f32(bits);
        for (int i = 0; i < 32; i++)
            dst[at + i] = d * (float)(int8_t)b[2 + i];
    }
}

// d = max|x| / 127 in f32, q = x / d rounded half away from zero; d is stored as f16, nearest even.
static void block_write_q8_0(const float *src, void *dst, int64_t n)
{
    uint8_t *b = dst;
    for (int64_t at = 0; at < n; at += 32, b += 34) {
        const float *x = src + at;
        float largest = 0;
        for (int i = 0; i < 32; i++)
            largest = fmaxf(largest, fabsf(x[i]));
        float d = largest / 127.0f, inverse = d != 0 ? 1.0f / d : 0.0f;
        uint16_t bits = f16_from_f32(d);
        memcpy(b, &bits, 2);
        for (int i = 0; i < 32; i++) {
            float q = roundf(x[i] * inverse);
            b[2 + i] = (uint8_t)(int8_t)(q >= -127 && q <= 127 ? q
                                         : q > 127             ? 127
                                         : q < -127            ? -127
                                                               : 0);
        }
    }
}

// Q4_0: f16 d, then 16 bytes; byte i holds weight i in its low and weight i + 16 in its high nibble.
// y = d * (nibble - 8).
static void block_read_q4_0(const void *src, float *dst, int64_t n)
{
    const uint8_t *b = src;
    for (int64_t at = 0; at < n; at += 32, b += 18) {
        uint16_t bits;
        memcpy(&bits, b, 2);
        float d = f16_to_f32(bits);
        for (int i = 0; i < 16; i++) {
            dst[at + i] = d * (float)((b[2 + i] & 15) - 8);
            dst[at + i + 16] = d * (float)((b[2 + i] >> 4) - 8);
        }
    }
}

static uint8_t nibble(float x, float inverse)
{
    float q = x * inverse + 8.5f;
    return (uint8_t)(q >= 0 && q < 16 ? q : q >= 16 ? 15 : 0);
}

// d = m / -8 for the element m of largest magnitude, so that m itself is code 0; the first such element counts.
static void block_write_q4_0(const float *src, void *dst, int64_t n)
{
    uint8_t *b = dst;
    for (int64_t at = 0; at < n; at += 32, b += 18) {
        const float *x = src + at;
        float largest = 0, m = 0;
        for (int i = 0; i < 32; i++)
            if (fabsf(x[i]) > largest) largest = fabsf(x[i]), m = x[i];
        float d = m / -8.0f, inverse = d != 0 ? 1.0f / d : 0.0f;
        uint16_t bits = f16_from_f32(d);
        memcpy(b, &bits, 2);
        for (int i = 0; i < 16; i++)
            b[2 + i] = (uint8_t)(nibble(x[i], inverse) | nibble(x[i + 16], inverse) << 4);
    }
}

// ---- blocks of 256 ----------------------------------------------------------------------------------------

static float half_at(const uint8_t *at)
{
    uint16_t bits;
    memcpy(&bits, at, 2);
    return f16_to_f32(bits);
}

/// Stores x as f16. @return what was stored
static float put_half(uint8_t *at, float x)
{
    uint16_t bits = f16_from_f32(x);
    memcpy(at, &bits, 2);
    return f16_to_f32(bits);
}

/// x * inverse to the nearest of 0 .. most, for any x.
static uint8_t nearest(float x, float inverse, int32_t most)
{
    float q = x * inverse + 0.5f;
    return (uint8_t)(q >= 0 && q < (float)most + 1 ? q : q >= (float)most + 1 ? (float)most : 0);
}

static float inverse_of(float x)
{
    return x != 0 ? 1.0f / x : 0.0f;
}

/// Scale and minimum of block B of 32, 6 bits each, out of the 12 bytes of Q4_K and Q5_K.
static void scale_min(const uint8_t s[12], int32_t B, int32_t *scale, int32_t *min)
{
    if (B < 4) {
        *scale = s[B] & 63;
        *min = s[B + 4] & 63;
    } else {
        *scale = (s[B + 4] & 15) | (s[B - 4] >> 6) << 4;
        *min = (s[B + 4] >> 4) | (s[B] >> 6) << 4;
    }
}

static void put_scale_min(uint8_t s[12], int32_t B, uint8_t scale, uint8_t min)
{
    if (B < 4) {
        s[B] = (uint8_t)((s[B] & 0xC0) | scale);
        s[B + 4] = (uint8_t)((s[B + 4] & 0xC0) | min);
    } else {
        s[B + 4] = (uint8_t)((scale & 15) | min << 4);
        s[B - 4] = (uint8_t)((s[B - 4] & 63) | scale >> 4 << 6);
        s[B] = (uint8_t)((s[B] & 63) | min >> 4 << 6);
    }
}

// Q4_K: f16 d, f16 dmin, 12 bytes of scales and minima, 128 of nibbles: 32 bytes hold block 2g low, 2g + 1 high.
// Q5_K: 32 bytes of fifth bits before the nibbles, bit B of byte l is weight l's of block B.
// y = d * scale * code - dmin * min.
static void read_with_mins(const uint8_t *b, int32_t bytes, float *dst, int64_t n)
{
    bool has_fifth = bytes == 176;
    for (int64_t at = 0; at < n; at += 256, b += bytes) {
        float d = half_at(b), dmin = half_at(b + 2);
        const uint8_t *fifth = b + 16, *nibbles = has_fifth ? b + 48 : b + 16;
        for (int32_t B = 0; B < 8; B++) {
            int32_t scale, min;
            scale_min(b + 4, B, &scale, &min);
            for (int32_t l = 0; l < 32; l++) {
                uint8_t byte = nibbles[32 * (B / 2) + l];
                int32_t code = B % 2 ? byte >> 4 : byte & 15;
                if (has_fifth) code += (fifth[l] >> B & 1) * 16;
                dst[at + 32 * B + l] = d * (float)scale * (float)code - dmin * (float)min;
            }
        }
    }
}

// Each block of 32 spans its smallest (at most 0) to its largest element; of the eight steps and minima the
// largest is 63. A plain rounding: nothing is searched.
static void write_with_mins(const float *src, uint8_t *b, int32_t bytes, int64_t n)
{
    bool has_fifth = bytes == 176;
    int32_t most = has_fifth ? 31 : 15;
    for (int64_t at = 0; at < n; at += 256, b += bytes) {
        const float *x = src + at;
        float step[8], low[8], largest_step = 0, largest_low = 0;
        for (int32_t B = 0; B < 8; B++) {
            float least = 0, greatest = 0;
            for (int32_t l = 0; l < 32; l++) {
                least = fminf(least, x[32 * B + l]);
                greatest = fmaxf(greatest, x[32 * B + l]);
            }
            step[B] = (greatest - least) / (float)most;
            low[B] = -least;
            largest_step = fmaxf(largest_step, step[B]);
            largest_low = fmaxf(largest_low, low[B]);
        }
        memset(b, 0, (size_t)bytes);
        float d = put_half(b, largest_step / 63), dmin = put_half(b + 2, largest_low / 63);
        uint8_t *fifth = b + 16, *nibbles = has_fifth ? b + 48 : b + 16;
        for (int32_t B = 0; B < 8; B++) {
            uint8_t scale = nearest(step[B], inverse_of(d), 63),
                    min = nearest(low[B], inverse_of(dmin), 63);
            put_scale_min(b + 4, B, scale, min);
            float inverse = inverse_of(d * (float)scale), shift = dmin * (float)min;
            for (int32_t l = 0; l < 32; l++) {
                uint8_t code = nearest(x[32 * B + l] + shift, inverse, most);
                nibbles[32 * (B / 2) + l] |= (uint8_t)(B % 2 ? code << 4 : code & 15);
                if (has_fifth) fifth[l] |= (uint8_t)(code >> 4 << B);
            }
        }
    }
}

static void block_read_q4_k(const void *src, float *dst, int64_t n)
{
    read_with_mins(src, 144, dst, n);
}

static void block_write_q4_k(const float *src, void *dst, int64_t n)
{
    write_with_mins(src, dst, 144, n);
}

static void block_read_q5_k(const void *src, float *dst, int64_t n)
{
    read_with_mins(src, 176, dst, n);
}

static void block_write_q5_k(const float *src, void *dst, int64_t n)
{
    write_with_mins(src, dst, 176, n);
}

/// Where weight i of a block of Q6_K keeps its low nibble and its two high bits.
typedef struct SixBits {
    int32_t low, low_shift, high, high_shift;
} SixBits;

static SixBits six_bits(int32_t i)
{
    int32_t half = i / 128, j = i % 128 / 32, l = i % 32;
    return (SixBits){64 * half + 32 * (j & 1) + l, j < 2 ? 0 : 4, 128 + 32 * half + l, 2 * j};
}

// Q6_K: 128 bytes of low nibbles, 64 of high bits, an int8 scale for each 16 weights, f16 d. y = d * scale * (code - 32).
static void block_read_q6_k(const void *src, float *dst, int64_t n)
{
    const uint8_t *b = src;
    for (int64_t at = 0; at < n; at += 256, b += 210) {
        float d = half_at(b + 208);
        for (int32_t i = 0; i < 256; i++) {
            SixBits s = six_bits(i);
            int32_t code = (b[s.low] >> s.low_shift & 15) | (b[s.high] >> s.high_shift & 3) << 4;
            dst[at + i] = d * (float)(int8_t)b[192 + i / 16] * (float)(code - 32);
        }
    }
}

// The element of largest magnitude of each 16 is code 0; of the sixteen scales the largest is +-127.
static void block_write_q6_k(const float *src, void *dst, int64_t n)
{
    uint8_t *b = dst;
    for (int64_t at = 0; at < n; at += 256, b += 210) {
        const float *x = src + at;
        float step[16], largest = 0;
        for (int32_t B = 0; B < 16; B++) {
            float m = 0;
            for (int32_t l = 0; l < 16; l++)
                if (fabsf(x[16 * B + l]) > fabsf(m)) m = x[16 * B + l];
            step[B] = m / -32;
            largest = fmaxf(largest, fabsf(step[B]));
        }
        memset(b, 0, 210);
        float d = put_half(b + 208, largest / 127);
        for (int32_t i = 0; i < 256; i++) {
            float size = (float)nearest(fabsf(step[i / 16]), inverse_of(d), 127);
            float scale = step[i / 16] < 0 ? -size : size;
            b[192 + i / 16] = (uint8_t)(int8_t)scale;
            uint8_t code = nearest(x[i] * inverse_of(d * scale) + 32, 1, 63);
            SixBits s = six_bits(i);
            b[s.low] |= (uint8_t)((code & 15) << s.low_shift);
            b[s.high] |= (uint8_t)(code >> 4 << s.high_shift);
        }
    }
}

#define block_read_none  NULL
#define block_write_none NULL

static const BlockFacts facts[BLOCK_TYPE_END] = {
#define BLOCK(id, label, elems, size, type, reader, writer)                                        \
    [id] = {#label, elems, size, DTYPE_##type, block_read_##reader, block_write_##writer},
#include "runtime/format/blocks.def"
#undef BLOCK
};

const BlockFacts *block_facts(uint32_t id)
{
    return id < BLOCK_TYPE_END && facts[id].name ? &facts[id] : NULL;
}

int64_t block_row_bytes(BlockType type, int64_t n)
{
    const BlockFacts *f = &facts[type];
    return n % f->block ? -1 : n / f->block * f->bytes;
}

bool block_of_dtype(DType t, BlockType *out)
{
    for (uint32_t id = 0; id < BLOCK_TYPE_END; id++) {
        if (!facts[id].name || facts[id].dtype != t || t == DTYPE_VOID) continue;
        *out = (BlockType)id;
        return true;
    }
    return false;
}
