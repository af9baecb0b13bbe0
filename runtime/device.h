// runtime/device.h - a device as a table: facts, memory, launches.
//
//   Device "cpu"       native code, a pool of threads, addresses are the host's
//   Device "emu:sm_80" the GPU code on this CPU, every launch checked      \  one thread,
//   Device "interp"    the meaning of the tile IR, every access checked    /  image_run
//
// A device owns all its memory and counts it. An address in device memory is a `void *` that only the
// device's functions and kernels look through; on the three devices above it is a host address too
// (`facts.is_host_memory`).
//
// Threads  memory and launches of one device: one at a time, from any thread
#ifndef RUNTIME_DEVICE_H
#define RUNTIME_DEVICE_H
#include "base/log.h"
#include "compiler/compile.h"
#include "runtime/pool.h"

typedef struct Device Device;
typedef struct Launch Launch;
typedef struct Kernel Kernel;

typedef struct DeviceFacts {
    char name[24];  ///< as the user writes it: "cpu", "emu:sm_80", "interp"
    char model[96]; ///< the maker's words, e.g. the CPU's model name
    Target target;  ///< what to compile for
    int32_t n_threads;
    bool is_host_memory; ///< the host may read and write device memory
    bool is_checked;     ///< image_run checks every access against the ranges of the device
    size_t memory_total, memory_free; ///< bytes when opened; refreshed by device_memory_free
} DeviceFacts;

/// What happened since the device was opened; tests and benches read differences.
typedef struct DeviceCounters {
    int64_t allocations; ///< of device memory
    int64_t compiles;    ///< kernels compiled
    int64_t cached_disk; ///< kernels read from the cache on disk
    int64_t cached_mem;  ///< kernels found in memory
    int64_t records;     ///< graphs recorded
    int64_t launches;    ///< kernels launched
    int64_t compile_us, llvm_us;
    size_t bytes_live, bytes_peak; ///< device memory
} DeviceCounters;

/// The functions of one kind of device. All of them may be called only through the wrappers below.
typedef struct DeviceOps {
    const char *kind;
    /// `bytes` > 0 of zeroed memory, 64-byte aligned, or NULL.
    void *(*alloc)(Device *dev, size_t bytes);
    void (*free)(Device *dev, void *at, size_t bytes);
    void (*upload)(Device *dev, void *dst, const void *src, size_t bytes);
    void (*download)(Device *dev, void *dst, const void *src, size_t bytes);
    void (*copy)(Device *dev, void *dst, const void *src, size_t bytes);
    /// Runs n launches that do not depend on each other; returns when all are done.
    KilnStatus (*run)(Device *dev, int32_t n, const Launch *const *launches, Diag *diag);
} DeviceOps;

typedef struct DeviceRange {
    MemRange range;
    bool is_borrowed; ///< memory of someone else, made known by device_import
    bool is_hidden;   ///< checks see its parts instead: the arena of a graph
} DeviceRange;

struct Device {
    const DeviceOps *ops;
    Heap *heap;
    const Log *log; ///< may be NULL
    DeviceFacts facts;
    DeviceCounters counters;
    Pool *pool;
    DeviceRange *ranges; ///< sorted by address
    int32_t n_ranges, cap_ranges;
    Tls *tls;              ///< [n_threads]
    int64_t scratch_bytes; ///< of each Tls
    MemRange *checks;      ///< room for the ranges of one checked launch
    int32_t cap_checks;
    bool guard;
};

typedef struct DeviceOptions {
    const char
        *name; ///< "cpu", "cpu:avx2", "cpu:generic", "emu:sm_80", "interp"; NULL: the best found
    int32_t n_threads; ///< 0: one per CPU
    bool pin;
    bool guard; ///< every allocation ends at an unmapped page: for tests
    Heap *heap; ///< NULL: the process heap
    const Log *log;
} DeviceOptions;

/// @param out owned: device_close()
/// @return KILN_OK; KILN_ERR_INPUT: no such name (K302); KILN_ERR_UNSUPPORTED: not on this machine (K302)
MUST_USE KilnStatus device_open(const DeviceOptions *options, Device **out, Diag *diag);
/// Frees what is still allocated too. NULL is fine.
void device_close(Device *dev);

/// Zeroed device memory, 64-byte aligned. `name` says in reports what it is; borrowed, outlives the memory.
/// @return KILN_OK; KILN_ERR_NOMEM with K301
MUST_USE KilnStatus device_alloc(Device *dev, size_t bytes, const char *name, void **out,
                                 Diag *diag);
/// NULL is fine.
void device_free(Device *dev, void *at);
/// Makes host memory (a mapped file) usable in place on a device whose memory is the host's.
/// @return KILN_OK; KILN_ERR_UNSUPPORTED: copy it instead (no message)
MUST_USE KilnStatus device_import(Device *dev, const void *at, size_t bytes, const char *name);
void device_upload(Device *dev, void *dst, const void *src, size_t bytes);
void device_download(Device *dev, void *dst, const void *src, size_t bytes);
void device_copy(Device *dev, void *dst, const void *src, size_t bytes);
/// The allocation that `at` lies in, or NULL.
const MemRange *device_range(const Device *dev, const void *at);
/// Says that checks are to see the parts of this allocation that a launch names, not the whole.
void device_hide(Device *dev, const void *at);
/// Runs n launches that do not depend on each other; returns when all are done.
/// @return KILN_OK; KILN_ERR_DEVICE: an assertion of a kernel, or a check, failed
MUST_USE KilnStatus device_run(Device *dev, int32_t n, const Launch *const *launches, Diag *diag);
/// Bytes that can still be allocated now.
size_t device_memory_free(Device *dev);
/// Makes sure that kernels find `bytes` of scratch per thread. Not while launches run.
MUST_USE KilnStatus device_reserve_scratch(Device *dev, int64_t bytes, Diag *diag);

/// What the memory of this device can do, in bytes per second: the best of several passes over
/// `bytes` (0: 256 MiB) with all threads.
typedef struct DeviceBandwidth {
    double read, copy; ///< copy counts bytes read plus bytes written
} DeviceBandwidth;
MUST_USE KilnStatus device_measure_bandwidth(Device *dev, size_t bytes, DeviceBandwidth *out,
                                             Diag *diag);

extern const DeviceOps device_cpu_ops;     ///< native code, a pool of threads
extern const DeviceOps device_checked_ops; ///< interp, emu: image_run, every access checked

/// The rows of the device table: name patterns and why each can or cannot be used here.
typedef struct DeviceKind {
    const char *name, *what;
    bool is_available;
    const char *why_not; ///< NULL when available
} DeviceKind;
int32_t device_kinds(const DeviceKind **out);
#endif
