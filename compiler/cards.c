#include "compiler/cards.h"

#include "compiler/hosteval.h"
#include "compiler/parse.h"

typedef VEC(Str) StrList;

/// Replaces the first braces by each of their alternatives in turn. @return 0 no braces, 1
/// replaced, -1 broken
static int32_t expand_first(Arena *arena, Str text, StrList *out)
{
    size_t open = 0;
    while (open < text.len && text.data[open] != '{')
        open++;
    if (open == text.len) return 0;
    size_t end = special_balanced(text, open);
    if (!end) return -1;
    size_t from = open + 1;
    for (size_t i = from; i < end; i++) {
        char c = text.data[i];
        if (strchr("([{", c)) {
            i = special_balanced(text, i) - 1;
            continue;
        }
        if (c != ',' && i != end - 1) continue;
        Str one = special_trim((Str){text.data + from, i - from});
        char *joined = arena_printf(arena, "%.*s%.*s%.*s", (int)open, text.data, STR_ARG(one),
                                    (int)(text.len - end), text.data + end);
        vec_push(arena, out, str_of(joined));
        from = i + 1;
    }
    return 1;
}

bool cards_expand(Arena *arena, Str text, int32_t *n, Str **out)
{
    StrList now = {0};
    vec_push(arena, &now, text);
    for (bool again = true; again;) {
        StrList next = {0};
        again = false;
        for (int32_t i = 0; i < now.len; i++) {
            int32_t did = expand_first(arena, now.data[i], &next);
            if (did < 0 || next.len > CARD_MAX_PRODUCT) return false;
            if (did == 0) vec_push(arena, &next, now.data[i]);
            again |= did > 0;
        }
        now = next;
    }
    *n = now.len;
    *out = now.data;
    return true;
}

/// Bytes of the signature at the start of a card: name(...)[...]
static size_t signature_len(Str text)
{
    size_t at = 0;
    while (at < text.len && text.data[at] != '(')
        at++;
    size_t end = at < text.len ? special_balanced(text, at) : 0;
    if (!end) return 0;
    size_t next = end;
    while (next < text.len && text.data[next] == ' ')
        next++;
    if (next < text.len && text.data[next] == '[') {
        size_t closed = special_balanced(text, next);
        if (closed) end = closed;
    }
    return end;
}

/// The next `name=text` of `*rest`: the text ends at a blank outside brackets. @return false: none,
/// or broken
static bool next_let(Str *rest, Str *name, Str *value)
{
    *rest = special_trim(*rest);
    size_t eq = 0;
    while (eq < rest->len && rest->data[eq] != '=' && rest->data[eq] != ' ')
        eq++;
    if (eq == 0 || eq >= rest->len || rest->data[eq] != '=') return false;
    size_t i = eq + 1;
    while (i < rest->len && rest->data[i] != ' ' && rest->data[i] != '\t') {
        size_t end = strchr("([{", rest->data[i]) ? special_balanced(*rest, i) : i + 1;
        if (!end) return false;
        i = end;
    }
    *name = (Str){rest->data, eq};
    *value = (Str){rest->data + eq + 1, i - eq - 1};
    rest->data += i;
    rest->len -= i;
    return true;
}

/// "(a, b)" ==> up to three texts.
static bool read_grid(Arena *arena, Str text, Card *card)
{
    if (text.len >= 2 && text.data[0] == '(' && special_balanced(text, 0) == text.len)
        text = (Str){text.data + 1, text.len - 2};
    int32_t n = 0;
    while (special_trim(text).len) {
        size_t i = 0;
        while (i < text.len && text.data[i] != ',') {
            size_t end = strchr("([{", text.data[i]) ? special_balanced(text, i) : 0;
            i = end ? end : i + 1;
        }
        Str one = special_trim((Str){text.data, MIN(i, text.len)});
        if (n == 3 || !one.len) return false;
        card->grid[n++] = arena_strndup(arena, one.data, one.len);
        size_t used = MIN(i + 1, text.len);
        text = (Str){text.data + used, text.len - used};
    }
    return n > 0;
}

static KilnStatus read_card(const Source *s, const CardText *text, Arena *arena, int32_t *n,
                            Card **out, int32_t *cap, Diag *diag)
{
    const char *where = arena_printf(arena, "%s:%d", source_path(s), text->line);
    size_t len = signature_len(text->text);
    if (!len)
        return fail(diag, KILN_ERR_INPUT, "K111",
                    "%s: a launch card begins with name(parameters), found `%.*s`", where,
                    (int)MIN(text->text.len, 60), text->text.data);
    Card card = {.line = text->line};
    Str rest = {text->text.data + len, text->text.len - len}, name, value;
    VEC(CardLet) lets = {0};
    while (next_let(&rest, &name, &value)) {
        if (str_is(name, "grid")) {
            if (!read_grid(arena, value, &card))
                return fail(diag, KILN_ERR_INPUT, "K111",
                            "%s: a grid has one to three extents, found `%.*s`", where,
                            STR_ARG(value));
            continue;
        }
        CardLet let = {arena_strndup(arena, name.data, name.len),
                       arena_strndup(arena, value.data, value.len)};
        vec_push(arena, &lets, let);
    }
    if (special_trim(rest).len)
        return fail(diag, KILN_ERR_INPUT, "K111",
                    "%s: a launch card has name=text after its signature, found `%.*s`", where,
                    (int)MIN(rest.len, 60), rest.data);
    card.n_lets = lets.len;
    card.lets = lets.data;
    int32_t n_texts;
    Str *texts;
    if (!cards_expand(arena, (Str){text->text.data, len}, &n_texts, &texts))
        return fail(diag, KILN_ERR_LIMIT, "K111",
                    "%s: the alternatives of a card may have at most %d combinations", where,
                    CARD_MAX_PRODUCT);
    for (int32_t i = 0; i < n_texts; i++) {
        KilnStatus st = special_parse(s, texts[i], where, arena, &card.spec, diag);
        if (st != KILN_OK) return st;
        if (*n == *cap) *out = vec_grown(arena, *out, *n, cap, sizeof(Card));
        (*out)[(*n)++] = card;
    }
    return KILN_OK;
}

KilnStatus source_cards(const Source *s, const char *func, Arena *arena, int32_t *n, Card **out,
                        Diag *diag)
{
    *n = 0;
    *out = NULL;
    int32_t cap = 0;
    const JitFunc *only = func ? source_func(s, str_of(func)) : NULL;
    if (func && !only)
        return fail(diag, KILN_ERR_INPUT, "K111", "%s: the file has no kernel `%s`", source_path(s),
                    func);
    for (int32_t i = 0; i < s->kernels.len; i++) {
        const JitFunc *f = s->kernels.data[i];
        if (only && f != only) continue;
        for (int32_t k = 0; k < f->cards.len; k++) {
            KilnStatus st = read_card(s, &f->cards.data[k], arena, n, out, &cap, diag);
            if (st != KILN_OK) return st;
        }
    }
    if (!only || only->cards.len) return KILN_OK;
    StrBuf form = {0};
    strbuf_printf(&form, "# kiln: %s(", only->name);
    for (int32_t i = 0; i < only->def->list.len; i++) {
        const Node *p = only->def->list.data[i];
        bool is_const = p->a && str_is(source_path_of(s, arena, p->a), "tl.constexpr");
        strbuf_printf(&form, "%s%.*s%s", i ? ", " : "", STR_ARG(p->text),
                      is_const ? "=..." : ": ...");
    }
    strbuf_puts(&form, ") grid=(...)");
    const char *hint = arena_printf(arena, "write above its decorators: %s", form.data);
    strbuf_free(&form);
    return fail_hint(diag, KILN_ERR_INPUT, "K112", hint, "%s: kernel `%s` has no launch card",
                     source_path(s), func);
}

KilnStatus card_eval(const char *text, int32_t n, const char *const *names, const int64_t *values,
                     int64_t *out, Diag *diag)
{
    Arena arena;
    arena_init(&arena, heap_default());
    const HostEnv *env = NULL;
    for (int32_t i = 0; i < n; i++) {
        HostEnv *e = arena_new(&arena, HostEnv);
        *e = (HostEnv){str_of(names[i]), val_int(values[i]), env};
        env = e;
    }
    Str s = str_of(text);
    const Node *node = parse_range(&arena, s, 0, (int32_t)MIN(s.len, (size_t)INT32_MAX), -1, NULL);
    HostEval h = host_eval_new(NULL, &arena);
    Val v = node ? host_eval(&h, node, env) : val_of(VAL_OPAQUE);
    if (v.kind == VAL_FLOAT && v.f == (double)(int64_t)v.f) v = val_int((int64_t)v.f);
    bool ok = val_is_integral(v) && val_as_int(v) == (Int128)(int64_t)val_as_int(v);
    *out = ok ? (int64_t)val_as_int(v) : 0;
    arena_reset(&arena);
    if (ok) return KILN_OK;
    return fail(diag, KILN_ERR_INPUT, "K113",
                "launch card: `%s` is not an integer expression over known names", text);
}
