// tests/compiler/gpu/test_emulator.c - the emulator reports what hardware leaves undefined, with
// the place.
#include "compiler/gpu/emu.h"
#include "tests/compiler/gpu/harness.h"

/// Runs on the emulator and expects an error with `code` whose text has `words`.
static void expect_report(const char *text, int32_t n_args, const Arg *args, Grid grid,
                          const char *code, const char *words)
{
    char messages[4096];
    KilnStatus st = launch(text, "emu:sm_80", n_args, args, grid, messages, sizeof messages);
    cr_expect_eq(st, KILN_ERR_DEVICE, "status %d: %s", st, messages);
    cr_expect_not_null(strstr(messages, code), "%s", messages);
    cr_expect_not_null(strstr(messages, words), "%s", messages);
}

static const char copy[] = "func @copy(%0.y: ptr<f32>, %1.x: ptr<f32>) num_warps=4 {\n"
                           "  %2 = arange {start=0} : tile<512xi32>\n"
                           "  %3 = splat %1 : tile<512xptr<f32>>\n"
                           "  %4 = addptr %3, %2 : tile<512xptr<f32>>\n"
                           "  %5 = load %4 : tile<512xf32>\n"
                           "  %6 = splat %0 : tile<512xptr<f32>>\n"
                           "  %7 = addptr %6, %2 : tile<512xptr<f32>>\n"
                           "  store %7, %5\n"
                           "  return\n"
                           "}\n";

Test(gpu_emulator, a_load_past_the_end_is_reported_with_the_buffer_and_the_program)
{
    Buffer x = buffer_new(DTYPE_F32, 511), y = buffer_new(DTYPE_F32, 512);
    Arg args[] = {{.buffer = &y}, {.buffer = &x}};
    expect_report(copy, 2, args, (Grid){1, 1, 1, 0}, "E1101",
                  "load of 4 bytes outside of memory: byte 2044 of `x`, which has 2044");
    expect_report(copy, 2, args, (Grid){1, 1, 1, 0}, "E1101", "program (0, 0, 0), thread 127");
    buffer_free(&x), buffer_free(&y);
}

Test(gpu_emulator, a_store_past_the_end_is_reported)
{
    Buffer x = buffer_new(DTYPE_F32, 512), y = buffer_new(DTYPE_F32, 100);
    Arg args[] = {{.buffer = &y}, {.buffer = &x}};
    expect_report(copy, 2, args, (Grid){1, 1, 1, 0}, "E1101",
                  "store of 4 bytes outside of memory: byte 512 of `y`, which has 400");
    buffer_free(&x), buffer_free(&y);
}

Test(gpu_emulator, a_report_points_at_the_line_of_the_kernel)
{
    Buffer x = buffer_new(DTYPE_F32, 511), y = buffer_new(DTYPE_F32, 512);
    Arg args[] = {{.buffer = &y}, {.buffer = &x}};
    expect_report(copy, 2, args, (Grid){1, 1, 1, 0}, "kernel.tile:5:", "load");
    buffer_free(&x), buffer_free(&y);
}

Test(gpu_emulator, a_pointer_that_breaks_its_promise_is_reported)
{
    static const char text[] = "func @wide(%0.y: ptr<f32> {align=16}) num_warps=1 {\n"
                               "  %1 = arange {start=0} : tile<128xi32>\n"
                               "  %2 = splat %0 : tile<128xptr<f32>>\n"
                               "  %3 = addptr %2, %1 : tile<128xptr<f32>>\n"
                               "  %4 = const {value=1.0} : tile<128xf32>\n"
                               "  store %3, %4\n"
                               "  return\n"
                               "}\n";
    Buffer all = buffer_new(DTYPE_F32, 132), y = {DTYPE_F32, 131, (float *)all.data + 1};
    Arg args[] = {{.buffer = &y}};
    expect_report(text, 1, args, (Grid){1, 1, 1, 0}, "E1106", "misaligned store of 16 bytes");
    buffer_free(&all);
}

static const char barrier_in_if[] = "func @diverge(%0.p: ptr<i32>) num_warps=2 {\n"
                                    "  %1 = arange {start=0} : tile<64xi32>\n"
                                    "  %2 = splat %0 : tile<64xptr<i32>>\n"
                                    "  %3 = addptr %2, %1 : tile<64xptr<i32>>\n"
                                    "  store %3, %1\n"
                                    "  %4 = load %0 {volatile=true} : i32\n"
                                    "  %5 = const {value=0} : i32\n"
                                    "  %6 = ne %4, %5 : i1\n"
                                    "  if %6 {\n"
                                    "    barrier\n"
                                    "    yield\n"
                                    "  }\n"
                                    "  return\n"
                                    "}\n";

// All positions of the store but one write elsewhere; the scalar load behind it must be ordered, or
// threads disagree about the branch.
Test(gpu_emulator, a_scalar_load_behind_a_tile_store_sees_one_value_in_all_threads)
{
    Buffer p = buffer_new(DTYPE_I32, 64);
    memset(p.data, 1, 64 * 4);
    char messages[4096];
    Arg args[] = {{.buffer = &p}};
    KilnStatus st =
        launch(barrier_in_if, "emu:sm_80", 1, args, (Grid){1, 1, 1, 0}, messages, sizeof messages);
    cr_expect_eq(st, KILN_OK, "%s", messages);
    buffer_free(&p);
}

Test(gpu_emulator, a_failed_assertion_is_reported)
{
    static const char text[] = "func @check(%0.n: i32) num_warps=1 {\n"
                               "  %1 = const {value=3} : i32\n"
                               "  %2 = lt %0, %1 : i1\n"
                               "  assert %2 {text=\"n is small\"}\n"
                               "  return\n"
                               "}\n";
    char messages[4096];
    Arg good[] = {{.i = 2}}, bad[] = {{.i = 3}};
    cr_expect_eq(launch(text, "emu:sm_80", 1, good, (Grid){1, 1, 1, 0}, messages, sizeof messages),
                 KILN_OK, "%s", messages);
    expect_report(text, 1, bad, (Grid){2, 1, 1, 0}, "E1102", "device assertion failed");
}

Test(gpu_emulator, a_buffer_that_nobody_filled_is_reported_where_it_is_read)
{
    static const char text[] = "func @never(%0.y: ptr<f32>) num_warps=1 {\n"
                               "  %1 = const {value=0} : i32\n"
                               "  %2 = alloc : buf<128xf32, stages=1>\n"
                               "  %3 = buf_load %2, %1 : tile<128xf32>\n"
                               "  %4 = arange {start=0} : tile<128xi32>\n"
                               "  %5 = splat %0 : tile<128xptr<f32>>\n"
                               "  %6 = addptr %5, %4 : tile<128xptr<f32>>\n"
                               "  store %6, %3\n"
                               "  return\n"
                               "}\n";
    Buffer y = buffer_new(DTYPE_F32, 128);
    Arg args[] = {{.buffer = &y}};
    expect_report(
        text, 1, args, (Grid){2, 1, 1, 0}, "E1107",
        "kernel.tile:4:8: error[E1107]: byte 0 of shared memory is read before it is written "
        "(program (0, 0, 0), thread 0)");
    buffer_free(&y);
}

Test(gpu_emulator, too_much_shared_memory_is_refused_with_the_sizes)
{
    static const char text[] = "func @big(%0.p: ptr<f32>) num_warps=8 {\n"
                               "  %1 = arange {start=0} : tile<65536xi32>\n"
                               "  %2 = splat %0 : tile<65536xptr<f32>>\n"
                               "  %3 = addptr %2, %1 : tile<65536xptr<f32>>\n"
                               "  %4 = load %3 : tile<65536xf32>\n"
                               "  %5 = sort %4 {descending=false} : tile<65536xf32>\n"
                               "  store %3, %5\n"
                               "  return\n"
                               "}\n";
    Kernel k;
    kernel_open(&k, text);
    cr_expect_eq(kernel_compile(&k, "sm_80"), KILN_ERR_LIMIT);
    cr_expect_not_null(strstr(kernel_messages(&k), "E0904"), "%s", kernel_messages(&k));
    cr_expect_not_null(
        strstr(kernel_messages(&k), "kernel needs 262144 bytes of shared memory, sm_80 has 166912"),
        "%s", kernel_messages(&k));
    kernel_close(&k);
}

// ---- threads written by hand ------------------------------------------------------------------

static EmuThread *me(void)
{
    return fiber_user(fiber_self());
}

static void call(EmuOp op, int32_t imm, const uint64_t *args, uint64_t *ret)
{
    emu_handlers[op](me(), imm, args, ret);
}

static void sync_threads(void)
{
    uint64_t place = (uint64_t)-1, unused;
    call(EMU_BARRIER, 0, &place, &unused);
}

static void touch_as(int32_t offset, EmuTouch how)
{
    uint64_t args[2] = {(uintptr_t)me()->block->shared + (uint64_t)offset, (uint64_t)-1}, unused;
    call(EMU_SHARED, 4 | (int32_t)how << 8, args, &unused);
}

static void touch(int32_t offset, bool is_write)
{
    touch_as(offset, is_write ? EMU_WRITES : EMU_READS);
}

static void expect_block(void (*entry)(const void *), const char *code)
{
    Diag diag;
    diag_init(&diag, heap_default());
    EmuBlock *b = emu_block_new(64, 1024);
    b->entry = entry, b->diag = &diag;
    emu_block_run(b);
    cr_expect_eq(b->has_fault, code != NULL, "%s", diag_first(&diag));
    if (code) {
        cr_assert_eq(diag.items.len, 1);
        cr_expect_str_eq(diag.items.data[0]->code, code, "%s: %s", diag.items.data[0]->code,
                         diag_first(&diag));
    }
    emu_block_free(b);
    diag_reset(&diag);
}

static void exchange(const void *unused)
{
    (void)unused;
    touch(4 * me()->id, true);
    sync_threads();
    touch(4 * (63 - me()->id), false);
}
static void exchange_without_barrier(const void *unused)
{
    (void)unused;
    touch(4 * me()->id, true);
    if (me()->id) touch(4 * (me()->id - 1), false);
}
static void rewrite_too_early(const void *unused)
{
    exchange(unused);
    touch(4 * me()->id, true);
}
static void add_to_bins(const void *unused)
{
    (void)unused;
    touch(4 * me()->id, true);
    sync_threads();
    touch_as(4 * (me()->id % 3), EMU_ADDS);
    sync_threads();
    touch(4 * (me()->id % 5), false);
}
static void add_before_all_is_clear(const void *unused)
{
    (void)unused;
    touch(4 * me()->id, true);
    touch_as(0, EMU_ADDS);
}
static void read_bins_too_early(const void *unused)
{
    (void)unused;
    touch(4 * me()->id, true);
    sync_threads();
    touch_as(0, EMU_ADDS);
    touch(0, false);
}
static void read_nothing(const void *unused)
{
    (void)unused;
    touch(4 * me()->id, false);
}
static void leave_early(const void *unused)
{
    (void)unused;
    if (me()->id != 17) sync_threads();
}
static void leave_the_warp(const void *unused)
{
    uint64_t args[5] = {~0u, (uint64_t)me()->id, 1, 31, (uint64_t)-1}, ret = 0;
    (void)unused;
    if (me()->id == 40) return;
    call(EMU_SHFL_BFLY, 0, args, &ret);
}
static void past_the_end(const void *unused)
{
    (void)unused;
    touch(1024, true);
}
static void butterfly(const void *unused)
{
    uint64_t args[5] = {~0u, (uint64_t)me()->id * 3, 5, 31, (uint64_t)-1}, ret = 0;
    (void)unused;
    call(EMU_SHFL_BFLY, 0, args, &ret);
    if (ret != (uint64_t)((me()->id ^ 5) * 3))
        emu_fault(me(), "E0000", "lane %d got %d", me()->id, (int)ret);
}

Test(gpu_emulator, threads_that_follow_the_rules_are_left_alone)
{
    expect_block(exchange, NULL);
    expect_block(butterfly, NULL);
    expect_block(add_to_bins, NULL);
}

Test(gpu_emulator, a_missing_barrier_is_a_race)
{
    expect_block(exchange_without_barrier, "E1105");
    expect_block(rewrite_too_early, "E1105");
    expect_block(add_before_all_is_clear, "E1105");
    expect_block(read_bins_too_early, "E1105");
}

Test(gpu_emulator, shared_memory_is_written_before_it_is_read_and_ends_where_it_ends)
{
    expect_block(read_nothing, "E1107");
    expect_block(past_the_end, "E1107");
}

Test(gpu_emulator, threads_that_never_reach_a_collective_are_named)
{
    expect_block(leave_early, "E1104");
    expect_block(leave_the_warp, "E1104");
}

// ---- passes over the banks --------------------------------------------------------------------

typedef struct Pattern {
    const char *name;
    int32_t bytes, stride; ///< lane i reads `bytes` at i * stride
    int32_t passes, ideal; ///< of one warp
} Pattern;

static const Pattern patterns[] = {
    {"a word for each lane, side by side", 4, 4, 1, 1},
    {"one word for all", 4, 0, 1, 1},
    {"every second word: two words in a bank", 4, 8, 2, 1},
    {"a column of 32 words: one bank", 4, 128, 32, 1},
    {"a column of 33 words: every bank", 4, 132, 1, 1},
    {"bytes side by side", 1, 1, 1, 1},
    {"8 bytes side by side: two halves", 8, 8, 2, 2},
    {"16 bytes side by side: four quarters", 16, 16, 4, 4},
    {"16 bytes in rows of 128: a quarter meets 4 banks", 16, 128, 32, 4},
};

static void read_pattern(const void *args)
{
    const Pattern *p = args;
    EmuThread *t = me();
    t->place = 7;
    uint64_t shared = (uintptr_t)t->block->shared;
    for (int32_t i = t->id * 16; i < 4352; i += 64 * 16)
        if (!emu_touch_shared(t, shared + (uint64_t)i, 16, EMU_WRITES)) return;
    sync_threads();
    t->place = 8;
    if (t->id < 32)
        emu_touch_shared(t, shared + (uint64_t)(t->id * p->stride), p->bytes, EMU_READS);
}

Test(gpu_emulator, passes_over_the_banks_are_counted_by_the_words_that_meet_in_one)
{
    for (int32_t i = 0; i < COUNT_OF(patterns); i++) {
        Diag diag;
        diag_init(&diag, heap_default());
        EmuBlock *b = emu_block_new(64, 4352);
        b->entry = read_pattern, b->args = &patterns[i], b->diag = &diag;
        emu_block_run(b);
        cr_expect_not(b->has_fault, "%s: %s", patterns[i].name, diag_first(&diag));
        const MemCounters *c = &b->counters->shared_loads;
        cr_expect_eq(c->requests, 1);
        cr_expect_eq(c->units, patterns[i].passes, "%s: %lld passes", patterns[i].name,
                     (long long)c->units);
        cr_expect_eq(c->ideal, patterns[i].ideal, "%s: at best %lld", patterns[i].name,
                     (long long)c->ideal);
        emu_block_free(b);
        diag_reset(&diag);
    }
}

// ---- the order of atomics ---------------------------------------------------------------------

Test(gpu_emulator, what_was_released_is_known_to_who_acquires_and_to_nobody_else)
{
    static Order o;
    const Stamp early = stamp_of(1, 1, 5), own = stamp_of(1, 2, 0), other = stamp_of(1, 2, 9);
    order_release(&o, 0, stamp_of(1, 2, 0), 64);
    uint32_t second = order_acquire(&o, 0, 64), stranger = order_acquire(&o, 0, 128);
    cr_expect_eq(stranger, 0);
    cr_expect(order_reaches(&o, second, early), "an epoch before the release");
    cr_expect(order_reaches(&o, second, own), "the releasing thread's own");
    cr_expect_not(order_reaches(&o, second, other), "another thread, no barrier between");
    cr_expect_not(order_reaches(&o, second, stamp_of(2, 1, 0)), "a program that released nothing");
    cr_expect_not(order_reaches(&o, stranger, early));
    order_release(&o, second, stamp_of(2, 1, 0), 128); // the chain goes on
    cr_expect(order_reaches(&o, order_acquire(&o, 0, 128), early));
    order_clear(&o);
    cr_expect_eq(order_acquire(&o, 0, 128), 0, "a new launch knows nothing of it");
    order_reset(&o);
}

// A chain of 20000 programs: each knows all before it, and asking costs no more than the chain.
Test(gpu_emulator, a_long_chain_of_atomics_is_followed_to_its_end)
{
    static Order o;
    uint32_t known = 0;
    for (uint32_t p = 1; p <= 20000; p++) {
        known = order_acquire(&o, 0, 8 * (uint64_t)(p - 1) + 8);
        order_release(&o, known, stamp_of(p, 2, 0), 8 * (uint64_t)p + 8);
    }
    cr_expect(order_reaches(&o, known, stamp_of(1, 1, 77)));
    cr_expect_not(order_reaches(&o, known, stamp_of(1, 2, 77)));
    cr_expect_not(o.is_lost);
    order_reset(&o);
}
