// tests/compiler/gpu/test_math.c - functions as the GPU code computes them, against the host's in
// more precision.
//
// Bounds are those of tile-language.md 12, in units in the last place of the result.
#include "tests/compiler/gpu/harness.h"

#include <math.h>

typedef struct Case {
    const char *op;
    double (*f)(double);
    long double (*g)(long double);
    double low, high;
    double ulps_f32, ulps_f64;
    double scale_term; ///< f32 exp: plus |x| of these ulps
} Case;

static double rsqrt(double x)
{
    return 1 / sqrt(x);
}
static long double rsqrt_l(long double x)
{
    return 1 / sqrtl(x);
}

static const Case cases[] = {
    {"exp", exp, expl, -80, 80, 2, 2, 1},          {"exp2", exp2, exp2l, -120, 120, 2, 2, 0},
    {"log", log, logl, 1e-6, 1e6, 2, 2, 0},        {"log2", log2, log2l, 1e-6, 1e6, 2, 2, 0},
    {"sqrt", sqrt, sqrtl, 0, 1e6, 1, 1, 0},        {"sqrt_rn", sqrt, sqrtl, 0, 1e6, 0.5, 0.5, 0},
    {"rsqrt", rsqrt, rsqrt_l, 1e-6, 1e6, 2, 2, 0}, {"sin", sin, sinl, -20, 20, 2, 2, 0},
    {"cos", cos, cosl, -20, 20, 2, 2, 0},          {"sin", sin, sinl, -32768, 32768, 2, 2, 0},
    {"cos", cos, cosl, -32768, 32768, 2, 2, 0},    {"erf", erf, erfl, -4, 4, 4, 4, 0},
    {"tanh", tanh, tanhl, -8, 8, 4, 4, 0},         {"tanh", tanh, tanhl, -0.7, 0.7, 4, 4, 0},
};

static void run(const char *op, DType t, Buffer *x, Buffer *y)
{
    char text[1024], messages[2048];
    const char *d = dtype_facts[t].name;
    snprintf(text, sizeof text,
             "func @f(%%0.y: ptr<%s>, %%1.x: ptr<%s>) num_warps=4 {\n  %%2 = arange {start=0} : "
             "tile<4096xi32>\n"
             "  %%3 = splat %%1 : tile<4096xptr<%s>>\n  %%4 = addptr %%3, %%2 : "
             "tile<4096xptr<%s>>\n  %%5 = load %%4 : tile<4096x%s>\n"
             "  %%6 = %s %%5 : tile<4096x%s>\n  %%7 = splat %%0 : tile<4096xptr<%s>>\n  %%8 = "
             "addptr %%7, %%2 : tile<4096xptr<%s>>\n"
             "  store %%8, %%6\n  return\n}\n",
             d, d, d, d, d, op, d, d, d);
    Arg args[] = {{.buffer = y}, {.buffer = x}};
    cr_assert_eq(launch(text, "emu:sm_80", 2, args, (Grid){1, 1, 1, 0}, messages, sizeof messages),
                 KILN_OK, "%s", messages);
}

Test(gpu_math, functions_of_f32_stay_within_their_bounds, .timeout = 60)
{
    for (int32_t i = 0; i < COUNT_OF(cases); i++) {
        const Case *c = &cases[i];
        Buffer x = buffer_new(DTYPE_F32, 4096), y = buffer_new(DTYPE_F32, 4096);
        buffer_random(&x, (uint64_t)i + 1, c->low, c->high);
        run(c->op, DTYPE_F32, &x, &y);
        double worst = 0, at = 0;
        for (int32_t k = 0; k < 4096; k++) {
            double v = (double)((float *)x.data)[k], want = c->f(v),
                   got = (double)((float *)y.data)[k];
            double ulp = ldexp(1, ilogb(MAX(fabs(want), 0x1p-126)) - 23);
            bool near_one = !strncmp(c->op, "log", 3) && v > 0.5 && v < 2;
            double error = near_one ? fabs(got - want) * 0x1p22
                                    : fabs(got - want) / ulp - c->scale_term * fabs(v);
            if (!(error <= worst)) worst = error, at = v;
        }
        cr_expect_leq(worst, c->ulps_f32 + 0.01, "%s(%.9g): %.2f ulp", c->op, at, worst);
        buffer_free(&x), buffer_free(&y);
    }
}

Test(gpu_math, functions_of_f64_stay_within_their_bounds, .timeout = 60)
{
    for (int32_t i = 0; i < COUNT_OF(cases); i++) {
        const Case *c = &cases[i];
        Buffer x = buffer_new(DTYPE_F64, 4096), y = buffer_new(DTYPE_F64, 4096);
        buffer_random(&x, (uint64_t)i + 1, c->low, c->high);
        run(c->op, DTYPE_F64, &x, &y);
        double worst = 0, at = 0;
        for (int32_t k = 0; k < 4096; k++) {
            double v = ((double *)x.data)[k], got = ((double *)y.data)[k];
            long double want = c->g((long double)v);
            double error = (double)(fabsl((long double)got - want) / ldexpl(1, ilogbl(want) - 52));
            if (!(error <= worst)) worst = error, at = v;
        }
        cr_expect_leq(worst, c->ulps_f64 + 0.01, "%s(%.17g): %.2f ulp", c->op, at, worst);
        buffer_free(&x), buffer_free(&y);
    }
}

Test(gpu_math, special_values_follow_c, .timeout = 60)
{
    static const double special[] = {0, -0.0, INFINITY, -INFINITY, NAN, -1, 1, 0x1p-140, 200, -200};
    for (int32_t i = 0; i < COUNT_OF(cases); i++) {
        for (DType t = DTYPE_F32; t <= DTYPE_F64; t++) {
            Buffer x = buffer_new(t, 4096), y = buffer_new(t, 4096);
            for (int32_t k = 0; k < 4096; k++)
                dtype_store_f64(t, (char *)x.data + k * dtype_bytes(t),
                                special[k % COUNT_OF(special)]);
            run(cases[i].op, t, &x, &y);
            for (int32_t k = 0; k < COUNT_OF(special); k++) {
                if (special[k] == 0x1p-140) continue; // the approximate functions may flush it
                double want = cases[i].f(special[k]),
                       got = dtype_load_f64(t, (char *)y.data + k * dtype_bytes(t));
                if (t == DTYPE_F32) want = (double)(float)want;
                bool same = (isnan(want) && isnan(got)) || want == got ||
                            fabs(want - got) <= 1e-5 * fabs(want) + 1e-37;
                cr_expect(same, "%s of %s(%g): %g, not %g", dtype_facts[t].name, cases[i].op,
                          special[k], got, want);
            }
            buffer_free(&x), buffer_free(&y);
        }
    }
}
