// compiler/gpu/gpu.c - the GPU pipeline: tile IR in, PTX or emulated host code out.
#include "compiler/gpu/gpu.h"

#include "compiler/gpu/lower.h"
#include "compiler/gpu/nvptx.h"
#include "ir/text.h"
#include "ir/verify.h"

static const SmFacts facts[] = {
#define SM(SM_, A, CPU, FEATURES, SHARED, BF16, ASYNC, FP8)                                        \
    {SM_, A, CPU, FEATURES, SHARED, BF16, ASYNC, FP8},
#include "compiler/gpu/sm.def"
#undef SM
};

const SmFacts *sm_facts(int32_t sm, bool a)
{
    for (int32_t i = 0; i < COUNT_OF(facts); i++)
        if (facts[i].sm == sm && facts[i].a == a) return &facts[i];
    return NULL;
}

typedef struct Refusal {
    Diag *diag;
    bool found;
} Refusal;

static void refuse(Op *op, void *user)
{
    Refusal *r = user;
    const char *what = NULL;
    switch (op->kind) {
    case OP_PRINT:
        what = "device_print";
        break;
    case OP_MMA_ASYNC:
    case OP_MMA_WAIT:
        what = op_facts[op->kind].name;
        break;
    default:
        break;
    }
    if (!what) return;
    diag_add(r->diag, DIAG_ERROR, "E0901", op->span, "not supported yet: %s on GPU targets", what);
    r->found = true;
}

static void emit_after(const GpuCx *cx, const Emit *emit, const char *pass)
{
    if (!emit->tile_after || !emit->tile_after_pass || strcmp(emit->tile_after_pass, pass) != 0)
        return;
    emit->tile_after->len = 0; // of a pass that runs again with fewer stages, the last
    func_print(cx->fn, emit->tile_after);
}

/// Pipelining and layouts: the decisions that the rest follows.
static KilnStatus decide(GpuCx *cx, const Emit *emit)
{
    KilnStatus st = KILN_OK;
    AffineCx *affine = affine_new(cx->arena, cx->fn);
    anchors_choose(cx, affine);
    TRY(pipeline_loops(cx, affine));
    emit_after(cx, emit, "pipeline");
    dots_select(cx);
    TRY(layouts_assign(cx));
    buffers_assign(cx);
#ifdef KILN_ASSERTS
    TRY(func_verify(cx->fn, cx->diag));
#endif
    emit_after(cx, emit, "layouts");
done:
    return st;
}

typedef struct Copied {
    Region *body;
    Value **params; ///< [n_params]
} Copied;

/// The body once more, to start from again.
static Copied body_copy(const GpuCx *cx)
{
    Func *fn = cx->fn;
    const Region *from = fn->body;
    Value **map = arena_array(cx->arena, Value *, func_number(fn));
    const Type **types = arena_array(cx->arena, const Type *, from->n_args + 1);
    for (int32_t i = 0; i < from->n_args; i++)
        types[i] = from->args[i]->type;
    Copied c = {region_new(cx->module, fn, NULL, from->n_args, types), NULL};
    c.params = arena_array(cx->arena, Value *, fn->n_params + 1);
    for (int32_t i = 0; i < from->n_args; i++) {
        c.body->args[i]->name = from->args[i]->name;
        c.body->args[i]->span = from->args[i]->span;
        map[from->args[i]->id] = c.body->args[i];
    }
    for (int32_t i = 0; i < fn->n_params; i++)
        c.params[i] = map[fn->params[i].value->id];
    EACH_OP(op, from)
        op_insert(op_clone(cx->module, op, map), c.body, NULL);
    return c;
}

/// Decides; where the buffers of pipelined loops do not fit beside what else is needed, once more
/// with a stage less.
KilnStatus gpu_decide(GpuCx *cx, const Emit *emit)
{
    KilnStatus st = KILN_OK;
    Refusal r = {cx->diag, false};
    region_walk(cx->fn->body, refuse, &r);
    if (r.found) return KILN_ERR_UNSUPPORTED;
    for (;;) {
        Copied before = body_copy(cx);
        TRY(decide(cx, emit));
        if (!cx->n_pipelined || shared_assign(cx, false) == KILN_OK) break;
        cx->most_stages = cx->stages_left = cx->stages_used - 1;
        cx->fn->body = before.body;
        for (int32_t i = 0; i < cx->fn->n_params; i++)
            cx->fn->params[i].value = before.params[i];
    }
    if (emit->layout) layouts_print(cx->fn, emit->layout);
    if (emit->layout_svg) layouts_draw(cx->fn, emit->layout_svg);
done:
    return st;
}

static KilnStatus build(void *user)
{
    Lower *lo = user;
    lower_function(lo, lo->code);
    return KILN_OK;
}

KilnStatus gpu_generate(GpuCx *cx, const Emit *emit, Code *out)
{
    KilnStatus st = KILN_OK;
    LlvmCx ll = {0};
    StrBuf text = {0};
    Lower lo = {.cx = cx, .ll = &ll, .code = out};
    TRY(shared_assign(cx, true));
    barriers_place(cx);
    TRY(cx->is_emu ? emu_open(&ll, cx->diag) : nvptx_open(cx->sm, &ll, cx->diag));
    TRY(llvm_guard(&ll, build, &lo));
    TRY(llvm_verify(&ll));
    TRY(llvm_passes(&ll, cx->is_emu ? "function(early-cse,dce)" : NVPTX_PASSES));
    if (emit->llvm) llvm_print(&ll, emit->llvm);
    TRY(llvm_emit(&ll, !cx->is_emu, &text));
    if (emit->ptx && !cx->is_emu) strbuf_add(emit->ptx, text.data, text.len);
    out->bytes = heap_alloc(heap_default(), text.len + 1, 1);
    if (!out->bytes) TRY(fail(cx->diag, KILN_ERR_NOMEM, "K102", "no memory for generated code"));
    memcpy(out->bytes, text.data, text.len);
    out->size = text.len;
    out->shared_bytes = cx->shared_bytes;
    out->llvm_us = ll.us;
done:
    strbuf_free(&text);
    llvm_close(&ll);
    return st;
}

KilnStatus gpu_compile(Func *fn, const Target *target, const Emit *emit, Code *out, Diag *diag)
{
    static const Emit nothing;
    Arena arena;
    arena_init(&arena, heap_default());
    arena.escape = fn->module->arena->escape;
    GpuCx cx = {.fn = fn,
                .module = fn->module,
                .arena = &arena,
                .diag = diag,
                .sm = sm_facts(target->sm, target->sm_a),
                .is_emu = target->kind == TARGET_EMU,
                .log_warps = log2_floor((uint64_t)fn->num_warps)};
    if (!emit) emit = &nothing;
    KilnStatus st = KILN_OK;
    if (!cx.sm)
        TRY(fail(diag, KILN_ERR_UNSUPPORTED, "K130", "no GPU target sm_%d%s", target->sm,
                 target->sm_a ? "a" : ""));
    TRY(gpu_decide(&cx, emit));
    TRY(gpu_generate(&cx, emit, out));
    if (cx.stages_left) out->num_stages = cx.stages_left;
done:
    arena_reset(&arena);
    return st;
}
