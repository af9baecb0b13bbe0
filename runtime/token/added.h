// runtime/token/added.h - tokens that are cut out of a text before anything else happens to it.
//
//   "hi<|im_end|>\n"   ==>   "hi" | <|im_end|> | "\n"        leftmost, and of those the longest
//
// A byte trie holds the tokens; a text costs its length times the longest token at worst.
#ifndef RUNTIME_TOKEN_ADDED_H
#define RUNTIME_TOKEN_ADDED_H
#include "base/str.h"
#include "base/vec.h"

typedef struct AddedToken {
    Str content;
    int32_t id;
    bool special;        ///< recognised only when special tokens are parsed
    bool lstrip, rstrip; ///< swallows white space to its left, right
    bool single_word;    ///< must not touch a word character
} AddedToken;

typedef struct AddedSet {
    VEC(AddedToken) items;
    bool first[256];  ///< bytes with which a token begins
    uint64_t *edges;  ///< open addressing: 1 + (node << 8 | byte); 0 empty
    int32_t *targets; ///< node that edge i leads to
    uint64_t n_slots; ///< a power of two
    int32_t *item_of; ///< per node: 1 + index into items, 0 none
} AddedSet;

typedef struct AddedMatch {
    const AddedToken *token;
    size_t begin, end; ///< with the white space it swallows
} AddedMatch;

void added_push(Arena *a, AddedSet *set, AddedToken token);
/// Builds the trie. Call once, after the last push. Of two tokens with one content the first wins.
void added_build(Arena *a, AddedSet *set);
/// The next token at or after `from`. @return false when there is none
bool added_next(const AddedSet *set, Str text, size_t from, bool parse_special, AddedMatch *out);
#endif
