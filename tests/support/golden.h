// tests/support/golden.h - golden files of passes: text in, pipeline, text out, and the same numbers.
//
//   // run: fold,dce
//   // What this shows, in a sentence.
//   func @f(%0: tile<8xf32>) -> tile<8xf32> { ... }
//   // expect:
//   func @f(%0: tile<8xf32>) -> tile<8xf32> { ... }
//
// A file holds any number of such cases. The function that comes out must print as the expected one does, and both
// versions of it, run by the interpreter on seeded arguments and memory, must return and store the same.
#ifndef TESTS_SUPPORT_GOLDEN_H
#define TESTS_SUPPORT_GOLDEN_H
#include <dirent.h>
#include <math.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/random.h"
#include "compiler/interp/interp.h"
#include "ir/pass.h"
#include "tests/support/tile.h"

enum { GOLDEN_BUFFER_BYTES = 1 << 16, GOLDEN_SEEDS = 4 };

/// A number that shows mistakes: small ints, halves, now and then an extreme.
static inline Slot golden_number(Random *r, DType t)
{
    if (t == DTYPE_I1) return (Slot){.i = random_below(r, 2)};
    if (dtype_is_float(t)) {
        static const double odd[] = {0.0, -0.0, INFINITY, -INFINITY, NAN, 1e-40, 3e38};
        double x = random_below(r, 16) ? (double)random_below(r, 65) / 4 - 8
                                       : odd[random_below(r, COUNT_OF(odd))];
        return (Slot){.f = float_round(t, x)};
    }
    int64_t x = random_below(r, 16) ? random_below(r, 40) - 8 : (int64_t)random_u64(r);
    return (Slot){.i = int_wrap(t, x)};
}

/// Bounds of loops and offsets are scalars: small and not negative, or the test would run long and far.
static inline Slot golden_scalar(Random *r, const Param *p)
{
    const Type *t = p->value->type;
    if (!dtype_is_int(t->dtype) || t->dtype == DTYPE_I1) return golden_number(r, t->dtype);
    return (Slot){.i = p->divisible * random_below(r, 40 / p->divisible + 1)};
}

/// What one function leaves behind: results, then memory.
typedef struct GoldenRun {
    Slot **results;
    char **buffers; ///< by parameter; NULL where it is no pointer
} GoldenRun;

static inline GoldenRun golden_execute(Func *fn, uint64_t seed)
{
    Random r = {seed};
    GoldenRun run = {arena_array(&tile_arena, Slot *, fn->n_results + 1),
                     arena_array(&tile_arena, char *, fn->n_params + 1)};
    Slot **params = arena_array(&tile_arena, Slot *, fn->n_params + 1);
    MemRange *ranges = arena_array(&tile_arena, MemRange, fn->n_params + 1);
    int32_t n_ranges = 0;
    for (int32_t i = 0; i < fn->n_params; i++) {
        const Type *t = fn->params[i].value->type;
        params[i] = arena_array(&tile_arena, Slot, t->numel);
        if (t->kind == TYPE_PTR) {
            char *bytes = arena_alloc(&tile_arena, GOLDEN_BUFFER_BYTES, 64);
            int32_t size = dtype_bytes(t->dtype);
            for (int32_t at = 0; at < GOLDEN_BUFFER_BYTES; at += size)
                slot_store(t->dtype, bytes + at, golden_number(&r, t->dtype));
            run.buffers[i] = bytes;
            params[i]->i = (int64_t)(uintptr_t)bytes;
            ranges[n_ranges++] = (MemRange){bytes, GOLDEN_BUFFER_BYTES, fn->params[i].name};
        } else if (t->rank == 0) {
            *params[i] = golden_scalar(&r, &fn->params[i]);
        } else {
            for (int64_t e = 0; e < t->numel; e++)
                params[i][e] = golden_number(&r, t->dtype);
        }
    }
    for (int32_t i = 0; i < fn->n_results; i++)
        run.results[i] = arena_array(&tile_arena, Slot, fn->results[i]->numel);
    InterpCall call = {.fn = fn,
                       .params = (const Slot *const *)params,
                       .results = run.results,
                       .grid = {4, 2, 1, 0},
                       .first = 5,
                       .n = 1,
                       .n_ranges = n_ranges,
                       .ranges = ranges,
                       .scratch = &tile_arena,
                       .diag = &tile_diag};
    KilnStatus st = interp_call(&call);
    cr_assert_eq(st, KILN_OK, "@%s: %s", fn->name, diag_first(&tile_diag));
    return run;
}

static inline void golden_same_numbers(const char *where, const Func *fn, const GoldenRun *a,
                                       const GoldenRun *b)
{
    for (int32_t i = 0; i < fn->n_results; i++)
        for (int64_t e = 0; e < fn->results[i]->numel && !fn->results[i]->is_ptr;
             e++) // addresses differ from run to run
            cr_assert(slot_same(fn->results[i]->dtype, a->results[i][e], b->results[i][e]),
                      "%s: @%s: element %lld of result %d changed", where, fn->name, (long long)e,
                      i);
    for (int32_t i = 0; i < fn->n_params; i++)
        if (a->buffers[i])
            cr_assert_eq(memcmp(a->buffers[i], b->buffers[i], GOLDEN_BUFFER_BYTES), 0,
                         "%s: @%s: memory of parameter %d changed", where, fn->name, i);
}

static inline const char *golden_text(Func *fn)
{
    StrBuf out = {0};
    func_print(fn, &out);
    const char *copy = arena_strndup(&tile_arena, out.data, out.len);
    strbuf_free(&out);
    return copy;
}

/// One case: `text` from its run line to the next one.
static inline void golden_case(const char *where, const char *text, const Pass *const *more,
                               int32_t n_more)
{
    const char *run = text + strlen("// run:"), *split = strstr(text, "// expect:");
    cr_assert(split, "%s: a case without `// expect:`", where);
    run += strspn(run, " ");
    const char *pipeline = arena_strndup(&tile_arena, run, strcspn(run, "\n"));
    const char *before = arena_strndup(&tile_arena, text, (size_t)(split - text));
    Module *input = tile_module(before), *again = tile_module(before),
           *expected = tile_module(split);
    PassCx cx = {.module = input, .diag = &tile_diag, .more = more, .n_more = n_more};
    Func *fn = input->funcs.data[0];
    KilnStatus st = passes_run(&cx, fn, pipeline);
    cr_assert_eq(st, KILN_OK, "%s: @%s: %s", where, fn->name, diag_first(&tile_diag));
    cr_assert_eq(func_verify(fn, &tile_diag), KILN_OK, "%s: @%s: %s", where, fn->name,
                 diag_first(&tile_diag));
    const char *got = golden_text(fn), *want = golden_text(expected->funcs.data[0]);
    cr_assert_str_eq(got, want, "%s: @%s after %s is\n%s\nnot\n%s", where, fn->name, pipeline, got,
                     want);
    for (uint64_t seed = 1; seed <= GOLDEN_SEEDS; seed++) {
        GoldenRun a = golden_execute(again->funcs.data[0], seed), b = golden_execute(fn, seed);
        golden_same_numbers(where, fn, &a, &b);
    }
}

/// All cases of a file below tests/golden. @return how many
static inline int32_t golden_file(const char *path, const Pass *const *more, int32_t n_more)
{
    StrBuf text = {0};
    const char *full = arena_printf(&tile_arena, KILN_SOURCE_DIR "/tests/golden/%s", path);
    cr_assert_eq(file_read(full, &text, &tile_diag), KILN_OK, "%s", diag_first(&tile_diag));
    const char *all = arena_strndup(&tile_arena, text.data, text.len);
    strbuf_free(&text);
    int32_t n = 0;
    for (const char *at = strstr(all, "// run:"), *next; at; at = next, n++) {
        next = strstr(at + 1, "// run:");
        golden_case(path, arena_strndup(&tile_arena, at, next ? (size_t)(next - at) : strlen(at)),
                    more, n_more);
    }
    cr_assert(n, "%s has no case", path);
    return n;
}
#endif
