// tests/compiler/cpu/test_memory.c - what the CPU target does about memory and known signs: prefetches for the next
// program, stores past the caches, and the shorter exp of x - max(x). Each asserts that the form was emitted.
#include <criterion/criterion.h>
#include <math.h>

#include "base/random.h"
#include "tests/compiler/cpu/harness.h"

static const char softmax[] = "func @f(%x: ptr<f32>, %y: ptr<f32>, %n: i32) {\n"
                              "  %row = program_id {axis=0} : i32\n"
                              "  %width = const {value=1024} : i32\n"
                              "  %at = mul %row, %width : i32\n"
                              "  %col = arange {start=0} : tile<1024xi32>\n"
                              "  %px = addptr %x, %at : ptr<f32>\n"
                              "  %sx = splat %px : tile<1024xptr<f32>>\n"
                              "  %tx = addptr %sx, %col : tile<1024xptr<f32>>\n"
                              "  %v = load %tx : tile<1024xf32>\n"
                              "  %m = reduce %v {combine=max, axis=0} : f32\n"
                              "  %sm = splat %m : tile<1024xf32>\n"
                              "  %d = sub %v, %sm : tile<1024xf32>\n"
                              "  %e = exp %d : tile<1024xf32>\n"
                              "  %s = reduce %e {combine=add, axis=0} : f32\n"
                              "  %ss = splat %s : tile<1024xf32>\n"
                              "  %o = div %e, %ss : tile<1024xf32>\n"
                              "  %py = addptr %y, %at : ptr<f32>\n"
                              "  %sy = splat %py : tile<1024xptr<f32>>\n"
                              "  %ty = addptr %sy, %col : tile<1024xptr<f32>>\n"
                              "  store %ty, %o\n"
                              "  return\n"
                              "}\n";

static const char copy[] = "func @f(%x: ptr<f32>, %y: ptr<f32>, %n: i32) {\n"
                           "  %row = program_id {axis=0} : i32\n"
                           "  %width = const {value=1024} : i32\n"
                           "  %at = mul %row, %width : i32\n"
                           "  %col = arange {start=0} : tile<1024xi32>\n"
                           "  %sn = splat %n : tile<1024xi32>\n"
                           "  %live = lt %col, %sn : tile<1024xi1>\n"
                           "  %px = addptr %x, %at : ptr<f32>\n"
                           "  %sx = splat %px : tile<1024xptr<f32>>\n"
                           "  %tx = addptr %sx, %col : tile<1024xptr<f32>>\n"
                           "  %v = load %tx, %live : tile<1024xf32>\n"
                           "  %py = addptr %y, %at : ptr<f32>\n"
                           "  %sy = splat %py : tile<1024xptr<f32>>\n"
                           "  %ty = addptr %sy, %col : tile<1024xptr<f32>>\n"
                           "  store %ty, %v, %live\n"
                           "  return\n"
                           "}\n";

enum { WIDTH = 1024 };

typedef struct Args {
    void *x, *y;
    int32_t n;
} Args;

static int32_t count(const Bench *b, const char *what)
{
    int32_t n = 0;
    for (const char *at = strstr(b->llvm.data, what); at; at = strstr(at + 1, what))
        n++;
    return n;
}

static void compile(Bench *b, const char *text, CpuLevel level)
{
    bench_open(b);
    b->wants_llvm = true;
    cr_assert(bench_parse(b, text), "%s", b->text.data);
    cr_assert(bench_compile(b, level), "%s", b->text.data);
}

Test(cpu_memory, rows_of_the_next_program_are_asked_for_in_the_loop_that_computes)
{
    Bench b;
    compile(&b, softmax, CPU_AVX2);
    cr_expect_eq(count(&b, "call void @llvm.prefetch"), 2, "x and y of the next row: %s",
                 b.llvm.data);
    bench_close(&b);
    compile(&b, copy, CPU_AVX2); // every loop reads what is new: the hardware sees to that
    cr_expect_eq(count(&b, "call void @llvm.prefetch"), 0);
    bench_close(&b);
}

/// Copies `rows` rows of which `n` columns count, from and to addresses `skew` floats past an aligned one.
static void check_copy(Bench *b, int32_t rows, int32_t n, int32_t skew)
{
    size_t size = (size_t)rows * WIDTH + 16;
    float *x = aligned_alloc(64, sizeof *x * size), *y = aligned_alloc(64, sizeof *y * size);
    cr_assert(x && y);
    for (size_t i = 0; i < size; i++)
        x[i] = (float)(i % 8191), y[i] = -1;
    Args args = {x + skew, y + skew, n};
    bench_run(b, &args, (Grid){rows, 1, 1, 0});
    for (size_t i = 0; i < size; i++) {
        size_t at = i - (size_t)skew;
        bool copied = i >= (size_t)skew && at < (size_t)rows * WIDTH && at % WIDTH < (size_t)n;
        if (y[i] != (copied ? x[i] : -1))
            cr_assert_fail("element %zu of %d rows is %g", i, rows, y[i]);
    }
    free(x), free(y);
}

Test(cpu_memory, large_launches_store_past_the_caches_and_all_sizes_come_out_right)
{
    for (int32_t k = 0; k < 3; k++) {
        Bench b;
        compile(&b, copy, bench_levels[k]);
        cr_expect_gt(count(&b, "!nontemporal"), 0);
        cr_expect_eq(count(&b, "fence seq_cst"), 1);
        for (int32_t skew = 0; skew < 3 && bench_can_run(bench_levels[k]); skew++) {
            check_copy(&b, 3, WIDTH, skew);
            check_copy(&b, 8192, WIDTH - 5 * skew, skew);
        }
        bench_close(&b);
    }
}

static double exact_error(float got, float x)
{
    double want = exp((double)x);
    if (want < 0x1p-126) return got == 0 ? 0 : fabs(got - want) / 0x1p-149;
    int e;
    frexp(want, &e);
    return fabs(got - want) / ldexp(1, e - 24);
}

/// exp of row - max(row) where the row holds 0 and what `at` counts down to.
static const char shifted[] = "func @f(%x: ptr<f32>, %y: ptr<f32>, %n: i32) {\n"
                              "  %col = arange {start=0} : tile<1024xi32>\n"
                              "  %sx = splat %x : tile<1024xptr<f32>>\n"
                              "  %tx = addptr %sx, %col : tile<1024xptr<f32>>\n"
                              "  %v = load %tx : tile<1024xf32>\n"
                              "  %m = reduce %v {combine=max, axis=0} : f32\n"
                              "  %sm = splat %m : tile<1024xf32>\n"
                              "  %d = sub %v, %sm : tile<1024xf32>\n"
                              "  %e = exp %d : tile<1024xf32>\n"
                              "  %sy = splat %y : tile<1024xptr<f32>>\n"
                              "  %ty = addptr %sy, %col : tile<1024xptr<f32>>\n"
                              "  store %ty, %e\n"
                              "  return\n"
                              "}\n";

Test(cpu_memory, exp_of_x_minus_its_maximum_needs_no_upper_end_and_is_within_one_ulp)
{
    static float x[WIDTH], y[WIDTH];
    Bench b;
    compile(&b, shifted, CPU_AVX2);
    cr_expect_eq(count(&b, "fcmp ugt"), 0, "nothing is above the upper end");
    Args args = {x, y, 0};
    Random r = {11};
    double worst = 0;
    for (int32_t round = 0; round < 4000 && bench_can_run(CPU_AVX2); round++) {
        for (int32_t i = 0; i < WIDTH; i++)
            x[i] = -(float)ldexp(random_unit(&r), (int)random_below(&r, 30) - 22);
        x[0] = 0, x[1] = -INFINITY, x[2] = f32_from_bits(0x7fc00000 | random_below(&r, 1 << 22));
        x[3] = f32_from_bits(0xffc00000 | random_below(&r, 1 << 22));
        bench_run(&b, &args, (Grid){1, 1, 1, 0});
        cr_assert(y[0] == 1 && y[1] == 0 && isnan(y[2]) && isnan(y[3]), "%g %g %g %g", y[0], y[1],
                  y[2], y[3]);
        for (int32_t i = 4; i < WIDTH; i++) {
            double error = exact_error(y[i], x[i]);
            worst = fmax(worst, error);
            cr_assert(error <= 1, "exp(%a) is %a: %.3f ulp", x[i], y[i], error);
        }
    }
    if (bench_can_run(CPU_AVX2)) cr_expect_gt(worst, 0.4, "the bound is not idle: %g", worst);
    bench_close(&b);
}

Test(cpu_memory, a_maximum_that_lies_along_another_axis_proves_nothing)
{
    static const char text[] = // 32 x 32: each row's maximum is taken from the columns
        "func @f(%x: ptr<f32>, %y: ptr<f32>, %n: i32) {\n"
        "  %i = arange {start=0} : tile<1024xi32>\n"
        "  %sx = splat %x : tile<1024xptr<f32>>\n"
        "  %tx = addptr %sx, %i : tile<1024xptr<f32>>\n"
        "  %l = load %tx : tile<1024xf32>\n"
        "  %v = reshape %l : tile<32x32xf32>\n"
        "  %m = reduce %v {combine=max, axis=1} : tile<32xf32>\n"
        "  %em = expand_dims %m {axis=0} : tile<1x32xf32>\n"
        "  %bm = broadcast %em : tile<32x32xf32>\n"
        "  %d = sub %v, %bm : tile<32x32xf32>\n"
        "  %e = exp %d : tile<32x32xf32>\n"
        "  %o = reshape %e : tile<1024xf32>\n"
        "  %sy = splat %y : tile<1024xptr<f32>>\n"
        "  %ty = addptr %sy, %i : tile<1024xptr<f32>>\n"
        "  store %ty, %o\n"
        "  return\n"
        "}\n";
    static float x[WIDTH], y[WIDTH];
    Bench b;
    compile(&b, text, CPU_AVX2);
    cr_expect_gt(count(&b, "fcmp ugt"), 0);
    for (int32_t i = 0; i < WIDTH; i++)
        x[i] = i / 32 == 3 ? 200 : 0;
    Args args = {x, y, 0};
    if (bench_can_run(CPU_AVX2)) {
        bench_run(&b, &args, (Grid){1, 1, 1, 0});
        cr_expect(isinf(y[3 * 32]) && y[0] == 1 && y[3] == 0, "%g %g %g", y[3 * 32], y[0], y[3]);
    }
    bench_close(&b);
}
