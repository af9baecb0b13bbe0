#include "base/str.h"

#include <stdio.h>
#include <stdlib.h>

bool str_starts(Str s, const char *prefix)
{
    size_t n = strlen(prefix);
    return s.len >= n && memcmp(s.data, prefix, n) == 0;
}

bool str_ends(Str s, const char *suffix)
{
    size_t n = strlen(suffix);
    return s.len >= n && memcmp(s.data + s.len - n, suffix, n) == 0;
}

int32_t str_distance(Str a, Str b)
{
    enum { LONGEST = 63 };
    if (a.len > LONGEST || b.len > LONGEST) return 1000;
    int32_t row[LONGEST + 1];
    for (size_t j = 0; j <= b.len; j++)
        row[j] = (int32_t)j;
    for (size_t i = 1; i <= a.len; i++) {
        int32_t diagonal = row[0];
        row[0] = (int32_t)i;
        for (size_t j = 1; j <= b.len; j++) {
            int32_t substitute = diagonal + (a.data[i - 1] != b.data[j - 1]);
            diagonal = row[j];
            row[j] = MIN(substitute, MIN(row[j], row[j - 1]) + 1);
        }
    }
    return row[b.len];
}

const char *str_nearest(Str word, const char *const *names, int32_t n)
{
    const char *best = NULL;
    int32_t best_distance = MAX(1, (int32_t)word.len / 3) + 1;
    for (int32_t i = 0; i < n; i++) {
        int32_t d = str_distance(word, str_of(names[i]));
        if (d < best_distance) best_distance = d, best = names[i];
    }
    return best;
}

static bool reserve(StrBuf *b, size_t more)
{
    if (b->failed) return false;
    if (b->len + more + 1 <= b->cap) return true;
    size_t cap = MAX(b->cap * 2, b->len + more + 1);
    cap = MAX(cap, (size_t)256);
    char *data = realloc(b->data, cap);
    if (!data) {
        b->failed = true;
        return false;
    }
    b->data = data;
    b->cap = cap;
    return true;
}

void strbuf_add(StrBuf *b, const char *data, size_t len)
{
    if (!reserve(b, len)) return;
    if (len) memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = 0;
}

void strbuf_puts(StrBuf *b, const char *text)
{
    strbuf_add(b, text, strlen(text));
}

void strbuf_putc(StrBuf *b, char c)
{
    strbuf_add(b, &c, 1);
}

void strbuf_vprintf(StrBuf *b, const char *fmt, va_list args)
{
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, fmt, args);
    if (len >= 0 && reserve(b, (size_t)len)) {
        vsnprintf(b->data + b->len, (size_t)len + 1, fmt, again);
        b->len += (size_t)len;
    }
    va_end(again);
}

void strbuf_printf(StrBuf *b, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    strbuf_vprintf(b, fmt, args);
    va_end(args);
}

void strbuf_json(StrBuf *b, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\')
            strbuf_putc(b, '\\'), strbuf_putc(b, (char)c);
        else if (c == '\n')
            strbuf_puts(b, "\\n");
        else if (c < 0x20)
            strbuf_printf(b, "\\u%04x", c);
        else
            strbuf_putc(b, (char)c);
    }
}

void strbuf_free(StrBuf *b)
{
    free(b->data);
    *b = (StrBuf){0};
}
