// runtime/format/gguf.c - a cursor over the mapped bytes, two tables, and the checks between them.
//
// Every read first asks `k <= end - at`, so nothing overflows; a count is believed only after the
// bytes that it announces could be there. Duplicates are found by a hash map and overlaps by a
// sort, so a file costs n log n at worst.
#include "runtime/format/gguf.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/map.h"
#include "runtime/format/guard.h"

struct Gguf {
    Heap *heap;
    Arena arena;
    File file; ///< mapped, or all zero
    Str bytes;
    const char *path;
    GgufValue *values;
    int32_t n_values;
    GgufTensor *tensors;
    int32_t n_tensors;
    Map keys, names; ///< to GgufValue, GgufTensor
    Gguf **splits;   ///< the other files of a split model, whose tensors are in the table too
    int32_t n_splits;
};

typedef struct Cursor {
    const Gguf *g;
    size_t at;
    Diag *diag;
} Cursor;

enum {
    HEADER_BYTES = 24,
    KV_BYTES_MIN = 14,     // key length, one byte of key, type, one byte of value
    TENSOR_BYTES_MIN = 33, // name length, one byte of name, rank, one dimension, type, offset
};

// clang-format off
static const struct {
    const char *name;
    size_t bytes; ///< 0: not of fixed size
} type_facts[GGUF_TYPE_END] = {
    [GGUF_U8] = {"u8", 1},   [GGUF_I8] = {"i8", 1},     [GGUF_U16] = {"u16", 2},   [GGUF_I16] = {"i16", 2},
    [GGUF_U32] = {"u32", 4}, [GGUF_I32] = {"i32", 4},   [GGUF_F32] = {"f32", 4},   [GGUF_BOOL] = {"bool", 1},
    [GGUF_U64] = {"u64", 8}, [GGUF_I64] = {"i64", 8},   [GGUF_F64] = {"f64", 8},   [GGUF_STRING] = {"string", 0},
    [GGUF_ARRAY] = {"array", 0},
};
// clang-format on

// ---- reading -----------------------------------------------------------------------------------

static uint64_t load_le(const uint8_t *p, size_t n)
{
    uint64_t x = 0;
    for (size_t i = 0; i < n; i++)
        x |= (uint64_t)p[i] << 8 * i;
    return x;
}

static const uint8_t *bytes_at(const Cursor *c)
{
    return (const uint8_t *)c->g->bytes.data + c->at;
}

static size_t left(const Cursor *c)
{
    return c->g->bytes.len - c->at;
}

static KilnStatus cut_short(const Cursor *c, const char *what, uint64_t need)
{
    return fail_hint(c->diag, KILN_ERR_INPUT, "K202",
                     "the file was probably not downloaded completely",
                     "%s: the file ends inside %s (byte %zu needs %llu more bytes, found %zu)",
                     c->g->path, what, c->at, (unsigned long long)need, left(c));
}

static KilnStatus read_uint(Cursor *c, size_t n, const char *what, uint64_t *out)
{
    *out = 0;
    if (n > left(c)) return cut_short(c, what, n);
    *out = load_le(bytes_at(c), n);
    c->at += n;
    return KILN_OK;
}

static KilnStatus read_str(Cursor *c, size_t max, const char *what, Str *out)
{
    uint64_t n;
    size_t begin = c->at;
    KilnStatus st = read_uint(c, 8, what, &n);
    if (st != KILN_OK) return st;
    if (n > left(c)) return cut_short(c, what, n);
    if (n > max)
        return fail(c->diag, KILN_ERR_INPUT, "K203",
                    "%s: %s at byte %zu has %llu bytes, expected at most %zu", c->g->path, what,
                    begin, (unsigned long long)n, max);
    *out = (Str){(const char *)bytes_at(c), (size_t)n};
    c->at += (size_t)n;
    return KILN_OK;
}

// ---- header ------------------------------------------------------------------------------------

static KilnStatus not_gguf(const Gguf *g, Diag *diag)
{
    StrBuf shown = {0};
    strbuf_json(&shown, g->bytes.data, MIN(g->bytes.len, (size_t)4));
    const char *hint = "a GGUF file begins with the four bytes \"GGUF\"; for safetensors give the "
                       "model's directory";
    if (g->bytes.len && (g->bytes.data[0] == '<' || str_starts(g->bytes, "\n<")))
        hint = "this looks like an HTML page; the download was probably refused";
    else if (str_starts(g->bytes, "version https://git-lfs"))
        hint = "this is a Git LFS pointer; fetch the real file with: git lfs pull";
    KilnStatus st =
        g->bytes.len < 4
            ? fail(diag, KILN_ERR_INPUT, "K201",
                   "%s: not a GGUF file: it has %zu bytes, expected at least %d", g->path,
                   g->bytes.len, HEADER_BYTES)
            : fail_hint(diag, KILN_ERR_INPUT, "K201", hint,
                        "%s: not a GGUF file: magic is \"%s\" at offset 0, expected \"GGUF\"",
                        g->path, shown.data ? shown.data : "");
    strbuf_free(&shown);
    return st;
}

static KilnStatus check_count(const Cursor *c, const char *what, uint64_t n, uint64_t max,
                              uint64_t bytes_each)
{
    if (n > max)
        return fail(c->diag, KILN_ERR_INPUT, "K203", "%s: %llu %s, expected at most %llu",
                    c->g->path, (unsigned long long)n, what, (unsigned long long)max);
    if (n > left(c) / bytes_each)
        return fail(c->diag, KILN_ERR_INPUT, "K202",
                    "%s: %llu %s need at least %llu bytes, %zu are left", c->g->path,
                    (unsigned long long)n, what, (unsigned long long)(n * bytes_each), left(c));
    return KILN_OK;
}

static KilnStatus read_header(Cursor *c, uint64_t *n_tensors, uint64_t *n_values)
{
    KilnStatus st = KILN_OK;
    const Gguf *g = c->g;
    uint64_t version;
    if (g->bytes.len < 4 || memcmp(g->bytes.data, "GGUF", 4) != 0) return not_gguf(g, c->diag);
    c->at = 4;
    TRY(read_uint(c, 4, "the header", &version));
    if ((version & 0xffff) == 0 && version != 0)
        return fail(c->diag, KILN_ERR_UNSUPPORTED, "K201",
                    "%s: a big-endian GGUF file, expected little-endian", g->path);
    if (version != 2 && version != 3)
        return fail(c->diag, KILN_ERR_UNSUPPORTED, "K201", "%s: GGUF version %llu, expected 2 or 3",
                    g->path, (unsigned long long)version);
    TRY(read_uint(c, 8, "the header", n_tensors));
    TRY(read_uint(c, 8, "the header", n_values));
    TRY(check_count(c, "key-value pairs", *n_values, GGUF_KV_MAX, KV_BYTES_MIN));
    TRY(check_count(c, "tensors", *n_tensors, GGUF_TENSORS_MAX, TENSOR_BYTES_MIN));
done:
    return st;
}

// ---- key-value pairs ---------------------------------------------------------------------------

static KilnStatus bad_key(const Cursor *c, const GgufValue *v, const char *what)
{
    StrBuf key = {0};
    strbuf_json(&key, v->key.data, MIN(v->key.len, (size_t)80));
    KilnStatus st = fail(c->diag, KILN_ERR_INPUT, "K203", "%s: key \"%s\" before byte %zu: %s",
                         c->g->path, key.data ? key.data : "", c->at, what);
    strbuf_free(&key);
    return st;
}

static bool bools_are_sound(const uint8_t *p, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++)
        if (p[i] > 1) return false;
    return true;
}

/// The `count` values of type v->elem from the cursor on; sets v->data and v->size.
static KilnStatus read_elements(Cursor *c, GgufValue *v, uint64_t count)
{
    size_t begin = c->at;
    v->data = bytes_at(c);
    v->count = (int64_t)count;
    if (v->elem == GGUF_STRING) {
        for (uint64_t i = 0; i < count; i++) {
            Str s;
            KilnStatus st = read_str(c, GGUF_STRING_MAX, "a string value", &s);
            if (st != KILN_OK) return st;
        }
    } else {
        size_t size = type_facts[v->elem].bytes; // at most 8 * GGUF_ARRAY_MAX in all
        if (count > left(c) / size) return cut_short(c, "a value", count * size);
        if (v->elem == GGUF_BOOL && !bools_are_sound(v->data, count))
            return bad_key(c, v, "a bool that is neither 0 nor 1");
        c->at += (size_t)count * size;
    }
    v->size = c->at - begin;
    return KILN_OK;
}

static KilnStatus read_value(Cursor *c, GgufValue *v)
{
    KilnStatus st = KILN_OK;
    uint64_t type, count = 1;
    TRY(read_str(c, GGUF_KEY_MAX, "a key", &v->key));
    if (v->key.len == 0) return bad_key(c, v, "an empty key");
    for (size_t i = 0; i < v->key.len; i++)
        if (v->key.data[i] < 0x21 || v->key.data[i] > 0x7e)
            return bad_key(c, v, "a key must be printable ASCII");
    TRY(read_uint(c, 4, "a value type", &type));
    if (type >= GGUF_TYPE_END) return bad_key(c, v, "an unknown value type");
    v->type = v->elem = (GgufType)type;
    if (v->type == GGUF_ARRAY) {
        TRY(read_uint(c, 4, "an element type", &type));
        if (type >= GGUF_TYPE_END) return bad_key(c, v, "an unknown element type");
        if (type == GGUF_ARRAY) return bad_key(c, v, "an array of arrays");
        v->elem = (GgufType)type;
        TRY(read_uint(c, 8, "an array length", &count));
        if (count > GGUF_ARRAY_MAX) return bad_key(c, v, "an array of more than 16777216 elements");
    }
    TRY(read_elements(c, v, count));
done:
    return st;
}

static KilnStatus read_values(Gguf *g, Cursor *c, uint64_t n)
{
    g->values = arena_array(&g->arena, GgufValue, n);
    for (uint64_t i = 0; i < n; i++) {
        GgufValue *v = &g->values[i];
        KilnStatus st = read_value(c, v);
        if (st != KILN_OK) return st;
        if (map_find(&g->keys, v->key) >= 0) return bad_key(c, v, "occurs twice");
        map_put(&g->arena, &g->keys, v->key, v);
        g->n_values++;
    }
    return KILN_OK;
}

// ---- tensors -----------------------------------------------------------------------------------

static KilnStatus bad_tensor(const Cursor *c, const GgufTensor *t, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

static KilnStatus bad_tensor(const Cursor *c, const GgufTensor *t, const char *fmt, ...)
{
    StrBuf text = {0};
    va_list args;
    va_start(args, fmt);
    strbuf_vprintf(&text, fmt, args);
    va_end(args);
    KilnStatus st = fail(c->diag, KILN_ERR_INPUT, "K203", "%s: tensor %s: %s", c->g->path, t->name,
                         text.data ? text.data : "malformed");
    strbuf_free(&text);
    return st;
}

static KilnStatus read_name(Gguf *g, Cursor *c, GgufTensor *t)
{
    Str name;
    KilnStatus st = read_str(c, GGUF_NAME_MAX, "a tensor name", &name);
    if (st != KILN_OK) return st;
    bool sound = name.len > 0;
    for (size_t i = 0; i < name.len; i++)
        sound &= (uint8_t)name.data[i] >= 0x20 && name.data[i] != 0x7f;
    if (!sound)
        return fail(c->diag, KILN_ERR_INPUT, "K203",
                    "%s: the tensor name before byte %zu is empty or holds control characters",
                    g->path, c->at);
    t->name = arena_strndup(&g->arena, name.data, name.len);
    if (map_find(&g->names, str_of(t->name)) >= 0) return bad_tensor(c, t, "occurs twice");
    map_put(&g->arena, &g->names, str_of(t->name), t);
    return KILN_OK;
}

/// Shape and type, and from them t->size.
static KilnStatus read_shape(Cursor *c, GgufTensor *t)
{
    KilnStatus st = KILN_OK;
    uint64_t rank, type, n_elements = 1;
    TRY(read_uint(c, 4, "a tensor's rank", &rank));
    if (rank < 1 || rank > 4)
        return bad_tensor(c, t, "rank %llu, expected 1 to 4", (unsigned long long)rank);
    t->rank = (int32_t)rank;
    for (int32_t i = 0; i < 4; i++) {
        uint64_t ne = 1;
        if (i < t->rank) TRY(read_uint(c, 8, "a tensor's shape", &ne));
        if (ne == 0) return bad_tensor(c, t, "dimension %d is 0", i);
        if (__builtin_mul_overflow(n_elements, ne, &n_elements) || n_elements > (uint64_t)1 << 62)
            return bad_tensor(c, t, "more than 2^62 elements");
        t->ne[i] = (int64_t)ne;
    }
    TRY(read_uint(c, 4, "a tensor's type", &type));
    const BlockFacts *f = block_facts((uint32_t)type);
    if (!f)
        return fail(c->diag, KILN_ERR_UNSUPPORTED, "K207",
                    "%s: tensor %s has the unknown type %llu", c->g->path, t->name,
                    (unsigned long long)type);
    t->type = (BlockType)type;
    if (t->ne[0] % f->block)
        return bad_tensor(c, t, "rows of %lld elements, expected a multiple of %d for %s",
                          (long long)t->ne[0], f->block, f->name);
    uint64_t size;
    if (__builtin_mul_overflow(n_elements / (uint64_t)f->block, (uint64_t)f->bytes, &size))
        return bad_tensor(c, t, "more than 2^64 bytes");
    t->size = size;
done:
    return st;
}

/// Tensor infos; offsets are kept aside until the data section is known.
static KilnStatus read_tensors(Gguf *g, Cursor *c, uint64_t n, uint64_t *offsets)
{
    KilnStatus st = KILN_OK;
    g->tensors = arena_array(&g->arena, GgufTensor, n);
    for (uint64_t i = 0; i < n; i++) {
        TRY(read_name(g, c, &g->tensors[i]));
        TRY(read_shape(c, &g->tensors[i]));
        TRY(read_uint(c, 8, "a tensor's offset", &offsets[i]));
        g->n_tensors++;
    }
done:
    return st;
}

static KilnStatus read_alignment(const Gguf *g, Diag *diag, uint64_t *out)
{
    const GgufValue *v = gguf_find(g, "general.alignment");
    *out = v && v->type == GGUF_U32 ? load_le(v->data, 4) : 32;
    if ((v && v->type != GGUF_U32) || !is_pow2((int64_t)*out) || *out < 8 || *out > 1 << 20)
        return fail(diag, KILN_ERR_INPUT, "K203",
                    "%s: general.alignment is %s, expected a u32 power of two from 8 to 1048576",
                    g->path, v && v->type != GGUF_U32 ? type_facts[v->type].name : "out of range");
    return KILN_OK;
}

static KilnStatus place_tensors(Gguf *g, Cursor *c, const uint64_t *offsets)
{
    uint64_t alignment;
    KilnStatus st = read_alignment(g, c->diag, &alignment);
    if (st != KILN_OK || !g->n_tensors) return st;
    uint64_t data = (c->at + alignment - 1) & ~(alignment - 1); // at <= file size < 2^63
    if (data > g->bytes.len)
        return fail(c->diag, KILN_ERR_INPUT, "K202",
                    "%s: tensor data starts at byte %llu but the file has %zu", g->path,
                    (unsigned long long)data, g->bytes.len);
    for (int32_t i = 0; i < g->n_tensors; i++) {
        GgufTensor *t = &g->tensors[i];
        if (offsets[i] % alignment)
            return bad_tensor(c, t, "offset %llu, expected a multiple of %llu",
                              (unsigned long long)offsets[i], (unsigned long long)alignment);
        uint64_t room = g->bytes.len - data, end;
        if (__builtin_add_overflow(offsets[i], t->size, &end))
            return bad_tensor(c, t, "its end exceeds 2^64");
        if (end > room)
            return fail_hint(
                c->diag, KILN_ERR_INPUT, "K202", "the file was probably not downloaded completely",
                "%s: tensor %s ends at byte %llu but the file has %zu", g->path, t->name,
                (unsigned long long)(end > UINT64_MAX - data ? UINT64_MAX : data + end),
                g->bytes.len);
        t->data = g->bytes.data + data + offsets[i];
    }
    return KILN_OK;
}

static int by_place(const void *a, const void *b)
{
    const GgufTensor *x = *(const GgufTensor *const *)a, *y = *(const GgufTensor *const *)b;
    if (x->data != y->data) return (const char *)x->data < (const char *)y->data ? -1 : 1;
    return x < y ? -1 : x > y;
}

static KilnStatus check_overlaps(Gguf *g, Cursor *c)
{
    ArenaMark mark = arena_mark(&g->arena);
    const GgufTensor **order = arena_array(&g->arena, const GgufTensor *, g->n_tensors);
    for (int32_t i = 0; i < g->n_tensors; i++)
        order[i] = &g->tensors[i];
    if (g->n_tensors) qsort(order, (size_t)g->n_tensors, sizeof *order, by_place);
    KilnStatus st = KILN_OK;
    for (int32_t i = 1; i < g->n_tensors && st == KILN_OK; i++)
        if ((size_t)((const char *)order[i]->data - (const char *)order[i - 1]->data) <
            order[i - 1]->size)
            st = bad_tensor(c, order[i], "overlaps tensor %s", order[i - 1]->name);
    arena_release(&g->arena, mark);
    return st;
}

// ---- life cycle --------------------------------------------------------------------------------

static KilnStatus read_all(void *cx, Diag *diag)
{
    KilnStatus st = KILN_OK;
    Gguf *g = cx;
    Cursor c = {g, 0, diag};
    uint64_t n_tensors = 0, n_values = 0;
    TRY(read_header(&c, &n_tensors, &n_values));
    TRY(read_values(g, &c, n_values));
    TRY(check_count(&c, "tensors", n_tensors, GGUF_TENSORS_MAX, TENSOR_BYTES_MIN));
    uint64_t *offsets = arena_array(&g->arena, uint64_t, n_tensors);
    TRY(read_tensors(g, &c, n_tensors, offsets));
    TRY(place_tensors(g, &c, offsets));
    TRY(check_overlaps(g, &c));
done:
    return st;
}

// ---- splits ------------------------------------------------------------------------------------

static KilnStatus open_any(Str bytes, const char *path, bool map, bool splits, Heap *heap,
                           Gguf **out, Diag *diag);

static KilnStatus open_split(Gguf *g, const char *path, int32_t index, int32_t count, Diag *diag)
{
    KilnStatus st = KILN_OK;
    int32_t no = -1, of = -1;
    Gguf **slot = &g->splits[g->n_splits];
    TRY(open_any((Str){0}, path, true, false, g->heap, slot, diag));
    g->n_splits++;
    TRY(gguf_int32(*slot, "split.no", 0, 65535, &no, diag));
    TRY(gguf_int32(*slot, "split.count", 0, 65535, &of, diag));
    if (no != index || of != count)
        return fail(diag, KILN_ERR_INPUT, "K203",
                    "%s: says it is split %d of %d, expected %d of %d", path, no, of, index, count);
done:
    return st;
}

/// Puts the tensors of all files into one table.
static KilnStatus join_tensors(Gguf *g, Diag *diag)
{
    int64_t total = g->n_tensors, announced = -1;
    for (int32_t i = 0; i < g->n_splits; i++)
        total += g->splits[i]->n_tensors;
    if (total > GGUF_TENSORS_MAX)
        return fail(diag, KILN_ERR_INPUT, "K203",
                    "%s: %lld tensors over all splits, expected at most %d", g->path,
                    (long long)total, GGUF_TENSORS_MAX);
    KilnStatus st = gguf_int(g, "split.tensors.count", 0, INT32_MAX, &announced, diag);
    if (st != KILN_OK) return st;
    if (announced >= 0 && announced != total)
        return fail(diag, KILN_ERR_INPUT, "K203", "%s: %lld tensors over all splits, expected %lld",
                    g->path, (long long)total, (long long)announced);
    GgufTensor *all = arena_array(&g->arena, GgufTensor, total);
    g->names = (Map){0};
    int32_t n = 0;
    for (int32_t f = -1; f < g->n_splits; f++) {
        const Gguf *from = f < 0 ? g : g->splits[f];
        for (int32_t i = 0; i < from->n_tensors; i++) {
            all[n] = from->tensors[i];
            if (map_find(&g->names, str_of(all[n].name)) >= 0)
                return fail(diag, KILN_ERR_INPUT, "K203", "%s: tensor %s occurs twice", from->path,
                            all[n].name);
            map_put(&g->arena, &g->names, str_of(all[n].name), &all[n]);
            n++;
        }
    }
    g->tensors = all;
    g->n_tensors = n;
    return KILN_OK;
}

/// PREFIX-00001-of-00003.gguf: opens the other two.
static KilnStatus open_splits(Gguf *g, Diag *diag)
{
    int32_t count = 0, no = 0;
    KilnStatus st = KILN_OK;
    TRY(gguf_int32(g, "split.count", 0, 9999, &count, diag));
    if (count <= 1) return KILN_OK;
    TRY(gguf_int32(g, "split.no", 0, 65535, &no, diag));
    char suffix[40];
    int suffix_len = snprintf(suffix, sizeof suffix, "-%05d-of-%05d.gguf", 1, count);
    if (no != 0 || !str_ends(str_of(g->path), suffix))
        return fail(diag, KILN_ERR_INPUT, "K203",
                    "%s: split %d of %d, expected the first one, whose name ends in %s", g->path,
                    no + 1, count, suffix);
    int prefix_len = (int)strlen(g->path) - suffix_len;
    g->splits = arena_array(&g->arena, Gguf *, count - 1);
    for (int32_t i = 1; i < count; i++) {
        const char *path =
            arena_printf(&g->arena, "%.*s-%05d-of-%05d.gguf", prefix_len, g->path, i + 1, count);
        TRY(open_split(g, path, i, count, diag));
    }
    TRY(join_tensors(g, diag));
done:
    return st;
}

typedef struct Opening {
    Gguf *g;
    const char *path;
    bool map, splits;
} Opening;

static KilnStatus open_guarded(void *cx, Diag *diag)
{
    Opening *o = cx;
    o->g->path = arena_strdup(&o->g->arena, o->path);
    if (o->map) {
        KilnStatus st = file_map(o->path, &o->g->file, diag);
        if (st != KILN_OK) return st;
        o->g->bytes = (Str){(const char *)o->g->file.bytes, o->g->file.size};
    }
    KilnStatus st = read_all(o->g, diag);
    return st == KILN_OK && o->splits ? open_splits(o->g, diag) : st;
}

static KilnStatus open_any(Str bytes, const char *path, bool map, bool splits, Heap *heap,
                           Gguf **out, Diag *diag)
{
    *out = NULL;
    Gguf *g = heap_new(heap, Gguf);
    if (!g) return fail(diag, KILN_ERR_NOMEM, "K102", "%s: no memory to open it", path);
    g->heap = heap;
    g->bytes = bytes;
    arena_init(&g->arena, heap);
    Opening o = {g, path, map, splits};
    KilnStatus st = guard_run(&g->arena, open_guarded, &o, path, diag);
    if (st == KILN_OK)
        *out = g;
    else
        gguf_close(g);
    return st;
}

KilnStatus gguf_open(const char *path, Heap *heap, Gguf **out, Diag *diag)
{
    return open_any((Str){0}, path, true, true, heap, out, diag);
}

KilnStatus gguf_read(Str bytes, const char *name, Heap *heap, Gguf **out, Diag *diag)
{
    return open_any(bytes, name, false, false, heap, out, diag);
}

void gguf_close(Gguf *g)
{
    if (!g) return;
    Heap *heap = g->heap;
    for (int32_t i = 0; i < g->n_splits; i++)
        gguf_close(g->splits[i]);
    arena_reset(&g->arena);
    file_unmap(&g->file);
    heap_free(heap, g);
}

// ---- access ------------------------------------------------------------------------------------

const char *gguf_path(const Gguf *g)
{
    return g->path;
}

int32_t gguf_n_values(const Gguf *g)
{
    return g->n_values;
}

const GgufValue *gguf_value(const Gguf *g, int32_t i)
{
    return &g->values[i];
}

const GgufValue *gguf_find(const Gguf *g, const char *key)
{
    return map_get(&g->keys, str_of(key));
}

int32_t gguf_n_tensors(const Gguf *g)
{
    return g->n_tensors;
}

const GgufTensor *gguf_tensor(const Gguf *g, int32_t i)
{
    return &g->tensors[i];
}

const GgufTensor *gguf_find_tensor(const Gguf *g, const char *name)
{
    return map_get(&g->names, str_of(name));
}

bool gguf_value_int(const GgufValue *v, int64_t i, int64_t *out)
{
    size_t size = type_facts[v->elem].bytes;
    if (i < 0 || i >= v->count) return false;
    const uint8_t *p = v->data + (size_t)i * size;
    switch (v->elem) {
    case GGUF_U8:
    case GGUF_U16:
    case GGUF_U32:
    case GGUF_U64: {
        uint64_t x = load_le(p, size);
        *out = (int64_t)x;
        return x <= INT64_MAX;
    }
    case GGUF_I8:
        *out = (int8_t)load_le(p, 1);
        return true;
    case GGUF_I16:
        *out = (int16_t)load_le(p, 2);
        return true;
    case GGUF_I32:
        *out = (int32_t)load_le(p, 4);
        return true;
    case GGUF_I64:
        *out = (int64_t)load_le(p, 8);
        return true;
    default:
        return false;
    }
}

bool gguf_value_real(const GgufValue *v, int64_t i, double *out)
{
    if (i < 0 || i >= v->count) return false;
    if (v->elem == GGUF_F32) {
        *out = (double)f32_from_bits((uint32_t)load_le(v->data + 4 * i, 4));
        return true;
    }
    if (v->elem != GGUF_F64) return false;
    uint64_t bits = load_le(v->data + 8 * i, 8);
    memcpy(out, &bits, 8);
    return true;
}

bool gguf_next_string(const GgufValue *v, size_t *at, Str *out)
{
    if (v->elem != GGUF_STRING || *at >= v->size) return false;
    size_t n = (size_t)load_le(v->data + *at, 8); // within the value: read_str() saw to that
    *out = (Str){(const char *)v->data + *at + 8, n};
    *at += 8 + n;
    return true;
}

static KilnStatus wrong_class(const Gguf *g, const GgufValue *v, Diag *diag, const char *expected)
{
    return fail(diag, KILN_ERR_INPUT, "K208", "%s: %.*s: found %s%s, expected %s", g->path,
                STR_ARG(v->key), v->type == GGUF_ARRAY ? "an array of " : "a value of type ",
                type_facts[v->elem].name, expected);
}

KilnStatus gguf_int(const Gguf *g, const char *key, int64_t min, int64_t max, int64_t *io,
                    Diag *diag)
{
    const GgufValue *v = gguf_find(g, key);
    int64_t x;
    if (!v) return KILN_OK;
    bool is_int = v->type != GGUF_ARRAY && v->type != GGUF_STRING && v->type != GGUF_BOOL &&
                  v->type != GGUF_F32 && v->type != GGUF_F64;
    if (!is_int) return wrong_class(g, v, diag, "an integer");
    if (!gguf_value_int(v, 0, &x) || x < min || x > max)
        return fail(diag, KILN_ERR_INPUT, "K208", "%s: %s: found %lld, expected %lld to %lld",
                    g->path, key, (long long)load_le(v->data, v->size), (long long)min,
                    (long long)max);
    *io = x;
    return KILN_OK;
}

KilnStatus gguf_int32(const Gguf *g, const char *key, int32_t min, int32_t max, int32_t *io,
                      Diag *diag)
{
    int64_t x = *io;
    KilnStatus st = gguf_int(g, key, min, max, &x, diag);
    *io = (int32_t)x;
    return st;
}

KilnStatus gguf_real(const Gguf *g, const char *key, double min, double max, double *io, Diag *diag)
{
    const GgufValue *v = gguf_find(g, key);
    double x;
    if (!v) return KILN_OK;
    if (v->type == GGUF_ARRAY || !gguf_value_real(v, 0, &x))
        return wrong_class(g, v, diag, "an f32 or f64");
    if (!(x >= min && x <= max))
        return fail(diag, KILN_ERR_INPUT, "K208", "%s: %s: found %g, expected %g to %g", g->path,
                    key, x, min, max);
    *io = x;
    return KILN_OK;
}

KilnStatus gguf_bool(const Gguf *g, const char *key, bool *io, Diag *diag)
{
    const GgufValue *v = gguf_find(g, key);
    if (!v) return KILN_OK;
    if (v->type != GGUF_BOOL) return wrong_class(g, v, diag, "a bool");
    *io = v->data[0] == 1;
    return KILN_OK;
}

KilnStatus gguf_str(const Gguf *g, const char *key, Str *io, Diag *diag)
{
    const GgufValue *v = gguf_find(g, key);
    size_t at = 0;
    if (!v) return KILN_OK;
    if (v->type != GGUF_STRING) return wrong_class(g, v, diag, "a string");
    (void)gguf_next_string(v, &at, io);
    return KILN_OK;
}

KilnStatus gguf_array(const Gguf *g, const char *key, GgufType elem, const GgufValue **out,
                      Diag *diag)
{
    const GgufValue *v = gguf_find(g, key);
    *out = NULL;
    if (!v) return KILN_OK;
    bool fits = v->elem == elem || (elem == GGUF_I32 && v->elem == GGUF_U32);
    if (v->type != GGUF_ARRAY || !fits) {
        char expected[40];
        snprintf(expected, sizeof expected, "an array of %s", type_facts[elem].name);
        return wrong_class(g, v, diag, expected);
    }
    *out = v;
    return KILN_OK;
}
