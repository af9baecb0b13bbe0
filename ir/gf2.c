// ir/gf2.c - elimination over GF(2).
#include "ir/gf2.h"

static int32_t lead(uint32_t x)
{
    return 31 - __builtin_clz(x);
}

uint32_t gf2_apply(const uint32_t *f, uint32_t x)
{
    uint32_t y = 0;
    for (; x; x &= x - 1)
        y ^= f[__builtin_ctz(x)];
    return y;
}

/// Reduces (value, combo) by the pivots, highest leading bit first.
static void reduce(const Gf2Basis *b, uint32_t *value, uint32_t *combo)
{
    for (int32_t bit = 31; bit >= 0 && *value; bit--) {
        if (!(*value >> bit & 1) || !b->pivot[bit]) continue;
        *value ^= b->pivot[bit];
        *combo ^= b->combo[bit];
    }
}

bool gf2_basis_add(Gf2Basis *b, uint32_t column)
{
    ASSERT(b->n_cols < GF2_MAX);
    uint32_t combo = 1u << b->n_cols++;
    reduce(b, &column, &combo);
    if (!column) {
        b->kernel[b->n_kernel++] = combo;
        return false;
    }
    b->pivot[lead(column)] = column;
    b->combo[lead(column)] = combo;
    b->rank++;
    return true;
}

Gf2Basis gf2_basis(int32_t n, const uint32_t *f)
{
    Gf2Basis b = {0};
    for (int32_t i = 0; i < n; i++)
        gf2_basis_add(&b, f[i]);
    return b;
}

int32_t gf2_rank(int32_t n, const uint32_t *f)
{
    return gf2_basis(n, f).rank;
}

bool gf2_in_span(const Gf2Basis *b, uint32_t y)
{
    uint32_t unused = 0;
    reduce(b, &y, &unused);
    return y == 0;
}

bool gf2_solve(const Gf2Basis *b, uint32_t y, uint32_t *x)
{
    uint32_t combo = 0;
    reduce(b, &y, &combo);
    *x = y ? 0 : combo;
    return y == 0;
}

int32_t gf2_complement(int32_t n, const uint32_t *f, int32_t d, uint32_t *out)
{
    Gf2Basis b = gf2_basis(0, NULL);
    for (int32_t i = 0; i < n; i++) {
        b.n_cols = 0; // combinations are not needed here, so columns beyond 32 do no harm
        gf2_basis_add(&b, f[i]);
        b.n_kernel = 0;
    }
    int32_t count = 0;
    for (int32_t i = 0; i < d; i++) {
        b.n_cols = 0;
        if (gf2_basis_add(&b, 1u << i)) out[count++] = 1u << i;
        b.n_kernel = 0;
    }
    return count;
}

int32_t gf2_intersect(int32_t nf, const uint32_t *f, int32_t ng, const uint32_t *g, uint32_t *out)
{
    uint32_t both[GF2_MAX];
    ASSERT(nf + ng <= GF2_MAX);
    memcpy(both, f, sizeof *f * (size_t)nf);
    memcpy(both + nf, g, sizeof *g * (size_t)ng);
    Gf2Basis b = gf2_basis(nf + ng, both), found = {0};
    uint32_t low = nf >= 32 ? ~0u : (1u << nf) - 1;
    int32_t count = 0;
    for (int32_t i = 0; i < b.n_kernel; i++) {
        uint32_t v = gf2_apply(f, b.kernel[i] & low);
        if (v && gf2_basis_add(&found, v)) out[count++] = v;
    }
    return count;
}

int32_t gf2_common_complement(int32_t t, const uint32_t *f, const uint32_t *g, int32_t d,
                              uint32_t *out)
{
    // I = F n G, p_i and q_i complete I to F and to G: then p_i ^ q_i is outside both, and unit
    // vectors outside F + G are outside both as well.
    uint32_t common[GF2_MAX], sum[2 * GF2_MAX];
    int32_t n_common = gf2_intersect(t, f, t, g, common);
    uint32_t p[GF2_MAX], q[GF2_MAX];
    Gf2Basis bf = gf2_basis(n_common, common), bg = bf;
    int32_t np = 0, nq = 0;
    for (int32_t i = 0; i < t; i++) {
        bf.n_cols = bg.n_cols = bf.n_kernel = bg.n_kernel = 0;
        if (gf2_basis_add(&bf, f[i])) p[np++] = f[i];
        if (gf2_basis_add(&bg, g[i])) q[nq++] = g[i];
    }
    memcpy(sum, f, sizeof *f * (size_t)t);
    memcpy(sum + t, g, sizeof *g * (size_t)t);
    int32_t count = gf2_complement(2 * t, sum, d, out);
    for (int32_t i = 0; i < MIN(np, nq); i++)
        out[count++] = p[i] ^ q[i];
    return count;
}

uint32_t gf2_deposit(uint32_t x, uint32_t mask)
{
    uint32_t y = 0;
    for (; mask; mask &= mask - 1, x >>= 1)
        if (x & 1) y |= mask & -mask;
    return y;
}

uint32_t gf2_extract(uint32_t x, uint32_t mask)
{
    uint32_t y = 0;
    for (int32_t i = 0; mask; mask &= mask - 1, i++)
        if (x & mask & -mask) y |= 1u << i;
    return y;
}
