// tests/compiler/gpu/test_stream.c - one-dimensional kernels: the emulator agrees with the interpreter, ptxas
// accepts the PTX for every architecture, and rows move 16 bytes at a time.
#include "tests/compiler/gpu/harness.h"

static const char add[] =
    "func @add(%0.y: ptr<f32> {align=16}, %1.x: ptr<f32> {align=16}, %2.n: i32) num_warps=4 {\n"
    "  %3 = program_id {axis=0} : i32\n"
    "  %4 = const {value=1024} : i32\n"
    "  %5 = mul %3, %4 : i32\n"
    "  %6 = arange {start=0} : tile<1024xi32>\n"
    "  %7 = splat %5 : tile<1024xi32>\n"
    "  %8 = add %7, %6 : tile<1024xi32>\n"
    "  %9 = splat %2 : tile<1024xi32>\n"
    "  %10 = lt %8, %9 : tile<1024xi1>\n"
    "  %11 = splat %1 : tile<1024xptr<f32>>\n"
    "  %12 = addptr %11, %8 : tile<1024xptr<f32>>\n"
    "  %13 = load %12, %10 : tile<1024xf32>\n"
    "  %14 = splat %0 : tile<1024xptr<f32>>\n"
    "  %15 = addptr %14, %8 : tile<1024xptr<f32>>\n"
    "  %16 = load %15, %10 : tile<1024xf32>\n"
    "  %17 = add %13, %16 : tile<1024xf32>\n"
    "  store %15, %17, %10\n"
    "  return\n"
    "}\n";

Test(gpu_stream, vector_add_agrees_and_never_touches_what_is_masked)
{
    for (int64_t n = 1; n <= 2048; n += 683) {
        Buffer x = buffer_new(DTYPE_F32, n), y = buffer_new(DTYPE_F32, n);
        buffer_random(&x, 1, -4, 4), buffer_random(&y, 2, -4, 4);
        Arg args[] = {{.buffer = &y}, {.buffer = &x}, {.i = n}};
        expect_agreement("add", add, 3, args, (Grid){2, 1, 1, 0}, 0, 0);
        buffer_free(&x), buffer_free(&y);
    }
}

Test(gpu_stream, vector_add_assembles_everywhere_without_spills)
{
    expect_assembles("add", add, false);
}
