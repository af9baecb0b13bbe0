#include "ir/ir.h"

#include <stdio.h>

const OpFacts op_facts[OP_KIND_COUNT] = {
#define PURE    EFFECT_PURE
#define READS   EFFECT_READS
#define WRITES  EFFECT_WRITES
#define CONTROL EFFECT_CONTROL
#define OP(NAME, text, lo, hi, out, reg, effects, ...)                                             \
    [OP_##NAME] = {text, lo, hi, out, reg, effects, {__VA_ARGS__}},
#include "ir/op.def"
#undef OP
#undef PURE
#undef READS
#undef WRITES
#undef CONTROL
};

const ElemFacts elem_facts[ELEM_KIND_COUNT] = {
#define ELEM(NAME, text, arity, domain, result)                                                    \
    [ELEM_##NAME] = {text, arity, DOMAIN_##domain, RESULT_##result},
#include "ir/elem.def"
#undef ELEM
};

Module *module_new(Arena *arena, Diag *diag)
{
    Module *m = arena_new(arena, Module);
    m->arena = arena;
    m->diag = diag;
    return m;
}

Func *func_new(Module *m, const char *name, int32_t n_params, const Type *const *types,
               const char *const *names)
{
    Func *fn = arena_new(m->arena, Func);
    fn->module = m;
    fn->name = arena_strdup(m->arena, name);
    fn->span = NO_SPAN;
    fn->num_warps = FUNC_NUM_WARPS;
    fn->num_stages = FUNC_NUM_STAGES;
    fn->fp_fusion = true;
    fn->n_params = n_params;
    fn->params = arena_array(m->arena, Param, n_params ? n_params : 1);
    fn->body = region_new(m, fn, NULL, n_params, types);
    for (int32_t i = 0; i < n_params; i++) {
        const char *param = names && names[i] ? arena_strdup(m->arena, names[i]) : NULL;
        fn->params[i] = (Param){param, fn->body->args[i], 1};
        fn->body->args[i]->name = param;
    }
    vec_push(m->arena, &m->funcs, fn);
    return fn;
}

/// Writes nothing that is right already, so that numbered functions can be read by several threads.
static void number_value(Value *v, int32_t id)
{
    if (v->id != id) v->id = id;
}

static int32_t number_region(Region *r, int32_t next)
{
    for (int32_t i = 0; i < r->n_args; i++)
        number_value(r->args[i], next++);
    EACH_OP(op, r) {
        for (int32_t i = 0; i < op->n_out; i++)
            number_value(&op->out[i], next++);
        for (int32_t i = 0; i < op->n_regions; i++)
            next = number_region(op->regions[i], next);
    }
    return next;
}

int32_t func_number(Func *fn)
{
    int32_t n = number_region(fn->body, 0);
    if (fn->module->n_values < n) fn->module->n_values = n;
    return n;
}

static void value_init(Module *m, Value *v, const Type *type, int32_t index)
{
    v->type = type;
    v->index = index;
    v->span = NO_SPAN;
    v->id = m->n_values++;
}

Region *region_new(Module *m, Func *fn, Op *owner, int32_t n_args, const Type *const *types)
{
    Region *r = arena_new(m->arena, Region);
    r->owner = owner;
    r->func = fn;
    r->n_args = n_args;
    r->args = arena_array(m->arena, Value *, n_args ? n_args : 1);
    for (int32_t i = 0; i < n_args; i++) {
        r->args[i] = arena_new(m->arena, Value);
        value_init(m, r->args[i], types[i], i);
        r->args[i]->region = r;
    }
    return r;
}

// ---- uses ---------------------------------------------------------------------------------------

static void use_link(Op *op, int32_t index, Value *v)
{
    Use *u = &op->in_uses[index];
    *u = (Use){op, index, v->uses, NULL};
    if (v->uses) v->uses->prev = u;
    v->uses = u;
    op->in[index] = v;
}

static void use_unlink(Op *op, int32_t index)
{
    Use *u = &op->in_uses[index];
    if (u->prev)
        u->prev->next = u->next;
    else
        op->in[index]->uses = u->next;
    if (u->next) u->next->prev = u->prev;
    op->in[index] = NULL;
}

void op_set_input(Op *op, int32_t index, Value *v)
{
    ASSERT(index >= 0 && index < op->n_in);
    if (op->in[index] == v) return;
    use_unlink(op, index);
    use_link(op, index, v);
}

void replace_uses(Value *from, Value *to)
{
    ASSERT(from->type == to->type);
    if (from == to) return;
    while (from->uses)
        op_set_input(from->uses->op, from->uses->index, to);
}

// ---- operations ---------------------------------------------------------------------------------

Op *op_new(Module *m, OpKind kind, Span span, int32_t n_in, Value *const *in, int32_t n_out,
           const Type *const *out_types, int32_t n_regions)
{
    Op *op = arena_new(m->arena, Op);
    op->kind = kind;
    op->span = span;
    op->n_in = n_in;
    op->n_out = n_out;
    op->n_regions = n_regions;
    op->in = n_in ? arena_array(m->arena, Value *, n_in) : NULL;
    op->in_uses = n_in ? arena_array(m->arena, Use, n_in) : NULL;
    op->out = n_out ? arena_array(m->arena, Value, n_out) : NULL;
    op->regions = n_regions ? arena_array(m->arena, Region *, n_regions) : NULL;
    for (int32_t i = 0; i < n_in; i++)
        use_link(op, i, in[i]);
    for (int32_t i = 0; i < n_out; i++) {
        value_init(m, &op->out[i], out_types[i], i);
        op->out[i].def = op;
        op->out[i].span = span;
    }
    return op;
}

static void region_adopt(Region *r, Func *fn)
{
    r->func = fn;
    EACH_OP(op, r)
        for (int32_t i = 0; i < op->n_regions; i++)
            region_adopt(op->regions[i], fn);
}

void op_insert(Op *op, Region *r, Op *before)
{
    ASSERT(!op->parent && (!before || before->parent == r));
    op->parent = r;
    op->next = before;
    op->prev = before ? before->prev : r->last;
    *(op->prev ? &op->prev->next : &r->first) = op;
    *(before ? &before->prev : &r->last) = op;
    for (int32_t i = 0; i < op->n_regions; i++)
        if (op->regions[i] && op->regions[i]->func != r->func)
            region_adopt(op->regions[i], r->func);
}

void op_unlink(Op *op)
{
    Region *r = op->parent;
    if (!r) return;
    *(op->prev ? &op->prev->next : &r->first) = op->next;
    *(op->next ? &op->next->prev : &r->last) = op->prev;
    op->parent = NULL;
    op->prev = op->next = NULL;
}

static void drop_uses(Op *op)
{
    for (int32_t i = 0; i < op->n_regions; i++)
        for (Op *inner = op->regions[i]->last; inner; inner = inner->prev)
            drop_uses(inner);
    for (int32_t i = 0; i < op->n_in; i++)
        if (op->in[i]) use_unlink(op, i);
    op->n_in = 0;
}

void op_erase(Op *op)
{
    op_unlink(op);
    drop_uses(op);
    for (int32_t i = 0; i < op->n_out; i++)
        ASSERT(!op->out[i].uses);
}

static void clone_value_facts(Value *to, const Value *from, Value **map)
{
    to->span = from->span;
    to->name = from->name;
    map[from->id] = to;
}

static Region *clone_region(Module *m, const Region *from, Op *owner, Value **map)
{
    const Type **types = arena_array(m->arena, const Type *, from->n_args ? from->n_args : 1);
    for (int32_t i = 0; i < from->n_args; i++)
        types[i] = from->args[i]->type;
    Region *r = region_new(m, from->func, owner, from->n_args, types);
    for (int32_t i = 0; i < from->n_args; i++)
        clone_value_facts(r->args[i], from->args[i], map);
    EACH_OP(op, from)
        op_insert(op_clone(m, op, map), r, NULL);
    return r;
}

Op *op_clone(Module *m, const Op *op, Value **map)
{
    Value **in = arena_array(m->arena, Value *, op->n_in ? op->n_in : 1);
    const Type **types = arena_array(m->arena, const Type *, op->n_out ? op->n_out : 1);
    for (int32_t i = 0; i < op->n_in; i++)
        in[i] = map[op->in[i]->id] ? map[op->in[i]->id] : op->in[i];
    for (int32_t i = 0; i < op->n_out; i++)
        types[i] = op->out[i].type;
    Op *copy = op_new(m, op->kind, op->span, op->n_in, in, op->n_out, types, op->n_regions);
    copy->elem = op->elem;
    memcpy(copy->attrs, op->attrs, sizeof(copy->attrs));
    for (int32_t i = 0; i < op->n_out; i++)
        clone_value_facts(&copy->out[i], &op->out[i], map);
    for (int32_t i = 0; i < op->n_regions; i++)
        copy->regions[i] = clone_region(m, op->regions[i], copy, map);
    return copy;
}

Attr *op_attr(Op *op, AttrKey key)
{
    const OpFacts *facts = &op_facts[op->kind];
    for (int32_t i = 0; i < OP_MAX_ATTRS && facts->attrs[i] != ATTR_NONE; i++)
        if (facts->attrs[i] == key) return &op->attrs[i];
    BUG("%s has no attribute %d", facts->name, (int)key);
}

bool value_const(const Value *v, Attr *out)
{
    for (const Op *op = v->def; op; op = op->in[0]->def) {
        switch (op->kind) {
        case OP_CONST:
            *out = op->attrs[0];
            return true;
        case OP_SPLAT:
        case OP_BROADCAST:
        case OP_RESHAPE:
        case OP_EXPAND_DIMS:
            break;
        default:
            return false;
        }
    }
    return false;
}

bool value_const_int(const Value *v, int64_t *out)
{
    Attr attr;
    if ((dtype_is_float(v->type->dtype) && !v->type->is_ptr) || !value_const(v, &attr))
        return false;
    *out = attr.i;
    return true;
}

void region_walk(Region *r, void (*visit)(Op *op, void *user), void *user)
{
    EACH_OP(op, r) {
        visit(op, user);
        for (int32_t i = 0; i < op->n_regions; i++)
            region_walk(op->regions[i], visit, user);
    }
}
