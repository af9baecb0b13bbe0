// tests/runtime/token/test_tokenizer.c - what an encoder and a decoder promise, on vocabularies
// small enough to read.
#include "runtime/token/tokenizer.h"

#include <criterion/criterion.h>
#include <time.h>

#include "base/random.h"
#include "runtime/token/utf8.h"
#include "tests/support/fixture.h"
#include "tests/support/toy_model.h"

TestSuite(tokenizer, .init = fixture_up, .fini = fixture_down, .timeout = 200);

static Tokenizer *by_score(void)
{
    GgufWriter w = {0};
    StrBuf bytes = {0};
    Gguf *g;
    Tokenizer *tok = NULL;
    toy_gguf_tokenizer(&w);
    gw_finish(&w, &bytes);
    cr_assert_eq(gguf_read((Str){bytes.data, bytes.len}, "toy.gguf", &heap, &g, &diag), KILN_OK,
                 "%s", diag_first(&diag));
    cr_assert_eq(tokenizer_from_gguf(g, &heap, &tok, &diag), KILN_OK, "%s", diag_first(&diag));
    gguf_close(g);
    strbuf_free(&bytes);
    return tok;
}

static Tokenizer *from_json(void (*write)(StrBuf *))
{
    StrBuf text = {0};
    Tokenizer *tok = NULL;
    write(&text);
    HfTokenizerFiles files = {
        .tokenizer = {text.data, text.len}, .path = "tokenizer.json", .bos = -1};
    cr_assert_eq(tokenizer_from_hf(&files, &heap, &tok, &diag), KILN_OK, "%s", diag_first(&diag));
    strbuf_free(&text);
    return tok;
}

static void expect_ids(const Tokenizer *tok, Str text, uint32_t flags, const int32_t *want,
                       int32_t n)
{
    TokenIds ids = {0};
    cr_assert_eq(tokenizer_encode(tok, text, flags, &arena, &ids, &diag), KILN_OK, "%s",
                 diag_first(&diag));
    cr_expect_eq(ids.len, n, "\"%.*s\": %d ids, expected %d", STR_ARG(text), ids.len, n);
    for (int32_t i = 0; i < MIN(n, ids.len); i++)
        cr_expect_eq(ids.data[i], want[i], "\"%.*s\": id %d is %d, expected %d", STR_ARG(text), i,
                     ids.data[i], want[i]);
}
#define EXPECT_IDS(tok, text, flags, ...)                                                          \
    expect_ids(tok, STR(text), flags, (int32_t[]){__VA_ARGS__},                                    \
               (int32_t)(sizeof((int32_t[]){__VA_ARGS__}) / 4))

// "the and": ▁the 270, ▁ 259, and 269
Test(tokenizer, scores_and_merges_of_one_vocabulary_agree)
{
    Tokenizer *score = by_score(), *rank = from_json(toy_tokenizer_json);
    EXPECT_IDS(score, "the and", ENCODE_PLAIN, 270, 259, 269);
    EXPECT_IDS(rank, "the and", ENCODE_PLAIN, 270, 259, 269);
    EXPECT_IDS(score, "the and", ENCODE_ADD_SPECIAL, 1, 270, 259, 269);
    EXPECT_IDS(rank, "the and", ENCODE_ADD_SPECIAL, 1, 270, 259, 269);
    EXPECT_IDS(score, "z\n", ENCODE_PLAIN, 259, 3 + 'z', 3 + '\n');
    EXPECT_IDS(rank, "z\n", ENCODE_PLAIN, 259, 3 + 'z', 3 + '\n');
    tokenizer_close(score);
    tokenizer_close(rank);
}

Test(tokenizer, nothing_is_encoded_as_nothing)
{
    Tokenizer *tok[] = {by_score(), from_json(toy_tokenizer_json), from_json(toy_bytes_json)};
    for (int32_t i = 0; i < 3; i++) {
        expect_ids(tok[i], STR(""), ENCODE_PLAIN, NULL, 0);
        expect_ids(tok[i], STR(""), ENCODE_ADD_SPECIAL, (int32_t[]){1}, i < 2 ? 1 : 0);
        tokenizer_close(tok[i]);
    }
}

// A user who types a control token forges nothing unless special parsing is on.
Test(tokenizer, special_tokens_in_a_text_count_only_when_asked)
{
    Tokenizer *tok = from_json(toy_bytes_json);
    EXPECT_IDS(tok, "e<|end|>the", ENCODE_PARSE_SPECIAL, 'e', 259, 257);
    EXPECT_IDS(tok, "<|end|>", ENCODE_PLAIN, '<', '|', 'e', 'n', 'd', '|', '>');
    tokenizer_close(tok);
    tok = by_score();
    EXPECT_IDS(tok, "</s>the", ENCODE_PARSE_SPECIAL, 2, 270);
    cr_expect(tokenizer_is_eog(tok, 2));
    cr_expect_not(tokenizer_is_eog(tok, 270));
    cr_expect_eq(tokenizer_bos(tok), 1);
    cr_expect(tokenizer_adds_bos(tok));
    tokenizer_close(tok);
}

Test(tokenizer, canonically_equal_texts_get_equal_ids)
{
    Tokenizer *tok = from_json(toy_bytes_json);
    EXPECT_IDS(tok, "\xC3\xA9", ENCODE_PLAIN, 0xC3, 0xA9);
    EXPECT_IDS(tok, "e\xCC\x81", ENCODE_PLAIN, 0xC3, 0xA9);
    EXPECT_IDS(tok, "the the", ENCODE_PLAIN, 257, 258);
    tokenizer_close(tok);
}

Test(tokenizer, bytes_that_are_no_text_are_replaced_or_kept_as_bytes)
{
    Tokenizer *rank = from_json(toy_bytes_json), *score = by_score();
    EXPECT_IDS(rank, "\xFFt", ENCODE_PLAIN, 0xEF, 0xBF, 0xBD, 't');
    EXPECT_IDS(score, "\xFFt", ENCODE_PLAIN, 259, 3 + 0xFF, 260);
    tokenizer_close(rank);
    tokenizer_close(score);
}

Test(tokenizer, random_valid_text_comes_back_from_its_ids)
{
    static const char *const parts[] = {
        "the", " ",  "  ", "and", "\n", "x", "\xC3\xA9", "\xE4\xB8\xAD", "\xF0\x9F\x98\x80",
        "<s>", "\t", "0"};
    Tokenizer *tok[] = {by_score(), from_json(toy_tokenizer_json), from_json(toy_bytes_json)};
    Random random = {11};
    for (int32_t round = 0; round < 3000; round++) {
        const Tokenizer *t = tok[round % 3];
        StrBuf text = {0}, out = {0};
        TokenIds ids = {0};
        for (int32_t k = 0; k < 12; k++)
            strbuf_puts(&text, parts[random_below(&random, COUNT_OF(parts))]);
        cr_assert_eq(
            tokenizer_encode(t, (Str){text.data, text.len}, ENCODE_PLAIN, &arena, &ids, &diag),
            KILN_OK);
        tokenizer_decode(t, ids.data, ids.len, true, &out);
        cr_assert(out.len == text.len && memcmp(out.data, text.data, out.len) == 0,
                  "round %d: \"%s\" became \"%s\"", round, text.data, out.data);
        strbuf_free(&text);
        strbuf_free(&out);
    }
    for (int32_t i = 0; i < 3; i++)
        tokenizer_close(tok[i]);
}

Test(tokenizer, a_stream_puts_out_whole_characters_only)
{
    Tokenizer *tok = from_json(toy_bytes_json);
    TokenStream s;
    StrBuf out = {0};
    token_stream_init(&s, tok, true);
    static const uint8_t smile[] = {0xF0, 0x9F, 0x98, 0x80};
    for (int32_t i = 0; i < 4; i++) {
        cr_expect_eq(out.len, 0, "%zu bytes before the character was whole", out.len);
        token_stream_push(&s, smile[i], &out);
    }
    cr_expect_str_eq(out.data, "\xF0\x9F\x98\x80");
    token_stream_push(&s, 0xC3, &out); // cannot become a character any more
    token_stream_push(&s, 'e', &out);
    cr_expect_str_eq(out.data, "\xF0\x9F\x98\x80\xEF\xBF\xBD"
                               "e");
    token_stream_push(&s, 0xE2, &out);
    token_stream_push(&s, 0x96, &out);
    token_stream_finish(&s, &out);
    cr_expect_str_eq(out.data, "\xF0\x9F\x98\x80\xEF\xBF\xBD"
                               "e\xEF\xBF\xBD");
    token_stream_push(&s, 123456789, &out);
    token_stream_push(&s, -1, &out);
    cr_expect_eq(out.len, 11);
    strbuf_free(&out);
    tokenizer_close(tok);
}

// Every stream output is the whole decoding cut at character borders.
Test(tokenizer, a_stream_of_random_bytes_is_valid_text_all_along)
{
    Tokenizer *tok = from_json(toy_bytes_json);
    Random random = {3};
    for (int32_t round = 0; round < 2000; round++) {
        TokenStream s;
        StrBuf out = {0};
        token_stream_init(&s, tok, true);
        for (int32_t k = 0; k < 12; k++) {
            static const uint8_t likely[] = {0xE4, 0xB8, 0xAD, 0xF0, 0x9F,
                                             0x98, 0x80, 'a',  0xED, 0xC3};
            token_stream_push(&s,
                              random_below(&random, 4) ? likely[random_below(&random, 10)]
                                                       : (int32_t)random_below(&random, 256),
                              &out);
            cr_assert_leq(s.n_pending, 3);
        }
        token_stream_finish(&s, &out);
        int32_t len;
        for (size_t i = 0; i < out.len; i += (size_t)len)
            cr_assert_neq(utf8_next(out.data + i, out.len - i, &len), UTF8_BAD, "round %d", round);
        strbuf_free(&out);
    }
    tokenizer_close(tok);
}

Test(tokenizer, the_vocabularys_own_blank_is_dropped_at_the_start_only)
{
    Tokenizer *tok = by_score();
    StrBuf out = {0};
    tokenizer_decode(tok, (int32_t[]){1, 270, 270}, 3, true, &out);
    cr_expect_str_eq(out.data, "the the");
    strbuf_free(&out);
    tokenizer_decode(tok, (int32_t[]){270}, 1, false, &out);
    cr_expect_str_eq(out.data, " the");
    strbuf_free(&out);
    tokenizer_close(tok);
}

// Quadratic time would be an hour here.
Test(tokenizer, a_quarter_megabyte_without_blanks_takes_no_seconds)
{
    enum { N = 1 << 18 };
    Tokenizer *tok[] = {by_score(), from_json(toy_tokenizer_json), from_json(toy_bytes_json)};
    static const char *const unit[] = {"the", "t", "and", " "};
    for (int32_t i = 0; i < 3; i++)
        for (int32_t u = 0; u < 4; u++) {
            StrBuf text = {0};
            TokenIds ids = {0};
            while (text.len < N)
                strbuf_puts(&text, unit[u]);
            clock_t begin = clock();
            cr_expect_eq(tokenizer_encode(tok[i], (Str){text.data, text.len}, ENCODE_PLAIN, &arena,
                                          &ids, &diag),
                         KILN_OK);
            double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
            cr_expect_lt(seconds, 10, "tokenizer %d, unit \"%s\": %.1f s", i, unit[u], seconds);
            strbuf_free(&text);
        }
    for (int32_t i = 0; i < 3; i++)
        tokenizer_close(tok[i]);
}

Test(tokenizer, a_run_of_combining_marks_does_not_hang_the_normaliser)
{
    Tokenizer *tok = from_json(toy_bytes_json);
    StrBuf text = {0};
    TokenIds ids = {0};
    strbuf_puts(&text, "a");
    for (int32_t i = 0; i < 200000; i++)
        strbuf_puts(&text, i % 2 ? "\xCC\xA7" : "\xCC\x81"); // classes 202 and 230, ill ordered
    clock_t begin = clock();
    cr_expect_eq(
        tokenizer_encode(tok, (Str){text.data, text.len}, ENCODE_PLAIN, &arena, &ids, &diag),
        KILN_OK);
    cr_expect_lt((double)(clock() - begin) / CLOCKS_PER_SEC, 10);
    strbuf_free(&text);
    tokenizer_close(tok);
}

Test(tokenizer, a_text_above_the_limit_is_refused)
{
    Tokenizer *tok = by_score();
    TokenIds ids = {0};
    char *text = heap_alloc(&heap, TOKENIZER_TEXT_MAX + 1, 1);
    memset(text, 't', TOKENIZER_TEXT_MAX + 1);
    cr_expect_eq(tokenizer_encode(tok, (Str){text, TOKENIZER_TEXT_MAX + 1}, ENCODE_PLAIN, &arena,
                                  &ids, &diag),
                 KILN_ERR_LIMIT);
    cr_expect(strstr(diag_first(&diag), "expected at most") != NULL, "%s", diag_first(&diag));
    heap_free(&heap, text);
    tokenizer_close(tok);
}

Test(tokenizer, each_failing_allocation_of_an_encoding_is_reported)
{
    Tokenizer *tok[] = {by_score(), from_json(toy_bytes_json)};
    StrBuf text = {0};
    for (int32_t i = 0; i < 300; i++)
        strbuf_puts(&text, "the end \xC3\xA9 ");
    for (int32_t k = 0; k < 2; k++) {
        int32_t n_failed = 0;
        for (int64_t fail_at = 1;; fail_at++) {
            TokenIds ids = {0};
            heap.fail_at = fail_at;
            KilnStatus st = tokenizer_encode(tok[k], (Str){text.data, text.len}, ENCODE_PLAIN,
                                             &arena, &ids, &diag);
            bool reached = heap.fail_at <= 0;
            heap.fail_at = 0;
            if (!reached) break;
            cr_assert_eq(st, KILN_ERR_NOMEM, "allocation %lld", (long long)fail_at);
            n_failed++;
        }
        cr_expect_gt(n_failed, 3);
    }
    strbuf_free(&text);
    tokenizer_close(tok[0]);
    tokenizer_close(tok[1]);
}
