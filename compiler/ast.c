#include "compiler/ast.h"

const char *const node_names[NODE_KIND_COUNT] = {
#define NODE(NAME, text) text,
#include "compiler/ast.def"
#undef NODE
};

static void print_list(const char *label, const NodeList *list, int32_t indent, StrBuf *out)
{
    if (!list->len) return;
    if (label) strbuf_printf(out, "%*s%s\n", indent, "", label);
    for (int32_t i = 0; i < list->len; i++)
        ast_print(list->data[i], indent + (label ? 2 : 0), out);
}

/// What the second and third list of a node are, for the reader of a tree.
static const char *list_label(NodeKind kind, int32_t which)
{
    bool suite = kind == NODE_IF || kind == NODE_FOR || kind == NODE_WHILE;
    if (suite) return which == 0 ? "body:" : "else:";
    if (kind == NODE_FUNC) return which == 0 ? "parameters:" : which == 1 ? "body:" : "decorators:";
    return NULL;
}

void ast_print(const Node *n, int32_t indent, StrBuf *out)
{
    strbuf_printf(out, "%*s", indent, "");
    if (!n) {
        strbuf_puts(out, "-\n");
        return;
    }
    strbuf_puts(out, node_names[n->kind]);
    if (n->op) strbuf_printf(out, " %s", token_text(n->op));
    if (n->text.len || n->kind == NODE_STRING) {
        strbuf_puts(out, n->kind == NODE_STRING ? " \"" : " ");
        strbuf_json(out, n->text.data, n->text.len);
        if (n->kind == NODE_STRING) strbuf_putc(out, '"');
    }
    if (n->kind == NODE_INT) strbuf_printf(out, " %lld", (long long)n->i);
    if (n->kind == NODE_FLOAT) strbuf_printf(out, " %.17g", n->f);
    for (int32_t i = 0; n->ops && i < n->list.len - 1; i++)
        strbuf_printf(out, " %s", token_text(n->ops[i]));
    strbuf_printf(out, "  @%d:%d\n", n->begin, n->end);
    print_list(n->list3.len ? list_label(n->kind, 2) : NULL, &n->list3, indent + 2, out);
    bool slice = n->kind == NODE_SLICE;
    if (n->a || slice) ast_print(n->a, indent + 2, out);
    if (n->b || slice) ast_print(n->b, indent + 2, out);
    if (n->c || slice) ast_print(n->c, indent + 2, out);
    print_list(list_label(n->kind, 0), &n->list, indent + 2, out);
    print_list(list_label(n->kind, 1), &n->list2, indent + 2, out);
}

void ast_walk(const Node *n, bool (*visit)(const Node *node, void *user), void *user)
{
    if (!n || !visit(n, user)) return;
    const NodeList *lists[] = {&n->list3, &n->list, &n->list2};
    ast_walk(n->a, visit, user);
    ast_walk(n->b, visit, user);
    ast_walk(n->c, visit, user);
    for (int32_t k = 0; k < 3; k++)
        for (int32_t i = 0; i < lists[k]->len; i++)
            ast_walk(lists[k]->data[i], visit, user);
}

typedef struct Assigned {
    Arena *arena;
    NameList *names;
} Assigned;

static void add_name(Assigned *to, Str name)
{
    VEC_EACH(Str, it, to->names)
        if (str_eq(*it, name)) return;
    vec_push(to->arena, to->names, name);
}

static void add_target(Assigned *to, const Node *t)
{
    if (t->kind == NODE_NAME) add_name(to, t->text);
    if (t->kind == NODE_TUPLE || t->kind == NODE_LIST)
        for (int32_t i = 0; i < t->list.len; i++)
            add_target(to, t->list.data[i]);
}

static bool collect_assigned(const Node *n, void *user)
{
    if (n->kind == NODE_FUNC || n->kind == NODE_LAMBDA || n->kind == NODE_COMP) return false;
    if (n->kind == NODE_ASSIGN)
        for (int32_t i = 0; i < n->list.len; i++)
            add_target(user, n->list.data[i]);
    if (n->kind == NODE_ANNOTATED || n->kind == NODE_AUGMENTED || n->kind == NODE_FOR ||
        n->kind == NODE_WALRUS)
        add_target(user, n->a);
    return true;
}

void ast_assigned(Arena *arena, const NodeList *list, NameList *names)
{
    Assigned to = {arena, names};
    for (int32_t i = 0; i < list->len; i++)
        ast_walk(list->data[i], collect_assigned, &to);
}

typedef struct Search {
    NodeKind kind;
    bool found;
} Search;

static bool look(const Node *n, void *user)
{
    Search *s = user;
    if (n->kind == NODE_FUNC) return false;
    if (n->kind == s->kind) s->found = true;
    return !s->found;
}

bool ast_contains(const NodeList *list, NodeKind kind)
{
    Search s = {kind, false};
    for (int32_t i = 0; i < list->len && !s.found; i++)
        ast_walk(list->data[i], look, &s);
    return s.found;
}
