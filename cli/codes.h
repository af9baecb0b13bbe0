// cli/codes.h - what the codes of messages mean: `kiln help E0503`, `kiln help codes`.
#ifndef CLI_CODES_H
#define CLI_CODES_H
#include "base/str.h"

/// Whether `word` has the form of a code: E, W or K and digits, in either case.
bool code_shaped(const char *word);
/// Appends the meaning of one code and what to do about it. @return false when there is no such code
bool code_explain(const char *word, StrBuf *out);
/// The code nearest to `word`: of the same letter, by distance in number. Never NULL when code_shaped(word).
const char *code_nearest(const char *word);
/// Appends the whole table.
void code_table(StrBuf *out);
#endif
