#include "tests/support/generate.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/file.h"
#include "models/kernel_texts.h"

void lab_check(Lab *lab, KilnStatus st, const char *what)
{
    if (st == KILN_OK) return;
    StrBuf text = {0};
    diag_render(&lab->diag, &text);
    cr_assert_fail("%s: %s", what, text.data ? text.data : "no message");
}

void lab_open(Lab *lab, const char *path, const LabOptions *options)
{
    *lab = (Lab){0};
    arena_init(&lab->arena, heap_default());
    diag_init(&lab->diag, heap_default());
    DeviceOptions device = {.name = options->device ? options->device : "cpu",
                            .n_threads = 2,
                            .cuda_lib = options->cuda_lib,
                            .cublas_lib = options->cublas_lib ? options->cublas_lib
                                          : options->cuda_lib ? ""
                                                              : NULL};
    lab_check(lab, device_open(&device, &lab->dev, &lab->diag), "device");
    KernelCacheOptions cache = {
        .cache_dir = getenv("KILN_TEST_CACHE"), .texts = kernel_texts, .n_texts = kernel_n_texts};
    lab_check(lab, kernel_cache_open(lab->dev, &cache, &lab->kernels, &lab->diag), "kernel cache");
    ModelOptions model = {.use_mmap = true, .activations = options->activations};
    lab_check(lab, model_open(path, &model, &lab->model, &lab->diag), path);
    lab_check(lab,
              engine_open(lab->kernels, lab->model, &options->engine, &lab->engine, &lab->diag),
              "engine");
}

void lab_close(Lab *lab)
{
    engine_close(lab->engine);
    model_close(lab->model);
    kernel_cache_close(lab->kernels);
    device_close(lab->dev);
    diag_reset(&lab->diag);
    arena_reset(&lab->arena);
}

int32_t *lab_ids(Lab *lab, const JsonValue *array, int32_t *n)
{
    *n = jval_len(array);
    int32_t *ids = arena_array(&lab->arena, int32_t, *n + 1);
    for (int32_t i = 0; i < *n; i++) {
        int64_t id = -1;
        cr_assert(jval_as_int(jval_at(array, i), &id));
        ids[i] = (int32_t)id;
    }
    return ids;
}

int32_t lab_cases(Lab *lab, const char *path, const char *prompt_key, const char *expected_key,
                  JsonDoc *doc, LabCase **out)
{
    File file;
    lab_check(lab, file_map(path, &file, &lab->diag), path);
    lab_check(lab,
              jsondoc_read((Str){(const char *)file.bytes, file.size},
                           arena_strdup(&lab->arena, path), JSON_STRICT, heap_default(), doc,
                           &lab->diag),
              path);
    file_unmap(&file);
    const JsonValue *cases = jval_get(doc->root, "cases");
    int32_t n = jval_len(cases);
    cr_assert_gt(n, 0, "%s holds no cases", path);
    *out = arena_array(&lab->arena, LabCase, n);
    for (int32_t i = 0; i < n; i++) {
        LabCase *c = &(*out)[i];
        c->json = jval_at(cases, i);
        c->prompt = lab_ids(lab, jval_get(c->json, prompt_key), &c->n_prompt);
        c->expected = lab_ids(lab, jval_get(c->json, expected_key), &c->n_expected);
    }
    return n;
}

int32_t lab_submit(Lab *lab, int32_t n_prompt, const int32_t *prompt, int32_t n, float *logits)
{
    Request r = {.prompt = prompt,
                 .n_prompt = n_prompt,
                 .n_predict = n,
                 .sample = {.temperature = 0, .top_p = 1},
                 .ignore_stop = true,
                 .prompt_logits = logits};
    int32_t id = -1;
    lab_check(lab, engine_submit(lab->engine, &r, &id, &lab->diag), "submit");
    return id;
}

void lab_run(Lab *lab)
{
    lab_check(lab, engine_run(lab->engine, &lab->diag), "run");
}

int32_t lab_agreement(Lab *lab, int32_t request, int32_t n, const int32_t *expected)
{
    int32_t had;
    FinishReason reason;
    const int32_t *ids = engine_tokens(lab->engine, request, &had, &reason);
    int32_t same = 0;
    while (same < n && same < had && ids[same] == expected[same])
        same++;
    return same;
}
