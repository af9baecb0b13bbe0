// tests/ir/test_verify.c - what the verifier refuses, op by op, and why.
#include "ir/build.h"
#include "tests/support/tile.h"

TestSuite(verify, .init = tile_up, .fini = tile_down, .timeout = 60);

/// A function of `params` and `body` is refused with a message that holds `why`.
static void refused(const char *params, const char *body, const char *why)
{
    const char *text = arena_printf(&tile_arena, "func @f(%s) {\n%s\nreturn\n}\n", params, body);
    Module *m = module_new(&tile_arena, &tile_diag);
    diag_reset(&tile_diag);
    KilnStatus st = module_parse(m, "test.tile", str_of(text));
    cr_assert_eq(st, KILN_OK, "%s: %s", text, diag_first(&tile_diag));
    st = module_verify(m, &tile_diag);
    cr_expect_eq(st, KILN_ERR_INPUT, "accepted: %s", text);
    cr_expect(strstr(diag_first(&tile_diag), why), "%s: %s", text, diag_first(&tile_diag));
}

#define XY                                                                                         \
    "%x: tile<8xi32>, %y: tile<4xi32>, %f: tile<8xf32>, %p: ptr<f32>, %n: i32, %m: tile<8xi1>, "   \
    "%h: f16"
#define PTR                                                                                        \
    "%p: tile<8xptr<f32>>, %c: tile<8xptr<const f32>>, %v: tile<8xf32>, %i: tile<8xi32>, %m: "     \
    "tile<8xi1>, %k: tile<4xi1>"
#define MAT "%a: tile<8x4xf16>, %b: tile<4x8xf16>, %c: tile<8x8xf32>, %d: tile<4x4xf16>, %n: i32"

Test(verify, elementwise_types_are_checked)
{
    refused(XY, "%1 = add %x, %y : tile<8xi32>", "operands differ in type");
    refused(XY, "%1 = add %x, %f : tile<8xi32>", "operands differ in type");
    refused(XY, "%1 = add %x, %x : tile<4xi32>", "the result has another type");
    refused(XY, "%1 = add %p, %p : ptr<f32>", "operands cannot be pointers");
    refused(XY, "%1 = and %f, %f : tile<8xf32>", "operands are ints");
    refused(XY, "%1 = exp %h : f16", "operands are f32 or f64");
    refused(XY, "%1 = lt %x, %x : tile<8xi32>", "the result is i1");
    refused(XY, "%1 = select %x, %x, %x : tile<8xi32>", "the condition is i1");
    refused(XY, "%1 = cast %x : tile<4xf32>", "a cast keeps the shape");
    refused(XY, "%1 = cast %x {round=rtz} : tile<8xf32>", "only float to float");
    refused(XY, "%1 = bitcast %x : tile<8xf16>", "a bitcast keeps the width");
    refused(XY, "%1 = addptr %p, %x : ptr<f32>", "pointer and offset have one shape");
    refused(XY, "%1 = hint %x {hint=multiple_of, list=[4, 4]} : tile<8xi32>", "one value per axis");
}

Test(verify, shapes_are_checked)
{
    refused(XY, "%1 = splat %x : tile<8xi32>", "operand 0 is a scalar");
    refused(XY, "%1 = broadcast %y : tile<8xi32>", "only axes of extent 1");
    refused(XY, "%1 = expand_dims %x {axis=2} : tile<8x1xi32>", "the new axis has extent 1");
    refused(XY, "%1 = reshape %x : tile<4xi32>", "keeps the number of elements");
    refused(XY, "%1 = trans %x {list=[1]} : tile<8xi32>", "no permutation");
    refused(XY, "%1 = join %x, %y : tile<8x2xi32>", "operands differ in type");
    refused(XY, "%1, %2 = split %x : tile<4xi32>, tile<4xi32>", "results' shape x 2");
    refused(XY, "%1 = cat %x, %x {axis=0} : tile<8xi32>", "the axis is doubled");
    refused(XY, "%1 = flip %x {axis=1} : tile<8xi32>", "the axis is out of range");
    refused(XY, "%1 = arange {start=0} : tile<8xi64>", "the result is tile<nxi32>");
    refused(XY, "%1 = program_id {axis=3} : i32", "the axis of a grid");
}

Test(verify, ops_across_elements_are_checked)
{
    refused(MAT, "%1 = reduce %a {combine=add, axis=2} : tile<8xf16>", "the axis is out of range");
    refused(MAT, "%1 = reduce %a {combine=add, axis=0} : tile<8xf16>", "the other axes stay");
    refused(MAT, "%1 = reduce %a {combine=xor, axis=0} : tile<4xf16>",
            "a bitwise combine takes ints");
    refused(MAT, "%1 = reduce %a {combine=argmax, axis=0} : tile<4xf16>",
            "wrong number of results");
    refused(MAT, "%1 = reduce %a {combine=region, axis=0} : tile<4xf16> (%2: f16) { yield %2 }",
            "combines 2n scalars into n");
    refused(MAT,
            "%1 = reduce %a {combine=region, axis=0} : tile<4xf16> (%2: f16, %3: f16) { barrier "
            "yield %2 }",
            "touches memory");
    refused(MAT, "%1 = scan %a {combine=add, axis=0} : tile<4xf16>",
            "results have the operands' types");
    refused(MAT, "%1 = sort %a : tile<8x8xf16>", "the last axis may not grow");
    refused(MAT, "%1 = dot %a, %b, %a : tile<8x4xf16>", "the accumulator is M x N");
    refused(MAT, "%1 = dot %a, %a, %c : tile<8x8xf32>", "inner extents differ");
    refused(MAT, "%1 = dot %d, %b, %c : tile<8x8xf32>", "the accumulator is M x N");
}

Test(verify, memory_types_are_checked)
{
    refused(PTR, "%1 = load %v : tile<8xf32>", "operand 0 is a pointer");
    refused(PTR, "%1 = load %p : tile<8xf16>", "what the pointer points to");
    refused(PTR, "%1 = load %p, %k : tile<8xf32>", "the mask is i1");
    refused(PTR, "%1 = load %p, %m, %i : tile<8xf32>", "`other` has the result's type");
    refused(PTR, "store %c, %v", "through a const pointer");
    refused(PTR, "store %p, %i", "what the pointer points to");
    refused(PTR, "%1 = atomic_rmw %p, %v {rmw=xor} : tile<8xf32>", "a bitwise atomic takes ints");
    refused(PTR, "%1 = alloc : tile<8xf32>", "the result is a buffer");
    refused(PTR, "wait %v {pending=0}", "operands are tokens");
}

Test(verify, control_flow_is_checked)
{
    refused(MAT, "for %1 = %n to %n step %n { barrier }", "the body yields the results");
    refused(MAT, "%1 = for %2 = %n to %n step %n carry (%3 = %n) : i32 { yield %a }",
            "the body yields the results");
    refused(MAT, "%1 = for %2 = %n to %n step %n carry (%3 = %a) : i32 { yield %n }",
            "initial values and results differ");
    refused(MAT, "while { condition %n } do { yield }", "the condition is a scalar i1");
    refused(MAT, "if %n { yield }", "the condition is a scalar i1");
    refused(MAT, "yield\nbarrier", "only the last op of a region ends it");
    refused("%c: i1", "if %c { %1 = const {value=1} : i32\nyield }\n%2 = neg %1 : i32",
            "not visible here");
}

Test(verify, broken_links_are_found)
{
    Func *fn = tile_func(
        "func @f(%0: i32) -> i32 {\n  %1 = neg %0 : i32\n  %2 = neg %1 : i32\n  return %2\n}\n");
    Op *first = fn->body->first, *second = first->next;
    op_unlink(first);
    op_insert(first, fn->body, second->next); // after its use
    cr_expect_eq(func_verify(fn, &tile_diag), KILN_ERR_INPUT);
    cr_expect(strstr(diag_first(&tile_diag), "not visible here"), "%s", diag_first(&tile_diag));
    op_unlink(first);
    op_insert(first, fn->body, second);
    cr_expect_eq(func_verify(fn, &tile_diag), KILN_OK);
    second->in[0] = fn->params[0].value; // behind the use list's back
    cr_expect_eq(func_verify(fn, &tile_diag), KILN_ERR_INPUT);
}
