// base/str.h - string views and a builder.
//
// A Str is bytes that someone else owns; it need not end in NUL. A StrBuf grows on a heap.
#ifndef BASE_STR_H
#define BASE_STR_H
#include "base/arena.h"

typedef struct Str {
    const char *data;
    size_t len;
} Str;

#define STR(literal) ((Str){(literal), sizeof(literal) - 1})
#define STR_ARG(s)   (int)(s).len, (s).data ///< for "%.*s"

static inline Str str_of(const char *text)
{
    return (Str){text, text ? strlen(text) : 0};
}

static inline bool str_eq(Str a, Str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool str_is(Str a, const char *text)
{
    return str_eq(a, str_of(text));
}

bool str_starts(Str s, const char *prefix);
bool str_ends(Str s, const char *suffix);
/// Edit distance (insert, delete, substitute), for "did you mean"; lengths up to 63, else a large number.
int32_t str_distance(Str a, Str b);
/// The entry of `names` (n of them) nearest to `word`, or NULL when none is near enough to suggest.
const char *str_nearest(Str word, const char *const *names, int32_t n);

typedef struct StrBuf {
    char *data; ///< NUL-terminated after the first append; owned: strbuf_free()
    size_t len, cap;
    bool failed; ///< an allocation failed; appends after that are dropped
} StrBuf;

void strbuf_add(StrBuf *b, const char *data, size_t len);
void strbuf_puts(StrBuf *b, const char *text);
void strbuf_putc(StrBuf *b, char c);
void strbuf_printf(StrBuf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void strbuf_vprintf(StrBuf *b, const char *fmt, va_list args);
/// Appends `text` with JSON escapes, without the quotes.
void strbuf_json(StrBuf *b, const char *text, size_t len);
void strbuf_free(StrBuf *b);
#endif
