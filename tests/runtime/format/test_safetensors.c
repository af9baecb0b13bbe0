// tests/runtime/format/test_safetensors.c - safetensors files, whole, cut, flipped, and wrong in
// each way.
#include "runtime/format/safetensors.h"

#include <criterion/criterion.h>

#include "tests/support/fixture.h"
#include "tests/support/toy_model.h"

TestSuite(safetensors, .init = fixture_up, .fini = fixture_down, .timeout = 120);

static KilnStatus read_bytes(const char *bytes, size_t n)
{
    Safetensors *s = NULL;
    diag_reset(&diag);
    KilnStatus st = safetensors_read((Str){bytes, n}, "a.safetensors", &heap, &s, &diag);
    cr_expect_eq(st == KILN_OK, s != NULL);
    cr_expect(st == KILN_OK || diag.n_errors == 1);
    safetensors_close(s);
    return st;
}

static void put_file(StrBuf *out, const char *header, size_t n_data)
{
    gw_le(out, strlen(header), 8);
    strbuf_puts(out, header);
    for (size_t i = 0; i < n_data; i++)
        strbuf_putc(out, (char)i);
}

Test(safetensors, what_was_written_is_read)
{
    StrBuf bytes = {0};
    Safetensors *s;
    put_file(&bytes,
             "{\"__metadata__\":{\"format\":\"pt\"},\"b\":{\"dtype\":\"F32\",\"shape\":[2,1],"
             "\"data_offsets\":[2,10]},"
             "\"a\":{\"dtype\":\"BF16\",\"shape\":[],\"data_offsets\":[0,2]},\"z\":{\"dtype\":"
             "\"I64\",\"shape\":[0,4],\"data_offsets\":[10,10]}}  ",
             10);
    cr_assert_eq(safetensors_read((Str){bytes.data, bytes.len}, "a", &heap, &s, &diag), KILN_OK,
                 "%s", diag_first(&diag));
    cr_expect_eq(safetensors_n_tensors(s), 3);
    const SafeTensor *b = safetensors_find(s, "b"), *a = safetensors_find(s, "a");
    cr_assert(a && b);
    cr_expect(b->dtype == DTYPE_F32 && b->rank == 2 && b->shape[0] == 2 && b->size == 8);
    cr_expect(a->dtype == DTYPE_BF16 && a->rank == 0 && a->size == 2);
    cr_expect_eq(((const uint8_t *)b->data)[0], 2);
    cr_expect_str_eq(safetensors_tensor(s, 0)->name, "a", "tensors come in order of their bytes");
    safetensors_close(s);
    strbuf_free(&bytes);
}

#define T(name, dtype, shape, offsets)                                                             \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

Test(safetensors, tables_that_cannot_be_are_refused)
{
    static const struct {
        const char *header;
        size_t n_data;
        KilnStatus st;
        const char *says;
    } cases[] = {
        {"{" T("a", "F32", "[2]", "[0,8]") "}", 8, KILN_OK, ""},
        {"{}", 0, KILN_OK, ""},
        {"{}", 1, KILN_ERR_INPUT, "1 bytes after the last tensor"},
        {" {}", 0, KILN_ERR_INPUT, "does not begin with {"},
        {"[]", 0, KILN_ERR_INPUT, "does not begin with {"},
        {"{\"a\":1}", 0, KILN_ERR_INPUT, "expected an object"},
        {"{\"a\":null}", 0, KILN_ERR_INPUT, "expected an object"},
        {"{\"\":{}}", 0, KILN_ERR_INPUT, "0 bytes, expected 1 to 512"},
        {"{" T("a", "F32", "[2]", "[0,8]") "," T("a", "F32", "[2]", "[0,8]") "}", 8, KILN_ERR_INPUT,
         "duplicate"},
        {"{" T("a", "F31", "[2]", "[0,8]") "}", 8, KILN_ERR_INPUT, "dtype \"F31\""},
        {"{" T("a", "F4", "[2]", "[0,1]") "}", 1, KILN_ERR_UNSUPPORTED, "F4"},
        {"{" T("a", "F32", "2", "[0,8]") "}", 8, KILN_ERR_INPUT, "shape"},
        {"{" T("a", "F32", "[-2]", "[0,8]") "}", 8, KILN_ERR_INPUT, "dimension 0"},
        {"{" T("a", "F32", "[2.0]", "[0,8]") "}", 8, KILN_ERR_INPUT, "dimension 0"},
        {"{" T("a", "F32", "[true]", "[0,4]") "}", 4, KILN_ERR_INPUT, "dimension 0"},
        {"{" T("a", "F32", "[1,1,1,1,1,1,1,1,2]", "[0,8]") "}", 8, KILN_ERR_INPUT, "9 dimensions"},
        {"{" T("a", "F32", "[4611686018427387904,4]", "[0,8]") "}", 8, KILN_ERR_INPUT, "2^64"},
        {"{" T("a", "F32", "[2]", "[0,8,9]") "}", 8, KILN_ERR_INPUT, "data_offsets"},
        {"{" T("a", "F32", "[2]", "[8,0]") "}", 8, KILN_ERR_INPUT, "data_offsets"},
        {"{" T("a", "F32", "[2]", "[-8,0]") "}", 8, KILN_ERR_INPUT, "data_offsets"},
        {"{" T("a", "F32", "[2]", "[0,8]") "}", 7, KILN_ERR_INPUT, "but the file has"},
        {"{" T("a", "F32", "[2]", "[0,9223372036854775807]") "}", 8, KILN_ERR_INPUT,
         "but the file has"},
        {"{" T("a", "F32", "[3]", "[0,8]") "}", 8, KILN_ERR_INPUT,
         "span 8 bytes, its shape needs 12"},
        {"{" T("a", "F32", "[1]", "[4,8]") "}", 8, KILN_ERR_INPUT, "a hole or an overlap"},
        {"{" T("a", "F32", "[2]", "[0,8]") "," T("b", "F32", "[1]", "[4,8]") "}", 8, KILN_ERR_INPUT,
         "a hole or an overlap"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, KILN_ERR_INPUT, "expected an object of"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"x\":1}}", 8,
         KILN_ERR_INPUT, "expected an object of"},
        {"{\"__metadata__\":{\"a\":1}}", 0, KILN_ERR_INPUT, "__metadata__"},
        {"{\"__metadata__\":[]}", 0, KILN_ERR_INPUT, "__metadata__"},
    };
    for (int32_t i = 0; i < COUNT_OF(cases); i++) {
        StrBuf bytes = {0};
        put_file(&bytes, cases[i].header, cases[i].n_data);
        cr_expect_eq(read_bytes(bytes.data, bytes.len), cases[i].st, "case %d: %s", i,
                     diag_first(&diag));
        expect_says(cases[i].says);
        strbuf_free(&bytes);
    }
    static const char huge[] = "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF{}";
    cr_expect_eq(read_bytes(huge, sizeof huge - 1), KILN_ERR_INPUT);
    expect_says("expected at most 100000000");
    cr_expect_eq(read_bytes("\5\0\0\0\0\0\0\0{}", 10), KILN_ERR_INPUT);
    expect_says("the header has 5 bytes but the file only 10");
}

Test(safetensors, a_file_cut_anywhere_is_refused)
{
    ToyOptions o = {.matrices = BLOCK_F16};
    StrBuf bytes = {0};
    toy_safetensors(&o, 0, 1, false, &bytes);
    size_t header = (uint8_t)bytes.data[0] + 256 * (size_t)(uint8_t)bytes.data[1];
    for (size_t n = 0; n < bytes.len; n += n < header + 16 ? 1 : 509) {
        char *copy = exact_copy(bytes.data, n);
        cr_expect_eq(read_bytes(copy, n), KILN_ERR_INPUT, "cut at %zu", n);
        heap_free(&heap, copy);
    }
    strbuf_free(&bytes);
}

Test(safetensors, a_file_with_any_header_bit_flipped_is_answered)
{
    ToyOptions o = {.matrices = BLOCK_F16};
    StrBuf bytes = {0};
    toy_safetensors(&o, 0, 1, false, &bytes);
    size_t header = 8 + (uint8_t)bytes.data[0] + 256 * (size_t)(uint8_t)bytes.data[1],
           n_refused = 0;
    char *copy = exact_copy(bytes.data, bytes.len);
    for (size_t bit = 0; bit < header * 8; bit++) {
        copy[bit / 8] ^= (char)(1 << bit % 8);
        n_refused += read_bytes(copy, bytes.len) != KILN_OK;
        copy[bit / 8] ^= (char)(1 << bit % 8);
    }
    cr_expect_gt(n_refused, header, "%zu of %zu flips were refused", n_refused, header * 8);
    heap_free(&heap, copy);
    strbuf_free(&bytes);
}

Test(safetensors, each_failing_allocation_of_a_load_is_reported)
{
    ToyOptions o = {.matrices = BLOCK_F32};
    StrBuf bytes = {0};
    toy_safetensors(&o, 0, TOY_LAYERS, true, &bytes);
    int32_t n_failed = 0;
    for (int64_t fail_at = 1;; fail_at++) {
        heap.fail_at = fail_at;
        KilnStatus st = read_bytes(bytes.data, bytes.len);
        bool reached = heap.fail_at <= 0;
        heap.fail_at = 0;
        if (!reached) break;
        cr_assert_eq(st, KILN_ERR_NOMEM, "allocation %lld", (long long)fail_at);
        cr_assert_eq(heap.n_live, 0);
        n_failed++;
    }
    cr_expect_geq(n_failed, 2);
    strbuf_free(&bytes);
}
