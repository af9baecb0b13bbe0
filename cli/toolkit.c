// cli/toolkit.c - the CUDA toolkit's assembler and disassembler, where they are installed. kiln needs neither:
// they tell an author about registers and spills, which only the assembler knows.
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/command.h"

extern char **environ;

/// `name` on PATH or in the toolkit's usual place; NULL when absent. Arena.
static const char *find_program(Arena *arena, const char *name)
{
    const char *path = getenv("PATH");
    char *copy = arena_printf(arena, "%s:/usr/local/cuda/bin", path ? path : "");
    for (char *save = NULL, *dir = strtok_r(copy, ":", &save); dir;
         dir = strtok_r(NULL, ":", &save)) {
        const char *full = arena_printf(arena, "%s/%s", dir, name);
        if (access(full, X_OK) == 0) return full;
    }
    return NULL;
}

/// Runs argv[0], appends its stdout and stderr. @return its exit status, or -1
static int run_program(const char *const *argv, StrBuf *out)
{
    int pipes[2];
    if (pipe2(pipes, O_CLOEXEC) != 0) return -1;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, pipes[1], STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, pipes[1], STDERR_FILENO);
    pid_t pid;
    int failed =
        posix_spawn(&pid, argv[0], &actions, NULL, (char *const *)(uintptr_t)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(pipes[1]);
    char chunk[4096];
    ssize_t n;
    while (!failed && (n = read(pipes[0], chunk, sizeof chunk)) > 0)
        strbuf_add(out, chunk, (size_t)n);
    close(pipes[0]);
    int status = -1;
    if (failed || waitpid(pid, &status, 0) < 0) return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/// The number before `word` in the assembler's report, e.g. 32 in "Used 32 registers"; 0 when absent.
static int32_t number_before(const char *text, const char *word)
{
    int32_t sum = 0;
    for (const char *at = text; (at = strstr(at, word)); at++) {
        const char *begin = at;
        while (begin > text && begin[-1] >= '0' && begin[-1] <= '9')
            begin--;
        sum += (int32_t)strtol(begin, NULL, 10);
    }
    return sum;
}

void toolkit_assemble(Arena *arena, const char *target, Str ptx, bool keep_cubin, Assembled *out)
{
    *out = (Assembled){0};
    const char *ptxas = find_program(arena, "ptxas");
    if (!ptxas) return;
    const char *temp = getenv("TMPDIR");
    char *in = arena_printf(arena, "%s/kiln-XXXXXX", temp && *temp ? temp : P_tmpdir);
    int fd = mkstemp(in);
    if (fd < 0) return;
    bool written = write(fd, ptx.data, ptx.len) == (ssize_t)ptx.len;
    close(fd);
    const char *cubin = keep_cubin ? arena_printf(arena, "%s.cubin", in) : "/dev/null";
    char *arch = arena_printf(arena, "-arch=%s", target);
    const char *argv[] = {ptxas, "-v", arch, "-o", cubin, in, NULL};
    StrBuf log = {0};
    int code = written ? run_program(argv, &log) : -1;
    unlink(in);
    out->present = code >= 0;
    out->accepted = code == 0;
    out->log = arena_strndup(arena, log.data ? log.data : "", log.len);
    out->registers = number_before(out->log, " registers");
    out->spill_bytes = number_before(out->log, " bytes spill stores");
    out->shared_bytes = number_before(out->log, " bytes smem");
    if (keep_cubin && code == 0) out->cubin = cubin;
    strbuf_free(&log);
}

bool toolkit_disassemble(Arena *arena, const char *cubin, StrBuf *out)
{
    const char *nvdisasm = find_program(arena, "nvdisasm"),
               *cuobjdump = find_program(arena, "cuobjdump");
    const char *by_nvdisasm[] = {nvdisasm, "-c", cubin, NULL};
    const char *by_cuobjdump[] = {cuobjdump, "-sass", cubin, NULL};
    if (nvdisasm) return run_program(by_nvdisasm, out) == 0;
    return cuobjdump && run_program(by_cuobjdump, out) == 0;
}
