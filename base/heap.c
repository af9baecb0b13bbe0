#include "base/heap.h"

#include <stdlib.h>

static void *plain_alloc(Heap *heap, size_t size, size_t align)
{
    if (heap->fail_at > 0 && __atomic_sub_fetch(&heap->fail_at, 1, __ATOMIC_RELAXED) == 0)
        return NULL;
    if (align < sizeof(void *)) align = sizeof(void *);
    if (size > SIZE_MAX - align) return NULL;
    size_t rounded = (size + align - 1) & ~(align - 1);
    void *ptr = aligned_alloc(align, rounded ? rounded : align);
    if (!ptr) return NULL;
    memset(ptr, 0, rounded);
    __atomic_add_fetch(&heap->n_allocs, 1, __ATOMIC_RELAXED);
    __atomic_add_fetch(&heap->n_live, 1, __ATOMIC_RELAXED);
    return ptr;
}

static void plain_free(Heap *heap, void *ptr)
{
    __atomic_sub_fetch(&heap->n_live, 1, __ATOMIC_RELAXED);
    free(ptr);
}

void heap_init(Heap *heap)
{
    *heap = (Heap){.alloc = plain_alloc, .free = plain_free};
}

Heap *heap_default(void)
{
    static Heap process = {.alloc = plain_alloc, .free = plain_free};
    return &process;
}

void *heap_alloc(Heap *heap, size_t size, size_t align)
{
    return heap->alloc(heap, size, align);
}

void *heap_alloc_array(Heap *heap, size_t size, size_t count, size_t align)
{
    size_t bytes;
    if (__builtin_mul_overflow(size, count, &bytes)) return NULL;
    return heap->alloc(heap, bytes, align);
}

void heap_free(Heap *heap, void *ptr)
{
    if (ptr) heap->free(heap, ptr);
}
