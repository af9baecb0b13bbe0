// runtime/token/from_hf.c - a tokenizer from tokenizer.json and tokenizer_config.json.
//
//   {"added_tokens": [...], "normalizer": ..., "pre_tokenizer": ..., "post_processor": ...,
//   "decoder": ...,
//    "model": {"type": "BPE", "vocab": {"piece": id}, "merges": ["left right" or ["left",
//    "right"]]}}
//
// Each stage is read by a table of the types kiln has; a type that is not in its table is refused
// by name, because a tokenizer that is nearly right gives wrong ids without anyone noticing.
#include <stdlib.h>

#include "base/file.h"
#include "runtime/format/guard.h"
#include "runtime/format/json.h"
#include "runtime/token/vocab.h"

enum { SEQUENCE_DEPTH_MAX = 4 };

typedef struct Load {
    Tokenizer *tok;
    const HfTokenizerFiles *files;
    JsonDoc doc, config; ///< closed by the caller of load()
    const char *path;
    int32_t depth;      ///< of nested sequences
    bool words_are_cut; ///< a ByteLevel step was seen: nothing may follow
    bool decodes_bytes, has_decoder;
} Load;

static KilnStatus unsupported(const Load *l, Diag *diag, const char *what, Str found)
{
    return fail(diag, KILN_ERR_UNSUPPORTED, "K220", "%s: %s \"%.*s\" is not supported", l->path,
                what, (int)MIN(found.len, (size_t)120), found.data ? found.data : "");
}

static Str copied(Load *l, Str s)
{
    return (Str){arena_strndup(&l->tok->arena, s.data, s.len), s.len};
}

// ---- stages ------------------------------------------------------------------------------------

typedef KilnStatus StageFn(Load *l, const JsonValue *v, Diag *diag);

typedef struct Stage {
    const char *type;
    StageFn *read; ///< NULL: known, does nothing
} Stage;

static KilnStatus read_stage(Load *l, const char *what, const Stage *table, int32_t n,
                             const JsonValue *v, Diag *diag)
{
    if (jval_kind(v) != JKIND_OBJECT)
        return fail_in(diag, "K221", l->path, "%s must be an object or null", what);
    Str type = jval_text(jval_get(v, "type"));
    for (int32_t i = 0; i < n; i++)
        if (str_is(type, table[i].type)) return table[i].read ? table[i].read(l, v, diag) : KILN_OK;
    return unsupported(l, diag, what, type);
}

static KilnStatus read_sequence(Load *l, const JsonValue *list, StageFn *each, Diag *diag)
{
    if (jval_kind(list) != JKIND_ARRAY)
        return fail_in(diag, "K221", l->path, "a Sequence without its list");
    if (++l->depth > SEQUENCE_DEPTH_MAX)
        return fail_in(diag, "K221", l->path, "Sequences nested deeper than %d",
                       SEQUENCE_DEPTH_MAX);
    for (int32_t i = 0; i < jval_len(list); i++) {
        KilnStatus st = each(l, jval_at(list, i), diag);
        if (st != KILN_OK) return st;
    }
    l->depth--;
    return KILN_OK;
}

// ---- normaliser --------------------------------------------------------------------------------

static KilnStatus push_normal(Load *l, NormalStep step, Diag *diag)
{
    Normalizer *n = &l->tok->normalizer;
    if (n->n_steps == NORMAL_STEPS_MAX)
        return fail_in(diag, "K221", l->path, "more than %d normaliser steps", NORMAL_STEPS_MAX);
    if (step.from.len > NORMAL_AFFIX_MAX || step.to.len > NORMAL_AFFIX_MAX)
        return fail_in(diag, "K221", l->path, "a normaliser text above %d bytes", NORMAL_AFFIX_MAX);
    n->steps[n->n_steps++] = step;
    return KILN_OK;
}

static KilnStatus normal_prepend(Load *l, const JsonValue *v, Diag *diag)
{
    Str text = jval_text(jval_get(v, "prepend"));
    if (!text.data) return fail_in(diag, "K221", l->path, "Prepend without its text");
    return push_normal(l, (NormalStep){NORMAL_PREPEND, {0}, copied(l, text)}, diag);
}

static KilnStatus normal_replace_step(Load *l, const JsonValue *v, Diag *diag)
{
    const JsonValue *pattern = jval_get(v, "pattern");
    Str from = jval_text(jval_get(pattern, "String")), to = jval_text(jval_get(v, "content"));
    if (jval_get(pattern, "Regex"))
        return unsupported(l, diag, "normaliser pattern", jval_text(jval_get(pattern, "Regex")));
    if (!from.len || !to.data)
        return fail_in(diag, "K221", l->path, "Replace without pattern.String and content");
    return push_normal(l, (NormalStep){NORMAL_REPLACE, copied(l, from), copied(l, to)}, diag);
}

static KilnStatus normal_form_step(Load *l, const JsonValue *v, Diag *diag)
{
    static const struct {
        const char *type;
        NormalKind kind;
    } forms[] = {
        {"NFC", NORMAL_NFC}, {"NFD", NORMAL_NFD}, {"NFKC", NORMAL_NFKC}, {"NFKD", NORMAL_NFKD}};
    NormalStep step = {.kind = NORMAL_NFC};
    for (int32_t i = 0; i < COUNT_OF(forms); i++)
        if (jval_is(jval_get(v, "type"), forms[i].type)) step.kind = forms[i].kind;
    return push_normal(l, step, diag);
}

static KilnStatus read_normalizer(Load *l, const JsonValue *v, Diag *diag);

static KilnStatus normal_sequence(Load *l, const JsonValue *v, Diag *diag)
{
    return read_sequence(l, jval_get(v, "normalizers"), read_normalizer, diag);
}

static const Stage normalizers[] = {
    {"Sequence", normal_sequence}, {"Prepend", normal_prepend}, {"Replace", normal_replace_step},
    {"NFC", normal_form_step},     {"NFD", normal_form_step},   {"NFKC", normal_form_step},
    {"NFKD", normal_form_step},
};

static KilnStatus read_normalizer(Load *l, const JsonValue *v, Diag *diag)
{
    return read_stage(l, "normalizer", normalizers, COUNT_OF(normalizers), v, diag);
}

// ---- pre-tokeniser
// ---------------------------------------------------------------------------------

static KilnStatus push_pre(Load *l, PreStep step, Diag *diag)
{
    if (l->words_are_cut)
        return fail_in(diag, "K221", l->path, "a pre_tokenizer step after ByteLevel");
    if (l->tok->n_pre == PRE_STEPS_MAX)
        return fail_in(diag, "K221", l->path, "more than %d pre_tokenizer steps", PRE_STEPS_MAX);
    l->tok->pre[l->tok->n_pre++] = step;
    return KILN_OK;
}

static KilnStatus push_split(Load *l, SplitPattern pattern, Diag *diag)
{
    KilnStatus st = push_pre(l, (PreStep){.kind = PRE_SPLIT}, diag);
    if (st != KILN_OK) return st;
    return splitter_open(pattern, l->tok->heap, &l->tok->pre[l->tok->n_pre - 1].splitter, diag);
}

static KilnStatus pre_split(Load *l, const JsonValue *v, Diag *diag)
{
    KilnStatus st = KILN_OK;
    bool invert = false;
    SplitPattern pattern;
    Str regex = jval_text(jval_get(jval_get(v, "pattern"), "Regex")), behavior = STR("Isolated");
    TRY(jval_str(&l->doc, v, "behavior", &behavior, diag));
    TRY(jval_bool(&l->doc, v, "invert", &invert, diag));
    if (!regex.data || !split_by_regex(regex, &pattern))
        return unsupported(l, diag, "pre_tokenizer pattern", regex);
    if (!str_is(behavior, "Isolated") || invert)
        return unsupported(l, diag, "Split behavior", behavior);
    TRY(push_split(l, pattern, diag));
done:
    return st;
}

static KilnStatus pre_digits(Load *l, const JsonValue *v, Diag *diag)
{
    bool each = false;
    KilnStatus st = jval_bool(&l->doc, v, "individual_digits", &each, diag);
    return st == KILN_OK ? push_split(l, each ? SPLIT_DIGIT : SPLIT_DIGITS, diag) : st;
}

static KilnStatus pre_byte_level(Load *l, const JsonValue *v, Diag *diag)
{
    KilnStatus st = KILN_OK;
    bool blank = true, regex = true;
    TRY(jval_bool(&l->doc, v, "add_prefix_space", &blank, diag));
    TRY(jval_bool(&l->doc, v, "use_regex", &regex, diag));
    if (blank) TRY(push_pre(l, (PreStep){.kind = PRE_BLANK}, diag));
    if (regex) TRY(push_split(l, SPLIT_GPT2, diag));
    if (l->words_are_cut) return fail_in(diag, "K221", l->path, "two ByteLevel steps");
    l->words_are_cut = l->tok->byte_level = true;
done:
    return st;
}

/// prepend_scheme, or the older add_prefix_space.
static KilnStatus read_scheme(Load *l, const JsonValue *v, int32_t *out, Diag *diag)
{
    KilnStatus st = KILN_OK;
    Str scheme = STR("always"), replacement = STR("\xE2\x96\x81");
    bool blank = true;
    TRY(jval_bool(&l->doc, v, "add_prefix_space", &blank, diag));
    if (!blank) scheme = STR("never");
    TRY(jval_str(&l->doc, v, "prepend_scheme", &scheme, diag));
    TRY(jval_str(&l->doc, v, "replacement", &replacement, diag));
    if (!str_is(replacement, "\xE2\x96\x81"))
        return unsupported(l, diag, "Metaspace replacement", replacement);
    if (str_is(scheme, "first"))
        *out = SCHEME_FIRST;
    else if (str_is(scheme, "always"))
        *out = SCHEME_ALWAYS;
    else if (str_is(scheme, "never"))
        *out = SCHEME_NEVER;
    else
        return unsupported(l, diag, "Metaspace prepend_scheme", scheme);
done:
    return st;
}

static KilnStatus pre_metaspace(Load *l, const JsonValue *v, Diag *diag)
{
    KilnStatus st = KILN_OK;
    PreStep step = {.kind = PRE_METASPACE, .cut = true};
    int32_t scheme = SCHEME_ALWAYS;
    TRY(jval_bool(&l->doc, v, "split", &step.cut, diag));
    TRY(read_scheme(l, v, &scheme, diag));
    step.scheme = scheme;
    TRY(push_pre(l, step, diag));
done:
    return st;
}

static KilnStatus read_pre_tokenizer(Load *l, const JsonValue *v, Diag *diag);

static KilnStatus pre_sequence(Load *l, const JsonValue *v, Diag *diag)
{
    return read_sequence(l, jval_get(v, "pretokenizers"), read_pre_tokenizer, diag);
}

static const Stage pre_tokenizers[] = {
    {"Sequence", pre_sequence},    {"Split", pre_split},         {"Digits", pre_digits},
    {"ByteLevel", pre_byte_level}, {"Metaspace", pre_metaspace},
};

static KilnStatus read_pre_tokenizer(Load *l, const JsonValue *v, Diag *diag)
{
    return read_stage(l, "pre_tokenizer", pre_tokenizers, COUNT_OF(pre_tokenizers), v, diag);
}

// ---- post-processor
// --------------------------------------------------------------------------------

static KilnStatus push_affix(Load *l, Affix *affix, const JsonValue *special, Str name, Diag *diag)
{
    const JsonValue *ids = jval_get(special, "ids");
    if (jval_kind(ids) != JKIND_ARRAY)
        return fail_in(diag, "K221", l->path, "post_processor token \"%.*s\" has no ids",
                       STR_ARG(name));
    for (int32_t i = 0; i < jval_len(ids); i++) {
        int64_t id;
        if (!jval_as_int(jval_at(ids, i), &id) || id < 0 || id >= l->tok->n_ids)
            return fail_in(diag, "K221", l->path,
                           "post_processor token \"%.*s\" has an id outside the vocabulary",
                           STR_ARG(name));
        if (affix->n == AFFIX_MAX)
            return fail_in(diag, "K221", l->path, "more than %d special tokens around a text",
                           AFFIX_MAX);
        affix->ids[affix->n++] = (int32_t)id;
    }
    return KILN_OK;
}

/// "single": special tokens before and after {"Sequence": {"id": "A"}}.
static KilnStatus post_template(Load *l, const JsonValue *v, Diag *diag)
{
    const JsonValue *single = jval_get(v, "single");
    bool after = false;
    if (jval_kind(single) != JKIND_ARRAY)
        return fail_in(diag, "K221", l->path, "TemplateProcessing without single");
    for (int32_t i = 0; i < jval_len(single); i++) {
        const JsonValue *item = jval_at(single, i);
        if (jval_get(item, "Sequence")) {
            if (after)
                return fail_in(diag, "K221", l->path,
                               "TemplateProcessing.single names the text twice");
            after = true;
            continue;
        }
        Str name = jval_text(jval_get(jval_get(item, "SpecialToken"), "id"));
        if (!name.data || name.len > 200)
            return fail_in(diag, "K221", l->path,
                           "TemplateProcessing.single[%d] is neither text nor token", i);
        KilnStatus st = push_affix(l, after ? &l->tok->suffix : &l->tok->prefix,
                                   jval_find(jval_get(v, "special_tokens"), name), name, diag);
        if (st != KILN_OK) return st;
    }
    return after
               ? KILN_OK
               : fail_in(diag, "K221", l->path, "TemplateProcessing.single does not name the text");
}

static KilnStatus read_post_processor(Load *l, const JsonValue *v, Diag *diag);

static KilnStatus post_sequence(Load *l, const JsonValue *v, Diag *diag)
{
    return read_sequence(l, jval_get(v, "processors"), read_post_processor, diag);
}

static const Stage post_processors[] = {
    {"Sequence", post_sequence},
    {"TemplateProcessing", post_template},
    {"ByteLevel", NULL},
};

static KilnStatus read_post_processor(Load *l, const JsonValue *v, Diag *diag)
{
    return read_stage(l, "post_processor", post_processors, COUNT_OF(post_processors), v, diag);
}

// ---- decoder -----------------------------------------------------------------------------------

static KilnStatus decode_replace(Load *l, const JsonValue *v, Diag *diag)
{
    const JsonValue *from = jval_get(jval_get(v, "pattern"), "String");
    if (!jval_is(from, "\xE2\x96\x81") || !jval_is(jval_get(v, "content"), " "))
        return unsupported(l, diag, "decoder Replace of", jval_text(from));
    l->tok->metaspace = true;
    return KILN_OK;
}

static KilnStatus decode_strip(Load *l, const JsonValue *v, Diag *diag)
{
    KilnStatus st = KILN_OK;
    int64_t start = 0, stop = 0;
    TRY(jval_int(&l->doc, v, "start", 0, 1, &start, diag));
    TRY(jval_int(&l->doc, v, "stop", 0, 0, &stop, diag));
    if (!jval_is(jval_get(v, "content"), " "))
        return unsupported(l, diag, "decoder Strip of", jval_text(jval_get(v, "content")));
    l->tok->drop_blank = start == 1;
done:
    return st;
}

static KilnStatus decode_byte_level(Load *l, const JsonValue *v, Diag *diag)
{
    (void)v;
    (void)diag;
    l->decodes_bytes = true;
    return KILN_OK;
}

static KilnStatus decode_metaspace(Load *l, const JsonValue *v, Diag *diag)
{
    int32_t scheme = SCHEME_ALWAYS;
    KilnStatus st = read_scheme(l, v, &scheme, diag);
    l->tok->metaspace = true;
    l->tok->drop_blank = scheme != SCHEME_NEVER;
    return st;
}

static KilnStatus read_decoder(Load *l, const JsonValue *v, Diag *diag);

static KilnStatus decode_sequence(Load *l, const JsonValue *v, Diag *diag)
{
    return read_sequence(l, jval_get(v, "decoders"), read_decoder, diag);
}

static const Stage decoders[] = {
    {"Sequence", decode_sequence},
    {"ByteLevel", decode_byte_level},
    {"Metaspace", decode_metaspace},
    {"Replace", decode_replace},
    {"Strip", decode_strip},
    {"ByteFallback", NULL},
    {"Fuse", NULL},
};

static KilnStatus read_decoder(Load *l, const JsonValue *v, Diag *diag)
{
    return read_stage(l, "decoder", decoders, COUNT_OF(decoders), v, diag);
}

static KilnStatus read_stages(Load *l, Diag *diag)
{
    static const struct {
        const char *key;
        StageFn *read;
    } stages[] = {{"normalizer", read_normalizer},
                  {"pre_tokenizer", read_pre_tokenizer},
                  {"post_processor", read_post_processor},
                  {"decoder", read_decoder}};
    for (int32_t i = 0; i < COUNT_OF(stages); i++) {
        const JsonValue *v = jval_get(l->doc.root, stages[i].key);
        l->depth = 0;
        KilnStatus st = v ? stages[i].read(l, v, diag) : KILN_OK;
        if (st != KILN_OK) return st;
    }
    if (l->decodes_bytes != l->tok->byte_level)
        return fail_in(diag, "K221", l->path, "pre_tokenizer and decoder disagree about ByteLevel");
    if (!jval_get(l->doc.root, "decoder")) return unsupported(l, diag, "decoder", STR("null"));
    return KILN_OK;
}

// ---- vocabulary --------------------------------------------------------------------------------

static KilnStatus check_id(Load *l, const JsonValue *v, Str text, int32_t *out, Diag *diag)
{
    int64_t id;
    if (!jval_as_int(v, &id) || id < 0 || id >= TOKENIZER_VOCAB_MAX)
        return fail_in(diag, "K221", l->path, "piece \"%.*s\" has no id from 0 to %d",
                       (int)MIN(text.len, (size_t)40), text.data, TOKENIZER_VOCAB_MAX - 1);
    *out = (int32_t)id;
    return KILN_OK;
}

/// One more than the largest id; more than a few holes are not believed, since memory goes by it.
static KilnStatus count_ids(Load *l, const JsonValue *vocab, const JsonValue *added, int32_t *n_ids,
                            Diag *diag)
{
    KilnStatus st = KILN_OK;
    JsonIter it = {0};
    int32_t id = 0, last = -1;
    while (jval_next(vocab, &it)) {
        TRY(check_id(l, it.value, it.key, &id, diag));
        last = MAX(last, id);
    }
    for (int32_t i = 0; i < jval_len(added); i++) {
        const JsonValue *v = jval_at(added, i);
        TRY(check_id(l, jval_get(v, "id"), jval_text(jval_get(v, "content")), &id, diag));
        last = MAX(last, id);
    }
    int64_t n = (int64_t)jval_len(vocab) + jval_len(added);
    if (last + 1 > 4 * n + 65536)
        return fail_in(diag, "K221", l->path, "ids up to %d for only %lld pieces", last,
                       (long long)n);
    if (last < 0) return fail_in(diag, "K221", l->path, "the vocabulary is empty");
    *n_ids = last + 1;
done:
    return st;
}

static KilnStatus put_piece(Load *l, int32_t id, Str text, PieceKind kind, Diag *diag)
{
    Piece *p = &l->tok->pieces[id];
    if (!text.len || text.len > TOKENIZER_PIECE_MAX)
        return fail_in(diag, "K221", l->path, "piece %d has %zu bytes, expected 1 to %d", id,
                       text.len, TOKENIZER_PIECE_MAX);
    if (p->kind != PIECE_UNUSED && !str_eq(p->text, text))
        return fail_in(diag, "K221", l->path, "id %d is used for \"%.*s\" and for \"%.*s\"", id,
                       (int)MIN(p->text.len, (size_t)40), p->text.data,
                       (int)MIN(text.len, (size_t)40), text.data);
    if (p->kind == PIECE_UNUSED) p->text = copied(l, text);
    p->kind = (uint8_t)kind;
    return KILN_OK;
}

static KilnStatus read_vocab(Load *l, const JsonValue *vocab, Diag *diag)
{
    JsonIter it = {0};
    while (jval_next(vocab, &it)) {
        int64_t id = 0;
        (void)jval_as_int(it.value, &id);
        bool byte = l->tok->byte_fallback && byte_of_piece(it.key) >= 0;
        KilnStatus st = put_piece(l, (int32_t)id, it.key, byte ? PIECE_BYTE : PIECE_NORMAL, diag);
        if (st != KILN_OK) return st;
    }
    return KILN_OK;
}

static KilnStatus read_added(Load *l, const JsonValue *added, Diag *diag)
{
    KilnStatus st = KILN_OK;
    Arena *a = &l->tok->arena;
    for (int32_t i = 0; i < jval_len(added); i++) {
        const JsonValue *v = jval_at(added, i);
        AddedToken t = {.content = jval_text(jval_get(v, "content"))};
        int64_t id = 0;
        (void)jval_as_int(jval_get(v, "id"), &id);
        t.id = (int32_t)id;
        if (t.content.len > TOKENIZER_ADDED_MAX)
            return fail_in(diag, "K221", l->path,
                           "added token %d has %zu bytes, expected at most %d", t.id, t.content.len,
                           TOKENIZER_ADDED_MAX);
        TRY(jval_bool(&l->doc, v, "special", &t.special, diag));
        bool normalized = !t.special;
        TRY(jval_bool(&l->doc, v, "normalized", &normalized, diag));
        TRY(jval_bool(&l->doc, v, "lstrip", &t.lstrip, diag));
        TRY(jval_bool(&l->doc, v, "rstrip", &t.rstrip, diag));
        TRY(jval_bool(&l->doc, v, "single_word", &t.single_word, diag));
        TRY(put_piece(l, t.id, t.content, t.special ? PIECE_CONTROL : PIECE_USER, diag));
        t.content = l->tok->pieces[t.id].text;
        if (normalized) TRY(normal_run(&l->tok->normalizer, t.content, a, &t.content, diag));
        if (t.content.len)
            added_push(a, normalized ? &l->tok->added_normal : &l->tok->added_raw, t);
    }
    added_build(a, &l->tok->added_raw);
    added_build(a, &l->tok->added_normal);
done:
    return st;
}

static KilnStatus read_merges(Load *l, const JsonValue *merges, Diag *diag)
{
    int32_t n = jval_len(merges);
    if (jval_kind(merges) != JKIND_ARRAY)
        return fail_in(diag, "K221", l->path, "model.merges is missing or no array");
    if (n > TOKENIZER_MERGES_MAX)
        return fail_in(diag, "K221", l->path, "%d merges, expected at most %d", n,
                       TOKENIZER_MERGES_MAX);
    merge_table_init(&l->tok->arena, &l->tok->merges, n);
    for (int32_t rank = 0; rank < n; rank++) {
        const JsonValue *v = jval_at(merges, rank);
        Str text = jval_text(v), left = jval_text(jval_at(v, 0)), right = jval_text(jval_at(v, 1));
        if (text.data) {
            const char *blank = memchr(text.data, ' ', text.len);
            if (!blank || memchr(blank + 1, ' ', text.len - (size_t)(blank + 1 - text.data)))
                return fail_in(diag, "K221", l->path, "merge %d does not split into two pieces",
                               rank);
            left = (Str){text.data, (size_t)(blank - text.data)};
            right = (Str){blank + 1, text.len - left.len - 1};
        } else if (jval_kind(v) != JKIND_ARRAY || jval_len(v) != 2) {
            return fail_in(diag, "K221", l->path, "merge %d is neither a text nor a pair", rank);
        }
        KilnStatus st = vocab_add_merge(l->tok, left, right, rank, l->path, diag);
        if (st != KILN_OK) return st;
    }
    return KILN_OK;
}

/// Everything in "model" but its two big tables.
static KilnStatus read_model(Load *l, const JsonValue *model, Str *unk, Diag *diag)
{
    KilnStatus st = KILN_OK;
    Tokenizer *tok = l->tok;
    Str type = STR("BPE"), prefix = {0}, suffix = {0};
    double dropout = 0;
    if (jval_kind(model) != JKIND_OBJECT)
        return fail_in(diag, "K221", l->path, "model is missing or no object");
    TRY(jval_str(&l->doc, model, "type", &type, diag));
    if (!str_is(type, "BPE")) return unsupported(l, diag, "the tokenizer model", type);
    TRY(jval_real(&l->doc, model, "dropout", 0, 0, &dropout, diag));
    TRY(jval_str(&l->doc, model, "continuing_subword_prefix", &prefix, diag));
    TRY(jval_str(&l->doc, model, "end_of_word_suffix", &suffix, diag));
    if (prefix.len || suffix.len)
        return unsupported(l, diag, prefix.len ? "continuing_subword_prefix" : "end_of_word_suffix",
                           prefix.len ? prefix : suffix);
    TRY(jval_str(&l->doc, model, "unk_token", unk, diag));
    TRY(jval_bool(&l->doc, model, "byte_fallback", &tok->byte_fallback, diag));
    TRY(jval_bool(&l->doc, model, "fuse_unk", &tok->fuse_unk, diag));
    TRY(jval_bool(&l->doc, model, "ignore_merges", &tok->ignore_merges, diag));
    if (jval_kind(jval_get(model, "vocab")) != JKIND_OBJECT)
        return fail_in(diag, "K221", l->path, "model.vocab is missing or no object");
done:
    return st;
}

// ---- tokenizer_config.json ---------------------------------------------------------------------

/// "bos_token": a text, or an object with content. @return -1 when it names no piece
static int32_t named_token(const Load *l, const char *key)
{
    const JsonValue *v = jval_get(l->config.root, key);
    Str text = jval_text(jval_kind(v) == JKIND_OBJECT ? jval_get(v, "content") : v);
    return text.len ? vocab_find(l->tok, text) : -1;
}

static KilnStatus read_config(Load *l, Diag *diag)
{
    KilnStatus st = KILN_OK;
    Tokenizer *tok = l->tok;
    const JsonValue *root = l->config.root;
    bool add;
    tok->bos = l->files->bos < tok->n_ids ? l->files->bos : -1;
    if (l->files->n_eos > 0 && l->files->eos[0] < tok->n_ids) tok->eos = l->files->eos[0];
    if (jval_kind(root) == JKIND_OBJECT) {
        if (jval_get(root, "bos_token")) tok->bos = named_token(l, "bos_token");
        if (jval_get(root, "eos_token")) tok->eos = named_token(l, "eos_token");
        add = tok->prefix.n > 0;
        TRY(jval_bool(&l->config, root, "add_bos_token", &add, diag));
        if (jval_get(root, "add_bos_token"))
            tok->prefix = add && tok->bos >= 0 ? (Affix){{tok->bos}, 1} : (Affix){0};
        add = tok->suffix.n > 0;
        TRY(jval_bool(&l->config, root, "add_eos_token", &add, diag));
        if (jval_get(root, "add_eos_token"))
            tok->suffix = add && tok->eos >= 0 ? (Affix){{tok->eos}, 1} : (Affix){0};
    }
    for (int32_t i = 0; i < l->files->n_eos; i++)
        vocab_add_eog(tok, l->files->eos[i]);
    if (!tok->n_eog) vocab_add_eog(tok, tok->eos);
done:
    return st;
}

// ---- life cycle --------------------------------------------------------------------------------

static KilnStatus load(void *cx, Diag *diag)
{
    KilnStatus st = KILN_OK;
    Load *l = cx;
    Tokenizer *tok = l->tok;
    Str unk = {0};
    int32_t n_ids = 0;
    TRY(jsondoc_read(l->files->tokenizer, l->path, JSON_STRICT, tok->heap, &l->doc, diag));
    if (l->files->config.data)
        TRY(jsondoc_read(l->files->config, l->files->config_path, JSON_PYTHON, tok->heap,
                         &l->config, diag));
    const JsonValue *model = jval_get(l->doc.root, "model"),
                    *added = jval_get(l->doc.root, "added_tokens");
    TRY(read_model(l, model, &unk, diag));
    if (added && jval_kind(added) != JKIND_ARRAY)
        return fail_in(diag, "K221", l->path, "added_tokens is no array");
    TRY(count_ids(l, jval_get(model, "vocab"), added, &n_ids, diag));
    vocab_reserve(tok, n_ids);
    TRY(read_stages(l, diag));
    TRY(read_vocab(l, jval_get(model, "vocab"), diag));
    TRY(read_added(l, added, diag));
    for (int32_t id = 0; id < n_ids && unk.len; id++)
        if (str_eq(tok->pieces[id].text, unk)) tok->pieces[tok->unk = id].kind = PIECE_UNKNOWN;
    if (unk.len && tok->unk < 0)
        return fail_in(diag, "K221", l->path, "unk_token is not in the vocabulary");
    TRY(vocab_finish(tok, l->path, diag));
    TRY(read_merges(l, jval_get(model, "merges"), diag));
    TRY(read_config(l, diag));
done:
    return st;
}

KilnStatus tokenizer_from_hf(const HfTokenizerFiles *files, Heap *heap, Tokenizer **out, Diag *diag)
{
    *out = NULL;
    Tokenizer *tok = vocab_new(heap);
    if (!tok)
        return fail(diag, KILN_ERR_NOMEM, "K102", "%s: no memory for the tokenizer", files->path);
    Load l = {.tok = tok, .files = files, .path = files->path};
    KilnStatus st = guard_run(&tok->arena, load, &l, l.path, diag);
    jsondoc_close(&l.config);
    jsondoc_close(&l.doc);
    if (st == KILN_OK)
        *out = tok;
    else
        tokenizer_close(tok);
    return st;
}

KilnStatus tokenizer_from_dir(const char *dir, const ModelConfig *config, Heap *heap,
                              Tokenizer **out, Diag *diag)
{
    KilnStatus st = KILN_OK;
    StrBuf path = {0}, config_path = {0};
    File tokenizer = {0}, settings = {0};
    *out = NULL;
    strbuf_printf(&path, "%s/tokenizer.json", dir);
    strbuf_printf(&config_path, "%s/tokenizer_config.json", dir);
    if (path.failed || config_path.failed)
        TRY(fail(diag, KILN_ERR_NOMEM, "K102", "%s: no memory for a path", dir));
    if (!file_exists(path.data))
        TRY(fail_hint(diag, KILN_ERR_INPUT, "K204",
                      "tokenizer.model alone is not enough; save the fast tokenizer with the model",
                      "%s: tokenizer.json is missing from this directory", dir));
    TRY(file_map(path.data, &tokenizer, diag));
    if (file_exists(config_path.data)) TRY(file_map(config_path.data, &settings, diag));
    HfTokenizerFiles files = {.tokenizer = {(const char *)tokenizer.bytes, tokenizer.size},
                              .config = {(const char *)settings.bytes, settings.size},
                              .path = path.data,
                              .config_path = config_path.data,
                              .bos = config ? config->bos : -1,
                              .eos = config ? config->eos : NULL,
                              .n_eos = config ? config->n_eos : 0};
    TRY(tokenizer_from_hf(&files, heap, out, diag));
done:
    file_unmap(&settings);
    file_unmap(&tokenizer);
    strbuf_free(&config_path);
    strbuf_free(&path);
    return st;
}
