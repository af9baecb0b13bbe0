// compiler/source.h - a kernel file, read: its module-level names, jit functions and launch cards.
//
//   import triton.language as tl      tl      ==> MODULE "triton.language"
//   BLOCK = 64                        BLOCK   ==> EXPR, evaluated when a kernel needs it
//   class Wrapper: ...                Wrapper ==> OPAQUE, skipped without being parsed
//   # kiln: f(x: *f32:16, n: i32)     a card of f
//   @triton.jit                       f       ==> JIT
//   def f(x, n): ...
//
// Host code is tokenised and split into statements, no more; what it binds can only be named in an
// error. A Source is immutable after source_open, so several threads may compile from it.
//
// Tests  tests/compiler/test_parse.c
#ifndef COMPILER_SOURCE_H
#define COMPILER_SOURCE_H
#include "base/map.h"
#include "compiler/ast.h"
#include "compiler/compile.h"
#include "compiler/constant.h"

typedef enum BindKind {
    BIND_MODULE, ///< an import: `path`
    BIND_JIT,    ///< `func`
    BIND_EXPR,   ///< NAME = expr, NAME: annotation = expr
    BIND_OPAQUE, ///< host code; `def` for a host function whose tokens are kept
} BindKind;

typedef struct Binding {
    Str name;
    BindKind kind;
    int32_t begin, end;           ///< bytes of the name where it is bound
    int32_t stmt_begin, stmt_end; ///< bytes of the statement
    Str path;                     ///< MODULE: dotted, as imported
    const Node *expr;             ///< EXPR
    bool is_constexpr;            ///< EXPR: annotated tl.constexpr
    JitFunc *func;                ///< JIT
} Binding;

typedef struct CardText {
    Str text;     ///< lines joined, without `# kiln:`
    int32_t line; ///< of the first
} CardText;

/// A jit function and what its decorators say.
struct JitFunc {
    const Source *source;
    const char *name;
    const Node *def;
    bool debug;
    const Node *no_specialize, *no_alignment; ///< list or tuple of names or positions, or NULL
    const Node *configs, *key;                ///< of autotune, or NULL
    VEC(const Node *) heuristics;             ///< DICTs, outermost first
    bool has_caller;                          ///< some jit function of the file names it
    VEC(CardText) cards;
};

struct Source {
    Arena arena;
    char *path;
    Str text;
    Tokens tokens;
    Map names; ///< Str -> Binding*, the last binding of each
    VEC(JitFunc *) funcs;
    VEC(JitFunc *) kernels;    ///< entries: no caller, or a card
    Map warned;                ///< decorators that W0201 has named
    int32_t counted_to, lines; ///< newlines before byte `counted_to`, while reading
};

/// The jit function called `name`, or NULL.
JitFunc *source_func(const Source *s, Str name);
/// The file number of `s` in `diag`: registered on the first call, found again on later ones. -1
/// when `diag` is NULL.
int32_t source_diag_file(const Source *s, Diag *diag);
/// The dotted path that `n` (NAME or ATTR of them) reaches through the imports of `s`, e.g.
/// "tl.constexpr", in canonical form (scope.h), or an empty Str.
Str source_path_of(const Source *s, Arena *arena, const Node *n);
#endif
