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

/// The shared layout whose vectors are v[0 .. n_v), with phases of lanes `ls` and `ld`: V, the rest
/// of a bank row, then rows that meet neither side's phase.
static Layout place(const Layout *src, int32_t n_v, const uint32_t *v, uint32_t ls, uint32_t ld,
                    int32_t bytes)
{
    Layout mem = layout_empty(0, NULL);
    mem.rank = src->rank;
    memcpy(mem.log_dim, src->log_dim, sizeof mem.log_dim);
    mem.is_shared = true;
    uint32_t qs[GF2_MAX], qd[GF2_MAX], rows[GF2_MAX], all[2 * GF2_MAX], banks[GF2_MAX], v_mask = 0;
    int32_t d = layout_bits(src), t = MIN(d, log2_floor((uint64_t)(128 / bytes))), dim = t - n_v;
    for (int32_t i = 0; i < n_v; i++)
        v_mask |= v[i];
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
    int32_t n_banks = gf2_complement(n_v + n_rows, all, d, banks);
    for (int32_t i = 0; i < n_v; i++)
        layout_push(&mem, IN_REG, v[i]);
    for (int32_t i = 0; i < n_banks; i++)
        layout_push(&mem, IN_REG, banks[i]);
    for (int32_t i = 0; i < n_rows; i++)
        layout_push(&mem, IN_REG, rows[i]);
    return mem;
}

// ---- costs ------------------------------------------------------------------------------------

/// lg of the neighbours that one access of `l` may move.
static int32_t vector_in(const Layout *l, const Layout *inverse, int32_t bytes)
{
    uint32_t at[GF2_MAX];
    int32_t v = 0;
    for (int32_t i = 0; i < l->n_all; i++)
        at[i] = layout_apply(inverse, l->col[i]);
    for (bool found = true; found && bytes << v < 16;) {
        int32_t users = 0;
        found = false;
        for (int32_t i = 0; i < l->n_all; i++) {
            users += at[i] >> v & 1;
            found |= i < l->n_col[IN_REG] && at[i] == 1u << v;
        }
        found &= users == 1;
        v += found;
    }
    return v;
}

/// As swizzle_conflicts(), for memory that is given by its inverse.
static int32_t conflicts(const Layout *inverse, const Layout *side, int32_t vec, int32_t bytes)
{
    int32_t access = bytes << vec, lanes = 32 / MAX(1, MAX(access, 4) / 4), worst = 1;
    for (int32_t first = 0; first < 32; first += lanes) {
        uint32_t rows[32][32];
        int32_t n[32] = {0};
        for (int32_t lane = first; lane < first + lanes; lane++) {
            uint32_t at =
                layout_apply(inverse, layout_at(side, 0, (uint32_t)lane, 0)) * (uint32_t)bytes;
            at &= ~(uint32_t)(access - 1);
            for (int32_t w = 0; w < MAX(1, access / 4); w++) {
                uint32_t word = at / 4 + (uint32_t)w, bank = word % 32;
                int32_t k = 0;
                while (k < n[bank] && rows[bank][k] != word / 32)
                    k++;
                if (k == n[bank]) rows[bank][n[bank]++] = word / 32;
                worst = MAX(worst, n[bank]);
            }
        }
    }
    return worst;
}

/// Wavefronts and instructions of a side that moves vectors.
static int32_t vector_cost(const Layout *l, const Layout *inverse, int32_t bytes)
{
    int32_t v = vector_in(l, inverse, bytes), n = layout_regs(l) >> v;
    return n * (1 + MAX(1, (bytes << v) / 4) * conflicts(inverse, l, v, bytes));
}

static int32_t matrix_cost(const Layout *l, const Layout *inverse, int32_t bytes,
                           const MatrixRead *m)
{
    int32_t words = layout_regs(l) >> m->n_word;
    return (words >> m->n_more) + words * matrix_read_conflicts(l, inverse, bytes, m);
}

bool matrix_read_pays(const Layout *l, const Layout *inverse, int32_t bytes, MatrixRead *out)
{
    return matrix_read_applies(l, inverse, bytes, out) &&
           matrix_cost(l, inverse, bytes, out) <= vector_cost(l, inverse, bytes);
}

static int32_t read_cost(const Layout *l, const Layout *inverse, int32_t bytes)
{
    MatrixRead m;
    return matrix_read_pays(l, inverse, bytes, &m) ? matrix_cost(l, inverse, bytes, &m)
                                                   : vector_cost(l, inverse, bytes);
}

// ---- ldmatrix ---------------------------------------------------------------------------------

/// Where the index bits of a layout lie in memory.
typedef struct Offsets {
    int32_t n_reg, n_warp;
    uint32_t reg[GF2_MAX], lane[LAYOUT_LANES], warp[GF2_MAX];
} Offsets;

static Offsets offsets_of(const Layout *l, const Layout *inverse)
{
    Offsets o = {.n_reg = l->n_col[IN_REG], .n_warp = l->n_col[IN_WARP]};
    for (int32_t i = 0; i < o.n_reg; i++)
        o.reg[i] = layout_apply(inverse, layout_cols(l, IN_REG)[i]);
    for (int32_t i = 0; i < LAYOUT_LANES; i++)
        o.lane[i] = layout_apply(inverse, layout_cols(l, IN_LANE)[i]);
    for (int32_t i = 0; i < o.n_warp; i++)
        o.warp[i] = layout_apply(inverse, layout_cols(l, IN_WARP)[i]);
    return o;
}

/// Nobody but word registers `skip_reg` and lanes `skip_lane` may move inside 16 bytes: else a row
/// would not start at a multiple of 16.
static bool rows_are_aligned(const Offsets *o, uint32_t skip_reg, uint32_t skip_lane, uint32_t low)
{
    uint32_t bits = 0;
    for (int32_t i = 0; i < o->n_reg; i++)
        if (!(skip_reg >> i & 1)) bits |= o->reg[i];
    for (int32_t i = 0; i < LAYOUT_LANES; i++)
        if (!(skip_lane >> i & 1)) bits |= o->lane[i];
    for (int32_t i = 0; i < o->n_warp; i++)
        bits |= o->warp[i];
    return !(bits & low);
}

static bool is_plain(const Offsets *o, int32_t log_word, MatrixRead *out)
{
    uint32_t words = 0;
    for (int32_t k = 0; k < log_word; k++) {
        for (int32_t i = 0; i < o->n_reg; i++)
            if (o->reg[i] == 1u << k) out->word[out->n_word++] = 1u << i, words |= 1u << i;
        if (out->n_word != k + 1) return false;
    }
    if (o->lane[0] != 1u << log_word || o->lane[1] != 2u << log_word) return false;
    memcpy(out->lane, o->lane + 2, 3 * sizeof *out->lane);
    return rows_are_aligned(o, words, 3, (4u << log_word) - 1);
}

static bool is_transposed(const Offsets *o, MatrixRead *out)
{
    if (!o->n_reg || o->lane[2] != 1 || o->lane[3] != 2 || o->lane[4] != 4) return false;
    out->trans = true;
    out->word[0] = 1, out->n_word = 1;
    out->lane[0] = o->reg[0], out->lane[1] = o->lane[0], out->lane[2] = o->lane[1];
    return rows_are_aligned(o, 0, 28, 7);
}

bool matrix_read_applies(const Layout *l, const Layout *inverse, int32_t bytes, MatrixRead *out)
{
    *out = (MatrixRead){0};
    if (bytes > 4 || l->n_col[IN_LANE] != LAYOUT_LANES) return false;
    Offsets o = offsets_of(l, inverse);
    if (!is_plain(&o, log2_floor((uint64_t)(4 / bytes)), out)) {
        *out = (MatrixRead){0};
        if (bytes != 2 || !is_transposed(&o, out)) return false;
    }
    uint32_t taken = 0, thread = 0;
    for (int32_t i = 0; i < out->n_word; i++)
        taken |= out->word[i];
    for (int32_t i = 0; i < LAYOUT_LANES; i++)
        thread |= o.lane[i];
    for (int32_t i = 0; i < o.n_warp; i++)
        thread |= o.warp[i];
    // Matrices of one instruction: first those whose place is swizzled, so that what is left to
    // other instructions is a constant distance away.
    for (int32_t pass = 0; pass < 2; pass++)
        for (int32_t i = 0; i < o.n_reg && out->n_more < 2; i++) {
            if ((taken >> i & 1) || (!pass && !(o.reg[i] & thread))) continue;
            taken |= 1u << i;
            out->lane[3 + out->n_more] = o.reg[i];
            out->more[out->n_more++] = 1u << i;
        }
    return true;
}

int32_t matrix_read_conflicts(const Layout *l, const Layout *inverse, int32_t bytes,
                              const MatrixRead *m)
{
    int32_t worst = 1;
    for (uint32_t warp = 0; warp < 1u << l->n_col[IN_WARP]; warp++)
        for (uint32_t r = 0; r < (uint32_t)layout_regs(l); r++) {
            uint32_t base = layout_apply(inverse, layout_at(l, r, 0, warp));
            for (uint32_t k = 0; k < 4; k++) { // four matrices of the instruction that starts at r
                uint32_t rows[8], n[8] = {0};
                for (uint32_t i = 0; i < 8; i++) {
                    rows[i] = (base ^ gf2_apply(m->lane, 8 * k + i)) * (uint32_t)bytes;
                    bool seen = false; // equal rows are one
                    for (uint32_t j = 0; j < i; j++)
                        seen |= rows[j] == rows[i];
                    n[rows[i] / 16 % 8] += !seen;
                    worst = MAX(worst, (int32_t)n[rows[i] / 16 % 8]);
                }
            }
        }
    return worst;
}

// ---- building ---------------------------------------------------------------------------------

/// In the order of preference where costs are equal.
typedef enum Reading { BY_ROWS, BY_COLUMNS, BY_VECTOR, N_READINGS } Reading;

/// V and the lanes of a phase that a destination asks for which reads with ldmatrix. @return
/// columns of V, 0: it cannot
static int32_t matrix_vector(const Layout *dst, Reading how, int32_t bytes, uint32_t *v,
                             uint32_t *phase)
{
    const uint32_t *reg = layout_cols(dst, IN_REG), *lane = layout_cols(dst, IN_LANE);
    int32_t log_word = bytes > 4 ? 0 : log2_floor((uint64_t)(4 / bytes)), n = 0;
    if (bytes > 4 || (how == BY_COLUMNS && bytes != 2) || dst->n_col[IN_REG] < log_word) return 0;
    if (how == BY_ROWS) {
        for (int32_t i = 0; i < log_word; i++)
            v[n++] = reg[i];
        v[n++] = lane[0], v[n++] = lane[1];
        *phase = lane[2] | lane[3] | lane[4];
    } else {
        for (int32_t i = 2; i < LAYOUT_LANES; i++)
            v[n++] = lane[i];
        *phase = reg[0] | lane[0] | lane[1];
    }
    for (int32_t i = 0; i < n; i++)
        if (!v[i]) return 0;
    return n;
}

/// One way of choosing V, and what it costs: any conflict more than everything else. `ld` 0: the
/// destination reads vectors.
static int32_t attempt(const Layout *src, const Layout *dst, int32_t bytes, const uint32_t *v,
                       uint32_t ld, Swizzle *z)
{
    enum { CONFLICT = 1 << 16 };
    MatrixRead m;
    z->src_vec = prefix_in_regs(src, z->vec, v), z->dst_vec = prefix_in_regs(dst, z->vec, v);
    if (!ld) ld = phase_lanes(dst, bytes << z->dst_vec);
    z->mem = place(src, z->vec, v, phase_lanes(src, bytes << z->src_vec), ld, bytes);
    Layout inverse = layout_invert(&z->mem);
    z->by_matrix = matrix_read_pays(dst, &inverse, bytes, &m);
    int32_t writes = conflicts(&inverse, src, vector_in(src, &inverse, bytes), bytes),
            reads = z->by_matrix ? matrix_read_conflicts(dst, &inverse, bytes, &m)
                                 : conflicts(&inverse, dst, vector_in(dst, &inverse, bytes), bytes);
    return vector_cost(src, &inverse, bytes) + read_cost(dst, &inverse, bytes) +
           CONFLICT * (writes - 1 + reads - 1);
}

Swizzle swizzle_build(const Layout *src, const Layout *dst, int32_t bytes)
{
    Swizzle best = {0};
    int32_t least = INT32_MAX, word = log2_floor((uint64_t)MAX(1, 4 / bytes));
    for (Reading how = BY_ROWS; how < N_READINGS; how++) {
        uint32_t v[GF2_MAX] = {0}, ld = 0;
        int32_t n = how == BY_VECTOR ? pick_vector(src, dst, bytes, v)
                                     : matrix_vector(dst, how, bytes, v, &ld);
        if (how != BY_VECTOR && !n) continue;
        // Vectors that leave banks idle on the other side are given up bit by bit.
        for (int32_t vec = n; vec == n || (how == BY_VECTOR && vec >= word); vec--) {
            Swizzle z = {.vec = vec};
            int32_t cost = attempt(src, dst, bytes, v, ld, &z);
            if (cost < least) best = z, least = cost;
        }
    }
    return best;
}

Swizzle swizzle_for_copy(const Layout *src, int32_t log_run, const Layout *dst, int32_t bytes)
{
    Swizzle best = {0};
    int32_t least = INT32_MAX;
    for (Reading how = BY_ROWS; how < N_READINGS; how++) {
        Swizzle z = {.vec = log_run};
        uint32_t v[GF2_MAX] = {0}, ld = 0;
        bool same = how == BY_VECTOR || matrix_vector(dst, how, bytes, v, &ld) == log_run;
        if (how == BY_VECTOR) memcpy(v, layout_cols(src, IN_REG), sizeof *v * (size_t)log_run);
        if (!same || memcmp(v, layout_cols(src, IN_REG), sizeof *v * (size_t)log_run) != 0)
            continue;
        int32_t cost = attempt(src, dst, bytes, v, ld, &z);
        if (cost < least) best = z, least = cost;
    }
    return best;
}

int32_t swizzle_conflicts(const Layout *mem, const Layout *side, int32_t vec, int32_t bytes)
{
    Layout inverse = layout_invert(mem);
    return conflicts(&inverse, side, vec, bytes);
}

uint64_t wgmma_descriptor(uint32_t start, uint32_t leading, uint32_t stride, int32_t w)
{
    uint64_t mode = w == 128 ? 1 : w == 64 ? 2 : 3;
    uint64_t field[3] = {start, leading, stride}, d = mode << 62;
    for (int32_t i = 0; i < 3; i++)
        d |= (field[i] & 0x3FFFF) >> 4 << (16 * i);
    return d;
}
