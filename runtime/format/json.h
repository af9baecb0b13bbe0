// runtime/format/json.h - a read-only view of JSON text: configurations, tokenizers, tensor tables.
//
//   {"a": [1, 2.5]}   jval_int(&doc, doc.root, "a", ...)
//                     ==> "config.json: a: found an array, expected an integer from 0 to 9"
//
// The text is a stranger's: RFC 8259, strict UTF-8, depth at most 64, no key twice in one object,
// no lone surrogates. Integers that fit int64 are exact; longer ones and everything with `.` or `e`
// are doubles. `null` reads as absent. One file (json.c) knows the library that parses.
//
// Source   RFC 8259
// Threads  a document may be read by many threads at once
// Tests    tests/runtime/format/test_json.c, tests/fuzz/config.c
#ifndef RUNTIME_FORMAT_JSON_H
#define RUNTIME_FORMAT_JSON_H
#include "base/diag.h"

enum {
    JSON_DEPTH_MAX = 64,
    JSON_BYTES_MAX = 256 << 20,
};

typedef struct JsonValue JsonValue; // borrowed from its document

typedef enum JsonKind {
    JKIND_ABSENT, ///< no such value, or null
    JKIND_OBJECT,
    JKIND_ARRAY,
    JKIND_STRING,
    JKIND_INT,
    JKIND_REAL,
    JKIND_BOOL,
} JsonKind;

typedef struct JsonDoc {
    const char *path; ///< for messages; borrowed, outlives the document
    JsonValue *root;  ///< an object or an array
} JsonDoc;

typedef enum JsonDialect {
    JSON_STRICT,
    JSON_PYTHON, ///< also NaN and +-Infinity; a field that is used then fails its check
} JsonDialect;

/// Parses `text`. The document does not refer to `text` afterwards.
/// @param heap  holds a rewritten copy of the text while parsing, when one is needed
/// @param out   owned by the caller: jsondoc_close(); all zero unless KILN_OK
/// @return KILN_OK; KILN_ERR_INPUT: K209 with line and column; KILN_ERR_NOMEM
MUST_USE KilnStatus jsondoc_read(Str text, const char *path, JsonDialect dialect, Heap *heap,
                                 JsonDoc *out, Diag *diag);
/// A document that was never opened (all zero) is fine.
void jsondoc_close(JsonDoc *doc);

JsonKind jval_kind(const JsonValue *v);
/// Member of an object. NULL: absent, null, or `object` is none.
const JsonValue *jval_get(const JsonValue *object, const char *key);
const JsonValue *jval_find(const JsonValue *object, Str key);
/// Whether the member is there and null.
bool jval_has_null(const JsonValue *object, const char *key);
/// Elements of an array or members of an object; 0 for anything else.
int32_t jval_len(const JsonValue *v);
const JsonValue *jval_at(const JsonValue *array, int32_t i);
/// Bytes of a string, borrowed; {NULL, 0} for anything else.
Str jval_text(const JsonValue *v);
/// @return whether `v` is an integer / a number / true or false, stored in *out
bool jval_as_int(const JsonValue *v, int64_t *out);
bool jval_as_real(const JsonValue *v, double *out);
bool jval_as_bool(const JsonValue *v, bool *out);
/// Whether `v` is a string equal to `text`.
bool jval_is(const JsonValue *v, const char *text);

/// Members in file order: JsonIter it = {0}; while (jval_next(object, &it)) use(it.key, it.value);
typedef struct JsonIter {
    void *at;
    Str key;
    const JsonValue *value; ///< NULL for null
} JsonIter;
bool jval_next(const JsonValue *object, JsonIter *it);

// Fields with a default: absent or null leaves *io as it is.
// @return KILN_OK; KILN_ERR_INPUT: K208 "path: key: found ..., expected ..."
MUST_USE KilnStatus jval_int(const JsonDoc *doc, const JsonValue *object, const char *key,
                             int64_t min, int64_t max, int64_t *io, Diag *diag);
MUST_USE KilnStatus jval_int32(const JsonDoc *doc, const JsonValue *object, const char *key,
                               int32_t min, int32_t max, int32_t *io, Diag *diag);
MUST_USE KilnStatus jval_real(const JsonDoc *doc, const JsonValue *object, const char *key,
                              double min, double max, double *io, Diag *diag);
MUST_USE KilnStatus jval_bool(const JsonDoc *doc, const JsonValue *object, const char *key,
                              bool *io, Diag *diag);
MUST_USE KilnStatus jval_str(const JsonDoc *doc, const JsonValue *object, const char *key, Str *io,
                             Diag *diag);

/// Appends what `v` is, in words: `"abc"`, `3`, `an array`.
void jval_describe(const JsonValue *v, StrBuf *out);
#endif
