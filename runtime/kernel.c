#include "runtime/kernel.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/map.h"

typedef struct Entry {
    Kernel kernel;
    struct Entry *next;
} Entry;

struct KernelCache {
    Heap *heap;
    Device *dev;
    Arena arena;                 ///< keys, paths, specialisations
    Map by_key;                  ///< hex of the key -> Entry
    Map by_words;                ///< file, newline, words -> Entry
    Map sources;                 ///< name -> Source
    Entry *entries;              ///< newest first
    const char *dir;             ///< CACHE_DIR/kernels, or NULL: memory only
    size_t cap_bytes, dir_bytes; ///< dir_bytes: after the first scan, about
    bool is_scanned;
    const char *folder;
    const KernelText *texts;
    int32_t n_texts, n_made;
};

// ---- the folder on disk -----------------------------------------------------------------------

/// Is `dir` this user's own, and closed to others? Code is run from it.
static bool is_private_dir(const char *dir)
{
    struct stat st;
    return lstat(dir, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() &&
           (st.st_mode & 077) == 0;
}

static void open_folder(KernelCache *c, const char *cache_dir, Diag *diag)
{
    const char *dir = arena_printf(&c->arena, "%s/kernels", cache_dir);
    const char *why = NULL;
    if (file_make_dirs(dir, NULL) != KILN_OK)
        why = "cannot be created";
    else if (!is_private_dir(dir))
        why = "is not a directory of this user with mode 0700";
    if (!why)
        c->dir = dir;
    else
        diag_add(diag, DIAG_WARNING, "W001", NO_SPAN, "%s %s: kernels are not kept on disk", dir,
                 why);
}

typedef struct CacheFile {
    char name[33];
    int64_t size, used_ns;
} CacheFile;

static int older_first(const void *a, const void *b)
{
    const CacheFile *x = a, *y = b;
    if (x->used_ns != y->used_ns) return x->used_ns < y->used_ns ? -1 : 1;
    return strcmp(x->name, y->name);
}

/// Sums the folder; when it is above the cap, removes the least recently used down to three quarters of it.
static void trim_folder(KernelCache *c)
{
    DIR *d = opendir(c->dir);
    if (!d) return;
    Arena scratch;
    arena_init(&scratch, c->heap);
    VEC(CacheFile) files = {0};
    struct dirent *e;
    int at = dirfd(d);
    c->dir_bytes = 0;
    while (at >= 0 && (e = readdir(d))) {
        struct stat st;
        if (strlen(e->d_name) < 32 || fstatat(at, e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
            !S_ISREG(st.st_mode))
            continue;
        c->dir_bytes += (size_t)st.st_size;
        if (strlen(e->d_name) > 32) continue; // a temporary name: a writer's own
        CacheFile f = {.size = st.st_size,
                       .used_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec};
        memcpy(f.name, e->d_name, 33);
        vec_push(&scratch, &files, f);
    }
    if (files.len && c->dir_bytes > c->cap_bytes) {
        qsort(files.data, (size_t)files.len, sizeof *files.data, older_first);
        for (int32_t i = 0; i < files.len && c->dir_bytes > c->cap_bytes / 4 * 3; i++)
            if (unlinkat(at, files.data[i].name, 0) == 0)
                c->dir_bytes -= (size_t)files.data[i].size;
    }
    c->is_scanned = true;
    closedir(d);
    arena_reset(&scratch);
}

/// @return true when an intact image for `key` was on disk
static bool disk_read(KernelCache *c, const char *hex, Hash128 key, Code *out)
{
    if (!c->dir) return false;
    StrBuf path = {0}, bytes = {0};
    strbuf_printf(&path, "%s/%s", c->dir, hex);
    bool ok = !path.failed && file_read(path.data, &bytes, NULL) == KILN_OK &&
              code_read(bytes.data, bytes.len, key, out) == KILN_OK;
    if (ok) utimensat(AT_FDCWD, path.data, NULL, 0); // used now: the trim goes by this
    strbuf_free(&path);
    strbuf_free(&bytes);
    return ok;
}

/// A full disk or a folder that went away only costs the next run a compilation.
static void disk_write(KernelCache *c, const char *hex, Hash128 key, const Code *code)
{
    if (!c->dir || !is_private_dir(c->dir)) return;
    StrBuf path = {0}, bytes = {0};
    strbuf_printf(&path, "%s/%s", c->dir, hex);
    code_write(code, key, &bytes);
    if (!path.failed && !bytes.failed &&
        file_replace(path.data, bytes.data, bytes.len, NULL) == KILN_OK)
        c->dir_bytes += bytes.len;
    strbuf_free(&path);
    strbuf_free(&bytes);
    if (!c->is_scanned || c->dir_bytes > c->cap_bytes) trim_folder(c);
}

// ---- the cache --------------------------------------------------------------------------------

/// Frees an entry and what its kernel holds.
static void entry_free(KernelCache *c, Entry *e)
{
    if (e->kernel.handle) c->dev->ops->unload(c->dev, e->kernel.handle);
    image_free(e->kernel.image);
    code_free(&e->kernel.code);
    heap_free(c->heap, e);
}

KilnStatus kernel_cache_open(Device *dev, const KernelCacheOptions *options, KernelCache **out,
                             Diag *diag)
{
    *out = NULL;
    KernelCache *c = heap_new(dev->heap, KernelCache);
    if (!c) return fail(diag, KILN_ERR_NOMEM, "K102", "no memory for the kernel cache");
    c->heap = dev->heap;
    c->dev = dev;
    arena_init(&c->arena, dev->heap);
    c->cap_bytes = options->cap_bytes ? options->cap_bytes : (size_t)1 << 30;
    c->folder = options->folder ? arena_strdup(&c->arena, options->folder) : NULL;
    c->texts = options->texts;
    c->n_texts = options->n_texts;
    if (options->cache_dir) open_folder(c, options->cache_dir, diag);
    *out = c;
    return KILN_OK;
}

void kernel_cache_close(KernelCache *c)
{
    if (!c) return;
    for (Entry *e = c->entries, *next; e; e = next) {
        next = e->next;
        entry_free(c, e);
    }
    for (int32_t i = 0; i < c->sources.len; i++)
        source_close(c->sources.entries[i].value);
    arena_reset(&c->arena);
    heap_free(c->heap, c);
}

Device *kernel_cache_device(const KernelCache *c)
{
    return c->dev;
}

static Str keep(KernelCache *c, const char *text)
{
    return str_of(arena_strdup(&c->arena, text));
}

KilnStatus kernel_source(KernelCache *c, const char *name, const Source **out, Diag *diag)
{
    Source *s = map_get(&c->sources, str_of(name));
    *out = s;
    if (s) return KILN_OK;
    KilnStatus st = KILN_ERR_INPUT;
    const char *path = c->folder ? arena_printf(&c->arena, "%s/%s", c->folder, name) : NULL;
    const KernelText *text = NULL;
    for (int32_t i = 0; i < c->n_texts; i++)
        if (!strcmp(c->texts[i].name, name)) text = &c->texts[i];
    if (path && file_exists(path))
        st = source_open(path, &s, diag);
    else if (text)
        st = source_from_text(name, (Str){text->text, text->size}, &s, diag);
    else
        fail(diag, st, "K104", "kernel file %s was not found (%s%s)", name,
             c->folder ? "looked in " : "none are carried inside", c->folder ? c->folder : "");
    if (st != KILN_OK) return st;
    map_put(&c->arena, &c->sources, keep(c, name), s);
    *out = s;
    return KILN_OK;
}

/// A copy of `spec` that lives as long as the cache: runners that walk IR read it again.
static Spec keep_spec(KernelCache *c, const Spec *spec)
{
    Spec s = *spec;
    s.func = arena_strdup(&c->arena, spec->func);
    s.params = arena_array(&c->arena, SpecParam, MAX(spec->n_params, 1));
    for (int32_t i = 0; i < spec->n_params; i++) {
        s.params[i] = spec->params[i];
        s.params[i].name = arena_strdup(&c->arena, spec->params[i].name);
        if (spec->params[i].value.s)
            s.params[i].value.s = arena_strdup(&c->arena, spec->params[i].value.s);
    }
    return s;
}

// ---- machine code made by the device ----------------------------------------------------------

/// The key of machine code: that of the portable code, and what else it depends on.
static Hash128 machine_key(const KernelCache *c, Hash128 key, char hex[33])
{
    Hasher h = {0};
    hasher_add(&h, &key, sizeof key);
    hasher_add_text(&h, c->dev->facts.code_tag);
    Hash128 made = hasher_finish(&h);
    hash_hex(made, hex);
    return made;
}

/// Replaces portable code by the device's own, keeps that on disk, and loads it.
static KilnStatus assemble(KernelCache *c, Hash128 key, Kernel *k, Diag *diag)
{
    KilnStatus st = KILN_OK;
    char hex[33];
    StrBuf made = {0};
    Hash128 machine = machine_key(c, key, hex);
    TRY(c->dev->ops->assemble(c->dev, &k->code, &made, diag));
    c->dev->counters.assembles++;
    uint8_t *bytes = heap_alloc(heap_default(), made.len + 1, 1);
    if (!bytes || made.failed) {
        heap_free(heap_default(), bytes);
        TRY(fail(diag, KILN_ERR_NOMEM, "K102", "%s: no memory for machine code", k->code.entry));
    }
    if (made.len) memcpy(bytes, made.data, made.len);
    heap_free(heap_default(), k->code.bytes);
    k->code.bytes = bytes;
    k->code.size = made.len;
    disk_write(c, hex, machine, &k->code);
    st = c->dev->ops->load(c->dev, &k->code, &k->handle, diag);
done:
    strbuf_free(&made);
    return st;
}

/// @return true when the device's own code was on disk and could be loaded
static bool load_machine(KernelCache *c, Kernel *k)
{
    char hex[33];
    if (!c->dev->ops->load || !c->dir) return false;
    Hash128 key = machine_key(c, k->key, hex);
    if (!disk_read(c, hex, key, &k->code)) return false;
    if (c->dev->ops->load(c->dev, &k->code, &k->handle, NULL) == KILN_OK) return true;
    code_free(&k->code); // intact, but of no use here: assemble it again
    return false;
}

/// Tells perf where the code of `k` is, when the environment asks for it: a line of /tmp/perf-PID.map.
static void tell_perf(const Kernel *k)
{
    if (!k->entry || !getenv("KILN_PERF_MAP")) return;
    char path[64];
    snprintf(path, sizeof path, "/tmp/perf-%ld.map", (long)getpid());
    FILE *f = fopen(path, "a");
    if (!f) return;
    fprintf(f, "%zx %zx %s\n", (size_t)(uintptr_t)k->entry, image_entry_bytes(k->image),
            k->text ? k->text : k->code.entry);
    fclose(f);
}

/// Makes `k` runnable: links its code into this process, or loads it into the device.
static KilnStatus make_ready(KernelCache *c, Kernel *k, const Source *source, const Spec *spec,
                             Diag *diag)
{
    if (c->dev->ops->load) return assemble(c, k->key, k, diag);
    KilnStatus st = image_load(&k->code, source, spec, &k->image, diag);
    if (st != KILN_OK) return st;
    k->entry = image_entry(k->image);
    if (c->dev->facts.target.kind == TARGET_CPU && !k->entry)
        return fail(diag, KILN_ERR_DEVICE, "K116", "%s: the linked code has no entry",
                    k->code.entry);
    tell_perf(k);
    return device_reserve_scratch(c->dev, k->code.scratch_bytes, diag);
}

/// Compiles, or reads what an earlier run compiled; then makes it runnable.
static KilnStatus build(KernelCache *c, const Source *source, const Spec *spec, const char *hex,
                        Entry *e, Diag *diag)
{
    KilnStatus st = KILN_OK;
    Kernel *k = &e->kernel;
    DeviceCounters *n = &c->dev->counters;
    Spec kept = keep_spec(c, spec);
    if (load_machine(c, k)) {
        n->cached_disk++;
        return KILN_OK;
    }
    if (disk_read(c, hex, k->key, &k->code)) {
        n->cached_disk++;
        if (make_ready(c, k, source, &kept, NULL) == KILN_OK) return KILN_OK;
        TRY(device_check(c->dev, diag));
        code_free(&k->code); // intact, but of no use here: compile it again
    }
    int32_t n_said = diag ? diag->items.len : 0;
    TRY(compile_kernel(source, &kept, &c->dev->facts.target, NULL, &k->code, diag));
    diag_drop_warnings(diag,
                       n_said); // `kiln compile` is who warns of what another compiler would refuse
    n->compiles++;
    n->compile_us += k->code.compile_us;
    n->llvm_us += k->code.llvm_us;
    log_info(c->dev->log, "cache", "miss key=%s kernel=%s us=%lld", hex, k->code.entry,
             (long long)k->code.compile_us);
    disk_write(c, hex, k->key, &k->code);
    TRY(make_ready(c, k, source, &kept, diag));
done:
    return st;
}

KilnStatus kernel_get(KernelCache *c, const Source *source, const Spec *spec, Kernel **out,
                      Diag *diag)
{
    Hash128 key = compile_key(source, spec, &c->dev->facts.target);
    char hex[33];
    hash_hex(key, hex);
    Entry *e = map_get(&c->by_key, str_of(hex));
    *out = NULL;
    if (e) {
        c->dev->counters.cached_mem++;
        *out = &e->kernel;
        return KILN_OK;
    }
    e = heap_new(c->heap, Entry);
    if (!e) return fail(diag, KILN_ERR_NOMEM, "K102", "%s: no memory for the kernel", spec->func);
    e->kernel.key = key;
    e->kernel.dev = c->dev;
    e->kernel.text = spec_text(&c->arena, spec);
    e->kernel.path = source_path(source);
    KilnStatus st = build(c, source, spec, hex, e, diag);
    if (st != KILN_OK) {
        entry_free(c, e);
        return st;
    }
    e->next = c->entries;
    c->entries = e;
    map_put(&c->arena, &c->by_key, keep(c, hex), e);
    *out = &e->kernel;
    return KILN_OK;
}

KilnStatus kernel_find(KernelCache *c, const char *file, Str words, Kernel **out, Diag *diag)
{
    KilnStatus st = KILN_OK;
    ArenaMark before = arena_mark(&c->arena);
    const char *name = arena_printf(&c->arena, "%s\n%.*s", file, STR_ARG(words));
    *out = map_get(&c->by_words, str_of(name));
    if (*out) {
        arena_release(&c->arena, before);
        c->dev->counters.cached_mem++;
        return KILN_OK;
    }
    const Source *source;
    Spec spec;
    Arena scratch;
    arena_init(&scratch, c->heap);
    TRY(kernel_source(c, file, &source, diag));
    TRY(spec_parse(source, words, &scratch, &spec, diag));
    TRY(kernel_get(c, source, &spec, out, diag));
    map_put(&c->arena, &c->by_words, str_of(name), *out);
done:
    arena_reset(&scratch);
    return st;
}

static bool target_equal(const Target *a, const Target *b)
{
    char x[24], y[24];
    target_text(a, x);
    target_text(b, y);
    return !strcmp(x, y);
}

KilnStatus kernel_from_code(KernelCache *c, const Code *code, Kernel **out, Diag *diag)
{
    KilnStatus st = KILN_OK;
    *out = NULL;
    Entry *e = heap_new(c->heap, Entry);
    if (!e) return fail(diag, KILN_ERR_NOMEM, "K102", "%s: no memory for the kernel", code->entry);
    Kernel *k = &e->kernel;
    k->key = hash_bytes(code->bytes, code->size);
    k->dev = c->dev;
    k->text = k->path = arena_strdup(&c->arena, code->entry);
    if (!target_equal(&code->target, &c->dev->facts.target) || code->target.kind == TARGET_EMU ||
        code->target.kind == TARGET_INTERP)
        TRY(fail(diag, KILN_ERR_UNSUPPORTED, "K115", "%s: code for another target than %s's",
                 code->entry, c->dev->facts.name));
    if (!load_machine(c, k)) {
        k->code = *code;
        k->code.bytes = heap_alloc(heap_default(), code->size + 1, 1); // PTX has a NUL after it
        if (!k->code.bytes)
            TRY(fail(diag, KILN_ERR_NOMEM, "K102", "%s: no memory for the kernel", code->entry));
        memcpy(k->code.bytes, code->bytes, code->size);
        k->code.bytes[code->size] = 0;
        TRY(make_ready(c, k, NULL, NULL, diag));
    }
    e->next = c->entries;
    c->entries = e;
    *out = k;
    e = NULL;
done:
    if (e) entry_free(c, e);
    return st;
}

KilnStatus kernel_from_entry(KernelCache *c, const Code *code, KernelEntry entry, Kernel **out,
                             Diag *diag)
{
    *out = NULL;
    Entry *e = heap_new(c->heap, Entry);
    if (!e) return fail(diag, KILN_ERR_NOMEM, "K102", "%s: no memory for the kernel", code->entry);
    e->kernel =
        (Kernel){.key = {(uint64_t)++c->n_made, 0}, .code = *code, .entry = entry, .dev = c->dev};
    e->kernel.code.bytes = NULL;
    e->kernel.text = e->kernel.path = arena_strdup(&c->arena, code->entry);
    e->next = c->entries;
    c->entries = e;
    *out = &e->kernel;
    return device_reserve_scratch(c->dev, code->scratch_bytes, diag);
}
