// base/hash.h - a 128-bit content hash (XXH3) for cache keys and file identity; not for security.
#ifndef BASE_HASH_H
#define BASE_HASH_H
#include "base/str.h"

typedef struct Hash128 {
    uint64_t lo, hi;
} Hash128;

static inline bool hash_eq(Hash128 a, Hash128 b)
{
    return a.lo == b.lo && a.hi == b.hi;
}

Hash128 hash_bytes(const void *data, size_t len);
/// Writes 32 hex digits and a NUL.
void hash_hex(Hash128 h, char out[33]);

/// A hash over several fields; each is preceded by its length, so that ("ab","c") differs from ("a","bc").
typedef struct Hasher {
    StrBuf bytes;
} Hasher;

void hasher_add(Hasher *h, const void *data, size_t len);
void hasher_add_text(Hasher *h, const char *text);
void hasher_add_int(Hasher *h, int64_t value);
/// Frees the hasher.
Hash128 hasher_finish(Hasher *h);
#endif
