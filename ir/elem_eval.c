#include "ir/elem_eval.h"

#include <math.h>

// ---- normal forms -------------------------------------------------------------------------------

static inline int64_t extend(int32_t bits, bool is_signed, int64_t x)
{
    int32_t shift = 64 - bits;
    uint64_t top = (uint64_t)x << shift;
    return is_signed ? (int64_t)top >> shift : (int64_t)(top >> shift);
}

int64_t int_wrap(DType t, int64_t x)
{
    return extend(dtype_facts[t].bits, dtype_facts[t].is_signed, x);
}

/// The f16 nearest to `x`, ties to even, as a float.
static inline float round_f16(float x)
{
    uint32_t u = f32_bits(x), sign = u & 0x80000000u, m = u ^ sign;
    if (m >= 0x7F800000u) return x;
    if (m < 0x38800000u) { // below 2^-14: steps of 2^-24, which is the step of floats in [0.5, 1)
        float r = (f32_from_bits(m) + 0.5f) - 0.5f;
        return f32_from_bits(f32_bits(r) | sign);
    }
    m = (m + 0xFFFu + (m >> 13 & 1)) & ~0x1FFFu;
    return f32_from_bits((m > 0x477FE000u ? 0x7F800000u : m) | sign);
}

static inline float round_bf16(float x)
{
    uint32_t u = f32_bits(x);
    if ((u & 0x7FFFFFFFu) > 0x7F800000u) return x;
    return f32_from_bits((u + 0x7FFFu + (u >> 16 & 1)) & 0xFFFF0000u);
}

double float_round(DType t, double x)
{
    switch (t) {
    case DTYPE_F64:
        return x;
    case DTYPE_F32:
        return (double)(float)x;
    case DTYPE_F16:
        return (double)f16_to_f32(f16_from_f64(x));
    case DTYPE_BF16:
        return (double)bf16_to_f32(bf16_from_f64(x));
    case DTYPE_F8E4M3:
    case DTYPE_F8E5M2: {
        uint8_t byte;
        dtype_store_f64(t, &byte, x);
        return dtype_load_f64(t, &byte);
    }
    default:
        BUG("%s is no float", dtype_facts[t].name);
    }
}

void elem_round(DType t, int64_t n, Slot *x)
{
    switch (t) {
    case DTYPE_F64:
        return;
    case DTYPE_F32:
        for (int64_t i = 0; i < n; i++)
            x[i].f = (double)(float)x[i].f;
        return;
    case DTYPE_F16:
        for (int64_t i = 0; i < n; i++)
            x[i].f = (double)round_f16((float)x[i].f);
        return;
    case DTYPE_BF16:
        for (int64_t i = 0; i < n; i++)
            x[i].f = (double)round_bf16((float)x[i].f);
        return;
    default:
        for (int64_t i = 0; i < n; i++)
            x[i].f = float_round(t, (double)round_f16((float)x[i].f));
        return;
    }
}

// ---- rows on ints -------------------------------------------------------------------------------

typedef struct IntKind {
    int32_t bits;
    bool is_signed;
} IntKind;

typedef void (*IntRow)(IntKind k, int64_t n, const Slot *const *in, Slot *out);
typedef void (*FloatRow)(int64_t n, const Slot *const *in, Slot *out);

// In an expression a and b are the operands as stored, ua and ub the same bits unsigned.
#define INT_ROW(name, expr)                                                                        \
    static void int_##name(IntKind k, int64_t n, const Slot *const *in, Slot *out)                 \
    {                                                                                              \
        const Slot *x = in[0], *y = in[1];                                                         \
        for (int64_t i = 0; i < n; i++) {                                                          \
            int64_t a = x[i].i, b = y[i].i;                                                        \
            uint64_t ua = (uint64_t)a, ub = (uint64_t)b;                                           \
            (void)k, (void)a, (void)b, (void)ua, (void)ub;                                         \
            out[i].i = (int64_t)(expr);                                                            \
        }                                                                                          \
    }

static inline uint64_t low_bits(IntKind k, uint64_t x)
{
    return k.bits == 64 ? x : x & ((UINT64_C(1) << k.bits) - 1);
}

static inline bool int_less(IntKind k, int64_t a, int64_t b)
{
    return k.is_signed ? a < b : (uint64_t)a < (uint64_t)b;
}

static inline uint64_t int_quotient(IntKind k, int64_t a, int64_t b)
{
    if (b == 0) return (uint64_t)a;
    if (!k.is_signed) return (uint64_t)a / (uint64_t)b;
    return b == -1 ? 0 - (uint64_t)a : (uint64_t)(a / b);
}

static inline uint64_t int_remainder(IntKind k, int64_t a, int64_t b)
{
    if (b == 0) return 0;
    if (!k.is_signed) return (uint64_t)a % (uint64_t)b;
    return b == -1 ? 0 : (uint64_t)(a % b);
}

__extension__ typedef unsigned __int128 Wide;

static inline uint64_t int_mulhi(IntKind k, uint64_t a, uint64_t b)
{
    Wide wide = (Wide)low_bits(k, a) * low_bits(k, b);
    return (uint64_t)(wide >> k.bits);
}

static inline uint64_t int_shl(IntKind k, uint64_t a, uint64_t count)
{
    return low_bits(k, count) >= (uint64_t)k.bits ? 0 : a << low_bits(k, count);
}

static inline int64_t int_shr(IntKind k, int64_t a, uint64_t count)
{
    bool past = low_bits(k, count) >= (uint64_t)k.bits;
    if (k.is_signed) return past ? (a < 0 ? -1 : 0) : a >> low_bits(k, count);
    return past ? 0 : (int64_t)((uint64_t)a >> low_bits(k, count));
}

INT_ROW(ADD, ua + ub)
INT_ROW(SUB, ua - ub)
INT_ROW(MUL, ua *ub)
INT_ROW(DIV, int_quotient(k, a, b))
INT_ROW(REM, int_remainder(k, a, b))
INT_ROW(MULHI, int_mulhi(k, ua, ub))
INT_ROW(MIN, int_less(k, b, a) ? b : a)
INT_ROW(MAX, int_less(k, a, b) ? b : a)
INT_ROW(AND, a &b)
INT_ROW(OR, a | b)
INT_ROW(XOR, a ^ b)
INT_ROW(SHL, int_shl(k, ua, ub))
INT_ROW(SHR, int_shr(k, a, ub))
INT_ROW(EQ, a == b)
INT_ROW(NE, a != b)
INT_ROW(LT, int_less(k, a, b))
INT_ROW(LE, !int_less(k, b, a))
INT_ROW(GT, int_less(k, b, a))
INT_ROW(GE, !int_less(k, a, b))
INT_ROW(NEG, 0 - ua)
INT_ROW(NOT, ~ua)
INT_ROW(ABS, k.is_signed &&a < 0 ? 0 - ua : ua)

// ---- rows on floats -----------------------------------------------------------------------------

#define FLOAT_ROW(name, member, expr)                                                              \
    static void float_##name(int64_t n, const Slot *const *in, Slot *out)                          \
    {                                                                                              \
        const Slot *x = in[0], *y = in[1];                                                         \
        for (int64_t i = 0; i < n; i++) {                                                          \
            double a = x[i].f, b = y[i].f;                                                         \
            (void)a, (void)b;                                                                      \
            out[i].member = (expr);                                                                \
        }                                                                                          \
    }

FLOAT_ROW(ADD, f, a + b)
FLOAT_ROW(SUB, f, a - b)
FLOAT_ROW(MUL, f, a *b)
FLOAT_ROW(DIV, f, a / b)
FLOAT_ROW(REM, f, fmod(a, b))
FLOAT_ROW(MIN, f, isnan(a) || b < a ? b : a)
FLOAT_ROW(MAX, f, isnan(a) || b > a ? b : a)
FLOAT_ROW(MIN_NAN, f, isnan(b) || b < a ? b : a)
FLOAT_ROW(MAX_NAN, f, isnan(b) || b > a ? b : a)
FLOAT_ROW(EQ, i, a == b)
FLOAT_ROW(NE, i, a != b)
FLOAT_ROW(LT, i, a < b)
FLOAT_ROW(LE, i, a <= b)
FLOAT_ROW(GT, i, a > b)
FLOAT_ROW(GE, i, a >= b)
FLOAT_ROW(NEG, f, -a)
FLOAT_ROW(ABS, f, fabs(a))
FLOAT_ROW(FLOOR, f, floor(a))
FLOAT_ROW(CEIL, f, ceil(a))
FLOAT_ROW(TRUNC, f, trunc(a))
FLOAT_ROW(RINT, f, rint(a))
FLOAT_ROW(SQRT, f, sqrt(a))
FLOAT_ROW(RSQRT, f, 1.0 / sqrt(a))
FLOAT_ROW(EXP, f, exp(a))
FLOAT_ROW(EXP2, f, exp2(a))
FLOAT_ROW(LOG, f, log(a))
FLOAT_ROW(LOG2, f, log2(a))
FLOAT_ROW(SIN, f, sin(a))
FLOAT_ROW(COS, f, cos(a))
FLOAT_ROW(ERF, f, erf(a))
FLOAT_ROW(TANH, f, tanh(a))

typedef struct EvalRow {
    IntRow on_int;
    FloatRow on_float; ///< before rounding to the dtype
} EvalRow;

#define BOTH(NAME) {int_##NAME, float_##NAME}
#define INT(NAME)  {int_##NAME, NULL}
#define FLT(NAME)  {NULL, float_##NAME}

static const EvalRow rows[] = {
    // clang-format off
    [ELEM_ADD] = BOTH(ADD),         [ELEM_SUB] = BOTH(SUB),         [ELEM_MUL] = BOTH(MUL),
    [ELEM_DIV] = BOTH(DIV),         [ELEM_DIV_RN] = FLT(DIV),       [ELEM_REM] = BOTH(REM),
    [ELEM_MULHI] = INT(MULHI),      [ELEM_MIN] = BOTH(MIN),         [ELEM_MAX] = BOTH(MAX),
    [ELEM_MIN_NAN] = FLT(MIN_NAN),  [ELEM_MAX_NAN] = FLT(MAX_NAN),  [ELEM_AND] = INT(AND),
    [ELEM_OR] = INT(OR),            [ELEM_XOR] = INT(XOR),          [ELEM_SHL] = INT(SHL),
    [ELEM_SHR] = INT(SHR),          [ELEM_EQ] = BOTH(EQ),           [ELEM_NE] = BOTH(NE),
    [ELEM_LT] = BOTH(LT),           [ELEM_LE] = BOTH(LE),           [ELEM_GT] = BOTH(GT),
    [ELEM_GE] = BOTH(GE),           [ELEM_NEG] = BOTH(NEG),         [ELEM_NOT] = INT(NOT),
    [ELEM_ABS] = BOTH(ABS),         [ELEM_FLOOR] = FLT(FLOOR),      [ELEM_CEIL] = FLT(CEIL),
    [ELEM_TRUNC] = FLT(TRUNC),      [ELEM_RINT] = FLT(RINT),        [ELEM_SQRT] = FLT(SQRT),
    [ELEM_SQRT_RN] = FLT(SQRT),     [ELEM_RSQRT] = FLT(RSQRT),      [ELEM_EXP] = FLT(EXP),
    [ELEM_EXP2] = FLT(EXP2),        [ELEM_LOG] = FLT(LOG),          [ELEM_LOG2] = FLT(LOG2),
    [ELEM_SIN] = FLT(SIN),          [ELEM_COS] = FLT(COS),          [ELEM_ERF] = FLT(ERF),
    [ELEM_TANH] = FLT(TANH),
    // clang-format on
};
_Static_assert(COUNT_OF(rows) == ELEM_KIND_COUNT, "an elementwise opcode has no evaluator");

static void eval_select(int64_t n, const Slot *const *in, Slot *out)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = in[0][i].i ? in[1][i] : in[2][i];
}

static void eval_fma(DType t, int64_t n, const Slot *const *in, Slot *out)
{
    for (int64_t i = 0; i < n; i++) {
        double a = in[0][i].f, b = in[1][i].f, c = in[2][i].f;
        out[i].f = t == DTYPE_F64 ? fma(a, b, c) : (double)fmaf((float)a, (float)b, (float)c);
    }
    elem_round(t, n, out);
}

void elem_eval(ElemKind e, DType t, int64_t n, const Slot *const *in, Slot *out)
{
    if (e == ELEM_SELECT) {
        eval_select(n, in, out);
    } else if (e == ELEM_FMA) {
        eval_fma(t, n, in, out);
    } else {
        const DTypeFacts *facts = &dtype_facts[t];
        const Slot *const operands[2] = {in[0], elem_facts[e].arity > 1 ? in[1] : in[0]};
        bool is_bool = elem_facts[e].result == RESULT_BOOL;
        if (facts->is_float) {
            if (!rows[e].on_float) BUG("%s has no meaning on %s", elem_facts[e].name, facts->name);
            rows[e].on_float(n, operands, out);
            if (!is_bool) elem_round(t, n, out);
        } else {
            IntKind k = {facts->bits, facts->is_signed};
            if (!rows[e].on_int) BUG("%s has no meaning on %s", elem_facts[e].name, facts->name);
            rows[e].on_int(k, n, operands, out);
            for (int64_t i = 0; i < n && !is_bool; i++)
                out[i].i = extend(k.bits, k.is_signed, out[i].i);
        }
    }
}

// ---- casts --------------------------------------------------------------------------------------

/// `x` as a double whose last bit is sticky: rounding it to 24 bits or fewer rounds `x` once.
static double sticky_double(bool is_signed, int64_t x)
{
    bool negative = is_signed && x < 0;
    uint64_t m = negative ? 0 - (uint64_t)x : (uint64_t)x;
    double d = m < UINT64_C(1) << 53 ? (double)m : (double)(m >> 11 | ((m & 0x7FF) != 0)) * 0x1p11;
    return negative ? -d : d;
}

static double int_to_float(DType from, DType to, int64_t x)
{
    bool is_signed = dtype_facts[from].is_signed;
    if (to == DTYPE_F64) return is_signed ? (double)x : (double)(uint64_t)x;
    double d = sticky_double(is_signed, x);
    if (to == DTYPE_F8E4M3 || to == DTYPE_F8E5M2) d = (double)(float)d;
    return float_round(to, d);
}

static int64_t float_to_int(DType to, double x)
{
    const DTypeFacts *facts = &dtype_facts[to];
    if (to == DTYPE_I1) return x != 0; // NaN is not 0
    if (isnan(x)) return 0;
    double limit = ldexp(1.0, facts->bits - facts->is_signed); // first value too large
    if (facts->is_signed) {
        if (x >= limit) return (int64_t)(UINT64_MAX >> (65 - facts->bits));
        if (x <= -limit) return -(int64_t)(UINT64_MAX >> (65 - facts->bits)) - 1;
        return (int64_t)x;
    }
    if (x >= limit) return int_wrap(to, -1);
    return x <= 0 ? 0 : (int64_t)(uint64_t)x;
}

/// The value of type `t` next to `r` on the side of zero; r is not zero.
static double toward_zero(DType t, double r)
{
    uint64_t bits = 0;
    dtype_store_f64(t, &bits, r);
    bits -= 1; // sign and magnitude in every float format
    return dtype_load_f64(t, &bits);
}

static double float_to_float(DType to, RoundMode round, double x)
{
    double r = float_round(to, x);
    return round == ROUND_RTZ && !isinf(x) && fabs(r) > fabs(x) ? toward_zero(to, r) : r;
}

void cast_eval(DType from, DType to, RoundMode round, int64_t n, const Slot *in, Slot *out)
{
    bool from_float = dtype_is_float(from), to_float = dtype_is_float(to);
    if (from_float && to == DTYPE_F32 && round == ROUND_RNE) {
        for (int64_t i = 0; i < n; i++)
            out[i].f = (double)(float)in[i].f;
    } else if (from == DTYPE_F32 && to == DTYPE_BF16 && round == ROUND_RNE) {
        for (int64_t i = 0; i < n; i++)
            out[i].f = (double)round_bf16((float)in[i].f);
    } else if (from == DTYPE_F32 && to == DTYPE_F16 && round == ROUND_RNE) {
        for (int64_t i = 0; i < n; i++)
            out[i].f = (double)round_f16((float)in[i].f);
    } else if (from_float && to_float) {
        for (int64_t i = 0; i < n; i++)
            out[i].f = float_to_float(to, round, in[i].f);
    } else if (from_float) {
        for (int64_t i = 0; i < n; i++)
            out[i].i = float_to_int(to, in[i].f);
    } else if (to_float) {
        for (int64_t i = 0; i < n; i++)
            out[i].f = int_to_float(from, to, in[i].i);
    } else if (to == DTYPE_I1) {
        for (int64_t i = 0; i < n; i++)
            out[i].i = in[i].i != 0;
    } else {
        for (int64_t i = 0; i < n; i++)
            out[i].i = int_wrap(to, in[i].i);
    }
}

void bitcast_eval(DType from, DType to, int64_t n, const Slot *in, Slot *out)
{
    ASSERT(dtype_bits(from) == dtype_bits(to));
    for (int64_t i = 0; i < n; i++) {
        uint64_t bits = 0;
        slot_store(from, &bits, in[i]);
        out[i] = slot_load(to, &bits);
    }
}

// ---- memory and constants -----------------------------------------------------------------------

#define READ(T) (*(const T *)memcpy(&(T){0}, at, sizeof(T)))

Slot slot_load(DType t, const void *at)
{
    switch (t) {
    case DTYPE_I1:
        return (Slot){.i = READ(uint8_t) != 0};
    case DTYPE_I8:
        return (Slot){.i = READ(int8_t)};
    case DTYPE_I16:
        return (Slot){.i = READ(int16_t)};
    case DTYPE_I32:
        return (Slot){.i = READ(int32_t)};
    case DTYPE_I64:
        return (Slot){.i = READ(int64_t)};
    case DTYPE_U8:
        return (Slot){.i = READ(uint8_t)};
    case DTYPE_U16:
        return (Slot){.i = READ(uint16_t)};
    case DTYPE_U32:
        return (Slot){.i = READ(uint32_t)};
    case DTYPE_U64:
        return (Slot){.i = (int64_t)READ(uint64_t)};
    default:
        return (Slot){.f = dtype_load_f64(t, at)};
    }
}

void slot_store(DType t, void *at, Slot x)
{
    switch (t) {
    case DTYPE_I1:
        *(uint8_t *)at = x.i != 0;
        return;
    case DTYPE_F64:
        memcpy(at, &x.f, 8);
        return;
    case DTYPE_F32:
        memcpy(at, &(float){(float)x.f}, 4);
        return;
    case DTYPE_BF16:
        memcpy(at, &(uint16_t){bf16_from_f32((float)x.f)}, 2);
        return;
    case DTYPE_F8E5M2:
        dtype_store_f64(t, at,
                        x.f); // a cast, which saturates: but what is infinite already stays so
        if (isinf(x.f)) *(uint8_t *)at = (uint8_t)(*(uint8_t *)at + 1);
        return;
    case DTYPE_F16:
    case DTYPE_F8E4M3:
        dtype_store_f64(t, at, x.f);
        return;
    default:
        memcpy(at, &x.i, (size_t)dtype_bytes(t));
        return; // little-endian, like every host we have
    }
}

Slot slot_from_attr(const Type *t, const Attr *attr)
{
    return !t->is_ptr && dtype_is_float(t->dtype) ? (Slot){.f = attr->f} : (Slot){.i = attr->i};
}

Attr slot_to_attr(const Type *t, Slot x)
{
    return !t->is_ptr && dtype_is_float(t->dtype) ? (Attr){.f = x.f} : (Attr){.i = x.i};
}

bool slot_same(DType t, Slot a, Slot b)
{
    if (dtype_is_float(t) && isnan(a.f)) return isnan(b.f);
    return a.i == b.i;
}
