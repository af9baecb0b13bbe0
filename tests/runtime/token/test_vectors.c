// tests/runtime/token/test_vectors.c - recorded ids of the published tokenizers, text by text.
#include "runtime/token/tokenizer.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "runtime/format/json.h"
#include "tests/support/shared_data.h"

typedef struct Case {
    Tokenizer *tok;
    Heap heap;
    Diag diag;
    Arena arena;
} Case;

static void up(Case *c)
{
    heap_init(&c->heap);
    diag_init(&c->diag, heap_default());
    arena_init(&c->arena, heap_default());
}

static void down(Case *c)
{
    tokenizer_close(c->tok);
    cr_expect_eq(c->heap.n_live, 0, "%lld objects leaked", (long long)c->heap.n_live);
    diag_reset(&c->diag);
    arena_reset(&c->arena);
}

static void open_vocab(Case *c, const char *name)
{
    StrBuf path = shared_path(name);
    up(c);
    KilnStatus st;
    if (file_is_dir(path.data)) {
        st = tokenizer_from_dir(path.data, NULL, &c->heap, &c->tok, &c->diag);
    } else {
        Gguf *g;
        st = gguf_open(path.data, &c->heap, &g, &c->diag);
        if (st == KILN_OK) st = tokenizer_from_gguf(g, &c->heap, &c->tok, &c->diag);
        gguf_close(g);
    }
    cr_assert_eq(st, KILN_OK, "%s", diag_first(&c->diag));
    strbuf_free(&path);
}

static void expect_ids(Case *c, Str text, const int32_t *want, int32_t n, uint32_t flags)
{
    TokenIds ids = {0};
    cr_assert_eq(tokenizer_encode(c->tok, text, flags, &c->arena, &ids, &c->diag), KILN_OK, "%s",
                 diag_first(&c->diag));
    bool same = ids.len == n;
    for (int32_t i = 0; i < n && same; i++)
        same = ids.data[i] == want[i];
    if (same) return;
    StrBuf show = {0};
    strbuf_puts(&show, "text \"");
    strbuf_json(&show, text.data, text.len);
    strbuf_puts(&show, "\": found");
    for (int32_t i = 0; i < ids.len; i++)
        strbuf_printf(&show, " %d", ids.data[i]);
    strbuf_puts(&show, ", expected");
    for (int32_t i = 0; i < n; i++)
        strbuf_printf(&show, " %d", want[i]);
    cr_expect(false, "%s", show.data);
    strbuf_free(&show);
}

/// Line i of `ids_name` belongs to text i of vectors.inp.
static void run_vectors(const char *vocab, const char *ids_name)
{
    Case c = {0};
    StrBuf texts = shared_text("tokenizers/vectors.inp"), lines = shared_text(ids_name);
    open_vocab(&c, vocab);
    static const char mark[] = "\n__ggml_vocab_test__\n";
    const char *at = texts.data, *end = texts.data + texts.len, *line = lines.data;
    int32_t n_texts = 0;
    for (; at; n_texts++) {
        const char *next = memmem(at, (size_t)(end - at), mark, sizeof mark - 1);
        Str text = {at, (size_t)((next ? next : end) - at)};
        VEC(int32_t) want = {0};
        char *stop;
        for (const char *p = line; *p && *p != '\n'; p = stop) {
            long id = strtol(p, &stop, 10);
            if (stop == p) break;
            vec_push(&c.arena, &want, (int32_t)id);
        }
        expect_ids(&c, text, want.data, want.len, ENCODE_PLAIN);
        line = strchr(line, '\n') ? strchr(line, '\n') + 1 : "";
        at = next ? next + sizeof mark - 1 : NULL;
    }
    cr_expect_eq(n_texts, 47, "%d texts", n_texts);
    strbuf_free(&texts);
    strbuf_free(&lines);
    down(&c);
}

TestSuite(token_vectors, .timeout = 120);

Test(token_vectors, phi_3_by_score_gives_the_ids_of_phi_3)
{
    run_vectors("tokenizers/phi-3-vocab.gguf", "tokenizers/phi-3.out");
}

Test(token_vectors, phi_3_by_score_gives_the_ids_of_llama_2)
{
    run_vectors("tokenizers/phi-3-vocab.gguf", "tokenizers/llama-spm.out");
}

Test(token_vectors, gpt_2_by_rank_gives_the_ids_of_gpt_2)
{
    run_vectors("tokenizers/gpt-2-vocab.gguf", "tokenizers/gpt-2.out");
}

Test(token_vectors, qwen_2_from_json_gives_the_ids_of_qwen_2)
{
    run_vectors("tokenizers/qwen2", "tokenizers/qwen2.out");
}

Test(token_vectors, qwen_2_normalises_and_finds_special_tokens_as_recorded)
{
    Case c = {0};
    StrBuf text = shared_text("tokenizers/qwen2-ids.json");
    open_vocab(&c, "tokenizers/qwen2");
    JsonDoc doc;
    cr_assert_eq(jsondoc_read((Str){text.data, text.len}, "qwen2-ids.json", JSON_STRICT,
                              heap_default(), &doc, &c.diag),
                 KILN_OK, "%s", diag_first(&c.diag));
    for (int32_t i = 0; i < jval_len(doc.root); i++) {
        const JsonValue *item = jval_at(doc.root, i), *ids = jval_get(item, "ids");
        VEC(int32_t) want = {0};
        for (int32_t k = 0; k < jval_len(ids); k++) {
            int64_t id;
            cr_assert(jval_as_int(jval_at(ids, k), &id));
            vec_push(&c.arena, &want, (int32_t)id);
        }
        expect_ids(&c, jval_text(jval_get(item, "text")), want.data, want.len,
                   ENCODE_PARSE_SPECIAL);
    }
    cr_expect_geq(jval_len(doc.root), 277);
    jsondoc_close(&doc);
    strbuf_free(&text);
    down(&c);
}

// Valid UTF-8 in normal form C comes back byte for byte from every vocabulary that has all bytes.
Test(token_vectors, decoding_undoes_encoding)
{
    static const char *const vocabs[] = {"tokenizers/phi-3-vocab.gguf",
                                         "tokenizers/gpt-2-vocab.gguf", "tokenizers/qwen2"};
    StrBuf texts = shared_text("tokenizers/vectors.inp");
    for (int32_t v = 0; v < COUNT_OF(vocabs); v++) {
        Case c = {0};
        open_vocab(&c, vocabs[v]);
        TokenIds ids = {0};
        StrBuf out = {0};
        cr_assert_eq(tokenizer_encode(c.tok, (Str){texts.data, texts.len}, ENCODE_PLAIN, &c.arena,
                                      &ids, &c.diag),
                     KILN_OK);
        tokenizer_decode(c.tok, ids.data, ids.len, true, &out);
        cr_expect(out.len == texts.len && memcmp(out.data, texts.data, out.len) == 0,
                  "%s: %zu bytes became %zu", vocabs[v], texts.len, out.len);
        strbuf_free(&out);
        down(&c);
    }
    strbuf_free(&texts);
}

// The two containers of one vocabulary: scores in one, merges in the other.
Test(token_vectors, stories260K_gives_the_same_ids_from_gguf_and_from_json)
{
    Case a = {0}, b = {0};
    open_vocab(&a, "stories260K/gguf/stories260K-f32.gguf");
    open_vocab(&b, "stories260K/hf");
    cr_expect_eq(tokenizer_n_ids(a.tok), tokenizer_n_ids(b.tok));
    for (int32_t id = 0; id < tokenizer_n_ids(a.tok); id++) {
        cr_expect(str_eq(tokenizer_text(a.tok, id), tokenizer_text(b.tok, id)), "text of %d", id);
        cr_expect(str_eq(tokenizer_piece(a.tok, id), tokenizer_piece(b.tok, id)), "print of %d",
                  id);
        cr_expect_eq(tokenizer_kind(a.tok, id), tokenizer_kind(b.tok, id), "kind of %d", id);
    }
    StrBuf texts = shared_text("tokenizers/vectors.inp");
    for (size_t begin = 0; begin < texts.len; begin += 7) {
        Str text = {texts.data + begin, MIN((size_t)90, texts.len - begin)};
        while (text.len && ((uint8_t)text.data[0] & 0xC0) == 0x80)
            text.data++, text.len--; // whole characters
        while (text.data + text.len < texts.data + texts.len &&
               ((uint8_t)text.data[text.len] & 0xC0) == 0x80)
            text.len++;
        TokenIds want = {0};
        cr_assert_eq(tokenizer_encode(b.tok, text, ENCODE_ADD_SPECIAL, &b.arena, &want, &b.diag),
                     KILN_OK);
        expect_ids(&a, text, want.data, want.len, ENCODE_ADD_SPECIAL);
    }
    strbuf_free(&texts);
    down(&a);
    down(&b);
}

Test(token_vectors, stories260K_gives_the_recorded_prompt_ids)
{
    StrBuf text = shared_text("stories260K/expected.json");
    Case c = {0};
    open_vocab(&c, "stories260K/gguf/stories260K-q8_0.gguf");
    JsonDoc doc;
    cr_assert_eq(jsondoc_read((Str){text.data, text.len}, "expected.json", JSON_STRICT,
                              heap_default(), &doc, NULL),
                 KILN_OK);
    const JsonValue *cases = jval_get(doc.root, "cases");
    int32_t n_checked = 0;
    for (int32_t i = 0; i < jval_len(cases); i++) {
        const JsonValue *item = jval_at(cases, i), *ids = jval_get(item, "prompt_ids");
        if (jval_kind(jval_get(item, "prompt")) != JKIND_STRING || !ids) continue;
        VEC(int32_t) want = {0};
        for (int32_t k = 0; k < jval_len(ids); k++) {
            int64_t id;
            cr_assert(jval_as_int(jval_at(ids, k), &id));
            vec_push(&c.arena, &want, (int32_t)id);
        }
        expect_ids(&c, jval_text(jval_get(item, "prompt")), want.data, want.len,
                   ENCODE_ADD_SPECIAL);
        n_checked++;
    }
    cr_expect_gt(n_checked, 0, "no prompts in expected.json");
    jsondoc_close(&doc);
    strbuf_free(&text);
    down(&c);
}
