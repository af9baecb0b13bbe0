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
