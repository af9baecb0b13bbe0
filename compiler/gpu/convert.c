// compiler/gpu/convert.c - which move takes a tile from one layout to another, by algebra.
//
//   Solve S o T = D: for every index bit of the destination, where its element is in the source.
//   no T              data crosses warps                        through shared memory
//   T moves lanes     within warps                              shuffles, if they cost less
//   T moves registers within threads                            renaming: no instruction
//
// Where the register to send differs by lane, a schedule is a linear map G from lanes to registers: in
// round r a lane takes its register r ^ G lane. Then one lane is asked for one register at a time iff a
// map M exists with M N = A G ^ B, N = C G ^ D (A B: register part of T of registers and lanes, C D: lane
// part). Lanes exchange registers in pairs before (by M) and after (by G).
//
//   swap r0 <-> l0: G = M = (l0 -> r0), N = id: 2 selects, 1 shuffle, 2 selects
//
// Source: layouts.md 4.1, 4.2, 4.6
#include "compiler/gpu/gpu.h"

static void split(const Layout *s, uint32_t x, uint32_t *reg, uint32_t *lane)
{
    *reg = x & ((1u << s->n_col[IN_REG]) - 1);
    *lane = x >> s->n_col[IN_REG];
}

/// Solves one destination column; false: the element is in another warp.
static bool locate(const Layout *s, const Gf2Basis *b, uint32_t column, uint32_t *reg,
                   uint32_t *lane)
{
    uint32_t x;
    if (!gf2_solve(b, column, &x)) return false;
    split(s, x, reg, lane);
    return true;
}

static bool solve_all(const Layout *s, const Layout *d, ConvertPlan *p)
{
    Gf2Basis b = gf2_basis(s->n_col[IN_REG] + LAYOUT_LANES, s->col);
    for (int32_t i = 0; i < d->n_col[IN_REG]; i++)
        if (!locate(s, &b, layout_cols(d, IN_REG)[i], &p->reg_reg[i], &p->reg_lane[i]))
            return false;
    for (int32_t i = 0; i < LAYOUT_LANES; i++) {
        if (!locate(s, &b, layout_cols(d, IN_LANE)[i], &p->lane_reg[i], &p->lane_lane[i]))
            return false;
        if (!layout_cols(s, IN_LANE)[i])
            p->lane_lane[i] ^= 1u << i; // the own lane has it: stay home
    }
    for (int32_t i = 0; i < d->n_col[IN_WARP]; i++) {
        uint32_t moved = layout_cols(d, IN_WARP)[i] ^ layout_cols(s, IN_WARP)[i];
        if (!locate(s, &b, moved, &p->warp_reg[i], &p->warp_lane[i])) return false;
    }
    return true;
}

// ---- the schedule -----------------------------------------------------------------------------

/// A linear map of lanes that is known on some vectors only; the rest of the space goes to 0.
typedef struct Partial {
    int32_t n;
    uint32_t at[LAYOUT_LANES], value[LAYOUT_LANES];
} Partial;

/// Columns of the map on unit vectors.
static void complete(const Partial *p, uint32_t *columns)
{
    uint32_t basis[2 * GF2_MAX];
    memcpy(basis, p->at, sizeof *basis * (size_t)p->n);
    int32_t n = p->n + gf2_complement(p->n, p->at, LAYOUT_LANES, basis + p->n);
    Gf2Basis b = gf2_basis(n, basis);
    for (int32_t i = 0; i < LAYOUT_LANES; i++) {
        uint32_t x = 0;
        gf2_solve(&b, 1u << i, &x);
        columns[i] = gf2_apply(p->value, x & ((1u << p->n) - 1));
    }
}

/// G with N = id: each lane is asked by itself and its butterfly partners. @return false: there is none
static bool butterfly(const Layout *d, ConvertPlan *p)
{
    Gf2Basis c = gf2_basis(d->n_col[IN_REG], p->reg_lane);
    for (int32_t i = 0; i < LAYOUT_LANES; i++)
        if (!gf2_solve(&c, p->lane_lane[i] ^ 1u << i, &p->take[i])) return false;
    return true;
}

/// G that is 0 but where lanes would ask one lane for different registers: those take turns.
static bool turns(const Layout *d, ConvertPlan *p)
{
    const Gf2Basis lanes = gf2_basis(LAYOUT_LANES, p->lane_lane);
    Gf2Basis image = lanes;
    Partial g = {0};
    for (int32_t k = 0; k < lanes.n_kernel; k++) {
        if (!gf2_apply(p->lane_reg, lanes.kernel[k])) continue;
        int32_t bit = 0;
        while (bit < d->n_col[IN_REG] && !gf2_basis_add(&image, p->reg_lane[bit]))
            bit++;
        if (bit == d->n_col[IN_REG]) return false;
        g.at[g.n] = lanes.kernel[k], g.value[g.n++] = 1u << bit;
    }
    complete(&g, p->take);
    return true;
}

/// N and M from G. @return false: a lane would have to offer two registers at once
static bool find_offers(const Layout *d, ConvertPlan *p)
{
    uint32_t wanted[LAYOUT_LANES];
    Partial m = {0};
    for (int32_t i = 0; i < LAYOUT_LANES; i++) {
        p->from[i] = gf2_apply(p->reg_lane, p->take[i]) ^ p->lane_lane[i];
        wanted[i] = gf2_apply(p->reg_reg, p->take[i]) ^ p->lane_reg[i];
    }
    Gf2Basis b = {0};
    for (int32_t i = 0; i < LAYOUT_LANES; i++)
        if (gf2_basis_add(&b, p->from[i])) m.at[m.n] = p->from[i], m.value[m.n++] = wanted[i];
    complete(&m, p->give);
    for (int32_t i = 0; i < LAYOUT_LANES; i++)
        if (gf2_apply(p->give, p->from[i]) != wanted[i]) return false;
    for (int32_t i = 0; i < d->n_col[IN_REG]; i++)
        p->send[i] = p->reg_reg[i] ^ gf2_apply(p->give, p->reg_lane[i]);
    for (int32_t i = 0; i < d->n_col[IN_WARP]; i++)
        p->give_warp[i] = gf2_apply(p->give, p->warp_lane[i]) ^ p->warp_reg[i];
    return true;
}

/// Register bits that change the element but not the lane it comes from share a word.
static uint32_t packed_bits(const Layout *d, const ConvertPlan *p, int32_t bytes)
{
    uint32_t bits = 0;
    for (int32_t i = 0; i < d->n_col[IN_REG] && bytes << __builtin_popcount(bits) < 4; i++)
        if (!p->reg_lane[i] && p->reg_reg[i]) bits |= 1u << i;
    return bytes << __builtin_popcount(bits) == 4 ? bits : 0;
}

static int32_t shuffle_cost(const Layout *s, const Layout *d, const ConvertPlan *p, int32_t bytes)
{
    int32_t rounds = 0, stages = 0;
    bool warps_move = false;
    for (int32_t i = 0; i < d->n_col[IN_WARP]; i++)
        warps_move |= p->warp_lane[i] != 0, stages += p->give_warp[i] != 0;
    for (uint32_t r = 0; r < (uint32_t)layout_regs(d); r++)
        rounds += !(r & p->packed) && (!p->is_butterfly || warps_move || gf2_apply(p->reg_lane, r));
    int32_t selects = stages * layout_regs(s);
    for (int32_t i = 0; i < LAYOUT_LANES; i++)
        selects += (p->give[i] ? layout_regs(s) : 0) + (p->take[i] ? layout_regs(d) : 0);
    return (2 * rounds + selects) * MAX(1, bytes / 4);
}

static int32_t shared_cost(const Layout *s, const Layout *d, int32_t bytes)
{
    enum { ADDRESS = 6, BARRIER = 25 };
    return MAX(1, layout_regs(s) * bytes / 4) + MAX(1, layout_regs(d) * bytes / 4) + ADDRESS +
           BARRIER;
}

/// The cheaper of the two schedules. @return false: there is none
static bool schedule(const Layout *s, const Layout *d, int32_t bytes, ConvertPlan *p)
{
    ConvertPlan best = {.cost = INT32_MAX};
    for (int32_t way = 0; way < 2; way++) {
        ConvertPlan q = *p;
        memset(q.take, 0, sizeof q.take);
        q.is_butterfly = way == 0;
        if (!(way ? turns(d, &q) : butterfly(d, &q)) || !find_offers(d, &q)) continue;
        q.packed = packed_bits(d, &q, bytes);
        q.cost = shuffle_cost(s, d, &q, bytes);
        if (q.cost < best.cost) best = q;
    }
    if (best.cost == INT32_MAX) return false;
    *p = best;
    return true;
}

bool convert_in_warps(const Layout *src, const Layout *dst, int32_t bytes, ConvertPlan *p)
{
    *p = (ConvertPlan){.kind = CONVERT_REGISTERS};
    if (src->n_col[IN_WARP] != dst->n_col[IN_WARP] || !solve_all(src, dst, p)) return false;
    uint32_t moves = 0;
    for (int32_t i = 0; i < LAYOUT_LANES; i++)
        moves |= p->lane_reg[i] | (p->lane_lane[i] ^ 1u << i);
    for (int32_t i = 0; i < dst->n_col[IN_WARP]; i++)
        moves |= p->warp_reg[i] | p->warp_lane[i];
    for (int32_t i = 0; i < dst->n_col[IN_REG]; i++)
        moves |= p->reg_lane[i];
    if (!moves) return true;
    p->kind = CONVERT_SHUFFLE;
    return schedule(src, dst, bytes, p);
}

ConvertPlan convert_classify(const Layout *src, const Layout *dst, int32_t bytes)
{
    ConvertPlan p = {.kind = CONVERT_SAME};
    if (layout_equal(src, dst)) return p;
    int32_t most = shared_cost(src, dst, bytes);
    if (!convert_in_warps(src, dst, bytes, &p) || p.cost > most)
        p.kind = CONVERT_SHARED, p.cost = most;
    return p;
}
