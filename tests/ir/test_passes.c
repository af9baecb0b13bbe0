// tests/ir/test_passes.c - golden files of our passes, and random functions that mean the same afterwards.
#include "tests/support/golden.h"

TestSuite(passes, .init = tile_up, .fini = tile_down, .timeout = 120);

Test(passes, golden_files_hold)
{
    static const char *const files[] = {"passes/fold.tile",       "passes/cse.tile",
                                        "passes/licm.tile",       "passes/dce.tile",
                                        "passes/loop_facts.tile", "passes/affine_addr.tile"};
    for (int32_t i = 0; i < COUNT_OF(files); i++)
        golden_file(files[i], NULL, 0);
}

Test(passes, an_unknown_pass_is_an_error)
{
    Module *m = tile_module("func @f() {\n  return\n}\n");
    PassCx cx = {.module = m, .diag = &tile_diag};
    cr_expect_eq(passes_run(&cx, m->funcs.data[0], "fold,frobnicate"), KILN_ERR_INPUT);
    cr_expect_str_eq(diag_first(&tile_diag), "no pass is named `frobnicate`");
}

static void note_pass(void *names, const Pass *pass, Func *fn)
{
    (void)fn;
    strbuf_printf(names, "%s ", pass->name);
}

Test(passes, a_pipeline_reports_each_pass_and_counts)
{
    Module *m = tile_module(
        "func @f(%0: i32) -> i32 {\n  %1 = neg %0 : i32\n  %2 = neg %1 : i32\n  return %2\n}\n");
    StrBuf names = {0};
    PassCx cx = {.module = m, .diag = &tile_diag, .after = note_pass, .user = &names};
    cr_assert_eq(passes_run(&cx, m->funcs.data[0], "fold,dce"), KILN_OK);
    cr_expect_str_eq(names.data, "fold dce ");
    cr_expect_eq(pass_counted(&cx, "fold.folded"), 1);
    cr_expect_eq(pass_counted(&cx, "dce.ops"), 1);
    cr_expect_eq(pass_counted(&cx, "cse.merged"), 0);
    strbuf_free(&names);
}

// ---- random functions -------------------------------------------------------------------------------

typedef struct Maker {
    Builder b;
    Random r;
    VEC(Value *) ints, floats, bools; ///< tile<8 x i32, f16, i1>
} Maker;

#define ANY(m, list) ((m)->list.data[random_below(&(m)->r, (m)->list.len)])

static Value *random_int(Maker *m)
{
    static const ElemKind kinds[] = {ELEM_ADD, ELEM_SUB, ELEM_MUL,  ELEM_DIV, ELEM_REM,
                                     ELEM_MIN, ELEM_MAX, ELEM_AND,  ELEM_OR,  ELEM_XOR,
                                     ELEM_SHL, ELEM_SHR, ELEM_MULHI};
    const Type *t = m->ints.data[0]->type;
    switch (random_below(&m->r, 6)) {
    case 0:
        return build_const_int(&m->b, t, random_below(&m->r, 5) - 2);
    case 1:
        return build_unary(&m->b, random_below(&m->r, 2) ? ELEM_NEG : ELEM_NOT, ANY(m, ints));
    case 2:
        return build_cast(&m->b, ANY(m, floats), DTYPE_I32, ROUND_RNE);
    case 3:
        return build_select(&m->b, ANY(m, bools), ANY(m, ints), ANY(m, ints));
    default:
        return build_binary(&m->b, kinds[random_below(&m->r, COUNT_OF(kinds))], ANY(m, ints),
                            ANY(m, ints));
    }
}

static Value *random_float(Maker *m)
{
    static const ElemKind kinds[] = {ELEM_ADD, ELEM_SUB, ELEM_MUL, ELEM_DIV,
                                     ELEM_REM, ELEM_MIN, ELEM_MAX, ELEM_MIN_NAN};
    static const double constants[] = {0.0, -0.0, 1.0, 0.5, INFINITY, NAN};
    const Type *t = m->floats.data[0]->type;
    switch (random_below(&m->r, 6)) {
    case 0:
        return build_const_float(&m->b, t, constants[random_below(&m->r, COUNT_OF(constants))]);
    case 1:
        return build_unary(&m->b, random_below(&m->r, 2) ? ELEM_NEG : ELEM_ABS, ANY(m, floats));
    case 2: {
        Value *wide = build_cast(&m->b, random_below(&m->r, 2) ? ANY(m, floats) : ANY(m, ints),
                                 DTYPE_F32, ROUND_RNE);
        return build_cast(&m->b, wide, DTYPE_F16, ROUND_RNE);
    }
    case 3:
        return build_select(&m->b, ANY(m, bools), ANY(m, floats), ANY(m, floats));
    default:
        return build_binary(&m->b, kinds[random_below(&m->r, COUNT_OF(kinds))], ANY(m, floats),
                            ANY(m, floats));
    }
}

static Value *random_bool(Maker *m)
{
    static const ElemKind kinds[] = {ELEM_EQ, ELEM_NE, ELEM_LT, ELEM_LE, ELEM_GT, ELEM_GE};
    ElemKind e = kinds[random_below(&m->r, COUNT_OF(kinds))];
    if (random_below(&m->r, 4) == 0)
        return build_binary(&m->b, ELEM_AND, ANY(m, bools), ANY(m, bools));
    return random_below(&m->r, 2) ? build_binary(&m->b, e, ANY(m, ints), ANY(m, ints))
                                  : build_binary(&m->b, e, ANY(m, floats), ANY(m, floats));
}

static void grow(Maker *m, int32_t n)
{
    for (int32_t i = 0; i < n; i++) {
        Value *v;
        switch (random_below(&m->r, 5)) {
        case 0:
            v = random_bool(m);
            vec_push(&tile_arena, &m->bools, v);
            break;
        case 1:
        case 2:
            v = random_float(m);
            vec_push(&tile_arena, &m->floats, v);
            break;
        default:
            v = random_int(m);
            vec_push(&tile_arena, &m->ints, v);
            break;
        }
    }
}

/// A loop that carries an int and a float tile, with some trips, none or one.
static void grow_loop(Maker *m)
{
    const Type *i32 = type_scalar(m->b.module, DTYPE_I32);
    static const int32_t steps[] = {1, 3, -2, 0};
    Value *begin = build_const_int(&m->b, i32, random_below(&m->r, 3));
    Value *end = build_const_int(&m->b, i32, random_below(&m->r, 6));
    Value *step = build_const_int(&m->b, i32, steps[random_below(&m->r, 4)]);
    if (random_below(&m->r, 3) == 0)
        step = build_unary(&m->b, ELEM_NEG, step); // not a constant yet
    Value *initial[2] = {ANY(m, ints), ANY(m, floats)};
    Op *loop = build_for(&m->b, begin, end, step, 2, initial);
    Maker body = *m;
    body.b = build_at_end(m->b.func, loop->regions[0]);
    vec_push(&tile_arena, &body.ints, loop->regions[0]->args[1]);
    vec_push(&tile_arena, &body.floats, loop->regions[0]->args[2]);
    grow(&body, 8);
    Value *index = build_splat(&body.b, loop->regions[0]->args[0], 1, m->ints.data[0]->type->shape);
    vec_push(&tile_arena, &body.ints, index);
    grow(&body, 4);
    Value *next[2] = {ANY(&body, ints), ANY(&body, floats)};
    build_yield(&body.b, 2, next);
    m->r = body.r;
    vec_push(&tile_arena, &m->ints, &loop->out[0]);
    vec_push(&tile_arena, &m->floats, &loop->out[1]);
}

static Func *random_func(uint64_t seed)
{
    Module *mod = module_new(&tile_arena, &tile_diag);
    int32_t n = 8;
    const Type *params[3] = {type_tile(mod, type_scalar(mod, DTYPE_I32), 1, &n),
                             type_tile(mod, type_scalar(mod, DTYPE_F16), 1, &n),
                             type_tile(mod, type_scalar(mod, DTYPE_I1), 1, &n)};
    Func *fn = func_new(mod, "f", 3, params, NULL);
    Maker m = {.b = build_at_end(fn, fn->body), .r = {seed}};
    vec_push(&tile_arena, &m.ints, fn->params[0].value);
    vec_push(&tile_arena, &m.floats, fn->params[1].value);
    vec_push(&tile_arena, &m.bools, fn->params[2].value);
    grow(&m, 10);
    grow_loop(&m);
    grow(&m, 6);
    grow_loop(&m);
    Value *out[3] = {vec_last(&m.ints), vec_last(&m.floats), vec_last(&m.bools)};
    const Type **results = arena_array(&tile_arena, const Type *, 3);
    for (int32_t i = 0; i < 3; i++)
        results[i] = out[i]->type;
    fn->n_results = 3;
    fn->results = results;
    build_return(&m.b, 3, out);
    return fn;
}

/// x / 0 is unspecified: folding must leave it alone, so numbers stay the same even there.
Test(passes, random_functions_mean_the_same_after_the_common_passes)
{
    for (uint64_t seed = 1; seed <= 1500; seed++) {
        ArenaMark mark = arena_mark(&tile_arena);
        Func *before = random_func(seed), *after = random_func(seed);
        PassCx cx = {.module = after->module, .diag = &tile_diag};
        cr_assert_eq(func_verify(before, &tile_diag), KILN_OK, "%s", diag_first(&tile_diag));
        cr_assert_eq(passes_run(&cx, after, PASSES_COMMON), KILN_OK, "seed %llu: %s",
                     (unsigned long long)seed, diag_first(&tile_diag));
        GoldenRun a = golden_execute(before, seed), b = golden_execute(after, seed);
        golden_same_numbers(arena_printf(&tile_arena, "seed %llu", (unsigned long long)seed),
                            before, &a, &b);
        const char *text = golden_text(after);
        cr_assert_str_eq(golden_text(tile_func(text)), text, "the text form does not read back");
        arena_release(&tile_arena, mark);
    }
}
