#include "tests/compiler/gpu/harness.h"

#include <math.h>

void kernel_open(Kernel *k, const char *text)
{
    memset(k, 0, sizeof *k);
    arena_init(&k->arena, heap_default());
    diag_init(&k->diag, heap_default());
    k->module = module_new(&k->arena, &k->diag);
    KilnStatus st = module_parse(k->module, "kernel.tile", str_of(text));
    cr_assert_eq(st, KILN_OK, "%s", kernel_messages(k));
    k->fn = vec_last(&k->module->funcs);
    PassCx cx = {.module = k->module, .diag = &k->diag};
    st = passes_run(&cx, k->fn, PASSES_COMMON);
    cr_assert_eq(st, KILN_OK, "%s", kernel_messages(k));
}

void kernel_close(Kernel *k)
{
    heap_free(heap_default(), k->code.bytes);
    strbuf_free(&k->ptx), strbuf_free(&k->layout), strbuf_free(&k->llvm);
    diag_reset(&k->diag);
    arena_reset(&k->arena);
}

const char *kernel_messages(Kernel *k)
{
    StrBuf b = {0};
    diag_render(&k->diag, &b);
    const char *text = arena_strdup(&k->arena, b.data ? b.data : "");
    strbuf_free(&b);
    return text;
}

static Target parse_target(const char *text)
{
    Target t = {.kind = TARGET_INTERP};
    const char *sm = strstr(text, "sm_");
    if (!sm) return t;
    t.kind = strncmp(text, "emu", 3) == 0 ? TARGET_EMU : TARGET_SM;
    t.sm = atoi(sm + 3);
    t.sm_a = sm[strlen(sm) - 1] == 'a';
    return t;
}

KilnStatus kernel_compile(Kernel *k, const char *target)
{
    Target t = parse_target(target);
    int32_t offsets[CODE_MAX_PARAMS];
    Emit emit = {.ptx = &k->ptx, .layout = &k->layout, .llvm = &k->llvm};
    k->code = (Code){.target = t, .num_warps = k->fn->num_warps, .n_params = k->fn->n_params};
    k->code.args_bytes = interp_args_layout(k->fn, offsets);
    for (int32_t i = 0; i < k->fn->n_params; i++)
        k->code.params[i].offset = offsets[i];
    snprintf(k->code.entry, sizeof k->code.entry, "%s", k->fn->name);
    return gpu_compile(k->fn, &t, &emit, &k->code, &k->diag);
}

Buffer buffer_new(DType t, int64_t n)
{
    Buffer b = {t, n, NULL};
    size_t bytes = (size_t)n * (size_t)dtype_bytes(t);
    b.data = heap_alloc(heap_default(), MAX(bytes, 1), 64);
    return b;
}

void buffer_free(Buffer *b)
{
    heap_free(heap_default(), b->data);
}

static void *element(const Buffer *b, int64_t i)
{
    return (char *)b->data + i * dtype_bytes(b->dtype);
}

void buffer_random(Buffer *b, uint64_t seed, double low, double high)
{
    Random r = {seed};
    for (int64_t i = 0; i < b->n; i++) {
        double x = low + (high - low) * random_unit(&r);
        dtype_store_f64(b->dtype, element(b, i), dtype_is_float(b->dtype) ? x : floor(x));
    }
}

static void fill_args(const Func *fn, int32_t n, const Arg *args, char *block, MemRange *ranges,
                      int32_t *n_ranges)
{
    int32_t offsets[CODE_MAX_PARAMS];
    interp_args_layout(fn, offsets);
    *n_ranges = 0;
    for (int32_t i = 0; i < n; i++) {
        const Type *t = fn->params[i].value->type;
        if (t->is_ptr) {
            memcpy(block + offsets[i], &args[i].buffer->data, 8);
            ranges[(*n_ranges)++] =
                (MemRange){args[i].buffer->data,
                           (size_t)(args[i].buffer->n * dtype_bytes(args[i].buffer->dtype)),
                           fn->params[i].name};
        } else if (dtype_is_float(t->dtype)) {
            dtype_store_f64(t->dtype, block + offsets[i], args[i].f);
        } else {
            memcpy(block + offsets[i], &args[i].i, (size_t)dtype_bytes(t->dtype));
        }
    }
}

KilnStatus launch(const char *text, const char *target, int32_t n_args, const Arg *args, Grid grid,
                  char *messages, size_t size)
{
    Kernel k;
    kernel_open(&k, text);
    char block[1024] = {0};
    MemRange ranges[CODE_MAX_PARAMS];
    int32_t n_ranges;
    cr_assert_eq(k.fn->n_params, n_args, "the kernel has %d parameters", k.fn->n_params);
    fill_args(k.fn, n_args, args, block, ranges, &n_ranges);
    int64_t n = (int64_t)grid.x * grid.y * grid.z;
    KilnStatus st;
    if (parse_target(target).kind == TARGET_INTERP) {
        Arena scratch;
        arena_init(&scratch, heap_default());
        st = interp_run(k.fn, block, &grid, 0, n, n_ranges, ranges, &scratch, &k.diag);
        arena_reset(&scratch);
    } else {
        st = kernel_compile(&k, target);
        Image img = {0};
        if (st == KILN_OK) st = emu_image_load(&k.code, k.fn, &img, &k.diag);
        if (st == KILN_OK)
            st = img.ops->run(img.self, block, &grid, 0, n, n_ranges, ranges, &k.diag);
        if (img.ops) img.ops->free(img.self);
        if (getenv("KILN_SHOW")) fprintf(stderr, "%s\n%s\n", k.layout.data, k.llvm.data);
    }
    snprintf(messages, size, "%s", kernel_messages(&k));
    kernel_close(&k);
    return st;
}

static void compare(const char *name, int32_t arg, const Buffer *want, const Buffer *got,
                    double relative, double absolute)
{
    int32_t shown = 0;
    for (int64_t i = 0; i < want->n; i++) {
        double a = dtype_load_f64(want->dtype, element(want, i)),
               b = dtype_load_f64(got->dtype, element(got, i));
        bool same =
            (isnan(a) && isnan(b)) || a == b || fabs(a - b) <= absolute + relative * fabs(a);
        if (!same && shown++ < 4)
            cr_expect(false, "%s: argument %d, element %lld: interpreter %.9g, emulator %.9g", name,
                      arg, (long long)i, a, b);
    }
    cr_expect(shown == 0, "%s: argument %d: %d of %lld differ", name, arg, shown,
              (long long)want->n);
}

void expect_agreement(const char *name, const char *text, int32_t n_args, Arg *args, Grid grid,
                      double relative, double absolute)
{
    char messages[4096];
    Buffer copies[CODE_MAX_PARAMS];
    Arg other[CODE_MAX_PARAMS];
    for (int32_t i = 0; i < n_args; i++) {
        other[i] = args[i];
        if (!args[i].buffer) continue;
        copies[i] = buffer_new(args[i].buffer->dtype, args[i].buffer->n);
        memcpy(copies[i].data, args[i].buffer->data,
               (size_t)(copies[i].n * dtype_bytes(copies[i].dtype)));
        other[i].buffer = &copies[i];
    }
    KilnStatus st = launch(text, "interp", n_args, args, grid, messages, sizeof messages);
    cr_assert_eq(st, KILN_OK, "%s: interpreter: %s", name, messages);
    st = launch(text, "emu:sm_80", n_args, other, grid, messages, sizeof messages);
    cr_assert_eq(st, KILN_OK, "%s: emulator: %s", name, messages);
    for (int32_t i = 0; i < n_args; i++) {
        if (!args[i].buffer) continue;
        compare(name, i, args[i].buffer, other[i].buffer, relative, absolute);
        buffer_free(&copies[i]);
    }
}

int32_t expect_assembles(const char *name, const char *text, bool may_spill)
{
    static const char *const targets[] = {"sm_75", "sm_80", "sm_86", "sm_89", "sm_90a"};
    int32_t registers = 0;
    for (int32_t i = 0; i < COUNT_OF(targets); i++) {
        Kernel k;
        kernel_open(&k, text);
        KilnStatus st = kernel_compile(&k, targets[i]);
        cr_assert_eq(st, KILN_OK, "%s for %s: %s", name, targets[i], kernel_messages(&k));
        PtxasReport r = ptxas_run((const char *)k.code.bytes, k.code.size, targets[i]);
        if (r.found) {
            cr_expect(r.ok, "%s for %s: ptxas: %s", name, targets[i], r.log);
            cr_expect(may_spill || r.spill_stores <= 0, "%s for %s spills %d bytes", name,
                      targets[i], r.spill_stores);
            if (i == 1) registers = r.registers;
        }
        if (getenv("KILN_SHOW")) fprintf(stderr, "%s\n%s\n", targets[i], k.ptx.data);
        kernel_close(&k);
    }
    return registers;
}
