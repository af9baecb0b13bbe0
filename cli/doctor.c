// cli/doctor.c - kiln doctor: what this machine offers. Each line says ok, note or problem, and what to do.
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/session.h"

typedef struct Doctor {
    const Settings *s;
    Arena *arena;
    StrBuf out;
    bool something_runs;
    int32_t n_lines;
} Doctor;

static void line(Doctor *d, const char *verdict, const char *what, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
static void line(Doctor *d, const char *verdict, const char *what, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const char *text = arena_vprintf(d->arena, fmt, args);
    va_end(args);
    if (!d->s->json) {
        strbuf_printf(&d->out, "%-8s %-12s %s\n", verdict, what, text);
        return;
    }
    strbuf_printf(&d->out, "%s{\"verdict\": \"%s\", \"what\": \"%s\", \"text\": \"",
                  d->n_lines++ ? ", " : "", verdict, what);
    strbuf_json(&d->out, text, strlen(text));
    strbuf_puts(&d->out, "\"}");
}

/// The value of the first `key` line of a /proc file, e.g. "model name" of cpuinfo. Arena; "" when absent.
static const char *proc_field(Arena *arena, const char *path, const char *key)
{
    FILE *f = fopen(path, "r");
    char text[512];
    const char *found = "";
    while (f && fgets(text, sizeof text, f)) {
        if (strncmp(text, key, strlen(key)) != 0) continue;
        const char *value = strchr(text, ':');
        value = value ? value + 1 + strspn(value + 1, " \t") : text;
        found = arena_strndup(arena, value, strcspn(value, "\n"));
        break;
    }
    if (f) fclose(f);
    return found;
}

static void check_cpu(Doctor *d)
{
    static const char *const levels[] = {"generic (no AVX2): kernels run, several times slower",
                                         "AVX2",
                                         "AVX-512",
                                         "NEON",
                                         "NEON with dot products",
                                         "NEON with i8mm and bf16"};
    CpuLevel level = target_host_level();
    line(d, level == CPU_GENERIC ? "note" : "ok", "cpu", "%s, %ld cores, %s",
         proc_field(d->arena, "/proc/cpuinfo", "model name"), sysconf(_SC_NPROCESSORS_ONLN),
         levels[level]);
    line(d, "ok", "memory", "%s total, %s available",
         proc_field(d->arena, "/proc/meminfo", "MemTotal"),
         proc_field(d->arena, "/proc/meminfo", "MemAvailable"));
}

static void check_bandwidth(Doctor *d, Session *x)
{
    DeviceBandwidth b;
    if (device_measure_bandwidth(x->dev, 0, &b, NULL) == KILN_OK)
        line(d, "ok", "bandwidth", "read %.1f GB/s, copy %.1f GB/s %s (measured)", b.read / 1e9,
             b.copy / 1e9,
             x->dev->facts.has_stream
                 ? "inside the GPU"
                 : arena_printf(d->arena, "with %d threads", x->dev->facts.n_threads));
}

/// The GPUs, or why there are none that CUDA can use.
static void check_cuda(Doctor *d)
{
    CudaList list;
    Diag diag;
    char target[24];
    diag_init(&diag, heap_default());
    if (device_cuda_list(d->s->cuda_lib, &list, &diag) == KILN_OK) {
        line(d, "ok", "cuda", "driver for CUDA %d.%d, %d GPU%s", list.driver / 1000,
             list.driver % 1000 / 10, list.n, list.n == 1 ? "" : "s");
        for (int32_t i = 0; i < list.n; i++) {
            const CudaCard *c = &list.cards[i];
            target_text(&c->target, target);
            const char *name = arena_printf(d->arena, "cuda:%d", i);
            if (c->is_old)
                line(d, "note", name, "%s: compute capability %d.%d is below 7.5: not used",
                     c->model, c->major, c->minor);
            else
                line(d, "ok", name, "%s, compute capability %d.%d, %d SMs, %s; kernels for %s",
                     c->model, c->major, c->minor, c->n_sms,
                     bytes_text(d->arena, (double)c->memory_total), target);
        }
    } else {
        const DiagItem *why = diag.items.len ? diag.items.data[0] : NULL;
        line(d, "note", "cuda", "%s%s%s; kernels compile to PTX, and run in emu:sm_80, emu:sm_90a",
             diag_first(&diag), why && why->help ? "; " : "", why && why->help ? why->help : "");
    }
    diag_reset(&diag);
    arena_reset(&diag.arena);
}

static void check_cache(Doctor *d)
{
    const char *dir = cache_dir_of(d->s, d->arena);
    struct stat st;
    if (!dir)
        line(d, "note", "cache", "off: every start compiles its kernels again");
    else if (stat(dir, &st) != 0)
        line(d, "ok", "cache", "%s does not exist yet; it will be made", dir);
    else if (st.st_uid != getuid())
        line(d, "problem", "cache", "%s belongs to another user and is not used; give --cache-dir",
             dir);
    else
        line(d, access(dir, W_OK) == 0 ? "ok" : "problem", "cache", "%s %s", dir,
             access(dir, W_OK) == 0 ? "is writable" : "is not writable; give --cache-dir");
}

/// Compiles one kernel and runs it: 1 + 2 = 3, on the device at hand.
static void self_test(Doctor *d, Session *x, Diag *diag)
{
    static const char text[] =
        "import triton\nimport triton.language as tl\n\n"
        "@triton.jit\ndef add(x, y, n, BLOCK: tl.constexpr):\n"
        "    i = tl.arange(0, BLOCK)\n"
        "    tl.store(y + i, tl.load(x + i, mask=i < n) + 2.0, mask=i < n)\n";
    KilnStatus st = KILN_OK;
    Source *source = NULL;
    Kernel *kernel;
    Spec spec;
    void *at = NULL;
    float cell[16] = {1};
    TRY(source_from_text("self-test.py", str_of(text), &source, diag));
    TRY(spec_parse(source, STR("add(x: *fp32:16, y: *fp32:16, n: i32, BLOCK=16)"), d->arena, &spec,
                   diag));
    TRY(kernel_get(x->kernels, source, &spec, &kernel, diag));
    TRY(device_alloc(x->dev, sizeof cell, "self-test", &at, diag));
    device_upload(x->dev, at, cell, sizeof cell);
    TRY(kernel_launch(
        kernel, grid_of(1, 1, 1), 3,
        (Arg[]){arg_ptr("x", DTYPE_F32, at), arg_ptr("y", DTYPE_F32, at), arg_int("n", 16)}, diag));
    device_download(x->dev, cell, at, sizeof cell);
    TRY(device_check(x->dev, diag));
    if (cell[0] != 3.0f) st = KILN_ERR_DEVICE;
done:
    d->something_runs |= st == KILN_OK;
    line(d, st == KILN_OK ? "ok" : "problem", "self-test",
         st == KILN_OK ? "a kernel was compiled and gave the right answer on %s"
                       : "a kernel failed on %s",
         x->dev->facts.name);
    if (x->dev) device_free(x->dev, at);
    session_close(x); // before the source its kernel came from
    source_close(source);
}

int command_doctor(const Settings *s, Arena *arena, Diag *diag)
{
    Doctor d = {.s = s, .arena = arena};
    Session x = {0};
    if (s->json) strbuf_puts(&d.out, "{\"schema\": \"kiln.doctor/1\", \"lines\": [");
    line(&d, "ok", "kiln", "version %s, compiler built on LLVM", KILN_VERSION_TEXT);
    check_cpu(&d);
    if (session_device(&x, s, arena, diag) == KILN_OK) {
        if (*x.dev->facts.libraries) line(&d, "ok", "libraries", "%s", x.dev->facts.libraries);
        check_bandwidth(&d, &x);
        self_test(&d, &x, diag);
    } else
        session_close(&x);
    check_cuda(&d);
    check_cache(&d);
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        line(&d, limit.rlim_cur < 1024 ? "note" : "ok", "limits", "%llu open files",
             (unsigned long long)limit.rlim_cur);
    if (s->json) strbuf_puts(&d.out, "]}\n");
    print_out(&d.out);
    strbuf_free(&d.out);
    return d.something_runs ? EXIT_DONE : EXIT_RESOURCE;
}
