// compiler/gpu/emu_mma.c - matrix instructions in the emulator: what 32 lanes do together.
//
//   ldmatrix   every row is read, and its shared-memory access checked, on behalf of the lane that
//              gave its address; then the bytes go to the lanes that the PTX ISA names
//   mma        fragments are gathered into A, B, C by the PTX ISA's tables, not by our layouts:
//              products are exact, a row's sum is taken in f64 and rounded to f32 once; ints wrap
//
// Source: PTX ISA, ldmatrix and mma
#include "compiler/gpu/emu.h"
#include "compiler/gpu/mma.h"

const MmaRow mma_rows[MMA_COUNT] = {
#define MMA(ID, SHAPE, SUFFIX, A, B, SUM, ROWS, K, FIRST, LAST)                                    \
    [MMA_##ID] = {SHAPE, SUFFIX, DTYPE_##A, DTYPE_##B, DTYPE_##SUM, ROWS, K, FIRST, LAST},
#include "compiler/gpu/mma.def"
#undef MMA
};

// ---- ldmatrix ---------------------------------------------------------------------------------

/// args: address, place. imm: matrices | transposed << 8
static void serve_ldmatrix(EmuThread *lanes, int32_t imm)
{
    int32_t n = imm & 0xff;
    bool trans = imm >> 8;
    uint16_t unit[4][8][8];
    lanes->block->counters->matrix_loads++;
    for (int32_t m = 0; m < n; m++)
        for (int32_t row = 0; row < 8; row++) {
            EmuThread *t = &lanes[8 * m + row];
            if (!emu_touch_shared(t, t->args[0], 16, EMU_READS)) return;
            memcpy(unit[m][row], (const void *)(uintptr_t)t->args[0], 16);
        }
    for (int32_t lane = 0; lane < EMU_LANES; lane++)
        for (int32_t m = 0; m < n; m++) {
            int32_t i = lane / 4, k = lane % 4 * 2;
            uint32_t low = trans ? unit[m][k][i] : unit[m][i][k],
                     high = trans ? unit[m][k + 1][i] : unit[m][i][k + 1];
            lanes[lane].ret[m] = low | high << 16;
        }
}

void emu_ldmatrix(EmuThread *t, int32_t imm, const uint64_t *args, uint64_t *ret)
{
    emu_collect(t, serve_ldmatrix, imm, args, ret, (int64_t)args[1]);
}

// ---- tf32 -------------------------------------------------------------------------------------

/// To 10 bits of mantissa, ties away from zero.
void emu_tf32(EmuThread *t, int32_t imm, const uint64_t *args, uint64_t *ret)
{
    uint32_t x = (uint32_t)args[0];
    bool is_nan = (x & 0x7fffffff) > 0x7f800000;
    (void)t, (void)imm;
    ret[0] = is_nan ? 0x7fffffff : (x + 0x1000) & ~0x1fffu;
}

// ---- mma --------------------------------------------------------------------------------------

/// Element `i` of the words that start at args[0].
static uint32_t element_bits(const uint64_t *args, int32_t i, int32_t bits)
{
    int32_t per = 32 / bits;
    uint32_t word = (uint32_t)args[i / per];
    return bits == 32 ? word : word >> (i % per * bits) & ((1u << bits) - 1);
}

/// tf32 is f32 without its last 13 bits.
static double value_of(DType t, uint32_t bits)
{
    if (t == DTYPE_F32) return (double)f32_from_bits(bits & ~0x1fffu);
    uint16_t half = (uint16_t)bits;
    uint8_t byte = (uint8_t)bits;
    return dtype_load_f64(t, dtype_bytes(t) == 2 ? (const void *)&half : (const void *)&byte);
}

typedef struct Product {
    double a[16][32], b[32][8];
} Product;

/// Every lane's words of A and B, by the tables of the ISA: lane = group * 4 + place.
static void gather(const EmuThread *lanes, const MmaRow *row, Product *p)
{
    int32_t bits = dtype_bits(row->a), per = 32 / bits, k_words = row->k / (4 * per),
            m_words = row->rows / 8;
    for (int32_t lane = 0; lane < EMU_LANES; lane++) {
        int32_t group = lane / 4, place = lane % 4;
        for (int32_t kw = 0; kw < k_words; kw++)
            for (int32_t e = 0; e < per; e++) {
                int32_t k = 4 * per * kw + place * per + e;
                for (int32_t mw = 0; mw < m_words; mw++)
                    p->a[8 * mw + group][k] =
                        value_of(row->a, element_bits(lanes[lane].args,
                                                      (kw * m_words + mw) * per + e, bits));
                p->b[k][group] = value_of(
                    row->b, element_bits(lanes[lane].args + m_words * k_words, kw * per + e, bits));
            }
    }
}

static uint32_t accumulated(DType sum, uint32_t c, double products)
{
    if (sum == DTYPE_I32) return c + (uint32_t)(int64_t)products;
    return f32_bits((float)((double)f32_from_bits(c) + products));
}

/// args: words of A, B, C. imm: MmaId
static void serve_mma(EmuThread *lanes, int32_t imm)
{
    const MmaRow *row = &mma_rows[imm];
    Product p;
    int32_t m_words = row->rows / 8, k_words = row->k * dtype_bits(row->a) / 128,
            c0 = (m_words + 1) * k_words;
    lanes->block->counters->mmas++;
    gather(lanes, row, &p);
    for (int32_t lane = 0; lane < EMU_LANES; lane++)
        for (int32_t i = 0; i < 2 * m_words; i++) {
            int32_t m = lane / 4 + 8 * (i / 2), n = lane % 4 * 2 + i % 2;
            double sum = 0;
            for (int32_t k = 0; k < row->k; k++)
                sum += p.a[m][k] * p.b[k][n];
            lanes[lane].ret[i] = accumulated(row->sum, (uint32_t)lanes[lane].args[c0 + i], sum);
        }
}

void emu_mma(EmuThread *t, int32_t imm, const uint64_t *args, uint64_t *ret)
{
    const MmaRow *row = &mma_rows[imm];
    int32_t m_words = row->rows / 8, k_words = row->k * dtype_bits(row->a) / 128;
    int32_t n_args = (m_words + 1) * k_words + 2 * m_words;
    emu_collect(t, serve_mma, imm, args, ret, (int64_t)args[n_args]);
}
