#include "compiler/source.h"

#include "base/file.h"
#include "compiler/hosteval.h"
#include "compiler/parse.h"
#include "compiler/scope.h"

static void bind(Source *s, Binding b)
{
    Binding *copy = arena_new(&s->arena, Binding);
    *copy = b;
    map_put(&s->arena, &s->names, b.name, copy);
}

static Str text_of(const Source *s, const Token *t)
{
    return (Str){s->text.data + t->begin, (size_t)(t->end - t->begin)};
}

static void bind_opaque(Source *s, const Token *name, const Token *stmt, const Token *end)
{
    bind(s, (Binding){.name = text_of(s, name),
                      .kind = BIND_OPAQUE,
                      .begin = name->begin,
                      .end = name->end,
                      .stmt_begin = stmt->begin,
                      .stmt_end = end[-1].end});
}

// ---- imports ----------------------------------------------------------------------------------

/// A dotted name (leading dots included) from `*at`; moves past it.
static Str dotted(Source *s, const Token **at)
{
    const Token *t = *at;
    int32_t begin = t->begin, end = t->begin;
    while (t->id == T_DOT || t->id == T_ELLIPSIS || t->kind == TOK_NAME) {
        if (t->kind == TOK_NAME && t[-1].kind == TOK_NAME && end != begin) break;
        end = t->end;
        t++;
    }
    *at = t;
    return (Str){s->text.data + begin, (size_t)(end - begin)};
}

static void bind_module(Source *s, const Token *name, Str path, const Token *stmt, const Token *end)
{
    bind(s, (Binding){.name = text_of(s, name),
                      .kind = BIND_MODULE,
                      .path = path,
                      .begin = name->begin,
                      .end = name->end,
                      .stmt_begin = stmt->begin,
                      .stmt_end = end[-1].end});
}

/// import a.b [as c], ...
static void read_import(Source *s, const Token *stmt, const Token *end)
{
    const Token *t = stmt + 1;
    while (t < end) {
        const Token *first = t;
        Str path = dotted(s, &t);
        if (t == first) break;
        if (t->id == T_KW_AS && t[1].kind == TOK_NAME) {
            bind_module(s, t + 1, path, stmt, end);
            t += 2;
        } else if (first->kind == TOK_NAME) { // `import a.b` binds a
            bind_module(s, first, text_of(s, first), stmt, end);
        }
        if (t->id != T_COMMA) break;
        t++;
    }
}

/// from M import x [as y], ... ; `*` of the language's own module brings its names by scope_name().
static void read_from(Source *s, const Token *stmt, const Token *end)
{
    const Token *t = stmt + 1;
    Str module = dotted(s, &t);
    if (t->id != T_KW_IMPORT) return;
    t++;
    if (t->id == T_LPAREN) t++;
    if (t->id == T_MUL) {
        bind(s, (Binding){.name = STR("*"),
                          .kind = BIND_MODULE,
                          .path = module,
                          .begin = t->begin,
                          .end = t->end,
                          .stmt_begin = stmt->begin,
                          .stmt_end = end[-1].end});
        return;
    }
    while (t < end && t->kind == TOK_NAME) {
        const Token *name = t;
        const char *path = arena_printf(&s->arena, "%.*s%s%.*s", STR_ARG(module),
                                        str_ends(module, ".") ? "" : ".", STR_ARG(text_of(s, t)));
        t++;
        if (t->id == T_KW_AS && t[1].kind == TOK_NAME) {
            name = t + 1;
            t += 2;
        }
        bind_module(s, name, str_of(path), stmt, end);
        if (t->id != T_COMMA) break;
        t++;
    }
}

// ---- jit functions ----------------------------------------------------------------------------

Str source_path_of(const Source *s, Arena *arena, const Node *n)
{
    if (n->kind == NODE_ATTR) {
        Str base = source_path_of(s, arena, n->a);
        if (!base.len) return base;
        return scope_canonical(
            arena, str_of(arena_printf(arena, "%.*s.%.*s", STR_ARG(base), STR_ARG(n->text))));
    }
    if (n->kind != NODE_NAME) return (Str){0};
    Binding *b = map_get(&s->names, n->text);
    return b && b->kind == BIND_MODULE ? scope_canonical(arena, b->path) : (Str){0};
}

static const Node *keyword(const Node *call, const char *name, int32_t position)
{
    for (int32_t i = 0, k = 0; i < call->list.len; i++) {
        const Node *arg = call->list.data[i];
        if (arg->kind == NODE_KEYWORD && str_is(arg->text, name)) return arg->a;
        if (arg->kind != NODE_KEYWORD && k++ == position) return arg;
    }
    return NULL;
}

static void warn_decorator(Source *s, const Node *d, Str name, int32_t file, Diag *diag)
{
    if (map_get(&s->warned, name)) return; // once per name and file
    map_put(&s->arena, &s->warned, name, s);
    Span at = {file, d->begin, d->end};
    diag_add(diag, DIAG_WARNING, "W0201", at, "decorator `@%.*s` is not known and was ignored",
             STR_ARG(name));
}

/// Keywords of @triton.jit(...).
static void read_jit_call(JitFunc *f, const Node *call, int32_t file, Diag *diag)
{
    static const char *const ignored[] = {"noinline", "version", "repr", "launch_metadata"};
    for (int32_t i = 0; i < call->list.len; i++) {
        const Node *arg = call->list.data[i];
        if (arg->kind != NODE_KEYWORD) continue;
        bool known = false;
        for (int32_t k = 0; k < COUNT_OF(ignored); k++)
            known |= str_is(arg->text, ignored[k]);
        if (str_is(arg->text, "do_not_specialize"))
            f->no_specialize = arg->a;
        else if (str_is(arg->text, "do_not_specialize_on_alignment"))
            f->no_alignment = arg->a;
        else if (str_is(arg->text, "debug"))
            f->debug = arg->a->kind == NODE_CONSTANT && arg->a->op == T_KW_TRUE;
        else if (!known)
            diag_add(diag, DIAG_ERROR, "E0210", (Span){file, arg->begin, arg->end},
                     "`triton.jit` has no keyword `%.*s`", STR_ARG(arg->text));
    }
}

/// One decorator. @return whether it makes the function a jit function
static bool read_decorator(Source *s, JitFunc *f, const Node *d, bool report, int32_t file,
                           Diag *diag)
{
    bool called = d->kind == NODE_CALL;
    const Node *callee = called ? d->a : d;
    Str path = source_path_of(s, &s->arena, callee);
    if (str_is(path, "triton.jit")) {
        if (called) read_jit_call(f, d, file, report ? diag : NULL);
        return true;
    }
    Str last = callee->kind == NODE_NAME || callee->kind == NODE_ATTR ? callee->text : STR("?");
    bool tuner = str_ends(last, "autotune") || str_ends(last, "tuner");
    if (str_is(path, "triton.autotune") || (called && tuner && keyword(d, "configs", 0))) {
        if (called) f->configs = keyword(d, "configs", 0), f->key = keyword(d, "key", 1);
        if (!str_is(path, "triton.autotune") && report) warn_decorator(s, d, last, file, diag);
        return false;
    }
    if (str_is(path, "triton.heuristics")) {
        const Node *values = called ? keyword(d, "values", 0) : NULL;
        if (values) vec_push(&s->arena, &f->heuristics, values);
        return false;
    }
    if (report) warn_decorator(s, d, last, file, diag);
    return false;
}

/// The `# kiln:` lines directly above byte `at`, oldest first; `# kiln:+` continues the card before
/// it.
static void read_cards(Source *s, JitFunc *f, int32_t at)
{
    int32_t first = at;
    while (first > 0 && s->text.data[first - 1] != '\n')
        first--; // start of the decorator's line
    int32_t block = first;
    while (block > 0) {
        int32_t line = block - 1;
        while (line > 0 && s->text.data[line - 1] != '\n')
            line--;
        int32_t i = line;
        while (i < block && (s->text.data[i] == ' ' || s->text.data[i] == '\t'))
            i++;
        if (s->text.data[i] != '#') break;
        block = line;
    }
    for (; s->counted_to < block; s->counted_to++)
        s->lines += s->text.data[s->counted_to] == '\n';
    int32_t line_number = s->lines + 1;
    for (int32_t i = block; i < first; line_number++) {
        int32_t end = i;
        while (end < first && s->text.data[end] != '\n')
            end++;
        Str line = {s->text.data + i, (size_t)(end - i)};
        while (line.len && (line.data[0] == ' ' || line.data[0] == '\t'))
            line.data++, line.len--;
        while (line.len && line.data[line.len - 1] == '\r')
            line.len--;
        i = end + 1;
        bool more = str_starts(line, "# kiln:+");
        if (!str_starts(line, "# kiln:")) continue;
        Str rest = {line.data + (more ? 8 : 7), line.len - (more ? 8 : 7)};
        if (more && f->cards.len) {
            CardText *c = &vec_last(&f->cards);
            c->text = str_of(arena_printf(&s->arena, "%.*s %.*s", STR_ARG(c->text), STR_ARG(rest)));
        } else {
            vec_push(
                &s->arena, &f->cards,
                (CardText){str_of(arena_strndup(&s->arena, rest.data, rest.len)), line_number});
        }
    }
}

static bool plain_name(Str name)
{
    for (size_t i = 0; i < name.len; i++)
        if ((unsigned char)name.data[i] >= 0x80) return false;
    return true;
}

static void check_names(const Node *def, int32_t file, Diag *diag)
{
    if (!plain_name(def->text))
        diag_add(diag, DIAG_ERROR, "E0103", (Span){file, def->begin, def->begin + 3},
                 "the name of a kernel may have only letters, digits and _, got `%.*s`",
                 STR_ARG(def->text));
    for (int32_t i = 0; i < def->list.len; i++) {
        const Node *p = def->list.data[i];
        if (!plain_name(p->text))
            diag_add(diag, DIAG_ERROR, "E0103", (Span){file, p->begin, p->end},
                     "the name of a parameter may have only letters, digits and _, got `%.*s`",
                     STR_ARG(p->text));
    }
}

/// { @decorator } def ... at p->t. Functions that no decorator makes jit are opaque.
static void read_function(Source *s, Parser *p, int32_t file, Diag *diag)
{
    const Token *stmt = p->t;
    NodeList decorators = {0};
    Diag *real = p->diag;
    int32_t before = p->n_errors;
    p->diag = NULL; // decorators of host functions are nobody's business
    parse_decorators(p, &decorators);
    p->diag = real;
    p->n_errors = before;
    bool broken = p->failed;
    p->failed = false;
    while (p->t->id == T_MATMUL ||
           (broken && p->t->id != T_KW_DEF && p->t->id != T_KW_CLASS && p->t->kind != TOK_END &&
            p->t->kind != TOK_DEDENT && p->t->id != T_KW_ASYNC))
        parse_skip_statement(p);
    JitFunc *f = arena_new(&s->arena, JitFunc);
    bool is_jit = false;
    for (int32_t i = 0; i < decorators.len; i++)
        is_jit |= read_decorator(s, f, decorators.data[i], false, file, NULL);
    const Token *def = p->t;
    if (!is_jit || broken || def->id != T_KW_DEF) {
        parse_skip_statement(p);
        const Token *name = def->id == T_KW_ASYNC ? def + 2 : def + 1;
        if ((def->id == T_KW_DEF || def->id == T_KW_CLASS || def->id == T_KW_ASYNC) &&
            name < p->t && name->kind == TOK_NAME)
            bind_opaque(s, name, stmt, p->t);
        return;
    }
    f->heuristics.len = 0;
    for (int32_t i = 0; i < decorators.len; i++)
        read_decorator(s, f, decorators.data[i], true, file, diag);
    int32_t errors = p->n_errors;
    Node *node = parse_def(p);
    node->list3 = decorators;
    if (!node->text.len) return;
    f->def = node;
    f->source = s;
    f->name = arena_strndup(&s->arena, node->text.data, node->text.len);
    if (p->n_errors == errors) check_names(node, file, diag);
    read_cards(s, f, stmt->begin);
    vec_push(&s->arena, &s->funcs, f);
    bind(s, (Binding){.name = node->text,
                      .kind = BIND_JIT,
                      .func = f,
                      .begin = def[1].begin,
                      .end = def[1].end,
                      .stmt_begin = stmt->begin,
                      .stmt_end = p->t[-1].end});
}

// ---- module statements ------------------------------------------------------------------------

static void read_block(Source *s, Parser *p, int32_t file, Diag *diag);

/// NAME = expr or NAME: annotation = expr; anything else on the line is opaque.
static void read_assignment(Source *s, Parser *p)
{
    const Token *stmt = p->t;
    bool annotated = stmt[1].id == T_COLON;
    Diag *real = p->diag;
    int32_t errors = p->n_errors;
    p->diag = NULL;
    Node *n = parse_statement(p);
    bool ok = !p->failed && p->t[-1].kind == TOK_NEWLINE;
    bool simple = ok && (n->kind == NODE_ANNOTATED ? n->a->kind == NODE_NAME && n->c
                                                   : n->kind == NODE_ASSIGN && n->list.len == 1 &&
                                                         n->list.data[0]->kind == NODE_NAME);
    p->diag = real;
    p->n_errors = errors;
    p->failed = false;
    p->depth = 0;
    p->t = stmt;
    parse_skip_statement(p);
    if (!simple) {
        for (const Token *t = stmt; t < p->t;
             t++) // a, b = ... and a = b = ...: names before the last `=`
            if (t->kind == TOK_NAME &&
                (t[1].id == T_ASSIGN || t[1].id == T_COMMA || t[1].id == T_COLON))
                bind_opaque(s, t, stmt, p->t);
            else if (t->kind != TOK_NAME && t->id != T_COMMA && t->id != T_ASSIGN &&
                     t->id != T_COLON)
                break;
        return;
    }
    Binding b = {.name = text_of(s, stmt),
                 .kind = BIND_EXPR,
                 .expr = annotated ? n->c : n->a,
                 .begin = stmt->begin,
                 .end = stmt->end,
                 .stmt_begin = stmt->begin,
                 .stmt_end = p->t[-1].begin};
    if (annotated) b.is_constexpr = str_is(source_path_of(s, &s->arena, n->b), "tl.constexpr");
    bind(s, b);
}

/// Moves to the suite of a compound statement's head. @return false: the suite is on the same line
static bool enter_suite(Parser *p)
{
    while (p->t->kind != TOK_NEWLINE && p->t->kind != TOK_END)
        p->t++;
    if (p->t->kind == TOK_NEWLINE) p->t++;
    if (p->t->kind != TOK_INDENT) return false;
    p->t++;
    return true;
}

/// Processes or skips the suite that follows the head at p->t.
static void read_suite(Source *s, Parser *p, bool take, int32_t file, Diag *diag)
{
    if (!take) {
        parse_skip_statement(p);
        return;
    }
    if (!enter_suite(p)) return;
    read_block(s, p, file, diag);
    if (p->t->kind == TOK_DEDENT) p->t++;
}

/// Is the `if` test between `begin` and the colon true? Unknown: false, with `*known` cleared.
static bool test_holds(Source *s, Parser *p, bool *known)
{
    Parser q = *p;
    q.t++;
    q.diag = NULL;
    Node *test = parse_expr(&q);
    HostEval h = host_eval_new(s, &s->arena);
    Val v = q.failed ? val_of(VAL_OPAQUE) : host_eval(&h, test, NULL);
    bool truth = false;
    *known = v.kind != VAL_OPAQUE && v.kind != VAL_ABSENT && const_truth(v, &truth);
    return truth;
}

/// if/elif/else: the taken suite; without a known test the `else` when there is one, else the `if`
/// (W0207).
static void read_if(Source *s, Parser *p, int32_t file, Diag *diag)
{
    const Token *head = p->t;
    const Token *else_at = NULL;
    bool taken = false, unknown = false;
    const Token *first = p->t;
    while (p->t->id == T_KW_IF || p->t->id == T_KW_ELIF) {
        if (p->t->id == T_KW_IF && p->t != first) break;
        bool known, holds = test_holds(s, p, &known);
        unknown |= !known && !taken;
        bool take = known && holds && !taken && !unknown;
        read_suite(s, p, take, file, diag);
        taken |= take;
    }
    if (p->t->id == T_KW_ELSE) {
        else_at = p->t;
        read_suite(s, p, !taken, file, diag);
    } else if (unknown && !taken) {
        const Token *after = p->t;
        p->t = first;
        read_suite(s, p, true, file, diag);
        p->t = after;
    }
    if (unknown && !taken)
        diag_add(diag, DIAG_WARNING, "W0207", (Span){file, head->begin, head->end},
                 "this condition is not evaluated; the %s branch is used",
                 else_at ? "`else`" : "`if`");
}

/// try takes its body, `else` and `finally`.
static void read_try(Source *s, Parser *p, int32_t file, Diag *diag)
{
    read_suite(s, p, true, file, diag);
    while (p->t->id == T_KW_EXCEPT || p->t->id == T_KW_ELSE || p->t->id == T_KW_FINALLY)
        read_suite(s, p, p->t->id != T_KW_EXCEPT, file, diag);
}

/// Names that an opaque compound statement binds: class, loop and with targets.
static void read_opaque(Source *s, Parser *p)
{
    const Token *stmt = p->t;
    parse_skip_statement(p);
    if (stmt->id == T_KW_CLASS && stmt[1].kind == TOK_NAME) bind_opaque(s, stmt + 1, stmt, p->t);
    for (const Token *t = stmt + 1; stmt->id == T_KW_FOR && t < p->t && t->id != T_KW_IN; t++)
        if (t->kind == TOK_NAME) bind_opaque(s, t, stmt, p->t);
    for (const Token *t = stmt; stmt->id == T_KW_WITH && t < p->t && t->kind != TOK_NEWLINE; t++)
        if (t->id == T_KW_AS && t[1].kind == TOK_NAME) bind_opaque(s, t + 1, stmt, p->t);
}

static void read_block(Source *s, Parser *p, int32_t file, Diag *diag)
{
    while (p->t->kind != TOK_END && p->t->kind != TOK_DEDENT) {
        const Token *before = p->t;
        switch (p->t->id) {
        case T_MATMUL:
        case T_KW_DEF:
            read_function(s, p, file, diag);
            break;
        case T_KW_IMPORT:
        case T_KW_FROM: {
            const Token *stmt = p->t;
            parse_skip_statement(p);
            if (stmt->id == T_KW_IMPORT)
                read_import(s, stmt, p->t);
            else
                read_from(s, stmt, p->t);
            break;
        }
        case T_KW_IF:
            read_if(s, p, file, diag);
            break;
        case T_KW_TRY:
            read_try(s, p, file, diag);
            break;
        default:
            if (p->t->kind == TOK_NAME &&
                (p->t[1].id == T_ASSIGN || p->t[1].id == T_COLON || p->t[1].id == T_COMMA))
                read_assignment(s, p);
            else
                read_opaque(s, p);
        }
        if (p->t == before) p->t++; // a stray INDENT; never stand still
    }
}

typedef struct CallerCx {
    Source *s;
    JitFunc *self;
} CallerCx;

static bool mark_callee(const Node *n, void *user)
{
    CallerCx *cx = user;
    if (n->kind != NODE_NAME) return true;
    Binding *b = map_get(&cx->s->names, n->text);
    if (b && b->kind == BIND_JIT && b->func != cx->self) b->func->has_caller = true;
    return true;
}

static void find_kernels(Source *s)
{
    for (int32_t i = 0; i < s->funcs.len; i++) {
        CallerCx cx = {s, s->funcs.data[i]};
        for (int32_t k = 0; k < s->funcs.data[i]->def->list2.len; k++)
            ast_walk(s->funcs.data[i]->def->list2.data[k], mark_callee, &cx);
    }
    for (int32_t i = 0; i < s->funcs.len; i++) {
        JitFunc *f = s->funcs.data[i];
        Binding *b = map_get(&s->names, str_of(f->name));
        bool current =
            b && b->kind == BIND_JIT && b->func == f; // not replaced by a later definition
        if (current && (!f->has_caller || f->cards.len)) vec_push(&s->arena, &s->kernels, f);
    }
}

KilnStatus source_from_text(const char *path, Str text, Source **out, Diag *diag)
{
    *out = NULL;
    Source *s = heap_new(heap_default(), Source);
    if (!s) return fail(diag, KILN_ERR_NOMEM, "K301", "%s: no memory to read the file", path);
    arena_init(&s->arena, heap_default());
    s->path = arena_strdup(&s->arena, path);
    s->text = (Str){arena_strndup(&s->arena, text.data, text.len), text.len};
    int32_t file = source_diag_file(s, diag);
    int32_t errors = diag ? diag->n_errors : 0;
    KilnStatus st = lex_file(&s->arena, s->text, file, &s->tokens, diag);
    if (st == KILN_OK) {
        Parser p = parser_new(&s->arena, s->text, &s->tokens, file, diag);
        read_block(s, &p, file, diag);
        find_kernels(s);
        if (p.n_errors || (diag && diag->n_errors > errors)) st = KILN_ERR_INPUT;
    }
    if (st != KILN_OK)
        source_close(s);
    else
        *out = s;
    return st;
}

KilnStatus source_open(const char *path, Source **out, Diag *diag)
{
    StrBuf text = {0};
    *out = NULL;
    KilnStatus st = file_read(path, &text, diag);
    if (st == KILN_OK)
        st = source_from_text(path, (Str){text.data ? text.data : "", text.len}, out, diag);
    strbuf_free(&text);
    return st;
}

void source_close(Source *s)
{
    if (!s) return;
    arena_reset(&s->arena);
    heap_free(heap_default(), s);
}

const char *source_path(const Source *s)
{
    return s->path;
}

int32_t source_n_kernels(const Source *s)
{
    return s->kernels.len;
}

const char *source_kernel(const Source *s, int32_t index)
{
    return s->kernels.data[index]->name;
}

JitFunc *source_func(const Source *s, Str name)
{
    Binding *b = map_get(&s->names, name);
    return b && b->kind == BIND_JIT ? b->func : NULL;
}

int32_t source_diag_file(const Source *s, Diag *diag)
{
    if (!diag) return -1;
    for (int32_t i = 0; i < diag->files.len; i++)
        if (!strcmp(diag->files.data[i].path, s->path) && str_eq(diag->files.data[i].text, s->text))
            return i;
    return diag_file(diag, s->path, s->text);
}
