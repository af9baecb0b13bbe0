#include "compiler/scope.h"

#include <math.h>

#include "compiler/builtin.h"
#include "compiler/hosteval.h"

/// Spellings that mean the same; the longest matching prefix counts, at a dot or the end.
static const char *const aliases[][2] = {
    {"triton.language.extra.cuda.libdevice", "libdevice"},
    {"triton.language.extra.hip.libdevice", "libdevice"},
    {"triton.language.extra.libdevice", "libdevice"},
    {"triton.language.libdevice", "libdevice"},
    {"triton.language.target_info", "target"},
    {"triton.language.core", "tl"},
    {"triton.language.standard", "tl"},
    {"triton.language.math", "tl"},
    {"triton.language.random", "tl"},
    {"triton.language.semantic", "tl"},
    {"triton.language", "tl"},
    {"triton.runtime.jit", "triton"},
    {"triton.runtime.autotuner", "triton"},
    {"tl.extra.cuda.libdevice", "libdevice"},
    {"tl.extra.hip.libdevice", "libdevice"},
    {"tl.extra.libdevice", "libdevice"},
    {"tl.libdevice", "libdevice"},
    {"tl.target_info", "target"},
    {"tl.core", "tl"},
    {"tl.standard", "tl"},
    {"tl.math", "tl"},
    {"tl.random", "tl"},
    {"tl.semantic", "tl"},
    {"torch.version.hip", "None"},
};

Str scope_canonical(Arena *arena, Str path)
{
    for (int32_t i = 0; i < COUNT_OF(aliases); i++) {
        size_t n = strlen(aliases[i][0]);
        if (path.len < n || memcmp(path.data, aliases[i][0], n) != 0 ||
            (path.len > n && path.data[n] != '.'))
            continue;
        if (path.len == n) return str_of(aliases[i][1]);
        return str_of(
            arena_printf(arena, "%s%.*s", aliases[i][1], (int)(path.len - n), path.data + n));
    }
    // Projects re-export Triton: the last part of `x.y.tl` says what it is.
    size_t last = path.len;
    while (last > 0 && path.data[last - 1] != '.')
        last--;
    if (last > 0 && path.data[0] != 't') {
        Str tail = {path.data + last, path.len - last};
        if (str_is(tail, "tl")) return STR("tl");
        if (str_is(tail, "triton")) return STR("triton");
        if (str_is(tail, "libdevice") || str_is(tail, "tldevice")) return STR("libdevice");
    }
    return path;
}

/// Module paths that are something to take attributes of.
static const char *const modules[] = {"triton",
                                      "tl",
                                      "libdevice",
                                      "target",
                                      "math",
                                      "tl.extra",
                                      "tl.extra.cuda",
                                      "tl.PropagateNan",
                                      "triton.language",
                                      "triton.runtime"};
/// Names of `triton` that mean something as decorators and in host code only.
static const char *const markers[] = {"triton.jit",
                                      "triton.autotune",
                                      "triton.heuristics",
                                      "triton.Config",
                                      "triton.constexpr_function",
                                      "tl.tensor",
                                      "tl.const",
                                      "tl.block_type"};

static bool listed(Str name, const char *const *list, int32_t n)
{
    for (int32_t i = 0; i < n; i++)
        if (str_is(name, list[i])) return true;
    return false;
}

static Val math_constant(Str name)
{
    static const struct {
        const char *name;
        double value;
    } constants[] = {{"pi", 3.14159265358979323846},
                     {"e", 2.71828182845904523536},
                     {"tau", 6.28318530717958647692},
                     {"inf", INFINITY},
                     {"nan", NAN}};
    for (int32_t i = 0; i < COUNT_OF(constants); i++)
        if (str_is(name, constants[i].name)) return val_float(constants[i].value);
    return val_of(VAL_ABSENT);
}

/// tl.float32 and its like. Only the names that the language has: int1 uint8 float16 bfloat16
/// float8e4nv ...
static Val dtype_named(Str name)
{
    for (int32_t t = DTYPE_VOID; t < DTYPE_COUNT; t++)
        if (str_is(name, dtype_facts[t].user)) return val_dtype((DType)t);
    return val_of(VAL_ABSENT);
}

Val scope_path(Arena *arena, Str path)
{
    (void)arena;
    if (str_is(path, "None")) return val_of(VAL_NONE);
    if (str_is(path, "triton.__version__")) return val_str(STR("3.6.0"));
    if (listed(path, modules, COUNT_OF(modules)) || listed(path, markers, COUNT_OF(markers)))
        return (Val){.kind = VAL_MODULE, .s = path};
    size_t dot = path.len;
    while (dot > 0 && path.data[dot - 1] != '.')
        dot--;
    if (dot == 0) return val_of(VAL_ABSENT);
    Str space = {path.data, dot - 1}, name = {path.data + dot, path.len - dot};
    if (str_is(space, "tl.PropagateNan")) return val_str(name);
    if (str_is(space, "math")) {
        Val c = math_constant(name);
        if (c.kind != VAL_ABSENT) return c;
    }
    char key[16];
    if (space.len >= sizeof key) return val_of(VAL_ABSENT);
    memcpy(key, space.data, space.len);
    key[space.len] = 0;
    const Builtin *b = builtin_find(key, name);
    if (b) return (Val){.kind = VAL_BUILTIN, .builtin = b};
    if (str_is(space, "tl")) {
        Val t = dtype_named(name);
        if (t.kind != VAL_ABSENT) return t;
        b = builtin_find("libdevice", name); // old tl.math names
        if (b) return (Val){.kind = VAL_BUILTIN, .builtin = b};
    }
    return val_of(VAL_ABSENT);
}

Val scope_attr(Arena *arena, Val module, Str name)
{
    Str path = str_of(arena_printf(arena, "%.*s.%.*s", STR_ARG(module.s), STR_ARG(name)));
    return scope_path(arena, scope_canonical(arena, path));
}

/// An import: what its path means, or the first part of it as a module to go on from.
static Val imported(Arena *arena, const Binding *b)
{
    Str path = scope_canonical(arena, b->path);
    Val v = scope_path(arena, path);
    if (v.kind != VAL_ABSENT) return v;
    return (Val){.kind = VAL_OPAQUE, .s = b->name};
}

Val scope_name(const Source *s, Arena *arena, Str name, const Binding **binding)
{
    const Binding *b = map_get(&s->names, name);
    if (binding) *binding = b;
    if (!b) {
        const Binding *all = map_get(&s->names, STR("*"));
        if (!all) return val_of(VAL_ABSENT);
        Val module = {.kind = VAL_MODULE, .s = scope_canonical(arena, all->path)};
        return scope_attr(arena, module, name);
    }
    switch (b->kind) {
    case BIND_MODULE:
        return imported(arena, b);
    case BIND_JIT:
        return (Val){.kind = VAL_FUNC, .func = b->func};
    case BIND_EXPR: {
        HostEval h = host_eval_new(s, arena);
        Val v = host_eval(&h, b->expr, NULL);
        bool usable = v.kind != VAL_OPAQUE && v.kind != VAL_ABSENT && v.kind != VAL_ERROR;
        return usable ? v : (Val){.kind = VAL_OPAQUE, .s = name};
    }
    case BIND_OPAQUE:
        break;
    }
    return (Val){.kind = VAL_OPAQUE, .s = name};
}

Val scope_python(Str name)
{
    const Builtin *b = builtin_find("py", name);
    return b ? (Val){.kind = VAL_BUILTIN, .builtin = b} : val_of(VAL_ABSENT);
}

const char *scope_nearest(Str canonical, Str name)
{
    const char *names[256];
    int32_t n = 0;
    for (int32_t i = 0; i < n_builtins && n < COUNT_OF(names); i++)
        if (str_is(canonical, builtins[i].space)) names[n++] = builtins[i].name;
    for (int32_t t = 0; str_is(canonical, "tl") && t < DTYPE_COUNT && n < COUNT_OF(names); t++)
        names[n++] = dtype_facts[t].user;
    return str_nearest(name, names, n);
}
