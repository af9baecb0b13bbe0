// cli/info.c - kiln info: what a model file holds, what it needs in memory, what a forward pass launches;
// and what this program carries: kernels and targets.
#include "cli/session.h"
#include "models/kernel_texts.h"
#include "runtime/format/weights.h"
#include "runtime/token/tokenizer.h"

static void print_targets(StrBuf *out)
{
    strbuf_printf(out, "cpu            this machine's best level\ncpu:avx512     x86-64 with "
                       "AVX-512 (F BW VL DQ VNNI BF16)\n"
                       "cpu:avx2       x86-64 with AVX2, FMA, F16C\ncpu:generic    any x86-64\n"
                       "cpu:neon       any AArch64\ncpu:neon-dot   AArch64 with LSE and dot "
                       "products (Armv8.2)\ncpu:neon-i8mm  AArch64 with i8mm and bf16 too "
                       "(Armv8.6)\n"
                       "sm_75 sm_80 sm_86 sm_89 sm_90a   NVIDIA, as PTX\n"
                       "emu:sm_80 emu:sm_90a             the same code on this CPU, "
                       "checked\ninterp         the reference\n");
    strbuf_printf(out, "this machine: cpu:%s\n", target_level_name(target_host_level()));
}

static KilnStatus print_kernels(Arena *arena, StrBuf *out, Diag *diag)
{
    KilnStatus st = KILN_OK;
    Source *source = NULL;
    Table t = {.arena = arena, .n_columns = 2};
    table_row(&t, (const char *const[]){"file", "launch card"});
    for (int32_t i = 0; i < kernel_n_texts; i++) {
        const KernelText *k = &kernel_texts[i];
        TRY(source_from_text(k->name, (Str){k->text, k->size}, &source, diag));
        int32_t n;
        Card *cards;
        TRY(source_cards(source, NULL, arena, &n, &cards, diag));
        for (int32_t c = 0; c < n; c++)
            table_row(&t, (const char *const[]){k->name, spec_text(arena, &cards[c].spec)});
        source_close(source);
        source = NULL;
    }
    table_print(&t, out);
done:
    source_close(source);
    return st;
}

static void print_facts(const Session *x, StrBuf *out, Arena *arena)
{
    const ModelFacts *m = &x->model->facts;
    strbuf_printf(out,
                  "name          %s\narchitecture  %s\nparameters    %.2f M\nlayers        "
                  "%d\nwidth         %d\n",
                  m->name, m->arch, (double)m->n_params / 1e6, m->n_layers, m->hidden);
    strbuf_printf(
        out, "heads         %d query, %d key/value, %d wide\nvocabulary    %d\ncontext       %d\n",
        m->n_heads, m->n_kv_heads, m->head_dim, m->vocab, m->max_context);
    strbuf_printf(out, "weights       %s, mostly %s\nread/token    %s\n",
                  bytes_text(arena, (double)m->weight_bytes), m->weight_type,
                  bytes_text(arena, (double)m->token_bytes));
    const Tokenizer *tok = x->model->tokenizer;
    if (tok)
        strbuf_printf(out, "tokenizer     %d ids, bos %d, eos %d%s\n", tokenizer_n_ids(tok),
                      tokenizer_bos(tok), tokenizer_eos(tok),
                      tokenizer_adds_bos(tok) ? ", bos is added" : "");
}

static KilnStatus print_tensors(const char *path, Arena *arena, StrBuf *out, Diag *diag)
{
    ModelFile *file;
    KilnStatus st = model_file_open(path, heap_default(), &file, diag);
    if (st != KILN_OK) return st;
    Table t = {.arena = arena, .n_columns = 4};
    table_row(&t, (const char *const[]){"tensor", "type", "shape", "bytes"});
    for (int32_t i = 0; i < model_file_n_tensors(file); i++) {
        const WeightTensor *w = model_file_tensor_at(file, i);
        const char *shape = w->rank == 1
                                ? arena_printf(arena, "%lld", (long long)w->shape[0])
                                : arena_printf(arena, "%lld x %lld", (long long)w->shape[0],
                                               (long long)w->shape[1]);
        table_row(&t, (const char *const[]){w->name, block_facts(w->type)->name, shape,
                                            arena_printf(arena, "%zu", w->size_bytes)});
    }
    table_print(&t, out);
    model_file_close(file);
    return KILN_OK;
}

static KilnStatus print_plan(Session *x, const Settings *s, Arena *arena, StrBuf *out, Diag *diag)
{
    KilnStatus st = KILN_OK;
    EngineOptions options;
    MemoryPlan p;
    TRY(session_options(s, s->parallel ? (int32_t)s->parallel : 1, &options, diag));
    st = engine_plan(x->dev, x->model, &options, &p, diag);
    strbuf_printf(out, "memory plan for %d sequence%s of %d tokens, kv %s\n", p.n_slots,
                  p.n_slots == 1 ? "" : "s", p.max_context, s->cache_k);
    strbuf_printf(out, "  weights      %12s\n  kv cache     %12s   (%s per token)\n",
                  bytes_text(arena, (double)p.weights), bytes_text(arena, (double)p.kv),
                  bytes_text(arena, (double)p.kv_per_token));
    strbuf_printf(out, "  activations  %12s\n  step         %12s\n",
                  bytes_text(arena, (double)p.activations), bytes_text(arena, (double)p.step));
    strbuf_printf(out, "  available    %12s   %s\n", bytes_text(arena, (double)p.available),
                  p.fits ? "fits" : "does not fit");
done:
    return st;
}

static KilnStatus print_graph(Session *x, const Settings *s, StrBuf *out, Diag *diag)
{
    KilnStatus st = KILN_OK;
    EngineOptions options;
    Graph *graph;
    TRY(session_options(s, s->parallel ? (int32_t)s->parallel : 1, &options, diag));
    TRY(session_engine(x, &options, diag));
    static const struct {
        Phase phase;
        const char *name;
    } phases[] = {{PHASE_PREFILL, "prefill"}, {PHASE_DECODE, "decode"}};
    for (int32_t i = 0; i < COUNT_OF(phases); i++) {
        TRY(engine_graph(x->engine, phases[i].phase, 1, &graph, diag));
        strbuf_printf(out, "%s: %d nodes, %d launches, %d per layer\n", phases[i].name,
                      graph_n_nodes(graph), graph_n_launches(graph),
                      graph_n_launches(graph) / MAX(1, x->model->facts.n_layers));
        graph_text(graph, out);
    }
done:
    return st;
}

int command_info(const Settings *s, Arena *arena, Diag *diag)
{
    KilnStatus st = KILN_OK;
    Session x = {0};
    StrBuf out = {0};
    if (s->list_targets)
        print_targets(&out);
    else if (s->list_kernels)
        st = print_kernels(arena, &out, diag);
    else {
        if (!s->model) {
            fail(diag, KILN_ERR_INPUT, "", "info needs a model, --targets or --list-kernels");
            return EXIT_USAGE;
        }
        TRY(session_device(&x, s, arena, diag));
        TRY(session_model(&x, s, diag));
        if (s->tensors) TRY(print_tensors(s->model, arena, &out, diag));
        if (s->plan) TRY(print_plan(&x, s, arena, &out, diag));
        if (s->graph) TRY(print_graph(&x, s, &out, diag));
        if (!s->tensors && !s->plan && !s->graph) print_facts(&x, &out, arena);
    }
done:
    print_out(&out);
    strbuf_free(&out);
    session_close(&x);
    return exit_of(st);
}
