// tests/kernels/budget.c - kiln_budget: every launch card through the CUDA assembler, for every architecture.
//
//   kiln_budget measure RESULTS [jobs] [all]   cards x sm_75 sm_80 sm_86 sm_89 sm_90a -> a line each
//   kiln_budget write RESULTS BUDGET PAGE   the same as the committed budget and its page for people
//
//   RESULTS   tools       ptxas V13.0.88  nvdisasm V13.1.80
//             kernel  id  file  target  regs  shared  spill  stack  dots  stages  wide  label  ops
//
// Without `all` each card is measured for one architecture, in turn, and which one follows from the text of its
// kernel's file, so that a change of the text changes it; probes.py always for all.
//
// test_sass.c reads RESULTS. Jobs are processes that share nothing but the lines they fill in; what the
// compiler and the tools said is kept by hash in sass-cache/ beside RESULTS, so that only what changed is done again.
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "compiler/compile.h"
#include "tests/kernels/sass.h"

enum { LINE_BYTES = 8192, MAX_FILES = 64, MAX_ROWS = 1 << 15 };

static const char *const targets[] = {"sm_75", "sm_80", "sm_86", "sm_89", "sm_90a"};

typedef struct KernelFile {
    const char *name; ///< "gemm.py"
    Source *source;
    uint64_t hash; ///< of its text
} KernelFile;

/// A specialisation that the tree ships: of a launch card, or of the sizes below.
typedef struct Item {
    const KernelFile *file;
    const Spec *spec;
    const char *text;
} Item;

typedef struct Cx {
    Arena arena;
    Diag diag;
    CudaTools tools;
    char cache[2048];
    KernelFile files[MAX_FILES];
    int32_t n_files;
    VEC(Item) items;
} Cx;

/// Row kernels at the sizes of a 1B and an 8B model: cards are small so that tests are quick, these show
/// what users get.
static const struct {
    const char *file, *spec;
} model_sizes[] = {
    {"rmsnorm.py",
     "rmsnorm(y: *bf16:16, x: *bf16:16, r: *bf16:16, g: *bf16:16, rows: *i32, ends: None, "
     "n: i32:16, eps: f32, sy: i32:16, sx: i32:16, sr: i32:16, BLOCK=2048)[num_warps=4]"},
    {"rmsnorm.py",
     "rmsnorm(y: *bf16:16, x: *bf16:16, r: *bf16:16, g: *bf16:16, rows: *i32, ends: None, "
     "n: i32:16, eps: f32, sy: i32:16, sx: i32:16, sr: i32:16, BLOCK=4096)[num_warps=8]"},
    {"silu_mul.py",
     "silu_mul(y: *bf16:16, gate: *bf16:16, up: *bf16:16, rows: *i32, n: i32:16, sy: "
     "i32:16, sg: i32:16, su: i32:16, BLOCK=4096)[num_warps=8]"},
    {"embed.py",
     "embed(y: *bf16:16, table: *bf16:16, scale: None, token: *i32, rows: *i32, vocab: i32, "
     "n: i32:16, sy: i32:16, BLOCK=1024)[num_warps=4]"},
};

static int fatal(Cx *cx, const char *what)
{
    StrBuf out = {0};
    diag_render(&cx->diag, &out);
    fprintf(stderr, "kiln_budget: %s\n%s", what, out.data ? out.data : "");
    exit(1);
}

// ---- what there is to measure -----------------------------------------------------------------

static void add_item(Cx *cx, const KernelFile *f, const Spec *spec)
{
    const char *text = spec_text(&cx->arena, spec);
    for (int32_t i = 0; i < cx->items.len; i++)
        if (!strcmp(cx->items.data[i].text, text)) return; // differs in run-time words alone
    vec_push(&cx->arena, &cx->items, (Item){f, spec, text});
}

static void add_file(Cx *cx, const char *folder, const char *name)
{
    int32_t n;
    Card *cards;
    if (cx->n_files == MAX_FILES) fatal(cx, "too many kernel files");
    KernelFile *f = &cx->files[cx->n_files++];
    f->name = arena_strdup(&cx->arena, name);
    const char *path = arena_printf(&cx->arena, "%s/%s/%s", KILN_SOURCE_DIR, folder, name);
    StrBuf text = {0};
    if (file_read(path, &text, &cx->diag) != KILN_OK) fatal(cx, name);
    f->hash = hash_bytes(text.data, text.len).lo;
    strbuf_free(&text);
    if (source_open(path, &f->source, &cx->diag) != KILN_OK ||
        source_cards(f->source, NULL, &cx->arena, &n, &cards, &cx->diag) != KILN_OK)
        fatal(cx, name);
    for (int32_t i = 0; i < n; i++)
        add_item(cx, f, &cards[i].spec);
    for (int32_t i = 0; i < COUNT_OF(model_sizes); i++) {
        Spec *spec = arena_new(&cx->arena, Spec);
        if (strcmp(model_sizes[i].file, name) != 0) continue;
        if (spec_parse(f->source, str_of(model_sizes[i].spec), &cx->arena, spec, &cx->diag) !=
            KILN_OK)
            fatal(cx, name);
        add_item(cx, f, spec);
    }
}

static void add_all(Cx *cx)
{
    struct dirent **names;
    int n = scandir(KILN_SOURCE_DIR "/kernels.dsl", &names, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        if (str_ends(str_of(names[i]->d_name), ".py"))
            add_file(cx, "kernels.dsl", names[i]->d_name);
        free(names[i]);
    }
    if (n >= 0) free(names);
    add_file(cx, "tests/kernels", "probes.py");
}

// ---- one specialisation for one target ----------------------------------------------------------

/// Kind of number that the dots of a kernel multiply, from the tile IR: "bf16", "f32:ieee", "-" without one.
static void dots_of(const char *tile, char *out, size_t size)
{
    snprintf(out, size, "-");
    const char *dot = strstr(tile, " = dot %");
    if (!dot) return;
    char def[24], name[16] = {0};
    snprintf(name, sizeof name, "%.*s", (int)strcspn(dot + 7, ","), dot + 7);
    snprintf(def, sizeof def, "%s = ", name);
    const char *at = strstr(tile, def), *end = at ? strchr(at, '\n') : NULL;
    const char *type = NULL;
    for (const char *p = at; p && p < end; p++)
        if (!strncmp(p, "tile<", 5)) type = p;
    if (!type) return;
    const char *close = strchr(type, '>'), *x = type;
    for (const char *p = type; p < close; p++)
        if (*p == 'x') x = p;
    const char *stop = strchr(dot, '\n'), *ieee = strstr(dot, "precision=ieee");
    snprintf(out, size, "%.*s%s", (int)(close - x - 1), x + 1, ieee && ieee < stop ? ":ieee" : "");
}

typedef struct Ptx {
    char dots[24];
    int32_t shared, wide; ///< wide: 16-byte global accesses in the text
    StrBuf text;
} Ptx;

/// Accesses of 16 bytes to global memory: ld.global.v4.u32, st.global.nc.v4.f32, ld.global.v2.b64 ...
static int32_t count_wide(const char *ptx)
{
    int32_t n = 0;
    for (const char *at = ptx; (at = strstr(at, ".global")); at++) {
        size_t len = strcspn(at, " \t\n");
        bool is_access = at - ptx >= 2 && (at[-1] == 'd' || at[-1] == 't');
        if (!is_access || !at[len] || len < 8) continue;
        const char *type = at + len - 7; // .v4.u32
        n += (!strncmp(type, ".v4.", 4) && !strncmp(type + 5, "32", 2)) ||
             (!strncmp(type, ".v2.", 4) && !strncmp(type + 5, "64", 2));
    }
    return n;
}

/// Compiles, or takes what the same compiler said of the same source before.
static KilnStatus ptx_of(Cx *cx, const Item *item, const Target *target, Ptx *out)
{
    char hex[33], path[2200];
    StrBuf known = {0};
    int at = 0;
    memset(out, 0, sizeof *out);
    hash_hex(compile_key(item->file->source, item->spec, target), hex);
    snprintf(path, sizeof path, "%s/%s.ptx", cx->cache, hex);
    if (file_exists(path) && file_read(path, &known, NULL) == KILN_OK &&
        sscanf(known.data, "%23s %d %d\n%n", out->dots, &out->shared, &out->wide, &at) == 3 && at) {
        strbuf_puts(&out->text, known.data + at);
        strbuf_free(&known);
        return KILN_OK;
    }
    strbuf_free(&known);
    StrBuf tile = {0};
    Emit emit = {.tile = &tile};
    Code code;
    KilnStatus st = compile_kernel(item->file->source, item->spec, target, &emit, &code, &cx->diag);
    if (st == KILN_OK) {
        const char *ptx = (const char *)code.bytes;
        dots_of(tile.data ? tile.data : "", out->dots, sizeof out->dots);
        out->shared = code.shared_bytes;
        out->wide = count_wide(ptx);
        strbuf_printf(&known, "%s %d %d\n", out->dots, out->shared, out->wide);
        strbuf_add(&known, ptx, code.size);
        strbuf_add(&out->text, ptx, code.size);
        st = file_replace(path, known.data, known.len, &cx->diag);
        strbuf_free(&known);
        code_free(&code);
    }
    strbuf_free(&tile);
    return st;
}

/// What a reader tells specialisations apart by: arrays of numbers, constants, warps.
static const char *label_of(Arena *a, const Spec *s)
{
    StrBuf b = {0};
    for (int32_t i = 0; i < s->n_params; i++) {
        const SpecParam *p = &s->params[i];
        if (p->kind == SPEC_PTR && p->dtype != DTYPE_I32 && p->dtype != DTYPE_I64)
            strbuf_printf(&b, "%s:%s%s ", p->name, dtype_facts[p->dtype].name,
                          p->divisible ? "" : "?");
        if (p->kind == SPEC_CONST && p->value.kind == CONST_INT)
            strbuf_printf(&b, "%s=%lld ", p->name, (long long)p->value.i);
        if (p->kind == SPEC_CONST && p->value.kind == CONST_BOOL)
            strbuf_printf(&b, "%s%s ", p->value.i ? "" : "!", p->name);
    }
    strbuf_printf(&b, "w%d s%d", s->num_warps, s->num_stages);
    const char *text = arena_strdup(a, b.data);
    strbuf_free(&b);
    return text;
}

static void one_line(char *text)
{
    for (char *p = text; *p; p++)
        if (*p == '\n' || *p == '\t') *p = ' ';
}

/// What is known of one item for one target, in memory that jobs share.
typedef struct Cell {
    bool is_due, is_compiled;
    char dots[24];
    int32_t shared, wide;
    char line[LINE_BYTES];
} Cell;

static const Item *item_of(const Cx *cx, int32_t cell)
{
    return &cx->items.data[cell / COUNT_OF(targets)];
}

static void put_line(Cx *cx, int32_t index, Cell *c, const Sass *sass)
{
    const Item *item = item_of(cx, index);
    char ops[LINE_BYTES / 2];
    snprintf(ops, sizeof ops, "%s", sass->ops.data ? sass->ops.data : "");
    one_line(ops);
    Hash128 id = hash_bytes(item->text, strlen(item->text));
    snprintf(c->line, LINE_BYTES, "%s\t%08x\t%s\t%s\t%d\t%d\t%d\t%d\t%s\t%d\t%d\t%s\t%s%s\n",
             item->spec->func, (unsigned)id.lo, item->file->name,
             targets[index % COUNT_OF(targets)], sass->registers, c->shared, sass->spill_bytes,
             sass->stack_bytes, c->dots[0] ? c->dots : "-", item->spec->num_stages, c->wide,
             label_of(&cx->arena, item->spec), sass->ok ? "" : "REFUSED: ", ops);
}

/// PTX of a cell, into the cache too.
static KilnStatus compile_cell(Cx *cx, int32_t index, Ptx *ptx)
{
    Target target;
    diag_reset(&cx->diag);
    KilnStatus st = target_parse(targets[index % COUNT_OF(targets)], &target, &cx->diag);
    return st == KILN_OK ? ptx_of(cx, item_of(cx, index), &target, ptx) : st;
}

static void compile_all(Cx *cx, int32_t job, int32_t jobs, int32_t n, Cell *cells)
{
    int32_t turn = 0;
    for (int32_t i = 0; i < n; i++) {
        Ptx ptx = {0};
        if (!cells[i].is_due || turn++ % jobs != job) continue;
        cells[i].is_compiled = compile_cell(cx, i, &ptx) == KILN_OK;
        memcpy(cells[i].dots, ptx.dots, sizeof ptx.dots);
        cells[i].shared = ptx.shared, cells[i].wide = ptx.wide;
        strbuf_free(&ptx.text);
        if (cells[i].is_compiled) continue;
        Sass refused = {0};
        diag_render(&cx->diag, &refused.ops);
        put_line(cx, i, &cells[i], &refused);
        sass_free(&refused);
    }
}

enum { BATCH = 24 };

/// The cells of one target, some at a time.
static void assemble_batch(Cx *cx, int32_t n, const int32_t *which, Cell *cells)
{
    Ptx ptx[BATCH] = {0};
    SassText texts[BATCH] = {0};
    Sass sass[BATCH];
    for (int32_t i = 0; i < n; i++) {
        if (compile_cell(cx, which[i], &ptx[i]) != KILN_OK) fatal(cx, "the cache went away");
        texts[i] = (SassText){ptx[i].text.data, ptx[i].text.len};
    }
    sass_of(&cx->tools, n, texts, targets[which[0] % COUNT_OF(targets)], cx->cache, sass);
    for (int32_t i = 0; i < n; i++) {
        put_line(cx, which[i], &cells[which[i]], &sass[i]);
        sass_free(&sass[i]);
        strbuf_free(&ptx[i].text);
    }
}

static void assemble_all(Cx *cx, int32_t job, int32_t jobs, int32_t n, Cell *cells)
{
    int32_t turn = 0;
    for (int32_t t = 0; t < COUNT_OF(targets); t++) {
        int32_t which[BATCH], count = 0;
        for (int32_t i = t; i < n; i += COUNT_OF(targets)) {
            if (cells[i].is_compiled) which[count++] = i;
            bool is_last = i + COUNT_OF(targets) >= n;
            if (!count || (count < BATCH && !is_last)) continue;
            if (turn++ % jobs == job) assemble_batch(cx, count, which, cells);
            count = 0;
        }
    }
}

typedef void Work(Cx *cx, int32_t job, int32_t jobs, int32_t n, Cell *cells);

static void run_jobs(Cx *cx, Work *work, int32_t jobs, int32_t n, Cell *cells)
{
    int status, failed = 0;
    for (int32_t job = 0; job < jobs; job++) {
        if (fork() != 0) continue;
        work(cx, job, jobs, n, cells);
        _exit(0);
    }
    while (wait(&status) > 0)
        failed |= status;
    if (failed) fatal(cx, "a job ended early");
}

/// Is item `i` due for target `k`?
static bool is_due(const Cx *cx, int32_t i, int32_t k, bool all)
{
    const KernelFile *f = cx->items.data[i].file;
    if (all || !strcmp(f->name, "probes.py")) return true;
    return (int32_t)((f->hash + (uint64_t)i) % COUNT_OF(targets)) == k;
}

static int measure(Cx *cx, const char *path, int32_t jobs, bool all)
{
    StrBuf out = {0};
    cuda_tools_find(KILN_SOURCE_DIR, &cx->tools);
    strbuf_printf(&out, "tools\t%s\t%s\n", cx->tools.ptxas[0] ? cx->tools.ptxas_version : "-",
                  cx->tools.nvdisasm[0] ? cx->tools.nvdisasm_version : "-");
    if (cx->tools.ptxas[0]) {
        const char *slash = strrchr(path, '/');
        snprintf(cx->cache, sizeof cx->cache, "%.*ssass-cache", slash ? (int)(slash - path) + 1 : 0,
                 path);
        if (file_make_dirs(cx->cache, &cx->diag) != KILN_OK) fatal(cx, cx->cache);
        add_all(cx);
        int32_t n = cx->items.len * COUNT_OF(targets);
        size_t bytes = (size_t)n * sizeof(Cell);
        Cell *cells = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (cells == MAP_FAILED) fatal(cx, "no memory");
        for (int32_t i = 0; i < n; i++)
            cells[i].is_due = is_due(cx, i / COUNT_OF(targets), i % COUNT_OF(targets), all);
        run_jobs(cx, compile_all, jobs, n, cells);
        run_jobs(cx, assemble_all, jobs, n, cells);
        for (int32_t i = 0; i < n; i++)
            strbuf_puts(&out, cells[i].line);
        munmap(cells, bytes);
    }
    if (file_replace(path, out.data, out.len, &cx->diag) != KILN_OK) fatal(cx, path);
    strbuf_free(&out);
    return 0;
}

// ---- the budget and its page --------------------------------------------------------------------

typedef struct Row {
    char *field[13]; ///< of RESULTS
} Row;

static int32_t read_rows(Cx *cx, const char *path, Row *rows, char **tools)
{
    StrBuf text = {0};
    if (file_read(path, &text, &cx->diag) != KILN_OK) fatal(cx, path);
    char *copy = arena_strdup(&cx->arena, text.data);
    strbuf_free(&text);
    int32_t n = 0;
    *tools = strsep(&copy, "\n");
    for (char *line; (line = strsep(&copy, "\n")) && *line && n < MAX_ROWS;) {
        int32_t i = 0;
        for (char *f; i < 13 && (f = strsep(&line, "\t"));)
            rows[n].field[i++] = f;
        n += i == 13;
    }
    return n;
}

static void write_page_head(StrBuf *page, const char *tools)
{
    strbuf_printf(
        page,
        "# Targets: registers and shared memory of every launch card\n\n"
        "Written by `scripts/budget`; `tests/kernels/budget.tsv` holds the same numbers, and "
        "`test_sass` fails when a\ncard needs more (registers are given out in groups of 8 per "
        "thread: a card may grow inside its group), spills more, is\nrefused, or has no row. "
        "Tools: "
        "%s.\n\n"
        "Each cell is registers per thread / bytes of shared memory per block. `x:f32` is an array "
        "of f32 whose address is a\nmultiple of 16, `x:f32?` one without that promise; `!EVEN_K` "
        "is "
        "False; `w4 s3` is 4 warps and 3 stages. The last rows of\nsome kernels are no cards but "
        "the sizes of a 1B or 8B model.\n",
        tools);
}

static int write_budget(Cx *cx, const char *results, const char *budget, const char *page_path)
{
    static Row rows[MAX_ROWS];
    char *tools;
    const char *func = "";
    StrBuf tsv = {0}, page = {0};
    int32_t n = read_rows(cx, results, rows, &tools);
    if (!n) fatal(cx, "nothing was measured: no ptxas here");
    one_line(tools);
    write_page_head(&page, tools);
    strbuf_puts(
        &tsv,
        "# registers/shared bytes[/bytes spilled] of every launch card; written by scripts/budget\n"
        "# kernel\tid\tsm_75\tsm_80\tsm_86\tsm_89\tsm_90a\tlabel\n");
    for (int32_t i = 0; i + COUNT_OF(targets) <= n; i += COUNT_OF(targets)) {
        char **first = rows[i].field;
        if (!strcmp(first[2], "probes.py")) continue;
        if (strcmp(first[0], func) != 0) {
            func = first[0];
            strbuf_printf(&page, "\n## %s (`kernels.dsl/%s`)\n\n| card |", func, first[2]);
            for (int32_t k = 0; k < COUNT_OF(targets); k++)
                strbuf_printf(&page, " %s |", targets[k]);
            strbuf_puts(&page, "\n|---|---|---|---|---|---|\n");
        }
        strbuf_printf(&tsv, "%s\t%s", func, first[1]);
        strbuf_printf(&page, "| %s |", first[11]);
        for (int32_t k = 0; k < COUNT_OF(targets); k++) {
            char **f = rows[i + k].field;
            strbuf_printf(&tsv, atoi(f[6]) ? "\t%s/%s/%s" : "\t%s/%s", f[4], f[5], f[6]);
            strbuf_printf(&page, atoi(f[6]) ? " %s / %s, %s spilled |" : " %s / %s |", f[4], f[5],
                          f[6]);
        }
        strbuf_printf(&tsv, "\t%s\n", first[11]);
        strbuf_puts(&page, "\n");
    }
    if (file_replace(budget, tsv.data, tsv.len, &cx->diag) != KILN_OK) fatal(cx, budget);
    if (file_replace(page_path, page.data, page.len, &cx->diag) != KILN_OK) fatal(cx, page_path);
    chmod(budget, 0644), chmod(page_path, 0644);
    strbuf_free(&tsv), strbuf_free(&page);
    return 0;
}

int main(int argc, char **argv)
{
    static Cx cx;
    arena_init(&cx.arena, heap_default());
    diag_init(&cx.diag, heap_default());
    if (argc >= 3 && !strcmp(argv[1], "measure"))
        return measure(&cx, argv[2], argc > 3 ? MAX(atoi(argv[3]), 1) : 2,
                       argc > 4 && !strcmp(argv[4], "all"));
    if (argc == 5 && !strcmp(argv[1], "write")) return write_budget(&cx, argv[2], argv[3], argv[4]);
    fprintf(stderr,
            "usage: kiln_budget measure RESULTS [jobs] [all] | write RESULTS BUDGET PAGE\n");
    return 2;
}
