// tests/compiler/gpu/test_races.c - kernels with one thing wrong, and the report that names it; the same
// kernels put right, which are left alone; and what accesses cost.
//
// A case is kernel text, so that the report can be compared as its reader sees it: the line, the caret,
// the program and the thread, the line of the other party.
#include <stdio.h>

#include "tests/compiler/gpu/lab.h"

TestSuite(gpu_races, .timeout = 60);

#define HEAD "import triton\nimport triton.language as tl\n\n@triton.jit\n"

enum { N = 64, PROGRAMS = 4 };

typedef struct Broken {
    const char *name, *spec, *text;
    const char *code;    ///< NULL: nothing is wrong
    const char *says[4]; ///< parts of the report
} Broken;

/// Launches over four programs with a, b, c of [PROGRAMS * N] int32 zeros.
static void expect(const Broken *k)
{
    static int32_t a[PROGRAMS * N], b[PROGRAMS * N], c[PROGRAMS * N];
    const LabArg args[] = {
        {a, PROGRAMS * N, 0, "a"}, {b, PROGRAMS * N, 0, "b"}, {c, PROGRAMS * N, 0, "c"}};
    memset(a, 0, sizeof a), memset(b, 0, sizeof b), memset(c, 0, sizeof c);
    LabRun run =
        lab_run_kernel("emu:sm_80", k->text, k->spec, (Grid){PROGRAMS, 1, 1, 0}, 3, args, 1);
    if (!k->code) {
        cr_expect_eq(run.st, KILN_OK, "%s: %s", k->name, run.report);
        return;
    }
    cr_expect_eq(run.st, KILN_ERR_DEVICE, "%s: status %d: %s", k->name, run.st, run.report);
    cr_expect_not_null(strstr(run.report, k->code), "%s: %s", k->name, run.report);
    for (int32_t i = 0; i < COUNT_OF(k->says) && k->says[i]; i++)
        cr_expect_not_null(strstr(run.report, k->says[i]), "%s: no `%s` in:\n%s", k->name,
                           k->says[i], run.report);
    if (getenv("KILN_SHOW")) fprintf(stderr, "%s:\n%s\n", k->name, run.report);
}

#define SPEC "k(a: *i32:16, b: *i32:16, c: *i32:16, N=64)[num_warps=2]"

static const Broken programs[] = {
    {"two programs store to one place",
     SPEC,
     HEAD "def k(a, b, c, N: tl.constexpr):\n"
          "    tl.store(a + tl.arange(0, N), tl.program_id(0))\n",
     "E1105",
     {"kernel.py:6:5: error[E1105]: race: this store to byte 0 of `a` is not ordered with the "
      "store by "
      "program (0, 0, 0), thread 0 (program (1, 0, 0), thread 0)",
      "    6 |     tl.store(a + tl.arange(0, N), tl.program_id(0))\n",
      "kernel.py:6:5: note: program (0, 0, 0), thread 0 writes it here",
      "programs of a launch run in any order"}},
    {"a program reads what its neighbour stores",
     SPEC,
     HEAD "def k(a, b, c, N: tl.constexpr):\n"
          "    i = tl.program_id(0)\n"
          "    tl.store(a + i * N + tl.arange(0, N), i)\n"
          "    if i > 0:\n"
          "        x = tl.load(a + (i - 1) * N + tl.arange(0, N))\n"
          "        tl.store(b + i * N + tl.arange(0, N), x)\n",
     "E1105",
     {"kernel.py:9:13: error[E1105]: race: this load from byte 0 of `a` is not ordered with the "
      "store",
      "kernel.py:7:5: note: program (0, 0, 0), thread 0 writes it here"}},
    {"a program stores where its neighbour has read",
     SPEC,
     HEAD "def k(a, b, c, N: tl.constexpr):\n"
          "    i = tl.program_id(0)\n"
          "    x = tl.load(a + tl.arange(0, N))\n"
          "    tl.store(a + tl.arange(0, N), x, mask=tl.arange(0, N) < 0)\n"
          "    if i == 2:\n"
          "        tl.store(a + 5, 1)\n",
     "E1105",
     {"kernel.py:10:9: error[E1105]: race: this store to byte 20 of `a` is not ordered with the "
      "load",
      "kernel.py:7:9: note: program (0, 0, 0), thread"}},
    {"a sum without atomics",
     SPEC,
     HEAD "def k(a, b, c, N: tl.constexpr):\n"
          "    tl.store(a, tl.load(a) + tl.program_id(0))\n",
     "E1105",
     {"kernel.py:6:17: error[E1105]: race: this load from byte 0 of `a` is not ordered with the "
      "store by "
      "program (0, 0, 0), thread 0"}},
    {"a sum with atomics",
     SPEC,
     HEAD "def k(a, b, c, N: tl.constexpr):\n"
          "    tl.atomic_add(a, tl.program_id(0))\n"
          "    tl.atomic_add(b + tl.arange(0, N), 1, sem='relaxed')\n",
     NULL,
     {0}},
    {"a sum that half of the programs do without",
     SPEC,
     HEAD "def k(a, b, c, N: tl.constexpr):\n"
          "    if tl.program_id(0) % 2 == 0:\n"
          "        tl.atomic_add(a, 1)\n"
          "    else:\n"
          "        tl.store(a, 1)\n",
     "E1105",
     {"kernel.py:9:9: error[E1105]: race: this store to byte 0 of `a`", "kernel.py:7:9: note"}},
    {"atomics of a scope that ends at the program",
     SPEC,
     HEAD "def k(a, b, c, N: tl.constexpr):\n"
          "    tl.atomic_add(a, 1, scope='cta')\n",
     "E1105",
     {"kernel.py:6:5: error[E1105]: race: this atomic on byte 0 of `a` is not ordered with the "
      "atomic by"}},
    {"neighbours that share words but no bytes",
     "k(a: *i8:16, b: *i32:16, c: *i32:16, N=64)[num_warps=2]",
     HEAD "def k(a, b, c, N: tl.constexpr):\n"
          "    tl.store(a + tl.program_id(0), 1)\n"
          "    tl.store(a + 8 + tl.arange(0, N) * 4 + tl.program_id(0), 1)\n",
     NULL,
     {0}},
};

Test(gpu_races, programs_that_touch_one_byte_without_atomics_are_reported_with_both_lines)
{
    for (int32_t i = 0; i < COUNT_OF(programs); i++)
        expect(&programs[i]);
}

// a: what a program adds up; b: sums up to and with a program; c: flags.
#define LOOK_BACK(wait, publish)                                                                   \
    HEAD "def k(a, b, c, N: tl.constexpr):\n"                                                      \
         "    i = tl.program_id(0)\n"                                                              \
         "    before = 0\n"                                                                        \
         "    if i > 0:\n"                                                                         \
         "        while " wait " == 0:\n"                                                          \
         "            before = 0\n"                                                                \
         "        before = tl.load(b + i - 1)\n" publish                                           \
         "    tl.store(a + i * N + tl.arange(0, N), before)\n"

static const Broken chains[] = {
    {"a look-back",
     SPEC,
     LOOK_BACK("tl.atomic_add(c + i - 1, 0)",
               "    tl.store(b + i, before + i)\n    tl.atomic_xchg(c + i, 1)\n"),
     NULL,
     {0}},
    {"a look-back that acquires and releases by name",
     SPEC,
     LOOK_BACK("tl.atomic_add(c + i - 1, 0, sem='acquire')",
               "    tl.store(b + i, before + i)\n    tl.atomic_xchg(c + i, 1, sem='release')\n"),
     NULL,
     {0}},
    {"a look-back whose wait does not acquire",
     SPEC,
     LOOK_BACK("tl.atomic_add(c + i - 1, 0, sem='relaxed')",
               "    tl.store(b + i, before + i)\n    tl.atomic_xchg(c + i, 1)\n"),
     "E1105",
     {"kernel.py:11:18: error[E1105]: race: this load from byte 0 of `b`", "kernel.py:12:5: note"}},
    {"a look-back whose flag does not release",
     SPEC,
     LOOK_BACK("tl.atomic_add(c + i - 1, 0)",
               "    tl.store(b + i, before + i)\n    tl.atomic_xchg(c + i, 1, sem='relaxed')\n"),
     "E1105",
     {"kernel.py:11:18: error[E1105]: race: this load from byte 0 of `b`"}},
    {"a look-back whose flag is raised too early",
     SPEC,
     LOOK_BACK("tl.atomic_add(c + i - 1, 0)",
               "    tl.atomic_xchg(c + i, 1)\n    tl.store(b + i, before + i)\n"),
     "E1105",
     {"kernel.py:11:18: error[E1105]: race: this load from byte 0 of `b`", "kernel.py:13:5: note"}},
    {"a look-back whose flag is a plain store",
     SPEC,
     LOOK_BACK("tl.load(c + i - 1)", "    tl.store(b + i, before + i)\n    tl.store(c + i, 1)\n"),
     "E1105",
     {"kernel.py:9:15: error[E1105]: race: this load from byte 0 of `c`"}},
};

Test(gpu_races, a_chain_of_atomics_orders_a_look_back_and_a_broken_one_does_not)
{
    for (int32_t i = 0; i < COUNT_OF(chains); i++)
        expect(&chains[i]);
}

#define LAST_ADDS_UP(arrive)                                                                       \
    HEAD "def k(a, b, c, N: tl.constexpr):\n"                                                      \
         "    i = tl.program_id(0)\n"                                                              \
         "    r = tl.arange(0, N)\n"                                                               \
         "    tl.store(a + i * N + r, r + i)\n"                                                    \
         "    n = " arrive "\n"                                                                    \
         "    if n == tl.num_programs(0) - 1:\n"                                                   \
         "        sum = tl.zeros((N,), tl.int32)\n"                                                \
         "        for k in range(0, tl.num_programs(0)):\n"                                        \
         "            sum += tl.load(a + k * N + r)\n"                                             \
         "        tl.store(b + r, sum)\n"

static const Broken splits[] = {
    {"the last program to arrive adds up", SPEC, LAST_ADDS_UP("tl.atomic_add(c, 1)"), NULL, {0}},
    {"the last program to arrive has not acquired",
     SPEC,
     LAST_ADDS_UP("tl.atomic_add(c, 1, sem='release')"),
     "E1105",
     {"kernel.py:13:20: error[E1105]: race: this load from byte 0 of `a` is not ordered with the "
      "store by "
      "program (0, 0, 0), thread 0 (program (3, 0, 0), thread 0)",
      "kernel.py:8:5: note: program (0, 0, 0), thread 0 writes it here"}},
    {"programs that arrive without a release",
     SPEC,
     LAST_ADDS_UP("tl.atomic_add(c, 1, sem='acquire')"),
     "E1105",
     {"kernel.py:13:20: error[E1105]"}},
};

Test(gpu_races, the_last_program_of_a_split_sum_may_read_what_the_others_released)
{
    for (int32_t i = 0; i < COUNT_OF(splits); i++)
        expect(&splits[i]);
}

/// b is the same memory as a here, which the compiler does not know of two arguments.
static LabRun run_alias(const char *text, int32_t programs_)
{
    static int32_t a[PROGRAMS * N], c[PROGRAMS * N];
    const LabArg args[] = {
        {a, PROGRAMS * N, 0, "a"}, {a, PROGRAMS * N, 0, NULL}, {c, PROGRAMS * N, 0, "c"}};
    return lab_run_kernel("emu:sm_80", text, SPEC, (Grid){programs_, 1, 1, 0}, 3, args, 1);
}

Test(gpu_races, threads_of_one_program_need_a_barrier_between_them)
{
    static const char *const turned[] = {HEAD "def k(a, b, c, N: tl.constexpr):\n"
                                              "    r = tl.arange(0, N)\n"
                                              "    tl.store(a + r, r)\n"
                                              "    tl.store(c + r, tl.load(b + N - 1 - r))\n",
                                         HEAD "def k(a, b, c, N: tl.constexpr):\n"
                                              "    r = tl.arange(0, N)\n"
                                              "    tl.store(a + r, r)\n"
                                              "    tl.debug_barrier()\n"
                                              "    tl.store(c + r, tl.load(b + N - 1 - r))\n"};
    LabRun run = run_alias(turned[0], 1);
    cr_expect_eq(run.st, KILN_ERR_DEVICE, "%s", run.report);
    static const char *const says[] = {
        "kernel.py:7:5: error[E1105]: race: this store to byte 128 of `a` is not ordered with the "
        "load by thread 31 (program (0, 0, 0), thread 32)",
        "kernel.py:8:21: note: thread 31 reads it here",
        "help: between the two the program needs a barrier: tl.debug_barrier()"};
    for (int32_t i = 0; i < COUNT_OF(says); i++)
        cr_expect_not_null(strstr(run.report, says[i]), "no `%s` in\n%s", says[i], run.report);
    if (getenv("KILN_SHOW")) fprintf(stderr, "%s\n", run.report);
    run = run_alias(turned[1], 1);
    cr_expect_eq(run.st, KILN_OK, "%s", run.report);
}

// Thread 0 raises what the loop's condition reads: the others, who run later, find it raised already.
// An atomic and a volatile load are no race; that the threads part is the mistake.
Test(gpu_races, threads_that_part_before_a_barrier_are_reported_with_both_places)
{
    LabRun run = run_alias(HEAD "def k(a, b, c, N: tl.constexpr):\n"
                                "    while tl.load(b, volatile=True) == 0:\n"
                                "        tl.atomic_add(a, 1, sem='relaxed')\n"
                                "        tl.debug_barrier()\n"
                                "    tl.store(c, 1)\n",
                           1);
    cr_expect_eq(run.st, KILN_ERR_DEVICE, "%s", run.report);
    static const char *const says[] = {"kernel.py:8:9: error[E1104]: divergence: a thread waits at "
                                       "a barrier that others never reach "
                                       "(program (0, 0, 0), thread 0)",
                                       "thread 1 has ended"};
    for (int32_t i = 0; i < COUNT_OF(says); i++)
        cr_expect_not_null(strstr(run.report, says[i]), "no `%s` in\n%s", says[i], run.report);
    if (getenv("KILN_SHOW")) fprintf(stderr, "%s\n", run.report);
}

// Launches are ordered: the second may read what any program of the first wrote.
Test(gpu_races, launches_follow_each_other)
{
    static int32_t a[PROGRAMS * N], b[PROGRAMS * N];
    const LabArg args[] = {{a, PROGRAMS * N, 0, "a"}, {b, PROGRAMS * N, 0, "b"}, {b, N, 0, NULL}};
    LabRun run = lab_run_kernel("emu:sm_90a",
                                HEAD "def k(a, b, c, N: tl.constexpr):\n"
                                     "    i = tl.program_id(0)\n"
                                     "    r = tl.arange(0, N)\n"
                                     "    x = tl.load(a + i * N + N - 1 - r)\n"
                                     "    tl.debug_barrier()\n"
                                     "    tl.store(a + i * N + r, x + 1)\n",
                                SPEC, (Grid){PROGRAMS, 1, 1, 0}, 3, args, 3);
    cr_expect_eq(run.st, KILN_OK, "%s", run.report);
    cr_expect_eq(a[17], 3);
    cr_expect_eq(run.counters.programs, 3 * PROGRAMS);
}

Test(gpu_races, the_same_launch_gives_the_same_report)
{
    LabRun first = run_alias(chains[2].text, PROGRAMS),
           second = run_alias(chains[2].text, PROGRAMS);
    cr_expect_eq(first.st, KILN_ERR_DEVICE);
    cr_expect_str_eq(first.report, second.report);
}

// ---- what accesses cost -----------------------------------------------------------------------

static ImageCounters count(const char *text, int32_t programs_)
{
    static int32_t a[64 * N], b[64 * N], c[N];
    const LabArg args[] = {{a, 64 * N, 0, "a"}, {b, 64 * N, 0, "b"}, {c, N, 0, "c"}};
    LabRun run = lab_run_kernel("emu:sm_80", text,
                                "k(a: *i32:16, b: *i32:16, c: *i32:16, N=64)[num_warps=1]",
                                (Grid){programs_, 1, 1, 0}, 3, args, 1);
    cr_assert_eq(run.st, KILN_OK, "%s", run.report);
    return run.counters;
}

Test(gpu_races, sectors_are_counted_per_request_of_a_warp)
{
    static const struct {
        const char *name, *text;
        int32_t requests, sectors, ideal;
    } loads[] = {
        {"64 words side by side: two of each lane", "tl.load(a + r)", 1, 8, 8},
        {"every second word", "tl.load(a + 2 * r)", 2, 16, 8},
        {"every eighth word: a sector for each", "tl.load(a + 8 * r)", 2, 64, 8},
        {"one word for all", "tl.load(a + 0 * r)", 1, 1, 1},
        {"lanes that are masked off ask for nothing", "tl.load(a + r, mask=r < 32, other=0)", 1, 4,
         4},
    };
    for (int32_t i = 0; i < COUNT_OF(loads); i++) {
        char text[512];
        snprintf(text, sizeof text,
                 HEAD "def k(a, b, c, N: tl.constexpr):\n"
                      "    r = tl.arange(0, N)\n"
                      "    tl.store(b + r, %s)\n",
                 loads[i].text);
        ImageCounters c = count(text, 1);
        cr_expect_eq(c.loads.requests, loads[i].requests, "%s: %lld requests", loads[i].name,
                     (long long)c.loads.requests);
        cr_expect_eq(c.loads.units, loads[i].sectors, "%s: %lld sectors", loads[i].name,
                     (long long)c.loads.units);
        cr_expect_eq(c.loads.ideal, loads[i].ideal, "%s: at best %lld", loads[i].name,
                     (long long)c.loads.ideal);
        cr_expect_eq(c.stores.ideal, 8, "%s: stores %lld", loads[i].name,
                     (long long)c.stores.ideal);
    }
}

// 32 lanes run one after the other, each over a loop that is longer than the log of a warp.
Test(gpu_races, a_long_loop_is_counted_request_by_request)
{
    ImageCounters c = count(HEAD "def k(a, b, c, N: tl.constexpr):\n"
                                 "    r = tl.arange(0, N)\n"
                                 "    sum = tl.zeros((N,), tl.int32)\n"
                                 "    for i in range(0, 1000):\n"
                                 "        sum += tl.load(a + i + r)\n"
                                 "    tl.store(b + r + N * tl.program_id(0), sum)\n",
                            3);
    cr_expect_eq(c.loads.requests % 3000, 0, "%lld requests", (long long)c.loads.requests);
    cr_expect_leq(c.loads.requests, 6000);
    cr_expect_geq(c.loads.units, 3000 * 8);
    cr_expect_leq(c.loads.units, 3000 * 18);
    cr_expect_eq(c.programs, 3);
    cr_expect_eq(c.atomics, 0);
}

Test(gpu_races, barriers_and_shuffles_are_counted)
{
    ImageCounters c = count(HEAD "def k(a, b, c, N: tl.constexpr):\n"
                                 "    x = tl.load(a + tl.arange(0, N))\n"
                                 "    tl.debug_barrier()\n"
                                 "    tl.store(b + tl.program_id(0), tl.sum(x))\n"
                                 "    tl.atomic_add(c, 1)\n",
                            5);
    cr_expect_geq(c.barriers, 5);
    cr_expect_eq(c.shuffles, 5 * 5, "%lld: five steps of one warp, five programs",
                 (long long)c.shuffles);
    cr_expect_eq(c.atomics, 5);
}
