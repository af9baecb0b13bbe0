#include "runtime/graph.h"

#include <stdio.h>

#include "runtime/plan.h"

/// Memory that a node reads or writes: a planned buffer, or the allocation around an address.
typedef struct Touch {
    int32_t tensor; ///< -1: `begin` and `end`
    const char *begin, *end;
    bool is_write;
    int32_t block_offset; ///< where in the argument block its address goes
    int64_t offset;       ///< TENSOR: bytes into it
} Touch;

typedef struct Node {
    Launch launch;    ///< kernel NULL: a product or a copy
    const Gemm *gemm; ///< NULL: no product
    GemmShape shape;
    uint8_t *block;
    int32_t n_touches;
    Touch *touches;
    void
        *ends[3]; ///< to, from (product: and weight), after graph_finish (or at once for addresses)
    size_t bytes; ///< copy
    int32_t section, wave;
} Node;

typedef struct GraphTensor {
    const char *name;
    size_t bytes;
    PlanItem plan;
} GraphTensor;

struct Graph {
    Device *dev;
    Arena arena;
    const char *name;
    VEC(Node) nodes;
    VEC(GraphTensor) tensors;
    VEC(const char *) sections;
    char *memory; ///< planned buffers
    size_t memory_bytes;
    void *given; ///< borrowed memory for them, or NULL
    size_t given_bytes;
    bool is_finished;
    int32_t n_waves;
    int32_t *wave_start;     ///< [n_waves + 1] into order
    int32_t *order;          ///< node numbers by wave
    DeviceStep *steps;       ///< [n_nodes] in that order
    const Launch **launches; ///< their launches; NULL for others
    void *captured;          ///< of a device that takes the whole list, or NULL
};

KilnStatus graph_new(Device *dev, const char *name, Graph **out, Diag *diag)
{
    *out = NULL;
    Graph *g = heap_new(dev->heap, Graph);
    if (!g) return fail(diag, KILN_ERR_NOMEM, "K102", "no memory for graph %s", name);
    g->dev = dev;
    arena_init(&g->arena, dev->heap);
    g->name = arena_strdup(&g->arena, name);
    vec_push(&g->arena, &g->sections, "");
    *out = g;
    return KILN_OK;
}

void graph_free(Graph *g)
{
    if (!g) return;
    if (g->captured) g->dev->ops->forget(g->dev, g->captured);
    if (g->memory != g->given) device_free(g->dev, g->memory);
    Heap *heap = g->dev->heap;
    arena_reset(&g->arena);
    heap_free(heap, g);
}

// ---- recording --------------------------------------------------------------------------------

void graph_section(Graph *g, const char *name)
{
    vec_push(&g->arena, &g->sections, arena_strdup(&g->arena, name));
}

int32_t graph_tensor(Graph *g, const char *name, size_t bytes)
{
    ASSERT(!g->is_finished);
    GraphTensor t = {
        .name = arena_strdup(&g->arena, name), .bytes = bytes, .plan = {.first = 1, .last = 0}};
    vec_push(&g->arena, &g->tensors, t);
    return g->tensors.len - 1;
}

static Touch touch_address(const Graph *g, const void *at, size_t bytes, bool is_write)
{
    const MemRange *r = bytes ? NULL : device_range(g->dev, at);
    const char *begin = r ? r->begin : at;
    return (Touch){.tensor = -1,
                   .begin = begin,
                   .end = begin + (r ? r->bytes : MAX(bytes, 1)),
                   .is_write = is_write};
}

/// One memory touch per pointer argument of a launch.
static void find_touches(Graph *g, Node *n, int32_t n_args, const Arg *args, const int32_t *fixups)
{
    const Code *c = &n->launch.kernel->code;
    n->touches = arena_array(&g->arena, Touch, MAX(n_args, 1));
    for (int32_t i = 0; i < n_args; i++) {
        if (args[i].kind != ARG_PTR && args[i].kind != ARG_TENSOR) continue;
        bool is_write = false;
        for (int32_t p = 0; p < c->n_params; p++)
            if (c->params[p].offset == fixups[i]) is_write = c->params[p].is_written;
        Touch t = args[i].kind == ARG_PTR ? touch_address(g, args[i].ptr, 0, is_write)
                                          : (Touch){.tensor = args[i].t.tensor,
                                                    .offset = args[i].t.offset,
                                                    .is_write = is_write};
        t.block_offset = fixups[i];
        if (args[i].kind == ARG_PTR && !args[i].ptr) continue;
        n->touches[n->n_touches++] = t;
    }
}

static KilnStatus check_tensor(const Graph *g, const char *who, const Arg *a, size_t bytes,
                               Diag *diag)
{
    if (a->kind != ARG_TENSOR) return KILN_OK;
    if (a->t.tensor < 0 || a->t.tensor >= g->tensors.len)
        return fail(diag, KILN_ERR_INPUT, "K135", "%s: graph %s has no planned buffer %d", who,
                    g->name, a->t.tensor);
    const GraphTensor *t = &g->tensors.data[a->t.tensor];
    if (a->t.offset < 0 || (size_t)a->t.offset > t->bytes || bytes > t->bytes - (size_t)a->t.offset)
        return fail(diag, KILN_ERR_INPUT, "K135",
                    "%s: bytes %lld .. %lld of planned buffer %s, which has %zu", who,
                    (long long)a->t.offset, (long long)a->t.offset + (long long)bytes, t->name,
                    t->bytes);
    return KILN_OK;
}

KilnStatus graph_launch_with(Graph *g, Kernel *k, Grid grid, const LaunchOptions *options,
                             int32_t n_args, const Arg *args, Diag *diag)
{
    KilnStatus st = KILN_OK;
    int32_t fixups[CODE_MAX_PARAMS];
    ASSERT(!g->is_finished);
    for (int32_t i = 0; i < n_args && st == KILN_OK; i++)
        st = check_tensor(g, k->code.entry, &args[i], 0, diag);
    if (st != KILN_OK) return st;
    Node n = {.section = g->sections.len - 1};
    n.block = arena_alloc(&g->arena, (size_t)MAX(k->code.args_bytes, 1), 16);
    TRY(launch_make(k, grid, n_args, args, options, n.block, fixups, &n.launch, diag));
    if (n.launch.n_programs == 0) return KILN_OK;
    find_touches(g, &n, n_args, args, fixups);
    vec_push(&g->arena, &g->nodes, n);
done:
    return st;
}

KilnStatus graph_launch(Graph *g, Kernel *k, Grid grid, int32_t n_args, const Arg *args, Diag *diag)
{
    return graph_launch_with(g, k, grid, NULL, n_args, args, diag);
}

/// The touches of a node that is no launch: end 0 is written. `bytes[i]` of each end.
static KilnStatus add_ends(Graph *g, Node *n, const char *who, int32_t n_ends, const Arg *ends,
                           const size_t *bytes, Diag *diag)
{
    KilnStatus st = KILN_OK;
    n->section = g->sections.len - 1;
    n->touches = arena_array(&g->arena, Touch, n_ends);
    for (int32_t i = 0; i < n_ends; i++) {
        if (ends[i].kind != ARG_PTR && ends[i].kind != ARG_TENSOR)
            TRY(fail(diag, KILN_ERR_INPUT, "K132",
                     "%s in graph %s: found a number, expected an address", who, g->name));
        TRY(check_tensor(g, who, &ends[i], bytes[i], diag));
        bool is_ptr = ends[i].kind == ARG_PTR;
        Touch t = {.tensor = ends[i].t.tensor, .offset = ends[i].t.offset, .is_write = i == 0};
        if (is_ptr) t = touch_address(g, ends[i].ptr, bytes[i], i == 0);
        t.block_offset = i;
        n->touches[n->n_touches++] = t;
        n->ends[i] = is_ptr ? ends[i].ptr : NULL;
    }
done:
    return st;
}

KilnStatus graph_copy(Graph *g, Arg dst, Arg src, size_t bytes, Diag *diag)
{
    ASSERT(!g->is_finished);
    Node n = {.bytes = bytes};
    KilnStatus st =
        add_ends(g, &n, "copy", 2, (const Arg[]){dst, src}, (const size_t[]){bytes, bytes}, diag);
    if (st == KILN_OK && bytes) vec_push(&g->arena, &g->nodes, n);
    return st;
}

KilnStatus graph_gemm(Graph *g, const Gemm *gemm, const GemmShape *shape, Arg y, Arg x, Arg w,
                      Diag *diag)
{
    ASSERT(!g->is_finished);
    Node n = {.gemm = gemm, .shape = *shape};
    size_t rows = (size_t)shape->m, cols = (size_t)shape->n, depth = (size_t)shape->k;
    const size_t bytes[] = {rows * cols * (size_t)dtype_bytes(shape->y),
                            rows * depth * (size_t)dtype_bytes(shape->x),
                            cols * depth * (size_t)dtype_bytes(shape->w)};
    KilnStatus st = add_ends(g, &n, "product", 3, (const Arg[]){y, x, w}, bytes, diag);
    if (st == KILN_OK) vec_push(&g->arena, &g->nodes, n);
    return st;
}

// ---- waves ------------------------------------------------------------------------------------

static bool touches_meet(const Touch *a, const Touch *b)
{
    if (!a->is_write && !b->is_write) return false;
    if (a->tensor >= 0 || b->tensor >= 0) return a->tensor == b->tensor;
    return a->begin < b->end && b->begin < a->end;
}

static bool depends(const Node *later, const Node *earlier)
{
    for (int32_t i = 0; i < later->n_touches; i++)
        for (int32_t j = 0; j < earlier->n_touches; j++)
            if (touches_meet(&later->touches[i], &earlier->touches[j])) return true;
    return false;
}

/// The wave of each node: one after the last it depends on, but at most LOOK_BACK waves before the newest and
/// behind all nodes further back than WINDOW, which keeps this linear and the lives of buffers short.
static void form_waves(Graph *g)
{
    enum { LOOK_BACK = 4, WINDOW = 64 };
    int32_t n = g->nodes.len, last = -1, behind = -1;
    for (int32_t i = 0; i < n; i++) {
        Node *node = &g->nodes.data[i];
        if (i > WINDOW) behind = MAX(behind, g->nodes.data[i - WINDOW - 1].wave);
        node->wave = MAX(behind + 1, MAX(0, last + 1 - LOOK_BACK));
        for (int32_t j = i - 1; j >= 0 && j >= i - WINDOW; j--) {
            const Node *before = &g->nodes.data[j];
            if (before->wave >= node->wave && depends(node, before)) node->wave = before->wave + 1;
        }
        last = MAX(last, node->wave);
    }
    g->n_waves = last + 1;
    g->wave_start = arena_array(&g->arena, int32_t, g->n_waves + 1);
    g->order = arena_array(&g->arena, int32_t, MAX(n, 1));
    for (int32_t i = 0; i < n; i++)
        g->wave_start[g->nodes.data[i].wave + 1]++;
    for (int32_t w = 0; w < g->n_waves; w++)
        g->wave_start[w + 1] += g->wave_start[w];
    int32_t *fill = arena_array(&g->arena, int32_t, g->n_waves + 1);
    for (int32_t i = 0; i < n; i++) {
        int32_t w = g->nodes.data[i].wave;
        g->order[g->wave_start[w] + fill[w]++] = i;
    }
}

/// Lives in waves; offsets; the memory.
static KilnStatus plan_memory(Graph *g, Diag *diag)
{
    for (int32_t i = 0; i < g->nodes.len; i++) {
        const Node *n = &g->nodes.data[i];
        for (int32_t j = 0; j < n->n_touches; j++) {
            if (n->touches[j].tensor < 0) continue;
            PlanItem *p = &g->tensors.data[n->touches[j].tensor].plan;
            bool is_first = p->first > p->last;
            p->first = is_first ? n->wave : MIN(p->first, n->wave);
            p->last = is_first ? n->wave : MAX(p->last, n->wave);
        }
    }
    PlanItem *items = arena_array(&g->arena, PlanItem, MAX(g->tensors.len, 1));
    for (int32_t i = 0; i < g->tensors.len; i++) {
        items[i] = g->tensors.data[i].plan;
        items[i].bytes = g->tensors.data[i].bytes;
    }
    g->memory_bytes = plan_offsets(&g->arena, g->tensors.len, items, 64);
    for (int32_t i = 0; i < g->tensors.len; i++)
        g->tensors.data[i].plan = items[i];
    void *memory = NULL;
    if (!g->memory_bytes) return KILN_OK;
    if (g->given && g->memory_bytes <= g->given_bytes) {
        g->memory = g->given;
        return KILN_OK;
    }
    KilnStatus st = device_alloc(g->dev, g->memory_bytes, "activations", &memory, diag);
    g->memory = memory;
    if (st == KILN_OK) device_hide(g->dev, memory);
    return st;
}

/// Puts the addresses of planned buffers where launches and copies expect them.
static void resolve(Graph *g, Node *n)
{
    for (int32_t i = 0; i < n->n_touches; i++) {
        const Touch *t = &n->touches[i];
        if (t->tensor < 0) continue;
        void *at = g->memory + g->tensors.data[t->tensor].plan.offset + t->offset;
        if (n->launch.kernel)
            memcpy(n->block + t->block_offset, &at, sizeof at);
        else
            n->ends[t->block_offset] = at;
    }
}

/// The planned buffers a launch names, for devices that check.
static void name_ranges(Graph *g, Node *n)
{
    MemRange *ranges = arena_array(&g->arena, MemRange, MAX(n->n_touches, 1));
    for (int32_t i = 0; i < n->n_touches; i++) {
        if (n->touches[i].tensor < 0) continue;
        const GraphTensor *t = &g->tensors.data[n->touches[i].tensor];
        bool is_new = true;
        for (int32_t j = 0; j < i; j++)
            is_new &= n->touches[j].tensor != n->touches[i].tensor;
        if (is_new)
            ranges[n->launch.n_ranges++] =
                (MemRange){g->memory + t->plan.offset, t->bytes, t->name};
    }
    n->launch.ranges = ranges;
}

void graph_use_memory(Graph *g, void *at, size_t bytes)
{
    ASSERT(!g->is_finished);
    g->given = at;
    g->given_bytes = bytes;
}

/// What the device does for a node.
static DeviceStep step_of(const Node *n)
{
    return (DeviceStep){.launch = n->launch.kernel ? &n->launch : NULL,
                        .gemm = n->gemm,
                        .dst = n->ends[0],
                        .src = n->ends[1],
                        .weight = n->ends[2],
                        .bytes = n->bytes};
}

KilnStatus graph_finish(Graph *g, Diag *diag)
{
    ASSERT(!g->is_finished);
    form_waves(g);
    KilnStatus st = plan_memory(g, diag);
    if (st != KILN_OK) return st;
    int32_t n_nodes = g->nodes.len;
    g->launches = arena_array(&g->arena, const Launch *, MAX(n_nodes, 1));
    g->steps = arena_array(&g->arena, DeviceStep, MAX(n_nodes, 1));
    for (int32_t i = 0; i < n_nodes; i++) {
        Node *n = &g->nodes.data[g->order[i]];
        resolve(g, n);
        if (g->dev->facts.is_checked) name_ranges(g, n);
        g->steps[i] = step_of(n);
        g->launches[i] = g->steps[i].launch;
    }
    if (g->dev->ops->capture && n_nodes) {
        st = g->dev->ops->capture(g->dev, g->name, n_nodes, g->steps, &g->captured, diag);
        if (st != KILN_OK) return st;
        g->dev->counters.captures++;
    }
    g->is_finished = true;
    g->dev->counters.records++;
    return KILN_OK;
}

// ---- running ----------------------------------------------------------------------------------

/// A node that is no launch.
static void run_step(Device *dev, const DeviceStep *s)
{
    if (!s->gemm) {
        device_copy(dev, s->dst, s->src, s->bytes);
        return;
    }
    dev->counters.gemms++;
    dev->ops->gemm_run(dev, s);
}

KilnStatus graph_run(Graph *g, Diag *diag)
{
    ASSERT(g->is_finished);
    if (g->captured) {
        g->dev->counters.replays++;
        return g->dev->ops->replay(g->dev, g->captured, diag);
    }
    for (int32_t w = 0; w < g->n_waves; w++) {
        int32_t from = g->wave_start[w], to = g->wave_start[w + 1];
        while (from < to) { // launches in a row go together; nodes of a wave may run in any order
            int32_t n = 0;
            while (from + n < to && g->launches[from + n])
                n++;
            if (n) {
                KilnStatus st = device_run(g->dev, n, g->launches + from, diag);
                if (st != KILN_OK) return st;
                from += n;
                continue;
            }
            run_step(g->dev, &g->steps[from++]);
        }
    }
    return device_check(g->dev, diag);
}

KilnStatus graph_run_timed(Graph *g, double *us, Diag *diag)
{
    KilnStatus st = KILN_OK;
    DeviceEvent *begin = NULL, *end = NULL;
    ASSERT(g->is_finished);
    TRY(device_event_new(g->dev, &begin, diag));
    TRY(device_event_new(g->dev, &end, diag));
    for (int32_t i = 0; i < g->nodes.len; i++) {
        double took;
        DeviceStep s = step_of(&g->nodes.data[i]);
        device_event_record(begin);
        if (s.launch)
            TRY(launch_run(s.launch, diag));
        else
            run_step(g->dev, &s);
        device_event_record(end);
        TRY(device_event_us(begin, end, &took, diag));
        if (us) us[i] = took;
    }
done:
    device_event_free(begin);
    device_event_free(end);
    return st;
}

// ---- facts and text ---------------------------------------------------------------------------

int32_t graph_n_nodes(const Graph *g)
{
    return g->nodes.len;
}

int32_t graph_n_launches(const Graph *g)
{
    int32_t n = 0;
    for (int32_t i = 0; i < g->nodes.len; i++)
        n += g->nodes.data[i].launch.kernel != NULL;
    return n;
}

int32_t graph_n_gemms(const Graph *g)
{
    int32_t n = 0;
    for (int32_t i = 0; i < g->nodes.len; i++)
        n += g->nodes.data[i].gemm != NULL;
    return n;
}

bool graph_is_captured(const Graph *g)
{
    return g->captured != NULL;
}

int32_t graph_n_waves(const Graph *g)
{
    return g->n_waves;
}

size_t graph_arena_bytes(const Graph *g)
{
    return g->memory_bytes;
}

size_t graph_tensor_bytes(const Graph *g)
{
    size_t n = 0;
    for (int32_t i = 0; i < g->tensors.len; i++)
        n += g->tensors.data[i].bytes;
    return n;
}

const Kernel *graph_node_kernel(const Graph *g, int32_t i)
{
    return g->nodes.data[i].launch.kernel;
}

const char *graph_node_section(const Graph *g, int32_t i)
{
    return g->sections.data[g->nodes.data[i].section];
}

void *graph_tensor_address(const Graph *g, int32_t tensor, size_t *bytes)
{
    const GraphTensor *t = &g->tensors.data[tensor];
    if (bytes) *bytes = t->bytes;
    return t->plan.first > t->plan.last ? NULL : g->memory + t->plan.offset;
}

static void touch_text(const Graph *g, const Node *n, StrBuf *out)
{
    const char *before = " ";
    for (int32_t i = 0; i < n->n_touches; i++) {
        const Touch *t = &n->touches[i];
        const MemRange *r = t->tensor >= 0 ? NULL : device_range(g->dev, t->begin);
        const char *name = t->tensor >= 0 ? g->tensors.data[t->tensor].name
                           : r && r->name ? r->name
                                          : "?";
        strbuf_printf(out, "%s%s%s", before, t->is_write ? "=" : "", name);
        before = ", ";
    }
}

void graph_text(const Graph *g, StrBuf *out)
{
    int32_t n_launches = graph_n_launches(g), n_gemms = graph_n_gemms(g);
    strbuf_printf(out, "graph %s: %d launches, ", g->name, n_launches);
    if (n_gemms) strbuf_printf(out, "%d products, ", n_gemms);
    strbuf_printf(out, "%d copies, %d waves%s; planned %zu bytes in %zu\n",
                  g->nodes.len - n_launches - n_gemms, g->n_waves,
                  g->captured ? ", one CUDA graph" : "", graph_tensor_bytes(g), g->memory_bytes);
    int32_t section = 0;
    for (int32_t i = 0; i < g->nodes.len; i++) {
        const Node *n = &g->nodes.data[i];
        if (n->section != section)
            strbuf_printf(out, "%s:\n", g->sections.data[section = n->section]);
        strbuf_printf(out, "%5d wave %-4d ", i, n->wave);
        if (n->launch.kernel)
            strbuf_printf(out, "launch %s (%d, %d, %d)", n->launch.kernel->code.entry,
                          n->launch.grid.x, n->launch.grid.y, n->launch.grid.z);
        else if (n->gemm)
            strbuf_printf(out, "gemm %s %d x %d x %d", dtype_facts[n->shape.x].name, n->shape.m,
                          n->shape.n, n->shape.k);
        else
            strbuf_printf(out, "copy %zu bytes", n->bytes);
        touch_text(g, n, out);
        strbuf_putc(out, '\n');
    }
    for (int32_t i = 0; i < g->tensors.len; i++) {
        const GraphTensor *t = &g->tensors.data[i];
        if (t->plan.first <= t->plan.last)
            strbuf_printf(out, "buffer %-20s %10zu bytes at %10zu, waves %d-%d\n", t->name,
                          t->bytes, t->plan.offset, t->plan.first, t->plan.last);
        else
            strbuf_printf(out, "buffer %-20s %10zu bytes, unused\n", t->name, t->bytes);
    }
}

void graph_dot(const Graph *g, StrBuf *out)
{
    strbuf_printf(out, "digraph \"%s\" {\n  node [shape=box, fontname=\"monospace\"];\n", g->name);
    for (int32_t i = 0; i < g->nodes.len; i++) {
        const Node *n = &g->nodes.data[i];
        if (n->launch.kernel)
            strbuf_printf(out, "  n%d [label=\"%d %s\\n%s\"];\n", i, i,
                          n->launch.kernel->code.entry, graph_node_section(g, i));
        else if (n->gemm)
            strbuf_printf(out, "  n%d [label=\"%d gemm %d x %d x %d\\n%s\"];\n", i, i, n->shape.m,
                          n->shape.n, n->shape.k, graph_node_section(g, i));
        else
            strbuf_printf(out, "  n%d [label=\"%d copy %zu\"];\n", i, i, n->bytes);
        for (int32_t j = i - 1; j >= 0 && j >= i - 64; j--)
            if (g->nodes.data[j].wave == n->wave - 1 && depends(n, &g->nodes.data[j]))
                strbuf_printf(out, "  n%d -> n%d;\n", j, i);
    }
    strbuf_puts(out, "}\n");
}
