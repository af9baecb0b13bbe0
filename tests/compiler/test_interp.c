// tests/compiler/test_interp.c - the interpreter against closed forms, and what it refuses.
#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "base/random.h"
#include "compiler/interp/interp.h"
#include "tests/support/tile.h"

TestSuite(interp, .init = tile_up, .fini = tile_down, .timeout = 120);

/// Runs `text` with tiles and scalars given and taken by value.
static void by_value(const char *text, const Slot *const *params, Slot *const *results)
{
    Func *fn = tile_func(text);
    InterpCall call = {.fn = fn,
                       .params = params,
                       .results = results,
                       .grid = {3, 4, 5, 0},
                       .first = 3 + 3 * (2 + 4 * 1) - 1,
                       .n = 1,
                       .scratch = &tile_arena,
                       .diag = &tile_diag};
    cr_assert_eq(interp_call(&call), KILN_OK, "%s", diag_first(&tile_diag));
}

static Slot *ints(int32_t n, const int64_t *x)
{
    Slot *out = arena_array(&tile_arena, Slot, n);
    for (int32_t i = 0; i < n; i++)
        out[i].i = x[i];
    return out;
}

static Slot *random_floats(Random *r, int32_t n)
{
    Slot *out = arena_array(&tile_arena, Slot, n);
    for (int32_t i = 0; i < n; i++)
        out[i].f = (double)(float)random_normal(r);
    return out;
}

#define I(...) ints(sizeof((int64_t[]){__VA_ARGS__}) / 8, (int64_t[]){__VA_ARGS__})

static void expect_ints(const Slot *got, int32_t n, const int64_t *want, const char *what)
{
    for (int32_t i = 0; i < n; i++)
        cr_expect_eq(got[i].i, want[i], "%s: element %d is %lld", what, i, (long long)got[i].i);
}

#define EXPECT(got, ...)                                                                           \
    expect_ints(got, sizeof((int64_t[]){__VA_ARGS__}) / 8, (int64_t[]){__VA_ARGS__}, #got)

Test(interp, programs_know_their_place_in_the_grid)
{
    Slot r[6];
    by_value("func @f() -> i32, i32, i32, i32, i32, i32 {\n"
             "  %0 = program_id {axis=0} : i32\n  %1 = program_id {axis=1} : i32\n  %2 = "
             "program_id {axis=2} : i32\n"
             "  %3 = num_programs {axis=0} : i32\n  %4 = num_programs {axis=1} : i32\n  %5 = "
             "num_programs {axis=2} : i32\n"
             "  return %0, %1, %2, %3, %4, %5\n}\n",
             NULL, (Slot *const[]){&r[0], &r[1], &r[2], &r[3], &r[4], &r[5]});
    EXPECT(r, 2, 2, 1, 3, 4, 5);
}

Test(interp, shape_ops_are_row_major)
{
    Slot trans[6 + 2], join[8], even[4], odd[4], cat[8], flip[8], broad[8];
    by_value("func @f(%0: tile<2x4xi32>, %1: tile<4xi32>) -> tile<4x2xi32>, tile<4x2xi32>, "
             "tile<4xi32>, tile<4xi32>, "
             "tile<8xi32>, tile<2x4xi32>, tile<4x2xi32> {\n"
             "  %2 = trans %0 {list=[1, 0]} : tile<4x2xi32>\n"
             "  %3 = flip %1 {axis=0} : tile<4xi32>\n"
             "  %4 = join %1, %3 : tile<4x2xi32>\n"
             "  %5 = reshape %0 : tile<4x2xi32>\n"
             "  %6, %7 = split %5 : tile<4xi32>, tile<4xi32>\n"
             "  %8 = cat %1, %3 {axis=0} : tile<8xi32>\n"
             "  %9 = flip %0 {axis=0} : tile<2x4xi32>\n"
             "  %10 = expand_dims %1 {axis=1} : tile<4x1xi32>\n"
             "  %11 = broadcast %10 : tile<4x2xi32>\n"
             "  return %2, %4, %6, %7, %8, %9, %11\n}\n",
             (const Slot *const[]){I(0, 1, 2, 3, 4, 5, 6, 7), I(10, 11, 12, 13)},
             (Slot *const[]){trans, join, even, odd, cat, flip, broad});
    EXPECT(trans, 0, 4, 1, 5, 2, 6, 3, 7);
    EXPECT(join, 10, 13, 11, 12, 12, 11, 13, 10);
    EXPECT(even, 0, 2, 4, 6);
    EXPECT(odd, 1, 3, 5, 7);
    EXPECT(cat, 10, 11, 12, 13, 13, 12, 11, 10);
    EXPECT(flip, 4, 5, 6, 7, 0, 1, 2, 3);
    EXPECT(broad, 10, 10, 11, 11, 12, 12, 13, 13);
}

Test(interp, reductions_go_along_their_axis)
{
    Slot rows[2], columns[4], best[4], index[4], any[2], pairs[4], scan[8], back[8];
    by_value("func @f(%0: tile<2x4xi32>) -> tile<2xi32>, tile<4xi32>, tile<4xi32>, tile<4xi32>, "
             "tile<2xi32>, tile<4xi32>, "
             "tile<2x4xi32>, tile<2x4xi32> {\n"
             "  %1 = reduce %0 {combine=add, axis=1} : tile<2xi32>\n"
             "  %2 = reduce %0 {combine=max, axis=0} : tile<4xi32>\n"
             "  %3, %4 = reduce %0 {combine=argmin, axis=0} : tile<4xi32>, tile<4xi32>\n"
             "  %5 = reduce %0 {combine=xor, axis=1} : tile<2xi32>\n"
             "  %6 = reduce %0 {combine=region, axis=0} : tile<4xi32> (%7: i32, %8: i32) {\n"
             "    %9 = mul %7, %8 : i32\n    yield %9\n  }\n"
             "  %10 = scan %0 {combine=add, axis=1} : tile<2x4xi32>\n"
             "  %11 = scan %0 {combine=region, axis=1, reverse=true} : tile<2x4xi32> (%12: i32, "
             "%13: i32) {\n"
             "    %14 = sub %13, %12 : i32\n    yield %14\n  }\n"
             "  return %1, %2, %3, %4, %5, %6, %10, %11\n}\n",
             (const Slot *const[]){I(5, 1, 2, 7, 5, 0, 3, 6)},
             (Slot *const[]){rows, columns, best, index, any, pairs, scan, back});
    EXPECT(rows, 15, 14);
    EXPECT(columns, 5, 1, 3, 7);
    EXPECT(best, 5, 0, 2, 6);
    EXPECT(index, 0, 1, 0, 1);
    EXPECT(any, 5 ^ 1 ^ 2 ^ 7, 5 ^ 0 ^ 3 ^ 6);
    EXPECT(pairs, 25, 0, 6, 42);
    EXPECT(scan, 5, 6, 8, 15, 5, 5, 8, 14);
    EXPECT(back, 5 - 6, 1 - -5, 2 - 7, 7, 5 - 3, 0 - -3, 3 - 6,
           6); // from the end: what came before is operand 0
}

Test(interp, sorting_gathering_counting)
{
    Slot up[8], top[2], picked[4], counts[4];
    by_value(
        "func @f(%0: tile<8xi32>, %1: tile<4xi32>, %2: tile<8xi1>) -> tile<8xi32>, tile<2xi32>, "
        "tile<4xi32>, tile<4xi32> {\n"
        "  %3 = sort %0 : tile<8xi32>\n"
        "  %4 = sort %0 {descending=true} : tile<2xi32>\n"
        "  %5 = gather %0, %1 {axis=0} : tile<4xi32>\n"
        "  %6 = histogram %0, %2 : tile<4xi32>\n"
        "  return %3, %4, %5, %6\n}\n",
        (const Slot *const[]){I(3, -1, 9, 3, 0, 2, 1, 3), I(7, 0, 2, 2), I(1, 1, 1, 0, 1, 1, 1, 1)},
        (Slot *const[]){up, top, picked, counts});
    EXPECT(up, -1, 0, 1, 2, 3, 3, 3, 9);
    EXPECT(top, 9, 3);
    EXPECT(picked, 3, 3, 9, 9);
    EXPECT(counts, 1, 1, 1, 2);
}

Test(interp, sums_of_bf16_round_once)
{
    Slot ones[256], sum;
    for (int32_t i = 0; i < 256; i++)
        ones[i].f = i ? 0x1p-9 : 1; // one by one each would be lost
    by_value("func @f(%0: tile<256xbf16>) -> bf16 {\n  %1 = reduce %0 {combine=add, axis=0} : "
             "bf16\n  return %1\n}\n",
             (const Slot *const[]){ones}, (Slot *const[]){&sum});
    cr_expect_eq(sum.f, 1.5);
}

Test(interp, a_dot_is_the_sum_of_products)
{
    Random r = {9};
    Slot *a = random_floats(&r, 2 * 8 * 16), *b = random_floats(&r, 2 * 16 * 4),
         *c = random_floats(&r, 2 * 8 * 4), out[64];
    by_value("func @f(%0: tile<2x8x16xf32>, %1: tile<2x16x4xf32>, %2: tile<2x8x4xf32>) -> "
             "tile<2x8x4xf32> {\n"
             "  %3 = dot %0, %1, %2 {precision=ieee} : tile<2x8x4xf32>\n  return %3\n}\n",
             (const Slot *const[]){a, b, c}, (Slot *const[]){out});
    for (int32_t z = 0; z < 2; z++)
        for (int32_t m = 0; m < 8; m++)
            for (int32_t n = 0; n < 4; n++) {
                double sum = 0;
                for (int32_t k = 0; k < 16; k++)
                    sum += a[(z * 8 + m) * 16 + k].f * b[(z * 16 + k) * 4 + n].f;
                cr_expect_eq(out[(z * 8 + m) * 4 + n].f,
                             (double)(float)(c[(z * 8 + m) * 4 + n].f + sum));
            }
}

Test(interp, loops_count_up_down_and_not_at_all)
{
    Slot up, down, none, wide;
    by_value("func @f(%0: i32) -> i32, i32, i32, u8 {\n"
             "  %1 = const {value=0} : i32\n  %2 = const {value=10} : i32\n  %3 = const {value=3} "
             ": i32\n  %4 = const {value=-3} : i32\n"
             "  %5 = for %6 = %1 to %2 step %3 carry (%7 = %1) : i32 {\n    %8 = add %7, %6 : "
             "i32\n    yield %8\n  }\n"
             "  %9 = for %10 = %2 to %1 step %4 carry (%11 = %1) : i32 {\n    %12 = add %11, %10 : "
             "i32\n    yield %12\n  }\n"
             "  %13 = for %14 = %2 to %1 step %0 carry (%15 = %1) : i32 {\n    %16 = add %15, %14 "
             ": i32\n    yield %16\n  }\n"
             "  %17 = const {value=250} : u8\n  %18 = const {value=255} : u8\n  %19 = const "
             "{value=4} : u8\n"
             "  %20 = for %21 = %17 to %18 step %19 carry (%22 = %19) : u8 {\n    %23 = add %22, "
             "%19 : u8\n    yield %23\n  }\n"
             "  return %5, %9, %13, %20\n}\n",
             (const Slot *const[]){&(Slot){.i = -3}}, (Slot *const[]){&up, &down, &none, &wide});
    cr_expect_eq(up.i, 0 + 3 + 6 + 9);
    cr_expect_eq(down.i, 10 + 7 + 4 + 1);
    cr_expect_eq(none.i, 0, "a run-time step that is negative runs no iteration");
    cr_expect_eq(wide.i, 12, "the index does not wrap around the end of its type");
}

Test(interp, carried_values_are_assigned_at_once)
{
    Slot a[2], b[2], x, y;
    by_value(
        "func @f(%0: tile<2xi32>, %1: tile<2xi32>, %2: i32) -> tile<2xi32>, tile<2xi32>, i32, i32 "
        "{\n"
        "  %3 = const {value=0} : i32\n  %4 = const {value=1} : i32\n  %5 = const {value=3} : i32\n"
        "  %6, %7 = for %8 = %3 to %5 step %4 carry (%9 = %0, %10 = %1) : tile<2xi32>, tile<2xi32> "
        "{\n"
        "    %11 = reshape %9 : tile<2x1xi32>\n    %12 = reshape %11 : tile<2xi32>\n"
        "    yield %10, %12\n  }\n"
        "  %13, %14 = while carry (%15 = %2, %16 = %3) : i32, i32 {\n"
        "    %17 = lt %16, %5 : i1\n    condition %17, %15, %16\n  } do (%18, %19) {\n"
        "    %20 = add %19, %4 : i32\n    %21 = mul %18, %18 : i32\n    yield %21, %20\n  }\n"
        "  return %6, %7, %13, %14\n}\n",
        (const Slot *const[]){I(1, 2), I(3, 4), I(2)}, (Slot *const[]){a, b, &x, &y});
    EXPECT(a, 3, 4);
    EXPECT(b, 1, 2);
    cr_expect_eq(x.i, 256);
    cr_expect_eq(y.i, 3);
}

Test(interp, asynchronous_ops_give_what_plain_ones_do)
{
    Slot same;
    float memory[64 * 2];
    for (int32_t i = 0; i < 128; i++)
        memory[i] = (float)(i % 7);
    by_value("func @f(%0: ptr<f32>) -> i1 {\n"
             "  %1 = const {value=0} : i32\n  %2 = const {value=1} : i32\n"
             "  %3 = arange {start=0} : tile<64xi32>\n  %4 = reshape %3 : tile<8x8xi32>\n"
             "  %5 = splat %0 : tile<8x8xptr<f32>>\n  %6 = addptr %5, %4 : tile<8x8xptr<f32>>\n"
             "  %7 = const {value=64} : tile<8x8xi32>\n  %8 = addptr %6, %7 : tile<8x8xptr<f32>>\n"
             "  %9 = alloc : buf<8x8xf32, stages=2>\n  %10 = alloc : buf<8x8xf32, stages=2>\n"
             "  %11 = copy_async %9, %2, %6 : token\n  wait %11 {pending=0}\n"
             "  %12 = load %8 : tile<8x8xf32>\n  buf_store %10, %2, %12\n"
             "  %13 = const {value=1.0} : tile<8x8xf32>\n"
             "  %14 = mma_async %9, %10, %2, %13 : tile<8x8xf32>\n  %15 = mma_wait %14 {pending=0} "
             ": tile<8x8xf32>\n"
             "  %16 = buf_load %9, %2 : tile<8x8xf32>\n  %17 = dot %16, %12, %13 : tile<8x8xf32>\n"
             "  %18 = eq %15, %17 : tile<8x8xi1>\n  %19 = reshape %18 : tile<64xi1>\n"
             "  %20 = reduce %19 {combine=and, axis=0} : i1\n  return %20\n}\n",
             (const Slot *const[]){&(Slot){.i = (int64_t)(uintptr_t)memory}},
             (Slot *const[]){&same});
    cr_expect_eq(same.i, 1);
}

// ---- memory -----------------------------------------------------------------------------------------

static const char *const scale_kernel =
    "func @scale(%0.flag: i1, %1.x: ptr<f32> {align=16}, %2.n: i32, %3.by: f32) {\n"
    "  %4 = program_id {axis=0} : i32\n  %5 = const {value=64} : i32\n  %6 = mul %4, %5 : i32\n"
    "  %7 = arange {start=0} : tile<64xi32>\n  %8 = splat %6 : tile<64xi32>\n  %9 = add %8, %7 : "
    "tile<64xi32>\n"
    "  %10 = splat %2 : tile<64xi32>\n  %11 = lt %9, %10 : tile<64xi1>\n"
    "  %12 = splat %1 : tile<64xptr<f32>>\n  %13 = addptr %12, %9 : tile<64xptr<f32>>\n"
    "  %14 = load %13, %11 : tile<64xf32>\n  %15 = splat %3 : tile<64xf32>\n  %16 = mul %14, %15 : "
    "tile<64xf32>\n"
    "  store %13, %16, %11\n  return\n}\n";

typedef struct ScaleArgs {
    bool flag;
    float *x;
    int32_t n;
    float by;
} ScaleArgs;

Test(interp, arguments_lie_as_cuda_lays_them_out)
{
    Func *fn = tile_func(scale_kernel);
    int32_t offsets[4];
    cr_expect_eq(interp_args_layout(fn, offsets), (int32_t)sizeof(ScaleArgs));
    cr_expect_eq(offsets[1], (int32_t)offsetof(ScaleArgs, x));
    cr_expect_eq(offsets[3], (int32_t)offsetof(ScaleArgs, by));
}

Test(interp, masked_lanes_touch_no_memory)
{
    float x[100];
    for (int32_t i = 0; i < 100; i++)
        x[i] = (float)i;
    ScaleArgs args = {false, x, 100, 2};
    MemRange range = {x, sizeof(x), "x"};
    Func *fn = tile_func(scale_kernel);
    KilnStatus st =
        interp_run(fn, &args, &(Grid){2, 1, 1, 0}, 0, 2, 1, &range, &tile_arena, &tile_diag);
    cr_assert_eq(st, KILN_OK, "%s", diag_first(&tile_diag));
    for (int32_t i = 0; i < 100; i++)
        cr_expect_eq(x[i], (float)(2 * i));
}

Test(interp, an_access_outside_is_named_with_program_and_element)
{
    float x[100] = {0};
    ScaleArgs args = {false, x, 101, 2};
    MemRange range = {x, sizeof(x), "x"};
    Func *fn = tile_func(scale_kernel);
    KilnStatus st =
        interp_run(fn, &args, &(Grid){2, 1, 1, 0}, 0, 2, 1, &range, &tile_arena, &tile_diag);
    cr_assert_eq(st, KILN_ERR_DEVICE);
    cr_expect_str_eq(
        diag_first(&tile_diag),
        "out of bounds: this load of 4 bytes is 0 bytes past the end of `x` (400 bytes) "
        "(program (1, 0, 0), element (36) of *float32[64])");
    cr_expect_str_eq(tile_diag.items.data[0]->code, "E1101");
    cr_expect(tile_diag.items.data[0]->span.file >= 0, "it has a place");
}

Test(interp, false_asserts_and_promises_stop_the_launch)
{
    static const struct {
        const char *body, *code, *text;
    } rows[] = {
        {"%1 = const {value=8} : i32\n  %2 = lt %0, %1 : i1\n  assert %2 {text=\"too many\"}",
         "E1102", "device assertion failed: too many (program (0, 0, 0))"},
        {"%1 = const {value=8} : i32\n  %2 = lt %0, %1 : i1\n  assume %2", "E1103",
         "this assumption is false (program (0, 0, 0))"},
        {"%1 = hint %0 {hint=multiple_of, list=[16]} : i32", "E1103",
         "this value was promised to be a multiple of 16 but is 9 (program (0, 0, 0))"},
        {"%1 = arange {start=0} : tile<16xi32>\n  %2 = splat %0 : tile<16xi32>\n  %3 = lt %1, %2 : "
         "tile<16xi1>\n  assert %3 {text=\"\"}",
         "E1102", "device assertion failed (program (0, 0, 0), element (9) of int1[16])"},
    };
    for (int32_t i = 0; i < COUNT_OF(rows); i++) {
        diag_reset(&tile_diag);
        Func *fn = tile_func(
            arena_printf(&tile_arena, "func @f(%%0: i32) {\n  %s\n  return\n}\n", rows[i].body));
        int32_t nine = 9;
        KilnStatus st =
            interp_run(fn, &nine, &(Grid){1, 1, 1, 0}, 0, 1, 0, NULL, &tile_arena, &tile_diag);
        cr_assert_eq(st, KILN_ERR_DEVICE);
        cr_expect_str_eq(diag_first(&tile_diag), rows[i].text);
        cr_expect_str_eq(tile_diag.items.data[0]->code, rows[i].code);
    }
}

Test(interp, atomics_return_what_was_there)
{
    int32_t x[4] = {5, 5, 5, 5};
    float f[2] = {-0.0f, 0.0f};
    Slot old[4], swapped;
    by_value("func @f(%0: ptr<i32>, %1: ptr<f32>) -> tile<4xi32>, i32 {\n"
             "  %2 = splat %0 : tile<4xptr<i32>>\n  %3 = arange {start=1} : tile<4xi32>\n"
             "  %4 = const {value=3} : tile<4xi32>\n  %5 = lt %3, %4 : tile<4xi1>\n"
             "  %6 = atomic_rmw %2, %3, %5 {rmw=add} : tile<4xi32>\n" // all lanes on x[0]: +1, +2
             "  %7 = const {value=1} : i32\n  %8 = addptr %0, %7 : ptr<i32>\n  %9 = const "
             "{value=5} : i32\n"
             "  %10 = atomic_cas %8, %9, %7 : i32\n"
             "  %11 = addptr %8, %7 : ptr<i32>\n  %12 = atomic_rmw %11, %7 {rmw=min} : i32\n"
             "  %13 = const {value=0.0} : f32\n  %14 = atomic_rmw %1, %13 {rmw=max} : f32\n"
             "  %15 = const {value=-0.0} : f32\n  %16 = addptr %1, %7 : ptr<f32>\n  %17 = "
             "atomic_rmw %16, %15 {rmw=min} : f32\n"
             "  return %6, %10\n}\n",
             (const Slot *const[]){&(Slot){.i = (int64_t)(uintptr_t)x},
                                   &(Slot){.i = (int64_t)(uintptr_t)f}},
             (Slot *const[]){old, &swapped});
    EXPECT(old, 5, 6, 0, 0);
    cr_expect_eq(swapped.i, 5);
    cr_expect(x[0] == 8 && x[1] == 1 && x[2] == 1 && x[3] == 5);
    cr_expect(!signbit(f[0]) && signbit(f[1]), "-0 is below 0");
}

Test(interp, prints_one_line_per_element)
{
    Func *fn =
        tile_func("func @f(%0: f32) {\n  %1 = arange {start=7} : tile<2xi32>\n  %2 = reshape %1 : "
                  "tile<2x1xi32>\n"
                  "  print %2, %0 {text=\"v\"}\n  print %1 {text=\"h\", hex=true}\n  return\n}\n");
    StrBuf out = {0};
    float x = 0.5f;
    InterpCall call = {.fn = fn,
                       .args = &x,
                       .grid = {1, 2, 1, 0},
                       .first = 1,
                       .n = 1,
                       .print = &out,
                       .scratch = &tile_arena,
                       .diag = &tile_diag};
    cr_assert_eq(interp_call(&call), KILN_OK);
    cr_expect_str_eq(
        out.data,
        "pid (0, 1, 0) idx (0, 0) v: 7\npid (0, 1, 0) idx (1, 0) v: 8\npid (0, 1, 0) v: 0.5\n"
        "pid (0, 1, 0) idx (0) h: 0x00000007\npid (0, 1, 0) idx (1) h: 0x00000008\n");
    strbuf_free(&out);
}

Test(interp, a_million_elements_take_less_than_seconds)
{
    int32_t n = 1 << 20;
    float *x = malloc(sizeof(float) * (size_t)n);
    for (int32_t i = 0; i < n; i++)
        x[i] = 1;
    ScaleArgs args = {false, x, n, 3};
    MemRange range = {x, sizeof(float) * (size_t)n, "x"};
    Func *fn = tile_func(scale_kernel);
    clock_t begin = clock();
    KilnStatus st = interp_run(fn, &args, &(Grid){n / 64, 1, 1, 0}, 0, n / 64, 1, &range,
                               &tile_arena, &tile_diag);
    double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
    cr_assert_eq(st, KILN_OK, "%s", diag_first(&tile_diag));
    cr_expect_eq(x[n - 1], 3);
    cr_expect_lt(seconds, 10.0, "%g s", seconds); // 0.1 s optimised; sanitizers are slow
    cr_log_info("%d elements in %g s\n", n, seconds);
    free(x);
}
