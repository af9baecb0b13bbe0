#include "base/diag.h"

#include <stdio.h>
#include <stdlib.h>

void bug_at(const char *file, int line, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fprintf(stderr, "kiln: internal error at %s:%d: ", file, line); // the last words of a process
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
    va_end(args);
    abort();
}

void diag_init(Diag *d, Heap *heap)
{
    *d = (Diag){.limit = 20};
    arena_init(&d->arena, heap);
}

void diag_reset(Diag *d)
{
    arena_reset(&d->arena);
    *d = (Diag){.arena = d->arena, .limit = d->limit};
}

int32_t diag_file(Diag *d, const char *path, Str text)
{
    DiagFile f = {arena_strdup(&d->arena, path),
                  {arena_strndup(&d->arena, text.data, text.len), text.len}};
    vec_push(&d->arena, &d->files, f);
    return d->files.len - 1;
}

void diag_line_column(const Diag *d, int32_t file, int32_t at, int32_t *line, int32_t *column)
{
    Str text = d->files.data[file].text;
    *line = *column = 1;
    for (int32_t i = 0; i < at && i < (int32_t)text.len; i++) {
        if (text.data[i] == '\n')
            ++*line, *column = 1;
        else if ((text.data[i] & 0xC0) != 0x80)
            ++*column; // count code points, not continuation bytes
    }
}

static DiagItem *add_va(Diag *d, DiagLevel level, const char *code, Span span, const char *fmt,
                        va_list args)
{
    if (!d) return NULL;
    DiagItem *item = arena_new(&d->arena, DiagItem);
    item->level = level;
    snprintf(item->code, sizeof item->code, "%s", code ? code : "");
    item->span = span;
    item->text = arena_vprintf(&d->arena, fmt, args);
    if (level == DIAG_ERROR && d->n_errors++ >= d->limit) return item; // counted, not kept
    if (level == DIAG_WARNING) d->n_warnings++;
    vec_push(&d->arena, &d->items, item);
    return item;
}

DiagItem *diag_add(Diag *d, DiagLevel level, const char *code, Span span, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    DiagItem *item = add_va(d, level, code, span, fmt, args);
    va_end(args);
    return item;
}

void diag_note(Diag *d, DiagItem *item, Span span, const char *fmt, ...)
{
    if (!d || !item) return;
    va_list args;
    va_start(args, fmt);
    DiagNote note = {span, arena_vprintf(&d->arena, fmt, args)};
    va_end(args);
    vec_push(&d->arena, &item->notes, note);
}

void diag_help(Diag *d, DiagItem *item, const char *fmt, ...)
{
    if (!d || !item) return;
    va_list args;
    va_start(args, fmt);
    item->help = arena_vprintf(&d->arena, fmt, args);
    va_end(args);
}

void diag_drop_warnings(Diag *d, int32_t n)
{
    if (!d) return;
    int32_t kept = n;
    for (int32_t i = n; i < d->items.len; i++) {
        if (d->items.data[i]->level == DIAG_WARNING)
            d->n_warnings--;
        else
            d->items.data[kept++] = d->items.data[i];
    }
    d->items.len = MIN(d->items.len, kept);
}

KilnStatus(fail)(Diag *d, KilnStatus st, const char *code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    add_va(d, DIAG_ERROR, code, NO_SPAN, fmt, args);
    va_end(args);
    return st;
}

KilnStatus(fail_hint)(Diag *d, KilnStatus st, const char *code, const char *hint, const char *fmt,
                      ...)
{
    va_list args;
    va_start(args, fmt);
    DiagItem *item = add_va(d, DIAG_ERROR, code, NO_SPAN, fmt, args);
    va_end(args);
    diag_help(d, item, "%s", hint);
    return st;
}

KilnStatus(fail_in)(Diag *d, const char *code, const char *path, const char *fmt, ...)
{
    if (!d) return KILN_ERR_INPUT;
    va_list args;
    va_start(args, fmt);
    const char *what = arena_vprintf(&d->arena, fmt, args);
    va_end(args);
    return fail(d, KILN_ERR_INPUT, code, "%s: %s", path, what);
}

static const char *const level_name[] = {"error", "warning", "note"};

/// The source line of a span, and a line of carets under it; tabs are copied so that they line up.
static void render_source(const Diag *d, Span s, StrBuf *out)
{
    Str text = d->files.data[s.file].text;
    int32_t line, column;
    diag_line_column(d, s.file, s.begin, &line, &column);
    int32_t from = MIN(s.begin, (int32_t)text.len), to = from;
    while (from > 0 && text.data[from - 1] != '\n')
        from--;
    while (to < (int32_t)text.len && text.data[to] != '\n' && text.data[to] != '\r')
        to++;
    strbuf_printf(out, "%5d | %.*s\n      | ", line, to - from, text.data + from);
    for (int32_t i = from; i < s.begin && i < to; i++)
        if ((text.data[i] & 0xC0) != 0x80) strbuf_putc(out, text.data[i] == '\t' ? '\t' : ' ');
    strbuf_putc(out, '^');
    for (int32_t i = s.begin + 1; i < s.end && i < to; i++)
        if ((text.data[i] & 0xC0) != 0x80) strbuf_putc(out, '~');
    strbuf_putc(out, '\n');
}

static void render_place(const Diag *d, Span s, StrBuf *out)
{
    int32_t line, column;
    diag_line_column(d, s.file, s.begin, &line, &column);
    strbuf_printf(out, "%s:%d:%d: ", d->files.data[s.file].path, line, column);
}

static void render_item(const Diag *d, const DiagItem *item, StrBuf *out)
{
    if (item->span.file < 0) {
        strbuf_printf(out, "kiln: %s: %s", level_name[item->level], item->text);
        if (item->code[0]) strbuf_printf(out, " [%s]", item->code);
        strbuf_putc(out, '\n');
    } else {
        render_place(d, item->span, out);
        strbuf_puts(out, level_name[item->level]);
        if (item->code[0]) strbuf_printf(out, "[%s]", item->code);
        strbuf_printf(out, ": %s\n", item->text);
        render_source(d, item->span, out);
    }
    VEC_EACH(DiagNote, note, &item->notes) {
        if (note->span.file >= 0) {
            render_place(d, note->span, out);
            strbuf_printf(out, "note: %s\n", note->text);
            render_source(d, note->span, out);
        } else {
            strbuf_printf(out, "  note: %s\n", note->text);
        }
    }
    if (item->help)
        strbuf_printf(out, item->span.file < 0 ? "  hint: %s\n" : "  help: %s\n", item->help);
}

/// The same error at the same place, from several specialisations, is said once.
static bool said_before(const Diag *d, int32_t index)
{
    const DiagItem *it = d->items.data[index];
    for (int32_t i = 0; i < index; i++) {
        const DiagItem *o = d->items.data[i];
        if (o->span.file == it->span.file && o->span.begin == it->span.begin &&
            !strcmp(o->code, it->code) && !strcmp(o->text, it->text))
            return true;
    }
    return false;
}

void diag_render(const Diag *d, StrBuf *out)
{
    bool placed = false;
    for (int32_t i = 0; i < d->items.len; i++) {
        if (said_before(d, i)) continue;
        render_item(d, d->items.data[i], out);
        placed |= d->items.data[i]->span.file >= 0;
    }
    if (d->n_errors > d->limit)
        strbuf_printf(out, "  note: %d more errors are not shown\n", d->n_errors - d->limit);
    if (placed && d->while_doing)
        strbuf_printf(out, "  note: while compiling %s\n", d->while_doing);
}

static void json_place(const Diag *d, Span s, StrBuf *out)
{
    if (s.file < 0) return;
    int32_t line, column;
    diag_line_column(d, s.file, s.begin, &line, &column);
    strbuf_puts(out, ", \"file\": \"");
    strbuf_json(out, d->files.data[s.file].path, strlen(d->files.data[s.file].path));
    strbuf_printf(out, "\", \"line\": %d, \"column\": %d", line, column);
}

void diag_render_json(const Diag *d, StrBuf *out)
{
    for (int32_t i = 0; i < d->items.len; i++) {
        const DiagItem *item = d->items.data[i];
        if (said_before(d, i)) continue;
        strbuf_printf(out, "{\"severity\": \"%s\", \"code\": \"%s\", \"message\": \"",
                      level_name[item->level], item->code);
        strbuf_json(out, item->text, strlen(item->text));
        strbuf_putc(out, '"');
        json_place(d, item->span, out);
        strbuf_puts(out, ", \"notes\": [");
        for (int32_t n = 0; n < item->notes.len; n++) {
            strbuf_puts(out, n ? ", {\"message\": \"" : "{\"message\": \"");
            strbuf_json(out, item->notes.data[n].text, strlen(item->notes.data[n].text));
            strbuf_putc(out, '"');
            json_place(d, item->notes.data[n].span, out);
            strbuf_putc(out, '}');
        }
        strbuf_puts(out, "]");
        if (item->help) {
            strbuf_puts(out, ", \"help\": \"");
            strbuf_json(out, item->help, strlen(item->help));
            strbuf_putc(out, '"');
        }
        strbuf_puts(out, "}\n");
    }
}

const char *diag_first(const Diag *d)
{
    for (int32_t i = 0; i < d->items.len; i++)
        if (d->items.data[i]->level == DIAG_ERROR) return d->items.data[i]->text;
    return "";
}
