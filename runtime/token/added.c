// runtime/token/added.c - the trie, and the walk over a text.
#include "runtime/token/added.h"

#include "runtime/token/normal.h"
#include "runtime/token/utf8.h"

void added_push(Arena *a, AddedSet *set, AddedToken token)
{
    vec_push(a, &set->items, token);
}

static uint64_t edge_slot(const AddedSet *set, int32_t node, uint8_t byte)
{
    uint64_t key = 1 + ((uint64_t)(uint32_t)node << 8 | byte);
    uint64_t i = key * 0x9E3779B97F4A7C15u >> 20;
    while (set->edges[i & (set->n_slots - 1)] != 0 && set->edges[i & (set->n_slots - 1)] != key)
        i++;
    return i & (set->n_slots - 1);
}

void added_build(Arena *a, AddedSet *set)
{
    int64_t n_bytes = 0;
    VEC_EACH(AddedToken, t, &set->items)
        n_bytes += (int64_t)t->content.len;
    set->n_slots = (uint64_t)next_pow2(2 * n_bytes + 2);
    set->edges = arena_array(a, uint64_t, set->n_slots);
    set->targets = arena_array(a, int32_t, set->n_slots);
    set->item_of = arena_array(a, int32_t, n_bytes + 1);
    int32_t n_nodes = 1;
    for (int32_t k = 0; k < set->items.len; k++) {
        Str s = set->items.data[k].content;
        int32_t node = 0;
        for (size_t i = 0; i < s.len; i++) {
            uint64_t slot = edge_slot(set, node, (uint8_t)s.data[i]);
            if (!set->edges[slot]) {
                set->edges[slot] = 1 + ((uint64_t)(uint32_t)node << 8 | (uint8_t)s.data[i]);
                set->targets[slot] = n_nodes++;
            }
            node = set->targets[slot];
        }
        if (s.len) set->first[(uint8_t)s.data[0]] = true;
        if (s.len && !set->item_of[node]) set->item_of[node] = k + 1;
    }
}

/// The longest token that begins at `at`, or NULL.
static const AddedToken *longest(const AddedSet *set, Str text, size_t at, bool parse_special)
{
    const AddedToken *best = NULL;
    int32_t node = 0;
    for (size_t i = at; i < text.len; i++) {
        uint64_t slot = edge_slot(set, node, (uint8_t)text.data[i]);
        if (!set->edges[slot]) break;
        node = set->targets[slot];
        if (!set->item_of[node]) continue;
        const AddedToken *t = &set->items.data[set->item_of[node] - 1];
        if (parse_special || !t->special) best = t;
    }
    return best;
}

static int32_t char_before(Str text, size_t at, size_t *begin)
{
    size_t b = at;
    for (int32_t i = 0; i < 4 && b > 0; i++)
        if (((uint8_t)text.data[--b] & 0xC0) != 0x80) break;
    int32_t len, cp = b < at ? utf8_next(text.data + b, at - b, &len) : UTF8_BAD;
    *begin = cp == UTF8_BAD || b + (size_t)len != at ? at : b;
    return *begin == at ? UTF8_BAD : cp;
}

static int32_t char_after(Str text, size_t at, int32_t *len)
{
    *len = 0;
    return at < text.len ? utf8_next(text.data + at, text.len - at, len) : UTF8_BAD;
}

static bool touches_word(Str text, size_t begin, size_t end)
{
    size_t b;
    int32_t len;
    return char_is_word(char_before(text, begin, &b)) || char_is_word(char_after(text, end, &len));
}

bool added_next(const AddedSet *set, Str text, size_t from, bool parse_special, AddedMatch *out)
{
    if (!set->items.len) return false;
    for (size_t at = from; at < text.len;) {
        const AddedToken *t =
            set->first[(uint8_t)text.data[at]] ? longest(set, text, at, parse_special) : NULL;
        if (!t) {
            at++;
            continue;
        }
        size_t begin = at, end = at + t->content.len, b;
        int32_t len;
        if (t->single_word && touches_word(text, begin, end)) {
            at = end;
            continue;
        }
        while (t->lstrip && begin > from && char_is_space(char_before(text, begin, &b)) &&
               b >= from)
            begin = b;
        while (t->rstrip && char_is_space(char_after(text, end, &len)))
            end += (size_t)len;
        *out = (AddedMatch){t, begin, end};
        return true;
    }
    return false;
}
