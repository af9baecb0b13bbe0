// runtime/device.h - a device as a table: facts, memory, launches.
//
//   Device "cpu"       native code, a pool of threads, addresses are the host's
//   Device "emu:sm_80" the GPU code on this CPU, every launch checked      \  one thread,
//   Device "interp"    the meaning of the tile IR, every access checked    /  image_run
//   Device "cuda:0"    an NVIDIA GPU: one stream, in order (device_cuda.c)
//
// A device owns all its memory and counts it. An address in device memory is a `void *` that only the
// device's functions and kernels look through; on the first three devices above it is a host address
// too (`facts.is_host_memory`).
//
// A device with a stream (`facts.has_stream`) queues uploads, copies and launches in the order of the
// calls and goes on; device_download and device_sync wait. What failed there is kept: the next call
// that returns a status says so, device_check() asks.
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
typedef struct Gemm Gemm; ///< a matrix product by a library, planned (gemm.h)
typedef struct GemmShape GemmShape;

typedef struct DeviceFacts {
    char name[24];  ///< as the user writes it: "cpu", "emu:sm_80", "interp", "cuda:0"
    char model[96]; ///< the maker's words, e.g. the CPU's model name
    Target target;  ///< what to compile for
    int32_t n_threads;
    bool is_host_memory; ///< the host may read and write device memory
    bool is_checked;     ///< image_run checks every access against the ranges of the device
    bool has_stream;     ///< calls are queued; downloads wait
    char code_tag[48]; ///< what machine code made here depends on beside the kernel: "" for nothing
    char libraries[64];               ///< of others that are used: "cuBLASLt 12.4.5"; "" for none
    size_t memory_total, memory_free; ///< bytes when opened; refreshed by device_memory_free
} DeviceFacts;

/// What happened since the device was opened; tests and benches read differences.
typedef struct DeviceCounters {
    int64_t allocations; ///< of device memory
    int64_t compiles;    ///< kernels compiled
    int64_t cached_disk; ///< kernels read from the cache on disk
    int64_t cached_mem;  ///< kernels found in memory
    int64_t records;     ///< graphs recorded
    int64_t launches;    ///< kernels launched, those of graphs included
    int64_t assembles;   ///< kernels that the driver made machine code of
    int64_t captures;    ///< graphs handed to the device as a whole
    int64_t replays;     ///< times such a graph was started
    int64_t gemms;       ///< matrix products by a library
    int64_t compile_us, llvm_us;
    size_t bytes_live, bytes_peak; ///< device memory
} DeviceCounters;

/// A node of a recorded list: a launch, a library's product (dst = src weight^T), or a copy of `bytes`.
typedef struct DeviceStep {
    const Launch *launch;
    const Gemm *gemm;
    void *dst;
    const void *src, *weight;
    size_t bytes;
} DeviceStep;

/// The functions of one kind of device. All of them may be called only through the wrappers below and
/// those of kernel.h and graph.h. From `close` on they may be NULL: the host's way is taken.
typedef struct DeviceOps {
    const char *kind;
    /// `bytes` > 0 of zeroed memory, 64-byte aligned, or NULL.
    void *(*alloc)(Device *dev, size_t bytes);
    void (*free)(Device *dev, void *at, size_t bytes);
    void (*upload)(Device *dev, void *dst, const void *src, size_t bytes);
    void (*download)(Device *dev, void *dst, const void *src, size_t bytes);
    void (*copy)(Device *dev, void *dst, const void *src, size_t bytes);
    /// Runs n launches that do not depend on each other; returns when all are done, or queued.
    KilnStatus (*run)(Device *dev, int32_t n, const Launch *const *launches, Diag *diag);
    void (*close)(Device *dev);
    void (*sync)(Device *dev);
    void (*memory)(Device *dev, size_t *free_bytes, size_t *total_bytes);
    /// Machine code for this very device from portable code, appended.
    KilnStatus (*assemble)(Device *dev, const Code *code, StrBuf *out, Diag *diag);
    KilnStatus (*load)(Device *dev, const Code *code, void **handle, Diag *diag);
    void (*unload)(Device *dev, void *handle);
    /// Hands a whole list over, to be started as one.
    KilnStatus (*capture)(Device *dev, const char *name, int32_t n, const DeviceStep *steps,
                          void **out, Diag *diag);
    KilnStatus (*replay)(Device *dev, void *captured, Diag *diag);
    void (*forget)(Device *dev, void *captured);
    void *(*event_new)(Device *dev);
    void (*event_record)(Device *dev, void *event);
    double (*event_us)(Device *dev, void *begin, void *end); ///< waits for `end`
    void (*event_free)(Device *dev, void *event);
    /// KILN_ERR_UNSUPPORTED: not this shape (no message).
    KilnStatus (*gemm_plan)(Device *dev, const GemmShape *shape, Gemm **out, Diag *diag);
    void (*gemm_run)(Device *dev, const DeviceStep *step);
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
    void *self;       ///< of the kind of device
    KilnStatus fault; ///< KILN_OK, or what a queued call failed with
    bool is_lost;     ///< and nothing can run here any more
    char fault_code[8];
    const char *fault_hint;
    char fault_text[384];
};

typedef struct DeviceOptions {
    const char
        *name; ///< "cpu", "cpu:avx2", "cpu:generic", "emu:sm_80", "interp", "cuda:1"; NULL: "cpu"
    int32_t n_threads; ///< 0: one per CPU
    bool pin;
    bool
        guard; ///< for tests: every allocation ends at an unmapped page; a GPU waits after each launch
    Heap *heap; ///< NULL: the process heap
    const Log *log;
    const char *cuda_lib;   ///< the driver's library; NULL: libcuda.so.1
    const char *cublas_lib; ///< cuBLASLt; NULL: the newest found; "": none
} DeviceOptions;

/// @param out owned: device_close()
/// @return KILN_OK; KILN_ERR_INPUT: no such name (K302); KILN_ERR_UNSUPPORTED: not on this CPU (K302);
///         KILN_ERR_DEVICE: no driver, no such GPU, or one that is too old (K302)
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
/// Waits until everything that was queued is done. @return KILN_OK; KILN_ERR_DEVICE as device_check
MUST_USE KilnStatus device_sync(Device *dev, Diag *diag);
/// Says, once, that a queued call has failed. A GPU that a kernel has brought down stays down: K304 each time.
/// @return KILN_OK; KILN_ERR_DEVICE, KILN_ERR_NOMEM: what the call failed with
MUST_USE KilnStatus device_check(Device *dev, Diag *diag);
/// The allocation that `at` lies in, or NULL.
const MemRange *device_range(const Device *dev, const void *at);
/// Says that checks are to see the parts of this allocation that a launch names, not the whole.
void device_hide(Device *dev, const void *at);
/// Runs n launches that do not depend on each other; returns when all are done (queued, with a stream).
/// @return KILN_OK; KILN_ERR_DEVICE: an assertion of a kernel, or a check, failed
MUST_USE KilnStatus device_run(Device *dev, int32_t n, const Launch *const *launches, Diag *diag);
/// Bytes that can still be allocated now.
size_t device_memory_free(Device *dev);
/// Makes sure that kernels find `bytes` of scratch per thread. Not while launches run.
MUST_USE KilnStatus device_reserve_scratch(Device *dev, int64_t bytes, Diag *diag);

/// A point in the order of a device's work, for measuring: on a GPU an event of its stream, on the host
/// the clock when it was recorded.
///
///   device_event_record(begin)   launches ...   device_event_record(end)   device_event_us(begin, end)
typedef struct DeviceEvent DeviceEvent;
/// @param out owned: device_event_free(), before the device
MUST_USE KilnStatus device_event_new(Device *dev, DeviceEvent **out, Diag *diag);
void device_event_free(DeviceEvent *e);
void device_event_record(DeviceEvent *e);
/// Waits for `end`. @param[out] us  microseconds from `begin` to `end`, both recorded
/// @return KILN_OK; KILN_ERR_DEVICE: work between them failed
MUST_USE KilnStatus device_event_us(const DeviceEvent *begin, const DeviceEvent *end, double *us,
                                    Diag *diag);

/// What the memory of this device can do, in bytes per second: the best of several passes over
/// `bytes` (0: 256 MiB) with all threads.
typedef struct DeviceBandwidth {
    double read,
        copy; ///< copy counts bytes read plus bytes written; read: copy's where only that is known
} DeviceBandwidth;
MUST_USE KilnStatus device_measure_bandwidth(Device *dev, size_t bytes, DeviceBandwidth *out,
                                             Diag *diag);
/// Reads alone, in bytes per second, over 128 MiB: a quick look.
MUST_USE KilnStatus device_measure_reads(Device *dev, double *out, Diag *diag);

extern const DeviceOps device_cpu_ops;     ///< native code, a pool of threads
extern const DeviceOps device_checked_ops; ///< interp, emu: image_run, every access checked
/// device_open for the names that begin with "cuda": fills in ops, facts and self.
MUST_USE KilnStatus device_cuda_open(Device *dev, const DeviceOptions *options, Diag *diag);

/// One GPU, as the driver describes it.
typedef struct CudaCard {
    char model[96];
    int32_t major, minor; ///< compute capability
    int32_t n_sms;
    size_t memory_total;
    Target target; ///< what is compiled for it
    bool is_old;   ///< below 7.5: no code for it
} CudaCard;

typedef struct CudaList {
    int32_t driver; ///< 12040 for 12.4
    int32_t n;
    CudaCard cards[16];
} CudaList;

/// The GPUs there are. @param lib as DeviceOptions.cuda_lib
/// @return KILN_OK; KILN_ERR_DEVICE: K302 says why CUDA is off
MUST_USE KilnStatus device_cuda_list(const char *lib, CudaList *out, Diag *diag);

/// The rows of the device table: name patterns and why each can or cannot be used here.
typedef struct DeviceKind {
    const char *name, *what;
    bool is_available;
    const char *why_not; ///< NULL when available
} DeviceKind;
int32_t device_kinds(const DeviceKind **out);
#endif
