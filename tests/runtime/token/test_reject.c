// tests/runtime/token/test_reject.c - vocabularies that do not fit together, each refused by a
// message that says why.
#include "runtime/token/tokenizer.h"

#include <criterion/criterion.h>

#include "tests/support/fixture.h"
#include "tests/support/toy_model.h"

TestSuite(token_reject, .init = fixture_up, .fini = fixture_down, .timeout = 60);

static KilnStatus open_json(Str text)
{
    Tokenizer *tok = NULL;
    HfTokenizerFiles files = {.tokenizer = text, .path = "tokenizer.json", .bos = -1};
    KilnStatus st = tokenizer_from_hf(&files, &heap, &tok, &diag);
    cr_expect_eq(st == KILN_OK, tok != NULL);
    tokenizer_close(tok);
    return st;
}

/// The toy tokenizer.json with the first `from` replaced by `to` must fail with a message that
/// holds `says`.
static void expect_refusal(void (*write)(StrBuf *), const char *from, const char *to,
                           KilnStatus want, const char *says)
{
    StrBuf text = {0}, changed = {0};
    write(&text);
    char *hit = strstr(text.data, from);
    cr_assert_not_null(hit, "the toy has no %s", from);
    strbuf_add(&changed, text.data, (size_t)(hit - text.data));
    strbuf_puts(&changed, to);
    strbuf_puts(&changed, hit + strlen(from));
    diag_reset(&diag);
    KilnStatus st = open_json((Str){changed.data, changed.len});
    cr_expect_eq(st, want, "%s -> %s gave status %d: %s", from, to, st, diag_first(&diag));
    cr_expect(strstr(diag_first(&diag), says) != NULL, "%s -> %s says: %s", from, to,
              diag_first(&diag));
    strbuf_free(&text);
    strbuf_free(&changed);
}

Test(token_reject, tokenizer_json_that_contradicts_itself)
{
    static const struct {
        const char *from, *to;
        KilnStatus st;
        const char *says;
    } cases[] = {
        {"\"BPE\"", "\"Unigram\"", KILN_ERR_UNSUPPORTED, "Unigram"},
        {"\"BPE\"", "\"WordPiece\"", KILN_ERR_UNSUPPORTED, "WordPiece"},
        {"\"dropout\": null", "\"dropout\": 0.1", KILN_ERR_INPUT, "dropout"},
        {"\"end_of_word_suffix\": null", "\"end_of_word_suffix\": \"</w>\"", KILN_ERR_UNSUPPORTED,
         "</w>"},
        {"\"continuing_subword_prefix\": null", "\"continuing_subword_prefix\": \"##\"",
         KILN_ERR_UNSUPPORTED, "##"},
        {"\"Prepend\"", "\"Lowercase\"", KILN_ERR_UNSUPPORTED, "Lowercase"},
        {"\"pre_tokenizer\": null", "\"pre_tokenizer\": {\"type\": \"Punctuation\"}",
         KILN_ERR_UNSUPPORTED, "Punctuation"},
        {"\"pre_tokenizer\": null",
         "\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"a+\"}}",
         KILN_ERR_UNSUPPORTED, "a+"},
        {"\"pre_tokenizer\": null", "\"pre_tokenizer\": {\"type\": \"ByteLevel\"}", KILN_ERR_INPUT,
         "disagree"},
        {"\"TemplateProcessing\"", "\"BertProcessing\"", KILN_ERR_UNSUPPORTED, "BertProcessing"},
        {"\"ids\": [1]", "\"ids\": [271]", KILN_ERR_INPUT, "outside the vocabulary"},
        {"{\"type\": \"Fuse\"}", "{\"type\": \"WordPiece\"}", KILN_ERR_UNSUPPORTED, "WordPiece"},
        {"\"the\": 267", "\"the\": -1", KILN_ERR_INPUT, "has no id"},
        {"\"the\": 267", "\"the\": 4194304", KILN_ERR_INPUT, "has no id"},
        {"\"the\": 267", "\"the\": 2.5", KILN_ERR_INPUT, "has no id"},
        {"\"the\": 267", "\"the\": true", KILN_ERR_INPUT, "has no id"},
        {"\"the\": 267", "\"the\": 4000000", KILN_ERR_INPUT, "for only"},
        {"\"the\": 267", "\"the\": 266", KILN_ERR_INPUT, "is used for"},
        {"\"the\": 267", "\"\": 267", KILN_ERR_INPUT, "0 bytes"},
        {"\"the\": 267", "\"th\": 267", KILN_ERR_INPUT, "duplicate"},
        {"\"t h\"", "\"th\"", KILN_ERR_INPUT, "does not split"},
        {"\"t h\"", "\"t h e\"", KILN_ERR_INPUT, "does not split"},
        {"\"t h\"", "\"t q\"", KILN_ERR_INPUT, "not in the vocabulary"},
        {"\"t h\"", "\"h e\"", KILN_ERR_INPUT, "not in the vocabulary"},
        {"\"t h\"", "\"t \"", KILN_ERR_INPUT, "not in the vocabulary"},
        {"\"t h\"", "[\"t\"]", KILN_ERR_INPUT, "neither a text nor a pair"},
        {"\"t h\"", "\"t h\", \"t h\"", KILN_ERR_INPUT, "occurs twice"},
        {"\"unk_token\": \"<unk>\"", "\"unk_token\": \"<none>\"", KILN_ERR_INPUT, "unk_token"},
        {"\"id\": 1, \"content\": \"<s>\"", "\"id\": 1, \"content\": \"</s>\"", KILN_ERR_INPUT,
         "is used for"},
        {"\"id\": 1, \"content\": \"<s>\"", "\"id\": 300, \"content\": \"<s>\"", KILN_ERR_INPUT,
         "occurs twice"},
    };
    for (int32_t i = 0; i < COUNT_OF(cases); i++)
        expect_refusal(toy_tokenizer_json, cases[i].from, cases[i].to, cases[i].st, cases[i].says);
    expect_refusal(toy_bytes_json, "\"!\": 33,", "", KILN_ERR_INPUT, "0x21");
    expect_refusal(toy_bytes_json, "\"decoder\": {\"type\": \"ByteLevel\"}", "\"decoder\": null",
                   KILN_ERR_INPUT, "disagree");
    expect_refusal(toy_bytes_json, "{\"type\": \"NFC\"}",
                   "{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Sequence\", "
                   "\"normalizers\": [{\"type\": \"Sequence\", \"normalizers\": "
                   "[{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Sequence\", "
                   "\"normalizers\": []}]}]}]}]}",
                   KILN_ERR_INPUT, "nested deeper");
}

static KilnStatus open_gguf(GgufWriter *w)
{
    StrBuf bytes = {0};
    Gguf *g = NULL;
    Tokenizer *tok = NULL;
    gw_finish(w, &bytes);
    cr_assert_eq(gguf_read((Str){bytes.data, bytes.len}, "toy.gguf", &heap, &g, &diag), KILN_OK,
                 "%s", diag_first(&diag));
    KilnStatus st = tokenizer_from_gguf(g, &heap, &tok, &diag);
    cr_expect_eq(st == KILN_OK, tok != NULL);
    tokenizer_close(tok);
    gguf_close(g);
    strbuf_free(&bytes);
    return st;
}

typedef struct ScoreCase {
    const char *model;
    int32_t n_scores, n_types, bos; ///< of 4 tokens; n_types 0: none
    const char *tokens[4];
    int32_t types[4];
    float scores[4];
    KilnStatus st;
    const char *says;
} ScoreCase;

// clang-format off
static const ScoreCase score_cases[] = {
    {"llama", 4, 4, 1, {"<unk>", "<s>", "a", "b"}, {2, 3, 1, 1}, {0}, KILN_OK, ""},
    {"llama", 4, 0, 1, {"<unk>", "<s>", "a", "b"}, {0}, {0}, KILN_OK, ""},
    {"bert", 4, 4, 1, {"<unk>", "<s>", "a", "b"}, {2, 3, 1, 1}, {0}, KILN_ERR_UNSUPPORTED, "bert"},
    {"llama", 3, 4, 1, {"<unk>", "<s>", "a", "b"}, {2, 3, 1, 1}, {0}, KILN_ERR_INPUT, "scores has 3"},
    {"llama", 4, 3, 1, {"<unk>", "<s>", "a", "b"}, {2, 3, 1, 1}, {0}, KILN_ERR_INPUT, "token_type has 3"},
    {"llama", 4, 4, 4, {"<unk>", "<s>", "a", "b"}, {2, 3, 1, 1}, {0}, KILN_ERR_INPUT, "bos_token_id"},
    {"llama", 4, 4, 1, {"<unk>", "<s>", "a", "a"}, {2, 3, 1, 1}, {0}, KILN_ERR_INPUT, "occurs twice"},
    {"llama", 4, 4, 1, {"<unk>", "<s>", "a", "a"}, {2, 3, 1, 5}, {0}, KILN_OK, ""},
    {"llama", 4, 4, 1, {"<unk>", "<s>", "a", ""}, {2, 3, 1, 1}, {0}, KILN_ERR_INPUT, "empty"},
    {"llama", 4, 4, 1, {"<unk>", "<s>", "a", "b"}, {2, 3, 1, 7}, {0}, KILN_ERR_INPUT, "out of range"},
    {"llama", 4, 4, 1, {"<unk>", "<s>", "a", "b"}, {2, 3, 1, 0}, {0}, KILN_ERR_INPUT, "out of range"},
    {"llama", 4, 4, 1, {"<unk>", "<s>", "a", "<0xff>"}, {2, 3, 1, 6}, {0}, KILN_ERR_INPUT, "not spelled"},
    {"llama", 4, 4, 1, {"<unk>", "<s>", "a", "b"}, {2, 3, 1, 1}, {0, 0, 0, __builtin_nanf("")}, KILN_ERR_INPUT, "not a number"},
    {"gpt2", 4, 4, 1, {"<unk>", "<s>", "a", "b"}, {2, 3, 1, 1}, {0}, KILN_ERR_INPUT, "byte 0x00"},
};
// clang-format on

Test(token_reject, gguf_vocabularies_that_contradict_themselves)
{
    for (int32_t i = 0; i < COUNT_OF(score_cases); i++) {
        const ScoreCase *c = &score_cases[i];
        GgufWriter w = {0};
        Str tokens[4];
        for (int32_t k = 0; k < 4; k++)
            tokens[k] = str_of(c->tokens[k]);
        gw_str(&w, "tokenizer.ggml.model", c->model);
        gw_strs(&w, "tokenizer.ggml.tokens", tokens, 4);
        gw_f32s(&w, "tokenizer.ggml.scores", c->scores, c->n_scores);
        if (c->n_types) gw_i32s(&w, "tokenizer.ggml.token_type", c->types, c->n_types);
        gw_u32(&w, "tokenizer.ggml.bos_token_id", (uint32_t)c->bos);
        diag_reset(&diag);
        KilnStatus st = open_gguf(&w);
        cr_expect_eq(st, c->st, "case %d gave status %d: %s", i, st, diag_first(&diag));
        cr_expect(strstr(diag_first(&diag), c->says) != NULL, "case %d says: %s", i,
                  diag_first(&diag));
    }
}

Test(token_reject, a_gguf_pattern_that_kiln_does_not_know)
{
    static const struct {
        const char *pre;
        KilnStatus st;
        const char *says;
    } cases[] = {{"gpt-2", KILN_OK, ""},
                 {"qwen2", KILN_OK, ""},
                 {"llama-bpe", KILN_OK, ""},
                 {"smollm", KILN_OK, ""},
                 {"tekken", KILN_ERR_UNSUPPORTED, "\"tekken\" is not supported"},
                 {NULL, KILN_ERR_UNSUPPORTED, "pre is missing"}};
    for (int32_t i = 0; i < COUNT_OF(cases); i++) {
        GgufWriter w = {0};
        toy_gguf_bytes(&w, cases[i].pre);
        diag_reset(&diag);
        cr_expect_eq(open_gguf(&w), cases[i].st, "case %d: %s", i, diag_first(&diag));
        expect_says(cases[i].says);
    }
}

Test(token_reject, gguf_merges_that_do_not_fit)
{
    static const struct {
        const char *merge, *says;
    } cases[] = {{"th", "does not split"},
                 {"t q", "not in the vocabulary"},
                 {" t", "does not split"},
                 {"t h", "occurs twice"}};
    for (int32_t i = 0; i < COUNT_OF(cases); i++) {
        GgufWriter w = {0};
        toy_gguf_bytes(&w, "gpt-2");
        char *hit = memmem(w.kv.data, w.kv.len, "tokenizer.ggml.merges", 21);
        hit[0] = 'X'; // the toy's own key becomes one that nobody reads
        gw_strs(&w, "tokenizer.ggml.merges", (Str[]){STR("t h"), str_of(cases[i].merge)}, 2);
        diag_reset(&diag);
        cr_expect_eq(open_gguf(&w), KILN_ERR_INPUT, "case %d", i);
        expect_says(cases[i].says);
    }
}

Test(token_reject, each_failing_allocation_of_a_load_is_reported)
{
    StrBuf text[2] = {{0}};
    toy_tokenizer_json(&text[0]);
    toy_bytes_json(&text[1]);
    for (int32_t k = 0; k < 2; k++) {
        int32_t n_failed = 0, n_unnoticed = 0;
        for (int64_t fail_at = 1;; fail_at++) {
            heap.fail_at = fail_at;
            KilnStatus st = open_json((Str){text[k].data, text[k].len});
            bool reached = heap.fail_at <= 0;
            heap.fail_at = 0;
            if (!reached) break;
            // The one that may fail unnoticed is for the pattern's machine code, without which it
            // is interpreted.
            cr_assert(st == KILN_ERR_NOMEM || st == KILN_OK,
                      "allocation %lld of vocabulary %d gave %d", (long long)fail_at, k, st);
            cr_assert_eq(heap.n_live, 0);
            n_failed++;
            n_unnoticed += st == KILN_OK;
        }
        cr_expect_gt(n_failed, 1);
        cr_expect(k ? n_unnoticed < n_failed : n_unnoticed == 0, "%d of %d went unnoticed",
                  n_unnoticed, n_failed);
        strbuf_free(&text[k]);
    }
}

Test(token_reject, a_tokenizer_json_cut_anywhere)
{
    StrBuf text = {0};
    toy_bytes_json(&text);
    while (text.data[text.len - 1] == '\n')
        text.len--;
    for (size_t n = 0; n < text.len; n += n < 400 ? 1 : 7) {
        char *copy =
            heap_alloc(&heap, n ? n : 1, 1); // exactly n bytes, so that reading past them is seen
        memcpy(copy, text.data, n);
        diag_reset(&diag);
        cr_expect_eq(open_json((Str){copy, n}), KILN_ERR_INPUT, "cut at %zu", n);
        heap_free(&heap, copy);
    }
    strbuf_free(&text);
}
