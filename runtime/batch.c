#include "runtime/batch.h"

#include <math.h>

enum { LINE = 64 }; // arrays begin at cache lines

struct Batch {
    Device *dev;
    StepBuffers dev_arrays, host; ///< the same arrays in device memory and in the host's copy
    uint8_t *dev_block, *host_block;
    float *logits;
    size_t bytes, ids_offset; ///< of a block without its room; the sampled ids come last
    int32_t n_tokens, n_seqs;
};

KilnStatus sample_check(const SampleParams *p, Diag *diag)
{
    const struct {
        const char *name;
        double value, low, high;
        bool open_low; ///< low itself is out
    } rules[] = {
        {"temperature", p->temperature, 0, 100, false},
        {"top_p", p->top_p, 0, 1, true},
        {"min_p", p->min_p, 0, 1, false},
        {"top_k", p->top_k, 0, 1e9, false},
    };
    for (int32_t i = 0; i < COUNT_OF(rules); i++)
        if (!isfinite(rules[i].value) || rules[i].value < rules[i].low ||
            rules[i].value > rules[i].high || (rules[i].open_low && rules[i].value <= rules[i].low))
            return fail(diag, KILN_ERR_INPUT, "K403", "%s is %g (expected %s%g to %g)",
                        rules[i].name, rules[i].value, rules[i].open_low ? "above " : "",
                        rules[i].low, rules[i].high);
    return KILN_OK;
}

/// Lays the arrays out from `block` (NULL: only measures). @return bytes
static size_t lay_out(StepBuffers *s, uint8_t *block, size_t *ids_offset)
{
    const size_t T = (size_t)s->max_tokens, S = (size_t)s->max_seqs;
    const struct {
        void *field; ///< address of a pointer in `s`
        size_t bytes;
    } arrays[] = {
        {&s->counts, 4 * 4},      {&s->tokens, 4 * T},        {&s->pos, 4 * T},
        {&s->seq_of, 4 * T},      {&s->q_start, 4 * (S + 1)}, {&s->slot_of, 4 * S},
        {&s->temperature, 4 * S}, {&s->top_p, 4 * S},         {&s->min_p, 4 * S},
        {&s->top_k, 4 * S},       {&s->seed, 8 * S},          {&s->draw, 4 * S},
        {&s->out_ids, 4 * S},
    };
    size_t at = 0;
    for (int32_t i = 0; i < COUNT_OF(arrays); i++) {
        void *p = block ? block + at : NULL;
        memcpy(arrays[i].field, &p, sizeof p);
        *ids_offset = at;
        at += (size_t)round_up((int64_t)arrays[i].bytes, LINE);
    }
    return at;
}

KilnStatus batch_open(Device *dev, int32_t max_tokens, int32_t max_seqs, int32_t logit_rows,
                      int32_t vocab, Batch **out, Diag *diag)
{
    return batch_open_with(dev, max_tokens, max_seqs, logit_rows, vocab, 0, out, diag);
}

KilnStatus batch_open_with(Device *dev, int32_t max_tokens, int32_t max_seqs, int32_t logit_rows,
                           int32_t vocab, size_t room, Batch **out, Diag *diag)
{
    KilnStatus st = KILN_OK;
    void *at = NULL;
    *out = NULL;
    Batch *b = heap_new(dev->heap, Batch);
    if (!b) return fail(diag, KILN_ERR_NOMEM, "K102", "no memory for a batch");
    b->dev = dev;
    b->dev_arrays.max_tokens = b->host.max_tokens = max_tokens;
    b->dev_arrays.max_seqs = b->host.max_seqs = max_seqs;
    b->bytes = lay_out(&b->host, NULL, &b->ids_offset);
    b->host_block = heap_alloc(dev->heap, b->bytes + room, LINE);
    if (!b->host_block)
        TRY(fail(diag, KILN_ERR_NOMEM, "K102", "no memory for a batch of %d tokens", max_tokens));
    TRY(device_alloc(dev, b->bytes + room, "step", &at, diag));
    b->dev_block = at;
    TRY(device_alloc(dev, (size_t)MAX(max_seqs, logit_rows) * (size_t)vocab * sizeof(float),
                     "logits", &at, diag));
    b->dev_arrays.logits = b->logits = at;
    lay_out(&b->host, b->host_block, &b->ids_offset);
    lay_out(&b->dev_arrays, b->dev_block, &b->ids_offset);
    batch_reset(b);
    *out = b;
    b = NULL;
done:
    batch_close(b);
    return st;
}

void batch_close(Batch *b)
{
    if (!b) return;
    device_free(b->dev, b->logits);
    device_free(b->dev, b->dev_block);
    heap_free(b->dev->heap, b->host_block);
    heap_free(b->dev->heap, b);
}

void batch_buffers(const Batch *b, StepBuffers *out)
{
    *out = b->dev_arrays;
}

void batch_reset(Batch *b)
{
    memset(b->host_block, 0, b->bytes);
    for (int32_t s = 0; s < b->host.max_seqs; s++)
        b->host.slot_of[s] = -1;
    b->n_tokens = b->n_seqs = 0;
}

void batch_add(Batch *b, const BatchSeq *seq)
{
    ASSERT(b->n_seqs < b->host.max_seqs && seq->n_tokens >= 1 &&
           seq->n_tokens <= b->host.max_tokens - b->n_tokens);
    StepBuffers *h = &b->host;
    int32_t s = b->n_seqs++;
    for (int32_t i = 0; i < seq->n_tokens; i++) {
        int32_t row = b->n_tokens + i;
        h->tokens[row] = seq->tokens[i];
        h->pos[row] = seq->first_pos + i;
        h->seq_of[row] = s;
    }
    b->n_tokens += seq->n_tokens;
    h->slot_of[s] = seq->slot;
    for (int32_t i = s + 1; i <= h->max_seqs; i++)
        h->q_start[i] = b->n_tokens; // dead ones repeat the end
    h->temperature[s] = seq->sample.temperature;
    h->top_p[s] = seq->sample.top_p;
    h->min_p[s] = seq->sample.min_p;
    h->top_k[s] = seq->sample.top_k;
    h->seed[s] = (int64_t)seq->sample.seed;
    h->draw[s] = seq->first_pos + seq->n_tokens;
    h->counts[0] = b->n_tokens;
    h->counts[1] = b->n_seqs;
    h->counts[2] = MAX(h->counts[2], seq->n_tokens);
}

int32_t batch_n_tokens(const Batch *b)
{
    return b->n_tokens;
}

int32_t batch_n_seqs(const Batch *b)
{
    return b->n_seqs;
}

void batch_room(const Batch *b, void **host, void **device)
{
    *host = b->host_block + b->bytes;
    *device = b->dev_block + b->bytes;
}

void batch_upload_with(Batch *b, size_t room_bytes)
{
    device_upload(b->dev, b->dev_block, b->host_block, b->bytes + room_bytes);
}

void batch_upload(Batch *b)
{
    batch_upload_with(b, 0);
}

const int32_t *batch_ids(Batch *b)
{
    device_download(b->dev, b->host.out_ids, b->dev_block + b->ids_offset,
                    (size_t)b->n_seqs * sizeof(int32_t));
    return b->host.out_ids;
}

void batch_text(const Batch *b, StrBuf *out)
{
    const StepBuffers *h = &b->host;
    strbuf_printf(out, "step: %d tokens, %d sequences, longest chunk %d\n", h->counts[0],
                  h->counts[1], h->counts[2]);
    for (int32_t s = 0; s < b->n_seqs; s++) {
        strbuf_printf(out, "  seq %d slot %d rows %d-%d pos %d-%d temperature %g:", s,
                      h->slot_of[s], h->q_start[s], h->q_start[s + 1], h->pos[h->q_start[s]],
                      h->pos[h->q_start[s + 1] - 1], (double)h->temperature[s]);
        for (int32_t r = h->q_start[s]; r < h->q_start[s + 1]; r++)
            strbuf_printf(out, " %d", h->tokens[r]);
        strbuf_putc(out, '\n');
    }
}
