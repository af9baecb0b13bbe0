// compiler/builtin.h - the functions of the language as a table, and a call of one with its
// arguments bound.
//
//   tl.load(p + o, mask=m)   row "pointer mask? other? ..."
//                            ==>   args[0] = p + o, args[1] = m, args[2] ABSENT
//
// The binder checks names and counts (E0716) once for all; handlers see arguments by position.
#ifndef COMPILER_BUILTIN_H
#define COMPILER_BUILTIN_H
#include "compiler/constant.h"

typedef struct Lower Lower; ///< lower.h

enum { BUILTIN_MAX_PARAMS = 10, BUILTIN_MAX_REST = 32 };

typedef struct Call {
    const Builtin *builtin;
    const Node *node; ///< the call
    const char *name; ///< as diagnostics say it: "tl.load"
    Val args[BUILTIN_MAX_PARAMS];
    const Node *nodes[BUILTIN_MAX_PARAMS]; ///< the expression of each argument, or the call when
                                           ///< there is none
    Val *rest;                             ///< [n_rest] what `*` took
    const Node **rest_nodes;
    int32_t n_rest;
} Call;

struct Builtin {
    const char *space, *name;
    bool is_method;
    const char *params;
    Val (*lower)(Lower *cx, Call *call);
    int32_t aux;
};

extern const Builtin builtins[];
extern const int32_t n_builtins;

/// The row of `space`.`name`, or NULL.
const Builtin *builtin_find(const char *space, Str name);
/// The row that x.`name`(...) means, or NULL.
const Builtin *builtin_method(Str name);
// The handlers: each checks its arguments (E codes of tile-language.md 11) and makes the operation.
#define BUILTIN(space, name, method, params, handler, aux) Val tl_##handler(Lower *cx, Call *call);
#include "compiler/builtin.def"
#undef BUILTIN

/// "tl.load", "libdevice.tanh", "len".
const char *builtin_text(Arena *arena, const Builtin *b);
#endif
