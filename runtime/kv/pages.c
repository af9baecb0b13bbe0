#include "runtime/kv/pages.h"

#include <stdio.h>

const KvFormatFacts kv_format_facts[KV_FORMAT_COUNT] = {
#define KV_FORMAT(name, alias, elem, scale) {#name, alias, elem, scale},
#include "runtime/kv/format.def"
#undef KV_FORMAT
};

// Entries live in runs of E (the extent); run r holds entries r * E .. r * E + E - 1.
//   a block is G = L * Hkv runs' worth of physical pages: run numbers b * G .. b * G + G - 1
//   shared block    only run b * G exists; its entries are E groups of G pages
//   private block   all G runs exist; an entry is a page
// A free block belongs to neither. Runs with a free entry are linked: `whole` (all free; private only, since
// a whole shared run is a free block) and `partial`, per kind.
typedef struct Run {
    uint64_t free;      ///< bit j: entry j is free
    int32_t next, prev; ///< in one of the chains; -1 ends
    int32_t chain;      ///< which, or -1
} Run;

enum { CHAIN_SHARED_PARTIAL, CHAIN_PRIVATE_PARTIAL, CHAIN_PRIVATE_WHOLE, CHAIN_COUNT };
typedef enum BlockKind { BLOCK_FREE, BLOCK_SHARED, BLOCK_PRIVATE } BlockKind;

typedef struct Block {
    BlockKind kind;
    int32_t n_used; ///< entries
} Block;

typedef struct List {
    bool is_live, is_private, is_dirty;
    int32_t len, n_entries;
    int32_t dirty_from; ///< first entry that the device has not seen
} List;

struct KvPool {
    Device *dev;
    KvShape shape;
    int64_t page_bytes;
    int32_t G, E; ///< pages per entry of a shared list; entries per run
    int32_t n_blocks, max_pages;
    uint8_t *pages;                      ///< device: [n_blocks * E * G] of page_bytes
    Run *runs;                           ///< [n_blocks * G]
    Block *blocks;                       ///< [n_blocks]
    int32_t *free_blocks, n_free_blocks; ///< a stack
    int32_t chain[CHAIN_COUNT];
    int32_t *refs;                         ///< [n_blocks * G * E] lists that name an entry
    int64_t n_shared_free, n_private_free; ///< free entries in blocks of that kind
    int64_t n_used_pages;
    List *lists;      ///< [max_lists]
    int32_t *entries; ///< [max_lists][max_pages] host copies of the tables ...
    int32_t *lens, *spreads, *list_of;
    int32_t *dev_entries, *dev_lens, *dev_spreads, *dev_list_of; ///< ... and the device's
    bool lens_dirty, list_of_dirty;
    bool tables_are_given; ///< kv_use_tables
};

// ---- geometry ---------------------------------------------------------------------------------

KilnStatus kv_format_parse(const char *name, KvFormat *out, Diag *diag)
{
    StrBuf known = {0};
    for (int32_t i = 0; i < KV_FORMAT_COUNT; i++) {
        const KvFormatFacts *f = &kv_format_facts[i];
        if (!strcmp(name, f->name) || (f->alias[0] && !strcmp(name, f->alias))) {
            *out = (KvFormat)i;
            strbuf_free(&known);
            return KILN_OK;
        }
        strbuf_printf(&known, "%s%s%s%s", i ? ", " : "", f->name, f->alias[0] ? " or " : "",
                      f->alias);
    }
    KilnStatus st = fail(diag, KILN_ERR_INPUT, "K404", "cache type %s: there are %s", name,
                         known.failed ? "" : known.data);
    strbuf_free(&known);
    return st;
}

static int64_t part_bytes(const KvShape *s)
{
    return (int64_t)s->page_len * s->head_dim * dtype_bytes(kv_format_facts[s->format].dtype);
}

/// K, V, then the scales of K and of V; a multiple of 64 so that every page is aligned as its parts are.
int64_t kv_page_bytes(const KvShape *s)
{
    DType scale = kv_format_facts[s->format].scale;
    int64_t scales = scale == DTYPE_VOID ? 0 : 2 * (int64_t)s->page_len * dtype_bytes(scale);
    return round_up(2 * part_bytes(s) + scales, 64);
}

static KvShape with_defaults(const KvShape *shape)
{
    KvShape s = *shape;
    if (!s.page_len) s.page_len = 32;
    if (!s.n_slots) s.n_slots = 1;
    if (!s.max_lists) s.max_lists = s.n_slots;
    return s;
}

/// Entries per run: pages of one (layer, head) side by side for 64 KB, but no longer than a sequence.
static int32_t extent_of(const KvShape *s)
{
    int64_t e = next_pow2(div_up(65536, kv_page_bytes(s)));
    int64_t longest = next_pow2(div_up(MAX(s->max_context, 1), s->page_len));
    return (int32_t)MAX(MIN(MIN(e, longest), 64), 1);
}

size_t kv_bytes_for(const KvShape *shape, int64_t tokens)
{
    KvShape s = with_defaults(shape);
    int64_t entries = round_up(div_up(tokens, s.page_len), extent_of(&s));
    return (size_t)(entries * s.n_layers * s.n_kv_heads * kv_page_bytes(&s));
}

static KilnStatus check_shape(const KvShape *s, Diag *diag)
{
    const struct {
        const char *name;
        int64_t value, low, high;
    } rules[] = {
        {"n_layers", s->n_layers, 1, 4096},          {"n_kv_heads", s->n_kv_heads, 1, 4096},
        {"head_dim", s->head_dim, 1, 1024},          {"page_len", s->page_len, 1, 128},
        {"max_context", s->max_context, 1, 1 << 28}, {"n_slots", s->n_slots, 1, 1 << 16},
        {"max_lists", s->max_lists, 1, 1 << 24},     {"format", s->format, 0, KV_FORMAT_COUNT - 1},
    };
    for (int32_t i = 0; i < COUNT_OF(rules); i++)
        if (rules[i].value < rules[i].low || rules[i].value > rules[i].high)
            return fail(diag, KILN_ERR_INPUT, "K405",
                        "key-value cache: %s is %lld (expected %lld to %lld)", rules[i].name,
                        (long long)rules[i].value, (long long)rules[i].low,
                        (long long)rules[i].high);
    if (!is_pow2(s->page_len))
        return fail(diag, KILN_ERR_INPUT, "K405",
                    "key-value cache: page_len is %d (expected a power of two)", s->page_len);
    return KILN_OK;
}

// ---- chains of runs ---------------------------------------------------------------------------

static void unlink_run(KvPool *p, int32_t r)
{
    Run *run = &p->runs[r];
    if (run->chain < 0) return;
    if (run->prev >= 0)
        p->runs[run->prev].next = run->next;
    else
        p->chain[run->chain] = run->next;
    if (run->next >= 0) p->runs[run->next].prev = run->prev;
    run->chain = -1;
}

static void link_run(KvPool *p, int32_t r, int32_t chain)
{
    Run *run = &p->runs[r];
    unlink_run(p, r);
    run->chain = chain;
    run->prev = -1;
    run->next = p->chain[chain];
    if (run->next >= 0) p->runs[run->next].prev = r;
    p->chain[chain] = r;
}

static uint64_t all_free(const KvPool *p)
{
    return p->E == 64 ? ~(uint64_t)0 : ((uint64_t)1 << p->E) - 1;
}

static int32_t run_of(const KvPool *p, int32_t e)
{
    return e / p->E;
}

static Block *block_of(KvPool *p, int32_t e)
{
    return &p->blocks[e / p->E / p->G];
}

/// Turns a free block into one of `kind`. @return false: there is none
static bool take_block(KvPool *p, BlockKind kind)
{
    if (!p->n_free_blocks) return false;
    int32_t b = p->free_blocks[--p->n_free_blocks];
    p->blocks[b] = (Block){.kind = kind};
    int32_t n_runs = kind == BLOCK_SHARED ? 1 : p->G;
    for (int32_t r = b * p->G + n_runs - 1; r >= b * p->G; r--) {
        p->runs[r].free = all_free(p);
        link_run(p, r, kind == BLOCK_SHARED ? CHAIN_SHARED_PARTIAL : CHAIN_PRIVATE_WHOLE);
    }
    *(kind == BLOCK_SHARED ? &p->n_shared_free : &p->n_private_free) += (int64_t)n_runs * p->E;
    return true;
}

static void give_block(KvPool *p, int32_t b)
{
    bool is_shared = p->blocks[b].kind == BLOCK_SHARED;
    int32_t n_runs = is_shared ? 1 : p->G;
    for (int32_t r = b * p->G; r < b * p->G + n_runs; r++) {
        unlink_run(p, r);
        p->runs[r].free = 0;
    }
    *(is_shared ? &p->n_shared_free : &p->n_private_free) -= (int64_t)n_runs * p->E;
    p->blocks[b].kind = BLOCK_FREE;
    p->free_blocks[p->n_free_blocks++] = b;
}

// ---- entries ----------------------------------------------------------------------------------

static int64_t available(const KvPool *p, bool is_private)
{
    return is_private ? p->n_private_free + (int64_t)p->n_free_blocks * p->E * p->G
                      : p->n_shared_free + (int64_t)p->n_free_blocks * p->E;
}

static void mark_used(KvPool *p, int32_t e, bool is_private)
{
    Run *run = &p->runs[run_of(p, e)];
    run->free &= ~((uint64_t)1 << e % p->E);
    if (!run->free)
        unlink_run(p, run_of(p, e));
    else
        link_run(p, run_of(p, e), is_private ? CHAIN_PRIVATE_PARTIAL : CHAIN_SHARED_PARTIAL);
    block_of(p, e)->n_used++;
    p->refs[e] = 1;
    p->n_used_pages += is_private ? 1 : p->G;
    *(is_private ? &p->n_private_free : &p->n_shared_free) -= 1;
}

/// A free entry: the one after `before` in its run, else the first of a whole run, else any.
/// The caller has seen that one is available.
static int32_t entry_take(KvPool *p, bool is_private, int32_t before)
{
    int32_t e = -1;
    if (before >= 0 && (before + 1) % p->E &&
        p->runs[run_of(p, before)].free >> (before + 1) % p->E & 1)
        e = before + 1;
    if (e < 0 && is_private) {
        if (p->chain[CHAIN_PRIVATE_WHOLE] >= 0 || take_block(p, BLOCK_PRIVATE))
            e = p->chain[CHAIN_PRIVATE_WHOLE] * p->E;
    } else if (e < 0 && take_block(p, BLOCK_SHARED)) {
        e = p->chain[CHAIN_SHARED_PARTIAL] * p->E; // the block just taken is first in the chain
    }
    if (e < 0) {
        int32_t r = p->chain[is_private ? CHAIN_PRIVATE_PARTIAL : CHAIN_SHARED_PARTIAL];
        ASSERT(r >= 0);
        e = r * p->E + __builtin_ctzll(p->runs[r].free);
    }
    mark_used(p, e, is_private);
    return e;
}

static void entry_drop(KvPool *p, int32_t e)
{
    ASSERT(p->refs[e] > 0);
    if (--p->refs[e]) return;
    int32_t r = run_of(p, e), b = r / p->G;
    bool is_private = p->blocks[b].kind == BLOCK_PRIVATE;
    p->runs[r].free |= (uint64_t)1 << e % p->E;
    p->n_used_pages -= is_private ? 1 : p->G;
    *(is_private ? &p->n_private_free : &p->n_shared_free) += 1;
    bool is_whole = p->runs[r].free == all_free(p);
    link_run(p, r,
             !is_private ? CHAIN_SHARED_PARTIAL
             : is_whole  ? CHAIN_PRIVATE_WHOLE
                         : CHAIN_PRIVATE_PARTIAL);
    if (--p->blocks[b].n_used == 0) give_block(p, b);
}

/// Copies the pages of one entry to another of the same kind.
static void entry_copy(KvPool *p, bool is_private, int32_t dst, int32_t src)
{
    for (int32_t i = 0; i < (is_private ? 1 : p->G); i++) {
        int64_t step = is_private ? 0 : (int64_t)i * p->E;
        device_copy(p->dev, kv_page_address(p, dst + step), kv_page_address(p, src + step),
                    (size_t)p->page_bytes);
    }
}

// ---- the pool ---------------------------------------------------------------------------------

static KilnStatus take_tables(KvPool *p, Diag *diag)
{
    KilnStatus st = KILN_OK;
    Heap *h = p->dev->heap;
    const KvShape *s = &p->shape;
    int64_t n_runs = (int64_t)p->n_blocks * p->G, n_of = (int64_t)s->n_slots * p->G;
    size_t row = (size_t)p->max_pages * sizeof(int32_t), n_lists = (size_t)s->max_lists;
    p->runs = heap_array(h, Run, n_runs);
    p->blocks = heap_array(h, Block, p->n_blocks);
    p->free_blocks = heap_array(h, int32_t, p->n_blocks);
    p->refs = heap_array(h, int32_t, n_runs * p->E);
    p->lists = heap_array(h, List, s->max_lists);
    p->entries = heap_alloc_array(h, row, n_lists, 64);
    p->lens = heap_array(h, int32_t, s->max_lists);
    p->spreads = heap_array(h, int32_t, s->max_lists);
    p->list_of = heap_array(h, int32_t, n_of);
    if (!p->runs || !p->blocks || !p->free_blocks || !p->refs || !p->lists || !p->entries ||
        !p->lens || !p->spreads || !p->list_of)
        TRY(fail(diag, KILN_ERR_NOMEM, "K102", "no memory for the tables of %d pages",
                 p->n_blocks * p->E));
    const struct {
        int32_t **at;
        size_t bytes;
        const char *name;
    } tables[] = {{&p->dev_entries, row * n_lists, "list_pages"},
                  {&p->dev_lens, sizeof(int32_t) * n_lists, "list_len"},
                  {&p->dev_spreads, sizeof(int32_t) * n_lists, "list_spread"},
                  {&p->dev_list_of, sizeof(int32_t) * (size_t)n_of, "list_of"}};
    for (int32_t i = 0; i < COUNT_OF(tables); i++) {
        void *at;
        TRY(device_alloc(p->dev, tables[i].bytes, tables[i].name, &at, diag));
        *tables[i].at = at;
    }
done:
    return st;
}

KilnStatus kv_pool_open(Device *dev, const KvShape *shape, size_t budget, KvPool **out, Diag *diag)
{
    KilnStatus st = KILN_OK;
    KvShape s = with_defaults(shape);
    KvPool *p = NULL;
    *out = NULL;
    TRY(check_shape(&s, diag));
    p = heap_new(dev->heap, KvPool);
    if (!p) TRY(fail(diag, KILN_ERR_NOMEM, "K102", "no memory for the key-value cache"));
    p->dev = dev;
    p->shape = s;
    p->page_bytes = kv_page_bytes(&s);
    p->G = s.n_layers * s.n_kv_heads;
    p->E = extent_of(&s);
    p->max_pages = (int32_t)div_up(s.max_context, s.page_len);
    int64_t block_bytes = p->page_bytes * p->G * p->E;
    int64_t n = (int64_t)MIN(budget, (size_t)INT64_MAX) / block_bytes;
    n = MIN(n, INT32_MAX / 2 / ((int64_t)p->G * p->E)); // entries are int32
    if (n < 1)
        TRY(fail(diag, KILN_ERR_LIMIT, "K301",
                 "key-value cache: %zu bytes hold no page: %d tokens of one sequence need %lld",
                 budget, p->E * s.page_len, (long long)block_bytes));
    p->n_blocks = (int32_t)n;
    TRY(take_tables(p, diag));
    void *pages;
    TRY(device_alloc(dev, (size_t)(n * block_bytes), "key-value pages", &pages, diag));
    p->pages = pages;
    for (int32_t c = 0; c < CHAIN_COUNT; c++)
        p->chain[c] = -1;
    for (int32_t r = 0; r < p->n_blocks * p->G; r++)
        p->runs[r] = (Run){.next = -1, .prev = -1, .chain = -1};
    for (int32_t b = p->n_blocks - 1; b >= 0; b--)
        p->free_blocks[p->n_free_blocks++] = b;
    *out = p;
    p = NULL;
done:
    kv_pool_close(p);
    return st;
}

/// The tables that kernels read, in the order in which they lie in given memory: what changes every step
/// comes first.
typedef struct Table {
    int32_t **host, **device;
    size_t bytes;
} Table;

enum { N_TABLES = 4 };

static void tables_of(KvPool *p, Table out[N_TABLES])
{
    size_t n_lists = (size_t)p->shape.max_lists * sizeof(int32_t);
    out[0] = (Table){&p->lens, &p->dev_lens, n_lists};
    out[1] = (Table){&p->spreads, &p->dev_spreads, n_lists};
    out[2] = (Table){&p->list_of, &p->dev_list_of,
                     (size_t)p->shape.n_slots * (size_t)p->G * sizeof(int32_t)};
    out[3] = (Table){&p->entries, &p->dev_entries, n_lists * (size_t)p->max_pages};
}

static void free_tables(KvPool *p)
{
    Table tables[N_TABLES];
    if (p->tables_are_given) return;
    tables_of(p, tables);
    for (int32_t i = 0; i < N_TABLES; i++) {
        device_free(p->dev, *tables[i].device);
        heap_free(p->dev->heap, *tables[i].host);
    }
}

static size_t aligned(size_t bytes)
{
    return (size_t)round_up((int64_t)bytes, 64);
}

size_t kv_table_bytes(const KvPool *p)
{
    Table tables[N_TABLES];
    KvPool copy = *p; // only its sizes are read
    size_t n = 0;
    tables_of(&copy, tables);
    for (int32_t i = 0; i < N_TABLES; i++)
        n += aligned(tables[i].bytes);
    return n;
}

void kv_use_tables(KvPool *p, void *host, void *device)
{
    Table tables[N_TABLES];
    free_tables(p);
    tables_of(p, tables);
    memset(host, 0, kv_table_bytes(p));
    size_t at = 0;
    for (int32_t i = 0; i < N_TABLES; i++) {
        *tables[i].host = (int32_t *)((char *)host + at);
        *tables[i].device = (int32_t *)((char *)device + at);
        at += aligned(tables[i].bytes);
    }
    p->tables_are_given = true;
    p->lens_dirty = p->list_of_dirty = true;
}

void kv_pool_close(KvPool *p)
{
    if (!p) return;
    void *const host[] = {p->runs, p->blocks, p->free_blocks, p->refs, p->lists};
    device_free(p->dev, p->pages);
    free_tables(p);
    for (int32_t i = 0; i < COUNT_OF(host); i++)
        heap_free(p->dev->heap, host[i]);
    heap_free(p->dev->heap, p);
}

const KvShape *kv_pool_shape(const KvPool *p)
{
    return &p->shape;
}

void kv_buffers(const KvPool *p, StepBuffers *out)
{
    const KvFormatFacts *f = &kv_format_facts[p->shape.format];
    int64_t part = part_bytes(&p->shape);
    out->kv_base = p->pages;
    out->kv_dtype = f->dtype;
    out->scale_dtype = f->scale;
    out->page_len = p->shape.page_len;
    out->max_pages = p->max_pages;
    out->page_bytes = p->page_bytes;
    out->v_offset = part;
    out->k_scale_offset = 2 * part;
    out->v_scale_offset =
        2 * part +
        (f->scale == DTYPE_VOID ? 0 : (int64_t)p->shape.page_len * dtype_bytes(f->scale));
    out->list_of = p->dev_list_of;
    out->list_pages = p->dev_entries;
    out->list_len = p->dev_lens;
    out->list_spread = p->dev_spreads;
}

int32_t kv_free_entries(const KvPool *p)
{
    return (int32_t)available(p, false);
}

int32_t kv_total_entries(const KvPool *p)
{
    return p->n_blocks * p->E;
}

int64_t kv_used_pages(const KvPool *p)
{
    return p->n_used_pages;
}

size_t kv_used_bytes(const KvPool *p)
{
    return (size_t)(p->n_used_pages * p->page_bytes);
}

uint8_t *kv_page_address(const KvPool *p, int64_t page)
{
    return p->pages + page * p->page_bytes;
}

// ---- lists ------------------------------------------------------------------------------------

static int32_t *entries_of(const KvPool *p, int32_t list)
{
    return p->entries + (int64_t)list * p->max_pages;
}

static void set_len(KvPool *p, int32_t list, int32_t len)
{
    p->lists[list].len = p->lens[list] = len;
    p->lens_dirty = true;
}

static void mark_dirty(KvPool *p, int32_t list, int32_t from)
{
    List *l = &p->lists[list];
    l->dirty_from = l->is_dirty ? MIN(l->dirty_from, from) : from;
    l->is_dirty = true;
}

int32_t kv_list_new(KvPool *p, bool is_private)
{
    for (int32_t i = 0; i < p->shape.max_lists; i++) {
        if (p->lists[i].is_live) continue;
        p->lists[i] = (List){.is_live = true, .is_private = is_private};
        p->spreads[i] = is_private ? 0 : p->E;
        set_len(p, i, 0);
        return i;
    }
    return -1;
}

void kv_list_free(KvPool *p, int32_t list)
{
    kv_list_truncate(p, list, 0);
    p->lists[list].is_live = false;
}

int32_t kv_list_len(const KvPool *p, int32_t list)
{
    return p->lists[list].len;
}

KilnStatus kv_list_extend(KvPool *p, int32_t list, int32_t n)
{
    List *l = &p->lists[list];
    int32_t P = p->shape.page_len;
    int32_t *e = entries_of(p, list);
    ASSERT(l->is_live && n >= 0);
    if (n > p->shape.max_context - l->len) return KILN_ERR_LIMIT;
    int32_t want = (int32_t)div_up(l->len + n, P);
    bool copies = n > 0 && l->len % P && p->refs[e[l->n_entries - 1]] > 1;
    if (want - l->n_entries + copies > available(p, l->is_private)) return KILN_ERR_LIMIT;
    if (copies) {
        int32_t last = l->n_entries - 1, old = e[last];
        e[last] = entry_take(p, l->is_private, last ? e[last - 1] : -1);
        entry_copy(p, l->is_private, e[last], old);
        entry_drop(p, old);
        mark_dirty(p, list, last);
    }
    if (want > l->n_entries) mark_dirty(p, list, l->n_entries);
    for (; l->n_entries < want; l->n_entries++)
        e[l->n_entries] = entry_take(p, l->is_private, l->n_entries ? e[l->n_entries - 1] : -1);
    set_len(p, list, l->len + n);
    return KILN_OK;
}

void kv_list_truncate(KvPool *p, int32_t list, int32_t len)
{
    List *l = &p->lists[list];
    ASSERT(l->is_live && len >= 0 && len <= l->len);
    int32_t keep = (int32_t)div_up(len, p->shape.page_len);
    while (l->n_entries > keep)
        entry_drop(p, entries_of(p, list)[--l->n_entries]);
    set_len(p, list, len);
}

void kv_list_fork(KvPool *p, int32_t dst, int32_t src, int32_t len)
{
    List *to = &p->lists[dst];
    const List *from = &p->lists[src];
    ASSERT(to->is_live && from->is_live && to->len == 0 && len <= from->len &&
           to->is_private == from->is_private);
    to->n_entries = (int32_t)div_up(len, p->shape.page_len);
    for (int32_t i = 0; i < to->n_entries; i++) {
        int32_t e = entries_of(p, src)[i];
        p->refs[e]++;
        entries_of(p, dst)[i] = e;
    }
    mark_dirty(p, dst, 0);
    set_len(p, dst, len);
}

const int32_t *kv_list_entries(const KvPool *p, int32_t list, int32_t *n)
{
    if (n) *n = p->lists[list].n_entries;
    return entries_of(p, list);
}

int32_t kv_list_spread(const KvPool *p, int32_t list)
{
    return p->spreads[list];
}

int32_t kv_entry_refs(const KvPool *p, int32_t e)
{
    return p->refs[e];
}

void kv_assign_all(KvPool *p, int32_t slot, int32_t list)
{
    for (int32_t i = 0; i < p->G; i++)
        p->list_of[slot * p->G + i] = list;
    p->list_of_dirty = true;
}

void kv_assign(KvPool *p, int32_t slot, int32_t layer, int32_t head, int32_t list)
{
    p->list_of[slot * p->G + layer * p->shape.n_kv_heads + head] = list;
    p->list_of_dirty = true;
}

int32_t kv_list_of(const KvPool *p, int32_t slot, int32_t layer, int32_t head)
{
    return p->list_of[slot * p->G + layer * p->shape.n_kv_heads + head];
}

/// The bytes from the front of given tables to the last that changed.
static size_t changed_bytes(KvPool *p)
{
    Table t[N_TABLES];
    tables_of(p, t);
    size_t lens = aligned(t[0].bytes), spreads = aligned(t[1].bytes), list_of = aligned(t[2].bytes);
    size_t n = p->list_of_dirty ? lens + spreads + t[2].bytes
               : p->lens_dirty  ? lens + t[1].bytes
                                : 0;
    for (int32_t i = 0; i < p->shape.max_lists; i++) {
        const List *l = &p->lists[i];
        size_t end = (size_t)i * (size_t)p->max_pages + (size_t)l->n_entries;
        if (l->is_dirty && l->n_entries > l->dirty_from)
            n = lens + spreads + list_of + end * sizeof(int32_t);
    }
    return n;
}

size_t kv_flush(KvPool *p)
{
    size_t n_lists = (size_t)p->shape.max_lists;
    size_t changed = p->tables_are_given ? changed_bytes(p) : 0;
    for (int32_t i = 0; i < p->shape.max_lists; i++) {
        List *l = &p->lists[i];
        if (!l->is_dirty) continue;
        int64_t at = (int64_t)i * p->max_pages + l->dirty_from;
        if (l->n_entries > l->dirty_from && !p->tables_are_given)
            device_upload(p->dev, p->dev_entries + at, p->entries + at,
                          (size_t)(l->n_entries - l->dirty_from) * sizeof(int32_t));
        l->is_dirty = false;
    }
    if (p->lens_dirty && !p->tables_are_given) {
        device_upload(p->dev, p->dev_lens, p->lens, n_lists * sizeof(int32_t));
        device_upload(p->dev, p->dev_spreads, p->spreads, n_lists * sizeof(int32_t));
    }
    if (p->list_of_dirty && !p->tables_are_given)
        device_upload(p->dev, p->dev_list_of, p->list_of,
                      (size_t)p->shape.n_slots * (size_t)p->G * sizeof(int32_t));
    p->lens_dirty = p->list_of_dirty = false;
    return changed;
}

// ---- invariants -------------------------------------------------------------------------------

/// Counts of one block against its own; adds to the totals.
static bool check_block(const KvPool *p, int32_t b, int64_t *shared_free, int64_t *private_free,
                        int64_t *used_pages)
{
    const Block *block = &p->blocks[b];
    if (block->kind == BLOCK_FREE) return true;
    int32_t n_runs = block->kind == BLOCK_SHARED ? 1 : p->G, n_used = 0;
    for (int32_t r = b * p->G; r < b * p->G + n_runs; r++) {
        const Run *run = &p->runs[r];
        for (int32_t j = 0; j < p->E; j++) {
            bool is_free = run->free >> j & 1;
            if (is_free != (p->refs[r * p->E + j] == 0)) return false;
            n_used += !is_free;
            *(block->kind == BLOCK_SHARED ? shared_free : private_free) += is_free;
        }
        int32_t want = !run->free                    ? -1
                       : block->kind == BLOCK_SHARED ? CHAIN_SHARED_PARTIAL
                       : run->free == all_free(p)    ? CHAIN_PRIVATE_WHOLE
                                                     : CHAIN_PRIVATE_PARTIAL;
        if (run->chain != want) return false;
    }
    *used_pages += (int64_t)n_used * (block->kind == BLOCK_SHARED ? p->G : 1);
    return n_used == block->n_used && n_used > 0;
}

bool kv_check(const KvPool *p)
{
    int64_t shared_free = 0, private_free = 0, used_pages = 0, refs = 0, named = 0;
    for (int32_t b = 0; b < p->n_blocks; b++)
        if (!check_block(p, b, &shared_free, &private_free, &used_pages)) return false;
    for (int64_t e = 0; e < (int64_t)p->n_blocks * p->G * p->E; e++)
        refs += p->refs[e];
    for (int32_t i = 0; i < p->shape.max_lists; i++)
        named += p->lists[i].is_live ? p->lists[i].n_entries : 0;
    return shared_free == p->n_shared_free && private_free == p->n_private_free &&
           used_pages == p->n_used_pages && refs == named;
}
