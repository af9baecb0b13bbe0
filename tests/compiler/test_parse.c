// tests/compiler/test_parse.c - trees, module names, decorators, specialisations and launch cards.
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>

#include "compiler/cards.h"
#include "compiler/hosteval.h"
#include "compiler/parse.h"
#include "tests/compiler/front.h"

TestSuite(parse, .timeout = 60);

/// An expression as a one-line tree: (kind op child child).
static void one_line(const Node *n, StrBuf *out)
{
    if (!n) {
        strbuf_puts(out, "-");
        return;
    }
    bool leaf = !n->a && !n->b && !n->c && !n->list.len;
    if (n->kind == NODE_NAME || n->kind == NODE_STRING)
        strbuf_printf(out, "%.*s", STR_ARG(n->text));
    else if (n->kind == NODE_INT)
        strbuf_printf(out, "%lld", (long long)n->i);
    else if (n->kind == NODE_FLOAT)
        strbuf_printf(out, "%g", n->f);
    else {
        strbuf_printf(out, "(%s", n->op ? token_text(n->op) : node_names[n->kind]);
        if (n->text.len) strbuf_printf(out, ":%.*s", STR_ARG(n->text));
        for (int32_t i = 0; n->ops && i < n->list.len - 1; i++)
            strbuf_printf(out, " %s", token_text(n->ops[i]));
        const Node *parts[] = {n->a, n->b, n->c};
        for (int i = 0; i < 3; i++)
            if (parts[i] || n->kind == NODE_SLICE) strbuf_putc(out, ' '), one_line(parts[i], out);
        for (int32_t i = 0; i < n->list.len; i++)
            strbuf_putc(out, ' '), one_line(n->list.data[i], out);
        strbuf_putc(out, ')');
    }
    (void)leaf;
}

Test(parse, expressions_have_pythons_precedence)
{
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"a + b * c", "(+ a (* b c))"},
        {"a * b + c", "(+ (* a b) c)"},
        {"-a ** 2", "(- (** a 2))"},
        {"a ** -b ** c", "(** a (- (** b c)))"},
        {"not a == b", "(not (compare == a b))"},
        {"a and b or c and not d", "(or (and a b) (and c (not d)))"},
        {"a < b <= c", "(compare < <= a b c)"},
        {"a is not b", "(compare ! a b)"},
        {"a not in b", "(compare not a b)"},
        {"a | b ^ c & d << 1", "(| a (^ b (& c (<< d 1))))"},
        {"a if b else c if d else e", "(ifexp a b (ifexp c d e))"},
        {"f(a, k=b, *c, **d)[e].g",
         "(attr:g (subscript (call f a (keyword:k b) (star c) (dstar d)) e))"},
        {"x[:, None, 1:2:3]", "(subscript x (slice - - -) (None) (slice 1 2 3))"},
        {"(a)", "a"},
        {"(a,)", "(tuple a)"},
        {"()", "(tuple)"},
        {"[a, b]", "(list a b)"},
        {"{a: b, **c}", "(dict a b - c)"},
        {"{a, b}", "(set a b)"},
        {"[x for x in y if z]", "([ x (clause x y z))"},
        {"lambda a, b=1: a", "(lambda a (param:a) (param:b 1))"},
        {"(x := 3)", "(walrus x 3)"},
        {"'a' 'b'", "ab"},
        {"1_0 + 0x10", "(+ 10 16)"},
        {"a, b", "(tuple a b)"},
        {"a @ b", "(@ a b)"},
    };
    for (int i = 0; i < COUNT_OF(rows); i++) {
        Arena a;
        StrBuf out = {0};
        arena_init(&a, heap_default());
        Str s = str_of(rows[i].text);
        Node *n = parse_range(&a, s, 0, (int32_t)s.len, -1, NULL);
        cr_expect(n, "%s", rows[i].text);
        if (n) one_line(n, &out);
        cr_expect_str_eq(out.data ? out.data : "", rows[i].want, "%s: got %s", rows[i].text,
                         out.data);
        strbuf_free(&out);
        arena_reset(&a);
    }
    static const char *const broken[] = {"a +",      "(a",     "a b",      "f(",   "x[",     "1 2",
                                         "a if b",   "lambda", "",         "a..b", "f(a b)", "{a:}",
                                         "(a, **b)", "[**b]",  "{a, **b}", "not"};
    for (int i = 0; i < COUNT_OF(broken); i++) {
        Arena a;
        arena_init(&a, heap_default());
        Str s = str_of(broken[i]);
        cr_expect_null(parse_range(&a, s, 0, (int32_t)s.len, -1, NULL), "%s", broken[i]);
        arena_reset(&a);
    }
}

static Source *open_text(const char *text)
{
    Source *s = NULL;
    StrBuf out = {0};
    Diag d;
    diag_init(&d, heap_default());
    KilnStatus st = source_from_text("t.py", str_of(text), &s, &d);
    diag_render(&d, &out);
    cr_assert_eq(st, KILN_OK, "%s", out.data);
    strbuf_free(&out);
    diag_reset(&d);
    return s;
}

Test(parse, host_code_is_skipped_whatever_it_is)
{
    Source *s = open_text("\"\"\"doc\"\"\"\nfrom __future__ import annotations\nimport torch, "
                          "os\nimport triton as T\nfrom triton import language as L\n"
                          "class A(object):\n    x: int = 3\n    @property\n    def f(self): "
                          "return [i async for i in self]\n\n"
                          "async def g():\n    await h()\n\nwith open('x') as fh:\n    pass\nfor i "
                          "in range(3):\n    print(f'{i!r:>4}')\n"
                          "try:\n    import fast\nexcept ImportError:\n    fast = None\nelse:\n    "
                          "pass\nif __name__ == '__main__':\n    main()\n"
                          "match x:\n    case [1, *_]: pass\nx, y = 1, 2\nz: int\nw = yield_ = "
                          "3\nlambda: (yield)\ndel x\nassert True\n"
                          "@T.jit\ndef k(p):\n    L.store(p, 1)\n@decorate(\n  1)\ndef host(a, *, "
                          "b=2, **c): pass\nif True:\n    @T.jit\n    def k2(p): L.store(p, 2)\n");
    cr_expect_eq(source_n_kernels(s), 2);
    cr_expect_str_eq(source_kernel(s, 0), "k");
    cr_expect_str_eq(source_kernel(s, 1), "k2");
    source_close(s);
}

Test(parse, kernels_are_the_jit_functions_that_nobody_calls)
{
    Source *s =
        open_text("import triton\nimport triton.language as tl\n@triton.jit\ndef helper(x):\n    "
                  "return x\n@triton.jit\ndef k(p):\n    tl.store(p, helper(1.0))\n"
                  "# kiln: both(p: *f32)\n@triton.jit\ndef both(p):\n    tl.store(p, "
                  "1)\n@triton.jit\ndef other(p):\n    both(p)\n");
    cr_expect_eq(source_n_kernels(s), 3);
    cr_expect_str_eq(source_kernel(s, 0), "k");
    cr_expect_str_eq(source_kernel(s, 1), "both");
    source_close(s);
}

/// The value of X in a module, as text.
static void module_value(const char *expr, StrBuf *out)
{
    StrBuf text = {0};
    strbuf_printf(
        &text,
        "import math, itertools, os\nimport triton\nimport triton.language as tl\nN = 4\nX = %s\n",
        expr);
    Source *s = open_text(text.data);
    Arena a;
    arena_init(&a, heap_default());
    const Binding *b = map_get(&s->names, STR("X"));
    HostEval h = host_eval_new(s, &a);
    val_print(out, host_eval(&h, b->expr, NULL), true);
    strbuf_puts(out, "");
    arena_reset(&a);
    source_close(s);
    strbuf_free(&text);
}

Test(parse, host_expressions_are_evaluated)
{
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"1 + N * 2", "9"},
        {"[(a, b) for a in range(3) for b in (0, 1) if a != b]",
         "[(0, 1), (1, 0), (2, 0), (2, 1)]"},
        {"[triton.Config({'B': b}, num_warps=w) for b in [16, 32] for w in [4]]",
         "[{'kwargs': {'B': 16}, 'num_warps': 4}, {'kwargs': {'B': 32}, 'num_warps': 4}]"},
        {"max(1, 2, N) + min([3, 4]) + sum((1, 2)) + len('abc') + abs(-2)", "15"},
        {"{'a': 1, **{'b': 2}}['b']", "2"},
        {"{k: v * 2 for k, v in {'a': 1}.items()}", "{'a': 2}"},
        {"(lambda x, y=3: x * y)(2)", "6"},
        {"triton.cdiv(10, 4) + triton.next_power_of_2(5)", "11"},
        {"math.sqrt(16.0) + math.log2(8)", "7.0"},
        {"tl.constexpr(3)", "3"},
        {"'a' if N > 3 else 'b'", "'a'"},
        {"sorted([3, 1, 2])[1:]", "[2, 3]"},
        {"list(zip((1, 2), (3, 4)))", "[(1, 3), (2, 4)]"},
        {"[i for i in range(10) if i % 3 == 0 and not i == 3]", "[0, 6, 9]"},
        {"float('inf')", "inf"},
        {"1 < 2 <= 2 != 3", "True"},
        {"f'{N:03d}{1.5}'", "'0041.5'"},
        {"tl.float32", "fp32"},
        {"os.environ.get('A', 'b')", "'b'"},
        {"0.1 + 0.2", "0.30000000000000004"},
        {"1e22", "1e+22"},
        {"10 ** 20", "100000000000000000000"},
        {"(1 << 120) // 7", "189889713683559410414829580040049225"},
        {"all(x > 0 for x in [1, 2]) and any([0, 1])", "True"},
        {"'x'.upper() + 'ab'.startswith('a') * 'y'", "'Xy'"},
        {"unknown(3)", "host value "},
        {"[i for i in range(10000000)]", "host value "},
        {"X", "host value "},
        {"'a' * 10**9", "host value "},
        {"N.bit_length()", "3"},
    };
    for (int i = 0; i < COUNT_OF(rows); i++) {
        StrBuf out = {0};
        module_value(rows[i].text, &out);
        cr_expect_str_eq(out.data, rows[i].want, "%s: %s", rows[i].text, out.data);
        strbuf_free(&out);
    }
}

#define CARDED                                                                                     \
    "import triton\nimport triton.language as tl\n\n# not a card\n# kiln: k(x: *{f32,bf16}:16, "   \
    "n: i32, s: 1, m: None, eps: fp32, B={16,32}, C=B)[num_warps={4,8}] "                          \
    "grid=(rows, cdiv(n, B)) rows={0,1,7}\n# kiln:+ n=1000 x=randn(rows*n, (1, 2)) target=cpu\n# " \
    "kiln: k(x: *kf16, n: i64:16, s: i32, m: *u8, eps: f64, B=64, C=3)\n@triton.jit\n"             \
    "def k(x, n, s, m, eps, B: tl.constexpr, C: tl.constexpr, D: tl.constexpr = 5):\n    pass\n"

Test(parse, launch_cards_expand_to_their_product)
{
    Source *s = open_text(CARDED);
    Arena a;
    int32_t n;
    Card *cards;
    arena_init(&a, heap_default());
    cr_assert_eq(source_cards(s, "k", &a, &n, &cards, NULL), KILN_OK);
    cr_assert_eq(n, 9);
    cr_expect_str_eq(spec_text(&a, &cards[0].spec),
                     "k(x: *fp32:16, n: i32, s=1, m: None, eps: fp32, B=16, C=16, "
                     "D=5)[num_warps=4, num_stages=3]");
    cr_expect_str_eq(spec_text(&a, &cards[7].spec),
                     "k(x: *bf16:16, n: i32, s=1, m: None, eps: fp32, B=32, C=32, "
                     "D=5)[num_warps=8, num_stages=3]");
    cr_expect_str_eq(spec_text(&a, &cards[8].spec),
                     "k(x: *kfp16, n: i64:16, s: i32, m: *u8, eps: fp64, B=64, C=3, "
                     "D=5)[num_warps=4, num_stages=3]");
    cr_expect_str_eq(cards[0].grid[0], "rows");
    cr_expect_str_eq(cards[0].grid[1], "cdiv(n, B)");
    cr_expect_null(cards[0].grid[2]);
    cr_assert_eq(cards[0].n_lets, 4);
    cr_expect_str_eq(cards[0].lets[0].text, "{0,1,7}");
    cr_expect_str_eq(cards[0].lets[2].name, "x");
    cr_expect_str_eq(cards[0].lets[2].text, "randn(rows*n, (1, 2))");
    cr_expect_str_eq(cards[0].lets[3].text, "cpu");
    cr_expect_eq(cards[0].line, 5);
    cr_expect_eq(cards[8].line, 7);
    Spec again; // the canonical text means itself
    cr_assert_eq(spec_parse(s, str_of(spec_text(&a, &cards[0].spec)), &a, &again, NULL), KILN_OK);
    cr_expect_str_eq(spec_text(&a, &again), spec_text(&a, &cards[0].spec));
    source_close(s);
    arena_reset(&a);
}

Test(parse, broken_specialisations_say_what_is_wrong)
{
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"z(x: *f32)", "no kernel"},
        {"k(y: *f32)", "no parameter"},
        {"k(x: *f99)", "cannot be evaluated"},
        {"k(x: *f32, x: *f32)", "given twice"},
        {"k(x: *f32)", "no type or value"},
        {"k(x: *f32, n: i32, s: 1, m: None, eps: f32, B: i32, C=1)", "needs a value"},
        {"k(x: *f32, n: i32, s: 1, m: None, eps: f32, B=C, C=B)", "cannot be evaluated"},
        {"k(x: *f32", "never closed"},
        {"k(x: *f32, n: i32, s: 1, m: None, eps: f32, B=1, C=1)[num_warps=3]", "unknown option"},
        {"k(x: *f32, n: i32, s: 1, m: None, eps: f32, B=1, C=1)[speed=3]", "unknown option"},
        {"k(x: *f32, n: i32, s: 1, m: None, eps: f32, B=1, C=1) more", "nothing may follow"},
        {"", "no kernel"},
        {"k", "no type or value"},
        {"k(=)", "no parameter"}};
    Source *s = open_text(CARDED);
    for (int i = 0; i < COUNT_OF(rows); i++) {
        Diag d;
        Arena a;
        Spec spec;
        diag_init(&d, heap_default());
        arena_init(&a, heap_default());
        cr_expect_neq(spec_parse(s, str_of(rows[i].text), &a, &spec, &d), KILN_OK, "%s",
                      rows[i].text);
        cr_expect(strstr(diag_first(&d), rows[i].want), "%s: %s", rows[i].text, diag_first(&d));
        diag_reset(&d);
        arena_reset(&a);
    }
    source_close(s);
}

Test(parse, a_kernel_without_a_card_is_told_how_to_write_one)
{
    Source *s = open_text("import triton\nimport triton.language as tl\n@triton.jit\ndef k(x, B: "
                          "tl.constexpr):\n    pass\n");
    Diag d;
    Arena a;
    int32_t n;
    Card *cards;
    diag_init(&d, heap_default());
    arena_init(&a, heap_default());
    cr_expect_eq(source_cards(s, "k", &a, &n, &cards, &d), KILN_ERR_INPUT);
    cr_expect_str_eq(d.items.data[0]->help,
                     "write above its decorators: # kiln: k(x: ..., B=...) grid=(...)");
    cr_expect_eq(source_cards(s, NULL, &a, &n, &cards, &d), KILN_OK);
    cr_expect_eq(n, 0);
    diag_reset(&d);
    arena_reset(&a);
    source_close(s);
}

Test(parse, card_expressions_are_python_integers)
{
    static const char *const names[] = {"n", "B"};
    static const int64_t values[] = {1000, 64};
    static const struct {
        const char *text;
        int64_t want;
    } rows[] = {
        {"cdiv(n, B)", 16},           {"n // B * 2 - 1", 29}, {"max(n, B) + min(1, 2)", 1001},
        {"next_power_of_2(n)", 1024}, {"(n + 1) % 7", 0},     {"-B", -64}};
    int64_t v;
    for (int i = 0; i < COUNT_OF(rows); i++) {
        cr_expect_eq(card_eval(rows[i].text, 2, names, values, &v, NULL), KILN_OK, "%s",
                     rows[i].text);
        cr_expect_eq(v, rows[i].want, "%s: %lld", rows[i].text, (long long)v);
    }
    cr_expect_neq(card_eval("n +", 2, names, values, &v, NULL), KILN_OK);
    cr_expect_neq(card_eval("z", 2, names, values, &v, NULL), KILN_OK);
    cr_expect_neq(card_eval("1 // 0", 2, names, values, &v, NULL), KILN_OK);
}

Test(parse, heuristics_fill_in_what_a_specialisation_leaves_out)
{
    Source *s =
        open_text("import triton\nimport triton.language as tl\n@triton.heuristics({'EVEN': lambda "
                  "args: args['N'] % args['B'] == 0, 'BIAS': lambda a: a['b'] is not None})\n"
                  "@triton.jit\ndef k(p, b, N: tl.constexpr, B: tl.constexpr, EVEN: tl.constexpr, "
                  "BIAS: tl.constexpr):\n    pass\n");
    Arena a;
    Spec spec;
    arena_init(&a, heap_default());
    cr_assert_eq(spec_parse(s, STR("k(p: *f32, b: *f32, N=128, B=64)"), &a, &spec, NULL), KILN_OK);
    cr_expect_str_eq(
        spec_text(&a, &spec),
        "k(p: *fp32, b: *fp32, N=128, B=64, EVEN=True, BIAS=True)[num_warps=4, num_stages=3]");
    cr_assert_eq(spec_parse(s, STR("k(p: *f32, b: None, N=100, B=64)"), &a, &spec, NULL), KILN_OK);
    cr_expect_str_eq(
        spec_text(&a, &spec),
        "k(p: *fp32, b: None, N=100, B=64, EVEN=False, BIAS=False)[num_warps=4, num_stages=3]");
    source_close(s);
    arena_reset(&a);
}

Test(parse, targets_have_names)
{
    static const char *const names[] = {"cpu:avx512", "cpu:avx2",  "cpu:generic", "sm_75",
                                        "sm_80",      "sm_86",     "sm_89",       "sm_90",
                                        "sm_90a",     "emu:sm_80", "emu:sm_90a",  "interp"};
    for (int i = 0; i < COUNT_OF(names); i++) {
        Target t;
        char text[24];
        cr_expect_eq(target_parse(names[i], &t, NULL), KILN_OK, "%s", names[i]);
        target_text(&t, text);
        cr_expect_str_eq(text, names[i]);
    }
    static const char *const wrong[] = {
        "", "gpu", "sm_81", "sm_80a", "cpu:", "cpu:sse", "emu:", "emu:sm_1", "sm_90b"};
    for (int i = 0; i < COUNT_OF(wrong); i++) {
        Target t;
        cr_expect_neq(target_parse(wrong[i], &t, NULL), KILN_OK, "%s", wrong[i]);
    }
}
