// ir/layout.c - the algebra of linear layouts. Everything works on columns by value; interning is
// the only thing that allocates.
#include "ir/layout.h"

/// Lowest packed bit of dimension d.
static int32_t field_low(const Layout *l, int32_t d)
{
    int32_t low = 0;
    for (int32_t i = l->rank - 1; i > d; i--)
        low += l->log_dim[i];
    return low;
}

static uint32_t bit_of(const Layout *l, int32_t d, int32_t i)
{
    return 1u << (field_low(l, d) + i);
}

static uint32_t ones(int32_t n)
{
    return n >= 32 ? ~0u : (1u << n) - 1;
}

// ---- making -----------------------------------------------------------------------------------

Layout layout_empty(int32_t rank, const int32_t *shape)
{
    Layout l;
    memset(&l, 0,
           sizeof l); // padding too: layouts are compared and interned as bytes of their fields
    ASSERT(rank <= LAYOUT_MAX_RANK);
    l.rank = (uint8_t)rank;
    for (int32_t d = 0; d < rank; d++)
        l.log_dim[d] = (uint8_t)log2_floor((uint64_t)shape[d]);
    return l;
}

void layout_push(Layout *l, int32_t in, uint32_t column)
{
    ASSERT(l->n_all < GF2_MAX);
    int32_t at = layout_first(l, in) + l->n_col[in];
    memmove(l->col + at + 1, l->col + at, sizeof l->col[0] * (size_t)(l->n_all - at));
    l->col[at] = column;
    l->n_col[in]++;
    l->n_all++;
}

Layout layout_row_major(int32_t rank, const int32_t *shape)
{
    Layout l = layout_empty(rank, shape);
    l.is_shared = true;
    int32_t bits = layout_bits(&l);
    for (int32_t i = 0; i < bits; i++)
        layout_push(&l, IN_REG, 1u << i);
    return l;
}

Layout layout_swizzled(int32_t rank, const int32_t *shape, int32_t vec, int32_t pp, int32_t mp)
{
    Layout l = layout_row_major(rank, shape);
    int32_t c_bits = l.log_dim[rank - 1], r_bits = rank > 1 ? l.log_dim[rank - 2] : 0;
    for (int32_t i = 0; i < r_bits; i++)
        l.col[c_bits + i] |= (uint32_t)(vec * (((1 << i) / pp) % mp)) & ones(c_bits);
    return l;
}

Layout layout_swizzled_rows(int32_t rows, int32_t cols, int32_t bytes)
{
    int32_t row_bytes = cols * bytes, pp = MAX(1, 128 / row_bytes);
    int32_t mp = MAX(1, MIN(8 / pp, row_bytes / 16));
    return layout_swizzled(2, (int32_t[2]){rows, cols}, 16 / bytes, pp, mp);
}

Layout layout_hw_swizzled(int32_t rows, int32_t cols, int32_t bytes, int32_t w)
{
    Layout l = layout_empty(2, (int32_t[2]){rows, cols});
    l.is_shared = true;
    int32_t in_block = log2_floor((uint64_t)(w / bytes)), c_bits = l.log_dim[1], vec = 16 / bytes;
    for (int32_t i = 0; i < MIN(in_block, c_bits); i++)
        layout_push(&l, IN_REG, 1u << i);
    for (int32_t i = 0; i < l.log_dim[0]; i++)
        layout_push(&l, IN_REG,
                    1u << (c_bits + i) | (uint32_t)(vec * (((1 << i) / (128 / w)) % (w / 16))));
    for (int32_t i = in_block; i < c_bits; i++)
        layout_push(&l, IN_REG, 1u << i);
    return l;
}

Layout layout_blocked(int32_t rank, const int32_t *shape, const int32_t *spt, const int32_t *tpw,
                      const int32_t *wpc, const int32_t *order)
{
    Layout l = layout_empty(rank, shape);
    int32_t used[LAYOUT_MAX_RANK] = {0};
    const int32_t *counts[3] = {spt, tpw, wpc};
    for (int32_t in = IN_REG; in <= IN_WARP; in++) {
        for (int32_t o = 0; o < rank; o++) {
            int32_t d = order[o];
            for (int32_t n = log2_floor((uint64_t)counts[in][d]); n > 0; n--, used[d]++) {
                bool inside = used[d] < l.log_dim[d];
                if (inside || in != IN_REG)
                    layout_push(&l, in, inside ? bit_of(&l, d, used[d]) : 0);
            }
        }
    }
    for (int32_t o = 0; o < rank; o++)
        for (int32_t d = order[o]; used[d] < l.log_dim[d]; used[d]++)
            layout_push(&l, IN_REG, bit_of(&l, d, used[d]));
    return l;
}

Layout layout_default(int32_t rank, const int32_t *shape, int32_t log_warps, int32_t vec)
{
    Layout l = layout_empty(rank, shape);
    int32_t bits = layout_bits(&l), at = 0, v = log2_floor((uint64_t)vec);
    v = MIN(v, MAX(0, bits - LAYOUT_LANES - log_warps));
    for (; at < v; at++)
        layout_push(&l, IN_REG, 1u << at);
    for (int32_t i = 0; i < LAYOUT_LANES; i++, at++)
        layout_push(&l, IN_LANE, at < bits ? 1u << at : 0);
    for (int32_t i = 0; i < log_warps; i++, at++)
        layout_push(&l, IN_WARP, at < bits ? 1u << at : 0);
    for (; at < bits; at++)
        layout_push(&l, IN_REG, 1u << at);
    return l;
}

/// Pushes bit i of dimension d, or a zero column when the tile is too small (registers: nothing).
static void push_bit(Layout *l, int32_t in, int32_t d, int32_t i)
{
    bool inside = i < l->log_dim[d];
    if (inside || in != IN_REG) layout_push(l, in, inside ? bit_of(l, d, i) : 0);
}

void layout_mma_k_runs(MmaTile *t, int32_t log_word, int32_t log_run)
{
    int32_t n = 0;
    ASSERT(log_run >= log_word);
    for (int32_t i = 0; i < log_word; i++)
        t->k_slot[n++] = (int8_t)i;
    for (int32_t i = 0; i < 2; i++)
        t->k_slot[n++] = (int8_t)(log_run + i);
    for (int32_t i = log_word; i < log_run; i++)
        t->k_slot[n++] = (int8_t)i;
    for (; n < LAYOUT_MAX_BITS; n++)
        t->k_slot[n] = (int8_t)n;
}

void layout_mma_k_chained(MmaTile *t, int32_t log_word)
{
    // An accumulator's registers count columns 1, 8, 16 ..., its lanes l0 l1 columns 2 and 4.
    int32_t n = 0, reg = 0;
    for (int32_t i = 0; i < log_word; i++)
        t->k_slot[n++] = (int8_t)(reg ? reg + 2 : 0), reg++;
    for (int32_t i = 0; i < 2; i++)
        t->k_slot[n++] = (int8_t)(i + 1);
    for (; n < LAYOUT_MAX_BITS; n++)
        t->k_slot[n] = (int8_t)(reg ? reg + 2 : 0), reg++;
}

enum { BATCH, LEFT, RIGHT }; // dimensions of a rank-3 tile

static void push_bits(Layout *l, int32_t in, int32_t d, int32_t begin, int32_t end)
{
    for (int32_t i = begin; i < end; i++)
        push_bit(l, in, d, i);
}

/// First bit of the instruction's columns that tells warps apart.
static int32_t col_top(const MmaTile *t, int32_t width)
{
    return MAX(3, width - t->warps_col);
}

Layout layout_mma_acc(const MmaTile *t)
{
    Layout l = layout_empty(3, (int32_t[3]){1 << t->batch, 1 << t->m, 1 << t->n});
    int32_t row = t->swap ? RIGHT : LEFT, col = t->swap ? LEFT : RIGHT,
            top = col_top(t, l.log_dim[col]);
    push_bit(&l, IN_REG, col, 0), push_bit(&l, IN_REG, row, 3);
    push_bits(&l, IN_REG, col, 3, top);
    push_bits(&l, IN_REG, row, 4 + t->warps_row, l.log_dim[row]);
    push_bits(&l, IN_REG, BATCH, t->warps_batch, t->batch);
    push_bits(&l, IN_LANE, col, 1, 3), push_bits(&l, IN_LANE, row, 0, 3);
    push_bits(&l, IN_WARP, col, top, top + t->warps_col);
    push_bits(&l, IN_WARP, row, 4, 4 + t->warps_row);
    push_bits(&l, IN_WARP, BATCH, 0, t->warps_batch);
    return l;
}

Layout layout_mma_operand(const MmaTile *t, bool b, int32_t log_word)
{
    int32_t k = b ? LEFT : RIGHT, mn = b ? RIGHT : LEFT, i;
    bool is_rows = b == t->swap;
    Layout l = layout_empty(3, b ? (int32_t[3]){1 << t->batch, 1 << t->k, 1 << t->n}
                                 : (int32_t[3]){1 << t->batch, 1 << t->m, 1 << t->k});
    int32_t top = col_top(t, l.log_dim[mn]);
    ASSERT(t->k >= log_word + 2);
    for (i = 0; i < log_word; i++)
        push_bit(&l, IN_REG, k, t->k_slot[i]);
    if (is_rows) push_bit(&l, IN_REG, mn, 3);
    for (i = log_word + 2; i < t->k; i++)
        push_bit(&l, IN_REG, k, t->k_slot[i]);
    if (is_rows)
        push_bits(&l, IN_REG, mn, 4 + t->warps_row, l.log_dim[mn]);
    else
        push_bits(&l, IN_REG, mn, 3, top);
    push_bits(&l, IN_REG, BATCH, t->warps_batch, t->batch);
    for (i = log_word; i < log_word + 2; i++)
        push_bit(&l, IN_LANE, k, t->k_slot[i]);
    push_bits(&l, IN_LANE, mn, 0, 3);
    for (i = 0; i < t->warps_col; i++)
        push_bit(&l, IN_WARP, mn, is_rows ? LAYOUT_MAX_BITS : top + i);
    for (i = 0; i < t->warps_row; i++)
        push_bit(&l, IN_WARP, mn, is_rows ? 4 + i : LAYOUT_MAX_BITS);
    push_bits(&l, IN_WARP, BATCH, 0, t->warps_batch);
    return l;
}

Layout layout_wgmma_acc(int32_t m, int32_t n, int32_t log_warps)
{
    enum { M, N };
    Layout l = layout_empty(2, (int32_t[2]){m, n});
    int32_t groups = MAX(0, log_warps - 2), on_m = MIN(groups, MAX(0, l.log_dim[M] - 6)), i;
    int32_t n_top = MAX(3, l.log_dim[N] - (groups - on_m));
    push_bit(&l, IN_REG, N, 0), push_bit(&l, IN_REG, M, 3);
    for (i = 3; i < n_top; i++)
        push_bit(&l, IN_REG, N, i);
    for (i = 6 + on_m; i < l.log_dim[M]; i++)
        push_bit(&l, IN_REG, M, i);
    push_bit(&l, IN_LANE, N, 1), push_bit(&l, IN_LANE, N, 2);
    for (i = 0; i < 3; i++)
        push_bit(&l, IN_LANE, M, i);
    for (i = 0; i < 2 + on_m; i++)
        push_bit(&l, IN_WARP, M, 4 + i);
    for (i = 0; i < groups - on_m; i++)
        push_bit(&l, IN_WARP, N, n_top + i);
    return l;
}

// ---- algebra ----------------------------------------------------------------------------------

uint32_t layout_at(const Layout *l, uint32_t reg, uint32_t lane, uint32_t warp)
{
    return gf2_apply(layout_cols(l, IN_REG), reg) ^ gf2_apply(layout_cols(l, IN_LANE), lane) ^
           gf2_apply(layout_cols(l, IN_WARP), warp);
}

int32_t layout_bits(const Layout *l)
{
    int32_t bits = 0;
    for (int32_t d = 0; d < l->rank; d++)
        bits += l->log_dim[d];
    return bits;
}

void layout_field(const Layout *l, int32_t d, int32_t *low, int32_t *width)
{
    *low = field_low(l, d);
    *width = l->log_dim[d];
}

Layout layout_compose(const Layout *f, const Layout *g)
{
    Layout r = *g;
    r.rank = f->rank;
    r.is_shared = f->is_shared;
    memcpy(r.log_dim, f->log_dim, sizeof r.log_dim);
    for (int32_t i = 0; i < g->n_all; i++)
        r.col[i] = layout_apply(f, g->col[i]);
    return r;
}

/// Bits that B occupies in the product of B and C: the low log_dim of each of the product's fields.
static uint32_t low_mask(const Layout *product, const Layout *b)
{
    uint32_t mask = 0;
    for (int32_t d = 0; d < product->rank; d++)
        mask |= ones(b->log_dim[d]) << field_low(product, d);
    return mask;
}

Layout layout_product(const Layout *b, const Layout *c)
{
    ASSERT(b->rank == c->rank);
    Layout r = *b;
    r.n_all = 0;
    memset(r.n_col, 0, sizeof r.n_col);
    memset(r.col, 0, sizeof r.col);
    for (int32_t d = 0; d < b->rank; d++)
        r.log_dim[d] = (uint8_t)(b->log_dim[d] + c->log_dim[d]);
    uint32_t low = low_mask(&r, b), high = ones(layout_bits(&r)) & ~low;
    for (int32_t in = 0; in < N_IN; in++) {
        for (int32_t i = 0; i < b->n_col[in]; i++)
            layout_push(&r, in, gf2_deposit(layout_cols(b, in)[i], low));
        for (int32_t i = 0; i < c->n_col[in]; i++)
            layout_push(&r, in, gf2_deposit(layout_cols(c, in)[i], high));
    }
    return r;
}

bool layout_divide(const Layout *a, const Layout *b, Layout *c)
{
    if (a->rank != b->rank) return false;
    *c = *a;
    c->n_all = 0;
    memset(c->n_col, 0, sizeof c->n_col);
    memset(c->col, 0, sizeof c->col);
    for (int32_t d = 0; d < a->rank; d++) {
        if (b->log_dim[d] > a->log_dim[d]) return false;
        c->log_dim[d] = (uint8_t)(a->log_dim[d] - b->log_dim[d]);
    }
    uint32_t low = low_mask(a, b), high = ones(layout_bits(a)) & ~low;
    for (int32_t in = 0; in < N_IN; in++) {
        if (b->n_col[in] > a->n_col[in]) return false;
        const uint32_t *ca = layout_cols(a, in), *cb = layout_cols(b, in);
        for (int32_t i = 0; i < a->n_col[in]; i++) {
            if (i < b->n_col[in]) {
                if (ca[i] != gf2_deposit(cb[i], low)) return false;
            } else {
                if (ca[i] & low) return false;
                layout_push(c, in, gf2_extract(ca[i], high));
            }
        }
    }
    return true;
}

/// A layout with one input dimension whose columns are `cols`.
static Layout plain(int32_t n, const uint32_t *cols, int32_t out_bits)
{
    Layout r = layout_empty(0, NULL);
    r.rank = 1;
    r.log_dim[0] = (uint8_t)out_bits;
    for (int32_t i = 0; i < n; i++)
        layout_push(&r, IN_REG, cols[i]);
    return r;
}

Layout layout_right_inverse(const Layout *l)
{
    Gf2Basis b = gf2_basis(l->n_all, l->col);
    uint32_t cols[GF2_MAX] = {0};
    int32_t bits = layout_bits(l);
    for (int32_t i = 0; i < bits; i++) {
        bool solved = gf2_solve(&b, 1u << i, &cols[i]);
        ASSERT(solved);
        (void)solved;
    }
    return plain(bits, cols, l->n_all);
}

Layout layout_left_inverse(const Layout *l)
{
    uint32_t all[GF2_MAX] = {0}, cols[GF2_MAX] = {0};
    int32_t bits = layout_bits(l);
    memcpy(all, l->col, sizeof l->col[0] * l->n_all);
    int32_t n = l->n_all + gf2_complement(l->n_all, l->col, bits, all + l->n_all);
    ASSERT(n == bits); // columns are independent
    Gf2Basis b = gf2_basis(n, all);
    for (int32_t i = 0; i < bits; i++) {
        gf2_solve(&b, 1u << i, &cols[i]);
        cols[i] &= ones(l->n_all);
    }
    return plain(bits, cols, l->n_all);
}

Layout layout_invert(const Layout *l)
{
    ASSERT(l->n_all == layout_bits(l));
    return layout_right_inverse(l);
}

// ---- shape ------------------------------------------------------------------------------------

Layout layout_reshape(const Layout *l, int32_t rank, const int32_t *shape)
{
    Layout r = *l, fresh = layout_empty(rank, shape);
    r.rank = fresh.rank;
    memcpy(r.log_dim, fresh.log_dim, sizeof r.log_dim);
    ASSERT(layout_bits(&r) == layout_bits(l));
    return r;
}

Layout layout_trans(const Layout *l, const int32_t *perm)
{
    Layout r = *l;
    for (int32_t d = 0; d < l->rank; d++)
        r.log_dim[d] = l->log_dim[perm[d]];
    for (int32_t i = 0; i < l->n_all; i++) {
        uint32_t c = 0;
        for (int32_t d = 0; d < l->rank; d++)
            c |= (l->col[i] >> field_low(l, perm[d]) & ones(l->log_dim[perm[d]]))
                 << field_low(&r, d);
        r.col[i] = c;
    }
    return r;
}

Layout layout_canon(const Layout *l)
{
    Layout r = *l;
    r.n_all = 0;
    memset(r.n_col, 0, sizeof r.n_col);
    memset(r.col, 0, sizeof r.col);
    for (int32_t in = 0; in < N_IN; in++)
        for (int32_t i = 0; i < l->n_col[in]; i++)
            if (in != IN_REG || layout_cols(l, in)[i]) layout_push(&r, in, layout_cols(l, in)[i]);
    return r;
}

Layout layout_squeeze(const Layout *l, int32_t d)
{
    int32_t low = field_low(l, d), width = l->log_dim[d];
    Layout r = *l;
    r.rank--;
    memmove(r.log_dim + d, r.log_dim + d + 1, (size_t)(l->rank - d - 1));
    r.log_dim[r.rank] = 0;
    for (int32_t i = 0; i < l->n_all; i++)
        r.col[i] = (l->col[i] & ones(low)) | (l->col[i] >> (low + width) << low);
    return layout_canon(&r);
}

Layout layout_unsqueeze(const Layout *l, int32_t d)
{
    Layout r = *l;
    memmove(r.log_dim + d + 1, l->log_dim + d, (size_t)(l->rank - d));
    r.log_dim[d] = 0;
    r.rank++;
    return r;
}

Layout layout_broadcast_source(const Layout *l, const int32_t *shape)
{
    Layout r = layout_empty(l->rank, shape);
    memcpy(r.n_col, l->n_col, sizeof r.n_col);
    r.n_all = l->n_all;
    for (int32_t i = 0; i < l->n_all; i++)
        for (int32_t d = 0; d < l->rank; d++)
            r.col[i] |= (l->col[i] >> field_low(l, d) & ones(r.log_dim[d])) << field_low(&r, d);
    return r;
}

Layout layout_expand(const Layout *l, const int32_t *shape)
{
    Layout r = layout_empty(l->rank, shape);
    memcpy(r.n_col, l->n_col, sizeof r.n_col);
    r.n_all = l->n_all;
    for (int32_t i = 0; i < l->n_all; i++)
        for (int32_t d = 0; d < l->rank; d++)
            r.col[i] |= (l->col[i] >> field_low(l, d) & ones(l->log_dim[d])) << field_low(&r, d);
    for (int32_t d = l->rank - 1; d >= 0; d--)
        for (int32_t i = l->log_dim[d]; i < r.log_dim[d]; i++)
            layout_push(&r, IN_REG, bit_of(&r, d, i));
    return r;
}

Layout layout_join(const Layout *l)
{
    Layout r = layout_unsqueeze(l, l->rank);
    r.log_dim[l->rank] = 1;
    for (int32_t i = 0; i < r.n_all; i++)
        r.col[i] <<= 1;
    memmove(r.col + 1, r.col, sizeof r.col[0] * r.n_all);
    r.col[0] = 1;
    r.n_col[IN_REG]++;
    r.n_all++;
    return r;
}

bool layout_split(const Layout *l, Layout *out)
{
    *out = layout_squeeze(l, l->rank - 1);
    for (int32_t i = 0; i < l->n_col[IN_REG]; i++)
        if (l->col[i] == 1) return true;
    return false;
}

// ---- questions --------------------------------------------------------------------------------

bool layout_equal(const Layout *a, const Layout *b)
{
    return a == b ||
           (a->rank == b->rank && a->is_shared == b->is_shared && a->n_all == b->n_all &&
            memcmp(a->log_dim, b->log_dim, a->rank) == 0 && memcmp(a->n_col, b->n_col, N_IN) == 0 &&
            memcmp(a->col, b->col, sizeof a->col[0] * a->n_all) == 0);
}

bool layout_equal_up_to_regs(const Layout *a, const Layout *b)
{
    Layout x = layout_canon(a), y = layout_canon(b);
    if (x.n_col[IN_REG] != y.n_col[IN_REG]) return false;
    for (Layout *l = &x;; l = &y) {
        for (int32_t i = 1; i < l->n_col[IN_REG]; i++)
            for (int32_t k = i; k > 0 && l->col[k - 1] > l->col[k]; k--) {
                uint32_t t = l->col[k];
                l->col[k] = l->col[k - 1], l->col[k - 1] = t;
            }
        if (l == &y) break;
    }
    return layout_equal(&x, &y);
}

uint32_t layout_free(const Layout *l, int32_t in)
{
    uint32_t mask = 0;
    for (int32_t i = 0; i < l->n_col[in]; i++)
        if (!layout_cols(l, in)[i]) mask |= 1u << i;
    return mask;
}

int32_t layout_contig(const Layout *l)
{
    int32_t n = 0;
    while (n < l->n_col[IN_REG] && n < l->log_dim[l->rank ? l->rank - 1 : 0] &&
           l->col[n] == 1u << n)
        n++;
    return n;
}

const char *layout_check(const Layout *l)
{
    int32_t bits = layout_bits(l);
    uint32_t seen = 0;
    if (bits > LAYOUT_MAX_BITS) return "more than 2^20 elements";
    if (gf2_rank(l->n_all, l->col) != bits) return "D1: some element is nowhere";
    if (l->is_shared) return l->n_all == bits ? NULL : "S1: not a bijection";
    if (l->n_col[IN_REG] > LAYOUT_MAX_REG) return "more than 1024 elements per thread";
    if (l->n_col[IN_LANE] != LAYOUT_LANES) return "not five lane bits";
    for (int32_t i = 0; i < l->n_all; i++) {
        uint32_t c = l->col[i];
        if ((c & (c - 1)) || (c & seen)) return "D2: not a sub-permutation";
        seen |= c;
    }
    return NULL;
}

const Layout *layout_intern(Module *m, const Layout *l)
{
    for (int32_t i = 0; i < m->layouts.len; i++)
        if (m->layouts.entries[i].value && layout_equal(m->layouts.entries[i].value, l))
            return m->layouts.entries[i].value;
    Layout *copy = arena_new(m->arena, Layout);
    *copy = *l;
    module_layout_name(m, copy); // names and records it
    return copy;
}
