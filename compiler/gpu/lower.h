// compiler/gpu/lower.h - what the files that write LLVM IR share: one thread's view of the program.
//
//   tile<128xf32, 4 warps, reg 1 2>   ==>   Tile {v[0..3]}: the elements this thread holds,
//   register by register arange                            ==>   v: the same LLVM value in all
//   registers, off: 0 1 2 3
//                                           a constant that an address can take as an immediate
//
// bf16 and fp8 are held as their bits (i16, i8); i1 is i1; pointers are ptr addrspace(1).
#ifndef COMPILER_GPU_LOWER_H
#define COMPILER_GPU_LOWER_H
#include "compiler/gpu/gpu.h"
#include "compiler/llvm.h"

typedef struct Tile {
    int32_t n;
    LLVMValueRef *v;
    int64_t *off; ///< added to v: elements for ints, bytes for pointers; NULL: all zero
} Tile;

typedef struct Lower {
    GpuCx *cx;
    LlvmCx *ll;
    LLVMContextRef c;
    LLVMBuilderRef b;
    LLVMTypeRef i1, i8, i16, i32, i64, f16, f32, f64, gptr, sptr, nothing;
    LLVMValueRef func, smem, tid, lane, warp;
    LLVMBasicBlockRef entry; ///< values that every block may use; its branch comes last
    Tile *vals;              ///< by Value.id
    Map functions;           ///< kiln.<name> -> LLVMValueRef
    Map fields;              ///< layout and axis -> what lane and warp contribute to the coordinate
    const Code *code;        ///< its parameters' offsets and the entry symbol
    Op *op;                  ///< being lowered: its span is the place that reports name
} Lower;

// ---- intrinsics (intrinsic.c) -----------------------------------------------------------------

typedef enum IntrinsicKind { KIND_NVVM, KIND_ASM, KIND_SMEM } IntrinsicKind;

typedef struct Intrinsic {
    const char *name, *ret, *args;
    IntrinsicKind kind;
    const char *text;
    EmuOp emu;
    const char *flags;
    int32_t imm; ///< a constant for the emulator
} Intrinsic;

typedef enum IntrinsicId {
#define KILN(ID, ...) K_##ID,
#include "compiler/gpu/intrinsic.def"
#undef KILN
    K_COUNT,
} IntrinsicId;

LLVMValueRef kiln_call(Lower *lo, IntrinsicId id, int32_t n, LLVMValueRef *args);
/// The same for a row that was put together.
LLVMValueRef kiln_call_row(Lower *lo, const Intrinsic *row, LLVMValueRef *args);
#define KILN0(lo, id)       kiln_call((lo), K_##id, 0, NULL)
#define KILN1(lo, id, x)    kiln_call((lo), K_##id, 1, (LLVMValueRef[]){x})
#define KILN2(lo, id, x, y) kiln_call((lo), K_##id, 2, (LLVMValueRef[]){x, y})

// ---- values (lower.c) -------------------------------------------------------------------------

LLVMTypeRef element_type(const Lower *lo, const Type *t);
LLVMTypeRef gpu_dtype_type(const Lower *lo, DType t);
LLVMValueRef const_i32(const Lower *lo, int64_t v);
LLVMValueRef gpu_const_i64(const Lower *lo, int64_t v);
LLVMValueRef const_of(const Lower *lo, const Type *t, const Attr *a);
LLVMValueRef zero_of(const Lower *lo, const Type *t);

/// Room for `n` registers; with_off: offsets too.
Tile tile_new(Lower *lo, int32_t n, bool with_off);
Tile *tile_of(Lower *lo, const Value *v);
void tile_set(Lower *lo, const Value *v, Tile t);
/// Register `r` of `v` with its offset added.
LLVMValueRef reg_of(Lower *lo, const Value *v, int32_t r);
/// All registers with their offsets added.
void regs_of(Lower *lo, const Value *v, LLVMValueRef *out);
LLVMValueRef gpu_scalar_of(Lower *lo, const Value *v);
LLVMValueRef *regs_new(Lower *lo, int32_t n);

/// What lane and warp contribute to bits [low, low + width) of the packed coordinate, shifted down.
LLVMValueRef thread_field(Lower *lo, const Layout *l, int32_t low, int32_t width);
/// True in the one thread that acts for each element: lanes and warps whose free bits are zero.
/// NULL: all are.
LLVMValueRef owner_predicate(Lower *lo, const Layout *l);
/// i32 in shared memory: xor of columns[i] over lane and warp bits i. `n_lane` columns, then the
/// warp's.
LLVMValueRef thread_xor(Lower *lo, const uint32_t *lane_cols, int32_t n_warp,
                        const uint32_t *warp_cols);

LLVMBasicBlockRef block_new(Lower *lo, const char *name);
void block_enter(Lower *lo, LLVMBasicBlockRef block);
/// i64 for the emulator's reports: begin << 32 | end of the op's span.
LLVMValueRef place_of(Lower *lo);
void barrier(Lower *lo);
/// The barrier in front of an op that writes shared memory, where one is due; @return its region's
/// address.
LLVMValueRef scratch_enter(Lower *lo, const Op *op);
LLVMValueRef shared_at(Lower *lo, LLVMValueRef base, LLVMValueRef bytes);
/// Loads and stores of n neighbouring elements of `type` (n * size <= 16, aligned).
void shared_load(Lower *lo, LLVMTypeRef type, int32_t n, LLVMValueRef at, LLVMValueRef *out);
void shared_store(Lower *lo, LLVMTypeRef type, int32_t n, LLVMValueRef at, const LLVMValueRef *in);
/// The type as which an element lies in memory (i1 is a byte), and the move there and back.
LLVMTypeRef gpu_memory_type(const Lower *lo, LLVMTypeRef t);
LLVMValueRef gpu_to_memory(Lower *lo, LLVMValueRef v);
LLVMValueRef gpu_from_memory(Lower *lo, LLVMValueRef v, LLVMTypeRef t);
int32_t type_bytes(const Lower *lo, LLVMTypeRef t);

/// Element `i` of the `per` (1, 2, 4) in a 32-bit word (words.c).
LLVMValueRef word_part(Lower *lo, LLVMValueRef word, int32_t i, int32_t per, LLVMTypeRef type);
/// The i32 of `n` elements of 32 / n bits each, the first one lowest.
LLVMValueRef word_pack(Lower *lo, int32_t n, const LLVMValueRef *v);

/// Writes and reads a tile whose element c lies at inverse(c) elements behind `base`
/// (lower_convert.c).
void shared_put(Lower *lo, const Layout *l, const Layout *inverse, LLVMTypeRef type,
                LLVMValueRef *regs, LLVMValueRef base);
/// shared_get() reads with ldmatrix where the algebra allows.
void shared_get(Lower *lo, const Layout *l, const Layout *inverse, LLVMTypeRef type,
                LLVMValueRef base, LLVMValueRef *out);
/// The same where each thread loads its own elements and no others (ldmatrix loads for the warp).
void shared_get_own(Lower *lo, const Layout *l, const Layout *inverse, LLVMTypeRef type,
                    LLVMValueRef base, LLVMValueRef *out);

/// The same by 8 x 8 matrices. @return false: they do not divide the layout, or vectors cost less
/// (ldmatrix.c)
bool ldmatrix_get(Lower *lo, const Layout *l, const Layout *inverse, LLVMTypeRef type,
                  LLVMValueRef base, LLVMValueRef *out);

void lower_region(Lower *lo, Region *r);
void lower_op(Lower *lo, Op *op);
/// Runs a combine region on scalars.
void lower_combine(Lower *lo, Region *r, const LLVMValueRef *in, LLVMValueRef *out);

// ---- families ---------------------------------------------------------------------------------

void lower_elementwise(Lower *lo, Op *op); // lower_elem.c
LLVMValueRef emit_elem(Lower *lo, ElemKind e, const Type *t, LLVMValueRef *in);
LLVMValueRef emit_cast(Lower *lo, LLVMValueRef x, DType from, DType to, RoundMode round);
LLVMValueRef emit_fma(Lower *lo, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c);
LLVMValueRef emit_math(Lower *lo, ElemKind e, LLVMValueRef x); // lower_math.c, f32 and f64
void lower_memory(Lower *lo, Op *op);                          // lower_mem.c
/// What `op` (a LOAD, a COPY_ASYNC) reads, into registers; its pointer is operand `first`, mask and
/// `other` follow.
void load_registers(Lower *lo, const Op *op, int32_t first, LLVMValueRef *out);
void lower_async(Lower *lo, Op *op);   // async.c: buffers, copies, waits
void lower_atomic(Lower *lo, Op *op);  // lower_atomic.c
void lower_reduce(Lower *lo, Op *op);  // lower_reduce.c
void lower_scan(Lower *lo, Op *op);    // lower_scan.c
void lower_convert(Lower *lo, Op *op); // lower_convert.c
void lower_dot(Lower *lo, Op *op);     // lower_dot.c
void lower_mma(Lower *lo, Op *op);     // mma.c
void lower_shape(Lower *lo, Op *op);   // lower_shape.c: aranges, broadcasts, joins ...
void lower_sort(Lower *lo, Op *op);    // lower_sort.c: sort, gather, histogram, flip
void lower_gather(Lower *lo, Op *op);
void lower_histogram(Lower *lo, Op *op);
void lower_flip(Lower *lo, Op *op);
/// Shuffles of any scalar type, by 32-bit words.
LLVMValueRef shuffle_bfly(Lower *lo, LLVMValueRef v, uint32_t mask);
LLVMValueRef shuffle_idx(Lower *lo, LLVMValueRef v, LLVMValueRef lane);
/// One combine step of REDUCE and SCAN: n values of each side.
void emit_combine(Lower *lo, Op *op, int32_t n, const LLVMValueRef *x, const LLVMValueRef *y,
                  LLVMValueRef *out);

/// The whole function: declares the kernel and fills it in.
void lower_function(Lower *lo, const Code *code);

#endif
