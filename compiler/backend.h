// compiler/backend.h - what the driver (compile.c) asks of the back ends.
//
//   Func (tile IR, common       --cpu_compile-->  Code: object file      --cpu_image_load-->  entry
//   passes done)                --gpu_compile-->  Code: PTX (sm) or
//                                                 object file (emu)      --emu_image_load-->  run
//
// A back end may rewrite the function it is given: it belongs to this compilation alone. The driver
// has filled in of Code: target, entry, params (offset, bytes, dtype, is_written), args_bytes,
// num_warps, num_stages. The back end fills in shared_bytes, scratch_bytes, llvm_us, bytes and size
// (heap_default()). Errors are E and W codes at spans of the function's ops; text asked for in
// `emit` is appended.
//
// Threads  no state between calls; two compilations may run at once
#ifndef COMPILER_BACKEND_H
#define COMPILER_BACKEND_H
#include "compiler/compile.h"
#include "ir/ir.h"

/// For TARGET_CPU. `emit` is never NULL. `scratch_bytes`, `bytes`, `size`, `llvm_us` are set on
/// KILN_OK.
MUST_USE KilnStatus cpu_compile(Func *fn, const Target *target, const Emit *emit, Code *out,
                                Diag *diag);
/// For TARGET_SM (bytes: PTX) and TARGET_EMU (bytes: host object). Also sets `shared_bytes`.
MUST_USE KilnStatus gpu_compile(Func *fn, const Target *target, const Emit *emit, Code *out,
                                Diag *diag);

/// How a loaded image runs where a plain call of its entry is not the way.
typedef struct ImageOps {
    /// As image_run(). Spans in `diag` point into file 0, which the driver has registered.
    KilnStatus (*run)(void *self, const void *args, const Grid *grid, int64_t first, int64_t n,
                      int32_t n_ranges, const MemRange *ranges, Diag *diag);
    void (*free)(void *self);                               ///< NULL is fine for `self`
    void (*counters)(const void *self, ImageCounters *out); ///< NULL: does not count
} ImageOps;

/// A runnable kernel. A loader sets `ops` and `self`, and `entry` where the code is a KernelEntry.
struct Image {
    const ImageOps *ops;
    void *self;
    KernelEntry entry;     ///< NULL: only ops->run
    size_t entry_bytes;    ///< of code from `entry` to the end of its mapping
    int64_t scratch_bytes; ///< from Code, by the driver
    char *path;            ///< of the source, and its text, for reports; NULL for CPU code
    Str text;
    struct Arena *arena; ///< holds the IR of EMU and INTERP images
};

/// Links a CPU object into this process; sets out->ops (->free at least), ->self, ->entry.
MUST_USE KilnStatus cpu_image_load(const Code *c, Image *out, Diag *diag);
/// Links emulator code; `fn` (the lowered function again, for spans and names) lives as long as the
/// image.
MUST_USE KilnStatus emu_image_load(const Code *c, Func *fn, Image *out, Diag *diag);
#endif
