// compiler/gpu/convert.c - which move takes a tile from one layout to another, by algebra.
//
//   Solve S o T = D: for every index bit of the destination, where its element is in the source.
//   no T              data crosses warps                        through shared memory
//   T moves lanes     within warps, the same register for all   shuffles
//   T moves registers within threads                            renaming: no instruction
//
// Source: layouts.md 4.1
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

ConvertPlan convert_classify(const Layout *src, const Layout *dst)
{
    ConvertPlan p = {.kind = CONVERT_SAME};
    if (layout_equal(src, dst)) return p;
    p.kind = CONVERT_SHARED;
    if (src->n_col[IN_WARP] != dst->n_col[IN_WARP] || !solve_all(src, dst, &p)) return p;
    uint32_t moves = 0, by_lane = 0;
    for (int32_t i = 0; i < LAYOUT_LANES; i++)
        by_lane |= p.lane_reg[i];
    for (int32_t i = 0; i < dst->n_col[IN_WARP]; i++)
        by_lane |= p.warp_reg[i];
    if (by_lane)
        return p; // the register to send differs by lane: selects cost as much as the trip through
                  // memory
    for (int32_t i = 0; i < dst->n_col[IN_REG]; i++)
        moves |= p.reg_lane[i];
    for (int32_t i = 0; i < LAYOUT_LANES; i++)
        moves |= p.lane_lane[i] ^ 1u << i;
    for (int32_t i = 0; i < dst->n_col[IN_WARP]; i++)
        moves |= p.warp_lane[i];
    p.kind = moves ? CONVERT_SHUFFLE : CONVERT_REGISTERS;
    return p;
}
