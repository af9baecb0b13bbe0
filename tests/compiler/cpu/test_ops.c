// tests/compiler/cpu/test_ops.c - what random programs do not reach: atomics, while, batched dots, asserts, stores
// over their own loads, masks at the edge of their integer type, the size of code, and foreign object files.
#include <criterion/criterion.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>

#include "base/random.h"
#include "tests/compiler/cpu/harness.h"

enum { N = 8192 };

typedef struct Args {
    void *x, *y, *o;
    int32_t n;
} Args;

typedef struct Memory {
    uint8_t x[N * 8], y[N * 8], o[N * 8];
} Memory;

static void fill(Memory *m, DType t, uint64_t seed)
{
    Random r = {seed};
    for (int32_t i = 0; i < N; i++) {
        dtype_store_f64(t, m->x + i * dtype_bytes(t), (double)random_below(&r, 33) / 4 - 4);
        dtype_store_f64(t, m->y + i * dtype_bytes(t), (double)random_below(&r, 33) / 4 - 4);
        dtype_store_f64(t, m->o + i * dtype_bytes(t), 0);
    }
}

/// Runs `text` on every level that runs here and in the interpreter; all memory must come out the same.
static void agree(const char *text, DType t, int32_t n, Grid grid)
{
    static Memory got, want;
    for (int32_t k = 0; k < 3; k++) {
        Bench b;
        bench_open(&b);
        cr_assert(bench_parse(&b, text), "%s", b.text.data);
        fill(&want, t, 5);
        got = want;
        Args args = {want.x, want.y, want.o, n};
        cr_assert(bench_interpret(&b, &args, grid), "%s", b.text.data);
        cr_assert(bench_compile(&b, bench_levels[k]), "%s: %s", bench_level_name(bench_levels[k]),
                  b.text.data);
        if (bench_can_run(bench_levels[k])) {
            args = (Args){got.x, got.y, got.o, n};
            bench_run(&b, &args, grid);
            for (int32_t i = 0; i < 3; i++) {
                const uint8_t *p = i == 0   ? got.x
                                   : i == 1 ? got.y
                                            : got.o,
                              *q = i == 0   ? want.x
                                   : i == 1 ? want.y
                                            : want.o;
                for (int32_t j = 0; j < N; j++) {
                    double u = dtype_load_f64(t, p + j * dtype_bytes(t)),
                           v = dtype_load_f64(t, q + j * dtype_bytes(t));
                    cr_assert(u == v || (u != u && v != v), "%s: %s[%d] is %g, want %g",
                              bench_level_name(bench_levels[k]),
                              i == 0   ? "x"
                              : i == 1 ? "y"
                                       : "o",
                              j, u, v);
                }
            }
        }
        bench_close(&b);
    }
}

/// `text` with every @T replaced by the name of `t` and every @K by `k`.
static const char *with(char *out, size_t size, const char *text, DType t, const char *k)
{
    size_t n = 0;
    for (const char *p = text; *p && n + 16 < size; p++) {
        if (p[0] == '@' && p[1] == 'T')
            n += (size_t)snprintf(out + n, size - n, "%s", dtype_facts[t].name), p++;
        else if (p[0] == '@' && p[1] == 'K')
            n += (size_t)snprintf(out + n, size - n, "%s", k), p++;
        else
            out[n++] = *p;
    }
    out[n] = 0;
    return out;
}

static const char *with_type(char *out, size_t size, const char *text, DType t)
{
    return with(out, size, text, t, "");
}

#define ONE_ROW(N_)                                                                                \
    "func @k(%0.x: ptr<@T>, %1.y: ptr<@T>, %2.o: ptr<@T>, %3.n: i32) {\n"                          \
    "  %4 = arange {start=0} : tile<" N_ "xi32>\n  %5 = splat %0 : tile<" N_ "xptr<@T>>\n"         \
    "  %6 = addptr %5, %4 : tile<" N_ "xptr<@T>>\n  %7 = load %6 : tile<" N_ "x@T>\n"              \
    "  %8 = splat %3 : tile<" N_ "xi32>\n  %9 = lt %4, %8 : tile<" N_ "xi1>\n"

TestSuite(cpu_ops, .timeout = 120);

Test(cpu_ops, atomics_of_every_type_return_the_old_value_and_leave_masked_lanes_alone)
{
    static const DType types[] = {DTYPE_I32, DTYPE_U32, DTYPE_I64, DTYPE_F32,
                                  DTYPE_F64, DTYPE_F16, DTYPE_BF16};
    static const char *const kinds[] = {"add", "min", "max", "xchg", "and", "or", "xor"};
    static const char *const form = ONE_ROW(
        "64") "  %10 = const {value=7} : tile<64xi32>\n  %11 = and %4, %10 : tile<64xi32>\n"
              "  %12 = splat %1 : tile<64xptr<@T>>\n  %13 = addptr %12, %11 : tile<64xptr<@T>>\n"
              "  %14 = atomic_rmw %13, %7, %9 {rmw=@K} : tile<64x@T>\n"
              "  %15 = splat %2 : tile<64xptr<@T>>\n  %16 = addptr %15, %4 : tile<64xptr<@T>>\n"
              "  store %16, %14\n  return\n}\n";
    char text[4096];
    for (int32_t i = 0; i < COUNT_OF(types); i++)
        for (int32_t k = 0; k < COUNT_OF(kinds); k++) {
            bool half = types[i] == DTYPE_F16 || types[i] == DTYPE_BF16;
            if (dtype_is_float(types[i]) && k > (half ? 0 : 3)) continue;
            agree(with(text, sizeof text, form, types[i], kinds[k]), types[i], 50,
                  (Grid){1, 1, 1, 0});
        }
}

Test(cpu_ops, compare_and_swap_compares_bits)
{
    static const char *const k =
        ONE_ROW("16") "  %10 = splat %1 : tile<16xptr<@T>>\n  %11 = addptr %10, %4 : "
                      "tile<16xptr<@T>>\n  %12 = load %11 : tile<16x@T>\n"
                      "  %13 = atomic_cas %6, %12, %7 : tile<16x@T>\n  %14 = atomic_cas %6, %7, "
                      "%12 : tile<16x@T>\n"
                      "  %15 = splat %2 : tile<16xptr<@T>>\n  %16 = addptr %15, %4 : "
                      "tile<16xptr<@T>>\n  store %16, %14\n  return\n}\n";
    static const DType types[] = {DTYPE_I32, DTYPE_I64, DTYPE_F32, DTYPE_U16};
    char text[4096];
    for (int32_t i = 0; i < COUNT_OF(types); i++)
        agree(with_type(text, sizeof text, k, types[i]), types[i], 16, (Grid){1, 1, 1, 0});
}

Test(cpu_ops, while_loops_carry_scalars_and_tiles)
{
    agree("func @k(%0.x: ptr<i32>, %1.y: ptr<i32>, %2.o: ptr<i32>, %3.n: i32) {\n"
          "  %4 = arange {start=0} : tile<128xi32>\n  %5 = const {value=0} : i32\n"
          "  %6, %7 = while carry (%8 = %5, %9 = %4) : i32, tile<128xi32> {\n"
          "    %10 = lt %8, %3 : i1\n    condition %10, %8, %9\n  } do (%11, %12) {\n"
          "    %13 = const {value=1} : i32\n    %14 = add %11, %13 : i32\n    %15 = flip %12 "
          "{axis=0} : tile<128xi32>\n"
          "    %16 = add %15, %4 : tile<128xi32>\n    yield %14, %16\n  }\n"
          "  %17 = splat %2 : tile<128xptr<i32>>\n  %18 = addptr %17, %4 : tile<128xptr<i32>>\n"
          "  %19 = splat %6 : tile<128xi32>\n  %20 = add %7, %19 : tile<128xi32>\n  store %18, "
          "%20\n  return\n}\n",
          DTYPE_I32, 5, (Grid){1, 1, 1, 0});
}

// Both ends of every type, what lies next to them, no number, and halves: lanes and scalars alike.
Test(cpu_ops, floats_become_ints_of_every_type_as_the_interpreter_says)
{
    static const float xs[16] = {
        NAN,           INFINITY, -INFINITY, 2147483648.0f, -2147483648.0f, 2147483520.0f,
        4294967040.0f, -0.75f,   127.5f,    -128.5f,       255.99f,        32767.9f,
        -32769.0f,     65535.5f, 1e30f,     -1e30f};
    static const DType types[] = {DTYPE_I8, DTYPE_U8, DTYPE_I16, DTYPE_U16, DTYPE_I32, DTYPE_U32};
    static const char *const form =
        "func @k(%0.x: ptr<f32>, %1.o: ptr<@T>) {\n  %2 = arange {start=0} : tile<@Kxi32>\n"
        "  %3 = splat %0 : tile<@Kxptr<f32>>\n  %4 = addptr %3, %2 : tile<@Kxptr<f32>>\n"
        "  %5 = load %4 : tile<@Kxf32>\n  %6 = cast %5 : tile<@Kx@T>\n"
        "  %7 = splat %1 : tile<@Kxptr<@T>>\n  %8 = addptr %7, %2 : tile<@Kxptr<@T>>\n"
        "  store %8, %6\n  return\n}\n";
    static float x[16];
    static uint8_t want[64], got[64];
    char text[2048];
    memcpy(x, xs, sizeof x);
    for (int32_t i = 0; i < COUNT_OF(types); i++)
        for (int32_t level = 0; level < 6; level++) {
            Bench b;
            bench_open(&b);
            const char *lanes = level < 3 ? "16" : "1";
            CpuLevel at = bench_levels[level % 3];
            cr_assert(bench_parse(&b, with(text, sizeof text, form, types[i], lanes)), "%s",
                      b.text.data);
            void *a[] = {x, want}, *c[] = {x, got};
            memset(want, 0, sizeof want), memset(got, 0, sizeof got);
            cr_assert(bench_interpret(&b, a, (Grid){1, 1, 1, 0}), "%s", b.text.data);
            cr_assert(bench_compile(&b, at), "%s", b.text.data);
            if (bench_can_run(at)) {
                bench_run(&b, c, (Grid){1, 1, 1, 0});
                int32_t size = dtype_bytes(types[i]);
                for (int32_t k = 0; k < (level < 3 ? 16 : 1); k++)
                    cr_expect_arr_eq(got + k * size, want + k * size, (size_t)size,
                                     "%g as %s on %s is %g, not %g", (double)x[k],
                                     dtype_facts[types[i]].name, bench_level_name(at),
                                     dtype_load_f64(types[i], got + k * size),
                                     dtype_load_f64(types[i], want + k * size));
            }
            bench_close(&b);
        }
}

Test(cpu_ops, a_batch_of_dots_is_every_dot_of_the_batch)
{
    static const char *const k =
        "func @k(%0.x: ptr<@T>, %1.y: ptr<@T>, %2.o: ptr<f32>, %3.n: i32) {\n"
        "  %4 = arange {start=0} : tile<512xi32>\n  %5 = splat %0 : tile<512xptr<@T>>\n  %6 = "
        "addptr %5, %4 : tile<512xptr<@T>>\n"
        "  %7 = load %6 : tile<512x@T>\n  %8 = reshape %7 : tile<4x8x16x@T>\n"
        "  %9 = splat %1 : tile<512xptr<@T>>\n  %10 = addptr %9, %4 : tile<512xptr<@T>>\n  %11 = "
        "load %10 : tile<512x@T>\n"
        "  %12 = reshape %11 : tile<4x16x8x@T>\n  %13 = const {value=1.0} : tile<4x8x8xf32>\n"
        "  %14 = dot %8, %12, %13 : tile<4x8x8xf32>\n  %15 = reshape %14 : tile<256xf32>\n  %16 = "
        "arange {start=0} : tile<256xi32>\n"
        "  %17 = splat %2 : tile<256xptr<f32>>\n  %18 = addptr %17, %16 : tile<256xptr<f32>>\n  "
        "store %18, %15\n  return\n}\n";
    char text[4096];
    agree(with_type(text, sizeof text, k, DTYPE_F32), DTYPE_F32, 0, (Grid){1, 1, 1, 0});
}

// Rotation in place: both halves are read before either is written.
Test(cpu_ops, a_rotation_in_place_reads_both_halves_first)
{
    static const char *const k =
        "func @k(%0.x: ptr<@T>, %1.y: ptr<@T>, %2.o: ptr<@T>, %3.n: i32) {\n"
        "  %4 = arange {start=0} : tile<64xi32>\n  %5 = const {value=64} : tile<64xi32>\n  %6 = "
        "add %4, %5 : tile<64xi32>\n"
        "  %7 = splat %0 : tile<64xptr<@T>>\n  %8 = addptr %7, %4 : tile<64xptr<@T>>\n  %9 = "
        "addptr %7, %6 : tile<64xptr<@T>>\n"
        "  %10 = load %8 : tile<64x@T>\n  %11 = load %9 : tile<64x@T>\n"
        "  %12 = sub %10, %11 : tile<64x@T>\n  store %8, %12\n  %13 = add %11, %10 : tile<64x@T>\n "
        " store %9, %13\n"
        "  %14 = load %8 : tile<64x@T>\n  %15 = flip %14 {axis=0} : tile<64x@T>\n  store %8, %15\n "
        " return\n}\n";
    char text[4096];
    agree(with_type(text, sizeof text, k, DTYPE_F32), DTYPE_F32, 0, (Grid){1, 1, 1, 0});
    agree(with_type(text, sizeof text, k, DTYPE_BF16), DTYPE_BF16, 0, (Grid){1, 1, 1, 0});
}

// x is negated in place; o is x scaled by its own maximum: by the x from before.
Test(cpu_ops, a_value_outlives_the_store_over_the_memory_it_came_from)
{
    static const char *const k =
        ONE_ROW("512") "  %14 = reduce %7 {combine=max, axis=0} : @T\n  %13 = neg %7 : "
                       "tile<512x@T>\n  store %6, %13\n"
                       "  @K\n  %18 = mul %7, %17 : tile<512x@T>\n"
                       "  %15 = splat %2 : tile<512xptr<@T>>\n  %16 = addptr %15, %4 : "
                       "tile<512xptr<@T>>\n  store %16, %18\n  return\n}\n";
    char text[4096];
    const char *direct = "%17 = splat %14 : tile<512xf32>",
               *by_scalar = "%19 = neg %14 : f32\n  %17 = splat %19 : tile<512xf32>";
    agree(with(text, sizeof text, k, DTYPE_F32, direct), DTYPE_F32, 500, (Grid){1, 1, 1, 0});
    agree(with(text, sizeof text, k, DTYPE_F32, by_scalar), DTYPE_F32, 500, (Grid){1, 1, 1, 0});
}

// offs = base + arange wraps past the largest i32 inside the tile: the mask is false there, true before and after.
Test(cpu_ops, a_mask_whose_index_wraps_is_still_exact)
{
    agree("func @k(%0.x: ptr<i32>, %1.y: ptr<i32>, %2.o: ptr<i32>, %3.n: i32) {\n"
          "  %4 = arange {start=0} : tile<256xi32>\n  %5 = const {value=2147483600} : i32\n  %6 = "
          "add %5, %3 : i32\n"
          "  %7 = splat %6 : tile<256xi32>\n  %8 = add %7, %4 : tile<256xi32>\n  %9 = const "
          "{value=2147483640} : tile<256xi32>\n"
          "  %10 = lt %8, %9 : tile<256xi1>\n  %11 = splat %2 : tile<256xptr<i32>>\n  %12 = addptr "
          "%11, %4 : tile<256xptr<i32>>\n"
          "  store %12, %8, %10\n  return\n}\n",
          DTYPE_I32, 3, (Grid){1, 1, 1, 0});
}

Test(cpu_ops, programs_of_a_three_dimensional_grid_know_their_place)
{
    agree("func @k(%0.x: ptr<i32>, %1.y: ptr<i32>, %2.o: ptr<i32>, %3.n: i32) {\n"
          "  %4 = program_id {axis=0} : i32\n  %5 = program_id {axis=1} : i32\n  %6 = program_id "
          "{axis=2} : i32\n"
          "  %7 = num_programs {axis=0} : i32\n  %8 = num_programs {axis=1} : i32\n"
          "  %9 = mul %6, %8 : i32\n  %10 = add %9, %5 : i32\n  %11 = mul %10, %7 : i32\n  %12 = "
          "add %11, %4 : i32\n"
          "  %13 = addptr %2, %12 : ptr<i32>\n  %14 = const {value=100} : i32\n  %15 = mul %6, %14 "
          ": i32\n  %16 = add %15, %4 : i32\n"
          "  store %13, %16\n  return\n}\n",
          DTYPE_I32, 0, (Grid){3, 5, 7, 0});
}

Test(cpu_ops, a_failed_assertion_leaves_its_program_and_says_so)
{
    Bench b;
    bench_open(&b);
    cr_assert(bench_parse(&b, "func @k(%0.o: ptr<i32>, %1.n: i32) {\n  %2 = program_id {axis=0} : "
                              "i32\n  %3 = lt %2, %1 : i1\n"
                              "  assert %3 {text=\"small\"}\n  %4 = addptr %0, %2 : ptr<i32>\n  "
                              "store %4, %2\n  return\n}\n"),
              "%s", b.text.data);
    cr_assert(bench_compile(&b, CPU_GENERIC), "%s", b.text.data);
    int32_t o[4] = {-1, -1, -1, -1};
    struct {
        void *o;
        int32_t n;
    } args = {o, 2};
    Tls tls = {.scratch = b.scratch};
    Grid grid = {3, 1, 1, 0};
    b.image.entry(&args, &grid, 0, 3, &tls);
    cr_expect_neq(tls.fault, 0);
    cr_expect_eq(tls.fault_program, 2);
    cr_expect_eq(o[1], 1);
    cr_expect_eq(o[2], -1, "the program went on");
    bench_close(&b);
}

Test(cpu_ops, code_does_not_grow_with_the_tile)
{
    static const char *const sizes[] = {"512", "8192"};
    size_t bytes[2];
    static const char *const form =
        "func @k(%0.x: ptr<f32>, %1.y: ptr<f32>, %2.o: ptr<f32>, %3.n: i32) {\n  %4 = arange "
        "{start=0} : tile<@Kxi32>\n"
        "  %5 = splat %0 : tile<@Kxptr<f32>>\n  %6 = addptr %5, %4 : tile<@Kxptr<f32>>\n  %7 = "
        "splat %3 : tile<@Kxi32>\n"
        "  %8 = lt %4, %7 : tile<@Kxi1>\n  %9 = load %6, %8 : tile<@Kxf32>\n  %10 = exp %9 : "
        "tile<@Kxf32>\n"
        "  %11 = scan %10 {combine=add, axis=0} : tile<@Kxf32>\n  %12 = splat %2 : "
        "tile<@Kxptr<f32>>\n"
        "  %13 = addptr %12, %4 : tile<@Kxptr<f32>>\n  store %13, %11, %8\n  return\n}\n";
    char text[4096];
    for (int32_t i = 0; i < 2; i++) {
        Bench b;
        bench_open(&b);
        cr_assert(bench_parse(&b, with(text, sizeof text, form, DTYPE_F32, sizes[i])), "%s",
                  b.text.data);
        cr_assert(bench_compile(&b, CPU_GENERIC), "%s", b.text.data);
        bytes[i] = b.code.size;
        bench_close(&b);
    }
    cr_expect(bytes[1] < bytes[0] + bytes[0] / 8, "512 elements: %zu bytes, 8192: %zu", bytes[0],
              bytes[1]);
}

Test(cpu_ops, the_same_function_gives_the_same_bytes)
{
    uint8_t *first = NULL;
    size_t size = 0;
    char text[4096];
    for (int32_t i = 0; i < 3; i++) {
        Bench b;
        bench_open(&b);
        cr_assert(bench_parse(&b, with_type(text, sizeof text,
                                            ONE_ROW("256") "  store %6, %7, %9\n  return\n}\n",
                                            DTYPE_F16)),
                  "%s", b.text.data);
        cr_assert(bench_compile(&b, CPU_AVX2), "%s", b.text.data);
        if (!i) {
            size = b.code.size;
            first = heap_array(heap_default(), uint8_t, size);
            memcpy(first, b.code.bytes, size);
        }
        cr_expect(size == b.code.size && !memcmp(first, b.code.bytes, size));
        bench_close(&b);
    }
    heap_free(heap_default(), first);
}

// A cached object is a stranger's bytes: cut at every length and with every byte changed it is refused or linked,
// never read outside itself. (Code whose bytes changed is not run.)
Test(cpu_ops, broken_object_files_are_refused)
{
    Bench b;
    bench_open(&b);
    char text[4096];
    cr_assert(
        bench_parse(
            &b,
            with_type(
                text, sizeof text,
                ONE_ROW("64") "  %10 = exp %7 : tile<64x@T>\n  store %6, %10, %9\n  return\n}\n",
                DTYPE_F32)),
        "%s", b.text.data);
    cr_assert(bench_compile(&b, CPU_GENERIC), "%s", b.text.data);
    Guarded g = guard_new(b.code.size, GUARD_END);
    for (size_t n = 0; n < b.code.size; n += 3) {
        Code c = b.code;
        c.bytes = g.data + (g.bytes - n); // ends at the guard page
        c.size = n;
        memcpy(c.bytes, b.code.bytes, n);
        Image image = {0};
        Diag diag;
        diag_init(&diag, heap_default());
        if (cpu_image_load(&c, &image, &diag) == KILN_OK) image.ops->free(image.self);
        diag_reset(&diag);
    }
    for (size_t at = 0; at < b.code.size; at++)
        for (int32_t bit = 0; bit < 8; bit += 3) {
            Code c = b.code;
            c.bytes = g.data;
            memcpy(g.data, b.code.bytes, b.code.size);
            g.data[at] ^= (uint8_t)(1u << bit);
            Image image = {0};
            Diag diag;
            diag_init(&diag, heap_default());
            if (cpu_image_load(&c, &image, &diag) == KILN_OK) image.ops->free(image.self);
            diag_reset(&diag);
        }
    guard_free(&g);
    bench_close(&b);
}

static void *compile_some(void *user)
{
    bool *ok = user;
    char text[4096];
    for (int32_t i = 0; i < 6 && *ok; i++) {
        Bench b;
        bench_open(&b);
        *ok = bench_parse(&b, with_type(text, sizeof text,
                                        ONE_ROW("128") "  %10 = reduce %7 {combine=max, axis=0} : "
                                                       "@T\n  store %2, %10\n  return\n}\n",
                                        DTYPE_F32)) &&
              bench_compile(&b, CPU_GENERIC);
        static Memory shared;
        Memory *m = &shared;
        float x[128], o = 0;
        for (int32_t k = 0; k < 128; k++)
            x[k] = (float)(k * 7 % 128);
        Args args = {x, m->y, &o, 128};
        if (*ok) bench_run(&b, &args, (Grid){1, 1, 1, 0});
        *ok = *ok && o == 127;
        bench_close(&b);
    }
    return NULL;
}

Test(cpu_ops, two_threads_compile_at_once)
{
    bool ok[2] = {true, true};
    pthread_t t[2];
    for (int32_t i = 0; i < 2; i++)
        pthread_create(&t[i], NULL, compile_some, &ok[i]);
    for (int32_t i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
    cr_expect(ok[0] && ok[1]);
}
