// bench/gpu_suite/sanitizer.c - do NVIDIA's checkers find what our emulator finds?
//
//   broken module      emulator   compute-sanitizer
//   store past an end  E1101      memcheck
//   broken promise     E1106      memcheck
//   missing barrier    E1105      racecheck
//   cards as they are  nothing    memcheck, racecheck, synccheck: nothing
//
// Each row runs this program again below compute-sanitizer, a minute at most. Where the tool is absent, or
// refuses the machine, the stage says so and is done.
#include <stdlib.h>
#include <sys/wait.h>

#include "bench/gpu_suite/broken.h"
#include "bench/gpu_suite/suite.h"

enum { FOUND = 9, CASE_S = 60 };

typedef struct Row {
    const char *name, *tool;
    bool expects_finding;
} Row;

static const Row rows[] = {
    {"load-past-end", "memcheck", true}, {"store-past-end", "memcheck", true},
    {"misaligned", "memcheck", true},    {"missing-barrier", "racecheck", true},
    {"none", "memcheck", false},         {"none", "racecheck", false},
    {"none", "synccheck", false},
};

static int run_row(const Suite *s, const Row *r)
{
    char command[4096];
    snprintf(command, sizeof command,
             "timeout %d compute-sanitizer --tool %s --error-exitcode %d --log-file "
             "'%s/sanitizer-%s-%s.log' "
             "'%s' --out '%s' --device %s --broken %s >/dev/null 2>&1",
             CASE_S, r->tool, FOUND, s->out, r->tool, r->name, s->program, s->out,
             s->dev->facts.name, r->name);
    int status = system(command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

KilnStatus stage_sanitizer(Suite *s)
{
    if (!s->dev->facts.has_stream || system("compute-sanitizer --version >/dev/null 2>&1") != 0) {
        suite_text(s, "sanitizer", "skipped",
                   s->dev->facts.has_stream ? "no compute-sanitizer here" : "only for GPUs");
        return KILN_OK;
    }
    for (int32_t i = 0; i < COUNT_OF(rows) && !suite_is_late(s); i++) {
        const Row *r = &rows[i];
        int status = run_row(s, r);
        const char *verdict = status == FOUND ? "found" : status == 0 ? "nothing" : "no answer";
        bool agrees = r->expects_finding ? status == FOUND : status == 0;
        suite_text(
            s, "sanitizer", arena_printf(&s->arena, "%s, %s", r->name, r->tool),
            arena_printf(&s->arena, "%s%s", verdict, agrees ? "" : "   (expected otherwise)"));
    }
    return KILN_OK;
}

// ---- the child ----------------------------------------------------------------------------------

enum { BLOCK = 2048 };

/// copy() over `n` floats of `y` and `x` that have room for `have` of them.
static KilnStatus run_copy(Suite *s, int64_t have_y, int64_t have_x, size_t skew)
{
    KilnStatus st = KILN_OK;
    void *y, *x;
    uint8_t block[LAUNCH_MAX_ARGS_BYTES];
    Launch l;
    Kernel *k;
    TRY(suite_numbers(s, DTYPE_F32, have_y, 1, &y));
    TRY(suite_numbers(s, DTYPE_F32, have_x, 1, &x));
    Call c = call_of("suite.py", "copy", grid_of(1, 1, 1));
    call_ptr(&c, "y", DTYPE_F32, y), call_ptr(&c, "x", DTYPE_F32, x);
    call_const(&c, "BLOCK", BLOCK);
    TRY(call_kernel(s, &c, &k));
    TRY(launch_make(k, c.grid, c.n_args, c.args, NULL, block, NULL, &l, &s->diag));
    for (int32_t i = 0; i < k->code.n_params; i++) { // past the check of promises
        char *at;
        memcpy(&at, block + k->code.params[i].offset, sizeof at);
        at += skew;
        memcpy(block + k->code.params[i].offset, &at, sizeof at);
    }
    st = launch_run(&l, &s->diag);
    if (st == KILN_OK) st = device_sync(s->dev, &s->diag);
done:
    return st;
}

/// Takes barrier number `n` (from 1) out of PTX; 0: none. @return false: there is no such barrier
static bool leave_out(char *ptx, int32_t n)
{
    char *at = ptx;
    for (int32_t i = 0; i < n; i++)
        if (!(at = strstr(i ? at + 1 : at, "bar.sync"))) return false;
    while (n && *at && *at != ';')
        *at++ = ' ';
    return true;
}

/// A row's softmax by several warps, without one of its barriers.
static KilnStatus run_reduction(Suite *s, int32_t left_out)
{
    KilnStatus st = KILN_OK;
    Kernel *whole, *k;
    Code code = {0};
    Launch l;
    uint8_t block[LAUNCH_MAX_ARGS_BYTES];
    void *y, *x, *cols, *n_rows;
    TRY(suite_numbers(s, DTYPE_F32, BLOCK, 1, &y));
    TRY(suite_numbers(s, DTYPE_F32, BLOCK, 1, &x));
    TRY(suite_one(s, BLOCK, &cols));
    TRY(suite_one(s, 1, &n_rows));
    Call c = call_of("softmax.py", "softmax", grid_of(1, 1, 1));
    call_ptr(&c, "y", DTYPE_F32, y), call_ptr(&c, "x", DTYPE_F32, x);
    call_ptr(&c, "cols", DTYPE_I32, cols), call_ptr(&c, "rows", DTYPE_I32, n_rows);
    call_int(&c, "sy", BLOCK), call_int(&c, "sx", BLOCK), call_const(&c, "BLOCK", BLOCK);
    c.warps = 8;
    TRY(call_kernel(s, &c, &whole));
    code = whole->code;
    code.bytes = (uint8_t *)arena_strdup(&s->arena, (const char *)whole->code.bytes);
    if (!leave_out((char *)code.bytes, left_out))
        TRY(fail(&s->diag, KILN_ERR_INPUT, "K901", "softmax has no barrier %d", left_out));
    TRY(kernel_from_code(s->kernels, &code, &k, &s->diag));
    TRY(launch_make(k, c.grid, c.n_args, c.args, NULL, block, NULL, &l, &s->diag));
    TRY(launch_run(&l, &s->diag));
    st = device_sync(s->dev, &s->diag);
done:
    return st;
}

KilnStatus broken_run(Suite *s, const char *name)
{
    KilnStatus st = KILN_OK;
    if (!strcmp(name, "load-past-end")) return run_copy(s, BLOCK, BLOCK - 300, 0);
    if (!strcmp(name, "store-past-end")) return run_copy(s, BLOCK - 300, BLOCK, 0);
    if (!strcmp(name, "misaligned")) return run_copy(s, BLOCK + 16, BLOCK + 16, 4);
    if (!strcmp(name, "missing-barrier")) return run_reduction(s, 1);
    if (strcmp(name, "none") != 0)
        return fail(&s->diag, KILN_ERR_INPUT, "", "--broken %s: no such module", name);
    TRY(run_copy(s, BLOCK, BLOCK, 0));
    TRY(run_reduction(s, 0));
done:
    return st;
}
