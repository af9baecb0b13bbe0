// compiler/constant.h - compile-time values, and Python's arithmetic on them.
//
//   7 // -2 ==> -4      1 / 2 ==> 0.5      True + 1 ==> 2      "a" + "b" ==> "ab"      (1, 2) * 2
//
// A Val is what an expression is while a kernel is elaborated: a constexpr (number, string, dtype,
// tuple, function, ...), a run-time value of the tile IR, or the error value that silences what
// follows from one mistake. The host evaluator (hosteval.h) uses the same values without the
// run-time kind.
//
// Deviation  integers have 128 bits; past them: E0306
// Tests      tests/compiler/test_lower.c, test_errors.c
#ifndef COMPILER_CONSTANT_H
#define COMPILER_CONSTANT_H
#include "base/num.h"
#include "compiler/ast.h"

typedef struct Val Val;
typedef struct JitFunc JitFunc; ///< source.h
typedef struct Builtin Builtin; ///< builtin.h
struct Value;                   ///< ir.h

typedef enum ValKind {
    VAL_ABSENT, ///< not given, not bound
    VAL_ERROR,
    VAL_NONE,
    VAL_BOOL,
    VAL_INT,
    VAL_FLOAT,
    VAL_STR,
    VAL_DTYPE,  ///< an element or pointer type; with a shape, the type of a tile
    VAL_TUPLE,  ///< tuples and lists
    VAL_DICT,   ///< host only; items are key, value, key, value
    VAL_MODULE, ///< a dotted path that is no value itself, e.g. tl.math
    VAL_BUILTIN,
    VAL_METHOD, ///< a builtin with its first argument
    VAL_FUNC,   ///< a jit function
    VAL_LAMBDA, ///< host only
    VAL_OPAQUE, ///< bound by host code that is not evaluated
    VAL_RUN,    ///< a value of the tile IR
} ValKind;

/// An element type as the language sees it.
typedef struct TypeRef {
    DType dtype;
    bool is_ptr, is_const;
    int32_t rank; ///< 0: no tile
    const int32_t *shape;
} TypeRef;

struct Val {
    ValKind kind;
    bool is_list; ///< TUPLE: written with brackets
    int32_t n;    ///< TUPLE, DICT
    union {
        bool b;
        Int128 i;
        double f;
        Str s; ///< STR; MODULE: its path; OPAQUE: the name
        TypeRef type;
        Val *items;
        struct {
            const Builtin *builtin;
            Val *self;
        };
        const JitFunc *func;
        struct Value *run;
        struct {
            const Node *node;
            const void *env; ///< hosteval.c's
        } lambda;
    };
};

static inline Val val_int(Int128 i)
{
    return (Val){.kind = VAL_INT, .i = i};
}
static inline Val val_bool(bool b)
{
    return (Val){.kind = VAL_BOOL, .b = b};
}
static inline Val val_float(double f)
{
    return (Val){.kind = VAL_FLOAT, .f = f};
}
static inline Val val_str(Str s)
{
    return (Val){.kind = VAL_STR, .s = s};
}
static inline Val val_of(ValKind kind)
{
    return (Val){.kind = kind};
}
static inline Val val_dtype(DType t)
{
    return (Val){.kind = VAL_DTYPE, .type = {.dtype = t}};
}
static inline Val val_run(struct Value *v)
{
    return (Val){.kind = VAL_RUN, .run = v};
}
Val val_tuple(Arena *a, int32_t n, const Val *items);

static inline bool val_is_number(Val v)
{
    return v.kind == VAL_BOOL || v.kind == VAL_INT || v.kind == VAL_FLOAT;
}
static inline bool val_is_integral(Val v)
{
    return v.kind == VAL_BOOL || v.kind == VAL_INT;
}
/// Has a value at compile time (also inside tuples)?
bool val_is_constexpr(Val v);
/// BOOL and INT as an integer.
static inline Int128 val_as_int(Val v)
{
    return v.kind == VAL_BOOL ? (Int128)v.b : v.i;
}
/// BOOL, INT and FLOAT as a double.
double val_as_float(Val v);
/// Does the integer fit, and what is it?
bool val_fits_i32(Val v, int32_t *out);

/// Why an operation has no value. `code` is NULL when the operand kinds do not go with the
/// operator.
typedef struct ConstFault {
    const char *code, *text;
} ConstFault;

/// a op b, -a, a < b with Python's meaning. @return ERROR with `fault` filled in when there is no
/// value
Val const_binary(Arena *arena, TokenId op, Val a, Val b, ConstFault *fault);
Val const_unary(TokenId op, Val a, ConstFault *fault);
/// `op`: a comparison, T_KW_IN, T_KW_NOT (not in), T_KW_IS, T_BANG (is not).
Val const_compare(TokenId op, Val a, Val b, ConstFault *fault);
/// Python's bool(v); false when v has none.
bool const_truth(Val v, bool *out);
bool val_equal(Val a, Val b);

/// str(v), or repr(v) when `repr`.
void val_print(StrBuf *out, Val v, bool repr);
/// As diagnostics show it: constants by value, `a int32 tile` kinds by infer.h.
const char *val_text(Arena *arena, Val v);
/// format(v, spec). @return false: the spec does not suit the value
bool val_format(StrBuf *out, Val v, Str spec);
/// "fp32", "pointer<fp16>", as `dtype.name`.
const char *typeref_name(Arena *arena, TypeRef t);
/// "float16[64, 128]", "*float16", as diagnostics print types.
const char *typeref_text(Arena *arena, TypeRef t);
#endif
