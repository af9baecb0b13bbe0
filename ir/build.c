#include "ir/build.h"

#include "ir/elem_eval.h"

Builder build_at_end(Func *fn, Region *r)
{
    return (Builder){fn->module, fn, r, NULL, NO_SPAN};
}

Builder build_before(Func *fn, Op *op)
{
    return (Builder){fn->module, fn, op->parent, op, op->span};
}

Op *build_op(Builder *b, OpKind kind, int32_t n_in, Value *const *in, int32_t n_out,
             const Type *const *types, int32_t n_regions)
{
    ASSERT(n_in >= op_facts[kind].min_in &&
           (op_facts[kind].max_in < 0 || n_in <= op_facts[kind].max_in));
    Op *op = op_new(b->module, kind, b->span, n_in, in, n_out, types, n_regions);
    op_insert(op, b->region, b->before);
    return op;
}

/// One result, inputs listed.
static Op *one(Builder *b, OpKind kind, const Type *type, int32_t n_in, Value *const *in)
{
    return build_op(b, kind, n_in, in, 1, &type, 0);
}

static Value *unary(Builder *b, OpKind kind, const Type *type, Value *x)
{
    return one(b, kind, type, 1, &x)->out;
}

static void set(Op *op, AttrKey key, int64_t value)
{
    op_attr(op, key)->i = value;
}

// ---- values -------------------------------------------------------------------------------------

Value *build_const_int(Builder *b, const Type *t, int64_t value)
{
    ASSERT(t->is_ptr || dtype_is_int(t->dtype));
    Op *op = one(b, OP_CONST, t, 0, NULL);
    set(op, ATTR_VALUE, t->is_ptr ? value : int_wrap(t->dtype, value));
    return op->out;
}

Value *build_const_float(Builder *b, const Type *t, double value)
{
    ASSERT(!t->is_ptr && dtype_is_float(t->dtype));
    Op *op = one(b, OP_CONST, t, 0, NULL);
    op_attr(op, ATTR_VALUE)->f = float_round(t->dtype, value);
    return op->out;
}

Value *build_zero(Builder *b, const Type *t)
{
    return !t->is_ptr && dtype_is_float(t->dtype) ? build_const_float(b, t, 0.0)
                                                  : build_const_int(b, t, 0);
}

static Value *grid_value(Builder *b, OpKind kind, int32_t axis)
{
    ASSERT(axis >= 0 && axis < 3);
    Op *op = one(b, kind, type_scalar(b->module, DTYPE_I32), 0, NULL);
    set(op, ATTR_AXIS, axis);
    return op->out;
}

Value *build_program_id(Builder *b, int32_t axis)
{
    return grid_value(b, OP_PROGRAM_ID, axis);
}

Value *build_num_programs(Builder *b, int32_t axis)
{
    return grid_value(b, OP_NUM_PROGRAMS, axis);
}

Value *build_arange(Builder *b, int32_t start, int32_t end)
{
    int32_t n = end - start;
    ASSERT(is_pow2(n));
    Op *op =
        one(b, OP_ARANGE, type_tile(b->module, type_scalar(b->module, DTYPE_I32), 1, &n), 0, NULL);
    set(op, ATTR_START, start);
    return op->out;
}

// ---- elementwise --------------------------------------------------------------------------------

const Type *elem_result_type(Module *m, ElemKind e, Value *const *in)
{
    switch (elem_facts[e].result) {
    case RESULT_SAME:
        return in[0]->type;
    case RESULT_BOOL:
        return type_with_dtype(m, in[0]->type, DTYPE_I1);
    case RESULT_SEL:
        return in[1]->type;
    }
    BUG("no result rule for %s", elem_facts[e].name);
}

Value *build_elem(Builder *b, ElemKind e, int32_t n, Value *const *in)
{
    ASSERT(n == elem_facts[e].arity);
    for (int32_t i = 1; i < n; i++)
        ASSERT(type_same_shape(in[i]->type, in[0]->type));
    Op *op = one(b, OP_ELEM, elem_result_type(b->module, e, in), n, in);
    op->elem = e;
    return op->out;
}

Value *build_unary(Builder *b, ElemKind e, Value *x)
{
    return build_elem(b, e, 1, (Value *[2]){x, x}); // two: elem_result_type may read the second
}

Value *build_binary(Builder *b, ElemKind e, Value *x, Value *y)
{
    return build_elem(b, e, 2, (Value *[]){x, y});
}

Value *build_select(Builder *b, Value *c, Value *x, Value *y)
{
    return build_elem(b, ELEM_SELECT, 3, (Value *[]){c, x, y});
}

Value *build_cast(Builder *b, Value *x, DType to, RoundMode round)
{
    ASSERT(!x->type->is_ptr);
    if (x->type->dtype == to) return x;
    Value *v = unary(b, OP_CAST, type_with_dtype(b->module, x->type, to), x);
    set(v->def, ATTR_ROUND, round);
    return v;
}

Value *build_bitcast(Builder *b, Value *x, const Type *element)
{
    const Type *to = type_with_element(b->module, x->type, element);
    return to == x->type ? x : unary(b, OP_BITCAST, to, x);
}

Value *build_addptr(Builder *b, Value *ptr, Value *offset)
{
    ASSERT(ptr->type->is_ptr && type_same_shape(ptr->type, offset->type));
    return one(b, OP_ADDPTR, ptr->type, 2, (Value *[]){ptr, offset})->out;
}

static void set_list(Builder *b, Op *op, int32_t n, const int32_t *list)
{
    Attr *attr = op_attr(op, ATTR_LIST);
    int32_t *copy = arena_array(b->module->arena, int32_t, n ? n : 1);
    if (n) memcpy(copy, list, sizeof(int32_t) * (size_t)n);
    attr->list = copy;
    attr->n_list = n;
}

Value *build_hint(Builder *b, Value *x, HintKind kind, int32_t n, const int32_t *list)
{
    Value *v = unary(b, OP_HINT, x->type, x);
    set(v->def, ATTR_HINT, kind);
    set_list(b, v->def, n, list);
    return v;
}

// ---- shape --------------------------------------------------------------------------------------

Value *build_splat(Builder *b, Value *scalar, int32_t rank, const int32_t *shape)
{
    ASSERT(scalar->type->rank == 0);
    return rank == 0
               ? scalar
               : unary(b, OP_SPLAT, type_with_shape(b->module, scalar->type, rank, shape), scalar);
}

Value *build_broadcast(Builder *b, Value *x, int32_t rank, const int32_t *shape)
{
    if (x->type->rank == 0) return build_splat(b, x, rank, shape);
    ASSERT(x->type->rank == rank);
    const Type *to = type_with_shape(b->module, x->type, rank, shape);
    return type_same_shape(to, x->type) ? x : unary(b, OP_BROADCAST, to, x);
}

Value *build_expand_dims(Builder *b, Value *x, int32_t axis)
{
    int32_t shape[TYPE_MAX_RANK], rank = x->type->rank;
    ASSERT(axis >= 0 && axis <= rank && rank < TYPE_MAX_RANK);
    for (int32_t i = 0; i <= rank; i++)
        shape[i] = i == axis ? 1 : x->type->shape[i - (i > axis)];
    Value *v = unary(b, OP_EXPAND_DIMS, type_with_shape(b->module, x->type, rank + 1, shape), x);
    set(v->def, ATTR_AXIS, axis);
    return v;
}

Value *build_reshape(Builder *b, Value *x, int32_t rank, const int32_t *shape)
{
    const Type *to = type_with_shape(b->module, x->type, rank, shape);
    ASSERT(to->numel == x->type->numel);
    return type_same_shape(to, x->type) ? x : unary(b, OP_RESHAPE, to, x);
}

Value *build_trans(Builder *b, Value *x, const int32_t *perm)
{
    int32_t shape[TYPE_MAX_RANK] = {0}, rank = x->type->rank;
    for (int32_t i = 0; i < rank; i++)
        shape[i] = x->type->shape[perm[i]];
    Value *v = unary(b, OP_TRANS, type_with_shape(b->module, x->type, rank, shape), x);
    set_list(b, v->def, rank, perm);
    return v;
}

Value *build_join(Builder *b, Value *x, Value *y)
{
    int32_t shape[TYPE_MAX_RANK + 1], rank = x->type->rank;
    ASSERT(x->type->element == y->type->element && type_same_shape(x->type, y->type) &&
           rank < TYPE_MAX_RANK);
    for (int32_t i = 0; i < rank; i++)
        shape[i] = x->type->shape[i];
    shape[rank] = 2;
    return one(b, OP_JOIN, type_with_shape(b->module, x->type, rank + 1, shape), 2,
               (Value *[]){x, y})
        ->out;
}

void build_split(Builder *b, Value *x, Value *out[2])
{
    int32_t rank = x->type->rank - 1;
    ASSERT(rank >= 0 && x->type->shape[rank] == 2);
    const Type *half = type_with_shape(b->module, x->type, rank, x->type->shape);
    Op *op = build_op(b, OP_SPLIT, 1, &x, 2, (const Type *[]){half, half}, 0);
    out[0] = &op->out[0];
    out[1] = &op->out[1];
}

Value *build_cat(Builder *b, Value *x, Value *y, int32_t axis)
{
    int32_t shape[TYPE_MAX_RANK], rank = x->type->rank;
    ASSERT(type_same_shape(x->type, y->type) && axis >= 0 && axis < rank);
    for (int32_t i = 0; i < rank; i++)
        shape[i] = x->type->shape[i] << (i == axis);
    Op *op = one(b, OP_CAT, type_with_shape(b->module, x->type, rank, shape), 2, (Value *[]){x, y});
    set(op, ATTR_AXIS, axis);
    return op->out;
}

Value *build_flip(Builder *b, Value *x, int32_t axis)
{
    ASSERT(axis >= 0 && axis < x->type->rank);
    Value *v = unary(b, OP_FLIP, x->type, x);
    set(v->def, ATTR_AXIS, axis);
    return v;
}

// ---- across elements ----------------------------------------------------------------------------

const Type *reduce_result_type(Module *m, const Type *t, int32_t axis)
{
    int32_t shape[TYPE_MAX_RANK], rank = 0;
    ASSERT(axis >= 0 && axis < t->rank);
    for (int32_t i = 0; i < t->rank; i++)
        if (i != axis) shape[rank++] = t->shape[i];
    return type_with_shape(m, t, rank, shape);
}

void build_reduce(Builder *b, CombineKind kind, Value *x, int32_t axis, Value **out)
{
    bool with_index = kind == COMBINE_ARGMIN || kind == COMBINE_ARGMAX;
    ASSERT(kind != COMBINE_REGION);
    const Type *value = reduce_result_type(b->module, x->type, axis);
    const Type *types[2] = {value, type_with_dtype(b->module, value, DTYPE_I32)};
    Op *op = build_op(b, OP_REDUCE, 1, &x, with_index ? 2 : 1, types, 0);
    set(op, ATTR_COMBINE, kind);
    set(op, ATTR_AXIS, axis);
    for (int32_t i = 0; i < op->n_out; i++)
        out[i] = &op->out[i];
}

Value *build_scan(Builder *b, CombineKind kind, Value *x, int32_t axis, bool reverse)
{
    ASSERT(kind != COMBINE_REGION && kind != COMBINE_ARGMIN && kind != COMBINE_ARGMAX);
    Value *v = unary(b, OP_SCAN, x->type, x);
    set(v->def, ATTR_COMBINE, kind);
    set(v->def, ATTR_AXIS, axis);
    set(v->def, ATTR_REVERSE, reverse);
    return v;
}

/// The region of a combine: 2n scalars, the earlier n first.
static void combine_region(Builder *b, Op *op, int32_t n, Value *const *x)
{
    const Type **types = arena_array(b->module->arena, const Type *, 2 * n);
    for (int32_t i = 0; i < 2 * n; i++)
        types[i] = type_scalar(b->module, x[i % n]->type->dtype);
    op->regions[0] = region_new(b->module, b->func, op, 2 * n, types);
}

Op *build_reduce_region(Builder *b, int32_t n, Value *const *x, int32_t axis)
{
    const Type **types = arena_array(b->module->arena, const Type *, n);
    for (int32_t i = 0; i < n; i++)
        types[i] = reduce_result_type(b->module, x[i]->type, axis);
    Op *op = build_op(b, OP_REDUCE, n, x, n, types, 1);
    set(op, ATTR_COMBINE, COMBINE_REGION);
    set(op, ATTR_AXIS, axis);
    combine_region(b, op, n, x);
    return op;
}

Op *build_scan_region(Builder *b, int32_t n, Value *const *x, int32_t axis, bool reverse)
{
    const Type **types = arena_array(b->module->arena, const Type *, n);
    for (int32_t i = 0; i < n; i++)
        types[i] = x[i]->type;
    Op *op = build_op(b, OP_SCAN, n, x, n, types, 1);
    set(op, ATTR_COMBINE, COMBINE_REGION);
    set(op, ATTR_AXIS, axis);
    set(op, ATTR_REVERSE, reverse);
    combine_region(b, op, n, x);
    return op;
}

Value *build_sort(Builder *b, Value *x, bool descending, int32_t k)
{
    int32_t shape[TYPE_MAX_RANK], rank = x->type->rank;
    ASSERT(rank >= 1 && is_pow2(k) && k <= x->type->shape[rank - 1]);
    memcpy(shape, x->type->shape, sizeof(int32_t) * (size_t)rank);
    shape[rank - 1] = k;
    Value *v = unary(b, OP_SORT, type_with_shape(b->module, x->type, rank, shape), x);
    set(v->def, ATTR_DESCENDING, descending);
    return v;
}

Value *build_gather(Builder *b, Value *src, Value *index, int32_t axis)
{
    const Type *to = type_with_shape(b->module, src->type, index->type->rank, index->type->shape);
    Op *op = one(b, OP_GATHER, to, 2, (Value *[]){src, index});
    set(op, ATTR_AXIS, axis);
    return op->out;
}

Value *build_histogram(Builder *b, Value *x, Value *mask, int32_t bins)
{
    const Type *to = type_tile(b->module, type_scalar(b->module, DTYPE_I32), 1, &bins);
    return one(b, OP_HISTOGRAM, to, mask ? 2 : 1, (Value *[]){x, mask})->out;
}

Value *build_dot(Builder *b, Value *x, Value *y, Value *acc, DotPrecision precision)
{
    Op *op = one(b, OP_DOT, acc->type, 3, (Value *[]){x, y, acc});
    set(op, ATTR_PRECISION, precision);
    return op->out;
}

// ---- memory -------------------------------------------------------------------------------------

Value *build_load(Builder *b, Value *ptr, Value *mask, Value *other)
{
    ASSERT(ptr->type->is_ptr && (mask || !other));
    const Type *to = type_with_dtype(b->module, ptr->type, ptr->type->dtype);
    return one(b, OP_LOAD, to, 1 + (mask != NULL) + (other != NULL), (Value *[]){ptr, mask, other})
        ->out;
}

Op *build_store(Builder *b, Value *ptr, Value *value, Value *mask)
{
    ASSERT(ptr->type->is_ptr && !ptr->type->is_const);
    return build_op(b, OP_STORE, mask ? 3 : 2, (Value *[]){ptr, value, mask}, 0, NULL, 0);
}

Value *build_atomic_rmw(Builder *b, RmwKind kind, Value *ptr, Value *value, Value *mask, MemSem sem,
                        MemScope scope)
{
    Op *op = one(b, OP_ATOMIC_RMW, value->type, mask ? 3 : 2, (Value *[]){ptr, value, mask});
    set(op, ATTR_RMW, kind);
    set(op, ATTR_SEM, sem);
    set(op, ATTR_SCOPE, scope);
    return op->out;
}

Value *build_atomic_cas(Builder *b, Value *ptr, Value *expected, Value *value, MemSem sem,
                        MemScope scope)
{
    Op *op = one(b, OP_ATOMIC_CAS, value->type, 3, (Value *[]){ptr, expected, value});
    set(op, ATTR_SEM, sem);
    set(op, ATTR_SCOPE, scope);
    return op->out;
}

void build_barrier(Builder *b)
{
    build_op(b, OP_BARRIER, 0, NULL, 0, NULL, 0);
}

// ---- control ------------------------------------------------------------------------------------

/// Types of `n` values, with room for one more in front.
static const Type **types_after_one(Builder *b, int32_t n, Value *const *values)
{
    const Type **types = arena_array(b->module->arena, const Type *, n + 1);
    for (int32_t i = 0; i < n; i++)
        types[i + 1] = values[i]->type;
    return types;
}

Op *build_for(Builder *b, Value *begin, Value *end, Value *step, int32_t n, Value *const *initial)
{
    ASSERT(begin->type == end->type && begin->type == step->type);
    Value **in = arena_array(b->module->arena, Value *, n + 3);
    in[0] = begin;
    in[1] = end;
    in[2] = step;
    for (int32_t i = 0; i < n; i++)
        in[i + 3] = initial[i];
    const Type **types = types_after_one(b, n, initial);
    types[0] = begin->type;
    Op *op = build_op(b, OP_FOR, n + 3, in, n, types + 1, 1);
    op->regions[0] = region_new(b->module, b->func, op, n + 1, types);
    return op;
}

Op *build_while(Builder *b, int32_t n, Value *const *initial)
{
    const Type **types = types_after_one(b, n, initial);
    Op *op = build_op(b, OP_WHILE, n, initial, n, types + 1, 2);
    for (int32_t i = 0; i < 2; i++)
        op->regions[i] = region_new(b->module, b->func, op, n, types + 1);
    return op;
}

Op *build_if(Builder *b, Value *cond, int32_t n_results, const Type *const *types)
{
    Op *op = build_op(b, OP_IF, 1, &cond, n_results, types, 2);
    for (int32_t i = 0; i < 2; i++)
        op->regions[i] = region_new(b->module, b->func, op, 0, NULL);
    return op;
}

void build_yield(Builder *b, int32_t n, Value *const *values)
{
    build_op(b, OP_YIELD, n, values, 0, NULL, 0);
}

void build_condition(Builder *b, Value *cond, int32_t n, Value *const *values)
{
    Value **in = arena_array(b->module->arena, Value *, n + 1);
    in[0] = cond;
    for (int32_t i = 0; i < n; i++)
        in[i + 1] = values[i];
    build_op(b, OP_CONDITION, n + 1, in, 0, NULL, 0);
}

void build_return(Builder *b, int32_t n, Value *const *values)
{
    build_op(b, OP_RETURN, n, values, 0, NULL, 0);
}
