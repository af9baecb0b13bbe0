// runtime/api.c - the public API: errors, devices, buffers, sources, kernels, launches, graphs.
#include "runtime/api.h"

#include <stdio.h>
#include <stdlib.h>

#include "runtime/graph.h"
#include "runtime/model.h"

// ---- errors and memory ------------------------------------------------------------------------

KilnError *kiln_error_new(void)
{
    KilnError *e = calloc(1, sizeof *e);
    if (e) diag_init(&e->diag, heap_default());
    return e;
}

void kiln_error_free(KilnError *e)
{
    if (!e) return;
    diag_reset(&e->diag);
    arena_reset(&e->diag.arena);
    strbuf_free(&e->text);
    free(e);
}

const char *kiln_error_message(const KilnError *e)
{
    return e && e->text.data ? e->text.data : "";
}

const char *kiln_error_code(const KilnError *e)
{
    for (int32_t i = 0; e && i < e->diag.items.len; i++)
        if (e->diag.items.data[i]->level == DIAG_ERROR) return e->diag.items.data[i]->code;
    return "";
}

void kiln_free(void *text)
{
    free(text);
}

const char *kiln_version(void)
{
    return KILN_VERSION_TEXT;
}

Diag *api_begin(KilnError *e)
{
    if (!e) return NULL;
    diag_reset(&e->diag);
    strbuf_free(&e->text);
    e->text = (StrBuf){0};
    return &e->diag;
}

KilnStatus api_end(KilnError *e, KilnStatus st)
{
    if (e) diag_render(&e->diag, &e->text);
    return st;
}

static size_t size_of(const void *theirs)
{
    size_t size;
    memcpy(&size, theirs, sizeof size);
    return size;
}

KilnStatus api_options(void *ours, size_t our_size, const void *theirs, Diag *diag)
{
    if (!theirs) return KILN_OK;
    size_t size = size_of(theirs);
    if (size < sizeof size)
        return fail(diag, KILN_ERR_INPUT, "K601",
                    "an options struct has size %zu (expected its sizeof)", size);
    memcpy(ours, theirs, MIN(size, our_size));
    return KILN_OK;
}

KilnStatus api_answer(void *theirs, const void *ours, size_t our_size, Diag *diag)
{
    size_t size = size_of(theirs);
    if (size < sizeof size)
        return fail(diag, KILN_ERR_INPUT, "K601",
                    "an answer struct has size %zu (expected its sizeof)", size);
    memcpy((char *)theirs + sizeof size, (const char *)ours + sizeof size,
           MIN(size, our_size) - sizeof size);
    return KILN_OK;
}

// ---- devices ----------------------------------------------------------------------------------

int32_t kiln_device_count(void)
{
    const DeviceKind *kinds;
    return device_kinds(&kinds);
}

const char *kiln_device_name(int32_t index, const char **what, const char **why_not)
{
    const DeviceKind *kinds;
    if (index < 0 || index >= device_kinds(&kinds)) return NULL;
    if (what) *what = kinds[index].what;
    if (why_not) *why_not = kinds[index].why_not;
    return kinds[index].name;
}

static void forward_log(void *user, LogLevel level, const char *component, const char *line)
{
    const KilnDevice *d = user;
    d->log_fn(d->log_user, (int)level, component, line);
}

KilnStatus kiln_device_open(const KilnDeviceOptions *options, KilnDevice **out, KilnError *error)
{
    KilnStatus st = KILN_OK;
    Diag *diag = api_begin(error);
    KilnDeviceOptions o = {0};
    KilnDevice *d = NULL;
    *out = NULL;
    TRY(api_options(&o, sizeof o, options, diag));
    d = calloc(1, sizeof *d);
    if (!d) TRY(fail(diag, KILN_ERR_NOMEM, "K102", "no memory for a device"));
    pthread_mutexattr_t again; // a callback of a step may make calls on the same device
    pthread_mutexattr_init(&again);
    pthread_mutexattr_settype(&again, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&d->lock, &again);
    pthread_mutexattr_destroy(&again);
    arena_init(&d->arena, heap_default());
    d->log_fn = o.log;
    d->log_user = o.log_user;
    d->log = (Log){.sink = o.log ? forward_log : NULL, .user = d, .level = (LogLevel)o.log_level};
    DeviceOptions device = {.name = o.name, .n_threads = o.n_threads, .log = &d->log};
    TRY(device_open(&device, &d->dev, diag));
    KernelCacheOptions cache = {.cache_dir = o.cache_dir,
                                .folder = o.kernel_dir,
                                .texts = kernel_texts,
                                .n_texts = kernel_n_texts};
    TRY(kernel_cache_open(d->dev, &cache, &d->kernels, diag));
    *out = d;
    d = NULL;
done:
    kiln_device_close(d);
    return api_end(error, st);
}

void kiln_device_close(KilnDevice *d)
{
    if (!d) return;
    kernel_cache_close(d->kernels);
    device_close(d->dev);
    for (int32_t i = 0; i < d->sources.len; i++)
        kiln_source_free(d->sources.data[i]);
    arena_reset(&d->arena);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

KilnStatus kiln_device_info(KilnDevice *d, KilnDeviceInfo *info, KilnError *error)
{
    Diag *diag = api_begin(error);
    pthread_mutex_lock(&d->lock);
    const DeviceFacts *f = &d->dev->facts;
    const DeviceCounters *c = &d->dev->counters;
    KilnDeviceInfo answer = {.n_threads = f->n_threads,
                             .memory_total = f->memory_total,
                             .memory_free = device_memory_free(d->dev),
                             .bytes_live = c->bytes_live,
                             .bytes_peak = c->bytes_peak,
                             .compiles = c->compiles,
                             .cached_disk = c->cached_disk,
                             .cached_mem = c->cached_mem,
                             .records = c->records,
                             .launches = c->launches,
                             .allocations = c->allocations};
    snprintf(answer.name, sizeof answer.name, "%s", f->name);
    snprintf(answer.model, sizeof answer.model, "%s", f->model);
    pthread_mutex_unlock(&d->lock);
    return api_end(error, api_answer(info, &answer, sizeof answer, diag));
}

KilnStatus kiln_bandwidth_ceiling(KilnDevice *d, double *read, double *copy, KilnError *error)
{
    DeviceBandwidth b;
    Diag *diag = api_begin(error);
    pthread_mutex_lock(&d->lock);
    KilnStatus st = device_measure_bandwidth(d->dev, 0, &b, diag);
    pthread_mutex_unlock(&d->lock);
    if (read) *read = b.read;
    if (copy) *copy = b.copy;
    return api_end(error, st);
}

KilnStatus kiln_buffer_alloc(KilnDevice *d, size_t bytes, KilnBuffer **out, KilnError *error)
{
    Diag *diag = api_begin(error);
    *out = NULL;
    KilnBuffer *b = calloc(1, sizeof *b);
    if (!b) return api_end(error, fail(diag, KILN_ERR_NOMEM, "K102", "no memory for a buffer"));
    *b = (KilnBuffer){.device = d, .bytes = bytes};
    pthread_mutex_lock(&d->lock);
    KilnStatus st = device_alloc(d->dev, bytes, "buffer", &b->at, diag);
    pthread_mutex_unlock(&d->lock);
    if (st == KILN_OK)
        *out = b;
    else
        free(b);
    return api_end(error, st);
}

void kiln_buffer_free(KilnBuffer *b)
{
    if (!b) return;
    pthread_mutex_lock(&b->device->lock);
    device_free(b->device->dev, b->at);
    pthread_mutex_unlock(&b->device->lock);
    free(b);
}

static KilnStatus check_part(const KilnBuffer *b, size_t offset, size_t bytes, Diag *diag)
{
    if (offset <= b->bytes && bytes <= b->bytes - offset) return KILN_OK;
    return fail(diag, KILN_ERR_INPUT, "K602", "%zu bytes at %zu of a buffer of %zu", bytes, offset,
                b->bytes);
}

KilnStatus kiln_buffer_upload(KilnBuffer *b, size_t offset, const void *data, size_t bytes,
                              KilnError *error)
{
    KilnStatus st = check_part(b, offset, bytes, api_begin(error));
    pthread_mutex_lock(&b->device->lock);
    if (st == KILN_OK) device_upload(b->device->dev, (char *)b->at + offset, data, bytes);
    if (st == KILN_OK) st = device_check(b->device->dev, error ? &error->diag : NULL);
    pthread_mutex_unlock(&b->device->lock);
    return api_end(error, st);
}

KilnStatus kiln_buffer_download(const KilnBuffer *b, size_t offset, void *data, size_t bytes,
                                KilnError *error)
{
    KilnStatus st = check_part(b, offset, bytes, api_begin(error));
    pthread_mutex_lock(&b->device->lock);
    if (st == KILN_OK) device_download(b->device->dev, data, (const char *)b->at + offset, bytes);
    if (st == KILN_OK) st = device_check(b->device->dev, error ? &error->diag : NULL);
    pthread_mutex_unlock(&b->device->lock);
    return api_end(error, st);
}

// ---- compiler ---------------------------------------------------------------------------------

static KilnStatus source_wrap(KilnStatus st, Source *s, KilnSource **out, Diag *diag)
{
    *out = NULL;
    if (st != KILN_OK) return st;
    KilnSource *source = calloc(1, sizeof *source);
    if (!source) {
        source_close(s);
        return fail(diag, KILN_ERR_NOMEM, "K102", "no memory for a source");
    }
    *source = (KilnSource){.refs = 1, .source = s};
    *out = source;
    return KILN_OK;
}

KilnStatus kiln_source_load(const char *path, KilnSource **out, KilnError *error)
{
    Source *s = NULL;
    Diag *diag = api_begin(error);
    KilnStatus st = source_open(path, &s, diag);
    return api_end(error, source_wrap(st, s, out, diag));
}

KilnStatus kiln_source_from_text(const char *name, const char *text, size_t len, KilnSource **out,
                                 KilnError *error)
{
    Source *s = NULL;
    Diag *diag = api_begin(error);
    KilnStatus st = source_from_text(name, (Str){text, len}, &s, diag);
    return api_end(error, source_wrap(st, s, out, diag));
}

void kiln_source_free(KilnSource *s)
{
    if (!s || __atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL)) return;
    source_close(s->source);
    free(s);
}

const char *kiln_source_function(const KilnSource *s, int32_t index)
{
    return index >= 0 && index < source_n_kernels(s->source) ? source_kernel(s->source, index)
                                                             : NULL;
}

/// Kernels may read their source again, so a device keeps the sources it compiled from.
static void keep_source(KilnDevice *d, KilnSource *s)
{
    for (int32_t i = 0; i < d->sources.len; i++)
        if (d->sources.data[i] == s) return;
    __atomic_add_fetch(&s->refs, 1, __ATOMIC_RELAXED);
    vec_push(&d->arena, &d->sources, s);
}

/// The one handle of a kernel.
static KilnKernel *handle_of(KilnDevice *d, Kernel *k)
{
    for (int32_t i = 0; i < d->kernel_handles.len; i++)
        if (d->kernel_handles.data[i]->kernel == k) return d->kernel_handles.data[i];
    KilnKernel *handle = arena_new(&d->arena, KilnKernel);
    *handle = (KilnKernel){d, k};
    vec_push(&d->arena, &d->kernel_handles, handle);
    return handle;
}

KilnStatus kiln_compile(KilnDevice *d, KilnSource *source, const char *words, KilnKernel **out,
                        KilnError *error)
{
    KilnStatus st = KILN_OK;
    Diag *diag = api_begin(error);
    Spec spec;
    Kernel *k = NULL;
    Arena scratch;
    arena_init(&scratch, heap_default());
    *out = NULL;
    pthread_mutex_lock(&d->lock);
    TRY(spec_parse(source->source, str_of(words), &scratch, &spec, diag));
    keep_source(d, source);
    TRY(kernel_get(d->kernels, source->source, &spec, &k, diag));
    *out = handle_of(d, k);
done:
    pthread_mutex_unlock(&d->lock);
    arena_reset(&scratch);
    return api_end(error, st);
}

static StrBuf **stage_of(Emit *emit, const char *stage)
{
    const struct {
        const char *name;
        StrBuf **at;
    } stages[] = {{"ast", &emit->ast},   {"tile", &emit->tile},    {"layout", &emit->layout},
                  {"llvm", &emit->llvm}, {"asm", &emit->assembly}, {"ptx", &emit->ptx}};
    for (int32_t i = 0; i < COUNT_OF(stages); i++)
        if (!strcmp(stages[i].name, stage)) return stages[i].at;
    return NULL;
}

KilnStatus kiln_kernel_emit(KilnSource *source, const char *words, const char *target_words,
                            const char *stage, char **out, KilnError *error)
{
    KilnStatus st = KILN_OK;
    Diag *diag = api_begin(error);
    Spec spec;
    Target target;
    Code code = {0};
    Emit emit = {0};
    StrBuf text = {0};
    Arena scratch;
    arena_init(&scratch, heap_default());
    *out = NULL;
    StrBuf **at = stage_of(&emit, stage);
    if (!at)
        TRY(fail(diag, KILN_ERR_INPUT, "K603",
                 "no stage is called %s (there are ast, tile, layout, llvm, asm, ptx)", stage));
    *at = &text;
    TRY(target_parse(target_words, &target, diag));
    TRY(spec_parse(source->source, str_of(words), &scratch, &spec, diag));
    TRY(compile_kernel(source->source, &spec, &target, &emit, &code, diag));
    if (text.failed)
        TRY(fail(diag, KILN_ERR_NOMEM, "K102", "no memory for the text of stage %s", stage));
    *out = text.data ? text.data : calloc(1, 1);
    text = (StrBuf){0};
done:
    code_free(&code);
    strbuf_free(&text);
    arena_reset(&scratch);
    return api_end(error, st);
}

KilnStatus kiln_kernel_info(const KilnKernel *kernel, KilnKernelInfo *info, KilnError *error)
{
    const Kernel *k = kernel->kernel;
    KilnKernelInfo answer = {.name = k->code.entry,
                             .spec = k->text,
                             .n_params = k->code.n_params,
                             .num_warps = k->code.num_warps,
                             .num_stages = k->code.num_stages,
                             .shared_bytes = k->code.shared_bytes,
                             .scratch_bytes = k->code.scratch_bytes,
                             .compile_us = k->code.compile_us};
    Diag *diag = api_begin(error);
    return api_end(error, api_answer(info, &answer, sizeof answer, diag));
}

// ---- launch -----------------------------------------------------------------------------------

/// The caller's arguments as ours. @param args [CODE_MAX_PARAMS]
static KilnStatus convert(int32_t n, const KilnArg *theirs, Arg *args, Diag *diag)
{
    if (n < 0 || n > CODE_MAX_PARAMS)
        return fail(diag, KILN_ERR_INPUT, "K131", "%d arguments (expected 0 to %d)", n,
                    CODE_MAX_PARAMS);
    for (int32_t i = 0; i < n; i++) {
        const KilnArg *a = &theirs[i];
        switch (a->kind) {
        case KILN_ARG_BUFFER:
            if (!a->buffer || a->offset > a->buffer->bytes)
                return fail(diag, KILN_ERR_INPUT, "K602",
                            "argument %s: no buffer, or an offset behind its end",
                            a->name ? a->name : "?");
            args[i] = arg_ptr(a->name, DTYPE_VOID, (char *)a->buffer->at + a->offset);
            break;
        case KILN_ARG_ADDRESS:
            args[i] = arg_ptr(a->name, DTYPE_VOID, a->address);
            break;
        case KILN_ARG_INT:
            args[i] = arg_int(a->name, a->i);
            break;
        case KILN_ARG_FLOAT:
            args[i] = arg_float(a->name, a->f);
            break;
        default:
            return fail(diag, KILN_ERR_INPUT, "K131", "argument %s: kind %d",
                        a->name ? a->name : "?", (int)a->kind);
        }
    }
    return KILN_OK;
}

static KilnStatus launch(KilnKernel *kernel, const int32_t grid[3], int32_t n_args,
                         const KilnArg *theirs, bool run, KilnError *error)
{
    KilnStatus st = KILN_OK;
    Diag *diag = api_begin(error);
    Arg args[CODE_MAX_PARAMS];
    _Alignas(64) uint8_t block[LAUNCH_MAX_ARGS_BYTES];
    Launch l;
    pthread_mutex_lock(&kernel->device->lock);
    TRY(convert(n_args, theirs, args, diag));
    TRY(launch_make(kernel->kernel, grid_of(grid[0], grid[1], grid[2]), n_args, args, NULL, block,
                    NULL, &l, diag));
    if (run) TRY(launch_run(&l, diag));
done:
    pthread_mutex_unlock(&kernel->device->lock);
    return api_end(error, st);
}

KilnStatus kiln_launch(KilnKernel *kernel, const int32_t grid[3], int32_t n_args,
                       const KilnArg *args, KilnError *error)
{
    return launch(kernel, grid, n_args, args, true, error);
}

KilnStatus kiln_launch_check(KilnKernel *kernel, const int32_t grid[3], int32_t n_args,
                             const KilnArg *args, KilnError *error)
{
    return launch(kernel, grid, n_args, args, false, error);
}

// ---- graphs -----------------------------------------------------------------------------------

struct KilnGraph {
    KilnDevice *device;
    Graph *graph;
    bool is_finished;
};

KilnStatus kiln_graph_begin(KilnDevice *d, const char *name, KilnGraph **out, KilnError *error)
{
    KilnStatus st = KILN_OK;
    Diag *diag = api_begin(error);
    *out = NULL;
    KilnGraph *g = calloc(1, sizeof *g);
    if (!g) TRY(fail(diag, KILN_ERR_NOMEM, "K102", "no memory for a graph"));
    g->device = d;
    TRY(graph_new(d->dev, name ? name : "graph", &g->graph, diag));
    *out = g;
    g = NULL;
done:
    free(g);
    return api_end(error, st);
}

static KilnStatus check_open(const KilnGraph *g, bool finished, Diag *diag)
{
    if (g->is_finished == finished) return KILN_OK;
    return fail(diag, KILN_ERR_INPUT, "K604",
                finished ? "the graph is still being recorded"
                         : "the graph is no longer being recorded");
}

KilnStatus kiln_graph_add(KilnGraph *g, KilnKernel *kernel, const int32_t grid[3], int32_t n_args,
                          const KilnArg *theirs, KilnError *error)
{
    KilnStatus st = KILN_OK;
    Diag *diag = api_begin(error);
    Arg args[CODE_MAX_PARAMS];
    pthread_mutex_lock(&g->device->lock);
    TRY(check_open(g, false, diag));
    if (kernel->device != g->device)
        TRY(fail(diag, KILN_ERR_INPUT, "K604", "the kernel is of another device than the graph"));
    TRY(convert(n_args, theirs, args, diag));
    TRY(graph_launch(g->graph, kernel->kernel, grid_of(grid[0], grid[1], grid[2]), n_args, args,
                     diag));
done:
    pthread_mutex_unlock(&g->device->lock);
    return api_end(error, st);
}

KilnStatus kiln_graph_end(KilnGraph *g, KilnError *error)
{
    KilnStatus st = KILN_OK;
    Diag *diag = api_begin(error);
    pthread_mutex_lock(&g->device->lock);
    TRY(check_open(g, false, diag));
    TRY(graph_finish(g->graph, diag));
    g->is_finished = true;
done:
    pthread_mutex_unlock(&g->device->lock);
    return api_end(error, st);
}

KilnStatus kiln_graph_launch(KilnGraph *g, KilnError *error)
{
    KilnStatus st = KILN_OK;
    Diag *diag = api_begin(error);
    pthread_mutex_lock(&g->device->lock);
    TRY(check_open(g, true, diag));
    TRY(graph_run(g->graph, diag));
done:
    pthread_mutex_unlock(&g->device->lock);
    return api_end(error, st);
}

char *kiln_graph_text(const KilnGraph *g)
{
    StrBuf text = {0};
    graph_text(g->graph, &text);
    if (text.failed) strbuf_free(&text);
    return text.data;
}

void kiln_graph_free(KilnGraph *g)
{
    if (!g) return;
    pthread_mutex_lock(&g->device->lock);
    graph_free(g->graph);
    pthread_mutex_unlock(&g->device->lock);
    free(g);
}
