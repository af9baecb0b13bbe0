// runtime/token/spm.c - SentencePiece's way: of all pairs whose joined text is a piece, the best
// score merges.
//
//   "▁lower"   ▁ l o w e r   ->   ▁l o w er   ->   ▁low er   ->   ▁lower
//
// What no piece covers in the end becomes one byte token per byte.
//
// Source   Kudo and Richardson 2018, arXiv:1808.06226
#include "runtime/token/utf8.h"
#include "runtime/token/vocab.h"

static bool joined_piece(const void *cx, Str word, const Symbol *l, const Symbol *r, uint32_t *rank,
                         int32_t *id)
{
    const Tokenizer *tok = cx;
    *id = vocab_find(tok, (Str){word.data + l->begin, (size_t)(l->len + r->len)});
    if (*id < 0) return false;
    *rank = tok->pieces[*id].rank;
    return true;
}

static void put_symbol(const Tokenizer *tok, Str text, const Symbol *s, Arena *arena, TokenIds *out)
{
    int32_t id = vocab_find(tok, (Str){text.data + s->begin, (size_t)s->len});
    if (id >= 0) {
        vec_push(arena, out, id);
    } else if (!tok->has_bytes) {
        vec_push(arena, out, tok->unk);
    } else {
        for (int32_t i = 0; i < s->len; i++)
            vec_push(arena, out, tok->byte_ids[(uint8_t)text.data[s->begin + i]]);
    }
}

void spm_encode_fragment(const Tokenizer *tok, Str text, Arena *scratch, Arena *arena,
                         TokenIds *out)
{
    if (!text.len) return;
    ArenaMark mark = arena_mark(scratch);
    Symbol *symbols = arena_array(scratch, Symbol, text.len);
    int32_t n = 0, len;
    for (size_t i = 0; i < text.len; i += (size_t)len) {
        if (utf8_next(text.data + i, text.len - i, &len) == UTF8_BAD) len = 1;
        symbols[n++] = (Symbol){.begin = (int32_t)i, .len = len, .id = -1};
    }
    merge_symbols(symbols, n, text, joined_piece, tok, scratch);
    for (int32_t i = 0; i >= 0; i = symbols[i].next)
        put_symbol(tok, text, &symbols[i], arena, out);
    arena_release(scratch, mark);
}
