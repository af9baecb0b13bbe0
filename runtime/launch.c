#include "runtime/launch.h"

/// Tasks of one launch at most, so that a wave of 64 launches stays within a pool job.
enum { MAX_TASKS = POOL_MAX_TASKS / 64 };

static const char *kind_words(const Arg *a)
{
    static const char *const words[] = {"a pointer", "a planned buffer", "an integer", "a float"};
    return words[a->kind];
}

/// Which parameter argument `i` is for, or -1.
static int32_t param_of(const Code *c, const Arg *a, int32_t i)
{
    if (!a->name) return i < c->n_params ? i : -1;
    for (int32_t p = 0; p < c->n_params; p++)
        if (!strcmp(c->params[p].name, a->name)) return p;
    return -1;
}

/// `*fp32` and so on, as a signature writes it.
static const char *type_name(DType t)
{
    return t == DTYPE_VOID ? "?" : dtype_facts[t].tl;
}

static KilnStatus wrong_type(const Kernel *k, const CodeParam *p, const Arg *a, Diag *diag)
{
    bool is_ptr = a->kind == ARG_PTR || a->kind == ARG_TENSOR;
    return fail(diag, KILN_ERR_INPUT, "K132", "%s: argument %s: found %s%s%s, expected %s%s",
                k->code.entry, p->name, kind_words(a), is_ptr ? " to " : "",
                is_ptr ? type_name(a->dtype) : "", p->kind == SPEC_PTR ? "a pointer to " : "",
                type_name(p->dtype));
}

static KilnStatus put_pointer(const Kernel *k, const CodeParam *p, const Arg *a, uint8_t *at,
                              Diag *diag)
{
    if (p->kind != SPEC_PTR || (a->dtype != DTYPE_VOID && a->dtype != p->dtype))
        return wrong_type(k, p, a, diag);
    uintptr_t value = a->kind == ARG_PTR ? (uintptr_t)a->ptr
                                         : (uintptr_t)a->t.offset; // buffers are 64-byte aligned
    if (p->divisible > 1 && value % (uintptr_t)p->divisible)
        return fail(
            diag, KILN_ERR_INPUT, "K133",
            "%s: argument %s: address %#llx is not a multiple of %d, as its type *%s:%d promises",
            k->code.entry, p->name, (unsigned long long)value, p->divisible, type_name(p->dtype),
            p->divisible);
    if (a->kind == ARG_PTR) memcpy(at, &a->ptr, sizeof a->ptr);
    return KILN_OK;
}

static KilnStatus put_int(const Kernel *k, const CodeParam *p, const Arg *a, uint8_t *at,
                          Diag *diag)
{
    if (p->kind != SPEC_SCALAR || !dtype_is_int(p->dtype)) return wrong_type(k, p, a, diag);
    int32_t bits = dtype_bits(p->dtype);
    bool is_signed = dtype_is_signed(p->dtype);
    int64_t low = !is_signed ? 0 : bits == 64 ? INT64_MIN : -((int64_t)1 << (bits - 1));
    int64_t high = bits == 64 ? INT64_MAX : ((int64_t)1 << (bits - (is_signed ? 1 : 0))) - 1;
    if (a->i < low || a->i > high)
        return fail(diag, KILN_ERR_INPUT, "K132", "%s: argument %s: %lld does not fit %s",
                    k->code.entry, p->name, (long long)a->i, type_name(p->dtype));
    if (p->divisible > 1 && a->i % p->divisible)
        return fail(diag, KILN_ERR_INPUT, "K133",
                    "%s: argument %s: %lld is not a multiple of %d, as its type %s:%d promises",
                    k->code.entry, p->name, (long long)a->i, p->divisible, type_name(p->dtype),
                    p->divisible);
    memcpy(at, &a->i, (size_t)p->bytes); // little-endian, as everywhere this runs
    return KILN_OK;
}

static KilnStatus put_arg(const Kernel *k, const CodeParam *p, const Arg *a, uint8_t *at,
                          Diag *diag)
{
    if (a->kind == ARG_PTR || a->kind == ARG_TENSOR) return put_pointer(k, p, a, at, diag);
    if (a->kind == ARG_INT) return put_int(k, p, a, at, diag);
    if (p->kind != SPEC_SCALAR || !dtype_is_float(p->dtype)) return wrong_type(k, p, a, diag);
    dtype_store_f64(p->dtype, at, a->f);
    return KILN_OK;
}

static KilnStatus check_grid(const Kernel *k, Grid g, Diag *diag)
{
    if (g.x < 0 || g.y < 0 || g.z < 0)
        return fail(diag, KILN_ERR_INPUT, "K134", "%s: grid (%d, %d, %d): an extent is negative",
                    k->code.entry, g.x, g.y, g.z);
    bool is_gpu = k->code.target.kind == TARGET_SM || k->code.target.kind == TARGET_EMU;
    if (is_gpu && (g.y > 65535 || g.z > 65535)) // CUDA's limits; native code has none
        return fail(diag, KILN_ERR_INPUT, "K134",
                    "%s: grid (%d, %d, %d): y or z is above 65535; x may be larger", k->code.entry,
                    g.x, g.y, g.z);
    return KILN_OK;
}

/// Which parameter each argument is for; every parameter exactly once.
static KilnStatus match(const Kernel *k, int32_t n_args, const Arg *args, int32_t *param,
                        Diag *diag)
{
    const Code *c = &k->code;
    bool given[CODE_MAX_PARAMS] = {false};
    for (int32_t i = 0; i < n_args; i++) {
        int32_t p = param_of(c, &args[i], i);
        if (p < 0 && args[i].name)
            return fail(diag, KILN_ERR_INPUT, "K131", "%s: no run-time parameter is named %s",
                        c->entry, args[i].name);
        if (p < 0)
            return fail(diag, KILN_ERR_INPUT, "K131", "%s: found %d arguments, expected %d",
                        c->entry, n_args, c->n_params);
        if (given[p])
            return fail(diag, KILN_ERR_INPUT, "K131", "%s: argument %s is given twice", c->entry,
                        c->params[p].name);
        given[p] = true;
        param[i] = p;
    }
    for (int32_t p = 0; p < c->n_params; p++)
        if (!given[p])
            return fail(diag, KILN_ERR_INPUT, "K131", "%s: argument %s is missing", c->entry,
                        c->params[p].name);
    return KILN_OK;
}

KilnStatus launch_make(Kernel *k, Grid grid, int32_t n_args, const Arg *args,
                       const LaunchOptions *options, void *block, int32_t *fixups, Launch *out,
                       Diag *diag)
{
    KilnStatus st = KILN_OK;
    const Code *c = &k->code;
    int32_t param[CODE_MAX_PARAMS];
    ASSERT(c->args_bytes <= LAUNCH_MAX_ARGS_BYTES);
    TRY(check_grid(k, grid, diag));
    if (n_args > c->n_params)
        TRY(fail(diag, KILN_ERR_INPUT, "K131", "%s: found %d arguments, expected %d", c->entry,
                 n_args, c->n_params));
    TRY(match(k, n_args, args, param, diag));
    memset(block, 0, (size_t)c->args_bytes);
    for (int32_t i = 0; i < n_args; i++) {
        const CodeParam *p = &c->params[param[i]];
        if (fixups) fixups[i] = p->offset;
        TRY(put_arg(k, p, &args[i], (uint8_t *)block + p->offset, diag));
    }
    int64_t n = (int64_t)grid.x * grid.y * grid.z;
    int64_t chunk =
        options && options->chunk > 0 ? options->chunk : n / (8 * k->dev->facts.n_threads);
    chunk = MAX(MAX(chunk, div_up(n, MAX_TASKS)), 1);
    *out = (Launch){.kernel = k, .grid = grid, .n_programs = n, .chunk = chunk, .args = block};
    if (options) out->cluster = options->cluster, out->overlaps = options->overlaps;
done:
    return st;
}

KilnStatus launch_run(const Launch *l, Diag *diag)
{
    if (l->n_programs == 0) return KILN_OK;
    return device_run(l->kernel->dev, 1, &l, diag);
}

KilnStatus kernel_launch(Kernel *k, Grid grid, int32_t n_args, const Arg *args, Diag *diag)
{
    _Alignas(64) uint8_t block[LAUNCH_MAX_ARGS_BYTES];
    Launch l;
    for (int32_t i = 0; i < n_args; i++)
        if (args[i].kind == ARG_TENSOR)
            return fail(diag, KILN_ERR_INPUT, "K132", "%s: a planned buffer outside a graph",
                        k->code.entry);
    KilnStatus st = launch_make(k, grid, n_args, args, NULL, block, NULL, &l, diag);
    return st == KILN_OK ? launch_run(&l, diag) : st;
}
