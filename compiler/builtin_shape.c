// compiler/builtin_shape.c - section 11.2: shapes, and the functions of 11.8 that move whole
// elements: sort, topk, gather, histogram.
#include "compiler/lower.h"

/// The shape in `*shape`: integers one by one, or one tuple of them.
static Val rest_shape(Lower *cx, const Call *c)
{
    if (c->n_rest == 1 && c->rest[0].kind == VAL_TUPLE) return c->rest[0];
    return val_tuple(cx->arena, c->n_rest, c->rest);
}

static const Node *rest_node(const Call *c)
{
    return c->n_rest == 1 ? c->rest_nodes[0] : c->node;
}

Val tl_broadcast_to(Lower *cx, Call *c)
{
    int32_t rank, shape[TYPE_MAX_RANK];
    Value *x = arg_run(cx, c, 0);
    if (!x || !arg_shape(cx, c, rest_shape(cx, c), rest_node(c), &rank, shape)) return val_error();
    if (x->type->rank && x->type->rank != rank) {
        lower_error(cx, c->node, "E0503", "cannot broadcast shape %s to %s: the ranks differ",
                    lower_shape_text(cx, x->type->rank, x->type->shape),
                    lower_shape_text(cx, rank, shape));
        return val_error();
    }
    x = infer_broadcast(cx, x, rank, shape, c->node);
    return x ? val_run(x) : val_error();
}

Val tl_broadcast(Lower *cx, Call *c)
{
    Value *x = arg_run(cx, c, 0), *y = arg_run(cx, c, 1);
    if (!x || !y || !infer_broadcast2(cx, &x, &y, c->node)) return val_error();
    return val_tuple(cx->arena, 2, (Val[]){val_run(x), val_run(y)});
}

Val tl_expand_dims(Lower *cx, Call *c)
{
    Value *x = arg_run(cx, c, 0);
    if (!x) return val_error();
    Val axes = c->args[1];
    if (axes.kind != VAL_TUPLE) axes = val_tuple(cx->arena, 1, &c->args[1]);
    int32_t rank = x->type->rank + axes.n;
    bool inserted[TYPE_MAX_RANK + 1] = {0};
    if (rank > TYPE_MAX_RANK) {
        lower_error(cx, c->node, "E0507", "a tile may have at most %d axes", TYPE_MAX_RANK);
        return val_error();
    }
    for (int32_t i = 0; i < axes.n; i++) {
        int32_t axis;
        Call one = *c;
        one.args[1] = axes.items[i];
        if (!arg_axis(cx, &one, 1, rank, &axis)) return val_error();
        if (inserted[axis]) {
            lower_error(cx, c->nodes[1], "E0508", "axis %d is inserted twice", axis);
            return val_error();
        }
        inserted[axis] = true;
    }
    cx->b.span = lower_span(cx, c->node);
    if (x->type->rank == 0) {
        int32_t ones[TYPE_MAX_RANK];
        for (int32_t i = 0; i < rank; i++)
            ones[i] = 1;
        return val_run(build_splat(&cx->b, x, rank, ones));
    }
    for (int32_t i = 0; i < rank; i++)
        if (inserted[i]) x = build_expand_dims(&cx->b, x, i);
    return val_run(x);
}

/// x with row-major shape `shape`; one element may become a scalar.
static Val reshaped(Lower *cx, Call *c, Value *x, int32_t rank, const int32_t *shape)
{
    int64_t numel = 1;
    for (int32_t i = 0; i < rank; i++)
        numel *= shape[i];
    if (numel != x->type->numel) {
        lower_error(cx, c->node, "E0509", "cannot reshape %s to %s: %lld elements against %lld",
                    lower_describe(cx, val_run(x)), lower_shape_text(cx, rank, shape),
                    (long long)x->type->numel, (long long)numel);
        return val_error();
    }
    cx->b.span = lower_span(cx, c->node);
    if (x->type->rank == 0) return val_run(rank ? build_splat(&cx->b, x, rank, shape) : x);
    if (rank == 0) {
        if (x->type->is_ptr) return lower_not_yet(cx, c->node, "a tile of one pointer as a scalar");
        while (x->type->rank)
            build_reduce(&cx->b, x->type->dtype == DTYPE_I1 ? COMBINE_OR : COMBINE_MAX, x, 0, &x);
        return val_run(x);
    }
    if (x->type->rank == rank && !memcmp(x->type->shape, shape, (size_t)rank * sizeof(int32_t)))
        return val_run(x);
    return val_run(build_reshape(&cx->b, x, rank, shape));
}

Val tl_reshape(Lower *cx, Call *c)
{
    int32_t rank, shape[TYPE_MAX_RANK];
    Value *x = arg_run(cx, c, 0);
    if (!x || !arg_shape(cx, c, rest_shape(cx, c), rest_node(c), &rank, shape)) return val_error();
    return reshaped(cx, c, x, rank, shape);
}

Val tl_ravel(Lower *cx, Call *c)
{
    Value *x = arg_run(cx, c, 0);
    return x ? reshaped(cx, c, x, 1, (int32_t[]){(int32_t)x->type->numel}) : val_error();
}

Val tl_squeeze(Lower *cx, Call *c)
{
    int32_t axis, shape[TYPE_MAX_RANK], rank = 0;
    Value *x = arg_run(cx, c, 0);
    if (!x || !arg_axis(cx, c, 1, x->type->rank, &axis)) return val_error();
    if (x->type->shape[axis] != 1) {
        lower_error(cx, c->nodes[1], "E0508", "axis %d has length %d, not 1", axis,
                    x->type->shape[axis]);
        return val_error();
    }
    for (int32_t i = 0; i < x->type->rank; i++)
        if (i != axis) shape[rank++] = x->type->shape[i];
    return reshaped(cx, c, x, rank, shape);
}

Val tl_item(Lower *cx, Call *c)
{
    Value *x = arg_run(cx, c, 0);
    if (!x) return val_error();
    if (x->type->numel != 1) {
        lower_error(cx, c->node, "E0803", "`%s` needs one element, got %s", c->name,
                    lower_describe(cx, val_run(x)));
        return val_error();
    }
    return reshaped(cx, c, x, 0, NULL);
}

Val tl_trans(Lower *cx, Call *c)
{
    Value *x = arg_run(cx, c, 0);
    if (!x) return val_error();
    int32_t rank = x->type->rank, perm[TYPE_MAX_RANK];
    Val dims = rest_shape(cx, c);
    if (dims.n == 0) {
        if (rank < 2 || c->builtin->aux) {
            lower_error(cx, c->node, "E0510",
                        "`%s` without dimensions needs a tile of rank 2 or more, got %s", c->name,
                        lower_describe(cx, val_run(x)));
            return val_error();
        }
        for (int32_t i = 0; i < rank; i++)
            perm[i] = i < rank - 2 ? i : 2 * rank - 3 - i;
        return val_run(build_trans(&cx->b, x, perm));
    }
    uint32_t seen = 0;
    bool ok = dims.n == rank;
    for (int32_t i = 0; i < dims.n && ok; i++) {
        int32_t d;
        ok = val_fits_i32(dims.items[i], &d) && d >= -rank && d < rank;
        if (!ok) break;
        perm[i] = d < 0 ? d + rank : d;
        ok = !(seen >> perm[i] & 1);
        seen |= 1u << perm[i];
    }
    if (ok) return val_run(build_trans(&cx->b, x, perm));
    lower_error(cx, rest_node(c), "E0511", "%s is not a permutation of the %d axes",
                lower_describe(cx, dims), rank);
    return val_error();
}

/// Operands of join and interleave: one element type, one shape.
static bool join_operands(Lower *cx, Call *c, Value **x, Value **y)
{
    *x = arg_run(cx, c, 0), *y = arg_run(cx, c, 1);
    if (!*x || !*y) return false;
    if ((*x)->type->dtype != (*y)->type->dtype || (*x)->type->is_ptr != (*y)->type->is_ptr) {
        lower_error(cx, c->node, "E0415", "`%s` needs equal element types, got %s and %s", c->name,
                    lower_describe(cx, val_run(*x)), lower_describe(cx, val_run(*y)));
        return false;
    }
    if (!infer_broadcast2(cx, x, y, c->node)) return false;
    if ((*x)->type->rank == 0) {
        *x = build_splat(&cx->b, *x, 1, (int32_t[]){1});
        *y = build_splat(&cx->b, *y, 1, (int32_t[]){1});
    }
    if ((*x)->type->numel * 2 <= TYPE_MAX_NUMEL && (*x)->type->rank < TYPE_MAX_RANK) return true;
    lower_error(cx, c->node, "E0502", "a tile may have at most %d elements, this one has %lld",
                TYPE_MAX_NUMEL, (long long)(*x)->type->numel * 2);
    return false;
}

Val tl_join(Lower *cx, Call *c)
{
    Value *x, *y;
    bool scalars = c->args[0].kind != VAL_RUN || !c->args[0].run->type->rank;
    scalars = scalars && (c->args[1].kind != VAL_RUN || !c->args[1].run->type->rank);
    if (!join_operands(cx, c, &x, &y)) return val_error();
    Value *j = build_join(&cx->b, x, y);
    return val_run(scalars ? build_reshape(&cx->b, j, 1, (int32_t[]){2}) : j);
}

Val tl_interleave(Lower *cx, Call *c)
{
    Value *x, *y;
    int32_t shape[TYPE_MAX_RANK];
    if (!join_operands(cx, c, &x, &y)) return val_error();
    memcpy(shape, x->type->shape, (size_t)x->type->rank * sizeof(int32_t));
    shape[x->type->rank - 1] *= 2;
    return val_run(build_reshape(&cx->b, build_join(&cx->b, x, y), x->type->rank, shape));
}

Val tl_split(Lower *cx, Call *c)
{
    Value *x = arg_run(cx, c, 0), *out[2];
    if (!x) return val_error();
    if (!x->type->rank || x->type->shape[x->type->rank - 1] != 2) {
        lower_error(cx, c->node, "E0512", "`%s` needs a last axis of length 2, got %s", c->name,
                    lower_describe(cx, val_run(x)));
        return val_error();
    }
    if (x->type->rank == 1) { // two scalars
        x = build_reshape(&cx->b, x, 2, (int32_t[]){1, 2});
        build_split(&cx->b, x, out);
        for (int32_t k = 0; k < 2; k++) {
            Val s = reshaped(cx, c, out[k], 0, NULL);
            if (is_error(s)) return s;
            out[k] = s.run;
        }
    } else {
        build_split(&cx->b, x, out);
    }
    return val_tuple(cx->arena, 2, (Val[]){val_run(out[0]), val_run(out[1])});
}

Val tl_cat(Lower *cx, Call *c)
{
    Value *x = arg_run(cx, c, 0), *y = arg_run(cx, c, 1);
    int32_t axis = 0;
    if (!x || !y) return val_error();
    if (x->type != y->type || x->type->rank == 0) {
        lower_error(cx, c->node, "E0513",
                    "`tl.cat` needs two tiles of one shape and type, got %s and %s",
                    lower_describe(cx, val_run(x)), lower_describe(cx, val_run(y)));
        return val_error();
    }
    if (arg_given(c, 3) && !arg_axis(cx, c, 3, x->type->rank, &axis)) return val_error();
    if (x->type->numel * 2 > TYPE_MAX_NUMEL) {
        lower_error(cx, c->node, "E0502", "a tile may have at most %d elements, this one has %lld",
                    TYPE_MAX_NUMEL, (long long)x->type->numel * 2);
        return val_error();
    }
    return val_run(build_cat(&cx->b, x, y, axis));
}

Val tl_flip(Lower *cx, Call *c)
{
    Value *x = arg_run(cx, c, 0);
    if (!x) return val_error();
    int32_t axis = x->type->rank - 1;
    if (arg_given(c, 1) && !arg_axis(cx, c, 1, x->type->rank, &axis)) return val_error();
    if (x->type->rank) return val_run(build_flip(&cx->b, x, axis));
    lower_error(cx, c->node, "E0518", "`%s` needs a tile, got %s", c->name,
                lower_describe(cx, val_run(x)));
    return val_error();
}

// ---- sorting, gathering, counting -------------------------------------------------------------

/// The tile argument 0 whose last axis `dim` (argument `index`) names.
static Value *last_axis(Lower *cx, Call *c, int32_t index)
{
    Value *x = arg_numeric(cx, c, 0);
    int32_t axis;
    if (!x) return NULL;
    if (!x->type->rank) {
        lower_error(cx, c->node, "E0518", "`%s` needs a tile, got %s", c->name,
                    lower_describe(cx, val_run(x)));
        return NULL;
    }
    if (!arg_given(c, index)) return x;
    if (!arg_axis(cx, c, index, x->type->rank, &axis)) return NULL;
    if (axis == x->type->rank - 1) return x;
    lower_error(cx, c->nodes[index], "E0508", "`%s` works on the last axis only, got axis %d of %d",
                c->name, axis, x->type->rank);
    return NULL;
}

Val tl_sort(Lower *cx, Call *c)
{
    bool descending;
    Value *x = last_axis(cx, c, 1);
    if (!x || !arg_bool(cx, c, 2, false, &descending)) return val_error();
    return val_run(build_sort(&cx->b, x, descending, x->type->shape[x->type->rank - 1]));
}

Val tl_topk(Lower *cx, Call *c)
{
    bool descending;
    int64_t k;
    Value *x = last_axis(cx, c, 2);
    if (!x || !arg_int(cx, c, 1, "k", &k) || !arg_bool(cx, c, 3, true, &descending))
        return val_error();
    int32_t extent = x->type->shape[x->type->rank - 1];
    if (!is_pow2(k) || k > extent) {
        lower_error(cx, c->nodes[1], is_pow2(k) ? "E0804" : "E0501",
                    "`k` must be a power of two of at most %d, got %lld", extent, (long long)k);
        return val_error();
    }
    return val_run(build_sort(&cx->b, x, descending, (int32_t)k));
}

Val tl_gather(Lower *cx, Call *c)
{
    Value *src = arg_run(cx, c, 0), *index = arg_run(cx, c, 1);
    int32_t axis;
    if (!src || !index) return val_error();
    if (index->type->is_ptr || !dtype_is_int(index->type->dtype)) {
        lower_error(cx, c->nodes[1], "E0410", "the index of `tl.gather` must be an integer, got %s",
                    lower_describe(cx, val_run(index)));
        return val_error();
    }
    if (!src->type->rank) {
        lower_error(cx, c->nodes[0], "E0518", "`tl.gather` needs a tile, got %s",
                    lower_describe(cx, val_run(src)));
        return val_error();
    }
    if (!arg_axis(cx, c, 2, src->type->rank, &axis)) return val_error();
    bool same = src->type->rank == index->type->rank;
    for (int32_t i = 0; same && i < src->type->rank; i++)
        same = i == axis || src->type->shape[i] == index->type->shape[i];
    if (!same) {
        lower_error(cx, c->node, "E0503",
                    "`tl.gather` needs equal shapes but for axis %d, got %s and %s", axis,
                    lower_describe(cx, val_run(src)), lower_describe(cx, val_run(index)));
        return val_error();
    }
    return val_run(build_gather(&cx->b, src, index, axis));
}

Val tl_histogram(Lower *cx, Call *c)
{
    int64_t bins;
    Value *x = arg_run(cx, c, 0), *mask = NULL;
    if (!x || !arg_int(cx, c, 1, "num_bins", &bins)) return val_error();
    if (x->type->rank != 1 || x->type->is_ptr || !dtype_is_int(x->type->dtype) ||
        dtype_bits(x->type->dtype) != 32) {
        lower_error(cx, c->nodes[0], "E0807",
                    "`tl.histogram` needs a tile of rank 1 of 32-bit integers, got %s",
                    lower_describe(cx, val_run(x)));
        return val_error();
    }
    int32_t rank, shape[TYPE_MAX_RANK];
    if (!arg_shape(cx, c, val_int(bins), c->nodes[1], &rank, shape)) return val_error();
    if (arg_given(c, 2)) {
        mask = arg_run(cx, c, 2);
        if (!mask ||
            !(mask = infer_broadcast(cx, infer_truth(cx, mask), 1, x->type->shape, c->nodes[2])))
            return val_error();
    }
    cx->b.span = lower_span(cx, c->node);
    return val_run(build_histogram(&cx->b, x, mask, (int32_t)bins));
}
