// tests/runtime/token/test_stages.c - each stage of tokenizer.json on a vocabulary one can hold in
// mind.
//
//   0 <unk>   1 ▁   2 a   3 b   4 ▁a   5 ab   6 ▁ab   7 <x>   8 <y>   9 (the letter é)
#include "runtime/token/tokenizer.h"

#include <criterion/criterion.h>

#include "runtime/token/added.h"
#include "runtime/token/normal.h"
#include "tests/support/fixture.h"

TestSuite(token_stages, .init = fixture_up, .fini = fixture_down, .timeout = 60);

typedef struct Stages {
    const char *added, *normalizer, *pre_tokenizer, *post_processor, *model; ///< NULL: none
} Stages;

static Tokenizer *tokenizer_of(const Stages *s)
{
    StrBuf text = {0};
    Tokenizer *tok = NULL;
    strbuf_printf(&text,
                  "{\"added_tokens\": [%s], \"normalizer\": %s, \"pre_tokenizer\": %s, "
                  "\"post_processor\": %s,\n"
                  " \"decoder\": {\"type\": \"Metaspace\"}, \"model\": {\"type\": \"BPE\", %s "
                  "\"vocab\": {\"<unk>\": 0, \"\xE2\x96\x81\": 1,\n"
                  " \"a\": 2, \"b\": 3, \"\xE2\x96\x81"
                  "a\": 4, \"ab\": 5, \"\xE2\x96\x81"
                  "ab\": 6, \"\xC3\xA9\": 9},\n"
                  " \"merges\": [\"a b\", \"\xE2\x96\x81 a\"]}}",
                  s->added ? s->added : "", s->normalizer ? s->normalizer : "null",
                  s->pre_tokenizer ? s->pre_tokenizer : "null",
                  s->post_processor ? s->post_processor : "null",
                  s->model ? s->model : "\"unk_token\": \"<unk>\",");
    HfTokenizerFiles files = {
        .tokenizer = {text.data, text.len}, .path = "tokenizer.json", .bos = -1};
    cr_assert_eq(tokenizer_from_hf(&files, &heap, &tok, &diag), KILN_OK, "%s", diag_first(&diag));
    strbuf_free(&text);
    return tok;
}

static void expect_ids(const Stages *s, const char *text, uint32_t flags, const char *want)
{
    Tokenizer *tok = tokenizer_of(s);
    TokenIds ids = {0};
    StrBuf found = {0};
    cr_assert_eq(tokenizer_encode(tok, str_of(text), flags, &arena, &ids, &diag), KILN_OK, "%s",
                 diag_first(&diag));
    for (int32_t i = 0; i < ids.len; i++)
        strbuf_printf(&found, "%s%d", i ? " " : "", ids.data[i]);
    cr_expect_str_eq(found.data ? found.data : "", want, "\"%s\": found %s, expected %s", text,
                     found.data ? found.data : "", want);
    strbuf_free(&found);
    tokenizer_close(tok);
}

#define PREPEND "{\"type\": \"Prepend\", \"prepend\": \"\xE2\x96\x81\"}"
#define REPLACE                                                                                    \
    "{\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": \"\xE2\x96\x81\"}"

Test(token_stages, merges_apply_by_rank_and_not_by_length)
{
    Stages s = {0};
    expect_ids(&s, "ab", 0, "5");
    expect_ids(&s,
               "\xE2\x96\x81"
               "ab",
               0, "1 5"); // "a b" comes first, then nothing joins ▁ and ab
    s.model = "\"unk_token\": \"<unk>\", \"ignore_merges\": true,";
    expect_ids(&s,
               "\xE2\x96\x81"
               "ab",
               0, "6");
}

Test(token_stages, characters_without_a_piece_are_unknown_alone_or_fused)
{
    Stages s = {0};
    expect_ids(&s, "qqa", 0, "0 0 2");
    s.model = "\"unk_token\": \"<unk>\", \"fuse_unk\": true,";
    expect_ids(&s, "qqaq", 0, "0 2 0");
    s.model =
        "\"byte_fallback\": true, \"unk_token\": \"<unk>\","; // no byte pieces here, so the same
    expect_ids(&s, "q", 0, "0");
    Tokenizer *tok;
    TokenIds ids = {0};
    s.model = "\"unk_token\": null,";
    tok = tokenizer_of(&s);
    cr_expect_eq(tokenizer_encode(tok, STR("q"), 0, &arena, &ids, &diag), KILN_ERR_INPUT);
    expect_says("no token");
    tokenizer_close(tok);
}

Test(token_stages, normalisers_apply_to_each_fragment_in_order)
{
    Stages s = {.normalizer =
                    "{\"type\": \"Sequence\", \"normalizers\": [" PREPEND ", " REPLACE "]}"};
    expect_ids(&s, "a b", 0, "4 1 3");
    expect_ids(&s, "", 0, "");
    s.added = "{\"id\": 7, \"content\": \"<x>\", \"special\": true}";
    expect_ids(&s, "a<x>a", ENCODE_PARSE_SPECIAL, "4 7 4");
    s.normalizer = "{\"type\": \"NFC\"}";
    expect_ids(&s, "e\xCC\x81", 0, "9");
    s.normalizer = "{\"type\": \"NFKC\"}";
    expect_ids(&s, "\xEF\xBD\x81", 0, "2"); // full-width a
    s.normalizer = "{\"type\": \"NFD\"}";
    expect_ids(&s, "\xC3\xA9", 0, "0 0"); // e and the accent
}

Test(token_stages, metaspace_puts_its_mark_where_the_scheme_says)
{
    static const struct {
        const char *pre, *text, *want;
    } cases[] = {
        {"{\"type\": \"Metaspace\", \"prepend_scheme\": \"always\", \"split\": false}", "a<x>a",
         "4 7 4"},
        {"{\"type\": \"Metaspace\", \"prepend_scheme\": \"first\", \"split\": false}", "a<x>a",
         "4 7 2"},
        {"{\"type\": \"Metaspace\", \"prepend_scheme\": \"never\", \"split\": false}", "a<x>a",
         "2 7 2"},
        {"{\"type\": \"Metaspace\", \"add_prefix_space\": false}", "a", "2"},
        {"{\"type\": \"Metaspace\"}", " a", "4"}, // there is one already
        {"{\"type\": \"Metaspace\"}", "a a", "4 4"},
        {"{\"type\": \"Metaspace\"}", "<x>a", "7 4"},
        {"{\"type\": \"Metaspace\", \"prepend_scheme\": \"first\"}", "<x>a", "7 2"},
    };
    for (int32_t i = 0; i < COUNT_OF(cases); i++) {
        Stages s = {.added = "{\"id\": 7, \"content\": \"<x>\", \"special\": true}",
                    .pre_tokenizer = cases[i].pre};
        expect_ids(&s, cases[i].text, ENCODE_PARSE_SPECIAL, cases[i].want);
    }
}

Test(token_stages, added_tokens_swallow_blanks_and_mind_words_as_flagged)
{
    static const struct {
        const char *flags, *text;
        uint32_t parse;
        const char *want;
    } cases[] = {
        {"", "a <x> a", 0, "2 0 7 0 2"},
        {", \"lstrip\": true", "a <x> a", 0, "2 7 0 2"},
        {", \"rstrip\": true",
         "a <x> \n\xC2\xA0"
         "a",
         0, "2 0 7 2"},
        {", \"lstrip\": true, \"rstrip\": true", "<x> <x>", 0, "7 7"},
        {", \"single_word\": true", "a<x> <x>", 0, "2 0 0 0 0 7"},
        {", \"special\": true", "<x>", 0, "0 0 0"},
        {", \"special\": true", "<x>", ENCODE_PARSE_SPECIAL, "7"},
    };
    for (int32_t i = 0; i < COUNT_OF(cases); i++) {
        StrBuf added = {0};
        strbuf_printf(&added, "{\"id\": 7, \"content\": \"<x>\"%s}", cases[i].flags);
        Stages s = {.added = added.data};
        expect_ids(&s, cases[i].text, cases[i].parse, cases[i].want);
        strbuf_free(&added);
    }
}

Test(token_stages, the_longest_of_the_leftmost_added_tokens_wins)
{
    Stages s = {.added = "{\"id\": 7, \"content\": \"<x>\"}, {\"id\": 8, \"content\": \"<x><y>\"}, "
                         "{\"id\": 10, \"content\": \"x\"}"};
    expect_ids(&s, "<x><y>", 0, "8");
    expect_ids(&s, "<x><x><y", 0, "7 7 0 0");
    expect_ids(&s, "x<x>", 0, "10 7");
}

// A token whose content is matched after normalising, in its normal form.
Test(token_stages, normalised_tokens_are_found_in_normalised_text)
{
    Stages s = {.added =
                    "{\"id\": 7, \"content\": \"\xEF\xBD\x82\xEF\xBD\x82\", \"normalized\": true}",
                .normalizer = "{\"type\": \"NFKC\"}"};
    expect_ids(&s, "abba", 0, "2 7 2");
    expect_ids(&s,
               "a\xEF\xBD\x82"
               "ba",
               0, "2 7 2");
}

Test(token_stages, the_template_says_what_goes_around_a_text)
{
    Stages s = {.added = "{\"id\": 7, \"content\": \"<x>\", \"special\": true}, {\"id\": 8, "
                         "\"content\": \"<y>\", \"special\": true}",
                .post_processor =
                    "{\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": "
                    "\"<x>\"}}, {\"Sequence\": {\"id\": \"A\"}}, "
                    "{\"SpecialToken\": {\"id\": \"<y>\"}}], \"special_tokens\": {\"<x>\": "
                    "{\"ids\": [7]}, \"<y>\": {\"ids\": [8, 7]}}}"};
    expect_ids(&s, "ab", ENCODE_ADD_SPECIAL, "7 5 8 7");
    expect_ids(&s, "ab", ENCODE_PLAIN, "5");
}

Test(token_stages, tokenizer_config_decides_about_bos_and_eos)
{
    static const struct {
        const char *config, *want;
        int32_t bos, eos;
    } cases[] = {
        {"{\"bos_token\": \"<unk>\", \"add_bos_token\": true}", "0 5", 0, 3},
        {"{\"bos_token\": {\"content\": \"<unk>\"}, \"add_bos_token\": true, \"eos_token\": \"b\", "
         "\"add_eos_token\": true}",
         "0 5 3", 0, 3},
        {"{\"bos_token\": \"<unk>\", \"add_bos_token\": false}", "5", 0, 3},
        {"{\"model_max_length\": 1000000000000000019884624838656, \"bos_token\": null}", "5", 2, 3},
    };
    static const char json[] =
        "{\"decoder\": {\"type\": \"Fuse\"}, \"model\": {\"vocab\": {\"<unk>\": 0, \"a\": 2, "
        "\"b\": 3, \"ab\": 5}, \"merges\": [\"a b\"]}}";
    for (int32_t i = 0; i < COUNT_OF(cases); i++) {
        int32_t eos = 3;
        Tokenizer *tok;
        TokenIds ids = {0};
        StrBuf found = {0};
        HfTokenizerFiles files = {.tokenizer = STR(json),
                                  .config = str_of(cases[i].config),
                                  .path = "tokenizer.json",
                                  .config_path = "tokenizer_config.json",
                                  .bos = 2,
                                  .eos = &eos,
                                  .n_eos = 1};
        cr_assert_eq(tokenizer_from_hf(&files, &heap, &tok, &diag), KILN_OK, "%s",
                     diag_first(&diag));
        cr_assert_eq(tokenizer_encode(tok, STR("ab"), ENCODE_ADD_SPECIAL, &arena, &ids, &diag),
                     KILN_OK);
        for (int32_t k = 0; k < ids.len; k++)
            strbuf_printf(&found, "%s%d", k ? " " : "", ids.data[k]);
        cr_expect_str_eq(found.data, cases[i].want, "case %d", i);
        cr_expect_eq(tokenizer_bos(tok), cases[i].bos, "case %d", i);
        cr_expect_eq(tokenizer_eos(tok), cases[i].eos, "case %d", i);
        cr_expect(tokenizer_is_eog(tok, 3));
        cr_expect_eq(tokenizer_find(tok, STR("ab")), 5);
        cr_expect_eq(tokenizer_kind(tok, 1), PIECE_UNUSED, "a hole in the ids");
        strbuf_free(&found);
        tokenizer_close(tok);
    }
}
