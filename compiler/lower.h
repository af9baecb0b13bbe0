// compiler/lower.h - elaboration: a syntax tree and a specialisation ==> tile IR in SSA form.
//
//   x = tl.load(p + o)     locals: x ==> VAL_RUN %5
//   if n > 0:              %7:2 = if %6 { ... yield %x1, %y1 } else { ... yield %x2, %y2 }
//       ...                locals: x ==> %7.0, y ==> %7.1
//
// The tree is walked as Python would run it, with values that are either known now (constexpr) or
// are made by the kernel (VAL_RUN). Calls of jit functions are walked in place. A run-time `if`
// walks both suites from the same locals and merges them; a run-time loop carries the names that
// its body assigns. Early return becomes structure: what follows an `if` that returned moves into
// its other arm, or under a flag.
//
// Errors are recorded and become VAL_ERROR, which every operation accepts in silence; the IR made
// after the first error is thrown away. So elaboration never stops early and reports every mistake.
//
//   lower.c     functions, statements, assignment
//   control.c   if and return: merging           loop.c    loops: carrying, unrolling
//   express.c   expressions, names, calls        infer.c   promotion, broadcasting, casts,
//   operators builtin*.c  the functions of the language
//
// Limits  elaborated statements and expressions: LOWER_MAX_STEPS; call depth LOWER_MAX_CALLS
// Tests   tests/compiler/test_lower.c, test_errors.c, tests/golden/lower, tests/golden/errors
#ifndef COMPILER_LOWER_H
#define COMPILER_LOWER_H
#include "compiler/builtin.h"
#include "compiler/hosteval.h"
#include "compiler/source.h"
#include "ir/build.h"

enum {
    LOWER_MAX_STEPS = 1000000,  ///< elaborated statements (E0708)
    LOWER_MAX_EXPRS = 20000000, ///< elaborated expressions
    LOWER_MAX_CALLS = 64,
    LOWER_MAX_STATIC_RANGE = 4096,
    LOWER_MAX_NESTING = 1200,
    LOWER_MAX_BYTES = 1 << 28, ///< of the arena
};

/// How a name got its value.
typedef enum LocalKind {
    LOCAL_UNBOUND,
    LOCAL_PARAM,
    LOCAL_PLAIN,
    LOCAL_CONSTEXPR, ///< v: tl.constexpr = e; may not be rebound
    LOCAL_DECLARED,  ///< v: tl.constexpr, without a value yet
} LocalKind;

typedef struct Local {
    Str name;
    LocalKind kind;
    Val val;           ///< ABSENT: no value; `why` says so
    const Node *where; ///< where it was bound last
    const char *why;   ///< of an ABSENT value that had one: the text of E0705
    bool was_number;   ///< a plain assignment made a run-time value of a number:
    Val number;        ///< this one
} Local;

/// What a function has returned so far on the path at hand.
typedef struct Returned {
    enum { RET_NEVER, RET_MAYBE, RET_ALWAYS } state;
    Value *flag; ///< MAYBE: i1, true where it returned
    Val val;     ///< MAYBE, ALWAYS
    const Node *where;
} Returned;

typedef VEC(Local) Locals;

/// One call of a jit function.
typedef struct Frame {
    struct Frame *caller;
    const JitFunc *func;
    const Node *call; ///< in the caller
    int32_t file, depth;
    Map slots; ///< name -> 1 + index of `locals`
    Locals locals;
    Returned ret;
    int32_t loops, statics; ///< run-time loops, and static loops inside the innermost of them,
                            ///< around the statement at hand
    int32_t static_runtime; ///< run-time ifs inside the innermost static loop
} Frame;

typedef enum Flow { FLOW_NEXT, FLOW_RETURN, FLOW_BREAK, FLOW_CONTINUE } Flow;

struct Lower {
    Arena *arena;
    Module *m;
    Builder b;
    Diag *diag;
    const Target *target;
    Frame *frame;
    Map globals; ///< module names that were evaluated: "function source address + name" -> Val*
    int64_t steps, exprs;
    int32_t nesting; ///< of expressions and suites, calls included: bounds our own stack
    bool stopped;    ///< past a limit: everything is an error now, without more messages
    bool debug;
    bool pure;                   ///< inside a combine function: no memory (E0719)
    int32_t errors, unsupported; ///< of the errors, those that say E09xx
};

/// Elaborates `f` for `spec`. @param out arena of `m`; meaningless unless KILN_OK
MUST_USE KilnStatus lower_kernel(Module *m, const JitFunc *f, const Spec *spec,
                                 const Target *target, Diag *diag, Func **out);

// ---- messages ---------------------------------------------------------------------------------

Span lower_span(const Lower *cx, const Node *n);
/// Records an error at `n` in the function at hand, with a note per call frame. The item takes
/// notes and help; NULL when nothing is recorded.
DiagItem *lower_error(Lower *cx, const Node *n, const char *code, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
DiagItem *lower_warn(Lower *cx, const Node *n, const char *code, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
/// W0100, of the group -Wtriton-compat: `what` is accepted here and rejected by Triton.
void lower_extension(Lower *cx, const Node *n, const char *what);
/// E0901 for something legal that is not done.
Val lower_not_yet(Lower *cx, const Node *n, const char *what);
/// Notes where the local that `n` names was bound, if `n` is a name.
void lower_note_binding(Lower *cx, DiagItem *item, const Node *n);
/// The line of `n`, for messages.
int32_t lower_line(const Lower *cx, const Node *n);
/// The source text of `n`, for messages.
Str lower_source(const Lower *cx, const Node *n);
/// "int32", "float16[64, 128]", "the constant 3", "a tuple", ...
const char *lower_describe(Lower *cx, Val v);
/// The type part only: a number has its default type.
const char *lower_type_text(Lower *cx, const Type *t);
const char *lower_shape_text(Lower *cx, int32_t rank, const int32_t *shape);

static inline Val val_error(void)
{
    return val_of(VAL_ERROR);
}
static inline bool is_error(Val v)
{
    return v.kind == VAL_ERROR;
}

/// Counts one more level of recursion; the caller takes it back. @return false after E0717: too
/// deep
bool lower_deeper(Lower *cx, const Node *n);

// ---- infer.c: types ---------------------------------------------------------------------------

/// How an operation treats its operands' types (tile-language.md 6.1).
typedef enum ArithClass { ARITH_PLAIN, ARITH_DIV } ArithClass;

/// Rule 6.1. @return DTYPE_VOID with `*code` E0402 or E0403 when there is no common type
DType infer_promote(DType a, DType b, ArithClass class, const char **code);
/// The type a number gets when it becomes a scalar: rule 5.4. DTYPE_VOID: no type holds it
DType infer_default(Val number);
/// A run-time value: numbers get their default type. NULL after an error was recorded at `n`.
Value *infer_run(Lower *cx, Val v, const Node *n);
/// As infer_run, for a number as `dtype` when it is one (weak). Checks its range (E0404, E0405).
Value *infer_number(Lower *cx, Val number, DType dtype, const Node *n);
/// What plain assignment does: numbers, also in tuples, become run-time scalars.
Val infer_materialise(Lower *cx, Val v, const Node *n);
/// Converts elements by the rules of 6.3.
Value *infer_cast(Lower *cx, Value *v, DType to, RoundMode round);
/// `v` with shape `shape`: splat, size-1 axes repeated. NULL after E0503 at `n`.
Value *infer_broadcast(Lower *cx, Value *v, int32_t rank, const int32_t *shape, const Node *n);
/// Both to their common shape. @return false after E0503 at `n`
bool infer_broadcast2(Lower *cx, Value **a, Value **b, const Node *n);
/// `v` as an i1 (`!= 0`).
Value *infer_truth(Lower *cx, Value *v);
/// Is it a pointer or a tile of pointers?
static inline bool infer_is_ptr(Val v)
{
    return v.kind == VAL_RUN && v.run->type->is_ptr;
}
/// Both operands of a numeric operation in one type and shape. `weak`: numbers take the other's
/// type (6.2).
/// @return false after an error
bool infer_operands(Lower *cx, Val a, Val b, const Node *na, const Node *nb, const Node *n,
                    const char *op, ArithClass class, bool weak, Value **x, Value **y);

Val infer_binary(Lower *cx, TokenId op, Val a, Val b, const Node *na, const Node *nb,
                 const Node *n);
Val infer_unary(Lower *cx, TokenId op, Val a, const Node *na, const Node *n);
Val infer_compare(Lower *cx, TokenId op, Val a, Val b, const Node *na, const Node *nb,
                  const Node *n);
/// x.to(t).
Val infer_to(Lower *cx, Val v, Val type, bool bitcast, bool has_round, RoundMode round,
             const Node *nv, const Node *nt, const Node *n);

// ---- express.c --------------------------------------------------------------------------------

Val express(Lower *cx, const Node *n);
/// A call of `f` walked in place.
Val express_inline(Lower *cx, const JitFunc *f, int32_t n_args, const Val *args, const Node *call);
/// The value of a name; ABSENT when it has none, without a message.
Val express_lookup(Lower *cx, Str name, const Binding **binding);
/// An attribute of a value.
Val express_attr(Lower *cx, Val base, const Node *n);
/// What a condition is: 0 false, 1 true, 2 run-time (`*out`, i1), -1 after E0702 or E0703.
int32_t express_condition(Lower *cx, Val v, const Node *n, Value **out);

// ---- lower.c, control.c: statements -------------------------------------------------------------

Local *local_find(const Frame *f, Str name);
/// The slot of `name`, made when new.
Local *local_slot(Lower *cx, Str name);
Flow lower_suite(Lower *cx, const NodeList *list, int32_t from, bool tail);
Flow lower_statement(Lower *cx, const Node *n);
/// `target = v`, tuples unpacked.
void lower_assign(Lower *cx, const Node *target, Val v, const Node *value);
Flow control_if(Lower *cx, const Node *n, const NodeList *rest, int32_t from, bool tail,
                bool *rest_done);
/// `if not flag:` around the rest of a suite, after something in it may have returned.
Flow control_guard(Lower *cx, const NodeList *rest, int32_t from, bool tail, const Node *n);
Flow loop_for(Lower *cx, const Node *n);
Flow loop_while(Lower *cx, const Node *n);
Flow control_return(Lower *cx, const Node *n);
/// An unrolled loop: over begin, begin + step, ..., or over the elements of a tuple.
typedef struct StaticLoop {
    const Node *n;
    Int128 begin, step;
    int32_t trips;
    const Val *items; ///< NULL: the range
} StaticLoop;

/// Passes `from` to the last of an unrolled loop. What follows a pass that may have returned is
/// guarded.
Flow loop_passes(Lower *cx, const StaticLoop *loop, int32_t from);
/// The same where the function has not returned yet.
Flow control_guard_loop(Lower *cx, const StaticLoop *loop, int32_t from);
/// After an error in a head: names assigned in `list` have no known type.
void control_poison(Lower *cx, const NodeList *list);
Locals locals_copy(Lower *cx, const Locals *from);
/// a if c else b with a run-time condition.
Val control_select(Lower *cx, const Node *n, Value *cond);

/// Builds into `r` until control_leave. Scratch regions become those of an op made afterwards.
Builder control_enter(Lower *cx, Region *r);
void control_leave(Lower *cx, Builder saved);
Region *control_region(Lower *cx);

// ---- arguments of builtins ----------------------------------------------------------------------

/// Calls `b` with the arguments of `call`, `self` in front unless ABSENT.
Val builtin_call(Lower *cx, const Builtin *b, Val self, const Node *self_node, const Node *call);
/// A constexpr int. @return false after E0303
bool arg_int(Lower *cx, Call *c, int32_t index, const char *what, int64_t *out);
bool arg_bool(Lower *cx, Call *c, int32_t index, bool otherwise, bool *out);
/// A constexpr string; `otherwise` when absent or None.
bool arg_str(Lower *cx, Call *c, int32_t index, const char *otherwise, Str *out);
static inline bool arg_given(const Call *c, int32_t index)
{
    return c->args[index].kind != VAL_ABSENT && c->args[index].kind != VAL_NONE;
}
/// An element type argument (E0401).
bool arg_dtype(Lower *cx, Call *c, int32_t index, DType *out);
/// A run-time value with numbers in their default type. NULL after an error.
Value *arg_run(Lower *cx, Call *c, int32_t index);
/// A run-time tile or scalar that is not a pointer.
Value *arg_numeric(Lower *cx, Call *c, int32_t index);
/// A shape from a tuple, or from `rest`. Checks powers of two and size. @return false after an
/// error
bool arg_shape(Lower *cx, Call *c, Val v, const Node *n, int32_t *rank,
               int32_t shape[TYPE_MAX_RANK]);
/// An axis of a tile of `rank` axes (E0508).
bool arg_axis(Lower *cx, Call *c, int32_t index, int32_t rank, int32_t *out);
#endif
