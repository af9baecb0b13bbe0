#include "tests/compiler/front.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"

KilnStatus front_compile_diag(const char *path, const char *text, const char *spec, StrBuf *tile,
                              Diag *d)
{
    Source *s = NULL;
    Arena arena;
    Spec parsed;
    Code code = {0};
    Target target = {.kind = TARGET_INTERP};
    Emit emit = {.tile = tile};
    arena_init(&arena, heap_default());
    KilnStatus st = source_from_text(path, str_of(text), &s, d);
    if (st == KILN_OK) st = spec_parse(s, str_of(spec), &arena, &parsed, d);
    if (st == KILN_OK) st = compile_kernel(s, &parsed, &target, &emit, &code, d);
    code_free(&code);
    source_close(s);
    arena_reset(&arena);
    return st;
}

KilnStatus front_compile(const char *path, const char *text, const char *spec, StrBuf *tile,
                         StrBuf *messages)
{
    Diag d;
    diag_init(&d, heap_default());
    KilnStatus st = front_compile_diag(path, text, spec, tile, &d);
    if (messages) {
        strbuf_puts(messages, "");
        diag_render(&d, messages);
    }
    diag_reset(&d);
    return st;
}

char *front_read(const char *path)
{
    StrBuf b = {0};
    if (file_read(path, &b, NULL) != KILN_OK) return NULL;
    strbuf_puts(&b, "");
    return b.data;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

int front_list(const char *dir, const char *suffix, char (*names)[128], int cap)
{
    int n = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e; d && n < cap && (e = readdir(d));) {
        if (!str_ends(str_of(e->d_name), suffix) || strlen(e->d_name) >= 128) continue;
        memcpy(names[n++], e->d_name, strlen(e->d_name) + 1);
    }
    if (d) closedir(d);
    if (n) qsort(names, (size_t)n, 128, by_name);
    return n;
}
