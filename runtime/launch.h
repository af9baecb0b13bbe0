// runtime/launch.h - arguments checked against a kernel's parameters; the fast path.
//
//   Arg{"x", f32*, address}  Arg{"n", i32, 7}   --check--> Launch{kernel, grid, [ 8 bytes | 4 | .. ]}
//                                                                              laid out as CUDA does
//
// Checked when a launch is made: names, number and types of arguments, 16-byte promises, the grid.
// Nothing is checked again when it runs: one call through the pool.
//
// Tests    tests/runtime/test_launch.c
#ifndef RUNTIME_LAUNCH_H
#define RUNTIME_LAUNCH_H
#include "runtime/kernel.h"

typedef enum ArgKind {
    ARG_PTR,    ///< a device address
    ARG_TENSOR, ///< a planned buffer of a graph, plus an offset (graph.h)
    ARG_INT,    ///< any integer type of the parameter, range checked
    ARG_FLOAT,  ///< any float type of the parameter, rounded once
} ArgKind;

typedef struct Arg {
    const char *name; ///< of the parameter; NULL: the next in order
    ArgKind kind;
    DType dtype; ///< PTR, TENSOR: element type; DTYPE_VOID: whatever the kernel wants
    union {
        void *ptr;
        int64_t i;
        double f;
        struct {
            int32_t tensor;
            int64_t offset; ///< bytes
        } t;
    };
} Arg;

static inline Arg arg_ptr(const char *name, DType dtype, const void *at)
{
    return (Arg){.name = name, .kind = ARG_PTR, .dtype = dtype, .ptr = (void *)(uintptr_t)at};
}
static inline Arg arg_int(const char *name, int64_t i)
{
    return (Arg){.name = name, .kind = ARG_INT, .i = i};
}
static inline Arg arg_float(const char *name, double f)
{
    return (Arg){.name = name, .kind = ARG_FLOAT, .f = f};
}
static inline Arg arg_tensor(const char *name, DType dtype, int32_t tensor, int64_t offset)
{
    return (Arg){.name = name, .kind = ARG_TENSOR, .dtype = dtype, .t = {tensor, offset}};
}

enum { LAUNCH_MAX_ARGS_BYTES = CODE_MAX_PARAMS * 8 };

/// A launch, ready to run: plain data, may be copied.
struct Launch {
    Kernel *kernel;
    Grid grid;
    int64_t n_programs, chunk; ///< programs per task of the pool
    const void *args;          ///< [kernel->code.args_bytes]
    int32_t cluster;           ///< programs that share a cluster of a GPU; 0 and 1: none
    bool overlaps;             ///< may begin while the launch before it ends (it waits inside)
    int32_t n_ranges;          ///< extra ranges for checked devices
    const MemRange *ranges;
};

/// How a grid is spread over threads. All fields may be 0.
typedef struct LaunchOptions {
    int64_t chunk;   ///< programs per task; 0: about eight tasks per thread
    int32_t cluster; ///< as Launch; divides the grid's x
    bool overlaps;   ///< as Launch
} LaunchOptions;

/// Checks `args` and packs them into `block` (args_bytes of the kernel, at most LAUNCH_MAX_ARGS_BYTES).
/// ARG_TENSOR arguments are checked but left zero; `fixups[i]` says at which offset of the block argument i lies.
/// @param fixups [n_args] or NULL
/// @return KILN_OK; KILN_ERR_INPUT: K131 names and number, K132 type, K133 multiple of 16, K134 grid
MUST_USE KilnStatus launch_make(Kernel *k, Grid grid, int32_t n_args, const Arg *args,
                                const LaunchOptions *options, void *block, int32_t *fixups,
                                Launch *out, Diag *diag);
/// Runs one launch and waits for it.
/// @return KILN_OK; KILN_ERR_DEVICE: an assertion of the kernel, or a check, failed
MUST_USE KilnStatus launch_run(const Launch *l, Diag *diag);
/// launch_make and launch_run. ARG_TENSOR is not allowed.
MUST_USE KilnStatus kernel_launch(Kernel *k, Grid grid, int32_t n_args, const Arg *args,
                                  Diag *diag);

static inline Grid grid_of(int64_t x, int64_t y, int64_t z)
{
    return (Grid){(int32_t)x, (int32_t)y, (int32_t)z, 0};
}
#endif
