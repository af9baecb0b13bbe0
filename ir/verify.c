#include "ir/verify.h"

#include "base/bits.h"
#include "ir/text.h"

// ---- type rules: one function per op, NULL when fine -----------------------------------------------

typedef const char *(*Rule)(const Op *op);

/// The same element type and shape, and the same layout where both have one.
static bool same(const Type *a, const Type *b)
{
    if (a == b) return true;
    if (a->kind != b->kind || a->element != b->element || a->is_ptr != b->is_ptr ||
        a->dtype != b->dtype)
        return false;
    if (a->is_const != b->is_const || a->stages != b->stages || !type_same_shape(a, b))
        return false;
    return a->layout == b->layout || !a->layout || !b->layout;
}

/// A scalar, pointer, or tile of either: what ops compute on.
static bool is_data(const Type *t)
{
    return t->kind == TYPE_SCALAR || t->kind == TYPE_PTR || t->kind == TYPE_TILE;
}
static bool is_number(const Type *t)
{
    return is_data(t) && !t->is_ptr;
}
static bool is_int(const Type *t)
{
    return is_number(t) && dtype_is_int(t->dtype);
}
static bool is_float(const Type *t)
{
    return is_number(t) && dtype_is_float(t->dtype);
}
static bool is_mask_of(const Type *t, const Type *of)
{
    return is_number(t) && t->dtype == DTYPE_I1 && type_same_shape(t, of);
}
static bool is_scalar_int(const Type *t)
{
    return t->kind == TYPE_SCALAR && dtype_is_int(t->dtype);
}
/// Two types of one element type; shapes may differ.
static bool same_element(const Type *a, const Type *b)
{
    return a->is_ptr == b->is_ptr && a->dtype == b->dtype && a->is_const == b->is_const;
}

static const Type *in(const Op *op, int32_t i)
{
    return op->in[i]->type;
}
static const Type *out(const Op *op, int32_t i)
{
    return op->out[i].type;
}
static int64_t attr(const Op *op, AttrKey key)
{
    return op_attr_i(op, key);
}

static const char *check_const(const Op *op)
{
    return is_data(out(op, 0)) ? NULL : "a constant is a scalar, a pointer or a tile";
}

static const char *check_grid(const Op *op)
{
    if (attr(op, ATTR_AXIS) < 0 || attr(op, ATTR_AXIS) > 2)
        return "the axis of a grid is 0, 1 or 2";
    return out(op, 0)->kind == TYPE_SCALAR && out(op, 0)->dtype == DTYPE_I32 ? NULL
                                                                             : "the result is i32";
}

static const char *check_arange(const Op *op)
{
    const Type *t = out(op, 0);
    if (t->kind != TYPE_TILE || t->is_ptr || t->rank != 1 || t->dtype != DTYPE_I32)
        return "the result is tile<nxi32>";
    int64_t start = attr(op, ATTR_START);
    return start >= INT32_MIN && start + t->numel - 1 <= INT32_MAX ? NULL : "the range leaves i32";
}

static const char *check_domain(ElemDomain domain, const Type *t)
{
    if (!is_data(t)) return "operands are scalars, pointers or tiles";
    if (domain == DOMAIN_ANY) return NULL;
    if (t->is_ptr) return "operands cannot be pointers";
    if (domain == DOMAIN_INT && !is_int(t)) return "operands are ints";
    if (domain == DOMAIN_FLOAT && !is_float(t)) return "operands are floats";
    if (domain == DOMAIN_F32 && t->dtype != DTYPE_F32 && t->dtype != DTYPE_F64)
        return "operands are f32 or f64";
    return NULL;
}

static const char *check_elem(const Op *op)
{
    const ElemFacts *facts = &elem_facts[op->elem];
    if (op->n_in != facts->arity) return "wrong number of operands";
    int32_t first = facts->result == RESULT_SEL ? 1 : 0;
    const char *wrong = check_domain(facts->domain, in(op, first));
    if (wrong) return wrong;
    if (first && !is_mask_of(in(op, 0), in(op, 1)))
        return "the condition is i1 of the operands' shape";
    for (int32_t i = first + 1; i < op->n_in; i++)
        if (!same(in(op, i), in(op, first))) return "operands differ in type";
    if (facts->result == RESULT_BOOL)
        return is_mask_of(out(op, 0), in(op, 0)) ? NULL : "the result is i1 of the operands' shape";
    return same(out(op, 0), in(op, first)) ? NULL : "the result has another type than the operands";
}

static const char *check_cast(const Op *op)
{
    if (!is_number(in(op, 0)) || !is_number(out(op, 0))) return "a cast is from numbers to numbers";
    if (attr(op, ATTR_ROUND) != ROUND_RNE && !(is_float(in(op, 0)) && is_float(out(op, 0))))
        return "only float to float has a rounding mode";
    return type_same_shape(in(op, 0), out(op, 0)) ? NULL : "a cast keeps the shape";
}

static int32_t width(const Type *t)
{
    return t->is_ptr ? 64 : dtype_bits(t->dtype);
}

static const char *check_bitcast(const Op *op)
{
    if (!is_data(in(op, 0)) || !is_data(out(op, 0))) return "a bitcast is from data to data";
    if (width(in(op, 0)) != width(out(op, 0))) return "a bitcast keeps the width";
    return type_same_shape(in(op, 0), out(op, 0)) ? NULL : "a bitcast keeps the shape";
}

static const char *check_addptr(const Op *op)
{
    if (!is_data(in(op, 0)) || !in(op, 0)->is_ptr) return "operand 0 is a pointer";
    if (!is_int(in(op, 1)) || in(op, 1)->dtype == DTYPE_I1) return "the offset is an int";
    if (!type_same_shape(in(op, 0), in(op, 1))) return "pointer and offset have one shape";
    return same(in(op, 0), out(op, 0)) ? NULL : "the result has the pointer's type";
}

static const char *check_hint(const Op *op)
{
    if (!same(in(op, 0), out(op, 0))) return "a hint returns its operand";
    const Attr *list = op_attr((Op *)(uintptr_t)op, ATTR_LIST);
    if (list->n_list != MAX(1, in(op, 0)->rank)) return "a hint has one value per axis";
    for (int32_t i = 0; i < list->n_list; i++)
        if (list->list[i] < 1) return "a hint's values are positive";
    return NULL;
}

// ---- shapes -------------------------------------------------------------------------------------

static const char *check_splat(const Op *op)
{
    if (in(op, 0)->rank || !is_data(in(op, 0))) return "operand 0 is a scalar";
    return out(op, 0)->kind == TYPE_TILE && same_element(in(op, 0), out(op, 0))
               ? NULL
               : "the result is a tile of the operand";
}

static const char *check_broadcast(const Op *op)
{
    const Type *x = in(op, 0), *y = out(op, 0);
    if (x->kind != TYPE_TILE || y->kind != TYPE_TILE || x->rank != y->rank || !same_element(x, y))
        return "operand and result are tiles of one rank and element type";
    for (int32_t i = 0; i < x->rank; i++)
        if (x->shape[i] != y->shape[i] && x->shape[i] != 1)
            return "only axes of extent 1 are repeated";
    return NULL;
}

static const char *check_expand_dims(const Op *op)
{
    const Type *x = in(op, 0), *y = out(op, 0);
    int64_t axis = attr(op, ATTR_AXIS);
    if (!is_data(x) || y->kind != TYPE_TILE || y->rank != x->rank + 1 || !same_element(x, y))
        return "the result has one axis more";
    if (axis < 0 || axis > x->rank || y->shape[axis] != 1) return "the new axis has extent 1";
    for (int32_t i = 0; i < x->rank; i++)
        if (x->shape[i] != y->shape[i + (i >= axis)]) return "the other axes stay";
    return NULL;
}

static const char *check_reshape(const Op *op)
{
    if (!is_data(in(op, 0)) || !is_data(out(op, 0)) || !same_element(in(op, 0), out(op, 0)))
        return "a reshape keeps the element type";
    return in(op, 0)->numel == out(op, 0)->numel ? NULL : "a reshape keeps the number of elements";
}

static const char *check_trans(const Op *op)
{
    const Type *x = in(op, 0), *y = out(op, 0);
    const Attr *perm = op_attr((Op *)(uintptr_t)op, ATTR_LIST);
    if (!is_data(x) || !is_data(y) || x->rank != y->rank || !same_element(x, y) ||
        perm->n_list != x->rank)
        return "a transposition keeps rank and element type and lists every axis";
    uint32_t seen = 0;
    for (int32_t i = 0; i < x->rank; i++) {
        int32_t from = perm->list[i];
        if (from < 0 || from >= x->rank || seen >> from & 1) return "the list is no permutation";
        seen |= 1u << from;
        if (y->shape[i] != x->shape[from]) return "the result's shape is not the permuted one";
    }
    return NULL;
}

/// Is `t` the shape of `x` with an axis of extent 2 behind it?
static bool is_pair_of(const Type *t, const Type *x)
{
    return t->kind == TYPE_TILE && is_data(x) && t->rank == x->rank + 1 && t->shape[x->rank] == 2 &&
           same_element(t, x) &&
           (!x->rank || memcmp(t->shape, x->shape, sizeof(int32_t) * (size_t)x->rank) == 0);
}

static const char *check_join(const Op *op)
{
    if (!same(in(op, 0), in(op, 1))) return "operands differ in type";
    return is_pair_of(out(op, 0), in(op, 0)) ? NULL : "the result is the operands' shape x 2";
}

static const char *check_split(const Op *op)
{
    if (!same(out(op, 0), out(op, 1))) return "results differ in type";
    return is_pair_of(in(op, 0), out(op, 0)) ? NULL : "the operand is the results' shape x 2";
}

/// axis is one of t's.
static bool is_axis(int64_t axis, const Type *t)
{
    return axis >= 0 && axis < t->rank;
}

static const char *check_cat(const Op *op)
{
    const Type *x = in(op, 0), *y = out(op, 0);
    if (!same(x, in(op, 1)) || x->kind != TYPE_TILE) return "operands are tiles of one type";
    if (!is_axis(attr(op, ATTR_AXIS), x)) return "the axis is out of range";
    if (y->kind != TYPE_TILE || y->rank != x->rank || !same_element(x, y))
        return "the result has the operands' rank";
    for (int32_t i = 0; i < x->rank; i++)
        if (y->shape[i] != x->shape[i] * (i == attr(op, ATTR_AXIS) ? 2 : 1))
            return "the axis is doubled, the others stay";
    return NULL;
}

static const char *check_flip(const Op *op)
{
    if (in(op, 0)->kind != TYPE_TILE || !is_axis(attr(op, ATTR_AXIS), in(op, 0)))
        return "the axis is out of range";
    return same(in(op, 0), out(op, 0)) ? NULL : "the result has the operand's type";
}

// ---- across elements ----------------------------------------------------------------------------

static bool is_arg_combine(int64_t kind)
{
    return kind == COMBINE_ARGMIN || kind == COMBINE_ARGMAX;
}

/// The region of a combine: 2n scalars of the element types in, n out, no memory.
static const char *check_combine_region(const Op *op)
{
    if (op->n_regions != 1) return "combine=region needs a region";
    const Region *r = op->regions[0];
    if (r->n_args != 2 * op->n_in || op->n_out != op->n_in)
        return "the region combines 2n scalars into n";
    for (int32_t i = 0; i < r->n_args; i++)
        if (r->args[i]->type->rank || !same_element(r->args[i]->type, in(op, i % op->n_in)))
            return "the region's arguments are the operands' elements";
    EACH_OP(inner, r)
        if (op_facts[inner->kind].effects == EFFECT_WRITES ||
            op_facts[inner->kind].effects == EFFECT_READS)
            return "the region touches memory";
    const Op *end = r->last;
    if (!end || end->kind != OP_YIELD || end->n_in != op->n_in)
        return "the region yields n scalars";
    for (int32_t i = 0; i < op->n_in; i++)
        if (!same(in(end, i), r->args[i]->type))
            return "the region yields other types than it takes";
    return NULL;
}

static const char *check_combine(const Op *op)
{
    int64_t kind = attr(op, ATTR_COMBINE);
    if (op->n_in > COMBINE_MAX_OPERANDS) return "too many operands";
    for (int32_t i = 0; i < op->n_in; i++) {
        if (in(op, i)->kind != TYPE_TILE || in(op, i)->is_ptr)
            return "operands are tiles of numbers";
        if (!type_same_shape(in(op, i), in(op, 0))) return "operands have one shape";
    }
    if (!is_axis(attr(op, ATTR_AXIS), in(op, 0))) return "the axis is out of range";
    if (kind == COMBINE_REGION) return check_combine_region(op);
    if (op->n_regions) return "only combine=region has a region";
    if (op->n_in != 1) return "a built-in combine takes one operand";
    if (op->n_out != (is_arg_combine(kind) ? 2 : 1)) return "wrong number of results";
    bool is_bitwise = kind == COMBINE_AND || kind == COMBINE_OR || kind == COMBINE_XOR;
    return is_bitwise && !is_int(in(op, 0)) ? "a bitwise combine takes ints" : NULL;
}

static const char *check_reduce(const Op *op)
{
    const char *wrong = check_combine(op);
    if (wrong) return wrong;
    const Type *x = in(op, 0);
    for (int32_t k = 0; k < op->n_out; k++) {
        const Type *y = out(op, k);
        int32_t at = 0;
        if (y->rank != x->rank - 1) return "the axis is removed";
        for (int32_t i = 0; i < x->rank; i++)
            if (i != attr(op, ATTR_AXIS) && y->shape[at++] != x->shape[i])
                return "the other axes stay";
        if (k == 1 && is_arg_combine(attr(op, ATTR_COMBINE))) {
            if (y->is_ptr || y->dtype != DTYPE_I32) return "the index is i32";
        } else if (!same_element(y, in(op, k))) {
            return "the result has the operand's element type";
        }
    }
    return NULL;
}

static const char *check_scan(const Op *op)
{
    const char *wrong = check_combine(op);
    if (wrong) return wrong;
    if (is_arg_combine(attr(op, ATTR_COMBINE))) return "a scan has no argmin and argmax";
    for (int32_t i = 0; i < op->n_out; i++)
        if (!same(in(op, i), out(op, i))) return "results have the operands' types";
    return NULL;
}

static const char *check_sort(const Op *op)
{
    const Type *x = in(op, 0), *y = out(op, 0);
    if (x->kind != TYPE_TILE || x->is_ptr || y->kind != TYPE_TILE || y->rank != x->rank ||
        !same_element(x, y))
        return "operand and result are tiles of one rank and element type";
    for (int32_t i = 0; i < x->rank - 1; i++)
        if (x->shape[i] != y->shape[i]) return "only the last axis may be shorter";
    return y->shape[y->rank - 1] <= x->shape[x->rank - 1] ? NULL : "the last axis may not grow";
}

static const char *check_gather(const Op *op)
{
    const Type *src = in(op, 0), *index = in(op, 1), *y = out(op, 0);
    if (src->kind != TYPE_TILE || !is_int(index) || index->rank != src->rank)
        return "the index is ints of the source's rank";
    if (!is_axis(attr(op, ATTR_AXIS), src)) return "the axis is out of range";
    for (int32_t i = 0; i < src->rank; i++)
        if (i != attr(op, ATTR_AXIS) && src->shape[i] != index->shape[i])
            return "the other axes are equal";
    return type_same_shape(y, index) && same_element(y, src)
               ? NULL
               : "the result has the index's shape, the source's elements";
}

static const char *check_histogram(const Op *op)
{
    if (!is_int(in(op, 0)) || in(op, 0)->rank != 1) return "the operand is ints of rank 1";
    if (op->n_in > 1 && !is_mask_of(in(op, 1), in(op, 0)))
        return "the mask is i1 of the operand's shape";
    const Type *y = out(op, 0);
    return y->kind == TYPE_TILE && !y->is_ptr && y->rank == 1 && y->dtype == DTYPE_I32
               ? NULL
               : "the result is tile<nxi32>";
}

static bool is_f8(DType t)
{
    return t == DTYPE_F8E4M3 || t == DTYPE_F8E5M2;
}

static bool dot_gives(DType x, DType y, DType acc)
{
    if (x != y && !(is_f8(x) && is_f8(y))) return false;
    switch (x) {
    case DTYPE_I8:
    case DTYPE_U8:
        return acc == DTYPE_I32;
    case DTYPE_F16:
    case DTYPE_F8E4M3:
    case DTYPE_F8E5M2:
        return acc == DTYPE_F16 || acc == DTYPE_F32;
    case DTYPE_BF16:
    case DTYPE_F32:
        return acc == DTYPE_F32;
    case DTYPE_F64:
        return acc == DTYPE_F64;
    default:
        return false;
    }
}

/// (..., M, K) . (..., K, N) + (..., M, N); tiles or buffers.
static const char *check_product(const Type *x, const Type *y, const Type *acc)
{
    int32_t r = acc->rank;
    if (r < 2 || x->rank != r || y->rank != r || x->is_ptr || y->is_ptr || acc->is_ptr)
        return "operands are matrices of one rank";
    for (int32_t i = 0; i < r - 2; i++)
        if (x->shape[i] != acc->shape[i] || y->shape[i] != acc->shape[i])
            return "batch axes are equal";
    if (x->shape[r - 1] != y->shape[r - 2]) return "inner extents differ";
    if (x->shape[r - 2] != acc->shape[r - 2] || y->shape[r - 1] != acc->shape[r - 1])
        return "the accumulator is M x N";
    return dot_gives(x->dtype, y->dtype, acc->dtype) ? NULL : "no product of these element types";
}

static const char *check_dot(const Op *op)
{
    if (!is_number(in(op, 0)) || !is_number(in(op, 1)) || !is_number(in(op, 2)))
        return "operands are tiles of numbers";
    if (!same(in(op, 2), out(op, 0))) return "the result has the accumulator's type";
    return check_product(in(op, 0), in(op, 1), in(op, 2));
}

// ---- memory -------------------------------------------------------------------------------------

static bool is_pointee(const Type *value, const Type *ptr)
{
    return is_number(value) && value->dtype == ptr->dtype && type_same_shape(value, ptr);
}

static const char *check_load(const Op *op)
{
    const Type *p = in(op, 0);
    if (!is_data(p) || !p->is_ptr) return "operand 0 is a pointer";
    if (!is_pointee(out(op, 0), p)) return "the result is what the pointer points to";
    if (op->n_in > 1 && !is_mask_of(in(op, 1), p)) return "the mask is i1 of the pointer's shape";
    return op->n_in > 2 && !is_pointee(in(op, 2), p) ? "`other` has the result's type" : NULL;
}

static const char *check_store(const Op *op)
{
    const Type *p = in(op, 0);
    if (!is_data(p) || !p->is_ptr) return "operand 0 is a pointer";
    if (p->is_const) return "a store through a const pointer";
    if (!is_pointee(in(op, 1), p)) return "the value is what the pointer points to";
    return op->n_in > 2 && !is_mask_of(in(op, 2), p) ? "the mask is i1 of the pointer's shape"
                                                     : NULL;
}

static const char *check_atomic(const Op *op)
{
    const char *wrong = check_store(op); // ptr, value, mask?
    if (wrong) return wrong;
    DType t = in(op, 0)->dtype;
    int64_t kind = attr(op, ATTR_RMW);
    bool is_half = (t == DTYPE_F16 || t == DTYPE_BF16) && kind == RMW_ADD;
    if (dtype_bytes(t) < 4 && !is_half) return "no atomic on this element type";
    if (kind >= RMW_AND && kind <= RMW_XOR && dtype_is_float(t))
        return "a bitwise atomic takes ints";
    return same(in(op, 1), out(op, 0)) ? NULL : "the result has the value's type";
}

static const char *check_cas(const Op *op)
{
    const Type *p = in(op, 0);
    if (!is_data(p) || !p->is_ptr || p->is_const)
        return "operand 0 is a pointer that can be written";
    if (!is_pointee(in(op, 1), p) || !is_pointee(in(op, 2), p) || !is_pointee(out(op, 0), p))
        return "values are what the pointer points to";
    return dtype_bytes(p->dtype) >= 2 ? NULL : "no atomic on this element type";
}

static const char *check_barrier(const Op *op)
{
    (void)op;
    return NULL;
}

static const char *check_print(const Op *op)
{
    for (int32_t i = 0; i < op->n_in; i++)
        if (!is_data(in(op, i))) return "operands are scalars, pointers or tiles";
    return NULL;
}

static const char *check_assert(const Op *op)
{
    if (!is_mask_of(in(op, 0), in(op, 0))) return "the condition is i1";
    return op->n_in > 1 && !is_mask_of(in(op, 1), in(op, 0))
               ? "the mask is i1 of the condition's shape"
               : NULL;
}

static const char *check_alloc(const Op *op)
{
    return out(op, 0)->kind == TYPE_BUF && out(op, 0)->stages >= 1 ? NULL
                                                                   : "the result is a buffer";
}

static const char *check_buf(const Op *op, int32_t stage)
{
    if (in(op, 0)->kind != TYPE_BUF) return "operand 0 is a buffer";
    return is_scalar_int(in(op, stage)) ? NULL : "the stage is an int";
}

/// A tile of numbers or pointers over the buffer's elements.
static bool fills(const Type *t, const Type *buf)
{
    return t->kind == TYPE_TILE && type_same_shape(t, buf) && t->dtype == buf->dtype;
}

static const char *check_copy_async(const Op *op)
{
    const char *wrong = check_buf(op, 1);
    if (wrong) return wrong;
    if (!in(op, 2)->is_ptr || !fills(in(op, 2), in(op, 0)))
        return "operand 2 is pointers to the buffer's elements";
    if (op->n_in > 3 && !is_mask_of(in(op, 3), in(op, 2)))
        return "the mask is i1 of the pointer's shape";
    if (op->n_in > 4 && !is_pointee(in(op, 4), in(op, 2)))
        return "`other` is what the pointer points to";
    return out(op, 0)->kind == TYPE_TOKEN ? NULL : "the result is a token";
}

static const char *check_wait(const Op *op)
{
    for (int32_t i = 0; i < op->n_in; i++)
        if (in(op, i)->kind != TYPE_TOKEN) return "operands are tokens";
    return attr(op, ATTR_PENDING) >= 0 ? NULL : "`pending` is not negative";
}

static const char *check_buf_load(const Op *op)
{
    const char *wrong = check_buf(op, 1);
    if (wrong) return wrong;
    return !out(op, 0)->is_ptr && fills(out(op, 0), in(op, 0))
               ? NULL
               : "the result is a tile of the buffer";
}

static const char *check_buf_store(const Op *op)
{
    const char *wrong = check_buf(op, 1);
    if (wrong) return wrong;
    return !in(op, 2)->is_ptr && fills(in(op, 2), in(op, 0)) ? NULL
                                                             : "operand 2 is a tile of the buffer";
}

static const char *check_mma_async(const Op *op)
{
    const char *wrong = check_buf(op, 2);
    if (wrong) return wrong;
    if (in(op, 1)->kind != TYPE_BUF) return "operand 1 is a buffer";
    if (!is_number(in(op, 3)) || !same(in(op, 3), out(op, 0)))
        return "the result has the accumulator's type";
    return check_product(in(op, 0), in(op, 1), in(op, 3));
}

static const char *check_mma_wait(const Op *op)
{
    if (attr(op, ATTR_PENDING) < 0) return "`pending` is not negative";
    return same(in(op, 0), out(op, 0)) ? NULL : "the result has the operand's type";
}

static const char *check_convert(const Op *op)
{
    return is_data(in(op, 0)) && type_same_shape(in(op, 0), out(op, 0)) &&
                   same_element(in(op, 0), out(op, 0))
               ? NULL
               : "a convert keeps shape and elements";
}

// ---- control ------------------------------------------------------------------------------------

/// Do `n` operands of `end` from `first` on have the types of the results of `op`?
static bool gives_results(const Op *end, OpKind kind, int32_t first, const Op *op)
{
    if (!end || end->kind != kind || end->n_in != op->n_out + first) return false;
    for (int32_t i = 0; i < op->n_out; i++)
        if (!same(in(end, i + first), out(op, i))) return false;
    return true;
}

/// Are the arguments of `r` from `first` on of the types of op's results?
static bool takes_results(const Region *r, int32_t first, const Op *op)
{
    if (r->n_args != op->n_out + first) return false;
    for (int32_t i = 0; i < op->n_out; i++)
        if (!same(r->args[i + first]->type, out(op, i))) return false;
    return true;
}

/// Are op's operands from `first` on of the types of its results?
static bool starts_results(const Op *op, int32_t first)
{
    if (op->n_in != op->n_out + first) return false;
    for (int32_t i = 0; i < op->n_out; i++)
        if (!same(in(op, i + first), out(op, i))) return false;
    return true;
}

static const char *check_for(const Op *op)
{
    if (op->n_regions != 1) return "a for has one region";
    if (!is_scalar_int(in(op, 0)) || in(op, 0) != in(op, 1) || in(op, 0) != in(op, 2))
        return "begin, end and step are ints of one type";
    if (!starts_results(op, 3)) return "initial values and results differ in type";
    if (!takes_results(op->regions[0], 1, op))
        return "the body's arguments are the index and the results";
    if (op->regions[0]->args[0]->type != in(op, 0)) return "the index has the type of the bounds";
    return gives_results(op->regions[0]->last, OP_YIELD, 0, op) ? NULL
                                                                : "the body yields the results";
}

static const char *check_while(const Op *op)
{
    if (op->n_regions != 2) return "a while has two regions";
    if (!starts_results(op, 0)) return "initial values and results differ in type";
    if (!takes_results(op->regions[0], 0, op) || !takes_results(op->regions[1], 0, op))
        return "the regions' arguments are the results";
    const Op *test = op->regions[0]->last;
    if (!gives_results(test, OP_CONDITION, 1, op))
        return "the test ends in a condition with the carried values";
    if (in(test, 0)->kind != TYPE_SCALAR || in(test, 0)->dtype != DTYPE_I1)
        return "the condition is a scalar i1";
    return gives_results(op->regions[1]->last, OP_YIELD, 0, op) ? NULL
                                                                : "the body yields the results";
}

static const char *check_if(const Op *op)
{
    if (op->n_regions != 2) return "an if has two regions";
    if (in(op, 0)->kind != TYPE_SCALAR || in(op, 0)->dtype != DTYPE_I1)
        return "the condition is a scalar i1";
    for (int32_t i = 0; i < 2; i++) {
        if (op->regions[i]->n_args) return "the regions have no arguments";
        if (!gives_results(op->regions[i]->last, OP_YIELD, 0, op))
            return "both regions yield the results";
    }
    return NULL;
}

static const char *check_terminator(const Op *op)
{
    return op->next ? "only the last op of a region ends it" : NULL;
}

static const char *check_return(const Op *op)
{
    if (op->next || !op->parent || op->parent->owner) return "a return ends the function's body";
    const Func *fn = op->parent->func;
    if (op->n_in != fn->n_results) return "the function has another number of results";
    for (int32_t i = 0; i < op->n_in; i++)
        if (!same(in(op, i), fn->results[i])) return "the function's results have other types";
    return NULL;
}

static const Rule rules[] = {
    // clang-format off
    [OP_CONST] = check_const,           [OP_PROGRAM_ID] = check_grid,       [OP_NUM_PROGRAMS] = check_grid,
    [OP_ARANGE] = check_arange,         [OP_ELEM] = check_elem,             [OP_CAST] = check_cast,
    [OP_BITCAST] = check_bitcast,       [OP_ADDPTR] = check_addptr,         [OP_HINT] = check_hint,
    [OP_SPLAT] = check_splat,           [OP_BROADCAST] = check_broadcast,   [OP_EXPAND_DIMS] = check_expand_dims,
    [OP_RESHAPE] = check_reshape,       [OP_TRANS] = check_trans,           [OP_JOIN] = check_join,
    [OP_SPLIT] = check_split,           [OP_CAT] = check_cat,               [OP_FLIP] = check_flip,
    [OP_REDUCE] = check_reduce,         [OP_SCAN] = check_scan,             [OP_SORT] = check_sort,
    [OP_GATHER] = check_gather,         [OP_HISTOGRAM] = check_histogram,   [OP_DOT] = check_dot,
    [OP_LOAD] = check_load,             [OP_STORE] = check_store,           [OP_ATOMIC_RMW] = check_atomic,
    [OP_ATOMIC_CAS] = check_cas,        [OP_BARRIER] = check_barrier,       [OP_PRINT] = check_print,
    [OP_ASSERT] = check_assert,         [OP_ASSUME] = check_assert,         [OP_ALLOC] = check_alloc,
    [OP_COPY_ASYNC] = check_copy_async, [OP_WAIT] = check_wait,             [OP_BUF_LOAD] = check_buf_load,
    [OP_BUF_STORE] = check_buf_store,   [OP_MMA_ASYNC] = check_mma_async,   [OP_MMA_WAIT] = check_mma_wait,
    [OP_CONVERT] = check_convert,       [OP_FOR] = check_for,               [OP_WHILE] = check_while,
    [OP_IF] = check_if,                 [OP_YIELD] = check_terminator,      [OP_CONDITION] = check_terminator,
    [OP_RETURN] = check_return,
    // clang-format on
};
_Static_assert(COUNT_OF(rules) == OP_KIND_COUNT, "an op has no type rule");

const char *op_check(const Op *op)
{
    const OpFacts *facts = &op_facts[op->kind];
    if (op->n_in < facts->min_in || (facts->max_in >= 0 && op->n_in > facts->max_in))
        return "wrong number of operands";
    if (facts->n_out >= 0 && op->n_out != facts->n_out) return "wrong number of results";
    if (facts->n_regions == 0 && op->n_regions) return "this op has no regions";
    return rules[op->kind](op);
}

// ---- structure ----------------------------------------------------------------------------------

typedef struct Verifier {
    Diag *diag;
    Bits visible; ///< by Value.id
    int32_t n_wrong;
} Verifier;

static void wrong(Verifier *v, const Op *op, const char *what)
{
    StrBuf text = {0}, types = {0};
    Arena arena;
    arena_init(&arena, heap_default());
    op_print(op, &text);
    for (int32_t i = 0; i < op->n_in; i++)
        strbuf_printf(&types, "%s%s", i ? ", " : "", type_text(&arena, op->in[i]->type));
    size_t line = text.data ? strcspn(text.data, "\n") : 0;
    diag_add(v->diag, DIAG_ERROR, "E9999", op->span, "internal error: `%.*s`: %s (operands: %s)",
             (int)line, text.data ? text.data : "", what, types.data ? types.data : "none");
    v->n_wrong++;
    strbuf_free(&text);
    strbuf_free(&types);
    arena_reset(&arena);
}

/// Does the use list of op's operand `i` hold exactly this link?
static bool is_linked(const Op *op, int32_t i)
{
    const Use *u = &op->in_uses[i];
    if (u->op != op || u->index != i) return false;
    if (u->prev ? u->prev->next != u : op->in[i]->uses != u) return false;
    return !u->next || u->next->prev == u;
}

/// Links and visibility of operands; NULL when sound.
static const char *check_links(const Verifier *v, const Op *op, const Region *r)
{
    if (op->parent != r || (op->next && op->next->prev != op))
        return "the op is not linked into its region";
    for (int32_t i = 0; i < op->n_in; i++) {
        if (!is_linked(op, i)) return "the uses of an operand do not list this op";
        if (op->in[i]->id >= v->visible.n || !bits_has(&v->visible, op->in[i]->id))
            return "an operand is not visible here";
    }
    for (int32_t i = 0; i < op->n_regions; i++)
        if (!op->regions[i] || op->regions[i]->owner != op || op->regions[i]->func != r->func)
            return "a region does not belong to this op";
    return NULL;
}

static void verify_region(Verifier *v, const Region *r);

static void verify_op(Verifier *v, const Op *op, const Region *r)
{
    const char *what = check_links(v, op, r);
    if (!what) {
        for (int32_t i = 0; i < op->n_regions; i++)
            verify_region(v, op->regions[i]);
        what = op_check(op);
    }
    if (what) wrong(v, op, what);
    for (int32_t i = 0; i < op->n_out; i++)
        bits_set(&v->visible, op->out[i].id);
}

static void verify_region(Verifier *v, const Region *r)
{
    for (int32_t i = 0; i < r->n_args; i++)
        bits_set(&v->visible, r->args[i]->id);
    EACH_OP(op, r)
        verify_op(v, op, r);
    for (int32_t i = 0; i < r->n_args; i++)
        bits_clear(&v->visible, r->args[i]->id);
    EACH_OP(op, r)
        for (int32_t i = 0; i < op->n_out; i++)
            bits_clear(&v->visible, op->out[i].id);
}

KilnStatus func_verify(Func *fn, Diag *diag)
{
    Arena arena;
    arena_init(&arena, heap_default());
    Verifier v = {.diag = diag, .visible = bits_new(&arena, func_number(fn))};
    verify_region(&v, fn->body);
    if (!fn->body->last || fn->body->last->kind != OP_RETURN) {
        diag_add(diag, DIAG_ERROR, "E9999", fn->span,
                 "internal error: the body of @%s does not end in a return", fn->name);
        v.n_wrong++;
    }
    arena_reset(&arena);
    return v.n_wrong ? KILN_ERR_INPUT : KILN_OK;
}

KilnStatus module_verify(Module *m, Diag *diag)
{
    KilnStatus st = KILN_OK;
    for (int32_t i = 0; i < m->funcs.len; i++)
        if (func_verify(m->funcs.data[i], diag) != KILN_OK) st = KILN_ERR_INPUT;
    return st;
}
