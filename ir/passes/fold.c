// ir/passes/fold.c - compute now what can be computed now.
//
//     %2 = add %c3, %c4          ==>  %c7                      constants, by ir/elem_eval.h
//     %2 = mul %0, %c1           ==>  %0                       identities that hold for every value
//     %2 = add splat(%a), splat(%b)  ==>  splat(add %a, %b)    uniform tiles become scalars
//     if %true {...} else {...}  ==>  ...                      known branches, known masks
//
// Only exact rules: ints wrap, so they commute and associate; floats keep every bit (x * 1, x + -0, x - 0),
// NaN payloads aside. A division by the constant zero is left alone: its value is unspecified.
//
// Keeps   constness of loop steps: a run-time step that turns out negative runs no iteration (ir/loop.h), so
//         it becomes 0, not a negative constant
// Cost    a few walks, until nothing changes
// Leaves  ops without uses, for "dce"
#include <math.h>

#include "ir/elem_eval.h"
#include "ir/pass.h"

enum { MAX_WALKS = 8 };

typedef struct Fold {
    PassCx *cx;
    Func *fn;
    bool changed;
} Fold;

static Value *make_const(Fold *f, Op *at, const Type *t, Slot x)
{
    Builder b = build_before(f->fn, at);
    Op *op = build_op(&b, OP_CONST, 0, NULL, 1, &t, 0);
    op->attrs[0] = slot_to_attr(t, x);
    return op->out;
}

/// The one value of every element of `v`, if it is constant.
static bool uniform(const Value *v, Slot *out)
{
    Attr a;
    if (!value_const(v, &a)) return false;
    *out = slot_from_attr(v->type, &a);
    return true;
}

static bool is_int_type(const Type *t)
{
    return !t->is_ptr && dtype_is_int(t->dtype);
}
static bool is_float_type(const Type *t)
{
    return !t->is_ptr && dtype_is_float(t->dtype);
}
static bool is_int_const(const Value *v, int64_t wanted)
{
    Slot x;
    return is_int_type(v->type) && uniform(v, &x) && x.i == int_wrap(v->type->dtype, wanted);
}
static bool is_float_const(const Value *v, double wanted)
{
    Slot x;
    return is_float_type(v->type) && uniform(v, &x) && x.f == wanted &&
           signbit(x.f) == signbit(wanted);
}

/// The value that a uniform tile repeats: a scalar value, made at `at` for constants. NULL: not uniform.
static Value *repeated(Fold *f, Op *at, Value *v)
{
    Slot x;
    if (v->type->rank == 0) return v;
    if (v->def && v->def->kind == OP_SPLAT) return v->def->in[0];
    if (v->def && v->def->kind == OP_CONST && uniform(v, &x))
        return make_const(f, at, v->type->element, x);
    return NULL;
}

static bool is_repeating(const Value *v)
{
    return v->def && (v->def->kind == OP_SPLAT || v->def->kind == OP_CONST);
}

/// A scalar or its splat, as type `t`.
static Value *make_splat(Fold *f, Op *at, const Type *t, Value *scalar)
{
    if (t->rank == 0) return scalar;
    Builder b = build_before(f->fn, at);
    return build_op(&b, OP_SPLAT, 1, &scalar, 1, &t, 0)->out;
}

// ---- constants ------------------------------------------------------------------------------------

static Value *fold_elem_const(Fold *f, Op *op)
{
    Slot x[3] = {0}, out;
    const Slot *const in[3] = {&x[0], &x[1], &x[2]};
    for (int32_t i = 0; i < op->n_in; i++)
        if (!uniform(op->in[i], &x[i])) return NULL;
    const Type *t = op->in[op->elem == ELEM_SELECT ? 1 : 0]->type;
    bool divides = op->elem == ELEM_DIV || op->elem == ELEM_REM;
    if (divides && is_int_type(t) && x[1].i == 0) return NULL;
    elem_eval(op->elem, slot_dtype(t), 1, in, &out);
    return make_const(f, op, op->out->type, out);
}

static Value *fold_cast_const(Fold *f, Op *op)
{
    Slot x, out;
    if (!uniform(op->in[0], &x)) return NULL;
    const Type *from = op->in[0]->type, *to = op->out->type;
    if (op->kind == OP_CAST)
        cast_eval(from->dtype, to->dtype, (RoundMode)op_attr_i(op, ATTR_ROUND), 1, &x, &out);
    else
        bitcast_eval(slot_dtype(from), slot_dtype(to), 1, &x, &out);
    return make_const(f, op, to, out);
}

/// Moving the elements of a uniform tile changes nothing.
static Value *fold_moved(Fold *f, Op *op)
{
    Slot x;
    Value *v = op->in[0];
    if (uniform(v, &x))
        return op->kind == OP_SPLAT || op->out->type != v->type || !v->def ||
                       v->def->kind != OP_CONST
                   ? make_const(f, op, op->out->type, x)
                   : v;
    if (op->kind == OP_SPLAT) return NULL;
    if (v->def && v->def->kind == OP_SPLAT) return make_splat(f, op, op->out->type, v->def->in[0]);
    return op->out->type == v->type && op->kind != OP_TRANS && op->kind != OP_FLIP &&
                   op->kind != OP_GATHER
               ? v
               : NULL;
}

/// An elementwise op on repeated values is one scalar op, repeated.
static Value *fold_uniform(Fold *f, Op *op)
{
    if (op->out->type->rank == 0) return NULL;
    for (int32_t i = 0; i < op->n_in; i++)
        if (!is_repeating(op->in[i])) return NULL;
    Value *in[3];
    for (int32_t i = 0; i < op->n_in; i++)
        in[i] = repeated(f, op, op->in[i]);
    Builder b = build_before(f->fn, op);
    const Type *t = op->out->type->element;
    Op *scalar = build_op(&b, op->kind, op->n_in, in, 1, &t, 0);
    scalar->elem = op->elem;
    memcpy(scalar->attrs, op->attrs, sizeof(scalar->attrs));
    return make_splat(f, op, op->out->type, scalar->out);
}

// ---- elementwise identities -------------------------------------------------------------------------

static bool commutes(ElemKind e, const Type *t)
{
    switch (e) {
    case ELEM_ADD:
    case ELEM_MUL:
    case ELEM_MULHI:
    case ELEM_AND:
    case ELEM_OR:
    case ELEM_XOR:
    case ELEM_EQ:
    case ELEM_NE:
        return true;
    case ELEM_MIN:
    case ELEM_MAX:
        return is_int_type(t); // of 0.0 and -0.0 the first comes out
    default:
        return false;
    }
}

static bool associates(ElemKind e)
{
    return e == ELEM_ADD || e == ELEM_MUL || e == ELEM_AND || e == ELEM_OR || e == ELEM_XOR ||
           e == ELEM_MIN || e == ELEM_MAX;
}

static Value *const_int(Fold *f, Op *op, int64_t x)
{
    return make_const(f, op, op->out->type, (Slot){.i = int_wrap(op->out->type->dtype, x)});
}

static Value *build_at(Fold *f, Op *at, ElemKind e, Value *x, Value *y)
{
    Builder b = build_before(f->fn, at);
    return build_binary(&b, e, x, y);
}

/// (x op c1) op c2 ==> x op (c1 op c2), for ints.
static Value *fold_associated(Fold *f, Op *op)
{
    Slot c1, c2, c;
    Value *x = op->in[0], *y = op->in[1];
    if (!associates(op->elem) || !op_is_elem(x->def, op->elem)) return NULL;
    if (!uniform(y, &c2) || !uniform(x->def->in[1], &c1)) return NULL;
    elem_eval(op->elem, op->out->type->dtype, 1, (const Slot *const[]){&c1, &c2}, &c);
    return build_at(f, op, op->elem, x->def->in[0], make_const(f, op, y->type, c));
}

/// x op x.
static Value *fold_twice_int(Fold *f, Op *op)
{
    Value *x = op->in[0];
    switch (op->elem) {
    case ELEM_SUB:
    case ELEM_XOR:
        return const_int(f, op, 0);
    case ELEM_AND:
    case ELEM_OR:
        return x;
    case ELEM_EQ:
    case ELEM_LE:
    case ELEM_GE:
        return const_int(f, op, 1);
    case ELEM_NE:
    case ELEM_LT:
    case ELEM_GT:
        return const_int(f, op, 0);
    default:
        return NULL;
    }
}

static Value *fold_binary_int(Fold *f, Op *op)
{
    Value *x = op->in[0], *y = op->in[1];
    bool zero = is_int_const(y, 0), one = is_int_const(y, 1), ones = is_int_const(y, -1);
    Slot c;
    if (x == y) {
        Value *v = fold_twice_int(f, op);
        if (v) return v;
    }
    switch (op->elem) {
    case ELEM_ADD:
    case ELEM_OR:
    case ELEM_XOR:
    case ELEM_SHL:
    case ELEM_SHR:
        if (zero) return x;
        if (op->elem == ELEM_OR && ones) return y;
        break;
    case ELEM_SUB:
        if (zero) return x;
        if (dtype_is_signed(x->type->dtype) && uniform(y, &c)) // one form for offsets
            return build_at(
                f, op, ELEM_ADD, x,
                make_const(f, op, y->type,
                           (Slot){.i = int_wrap(y->type->dtype, (int64_t)(0 - (uint64_t)c.i))}));
        break;
    case ELEM_MUL:
        if (one) return x;
        if (zero) return y;
        break;
    case ELEM_DIV:
        if (one) return x;
        break;
    case ELEM_REM:
        if (one) return const_int(f, op, 0);
        break;
    case ELEM_AND:
        if (ones) return x;
        if (zero) return y;
        break;
    default:
        break;
    }
    return fold_associated(f, op);
}

static Value *fold_binary_float(const Op *op)
{
    Value *x = op->in[0], *y = op->in[1];
    switch (op->elem) {
    case ELEM_ADD:
        return is_float_const(y, -0.0) ? x : NULL;
    case ELEM_SUB:
        return is_float_const(y, 0.0) ? x : NULL;
    case ELEM_MUL:
    case ELEM_DIV:
    case ELEM_DIV_RN:
        return is_float_const(y, 1.0) ? x : NULL;
    default:
        return NULL;
    }
}

static Value *fold_select(const Op *op)
{
    Slot c;
    if (op->in[1] == op->in[2]) return op->in[1];
    if (uniform(op->in[0], &c)) return c.i ? op->in[1] : op->in[2];
    bool is_bool = op->out->type == op->in[0]->type;
    return is_bool && is_int_const(op->in[1], 1) && is_int_const(op->in[2], 0) ? op->in[0] : NULL;
}

/// not (a < b) is a >= b, for ints; a NaN is neither.
static Value *fold_not(Fold *f, Op *op)
{
    static const ElemKind opposite[ELEM_KIND_COUNT] = {
        [ELEM_EQ] = ELEM_NE, [ELEM_NE] = ELEM_EQ, [ELEM_LT] = ELEM_GE,
        [ELEM_GE] = ELEM_LT, [ELEM_LE] = ELEM_GT, [ELEM_GT] = ELEM_LE,
    };
    const Op *cmp = op->in[0]->def;
    bool is_compare = cmp && cmp->kind == OP_ELEM && opposite[cmp->elem];
    bool is_exact = is_compare &&
                    (is_int_type(cmp->in[0]->type) || cmp->elem == ELEM_EQ || cmp->elem == ELEM_NE);
    return is_exact ? build_at(f, op, opposite[cmp->elem], cmp->in[0], cmp->in[1]) : NULL;
}

static Value *fold_elem(Fold *f, Op *op)
{
    Value *v = fold_elem_const(f, op);
    if (!v) v = fold_uniform(f, op);
    if (v) return v;
    if (op->elem == ELEM_SELECT) return fold_select(op);
    if (op->n_in == 2) {
        Slot c;
        if (commutes(op->elem, op->in[0]->type) && uniform(op->in[0], &c) &&
            !uniform(op->in[1], &c)) {
            Value *x = op->in[0], *y = op->in[1];
            op_set_input(op, 0, y);
            op_set_input(op, 1, x);
            f->changed = true;
        }
        if (op->in[0] == op->in[1] && (op->elem == ELEM_MIN || op->elem == ELEM_MAX))
            return op->in[0];
        if (is_int_type(op->in[0]->type)) return fold_binary_int(f, op);
        return is_float_type(op->in[0]->type) ? fold_binary_float(op) : NULL;
    }
    if (op->elem == ELEM_NOT && (v = fold_not(f, op))) return v;
    bool undoes = op->elem == ELEM_NEG || op->elem == ELEM_NOT;
    return undoes && op_is_elem(op->in[0]->def, op->elem) ? op->in[0]->def->in[0] : NULL;
}

// ---- casts ----------------------------------------------------------------------------------------

/// Significant bits of every value of `t`.
static int32_t precision(DType t)
{
    switch (t) {
    case DTYPE_F8E5M2:
        return 3;
    case DTYPE_F8E4M3:
        return 4;
    case DTYPE_BF16:
        return 8;
    case DTYPE_F16:
        return 11;
    case DTYPE_F32:
        return 24;
    case DTYPE_F64:
        return 53;
    default:
        return dtype_bits(t) - dtype_is_signed(t);
    }
}

/// Can every value of `from` be told from its cast to `to`?
static bool is_exact(DType from, DType to)
{
    bool from_float = dtype_is_float(from), to_float = dtype_is_float(to);
    if (from == to) return true;
    if (from_float && to_float) {
        if (to == DTYPE_F32 || to == DTYPE_F64) return precision(from) < precision(to);
        return dtype_bytes(from) == 1 && dtype_bytes(to) == 2;
    }
    if (!from_float && to_float) return precision(from) <= precision(to) && dtype_bytes(to) > 1;
    if (from_float || to == DTYPE_I1) return false;
    return precision(from) < precision(to) + (dtype_is_signed(from) == dtype_is_signed(to)) &&
           (!dtype_is_signed(from) || dtype_is_signed(to));
}

/// cast (cast x : A -> B) : B -> C as one cast of x, or x itself.
static Value *fold_cast(Fold *f, Op *op)
{
    Value *v = fold_cast_const(f, op);
    if (!v) v = fold_uniform(f, op);
    if (v) return v;
    const Op *inner = op->in[0]->def;
    if (!inner || inner->kind != OP_CAST || op_attr_i(op, ATTR_ROUND) ||
        op_attr_i(inner, ATTR_ROUND))
        return NULL;
    Value *x = inner->in[0];
    DType a = x->type->dtype, b = inner->out->type->dtype, c = op->out->type->dtype;
    bool exact = is_exact(a, b);
    if (exact && a == c) return x;
    bool ints = dtype_is_int(a) && dtype_is_int(b) && dtype_is_int(c);
    bool truncates = ints && c != DTYPE_I1 && b != DTYPE_I1 && dtype_bits(b) >= dtype_bits(c);
    bool saturates =
        dtype_is_int(a) && dtype_is_float(b) && dtype_is_int(c); // not as int to int does
    if (!truncates && (!exact || saturates)) return NULL;
    if (a == c) return x;
    Builder build = build_before(f->fn, op);
    Op *cast = build_op(&build, OP_CAST, 1, &x, 1, (const Type *[]){op->out->type}, 0);
    return cast->out;
}

static Value *fold_bitcast(Fold *f, Op *op)
{
    Value *v = fold_cast_const(f, op);
    if (!v) v = fold_uniform(f, op);
    if (v) return v;
    if (op->in[0]->type == op->out->type) return op->in[0];
    const Op *inner = op->in[0]->def;
    return inner && inner->kind == OP_BITCAST && inner->in[0]->type == op->out->type ? inner->in[0]
                                                                                     : NULL;
}

static Value *fold_addptr(Fold *f, Op *op)
{
    if (is_int_const(op->in[1], 0)) return op->in[0];
    return fold_uniform(f, op);
}

// ---- shapes ---------------------------------------------------------------------------------------

static Value *fold_trans(Fold *f, Op *op)
{
    Value *v = fold_moved(f, op);
    if (v) return v;
    const Attr *perm = &op->attrs[0];
    int32_t list[TYPE_MAX_RANK];
    bool identity = op->in[0]->type == op->out->type;
    for (int32_t i = 0; i < perm->n_list; i++)
        identity &= perm->list[i] == i;
    if (identity) return op->in[0];
    const Op *inner = op->in[0]->def;
    if (!inner || inner->kind != OP_TRANS) return NULL;
    for (int32_t i = 0; i < perm->n_list; i++)
        list[i] = inner->attrs[0].list[perm->list[i]];
    Builder b = build_before(f->fn, op);
    v = build_trans(&b, inner->in[0], list);
    return v->type == op->out->type ? v : NULL;
}

/// reshape (reshape x) is one reshape.
static Value *fold_reshape(Fold *f, Op *op)
{
    Value *v = fold_moved(f, op);
    if (v) return v;
    const Op *inner = op->in[0]->def;
    if (!inner || inner->kind != OP_RESHAPE) return NULL;
    if (inner->in[0]->type == op->out->type) return inner->in[0];
    Builder b = build_before(f->fn, op);
    return build_op(&b, OP_RESHAPE, 1, inner->in, 1, (const Type *[]){op->out->type}, 0)->out;
}

/// A reduction of one element along its axis.
static Value *fold_reduce(Fold *f, Op *op)
{
    int64_t axis = op_attr_i(op, ATTR_AXIS);
    if (op->n_out != 1 || op->in[0]->type->shape[axis] != 1) return NULL;
    Builder b = build_before(f->fn, op);
    return build_op(&b, OP_RESHAPE, 1, op->in, 1, (const Type *[]){op->out->type}, 0)->out;
}

static Value *fold_arange(Fold *f, Op *op)
{
    return op->out->type->numel == 1
               ? make_const(f, op, op->out->type, (Slot){.i = op_attr_i(op, ATTR_START)})
               : NULL;
}

static Value *replacement(Fold *f, Op *op)
{
    switch (op->kind) {
    case OP_ELEM:
        return fold_elem(f, op);
    case OP_CAST:
        return fold_cast(f, op);
    case OP_BITCAST:
        return fold_bitcast(f, op);
    case OP_ADDPTR:
        return fold_addptr(f, op);
    case OP_ARANGE:
        return fold_arange(f, op);
    case OP_TRANS:
        return fold_trans(f, op);
    case OP_RESHAPE:
        return fold_reshape(f, op);
    case OP_SPLAT:
    case OP_BROADCAST:
    case OP_EXPAND_DIMS:
    case OP_FLIP:
    case OP_GATHER:
        return fold_moved(f, op);
    case OP_REDUCE:
        return fold_reduce(f, op);
    default:
        return NULL;
    }
}

// ---- memory and control -----------------------------------------------------------------------------

/// Replaces `op` by one without its inputs from `n` on.
static void drop_inputs(Fold *f, Op *op, int32_t n)
{
    const Type *t = op->n_out ? op->out->type : NULL;
    Builder b = build_before(f->fn, op);
    Op *fresh = build_op(&b, op->kind, n, op->in, op->n_out, &t, 0);
    memcpy(fresh->attrs, op->attrs, sizeof(fresh->attrs));
    fresh->note = op->note;
    if (t) {
        fresh->out->name = op->out->name;
        replace_uses(op->out, fresh->out);
    }
    op_erase(op);
    f->changed = true;
}

static bool fold_mask(Fold *f, Op *op, int32_t index)
{
    Slot mask;
    if (op->n_in <= index || !uniform(op->in[index], &mask)) return false;
    if (mask.i) {
        drop_inputs(f, op, index);
        return true;
    }
    if (op->kind == OP_LOAD && op_attr_i(op, ATTR_VOLATILE)) return false;
    if (op->n_out) {
        Builder b = build_before(f->fn, op);
        Value *v = op->kind == OP_LOAD && op->n_in > 2 ? op->in[2] : build_zero(&b, op->out->type);
        if (v->type != op->out->type) return false;
        replace_uses(op->out, v);
    }
    op_erase(op);
    f->changed = true;
    return true;
}

/// An if whose condition is known: the ops of the taken side take its place.
static bool fold_if(Fold *f, Op *op)
{
    Slot cond;
    if (!uniform(op->in[0], &cond)) return false;
    Region *r = op->regions[cond.i ? 0 : 1];
    Op *end = r->last;
    ASSERT(end); // its yield
    while (r->first != end) {
        Op *inner = r->first;
        op_unlink(inner);
        op_insert(inner, op->parent, op);
    }
    for (int32_t i = 0; i < op->n_out; i++)
        replace_uses(&op->out[i], end->in[i]);
    op_erase(op);
    f->changed = true;
    return true;
}

/// Ops that change place or number of operands. @return true: `op` is gone
static bool rewritten(Fold *f, Op *op)
{
    switch (op->kind) {
    case OP_LOAD:
        return fold_mask(f, op, 1);
    case OP_STORE:
    case OP_ATOMIC_RMW:
        return fold_mask(f, op, 2);
    case OP_IF:
        return fold_if(f, op);
    case OP_ASSUME:
    case OP_ASSERT:
        if (!is_int_const(op->in[0], 1)) return false;
        op_erase(op);
        f->changed = true;
        return true;
    default:
        return false;
    }
}

/// A negative constant in place of a run-time step would count down; such a loop runs no iteration.
static void guard_steps(Fold *f, Value *from, const Value *to)
{
    int64_t step;
    if (!to->def || to->def->kind != OP_CONST || !value_const_int(to, &step) || step >= 0) return;
    for (Use *u = from->uses, *next; u; u = next) {
        next = u->next;
        if (u->op->kind == OP_FOR && u->index == 2 && dtype_is_signed(from->type->dtype))
            op_set_input(u->op, 2, make_const(f, u->op, from->type, (Slot){.i = 0}));
    }
}

static void walk(Fold *f, Region *r)
{
    EACH_OP_SAFE(op, r)
    {
        for (int32_t i = 0; i < op->n_regions; i++)
            walk(f, op->regions[i]);
        if (rewritten(f, op)) continue;
        Value *v = replacement(f, op);
        if (!v || v == op->out || v->type != op->out->type) continue;
        guard_steps(f, op->out, v);
        if (!v->name) v->name = op->out->name;
        replace_uses(op->out, v);
        op_erase(op);
        pass_count(f->cx, "folded");
        f->changed = true;
    }
}

static KilnStatus run(PassCx *cx, Func *fn)
{
    Fold f = {cx, fn, true};
    for (int32_t i = 0; i < MAX_WALKS && f.changed; i++) {
        f.changed = false;
        walk(&f, fn->body);
    }
    return KILN_OK;
}

const Pass pass_fold = {.name = "fold", .run = run};
