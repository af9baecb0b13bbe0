// base/num.h - element types, and f16 bf16 fp8 conversions with every rounding spelled out.
#ifndef BASE_NUM_H
#define BASE_NUM_H
#include "base/base.h"

/// Element types. Signedness lives in the type; I1 is unsigned, one byte in memory.
typedef enum DType {
    DTYPE_VOID,
    DTYPE_I1,
    DTYPE_I8,
    DTYPE_I16,
    DTYPE_I32,
    DTYPE_I64,
    DTYPE_U8,
    DTYPE_U16,
    DTYPE_U32,
    DTYPE_U64,
    DTYPE_F8E4M3, ///< OCP: bias 7, no infinity, NaN 0x7F, max 448
    DTYPE_F8E5M2, ///< OCP: bias 15, inf and NaN, max 57344
    DTYPE_F16,
    DTYPE_BF16,
    DTYPE_F32,
    DTYPE_F64,
    DTYPE_COUNT,
} DType;

typedef struct DTypeFacts {
    const char *name; ///< IR and card name: "i1 i8 u8 bf16 f16 f32 f64 f8e4m3 f8e5m2"
    const char *user; ///< in diagnostics: "int1 int8 uint8 bfloat16 float16 ..."
    const char *tl;   ///< `dtype.name` in the language: "int1 uint8 bf16 fp16 fp32 fp8e4nv ..."
    int8_t bits;      ///< of the value (i1: 1)
    int8_t bytes;     ///< in memory
    bool is_float, is_int, is_signed; ///< i1 is an unsigned int
} DTypeFacts;

extern const DTypeFacts dtype_facts[DTYPE_COUNT];

static inline int32_t dtype_bytes(DType t)
{
    return dtype_facts[t].bytes;
}
static inline int32_t dtype_bits(DType t)
{
    return dtype_facts[t].bits;
}
static inline bool dtype_is_float(DType t)
{
    return dtype_facts[t].is_float;
}
static inline bool dtype_is_int(DType t)
{
    return dtype_facts[t].is_int;
}
static inline bool dtype_is_signed(DType t)
{
    return dtype_facts[t].is_signed;
}
/// By any of the three names, also "fp16" "fp32" "int32" "float8e4nv" forms; DTYPE_VOID if none.
DType dtype_from_name(const char *name, size_t len);

// Round to nearest even; NaN stays NaN (quiet); subnormals kept.
uint16_t f16_from_f32(float x);  ///< overflow gives infinity
uint16_t f16_from_f64(double x); ///< one rounding
float f16_to_f32(uint16_t x);
uint16_t bf16_from_f32(float x);
uint16_t bf16_from_f64(double x); ///< one rounding
float bf16_to_f32(uint16_t x);
uint8_t f8e4m3_from_f32(float x); ///< saturates to +-448
float f8e4m3_to_f32(uint8_t x);
uint8_t f8e5m2_from_f32(float x); ///< saturates to +-57344 (infinity too)
float f8e5m2_to_f32(uint8_t x);
// Toward zero; overflow gives the largest finite value.
uint16_t f16_from_f32_rtz(float x);
uint16_t bf16_from_f32_rtz(float x);

/// Distance in representable values between a and b of type f32 / f16 / bf16 bit patterns.
int64_t ulps_f32(float a, float b);

static inline uint32_t f32_bits(float x)
{
    uint32_t u;
    memcpy(&u, &x, 4);
    return u;
}
static inline float f32_from_bits(uint32_t u)
{
    float x;
    memcpy(&x, &u, 4);
    return x;
}

/// Reads / writes one element of memory of type `t` as f64 (ints exactly up to 2^53).
double dtype_load_f64(DType t, const void *at);
void dtype_store_f64(DType t, void *at, double x);
#endif
