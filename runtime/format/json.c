// runtime/format/json.c - the one file that knows jansson.
//
// jansson checks syntax, UTF-8, duplicate keys and int64 range, and names line and column. Three
// things it sees differently are settled in one pass over the text before it is parsed:
//   - nesting above 64 is refused (jansson would recurse to 2048);
//   - integers beyond int64 become doubles: 12345678901234567890 ==> 123456789012345678e2;
//   - in the Python dialect NaN and Infinity become strings, which no number field accepts.
// The rewrites keep the length of the text, so that line and column stay right.
#include "runtime/format/json.h"

#include <jansson.h>

enum { INT64_DIGITS = 19 };

static const json_t *json_of(const JsonValue *v)
{
    return (const json_t *)v;
}

static const JsonValue *value_of(const json_t *v)
{
    return !v || json_is_null(v) ? NULL : (const JsonValue *)v;
}

// ---- before parsing ----------------------------------------------------------------------------

static size_t end_of_string(const char *text, size_t len, size_t at)
{
    for (at++; at < len && text[at] != '"'; at++)
        if (text[at] == '\\') at++;
    return at < len ? at + 1 : len;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/// Whether the integer literal of `n` digits at `begin` exceeds int64.
static bool too_long(const char *text, size_t begin, size_t n)
{
    bool negative = begin > 0 && text[begin - 1] == '-';
    const char *limit = negative ? "9223372036854775808" : "9223372036854775807";
    return n > INT64_DIGITS || (n == INT64_DIGITS && memcmp(text + begin, limit, n) > 0);
}

static const char *const python_words[] = {"-Infinity", "Infinity", "NaN"};

static size_t python_word(const char *text, size_t left)
{
    for (int i = 0; i < COUNT_OF(python_words); i++) {
        size_t n = strlen(python_words[i]);
        if (n <= left && memcmp(text, python_words[i], n) == 0) return n;
    }
    return 0;
}

typedef struct Scan {
    size_t n_rewrites;
    size_t too_deep_at; ///< byte of the bracket that exceeds the depth, or SIZE_MAX
} Scan;

/// Walks the text outside strings. With `copy` (the same text) it carries the rewrites out.
static Scan scan(const char *text, size_t len, JsonDialect dialect, char *copy)
{
    Scan s = {0, SIZE_MAX};
    int32_t depth = 0;
    for (size_t i = 0; i < len;) {
        char c = text[i];
        if (c == '"') {
            i = end_of_string(text, len, i);
        } else if (c == '[' || c == '{') {
            if (++depth > JSON_DEPTH_MAX) {
                s.too_deep_at = i;
                return s;
            }
            i++;
        } else if (c == ']' || c == '}') {
            depth--;
            i++;
        } else if (is_digit(c)) {
            size_t begin = i;
            while (i < len && is_digit(text[i]))
                i++;
            bool whole = i >= len || (text[i] != '.' && text[i] != 'e' && text[i] != 'E');
            bool fraction =
                begin > 0 &&
                (text[begin - 1] == '.' || text[begin - 1] == '+' ||
                 (begin > 1 && text[begin - 1] == '-' && (text[begin - 2] | 32) == 'e') ||
                 (text[begin - 1] | 32) == 'e');
            if (whole && !fraction && too_long(text, begin, i - begin)) {
                s.n_rewrites++;
                if (copy) copy[i - 2] = 'e', copy[i - 1] = '2';
            }
        } else if (dialect == JSON_PYTHON && (c == 'N' || c == 'I' || c == '-') &&
                   python_word(text + i, len - i)) {
            size_t n = python_word(text + i, len - i);
            s.n_rewrites++;
            if (copy) {
                memset(copy + i, '?', n);
                copy[i] = copy[i + n - 1] = '"';
            }
            i += n;
        } else {
            i++;
        }
    }
    return s;
}

static KilnStatus parse(const char *text, size_t len, JsonDoc *out, Diag *diag)
{
    json_error_t error;
    json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!root) {
        bool no_memory = json_error_code(&error) == json_error_out_of_memory;
        return fail(diag, no_memory ? KILN_ERR_NOMEM : KILN_ERR_INPUT, no_memory ? "K102" : "K209",
                    "%s:%d:%d: not valid JSON: %s", out->path, error.line, error.column,
                    error.text);
    }
    out->root = (JsonValue *)root;
    return KILN_OK;
}

KilnStatus jsondoc_read(Str text, const char *path, JsonDialect dialect, Heap *heap, JsonDoc *out,
                        Diag *diag)
{
    *out = (JsonDoc){.path = path};
    if (text.len > JSON_BYTES_MAX)
        return fail(diag, KILN_ERR_INPUT, "K209",
                    "%s: JSON text too long (found %zu bytes, expected at most %d)", path, text.len,
                    JSON_BYTES_MAX);
    if (text.len == 0) return fail(diag, KILN_ERR_INPUT, "K209", "%s: empty, expected JSON", path);
    Scan s = scan(text.data, text.len, dialect, NULL);
    if (s.too_deep_at != SIZE_MAX)
        return fail(diag, KILN_ERR_INPUT, "K209", "%s: nested deeper than %d at byte %zu", path,
                    JSON_DEPTH_MAX, s.too_deep_at);
    if (!s.n_rewrites) return parse(text.data, text.len, out, diag);

    char *copy = heap_alloc(heap, text.len, 1);
    if (!copy)
        return fail(diag, KILN_ERR_NOMEM, "K102", "%s: no memory for %zu bytes", path, text.len);
    memcpy(copy, text.data, text.len);
    (void)scan(text.data, text.len, dialect, copy);
    KilnStatus st = parse(copy, text.len, out, diag);
    heap_free(heap, copy);
    return st;
}

void jsondoc_close(JsonDoc *doc)
{
    json_decref((json_t *)doc->root);
    *doc = (JsonDoc){0};
}

// ---- values ------------------------------------------------------------------------------------

JsonKind jval_kind(const JsonValue *v)
{
    if (!v) return JKIND_ABSENT;
    switch (json_typeof(json_of(v))) {
    case JSON_OBJECT:
        return JKIND_OBJECT;
    case JSON_ARRAY:
        return JKIND_ARRAY;
    case JSON_STRING:
        return JKIND_STRING;
    case JSON_INTEGER:
        return JKIND_INT;
    case JSON_REAL:
        return JKIND_REAL;
    case JSON_TRUE:
    case JSON_FALSE:
        return JKIND_BOOL;
    case JSON_NULL:
        return JKIND_ABSENT;
    }
    return JKIND_ABSENT;
}

const JsonValue *jval_get(const JsonValue *object, const char *key)
{
    return value_of(json_object_get(json_of(object), key));
}

const JsonValue *jval_find(const JsonValue *object, Str key)
{
    return value_of(json_object_getn(json_of(object), key.data, key.len));
}

bool jval_has_null(const JsonValue *object, const char *key)
{
    return json_is_null(json_object_get(json_of(object), key));
}

int32_t jval_len(const JsonValue *v)
{
    const json_t *j = json_of(v);
    return (int32_t)(json_is_array(j) ? json_array_size(j) : json_object_size(j)); // at most 256 Mi
}

const JsonValue *jval_at(const JsonValue *array, int32_t i)
{
    return value_of(json_array_get(json_of(array), (size_t)i));
}

Str jval_text(const JsonValue *v)
{
    const json_t *j = json_of(v);
    return json_is_string(j) ? (Str){json_string_value(j), json_string_length(j)} : (Str){0};
}

bool jval_as_int(const JsonValue *v, int64_t *out)
{
    if (!json_is_integer(json_of(v))) return false;
    *out = json_integer_value(json_of(v));
    return true;
}

bool jval_as_real(const JsonValue *v, double *out)
{
    if (!json_is_number(json_of(v))) return false;
    *out = json_number_value(json_of(v));
    return true;
}

bool jval_as_bool(const JsonValue *v, bool *out)
{
    if (!json_is_boolean(json_of(v))) return false;
    *out = json_is_true(json_of(v));
    return true;
}

bool jval_is(const JsonValue *v, const char *text)
{
    return json_is_string(json_of(v)) && str_is(jval_text(v), text);
}

bool jval_next(const JsonValue *object, JsonIter *it)
{
    json_t *j = (json_t *)(uintptr_t)object; // iteration does not change it
    it->at = it->at ? json_object_iter_next(j, it->at) : json_object_iter(j);
    if (!it->at) return false;
    it->key = (Str){json_object_iter_key(it->at), json_object_iter_key_len(it->at)};
    it->value = value_of(json_object_iter_value(it->at));
    return true;
}

// ---- fields with a default ---------------------------------------------------------------------

void jval_describe(const JsonValue *v, StrBuf *out)
{
    const json_t *j = json_of(v);
    switch (jval_kind(v)) {
    case JKIND_ABSENT:
        strbuf_puts(out, "nothing");
        break;
    case JKIND_OBJECT:
        strbuf_puts(out, "an object");
        break;
    case JKIND_ARRAY:
        strbuf_puts(out, "an array");
        break;
    case JKIND_INT:
        strbuf_printf(out, "%lld", (long long)json_integer_value(j));
        break;
    case JKIND_REAL:
        strbuf_printf(out, "%g", json_real_value(j));
        break;
    case JKIND_BOOL:
        strbuf_puts(out, json_is_true(j) ? "true" : "false");
        break;
    case JKIND_STRING: {
        Str s = jval_text(v);
        strbuf_putc(out, '"');
        strbuf_json(out, s.data, MIN(s.len, (size_t)60));
        strbuf_puts(out, s.len > 60 ? "...\"" : "\"");
        break;
    }
    }
}

static KilnStatus wrong(const JsonDoc *doc, const char *key, const JsonValue *v, Diag *diag,
                        const char *fmt, ...) PRINTF_LIKE(5, 6);

static KilnStatus wrong(const JsonDoc *doc, const char *key, const JsonValue *v, Diag *diag,
                        const char *fmt, ...)
{
    StrBuf text = {0};
    strbuf_printf(&text, "%s: %s: found ", doc->path, key);
    jval_describe(v, &text);
    strbuf_puts(&text, ", expected ");
    va_list args;
    va_start(args, fmt);
    strbuf_vprintf(&text, fmt, args);
    va_end(args);
    KilnStatus st = fail(diag, KILN_ERR_INPUT, "K208", "%s", text.data ? text.data : key);
    strbuf_free(&text);
    return st;
}

KilnStatus jval_int(const JsonDoc *doc, const JsonValue *object, const char *key, int64_t min,
                    int64_t max, int64_t *io, Diag *diag)
{
    const JsonValue *v = jval_get(object, key);
    int64_t x;
    if (!v) return KILN_OK;
    if (!jval_as_int(v, &x) || x < min || x > max)
        return wrong(doc, key, v, diag, "an integer from %lld to %lld", (long long)min,
                     (long long)max);
    *io = x;
    return KILN_OK;
}

KilnStatus jval_int32(const JsonDoc *doc, const JsonValue *object, const char *key, int32_t min,
                      int32_t max, int32_t *io, Diag *diag)
{
    int64_t x = *io;
    KilnStatus st = jval_int(doc, object, key, min, max, &x, diag);
    *io = (int32_t)x;
    return st;
}

KilnStatus jval_real(const JsonDoc *doc, const JsonValue *object, const char *key, double min,
                     double max, double *io, Diag *diag)
{
    const JsonValue *v = jval_get(object, key);
    double x;
    if (!v) return KILN_OK;
    if (!jval_as_real(v, &x) || !(x >= min && x <= max))
        return wrong(doc, key, v, diag, "a number from %g to %g", min, max);
    *io = x;
    return KILN_OK;
}

KilnStatus jval_bool(const JsonDoc *doc, const JsonValue *object, const char *key, bool *io,
                     Diag *diag)
{
    const JsonValue *v = jval_get(object, key);
    if (v && !jval_as_bool(v, io)) return wrong(doc, key, v, diag, "true or false");
    return KILN_OK;
}

KilnStatus jval_str(const JsonDoc *doc, const JsonValue *object, const char *key, Str *io,
                    Diag *diag)
{
    const JsonValue *v = jval_get(object, key);
    if (v && jval_kind(v) != JKIND_STRING) return wrong(doc, key, v, diag, "a string");
    if (v) *io = jval_text(v);
    return KILN_OK;
}
