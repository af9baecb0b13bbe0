// compiler/hosteval.h - a small interpreter for host expressions: module constants, defaults,
// decorators, heuristics, launch cards (tile-language.md 2.6).
//
//   [triton.Config({"BLOCK": b}, num_warps=w) for b in (64, 128) for w in (4, 8)]  ==>  four dicts
//   lambda args: args["n"] % args["BLOCK"] == 0                                    ==>  a LAMBDA
//
// Anything it does not know makes the expression OPAQUE; that is an error only where a value is
// needed.
//
// Limits  10^6 steps (E0209), where long results count for their length
// Tests   tests/compiler/test_parse.c
#ifndef COMPILER_HOSTEVAL_H
#define COMPILER_HOSTEVAL_H
#include "compiler/source.h"

enum { HOST_MAX_STEPS = 1000000, HOST_MAX_NESTING = 150 };

/// A variable of a lambda, a comprehension or a card; innermost first.
typedef struct HostEnv {
    Str name;
    Val value;
    const struct HostEnv *next;
} HostEnv;

typedef struct HostEval {
    const Source *source; ///< for module names; NULL: none
    Arena *arena;
    int64_t steps;
    int32_t nesting;
    const char *code, *why; ///< of the first failure, static text; NULL where nothing is known
    const Node *where;
} HostEval;

HostEval host_eval_new(const Source *source, Arena *arena);
/// The value of `n`; OPAQUE when it cannot be known (then `why` may say so).
Val host_eval(HostEval *h, const Node *n, const HostEnv *env);
/// Calls a LAMBDA.
Val host_call(HostEval *h, Val lambda, int32_t n, const Val *args);
/// A function of module `math` or `triton` on constexprs, also used by kernels. ABSENT: no such
/// function.
Val host_function(HostEval *h, Str space, Str name, int32_t n, const Val *args);
/// A DICT of one more entry.
Val host_dict_with(Arena *arena, Val dict, Val key, Val value);
#endif
