// tests/kernels/sass.c - see sass.h.
#include "tests/kernels/sass.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"

// ---- the tools --------------------------------------------------------------------------------

static bool found_in(const char *folder, const char *tool, char out[1024])
{
    glob_t g = {0};
    char pattern[1024];
    snprintf(pattern, sizeof pattern, "%s/%s", folder, tool);
    bool found = glob(pattern, 0, NULL, &g) == 0 && access(g.gl_pathv[0], X_OK) == 0;
    if (found) snprintf(out, 1024, "%s", g.gl_pathv[0]);
    globfree(&g);
    return found;
}

static bool found_on_path(const char *tool, char out[1024])
{
    char folder[1024];
    for (const char *at = getenv("PATH"); at && *at; at += strspn(at, ":")) {
        size_t len = strcspn(at, ":");
        snprintf(folder, sizeof folder, "%.*s", (int)len, at);
        if (found_in(folder, tool, out)) return true;
        at += len;
    }
    return false;
}

#define TRITON_BIN "site-packages/triton/backends/nvidia/bin"
#define DEBIAN_BIN "dist-packages/triton/backends/nvidia/bin"

static void find(const char *source_dir, const char *tool, char out[1024])
{
    static const char *const folders[] = {
        "$KILN_CUDA_BIN",
        "/usr/local/cuda/bin",
        "/opt/cuda/bin",
        "$SOURCE/build/cuda-tools",
        "$PATH",
        "$VIRTUAL_ENV/lib/python3*/" TRITON_BIN,
        "$HOME/.local/lib/python3*/" TRITON_BIN,
        "/usr/local/lib/python3*/" DEBIAN_BIN,
        "/usr/local/lib/python3*/" TRITON_BIN,
        "/usr/lib/python3*/" DEBIAN_BIN,
    };
    out[0] = 0;
    for (int32_t i = 0; i < COUNT_OF(folders); i++) {
        const char *f = folders[i], *rest = f + strcspn(f, "/");
        char name[32], folder[1024];
        snprintf(name, sizeof name, "%.*s", (int)(rest - f), f);
        const char *value = !strcmp(name, "$SOURCE") ? source_dir
                            : name[0] == '$'         ? getenv(name + 1)
                                                     : name;
        if (!value) continue;
        snprintf(folder, sizeof folder, "%s%s", value, rest);
        if (!strcmp(name, "$PATH") ? found_on_path(tool, out) : found_in(folder, tool, out)) return;
    }
}

/// "release 13.0, V13.0.88" of the last line but one.
static void ask_version(const char *path, char out[64])
{
    char command[1100], line[256];
    out[0] = 0;
    if (!path[0]) return;
    snprintf(command, sizeof command, "'%s' --version 2>&1", path);
    FILE *f = popen(command, "r");
    while (f && fgets(line, sizeof line, f)) {
        const char *at = strstr(line, ", V");
        if (at) snprintf(out, 64, "%.*s", (int)strcspn(at + 3, "\n"), at + 3);
    }
    if (f) pclose(f);
}

void cuda_tools_find(const char *source_dir, CudaTools *out)
{
    find(source_dir, "ptxas", out->ptxas);
    const char *named = getenv("KILN_PTXAS");
    if (named && access(named, X_OK) == 0) snprintf(out->ptxas, sizeof out->ptxas, "%s", named);
    find(source_dir, "nvdisasm", out->nvdisasm);
    ask_version(out->ptxas, out->ptxas_version);
    ask_version(out->nvdisasm, out->nvdisasm_version);
}

// ---- one text ---------------------------------------------------------------------------------

static int32_t number_before(const char *log, const char *words)
{
    const char *at = strstr(log, words);
    if (!at) return 0;
    while (at > log && (at[-1] == ' ' || (at[-1] >= '0' && at[-1] <= '9')))
        at--;
    return atoi(at);
}

static bool run(const char *command, StrBuf *out)
{
    char part[4096];
    FILE *f = popen(command, "r");
    if (!f) return false;
    for (size_t n; (n = fread(part, 1, sizeof part, f)) > 0;)
        strbuf_add(out, part, n);
    return pclose(f) == 0;
}

typedef struct OpTally {
    char name[48];
    int32_t n;
} OpTally;

/// Counts the opcodes of a listing: `/*0040*/  @!P0 LDG.E.128 R4, [R2.64] ;` has LDG.E.128.
static void tally(const char *listing, const char *end, StrBuf *out)
{
    OpTally ops[256];
    int32_t n = 0;
    for (const char *at = listing; (at = strstr(at, "*/")) && at < end; at += 2) {
        const char *p = at + 2 + strspn(at + 2, " \t");
        if (*p == '@') p += strcspn(p, " \n"), p += strspn(p, " ");
        size_t len = strspn(p, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._abcdefghijklmnopqrstuvwxyz");
        if (len < 2 || len >= sizeof ops[0].name || *p < 'A' || *p > 'Z') continue;
        int32_t i = 0;
        while (i < n && (strlen(ops[i].name) != len || strncmp(ops[i].name, p, len) != 0))
            i++;
        if (i == COUNT_OF(ops)) continue;
        if (i == n) snprintf(ops[n++].name, sizeof ops[0].name, "%.*s", (int)len, p), ops[i].n = 0;
        ops[i].n++;
    }
    for (int32_t i = 0; i < n; i++)
        strbuf_printf(out, "%s%s*%d", i ? " " : "", ops[i].name, ops[i].n);
}

// ---- several texts as one module ----------------------------------------------------------------

/// Appends `text` with its entry called k<index>; the head of the module only the first time.
/// @return false: it is more than one entry and its shared memory
static bool append_entry(const SassText *text, int32_t index, StrBuf *out)
{
    static const char word[] = ".visible .entry ";
    const char *entry = strstr(text->ptx, word), *name = entry ? entry + sizeof word - 1 : "";
    if (!entry || strstr(name, ".entry ") || strstr(text->ptx, ".func ") ||
        strstr(text->ptx, "\n.global "))
        return false;
    char param[128], called[32];
    size_t len = strcspn(name, "("), n_param;
    if (len > 100) return false;
    n_param = (size_t)snprintf(param, sizeof param, "%.*s_param_", (int)len, name);
    snprintf(called, sizeof called, "k%d", index);
    if (index == 0) strbuf_add(out, text->ptx, (size_t)(entry - text->ptx));
    strbuf_printf(out, ".visible .entry %s", called);
    for (const char *at = name + len; *at;) {
        const char *next = strstr(at, param);
        strbuf_add(out, at, next ? (size_t)(next - at) : strlen(at));
        if (!next) break;
        strbuf_printf(out, "%s_param_", called);
        at = next + n_param;
    }
    strbuf_puts(out, "\n");
    return true;
}

/// What precedes the entry: texts whose heads differ do not share a module.
static bool same_head(const SassText *a, const SassText *b)
{
    static const char shared[] = ".extern .shared";
    const char *x = strstr(a->ptx, ".visible"), *y = strstr(b->ptx, ".visible");
    const char *sx = strstr(a->ptx, shared), *sy = strstr(b->ptx, shared);
    if (!x || !y || !sx != !sy) return false;
    return !sx || !strncmp(sx, sy, strcspn(sx, "\n"));
}

/// Of entry k<index>; of the only one, whatever it is called, when there is no such name.
static void read_report(const char *log, int32_t index, Sass *out)
{
    char words[64];
    snprintf(words, sizeof words, "Compiling entry function 'k%d'", index);
    const char *at = strstr(log, words);
    if (!at) at = log;
    const char *used = strstr(at, "Used "), *next = *at ? strstr(at + 1, "Compiling entry") : NULL;
    char part[2048];
    snprintf(part, sizeof part, "%.*s", (int)(next ? next - at : (long)strlen(at)), at);
    out->registers = used ? atoi(used + 5) : 0;
    out->spill_bytes = number_before(part, "bytes spill stores");
    out->stack_bytes = number_before(part, "bytes stack frame");
}

static void read_listing(const char *listing, int32_t index, Sass *out)
{
    char label[32];
    snprintf(label, sizeof label, "\n.text.k%d:", index);
    const char *at = strstr(listing, label);
    if (!at) at = listing;
    const char *end = strstr(at + 1, "\n.text.k");
    tally(at, end ? end : at + strlen(at), &out->ops);
}

/// One run of each tool over texts first .. first + n - 1 of `order`.
static bool assemble(const CudaTools *tools, int32_t n, const int32_t *order, const SassText *texts,
                     const char *arch, Sass *out)
{
    char path[] = "/tmp/kiln-sass-XXXXXX", cubin[64], command[4096];
    StrBuf module = {0}, log = {0}, listing = {0};
    bool ok = true;
    for (int32_t i = 0; i < n && ok; i++)
        ok = append_entry(&texts[order[i]], i, &module) || n == 1;
    if (ok && n == 1 && !module.len) strbuf_add(&module, texts[order[0]].ptx, texts[order[0]].size);
    int fd = ok ? mkstemp(path) : -1;
    if (fd < 0) {
        strbuf_free(&module);
        return false;
    }
    ok = write(fd, module.data, module.len) == (ssize_t)module.len;
    close(fd);
    snprintf(cubin, sizeof cubin, "%s.cubin", path);
    snprintf(command, sizeof command, "'%s' -v -arch=%s -o %s %s 2>&1", tools->ptxas, arch, cubin,
             path);
    ok = ok && run(command, &log);
    if (ok && tools->nvdisasm[0]) {
        snprintf(command, sizeof command, "'%s' -c %s 2>&1", tools->nvdisasm, cubin);
        ok = run(command, &listing);
    }
    for (int32_t i = 0; i < n && ok; i++) {
        Sass *s = &out[order[i]];
        s->ok = true;
        read_report(log.data ? log.data : "", i, s);
        if (listing.data) read_listing(listing.data, i, s);
    }
    if (!ok && n == 1) {
        const StrBuf *why = listing.len ? &listing : &log;
        strbuf_add(&out[order[0]].ops, why->data, MIN(why->len, (size_t)1000));
    }
    unlink(path), unlink(cubin);
    strbuf_free(&module), strbuf_free(&log), strbuf_free(&listing);
    return ok;
}

// ---- what was asked before ----------------------------------------------------------------------

static void cache_path(const CudaTools *tools, const SassText *t, const char *arch,
                       const char *cache_dir, char out[2048])
{
    char hex[33];
    Hasher h = {0};
    hasher_add_text(&h, tools->ptxas_version);
    hasher_add_text(&h, tools->nvdisasm_version);
    hasher_add_text(&h, arch);
    hasher_add(&h, t->ptx, t->size);
    hash_hex(hasher_finish(&h), hex);
    snprintf(out, 2048, "%s/%s.sass", cache_dir, hex);
}

static bool recall(const char *path, Sass *out)
{
    StrBuf known = {0};
    int at = 0;
    out->ok = file_exists(path) && file_read(path, &known, NULL) == KILN_OK &&
              sscanf(known.data, "%d %d %d %n", &out->registers, &out->spill_bytes,
                     &out->stack_bytes, &at) == 3 &&
              at > 0;
    if (out->ok) strbuf_puts(&out->ops, known.data + at);
    strbuf_free(&known);
    return out->ok;
}

/// A cache that cannot be written is only slow.
static void keep(const char *path, const Sass *s)
{
    StrBuf text = {0};
    strbuf_printf(&text, "%d %d %d %s", s->registers, s->spill_bytes, s->stack_bytes,
                  s->ops.data ? s->ops.data : "");
    KilnStatus st = file_replace(path, text.data, text.len, NULL);
    (void)st;
    strbuf_free(&text);
}

void sass_of(const CudaTools *tools, int32_t n, const SassText *texts, const char *arch,
             const char *cache_dir, Sass *out)
{
    enum { MOST = 64 };
    int32_t order[MOST], n_order = 0;
    char path[2048];
    memset(out, 0, (size_t)n * sizeof *out);
    for (int32_t i = 0; i < n; i++) {
        cache_path(tools, &texts[i], arch, cache_dir, path);
        if (!recall(path, &out[i]) && n_order < MOST) order[n_order++] = i;
    }
    for (int32_t done = 0; done < n_order;) {
        int32_t count = 1;
        while (done + count < n_order &&
               same_head(&texts[order[done]], &texts[order[done + count]]))
            count++;
        if (!assemble(tools, count, order + done, texts, arch, out) && count > 1)
            for (int32_t i = 0; i < count; i++) // which of them is it?
                (void)assemble(tools, 1, order + done + i, texts, arch, out);
        done += count;
    }
    for (int32_t i = 0; i < n_order; i++) {
        cache_path(tools, &texts[order[i]], arch, cache_dir, path);
        if (out[order[i]].ok) keep(path, &out[order[i]]);
    }
}

void sass_free(Sass *s)
{
    strbuf_free(&s->ops);
}

// ---- counting ---------------------------------------------------------------------------------

static bool matches(const char *op, size_t len, const char *pattern)
{
    const char *end = op + len;
    for (bool is_first = true; *pattern; is_first = false) {
        size_t word = strcspn(pattern, ".");
        for (;;) {
            size_t have = 0;
            while (op + have < end && op[have] != '.')
                have++;
            if (op >= end) return false;
            bool same = have == word && strncmp(op, pattern, word) == 0;
            op += have + (op + have < end);
            if (same) break;
            if (is_first) return false;
        }
        pattern += word + (pattern[word] == '.');
    }
    return true;
}

int32_t ops_count(const char *ops, const char *pattern)
{
    int32_t n = 0;
    while (*ops) {
        size_t len = strcspn(ops, "*");
        if (!ops[len]) break;
        if (matches(ops, len, pattern)) n += atoi(ops + len + 1);
        ops += len + strcspn(ops + len, " ");
        ops += strspn(ops, " ");
    }
    return n;
}
