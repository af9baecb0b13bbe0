#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "ir/elem_eval.h"
#include "ir/layout.h"
#include "ir/text.h"

static const char *const round_names[] = {"rne", "rtz"};
static const char *const hint_names[] = {"multiple_of", "max_contiguous", "max_constancy"};
static const char *const combine_names[] = {"region", "add", "mul", "min",    "max",
                                            "and",    "or",  "xor", "argmin", "argmax"};
static const char *const precision_names[] = {"default", "ieee",   "tf32",
                                              "tf32x3",  "bf16x3", "bf16x6"};
static const char *const cache_names[] = {"none", "ca", "cg", "cs", "cv", "wb", "wt"};
static const char *const evict_names[] = {"none", "first", "last"};
static const char *const rmw_names[] = {"add", "min", "max", "and", "or", "xor", "xchg"};
static const char *const sem_names[] = {"acq_rel", "acquire", "release", "relaxed"};
static const char *const scope_names[] = {"gpu", "cta", "sys"};

#define ENUM(name, optional, names) {name, ATTR_FORM_ENUM, optional, names, COUNT_OF(names)}

const AttrFacts attr_facts[ATTR_KEY_COUNT] = {
    [ATTR_VALUE] = {"value", ATTR_FORM_VALUE},
    [ATTR_AXIS] = {"axis", ATTR_FORM_INT},
    [ATTR_START] = {"start", ATTR_FORM_INT},
    [ATTR_ROUND] = ENUM("round", true, round_names),
    [ATTR_HINT] = ENUM("hint", false, hint_names),
    [ATTR_LIST] = {"list", ATTR_FORM_LIST},
    [ATTR_COMBINE] = ENUM("combine", false, combine_names),
    [ATTR_REVERSE] = {"reverse", ATTR_FORM_BOOL, true},
    [ATTR_DESCENDING] = {"descending", ATTR_FORM_BOOL, true},
    [ATTR_PRECISION] = ENUM("precision", true, precision_names),
    [ATTR_CACHE] = ENUM("cache", true, cache_names),
    [ATTR_EVICT] = ENUM("evict", true, evict_names),
    [ATTR_VOLATILE] = {"volatile", ATTR_FORM_BOOL, true},
    [ATTR_RMW] = ENUM("rmw", false, rmw_names),
    [ATTR_SEM] = ENUM("sem", true, sem_names),
    [ATTR_SCOPE] = ENUM("scope", true, scope_names),
    [ATTR_TEXT] = {"text", ATTR_FORM_TEXT},
    [ATTR_HEX] = {"hex", ATTR_FORM_BOOL, true},
    [ATTR_PENDING] = {"pending", ATTR_FORM_INT},
    [ATTR_STAGES] = {"stages", ATTR_FORM_INT, true},
    [ATTR_UNROLL] = {"unroll", ATTR_FORM_INT, true},
};

typedef struct Printer {
    StrBuf *out;
    Arena *arena; ///< of the module, for type texts
    int32_t depth;
} Printer;

static void put_indent(Printer *p)
{
    for (int32_t i = 0; i < p->depth; i++)
        strbuf_puts(p->out, "  ");
}

static bool is_plain_name(const char *name)
{
    if (!name || !*name) return false;
    for (const char *c = name; *c; c++) {
        bool letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || *c == '_';
        if (!letter && !(*c >= '0' && *c <= '9')) return false;
    }
    return true;
}

static void put_value(Printer *p, const Value *v)
{
    strbuf_printf(p->out, "%%%d", v->id);
    if (is_plain_name(v->name)) strbuf_printf(p->out, ".%s", v->name);
}

static void put_type(Printer *p, const Type *t)
{
    ArenaMark mark = arena_mark(p->arena);
    strbuf_puts(p->out, type_text(p->arena, t));
    arena_release(p->arena, mark);
}

/// The shortest decimal that rounds back to `x` in type `t`.
static void put_float(Printer *p, DType t, double x)
{
    char text[40];
    if (isnan(x) || isinf(x)) {
        strbuf_puts(p->out, isnan(x) ? "nan" : x < 0 ? "-inf" : "inf");
        return;
    }
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, x);
        if (slot_same(t, (Slot){.f = float_round(t, strtod(text, NULL))}, (Slot){.f = x})) break;
    }
    strbuf_puts(p->out, text);
    if (!strpbrk(text, ".e")) strbuf_puts(p->out, ".0");
}

static void put_attr(Printer *p, const AttrFacts *facts, const Attr *attr, const Op *op)
{
    strbuf_printf(p->out, "%s=", facts->name);
    switch (facts->form) {
    case ATTR_FORM_VALUE: {
        const Type *t = op->out[0].type;
        if (!t->is_ptr && dtype_is_float(t->dtype))
            put_float(p, t->dtype, attr->f);
        else if (t->dtype == DTYPE_U64 && !t->is_ptr)
            strbuf_printf(p->out, "%llu", (unsigned long long)attr->i);
        else
            strbuf_printf(p->out, "%lld", (long long)attr->i);
        return;
    }
    case ATTR_FORM_INT:
        strbuf_printf(p->out, "%lld", (long long)attr->i);
        return;
    case ATTR_FORM_BOOL:
        strbuf_puts(p->out, attr->i ? "true" : "false");
        return;
    case ATTR_FORM_ENUM:
        ASSERT(attr->i >= 0 && attr->i < facts->n_names);
        strbuf_puts(p->out, facts->names[attr->i]);
        return;
    case ATTR_FORM_LIST:
        strbuf_putc(p->out, '[');
        for (int32_t i = 0; i < attr->n_list; i++)
            strbuf_printf(p->out, i ? ", %d" : "%d", attr->list[i]);
        strbuf_putc(p->out, ']');
        return;
    case ATTR_FORM_TEXT:
        strbuf_putc(p->out, '"');
        if (attr->text) strbuf_json(p->out, attr->text, strlen(attr->text));
        strbuf_putc(p->out, '"');
        return;
    }
}

static void put_attrs(Printer *p, const Op *op)
{
    const OpFacts *facts = &op_facts[op->kind];
    const char *before = " {";
    for (int32_t i = 0; i < OP_MAX_ATTRS && facts->attrs[i] != ATTR_NONE; i++) {
        const AttrFacts *attr = &attr_facts[facts->attrs[i]];
        if (attr->is_optional && op->attrs[i].i == 0) continue;
        strbuf_puts(p->out, before);
        put_attr(p, attr, &op->attrs[i], op);
        before = ", ";
    }
    if (before[0] == ',') strbuf_putc(p->out, '}');
}

static void put_types(Printer *p, const Op *op)
{
    for (int32_t i = 0; i < op->n_out; i++) {
        strbuf_puts(p->out, i ? ", " : " : ");
        put_type(p, op->out[i].type);
    }
}

static void put_op(Printer *p, const Op *op);

static void put_block(Printer *p, const Region *r)
{
    strbuf_puts(p->out, " {\n");
    p->depth++;
    EACH_OP(op, r)
        put_op(p, op);
    p->depth--;
    put_indent(p);
    strbuf_putc(p->out, '}');
}

/// " carry (%a = %x, ...)": arguments of a region from `first`, and their initial values.
static void put_carry(Printer *p, const Region *r, int32_t first, Value *const *initial)
{
    for (int32_t i = first; i < r->n_args; i++) {
        strbuf_puts(p->out, i == first ? " carry (" : ", ");
        put_value(p, r->args[i]);
        strbuf_puts(p->out, " = ");
        put_value(p, initial[i - first]);
    }
    if (r->n_args > first) strbuf_putc(p->out, ')');
}

static void put_for(Printer *p, const Op *op)
{
    static const char *const words[] = {" = ", " to ", " step "};
    const Region *body = op->regions[0];
    strbuf_putc(p->out, ' ');
    put_value(p, body->args[0]);
    for (int32_t i = 0; i < 3; i++) {
        strbuf_puts(p->out, words[i]);
        put_value(p, op->in[i]);
    }
    put_carry(p, body, 1, op->in + 3);
    put_attrs(p, op);
    put_types(p, op);
    put_block(p, body);
}

static void put_while(Printer *p, const Op *op)
{
    put_carry(p, op->regions[0], 0, op->in);
    put_types(p, op);
    put_block(p, op->regions[0]);
    strbuf_puts(p->out, " do");
    const Region *body = op->regions[1];
    for (int32_t i = 0; i < body->n_args; i++) {
        strbuf_puts(p->out, i ? ", " : " (");
        put_value(p, body->args[i]);
    }
    if (body->n_args) strbuf_putc(p->out, ')');
    put_block(p, body);
}

static void put_if(Printer *p, const Op *op)
{
    strbuf_putc(p->out, ' ');
    put_value(p, op->in[0]);
    put_types(p, op);
    put_block(p, op->regions[0]);
    const Op *other = op->regions[1]->first;
    bool is_empty = other && other->kind == OP_YIELD && other->n_in == 0;
    if (is_empty) return;
    strbuf_puts(p->out, " else");
    put_block(p, op->regions[1]);
}

static void put_combine(Printer *p, const Region *r)
{
    strbuf_puts(p->out, " (");
    for (int32_t i = 0; i < r->n_args; i++) {
        if (i) strbuf_puts(p->out, ", ");
        put_value(p, r->args[i]);
        strbuf_puts(p->out, ": ");
        put_type(p, r->args[i]->type);
    }
    strbuf_putc(p->out, ')');
    put_block(p, r);
}

static void put_op(Printer *p, const Op *op)
{
    put_indent(p);
    for (int32_t i = 0; i < op->n_out; i++) {
        if (i) strbuf_puts(p->out, ", ");
        put_value(p, &op->out[i]);
    }
    if (op->n_out) strbuf_puts(p->out, " = ");
    strbuf_puts(p->out, op->kind == OP_ELEM ? elem_facts[op->elem].name : op_facts[op->kind].name);
    switch (op->kind) {
    case OP_FOR:
        put_for(p, op);
        break;
    case OP_WHILE:
        put_while(p, op);
        break;
    case OP_IF:
        put_if(p, op);
        break;
    default:
        for (int32_t i = 0; i < op->n_in; i++) {
            strbuf_puts(p->out, i ? ", " : " ");
            put_value(p, op->in[i]);
        }
        put_attrs(p, op);
        put_types(p, op);
        if (op->n_regions) put_combine(p, op->regions[0]);
        break;
    }
    strbuf_putc(p->out, '\n');
}

void op_print(const Op *op, StrBuf *out)
{
    Arena arena;
    arena_init(&arena, heap_default());
    put_op(&(Printer){out, &arena, 0}, op);
    arena_reset(&arena);
}

void func_print(Func *fn, StrBuf *out)
{
    Printer p = {out, fn->module->arena, 0};
    func_number(fn);
    strbuf_printf(out, "func @%s(", fn->name);
    for (int32_t i = 0; i < fn->n_params; i++) {
        if (i) strbuf_puts(out, ", ");
        put_value(&p, fn->params[i].value);
        strbuf_puts(out, ": ");
        put_type(&p, fn->params[i].value->type);
        if (fn->params[i].divisible > 1) strbuf_printf(out, " {align=%d}", fn->params[i].divisible);
    }
    strbuf_putc(out, ')');
    for (int32_t i = 0; i < fn->n_results; i++) {
        strbuf_puts(out, i ? ", " : " -> ");
        put_type(&p, fn->results[i]);
    }
    if (fn->num_warps != FUNC_NUM_WARPS) strbuf_printf(out, " num_warps=%d", fn->num_warps);
    if (fn->num_stages != FUNC_NUM_STAGES) strbuf_printf(out, " num_stages=%d", fn->num_stages);
    if (fn->maxnreg) strbuf_printf(out, " maxnreg=%d", fn->maxnreg);
    if (!fn->fp_fusion) strbuf_puts(out, " fp_fusion=false");
    put_block(&p, fn->body);
    strbuf_putc(out, '\n');
}

void module_print(Module *m, StrBuf *out)
{
    for (int32_t i = 0; i < m->layouts.len; i++)
        strbuf_printf(out, "#%s = %s\n", m->layouts.entries[i].key.data,
                      layout_text(m->arena, m->layouts.entries[i].value));
    for (int32_t i = 0; i < m->funcs.len; i++) {
        if (i || m->layouts.len) strbuf_putc(out, '\n');
        func_print(m->funcs.data[i], out);
    }
}
