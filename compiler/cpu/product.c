// compiler/cpu/product.c - the inner step of a dot: acc[n] += sum over a group of k of a[k] b[k, n], by level and types.
//
//   kind       group  operands           instructions per vector of b               where
//   FMA        1      f32, f64           vfmadd                                     all levels
//   MUL        1      i32                vpmulld, vpaddd                            all levels
//   I16        2      i16                vpmaddwd, vpaddd                           8-bit ints otherwise
//   BF16       2      bf16               vdpbf16ps                                  avx512
//   VNNI       4      u8 x i8            vpdpbusd                                   avx512
//   LOW        4      0 .. 127 x i8      vpmaddubsw, vpaddw; vpmaddwd, vpaddd       avx2; sums fit i16, see below
//   WIDE       4      any 8-bit          2 (vpmaddwd, vpaddd) on even and odd bytes avx2; a is split once, by dot.c
//
//   MULL       4      any 8-bit          2 smull, 2 saddlp, addp, add (low: addp, sadalp)   neon
//   SDOT       4      any 8-bit          sdot, udot                                 neon-dot
//              2 x 4  any 8-bit          smmla, ummla: two rows, two vectors of b    neon-i8mm
//              2 x 2  bf16               bfmmla, likewise                           neon-i8mm
//              2      i16, bf16          smull, smull2, addp, add; bfdot            neon; neon-i8mm
//
//   lanes      b: k0 k1 n0 n1 ...        a: one group, in every lane
//
// The lower the unsigned side of LOW, the more steps are summed in i16 before they are widened: 8 of nibbles, whose
// products of pairs are at most 15 * 2 * 128, 4 below 32, 2 below 64 and 1 below 128.
//
// vpdpbusd wants one unsigned operand. Where neither is known to be without sign, a + 128 takes its place and
// 128 times the sum of b, which all rows share, is taken off at the end.
#include <stdio.h>

#include "compiler/cpu/cpu.h"

typedef LLVMValueRef V;

// ---- choosing ---------------------------------------------------------------------------------------------

/// Bounds beyond which nothing is gained by knowing them.
enum { BOUND_MOST = 127, BOUND_STEPS = 24 };

static bool const_of(const Value *v, int64_t *k)
{
    while (v->def && (v->def->kind == OP_SPLAT || v->def->kind == OP_BROADCAST ||
                      v->def->kind == OP_EXPAND_DIMS || v->def->kind == OP_RESHAPE))
        v = v->def->in[0];
    return value_const_int(v, k);
}

static int32_t bound_of(const Value *v, int32_t *steps);

/// All bits up to the highest that an element of either may have: of `x | y` and `x ^ y`.
static int32_t all_bits(int32_t x, int32_t y)
{
    return x < 0 || y < 0 ? -1 : (2 << log2_floor((uint64_t)MAX(MAX(x, y), 1))) - 1;
}

static int32_t bound_of_elem(const Op *op, int32_t *steps)
{
    int64_t k;
    int32_t x = bound_of(op->in[op->elem == ELEM_SELECT], steps),
            y = op->n_in > 1 ? bound_of(op->in[op->n_in - 1], steps) : -1;
    switch (op->elem) {
    case ELEM_AND:
        return x < 0 || y < 0 ? MAX(x, y) : MIN(x, y);
    case ELEM_OR:
    case ELEM_XOR:
        return all_bits(x, y);
    case ELEM_ADD:
        return x < 0 || y < 0 ? -1 : x + y;
    case ELEM_SELECT:
        return x < 0 || y < 0 ? -1 : MAX(x, y);
    case ELEM_SHL:
        return x >= 0 && const_of(op->in[1], &k) && k >= 0 && k < 8 ? x << k : -1;
    case ELEM_SHR:
        if (!const_of(op->in[1], &k) || k < 0 || k > 7) return -1;
        if (x < 0 && op->in[0]->type->dtype == DTYPE_U8) x = 255;
        return x < 0 ? -1 : x >> k;
    default:
        return -1;
    }
}

/// The largest that an element of this int tile can be, when none is negative; -1: more than 127, or unknown.
static int32_t bound_of(const Value *v, int32_t *steps)
{
    const Op *op = v->def;
    int64_t k;
    int32_t bound = -1;
    if (!op || --*steps < 0) return -1;
    switch (op->kind) {
    case OP_RESHAPE:
    case OP_TRANS:
    case OP_BROADCAST:
    case OP_EXPAND_DIMS:
    case OP_SPLAT:
        return bound_of(op->in[0], steps);
    case OP_CAST: // 0 .. 127 is the same in every type of ints
    case OP_BITCAST:
        if (op->in[0]->type->is_ptr || !dtype_is_int(op->in[0]->type->dtype) ||
            dtype_bits(op->in[0]->type->dtype) < 8 || !dtype_is_int(v->type->dtype) ||
            dtype_bits(v->type->dtype) < 8)
            return -1;
        if (op->kind == OP_BITCAST &&
            dtype_bits(op->in[0]->type->dtype) != dtype_bits(v->type->dtype))
            return -1;
        return bound_of(op->in[0], steps);
    case OP_CONST:
        return value_const_int(v, &k) && k >= 0 && k <= BOUND_MOST ? (int32_t)k : -1;
    case OP_ELEM:
        bound = bound_of_elem(op, steps);
        return bound <= BOUND_MOST ? bound : -1;
    default:
        return -1;
    }
}

int32_t product_bound(const Value *v)
{
    int32_t steps = BOUND_STEPS;
    return bound_of(v, &steps);
}

static bool choose_quads(const Cx *cx, Product *p, DType t, int32_t a_bound, int32_t b_bound)
{
    bool has_sign = t == DTYPE_I8, a_low = a_bound >= 0, b_low = b_bound >= 0;
    p->group_bits = 2;
    p->operand = t;
    p->is_signed = has_sign;
    if (cx->isa->facts & ISA_ARM) {
        p->kind = cx->isa->facts & ISA_DOT ? PRODUCT_SDOT : PRODUCT_MULL;
        p->is_low = a_low || b_low;
        return true;
    }
    if (cx->isa->facts & ISA_VNNI) {
        p->kind = PRODUCT_VNNI;
        p->a_is_unsigned = !b_low || !(has_sign || a_low);
        p->flips_a = has_sign && !a_low && !b_low;
        return has_sign || a_low || b_low; // u8 by u8 has no signed side
    }
    bool low = (b_low && (has_sign || a_low)) || (a_low && has_sign);
    p->kind = low ? PRODUCT_LOW : PRODUCT_WIDE;
    p->a_is_unsigned = low && !b_low;
    p->bound = p->a_is_unsigned ? a_bound : b_bound;
    return true;
}

Product product_choose(const Cx *cx, DType sum, DType a, DType b, int32_t k_bits, int32_t a_bound,
                       int32_t b_bound)
{
    Product p = {
        .kind = dtype_is_float(sum) ? PRODUCT_FMA : PRODUCT_MUL, .sum = sum, .operand = sum};
    bool bytes = dtype_is_int(a) && dtype_bits(a) == 8 && a == b;
    if (bytes && k_bits >= 2 && (cx->isa->vector_bytes >= 32 || cx->isa->facts & ISA_ARM)) {
        Product quads = p;
        if (choose_quads(cx, &quads, a, a_bound, b_bound)) return quads;
    }
    if (bytes && k_bits >= 1) {
        p.kind = PRODUCT_I16;
        p.operand = DTYPE_I16;
        p.group_bits = 1;
    } else if (a == DTYPE_BF16 && b == DTYPE_BF16 && k_bits >= 1 && (cx->isa->facts & ISA_BF16)) {
        p.kind = PRODUCT_BF16;
        p.operand = DTYPE_BF16;
        p.group_bits = 1;
    }
    return p;
}

// ---- emitting ---------------------------------------------------------------------------------------------

static V as(Cx *cx, V v, LLVMTypeRef elem)
{
    uint32_t bits =
        (uint32_t)lanes_of(LLVMTypeOf(v)) * LLVMGetIntTypeWidth(scalar_of(LLVMTypeOf(v)));
    uint32_t width = LLVMGetTypeKind(elem) == LLVMIntegerTypeKind ? LLVMGetIntTypeWidth(elem) : 16;
    return LLVMBuildBitCast(cx->b, v, LLVMVectorType(elem, bits / width), "");
}

static V call2(Cx *cx, const char *name, V a, V b)
{
    V in[] = {a, b};
    return call_intrinsic(cx, name, NULL, 2, in);
}

/// Even and odd bytes as i16, extended.
static void halves(Cx *cx, bool is_signed, V v, V out[2])
{
    V x = as(cx, v, cx->i16), eight = const_int(LLVMTypeOf(x), 8);
    if (is_signed) {
        out[0] = LLVMBuildAShr(cx->b, LLVMBuildShl(cx->b, x, eight, ""), eight, "");
        out[1] = LLVMBuildAShr(cx->b, x, eight, "");
    } else {
        out[0] = LLVMBuildAnd(cx->b, x, const_int(LLVMTypeOf(x), 255), "");
        out[1] = LLVMBuildLShr(cx->b, x, eight, "");
    }
}

Factor product_factor(Cx *cx, const Product *p, V v, bool is_a)
{
    Factor f = {{v, NULL}};
    if (p->kind == PRODUCT_WIDE && !is_a) halves(cx, p->is_signed, v, f.v);
    if (p->kind == PRODUCT_VNNI && is_a && p->flips_a) {
        V bytes = as(cx, v, cx->i8);
        f.v[0] = LLVMBuildXor(cx->b, bytes, const_int(LLVMTypeOf(bytes), -128), "");
    }
    return f;
}

/// llvm.aarch64.neon.`name`, overloaded by the result's type and by that of `of` (NULL: by the result's alone).
static V arm(Cx *cx, const char *name, LLVMTypeRef result, LLVMTypeRef of, int32_t n, V *in)
{
    char full[48];
    LLVMTypeRef overload[] = {result, of}, type;
    snprintf(full, sizeof full, "llvm.aarch64.neon.%s", name);
    V f = llvm_intrinsic(&cx->ll, full, of ? 2 : 1, overload, &type);
    return LLVMBuildCall2(cx->b, type, f, in, (unsigned)n, "");
}

/// Products of the lower and of the upper half of the lanes, twice as wide.
static void arm_products(Cx *cx, bool is_signed, V a, V b, LLVMTypeRef wide, V out[2])
{
    int32_t order[16], n = lanes_of(LLVMTypeOf(a)) / 2;
    LLVMTypeRef t = LLVMVectorType(wide, (unsigned)n);
    for (int32_t h = 0; h < 2; h++) {
        for (int32_t l = 0; l < n; l++)
            order[l] = h * n + l;
        V in[] = {shuffle(cx, a, NULL, n, order), shuffle(cx, b, NULL, n, order)};
        out[h] = arm(cx, is_signed ? "smull" : "umull", t, NULL, 2, in);
    }
}

/// Sums of neighbours, twice as wide.
static V arm_widened(Cx *cx, bool is_signed, V x)
{
    LLVMTypeRef t = LLVMVectorType(cx->i32, (unsigned)lanes_of(LLVMTypeOf(x)) / 2);
    return arm(cx, is_signed ? "saddlp" : "uaddlp", t, LLVMTypeOf(x), 1, &x);
}

/// Sums of products of quads, without an instruction for it.
static V arm_quads(Cx *cx, const Product *p, V a, V b)
{
    V half[2];
    arm_products(cx, p->is_signed, as(cx, a, cx->i8), as(cx, b, cx->i8), cx->i16, half);
    if (p->is_low)
        return arm_widened(cx, p->is_signed, arm(cx, "addp", LLVMTypeOf(half[0]), NULL, 2, half));
    for (int32_t h = 0; h < 2; h++)
        half[h] = arm_widened(cx, p->is_signed, half[h]);
    return arm(cx, "addp", LLVMTypeOf(half[0]), NULL, 2, half);
}

/// Sums of products of i16 pairs.
static V pairs(Cx *cx, V a, V b)
{
    b = as(cx, b, cx->i16);
    if (cx->isa->facts & ISA_ARM) {
        V half[2];
        arm_products(cx, true, as(cx, a, cx->i16), b, cx->i32, half);
        return arm(cx, "addp", LLVMTypeOf(half[0]), NULL, 2, half);
    }
    int32_t bytes = 2 * lanes_of(LLVMTypeOf(b));
    return call2(cx,
                 bytes == 64   ? "llvm.x86.avx512.pmaddw.d.512"
                 : bytes == 32 ? "llvm.x86.avx2.pmadd.wd"
                               : "llvm.x86.sse2.pmadd.wd",
                 as(cx, a, cx->i16), b);
}

/// Quads with an unsigned and a signed side: sums of pairs, in i16.
static V low_pairs(Cx *cx, V without_sign, V with_sign)
{
    V s = as(cx, with_sign, cx->i8);
    bool is_wide = lanes_of(LLVMTypeOf(s)) == 32;
    return call2(cx, is_wide ? "llvm.x86.avx2.pmadd.ub.sw" : "llvm.x86.ssse3.pmadd.ub.sw.128",
                 as(cx, without_sign, cx->i8), s);
}

static V vnni(Cx *cx, V sum, V without_sign, V with_sign)
{
    int32_t lanes = lanes_of(LLVMTypeOf(sum));
    const char *name = lanes == 16  ? "llvm.x86.avx512.vpdpbusd.512"
                       : lanes == 8 ? "llvm.x86.avx512.vpdpbusd.256"
                                    : "llvm.x86.avx512.vpdpbusd.128";
    V in[] = {sum, as(cx, without_sign, cx->i32), as(cx, with_sign, cx->i32)};
    return call_intrinsic(cx, name, NULL, 3, in);
}

static V bf16_pairs(Cx *cx, V sum, V a, V b)
{
    int32_t lanes = lanes_of(LLVMTypeOf(sum));
    LLVMTypeRef bf16 = LLVMBFloatTypeInContext(cx->c);
    const char *name = lanes == 16  ? "llvm.x86.avx512bf16.dpbf16ps.512"
                       : lanes == 8 ? "llvm.x86.avx512bf16.dpbf16ps.256"
                                    : "llvm.x86.avx512bf16.dpbf16ps.128";
    V in[] = {sum, as(cx, a, bf16), as(cx, b, bf16)};
    if (cx->isa->facts & ISA_ARM)
        return arm(cx, "bfdot", LLVMTypeOf(sum), LLVMTypeOf(in[1]), 3, in);
    return call_intrinsic(cx, name, NULL, 3, in);
}

bool product_has_pairs(const Cx *cx, const Product *p)
{
    return (cx->isa->facts & ISA_I8MM) && (p->kind == PRODUCT_SDOT || p->kind == PRODUCT_BF16);
}

V product_pairs(Cx *cx, const Product *p, const Factor *a, const Factor *b, V sum)
{
    bool is_bf16 = p->kind == PRODUCT_BF16;
    LLVMTypeRef of = is_bf16 ? LLVMBFloatTypeInContext(cx->c) : cx->i8;
    V in[] = {sum, as(cx, a->v[0], of), as(cx, b->v[0], of)};
    if (is_bf16) return call_intrinsic(cx, "llvm.aarch64.neon.bfmmla", NULL, 3, in);
    return arm(cx, p->is_signed ? "smmla" : "ummla", LLVMTypeOf(sum), LLVMTypeOf(in[1]), 3, in);
}

int32_t product_weight(const Product *p)
{
    return p->kind == PRODUCT_LOW ? MAX(p->bound, 1) * 2 * 128 : 0;
}

V product_narrow(Cx *cx, const Product *p, const Factor *a, const Factor *b, V narrow)
{
    V u = p->a_is_unsigned ? a->v[0] : b->v[0], s = p->a_is_unsigned ? b->v[0] : a->v[0];
    V x = low_pairs(cx, u, s);
    return narrow ? LLVMBuildAdd(cx->b, narrow, x, "") : x;
}

V product_widen(Cx *cx, V narrow, V sum)
{
    return LLVMBuildAdd(cx->b, sum, pairs(cx, narrow, const_int(LLVMTypeOf(narrow), 1)), "");
}

V product_add(Cx *cx, const Product *p, const Factor *a, const Factor *b, V sum)
{
    V u = p->a_is_unsigned ? a->v[0] : b->v[0], s = p->a_is_unsigned ? b->v[0] : a->v[0];
    switch (p->kind) {
    case PRODUCT_FMA:
        return mul_add(cx, a->v[0], b->v[0], sum);
    case PRODUCT_MUL:
        return LLVMBuildAdd(cx->b, sum, LLVMBuildMul(cx->b, a->v[0], b->v[0], ""), "");
    case PRODUCT_I16:
        return LLVMBuildAdd(cx->b, sum, pairs(cx, a->v[0], b->v[0]), "");
    case PRODUCT_BF16:
        return bf16_pairs(cx, sum, a->v[0], b->v[0]);
    case PRODUCT_VNNI:
        return vnni(cx, sum, u, s);
    case PRODUCT_MULL:
        return LLVMBuildAdd(cx->b, sum, arm_quads(cx, p, a->v[0], b->v[0]), "");
    case PRODUCT_SDOT: {
        V in[] = {sum, as(cx, a->v[0], cx->i8), as(cx, b->v[0], cx->i8)};
        return arm(cx, p->is_signed ? "sdot" : "udot", LLVMTypeOf(sum), LLVMTypeOf(in[1]), 3, in);
    }
    case PRODUCT_LOW:
        return product_widen(cx, low_pairs(cx, u, s), sum);
    default:
        sum = LLVMBuildAdd(cx->b, sum, pairs(cx, a->v[0], b->v[0]), "");
        return LLVMBuildAdd(cx->b, sum, pairs(cx, a->v[1], b->v[1]), "");
    }
}

V product_excess(Cx *cx, const Factor *b, V sum)
{
    return vnni(cx, sum, const_int(LLVMTypeOf(sum), (int32_t)0x80808080u), b->v[0]);
}
