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
static void tally(const char *listing, StrBuf *out)
{
    OpTally ops[256];
    int32_t n = 0;
    for (const char *at = listing; (at = strstr(at, "*/")); at += 2) {
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

static void assemble(const CudaTools *tools, const char *ptx, size_t size, const char *arch,
                     Sass *out)
{
    char path[] = "/tmp/kiln-sass-XXXXXX", cubin[64], command[4096];
    StrBuf log = {0}, listing = {0};
    int fd = mkstemp(path);
    if (fd < 0) return;
    bool wrote = write(fd, ptx, size) == (ssize_t)size;
    close(fd);
    snprintf(cubin, sizeof cubin, "%s.cubin", path);
    snprintf(command, sizeof command, "'%s' -v -arch=%s -o %s %s 2>&1", tools->ptxas, arch, cubin,
             path);
    out->ok = wrote && run(command, &log);
    if (out->ok) {
        const char *used = strstr(log.data, "Used ");
        out->registers = used ? atoi(used + 5) : 0;
        out->spill_bytes = number_before(log.data, "bytes spill stores");
        out->stack_bytes = number_before(log.data, "bytes stack frame");
    }
    if (out->ok && tools->nvdisasm[0]) {
        snprintf(command, sizeof command, "'%s' -c %s 2>&1", tools->nvdisasm, cubin);
        out->ok = run(command, &listing);
        if (out->ok) tally(listing.data ? listing.data : "", &out->ops);
    }
    if (!out->ok) {
        const StrBuf *why = listing.len ? &listing : &log;
        strbuf_add(&out->ops, why->data, MIN(why->len, (size_t)1000));
    }
    unlink(path), unlink(cubin);
    strbuf_free(&log), strbuf_free(&listing);
}

void sass_of(const CudaTools *tools, const char *ptx, size_t size, const char *arch,
             const char *cache_dir, Sass *out)
{
    char hex[33], path[2048];
    Hasher h = {0};
    memset(out, 0, sizeof *out);
    hasher_add_text(&h, tools->ptxas_version);
    hasher_add_text(&h, tools->nvdisasm_version);
    hasher_add_text(&h, arch);
    hasher_add(&h, ptx, size);
    hash_hex(hasher_finish(&h), hex);
    snprintf(path, sizeof path, "%s/%s.sass", cache_dir ? cache_dir : "", hex);
    StrBuf known = {0};
    int at = 0;
    if (cache_dir && file_exists(path) && file_read(path, &known, NULL) == KILN_OK &&
        sscanf(known.data, "%d %d %d %n", &out->registers, &out->spill_bytes, &out->stack_bytes,
               &at) == 3 &&
        at) {
        out->ok = true;
        strbuf_puts(&out->ops, known.data + at);
    } else {
        assemble(tools, ptx, size, arch, out);
        StrBuf text = {0};
        strbuf_printf(&text, "%d %d %d %s", out->registers, out->spill_bytes, out->stack_bytes,
                      out->ops.data ? out->ops.data : "");
        if (cache_dir && out->ok && file_replace(path, text.data, text.len, NULL) != KILN_OK)
            out->ok = out->ok; // a cache that cannot be written is only slow
        strbuf_free(&text);
    }
    strbuf_free(&known);
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
