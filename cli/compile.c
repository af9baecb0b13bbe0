// cli/compile.c - kiln compile: kernel text to code, on every target asked for, with a table of what came out.
//
//   FILE[:FUNC]  ->  launch cards (or --sig)  x  targets  ->  Code  ->  table, --emit texts, files in -o DIR
//
// A kernel file is compiled without any device; registers and spills are the CUDA assembler's word and
// are shown where it is installed.
#include <stdio.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/command.h"
#include "compiler/compile.h"

typedef struct EmitRow {
    const char *name, *suffix;
    bool gpu_only, cpu_only;
    size_t field; ///< offset of the StrBuf * in Emit
} EmitRow;

static const EmitRow emit_rows[] = {
    {"ast", "ast", false, false, offsetof(Emit, ast)},
    {"tile", "tile", false, false, offsetof(Emit, tile)},
    {"layout", "layout.txt", true, false, offsetof(Emit, layout)},
    {"layout.svg", "layout.svg", true, false, offsetof(Emit, layout_svg)},
    {"llvm", "ll", false, false, offsetof(Emit, llvm)},
    {"asm", "s", false, true, offsetof(Emit, assembly)},
    {"ptx", "ptx", true, false, offsetof(Emit, ptx)},
};

typedef struct Job {
    const Settings *s;
    Arena *arena;
    Diag *diag;
    const Source *source;
    Table table;
    StrBuf out; ///< emitted texts for stdout
    int32_t n_done;
    bool wants_sass;
} Job;

static const EmitRow *emit_row(const char *name)
{
    for (int32_t i = 0; i < COUNT_OF(emit_rows); i++)
        if (!strcmp(emit_rows[i].name, name)) return &emit_rows[i];
    return NULL;
}

static KilnStatus check_pass(const char *name, Diag *diag)
{
    char all[160];
    size_t at = 0;
    for (int32_t i = 0; compile_passes[i]; i++) {
        if (!strcmp(compile_passes[i], name)) return KILN_OK;
        at += (size_t)snprintf(all + at, sizeof all - at, " %s", compile_passes[i]);
    }
    return fail(diag, KILN_ERR_INPUT, "", "--emit=tile-after:%s: is none of the passes%s", name,
                all);
}

static KilnStatus check_emits(const Settings *s, Diag *diag)
{
    for (int32_t i = 0; i < s->emits.n; i++) {
        const char *what = s->emits.items[i];
        if (!strncmp(what, "tile-after:", 11)) {
            KilnStatus st = check_pass(what + 11, diag);
            if (st != KILN_OK) return st;
        } else if (!emit_row(what) && strcmp(what, "sass") != 0)
            return fail(diag, KILN_ERR_INPUT, "",
                        "--emit=%s: is none of ast tile tile-after:PASS layout layout.svg llvm asm "
                        "ptx sass",
                        what);
    }
    return KILN_OK;
}

/// One text goes to DIR/func.n.target.suffix, or to stdout under a heading.
static KilnStatus put_text(Job *j, const Spec *spec, const char *target, const char *suffix,
                           Str text)
{
    if (!text.len) return KILN_OK;
    if (!j->s->out_dir) {
        strbuf_printf(&j->out, "// %s  %s  .%s\n", spec_text(j->arena, spec), target, suffix);
        strbuf_add(&j->out, text.data, text.len);
        if (text.data[text.len - 1] != '\n') strbuf_putc(&j->out, '\n');
        return KILN_OK;
    }
    const char *path = arena_printf(j->arena, "%s/%s.%d.%s.%s", j->s->out_dir, spec->func,
                                    j->n_done, target, suffix);
    return file_replace(path, text.data, text.len, j->diag);
}

static KilnStatus put_sass(Job *j, const Spec *spec, const char *target, Assembled *assembled)
{
    StrBuf sass = {0};
    KilnStatus st = KILN_OK;
    if (!assembled->cubin || !toolkit_disassemble(j->arena, assembled->cubin, &sass))
        st = fail_hint(j->diag, KILN_ERR_DEVICE, "K310",
                       "install the CUDA toolkit (ptxas and nvdisasm), or use --emit=ptx",
                       "--emit=sass: no disassembler was found");
    else
        st = put_text(j, spec, target, "sass", (Str){sass.data, sass.len});
    strbuf_free(&sass);
    return st;
}

static void add_row(Job *j, const Spec *spec, const char *target, const Code *c, const Assembled *a)
{
    bool gpu = c->target.kind == TARGET_SM;
    const char *cells[] = {spec_text(j->arena, spec),
                           target,
                           arena_printf(j->arena, "%.1f", (double)c->compile_us / 1e3),
                           arena_printf(j->arena, "%zu", c->size),
                           gpu ? arena_printf(j->arena, "%d", c->shared_bytes) : "",
                           gpu ? "" : arena_printf(j->arena, "%lld", (long long)c->scratch_bytes),
                           a->accepted ? arena_printf(j->arena, "%d", a->registers) : "",
                           a->accepted ? arena_printf(j->arena, "%d", a->spill_bytes) : ""};
    table_row(&j->table, cells);
}

static KilnStatus assemble(Job *j, const Spec *spec, const char *target, const Code *c,
                           Assembled *a)
{
    KilnStatus st = KILN_OK;
    *a = (Assembled){0};
    if (c->target.kind != TARGET_SM) return KILN_OK;
    toolkit_assemble(j->arena, target, (Str){(const char *)c->bytes, c->size}, j->wants_sass, a);
    if (a->present && !a->accepted)
        st = fail(j->diag, KILN_ERR_DEVICE, "E9999", "ptxas refuses %s for %s: %s", spec->func,
                  target, a->log);
    if (st == KILN_OK && j->wants_sass) st = put_sass(j, spec, target, a);
    if (a->cubin) unlink(a->cubin);
    return st;
}

static KilnStatus compile_one(Job *j, const Spec *spec, const char *target_name)
{
    KilnStatus st = KILN_OK;
    Target target;
    Code code = {0};
    Emit emit = {0};
    StrBuf texts[COUNT_OF(emit_rows)] = {0}, after = {0};
    Assembled assembled;

    TRY(target_parse(target_name, &target, j->diag));
    for (int32_t i = 0; i < j->s->emits.n; i++) {
        const EmitRow *row = emit_row(j->s->emits.items[i]);
        if (row && !(row->gpu_only && target.kind == TARGET_CPU) &&
            !(row->cpu_only && target.kind != TARGET_CPU))
            *(StrBuf **)((char *)&emit + row->field) = &texts[row - emit_rows];
        if (!strncmp(j->s->emits.items[i], "tile-after:", 11))
            emit.tile_after = &after, emit.tile_after_pass = j->s->emits.items[i] + 11;
    }
    TRY(compile_kernel(j->source, spec, &target, &emit, &code, j->diag));
    for (int32_t i = 0; i < COUNT_OF(emit_rows); i++)
        TRY(put_text(j, spec, target_name, emit_rows[i].suffix,
                     (Str){texts[i].data, texts[i].len}));
    TRY(put_text(j, spec, target_name, "after.tile", (Str){after.data, after.len}));
    TRY(assemble(j, spec, target_name, &code, &assembled));
    add_row(j, spec, target_name, &code, &assembled);
    if (j->s->out_dir)
        TRY(put_text(j, spec, target_name, target.kind == TARGET_SM ? "ptx" : "o",
                     (Str){(const char *)code.bytes, code.size}));
    j->n_done++;
done:
    for (int32_t i = 0; i < COUNT_OF(emit_rows); i++)
        strbuf_free(&texts[i]);
    strbuf_free(&after);
    code_free(&code);
    return st;
}

/// The specialisation that --sig, --const, --num-warps describe, in its written form.
static const char *written_spec(const Settings *s, const char *func, Arena *arena)
{
    StrBuf text = {0};
    strbuf_printf(&text, "%s(%s", func, s->sig);
    for (int32_t i = 0; i < s->consts.n; i++)
        strbuf_printf(&text, ", %s", s->consts.items[i]);
    strbuf_putc(&text, ')');
    if (s->num_warps || s->num_stages)
        strbuf_printf(&text, "[num_warps=%d, num_stages=%d]", s->num_warps ? (int)s->num_warps : 4,
                      s->num_stages ? (int)s->num_stages : 3);
    const char *copy = arena_strndup(arena, text.data, text.len);
    strbuf_free(&text);
    return copy;
}

static KilnStatus collect(Job *j, const char *func, int32_t *n, Card **cards)
{
    if (!j->s->sig) {
        KilnStatus st = source_cards(j->source, func, j->arena, n, cards, j->diag);
        if (st != KILN_OK || *n) return st;
        if (!source_n_kernels(j->source))
            return fail(j->diag, KILN_ERR_INPUT, "K110", "%s: has no @triton.jit kernel",
                        source_path(j->source));
        return source_cards(j->source, source_kernel(j->source, 0), j->arena, n, cards,
                            j->diag); // says how to write one
    }
    if (!func && source_n_kernels(j->source) == 1) func = source_kernel(j->source, 0);
    if (!func)
        return fail(j->diag, KILN_ERR_INPUT, "", "--sig needs one kernel: name it as FILE:FUNC");
    *n = 1;
    *cards = arena_new(j->arena, Card);
    return spec_parse(j->source, str_of(written_spec(j->s, func, j->arena)), j->arena,
                      &(*cards)->spec, j->diag);
}

static void print_json(const Job *j, StrBuf *out)
{
    strbuf_puts(out, "{\"schema\": \"kiln.compile/1\", \"kernels\": [");
    static const char *const keys[] = {"kernel",       "target",        "ms",        "code_bytes",
                                       "shared_bytes", "scratch_bytes", "registers", "spill_bytes"};
    for (int32_t r = 1; r < j->table.rows.len; r++) {
        strbuf_puts(out, r > 1 ? ", {" : "{");
        for (int32_t c = 0, n = 0; c < j->table.n_columns; c++) {
            const char *cell = j->table.rows.data[r][c];
            if (!cell[0]) continue;
            strbuf_printf(out, "%s\"%s\": ", n++ ? ", " : "", keys[c]);
            if (c > 1)
                strbuf_puts(out, cell);
            else
                strbuf_putc(out, '"'), strbuf_json(out, cell, strlen(cell)), strbuf_putc(out, '"');
        }
        strbuf_putc(out, '}');
    }
    strbuf_puts(out, "]}\n");
}

static KilnStatus compile_cards(Job *j, int32_t n_cards, const Card *cards)
{
    KilnStatus worst = KILN_OK;
    static const char *const usual[] = {"cpu", "sm_90a"};
    const char *const *targets = j->s->targets.n ? j->s->targets.items : usual;
    int32_t n_targets = j->s->targets.n ? j->s->targets.n : COUNT_OF(usual);
    for (int32_t i = 0; i < n_cards; i++)
        for (int32_t t = 0; t < n_targets; t++) {
            KilnStatus st = compile_one(j, &cards[i].spec, targets[t]);
            if (st != KILN_OK) worst = st; // go on: one run reports every mistake
        }
    return worst;
}

int command_compile(const Settings *s, Arena *arena, Diag *diag)
{
    KilnStatus st = KILN_OK;
    Source *source = NULL;
    Job j = {.s = s, .arena = arena, .diag = diag, .table = {.arena = arena, .n_columns = 8}};
    if (s->n_args != 1) {
        fail(diag, KILN_ERR_INPUT, "", "compile needs one kernel file: kiln compile FILE[:FUNC]");
        return EXIT_USAGE;
    }
    if (check_emits(s, diag) != KILN_OK) return EXIT_USAGE;
    for (int32_t i = 0; i < s->emits.n; i++)
        j.wants_sass |= !strcmp(s->emits.items[i], "sass");
    const char *colon = strrchr(s->args[0], ':');
    const char *path =
        colon ? arena_strndup(arena, s->args[0], (size_t)(colon - s->args[0])) : s->args[0];
    static const char *const header[] = {"kernel", "target",  "ms",        "bytes",
                                         "shared", "scratch", "registers", "spilled"};
    table_row(&j.table, header);

    TRY(source_open(path, &source, diag));
    j.source = source;
    if (s->out_dir) TRY(file_make_dirs(s->out_dir, diag));
    int32_t n_cards;
    Card *cards;
    TRY(collect(&j, colon ? colon + 1 : NULL, &n_cards, &cards));
    st = compile_cards(&j, n_cards, cards);
    if (s->json)
        print_json(&j, &j.out);
    else if ((!s->emits.n || s->out_dir) && j.n_done)
        table_print(&j.table, &j.out);
done:
    print_out(&j.out);
    strbuf_free(&j.out);
    source_close(source);
    if (st == KILN_OK && s->strict && diag->n_warnings) return EXIT_FAILED;
    return st == KILN_OK ? EXIT_DONE : EXIT_FAILED; // kernel resources carry E codes: 1, not 3
}
