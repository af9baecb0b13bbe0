// compiler/gpu/show_layouts.c - every tile value with its layout, as text and as pictures.
#include "compiler/gpu/propagate.h"

typedef struct Printer {
    StrBuf *out;
    Arena arena;
    Map drawn;
    bool as_picture;
} Printer;

static void print_op(Op *op, void *user)
{
    Printer *p = user;
    for (int32_t i = 0; i < op->n_out; i++) {
        const Value *v = &op->out[i];
        if (!is_tile(v) || !v->type->layout) continue;
        const char *text = layout_text(&p->arena, v->type->layout);
        if (!p->as_picture) {
            strbuf_printf(
                p->out, "%%%d%s%s = %s : %s\n", v->id, v->name ? "." : "", v->name ? v->name : "",
                op->kind == OP_ELEM ? elem_facts[op->elem].name : op_facts[op->kind].name, text);
        } else if (map_find(&p->drawn, str_of(text)) < 0) {
            map_put(&p->arena, &p->drawn, str_of(text), p);
            strbuf_printf(p->out, "<!-- %s -->\n", text);
            layout_draw_svg(v->type->layout, p->out);
        }
    }
}

static void print_all(Func *fn, StrBuf *out, bool as_picture)
{
    Printer p = {.out = out, .as_picture = as_picture};
    arena_init(&p.arena, heap_default());
    func_number(fn);
    region_walk(fn->body, print_op, &p);
    arena_reset(&p.arena);
}

void layouts_print(Func *fn, StrBuf *out)
{
    print_all(fn, out, false);
}

void layouts_draw(Func *fn, StrBuf *out)
{
    print_all(fn, out, true);
}
