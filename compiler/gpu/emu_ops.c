// compiler/gpu/emu_ops.c - what kiln.<name> does in the emulator, a function per row of
// emu_ops.def.
#include <math.h>

#include "compiler/gpu/emu.h"

static float f32_of(uint64_t x)
{
    return f32_from_bits((uint32_t)x);
}

static uint64_t of_f32(float x)
{
    return f32_bits(x);
}

#define VALUE(NAME, EXPR)                                                                          \
    static void op_##NAME(EmuThread *t, int32_t imm, const uint64_t *a, uint64_t *r)               \
    {                                                                                              \
        (void)t, (void)imm, (void)a;                                                               \
        r[0] = (uint64_t)(EXPR);                                                                   \
    }
VALUE(TID, t->id)
VALUE(CTAID_X, t->block->program[0])
VALUE(CTAID_Y, t->block->program[1])
VALUE(CTAID_Z, t->block->program[2])
VALUE(NCTAID_X, t->block->grid[0])
VALUE(NCTAID_Y, t->block->grid[1])
VALUE(NCTAID_Z, t->block->grid[2])
VALUE(SMEM, (uintptr_t)t->block->shared)
VALUE(EX2, of_f32(exp2f(f32_of(a[0]))))
VALUE(LG2, of_f32(log2f(f32_of(a[0]))))
VALUE(RSQRT, of_f32((float)(1.0 / sqrt((double)f32_of(a[0])))))
VALUE(SQRT, of_f32(sqrtf(f32_of(a[0]))))
VALUE(DIV, of_f32(f32_of(a[0]) / f32_of(a[1])))
VALUE(BF16, bf16_from_f32(f32_of(a[0])))
VALUE(BF16X2, (uint32_t)bf16_from_f32(f32_of(a[0])) << 16 | bf16_from_f32(f32_of(a[1])))
VALUE(F16X2, (uint32_t)f16_from_f32(f32_of(a[0])) << 16 | f16_from_f32(f32_of(a[1])))
VALUE(F16_RTZ, f16_from_f32_rtz(f32_of(a[0])))

static void op_SQRT_D(EmuThread *t, int32_t imm, const uint64_t *a, uint64_t *r)
{
    double x;
    (void)t, (void)imm;
    memcpy(&x, a, sizeof x);
    x = sqrt(x);
    memcpy(r, &x, sizeof x);
}

static void op_TRAP(EmuThread *t, int32_t imm, const uint64_t *a, uint64_t *r)
{
    (void)imm, (void)r;
    t->place = (int64_t)a[1];
    emu_fault(t, "E1102", "device assertion failed");
}

// ---- collectives ------------------------------------------------------------------------------

static void op_BARRIER(EmuThread *t, int32_t imm, const uint64_t *a, uint64_t *r)
{
    emu_collect(t, NULL, imm, a, r, (int64_t)a[0]);
}

/// args: mask, value, lane or lane mask, clamp, place. imm: 1: the lane is xored
static void serve_shuffle(EmuThread *lanes, int32_t imm)
{
    lanes->block->counters->shuffles++;
    for (uint32_t i = 0; i < EMU_LANES; i++) {
        uint32_t from = (uint32_t)lanes[i].args[2] & 31;
        lanes[i].ret[0] = (uint32_t)lanes[imm ? from ^ i : from].args[1];
    }
}

static void op_SHFL_BFLY(EmuThread *t, int32_t imm, const uint64_t *a, uint64_t *r)
{
    (void)imm;
    emu_collect(t, serve_shuffle, 1, a, r, (int64_t)a[4]);
}

static void op_SHFL_IDX(EmuThread *t, int32_t imm, const uint64_t *a, uint64_t *r)
{
    (void)imm;
    emu_collect(t, serve_shuffle, 0, a, r, (int64_t)a[4]);
}

// ---- global memory ----------------------------------------------------------------------------

static void op_CHECK_READ(EmuThread *t, int32_t imm, const uint64_t *a, uint64_t *r)
{
    (void)r;
    t->place = (int64_t)a[1];
    emu_touch_global(t, a[0], imm, EMU_READS);
}

static void op_CHECK_WRITE(EmuThread *t, int32_t imm, const uint64_t *a, uint64_t *r)
{
    (void)r;
    t->place = (int64_t)a[1];
    emu_touch_global(t, a[0], imm, EMU_WRITES);
}

/// args: predicate, words to keep, address, place
static void op_LOAD(EmuThread *t, int32_t imm, const uint64_t *a, uint64_t *r)
{
    int32_t bytes = imm & 0xff, n = imm >> 8 & 0xff;
    bool is_volatile = imm >> 16;
    t->place = (int64_t)a[n + 2];
    for (int32_t i = 0; i < n; i++)
        r[i] = a[1 + i];
    if (!(a[0] & 1)) {
        emu_count_none(t, COUNT_LOADS, n * bytes);
        return;
    }
    if (is_volatile) emu_breathe(t);
    if (!emu_touch_global(t, a[n + 1], n * bytes, is_volatile ? EMU_POLLS : EMU_READS)) return;
    for (int32_t i = 0; i < n; i++) {
        r[i] = 0;
        memcpy(&r[i], (const char *)(uintptr_t)a[n + 1] + (size_t)i * (size_t)bytes, (size_t)bytes);
    }
}

/// args: predicate, address, words, place
static void op_STORE(EmuThread *t, int32_t imm, const uint64_t *a, uint64_t *r)
{
    int32_t bytes = imm & 0xff, n = imm >> 8;
    (void)r;
    t->place = (int64_t)a[n + 2];
    if (!(a[0] & 1)) {
        emu_count_none(t, COUNT_STORES, n * bytes);
        return;
    }
    if (!emu_touch_global(t, a[1], n * bytes, EMU_WRITES)) return;
    for (int32_t i = 0; i < n; i++)
        memcpy((char *)(uintptr_t)a[1] + (size_t)i * (size_t)bytes, &a[2 + i], (size_t)bytes);
}

/// The new word of a read-modify-write. kind: RmwKind | 16 signed | 32 float | 64 bf16
static uint64_t modified(int32_t kind, int32_t bits, uint64_t old, uint64_t x)
{
    bool is_signed = kind & 16;
    int32_t shift = 64 - bits;
    int64_t so = (int64_t)(old << shift) >> shift, sx = (int64_t)(x << shift) >> shift;
    switch (kind & 15) {
    case RMW_ADD:
        if (kind & 64) return bf16_from_f32(bf16_to_f32((uint16_t)old) + bf16_to_f32((uint16_t)x));
        if (!(kind & 32)) return old + x;
        if (bits == 16) return f16_from_f32(f16_to_f32((uint16_t)old) + f16_to_f32((uint16_t)x));
        if (bits == 32) return of_f32(f32_of(old) + f32_of(x));
        double a, b;
        memcpy(&a, &old, 8), memcpy(&b, &x, 8);
        a += b;
        memcpy(&old, &a, 8);
        return old;
    case RMW_MIN:
        return is_signed ? (sx < so ? x : old) : x < old ? x : old;
    case RMW_MAX:
        return is_signed ? (sx > so ? x : old) : x > old ? x : old;
    case RMW_AND:
        return old & x;
    case RMW_OR:
        return old | x;
    case RMW_XOR:
        return old ^ x;
    default:
        return x;
    }
}

/// args: predicate, address, value, place. Host threads may run blocks at once, so the swap is a
/// real one.
static void op_ATOMIC(EmuThread *t, int32_t imm, const uint64_t *a, uint64_t *r)
{
    int32_t kind = imm & 0xff, bits = imm >> 8 & 0xff;
    t->place = (int64_t)a[3];
    r[0] = 0;
    if (!(a[0] & 1) || !emu_touch_atomic(t, a[1], bits / 8, imm >> 16)) return;
    void *at = (void *)(uintptr_t)a[1];
    if (bits == 16) {
        uint16_t old = __atomic_load_n((uint16_t *)at, __ATOMIC_RELAXED);
        while (!__atomic_compare_exchange_n((uint16_t *)at, &old,
                                            (uint16_t)modified(kind, bits, old, a[2]), false,
                                            __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
        }
        r[0] = old;
    } else if (bits == 32) {
        uint32_t old = __atomic_load_n((uint32_t *)at, __ATOMIC_RELAXED);
        while (!__atomic_compare_exchange_n((uint32_t *)at, &old,
                                            (uint32_t)modified(kind, bits, old, a[2]), false,
                                            __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
        }
        r[0] = old;
    } else {
        uint64_t old = __atomic_load_n((uint64_t *)at, __ATOMIC_RELAXED);
        while (!__atomic_compare_exchange_n((uint64_t *)at, &old, modified(kind, bits, old, a[2]),
                                            false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
        }
        r[0] = old;
    }
}

/// args: predicate, address, expected, value, place
static void op_ATOMIC_CAS(EmuThread *t, int32_t imm, const uint64_t *a, uint64_t *r)
{
    int32_t bits = imm & 0xff;
    t->place = (int64_t)a[4];
    r[0] = 0;
    if (!(a[0] & 1) || !emu_touch_atomic(t, a[1], bits / 8, imm >> 16)) return;
    void *at = (void *)(uintptr_t)a[1];
    if (bits == 16) {
        uint16_t e = (uint16_t)a[2];
        __atomic_compare_exchange_n((uint16_t *)at, &e, (uint16_t)a[3], false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST);
        r[0] = e;
    } else if (bits == 32) {
        uint32_t e = (uint32_t)a[2];
        __atomic_compare_exchange_n((uint32_t *)at, &e, (uint32_t)a[3], false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST);
        r[0] = e;
    } else {
        uint64_t e = a[2];
        __atomic_compare_exchange_n((uint64_t *)at, &e, a[3], false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST);
        r[0] = e;
    }
}

// ---- shared memory ----------------------------------------------------------------------------

/// args: address, place. imm: bytes | EmuTouch << 8
static void op_SHARED(EmuThread *t, int32_t imm, const uint64_t *a, uint64_t *r)
{
    (void)r;
    t->place = (int64_t)a[1];
    emu_touch_shared(t, a[0], imm & 0xff, (EmuTouch)(imm >> 8));
}

#define op_CP_ASYNC  emu_copy_issue
#define op_CP_COMMIT emu_copy_commit
#define op_CP_WAIT   emu_copy_wait
#define op_TF32      emu_tf32
#define op_LDMATRIX  emu_ldmatrix
#define op_MMA       emu_mma
const EmuHandler emu_handlers[EMU_OP_COUNT] = {
#define EMU(NAME) [EMU_##NAME] = op_##NAME,
#include "compiler/gpu/emu_ops.def"
#undef EMU
};
