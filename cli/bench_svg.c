// cli/bench_svg.c - the rows as points under the roofs of the same run.
//
//   operations per second        ________________ int8
//          ^                    /________________ f32
//          |                   /   o pp512
//          |    read  -->     /
//          |                 /  o tg128
//          `------------------------------------> operations per byte        both axes are logarithmic
//
// Source   Williams, Waterman and Patterson, Roofline, CACM 52(4), 2009
#include <math.h>

#include "base/file.h"
#include "cli/bench.h"

enum { WIDTH = 860, HEIGHT = 520, LEFT = 70, RIGHT = 190, TOP = 40, BOTTOM = 50 };

typedef struct Axes {
    double x0, x1, y0, y1; ///< log10 of operations per byte, of operations per second
} Axes;

static double at_x(const Axes *a, double log_x)
{
    return LEFT + (log_x - a->x0) / (a->x1 - a->x0) * (WIDTH - LEFT - RIGHT);
}

static double at_y(const Axes *a, double log_y)
{
    return HEIGHT - BOTTOM - (log_y - a->y0) / (a->y1 - a->y0) * (HEIGHT - TOP - BOTTOM);
}

static bool point_of(const BenchRow *r, double *x, double *y)
{
    double took = bench_spread(r->n_reps, r->seconds).median;
    if (r->flops <= 0 || r->bytes <= 0 || took <= 0) return false;
    *x = log10(r->flops / r->bytes);
    *y = log10(r->flops / took);
    return true;
}

static Axes axes_of(const BenchReport *r, const BenchCeiling *c)
{
    Axes a = {-1, 3, 9, 11};
    double most = 0;
    for (int32_t i = 0; i < PEAK_COUNT; i++)
        most = MAX(most, c->peak[i]);
    if (most > 0) a.y1 = MAX(a.y1, ceil(log10(most) + 0.1));
    VEC_EACH(BenchRow *, row, &r->rows) {
        double x, y;
        if (!point_of(*row, &x, &y)) continue;
        a.x0 = MIN(a.x0, floor(x));
        a.x1 = MAX(a.x1, ceil(x + 0.1));
        a.y0 = MIN(a.y0, floor(y));
        a.y1 = MAX(a.y1, ceil(y + 0.1));
    }
    return a;
}

static void put_line(StrBuf *out, double x1, double y1, double x2, double y2, const char *style)
{
    strbuf_printf(out, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" %s/>\n", x1, y1, x2,
                  y2, style);
}

static void put_text(StrBuf *out, double x, double y, const char *attributes, const char *text)
{
    strbuf_printf(out, "<text x=\"%.1f\" y=\"%.1f\" %s>", x, y, attributes);
    for (; *text; text++)
        strbuf_printf(out, *text == '<' ? "&lt;" : *text == '&' ? "&amp;" : "%c", *text);
    strbuf_puts(out, "</text>\n");
}

static void put_grid(StrBuf *out, const Axes *a, Arena *arena)
{
    static const char thin[] = "stroke=\"#ddd\"";
    for (int32_t x = (int32_t)a->x0; x <= (int32_t)a->x1; x++) {
        put_line(out, at_x(a, x), TOP, at_x(a, x), HEIGHT - BOTTOM, thin);
        put_text(out, at_x(a, x), HEIGHT - BOTTOM + 16, "text-anchor=\"middle\"",
                 arena_printf(arena, "%g", pow(10, x)));
    }
    for (int32_t y = (int32_t)a->y0; y <= (int32_t)a->y1; y++) {
        put_line(out, LEFT, at_y(a, y), WIDTH - RIGHT, at_y(a, y), thin);
        put_text(out, LEFT - 6, at_y(a, y) + 4, "text-anchor=\"end\"",
                 arena_printf(arena, "%g", pow(10, y - 9)));
    }
    put_text(out, (LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 12, "text-anchor=\"middle\"",
             "operations per byte");
    put_text(out, LEFT - 6, TOP - 10, "text-anchor=\"end\"", "GFLOP/s");
}

static void put_roofs(StrBuf *out, const Axes *a, const BenchCeiling *c, Arena *arena)
{
    static const char roof[] = "stroke=\"#444\" stroke-width=\"1.5\"";
    double read = c->read > 0 ? log10(c->read) : 0, top = a->y1;
    for (int32_t i = 0; i < PEAK_COUNT; i++) {
        if (c->peak[i] <= 0) continue;
        double y = log10(c->peak[i]);
        double from = c->read > 0 ? MIN(MAX(y - read, a->x0), a->x1) : a->x0;
        top = i == 0 ? y : MAX(top, y);
        put_line(out, at_x(a, from), at_y(a, y), at_x(a, a->x1), at_y(a, y), roof);
        put_text(out, at_x(a, a->x1) + 6, at_y(a, y) + 4, "fill=\"#444\"",
                 arena_printf(arena, "%s %.0f GFLOP/s", bench_peak_name((BenchPeak)i),
                              c->peak[i] / 1e9));
    }
    if (c->read <= 0) return;
    double left = MAX(a->x0, a->y0 - read), right = MIN(a->x1, top - read);
    put_line(out, at_x(a, left), at_y(a, left + read), at_x(a, right), at_y(a, right + read), roof);
    put_text(out, at_x(a, left) + 10, at_y(a, left + read) - 8, "fill=\"#444\"",
             arena_printf(arena, "read %.1f GB/s", c->read / 1e9));
}

KilnStatus bench_svg(const BenchReport *r, const char *path, Diag *diag)
{
    StrBuf out = {0};
    BenchCeiling c = r->rows.data[0]->ceiling;
    VEC_EACH(BenchRow *, row, &r->rows) {
        c.read = MAX(c.read, (*row)->ceiling.read);
        for (int32_t i = 0; i < PEAK_COUNT; i++)
            c.peak[i] = MAX(c.peak[i], (*row)->ceiling.peak[i]);
    }
    Axes a = axes_of(r, &c);
    strbuf_printf(&out,
                  "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" "
                  "font-family=\"sans-serif\" font-size=\"12\">\n"
                  "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
                  WIDTH, HEIGHT);
    const BenchRow *first = r->rows.data[0];
    put_text(&out, LEFT + 40, TOP - 16, "font-size=\"14\"",
             arena_printf(r->arena, "%s on %s", first->model, first->device_model));
    put_grid(&out, &a, r->arena);
    put_roofs(&out, &a, &c, r->arena);
    VEC_EACH(BenchRow *, row, &r->rows) {
        double x, y;
        if (!point_of(*row, &x, &y)) continue;
        strbuf_printf(&out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"#c33\"/>\n",
                      at_x(&a, x), at_y(&a, y));
        put_text(&out, at_x(&a, x) + 7, at_y(&a, y) + 4, "fill=\"#c33\"", (*row)->test);
    }
    strbuf_puts(&out, "</svg>\n");
    KilnStatus st = out.failed ? fail(diag, KILN_ERR_NOMEM, "K102", "%s: no memory", path)
                               : file_replace(path, out.data, out.len, diag);
    strbuf_free(&out);
    return st;
}
