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

enum {
    CALL_MAX_ARGS = 48,
    ROWS_READABLE = 16, ///< activations are readable up to a multiple of so many rows
};

/// Where a value is: a planned buffer or an address. No address and no buffer: None.
typedef struct Place {
    DType dtype;
    bool is_tensor;
    int32_t tensor;
    int64_t offset; ///< of a buffer, in bytes
    const void *at;
} Place;

/// None, in the words of kernels.
extern const Place place_none;

/// Columns of a buffer: rows `stride` elements apart.
typedef struct Slice {
    Place at;
    int64_t stride;
} Slice;

/// Rows of activations, one behind the other, and int8 codes of them where a product wants those.
typedef struct Rows {
    Place x;
    Place codes, scale, sum; ///< None, or as kernels.dsl/quantize.py makes them
    int64_t code_stride;     ///< elements from a row of codes to the next
    Place count;             ///< how many rows there are, on the device
    int32_t n;               ///< at most
} Rows;

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

/// A planned buffer of `n` elements, new each time.
Place place_buffer(Recorder *r, const char *name, DType dtype, int64_t n);
/// One of `width` elements of the activations' type per token, readable up to whole tiles of tokens.
Place place_activation(Recorder *r, const char *name, int64_t width);
Place place_at(DType dtype, const void *address);
Place place_weight(const Matrix *m);
Place place_scales(const Matrix *m);
/// The planes of panels: `w ws`, or all that a type may have, `w wh sc mn sd`; those it lacks are None.
void pass_planes(Call *c, const Matrix *m, bool all);
Arg place_arg(const char *name, Place p);
/// Column `column` and what is right of it, of rows `stride` elements apart.
Slice slice_of(Place p, int64_t column, int64_t stride);

/// The power of two that covers `extent`, at most `most`.
int32_t tile_up_to(int64_t extent, int32_t most);
/// The largest power of two up to `most` that divides `extent`, but not below `least`.
int32_t even_tile_up_to(int64_t extent, int32_t most, int32_t least);

// ---- the ops --------------------------------------------------------------------------------------------

/// y = x w^T.
MUST_USE KilnStatus record_linear(Recorder *r, Slice y, const Rows *x, const Matrix *w);
/// y[i] = x w[i]^T for every matrix of the stack; out: where each of them is.
MUST_USE KilnStatus record_stack(Recorder *r, const char *name, const Rows *x, const Stack *w,
                                 Slice *out);
/// Makes the codes of rows of `width`, if products with `w` want them.
MUST_USE KilnStatus record_codes(Recorder *r, Rows *x, const Matrix *w);
/// Rotates q and k in place and appends k and v to the pages of `layer`.
MUST_USE KilnStatus record_rope(Recorder *r, int32_t layer, Slice q, Slice k, Slice v);
/// Attention of one layer over the pages, in one go or in splits that are merged.
MUST_USE KilnStatus record_attention(Recorder *r, int32_t layer, Place out, Slice q);
#endif
