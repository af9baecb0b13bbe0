// ir/ir.h - the tile IR: functions of regions of operations on values, each with a static type.
//
//   func @add(%0: ptr<f32> {align=16}, %1: i32) num_warps=8 {
//     %2 = program_id {axis=0} : i32                       an Op: kind, inputs, attributes, results
//     %3 = arange {start=0} : tile<64xi32>                 a Value: defined once, by an op or as an argument
//     %4 = for %5 = %2 to %1 step %6 carry (%7 = %8) : f32 { ... }   a Region: arguments, ops, one terminator
//     return
//   }
//
// SSA with structured control flow only: `for`, `while`, `if` hold regions; there is no CFG above LLVM.
// Everything lives in the module's arena and goes together. Types are interned: == compares.
// Ops of a region form a doubly linked list; uses of a value form one too, because passes unlink in
// the middle. A value never crosses from one function to another.
//
// Threads  a module belongs to one thread
#ifndef IR_IR_H
#define IR_IR_H
#include "base/diag.h"
#include "base/map.h"
#include "base/num.h"
#include "base/vec.h"

typedef struct Type Type;
typedef struct Value Value;
typedef struct Op Op;
typedef struct Region Region;
typedef struct Func Func;
typedef struct Module Module;
typedef struct Layout
    Layout; ///< ir/layout.h: where a tile's elements live on a GPU; NULL before that

// ---- types ------------------------------------------------------------------------------------

typedef enum TypeKind {
    TYPE_SCALAR, ///< one element
    TYPE_PTR,    ///< pointer to elements of `dtype` in device memory
    TYPE_TILE,   ///< elements or pointers, every axis a power of two
    TYPE_BUF,    ///< shared-memory buffer of `stages` tiles (asynchronous ops)
    TYPE_TOKEN,  ///< an asynchronous copy in flight
} TypeKind;

struct Type {
    TypeKind kind;
    DType dtype;             ///< of the element; of the pointee when is_ptr
    bool is_ptr;             ///< PTR, or TILE of pointers
    bool is_const;           ///< is_ptr: stores through it are errors
    int32_t rank;            ///< TILE, BUF: 1 to 24; else 0
    const int32_t *shape;    ///< [rank]
    int64_t numel;           ///< product of shape; 1 when rank is 0
    int32_t stages;          ///< BUF
    const Layout *layout;    ///< TILE, BUF; NULL: none assigned
    const char *layout_name; ///< its name in module->layouts, without the '#'
    const Type *element;     ///< TILE: its scalar or pointer type; PTR: the pointee's; else itself
};

enum { TYPE_MAX_RANK = 24, TYPE_MAX_NUMEL = 1 << 20 };

const Type *type_scalar(Module *m, DType t);
const Type *type_ptr(Module *m, DType pointee, bool is_const);
/// A tile of `element` (TYPE_SCALAR or TYPE_PTR) without layout. Rank 0 gives `element` itself.
const Type *type_tile(Module *m, const Type *element, int32_t rank, const int32_t *shape);
const Type *type_buf(Module *m, DType t, int32_t rank, const int32_t *shape, int32_t stages,
                     const Layout *layout);
const Type *type_token(Module *m);
/// `t` with another element type / shape / layout; scalars stay scalars where rank is 0.
const Type *type_with_element(Module *m, const Type *t, const Type *element);
const Type *type_with_dtype(Module *m, const Type *t, DType dtype);
const Type *type_with_shape(Module *m, const Type *t, int32_t rank, const int32_t *shape);
const Type *type_with_layout(Module *m, const Type *t, const Layout *layout);
bool type_same_shape(const Type *a, const Type *b);
/// Bytes of one element in memory: 8 for pointers.
int32_t type_element_bytes(const Type *t);
/// Names `layout` (one name per layout, borrowed layout); types print and intern layouts by name.
void module_add_layout(Module *m, const char *name, const Layout *layout);
/// The name of `layout` without '#'; one not yet named gets the next free of l0, l1, ...
const char *module_layout_name(Module *m, const Layout *layout);
/// As the IR prints it: "tile<128x64xbf16>", "ptr<f32>", "tile<64xptr<const f16>>". Arena of `a`.
const char *type_text(Arena *a, const Type *t);

// ---- attributes -------------------------------------------------------------------------------

typedef enum AttrKey {
    ATTR_NONE,
    ATTR_VALUE,      ///< i, u or f by the result's dtype (number)
    ATTR_AXIS,       ///< int
    ATTR_START,      ///< int
    ATTR_ROUND,      ///< RoundMode
    ATTR_HINT,       ///< HintKind
    ATTR_LIST,       ///< ints
    ATTR_COMBINE,    ///< CombineKind
    ATTR_REVERSE,    ///< bool
    ATTR_DESCENDING, ///< bool
    ATTR_PRECISION,  ///< DotPrecision
    ATTR_CACHE,      ///< CacheHint
    ATTR_EVICT,      ///< EvictHint
    ATTR_VOLATILE,   ///< bool
    ATTR_RMW,        ///< RmwKind
    ATTR_SEM,        ///< MemSem
    ATTR_SCOPE,      ///< MemScope
    ATTR_TEXT,       ///< string
    ATTR_HEX,        ///< bool
    ATTR_PENDING,    ///< int
    ATTR_STAGES,     ///< int; 0: the kernel's num_stages
    ATTR_UNROLL,     ///< int; 0: as the back end likes
    ATTR_KEY_COUNT,
} AttrKey;

typedef enum RoundMode { ROUND_RNE, ROUND_RTZ } RoundMode;
typedef enum HintKind { HINT_MULTIPLE_OF, HINT_MAX_CONTIGUOUS, HINT_MAX_CONSTANCY } HintKind;
typedef enum CombineKind {
    COMBINE_REGION, ///< the op's region combines 2n scalars into n
    COMBINE_ADD,
    COMBINE_MUL,
    COMBINE_MIN, ///< NaNs are ignored unless all are NaN
    COMBINE_MAX,
    COMBINE_AND,
    COMBINE_OR,
    COMBINE_XOR,
    COMBINE_ARGMIN, ///< one input, two results: value, i32 index along the axis; lowest index wins ties
    COMBINE_ARGMAX,
} CombineKind;
typedef enum DotPrecision {
    DOT_DEFAULT,
    DOT_IEEE,
    DOT_TF32,
    DOT_TF32X3,
    DOT_BF16X3,
    DOT_BF16X6
} DotPrecision;
typedef enum CacheHint {
    CACHE_NONE,
    CACHE_CA,
    CACHE_CG,
    CACHE_CS,
    CACHE_CV,
    CACHE_WB,
    CACHE_WT
} CacheHint;
typedef enum EvictHint { EVICT_NONE, EVICT_FIRST, EVICT_LAST } EvictHint;
typedef enum RmwKind { RMW_ADD, RMW_MIN, RMW_MAX, RMW_AND, RMW_OR, RMW_XOR, RMW_XCHG } RmwKind;
typedef enum MemSem { SEM_ACQ_REL, SEM_ACQUIRE, SEM_RELEASE, SEM_RELAXED } MemSem;
typedef enum MemScope { SCOPE_GPU, SCOPE_CTA, SCOPE_SYS } MemScope;

/// One attribute. Which member counts follows from the key; ints are stored sign- or zero-extended
/// by the value's own dtype, floats as the double that the dtype represents exactly.
typedef struct Attr {
    int64_t i;
    double f;
    const char *text;
    const int32_t *list;
    int32_t n_list;
} Attr;

// ---- operations -------------------------------------------------------------------------------

typedef enum OpKind {
#define OP(NAME, ...) OP_##NAME,
#include "ir/op.def"
#undef OP
    OP_KIND_COUNT,
} OpKind;

typedef enum ElemKind {
#define ELEM(NAME, ...) ELEM_##NAME,
#include "ir/elem.def"
#undef ELEM
    ELEM_KIND_COUNT,
} ElemKind;

typedef enum OpEffects { EFFECT_PURE, EFFECT_READS, EFFECT_WRITES, EFFECT_CONTROL } OpEffects;
typedef enum ElemDomain { DOMAIN_NUM, DOMAIN_INT, DOMAIN_FLOAT, DOMAIN_F32, DOMAIN_ANY } ElemDomain;
typedef enum ElemResult { RESULT_SAME, RESULT_BOOL, RESULT_SEL } ElemResult;

enum { OP_MAX_ATTRS = 3, COMBINE_MAX_OPERANDS = 64, FUNC_NUM_WARPS = 4, FUNC_NUM_STAGES = 3 };

typedef struct OpFacts {
    const char *name;
    int8_t min_in, max_in, n_out, n_regions;
    OpEffects effects;
    AttrKey attrs[OP_MAX_ATTRS]; ///< ATTR_NONE past the last
} OpFacts;

typedef struct ElemFacts {
    const char *name;
    int8_t arity;
    ElemDomain domain;
    ElemResult result;
} ElemFacts;

extern const OpFacts op_facts[OP_KIND_COUNT];
extern const ElemFacts elem_facts[ELEM_KIND_COUNT];

typedef struct Use Use;
struct Use {
    Op *op;
    int32_t index; ///< op->in[index] is the value
    Use *next, *prev;
};

struct Value {
    const Type *type;
    Op *def;          ///< NULL for a region argument
    Region *region;   ///< the region whose argument it is; NULL for a result
    int32_t index;    ///< among the results or arguments
    Use *uses;        ///< first of the list, or NULL
    Span span;        ///< of the expression it came from
    const char *name; ///< the source's name for it, or NULL; printing and diagnostics only
    int32_t id;       ///< scratch number for printers and back ends; dense after func_number()
};

struct Op {
    OpKind kind;
    ElemKind elem; ///< OP_ELEM only
    Span span;
    int32_t n_in, n_out, n_regions;
    Use *in_uses; ///< [n_in], the links of in[]
    Value **in;   ///< [n_in]; change with op_set_input()
    Value *out;   ///< [n_out]
    Region **regions;
    Attr attrs[OP_MAX_ATTRS]; ///< in the order of op_facts[kind].attrs
    Op *prev, *next;
    Region *parent; ///< NULL when unlinked
    void *note;     ///< a back end's own annotation; NULL between passes
};

struct Region {
    Op *owner; ///< the op that holds it; NULL for a function body
    Func *func;
    int32_t n_args;
    Value **args;
    Op *first, *last; ///< last is the terminator once the region is complete
};

typedef struct Param {
    const char *name; ///< in the source
    Value *value;     ///< argument of the body
    int32_t
        divisible; ///< ints: the value, pointers: the address in bytes is a multiple of this (1 or 16)
} Param;

struct Func {
    Module *module;
    const char *name;
    Region *body;
    int32_t n_params;
    Param *params;
    int32_t num_warps, num_stages; ///< [FUNC_NUM_WARPS, FUNC_NUM_STAGES]
    int32_t maxnreg;               ///< registers of a GPU thread at most; [0]: no limit of ours
    bool fp_fusion;                ///< a*b+c may become fma on f32 and f64
    int32_t n_results;
    const Type *
        *results; ///< types of what `return` takes (kernels: none; pass tests may return values)
    Span span;
};

struct Module {
    Arena *arena;
    Diag *diag;
    VEC(Func *) funcs;
    Map types;   ///< interned, by text
    Map layouts; ///< name -> Layout, in order of definition
    int32_t n_values;
};

/// A fresh module in `arena` (borrowed, outlives it).
Module *module_new(Arena *arena, Diag *diag);
/// A function with an empty body whose arguments have `types`.
Func *func_new(Module *m, const char *name, int32_t n_params, const Type *const *types,
               const char *const *names);
/// Numbers every value of `fn` from 0 in print order (Value.id). @return how many
int32_t func_number(Func *fn);

/// An unlinked op. Results get `out_types`; inputs are recorded as uses.
Op *op_new(Module *m, OpKind kind, Span span, int32_t n_in, Value *const *in, int32_t n_out,
           const Type *const *out_types, int32_t n_regions);
/// Links `op` into `r` before `before`, or at the end when NULL.
void op_insert(Op *op, Region *r, Op *before);
/// Unlinks and drops its uses, and those inside its regions. Results must be unused.
void op_erase(Op *op);
/// Unlinks without dropping uses, so that it can be inserted elsewhere.
void op_unlink(Op *op);
void op_set_input(Op *op, int32_t index, Value *v);
/// Every use of `from` reads `to` instead. Types must be equal.
void replace_uses(Value *from, Value *to);
/// A deep copy, unlinked; `map` (Value.id -> Value*, sized by func_number) renames inputs where not NULL
/// and receives the copies. Every value that `op` reads or defines must be older than that func_number().
Op *op_clone(Module *m, const Op *op, Value **map);

Region *region_new(Module *m, Func *fn, Op *owner, int32_t n_args, const Type *const *types);
static inline Op *region_terminator(const Region *r)
{
    return r->last;
}

/// The attribute `key` of `op`, which must have it.
Attr *op_attr(Op *op, AttrKey key);
static inline int64_t op_attr_i(const Op *op, AttrKey key)
{
    return op_attr((Op *)(uintptr_t)op, key)->i;
}
/// OP_ELEM with this opcode.
static inline bool op_is_elem(const Op *op, ElemKind e)
{
    return op && op->kind == OP_ELEM && op->elem == e;
}
static inline bool value_has_one_use(const Value *v)
{
    return v->uses && !v->uses->next;
}
/// A CONST: true and its attribute; looks through SPLAT, BROADCAST, RESHAPE, EXPAND_DIMS of constants.
bool value_const(const Value *v, Attr *out);
bool value_const_int(const Value *v, int64_t *out);

#define EACH_OP(op, region) for (Op *op = (region)->first; op; op = op->next)
/// Safe when the body erases `op`.
#define EACH_OP_SAFE(op, region)                                                                   \
    for (Op *op = (region)->first, *op##_next = op ? op->next : NULL; op;                          \
         op = op##_next, op##_next = op ? op->next : NULL)
#define EACH_USE(use, value) for (Use *use = (value)->uses; use; use = use->next)

/// Calls `visit` for every op under `r`, outer before inner.
void region_walk(Region *r, void (*visit)(Op *op, void *user), void *user);
#endif
