// runtime/api.h - what the two files of the public API share: handles, and errors into KilnError.
//
// Each public function clears its KilnError, works with the Diag inside, and renders the messages at the end.
#ifndef RUNTIME_API_H
#define RUNTIME_API_H
#include <pthread.h>

#include "base/vec.h"
#include "runtime/kernel.h"

struct KilnError {
    Diag diag;
    StrBuf text;
};

struct KilnSource {
    int32_t refs; ///< the caller's, and one per device that compiled from it; atomic
    Source *source;
};

struct KilnDevice {
    Device *dev;
    KernelCache *kernels;
    Log log;
    KilnLogFn log_fn;
    void *log_user;
    pthread_mutex_t lock;      ///< compiles, launches and memory, one at a time
    Arena arena;               ///< handles of kernels, and the lists
    VEC(KilnSource *) sources; ///< kept, because kernels may read them again
    VEC(KilnKernel *) kernel_handles;
};

struct KilnKernel {
    KilnDevice *device;
    Kernel *kernel;
};

struct KilnBuffer {
    KilnDevice *device;
    void *at;
    size_t bytes;
};

/// The Diag to hand down: cleared; NULL when there is no error to fill.
Diag *api_begin(KilnError *error);
/// Renders what was recorded. @return st
KilnStatus api_end(KilnError *error, KilnStatus st);
/// Copies `size` bytes at most of the caller's older or newer struct over defaults of `ours` bytes.
/// @return KILN_ERR_INPUT: `size` is 0, so the struct was not set up
KilnStatus api_options(void *ours, size_t our_size, const void *theirs, Diag *diag);
/// Copies a filled-in struct of ours to the caller's, as much as it has room for; `size` stays.
KilnStatus api_answer(void *theirs, const void *ours, size_t our_size, Diag *diag);
#endif
