// tests/compiler/gpu/loops.c - see loops.h.
#include "tests/compiler/gpu/loops.h"

const char gemm_f16[] = "gemm(y: *f32:16, x: *f16:16, w: *f16:16, K: i32:16, BM=64, BN=64, "
                        "BK=32)[num_warps=4, num_stages=%d]";
const char downward_i8[] = "downward(y: *f32:16, x: *f16:16, w: *i8:16, K: i32:16, BM=32, "
                           "BN=32, BK=32)[num_warps=4, num_stages=%d]";
const char pages_f16[] = "attention(y: *f32:16, q: *f16:16, kp: *f16:16, vp: *f16:16, "
                         "bias: *f32:16, table: *i32, n: i32, BM=16, D=64, P=32)[num_warps=4, "
                         "num_stages=%d]";
const char gemv_f16[] = "gemv(y: *f32:16, x: *f16:16, w: *f16:16, K: i32:16, ROWS=8, "
                        "BK=256)[num_warps=4, num_stages=%d]";
const char nested_f16[] = "nested(y: *f32:16, x: *f16:16, w: *f16:16, rows: i32, K: i32:16, "
                          "BM=32, BN=32, BK=32)[num_warps=4, num_stages=%d]";
const char stream_f32[] = "stream(y: *f32:16, w: *f32:16, K: i32:16, ROWS=8, "
                          "BK=128)[num_warps=4, num_stages=%d]";
const char asked_f32[] = "asked(y: *f32:16, x: *f32:16, n: i32, step: i32, BLOCK=64, "
                         "STAGES=%d)[num_warps=4]";
const char *const loop_specs[LOOP_SPECS] = {gemm_f16,   downward_i8, pages_f16, gemv_f16,
                                            nested_f16, stream_f32,  asked_f32};

// ---- kernels of pipeline.py -------------------------------------------------------------------

void ran_free(Ran *r)
{
    code_free(&r->code);
    strbuf_free(&r->after);
}

const char *rendered(Diag *diag)
{
    StrBuf b = {0};
    diag_render(diag, &b);
    const char *text = arena_strdup(&diag->arena, b.data ? b.data : "");
    strbuf_free(&b);
    return text;
}

/// Compiles `spec` of pipeline.py; runs one program where `args` is not NULL.
void run(const char *spec_words, const char *target_name, const char *after, int32_t n_args,
         const Arg *args, Ran *out)
{
    Arena arena;
    Diag diag;
    Source *source;
    Spec spec;
    Target target;
    memset(out, 0, sizeof *out);
    arena_init(&arena, heap_default());
    diag_init(&diag, heap_default());
    Emit emit = {.tile_after = &out->after, .tile_after_pass = after};
    KilnStatus st = source_open(KILN_SOURCE_DIR "/tests/compiler/gpu/pipeline.py", &source, &diag);
    if (st == KILN_OK) st = spec_parse(source, str_of(spec_words), &arena, &spec, &diag);
    if (st == KILN_OK) st = target_parse(target_name, &target, &diag);
    if (st == KILN_OK)
        st = compile_kernel(source, &spec, &target, after ? &emit : NULL, &out->code, &diag);
    cr_assert_eq(st, KILN_OK, "%s for %s: %s", spec_words, target_name, rendered(&diag));
    if (args) {
        Image *image = NULL;
        MemRange ranges[CODE_MAX_PARAMS];
        int32_t n_ranges = 0;
        char block[256] = {0};
        cr_assert_eq(out->code.n_params, n_args);
        for (int32_t i = 0; i < n_args; i++) {
            const CodeParam *p = &out->code.params[i];
            if (args[i].buffer) {
                const Buffer *b = args[i].buffer;
                memcpy(block + p->offset, &b->data, 8);
                ranges[n_ranges++] =
                    (MemRange){b->data, (size_t)(b->n * dtype_bytes(b->dtype)), p->name};
            } else {
                memcpy(block + p->offset, &args[i].i, (size_t)p->bytes);
            }
        }
        st = image_load(&out->code, source, &spec, &image, &diag);
        if (st == KILN_OK)
            st = image_run(image, block, &(Grid){1, 1, 1, 0}, 0, 1, n_ranges, ranges, &diag);
        cr_assert_eq(st, KILN_OK, "%s on %s: %s", spec_words, target_name, rendered(&diag));
        image_counters(image, &out->counters);
        image_free(image);
    }
    source_close(source);
    diag_reset(&diag);
    arena_reset(&arena);
}
// ---- built by hand: what is left out, what is placed where ------------------------------------

/// `text` through all GPU passes for emu:sm_80, without the barrier of number `left_out`.
void build_text(Built *b, const char *text, int32_t left_out)
{
    static const Emit nothing;
    int32_t offsets[CODE_MAX_PARAMS];
    memset(b, 0, sizeof *b);
    kernel_open(&b->k, text);
    b->cx = (GpuCx){.fn = b->k.fn,
                    .module = b->k.module,
                    .arena = &b->k.arena,
                    .diag = &b->k.diag,
                    .sm = sm_facts(80, false),
                    .is_emu = true,
                    .left_out = left_out,
                    .log_warps = log2_floor((uint64_t)b->k.fn->num_warps)};
    b->k.code = (Code){.num_warps = b->k.fn->num_warps, .n_params = b->k.fn->n_params};
    b->k.code.args_bytes = interp_args_layout(b->k.fn, offsets);
    for (int32_t i = 0; i < b->k.fn->n_params; i++)
        b->k.code.params[i].offset = offsets[i];
    snprintf(b->k.code.entry, sizeof b->k.code.entry, "%s", b->k.fn->name);
    cr_assert_eq(gpu_decide(&b->cx, &nothing), KILN_OK, "%s", kernel_messages(&b->k));
    cr_assert_eq(gpu_generate(&b->cx, &nothing, &b->k.code), KILN_OK, "%s", kernel_messages(&b->k));
}

void built_free(Built *b)
{
    if (b->image.ops) b->image.ops->free(b->image.self);
    kernel_close(&b->k);
}

/// Runs one program: pointers get the buffers, ints `number`.
KilnStatus run_built(Built *b, Buffer *buffers, int64_t number)
{
    char block[256] = {0};
    MemRange ranges[CODE_MAX_PARAMS];
    int32_t n = 0;
    for (int32_t i = 0; i < b->k.fn->n_params; i++) {
        if (!b->k.fn->params[i].value->type->is_ptr) {
            memcpy(block + b->k.code.params[i].offset, &number, 4);
            continue;
        }
        memcpy(block + b->k.code.params[i].offset, &buffers[n].data, 8);
        ranges[n] = (MemRange){buffers[n].data,
                               (size_t)(buffers[n].n * dtype_bytes(buffers[n].dtype)), "p"};
        n++;
    }
    cr_assert_eq(emu_image_load(&b->k.code, b->k.fn, &b->image, &b->k.diag), KILN_OK);
    return b->image.ops->run(b->image.self, block, &(Grid){1, 1, 1, 0}, 0, 1, n, ranges,
                             &b->k.diag);
}

/// The tile IR of a kernel of pipeline.py, as GPU passes get it.
const char *common_text(Arena *a, const char *spec)
{
    Ran ran;
    run(spec, "sm_80", "dce", 0, NULL, &ran);
    const char *text = arena_printf(a, "%.*s", (int)ran.after.len, ran.after.data);
    ran_free(&ran);
    return text;
}

/// Data for every kernel above: floats, small codes, and a page table of zeros at the end.
void make_buffers(Func *fn, Buffer *out, int32_t *n)
{
    *n = 0;
    for (int32_t i = 0; i < fn->n_params; i++) {
        const Type *t = fn->params[i].value->type;
        if (!t->is_ptr) continue;
        out[*n] = buffer_new(t->dtype, 1 << 17);
        if (t->dtype == DTYPE_I32)
            memset(out[*n].data, 0, 4 << 17);
        else
            buffer_random(&out[*n], (uint64_t)i, -2, 2);
        ++*n;
    }
}
