// tests/base/test_text.c - views, builders, hashes.
#include <criterion/criterion.h>

#include "base/hash.h"
#include "base/str.h"

Test(str, distance_is_the_least_number_of_edits)
{
    cr_expect_eq(str_distance(STR("kitten"), STR("sitting")), 3);
    cr_expect_eq(str_distance(STR(""), STR("abc")), 3);
    cr_expect_eq(str_distance(STR("same"), STR("same")), 0);
}

Test(str, a_near_name_is_suggested_and_a_far_one_is_not)
{
    const char *names[] = {"--temp", "--top-k", "--threads"};
    cr_expect_str_eq(str_nearest(STR("--tmep"), names, 3), "--temp");
    cr_expect_null(str_nearest(STR("zzzzzzzz"), names, 3));
}

Test(strbuf, json_escapes_what_json_must)
{
    StrBuf b = {0};
    strbuf_json(&b, "a\"b\\c\n\x01", 7);
    cr_expect_str_eq(b.data, "a\\\"b\\\\c\\n\\u0001");
    strbuf_free(&b);
}

Test(hash, fields_are_kept_apart)
{
    Hasher a = {0}, b = {0};
    hasher_add_text(&a, "ab"), hasher_add_text(&a, "c");
    hasher_add_text(&b, "a"), hasher_add_text(&b, "bc");
    cr_expect(!hash_eq(hasher_finish(&a), hasher_finish(&b)));
    char hex[33];
    hash_hex(hash_bytes("", 0), hex);
    cr_expect_str_eq(hex, "99aa06d3014798d86001c324468d497f", "XXH3-128 of nothing");
}
