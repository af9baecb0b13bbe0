// tests/compiler/gpu/test_shared.c - buffers in shared memory: each in a place of its own, every read
// behind a wait and a barrier, and none of those too many.
#include "compiler/gpu/emu.h"
#include "tests/compiler/gpu/loops.h"

// ---- barriers ---------------------------------------------------------------------------------

typedef struct Barriers {
    int32_t all, in_loops;
} Barriers;

static void count_barrier(Op *op, void *user)
{
    Barriers *n = user;
    const OpNote *note = op_note(op);
    if (!note || (!note->scratch.needs_barrier && !note->global_barrier)) return;
    n->all++;
    n->in_loops += op->parent->owner != NULL;
    if (getenv("KILN_SHOW"))
        fprintf(stderr, "barrier before %s at %d\n", op_facts[op->kind].name, op->span.begin);
}

/// How many barriers there are between ops, each of which the emulator misses when it is left out.
static Barriers needed_barriers(const char *text, int64_t number)
{
    Built b;
    Buffer buffers[8];
    int32_t n, n_barriers = 1;
    Barriers found = {0};
    for (int32_t left_out = 0; left_out <= n_barriers; left_out++) {
        build_text(&b, text, left_out);
        n_barriers = b.cx.n_barriers;
        make_buffers(b.k.fn, buffers, &n);
        KilnStatus st = run_built(&b, buffers, number);
        if (left_out) {
            cr_expect_eq(st, KILN_ERR_DEVICE, "barrier %d of %d is not needed in\n%s", left_out,
                         n_barriers, text);
            cr_expect_not_null(strstr(kernel_messages(&b.k), "E110"), "%s", kernel_messages(&b.k));
        } else {
            cr_expect_eq(st, KILN_OK, "%s", kernel_messages(&b.k));
            region_walk(b.k.fn->body, count_barrier, &found);
        }
        for (int32_t i = 0; i < n; i++)
            buffer_free(&buffers[i]);
        built_free(&b);
    }
    cr_expect_eq(found.all, n_barriers);
    return found;
}

Test(gpu_shared, a_pipelined_loop_meets_once_per_iteration_and_every_barrier_is_needed,
     .timeout = 300)
{
    static const struct {
        const char *format;
        int32_t stages, number;
        Barriers barriers;
    } rows[] = {
        {gemm_f16, 2, 96, {1, 1}},
        {gemm_f16, 3, 160, {1, 1}},
        {gemm_f16, 4, 160, {1, 1}},
        {downward_i8, 3, 96, {1, 1}},
        {pages_f16, 3, 5, {2, 1}},
        {stream_f32, 3, 640, {0, 0}}, // threads keep to what they copied
        {nested_f16, 3, 64, {2, 2}},  // the second: the buffers of the round before are being read
    };
    Arena a;
    arena_init(&a, heap_default());
    for (int32_t i = 0; i < COUNT_OF(rows); i++) {
        char spec[256];
        snprintf(spec, sizeof spec, rows[i].format, rows[i].stages);
        Barriers n = needed_barriers(common_text(&a, spec), rows[i].number);
        cr_expect_eq(n.all, rows[i].barriers.all, "%s: %d barriers", spec, n.all);
        cr_expect_eq(n.in_loops, rows[i].barriers.in_loops, "%s: %d in the loop", spec, n.in_loops);
    }
    arena_reset(&a);
}

static int32_t barriers_of(const char *text)
{
    Barriers n = needed_barriers(text, 4);
    return n.all;
}

Test(gpu_shared, reductions_in_a_row_need_no_barrier_between_them)
{
    // Each meets once inside. A loop around one meets again: its scratch is still being read.
    static const char head[] = "func @sums(%0.y: ptr<f32> {align=16}, %1.n: i32) num_warps=4 {\n"
                               "  %2 = arange {start=0} : tile<128xi32>\n"
                               "  %3 = splat %0 : tile<128xptr<f32>>\n"
                               "  %4 = addptr %3, %2 : tile<128xptr<f32>>\n"
                               "  %5 = load %4 : tile<128xf32>\n";
    static const char one[] = "  %6 = reduce %5 {combine=add, axis=0} : f32\n"
                              "  store %0, %6\n  return\n}\n";
    static const char two[] = "  %6 = reduce %5 {combine=add, axis=0} : f32\n"
                              "  %7 = splat %6 : tile<128xf32>\n"
                              "  %8 = add %7, %5 : tile<128xf32>\n"
                              "  %9 = reduce %8 {combine=max, axis=0} : f32\n"
                              "  store %0, %9\n  return\n}\n";
    static const char loop_one[] =
        "  %6 = const {value=0} : i32\n  %7 = const {value=1} : i32\n"
        "  %8 = for %9 = %6 to %1 step %7 carry (%10 = %5) : tile<128xf32> {\n"
        "    %11 = reduce %10 {combine=max, axis=0} : f32\n"
        "    %12 = splat %11 : tile<128xf32>\n    %13 = sub %10, %12 : tile<128xf32>\n"
        "    yield %13\n  }\n  store %4, %8\n  return\n}\n";
    static const char loop_two[] =
        "  %6 = const {value=0} : i32\n  %7 = const {value=1} : i32\n"
        "  %8 = for %9 = %6 to %1 step %7 carry (%10 = %5) : tile<128xf32> {\n"
        "    %11 = reduce %10 {combine=max, axis=0} : f32\n"
        "    %12 = splat %11 : tile<128xf32>\n    %13 = sub %10, %12 : tile<128xf32>\n"
        "    %14 = reduce %13 {combine=add, axis=0} : f32\n"
        "    %15 = splat %14 : tile<128xf32>\n    %16 = sub %13, %15 : tile<128xf32>\n"
        "    yield %16\n  }\n  store %4, %8\n  return\n}\n";
    Arena a;
    arena_init(&a, heap_default());
    // The load and the store of `y` in different threads: one barrier orders those.
    cr_expect_eq(barriers_of(arena_printf(&a, "%s%s", head, one)), 0);
    cr_expect_eq(barriers_of(arena_printf(&a, "%s%s", head, two)), 0);
    cr_expect_eq(barriers_of(arena_printf(&a, "%s%s", head, loop_one)), 1);
    cr_expect_eq(barriers_of(arena_printf(&a, "%s%s", head, loop_two)), 0);
    arena_reset(&a);
}

// ---- modules that wait too little -------------------------------------------------------------

static const char copied_head[] =
    "func @copied(%0.y: ptr<f32> {align=16}, %1.x: ptr<f32> {align=16}) num_warps=4 {\n"
    "  %2 = arange {start=0} : tile<1024xi32>\n"
    "  %3 = splat %1 : tile<1024xptr<f32>>\n"
    "  %4 = addptr %3, %2 : tile<1024xptr<f32>>\n"
    "  %5 = const {value=1024} : tile<1024xi32>\n"
    "  %6 = addptr %4, %5 : tile<1024xptr<f32>>\n"
    "  %7 = const {value=0} : i32\n"
    "  %8 = const {value=1} : i32\n"
    "  %9 = alloc : buf<1024xf32, stages=2>\n"
    "  %10 = copy_async %9, %7, %4 : token\n"
    "  %11 = copy_async %9, %8, %6 : token\n";
static const char copied_first[] = "  %12 = buf_load %9, %7 : tile<1024xf32>\n",
                  copied_second[] = "  %13 = buf_load %9, %8 : tile<1024xf32>\n";
static const char copied_tail[] = "  %14 = add %12, %13 : tile<1024xf32>\n"
                                  "  %15 = splat %0 : tile<1024xptr<f32>>\n"
                                  "  %16 = addptr %15, %2 : tile<1024xptr<f32>>\n"
                                  "  store %16, %14\n"
                                  "  return\n"
                                  "}\n";

/// What the emulator says of the text above with these lines in it; NULL when the sums are right.
static const char *copied_says(Arena *a, const char *first, const char *second, const char *third)
{
    Built b;
    Buffer buffers[2] = {buffer_new(DTYPE_F32, 1024), buffer_new(DTYPE_F32, 2048)};
    float *y = buffers[0].data, *x = buffers[1].data;
    buffer_random(&buffers[1], 20, -9, 9);
    build_text(&b,
               arena_printf(a, "%s%s%s%s%s%s%s", copied_head, first, copied_first, second,
                            copied_second, third, copied_tail),
               0);
    KilnStatus st = run_built(&b, buffers, 0);
    const char *says = st == KILN_OK ? NULL : arena_strdup(a, kernel_messages(&b.k));
    for (int32_t i = 0; i < 1024 && !says; i++)
        cr_assert_eq(y[i], x[i] + x[1024 + i], "element %d", i);
    built_free(&b);
    buffer_free(&buffers[0]), buffer_free(&buffers[1]);
    return says;
}

Test(gpu_shared, a_copy_that_is_not_waited_for_is_reported_where_it_is_read)
{
    static const struct {
        const char *first, *second, *third;
        const char *line; ///< of the read that comes too early; NULL: the module is good
    } rows[] = {
        {"  wait {pending=0}\n", "", "", NULL},
        {"  wait {pending=1}\n", "  wait {pending=0}\n", "", NULL},
        {"", "", "", "kernel.tile:12:"},                                         // no wait
        {"  wait {pending=2}\n", "  wait {pending=0}\n", "", "kernel.tile:13:"}, // too many
        {"  wait {pending=1}\n", "", "", "kernel.tile:14:"},                     // the second not
        {"  wait {pending=0}\n", "  %20 = copy_async %9, %8, %4 : token\n", "",
         "kernel.tile:15:"}, // overtaken by a third
        {"  wait {pending=0}\n", "", "  %20 = copy_async %9, %8, %4 : token\n", NULL},
    };
    Arena a;
    arena_init(&a, heap_default());
    for (int32_t i = 0; i < COUNT_OF(rows); i++) {
        const char *says = copied_says(&a, rows[i].first, rows[i].second, rows[i].third);
        if (!rows[i].line) {
            cr_expect_null(says, "row %d: %s", i, says);
            continue;
        }
        cr_assert_not_null(says, "row %d: nothing was reported", i);
        cr_expect_not_null(strstr(says, "E1108"), "row %d: %s", i, says);
        cr_expect_not_null(strstr(says, rows[i].line), "row %d: %s", i, says);
        cr_expect_not_null(strstr(says, "buf_load"), "row %d: %s", i, says);
    }
    arena_reset(&a);
}

// ---- places -----------------------------------------------------------------------------------

enum { MAX_EVENTS = 20000 };

/// The ops of one run of the program, in order: loops go round twice, both sides of an `if` run.
typedef struct Trace {
    const Op *ops[MAX_EVENTS];
    int32_t n;
} Trace;

static void trace_region(Trace *t, const Region *r)
{
    EACH_OP(op, r) {
        cr_assert_lt(t->n, MAX_EVENTS);
        t->ops[t->n++] = op;
        int32_t rounds = op->kind == OP_FOR || op->kind == OP_WHILE ? 2 : 1;
        bool is_control = rounds == 2 || op->kind == OP_IF;
        for (int32_t k = 0; k < rounds && is_control; k++)
            for (int32_t i = 0; i < op->n_regions; i++)
                trace_region(t, op->regions[i]);
    }
}

/// The last event at which what `t->ops[from]` allocated is alive: touched, or still being copied
/// to.
static int32_t last_alive(const Trace *t, int32_t from)
{
    const Op *alloc = t->ops[from];
    int32_t last = from;
    bool in_flight = false;
    for (int32_t i = from + 1; i < t->n && t->ops[i] != alloc; i++) {
        const Op *op = t->ops[i];
        bool touches = false;
        for (int32_t k = 0; k < op->n_in; k++)
            touches |= op->in[k] == &alloc->out[0];
        if (touches && op->kind == OP_COPY_ASYNC) in_flight = true;
        if (touches || in_flight) last = i;
        if (op->kind == OP_WAIT && op_attr_i(op, ATTR_PENDING) == 0) in_flight = false;
    }
    return last;
}

/// Checks every pair of lives that meet. @return bytes that would be needed without sharing
static int64_t expect_apart(const char *what, const GpuCx *cx)
{
    static Trace t;
    static int32_t end[MAX_EVENTS];
    t.n = 0;
    trace_region(&t, cx->fn->body);
    int64_t all = 0;
    for (int32_t i = 0; i < t.n; i++) {
        bool again = false;
        for (int32_t k = 0; k < i; k++)
            again |= t.ops[k] == t.ops[i];
        const Scratch *x = &op_note(t.ops[i])->scratch;
        end[i] = x->bytes == 0 ? -1 : t.ops[i]->kind == OP_ALLOC ? last_alive(&t, i) : i;
        if (!again) all += x->bytes;
        cr_expect_leq(x->offset + x->bytes, cx->shared_bytes);
        cr_expect_eq(x->offset % (t.ops[i]->kind == OP_ALLOC ? 128 : 16), 0);
    }
    for (int32_t i = 0; i < t.n; i++)
        for (int32_t k = i + 1; k <= end[i]; k++) {
            const Scratch *x = &op_note(t.ops[i])->scratch, *y = &op_note(t.ops[k])->scratch;
            bool overlap = x->offset < y->offset + y->bytes && y->offset < x->offset + x->bytes;
            cr_expect(!(y->bytes && overlap && t.ops[i] != t.ops[k]), "%s: %s at %d and %s at %d",
                      what, op_facts[t.ops[i]->kind].name, x->offset, op_facts[t.ops[k]->kind].name,
                      y->offset);
        }
    return all;
}

Test(gpu_shared, what_lives_at_the_same_time_has_places_of_its_own)
{
    Arena a;
    arena_init(&a, heap_default());
    int64_t used = 0, alone = 0;
    for (int32_t i = 0; i < LOOP_SPECS; i++) {
        for (int32_t stages = 2; stages <= 4; stages++) {
            Built b;
            char spec[256];
            snprintf(spec, sizeof spec, loop_specs[i], stages);
            build_text(&b, common_text(&a, spec), 0);
            alone += expect_apart(spec, &b.cx);
            used += b.cx.shared_bytes;
            built_free(&b);
        }
    }
    cr_expect_lt(used, alone, "%lld of %lld bytes", (long long)used, (long long)alone);
    arena_reset(&a);
}

Test(gpu_shared, loops_behind_each_other_share_their_buffers)
{
    Arena a;
    Built b;
    arena_init(&a, heap_default());
    build_text(&b,
               common_text(&a, "twice(y: *f32:16, x: *f16:16, w: *f16:16, K: i32:16, BM=64, "
                               "BN=64, BK=32)[num_warps=4, num_stages=3]"),
               0);
    // 3 stages of 64 x 32 and 32 x 64 f16, once, though there are two such loops.
    cr_expect_eq(b.cx.shared_bytes, 3 * 8192);
    cr_expect_eq(expect_apart("twice", &b.cx), 2 * 3 * 8192);
    built_free(&b);
    arena_reset(&a);
}

// ---- random programs --------------------------------------------------------------------------

enum { N_BUFFERS = 3, MOST_DEPTH = 2 };

/// Writes a program on one 16 x 16 tile: it goes into buffers and out of them, also the other way
/// round, through reductions, flips, copies, loops and branches.
typedef struct Writer {
    StrBuf out;
    Random rng;
    int32_t next, tile; ///< the next value's number; the tile as it stands
    int32_t ring[4], n_rings;
    uint32_t busy; ///< buffers with copies in flight
    int32_t depth;
} Writer;

static int32_t pick(Writer *w, int32_t n)
{
    return (int32_t)random_below(&w->rng, n);
}

/// A stage of buffer `b`, which has b + 1: constants are %90 to %93, counters walk round 3.
static int32_t pick_stage(Writer *w, int32_t b)
{
    if (b == 2 && w->n_rings && pick(w, 3)) return w->ring[pick(w, w->n_rings)];
    return 90 + pick(w, b + 1);
}

static void write_ops(Writer *w, int32_t n);

static void write_buffer(Writer *w, int32_t b)
{
    int32_t stage = pick_stage(w, b), x = w->next;
    w->next += 4;
    switch (pick(w, 4)) {
    case 0:
        strbuf_printf(&w->out, "  buf_store %%%d, %%%d, %%%d\n", 80 + b, stage, w->tile);
        return;
    case 1:
        if (w->busy) return; // one wait for one copy
        strbuf_printf(&w->out, "  %%%d = copy_async %%%d, %%%d, %%94 : token\n", x, 80 + b, stage);
        w->busy |= 1u << b;
        write_ops(w, pick(w, 3));
        w->busy = 0;
        strbuf_puts(&w->out, "  wait {pending=0}\n");
        return;
    default:
        strbuf_printf(&w->out, "  %%%d = buf_load %%%d, %%%d : tile<16x16xf32>\n", x, 80 + b,
                      stage);
        if (pick(w, 2))
            strbuf_printf(&w->out, "  %%%d = trans %%%d {list=[1, 0]} : tile<16x16xf32>\n", x + 1,
                          x);
        else
            strbuf_printf(&w->out, "  %%%d = add %%%d, %%%d : tile<16x16xf32>\n", x + 1, x, x);
        strbuf_printf(&w->out, "  %%%d = sub %%%d, %%%d : tile<16x16xf32>\n", x + 2, w->tile,
                      x + 1);
        strbuf_printf(&w->out, "  %%%d = mul %%%d, %%95 : tile<16x16xf32>\n", x + 3, x + 2);
        w->tile = x + 3;
    }
}

static void write_exchange(Writer *w)
{
    int32_t x = w->next, axis = pick(w, 2);
    w->next += 4;
    if (pick(w, 2)) {
        strbuf_printf(&w->out, "  %%%d = flip %%%d {axis=%d} : tile<16x16xf32>\n", x + 3, w->tile,
                      axis);
    } else {
        strbuf_printf(&w->out,
                      "  %%%d = reduce %%%d {combine=max, axis=%d} : tile<16xf32>\n"
                      "  %%%d = expand_dims %%%d {axis=%d} : tile<%sxf32>\n"
                      "  %%%d = broadcast %%%d : tile<16x16xf32>\n"
                      "  %%%d = sub %%%d, %%%d : tile<16x16xf32>\n",
                      x, w->tile, axis, x + 1, x, axis, axis ? "16x1" : "1x16", x + 2, x + 1, x + 3,
                      w->tile, x + 2);
    }
    w->tile = x + 3;
}

static void write_loop(Writer *w)
{
    int32_t x = w->next;
    w->next += 9;
    strbuf_printf(&w->out,
                  "  %%%d, %%%d = for %%%d = %%90 to %%%d step %%91 carry (%%%d = %%%d, %%%d = "
                  "%%%d) : tile<16x16xf32>, i32 {\n",
                  x, x + 1, x + 2, pick(w, 2) ? 2 : 93, x + 3, w->tile, x + 4, 90 + pick(w, 3));
    w->tile = x + 3;
    w->ring[w->n_rings++] = x + 4;
    w->depth++;
    write_ops(w, 1 + pick(w, 4));
    w->depth--;
    w->n_rings--;
    strbuf_printf(&w->out,
                  "  %%%d = add %%%d, %%91 : i32\n  %%%d = eq %%%d, %%93 : i1\n"
                  "  %%%d = select %%%d, %%90, %%%d : i32\n  yield %%%d, %%%d\n  }\n",
                  x + 5, x + 4, x + 6, x + 5, x + 7, x + 6, x + 5, w->tile, x + 7);
    w->tile = x;
}

static void write_if(Writer *w)
{
    int32_t x = w->next, before = w->tile;
    w->next += 2;
    strbuf_printf(&w->out, "  %%%d = lt %%2, %%%d : i1\n  %%%d = if %%%d : tile<16x16xf32> {\n", x,
                  90 + pick(w, 4), x + 1, x);
    w->depth++;
    for (int32_t side = 0; side < 2; side++) {
        w->tile = before;
        write_ops(w, pick(w, 4));
        strbuf_printf(&w->out, "  yield %%%d\n  %s\n", w->tile, side ? "}" : "} else {");
    }
    w->depth--;
    w->tile = x + 1;
}

static void write_ops(Writer *w, int32_t n)
{
    for (int32_t i = 0; i < n; i++) {
        int32_t kind = pick(w, 10), b = pick(w, N_BUFFERS);
        if (kind < 5 && !(w->busy >> b & 1))
            write_buffer(w, b);
        else if (kind >= 8 && w->depth < MOST_DEPTH && !w->busy)
            kind == 8 ? write_loop(w) : write_if(w);
        else
            write_exchange(w);
    }
}

static void write_program(Writer *w)
{
    strbuf_puts(
        &w->out,
        "func @random(%0.y: ptr<f32> {align=16}, %1.x: ptr<f32> {align=16}, %2.n: i32) "
        "num_warps=4 {\n"
        "  %3 = arange {start=0} : tile<256xi32>\n  %4 = reshape %3 : tile<16x16xi32>\n"
        "  %5 = splat %1 : tile<16x16xptr<f32>>\n  %94 = addptr %5, %4 : tile<16x16xptr<f32>>\n"
        "  %6 = splat %0 : tile<16x16xptr<f32>>\n  %7 = addptr %6, %4 : tile<16x16xptr<f32>>\n"
        "  %8 = load %94 : tile<16x16xf32>\n  %95 = const {value=0.5} : tile<16x16xf32>\n");
    for (int32_t i = 0; i < 4; i++)
        strbuf_printf(&w->out, "  %%%d = const {value=%d} : i32\n", 90 + i, i);
    for (int32_t b = 0; b < N_BUFFERS; b++) {
        strbuf_printf(&w->out, "  %%%d = alloc : buf<16x16xf32, stages=%d>\n", 80 + b, b + 1);
        for (int32_t k = 0; k <= b; k++)
            strbuf_printf(&w->out, "  buf_store %%%d, %%%d, %%8\n", 80 + b, 90 + k);
    }
    w->next = 100, w->tile = 8;
    write_ops(w, 10);
    strbuf_printf(&w->out, "  store %%7, %%%d\n  return\n}\n", w->tile);
}

Test(gpu_shared, random_programs_are_ordered_by_their_barriers, .timeout = 300)
{
    int32_t barriers = 0, loops = 0, copies = 0;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        Writer w = {.rng = {seed}};
        Built b;
        write_program(&w);
        Buffer y = buffer_new(DTYPE_F32, 256), x = buffer_new(DTYPE_F32, 256);
        buffer_random(&x, seed, -8, 8);
        for (int32_t n = 0; n < 3; n += 2) {
            Arg args[] = {{.buffer = &y}, {.buffer = &x}, {.i = n}};
            expect_agreement(w.out.data, w.out.data, 3, args, (Grid){1, 1, 1, 0}, 0, 0);
        }
        build_text(&b, w.out.data, 0);
        expect_apart(w.out.data, &b.cx);
        barriers += b.cx.n_barriers;
        loops += strstr(w.out.data, "for ") != NULL;
        copies += strstr(w.out.data, "copy_async") != NULL;
        built_free(&b);
        buffer_free(&y), buffer_free(&x);
        strbuf_free(&w.out);
    }
    cr_expect_gt(barriers, 80, "%d barriers", barriers);
    cr_expect_gt(loops, 15, "%d programs with loops", loops);
    cr_expect_gt(copies, 10, "%d programs with copies", copies);
}

Test(gpu_shared, loops_nested_deeply_are_ordered_in_time, .timeout = 60)
{
    enum { DEPTH = 40 };
    StrBuf text = {0};
    strbuf_puts(&text, "func @deep(%0.y: ptr<f32> {align=16}, %1.n: i32) num_warps=4 {\n"
                       "  %2 = arange {start=0} : tile<128xi32>\n"
                       "  %3 = splat %0 : tile<128xptr<f32>>\n"
                       "  %4 = addptr %3, %2 : tile<128xptr<f32>>\n"
                       "  %5 = load %4 : tile<128xf32>\n  %6 = const {value=0} : i32\n"
                       "  %7 = const {value=1} : i32\n");
    for (int32_t i = 0; i < DEPTH; i++)
        strbuf_printf(&text,
                      "%%%d = for %%%d = %%6 to %%1 step %%7 carry (%%%d = %%%d) : "
                      "tile<128xf32> {\n%%%d = flip %%%d {axis=0} : tile<128xf32>\n",
                      100 + i, 200 + i, 300 + i, i ? 399 + i : 5, 400 + i, 300 + i);
    for (int32_t i = DEPTH - 1; i >= 0; i--)
        strbuf_printf(&text, "yield %%%d\n}\n", i == DEPTH - 1 ? 400 + i : 101 + i);
    strbuf_puts(&text, "  store %4, %100\n  return\n}\n");
    Buffer y = buffer_new(DTYPE_F32, 128);
    buffer_random(&y, 24, -9, 9);
    Arg args[] = {{.buffer = &y}, {.i = 1}};
    expect_agreement("deep", text.data, 2, args, (Grid){1, 1, 1, 0}, 0, 0);
    buffer_free(&y);
    strbuf_free(&text);
}

// ---- other copies and buffers -----------------------------------------------------------------

Test(gpu_shared, what_cp_async_cannot_copy_is_loaded_and_stored)
{
    // Three bytes apart, `other` is 7: neither 4 neighbours nor zeros.
    static const char text[] =
        "func @odd(%0.y: ptr<i8>, %1.x: ptr<i8>, %2.n: i32) num_warps=4 {\n"
        "  %3 = arange {start=0} : tile<64xi32>\n  %4 = const {value=3} : tile<64xi32>\n"
        "  %5 = mul %3, %4 : tile<64xi32>\n  %6 = splat %1 : tile<64xptr<i8>>\n"
        "  %7 = addptr %6, %5 : tile<64xptr<i8>>\n  %8 = splat %2 : tile<64xi32>\n"
        "  %9 = lt %3, %8 : tile<64xi1>\n  %10 = const {value=7} : tile<64xi8>\n"
        "  %11 = alloc : buf<64xi8, stages=2>\n  %12 = const {value=1} : i32\n"
        "  %13 = copy_async %11, %12, %7, %9, %10 : token\n  wait %13 {pending=0}\n"
        "  %14 = buf_load %11, %12 : tile<64xi8>\n  %15 = splat %0 : tile<64xptr<i8>>\n"
        "  %16 = addptr %15, %3 : tile<64xptr<i8>>\n  store %16, %14\n  return\n}\n";
    Buffer y = buffer_new(DTYPE_I8, 64), x = buffer_new(DTYPE_I8, 41 * 3);
    buffer_random(&x, 22, -100, 100);
    Arg args[] = {{.buffer = &y}, {.buffer = &x}, {.i = 41}};
    expect_agreement("odd", text, 3, args, (Grid){1, 1, 1, 0}, 0, 0);
    for (int32_t i = 0; i < 64; i++)
        cr_expect_eq(((int8_t *)y.data)[i], i < 41 ? ((int8_t *)x.data)[3 * i] : 7);
    expect_assembles("odd", text, false);
    buffer_free(&y), buffer_free(&x);
}

Test(gpu_shared, a_buffer_turns_a_tile_around)
{
    // Written by rows, read by columns, once per round: the others' data, and the stage again.
    static const char text[] =
        "func @turn(%0.y: ptr<f32> {align=16}, %1.x: ptr<f32> {align=16}, %2.n: i32) num_warps=4 "
        "{\n"
        "  %3 = arange {start=0} : tile<32xi32>\n"
        "  %4 = expand_dims %3 {axis=1} : tile<32x1xi32>\n"
        "  %5 = const {value=32} : tile<32x1xi32>\n  %6 = mul %4, %5 : tile<32x1xi32>\n"
        "  %7 = expand_dims %3 {axis=0} : tile<1x32xi32>\n"
        "  %8 = broadcast %6 : tile<32x32xi32>\n  %9 = broadcast %7 : tile<32x32xi32>\n"
        "  %10 = add %8, %9 : tile<32x32xi32>\n  %11 = splat %1 : tile<32x32xptr<f32>>\n"
        "  %12 = addptr %11, %10 : tile<32x32xptr<f32>>\n"
        "  %13 = splat %0 : tile<32x32xptr<f32>>\n"
        "  %14 = addptr %13, %10 : tile<32x32xptr<f32>>\n  %15 = load %12 : tile<32x32xf32>\n"
        "  %16 = alloc : buf<32x32xf32, stages=1>\n  %17 = const {value=0} : i32\n"
        "  %18 = const {value=1} : i32\n"
        "  %19 = for %20 = %17 to %2 step %18 carry (%21 = %15) : tile<32x32xf32> {\n"
        "    %22 = add %21, %15 : tile<32x32xf32>\n    buf_store %16, %17, %22\n"
        "    %23 = buf_load %16, %17 : tile<32x32xf32>\n"
        "    %24 = trans %23 {list=[1, 0]} : tile<32x32xf32>\n    yield %24\n  }\n"
        "  store %14, %19\n  return\n}\n";
    Buffer y = buffer_new(DTYPE_F32, 1024), x = buffer_new(DTYPE_F32, 1024);
    buffer_random(&x, 23, -9, 9);
    Arg args[] = {{.buffer = &y}, {.buffer = &x}, {.i = 3}};
    expect_agreement("turn", text, 3, args, (Grid){1, 1, 1, 0}, 0, 0);
    cr_expect_eq(needed_barriers(text, 3).in_loops, 2);
    expect_assembles("turn", text, false);
    buffer_free(&y), buffer_free(&x);
}

// ---- the emulator's copies --------------------------------------------------------------------

/// What a thread of the block below does: copies 16 bytes, changes their source, waits.
typedef struct Late {
    uint64_t source[32][2];
    uint64_t before_wait[32][2];
} Late;

static void copy_late(const void *args)
{
    Late *late = (Late *)(uintptr_t)*(const uint64_t *)args;
    EmuThread *t = fiber_user(fiber_self());
    uint64_t to = (uint64_t)(uintptr_t)(t->block->shared + 16 * t->id), *from = late->source[t->id];
    uint64_t issue[] = {to, (uint64_t)(uintptr_t)from, (uint64_t)-1}, place = (uint64_t)-1;
    emu_copy_issue(t, 16, issue, NULL);
    emu_copy_commit(t, 0, &place, NULL);
    emu_copy_wait(t, 1, &place, NULL);
    memcpy(late->before_wait[t->id], (const void *)(uintptr_t)to, 16);
    from[0] += 100;
    emu_copy_wait(t, 0, &place, NULL);
}

Test(gpu_shared, an_emulated_copy_reads_and_writes_when_it_lands)
{
    for (uint64_t seed = 0; seed < 4; seed++) {
        Diag diag;
        Late late = {0};
        uint64_t at = (uint64_t)(uintptr_t)&late;
        diag_init(&diag, heap_default());
        EmuBlock *b = emu_block_new(32, 512);
        cr_assert_not_null(b);
        b->entry = copy_late, b->args = &at, b->diag = &diag, b->seed = seed;
        memset(b->shared, 0xee, 512);
        for (uint64_t i = 0; i < 32; i++)
            late.source[i][0] = i, late.source[i][1] = 2 * i;
        emu_block_run(b);
        cr_assert(!b->has_fault, "%s", rendered(&diag));
        for (uint64_t i = 0; i < 32; i++) {
            const uint64_t *got = (const uint64_t *)b->shared + 2 * i;
            cr_expect_eq(late.before_wait[i][0], 0xeeeeeeeeeeeeeeeeu, "landed too early");
            cr_expect_eq(got[0], i + 100);
            cr_expect_eq(got[1], 2 * i);
        }
        cr_expect_eq(b->counters->copies, 32);
        cr_expect_eq(b->counters->copies_in_flight, 1);
        emu_block_free(b);
        diag_reset(&diag);
    }
}
