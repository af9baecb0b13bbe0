// bench/gpu_suite/attention.c - attention over pages: prompts (arithmetic) and decoding (memory).
//
//   attention   N tokens of a prompt per sequence, causal; N x batch = 16384, heads x D = 2048
//   paged       one token per sequence against a context of C tokens: 32 query heads, 8 key heads, D 128;
//               pages lie in random order
//
// A prompt's flops are those of the visible half: 4 D per pair of query and key.
#include <math.h>
#include <stdlib.h>

#include "base/random.h"
#include "bench/gpu_suite/suite.h"

typedef struct Shape {
    int32_t batch, tokens,
        context; ///< tokens: of each sequence's step; context: keys of each, these included
    int32_t heads, kv_heads, dim, page;
    int32_t splits, block_m, warps;
} Shape;

static const Shape prompts[] = {
    {4, 4096, 4096, 32, 32, 64, 32, 1, 64, 4},  {1, 16384, 16384, 32, 32, 64, 32, 1, 64, 4},
    {4, 4096, 4096, 16, 16, 128, 32, 1, 64, 4}, {1, 16384, 16384, 16, 16, 128, 32, 1, 64, 4},
    {4, 4096, 4096, 32, 8, 128, 32, 1, 64, 4},
};
static const Shape decodes[] = {
    {1, 1, 2048, 32, 8, 128, 32, 32, 16, 4},  {8, 1, 2048, 32, 8, 128, 32, 4, 16, 4},
    {32, 1, 2048, 32, 8, 128, 32, 1, 16, 4},  {64, 1, 2048, 32, 8, 128, 32, 1, 16, 4},
    {1, 1, 32768, 32, 8, 128, 32, 32, 16, 4}, {8, 1, 32768, 32, 8, 128, 32, 4, 16, 4},
    {32, 1, 32768, 32, 8, 128, 32, 1, 16, 4}, {1, 1, 131072, 32, 8, 128, 32, 32, 16, 4},
    {8, 1, 131072, 32, 8, 128, 32, 8, 16, 4},
};
static const Shape quick_prompt = {1, 40, 40, 4, 2, 64, 32, 1, 64, 4};
static const Shape quick_decode = {2, 1, 70, 4, 2, 64, 32, 2, 16, 4};

/// Everything a step's tables say, on the device.
typedef struct Tables {
    void *q_start, *slot_of, *seqs, *list_of, *list_len, *list_pages, *list_spread, *tokens;
    int64_t max_pages;
} Tables;

static KilnStatus random_pages(Suite *s, const Shape *p, int64_t max_pages, void **out)
{
    int64_t n = max_pages * p->batch;
    int32_t *pages = calloc((size_t)n * (size_t)p->kv_heads, 4);
    if (!pages) return fail(&s->diag, KILN_ERR_NOMEM, "K102", "no memory for page tables");
    int32_t *order = calloc((size_t)n, 4);
    Random r = {11};
    for (int64_t i = 0; order && i < n; i++)
        order[i] = (int32_t)i;
    for (int64_t i = n - 1; order && i > 0; i--) {
        int64_t j = random_below(&r, i + 1);
        int32_t t = order[i];
        order[i] = order[j], order[j] = t;
    }
    // lists of one sequence share its table and are told apart by list_spread: page + head
    for (int64_t b = 0; order && b < p->batch; b++)
        for (int64_t i = 0; i < max_pages; i++)
            for (int32_t h = 0; h < p->kv_heads; h++)
                pages[(b * p->kv_heads + h) * max_pages + i] =
                    order[b * max_pages + i] * p->kv_heads;
    KilnStatus st = suite_ints(s, n * p->kv_heads, pages, out);
    free(order), free(pages);
    return st;
}

static KilnStatus make_tables(Suite *s, const Shape *p, Tables *t)
{
    KilnStatus st = KILN_OK;
    int32_t lists[64 * 32], spread[64 * 32];
    int32_t n = p->batch * p->kv_heads;
    t->max_pages = div_up(p->context, p->page);
    ASSERT(n <= COUNT_OF(lists));
    for (int32_t i = 0; i < n; i++)
        lists[i] = i / p->kv_heads * p->kv_heads, spread[i] = i % p->kv_heads == 0;
    TRY(suite_iota(s, p->batch + 1, 0, p->tokens, &t->q_start));
    TRY(suite_iota(s, p->batch, 0, 1, &t->slot_of));
    TRY(suite_one(s, p->batch, &t->seqs));
    TRY(suite_ints(s, n, lists, &t->list_of));
    TRY(suite_iota(s, n, p->context, 0, &t->list_len));
    TRY(random_pages(s, p, t->max_pages, &t->list_pages));
    TRY(suite_ints(s, n, spread, &t->list_spread));
    TRY(suite_one(s, p->batch * p->tokens, &t->tokens));
done:
    return st;
}

typedef struct Arrays {
    void *o, *lse, *q, *kv, *out;
} Arrays;

static double kv_elements(const Shape *p)
{
    return 2.0 * p->batch * p->kv_heads * (double)p->page * (double)div_up(p->context, p->page) *
           p->dim;
}

static KilnStatus make_arrays(Suite *s, const Shape *p, Arrays *a)
{
    KilnStatus st = KILN_OK;
    int64_t rows = (int64_t)p->batch * p->tokens * p->heads;
    bool is_split = p->splits > 1;
    a->lse = NULL;
    TRY(suite_numbers(s, is_split ? DTYPE_F32 : DTYPE_BF16, rows * p->splits * p->dim, 1, &a->o));
    if (is_split) TRY(suite_numbers(s, DTYPE_F32, rows * p->splits, 1, &a->lse));
    TRY(suite_numbers(s, DTYPE_BF16, rows * p->dim, sqrt(2.0), &a->q));
    TRY(suite_numbers(s, DTYPE_BF16, (int64_t)kv_elements(p), sqrt(2.0), &a->kv));
    TRY(suite_numbers(s, DTYPE_BF16, rows * p->dim, 1, &a->out));
done:
    return st;
}

static Call call_attend(const Shape *p, const Tables *t, const Arrays *a)
{
    int32_t group = p->heads / p->kv_heads;
    int32_t n_blocks = (int32_t)div_up((int64_t)p->tokens * group, p->block_m);
    int64_t page_elements = 2 * (int64_t)p->page * p->dim;
    Call c = call_of("attention.py", "attend",
                     grid_of((int64_t)n_blocks * p->splits, p->kv_heads, p->batch));
    call_ptr(&c, "o", p->splits > 1 ? DTYPE_F32 : DTYPE_BF16, a->o);
    call_ptr(&c, "lse", DTYPE_F32, a->lse);
    call_ptr(&c, "q", DTYPE_BF16, a->q);
    call_ptr(&c, "k_page", DTYPE_BF16, a->kv);
    call_ptr(&c, "v_page", DTYPE_BF16, (char *)a->kv + (size_t)p->page * (size_t)p->dim * 2);
    call_ptr(&c, "k_scale", DTYPE_F32, NULL), call_ptr(&c, "v_scale", DTYPE_F32, NULL);
    call_ptr(&c, "q_start", DTYPE_I32, t->q_start);
    call_ptr(&c, "slot_of", DTYPE_I32, t->slot_of);
    call_ptr(&c, "seqs", DTYPE_I32, t->seqs);
    call_ptr(&c, "list_of", DTYPE_I32, t->list_of);
    call_ptr(&c, "list_len", DTYPE_I32, t->list_len);
    call_ptr(&c, "list_pages", DTYPE_I32, t->list_pages);
    call_ptr(&c, "list_spread", DTYPE_I32, t->list_spread);
    call_ptr(&c, "visit", DTYPE_I32, NULL), call_ptr(&c, "visit_n", DTYPE_I32, NULL);
    call_int(&c, "max_visit", 0), call_int(&c, "n_blocks", n_blocks);
    call_int(&c, "per", p->kv_heads), call_int(&c, "layer0", 0);
    call_int(&c, "max_pages", t->max_pages);
    call_int(&c, "sq", (int64_t)p->heads * p->dim);
    call_int(&c, "page_k", page_elements), call_int(&c, "page_v", page_elements);
    call_int(&c, "page_s", 0);
    call_float(&c, "scale", 1 / sqrt((double)p->dim));
    call_const(&c, "G", group), call_const(&c, "HEAD_DIM", p->dim);
    call_const(&c, "PAGE", p->page), call_bool(&c, "DIM_MAJOR", false);
    call_const(&c, "SPLITS", p->splits), call_const(&c, "BLOCK_M", p->block_m);
    call_const(&c, "BLOCK_D", p->dim);
    c.warps = p->warps;
    return c;
}

static Call call_merge(const Shape *p, const Tables *t, const Arrays *a)
{
    Call c = call_of("attention.py", "attend_merge",
                     grid_of((int64_t)p->batch * p->tokens, p->heads, 1));
    call_ptr(&c, "o", DTYPE_BF16, a->out);
    call_ptr(&c, "lse", DTYPE_F32, NULL);
    call_ptr(&c, "part", DTYPE_F32, a->o);
    call_ptr(&c, "part_lse", DTYPE_F32, a->lse);
    call_ptr(&c, "tokens", DTYPE_I32, t->tokens);
    call_int(&c, "heads", p->heads);
    call_const(&c, "HEAD_DIM", p->dim), call_const(&c, "SPLITS", p->splits);
    call_const(&c, "BLOCK_D", p->dim);
    return c;
}

/// One graph: attend, and the merge of its splits, for each of the buffer sets.
static KilnStatus record_sets(Suite *s, const Shape *p, const Tables *t, int32_t n_sets, Graph *g,
                              Kernel **attend)
{
    KilnStatus st = KILN_OK;
    Call c = {0}, m = {0};
    for (int32_t i = 0; i < n_sets; i++) {
        Arrays a;
        Kernel *k;
        TRY(make_arrays(s, p, &a));
        c = call_attend(p, t, &a);
        TRY(call_kernel(s, &c, attend));
        TRY(graph_launch(g, *attend, c.grid, c.n_args, c.args, &s->diag));
        call_free(&c);
        if (p->splits == 1) continue;
        m = call_merge(p, t, &a);
        TRY(call_kernel(s, &m, &k));
        TRY(graph_launch(g, k, m.grid, m.n_args, m.args, &s->diag));
        call_free(&m);
    }
done:
    call_free(&c), call_free(&m);
    return st;
}

static KilnStatus measure(Suite *s, const char *stage, const Shape *p)
{
    KilnStatus st = KILN_OK;
    int32_t mark = suite_mark(s);
    Tables t;
    Graph *g = NULL;
    Times times;
    Kernel *attend = NULL;
    char shape[160], config[96];
    double q_bytes = 4.0 * p->batch * p->tokens * (double)p->heads * p->dim;
    double bytes = q_bytes + 2 * kv_elements(p),
           pairs = p->tokens == 1 ? p->context : (double)p->tokens * (p->tokens + 1) / 2;
    int32_t n_sets = MIN(suite_sets(s, bytes), 8);
    TRY(make_tables(s, p, &t));
    TRY(graph_new(s->dev, stage, &g, &s->diag));
    TRY(record_sets(s, p, &t, n_sets, g, &attend));
    TRY(graph_finish(g, &s->diag));
    TRY(suite_time_graph(s, g, &times));
    times.med /= n_sets, times.p10 /= n_sets, times.p90 /= n_sets, times.min /= n_sets;
    times.is_graph = s->dev->ops->capture != NULL;
    snprintf(
        shape, sizeof shape,
        "{\"B\":%d,\"Nq\":%d,\"Nk\":%d,\"Hq\":%d,\"Hkv\":%d,\"D\":%d,\"P\":%d,\"causal\":true}",
        p->batch, p->tokens, p->context, p->heads, p->kv_heads, p->dim, p->page);
    snprintf(config, sizeof config, "{\"BM\":%d,\"splits\":%d}", p->block_m, p->splits);
    Record r = {.stage = stage,
                .kernel = p->tokens == 1 ? "attend paged" : "attend prompt",
                .impl = "kiln",
                .dtype = "bf16",
                .shape = shape,
                .config = config,
                .k = attend,
                .bytes = bytes,
                .flops = 4.0 * p->dim * p->heads * p->batch * pairs,
                .sets = n_sets};
    suite_record(s, &r, &times);
done:
    graph_free(g);
    suite_release(s, mark);
    return st;
}

static KilnStatus run_shapes(Suite *s, const char *stage, int32_t n, const Shape *list)
{
    for (int32_t i = 0; i < n && !suite_is_late(s) && !s->dev->is_lost; i++)
        if (measure(s, stage, &list[i]) != KILN_OK) suite_miss(s, stage, "a shape");
    return KILN_OK;
}

KilnStatus stage_attention(Suite *s)
{
    return s->quick ? run_shapes(s, "attention", 1, &quick_prompt)
                    : run_shapes(s, "attention", COUNT_OF(prompts), prompts);
}

KilnStatus stage_paged(Suite *s)
{
    return s->quick ? run_shapes(s, "paged", 1, &quick_decode)
                    : run_shapes(s, "paged", COUNT_OF(decodes), decodes);
}
