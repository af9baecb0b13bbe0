// runtime/cuda.h - the CUDA driver and cuBLASLt as tables of functions, found when the program runs.
//
//   dlopen("libcuda.so.1") --cuda.def, a row per function--> CudaLib.cuInit, .cuLaunchKernelEx ...
//
// Nothing here needs a header of CUDA's: the few types are declared below as the driver's own binary
// interface has them. Only the files runtime/cuda_*.c and device_cuda.c include this one.
//
// Source   CUDA Driver API reference, 12.0 and 13.0; cuBLAS library reference, chapter cuBLASLt
#ifndef RUNTIME_CUDA_H
#define RUNTIME_CUDA_H
#include "runtime/device.h"
#include "runtime/gemm.h"

typedef int CUresult, CUdevice;
typedef unsigned long long CUdeviceptr;
typedef struct CUctx_st *CUcontext;
typedef struct CUmod_st *CUmodule;
typedef struct CUfunc_st *CUfunction;
typedef struct CUstream_st *CUstream;
typedef struct CUevent_st *CUevent;
typedef struct CUgraph_st *CUgraph;
typedef struct CUgraphExec_st *CUgraphExec;
typedef struct CUlinkState_st *CUlinkState;

typedef union CUlaunchAttributeValue {
    char pad[64];
    struct {
        unsigned x, y, z;
    } cluster;
    int overlap; ///< programmatic stream serialization
} CUlaunchAttributeValue;

typedef struct CUlaunchAttribute {
    int id;
    char pad[4];
    CUlaunchAttributeValue value;
} CUlaunchAttribute;

typedef struct CUlaunchConfig {
    unsigned grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes;
    CUstream stream;
    CUlaunchAttribute *attributes;
    unsigned n_attributes;
} CUlaunchConfig;

_Static_assert(sizeof(CUlaunchAttribute) == 72 && sizeof(CUlaunchConfig) == 56,
               "as the driver lays them out");

/// Numbers of the driver's interface.
enum {
    CU_ERROR_NO_MEMORY = 2,
    CU_ERROR_NO_DEVICE = 100,
    CU_ERROR_INVALID_PTX = 218,
    CU_ERROR_NO_JIT = 221,
    CU_ERROR_NEW_PTX = 222,
    CU_JIT_INFO_LOG = 3,
    CU_JIT_INFO_LOG_BYTES = 4,
    CU_JIT_ERROR_LOG = 5,
    CU_JIT_ERROR_LOG_BYTES = 6,
    CU_JIT_LOG_VERBOSE = 12,
    CU_JIT_INPUT_PTX = 1,
    CU_ATTRIBUTE_SMS = 16,
    CU_ATTRIBUTE_MAJOR = 75,
    CU_ATTRIBUTE_MINOR = 76,
    CU_ATTRIBUTE_POOLS = 115,
    CU_ATTRIBUTE_CLUSTERS = 120,
    CU_FUNCTION_DYNAMIC_SHARED = 8,
    CU_FUNCTION_ANY_CLUSTER = 14,
    CU_LAUNCH_CLUSTER = 4,
    CU_LAUNCH_OVERLAP = 6,
    CU_STREAM_NON_BLOCKING = 1,
    CU_CAPTURE_THREAD_LOCAL = 1,
    CU_CAPTURE_RELAXED = 2,
};
/// Ends of the list in `extra` of a launch, and the two things in it.
#define CU_LAUNCH_PARAM_BUFFER ((void *)1)
#define CU_LAUNCH_PARAM_SIZE   ((void *)2)

/// The oldest driver that takes the PTX we emit (8.0) and has all of cuda.def.
enum { CUDA_MIN_DRIVER = 12000 };

typedef struct LtAlgo {
    uint64_t words[8];
} LtAlgo;

typedef struct LtHeuristic {
    LtAlgo algo;
    size_t workspace_bytes;
    int state;
    float waves;
    int reserved[4];
} LtHeuristic;

/// The driver's functions; those that are MAY can be NULL.
typedef struct CudaLib {
    int32_t driver; ///< 12040 for 12.4
    const char *name;
    bool has_pools, has_graphs; ///< all functions for them are there
#define CUDA(need, since, name, params) CUresult(*name) params;
#define LT(need, since, name, params)
#include "runtime/cuda.def"
#undef CUDA
#undef LT
} CudaLib;

typedef struct LtLib {
    size_t version; ///< 120405 for 12.4.5
    size_t (*cublasLtGetVersion)(void);
#define CUDA(need, since, name, params)
#define LT(need, since, name, params) int(*name) params;
#include "runtime/cuda.def"
#undef CUDA
#undef LT
} LtLib;

/// Opens the driver and initialises it. It stays loaded until the process ends.
/// @param name  NULL: libcuda.so.1
/// @return KILN_OK; KILN_ERR_DEVICE: K302 says why CUDA is off
MUST_USE KilnStatus cuda_lib_open(const char *name, CudaLib *out, Diag *diag);
/// Opens cuBLASLt. @param name  NULL: the newest of those we know
/// @return false: not there, or without a function that we call
bool lt_lib_open(const char *name, LtLib *out);
/// "an illegal memory access was encountered (CUDA_ERROR_ILLEGAL_ADDRESS, 700)", into `out`.
void cuda_error_text(const CudaLib *lib, CUresult e, char *out, size_t size);
/// Does this error leave the context unusable?
bool cuda_error_is_final(CUresult e);
/// Describes GPU `ordinal`.
MUST_USE KilnStatus cuda_card(const CudaLib *lib, int32_t ordinal, CudaCard *out, Diag *diag);

enum { STAGE_COUNT = 4, STAGE_BYTES = 4 << 20 };

/// Everything of one open device: Device.self.
typedef struct Cuda {
    CudaLib lib;
    CUdevice dev;
    CUcontext context;
    CUstream stream;
    bool is_pooled;    ///< memory comes from the stream-ordered pool
    bool has_clusters; ///< the GPU knows clusters
    bool is_current;   ///< between cuda_enter and cuda_leave
    struct {
        char *at; ///< pinned, [STAGE_BYTES]
        CUevent done;
        bool is_used;
    } stages[STAGE_COUNT];
    int32_t next_stage;
    // what was queued since the last wait, for messages
    int64_t n_queued;
    const char *last_kernel, *last_graph; ///< borrowed from kernels and graphs
    void *last_event;                     ///< recorded after all of it, or NULL
    // cuBLASLt
    LtLib lt;
    void *lt_handle; ///< NULL: not used
    void *workspace;
    Gemm *gemms; ///< plans, newest first
} Cuda;

/// Makes the device's context current on this thread. @return false: it is lost; then no cuda_leave
bool cuda_enter(Device *dev);
void cuda_leave(Device *dev);
/// Notes what is about to be queued, for messages.
void cuda_note(Cuda *c, const char *kernel, const char *graph, int32_t n);
/// Turns the result of a driver call into the device's fault. @return true when it succeeded
bool cuda_ok(Device *dev, CUresult e, const char *call);

// cuda_module.c
MUST_USE KilnStatus cuda_assemble(Device *dev, const Code *code, StrBuf *out, Diag *diag);
MUST_USE KilnStatus cuda_load(Device *dev, const Code *code, void **handle, Diag *diag);
void cuda_unload(Device *dev, void *handle);
/// Queues one launch. The context is current.
void cuda_launch(Device *dev, const Launch *l);

// cuda_gemm.c
void cuda_gemm_open(Device *dev, const char *lib);
void cuda_gemm_close(Device *dev);
MUST_USE KilnStatus cuda_gemm_plan(Device *dev, const GemmShape *shape, Gemm **out, Diag *diag);
/// Queues one product. The context is current.
void cuda_gemm_run(Device *dev, const DeviceStep *step);
#endif
