// runtime/token/vocab.c - pieces, the look-up by text, and what a vocabulary must satisfy.
#include "runtime/token/vocab.h"

#include <stdlib.h>

#include "base/hash.h"
#include "runtime/token/utf8.h"

Tokenizer *vocab_new(Heap *heap)
{
    Tokenizer *tok = heap_new(heap, Tokenizer);
    if (!tok) return NULL;
    tok->heap = heap;
    arena_init(&tok->arena, heap);
    tok->bos = tok->eos = tok->unk = -1;
    return tok;
}

void tokenizer_close(Tokenizer *tok)
{
    if (!tok) return;
    Heap *heap = tok->heap;
    for (int32_t i = 0; i < tok->n_pre; i++)
        splitter_close(tok->pre[i].splitter);
    arena_reset(&tok->arena);
    heap_free(heap, tok);
}

void vocab_reserve(Tokenizer *tok, int32_t n)
{
    tok->pieces = arena_array(&tok->arena, Piece, n);
    tok->n_ids = n;
    for (int32_t i = 0; i < n; i++)
        tok->pieces[i] = (Piece){.text = STR(""), .print = STR(""), .kind = PIECE_UNUSED};
}

// ---- the byte alphabet -------------------------------------------------------------------------

// Bytes that print stand for themselves; the other 68 take U+0100, U+0101, ... in order.
static bool stands_for_itself(int32_t c)
{
    return (c >= 0x21 && c <= 0x7E) || (c >= 0xA1 && c <= 0xAC) || (c >= 0xAE && c <= 0xFF);
}

int32_t byte_to_char(uint8_t byte)
{
    if (stands_for_itself(byte)) return byte;
    return 0x100 + (byte < 0x21 ? byte : byte < 0xAD ? byte - 0x7F + 33 : 67);
}

int32_t char_to_byte(int32_t cp)
{
    if (cp < 0 || cp > 0x143) return -1;
    if (cp < 0x100) return stands_for_itself(cp) ? cp : -1;
    int32_t k = cp - 0x100;
    return k < 33 ? k : k < 67 ? k - 33 + 0x7F : 0xAD;
}

int32_t byte_of_piece(Str text)
{
    static const char hex[] = "0123456789ABCDEF";
    if (text.len != 6 || memcmp(text.data, "<0x", 3) != 0 || text.data[5] != '>') return -1;
    const char *high = memchr(hex, text.data[3], 16), *low = memchr(hex, text.data[4], 16);
    return high && low ? (int32_t)((high - hex) * 16 + (low - hex)) : -1;
}

/// The bytes that a piece of the byte alphabet stands for; the text itself when it holds another
/// character.
static Str bytes_of_text(Tokenizer *tok, Str text)
{
    char *out = arena_array(&tok->arena, char, text.len + 1);
    size_t n = 0;
    int32_t len;
    for (size_t i = 0; i < text.len; i += (size_t)len) {
        int32_t byte = char_to_byte(utf8_next(text.data + i, text.len - i, &len));
        if (byte < 0) return text;
        out[n++] = (char)byte;
    }
    return (Str){out, n};
}

// ---- the look-up -------------------------------------------------------------------------------

static int32_t *slot_of(const Tokenizer *tok, Str text)
{
    for (uint64_t i = hash_bytes(text.data, text.len).lo;; i++) {
        int32_t *slot = &tok->slots[i & (tok->n_slots - 1)];
        if (!*slot || str_eq(tok->pieces[*slot - 1].text, text)) return slot;
    }
}

int32_t vocab_find(const Tokenizer *tok, Str text)
{
    return tok->n_slots ? *slot_of(tok, text) - 1 : -1;
}

static void quoted(StrBuf *out, Str text)
{
    strbuf_putc(out, '"');
    strbuf_json(out, text.data, MIN(text.len, (size_t)40));
    strbuf_puts(out, text.len > 40 ? "...\"" : "\"");
}

static KilnStatus bad_piece(const char *path, Str text, const char *what, int32_t a, int32_t b,
                            Diag *diag)
{
    StrBuf name = {0};
    quoted(&name, text);
    KilnStatus st = fail(diag, KILN_ERR_INPUT, "K221", "%s: piece %s %s (ids %d and %d)", path,
                         name.data ? name.data : "", what, a, b);
    strbuf_free(&name);
    return st;
}

static KilnStatus build_index(Tokenizer *tok, const char *path, Diag *diag)
{
    tok->n_slots = (uint64_t)next_pow2(2 * (int64_t)tok->n_ids + 2);
    tok->slots = arena_array(&tok->arena, int32_t, tok->n_slots);
    for (int32_t id = 0; id < tok->n_ids; id++) {
        const Piece *p = &tok->pieces[id];
        if (p->kind == PIECE_UNUSED) continue;
        int32_t *slot = slot_of(tok, p->text);
        if (*slot) return bad_piece(path, p->text, "occurs twice", *slot - 1, id, diag);
        *slot = id + 1;
    }
    return KILN_OK;
}

static KilnStatus find_bytes(Tokenizer *tok, const char *path, Diag *diag)
{
    int32_t n = 0;
    for (int32_t b = 0; b < 256; b++) {
        char text[8] = "<0x00>";
        Str name = {text, 6};
        if (tok->byte_level) {
            name.len = (size_t)utf8_put(byte_to_char((uint8_t)b), text);
        } else {
            text[3] = "0123456789ABCDEF"[b >> 4];
            text[4] = "0123456789ABCDEF"[b & 15];
        }
        int32_t id = vocab_find(tok, name);
        if (id >= 0 && !tok->byte_level && tok->pieces[id].kind != PIECE_BYTE) id = -1;
        tok->byte_ids[b] = id;
        n += id >= 0;
        if (id < 0 && tok->byte_level)
            return fail(diag, KILN_ERR_INPUT, "K221",
                        "%s: the vocabulary has no piece for byte 0x%02X, expected all 256", path,
                        b);
    }
    tok->has_bytes = n == 256;
    return KILN_OK;
}

static void print_forms(Tokenizer *tok)
{
    for (int32_t id = 0; id < tok->n_ids; id++) {
        Piece *p = &tok->pieces[id];
        int32_t byte;
        switch ((PieceKind)p->kind) {
        case PIECE_CONTROL:
        case PIECE_UNUSED:
            break;
        case PIECE_UNKNOWN:
            p->print = p->text;
            break;
        case PIECE_BYTE:
            byte = byte_of_piece(p->text);
            if (byte >= 0) p->print = (Str){arena_strndup(&tok->arena, (char[]){(char)byte}, 1), 1};
            break;
        case PIECE_NORMAL:
        case PIECE_USER:
            p->print = p->text;
            if (tok->byte_level && p->kind == PIECE_NORMAL) p->print = bytes_of_text(tok, p->text);
            if (tok->metaspace)
                p->print = normal_replace(p->text, STR("\xE2\x96\x81"), STR(" "), &tok->arena);
            break;
        }
    }
}

static int ascending(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return x < y ? -1 : x > y;
}

KilnStatus vocab_finish(Tokenizer *tok, const char *path, Diag *diag)
{
    KilnStatus st = KILN_OK;
    TRY(build_index(tok, path, diag));
    TRY(find_bytes(tok, path, diag));
    if (tok->by_score && !tok->has_bytes && tok->unk < 0)
        return fail(diag, KILN_ERR_INPUT, "K221",
                    "%s: the vocabulary has neither all 256 byte pieces nor an unknown token",
                    path);
    print_forms(tok);
done:
    return st;
}

KilnStatus vocab_add_merge(Tokenizer *tok, Str left, Str right, int32_t rank, const char *path,
                           Diag *diag)
{
    int32_t l = left.len ? vocab_find(tok, left) : -1, r = right.len ? vocab_find(tok, right) : -1,
            id = -1;
    bool repeats = false;
    if (l >= 0 && r >= 0) {
        ArenaMark mark = arena_mark(&tok->arena);
        id = vocab_find(tok, normal_join(left, right, &tok->arena));
        arena_release(&tok->arena, mark);
    }
    if (id >= 0) repeats = !merge_table_put(&tok->merges, l, r, (uint32_t)rank, id);
    if (id >= 0 && !repeats) return KILN_OK;
    StrBuf text = {0};
    quoted(&text, left);
    strbuf_puts(&text, " + ");
    quoted(&text, right);
    KilnStatus st =
        fail(diag, KILN_ERR_INPUT, "K221", "%s: merge %d, %s: %s", path, rank,
             text.data ? text.data : "",
             repeats ? "occurs twice" : "a part or the result is not in the vocabulary");
    strbuf_free(&text);
    return st;
}

// ---- special ids -------------------------------------------------------------------------------

void vocab_add_eog(Tokenizer *tok, int32_t id)
{
    if (id < 0 || id >= tok->n_ids || tokenizer_is_eog(tok, id)) return;
    int32_t *more = arena_array(&tok->arena, int32_t, tok->n_eog + 1);
    if (tok->n_eog) memcpy(more, tok->eog, (size_t)tok->n_eog * sizeof *more);
    more[tok->n_eog++] = id;
    tok->eog = more;
    qsort(tok->eog, (size_t)tok->n_eog, sizeof *more, ascending);
}

bool vocab_ends_turn(Str text)
{
    static const char *const names[] = {"<|eot_id|>",    "<|im_end|>",    "<|end|>",
                                        "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>",
                                        "<|eom_id|>"};
    for (int32_t i = 0; i < COUNT_OF(names); i++)
        if (str_is(text, names[i])) return true;
    return false;
}

// ---- access ------------------------------------------------------------------------------------

int32_t tokenizer_n_ids(const Tokenizer *tok)
{
    return tok->n_ids;
}

static const Piece *piece(const Tokenizer *tok, int32_t id)
{
    static const Piece none = {{"", 0}, {"", 0}, 0, PIECE_UNUSED};
    return id >= 0 && id < tok->n_ids ? &tok->pieces[id] : &none;
}

Str tokenizer_piece(const Tokenizer *tok, int32_t id)
{
    return piece(tok, id)->print;
}

Str tokenizer_text(const Tokenizer *tok, int32_t id)
{
    return piece(tok, id)->text;
}

PieceKind tokenizer_kind(const Tokenizer *tok, int32_t id)
{
    return (PieceKind)piece(tok, id)->kind;
}

int32_t tokenizer_find(const Tokenizer *tok, Str text)
{
    return vocab_find(tok, text);
}

bool tokenizer_is_eog(const Tokenizer *tok, int32_t id)
{
    for (int32_t i = 0; i < tok->n_eog; i++)
        if (tok->eog[i] == id) return true;
    return false;
}

int32_t tokenizer_bos(const Tokenizer *tok)
{
    return tok->bos;
}

int32_t tokenizer_eos(const Tokenizer *tok)
{
    return tok->eos;
}

bool tokenizer_adds_bos(const Tokenizer *tok)
{
    return tok->prefix.n > 0 && tok->prefix.ids[0] == tok->bos;
}
