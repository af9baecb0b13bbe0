// compiler/gpu/lower_convert.c - moving a tile from one layout to another.
//
//   registers   dst[r] = src[A r]: renaming
//   shuffle     lanes exchange registers in pairs, one shuffle per round, and pairs again; rounds that
//               stay home cost nothing; two 16-bit elements share a word (the plan: convert.c)
//   shared      vectors to a swizzled buffer, a barrier, vectors or matrices back (ir/swizzle.h)
//
// Source: layouts.md 4
#include "compiler/gpu/lower.h"

#include "ir/swizzle.h"

/// The 32-bit words of `v`, low first. @return how many
static int32_t to_words(Lower *lo, LLVMValueRef v, LLVMValueRef out[2])
{
    LLVMValueRef x = gpu_to_memory(lo, v);
    LLVMTypeRef t = LLVMTypeOf(x);
    if (t == lo->f64) x = LLVMBuildBitCast(lo->b, x, lo->i64, "");
    if (LLVMTypeOf(x) == lo->i64) {
        out[0] = LLVMBuildTrunc(lo->b, x, lo->i32, "");
        out[1] =
            LLVMBuildTrunc(lo->b, LLVMBuildLShr(lo->b, x, gpu_const_i64(lo, 32), ""), lo->i32, "");
        return 2;
    }
    if (t == lo->f32) x = LLVMBuildBitCast(lo->b, x, lo->i32, "");
    if (t == lo->f16) x = LLVMBuildBitCast(lo->b, x, lo->i16, "");
    out[0] = LLVMBuildZExt(lo->b, x, lo->i32, "");
    return 1;
}

static LLVMValueRef from_words(Lower *lo, const LLVMValueRef *w, int32_t n, LLVMTypeRef type)
{
    LLVMTypeRef mem = gpu_memory_type(lo, type);
    LLVMValueRef x = w[0];
    if (n == 2) {
        LLVMValueRef high =
            LLVMBuildShl(lo->b, LLVMBuildZExt(lo->b, w[1], lo->i64, ""), gpu_const_i64(lo, 32), "");
        x = LLVMBuildOr(lo->b, LLVMBuildZExt(lo->b, w[0], lo->i64, ""), high, "");
        if (mem == lo->f64) x = LLVMBuildBitCast(lo->b, x, mem, "");
        return gpu_from_memory(lo, x, type);
    }
    if (mem == lo->f32)
        x = LLVMBuildBitCast(lo->b, x, mem, "");
    else if (mem == lo->f16)
        x = LLVMBuildBitCast(lo->b, LLVMBuildTrunc(lo->b, x, lo->i16, ""), mem, "");
    else if (mem != lo->i32)
        x = LLVMBuildTrunc(lo->b, x, mem, "");
    return gpu_from_memory(lo, x, type);
}

static LLVMValueRef shuffle(Lower *lo, IntrinsicId id, LLVMValueRef v, LLVMValueRef lane)
{
    LLVMValueRef words[2], moved[2];
    int32_t n = to_words(lo, v, words);
    for (int32_t i = 0; i < n; i++)
        moved[i] = kiln_call(
            lo, id, 4, (LLVMValueRef[]){const_i32(lo, -1), words[i], lane, const_i32(lo, 31)});
    return from_words(lo, moved, n, LLVMTypeOf(v));
}

LLVMValueRef shuffle_bfly(Lower *lo, LLVMValueRef v, uint32_t mask)
{
    return shuffle(lo, K_SHFL_BFLY, v, const_i32(lo, mask));
}

LLVMValueRef shuffle_idx(Lower *lo, LLVMValueRef v, LLVMValueRef lane)
{
    return shuffle(lo, K_SHFL_IDX, v, lane);
}

/// Exchanges registers q and q ^ column in the threads where `bit` of `word` is set.
static void exchange(Lower *lo, LLVMValueRef word, int32_t bit, uint32_t column, int32_t n,
                     LLVMValueRef *v)
{
    if (!column) return;
    LLVMValueRef set = LLVMBuildAnd(lo->b, word, const_i32(lo, 1 << bit), "");
    set = LLVMBuildICmp(lo->b, LLVMIntNE, set, const_i32(lo, 0), "");
    for (uint32_t q = 0; q < (uint32_t)n; q++) {
        LLVMValueRef a = v[q], b = v[q ^ column];
        if (q > (q ^ column)) continue;
        v[q] = LLVMBuildSelect(lo->b, set, b, a, "");
        v[q ^ column] = LLVMBuildSelect(lo->b, set, a, b, "");
    }
}

/// One round: the registers whose numbers differ from `r` in packed bits alone, in one word where
/// there are several.
static void shuffle_round(Lower *lo, const ConvertPlan *p, uint32_t r, LLVMValueRef lane,
                          const LLVMValueRef *src, LLVMValueRef *out)
{
    LLVMValueRef part[4];
    uint32_t member[4];
    int32_t n = 1 << __builtin_popcount(p->packed);
    for (int32_t i = 0; i < n; i++) {
        member[i] = r | gf2_deposit((uint32_t)i, p->packed);
        part[i] = src[gf2_apply(p->send, member[i])];
    }
    LLVMValueRef x = n > 1 ? word_pack(lo, n, part) : part[0];
    LLVMTypeRef type = LLVMTypeOf(part[0]);
    if (lane)
        x = shuffle_idx(lo, x, lane);
    else
        x = shuffle_bfly(lo, x, gf2_apply(p->reg_lane, r));
    for (int32_t i = 0; i < n; i++)
        out[member[i]] = n > 1 ? word_part(lo, x, i, n, type) : x;
}

static void by_shuffles(Lower *lo, const ConvertPlan *p, const Layout *s, const Layout *d,
                        LLVMValueRef *src, Tile *out)
{
    int32_t n_warp = d->n_col[IN_WARP];
    bool own = p->is_butterfly;
    for (int32_t i = 0; i < n_warp; i++) {
        own &= !p->warp_lane[i];
        exchange(lo, lo->warp, i, p->give_warp[i], layout_regs(s), src);
    }
    for (int32_t i = 0; i < LAYOUT_LANES; i++)
        exchange(lo, lo->lane, i, p->give[i], layout_regs(s), src);
    LLVMValueRef base = own ? NULL : thread_xor(lo, p->from, n_warp, p->warp_lane);
    for (uint32_t r = 0; r < (uint32_t)out->n; r++) {
        uint32_t mask = gf2_apply(p->reg_lane, r);
        if (own && !mask)
            out->v[r] = src[gf2_apply(p->send, r)];
        else if (!(r & p->packed))
            shuffle_round(lo, p, r,
                          own    ? NULL
                          : mask ? LLVMBuildXor(lo->b, base, const_i32(lo, mask), "")
                                 : base,
                          src, out->v);
    }
    for (int32_t i = 0; i < LAYOUT_LANES; i++)
        exchange(lo, lo->lane, i, p->take[i], out->n, out->v);
}

// ---- through shared memory --------------------------------------------------------------------

/// One side of a trip: where each index bit of a layout lies, in bytes.
typedef struct Side {
    uint32_t reg[GF2_MAX], lane[GF2_MAX], warp[GF2_MAX];
    uint32_t group[5], mask; ///< register bits of one vector access
    int32_t v;
    LLVMValueRef thread;  ///< the thread's part of the address
    uint32_t thread_bits; ///< address bits it may set
} Side;

static Side side_of(Lower *lo, const Layout *l, const Layout *inverse, int32_t bytes)
{
    Side s = {0};
    for (int32_t i = 0; i < l->n_col[IN_REG]; i++)
        s.reg[i] = layout_apply(inverse, layout_cols(l, IN_REG)[i]) * (uint32_t)bytes;
    for (int32_t i = 0; i < LAYOUT_LANES; i++) {
        s.lane[i] = layout_apply(inverse, layout_cols(l, IN_LANE)[i]) * (uint32_t)bytes;
        s.thread_bits |= s.lane[i];
    }
    for (int32_t i = 0; i < l->n_col[IN_WARP]; i++) {
        s.warp[i] = layout_apply(inverse, layout_cols(l, IN_WARP)[i]) * (uint32_t)bytes;
        s.thread_bits |= s.warp[i];
    }
    for (bool found = true; found && bytes << s.v < 16;) {
        found = false;
        for (int32_t i = 0; i < l->n_col[IN_REG] && !found; i++) {
            if (s.reg[i] != (uint32_t)bytes << s.v) continue;
            bool alone = !(s.thread_bits & s.reg[i]); // else a vector would not be aligned
            for (int32_t k = 0; k < l->n_col[IN_REG]; k++)
                alone &= k == i || !(s.reg[k] & s.reg[i]);
            if (!alone) break;
            s.mask |= 1u << i;
            s.group[s.v++] = 1u << i;
            found = true;
        }
    }
    s.thread = thread_xor(lo, s.lane, l->n_col[IN_WARP], s.warp);
    return s;
}

static LLVMValueRef side_address(Lower *lo, const Side *s, uint32_t r, LLVMValueRef base)
{
    uint32_t own = gf2_apply(s->reg, r), folded = own & s->thread_bits;
    LLVMValueRef at =
        folded ? LLVMBuildXor(lo->b, s->thread, const_i32(lo, folded), "") : s->thread;
    at = shared_at(lo, base, at);
    return own & ~folded ? shared_at(lo, at, const_i32(lo, own & ~folded)) : at;
}

void shared_put(Lower *lo, const Layout *l, const Layout *inverse, LLVMTypeRef type,
                LLVMValueRef *regs, LLVMValueRef base)
{
    Side s = side_of(lo, l, inverse, type_bytes(lo, gpu_memory_type(lo, type)));
    LLVMValueRef owner = owner_predicate(lo, l);
    LLVMBasicBlockRef writes = owner ? block_new(lo, "own") : NULL,
                      after = owner ? block_new(lo, "owned") : NULL;
    if (owner) {
        LLVMBuildCondBr(lo->b, owner, writes, after);
        block_enter(lo, writes);
    }
    for (uint32_t r = 0; r < (uint32_t)layout_regs(l); r++) {
        if (r & s.mask) continue;
        LLVMValueRef group[16];
        for (uint32_t e = 0; e < 1u << s.v; e++)
            group[e] = regs[r | gf2_apply(s.group, e)];
        shared_store(lo, type, 1 << s.v, side_address(lo, &s, r, base), group);
    }
    if (!owner) return;
    LLVMBuildBr(lo->b, after);
    block_enter(lo, after);
}

void shared_get(Lower *lo, const Layout *l, const Layout *inverse, LLVMTypeRef type,
                LLVMValueRef base, LLVMValueRef *out)
{
    if (!ldmatrix_get(lo, l, inverse, type, base, out))
        shared_get_own(lo, l, inverse, type, base, out);
}

void shared_get_own(Lower *lo, const Layout *l, const Layout *inverse, LLVMTypeRef type,
                    LLVMValueRef base, LLVMValueRef *out)
{
    Side s = side_of(lo, l, inverse, type_bytes(lo, gpu_memory_type(lo, type)));
    for (uint32_t r = 0; r < (uint32_t)layout_regs(l); r++) {
        if (r & s.mask) continue;
        LLVMValueRef group[16];
        shared_load(lo, type, 1 << s.v, side_address(lo, &s, r, base), group);
        for (uint32_t e = 0; e < 1u << s.v; e++)
            out[r | gf2_apply(s.group, e)] = group[e];
    }
}

void lower_convert(Lower *lo, Op *op)
{
    const Value *in = op->in[0], *res = &op->out[0];
    const Layout *s = in->type->layout, *d = res->type->layout;
    ConvertPlan p = convert_classify(s, d, type_element_bytes(in->type));
    if (p.kind == CONVERT_SAME) {
        tile_set(lo, res, *tile_of(lo, in));
        return;
    }
    LLVMValueRef *src = regs_new(lo, layout_regs(s));
    regs_of(lo, in, src);
    Tile out = tile_new(lo, layout_regs(d), false);
    if (p.kind == CONVERT_REGISTERS) {
        for (int32_t r = 0; r < out.n; r++)
            out.v[r] = src[gf2_apply(p.reg_reg, (uint32_t)r)];
    } else if (p.kind == CONVERT_SHUFFLE) {
        by_shuffles(lo, &p, s, d, src, &out);
    } else {
        LLVMTypeRef type = element_type(lo, in->type);
        Swizzle z = swizzle_build(s, d, type_bytes(lo, gpu_memory_type(lo, type)));
        Layout inverse = layout_invert(&z.mem);
        LLVMValueRef base = scratch_enter(lo, op);
        shared_put(lo, s, &inverse, type, src, base);
        barrier(lo);
        shared_get(lo, d, &inverse, type, base, out.v);
    }
    tile_set(lo, res, out);
}
