// runtime/format/safetensors.c - the JSON table, then one sort by place that proves it covers the
// data.
#include "runtime/format/safetensors.h"

#include <stdlib.h>

#include "base/file.h"
#include "base/map.h"
#include "runtime/format/guard.h"
#include "runtime/format/json.h"

struct Safetensors {
    Heap *heap;
    Arena arena;
    File file; ///< mapped, or all zero
    Str bytes;
    const char *path;
    JsonDoc doc; ///< open only while reading
    SafeTensor *tensors;
    int32_t n_tensors;
    Map names;
};

// clang-format off
static const struct {
    const char *name;
    DType dtype;
    int32_t bytes; ///< 0: sub-byte or complex, which kiln does not read
} dtypes[] = {
    {"F64", DTYPE_F64, 8},         {"F32", DTYPE_F32, 4},         {"F16", DTYPE_F16, 2},
    {"BF16", DTYPE_BF16, 2},       {"I64", DTYPE_I64, 8},         {"I32", DTYPE_I32, 4},
    {"I16", DTYPE_I16, 2},         {"I8", DTYPE_I8, 1},           {"U64", DTYPE_U64, 8},
    {"U32", DTYPE_U32, 4},         {"U16", DTYPE_U16, 2},         {"U8", DTYPE_U8, 1},
    {"BOOL", DTYPE_I1, 1},         {"F8_E4M3", DTYPE_F8E4M3, 1},  {"F8_E5M2", DTYPE_F8E5M2, 1},
    {"F8_E8M0", DTYPE_VOID, 1},    {"F4", DTYPE_VOID, 0},         {"F6_E2M3", DTYPE_VOID, 0},
    {"F6_E3M2", DTYPE_VOID, 0},    {"C64", DTYPE_VOID, 0},
};
// clang-format on

static KilnStatus bad_tensor(const Safetensors *s, const char *name, Diag *diag, const char *fmt,
                             ...) PRINTF_LIKE(4, 5);

static KilnStatus bad_tensor(const Safetensors *s, const char *name, Diag *diag, const char *fmt,
                             ...)
{
    StrBuf text = {0};
    va_list args;
    va_start(args, fmt);
    strbuf_vprintf(&text, fmt, args);
    va_end(args);
    KilnStatus st = fail(diag, KILN_ERR_INPUT, "K210", "%s: tensor %s: %s", s->path, name,
                         text.data ? text.data : "malformed");
    strbuf_free(&text);
    return st;
}

static uint64_t load_u64(const char *p)
{
    uint64_t x = 0;
    for (int i = 0; i < 8; i++)
        x |= (uint64_t)(uint8_t)p[i] << 8 * i;
    return x;
}

/// Checks the length and opens s->doc; *data_at is where tensor bytes begin.
static KilnStatus read_header(Safetensors *s, size_t *data_at, Diag *diag)
{
    const char *hint = "the file was probably not downloaded completely";
    if (s->bytes.len < 8)
        return fail_hint(diag, KILN_ERR_INPUT, "K202", hint, "%s: %zu bytes, expected at least 8",
                         s->path, s->bytes.len);
    uint64_t n = load_u64(s->bytes.data);
    if (n > SAFETENSORS_HEADER_MAX)
        return fail(diag, KILN_ERR_INPUT, "K210",
                    "%s: not a safetensors file: the header has %llu bytes, expected at most %d",
                    s->path, (unsigned long long)n, SAFETENSORS_HEADER_MAX);
    if (n > s->bytes.len - 8)
        return fail_hint(diag, KILN_ERR_INPUT, "K202", hint,
                         "%s: the header has %llu bytes but the file only %zu", s->path,
                         (unsigned long long)n, s->bytes.len);
    Str text = {s->bytes.data + 8, (size_t)n};
    if (n == 0 || text.data[0] != '{')
        return fail(diag, KILN_ERR_INPUT, "K210", "%s: the header does not begin with {", s->path);
    *data_at = 8 + (size_t)n;
    return jsondoc_read(text, s->path, JSON_STRICT, s->heap, &s->doc, diag);
}

static KilnStatus read_dtype(Safetensors *s, const JsonValue *entry, SafeTensor *t, int32_t *bytes,
                             Diag *diag)
{
    Str name = jval_text(jval_get(entry, "dtype"));
    for (int32_t i = 0; i < COUNT_OF(dtypes); i++) {
        if (!str_is(name, dtypes[i].name)) continue;
        t->dtype = dtypes[i].dtype;
        t->dtype_name = dtypes[i].name;
        *bytes = dtypes[i].bytes;
        if (*bytes) return KILN_OK;
        return fail(diag, KILN_ERR_UNSUPPORTED, "K207",
                    "%s: tensor %s has the unsupported dtype %s", s->path, t->name, dtypes[i].name);
    }
    return bad_tensor(s, t->name, diag, "unknown or missing dtype \"%.*s\"",
                      (int)MIN(name.len, (size_t)20), name.data);
}

/// Shape, and *size in bytes from it.
static KilnStatus read_shape(Safetensors *s, const JsonValue *entry, SafeTensor *t, int32_t bytes,
                             uint64_t *size, Diag *diag)
{
    const JsonValue *shape = jval_get(entry, "shape");
    if (jval_kind(shape) != JKIND_ARRAY)
        return bad_tensor(s, t->name, diag, "shape is missing or no array");
    int32_t rank = jval_len(shape);
    if (rank > SAFETENSORS_RANK_MAX)
        return bad_tensor(s, t->name, diag, "%d dimensions, expected at most %d", rank,
                          SAFETENSORS_RANK_MAX);
    *size = (uint64_t)bytes;
    for (int32_t i = 0; i < rank; i++) {
        int64_t n;
        if (!jval_as_int(jval_at(shape, i), &n) || n < 0)
            return bad_tensor(s, t->name, diag, "dimension %d is not an integer of at least 0", i);
        if (__builtin_mul_overflow(*size, (uint64_t)n, size))
            return bad_tensor(s, t->name, diag, "its size exceeds 2^64");
        t->shape[i] = n;
    }
    t->rank = rank;
    return KILN_OK;
}

static KilnStatus read_offsets(Safetensors *s, const JsonValue *entry, SafeTensor *t, uint64_t size,
                               size_t data_at, Diag *diag)
{
    const JsonValue *range = jval_get(entry, "data_offsets");
    int64_t begin, end;
    if (jval_kind(range) != JKIND_ARRAY || jval_len(range) != 2 ||
        !jval_as_int(jval_at(range, 0), &begin) || !jval_as_int(jval_at(range, 1), &end) ||
        begin < 0 || end < begin)
        return bad_tensor(s, t->name, diag,
                          "data_offsets is not [begin, end] with 0 <= begin <= end");
    if ((uint64_t)end > s->bytes.len - data_at)
        return fail_hint(diag, KILN_ERR_INPUT, "K202",
                         "the file was probably not downloaded completely",
                         "%s: tensor %s ends at byte %llu but the file has %zu", s->path, t->name,
                         (unsigned long long)end + data_at, s->bytes.len);
    if ((uint64_t)(end - begin) != size)
        return bad_tensor(s, t->name, diag, "data_offsets span %llu bytes, its shape needs %llu",
                          (unsigned long long)(end - begin), (unsigned long long)size);
    t->data = s->bytes.data + data_at + begin;
    t->size = (size_t)size;
    return KILN_OK;
}

static KilnStatus read_tensor(Safetensors *s, Str name, const JsonValue *entry, size_t data_at,
                              Diag *diag)
{
    KilnStatus st = KILN_OK;
    if (name.len == 0 || name.len > SAFETENSORS_NAME_MAX)
        return fail(diag, KILN_ERR_INPUT, "K210",
                    "%s: a tensor name of %zu bytes, expected 1 to %d", s->path, name.len,
                    SAFETENSORS_NAME_MAX);
    SafeTensor *t = &s->tensors[s->n_tensors];
    int32_t bytes = 0;
    uint64_t size = 0;
    t->name = arena_strndup(&s->arena, name.data, name.len);
    if (jval_kind(entry) != JKIND_OBJECT || jval_len(entry) != 3)
        return bad_tensor(s, t->name, diag, "expected an object of dtype, shape and data_offsets");
    TRY(read_dtype(s, entry, t, &bytes, diag));
    TRY(read_shape(s, entry, t, bytes, &size, diag));
    TRY(read_offsets(s, entry, t, size, data_at, diag));
    s->n_tensors++;
done:
    return st;
}

static KilnStatus check_metadata(const Safetensors *s, const JsonValue *metadata, Diag *diag)
{
    JsonIter it = {0};
    bool sound = jval_kind(metadata) == JKIND_OBJECT;
    while (sound && jval_next(metadata, &it))
        sound = jval_kind(it.value) == JKIND_STRING;
    return sound ? KILN_OK
                 : fail(diag, KILN_ERR_INPUT, "K210",
                        "%s: __metadata__ must map strings to strings", s->path);
}

static int by_place(const void *a, const void *b)
{
    const SafeTensor *x = a, *y = b;
    if (x->data != y->data) return (const char *)x->data < (const char *)y->data ? -1 : 1;
    if (x->size != y->size) return x->size < y->size ? -1 : 1; // empty tensors come first
    return strcmp(x->name, y->name);
}

/// Tensors sorted by place must follow each other from the first byte of data to the last.
static KilnStatus check_cover(Safetensors *s, size_t data_at, Diag *diag)
{
    const char *at = s->bytes.data + data_at;
    if (s->n_tensors) qsort(s->tensors, (size_t)s->n_tensors, sizeof *s->tensors, by_place);
    for (int32_t i = 0; i < s->n_tensors; i++) {
        const SafeTensor *t = &s->tensors[i];
        if (t->data != at)
            return bad_tensor(s, t->name, diag,
                              "begins at byte %zu of the data, expected %zu: a hole or an overlap",
                              (size_t)((const char *)t->data - s->bytes.data) - data_at,
                              (size_t)(at - s->bytes.data) - data_at);
        at += t->size;
    }
    size_t rest = (size_t)(s->bytes.data + s->bytes.len - at);
    return rest == 0 ? KILN_OK
                     : fail(diag, KILN_ERR_INPUT, "K210", "%s: %zu bytes after the last tensor",
                            s->path, rest);
}

static KilnStatus read_all(Safetensors *s, Diag *diag)
{
    KilnStatus st = KILN_OK;
    size_t data_at = 0;
    JsonIter it = {0};
    TRY(read_header(s, &data_at, diag));
    s->tensors = arena_array(&s->arena, SafeTensor, jval_len(s->doc.root));
    while (jval_next(s->doc.root, &it)) {
        if (str_is(it.key, "__metadata__"))
            TRY(check_metadata(s, it.value, diag));
        else
            TRY(read_tensor(s, it.key, it.value, data_at, diag));
    }
    TRY(check_cover(s, data_at, diag));
    for (int32_t i = 0; i < s->n_tensors; i++)
        map_put(&s->arena, &s->names, str_of(s->tensors[i].name), &s->tensors[i]);
done:
    return st;
}

typedef struct Opening {
    Safetensors *s;
    const char *path;
    bool map;
} Opening;

static KilnStatus open_guarded(void *cx, Diag *diag)
{
    Opening *o = cx;
    o->s->path = arena_strdup(&o->s->arena, o->path);
    if (o->map) {
        KilnStatus st = file_map(o->path, &o->s->file, diag);
        if (st != KILN_OK) return st;
        o->s->bytes = (Str){(const char *)o->s->file.bytes, o->s->file.size};
    }
    return read_all(o->s, diag);
}

static KilnStatus open_any(Str bytes, const char *path, bool map, Heap *heap, Safetensors **out,
                           Diag *diag)
{
    *out = NULL;
    Safetensors *s = heap_new(heap, Safetensors);
    if (!s) return fail(diag, KILN_ERR_NOMEM, "K102", "%s: no memory to open it", path);
    s->heap = heap;
    s->bytes = bytes;
    arena_init(&s->arena, heap);
    Opening o = {s, path, map};
    KilnStatus st = guard_run(&s->arena, open_guarded, &o, path, diag);
    jsondoc_close(&s->doc);
    if (st == KILN_OK)
        *out = s;
    else
        safetensors_close(s);
    return st;
}

KilnStatus safetensors_open(const char *path, Heap *heap, Safetensors **out, Diag *diag)
{
    return open_any((Str){0}, path, true, heap, out, diag);
}

KilnStatus safetensors_read(Str bytes, const char *name, Heap *heap, Safetensors **out, Diag *diag)
{
    return open_any(bytes, name, false, heap, out, diag);
}

void safetensors_close(Safetensors *s)
{
    if (!s) return;
    Heap *heap = s->heap;
    jsondoc_close(&s->doc);
    arena_reset(&s->arena);
    file_unmap(&s->file);
    heap_free(heap, s);
}

const char *safetensors_path(const Safetensors *s)
{
    return s->path;
}

int32_t safetensors_n_tensors(const Safetensors *s)
{
    return s->n_tensors;
}

const SafeTensor *safetensors_tensor(const Safetensors *s, int32_t i)
{
    return &s->tensors[i];
}

const SafeTensor *safetensors_find(const Safetensors *s, const char *name)
{
    return map_get(&s->names, str_of(name));
}
