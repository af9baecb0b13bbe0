// compiler/cards.h - launch cards: comments that say what a kernel is shipped as and tested with.
//
//   # kiln: f(x: *{f32,bf16}:16, n: i32, BLOCK={64,128})[num_warps=4] grid=(rows, cdiv(n, BLOCK))
//   # kiln:+ rows={0,1,7} n=1000 x=randn(rows*n)
//          |                                                  |                 |
//          `signature: braces expand to the product           `expressions      `lets: kept as text
//
// The public functions are in compile.h: source_cards, card_eval.
#ifndef COMPILER_CARDS_H
#define COMPILER_CARDS_H
#include "compiler/special.h"

enum { CARD_MAX_PRODUCT = 4096 };

/// Every text that the braces of `text` stand for, in order; `text` itself when it has none. Arena.
/// @return false: more than CARD_MAX_PRODUCT, or a brace is not closed
bool cards_expand(Arena *arena, Str text, int32_t *n, Str **out);
#endif
