// base/vec.h - a typed growing array in an arena: index it, loop over it, push to it.
//
//   VEC(int32_t) v = {0};
//   vec_push(arena, &v, 7);
//   for (int32_t i = 0; i < v.len; i++) use(v.data[i]);
#ifndef BASE_VEC_H
#define BASE_VEC_H
#include "base/arena.h"

#define VEC(T)                                                                                     \
    struct {                                                                                       \
        T *data;                                                                                   \
        int32_t len, cap;                                                                          \
    }

/// Grows `data` (elements of `size` bytes) to hold at least len + 1; the old array stays in the arena.
static inline void *vec_grown(Arena *a, const void *data, int32_t len, int32_t *cap, size_t size)
{
    int32_t more = *cap ? *cap * 2 : 8;
    void *fresh = arena_alloc_array(a, size, (size_t)more, _Alignof(max_align_t));
    if (len) memcpy(fresh, data, (size_t)len * size);
    *cap = more;
    return fresh;
}

#define vec_push(arena, v, ...)                                                                    \
    do {                                                                                           \
        if ((v)->len == (v)->cap)                                                                  \
            (v)->data = vec_grown((arena), (v)->data, (v)->len, &(v)->cap, sizeof((v)->data[0]));  \
        (v)->data[(v)->len++] = __VA_ARGS__;                                                       \
    } while (0)

#define vec_pop(v)  ((v)->data[--(v)->len])
#define vec_last(v) ((v)->data[(v)->len - 1])

#define VEC_EACH(T, it, v) for (T *it = (v)->data; it && it < (v)->data + (v)->len; it++)
#endif
