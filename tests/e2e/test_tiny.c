// tests/e2e/test_tiny.c - the model that ships, against ids that an independent PyTorch forward recorded.
#include <criterion/criterion.h>
#include <math.h>

#include "tests/support/generate.h"

#define MODEL  KILN_SOURCE_DIR "/models/data/kiln-tiny.gguf"
#define GREEDY KILN_SOURCE_DIR "/tests/golden/model/greedy.json"

/// Ids of all recorded prompts of at most `longest` tokens, `n_slots` at a time. A step whose two best logits lie
/// within `gap` in the recording may go either way: the comparison of that prompt ends there.
static int32_t compare(const char *device, int32_t longest, int32_t n_slots, KvFormat kv,
                       int32_t most_tokens, double gap)
{
    Lab lab;
    JsonDoc doc;
    LabCase *cases;
    int32_t requests[64], n_compared = 0;
    lab_open(&lab, MODEL,
             &(LabOptions){
                 .device = device,
                 .engine = {.n_slots = n_slots, .max_context = longest + 80, .kv_format = kv}});
    int32_t n = lab_cases(&lab, GREEDY, "ids", "greedy", &doc, &cases);
    for (int32_t i = 0; i < n; i++)
        if (cases[i].n_prompt <= longest)
            requests[i] = lab_submit(&lab, cases[i].n_prompt, cases[i].prompt,
                                     MIN(most_tokens, cases[i].n_expected), NULL);
    lab_run(&lab);
    for (int32_t i = 0; i < n; i++) {
        if (cases[i].n_prompt > longest) continue;
        int32_t want = MIN(most_tokens, cases[i].n_expected),
                same = lab_agreement(&lab, requests[i], want, cases[i].expected);
        double at = 1;
        if (same < want)
            cr_assert(jval_as_real(jval_at(jval_get(cases[i].json, "gaps"), same), &at));
        Str name = jval_text(jval_get(cases[i].json, "name"));
        cr_expect(same == want || at < gap,
                  "%.*s: %d of %d ids agree; the recorded gap there is %g", STR_ARG(name), same,
                  want, at);
        n_compared++;
    }
    jsondoc_close(&doc);
    lab_close(&lab);
    return n_compared;
}

Test(tiny, greedy_ids_are_the_recorded_ones, .timeout = 600)
{
    cr_expect_geq(compare("cpu", 1000, 1, KV_f32, 64, 1e-3), 6);
}

Test(tiny, a_ragged_batch_gives_the_ids_of_each_prompt_alone, .timeout = 600)
{
    cr_expect_geq(compare("cpu", 1000, 8, KV_f32, 64, 1e-3), 6);
}

Test(tiny, bf16_and_int8_pages_still_find_the_needle, .timeout = 600)
{
    cr_expect_geq(compare("cpu", 400, 4, KV_bf16, 24, 0.6), 6);
    cr_expect_geq(compare("cpu", 400, 4, KV_int8, 24, 0.6), 6);
}

// The code that a GPU would run, every check of the emulator on.
Test(tiny, the_emulated_gpu_gives_the_first_eight_ids, .timeout = 600)
{
    cr_expect_eq(compare("emu:sm_80", 2, 1, KV_f32, 8, 1e-3), 2);
    cr_expect_eq(compare("emu:sm_90a", 2, 1, KV_f32, 8, 1e-3), 2);
}

Test(tiny, after_warm_up_nothing_compiles_records_or_allocates, .timeout = 300)
{
    Lab lab;
    lab_open(&lab, MODEL, &(LabOptions){.engine = {.n_slots = 1, .max_context = 512}});
    int32_t prompt[] = {954, 755, 280, 592};
    int32_t id = lab_submit(&lab, COUNT_OF(prompt), prompt, 256, NULL);
    lab_run(&lab);
    EngineStats s;
    int32_t n;
    FinishReason reason;
    engine_stats(lab.engine, &s);
    engine_tokens(lab.engine, id, &n, &reason);
    cr_expect_eq(n, 256);
    cr_expect_gt(s.compiles + lab.dev->counters.cached_disk, 0, "kernels came from somewhere");
    cr_expect_gt(s.records, 0);
    cr_expect_eq(s.flow_compiles, 0);
    cr_expect_eq(s.flow_records, 0);
    cr_expect_eq(s.flow_allocations, 0);
    lab_close(&lab);
}

Test(tiny, every_node_of_a_forward_pass_is_a_launch_or_a_copy, .timeout = 300)
{
    Lab lab;
    lab_open(&lab, MODEL, &(LabOptions){.engine = {.n_slots = 2, .max_context = 512}});
    for (int32_t phase = PHASE_PREFILL; phase <= PHASE_DECODE; phase++) {
        Graph *g;
        lab_check(&lab, engine_graph(lab.engine, (Phase)phase, 2, &g, &lab.diag), "graph");
        int32_t n_copies = 0;
        for (int32_t i = 0; i < graph_n_nodes(g); i++)
            n_copies += graph_node_kernel(g, i) == NULL;
        cr_expect_gt(graph_n_launches(g), lab.model->facts.n_layers * 4);
        cr_expect_eq(graph_n_launches(g) + n_copies, graph_n_nodes(g));
        StrBuf text = {0};
        graph_text(g, &text);
        cr_expect_not_null(strstr(text.data, "attend"), "attention runs as a kernel of ours");
        strbuf_free(&text);
    }
    lab_close(&lab);
}
