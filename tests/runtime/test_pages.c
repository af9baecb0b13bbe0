// tests/runtime/test_pages.c - random traffic on lists, against flat arrays; invariants after every step.
#include <criterion/criterion.h>

#include "base/random.h"
#include "runtime/kv/pages.h"

enum { L = 2, H = 2, D = 8, LISTS = 10, CONTEXT = 200 };

typedef struct Flat {
    bool is_live, is_private;
    int32_t len;
    int32_t token[CONTEXT]; ///< what was written at each place
} Flat;

typedef struct World {
    Device *dev;
    KvPool *pool;
    StepBuffers step;
    Flat flat[LISTS];
    Random random;
    int32_t next_token, n_refused, n_forks;
} World;

static Device *open_cpu(void)
{
    Device *dev;
    cr_assert_eq(device_open(&(DeviceOptions){.name = "cpu", .n_threads = 1}, &dev, NULL), KILN_OK);
    return dev;
}

/// The address of key element 0 of place `at`, found as a kernel does: through the device's tables only.
static float *key_at(const World *w, int32_t list, int32_t at, int32_t layer, int32_t head)
{
    const StepBuffers *s = &w->step;
    int64_t lh = w->flat[list].is_private ? 0 : (int64_t)layer * H + head;
    int64_t page = s->list_pages[(int64_t)list * s->max_pages + at / s->page_len] +
                   (int64_t)s->list_spread[list] * lh;
    return (float *)(void *)(s->kv_base + page * s->page_bytes) + at % s->page_len * D;
}

static float value_of(int32_t token, int32_t layer, int32_t head, bool is_private)
{
    return (float)token + (is_private ? 0.0f : 0.25f * (float)(layer * H + head));
}

static void write_tokens(World *w, int32_t list, int32_t from)
{
    Flat *f = &w->flat[list];
    kv_flush(w->pool);
    for (int32_t i = from; i < f->len; i++) {
        f->token[i] = w->next_token++;
        for (int32_t lh = 0; lh < L * H; lh++)
            *key_at(w, list, i, lh / H, lh % H) =
                value_of(f->token[i], lh / H, lh % H, f->is_private);
    }
}

static void check_list(const World *w, int32_t list, int32_t step)
{
    const Flat *f = &w->flat[list];
    cr_assert_eq(kv_list_len(w->pool, list), f->len, "step %d list %d", step, list);
    cr_assert_eq(w->step.list_len[list], f->len,
                 "step %d: the device sees another length of list %d", step, list);
    for (int32_t i = 0; i < f->len; i++)
        for (int32_t lh = 0; lh < L * H; lh++) {
            float got = *key_at(w, list, i, lh / H, lh % H),
                  want = value_of(f->token[i], lh / H, lh % H, f->is_private);
            cr_assert_eq(got, want, "step %d list %d place %d layer %d head %d: %g, expected %g",
                         step, list, i, lh / H, lh % H, (double)got, (double)want);
        }
}

static void extend(World *w, int32_t list, int32_t n)
{
    Flat *f = &w->flat[list];
    int32_t before = f->len, free_before = kv_free_entries(w->pool);
    int64_t used_before = kv_used_pages(w->pool);
    if (kv_list_extend(w->pool, list, n) != KILN_OK) {
        w->n_refused++;
        cr_assert_eq(kv_list_len(w->pool, list), before);
        cr_assert_eq(kv_free_entries(w->pool), free_before, "a refused extension took pages");
        cr_assert_eq(kv_used_pages(w->pool), used_before);
        return;
    }
    f->len += n;
    write_tokens(w, list, before);
}

static void new_list(World *w, bool is_private)
{
    int32_t list = kv_list_new(w->pool, is_private);
    if (list >= 0) w->flat[list] = (Flat){.is_live = true, .is_private = is_private};
}

static void fork_list(World *w, int32_t src)
{
    const Flat *f = &w->flat[src];
    int32_t dst = kv_list_new(w->pool, f->is_private);
    if (dst < 0) return;
    w->flat[dst] = *f;
    w->flat[dst].len = (int32_t)random_below(&w->random, f->len + 1);
    kv_list_fork(w->pool, dst, src, w->flat[dst].len);
    w->n_forks++;
}

static void traffic(World *w, int32_t step)
{
    int32_t list = (int32_t)random_below(&w->random, LISTS),
            what = (int32_t)random_below(&w->random, 10);
    Flat *f = &w->flat[list];
    if (!f->is_live) {
        new_list(w, random_below(&w->random, 2));
    } else if (what < 6) {
        extend(w, list, (int32_t)random_below(&w->random, what < 2 ? 60 : 6));
    } else if (what == 6) {
        f->len = (int32_t)random_below(&w->random, f->len + 1);
        kv_list_truncate(w->pool, list, f->len);
    } else if (what == 7) {
        kv_list_free(w->pool, list);
        f->is_live = false;
    } else if (what == 8) {
        fork_list(w, list);
    }
    kv_flush(w->pool);
    for (int32_t i = 0; i < LISTS; i++)
        if (w->flat[i].is_live) check_list(w, i, step);
    cr_assert(kv_check(w->pool), "step %d: counts or chains are wrong", step);
}

Test(pages, answer_random_traffic_as_flat_arrays_do)
{
    for (int32_t page_len = 1; page_len <= 16; page_len *= 4) {
        World w = {.dev = open_cpu(), .random = {(uint64_t)page_len}};
        KvShape shape = {.n_layers = L,
                         .n_kv_heads = H,
                         .head_dim = D,
                         .page_len = page_len,
                         .max_context = CONTEXT,
                         .n_slots = 2,
                         .max_lists = LISTS,
                         .format = KV_f32};
        size_t budget = 3 * kv_bytes_for(&shape, CONTEXT);
        cr_assert_eq(kv_pool_open(w.dev, &shape, budget, &w.pool, NULL), KILN_OK);
        kv_buffers(w.pool, &w.step);
        for (int32_t step = 0; step < 1500; step++)
            traffic(&w, step);
        cr_expect_gt(w.n_refused, 10, "the pool never ran out");
        cr_expect_gt(w.n_forks, 10);
        for (int32_t i = 0; i < LISTS; i++)
            if (w.flat[i].is_live) kv_list_free(w.pool, i);
        cr_expect_eq(kv_free_entries(w.pool), kv_total_entries(w.pool), "a page was lost");
        cr_expect_eq(kv_used_pages(w.pool), 0);
        kv_pool_close(w.pool);
        cr_expect_eq(w.dev->counters.bytes_live, 0);
        device_close(w.dev);
    }
}

Test(pages, copy_a_shared_page_before_it_is_written)
{
    Device *dev = open_cpu();
    KvShape shape = {.n_layers = L,
                     .n_kv_heads = H,
                     .head_dim = D,
                     .page_len = 4,
                     .max_context = 64,
                     .max_lists = 2};
    KvPool *p;
    cr_assert_eq(kv_pool_open(dev, &shape, 2 * kv_bytes_for(&shape, 64), &p, NULL), KILN_OK);
    int32_t a = kv_list_new(p, false), b = kv_list_new(p, false), n;
    cr_assert_eq(kv_list_extend(p, a, 10), KILN_OK);
    kv_list_fork(p, b, a, 10);
    int32_t last = kv_list_entries(p, a, &n)[2];
    cr_expect_eq(kv_entry_refs(p, last), 2);
    cr_expect_eq(kv_used_pages(p), 3 * L * H, "sharing takes no pages");
    cr_assert_eq(kv_list_extend(p, b, 1), KILN_OK);
    cr_expect_neq(kv_list_entries(p, b, &n)[2], last);
    cr_expect_eq(kv_list_entries(p, b, &n)[1], kv_list_entries(p, a, &n)[1],
                 "full pages stay shared");
    cr_expect_eq(kv_entry_refs(p, last), 1);
    cr_expect_eq(kv_list_new(p, false), -1, "max_lists is 2");
    kv_pool_close(p);
    device_close(dev);
}

Test(pages, of_one_head_lie_side_by_side)
{
    Device *dev = open_cpu();
    KvShape shape = {.n_layers = 2,
                     .n_kv_heads = 2,
                     .head_dim = 64,
                     .page_len = 32,
                     .max_context = 4096,
                     .n_slots = 4,
                     .format = KV_bf16};
    KvPool *p;
    cr_assert_eq(kv_page_bytes(&shape), 8192);
    cr_assert_eq(kv_pool_open(dev, &shape, 4 * kv_bytes_for(&shape, 4096), &p, NULL), KILN_OK);
    int32_t list[4], n, jumps = 0;
    for (int32_t i = 0; i < 4; i++)
        list[i] = kv_list_new(p, i % 2);
    for (int32_t t = 0; t < 2048; t++) // four sequences decode side by side
        for (int32_t i = 0; i < 4; i++)
            cr_assert_eq(kv_list_extend(p, list[i], 1), KILN_OK);
    for (int32_t i = 0; i < 4; i++) {
        const int32_t *e = kv_list_entries(p, list[i], &n);
        cr_assert_eq(n, 64);
        for (int32_t k = 1; k < n; k++)
            jumps += e[k] != e[k - 1] + 1 && k % 8;
    }
    cr_expect_eq(jumps, 0, "64 KB are eight pages of one head, and no list left its extent early");
    kv_pool_close(p);
    device_close(dev);
}

Test(pages, have_room_for_scales_when_they_hold_int8)
{
    KvShape shape = {.n_layers = 1,
                     .n_kv_heads = 1,
                     .head_dim = 64,
                     .page_len = 32,
                     .max_context = 64,
                     .format = KV_int8};
    cr_expect_eq(kv_page_bytes(&shape), 2 * 32 * 64 + 2 * 32 * 4);
    Device *dev = open_cpu();
    KvPool *p;
    StepBuffers s;
    cr_assert_eq(kv_pool_open(dev, &shape, 1 << 20, &p, NULL), KILN_OK);
    kv_buffers(p, &s);
    cr_expect_eq(s.v_offset, 2048);
    cr_expect_eq(s.k_scale_offset, 4096);
    cr_expect_eq(s.v_scale_offset, 4096 + 128);
    cr_expect_eq(s.scale_dtype, DTYPE_F32);
    kv_pool_close(p);
    device_close(dev);
}

Test(pages, refuse_shapes_that_make_no_sense)
{
    Device *dev = open_cpu();
    const KvShape good = {
        .n_layers = 1, .n_kv_heads = 1, .head_dim = 8, .page_len = 4, .max_context = 64};
    KvShape bad[] = {good, good, good, good, good};
    bad[0].n_layers = 0;
    bad[1].page_len = 3;
    bad[2].page_len = 256;
    bad[3].head_dim = -8;
    bad[4].max_context = 0;
    KvPool *p;
    for (int32_t i = 0; i < COUNT_OF(bad); i++)
        cr_expect_eq(kv_pool_open(dev, &bad[i], 1 << 20, &p, NULL), KILN_ERR_INPUT, "shape %d", i);
    cr_expect_eq(kv_pool_open(dev, &good, 63, &p, NULL), KILN_ERR_LIMIT);
    for (int64_t at = 1; at < 40; at++) { // each allocation of an opening fails in turn
        Heap h, *kept = dev->heap;
        heap_init(&h);
        h.fail_at = at;
        dev->heap = &h;
        KilnStatus st = kv_pool_open(dev, &good, 1 << 20, &p, NULL);
        cr_expect(st == KILN_OK || !p);
        kv_pool_close(p);
        for (int32_t i = dev->n_ranges; i > 0; i--)
            device_free(dev, dev->ranges[i - 1].range.begin);
        heap_free(&h, dev->ranges);
        dev->ranges = NULL;
        dev->cap_ranges = 0;
        dev->heap = kept;
        cr_expect_eq(h.n_live, 0, "allocation %d", (int)at);
        if (st == KILN_OK) break;
    }
    KvFormat f;
    cr_expect_eq(kv_format_parse("q8_0", &f, NULL), KILN_OK);
    cr_expect_eq(f, KV_int8);
    cr_expect_eq(kv_format_parse("fp7", &f, NULL), KILN_ERR_INPUT);
    cr_expect_eq(kv_format_parse("", &f, NULL), KILN_ERR_INPUT);
    device_close(dev);
}
