// A recursive-descent reader of the text form; one function per construct of ir/text.h.
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdlib.h>

#include "ir/elem_eval.h"
#include "ir/layout.h"
#include "ir/text.h"

enum { MAX_DEPTH = 100, MAX_LIST = 4096 };

typedef struct Parser {
    Module *m;
    Func *func;
    const char *begin, *at, *end;
    int32_t file, depth;
    Map values;      ///< label -> Value of the current function
    jmp_buf failure; ///< the first mistake ends the parse
} Parser;

// ---- words --------------------------------------------------------------------------------------

static Span span_from(const Parser *p, const char *from)
{
    return (Span){p->file, (int32_t)(from - p->begin), (int32_t)(p->at - p->begin)};
}

NORETURN static void mistake(Parser *p, const char *from, const char *fmt, ...) PRINTF_LIKE(3, 4);

static void mistake(Parser *p, const char *from, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const char *text = arena_vprintf(p->m->arena, fmt, args);
    va_end(args);
    if (p->at <= from && from < p->end) p->at = from + 1;
    diag_add(p->m->diag, DIAG_ERROR, "", span_from(p, from), "%s", text);
    longjmp(p->failure, 1);
}

static void skip_space(Parser *p)
{
    while (p->at < p->end) {
        if (strchr(" \t\r\n", *p->at) && *p->at) {
            p->at++;
        } else if (*p->at == '/' && p->end - p->at > 1 && p->at[1] == '/') {
            while (p->at < p->end && *p->at != '\n')
                p->at++;
        } else {
            return;
        }
    }
}

static bool is_word_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/// The next word without consuming it; empty when there is none.
static Str peek_word(Parser *p)
{
    skip_space(p);
    const char *c = p->at;
    while (c < p->end && is_word_char(*c))
        c++;
    return (Str){p->at, (size_t)(c - p->at)};
}

static size_t word_length(Parser *p)
{
    return peek_word(p).len;
}

static Str word(Parser *p, const char *what)
{
    Str w = peek_word(p);
    if (!w.len) mistake(p, p->at, "expected %s", what);
    p->at += w.len;
    return w;
}

static bool accept_word(Parser *p, const char *text)
{
    if (!str_is(peek_word(p), text)) return false;
    p->at += strlen(text);
    return true;
}

static bool accept(Parser *p, const char *text)
{
    skip_space(p);
    size_t n = strlen(text);
    if ((size_t)(p->end - p->at) < n || memcmp(p->at, text, n) != 0) return false;
    p->at += n;
    return true;
}

static void expect(Parser *p, const char *text)
{
    if (!accept(p, text)) mistake(p, p->at, "expected `%s`", text);
}

static void expect_word(Parser *p, const char *text)
{
    if (!accept_word(p, text)) mistake(p, p->at, "expected `%s`", text);
}

/// A signed decimal; up to UINT64_MAX, which wraps.
static int64_t number(Parser *p, int64_t lo, uint64_t hi)
{
    skip_space(p);
    const char *from = p->at;
    bool negative = accept(p, "-");
    Str digits = word(p, "a number");
    uint64_t n = 0;
    for (size_t i = 0; i < digits.len; i++) {
        uint64_t d = (uint64_t)(digits.data[i] - '0');
        if (digits.data[i] < '0' || d > 9) mistake(p, from, "expected a number");
        if (n > (UINT64_MAX - d) / 10) mistake(p, from, "this number is too large");
        n = n * 10 + d;
    }
    if (negative ? n > 0 - (uint64_t)lo : n > hi) mistake(p, from, "this number is out of range");
    return (int64_t)(negative ? 0 - n : n);
}

static int32_t small_number(Parser *p)
{
    return (int32_t)number(p, INT32_MIN, INT32_MAX);
}

static const char *quoted(Parser *p)
{
    skip_space(p);
    const char *from = p->at;
    expect(p, "\"");
    char *out = arena_array(p->m->arena, char, p->end - p->at + 1);
    size_t n = 0;
    for (; p->at < p->end && *p->at != '"'; p->at++) {
        if (*p->at != '\\') {
            out[n++] = *p->at;
            continue;
        }
        static const char marks[] = "\"\\/ntrbf", meant[] = "\"\\/\n\t\r\b\f";
        if (++p->at == p->end) break;
        const char *mark = *p->at ? strchr(marks, *p->at) : NULL;
        if (mark) {
            out[n++] = meant[mark - marks];
        } else {
            char hex[5] = {0};
            if (*p->at != 'u' || p->end - p->at < 5) mistake(p, from, "unknown escape in a string");
            memcpy(hex, p->at + 1, 4);
            long code = strtol(hex, NULL, 16);
            if (code <= 0 || code > 0x7F) mistake(p, from, "unknown escape in a string");
            out[n++] = (char)code;
            p->at += 4;
        }
    }
    expect(p, "\"");
    return out;
}

// ---- types --------------------------------------------------------------------------------------

static DType dtype(Parser *p)
{
    skip_space(p);
    const char *from = p->at;
    Str name = word(p, "an element type");
    DType t = dtype_from_name(name.data, name.len);
    if (t == DTYPE_VOID) mistake(p, from, "unknown element type `%.*s`", STR_ARG(name));
    return t;
}

static const Type *pointer(Parser *p)
{
    expect(p, "<");
    bool is_const = accept_word(p, "const");
    DType t = dtype(p);
    expect(p, ">");
    return type_ptr(p->m, t, is_const);
}

static const Layout *layout_name(Parser *p)
{
    const char *from = p->at;
    Str name = word(p, "the name of a layout");
    const Layout *l = map_get(&p->m->layouts, name);
    if (!l) mistake(p, from, "no layout is named `#%.*s`", STR_ARG(name));
    return l;
}

/// "128x64xbf16" up to the element: extents, each followed by an x. Words run together, so split by hand.
static int32_t shape(Parser *p, int32_t *out)
{
    int32_t rank = 0;
    int64_t numel = 1;
    skip_space(p);
    while (p->at < p->end && *p->at >= '0' && *p->at <= '9') {
        const char *from = p->at;
        int64_t n = 0;
        while (p->at < p->end && *p->at >= '0' && *p->at <= '9' && n <= TYPE_MAX_NUMEL)
            n = n * 10 + (*p->at++ - '0');
        numel *= n;
        if (rank == TYPE_MAX_RANK) mistake(p, from, "a tile has at most %d axes", TYPE_MAX_RANK);
        if (!is_pow2(n)) mistake(p, from, "an extent is a power of two");
        if (numel > TYPE_MAX_NUMEL)
            mistake(p, from, "a tile has at most %d elements", TYPE_MAX_NUMEL);
        out[rank++] = (int32_t)n;
        expect(p, "x");
    }
    if (!rank) mistake(p, p->at, "expected the extents of a tile");
    return rank;
}

static const Type *type(Parser *p)
{
    int32_t dims[TYPE_MAX_RANK];
    if (accept_word(p, "token")) return type_token(p->m);
    if (accept_word(p, "ptr")) return pointer(p);
    bool is_buf = str_is(peek_word(p), "buf");
    if (!is_buf && !str_is(peek_word(p), "tile")) return type_scalar(p->m, dtype(p));
    word(p, "a type");
    expect(p, "<");
    int32_t rank = shape(p, dims), stages = 1;
    bool is_ptr = !is_buf && accept_word(p, "ptr");
    const Type *element = is_ptr ? pointer(p) : type_scalar(p->m, dtype(p));
    const Layout *layout = NULL;
    while (accept(p, ",")) {
        if (accept(p, "#")) {
            layout = layout_name(p);
        } else {
            expect_word(p, "stages");
            expect(p, "=");
            stages = (int32_t)number(p, 0, 64);
        }
    }
    expect(p, ">");
    if (is_buf) return type_buf(p->m, element->dtype, rank, dims, stages, layout);
    const Type *t = type_tile(p->m, element, rank, dims);
    return layout ? type_with_layout(p->m, t, layout) : t;
}

// ---- values -------------------------------------------------------------------------------------

typedef struct Label {
    Str key;
    const char *name; ///< NULL for none
    Span span;
} Label;

static Label label(Parser *p)
{
    skip_space(p);
    const char *from = p->at;
    expect(p, "%");
    Label l = {.key = word(p, "a value's label")};
    if (p->at < p->end && *p->at == '.') {
        p->at++;
        Str name = word(p, "a value's name");
        l.name = arena_strndup(p->m->arena, name.data, name.len);
    }
    l.span = span_from(p, from);
    return l;
}

static void define(Parser *p, Label l, Value *v)
{
    if (map_get(&p->values, l.key))
        mistake(p, l.key.data, "%%%.*s is defined twice", STR_ARG(l.key));
    map_put(p->m->arena, &p->values, l.key, v);
    v->name = l.name;
    v->span = l.span;
}

static Value *use(Parser *p)
{
    Label l = label(p);
    Value *v = map_get(&p->values, l.key);
    if (!v) mistake(p, l.key.data, "%%%.*s is not defined", STR_ARG(l.key));
    return v;
}

// ---- attributes ---------------------------------------------------------------------------------

/// The text of a constant, read once its type is known.
static Str constant_text(Parser *p)
{
    skip_space(p);
    const char *from = p->at;
    while (p->at < p->end && (is_word_char(*p->at) || strchr("+-.", *p->at)))
        p->at++;
    if (p->at == from) mistake(p, from, "expected a constant");
    return (Str){from, (size_t)(p->at - from)};
}

static Attr constant(Parser *p, Str text, const Type *t)
{
    if (t->is_ptr || !dtype_is_float(t->dtype)) {
        const char *after = p->at;
        p->at = text.data;
        int64_t i = number(p, INT64_MIN, UINT64_MAX);
        if (p->at != text.data + text.len) mistake(p, text.data, "expected an integer constant");
        p->at = after;
        if (!t->is_ptr && int_wrap(t->dtype, i) != i)
            mistake(p, text.data, "this constant does not fit its type");
        return (Attr){.i = i};
    }
    char copy[64] = {0}, *stop;
    if (text.len >= sizeof(copy)) mistake(p, text.data, "this constant is too long");
    memcpy(copy, text.data, text.len);
    double x = strtod(copy, &stop);
    if (*stop) mistake(p, text.data, "expected a floating-point constant");
    if (isnan(x)) return (Attr){.f = (double)NAN};
    bool saturates = t->dtype == DTYPE_F8E4M3; // the other formats have infinities
    return (Attr){.f = isinf(x) && !saturates ? x : float_round(t->dtype, x)};
}

static int64_t enum_value(Parser *p, const AttrFacts *facts)
{
    const char *from = p->at;
    Str name = word(p, "an attribute's value");
    for (int32_t i = 0; i < facts->n_names; i++)
        if (str_is(name, facts->names[i])) return i;
    mistake(p, from, "`%s` cannot be `%.*s`", facts->name, STR_ARG(name));
}

static void list_value(Parser *p, Attr *attr)
{
    VEC(int32_t) list = {0};
    expect(p, "[");
    while (!accept(p, "]")) {
        if (list.len) expect(p, ",");
        if (list.len == MAX_LIST) mistake(p, p->at, "this list is too long");
        int32_t n = small_number(p);
        vec_push(p->m->arena, &list, n);
    }
    attr->list = list.data;
    attr->n_list = list.len;
}

static void attr_value(Parser *p, const AttrFacts *facts, Attr *attr, Str *value)
{
    switch (facts->form) {
    case ATTR_FORM_VALUE:
        *value = constant_text(p);
        return;
    case ATTR_FORM_INT:
        attr->i = small_number(p);
        return;
    case ATTR_FORM_BOOL:
        attr->i = accept_word(p, "true");
        if (!attr->i) expect_word(p, "false");
        return;
    case ATTR_FORM_ENUM:
        attr->i = enum_value(p, facts);
        return;
    case ATTR_FORM_LIST:
        list_value(p, attr);
        return;
    case ATTR_FORM_TEXT:
        attr->text = quoted(p);
        return;
    }
}

/// Does "{key=" come next? A block's "{" is followed by an op.
static bool attrs_follow(Parser *p)
{
    const char *from = p->at;
    bool follow = accept(p, "{") && word_length(p) > 0;
    if (follow) {
        p->at += word_length(p);
        follow = accept(p, "=");
    }
    p->at = from;
    return follow;
}

/// "{k=v, ...}", if there. `value` receives the text of a constant.
static void attrs(Parser *p, OpKind kind, Attr *out, Str *value)
{
    const OpFacts *facts = &op_facts[kind];
    uint32_t seen = 0;
    skip_space(p);
    const char *from = p->at;
    if (facts->attrs[0] != ATTR_NONE && attrs_follow(p)) {
        expect(p, "{");
        do {
            skip_space(p);
            const char *at = p->at;
            Str name = word(p, "an attribute");
            int32_t i = 0;
            while (i < OP_MAX_ATTRS && facts->attrs[i] &&
                   !str_is(name, attr_facts[facts->attrs[i]].name))
                i++;
            if (i == OP_MAX_ATTRS || !facts->attrs[i])
                mistake(p, at, "%s has no attribute `%.*s`", facts->name, STR_ARG(name));
            expect(p, "=");
            attr_value(p, &attr_facts[facts->attrs[i]], &out[i], value);
            seen |= 1u << i;
        } while (accept(p, ","));
        expect(p, "}");
    }
    for (int32_t i = 0; i < OP_MAX_ATTRS && facts->attrs[i]; i++)
        if (!(seen >> i & 1) && !attr_facts[facts->attrs[i]].is_optional)
            mistake(p, from, "%s needs the attribute `%s`", facts->name,
                    attr_facts[facts->attrs[i]].name);
}

// ---- operations ---------------------------------------------------------------------------------

typedef VEC(Value *) Values;
typedef VEC(const Type *) Types;
typedef VEC(Label) Labels;

/// What an op's line says before its regions.
typedef struct Line {
    OpKind kind;
    ElemKind elem;
    Span span;
    Labels results;
    Values in;
    Types types;
    Attr attrs[OP_MAX_ATTRS];
    Str value; ///< text of a constant
} Line;

static void block(Parser *p, Region *r);

static void types(Parser *p, Types *out)
{
    if (!accept(p, ":")) return;
    do {
        const Type *t = type(p);
        vec_push(p->m->arena, out, t);
    } while (accept(p, ","));
}

/// " carry (%a = %x, ...)": labels of the arguments; initial values go to `in`.
static void carry(Parser *p, Labels *args, Values *in)
{
    if (!accept_word(p, "carry")) return;
    expect(p, "(");
    do {
        Label l = label(p);
        expect(p, "=");
        Value *v = use(p);
        vec_push(p->m->arena, args, l);
        vec_push(p->m->arena, in, v);
    } while (accept(p, ","));
    expect(p, ")");
}

/// Builds and links the op that `line` describes.
static Op *make(Parser *p, Line *line, Region *r, int32_t n_regions)
{
    const OpFacts *facts = &op_facts[line->kind];
    const char *name = line->kind == OP_ELEM ? elem_facts[line->elem].name : facts->name;
    const char *from = p->begin + line->span.begin;
    if (line->in.len < facts->min_in || (facts->max_in >= 0 && line->in.len > facts->max_in) ||
        (line->kind == OP_ELEM && line->in.len != elem_facts[line->elem].arity))
        mistake(p, from, "%s does not take %d operands", name, line->in.len);
    if (facts->n_out >= 0 && line->types.len != facts->n_out)
        mistake(p, from, "%s has %d results, not %d", name, facts->n_out, line->types.len);
    if (line->results.len != line->types.len)
        mistake(p, from, "%d labels for %d results", line->results.len, line->types.len);
    Op *op = op_new(p->m, line->kind, line->span, line->in.len, line->in.data, line->types.len,
                    line->types.data, n_regions);
    op->elem = line->elem;
    memcpy(op->attrs, line->attrs, sizeof(op->attrs));
    if (line->kind == OP_CONST) {
        if (line->types.data[0]->kind == TYPE_TOKEN || line->types.data[0]->kind == TYPE_BUF)
            mistake(p, from, "a constant is a scalar or a tile");
        op->attrs[0] = constant(p, line->value, line->types.data[0]);
    }
    op_insert(op, r, NULL);
    return op;
}

/// A region whose arguments have the types of `n` values after those of `first`.
static Region *region(Parser *p, Op *op, const Type *first, int32_t n, Value *const *like,
                      const Labels *args)
{
    const Type **arg_types = arena_array(p->m->arena, const Type *, n + 1);
    int32_t extra = first ? 1 : 0;
    if (first) arg_types[0] = first;
    for (int32_t i = 0; i < n; i++)
        arg_types[i + extra] = like[i]->type;
    if (args->len != n + extra)
        mistake(p, p->begin + op->span.begin, "%d labels for %d arguments", args->len, n + extra);
    Region *r = region_new(p->m, p->func, op, n + extra, arg_types);
    for (int32_t i = 0; i < args->len; i++)
        define(p, args->data[i], r->args[i]);
    return r;
}

static void define_results(Parser *p, const Line *line, Op *op)
{
    for (int32_t i = 0; i < op->n_out; i++) {
        Label l = line->results.data[i];
        define(p, l, &op->out[i]);
        op->out[i].span = op->span;
    }
}

static void parse_for(Parser *p, Line *line, Region *r)
{
    static const char *const words[] = {"to", "step"};
    Labels args = {0};
    Label i = label(p);
    vec_push(p->m->arena, &args, i);
    expect(p, "=");
    for (int32_t k = 0; k < 3; k++) {
        if (k) expect_word(p, words[k - 1]);
        Value *v = use(p);
        vec_push(p->m->arena, &line->in, v);
    }
    carry(p, &args, &line->in);
    attrs(p, OP_FOR, line->attrs, &line->value);
    types(p, &line->types);
    Op *op = make(p, line, r, 1);
    op->regions[0] = region(p, op, op->in[0]->type, op->n_in - 3, op->in + 3, &args);
    block(p, op->regions[0]);
    define_results(p, line, op);
}

static void parse_while(Parser *p, Line *line, Region *r)
{
    Labels args = {0}, again = {0};
    carry(p, &args, &line->in);
    types(p, &line->types);
    Op *op = make(p, line, r, 2);
    op->regions[0] = region(p, op, NULL, op->n_in, op->in, &args);
    op->regions[1] = region_new(p->m, p->func, op, 0, NULL);
    block(p, op->regions[0]);
    expect_word(p, "do");
    if (accept(p, "(")) {
        do {
            Label l = label(p);
            vec_push(p->m->arena, &again, l);
        } while (accept(p, ","));
        expect(p, ")");
    }
    op->regions[1] = region(p, op, NULL, op->n_in, op->in, &again);
    block(p, op->regions[1]);
    define_results(p, line, op);
}

static void parse_if(Parser *p, Line *line, Region *r)
{
    Value *cond = use(p);
    vec_push(p->m->arena, &line->in, cond);
    types(p, &line->types);
    Op *op = make(p, line, r, 2);
    for (int32_t i = 0; i < 2; i++)
        op->regions[i] = region_new(p->m, p->func, op, 0, NULL);
    block(p, op->regions[0]);
    if (accept_word(p, "else"))
        block(p, op->regions[1]);
    else
        op_insert(op_new(p->m, OP_YIELD, line->span, 0, NULL, 0, NULL, 0), op->regions[1], NULL);
    define_results(p, line, op);
}

/// The region of a reduce or scan: arguments with their types.
static Region *combine(Parser *p, Op *op)
{
    Labels args = {0};
    Types list = {0};
    expect(p, "(");
    do {
        Label l = label(p);
        expect(p, ":");
        const Type *t = type(p);
        vec_push(p->m->arena, &args, l);
        vec_push(p->m->arena, &list, t);
    } while (accept(p, ","));
    expect(p, ")");
    Region *r = region_new(p->m, p->func, op, list.len, list.data);
    for (int32_t i = 0; i < r->n_args; i++)
        define(p, args.data[i], r->args[i]);
    block(p, r);
    return r;
}

static void parse_plain(Parser *p, Line *line, Region *r)
{
    skip_space(p);
    if (p->at < p->end && *p->at == '%') {
        do { // not the next line's label: operation() has looked for the line's end

            Value *v = use(p);
            vec_push(p->m->arena, &line->in, v);
        } while (accept(p, ","));
    }
    attrs(p, line->kind, line->attrs, &line->value);
    types(p, &line->types);
    bool may_hold = line->kind == OP_REDUCE || line->kind == OP_SCAN;
    bool holds = may_hold && line->attrs[0].i == COMBINE_REGION;
    Op *op = make(p, line, r, holds ? 1 : 0);
    if (holds) op->regions[0] = combine(p, op);
    define_results(p, line, op);
}

static void op_name(Parser *p, Line *line)
{
    skip_space(p);
    const char *from = p->at;
    Str name = word(p, "an operation");
    line->span = span_from(p, from);
    for (int32_t i = 0; i < ELEM_KIND_COUNT; i++) {
        if (!str_is(name, elem_facts[i].name)) continue;
        line->kind = OP_ELEM;
        line->elem = (ElemKind)i;
        return;
    }
    for (int32_t i = 0; i < OP_KIND_COUNT; i++) {
        if (i == OP_ELEM || !str_is(name, op_facts[i].name)) continue;
        line->kind = (OpKind)i;
        return;
    }
    mistake(p, from, "unknown operation `%.*s`", STR_ARG(name));
}

/// Is there something other than a comment before the line ends?
static bool line_goes_on(const Parser *p)
{
    const char *c = p->at;
    while (c < p->end && (*c == ' ' || *c == '\t' || *c == '\r'))
        c++;
    return c < p->end && *c != '\n' && *c != '/' && *c != '}';
}

static void operation(Parser *p, Region *r)
{
    Line line = {0};
    skip_space(p);
    if (p->at < p->end && *p->at == '%') {
        do {
            Label l = label(p);
            vec_push(p->m->arena, &line.results, l);
        } while (accept(p, ","));
        expect(p, "=");
    }
    op_name(p, &line);
    if (!line_goes_on(p) && line.kind != OP_WHILE) { // a bare word: `yield`, `return`, `barrier`
        attrs(p, line.kind, line.attrs, &line.value);
        make(p, &line, r, 0);
        return;
    }
    switch (line.kind) {
    case OP_FOR:
        parse_for(p, &line, r);
        return;
    case OP_WHILE:
        parse_while(p, &line, r);
        return;
    case OP_IF:
        parse_if(p, &line, r);
        return;
    default:
        parse_plain(p, &line, r);
        return;
    }
}

static void block(Parser *p, Region *r)
{
    if (++p->depth > MAX_DEPTH) mistake(p, p->at, "regions are nested too deep");
    expect(p, "{");
    while (!accept(p, "}")) {
        skip_space(p);
        if (p->at == p->end) mistake(p, p->at, "expected `}`");
        operation(p, r);
    }
    p->depth--;
}

// ---- functions ----------------------------------------------------------------------------------

static void func_options(Parser *p, Func *fn)
{
    for (;;) {
        if (accept_word(p, "num_warps")) {
            expect(p, "=");
            fn->num_warps = (int32_t)number(p, 0, 64);
        } else if (accept_word(p, "num_stages")) {
            expect(p, "=");
            fn->num_stages = (int32_t)number(p, 0, 64);
        } else if (accept_word(p, "maxnreg")) {
            expect(p, "=");
            fn->maxnreg = (int32_t)number(p, 0, 255);
        } else if (accept_word(p, "fp_fusion")) {
            expect(p, "=");
            fn->fp_fusion = accept_word(p, "true");
            if (!fn->fp_fusion) expect_word(p, "false");
        } else {
            return;
        }
    }
}

static void function(Parser *p)
{
    Labels labels = {0};
    Types list = {0};
    VEC(int32_t) divisible = {0};
    skip_space(p);
    const char *from = p->at;
    expect(p, "@");
    Str name = word(p, "the function's name");
    Span span = span_from(p, from);
    expect(p, "(");
    while (!accept(p, ")")) {
        if (labels.len) expect(p, ",");
        Label l = label(p);
        expect(p, ":");
        const Type *t = type(p);
        int32_t align = 1;
        if (accept(p, "{")) {
            expect_word(p, "align");
            expect(p, "=");
            align = (int32_t)number(p, 0, 1 << 20);
            expect(p, "}");
        }
        vec_push(p->m->arena, &labels, l);
        vec_push(p->m->arena, &list, t);
        vec_push(p->m->arena, &divisible, align);
    }
    const char **names = arena_array(p->m->arena, const char *, labels.len + 1);
    for (int32_t i = 0; i < labels.len; i++)
        names[i] = labels.data[i].name;
    Func *fn = func_new(p->m, arena_strndup(p->m->arena, name.data, name.len), labels.len,
                        list.data, names);
    fn->span = span;
    p->func = fn;
    p->values = (Map){0};
    for (int32_t i = 0; i < labels.len; i++) {
        fn->params[i].divisible = divisible.data[i];
        define(p, labels.data[i], fn->params[i].value);
        fn->params[i].value->name = fn->params[i].name;
    }
    if (accept(p, "->")) {
        Types results = {0};
        do {
            const Type *t = type(p);
            vec_push(p->m->arena, &results, t);
        } while (accept(p, ","));
        fn->results = results.data;
        fn->n_results = results.len;
    }
    func_options(p, fn);
    block(p, fn->body);
}

static void layout_definition(Parser *p)
{
    Str name = word(p, "the name of a layout");
    expect(p, "=");
    skip_space(p);
    const char *from = p->at;
    while (p->at < p->end && *p->at != '\n')
        p->at++;
    Str text = {from, (size_t)(p->at - from)};
    while (text.len && strchr(" \t\r", text.data[text.len - 1]))
        text.len--;
    Layout *l = arena_new(p->m->arena, Layout);
    if (!layout_parse(text, l)) mistake(p, from, "this is not a layout");
    if (map_get(&p->m->layouts, name)) mistake(p, from, "#%.*s is defined twice", STR_ARG(name));
    module_add_layout(p->m, arena_strndup(p->m->arena, name.data, name.len), l);
}

static void file(Parser *p)
{
    for (;;) {
        skip_space(p);
        if (p->at == p->end) return;
        if (accept(p, "#"))
            layout_definition(p);
        else if (accept_word(p, "func"))
            function(p);
        else
            mistake(p, p->at, "expected `func` or a layout");
    }
}

KilnStatus module_parse(Module *m, const char *path, Str text)
{
    if (text.len > INT32_MAX / 2)
        return fail(m->diag, KILN_ERR_INPUT, "", "%s: the text is too large", path);
    const char *copy = arena_strndup(m->arena, text.data, text.len);
    Parser *p = arena_new(m->arena, Parser);
    p->m = m;
    p->begin = p->at = copy;
    p->end = copy + text.len;
    p->file = m->diag ? diag_file(m->diag, path, text) : -1;
    if (setjmp(p->failure)) return KILN_ERR_INPUT;
    file(p);
    return KILN_OK;
}
