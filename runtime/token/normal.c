// runtime/token/normal.c - the one file that knows utf8proc.
#include "runtime/token/normal.h"

#include <utf8proc.h>

#include "runtime/token/utf8.h"

enum { RESULT_MAX = 256 << 20 };

bool char_is_space(int32_t cp)
{
    return (cp >= 9 && cp <= 13) || cp == 0x20 || cp == 0x85 || cp == 0xA0 || cp == 0x1680 ||
           (cp >= 0x2000 && cp <= 0x200A) || cp == 0x2028 || cp == 0x2029 || cp == 0x202F ||
           cp == 0x205F || cp == 0x3000;
}

bool char_is_word(int32_t cp)
{
    if (cp < 0) return false;
    utf8proc_category_t c = utf8proc_category(cp);
    return (c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_NO) || c == UTF8PROC_CATEGORY_PC;
}

Str normal_valid(Str text, Arena *arena)
{
    size_t n_bad = 0;
    int32_t len;
    for (size_t i = 0; i < text.len; i += (size_t)len)
        n_bad += utf8_next(text.data + i, text.len - i, &len) == UTF8_BAD;
    if (!n_bad) return text;
    char *copy = arena_array(arena, char, text.len + 3 * n_bad), *at = copy;
    for (size_t i = 0; i < text.len; i += (size_t)len) {
        if (utf8_next(text.data + i, text.len - i, &len) == UTF8_BAD) {
            at += utf8_put(REPLACEMENT, at);
        } else {
            memcpy(at, text.data + i, (size_t)len);
            at += len;
        }
    }
    return (Str){copy, (size_t)(at - copy)};
}

Str normal_join(Str a, Str b, Arena *arena)
{
    char *copy = arena_array(arena, char, a.len + b.len + 1);
    if (a.len) memcpy(copy, a.data, a.len);
    if (b.len) memcpy(copy + a.len, b.data, b.len);
    return (Str){copy, a.len + b.len};
}

static const char *find(Str text, size_t from, Str what)
{
    return text.len - from < what.len
               ? NULL
               : memmem(text.data + from, text.len - from, what.data, what.len);
}

Str normal_replace(Str text, Str from, Str to, Arena *arena)
{
    size_t n = 0;
    const char *hit;
    for (size_t at = 0; (hit = find(text, at, from)); n++)
        at = (size_t)(hit - text.data) + from.len;
    if (!n) return text;
    if (text.len + n * to.len > RESULT_MAX) return (Str){NULL, SIZE_MAX};
    char *copy = arena_array(arena, char, text.len + n * to.len), *end = copy;
    size_t at = 0;
    while ((hit = find(text, at, from))) {
        size_t before = (size_t)(hit - text.data) - at;
        memcpy(end, text.data + at, before);
        if (to.len) memcpy(end + before, to.data, to.len);
        end += before + to.len;
        at += before + from.len;
    }
    memcpy(end, text.data + at, text.len - at);
    return (Str){copy, (size_t)(end - copy) + text.len - at};
}

// ---- normal forms ------------------------------------------------------------------------------

static utf8proc_option_t options_of(NormalKind kind)
{
    switch (kind) {
    case NORMAL_NFC:
        return UTF8PROC_STABLE | UTF8PROC_COMPOSE;
    case NORMAL_NFD:
        return UTF8PROC_STABLE | UTF8PROC_DECOMPOSE;
    case NORMAL_NFKC:
        return UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT;
    default:
        return UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT;
    }
}

/// Where the part that begins at `at` may end: before an ASCII character past 4 KiB, or inside a
/// run of combining marks longer than any language writes.
static size_t part_end(Str text, size_t at)
{
    int32_t run = 0, len;
    for (size_t i = at; i < text.len; i += (size_t)len) {
        int32_t cp = utf8_next(text.data + i, text.len - i, &len);
        if (cp >= 0 && cp < 0x80 && i - at >= 4096) return i;
        run = cp >= 0x300 && utf8proc_get_property(cp)->combining_class ? run + 1 : 0;
        if (run > NORMAL_RUN_MAX) return i;
    }
    return text.len;
}

/// Appends the normal form of one part to out->data + out->len, which has room.
static void normal_part(Str part, utf8proc_option_t options, Arena *arena, char *out, size_t room,
                        size_t *len)
{
    ArenaMark mark = arena_mark(arena);
    const utf8proc_uint8_t *p = (const utf8proc_uint8_t *)part.data;
    utf8proc_ssize_t n = utf8proc_decompose(p, (utf8proc_ssize_t)part.len, NULL, 0, options);
    if (n > 0) {
        utf8proc_int32_t *buffer = arena_array(arena, utf8proc_int32_t, n + 1);
        n = utf8proc_decompose(p, (utf8proc_ssize_t)part.len, buffer, n, options);
        n = utf8proc_reencode(buffer, n, options);
        if (n > 0 && *len + (size_t)n <= room) {
            memcpy(out + *len, buffer, (size_t)n);
            *len += (size_t)n;
        }
    }
    arena_release(arena, mark);
}

static Str normal_form(Str text, NormalKind kind, Arena *arena)
{
    bool ascii = true;
    for (size_t i = 0; i < text.len && ascii; i++)
        ascii = (uint8_t)text.data[i] < 0x80;
    if (ascii) return text;
    // A character's longest decomposition is 18 code points (U+FDFA) or 4 without compatibility;
    // bytes grow at most 11-fold and 3-fold.
    bool compat = kind == NORMAL_NFKC || kind == NORMAL_NFKD;
    size_t room = text.len * (compat ? 11 : 3) + 16, len = 0;
    char *out = arena_array(arena, char, room);
    for (size_t at = 0; at < text.len;) {
        size_t end = part_end(text, at);
        normal_part((Str){text.data + at, end - at}, options_of(kind), arena, out, room, &len);
        at = end;
    }
    return (Str){out, len};
}

KilnStatus normal_run(const Normalizer *n, Str text, Arena *arena, Str *out, Diag *diag)
{
    for (int32_t i = 0; i < n->n_steps && text.len; i++) {
        const NormalStep *s = &n->steps[i];
        switch (s->kind) {
        case NORMAL_PREPEND:
            text = normal_join(s->to, text, arena);
            break;
        case NORMAL_REPLACE:
            text = normal_replace(text, s->from, s->to, arena);
            break;
        default:
            text = normal_form(text, s->kind, arena);
            break;
        }
        if (text.len > NORMAL_TEXT_MAX)
            return fail(diag, KILN_ERR_LIMIT, "K222", "a text grows past %d bytes when normalised",
                        NORMAL_TEXT_MAX);
    }
    *out = text;
    return KILN_OK;
}
