// compiler/compile.c - the driver: source and specialisation ==> tile IR ==> passes ==> back end
// ==> code, and code ==> something that runs here.
//
// One arena holds everything of one compilation. When memory runs out it jumps back here
// (Arena.escape).
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "compiler/backend.h"
#include "compiler/lower.h"
#include "ir/pass.h"
#include "ir/text.h"
#include "ir/verify.h"
#ifdef KILN_WITH_INTERP
#include "compiler/interp/interp.h"
#endif

static int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

// ---- facts about the arguments ------------------------------------------------------------------

/// For each pointer value, the parameters it may come from: bit i is parameter i (the last bit:
/// those from 63 on).
typedef struct Origins {
    uint64_t *of; ///< by Value.id
    bool changed;
    uint64_t written;
} Origins;

static void flow_into(Origins *o, const Value *to, uint64_t bits)
{
    if (!to->type->is_ptr || (o->of[to->id] | bits) == o->of[to->id]) return;
    o->of[to->id] |= bits;
    o->changed = true;
}

/// Values that enter a loop, leave a region or go round.
static void flow_regions(Origins *o, const Op *op)
{
    for (int32_t r = 0; r < op->n_regions; r++) {
        const Region *region = op->regions[r];
        int32_t skip_args = op->kind == OP_FOR ? 1 : 0, skip_in = op->kind == OP_FOR  ? 3
                                                                  : op->kind == OP_IF ? 1
                                                                                      : 0;
        for (int32_t i = skip_args; i < region->n_args && i - skip_args + skip_in < op->n_in; i++)
            flow_into(o, region->args[i], o->of[op->in[i - skip_args + skip_in]->id]);
        const Op *last = region->last;
        int32_t from = last && last->kind == OP_CONDITION ? 1 : 0;
        for (int32_t i = from; last && i < last->n_in; i++) {
            uint64_t bits = o->of[last->in[i]->id];
            if (i - from < op->n_out) flow_into(o, &op->out[i - from], bits);
            for (int32_t k = 0; k < op->n_regions;
                 k++) // a while's test feeds its body, the body feeds the test
                if (i - from + skip_args < op->regions[k]->n_args)
                    flow_into(o, op->regions[k]->args[i - from + skip_args], bits);
        }
    }
    for (int32_t i = 0;
         op->kind != OP_IF && i + (op->kind == OP_FOR ? 3 : 0) < op->n_in && i < op->n_out; i++)
        flow_into(o, &op->out[i], o->of[op->in[i + (op->kind == OP_FOR ? 3 : 0)]->id]);
}

static void visit_origin(Op *op, void *user)
{
    Origins *o = user;
    if (op->kind == OP_STORE || op->kind == OP_ATOMIC_RMW || op->kind == OP_ATOMIC_CAS) {
        o->written |= o->of[op->in[0]->id];
        return;
    }
    if (op->n_regions) {
        flow_regions(o, op);
        return;
    }
    uint64_t bits = 0;
    for (int32_t i = 0; i < op->n_in; i++)
        bits |= op->in[i]->type->is_ptr ? o->of[op->in[i]->id] : 0;
    bool made_up =
        op->kind == OP_BITCAST && !op->in[0]->type->is_ptr; // a pointer from an integer may be any
    for (int32_t i = 0; i < op->n_out; i++)
        flow_into(o, &op->out[i], made_up ? ~(uint64_t)0 : bits);
}

static uint64_t written_params(Func *fn, Arena *scratch)
{
    Origins o = {.of = arena_array(scratch, uint64_t, func_number(fn) + 1)};
    for (int32_t i = 0; i < fn->n_params; i++)
        o.of[fn->params[i].value->id] = (uint64_t)1 << MIN(i, 63);
    do {
        o.changed = false;
        region_walk(fn->body, visit_origin, &o);
    } while (o.changed);
    return o.written;
}

/// Lays out the argument block as CUDA does. @return false: too many parameters
static bool describe_params(Func *fn, Arena *scratch, Code *out)
{
    if (fn->n_params > CODE_MAX_PARAMS) return false;
    uint64_t written = written_params(fn, scratch);
    int32_t at = 0;
    out->n_params = fn->n_params;
    for (int32_t i = 0; i < fn->n_params; i++) {
        const Param *from = &fn->params[i];
        const Type *t = from->value->type;
        CodeParam *p = &out->params[i];
        snprintf(p->name, sizeof p->name, "%s", from->name);
        p->kind = t->is_ptr ? SPEC_PTR : SPEC_SCALAR;
        p->dtype = t->dtype;
        p->bytes = type_element_bytes(t);
        at = (int32_t)round_up(at, p->bytes);
        p->offset = at;
        p->divisible = from->divisible;
        p->is_written = t->is_ptr && (written >> MIN(i, 63) & 1);
        at += p->bytes;
    }
    out->args_bytes = at;
    return true;
}

// ---- compiling ----------------------------------------------------------------------------------

typedef struct Job {
    const Source *source;
    const Spec *spec;
    const Target *target;
    const Emit *emit;
    Diag *diag;
    Arena arena;
    Func *fn;
    Code code;
} Job;

static KilnStatus find_func(const Source *s, const Spec *spec, const JitFunc **out, Diag *diag)
{
    *out = source_func(s, str_of(spec->func));
    if (*out) return KILN_OK;
    return fail(diag, KILN_ERR_INPUT, "K111", "%s: the file has no kernel `%s`", source_path(s),
                spec->func);
}

/// Text ==> verified tile IR in `arena`.
static KilnStatus front_end(const Source *s, const Spec *spec, const Target *target, Arena *arena,
                            Diag *diag, Func **out)
{
    const JitFunc *f;
    KilnStatus st = find_func(s, spec, &f, diag);
    if (st != KILN_OK) return st;
    Module *m = module_new(arena, diag);
    st = lower_kernel(m, f, spec, target, diag, out);
    if (st == KILN_OK) st = func_verify(*out, diag);
    return st;
}

const char *const compile_passes[] = {"fold", "cse",      "loop-facts", "affine-addr", "licm",
                                      "dce",  "pipeline", "layouts",    NULL};

static void emit_after(void *user, const Pass *pass, Func *fn)
{
    const Emit *emit = user;
    if (emit->tile_after && emit->tile_after_pass && !strcmp(emit->tile_after_pass, pass->name)) {
        emit->tile_after->len = 0; // of a pass that runs twice, the last
        func_print(fn, emit->tile_after);
    }
}

static KilnStatus common_passes(Job *job)
{
    PassCx cx = {.module = job->fn->module,
                 .diag = job->diag,
                 .after = emit_after,
                 .user = (void *)(uintptr_t)job->emit};
    return passes_run(&cx, job->fn, PASSES_COMMON);
}

static KilnStatus back_end(Job *job)
{
    switch (job->target->kind) {
    case TARGET_CPU:
#ifdef KILN_WITH_CPU
        return cpu_compile(job->fn, job->target, job->emit, &job->code, job->diag);
#else
        break;
#endif
    case TARGET_SM:
    case TARGET_EMU:
#ifdef KILN_WITH_GPU
        return gpu_compile(job->fn, job->target, job->emit, &job->code, job->diag);
#else
        break;
#endif
    case TARGET_INTERP:
        return KILN_OK;
    }
    char text[24];
    target_text(job->target, text);
    return fail(job->diag, KILN_ERR_UNSUPPORTED, "K115",
                "this build of kiln has no back end for %s", text);
}

static KilnStatus run_job(Job *job)
{
    if (job->emit->ast) {
        const JitFunc *f = source_func(job->source, str_of(job->spec->func));
        if (f) ast_print(f->def, 0, job->emit->ast);
    }
    KilnStatus st =
        front_end(job->source, job->spec, job->target, &job->arena, job->diag, &job->fn);
    if (st != KILN_OK) return st;
    if (job->emit->tile) func_print(job->fn, job->emit->tile);
    Code *c = &job->code;
    c->target = *job->target;
    snprintf(c->entry, sizeof c->entry, "kiln_%s", job->fn->name);
    c->num_warps = job->fn->num_warps;
    c->num_stages = job->fn->num_stages;
    if (!describe_params(job->fn, &job->arena, c)) {
        diag_add(job->diag, DIAG_ERROR, "E0904", job->fn->span,
                 "a kernel may have at most %d run-time parameters, this one has %d",
                 CODE_MAX_PARAMS, job->fn->n_params);
        return KILN_ERR_LIMIT;
    }
    bool wants_passes = job->target->kind != TARGET_INTERP || job->emit->tile_after;
    if (wants_passes) st = common_passes(job);
    if (st == KILN_OK) st = back_end(job);
    return st;
}

KilnStatus compile_kernel(const Source *s, const Spec *spec, const Target *target, const Emit *emit,
                          Code *out, Diag *diag)
{
    static const Emit silent;
    int64_t start = now_us();
    Job *job = heap_new(heap_default(), Job); // outlives the jump
    *out = (Code){0};
    if (!job) return fail(diag, KILN_ERR_NOMEM, "K301", "%s: no memory to compile", spec->func);
    Diag own;
    diag_init(&own, heap_default());
    *job = (Job){.source = s,
                 .spec = spec,
                 .target = target,
                 .emit = emit ? emit : &silent,
                 .diag = diag ? diag : &own};
    arena_init(&job->arena, heap_default());
    int32_t errors = job->diag->n_errors;
    jmp_buf escape;
    KilnStatus st;
    job->arena.escape = &escape;
    if (setjmp(escape) == 0)
        st = run_job(job);
    else
        st = fail(job->diag, KILN_ERR_NOMEM, "K301", "%s: no memory to compile", spec->func);
    job->arena.escape = NULL;
    if (diag && diag->n_errors > errors && st != KILN_ERR_NOMEM)
        diag->while_doing = spec_text(&diag->arena, spec);
    if (st == KILN_OK) {
        *out = job->code;
        out->compile_us = now_us() - start;
    } else {
        code_free(&job->code);
    }
    arena_reset(&job->arena);
    diag_reset(&own);
    heap_free(heap_default(), job);
    return st;
}

// ---- running on this CPU ------------------------------------------------------------------------

#ifdef KILN_WITH_INTERP
static KilnStatus interp_image_run(void *self, const void *args, const Grid *grid, int64_t first,
                                   int64_t n, int32_t n_ranges, const MemRange *ranges, Diag *diag)
{
    Arena scratch;
    arena_init(&scratch, heap_default());
    KilnStatus st = interp_run(self, args, grid, first, n, n_ranges, ranges, &scratch, diag);
    arena_reset(&scratch);
    return st;
}

static const ImageOps interp_ops = {interp_image_run, NULL};
#endif

/// The lowered function again, in an arena of the image.
static KilnStatus relower(Image *img, const Source *s, const Spec *spec, const Target *target,
                          Func **out, Diag *diag)
{
    if (!s || !spec)
        return fail(diag, KILN_ERR_INPUT, "K116",
                    "this code runs from its source: pass the source and the specialisation");
    Diag own; // its file 0 is the source, as image_run promises
    diag_init(&own, heap_default());
    img->arena = heap_new(heap_default(), Arena);
    if (!img->arena) return fail(diag, KILN_ERR_NOMEM, "K301", "no memory for the kernel");
    arena_init(img->arena, heap_default());
    img->path = arena_strdup(img->arena, s->path);
    img->text = (Str){arena_strndup(img->arena, s->text.data, s->text.len), s->text.len};
    KilnStatus st = front_end(s, spec, target, img->arena, &own, out);
    if (st != KILN_OK)
        st = fail(diag, st, "K116", "%s: %s", spec->func, diag_first(&own));
    else
        (*out)->module->diag = NULL;
    diag_reset(&own);
    return st;
}

KilnStatus image_load(const Code *c, const Source *s, const Spec *spec, Image **out, Diag *diag)
{
    KilnStatus st = KILN_ERR_UNSUPPORTED;
    Func *fn = NULL;
    (void)fn;
    *out = NULL;
    Image *img = heap_new(heap_default(), Image);
    if (!img) return fail(diag, KILN_ERR_NOMEM, "K301", "no memory for the kernel");
    img->scratch_bytes = c->scratch_bytes;
    switch (c->target.kind) {
    case TARGET_CPU:
#ifdef KILN_WITH_CPU
        st = cpu_image_load(c, img, diag);
        break;
#else
        goto missing;
#endif
    case TARGET_EMU:
#ifdef KILN_WITH_GPU
        st = relower(img, s, spec, &c->target, &fn, diag);
        if (st == KILN_OK) st = emu_image_load(c, fn, img, diag);
        break;
#else
        goto missing;
#endif
    case TARGET_INTERP:
#ifdef KILN_WITH_INTERP
        st = relower(img, s, spec, &c->target, &fn, diag);
        img->ops = &interp_ops;
        img->self = fn;
        break;
#else
        goto missing;
#endif
    case TARGET_SM:
        goto missing;
    }
    if (st == KILN_OK)
        *out = img;
    else
        image_free(img);
    return st;
missing:
    image_free(img);
    return fail(diag, st, "K115", "code for this target does not run in this process");
}

void image_free(Image *img)
{
    if (!img) return;
    if (img->ops && img->ops->free) img->ops->free(img->self);
    if (img->arena) arena_reset(img->arena);
    heap_free(heap_default(), img->arena);
    heap_free(heap_default(), img);
}

size_t image_entry_bytes(const Image *img)
{
    return img->entry_bytes;
}

KernelEntry image_entry(const Image *img)
{
    return img->entry;
}

/// Runs native code on this thread with scratch memory of its own.
static KilnStatus run_entry(Image *img, const void *args, const Grid *grid, int64_t first,
                            int64_t n, Diag *diag)
{
    size_t bytes = (size_t)round_up(MAX(img->scratch_bytes, 64), 64);
    Tls tls = {.scratch = heap_alloc(heap_default(), bytes, 64)};
    if (!tls.scratch)
        return fail(diag, KILN_ERR_NOMEM, "K301", "no memory for %zu bytes of scratch", bytes);
    img->entry(args, grid, first, n, &tls);
    heap_free(heap_default(), tls.scratch);
    if (!tls.fault) return KILN_OK;
    return fail(diag, KILN_ERR_DEVICE, "K117", "a device assertion failed at line %d in program %d",
                tls.fault, tls.fault_program);
}

/// Moves messages whose file 0 is the image's source into the caller's list.
static void hand_over(const Image *img, const Diag *from, Diag *to)
{
    if (!to) return;
    const char *path = img->path ? img->path : "";
    int32_t file = -1;
    for (int32_t i = 0; i < to->files.len; i++)
        if (!strcmp(to->files.data[i].path, path) && str_eq(to->files.data[i].text, img->text))
            file = i;
    if (file < 0) file = diag_file(to, path, img->text);
    for (int32_t i = 0; i < from->items.len; i++) {
        const DiagItem *it = from->items.data[i];
        Span at = {it->span.file < 0 ? -1 : file, it->span.begin, it->span.end};
        DiagItem *copy = diag_add(to, it->level, it->code, at, "%s", it->text);
        for (int32_t k = 0; k < it->notes.len; k++) {
            Span note = it->notes.data[k].span;
            if (note.file >= 0) note.file = file;
            diag_note(to, copy, note, "%s", it->notes.data[k].text);
        }
        if (it->help) diag_help(to, copy, "%s", it->help);
    }
}

KilnStatus image_run(Image *img, const void *args, const Grid *grid, int64_t first, int64_t n,
                     int32_t n_ranges, const MemRange *ranges, Diag *diag)
{
    if (!img->ops || !img->ops->run) return run_entry(img, args, grid, first, n, diag);
    Diag own;
    diag_init(&own, heap_default());
    diag_file(&own, img->path ? img->path : "", img->text);
    KilnStatus st = img->ops->run(img->self, args, grid, first, n, n_ranges, ranges, &own);
    if (own.items.len) hand_over(img, &own, diag);
    diag_reset(&own);
    return st;
}

bool image_counters(const Image *img, ImageCounters *out)
{
    *out = (ImageCounters){0};
    if (!img->ops || !img->ops->counters) return false;
    img->ops->counters(img->self, out);
    return true;
}
