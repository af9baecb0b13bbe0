#include "runtime/cards.h"

#include <math.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/random.h"

typedef struct Maker {
    Case *c;
    Random rng;
    bool last; ///< of alternatives
    Diag *diag;
} Maker;

const CaseWord *case_word(const Case *c, const char *name)
{
    for (int32_t i = c->words.len - 1; i >= 0; i--)
        if (!strcmp(c->words.data[i].name, name)) return &c->words.data[i];
    return NULL;
}

/// Uniform in [0, n); 0 for an n that a card should not have.
static int64_t below(Maker *m, int64_t n)
{
    return random_below(&m->rng, n > 0 ? n : 1);
}

static void put_number(Case *c, const char *name, double v)
{
    CaseWord w = {.name = name, .number = v};
    vec_push(&c->arena, &c->words, w);
}

// ---- words --------------------------------------------------------------------------------------------

static size_t bracket_end(const char *text, size_t at)
{
    int depth = 0;
    for (size_t i = at; text[i]; i++) {
        depth += (strchr("([{", text[i]) != NULL) - (strchr(")]}", text[i]) != NULL);
        if (depth == 0) return i;
    }
    return strlen(text);
}

/// Splits `text` at commas outside brackets. Arena.
static int32_t split_commas(Arena *a, const char *text, size_t len, const char **out, int32_t cap)
{
    int32_t n = 0, depth = 0;
    size_t begin = 0;
    for (size_t i = 0; i <= len; i++) {
        char ch = i < len ? text[i] : ',';
        if (depth == 0 && ch == ',') {
            if (i > begin && n < cap) out[n++] = arena_strndup(a, text + begin, i - begin);
            begin = i + 1;
        }
        depth += (ch == '(' || ch == '[' || ch == '{') - (ch == ')' || ch == ']' || ch == '}');
    }
    return n;
}

/// Replaces every {a,b,c} of `text` by one of its alternatives.
static const char *pick_alternatives(Maker *m, const char *text)
{
    const char *open = strchr(text, '{');
    if (!open) return text;
    Arena *a = &m->c->arena;
    size_t at = (size_t)(open - text), end = bracket_end(text, at);
    const char *alts[32];
    int32_t n = split_commas(a, text + at + 1, end - at - 1, alts, 32);
    const char *alt = n > 0 ? alts[m->last ? n - 1 : below(m, n)] : "";
    return pick_alternatives(
        m, arena_printf(a, "%.*s%s%s", (int)at, text, alt, text[end] ? text + end + 1 : ""));
}

static KilnStatus eval_number(Maker *m, const char *text, double *out)
{
    char *end;
    double v = strtod(text, &end);
    if (*text && !*end) {
        *out = v;
        return KILN_OK;
    }
    Case *c = m->c;
    const char *names[128];
    int64_t values[128], got = 0;
    int32_t n = 0;
    for (int32_t i = 0; i < c->words.len && n < 128; i++) {
        const CaseWord *w = &c->words.data[i];
        if (w->is_array || w->number != floor(w->number) || fabs(w->number) > 1e15) continue;
        names[n] = w->name;
        values[n++] = (int64_t)w->number;
    }
    KilnStatus st = card_eval(text, n, names, values, &got, m->diag);
    *out = (double)got;
    return st;
}

// ---- generators ---------------------------------------------------------------------------------------

enum { GEN_MAX_ARGS = 6 };
typedef struct GenArgs {
    double num[GEN_MAX_ARGS];
    const CaseWord *arr[GEN_MAX_ARGS];
    int64_t n; ///< elements to make
} GenArgs;

/// 0 for what no count or bound can be, so that products of two stay in range.
static int64_t integer(const GenArgs *g, int i)
{
    return fabs(g->num[i]) < 0x1p31 ? (int64_t)g->num[i] : 0;
}

static int64_t length_is_last(const GenArgs *g, int n_args)
{
    return integer(g, n_args - 1);
}
static int64_t length_second(const GenArgs *g, UNUSED int n_args)
{
    return integer(g, 1);
}
static int64_t length_next(const GenArgs *g, UNUSED int n_args)
{
    return integer(g, 1) + 1;
}
static int64_t length_product(const GenArgs *g, UNUSED int n_args)
{
    return integer(g, 0) * integer(g, 1);
}
static int64_t length_array(const GenArgs *g, UNUSED int n_args)
{
    return g->arr[0]->n;
}
static int64_t length_pages(const GenArgs *g, UNUSED int n_args)
{
    return g->arr[0]->n * integer(g, 3);
}
static int64_t length_visits(const GenArgs *g, UNUSED int n_args)
{
    return g->arr[0]->n * integer(g, 1);
}
static int64_t length_first(const GenArgs *g, UNUSED int n_args)
{
    return integer(g, 0);
}

static void make_randn(Maker *m, const GenArgs *g, double *out)
{
    for (int64_t i = 0; i < g->n; i++)
        out[i] = random_normal(&m->rng);
}
static void make_uniform(Maker *m, const GenArgs *g, double *out)
{
    for (int64_t i = 0; i < g->n; i++)
        out[i] = g->num[0] + (g->num[1] - g->num[0]) * random_unit(&m->rng);
}
static void make_zeros(UNUSED Maker *m, UNUSED const GenArgs *g, UNUSED double *out) {}
static void make_full(UNUSED Maker *m, const GenArgs *g, double *out)
{
    for (int64_t i = 0; i < g->n; i++)
        out[i] = g->num[0];
}
static void make_ints(Maker *m, const GenArgs *g, double *out)
{
    int64_t span = MAX(integer(g, 1) - integer(g, 0), 1);
    for (int64_t i = 0; i < g->n; i++)
        out[i] = (double)(integer(g, 0) + below(m, span));
}
static void make_iota(UNUSED Maker *m, const GenArgs *g, double *out)
{
    for (int64_t i = 0; i < g->n; i++)
        out[i] = (double)i;
}
static void shuffle(Maker *m, double *v, int64_t n)
{
    for (int64_t i = n - 1; i > 0; i--) {
        int64_t j = below(m, i + 1);
        double t = v[i];
        v[i] = v[j];
        v[j] = t;
    }
}
static void make_perm(Maker *m, const GenArgs *g, double *out)
{
    int64_t n = MAX(integer(g, 0), g->n);
    double *all = arena_array(&m->c->arena, double, n + 1);
    for (int64_t i = 0; i < n; i++)
        all[i] = (double)i;
    shuffle(m, all, n);
    memcpy(out, all, (size_t)g->n * sizeof *out);
}
static void make_picks(Maker *m, const GenArgs *g, double *out)
{
    make_perm(m, g, out);
    for (int64_t i = 0; i < g->n; i++)
        out[i]++;
}
static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}
static void make_ragged(Maker *m, const GenArgs *g, double *out)
{
    for (int64_t i = 1; i < g->n - 1; i++)
        out[i] = (double)below(m, MAX(integer(g, 0) + 1, 1));
    out[g->n - 1] = g->num[0];
    qsort(out, (size_t)g->n, sizeof *out, by_value);
}
static void make_segments(UNUSED Maker *m, const GenArgs *g, double *out)
{
    const CaseWord *starts = g->arr[0];
    for (int64_t s = 0; s + 1 < starts->n; s++)
        for (int64_t t = MAX((int64_t)starts->values[s], 0);
             t < (int64_t)starts->values[s + 1] && t < g->n; t++)
            out[t] = (double)s;
}
static void make_list_of(Maker *m, const GenArgs *g, double *out)
{
    int64_t per = MAX(integer(g, 1), 1);
    for (int64_t s = 0; s * per < g->n; s++) {
        bool shared = below(m, 2) == 0;
        for (int64_t i = 0; i < per; i++)
            out[s * per + i] = (double)(s * per + (shared ? 0 : i));
    }
}
static void make_spread(UNUSED Maker *m, const GenArgs *g, double *out)
{
    const CaseWord *lists = g->arr[0];
    int64_t per = integer(g, 1);
    for (int64_t s = 0; per > 1 && s * per < g->n; s++)
        out[s * per] = lists->values[s * per] == lists->values[s * per + 1];
}
static void make_len(Maker *m, const GenArgs *g, double *out)
{
    const CaseWord *slots = g->arr[1], *starts = g->arr[2];
    int64_t per = integer(g, 3), most = integer(g, 4);
    for (int64_t i = 0; i < g->n; i++)
        out[i] = (double)below(m, MAX(most + 1, 1));
    for (int64_t s = 0; s < slots->n && s + 1 < starts->n; s++) {
        int64_t least = (int64_t)(starts->values[s + 1] - starts->values[s]);
        for (int64_t i = 0; i < per; i++) {
            int64_t at = (int64_t)slots->values[s] * per + i;
            if (at >= 0 && at < g->n)
                out[at] = (double)(least + below(m, MAX(most - least + 1, 1)));
        }
    }
}
static void make_pages(Maker *m, const GenArgs *g, double *out)
{
    const CaseWord *spread = g->arr[1];
    int64_t asked = integer(g, 2), per = MAX(asked, 1), max_pages = integer(g, 3);
    if (max_pages < 1) return;
    int64_t n_groups = g->arr[0]->n / per * max_pages;
    double *groups = arena_array(&m->c->arena, double, n_groups + 1);
    for (int64_t i = 0; i < n_groups; i++)
        groups[i] = (double)i;
    shuffle(m, groups, n_groups);
    for (int64_t i = 0; i < n_groups; i++)
        for (int64_t j = 0; j < per; j++) {
            int64_t slot = i / max_pages;
            bool shared = slot * per < spread->n && spread->values[slot * per] != 0;
            out[(slot * per + j) * max_pages + i % max_pages] =
                groups[i] * (double)per + (double)(shared ? 0 : j);
        }
}
static void make_visit_counts(Maker *m, const GenArgs *g, double *out)
{
    for (int64_t i = 0; i < g->n; i++)
        out[i] = (double)below(m, MAX(integer(g, 1) + 1, 1));
}
static void make_visit_lists(Maker *m, const GenArgs *g, double *out)
{
    int64_t most = integer(g, 1);
    for (int64_t r = 0; r < g->arr[0]->n; r++) {
        double *row = out + r * most;
        int64_t n = MAX(MIN((int64_t)g->arr[0]->values[r], most), 0);
        for (int64_t i = 0; i < most; i++)
            row[i] = (double)i;
        shuffle(m, row, most);
        qsort(row, (size_t)n, sizeof *row, by_value);
    }
}

typedef struct Generator {
    const char *name;
    int n_args, n_arrays; ///< the first n_arrays are words made by generators
    int64_t (*length)(const GenArgs *, int n_args);
    void (*make)(Maker *, const GenArgs *, double *out);
} Generator;

static const Generator generators[] = {
    {"randn", 1, 0, length_is_last, make_randn},
    {"uniform", 3, 0, length_is_last, make_uniform},
    {"zeros", 1, 0, length_is_last, make_zeros},
    {"full", 2, 0, length_is_last, make_full},
    {"ints", 3, 0, length_is_last, make_ints},
    {"iota", 1, 0, length_is_last, make_iota},
    {"perm", 2, 0, length_is_last, make_perm},
    {"picks", 2, 0, length_is_last, make_picks},
    {"ragged", 2, 0, length_next, make_ragged},
    {"segments", 2, 1, length_second, make_segments},
    {"kv_list_of", 2, 0, length_product, make_list_of},
    {"kv_spread", 2, 1, length_array, make_spread},
    {"kv_len", 5, 3, length_array, make_len},
    {"kv_pages", 4, 2, length_pages, make_pages},
    {"visit_counts", 2, 0, length_first, make_visit_counts},
    {"visit_lists", 2, 1, length_visits, make_visit_lists},
};

static KilnStatus generate(Maker *m, const char *text, CaseWord *out);

/// sometimes(value, share, generator)
static KilnStatus generate_sometimes(Maker *m, const char *const *words, CaseWord *out)
{
    double value, share;
    KilnStatus st = eval_number(m, words[0], &value);
    if (st == KILN_OK) st = eval_number(m, words[1], &share);
    if (st == KILN_OK) st = generate(m, words[2], out);
    for (int64_t i = 0; st == KILN_OK && i < out->n; i++)
        if (random_unit(&m->rng) < share) out->values[i] = value;
    return st;
}

static KilnStatus generate(Maker *m, const char *text, CaseWord *out)
{
    Arena *a = &m->c->arena;
    const char *open = strchr(text, '(');
    if (!open) return fail(m->diag, KILN_ERR_INPUT, "K119", "`%s` is no generator", text);
    const char *words[GEN_MAX_ARGS];
    size_t name_len = (size_t)(open - text);
    int32_t n =
        split_commas(a, open + 1, bracket_end(text, name_len) - name_len - 1, words, GEN_MAX_ARGS);
    if (n == 3 && !strncmp(text, "sometimes(", 10)) return generate_sometimes(m, words, out);
    for (int32_t k = 0; k < COUNT_OF(generators); k++) {
        const Generator *gen = &generators[k];
        if (strlen(gen->name) != name_len || strncmp(gen->name, text, name_len) != 0 ||
            gen->n_args != n)
            continue;
        GenArgs g = {0};
        for (int32_t i = 0; i < n; i++) {
            g.arr[i] = case_word(m->c, words[i]);
            bool is_array = g.arr[i] && g.arr[i]->is_array;
            if (is_array != (i < gen->n_arrays))
                return fail(m->diag, KILN_ERR_INPUT, "K119", "%s: `%s` is %s", text, words[i],
                            is_array ? "an array, not a number" : "no array");
            if (is_array) continue;
            KilnStatus st = eval_number(m, words[i], &g.num[i]);
            if (st != KILN_OK) return st;
        }
        g.n = gen->length(&g, n);
        if (g.n < 0 || g.n > (1 << 26))
            return fail(m->diag, KILN_ERR_LIMIT, "K119", "%s makes %ld elements", text, (long)g.n);
        out->is_array = true;
        out->n = g.n;
        out->values = arena_array(a, double, g.n + 1);
        if (g.n) gen->make(m, &g, out->values);
        return KILN_OK;
    }
    return fail(m->diag, KILN_ERR_INPUT, "K119", "`%s` of a launch card is none of the generators",
                text);
}

static bool is_generator(const char *text)
{
    const char *open = strchr(text, '(');
    if (!open) return false;
    size_t len = (size_t)(open - text);
    if (len == 9 && !strncmp(text, "sometimes", 9)) return true;
    for (int32_t k = 0; k < COUNT_OF(generators); k++)
        if (strlen(generators[k].name) == len && !strncmp(generators[k].name, text, len))
            return true;
    return false;
}

// ---- memory -------------------------------------------------------------------------------------------

/// `bytes` between two guard pages. `side` 0: against the one after; 1: against the one before, off by `skew`.
static KilnStatus buffer_map(size_t bytes, bool aligned, bool at_end, size_t skew, CaseBuffer *out,
                             Diag *diag)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t inner = (size_t)round_up((int64_t)(bytes + 64), (int64_t)page);
    uint8_t *map = mmap(NULL, inner + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED || mprotect(map + page, inner, PROT_READ | PROT_WRITE))
        return fail(diag, KILN_ERR_NOMEM, "K119", "no memory for an argument of %zu bytes", bytes);
    uint8_t *at = at_end ? map + page + inner - bytes : map + page + (aligned ? 0 : skew);
    if (aligned) at -= (uintptr_t)at % 16;
    *out = (CaseBuffer){at, bytes, map, inner + 2 * page};
    return KILN_OK;
}

static const CodeParam *code_param(const Code *code, const char *name)
{
    for (int32_t i = 0; i < code->n_params; i++)
        if (!strcmp(code->params[i].name, name)) return &code->params[i];
    return NULL;
}

static void store_scalar(uint8_t *at, DType t, double v)
{
    dtype_store_f64(t, at, v);
}

/// The argument for specialisation parameter `i`, from its word, into memory and the argument block.
static KilnStatus place_argument(Maker *m, const Code *code, int32_t i)
{
    Case *c = m->c;
    const SpecParam *p = &c->card->spec.params[i];
    if (p->kind == SPEC_CONST) return KILN_OK;
    const CaseWord *w = case_word(c, p->name);
    if (!w || w->is_array != (p->kind == SPEC_PTR))
        return fail(m->diag, KILN_ERR_INPUT, "K119", "the launch card of %s has no word for `%s`",
                    c->card->spec.func, p->name);
    const CodeParam *at = code_param(code, p->name);
    if (p->kind == SPEC_SCALAR) {
        if (p->divisible && fmod(w->number, 16) != 0)
            return fail(m->diag, KILN_ERR_INPUT, "K119",
                        "%s: %s is %g, the card promises a multiple of 16", c->card->spec.func,
                        p->name, w->number);
        if (at) store_scalar(c->args + at->offset, p->dtype, w->number);
        return KILN_OK;
    }
    size_t size = (size_t)dtype_bytes(p->dtype), bytes = size * (size_t)w->n;
    bool at_end = below(m, 3) != 0;
    size_t skew = size * (size_t)below(m, 4);
    CaseBuffer *b = &c->buffers[i];
    KilnStatus st = buffer_map(bytes, p->divisible, at_end, skew, b, m->diag);
    if (st != KILN_OK) return st;
    for (int64_t k = 0; k < w->n; k++)
        dtype_store_f64(p->dtype, b->at + (size_t)k * size, w->values[k]);
    if (at) memcpy(c->args + at->offset, &b->at, sizeof b->at);
    return KILN_OK;
}

KilnStatus case_make(const Card *card, const Code *code, uint64_t seed, Case *out, Diag *diag)
{
    return case_make_with(card, code, &(CaseOptions){.seed = seed}, out, diag);
}

/// The text of a word: the card's, or what replaces it.
static const char *word_text(const CaseOptions *o, const CardLet *let)
{
    for (int32_t i = 0; i < o->n_words; i++)
        if (!strcmp(o->words[i].name, let->name)) return o->words[i].text;
    return let->text;
}

static bool is_word(const Case *c, const char *name)
{
    return case_word(c, name) != NULL;
}

static KilnStatus make_word(Maker *m, const char *name, const char *text)
{
    CaseWord w = {.name = name};
    text = pick_alternatives(m, text);
    KilnStatus st = is_generator(text) ? generate(m, text, &w) : eval_number(m, text, &w.number);
    if (st == KILN_OK) vec_push(&m->c->arena, &m->c->words, w);
    return st;
}

KilnStatus case_make_with(const Card *card, const Code *code, const CaseOptions *options, Case *out,
                          Diag *diag)
{
    KilnStatus st = KILN_OK;
    memset(out, 0, sizeof *out);
    arena_init(&out->arena, heap_default());
    out->card = card;
    Maker m = {out, {options->seed * 0x9E3779B97F4A7C15u + 1}, options->last, diag};
    for (int32_t i = 0; i < card->spec.n_params; i++) {
        const SpecParam *p = &card->spec.params[i];
        if (p->kind != SPEC_CONST) continue;
        if (p->value.kind == CONST_INT || p->value.kind == CONST_BOOL)
            put_number(out, p->name, (double)p->value.i);
        if (p->value.kind == CONST_FLOAT) put_number(out, p->name, p->value.f);
    }
    for (int32_t i = 0; i < card->n_lets; i++)
        TRY(make_word(&m, card->lets[i].name, word_text(options, &card->lets[i])));
    for (int32_t i = 0; i < options->n_words; i++)
        if (!is_word(out, options->words[i].name))
            TRY(make_word(&m, options->words[i].name, options->words[i].text));
    int32_t *dims[3] = {&out->grid.x, &out->grid.y, &out->grid.z};
    for (int32_t i = 0; i < 3; i++) {
        double v = 1;
        if (card->grid[i]) TRY(eval_number(&m, card->grid[i], &v));
        if (!(v >= 0 && v <= INT32_MAX))
            TRY(fail(diag, KILN_ERR_INPUT, "K119", "the grid of %s has an extent of %g",
                     card->spec.func, v));
        *dims[i] = (int32_t)v;
    }
    for (int32_t i = 0; i < card->spec.n_params; i++)
        TRY(place_argument(&m, code, i));
done:
    return st;
}

KilnStatus case_copy(const Case *from, const Code *code, Case *out, Diag *diag)
{
    memset(out, 0, sizeof *out);
    arena_init(&out->arena, heap_default());
    out->card = from->card;
    out->grid = from->grid;
    memcpy(out->args, from->args, sizeof out->args);
    for (int32_t i = 0; i < from->words.len; i++)
        vec_push(&out->arena, &out->words, from->words.data[i]);
    for (int32_t i = 0; i < from->card->spec.n_params; i++) {
        const CaseBuffer *b = &from->buffers[i];
        if (!b->at) continue;
        size_t page = (size_t)sysconf(_SC_PAGESIZE);
        bool at_end = b->at + b->bytes + 16 > (uint8_t *)b->map + b->map_bytes - page;
        size_t skew = at_end ? 0 : (size_t)(b->at - (uint8_t *)b->map) - page;
        const SpecParam *p = &from->card->spec.params[i];
        KilnStatus st = buffer_map(b->bytes, p->divisible, at_end, skew, &out->buffers[i], diag);
        if (st != KILN_OK) return st;
        memcpy(out->buffers[i].at, b->at, b->bytes);
        const CodeParam *at = code_param(code, p->name);
        if (at) memcpy(out->args + at->offset, &out->buffers[i].at, sizeof b->at);
    }
    return KILN_OK;
}

void case_free(Case *c)
{
    for (int32_t i = 0; i < CODE_MAX_PARAMS; i++)
        if (c->buffers[i].map) munmap(c->buffers[i].map, c->buffers[i].map_bytes);
    arena_reset(&c->arena);
}

int64_t case_programs(const Case *c)
{
    return (int64_t)c->grid.x * c->grid.y * c->grid.z;
}

const char *case_text(Case *c)
{
    const char *text = "";
    for (int32_t i = 0; i < c->words.len; i++)
        if (!c->words.data[i].is_array)
            text = arena_printf(&c->arena, "%s%s%s=%g", text, *text ? " " : "",
                                c->words.data[i].name, c->words.data[i].number);
    return text;
}
