// runtime/token/tokenizer.h - text to ids and back.
//
//   "Once upon"  --cut at special tokens-->  fragments  --normalise, pre-tokenise-->  words
//                --merge pairs-->  ids  --pieces-->  bytes
//
// Two algorithms, each from two containers:
//   by score   GGUF "llama" (SentencePiece): the pair whose joined piece scores best merges first
//   by rank    GGUF "gpt2" and tokenizer.json: the pair that comes first in the list of merges
//
// Source   Sennrich et al. 2016, arXiv:1508.07909 (BPE); Kudo and Richardson 2018, arXiv:1808.06226
//          (SentencePiece); the byte alphabet of GPT-2
// Threads  an open tokenizer is never written: many may encode and decode at once
// Tests    tests/runtime/token/*, tests/fuzz/tokenizer.c
#ifndef RUNTIME_TOKEN_TOKENIZER_H
#define RUNTIME_TOKEN_TOKENIZER_H
#include "base/diag.h"
#include "runtime/format/weights.h"

enum {
    TOKENIZER_VOCAB_MAX = 4 << 20,
    TOKENIZER_MERGES_MAX = 8 << 20,
    TOKENIZER_PIECE_MAX = 64 << 10, ///< bytes of one piece
    TOKENIZER_ADDED_MAX = 1024,     ///< bytes of one added token
    TOKENIZER_TEXT_MAX = 16 << 20,  ///< bytes of one text to encode
};

typedef struct Tokenizer Tokenizer;
typedef VEC(int32_t) TokenIds;

typedef enum EncodeFlags {
    ENCODE_PLAIN = 0,
    ENCODE_ADD_SPECIAL = 1,   ///< BOS and EOS as the model wants them
    ENCODE_PARSE_SPECIAL = 2, ///< `<|im_end|>` in the text is that token; off for what users typed
} EncodeFlags;

typedef enum PieceKind {
    PIECE_NORMAL = 1,
    PIECE_UNKNOWN = 2,
    PIECE_CONTROL = 3, ///< prints nothing
    PIECE_USER = 4,    ///< an added token that is ordinary text
    PIECE_UNUSED = 5,
    PIECE_BYTE = 6, ///< `<0x0A>`: one byte
} PieceKind;

/// The tokenizer of a model file: from GGUF metadata, or tokenizer.json in its directory.
/// Independent of the file afterwards. Ids the embedding has no row for are an error.
/// @param heap  outlives the tokenizer
/// @param out   owned by the caller: tokenizer_close(); NULL unless KILN_OK
/// @return KILN_OK; KILN_ERR_INPUT: K208-K209, K221 inconsistent; KILN_ERR_UNSUPPORTED: K220 a kind
///         kiln does not have, by name; KILN_ERR_IO; KILN_ERR_NOMEM
MUST_USE KilnStatus tokenizer_open(const ModelFile *m, Heap *heap, Tokenizer **out, Diag *diag);
/// From the metadata of a GGUF file, which may have no tensors.
MUST_USE KilnStatus tokenizer_from_gguf(const Gguf *g, Heap *heap, Tokenizer **out, Diag *diag);

/// The texts that describe a tokenizer in the Hugging Face form. Only `tokenizer` is required.
typedef struct HfTokenizerFiles {
    Str tokenizer;                  ///< tokenizer.json
    Str config;                     ///< tokenizer_config.json; data NULL: none
    const char *path, *config_path; ///< for messages
    int32_t bos;                    ///< from config.json; -1: none
    const int32_t *eos;             ///< ids that end generation
    int32_t n_eos;
} HfTokenizerFiles;
MUST_USE KilnStatus tokenizer_from_hf(const HfTokenizerFiles *files, Heap *heap, Tokenizer **out,
                                      Diag *diag);
/// Reads tokenizer.json and tokenizer_config.json of directory `dir`. `config` may be NULL.
MUST_USE KilnStatus tokenizer_from_dir(const char *dir, const ModelConfig *config, Heap *heap,
                                       Tokenizer **out, Diag *diag);
/// NULL is fine.
void tokenizer_close(Tokenizer *tok);

/// Appends the ids of `text`, any bytes, to *out in `arena`. Bytes that are no UTF-8 become byte
/// tokens when merging by score and U+FFFD when merging by rank. Time n log n.
/// @return KILN_OK; KILN_ERR_LIMIT: K222 text too long; KILN_ERR_INPUT: K223 a character without a
///         token (vocabularies without bytes or unknown); KILN_ERR_NOMEM
MUST_USE KilnStatus tokenizer_encode(const Tokenizer *tok, Str text, uint32_t flags, Arena *arena,
                                     TokenIds *out, Diag *diag);

/// One more than the largest id.
int32_t tokenizer_n_ids(const Tokenizer *tok);
/// What `id` prints: bytes that may be part of a character; empty for control tokens and unknown
/// ids.
Str tokenizer_piece(const Tokenizer *tok, int32_t id);
/// The piece as the vocabulary spells it, control tokens included; empty for ids outside it.
Str tokenizer_text(const Tokenizer *tok, int32_t id);
PieceKind tokenizer_kind(const Tokenizer *tok, int32_t id);
/// The id of a piece spelled as the vocabulary does. @return -1 when there is none
int32_t tokenizer_find(const Tokenizer *tok, Str text);
/// Whether generation ends with `id`.
bool tokenizer_is_eog(const Tokenizer *tok, int32_t id);
int32_t tokenizer_bos(const Tokenizer *tok); ///< -1: none
int32_t tokenizer_eos(const Tokenizer *tok); ///< -1: none
/// Whether ENCODE_ADD_SPECIAL puts BOS first.
bool tokenizer_adds_bos(const Tokenizer *tok);

/// Turns a sequence of ids into UTF-8 as it grows: what comes out is always whole characters, a
/// byte that can no longer become one is U+FFFD.
typedef struct TokenStream {
    const Tokenizer *tok;
    bool drop_blank;    ///< the next printed blank is the vocabulary's own prefix
    uint8_t pending[4]; ///< the beginning of a character
    int32_t n_pending;
} TokenStream;

/// @param at_start  the ids begin a text (a leading blank of the vocabulary's own is dropped), not
///         continue one
void token_stream_init(TokenStream *s, const Tokenizer *tok, bool at_start);
/// Appends what `id` completes. Ids outside the vocabulary print nothing.
void token_stream_push(TokenStream *s, int32_t id, StrBuf *out);
/// Appends U+FFFD for a character that stayed incomplete.
void token_stream_finish(TokenStream *s, StrBuf *out);
/// All at once: init, push each, finish.
void tokenizer_decode(const Tokenizer *tok, const int32_t *ids, int32_t n, bool at_start,
                      StrBuf *out);
#endif
