// runtime/format/gguf.h - one GGUF file, versions 2 and 3: metadata and a table of tensors.
//
//   "GGUF" | version u32 | n_tensors u64 | n_kv u64 | n_kv key-value pairs | n_tensors tensor infos
//   | zeros up to a multiple of the alignment | tensor bytes ...
//
// The file is mapped and used in place: values and tensors point into the mapping, only the tables
// of contents are copied. Opening checks everything that later code relies on: names are unique,
// every tensor has a known type, lies inside the file, on its alignment, and overlaps no other. A
// file that someone truncates while it is mapped ends the process (SIGBUS), as with every mapping.
//
// Source   the GGUF specification of ggml
// Threads  an open file is never written: many may read
// Tests    tests/runtime/format/test_gguf.c, tests/fuzz/gguf.c
#ifndef RUNTIME_FORMAT_GGUF_H
#define RUNTIME_FORMAT_GGUF_H
#include "base/diag.h"
#include "runtime/format/blocks.h"

enum {
    GGUF_KV_MAX = 65536,
    GGUF_KEY_MAX = 65535,
    GGUF_STRING_MAX = 16 << 20,
    GGUF_ARRAY_MAX = 16 << 20,
    GGUF_TENSORS_MAX = 1 << 20,
    GGUF_NAME_MAX = 63,
};

typedef enum GgufType {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
    GGUF_TYPE_END,
} GgufType;

typedef struct Gguf Gguf;

typedef struct GgufValue {
    Str key;
    GgufType type;
    GgufType elem;       ///< of an array; else as type
    int64_t count;       ///< elements of an array; else 1
    const uint8_t *data; ///< little-endian, any alignment; a string begins with its u64 length
    size_t size;         ///< bytes at data
} GgufValue;

typedef struct GgufTensor {
    const char *name; ///< arena of the file, NUL-terminated
    BlockType type;
    int32_t rank;  ///< 1 to 4
    int64_t ne[4]; ///< ne[0] is contiguous; missing ones are 1
    const void *data;
    size_t size;
} GgufTensor;

/// Maps and reads `path`. Of a split model give the first file (NAME-00001-of-00003.gguf): the
/// others are opened beside it, and their tensors are in the same table.
/// @param heap  holds the tables; outlives the file
/// @param out   owned by the caller: gguf_close(); NULL unless KILN_OK
/// @return KILN_OK; KILN_ERR_INPUT: K201 no GGUF, K202 cut short, K203 malformed;
///         KILN_ERR_UNSUPPORTED: K201 version, K207 tensor type; KILN_ERR_IO; KILN_ERR_NOMEM
MUST_USE KilnStatus gguf_open(const char *path, Heap *heap, Gguf **out, Diag *diag);
/// The same over bytes in memory, which the Gguf borrows. `name` is for messages and is copied.
MUST_USE KilnStatus gguf_read(Str bytes, const char *name, Heap *heap, Gguf **out, Diag *diag);
/// NULL is fine.
void gguf_close(Gguf *g);

const char *gguf_path(const Gguf *g);
int32_t gguf_n_values(const Gguf *g);
const GgufValue *gguf_value(const Gguf *g, int32_t i);
/// @return NULL when there is no such key
const GgufValue *gguf_find(const Gguf *g, const char *key);
int32_t gguf_n_tensors(const Gguf *g);
const GgufTensor *gguf_tensor(const Gguf *g, int32_t i);
const GgufTensor *gguf_find_tensor(const Gguf *g, const char *name);

// Fields with a default: an absent key leaves *io as it is. Integers of any width are taken; a key
// of another class (text where a number belongs) is an error, not "absent".
// @return KILN_OK; KILN_ERR_INPUT: K208 "path: key: found ..., expected ..."
MUST_USE KilnStatus gguf_int(const Gguf *g, const char *key, int64_t min, int64_t max, int64_t *io,
                             Diag *diag);
MUST_USE KilnStatus gguf_int32(const Gguf *g, const char *key, int32_t min, int32_t max,
                               int32_t *io, Diag *diag);
MUST_USE KilnStatus gguf_real(const Gguf *g, const char *key, double min, double max, double *io,
                              Diag *diag);
MUST_USE KilnStatus gguf_bool(const Gguf *g, const char *key, bool *io, Diag *diag);
MUST_USE KilnStatus gguf_str(const Gguf *g, const char *key, Str *io, Diag *diag);
/// An array of `elem`, or with GGUF_I32 also of U32. *out is NULL when the key is absent.
MUST_USE KilnStatus gguf_array(const Gguf *g, const char *key, GgufType elem, const GgufValue **out,
                               Diag *diag);

/// Element i of an array (or the scalar itself, i = 0) as an integer. @return false when it is none
/// or exceeds int64
bool gguf_value_int(const GgufValue *v, int64_t i, int64_t *out);
bool gguf_value_real(const GgufValue *v, int64_t i, double *out);
/// Steps through the strings of an array: size_t at = 0; while (gguf_next_string(v, &at, &s))
/// use(s);
bool gguf_next_string(const GgufValue *v, size_t *at, Str *out);
#endif
