// runtime/token/utf8.h - one code point at a time, from bytes that may be anything.
#ifndef RUNTIME_TOKEN_UTF8_H
#define RUNTIME_TOKEN_UTF8_H
#include "base/str.h"

enum { UTF8_BAD = -1, REPLACEMENT = 0xFFFD };

/// Reads the character at `p` (n >= 1 bytes left).
/// @param[out] len  its bytes; for ill-formed text the length of the maximal bad subpart (1 to 3)
/// @return the code point, or UTF8_BAD
static inline int32_t utf8_next(const char *text, size_t n, int32_t *len)
{
    const uint8_t *p = (const uint8_t *)text;
    *len = 1;
    if (p[0] < 0x80) return p[0];
    if (p[0] < 0xC2 || p[0] > 0xF4) return UTF8_BAD;
    int32_t need = p[0] < 0xE0 ? 1 : p[0] < 0xF0 ? 2 : 3;
    // The second byte's range keeps out overlong forms, surrogates and what lies above U+10FFFF.
    uint8_t low = 0x80, high = 0xBF;
    if (p[0] == 0xE0) low = 0xA0;
    if (p[0] == 0xED) high = 0x9F;
    if (p[0] == 0xF0) low = 0x90;
    if (p[0] == 0xF4) high = 0x8F;
    int32_t cp = p[0] & (0x3F >> need);
    for (int32_t i = 1; i <= need; i++, low = 0x80, high = 0xBF) {
        if ((size_t)i >= n || p[i] < low || p[i] > high) return UTF8_BAD;
        cp = cp << 6 | (p[i] & 0x3F);
        *len = i + 1;
    }
    return cp;
}

/// Writes a code point below 0x800 or any other valid one. @return bytes written, 1 to 4
static inline int32_t utf8_put(int32_t cp, char out[4])
{
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    int32_t n = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    for (int32_t i = n - 1; i > 0; i--, cp >>= 6)
        out[i] = (char)(0x80 | (cp & 0x3F));
    out[0] = (char)((0xF00 >> n & 0xFF) | cp);
    return n;
}
#endif
