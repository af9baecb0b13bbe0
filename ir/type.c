// ir/type.c - types, interned by their own text: two equal types are one pointer.
#include <stdio.h>

#include "ir/ir.h"

enum { TYPE_TEXT_BYTES = 512 };

typedef struct Text {
    char data[TYPE_TEXT_BYTES];
    int32_t len;
} Text;

static void put(Text *t, const char *s)
{
    int32_t room = TYPE_TEXT_BYTES - 1 - t->len;
    int32_t n = MIN((int32_t)strlen(s), room);
    memcpy(t->data + t->len, s, (size_t)n);
    t->len += n;
    t->data[t->len] = 0;
}

static void put_shape(Text *t, const Type *type)
{
    for (int32_t i = 0; i < type->rank; i++) {
        char n[16];
        snprintf(n, sizeof(n), "%dx", type->shape[i]);
        put(t, n);
    }
}

static void put_pointer(Text *t, const Type *type)
{
    put(t, type->is_const ? "ptr<const " : "ptr<");
    put(t, dtype_facts[type->dtype].name);
    put(t, ">");
}

static void put_type(Text *t, const Type *type)
{
    switch (type->kind) {
    case TYPE_TOKEN:
        put(t, "token");
        return;
    case TYPE_SCALAR:
        put(t, dtype_facts[type->dtype].name);
        return;
    case TYPE_PTR:
        put_pointer(t, type);
        return;
    case TYPE_TILE:
    case TYPE_BUF:
        break;
    }
    put(t, type->kind == TYPE_TILE ? "tile<" : "buf<");
    put_shape(t, type);
    if (type->is_ptr)
        put_pointer(t, type);
    else
        put(t, dtype_facts[type->dtype].name);
    if (type->layout) {
        put(t, ", #");
        put(t, type->layout_name);
    }
    if (type->kind == TYPE_BUF) {
        char n[24];
        snprintf(n, sizeof(n), ", stages=%d", type->stages);
        put(t, n);
    }
    put(t, ">");
}

const char *type_text(Arena *a, const Type *t)
{
    Text text = {.len = 0};
    put_type(&text, t);
    return arena_strndup(a, text.data, (size_t)text.len);
}

static const Type *intern(Module *m, Type t)
{
    Text text = {.len = 0};
    put_type(&text, &t);
    Str key = {text.data, (size_t)text.len};
    const Type *known = map_get(&m->types, key);
    if (known) return known;

    Type *fresh = arena_new(m->arena, Type);
    *fresh = t;
    if (t.rank) {
        int32_t *shape = arena_array(m->arena, int32_t, t.rank);
        memcpy(shape, t.shape, sizeof(int32_t) * (size_t)t.rank);
        fresh->shape = shape;
    }
    if (!fresh->element) fresh->element = fresh;
    key.data = arena_strndup(m->arena, text.data, (size_t)text.len);
    map_put(m->arena, &m->types, key, fresh);
    return fresh;
}

const Type *type_scalar(Module *m, DType t)
{
    return intern(m, (Type){.kind = TYPE_SCALAR, .dtype = t, .numel = 1});
}

const Type *type_ptr(Module *m, DType pointee, bool is_const)
{
    return intern(m, (Type){.kind = TYPE_PTR,
                            .dtype = pointee,
                            .is_ptr = true,
                            .is_const = is_const,
                            .numel = 1,
                            .element = type_scalar(m, pointee)});
}

static int64_t product(int32_t rank, const int32_t *shape)
{
    int64_t n = 1;
    for (int32_t i = 0; i < rank; i++)
        n *= shape[i];
    return n;
}

static const Type *tile_with(Module *m, const Type *element, int32_t rank, const int32_t *shape,
                             const Layout *layout)
{
    ASSERT(element->kind == TYPE_SCALAR || element->kind == TYPE_PTR);
    ASSERT(rank <= TYPE_MAX_RANK);
    if (rank == 0) return element;
    return intern(m, (Type){.kind = TYPE_TILE,
                            .dtype = element->dtype,
                            .is_ptr = element->is_ptr,
                            .is_const = element->is_const,
                            .rank = rank,
                            .shape = shape,
                            .numel = product(rank, shape),
                            .layout = layout,
                            .layout_name = layout ? module_layout_name(m, layout) : NULL,
                            .element = element});
}

const Type *type_tile(Module *m, const Type *element, int32_t rank, const int32_t *shape)
{
    return tile_with(m, element, rank, shape, NULL);
}

const Type *type_buf(Module *m, DType t, int32_t rank, const int32_t *shape, int32_t stages,
                     const Layout *layout)
{
    return intern(m, (Type){.kind = TYPE_BUF,
                            .dtype = t,
                            .rank = rank,
                            .shape = shape,
                            .numel = product(rank, shape),
                            .stages = stages,
                            .layout = layout,
                            .layout_name = layout ? module_layout_name(m, layout) : NULL,
                            .element = type_scalar(m, t)});
}

const Type *type_token(Module *m)
{
    return intern(m, (Type){.kind = TYPE_TOKEN, .numel = 1});
}

/// What one element of `t` is: a scalar or pointer type.
static const Type *element_of(const Type *t)
{
    return t->kind == TYPE_PTR ? t : t->element;
}

const Type *type_with_element(Module *m, const Type *t, const Type *element)
{
    return tile_with(m, element, t->rank, t->shape, t->kind == TYPE_TILE ? t->layout : NULL);
}

const Type *type_with_dtype(Module *m, const Type *t, DType dtype)
{
    return type_with_element(m, t, type_scalar(m, dtype));
}

const Type *type_with_shape(Module *m, const Type *t, int32_t rank, const int32_t *shape)
{
    return tile_with(m, element_of(t), rank, shape, NULL);
}

const Type *type_with_layout(Module *m, const Type *t, const Layout *layout)
{
    if (t->kind == TYPE_BUF) return type_buf(m, t->dtype, t->rank, t->shape, t->stages, layout);
    return t->kind == TYPE_TILE ? tile_with(m, t->element, t->rank, t->shape, layout) : t;
}

bool type_same_shape(const Type *a, const Type *b)
{
    return a->rank == b->rank &&
           (a->rank == 0 || memcmp(a->shape, b->shape, sizeof(int32_t) * (size_t)a->rank) == 0);
}

int32_t type_element_bytes(const Type *t)
{
    return t->is_ptr ? 8 : dtype_bytes(t->dtype);
}

// ---- named layouts ------------------------------------------------------------------------------

void module_add_layout(Module *m, const char *name, const Layout *layout)
{
    Str key = str_of(arena_strdup(m->arena, name));
    map_put(m->arena, &m->layouts, key, (void *)(uintptr_t)layout);
}

const char *module_layout_name(Module *m, const Layout *layout)
{
    for (int32_t i = 0; i < m->layouts.len; i++)
        if (m->layouts.entries[i].value == layout) return m->layouts.entries[i].key.data;
    for (int32_t n = m->layouts.len;; n++) {
        char name[24];
        int len = snprintf(name, sizeof(name), "l%d", n);
        if (map_find(&m->layouts, (Str){name, (size_t)len}) >= 0) continue;
        module_add_layout(m, name, layout);
        return m->layouts.entries[m->layouts.len - 1].key.data;
    }
}
