// tests/compiler/gpu/test_golden.c - the pipeliner's golden file: loops before and after, which the
// interpreter runs to the same numbers.
#include <criterion/criterion.h>

#include "compiler/gpu/gpu.h"
#include "ir/verify.h"
#include "tests/support/golden.h"

static KilnStatus run_pipeline(PassCx *pass, Func *fn)
{
    GpuCx cx = {.fn = fn,
                .module = fn->module,
                .arena = fn->module->arena,
                .diag = pass->diag,
                .sm = sm_facts(80, false),
                .log_warps = log2_floor((uint64_t)fn->num_warps)};
    AffineCx *affine = affine_new(cx.arena, fn);
    anchors_choose(&cx, affine);
    return pipeline_loops(&cx, affine);
}

static const Pass pass_pipeline = {.name = "pipeline", .run = run_pipeline};

Test(gpu_golden, loops_are_pipelined_as_the_file_shows, .init = tile_up, .fini = tile_down)
{
    const Pass *more[] = {&pass_pipeline};
    cr_expect_geq(golden_file("passes/pipeline.tile", more, 1), 4);
}
