// base/map.h - an insertion-ordered map from strings to pointers, in an arena.
//
// Iterate with `for (int32_t i = 0; i < m.len; i++) use(m.entries[i].key, m.entries[i].value)`:
// always in the order of first insertion, so output never depends on a hash.
#ifndef BASE_MAP_H
#define BASE_MAP_H
#include "base/arena.h"
#include "base/str.h"

typedef struct MapEntry {
    Str key; ///< borrowed; must outlive the map
    void *value;
} MapEntry;

typedef struct Map {
    MapEntry *entries;
    int32_t len, cap;
    int32_t *slots; ///< 1 + index of an entry, 0 empty; a power of two of them, at least 2 * len
    int32_t n_slots;
} Map;

/// @return the value, or NULL when `key` is absent
void *map_get(const Map *m, Str key);
/// @return the index of the entry, or -1
int32_t map_find(const Map *m, Str key);
/// Inserts or replaces.
void map_put(Arena *a, Map *m, Str key, void *value);
#endif
