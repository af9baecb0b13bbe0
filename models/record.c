// models/record.c - one forward step as launches of kernels.dsl/.
//
// A launch is written down once, argument by argument in the order of the kernel's definition; from that
// list come both the specialisation (types, 16-byte promises, constants) and the arguments. What changes
// per step is reached through addresses; the numbers below are fixed when the bucket is recorded.
#include <math.h>
#include <stdio.h>

#include "models/transformer.h"

enum { CALL_MAX_ARGS = 48 };

/// Where a value is: a planned buffer or an address. No address and no buffer: None.
typedef struct Place {
    DType dtype;
    bool is_tensor;
    int32_t tensor;
    const void *at;
} Place;

static const Place none = {0};

typedef struct Recorder {
    Transformer *t;
    Graph *g;
    const StepBuffers *step;
    const StepShape *shape;
    Diag *diag;
    Heap *heap;
    Place tokens, seqs; ///< counts on the device
    DType act;
    bool is_gpu;
} Recorder;

// ---- a launch, written down ---------------------------------------------------------------------------

typedef struct Call {
    const char *file, *func;
    StrBuf words; ///< of the specialisation
    Arg args[CALL_MAX_ARGS];
    int32_t n_args;
    int32_t maxnreg; ///< 0: not said
} Call;

static Call call_of(const char *file, const char *func)
{
    Call c = {.file = file, .func = func};
    strbuf_printf(&c.words, "%s(", func);
    return c;
}

static void comma(Call *c)
{
    if (c->words.data[c->words.len - 1] != '(') strbuf_puts(&c->words, ", ");
}

static void pass(Call *c, const char *name, Place p)
{
    comma(c);
    if (!p.is_tensor && !p.at) {
        strbuf_printf(&c->words, "%s: None", name);
        return;
    }
    bool aligned = p.is_tensor || (uintptr_t)p.at % 16 == 0;
    strbuf_printf(&c->words, "%s: *%s%s", name, dtype_facts[p.dtype].name, aligned ? ":16" : "");
    ASSERT(c->n_args < CALL_MAX_ARGS);
    c->args[c->n_args++] =
        p.is_tensor ? arg_tensor(name, p.dtype, p.tensor, 0) : arg_ptr(name, p.dtype, p.at);
}

static void pass_int(Call *c, const char *name, int64_t v)
{
    comma(c);
    strbuf_printf(&c->words, "%s: i32%s", name, v % 16 == 0 ? ":16" : "");
    ASSERT(c->n_args < CALL_MAX_ARGS);
    c->args[c->n_args++] = arg_int(name, v);
}

static void pass_float(Call *c, const char *name, double v)
{
    comma(c);
    strbuf_printf(&c->words, "%s: f32", name);
    ASSERT(c->n_args < CALL_MAX_ARGS);
    c->args[c->n_args++] = arg_float(name, v);
}

static void pass_const(Call *c, const char *name, int64_t v)
{
    comma(c);
    strbuf_printf(&c->words, "%s=%lld", name, (long long)v);
}

static void pass_bool(Call *c, const char *name, bool v)
{
    comma(c);
    strbuf_printf(&c->words, "%s=%s", name, v ? "True" : "False");
}

/// Finds the kernel and records the launch. Ends the call.
static KilnStatus launch(Recorder *r, Call *c, Grid grid, int32_t num_warps)
{
    KilnStatus st = KILN_OK;
    Kernel *k;
    strbuf_printf(&c->words, ")[num_warps=%d", (int)num_warps);
    if (c->maxnreg) strbuf_printf(&c->words, ", maxnreg=%d", (int)c->maxnreg);
    strbuf_puts(&c->words, "]");
    if (c->words.failed)
        TRY(fail(r->diag, KILN_ERR_NOMEM, "K102", "no memory to record %s", c->func));
    TRY(kernel_find(r->t->kernels, c->file, (Str){c->words.data, c->words.len}, &k, r->diag));
    TRY(graph_launch(r->g, k, grid, c->n_args, c->args, r->diag));
done:
    strbuf_free(&c->words);
    return st;
}

// ---- buffers ------------------------------------------------------------------------------------------

static Place buffer(Recorder *r, const char *name, DType dtype, int64_t n)
{
    return (Place){.dtype = dtype,
                   .is_tensor = true,
                   .tensor = graph_tensor(r->g, name, (size_t)n * (size_t)dtype_bytes(dtype))};
}

static Place activation(Recorder *r, const char *name, int64_t width)
{
    return buffer(r, name, r->act, r->shape->n_tokens * width);
}

static Place at(DType dtype, const void *address)
{
    return (Place){.dtype = dtype, .at = address};
}

static Place weight(const Matrix *m)
{
    return at(m->dtype, m->at);
}

static Place scales(const Matrix *m)
{
    return m->scale ? at(DTYPE_F16, m->scale) : none;
}

// ---- the kernels of a layer ---------------------------------------------------------------------------

static KilnStatus record_embed(Recorder *r, Place x)
{
    const Matrix *e = &r->t->embedding;
    int32_t block = (int32_t)MIN(next_pow2(e->cols), 1024);
    Call c = call_of("embed.py", "embed");
    pass(&c, "y", x);
    pass(&c, "table", weight(e));
    pass(&c, "scale", scales(e));
    pass(&c, "token", at(DTYPE_I32, r->step->tokens));
    pass(&c, "rows", r->tokens);
    pass_int(&c, "vocab", e->rows);
    pass_int(&c, "n", e->cols);
    pass_int(&c, "sy", e->cols);
    pass_const(&c, "BLOCK", block);
    return launch(r, &c, grid_of(r->shape->n_tokens, div_up(e->cols, block), 1), 4);
}

/// Blocks of kernels that write where they read. An element that two threads of a GPU held would be read by one
/// after the other has written it.
static int32_t at_least_threads(const Recorder *r, int64_t block)
{
    return (int32_t)(r->is_gpu ? MAX(block, 128) : block);
}

/// x += add (none: nothing); y = rms(x) * gain. `ends`: only the last rows of sequences, densely in y.
static KilnStatus record_norm(Recorder *r, Place y, Place x, Place add, const Matrix *gain,
                              Place ends, Place rows, int32_t n_rows)
{
    int32_t n = r->t->config.d_model, block = at_least_threads(r, next_pow2(n));
    Call c = call_of("rmsnorm.py", "rmsnorm");
    pass(&c, "y", y);
    pass(&c, "x", x);
    pass(&c, "r", add);
    pass(&c, "g", weight(gain));
    pass(&c, "rows", rows);
    pass(&c, "ends", ends);
    pass_int(&c, "n", n);
    pass_float(&c, "eps", r->t->config.rms_eps);
    pass_int(&c, "sy", n);
    pass_int(&c, "sx", n);
    pass_int(&c, "sr", n);
    pass_const(&c, "BLOCK", block);
    return launch(r, &c, grid_of(n_rows, 1, 1), block >= 4096 ? 8 : 4);
}

// ---- products with weights ------------------------------------------------------------------------------

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

static int32_t tile_of(int64_t extent, int32_t most)
{
    return (int32_t)MIN(next_pow2(extent), most);
}

/// The largest power of two up to `most` that divides `extent`, but not below `least`.
static int32_t even_tile_of(int64_t extent, int32_t most, int32_t least)
{
    int32_t tile = most;
    while (tile > least && extent % tile)
        tile /= 2;
    return tile;
}

static Arg arg_of(const char *name, Place p)
{
    return p.is_tensor ? arg_tensor(name, p.dtype, p.tensor, 0) : arg_ptr(name, p.dtype, p.at);
}

/// The same product by the device's library, where gemm.c says so. @param[out] done  it was recorded
static KilnStatus record_product(Recorder *r, Place y, Place x, const Matrix *w, int32_t n_rows,
                                 bool *done)
{
    GemmShape shape = {y.dtype, x.dtype, w->dtype, n_rows, w->rows, w->cols};
    const Gemm *gemm = w->scale ? NULL : device_gemm(r->t->dev, &shape);
    *done = gemm != NULL;
    if (!gemm) return KILN_OK;
    return graph_gemm(r->g, gemm, &shape, arg_of("y", y), arg_of("x", x), arg_of("w", weight(w)),
                      r->diag);
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
    Place y, x, rows;
    const Matrix *w;
    int32_t n_rows;
    const LinearTiles *tiles;
} Product;

static Call product_call(const char *file, const char *func, const Product *p)
{
    Call c = call_of(file, func);
    pass(&c, "y", p->y);
    pass(&c, "x", p->x);
    pass(&c, "w", weight(p->w));
    pass(&c, "scale", scales(p->w));
    pass(&c, "bias", none);
    pass(&c, "rows", p->rows);
    pass_int(&c, "N", p->w->rows);
    pass_int(&c, "K", p->w->cols);
    pass_int(&c, "sy", p->w->rows);
    pass_int(&c, "sx", p->w->cols);
    return c;
}

/// Rows of x that share one reading: a power of two that divides their number, so that all of them are there.
static int32_t shared_rows(const Product *p)
{
    return even_tile_of(p->n_rows, p->tiles->shared[stored(p->w)], 1);
}

/// The columns of a step: an even share of the row, or on a GPU rather a masked one than a short one.
static int32_t gemv_columns(const Recorder *r, const Matrix *w, const GemvTile *tile)
{
    int32_t k = even_tile_of(w->cols, tile->k, 4);
    return r->is_gpu && k < tile->k / 4 ? tile_of(w->cols, tile->k) : k;
}

static KilnStatus record_gemv(Recorder *r, const Product *p)
{
    int32_t shared = shared_rows(p);
    const Matrix *w = p->w;
    const GemvTile *tile = shared > 1 ? &p->tiles->several[stored(w)] : &p->tiles->one[stored(w)];
    int32_t n = even_tile_of(w->rows, tile->n, 1), k = gemv_columns(r, w, tile);
    Call c = product_call("gemv.py", "gemv", p);
    pass_const(&c, "ROWS", shared);
    pass_const(&c, "BLOCK_N", n);
    pass_const(&c, "BLOCK_K", k);
    pass_const(&c, "VEC", MIN(tile->vec, k));
    pass_bool(&c, "EVEN_N", w->rows % n == 0);
    pass_bool(&c, "EVEN_K", w->cols % k == 0);
    return launch(r, &c, grid_of(p->n_rows / shared, div_up(w->rows, n), 1), 4);
}

static KilnStatus record_gemv_dot(Recorder *r, const Product *p)
{
    const Matrix *w = p->w;
    int32_t m = MAX(8, tile_of(p->n_rows, 32)), n = w->scale ? 16 : 32, k = w->scale ? 32 : 64,
            slices = w->scale ? 8 : 4;
    Call c = product_call("gemv.py", "gemv_dot", p);
    pass_const(&c, "BLOCK_M", m);
    pass_const(&c, "BLOCK_N", n);
    pass_const(&c, "BLOCK_K", k);
    pass_const(&c, "SLICES", slices);
    pass_bool(&c, "EVEN_N", w->rows % n == 0);
    pass_bool(&c, "EVEN_K", w->cols % (k * slices) == 0);
    return launch(r, &c, grid_of(div_up(p->n_rows, m), div_up(w->rows, n), 1), 4);
}

static KilnStatus record_gemm(Recorder *r, const Product *p)
{
    const Matrix *w = p->w;
    int32_t m = tile_of(p->n_rows, p->tiles->gemm_m), n = tile_of(w->rows, p->tiles->gemm_n),
            k = tile_of(w->cols, p->tiles->gemm_k);
    if (w->scale) k = MAX(k, 32);
    if (r->is_gpu) m = MAX(m, 16), n = MAX(n, 16), k = MAX(k, 16);
    Call c = product_call("gemm.py", "gemm", p);
    pass_const(&c, "BLOCK_M", m);
    pass_const(&c, "BLOCK_N", n);
    pass_const(&c, "BLOCK_K", k);
    pass_bool(&c, "EVEN_K", w->cols % k == 0);
    return launch(r, &c, grid_of(div_up(p->n_rows, m), div_up(w->rows, n), 1), 4);
}

static KilnStatus record_linear(Recorder *r, Place y, Place x, const Matrix *w, Place rows,
                                int32_t n_rows)
{
    bool done;
    KilnStatus st = record_product(r, y, x, w, n_rows, &done);
    if (done || st != KILN_OK) return st;
    Product p = {y, x, rows, w, n_rows, tiles_of(&r->t->dev->facts.target)};
    bool is_half = x.dtype == DTYPE_F16 || x.dtype == DTYPE_BF16;
    if (is_half && n_rows <= p.tiles->dot_rows && (w->scale || n_rows > 1))
        return record_gemv_dot(r, &p);
    return n_rows <= p.tiles->gemv_rows ? record_gemv(r, &p) : record_gemm(r, &p);
}

/// What rope_append and attend share: where pages are, and how lists name them.
static void pass_lists(Recorder *r, Call *c)
{
    pass(c, "list_of", at(DTYPE_I32, r->step->list_of));
    pass(c, "list_len", at(DTYPE_I32, r->step->list_len));
    pass(c, "list_pages", at(DTYPE_I32, r->step->list_pages));
    pass(c, "list_spread", at(DTYPE_I32, r->step->list_spread));
}

static void pass_pages(Recorder *r, Call *c)
{
    const StepBuffers *s = r->step;
    bool scaled = s->scale_dtype != DTYPE_VOID;
    pass(c, "k_page", at(s->kv_dtype, s->kv_base));
    pass(c, "v_page", at(s->kv_dtype, s->kv_base + s->v_offset));
    pass(c, "k_scale", scaled ? at(s->scale_dtype, s->kv_base + s->k_scale_offset) : none);
    pass(c, "v_scale", scaled ? at(s->scale_dtype, s->kv_base + s->v_scale_offset) : none);
}

static void pass_page_strides(Recorder *r, Call *c)
{
    const StepBuffers *s = r->step;
    int64_t elements = s->page_bytes / dtype_bytes(s->kv_dtype);
    pass_int(c, "page_k", elements);
    pass_int(c, "page_v", elements);
    pass_int(c, "page_s",
             s->scale_dtype == DTYPE_VOID ? 0 : s->page_bytes / dtype_bytes(s->scale_dtype));
}

/// Keys lie with tokens side by side on a CPU (lanes are tokens there), dimension by dimension on a GPU.
static void pass_key_layout(Recorder *r, Call *c)
{
    pass_const(c, "PAGE", r->step->page_len);
    pass_bool(c, "DIM_MAJOR", !r->is_gpu);
}

static KilnStatus record_rope(Recorder *r, int32_t layer, Place q, Place k, Place v)
{
    const ModelConfig *m = &r->t->config;
    int32_t group = m->n_heads / m->n_kv_heads;
    // A long step turns all heads of a token by one sine and cosine; a short one keeps every thread busy.
    bool is_long = !r->is_gpu && r->shape->n_tokens >= 4 * r->t->dev->facts.n_threads;
    int32_t heads = is_long ? m->n_kv_heads : 1;
    Call c = call_of("rope.py", "rope_append");
    pass(&c, "q", q);
    pass(&c, "k", k);
    pass(&c, "v", v);
    pass_pages(r, &c);
    pass(&c, "steps", at(DTYPE_F32, r->t->steps));
    pass(&c, "pos", at(DTYPE_I32, r->step->pos));
    pass(&c, "seq_of", at(DTYPE_I32, r->step->seq_of));
    pass(&c, "q_start", at(DTYPE_I32, r->step->q_start));
    pass(&c, "slot_of", at(DTYPE_I32, r->step->slot_of));
    pass_lists(r, &c);
    pass(&c, "tokens", r->tokens);
    pass_int(&c, "per", (int64_t)m->n_layers * m->n_kv_heads);
    pass_int(&c, "layer0", (int64_t)layer * m->n_kv_heads);
    pass_int(&c, "max_pages", r->step->max_pages);
    pass_int(&c, "sq", (int64_t)m->n_heads * m->head_dim);
    pass_int(&c, "sk", (int64_t)m->n_kv_heads * m->head_dim);
    pass_int(&c, "sv", (int64_t)m->n_kv_heads * m->head_dim);
    pass_page_strides(r, &c);
    pass_const(&c, "HEADS", heads);
    pass_const(&c, "G", group);
    pass_const(&c, "HEAD_DIM", m->head_dim);
    pass_const(&c, "ROPE_DIM", m->rope_dim);
    pass_bool(&c, "INTERLEAVED", m->rope_kind == ROPE_INTERLEAVED);
    pass_key_layout(r, &c);
    pass_const(&c, "HALF", next_pow2(MAX(m->rope_dim / 2, 1)));
    pass_const(&c, "BLOCK_D", next_pow2(m->head_dim));
    pass_const(&c, "BLOCK_G", next_pow2(group));
    return launch(r, &c, grid_of(r->shape->n_tokens, m->n_kv_heads / heads, 1), 4);
}

/// How many programs share the pages of one (sequence, kv-head): until every thread has two of them, and
/// none has fewer than 512 tokens of a full context.
static int32_t splits_of(const Recorder *r)
{
    if (r->shape->phase != PHASE_DECODE) return 1;
    int64_t wanted = r->is_gpu ? 264 : 2 * (int64_t)r->t->dev->facts.n_threads;
    int64_t programs = (int64_t)r->shape->n_seqs * r->t->config.n_kv_heads;
    int32_t splits = 1;
    while (splits < 32 && programs * splits < wanted && r->shape->max_context / (2 * splits) >= 512)
        splits *= 2;
    return splits;
}

/// Tokens of a page per step of attention: on a GPU no more than fit beside the copies in flight.
static int32_t keys_at_a_time(const Recorder *r)
{
    int32_t most = r->act == DTYPE_F32 || r->t->config.head_dim > 128 ? 32 : 64;
    return r->is_gpu ? MIN(r->step->page_len, most) : r->step->page_len;
}

static KilnStatus record_attend(Recorder *r, int32_t layer, Place out, Place lse, Place q,
                                int32_t splits)
{
    const ModelConfig *m = &r->t->config;
    int32_t group = m->n_heads / m->n_kv_heads, rows = group;
    if (r->shape->phase == PHASE_PREFILL) rows = group * r->shape->n_tokens;
    int32_t block_m = (int32_t)MIN(next_pow2(rows), MAX(next_pow2(group), r->is_gpu ? 64 : 32));
    if (r->is_gpu) block_m = MAX(block_m, 16);
    int32_t n_blocks = (int32_t)div_up(rows, block_m);
    Call c = call_of("attention.py", "attend");
    // left alone, ptxas spills a few bytes of wide heads to fit one more block per multiprocessor
    c.maxnreg = r->is_gpu && r->t->config.head_dim >= 64 ? 255 : 0;
    pass(&c, "o", out);
    pass(&c, "lse", lse);
    pass(&c, "q", q);
    pass_pages(r, &c);
    pass(&c, "q_start", at(DTYPE_I32, r->step->q_start));
    pass(&c, "slot_of", at(DTYPE_I32, r->step->slot_of));
    pass(&c, "seqs", r->seqs);
    pass_lists(r, &c);
    pass(&c, "visit", none);
    pass(&c, "visit_n", none);
    pass_int(&c, "max_visit", 0);
    pass_int(&c, "n_blocks", n_blocks);
    pass_int(&c, "per", (int64_t)m->n_layers * m->n_kv_heads);
    pass_int(&c, "layer0", (int64_t)layer * m->n_kv_heads);
    pass_int(&c, "max_pages", r->step->max_pages);
    pass_int(&c, "sq", (int64_t)m->n_heads * m->head_dim);
    pass_page_strides(r, &c);
    pass_float(&c, "scale", 1 / sqrt((double)m->head_dim));
    pass_const(&c, "G", group);
    pass_const(&c, "HEAD_DIM", m->head_dim);
    pass_key_layout(r, &c);
    pass_const(&c, "SPLITS", splits);
    pass_const(&c, "BLOCK_M", block_m);
    pass_const(&c, "BLOCK_D", MAX(next_pow2(m->head_dim), r->is_gpu ? 16 : 1));
    pass_const(&c, "KEYS", keys_at_a_time(r));
    int32_t warps = r->is_gpu && block_m > 16 && m->head_dim > 128 ? 8 : 4;
    return launch(r, &c, grid_of((int64_t)n_blocks * splits, m->n_kv_heads, r->shape->n_seqs),
                  warps);
}

static KilnStatus record_merge(Recorder *r, Place out, Place part, Place lse, int32_t splits)
{
    const ModelConfig *m = &r->t->config;
    Call c = call_of("attention.py", "attend_merge");
    pass(&c, "o", out);
    pass(&c, "lse", none);
    pass(&c, "part", part);
    pass(&c, "part_lse", lse);
    pass(&c, "tokens", r->tokens);
    pass_int(&c, "heads", m->n_heads);
    pass_const(&c, "HEAD_DIM", m->head_dim);
    pass_const(&c, "SPLITS", splits);
    pass_const(&c, "BLOCK_D", next_pow2(m->head_dim));
    return launch(r, &c, grid_of(r->shape->n_tokens, m->n_heads, 1), 4);
}

/// Attention of one layer over the pages, in one go or in splits that are merged.
static KilnStatus record_attention(Recorder *r, int32_t layer, Place out, Place q)
{
    KilnStatus st = KILN_OK;
    const ModelConfig *m = &r->t->config;
    int32_t splits = splits_of(r);
    if (splits == 1) return record_attend(r, layer, out, none, q, 1);
    int64_t rows = (int64_t)r->shape->n_tokens * m->n_heads * splits;
    Place part = buffer(r, "part", DTYPE_F32, rows * m->head_dim),
          lse = buffer(r, "part_lse", DTYPE_F32, rows);
    TRY(record_attend(r, layer, part, lse, q, splits));
    TRY(record_merge(r, out, part, lse, splits));
done:
    return st;
}

static KilnStatus record_silu_mul(Recorder *r, Place y, Place gate, Place up)
{
    int32_t n = r->t->config.d_ff, block = at_least_threads(r, MIN(next_pow2(n), 1024));
    Call c = call_of("silu_mul.py", "silu_mul");
    pass(&c, "y", y);
    pass(&c, "gate", gate);
    pass(&c, "up", up);
    pass(&c, "rows", r->tokens);
    pass_int(&c, "n", n);
    pass_int(&c, "sy", n);
    pass_int(&c, "sg", n);
    pass_int(&c, "su", n);
    pass_const(&c, "BLOCK", block);
    return launch(r, &c, grid_of(r->shape->n_tokens, div_up(n, block), 1), 4);
}

static KilnStatus record_sample(Recorder *r)
{
    const StepBuffers *s = r->step;
    int32_t vocab = r->t->config.vocab;
    Call c = call_of("sample.py", "sample");
    pass(&c, "token", at(DTYPE_I32, s->out_ids));
    pass(&c, "logits", at(DTYPE_F32, s->logits));
    pass(&c, "ends", r->shape->all_logits ? at(DTYPE_I32, s->q_start + 1) : none);
    pass(&c, "rows", r->seqs);
    pass(&c, "temperature", at(DTYPE_F32, s->temperature));
    pass(&c, "top_k", at(DTYPE_I32, s->top_k));
    pass(&c, "top_p", at(DTYPE_F32, s->top_p));
    pass(&c, "min_p", at(DTYPE_F32, s->min_p));
    pass(&c, "seed", at(DTYPE_I64, s->seed));
    pass(&c, "step", at(DTYPE_I32, s->draw));
    pass_int(&c, "vocab", vocab);
    pass_int(&c, "sx", vocab);
    pass_bool(&c, "TEMPERATURE_LAST", true);
    pass_const(&c, "BLOCK",
               tile_of(vocab, r->is_gpu ? 1024 : 64)); // small blocks are skipped more often
    return launch(r, &c, grid_of(r->shape->n_seqs, 1, 1), 4);
}

// ---- the step -----------------------------------------------------------------------------------------

/// One layer: `add` is what the layer before adds to x, and becomes what this one adds.
static KilnStatus record_layer(Recorder *r, int32_t l, Place x, Place *add)
{
    KilnStatus st = KILN_OK;
    const ModelConfig *m = &r->t->config;
    const Layer *w = &r->t->layers[l];
    int32_t rows = r->shape->n_tokens;
    int64_t q_width = (int64_t)m->n_heads * m->head_dim,
            kv_width = (int64_t)m->n_kv_heads * m->head_dim;
    char section[32];
    snprintf(section, sizeof section, "layer %d", (int)l);
    graph_section(r->g, section);

    Place h = activation(r, "h", m->d_model), q = activation(r, "q", q_width);
    Place k = activation(r, "k", kv_width), v = activation(r, "v", kv_width);
    TRY(record_norm(r, h, x, *add, &w->attn_norm, none, r->tokens, rows));
    TRY(record_linear(r, q, h, &w->q, r->tokens, rows));
    TRY(record_linear(r, k, h, &w->k, r->tokens, rows));
    TRY(record_linear(r, v, h, &w->v, r->tokens, rows));
    TRY(record_rope(r, l, q, k, v));
    Place a = activation(r, "a", q_width), o = activation(r, "o", m->d_model);
    TRY(record_attention(r, l, a, q));
    TRY(record_linear(r, o, a, &w->o, r->tokens, rows));

    Place f = activation(r, "f", m->d_model), gate = activation(r, "gate", m->d_ff),
          up = activation(r, "up", m->d_ff);
    TRY(record_norm(r, f, x, o, &w->ffn_norm, none, r->tokens, rows));
    TRY(record_linear(r, gate, f, &w->gate, r->tokens, rows));
    TRY(record_linear(r, up, f, &w->up, r->tokens, rows));
    TRY(record_silu_mul(r, gate, gate, up));
    *add = activation(r, "down", m->d_model);
    TRY(record_linear(r, *add, gate, &w->down, r->tokens, rows));
done:
    return st;
}

KilnStatus transformer_record(Model *model, Graph *g, const StepBuffers *step,
                              const StepShape *shape, Diag *diag)
{
    KilnStatus st = KILN_OK;
    Transformer *t = (Transformer *)model;
    TargetKind kind = t->dev->facts.target.kind;
    Recorder r = {.t = t,
                  .g = g,
                  .step = step,
                  .shape = shape,
                  .diag = diag,
                  .heap = model->heap,
                  .act = t->act};
    r.is_gpu = kind == TARGET_SM || kind == TARGET_EMU;
    r.tokens = at(DTYPE_I32, step->counts);
    r.seqs = at(DTYPE_I32, step->counts + 1);

    bool all = shape->all_logits;
    Place x = activation(&r, "x", t->config.d_model), add = none;
    graph_section(g, "embedding");
    TRY(record_embed(&r, x));
    for (int32_t l = 0; l < t->config.n_layers; l++)
        TRY(record_layer(&r, l, x, &add));

    graph_section(g, "output");
    int32_t rows = all ? shape->n_tokens : shape->n_seqs;
    Place last = activation(&r, "last", t->config.d_model), n_rows = all ? r.tokens : r.seqs;
    Place ends = all ? none : at(DTYPE_I32, step->q_start + 1);
    TRY(record_norm(&r, last, x, add, &t->output_norm, ends, n_rows, rows));
    TRY(record_linear(&r, at(DTYPE_F32, step->logits), last, &t->output, n_rows, rows));
    TRY(record_sample(&r));
done:
    return st;
}

size_t transformer_activation_bytes(const Model *m, const StepShape *shape)
{
    const Transformer *t = (const Transformer *)m;
    const ModelConfig *c = &t->config;
    int64_t q = (int64_t)c->n_heads * c->head_dim, kv = (int64_t)c->n_kv_heads * c->head_dim;
    // Alive at once: x, and of a layer either h q k v a o or f gate up down.
    int64_t attention = 2 * c->d_model + 2 * q + 2 * kv,
            feed = 2 * c->d_model + 2 * (int64_t)c->d_ff;
    int64_t width = c->d_model + MAX(attention, feed);
    size_t bytes = (size_t)width * (size_t)shape->n_tokens * (size_t)dtype_bytes(t->act);
    if (shape->phase == PHASE_DECODE)
        bytes += (size_t)shape->n_tokens * (size_t)(c->n_heads * (c->head_dim + 1)) * 32 * 4;
    return bytes + 4096;
}
