// runtime/engine_plan.c - will it fit? Weights, cache, activations and step arrays against what is free.
//
//   | weights | activations | step | cache: slots x context ... |  free  |
//   `------------------------ available = fraction x free ------'
#include <stdio.h>

#include "runtime/engine_private.h"

EngineOptions engine_defaults(const EngineOptions *options)
{
    EngineOptions o = *options;
    if (o.n_slots <= 0) o.n_slots = 1;
    if (o.n_batch <= 0) o.n_batch = 512;
    if (o.page_len <= 0) o.page_len = 32;
    if (o.mem_fraction <= 0) o.mem_fraction = 0.9;
    o.n_batch = MAX(o.n_batch, o.n_slots);
    return o;
}

KvShape engine_kv_shape(const Model *m, const EngineOptions *o, int32_t max_context)
{
    return (KvShape){.n_layers = m->facts.n_layers,
                     .n_kv_heads = m->facts.n_kv_heads,
                     .head_dim = m->facts.head_dim,
                     .page_len = o->page_len,
                     .max_context = max_context,
                     .n_slots = o->n_slots,
                     .format = o->kv_format};
}

/// Cache bytes: as told, or every slot full.
static size_t kv_need(const Model *m, const EngineOptions *o, int32_t context)
{
    KvShape s = engine_kv_shape(m, o, context);
    size_t one = kv_bytes_for(&s, context), all;
    if (o->kv_bytes) return o->kv_bytes;
    return __builtin_mul_overflow(one, (size_t)o->n_slots, &all) ? SIZE_MAX : all;
}

/// The longest context up to `most` whose cache fits `room`, a multiple of the page length; 0: none.
static int32_t longest_fit(const Model *m, const EngineOptions *o, size_t room, int32_t most)
{
    if (kv_need(m, o, most) <= room) return most;
    int32_t low = 0, high = most / o->page_len; // pages: low fits, high does not
    while (high - low > 1) {
        int32_t mid = low + (high - low) / 2;
        if (kv_need(m, o, mid * o->page_len) <= room)
            low = mid;
        else
            high = mid;
    }
    return low * o->page_len;
}

/// What would fit instead, as flags.
static void hint(char *out, size_t size, const Model *m, const EngineOptions *o,
                 const MemoryPlan *p, size_t room)
{
    EngineOptions less = *o;
    int32_t context = longest_fit(m, o, room, p->max_context);
    size_t at = (size_t)snprintf(
        out, size, context ? "fits: -c %d" : "not one page of cache fits beside the weights",
        context);
    while (less.n_slots > 1 && kv_need(m, &less, p->max_context) > room)
        less.n_slots--;
    if (o->n_slots > 1 && kv_need(m, &less, p->max_context) <= room && at < size)
        at += (size_t)snprintf(out + at, size - at, ", or -np %d", less.n_slots);
    less = *o;
    less.kv_format = KV_int8;
    int32_t longer = longest_fit(m, &less, room, p->max_context);
    if (longer > context && at < size)
        snprintf(out + at, size - at, ", or -ctk int8 -ctv int8 with -c %d", longer);
}

static double gib(size_t bytes)
{
    return (double)bytes / (1024.0 * 1024 * 1024);
}

KilnStatus engine_plan(Device *dev, const Model *m, const EngineOptions *options, MemoryPlan *out,
                       Diag *diag)
{
    EngineOptions o = engine_defaults(options);
    *out = (MemoryPlan){.weights = m->facts.weight_bytes, .n_slots = o.n_slots};
    size_t free_bytes = o.memory_limit ? o.memory_limit : device_memory_free(dev);
    out->available =
        o.memory_limit ? o.memory_limit : (size_t)((double)free_bytes * o.mem_fraction);
    int32_t most = m->facts.max_context > 0 ? m->facts.max_context : 4096;
    int32_t want = o.max_context > 0 ? o.max_context : most;
    int32_t logit_rows = o.all_logits ? MAX(o.n_batch, o.n_slots) : o.n_slots;
    StepShape shape = {.phase = PHASE_PREFILL,
                       .n_tokens = o.n_batch,
                       .n_seqs = o.n_slots,
                       .max_context = want,
                       .all_logits = o.all_logits};
    out->activations = m->ops->activation_bytes(m, &shape);
    out->step = (size_t)logit_rows * (size_t)m->facts.vocab * sizeof(float) +
                (size_t)o.n_batch * 12 + (size_t)o.n_slots * 64;
    size_t fixed = (m->is_loaded ? 0 : out->weights) + out->activations +
                   out->step; // loaded ones are not free any more
    size_t room = out->available > fixed ? out->available - fixed : 0;
    KvShape s = engine_kv_shape(m, &o, want);
    out->kv_per_token = (size_t)(kv_page_bytes(&s) * s.n_layers * s.n_kv_heads / s.page_len);
    out->max_context = o.max_context > 0 ? want : longest_fit(m, &o, room, want);
    out->kv = kv_need(m, &o, MAX(out->max_context, 1));
    out->fits = out->max_context > 0 && out->kv <= room;
    if (out->fits) return KILN_OK;
    char text[192];
    if (!out->max_context) {
        out->max_context = MIN(want, o.page_len);
        out->kv = kv_need(m, &o, out->max_context);
    }
    hint(text, sizeof text, m, &o, out, room);
    return fail_hint(diag, KILN_ERR_LIMIT, "K301", text,
                     "KV cache: %d slot%s × %d tokens need %.2f GiB, %.2f GiB are free on %s after "
                     "%.2f GiB of weights and %.2f GiB of "
                     "activations",
                     o.n_slots, o.n_slots > 1 ? "s" : "", out->max_context, gib(out->kv), gib(room),
                     dev->facts.name, gib(out->weights), gib(out->activations + out->step));
}
