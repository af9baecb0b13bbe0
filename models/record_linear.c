// models/record_linear.c - products with weights: which kernel, by which blocks, for how many rows.
#include "models/record.h"

/// What a program of gemv takes at a time: `n` rows of weights by `k` columns, `vec` columns per thread.
typedef struct GemvTile {
    int32_t n, k, vec;
} GemvTile;

typedef enum Stored { STORED_32, STORED_16, STORED_Q8_0, STORED_Q4_0, STORED_END } Stored;

/// Which kernel multiplies how many rows of x, and by which blocks; by kind of target.
///
///   rows      1    2 .. gemv_rows          .. dot_rows    more
///   gemv      one, then `shared` at a time
///   gemv_dot  16-bit x on a GPU, from two rows on; packed weights from the first
///   gemm                                   otherwise      always
///
/// On a CPU a row of gemv's tile is one vector or two. Measured on AVX2 with weights in DRAM, 5632 x 2048, mean
/// of 30 rounds beside other work: f16 4 x 8 3.1 ms, 2 x 16 4.2, 1 x 32 3.9; f32 4 x 8 6.2, 1 x 32 7.3; Q8_0
/// 1 x 16 2.8, 4 x 8 3.8. One thread, best of 31, one row of x: Q8_0 1 x 16 0.83 ms, 1 x 32 0.88, 2 x 16 1.32;
/// Q4_0 1 x 32 1.14, 1 x 16 1.27, 2 x 32 1.55. Eight rows, shared by four or each alone: Q8_0 2 x 8 4.0 against
/// 5.6, Q4_0 2 x 16 4.5 against 9.2, f16 6.9 against 4.3. With weights in cache gemm 64 x 64 x 32 gives 74
/// GFLOP/s per thread, 32 x 32 x 32 half of that, and up to 8 rows gemv is ahead.
/// On a GPU a thread reads 16 bytes of each row, and 128 of them a run of the row.
typedef struct LinearTiles {
    GemvTile one[STORED_END], several[STORED_END];
    int32_t shared[STORED_END]; ///< rows of x that share one reading of the weights
    int32_t gemv_rows, dot_rows;
    int32_t gemm_m, gemm_n, gemm_k;
} LinearTiles;

static const LinearTiles tiles_cpu = {.one = {{4, 8, 1}, {4, 8, 1}, {1, 16, 1}, {1, 32, 1}},
                                      .several = {{4, 8, 1}, {4, 8, 1}, {2, 8, 1}, {2, 16, 1}},
                                      .shared = {1, 1, 4, 4},
                                      .gemv_rows = 8,
                                      .gemm_m = 64,
                                      .gemm_n = 64,
                                      .gemm_k = 32};
static const LinearTiles tiles_avx512 = {
    .one = {{4, 16, 1}, {4, 16, 1}, {1, 16, 1}, {1, 32, 1}},
    .several = {{4, 16, 1}, {4, 16, 1}, {2, 16, 1}, {2, 32, 1}},
    .shared = {1, 1, 4, 4},
    .gemv_rows = 8,
    .gemm_m = 64,
    .gemm_n = 64,
    .gemm_k = 32};
static const LinearTiles tiles_gpu = {
    .one = {{4, 512, 4}, {4, 1024, 8}, {4, 2048, 16}, {4, 4096, 16}},
    .shared = {1, 1, 1, 1},
    .gemv_rows = 4,
    .dot_rows = 32,
    .gemm_m = 64,
    .gemm_n = 64,
    .gemm_k = 32,
};

static const LinearTiles *tiles_of(const Target *t)
{
    if (t->kind == TARGET_SM || t->kind == TARGET_EMU) return &tiles_gpu;
    return t->kind == TARGET_CPU && t->cpu == CPU_AVX512 ? &tiles_avx512 : &tiles_cpu;
}

/// The same product by the device's library, where gemm.c says so. @param[out] done  it was recorded
static KilnStatus record_product(Recorder *r, Place y, Place x, const Matrix *w, int32_t n_rows,
                                 bool *done)
{
    GemmShape shape = {y.dtype, x.dtype, w->dtype, n_rows, w->rows, w->cols};
    const Gemm *gemm = w->scale ? NULL : device_gemm(r->t->dev, &shape);
    *done = gemm != NULL;
    if (!gemm) return KILN_OK;
    return graph_gemm(r->g, gemm, &shape, place_arg("y", y), place_arg("x", x),
                      place_arg("w", place_weight(w)), r->diag);
}

static Stored stored(const Matrix *w)
{
    return w->dtype == DTYPE_U8    ? STORED_Q4_0
           : w->dtype == DTYPE_I8  ? STORED_Q8_0
           : w->dtype == DTYPE_F32 ? STORED_32
                                   : STORED_16;
}

/// A product under way: what its kernels share.
typedef struct Product {
    Slice y;
    const Rows *x;
    const Matrix *w;
    const LinearTiles *tiles;
} Product;

static Call product_call(const char *file, const char *func, const Product *p)
{
    Call c = call_begin(file, func);
    pass_place(&c, "y", p->y.at);
    pass_place(&c, "x", p->x->x);
    pass_place(&c, "w", place_weight(p->w));
    pass_place(&c, "scale", place_scales(p->w));
    pass_place(&c, "bias", place_none);
    pass_place(&c, "rows", p->x->count);
    pass_int(&c, "N", p->w->rows);
    pass_int(&c, "K", p->w->cols);
    pass_int(&c, "sy", p->y.stride);
    pass_int(&c, "sx", p->w->cols);
    return c;
}

/// Rows of x that share one reading: a power of two that divides their number, so that all of them are there.
static int32_t shared_rows(const Product *p)
{
    return even_tile_up_to(p->x->n, p->tiles->shared[stored(p->w)], 1);
}

/// The columns of a step: an even share of the row, or on a GPU rather a masked one than a short one.
static int32_t gemv_columns(const Recorder *r, const Matrix *w, const GemvTile *tile)
{
    int32_t k = even_tile_up_to(w->cols, tile->k, 4);
    return r->is_gpu && k < tile->k / 4 ? tile_up_to(w->cols, tile->k) : k;
}

static KilnStatus record_gemv(Recorder *r, const Product *p)
{
    int32_t shared = shared_rows(p);
    const Matrix *w = p->w;
    const GemvTile *tile = shared > 1 ? &p->tiles->several[stored(w)] : &p->tiles->one[stored(w)];
    int32_t n = even_tile_up_to(w->rows, tile->n, 1), k = gemv_columns(r, w, tile);
    Call c = product_call("gemv.py", "gemv", p);
    pass_const(&c, "ROWS", shared);
    pass_const(&c, "BLOCK_N", n);
    pass_const(&c, "BLOCK_K", k);
    pass_const(&c, "VEC", MIN(tile->vec, k));
    pass_bool(&c, "EVEN_N", w->rows % n == 0);
    pass_bool(&c, "EVEN_K", w->cols % k == 0);
    return call_launch(r, &c, grid_of(p->x->n / shared, div_up(w->rows, n), 1), 4);
}

static KilnStatus record_gemv_dot(Recorder *r, const Product *p)
{
    const Matrix *w = p->w;
    int32_t m = MAX(8, tile_up_to(p->x->n, 32)), n = w->scale ? 16 : 32, k = w->scale ? 32 : 64,
            slices = w->scale ? 8 : 4;
    Call c = product_call("gemv.py", "gemv_dot", p);
    pass_const(&c, "BLOCK_M", m);
    pass_const(&c, "BLOCK_N", n);
    pass_const(&c, "BLOCK_K", k);
    pass_const(&c, "SLICES", slices);
    pass_bool(&c, "EVEN_N", w->rows % n == 0);
    pass_bool(&c, "EVEN_K", w->cols % (k * slices) == 0);
    return call_launch(r, &c, grid_of(div_up(p->x->n, m), div_up(w->rows, n), 1), 4);
}

static KilnStatus record_gemm(Recorder *r, const Product *p)
{
    const Matrix *w = p->w;
    int32_t m = tile_up_to(p->x->n, p->tiles->gemm_m), n = tile_up_to(w->rows, p->tiles->gemm_n),
            k = tile_up_to(w->cols, p->tiles->gemm_k);
    if (w->scale) k = MAX(k, 32);
    if (r->is_gpu) m = MAX(m, 16), n = MAX(n, 16), k = MAX(k, 16);
    Call c = product_call("gemm.py", "gemm", p);
    pass_const(&c, "BLOCK_M", m);
    pass_const(&c, "BLOCK_N", n);
    pass_const(&c, "BLOCK_K", k);
    pass_bool(&c, "EVEN_K", w->cols % k == 0);
    return call_launch(r, &c, grid_of(div_up(p->x->n, m), div_up(w->rows, n), 1), 4);
}

// ---- panels ---------------------------------------------------------------------------------------------

/// A tile of a product with panels: rows of x by panels of 16 rows of w.
typedef struct PanelTile {
    int32_t rows, panels;
} PanelTile;

static bool wants_codes(const Matrix *w)
{
    return w->is_panels && w->plane[PACK_SCALE];
}

/// Plain weights. Sums of 4 rows by 16 columns fill the registers of AVX2, 8 by 32 those of AVX-512. With one row or two
/// several panels are streams of their own. With AVX2 more rows of f32 take turns on a slice of a panel in the cache:
/// from memory it comes slower than it is multiplied. One thread, AVX2, weights of 8192 x 2048 in memory: 8 rows of f32 as
/// 4 x 16 56 GFLOP/s, as 8 x 16 75, of bf16 92 and 83; one row of f32 with 1 panel 21 GB/s, with 4 28.
static PanelTile plain_tile(const Product *p)
{
    bool is_wide = p->tiles == &tiles_avx512;
    int32_t rows = (int32_t)next_pow2(p->x->n),
            most = is_wide                    ? 8
                   : p->w->dtype == DTYPE_F32 ? (rows <= 16 ? 8 : 16)
                                              : 4,
            side = rows <= 2 ? 4
                   : is_wide ? 2
                             : 1;
    return (PanelTile){MIN(rows, most), side};
}

/// Codes. 4 x 16 or, with AVX-512, 4 x 32 sums fill the registers. With AVX2 Q8_0 and Q6_K take work that rows or panels of a
/// larger tile share: activations are widened once for all its panels, the sums of half blocks once for all of them.
/// One thread, AVX2, 2048 columns in cache, 128 rows of x, GOP/s as 4 x 16, 4 x 32, 8 x 16, 8 x 64, 16 x 16 and 16 x 64:
/// Q8_0 109 116 110 121 109 123, Q4_0 200 189 178 185 174 171, Q4_K 174 164 165 173 164 168, Q5_K 139 118 156 144 159 147,
/// Q6_K 82 79 86 98 88 103. Four rows and weights in memory: Q4_0 194 and, as 4 x 32, 159.
static PanelTile coded_tile(const Product *p)
{
    int32_t rows = (int32_t)next_pow2(p->x->n);
    bool shares = p->w->type == BLOCK_Q8_0 || p->w->type == BLOCK_Q6_K;
    if (p->tiles == &tiles_avx512) return (PanelTile){MIN(rows, 4), rows > 1 ? 2 : 1};
    if (rows < 8 || !(shares || p->w->type == BLOCK_Q5_K)) return (PanelTile){MIN(rows, 4), 1};
    // a bucket of 16 rows also serves steps of 8: half of the tiles end at once there
    return (PanelTile){rows <= 16 ? 8 : 16, shares ? 4 : 1};
}

/// A tile has no more panels than the matrix.
static PanelTile panel_tile(const Product *p)
{
    PanelTile t = wants_codes(p->w) ? coded_tile(p) : plain_tile(p);
    int64_t panels = div_up(p->w->rows, PACK_ROWS);
    t.panels = MIN(t.panels, (int32_t)next_pow2(panels + 1) / 2);
    return t;
}

static KilnStatus record_panel(Recorder *r, const Product *p)
{
    const Matrix *w = p->w;
    bool is_k = w->plane[PACK_SUPER] != NULL, coded = wants_codes(w);
    PanelTile tile = panel_tile(p);
    ASSERT(tile.rows > 0 && tile.panels > 0);
    Call c = call_begin(is_k ? "panel_k.py" : "panel.py", is_k ? "panel_k" : "panel");
    pass_place(&c, "y", p->y.at);
    pass_place(&c, "x", coded ? p->x->codes : p->x->x);
    pass_place(&c, "xs", coded ? p->x->scale : place_none);
    pass_place(&c, "xc", coded ? p->x->sum : place_none);
    pass_planes(&c, w, is_k);
    pass_place(&c, "bias", place_none);
    pass_place(&c, "rows", p->x->count);
    pass_int(&c, "N", w->rows);
    pass_int(&c, "K", w->cols);
    pass_int(&c, "sy", p->y.stride);
    pass_int(&c, "sx", coded ? p->x->code_stride : w->cols);
    pass_const(&c, "BLOCK_M", tile.rows);
    pass_const(&c, "PANELS", tile.panels);
    return call_launch(
        r, &c, grid_of(div_up(p->x->n, tile.rows), div_up(w->rows, PACK_ROWS * tile.panels), 1), 4);
}

KilnStatus record_codes(Recorder *r, Rows *x, const Matrix *w)
{
    if (!wants_codes(w) || x->codes.is_tensor) return KILN_OK;
    int32_t n = w->cols, block = tile_up_to(n, 1024);
    int64_t rows = round_up(x->n, ROWS_READABLE);
    // Rows a large power of two apart meet in the same few lines of a cache: 5 to 8 % of a long prompt's products.
    x->code_stride = n % 512 ? n : n + 64;
    x->codes = place_buffer(r, "codes", DTYPE_I8, rows * x->code_stride);
    x->scale = place_buffer(r, "code_scale", DTYPE_F32, rows * n / 32);
    x->sum = place_buffer(r, "code_sum", DTYPE_I32, rows * n / 32);
    Call c = call_begin("quantize.py", "quantize");
    pass_place(&c, "q", x->codes);
    pass_place(&c, "s", x->scale);
    pass_place(&c, "c", x->sum);
    pass_place(&c, "x", x->x);
    pass_place(&c, "rows", x->count);
    pass_int(&c, "n", n);
    pass_int(&c, "sq", x->code_stride);
    pass_int(&c, "sx", n);
    pass_const(&c, "BLOCK", block);
    return call_launch(r, &c, grid_of(x->n, div_up(n, block), 1), 4);
}

// ---- any matrix -----------------------------------------------------------------------------------------

KilnStatus record_linear(Recorder *r, Slice y, const Rows *x, const Matrix *w)
{
    bool done = false;
    int32_t n_rows = x->n;
    Product p = {y, x, w, tiles_of(&r->t->dev->facts.target)};
    if (w->is_panels) return record_panel(r, &p);
    KilnStatus st = KILN_OK;
    if (y.stride == w->rows) st = record_product(r, y.at, x->x, w, n_rows, &done);
    if (done || st != KILN_OK) return st;
    bool is_half = x->x.dtype == DTYPE_F16 || x->x.dtype == DTYPE_BF16;
    if (is_half && n_rows <= p.tiles->dot_rows && (w->scale || n_rows > 1))
        return record_gemv_dot(r, &p);
    return n_rows <= p.tiles->gemv_rows ? record_gemv(r, &p) : record_gemm(r, &p);
}

KilnStatus record_stack(Recorder *r, const char *name, const Rows *x, const Stack *w, Slice *out)
{
    KilnStatus st = KILN_OK;
    if (w->n_parts == 1) {
        int64_t width = w->part[0].rows, column = 0;
        Place all = place_activation(r, name, width);
        for (int32_t i = 0; i < w->n; column += w->rows_of[i++])
            out[i] = slice_of(all, column, width);
        return record_linear(r, slice_of(all, 0, width), x, &w->part[0]);
    }
    for (int32_t i = 0; i < w->n; i++) {
        out[i] = slice_of(place_activation(r, name, w->rows_of[i]), 0, w->rows_of[i]);
        TRY(record_linear(r, out[i], x, &w->part[i]));
    }
done:
    return st;
}
