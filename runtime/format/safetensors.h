// runtime/format/safetensors.h - one safetensors file: a JSON table of tensors, then their bytes.
//
//   N u64 | N bytes of JSON | data
//           {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...}
//
// Tensors cover the data without holes or overlaps, or the file is rejected. The file is mapped;
// tensors point into it and may lie on any address (older writers do not align).
//
// Source   the safetensors format and the checks of its reference reader
// Threads  an open file is never written: many may read
// Tests    tests/runtime/format/test_safetensors.c, tests/fuzz/safetensors.c
#ifndef RUNTIME_FORMAT_SAFETENSORS_H
#define RUNTIME_FORMAT_SAFETENSORS_H
#include "base/diag.h"
#include "base/num.h"

enum {
    SAFETENSORS_HEADER_MAX = 100000000,
    SAFETENSORS_NAME_MAX = 512,
    SAFETENSORS_RANK_MAX = 8,
};

typedef struct Safetensors Safetensors;

typedef struct SafeTensor {
    const char *name;                    ///< arena of the file, NUL-terminated
    DType dtype;                         ///< DTYPE_VOID for types kiln has none for (F8_E8M0)
    const char *dtype_name;              ///< as the file says: "BF16"
    int32_t rank;                        ///< 0 to 8
    int64_t shape[SAFETENSORS_RANK_MAX]; ///< row-major, the last one contiguous
    const void *data;
    size_t size;
} SafeTensor;

/// Maps and reads `path`.
/// @param heap  holds the table; outlives the file
/// @param out   owned by the caller: safetensors_close(); NULL unless KILN_OK
/// @return KILN_OK; KILN_ERR_INPUT: K202 cut short, K209 JSON, K210 malformed; KILN_ERR_IO;
///         KILN_ERR_NOMEM
MUST_USE KilnStatus safetensors_open(const char *path, Heap *heap, Safetensors **out, Diag *diag);
/// The same over bytes in memory, which are borrowed. `name` is for messages and is copied.
MUST_USE KilnStatus safetensors_read(Str bytes, const char *name, Heap *heap, Safetensors **out,
                                     Diag *diag);
/// NULL is fine.
void safetensors_close(Safetensors *s);

const char *safetensors_path(const Safetensors *s);
int32_t safetensors_n_tensors(const Safetensors *s);
/// In the order of their bytes.
const SafeTensor *safetensors_tensor(const Safetensors *s, int32_t i);
const SafeTensor *safetensors_find(const Safetensors *s, const char *name);
#endif
