#include "tests/compiler/gpu/lab.h"

#include <stdio.h>

static void keep_report(LabRun *run, const Diag *diag)
{
    StrBuf b = {0};
    diag_render(diag, &b);
    snprintf(run->report, sizeof run->report, "%s", b.data ? b.data : "");
    strbuf_free(&b);
}

static int32_t fill(const Code *code, int32_t n_args, const LabArg *args, char *block,
                    MemRange *ranges)
{
    int32_t n_ranges = 0;
    cr_assert_eq(code->n_params, n_args, "the kernel has %d parameters", code->n_params);
    for (int32_t i = 0; i < n_args; i++) {
        const CodeParam *p = &code->params[i];
        if (args[i].data)
            memcpy(block + p->offset, &args[i].data, sizeof args[i].data);
        else
            memcpy(block + p->offset, &args[i].value, (size_t)p->bytes);
        if (args[i].name)
            ranges[n_ranges++] =
                (MemRange){args[i].data, (size_t)args[i].n * sizeof(int32_t), args[i].name};
    }
    return n_ranges;
}

LabRun lab_run_kernel(const char *target, const char *source, const char *spec, Grid grid,
                      int32_t n_args, const LabArg *args, int32_t n_runs)
{
    LabRun run = {0};
    Diag diag;
    Arena arena;
    Source *s = NULL;
    Spec parsed;
    Target t;
    Code code = {0};
    Image *img = NULL;
    MemRange ranges[LAB_ARGS];
    _Alignas(16) char block[256] = {0};
    diag_init(&diag, heap_default());
    arena_init(&arena, heap_default());
    run.st = target_parse(target, &t, &diag);
    if (run.st == KILN_OK) run.st = source_from_text("kernel.py", str_of(source), &s, &diag);
    if (run.st == KILN_OK) run.st = spec_parse(s, str_of(spec), &arena, &parsed, &diag);
    if (run.st == KILN_OK) run.st = compile_kernel(s, &parsed, &t, NULL, &code, &diag);
    if (run.st == KILN_OK) run.st = image_load(&code, s, &parsed, &img, &diag);
    if (run.st == KILN_OK) {
        int32_t n_ranges = fill(&code, n_args, args, block, ranges);
        int64_t n = (int64_t)grid.x * grid.y * grid.z;
        for (int32_t i = 0; i < n_runs && run.st == KILN_OK; i++)
            run.st = image_run(img, block, &grid, 0, n, n_ranges, ranges, &diag);
        cr_expect(image_counters(img, &run.counters));
    }
    keep_report(&run, &diag);
    image_free(img);
    code_free(&code);
    source_close(s);
    arena_reset(&arena);
    diag_reset(&diag);
    return run;
}
