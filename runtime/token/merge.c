// runtime/token/merge.c - the queue, and the table of ranked pairs.
#include "runtime/token/merge.h"

typedef struct Waiting {
    uint64_t key; ///< rank << 32 | left symbol: lower first, ties leftmost
    int32_t len;  ///< bytes of both sides when it was pushed
    int32_t id;   ///< what they become
} Waiting;

typedef struct Queue {
    Waiting *at;
    int32_t n;
} Queue;

static void queue_push(Queue *q, Waiting w)
{
    int32_t i = q->n++;
    for (; i > 0 && q->at[(i - 1) / 2].key > w.key; i = (i - 1) / 2)
        q->at[i] = q->at[(i - 1) / 2];
    q->at[i] = w;
}

static Waiting queue_pop(Queue *q)
{
    Waiting top = q->at[0], last = q->at[--q->n];
    int32_t i = 0;
    for (int32_t child = 1; child < q->n; child = 2 * i + 1) {
        if (child + 1 < q->n && q->at[child + 1].key < q->at[child].key) child++;
        if (q->at[child].key >= last.key) break;
        q->at[i] = q->at[child];
        i = child;
    }
    q->at[i] = last;
    return top;
}

static void consider(Queue *q, const Symbol *symbols, int32_t left, Str word, MergeLookup *lookup,
                     const void *cx)
{
    if (left < 0 || symbols[left].next < 0) return;
    const Symbol *l = &symbols[left], *r = &symbols[l->next];
    uint32_t rank;
    int32_t id;
    if (lookup(cx, word, l, r, &rank, &id))
        queue_push(q, (Waiting){(uint64_t)rank << 32 | (uint32_t)left, l->len + r->len, id});
}

void merge_symbols(Symbol *symbols, int32_t n, Str word, MergeLookup *lookup, const void *cx,
                   Arena *scratch)
{
    ArenaMark mark = arena_mark(scratch);
    for (int32_t i = 0; i < n; i++) {
        symbols[i].prev = i - 1;
        symbols[i].next = i + 1 < n ? i + 1 : -1;
    }
    // n - 1 pairs at first; each of at most n - 1 merges takes one away and adds at most two.
    Queue q = {arena_array(scratch, Waiting, 2 * (size_t)n), 0};
    for (int32_t i = 0; i + 1 < n; i++)
        consider(&q, symbols, i, word, lookup, cx);
    while (q.n) {
        Waiting w = queue_pop(&q);
        Symbol *l = &symbols[(uint32_t)w.key];
        if (!l->len || l->next < 0) continue;
        Symbol *r = &symbols[l->next];
        if (l->len + r->len != w.len) continue;
        l->len = w.len;
        l->id = w.id;
        l->next = r->next;
        r->len = 0;
        if (l->next >= 0) symbols[l->next].prev = (int32_t)(uint32_t)w.key;
        consider(&q, symbols, l->prev, word, lookup, cx);
        consider(&q, symbols, (int32_t)(uint32_t)w.key, word, lookup, cx);
    }
    arena_release(scratch, mark);
}

// ---- the table ---------------------------------------------------------------------------------

void merge_table_init(Arena *a, MergeTable *t, int32_t n)
{
    t->n_slots = (uint64_t)next_pow2(2 * (int64_t)n + 2);
    t->entries = arena_array(a, struct MergeEntry, t->n_slots);
    for (uint64_t i = 0; i < t->n_slots; i++)
        t->entries[i].left = -1;
}

static struct MergeEntry *slot_of(const MergeTable *t, int32_t left, int32_t right)
{
    uint64_t h = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9E3779B97F4A7C15u;
    for (uint64_t i = h >> 20;; i++) {
        struct MergeEntry *e = &t->entries[i & (t->n_slots - 1)];
        if (e->left == -1 || (e->left == left && e->right == right)) return e;
    }
}

bool merge_table_put(MergeTable *t, int32_t left, int32_t right, uint32_t rank, int32_t id)
{
    struct MergeEntry *e = slot_of(t, left, right);
    if (e->left != -1) return false;
    *e = (struct MergeEntry){left, right, id, rank};
    return true;
}

bool merge_table_get(const MergeTable *t, int32_t left, int32_t right, uint32_t *rank, int32_t *id)
{
    if (!t->n_slots || left < 0 || right < 0) return false;
    const struct MergeEntry *e = slot_of(t, left, right);
    if (e->left == -1) return false;
    *rank = e->rank;
    *id = e->id;
    return true;
}
