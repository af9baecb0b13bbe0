// tests/compiler/gpu/test_ptx.c - what the PTX of streaming kernels looks like, and what ptxas
// makes of it.
#include <criterion/criterion.h>
#include <stdlib.h>

#include "compiler/compile.h"
#include "tests/support/ptxas.h"

static const char *const targets[] = {"sm_75", "sm_80", "sm_86", "sm_89", "sm_90a"};

typedef struct Compiled {
    Arena arena;
    Source *source;
    Code code;
    StrBuf layout, svg;
} Compiled;

static void compile(Compiled *c, const char *file, const char *spec_words, const char *target_name)
{
    Diag diag;
    Spec spec;
    Target target;
    memset(c, 0, sizeof *c);
    diag_init(&diag, heap_default());
    arena_init(&c->arena, heap_default());
    Emit emit = {.layout = &c->layout, .layout_svg = &c->svg};
    KilnStatus st = source_open(arena_printf(&c->arena, "%s/kernels.dsl/%s", KILN_SOURCE_DIR, file),
                                &c->source, &diag);
    if (st == KILN_OK) st = spec_parse(c->source, str_of(spec_words), &c->arena, &spec, &diag);
    if (st == KILN_OK) st = target_parse(target_name, &target, &diag);
    if (st == KILN_OK) st = compile_kernel(c->source, &spec, &target, &emit, &c->code, &diag);
    StrBuf text = {0};
    if (st != KILN_OK) diag_render(&diag, &text);
    cr_assert_eq(st, KILN_OK, "%s: %s", target_name, text.data ? text.data : "");
    diag_reset(&diag);
}

static void compiled_free(Compiled *c)
{
    code_free(&c->code);
    source_close(c->source);
    strbuf_free(&c->layout), strbuf_free(&c->svg);
    arena_reset(&c->arena);
}

/// Global accesses of `wide` 16 bytes per thread; the only others are `narrow` 4-byte loads.
static void expect_wide(const char *file, const char *spec, int32_t loads, int32_t stores,
                        int32_t narrow, int32_t most_registers)
{
    for (int32_t i = 0; i < COUNT_OF(targets); i++) {
        Compiled c;
        compile(&c, file, spec, targets[i]);
        const char *ptx = (const char *)c.code.bytes;
        cr_expect_eq(count_text(ptx, "ld.global.v4.b32"), loads, "%s: %d wide loads", targets[i],
                     count_text(ptx, "ld.global.v4.b32"));
        cr_expect_eq(count_text(ptx, "st.global.v4.b32"), stores, "%s: %d wide stores", targets[i],
                     count_text(ptx, "st.global.v4.b32"));
        cr_expect_eq(count_text(ptx, "ld.global"), loads + narrow, "%s: %d loads in all",
                     targets[i], count_text(ptx, "ld.global"));
        cr_expect_eq(count_text(ptx, "st.global"), stores, "%s: %d stores in all", targets[i],
                     count_text(ptx, "st.global"));
        PtxasReport r = ptxas_run(ptx, c.code.size, targets[i]);
        if (r.found) {
            cr_expect(r.ok && r.spill_stores == 0 && r.spill_loads == 0, "%s: %s", targets[i],
                      r.log);
            cr_expect_leq(r.registers, most_registers, "%s: %d registers", targets[i], r.registers);
        }
        compiled_free(&c);
    }
}

Test(gpu_ptx, fused_rmsnorm_moves_16_bytes_at_a_time)
{
    expect_wide("rmsnorm.py",
                "rmsnorm(y: *bf16:16, x: *bf16:16, r: *bf16:16, g: *bf16:16, rows: *i32, ends: "
                "None, n: i32:16, eps: f32, "
                "sy: i32:16, sx: i32:16, sr: i32:16, BLOCK=4096)[num_warps=8]",
                6, 4, 1, 56);
}

Test(gpu_ptx, silu_mul_moves_16_bytes_at_a_time)
{
    expect_wide("silu_mul.py",
                "silu_mul(y: *bf16:16, gate: *bf16:16, up: *bf16:16, rows: *i32, n: i32:16, sy: "
                "i32:16, sg: i32:16, su: i32:16, "
                "BLOCK=4096)[num_warps=8]",
                4, 2, 1, 48);
}

Test(gpu_ptx, a_mask_of_unknown_length_is_checked_element_by_element)
{
    // A row's length is read from memory, so nothing is known of it: the mask may cut anywhere.
    Compiled c;
    compile(&c, "softmax.py",
            "softmax(y: *f32:16, x: *f32:16, cols: *i32, rows: *i32, sy: i32:16, sx: i32:16, "
            "BLOCK=2048)[num_warps=8]",
            "sm_80");
    cr_expect_eq(count_text((const char *)c.code.bytes, "ld.global.v4.b32"), 0);
    compiled_free(&c);
}

Test(gpu_ptx, a_row_kernel_needs_one_barrier_per_reduction)
{
    Compiled c;
    compile(&c, "softmax.py",
            "softmax(y: *f32:16, x: *f32:16, cols: *i32, rows: *i32, sy: i32:16, sx: i32:16, "
            "BLOCK=2048)[num_warps=8]",
            "sm_80");
    cr_expect_eq(count_text((const char *)c.code.bytes, "bar.sync"), 2);
    compiled_free(&c);
}

Test(gpu_ptx, the_same_kernel_compiles_to_the_same_bytes)
{
    static const char spec[] = "attend_merge(o: *bf16:16, lse: None, part: *f32:16, part_lse: "
                               "*f32, tokens: *i32, heads: i32, "
                               "HEAD_DIM=128, SPLITS=8, BLOCK_D=128)[num_warps=4]";
    Compiled a, b;
    compile(&a, "attention.py", spec, "sm_90a");
    compile(&b, "attention.py", spec, "sm_90a");
    cr_expect_eq(a.code.size, b.code.size);
    cr_expect(a.code.size == b.code.size && !memcmp(a.code.bytes, b.code.bytes, a.code.size));
    compiled_free(&a), compiled_free(&b);
}

Test(gpu_ptx, layouts_are_shown_as_text_and_as_pictures)
{
    Compiled c;
    compile(&c, "silu_mul.py",
            "silu_mul(y: *f32:16, gate: *f32:16, up: *f32:16, rows: *i32, n: i32:16, sy: i32:16, "
            "sg: i32:16, su: i32:16, BLOCK=512)[num_warps=4]",
            "sm_80");
    cr_expect_not_null(
        strstr(c.layout.data, "load : #l<512>{reg 1 2; lane 4 8 16 32 64; warp 128 256}"), "%s",
        c.layout.data);
    cr_expect_not_null(strstr(c.svg.data, "<svg"));
    compiled_free(&c);
}
