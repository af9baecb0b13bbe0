// tests/compiler/cpu/harness.c - see harness.h.
#include "tests/compiler/cpu/harness.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "tests/far/far.h"

const CpuLevel bench_levels[6] = {CPU_GENERIC, CPU_AVX2,     CPU_AVX512,
                                  CPU_NEON,    CPU_NEON_DOT, CPU_NEON_I8MM};

const char *bench_level_name(CpuLevel level)
{
    return target_level_name(level);
}

bool bench_can_run(CpuLevel level)
{
    return target_runs_here(&(Target){.kind = TARGET_CPU, .cpu = level}) || far_can_run(level);
}

/// The layout of the arguments, which the driver fills in elsewhere.
static void lay_out(Bench *b)
{
    int32_t at = 0;
    for (int32_t i = 0; i < b->fn->n_params; i++) {
        const Type *t = b->fn->params[i].value->type;
        CodeParam *p = &b->code.params[b->code.n_params++];
        *p =
            (CodeParam){.kind = t->is_ptr ? SPEC_PTR : SPEC_SCALAR, .bytes = type_element_bytes(t)};
        p->offset = at = (int32_t)round_up(at, p->bytes);
        at += p->bytes;
    }
    b->code.args_bytes = at;
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
    b->code.target = target;
    lay_out(b);
    if (cpu_compile(b->fn, &target, &emit, &b->code, &b->diag) != KILN_OK) return failed(b);
    b->scratch = aligned_alloc(64, (size_t)b->code.scratch_bytes + 64);
    if (!bench_can_run(level)) return true;
    KilnStatus st = far_can_run(level) ? far_image_load(&b->code, &b->image, &b->diag)
                                       : cpu_image_load(&b->code, &b->image, &b->diag);
    return st == KILN_OK ? true : failed(b);
}

void bench_run(Bench *b, const void *args, Grid grid)
{
    Tls tls = {.scratch = b->scratch};
    int64_t n = (int64_t)grid.x * grid.y * grid.z;
    if (b->image.entry)
        b->image.entry(args, &grid, 0, n, &tls);
    else if (b->image.ops->run(b->image.self, args, &grid, 0, n, 0, NULL, &b->diag) != KILN_OK)
        cr_assert_fail("%s", b->diag.items.data[0]->text);
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
