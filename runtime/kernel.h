// runtime/kernel.h - compiled kernels by key, in memory and on disk.
//
//   kernel_get(source, spec) --key--> memory? --> disk? --> compile, write to disk
//
//   CACHE_DIR/kernels/6c1f...e2     code_write image: checksummed, carries its key
//
// A device that makes machine code itself (a GPU's driver assembles PTX) has a second file per kernel,
// under a key that its driver and architecture are part of: the next start assembles nothing.
//
// A file that is damaged, foreign or of another build is a miss, never an error. Files are written
// under another name and renamed; the oldest go when the folder outgrows its cap. The folder is used
// only when it belongs to this user and nobody else may enter it (0700): code is run from it.
//
// Threads  one at a time per cache
// Tests    tests/runtime/test_kernel.c
#ifndef RUNTIME_KERNEL_H
#define RUNTIME_KERNEL_H
#include "runtime/device.h"

typedef struct KernelCache KernelCache;

/// One specialisation, ready to run. Owned by its cache; lives as long.
struct Kernel {
    Hash128 key;
    Code code; ///< parameters, argument layout, resources
    Image *image;
    KernelEntry entry; ///< NULL: only image_run, or the device, can run it
    void *handle;      ///< of a device that loads code itself
    Device *dev;
    const char *text; ///< canonical specialisation, for people
    const char *path; ///< the source file it came from
};

/// A kernel file carried inside the program.
typedef struct KernelText {
    const char *name; ///< "rmsnorm.py"
    const char *text;
    size_t size;
} KernelText;

typedef struct KernelCacheOptions {
    const char *cache_dir;   ///< NULL: memory only
    size_t cap_bytes;        ///< of the folder; 0: 1 GiB
    const char *folder;      ///< kernel files are looked up here first; may be NULL
    const KernelText *texts; ///< then here; borrowed
    int32_t n_texts;
} KernelCacheOptions;

/// @param out owned: kernel_cache_close(), before the device
/// @return KILN_OK also when the folder on disk cannot be used (a warning W001 says why)
MUST_USE KilnStatus kernel_cache_open(Device *dev, const KernelCacheOptions *options,
                                      KernelCache **out, Diag *diag);
void kernel_cache_close(KernelCache *cache);
Device *kernel_cache_device(const KernelCache *cache);

/// A parsed kernel file by its name ("rmsnorm.py"), from the folder or from inside the program.
/// @param out borrowed from the cache
MUST_USE KilnStatus kernel_source(KernelCache *cache, const char *name, const Source **out,
                                  Diag *diag);
/// The kernel for a specialisation. `source` must outlive the cache (kernel_source's do).
/// @param out borrowed from the cache
MUST_USE KilnStatus kernel_get(KernelCache *cache, const Source *source, const Spec *spec,
                               Kernel **out, Diag *diag);
/// The same from words: file "rmsnorm.py", text "rmsnorm(y: *fp32:16, ..., BLOCK=1024)[num_warps=4]".
MUST_USE KilnStatus kernel_find(KernelCache *cache, const char *file, Str spec_words, Kernel **out,
                                Diag *diag);
/// A kernel from code that was compiled elsewhere for this device's target (a stored card, say). `code` is copied.
/// @return KILN_OK; KILN_ERR_UNSUPPORTED: K115 code for another target; KILN_ERR_DEVICE: it cannot be loaded
MUST_USE KilnStatus kernel_from_code(KernelCache *cache, const Code *code, Kernel **out,
                                     Diag *diag);
/// A kernel that was made by hand: `code` (parameters and args_bytes filled in) around a native function. For tests.
MUST_USE KilnStatus kernel_from_entry(KernelCache *cache, const Code *code, KernelEntry entry,
                                      Kernel **out, Diag *diag);
#endif
