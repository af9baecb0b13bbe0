// compiler/code.c - the cache key of a specialisation, and compiled code as bytes of a file.
//
//   "KILNCODE" | format | key 16 | fields of Code, little-endian | object bytes | hash 16 of these
#include <stdio.h>
#include <stdlib.h>

#include "build_id.h"
#include "compiler/source.h"

#ifndef KILN_LLVM_VERSION
#define KILN_LLVM_VERSION "none"
#endif

// ---- key --------------------------------------------------------------------------------------

typedef struct KeyCx {
    const Source *source;
    Arena *arena;
    Map seen; ///< module names already hashed
    Hasher *h;
    VEC(const Binding *) queue;
} KeyCx;

static bool add_name(const Node *n, void *user)
{
    KeyCx *cx = user;
    if (n->kind != NODE_NAME || map_get(&cx->seen, n->text)) return true;
    const Binding *b = map_get(&cx->source->names, n->text);
    if (!b) return true;
    map_put(cx->arena, &cx->seen, n->text, cx);
    vec_push(cx->arena, &cx->queue, b);
    return true;
}

/// Adds what a module name means: the text of the statement that binds it, then what that names.
static void add_binding(KeyCx *cx, const Binding *b)
{
    Str text = cx->source->text;
    int32_t begin = b->stmt_begin, end = b->stmt_end;
    const Node *walk = b->expr;
    if (b->kind == BIND_JIT) {
        begin = b->func->def->begin;
        end = b->func->def->end;
        walk = b->func->def;
        int32_t line = 1; // reports name lines
        for (int32_t i = 0; i < begin; i++)
            line += text.data[i] == '\n';
        hasher_add_int(cx->h, line);
    }
    hasher_add(cx->h, b->name.data, b->name.len);
    hasher_add(cx->h, text.data + begin, (size_t)MAX(end - begin, 0));
    if (walk) ast_walk(walk, add_name, cx);
}

Hash128 compile_key(const Source *s, const Spec *spec, const Target *target)
{
    Arena arena;
    arena_init(&arena, heap_default());
    Hasher h = {0};
    KeyCx cx = {.source = s, .arena = &arena, .h = &h};
    char where[24];
    target_text(target, where);
    hasher_add_text(&h, KILN_BUILD_ID);
    hasher_add_text(&h, KILN_LLVM_VERSION);
    hasher_add_int(&h, CODE_ABI);
    hasher_add_text(&h, where);
    hasher_add_text(&h, spec_text(&arena, spec));
    const Binding *root = map_get(&s->names, str_of(spec->func));
    if (root) vec_push(&arena, &cx.queue, root);
    if (root) map_put(&arena, &cx.seen, root->name, &cx);
    for (int32_t i = 0; i < cx.queue.len; i++)
        add_binding(&cx, cx.queue.data[i]);
    Hash128 key = hasher_finish(&h);
    arena_reset(&arena);
    return key;
}

// ---- bytes ------------------------------------------------------------------------------------

static const char magic[8] = {'K', 'I', 'L', 'N', 'C', 'O', 'D', 'E'};
enum { FORMAT = 2, HEADER_BYTES = 8 + 4 + 16 };

static void put(StrBuf *out, uint64_t v, int32_t bytes)
{
    for (int32_t i = 0; i < bytes; i++)
        strbuf_putc(out, (char)(v >> (8 * i)));
}

static void put_text(StrBuf *out, const char *text, size_t size)
{
    size_t n = strnlen(text, size - 1);
    put(out, n, 1);
    strbuf_add(out, text, n);
}

void code_write(const Code *c, Hash128 key, StrBuf *out)
{
    size_t begin = out->len;
    strbuf_add(out, magic, sizeof magic);
    put(out, FORMAT, 4);
    put(out, key.lo, 8);
    put(out, key.hi, 8);
    put(out, c->target.kind, 1);
    put(out, c->target.cpu, 1);
    put(out, (uint64_t)c->target.sm, 4);
    put(out, c->target.sm_a, 1);
    put_text(out, c->entry, sizeof c->entry);
    put(out, (uint64_t)c->n_params, 4);
    put(out, (uint64_t)c->args_bytes, 4);
    for (int32_t i = 0; i < c->n_params; i++) {
        const CodeParam *p = &c->params[i];
        put_text(out, p->name, sizeof p->name);
        put(out, p->kind, 1);
        put(out, p->dtype, 1);
        put(out, (uint64_t)p->offset, 4);
        put(out, (uint64_t)p->bytes, 4);
        put(out, (uint64_t)p->divisible, 4);
        put(out, p->is_written, 1);
    }
    put(out, (uint64_t)c->num_warps, 4);
    put(out, (uint64_t)c->num_stages, 4);
    put(out, (uint64_t)c->shared_bytes, 4);
    put(out, (uint64_t)c->scratch_bytes, 8);
    put(out, c->size, 8);
    if (c->size) strbuf_add(out, (const char *)c->bytes, c->size);
    Hash128 sum = hash_bytes(out->data + begin, out->len - begin);
    put(out, sum.lo, 8);
    put(out, sum.hi, 8);
}

typedef struct Reader {
    const uint8_t *at, *end;
    bool failed;
} Reader;

static uint64_t get(Reader *r, int32_t bytes)
{
    uint64_t v = 0;
    if (r->end - r->at < bytes) {
        r->failed = true;
        return 0;
    }
    for (int32_t i = 0; i < bytes; i++)
        v |= (uint64_t)r->at[i] << (8 * i);
    r->at += bytes;
    return v;
}

static int32_t get_below(Reader *r, int32_t bytes, uint64_t limit)
{
    uint64_t v = get(r, bytes);
    if (v >= limit) r->failed = true;
    return r->failed ? 0 : (int32_t)v;
}

static void get_text(Reader *r, char *out, size_t size)
{
    size_t n = (size_t)get(r, 1);
    if (n >= size || (size_t)(r->end - r->at) < n) {
        r->failed = true;
        return;
    }
    memcpy(out, r->at, n);
    out[n] = 0;
    r->at += n;
}

static void get_fields(Reader *r, Code *c)
{
    c->target.kind = (TargetKind)get_below(r, 1, TARGET_INTERP + 1);
    c->target.cpu = (CpuLevel)get_below(r, 1, CPU_LEVEL_COUNT);
    c->target.sm = get_below(r, 4, 1000);
    c->target.sm_a = get_below(r, 1, 2);
    get_text(r, c->entry, sizeof c->entry);
    c->n_params = get_below(r, 4, CODE_MAX_PARAMS + 1);
    c->args_bytes = get_below(r, 4, 1 << 16);
    for (int32_t i = 0; i < c->n_params && !r->failed; i++) {
        CodeParam *p = &c->params[i];
        get_text(r, p->name, sizeof p->name);
        p->kind = (SpecKind)get_below(r, 1, SPEC_CONST + 1);
        p->dtype = (DType)get_below(r, 1, DTYPE_COUNT);
        p->offset = get_below(r, 4, 1 << 16);
        p->bytes = get_below(r, 4, 9);
        p->divisible = get_below(r, 4, 1 << 16);
        p->is_written = get_below(r, 1, 2);
    }
    c->num_warps = get_below(r, 4, 1 << 10);
    c->num_stages = get_below(r, 4, 1 << 10);
    c->shared_bytes = get_below(r, 4, 1u << 31);
    c->scratch_bytes = (int64_t)get(r, 8);
}

KilnStatus code_read(const void *bytes, size_t size, Hash128 key, Code *out)
{
    *out = (Code){0};
    if (size < HEADER_BYTES + 16 || memcmp(bytes, magic, sizeof magic) != 0) return KILN_ERR_INPUT;
    Reader r = {(const uint8_t *)bytes + size - 16, (const uint8_t *)bytes + size, false};
    Hash128 sum = {get(&r, 8), get(&r, 8)};
    if (!hash_eq(sum, hash_bytes(bytes, size - 16))) return KILN_ERR_INPUT;
    r = (Reader){(const uint8_t *)bytes + 8, (const uint8_t *)bytes + size - 16, false};
    Code c = {0};
    if (get(&r, 4) != FORMAT) return KILN_ERR_INPUT;
    Hash128 found = {get(&r, 8), get(&r, 8)};
    if (!hash_eq(found, key)) return KILN_ERR_INPUT;
    get_fields(&r, &c);
    uint64_t n = get(&r, 8);
    if (r.failed || n != (uint64_t)(r.end - r.at)) return KILN_ERR_INPUT;
    c.size = (size_t)n;
    c.bytes = heap_alloc(heap_default(), c.size + 1, 1); // PTX has a NUL after it
    if (!c.bytes) return KILN_ERR_INPUT;
    if (c.size) memcpy(c.bytes, r.at, c.size);
    *out = c;
    return KILN_OK;
}

void code_free(Code *c)
{
    if (!c) return;
    heap_free(heap_default(), c->bytes);
    *c = (Code){0};
}
