// tests/compiler/gpu/test_stream.c - one-dimensional kernels: the emulator agrees with the
// interpreter, ptxas accepts the PTX for every architecture, and rows move 16 bytes at a time.
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

static void expect_anchor(const char *text, const char *layout)
{
    Kernel k;
    kernel_open(&k, text);
    cr_assert_eq(kernel_compile(&k, "sm_80"), KILN_OK, "%s", kernel_messages(&k));
    cr_expect_not_null(strstr(k.layout.data, layout), "want %s in\n%s", layout, k.layout.data);
    kernel_close(&k);
}

// The vectors of layouts.md 8.6: rows of a tile, and a tile too small for 16 bytes per thread.
Test(gpu_stream, anchors_follow_the_addresses)
{
    expect_anchor("func @rows(%0.x: ptr<bf16> {align=16}) num_warps=4 {\n"
                  "  %1 = arange {start=0} : tile<128xi32>\n"
                  "  %2 = const {value=64} : tile<128xi32>\n"
                  "  %3 = mul %1, %2 : tile<128xi32>\n"
                  "  %4 = expand_dims %3 {axis=1} : tile<128x1xi32>\n"
                  "  %5 = arange {start=0} : tile<64xi32>\n"
                  "  %6 = expand_dims %5 {axis=0} : tile<1x64xi32>\n"
                  "  %7 = broadcast %4 : tile<128x64xi32>\n"
                  "  %8 = broadcast %6 : tile<128x64xi32>\n"
                  "  %9 = add %7, %8 : tile<128x64xi32>\n"
                  "  %10 = splat %0 : tile<128x64xptr<bf16>>\n"
                  "  %11 = addptr %10, %9 : tile<128x64xptr<bf16>>\n"
                  "  %12 = load %11 : tile<128x64xbf16>\n"
                  "  store %11, %12\n"
                  "  return\n"
                  "}\n",
                  "load : #l<128x64>{reg 1 2 4 1024 2048 4096; lane 8 16 32 64 128; warp 256 512}");
    expect_anchor("func @small(%0.x: ptr<bf16> {align=16}) num_warps=4 {\n"
                  "  %1 = arange {start=0} : tile<512xi32>\n"
                  "  %2 = splat %0 : tile<512xptr<bf16>>\n"
                  "  %3 = addptr %2, %1 : tile<512xptr<bf16>>\n"
                  "  %4 = load %3 : tile<512xbf16>\n"
                  "  store %3, %4\n"
                  "  return\n"
                  "}\n",
                  "load : #l<512>{reg 1 2; lane 4 8 16 32 64; warp 128 256}");
}

// A pointer that a loop carries has the layout of the load that reads through it.
Test(gpu_stream, a_carried_pointer_takes_the_layout_of_its_load)
{
    static const char text[] = "func @carried(%0.y: ptr<f32> {align=16}, %1.x: ptr<f32> "
                               "{align=16}, %2.n: i32) num_warps=1 {\n"
                               "  %3 = arange {start=0} : tile<256xi32>\n"
                               "  %4 = splat %1 : tile<256xptr<f32>>\n"
                               "  %5 = addptr %4, %3 : tile<256xptr<f32>>\n"
                               "  %6 = const {value=0.0} : tile<256xf32>\n"
                               "  %7 = const {value=0} : i32\n"
                               "  %8 = const {value=1} : i32\n"
                               "  %9 = const {value=256} : tile<256xi32>\n"
                               "  %10, %11 = for %12 = %7 to %2 step %8 carry (%13 = %5, %14 = %6) "
                               ": tile<256xptr<f32>>, tile<256xf32> {\n"
                               "    %15 = load %13 : tile<256xf32>\n"
                               "    %16 = add %14, %15 : tile<256xf32>\n"
                               "    %17 = addptr %13, %9 : tile<256xptr<f32>>\n"
                               "    yield %17, %16\n"
                               "  }\n"
                               "  %18 = splat %0 : tile<256xptr<f32>>\n"
                               "  %19 = addptr %18, %3 : tile<256xptr<f32>>\n"
                               "  store %19, %11\n"
                               "  return\n"
                               "}\n";
    Buffer x = buffer_new(DTYPE_F32, 256 * 5), y = buffer_new(DTYPE_F32, 256);
    buffer_random(&x, 3, -1, 1);
    Arg args[] = {{.buffer = &y}, {.buffer = &x}, {.i = 5}};
    expect_agreement("carried", text, 3, args, (Grid){1, 1, 1, 0}, 1e-6, 1e-6);
    buffer_free(&x), buffer_free(&y);
    Kernel k;
    kernel_open(&k, text);
    cr_assert_eq(kernel_compile(&k, "sm_80"), KILN_OK);
    cr_expect_null(strstr(k.layout.data, "convert"), "%s", k.layout.data);
    kernel_close(&k);
}
