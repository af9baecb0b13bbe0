// compiler/gpu/propagate.h - what the two halves of layout propagation share.
//
//   propagate.c   which layout each value is computed in, and which one each op wants
//   in_layout.c   a value in the layout that is wanted: moved, or computed once more there
#ifndef COMPILER_GPU_PROPAGATE_H
#define COMPILER_GPU_PROPAGATE_H
#include "compiler/gpu/mma.h"

typedef struct Made {
    const Layout *layout;
    Value *value;
} Made;

typedef VEC(Made) MadeList;

typedef struct Assign {
    GpuCx *cx;
    const Layout **natural; ///< by Value.id, of the values that were there at the start
    MadeList *made;         ///< by Value.id: what exists in other layouts
    int32_t n_values;
    VEC(Value *) origin; ///< by Value.id - n_values: what a clone or convert was made of
    int32_t budget;      ///< values that the cost in question may still look at
    bool changed;
    KilnStatus st;
} Assign;

static inline bool is_tile(const Value *v)
{
    return v->type->kind == TYPE_TILE;
}

static inline bool is_shape_op(OpKind k)
{
    return k == OP_BROADCAST || k == OP_EXPAND_DIMS || k == OP_RESHAPE || k == OP_TRANS;
}

static inline bool is_pointwise(OpKind k)
{
    return k == OP_ELEM || k == OP_CAST || k == OP_BITCAST || k == OP_ADDPTR || k == OP_HINT;
}

/// The layout in which `v` is computed anyway; NULL: passive.
static inline const Layout *natural(const Assign *s, const Value *v)
{
    return is_tile(v) ? s->natural[v->id] : NULL;
}

/// The module's copy of `l` without zero register columns.
static inline const Layout *intern(Assign *s, Layout l)
{
    Layout canon = layout_canon(&l);
    return layout_intern(s->cx->module, &canon);
}

/// The layout of `op`'s operand through a shape op when its result is in `l` (exact).
Layout source_of(const Op *op, const Layout *l);
/// `v` in layout `l`: itself, its definition once more, or a convert, whichever costs least.
Value *in_layout(Assign *s, Value *v, const Layout *l);
#endif
