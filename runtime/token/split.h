// runtime/token/split.h - the regular expressions that cut text into words before merging.
//
//   GPT-2    "I've 12 cats"  ==>  "I" "'ve" " 12" " cats"
//
// Patterns are known by name; a tokenizer that brings another one is refused, since near enough
// gives wrong ids. Matching is PCRE2's, with Unicode properties and limits on steps and memory.
//
// Source   the pre-tokenisation patterns of GPT-2, Llama 3 and Qwen 2
// Threads  many may split with one Splitter
// Tests    tests/runtime/token/test_split.c
#ifndef RUNTIME_TOKEN_SPLIT_H
#define RUNTIME_TOKEN_SPLIT_H
#include "base/diag.h"

typedef struct Splitter Splitter;
typedef VEC(Str) Words;

typedef enum SplitPattern {
    SPLIT_GPT2,
    SPLIT_LLAMA3,
    SPLIT_QWEN2,
    SPLIT_DIGIT,  ///< each number character alone, what lies between together
    SPLIT_DIGITS, ///< runs of number characters
    SPLIT_COUNT,
} SplitPattern;

enum { SPLIT_STEPS_MAX = 2 };

/// By the text of the regular expression in tokenizer.json. @return false when kiln does not know
/// it
bool split_by_regex(Str regex, SplitPattern *out);
/// By the name in GGUF's tokenizer.ggml.pre: patterns to apply one after the other.
/// @return how many; 0 when kiln does not know the name
int32_t split_by_name(Str name, SplitPattern out[SPLIT_STEPS_MAX]);

/// @param out  owned by the caller: splitter_close()
MUST_USE KilnStatus splitter_open(SplitPattern pattern, Heap *heap, Splitter **out, Diag *diag);
/// NULL is fine.
void splitter_close(Splitter *s);
/// Appends the words of `text` (valid UTF-8); joined they are `text`.
/// @return KILN_OK; KILN_ERR_LIMIT: K222 the match took too many steps; KILN_ERR_NOMEM
MUST_USE KilnStatus splitter_run(const Splitter *s, Str text, Arena *arena, Words *out, Diag *diag);
#endif
