// runtime/token/bpe.c - one word by ranked merges: the pair that was learned first merges first.
//
// Symbols begin as bytes (byte-level vocabularies) or as characters; a character that is no piece
// becomes its byte pieces, or the unknown token.
//
// Source   Sennrich et al. 2016, arXiv:1508.07909; fallback and fusing as in Hugging Face
// tokenizers
#include "runtime/token/utf8.h"
#include "runtime/token/vocab.h"

static bool ranked_pair(const void *cx, Str word, const Symbol *l, const Symbol *r, uint32_t *rank,
                        int32_t *id)
{
    (void)word;
    return merge_table_get(&((const Tokenizer *)cx)->merges, l->id, r->id, rank, id);
}

static int32_t byte_symbols(const Tokenizer *tok, Str word, Symbol *symbols)
{
    for (size_t i = 0; i < word.len; i++)
        symbols[i] =
            (Symbol){.begin = (int32_t)i, .len = 1, .id = tok->byte_ids[(uint8_t)word.data[i]]};
    return (int32_t)word.len;
}

/// @return the number of symbols, or -1 when a character has no token
static int32_t char_symbols(const Tokenizer *tok, Str word, Symbol *symbols)
{
    int32_t n = 0, len;
    for (size_t i = 0; i < word.len; i += (size_t)len) {
        if (utf8_next(word.data + i, word.len - i, &len) == UTF8_BAD) len = 1;
        int32_t id = vocab_find(tok, (Str){word.data + i, (size_t)len});
        if (id < 0 && tok->byte_fallback && tok->has_bytes) {
            n += byte_symbols(tok, (Str){word.data + i, (size_t)len}, symbols + n);
            for (int32_t k = 0; k < len; k++)
                symbols[n - len + k].begin += (int32_t)i;
            continue;
        }
        if (id < 0 && tok->unk < 0) return -1;
        if (id < 0 && tok->fuse_unk && n && symbols[n - 1].id == tok->unk) {
            symbols[n - 1].len += len;
            continue;
        }
        symbols[n++] = (Symbol){.begin = (int32_t)i, .len = len, .id = id < 0 ? tok->unk : id};
    }
    return n;
}

/// The piece that is the whole word, or -1.
static int32_t whole_word(const Tokenizer *tok, Str word, Arena *scratch)
{
    if (!tok->byte_level) return vocab_find(tok, word);
    if (word.len > TOKENIZER_PIECE_MAX) return -1;
    char *text = arena_array(scratch, char, 2 * word.len);
    size_t len = 0;
    for (size_t i = 0; i < word.len; i++)
        len += (size_t)utf8_put(byte_to_char((uint8_t)word.data[i]), text + len);
    return vocab_find(tok, (Str){text, len});
}

KilnStatus bpe_encode_word(const Tokenizer *tok, Str word, Arena *scratch, Arena *arena,
                           TokenIds *out, Diag *diag)
{
    if (!word.len) return KILN_OK;
    ArenaMark mark = arena_mark(scratch);
    KilnStatus st = KILN_OK;
    int32_t whole = tok->ignore_merges ? whole_word(tok, word, scratch) : -1;
    if (whole >= 0) {
        vec_push(arena, out, whole);
        goto done;
    }
    Symbol *symbols = arena_array(scratch, Symbol, word.len);
    int32_t n =
        tok->byte_level ? byte_symbols(tok, word, symbols) : char_symbols(tok, word, symbols);
    if (n < 0)
        TRY(fail(diag, KILN_ERR_INPUT, "K223",
                 "the text holds a character for which the vocabulary has no token"));
    merge_symbols(symbols, n, word, ranked_pair, tok, scratch);
    for (int32_t i = 0; i >= 0; i = symbols[i].next)
        vec_push(arena, out, symbols[i].id);
done:
    arena_release(scratch, mark);
    return st;
}
