// tests/compiler/cpu/harness.c - see harness.h.
#include "tests/compiler/cpu/harness.h"

#include <stdlib.h>

const CpuLevel bench_levels[3] = {CPU_GENERIC, CPU_AVX2, CPU_AVX512};

const char *bench_level_name(CpuLevel level)
{
    return level == CPU_GENERIC ? "generic" : level == CPU_AVX2 ? "avx2" : "avx512";
}

bool bench_can_run(CpuLevel level)
{
    return target_runs_here(&(Target){.kind = TARGET_CPU, .cpu = level});
}

void bench_open(Bench *b)
{
    *b = (Bench){0};
    diag_init(&b->diag, heap_default());
    arena_init(&b->arena, heap_default());
    b->module = module_new(&b->arena, &b->diag);
}

static void unlink_code(Bench *b)
{
    if (b->image.ops) b->image.ops->free(b->image.self);
    b->image = (Image){0};
    heap_free(heap_default(), b->code.bytes);
    b->code = (Code){0};
    free(b->scratch);
    b->scratch = NULL;
}

void bench_close(Bench *b)
{
    unlink_code(b);
    strbuf_free(&b->text);
    strbuf_free(&b->llvm);
    arena_reset(&b->arena);
    diag_reset(&b->diag);
}

static bool failed(Bench *b)
{
    diag_render(&b->diag, &b->text);
    return false;
}

bool bench_parse(Bench *b, const char *text)
{
    if (module_parse(b->module, "test.tile", str_of(text)) != KILN_OK) return failed(b);
    b->fn = b->module->funcs.data[0];
    return true;
}

bool bench_compile(Bench *b, CpuLevel level)
{
    unlink_code(b);
    Target target = {.kind = TARGET_CPU, .cpu = level};
    Emit emit = {.llvm = b->wants_llvm ? &b->llvm : NULL};
    strcpy(b->code.entry, "kernel");
    if (cpu_compile(b->fn, &target, &emit, &b->code, &b->diag) != KILN_OK) return failed(b);
    b->scratch = aligned_alloc(64, (size_t)b->code.scratch_bytes + 64);
    if (!bench_can_run(level)) return true;
    return cpu_image_load(&b->code, &b->image, &b->diag) == KILN_OK ? true : failed(b);
}

void bench_run(Bench *b, const void *args, Grid grid)
{
    Tls tls = {.scratch = b->scratch};
    b->image.entry(args, &grid, 0, (int64_t)grid.x * grid.y * grid.z, &tls);
}

bool bench_interpret(Bench *b, const void *args, Grid grid)
{
    Arena scratch;
    arena_init(&scratch, heap_default());
    int64_t n = (int64_t)grid.x * grid.y * grid.z;
    KilnStatus st = interp_run(b->fn, args, &grid, 0, n, 0, NULL, &scratch, &b->diag);
    arena_reset(&scratch);
    return st == KILN_OK ? true : failed(b);
}
