// compiler/ast.h - what the parser makes: one node type, whose fields ast.def explains for each
// kind.
//
//   x = a + 1   ==>   ASSIGN { list: NAME x, a: BINARY + { a: NAME a, b: INT 1 } }
//
// One type for all kinds, because every walk (printing, collecting assigned names, hashing what a
// kernel uses, evaluating) then needs one loop and no casts. Spans are bytes of the source text;
// the file number is added when a diagnostic is made, since one Source serves many compilations.
// Nodes live in the arena of their Source and never change after parsing.
#ifndef COMPILER_AST_H
#define COMPILER_AST_H
#include "compiler/lex.h"

__extension__ typedef __int128 Int128; ///< constexpr integers; past 128 bits: E0306
__extension__ typedef unsigned __int128 UInt128;

typedef enum NodeKind {
#define NODE(NAME, text) NODE_##NAME,
#include "compiler/ast.def"
#undef NODE
    NODE_KIND_COUNT,
} NodeKind;

typedef struct Node Node;
typedef struct NodeList {
    Node **data;
    int32_t len, cap;
} NodeList;

struct Node {
    NodeKind kind;
    TokenId op;
    int32_t begin, end; ///< bytes
    int32_t
        depth; ///< 1 + the deepest child's; at most PARSE_MAX_DEPTH, so recursion over it is safe
    bool overflow;
    Str text;
    Int128 i;
    double f;
    Node *a, *b, *c;
    NodeList list, list2, list3;
    TokenId *ops; ///< COMPARE: [list.len - 1]; T_KW_NOT stands for `not in`, T_NE with text "is
                  ///< not" for `is not`
};

enum { PARSE_MAX_DEPTH = 400 };

extern const char *const node_names[NODE_KIND_COUNT];

/// Appends the tree as indented lines: kind, operator, text, span.
void ast_print(const Node *node, int32_t indent, StrBuf *out);
/// Calls `visit` for `node` and everything below it, in source order; false from it prunes.
void ast_walk(const Node *node, bool (*visit)(const Node *node, void *user), void *user);
/// Names that statements of `list` bind by assignment, loops included, nested functions not. Each
/// once, in order. Arena of `names` elements: `arena`.
typedef VEC(Str) NameList;
void ast_assigned(Arena *arena, const NodeList *list, NameList *names);
/// Is there a node of kind `kind` in `list`, nested functions not counted?
bool ast_contains(const NodeList *list, NodeKind kind);
#endif
