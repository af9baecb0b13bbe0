// runtime/token/normal.h - what happens to a fragment before it is cut into words; and two classes
// of characters.
//
//   [Prepend "▁", Replace " " -> "▁"]   "Once upon"  ==>  "▁Once▁upon"
//   [NFC]                                "e" U+0301   ==>  "é"
//
// Normal forms come from utf8proc (Unicode 15). A run of more than NORMAL_RUN_MAX combining marks,
// which no language writes, is normalised in parts, because ordering them is quadratic.
//
// Source   Unicode Standard Annex 15
#ifndef RUNTIME_TOKEN_NORMAL_H
#define RUNTIME_TOKEN_NORMAL_H
#include "base/diag.h"

enum {
    NORMAL_STEPS_MAX = 16,
    NORMAL_RUN_MAX = 1024,
    NORMAL_AFFIX_MAX = 64,      ///< bytes that a step may put in
    NORMAL_TEXT_MAX = 64 << 20, ///< bytes of a normalised text
};

typedef enum NormalKind {
    NORMAL_PREPEND,
    NORMAL_REPLACE,
    NORMAL_NFC,
    NORMAL_NFD,
    NORMAL_NFKC,
    NORMAL_NFKD
} NormalKind;

typedef struct NormalStep {
    NormalKind kind;
    Str from; ///< replace
    Str to;   ///< prepend, replace
} NormalStep;

typedef struct Normalizer {
    NormalStep steps[NORMAL_STEPS_MAX];
    int32_t n_steps;
} Normalizer;

/// @param text  valid UTF-8
/// @param out   `text` itself or a new string, arena
/// @return KILN_OK; KILN_ERR_LIMIT: K222 the result would be too long
MUST_USE KilnStatus normal_run(const Normalizer *n, Str text, Arena *arena, Str *out, Diag *diag);
/// Valid UTF-8: `text` itself, or a copy in which each ill-formed part is U+FFFD.
Str normal_valid(Str text, Arena *arena);
/// Every occurrence of `from` (not empty) replaced by `to`; `text` itself when there is none;
/// {NULL, SIZE_MAX} above 256 MiB, which three bytes for each of NORMAL_TEXT_MAX do not reach.
Str normal_replace(Str text, Str from, Str to, Arena *arena);
Str normal_join(Str a, Str b, Arena *arena);

bool char_is_space(int32_t cp); ///< White_Space
bool char_is_word(int32_t cp);  ///< letters, marks, numbers, connectors
#endif
