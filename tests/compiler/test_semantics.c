// tests/compiler/test_semantics.c - small kernels run in the interpreter against the same thing
// written in C.
//
// Control flow is rebuilt as structure while a kernel is lowered (early returns, loops that count
// down, names merged after an `if`); numbers say whether that was done right. Each row is the body
// of k(p: *i32, n: i32), run for n = -4 .. 20; p[0] must end as the C function says.
#include <criterion/criterion.h>

#include <stdlib.h>

#include "tests/compiler/front.h"

TestSuite(semantics, .timeout = 120);

#define HELPERS                                                                                    \
    "import triton\nimport triton.language as tl\n\n"                                              \
    "@triton.jit\ndef clip(x, n):\n    if n > 3:\n        if n > 9:\n            return 9\n      " \
    "  x = x + 1\n    return x * 2\n\n"                                                            \
    "@triton.jit\ndef steps(n):\n    if n < 0:\n        return -1\n    if n == 0:\n        "       \
    "return 0\n    x = 1\n    if n > 5:\n"                                                         \
    "        x = 2\n        if n > 10:\n            x = 3\n            if n > 15:\n              " \
    "  return x + 100\n"                                                                           \
    "        elif n == 7:\n            return 77\n    return x\n\n"                                \
    "@triton.jit\ndef pair(a, b):\n    if a > b:\n        return a, b\n    else:\n        return " \
    "b, a\n\n"                                                                                     \
    "@triton.jit\ndef first_above(n, N: tl.constexpr):\n    for i in tl.static_range(N):\n       " \
    " if i * i > n:\n            return i\n    return -1\n\n"                                      \
    "@triton.jit\ndef nothing(p, n):\n    if n > 4:\n        return\n    tl.store(p, n)\n\n"

typedef struct Row {
    const char *body;
    int32_t (*want)(int32_t n);
} Row;

static int32_t c_clip(int32_t n)
{
    int32_t x = 5;
    if (n > 3) {
        if (n > 9) return 9;
        x = x + 1;
    }
    return x * 2;
}

static int32_t c_steps(int32_t n)
{
    if (n < 0) return -1;
    if (n == 0) return 0;
    int32_t x = 1;
    if (n > 5) {
        x = 2;
        if (n > 10) {
            x = 3;
            if (n > 15) return x + 100;
        } else if (n == 7) {
            return 77;
        }
    }
    return x;
}

static int32_t c_countdown(int32_t n)
{
    int32_t s = 0;
    for (int32_t i = n; i > -3; i -= 2)
        s = s * 3 + i;
    return s;
}

static int32_t c_while(int32_t n)
{
    int32_t c = 0;
    while (n > 1) {
        n = n % 2 == 0 ? n / 2 : 3 * n + 1;
        c++;
        if (c > 50) n = 0;
    }
    return c;
}

static int32_t c_nested(int32_t n)
{
    int32_t s = 0, last = 7;
    for (int32_t i = 0; i < n; i++)
        for (int32_t j = i; j < n; j += 2) {
            if ((i + j) % 3 == 0)
                s += j;
            else
                last = i - j;
        }
    return s * 10 + last;
}

static int32_t c_pair(int32_t n)
{
    return n > 6 ? n * 100 + 6 : 600 + n;
}

static int32_t c_first_above(int32_t n)
{
    for (int32_t i = 0; i < 5; i++)
        if (i * i > n) return i;
    return -1;
}

static int32_t c_nothing(int32_t n)
{
    return n > 4 ? -77 : n;
}

static int32_t c_logic(int32_t n)
{
    return (n > 3 && n < 9) || !(n != 12) ? 1 : 0;
}

static int32_t c_division(int32_t n)
{
    return n / 3 * 100 + n % 3 + (n >> 1) * 1000;
}

static int32_t c_early(int32_t n)
{
    if (n < 0) return -77;
    if (n > 10) return 1;
    return n == 3 ? 33 : n + 500;
}

static int32_t c_swizzle(int32_t n)
{
    // a 5 x 4 grid in groups of 2 rows
    int32_t ij = ((n % 20) + 20) % 20, group = ij / 8, first = group * 2,
            rows = 5 - first < 2 ? 5 - first : 2;
    int32_t in_group = ij % 8;
    return (first + in_group % rows) * 10 + in_group / rows;
}

static int32_t c_unsigned(int32_t n)
{
    uint32_t u = (uint32_t)n;
    return (int32_t)((u >> 28) + (u > 5 ? 100u : 0u));
}

static int32_t c_static(int32_t n)
{
    int32_t s = 0;
    for (int32_t i = 1; i < 10; i += 3)
        s = s * n + i;
    return s;
}

static const Row rows[] = {
    {"tl.store(p, clip(5, n))", c_clip},
    {"tl.store(p, steps(n))", c_steps},
    {"s = 0\nfor i in range(n, -3, -2):\n    s = s * 3 + i\ntl.store(p, s)", c_countdown},
    {"c = 0\nm = n\nwhile m > 1:\n    m = m // 2 if m % 2 == 0 else 3 * m + 1\n    c += 1\n    if "
     "c > 50:\n        m = 0\ntl.store(p, c)",
     c_while},
    {"s = 0\nlast = 7\nfor i in range(n):\n    for j in range(i, n, 2):\n        if (i + j) % 3 == "
     "0:\n            s += j\n        else:\n            last = i - j\n"
     "tl.store(p, s * 10 + last)",
     c_nested},
    {"a, b = pair(n, 6)\ntl.store(p, a * 100 + b)", c_pair},
    {"tl.store(p, first_above(n, 5))", c_first_above},
    {"nothing(p, n)", c_nothing},
    {"x = (n > 3 and n < 9) or not (n != 12)\ntl.store(p, x.to(tl.int32))", c_logic},
    {"tl.store(p, n // 3 * 100 + n % 3 + (n >> 1) * 1000)", c_division},
    {"if n < 0:\n    return\nif n > 10:\n    tl.store(p, 1)\n    return\nx = n + 500\nif n == 3:\n "
     "   x = 33\ntl.store(p, x)",
     c_early},
    {"i, j = tl.swizzle2d(((n % 20) + 20) % 20 // 4, ((n % 20) + 20) % 20 % 4, 5, 4, "
     "2)\ntl.store(p, i * 10 + j)",
     c_swizzle},
    {"u = n.to(tl.uint32)\ntl.store(p, (u >> 28) + tl.where(u > 5, 100, 0).to(tl.uint32))",
     c_unsigned},
    {"s = 0\nfor i in tl.static_range(1, 10, 3):\n    s = s * n + i\ntl.store(p, s)", c_static},
};

static void run_row(const Row *row)
{
    StrBuf text = {0};
    Diag d;
    Arena arena;
    Source *s = NULL;
    Spec spec;
    Code code;
    Image *img = NULL;
    Target target = {.kind = TARGET_INTERP};
    diag_init(&d, heap_default());
    arena_init(&arena, heap_default());
    strbuf_puts(&text, HELPERS "@triton.jit\ndef k(p, n):\n");
    for (const char *at = row->body; *at;) {
        size_t len = strcspn(at, "\n");
        strbuf_printf(&text, "    %.*s\n", (int)len, at);
        at += len + (at[len] == '\n');
    }
    KilnStatus st = source_from_text("k.py", (Str){text.data, text.len}, &s, &d);
    if (st == KILN_OK) st = spec_parse(s, STR("k(p: *i32, n: i32)"), &arena, &spec, &d);
    if (st == KILN_OK) st = compile_kernel(s, &spec, &target, NULL, &code, &d);
    if (st == KILN_OK) st = image_load(&code, s, &spec, &img, &d);
    cr_assert_eq(st, KILN_OK, "%s\n%s", row->body, diag_first(&d));
    for (int32_t n = -4; n <= 20; n++) {
        struct {
            int32_t *p;
            int32_t n;
        } args;
        int32_t memory[1] = {-77};
        memset(&args, 0, sizeof args);
        args.p = memory, args.n = n;
        Grid grid = {1, 1, 1, 0};
        MemRange range = {memory, sizeof memory, "p"};
        cr_assert_eq(image_run(img, &args, &grid, 0, 1, 1, &range, &d), KILN_OK, "%s: n = %d: %s",
                     row->body, n, diag_first(&d));
        cr_expect_eq(memory[0], row->want(n), "%s\n  n = %d: got %d, want %d", row->body, n,
                     memory[0], row->want(n));
    }
    image_free(img);
    code_free(&code);
    source_close(s);
    strbuf_free(&text);
    arena_reset(&arena);
    diag_reset(&d);
}

Test(semantics, control_flow_and_arithmetic_do_what_c_does)
{
    for (int i = 0; i < COUNT_OF(rows); i++)
        run_row(&rows[i]);
}

// What went wrong while a kernel runs is said at its place in the source.
Test(semantics, a_fault_at_run_time_has_its_place)
{
    const char *text = "import triton\nimport triton.language as tl\n@triton.jit\ndef k(p, n):\n   "
                       " tl.store(p + n, 1)\n";
    Diag d;
    Arena arena;
    Source *s = NULL;
    Spec spec;
    Code code;
    Image *img = NULL;
    Target target = {.kind = TARGET_INTERP};
    diag_init(&d, heap_default());
    arena_init(&arena, heap_default());
    cr_assert_eq(source_from_text("k.py", str_of(text), &s, &d), KILN_OK);
    cr_assert_eq(spec_parse(s, STR("k(p: *i32, n: i32)"), &arena, &spec, &d), KILN_OK);
    cr_assert_eq(compile_kernel(s, &spec, &target, NULL, &code, &d), KILN_OK);
    cr_assert_eq(image_load(&code, s, &spec, &img, &d), KILN_OK);
    struct {
        int32_t *p;
        int32_t n;
    } args;
    int32_t memory[1] = {0};
    memset(&args, 0, sizeof args);
    args.p = memory, args.n = 3;
    MemRange range = {memory, sizeof memory, "p"};
    Grid grid = {1, 1, 1, 0};
    source_close(s); // an image does not need its source any more
    cr_expect_eq(image_run(img, &args, &grid, 0, 1, 1, &range, &d), KILN_ERR_DEVICE);
    int32_t line, column;
    cr_assert_eq(d.items.len, 1);
    diag_line_column(&d, d.items.data[0]->span.file, d.items.data[0]->span.begin, &line, &column);
    cr_expect(line == 5 && column == 5, "%d:%d", line, column);
    image_free(img);
    code_free(&code);
    arena_reset(&arena);
    diag_reset(&d);
}
