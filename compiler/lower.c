// compiler/lower.c - functions and statements; see lower.h.
#include <stdio.h>

#include "compiler/lower.h"
#include "compiler/special.h"

// ---- messages ---------------------------------------------------------------------------------

Span lower_span(const Lower *cx, const Node *n)
{
    return n ? (Span){cx->frame->file, n->begin, n->end} : NO_SPAN;
}

Str lower_source(const Lower *cx, const Node *n)
{
    Str text = cx->frame->func->source->text;
    return (Str){text.data + n->begin, (size_t)MIN(n->end - n->begin, 80)};
}

static DiagItem *message(Lower *cx, DiagLevel level, const Node *n, const char *code,
                         const char *text)
{
    if (!cx->diag) return NULL;
    DiagItem *item = diag_add(cx->diag, level, code, lower_span(cx, n), "%s", text);
    for (const Frame *f = cx->frame; f->caller; f = f->caller) {
        int32_t line, column;
        diag_line_column(cx->diag, f->caller->file, f->call->begin, &line, &column);
        diag_note(cx->diag, item, NO_SPAN, "in `%s`, called from %s:%d:%d", f->func->name,
                  f->caller->func->source->path, line, column);
    }
    return item;
}

DiagItem *lower_error(Lower *cx, const Node *n, const char *code, const char *fmt, ...)
{
    cx->errors++;
    if (!strncmp(code, "E09", 3)) cx->unsupported++;
    if (cx->stopped) return NULL;
    va_list args;
    va_start(args, fmt);
    const char *text = arena_vprintf(cx->arena, fmt, args);
    va_end(args);
    Str key = str_of(arena_printf(cx->arena, "%s %d %d %s", code, cx->frame->file, n->begin,
                                  text)); // unrolled loops say it once
    if (map_get(&cx->globals, key)) return NULL;
    map_put(cx->arena, &cx->globals, key, cx);
    return message(cx, DIAG_ERROR, n, code, text);
}

/// Does the line of `n` end in `# tile: ignore[CODE]`?
static bool silenced(const Lower *cx, const Node *n, const char *code)
{
    Str text = cx->frame->func->source->text;
    size_t end = (size_t)n->begin;
    while (end < text.len && text.data[end] != '\n')
        end++;
    char mark[40];
    snprintf(mark, sizeof mark, "# tile: ignore[%s]", code);
    return memmem(text.data + n->begin, end - (size_t)n->begin, mark, strlen(mark)) != NULL;
}

DiagItem *lower_warn(Lower *cx, const Node *n, const char *code, const char *fmt, ...)
{
    if (silenced(cx, n, code)) return NULL;
    Str key = str_of(
        arena_printf(cx->arena, "%s %d %d", code, cx->frame->file, n->begin)); // a place warns once
    if (map_get(&cx->globals, key)) return NULL;
    map_put(cx->arena, &cx->globals, key, cx);
    va_list args;
    va_start(args, fmt);
    const char *text = arena_vprintf(cx->arena, fmt, args);
    va_end(args);
    return message(cx, DIAG_WARNING, n, code, text);
}

void lower_extension(Lower *cx, const Node *n, const char *what)
{
    lower_warn(cx, n, "W0100", "%s: accepted here, rejected by Triton [-Wtriton-compat]", what);
}

Val lower_not_yet(Lower *cx, const Node *n, const char *what)
{
    lower_error(cx, n, "E0901", "not supported yet: %s", what);
    return val_error();
}

bool lower_deeper(Lower *cx, const Node *n)
{
    if (++cx->nesting <= LOWER_MAX_NESTING) return true;
    cx->nesting--;
    lower_error(cx, n, "E0717", "calls and expressions are nested more than %d deep",
                LOWER_MAX_NESTING);
    cx->stopped = true;
    return false;
}

void lower_note_binding(Lower *cx, DiagItem *item, const Node *n)
{
    if (!item || n->kind != NODE_NAME) return;
    const Local *l = local_find(cx->frame, n->text);
    if (!l || !l->where || l->kind == LOCAL_UNBOUND) return;
    if (l->kind == LOCAL_PARAM) {
        diag_note(cx->diag, item, lower_span(cx, l->where),
                  "`%.*s` is a parameter of `%s` declared here", STR_ARG(n->text),
                  cx->frame->func->name);
        if (!cx->frame->caller)
            diag_help(cx->diag, item, "declare it `%.*s: tl.constexpr`", STR_ARG(n->text));
        return;
    }
    diag_note(cx->diag, item, lower_span(cx, l->where),
              l->was_number ? "plain assignment makes a run-time value of `%.*s`"
                            : "`%.*s` is bound here",
              STR_ARG(n->text));
}

const char *lower_type_text(Lower *cx, const Type *t)
{
    return typeref_text(cx->arena, (TypeRef){t->dtype, t->is_ptr, t->is_const, t->rank, t->shape});
}

const char *lower_shape_text(Lower *cx, int32_t rank, const int32_t *shape)
{
    const char *dims = "";
    for (int32_t i = 0; i < rank; i++)
        dims = arena_printf(cx->arena, "%s%s%d", dims, i ? ", " : "", shape[i]);
    return arena_printf(cx->arena, "(%s)", dims);
}

const char *lower_describe(Lower *cx, Val v)
{
    switch (v.kind) {
    case VAL_RUN:
        return lower_type_text(cx, v.run->type);
    case VAL_TUPLE: {
        const char *items = "";
        for (int32_t i = 0; i < v.n && i < 8; i++)
            items = arena_printf(cx->arena, "%s%s%s", items, i ? ", " : "",
                                 lower_describe(cx, v.items[i]));
        return arena_printf(cx->arena, "a tuple (%s%s)", items, v.n > 8 ? ", ..." : "");
    }
    case VAL_STR:
        return arena_printf(cx->arena, "the string \"%.*s\"", (int)MIN(v.s.len, 40), v.s.data);
    case VAL_DTYPE:
        return arena_printf(cx->arena, "the type %s", typeref_text(cx->arena, v.type));
    case VAL_FUNC:
        return arena_printf(cx->arena, "the function `%s`", v.func->name);
    case VAL_BUILTIN:
    case VAL_METHOD:
        return arena_printf(cx->arena, "the function `%s`", builtin_text(cx->arena, v.builtin));
    case VAL_MODULE:
        return arena_printf(cx->arena, "the module `%.*s`", STR_ARG(v.s));
    case VAL_ERROR:
        return "a value with an error";
    case VAL_ABSENT:
        return "nothing";
    default:
        return val_text(cx->arena, v);
    }
}

// ---- locals -----------------------------------------------------------------------------------

Local *local_find(const Frame *f, Str name)
{
    int32_t i = map_find(&f->slots, name);
    return i >= 0 && i < f->locals.len ? &f->locals.data[i] : NULL;
}

Local *local_slot(Lower *cx, Str name)
{
    Frame *f = cx->frame;
    int32_t i = map_find(&f->slots, name);
    if (i < 0) {
        map_put(cx->arena, &f->slots, name, f);
        i = f->slots.len - 1;
    }
    ASSERT(f->slots.entries);
    while (f->locals.len <= i) {
        Local fresh = {.name = f->slots.entries[f->locals.len].key};
        vec_push(cx->arena, &f->locals, fresh);
    }
    return &f->locals.data[i];
}

static void name_value(Lower *cx, Val v, Str name)
{
    if (v.kind == VAL_RUN && !v.run->name && v.run->def)
        v.run->name = arena_strndup(cx->arena, name.data, name.len);
}

/// Binds one name. `declared`: v: tl.constexpr = e.
static void bind_name(Lower *cx, const Node *target, Val v, bool declared)
{
    Local *l = local_slot(cx, target->text);
    bool again =
        l->kind == LOCAL_CONSTEXPR && !(declared && (cx->frame->statics > 0 || l->where == target));
    if (again) {
        DiagItem *e =
            lower_error(cx, target, "E0304", "`%.*s` is tl.constexpr and cannot be bound again",
                        STR_ARG(target->text));
        if (l->where) diag_note(cx->diag, e, lower_span(cx, l->where), "first bound here");
        return;
    }
    declared |= l->kind == LOCAL_DECLARED;
    if (declared && v.kind == VAL_RUN) {
        lower_warn(cx, target, "W0301",
                   "`%.*s` is annotated tl.constexpr but gets a run-time value",
                   STR_ARG(target->text));
        declared = false;
    }
    bool number = val_is_number(v);
    Val was = v;
    if (!declared) v = infer_materialise(cx, v, target);
    l = local_slot(cx, target->text);
    *l = (Local){.name = l->name,
                 .kind = declared ? LOCAL_CONSTEXPR : LOCAL_PLAIN,
                 .val = v,
                 .where = target,
                 .was_number = number && !declared,
                 .number = was};
    name_value(cx, v, l->name);
}

static bool assignable(Lower *cx, Val v, const Node *value)
{
    bool host =
        v.kind == VAL_STR || v.kind == VAL_OPAQUE || v.kind == VAL_LAMBDA || v.kind == VAL_DICT;
    if (!host) return true;
    DiagItem *e = lower_error(cx, value, "E0302", "%s cannot be assigned to a run-time name",
                              lower_describe(cx, v));
    diag_help(cx->diag, e, "annotate the name: `name: tl.constexpr = ...`");
    return false;
}

void lower_assign(Lower *cx, const Node *target, Val v, const Node *value)
{
    if (target->kind == NODE_NAME) {
        if (!assignable(cx, v, value ? value : target)) v = val_error();
        bind_name(cx, target, v, false);
        return;
    }
    if (target->kind != NODE_TUPLE && target->kind != NODE_LIST) {
        bool item = target->kind == NODE_SUBSCRIPT;
        lower_error(cx, target, item ? "E0506" : "E0110",
                    item ? "elements of a tile or tuple cannot be assigned"
                         : "this assignment target is not supported in a kernel");
        return;
    }
    if (!is_error(v) && v.kind != VAL_TUPLE) {
        lower_error(cx, value ? value : target, "E0307", "expected %d values to unpack, got %s",
                    target->list.len, lower_describe(cx, v));
        v = val_error();
    } else if (!is_error(v) && v.n != target->list.len) {
        lower_error(cx, value ? value : target, "E0307", "expected %d values to unpack, got %d",
                    target->list.len, v.n);
        v = val_error();
    }
    for (int32_t i = 0; i < target->list.len; i++)
        lower_assign(cx, target->list.data[i], is_error(v) ? v : v.items[i], value);
}

// ---- statements -------------------------------------------------------------------------------

static bool is_constexpr_annotation(Lower *cx, const Node *a)
{
    if (a->kind == NODE_STRING)
        return str_is(a->text, "tl.constexpr") || str_is(a->text, "constexpr");
    return str_is(source_path_of(cx->frame->func->source, cx->arena, a), "tl.constexpr");
}

static void annotated(Lower *cx, const Node *n)
{
    bool declared = is_constexpr_annotation(cx, n->b);
    if (n->a->kind != NODE_NAME) {
        lower_error(cx, n->a, "E0110", "this assignment target is not supported in a kernel");
        return;
    }
    if (n->c) {
        Val v = express(cx, n->c);
        if (!declared && !assignable(cx, v, n->c)) v = val_error();
        bind_name(cx, n->a, v, declared);
    } else if (declared) {
        Local *l = local_slot(cx, n->a->text);
        if (l->kind != LOCAL_CONSTEXPR)
            *l = (Local){.name = l->name, .kind = LOCAL_DECLARED, .where = n->a};
    }
}

static void augmented(Lower *cx, const Node *n)
{
    if (n->a->kind != NODE_NAME) {
        bool item = n->a->kind == NODE_SUBSCRIPT;
        lower_error(cx, n->a, item ? "E0506" : "E0110",
                    item ? "elements of a tile or tuple cannot be assigned"
                         : "this assignment target is not supported in a kernel");
        return;
    }
    Val a = express(cx, n->a);
    Val b = express(cx, n->b);
    Val v = infer_binary(cx, n->op, a, b, n->a, n->b, n);
    bind_name(cx, n->a, v, false);
}

/// An unused result of a pure builtin does nothing; most often it was meant to be assigned.
static void warn_unused(Lower *cx, const Node *call, Val v)
{
    if (v.kind != VAL_RUN || !v.run->def || v.run->def->next || v.run->uses ||
        op_facts[v.run->def->kind].effects != EFFECT_PURE)
        return;
    if (cx->b.region->last != v.run->def) return;
    lower_warn(cx, call, "W0702", "result of `%.*s` is unused", STR_ARG(lower_source(cx, call->a)));
}

static void raise_error(Lower *cx, const Node *n)
{
    const Node *arg = n->a && n->a->kind == NODE_CALL && n->a->list.len ? n->a->list.data[0] : NULL;
    Val v = arg ? express(cx, arg) : val_of(VAL_NONE);
    bool is_static = cx->b.region == cx->b.func->body;
    if (is_static) {
        lower_error(cx, n, "E0715", "this `raise` is reached%s%.*s", v.kind == VAL_STR ? ": " : "",
                    v.kind == VAL_STR ? (int)v.s.len : 0, v.kind == VAL_STR ? v.s.data : "");
        return;
    }
    if (!cx->debug) return;
    cx->b.span = lower_span(cx, n);
    Value *no = build_const_int(&cx->b, type_scalar(cx->m, DTYPE_I1), 0);
    Op *op = build_op(&cx->b, OP_ASSERT, 1, &no, 0, NULL, 0);
    op_attr(op, ATTR_TEXT)->text =
        v.kind == VAL_STR ? arena_strndup(cx->arena, v.s.data, v.s.len) : "raise";
}

/// `assert c, msg` is tl.device_assert: a synthetic call would need a node, so its checks are
/// repeated in small.
static void assert_statement(Lower *cx, const Node *n)
{
    Val c = express(cx, n->a), msg = n->b ? express(cx, n->b) : val_str(STR(""));
    if (is_error(c) || is_error(msg)) return;
    bool truth;
    if (c.kind != VAL_RUN && const_truth(c, &truth) && truth) return;
    if (c.kind == VAL_RUN && (c.run->type->is_ptr || c.run->type->dtype != DTYPE_I1)) {
        lower_error(cx, n->a, "E0413", "`assert` needs int1, got %s", lower_describe(cx, c));
        return;
    }
    if (!cx->debug) return;
    Value *v = infer_run(cx, c, n->a);
    if (!v) return;
    cx->b.span = lower_span(cx, n);
    v = infer_truth(cx, v);
    Op *op = build_op(&cx->b, OP_ASSERT, 1, &v, 0, NULL, 0);
    op_attr(op, ATTR_TEXT)->text =
        msg.kind == VAL_STR ? arena_strndup(cx->arena, msg.s.data, msg.s.len) : "";
}

static Flow leave_loop(Lower *cx, const Node *n)
{
    Frame *f = cx->frame;
    bool is_break = n->kind == NODE_BREAK;
    if (f->statics > 0) {
        if (f->static_runtime == 0) return is_break ? FLOW_BREAK : FLOW_CONTINUE;
        lower_error(cx, n, "E0711", "`%s` out of a static loop needs a compile-time condition",
                    is_break ? "break" : "continue");
    } else if (f->loops > 0) {
        lower_not_yet(cx, n,
                      is_break ? "`break` in a run-time loop" : "`continue` in a run-time loop");
    } else {
        lower_error(cx, n, "E0110", "`%s` outside a loop", is_break ? "break" : "continue");
    }
    return FLOW_NEXT;
}

static void rejected(Lower *cx, const Node *n)
{
    static const char *const help[][2] = {
        {"def", "define the function at module level with @triton.jit"},
        {"import", "import at module level"},
        {"try", "kernels have no exceptions"}};
    if (str_is(n->text, "with")) {
        lower_not_yet(cx, n, "`with`");
        return;
    }
    DiagItem *e =
        lower_error(cx, n, "E0110", "`%.*s` is not supported in a kernel", STR_ARG(n->text));
    for (int32_t i = 0; i < COUNT_OF(help); i++)
        if (str_is(n->text, help[i][0])) diag_help(cx->diag, e, "%s", help[i][1]);
}

Flow lower_statement(Lower *cx, const Node *n)
{
    switch (n->kind) {
    case NODE_ASSIGN: {
        if (n->list.len > 1) lower_extension(cx, n, "a chained assignment");
        Val v = express(cx, n->a);
        for (int32_t i = 0; i < n->list.len; i++)
            lower_assign(cx, n->list.data[i], v, n->a);
        return FLOW_NEXT;
    }
    case NODE_ANNOTATED:
        annotated(cx, n);
        return FLOW_NEXT;
    case NODE_AUGMENTED:
        augmented(cx, n);
        return FLOW_NEXT;
    case NODE_EXPR:
        if (n->a->kind == NODE_STRING || n->a->kind == NODE_CONSTANT || n->a->kind == NODE_INT ||
            n->a->kind == NODE_FLOAT)
            return FLOW_NEXT;
        {
            Val v = express(cx, n->a);
            if (n->a->kind == NODE_CALL) warn_unused(cx, n->a, v);
        }
        return FLOW_NEXT;
    case NODE_RETURN:
        return control_return(cx, n);
    case NODE_PASS:
        return FLOW_NEXT;
    case NODE_ASSERT:
        assert_statement(cx, n);
        return FLOW_NEXT;
    case NODE_RAISE:
        raise_error(cx, n);
        return FLOW_NEXT;
    case NODE_BREAK:
    case NODE_CONTINUE:
        return leave_loop(cx, n);
    case NODE_FOR:
        return loop_for(cx, n);
    case NODE_WHILE:
        return loop_while(cx, n);
    default:
        rejected(cx, n);
        return FLOW_NEXT;
    }
}

Flow lower_suite(Lower *cx, const NodeList *list, int32_t from, bool tail)
{
    Flow flow = FLOW_NEXT;
    if (from < list->len && !lower_deeper(cx, list->data[from])) return FLOW_NEXT;
    for (int32_t i = from; i < list->len && flow == FLOW_NEXT && !cx->stopped; i++) {
        const Node *n = list->data[i];
        if (++cx->steps > LOWER_MAX_STEPS) {
            lower_error(cx, n, "E0708", "this kernel elaborates more than %d statements",
                        LOWER_MAX_STEPS);
            cx->stopped = true;
            break;
        }
        if (cx->arena->used_bytes > LOWER_MAX_BYTES) {
            lower_error(cx, n, "E0708", "elaborating this kernel needs more than %d MiB",
                        (int)(LOWER_MAX_BYTES >> 20));
            cx->stopped = true;
            break;
        }
        bool rest_done = false;
        flow = n->kind == NODE_IF ? control_if(cx, n, list, i + 1, tail, &rest_done)
                                  : lower_statement(cx, n);
        if (rest_done) break;
        if (flow == FLOW_NEXT && cx->frame->ret.state == RET_MAYBE && i + 1 < list->len) {
            flow = control_guard(cx, list, i + 1, tail, n);
            break;
        }
    }
    if (from < list->len) cx->nesting--;
    return flow;
}

// ---- kernels ----------------------------------------------------------------------------------

static bool const_pointer(Lower *cx, const JitFunc *f, int32_t i)
{
    const Node *a = f->def->list.data[i]->a;
    return a && str_is(source_path_of(f->source, cx->arena, a), "tl.const");
}

/// The function's arguments: every run-time parameter, in order.
static Func *make_func(Lower *cx, const JitFunc *f, const Spec *spec)
{
    const Type **types = arena_array(cx->arena, const Type *, spec->n_params + 1);
    const char **names = arena_array(cx->arena, const char *, spec->n_params + 1);
    int32_t n = 0;
    for (int32_t i = 0; i < spec->n_params; i++) {
        const SpecParam *p = &spec->params[i];
        if (p->kind == SPEC_CONST) continue;
        names[n] = p->name;
        types[n++] = p->kind == SPEC_PTR
                         ? type_ptr(cx->m, p->dtype, p->is_const_ptr || const_pointer(cx, f, i))
                         : type_scalar(cx->m, p->dtype);
    }
    Func *fn = func_new(cx->m, f->name, n, types, names);
    fn->num_warps = spec->num_warps;
    fn->maxnreg = spec->maxnreg;
    fn->num_stages = spec->num_stages;
    fn->fp_fusion = spec->fp_fusion;
    n = 0;
    for (int32_t i = 0; i < spec->n_params; i++) {
        const SpecParam *p = &spec->params[i];
        if (p->kind == SPEC_CONST) continue;
        fn->params[n].divisible = p->divisible ? 16 : 1;
        fn->params[n].value->span = lower_span(cx, f->def->list.data[i]);
        n++;
    }
    return fn;
}

KilnStatus lower_kernel(Module *m, const JitFunc *f, const Spec *spec, const Target *target,
                        Diag *diag, Func **out)
{
    Arena *arena = m->arena;
    Lower cx = {.arena = arena, .m = m, .diag = diag, .target = target, .debug = spec->debug};
    Frame frame = {.func = f, .file = source_diag_file(f->source, diag)};
    cx.frame = &frame;
    *out = NULL;
    if (spec->n_params != f->def->list.len)
        return fail(diag, KILN_ERR_INPUT, "K111",
                    "%s: the specialisation of `%s` has %d parameters, the kernel has %d",
                    f->source->path, f->name, spec->n_params, f->def->list.len);
    Func *fn = make_func(&cx, f, spec);
    fn->span = (Span){frame.file, f->def->begin, f->def->begin + 3};
    cx.b = build_at_end(fn, fn->body);
    for (int32_t i = 0, n = 0; i < spec->n_params; i++) {
        const Node *p = f->def->list.data[i];
        bool is_const = spec->params[i].kind == SPEC_CONST;
        Val v = is_const ? special_value(spec->params[i].value) : val_run(fn->params[n++].value);
        Local *l = local_slot(&cx, p->text);
        *l = (Local){.name = p->text, .kind = LOCAL_PARAM, .val = v, .where = p};
    }
    lower_suite(&cx, &f->def->list2, 0, true);
    cx.b.span = NO_SPAN;
    build_return(&cx.b, 0, NULL);
    if (cx.errors) return cx.unsupported == cx.errors ? KILN_ERR_UNSUPPORTED : KILN_ERR_INPUT;
    *out = fn;
    return KILN_OK;
}
