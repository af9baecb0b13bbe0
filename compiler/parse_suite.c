// compiler/parse_suite.c - statements, suites, definitions; expressions are in parse.c.
#include "compiler/parse.h"

void parse_skip_statement(Parser *p)
{
    while (p->t->kind != TOK_END && p->t->kind != TOK_NEWLINE && p->t->kind != TOK_DEDENT)
        p->t++;
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
void parse_params(Parser *p, Node *fn, TokenId close, bool annotations)
{
    while (!p->failed && !parser_at(p, close)) {
        Node *param = parser_node(p, NODE_PARAM, p->t->begin);
        if (parser_at(p, T_MUL) || parser_at(p, T_POW)) {
            param->op = p->t->id;
            parser_advance(p);
        }
        if (parser_at(p, T_DIV) ||
            (param->op == T_MUL &&
             parser_at(p, T_COMMA))) { // `/`, bare `*`: accepted, no parameter
            parser_accept(p, T_DIV);
            if (!parser_accept(p, T_COMMA)) break;
            continue;
        }
        if (p->t->kind != TOK_NAME) {
            parser_error(p, "a parameter name");
            return;
        }
        param->text = parser_text(p, p->t);
        int32_t name_end = p->t->end;
        parser_advance(p);
        if (annotations && parser_accept(p, T_COLON)) param->a = parse_expr(p);
        if (parser_accept(p, T_ASSIGN)) param->b = parse_expr(p);
        parser_finish(p, param);
        param->end = name_end; // a note points at the name
        for (int32_t i = 0; i < fn->list.len; i++)
            if (str_eq(fn->list.data[i]->text, param->text))
                parser_error(p, "a parameter name that is not used twice");
        parser_add(p, &fn->list, param);
        if (!parser_accept(p, T_COMMA)) break;
    }
}

Node *parse_def(Parser *p)
{
    int32_t begin = p->t->begin;
    Node *fn = parser_node(p, NODE_FUNC, begin);
    parser_expect(p, T_KW_DEF);
    if (p->t->kind != TOK_NAME) {
        parser_error(p, "a function name");
    } else {
        fn->text = parser_text(p, p->t);
        parser_advance(p);
    }
    parser_expect(p, T_LPAREN);
    parse_params(p, fn, T_RPAREN, true);
    parser_expect(p, T_RPAREN);
    if (!p->failed && parser_accept(p, T_ARROW)) fn->a = parse_expr(p);
    if (!p->failed) parser_expect(p, T_COLON);
    if (p->failed) {
        parse_skip_statement(p);
        p->failed = false;
        return fn;
    }
    parse_suite(p, &fn->list2);
    parser_finish(p, fn);
    return fn;
}

void parse_decorators(Parser *p, NodeList *out)
{
    while (!p->failed && parser_at(p, T_MATMUL)) {
        parser_advance(p);
        parser_add(p, out, parse_expr(p));
        if (p->t->kind == TOK_NEWLINE)
            parser_advance(p);
        else
            parser_error(p, "the end of the line");
    }
}

static TokenId augmented_op(TokenId id)
{
    static const TokenId pairs[][2] = {
        {T_ADD_EQ, T_ADD},           {T_SUB_EQ, T_SUB},   {T_MUL_EQ, T_MUL}, {T_DIV_EQ, T_DIV},
        {T_FLOORDIV_EQ, T_FLOORDIV}, {T_MOD_EQ, T_MOD},   {T_POW_EQ, T_POW}, {T_AND_EQ, T_AMP},
        {T_OR_EQ, T_PIPE},           {T_XOR_EQ, T_CARET}, {T_SHL_EQ, T_SHL}, {T_SHR_EQ, T_SHR},
        {T_MATMUL_EQ, T_MATMUL}};
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
    if (parser_accept(p, T_COLON)) {
        Node *n = parser_node(p, NODE_ANNOTATED, begin);
        n->a = first;
        n->b = parse_expr(p);
        if (!p->failed && parser_accept(p, T_ASSIGN)) n->c = parse_expr_list(p);
        return parser_finish(p, n);
    }
    TokenId op = augmented_op(p->t->id);
    if (op) {
        Node *n = parser_node(p, NODE_AUGMENTED, begin);
        n->op = op;
        parser_advance(p);
        n->a = first;
        n->b = parse_expr_list(p);
        return parser_finish(p, n);
    }
    Node *n = parser_node(p, parser_at(p, T_ASSIGN) ? NODE_ASSIGN : NODE_EXPR, begin);
    n->a = first;
    while (!p->failed && parser_accept(p, T_ASSIGN)) {
        parser_add(p, &n->list, n->a);
        n->a = parse_expr_list(p);
    }
    return parser_finish(p, n);
}

static bool ends_small(const Parser *p)
{
    return p->t->kind == TOK_NEWLINE || p->t->kind == TOK_END || parser_at(p, T_SEMI);
}

/// The simple statements that begin with a keyword; forms that no kernel may use become
/// NODE_REJECTED.
static Node *parse_small(Parser *p)
{
    int32_t begin = p->t->begin;
    TokenId id = p->t->id;
    Node *n;
    switch (id) {
    case T_KW_RETURN:
    case T_KW_RAISE:
        n = parser_node(p, id == T_KW_RETURN ? NODE_RETURN : NODE_RAISE, begin);
        parser_advance(p);
        if (!ends_small(p)) n->a = parse_expr_list(p);
        if (id == T_KW_RAISE && !p->failed && parser_accept(p, T_KW_FROM)) n->b = parse_expr(p);
        return parser_finish(p, n);
    case T_KW_PASS:
    case T_KW_BREAK:
    case T_KW_CONTINUE:
        n = parser_node(p,
                        id == T_KW_PASS    ? NODE_PASS
                        : id == T_KW_BREAK ? NODE_BREAK
                                           : NODE_CONTINUE,
                        begin);
        parser_advance(p);
        return parser_finish(p, n);
    case T_KW_ASSERT:
        n = parser_node(p, NODE_ASSERT, begin);
        parser_advance(p);
        n->a = parse_expr(p);
        if (!p->failed && parser_accept(p, T_COMMA)) n->b = parse_expr(p);
        return parser_finish(p, n);
    case T_KW_GLOBAL:
    case T_KW_NONLOCAL:
    case T_KW_DEL:
    case T_KW_IMPORT:
    case T_KW_FROM:
    case T_KW_YIELD: {
        const char *form = id == T_KW_FROM ? "import" : token_text(id);
        while (!ends_small(p))
            parser_advance(p);
        return parser_rejected(p, begin, form);
    }
    default:
        return parse_assignment(p);
    }
}

/// for/while/if share "head : suite [else : suite]".
static Node *parse_block(Parser *p)
{
    TokenId id = p->t->id;
    Node *n = parser_node(p,
                          id == T_KW_FOR     ? NODE_FOR
                          : id == T_KW_WHILE ? NODE_WHILE
                                             : NODE_IF,
                          p->t->begin);
    parser_advance(p);
    if (id == T_KW_FOR) {
        n->a = parse_targets(p);
        parser_expect(p, T_KW_IN);
        if (!p->failed) n->b = parse_expr_list(p);
    } else {
        n->a = parse_expr(p);
    }
    if (!p->failed) parser_expect(p, T_COLON);
    if (p->failed) return n;
    parse_suite(p, &n->list);
    return parser_finish(p, n);
}

/// if { elif } [else]: each elif is an IF alone in the else of the one before. Parsed by a loop, so
/// that a long chain costs depth in the tree (which is limited) and not on our stack.
static Node *parse_if(Parser *p)
{
    VEC(Node *) chain = {0};
    do {
        Node *link = parse_block(p);
        vec_push(p->arena, &chain, link);
    } while (!p->failed && parser_at(p, T_KW_ELIF));
    if (!p->failed && parser_accept(p, T_KW_ELSE)) {
        parser_expect(p, T_COLON);
        if (!p->failed) parse_suite(p, &vec_last(&chain)->list2);
    }
    for (int32_t i = chain.len - 1; i >= 0; i--) {
        if (i + 1 < chain.len) parser_add(p, &chain.data[i]->list2, chain.data[i + 1]);
        parser_finish(p, chain.data[i]);
    }
    return chain.data[0];
}

/// A form with a suite that is skipped whole.
static Node *reject_block(Parser *p, const char *form)
{
    int32_t begin = p->t->begin, head_end = p->t->end;
    parse_skip_statement(p);
    // clauses that belong to the same statement
    while (parser_at(p, T_KW_EXCEPT) || parser_at(p, T_KW_FINALLY) || parser_at(p, T_KW_ELSE))
        parse_skip_statement(p);
    Node *n = parser_node(p, NODE_REJECTED, begin);
    n->text = str_of(form);
    n->depth = 1;
    n->end = head_end;
    return n;
}

Node *parse_statement(Parser *p)
{
    switch (p->t->id) {
    case T_KW_IF:
        return parse_if(p);
    case T_KW_FOR:
    case T_KW_WHILE: {
        Node *n = parse_block(p);
        if (!p->failed && parser_accept(p, T_KW_ELSE)) {
            parser_expect(p, T_COLON);
            if (!p->failed) parse_suite(p, &n->list2);
            parser_finish(p, n);
        }
        return n;
    }
    case T_KW_DEF:
        return reject_block(p, "def");
    case T_KW_CLASS:
        return reject_block(p, "class");
    case T_KW_TRY:
        return reject_block(p, "try");
    case T_KW_WITH:
        return reject_block(p, "with");
    case T_KW_ASYNC:
        return reject_block(p, "async");
    case T_MATMUL:
        return reject_block(p, "decorator");
    default:
        break;
    }
    Node *n = parse_small(p);
    if (p->failed || parser_accept(p, T_SEMI)) return n;
    if (p->t->kind == TOK_NEWLINE)
        parser_advance(p);
    else if (p->t->kind == TOK_END)
        return n;
    else if (p->t[-1].kind == TOK_NAME && str_is(parser_text(p, &p->t[-1]), "match"))
        return reject_block(p, "match");
    else
        parser_error(p, "the end of the line");
    return n;
}

/// NEWLINE INDENT { statement } DEDENT, or statements on the same line.
static void parse_suite(Parser *p, NodeList *out)
{
    if (p->t->kind != TOK_NEWLINE) {
        do {
            if (p->t->kind == TOK_KEYWORD && (parser_at(p, T_KW_IF) || parser_at(p, T_KW_FOR) ||
                                              parser_at(p, T_KW_WHILE) || parser_at(p, T_KW_DEF))) {
                parser_error(p, "a simple statement");
                return;
            }
            parser_add(p, out, parse_statement(p));
        } while (!p->failed && p->t[-1].id == T_SEMI && p->t->kind != TOK_NEWLINE);
        if (!p->failed && p->t->kind == TOK_NEWLINE && p->t[-1].id == T_SEMI) parser_advance(p);
        return;
    }
    parser_advance(p);
    if (p->t->kind != TOK_INDENT) {
        parser_error(p, "an indented suite");
        return;
    }
    parser_advance(p);
    while (p->t->kind != TOK_DEDENT && p->t->kind != TOK_END) {
        const Token *before = p->t;
        if (p->t->kind == TOK_NEWLINE) {
            parser_advance(p);
            continue;
        }
        Node *n = parse_statement(p);
        if (p->failed) { // go on with the next statement
            p->failed = false;
            p->depth = 0;
            bool line_ended = p->t > before && p->t[-1].kind == TOK_NEWLINE;
            if (!line_ended)
                parse_skip_statement(p);
            else if (p->t->kind == TOK_INDENT)
                parse_skip_statement(p);
            if (p->t == before) parser_advance(p);
            continue;
        }
        parser_add(p, out, n);
    }
    if (p->t->kind == TOK_DEDENT) parser_advance(p);
}
