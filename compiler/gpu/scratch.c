// compiler/gpu/scratch.c - what ops need of shared memory while they run, and which memory they touch.
//
//   op     write its scratch | barrier | read it
//
// Where it lies is shared.c's business, the barrier in front of it barriers.c's.
#include "compiler/gpu/gpu.h"

static int64_t bytes_of(const Type *t)
{
    ASSERT(t);
    return t->numel * (t->is_ptr ? 8 : dtype_bytes(t->dtype));
}

/// Low-precision sums are held in f32 on the way.
static int64_t reduce_bytes(const GpuCx *cx, const Op *op)
{
    const Layout *l = op->in[0]->type->layout;
    int32_t low, width, warps = 0;
    layout_field(l, (int32_t)op_attr_i(op, ATTR_AXIS), &low, &width);
    uint32_t axis = ((1u << width) - 1) << low;
    for (int32_t i = 0; i < l->n_col[IN_WARP]; i++)
        warps += (layout_cols(l, IN_WARP)[i] & axis) != 0;
    if (!warps) return 0;
    int64_t kept = op->in[0]->type->numel >> width, total = 0;
    for (int32_t i = 0; i < MAX(op->n_in, op->n_out); i++)
        total += round_up((kept << warps) * 8, 16);
    (void)cx;
    return total;
}

bool layout_repeats(const Layout *l)
{
    return layout_free(l, IN_LANE) || layout_free(l, IN_WARP);
}

int64_t scratch_bytes(const GpuCx *cx, const Op *op)
{
    const Type *in = op->n_in ? op->in[0]->type : NULL, *out = op->n_out ? op->out[0].type : NULL;
    switch (op->kind) {
    case OP_CONVERT: {
        ASSERT(in && out);
        ConvertPlan p = convert_classify(in->layout, out->layout, type_element_bytes(in));
        return p.kind == CONVERT_SHARED ? bytes_of(in) : 0;
    }
    case OP_REDUCE:
    case OP_SCAN:
        return reduce_bytes(cx, op);
    case OP_DOT:
        if (op->note && op_note(op)->dot) return 0;
        return round_up(bytes_of(in), 16) + bytes_of(op->in[1]->type);
    case OP_GATHER:
    case OP_FLIP:
    case OP_SORT:
        return bytes_of(in);
    case OP_HISTOGRAM:
        return bytes_of(out);
    case OP_ATOMIC_RMW:
    case OP_ATOMIC_CAS:
        if (!op->out[0].uses) return 0;
        ASSERT(out);
        if (out->kind != TYPE_TILE) return 16;
        return layout_repeats(out->layout) ? bytes_of(out) : 0;
    default:
        return 0;
    }
}

int32_t pointer_operand(const Op *op)
{
    switch (op->kind) {
    case OP_LOAD:
    case OP_STORE:
    case OP_ATOMIC_RMW:
    case OP_ATOMIC_CAS:
        return 0;
    case OP_COPY_ASYNC:
        return 2;
    default:
        return -1;
    }
}

/// `v` behind what keeps the pointer inside one tensor: an argument of a region, or another op's
/// result.
static const Value *stripped(const Value *v)
{
    for (;;) {
        if (!v->def) return v;
        switch (v->def->kind) {
        case OP_ADDPTR:
        case OP_SPLAT:
        case OP_BROADCAST:
        case OP_EXPAND_DIMS:
        case OP_RESHAPE:
        case OP_TRANS:
        case OP_HINT:
        case OP_CONVERT:
            v = v->def->in[0];
            break;
        default:
            return v;
        }
    }
}

static const Value *root_of(const Value *v, int32_t depth)
{
    v = stripped(v);
    if (v->def || depth > 8) return NULL;
    const Op *owner = v->region->owner;
    if (!owner) return v; // an argument of the kernel
    if (owner->kind != OP_FOR || v->index == 0) return NULL;
    // A carried pointer: what comes in, as long as the body moves it inside its tensor.
    const Value *next = stripped(v->region->last->in[v->index - 1]),
                *root = root_of(owner->in[v->index + 2], depth + 1);
    return next == v || (root && root_of(next, depth + 1) == root) ? root : NULL;
}

const Value *pointer_root(const Value *v)
{
    return root_of(v, 0);
}
