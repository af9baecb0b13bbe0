// tests/runtime/test_launch.c - arguments against parameters; the packed block; the grid over threads.
#include <criterion/criterion.h>
#include <math.h>

#include "tests/runtime/hand_made.h"

// y[i] = a * x[i] + y[i] for i < n; one program per element.
typedef struct AxpyArgs {
    float *y;
    const float *x;
    int32_t n;
    float a;
} AxpyArgs;

static void axpy(const void *args, const Grid *grid, int64_t first, int64_t n, Tls *tls)
{
    const AxpyArgs *p = args;
    (void)grid;
    (void)tls;
    for (int64_t i = first; i < first + n; i++)
        if (i < p->n) p->y[i] += p->a * p->x[i];
}

static const CodeParam axpy_params[] = {
    {.name = "y", .kind = SPEC_PTR, .dtype = DTYPE_F32, .divisible = 16, .is_written = true},
    {.name = "x", .kind = SPEC_PTR, .dtype = DTYPE_F32, .divisible = 16},
    {.name = "n", .kind = SPEC_SCALAR, .dtype = DTYPE_I32},
    {.name = "a", .kind = SPEC_SCALAR, .dtype = DTYPE_F32},
};

Test(launch, runs_every_program_once_on_any_number_of_threads)
{
    for (int32_t n_threads = 1; n_threads <= 2; n_threads++) {
        Bench b = bench_open(n_threads);
        Kernel *k = bench_kernel(&b, "axpy", axpy, 4, axpy_params);
        enum { N = 3000 };
        float *x = bench_memory(&b, N * sizeof(float)), *y = bench_memory(&b, N * sizeof(float));
        for (int32_t i = 0; i < N; i++)
            x[i] = (float)i;
        for (int32_t n = 0; n <= N; n = n * 2 + 1) {
            memset(y, 0, N * sizeof(float));
            // By name, in any order.
            Arg args[] = {arg_float("a", 2), arg_ptr("x", DTYPE_F32, x), arg_int("n", n),
                          arg_ptr("y", DTYPE_F32, y)};
            cr_assert_eq(kernel_launch(k, grid_of(n + 7, 1, 1), 4, args, NULL), KILN_OK);
            for (int32_t i = 0; i < N; i++)
                cr_assert_eq(y[i], i < n ? 2 * x[i] : 0, "n %d: y[%d] is %g", n, i, (double)y[i]);
        }
        cr_expect_eq(kernel_launch(k, grid_of(0, 1, 1), 4,
                                   (Arg[]){arg_ptr(NULL, DTYPE_F32, y), arg_ptr(NULL, DTYPE_F32, x),
                                           arg_int(NULL, 1), arg_float(NULL, 1)},
                                   NULL),
                     KILN_OK, "an empty grid is no error");
        bench_close(&b);
    }
}

typedef struct Case {
    const char *code, *says; ///< expected, and a part of the message
    int32_t n;
    Arg args[5];
    Grid grid;
} Case;

Test(launch, says_what_is_wrong_with_an_argument)
{
    Bench b = bench_open(1);
    Kernel *k = bench_kernel(&b, "axpy", axpy, 4, axpy_params);
    char *at = bench_memory(&b, 1024);
    const Arg y = arg_ptr("y", DTYPE_F32, at), x = arg_ptr("x", DTYPE_F32, at), n = arg_int("n", 3),
              a = arg_float("a", 1);
    const Grid one = {1, 1, 1, 0};
    const Case cases[] = {
        {"K131", "argument a is missing", 3, {y, x, n}, one},
        {"K131", "found 5 arguments, expected 4", 5, {y, x, n, a, a}, one},
        {"K131", "no run-time parameter is named m", 4, {y, x, arg_int("m", 3), a}, one},
        {"K131", "argument x is given twice", 4, {y, x, x, a}, one},
        {"K132",
         "argument y: found a pointer to fp16, expected a pointer to fp32",
         4,
         {arg_ptr("y", DTYPE_F16, at), x, n, a},
         one},
        {"K132", "argument n: found a float, expected int32", 4, {y, x, arg_float("n", 3), a}, one},
        {"K132",
         "argument n: 2147483648 does not fit int32",
         4,
         {y, x, arg_int("n", 2147483648), a},
         one},
        {"K132", "argument a: found an integer, expected fp32", 4, {y, x, n, arg_int("a", 1)}, one},
        {"K132",
         "argument x: found an integer, expected a pointer to fp32",
         4,
         {y, arg_int("x", 0), n, a},
         one},
        {"K132",
         "planned buffer outside a graph",
         4,
         {y, arg_tensor("x", DTYPE_F32, 0, 0), n, a},
         one},
        {"K133", "is not a multiple of 16", 4, {arg_ptr("y", DTYPE_F32, at + 4), x, n, a}, one},
        {"K134", "negative", 4, {y, x, n, a}, {-1, 1, 1, 0}},
    };
    for (int32_t i = 0; i < COUNT_OF(cases); i++) {
        Diag d;
        diag_init(&d, heap_default());
        cr_expect_eq(kernel_launch(k, cases[i].grid, cases[i].n, cases[i].args, &d), KILN_ERR_INPUT,
                     "case %d", i);
        cr_assert_eq(d.items.len, 1, "case %d", i);
        cr_expect_str_eq(d.items.data[0]->code, cases[i].code, "case %d: %s", i, diag_first(&d));
        cr_expect(strstr(diag_first(&d), cases[i].says), "case %d: found \"%s\", expected \"%s\"",
                  i, diag_first(&d), cases[i].says);
        diag_reset(&d);
        arena_reset(&d.arena);
    }
    cr_expect_eq(b.dev->counters.launches, 0);
    bench_close(&b);
}

Test(launch, only_gpus_limit_the_second_extent_of_a_grid)
{
    Bench b = bench_open(1);
    Kernel *k = bench_kernel(&b, "axpy", axpy, 4, axpy_params);
    char *at = bench_memory(&b, 1024);
    const Arg args[] = {arg_ptr("y", DTYPE_F32, at), arg_ptr("x", DTYPE_F32, at), arg_int("n", 0),
                        arg_float("a", 1)};
    Diag d;
    diag_init(&d, heap_default());
    cr_expect_eq(kernel_launch(k, (Grid){1, 65536, 1, 0}, 4, args, &d), KILN_OK);
    k->code.target.kind = TARGET_EMU;
    cr_expect_eq(kernel_launch(k, (Grid){1, 65536, 1, 0}, 4, args, &d), KILN_ERR_INPUT);
    cr_expect_not_null(strstr(diag_first(&d), "above 65535"));
    diag_reset(&d);
    arena_reset(&d.arena);
    bench_close(&b);
}

static const CodeParam wide_params[] = {
    {.name = "b", .kind = SPEC_SCALAR, .dtype = DTYPE_I8},
    {.name = "p", .kind = SPEC_PTR, .dtype = DTYPE_I64, .is_written = true},
    {.name = "h", .kind = SPEC_SCALAR, .dtype = DTYPE_F16},
    {.name = "u", .kind = SPEC_SCALAR, .dtype = DTYPE_U64},
    {.name = "d", .kind = SPEC_SCALAR, .dtype = DTYPE_F64},
    {.name = "t", .kind = SPEC_SCALAR, .dtype = DTYPE_I1},
    {.name = "m", .kind = SPEC_SCALAR, .dtype = DTYPE_I32, .divisible = 16},
};

typedef struct WideArgs {
    int8_t b;
    int64_t *p;
    uint16_t h;
    uint64_t u;
    double d;
    uint8_t t;
    int32_t m;
} WideArgs;

static void wide(const void *args, const Grid *grid, int64_t first, int64_t n, Tls *tls)
{
    const WideArgs *w = args;
    (void)first;
    (void)n;
    (void)tls;
    w->p[0] = w->b;
    w->p[1] = (int64_t)f16_to_f32(w->h);
    w->p[2] = (int64_t)w->u;
    w->p[3] = (int64_t)(w->d * 1000);
    w->p[4] = w->t;
    w->p[5] = w->m;
    w->p[6] = grid->x * 100 + grid->y * 10 + grid->z;
}

Test(launch, packs_arguments_as_a_c_struct_lies)
{
    Bench b = bench_open(1);
    Kernel *k = bench_kernel(&b, "wide", wide, 7, wide_params);
    int64_t *out = bench_memory(&b, 7 * sizeof *out);
    cr_assert_eq(k->code.args_bytes, (int32_t)offsetof(WideArgs, m) + 4);
    Arg args[] = {arg_int(NULL, -128),      arg_ptr(NULL, DTYPE_VOID, out), arg_float(NULL, 2048),
                  arg_int(NULL, INT64_MAX), arg_float(NULL, -0.125),        arg_int(NULL, 1),
                  arg_int(NULL, -32)};
    cr_assert_eq(kernel_launch(k, grid_of(1, 1, 1), 7, args, NULL), KILN_OK);
    const int64_t want[] = {-128, 2048, INT64_MAX, -125, 1, -32, 111};
    for (int32_t i = 0; i < 7; i++)
        cr_expect_eq(out[i], want[i], "%d: %lld", i, (long long)out[i]);
    args[0].i = 128;
    cr_expect_eq(kernel_launch(k, grid_of(1, 1, 1), 7, args, NULL), KILN_ERR_INPUT,
                 "128 is no int8");
    args[0].i = 0, args[5].i = 2;
    cr_expect_eq(kernel_launch(k, grid_of(1, 1, 1), 7, args, NULL), KILN_ERR_INPUT, "2 is no bool");
    args[5].i = 0, args[6].i = 33;
    cr_expect_eq(kernel_launch(k, grid_of(1, 1, 1), 7, args, NULL), KILN_ERR_INPUT,
                 "33 is no multiple of 16");
    bench_close(&b);
}

static void faulty(const void *args, const Grid *grid, int64_t first, int64_t n, Tls *tls)
{
    (void)args;
    (void)grid;
    if (first <= 5 && 5 < first + n) {
        tls->fault_program = 5;
        tls->fault = 41; // line
    }
}

Test(launch, reports_a_fault_of_the_kernel_once)
{
    Bench b = bench_open(2);
    Kernel *k = bench_kernel(&b, "faulty", faulty, 0, NULL);
    Diag d;
    diag_init(&d, heap_default());
    cr_expect_eq(kernel_launch(k, grid_of(100, 1, 1), 0, NULL, &d), KILN_ERR_DEVICE);
    cr_expect(strstr(diag_first(&d), "faulty:41: faulty failed in program 5"), "%s",
              diag_first(&d));
    cr_expect_eq(kernel_launch(k, grid_of(5, 1, 1), 0, NULL, &d), KILN_OK, "the fault was cleared");
    arena_reset(&d.arena);
    bench_close(&b);
}
