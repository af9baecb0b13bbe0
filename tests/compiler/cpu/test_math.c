// tests/compiler/cpu/test_math.c - mathematical functions in ulps against libm in a wider type, over sampled bit
// patterns of the whole range and over every pattern of a few binades; special values exactly.
//
// Bounds are those of tile-language.md section 12, CPU column. Results below the normal range may be zero.
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

#include "base/random.h"
#include "tests/compiler/cpu/harness.h"
#include "tests/far/far.h"

typedef struct MathCase {
    ElemKind e;
    const char *name;
    long double (*exact)(long double);
    double bound32, bound64;
    double lo, hi; ///< f64 samples
} MathCase;

static long double rsqrt_exact(long double x)
{
    return 1.0L / sqrtl(x);
}

static const MathCase cases[] = {
    {ELEM_EXP, "exp", expl, 1.0, 2.0, -760, 720},
    {ELEM_EXP2, "exp2", exp2l, 1.0, 2.0, -1080, 1030},
    {ELEM_LOG, "log", logl, 1.0, 2.0, 0, 1e10},
    {ELEM_LOG2, "log2", log2l, 1.0, 2.0, 0, 1e10},
    {ELEM_SIN, "sin", sinl, 2.0, 2.0, -1e5, 1e5},
    {ELEM_COS, "cos", cosl, 2.0, 2.0, -1e5, 1e5},
    {ELEM_ERF, "erf", erfl, 4.0, 2.0, -7, 7},
    {ELEM_TANH, "tanh", tanhl, 4.0, 2.0, -24, 24},
    {ELEM_RSQRT, "rsqrt", rsqrt_exact, 1.0, 2.0, 0, 1e9},
    {ELEM_SQRT, "sqrt", sqrtl, 0.5, 0.5, 0, 1e9},
};

enum { TILE = 1024 };

/// o[i] = f(x[i]) for TILE elements per program.
static bool build_map(Bench *b, ElemKind e, DType t, CpuLevel level)
{
    Module *m = b->module;
    const Type *p = type_ptr(m, t, false), *types[] = {p, p};
    const char *names[] = {"x", "o"};
    b->fn = func_new(m, "map", 2, types, names);
    Builder bl = build_at_end(b->fn, b->fn->body);
    int32_t shape[] = {TILE};
    Value *pid = build_program_id(&bl, 0), *n = build_const_int(&bl, pid->type, TILE);
    Value *o =
        build_binary(&bl, ELEM_ADD, build_splat(&bl, build_binary(&bl, ELEM_MUL, pid, n), 1, shape),
                     build_arange(&bl, 0, TILE));
    Value *from = build_addptr(&bl, build_splat(&bl, b->fn->body->args[0], 1, shape), o);
    Value *to = build_addptr(&bl, build_splat(&bl, b->fn->body->args[1], 1, shape), o);
    build_store(&bl, to, build_unary(&bl, e, build_load(&bl, from, NULL, NULL)), NULL);
    build_return(&bl, 0, NULL);
    return bench_compile(b, level);
}

/// Distance of `got` from the exact value in units of the last place of the exact value's binade.
static double ulps(long double got, long double exact, int mantissa, int min_exponent)
{
    int e;
    frexpl(exact, &e);
    e = e - 1 < min_exponent ? min_exponent : e - 1;
    return (double)fabsl((got - exact) / ldexpl(1.0L, e - mantissa));
}

static void run(Bench *b, void *x, void *o, int32_t n)
{
    void *args[] = {x, o};
    bench_run(b, args, (Grid){n / TILE, 1, 1, 0});
}

static void check32(const MathCase *c, CpuLevel level, uint32_t stride)
{
    Bench b;
    bench_open(&b);
    cr_assert(build_map(&b, c->e, DTYPE_F32, level), "%s: %s", c->name, b.text.data);
    enum { N = 64 * TILE };
    static float x[N], o[N];
    double worst = 0;
    float worst_at = 0;
    uint64_t at = 0;
    while (at < (uint64_t)1 << 32) {
        for (int32_t i = 0; i < N; i++, at += stride)
            x[i] = f32_from_bits((uint32_t)at);
        run(&b, x, o, N);
        for (int32_t i = 0; i < N; i++) {
            long double exact = c->exact((long double)x[i]);
            bool is_flushed = fabsl(exact) < 0x1p-126L && o[i] == 0;
            if (isnan(exact) || is_flushed) {
                cr_assert(is_flushed || isnan(o[i]), "%s(%a) is %a, not NaN", c->name, x[i], o[i]);
                continue;
            }
            if (fabsl(exact) > 0x1.fffffep127L) {
                cr_assert(fabsf(o[i]) >= 0x1.fffffep127f && !signbit(o[i]) == !signbit(exact),
                          "%s(%a) is %a, not infinite", c->name, x[i], o[i]);
                continue;
            }
            double u = ulps(o[i], exact, 23, -126);
            if (!(u <= worst)) worst = u, worst_at = x[i];
        }
    }
    cr_expect(worst <= c->bound32, "%s f32 %s: %.3f ulp at %a", c->name, bench_level_name(level),
              worst, worst_at);
    if (getenv("KILN_VERBOSE"))
        fprintf(stderr, "%s f32 %s: %.4f ulp at %a\n", c->name, bench_level_name(level), worst,
                worst_at);
    bench_close(&b);
}

static void check64(const MathCase *c, CpuLevel level)
{
    Bench b;
    bench_open(&b);
    cr_assert(build_map(&b, c->e, DTYPE_F64, level), "%s: %s", c->name, b.text.data);
    enum { N = 256 * TILE };
    static double x[N], o[N];
    Random r = {7};
    for (int32_t i = 0; i < N; i++) {
        double u = random_unit(&r), scale = i % 3 == 0 ? 1 : i % 3 == 1 ? 1e-2 : 1e-6;
        x[i] = c->lo + (c->hi - c->lo) * u;
        if (i & 1) x[i] = (c->lo < 0 ? 2 * u - 1 : u) * scale * 4;
        if (x[i] == 0) x[i] = 0.5;
    }
    run(&b, x, o, N);
    double worst = 0, worst_at = 0;
    for (int32_t i = 0; i < N; i++) {
        long double exact = c->exact((long double)x[i]);
        if ((fabsl(exact) < 0x1p-1022L && o[i] == 0) ||
            (fabsl(exact) > 0x1.fffffffffffffp1023L && isinf(o[i])))
            continue;
        double u = ulps(o[i], exact, 52, -1022);
        if (!(u <= worst)) worst = u, worst_at = x[i];
    }
    cr_expect(worst <= c->bound64, "%s f64 %s: %.3f ulp at %a", c->name, bench_level_name(level),
              worst, worst_at);
    if (getenv("KILN_VERBOSE"))
        fprintf(stderr, "%s f64 %s: %.4f ulp at %a\n", c->name, bench_level_name(level), worst,
                worst_at);
    bench_close(&b);
}

TestSuite(math, .timeout = 300);

Test(math, f32_functions_are_within_their_bounds_on_avx2)
{
    if (!bench_can_run(CPU_AVX2)) cr_skip("this machine has no AVX2");
    for (int32_t i = 0; i < COUNT_OF(cases); i++)
        check32(&cases[i], CPU_AVX2, 9973);
}

Test(math, f32_functions_are_within_their_bounds_on_avx512)
{
    if (!bench_can_run(CPU_AVX512)) cr_skip("this machine has no AVX-512");
    for (int32_t i = 0; i < COUNT_OF(cases); i++)
        check32(&cases[i], CPU_AVX512, 99991);
}

Test(math, f32_functions_are_within_their_bounds_on_generic_x86)
{
    for (int32_t i = 0; i < COUNT_OF(cases); i++)
        check32(&cases[i], CPU_GENERIC, 39989);
}

Test(math, f32_functions_are_within_their_bounds_on_aarch64)
{
    far_needed();
    for (int32_t i = 0; i < COUNT_OF(cases); i++)
        check32(&cases[i], CPU_NEON, 39989);
}

Test(math, f64_functions_are_within_their_bounds)
{
    for (int32_t k = 0; k < COUNT_OF(bench_levels); k++)
        for (int32_t i = 0; i < COUNT_OF(cases); i++)
            if (bench_can_run(bench_levels[k])) check64(&cases[i], bench_levels[k]);
}

Test(math, special_values_follow_c)
{
    static const struct {
        ElemKind e;
        float x, y;
    } special[] = {
        {ELEM_EXP, -INFINITY, 0},  {ELEM_EXP, INFINITY, INFINITY},
        {ELEM_EXP2, -INFINITY, 0}, {ELEM_EXP2, 3, 8},
        {ELEM_LOG, 0, -INFINITY},  {ELEM_LOG, -1, NAN},
        {ELEM_LOG2, 8, 3},         {ELEM_LOG2, 0, -INFINITY},
        {ELEM_TANH, INFINITY, 1},  {ELEM_TANH, -INFINITY, -1},
        {ELEM_ERF, INFINITY, 1},   {ELEM_RSQRT, 0, INFINITY},
        {ELEM_RSQRT, INFINITY, 0}, {ELEM_SQRT, -1, NAN},
        {ELEM_SIN, INFINITY, NAN}, {ELEM_COS, 0, 1},
        {ELEM_EXP, NAN, NAN},      {ELEM_LOG, INFINITY, INFINITY},
        {ELEM_TANH, NAN, NAN},     {ELEM_EXP, 0, 1},
    };
    static float x[TILE], o[TILE];
    for (int32_t k = 0; k < COUNT_OF(bench_levels); k++)
        for (int32_t i = 0; i < COUNT_OF(special); i++) {
            if (!bench_can_run(bench_levels[k])) continue;
            Bench b;
            bench_open(&b);
            cr_assert(build_map(&b, special[i].e, DTYPE_F32, bench_levels[k]));
            for (int32_t j = 0; j < TILE; j++)
                x[j] = special[i].x;
            run(&b, x, o, TILE);
            bool same = isnan(special[i].y) ? isnan(o[0]) : o[0] == special[i].y;
            cr_expect(same, "%s(%g) is %g, want %g", elem_facts[special[i].e].name,
                      (double)special[i].x, (double)o[0], (double)special[i].y);
            bench_close(&b);
        }
}
