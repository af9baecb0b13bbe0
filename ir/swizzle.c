// ir/swizzle.c - see swizzle.h. Columns of distributed layouts are single bits (D2), so sets of
// columns are masks and spans of unit vectors intersect as masks do.
#include "ir/swizzle.h"

static uint32_t mask_of(const Layout *l, int32_t in)
{
    uint32_t mask = 0;
    for (int32_t i = 0; i < l->n_col[in]; i++)
        mask |= layout_cols(l, in)[i];
    return mask;
}

/// The first lane columns that act in one phase of an access of `bytes` per lane.
static uint32_t phase_lanes(const Layout *l, int32_t bytes)
{
    int32_t n = LAYOUT_LANES - log2_floor((uint64_t)(MAX(bytes, 4) / 4));
    uint32_t mask = 0;
    for (int32_t i = 0; i < n; i++)
        mask |= layout_cols(l, IN_LANE)[i];
    return mask;
}

/// Grows V (n columns so far, in v) for `x` against `other`; at most vmax columns.
static int32_t grow(const Layout *x, const Layout *other, int32_t bytes, int32_t vmax, int32_t n,
                    uint32_t *v)
{
    int32_t word = log2_floor((uint64_t)MAX(1, 4 / bytes));
    uint32_t have = 0, other_lanes = mask_of(other, IN_LANE);
    for (int32_t i = 0; i < n; i++)
        have |= v[i];
    for (int32_t pass = 0; pass < 4; pass++) { // 0: registers on the other's lanes, 1: any
                                               // registers, 2: lanes, 3: beyond the word
        int32_t in = pass == 2 ? IN_LANE : IN_REG, limit = pass == 3 ? vmax : MIN(word, vmax);
        for (int32_t i = 0; i < x->n_col[in] && n < limit; i++) {
            uint32_t c = layout_cols(x, in)[i];
            if (!c || (c & have) || ((pass == 0 || pass == 3) && !(c & other_lanes))) continue;
            v[n++] = c;
            have |= c;
        }
    }
    return n;
}

/// How many of V's columns `x` has in registers, from the lowest.
static int32_t prefix_in_regs(const Layout *x, int32_t n, const uint32_t *v)
{
    uint32_t regs = mask_of(x, IN_REG);
    int32_t count = 0;
    while (count < n && (v[count] & regs))
        count++;
    return count;
}

static int32_t pick_vector(const Layout *s, const Layout *d, int32_t bytes, uint32_t *v)
{
    int32_t vmax = MIN(log2_floor((uint64_t)(16 / bytes)), layout_bits(s)), n = 0;
    uint32_t in_s = mask_of(s, IN_REG);
    for (int32_t i = 0; i < d->n_col[IN_REG] && n < vmax; i++)
        if (layout_cols(d, IN_REG)[i] & in_s) v[n++] = layout_cols(d, IN_REG)[i];
    uint32_t vs[GF2_MAX], vd[GF2_MAX];
    memcpy(vs, v, sizeof vs), memcpy(vd, v, sizeof vd);
    int32_t ns = grow(s, d, bytes, vmax, n, vs), nd = grow(d, s, bytes, vmax, n, vd);
    bool take_s = ns > nd || (ns == nd && s->n_col[IN_REG] >= d->n_col[IN_REG]);
    memcpy(v, take_s ? vs : vd, sizeof vs);
    return take_s ? ns : nd;
}

/// Columns of (V u lanes) without V, padded to `dim` with unit vectors that `other` has too where
/// possible.
static int32_t quotient(uint32_t lanes, uint32_t v_mask, uint32_t other, int32_t dim, int32_t d,
                        uint32_t *out)
{
    int32_t n = 0;
    uint32_t have = v_mask;
    for (uint32_t m = lanes & ~v_mask; m && n < dim; m &= m - 1)
        out[n++] = m & -m, have |= m & -m;
    for (int32_t pass = 0; pass < 2; pass++)
        for (int32_t i = 0; i < d && n < dim; i++)
            if (!(have >> i & 1) && (pass || (other >> i & 1))) out[n++] = 1u << i, have |= 1u << i;
    return n;
}

Swizzle swizzle_build(const Layout *src, const Layout *dst, int32_t bytes)
{
    Swizzle z = {.mem = *src};
    uint32_t v[GF2_MAX] = {0}, v_mask = 0;
    int32_t d = layout_bits(src), t = MIN(d, log2_floor((uint64_t)(128 / bytes)));
    int32_t n_v = pick_vector(src, dst, bytes, v);
    for (int32_t i = 0; i < n_v; i++)
        v_mask |= v[i];
    z.vec = n_v;
    z.src_vec = prefix_in_regs(src, n_v, v), z.dst_vec = prefix_in_regs(dst, n_v, v);
    uint32_t ls = phase_lanes(src, bytes << z.src_vec), ld = phase_lanes(dst, bytes << z.dst_vec);
    uint32_t qs[GF2_MAX], qd[GF2_MAX], rows[GF2_MAX], all[2 * GF2_MAX];
    int32_t dim = t - n_v;
    int32_t ns = quotient(ls, v_mask, ld & ~v_mask, dim, d, qs),
            nd = quotient(ld, v_mask, ls & ~v_mask, dim, d, qd);
    ASSERT(ns == dim && nd == dim);
    (void)ns, (void)nd;
    // In the space without V's bits: compress them away, find the common complement, spread again.
    uint32_t keep = (d >= 32 ? ~0u : (1u << d) - 1) & ~v_mask;
    for (int32_t i = 0; i < dim; i++)
        qs[i] = gf2_extract(qs[i], keep), qd[i] = gf2_extract(qd[i], keep);
    int32_t n_rows = gf2_common_complement(dim, qs, qd, d - n_v, rows);
    for (int32_t i = 0; i < n_rows; i++)
        rows[i] = gf2_deposit(rows[i], keep);
    memcpy(all, v, sizeof *v * (size_t)n_v);
    memcpy(all + n_v, rows, sizeof *rows * (size_t)n_rows);
    uint32_t banks[GF2_MAX];
    int32_t n_banks = gf2_complement(n_v + n_rows, all, d, banks);
    z.mem.is_shared = true;
    z.mem.n_all = 0;
    memset(z.mem.n_col, 0, sizeof z.mem.n_col);
    memset(z.mem.col, 0, sizeof z.mem.col);
    for (int32_t i = 0; i < n_v; i++)
        layout_push(&z.mem, IN_REG, v[i]);
    for (int32_t i = 0; i < n_banks; i++)
        layout_push(&z.mem, IN_REG, banks[i]);
    for (int32_t i = 0; i < n_rows; i++)
        layout_push(&z.mem, IN_REG, rows[i]);
    return z;
}

int32_t swizzle_conflicts(const Layout *mem, const Layout *side, int32_t vec, int32_t bytes)
{
    Layout inverse = layout_invert(mem);
    int32_t access = bytes << vec, lanes = 32 / MAX(1, MAX(access, 4) / 4), worst = 1;
    for (int32_t first = 0; first < 32; first += lanes) {
        for (int32_t bank = 0; bank < 32; bank++) {
            uint32_t rows[32];
            int32_t n = 0;
            for (int32_t lane = first; lane < first + lanes; lane++) {
                uint32_t at =
                    layout_apply(&inverse, layout_at(side, 0, (uint32_t)lane, 0)) * (uint32_t)bytes;
                at &= ~(uint32_t)(access - 1);
                for (int32_t w = 0; w < MAX(1, access / 4); w++) {
                    uint32_t word = at / 4 + (uint32_t)w;
                    if ((int32_t)(word % 32) != bank) continue;
                    int32_t k = 0;
                    while (k < n && rows[k] != word / 32)
                        k++;
                    if (k == n) rows[n++] = word / 32;
                }
            }
            worst = MAX(worst, n);
        }
    }
    return worst;
}
