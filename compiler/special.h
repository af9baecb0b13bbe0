// compiler/special.h - the written form of a specialisation: text ==> Spec ==> canonical text.
//
//   rmsnorm(y: *bf16:16, n: i32:16, stride: 1, m: None, BLOCK=128)[num_warps=4, num_stages=3]
//           |            |  `:16` a multiple of 16    |
//           `pointer     `integer                     `compile-time value, also `name: value`
//
// Values are host expressions over the other compile-time parameters: K_DIM=PAGE.
#ifndef COMPILER_SPECIAL_H
#define COMPILER_SPECIAL_H
#include "compiler/source.h"

/// As spec_parse, with `where` in front of messages ("softmax.py:12").
MUST_USE KilnStatus special_parse(const Source *s, Str text, const char *where, Arena *arena,
                                  Spec *out, Diag *diag);
/// Bytes of `text` up to and including the bracket that closes the one at `open`, or 0 when none
/// does.
size_t special_balanced(Str text, size_t open);
Str special_trim(Str s);
/// The compile-time value of a parameter.
Val special_value(SpecConst c);
#endif
