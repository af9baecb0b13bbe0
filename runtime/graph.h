// runtime/graph.h - a recorded list of launches, library products and copies, and the buffers between them.
//
//   record                     waves                    planned arena (by wave)
//   0 rmsnorm  x -> h          | 0 |                    h  [0, 8K)   waves 0-1
//   1 gemv     h -> q          | 1 2 3 |  independent   q  [8K, 16K) waves 1-2
//   2 gemv     h -> k          | 4 |                    k  [16K, ..)
//   3 gemv     h -> v
//   4 rope     q, k -> q, cache
//
// A launch pins its kernel and its arguments when it is recorded; whatever changes per step lives in
// device memory. Grids are upper bounds. Launches that touch nothing in common run side by side in one
// wave; a wave starts when the one before it is done. Planned buffers whose lives do not overlap share
// memory (plan.c); what is in one before its first write is undefined. A device that can (CUDA) is handed
// the finished list as a whole, once; running it is one call then, and nothing in it is ever patched.
//
// Threads  one at a time per graph
// Tests    tests/runtime/test_graph.c
#ifndef RUNTIME_GRAPH_H
#define RUNTIME_GRAPH_H
#include "runtime/gemm.h"
#include "runtime/launch.h"

typedef struct Graph Graph;

/// Starts recording. @param name for people: "decode 4" (copied)
/// @param out owned: graph_free()
MUST_USE KilnStatus graph_new(Device *dev, const char *name, Graph **out, Diag *diag);
/// Names the part being recorded ("layer 3") in graph_text; copied.
void graph_section(Graph *g, const char *name);
/// A planned buffer of `bytes`, 64-byte aligned, for arg_tensor(). Its life is from its first use to its last.
/// @return its number
int32_t graph_tensor(Graph *g, const char *name, size_t bytes);
/// Records a launch. A grid with a zero extent records nothing. Errors as launch_make.
MUST_USE KilnStatus graph_launch(Graph *g, Kernel *k, Grid grid, int32_t n_args, const Arg *args,
                                 Diag *diag);
MUST_USE KilnStatus graph_launch_with(Graph *g, Kernel *k, Grid grid, const LaunchOptions *options,
                                      int32_t n_args, const Arg *args, Diag *diag);
/// Records a copy; dst and src are ARG_PTR or ARG_TENSOR.
MUST_USE KilnStatus graph_copy(Graph *g, Arg dst, Arg src, size_t bytes, Diag *diag);
/// Records a product by the device's library (device_gemm): y = x w^T. y, x, w are ARG_PTR or ARG_TENSOR.
MUST_USE KilnStatus graph_gemm(Graph *g, const Gemm *gemm, const GemmShape *shape, Arg y, Arg x,
                               Arg w, Diag *diag);
/// Lets the planned buffers lie in borrowed device memory (64-byte aligned), when they fit: graphs that never
/// run at the same time can share it. Before graph_finish.
void graph_use_memory(Graph *g, void *at, size_t bytes);
/// Ends recording: forms waves, plans buffers, takes their memory from the device unless it was given.
/// @return KILN_OK; KILN_ERR_NOMEM
MUST_USE KilnStatus graph_finish(Graph *g, Diag *diag);
/// Runs all nodes in an order that keeps every dependency, and waits; a device with a stream queues them.
/// Allocates nothing.
MUST_USE KilnStatus graph_run(Graph *g, Diag *diag);
/// One node after another, each timed: `us[i]` for node i. For profiles.
MUST_USE KilnStatus graph_run_timed(Graph *g, double *us, Diag *diag);
void graph_free(Graph *g);

int32_t graph_n_nodes(const Graph *g);
int32_t graph_n_launches(const Graph *g);
int32_t graph_n_waves(const Graph *g);
size_t graph_arena_bytes(const Graph *g);
/// Bytes if no two planned buffers shared memory.
size_t graph_tensor_bytes(const Graph *g);
/// Products by a library.
int32_t graph_n_gemms(const Graph *g);
/// Does the device run it as a whole (a CUDA graph)?
bool graph_is_captured(const Graph *g);
/// The kernel of node i, or NULL for a copy or a product.
const Kernel *graph_node_kernel(const Graph *g, int32_t i);
const char *graph_node_section(const Graph *g, int32_t i);
/// A device address of a planned buffer, after graph_finish (for dumps and tests).
void *graph_tensor_address(const Graph *g, int32_t tensor, size_t *bytes);
/// Appends the list as text: one node per line, waves, offsets of buffers.
void graph_text(const Graph *g, StrBuf *out);
/// The same for Graphviz.
void graph_dot(const Graph *g, StrBuf *out);
#endif
