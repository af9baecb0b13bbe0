// tests/e2e/test_cuda.c - a model on the fake CUDA driver: its ids are the emulator's, and a token costs one
// graph launch, one copy in and one copy out.
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "models/kernel_texts.h"
#include "tests/fake/fake.h"
#include "tests/fake/runner.h"
#include "tests/models/tiny.h"
#include "tests/support/generate.h"

#define MODEL  KILN_SOURCE_DIR "/models/data/kiln-tiny.gguf"
#define GREEDY KILN_SOURCE_DIR "/tests/golden/model/greedy.json"

enum { N_IDS = 5 };

/// The recorded case with the shortest prompt.
static const LabCase *shortest(const LabCase *cases, int32_t n)
{
    const LabCase *best = cases;
    for (int32_t i = 1; i < n; i++)
        if (cases[i].n_prompt < best->n_prompt) best = &cases[i];
    return best;
}

static void open_lab(Lab *lab, const char *device)
{
    lab_open(lab, MODEL,
             &(LabOptions){.device = device,
                           .cuda_lib = FAKE_CUDA_LIB,
                           .engine = {.n_slots = 1, .max_context = 128, .n_batch = 16}});
}

Test(cuda_model, the_ids_are_the_emulators_and_a_token_is_one_graph_launch, .timeout = 300)
{
    fake_reset();
    Lab lab;
    JsonDoc doc;
    LabCase *cases;
    Graph *g;
    open_lab(&lab, "cuda");
    const LabCase *c = shortest(cases, lab_cases(&lab, GREEDY, "ids", "greedy", &doc, &cases));
    cr_assert_leq(c->n_prompt, 16);
    int32_t id = lab_submit(&lab, c->n_prompt, c->prompt, N_IDS, NULL);
    Runner *runner = runner_open(
        "emu:sm_80", &(KernelCacheOptions){.texts = kernel_texts, .n_texts = kernel_n_texts});
    for (int32_t phase = PHASE_PREFILL; phase <= PHASE_DECODE; phase++) {
        lab_check(&lab, engine_graph(lab.engine, (Phase)phase, 1, &g, &lab.diag), "graph");
        cr_expect(graph_is_captured(g));
        runner_learn_graph(runner, g);
    }
    bool busy = true;
    lab_check(&lab, engine_step(lab.engine, &busy, &lab.diag), "prefill");
    fake_clear_log();
    lab_run(&lab);

    EngineStats s;
    engine_stats(lab.engine, &s);
    int32_t n_steps = (int32_t)s.decode_steps;
    cr_expect_eq(n_steps, N_IDS - 1);
    cr_expect_eq(fake_count("cuGraphLaunch"), n_steps);
    cr_expect_eq(fake_count("cuMemcpyHtoDAsync_v2"), n_steps, "the step's arrays, in one copy");
    cr_expect_eq(fake_count("cuMemcpyDtoHAsync_v2"), n_steps, "the ids");
    cr_expect_eq(fake_count("cuStreamSynchronize"), n_steps);
    const char *const never[] = {"cuMemAllocAsync",  "cuMemAlloc_v2",          "cuMemHostAlloc",
                                 "cuMemFreeAsync",   "cuLinkCreate_v2",        "cuModuleLoadDataEx",
                                 "cuLaunchKernelEx", "cuStreamBeginCapture_v2"};
    for (int32_t i = 0; i < COUNT_OF(never); i++)
        cr_expect_eq(fake_count(never[i]), 0, "%s", never[i]);
    cr_expect_eq(s.flow_allocations + s.flow_compiles + s.flow_records, 0);
    cr_expect_gt(runner_n_launches(runner), 20 * N_IDS, "the kernels ran");
    cr_expect_eq(lab_agreement(&lab, id, N_IDS, c->expected), N_IDS, "the recorded ids");

    Lab emu;
    open_lab(&emu, "emu:sm_80");
    int32_t same = lab_submit(&emu, c->n_prompt, c->prompt, N_IDS, NULL), n;
    lab_run(&emu);
    const int32_t *ids = engine_tokens(emu.engine, same, &n, NULL);
    cr_expect_eq(n, N_IDS);
    cr_expect_eq(lab_agreement(&lab, id, N_IDS, ids), N_IDS, "the emulator's ids");
    lab_close(&emu);

    jsondoc_close(&doc);
    runner_close(runner);
    lab_close(&lab);
    cr_expect_str_eq(fake_errors(), "");
    cr_expect_eq(fake_live(), 0);
}

Test(cuda_model, a_fault_ends_the_run_and_nothing_crashes, .timeout = 120)
{
    fake_reset();
    fake_fail("run/kiln_attend", 9, 700);
    Lab lab;
    open_lab(&lab, "cuda");
    const int32_t prompt[] = {954, 755, 280};
    (void)lab_submit(&lab, COUNT_OF(prompt), prompt, 64, NULL);
    cr_expect_eq(engine_run(lab.engine, &lab.diag), KILN_ERR_DEVICE);
    cr_expect_str_eq(lab.diag.items.data[0]->code, "K304");
    cr_expect_not_null(strstr(diag_first(&lab.diag), "graph decode 1"), "%s",
                       diag_first(&lab.diag));
    cr_expect_eq(engine_run(lab.engine, &lab.diag), KILN_OK, "nothing is left to run");
    Request again = {.prompt = prompt, .n_prompt = 3, .n_predict = 4, .sample = {.top_p = 1}};
    int32_t id;
    cr_expect_eq(engine_submit(lab.engine, &again, &id, &lab.diag), KILN_OK,
                 "the graphs are there");
    cr_expect_eq(engine_run(lab.engine, &lab.diag), KILN_ERR_DEVICE, "and stay down");
    lab_close(&lab);
    cr_expect_str_eq(fake_errors(), "");
}

Test(cuda_model, one_by_one_names_the_kernel, .timeout = 120)
{
    fake_reset();
    fake_fail("run/kiln_silu_mul", 3, 719);
    Lab lab;
    lab_open(&lab, MODEL,
             &(LabOptions){.device = "cuda:0",
                           .cuda_lib = FAKE_CUDA_LIB,
                           .engine = {.n_slots = 1, .max_context = 128, .one_by_one = true}});
    const int32_t prompt[] = {954, 755, 280};
    (void)lab_submit(&lab, COUNT_OF(prompt), prompt, 64, NULL);
    cr_expect_eq(engine_run(lab.engine, &lab.diag), KILN_ERR_DEVICE);
    cr_expect_not_null(strstr(diag_first(&lab.diag), "kernel kiln_silu_mul brought"), "%s",
                       diag_first(&lab.diag));
    lab_close(&lab);
    cr_expect_str_eq(fake_errors(), "");
}

Test(cuda_model, long_prompts_take_the_librarys_products, .timeout = 300)
{
    enum { N = 70, VOCAB = 67 };
    const TinyShape shape = {1, 64, 2, 1, 32, 96, VOCAB, false, BLOCK_F16, NULL, NULL};
    int32_t tokens[N];
    Arena arena;
    Lab lab;
    Graph *g;
    StrBuf text = {0};
    arena_init(&arena, heap_default());
    fake_reset();
    const char *path = tiny_write(&arena, &shape, 11);
    for (int32_t i = 0; i < N; i++)
        tokens[i] = 3 + i * 7 % (VOCAB - 3);
    lab_open(&lab, path,
             &(LabOptions){
                 .device = "cuda",
                 .cuda_lib = FAKE_CUDA_LIB,
                 .cublas_lib = FAKE_CUBLAS_LIB,
                 .engine = {.n_slots = 1, .max_context = 128, .n_batch = 64, .all_logits = true}});
    float *logits = calloc(N * VOCAB, sizeof *logits);
    double *want = calloc(N * VOCAB, sizeof *want);
    (void)lab_submit(&lab, N, tokens, 1, logits);
    Runner *runner = runner_open(
        "emu:sm_80", &(KernelCacheOptions){.texts = kernel_texts, .n_texts = kernel_n_texts});
    const int32_t sizes[] = {64, 16};
    for (int32_t i = 0; i < 2; i++) {
        lab_check(&lab, engine_graph(lab.engine, PHASE_PREFILL, sizes[i], &g, &lab.diag), "graph");
        runner_learn_graph(runner, g);
        cr_expect_eq(graph_n_gemms(g), i ? 0 : 6,
                     "q o gate up down output, and only in a long step");
    }
    lab_check(&lab, engine_graph(lab.engine, PHASE_PREFILL, 64, &g, &lab.diag), "graph");
    graph_text(g, &text);
    cr_expect_not_null(strstr(text.data, "gemm f16 64 x 96 x 64"), "%s", text.data);
    strbuf_free(&text);
    lab_run(&lab);
    cr_expect_eq(lab.dev->counters.gemms, 6);
    ModelFile *file;
    lab_check(&lab, model_file_open(path, heap_default(), &file, &lab.diag), path);
    tiny_forward(file, ROPE_INTERLEAVED, tokens, N, want);
    double worst = 0;
    for (int32_t i = 0; i < N * VOCAB; i++)
        worst = fmax(worst, fabs(want[i] - (double)logits[i]));
    cr_expect_leq(worst, 0.03, "activations have 11 bits; off by %g", worst);
    model_file_close(file);
    runner_close(runner);
    lab_close(&lab);
    cr_expect_str_empty(fake_errors(), "%s", fake_errors());
    cr_expect_eq(fake_live(), 0);
    unlink(path);
    free(logits);
    free(want);
    arena_reset(&arena);
}
