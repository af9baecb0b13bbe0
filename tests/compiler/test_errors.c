// tests/compiler/test_errors.c - every golden kernel of tests/golden/errors says what its comments
// expect:
//
//   # spec: k(p: *f16, n: i32, BLOCK=128)
//   # expect: 9:17: error[E0601]: `tl.load` needs a pointer, got int32[128]
//   # help: ...
//
// Each message must be there, in this order, with its place, code and first line; and no other.
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>

#include "tests/compiler/front.h"

TestSuite(errors, .timeout = 60);

static const char *line_after(const char *text, const char *prefix, char *out, size_t size)
{
    const char *at = strstr(text, prefix);
    if (!at) return NULL;
    at += strlen(prefix);
    size_t n = strcspn(at, "\n");
    snprintf(out, size, "%.*s", (int)n, at);
    return at + n;
}

/// Checks one file. @return how many messages it expects
static int check_file(const char *dir, const char *name)
{
    char path[512], spec[512], want[512];
    snprintf(path, sizeof path, "%s/%.127s", dir, name);
    char *text = front_read(path);
    cr_assert(text, "cannot read %s", path);
    cr_assert(line_after(text, "# spec: ", spec, sizeof spec), "%s has no spec", name);
    Diag d;
    diag_init(&d, heap_default());
    KilnStatus st = front_compile_diag(name, text, spec, NULL, &d);
    int seen = 0;
    bool errors = false;
    const char *at = strstr(text, "# spec: ");
    for (int i = 0; i < d.items.len; i++) {
        const DiagItem *it = d.items.data[i];
        char got[600];
        int32_t line = 0, column = 0;
        if (it->span.file >= 0) diag_line_column(&d, it->span.file, it->span.begin, &line, &column);
        snprintf(got, sizeof got, "%d:%d: %s[%s]: %s", line, column,
                 it->level == DIAG_ERROR ? "error" : "warning", it->code, it->text);
        const char *next = at ? line_after(at, "# expect: ", want, sizeof want) : NULL;
        cr_expect(next, "%s: more messages than expected: %s", name, got);
        if (!next) break;
        at = next;
        cr_expect_str_eq(got, want, "%s:\n  got  %s\n  want %s", name, got, want);
        seen++;
        errors |= it->level == DIAG_ERROR;
        if (!it->help) continue;
        char help[512];
        snprintf(help, sizeof help, "%s", it->help);
        cr_expect(!strncmp(next, "\n# help: ", 9), "%s: no help is expected: %s", name, help);
        if (strncmp(next, "\n# help: ", 9)) continue;
        at = line_after(next, "# help: ", want, sizeof want);
        cr_expect_str_eq(help, want, "%s:\n  got  help: %s\n  want help: %s", name, help, want);
    }
    cr_expect(!at || !strstr(at, "# expect: "), "%s: a message is missing: %s", name, at ? at : "");
    cr_expect_eq(st != KILN_OK, errors, "%s: status %d", name, st);
    diag_reset(&d);
    free(text);
    return seen;
}

Test(errors, say_the_place_the_code_and_the_rule_that_was_broken)
{
    static char names[256][128];
    const char *dir = KILN_SOURCE_DIR "/tests/golden/errors";
    int n = front_list(dir, ".py", names, 256), messages = 0;
    cr_assert_gt(n, 80, "only %d golden files in %s", n, dir);
    for (int i = 0; i < n; i++)
        messages += check_file(dir, names[i]);
    cr_expect_gt(messages, 150, "only %d messages", messages);
}

Test(errors, are_the_same_when_said_twice)
{
    const char *text =
        "import triton\nimport triton.language as tl\n@triton.jit\ndef k(p):\n    tl.store(q, 1)\n";
    StrBuf a = {0}, b = {0};
    front_compile("k.py", text, "k(p: *f32)", NULL, &a);
    front_compile("k.py", text, "k(p: *f32)", NULL, &b);
    cr_expect_str_eq(a.data, b.data);
    cr_expect_str_eq(a.data,
                     "k.py:5:14: error[E0201]: name `q` is not defined\n"
                     "    5 |     tl.store(q, 1)\n"
                     "      |              ^\n"
                     "  note: while compiling k(p: *fp32)[num_warps=4, num_stages=3]\n",
                     "%s", a.data);
    strbuf_free(&a);
    strbuf_free(&b);
}

// A kernel that unrolls without bound, calls without bound or nests without bound ends in an error.
Test(errors, bound_what_a_hostile_kernel_may_cost)
{
    StrBuf text = {0}, out = {0};
    const char *head = "import triton\nimport triton.language as tl\n";
    strbuf_puts(&text, head);
    for (int i = 0; i < 40; i++)
        strbuf_printf(&text, "@triton.jit\ndef f%d(x):\n    y = f%d(x)\n    return f%d(y)\n", i,
                      i + 1, i + 1);
    strbuf_puts(&text, "@triton.jit\ndef f40(x):\n    return x + 1\n");
    strbuf_puts(&text, "@triton.jit\ndef k(p):\n    tl.store(p, f0(1.0))\n");
    cr_expect_neq(front_compile("k.py", text.data, "k(p: *f32)", NULL, &out), KILN_OK);
    cr_expect(strstr(out.data, "E0708"), "%.300s", out.data);
    text.len = out.len = 0;
    strbuf_printf(&text, "%s@triton.jit\ndef k(p):\n    tl.store(p, ", head);
    for (int i = 0; i < 50000; i++)
        strbuf_puts(&text, "1 + ");
    strbuf_puts(&text, "1)\n");
    cr_expect_neq(front_compile("k.py", text.data, "k(p: *f32)", NULL, &out), KILN_OK);
    cr_expect(strstr(out.data, "E0101"), "%.300s", out.data);
    text.len = out.len = 0;
    strbuf_printf(&text, "%s@triton.jit\ndef k(p, n):\n    x = 0\n", head);
    for (int i = 0; i < 3; i++)
        strbuf_printf(&text, "%*sfor i%d in tl.static_range(4000):\n", 4 * i + 4, "", i);
    strbuf_puts(&text, "                x = x + 1\n");
    cr_expect_neq(front_compile("k.py", text.data, "k(p: *f32, n: i32)", NULL, &out), KILN_OK);
    cr_expect(strstr(out.data, "E0708"), "%.300s", out.data);
    strbuf_free(&text);
    strbuf_free(&out);
}
