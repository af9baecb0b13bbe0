// tests/base/test_diag.c - messages as people read them.
#include <criterion/criterion.h>

#include "base/diag.h"

static const char text[] = "x = 1\n\ty = x + é + bad\nlast";

Test(diag, a_caret_stands_under_the_place_and_tabs_line_up)
{
    Diag d;
    StrBuf out = {0};
    diag_init(&d, heap_default());
    int32_t file = diag_file(&d, "k.py", str_of(text));
    int32_t at = (int32_t)(strstr(text, "bad") - text);
    DiagItem *item = diag_add(&d, DIAG_ERROR, "E0201", (Span){file, at, at + 3},
                              "name `%s` is not defined", "bad");
    diag_note(&d, item, (Span){file, 0, 1}, "first binding");
    diag_help(&d, item, "write it");
    diag_render(&d, &out);
    cr_expect_str_eq(out.data, "k.py:2:14: error[E0201]: name `bad` is not defined\n"
                               "    2 | \ty = x + é + bad\n"
                               "      | \t            ^~~\n"
                               "k.py:1:1: note: first binding\n"
                               "    1 | x = 1\n"
                               "      | ^\n"
                               "  help: write it\n");
    strbuf_free(&out);
    diag_reset(&d);
}

Test(diag, a_failure_without_a_place_has_its_code_and_hint)
{
    Diag d;
    StrBuf out = {0};
    diag_init(&d, heap_default());
    cr_expect_eq(fail_hint(&d, KILN_ERR_INPUT, "K201", "look again", "%s: not a GGUF file", "m"),
                 KILN_ERR_INPUT);
    diag_render(&d, &out);
    cr_expect_str_eq(out.data, "kiln: error: m: not a GGUF file [K201]\n  hint: look again\n");
    strbuf_free(&out);
    diag_reset(&d);
}

Test(diag, the_same_error_is_said_once_and_the_limit_holds)
{
    Diag d;
    StrBuf out = {0};
    diag_init(&d, heap_default());
    int32_t file = diag_file(&d, "k.py", str_of(text));
    for (int i = 0; i < 2; i++)
        diag_add(&d, DIAG_ERROR, "E0201", (Span){file, 0, 1}, "same");
    for (int i = 0; i < 30; i++)
        diag_add(&d, DIAG_ERROR, "E0202", (Span){file, 2, 3}, "other %d", i);
    cr_expect_eq(d.n_errors, 32);
    cr_expect_eq(d.items.len, 20);
    diag_render(&d, &out);
    cr_expect_null(strstr(strstr(out.data, "same") + 4, "same"));
    cr_expect_not_null(strstr(out.data, "12 more errors"));
    strbuf_free(&out);
    diag_reset(&d);
}

Test(diag, spans_past_the_end_of_a_file_do_not_read_past_it)
{
    Diag d;
    StrBuf out = {0};
    diag_init(&d, heap_default());
    int32_t file = diag_file(&d, "k.py", str_of("ab"));
    diag_add(&d, DIAG_ERROR, "E0101", (Span){file, 50, 60}, "unexpected end");
    diag_render(&d, &out);
    diag_render_json(&d, &out);
    cr_expect_not_null(strstr(out.data, "unexpected end"));
    strbuf_free(&out);
    diag_reset(&d);
}
