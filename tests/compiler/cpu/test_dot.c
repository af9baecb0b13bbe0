// tests/compiler/cpu/test_dot.c - dots of 8-bit ints and bf16: every way an operand may lie, every kind of product,
// against the interpreter; and that the instruction that should be there is there.
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/random.h"
#include "tests/compiler/cpu/harness.h"

/// How b[k, n] lies in memory.
typedef enum Lies {
    ROWS,    ///< k * N + n
    COLUMNS, ///< n * K + k
    GROUPS,  ///< (k / G) * G N + n * G + k % G: as the product takes it
    NIBBLES, ///< GROUPS, low and high nibbles of bytes: 0 .. 15
    LIES_COUNT,
} Lies;

typedef struct Shape {
    int32_t m, n, k;
} Shape;

static Value *splat1(Builder *b, int64_t x, int32_t n)
{
    return build_splat(b, build_const_int(b, type_scalar(b->module, DTYPE_I32), x), 1, &n);
}

/// A tile [rows, cols] of i32: i * row_step + j * col_step + (j % group) * ... is written out by the caller.
static Value *grid_of(Builder *b, Value *rows, Value *cols, int32_t n_rows, int32_t n_cols)
{
    int32_t shape[] = {n_rows, n_cols};
    Value *r = build_broadcast(b, build_expand_dims(b, rows, 1), 2, shape);
    Value *c = build_broadcast(b, build_expand_dims(b, cols, 0), 2, shape);
    return build_binary(b, ELEM_ADD, r, c);
}

static Value *scaled(Builder *b, Value *v, int64_t k)
{
    return build_binary(b, ELEM_MUL, v, splat1(b, k, v->type->shape[0]));
}

static Value *load_at(Builder *b, Value *base, Value *offsets)
{
    return build_load(
        b,
        build_addptr(b, build_splat(b, base, offsets->type->rank, offsets->type->shape), offsets),
        NULL, NULL);
}

/// o[m, n] = sum over k of a[m, k] b[k, n] for one program.
static void build_dot_of(Bench *b, DType t, Shape s, Lies lies, int32_t group)
{
    Module *m = b->module;
    const Type *p = type_ptr(m, t, false), *types[] = {p, p, type_ptr(m, DTYPE_F32, false)};
    bool is_int = dtype_is_int(t);
    if (is_int) types[2] = type_ptr(m, DTYPE_I32, false);
    const char *names[] = {"a", "b", "o"};
    b->fn = func_new(m, "dot", 3, types, names);
    Builder bl = build_at_end(b->fn, b->fn->body);
    Value **args = b->fn->body->args;
    Value *im = build_arange(&bl, 0, s.m), *in = build_arange(&bl, 0, s.n),
          *ik = build_arange(&bl, 0, s.k);
    Value *a = load_at(&bl, args[0], grid_of(&bl, scaled(&bl, im, s.k), ik, s.m, s.k)), *w;
    if (lies == ROWS) {
        w = load_at(&bl, args[1], grid_of(&bl, scaled(&bl, ik, s.n), in, s.k, s.n));
    } else if (lies == COLUMNS) {
        w = load_at(&bl, args[1], grid_of(&bl, ik, scaled(&bl, in, s.k), s.k, s.n));
    } else {
        Value *g = splat1(&bl, group, s.k);
        Value *k = build_binary(&bl, ELEM_ADD,
                                scaled(&bl, build_binary(&bl, ELEM_DIV, ik, g), group * s.n),
                                build_binary(&bl, ELEM_REM, ik, g));
        w = load_at(&bl, args[1], grid_of(&bl, k, scaled(&bl, in, group), s.k, s.n));
        if (lies == NIBBLES) {
            int32_t shape[] = {s.k, s.n};
            Value *mask = build_splat(&bl, build_const_int(&bl, type_scalar(m, t), 15), 2, shape);
            w = build_binary(&bl, ELEM_AND, w, mask);
        }
    }
    int32_t shape[] = {s.m, s.n};
    const Type *rt = type_tile(m, type_scalar(m, is_int ? DTYPE_I32 : DTYPE_F32), 2, shape);
    Value *o = build_dot(&bl, a, w, build_zero(&bl, rt), DOT_DEFAULT);
    Value *to = grid_of(&bl, scaled(&bl, im, s.n), in, s.m, s.n);
    build_store(&bl, build_addptr(&bl, build_splat(&bl, args[2], 2, shape), to), o, NULL);
    build_return(&bl, 0, NULL);
}

enum { MOST = 64 * 128 };

typedef struct Data {
    uint8_t a[MOST * 2], b[MOST * 2];
    uint32_t got[MOST], want[MOST];
} Data;

/// Bytes of every value; small eighths for bf16, so that all sums are exact.
static void fill(Data *d, DType t, uint64_t seed)
{
    Random r = {seed};
    for (int32_t i = 0; i < MOST; i++) {
        if (dtype_is_int(t)) {
            d->a[i] = (uint8_t)random_below(&r, 256), d->b[i] = (uint8_t)random_below(&r, 256);
            if (i % 7 == 0) d->a[i] = 0x80, d->b[i] = 0x80; // both ends of the range, side by side
            if (i % 7 == 1) d->a[i] = 0x80, d->b[i] = 0xff;
        } else {
            dtype_store_f64(t, d->a + 2 * i, (double)random_below(&r, 65) / 8 - 4);
            dtype_store_f64(t, d->b + 2 * i, (double)random_below(&r, 65) / 8 - 4);
        }
    }
}

static const Shape shapes[] = {{1, 128, 64}, {2, 4, 2}, {4, 32, 32}, {8, 8, 128}, {4, 2, 8}};

static void check(DType t, Lies lies, int32_t group, CpuLevel level)
{
    static Data d;
    for (int32_t i = 0; i < COUNT_OF(shapes); i++) {
        Bench b;
        Shape s = shapes[i];
        if (lies >= GROUPS && s.k < group) continue;
        bench_open(&b);
        build_dot_of(&b, t, s, lies, group);
        fill(&d, t, (uint64_t)i + 1);
        memset(d.got, 0, sizeof d.got), memset(d.want, 0, sizeof d.want);
        void *want[] = {d.a, d.b, d.want}, *got[] = {d.a, d.b, d.got};
        cr_assert(bench_interpret(&b, want, (Grid){1, 1, 1, 0}), "%s", b.text.data);
        cr_assert(bench_compile(&b, level), "%s", b.text.data);
        if (bench_can_run(level)) {
            bench_run(&b, got, (Grid){1, 1, 1, 0});
            for (int32_t k = 0; k < s.m * s.n; k++)
                cr_assert_eq(d.got[k], d.want[k], "%s %dx%dx%d, b lies %d, %s: [%d] is %x, not %x",
                             dtype_facts[t].name, s.m, s.n, s.k, lies, bench_level_name(level), k,
                             d.got[k], d.want[k]);
        }
        bench_close(&b);
    }
}

Test(cpu_dot, eight_bit_ints_and_bf16_give_the_interpreters_sums_however_they_lie)
{
    static const DType types[] = {DTYPE_I8, DTYPE_U8, DTYPE_BF16};
    for (int32_t t = 0; t < COUNT_OF(types); t++)
        for (int32_t level = 0; level < COUNT_OF(bench_levels); level++)
            for (Lies lies = ROWS; lies < LIES_COUNT; lies++) {
                if (lies == NIBBLES && !dtype_is_int(types[t])) continue;
                check(types[t], lies, dtype_is_int(types[t]) ? 4 : 2, bench_levels[level]);
            }
}

static void expect_calls(DType t, Lies lies, int32_t group, CpuLevel level, const char *name,
                         bool in_place)
{
    Bench b;
    bench_open(&b);
    b.wants_llvm = true;
    build_dot_of(&b, t, (Shape){4, 16, 32}, lies, group); // the result fits registers
    cr_assert(bench_compile(&b, level), "%s", b.text.data);
    cr_expect(strstr(b.llvm.data, name), "%s on %s without %s", dtype_facts[t].name,
              bench_level_name(level), name);
    if (in_place)
        cr_expect(b.code.scratch_bytes == 0, "%s on %s is copied: %lld bytes of scratch",
                  dtype_facts[t].name, bench_level_name(level), (long long)b.code.scratch_bytes);
    bench_close(&b);
}

Test(cpu_dot, each_level_multiplies_with_its_own_instruction_and_reads_grouped_weights_in_place)
{
    expect_calls(DTYPE_I8, GROUPS, 4, CPU_AVX512, "vpdpbusd.512", true);
    expect_calls(DTYPE_U8, NIBBLES, 4, CPU_AVX512, "vpdpbusd.512", true);
    expect_calls(DTYPE_I8, ROWS, 4, CPU_AVX512, "vpdpbusd.512", false);
    expect_calls(DTYPE_BF16, GROUPS, 2, CPU_AVX512, "dpbf16ps.512", true);
    expect_calls(DTYPE_BF16, COLUMNS, 2, CPU_AVX512, "dpbf16ps.512", false);
    expect_calls(DTYPE_I8, GROUPS, 4, CPU_AVX2, "avx2.pmadd.wd", true);
    expect_calls(DTYPE_I8, NIBBLES, 4, CPU_AVX2, "avx2.pmadd.ub.sw", true);
    expect_calls(DTYPE_I8, ROWS, 4, CPU_GENERIC, "sse2.pmadd.wd", false);
    expect_calls(DTYPE_I8, GROUPS, 4, CPU_NEON, "neon.saddlp", true);
    expect_calls(DTYPE_I8, NIBBLES, 4, CPU_NEON, "neon.addp.v8i16", true);
    expect_calls(DTYPE_I8, GROUPS, 4, CPU_NEON_DOT, "neon.sdot.v4i32", true);
    expect_calls(DTYPE_U8, GROUPS, 4, CPU_NEON_DOT, "neon.udot.v4i32", true);
    expect_calls(DTYPE_I8, COLUMNS, 4, CPU_NEON_DOT, "neon.sdot.v4i32", false);
    expect_calls(DTYPE_I8, GROUPS, 4, CPU_NEON_I8MM, "neon.smmla.v4i32", true);
    expect_calls(DTYPE_U8, ROWS, 4, CPU_NEON_I8MM, "neon.ummla.v4i32", false);
    expect_calls(DTYPE_BF16, GROUPS, 2, CPU_NEON_I8MM, "neon.bfmmla", true);
}
