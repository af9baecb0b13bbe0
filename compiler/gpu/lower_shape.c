// compiler/gpu/lower_shape.c - constants, aranges and ops that rename: no data moves between
// threads.
//
// A shape op's operand has the layout that makes register r of the result a register of the operand
// (propagate.c asked for it), so most of them hand the registers on.
#include "compiler/gpu/lower.h"

static void lower_const(Lower *lo, Op *op)
{
    const Value *out = &op->out[0];
    Tile t = tile_new(lo, value_regs(out), false);
    LLVMValueRef x = const_of(lo, out->type->element, op_attr(op, ATTR_VALUE));
    for (int32_t r = 0; r < t.n; r++)
        t.v[r] = x;
    tile_set(lo, out, t);
}

/// start + what the thread contributes + the register's own bits, which stay a constant beside the
/// value.
static void lower_arange(Lower *lo, Op *op)
{
    const Value *out = &op->out[0];
    const Layout *l = out->type->layout;
    int64_t start = op_attr_i(op, ATTR_START);
    LLVMValueRef thread = thread_field(lo, l, 0, l->log_dim[0]);
    Tile t = tile_new(lo, layout_regs(l), true);
    for (int32_t r = 0; r < t.n; r++) {
        t.v[r] = thread;
        t.off[r] = start + (int64_t)layout_at(l, (uint32_t)r, 0, 0);
    }
    tile_set(lo, out, t);
}

static void lower_splat(Lower *lo, Op *op)
{
    Tile t = tile_new(lo, value_regs(&op->out[0]), false);
    LLVMValueRef x = gpu_scalar_of(lo, op->in[0]);
    for (int32_t r = 0; r < t.n; r++)
        t.v[r] = x;
    tile_set(lo, &op->out[0], t);
}

static void lower_broadcast(Lower *lo, Op *op)
{
    const Value *in = op->in[0], *out = &op->out[0];
    const Layout *l = out->type->layout, *from = in->type->layout;
    Layout source = layout_broadcast_source(l, in->type->shape);
    uint32_t bit_of[GF2_MAX] = {
        0}; // register bit of the operand that holds what register bit i of the result holds
    for (int32_t i = 0; i < l->n_col[IN_REG]; i++)
        for (int32_t k = 0; k < from->n_col[IN_REG]; k++)
            if (source.col[i] && layout_cols(from, IN_REG)[k] == source.col[i]) bit_of[i] = 1u << k;
    Tile *a = tile_of(lo, in), t = tile_new(lo, layout_regs(l), a->off != NULL);
    for (int32_t r = 0; r < t.n; r++) {
        uint32_t k = gf2_apply(bit_of, (uint32_t)r);
        t.v[r] = a->v[k];
        if (a->off) t.off[r] = a->off[k];
    }
    tile_set(lo, out, t);
}

static void lower_join(Lower *lo, Op *op)
{
    const Layout *l = op->out[0].type->layout;
    int32_t n = value_regs(op->in[0]), at = 0;
    while (l->col[at] != 1)
        at++;
    Tile t = tile_new(lo, 2 * n, false);
    for (int32_t r = 0; r < n; r++)
        for (int32_t k = 0; k < 2; k++)
            t.v[(r >> at << 1 | k) << at | (r & ((1 << at) - 1))] = reg_of(lo, op->in[k], r);
    tile_set(lo, &op->out[0], t);
}

static void lower_split(Lower *lo, Op *op)
{
    const Layout *l = op->in[0]->type->layout;
    int32_t at = 0, n = layout_regs(l);
    while (l->col[at] != 1)
        at++;
    Tile half[2] = {tile_new(lo, n / 2, false), tile_new(lo, n / 2, false)};
    for (int32_t r = 0; r < n; r++) {
        int32_t rest = (r & ((1 << at) - 1)) | (r >> (at + 1) << at);
        half[r >> at & 1].v[rest] = reg_of(lo, op->in[0], r);
    }
    for (int32_t k = 0; k < 2; k++)
        tile_set(lo, &op->out[k], half[k]);
}

/// The new index bit is the last register bit: a's registers, then b's.
static void lower_cat(Lower *lo, Op *op)
{
    int32_t n = value_regs(op->in[0]);
    Tile t = tile_new(lo, 2 * n, false);
    for (int32_t k = 0; k < 2; k++)
        for (int32_t r = 0; r < n; r++)
            t.v[k * n + r] = reg_of(lo, op->in[k], r);
    tile_set(lo, &op->out[0], t);
}

void lower_shape(Lower *lo, Op *op)
{
    switch (op->kind) {
    case OP_CONST:
        lower_const(lo, op);
        break;
    case OP_ARANGE:
        lower_arange(lo, op);
        break;
    case OP_SPLAT:
        lower_splat(lo, op);
        break;
    case OP_BROADCAST:
        lower_broadcast(lo, op);
        break;
    case OP_JOIN:
        lower_join(lo, op);
        break;
    case OP_SPLIT:
        lower_split(lo, op);
        break;
    case OP_CAT:
        lower_cat(lo, op);
        break;
    default:
        tile_set(lo, &op->out[0], *tile_of(lo, op->in[0]));
        break; // expand_dims, reshape, trans: same registers
    }
}
