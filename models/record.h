// models/record.h - how launches of kernels.dsl/ are written down, and who records which of them.
//
// A launch is written down once, argument by argument in the order of the kernel's definition; from that
// list come both the specialisation (types, 16-byte promises, constants) and the arguments. What changes
// per step is reached through addresses; the numbers are fixed when the bucket is recorded.
//
//   record.c            the step: embedding, layers, output
//   record_linear.c     products with weights
//   record_attention.c  rotation, pages, attention
//   record_call.c       the launch itself
#ifndef MODELS_RECORD_H
#define MODELS_RECORD_H
#include "models/transformer.h"

enum { CALL_MAX_ARGS = 48 };

/// Where a value is: a planned buffer or an address. No address and no buffer: None.
typedef struct Place {
    DType dtype;
    bool is_tensor;
    int32_t tensor;
    const void *at;
} Place;

/// None, in the words of kernels.
extern const Place place_none;

typedef struct Recorder {
    Transformer *t;
    Graph *g;
    const StepBuffers *step;
    const StepShape *shape;
    Diag *diag;
    Heap *heap;
    Place tokens, seqs; ///< counts on the device
    DType act;
    bool is_gpu;
} Recorder;

typedef struct Call {
    const char *file, *func;
    StrBuf words; ///< of the specialisation
    Arg args[CALL_MAX_ARGS];
    int32_t n_args;
    int32_t maxnreg; ///< 0: not said
} Call;

// ---- writing a launch down (record_call.c) --------------------------------------------------------------

/// A call of `func` in kernels.dsl/`file`; call_launch() ends it.
Call call_begin(const char *file, const char *func);
void pass_place(Call *c, const char *name, Place p);
void pass_int(Call *c, const char *name, int64_t v);
void pass_float(Call *c, const char *name, double v);
void pass_const(Call *c, const char *name, int64_t v);
void pass_bool(Call *c, const char *name, bool v);
/// Finds the kernel and records the launch. Ends the call.
MUST_USE KilnStatus call_launch(Recorder *r, Call *c, Grid grid, int32_t num_warps);

/// A planned buffer of `n` elements; buffers of one name are one.
Place place_buffer(Recorder *r, const char *name, DType dtype, int64_t n);
/// One of `width` elements of the activations' type per token.
Place place_activation(Recorder *r, const char *name, int64_t width);
Place place_at(DType dtype, const void *address);
Place place_weight(const Matrix *m);
Place place_scales(const Matrix *m);
Arg place_arg(const char *name, Place p);

/// The power of two that covers `extent`, at most `most`.
int32_t tile_up_to(int64_t extent, int32_t most);
/// The largest power of two up to `most` that divides `extent`, but not below `least`.
int32_t even_tile_up_to(int64_t extent, int32_t most, int32_t least);

// ---- the ops --------------------------------------------------------------------------------------------

/// y = x w^T for the first `rows` (a count on the device, at most n_rows) rows of x.
MUST_USE KilnStatus record_linear(Recorder *r, Place y, Place x, const Matrix *w, Place rows,
                                  int32_t n_rows);
/// Rotates q and k in place and appends k and v to the pages of `layer`.
MUST_USE KilnStatus record_rope(Recorder *r, int32_t layer, Place q, Place k, Place v);
/// Attention of one layer over the pages, in one go or in splits that are merged.
MUST_USE KilnStatus record_attention(Recorder *r, int32_t layer, Place out, Place q);
#endif
