// tests/compiler/cpu/test_random.c - random tile programs: machine code against the interpreter, bit by bit.
//
// Inputs are small multiples of 1/4, so that sums and products stay exact whatever their order; a value that a
// rounding operation has touched is marked and not summed any more. Buffers end at guard pages.
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/random.h"
#include "tests/compiler/cpu/harness.h"
#include "tests/far/far.h"

enum { MAX_POOL = 96, N_BUFFERS = 7, ROWS = 64 };

typedef struct Entry {
    Value *v;
    bool is_exact; ///< a multiple of 1/16 below 2^10, so that sums of 2^8 of them are exact
} Entry;

typedef struct Gen {
    Random random;
    Bench *bench;
    Builder b;
    int32_t rows, cols;
    Entry pool[MAX_POOL];
    int32_t n_pool;
    DType buffer_type[N_BUFFERS];
    int64_t buffer_numel;
    Value *pointer[N_BUFFERS], *n, *m, *trip;
    bool narrow_floats;
} Gen;

static int32_t pick(Gen *g, int32_t n)
{
    return (int32_t)random_below(&g->random, n);
}

static void keep(Gen *g, Value *v, bool is_exact)
{
    Entry e = {v, is_exact};
    if (g->n_pool < MAX_POOL)
        g->pool[g->n_pool++] = e;
    else
        g->pool[pick(g, MAX_POOL)] = e;
}

static DType any_type(Gen *g)
{
    static const DType types[] = {DTYPE_F32, DTYPE_F32, DTYPE_I32,    DTYPE_F16,    DTYPE_BF16,
                                  DTYPE_I8,  DTYPE_U8,  DTYPE_I16,    DTYPE_U16,    DTYPE_I64,
                                  DTYPE_U32, DTYPE_F64, DTYPE_F8E4M3, DTYPE_F8E5M2, DTYPE_U64};
    return types[pick(g, COUNT_OF(types))];
}

/// A tile of the pool, or NULL. `t` VOID: any.
static Entry *find(Gen *g, DType t)
{
    for (int32_t tries = 0; tries < 40 && g->n_pool; tries++) {
        Entry *e = &g->pool[pick(g, g->n_pool)];
        if (e->v->type->kind == TYPE_TILE && !e->v->type->is_ptr &&
            (t == DTYPE_VOID || e->v->type->dtype == t))
            return e;
    }
    return NULL;
}

static Entry *find_like(Gen *g, const Value *v)
{
    for (int32_t tries = 0; tries < 60; tries++) {
        Entry *e = &g->pool[pick(g, g->n_pool)];
        if (e->v->type == v->type) return e;
    }
    return NULL;
}

static Value *arange_like(Gen *g, int32_t n, int32_t rank, int32_t axis, const int32_t *shape)
{
    Value *v = build_arange(&g->b, 0, n);
    for (int32_t a = 0; a < rank; a++)
        if (a != axis) v = build_expand_dims(&g->b, v, a);
    return build_broadcast(&g->b, v, rank, shape);
}

static Value *splat_int(Gen *g, int64_t x, const Type *like)
{
    return build_const_int(&g->b, type_with_dtype(g->bench->module, like, DTYPE_I32), x);
}

/// Row-major (or column-major) offsets of a rows x cols tile into a buffer, and a mask for them.
static Value *offsets2(Gen *g, bool transposed, Value **mask)
{
    Builder *b = &g->b;
    int32_t shape[2] = {g->rows, g->cols};
    Value *r = arange_like(g, g->rows, 2, 0, shape), *c = arange_like(g, g->cols, 2, 1, shape);
    Value *stride = pick(g, 2) ? build_splat(b, g->m, 2, shape)
                               : splat_int(g, transposed ? g->rows : g->cols, r->type);
    Value *o = transposed ? build_binary(b, ELEM_ADD, build_binary(b, ELEM_MUL, c, stride), r)
                          : build_binary(b, ELEM_ADD, build_binary(b, ELEM_MUL, r, stride), c);
    *mask = NULL;
    Value *n = build_splat(b, g->n, 2, shape);
    switch (pick(g, 5)) {
    case 0:
        *mask = build_binary(b, ELEM_LT, c, n);
        break;
    case 1:
        *mask = build_binary(b, ELEM_AND, build_binary(b, ELEM_LT, r, n),
                             build_binary(b, ELEM_GT, n, c));
        break;
    case 2:
        *mask = build_binary(b, ELEM_LE, c, r);
        break;
    case 3:
        *mask = build_binary(b, ELEM_GE, c, n);
        break;
    default:
        break;
    }
    return o;
}

static Value *pointers(Gen *g, int32_t buffer, Value *offsets)
{
    const Type *t = offsets->type;
    return build_addptr(&g->b, build_splat(&g->b, g->pointer[buffer], t->rank, t->shape), offsets);
}

static void step_load(Gen *g)
{
    int32_t buffer = 1 + pick(g, N_BUFFERS - 1);
    Value *mask, *o = offsets2(g, pick(g, 3) == 0, &mask);
    const Type *t = type_with_dtype(g->bench->module, o->type, g->buffer_type[buffer]);
    Value *other = NULL;
    if (mask && pick(g, 2))
        other = dtype_is_float(t->dtype) ? build_const_float(&g->b, t, 2.0)
                                         : build_const_int(&g->b, t, 3);
    keep(g, build_load(&g->b, pointers(g, buffer, o), mask, other), true);
}

static void step_gather_load(Gen *g)
{
    Entry *e = find(g, DTYPE_I32);
    if (!e) return;
    const Type *t = e->v->type;
    Value *o = build_binary(&g->b, ELEM_AND, e->v, splat_int(g, 127, t));
    int32_t buffer = 1 + pick(g, N_BUFFERS - 1);
    Value *mask = pick(g, 2) ? build_binary(&g->b, ELEM_LT, o, splat_int(g, 64, t)) : NULL;
    keep(g, build_load(&g->b, pointers(g, buffer, o), mask, NULL), true);
}

static void step_store(Gen *g, int32_t buffer, bool transposed)
{
    Entry *e = NULL;
    for (int32_t tries = 0; tries < 60 && !e; tries++) {
        Entry *c = &g->pool[pick(g, g->n_pool)];
        const Type *t = c->v->type;
        if (t->kind == TYPE_TILE && t->rank == 2 && t->shape[0] == g->rows &&
            t->shape[1] == g->cols)
            e = c;
    }
    if (!e) return;
    Value *mask, *o = offsets2(g, transposed, &mask);
    Value *v = e->v;
    if (v->type->dtype != g->buffer_type[buffer])
        v = build_cast(&g->b, v, g->buffer_type[buffer], ROUND_RNE);
    build_store(&g->b, pointers(g, buffer, o), v, mask);
}

static bool admits(ElemDomain d, DType t)
{
    if (t == DTYPE_I1) return d == DOMAIN_INT || d == DOMAIN_ANY;
    bool f = dtype_is_float(t), low = t == DTYPE_F8E4M3 || t == DTYPE_F8E5M2;
    switch (d) {
    case DOMAIN_INT:
        return !f;
    case DOMAIN_FLOAT:
        return f && !low;
    case DOMAIN_F32:
        return t == DTYPE_F32 || t == DTYPE_F64;
    default:
        return true;
    }
}

static void step_elem(Gen *g)
{
    ElemKind e = (ElemKind)pick(g, ELEM_KIND_COUNT);
    if (e >= ELEM_RSQRT && e <= ELEM_TANH) return; // tested in ulps
    Entry *x = find(g, e == ELEM_SELECT ? DTYPE_I1 : DTYPE_VOID);
    if (!x || !admits(elem_facts[e].domain, x->v->type->dtype)) return;
    if ((e == ELEM_SHL || e == ELEM_SHR || e == ELEM_MULHI) && x->v->type->dtype == DTYPE_I1)
        return;
    if (e == ELEM_MULHI && dtype_bits(x->v->type->dtype) < 32) return;
    if (e == ELEM_SELECT) {
        Entry *y = NULL;
        for (int32_t tries = 0; tries < 60 && !y; tries++) {
            Entry *c = &g->pool[pick(g, g->n_pool)];
            if (c->v->type->kind == TYPE_TILE && type_same_shape(c->v->type, x->v->type)) y = c;
        }
        Entry *z = y ? find_like(g, y->v) : NULL;
        if (z) keep(g, build_select(&g->b, x->v, y->v, z->v), y->is_exact && z->is_exact);
        return;
    }
    Value *in[3] = {x->v, NULL, NULL};
    bool is_exact = x->is_exact;
    for (int32_t i = 1; i < elem_facts[e].arity; i++) {
        Entry *y = find_like(g, x->v);
        if (!y) return;
        in[i] = y->v;
        is_exact &= y->is_exact;
    }
    bool moves = e == ELEM_MIN || e == ELEM_MAX || e == ELEM_NEG || e == ELEM_ABS ||
                 e == ELEM_FLOOR || e == ELEM_CEIL || e == ELEM_TRUNC || e == ELEM_RINT ||
                 elem_facts[e].result == RESULT_BOOL;
    bool is_int = !dtype_is_float(x->v->type->dtype);
    keep(g, build_elem(&g->b, e, elem_facts[e].arity, in), is_int || (is_exact && moves));
}

static void step_cast(Gen *g)
{
    Entry *x = find(g, DTYPE_VOID);
    if (!x) return;
    DType from = x->v->type->dtype, to = pick(g, 6) ? any_type(g) : DTYPE_I1;
    if (from == to) return;
    bool low = to == DTYPE_F8E4M3 || to == DTYPE_F8E5M2;
    if (from == DTYPE_F64 && low) return; // two roundings or one: open
    bool small = x->is_exact && (dtype_is_float(from) || dtype_bits(from) <= 8);
    keep(g, build_cast(&g->b, x->v, to, ROUND_RNE),
         !dtype_is_float(to) || (small && !low && to != DTYPE_BF16));
}

static void step_shape(Gen *g)
{
    Entry *x = find(g, DTYPE_VOID);
    if (!x) return;
    Builder *b = &g->b;
    const Type *t = x->v->type;
    int32_t two[2] = {g->rows, g->cols}, flat[1] = {(int32_t)t->numel}, perm[2] = {1, 0};
    switch (pick(g, 8)) {
    case 0:
        if (t->rank == 2) keep(g, build_trans(b, x->v, perm), x->is_exact);
        return;
    case 1:
        keep(g, build_reshape(b, x->v, 1, flat), x->is_exact);
        return;
    case 2:
        if (t->numel == (int64_t)g->rows * g->cols)
            keep(g, build_reshape(b, x->v, 2, two), x->is_exact);
        return;
    case 3:
        if (t->rank == 1 && t->shape[0] == g->cols)
            keep(g, build_broadcast(b, build_expand_dims(b, x->v, 0), 2, two), x->is_exact);
        else if (t->rank == 1 && t->shape[0] == g->rows)
            keep(g, build_broadcast(b, build_expand_dims(b, x->v, 1), 2, two), x->is_exact);
        return;
    case 4: {
        Entry *y = find_like(g, x->v);
        if (!y || t->rank > 2 || t->numel > 4096) return;
        Value *j = build_join(b, x->v, y->v), *s[2];
        keep(g, j, x->is_exact && y->is_exact);
        if (pick(g, 2)) {
            build_split(b, j, s);
            keep(g, s[pick(g, 2)], x->is_exact && y->is_exact);
        }
        return;
    }
    case 5: {
        Entry *y = find_like(g, x->v);
        if (y && t->numel <= 4096)
            keep(g, build_cat(b, x->v, y->v, pick(g, t->rank)), x->is_exact && y->is_exact);
        return;
    }
    default:
        keep(g, build_flip(b, x->v, pick(g, t->rank)), x->is_exact);
        return;
    }
}

static void step_reduce(Gen *g)
{
    Entry *x = find(g, DTYPE_VOID);
    if (!x || x->v->type->numel > (1 << 13)) return;
    const Type *t = x->v->type;
    bool f = dtype_is_float(t->dtype);
    if (f && !x->is_exact) return;
    static const CombineKind ints[] = {COMBINE_ADD, COMBINE_MUL,    COMBINE_MIN,
                                       COMBINE_MAX, COMBINE_AND,    COMBINE_OR,
                                       COMBINE_XOR, COMBINE_ARGMIN, COMBINE_ARGMAX};
    static const CombineKind floats[] = {COMBINE_ADD, COMBINE_MIN, COMBINE_MAX, COMBINE_ARGMIN,
                                         COMBINE_ARGMAX};
    CombineKind k = f ? floats[pick(g, 5)] : ints[pick(g, 9)];
    if (t->dtype == DTYPE_I1 && k != COMBINE_OR && k != COMBINE_AND && k != COMBINE_XOR) return;
    Value *out[2];
    build_reduce(&g->b, k, x->v, pick(g, t->rank), out);
    bool arg = k == COMBINE_ARGMIN || k == COMBINE_ARGMAX;
    for (int32_t i = 0; i < 1 + arg; i++) {
        Value *v = out[i];
        if (v->type->kind != TYPE_TILE) {
            int32_t two[2] = {g->rows, g->cols};
            v = build_splat(&g->b, v, 2, two);
        }
        keep(g, v, !f || k != COMBINE_ADD || i);
    }
}

static void step_scan(Gen *g)
{
    Entry *x = find(g, DTYPE_VOID);
    if (!x || (dtype_is_float(x->v->type->dtype) && !x->is_exact) || x->v->type->dtype == DTYPE_I1)
        return;
    DType t = x->v->type->dtype;
    if (t == DTYPE_F8E4M3 || t == DTYPE_F8E5M2 || t == DTYPE_F16 || t == DTYPE_BF16) return;
    CombineKind k = pick(g, 2) || dtype_is_float(t) ? COMBINE_ADD : COMBINE_MAX;
    keep(g, build_scan(&g->b, k, x->v, pick(g, x->v->type->rank), pick(g, 2)), !dtype_is_float(t));
}

/// A scan by a region that does not commute: keeps the later of two where it is odd.
static void step_region(Gen *g)
{
    Entry *x = find(g, DTYPE_I32);
    if (!x) return;
    bool scan = pick(g, 2);
    Op *op = scan ? build_scan_region(&g->b, 1, &x->v, pick(g, x->v->type->rank), pick(g, 2))
                  : build_reduce_region(&g->b, 1, &x->v, pick(g, x->v->type->rank));
    Builder inner = build_at_end(g->bench->fn, op->regions[0]);
    Value *a = op->regions[0]->args[0], *c = op->regions[0]->args[1], *r;
    if (scan) {
        Value *odd = build_cast(
            &inner, build_binary(&inner, ELEM_AND, c, build_const_int(&inner, c->type, 1)),
            DTYPE_I1, ROUND_RNE);
        r = build_select(&inner, odd, c, a);
    } else {
        r = build_binary(&inner, ELEM_XOR, a, c);
    }
    build_yield(&inner, 1, &r);
    Value *v = op->out;
    int32_t two[2] = {g->rows, g->cols};
    keep(g, v->type->kind == TYPE_TILE ? v : build_splat(&g->b, v, 2, two), true);
}

static void step_sort(Gen *g)
{
    Entry *x = find(g, DTYPE_VOID);
    if (!x || x->v->type->numel > 4096 || x->v->type->dtype == DTYPE_I1) return;
    if (dtype_is_float(x->v->type->dtype) && !x->is_exact) return; // the place of a NaN is open
    int32_t n = x->v->type->shape[x->v->type->rank - 1];
    keep(g, build_sort(&g->b, x->v, pick(g, 2), pick(g, 3) || n < 4 ? n : n / 4), x->is_exact);
}

static void step_gather(Gen *g)
{
    Entry *x = find(g, DTYPE_VOID), *i = find(g, DTYPE_I32);
    if (!x || !i || x->v->type->rank != i->v->type->rank) return;
    int32_t axis = pick(g, x->v->type->rank);
    for (int32_t a = 0; a < x->v->type->rank; a++)
        if (a != axis && x->v->type->shape[a] != i->v->type->shape[a]) return;
    Value *index =
        build_binary(&g->b, ELEM_AND, i->v, splat_int(g, x->v->type->shape[axis] - 1, i->v->type));
    keep(g, build_gather(&g->b, x->v, index, axis), x->is_exact);
}

static void step_dot(Gen *g)
{
    static const DType types[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16,  DTYPE_I8,
                                  DTYPE_U8,  DTYPE_F64, DTYPE_F8E5M2};
    DType t = types[pick(g, COUNT_OF(types))];
    Entry *x = find(g, t), *y = find(g, t);
    if (!x || !y || x->v->type->rank != 2 || y->v->type->rank != 2) return;
    if (dtype_is_float(t) && (!x->is_exact || !y->is_exact)) return;
    Value *a = x->v, *b = y->v;
    int32_t perm[2] = {1, 0};
    if (a->type->shape[1] != b->type->shape[0]) b = build_trans(&g->b, b, perm);
    if (a->type->shape[1] != b->type->shape[0] || a->type->shape[1] > 256) return;
    int32_t shape[2] = {a->type->shape[0], b->type->shape[1]};
    DType r = t == DTYPE_F64 ? DTYPE_F64 : dtype_is_float(t) ? DTYPE_F32 : DTYPE_I32;
    const Type *rt = type_tile(g->bench->module, type_scalar(g->bench->module, r), 2, shape);
    keep(g, build_dot(&g->b, a, b, build_zero(&g->b, rt), DOT_DEFAULT), !dtype_is_float(r));
}

static void step_histogram(Gen *g)
{
    Entry *x = find(g, DTYPE_I32);
    if (!x || x->v->type->rank != 1) return;
    keep(g, build_histogram(&g->b, x->v, NULL, 16), true);
}

static void step_any(Gen *g);

/// A loop of a run-time trip count that carries two tiles and a pointer tile.
static void step_for(Gen *g)
{
    Entry *x = find(g, DTYPE_VOID), *y = x ? find_like(g, x->v) : NULL;
    if (!y) return;
    Value *mask, *o = offsets2(g, false, &mask), *p = pointers(g, 1, o);
    Value *zero = build_const_int(&g->b, type_scalar(g->bench->module, DTYPE_I32), 0);
    Value *one = build_const_int(&g->b, type_scalar(g->bench->module, DTYPE_I32), 1);
    Value *initial[] = {x->v, y->v, p};
    bool is_exact = x->is_exact && y->is_exact;
    Op *loop = build_for(&g->b, zero, g->trip, one, 3, initial);
    Builder outer = g->b;
    int32_t mark = g->n_pool;
    Entry saved[MAX_POOL];
    memcpy(saved, g->pool, sizeof saved);
    g->b = build_at_end(g->bench->fn, loop->regions[0]);
    Value **args = loop->regions[0]->args;
    keep(g, args[1], is_exact);
    keep(g, args[2], is_exact);
    keep(g, build_load(&g->b, args[3], mask, NULL), true);
    for (int32_t i = pick(g, 5); i > 0; i--)
        step_any(g);
    Entry *u = find_like(g, x->v), *w = find_like(g, x->v);
    Value *step = build_const_int(&g->b, type_with_dtype(g->bench->module, o->type, DTYPE_I32), 1);
    Value *next[] = {u ? u->v : args[2], w ? w->v : args[1], build_addptr(&g->b, args[3], step)};
    bool out_exact = is_exact && u && w && u->is_exact && w->is_exact;
    build_yield(&g->b, 3, next);
    g->b = outer;
    memcpy(g->pool, saved, sizeof saved);
    g->n_pool = mark;
    keep(g, &loop->out[0], out_exact && !dtype_is_float(x->v->type->dtype));
    keep(g, &loop->out[1], out_exact && !dtype_is_float(x->v->type->dtype));
}

static void step_if(Gen *g)
{
    Entry *x = find(g, DTYPE_VOID), *y = x ? find_like(g, x->v) : NULL;
    if (!y) return;
    Value *c = build_binary(&g->b, ELEM_LT, g->n, build_const_int(&g->b, g->n->type, pick(g, 64)));
    const Type *types[] = {x->v->type};
    bool is_exact = x->is_exact && y->is_exact;
    Op *op = build_if(&g->b, c, 1, types);
    Builder outer = g->b;
    for (int32_t k = 0; k < 2; k++) {
        Entry saved[MAX_POOL];
        int32_t mark = g->n_pool;
        memcpy(saved, g->pool, sizeof saved);
        g->b = build_at_end(g->bench->fn, op->regions[k]);
        for (int32_t i = pick(g, 3); i > 0; i--)
            step_any(g);
        build_yield(&g->b, 1, k ? &y->v : &x->v);
        memcpy(g->pool, saved, sizeof saved);
        g->n_pool = mark;
    }
    g->b = outer;
    keep(g, op->out, is_exact);
}

static void step_any(Gen *g)
{
    static void (*const steps[])(Gen *) = {
        step_load,   step_load, step_gather_load, step_elem,  step_elem,     step_elem,   step_elem,
        step_elem,   step_cast, step_cast,        step_shape, step_shape,    step_reduce, step_scan,
        step_region, step_sort, step_gather,      step_dot,   step_histogram};
    steps[pick(g, COUNT_OF(steps))](g);
}

static void generate(Gen *g, uint64_t seed)
{
    g->random.state = seed * 7919 + 1;
    g->rows = 1 << pick(g, 7);
    g->cols = 1 << pick(g, 8);
    Module *m = g->bench->module;
    const Type *types[N_BUFFERS + 3];
    const char *names[N_BUFFERS + 3] = {"o", "a", "b", "c", "d", "e", "f", "n", "m", "trip"};
    for (int32_t i = 0; i < N_BUFFERS; i++) {
        g->buffer_type[i] = any_type(g);
        types[i] = type_ptr(m, g->buffer_type[i], false);
    }
    for (int32_t i = 0; i < 3; i++)
        types[N_BUFFERS + i] = type_scalar(m, DTYPE_I32);
    g->bench->fn = func_new(m, "random", N_BUFFERS + 3, types, names);
    g->bench->fn->fp_fusion = false;
    g->b = build_at_end(g->bench->fn, g->bench->fn->body);
    Value **args = g->bench->fn->body->args;
    for (int32_t i = 0; i < N_BUFFERS; i++)
        g->pointer[i] = args[i];
    g->n = args[N_BUFFERS];
    g->m = args[N_BUFFERS + 1];
    g->trip = args[N_BUFFERS + 2];
    step_load(g);
    keep(g, build_arange(&g->b, 0, g->cols), true);
    step_load(g);
    int32_t steps = 4 + pick(g, 14);
    for (int32_t i = 0; i < steps; i++) {
        int32_t k = pick(g, 14);
        if (k == 0)
            step_for(g);
        else if (k == 1)
            step_if(g);
        else if (k == 2)
            step_store(g, pick(g, N_BUFFERS), pick(g, 4) == 0);
        else
            step_any(g);
    }
    for (int32_t i = 0; i < 3; i++)
        step_store(g, i == 0 ? 0 : pick(g, N_BUFFERS), false);
    build_return(&g->b, 0, NULL);
}

static void fill(Gen *g, Guarded *buffers)
{
    for (int32_t i = 0; i < N_BUFFERS; i++) {
        int32_t bytes = dtype_bytes(g->buffer_type[i]);
        for (int64_t k = 0; k < g->buffer_numel; k++)
            dtype_store_f64(
                g->buffer_type[i], buffers[i].data + k * bytes,
                (double)pick(g, 65) / 4 -
                    (dtype_is_signed(g->buffer_type[i]) || dtype_is_float(g->buffer_type[i]) ? 8
                                                                                             : 0));
    }
}

static bool same(DType t, const uint8_t *x, const uint8_t *y)
{
    if (!memcmp(x, y, (size_t)dtype_bytes(t))) return true;
    if (!dtype_is_float(t)) return false;
    double a = dtype_load_f64(t, x), b = dtype_load_f64(t, y);
    return a == b ||
           (a != a && b != b); // signs of zeros and NaNs are open where min and max choose
}

typedef struct Args {
    void *buffer[N_BUFFERS];
    int32_t n, m, trip;
} Args;

static void check(uint64_t seed, CpuLevel level)
{
    Bench bench;
    bench_open(&bench);
    Gen g = {.bench = &bench};
    generate(&g, seed);
    int32_t m = MAX(g.rows, g.cols) + pick(&g, 2) * 3;
    Args args = {.n = pick(&g, MAX(g.rows, g.cols) + 2), .m = m, .trip = pick(&g, 4)};
    g.buffer_numel = MAX((int64_t)m * MAX(g.rows, g.cols) + 8, 128);
    Guarded buffers[2][N_BUFFERS];
    for (int32_t i = 0; i < N_BUFFERS; i++)
        for (int32_t k = 0; k < 2; k++)
            buffers[k][i] =
                guard_new((size_t)g.buffer_numel * (size_t)dtype_bytes(g.buffer_type[i]),
                          seed & 1 ? GUARD_END : GUARD_BEGIN);
    fill(&g, buffers[0]);
    for (int32_t i = 0; i < N_BUFFERS; i++)
        memcpy(buffers[1][i].data, buffers[0][i].data, buffers[0][i].bytes);
    func_print(bench.fn, &bench.text);
    const char *text = bench.text.data;
    Grid grid = {1, 1, 1, 0};
    for (int32_t i = 0; i < N_BUFFERS; i++)
        args.buffer[i] = buffers[1][i].data;
    cr_assert(bench_interpret(&bench, &args, grid), "seed %lu: %s", seed, bench.text.data);
    cr_assert(bench_compile(&bench, level), "seed %lu %s: %s", seed, bench_level_name(level),
              bench.text.data);
    for (int32_t i = 0; i < N_BUFFERS; i++)
        args.buffer[i] = buffers[0][i].data;
    if (bench_can_run(level)) {
        bench_run(&bench, &args, grid);
        for (int32_t i = 0; i < N_BUFFERS; i++) {
            int32_t bytes = dtype_bytes(g.buffer_type[i]);
            for (int64_t k = 0; k < g.buffer_numel; k++) {
                const uint8_t *got = buffers[0][i].data + k * bytes,
                              *want = buffers[1][i].data + k * bytes;
                cr_assert(same(g.buffer_type[i], got, want),
                          "seed %lu %s: buffer %d element %ld: %g, want %g (n %d m %d trip %d)\n%s",
                          seed, bench_level_name(level), i, (long)k,
                          dtype_load_f64(g.buffer_type[i], got),
                          dtype_load_f64(g.buffer_type[i], want), args.n, args.m, args.trip, text);
            }
        }
    }
    for (int32_t i = 0; i < N_BUFFERS; i++)
        for (int32_t k = 0; k < 2; k++)
            guard_free(&buffers[k][i]);
    bench_close(&bench);
}

#ifndef RANDOM_SEEDS
#define RANDOM_SEEDS 150
#endif

TestSuite(random_programs, .timeout = 300);

Test(random_programs, agree_with_the_interpreter_on_avx2)
{
    if (!bench_can_run(CPU_AVX2)) cr_skip("this machine has no AVX2");
    for (uint64_t seed = 1; seed <= RANDOM_SEEDS; seed++)
        check(seed, CPU_AVX2);
}

Test(random_programs, agree_with_the_interpreter_on_generic_x86)
{
    for (uint64_t seed = 1; seed <= RANDOM_SEEDS / 3; seed++)
        check(seed, CPU_GENERIC);
}

Test(random_programs, compile_for_avx512_and_agree_where_it_runs)
{
    uint64_t last = bench_can_run(CPU_AVX512) ? RANDOM_SEEDS : RANDOM_SEEDS / 5;
    for (uint64_t seed = 1; seed <= last; seed++)
        check(seed, CPU_AVX512);
    if (getenv("KILN_VERBOSE")) fprintf(stderr, "avx512: %lu programs\n", (unsigned long)last);
}

Test(random_programs, agree_with_the_interpreter_on_aarch64)
{
    far_needed();
    for (uint64_t seed = 1; seed <= RANDOM_SEEDS; seed++)
        check(seed, (CpuLevel)(CPU_NEON + (int32_t)(seed % 3)));
}
