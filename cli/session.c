#include "cli/session.h"

#include "models/kernel_texts.h"

KilnStatus session_device(Session *x, const Settings *s, Arena *arena, Diag *diag)
{
    KilnStatus st = KILN_OK;
    x->log = log_of(s);
    const char *name = s->device;
    if (s->cpu && (!name || !strcmp(name, "cpu"))) name = arena_printf(arena, "cpu:%s", s->cpu);
    DeviceOptions device = {.name = name,
                            .n_threads = (int32_t)s->threads,
                            .log = &x->log,
                            .cuda_lib = s->cuda_lib,
                            .cublas_lib = s->cublas_lib};
    TRY(device_open(&device, &x->dev, diag));
    KernelCacheOptions cache = {.cache_dir = cache_dir_of(s, arena),
                                .folder = s->kernels,
                                .texts = kernel_texts,
                                .n_texts = kernel_n_texts};
    TRY(kernel_cache_open(x->dev, &cache, &x->kernels, diag));
done:
    return st;
}

KilnStatus session_model(Session *x, const Settings *s, Diag *diag)
{
    if (!s->model)
        return fail_hint(diag, KILN_ERR_INPUT, "",
                         "kiln run models/data/kiln-tiny.gguf -p \"Once upon a time\"",
                         "no model was named");
    x->path = s->model;
    ModelOptions options = {.use_mmap = true, .log = &x->log};
    static const struct {
        const char *name;
        DType dtype;
    } names[] = {
        {"auto", DTYPE_VOID}, {"f32", DTYPE_F32}, {"f16", DTYPE_F16}, {"bf16", DTYPE_BF16}};
    int32_t i = 0;
    while (i < COUNT_OF(names) && strcmp(names[i].name, s->activations) != 0)
        i++;
    if (i == COUNT_OF(names))
        return fail_hint(diag, KILN_ERR_INPUT, "", "there are auto, f32, f16 and bf16",
                         "--activations %s: unknown", s->activations);
    options.activations = names[i].dtype;
    return model_open(s->model, &options, &x->model, diag);
}

KilnStatus session_options(const Settings *s, int32_t n_slots, EngineOptions *out, Diag *diag)
{
    KilnStatus st = KILN_OK;
    *out = (EngineOptions){.n_slots = n_slots,
                           .max_context = (int32_t)s->ctx_size,
                           .n_batch = (int32_t)s->ubatch,
                           .page_len = (int32_t)s->page_size,
                           .mem_fraction = s->mem_fraction,
                           .all_logits = s->dump_logits != NULL,
                           .one_by_one = s->no_cuda_graph};
    KvFormat values;
    TRY(kv_format_parse(s->cache_k, &out->kv_format, diag));
    TRY(kv_format_parse(s->cache_v, &values, diag));
    if (values != out->kv_format)
        st = fail_hint(diag, KILN_ERR_UNSUPPORTED, "K404", "give one type: -ctk int8",
                       "-ctk %s -ctv %s: keys and values of one page have one type", s->cache_k,
                       s->cache_v);
done:
    return st;
}

KilnStatus session_engine(Session *x, const EngineOptions *options, Diag *diag)
{
    double begin = seconds_now();
    KilnStatus st = engine_open(x->kernels, x->model, options, &x->engine, diag);
    x->load_seconds += seconds_now() - begin;
    return st;
}

void session_close(Session *x)
{
    engine_close(x->engine);
    model_close(x->model);
    kernel_cache_close(x->kernels);
    device_close(x->dev);
    *x = (Session){0};
}

const char *bytes_text(Arena *arena, double bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    int32_t u = 0;
    while (bytes >= 1024 && u < COUNT_OF(units) - 1)
        bytes /= 1024, u++;
    return arena_printf(arena, u ? "%.2f %s" : "%.0f %s", bytes, units[u]);
}
