// compiler/parse.h - tokens ==> syntax trees: functions with their suites, and single expressions.
//
// The expression grammar is Python's whole one, because decorators, defaults and module constants
// are host code; what kernels may not use becomes NODE_REJECTED or is rejected where it is
// elaborated, so that a branch that is never taken may contain it, as under Triton. The statement
// grammar is tile-language.md 4. After an error the parser skips to the next statement and goes on:
// one run reports every mistake.
//
// Limits  PARSE_MAX_DEPTH levels (ast.h); deeper is E0101
// Tests   tests/compiler/test_parse.c
#ifndef COMPILER_PARSE_H
#define COMPILER_PARSE_H
#include "compiler/ast.h"

typedef struct Parser {
    Arena *arena;
    Str text;
    int32_t file;   ///< for spans of errors
    const Token *t; ///< the current token
    Diag *diag;     ///< NULL: errors only set `failed`
    int32_t depth;
    bool failed; ///< the statement at hand is broken
    int32_t n_errors;
} Parser;

Parser parser_new(Arena *arena, Str text, const Tokens *tokens, int32_t file, Diag *diag);
/// `def` at the current token, with its suite. Errors are counted in `n_errors`.
Node *parse_def(Parser *p);
/// `@expr NEWLINE` zero or more times.
void parse_decorators(Parser *p, NodeList *out);
/// One statement of any kind, suite included.
Node *parse_statement(Parser *p);
/// expr {"," expr}: a TUPLE when there is a comma.
Node *parse_expr_list(Parser *p);
/// One expression.
Node *parse_expr(Parser *p);
/// Moves past the statement at hand, suites that follow it included.
void parse_skip_statement(Parser *p);
/// Bytes begin to end of `text` as one expression, or NULL with an error in `diag`.
Node *parse_range(Arena *arena, Str text, int32_t begin, int32_t end, int32_t file, Diag *diag);

// ---- parts shared by parse.c and parse_suite.c
// ----------------------------------------------------

static inline bool parser_at(const Parser *p, TokenId id)
{
    return p->t->id == id && id != T_NONE;
}
static inline void parser_advance(Parser *p)
{
    if (p->t->kind != TOK_END) p->t++;
}
static inline bool parser_accept(Parser *p, TokenId id)
{
    if (!parser_at(p, id)) return false;
    parser_advance(p);
    return true;
}
/// "expected WHAT, found ...", once per statement.
void parser_error(Parser *p, const char *what);
void parser_expect(Parser *p, TokenId id);
Node *parser_node(Parser *p, NodeKind kind, int32_t begin);
/// Sets the end and the depth of a node whose children are in place.
Node *parser_finish(Parser *p, Node *n);
void parser_add(Parser *p, NodeList *list, Node *n);
Str parser_text(const Parser *p, const Token *t);
/// A form that no kernel may use.
Node *parser_rejected(Parser *p, int32_t begin, const char *form);
/// Targets of `for`, which end at `in`.
Node *parse_targets(Parser *p);
/// [NAME [: expr] [= expr]] {, ...} with `*`, `**` and `/`, up to `close`.
void parse_params(Parser *p, Node *fn, TokenId close, bool annotations);
#endif
