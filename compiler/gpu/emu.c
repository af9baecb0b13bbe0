// compiler/gpu/emu.c - blocks of fibers: scheduling, faults, and the image that runs them.
#include "compiler/gpu/emu.h"

#include <stdio.h>
#include <stdlib.h>

#include <llvm-c/Error.h>
#include <llvm-c/LLJIT.h>
#include <llvm-c/Orc.h>

#include "compiler/gpu/nvptx.h"

// ---- the host as a target ---------------------------------------------------------------------

KilnStatus emu_open(LlvmCx *out, Diag *diag)
{
    llvm_setup();
    char *triple = LLVMGetDefaultTargetTriple(), *cpu = LLVMGetHostCPUName(),
         *features = LLVMGetHostCPUFeatures();
    LlvmTarget t = {.triple = triple, .cpu = cpu, .features = features, .is_pic = true};
    KilnStatus st = llvm_open("kiln", &t, out, diag);
    LLVMDisposeMessage(triple), LLVMDisposeMessage(cpu), LLVMDisposeMessage(features);
    return st;
}

// ---- threads ----------------------------------------------------------------------------------

/// What emulated code calls for everything that is not plain arithmetic. `code`: EmuOp | imm << 16.
static void on_call(int64_t code, const uint64_t *args, uint64_t *ret)
{
    EmuThread *t = fiber_user(fiber_self());
    emu_handlers[code & 0xffff](t, (int32_t)(code >> 16), args, ret);
}

/// The same for an access that is checked and then made by the code itself.
static void on_touch(int64_t code, uint64_t at, int64_t place)
{
    EmuThread *t = fiber_user(fiber_self());
    int32_t imm = (int32_t)(code >> 16);
    t->place = place;
    if ((code & 0xffff) == EMU_SHARED)
        emu_touch_shared(t, at, imm & 0xff, (EmuTouch)(imm >> 8));
    else
        emu_touch_global(t, at, imm, (code & 0xffff) == EMU_CHECK_WRITE ? EMU_WRITES : EMU_READS);
}

static void thread_main(void *user)
{
    EmuThread *t = user;
    t->block->entry(t->block->args);
    t->state = EMU_DONE;
}

/// Leaves a thread: the next lane of its warp that can run this turn does, else the scheduler.
static void hand_on(EmuThread *t)
{
    EmuBlock *b = t->block;
    for (int32_t i = t->id % EMU_LANES + 1; i < EMU_LANES; i++) {
        EmuThread *next = t - t->id % EMU_LANES + i;
        if (next->state != EMU_READY || next->turn == b->turn) continue;
        next->turn = b->turn;
        b->running = next;
        if (fiber_pass(t->fiber, next->fiber)) return;
        next->turn = b->turn - 1;
        break;
    }
    fiber_yield(t->fiber);
}

void emu_collect(EmuThread *t, EmuServe serve, int32_t imm, const uint64_t *args, uint64_t *ret,
                 int64_t place)
{
    t->state = serve ? EMU_AT_COLLECTIVE : EMU_AT_BARRIER;
    t->serve = serve, t->imm = imm, t->args = args, t->ret = ret, t->place = place;
    hand_on(t);
}

Span emu_span(int64_t place)
{
    return place < 0 ? NO_SPAN : (Span){0, (int32_t)(place >> 32), (int32_t)place};
}

void emu_program_of(const EmuBlock *b, int64_t i, int32_t out[3])
{
    int64_t x = MAX(b->grid[0], 1), y = MAX(b->grid[1], 1);
    out[0] = (int32_t)(i % x), out[1] = (int32_t)(i / x % y), out[2] = (int32_t)(i / x / y);
}

static DiagItem *report(EmuThread *t, const char *code, const char *fmt, va_list args)
{
    EmuBlock *b = t->block;
    char what[256];
    vsnprintf(what, sizeof what, fmt, args);
    b->has_fault = true;
    return diag_add(b->diag, DIAG_ERROR, code, emu_span(t->place),
                    "%s (program (%d, %d, %d), thread %d)", what, b->program[0], b->program[1],
                    b->program[2], t->id);
}

DiagItem *emu_report(EmuThread *t, const char *code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    DiagItem *item = report(t, code, fmt, args);
    va_end(args);
    return item;
}

void emu_fault(EmuThread *t, const char *code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    report(t, code, fmt, args);
    va_end(args);
    emu_stop(t);
}

void emu_stop(EmuThread *t)
{
    // Never resumed: the block has ended, its fibers start afresh.
    if (t->block->running == t) fiber_yield(t->fiber);
}

void emu_yield(EmuThread *t)
{
    t->n_atomics = 0;
    if (t->block->running == t)
        hand_on(t);
    else
        emu_flush(t - t->id % EMU_LANES);
}

void emu_breathe(EmuThread *t)
{
    enum { OFTEN = 32 };
    if (++t->n_atomics >= OFTEN) emu_yield(t);
}

// ---- scheduling -------------------------------------------------------------------------------

static void resume(EmuBlock *b, EmuThread *t)
{
    b->running = t;
    t->turn = b->turn;
    fiber_resume(t->fiber);
    b->running = NULL;
}

/// Runs the ready lanes of a warp until each waits for more than its warp, is done, or lets others
/// run. @return some lane can go on
static bool run_warp(EmuBlock *b, EmuThread *lanes)
{
    for (;;) {
        int32_t waiting = 0, ready = 0;
        b->turn++;
        for (int32_t i = 0; i < EMU_LANES && !b->has_fault; i++)
            if (lanes[i].state == EMU_READY && lanes[i].turn != b->turn) resume(b, &lanes[i]);
        for (int32_t i = 0; i < EMU_LANES; i++) {
            ready += lanes[i].state == EMU_READY;
            waiting += lanes[i].state == EMU_AT_COLLECTIVE && lanes[i].serve == lanes[0].serve &&
                       lanes[i].imm == lanes[0].imm && lanes[i].place == lanes[0].place;
        }
        emu_flush(lanes);
        if (waiting < EMU_LANES || b->has_fault) return ready > 0;
        lanes[0].serve(lanes, lanes[0].imm);
        for (int32_t i = 0; i < EMU_LANES; i++)
            lanes[i].state = EMU_READY;
    }
}

static const char *doing(const EmuThread *t)
{
    return t->state == EMU_AT_BARRIER      ? "waits at a barrier"
           : t->state == EMU_AT_COLLECTIVE ? "exchanges data with its warp"
                                           : "has ended";
}

/// Nobody can go on: names the first thread that waits and the first that does something else.
static void report_divergence(EmuBlock *b)
{
    EmuThread *first = NULL, *other = NULL;
    for (int32_t i = 0; i < b->n_threads && !first; i++)
        if (b->threads[i].state != EMU_DONE) first = &b->threads[i];
    ASSERT(first);
    for (int32_t i = 0; i < b->n_threads && !other; i++) {
        EmuThread *t = &b->threads[i];
        if (t->state != first->state || t->place != first->place) other = t;
    }
    DiagItem *item =
        emu_report(first, "E1104", "divergence: a thread %s that others never reach", doing(first));
    if (other)
        diag_note(b->diag, item, emu_span(other->place), "thread %d %s", other->id, doing(other));
}

static void begin(EmuBlock *b)
{
    b->number++, b->epoch = 1;
    b->now = stamp_of(b->number, b->epoch, 0);
    b->known = 0, b->has_news = false;
    b->counters->programs++;
    for (int32_t i = 0; i < b->n_threads; i++) {
        EmuThread *t = &b->threads[i];
        t->state = EMU_READY, t->place = -1, t->cursor = 0, t->n_atomics = 0, t->known = 0;
        if (t->async) t->async->reset(t);
        fiber_start(t->fiber, thread_main, t);
    }
}

/// All threads have arrived: what one of them knows, all know.
static void pass_barrier(EmuBlock *b)
{
    b->counters->barriers++;
    b->epoch++;
    b->now = stamp_of(b->number, b->epoch, 0);
    for (int32_t i = 0; b->has_news && i < b->n_threads; i++)
        b->known = order_join(&b->order, b->known, b->threads[i].known);
    for (int32_t i = 0; i < b->n_threads; i++)
        b->threads[i].known = b->known, b->threads[i].state = EMU_READY;
    b->has_news = false;
}

void emu_block_run(EmuBlock *b)
{
    begin(b);
    while (!b->has_fault) {
        int32_t done = 0, at_barrier = 0;
        bool again = false;
        for (int32_t i = 0; i < b->n_threads && !b->has_fault; i += EMU_LANES)
            again |= run_warp(b, &b->threads[i]);
        if (again && !b->has_fault) continue;
        for (int32_t i = 0; i < b->n_threads; i++) {
            done += b->threads[i].state == EMU_DONE;
            at_barrier += b->threads[i].state == EMU_AT_BARRIER;
        }
        if (b->has_fault || done == b->n_threads) return;
        if (at_barrier < b->n_threads) {
            report_divergence(b);
            return;
        }
        pass_barrier(b);
    }
}

// ---- images -----------------------------------------------------------------------------------

/// Bytes of shadow for global memory that one image may hold: 128 MiB or more of what it watches.
#define GLOBAL_SHADOW ((size_t)1 << 30)
/// From here on a new launch begins with an empty shadow.
#define STALE_SHADOW ((size_t)1 << 26)

typedef struct EmuImage {
    LLVMOrcLLJITRef jit;
    void (*entry)(const void *args);
    int32_t n_threads, shared_bytes;
    int32_t n_params;
    CodeParam params[CODE_MAX_PARAMS];
    EmuBlock *idle; ///< kept from the last run
    ImageCounters counters;
} EmuImage;

void emu_block_free(EmuBlock *b)
{
    if (!b) return;
    for (int32_t i = 0; i < b->n_threads; i++) {
        EmuThread *t = &b->threads[i];
        if (t->async) t->async->free(t);
        fiber_free(t->fiber);
    }
    heap_free(heap_default(), b->shared);
    heap_free(heap_default(), b->logs);
    heap_free(heap_default(), b->is_watched);
    shadow_reset(&b->within);
    shadow_reset(&b->global);
    order_reset(&b->order);
    heap_free(heap_default(), b);
}

EmuBlock *emu_block_new(int32_t n_threads, int32_t shared_bytes)
{
    EmuBlock *b = heap_new(heap_default(), EmuBlock);
    if (!b) return NULL;
    size_t bytes = (size_t)MAX(shared_bytes, 16);
    b->n_threads = n_threads, b->shared_bytes = shared_bytes;
    b->shared = heap_alloc(heap_default(), bytes, 1024);
    b->logs = heap_array(heap_default(), EmuLog, n_threads / EMU_LANES);
    b->counters = &b->own_counters;
    shadow_init(&b->within, SIZE_MAX);
    shadow_init(&b->global, GLOBAL_SHADOW);
    bool good = b->shared && b->logs;
    for (int32_t i = 0; i < b->n_threads && good; i++) {
        b->threads[i] = (EmuThread){.block = b, .id = i, .fiber = fiber_new()};
        good = b->threads[i].fiber != NULL;
    }
    if (good) return b;
    emu_block_free(b);
    return NULL;
}

static int32_t range_with(int32_t n, const MemRange *ranges, uintptr_t at)
{
    for (int32_t i = 0; i < n; i++)
        if (at >= (uintptr_t)ranges[i].begin && at < (uintptr_t)ranges[i].begin + ranges[i].bytes)
            return i;
    return -1;
}

/// Takes the ranges over and marks those that written arguments point into.
static bool watch_ranges(EmuBlock *b, const EmuImage *img, int32_t n, const MemRange *ranges)
{
    memset(b->near, 0, sizeof b->near);
    b->n_ranges = ranges ? n : 0, b->ranges = ranges;
    if (b->n_ranges > b->cap_ranges) {
        heap_free(heap_default(), b->is_watched);
        b->is_watched = heap_array(heap_default(), bool, b->n_ranges);
        b->cap_ranges = b->is_watched ? b->n_ranges : 0;
        if (!b->is_watched) return false;
    } else if (b->n_ranges) {
        memset(b->is_watched, 0, sizeof(bool) * (size_t)b->n_ranges);
    }
    for (int32_t i = 0; i < img->n_params; i++) {
        const CodeParam *p = &img->params[i];
        uintptr_t at;
        if (p->kind != SPEC_PTR || !p->is_written) continue;
        memcpy(&at, (const char *)b->args + p->offset, sizeof at);
        int32_t r = range_with(b->n_ranges, b->ranges, at);
        if (r >= 0) b->is_watched[r] = true;
    }
    return true;
}

/// A block for one launch: the one that the last launch left, or a new one.
static EmuBlock *take_block(EmuImage *img)
{
    EmuBlock *b = __atomic_exchange_n(&img->idle, NULL, __ATOMIC_ACQ_REL);
    if (!b) b = emu_block_new(img->n_threads, img->shared_bytes);
    if (!b) return NULL;
    bool is_old = b->number >= 1u << 29 || b->global.bytes > STALE_SHADOW;
    if (is_old) shadow_reset(&b->global), shadow_reset(&b->within), b->number = 0;
    order_clear(&b->order);
    b->own_counters = (ImageCounters){0};
    b->has_fault = false;
    return b;
}

static void leave_block(EmuImage *img, EmuBlock *b)
{
    int64_t *to = (int64_t *)&img->counters;
    const int64_t *from = (const int64_t *)&b->own_counters;
    int64_t most = MAX(img->counters.copies_in_flight, b->own_counters.copies_in_flight);
    for (size_t i = 0; i < sizeof img->counters / sizeof *to; i++)
        __atomic_fetch_add(&to[i], from[i], __ATOMIC_RELAXED);
    img->counters.copies_in_flight = most;
    b->ranges = NULL, b->diag = NULL, b->args = NULL;
    if (__atomic_load_n(&img->idle, __ATOMIC_ACQUIRE))
        emu_block_free(b);
    else
        emu_block_free(__atomic_exchange_n(&img->idle, b, __ATOMIC_ACQ_REL));
}

static KilnStatus emu_run(void *self, const void *args, const Grid *grid, int64_t first, int64_t n,
                          int32_t n_ranges, const MemRange *ranges, Diag *diag)
{
    EmuImage *img = self;
    if (n <= 0) return KILN_OK;
    EmuBlock *b = take_block(img);
    if (b) b->entry = img->entry, b->args = args, b->diag = diag;
    if (!b || !watch_ranges(b, img, n_ranges, ranges)) {
        emu_block_free(b);
        return fail(diag, KILN_ERR_NOMEM, "K102", "no memory for %d emulated threads",
                    img->n_threads);
    }
    b->grid[0] = grid->x, b->grid[1] = grid->y, b->grid[2] = grid->z;
    b->first = first, b->first_number = b->number + 1;
    for (int64_t i = first; i < first + n && !b->has_fault; i++) {
        emu_program_of(b, i, b->program);
        emu_block_run(b);
    }
    KilnStatus st = b->has_fault ? KILN_ERR_DEVICE : KILN_OK;
    leave_block(img, b);
    return st;
}

static void emu_free(void *self)
{
    EmuImage *img = self;
    if (!img) return;
    emu_block_free(img->idle);
    if (img->jit) LLVMConsumeError(LLVMOrcDisposeLLJIT(img->jit));
    heap_free(heap_default(), img);
}

static void emu_counters(const void *self, ImageCounters *out)
{
    *out = ((const EmuImage *)self)->counters;
}

static const ImageOps emu_ops = {.run = emu_run, .free = emu_free, .counters = emu_counters};

static KilnStatus link_failed(LLVMErrorRef e, Diag *diag)
{
    char *text = LLVMGetErrorMessage(e);
    KilnStatus st = fail(diag, KILN_ERR_UNSUPPORTED, "K136", "cannot link emulated code: %s", text);
    LLVMDisposeErrorMessage(text);
    return st;
}

static KilnStatus define_callback(LLVMOrcLLJITRef jit, Diag *diag)
{
    const struct {
        const char *name;
        uintptr_t at;
    } ours[] = {{"kiln_emu", (uintptr_t)on_call}, {"kiln_touch", (uintptr_t)on_touch}};
    LLVMOrcCSymbolMapPair pairs[COUNT_OF(ours)];
    for (int32_t i = 0; i < COUNT_OF(ours); i++)
        pairs[i] = (LLVMOrcCSymbolMapPair){
            LLVMOrcLLJITMangleAndIntern(jit, ours[i].name),
            {(LLVMOrcExecutorAddress)ours[i].at,
             {LLVMJITSymbolGenericFlagsExported | LLVMJITSymbolGenericFlagsCallable, 0}}};
    LLVMOrcJITDylibRef lib = LLVMOrcLLJITGetMainJITDylib(jit);
    LLVMErrorRef e = LLVMOrcJITDylibDefine(lib, LLVMOrcAbsoluteSymbols(pairs, COUNT_OF(ours)));
    if (e) return link_failed(e, diag);
    LLVMOrcDefinitionGeneratorRef process; // memcpy and the like
    e = LLVMOrcCreateDynamicLibrarySearchGeneratorForProcess(
        &process, LLVMOrcLLJITGetGlobalPrefix(jit), NULL, NULL);
    if (e) return link_failed(e, diag);
    LLVMOrcJITDylibAddGenerator(lib, process);
    return KILN_OK;
}

static KilnStatus link_object(EmuImage *img, const Code *c, Diag *diag)
{
    KilnStatus st = KILN_OK;
    llvm_setup();
    LLVMErrorRef e = LLVMOrcCreateLLJIT(&img->jit, NULL);
    if (e) return link_failed(e, diag);
    TRY(define_callback(img->jit, diag));
    LLVMMemoryBufferRef object =
        LLVMCreateMemoryBufferWithMemoryRangeCopy((const char *)c->bytes, c->size, "kernel");
    e = LLVMOrcLLJITAddObjectFile(img->jit, LLVMOrcLLJITGetMainJITDylib(img->jit),
                                  object); // takes the buffer
    if (e) TRY(link_failed(e, diag));
    LLVMOrcExecutorAddress at = 0;
    e = LLVMOrcLLJITLookup(img->jit, &at, c->entry);
    if (e) TRY(link_failed(e, diag));
    img->entry = (void (*)(const void *))(uintptr_t)at;
done:
    return st;
}

KilnStatus emu_image_load(const Code *c, Func *fn, Image *out, Diag *diag)
{
    KilnStatus st = KILN_OK;
    EmuImage *img = heap_new(heap_default(), EmuImage);
    (void)fn; // places in reports are byte offsets of file 0, which the code carries itself
    if (!img) return fail(diag, KILN_ERR_NOMEM, "K102", "no memory for an emulated kernel");
    img->n_threads = EMU_LANES * c->num_warps, img->shared_bytes = c->shared_bytes;
    img->n_params = c->n_params;
    memcpy(img->params, c->params, sizeof img->params);
    TRY(link_object(img, c, diag));
    out->ops = &emu_ops;
    out->self = img;
    out->entry = NULL;
    img = NULL;
done:
    emu_free(img);
    return st;
}
