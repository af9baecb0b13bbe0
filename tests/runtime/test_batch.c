// tests/runtime/test_batch.c - the arrays of a ragged step, as kernels see them.
#include <criterion/criterion.h>
#include <math.h>

#include "runtime/batch.h"

Test(batch, lays_out_the_example_of_its_header)
{
    Device *dev;
    Batch *b;
    StepBuffers s;
    cr_assert_eq(device_open(&(DeviceOptions){.name = "cpu", .n_threads = 1}, &dev, NULL), KILN_OK);
    cr_assert_eq(batch_open(dev, 8, 4, 4, 10, &b, NULL), KILN_OK);
    batch_buffers(b, &s);
    const int32_t first[] = {17, 4, 99, 3}, second[] = {8};
    for (int32_t round = 0; round < 2; round++) { // nothing of an earlier step shows through
        batch_reset(b);
        if (!round)
            batch_add(b, &(BatchSeq){.slot = 1,
                                     .n_tokens = 4,
                                     .tokens = first,
                                     .sample = {.temperature = 9, .top_k = 7, .seed = 3}});
        batch_add(b, &(BatchSeq){.slot = 2,
                                 .first_pos = 0,
                                 .n_tokens = 4,
                                 .tokens = first,
                                 .sample = {.top_p = 0.5f, .seed = 5}});
        if (round)
            batch_add(b, &(BatchSeq){.slot = 0,
                                     .first_pos = 41,
                                     .n_tokens = 1,
                                     .tokens = second,
                                     .sample = {.temperature = 2}});
        batch_upload(b);
    }
    const int32_t tokens[] = {17, 4, 99, 3, 8, 0, 0, 0}, pos[] = {0, 1, 2, 3, 41, 0, 0, 0},
                  seq_of[] = {0, 0, 0, 0, 1, 0, 0, 0};
    const int32_t q_start[] = {0, 4, 5, 5, 5}, slot_of[] = {2, 0, -1, -1}, counts[] = {5, 2, 4, 0},
                  draw[] = {4, 42, 0, 0};
    cr_expect_arr_eq(s.tokens, tokens, sizeof tokens);
    cr_expect_arr_eq(s.pos, pos, sizeof pos);
    cr_expect_arr_eq(s.seq_of, seq_of, sizeof seq_of);
    cr_expect_arr_eq(s.q_start, q_start, sizeof q_start);
    cr_expect_arr_eq(s.slot_of, slot_of, sizeof slot_of);
    cr_expect_arr_eq(s.counts, counts, sizeof counts);
    cr_expect_arr_eq(s.draw, draw, sizeof draw);
    cr_expect_eq(s.top_p[0], 0.5f);
    cr_expect_eq(s.temperature[1], 2.0f);
    cr_expect_eq(s.seed[0], 5);
    cr_expect_eq(s.top_k[0], 0);
    s.out_ids[0] = 123, s.out_ids[1] = 45;
    cr_expect_eq(batch_ids(b)[1], 45);
    StrBuf text = {0};
    batch_text(b, &text);
    cr_expect(strstr(text.data, "seq 0 slot 2 rows 0-4 pos 0-3 temperature 0: 17 4 99 3\n"), "%s",
              text.data);
    strbuf_free(&text);
    batch_close(b);
    cr_expect_eq(dev->counters.bytes_live, 0);
    device_close(dev);
}

Test(batch, refuses_sampling_that_means_nothing)
{
    const SampleParams good = {.temperature = 0.8f, .top_p = 0.95f, .min_p = 0.05f, .top_k = 40};
    SampleParams bad[] = {good, good, good, good, good, good, good};
    bad[0].temperature = -0.1f;
    bad[1].temperature = INFINITY;
    bad[2].top_p = 0;
    bad[3].top_p = 1.01f;
    bad[4].min_p = NAN;
    bad[5].min_p = -1;
    bad[6].top_k = -2;
    cr_expect_eq(sample_check(&good, NULL), KILN_OK);
    cr_expect_eq(sample_check(&(SampleParams){.top_p = 1}, NULL), KILN_OK);
    for (int32_t i = 0; i < COUNT_OF(bad); i++)
        cr_expect_eq(sample_check(&bad[i], NULL), KILN_ERR_INPUT, "case %d", i);
}
