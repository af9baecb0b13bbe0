// runtime/token/tokenizer.c - the way of a text: cut at added tokens, normalise, cut into words,
// encode each.
#include "runtime/token/tokenizer.h"

#include <stdio.h>

#include "runtime/format/guard.h"
#include "runtime/token/vocab.h"

typedef struct Encoding {
    const Tokenizer *tok;
    Str text;
    uint32_t flags;
    Arena scratch; ///< words, symbols
    Arena found;   ///< ids
    TokenIds ids;
    bool at_start;      ///< the next fragment begins the text
    bool after_special; ///< ... or follows an added token
} Encoding;

static void put_id(Encoding *e, int32_t id)
{
    vec_push(&e->found, &e->ids, id);
}

// ---- words -------------------------------------------------------------------------------------

static const Str metaspace = {"\xE2\x96\x81", 3};

static void metaspace_words(const PreStep *step, Str word, bool at_start, Arena *arena, Words *out)
{
    word = normal_replace(word, STR(" "), metaspace, arena);
    bool wanted = step->scheme == SCHEME_ALWAYS || (step->scheme == SCHEME_FIRST && at_start);
    if (wanted && word.len && !str_starts(word, metaspace.data))
        word = normal_join(metaspace, word, arena);
    if (!step->cut) {
        vec_push(arena, out, word);
        return;
    }
    size_t begin = 0;
    for (size_t i = 1; i + metaspace.len <= word.len; i++) {
        if (memcmp(word.data + i, metaspace.data, metaspace.len) != 0) continue;
        vec_push(arena, out, (Str){word.data + begin, i - begin});
        begin = i;
    }
    if (begin < word.len) vec_push(arena, out, (Str){word.data + begin, word.len - begin});
}

static KilnStatus pre_tokenize(Encoding *e, Str fragment, Words *words, Diag *diag)
{
    vec_push(&e->scratch, words, fragment);
    for (int32_t i = 0; i < e->tok->n_pre; i++) {
        const PreStep *step = &e->tok->pre[i];
        Words next = {0};
        for (int32_t k = 0; k < words->len; k++) {
            Str word = words->data[k];
            KilnStatus st = KILN_OK;
            switch (step->kind) {
            case PRE_SPLIT:
                st = splitter_run(step->splitter, word, &e->scratch, &next, diag);
                break;
            case PRE_METASPACE:
                metaspace_words(step, word, e->at_start && k == 0, &e->scratch, &next);
                break;
            case PRE_BLANK:
                if (word.len && word.data[0] != ' ')
                    word = normal_join(STR(" "), word, &e->scratch);
                vec_push(&e->scratch, &next, word);
                break;
            }
            if (st != KILN_OK) return st;
        }
        *words = next;
    }
    return KILN_OK;
}

static KilnStatus encode_fragment(Encoding *e, Str fragment, Diag *diag)
{
    const Tokenizer *tok = e->tok;
    if (!fragment.len) return KILN_OK;
    if (tok->by_score) {
        if (tok->space_prefix && (e->at_start || e->after_special))
            fragment = normal_join(STR(" "), fragment, &e->scratch);
        fragment = normal_replace(fragment, STR(" "), metaspace, &e->scratch);
        spm_encode_fragment(tok, fragment, &e->scratch, &e->found, &e->ids);
        return KILN_OK;
    }
    Words words = {0};
    KilnStatus st = pre_tokenize(e, fragment, &words, diag);
    for (int32_t i = 0; i < words.len && st == KILN_OK; i++)
        st = bpe_encode_word(tok, words.data[i], &e->scratch, &e->found, &e->ids, diag);
    return st;
}

// ---- fragments ---------------------------------------------------------------------------------

typedef KilnStatus FragmentFn(Encoding *e, Str fragment, Diag *diag);

/// Cuts `text` at the tokens of `set`; what lies between goes to `each`.
static KilnStatus cut(Encoding *e, const AddedSet *set, Str text, FragmentFn *each, Diag *diag)
{
    KilnStatus st = KILN_OK;
    AddedMatch m;
    size_t at = 0;
    while (added_next(set, text, at, e->flags & ENCODE_PARSE_SPECIAL, &m)) {
        TRY(each(e, (Str){text.data + at, m.begin - at}, diag));
        put_id(e, m.token->id);
        e->after_special = true;
        e->at_start = false;
        at = m.end;
    }
    TRY(each(e, (Str){text.data + at, text.len - at}, diag));
done:
    return st;
}

static KilnStatus final_fragment(Encoding *e, Str fragment, Diag *diag)
{
    KilnStatus st = encode_fragment(e, fragment, diag);
    if (fragment.len) e->at_start = e->after_special = false;
    return st;
}

static KilnStatus normal_fragment(Encoding *e, Str fragment, Diag *diag)
{
    Str text;
    KilnStatus st = normal_run(&e->tok->normalizer, fragment, &e->scratch, &text, diag);
    return st == KILN_OK ? cut(e, &e->tok->added_normal, text, final_fragment, diag) : st;
}

static KilnStatus encode_guarded(void *cx, Diag *diag)
{
    Encoding *e = cx;
    e->scratch.escape = e->found.escape; // either may run dry
    const Tokenizer *tok = e->tok;
    Str text = tok->by_score ? e->text : normal_valid(e->text, &e->scratch);
    if (e->flags & ENCODE_ADD_SPECIAL)
        for (int32_t i = 0; i < tok->prefix.n; i++)
            put_id(e, tok->prefix.ids[i]);
    KilnStatus st = cut(e, &tok->added_raw, text, normal_fragment, diag);
    if (e->flags & ENCODE_ADD_SPECIAL)
        for (int32_t i = 0; i < tok->suffix.n; i++)
            put_id(e, tok->suffix.ids[i]);
    return st;
}

KilnStatus tokenizer_encode(const Tokenizer *tok, Str text, uint32_t flags, Arena *arena,
                            TokenIds *out, Diag *diag)
{
    if (text.len > TOKENIZER_TEXT_MAX)
        return fail(diag, KILN_ERR_LIMIT, "K222", "a text of %zu bytes, expected at most %d",
                    text.len, TOKENIZER_TEXT_MAX);
    Encoding e = {.tok = tok, .text = text, .flags = flags, .at_start = true};
    arena_init(&e.scratch, tok->heap);
    arena_init(&e.found, tok->heap);
    KilnStatus st = guard_run(&e.found, encode_guarded, &e, "encoding a text", diag);
    if (st == KILN_OK)
        for (int32_t i = 0; i < e.ids.len; i++)
            vec_push(arena, out, e.ids.data[i]);
    arena_reset(&e.scratch);
    arena_reset(&e.found);
    return st;
}

// ---- opening -----------------------------------------------------------------------------------

KilnStatus tokenizer_open(const ModelFile *m, Heap *heap, Tokenizer **out, Diag *diag)
{
    const Gguf *g = model_file_gguf(m);
    const ModelConfig *config = model_file_config(m);
    KilnStatus st = g ? tokenizer_from_gguf(g, heap, out, diag)
                      : tokenizer_from_dir(model_file_path(m), config, heap, out, diag);
    if (st == KILN_OK && (*out)->n_ids > config->vocab) {
        st = fail(diag, KILN_ERR_INPUT, "K221",
                  "%s: the tokenizer has %d ids, the embedding only %d rows", model_file_path(m),
                  (*out)->n_ids, config->vocab);
        tokenizer_close(*out);
        *out = NULL;
    }
    return st;
}
