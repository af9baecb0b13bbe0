// ir/affine_form.c - arithmetic on bit-affine forms.
//
// Every rule keeps two things apart: the bits (what changes from element to element) and the base (what is
// known of element 0, for every setting of the slow bits). A bit that a rule cannot follow becomes slow; the
// base then absorbs it, and with it the multiples of its coefficient.
#include "ir/affine_form.h"

#include "ir/elem_eval.h"

__extension__ typedef __int128 Wide;

enum { PLAUSIBLE_FACTOR = 1 << 20 }; // a larger one is a hash, not an index: it may well wrap

static int32_t zeros(int64_t x)
{
    return x == 0 ? 63 : __builtin_ctzll((uint64_t)x);
}

// ---- coefficients -----------------------------------------------------------------------------------

Coeff coeff_zero(void)
{
    return (Coeff){.log_divisor = 63};
}

Coeff coeff_const(int64_t c)
{
    return (Coeff){.scale = c, .log_divisor = zeros(c)};
}

Coeff coeff_scaled(const Coeff *c, int64_t by)
{
    Coeff out = *c;
    out.scale = (int64_t)((uint64_t)c->scale * (uint64_t)by);
    if (out.scale == 0) return coeff_zero();
    out.log_divisor = MIN(62, c->log_divisor + zeros(by));
    return out;
}

static bool same_factors(const Coeff *a, const Coeff *b)
{
    return a->factor[0] == b->factor[0] && a->factor[1] == b->factor[1];
}

bool coeff_same(const Coeff *a, const Coeff *b)
{
    return a->scale == b->scale && same_factors(a, b);
}

bool coeff_sum(const Coeff *a, const Coeff *b, Coeff *out)
{
    if (a->scale == 0 || b->scale == 0) {
        *out = a->scale ? *a : *b;
        return true;
    }
    if (!same_factors(a, b)) return false;
    int64_t scale = (int64_t)((uint64_t)a->scale + (uint64_t)b->scale);
    int32_t factor_zeros = a->log_divisor - zeros(a->scale);
    *out = *a; // which may be where it lies
    out->scale = scale;
    out->log_divisor = MIN(62, factor_zeros + zeros(scale));
    if (scale == 0) *out = coeff_zero();
    return true;
}

/// c * factor. @return false: too many factors
static bool coeff_times(const Coeff *c, const Value *factor, int32_t factor_zeros, Coeff *out)
{
    *out = *c;
    if (c->scale == 0) return true;
    if (c->factor[1]) return false;
    const Value *first = c->factor[0];
    bool before = first && factor->id < first->id;
    out->factor[0] = first && !before ? first : factor;
    out->factor[1] = first ? (before ? first : factor) : NULL;
    out->log_divisor = MIN(62, c->log_divisor + factor_zeros);
    return true;
}

// ---- ranges -----------------------------------------------------------------------------------------

/// @return false: the type's values do not fit an int64 or are none
static bool type_range(DType t, Wide *lo, Wide *hi)
{
    int32_t bits = dtype_bits(t);
    if (!dtype_is_int(t)) return false;
    *lo = dtype_is_signed(t) ? -((Wide)1 << (bits - 1)) : 0;
    *hi = ((Wide)1 << (bits - dtype_is_signed(t))) - 1;
    return true;
}

static void set_type_range(Affine *x, DType t)
{
    Wide lo, hi;
    x->has_range = dtype_bits(t) <= 32 && type_range(t, &lo, &hi);
    if (!x->has_range) return;
    x->lo = (int64_t)lo;
    x->hi = (int64_t)hi;
}

static void set_range(Affine *x, bool known, Wide lo, Wide hi)
{
    x->has_range = known && lo >= INT64_MIN && hi <= INT64_MAX;
    x->lo = x->has_range ? (int64_t)lo : 0;
    x->hi = x->has_range ? (int64_t)hi : 0;
}

// ---- bases ------------------------------------------------------------------------------------------

int32_t affine_type_bits(const Type *t)
{
    return t->rank ? log2_floor((uint64_t)t->numel) : 0;
}

static int64_t low_mask(int32_t known)
{
    return known >= 64 ? -1 : (int64_t)((UINT64_C(1) << known) - 1);
}

static void set_known(Affine *x, int32_t known, int64_t residue)
{
    x->known = known;
    x->residue = residue & low_mask(known);
}

Affine affine_unknown(const Type *t)
{
    Affine x = {.n_bits = affine_type_bits(t)};
    for (int32_t i = 0; i < AFFINE_MAX_BITS; i++)
        x.coeff[i] = coeff_zero();
    if (!t->is_ptr && dtype_is_int(t->dtype)) set_type_range(&x, t->dtype);
    return x;
}

Affine affine_constant(const Type *t, int64_t c)
{
    Affine x = affine_unknown(t);
    x.known = 64;
    x.residue = c;
    x.has_range = !t->is_ptr && !(t->dtype == DTYPE_U64 && c < 0);
    x.lo = x.hi = c;
    return x;
}

uint32_t affine_moving(const Affine *x)
{
    uint32_t bits = x->slow;
    for (int32_t i = 0; i < x->n_bits; i++)
        if (x->coeff[i].scale) bits |= 1u << i;
    return bits;
}

int32_t affine_base_zeros(const Affine *x)
{
    return MIN(MIN(x->known, 63), zeros(x->residue));
}

/// Base absorbs the bits of `mask`.
static void make_slow(Affine *x, uint32_t mask)
{
    for (int32_t i = 0; i < x->n_bits; i++) {
        if (!(mask >> i & 1) || x->slow >> i & 1) continue;
        x->slow |= 1u << i;
        if (!x->coeff[i].scale) continue;
        set_known(x, MIN(x->known, x->coeff[i].log_divisor), x->residue);
        x->coeff[i] = coeff_zero();
    }
}

void affine_shift_base(Affine *x, const Coeff *c)
{
    if (coeff_is_const(c))
        set_known(x, x->known, (int64_t)((uint64_t)x->residue + (uint64_t)c->scale));
    else
        set_known(x, MIN(x->known, c->log_divisor), x->residue);
}

Affine affine_joined(const Affine *x, const Affine *y)
{
    uint32_t differ = x->slow | y->slow;
    for (int32_t i = 0; i < x->n_bits; i++)
        if (!coeff_same(&x->coeff[i], &y->coeff[i])) differ |= 1u << i;
    Affine a = *x, b = *y;
    make_slow(&a, differ);
    make_slow(&b, differ);
    int64_t off = a.residue ^ b.residue;
    int32_t known = MIN(a.known, b.known);
    set_known(&a, off ? MIN(known, zeros(off)) : known, a.residue);
    set_range(&a, a.has_range && b.has_range, MIN(a.lo, b.lo), MAX(a.hi, b.hi));
    a.wraps |= b.wraps;
    return a;
}

// ---- sums and products ------------------------------------------------------------------------------

Affine affine_plus(const Affine *x, const Affine *y, bool negate_y)
{
    Affine a = *x, b = *y;
    uint32_t lost = x->slow | y->slow;
    for (int32_t i = 0; i < x->n_bits; i++) {
        b.coeff[i] = coeff_scaled(&y->coeff[i], negate_y ? -1 : 1);
        Coeff sum;
        if (!coeff_sum(&a.coeff[i], &b.coeff[i], &sum)) lost |= 1u << i;
    }
    make_slow(&a, lost);
    make_slow(&b, lost);
    for (int32_t i = 0; i < x->n_bits; i++)
        if (!(lost >> i & 1)) coeff_sum(&a.coeff[i], &b.coeff[i], &a.coeff[i]);
    uint64_t rb = (uint64_t)b.residue;
    set_known(&a, MIN(a.known, b.known), (int64_t)((uint64_t)a.residue + (negate_y ? 0 - rb : rb)));
    Wide lo = negate_y ? -(Wide)b.hi : b.lo, hi = negate_y ? -(Wide)b.lo : b.hi;
    set_range(&a, a.has_range && b.has_range, a.lo + lo, a.hi + hi);
    a.wraps |= b.wraps;
    return a;
}

Affine affine_times(const Affine *x, int64_t c)
{
    Affine out = *x;
    for (int32_t i = 0; i < x->n_bits; i++)
        out.coeff[i] = coeff_scaled(&x->coeff[i], c);
    int32_t known = x->known == 64 ? 64 : MIN(63, x->known + zeros(c));
    set_known(&out, c == 0 ? 64 : known, (int64_t)((uint64_t)x->residue * (uint64_t)c));
    if (c == 0) out.slow = 0;
    Wide a = (Wide)x->lo * c, b = (Wide)x->hi * c;
    set_range(&out, x->has_range, MIN(a, b), MAX(a, b));
    return out;
}

/// x * y where y is uniform but not constant; `factor` is its value.
static Affine times_uniform(const Affine *x, const Affine *y, const Value *factor)
{
    Affine out = *x;
    uint32_t lost = 0;
    for (int32_t i = 0; i < x->n_bits; i++)
        if (!coeff_times(&x->coeff[i], factor, affine_base_zeros(y), &out.coeff[i])) {
            out.coeff[i] = coeff_scaled(&x->coeff[i], INT64_C(1) << MIN(62, affine_base_zeros(y)));
            lost |= 1u << i;
        }
    // (rx + 2^kx a)(ry + 2^ky b): three products with unknowns, each a multiple of a power of two
    int32_t kx = x->known, ky = y->known, known = MIN(62, kx + ky);
    if (x->residue && ky < 64) known = MIN(known, ky + zeros(x->residue));
    if (y->residue && kx < 64) known = MIN(known, kx + zeros(y->residue));
    set_known(&out, known, (int64_t)((uint64_t)x->residue * (uint64_t)y->residue));
    make_slow(&out, lost);
    Wide p[4] = {(Wide)x->lo * y->lo, (Wide)x->lo * y->hi, (Wide)x->hi * y->lo,
                 (Wide)x->hi * y->hi};
    Wide lo = MIN(MIN(p[0], p[1]), MIN(p[2], p[3])), hi = MAX(MAX(p[0], p[1]), MAX(p[2], p[3]));
    set_range(&out, x->has_range && y->has_range, lo, hi);
    out.wraps |= y->wraps;
    return out;
}

/// What an exact result becomes in a type that may be too small for it. `is_hash`: wrapping is plausible.
static Affine settled(Affine x, DType t, bool is_hash)
{
    Wide lo, hi, span = 0;
    if (dtype_bits(t) == 64 || !type_range(t, &lo, &hi)) return x;
    for (int32_t i = 0; i < x.n_bits; i++)
        if (coeff_is_const(&x.coeff[i]))
            span += x.coeff[i].scale < 0 ? -(Wide)x.coeff[i].scale : x.coeff[i].scale;
    if (x.has_range && x.lo >= lo && x.hi <= hi) return x;
    if (x.known == 64)
        x.residue = int_wrap(t, x.residue);
    else
        set_known(&x, MIN(x.known, dtype_bits(t)), x.residue);
    bool assumes = dtype_is_signed(t) && dtype_bits(t) == 32 && !is_hash && span < hi;
    if (!assumes) {
        uint32_t moving = affine_moving(&x);
        if (moving && x.known == 64) set_known(&x, dtype_bits(t), x.residue);
        make_slow(&x, moving);
        set_type_range(&x, t);
        return x;
    }
    x.wraps = true;
    x.lo = x.has_range ? MIN(MAX(x.lo, (int64_t)lo), (int64_t)hi) : (int64_t)lo;
    x.hi = x.has_range ? MAX(MIN(x.hi, (int64_t)hi), (int64_t)lo) : (int64_t)hi;
    x.has_range = true;
    return x;
}

Affine affine_cast(const Affine *x, DType from, const Type *t)
{
    Affine out = *x;
    if (from == DTYPE_I1 || t->dtype == DTYPE_I1) {
        out = affine_unknown(t);
        out.slow = affine_moving(x);
        return out;
    }
    if (dtype_bits(t->dtype) == 64) {
        // Extending a negative value to u64 leaves the range but not the arithmetic of 64 bits.
        if (t->dtype == DTYPE_U64 && !(x->has_range && x->lo >= 0)) out.has_range = false;
        return out;
    }
    return settled(out, t->dtype, false);
}

// ---- division ---------------------------------------------------------------------------------------

static int64_t floor_div(int64_t a, int64_t d)
{
    return a / d - (a % d < 0);
}

static int64_t floor_mod(int64_t a, int64_t d)
{
    return a - floor_div(a, d) * d;
}

/// Parts of one coefficient: a multiple of d and a rest in [0, d). @return false: the rest is not known
static bool coeff_divide(const Coeff *c, int64_t d, Coeff *high, int64_t *rest, bool *high_known)
{
    *high_known = true;
    *rest = 0;
    if (coeff_is_const(c)) {
        *rest = floor_mod(c->scale, d);
        *high = coeff_const(floor_div(c->scale, d));
        return true;
    }
    *high = *c;
    *high_known = c->scale % d == 0;
    if (*high_known) {
        high->scale = c->scale / d;
        high->log_divisor = MAX(0, c->log_divisor - zeros(d));
        return true;
    }
    return is_pow2(d) && c->log_divisor >= zeros(d);
}

bool affine_divide(const Affine *x, int64_t d, Affine *high, Affine *low)
{
    bool is_power = is_pow2(d), fits;
    int32_t s = zeros(d);
    bool has_rest = x->known == 64 || (is_power && x->known >= s);
    int64_t r = has_rest ? floor_mod(x->known == 64 ? x->residue : x->residue & low_mask(s), d) : 0;
    uint32_t carries = 0, unknown = 0; // bits with a rest; bits whose multiple of d has no name
    Wide sum = r;
    if (d <= 0) return false;
    *high = *low = *x;
    for (int32_t i = 0; i < x->n_bits; i++) {
        int64_t rest;
        bool high_known;
        if (x->slow >> i & 1) continue;
        bool known = coeff_divide(&x->coeff[i], d, &high->coeff[i], &rest, &high_known);
        if (!known || rest) carries |= 1u << i;
        if (!high_known) unknown |= 1u << i;
        low->coeff[i] = coeff_const(rest);
        sum += known ? rest : d;
    }
    fits = has_rest && sum < d;
    // low
    int32_t low_known = is_power ? MIN(x->known, s) : 0;
    if (has_rest)
        set_known(low, 64, r), low->slow = 0;
    else
        set_known(low, low_known, x->residue);
    set_range(low, true, fits ? r : 0, fits ? sum : d - 1);
    low->wraps = high->wraps = x->wraps;
    if (!fits) {
        for (int32_t i = 0; i < x->n_bits; i++)
            if (carries >> i & 1) low_known = MIN(low_known, x->coeff[i].log_divisor);
        if (carries) set_known(low, low_known, has_rest ? r : x->residue);
        for (int32_t i = 0; i < x->n_bits; i++)
            if (carries >> i & 1) low->coeff[i] = coeff_zero();
        low->slow |= carries;
    }
    // high
    if (x->known == 64)
        set_known(high, 64, floor_div(x->residue, d));
    else if (has_rest)
        set_known(high, x->known - s, (int64_t)((uint64_t)x->residue >> s));
    else
        set_known(high, 0, 0);
    uint32_t lost = unknown | (fits ? 0 : carries);
    if (lost) set_known(high, 0, 0);
    for (int32_t i = 0; i < x->n_bits; i++)
        if (lost >> i & 1) high->coeff[i] = coeff_zero();
    high->slow |= lost;
    set_range(high, x->has_range, x->has_range ? floor_div(x->lo, d) : 0,
              x->has_range ? floor_div(x->hi, d) : 0);
    return true;
}

// ---- elementwise ops --------------------------------------------------------------------------------

/// The scalar, or smallest tile, that a uniform value repeats.
static const Value *repeated(const Value *v)
{
    while (v->def) {
        OpKind k = v->def->kind;
        if (k != OP_SPLAT && k != OP_BROADCAST && k != OP_EXPAND_DIMS && k != OP_RESHAPE &&
            k != OP_TRANS)
            break;
        v = v->def->in[0];
    }
    return v;
}

static Affine opaque(const Affine *x, const Affine *y, const Type *t)
{
    Affine out = affine_unknown(t);
    out.slow = affine_moving(x) | affine_moving(y);
    return out;
}

/// The operand whose form is `x`.
static const Value *factor_of(const Op *op, const Affine *x, const AffineCx *cx)
{
    return x == &cx->forms[op->in[0]->id] ? op->in[0] : op->in[1];
}

static Affine multiply(const AffineCx *cx, const Op *op, const Affine *x, const Affine *y)
{
    DType t = op->out->type->dtype;
    bool x_const = x->known == 64 && !affine_moving(x),
         y_const = y->known == 64 && !affine_moving(y);
    if (x_const && !y_const) return multiply(cx, op, y, x);
    if (y_const) {
        int64_t c = y->residue;
        return settled(affine_times(x, c), t, c > PLAUSIBLE_FACTOR || c < -PLAUSIBLE_FACTOR);
    }
    // An index times a run-time factor whose range is its type's: the program means it not to wrap.
    if (affine_moving(y) && affine_moving(x)) return opaque(x, y, op->out->type);
    if (affine_moving(y))
        return settled(times_uniform(y, x, repeated(factor_of(op, x, cx))), t, false);
    return settled(times_uniform(x, y, repeated(factor_of(op, y, cx))), t, false);
}

/// Every element is a multiple of 2^this.
static int32_t element_zeros(const Affine *x)
{
    int32_t n = affine_base_zeros(x);
    for (int32_t i = 0; i < x->n_bits; i++)
        if (!(x->slow >> i & 1)) n = MIN(n, x->coeff[i].log_divisor);
    return n;
}

/// No bit is set in both, because one lies below a power of two that divides the other.
static bool are_disjoint(const Affine *x, const Affine *y)
{
    int32_t nx = element_zeros(x), ny = element_zeros(y);
    if (y->has_range && y->lo >= 0 && (nx >= 62 || y->hi < INT64_C(1) << nx)) return true;
    return x->has_range && x->lo >= 0 && (ny >= 62 || x->hi < INT64_C(1) << ny);
}

/// x ^ c where the bits of c are single index bits of x, or bits of its base that no index bit reaches.
static bool xor_const(const Affine *x, int64_t c, Affine *out)
{
    if (c < 0) return false;
    int32_t top = c ? 1 + log2_floor((uint64_t)c) : 0;
    int64_t reached = 0, base = x->residue;
    if (x->known < top || x->slow) return false;
    *out = *x;
    for (int32_t i = 0; i < x->n_bits; i++) {
        const Coeff *k = &x->coeff[i];
        if (k->log_divisor >= top) continue;
        int64_t bit = k->scale;
        if (!coeff_is_const(k) || !is_pow2(bit) || reached & bit || base & bit) return false;
        reached |= bit;
        if (!(c & bit)) continue;
        out->coeff[i] = coeff_const(-bit);
    }
    set_known(out, x->known, base ^ c);
    set_range(out, x->has_range && x->lo >= 0, 0,
              x->has_range ? ((Wide)1 << (log2_floor((uint64_t)MAX(x->hi, c)) + 1)) - 1 : 0);
    return true;
}

static Affine bitwise(const Op *op, const Affine *x, const Affine *y)
{
    DType t = op->out->type->dtype;
    bool y_const = y->known == 64 && !affine_moving(y);
    int64_t c = y->residue;
    Affine high, low, out;
    if (x->known == 64 && !affine_moving(x) && !y_const) return bitwise(op, y, x);
    if (op->elem == ELEM_AND) {
        if (!y_const) return opaque(x, y, op->out->type);
        if (c >= 0 && c < INT64_MAX && is_pow2(c + 1) && affine_divide(x, c + 1, &high, &low))
            return low;
        int64_t hole = int_wrap(t, (int64_t)(0 - (uint64_t)c)); // c is ...111000
        if (hole > 0 && is_pow2(hole) && affine_divide(x, hole, &high, &low))
            return affine_times(&high, hole);
        return opaque(x, y, op->out->type);
    }
    if (are_disjoint(x, y)) return settled(affine_plus(x, y, false), t, false);
    if (op->elem == ELEM_XOR && y_const && xor_const(x, c, &out)) return out;
    return opaque(x, y, op->out->type);
}

static Affine divide(const Op *op, const Affine *x, const Affine *y)
{
    const Type *t = op->out->type;
    Affine high, low;
    bool is_shift = op->elem == ELEM_SHR;
    int64_t d = y->residue;
    if (y->known != 64 || affine_moving(y)) return opaque(x, y, t);
    if (is_shift) {
        if (d < 0 || d >= MIN(dtype_bits(t->dtype), 62)) return opaque(x, y, t);
        d = INT64_C(1) << d;
    }
    bool floors = is_shift || !dtype_is_signed(t->dtype) || (x->has_range && x->lo >= 0);
    if (t->dtype == DTYPE_U64 && !(x->has_range && x->lo >= 0))
        floors = false; // its forms live modulo 2^64
    if (is_shift && x->wraps && !dtype_is_signed(t->dtype)) floors = false;
    if (d <= 0 || !floors || !affine_divide(x, d, &high, &low)) return opaque(x, y, t);
    return op->elem == ELEM_REM ? low : high;
}

static Affine smaller_or_larger(const Op *op, const Affine *x, const Affine *y)
{
    Affine out = affine_joined(x, y);
    if (x->has_range && y->has_range) {
        bool min = op->elem == ELEM_MIN;
        out.has_range = true;
        out.lo = min ? MIN(x->lo, y->lo) : MAX(x->lo, y->lo);
        out.hi = min ? MIN(x->hi, y->hi) : MAX(x->hi, y->hi);
    }
    return out;
}

static Affine selected(const Affine *cond, const Affine *x, const Affine *y)
{
    Affine out = affine_joined(x, y);
    make_slow(&out, affine_moving(cond));
    return out;
}

Affine affine_elem(AffineCx *cx, const Op *op)
{
    const Type *t = op->out->type;
    const Affine *in[3];
    for (int32_t i = 0; i < 3; i++)
        in[i] = &cx->forms[op->in[i < op->n_in ? i : 0]->id];
    const Affine *x = in[0], *y = in[1];
    const Affine zero = affine_constant(t, 0);
    bool is_address = t->is_ptr || (dtype_is_int(t->dtype) && t->dtype != DTYPE_I1);
    if (is_address && op->elem == ELEM_SELECT) return selected(x, y, in[2]);
    if (t->is_ptr || !is_address) {
        Affine out = opaque(x, y, t);
        if (op->n_in > 2) out.slow |= affine_moving(in[2]);
        return out;
    }
    switch (op->elem) {
    case ELEM_ADD:
        return settled(affine_plus(x, y, false), t->dtype, false);
    case ELEM_SUB:
        return settled(affine_plus(x, y, true), t->dtype, false);
    case ELEM_NEG:
        return settled(affine_plus(&zero, x, true), t->dtype, false);
    case ELEM_MUL:
        return multiply(cx, op, x, y);
    case ELEM_SHL:
        if (y->known != 64 || affine_moving(y) || y->residue < 0 || y->residue > 30) break;
        return settled(affine_times(x, INT64_C(1) << y->residue), t->dtype, y->residue > 20);
    case ELEM_SHR:
    case ELEM_DIV:
    case ELEM_REM:
        return divide(op, x, y);
    case ELEM_AND:
    case ELEM_OR:
    case ELEM_XOR:
        return bitwise(op, x, y);
    case ELEM_MIN:
    case ELEM_MAX:
        if (dtype_is_signed(t->dtype)) return smaller_or_larger(op, x, y);
        break;
    default:
        break;
    }
    Affine out = opaque(x, y, t);
    if (op->n_in > 2) out.slow |= affine_moving(in[2]);
    return out;
}
