// runtime/kv/pages.h - keys and values in pages, and the lists that name them.
//
//   list of a sequence           [ 7 | 2 | 9 ]     page_len 4, length 10
//                                  |   |   `--> tokens 8 9 . .    two free
//                                  |   `------> tokens 4 5 6 7
//                                  `----------> tokens 0 1 2 3
//
//   shared list    an entry e names L * Hkv physical pages, one per (layer, kv-head):
//                  page of (l, h) = e + spread * (l * Hkv + h)          (uniform methods)
//   private list   belongs to one (layer, kv-head): page = e, spread 0  (methods that evict by head)
//
//   block of E * L * Hkv pages, E = extent:
//       shared     | (0,0): e0 e1 .. | (0,1): e0 e1 .. | ...   entries e0 .. e(E-1), spread E
//       private    | run 0: E pages  | run 1: E pages  | ...   each page an entry
//
// So the pages of one (layer, head) of one sequence lie side by side for E pages (64 KB or more), which
// is worth a third of the bandwidth on a CPU. An extent is a preference: when no whole one is free, any
// free entry is taken. An entry named by two lists is counted; whoever appends to it copies it first.
// Lists are changed by the host between steps; kv_flush brings the device's tables up to date.
//
// Source   Kwon et al., PagedAttention, SOSP 2023, sections 4.1-4.4 (arXiv:2309.06180);
//          lists per head are ours
// Threads  one at a time per pool; kernels read lists, only this file writes them
// Tests    tests/runtime/test_pages.c: random traffic against flat arrays
#ifndef RUNTIME_KV_PAGES_H
#define RUNTIME_KV_PAGES_H
#include "runtime/batch.h"

typedef struct KvPool KvPool; ///< all pages of one model on one device

typedef enum KvFormat {
#define KV_FORMAT(name, alias, elem, scale) KV_##name,
#include "runtime/kv/format.def"
#undef KV_FORMAT
    KV_FORMAT_COUNT,
} KvFormat;

typedef struct KvFormatFacts {
    const char *name, *alias;
    DType dtype, scale;
} KvFormatFacts;
extern const KvFormatFacts kv_format_facts[KV_FORMAT_COUNT];

/// @return KILN_OK; KILN_ERR_INPUT (K404) with the names there are
MUST_USE KilnStatus kv_format_parse(const char *name, KvFormat *out, Diag *diag);

/// Geometry. A field left zero takes the default in brackets.
typedef struct KvShape {
    int32_t n_layers, n_kv_heads, head_dim;
    int32_t page_len;    ///< tokens per page, a power of two, 1 to 128 [32]
    int32_t max_context; ///< tokens of the longest list
    int32_t n_slots;     ///< sequences at once
    int32_t max_lists;   ///< [n_slots]; methods with private lists ask for more
    KvFormat format;
} KvShape;

/// Bytes of one physical page, and of the pages that hold `tokens` tokens of one sequence.
int64_t kv_page_bytes(const KvShape *shape);
size_t kv_bytes_for(const KvShape *shape, int64_t tokens);

/// Opens a pool of at most `budget` bytes of pages. All of it is taken here.
/// @param dev borrowed, outlives the pool
/// @param out owned: kv_pool_close(); NULL unless KILN_OK
/// @return KILN_OK; KILN_ERR_INPUT: a field of `shape`, named in diag (K405); KILN_ERR_LIMIT: not one page fits;
///         KILN_ERR_NOMEM
MUST_USE KilnStatus kv_pool_open(Device *dev, const KvShape *shape, size_t budget, KvPool **out,
                                 Diag *diag);
/// Gives all memory back. NULL is fine.
void kv_pool_close(KvPool *pool);
const KvShape *kv_pool_shape(const KvPool *pool);
/// Fills in the cache's part of `out`.
void kv_buffers(const KvPool *pool, StepBuffers *out);

/// Entries that a shared list could still take (one holds page_len tokens of a sequence), and in all.
int32_t kv_free_entries(const KvPool *pool);
int32_t kv_total_entries(const KvPool *pool);
/// Physical pages in use, each counted once.
int64_t kv_used_pages(const KvPool *pool);
size_t kv_used_bytes(const KvPool *pool);

/// A new, empty list. @return its number, or -1: max_lists are in use
int32_t kv_list_new(KvPool *pool, bool is_private);
/// Gives its pages back. O(pages).
void kv_list_free(KvPool *pool, int32_t list);
int32_t kv_list_len(const KvPool *pool, int32_t list);
/// Makes room for `n` more tokens at the end of `list`: all of them, or none. A shared last page is copied first.
/// @return KILN_OK; KILN_ERR_LIMIT: too few free pages (nothing changed: preempt and ask again) or max_context
MUST_USE KilnStatus kv_list_extend(KvPool *pool, int32_t list, int32_t n);
/// Forgets the tokens from `len` on.
void kv_list_truncate(KvPool *pool, int32_t list, int32_t len);
/// Lets the empty list `dst` begin with the first `len` tokens of `src`; the pages are shared until written.
void kv_list_fork(KvPool *pool, int32_t dst, int32_t src, int32_t len);
/// Entries of `list` in token order. @return [ceil(len / page_len)] borrowed until the list changes
const int32_t *kv_list_entries(const KvPool *pool, int32_t list, int32_t *n);
int32_t kv_list_spread(const KvPool *pool, int32_t list);
/// Lists that name entry `e`.
int32_t kv_entry_refs(const KvPool *pool, int32_t e);

/// Lets (slot, every layer, every head) be kept in `list`; or one (layer, head).
void kv_assign_all(KvPool *pool, int32_t slot, int32_t list);
void kv_assign(KvPool *pool, int32_t slot, int32_t layer, int32_t head, int32_t list);
int32_t kv_list_of(const KvPool *pool, int32_t slot, int32_t layer, int32_t head);

/// Uploads what changed in the tables since the last call. Before every step. Allocates nothing.
/// @return 0; or, with kv_use_tables, the bytes at the front of them that the caller has to upload
size_t kv_flush(KvPool *pool);
/// Moves the tables into memory of the caller's, so that they can travel to the device with other things
/// in one copy: `host` and `device` (kv_table_bytes each, 64-byte aligned, borrowed, of equal layout).
/// Before the first list.
size_t kv_table_bytes(const KvPool *pool);
void kv_use_tables(KvPool *pool, void *host, void *device);
/// Device address of a physical page.
uint8_t *kv_page_address(const KvPool *pool, int64_t page);
/// Asserts every invariant of the free lists and counts. For tests.
bool kv_check(const KvPool *pool);
#endif
