// runtime/token/from_gguf.c - a tokenizer from the metadata of a GGUF file.
//
//   tokenizer.ggml.model   "llama": by score     "gpt2": by rank, in the byte alphabet
//   .tokens .scores .token_type .merges .pre     the vocabulary
//   .bos_token_id .add_bos_token ...             what goes around a text
#include <math.h>
#include <stdlib.h>

#include "runtime/format/guard.h"
#include "runtime/token/vocab.h"

#define KEY(name) "tokenizer.ggml." name

typedef struct Load {
    Tokenizer *tok;
    const Gguf *g;
    const char *path;
    bool gpt2;
} Load;

static KilnStatus read_pieces(Load *l, Diag *diag)
{
    KilnStatus st = KILN_OK;
    const GgufValue *tokens, *types;
    TRY(gguf_array(l->g, KEY("tokens"), GGUF_STRING, &tokens, diag));
    TRY(gguf_array(l->g, KEY("token_type"), GGUF_I32, &types, diag));
    if (!tokens || !tokens->count)
        return fail_in(diag, "K221", l->path, KEY("tokens") " is missing or empty");
    if (tokens->count > TOKENIZER_VOCAB_MAX)
        return fail_in(diag, "K221", l->path, "%lld tokens, expected at most %d",
                       (long long)tokens->count, TOKENIZER_VOCAB_MAX);
    if (types && types->count != tokens->count)
        return fail_in(diag, "K221", l->path, KEY("token_type") " has %lld entries, expected %lld",
                       (long long)types->count, (long long)tokens->count);
    vocab_reserve(l->tok, (int32_t)tokens->count);
    size_t at = 0;
    Str text;
    for (int32_t id = 0; gguf_next_string(tokens, &at, &text); id++) {
        int64_t kind = PIECE_NORMAL;
        if (types &&
            (!gguf_value_int(types, id, &kind) || kind < PIECE_NORMAL || kind > PIECE_BYTE))
            return fail_in(diag, "K221", l->path,
                           KEY("token_type") "[%d] is out of range, expected 1 to 6", id);
        if (text.len > TOKENIZER_PIECE_MAX)
            return fail_in(diag, "K221", l->path, "token %d has %zu bytes, expected at most %d", id,
                           text.len, TOKENIZER_PIECE_MAX);
        if (kind == PIECE_BYTE && byte_of_piece(text) < 0)
            return fail_in(diag, "K221", l->path,
                           "token %d is a byte but not spelled <0x00> to <0xFF>", id);
        if (text.len == 0 && kind != PIECE_UNUSED)
            return fail_in(diag, "K221", l->path, "token %d is empty", id);
        Piece *p = &l->tok->pieces[id];
        p->text = (Str){arena_strndup(&l->tok->arena, text.data, text.len), text.len};
        p->kind = (uint8_t)kind;
    }
done:
    return st;
}

// ---- by score ----------------------------------------------------------------------------------

typedef struct Scored {
    float score;
    int32_t id;
} Scored;

static int best_first(const void *a, const void *b)
{
    const Scored *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/// Only the order of scores counts: equal ones share a rank.
static KilnStatus read_scores(Load *l, Diag *diag)
{
    KilnStatus st = KILN_OK;
    const GgufValue *scores;
    Tokenizer *tok = l->tok;
    TRY(gguf_array(l->g, KEY("scores"), GGUF_F32, &scores, diag));
    if (!scores) return fail_in(diag, "K221", l->path, KEY("scores") " is missing");
    if (scores->count != tok->n_ids)
        return fail_in(diag, "K221", l->path, KEY("scores") " has %lld entries, expected %d",
                       (long long)scores->count, tok->n_ids);
    ArenaMark mark = arena_mark(&tok->arena);
    Scored *order = arena_array(&tok->arena, Scored, tok->n_ids);
    for (int32_t id = 0; id < tok->n_ids; id++) {
        double score = 0;
        if (!gguf_value_real(scores, id, &score) || isnan(score))
            return fail_in(diag, "K221", l->path, KEY("scores") "[%d] is not a number", id);
        order[id] = (Scored){(float)score, id};
    }
    qsort(order, (size_t)tok->n_ids, sizeof *order, best_first);
    uint32_t rank = 0;
    for (int32_t i = 0; i < tok->n_ids; i++) {
        if (i && order[i].score != order[i - 1].score) rank++;
        tok->pieces[order[i].id].rank = rank;
    }
    arena_release(&tok->arena, mark);
done:
    return st;
}

// ---- by rank -----------------------------------------------------------------------------------

static KilnStatus read_merges(Load *l, Diag *diag)
{
    KilnStatus st = KILN_OK;
    const GgufValue *merges;
    TRY(gguf_array(l->g, KEY("merges"), GGUF_STRING, &merges, diag));
    if (!merges) return fail_in(diag, "K221", l->path, KEY("merges") " is missing");
    if (merges->count > TOKENIZER_MERGES_MAX)
        return fail_in(diag, "K221", l->path, "%lld merges, expected at most %d",
                       (long long)merges->count, TOKENIZER_MERGES_MAX);
    merge_table_init(&l->tok->arena, &l->tok->merges, (int32_t)merges->count);
    size_t at = 0;
    Str text;
    for (int32_t rank = 0; gguf_next_string(merges, &at, &text); rank++) {
        const char *blank = text.len > 1 ? memchr(text.data + 1, ' ', text.len - 1) : NULL;
        if (!blank)
            return fail_in(diag, "K221", l->path, "merge %d does not split into two pieces", rank);
        Str left = {text.data, (size_t)(blank - text.data)};
        Str right = {blank + 1, text.len - left.len - 1};
        TRY(vocab_add_merge(l->tok, left, right, rank, l->path, diag));
    }
done:
    return st;
}

static KilnStatus read_pattern(Load *l, Str pre, Diag *diag)
{
    Tokenizer *tok = l->tok;
    SplitPattern steps[SPLIT_STEPS_MAX];
    int32_t n = split_by_name(pre, steps);
    if (!pre.data)
        return fail(diag, KILN_ERR_UNSUPPORTED, "K220",
                    "%s: " KEY("pre") " is missing: how it cuts words is not known", l->path);
    if (!n)
        return fail_hint(
            diag, KILN_ERR_UNSUPPORTED, "K220",
            "supported: gpt-2, llama-bpe, llama3, llama-v3, qwen2, deepseek-r1-qwen, smollm",
            "%s: " KEY("pre") " \"%.*s\" is not supported", l->path, (int)MIN(pre.len, (size_t)60),
            pre.data);
    // Qwen's texts are in normal form C before they are cut.
    if (steps[0] == SPLIT_QWEN2)
        tok->normalizer = (Normalizer){.steps = {{.kind = NORMAL_NFC}}, .n_steps = 1};
    for (int32_t i = 0; i < n; i++) {
        tok->pre[tok->n_pre++] = (PreStep){.kind = PRE_SPLIT};
        KilnStatus st = splitter_open(steps[i], tok->heap, &tok->pre[i].splitter, diag);
        if (st != KILN_OK) return st;
    }
    return KILN_OK;
}

// ---- special tokens ----------------------------------------------------------------------------

static KilnStatus read_id(const Load *l, const char *key, int32_t fallback, int32_t *out,
                          Diag *diag)
{
    *out = fallback < l->tok->n_ids ? fallback : -1;
    return gguf_int32(l->g, key, 0, l->tok->n_ids - 1, out, diag);
}

static KilnStatus read_specials(Load *l, Str pre, Diag *diag)
{
    KilnStatus st = KILN_OK;
    Tokenizer *tok = l->tok;
    int32_t eot, eom;
    SplitPattern steps[SPLIT_STEPS_MAX];
    bool llama3 = l->gpt2 && split_by_name(pre, steps) && steps[0] == SPLIT_LLAMA3;
    bool add_bos = !l->gpt2 || llama3, add_eos = false, squeeze = false;
    tok->ignore_merges = llama3;
    tok->space_prefix = !l->gpt2;
    TRY(read_id(l, KEY("bos_token_id"), l->gpt2 ? -1 : 1, &tok->bos, diag));
    TRY(read_id(l, KEY("eos_token_id"), l->gpt2 ? -1 : 2, &tok->eos, diag));
    TRY(read_id(l, KEY("unknown_token_id"), l->gpt2 ? -1 : 0, &tok->unk, diag));
    TRY(read_id(l, KEY("eot_token_id"), -1, &eot, diag));
    TRY(read_id(l, KEY("eom_token_id"), -1, &eom, diag));
    TRY(gguf_bool(l->g, KEY("add_bos_token"), &add_bos, diag));
    TRY(gguf_bool(l->g, KEY("add_eos_token"), &add_eos, diag));
    if (!l->gpt2) TRY(gguf_bool(l->g, KEY("add_space_prefix"), &tok->space_prefix, diag));
    TRY(gguf_bool(l->g, KEY("remove_extra_whitespaces"), &squeeze, diag));
    if (squeeze && !l->gpt2)
        return fail(diag, KILN_ERR_UNSUPPORTED, "K220",
                    "%s: " KEY("remove_extra_whitespaces") " is not supported", l->path);
    tok->drop_blank = tok->space_prefix;
    if (add_bos && tok->bos >= 0) tok->prefix = (Affix){{tok->bos}, 1};
    if (add_eos && tok->eos >= 0) tok->suffix = (Affix){{tok->eos}, 1};
    vocab_add_eog(tok, tok->eos);
    vocab_add_eog(tok, eot);
    vocab_add_eog(tok, eom);
done:
    return st;
}

/// User-defined tokens are always cut out, control and unknown ones when special tokens are parsed.
/// The container lost the flag by which Phi-3's markers swallow the white space after them.
static KilnStatus add_tokens(Load *l, Diag *diag)
{
    Str arch = {0};
    KilnStatus st = gguf_str(l->g, "general.architecture", &arch, diag);
    if (st != KILN_OK) return st;
    Tokenizer *tok = l->tok;
    for (int32_t id = 0; id < tok->n_ids; id++) {
        const Piece *p = &tok->pieces[id];
        if (p->kind != PIECE_USER && p->kind != PIECE_CONTROL && p->kind != PIECE_UNKNOWN) continue;
        if (p->kind == PIECE_CONTROL && vocab_ends_turn(p->text)) vocab_add_eog(tok, id);
        if (p->text.len > TOKENIZER_ADDED_MAX)
            return fail_in(diag, "K221", l->path,
                           "special token %d has %zu bytes, expected at most %d", id, p->text.len,
                           TOKENIZER_ADDED_MAX);
        bool plain =
            str_is(p->text, "<unk>") || str_is(p->text, "<s>") || str_is(p->text, "<|endoftext|>");
        bool rstrip = str_is(arch, "phi3") && p->kind != PIECE_UNKNOWN && !plain;
        added_push(
            &tok->arena, &tok->added_raw,
            (AddedToken){
                .content = p->text, .id = id, .special = p->kind != PIECE_USER, .rstrip = rstrip});
    }
    added_build(&tok->arena, &tok->added_raw);
    return KILN_OK;
}

static KilnStatus load(void *cx, Diag *diag)
{
    KilnStatus st = KILN_OK;
    Load *l = cx;
    Tokenizer *tok = l->tok;
    Str model = {0}, pre = {0};
    TRY(gguf_str(l->g, KEY("model"), &model, diag));
    TRY(gguf_str(l->g, KEY("pre"), &pre, diag));
    if (!model.data)
        return fail_in(diag, "K221", l->path,
                       KEY("model") " is missing: the file has no tokenizer");
    l->gpt2 = str_is(model, "gpt2");
    if (!l->gpt2 && !str_is(model, "llama"))
        return fail_hint(diag, KILN_ERR_UNSUPPORTED, "K220", "supported: llama, gpt2",
                         "%s: the tokenizer \"%.*s\" is not supported", l->path,
                         (int)MIN(model.len, (size_t)60), model.data);
    tok->by_score = !l->gpt2;
    tok->byte_level = l->gpt2;
    tok->metaspace = !l->gpt2;
    TRY(read_pieces(l, diag));
    TRY(read_specials(l, pre, diag));
    if (!l->gpt2) TRY(read_scores(l, diag));
    TRY(vocab_finish(tok, l->path, diag));
    if (l->gpt2) TRY(read_merges(l, diag));
    if (l->gpt2) TRY(read_pattern(l, pre, diag));
    TRY(add_tokens(l, diag));
done:
    return st;
}

KilnStatus tokenizer_from_gguf(const Gguf *g, Heap *heap, Tokenizer **out, Diag *diag)
{
    *out = NULL;
    Tokenizer *tok = vocab_new(heap);
    if (!tok)
        return fail(diag, KILN_ERR_NOMEM, "K102", "%s: no memory for the tokenizer", gguf_path(g));
    Load l = {tok, g, gguf_path(g), false};
    KilnStatus st = guard_run(&tok->arena, load, &l, l.path, diag);
    if (st == KILN_OK)
        *out = tok;
    else
        tokenizer_close(tok);
    return st;
}
