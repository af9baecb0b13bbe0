#include "compiler/parse.h"

#include <errno.h>
#include <stdlib.h>

Parser parser_new(Arena *arena, Str text, const Tokens *tokens, int32_t file, Diag *diag)
{
    return (Parser){.arena = arena, .text = text, .file = file, .t = tokens->data, .diag = diag};
}

// ---- small parts ------------------------------------------------------------------------------

static bool at(const Parser *p, TokenId id)
{
    return p->t->id == id && id != T_NONE;
}

static void advance(Parser *p)
{
    if (p->t->kind != TOK_END) p->t++;
}

static bool accept(Parser *p, TokenId id)
{
    if (!at(p, id)) return false;
    advance(p);
    return true;
}

static void syntax_error(Parser *p, const char *what)
{
    if (!p->failed) {
        p->n_errors++;
        Token t = *p->t;
        const char *found = t.kind == TOK_NEWLINE || t.kind == TOK_END ? "the end of the line"
                            : t.kind == TOK_INDENT                    ? "an indented line"
                            : t.kind == TOK_DEDENT                    ? "the end of the suite"
                                                                      : NULL;
        Span at_token = {p->file, t.begin, MAX(t.end, t.begin)};
        if (t.kind == TOK_NEWLINE) at_token.end = t.begin;
        if (found) diag_add(p->diag, DIAG_ERROR, "E0101", at_token, "expected %s, found %s", what, found);
        else
            diag_add(p->diag, DIAG_ERROR, "E0101", at_token, "expected %s, found `%.*s`", what,
                     MIN(t.end - t.begin, 40), p->text.data + t.begin);
    }
    p->failed = true;
}

static void expect(Parser *p, TokenId id)
{
    if (accept(p, id)) return;
    char what[16] = "`";
    strcat(strcat(what, token_text(id)), "`");
    syntax_error(p, what);
}

static Node *node_at(Parser *p, NodeKind kind, int32_t begin)
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
static Node *finish(Parser *p, Node *n)
{
    int32_t d = MAX(MAX(list_depth(&n->list), list_depth(&n->list2)), list_depth(&n->list3));
    if (n->a) d = MAX(d, n->a->depth);
    if (n->b) d = MAX(d, n->b->depth);
    if (n->c) d = MAX(d, n->c->depth);
    n->depth = d + 1;
    n->end = MAX(n->begin, p->t[-1].end); // every node has at least one token before the current one
    if (n->depth > PARSE_MAX_DEPTH) syntax_error(p, "a less deeply nested program");
    return n;
}

static void add(Parser *p, NodeList *list, Node *n)
{
    vec_push(p->arena, list, n);
}

static Str token_str(const Parser *p, const Token *t)
{
    return (Str){p->text.data + t->begin, (size_t)(t->end - t->begin)};
}

/// A node that the current token becomes, moved past.
static Node *leaf(Parser *p, NodeKind kind)
{
    Node *n = node_at(p, kind, p->t->begin);
    n->op = p->t->kind == TOK_KEYWORD || p->t->kind == TOK_OP ? p->t->id : T_NONE;
    if (kind == NODE_NAME) n->text = token_str(p, p->t);
    int32_t end = p->t->end;
    n->depth = 1;
    advance(p);
    n->end = end;
    return n;
}

static Node *rejected(Parser *p, int32_t begin, const char *form)
{
    Node *n = node_at(p, NODE_REJECTED, begin);
    n->text = str_of(form);
    return finish(p, n);
}

// ---- atoms ------------------------------------------------------------------------------------

static Node *parse_int(Parser *p)
{
    Str s = token_str(p, p->t);
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
        if (__builtin_mul_overflow(n->i, (Int128)base, &n->i) || __builtin_add_overflow(n->i, (Int128)d, &n->i))
            n->overflow = true;
    }
    return n;
}

static Node *parse_float(Parser *p)
{
    Str s = token_str(p, p->t);
    Node *n = leaf(p, NODE_FLOAT);
    char *copy = arena_alloc(p->arena, s.len + 1, 1);
    size_t len = 0;
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] != '_') copy[len++] = s.data[i];
    n->f = strtod(copy, NULL);
    return n;
}

static Node *parse_fstring_pieces(Parser *p, int32_t begin, int32_t end, bool is_raw, bool in_spec, int32_t depth);

/// Where the field that begins at `i` (past its brace) has its expression, conversion and spec end.
typedef struct FieldPlaces {
    int32_t expr_end, close, spec_begin; ///< spec_begin < 0: none
    char conversion;
} FieldPlaces;

/// Finds them by tokens: the first `!r`, `:` or `}` outside brackets and strings ends the expression.
static FieldPlaces field_places(const Parser *p, int32_t i, int32_t end)
{
    FieldPlaces f = {end, end, -1, 0};
    int32_t nest = 0;
    for (; i < end; i++) {
        char c = p->text.data[i];
        if (c == '"' || c == '\'') { // a string within: find its end by its own quotes
            int32_t n = i + 2 < end && p->text.data[i + 1] == c && p->text.data[i + 2] == c ? 3 : 1;
            i += n;
            while (i < end && !(p->text.data[i] == c && (n == 1 || (i + 2 < end && p->text.data[i + 1] == c && p->text.data[i + 2] == c))))
                i += p->text.data[i] == '\\' ? 2 : 1;
            i += n - 1;
            continue;
        }
        if (c == '(' || c == '[' || c == '{') nest++;
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
        } else if (c == ')' || c == ']' || c == '}') nest--;
    }
    return f;
}

static Node *parse_field(Parser *p, int32_t begin, int32_t end, bool is_raw, int32_t depth, int32_t *next)
{
    FieldPlaces f = field_places(p, begin, end);
    *next = f.close + 1;
    Node *n = node_at(p, NODE_FIELD, begin);
    int32_t expr_end = f.expr_end;
    while (expr_end > begin && p->text.data[expr_end - 1] == ' ') expr_end--;
    bool debug = expr_end > begin && p->text.data[expr_end - 1] == '=' && // f"{x=}"
                 !(expr_end - 2 >= begin && strchr("=!<>", p->text.data[expr_end - 2]));
    if (debug) expr_end--;
    n->a = parse_range(p->arena, p->text, begin, expr_end, p->file, p->failed ? NULL : p->diag);
    if (!n->a) {
        if (!p->failed) p->n_errors++;
        p->failed = true;
        n->a = node_at(p, NODE_CONSTANT, begin);
    }
    if (f.conversion) n->text = (Str){arena_strndup(p->arena, &f.conversion, 1), 1};
    if (f.spec_begin >= 0) n->b = parse_fstring_pieces(p, f.spec_begin, f.close, is_raw, true, depth + 1);
    n->depth = 1 + MAX(n->a->depth, n->b ? n->b->depth : 0);
    n->end = f.close;
    return n;
}

/// The literal pieces and fields of an f-string's inside, or of a format spec.
static Node *parse_fstring_pieces(Parser *p, int32_t begin, int32_t end, bool is_raw, bool in_spec, int32_t depth)
{
    Node *n = node_at(p, NODE_FSTRING, begin);
    n->end = end;
    n->depth = 1;
    if (depth > 4) {
        syntax_error(p, "a less deeply nested format specification");
        return n;
    }
    char *piece = arena_alloc(p->arena, (size_t)MAX(end - begin, 0) + 1, 1);
    int32_t n_piece = 0, from = begin;
    for (int32_t i = begin; i <= end && !p->failed;) {
        char c = i < end ? p->text.data[i] : 0;
        bool doubled = !in_spec && i + 1 < end && (c == '{' || c == '}') && p->text.data[i + 1] == c;
        if (i == end || (c == '{' && !doubled)) {
            if (n_piece) {
                Node *s = node_at(p, NODE_STRING, from);
                s->text = string_unescape(p->arena, (Str){piece, (size_t)n_piece}, 0, n_piece, is_raw);
                s->end = i;
                s->depth = 1;
                add(p, &n->list, s);
                piece = arena_alloc(p->arena, (size_t)MAX(end - i, 0) + 1, 1);
                n_piece = 0;
            }
            if (i == end) break;
            Node *field = parse_field(p, i + 1, end, is_raw, depth, &i);
            n->depth = MAX(n->depth, field->depth + 1);
            add(p, &n->list, field);
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
    Node *n = node_at(p, NODE_STRING, p->t->begin);
    NodeList pieces = {0};
    bool any_f = false;
    while ((p->t->kind == TOK_STRING || p->t->kind == TOK_FSTRING) && !p->failed) {
        int32_t begin, end;
        bool is_raw, is_bytes = false;
        if (p->t->kind == TOK_FSTRING) {
            any_f = true;
            string_bounds(p->text, p->t, &begin, &end, &is_raw);
            Node *f = parse_fstring_pieces(p, begin, end, is_raw, false, 0);
            for (int32_t i = 0; i < f->list.len; i++) add(p, &pieces, f->list.data[i]);
        } else {
            Node *s = node_at(p, NODE_STRING, p->t->begin);
            s->text = string_value(p->arena, p->text, p->t, &is_bytes);
            s->end = p->t->end;
            s->depth = 1;
            if (s->text.len || !pieces.len) add(p, &pieces, s);
        }
        advance(p);
    }
    if (any_f) {
        n->kind = NODE_FSTRING;
        n->list = pieces;
        return finish(p, n);
    }
    size_t len = 0;
    for (int32_t i = 0; i < pieces.len; i++) len += pieces.data[i]->text.len;
    char *joined = arena_alloc(p->arena, len + 1, 1);
    len = 0;
    for (int32_t i = 0; i < pieces.len; i++) {
        memcpy(joined + len, pieces.data[i]->text.data, pieces.data[i]->text.len);
        len += pieces.data[i]->text.len;
    }
    n->text = (Str){joined, len};
    return finish(p, n);
}

static Node *parse_binary(Parser *p, int32_t min);
static Node *parse_target_list(Parser *p);

/// `{ for targets in iter { if cond } }` after the element of a comprehension.
static void parse_clauses(Parser *p, Node *comp)
{
    while (!p->failed && (at(p, T_KW_FOR) || at(p, T_KW_ASYNC))) {
        accept(p, T_KW_ASYNC);
        Node *c = node_at(p, NODE_CLAUSE, p->t->begin);
        expect(p, T_KW_FOR);
        c->a = parse_target_list(p);
        expect(p, T_KW_IN);
        c->b = parse_binary(p, 0);
        while (!p->failed && accept(p, T_KW_IF)) add(p, &c->list, parse_binary(p, 0));
        add(p, &comp->list, finish(p, c));
    }
}

/// `(`, `[` or `{` displays and comprehensions.
static Node *parse_display(Parser *p)
{
    TokenId open = p->t->id;
    TokenId close = open == T_LPAREN ? T_RPAREN : open == T_LBRACKET ? T_RBRACKET : T_RBRACE;
    NodeKind kind = open == T_LPAREN ? NODE_TUPLE : open == T_LBRACKET ? NODE_LIST : NODE_DICT;
    Node *n = node_at(p, kind, p->t->begin);
    advance(p);
    bool comma = false;
    while (!p->failed && !at(p, close)) {
        Node *e = NULL, *value = NULL;
        if (at(p, T_KW_YIELD)) {
            e = rejected(p, p->t->begin, "yield");
            syntax_error(p, "an expression");
        } else if (at(p, T_POW) && kind != NODE_LIST) {
            advance(p);
            value = parse_expr(p);
        } else {
            e = parse_expr(p);
            if (open == T_LBRACE && accept(p, T_COLON)) value = parse_expr(p);
        }
        if (n->list.len == 0 && open == T_LBRACE && !value) n->kind = NODE_SET;
        if (at(p, T_KW_FOR) || at(p, T_KW_ASYNC)) {
            n->kind = NODE_COMP;
            n->op = open;
            n->a = e;
            n->b = value;
            parse_clauses(p, n);
            break;
        }
        add(p, &n->list, e);
        if (open == T_LBRACE && n->kind == NODE_DICT) add(p, &n->list, value ? value : e);
        if (!accept(p, T_COMMA)) break;
        comma = true;
    }
    expect(p, close);
    if (open == T_LPAREN && n->kind == NODE_TUPLE && n->list.len == 1 && !comma) { // only parentheses
        Node *inner = n->list.data[0];
        if (inner && inner->kind != NODE_STAR) return inner;
    }
    return finish(p, n);
}

static Node *parse_atom(Parser *p)
{
    switch (p->t->kind) {
    case TOK_NAME: return leaf(p, NODE_NAME);
    case TOK_INT: return parse_int(p);
    case TOK_FLOAT: return parse_float(p);
    case TOK_IMAGINARY: return leaf(p, NODE_IMAGINARY);
    case TOK_STRING:
    case TOK_FSTRING: return parse_strings(p);
    default: break;
    }
    switch (p->t->id) {
    case T_KW_NONE:
    case T_KW_TRUE:
    case T_KW_FALSE:
    case T_ELLIPSIS: return leaf(p, NODE_CONSTANT);
    case T_LPAREN:
    case T_LBRACKET:
    case T_LBRACE: return parse_display(p);
    default: break;
    }
    syntax_error(p, "an expression");
    Node *n = node_at(p, NODE_CONSTANT, p->t->begin);
    n->op = T_KW_NONE;
    n->depth = 1;
    return n;
}

// ---- postfix, operators -----------------------------------------------------------------------

static void parse_args(Parser *p, Node *call)
{
    while (!p->failed && !at(p, T_RPAREN)) {
        Node *arg;
        int32_t begin = p->t->begin;
        if (at(p, T_MUL) || at(p, T_POW)) {
            arg = node_at(p, at(p, T_MUL) ? NODE_STAR : NODE_DSTAR, begin);
            advance(p);
            arg->a = parse_expr(p);
            finish(p, arg);
        } else if (p->t->kind == TOK_NAME && p->t[1].id == T_ASSIGN) {
            arg = node_at(p, NODE_KEYWORD, begin);
            arg->text = token_str(p, p->t);
            advance(p);
            advance(p);
            arg->a = parse_expr(p);
            finish(p, arg);
        } else {
            arg = parse_expr(p);
            if (at(p, T_KW_FOR) || at(p, T_KW_ASYNC)) {
                Node *gen = node_at(p, NODE_COMP, begin);
                gen->op = T_LPAREN;
                gen->a = arg;
                parse_clauses(p, gen);
                arg = finish(p, gen);
            }
        }
        add(p, &call->list, arg);
        if (!accept(p, T_COMMA)) break;
    }
    expect(p, T_RPAREN);
}

static Node *parse_index(Parser *p)
{
    int32_t begin = p->t->begin;
    Node *a = at(p, T_COLON) ? NULL : at(p, T_MUL) ? NULL : parse_expr(p);
    if (!at(p, T_COLON)) {
        if (!a) syntax_error(p, "an index");
        return a ? a : node_at(p, NODE_CONSTANT, begin);
    }
    Node *s = node_at(p, NODE_SLICE, begin);
    s->a = a;
    expect(p, T_COLON);
    if (!at(p, T_COLON) && !at(p, T_COMMA) && !at(p, T_RBRACKET)) s->b = parse_expr(p);
    if (accept(p, T_COLON) && !at(p, T_COMMA) && !at(p, T_RBRACKET)) s->c = parse_expr(p);
    return finish(p, s);
}

static Node *parse_postfix(Parser *p)
{
    Node *n = parse_atom(p);
    while (!p->failed) {
        if (at(p, T_DOT)) {
            Node *a = node_at(p, NODE_ATTR, n->begin);
            advance(p);
            a->a = n;
            if (p->t->kind != TOK_NAME) {
                syntax_error(p, "a name");
                return n;
            }
            a->text = token_str(p, p->t);
            advance(p);
            n = finish(p, a);
        } else if (at(p, T_LPAREN)) {
            Node *call = node_at(p, NODE_CALL, n->begin);
            call->a = n;
            advance(p);
            parse_args(p, call);
            n = finish(p, call);
        } else if (at(p, T_LBRACKET)) {
            Node *sub = node_at(p, NODE_SUBSCRIPT, n->begin);
            sub->a = n;
            advance(p);
            do {
                if (at(p, T_RBRACKET) && sub->list.len) break;
                add(p, &sub->list, parse_index(p));
            } while (!p->failed && accept(p, T_COMMA));
            expect(p, T_RBRACKET);
            n = finish(p, sub);
        } else {
            break;
        }
    }
    return n;
}

static Node *parse_unary(Parser *p)
{
    if (!at(p, T_ADD) && !at(p, T_SUB) && !at(p, T_TILDE) && !at(p, T_KW_AWAIT)) {
        Node *base = parse_postfix(p);
        if (p->failed || !at(p, T_POW)) return base;
        Node *n = node_at(p, NODE_BINARY, base->begin);
        n->op = T_POW;
        n->a = base;
        advance(p);
        if (++p->depth > PARSE_MAX_DEPTH / 2) syntax_error(p, "a less deeply nested expression");
        else n->b = parse_unary(p);
        p->depth--;
        return p->failed ? base : finish(p, n);
    }
    Node *n = node_at(p, at(p, T_KW_AWAIT) ? NODE_REJECTED : NODE_UNARY, p->t->begin);
    if (n->kind == NODE_REJECTED) n->text = STR("await");
    n->op = p->t->id;
    advance(p);
    if (++p->depth > PARSE_MAX_DEPTH / 2) {
        syntax_error(p, "a less deeply nested expression");
        n->a = node_at(p, NODE_CONSTANT, n->begin);
    } else {
        n->a = parse_unary(p);
    }
    p->depth--;
    return finish(p, n);
}

/// Precedence of a binary operator: or and not compare | ^ & shift arith term.
static int32_t precedence(TokenId id)
{
    switch (id) {
    case T_KW_OR: return 1;
    case T_KW_AND: return 2;
    case T_LT: case T_GT: case T_LE: case T_GE: case T_EQ: case T_NE: case T_KW_IN: case T_KW_IS: case T_KW_NOT:
        return 4;
    case T_PIPE: return 5;
    case T_CARET: return 6;
    case T_AMP: return 7;
    case T_SHL: case T_SHR: return 8;
    case T_ADD: case T_SUB: return 9;
    case T_MUL: case T_DIV: case T_FLOORDIV: case T_MOD: case T_MATMUL: return 10;
    default: return -1;
    }
}

/// A comparison operator at the current token, moved past: `not in` is T_KW_NOT, `is not` is T_BANG.
static TokenId compare_op(Parser *p)
{
    TokenId id = p->t->id;
    advance(p);
    if (id == T_KW_NOT) expect(p, T_KW_IN);
    if (id == T_KW_IS && accept(p, T_KW_NOT)) return T_BANG;
    return id;
}

/// left { op right } with operators of at least `min`; `not` binds between `and` and comparisons.
static Node *parse_binary(Parser *p, int32_t min)
{
    Node *left;
    if (++p->depth > PARSE_MAX_DEPTH / 2) {
        syntax_error(p, "a less deeply nested expression");
        left = node_at(p, NODE_CONSTANT, p->t->begin);
    } else if (at(p, T_KW_NOT) && min <= 3) {
        left = node_at(p, NODE_UNARY, p->t->begin);
        left->op = T_KW_NOT;
        advance(p);
        left->a = parse_binary(p, 3);
        finish(p, left);
    } else {
        left = parse_unary(p);
    }
    while (!p->failed) {
        TokenId id = p->t->id;
        int32_t prec = precedence(id);
        if (prec < 0 || prec < min || (id == T_KW_NOT && p->t[1].id != T_KW_IN)) break;
        if (prec == 4 || prec <= 2) { // comparisons and and/or are n-ary
            Node *n = node_at(p, prec == 4 ? NODE_COMPARE : NODE_BOOL, left->begin);
            VEC(TokenId) ops = {0};
            if (prec != 4) n->op = id;
            add(p, &n->list, left);
            while (!p->failed && precedence(p->t->id) == prec && (prec == 4 || p->t->id == id)) {
                if (p->t->id == T_KW_NOT && p->t[1].id != T_KW_IN) break;
                if (prec == 4) {
                    TokenId op = compare_op(p);
                    vec_push(p->arena, &ops, op);
                } else {
                    advance(p);
                }
                add(p, &n->list, parse_binary(p, prec + 1));
            }
            n->ops = ops.data;
            left = finish(p, n);
            continue;
        }
        Node *n = node_at(p, NODE_BINARY, left->begin);
        n->op = id;
        advance(p);
        n->a = left;
        n->b = parse_binary(p, prec + 1);
        left = finish(p, n);
    }
    p->depth--;
    return left;
}

static void parse_params(Parser *p, Node *fn, TokenId close, bool annotations);

Node *parse_expr(Parser *p)
{
    int32_t begin = p->t->begin;
    if (at(p, T_KW_LAMBDA)) {
        Node *n = node_at(p, NODE_LAMBDA, begin);
        advance(p);
        parse_params(p, n, T_COLON, false);
        expect(p, T_COLON);
        if (++p->depth > PARSE_MAX_DEPTH / 2) syntax_error(p, "a less deeply nested expression");
        n->a = p->failed ? node_at(p, NODE_CONSTANT, begin) : parse_expr(p);
        p->depth--;
        return finish(p, n);
    }
    if (at(p, T_MUL)) { // in displays and targets
        Node *n = node_at(p, NODE_STAR, begin);
        advance(p);
        n->a = parse_binary(p, 5);
        return finish(p, n);
    }
    Node *value = parse_binary(p, 0);
    if (p->failed) return value;
    if (at(p, T_WALRUS)) {
        Node *n = node_at(p, NODE_WALRUS, begin);
        advance(p);
        n->a = value;
        if (++p->depth > PARSE_MAX_DEPTH / 2) syntax_error(p, "a less deeply nested expression");
        n->b = p->failed ? value : parse_expr(p);
        p->depth--;
        return finish(p, n);
    }
    if (!at(p, T_KW_IF)) return value;
    Node *n = node_at(p, NODE_IFEXP, begin);
    advance(p);
    n->a = value;
    n->b = parse_binary(p, 0);
    expect(p, T_KW_ELSE);
    if (++p->depth > PARSE_MAX_DEPTH / 2) syntax_error(p, "a less deeply nested expression");
    n->c = p->failed ? value : parse_expr(p);
    p->depth--;
    return finish(p, n);
}

Node *parse_expr_list(Parser *p)
{
    Node *first = parse_expr(p);
    if (p->failed || !at(p, T_COMMA)) return first;
    Node *n = node_at(p, NODE_TUPLE, first->begin);
    add(p, &n->list, first);
    while (!p->failed && accept(p, T_COMMA)) {
        if (p->t->kind == TOK_NEWLINE || p->t->kind == TOK_END || at(p, T_ASSIGN) || at(p, T_SEMI) || at(p, T_COLON) ||
            at(p, T_RPAREN))
            break;
        add(p, &n->list, parse_expr(p));
    }
    return finish(p, n);
}

/// Targets of `for`, which end at `in`.
static Node *parse_target_list(Parser *p)
{
    int32_t begin = p->t->begin;
    Node *first = parse_binary(p, 5);
    if (p->failed || !at(p, T_COMMA)) return first;
    Node *n = node_at(p, NODE_TUPLE, begin);
    add(p, &n->list, first);
    while (!p->failed && accept(p, T_COMMA) && !at(p, T_KW_IN)) add(p, &n->list, parse_binary(p, 5));
    return finish(p, n);
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
    if (!p.failed && p.t->kind != TOK_END) syntax_error(&p, "the end of the expression");
    return p.failed ? NULL : n;
}

// ---- statements -------------------------------------------------------------------------------

void parse_skip_statement(Parser *p)
{
    while (p->t->kind != TOK_END && p->t->kind != TOK_NEWLINE && p->t->kind != TOK_DEDENT) p->t++;
    if (p->t->kind == TOK_NEWLINE) p->t++;
    if (p->t->kind != TOK_INDENT) return;
    int32_t nest = 0;
    do {
        if (p->t->kind == TOK_INDENT) nest++;
        if (p->t->kind == TOK_DEDENT) nest--;
        if (p->t->kind == TOK_END) return;
        p->t++;
    } while (nest > 0);
}

static void parse_suite(Parser *p, NodeList *out);

/// [NAME [: expr] [= expr]] {, ...} with `*`, `**` and `/`.
static void parse_params(Parser *p, Node *fn, TokenId close, bool annotations)
{
    while (!p->failed && !at(p, close)) {
        Node *param = node_at(p, NODE_PARAM, p->t->begin);
        if (at(p, T_MUL) || at(p, T_POW)) {
            param->op = p->t->id;
            advance(p);
        }
        if (at(p, T_DIV) || (param->op == T_MUL && at(p, T_COMMA))) { // `/`, bare `*`: accepted, no parameter
            accept(p, T_DIV);
            if (!accept(p, T_COMMA)) break;
            continue;
        }
        if (p->t->kind != TOK_NAME) {
            syntax_error(p, "a parameter name");
            return;
        }
        param->text = token_str(p, p->t);
        int32_t name_end = p->t->end;
        advance(p);
        if (annotations && accept(p, T_COLON)) param->a = parse_expr(p);
        if (accept(p, T_ASSIGN)) param->b = parse_expr(p);
        finish(p, param);
        param->end = name_end; // a note points at the name
        for (int32_t i = 0; i < fn->list.len; i++)
            if (str_eq(fn->list.data[i]->text, param->text)) syntax_error(p, "a parameter name that is not used twice");
        add(p, &fn->list, param);
        if (!accept(p, T_COMMA)) break;
    }
}

Node *parse_def(Parser *p)
{
    int32_t begin = p->t->begin;
    Node *fn = node_at(p, NODE_FUNC, begin);
    expect(p, T_KW_DEF);
    if (p->t->kind != TOK_NAME) {
        syntax_error(p, "a function name");
    } else {
        fn->text = token_str(p, p->t);
        advance(p);
    }
    expect(p, T_LPAREN);
    parse_params(p, fn, T_RPAREN, true);
    expect(p, T_RPAREN);
    if (!p->failed && accept(p, T_ARROW)) fn->a = parse_expr(p);
    if (!p->failed) expect(p, T_COLON);
    if (p->failed) {
        parse_skip_statement(p);
        p->failed = false;
        return fn;
    }
    parse_suite(p, &fn->list2);
    finish(p, fn);
    return fn;
}

void parse_decorators(Parser *p, NodeList *out)
{
    while (!p->failed && at(p, T_MATMUL)) {
        advance(p);
        add(p, out, parse_expr(p));
        if (p->t->kind == TOK_NEWLINE) advance(p);
        else syntax_error(p, "the end of the line");
    }
}

static TokenId augmented_op(TokenId id)
{
    static const TokenId pairs[][2] = {
        {T_ADD_EQ, T_ADD}, {T_SUB_EQ, T_SUB}, {T_MUL_EQ, T_MUL}, {T_DIV_EQ, T_DIV}, {T_FLOORDIV_EQ, T_FLOORDIV},
        {T_MOD_EQ, T_MOD}, {T_POW_EQ, T_POW}, {T_AND_EQ, T_AMP}, {T_OR_EQ, T_PIPE}, {T_XOR_EQ, T_CARET},
        {T_SHL_EQ, T_SHL}, {T_SHR_EQ, T_SHR}, {T_MATMUL_EQ, T_MATMUL}};
    for (int32_t i = 0; i < COUNT_OF(pairs); i++)
        if (pairs[i][0] == id) return pairs[i][1];
    return T_NONE;
}

/// Assignments in all their forms, or an expression.
static Node *parse_assignment(Parser *p)
{
    int32_t begin = p->t->begin;
    Node *first = parse_expr_list(p);
    if (p->failed) return first;
    if (accept(p, T_COLON)) {
        Node *n = node_at(p, NODE_ANNOTATED, begin);
        n->a = first;
        n->b = parse_expr(p);
        if (!p->failed && accept(p, T_ASSIGN)) n->c = parse_expr_list(p);
        return finish(p, n);
    }
    TokenId op = augmented_op(p->t->id);
    if (op) {
        Node *n = node_at(p, NODE_AUGMENTED, begin);
        n->op = op;
        advance(p);
        n->a = first;
        n->b = parse_expr_list(p);
        return finish(p, n);
    }
    Node *n = node_at(p, at(p, T_ASSIGN) ? NODE_ASSIGN : NODE_EXPR, begin);
    n->a = first;
    while (!p->failed && accept(p, T_ASSIGN)) {
        add(p, &n->list, n->a);
        n->a = parse_expr_list(p);
    }
    return finish(p, n);
}

static bool ends_small(const Parser *p)
{
    return p->t->kind == TOK_NEWLINE || p->t->kind == TOK_END || at(p, T_SEMI);
}

/// The simple statements that begin with a keyword; forms that no kernel may use become NODE_REJECTED.
static Node *parse_small(Parser *p)
{
    int32_t begin = p->t->begin;
    TokenId id = p->t->id;
    Node *n;
    switch (id) {
    case T_KW_RETURN:
    case T_KW_RAISE:
        n = node_at(p, id == T_KW_RETURN ? NODE_RETURN : NODE_RAISE, begin);
        advance(p);
        if (!ends_small(p)) n->a = parse_expr_list(p);
        if (id == T_KW_RAISE && !p->failed && accept(p, T_KW_FROM)) n->b = parse_expr(p);
        return finish(p, n);
    case T_KW_PASS:
    case T_KW_BREAK:
    case T_KW_CONTINUE:
        n = node_at(p, id == T_KW_PASS ? NODE_PASS : id == T_KW_BREAK ? NODE_BREAK : NODE_CONTINUE, begin);
        advance(p);
        return finish(p, n);
    case T_KW_ASSERT:
        n = node_at(p, NODE_ASSERT, begin);
        advance(p);
        n->a = parse_expr(p);
        if (!p->failed && accept(p, T_COMMA)) n->b = parse_expr(p);
        return finish(p, n);
    case T_KW_GLOBAL:
    case T_KW_NONLOCAL:
    case T_KW_DEL:
    case T_KW_IMPORT:
    case T_KW_FROM:
    case T_KW_YIELD: {
        const char *form = id == T_KW_FROM ? "import" : token_text(id);
        while (!ends_small(p)) advance(p);
        return rejected(p, begin, form);
    }
    default: return parse_assignment(p);
    }
}

/// for/while/if share "head : suite [else : suite]".
static Node *parse_block(Parser *p)
{
    TokenId id = p->t->id;
    Node *n = node_at(p, id == T_KW_FOR ? NODE_FOR : id == T_KW_WHILE ? NODE_WHILE : NODE_IF, p->t->begin);
    advance(p);
    if (id == T_KW_FOR) {
        n->a = parse_target_list(p);
        expect(p, T_KW_IN);
        if (!p->failed) n->b = parse_expr_list(p);
    } else {
        n->a = parse_expr(p);
    }
    if (!p->failed) expect(p, T_COLON);
    if (p->failed) return n;
    parse_suite(p, &n->list);
    return finish(p, n);
}

/// if { elif } [else]: each elif is an IF alone in the else of the one before. Parsed by a loop, so that a
/// long chain costs depth in the tree (which is limited) and not on our stack.
static Node *parse_if(Parser *p)
{
    VEC(Node *) chain = {0};
    do {
        Node *link = parse_block(p);
        vec_push(p->arena, &chain, link);
    } while (!p->failed && at(p, T_KW_ELIF));
    if (!p->failed && accept(p, T_KW_ELSE)) {
        expect(p, T_COLON);
        if (!p->failed) parse_suite(p, &vec_last(&chain)->list2);
    }
    for (int32_t i = chain.len - 1; i >= 0; i--) {
        if (i + 1 < chain.len) add(p, &chain.data[i]->list2, chain.data[i + 1]);
        finish(p, chain.data[i]);
    }
    return chain.data[0];
}

/// A form with a suite that is skipped whole.
static Node *reject_block(Parser *p, const char *form)
{
    int32_t begin = p->t->begin, head_end = p->t->end;
    parse_skip_statement(p);
    // clauses that belong to the same statement
    while (at(p, T_KW_EXCEPT) || at(p, T_KW_FINALLY) || at(p, T_KW_ELSE)) parse_skip_statement(p);
    Node *n = node_at(p, NODE_REJECTED, begin);
    n->text = str_of(form);
    n->depth = 1;
    n->end = head_end;
    return n;
}

Node *parse_statement(Parser *p)
{
    switch (p->t->id) {
    case T_KW_IF: return parse_if(p);
    case T_KW_FOR:
    case T_KW_WHILE: {
        Node *n = parse_block(p);
        if (!p->failed && accept(p, T_KW_ELSE)) {
            expect(p, T_COLON);
            if (!p->failed) parse_suite(p, &n->list2);
            finish(p, n);
        }
        return n;
    }
    case T_KW_DEF: return reject_block(p, "def");
    case T_KW_CLASS: return reject_block(p, "class");
    case T_KW_TRY: return reject_block(p, "try");
    case T_KW_WITH: return reject_block(p, "with");
    case T_KW_ASYNC: return reject_block(p, "async");
    case T_MATMUL: return reject_block(p, "decorator");
    default: break;
    }
    Node *n = parse_small(p);
    if (p->failed || accept(p, T_SEMI)) return n;
    if (p->t->kind == TOK_NEWLINE) advance(p);
    else if (p->t->kind == TOK_END) return n;
    else if (p->t[-1].kind == TOK_NAME && str_is(token_str(p, &p->t[-1]), "match")) return reject_block(p, "match");
    else syntax_error(p, "the end of the line");
    return n;
}

/// NEWLINE INDENT { statement } DEDENT, or statements on the same line.
static void parse_suite(Parser *p, NodeList *out)
{
    if (p->t->kind != TOK_NEWLINE) {
        do {
            if (p->t->kind == TOK_KEYWORD && (at(p, T_KW_IF) || at(p, T_KW_FOR) || at(p, T_KW_WHILE) || at(p, T_KW_DEF))) {
                syntax_error(p, "a simple statement");
                return;
            }
            add(p, out, parse_statement(p));
        } while (!p->failed && p->t[-1].id == T_SEMI && p->t->kind != TOK_NEWLINE);
        if (!p->failed && p->t->kind == TOK_NEWLINE && p->t[-1].id == T_SEMI) advance(p);
        return;
    }
    advance(p);
    if (p->t->kind != TOK_INDENT) {
        syntax_error(p, "an indented suite");
        return;
    }
    advance(p);
    while (p->t->kind != TOK_DEDENT && p->t->kind != TOK_END) {
        const Token *before = p->t;
        if (p->t->kind == TOK_NEWLINE) {
            advance(p);
            continue;
        }
        Node *n = parse_statement(p);
        if (p->failed) { // go on with the next statement
            p->failed = false;
            p->depth = 0;
            bool line_ended = p->t > before && p->t[-1].kind == TOK_NEWLINE;
            if (!line_ended) parse_skip_statement(p);
            else if (p->t->kind == TOK_INDENT) parse_skip_statement(p);
            if (p->t == before) advance(p);
            continue;
        }
        add(p, out, n);
    }
    if (p->t->kind == TOK_DEDENT) advance(p);
}
