#include "ir/pass.h"

#include "ir/verify.h"

static const Pass *const passes[] = {&pass_fold, &pass_cse,        &pass_licm,
                                     &pass_dce,  &pass_loop_facts, &pass_affine_addr};

static const Pass *find(const PassCx *cx, Str name)
{
    for (int32_t i = 0; i < cx->n_more; i++)
        if (str_is(name, cx->more[i]->name)) return cx->more[i];
    for (int32_t i = 0; i < COUNT_OF(passes); i++)
        if (str_is(name, passes[i]->name)) return passes[i];
    return NULL;
}

void pass_count(PassCx *cx, const char *what)
{
    Arena *a = cx->module->arena;
    const char *key = arena_printf(a, "%s.%s", cx->pass->name, what);
    int64_t *count = map_get(&cx->counts, str_of(key));
    if (!count) {
        count = arena_new(a, int64_t);
        map_put(a, &cx->counts, str_of(key), count);
    }
    ++*count;
}

int64_t pass_counted(const PassCx *cx, const char *name)
{
    const int64_t *count = map_get(&cx->counts, str_of(name));
    return count ? *count : 0;
}

static KilnStatus run_one(PassCx *cx, const Pass *pass, Func *fn)
{
    KilnStatus st;
    Arena scratch;
    arena_init(&scratch, cx->module->arena->heap);
    scratch.escape = cx->module->arena->escape;
    cx->scratch = &scratch;
    cx->pass = pass;
    TRY(pass->run(cx, fn));
#ifdef KILN_ASSERTS
    st = func_verify(fn, cx->diag);
    if (st != KILN_OK) diag_add(cx->diag, DIAG_NOTE, "", fn->span, "after the pass %s", pass->name);
#endif
    if (st == KILN_OK && cx->after) cx->after(cx->user, pass, fn);
done:
    cx->scratch = NULL;
    cx->pass = NULL;
    arena_reset(&scratch);
    return st;
}

KilnStatus passes_run(PassCx *cx, Func *fn, const char *pipeline)
{
    KilnStatus st = KILN_OK;
    while (*pipeline && st == KILN_OK) {
        size_t len = strcspn(pipeline, ",");
        const Pass *pass = find(cx, (Str){pipeline, len});
        if (!pass)
            return fail(cx->diag, KILN_ERR_INPUT, "K118", "no pass is named `%.*s`", (int)len,
                        pipeline);
        st = run_one(cx, pass, fn);
        pipeline += len;
        if (*pipeline == ',') pipeline++;
    }
    return st;
}
