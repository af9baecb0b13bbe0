// runtime/cards.h - arguments for a launch card, made from its words and a seed.
//
//   # kiln: rmsnorm(y: *f32:16, ..., n: i32, ...) grid=(R+1,) R={0,1,7} n={1,BLOCK} x=randn((R+1)*sx) ...
//
//   words of a card, left to right          become
//     R={0,1,7}                             an alternative, picked by the seed
//     sy=n+3                                an integer expression over parameters and words before it
//     eps=1e-5                              a number
//     x=randn(R*sx)                         contents of a pointer argument, made by a generator
//
//   randn(n)  uniform(a,b,n)  zeros(n)  full(v,n)     floats, or integers where the argument has them
//   ints(lo,hi,n)  iota(n)                            lo .. hi-1; 0 .. n-1
//   perm(n,k)  picks(n,k)                             k different numbers of 0 .. n-1; of 1 .. n
//   sometimes(v,share,gen)                            gen, with some elements replaced by v (-inf, nan too)
//   ragged(total,parts)                               parts+1 ascending row pointers, empty parts included
//   segments(starts,n)                                which part of `starts` each of n rows lies in
//   kv_list_of(slots,per)                             list numbers: one for the slot, or one per head
//   kv_spread(list_of,per)  kv_len(list_of,slot_of,q_start,per,most)  kv_pages(list_of,spread,per,max_pages)
//   visit_counts(rows,most)  visit_lists(counts,most) ascending page numbers, a row each
//
// Every buffer lies between two unmapped pages, against one of them, at a base that keeps the card's
// promise of 16 bytes and, where there is none, often breaks it: tests run on them as they are, benches copy them
// to their device.
//
// Tests    tests/kernels: every card of every kernel, on every rung
#ifndef RUNTIME_CARDS_H
#define RUNTIME_CARDS_H
#include "compiler/compile.h"

/// A pointer argument's memory between guard pages.
typedef struct CaseBuffer {
    uint8_t *at; ///< first byte
    size_t bytes;
    void *map; ///< with the guards
    size_t map_bytes;
} CaseBuffer;

typedef struct CaseWord {
    const char *name;
    bool is_array;
    double number;  ///< also integers
    double *values; ///< arena; is_array
    int64_t n;
} CaseWord;

/// One launch: words, grid, and the argument block over `buffers`.
typedef struct Case {
    Arena arena;
    const Card *card;
    Grid grid;
    VEC(CaseWord) words; ///< compile-time parameters first, then the card's words in order
    uint8_t args[CODE_MAX_PARAMS * 8];
    CaseBuffer buffers
        [CODE_MAX_PARAMS]; ///< by index of the specialisation's parameter; .at NULL: no pointer
} Case;

/// How a case is made. Zero is a test's: alternatives by the seed, words as the card has them.
typedef struct CaseOptions {
    uint64_t seed;
    bool last;       ///< of alternatives {a,b,c} the last, not one that the seed picks
    int32_t n_words; ///< words that replace the card's, and new ones after them
    const CardLet *words;
} CaseOptions;

/// Makes a case of `card` as `options` say; otherwise as case_make.
MUST_USE KilnStatus case_make_with(const Card *card, const Code *code, const CaseOptions *options,
                                   Case *out, Diag *diag);
/// Makes case `seed` of `card`. `code` gives the layout of the argument block.
/// @param out owned: case_free(), also after an error
MUST_USE KilnStatus case_make(const Card *card, const Code *code, uint64_t seed, Case *out,
                              Diag *diag);
/// The same arguments in memory of their own: a second run to compare with.
MUST_USE KilnStatus case_copy(const Case *from, const Code *code, Case *out, Diag *diag);
void case_free(Case *c);
/// Programs of the grid.
int64_t case_programs(const Case *c);
/// A word or compile-time parameter by name. @return NULL when there is none
const CaseWord *case_word(const Case *c, const char *name);
/// The numbers of a case in words: "R=7 n=512 BLOCK=512". Arena of the case.
const char *case_text(Case *c);
#endif
