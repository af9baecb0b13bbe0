// tests/compiler/test_lower.c - kernel text becomes the tile IR that the language says.
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/num.h"
#include "ir/text.h"
#include "ir/verify.h"
#include "tests/compiler/front.h"

TestSuite(lower, .timeout = 120);

#define HEAD                                                                                       \
    "import triton\nimport triton.language as tl\nfrom triton.language.extra import libdevice\n\n"

/// Compiles the body of `k(p: *f32, n: i32, m: None, BLOCK=16)`; the message when it fails.
static bool compiles(const char *body, StrBuf *tile, StrBuf *messages)
{
    StrBuf text = {0};
    strbuf_puts(&text, HEAD "@triton.jit\ndef k(p, n, m, BLOCK: tl.constexpr):\n");
    for (const char *at = body; *at;) {
        size_t len = strcspn(at, "\n");
        strbuf_printf(&text, "    %.*s\n", (int)len, at);
        at += len + (at[len] == '\n');
    }
    KilnStatus st =
        front_compile("k.py", text.data, "k(p: *f32, n: i32, m: None, BLOCK=16)", tile, messages);
    strbuf_free(&text);
    return st == KILN_OK;
}

static void expect_accepted(const char *body)
{
    StrBuf messages = {0};
    cr_expect(compiles(body, NULL, &messages), "%s\n%s", body, messages.data);
    strbuf_free(&messages);
}

static void expect_error(const char *body, const char *code)
{
    StrBuf messages = {0};
    cr_expect(!compiles(body, NULL, &messages), "%s: accepted", body);
    cr_expect(messages.data && strstr(messages.data, code), "%s: expected %s, got\n%s", body, code,
              messages.data);
    strbuf_free(&messages);
}

Test(lower, golden_kernels_become_their_golden_text)
{
    static char names[64][128];
    const char *dir = KILN_SOURCE_DIR "/tests/golden/lower";
    int n = front_list(dir, ".py", names, 64);
    cr_assert_geq(n, 8);
    for (int i = 0; i < n; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%.127s", dir, names[i]);
        char *text = front_read(path);
        memcpy(path + strlen(path) - 3, ".tile", 6);
        char *want = front_read(path);
        cr_assert(text && want, "%s", names[i]);
        char *spec = strstr(text, "# spec: ") + 8;
        spec[strcspn(spec, "\n")] = 0;
        StrBuf tile = {0}, messages = {0};
        cr_expect_eq(front_compile(names[i], text, spec, &tile, &messages), KILN_OK, "%s",
                     messages.data);
        cr_expect_str_eq(tile.data ? tile.data : "", want, "%s is now\n%s", names[i], tile.data);
        strbuf_free(&tile);
        strbuf_free(&messages);
        free(text);
        free(want);
    }
}

// Every specialisation of every kernel that ships lowers without an error, and its text reads back
// to itself.
Test(lower, kernels_that_ship_lower_and_their_text_parses_back)
{
    static char names[64][128];
    const char *dir = KILN_SOURCE_DIR "/kernels.dsl";
    int n = front_list(dir, ".py", names, 64), n_cards = 0;
    cr_assert_gt(n, 5);
    for (int i = 0; i < n; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%.127s", dir, names[i]);
        Diag d;
        Arena arena;
        diag_init(&d, heap_default());
        arena_init(&arena, heap_default());
        Source *s = NULL;
        Card *cards = NULL;
        int32_t count = 0;
        StrBuf messages = {0};
        KilnStatus st = source_open(path, &s, &d);
        if (st == KILN_OK) st = source_cards(s, NULL, &arena, &count, &cards, &d);
        Target target = {.kind = TARGET_INTERP};
        for (int32_t c = 0; c < count && st == KILN_OK; c++, n_cards++) {
            StrBuf tile = {0}, again = {0};
            Emit emit = {.tile = &tile};
            Code code;
            st = compile_kernel(s, &cards[c].spec, &target, &emit, &code, &d);
            if (st != KILN_OK) break;
            Module *m = module_new(&arena, &d);
            st = module_parse(m, names[i], (Str){tile.data, tile.len});
            if (st == KILN_OK) st = module_verify(m, &d);
            if (st == KILN_OK) {
                func_print(m->funcs.data[0], &again);
                cr_expect_str_eq(again.data, tile.data, "%s", names[i]);
            }
            code_free(&code);
            strbuf_free(&tile);
            strbuf_free(&again);
        }
        diag_render(&d, &messages);
        cr_expect_eq(st, KILN_OK, "%s: %s", names[i], messages.data);
        cr_expect_gt(count, 0, "%s has no launch card", names[i]);
        strbuf_free(&messages);
        source_close(s);
        diag_reset(&d);
        arena_reset(&arena);
    }
    cr_expect_gt(n_cards, 100, "only %d specialisations", n_cards);
}

// tile-language.md 6.1: rows and columns in this order; "-" is E0402.
static const char *const promotion_types[] = {
    "int1",  "uint8",    "int8",       "uint16",  "int16",    "uint32",  "int32",  "uint64",
    "int64", "float8e5", "float8e4nv", "float16", "bfloat16", "float32", "float64"};
static const char *const promotion_table[] = {
    "i1 u8 i8 u16 i16 u32 i32 u64 i64 - - f16 f32 f32 f64",
    "u8 u8 u8 u16 i16 u32 i32 u64 i64 - - f16 f32 f32 f64",
    "i8 u8 i8 u16 i16 u32 i32 u64 i64 - - f16 f32 f32 f64",
    "u16 u16 u16 u16 u16 u32 i32 u64 i64 - - f16 f32 f32 f64",
    "i16 i16 i16 u16 i16 u32 i32 u64 i64 - - f16 f32 f32 f64",
    "u32 u32 u32 u32 u32 u32 u32 u64 i64 - - f16 f32 f32 f64",
    "i32 i32 i32 i32 i32 u32 i32 u64 i64 - - f16 f32 f32 f64",
    "u64 u64 u64 u64 u64 u64 u64 u64 u64 - - f16 f32 f32 f64",
    "i64 i64 i64 i64 i64 i64 i64 u64 i64 - - f16 f32 f32 f64",
    "- - - - - - - - - f8e5m2 f16 f16 f32 f32 f64",
    "- - - - - - - - - f16 f8e4m3 f16 f32 f32 f64",
    "f16 f16 f16 f16 f16 f16 f16 f16 f16 f16 f16 f16 f16 f32 f64",
    "f32 f32 f32 f32 f32 f32 f32 f32 f32 f32 f32 f16 bf16 f32 f64",
    "f32 f32 f32 f32 f32 f32 f32 f32 f32 f32 f32 f32 f32 f32 f64",
    "f64 f64 f64 f64 f64 f64 f64 f64 f64 f64 f64 f64 f64 f64 f64"};

static const char *long_name(const char *word, size_t len)
{
    DType t = dtype_from_name(word, len);
    return t == DTYPE_VOID ? NULL : dtype_facts[t].user;
}

/// Where the row and the column allow it, as tl.static_assert in one kernel; `-` entries one by
/// one.
Test(lower, promotion_follows_the_table)
{
    enum { N = 15 };
    StrBuf body = {0}, messages = {0};
    int checked = 0;
    for (int a = 0; a < N; a++)
        strbuf_printf(&body, "v%d = tl.zeros((16,), tl.%s)\n", a, promotion_types[a]);
    for (int a = 0; a < N; a++) {
        const char *at = promotion_table[a];
        for (int b = 0; b < N; b++) {
            size_t len = strcspn(at, " ");
            const char *want = long_name(at, len);
            at += len + (at[len] == ' ');
            char reject[160];
            snprintf(reject, sizeof reject, "y = tl.zeros((16,), tl.%s) + tl.zeros((16,), tl.%s)",
                     promotion_types[a], promotion_types[b]);
            if (!want) {
                expect_error(reject, "E0402");
                continue;
            }
            checked++;
            strbuf_printf(&body, "tl.static_assert((v%d + v%d).dtype == tl.%s)\n", a, b, want);
            strbuf_printf(&body, "tl.static_assert(tl.where(v0, v%d, v%d).dtype == tl.%s)\n", a, b,
                          want);
            bool ints = a < 9 && b < 9;
            if (ints)
                strbuf_printf(&body,
                              "tl.static_assert((v%d & v%d).dtype == tl.%s)\ntl.static_assert((v%d "
                              "<< v%d).dtype == tl.%s)\n",
                              a, b, want, a, b, want);
            bool same_sign = (promotion_types[a][0] == 'u' || a == 0) ==
                             (promotion_types[b][0] == 'u' || b == 0);
            if (ints && same_sign)
                strbuf_printf(&body,
                              "tl.static_assert((v%d // v%d).dtype == "
                              "tl.%s)\ntl.static_assert((v%d / v%d).dtype == tl.float32)\n",
                              a, b, want, a, b);
            if (!ints)
                strbuf_printf(&body, "tl.static_assert((v%d / v%d).dtype == tl.%s)\n", a, b,
                              a == 14 || b == 14 ? "float64" : "float32");
            snprintf(reject, sizeof reject, "y = tl.zeros((16,), tl.%s) // tl.zeros((16,), tl.%s)",
                     promotion_types[a], promotion_types[b]);
            if (ints && !same_sign) expect_error(reject, "E0403");
            strbuf_printf(&body, "tl.static_assert((v%d < v%d).dtype == tl.int1)\n", a, b);
        }
    }
    cr_expect(compiles(body.data, NULL, &messages), "%s", messages.data);
    cr_expect_eq(checked, 225 - 36);
    strbuf_free(&body);
    strbuf_free(&messages);
}

Test(lower, weak_numbers_take_the_other_type_only_where_it_can_hold_their_kind)
{
    static const struct {
        const char *expr, *type;
    } rows[] = {{"u8 >> 4", "uint8"},
                {"bf + 1", "bfloat16"},
                {"bf * 0.5", "bfloat16"},
                {"h / 2", "float32"},
                {"i32 * 2.0", "float32"},
                {"i1 + 1", "int32"},
                {"i1 & True", "int1"},
                {"u8 + 1.5", "float32"},
                {"h * 1e300", "float16"},
                {"f64 * 2", "float64"},
                {"1 - u8", "uint8"},
                {"2 ** 3 * u8", "uint8"},
                {"h + half", "float32"},
                {"u8 + four", "int32"},
                {"tl.where(i1, h, 0.0)", "float16"},
                {"tl.maximum(h, 0.0)", "float32"},
                {"tl.maximum(h, 0)", "float16"},
                {"tl.maximum(bf, bf)", "float32"},
                {"tl.fma(h, h, h)", "float16"},
                {"-u8", "uint8"},
                {"abs(h)", "float16"},
                {"tl.sum(u8)", "uint32"},
                {"tl.sum(h)", "float16"},
                {"tl.max(u8)", "int32"},
                {"tl.max(h)", "float32"},
                {"tl.cumsum(bf)", "float32"},
                {"tl.cumsum(h)", "float16"},
                {"u8.to(tl.float32)", "float32"},
                {"f64 // 1 if False else f64", "float64"},
                {"i32 % 3", "int32"},
                {"h % h", "float32"},
                {"3000000000 + i32.to(tl.int64)", "int64"},
                {"tl.argmax(h, 0)", "int32"},
                {"n + 1", "int32"}};
    StrBuf body = {0}, messages = {0};
    strbuf_puts(&body, "i1 = tl.zeros((16,), tl.int1)\nu8 = tl.zeros((16,), tl.uint8)\nh = "
                       "tl.zeros((16,), tl.float16)\nbf = tl.zeros((16,), tl.bfloat16)\n"
                       "i32 = tl.zeros((16,), tl.int32)\nf64 = tl.zeros((16,), tl.float64)\nhalf = "
                       "0.5\nfour = 4\n");
    for (int i = 0; i < COUNT_OF(rows); i++)
        strbuf_printf(&body, "tl.static_assert((%s).dtype == tl.%s, f\"row %d is {(%s).dtype}\")\n",
                      rows[i].expr, rows[i].type, i, rows[i].expr);
    cr_expect(compiles(body.data, NULL, &messages), "%s", messages.data);
    strbuf_free(&body);
    strbuf_free(&messages);
}

Test(lower, constexpr_arithmetic_is_pythons)
{
    expect_accepted("tl.static_assert(7 // -2 == -4)\ntl.static_assert(-7 % 3 == "
                    "2)\ntl.static_assert(1 / 2 == 0.5)\ntl.static_assert(2 ** 10 == 1024)\n"
                    "tl.static_assert((1 << 70) >> 68 == 4)\ntl.static_assert(True + 1 == "
                    "2)\ntl.static_assert(5.5 // 2 == 2.0)\n"
                    "tl.static_assert(\"a\" + \"b\" == \"ab\")\ntl.static_assert((1, 2) + (3,) == "
                    "(1, 2, 3))\ntl.static_assert(3 in (1, 2, 3))\n"
                    "tl.static_assert(m is None)\ntl.static_assert(n is not "
                    "None)\ntl.static_assert(tl.cdiv(BLOCK, 3) == 6)\n"
                    "tl.static_assert(len((1, 2)) == 2)\ntl.static_assert(min(3, 2) == "
                    "2)\ntl.static_assert(not 0)\ntl.static_assert(0 < 1 < 2)\n"
                    "tl.static_assert(float(\"inf\") > 1e308)\ntl.static_assert(f\"{BLOCK:04d} "
                    "{1.5:.2f} {tl.float32!r} {True}\" == \"0016 1.50 fp32 True\")\n"
                    "tl.static_assert((-3) // 2 == -2 and 3 or 4)\ntl.static_assert(~5 == "
                    "-6)\ntl.static_assert(0x10 + 0b11 + 0o7 + 1_000 == 1026)\n");
    expect_error("c: tl.constexpr = 2 ** 200", "E0306");
    expect_error("c: tl.constexpr = 0.0 ** -1", "E0305");
    expect_error("c: tl.constexpr = 1 << -1", "E0305");
}

Test(lower, types_and_shapes_can_be_asked_for)
{
    expect_accepted(
        "x = tl.load(p + tl.arange(0, BLOCK))\ntl.static_assert(x.shape[0] == "
        "16)\ntl.static_assert(len(x.shape) == 1)\n"
        "tl.static_assert(p.dtype.element_ty == "
        "tl.float32)\ntl.static_assert(p.type.is_ptr())\ntl.static_assert(x.dtype.is_fp32())\n"
        "tl.static_assert(x.dtype.is_floating() and not "
        "x.dtype.is_int())\ntl.static_assert(x.type.element_ty == tl.float32)\n"
        "tl.static_assert(x.dtype.primitive_bitwidth == 32)\ntl.static_assert(x[:, None].shape == "
        "(16, 1))\ntl.static_assert(x.numel == 16)\n"
        "tl.static_assert(x[None, :].T.shape[0] == 16)\ntl.static_assert(tl.float16.name == "
        "\"fp16\")\ntl.static_assert(tl.uint8.is_uint8())\n"
        "tl.static_assert(tl.get_int_dtype(16, signed=False) == "
        "tl.uint16)\ntl.static_assert(tl.reshape(x, (4, 4)).shape == (4, 4))\n"
        "tl.static_assert(isinstance(BLOCK, tl.constexpr))\ntl.static_assert(isinstance(x, "
        "tl.tensor))\n");
}

Test(lower, every_elementwise_function_and_method_form_is_accepted)
{
    expect_accepted("x = tl.load(p + tl.arange(0, BLOCK))\n"
                    "y = tl.exp(x) + tl.exp2(x) + tl.log(x) + tl.log2(x) + tl.sqrt(x) + "
                    "tl.rsqrt(x) + tl.sin(x) + tl.cos(x) + tl.floor(x) + tl.ceil(x)\n"
                    "y = y + tl.erf(x) + tl.sigmoid(x) + tl.abs(x) + tl.math.exp(x) + "
                    "libdevice.tanh(x) + libdevice.rint(x) + libdevice.trunc(x)\n"
                    "y = y + x.exp() + x.sum(0) + x.max(axis=0) + x.to(tl.float16).to(tl.float32) "
                    "+ tl.softmax(x) + tl.clamp(x, 0.0, 1.0)\n"
                    "y = y + tl.fdiv(x, 2.0) + tl.div_rn(x, x) + tl.fma(x, x, 1.0) + tl.maximum(x, "
                    "0.0, propagate_nan=tl.PropagateNan.ALL)\n"
                    "i, j = tl.swizzle2d(n, n, 4, 4, 2)\nu = tl.umulhi(n, n)\ny = y + i + j + u + "
                    "tl.cast(x, tl.int32).to(tl.float32, bitcast=True)\n"
                    "tl.store(p + tl.arange(0, BLOCK), tl.flip(tl.sort(y)) + tl.gather(y, "
                    "tl.arange(0, BLOCK), 0))\n"
                    "tl.store(p + tl.arange(0, 32), tl.cat(y, y))\ntl.static_print(\"y\", "
                    "y)\ntl.device_print(\"y\", y)\n");
}

Test(lower, names_follow_control_flow)
{
    expect_accepted("a = 1\nfor i in range(n):\n    a = a + i\nfor i in range(n):\n    b = i\n    "
                    "a += b\ntl.store(p, a)");
    expect_error("for i in range(n):\n    b = i\ntl.store(p, b)", "E0705");
    expect_error("a = None\nif n > 0:\n    a = 1\ntl.store(p, a)", "E0705");
    expect_accepted("a = None\nif n > 0:\n    a = 1\ntl.store(p, 1.0)");
    expect_accepted("if BLOCK > 8:\n    a = 1\nelse:\n    a = undefined\ntl.store(p, a)");
    expect_accepted("for i in tl.static_range(4):\n    c: tl.constexpr = i * 2\n    if c == 4:\n   "
                    "     break\n    tl.store(p + i, tl.sum(tl.arange(0, 2 ** (c + 1))))");
    expect_error("for i in range(n):\n    BLOCK = tl.zeros((2,), tl.int32)", "E0710");
    expect_accepted("t = (1, 2.0)\nfor i in range(n):\n    t = (t[0] + 1, t[1] * 2)\na, b = "
                    "t\ntl.store(p, a + b)");
    expect_error("t = (1, 2.0)\nfor i in range(n):\n    t = (t[0] + 1.0, t[1])", "E0710");
    expect_accepted(
        "if n > 0:\n    return\nif n > 1:\n    tl.store(p, 1.0)\n    return\ntl.store(p, 2.0)");
    expect_accepted("x = 1.0\nif n > 0:\n    if n > 1:\n        return\n    x = 2.0\nif n > 2:\n   "
                    " x = 3.0\ntl.store(p, x)");
    expect_accepted("while n > 0:\n    n -= 1\n    if n == 3:\n        p += 1\ntl.store(p, n)");
    expect_accepted("x = 3 if n > 0 else 4\ntl.store(p, x)");
    expect_accepted("for i in (1, 2, 3):\n    tl.store(p + i, i)");
}

Test(lower, a_specialisation_fixes_parameters)
{
    StrBuf tile = {0};
    const char *text = HEAD "@triton.jit\ndef k(p, s, m, x, T: tl.constexpr, A: tl.constexpr = "
                            "7):\n    if m is None:\n        tl.store(p + s, (x + A).to(T))\n";
    cr_expect_eq(front_compile("k.py", text, "k(p: *kf16:16, s: 1, m: None, x: fp32, T=tl.float16)",
                               &tile, NULL),
                 KILN_ERR_INPUT); // constant pointer
    tile.len = 0;
    cr_expect_eq(front_compile("k.py", text,
                               "k(p: *f16:16, s: 1, m: None, x: fp32, T=tl.float16)[num_warps=2]",
                               &tile, NULL),
                 KILN_OK);
    cr_expect_str_eq(tile.data,
                     "func @k(%0.p: ptr<f16> {align=16}, %1.x: f32) num_warps=2 {\n"
                     "  %2 = const {value=1} : i32\n  %3 = addptr %0.p, %2 : ptr<f16>\n  %4 = "
                     "const {value=7.0} : f32\n  %5 = add %1.x, %4 : f32\n"
                     "  %6 = cast %5 : f16\n  store %3, %6\n  return\n}\n",
                     "%s", tile.data);
    strbuf_free(&tile);
}

Test(lower, the_key_changes_with_what_the_kernel_uses_and_only_with_that)
{
    const char *base =
        HEAD "S = tl.constexpr(3)\nU = 5\n@triton.jit\ndef f(x):\n    return x * "
             "S\n@triton.jit\ndef k(p):\n    tl.store(p, f(1.0))\ndef host():\n    pass\n";
    static const struct {
        const char *from, *to;
        bool same;
    } edits[] = {{"x * S", "x + S", false},
                 {"constexpr(3)", "constexpr(4)", false},
                 {"f(1.0)", "f(2.0)", false},
                 {"U = 5", "U = 6", true},
                 {"    pass\n", "    return 3\n", true}};
    Target target = {.kind = TARGET_INTERP}, other = {.kind = TARGET_CPU};
    for (int i = -1; i < COUNT_OF(edits); i++) {
        Hash128 key[2];
        for (int v = 0; v < 2; v++) {
            StrBuf text = {0};
            const char *cut = v && i >= 0 ? strstr(base, edits[i].from) : NULL;
            if (cut)
                strbuf_printf(&text, "%.*s%s%s", (int)(cut - base), base, edits[i].to,
                              cut + strlen(edits[i].from));
            else
                strbuf_puts(&text, base);
            Source *s = NULL;
            Spec spec;
            Arena arena;
            arena_init(&arena, heap_default());
            cr_assert_eq(source_from_text("k.py", (Str){text.data, text.len}, &s, NULL), KILN_OK);
            cr_assert_eq(spec_parse(s, STR("k(p: *f32)"), &arena, &spec, NULL), KILN_OK);
            key[v] = compile_key(s, &spec, i < 0 && v ? &other : &target);
            source_close(s);
            strbuf_free(&text);
            arena_reset(&arena);
        }
        cr_expect_eq(hash_eq(key[0], key[1]), i >= 0 && edits[i].same, "edit %d", i);
    }
}

Test(lower, compiled_code_survives_a_file_and_a_broken_file_is_a_miss)
{
    Code c = {.target = {.kind = TARGET_SM, .sm = 90, .sm_a = true},
              .entry = "kiln_k",
              .n_params = 2,
              .args_bytes = 12,
              .num_warps = 4,
              .num_stages = 3,
              .shared_bytes = 100,
              .scratch_bytes = 1 << 20,
              .size = 5};
    c.params[0] = (CodeParam){"x", SPEC_PTR, DTYPE_BF16, 0, 8, 16, true};
    c.params[1] = (CodeParam){"n", SPEC_SCALAR, DTYPE_I32, 8, 4, 1, false};
    uint8_t bytes[] = "12345";
    c.bytes = bytes;
    Hash128 key = {1, 2}, other = {1, 3};
    StrBuf file = {0};
    Code back;
    code_write(&c, key, &file);
    cr_assert_eq(code_read(file.data, file.len, key, &back), KILN_OK);
    cr_expect(back.size == 5 && !memcmp(back.bytes, "12345", 6) && back.n_params == 2 &&
              !strcmp(back.params[1].name, "n") && back.params[0].is_written && back.target.sm_a &&
              back.scratch_bytes == 1 << 20 && back.args_bytes == 12);
    code_free(&back);
    cr_expect_neq(code_read(file.data, file.len, other, &back), KILN_OK);
    for (size_t n = 0; n < file.len; n++)
        cr_assert_neq(code_read(file.data, n, key, &back), KILN_OK, "cut at %zu", n);
    for (size_t i = 0; i < file.len; i++) {
        file.data[i] ^= 1;
        cr_assert_neq(code_read(file.data, file.len, key, &back), KILN_OK, "flipped at %zu", i);
        file.data[i] ^= 1;
    }
    strbuf_free(&file);
}

Test(lower, a_kernel_knows_which_pointers_it_writes)
{
    const char *text = HEAD "@triton.jit\ndef k(a, b, c, d, n):\n    q = b\n    for i in "
                            "range(n):\n        q += 1\n        if i > 2:\n            q = q + 1\n"
                            "    tl.store(q, tl.load(a))\n    tl.atomic_add(c + tl.arange(0, 4), "
                            "1.0)\n    x = tl.load(d)\n";
    Source *s = NULL;
    Spec spec;
    Arena arena;
    Code code;
    Target target = {.kind = TARGET_INTERP};
    arena_init(&arena, heap_default());
    cr_assert_eq(source_from_text("k.py", str_of(text), &s, NULL), KILN_OK);
    cr_assert_eq(
        spec_parse(s, STR("k(a: *f32, b: *f32, c: *f32, d: *f32, n: i32)"), &arena, &spec, NULL),
        KILN_OK);
    cr_assert_eq(compile_kernel(s, &spec, &target, NULL, &code, NULL), KILN_OK);
    bool want[] = {false, true, true, false, false};
    for (int i = 0; i < 5; i++)
        cr_expect_eq(code.params[i].is_written, want[i], "%s", code.params[i].name);
    cr_expect_eq(code.args_bytes, 36);
    code_free(&code);
    source_close(s);
    arena_reset(&arena);
}
