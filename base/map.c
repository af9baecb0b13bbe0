#include "base/map.h"

#include "base/hash.h"

static uint32_t slot_of(const Map *m, Str key)
{
    return (uint32_t)hash_bytes(key.data, key.len).lo & ((uint32_t)m->n_slots - 1);
}

int32_t map_find(const Map *m, Str key)
{
    if (!m->n_slots) return -1;
    for (uint32_t s = slot_of(m, key);; s = (s + 1) & ((uint32_t)m->n_slots - 1)) {
        int32_t at = m->slots[s];
        if (!at) return -1;
        if (str_eq(m->entries[at - 1].key, key)) return at - 1;
    }
}

void *map_get(const Map *m, Str key)
{
    int32_t at = map_find(m, key);
    return at < 0 ? NULL : m->entries[at].value;
}

static void claim_slot(Map *m, int32_t index)
{
    uint32_t s = slot_of(m, m->entries[index].key);
    while (m->slots[s])
        s = (s + 1) & ((uint32_t)m->n_slots - 1);
    m->slots[s] = index + 1;
}

static void grow(Arena *a, Map *m)
{
    m->cap = m->cap ? m->cap * 2 : 8;
    MapEntry *fresh = arena_array(a, MapEntry, m->cap);
    if (m->len) memcpy(fresh, m->entries, (size_t)m->len * sizeof *fresh);
    m->entries = fresh;
    m->n_slots = m->cap * 2;
    m->slots = arena_array(a, int32_t, m->n_slots);
    for (int32_t i = 0; i < m->len; i++)
        claim_slot(m, i);
}

void map_put(Arena *a, Map *m, Str key, void *value)
{
    int32_t at = map_find(m, key);
    if (at >= 0) {
        m->entries[at].value = value;
        return;
    }
    if (m->len == m->cap) grow(a, m);
    m->entries[m->len++] = (MapEntry){key, value};
    claim_slot(m, m->len - 1);
}
