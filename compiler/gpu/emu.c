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

static void thread_main(void *user)
{
    EmuThread *t = user;
    t->block->entry(t->block->args);
    t->state = EMU_DONE;
}

void emu_collect(EmuThread *t, EmuServe serve, int32_t imm, const uint64_t *args, uint64_t *ret,
                 int64_t place)
{
    t->state = serve ? EMU_AT_COLLECTIVE : EMU_AT_BARRIER;
    t->serve = serve, t->imm = imm, t->args = args, t->ret = ret, t->place = place;
    fiber_yield(t->fiber);
}

static Span span_of(int64_t place)
{
    return place < 0 ? NO_SPAN : (Span){0, (int32_t)(place >> 32), (int32_t)place};
}

static DiagItem *report(EmuThread *t, const char *code, const char *what)
{
    EmuBlock *b = t->block;
    b->has_fault = true;
    return diag_add(b->diag, DIAG_ERROR, code, span_of(t->place),
                    "%s (program (%d, %d, %d), thread %d)", what, b->program[0], b->program[1],
                    b->program[2], t->id);
}

void emu_fault(EmuThread *t, const char *code, const char *fmt, ...)
{
    char what[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    report(t, code, what);
    // Never resumed: the block has ended, its fibers start afresh.
    if (t->block->running == t) fiber_yield(t->fiber);
}

// ---- scheduling -------------------------------------------------------------------------------

static void resume(EmuBlock *b, EmuThread *t)
{
    b->running = t;
    fiber_resume(t->fiber);
    b->running = NULL;
}

/// Runs the ready lanes of a warp until each waits for more than its warp, or is done.
static void run_warp(EmuBlock *b, EmuThread *lanes)
{
    for (bool again = true; again && !b->has_fault;) {
        int32_t waiting = 0;
        again = false;
        for (int32_t i = 0; i < EMU_LANES && !b->has_fault; i++) {
            if (lanes[i].state == EMU_READY) resume(b, &lanes[i]);
            waiting += lanes[i].state == EMU_AT_COLLECTIVE && lanes[i].serve == lanes[0].serve &&
                       lanes[i].imm == lanes[0].imm && lanes[i].place == lanes[0].place;
        }
        if (waiting == EMU_LANES && !b->has_fault) {
            lanes[0].serve(lanes, lanes[0].imm);
            for (int32_t i = 0; i < EMU_LANES; i++)
                lanes[i].state = EMU_READY;
            again = true;
        }
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
    char what[128];
    snprintf(what, sizeof what, "divergence: a thread %s that others never reach", doing(first));
    DiagItem *item = report(first, "E1104", what);
    if (other)
        diag_note(b->diag, item, span_of(other->place), "thread %d %s", other->id, doing(other));
}

void emu_block_run(EmuBlock *b)
{
    b->epoch = 1;
    memset(b->shadow, 0, sizeof *b->shadow * (size_t)b->shared_bytes);
    for (int32_t i = 0; i < b->n_threads; i++) {
        EmuThread *t = &b->threads[i];
        t->state = EMU_READY, t->place = -1;
        if (t->async) t->async->reset(t);
        fiber_start(t->fiber, thread_main, t);
    }
    while (!b->has_fault) {
        int32_t done = 0, at_barrier = 0;
        for (int32_t i = 0; i < b->n_threads && !b->has_fault; i += EMU_LANES)
            run_warp(b, &b->threads[i]);
        for (int32_t i = 0; i < b->n_threads; i++) {
            done += b->threads[i].state == EMU_DONE;
            at_barrier += b->threads[i].state == EMU_AT_BARRIER;
        }
        if (b->has_fault || done == b->n_threads) return;
        if (at_barrier < b->n_threads) {
            report_divergence(b);
            return;
        }
        b->epoch++;
        for (int32_t i = 0; i < b->n_threads; i++)
            b->threads[i].state = EMU_READY;
    }
}

// ---- images -----------------------------------------------------------------------------------

typedef struct EmuImage {
    LLVMOrcLLJITRef jit;
    void (*entry)(const void *args);
    int32_t n_threads, shared_bytes;
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
    heap_free(heap_default(), b->shadow);
    heap_free(heap_default(), b);
}

EmuBlock *emu_block_new(int32_t n_threads, int32_t shared_bytes)
{
    EmuBlock *b = heap_new(heap_default(), EmuBlock);
    if (!b) return NULL;
    size_t bytes = (size_t)MAX(shared_bytes, 16);
    b->n_threads = n_threads, b->shared_bytes = shared_bytes;
    b->shared = heap_alloc(heap_default(), bytes, 1024);
    b->shadow = heap_array(heap_default(), EmuShadow, bytes);
    b->counters = &b->own_counters;
    bool good = b->shared && b->shadow;
    for (int32_t i = 0; i < b->n_threads && good; i++) {
        b->threads[i] = (EmuThread){.block = b, .id = i, .fiber = fiber_new()};
        good = b->threads[i].fiber != NULL;
    }
    if (good) return b;
    emu_block_free(b);
    return NULL;
}

static KilnStatus emu_run(void *self, const void *args, const Grid *grid, int64_t first, int64_t n,
                          int32_t n_ranges, const MemRange *ranges, Diag *diag)
{
    EmuImage *img = self;
    if (n <= 0) return KILN_OK;
    EmuBlock *b = emu_block_new(img->n_threads, img->shared_bytes);
    if (!b)
        return fail(diag, KILN_ERR_NOMEM, "K102", "no memory for %d emulated threads",
                    img->n_threads);
    b->entry = img->entry, b->args = args, b->diag = diag, b->ranges = ranges,
    b->n_ranges = n_ranges, b->counters = &img->counters;
    b->grid[0] = grid->x, b->grid[1] = grid->y, b->grid[2] = grid->z;
    for (int64_t i = first; i < first + n && !b->has_fault; i++) {
        b->program[0] = (int32_t)(i % grid->x);
        b->program[1] = (int32_t)(i / grid->x % grid->y);
        b->program[2] = (int32_t)(i / grid->x / grid->y);
        emu_block_run(b);
    }
    KilnStatus st = b->has_fault ? KILN_ERR_DEVICE : KILN_OK;
    emu_block_free(b);
    return st;
}

static void emu_free(void *self)
{
    EmuImage *img = self;
    if (!img) return;
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
    LLVMOrcCSymbolMapPair pair = {
        LLVMOrcLLJITMangleAndIntern(jit, "kiln_emu"),
        {(LLVMOrcExecutorAddress)(uintptr_t)on_call,
         {LLVMJITSymbolGenericFlagsExported | LLVMJITSymbolGenericFlagsCallable, 0}}};
    LLVMOrcJITDylibRef lib = LLVMOrcLLJITGetMainJITDylib(jit);
    LLVMErrorRef e = LLVMOrcJITDylibDefine(lib, LLVMOrcAbsoluteSymbols(&pair, 1));
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
    img->n_threads = 32 * c->num_warps, img->shared_bytes = c->shared_bytes;
    TRY(link_object(img, c, diag));
    out->ops = &emu_ops;
    out->self = img;
    out->entry = NULL;
    img = NULL;
done:
    emu_free(img);
    return st;
}
