// tests/support/guard.c - see guard.h.
#include "tests/support/guard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

Guarded guard_new(size_t bytes, GuardSide side)
{
    size_t page = 4096, body = (bytes + page - 1) / page * page;
    Guarded g = {.bytes = bytes, .map_bytes = body + 2 * page};
    uint8_t *map = mmap(NULL, g.map_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED || (body && mprotect(map + page, body, PROT_READ | PROT_WRITE))) {
        perror("guard_new");
        abort();
    }
    g.map = map;
    g.data = map + page + (side == GUARD_END ? body - bytes : 0);
    memset(map + page, 0xA5, body);
    return g;
}

void guard_free(Guarded *g)
{
    if (g->map) munmap(g->map, g->map_bytes);
    *g = (Guarded){0};
}
