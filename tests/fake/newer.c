// tests/fake/newer.c - the functions that a driver before 11.6 lacks: the pool, attributes of launches, graphs.
#include <string.h>

#include "core.h"

// ---- what an older driver lacks ---------------------------------------------------------------

EXPORT int cuMemAllocAsync(Address *at, size_t bytes, void *stream)
{
    ENTER(INIT | CURRENT | OUTSIDE_CAPTURE, "bytes=%zu stream=%s", bytes, name_of(stream));
    Object *o;
    int e = take(MEMORY, bytes, true, &o);
    if (!e) *at = (Address)(uintptr_t)o->at;
    return e;
}

EXPORT int cuMemFreeAsync(Address at, void *stream)
{
    ENTER(INIT | CURRENT | OUTSIDE_CAPTURE, "%s stream=%s", address_name((void *)(uintptr_t)at),
          name_of(stream));
    Object *o = allocation(__func__, (void *)(uintptr_t)at, MEMORY);
    if (!o) return 1;
    o->is_leaving = true;
    return queue(__func__, stream, (Op){.kind = OP_FREE, .object = o});
}

/// As the driver lays it out.
typedef struct Config {
    unsigned grid[3], block[3], shared;
    void *stream;
    struct {
        int id;
        char pad[4];
        union {
            char bytes[64];
            unsigned cluster[3];
            int flag;
        };
    } *attributes;
    unsigned n_attributes;
} Config;

EXPORT int cuLaunchKernelEx(const Config *c, void *fn, void **params, void **extra)
{
    unsigned cluster = 1;
    int overlap = 0;
    for (unsigned i = 0; i < c->n_attributes; i++) {
        if (c->attributes[i].id == 4) cluster = c->attributes[i].cluster[0];
        if (c->attributes[i].id == 6) overlap = c->attributes[i].flag;
    }
    ENTER(INIT | CURRENT, "%s grid=%u,%u,%u block=%u shared=%u cluster=%u overlap=%d stream=%s",
          fn ? ((Object *)fn)->entry : "null", c->grid[0], c->grid[1], c->grid[2], c->block[0],
          c->shared, cluster, overlap, name_of(c->stream));
    if (cluster < 1 || cluster > 8 || c->grid[0] % cluster || (cluster > 1 && !S.clusters)) {
        fake_object("launch in clusters of %u, grid %u", cluster, c->grid[0]);
        return 1;
    }
    return launch(__func__, fn, c->grid, c->block, c->shared, c->stream, params, extra);
}

EXPORT int cuStreamBeginCapture_v2(void *stream, int mode)
{
    ENTER(INIT | CURRENT, "%s mode=%d", name_of(stream), mode);
    Object *s = object_of(__func__, stream, STREAM);
    if (!s) return 400;
    if (s->is_capturing) {
        fake_object("cuStreamBeginCapture of a stream that is being captured");
        return 900;
    }
    int e = drain(s, NULL); // the queue becomes the list of the capture
    s->is_capturing = true, s->capture_failed = false, s->capture_mode = mode;
    return e;
}

EXPORT int cuStreamEndCapture(void *stream, void **graph)
{
    int error = needs(__func__, INIT | CURRENT, fake_enter(__func__, "%s", name_of(stream)));
    Object *s = object_of(__func__, stream, STREAM);
    *graph = NULL;
    if (!s) return 400;
    if (error) { // it ends the capture all the same
        s->is_capturing = false;
        ops_free(&s->ops);
        return error;
    }
    if (!s->is_capturing) {
        fake_object("cuStreamEndCapture of a stream that is not being captured");
        return 900;
    }
    s->is_capturing = false;
    if (s->capture_failed) {
        ops_free(&s->ops);
        return 901;
    }
    Object *g = object_new(GRAPH);
    g->ops = s->ops;
    s->ops = (Ops){0};
    *graph = g;
    return 0;
}

EXPORT int cuGraphInstantiateWithFlags(void **exec, void *graph, unsigned long long flags)
{
    ENTER(INIT | CURRENT | OUTSIDE_CAPTURE, "%s flags=%llu", name_of(graph), flags);
    Object *g = object_of(__func__, graph, GRAPH);
    if (!g) return 400;
    Object *x = object_new(EXEC);
    for (int i = 0; i < g->ops.n; i++)
        ops_add(&x->ops, g->ops.data[i]);
    *exec = x;
    return 0;
}

EXPORT int cuGraphUpload(void *exec, void *stream)
{
    ENTER(INIT | CURRENT | OUTSIDE_CAPTURE, "%s stream=%s", name_of(exec), name_of(stream));
    return object_of(__func__, exec, EXEC) && object_of(__func__, stream, STREAM) ? 0 : 400;
}

/// What a node of a graph uses must still be there when it is started.
static bool node_is_sound(const Op *op)
{
    if (op->kind == OP_COPY)
        return fake_check_memory("cuGraphLaunch", op->dst, op->bytes) &&
               fake_check_memory("cuGraphLaunch", op->src, op->bytes);
    if (op->kind != OP_RUN) return true;
    if (!op->object->alive) fake_object("cuGraphLaunch: kernel %s was unloaded", op->object->entry);
    return op->object->alive && check_args(op->object, op->payload);
}

EXPORT int cuGraphLaunch(void *exec, void *stream)
{
    Object *x = exec;
    ENTER(INIT | CURRENT | OUTSIDE_CAPTURE, "%s nodes=%d stream=%s", name_of(exec), x->ops.n,
          name_of(stream));
    if (!object_of(__func__, exec, EXEC)) return 400;
    for (int i = 0; i < x->ops.n; i++) {
        if (!node_is_sound(&x->ops.data[i])) return 1;
        int e = queue(__func__, stream, x->ops.data[i]);
        if (e) return e;
    }
    return 0;
}

static int destroy(const char *call, void *handle, Kind kind)
{
    Object *o = object_of(call, handle, kind);
    if (!o) return 400;
    o->alive = false;
    ops_free(&o->ops);
    return 0;
}

EXPORT int cuGraphDestroy(void *graph)
{
    ENTER(INIT, "%s", name_of(graph));
    return destroy(__func__, graph, GRAPH);
}

EXPORT int cuGraphExecDestroy(void *exec)
{
    ENTER(INIT, "%s", name_of(exec));
    return destroy(__func__, exec, EXEC);
}
