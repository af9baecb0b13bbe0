// base/bits.h - a dense bit set in an arena.
#ifndef BASE_BITS_H
#define BASE_BITS_H
#include "base/arena.h"

typedef struct Bits {
    uint64_t *words;
    int32_t n;
} Bits;

static inline Bits bits_new(Arena *a, int32_t n)
{
    return (Bits){arena_array(a, uint64_t, (n + 63) / 64 + 1), n};
}
static inline bool bits_has(const Bits *b, int32_t i)
{
    return b->words[i >> 6] >> (i & 63) & 1;
}
static inline void bits_set(Bits *b, int32_t i)
{
    b->words[i >> 6] |= (uint64_t)1 << (i & 63);
}
static inline void bits_clear(Bits *b, int32_t i)
{
    b->words[i >> 6] &= ~((uint64_t)1 << (i & 63));
}
#endif
