// runtime/token/decode.c - ids to UTF-8 as they come: whole characters out, at most three bytes
// held back.
#include "runtime/token/utf8.h"
#include "runtime/token/vocab.h"

void token_stream_init(TokenStream *s, const Tokenizer *tok, bool at_start)
{
    *s = (TokenStream){.tok = tok, .drop_blank = at_start && tok->drop_blank};
}

static void put_replacement(StrBuf *out)
{
    strbuf_puts(out, "\xEF\xBF\xBD");
}

/// Whether the bytes could still become a character.
static bool may_grow(const uint8_t *p, int32_t n)
{
    int32_t len;
    return utf8_next((const char *)p, (size_t)n, &len) == UTF8_BAD && len == n && p[0] >= 0xC2 &&
           p[0] < 0xF5;
}

static void push_byte(TokenStream *s, uint8_t byte, StrBuf *out)
{
    s->pending[s->n_pending++] = byte;
    while (s->n_pending) {
        int32_t len;
        if (utf8_next((const char *)s->pending, (size_t)s->n_pending, &len) != UTF8_BAD) {
            strbuf_add(out, (const char *)s->pending, (size_t)len);
        } else {
            if (may_grow(s->pending, s->n_pending)) return;
            put_replacement(out);
        }
        s->n_pending -= len;
        memmove(s->pending, s->pending + len, (size_t)s->n_pending);
    }
}

void token_stream_push(TokenStream *s, int32_t id, StrBuf *out)
{
    Str print = tokenizer_piece(s->tok, id);
    if (!print.len) return;
    size_t from = s->drop_blank && print.data[0] == ' ' ? 1 : 0;
    s->drop_blank = false;
    for (size_t i = from; i < print.len; i++)
        push_byte(s, (uint8_t)print.data[i], out);
}

void token_stream_finish(TokenStream *s, StrBuf *out)
{
    if (s->n_pending) put_replacement(out);
    s->n_pending = 0;
}

void tokenizer_decode(const Tokenizer *tok, const int32_t *ids, int32_t n, bool at_start,
                      StrBuf *out)
{
    TokenStream s;
    token_stream_init(&s, tok, at_start);
    for (int32_t i = 0; i < n; i++)
        token_stream_push(&s, ids[i], out);
    token_stream_finish(&s, out);
}
