// models/record_attention.c - rotary embedding, the pages of keys and values, and attention over them.
#include <math.h>

#include "models/record.h"

/// What rope_append and attend share: where pages are, and how lists name them.
static void pass_lists(Recorder *r, Call *c)
{
    pass_place(c, "list_of", place_at(DTYPE_I32, r->step->list_of));
    pass_place(c, "list_len", place_at(DTYPE_I32, r->step->list_len));
    pass_place(c, "list_pages", place_at(DTYPE_I32, r->step->list_pages));
    pass_place(c, "list_spread", place_at(DTYPE_I32, r->step->list_spread));
}

static void pass_pages(Recorder *r, Call *c)
{
    const StepBuffers *s = r->step;
    bool scaled = s->scale_dtype != DTYPE_VOID;
    pass_place(c, "k_page", place_at(s->kv_dtype, s->kv_base));
    pass_place(c, "v_page", place_at(s->kv_dtype, s->kv_base + s->v_offset));
    pass_place(c, "k_scale",
               scaled ? place_at(s->scale_dtype, s->kv_base + s->k_scale_offset) : place_none);
    pass_place(c, "v_scale",
               scaled ? place_at(s->scale_dtype, s->kv_base + s->v_scale_offset) : place_none);
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

KilnStatus record_rope(Recorder *r, int32_t layer, Slice q, Slice k, Slice v)
{
    const ModelConfig *m = &r->t->config;
    int32_t group = m->n_heads / m->n_kv_heads;
    // A long step turns all heads of a token by one sine and cosine; a short one keeps every thread busy.
    bool is_long = !r->is_gpu && r->shape->n_tokens >= 4 * r->t->dev->facts.n_threads;
    int32_t heads = is_long ? m->n_kv_heads : 1;
    Call c = call_begin("rope.py", "rope_append");
    pass_place(&c, "q", q.at);
    pass_place(&c, "k", k.at);
    pass_place(&c, "v", v.at);
    pass_pages(r, &c);
    pass_place(&c, "steps", place_at(DTYPE_F32, r->t->steps));
    pass_place(&c, "pos", place_at(DTYPE_I32, r->step->pos));
    pass_place(&c, "seq_of", place_at(DTYPE_I32, r->step->seq_of));
    pass_place(&c, "q_start", place_at(DTYPE_I32, r->step->q_start));
    pass_place(&c, "slot_of", place_at(DTYPE_I32, r->step->slot_of));
    pass_lists(r, &c);
    pass_place(&c, "tokens", r->tokens);
    pass_int(&c, "per", (int64_t)m->n_layers * m->n_kv_heads);
    pass_int(&c, "layer0", (int64_t)layer * m->n_kv_heads);
    pass_int(&c, "max_pages", r->step->max_pages);
    pass_int(&c, "sq", q.stride);
    pass_int(&c, "sk", k.stride);
    pass_int(&c, "sv", v.stride);
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
    return call_launch(r, &c, grid_of(r->shape->n_tokens, m->n_kv_heads / heads, 1), 4);
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

/// Tokens of a page per step of attention: on a GPU no more than fit beside the copies in flight, on a CPU no more
/// than stay in the first cache beside those of the next step (2048 f16 tokens of 64 and 128 dims, AVX2: 32 at a
/// time 13.4 and 16.0 GB/s per thread, 64 at a time 10.9 and 14.3).
static int32_t keys_at_a_time(const Recorder *r)
{
    int32_t most = r->act == DTYPE_F32 || r->t->config.head_dim > 128 ? 32 : 64;
    return MIN(r->step->page_len, r->is_gpu ? most : 32);
}

/// The head's dimensions in tiles: all in one; or on a CPU in two where that leaves fewer lanes idle: 48 is 32 and 16.
static void pass_head(const Recorder *r, Call *c)
{
    int32_t dim = r->t->config.head_dim, whole = (int32_t)next_pow2(dim), half = whole / 2,
            rest = (int32_t)next_pow2(MAX(dim - half, 1));
    bool in_two = !r->is_gpu && half + rest < whole;
    pass_const(c, "BLOCK_D", in_two ? half : MAX(whole, r->is_gpu ? 16 : 1));
    pass_const(c, "KEYS", keys_at_a_time(r));
    if (in_two) pass_const(c, "BLOCK_R", rest);
}

static KilnStatus record_attend(Recorder *r, int32_t layer, Place out, Place lse, Slice q,
                                int32_t splits)
{
    const ModelConfig *m = &r->t->config;
    int32_t group = m->n_heads / m->n_kv_heads, rows = group;
    if (r->shape->phase == PHASE_PREFILL) rows = group * r->shape->n_tokens;
    int32_t block_m = (int32_t)MIN(next_pow2(rows), MAX(next_pow2(group), 64));
    if (r->is_gpu) block_m = MAX(block_m, 16);
    int32_t n_blocks = (int32_t)div_up(rows, block_m);
    Call c = call_begin("attention.py", "attend");
    // left alone, ptxas spills a few bytes of wide heads to fit one more block per multiprocessor
    c.maxnreg = r->is_gpu && r->t->config.head_dim >= 64 ? 255 : 0;
    pass_place(&c, "o", out);
    pass_place(&c, "lse", lse);
    pass_place(&c, "q", q.at);
    pass_pages(r, &c);
    pass_place(&c, "q_start", place_at(DTYPE_I32, r->step->q_start));
    pass_place(&c, "slot_of", place_at(DTYPE_I32, r->step->slot_of));
    pass_place(&c, "seqs", r->seqs);
    pass_lists(r, &c);
    pass_place(&c, "visit", place_none);
    pass_place(&c, "visit_n", place_none);
    pass_int(&c, "max_visit", 0);
    pass_int(&c, "n_blocks", n_blocks);
    pass_int(&c, "per", (int64_t)m->n_layers * m->n_kv_heads);
    pass_int(&c, "layer0", (int64_t)layer * m->n_kv_heads);
    pass_int(&c, "max_pages", r->step->max_pages);
    pass_int(&c, "sq", q.stride);
    pass_page_strides(r, &c);
    pass_float(&c, "scale", 1 / sqrt((double)m->head_dim));
    pass_const(&c, "G", group);
    pass_const(&c, "HEAD_DIM", m->head_dim);
    pass_key_layout(r, &c);
    pass_const(&c, "SPLITS", splits);
    pass_const(&c, "BLOCK_M", block_m);
    pass_head(r, &c);
    int32_t warps = r->is_gpu && block_m > 16 && m->head_dim > 128 ? 8 : 4;
    return call_launch(r, &c, grid_of((int64_t)n_blocks * splits, m->n_kv_heads, r->shape->n_seqs),
                       warps);
}

static KilnStatus record_merge(Recorder *r, Place out, Place part, Place lse, int32_t splits)
{
    const ModelConfig *m = &r->t->config;
    Call c = call_begin("attention.py", "attend_merge");
    pass_place(&c, "o", out);
    pass_place(&c, "lse", place_none);
    pass_place(&c, "part", part);
    pass_place(&c, "part_lse", lse);
    pass_place(&c, "tokens", r->tokens);
    pass_int(&c, "heads", m->n_heads);
    pass_const(&c, "HEAD_DIM", m->head_dim);
    pass_const(&c, "SPLITS", splits);
    pass_const(&c, "BLOCK_D", next_pow2(m->head_dim));
    return call_launch(r, &c, grid_of(r->shape->n_tokens, m->n_heads, 1), 4);
}

KilnStatus record_attention(Recorder *r, int32_t layer, Place out, Slice q)
{
    KilnStatus st = KILN_OK;
    const ModelConfig *m = &r->t->config;
    int32_t splits = splits_of(r);
    if (splits == 1) return record_attend(r, layer, out, place_none, q, 1);
    int64_t rows = (int64_t)r->shape->n_tokens * m->n_heads * splits;
    Place part = place_buffer(r, "part", DTYPE_F32, rows * m->head_dim),
          lse = place_buffer(r, "part_lse", DTYPE_F32, rows);
    TRY(record_attend(r, layer, part, lse, q, splits));
    TRY(record_merge(r, out, part, lse, splits));
done:
    return st;
}
