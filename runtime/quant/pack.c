// runtime/quant/pack.c - sizes of the planes, and panels of F32 F16 BF16 Q8_0 Q4_0.
//
// All formats come down to one move: 16 rows of 4-byte words become words of 16 rows (rows_words). Rows that a last
// panel lacks are read from a block of zeros again and again, so that no loop asks which rows there are.
#include "runtime/quant/pack_private.h"

// ---- sizes ------------------------------------------------------------------------------------------------

typedef struct PlaneSpan {
    DType dtype;
    int16_t cols, bytes; ///< `bytes` of a panel for every `cols` columns
} PlaneSpan;

typedef struct TypePlanes {
    PackRows *pack;
    PlaneSpan plane[PACK_PLANES];
} TypePlanes;

#define NIBBLES [PACK_CODES] = {DTYPE_U8, 32, 256}
#define MINS    [PACK_MIN] = {DTYPE_U8, 32, 16}, [PACK_SUPER] = {DTYPE_F16, 256, 64}

static PackRows pack_f32, pack_f16, pack_bf16, pack_q8_0, pack_q4_0;

static const TypePlanes types[BLOCK_TYPE_END] = {
    [BLOCK_F32] = {pack_f32, {[PACK_CODES] = {DTYPE_F32, 1, 64}}},
    [BLOCK_F16] = {pack_f16, {[PACK_CODES] = {DTYPE_F16, 1, 32}}},
    [BLOCK_BF16] = {pack_bf16, {[PACK_CODES] = {DTYPE_BF16, 2, 64}}},
    [BLOCK_Q8_0] = {pack_q8_0,
                    {[PACK_CODES] = {DTYPE_I8, 32, 512}, [PACK_SCALE] = {DTYPE_F16, 32, 32}}},
    [BLOCK_Q4_0] = {pack_q4_0, {NIBBLES, [PACK_SCALE] = {DTYPE_F16, 32, 32}}},
    [BLOCK_Q4_K] = {pack_q4_k, {NIBBLES, [PACK_SCALE] = {DTYPE_U8, 32, 16}, MINS}},
    [BLOCK_Q5_K] = {pack_q5_k,
                    {NIBBLES, [PACK_HIGH] = {DTYPE_U8, 32, 64}, [PACK_SCALE] = {DTYPE_U8, 32, 16},
                     MINS}},
    [BLOCK_Q6_K] = {pack_q6_k,
                    {NIBBLES, [PACK_HIGH] = {DTYPE_U8, 32, 128}, [PACK_SCALE] = {DTYPE_I8, 16, 16},
                     [PACK_SUPER] = {DTYPE_F16, 256, 32}}},
};

bool pack_layout(BlockType type, int64_t rows, int64_t cols, PackLayout *out)
{
    const int64_t most = (int64_t)1 << 40;
    if (type >= BLOCK_TYPE_END || !types[type].pack) return false;
    if (rows < 1 || cols < 1 || rows > most || cols > most / rows) return false;
    if (cols % block_facts(type)->block) return false;
    *out = (PackLayout){.type = type, .rows = rows, .cols = cols};
    out->n_panels = div_up(rows, PACK_ROWS);
    for (int32_t p = 0; p < PACK_PLANES; p++) {
        const PlaneSpan *span = &types[type].plane[p];
        if (span->dtype == DTYPE_VOID) continue;
        size_t panel = (size_t)div_up(cols, span->cols) * (size_t)span->bytes;
        size_t bytes = panel * (size_t)out->n_panels;
        out->plane[p] = (PackPlaneFacts){span->dtype, panel, bytes, out->bytes};
        out->bytes += (size_t)round_up((int64_t)bytes, PACK_ALIGN);
    }
    return true;
}

void pack_planes(const PackLayout *layout, void *base, void *out[PACK_PLANES])
{
    for (int32_t p = 0; p < PACK_PLANES; p++) {
        const PackPlaneFacts *f = &layout->plane[p];
        out[p] = f->dtype == DTYPE_VOID ? NULL : (uint8_t *)base + f->at;
    }
}

void pack_planes_at(const PackLayout *layout, void *const planes[PACK_PLANES], int64_t row,
                    void *out[PACK_PLANES])
{
    ASSERT(row % PACK_ROWS == 0);
    for (int32_t p = 0; p < PACK_PLANES; p++) {
        size_t skip = (size_t)(row / PACK_ROWS) * layout->plane[p].panel_bytes;
        out[p] = planes[p] ? (uint8_t *)planes[p] + skip : NULL;
    }
}

// ---- rows -------------------------------------------------------------------------------------------------

void pack_rows(const PackLayout *layout, const void *src, void *const planes[PACK_PLANES],
               int64_t begin, int64_t end)
{
    static const uint8_t zero[256];
    const BlockFacts *facts = block_facts(layout->type);
    int32_t per_block = facts->block > 1 ? 1 : PACK_PLAIN; // plain elements: some at a time
    size_t block = (size_t)facts->bytes * (size_t)per_block;
    size_t stride = (size_t)block_row_bytes(layout->type, layout->cols);
    for (int64_t panel = begin; panel < end; panel++) {
        PackSource s = {.cols = layout->cols};
        for (int64_t n = 0; n < PACK_ROWS; n++) {
            int64_t row = panel * PACK_ROWS + n;
            bool is_there = row < layout->rows;
            s.at[n] = is_there ? (const uint8_t *)src + (size_t)row * stride : zero;
            s.step[n] = is_there ? block : 0;
        }
        PackTo to = {0};
        for (int32_t p = 0; p < PACK_PLANES; p++)
            if (layout->plane[p].dtype != DTYPE_VOID)
                to.at[p] = (uint8_t *)planes[p] + (size_t)panel * layout->plane[p].panel_bytes;
        types[layout->type].pack(&s, &to);
    }
}

// ---- plain elements: 16 columns at a time, then one at a time ------------------------------------------------

/// 16 rows of 4-byte elements; `step` columns of the panel apart.
static void pack_f32(const PackSource *s, const PackTo *to)
{
    uint8_t *out = to->at[PACK_CODES];
    int64_t k = 0;
    for (int64_t b = 0; k + PACK_PLAIN <= s->cols; b++, k += PACK_PLAIN)
        rows_words(s, b, 0, PACK_PLAIN, out + 64 * k);
    for (int64_t b = k / PACK_PLAIN; k < s->cols; k++)
        rows_words(s, b, (size_t)(k % PACK_PLAIN) * 4, 1, out + 64 * k);
}

/// A word of a row is two columns: the halves of the 16 words go to two runs of 16.
static void pack_f16(const PackSource *s, const PackTo *to)
{
    uint8_t *out = to->at[PACK_CODES];
    uint32_t words[PACK_PLAIN / 2][PACK_ROWS];
    uint16_t halves[2][PACK_ROWS];
    int64_t k = 0;
    for (int64_t b = 0; k + PACK_PLAIN <= s->cols; b++, k += PACK_PLAIN) {
        rows_words(s, b, 0, PACK_PLAIN / 2, words);
        for (int32_t j = 0; j < PACK_PLAIN / 2; j++) {
            for (int32_t n = 0; n < PACK_ROWS; n++) {
                halves[0][n] = (uint16_t)words[j][n];
                halves[1][n] = (uint16_t)(words[j][n] >> 16);
            }
            memcpy(out + 32 * k + 64 * j, halves, sizeof halves);
        }
    }
    for (int64_t b = k / PACK_PLAIN; k < s->cols; k++)
        rows_halves(s, b, (size_t)(k % PACK_PLAIN) * 2, out + 32 * k);
}

static void pack_bf16(const PackSource *s, const PackTo *to)
{
    uint8_t *out = to->at[PACK_CODES];
    int64_t k = 0;
    for (int64_t b = 0; k + PACK_PLAIN <= s->cols; b++, k += PACK_PLAIN)
        rows_words(s, b, 0, PACK_PLAIN / 2, out + 32 * k);
    int64_t b = k / PACK_PLAIN;
    for (; k + 2 <= s->cols; k += 2)
        rows_words(s, b, (size_t)(k % PACK_PLAIN) * 2, 1, out + 32 * k);
    if (k == s->cols) return;
    uint16_t last[PACK_ROWS], pair[PACK_ROWS][2] = {0};
    rows_halves(s, b, (size_t)(k % PACK_PLAIN) * 2, last);
    for (int32_t n = 0; n < PACK_ROWS; n++)
        pair[n][0] = last[n];
    memcpy(out + 32 * k, pair, sizeof pair);
}

// ---- blocks of 32 --------------------------------------------------------------------------------------------

static void pack_q8_0(const PackSource *s, const PackTo *to)
{
    for (int64_t b = 0; b < s->cols / 32; b++) {
        rows_words(s, b, 2, 8, to->at[PACK_CODES] + 512 * b);
        rows_halves(s, b, 0, to->at[PACK_SCALE] + 32 * b);
    }
}

/// The file pairs i with i + 16 as we do.
static void pack_q4_0(const PackSource *s, const PackTo *to)
{
    for (int64_t b = 0; b < s->cols / 32; b++) {
        rows_words(s, b, 2, 4, to->at[PACK_CODES] + 256 * b);
        rows_halves(s, b, 0, to->at[PACK_SCALE] + 32 * b);
    }
}

// ---- reading back -----------------------------------------------------------------------------------------

typedef struct Reader {
    const uint8_t *at[PACK_PLANES]; ///< of the panel
    int64_t n, k;                   ///< n within the panel
} Reader;

static float half_of(const Reader *r, PackPlane p, int64_t index)
{
    return (float)dtype_load_f64(DTYPE_F16, r->at[p] + 2 * index);
}

/// The low four bits of a nibble type.
static int32_t low_bits(const Reader *r)
{
    int64_t in_block = r->k % 16;
    uint8_t byte = r->at[PACK_CODES][r->k / 32 * 256 + in_block / 4 * 64 + r->n * 4 + in_block % 4];
    return r->k % 32 < 16 ? byte & 15 : byte >> 4;
}

static float read_q4_0(const Reader *r)
{
    return half_of(r, PACK_SCALE, r->k / 32 * 16 + r->n) * (float)(low_bits(r) - 8);
}

static float read_q8_0(const Reader *r)
{
    int8_t code = (int8_t)r->at[PACK_CODES][r->k / 4 * 64 + r->n * 4 + r->k % 4];
    return half_of(r, PACK_SCALE, r->k / 32 * 16 + r->n) * (float)code;
}

static float read_q4_k(const Reader *r)
{
    int64_t block = r->k / 32 * 16 + r->n, super = r->k / 256 * 32 + r->n;
    int32_t code = low_bits(r);
    if (r->at[PACK_HIGH]) {
        uint8_t high = r->at[PACK_HIGH][r->k / 32 * 64 + r->n * 4 + r->k % 4];
        code += (high >> r->k % 32 / 4 & 1) * 16;
    }
    float scale = half_of(r, PACK_SUPER, super) * (float)r->at[PACK_SCALE][block];
    float min = half_of(r, PACK_SUPER, super + 16) * (float)r->at[PACK_MIN][block];
    return scale * (float)code - min;
}

static float read_q6_k(const Reader *r)
{
    int64_t half = r->k % 32 / 16, in_half = r->k % 16;
    uint8_t high = r->at[PACK_HIGH][r->k / 32 * 128 + half * 64 + r->n * 4 + in_half % 4];
    int32_t code = low_bits(r) + (high >> in_half / 4 * 2 & 3) * 16;
    float d = half_of(r, PACK_SUPER, r->k / 256 * 16 + r->n);
    return d * (float)(int8_t)r->at[PACK_SCALE][r->k / 16 * 16 + r->n] * (float)(code - 32);
}

float pack_read(const PackLayout *layout, void *const planes[PACK_PLANES], int64_t n, int64_t k)
{
    Reader r = {.n = n % PACK_ROWS, .k = k};
    for (int32_t p = 0; p < PACK_PLANES; p++)
        if (layout->plane[p].dtype != DTYPE_VOID)
            r.at[p] =
                (const uint8_t *)planes[p] + (size_t)(n / PACK_ROWS) * layout->plane[p].panel_bytes;
    switch (layout->type) {
    case BLOCK_Q8_0:
        return read_q8_0(&r);
    case BLOCK_Q4_0:
        return read_q4_0(&r);
    case BLOCK_Q4_K:
    case BLOCK_Q5_K:
        return read_q4_k(&r);
    case BLOCK_Q6_K:
        return read_q6_k(&r);
    case BLOCK_BF16:
        return (float)dtype_load_f64(DTYPE_BF16,
                                     r.at[PACK_CODES] + k / 2 * 64 + r.n * 4 + k % 2 * 2);
    default: {
        DType t = layout->plane[PACK_CODES].dtype;
        return (float)dtype_load_f64(t, r.at[PACK_CODES] + (k * 16 + r.n) * dtype_bytes(t));
    }
    }
}
