// base/heap.h - a replaceable allocator for objects that live longer than one compilation.
//
// Every object has one owner. Tests put a failing heap in place of the default one and make each
// allocation of a load fail in turn; benches read the counters to show that decoding allocates nothing.
#ifndef BASE_HEAP_H
#define BASE_HEAP_H
#include "base/base.h"

typedef struct Heap Heap;
struct Heap {
    /// @return `size` zeroed bytes at `align` (a power of two), or NULL
    void *(*alloc)(Heap *heap, size_t size, size_t align);
    void (*free)(Heap *heap, void *ptr);
    int64_t n_allocs; ///< calls that succeeded, ever
    int64_t n_live;   ///< not yet freed
    int64_t fail_at;  ///< when > 0, the n-th allocation from now fails (tests); 0 never
};

/// The process heap (malloc). Its counters are atomic.
Heap *heap_default(void);
/// @return zeroed memory owned by the caller (heap_free), or NULL
void *heap_alloc(Heap *heap, size_t size, size_t align);
/// NULL is fine.
void heap_free(Heap *heap, void *ptr);
/// Sets up `heap` as malloc with its own counters: a heap for one test or one model.
void heap_init(Heap *heap);

#define heap_new(heap, T) ((T *)heap_alloc((heap), sizeof(T), _Alignof(T)))
#define heap_array(heap, T, count)                                                                 \
    ((T *)heap_alloc_array((heap), sizeof(T), (size_t)(count), _Alignof(T)))
/// NULL too when size * count overflows.
void *heap_alloc_array(Heap *heap, size_t size, size_t count, size_t align);
#endif
