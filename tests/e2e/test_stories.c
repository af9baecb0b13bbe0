// tests/e2e/test_stories.c - a real trained model (stories260K) against recorded ids and logits.
//
// The files lie beside the checkout where we develop; elsewhere these tests skip with a message. The shipped
// model's goldens (test_tiny.c) need nothing.
#include <criterion/criterion.h>
#include <math.h>

#include "base/file.h"
#include "tests/support/generate.h"

#define STORIES KILN_SHARED_DATA "/stories260K/"

static void need_data(void)
{
    if (!file_exists(STORIES "expected.json")) cr_skip_test("no stories260K beside the checkout");
}

static void open_stories_with(Lab *lab, const char *file, int32_t n_slots, KvFormat kv,
                              DType activations)
{
    lab_open(lab, file,
             &(LabOptions){
                 .activations = activations,
                 .engine = {
                     .n_slots = n_slots, .max_context = 480, .kv_format = kv, .all_logits = true}});
}

static void open_stories(Lab *lab, const char *file, int32_t n_slots, KvFormat kv)
{
    open_stories_with(lab, file, n_slots, kv, DTYPE_VOID);
}

/// Each prompt alone: the ids agree for `least` tokens, logits 0..7 after the prompt within `tolerance`.
static void one_by_one(const char *file, int32_t least, double tolerance)
{
    need_data();
    Lab lab;
    JsonDoc doc;
    LabCase *cases;
    open_stories(&lab, file, 1, KV_f32);
    int32_t n = lab_cases(&lab, STORIES "expected.json", "prompt_ids", "greedy_ids", &doc, &cases),
            vocab = lab.model->facts.vocab;
    cr_assert_eq(n, 9);
    for (int32_t i = 0; i < n; i++) {
        float *logits = arena_array(&lab.arena, float, (int64_t)cases[i].n_prompt *vocab);
        int32_t id = lab_submit(&lab, cases[i].n_prompt, cases[i].prompt, least, logits);
        lab_run(&lab);
        cr_expect_eq(lab_agreement(&lab, id, least, cases[i].expected), least,
                     "%s prompt %d: %d of %d ids agree", file, i,
                     lab_agreement(&lab, id, least, cases[i].expected), least);
        const JsonValue *want = jval_get(cases[i].json, "logits8");
        for (int32_t t = 0; t < 8; t++) {
            double x;
            cr_assert(jval_as_real(jval_at(want, t), &x));
            double got = (double)logits[(int64_t)(cases[i].n_prompt - 1) * vocab + t];
            cr_expect(fabs(got - x) <= tolerance, "%s prompt %d logit %d: %.6f, recorded %.6f",
                      file, i, t, got, x);
        }
    }
    jsondoc_close(&doc);
    lab_close(&lab);
}

Test(stories, f32_gguf_gives_all_recorded_ids_and_logits, .timeout = 300)
{
    one_by_one(STORIES "gguf/stories260K-f32.gguf", 200, 1e-4);
}

Test(stories, the_hugging_face_directory_gives_the_same, .timeout = 300)
{
    one_by_one(STORIES "hf", 200, 1e-4);
}

/// A quantised file against ids and logits of its exactly dequantised weights: key "quantised".{name}.
static void quantised(const char *file, const char *name, DType activations, int32_t least,
                      double tolerance)
{
    need_data();
    Lab lab;
    JsonDoc doc;
    LabCase *cases;
    open_stories_with(&lab, file, 1, KV_f32, activations);
    int32_t n = lab_cases(&lab, STORIES "expected.json", "prompt_ids", "greedy_ids", &doc, &cases),
            vocab = lab.model->facts.vocab;
    double worst = 0;
    for (int32_t i = 0; i < n; i++) {
        const JsonValue *want = jval_get(jval_get(cases[i].json, "quantised"), name);
        int32_t n_ids;
        const int32_t *ids = lab_ids(&lab, jval_get(want, "greedy_ids"), &n_ids);
        float *logits = arena_array(&lab.arena, float, (int64_t)cases[i].n_prompt *vocab);
        int32_t id = lab_submit(&lab, cases[i].n_prompt, cases[i].prompt, n_ids, logits);
        lab_run(&lab);
        int32_t same = lab_agreement(&lab, id, n_ids, ids);
        cr_expect_geq(same, least, "%s prompt %d: %d ids agree, at least %d are due", name, i, same,
                      least);
        for (int32_t t = 0; t < 8; t++) {
            double x;
            cr_assert(jval_as_real(jval_at(jval_get(want, "logits8"), t), &x));
            worst =
                fmax(worst, fabs((double)logits[(int64_t)(cases[i].n_prompt - 1) * vocab + t] - x));
        }
        cr_log_info("%s prompt %d: %d of %d ids agree\n", name, i, same, n_ids);
    }
    cr_expect_leq(worst, tolerance, "%s: logits differ by %.6f", name, worst);
    cr_log_info("%s: logits within %.2g of the dequantised reference\n", name, worst);
    jsondoc_close(&doc);
    lab_close(&lab);
}

Test(stories, f16_gives_the_first_hundred_ids, .timeout = 300)
{
    quantised(STORIES "gguf/stories260K-f16.gguf", "f16", DTYPE_VOID, 100, 1e-4);
}

// Weights are dequantised exactly and activations stay f32, so this agrees as closely as f32 does.
Test(stories, q8_0_follows_its_dequantised_reference, .timeout = 300)
{
    quantised(STORIES "gguf/stories260K-q8_0.gguf", "q8_0", DTYPE_F32, 100, 1e-3);
}

// Activations as int8 codes: each is off by up to 1/254 of the largest of its block, in a model only 64 wide.
Test(stories, int8_activations_change_the_logits_a_little, .timeout = 300)
{
    quantised(STORIES "gguf/stories260K-q8_0.gguf", "q8_0", DTYPE_VOID, 1, 0.25);
}

/// The first 8 ids of the first prompts together, by the code that a GPU would run, every check on.
static void emulated(const char *device)
{
    enum { N_IDS = 8, N_PROMPTS = 2 };
    need_data();
    Lab lab;
    JsonDoc doc;
    LabCase *cases;
    int32_t requests[N_PROMPTS];
    lab_open(
        &lab, STORIES "gguf/stories260K-f32.gguf",
        &(LabOptions){.device = device,
                      .engine = {.n_slots = N_PROMPTS, .max_context = 64, .kv_format = KV_f32}});
    int32_t n = lab_cases(&lab, STORIES "expected.json", "prompt_ids", "greedy_ids", &doc, &cases);
    cr_assert_geq(n, N_PROMPTS);
    for (int32_t i = 0; i < N_PROMPTS; i++)
        requests[i] = lab_submit(&lab, cases[i].n_prompt, cases[i].prompt, N_IDS, NULL);
    lab_run(&lab);
    for (int32_t i = 0; i < N_PROMPTS; i++)
        cr_expect_eq(lab_agreement(&lab, requests[i], N_IDS, cases[i].expected), N_IDS,
                     "%s prompt %d", device, i);
    jsondoc_close(&doc);
    lab_close(&lab);
}

Test(stories, the_emulated_gpu_gives_the_first_eight_ids, .timeout = 300)
{
    emulated("emu:sm_80");
    emulated("emu:sm_90a");
}

Test(stories, nine_prompts_in_one_ragged_batch_give_the_ids_of_each_alone, .timeout = 300)
{
    need_data();
    Lab lab;
    JsonDoc doc;
    LabCase *cases;
    int32_t requests[16];
    open_stories(&lab, STORIES "gguf/stories260K-f32.gguf", 9, KV_f32);
    int32_t n = lab_cases(&lab, STORIES "expected.json", "prompt_ids", "greedy_ids", &doc, &cases);
    for (int32_t i = 0; i < n; i++)
        requests[i] = lab_submit(&lab, cases[i].n_prompt, cases[i].prompt, 200, NULL);
    lab_run(&lab);
    for (int32_t i = 0; i < n; i++)
        cr_expect_eq(lab_agreement(&lab, requests[i], 200, cases[i].expected), 200, "prompt %d", i);
    EngineStats stats;
    engine_stats(lab.engine, &stats);
    cr_expect_lt(stats.decode_steps, 9 * 199, "sequences decoded together: %lld steps",
                 (long long)stats.decode_steps);
    jsondoc_close(&doc);
    lab_close(&lab);
}

Test(stories, int8_pages_change_the_logits_a_little_and_hold_a_third_of_the_bytes, .timeout = 300)
{
    need_data();
    Lab exact, coarse;
    JsonDoc doc;
    LabCase *cases;
    open_stories(&exact, STORIES "gguf/stories260K-f32.gguf", 1, KV_f32);
    open_stories(&coarse, STORIES "gguf/stories260K-f32.gguf", 1, KV_int8);
    int32_t n = lab_cases(&exact, STORIES "expected.json", "prompt_ids", "greedy_ids", &doc,
                          &cases),
            vocab = exact.model->facts.vocab;
    cr_expect_lt(kv_page_bytes(kv_pool_shape(engine_kv(coarse.engine))) * 2,
                 kv_page_bytes(kv_pool_shape(engine_kv(exact.engine))));
    double squares = 0, count = 0;
    for (int32_t i = 0; i < n; i++) {
        int64_t size = (int64_t)cases[i].n_prompt * vocab;
        float *a = arena_array(&exact.arena, float, size),
              *b = arena_array(&exact.arena, float, size);
        lab_submit(&exact, cases[i].n_prompt, cases[i].prompt, 1, a);
        lab_submit(&coarse, cases[i].n_prompt, cases[i].prompt, 1, b);
        lab_run(&exact);
        lab_run(&coarse);
        for (int64_t k = 0; k < size; k++)
            squares += pow((double)a[k] - (double)b[k], 2);
        count += (double)size;
    }
    // A code is off by at most 1/254 of a head's largest element, in keys and again in values; logits here span about 30.
    double rms = sqrt(squares / count);
    cr_expect_leq(rms, 2 * 30.0 / 254, "root mean square difference %.4f", rms);
    cr_expect_gt(rms, 0, "pages were not rounded to 8 bits");
    cr_log_info("int8 pages: logits differ by %.4f (root mean square)\n", rms);
    jsondoc_close(&doc);
    lab_close(&exact);
    lab_close(&coarse);
}
