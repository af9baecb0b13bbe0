#include "tests/fake/runner.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "tests/fake/fake.h"

typedef struct Known {
    const Kernel *from; ///< of the CUDA device
    Kernel *to;         ///< of the emulator
} Known;

struct Runner {
    Device *dev;
    KernelCache *cache;
    Known known[256];
    int32_t n_known;
    int64_t n_launches;
};

/// The PTX in a kernel's machine code: the fake driver's is a line, then the text.
static const char *ptx_of(const Kernel *k)
{
    const char *line = memchr(k->code.bytes, '\n', k->code.size);
    return line ? line + 1 : "";
}

static int run(void *user, const FakeLaunch *l)
{
    Runner *r = user;
    Diag diag;
    for (int32_t i = 0; i < r->n_known; i++) {
        if (strcmp(ptx_of(r->known[i].from), l->ptx) != 0) continue;
        Grid grid = grid_of(l->grid[0], l->grid[1], l->grid[2]);
        diag_init(&diag, heap_default());
        KilnStatus st = image_run(r->known[i].to->image, l->args, &grid, 0,
                                  (int64_t)grid.x * grid.y * grid.z, 0, NULL, &diag);
        if (st != KILN_OK) cr_log_error("%s: %s", l->entry, diag_first(&diag));
        diag_reset(&diag);
        arena_reset(&diag.arena);
        r->n_launches++;
        return st == KILN_OK ? 0 : 719;
    }
    cr_log_error("%s was not learnt", l->entry);
    return 719;
}

Runner *runner_open(const char *target, const KernelCacheOptions *options)
{
    Runner *r = calloc(1, sizeof *r);
    cr_assert_eq(device_open(&(DeviceOptions){.name = target}, &r->dev, NULL), KILN_OK);
    cr_assert_eq(kernel_cache_open(r->dev, options, &r->cache, NULL), KILN_OK);
    fake_hook(run, r);
    return r;
}

void runner_learn(Runner *r, const Kernel *k)
{
    for (int32_t i = 0; i < r->n_known; i++)
        if (r->known[i].from == k) return;
    cr_assert_lt(r->n_known, COUNT_OF(r->known));
    Known *known = &r->known[r->n_known++];
    known->from = k;
    Diag diag;
    diag_init(&diag, heap_default());
    cr_assert_eq(kernel_find(r->cache, k->path, str_of(k->text), &known->to, &diag), KILN_OK, "%s",
                 diag_first(&diag));
    diag_reset(&diag);
    arena_reset(&diag.arena);
}

void runner_learn_graph(Runner *r, const Graph *g)
{
    for (int32_t i = 0; i < graph_n_nodes(g); i++)
        if (graph_node_kernel(g, i)) runner_learn(r, graph_node_kernel(g, i));
}

int64_t runner_n_launches(const Runner *r)
{
    return r->n_launches;
}

void runner_close(Runner *r)
{
    fake_hook(NULL, NULL);
    kernel_cache_close(r->cache);
    device_close(r->dev);
    free(r);
}
