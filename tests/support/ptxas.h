// tests/support/ptxas.h - assembles PTX where a CUDA toolkit is present; tests only.
#ifndef TESTS_SUPPORT_PTXAS_H
#define TESTS_SUPPORT_PTXAS_H
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct PtxasReport {
    bool found;                                          ///< a ptxas was there
    bool ok;                                             ///< it assembled the text
    int32_t registers, spill_stores, spill_loads, stack; ///< bytes for the last three
    char log[4096];
} PtxasReport;

static inline const char *ptxas_path(void)
{
    static const char *const places[] = {"/usr/local/cuda/bin/ptxas", "/usr/bin/ptxas",
                                         "/opt/cuda/bin/ptxas"};
    const char *named = getenv("KILN_PTXAS");
    if (named && access(named, X_OK) == 0) return named;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        if (access(places[i], X_OK) == 0) return places[i];
    return NULL;
}

static inline int32_t ptxas_number(const char *log, const char *before)
{
    const char *at = strstr(log, before);
    if (!at) return -1;
    while (at > log && (at[-1] == ' ' || (at[-1] >= '0' && at[-1] <= '9')))
        at--;
    return atoi(at);
}

/// Assembles `ptx` for `arch` ("sm_80").
static inline PtxasReport ptxas_run(const char *ptx, size_t size, const char *arch)
{
    PtxasReport r = {0};
    const char *ptxas = ptxas_path();
    if (!ptxas) return r;
    r.found = true;
    char path[] = "/tmp/kiln-ptx-XXXXXX", command[512];
    int fd = mkstemp(path);
    if (fd < 0) return r;
    bool wrote = write(fd, ptx, size) == (ssize_t)size;
    close(fd);
    snprintf(command, sizeof command, "%s -v -arch=%s -o /dev/null %s 2>&1", ptxas, arch, path);
    FILE *f = wrote ? popen(command, "r") : NULL;
    if (f) {
        size_t n = fread(r.log, 1, sizeof r.log - 1, f);
        r.log[n] = 0;
        r.ok = pclose(f) == 0;
    }
    unlink(path);
    const char *used = strstr(r.log, "Used ");
    r.registers = used ? atoi(used + 5) : -1;
    r.stack = ptxas_number(r.log, "bytes stack frame");
    r.spill_stores = ptxas_number(r.log, "bytes spill stores");
    r.spill_loads = ptxas_number(r.log, "bytes spill loads");
    return r;
}

/// How often `what` occurs.
static inline int32_t count_text(const char *text, const char *what)
{
    int32_t n = 0;
    for (const char *at = strstr(text, what); at; at = strstr(at + 1, what))
        n++;
    return n;
}
#endif
