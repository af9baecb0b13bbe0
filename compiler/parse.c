#include "compiler/parse.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

Parser parser_new(Arena *arena, Str text, const Tokens *tokens, int32_t file, Diag *diag)
{
    return (Parser){.arena = arena, .text = text, .file = file, .t = tokens->data, .diag = diag};
}

// ---- small parts ------------------------------------------------------------------------------

void parser_error(Parser *p, const char *what)
{
    if (!p->failed) {
        p->n_errors++;
        Token t = *p->t;
        const char *found = t.kind == TOK_NEWLINE || t.kind == TOK_END ? "the end of the line"
                            : t.kind == TOK_INDENT                     ? "an indented line"
                            : t.kind == TOK_DEDENT                     ? "the end of the suite"
                                                                       : NULL;
        Span at_token = {p->file, t.begin, MAX(t.end, t.begin)};
        if (t.kind == TOK_NEWLINE) at_token.end = t.begin;
        if (found)
            diag_add(p->diag, DIAG_ERROR, "E0101", at_token, "expected %s, found %s", what, found);
        else
            diag_add(p->diag, DIAG_ERROR, "E0101", at_token, "expected %s, found `%.*s`", what,
                     MIN(t.end - t.begin, 40), p->text.data + t.begin);
    }
    p->failed = true;
}

void parser_expect(Parser *p, TokenId id)
{
    if (parser_accept(p, id)) return;
    char what[16];
    snprintf(what, sizeof what, "`%s`", token_text(id));
    parser_error(p, what);
}

Node *parser_node(Parser *p, NodeKind kind, int32_t begin)
{
    Node *n = arena_new(p->arena, Node);
    n->kind = kind;
    n->begin = begin;
    n->end = begin;
    return n;
}

static int32_t list_depth(const NodeList *list)
{
    int32_t d = 0;
    for (int32_t i = 0; i < list->len; i++)
        if (list->data[i]) d = MAX(d, list->data[i]->depth);
    return d;
}

/// Sets the end and the depth of a node whose children are in place.
Node *parser_finish(Parser *p, Node *n)
{
    int32_t d = MAX(MAX(list_depth(&n->list), list_depth(&n->list2)), list_depth(&n->list3));
    if (n->a) d = MAX(d, n->a->depth);
    if (n->b) d = MAX(d, n->b->depth);
    if (n->c) d = MAX(d, n->c->depth);
    n->depth = d + 1;
    n->end =
        MAX(n->begin, p->t[-1].end); // every node has at least one token before the current one
    if (n->depth > PARSE_MAX_DEPTH) parser_error(p, "a less deeply nested program");
    return n;
}

void parser_add(Parser *p, NodeList *list, Node *n)
{
    vec_push(p->arena, list, n);
}

Str parser_text(const Parser *p, const Token *t)
{
    return (Str){p->text.data + t->begin, (size_t)(t->end - t->begin)};
}

/// A node that the current token becomes, moved past.
static Node *leaf(Parser *p, NodeKind kind)
{
    Node *n = parser_node(p, kind, p->t->begin);
    n->op = p->t->kind == TOK_KEYWORD || p->t->kind == TOK_OP ? p->t->id : T_NONE;
    if (kind == NODE_NAME) n->text = parser_text(p, p->t);
    int32_t end = p->t->end;
    n->depth = 1;
    parser_advance(p);
    n->end = end;
    return n;
}

Node *parser_rejected(Parser *p, int32_t begin, const char *form)
{
    Node *n = parser_node(p, NODE_REJECTED, begin);
    n->text = str_of(form);
    return parser_finish(p, n);
}

// ---- atoms ------------------------------------------------------------------------------------

static Node *parse_int(Parser *p)
{
    Str s = parser_text(p, p->t);
    Node *n = leaf(p, NODE_INT);
    int32_t base = 10;
    size_t i = 0;
    if (s.len > 2 && s.data[0] == '0' && (s.data[1] | 32) > '9') {
        char b = (char)(s.data[1] | 32);
        base = b == 'x' ? 16 : b == 'o' ? 8 : 2;
        i = 2;
    }
    for (; i < s.len; i++) {
        if (s.data[i] == '_') continue;
        int32_t d = s.data[i] <= '9' ? s.data[i] - '0' : (s.data[i] | 32) - 'a' + 10;
        if (__builtin_mul_overflow(n->i, (Int128)base, &n->i) ||
            __builtin_add_overflow(n->i, (Int128)d, &n->i))
            n->overflow = true;
    }
    return n;
}

static Node *parse_float(Parser *p)
{
    Str s = parser_text(p, p->t);
    Node *n = leaf(p, NODE_FLOAT);
    char *copy = arena_alloc(p->arena, s.len + 1, 1);
    size_t len = 0;
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] != '_') copy[len++] = s.data[i];
    n->f = strtod(copy, NULL);
    return n;
}

static Node *parse_fstring_pieces(Parser *p, int32_t begin, int32_t end, bool is_raw, bool in_spec,
                                  int32_t depth);

/// Where the field that begins at `i` (past its brace) has its expression, conversion and spec end.
typedef struct FieldPlaces {
    int32_t expr_end, close, spec_begin; ///< spec_begin < 0: none
    char conversion;
} FieldPlaces;

/// Finds them by tokens: the first `!r`, `:` or `}` outside brackets and strings ends the
/// expression.
static FieldPlaces field_places(const Parser *p, int32_t i, int32_t end)
{
    FieldPlaces f = {end, end, -1, 0};
    int32_t nest = 0;
    for (; i < end; i++) {
        char c = p->text.data[i];
        if (c == '"' || c == '\'') { // a string within: find its end by its own quotes
            int32_t n = i + 2 < end && p->text.data[i + 1] == c && p->text.data[i + 2] == c ? 3 : 1;
            i += n;
            while (i < end &&
                   !(p->text.data[i] == c && (n == 1 || (i + 2 < end && p->text.data[i + 1] == c &&
                                                         p->text.data[i + 2] == c))))
                i += p->text.data[i] == '\\' ? 2 : 1;
            i += n - 1;
            continue;
        }
        if (c == '(' || c == '[' || c == '{')
            nest++;
        else if (c == '!' && nest == 0 && i + 1 < end && p->text.data[i + 1] != '=') {
            f.expr_end = i;
            f.conversion = p->text.data[i + 1];
            i++;
        } else if (c == ':' && nest == 0) {
            if (f.expr_end == end) f.expr_end = i;
            f.spec_begin = i + 1;
            for (int32_t braces = 0; ++i < end;) {
                if (p->text.data[i] == '{') braces++;
                if (p->text.data[i] == '}' && braces-- == 0) break;
            }
            f.close = i;
            return f;
        } else if (c == '}' && nest == 0) {
            if (f.expr_end == end) f.expr_end = i;
            f.close = i;
            return f;
        } else if (c == ')' || c == ']' || c == '}')
            nest--;
    }
    return f;
}

static Node *parse_field(Parser *p, int32_t begin, int32_t end, bool is_raw, int32_t depth,
                         int32_t *next)
{
    FieldPlaces f = field_places(p, begin, end);
    *next = f.close + 1;
    Node *n = parser_node(p, NODE_FIELD, begin);
    int32_t expr_end = f.expr_end;
    while (expr_end > begin && p->text.data[expr_end - 1] == ' ')
        expr_end--;
    bool debug = expr_end > begin && p->text.data[expr_end - 1] == '=' && // f"{x=}"
                 !(expr_end - 2 >= begin && strchr("=!<>", p->text.data[expr_end - 2]));
    if (debug) expr_end--;
    n->a = parse_range(p->arena, p->text, begin, expr_end, p->file, p->failed ? NULL : p->diag);
    if (!n->a) {
        if (!p->failed) p->n_errors++;
        p->failed = true;
        n->a = parser_node(p, NODE_CONSTANT, begin);
    }
    if (f.conversion) n->text = (Str){arena_strndup(p->arena, &f.conversion, 1), 1};
    if (f.spec_begin >= 0)
        n->b = parse_fstring_pieces(p, f.spec_begin, f.close, is_raw, true, depth + 1);
    n->depth = 1 + MAX(n->a->depth, n->b ? n->b->depth : 0);
    n->end = f.close;
    return n;
}

/// The literal pieces and fields of an f-string's inside, or of a format spec.
static Node *parse_fstring_pieces(Parser *p, int32_t begin, int32_t end, bool is_raw, bool in_spec,
                                  int32_t depth)
{
    Node *n = parser_node(p, NODE_FSTRING, begin);
    n->end = end;
    n->depth = 1;
    if (depth > 4) {
        parser_error(p, "a less deeply nested format specification");
        return n;
    }
    char *piece = arena_alloc(p->arena, (size_t)MAX(end - begin, 0) + 1, 1);
    int32_t n_piece = 0, from = begin;
    for (int32_t i = begin; i <= end && !p->failed;) {
        char c = i < end ? p->text.data[i] : 0;
        bool doubled =
            !in_spec && i + 1 < end && (c == '{' || c == '}') && p->text.data[i + 1] == c;
        if (i == end || (c == '{' && !doubled)) {
            if (n_piece) {
                Node *s = parser_node(p, NODE_STRING, from);
                s->text =
                    string_unescape(p->arena, (Str){piece, (size_t)n_piece}, 0, n_piece, is_raw);
                s->end = i;
                s->depth = 1;
                parser_add(p, &n->list, s);
                piece = arena_alloc(p->arena, (size_t)MAX(end - i, 0) + 1, 1);
                n_piece = 0;
            }
            if (i == end) break;
            Node *field = parse_field(p, i + 1, end, is_raw, depth, &i);
            n->depth = MAX(n->depth, field->depth + 1);
            parser_add(p, &n->list, field);
            from = i;
            continue;
        }
        piece[n_piece++] = c;
        i += doubled ? 2 : 1;
    }
    return n;
}

/// STRING { STRING }, f-strings among them.
static Node *parse_strings(Parser *p)
{
    Node *n = parser_node(p, NODE_STRING, p->t->begin);
    NodeList pieces = {0};
    bool any_f = false;
    while ((p->t->kind == TOK_STRING || p->t->kind == TOK_FSTRING) && !p->failed) {
        int32_t begin, end;
        bool is_raw, is_bytes = false;
        if (p->t->kind == TOK_FSTRING) {
            any_f = true;
            string_bounds(p->text, p->t, &begin, &end, &is_raw);
            Node *f = parse_fstring_pieces(p, begin, end, is_raw, false, 0);
            for (int32_t i = 0; i < f->list.len; i++)
                parser_add(p, &pieces, f->list.data[i]);
        } else {
            Node *s = parser_node(p, NODE_STRING, p->t->begin);
            s->text = string_value(p->arena, p->text, p->t, &is_bytes);
            s->end = p->t->end;
            s->depth = 1;
            if (s->text.len || !pieces.len) parser_add(p, &pieces, s);
        }
        parser_advance(p);
    }
    if (any_f) {
        n->kind = NODE_FSTRING;
        n->list = pieces;
        return parser_finish(p, n);
    }
    size_t len = 0;
    for (int32_t i = 0; i < pieces.len; i++)
        len += pieces.data[i]->text.len;
    char *joined = arena_alloc(p->arena, len + 1, 1);
    len = 0;
    for (int32_t i = 0; i < pieces.len; i++) {
        memcpy(joined + len, pieces.data[i]->text.data, pieces.data[i]->text.len);
        len += pieces.data[i]->text.len;
    }
    n->text = (Str){joined, len};
    return parser_finish(p, n);
}

static Node *parse_binary(Parser *p, int32_t min);

/// `{ for targets in iter { if cond } }` after the element of a comprehension.
static void parse_clauses(Parser *p, Node *comp)
{
    while (!p->failed && (parser_at(p, T_KW_FOR) || parser_at(p, T_KW_ASYNC))) {
        parser_accept(p, T_KW_ASYNC);
        Node *c = parser_node(p, NODE_CLAUSE, p->t->begin);
        parser_expect(p, T_KW_FOR);
        c->a = parse_targets(p);
        parser_expect(p, T_KW_IN);
        c->b = parse_binary(p, 0);
        while (!p->failed && parser_accept(p, T_KW_IF))
            parser_add(p, &c->list, parse_binary(p, 0));
        parser_add(p, &comp->list, parser_finish(p, c));
    }
}

/// `(`, `[` or `{` displays and comprehensions.
static Node *parse_display(Parser *p)
{
    TokenId open = p->t->id;
    TokenId close = open == T_LPAREN ? T_RPAREN : open == T_LBRACKET ? T_RBRACKET : T_RBRACE;
    NodeKind kind = open == T_LPAREN ? NODE_TUPLE : open == T_LBRACKET ? NODE_LIST : NODE_DICT;
    Node *n = parser_node(p, kind, p->t->begin);
    parser_advance(p);
    bool comma = false;
    while (!p->failed && !parser_at(p, close)) {
        Node *e = NULL, *value = NULL;
        if (parser_at(p, T_KW_YIELD)) {
            e = parser_rejected(p, p->t->begin, "yield");
            parser_error(p, "an expression");
        } else if (parser_at(p, T_POW) && open == T_LBRACE && n->kind == NODE_DICT) {
            parser_advance(p);
            value = parse_expr(p);
        } else {
            e = parse_expr(p);
            if (open == T_LBRACE && parser_accept(p, T_COLON)) value = parse_expr(p);
        }
        if (n->list.len == 0 && open == T_LBRACE && !value) n->kind = NODE_SET;
        if (parser_at(p, T_KW_FOR) || parser_at(p, T_KW_ASYNC)) {
            n->kind = NODE_COMP;
            n->op = open;
            n->a = e;
            n->b = value;
            parse_clauses(p, n);
            break;
        }
        parser_add(p, &n->list, e);
        if (open == T_LBRACE && n->kind == NODE_DICT) parser_add(p, &n->list, value ? value : e);
        if (!parser_accept(p, T_COMMA)) break;
        comma = true;
    }
    parser_expect(p, close);
    if (open == T_LPAREN && n->kind == NODE_TUPLE && n->list.len == 1 &&
        !comma) { // only parentheses
        Node *inner = n->list.data[0];
        if (inner && inner->kind != NODE_STAR) return inner;
    }
    return parser_finish(p, n);
}

static Node *parse_atom(Parser *p)
{
    switch (p->t->kind) {
    case TOK_NAME:
        return leaf(p, NODE_NAME);
    case TOK_INT:
        return parse_int(p);
    case TOK_FLOAT:
        return parse_float(p);
    case TOK_IMAGINARY:
        return leaf(p, NODE_IMAGINARY);
    case TOK_STRING:
    case TOK_FSTRING:
        return parse_strings(p);
    default:
        break;
    }
    switch (p->t->id) {
    case T_KW_NONE:
    case T_KW_TRUE:
    case T_KW_FALSE:
    case T_ELLIPSIS:
        return leaf(p, NODE_CONSTANT);
    case T_LPAREN:
    case T_LBRACKET:
    case T_LBRACE:
        return parse_display(p);
    default:
        break;
    }
    parser_error(p, "an expression");
    Node *n = parser_node(p, NODE_CONSTANT, p->t->begin);
    n->op = T_KW_NONE;
    n->depth = 1;
    return n;
}

// ---- postfix, operators -----------------------------------------------------------------------

static void parse_args(Parser *p, Node *call)
{
    while (!p->failed && !parser_at(p, T_RPAREN)) {
        Node *arg;
        int32_t begin = p->t->begin;
        if (parser_at(p, T_MUL) || parser_at(p, T_POW)) {
            arg = parser_node(p, parser_at(p, T_MUL) ? NODE_STAR : NODE_DSTAR, begin);
            parser_advance(p);
            arg->a = parse_expr(p);
            parser_finish(p, arg);
        } else if (p->t->kind == TOK_NAME && p->t[1].id == T_ASSIGN) {
            arg = parser_node(p, NODE_KEYWORD, begin);
            arg->text = parser_text(p, p->t);
            parser_advance(p);
            parser_advance(p);
            arg->a = parse_expr(p);
            parser_finish(p, arg);
        } else {
            arg = parse_expr(p);
            if (parser_at(p, T_KW_FOR) || parser_at(p, T_KW_ASYNC)) {
                Node *gen = parser_node(p, NODE_COMP, begin);
                gen->op = T_LPAREN;
                gen->a = arg;
                parse_clauses(p, gen);
                arg = parser_finish(p, gen);
            }
        }
        parser_add(p, &call->list, arg);
        if (!parser_accept(p, T_COMMA)) break;
    }
    parser_expect(p, T_RPAREN);
}

static Node *parse_index(Parser *p)
{
    int32_t begin = p->t->begin;
    Node *a = parser_at(p, T_COLON) ? NULL : parser_at(p, T_MUL) ? NULL : parse_expr(p);
    if (!parser_at(p, T_COLON)) {
        if (!a) parser_error(p, "an index");
        return a ? a : parser_node(p, NODE_CONSTANT, begin);
    }
    Node *s = parser_node(p, NODE_SLICE, begin);
    s->a = a;
    parser_expect(p, T_COLON);
    if (!parser_at(p, T_COLON) && !parser_at(p, T_COMMA) && !parser_at(p, T_RBRACKET))
        s->b = parse_expr(p);
    if (parser_accept(p, T_COLON) && !parser_at(p, T_COMMA) && !parser_at(p, T_RBRACKET))
        s->c = parse_expr(p);
    return parser_finish(p, s);
}

static Node *parse_postfix(Parser *p)
{
    Node *n = parse_atom(p);
    while (!p->failed) {
        if (parser_at(p, T_DOT)) {
            Node *a = parser_node(p, NODE_ATTR, n->begin);
            parser_advance(p);
            a->a = n;
            if (p->t->kind != TOK_NAME) {
                parser_error(p, "a name");
                return n;
            }
            a->text = parser_text(p, p->t);
            parser_advance(p);
            n = parser_finish(p, a);
        } else if (parser_at(p, T_LPAREN)) {
            Node *call = parser_node(p, NODE_CALL, n->begin);
            call->a = n;
            parser_advance(p);
            parse_args(p, call);
            n = parser_finish(p, call);
        } else if (parser_at(p, T_LBRACKET)) {
            Node *sub = parser_node(p, NODE_SUBSCRIPT, n->begin);
            sub->a = n;
            parser_advance(p);
            do {
                if (parser_at(p, T_RBRACKET) && sub->list.len) break;
                parser_add(p, &sub->list, parse_index(p));
            } while (!p->failed && parser_accept(p, T_COMMA));
            parser_expect(p, T_RBRACKET);
            n = parser_finish(p, sub);
        } else {
            break;
        }
    }
    return n;
}

static Node *parse_unary(Parser *p)
{
    if (!parser_at(p, T_ADD) && !parser_at(p, T_SUB) && !parser_at(p, T_TILDE) &&
        !parser_at(p, T_KW_AWAIT)) {
        Node *base = parse_postfix(p);
        if (p->failed || !parser_at(p, T_POW)) return base;
        Node *n = parser_node(p, NODE_BINARY, base->begin);
        n->op = T_POW;
        n->a = base;
        parser_advance(p);
        if (++p->depth > PARSE_MAX_DEPTH / 2)
            parser_error(p, "a less deeply nested expression");
        else
            n->b = parse_unary(p);
        p->depth--;
        return p->failed ? base : parser_finish(p, n);
    }
    Node *n = parser_node(p, parser_at(p, T_KW_AWAIT) ? NODE_REJECTED : NODE_UNARY, p->t->begin);
    if (n->kind == NODE_REJECTED) n->text = STR("await");
    n->op = p->t->id;
    parser_advance(p);
    if (++p->depth > PARSE_MAX_DEPTH / 2) {
        parser_error(p, "a less deeply nested expression");
        n->a = parser_node(p, NODE_CONSTANT, n->begin);
    } else {
        n->a = parse_unary(p);
    }
    p->depth--;
    return parser_finish(p, n);
}

/// Precedence of a binary operator: or and not compare | ^ & shift arith term.
static int32_t precedence(TokenId id)
{
    switch (id) {
    case T_KW_OR:
        return 1;
    case T_KW_AND:
        return 2;
    case T_LT:
    case T_GT:
    case T_LE:
    case T_GE:
    case T_EQ:
    case T_NE:
    case T_KW_IN:
    case T_KW_IS:
    case T_KW_NOT:
        return 4;
    case T_PIPE:
        return 5;
    case T_CARET:
        return 6;
    case T_AMP:
        return 7;
    case T_SHL:
    case T_SHR:
        return 8;
    case T_ADD:
    case T_SUB:
        return 9;
    case T_MUL:
    case T_DIV:
    case T_FLOORDIV:
    case T_MOD:
    case T_MATMUL:
        return 10;
    default:
        return -1;
    }
}

/// A comparison operator at the current token, moved past: `not in` is T_KW_NOT, `is not` is
/// T_BANG.
static TokenId compare_op(Parser *p)
{
    TokenId id = p->t->id;
    parser_advance(p);
    if (id == T_KW_NOT) parser_expect(p, T_KW_IN);
    if (id == T_KW_IS && parser_accept(p, T_KW_NOT)) return T_BANG;
    return id;
}

/// left { op right } with operators of at least `min`; `not` binds between `and` and comparisons.
static Node *parse_binary(Parser *p, int32_t min)
{
    Node *left;
    if (++p->depth > PARSE_MAX_DEPTH / 2) {
        parser_error(p, "a less deeply nested expression");
        left = parser_node(p, NODE_CONSTANT, p->t->begin);
    } else if (parser_at(p, T_KW_NOT) && min <= 3) {
        left = parser_node(p, NODE_UNARY, p->t->begin);
        left->op = T_KW_NOT;
        parser_advance(p);
        left->a = parse_binary(p, 3);
        parser_finish(p, left);
    } else {
        left = parse_unary(p);
    }
    while (!p->failed) {
        TokenId id = p->t->id;
        int32_t prec = precedence(id);
        if (prec < 0 || prec < min || (id == T_KW_NOT && p->t[1].id != T_KW_IN)) break;
        if (prec == 4 || prec <= 2) { // comparisons and and/or are n-ary
            Node *n = parser_node(p, prec == 4 ? NODE_COMPARE : NODE_BOOL, left->begin);
            VEC(TokenId) ops = {0};
            if (prec != 4) n->op = id;
            parser_add(p, &n->list, left);
            while (!p->failed && precedence(p->t->id) == prec && (prec == 4 || p->t->id == id)) {
                if (p->t->id == T_KW_NOT && p->t[1].id != T_KW_IN) break;
                if (prec == 4) {
                    TokenId op = compare_op(p);
                    vec_push(p->arena, &ops, op);
                } else {
                    parser_advance(p);
                }
                parser_add(p, &n->list, parse_binary(p, prec + 1));
            }
            n->ops = ops.data;
            left = parser_finish(p, n);
            continue;
        }
        Node *n = parser_node(p, NODE_BINARY, left->begin);
        n->op = id;
        parser_advance(p);
        n->a = left;
        n->b = parse_binary(p, prec + 1);
        left = parser_finish(p, n);
    }
    p->depth--;
    return left;
}

Node *parse_expr(Parser *p)
{
    int32_t begin = p->t->begin;
    if (parser_at(p, T_KW_LAMBDA)) {
        Node *n = parser_node(p, NODE_LAMBDA, begin);
        parser_advance(p);
        parse_params(p, n, T_COLON, false);
        parser_expect(p, T_COLON);
        if (++p->depth > PARSE_MAX_DEPTH / 2) parser_error(p, "a less deeply nested expression");
        n->a = p->failed ? parser_node(p, NODE_CONSTANT, begin) : parse_expr(p);
        p->depth--;
        return parser_finish(p, n);
    }
    if (parser_at(p, T_MUL)) { // in displays and targets
        Node *n = parser_node(p, NODE_STAR, begin);
        parser_advance(p);
        n->a = parse_binary(p, 5);
        return parser_finish(p, n);
    }
    Node *value = parse_binary(p, 0);
    if (p->failed) return value;
    if (parser_at(p, T_WALRUS)) {
        Node *n = parser_node(p, NODE_WALRUS, begin);
        parser_advance(p);
        n->a = value;
        if (++p->depth > PARSE_MAX_DEPTH / 2) parser_error(p, "a less deeply nested expression");
        n->b = p->failed ? value : parse_expr(p);
        p->depth--;
        return parser_finish(p, n);
    }
    if (!parser_at(p, T_KW_IF)) return value;
    Node *n = parser_node(p, NODE_IFEXP, begin);
    parser_advance(p);
    n->a = value;
    n->b = parse_binary(p, 0);
    parser_expect(p, T_KW_ELSE);
    if (++p->depth > PARSE_MAX_DEPTH / 2) parser_error(p, "a less deeply nested expression");
    n->c = p->failed ? value : parse_expr(p);
    p->depth--;
    return parser_finish(p, n);
}

Node *parse_expr_list(Parser *p)
{
    Node *first = parse_expr(p);
    if (p->failed || !parser_at(p, T_COMMA)) return first;
    Node *n = parser_node(p, NODE_TUPLE, first->begin);
    parser_add(p, &n->list, first);
    while (!p->failed && parser_accept(p, T_COMMA)) {
        if (p->t->kind == TOK_NEWLINE || p->t->kind == TOK_END || parser_at(p, T_ASSIGN) ||
            parser_at(p, T_SEMI) || parser_at(p, T_COLON) || parser_at(p, T_RPAREN))
            break;
        parser_add(p, &n->list, parse_expr(p));
    }
    return parser_finish(p, n);
}

/// Targets of `for`, which end at `in`.
Node *parse_targets(Parser *p)
{
    int32_t begin = p->t->begin;
    Node *first = parse_binary(p, 5);
    if (p->failed || !parser_at(p, T_COMMA)) return first;
    Node *n = parser_node(p, NODE_TUPLE, begin);
    parser_add(p, &n->list, first);
    while (!p->failed && parser_accept(p, T_COMMA) && !parser_at(p, T_KW_IN))
        parser_add(p, &n->list, parse_binary(p, 5));
    return parser_finish(p, n);
}

Node *parse_range(Arena *arena, Str text, int32_t begin, int32_t end, int32_t file, Diag *diag)
{
    Tokens tokens;
    if (lex_range(arena, text, begin, end, file, &tokens, diag) != KILN_OK) return NULL;
    Token *padded = arena_array(arena, Token, tokens.len + 1); // finish() looks at the token before
    padded[0] = (Token){TOK_NEWLINE, T_NONE, begin, begin};
    memcpy(padded + 1, tokens.data, (size_t)tokens.len * sizeof(Token));
    Parser p = {.arena = arena, .text = text, .file = file, .t = padded + 1, .diag = diag};
    Node *n = parse_expr_list(&p);
    if (!p.failed && p.t->kind != TOK_END) parser_error(&p, "the end of the expression");
    return p.failed ? NULL : n;
}
