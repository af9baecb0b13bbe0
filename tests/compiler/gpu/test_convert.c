// tests/compiler/gpu/test_convert.c - conversions between random layouts: the algebra, and the code
// on the emulator.
#include "compiler/gpu/gpu.h"
#include "tests/compiler/gpu/harness.h"

static uint32_t below(Random *r, uint32_t n)
{
    return (uint32_t)(random_u64(r) % n);
}

/// A random sub-permutation of `bits` coordinate bits of a 1-D tile, some lanes and warps repeating
/// elements.
static Layout random_layout(Random *r, int32_t bits, int32_t warps)
{
    Layout l = layout_empty(1, (int32_t[1]){1 << bits});
    uint32_t order[16];
    for (int32_t i = 0; i < bits; i++)
        order[i] = 1u << i;
    for (int32_t i = bits - 1; i > 0; i--) {
        uint32_t k = below(r, (uint32_t)i + 1), t = order[i];
        order[i] = order[k], order[k] = t;
    }
    int32_t next = 0;
    for (int32_t i = 0; i < 5; i++)
        layout_push(&l, IN_LANE, next < bits && below(r, 6) ? order[next++] : 0);
    for (int32_t i = 0; i < warps; i++)
        layout_push(&l, IN_WARP, next < bits && below(r, 4) ? order[next++] : 0);
    while (next < bits)
        layout_push(&l, IN_REG, order[next++]);
    return l;
}

/// `l` with some of its lanes, registers, or both exchanged; warps stay, so that no data crosses
/// them.
static Layout shuffled(Random *r, Layout l)
{
    for (int32_t round = 0; round < 3; round++) {
        int32_t first = below(r, 2) ? layout_first(&l, IN_LANE) : 0,
                n = first ? LAYOUT_LANES : l.n_col[IN_REG];
        if (n < 2) continue;
        uint32_t a = (uint32_t)first + below(r, (uint32_t)n),
                 b = (uint32_t)first + below(r, (uint32_t)n), t = l.col[a];
        l.col[a] = l.col[b], l.col[b] = t;
    }
    return l;
}

/// Runs a plan's rounds on the coordinates that the source's registers hold: one register of one lane
/// per round and asking lane.
static void expect_delivered(const ConvertPlan *p, const Layout *s, const Layout *d)
{
    for (uint32_t warp = 0; warp < 4; warp++)
        for (uint32_t lane = 0; lane < 32; lane++)
            for (uint32_t reg = 0; reg < (uint32_t)layout_regs(d); reg++) {
                uint32_t round = reg ^ gf2_apply(p->take, lane);
                uint32_t from = gf2_apply(p->from, lane) ^ gf2_apply(p->reg_lane, round) ^
                                gf2_apply(p->warp_lane, warp);
                uint32_t offered = gf2_apply(p->send, round) ^ gf2_apply(p->give, from) ^
                                   gf2_apply(p->give_warp, warp);
                cr_assert_eq(layout_at(s, offered, from, warp), layout_at(d, reg, lane, warp));
                if (p->is_butterfly) cr_assert_eq(gf2_apply(p->from, lane), lane);
                if (round & p->packed) { // shares the word of the round without the bit
                    uint32_t first = round & ~p->packed;
                    cr_assert_eq(gf2_apply(p->reg_lane, first), gf2_apply(p->reg_lane, round));
                }
            }
}

Test(gpu_convert, a_plan_finds_every_element_where_the_source_holds_it)
{
    Random rng = {21};
    int32_t seen[4] = {0}, within = 0, packed = 0;
    for (int32_t round = 0; round < 3000; round++) {
        Layout s = random_layout(&rng, 4 + (int32_t)below(&rng, 7), 2);
        Layout d = round % 2 ? shuffled(&rng, s) : random_layout(&rng, layout_bits(&s), 2);
        int32_t bytes = 1 << below(&rng, 4);
        ConvertPlan p = convert_classify(&s, &d, bytes), any;
        seen[p.kind]++;
        if (p.kind == CONVERT_SAME) cr_assert(layout_equal(&s, &d));
        if (!convert_in_warps(&s, &d, bytes, &any)) {
            cr_assert_eq(p.kind, p.kind == CONVERT_SAME ? CONVERT_SAME : CONVERT_SHARED);
            continue;
        }
        if (any.kind == CONVERT_SHUFFLE) {
            expect_delivered(&any, &s, &d);
            within++, packed += any.packed != 0;
            continue;
        }
        for (uint32_t warp = 0; warp < 4; warp++)
            for (uint32_t lane = 0; lane < 32; lane++)
                for (uint32_t reg = 0; reg < (uint32_t)layout_regs(&d); reg++)
                    cr_assert_eq(layout_at(&s, gf2_apply(any.reg_reg, reg), lane, warp),
                                 layout_at(&d, reg, lane, warp));
    }
    for (int32_t i = 0; i < 4; i++)
        cr_expect_gt(seen[i], 10, "class %d was met %d times", i, seen[i]);
    cr_expect_gt(within, 500, "%d within warps, %d packed", within, packed);
    cr_expect_gt(packed, 50, "%d within warps, %d packed", within, packed);
}

/// Layouts of one warp, and what exchanges them.
static void expect_schedule(const char *source, const char *target, bool is_butterfly,
                            int32_t rounds, int32_t stages)
{
    Layout s, d;
    cr_assert(layout_parse(str_of(source), &s) && layout_parse(str_of(target), &d));
    ConvertPlan p;
    cr_assert(convert_in_warps(&s, &d, 4, &p));
    cr_expect_eq(p.kind, CONVERT_SHUFFLE);
    cr_expect_eq(p.is_butterfly, is_butterfly, "%s", target);
    int32_t n = 0, m = 0;
    for (uint32_t r = 0; r < (uint32_t)layout_regs(&d); r++)
        n += !p.is_butterfly || gf2_apply(p.reg_lane, r);
    for (int32_t i = 0; i < LAYOUT_LANES; i++)
        m += (p.give[i] != 0) + (p.take[i] != 0);
    cr_expect_eq(n, rounds, "%s: %d rounds", target, n);
    cr_expect_eq(m, stages, "%s: %d stages of selects", target, m);
}

Test(gpu_convert, schedules_cost_what_the_worked_examples_say)
{
    // swap r0 <-> l0: a shuffle between two stages of selects; the 4 x 4 transpose: three
    expect_schedule("#l<64>{reg 1; lane 2 4 8 16 32}", "#l<64>{reg 2; lane 1 4 8 16 32}", true, 1,
                    2);
    expect_schedule("#l<128>{reg 1 2; lane 4 8 16 32 64}", "#l<128>{reg 4 8; lane 1 2 16 32 64}",
                    true, 3, 4);
    expect_schedule("#l<128>{reg 1 2; lane 4 8 16 32 64}", "#l<128>{reg 1 2; lane 8 4 16 32 64}",
                    false, 4, 0);
}

/// y = x, read in layout `s` and written in layout `d`, behind the pass that would choose layouts.
static const char *move_text(Arena *a, DType t, const Layout *s, const Layout *d)
{
    const char *e = dtype_facts[t].name;
    int32_t n = 1 << layout_bits(s);
    return arena_printf(
        a,
        "#s = %s\n#d = %s\nfunc @move(%%0.y: ptr<%s>, %%1.x: ptr<%s>) num_warps=4 {\n"
        "  %%2 = arange {start=0} : tile<%dxi32, #s>\n  %%3 = splat %%1 : tile<%dxptr<%s>, #s>\n"
        "  %%4 = addptr %%3, %%2 : tile<%dxptr<%s>, #s>\n  %%5 = load %%4 : tile<%dx%s, #s>\n"
        "  %%6 = convert %%5 : tile<%dx%s, #d>\n"
        "  %%7 = arange {start=0} : tile<%dxi32, #d>\n  %%8 = splat %%0 : tile<%dxptr<%s>, #d>\n"
        "  %%9 = addptr %%8, %%7 : tile<%dxptr<%s>, #d>\n  store %%9, %%6\n  return\n}\n",
        layout_text(a, s), layout_text(a, d), e, e, n, n, e, n, e, n, e, n, e, n, n, e, n, e);
}

static void expect_moved(Arena *a, DType t, const Layout *s, const Layout *d)
{
    const char *text = move_text(a, t, s, d);
    int32_t n = 1 << layout_bits(s);
    Kernel k = {0};
    arena_init(&k.arena, heap_default());
    diag_init(&k.diag, heap_default());
    k.module = module_new(&k.arena, &k.diag);
    cr_assert_eq(module_parse(k.module, "move.tile", str_of(text)), KILN_OK, "%s\n%s",
                 kernel_messages(&k), text);
    k.fn = vec_last(&k.module->funcs);
    GpuCx cx = {.fn = k.fn,
                .module = k.module,
                .arena = &k.arena,
                .diag = &k.diag,
                .sm = sm_facts(80, false),
                .is_emu = true,
                .log_warps = 2};
    k.code = (Code){.num_warps = 4, .n_params = 2, .entry = "move"};
    k.code.params[1].offset = 8;
    anchors_choose(&cx, affine_new(&k.arena, k.fn));
    static const Emit nothing;
    cr_assert_eq(gpu_generate(&cx, &nothing, &k.code), KILN_OK, "%s", kernel_messages(&k));
    Buffer x = buffer_new(t, n), y = buffer_new(t, n);
    buffer_random(&x, 5, -100, 100);
    MemRange ranges[] = {{y.data, (size_t)(n * dtype_bytes(t)), "y"},
                         {x.data, (size_t)(n * dtype_bytes(t)), "x"}};
    void *args[] = {y.data, x.data};
    Image img = {0};
    cr_assert_eq(emu_image_load(&k.code, k.fn, &img, &k.diag), KILN_OK, "%s", kernel_messages(&k));
    KilnStatus st = img.ops->run(img.self, args, &(Grid){1, 1, 1, 0}, 0, 1, 2, ranges, &k.diag);
    cr_expect_eq(st, KILN_OK, "%s\n%s", kernel_messages(&k), text);
    cr_expect(!memcmp(x.data, y.data, (size_t)(n * dtype_bytes(t))), "not moved:\n%s", text);
    img.ops->free(img.self);
    buffer_free(&x), buffer_free(&y);
    kernel_close(&k);
}

Test(gpu_convert, every_kind_of_move_delivers_the_tile_on_the_emulator, .timeout = 120)
{
    static const DType dtypes[] = {DTYPE_F32, DTYPE_F16, DTYPE_I8, DTYPE_I64};
    Random rng = {22};
    Arena arena;
    arena_init(&arena, heap_default());
    for (int32_t round = 0; round < 60; round++) {
        DType t = dtypes[round % COUNT_OF(dtypes)];
        Layout s = random_layout(&rng, 4 + (int32_t)below(&rng, 6), 2);
        Layout d = round % 3 ? random_layout(&rng, layout_bits(&s), 2) : shuffled(&rng, s);
        expect_moved(&arena, t, &s, &d);
    }
    arena_reset(&arena);
}
