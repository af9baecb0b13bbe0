// tests/runtime/format/test_gguf.c - GGUF files, whole, cut, flipped, and wrong in each way the
// format can be.
#include "runtime/format/gguf.h"

#include <criterion/criterion.h>
#include <sys/stat.h>

#include "base/random.h"
#include "tests/support/fixture.h"
#include "tests/support/toy_model.h"

TestSuite(gguf, .init = fixture_up, .fini = fixture_down, .timeout = 120);

static KilnStatus read_bytes(const char *bytes, size_t n)
{
    Gguf *g = NULL;
    diag_reset(&diag);
    KilnStatus st = gguf_read((Str){bytes, n}, "a.gguf", &heap, &g, &diag);
    cr_expect_eq(st == KILN_OK, g != NULL);
    cr_expect(st == KILN_OK || diag.n_errors == 1, "%d messages", diag.n_errors);
    gguf_close(g);
    return st;
}

Test(gguf, what_was_written_is_read)
{
    GgufWriter w = {0};
    StrBuf bytes = {0};
    Gguf *g;
    float data[6] = {1, 2, 3, 4, 5, 6};
    gw_u32(&w, "a.count", 7);
    gw_f32(&w, "a.eps", 0.5f);
    gw_bool(&w, "a.flag", true);
    gw_str(&w, "a.name", "toy");
    gw_strs(&w, "a.words", (Str[]){STR("x"), STR(""), STR("yz")}, 3);
    gw_i32s(&w, "a.ids", (int32_t[]){-1, 2}, 2);
    gw_tensor(&w, "t", BLOCK_F32, 2, (int64_t[]){3, 2}, data, sizeof data);
    gw_tensor(&w, "u", BLOCK_F32, 1, (int64_t[]){6}, data, sizeof data);
    gw_finish(&w, &bytes);
    cr_assert_eq(gguf_read((Str){bytes.data, bytes.len}, "a.gguf", &heap, &g, &diag), KILN_OK, "%s",
                 diag_first(&diag));

    int64_t count = 0;
    double eps = 0;
    bool flag = false;
    Str name = {0}, word;
    const GgufValue *v;
    cr_expect_eq(gguf_int(g, "a.count", 0, 9, &count, &diag), KILN_OK);
    cr_expect_eq(count, 7);
    cr_expect_eq(gguf_real(g, "a.eps", 0, 1, &eps, &diag), KILN_OK);
    cr_expect_eq(eps, 0.5);
    cr_expect_eq(gguf_bool(g, "a.flag", &flag, &diag), KILN_OK);
    cr_expect(flag);
    cr_expect_eq(gguf_str(g, "a.name", &name, &diag), KILN_OK);
    cr_expect(str_is(name, "toy"));
    cr_expect_eq(gguf_array(g, "a.words", GGUF_STRING, &v, &diag), KILN_OK);
    size_t at = 0, n = 0, len = 0;
    while (gguf_next_string(v, &at, &word))
        n++, len += word.len;
    cr_expect_eq(n, 3);
    cr_expect_eq(len, 3);
    cr_expect_eq(gguf_array(g, "a.ids", GGUF_I32, &v, &diag), KILN_OK);
    cr_expect(gguf_value_int(v, 0, &count) && count == -1);
    cr_expect_not(gguf_value_int(v, 2, &count));
    cr_expect_eq(gguf_array(g, "a.none", GGUF_I32, &v, &diag), KILN_OK);
    cr_expect_null(v);
    cr_expect_eq(diag.n_errors, 0);

    const GgufTensor *t = gguf_find_tensor(g, "t");
    cr_assert_not_null(t);
    cr_expect(t->rank == 2 && t->ne[0] == 3 && t->ne[1] == 2 && t->ne[2] == 1 && t->size == 24);
    cr_expect_arr_eq(t->data, data, 24);
    cr_expect_null(gguf_find_tensor(g, "v"));

    // The wrong class is an error, not "absent"; so is a value out of range.
    cr_expect_eq(gguf_int(g, "a.name", 0, 9, &count, &diag), KILN_ERR_INPUT);
    expect_says("a.gguf: a.name: found a value of type string, expected an integer");
    diag_reset(&diag);
    cr_expect_eq(gguf_int(g, "a.count", 0, 6, &count, &diag), KILN_ERR_INPUT);
    expect_says("a.count: found 7, expected 0 to 6");
    cr_expect_eq(gguf_real(g, "a.count", 0, 9, &eps, &diag), KILN_ERR_INPUT);
    cr_expect_eq(gguf_bool(g, "a.count", &flag, &diag), KILN_ERR_INPUT);
    cr_expect_eq(gguf_array(g, "a.words", GGUF_I32, &v, &diag), KILN_ERR_INPUT);
    gguf_close(g);
    strbuf_free(&bytes);
}

Test(gguf, a_file_cut_anywhere_is_refused)
{
    ToyOptions o = {.matrices = BLOCK_Q8_0};
    StrBuf bytes = {0};
    size_t data_at = toy_gguf(&o, &bytes);
    for (size_t n = 0; n < bytes.len; n += n < data_at + 64 ? 1 : 997) {
        char *copy = exact_copy(bytes.data, n);
        KilnStatus st = read_bytes(copy, n);
        cr_expect_neq(st, KILN_OK, "cut at %zu of %zu was accepted", n, bytes.len);
        heap_free(&heap, copy);
    }
    cr_expect_eq(read_bytes(bytes.data, bytes.len), KILN_OK);
    strbuf_free(&bytes);
}

// Nothing is asked of the answer but that there is one, in bounds: a flipped weight name is still a
// file.
Test(gguf, a_file_with_any_header_bit_flipped_is_answered)
{
    ToyOptions o = {.matrices = BLOCK_F16, .no_tokenizer = true};
    StrBuf bytes = {0};
    size_t data_at = toy_gguf(&o, &bytes), n_refused = 0;
    char *copy = exact_copy(bytes.data, bytes.len);
    for (size_t bit = 0; bit < data_at * 8; bit++) {
        copy[bit / 8] ^= (char)(1 << bit % 8);
        n_refused += read_bytes(copy, bytes.len) != KILN_OK;
        copy[bit / 8] ^= (char)(1 << bit % 8);
    }
    cr_expect_gt(n_refused, data_at, "%zu of %zu flips were refused", n_refused, data_at * 8);
    heap_free(&heap, copy);
    strbuf_free(&bytes);
}

Test(gguf, random_overwrites_are_answered)
{
    ToyOptions o = {.matrices = BLOCK_F32};
    StrBuf bytes = {0};
    size_t data_at = toy_gguf(&o, &bytes);
    char *copy = exact_copy(bytes.data, bytes.len);
    Random random = {17};
    for (int32_t round = 0; round < 3000; round++) {
        size_t at = (size_t)random_below(&random, (int64_t)data_at - 8);
        uint64_t value = random_below(&random, 3) ? random_u64(&random)
                                                  : UINT64_MAX >> random_below(&random, 64);
        memcpy(copy + at, &value, 1 + (size_t)random_below(&random, 8));
        (void)read_bytes(copy, bytes.len);
        memcpy(copy, bytes.data, data_at);
    }
    heap_free(&heap, copy);
    strbuf_free(&bytes);
}

typedef struct HeaderCase {
    uint32_t version;
    uint64_t n_tensors, n_values;
    KilnStatus st;
    const char *says;
} HeaderCase;

Test(gguf, headers_that_cannot_be_are_refused)
{
    static const HeaderCase cases[] = {
        {3, 0, 0, KILN_OK, ""},
        {2, 0, 0, KILN_OK, ""},
        {0, 0, 0, KILN_ERR_UNSUPPORTED, "version 0, expected 2 or 3"},
        {1, 0, 0, KILN_ERR_UNSUPPORTED, "version 1"},
        {4, 0, 0, KILN_ERR_UNSUPPORTED, "version 4"},
        {0x03000000, 0, 0, KILN_ERR_UNSUPPORTED, "big-endian"},
        {3, 1, 0, KILN_ERR_INPUT, "1 tensors need at least 33 bytes"},
        {3, 0, 1, KILN_ERR_INPUT, "1 key-value pairs need at least 14 bytes"},
        {3, UINT64_MAX, 0, KILN_ERR_INPUT, "expected at most 1048576"},
        {3, 0, UINT64_MAX, KILN_ERR_INPUT, "expected at most 65536"},
        {3, 0, 65537, KILN_ERR_INPUT, "expected at most 65536"},
    };
    for (int32_t i = 0; i < COUNT_OF(cases); i++) {
        StrBuf bytes = {0};
        strbuf_add(&bytes, "GGUF", 4);
        gw_le(&bytes, cases[i].version, 4);
        gw_le(&bytes, cases[i].n_tensors, 8);
        gw_le(&bytes, cases[i].n_values, 8);
        cr_expect_eq(read_bytes(bytes.data, bytes.len), cases[i].st, "case %d: %s", i,
                     diag_first(&diag));
        expect_says(cases[i].says);
        strbuf_free(&bytes);
    }
    cr_expect_eq(read_bytes("<!doctype html>", 15), KILN_ERR_INPUT);
    expect_says("magic is \"<!do\" at offset 0, expected \"GGUF\"");
}

/// Builds one key-value pair by hand and expects a refusal.
static void expect_value(const char *key, size_t key_len, uint32_t type, const void *payload,
                         size_t n, const char *says)
{
    StrBuf bytes = {0};
    strbuf_add(&bytes, "GGUF", 4);
    gw_le(&bytes, 3, 4);
    gw_le(&bytes, 0, 8);
    gw_le(&bytes, 1, 8);
    gw_text(&bytes, (Str){key, key_len});
    gw_le(&bytes, type, 4);
    strbuf_add(&bytes, payload, n);
    for (int32_t i = 0; i < 16; i++)
        strbuf_putc(&bytes, 0); // room, so that counts are believed
    cr_expect_eq(read_bytes(bytes.data, bytes.len), KILN_ERR_INPUT, "%s", says);
    expect_says(says);
    strbuf_free(&bytes);
}

Test(gguf, values_that_cannot_be_are_refused)
{
    expect_value("", 0, GGUF_U32, "\1\0\0\0", 4, "an empty key");
    expect_value("a b", 3, GGUF_U32, "\1\0\0\0", 4, "printable ASCII");
    expect_value("a\0b", 3, GGUF_U32, "\1\0\0\0", 4, "printable ASCII");
    expect_value("a", 1, 13, "\1\0\0\0", 4, "unknown value type");
    expect_value("a", 1, GGUF_BOOL, "\2", 1, "neither 0 nor 1");
    expect_value("a", 1, GGUF_ARRAY, "\x09\0\0\0\1\0\0\0\0\0\0\0", 12, "array of arrays");
    expect_value("a", 1, GGUF_ARRAY, "\x0d\0\0\0\1\0\0\0\0\0\0\0", 12, "unknown element type");
    expect_value("a", 1, GGUF_ARRAY, "\x04\0\0\0\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 12, "16777216");
    expect_value("a", 1, GGUF_ARRAY, "\x04\0\0\0\xFF\0\0\0\0\0\0\0", 12, "ends inside a value");
    expect_value("a", 1, GGUF_STRING, "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 8,
                 "ends inside a string");
    expect_value("general.alignment", 17, GGUF_U32, "\x18\0\0\0", 4, "general.alignment");
    expect_value("general.alignment", 17, GGUF_U32, "\4\0\0\0", 4, "general.alignment");
    expect_value("general.alignment", 17, GGUF_U32, "\0\0\x20\0", 4, "general.alignment");
    expect_value("general.alignment", 17, GGUF_U64, "\x20\0\0\0\0\0\0\0", 8, "general.alignment");
}

Test(gguf, a_key_or_a_tensor_named_twice_is_refused)
{
    GgufWriter w = {0};
    StrBuf bytes = {0};
    gw_u32(&w, "a", 1);
    gw_u32(&w, "a", 2);
    gw_finish(&w, &bytes);
    cr_expect_eq(read_bytes(bytes.data, bytes.len), KILN_ERR_INPUT);
    expect_says("\"a\" before byte");
    strbuf_free(&bytes);
    float x[8] = {0};
    gw_tensor(&w, "t", BLOCK_F32, 1, (int64_t[]){8}, x, sizeof x);
    gw_tensor(&w, "t", BLOCK_F32, 1, (int64_t[]){8}, x, sizeof x);
    gw_finish(&w, &bytes);
    cr_expect_eq(read_bytes(bytes.data, bytes.len), KILN_ERR_INPUT);
    expect_says("tensor t: occurs twice");
    strbuf_free(&bytes);
}

typedef struct TensorCase {
    const char *name;
    uint32_t rank;
    uint64_t ne[5];
    uint32_t type;
    uint64_t offset;
    KilnStatus st;
    const char *says;
} TensorCase;

Test(gguf, tensors_that_cannot_be_are_refused)
{
    static const TensorCase cases[] = {
        {"t", 1, {8}, BLOCK_F32, 0, KILN_OK, ""},
        {"t", 4, {2, 2, 2, 1}, BLOCK_F32, 32, KILN_OK, ""},
        {"", 1, {8}, BLOCK_F32, 0, KILN_ERR_INPUT, "empty"},
        {"a\nb", 1, {8}, BLOCK_F32, 0, KILN_ERR_INPUT, "control characters"},
        {"0123456789012345678901234567890123456789012345678901234567890123",
         1,
         {8},
         BLOCK_F32,
         0,
         KILN_ERR_INPUT,
         "64 bytes, expected at most 63"},
        {"t", 0, {0}, BLOCK_F32, 0, KILN_ERR_INPUT, "rank 0"},
        {"t", 5, {1, 1, 1, 1, 1}, BLOCK_F32, 0, KILN_ERR_INPUT, "rank 5"},
        {"t", 2, {8, 0}, BLOCK_F32, 0, KILN_ERR_INPUT, "dimension 1 is 0"},
        {"t", 2, {1ull << 32, 1ull << 32}, BLOCK_F32, 0, KILN_ERR_INPUT, "2^62 elements"},
        {"t", 1, {(1ull << 62) + 1}, BLOCK_F32, 0, KILN_ERR_INPUT, "2^62 elements"},
        {"t", 1, {1ull << 62}, BLOCK_F64, 0, KILN_ERR_INPUT, "2^64 bytes"},
        {"t", 1, {1ull << 61}, BLOCK_F32, 0, KILN_ERR_INPUT, "ends at byte"},
        {"t", 1, {8}, 4, 0, KILN_ERR_UNSUPPORTED, "unknown type 4"},
        {"t", 1, {8}, 0xFFFFFFFF, 0, KILN_ERR_UNSUPPORTED, "unknown type"},
        {"t", 1, {33}, BLOCK_Q8_0, 0, KILN_ERR_INPUT, "multiple of 32 for Q8_0"},
        {"t", 1, {8}, BLOCK_F32, 8, KILN_ERR_INPUT, "multiple of 32"},
        {"t", 1, {8}, BLOCK_F32, 64, KILN_ERR_INPUT, "but the file has"},
        {"t", 1, {8}, BLOCK_F32, UINT64_MAX - 31, KILN_ERR_INPUT, "2^64"},
    };
    for (int32_t i = 0; i < COUNT_OF(cases); i++) {
        const TensorCase *c = &cases[i];
        StrBuf bytes = {0};
        strbuf_add(&bytes, "GGUF", 4);
        gw_le(&bytes, 3, 4);
        gw_le(&bytes, 1, 8);
        gw_le(&bytes, 0, 8);
        gw_text(&bytes, str_of(c->name));
        gw_le(&bytes, c->rank, 4);
        for (uint32_t k = 0; k < c->rank; k++)
            gw_le(&bytes, c->ne[k], 8);
        gw_le(&bytes, c->type, 4);
        gw_le(&bytes, c->offset, 8);
        while (bytes.len % 32)
            strbuf_putc(&bytes, 0);
        for (int32_t k = 0; k < 64; k++)
            strbuf_putc(&bytes, 0);
        cr_expect_eq(read_bytes(bytes.data, bytes.len), c->st, "case %d: %s", i, diag_first(&diag));
        expect_says(c->says);
        strbuf_free(&bytes);
    }
}

Test(gguf, overlapping_tensors_are_refused)
{
    GgufWriter w = {0};
    StrBuf bytes = {0};
    float x[16] = {0};
    gw_tensor(&w, "t", BLOCK_F32, 1, (int64_t[]){16}, x, sizeof x);
    w.data.len = 32; // the next one begins inside
    gw_tensor(&w, "u", BLOCK_F32, 1, (int64_t[]){16}, x, sizeof x);
    gw_finish(&w, &bytes);
    cr_expect_eq(read_bytes(bytes.data, bytes.len), KILN_ERR_INPUT);
    expect_says("tensor u: overlaps tensor t");
    strbuf_free(&bytes);
}

Test(gguf, a_missing_file_and_a_directory_are_errors)
{
    Gguf *g;
    cr_expect_eq(gguf_open("/nowhere/a.gguf", &heap, &g, &diag), KILN_ERR_IO);
    cr_expect_null(g);
    cr_expect_eq(gguf_open("/", &heap, &g, &diag), KILN_ERR_IO);
    cr_expect_null(g);
    StrBuf dir = toy_directory(), path = {0};
    strbuf_printf(&path, "%s/pipe.gguf", dir.data);
    cr_assert_eq(mkfifo(path.data, 0600), 0);
    cr_expect_eq(gguf_open(path.data, &heap, &g, &diag), KILN_ERR_IO,
                 "and not a wait for a writer");
    strbuf_free(&path);
    toy_remove(&dir);
    strbuf_free(&dir);
}

Test(gguf, each_failing_allocation_of_a_load_is_reported)
{
    ToyOptions o = {.matrices = BLOCK_Q8_0};
    StrBuf bytes = {0};
    int32_t n_failed = 0;
    toy_gguf(&o, &bytes);
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

// A split model: metadata and half of the tensors in the first file, the rest in the second.
static void put_split(const StrBuf *dir, const char *name, int32_t no, int32_t count,
                      const char *tensor, bool head)
{
    GgufWriter w = {0};
    StrBuf bytes = {0};
    float x[8] = {(float)no};
    if (head) gw_str(&w, "general.architecture", "llama");
    gw_key(&w, "split.no", GGUF_U16);
    gw_le(&w.kv, (uint64_t)no, 2);
    gw_key(&w, "split.count", GGUF_U16);
    gw_le(&w.kv, (uint64_t)count, 2);
    gw_key(&w, "split.tensors.count", GGUF_I32);
    gw_le(&w.kv, 2, 4);
    gw_tensor(&w, tensor, BLOCK_F32, 1, (int64_t[]){8}, x, sizeof x);
    gw_finish(&w, &bytes);
    toy_put(dir, name, (Str){bytes.data, bytes.len});
    strbuf_free(&bytes);
}

static KilnStatus open_in(const StrBuf *dir, const char *name, Gguf **g)
{
    StrBuf path = {0};
    strbuf_printf(&path, "%s/%s", dir->data, name);
    diag_reset(&diag);
    KilnStatus st = gguf_open(path.data, &heap, g, &diag);
    strbuf_free(&path);
    return st;
}

Test(gguf, a_split_model_is_one_table)
{
    StrBuf dir = toy_directory();
    Gguf *g;
    put_split(&dir, "m-00001-of-00002.gguf", 0, 2, "a", true);
    cr_expect_eq(open_in(&dir, "m-00001-of-00002.gguf", &g), KILN_ERR_IO,
                 "the second file is missing");
    put_split(&dir, "m-00002-of-00002.gguf", 1, 2, "b", false);
    cr_assert_eq(open_in(&dir, "m-00001-of-00002.gguf", &g), KILN_OK, "%s", diag_first(&diag));
    cr_expect_eq(gguf_n_tensors(g), 2);
    cr_expect_eq(*(const float *)gguf_find_tensor(g, "b")->data, 1);
    gguf_close(g);
    cr_expect_eq(open_in(&dir, "m-00002-of-00002.gguf", &g), KILN_ERR_INPUT);
    expect_says("expected the first one");
    put_split(&dir, "m-00002-of-00002.gguf", 1, 2, "a", false);
    cr_expect_eq(open_in(&dir, "m-00001-of-00002.gguf", &g), KILN_ERR_INPUT);
    expect_says("occurs twice");
    put_split(&dir, "m-00002-of-00002.gguf", 0, 2, "b", false);
    cr_expect_eq(open_in(&dir, "m-00001-of-00002.gguf", &g), KILN_ERR_INPUT);
    expect_says("says it is split 0 of 2, expected 1 of 2");
    toy_remove(&dir);
    strbuf_free(&dir);
}
