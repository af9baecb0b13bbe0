// compiler/scope.h - what a name means outside any function: imports, the language's modules,
// constants.
//
//   tl.math.exp         ==>  canonical "tl.exp"        ==> the builtin
//   tl.extra.libdevice  ==>  canonical "libdevice"     ==> a module
//   X = tl.constexpr(3) ==>  3 (by the host evaluator)
//
// All spellings of one thing reduce to one canonical path, and one table says what is at the path.
// Names from other files come in here: a resolver of imports would add its modules to scope_path().
#ifndef COMPILER_SCOPE_H
#define COMPILER_SCOPE_H
#include "compiler/source.h"

/// Reduces a dotted path: "triton.language.math.exp" to "tl.exp". Arena, or `path` itself.
Str scope_canonical(Arena *arena, Str path);
/// What is at a canonical path: MODULE, BUILTIN, DTYPE, numbers of `math`; ABSENT when nothing is.
Val scope_path(Arena *arena, Str canonical);
/// Attribute `name` of module `module`.
Val scope_attr(Arena *arena, Val module, Str name);
/// Module-level `name` in `s`. ABSENT: not bound there. OPAQUE: bound by code that is not
/// evaluated.
/// `*binding` (may be NULL) is set when it is bound.
Val scope_name(const Source *s, Arena *arena, Str name, const Binding **binding);
/// The builtin Python function `name` ("min", "len", ...), or ABSENT.
Val scope_python(Str name);
/// The nearest name of the module `canonical` to `name`, for "did you mean", or NULL.
const char *scope_nearest(Str canonical, Str name);
#endif
