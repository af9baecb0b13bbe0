// compiler/gpu/emu_count.c - what a warp's accesses cost: sectors of global memory, passes over banks.
//
//   lane 0   load a   load b            store c        each lane runs alone, from one collective to
//   lane 1   load a   load b   store x  store c        the next; its n-th access is found beside the
//   ...                                                 n-th of the lanes before it
//            `-----.
//   request   one access of up to 32 lanes at one place: what the hardware serves at once
//
// A lane that skips an access (a branch, a mask) finds its next one further on. When a warp has as
// many requests as fit, its lanes take turns, so that loops need no more room. Then
//
//   global    sectors of 32 bytes that the lanes' bytes lie in;   ideal: the bytes side by side
//   shared    passes: lanes go 32, 16 or 8 at a time (4, 8, 16 bytes each); in a pass each of the 32
//             banks gives one word of 4 bytes;                    ideal: one pass each time
//
// Source   CUDA C++ Programming Guide, "Device Memory Accesses", "Shared Memory" (banks)
#include "compiler/gpu/emu.h"

enum { SEARCH = 24 }; // requests that a lane looks past

/// Different values of x[0..n), which mostly ascend.
static int32_t n_different(const uint32_t *x, int32_t n)
{
    int32_t count = n > 0;
    bool ascends = true;
    for (int32_t i = 1; i < n; i++) {
        count += x[i] != x[i - 1];
        ascends &= x[i] >= x[i - 1];
    }
    if (ascends) return count;
    uint32_t sorted[EMU_LANES];
    for (int32_t i = 0; i < n; i++) {
        int32_t k = i;
        for (; k > 0 && sorted[k - 1] > x[i]; k--)
            sorted[k] = sorted[k - 1];
        sorted[k] = x[i];
    }
    count = 1;
    for (int32_t i = 1; i < n; i++)
        count += sorted[i] != sorted[i - 1];
    return count;
}

static void count_global(MemCounters *c, const EmuRequest *q, int32_t n, const uint32_t *at)
{
    uint32_t sectors[EMU_LANES];
    for (int32_t i = 0; i < n; i++)
        sectors[i] = at[i] >> 5;
    c->units += n_different(sectors, n);
    c->ideal += div_up((int64_t)n_different(at, n) << q->lg_bytes, 32);
}

/// Words of one pass that lie in the bank that has most of them.
static int32_t most_in_a_bank(const uint32_t *words, int32_t n)
{
    uint32_t seen = 0, first[32];
    int32_t most = 1;
    for (int32_t i = 0; i < n; i++) {
        uint32_t bank = words[i] & 31;
        if (!(seen >> bank & 1)) {
            seen |= 1u << bank, first[bank] = words[i];
        } else if (first[bank] != words[i]) {
            uint32_t same[EMU_LANES];
            int32_t k = 0;
            for (int32_t j = 0; j < n; j++)
                if ((words[j] & 31) == bank) same[k++] = words[j];
            most = MAX(most, n_different(same, k));
        }
    }
    return most;
}

static void count_shared(MemCounters *c, const EmuRequest *q)
{
    uint32_t lg_words = q->lg_bytes > 2 ? (uint32_t)q->lg_bytes - 2 : 0,
             lanes = (uint32_t)EMU_LANES >> lg_words;
    for (uint32_t from = 0; from < EMU_LANES; from += lanes) {
        uint32_t words[EMU_LANES];
        int32_t n = 0;
        for (uint32_t i = from; i < from + lanes; i++)
            for (uint32_t w = 0; q->mask >> i & 1 && w < 1u << lg_words; w++)
                words[n++] = (q->at[i] >> 2) + w;
        if (!n) continue;
        c->units += most_in_a_bank(words, n);
        c->ideal++;
    }
}

static MemCounters *counter_of(ImageCounters *c, EmuCount kind)
{
    return kind == COUNT_LOADS          ? &c->loads
           : kind == COUNT_STORES       ? &c->stores
           : kind == COUNT_SHARED_LOADS ? &c->shared_loads
                                        : &c->shared_stores;
}

void emu_flush(EmuThread *lanes)
{
    EmuBlock *b = lanes->block;
    EmuLog *log = &b->logs[lanes->id / EMU_LANES];
    for (int32_t i = 0; i < log->n; i++) {
        const EmuRequest *q = &log->requests[i];
        MemCounters *c = counter_of(b->counters, q->kind);
        uint32_t at[EMU_LANES];
        int32_t n = 0;
        for (uint32_t rest = q->mask; rest; rest &= rest - 1)
            at[n++] = q->at[__builtin_ctz(rest)];
        if (!n) continue;
        c->requests++;
        if (q->kind < COUNT_SHARED_LOADS)
            count_global(c, q, n, at);
        else
            count_shared(c, q);
    }
    log->n = 0;
    for (int32_t i = 0; i < EMU_LANES; i++)
        lanes[i].cursor = 0;
}

/// The request of the warp that this access belongs to.
static EmuRequest *request_of(EmuThread *t, EmuCount kind, int32_t bytes)
{
    EmuLog *log = &t->block->logs[t->id / EMU_LANES];
    int32_t lg = log2_floor((uint64_t)bytes), end = MIN(log->n, t->cursor + SEARCH);
    for (int32_t i = t->cursor; i < end; i++) {
        EmuRequest *q = &log->requests[i];
        if (q->place != t->place || q->kind != kind || q->lg_bytes != lg) continue;
        t->cursor = i + 1;
        return q;
    }
    if (log->n == EMU_LOG) {
        emu_yield(t); // the other lanes catch up, then the log begins anew
        return request_of(t, kind, bytes);
    }
    EmuRequest *q = &log->requests[log->n++];
    q->place = t->place, q->kind = kind, q->lg_bytes = lg, q->mask = 0;
    t->cursor = log->n;
    return q;
}

void emu_count(EmuThread *t, EmuCount kind, uint64_t at, int32_t bytes)
{
    EmuRequest *q = request_of(t, kind, bytes);
    q->mask |= 1u << t->id % EMU_LANES;
    q->at[t->id % EMU_LANES] = (uint32_t)at;
}

void emu_count_none(EmuThread *t, EmuCount kind, int32_t bytes)
{
    (void)request_of(t, kind, bytes);
}
