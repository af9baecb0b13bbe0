// tests/runtime/format/test_json.c - what the JSON reader accepts, refuses, and says.
#include "runtime/format/json.h"

#include <criterion/criterion.h>

#include "tests/support/fixture.h"

TestSuite(json, .init = fixture_up, .fini = fixture_down, .timeout = 60);

static KilnStatus read(const char *text, JsonDialect dialect, JsonDoc *doc)
{
    diag_reset(&diag);
    return jsondoc_read(str_of(text), "a.json", dialect, &heap, doc, &diag);
}

Test(json, values_are_read_as_they_are_written)
{
    JsonDoc doc;
    int64_t i;
    double r;
    bool b;
    cr_assert_eq(read("{\"i\": -7, \"r\": 2.5, \"b\": true, \"s\": \"a\\u0000\\n\\ud83d\\ude00\", "
                      "\"n\": null, \"a\": [1, [2]], \"o\": {}}",
                      JSON_STRICT, &doc),
                 KILN_OK, "%s", diag_first(&diag));
    cr_expect(jval_as_int(jval_get(doc.root, "i"), &i) && i == -7);
    cr_expect(jval_as_real(jval_get(doc.root, "r"), &r) && r == 2.5);
    cr_expect(jval_as_bool(jval_get(doc.root, "b"), &b) && b);
    cr_expect(str_eq(jval_text(jval_get(doc.root, "s")), (Str){"a\0\n\xF0\x9F\x98\x80", 7}));
    cr_expect_null(jval_get(doc.root, "n"));
    cr_expect(jval_has_null(doc.root, "n"));
    cr_expect_not(jval_has_null(doc.root, "x"));
    cr_expect_eq(jval_len(jval_get(doc.root, "a")), 2);
    cr_expect_eq(jval_kind(jval_get(doc.root, "o")), JKIND_OBJECT);
    cr_expect_not(jval_as_int(jval_get(doc.root, "b"), &i), "true is not 1");
    cr_expect_not(jval_as_int(jval_get(doc.root, "r"), &i));
    JsonIter it = {0};
    StrBuf keys = {0};
    while (jval_next(doc.root, &it))
        strbuf_add(&keys, it.key.data, it.key.len);
    cr_expect_str_eq(keys.data, "irbsnao", "members come in file order");
    strbuf_free(&keys);
    jsondoc_close(&doc);
}

Test(json, integers_are_exact_to_int64_and_doubles_beyond)
{
    static const struct {
        const char *text;
        bool exact;
        int64_t i;
        double r;
    } cases[] = {
        {"[9223372036854775807]", true, INT64_MAX, 0x1p63},
        {"[-9223372036854775808]", true, INT64_MIN, -0x1p63},
        {"[9223372036854775808]", false, 0, 9223372036854775808.0},
        {"[-9223372036854775809]", false, 0, -9223372036854775808.0},
        {"[1000000000000000019884624838656]", false, 0, 1e30},
        {"[9007199254740993]", true, 9007199254740993, 0},
        {"[0.12345678901234567890123]", false, 0, 0.12345678901234568},
        {"[1e-00000000000000000000001]", false, 0, 0.1},
        {"[12345678901234567890.5]", false, 0, 12345678901234567890.5},
    };
    for (int32_t k = 0; k < COUNT_OF(cases); k++) {
        JsonDoc doc;
        int64_t i = 0;
        double r = 0;
        cr_assert_eq(read(cases[k].text, JSON_STRICT, &doc), KILN_OK, "%s: %s", cases[k].text,
                     diag_first(&diag));
        const JsonValue *v = jval_at(doc.root, 0);
        cr_expect_eq(jval_as_int(v, &i), cases[k].exact, "%s", cases[k].text);
        cr_expect(jval_as_real(v, &r));
        if (cases[k].exact)
            cr_expect_eq(i, cases[k].i, "%s gave %lld", cases[k].text, (long long)i);
        else
            cr_expect(r >= cases[k].r * (cases[k].r < 0 ? 1.0000001 : 0.9999999) &&
                          r <= cases[k].r * (cases[k].r < 0 ? 0.9999999 : 1.0000001),
                      "%s gave %.17g", cases[k].text, r);
        jsondoc_close(&doc);
    }
}

Test(json, what_is_not_json_is_refused_with_a_place)
{
    static const char *const cases[] = {
        "",
        " ",
        "{",
        "[1,]",
        "{\"a\":1,}",
        "{\"a\":1 \"b\":2}",
        "{\"a\":1,\"a\":2}",
        "[01]",
        "[+1]",
        "[1.]",
        "[.5]",
        "[\"\x01\"]",
        "[\"\\ud800\"]",
        "[\"\\udc00\"]",
        "[\"\xFF\"]",
        "[\"\xC0\x80\"]",
        "[\"\xED\xA0\x80\"]",
        "[1] x",
        "\xEF\xBB\xBF[1]",
        "nul",
        "[tru]",
        "1",
        "\"a\"",
        "[NaN]",
        "[Infinity]",
        "{1:2}",
        "[1e999]",
        "['a']",
        "{\"a\\u0000b\": 1}",
    };
    for (int32_t i = 0; i < COUNT_OF(cases); i++) {
        JsonDoc doc;
        cr_expect_eq(read(cases[i], JSON_STRICT, &doc), KILN_ERR_INPUT, "%s was accepted",
                     cases[i]);
        cr_expect_null(doc.root);
        expect_says("a.json:");
        jsondoc_close(&doc);
    }
    JsonDoc doc;
    (void)!read("{\n  \"a\": 1,\n  \"b\": x\n}", JSON_STRICT, &doc);
    expect_says("a.json:3:");
}

Test(json, depth_64_is_the_limit)
{
    char text[2 * (JSON_DEPTH_MAX + 1) + 1] = {0};
    JsonDoc doc;
    for (int32_t i = 0; i < JSON_DEPTH_MAX; i++)
        text[i] = '[', text[JSON_DEPTH_MAX + i] = ']';
    cr_expect_eq(read(text, JSON_STRICT, &doc), KILN_OK, "%s", diag_first(&diag));
    jsondoc_close(&doc);
    for (int32_t i = 0; i < JSON_DEPTH_MAX + 1; i++)
        text[i] = '[', text[JSON_DEPTH_MAX + 1 + i] = ']';
    cr_expect_eq(read(text, JSON_STRICT, &doc), KILN_ERR_INPUT);
    expect_says("nested deeper than 64");
    cr_expect_eq(read("[\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["
                      "[[[[\\\"[[\"]",
                      JSON_STRICT, &doc),
                 KILN_OK, "brackets in strings are no nesting");
    jsondoc_close(&doc);
}

Test(json, pythons_words_are_accepted_and_refused_where_used)
{
    JsonDoc doc;
    double x = 3;
    cr_assert_eq(read("{\"a\": NaN, \"b\": -Infinity, \"c\": Infinity, \"d\": \"NaN\", \"e\": 1}",
                      JSON_PYTHON, &doc),
                 KILN_OK, "%s", diag_first(&diag));
    cr_expect_eq(jval_real(&doc, doc.root, "a", -1e9, 1e9, &x, &diag), KILN_ERR_INPUT);
    cr_expect_eq(jval_real(&doc, doc.root, "b", -1e9, 1e9, &x, &diag), KILN_ERR_INPUT);
    cr_expect_eq(jval_real(&doc, doc.root, "c", -1e9, 1e9, &x, &diag), KILN_ERR_INPUT);
    cr_expect_eq(x, 3);
    cr_expect(jval_is(jval_get(doc.root, "d"), "NaN"));
    jsondoc_close(&doc);
}

Test(json, fields_keep_their_default_or_name_both_sides)
{
    JsonDoc doc;
    int32_t n = 5;
    bool b = true;
    Str s = STR("kept");
    cr_assert_eq(read("{\"n\": \"abc\", \"z\": null, \"big\": 11}", JSON_STRICT, &doc), KILN_OK);
    cr_expect_eq(jval_int32(&doc, doc.root, "absent", 0, 10, &n, &diag), KILN_OK);
    cr_expect_eq(jval_int32(&doc, doc.root, "z", 0, 10, &n, &diag), KILN_OK);
    cr_expect_eq(n, 5);
    cr_expect_eq(jval_int32(&doc, doc.root, "n", 0, 10, &n, &diag), KILN_ERR_INPUT);
    expect_says("a.json: n: found \"abc\", expected an integer from 0 to 10");
    diag_reset(&diag);
    cr_expect_eq(jval_int32(&doc, doc.root, "big", 0, 10, &n, &diag), KILN_ERR_INPUT);
    expect_says("found 11");
    diag_reset(&diag);
    cr_expect_eq(jval_bool(&doc, doc.root, "big", &b, &diag), KILN_ERR_INPUT);
    expect_says("true or false");
    cr_expect_eq(jval_str(&doc, doc.root, "big", &s, &diag), KILN_ERR_INPUT);
    cr_expect(str_is(s, "kept"));
    jsondoc_close(&doc);
}
