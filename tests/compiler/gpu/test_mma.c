// tests/compiler/gpu/test_mma.c - dots on tensor cores: which instruction, in which layouts, with which
// result.
//
//   table      (types, architecture, extents) -> instruction; the PTX of each holds it and assembles
//   numbers    every type on every architecture's emulator against the interpreter, one warp to eight,
//              batches, tiles smaller than a fragment, rows as columns
//   chains     the accumulator of one dot is the operand of the next without moving
#include "compiler/compile.h"
#include "compiler/gpu/mma.h"
#include "tests/compiler/gpu/harness.h"

typedef struct Shape {
    int32_t batch, m, n, k, warps;
} Shape;

typedef struct DotCase {
    DType a, b;
    const char *precision; ///< "" for the default
} DotCase;

static DType result_of(DType t)
{
    return t == DTYPE_F64 ? t : dtype_is_float(t) ? DTYPE_F32 : DTYPE_I32;
}

/// One operand: a row-major array as a tile. Values %at .. %at+4, the tile is %at+4.
static const char *operand_text(Arena *a, int32_t at, const char *ptr, const char *type, int32_t n,
                                const char *shape)
{
    return arena_printf(a,
                        "  %%%d = arange {start=0} : tile<%dxi32>\n"
                        "  %%%d = splat %s : tile<%dxptr<%s>>\n"
                        "  %%%d = addptr %%%d, %%%d : tile<%dxptr<%s>>\n"
                        "  %%%d = load %%%d : tile<%dx%s>\n"
                        "  %%%d = reshape %%%d : tile<%sx%s>\n",
                        at, n, at + 1, ptr, n, type, at + 2, at + 1, at, n, type, at + 3, at + 2, n,
                        type, at + 4, at + 3, shape, type);
}

/// y = dot(a, b, y), [batch, m, k] x [batch, k, n]. `transposed`: b lies as [batch, n, k].
static const char *dot_text(Arena *a, const DotCase *c, const Shape *s, bool transposed)
{
    const char *ta = dtype_facts[c->a].name, *tb = dtype_facts[c->b].name,
               *ty = dtype_facts[result_of(c->a)].name;
    const char *batch = s->batch > 1 ? arena_printf(a, "%dx", s->batch) : "";
    const char *sa = arena_printf(a, "%s%dx%d", batch, s->m, s->k),
               *sb = arena_printf(a, "%s%dx%d", batch, s->k, s->n),
               *sy = arena_printf(a, "%s%dx%d", batch, s->m, s->n),
               *st = arena_printf(a, "%s%dx%d", batch, s->n, s->k);
    int32_t na = s->batch * s->m * s->k, nb = s->batch * s->k * s->n, ny = s->batch * s->m * s->n;
    const char *b = operand_text(a, 20, "%2", tb, nb, transposed ? st : sb), *b_name = "%24";
    if (transposed) {
        b = arena_printf(a, "%s  %%25 = trans %%24 {list=[%s]} : tile<%sx%s>\n", b,
                         s->batch > 1 ? "0, 2, 1" : "1, 0", sb, tb);
        b_name = "%25";
    }
    return arena_printf(a,
                        "func @dots(%%0.y: ptr<%s> {align=16}, %%1.a: ptr<%s> {align=16}, %%2.b: "
                        "ptr<%s> {align=16}) "
                        "num_warps=%d {\n%s%s%s  %%40 = dot %%14, %s, %%34%s : tile<%sx%s>\n"
                        "  %%41 = reshape %%40 : tile<%dx%s>\n  store %%32, %%41\n  return\n}\n",
                        ty, ta, tb, s->warps, operand_text(a, 10, "%1", ta, na, sa), b,
                        operand_text(a, 30, "%0", ty, ny, sy), b_name,
                        *c->precision ? arena_printf(a, " {precision=%s}", c->precision) : "", sy,
                        ty, ny, ty);
}

/// Results on `target` against those of the interpreter, |difference| <= tolerance * sum of |a b|.
static void expect_dot(const char *target, const DotCase *c, const Shape *s, bool transposed,
                       double tolerance)
{
    Arena arena;
    arena_init(&arena, heap_default());
    const char *text = dot_text(&arena, c, s, transposed);
    Buffer y[2], a = buffer_new(c->a, (int64_t)s->batch * s->m * s->k),
                 b = buffer_new(c->b, (int64_t)s->batch * s->k * s->n);
    bool is_float = dtype_is_float(c->a);
    double low = is_float ? -1 : dtype_is_signed(c->a) ? -128 : 0;
    double high = is_float ? 1 : dtype_is_signed(c->a) ? 128 : 256;
    buffer_random(&a, 1, low, high), buffer_random(&b, 2, low, high);
    for (int32_t i = 0; i < 2; i++) {
        char messages[4096];
        y[i] = buffer_new(result_of(c->a), (int64_t)s->batch * s->m * s->n);
        buffer_random(&y[i], 3, -2, 2);
        Arg args[] = {{.buffer = &y[i]}, {.buffer = &a}, {.buffer = &b}};
        KilnStatus st = launch(text, i ? target : "interp", 3, args, (Grid){1, 1, 1, 0}, messages,
                               sizeof messages);
        cr_assert_eq(st, KILN_OK, "%s: %s\n%s", i ? target : "interp", messages, text);
    }
    int32_t wrong = 0;
    for (int64_t i = 0; i < y[0].n; i++) {
        double want = dtype_load_f64(y[0].dtype, (char *)y[0].data + 4 * i),
               got = dtype_load_f64(y[1].dtype, (char *)y[1].data + 4 * i);
        bool good = got >= want - tolerance * s->k && got <= want + tolerance * s->k;
        if (!good && !wrong++)
            cr_expect(false,
                      "%s %s x %s %s, %d x %d x %d x %d, %d warps: element %lld is %.9g, not %.9g",
                      target, dtype_facts[c->a].name, dtype_facts[c->b].name, c->precision,
                      s->batch, s->m, s->n, s->k, s->warps, (long long)i, got, want);
    }
    cr_expect_eq(wrong, 0, "%d of %lld differ", wrong, (long long)y[0].n);
    buffer_free(&y[0]), buffer_free(&y[1]), buffer_free(&a), buffer_free(&b);
    arena_reset(&arena);
}

// ---- which instruction ------------------------------------------------------------------------

typedef struct Expected {
    const char *target;
    DotCase dot;
    int32_t k;
    const char *instruction; ///< NULL: multiply-adds
    int32_t count;           ///< on 64 x 64 with 4 warps
} Expected;

static const Expected expected[] = {
    {"sm_75", {DTYPE_F16, DTYPE_F16, ""}, 32, "m16n8k8.row.col.f32.f16.f16.f32", 32},
    {"sm_80", {DTYPE_F16, DTYPE_F16, ""}, 32, "m16n8k16.row.col.f32.f16.f16.f32", 16},
    {"sm_80", {DTYPE_F16, DTYPE_F16, ""}, 8, "m16n8k8.row.col.f32.f16.f16.f32", 8},
    {"sm_90a", {DTYPE_F16, DTYPE_F16, "ieee"}, 32, "m16n8k16.row.col.f32.f16.f16.f32", 16},
    {"sm_75", {DTYPE_BF16, DTYPE_BF16, ""}, 32, NULL, 0},
    {"sm_86", {DTYPE_BF16, DTYPE_BF16, ""}, 32, "m16n8k16.row.col.f32.bf16.bf16.f32", 16},
    {"sm_75", {DTYPE_F32, DTYPE_F32, ""}, 32, NULL, 0},
    {"sm_80", {DTYPE_F32, DTYPE_F32, "ieee"}, 32, NULL, 0},
    {"sm_80", {DTYPE_F32, DTYPE_F32, ""}, 32, "m16n8k8.row.col.f32.tf32.tf32.f32", 32},
    {"sm_80", {DTYPE_F32, DTYPE_F32, "tf32x3"}, 32, "m16n8k8.row.col.f32.tf32.tf32.f32", 96},
    {"sm_80", {DTYPE_F32, DTYPE_F32, "bf16x6"}, 32, "m16n8k8.row.col.f32.tf32.tf32.f32", 96},
    {"sm_80", {DTYPE_F32, DTYPE_F32, "tf32"}, 4, "m16n8k4.row.col.f32.tf32.tf32.f32", 8},
    {"sm_80", {DTYPE_F64, DTYPE_F64, ""}, 32, NULL, 0},
    {"sm_75", {DTYPE_I8, DTYPE_I8, ""}, 32, "m8n8k16.row.col.s32.s8.s8.s32", 32},
    {"sm_80", {DTYPE_I8, DTYPE_I8, ""}, 32, "m16n8k32.row.col.s32.s8.s8.s32", 8},
    {"sm_89", {DTYPE_U8, DTYPE_U8, ""}, 64, "m16n8k32.row.col.s32.u8.u8.s32", 16},
    {"sm_80", {DTYPE_I8, DTYPE_I8, ""}, 8, NULL, 0},
    {"sm_75", {DTYPE_F8E4M3, DTYPE_F8E4M3, ""}, 32, "m16n8k8.row.col.f32.f16.f16.f32", 32},
    {"sm_80", {DTYPE_F8E4M3, DTYPE_F8E5M2, ""}, 32, "m16n8k16.row.col.f32.f16.f16.f32", 16},
    {"sm_89", {DTYPE_F8E4M3, DTYPE_F8E4M3, ""}, 32, "m16n8k32.row.col.f32.e4m3.e4m3.f32", 8},
    {"sm_89", {DTYPE_F8E5M2, DTYPE_F8E5M2, ""}, 32, "m16n8k32.row.col.f32.e5m2.e5m2.f32", 8},
    {"sm_89", {DTYPE_F8E4M3, DTYPE_F8E5M2, ""}, 32, "m16n8k32.row.col.f32.e4m3.e5m2.f32", 8},
    {"sm_89", {DTYPE_F8E5M2, DTYPE_F8E4M3, ""}, 16, "m16n8k32.row.col.f32.e5m2.e4m3.f32", 8},
    {"sm_90a", {DTYPE_F8E4M3, DTYPE_F8E4M3, ""}, 32, "m16n8k16.row.col.f32.f16.f16.f32", 16},
};

Test(gpu_mma, the_instruction_follows_from_types_extents_and_architecture, .timeout = 120)
{
    for (int32_t i = 0; i < COUNT_OF(expected); i++) {
        const Expected *e = &expected[i];
        Shape s = {1, 64, 64, e->k, 4};
        Kernel k;
        Arena arena;
        arena_init(&arena, heap_default());
        kernel_open(&k, dot_text(&arena, &e->dot, &s, false));
        cr_assert_eq(kernel_compile(&k, e->target), KILN_OK, "%s", kernel_messages(&k));
        int32_t all = count_text(k.ptx.data, "mma.sync"),
                found = e->instruction ? count_text(k.ptx.data, e->instruction) : 0;
        cr_expect_eq(found, e->count, "%s %s: %d of %s", e->target, dtype_facts[e->dot.a].name,
                     found, e->instruction ? e->instruction : "none");
        cr_expect_eq(all, e->count, "%s %s: %d mma.sync", e->target, dtype_facts[e->dot.a].name,
                     all);
        bool warned = strstr(kernel_messages(&k), "W0805") != NULL;
        cr_expect_eq(warned, e->dot.a == DTYPE_F32 && !*e->dot.precision && e->count, "%s",
                     kernel_messages(&k));
        PtxasReport r = ptxas_run((const char *)k.code.bytes, k.code.size, e->target);
        if (r.found) cr_expect(r.ok && r.spill_stores == 0, "%s: %s", e->target, r.log);
        kernel_close(&k);
        arena_reset(&arena);
    }
}

Test(gpu_mma, every_row_of_the_table_is_expected_of_some_dot)
{
    for (MmaId id = 0; id < MMA_COUNT; id++) {
        const MmaRow *row = &mma_rows[id];
        if (row->k * dtype_bits(row->a) < 256 || row->first != 80)
            continue; // short ones: by numbers
        bool seen = false;
        for (int32_t i = 0; i < COUNT_OF(expected); i++)
            seen |= expected[i].instruction && strstr(expected[i].instruction, row->suffix);
        cr_expect(seen, "%s %s", row->shape, row->suffix);
    }
}

Test(gpu_mma, operands_come_by_ldmatrix)
{
    static const DType types[] = {DTYPE_F16, DTYPE_BF16, DTYPE_I8};
    for (int32_t i = 0; i < COUNT_OF(types); i++) {
        Shape s = {1, 64, 64, 64, 4};
        DotCase c = {types[i], types[i], ""};
        Kernel k;
        Arena arena;
        arena_init(&arena, heap_default());
        kernel_open(&k, dot_text(&arena, &c, &s, true));
        cr_assert_eq(kernel_compile(&k, "sm_80"), KILN_OK, "%s", kernel_messages(&k));
        cr_expect_geq(count_text(k.ptx.data, "ldmatrix.sync.aligned.m8n8.x4"), 4, "%s",
                      dtype_facts[types[i]].name);
        static const char *const small[] = {"ld.shared.u8", "ld.shared.u16", "ld.shared.b8",
                                            "ld.shared.b16"};
        for (int32_t j = 0; j < COUNT_OF(small); j++)
            cr_expect_eq(count_text(k.ptx.data, small[j]), 0, "%s: %s", dtype_facts[types[i]].name,
                         small[j]);
        kernel_close(&k);
        arena_reset(&arena);
    }
}

// ---- numbers ----------------------------------------------------------------------------------

static const char *const machines[] = {"emu:sm_75", "emu:sm_80", "emu:sm_89", "emu:sm_90a"};

/// Of one product: tf32 keeps 10 bits, three of them 21; f32 sums are exact to 24.
static double tolerance_of(const DotCase *c)
{
    if (!dtype_is_float(c->a)) return 0;
    if (c->a != DTYPE_F32 || !strcmp(c->precision, "ieee")) return 0x1p-22;
    return !*c->precision || !strcmp(c->precision, "tf32") ? 0x1p-10 : 0x1p-20;
}

Test(gpu_mma, every_type_on_every_architecture_gives_the_interpreters_product, .timeout = 300)
{
    static const DotCase cases[] = {
        {DTYPE_F16, DTYPE_F16, ""},       {DTYPE_BF16, DTYPE_BF16, ""},
        {DTYPE_F32, DTYPE_F32, ""},       {DTYPE_F32, DTYPE_F32, "tf32x3"},
        {DTYPE_F32, DTYPE_F32, "ieee"},   {DTYPE_I8, DTYPE_I8, ""},
        {DTYPE_U8, DTYPE_U8, ""},         {DTYPE_F8E4M3, DTYPE_F8E4M3, ""},
        {DTYPE_F8E5M2, DTYPE_F8E4M3, ""},
    };
    static const Shape shapes[] = {{1, 32, 16, 32, 2}, {1, 16, 64, 64, 4}};
    for (int32_t m = 0; m < COUNT_OF(machines); m++)
        for (int32_t i = 0; i < COUNT_OF(cases); i++)
            for (int32_t s = 0; s < COUNT_OF(shapes); s++)
                expect_dot(machines[m], &cases[i], &shapes[s], (m + i + s) % 2,
                           tolerance_of(&cases[i]));
}

Test(gpu_mma, tiles_of_any_shape_are_multiplied, .timeout = 300)
{
    static const Shape shapes[] = {
        {1, 128, 32, 16, 4}, {1, 32, 128, 16, 8}, {1, 16, 8, 16, 1},   {1, 64, 64, 8, 4},
        {1, 1, 64, 32, 4},   {1, 4, 128, 64, 4},  {1, 8, 8, 32, 2},    {1, 64, 1, 32, 4},
        {1, 2, 2, 16, 1},    {1, 16, 2, 16, 4},   {2, 16, 16, 16, 4},  {4, 32, 8, 32, 8},
        {8, 4, 16, 16, 2},   {2, 1, 32, 16, 4},   {1, 16, 16, 256, 2},
    };
    for (int32_t s = 0; s < COUNT_OF(shapes); s++)
        for (int32_t t = 0; t < 2; t++) {
            DotCase c = {DTYPE_F16, DTYPE_F16, ""}, i8 = {DTYPE_I8, DTYPE_I8, ""};
            expect_dot("emu:sm_80", &c, &shapes[s], t, tolerance_of(&c));
            expect_dot(s % 2 ? "emu:sm_80" : "emu:sm_75", &i8, &shapes[s], t, 0);
        }
}

/// What a dot does on the emulator of sm_80.
static ImageCounters counted(const DotCase *c, const Shape *s, bool transposed)
{
    ImageCounters n = {0};
    Kernel k;
    Arena arena;
    arena_init(&arena, heap_default());
    kernel_open(&k, dot_text(&arena, c, s, transposed));
    cr_assert_eq(kernel_compile(&k, "emu:sm_80"), KILN_OK, "%s", kernel_messages(&k));
    Buffer y = buffer_new(result_of(c->a), s->m * s->n), a = buffer_new(c->a, s->m * s->k),
           b = buffer_new(c->b, s->k * s->n);
    buffer_random(&y, 1, 0, 1), buffer_random(&a, 2, 0, 1), buffer_random(&b, 3, 0, 1);
    MemRange ranges[3];
    Buffer *all[] = {&y, &a, &b};
    void *args[3];
    for (int32_t i = 0; i < 3; i++) {
        args[i] = all[i]->data;
        ranges[i] = (MemRange){args[i], (size_t)(all[i]->n * dtype_bytes(all[i]->dtype)),
                               k.fn->params[i].name};
    }
    Image img = {0};
    cr_assert_eq(emu_image_load(&k.code, k.fn, &img, &k.diag), KILN_OK);
    KilnStatus st = img.ops->run(img.self, args, &(Grid){1, 1, 1, 0}, 0, 1, 3, ranges, &k.diag);
    cr_assert_eq(st, KILN_OK, "%s", kernel_messages(&k));
    img.ops->counters(img.self, &n);
    img.ops->free(img.self);
    for (int32_t i = 0; i < 3; i++)
        buffer_free(all[i]);
    kernel_close(&k);
    arena_reset(&arena);
    return n;
}

Test(gpu_mma, no_access_to_shared_memory_meets_a_bank_conflict, .timeout = 120)
{
    static const DotCase cases[] = {{DTYPE_F16, DTYPE_F16, ""},
                                    {DTYPE_I8, DTYPE_I8, ""},
                                    {DTYPE_F32, DTYPE_F32, "tf32"},
                                    {DTYPE_F8E4M3, DTYPE_F8E4M3, ""}};
    static const Shape shapes[] = {{1, 64, 64, 64, 4}, {1, 32, 128, 32, 8}, {1, 128, 16, 128, 2}};
    int32_t matrix_loads = 0, all = 0;
    for (int32_t i = 0; i < COUNT_OF(cases); i++)
        for (int32_t k = 0; k < COUNT_OF(shapes); k++)
            for (int32_t t = 0; t < 2; t++) {
                const Shape *s = &shapes[k];
                ImageCounters n = counted(&cases[i], s, t);
                const MmaRow *row = &mma_rows[cases[i].a == DTYPE_I8    ? MMA_S8_K32
                                              : cases[i].a == DTYPE_F32 ? MMA_TF32_K8
                                                                        : MMA_F16_K16];
                cr_expect_eq(n.mmas, (s->m / 16) * (s->n / 8) * (s->k / row->k), "%lld",
                             (long long)n.mmas);
                matrix_loads += n.matrix_loads > 0, all++;
                cr_expect_eq(n.shared_loads.units, n.shared_loads.ideal,
                             "%s %d: %lld reads, not %lld", dtype_facts[cases[i].a].name, k,
                             (long long)n.shared_loads.units, (long long)n.shared_loads.ideal);
                cr_expect_eq(n.shared_stores.units, n.shared_stores.ideal,
                             "%s %d: %lld writes, not %lld", dtype_facts[cases[i].a].name, k,
                             (long long)n.shared_stores.units, (long long)n.shared_stores.ideal);
            }
    cr_expect_geq(matrix_loads, all - 4, "%d of %d read matrices", matrix_loads, all);
}

// ---- chains -----------------------------------------------------------------------------------

/// Attention without its masks: per step s = q k^T, p = 2^s, o = o + p v. P is of `t`.
static const char *chain_text(Arena *a, DType t, int32_t warps)
{
    const char *e = dtype_facts[t].name;
    return arena_printf(
        a,
        "func @chain(%%0.y: ptr<f32> {align=16}, %%1.q: ptr<%s> {align=16}, %%2.k: ptr<%s> "
        "{align=16}, "
        "%%3.v: ptr<%s> {align=16}, %%4.n: i32) num_warps=%d {\n"
        "%s" // 10: q
        "  %%15 = const {value=0.0} : tile<64x32xf32>\n"
        "  %%16 = const {value=0} : i32\n  %%17 = const {value=1} : i32\n"
        "  %%18 = for %%19 = %%16 to %%4 step %%17 carry (%%20 = %%15) : tile<64x32xf32> {\n"
        "%s%s" // 30: k, 40: v
        "    %%50 = trans %%34 {list=[1, 0]} : tile<32x32x%s>\n"
        "    %%51 = const {value=0.0} : tile<64x32xf32>\n"
        "    %%52 = dot %%14, %%50, %%51 : tile<64x32xf32>\n"
        "    %%53 = exp2 %%52 : tile<64x32xf32>\n"
        "    %%54 = cast %%53 : tile<64x32x%s>\n"
        "    %%55 = dot %%54, %%44, %%20 : tile<64x32xf32>\n"
        "    yield %%55\n  }\n"
        "  %%60 = reshape %%18 : tile<2048xf32>\n"
        "  %%61 = arange {start=0} : tile<2048xi32>\n"
        "  %%62 = splat %%0 : tile<2048xptr<f32>>\n"
        "  %%63 = addptr %%62, %%61 : tile<2048xptr<f32>>\n  store %%63, %%60\n  return\n}\n",
        e, e, e, warps, operand_text(a, 10, "%1", e, 2048, "64x32"),
        operand_text(a, 30, "%2", e, 1024, "32x32"), operand_text(a, 40, "%3", e, 1024, "32x32"), e,
        e);
}

/// DOTs inside the loop of a chain, and CONVERTs of what is computed there.
static void count_moves(const char *text, const char *target, int32_t *moves, int32_t *dots)
{
    Kernel k;
    kernel_open(&k, text);
    cr_assert_eq(kernel_compile(&k, target), KILN_OK, "%s", kernel_messages(&k));
    *moves = *dots = 0;
    EACH_OP(op, k.fn->body) {
        if (op->kind != OP_FOR) continue;
        EACH_OP(inner, op->regions[0]) {
            *dots += inner->kind == OP_DOT;
            if (inner->kind != OP_CONVERT || inner->in[0]->def->kind == OP_LOAD) continue;
            ConvertPlan p =
                convert_classify(inner->in[0]->type->layout, inner->out[0].type->layout, 4);
            *moves += p.kind != CONVERT_REGISTERS && p.kind != CONVERT_SAME;
        }
    }
    kernel_close(&k);
}

Test(gpu_mma, an_accumulator_becomes_the_next_operand_without_moving)
{
    static const DType types[] = {DTYPE_F16, DTYPE_BF16, DTYPE_F32, DTYPE_F8E5M2};
    Arena arena;
    arena_init(&arena, heap_default());
    for (int32_t i = 0; i < COUNT_OF(types); i++) {
        int32_t moves, dots;
        count_moves(chain_text(&arena, types[i], 4), "sm_80", &moves, &dots);
        cr_expect_eq(dots, 2);
        cr_expect_eq(moves, 0, "%s: %d", dtype_facts[types[i]].name, moves);
        count_moves(chain_text(&arena, types[i], 4), "sm_89", &moves, &dots);
        cr_expect_eq(moves, 0, "%s: %d", dtype_facts[types[i]].name, moves);
    }
    arena_reset(&arena);
}

static void expect_chain(const char *target, DType t, int32_t warps, double tolerance)
{
    Arena arena;
    arena_init(&arena, heap_default());
    Buffer y[2], q = buffer_new(t, 2048), k = buffer_new(t, 1024), v = buffer_new(t, 1024);
    buffer_random(&q, 1, -0.3, 0.3), buffer_random(&k, 2, -0.3, 0.3), buffer_random(&v, 3, -1, 1);
    for (int32_t i = 0; i < 2; i++) {
        char messages[4096];
        y[i] = buffer_new(DTYPE_F32, 2048);
        Arg args[] = {{.buffer = &y[i]}, {.buffer = &q}, {.buffer = &k}, {.buffer = &v}, {.i = 3}};
        KilnStatus st = launch(chain_text(&arena, t, warps), i ? target : "interp", 5, args,
                               (Grid){1, 1, 1, 0}, messages, sizeof messages);
        cr_assert_eq(st, KILN_OK, "%s", messages);
    }
    double worst = 0;
    for (int32_t i = 0; i < 2048; i++) {
        double d = ((float *)y[0].data)[i] - ((float *)y[1].data)[i];
        worst = MAX(worst, d < 0 ? -d : d);
    }
    cr_expect_leq(worst, tolerance, "%s %s: %g", target, dtype_facts[t].name, worst);
    buffer_free(&y[0]), buffer_free(&y[1]), buffer_free(&q), buffer_free(&k), buffer_free(&v);
    arena_reset(&arena);
}

Test(gpu_mma, a_chain_gives_the_interpreters_result, .timeout = 120)
{
    // 96 products of values up to 1 and p up to 2; p may round to its other neighbour where exp2
    // differs in the last place.
    expect_chain("emu:sm_80", DTYPE_F16, 4, 0.02);
    expect_chain("emu:sm_80", DTYPE_BF16, 2, 0.1);
    expect_chain("emu:sm_75", DTYPE_F16, 8, 0.02);
    expect_chain("emu:sm_89", DTYPE_F8E4M3, 4, 2.0);
    expect_chain("emu:sm_80", DTYPE_F32, 4, 0.3);
}

// ---- dequantisation ---------------------------------------------------------------------------

/// Compiles a kernel of a file for sm_80. @return how many 64 x 64 tiles are converted (weights are that
/// large, results are not); *mmas: matrix instructions
static int32_t converted_weights(const char *file, const char *words, int32_t *mmas)
{
    Arena arena;
    Diag diag;
    Source *source;
    Spec spec;
    Target target;
    Code code;
    StrBuf layout = {0};
    Emit emit = {.layout = &layout};
    int32_t n = 0;
    arena_init(&arena, heap_default());
    diag_init(&diag, heap_default());
    cr_assert_eq(source_open(file, &source, &diag), KILN_OK);
    cr_assert_eq(spec_parse(source, str_of(words), &arena, &spec, &diag), KILN_OK);
    cr_assert_eq(target_parse("sm_80", &target, &diag), KILN_OK);
    cr_assert_eq(compile_kernel(source, &spec, &target, &emit, &code, &diag), KILN_OK);
    *mmas = count_text((const char *)code.bytes, "mma.sync");
    n = count_text(layout.data, "= convert : #l<64x64>");
    strbuf_free(&layout);
    code_free(&code);
    source_close(source);
    diag_reset(&diag);
    arena_reset(&arena);
    return n;
}

Test(gpu_mma, weights_become_wide_in_the_layout_of_the_operand)
{
    int32_t mmas;
    cr_expect_eq(
        converted_weights(KILN_SOURCE_DIR "/tests/compiler/gpu/ops.py",
                          "packed(y: *f16:16, x: *f16:16, w: *i32:16, s: *f16:16, N: i32:16, "
                          "K: i32:16, BM=16, BN=64, BK=64)[num_warps=4]",
                          &mmas),
        0);
    cr_expect_eq(mmas, 8);
    cr_expect_eq(
        converted_weights(KILN_SOURCE_DIR "/kernels.dsl/gemm.py",
                          "gemm(y: *bf16:16, x: *bf16:16, w: *i8:16, scale: *f16, bias: None, "
                          "rows: *i32, N: i32:16, K: i32:16, sy: i32:16, sx: i32:16, "
                          "BLOCK_M=16, BLOCK_N=64, BLOCK_K=64, EVEN_K=True)[num_warps=4]",
                          &mmas),
        0);
    cr_expect_eq(mmas, 8);
}

// ---- what a wrong layout does -----------------------------------------------------------------

Test(gpu_mma, a_flipped_column_of_an_operand_is_noticed)
{
    Arena arena;
    arena_init(&arena, heap_default());
    Shape s = {1, 32, 32, 32, 2};
    DotCase c = {DTYPE_F16, DTYPE_F16, ""};
    int32_t wrong[2] = {0};
    for (int32_t flip = 0; flip < 2; flip++) {
        Kernel k;
        static const Emit nothing;
        kernel_open(&k, dot_text(&arena, &c, &s, false));
        GpuCx cx = {.fn = k.fn,
                    .module = k.module,
                    .arena = &k.arena,
                    .diag = &k.diag,
                    .sm = sm_facts(80, false),
                    .is_emu = true,
                    .log_warps = 1};
        anchors_choose(&cx, affine_new(&k.arena, k.fn));
        dots_select(&cx);
        EACH_OP(op, k.fn->body) {
            if (op->kind != OP_DOT || !flip) continue;
            DotPlan changed = *op_note(op)->dot; // two lanes exchanged: k2 and k4 of B alone
            Layout l = *changed.right;
            uint32_t *lane = l.col + layout_first(&l, IN_LANE), t = lane[0];
            lane[0] = lane[1], lane[1] = t;
            changed.right = layout_intern(k.module, &l);
            DotPlan *kept = arena_new(&k.arena, DotPlan);
            *kept = changed;
            op_note(op)->dot = kept;
        }
        cr_assert_eq(layouts_assign(&cx), KILN_OK, "%s", kernel_messages(&k));
        k.code = (Code){.num_warps = 2, .n_params = 3, .entry = "dots"};
        k.code.params[1].offset = 8, k.code.params[2].offset = 16;
        cr_assert_eq(gpu_generate(&cx, &nothing, &k.code), KILN_OK, "%s", kernel_messages(&k));
        Buffer y = buffer_new(DTYPE_F32, 1024), a = buffer_new(DTYPE_F16, 1024),
               b = buffer_new(DTYPE_F16, 1024);
        buffer_random(&y, 1, 0, 0), buffer_random(&a, 2, -1, 1), buffer_random(&b, 3, -1, 1);
        MemRange ranges[] = {{y.data, 4096, "y"}, {a.data, 2048, "a"}, {b.data, 2048, "b"}};
        void *args[] = {y.data, a.data, b.data};
        Image img = {0};
        cr_assert_eq(emu_image_load(&k.code, k.fn, &img, &k.diag), KILN_OK);
        KilnStatus st = img.ops->run(img.self, args, &(Grid){1, 1, 1, 0}, 0, 1, 3, ranges, &k.diag);
        cr_assert_eq(st, KILN_OK, "%s", kernel_messages(&k));
        for (int32_t i = 0; i < 32; i++)
            for (int32_t j = 0; j < 32; j++) {
                double sum = 0;
                for (int32_t e = 0; e < 32; e++)
                    sum += dtype_load_f64(DTYPE_F16, (char *)a.data + 2 * (i * 32 + e)) *
                           dtype_load_f64(DTYPE_F16, (char *)b.data + 2 * (e * 32 + j));
                double d = sum - ((float *)y.data)[i * 32 + j];
                wrong[flip] += d > 1e-4 || d < -1e-4;
            }
        img.ops->free(img.self);
        buffer_free(&y), buffer_free(&a), buffer_free(&b);
        kernel_close(&k);
    }
    cr_expect_eq(wrong[0], 0);
    cr_expect_gt(wrong[1], 900, "%d of 1024 differ", wrong[1]);
    arena_reset(&arena);
}

Test(gpu_mma, layouts_of_dots_are_shown_as_text_and_as_pictures)
{
    Arena arena;
    arena_init(&arena, heap_default());
    Shape s = {1, 64, 64, 64, 4};
    DotCase c = {DTYPE_F16, DTYPE_F16, ""};
    Kernel k;
    kernel_open(&k, dot_text(&arena, &c, &s, true));
    cr_assert_eq(kernel_compile(&k, "sm_80"), KILN_OK);
    cr_expect_not_null(strstr(k.layout.data,
                              "dot : #l<64x64>{reg 1 512 8 16 2048; lane 2 4 64 128 256; "
                              "warp 32 1024}"),
                       "%s", k.layout.data);
    StrBuf svg = {0};
    layouts_draw(k.fn, &svg);
    cr_expect_not_null(strstr(svg.data, "lane 2 4 64 128 256"));
    cr_expect_not_null(strstr(svg.data, "t127:r31"));
    strbuf_free(&svg);
    kernel_close(&k);
    arena_reset(&arena);
}
