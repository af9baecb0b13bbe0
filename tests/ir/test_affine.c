// tests/ir/test_affine.c - the analysis against what the interpreter computes, element by element, and the forms
// that real kernels have.
#include "base/random.h"
#include "compiler/interp/interp.h"
#include "ir/affine.h"
#include "ir/build.h"
#include "tests/support/tile.h"

TestSuite(affine, .init = tile_up, .fini = tile_down, .timeout = 120);

// ---- random expressions ---------------------------------------------------------------------------

enum { N_PARAMS = 4, MAX_NUMEL = 64 };

static int64_t coefficient(const Coeff *c, Slot *const *values, Value *const *all, int32_t n_all)
{
    int64_t x = c->scale;
    for (int32_t i = 0; i < AFFINE_MAX_FACTORS && c->factor[i]; i++)
        for (int32_t k = 0; k < n_all; k++)
            if (all[k] == c->factor[i]) x = (int64_t)((uint64_t)x * (uint64_t)values[k][0].i);
    return x;
}

/// Every claim of the form of `v` about its elements `x` holds.
static void check_form(const Affine *form, const Value *v, const Slot *x, Slot *const *values,
                       Value *const *all, int32_t n_all, uint64_t seed)
{
    DType t = v->type->dtype;
    for (int64_t e = 0; e < v->type->numel; e++) {
        int64_t base = x[e & form->slow].i, sum = base;
        for (int32_t i = 0; i < form->n_bits; i++)
            if (e >> i & 1 && !(form->slow >> i & 1)) {
                int64_t c = coefficient(&form->coeff[i], values, all, n_all);
                cr_assert(c == 0 || form->coeff[i].log_divisor <= __builtin_ctzll((uint64_t)c),
                          "seed %llu: bit %d of %%%d has coefficient %lld, no multiple of 2^%d",
                          (unsigned long long)seed, i, v->id, (long long)c,
                          form->coeff[i].log_divisor);
                sum = (int64_t)((uint64_t)sum + (uint64_t)c);
            }
        cr_assert_eq(int_wrap(t, sum), x[e].i,
                     "seed %llu: %s element %lld of %%%d is %lld, the form says %lld",
                     (unsigned long long)seed, type_text(&tile_arena, v->type), (long long)e, v->id,
                     (long long)x[e].i, (long long)sum);
        uint64_t mask = form->known >= 64 ? UINT64_MAX : (UINT64_C(1) << form->known) - 1;
        cr_assert_eq((uint64_t)base & mask, (uint64_t)form->residue & mask,
                     "seed %llu: base of %%%d is %lld, known %d %lld", (unsigned long long)seed,
                     v->id, (long long)base, form->known, (long long)form->residue);
        if (form->has_range)
            cr_assert(x[e].i >= form->lo && x[e].i <= form->hi,
                      "seed %llu: %%%d is %lld, not in [%lld, %lld]", (unsigned long long)seed,
                      v->id, (long long)x[e].i, (long long)form->lo, (long long)form->hi);
    }
}

typedef struct Maker {
    Builder b;
    Random r;
    VEC(Value *) tiles; ///< all of shape [n] and one int type
    const Type *t;
} Maker;

static Value *any(Maker *m)
{
    return m->tiles.data[random_below(&m->r, m->tiles.len)];
}

static Value *small_const(Maker *m, int64_t lo, int64_t hi)
{
    return build_const_int(&m->b, m->t, lo + random_below(&m->r, hi - lo + 1));
}

/// One more random value; all stay small enough not to wrap.
static Value *grow(Maker *m)
{
    static const ElemKind bits[] = {ELEM_AND, ELEM_OR, ELEM_XOR};
    Value *x = any(m), *y = any(m);
    const int32_t n = (int32_t)m->t->numel;
    switch (random_below(&m->r, 16)) {
    case 0:
        return build_binary(&m->b, ELEM_ADD, x, y);
    case 1:
        return build_binary(&m->b, ELEM_SUB, x, y);
    case 2:
        return build_binary(&m->b, ELEM_MUL, x, small_const(m, -4, 9));
    case 3:
        return build_binary(&m->b, ELEM_SHL, x, small_const(m, 0, 3));
    case 4:
        return build_binary(&m->b, ELEM_SHR, x, small_const(m, 0, 6));
    case 5:
        return build_binary(&m->b, ELEM_DIV, x, small_const(m, 1, 16));
    case 6:
        return build_binary(&m->b, ELEM_REM, x, small_const(m, 1, 16));
    case 7:
        return build_binary(&m->b, ELEM_REM, x,
                            build_const_int(&m->b, m->t, INT64_C(1) << random_below(&m->r, 6)));
    case 8:
        return build_binary(&m->b, ELEM_DIV, x,
                            build_const_int(&m->b, m->t, INT64_C(1) << random_below(&m->r, 6)));
    case 9:
        return build_binary(&m->b, bits[random_below(&m->r, 3)], x, small_const(m, 0, 63));
    case 10:
        return build_binary(&m->b, bits[random_below(&m->r, 3)], x, y);
    case 11:
        return build_binary(
            &m->b, ELEM_MUL, x,
            build_splat(&m->b, m->b.func->params[random_below(&m->r, N_PARAMS)].value, 1, &n));
    case 12:
        return build_flip(&m->b, x, 0);
    case 13:
        return build_select(&m->b, build_binary(&m->b, ELEM_LT, any(m), any(m)), x, y);
    case 14:
        return build_binary(&m->b, random_below(&m->r, 2) ? ELEM_MIN : ELEM_MAX, x, y);
    default: {
        int32_t two[2] = {2, n / 2}, perm[2] = {1, 0};
        Value *halves[2], *v = build_reshape(&m->b, x, 2, two);
        if (random_below(&m->r, 2)) return build_reshape(&m->b, build_trans(&m->b, v, perm), 1, &n);
        int32_t pairs[2] = {n / 2, 2};
        build_split(&m->b, build_reshape(&m->b, x, 2, pairs), halves);
        if (random_below(&m->r, 2)) return build_cat(&m->b, halves[0], halves[1], 0);
        return build_reshape(&m->b, build_join(&m->b, halves[1], halves[0]), 1, &n);
    }
    }
}

/// Do all elements stay within what the claims about wrapping allow?
static bool is_small(const Value *v, const Slot *x)
{
    for (int64_t e = 0; e < v->type->numel; e++)
        if (x[e].i > 1 << 26 || x[e].i < -(1 << 26)) return false;
    return true;
}

static void random_round(uint64_t seed)
{
    Module *mod = module_new(&tile_arena, &tile_diag);
    const Type *i32 = type_scalar(mod, DTYPE_I32), *i64 = type_scalar(mod, DTYPE_I64);
    const Type *params[N_PARAMS] = {i32, i32, i32, i32};
    Func *fn = func_new(mod, "f", N_PARAMS, params, NULL);
    Maker m = {.b = build_at_end(fn, fn->body), .r = {seed}};
    int32_t n = 4 << random_below(&m.r, 5);
    int64_t args[N_PARAMS];
    m.t = type_tile(mod, i32, 1, &n);
    for (int32_t i = 0; i < N_PARAMS; i++) {
        args[i] = random_below(&m.r, 40) - (i == 0 ? 20 : 0);
        if (i == 1) args[i] *= 16;
        fn->params[i].divisible = i == 1 ? 16 : 1;
        vec_push(&tile_arena, &m.tiles, build_splat(&m.b, fn->params[i].value, 1, &n));
    }
    vec_push(&tile_arena, &m.tiles, build_arange(&m.b, 0, n));
    vec_push(&tile_arena, &m.tiles, build_arange(&m.b, 5, 5 + n));
    vec_push(&tile_arena, &m.tiles,
             build_binary(&m.b, ELEM_ADD, build_splat(&m.b, build_program_id(&m.b, 0), 1, &n),
                          build_arange(&m.b, 0, n)));
    for (int32_t i = 0; i < 12; i++) {
        Value *v = grow(&m);
        vec_push(&tile_arena, &m.tiles, v);
    }
    Value *wide = build_cast(&m.b, any(&m), DTYPE_I64, ROUND_RNE);
    Value *wider = build_binary(&m.b, ELEM_ADD, wide,
                                build_splat(&m.b, build_const_int(&m.b, i64, 77), 1, &n));

    VEC(Value *)
    all = {0}; // what is returned and checked: parameters, then all int values of the body
    for (int32_t i = 0; i < N_PARAMS; i++)
        vec_push(&tile_arena, &all, fn->params[i].value);
    EACH_OP(op, fn->body)
        for (int32_t i = 0; i < op->n_out; i++)
            if (op->out[i].type->dtype != DTYPE_I1) vec_push(&tile_arena, &all, &op->out[i]);
    (void)wider;
    const Type **types = arena_array(&tile_arena, const Type *, all.len);
    Slot **values = arena_array(&tile_arena, Slot *, all.len);
    for (int32_t i = 0; i < all.len; i++) {
        types[i] = all.data[i]->type;
        values[i] = arena_array(&tile_arena, Slot, types[i]->numel);
    }
    fn->n_results = all.len;
    fn->results = types;
    build_return(&m.b, all.len, all.data);
    cr_assert_eq(func_verify(fn, &tile_diag), KILN_OK, "%s", diag_first(&tile_diag));

    AffineCx *cx = affine_new(&tile_arena, fn);
    const Slot *params_in[N_PARAMS];
    for (int32_t i = 0; i < N_PARAMS; i++)
        params_in[i] = &(Slot){.i = args[i]};
    InterpCall call = {.fn = fn,
                       .params = params_in,
                       .results = values,
                       .grid = {8, 1, 1, 0},
                       .first = random_below(&m.r, 8),
                       .n = 1,
                       .scratch = &tile_arena,
                       .diag = &tile_diag};
    Slot kept[N_PARAMS];
    for (int32_t i = 0; i < N_PARAMS; i++) {
        kept[i].i = args[i];
        params_in[i] = &kept[i];
    }
    cr_assert_eq(interp_call(&call), KILN_OK);
    for (int32_t i = 0; i < all.len; i++) {
        if (!is_small(all.data[i], values[i])) break; // later values may have wrapped
        check_form(affine_of(cx, all.data[i]), all.data[i], values[i], values, all.data, all.len,
                   seed);
    }
}

Test(affine, every_claim_holds_for_random_expressions)
{
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        ArenaMark mark = arena_mark(&tile_arena);
        random_round(seed);
        arena_release(&tile_arena, mark);
    }
}

// ---- forms that kernels have ----------------------------------------------------------------------

static Func *fn_of_test;
static AffineCx *cx_of_test;

/// Analyses `text`; values are found by name.
static void analyse(const char *text)
{
    fn_of_test = tile_func(text);
    cx_of_test = affine_new(&tile_arena, fn_of_test);
}

static Value *found_value;
static void match(Op *op, void *name)
{
    for (int32_t i = 0; i < op->n_out; i++)
        if (op->out[i].name && strcmp(op->out[i].name, name) == 0) found_value = &op->out[i];
}

static Value *named(const char *name)
{
    found_value = NULL;
    region_walk(fn_of_test->body, match, (void *)(uintptr_t)name);
    cr_assert(found_value, "no value is named %s", name);
    return found_value;
}

Test(affine, a_row_major_tile_of_addresses)
{
    analyse("func @f(%0.p: ptr<f32> {align=16}, %1.stride: i32 {align=16}) {\n"
            "  %2 = arange {start=0} : tile<8xi32>\n"
            "  %3 = expand_dims %2 {axis=1} : tile<8x1xi32>\n"
            "  %4 = splat %1 : tile<8x1xi32>\n"
            "  %5 = mul %3, %4 : tile<8x1xi32>\n"
            "  %6 = broadcast %5 : tile<8x16xi32>\n"
            "  %7 = arange {start=0} : tile<16xi32>\n"
            "  %8 = expand_dims %7 {axis=0} : tile<1x16xi32>\n"
            "  %9 = broadcast %8 : tile<8x16xi32>\n"
            "  %10 = add %6, %9 : tile<8x16xi32>\n"
            "  %11 = splat %0 : tile<8x16xptr<f32>>\n"
            "  %12.ptrs = addptr %11, %10 : tile<8x16xptr<f32>>\n"
            "  return\n}\n");
    const Value *p = named("ptrs");
    AxisForm cols = affine_axis(cx_of_test, p, 1), rows = affine_axis(cx_of_test, p, 0);
    cr_expect(cols.kind == AXIS_CONST && cols.stride.scale == 4 && cols.run == 16);
    cr_expect(rows.kind == AXIS_SCALED && rows.stride.scale == 4 && rows.run == 8);
    cr_expect_eq(rows.stride.factor[0], fn_of_test->params[1].value);
    cr_expect_eq(affine_contiguity(cx_of_test, p, 1), 16);
    cr_expect_eq(affine_contiguity_flat(cx_of_test, p), 16);
    cr_expect_eq(affine_vector_bytes(cx_of_test, p, 1, 16), 16);
    cr_expect_eq(affine_vector_bytes(cx_of_test, p, 1, 64), 16,
                 "the pointer is only a multiple of 16");
    cr_expect_eq(affine_vector_bytes(cx_of_test, p, 0, 16), 4);
    int32_t order[AFFINE_MAX_BITS];
    cr_expect_eq(affine_bit_order(cx_of_test, p, order), 7);
    for (int32_t i = 0; i < 7; i++)
        cr_expect_eq(order[i], i);
}

Test(affine, packed_nibbles_share_bytes_and_alternate)
{
    analyse("func @f(%0.p: ptr<u8> {align=16}) {\n"
            "  %1 = program_id {axis=0} : i32\n"
            "  %2 = const {value=64} : i32\n"
            "  %3 = mul %1, %2 : i32\n"
            "  %4 = splat %3 : tile<64xi32>\n"
            "  %5 = arange {start=0} : tile<64xi32>\n"
            "  %6.k = add %4, %5 : tile<64xi32>\n"
            "  %7 = const {value=2} : tile<64xi32>\n"
            "  %8.byte = div %6, %7 : tile<64xi32>\n"
            "  %9.nibble = rem %6, %7 : tile<64xi32>\n"
            "  %10 = const {value=32} : tile<64xi32>\n"
            "  %11.block = div %6, %10 : tile<64xi32>\n"
            "  %12.inside = rem %6, %10 : tile<64xi32>\n"
            "  return\n}\n");
    const Affine *byte = affine_of(cx_of_test, named("byte")),
                 *nibble = affine_of(cx_of_test, named("nibble"));
    cr_expect(byte->slow == 0 && byte->coeff[0].scale == 0 && byte->coeff[1].scale == 1 &&
              byte->coeff[5].scale == 16);
    cr_expect(nibble->slow == 0 && nibble->coeff[0].scale == 1 && nibble->coeff[1].scale == 0);
    const Affine *block = affine_of(cx_of_test, named("block")),
                 *inside = affine_of(cx_of_test, named("inside"));
    cr_expect(block->slow == 0 && block->coeff[4].scale == 0 && block->coeff[5].scale == 1);
    cr_expect(inside->slow == 0 && inside->coeff[4].scale == 16 && inside->coeff[5].scale == 0);
}

Test(affine, a_page_table_is_a_slow_base)
{
    analyse("func @f(%0.pool: ptr<f16> {align=16}, %1.table: ptr<i32>) {\n"
            "  %2.token = arange {start=0} : tile<64xi32>\n"
            "  %3 = const {value=16} : tile<64xi32>\n"
            "  %4 = div %2, %3 : tile<64xi32>\n"
            "  %5 = splat %1 : tile<64xptr<i32>>\n"
            "  %6 = addptr %5, %4 : tile<64xptr<i32>>\n"
            "  %7.page = load %6 : tile<64xi32>\n"
            "  %8 = mul %7, %3 : tile<64xi32>\n"
            "  %9 = rem %2, %3 : tile<64xi32>\n"
            "  %10 = add %8, %9 : tile<64xi32>\n"
            "  %11 = splat %0 : tile<64xptr<f16>>\n"
            "  %12.ptrs = addptr %11, %10 : tile<64xptr<f16>>\n"
            "  return\n}\n");
    cr_expect_eq(affine_of(cx_of_test, named("page"))->slow, 0x30);
    AxisForm along = affine_axis(cx_of_test, named("ptrs"), 0);
    cr_expect(along.kind == AXIS_CONST && along.stride.scale == 2 && along.run == 16);
    cr_expect_eq(affine_vector_bytes(cx_of_test, named("ptrs"), 0, 16), 16);
}

Test(affine, hints_restore_what_a_modulus_hides)
{
    analyse("func @f(%0.m: i32) {\n"
            "  %1 = arange {start=0} : tile<64xi32>\n"
            "  %2 = splat %0 : tile<64xi32>\n"
            "  %3.raw = rem %1, %2 : tile<64xi32>\n"
            "  %4 = hint %3 {hint=multiple_of, list=[32]} : tile<64xi32>\n"
            "  %5.hinted = hint %4 {hint=max_contiguous, list=[32]} : tile<64xi32>\n"
            "  return\n}\n");
    cr_expect_eq(affine_contiguity(cx_of_test, named("raw"), 0), 1);
    cr_expect_eq(affine_contiguity(cx_of_test, named("hinted"), 0), 32);
    cr_expect_eq(affine_alignment(cx_of_test, named("hinted"), 0x1f), 32);
}

Test(affine, carried_pointers_keep_their_form)
{
    analyse("func @f(%0.p: ptr<bf16> {align=16}, %1.n: i32) {\n"
            "  %2 = const {value=0} : i32\n"
            "  %3 = const {value=32} : i32\n"
            "  %4 = arange {start=0} : tile<32xi32>\n"
            "  %5 = splat %0 : tile<32xptr<bf16>>\n"
            "  %6 = addptr %5, %4 : tile<32xptr<bf16>>\n"
            "  %7.last = for %8.k = %2 to %1 step %3 carry (%9.q = %6) : tile<32xptr<bf16>> {\n"
            "    %10.same = addptr %9, %4 : tile<32xptr<bf16>>\n"
            "    %11 = splat %3 : tile<32xi32>\n"
            "    %12.next = addptr %9, %11 : tile<32xptr<bf16>>\n"
            "    %13 = splat %8 : tile<32xi32>\n"
            "    %14.col = add %13, %4 : tile<32xi32>\n"
            "    yield %12\n"
            "  }\n"
            "  return\n}\n");
    AxisForm q = affine_axis(cx_of_test, named("last"), 0);
    cr_expect(q.kind == AXIS_CONST && q.stride.scale == 2 && q.run == 32);
    cr_expect_eq(affine_vector_bytes(cx_of_test, named("next"), 0, 64), 16);
    cr_expect_eq(affine_axis(cx_of_test, named("same"), 0).stride.scale, 4);
    const Affine *col = affine_of(cx_of_test, named("col"));
    cr_expect(col->known == 5 && col->residue == 0 && col->lo == 0,
              "k counts from 0 in steps of 32");
}

Test(affine, bounds_are_prefixes_of_their_axis)
{
    analyse("func @f(%0.m: i32, %1.n: i32) {\n"
            "  %2 = arange {start=0} : tile<8xi32>\n"
            "  %3 = splat %0 : tile<8xi32>\n"
            "  %4 = lt %2, %3 : tile<8xi1>\n"
            "  %5 = expand_dims %4 {axis=1} : tile<8x1xi1>\n"
            "  %6 = broadcast %5 : tile<8x16xi1>\n"
            "  %7 = arange {start=0} : tile<16xi32>\n"
            "  %8 = expand_dims %7 {axis=0} : tile<1x16xi32>\n"
            "  %9 = splat %1 : tile<1x16xi32>\n"
            "  %10 = ge %9, %8 : tile<1x16xi1>\n"
            "  %11 = broadcast %10 : tile<8x16xi1>\n"
            "  %12 = and %6, %11 : tile<8x16xi1>\n"
            "  %13 = expand_dims %2 {axis=1} : tile<8x1xi32>\n"
            "  %14 = broadcast %13 : tile<8x16xi32>\n"
            "  %15 = broadcast %8 : tile<8x16xi32>\n"
            "  %16 = ge %14, %15 : tile<8x16xi1>\n"
            "  %17.mask = and %12, %16 : tile<8x16xi1>\n"
            "  %18.even = const {value=1} : tile<8xi1>\n"
            "  return\n}\n");
    MaskTerm t[AFFINE_MAX_TERMS];
    cr_assert_eq(affine_mask(cx_of_test, named("mask"), t), 3);
    cr_expect(t[0].is_prefix && t[0].axis == 0 && !t[0].is_inclusive && t[0].stride == 1);
    cr_expect(t[1].is_prefix && t[1].axis == 1 && t[1].is_inclusive && t[1].stride == 1);
    cr_expect(!t[2].is_prefix && t[2].axis == -2, "a causal mask changes along both axes");
    cr_expect_eq(affine_mask(cx_of_test, named("even"), t), 0);
}

Test(affine, the_origin_is_element_zero)
{
    Func *fn = tile_func("func @f(%0.n: i32) -> i64, tile<4x8xi64> {\n"
                         "  %1 = arange {start=3} : tile<8xi32>\n"
                         "  %2 = splat %0 : tile<8xi32>\n"
                         "  %3 = mul %1, %2 : tile<8xi32>\n"
                         "  %4 = cast %3 : tile<8xi64>\n"
                         "  %5 = expand_dims %4 {axis=0} : tile<1x8xi64>\n"
                         "  %6 = broadcast %5 : tile<4x8xi64>\n"
                         "  %7 = const {value=0} : i64\n"
                         "  return %7, %6\n}\n");
    Op *end = fn->body->last;
    Builder b = build_before(fn, end);
    Value *made = affine_origin(&b, end->in[1]);
    cr_assert(made);
    op_set_input(end, 0, made);
    cr_assert_eq(func_verify(fn, &tile_diag), KILN_OK);
    Slot n = {.i = -1000000007}, first, tile[32];
    InterpCall call = {.fn = fn,
                       .params = (const Slot *const[]){&n},
                       .results = (Slot *const[]){&first, tile},
                       .grid = {1, 1, 1, 0},
                       .n = 1,
                       .scratch = &tile_arena,
                       .diag = &tile_diag};
    cr_assert_eq(interp_call(&call), KILN_OK);
    cr_expect_eq(first.i, tile[0].i);
    cr_expect_eq(first.i, (int64_t)(int32_t)(3u * (uint32_t)n.i),
                 "in the types of the program, wrapping");
}

// A term says: index i of the axis is in when i < clamp(div_up(right - left + inclusive, stride), 0, extent).
Test(affine, prefix_counts_are_what_the_mask_computes)
{
    static const ElemKind kinds[] = {ELEM_LT, ELEM_LE, ELEM_GT, ELEM_GE};
    Random r = {21};
    int32_t n = 16, n_prefixes = 0;
    for (int32_t round = 0; round < 2000; round++) {
        ArenaMark mark = arena_mark(&tile_arena);
        Module *mod = module_new(&tile_arena, &tile_diag);
        const Type *i32 = type_scalar(mod, DTYPE_I32), *tile = type_tile(mod, i32, 1, &n);
        Func *fn = func_new(mod, "f", 2, (const Type *const[]){i32, i32}, NULL);
        Builder b = build_at_end(fn, fn->body);
        int32_t start = (int32_t)random_below(&r, 9) - 4;
        Value *index = build_arange(&b, start, start + n);
        index =
            build_binary(&b, ELEM_MUL, index, build_const_int(&b, tile, random_below(&r, 7) - 2));
        if (random_below(&r, 4) == 0)
            index = build_binary(&b, ELEM_DIV, index,
                                 build_const_int(&b, tile, 1 + random_below(&r, 3)));
        index = build_binary(&b, ELEM_ADD, index, build_splat(&b, fn->params[0].value, 1, &n));
        Value *bound = build_splat(&b, fn->params[1].value, 1, &n);
        bool swap = random_below(&r, 2);
        Value *mask = build_binary(&b, kinds[random_below(&r, 4)], swap ? bound : index,
                                   swap ? index : bound);

        MaskTerm t[AFFINE_MAX_TERMS];
        AffineCx *cx = affine_new(&tile_arena, fn);
        int32_t n_terms = affine_mask(cx, mask, t);
        cr_assert_eq(n_terms, 1);
        if (t[0].is_prefix) {
            n_prefixes++;
            fn->n_results = 3;
            fn->results = (const Type *[]){mask->type, tile, tile};
            build_return(
                &b, 3,
                (Value *[]){mask, (Value *)(uintptr_t)t[0].left, (Value *)(uintptr_t)t[0].right});
            Slot params[2] = {{.i = random_below(&r, 40) - 20}, {.i = random_below(&r, 80) - 40}},
                 m[16], left[16], right[16];
            InterpCall call = {.fn = fn,
                               .params = (const Slot *const[]){&params[0], &params[1]},
                               .results = (Slot *const[]){m, left, right},
                               .grid = {1, 1, 1, 0},
                               .n = 1,
                               .scratch = &tile_arena,
                               .diag = &tile_diag};
            cr_assert_eq(interp_call(&call), KILN_OK);
            int64_t room = right[0].i - left[0].i + t[0].is_inclusive;
            int64_t count = room <= 0 ? 0 : MIN(div_up(room, t[0].stride), n);
            for (int32_t i = 0; i < n; i++)
                cr_assert_eq(m[i].i, i < count, "round %d: element %d of a prefix of %lld", round,
                             i, (long long)count);
        }
        arena_release(&tile_arena, mark);
    }
    cr_expect_gt(n_prefixes, 300, "%d", n_prefixes);
}
