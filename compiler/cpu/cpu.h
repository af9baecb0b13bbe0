// compiler/cpu/cpu.h - what the files of the CPU back end share.
//
// A program instance is a native function; inside it a tile is not a thing but an expression, evaluated
// chunk by chunk in the loop of whoever consumes it:
//
//   store(y + i, exp(load(x + i)))          for c in chunks:  v = load 8 lanes; e = exp(v); store 8 lanes
//
// Element indices are bits. A tile of 4 x 16 has flat index bits b5 b4 | b3 b2 b1 b0 (row-major). A Chunk says
// where each bit comes from: a lane bit of a vector, bits of a loop variable (a Field), or a constant.
//
//        b5 b4   b3     b2 b1 b0
//        row     col    lanes        chunk of 8 lanes inside loops over `row` (4) and `col` (2)
//
// Shape operations only rename bits, so they cost nothing: eval() walks from a value to its operands, renaming
// the chunk, until it meets memory. Whatever does not depend on an inner loop's bits is emitted before
// that loop (see Ev.depth), so broadcasts and row addresses are hoisted as a matter of course.
//
//   plan.c      which values are kept in scratch instead of evaluated again, and why
//   region.c    walks the ops in order: scalars, control flow, and groups of roots
//   group.c     roots that share one loop nest: stores, reductions, kept values
//   nest.c      loops over chunks; full chunks first, the masked rest after
//   eval.c      a value at a chunk       access.c  vectors of memory, masked or not
//   math.c elem.c convert.c              element operations on LLVM vectors
//   stream.c    stores past the caches      prefetch.c  memory of the next program, asked for while this one computes
//   reduce.c scan.c sort.c atomic.c dot.c          one family of roots each
//   cpu.c object.c                                 the function around it, and its object file made runnable
#ifndef COMPILER_CPU_CPU_H
#define COMPILER_CPU_CPU_H
#include "compiler/backend.h"
#include "compiler/llvm.h"
#include "ir/affine.h"

// ---- instruction sets ---------------------------------------------------------------------------

enum {
    ISA_FMA = 1,
    ISA_F16C = 2,
    ISA_MASK4 = 4,
    ISA_MASK1 = 8,
    ISA_BF16 = 16,
    ISA_VNNI = 32,
    ISA_ARM = 64,
    ISA_DOT = 128,
    ISA_I8MM = 256,
};

typedef struct Isa {
    CpuLevel level;
    const char *text, *triple, *cpu, *tune, *features;
    int32_t vector_bytes, n_registers;
    uint32_t facts;
} Isa;

/// The row of `level`, or NULL when there is none.
const Isa *isa_of(CpuLevel level);

// ---- chunks -------------------------------------------------------------------------------------

enum {
    MAX_BITS = AFFINE_MAX_BITS,
    MAX_LANE_BITS = 7,
    MAX_FIELDS = 24,
    MAX_DEPTH = 28,
    MAX_DIMS = 24
};

/// Bits [lo, lo + width) of the loop variable `var` (i64) are flat index bits [at, at + width).
typedef struct Field {
    LLVMValueRef var;
    int8_t lo, width, at;
    int8_t depth;  ///< of the loop
    bool is_whole; ///< all other bits of var are zero
} Field;

typedef struct Chunk {
    int8_t log_w;               ///< 2^log_w lanes; 0: one element, a scalar in LLVM
    int8_t lane[MAX_LANE_BITS]; ///< flat bit of each lane bit; -1: all the same along it
    int8_t n_fields;
    Field fields[MAX_FIELDS];
    uint32_t fixed; ///< constant flat bits
} Chunk;

/// A value at a chunk, and the loop depth that it needs: 0 is outside all tile loops.
typedef struct Ev {
    LLVMValueRef v;
    int32_t depth;
} Ev;

/// A tile in memory of ours: row-major, elements as in device memory (i1: a byte, pointers: 8 bytes).
typedef struct Held {
    LLVMValueRef base; ///< ptr
    int64_t bytes;
    bool is_small; ///< on the stack and addressed by constants: LLVM keeps it in registers
} Held;

// ---- values -------------------------------------------------------------------------------------

typedef enum Mode {
    MODE_SCALAR, ///< an LLVM scalar
    MODE_LAZY,   ///< evaluated where it is consumed
    MODE_HELD,   ///< in memory of ours, once `is_ready`
    MODE_DELTA,  ///< a carried tile that is `base` plus a uniform running sum
} Mode;

typedef struct Info {
    Mode mode;
    bool is_ready;     ///< HELD: its memory has been written
    bool is_keep;      ///< a lazy op whose value is kept: HELD, written by a root of its own
    bool is_deferred;  ///< a dot that is emitted with its consumer (dot_fuse)
    uint32_t dep;      ///< flat bits it may change along
    int32_t cost;      ///< rough vector operations per evaluation
    bool has_load;     ///< evaluating it reads device memory
    bool is_address;   ///< only ever part of addresses that are sums of index bits
    int32_t def_at;    ///< position of its definition
    int32_t depth;     ///< loops around its definition
    int32_t last_root; ///< position of the last root that consumes it
    LLVMValueRef scalar;
    Held held;
    Value *base; ///< DELTA
    LLVMValueRef delta;
} Info;

typedef struct MemoEntry {
    const Value *value;
    Chunk chunk;
    Ev ev;
} MemoEntry;

/// A comparison known to hold in the loop being emitted.
typedef struct Assumed {
    const Value *term;
    int32_t depth;
} Assumed;

typedef struct Group Group;

typedef struct Cx {
    LlvmCx ll;
    LLVMContextRef c;
    LLVMBuilderRef b;
    Arena *arena;
    Diag *diag;
    const Isa *isa;
    Func *fn;
    AffineCx *affine;
    Info *info;    ///< [n_values]
    KilnStatus st; ///< first failure; emission goes on with undefined values

    LLVMTypeRef i1, i8, i16, i32, i64, f32, f64, ptr;
    LLVMValueRef function, grid, tls, scratch, pid, dummy;
    LLVMValueRef program[3], n_programs[3]; ///< i32
    LLVMBasicBlockRef entry, next_program;

    LLVMBasicBlockRef at[MAX_DEPTH]; ///< where code of each depth goes
    int32_t depth;
    VEC(MemoEntry) memo;
    VEC(Assumed) assumed;
    Group *group;     ///< roots not emitted yet
    VEC(Op *) stores; ///< all tile stores, and by position where the cluster of each begins
    const int32_t *cluster;
    VEC(Value *)
    touched;            ///< pointers that loop nests outside of `for` have accessed so far
    bool needs_fence;   ///< stores past the caches were emitted
    int32_t last_write; ///< position of the latest write that has been emitted; -1: none
    int64_t scratch_top, scratch_max;
} Cx;

static inline Info *info_of(const Cx *cx, const Value *v)
{
    return &cx->info[v->id];
}
static inline int32_t log_numel(const Type *t)
{
    return log2_floor((uint64_t)t->numel);
}
/// Records an E-code error at `op` once and lets emission run to its end.
void cpu_error(Cx *cx, KilnStatus st, const char *code, Span span, const char *fmt, ...)
    PRINTF_LIKE(5, 6);

// ---- types and constants (types.c) --------------------------------------------------------------

/// The LLVM type in which an element is computed: f16, bf16 and fp8 are f32 that hold their values exactly.
LLVMTypeRef elem_type(Cx *cx, const Type *t);
LLVMTypeRef dtype_type(Cx *cx, DType t);
/// ... and in which it lies in memory: i8 for i1 and fp8, i16 for f16 and bf16.
LLVMTypeRef memory_type(Cx *cx, const Type *t);
LLVMTypeRef vector_of(LLVMTypeRef elem, int32_t log_w); ///< elem itself when log_w is 0
/// `like` with another element type.
LLVMTypeRef type_like(LLVMTypeRef like, LLVMTypeRef elem);
int32_t lanes_of(LLVMTypeRef t); ///< 1 for scalars
LLVMTypeRef scalar_of(LLVMTypeRef t);
LLVMValueRef const_int(LLVMTypeRef t, int64_t x); ///< splatted
LLVMValueRef const_real(LLVMTypeRef t, double x);
LLVMValueRef const_i64(Cx *cx, int64_t x);
LLVMValueRef splat(Cx *cx, LLVMValueRef scalar, int32_t log_w);
bool is_all_ones(LLVMValueRef v);
bool is_zero(LLVMValueRef v);
/// A vector of `n` of x's (and y's) lanes.
LLVMValueRef shuffle(Cx *cx, LLVMValueRef x, LLVMValueRef y, int32_t n, const int32_t *lanes);
LLVMValueRef call_intrinsic(Cx *cx, const char *name, LLVMTypeRef overload, int32_t n,
                            LLVMValueRef *args);
/// Stack memory of the function, in the entry block.
LLVMValueRef stack_slot(Cx *cx, LLVMTypeRef t, int32_t align);

// ---- element operations (elem.c, math.c, convert.c): vectors or scalars of the computed type ------

/// An elementwise opcode on operands of dtype `t` (of operand 1 for SELECT; U64 for pointers).
LLVMValueRef elem_emit(Cx *cx, ElemKind e, DType t, LLVMValueRef *in);
/// The same where operand 0 is never positive (it may be NaN): EXP and EXP2 are shorter then.
LLVMValueRef elem_emit_low(Cx *cx, ElemKind e, DType t, LLVMValueRef *in);
/// Rounds an f32 to the values of `t` (f16, bf16, fp8); identity for others.
LLVMValueRef round_to(Cx *cx, DType t, LLVMValueRef x, RoundMode round);
LLVMValueRef cast_emit(Cx *cx, DType from, DType to, RoundMode round, LLVMValueRef x);
LLVMValueRef bitcast_emit(Cx *cx, const Type *from, const Type *to, LLVMValueRef x);
/// Between memory form and computed form.
LLVMValueRef from_memory(Cx *cx, const Type *elem, LLVMValueRef x);
LLVMValueRef to_memory(Cx *cx, const Type *elem, LLVMValueRef x);
LLVMValueRef mul_add(Cx *cx, LLVMValueRef a, LLVMValueRef b,
                     LLVMValueRef c); ///< fused where the level can
LLVMValueRef exact_fma(Cx *cx, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c);
LLVMValueRef math_exp(Cx *cx, LLVMValueRef x, bool is_low); ///< is_low: x <= 0 or NaN
LLVMValueRef math_exp2(Cx *cx, LLVMValueRef x, bool is_low);
LLVMValueRef math_log(Cx *cx, LLVMValueRef x);
LLVMValueRef math_log2(Cx *cx, LLVMValueRef x);
LLVMValueRef math_sin(Cx *cx, LLVMValueRef x, bool cosine);
LLVMValueRef math_erf(Cx *cx, LLVMValueRef x);
LLVMValueRef math_tanh(Cx *cx, LLVMValueRef x);
LLVMValueRef math_rsqrt(Cx *cx, LLVMValueRef x);
LLVMValueRef math_fmod(Cx *cx, LLVMValueRef x, LLVMValueRef y);
/// Identity of a built-in combine, in the computed type.
LLVMValueRef combine_identity(CombineKind k, DType t, LLVMTypeRef type);
LLVMValueRef combine_emit(Cx *cx, CombineKind k, DType t, LLVMValueRef x, LLVMValueRef y);

// ---- steps of a dot (product.c) ---------------------------------------------------------------------

typedef enum ProductKind {
    PRODUCT_FMA,
    PRODUCT_MUL,
    PRODUCT_I16,
    PRODUCT_BF16,
    PRODUCT_VNNI,
    PRODUCT_LOW,
    PRODUCT_WIDE,
    PRODUCT_MULL,
    PRODUCT_SDOT,
} ProductKind;

/// How a level multiplies two types: `group_bits` neighbours along k at a time.
typedef struct Product {
    ProductKind kind;
    int32_t group_bits;
    DType sum, operand;
    int32_t bound;      ///< LOW: the largest element of the unsigned side
    bool is_signed;     ///< quads: the elements are i8
    bool is_low;        ///< MULL: sums of two products fit 16 bits
    bool a_is_unsigned; ///< VNNI, LOW: a takes the unsigned side
    bool flips_a;       ///< VNNI: a + 128 takes it; product_excess() is to be taken off
} Product;

/// An operand of one step, made ready once for all steps that it takes part in.
typedef struct Factor {
    LLVMValueRef v[2];
} Factor;

/// The largest that an element of this int tile can be, when all are known to be 0 .. 127; else -1.
int32_t product_bound(const Value *v);
/// @param k_bits  log2 of the neighbours along k that may be grouped
/// @param a_bound, b_bound  of product_bound()
Product product_choose(const Cx *cx, DType sum, DType a, DType b, int32_t k_bits, int32_t a_bound,
                       int32_t b_bound);
/// `v`: a's group in every lane, or b's lanes (k low, n).
Factor product_factor(Cx *cx, const Product *p, LLVMValueRef v, bool is_a);
LLVMValueRef product_add(Cx *cx, const Product *p, const Factor *a, const Factor *b,
                         LLVMValueRef sum);
/// Does the level multiply two rows of a by two columns of b at once?
bool product_has_pairs(const Cx *cx, const Product *p);
/// Sums [a0 b0, a0 b1, a1 b0, a1 b1] over two groups along k, which `a` and `b` hold of two rows each.
LLVMValueRef product_pairs(Cx *cx, const Product *p, const Factor *a, const Factor *b,
                           LLVMValueRef sum);
/// LOW: how much of an i16 (32767) one step may fill; 0: the product has no narrow sums.
int32_t product_weight(const Product *p);
/// LOW: product_add() on sums in i16, NULL: none yet. Their weights may not exceed what an i16 holds.
LLVMValueRef product_narrow(Cx *cx, const Product *p, const Factor *a, const Factor *b,
                            LLVMValueRef narrow);
LLVMValueRef product_widen(Cx *cx, LLVMValueRef narrow, LLVMValueRef sum);
/// Adds what flipping a adds too much.
LLVMValueRef product_excess(Cx *cx, const Factor *b, LLVMValueRef sum);

// ---- evaluation (eval.c) --------------------------------------------------------------------------

/// The value of `v` at the lanes of `c`. Code goes to the depth it needs.
Ev eval(Cx *cx, Value *v, const Chunk *c);
/// A rank-0 value.
LLVMValueRef eval_scalar(Cx *cx, Value *v);
/// eval() at the depth of the innermost loop, for code that goes there.
LLVMValueRef eval_here(Cx *cx, Value *v, const Chunk *c);
/// The scalar op, now.
LLVMValueRef emit_scalar_op(Cx *cx, Op *op);
/// map[b] of a result's flat bit b: the operand's bit, -1 when the operand does not change along it.
bool shape_map(const Op *op, int8_t map[MAX_BITS]);
void chunk_map(const Chunk *c, const int8_t *map, Chunk *out);
/// The chunk of element 0 (one lane).
Chunk chunk_zero(void);
void chunk_add_field(Chunk *c, Field f);
/// `bits` of the flat index as an i64, for lane 0.
Ev chunk_index(Cx *cx, const Chunk *c, uint32_t bits);
/// Moves the builder to the end of depth d's code; after code that made new blocks call depth_moved().
void at_depth(Cx *cx, int32_t d);
void depth_moved(Cx *cx, int32_t d);
/// Forgets values of the memo that need depth d or more.
void memo_drop(Cx *cx, int32_t d);
/// Says what `v` is at `c` while the innermost loop is open.
void memo_add(Cx *cx, Value *v, const Chunk *c, LLVMValueRef x);

// ---- memory (access.c) ----------------------------------------------------------------------------

enum { PLACE_MAX_LANES = 1 << MAX_LANE_BITS };

/// Addresses of a chunk's elements: lane l lies at base + sum of the offsets of its bits.
typedef struct Place {
    LLVMValueRef base;                ///< ptr of lane 0
    LLVMValueRef step[MAX_LANE_BITS]; ///< i64 bytes per lane bit
    LLVMValueRef each;           ///< vector of ptr when there is no such form; then base is unused
    int32_t log_w, n_contiguous; ///< lane bits that step by the element's size from bit 0
    int32_t depth;
    bool is_past_caches; ///< stores: the address is aligned to a vector, and non-temporal is wanted
    bool is_small;       ///< memory that may become registers: moved a vector at a time
    const Type *elem;
} Place;

Place place_of_pointer(Cx *cx, Value *pointer, const Chunk *c);
Place place_of_held(Cx *cx, const Held *h, const Type *tile, const Chunk *c);
/// @param mask  vector of i1, or NULL; lanes off are not accessed and read as zero
/// @return in the computed type
LLVMValueRef place_load(Cx *cx, const Place *p, LLVMValueRef mask);
void place_store(Cx *cx, const Place *p, LLVMValueRef value, LLVMValueRef mask);
/// Memory for a tile of ours, until `scratch_release`.
Held held_new(Cx *cx, const Type *t);
Held held_bytes(Cx *cx, int64_t bytes);
Held held_scratch(Cx *cx, int64_t bytes); ///< never registers
int64_t scratch_mark(const Cx *cx);
void scratch_release(Cx *cx, int64_t mark);

// ---- loops (nest.c) -------------------------------------------------------------------------------

/// Opens `for var = begin; var < end; var += step` (i64) one level deeper; `var` is what the body sees.
typedef struct Loop {
    LLVMValueRef var, begin, end;
    int64_t step;
    LLVMBasicBlockRef body, exit;
    bool runs_once_at_least;
} Loop;

Loop loop_open(Cx *cx, LLVMValueRef begin, LLVMValueRef end, int64_t step);
void loop_close(Cx *cx, Loop *l);

/// A pointer that is read or written while a space is walked.
typedef struct Access {
    const Value *pointer;
    int8_t map[MAX_BITS]; ///< space bit -> bit of the pointer tile, or -1
    int32_t weight;
} Access;

/// A comparison of ints met on the way; `stores` has a bit per store whose mask needs it.
typedef struct Term {
    Value *value;
    int8_t map[MAX_BITS];
    uint32_t stores;
    bool is_dead; ///< met under two renamings: nothing may be assumed of it
} Term;

/// What evaluating some values over a space meets.
typedef struct Cone {
    VEC(Access) accesses;
    VEC(Term) terms;
    VEC(Term) seen; ///< values visited, with their renaming
    int32_t cost;
    int32_t lane_bytes; ///< widest element computed per lane
    bool reads_small;   ///< some of it lies in registers, which loops cannot index
} Cone;

/// Adds `v`, whose flat bits are the space's renamed by `map` (NULL: the same).
/// @param stores  nonzero: `v` is the mask of these stores
void cone_add(Cx *cx, Cone *cone, Value *v, const int8_t *map, uint32_t stores);
void cone_add_access(Cx *cx, Cone *cone, Value *pointer, const int8_t *map, int32_t weight);

/// Vector instructions that evaluating `op` takes, without its operands.
int32_t op_cost(const Op *op);

/// A loop over flat bits [at, at + width) of one axis whose lower bits are lanes or unrolled.
typedef struct Dim {
    int8_t axis_low, at, width;
    bool is_unrolled;
} Dim;

typedef struct Nest Nest;
typedef void NestStep(Cx *cx, void *user, const Chunk *c);

struct Nest {
    const Type *space;
    Cone *cone;
    int32_t log_w;
    int8_t lane[MAX_LANE_BITS];
    int32_t n_dims, n_outer; ///< begin and end run inside the first n_outer loops
    Dim dims[MAX_DIMS];      ///< outer first
    uint32_t
        stores; ///< nonzero: only these stores happen, so loops end where all their masks are off
    NestStep *begin, *body, *end; ///< begin and end may be NULL; their chunks have no lanes
    void *user;
};

/// Chooses lanes and loops. Bits of `inner` (an axis to be reduced) are walked innermost, `unrolled` bits inside them.
/// @param is_copy  one value is written row-major and nothing else happens: it may be transposed in blocks
void nest_plan(Cx *cx, Nest *n, const Type *space, Cone *cone, int32_t log_w, uint32_t inner,
               uint32_t unrolled, bool is_copy);
/// Unrolls all loops when there are at most `most` chunks.
void nest_unroll(Nest *n, int32_t most);
void nest_emit(Cx *cx, Nest *n);
/// log2 of the lanes that suit the element sizes and the cost of a cone.
int32_t cone_width(Cx *cx, const Cone *cone, const Type *space);

// ---- stores past the caches (stream.c) --------------------------------------------------------------

/// Does `op` stand outside all loops, so that it happens once per program?
bool op_is_once(const Op *op);
/// Is it a store of one large piece, for which both forms are emitted?
bool store_may_stream(const Cx *cx, const Op *store);
/// i1: does the launch write more through a tile of these pointers than caches hold?
LLVMValueRef launch_is_large(Cx *cx, const Type *pointers);
/// i1: shall this one, which may stream, go past the caches?
LLVMValueRef store_streams(Cx *cx, Op *store);
/// Marks an LLVM store whose address is aligned to a vector.
void store_past_caches(Cx *cx, LLVMValueRef store);

// ---- prefetches (prefetch.c) ------------------------------------------------------------------------

enum { PREFETCH_MAX = 6 };

/// A tile in one piece: where its element 0 lies for the next program.
typedef struct Stream {
    LLVMValueRef next;
    int32_t element_bytes;
} Stream;

typedef struct Prefetch {
    int32_t n;
    int64_t bytes; ///< of all streams
    Stream streams[PREFETCH_MAX];
} Prefetch;

/// What the loops over `space` shall ask for; called for each loop nest in order, before its loops open.
/// `root`: an op for which they exist, or NULL.
Prefetch prefetch_plan(Cx *cx, const Op *root, const Type *space, const Cone *cone,
                       bool has_stores);
/// The part of a chunk, in the innermost loop.
void prefetch_emit(Cx *cx, const Prefetch *p, const Chunk *c);
/// Bytes from where `pointer` points to where it will in an iteration to come of the loop that `at` is in. At
/// depth 0. @param bytes  that an iteration reads through it
/// @return i64, any where no iteration is left; NULL: not known before that iteration, or always the same
LLVMValueRef prefetch_ahead(Cx *cx, const Op *at, Value *pointer, int64_t bytes);
/// Asks for the line of `base` + `offset` bytes; any address will do.
void prefetch_line(Cx *cx, LLVMValueRef base, LLVMValueRef offset);
enum { LINE_BYTES = 64 };

// ---- roots ----------------------------------------------------------------------------------------

typedef enum RootKind { ROOT_STORE, ROOT_WRITE, ROOT_REDUCE } RootKind;

/// Something that happens for every element of a space.
typedef struct Root {
    RootKind kind;
    Op *op;           ///< STORE, REDUCE
    Value *value;     ///< WRITE
    Held to;          ///< WRITE
    const Type *elem; ///< WRITE: element type of `to`; the value's own, or f32 for a dot's operand
    bool is_keep;     ///< WRITE: `value` is kept and becomes ready
} Root;

/// Adds a root to the pending group, or emits the group first and starts another.
void group_add(Cx *cx, Root root);
Group *group_new(Arena *a);
void group_flush(Cx *cx);
/// Is `v` (or what it is computed from) a result of the pending group?
bool group_blocks(Cx *cx, Value *v);
bool group_has_stores(const Cx *cx);
/// How `v` reads the held value `what`: not at all, only at the same position, or otherwise.
typedef enum Reading { READS_NOT, READS_IN_PLACE, READS_ANYWHERE } Reading;
Reading value_reads(Cx *cx, const Value *v, const Value *what);

/// Gives `v` memory of its own and writes it there with the next group.
void value_keep(Cx *cx, Value *v);
// ---- reductions inside a group (reduce.c) -----------------------------------------------------------

typedef struct Reduction Reduction;
Reduction *reduction_new(Cx *cx, Op *op, const Nest *n, uint32_t unrolled);
void reduction_begin(Cx *cx, Reduction *r);
void reduction_step(Cx *cx, Reduction *r, LLVMValueRef *values, const Chunk *c);
/// `c`: the chunk outside the reduced axis
void reduction_end(Cx *cx, Reduction *r, const Chunk *c);

void scan_emit(Cx *cx, Op *op);
void sort_emit(Cx *cx, Op *op);
void histogram_emit(Cx *cx, Op *op);
void atomic_emit(Cx *cx, Op *op);
void atomic_emit_scalar(Cx *cx, Op *op);
void dot_emit(Cx *cx, Op *op);
/// Dots of ints whose only consumer is what a `for` yields for its carried tile `i`.
typedef struct Fused Fused;
/// @return NULL: there are none, or they have to be emitted where they stand. Called before the body is emitted
Fused *dot_fuse(Cx *cx, Op *loop, int32_t i);
/// Memory for the carried tile: registers only where the sums leave room for it.
Held dot_fused_held(Cx *cx, const Fused *f);
/// Emits them and writes what is yielded to `to`, the carried tile's memory. Called after the body.
void dot_emit_fused(Cx *cx, Fused *f, Held to);
Ev gather_eval(Cx *cx, Op *op, const Chunk *c);
void region_emit(Cx *cx, Region *r);
void plan_function(Cx *cx);
/// The pointer argument (or carried pointer) that a pointer is computed from; NULL: unknown.
const Value *pointer_base(const Cx *cx, const Value *v);
/// May two accesses, one of them a store, touch the same element from different positions?
/// @param in_place  both are made at one position of their root
bool pointers_conflict(const Cx *cx, const Value *x, const Value *y, bool in_place);
/// The uniform amount by which carried tile `i` of a `for` moves per iteration, or NULL.
Value *carried_step(Cx *cx, Op *loop, int32_t i, bool *minus);
/// Evaluates a combine region on vectors: `in` are its arguments, `out` what it yields.
void combine_region_emit(Cx *cx, Region *r, LLVMValueRef *in, LLVMValueRef *out);
#endif
