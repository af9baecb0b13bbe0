// compiler/gpu/emu_shadow.h - who touched which byte last, and whether that is ordered before us.
//
//   memory   |  page of 1024 bytes  |  ...          one Page each, made when first touched
//   page     |cell|cell|cell| ...                   16 bytes to a cell, 8, 4, 2 or 1: as narrow as
//                                                   the narrowest access that the page has met
//   cell     write   stamp of the last write
//            read    stamps of up to two reads since, neither ordered before the other
//
//   stamp    | program 30 | epoch 22 | thread 10 | atomic 2 |      0: nobody
//
// The program is a number that grows over all launches of an image, so that stamps of an earlier
// launch are stale by themselves and nothing is cleared. The epoch counts the program's barriers.
// A stamp A is ordered before a thread's access when
//     A is of an earlier launch, or of the same program and an earlier epoch, or the same thread
//     or a chain of releases and acquires leads from A to the thread (emu_order.h)
// and two atomics need no order. Everything else where one of the two writes is a race.
//
// Source   Flanagan and Freund, FastTrack, PLDI 2009: the last write is enough, because a race is
//          reported when it happens; we keep two reads where FastTrack keeps a vector.
// Limits   of more than two unordered reads the others are forgotten; that loses a race only where
//          a chain of atomics orders the writer behind the two that were kept
#ifndef COMPILER_GPU_EMU_SHADOW_H
#define COMPILER_GPU_EMU_SHADOW_H
#include "base/base.h"

enum {
    STAMP_ATOMIC_BLOCK = 1, ///< an atomic that threads of its own program may meet
    STAMP_ATOMIC_GPU = 2,   ///< one that all threads may meet
    STAMP_THREAD_SHIFT = 2,
    STAMP_EPOCH_SHIFT = 12,
    STAMP_PROGRAM_SHIFT = 34,
    SHADOW_PAGE_SHIFT = 10,
    SHADOW_PAGE = 1 << SHADOW_PAGE_SHIFT,
    SHADOW_NEAR = 64,
};

typedef uint64_t Stamp;

static inline Stamp stamp_of(uint32_t program, uint32_t epoch, int32_t thread)
{
    return (uint64_t)program << STAMP_PROGRAM_SHIFT |
           (uint64_t)(epoch & 0x3fffff) << STAMP_EPOCH_SHIFT |
           (uint64_t)(uint32_t)thread << STAMP_THREAD_SHIFT;
}
static inline uint32_t stamp_program(Stamp s)
{
    return (uint32_t)(s >> STAMP_PROGRAM_SHIFT);
}
static inline uint32_t stamp_epoch(Stamp s)
{
    return (uint32_t)(s >> STAMP_EPOCH_SHIFT) & 0x3fffff;
}
static inline int32_t stamp_thread(Stamp s)
{
    return (int32_t)(s >> STAMP_THREAD_SHIFT) & 0x3ff;
}

typedef struct ShadowCell {
    Stamp write, read[2];
    uint16_t write_place, read_place[2]; ///< numbers that the block gave to places
    uint16_t pending; ///< 1 + the thread whose copy is under way, where `write` is its stamp
} ShadowCell;

typedef struct ShadowPage {
    uint64_t number; ///< address >> SHADOW_PAGE_SHIFT
    int32_t shift;   ///< lg of the bytes of a cell
    ShadowCell *cells;
} ShadowPage;

typedef struct Shadow {
    ShadowPage **table; ///< open addressing by page number, a power of two
    int32_t n_pages, cap;
    ShadowPage *near[SHADOW_NEAR]; ///< last page found, by the low bits of its number
    size_t bytes, limit;           ///< of cells; past the limit new pages are not watched
    int64_t n_unwatched;           ///< accesses that found no room
} Shadow;

void shadow_init(Shadow *s, size_t limit);
void shadow_reset(Shadow *s);
/// The cells of [at, at + bytes), `bytes` a power of two up to 16 and `at` a multiple of it.
/// @param n  how many
/// @return NULL: past the limit or out of memory
ShadowCell *shadow_cells(Shadow *s, uint64_t at, int32_t bytes, int32_t *n);
#endif
