// runtime/token/vocab.h - what a Tokenizer is made of; seen by the files of this directory only.
//
//   id   text (as the file spells it)   kind      print (what it puts out)
//   13   <0x0A>                          byte      "\n"
//   498  ▁once                           normal    " once"
//   345  Ġonce                           normal    " once"
//   2    </s>                            control   ""
#ifndef RUNTIME_TOKEN_VOCAB_H
#define RUNTIME_TOKEN_VOCAB_H
#include "runtime/token/added.h"
#include "runtime/token/merge.h"
#include "runtime/token/normal.h"
#include "runtime/token/split.h"
#include "runtime/token/tokenizer.h"

enum { PRE_STEPS_MAX = 8, AFFIX_MAX = 16 };

typedef struct Piece {
    Str text, print;
    uint32_t rank; ///< by score: position among the distinct scores, best first
    uint8_t kind;  ///< PieceKind
} Piece;

/// One step of pre-tokenisation: every word so far becomes one or several.
typedef struct PreStep {
    enum { PRE_SPLIT, PRE_BLANK, PRE_METASPACE } kind;
    Splitter *splitter; ///< PRE_SPLIT, owned by the tokenizer
    enum {
        SCHEME_FIRST,
        SCHEME_ALWAYS,
        SCHEME_NEVER
    } scheme; ///< PRE_METASPACE: where a U+2581 is put in front
    bool cut; ///< PRE_METASPACE: a new word at each U+2581
} PreStep;

typedef struct Affix {
    int32_t ids[AFFIX_MAX];
    int32_t n;
} Affix;

struct Tokenizer {
    Heap *heap;
    Arena arena;
    Piece *pieces;
    int32_t n_ids;
    int32_t *slots; ///< 1 + id by text, open addressing; unused pieces are not in it
    uint64_t n_slots;
    int32_t byte_ids[256]; ///< the piece of each byte, -1 none
    bool has_bytes;        ///< all 256

    bool by_score;   ///< else by rank
    bool byte_level; ///< pieces are spelled in the byte alphabet
    bool metaspace;  ///< U+2581 stands for a blank
    bool byte_fallback, fuse_unk, ignore_merges;
    bool space_prefix; ///< by score: a blank is put in front of each fragment
    bool drop_blank;   ///< decoding: the first blank is our own
    MergeTable merges;
    AddedSet added_raw, added_normal;
    Normalizer normalizer;
    PreStep pre[PRE_STEPS_MAX];
    int32_t n_pre;

    int32_t bos, eos, unk; ///< -1 none
    Affix prefix, suffix;  ///< what ENCODE_ADD_SPECIAL puts around a text
    int32_t *eog;          ///< ascending
    int32_t n_eog;
};

/// Arena, defaults; everything that a loader fills in after that hangs off the tokenizer.
Tokenizer *vocab_new(Heap *heap);
/// Room for ids 0..n-1, all unused.
void vocab_reserve(Tokenizer *tok, int32_t n);
/// Builds the look-up by text, the bytes and the printed forms. @return KILN_ERR_INPUT: K221 what
/// does not fit together
MUST_USE KilnStatus vocab_finish(Tokenizer *tok, const char *path, Diag *diag);
/// The id of a piece by its text; -1 none.
int32_t vocab_find(const Tokenizer *tok, Str text);
/// The code point that stands for `byte` in the byte alphabet.
int32_t byte_to_char(uint8_t byte);
/// The byte a code point stands for, or -1.
int32_t char_to_byte(int32_t cp);
/// `<0x0A>` gives 10; -1 for other texts.
int32_t byte_of_piece(Str text);
/// Splits "left right" and the like into ids and puts the merge. @return KILN_ERR_INPUT: K221
MUST_USE KilnStatus vocab_add_merge(Tokenizer *tok, Str left, Str right, int32_t rank,
                                    const char *path, Diag *diag);
void vocab_add_eog(Tokenizer *tok, int32_t id);
/// Whether converters are known to forget that this control token ends a turn.
bool vocab_ends_turn(Str text);

/// Words to ids.
MUST_USE KilnStatus bpe_encode_word(const Tokenizer *tok, Str word, Arena *scratch, Arena *arena,
                                    TokenIds *out, Diag *diag);
void spm_encode_fragment(const Tokenizer *tok, Str text, Arena *scratch, Arena *arena,
                         TokenIds *out);
#endif
