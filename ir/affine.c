// The analysis walks the function once, in program order: operands are known before their users. Loops assume
// that a carried value keeps the form of its initial value, look whether the body agrees, and weaken the
// assumption until it does.
#include "ir/affine.h"

#include "ir/affine_form.h"
#include "ir/loop.h"

enum { LOOP_ROUNDS = 6 };

static void walk(AffineCx *cx, const Region *r);

static Affine *form_of(AffineCx *cx, const Value *v)
{
    return &cx->forms[v->id];
}

static const Affine *input(AffineCx *cx, const Op *op, int32_t i)
{
    return form_of(cx, op->in[i]);
}

// ---- shapes: bits change place ----------------------------------------------------------------------

void affine_axis_bits(const Type *t, int32_t axis, int32_t *low, int32_t *width)
{
    *low = 0;
    for (int32_t i = t->rank - 1; i > axis; i--)
        *low += log2_floor((uint64_t)t->shape[i]);
    *width = log2_floor((uint64_t)t->shape[axis]);
}

/// Gives bit `to` of `out` what bit `from` of `in` has.
static void move_bit(Affine *out, int32_t to, const Affine *in, int32_t from)
{
    out->coeff[to] = in->coeff[from];
    if (in->slow >> from & 1) out->slow |= 1u << to;
}

/// `in` without bits, for a result of `n_bits` bits.
static Affine without_bits(const Affine *in, int32_t n_bits)
{
    Affine out = *in;
    out.n_bits = n_bits;
    out.slow = 0;
    for (int32_t i = 0; i < AFFINE_MAX_BITS; i++)
        out.coeff[i] = coeff_zero();
    return out;
}

/// Broadcast and trans: result axis i takes the bits of operand axis from[i].
static Affine permuted(const Op *op, const Affine *in, const int32_t *from)
{
    const Type *x = op->in[0]->type, *y = op->out->type;
    Affine out = without_bits(in, affine_type_bits(y));
    for (int32_t i = 0; i < y->rank; i++) {
        int32_t to_low, to_width, from_low, from_width;
        affine_axis_bits(y, i, &to_low, &to_width);
        affine_axis_bits(x, from[i], &from_low, &from_width);
        for (int32_t k = 0; k < from_width; k++)
            move_bit(&out, to_low + k, in, from_low + k);
    }
    return out;
}

static Affine form_broadcast(const Op *op, const Affine *in)
{
    int32_t from[TYPE_MAX_RANK];
    for (int32_t i = 0; i < op->out->type->rank; i++)
        from[i] = i;
    return permuted(op, in, from);
}

static Affine form_flip(const Op *op, const Affine *in)
{
    int32_t low, width;
    Affine out = *in;
    affine_axis_bits(op->out->type, (int32_t)op_attr_i(op, ATTR_AXIS), &low, &width);
    for (int32_t i = low; i < low + width; i++) {
        if (out.slow >> i & 1) continue;
        const Coeff c = out.coeff[i];
        affine_shift_base(&out, &c); // b becomes 1 - b
        out.coeff[i] = coeff_scaled(&c, -1);
    }
    return out;
}

/// join and cat: a new bit at `at` chooses between two operands.
static Affine form_choice(const Op *op, const Affine *x, const Affine *y, int32_t at)
{
    Affine out = affine_joined(x, y);
    Affine spread = without_bits(&out, out.n_bits + 1);
    for (int32_t i = 0; i < out.n_bits; i++)
        move_bit(&spread, i < at ? i : i + 1, &out, i);
    if (op->in[0] == op->in[1]) return spread;
    if (x->known == 64 && y->known == 64 && !out.slow) {
        spread.known = 64;
        spread.residue = x->residue;
        spread.coeff[at] = coeff_const(y->residue - x->residue);
    } else {
        spread.slow |= 1u << at;
    }
    return spread;
}

static Affine form_cat(const Op *op, const Affine *x, const Affine *y)
{
    int32_t low, width;
    affine_axis_bits(op->in[0]->type, (int32_t)op_attr_i(op, ATTR_AXIS), &low, &width);
    return form_choice(op, x, y, low + width);
}

static void form_split(AffineCx *cx, const Op *op)
{
    const Affine *in = input(cx, op, 0);
    for (int32_t k = 0; k < 2; k++) {
        Affine out = without_bits(in, in->n_bits - 1);
        for (int32_t i = 1; i < in->n_bits; i++)
            move_bit(&out, i - 1, in, i);
        if (k && !(in->slow & 1)) affine_shift_base(&out, &in->coeff[0]);
        *form_of(cx, &op->out[k]) = out;
    }
}

// ---- hints ------------------------------------------------------------------------------------------

static Affine form_hint(const Op *op, const Affine *in)
{
    const Type *t = op->out->type;
    const Attr *list = &op->attrs[1];
    int64_t unit = t->is_ptr ? dtype_bytes(t->dtype) : 1, kind = op_attr_i(op, ATTR_HINT);
    Affine out = *in;
    for (int32_t axis = 0; axis < list->n_list; axis++) {
        int32_t low = 0, width = 0, n = __builtin_ctz((uint32_t)list->list[axis]);
        if (kind == HINT_MULTIPLE_OF) {
            if (out.known >= n) continue;
            out.known = n;
            out.residue = 0;
            continue;
        }
        if (t->rank) affine_axis_bits(t, axis, &low, &width);
        for (int32_t i = 0; i < MIN(n, width); i++) {
            out.slow &= ~(1u << (low + i));
            out.coeff[low + i] =
                kind == HINT_MAX_CONTIGUOUS ? coeff_const(unit << i) : coeff_zero();
        }
    }
    return out;
}

/// A promise about a scalar in the body of the function holds everywhere: x >= c, x > c, x % c == 0.
static void learn(AffineCx *cx, const Op *assume)
{
    const Op *cmp = assume->in[0]->def;
    int64_t c, zero;
    if (assume->parent->owner || !cmp || cmp->kind != OP_ELEM || cmp->n_in != 2 ||
        !value_const_int(cmp->in[1], &c))
        return;
    if (c >= INT64_C(1) << 62 || c <= -(INT64_C(1) << 62)) return;
    Affine *x = form_of(cx, cmp->in[0]);
    const Op *rem = cmp->in[0]->def;
    switch (cmp->elem) {
    case ELEM_GE:
    case ELEM_GT:
        if (x->has_range) x->lo = MAX(x->lo, c + (cmp->elem == ELEM_GT));
        break;
    case ELEM_LT:
    case ELEM_LE:
        if (x->has_range) x->hi = MIN(x->hi, c - (cmp->elem == ELEM_LT));
        break;
    case ELEM_EQ:
        if (!op_is_elem(rem, ELEM_REM) || c != 0 || !value_const_int(rem->in[1], &zero) ||
            !is_pow2(zero))
            break;
        x = form_of(cx, rem->in[0]);
        if (x->known < log2_floor((uint64_t)zero)) {
            x->known = log2_floor((uint64_t)zero);
            x->residue = 0;
        }
        break;
    default:
        break;
    }
}

// ---- ops --------------------------------------------------------------------------------------------

static Affine form_arange(const Op *op)
{
    int64_t start = op_attr_i(op, ATTR_START);
    Affine out = affine_constant(op->out->type, start);
    for (int32_t i = 0; i < out.n_bits; i++)
        out.coeff[i] = coeff_const((int64_t)1 << i);
    out.lo = start;
    out.hi = start + op->out->type->numel - 1;
    return out;
}

static Affine form_grid(const Op *op)
{
    Affine out = affine_unknown(op->out->type);
    out.lo = op->kind == OP_NUM_PROGRAMS ? 1 : 0;
    return out;
}

static Affine form_addptr(AffineCx *cx, const Op *op)
{
    Affine bytes = affine_times(input(cx, op, 1), dtype_bytes(op->out->type->dtype));
    Affine out = affine_plus(input(cx, op, 0), &bytes, false);
    out.has_range = false;
    return out;
}

/// Bits on which no operand depends do not matter; the others do, in an unknown way.
static Affine form_opaque(AffineCx *cx, const Op *op, const Type *t)
{
    Affine out = affine_unknown(t);
    for (int32_t i = 0; i < op->n_in; i++)
        out.slow |= affine_moving(input(cx, op, i));
    return out;
}

/// Forgets everything: the result mixes elements.
static Affine form_mixed(const Type *t)
{
    Affine out = affine_unknown(t);
    out.slow = out.n_bits ? (1u << out.n_bits) - 1 : 0;
    return out;
}

static Affine form_bitcast(AffineCx *cx, const Op *op)
{
    const Type *x = op->in[0]->type, *y = op->out->type;
    bool x_wide = x->is_ptr || (dtype_is_int(x->dtype) && dtype_bits(x->dtype) == 64);
    bool y_wide = y->is_ptr || (dtype_is_int(y->dtype) && dtype_bits(y->dtype) == 64);
    Affine out = *input(cx, op, 0);
    if (x_wide && y_wide) return out.has_range = false, out;
    if (!x->is_ptr && !y->is_ptr && dtype_is_int(x->dtype) && dtype_is_int(y->dtype))
        return affine_cast(&out, x->dtype, y);
    return form_opaque(cx, op, y);
}

static Affine form_op(AffineCx *cx, const Op *op)
{
    const Type *t = op->out->type;
    Attr attr;
    switch (op->kind) {
    case OP_CONST:
        if (!value_const(op->out, &attr) || (!t->is_ptr && dtype_is_float(t->dtype)))
            return affine_unknown(t);
        return affine_constant(t, attr.i);
    case OP_PROGRAM_ID:
    case OP_NUM_PROGRAMS:
        return form_grid(op);
    case OP_ARANGE:
        return form_arange(op);
    case OP_ELEM:
        return affine_elem(cx, op);
    case OP_CAST:
        if (!dtype_is_int(op->in[0]->type->dtype) || !dtype_is_int(t->dtype))
            return form_opaque(cx, op, t);
        return affine_cast(input(cx, op, 0), op->in[0]->type->dtype, t);
    case OP_BITCAST:
        return form_bitcast(cx, op);
    case OP_ADDPTR:
        return form_addptr(cx, op);
    case OP_HINT:
        return form_hint(op, input(cx, op, 0));
    case OP_SPLAT:
        return without_bits(input(cx, op, 0), affine_type_bits(t));
    case OP_BROADCAST:
        return form_broadcast(op, input(cx, op, 0));
    case OP_TRANS:
        return permuted(op, input(cx, op, 0), op->attrs[0].list);
    case OP_EXPAND_DIMS:
    case OP_RESHAPE:
    case OP_CONVERT:
        return *input(cx, op, 0);
    case OP_JOIN:
        return form_choice(op, input(cx, op, 0), input(cx, op, 1), 0);
    case OP_CAT:
        return form_cat(op, input(cx, op, 0), input(cx, op, 1));
    case OP_FLIP:
        return form_flip(op, input(cx, op, 0));
    case OP_LOAD:
        return form_opaque(cx, op, t);
    default:
        return form_mixed(t);
    }
}

// ---- loops and branches -------------------------------------------------------------------------------

/// Weakens `assumed` to what also holds for `actual`. @return did it change?
static bool weaken(Affine *assumed, const Affine *actual)
{
    Affine joined = affine_joined(assumed, actual);
    bool changed = joined.slow != assumed->slow || joined.known != assumed->known ||
                   joined.wraps != assumed->wraps || joined.has_range != assumed->has_range;
    *assumed = joined;
    return changed;
}

static Affine carried_guess(const Affine *initial)
{
    Affine guess = *initial;
    guess.has_range = false;                 // steps add up
    if (guess.known == 64) guess.known = 62; // it changes, but perhaps by multiples of much
    guess.residue &= (INT64_C(1) << MIN(guess.known, 62)) - 1;
    return guess;
}

/// A carried scalar to which only numbers >= 0 from outside the loop are added never falls below its start.
static void guess_growing(AffineCx *cx, const Op *op, int32_t k)
{
    const Region *body = op->regions[0];
    const Value *arg = body->args[1 + k];
    const Affine *initial = input(cx, op, 3 + k);
    Affine *form = form_of(cx, arg);
    const Value *v = body->last->in[k];
    if (arg->type->rank || !initial->has_range || !dtype_is_int(arg->type->dtype) ||
        arg->type->is_ptr)
        return;
    while (v != arg) {
        int64_t c;
        const Op *add = v->def;
        if (!op_is_elem(add, ELEM_ADD) || !value_const_int(add->in[1], &c) || c < 0) return;
        v = add->in[0];
    }
    int32_t bits = MIN(dtype_bits(arg->type->dtype) - dtype_is_signed(arg->type->dtype), 48);
    form->has_range = true;
    form->lo = initial->lo;
    form->hi = MAX(initial->hi, (INT64_C(1) << bits) - 1);
}

static void walk_for(AffineCx *cx, const Op *op)
{
    const Region *body = op->regions[0];
    Affine *index = form_of(cx, body->args[0]);
    LoopFacts facts = loop_facts(op);
    *index = affine_unknown(body->args[0]->type);
    const Affine *begin = input(cx, op, 0), *step = input(cx, op, 2);
    index->known = MIN(MIN(begin->known, affine_base_zeros(step)), 62);
    index->residue = begin->residue & ((INT64_C(1) << index->known) - 1);
    if (facts.has_range) {
        index->lo = facts.lo;
        index->hi = facts.hi;
    } else if (begin->has_range && begin->lo >= 0 && !loop_step_is_const(op) && index->has_range) {
        index->lo = begin->lo; // a run-time step counts up or not at all
    }
    for (int32_t i = 0; i < op->n_out; i++) {
        *form_of(cx, body->args[1 + i]) = carried_guess(input(cx, op, 3 + i));
        guess_growing(cx, op, i);
    }
    for (int32_t round = 0;; round++) {
        walk(cx, body);
        bool changed = false;
        for (int32_t i = 0; i < op->n_out; i++) {
            Affine *arg = form_of(cx, body->args[1 + i]);
            if (!weaken(arg, form_of(cx, body->last->in[i]))) continue;
            changed = true;
            if (round >= LOOP_ROUNDS) *arg = form_mixed(body->args[1 + i]->type);
        }
        if (!changed) break;
    }
    for (int32_t i = 0; i < op->n_out; i++)
        *form_of(cx, &op->out[i]) = *form_of(cx, body->args[1 + i]);
}

static void walk_while(AffineCx *cx, const Op *op)
{
    const Region *test = op->regions[0], *body = op->regions[1];
    for (int32_t i = 0; i < op->n_out; i++)
        *form_of(cx, test->args[i]) = carried_guess(input(cx, op, i));
    for (int32_t round = 0;; round++) {
        walk(cx, test);
        for (int32_t i = 0; i < op->n_out; i++) {
            *form_of(cx, body->args[i]) = *form_of(cx, test->last->in[1 + i]);
            *form_of(cx, &op->out[i]) = *form_of(cx, test->last->in[1 + i]);
        }
        walk(cx, body);
        bool changed = false;
        for (int32_t i = 0; i < op->n_out; i++) {
            Affine *arg = form_of(cx, test->args[i]);
            if (!weaken(arg, form_of(cx, body->last->in[i]))) continue;
            changed = true;
            if (round >= LOOP_ROUNDS) *arg = form_mixed(test->args[i]->type);
        }
        if (!changed) return;
    }
}

static void walk_if(AffineCx *cx, const Op *op)
{
    for (int32_t i = 0; i < 2; i++)
        walk(cx, op->regions[i]);
    for (int32_t i = 0; i < op->n_out; i++)
        *form_of(cx, &op->out[i]) = affine_joined(form_of(cx, op->regions[0]->last->in[i]),
                                                  form_of(cx, op->regions[1]->last->in[i]));
}

static void walk_op(AffineCx *cx, const Op *op)
{
    switch (op->kind) {
    case OP_FOR:
        walk_for(cx, op);
        return;
    case OP_WHILE:
        walk_while(cx, op);
        return;
    case OP_IF:
        walk_if(cx, op);
        return;
    case OP_SPLIT:
        form_split(cx, op);
        return;
    case OP_ASSUME:
        learn(cx, op);
        return;
    default:
        break;
    }
    for (int32_t i = 0; i < op->n_regions; i++) {
        const Region *r = op->regions[i];
        for (int32_t k = 0; k < r->n_args; k++)
            *form_of(cx, r->args[k]) = affine_unknown(r->args[k]->type);
        walk(cx, r);
    }
    if (op->n_out) *form_of(cx, op->out) = form_op(cx, op);
    for (int32_t i = 1; i < op->n_out; i++)
        *form_of(cx, &op->out[i]) = form_mixed(op->out[i].type);
}

static void walk(AffineCx *cx, const Region *r)
{
    EACH_OP(op, r)
        walk_op(cx, op);
}

AffineCx *affine_new(Arena *a, Func *fn)
{
    AffineCx *cx = arena_new(a, AffineCx);
    cx->forms = arena_array(a, Affine, func_number(fn) + 1);
    for (int32_t i = 0; i < fn->n_params; i++) {
        const Param *p = &fn->params[i];
        Affine *form = form_of(cx, p->value);
        *form = form_mixed(p->value->type);
        if (p->divisible > 1) form->known = log2_floor((uint64_t)p->divisible);
    }
    walk(cx, fn->body);
    return cx;
}

const Affine *affine_of(const AffineCx *cx, const Value *v)
{
    return &cx->forms[v->id];
}
