// compiler/gpu/emu_memory.c - what a thread may touch: bounds, alignment, order.
//
//   access --> aligned? --> inside of a range? --> counted (emu_count.c) --> ordered behind what
//              E1106        E1101                                            others did? E1105
//
// Global memory is watched where a launch writes: the ranges that its written arguments point into
// from the start, any other from its first store on. Shared memory is watched whole; there a read
// also needs a write of its own program before it (E1107), and nobody touches bytes that a copy is
// on its way to (E1108).
#include "compiler/gpu/emu.h"

#include <stdio.h>

// ---- places and parties -----------------------------------------------------------------------

/// A small number for a place, so that a shadow cell can keep it. 0: none, or too many.
static uint16_t place_number(EmuBlock *b, int64_t place)
{
    uint64_t hash = ((uint64_t)place ^ (uint64_t)place >> 32) * 0x9e3779b97f4a7c15u >> 58;
    EmuPlaces *p = &b->places;
    uint16_t *near = &p->near[hash];
    if (*near && p->list[*near] == place) return *near;
    int32_t i = 1;
    while (i < p->n && p->list[i] != place)
        i++;
    if (i >= EMU_MAX_PLACES) return 0;
    if (i >= p->n) p->list[i] = place, p->n = i + 1;
    *near = (uint16_t)i;
    return *near;
}

static int64_t place_at(const EmuBlock *b, uint16_t number)
{
    return number ? b->places.list[number] : -1;
}

static Stamp stamp_me(const EmuThread *t)
{
    return t->block->now | (uint64_t)(uint32_t)t->id << STAMP_THREAD_SHIFT;
}

/// "thread 5", or "program (0, 2, 0), thread 5" when it is another one.
static void party_words(const EmuThread *t, Stamp other, char *out, size_t size)
{
    const EmuBlock *b = t->block;
    if (stamp_program(other) == stamp_program(b->now)) {
        snprintf(out, size, "thread %d", stamp_thread(other));
        return;
    }
    int64_t i = b->first + (stamp_program(other) - b->first_number);
    int32_t program[3];
    emu_program_of(b, i, program);
    snprintf(out, size, "program (%d, %d, %d), thread %d", program[0], program[1], program[2],
             stamp_thread(other));
}

// ---- order ------------------------------------------------------------------------------------

/// Is what left `s` ordered before this thread's access, whose stamp is `me`?
static bool is_ordered(EmuThread *t, Stamp s, Stamp me)
{
    EmuBlock *b = t->block;
    uint64_t differ = s ^ me;
    if (differ >> STAMP_EPOCH_SHIFT == 0) { // the same program between the same barriers
        if (differ >> STAMP_THREAD_SHIFT == 0) return true;
        if ((s & 3) && (me & 3)) return true;
        return (t->known || b->order.is_lost) && order_reaches(&b->order, t->known, s);
    }
    if (differ >> STAMP_PROGRAM_SHIFT == 0) return true;
    if (stamp_program(s) < b->first_number) return true; // nobody, or an earlier launch
    if (s & me & STAMP_ATOMIC_GPU) return true;
    return (t->known || b->order.is_lost) && order_reaches(&b->order, t->known, s);
}

/// A race with the party that left `other` at `place`; `what` is the thread's own access.
static bool report_race(EmuThread *t, const char *what, bool other_wrote, Stamp other,
                        uint16_t place)
{
    EmuBlock *b = t->block;
    char who[96];
    bool is_own = stamp_program(other) == stamp_program(b->now);
    party_words(t, other, who, sizeof who);
    DiagItem *item = emu_report(t, "E1105", "race: %s is not ordered with %s by %s", what,
                                !other_wrote ? "the load"
                                : other & 3  ? "the atomic"
                                             : "the store",
                                who);
    diag_note(b->diag, item, emu_span(place_at(b, place)), "%s %s it here", who,
              other_wrote ? "writes" : "reads");
    diag_help(b->diag, item, "%s",
              is_own ? "between the two the program needs a barrier: tl.debug_barrier()"
                     : "programs of a launch run in any order: use an atomic, or two launches");
    emu_stop(t);
    return false;
}

/// The words for a race, put together when there is one. `me` is the stamp of the access.
typedef void (*Words)(const EmuThread *t, uint64_t at, bool is_write, Stamp me, char *out,
                      size_t size);

static bool race(EmuThread *t, Words words, uint64_t at, bool is_write, Stamp me, bool other_wrote,
                 Stamp other, uint16_t place)
{
    char what[192];
    words(t, at, is_write, me, what, sizeof what);
    return report_race(t, what, other_wrote, other, place);
}

/// Keeps a read where it is not ordered before a later one anyway.
static void keep_read(EmuThread *t, ShadowCell *c, Stamp me)
{
    uint16_t place = place_number(t->block, t->place);
    int32_t k = 0;
    if (c->read[0] && !is_ordered(t, c->read[0], me & ~(Stamp)3)) {
        bool is_free = !c->read[1] || is_ordered(t, c->read[1], me & ~(Stamp)3);
        bool is_news = stamp_program(c->read[0]) == stamp_program(c->read[1]) &&
                       stamp_program(c->read[0]) != stamp_program(me);
        if (!is_free && !is_news) return;
        k = 1;
    }
    c->read[k] = me, c->read_place[k] = place;
}

static bool order_read(EmuThread *t, ShadowCell *c, Stamp me, uint64_t at, Words words)
{
    if (c->read[0] == me || c->read[1] == me) return true; // and nobody wrote since
    if (c->write && !is_ordered(t, c->write, me))
        return race(t, words, at, false, me, true, c->write, c->write_place);
    keep_read(t, c, me);
    return true;
}

static bool order_write(EmuThread *t, ShadowCell *c, Stamp me, uint64_t at, Words words)
{
    if (c->write && c->write != me && !is_ordered(t, c->write, me))
        return race(t, words, at, true, me, true, c->write, c->write_place);
    for (int32_t k = 0; k < 2; k++)
        if (c->read[k] && !is_ordered(t, c->read[k], me))
            return race(t, words, at, true, me, false, c->read[k], c->read_place[k]);
    c->read[0] = c->read[1] = 0;
    // An atomic right behind the thread's own plain store: others may meet the one, not the other.
    bool hides = (me & 3) && c->write && !(c->write & 3) &&
                 c->write >> STAMP_EPOCH_SHIFT == me >> STAMP_EPOCH_SHIFT;
    if (!hides) c->write = me, c->write_place = place_number(t->block, t->place);
    return true;
}

// ---- global memory ----------------------------------------------------------------------------

/// The range that holds [at, at + bytes), or -1.
static int32_t range_of(EmuBlock *b, uint64_t at, int32_t bytes)
{
    int32_t *near = &b->near[at >> 12 & (EMU_NEAR - 1)];
    for (int32_t i = *near, k = -1; k < b->n_ranges; i = ++k) {
        if (i >= b->n_ranges) continue;
        uint64_t begin = (uintptr_t)b->ranges[i].begin, end = begin + b->ranges[i].bytes;
        if (at < begin || at > end || (uint64_t)bytes > end - at) continue;
        *near = i;
        return i;
    }
    return -1;
}

static bool report_bounds(EmuThread *t, uint64_t at, int32_t bytes, const char *what)
{
    const EmuBlock *b = t->block;
    const MemRange *near = NULL;
    uint64_t nearest = UINT64_MAX;
    for (int32_t i = 0; i < b->n_ranges; i++) {
        uint64_t begin = (uintptr_t)b->ranges[i].begin, end = begin + b->ranges[i].bytes;
        uint64_t distance = at < begin ? begin - at : at > end ? at - end : 0;
        if (distance < nearest) nearest = distance, near = &b->ranges[i];
    }
    if (near)
        emu_fault(t, "E1101", "%s of %d bytes outside of memory: byte %lld of `%s`, which has %zu",
                  what, bytes, (long long)(at - (uintptr_t)near->begin),
                  near->name ? near->name : "?", near->bytes);
    else
        emu_fault(t, "E1101", "%s of %d bytes at %#llx, and no memory was given", what, bytes,
                  (unsigned long long)at);
    return false;
}

static void global_words(const EmuThread *t, uint64_t at, bool is_write, Stamp me, char *out,
                         size_t size)
{
    const EmuBlock *b = t->block;
    const char *what = !is_write ? "this load from" : me & 3 ? "this atomic on" : "this store to";
    int32_t r = b->ranges ? range_of(t->block, at, 1) : -1;
    if (r < 0)
        snprintf(out, size, "%s %#llx", what, (unsigned long long)at);
    else
        snprintf(out, size, "%s byte %lld of `%s`", what,
                 (long long)(at - (uintptr_t)b->ranges[r].begin),
                 b->ranges[r].name ? b->ranges[r].name : "?");
}

/// @param r  the range, -1: there are none
static bool watch_global(EmuThread *t, int32_t r, uint64_t at, int32_t bytes, bool is_write,
                         uint32_t atomic)
{
    EmuBlock *b = t->block;
    if (r >= 0 && !b->is_watched[r]) {
        if (!is_write) return true;
        b->is_watched[r] = true;
    }
    int32_t n;
    ShadowCell *cells = shadow_cells(&b->global, at, bytes, &n);
    Stamp me = stamp_me(t) | atomic;
    bool good = true;
    for (int32_t i = 0; cells && i < n && good; i++) {
        uint64_t byte = at + (uint64_t)(i * bytes / n);
        good = is_write ? order_write(t, &cells[i], me, byte, global_words)
                        : order_read(t, &cells[i], me, byte, global_words);
    }
    return good;
}

/// Bounds and alignment. @return false: reported
static bool check_global(EmuThread *t, uint64_t at, int32_t bytes, const char *what, int32_t *range)
{
    EmuBlock *b = t->block;
    *range = -1;
    if (at & (uint64_t)(bytes - 1)) {
        emu_fault(t, "E1106", "misaligned %s of %d bytes at %#llx", what, bytes,
                  (unsigned long long)at);
        return false;
    }
    if (!b->ranges) return true;
    *range = range_of(b, at, bytes);
    return *range >= 0 || report_bounds(t, at, bytes, what);
}

bool emu_touch_global(EmuThread *t, uint64_t at, int32_t bytes, EmuTouch how)
{
    bool is_write = how == EMU_WRITES;
    int32_t r;
    if (!check_global(t, at, bytes, is_write ? "store" : "load", &r)) return false;
    emu_count(t, is_write ? COUNT_STORES : COUNT_LOADS, at, bytes);
    return watch_global(t, r, at, bytes, is_write, how == EMU_POLLS ? 3 : 0);
}

bool emu_touch_atomic(EmuThread *t, uint64_t at, int32_t bytes, int32_t order)
{
    EmuBlock *b = t->block;
    MemSem sem = (MemSem)(order & 3);
    bool is_block = order >> 2 == SCOPE_CTA;
    int32_t r;
    if (!check_global(t, at, bytes, "atomic", &r)) return false;
    b->counters->atomics++;
    emu_breathe(t);
    // What the scope of a block releases is found by its own program alone.
    uint64_t key = is_block ? at ^ ((uint64_t)b->number << 34 | 1) : at;
    // Acquired before the access is checked: the chain that the address holds orders it too.
    if (sem == SEM_ACQUIRE || sem == SEM_ACQ_REL) {
        uint32_t known = order_acquire(&b->order, t->known, key);
        b->has_news |= known != t->known;
        t->known = known;
    }
    if (!watch_global(t, r, at, bytes, true, is_block ? STAMP_ATOMIC_BLOCK : 3)) return false;
    if (sem == SEM_RELEASE || sem == SEM_ACQ_REL)
        order_release(&b->order, t->known, stamp_me(t), key);
    return true;
}

// ---- shared memory ----------------------------------------------------------------------------

static void shared_words(const EmuThread *t, uint64_t at, bool is_write, Stamp me, char *out,
                         size_t size)
{
    (void)t, (void)me;
    snprintf(out, size, "%s byte %lld of shared memory", is_write ? "writing" : "reading",
             (long long)at);
}

static bool report_wait(EmuThread *t, const ShadowCell *c, uint64_t at, bool is_write)
{
    EmuBlock *b = t->block;
    DiagItem *item =
        emu_report(t, "E1108",
                   "missing wait: byte %lld of shared memory is %s while the copy to it by thread "
                   "%d is under way",
                   (long long)at, is_write ? "written" : "read", c->pending - 1);
    diag_note(b->diag, item, emu_span(place_at(b, c->write_place)), "thread %d starts the copy",
              c->pending - 1);
    emu_stop(t);
    return false;
}

static bool watch_shared(EmuThread *t, ShadowCell *c, uint64_t at, EmuTouch how)
{
    Stamp me = stamp_me(t) | (how == EMU_ADDS ? STAMP_ATOMIC_BLOCK : 0);
    bool is_write = how != EMU_READS;
    if (stamp_program(c->write) != stamp_program(me)) {
        // Of a program before: as if never touched.
        *c = (ShadowCell){0};
    }
    if (how == EMU_LANDS) {
        c->pending = 0, c->write = me;
        return true;
    }
    if (c->pending) return report_wait(t, c, at, is_write);
    if ((!is_write || how == EMU_ADDS) && !c->write) {
        emu_fault(t, "E1107", "byte %lld of shared memory is read before it is written",
                  (long long)at);
        return false;
    }
    if (!is_write) return order_read(t, c, me, at, shared_words);
    if (!order_write(t, c, me, at, shared_words)) return false;
    if (how == EMU_ISSUES) c->pending = (uint16_t)(t->id + 1);
    return true;
}

bool emu_touch_shared(EmuThread *t, uint64_t address, int32_t bytes, EmuTouch how)
{
    EmuBlock *b = t->block;
    uint64_t at = address - (uintptr_t)b->shared;
    if (at > (uint64_t)b->shared_bytes || (uint64_t)b->shared_bytes - at < (uint64_t)bytes) {
        emu_fault(t, "E1107", "shared access at byte %lld of %d", (long long)at, b->shared_bytes);
        return false;
    }
    if (at & (uint64_t)(bytes - 1)) {
        emu_fault(t, "E1106", "misaligned shared access of %d bytes at byte %lld", bytes,
                  (long long)at);
        return false;
    }
    if (how != EMU_LANDS)
        emu_count(t, how == EMU_READS ? COUNT_SHARED_LOADS : COUNT_SHARED_STORES, at, bytes);
    int32_t n;
    ShadowCell *cells = shadow_cells(&b->within, at, bytes, &n);
    bool good = true;
    for (int32_t i = 0; cells && i < n && good; i++)
        good = watch_shared(t, &cells[i], at + (uint64_t)(i * bytes / n), how);
    return good;
}
