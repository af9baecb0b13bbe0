#include "cli/command.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int exit_of(KilnStatus st)
{
    switch (st) {
    case KILN_OK:
        return EXIT_DONE;
    case KILN_ERR_LIMIT:
    case KILN_ERR_NOMEM:
    case KILN_ERR_DEVICE:
        return EXIT_RESOURCE;
    default:
        return EXIT_FAILED;
    }
}

bool print_out(const StrBuf *text)
{
    for (size_t at = 0; at < text->len;) {
        ssize_t n = write(STDOUT_FILENO, text->data + at, text->len - at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        at += (size_t)n;
    }
    return true;
}

void say(const Settings *s, const char *fmt, ...)
{
    if (s->quiet) return;
    va_list args;
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
    va_end(args);
}

void show_messages(Diag *diag)
{
    StrBuf text = {0};
    diag_render(diag, &text);
    if (text.len) fwrite(text.data, 1, text.len, stderr);
    strbuf_free(&text);
    diag_reset(diag);
}

const char *cache_dir_of(const Settings *s, Arena *arena)
{
    if (s->no_cache) return NULL;
    if (s->cache_dir) return s->cache_dir;
    const char *cache_home = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (cache_home && *cache_home) return arena_printf(arena, "%s/kiln", cache_home);
    if (home && *home) return arena_printf(arena, "%s/.cache/kiln", home);
    return NULL;
}

static void to_stderr(void *user, LogLevel level, const char *component, const char *line)
{
    (void)user;
    static const char *const names[] = {"error", "warn", "info", "debug", "trace"};
    fprintf(stderr, "[%s] %s: %s\n", names[level], component, line);
}

Log log_of(const Settings *s)
{
    int32_t level = LOG_WARN + s->verbose;
    return (Log){.sink = to_stderr, .level = (LogLevel)MIN(level, LOG_TRACE)};
}

double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void table_row(Table *t, const char *const *cells)
{
    const char **row = arena_array(t->arena, const char *, t->n_columns);
    for (int32_t i = 0; i < t->n_columns; i++)
        row[i] = cells[i] ? cells[i] : "";
    vec_push(t->arena, &t->rows, row);
}

static bool is_numeric(const char *cell)
{
    return isdigit((unsigned char)cell[0]) || cell[0] == '-' || !cell[0];
}

void table_print(const Table *t, StrBuf *out)
{
    for (int32_t r = 0; r < t->rows.len; r++) {
        for (int32_t c = 0; c < t->n_columns; c++) {
            int32_t width = 0;
            bool right = t->rows.len > 1;
            for (int32_t i = 0; i < t->rows.len; i++) {
                width = MAX(width, (int32_t)strlen(t->rows.data[i][c]));
                right &= i == 0 || is_numeric(t->rows.data[i][c]);
            }
            const char *cell = t->rows.data[r][c], *gap = c ? "  " : "";
            if (c == t->n_columns - 1 && !right)
                strbuf_printf(out, "%s%s", gap, cell);
            else
                strbuf_printf(out, "%s%*s", gap, right ? width : -width, cell);
        }
        strbuf_putc(out, '\n');
    }
}
