#include "compiler/special.h"

#include "compiler/hosteval.h"
#include "compiler/parse.h"
#include "compiler/scope.h"

Str special_trim(Str s)
{
    while (s.len &&
           (s.data[0] == ' ' || s.data[0] == '\t' || s.data[0] == '\n' || s.data[0] == '\r'))
        s.data++, s.len--;
    while (s.len && strchr(" \t\r\n", s.data[s.len - 1]))
        s.len--;
    return s;
}

size_t special_balanced(Str text, size_t open)
{
    int32_t nest = 0;
    char quote = 0;
    for (size_t i = open; i < text.len; i++) {
        char c = text.data[i];
        if (quote) {
            if (c == quote) quote = 0;
        } else if (c == '"' || c == '\'') {
            quote = c;
        } else if (c == '(' || c == '[' || c == '{') {
            nest++;
        } else if (c == ')' || c == ']' || c == '}') {
            if (--nest == 0) return i + 1;
        }
    }
    return 0;
}

/// The next piece of `*rest` up to a comma outside brackets.
static Str next_piece(Str *rest)
{
    size_t i = 0;
    while (i < rest->len && rest->data[i] != ',') {
        size_t end = strchr("([{", rest->data[i]) ? special_balanced(*rest, i) : 0;
        i = end ? end : i + 1;
    }
    Str piece = special_trim((Str){rest->data, MIN(i, rest->len)});
    size_t used = MIN(i + 1, rest->len);
    rest->data += used;
    rest->len -= used;
    return piece;
}

/// One written parameter, before constants are evaluated.
typedef struct Written {
    Str name, text; ///< text: type or value
    bool is_const;
    bool done;
    SpecParam param;
} Written;

typedef struct Reading {
    const Source *source;
    const char *where;
    Arena *arena;
    Diag *diag;
} Reading;

static KilnStatus bad(Reading *r, const char *what, Str name)
{
    return fail_hint(r->diag, KILN_ERR_INPUT, "K111",
                     "write e.g. f(x: *f32:16, n: i32, stride: 1, m: None, BLOCK=128)[num_warps=4]",
                     "%s: %s `%.*s`", r->where, what, (int)MIN(name.len, 60), name.data);
}

/// `*f32:16`, `*kbf16`, `i32:16`, `f32`. @return false: not a type
static bool read_type(Str text, SpecParam *p)
{
    *p = (SpecParam){.name = p->name, .kind = SPEC_SCALAR};
    if (str_ends(text, ":16")) {
        p->divisible = true;
        text = special_trim((Str){text.data, text.len - 3});
    }
    if (str_starts(text, "*")) {
        p->kind = SPEC_PTR;
        text = special_trim((Str){text.data + 1, text.len - 1});
        if (str_starts(text, "k") || str_starts(text, "const ")) {
            size_t n = text.data[0] == 'k' ? 1 : 6;
            p->is_const_ptr = true;
            text = special_trim((Str){text.data + n, text.len - n});
        }
    }
    p->dtype = str_is(text, "u1") ? DTYPE_I1 : dtype_from_name(text.data, text.len);
    return p->dtype != DTYPE_VOID;
}

static bool to_const(Arena *arena, Val v, SpecConst *out)
{
    *out = (SpecConst){0};
    switch (v.kind) {
    case VAL_NONE:
        out->kind = CONST_NONE;
        return true;
    case VAL_BOOL:
        out->kind = CONST_BOOL, out->i = v.b;
        return true;
    case VAL_INT:
        out->kind = CONST_INT, out->i = (int64_t)v.i;
        return v.i == (Int128)out->i;
    case VAL_FLOAT:
        out->kind = CONST_FLOAT, out->f = v.f;
        return true;
    case VAL_STR:
        out->kind = CONST_STR, out->s = arena_strndup(arena, v.s.data, v.s.len);
        return true;
    case VAL_DTYPE:
        out->kind = CONST_DTYPE, out->i = v.type.dtype;
        return !v.type.is_ptr && !v.type.rank;
    default:
        return false;
    }
}

Val special_value(SpecConst c)
{
    switch (c.kind) {
    case CONST_NONE:
        return val_of(VAL_NONE);
    case CONST_BOOL:
        return val_bool(c.i != 0);
    case CONST_INT:
        return val_int(c.i);
    case CONST_FLOAT:
        return val_float(c.f);
    case CONST_STR:
        return val_str(str_of(c.s));
    case CONST_DTYPE:
        return val_dtype((DType)c.i);
    }
    return val_of(VAL_NONE);
}

/// Evaluates constants that others may name, until nothing changes.
static KilnStatus resolve(Reading *r, int32_t n, Written *w)
{
    const Node **exprs = arena_array(r->arena, const Node *, n + 1);
    for (int32_t i = 0; i < n; i++) {
        if (!w[i].is_const || w[i].done) continue;
        Str copy = {arena_strndup(r->arena, w[i].text.data, w[i].text.len), w[i].text.len};
        exprs[i] = parse_range(r->arena, copy, 0, (int32_t)copy.len, -1, NULL);
        if (!exprs[i]) return bad(r, "not a type or a value:", w[i].text);
    }
    bool progress = true;
    while (progress) {
        progress = false;
        const HostEnv *env = NULL;
        for (int32_t i = 0; i < n; i++) {
            if (!w[i].is_const || !w[i].done) continue;
            HostEnv *e = arena_new(r->arena, HostEnv);
            *e = (HostEnv){w[i].name, special_value(w[i].param.value), env};
            env = e;
        }
        for (int32_t i = 0; i < n; i++) {
            if (!w[i].is_const || w[i].done) continue;
            HostEval h = host_eval_new(r->source, r->arena);
            Val v = host_eval(&h, exprs[i], env);
            DType t = dtype_from_name(w[i].text.data, w[i].text.len);
            if (v.kind == VAL_OPAQUE && t != DTYPE_VOID) v = val_dtype(t);
            w[i].done = to_const(r->arena, v, &w[i].param.value);
            progress |= w[i].done;
        }
    }
    for (int32_t i = 0; i < n; i++)
        if (w[i].is_const && !w[i].done)
            return bad(r, "this value cannot be evaluated:", w[i].text);
    return KILN_OK;
}

static KilnStatus read_option(Reading *r, Str text, Spec *out)
{
    const char *eq = memchr(text.data, '=', text.len);
    if (!eq) return bad(r, "an option needs `=`:", text);
    Str name = special_trim((Str){text.data, (size_t)(eq - text.data)});
    Str value = special_trim((Str){eq + 1, text.len - (size_t)(eq + 1 - text.data)});
    Str copy = {arena_strndup(r->arena, value.data, value.len), value.len};
    const Node *n = parse_range(r->arena, copy, 0, (int32_t)copy.len, -1, NULL);
    HostEval h = host_eval_new(r->source, r->arena);
    Val v = host_eval(&h, n, NULL);
    int32_t i;
    bool ok = val_fits_i32(v, &i);
    bool flag = ok && (i == 0 || i == 1);
    if (str_is(name, "num_warps") && ok && is_pow2(i) && i <= 32)
        out->num_warps = i;
    else if (str_is(name, "num_stages") && ok && i >= 1 && i <= 16)
        out->num_stages = i;
    else if (str_is(name, "maxnreg") && ok && i >= 16 && i <= 255)
        out->maxnreg = i;
    else if ((str_is(name, "fp_fusion") || str_is(name, "enable_fp_fusion")) && flag)
        out->fp_fusion = i;
    else if (str_is(name, "debug") && flag)
        out->debug = i;
    else
        return bad(r, "unknown option or bad value:", text);
    return KILN_OK;
}

/// Parameters that the text leaves out: heuristics where a decorator has one, else the default.
static KilnStatus fill_in(Reading *r, const JitFunc *f, Spec *spec, const bool *given)
{
    for (int32_t pass = 0; pass < 2; pass++) {
        for (int32_t i = 0; i < spec->n_params; i++) {
            const Node *param = f->def->list.data[i];
            if (given[i] || (pass == 0 && !param->b)) continue;
            HostEval h = host_eval_new(r->source, r->arena);
            Val v = val_of(VAL_ABSENT), args = {.kind = VAL_DICT};
            for (int32_t k = 0; pass == 1 && k < spec->n_params; k++) {
                if (!given[k] && !spec->params[k].name) continue;
                bool is_const = spec->params[k].kind == SPEC_CONST;
                Val arg = is_const ? special_value(spec->params[k].value)
                                   : val_dtype(spec->params[k].dtype);
                args = host_dict_with(r->arena, args, val_str(f->def->list.data[k]->text), arg);
            }
            for (int32_t k = 0; pass == 1 && k < f->heuristics.len; k++) {
                Val dict = host_eval(&h, f->heuristics.data[k], NULL);
                for (int32_t e = 0; dict.kind == VAL_DICT && e < dict.n; e++)
                    if (val_equal(dict.items[2 * e], val_str(param->text)))
                        v = host_call(&h, dict.items[2 * e + 1], 1, &args);
            }
            if (v.kind == VAL_ABSENT && param->b) v = host_eval(&h, param->b, NULL);
            SpecConst c;
            if (!to_const(r->arena, v, &c)) {
                if (pass == 0) continue;
                return bad(r, "no type or value is given for the parameter", param->text);
            }
            spec->params[i].kind = SPEC_CONST;
            spec->params[i].value = c;
            spec->params[i].name = arena_strndup(r->arena, param->text.data, param->text.len);
        }
    }
    return KILN_OK;
}

static bool wants_constexpr(const Reading *r, const Node *param)
{
    return param->a && str_is(source_path_of(r->source, r->arena, param->a), "tl.constexpr");
}

/// A type without a name belongs to the next run-time parameter: `f(*f32:16, i32, BLOCK=128)`.
/// @return its index, or params->len when `piece` is no bare type
static int32_t positional(const Reading *r, const NodeList *params, const bool *given, Str piece)
{
    SpecParam type;
    if (memchr(piece.data, '=', piece.len) || !read_type(special_trim(piece), &type))
        return params->len;
    int32_t i = 0;
    while (i < params->len && (given[i] || wants_constexpr(r, params->data[i])))
        i++;
    return i;
}

static KilnStatus read_params(Reading *r, const JitFunc *f, Str inside, Spec *out)
{
    const NodeList *params = &f->def->list;
    Written *w = arena_array(r->arena, Written, params->len + 1);
    bool *given = arena_array(r->arena, bool, params->len + 1);
    int32_t *at = arena_array(r->arena, int32_t, params->len + 1);
    int32_t n = 0;
    while (special_trim(inside).len) {
        Str piece = next_piece(&inside);
        size_t i = 0;
        while (i < piece.len && piece.data[i] != ':' && piece.data[i] != '=')
            i++;
        Str name = special_trim((Str){piece.data, i});
        int32_t index = positional(r, params, given, piece);
        bool is_positional = index < params->len;
        if (is_positional)
            name = params->data[index]->text, i = 0;
        else
            for (index = 0; index < params->len && !str_eq(params->data[index]->text, name);)
                index++;
        if (i == piece.len || index == params->len || given[index])
            return bad(r,
                       i == piece.len         ? "a parameter needs a type or a value:"
                       : index == params->len ? "the kernel has no parameter"
                                              : "this parameter is given twice:",
                       name);
        given[index] = true;
        Written *p = &w[n];
        at[n++] = index;
        p->name = name;
        p->text = is_positional ? special_trim(piece)
                                : special_trim((Str){piece.data + i + 1, piece.len - i - 1});
        p->is_const = (!is_positional && piece.data[i] == '=') || !read_type(p->text, &p->param);
        if (p->is_const) p->param = (SpecParam){.kind = SPEC_CONST};
        if (!p->is_const && wants_constexpr(r, params->data[index]))
            return bad(r, "a tl.constexpr parameter needs a value, not a type:", name);
    }
    KilnStatus st = resolve(r, n, w);
    if (st != KILN_OK) return st;
    for (int32_t i = 0; i < n; i++) {
        out->params[at[i]] = w[i].param;
        out->params[at[i]].name = arena_strndup(r->arena, w[i].name.data, w[i].name.len);
    }
    return fill_in(r, f, out, given);
}

KilnStatus special_parse(const Source *s, Str text, const char *where, Arena *arena, Spec *out,
                         Diag *diag)
{
    *out = (Spec){.num_warps = 4, .num_stages = 3, .fp_fusion = true};
    Reading r = {s, where, arena, diag};
    text = special_trim(text);
    size_t open = 0;
    while (open < text.len && text.data[open] != '(' && text.data[open] != '[')
        open++;
    Str name = special_trim((Str){text.data, open});
    const JitFunc *f = source_func(s, name);
    if (!f) return bad(&r, "the file has no kernel", name);
    out->func = arena_strdup(arena, f->name);
    out->n_params = f->def->list.len;
    out->params = arena_array(arena, SpecParam, out->n_params + 1);
    Str inside = {0};
    size_t at = open;
    if (at < text.len && text.data[at] == '(') {
        size_t end = special_balanced(text, at);
        if (!end) return bad(&r, "a bracket is never closed in", text);
        inside = (Str){text.data + at + 1, end - at - 2};
        at = end;
    }
    KilnStatus st = read_params(&r, f, inside, out);
    Str rest = special_trim((Str){text.data + at, text.len - at});
    if (st == KILN_OK && rest.len && rest.data[0] == '[') {
        size_t end = special_balanced(rest, 0);
        if (!end) return bad(&r, "a bracket is never closed in", rest);
        Str options = {rest.data + 1, end - 2};
        while (st == KILN_OK && special_trim(options).len)
            st = read_option(&r, next_piece(&options), out);
        rest = special_trim((Str){rest.data + end, rest.len - end});
    }
    if (st == KILN_OK && rest.len) return bad(&r, "nothing may follow the options, found", rest);
    if (f->debug) out->debug = true;
    return st;
}

KilnStatus spec_parse(const Source *s, Str text, Arena *arena, Spec *out, Diag *diag)
{
    return special_parse(s, text, source_path(s), arena, out, diag);
}

const char *spec_text(Arena *arena, const Spec *spec)
{
    StrBuf b = {0};
    strbuf_printf(&b, "%s(", spec->func);
    for (int32_t i = 0; i < spec->n_params; i++) {
        const SpecParam *p = &spec->params[i];
        if (i) strbuf_puts(&b, ", ");
        if (p->kind == SPEC_CONST) {
            bool bare = p->value.kind == CONST_NONE;
            strbuf_printf(&b, "%s%s", p->name, bare ? ": " : "=");
            val_print(&b, special_value(p->value), true);
            continue;
        }
        const DTypeFacts *t = &dtype_facts[p->dtype];
        strbuf_printf(&b, "%s: %s%s%s%s", p->name, p->kind == SPEC_PTR ? "*" : "",
                      p->is_const_ptr ? "k" : "", t->is_float ? t->tl : t->name,
                      p->divisible ? ":16" : "");
    }
    strbuf_printf(&b, ")[num_warps=%d, num_stages=%d", spec->num_warps, spec->num_stages);
    if (spec->maxnreg) strbuf_printf(&b, ", maxnreg=%d", spec->maxnreg);
    if (!spec->fp_fusion) strbuf_puts(&b, ", fp_fusion=False");
    if (spec->debug) strbuf_puts(&b, ", debug=True");
    strbuf_puts(&b, "]");
    const char *text = arena_strndup(arena, b.data, b.len);
    strbuf_free(&b);
    return text;
}
