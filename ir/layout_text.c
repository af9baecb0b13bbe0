// ir/layout_text.c - layouts as text, as a table and as a picture.
#include <ctype.h>
#include <stdlib.h>

#include "ir/layout.h"

static const char *const in_names[N_IN] = {"reg", "lane", "warp", "block"};

const char *layout_text(Arena *a, const Layout *l)
{
    char *s = arena_strdup(a, l->is_shared ? "#s<" : "#l<");
    for (int32_t d = 0; d < l->rank; d++)
        s = arena_printf(a, "%s%s%d", s, d ? "x" : "", 1 << l->log_dim[d]);
    s = arena_printf(a, "%s>{", s);
    if (l->is_shared) {
        for (int32_t i = 0; i < l->n_all; i++)
            s = arena_printf(a, "%s%s%u", s, i ? " " : "", l->col[i]);
        return arena_printf(a, "%s}", s);
    }
    for (int32_t in = 0, first = 1; in < N_IN; in++) {
        if (!l->n_col[in]) continue;
        s = arena_printf(a, "%s%s%s", s, first ? "" : "; ", in_names[in]);
        first = 0;
        for (int32_t i = 0; i < l->n_col[in]; i++)
            s = arena_printf(a, "%s %u", s, layout_cols(l, in)[i]);
    }
    return arena_printf(a, "%s}", s);
}

// ---- parsing ----------------------------------------------------------------------------------

typedef struct Cursor {
    const char *at, *end;
} Cursor;

static void skip_spaces(Cursor *c)
{
    while (c->at < c->end && isspace((unsigned char)*c->at))
        c->at++;
}

static bool eat(Cursor *c, const char *word)
{
    skip_spaces(c);
    size_t n = strlen(word);
    if ((size_t)(c->end - c->at) < n || memcmp(c->at, word, n) != 0) return false;
    c->at += n;
    return true;
}

static bool number(Cursor *c, uint32_t *out)
{
    skip_spaces(c);
    uint64_t v = 0;
    const char *from = c->at;
    while (c->at < c->end && isdigit((unsigned char)*c->at) && v <= UINT32_MAX)
        v = v * 10 + (uint64_t)(*c->at++ - '0');
    *out = (uint32_t)v;
    return c->at > from && v <= UINT32_MAX;
}

static bool numbers(Cursor *c, Layout *out, int32_t in)
{
    uint32_t v;
    while (number(c, &v)) {
        if (out->n_all == GF2_MAX) return false;
        layout_push(out, in, v);
    }
    return true;
}

static bool columns(Cursor *c, Layout *out)
{
    if (out->is_shared) return numbers(c, out, IN_REG);
    for (int32_t in = 0; in < N_IN; in++) {
        if (!eat(c, in_names[in])) continue;
        if (!numbers(c, out, in)) return false;
        if (!eat(c, ";")) break;
    }
    return true;
}

bool layout_parse(Str text, Layout *out)
{
    Cursor c = {text.data, text.data + text.len};
    *out = layout_empty(0, NULL);
    if (eat(&c, "#s<"))
        out->is_shared = true;
    else if (!eat(&c, "#l<"))
        return false;
    for (uint32_t extent; number(&c, &extent);) {
        if (!is_pow2(extent) || out->rank == LAYOUT_MAX_RANK) return false;
        out->log_dim[out->rank++] = (uint8_t)log2_floor(extent);
        if (!eat(&c, "x")) break;
    }
    if (!eat(&c, ">") || !eat(&c, "{") || layout_bits(out) > LAYOUT_MAX_BITS) return false;
    if (!columns(&c, out) || !eat(&c, "}")) return false;
    for (int32_t i = 0; i < out->n_all; i++)
        if (out->col[i] >> layout_bits(out)) return false;
    skip_spaces(&c);
    return c.at == c.end && (!out->is_shared || gf2_rank(out->n_all, out->col) == layout_bits(out));
}

// ---- drawing ----------------------------------------------------------------------------------

typedef struct Cell {
    uint32_t thread, reg;
} Cell;

/// Who owns packed coordinate `at`: the holder whose free bits are zero.
static Cell owner(const Layout *l, const Layout *inverse, uint32_t at)
{
    uint32_t x = layout_apply(inverse, at), reg_bits = l->n_col[IN_REG];
    return (Cell){x >> reg_bits, x & ((1u << reg_bits) - 1)};
}

static void extents(const Layout *l, int32_t *rows, int32_t *cols)
{
    *cols = l->rank ? 1 << l->log_dim[l->rank - 1] : 1;
    *rows = l->rank > 1 ? 1 << l->log_dim[l->rank - 2] : 1;
}

void layout_draw(const Layout *l, StrBuf *out)
{
    Layout inverse = layout_right_inverse(l);
    int32_t rows, cols;
    extents(l, &rows, &cols);
    for (int32_t r = 0; r < MIN(rows, 64); r++) {
        for (int32_t c = 0; c < MIN(cols, 64); c++) {
            Cell cell = owner(l, &inverse, (uint32_t)(r * cols + c));
            if (l->is_shared)
                strbuf_printf(out, "%s%5u", c ? " " : "",
                              layout_apply(&inverse, (uint32_t)(r * cols + c)));
            else
                strbuf_printf(out, "%st%u:r%u", c ? " " : "", cell.thread, cell.reg);
        }
        strbuf_puts(out, cols > 64 ? " ...\n" : "\n");
    }
    if (rows > 64) strbuf_puts(out, "...\n");
}

void layout_draw_svg(const Layout *l, StrBuf *out)
{
    static const char *const colours[8] = {"#8dd3c7", "#ffffb3", "#bebada", "#fb8072",
                                           "#80b1d3", "#fdb462", "#b3de69", "#fccde5"};
    enum { W = 44, H = 18 };
    Layout inverse = layout_right_inverse(l);
    int32_t rows, cols;
    extents(l, &rows, &cols);
    rows = MIN(rows, 64), cols = MIN(cols, 64);
    strbuf_printf(out,
                  "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
                  "font-family=\"monospace\" "
                  "font-size=\"9\">\n",
                  cols * W, rows * H);
    for (int32_t r = 0; r < rows; r++) {
        for (int32_t c = 0; c < cols; c++) {
            uint32_t at = (uint32_t)r << (l->rank ? l->log_dim[l->rank - 1] : 0) | (uint32_t)c;
            Cell cell = owner(l, &inverse, at);
            uint32_t offset = layout_apply(&inverse, at);
            const char *fill = colours[(l->is_shared ? offset / 8 : cell.thread / 32) % 8];
            strbuf_printf(
                out,
                "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"%s\" stroke=\"#666\"/>",
                c * W, r * H, W, H, fill);
            strbuf_printf(out, "<text x=\"%d\" y=\"%d\">", c * W + 3, r * H + 12);
            if (l->is_shared)
                strbuf_printf(out, "%u</text>\n", offset);
            else
                strbuf_printf(out, "t%u:r%u</text>\n", cell.thread, cell.reg);
        }
    }
    strbuf_puts(out, "</svg>\n");
}
