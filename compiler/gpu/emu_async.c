// compiler/gpu/emu_async.c - asynchronous copies in the emulator: queued per thread, landed at the wait.
//
//   issue    bounds and races are checked, the bytes are taken: nobody may touch them
//   commit   what was issued since the last commit is a group
//   wait n   all groups but the n youngest land now, their copies in a seeded order: only then is
//            global memory read and shared memory written
//
// Landing as late as the program allows finds every read that came too early; reading the source at
// that time finds every store that came in between.
#include "base/random.h"
#include "compiler/gpu/emu.h"

typedef struct Copy {
    uint64_t from, to;
    int32_t bytes, n_read; ///< the rest becomes zero
    int32_t group;
} Copy;

typedef struct Queue {
    EmuAsync async;
    Copy *copies; ///< [n], oldest first
    int32_t n, cap;
    int32_t n_groups; ///< committed so far; copies issued now belong to group n_groups
    Random order;
} Queue;

static void reset(EmuThread *t)
{
    Queue *q = (Queue *)t->async;
    const EmuBlock *b = t->block;
    uint64_t program =
        (uint64_t)b->program[0] + ((uint64_t)b->program[1] << 21) + ((uint64_t)b->program[2] << 42);
    q->n = q->n_groups = 0;
    q->order.state = (b->seed ^ 0x636f7079) + program * 1024 + (uint64_t)t->id;
}

static void release(EmuThread *t)
{
    Queue *q = (Queue *)t->async;
    heap_free(heap_default(), q->copies);
    heap_free(heap_default(), q);
    t->async = NULL;
}

static Queue *queue_of(EmuThread *t)
{
    if (t->async) return (Queue *)t->async;
    Queue *q = heap_new(heap_default(), Queue);
    if (!q) {
        emu_fault(t, "K102", "no memory for an asynchronous copy");
        return NULL;
    }
    q->async = (EmuAsync){reset, release};
    t->async = &q->async;
    reset(t);
    return q;
}

static bool push(EmuThread *t, Queue *q, Copy c)
{
    if (q->n == q->cap) {
        int32_t cap = MAX(16, 2 * q->cap);
        Copy *more = heap_array(heap_default(), Copy, cap);
        if (!more) {
            emu_fault(t, "K102", "no memory for an asynchronous copy");
            return false;
        }
        if (q->n) memcpy(more, q->copies, sizeof *more * (size_t)q->n);
        heap_free(heap_default(), q->copies);
        q->copies = more, q->cap = cap;
    }
    q->copies[q->n++] = c;
    return true;
}

/// Groups with copies that read something, among those under way.
static int32_t groups_in_flight(const Queue *q)
{
    int32_t n = 0, last = -1;
    for (int32_t i = 0; i < q->n; i++) {
        if (!q->copies[i].n_read || q->copies[i].group == last) continue;
        last = q->copies[i].group;
        n++;
    }
    return n;
}

void emu_copy_issue(EmuThread *t, int32_t imm, const uint64_t *a, uint64_t *r)
{
    int32_t bytes = imm & 0xff, at = 0;
    (void)r;
    bool acts = imm & 256 ? a[at++] & 1 : true;
    uint64_t to = a[at], from = a[at + 1];
    at += 2;
    int32_t n_read = imm & 512 ? (int32_t)a[at++] : bytes;
    t->place = (int64_t)a[at];
    if (!acts) return;
    Queue *q = queue_of(t);
    if (!q || (n_read && !emu_touch_global(t, from, n_read, EMU_READS))) return;
    if (!emu_touch_shared(t, to, bytes, EMU_ISSUES)) return;
    push(t, q, (Copy){from, to, bytes, n_read, q->n_groups});
    t->block->counters->copies++;
}

void emu_copy_commit(EmuThread *t, int32_t imm, const uint64_t *a, uint64_t *r)
{
    (void)imm, (void)r;
    t->place = (int64_t)a[0];
    Queue *q = queue_of(t);
    if (!q) return;
    q->n_groups++;
    ImageCounters *c = t->block->counters;
    c->copies_in_flight = MAX(c->copies_in_flight, groups_in_flight(q));
}

static void land(EmuThread *t, const Copy *c)
{
    char *to = (char *)(uintptr_t)c->to;
    if (!emu_touch_shared(t, c->to, c->bytes, EMU_LANDS)) return;
    memset(to, 0, (size_t)c->bytes);
    if (c->n_read) memcpy(to, (const char *)(uintptr_t)c->from, (size_t)c->n_read);
}

void emu_copy_wait(EmuThread *t, int32_t imm, const uint64_t *a, uint64_t *r)
{
    (void)r;
    t->place = (int64_t)a[0];
    Queue *q = queue_of(t);
    if (!q) return;
    int32_t n = 0; // oldest copies, whose groups have to land
    while (n < q->n && q->copies[n].group < q->n_groups - imm)
        n++;
    for (int32_t i = n - 1; i >= 0; i--) { // a random one of those left, i + 1 of them
        int32_t k = (int32_t)random_below(&q->order, i + 1);
        Copy c = q->copies[k];
        q->copies[k] = q->copies[i];
        land(t, &c);
    }
    if (n) memmove(q->copies, q->copies + n, sizeof *q->copies * (size_t)(q->n - n));
    q->n -= n;
}
