// tests/compiler/test_lex.c - Python's tokens, suites and strings; and what is not one.
#include <criterion/criterion.h>

#include <stdlib.h>

#include "compiler/lex.h"

TestSuite(lex, .timeout = 60);

/// Tokens of `text`, one line: kinds by letter, names and operators by text. "!" and the code when
/// it fails.
static void tokens_of(const char *text, StrBuf *out)
{
    Arena a;
    Diag d;
    Tokens t;
    arena_init(&a, heap_default());
    diag_init(&d, heap_default());
    Str s = str_of(text);
    int32_t file = diag_file(&d, "t.py", s);
    strbuf_puts(out, "");
    if (lex_file(&a, s, file, &t, &d) != KILN_OK)
        strbuf_printf(out, "!%s", d.items.data[0]->code);
    else
        for (int32_t i = 0; i < t.len; i++) {
            static const char letters[] = ".;><nifjsfko";
            const Token *k = &t.data[i];
            if (i) strbuf_putc(out, ' ');
            if (k->kind >= TOK_NAME && k->kind != TOK_STRING && k->kind != TOK_FSTRING)
                strbuf_add(out, text + k->begin, (size_t)(k->end - k->begin));
            else
                strbuf_putc(out, k->kind == TOK_FSTRING ? 'F' : letters[k->kind]);
        }
    diag_reset(&d);
    arena_reset(&a);
}

Test(lex, tokens_are_pythons)
{
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"x = 1", "x = 1 ; ."},
        {"", "."},
        {"\n\n# only a comment\n", "."},
        {"if n:\n    x += 1\ny", "if n : ; > x += 1 ; < y ; ."},
        {"if a:\n  if b:\n    c\nd", "if a : ; > if b : ; > c ; < < d ; ."},
        {"f(a,\n  b)\n", "f ( a , b ) ; ."},
        {"a = \\\n  b\n", "a = b ; ."},
        {"a; b", "a ; b ; ."},
        {"x **= 2 // 3 << 1", "x **= 2 // 3 << 1 ; ."},
        {"a<=b!=c->d:=e...", "a <= b != c -> d := e ... ; ."},
        {"0x1F 0b10 0o17 1_000 1.5e-3 .5 3. 1j 1e5",
         "0x1F 0b10 0o17 1_000 1.5e-3 .5 3. 1j 1e5 ; ."},
        {"1if x else 2", "1 if x else 2 ; ."},
        {"r'a\\n' 'b' b\"c\" Rb'd' u'e'", "s s s s s ; ."},
        {"'''a\n'b'\n''' \"\\\"\"", "s s ; ."},
        {"f'{x}' f\"{a['b']}\" f'{x!r:>{w}}' rf'{y}'", "F F F F ; ."},
        {"f'{f\"{f'{1}'}\"}'", "F ; ."},
        {"f'{{}} {x:{y}} {z!s}'", "F ; ."},
        {"f'{\"a\" + 'b'}'", "F ; ."},
        {"match = case", "match = case ; ."},
        {"if a:\n\tb\n\tc\n", "if a : ; > b ; c ; < ."},
        {"if a:\n        b\n\tc\n", "!E0102"},
        {"x = 'abc", "!E0101"},
        {"x = (1, 2", "!E0101"},
        {"x = (1, 2]", "!E0101"},
        {"x = 1)", "!E0101"},
        {"if a:\n    b\n  c\n", "!E0101"},
        {"x = 1abc", "!E0101"},
        {"x = 012", "!E0101"},
        {"x = 0x", "!E0101"},
        {"x = $", "!E0101"},
        {"x = \\ 1", "!E0101"},
        {"f'{x", "!E0101"},
        {"caf\xC3\xA9 = 1", "caf\xC3\xA9 = 1 ; ."},
        {"x = \xFF", "!E0101"},
        {"\xEF\xBB\xBFx", "x ; ."},
        {"a\r\nb\rc\n", "a ; b ; c ; ."},
    };
    for (int i = 0; i < COUNT_OF(rows); i++) {
        StrBuf out = {0};
        tokens_of(rows[i].text, &out);
        cr_expect_str_eq(out.data, rows[i].want, "%d: %s\n  got  %s\n  want %s", i, rows[i].text,
                         out.data, rows[i].want);
        strbuf_free(&out);
    }
}

Test(lex, strings_have_pythons_escapes)
{
    static const struct {
        const char *text, *value;
    } rows[] = {{"'a\\nb'", "a\nb"},
                {"r'a\\nb'", "a\\nb"},
                {"'\\x41\\u00e9\\U0001F600\\101'", "A\xC3\xA9\xF0\x9F\x98\x80"
                                                   "A"},
                {"'a\\\nb'", "ab"},
                {"'\\q'", "\\q"},
                {"\"\"\"x\"y\"\"\"", "x\"y"},
                {"''", ""},
                {"'\\x4'", "\\x4"}};
    Arena a;
    arena_init(&a, heap_default());
    for (int i = 0; i < COUNT_OF(rows); i++) {
        Tokens t;
        bool is_bytes;
        Str s = str_of(rows[i].text);
        cr_assert_eq(lex_file(&a, s, -1, &t, NULL), KILN_OK);
        Str v = string_value(&a, s, &t.data[0], &is_bytes);
        cr_expect(str_is(v, rows[i].value), "%s: %.*s", rows[i].text, STR_ARG(v));
    }
    arena_reset(&a);
}

Test(lex, nesting_is_bounded)
{
    StrBuf text = {0}, out = {0};
    for (int i = 0; i < 201; i++)
        strbuf_putc(&text, '(');
    tokens_of(text.data, &out);
    cr_expect_str_eq(out.data, "!E0101");
    text.len = out.len = 0;
    for (int i = 0; i < 101; i++)
        strbuf_printf(&text, "%*sif a:\n", i, "");
    strbuf_printf(&text, "%*spass\n", 101, "");
    tokens_of(text.data, &out);
    cr_expect_str_eq(out.data, "!E0101");
    text.len = out.len = 0;
    for (int i = 0; i < 5000; i++)
        strbuf_puts(&text, "f'{");
    tokens_of(text.data, &out);
    cr_expect_str_eq(out.data, "!E0101");
    strbuf_free(&text);
    strbuf_free(&out);
}

// Cut anywhere, a file is tokens or an error.
Test(lex, every_prefix_of_a_file_is_tokens_or_an_error)
{
    const char *text = "if a:\n    x = f'{a!r:>{w}} {\"q\"}' + '''b\n''' # c\n    y = [1.5e3, "
                       "0x1F,\n  (z)]\nelse: pass\n";
    size_t n = strlen(text);
    for (size_t len = 0; len <= n; len++) {
        Arena a;
        Tokens t;
        arena_init(&a, heap_default());
        char *copy = malloc(len + 1); // no byte after the text may be read
        memcpy(copy, text, len);
        KilnStatus st = lex_file(&a, (Str){copy, len}, -1, &t, NULL);
        cr_expect(st == KILN_OK || st == KILN_ERR_INPUT);
        cr_expect_eq(t.data[t.len - 1].kind, TOK_END);
        free(copy);
        arena_reset(&a);
    }
}
