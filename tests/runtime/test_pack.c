// tests/runtime/test_pack.c - panels: every element of every type is what the file said, in the place the layout says.
#include "runtime/quant/pack.h"

#include "base/random.h"
#include "tests/support/fixture.h"

TestSuite(pack, .init = fixture_up, .fini = fixture_down, .timeout = 60);

static const BlockType types[] = {BLOCK_F32,  BLOCK_F16,  BLOCK_BF16, BLOCK_Q8_0,
                                  BLOCK_Q4_0, BLOCK_Q4_K, BLOCK_Q5_K, BLOCK_Q6_K};

typedef struct Packed {
    PackLayout layout;
    char *src; ///< exactly as long as the matrix
    void *block;
    void *planes[PACK_PLANES];
    size_t row_bytes;
} Packed;

/// A matrix of random bits, whose half-precision scales are numbers.
static void make(Packed *p, BlockType type, int64_t rows, int64_t cols, uint64_t seed)
{
    const BlockFacts *facts = block_facts(type);
    Random random = {seed};
    cr_assert(pack_layout(type, rows, cols, &p->layout), "%s %lld x %lld", facts->name,
              (long long)rows, (long long)cols);
    p->row_bytes = (size_t)block_row_bytes(type, cols);
    p->src = heap_alloc(&heap, p->row_bytes * (size_t)rows, 1);
    float *x = heap_array(&heap, float, rows *cols);
    for (int64_t i = 0; i < rows * cols; i++)
        x[i] = (float)random_normal(&random);
    facts->write(x, p->src, rows * cols);
    for (size_t b = 0; b < p->row_bytes * (size_t)rows;
         b += (size_t)facts->bytes) { // any code may come
        if (facts->block == 1) break;
        for (int32_t i = 0; i < facts->bytes; i++) {
            bool is_half = type == BLOCK_Q6_K ? i >= 208 : i < (facts->block == 256 ? 4 : 2);
            if (!is_half) p->src[b + (size_t)i] = (char)random_u64(&random);
        }
    }
    heap_free(&heap, x);
    p->block = heap_alloc(&heap, p->layout.bytes, PACK_ALIGN);
    memset(p->block, 0xA5, p->layout.bytes);
    pack_planes(&p->layout, p->block, p->planes);
}

static void drop(Packed *p)
{
    heap_free(&heap, p->src);
    heap_free(&heap, p->block);
}

/// Rows as block_read has them, rows past the last as zeros.
static void expect_equal(const Packed *p)
{
    const PackLayout *l = &p->layout;
    const BlockFacts *facts = block_facts(l->type);
    float *row = heap_array(&heap, float, l->cols);
    for (int64_t n = 0; n < l->n_panels * PACK_ROWS; n++) {
        if (n < l->rows)
            facts->read(p->src + (size_t)n * p->row_bytes, row, l->cols);
        else
            memset(row, 0, (size_t)l->cols * sizeof *row);
        for (int64_t k = 0; k < l->cols; k++) {
            float got = pack_read(l, p->planes, n, k);
            cr_assert(got == row[k], "%s %lld x %lld at %lld, %lld: %g, in the file %g",
                      facts->name, (long long)l->rows, (long long)l->cols, (long long)n,
                      (long long)k, (double)got, (double)row[k]);
        }
    }
    heap_free(&heap, row);
}

Test(pack, every_element_of_every_type_survives)
{
    static const int32_t rows[] = {1, 7, 16, 17, 33, 48}, blocks[] = {1, 2, 3, 5, 18, 33};
    for (int32_t t = 0; t < COUNT_OF(types); t++)
        for (int32_t r = 0; r < COUNT_OF(rows); r++)
            for (int32_t b = 0; b < COUNT_OF(blocks); b++) {
                Packed p;
                make(&p, types[t], rows[r], (int64_t)blocks[b] * block_facts(types[t])->block,
                     100 * (uint64_t)t + 10 * (uint64_t)r + (uint64_t)b);
                pack_rows(&p.layout, p.src, p.planes, 0, p.layout.n_panels);
                expect_equal(&p);
                drop(&p);
            }
}

// The formulas of the header, written out once more: where weight (n, k) of a packed nibble lies.
Test(pack, codes_lie_where_the_header_says)
{
    Packed p;
    make(&p, BLOCK_Q4_K, 35, 512, 3);
    pack_rows(&p.layout, p.src, p.planes, 0, p.layout.n_panels);
    const uint8_t *codes = p.planes[PACK_CODES];
    for (int64_t n = 0; n < 35; n++)
        for (int64_t k = 0; k < 512; k++) {
            int64_t at =
                (n >> 4) * 8 * 512 + (k >> 5) * 256 + (k >> 2 & 3) * 64 + (n & 15) * 4 + (k & 3);
            const uint8_t *block = (const uint8_t *)p.src + (size_t)n * p.row_bytes + k / 256 * 144;
            uint8_t byte = block[16 + k % 256 / 64 * 32 + k % 32];
            cr_assert_eq(codes[at] >> (k >> 4 & 1) * 4 & 15, k & 32 ? byte >> 4 : byte & 15);
        }
    cr_expect_eq(p.layout.plane[PACK_CODES].bytes, 3 * 8 * 512);
    cr_expect_eq(p.layout.plane[PACK_SUPER].at % PACK_ALIGN, 0);
    drop(&p);
}

Test(pack, panels_may_be_packed_in_any_order_and_matrices_stacked)
{
    for (int32_t t = 0; t < COUNT_OF(types); t++) {
        int64_t cols = block_facts(types[t])->block * 3;
        Packed whole, part;
        make(&whole, types[t], 16 * 5 + 3, cols, 77);
        pack_rows(&whole.layout, whole.src, whole.planes, 0, whole.layout.n_panels);
        make(&part, types[t], 16 * 5 + 3, cols, 77);
        static const int32_t from[] = {0, 16, 64}, rows[] = {16, 48, 19};
        for (int32_t s = COUNT_OF(from); s-- > 0;) {
            PackLayout slice;
            void *planes[PACK_PLANES];
            cr_assert(pack_layout(types[t], rows[s], cols, &slice));
            pack_planes_at(&part.layout, part.planes, from[s], planes);
            for (int64_t panel = slice.n_panels; panel-- > 0;)
                pack_rows(&slice, part.src + (size_t)from[s] * part.row_bytes, planes, panel,
                          panel + 1);
        }
        for (int32_t p = 0; p < PACK_PLANES; p++) {
            size_t bytes = whole.layout.plane[p].bytes;
            if (bytes) cr_expect_arr_eq(whole.planes[p], part.planes[p], bytes);
        }
        drop(&whole);
        drop(&part);
    }
}

Test(pack, what_has_no_panels_is_refused)
{
    PackLayout l;
    cr_expect_not(pack_layout(BLOCK_Q4_1, 16, 32, &l));
    cr_expect_not(pack_layout(BLOCK_I8, 16, 32, &l));
    cr_expect_not(pack_layout((BlockType)-1, 16, 32, &l));
    cr_expect_not(pack_layout(BLOCK_Q4_0, 16, 48, &l));
    cr_expect_not(pack_layout(BLOCK_Q4_K, 16, 128, &l));
    cr_expect_not(pack_layout(BLOCK_F32, 0, 128, &l));
    cr_expect_not(pack_layout(BLOCK_F32, 16, 0, &l));
    cr_expect_not(pack_layout(BLOCK_F32, INT64_MAX, 2, &l));
    cr_expect_not(pack_layout(BLOCK_F32, 1 << 21, 1 << 21, &l));
    cr_expect(pack_layout(BLOCK_F32, 1 << 20, 1 << 20, &l));
    cr_expect_eq(l.bytes, (size_t)1 << 42);
}
