// tests/runtime/token/test_split.c - cutting text into words, against recorded words and against
// laws.
#include "runtime/token/split.h"

#include <criterion/criterion.h>

#include "base/random.h"
#include "runtime/format/json.h"
#include "tests/support/fixture.h"
#include "tests/support/shared_data.h"

TestSuite(token_split, .init = fixture_up, .fini = fixture_down, .timeout = 60);

Test(token_split, recorded_texts_are_cut_as_recorded)
{
    static const char *const keys[] = {
        [SPLIT_GPT2] = "gpt2", [SPLIT_LLAMA3] = "llama3", [SPLIT_QWEN2] = "qwen2"};
    StrBuf text = shared_text("tokenizers/pretokens.json");
    JsonDoc doc;
    cr_assert_eq(
        jsondoc_read((Str){text.data, text.len}, "pretokens.json", JSON_STRICT, &heap, &doc, &diag),
        KILN_OK);
    cr_expect_eq(jval_len(doc.root), 254);
    for (int32_t p = 0; p <= SPLIT_QWEN2; p++) {
        Splitter *s;
        cr_assert_eq(splitter_open((SplitPattern)p, &heap, &s, &diag), KILN_OK);
        for (int32_t i = 0; i < jval_len(doc.root); i++) {
            const JsonValue *item = jval_at(doc.root, i), *want = jval_get(item, keys[p]);
            Words words = {0};
            cr_assert_eq(splitter_run(s, jval_text(jval_get(item, "text")), &arena, &words, &diag),
                         KILN_OK);
            bool same = words.len == jval_len(want);
            for (int32_t k = 0; k < words.len && same; k++)
                same = str_eq(words.data[k], jval_text(jval_at(want, k)));
            cr_expect(same, "%s: text %d is cut otherwise", keys[p], i);
        }
        splitter_close(s);
    }
    jsondoc_close(&doc);
    strbuf_free(&text);
}

Test(token_split, words_joined_are_the_text)
{
    static const char *const parts[] = {"a",
                                        "Z",
                                        " ",
                                        "  ",
                                        "\n",
                                        "\r\n",
                                        "'s",
                                        "'LL",
                                        "1",
                                        "234",
                                        "\xC3\xA9",
                                        "\xE4\xB8\xAD",
                                        "\xC2\xA0",
                                        "\xE1\xA0\x8E",
                                        "\xF0\x9F\x98\x80",
                                        "!",
                                        "-",
                                        "\t",
                                        "\xC2\x85",
                                        "\xCC\x81",
                                        ""};
    Random random = {7};
    for (int32_t p = 0; p < SPLIT_COUNT; p++) {
        Splitter *s;
        cr_assert_eq(splitter_open((SplitPattern)p, &heap, &s, &diag), KILN_OK);
        for (int32_t round = 0; round < 2000; round++) {
            StrBuf text = {0}, joined = {0};
            for (int32_t k = 0; k < 20; k++)
                strbuf_puts(&text, parts[random_below(&random, COUNT_OF(parts))]);
            Words words = {0};
            cr_assert_eq(splitter_run(s, (Str){text.data, text.len}, &arena, &words, &diag),
                         KILN_OK);
            VEC_EACH(Str, w, &words) {
                cr_assert_gt(w->len, 0);
                strbuf_add(&joined, w->data, w->len);
            }
            cr_assert(joined.len == text.len &&
                          (!text.len || memcmp(joined.data, text.data, text.len) == 0),
                      "round %d", round);
            strbuf_free(&text);
            strbuf_free(&joined);
        }
        splitter_close(s);
    }
}

// A megabyte of one class of character is one word or a million; neither takes long nor exceeds the
// match limits.
Test(token_split, a_megabyte_without_a_break_is_cut_in_linear_time)
{
    enum { N = 1 << 20 };
    static const char kinds[] = {'a', ' ', '\n', '1', '!'};
    char *text = heap_alloc(&heap, N, 1);
    for (int32_t p = 0; p < SPLIT_COUNT; p++) {
        Splitter *s;
        cr_assert_eq(splitter_open((SplitPattern)p, &heap, &s, &diag), KILN_OK);
        for (int32_t k = 0; k < COUNT_OF(kinds); k++) {
            memset(text, kinds[k], N);
            Words words = {0};
            cr_expect_eq(splitter_run(s, (Str){text, N}, &arena, &words, &diag), KILN_OK, "%s",
                         diag_first(&diag));
            text[N - 1] = 'x'; // a run of blanks that ends in a word backtracks
            words = (Words){0};
            cr_expect_eq(splitter_run(s, (Str){text, N}, &arena, &words, &diag), KILN_OK, "%s",
                         diag_first(&diag));
        }
        splitter_close(s);
    }
    heap_free(&heap, text);
}

Test(token_split, a_pattern_is_known_by_its_exact_text_or_not_at_all)
{
    SplitPattern p, steps[SPLIT_STEPS_MAX];
    cr_expect(split_by_regex(
        STR("'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"),
        &p));
    cr_expect_eq(p, SPLIT_GPT2);
    cr_expect_not(split_by_regex(STR("\\p{L}+|\\s+"), &p));
    cr_expect_not(split_by_regex(STR("\\p{N}"), &p));
    cr_expect_eq(split_by_name(STR("llama-bpe"), steps), 1);
    cr_expect_eq(steps[0], SPLIT_LLAMA3);
    cr_expect_eq(split_by_name(STR("smollm"), steps), 2);
    cr_expect(steps[0] == SPLIT_DIGIT && steps[1] == SPLIT_GPT2);
    cr_expect_eq(split_by_name(STR("tekken"), steps), 0);
}

Test(token_split, digits_stand_alone_or_in_runs)
{
    static const struct {
        SplitPattern pattern;
        const char *text, *want;
    } cases[] = {{SPLIT_DIGIT, "a 12b3", "a |1|2|b|3"},
                 {SPLIT_DIGITS, "a 12b3", "a |12|b|3"},
                 {SPLIT_DIGITS, "none", "none"},
                 {SPLIT_DIGIT, "\xC2\xBD\xD9\xA3", "\xC2\xBD|\xD9\xA3"}};
    for (int32_t i = 0; i < COUNT_OF(cases); i++) {
        Splitter *s;
        Words words = {0};
        StrBuf found = {0};
        cr_assert_eq(splitter_open(cases[i].pattern, &heap, &s, &diag), KILN_OK);
        cr_assert_eq(splitter_run(s, str_of(cases[i].text), &arena, &words, &diag), KILN_OK);
        for (int32_t k = 0; k < words.len; k++)
            strbuf_printf(&found, "%s%.*s", k ? "|" : "", STR_ARG(words.data[k]));
        cr_expect_str_eq(found.data, cases[i].want, "%s", found.data);
        strbuf_free(&found);
        splitter_close(s);
    }
}
