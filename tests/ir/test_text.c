// tests/ir/test_text.c - the text form prints back as it was read, and mistakes are named where they are.
#include <math.h>

#include "base/file.h"
#include "base/random.h"
#include "ir/build.h"
#include "ir/elem_eval.h"
#include "tests/support/tile.h"

TestSuite(text, .init = tile_up, .fini = tile_down, .timeout = 60);

static const char *golden(void)
{
    StrBuf text = {0};
    cr_assert_eq(file_read(KILN_SOURCE_DIR "/tests/golden/ir/every_op.tile", &text, &tile_diag),
                 KILN_OK);
    const char *copy = arena_strndup(&tile_arena, text.data, text.len);
    strbuf_free(&text);
    return copy;
}

Test(text, every_op_prints_back_as_it_was_read)
{
    const char *text = golden();
    const char *printed = tile_text(tile_module(text));
    cr_assert_str_eq(printed, text, "%s", printed);
    for (int32_t k = 0; k < OP_KIND_COUNT; k++) {
        const char *name = k == OP_ELEM ? "fma" : op_facts[k].name;
        const char *at = strstr(text, arena_printf(&tile_arena, " %s ", name));
        if (!at) at = strstr(text, arena_printf(&tile_arena, " %s\n", name));
        cr_expect(at, "the golden file lacks %s", name);
    }
}

Test(text, every_elementwise_row_prints_back)
{
    for (int32_t e = 0; e < ELEM_KIND_COUNT; e++) {
        const ElemFacts *f = &elem_facts[e];
        const char *in = f->domain == DOMAIN_INT ? "i16" : "f32";
        const char *first = f->result == RESULT_SEL ? "i1" : in;
        const char *out = f->result == RESULT_BOOL ? "i1" : in;
        const char *uses[] = {"%0", "%0, %1", "%0, %1, %2"};
        const char *text = arena_printf(
            &tile_arena,
            "func @f(%%0: %s, %%1: %s, %%2: %s) -> %s {\n  %%3 = %s %s : %s\n  return %%3\n}\n",
            first, in, in, out, f->name, uses[f->arity - 1], out);
        cr_expect_str_eq(tile_text(tile_module(text)), text);
    }
}

Test(text, floats_read_back_to_the_same_bits)
{
    static const DType types[] = {DTYPE_F64,  DTYPE_F32,    DTYPE_F16,
                                  DTYPE_BF16, DTYPE_F8E4M3, DTYPE_F8E5M2};
    Random r = {7};
    for (int32_t i = 0; i < 600; i++) {
        DType t = types[i % COUNT_OF(types)];
        uint64_t bits = random_u64(&r);
        Slot x = slot_load(t, &bits);
        Module *m = module_new(&tile_arena, &tile_diag);
        Func *fn = func_new(m, "f", 0, NULL, NULL);
        Builder b = build_at_end(fn, fn->body);
        x.f = build_const_float(&b, type_scalar(m, t), x.f)->def->attrs[0].f;
        build_return(&b, 0, NULL);
        const char *text = tile_text(m);
        Module *again = tile_module(text);
        cr_expect_str_eq(tile_text(again), text);
        Slot y = slot_from_attr(type_scalar(m, t), &again->funcs.data[0]->body->first->attrs[0]);
        cr_expect(slot_same(t, x, y), "%s %a became %a\n%s", dtype_facts[t].name, x.f, y.f, text);
    }
}

/// `text` is refused with `message` at the place of `at` (the first one in the text).
static void expect_refused(const char *text, const char *at, const char *message)
{
    Module *m = module_new(&tile_arena, &tile_diag);
    diag_reset(&tile_diag);
    KilnStatus st = module_parse(m, "test.tile", str_of(text));
    cr_assert_eq(st, KILN_ERR_INPUT, "accepted: %s", text);
    cr_expect_str_eq(diag_first(&tile_diag), message, "%s: %s", text, diag_first(&tile_diag));
    const char *found = strstr(text, at);
    cr_expect_eq(tile_diag.items.data[0]->span.begin, (int32_t)(found - text), "%s: %d", text,
                 tile_diag.items.data[0]->span.begin);
}

Test(text, a_mistake_is_named_at_its_place)
{
    expect_refused("func @f() { %0 = frob : i32 }", "frob", "unknown operation `frob`");
    expect_refused("func @f() { %0 = add %1, %2 : i32 }", "1, %2", "%1 is not defined");
    expect_refused("func @f(%0: i32, %0: i32) { return }", "0: i32) ", "%0 is defined twice");
    expect_refused("func @f(%0: i33) { return }", "i33", "unknown element type `i33`");
    expect_refused("func @f(%0: tile<3xi32>) { return }", "3x", "an extent is a power of two");
    expect_refused("func @f(%0: tile<1024x2048xi32>) { return }", "2048",
                   "a tile has at most 1048576 elements");
    expect_refused("func @f() { %0 = const {value=300} : i8 }", "300",
                   "this constant does not fit its type");
    expect_refused("func @f() { %0 = const {value=1x} : f32 }", "1x",
                   "expected a floating-point constant");
    expect_refused("func @f() { %0 = arange : tile<8xi32> }", ": tile",
                   "arange needs the attribute `start`");
    expect_refused("func @f() { %0 = arange {stop=8} : tile<8xi32> }", "stop",
                   "arange has no attribute `stop`");
    expect_refused("func @f(%0: f32) { %1 = cast %0 {round=up} : f16 }", "up",
                   "`round` cannot be `up`");
    expect_refused("func @f(%0: f32) { %1 = add %0 : f32 }", "add", "add does not take 1 operands");
    expect_refused("func @f(%0: f32) { %1 = neg %0 }", "neg", "neg has 1 results, not 0");
    expect_refused("func @f(%0: f32) { %1, %2 = neg %0 : f32 }", "neg", "2 labels for 1 results");
    expect_refused("func @f(%0: tile<8xi32, #l>) { return }", "l>", "no layout is named `#l`");
    expect_refused("#a = nonsense", "nonsense", "this is not a layout");
    expect_refused("func @f() {/", "/", "expected an operation");
}

Test(text, no_damaged_text_crashes_the_reader)
{
    const char *text = golden();
    size_t n = strlen(text);
    Random r = {11};
    for (int32_t i = 0; i < 3000; i++) {
        Arena arena;
        Diag diag;
        arena_init(&arena, heap_default());
        diag_init(&diag, heap_default());
        char *copy = arena_strndup(&arena, text, n);
        size_t len = n;
        if (i % 2) {
            for (int32_t k = 0; k < 3; k++)
                copy[random_below(&r, (int64_t)n)] = text[random_below(&r, (int64_t)n)];
        } else {
            len = (size_t)random_below(&r, (int64_t)n);
        }
        Module *m = module_new(&arena, &diag);
        KilnStatus st = module_parse(m, "test.tile", (Str){copy, len});
        if (st == KILN_OK) st = module_verify(m, &diag);
        cr_assert(st == KILN_OK || diag.n_errors > 0);
        StrBuf out = {0};
        if (st == KILN_OK) module_print(m, &out);
        strbuf_free(&out);
        diag_reset(&diag);
        arena_reset(&arena);
    }
}
