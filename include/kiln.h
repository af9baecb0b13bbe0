// kiln.h - the public C API of kiln: compile tile-language kernels, launch them, run models.
//
// The one header an embedding program needs. Handles are opaque; option structs begin with
// `size_t size`, so that older callers keep working; nothing prints, nothing exits, no globals.
#ifndef KILN_H
#define KILN_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KILN_API __attribute__((visibility("default")))

/// What a caller can do next. A diagnostic beside it tells a person what happened and where.
typedef enum KilnStatus {
    KILN_OK = 0,
    KILN_ERR_INPUT,       ///< fix what was handed in: kernel text, model file, request, argument
    KILN_ERR_UNSUPPORTED, ///< take another road: the input is legal, we do not do it
    KILN_ERR_LIMIT,       ///< ask for less: shared memory, registers, pages, context length
    KILN_ERR_NOMEM,       ///< host memory ran out
    KILN_ERR_IO,          ///< the outside world's own code is in the diagnostic
    KILN_ERR_DEVICE,      ///< the device refused or failed
} KilnStatus;

#ifdef __cplusplus
}
#endif
#endif
