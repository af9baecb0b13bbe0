// tests/far/runner.c - the program in the emulator: our loader, and memory between guard pages. See wire.h.
//
// It is a static AArch64 program that reads requests from 0 and answers on 1 until the other side closes.
// A kernel that touches a guard page ends it.
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "compiler/backend.h"
#include "tests/far/wire.h"

typedef struct Loaded {
    Image image;
    void *scratch;
} Loaded;

typedef struct Runner {
    Loaded loaded[FAR_MAX_IMAGES];
    FarReply reply;
} Runner;

static bool get(void *to, size_t n)
{
    for (size_t have = 0; have < n;) {
        ssize_t k = read(0, (char *)to + have, n - have);
        if (k <= 0) return false;
        have += (size_t)k;
    }
    return true;
}

static bool put(const void *from, size_t n)
{
    for (size_t have = 0; have < n;) {
        ssize_t k = write(1, (const char *)from + have, n - have);
        if (k <= 0) return false;
        have += (size_t)k;
    }
    return true;
}

static void *memory(size_t n)
{
    void *at = malloc(n ? n : 1);
    if (!at) exit(3);
    return at;
}

static void load(Runner *r, const FarRequest *q)
{
    Diag diag;
    Code code = {.target = {.kind = TARGET_CPU, .cpu = target_host_level()},
                 .bytes = memory((size_t)q->bytes),
                 .size = (size_t)q->bytes};
    diag_init(&diag, heap_default());
    memcpy(code.entry, q->entry, sizeof code.entry);
    code.entry[sizeof code.entry - 1] = 0;
    if (!get(code.bytes, code.size)) exit(3);
    int32_t i = 0;
    while (i < FAR_MAX_IMAGES && r->loaded[i].scratch)
        i++;
    if (i == FAR_MAX_IMAGES) {
        r->reply.status = KILN_ERR_LIMIT;
        snprintf(r->reply.why, sizeof r->reply.why, "too many kernels at once");
    } else {
        Loaded *l = &r->loaded[i];
        r->reply.status = cpu_image_load(&code, &l->image, &diag);
        r->reply.image = i;
        if (r->reply.status != KILN_OK)
            snprintf(r->reply.why, sizeof r->reply.why, "%s",
                     diag.items.len ? diag.items.data[0]->text : "?");
        else if (!(l->scratch = aligned_alloc(64, (size_t)q->scratch_bytes / 64 * 64 + 128)))
            exit(3);
    }
    free(code.bytes);
    diag_reset(&diag);
}

static void unload(Runner *r, int32_t i)
{
    if (i < 0 || i >= FAR_MAX_IMAGES || !r->loaded[i].scratch) return;
    r->loaded[i].image.ops->free(r->loaded[i].image.self);
    free(r->loaded[i].scratch);
    r->loaded[i] = (Loaded){0};
}

enum { PAGE = 4096 };

/// guard | pages that hold the range | guard. @return where the range begins
static uint8_t *range_map(const FarRange *f, void **map, size_t *map_bytes)
{
    size_t before = f->at % PAGE;
    *map_bytes = (before + (size_t)f->bytes + PAGE - 1) / PAGE * PAGE + 2 * PAGE;
    *map = mmap(NULL, *map_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (*map == MAP_FAILED) exit(3);
    uint8_t *inside = (uint8_t *)*map + PAGE;
    if (*map_bytes > 2 * PAGE && mprotect(inside, *map_bytes - 2 * PAGE, PROT_READ | PROT_WRITE))
        exit(3);
    return inside + before;
}

static bool run(Runner *r, const FarRequest *q)
{
    FarPointer pointers[CODE_MAX_PARAMS];
    FarRange ranges[FAR_MAX_RANGES];
    uint8_t args[CODE_MAX_PARAMS * 8] = {0}, *at[FAR_MAX_RANGES];
    void *map[FAR_MAX_RANGES];
    size_t map_bytes[FAR_MAX_RANGES];
    if (q->n_pointers > CODE_MAX_PARAMS || q->n_ranges > FAR_MAX_RANGES ||
        (size_t)q->args_bytes > sizeof args)
        exit(3);
    if (!get(pointers, (size_t)q->n_pointers * sizeof *pointers) ||
        !get(ranges, (size_t)q->n_ranges * sizeof *ranges) || !get(args, (size_t)q->args_bytes))
        exit(3);
    for (int32_t i = 0; i < q->n_ranges; i++) {
        at[i] = range_map(&ranges[i], &map[i], &map_bytes[i]);
        if (!get(at[i], (size_t)ranges[i].bytes)) exit(3);
    }
    for (int32_t i = 0; i < q->n_pointers; i++) {
        uint8_t *p = at[pointers[i].range] + pointers[i].into;
        memcpy(args + pointers[i].offset, &p, sizeof p);
    }
    Loaded *l = &r->loaded[q->image];
    Tls tls = {.scratch = l->scratch};
    l->image.entry(args, &q->grid, q->first, q->n, &tls);
    r->reply.fault = tls.fault;
    bool ok = put(&r->reply, sizeof r->reply);
    for (int32_t i = 0; i < q->n_ranges; i++) {
        ok = ok && put(at[i], (size_t)ranges[i].bytes);
        munmap(map[i], map_bytes[i]);
    }
    return ok;
}

int main(void)
{
    static Runner r;
    FarRequest q;
    while (get(&q, sizeof q)) {
        memset(&r.reply, 0, sizeof r.reply);
        if (q.op == FAR_RUN) {
            if (!run(&r, &q)) return 3;
            continue;
        }
        if (q.op == FAR_LEVEL) r.reply.level = (int32_t)target_host_level();
        if (q.op == FAR_LOAD) load(&r, &q);
        if (q.op == FAR_FREE) unload(&r, q.image);
        if (!put(&r.reply, sizeof r.reply)) return 3;
    }
    return 0;
}
