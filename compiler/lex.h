// compiler/lex.h - Python's lexical grammar: bytes ==> tokens, indentation included.
//
//   if n:            KEYWORD(if) NAME(n) OP(:) NEWLINE
//       x += 1  ==>  INDENT NAME(x) OP(+=) NUMBER(1) NEWLINE
//                    DEDENT END
//
// The whole file is tokenised, host code included, because suite structure must be known to skip
// what is not a kernel. Tokens are spans of the text; nothing is copied. An f-string is one token,
// whatever quotes its fields contain; the parser tokenises the fields with lex_range().
//
// Source  docs.python.org/3/reference/lexical_analysis.html
// Limits  LEX_MAX_* below; past one: E0101, so that no input nests the parser without bound
// Tests   tests/compiler/test_lex.c
#ifndef COMPILER_LEX_H
#define COMPILER_LEX_H
#include "base/diag.h"

typedef enum TokenKind {
    TOK_END,
    TOK_NEWLINE,
    TOK_INDENT,
    TOK_DEDENT,
    TOK_NAME,
    TOK_INT,
    TOK_FLOAT,
    TOK_IMAGINARY,
    TOK_STRING,
    TOK_FSTRING,
    TOK_KEYWORD,
    TOK_OP,
} TokenKind;

/// Operators and keywords share one numbering; see token_texts in lex.c.
// clang-format off
typedef enum TokenId {
    T_NONE,
    // operators, longest first among those with a common start
    T_POW_EQ, T_FLOORDIV_EQ, T_SHL_EQ, T_SHR_EQ, T_ELLIPSIS,
    T_POW, T_FLOORDIV, T_SHL, T_SHR, T_LE, T_GE, T_EQ, T_NE, T_ARROW, T_WALRUS,
    T_ADD_EQ, T_SUB_EQ, T_MUL_EQ, T_DIV_EQ, T_MOD_EQ, T_AND_EQ, T_OR_EQ, T_XOR_EQ, T_MATMUL_EQ,
    T_ADD, T_SUB, T_MUL, T_DIV, T_MOD, T_AMP, T_PIPE, T_CARET, T_TILDE, T_LT, T_GT, T_ASSIGN, T_MATMUL,
    T_LPAREN, T_RPAREN, T_LBRACKET, T_RBRACKET, T_LBRACE, T_RBRACE, T_COMMA, T_COLON, T_DOT, T_SEMI, T_BANG,
    // keywords
    T_KW_FALSE, T_KW_NONE, T_KW_TRUE, T_KW_AND, T_KW_AS, T_KW_ASSERT, T_KW_ASYNC, T_KW_AWAIT, T_KW_BREAK,
    T_KW_CLASS, T_KW_CONTINUE, T_KW_DEF, T_KW_DEL, T_KW_ELIF, T_KW_ELSE, T_KW_EXCEPT, T_KW_FINALLY, T_KW_FOR,
    T_KW_FROM, T_KW_GLOBAL, T_KW_IF, T_KW_IMPORT, T_KW_IN, T_KW_IS, T_KW_LAMBDA, T_KW_NONLOCAL, T_KW_NOT,
    T_KW_OR, T_KW_PASS, T_KW_RAISE, T_KW_RETURN, T_KW_TRY, T_KW_WHILE, T_KW_WITH, T_KW_YIELD,
    T_ID_COUNT,
} TokenId;
enum { T_LAST_OP = T_BANG };
// clang-format on

typedef struct Token {
    TokenKind kind;
    TokenId id;         ///< OP, KEYWORD
    int32_t begin, end; ///< bytes of the text
} Token;

typedef struct Tokens {
    Token *data; ///< ends with TOK_END
    int32_t len, cap;
} Tokens;

enum {
    LEX_MAX_BYTES = 16 << 20,
    LEX_MAX_INDENT = 100,   ///< as CPython
    LEX_MAX_BRACKETS = 200, ///< as CPython
    LEX_MAX_FSTRING = 32,   ///< f-strings within f-strings
};

/// What the spelling of an operator or keyword is.
const char *token_text(TokenId id);

/// Tokenises all of `text`. Errors go to `diag` with spans of file number `file`.
/// @param out arena
/// @return KILN_OK; KILN_ERR_INPUT: E0101, E0102
MUST_USE KilnStatus lex_file(Arena *arena, Str text, int32_t file, Tokens *out, Diag *diag);
/// Tokenises bytes begin to end as one expression: newlines are spaces, there is no indentation.
MUST_USE KilnStatus lex_range(Arena *arena, Str text, int32_t begin, int32_t end, int32_t file,
                              Tokens *out, Diag *diag);

/// The value of a STRING token: prefix and quotes taken off, escapes replaced. `is_bytes` tells
/// b"". Arena. An escape that Python rejects stays as written.
Str string_value(Arena *arena, Str text, const Token *t, bool *is_bytes);
/// Where the text between the quotes of a STRING or FSTRING begins and ends, and whether it is raw.
void string_bounds(Str text, const Token *t, int32_t *begin, int32_t *end, bool *is_raw);
/// Replaces the escapes in bytes begin to end. Arena.
Str string_unescape(Arena *arena, Str text, int32_t begin, int32_t end, bool is_raw);
/// One line per token, for tests and reading: kind and text.
void tokens_print(Str text, const Tokens *tokens, StrBuf *out);
#endif
