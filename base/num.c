#include "base/num.h"

#include <math.h>
#include <stdlib.h>

const DTypeFacts dtype_facts[DTYPE_COUNT] = {
    // clang-format off
    [DTYPE_VOID]   = {"void",   "void",       "void",    0,  0, false, false, false},
    [DTYPE_I1]     = {"i1",     "int1",       "int1",    1,  1, false, true,  false},
    [DTYPE_I8]     = {"i8",     "int8",       "int8",    8,  1, false, true,  true},
    [DTYPE_I16]    = {"i16",    "int16",      "int16",  16,  2, false, true,  true},
    [DTYPE_I32]    = {"i32",    "int32",      "int32",  32,  4, false, true,  true},
    [DTYPE_I64]    = {"i64",    "int64",      "int64",  64,  8, false, true,  true},
    [DTYPE_U8]     = {"u8",     "uint8",      "uint8",   8,  1, false, true,  false},
    [DTYPE_U16]    = {"u16",    "uint16",     "uint16", 16,  2, false, true,  false},
    [DTYPE_U32]    = {"u32",    "uint32",     "uint32", 32,  4, false, true,  false},
    [DTYPE_U64]    = {"u64",    "uint64",     "uint64", 64,  8, false, true,  false},
    [DTYPE_F8E4M3] = {"f8e4m3", "float8e4nv", "fp8e4nv", 8,  1, true,  false, true},
    [DTYPE_F8E5M2] = {"f8e5m2", "float8e5",   "fp8e5",   8,  1, true,  false, true},
    [DTYPE_F16]    = {"f16",    "float16",    "fp16",   16,  2, true,  false, true},
    [DTYPE_BF16]   = {"bf16",   "bfloat16",   "bf16",   16,  2, true,  false, true},
    [DTYPE_F32]    = {"f32",    "float32",    "fp32",   32,  4, true,  false, true},
    [DTYPE_F64]    = {"f64",    "float64",    "fp64",   64,  8, true,  false, true},
    // clang-format on
};

DType dtype_from_name(const char *name, size_t len)
{
    for (int32_t t = 1; t < DTYPE_COUNT; t++) {
        const DTypeFacts *f = &dtype_facts[t];
        const char *known[] = {f->name, f->user, f->tl};
        for (int32_t i = 0; i < 3; i++)
            if (strlen(known[i]) == len && memcmp(known[i], name, len) == 0) return (DType)t;
    }
    return DTYPE_VOID;
}

// One encoder serves every small float. `x` is exact in double, so there is one rounding.
typedef struct SmallFloat {
    int32_t exp_bits, man_bits, bias;
    uint32_t overflow_rne; ///< magnitude bits when rounding passes the largest finite value
    uint32_t max_finite;
    uint32_t nan;
} SmallFloat;

static const SmallFloat f16_format = {5, 10, 15, 0x7C00, 0x7BFF, 0x7E00};
static const SmallFloat bf16_format = {8, 7, 127, 0x7F80, 0x7F7F, 0x7FC0};
static const SmallFloat e4m3_format = {4, 3, 7, 0x7E, 0x7E, 0x7F};
static const SmallFloat e5m2_format = {5, 2, 15, 0x7B, 0x7B, 0x7F};

static uint32_t encode(const SmallFloat *f, double x, bool toward_zero)
{
    uint32_t sign = signbit(x) ? 1u << (f->exp_bits + f->man_bits) : 0;
    if (isnan(x)) return sign | f->nan;
    if (isinf(x)) return sign | f->overflow_rne;
    double m = fabs(x);
    if (m == 0) return sign;
    int exponent;
    frexp(m, &exponent);
    exponent -= 1; // m = 1.f * 2^exponent
    int32_t lowest = 1 - f->bias;
    int32_t quantum = MAX(exponent, lowest) - f->man_bits; // of the last place
    double scaled = ldexp(m, -quantum);                    // exact; below 2^(man_bits + 1)
    double units = toward_zero ? trunc(scaled) : nearbyint(scaled);
    // A carry out of the mantissa moves into the exponent by itself.
    uint32_t bits = exponent < lowest ? (uint32_t)units
                                      : ((uint32_t)(exponent + f->bias) << f->man_bits) +
                                            (uint32_t)units - (1u << f->man_bits);
    if (exponent + f->bias >= 1 << f->exp_bits || bits > f->max_finite)
        bits = toward_zero ? f->max_finite : f->overflow_rne;
    return sign | bits;
}

static float decode(const SmallFloat *f, uint32_t bits, bool has_inf)
{
    uint32_t exp_mask = (1u << f->exp_bits) - 1;
    uint32_t exponent = bits >> f->man_bits & exp_mask;
    uint32_t mantissa = bits & ((1u << f->man_bits) - 1);
    double sign = bits >> (f->exp_bits + f->man_bits) & 1 ? -1.0 : 1.0;
    if (has_inf && exponent == exp_mask) return mantissa ? NAN : (float)(sign * INFINITY);
    if (!has_inf && (bits & 0x7F) == 0x7F) return NAN;
    double m = exponent ? 1.0 + ldexp((double)mantissa, -f->man_bits)
                        : ldexp((double)mantissa, -f->man_bits);
    return (float)(sign * ldexp(m, (int)(exponent ? exponent : 1) - f->bias));
}

uint16_t f16_from_f64(double x)
{
    return (uint16_t)encode(&f16_format, x, false);
}

uint16_t f16_from_f32(float x)
{
    return (uint16_t)encode(&f16_format, (double)x, false);
}

uint16_t f16_from_f32_rtz(float x)
{
    return (uint16_t)encode(&f16_format, (double)x, true);
}

float f16_to_f32(uint16_t x)
{
    uint32_t sign = (uint32_t)(x & 0x8000) << 16, rest = x & 0x7FFFu;
    if (rest >= 0x7C00) return f32_from_bits(sign | 0x7F800000u | (rest & 0x3FFu) << 13);
    if (rest >= 0x0400) return f32_from_bits(sign | ((rest << 13) + ((127u - 15u) << 23)));
    float magnitude = (float)rest * 0x1p-24f;
    return sign ? -magnitude : magnitude;
}

uint16_t bf16_from_f64(double x)
{
    return (uint16_t)encode(&bf16_format, x, false);
}

uint16_t bf16_from_f32(float x)
{
    uint32_t u = f32_bits(x);
    if ((u & 0x7FFFFFFFu) > 0x7F800000u) return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7FFFu + (u >> 16 & 1)) >> 16);
}

uint16_t bf16_from_f32_rtz(float x)
{
    return (uint16_t)encode(&bf16_format, (double)x, true);
}

float bf16_to_f32(uint16_t x)
{
    return f32_from_bits((uint32_t)x << 16);
}

uint8_t f8e4m3_from_f32(float x)
{
    return (uint8_t)encode(&e4m3_format, (double)x, false);
}

float f8e4m3_to_f32(uint8_t x)
{
    return decode(&e4m3_format, x, false);
}

uint8_t f8e5m2_from_f32(float x)
{
    return (uint8_t)encode(&e5m2_format, (double)x, false);
}

float f8e5m2_to_f32(uint8_t x)
{
    return decode(&e5m2_format, x, true);
}

static int64_t ordered(float x)
{
    int32_t i = (int32_t)f32_bits(x);
    return i < 0 ? (int64_t)INT32_MIN - i : i;
}

int64_t ulps_f32(float a, float b)
{
    if (isnan(a) || isnan(b)) return isnan(a) && isnan(b) ? 0 : INT64_MAX;
    return llabs(ordered(a) - ordered(b));
}

#define READ(T) (*(const T *)memcpy(&(T){0}, at, sizeof(T)))

double dtype_load_f64(DType t, const void *at)
{
    switch (t) {
    case DTYPE_I1:
        return *(const uint8_t *)at != 0;
    case DTYPE_I8:
        return READ(int8_t);
    case DTYPE_I16:
        return READ(int16_t);
    case DTYPE_I32:
        return READ(int32_t);
    case DTYPE_I64:
        return (double)READ(int64_t);
    case DTYPE_U8:
        return READ(uint8_t);
    case DTYPE_U16:
        return READ(uint16_t);
    case DTYPE_U32:
        return READ(uint32_t);
    case DTYPE_U64:
        return (double)READ(uint64_t);
    case DTYPE_F8E4M3:
        return (double)f8e4m3_to_f32(READ(uint8_t));
    case DTYPE_F8E5M2:
        return (double)f8e5m2_to_f32(READ(uint8_t));
    case DTYPE_F16:
        return (double)f16_to_f32(READ(uint16_t));
    case DTYPE_BF16:
        return (double)bf16_to_f32(READ(uint16_t));
    case DTYPE_F32:
        return (double)READ(float);
    case DTYPE_F64:
        return READ(double);
    default:
        BUG("no element of type %d", t);
    }
}

#define WRITE(T, v) memcpy(at, &(T){(T)(v)}, sizeof(T))

void dtype_store_f64(DType t, void *at, double x)
{
    switch (t) {
    case DTYPE_I1:
        WRITE(uint8_t, x != 0);
        return;
    case DTYPE_I8:
        WRITE(int8_t, x);
        return;
    case DTYPE_I16:
        WRITE(int16_t, x);
        return;
    case DTYPE_I32:
        WRITE(int32_t, x);
        return;
    case DTYPE_I64:
        WRITE(int64_t, x);
        return;
    case DTYPE_U8:
        WRITE(uint8_t, x);
        return;
    case DTYPE_U16:
        WRITE(uint16_t, x);
        return;
    case DTYPE_U32:
        WRITE(uint32_t, x);
        return;
    case DTYPE_U64:
        WRITE(uint64_t, x);
        return;
    case DTYPE_F8E4M3:
        WRITE(uint8_t, encode(&e4m3_format, x, false));
        return;
    case DTYPE_F8E5M2:
        WRITE(uint8_t, encode(&e5m2_format, x, false));
        return;
    case DTYPE_F16:
        WRITE(uint16_t, f16_from_f64(x));
        return;
    case DTYPE_BF16:
        WRITE(uint16_t, bf16_from_f64(x));
        return;
    case DTYPE_F32:
        WRITE(float, x);
        return;
    case DTYPE_F64:
        WRITE(double, x);
        return;
    default:
        BUG("no element of type %d", t);
    }
}
