// ir/affine_query.c - questions to the forms, and code from them.
#include "ir/affine_form.h"

enum { ORIGIN_MAX_OPS = 512, ORIGIN_MAX_DEPTH = 256 };

bool affine_is_uniform(const AffineCx *cx, const Value *v)
{
    return affine_moving(affine_of(cx, v)) == 0;
}

/// What one step counts: an element's bytes for pointers, 1 for ints.
static int64_t unit_of(const Type *t)
{
    return t->is_ptr ? dtype_bytes(t->dtype) : 1;
}

AxisForm affine_axis(const AffineCx *cx, const Value *v, int32_t axis)
{
    const Affine *x = affine_of(cx, v);
    int32_t low, width, n = 1;
    AxisForm form = {AXIS_UNIFORM, coeff_zero(), 1};
    affine_axis_bits(v->type, axis, &low, &width);
    if (width == 0) return form;
    form.kind = AXIS_ANY;
    if (x->slow >> low & 1) return form;
    const Coeff first = x->coeff[low];
    for (; n < width; n++) {
        Coeff wanted = coeff_scaled(&first, INT64_C(1) << n);
        if (x->slow >> (low + n) & 1 || !coeff_same(&wanted, &x->coeff[low + n])) break;
    }
    form.run = 1 << n;
    form.stride = first;
    form.kind = coeff_is_zero(&first)    ? AXIS_UNIFORM
                : coeff_is_const(&first) ? AXIS_CONST
                                         : AXIS_SCALED;
    return form;
}

/// Leading bits from `low` whose coefficients are unit, 2 unit, 4 unit, ...
static int32_t counting_bits(const Affine *x, int32_t low, int32_t width, int64_t unit)
{
    int32_t n = 0;
    while (n < width && !(x->slow >> (low + n) & 1) && coeff_is_const(&x->coeff[low + n]) &&
           x->coeff[low + n].scale == unit << n)
        n++;
    return n;
}

int32_t affine_contiguity(const AffineCx *cx, const Value *v, int32_t axis)
{
    int32_t low, width;
    affine_axis_bits(v->type, axis, &low, &width);
    return 1 << counting_bits(affine_of(cx, v), low, width, unit_of(v->type));
}

int32_t affine_contiguity_flat(const AffineCx *cx, const Value *v)
{
    const Affine *x = affine_of(cx, v);
    return 1 << counting_bits(x, 0, x->n_bits, unit_of(v->type));
}

int64_t affine_alignment(const AffineCx *cx, const Value *v, uint32_t zero)
{
    const Affine *x = affine_of(cx, v);
    int32_t n = MIN(30, affine_base_zeros(x));
    for (int32_t i = 0; i < x->n_bits; i++)
        if (!(zero >> i & 1) && !(x->slow >> i & 1)) n = MIN(n, x->coeff[i].log_divisor);
    return INT64_C(1) << n;
}

int32_t affine_vector_bytes(const AffineCx *cx, const Value *v, int32_t axis, int32_t max_bytes)
{
    int32_t low, width, bytes = dtype_bytes(v->type->dtype), n = affine_contiguity(cx, v, axis);
    affine_axis_bits(v->type, axis, &low, &width);
    while (n > 1) {
        uint32_t covered = ((uint32_t)n - 1) << low;
        if (n * bytes <= max_bytes && affine_alignment(cx, v, covered) >= (int64_t)n * bytes) break;
        n /= 2;
    }
    return n * bytes;
}

/// Constant coefficients first, then run-time ones, slow bits, bits that do not matter.
static int32_t bit_class(const Affine *x, int32_t i)
{
    if (x->slow >> i & 1) return 2;
    if (coeff_is_zero(&x->coeff[i])) return 3;
    return coeff_is_const(&x->coeff[i]) ? 0 : 1;
}

static bool comes_before(const Affine *x, int32_t a, int32_t b)
{
    int32_t ca = bit_class(x, a), cb = bit_class(x, b);
    if (ca != cb) return ca < cb;
    if (ca > 1) return false;
    uint64_t sa = (uint64_t)x->coeff[a].scale, sb = (uint64_t)x->coeff[b].scale;
    if ((int64_t)sa < 0) sa = 0 - sa;
    if ((int64_t)sb < 0) sb = 0 - sb;
    return sa < sb;
}

int32_t affine_bit_order(const AffineCx *cx, const Value *v, int32_t order[AFFINE_MAX_BITS])
{
    const Affine *x = affine_of(cx, v);
    for (int32_t i = 0; i < x->n_bits; i++) {
        int32_t at = i;
        for (; at > 0 && comes_before(x, i, order[at - 1]); at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
    return x->n_bits;
}

// ---- masks ------------------------------------------------------------------------------------------

typedef struct Splitter {
    const AffineCx *cx;
    MaskTerm *out;
    int32_t n;
    bool is_full;
} Splitter;

/// Bits of left minus right per bit; false where it has no constant.
static bool difference(const Affine *l, const Affine *r, int32_t i, int64_t *out)
{
    Coeff minus = coeff_scaled(&r->coeff[i], -1), sum;
    if ((l->slow | r->slow) >> i & 1 || !coeff_sum(&l->coeff[i], &minus, &sum) ||
        !coeff_is_const(&sum))
        return false;
    *out = sum.scale;
    return true;
}

/// left < right or left <= right along one axis with a positive constant stride?
static void find_prefix(const AffineCx *cx, const Value *v, MaskTerm *term, int32_t own_axis)
{
    const Op *op = v->def;
    if (!op || op->kind != OP_ELEM || elem_facts[op->elem].result != RESULT_BOOL || op->n_in != 2)
        return;
    if (op->in[0]->type->is_ptr || !dtype_is_int(op->in[0]->type->dtype)) return;
    bool swapped = op->elem == ELEM_GT || op->elem == ELEM_GE;
    if (!swapped && op->elem != ELEM_LT && op->elem != ELEM_LE) return;
    const Value *left = op->in[swapped], *right = op->in[!swapped];
    const Affine *l = affine_of(cx, left), *r = affine_of(cx, right);
    int32_t low, width;
    int64_t stride = 0, c;
    affine_axis_bits(v->type, own_axis, &low, &width);
    for (int32_t i = 0; i < l->n_bits; i++) {
        if (!difference(l, r, i, &c)) return;
        bool inside = i >= low && i < low + width;
        if (i == low) stride = c;
        if (inside ? stride <= 0 || c != stride << (i - low) : c != 0) return;
    }
    term->is_prefix = stride > 0;
    term->is_inclusive = op->elem == ELEM_LE || op->elem == ELEM_GE;
    term->left = left;
    term->right = right;
    term->stride = stride;
    term->wraps = l->wraps || r->wraps;
}

/// The axes of v along which it changes: -1 none, -2 several.
static int32_t only_axis(const AffineCx *cx, const Value *v)
{
    uint32_t moving = affine_moving(affine_of(cx, v));
    int32_t found = -1;
    for (int32_t axis = 0; axis < v->type->rank; axis++) {
        int32_t low, width;
        affine_axis_bits(v->type, axis, &low, &width);
        if (!(moving >> low & ((1u << width) - 1))) continue;
        if (found >= 0) return -2;
        found = axis;
    }
    return found;
}

static void add_term(Splitter *s, const Value *v, const int32_t *map)
{
    int64_t c;
    if (value_const_int(v, &c) && c) return;
    if (s->n == AFFINE_MAX_TERMS) {
        s->is_full = true;
        return;
    }
    MaskTerm *term = &s->out[s->n++];
    int32_t axis = only_axis(s->cx, v);
    *term = (MaskTerm){.value = v, .axis = axis >= 0 ? map[axis] : axis};
    if (axis >= 0) find_prefix(s->cx, v, term, axis);
}

/// map[i]: the axis of the whole mask that axis i of `v` is.
static void split(Splitter *s, const Value *v, const int32_t *map)
{
    const Op *op = v->def;
    int32_t inner[TYPE_MAX_RANK] = {0};
    if (op_is_elem(op, ELEM_AND)) {
        split(s, op->in[0], map);
        split(s, op->in[1], map);
    } else if (op && op->kind == OP_BROADCAST) {
        split(s, op->in[0], map);
    } else if (op && op->kind == OP_EXPAND_DIMS) {
        int32_t skip = (int32_t)op_attr_i(op, ATTR_AXIS), n = 0;
        for (int32_t i = 0; i < v->type->rank; i++)
            if (i != skip) inner[n++] = map[i];
        split(s, op->in[0], inner);
    } else if (op && op->kind == OP_SPLAT) {
        split(s, op->in[0], map);
    } else {
        add_term(s, v, map);
    }
}

int32_t affine_mask(const AffineCx *cx, const Value *mask, MaskTerm out[AFFINE_MAX_TERMS])
{
    Splitter s = {cx, out, 0, false};
    int32_t map[TYPE_MAX_RANK];
    for (int32_t i = 0; i < TYPE_MAX_RANK; i++)
        map[i] = i;
    split(&s, mask, map);
    if (!s.is_full) return s.n;
    s = (Splitter){cx, out, 0, false};
    add_term(&s, mask, map);
    return s.n;
}

// ---- code -------------------------------------------------------------------------------------------

typedef struct Origin {
    Builder *b;
    const Value *from[ORIGIN_MAX_OPS];
    Value *to[ORIGIN_MAX_OPS];
    int32_t n, depth;
} Origin;

static Value *origin(Origin *o, const Value *v);

/// The same op on scalars.
static Value *scalar_op(Origin *o, const Op *op)
{
    Value *in[3];
    const Type *t = op->out->type->element;
    for (int32_t i = 0; i < op->n_in; i++) {
        in[i] = origin(o, op->in[i]);
        if (!in[i]) return NULL;
    }
    Op *fresh = build_op(o->b, op->kind, op->n_in, in, 1, &t, 0);
    fresh->elem = op->elem;
    memcpy(fresh->attrs, op->attrs, sizeof(fresh->attrs));
    return fresh->out;
}

static Value *scalar_const(Origin *o, const Op *op)
{
    const Type *t = op->out->type->element;
    Op *fresh = build_op(o->b, OP_CONST, 0, NULL, 1, &t, 0);
    fresh->attrs[0] = op->attrs[0];
    return fresh->out;
}

static Value *origin_of_op(Origin *o, const Op *op, int32_t index)
{
    switch (op->kind) {
    case OP_CONST:
        return scalar_const(o, op);
    case OP_ARANGE:
        return build_const_int(o->b, op->out->type->element, op_attr_i(op, ATTR_START));
    case OP_ELEM:
    case OP_CAST:
    case OP_BITCAST:
    case OP_ADDPTR:
        return scalar_op(o, op);
    case OP_SPLIT:
        return index == 0 ? origin(o, op->in[0]) : NULL;
    case OP_HINT:
    case OP_SPLAT:
    case OP_BROADCAST:
    case OP_EXPAND_DIMS:
    case OP_RESHAPE:
    case OP_TRANS:
    case OP_JOIN:
    case OP_CAT:
    case OP_CONVERT:
        return origin(o, op->in[0]);
    default:
        return NULL;
    }
}

static Value *origin(Origin *o, const Value *v)
{
    if (v->type->rank == 0) return (Value *)(uintptr_t)v;
    for (int32_t i = 0; i < o->n; i++)
        if (o->from[i] == v) return o->to[i];
    if (!v->def || o->n == ORIGIN_MAX_OPS || o->depth == ORIGIN_MAX_DEPTH) return NULL;
    o->depth++;
    Value *made = origin_of_op(o, v->def, v->index);
    o->depth--;
    if (!made || o->n == ORIGIN_MAX_OPS) return NULL;
    o->from[o->n] = v;
    o->to[o->n++] = made;
    return made;
}

Value *affine_origin(Builder *b, Value *v)
{
    Arena scratch;
    arena_init(&scratch, b->module->arena->heap);
    Origin *o = arena_new(&scratch, Origin);
    o->b = b;
    Value *made = origin(o, v);
    arena_reset(&scratch);
    return made;
}

Value *affine_coeff(Builder *b, const Coeff *c)
{
    Value *product = build_const_int(b, type_scalar(b->module, DTYPE_I64), c->scale);
    for (int32_t i = 0; i < AFFINE_MAX_FACTORS && c->factor[i]; i++) {
        Value *x = affine_origin(b, (Value *)(uintptr_t)c->factor[i]);
        if (!x) return NULL;
        product = build_binary(b, ELEM_MUL, product, build_cast(b, x, DTYPE_I64, ROUND_RNE));
    }
    return product;
}
