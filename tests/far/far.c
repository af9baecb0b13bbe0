// tests/far/far.c - see far.h.
#include "tests/far/far.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/far/wire.h"
#include "tests/support/skip.h"

/// An emulated processor, started when it is first needed.
typedef struct Machine {
    CpuLevel level;
    const char *cpu; ///< qemu's name
    pid_t pid;
    int fd;
} Machine;

static Machine machines[] = {
    {CPU_NEON, "cortex-a57", 0, -1},
    {CPU_NEON_DOT, "neoverse-n1", 0, -1},
    {CPU_NEON_I8MM, "max,sve=off,sme=off", 0, -1},
};

typedef struct FarImage {
    Machine *machine;
    const Code *code;
    int32_t index;
} FarImage;

static bool is_on_path(const char *program)
{
    const char *path = getenv("PATH");
    char full[512];
    for (; path && *path; path += strcspn(path, ":"), path += *path == ':') {
        snprintf(full, sizeof full, "%.*s/%s", (int)strcspn(path, ":"), path, program);
        if (!access(full, X_OK)) return true;
    }
    return false;
}

static Machine *machine_of(CpuLevel level)
{
    for (int32_t i = 0; i < COUNT_OF(machines); i++)
        if (machines[i].level == level) return &machines[i];
    return NULL;
}

bool far_can_run(CpuLevel level)
{
    return machine_of(level) && KILN_FAR_RUNNER[0] && !target_is_arm(target_host_level()) &&
           is_on_path("qemu-aarch64");
}

void far_needed(void)
{
    if (target_is_arm(target_host_level())) cr_skip_test("this machine is no emulated one");
    needs_package(KILN_FAR_RUNNER[0] != 0, "aarch64-linux-gnu-gcc when the build was configured");
    needs_package(is_on_path("qemu-aarch64"), "qemu-aarch64");
}

// ---- talking ------------------------------------------------------------------------------------

static KilnStatus start(Machine *m, Diag *diag)
{
    int pair[2];
    if (m->pid) return KILN_OK;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
        return fail(diag, KILN_ERR_IO, "K901", "no socket for qemu-aarch64");
    pid_t pid = fork();
    if (pid < 0) return fail(diag, KILN_ERR_IO, "K901", "qemu-aarch64 cannot be started");
    if (!pid) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(pair[1], 0), dup2(pair[1], 1);
        close_range(3, ~0u, 0); // Criterion waits for the end of its own pipes
        execlp("qemu-aarch64", "qemu-aarch64", "-cpu", m->cpu, KILN_FAR_RUNNER, (char *)NULL);
        _exit(127);
    }
    close(pair[1]);
    m->pid = pid;
    m->fd = pair[0];
    return KILN_OK;
}

/// The runner is gone: says how it ended. The next start() starts another, without the old images.
static KilnStatus ended(Machine *m, Diag *diag)
{
    int how = 0;
    close(m->fd);
    waitpid(m->pid, &how, 0);
    m->pid = 0, m->fd = -1;
    if (WIFSIGNALED(how))
        return fail(diag, KILN_ERR_DEVICE, "K901", "the kernel ended qemu-aarch64 -cpu %s: %s",
                    m->cpu, strsignal(WTERMSIG(how)));
    return fail(diag, KILN_ERR_DEVICE, "K901", "qemu-aarch64 -cpu %s ended with %d", m->cpu,
                WEXITSTATUS(how));
}

static bool put(const Machine *m, const void *from, size_t n)
{
    for (size_t have = 0; have < n;) {
        ssize_t k = send(m->fd, (const char *)from + have, n - have, MSG_NOSIGNAL);
        if (k <= 0) return false;
        have += (size_t)k;
    }
    return true;
}

static bool get(const Machine *m, void *to, size_t n)
{
    for (size_t have = 0; have < n;) {
        ssize_t k = recv(m->fd, (char *)to + have, n - have, 0);
        if (k <= 0) return false;
        have += (size_t)k;
    }
    return true;
}

static KilnStatus ask(Machine *m, const FarRequest *q, const void *more, FarReply *out, Diag *diag)
{
    KilnStatus st = start(m, diag);
    if (st != KILN_OK) return st;
    if (!put(m, q, sizeof *q) || !put(m, more, (size_t)q->bytes) || !get(m, out, sizeof *out))
        return ended(m, diag);
    out->why[sizeof out->why - 1] = 0;
    return out->status == KILN_OK ? KILN_OK
                                  : fail(diag, (KilnStatus)out->status, "K901", "%s", out->why);
}

KilnStatus far_host_level(CpuLevel level, CpuLevel *out, Diag *diag)
{
    FarReply reply = {0};
    KilnStatus st = ask(machine_of(level), &(FarRequest){.op = FAR_LEVEL}, NULL, &reply, diag);
    *out = (CpuLevel)reply.level;
    return st;
}

// ---- memory -------------------------------------------------------------------------------------

typedef struct Memory {
    FarPointer pointers[CODE_MAX_PARAMS];
    FarRange ranges[FAR_MAX_RANGES];
    uint8_t *sent[FAR_MAX_RANGES]; ///< what was there, when ranges are whole mappings
    int32_t n_pointers, n_ranges;
} Memory;

/// The writable mappings of this process around `at` that follow one another, as /proc/self/maps says. bytes 0: none.
static FarRange mapping_of(uint64_t at)
{
    FILE *f = fopen("/proc/self/maps", "re");
    FarRange r = {0};
    char line[512], mode[8];
    unsigned long begin, end;
    while (f && fgets(line, sizeof line, f)) {
        if (sscanf(line, "%lx-%lx %4s", &begin, &end, mode) != 3 || strncmp(mode, "rw", 2) != 0)
            continue;
        if (begin != r.at + (uint64_t)r.bytes) {
            if (r.bytes && at - r.at < (uint64_t)r.bytes) break;
            r = (FarRange){begin, 0};
        }
        r.bytes += (int64_t)(end - begin);
    }
    if (at - r.at >= (uint64_t)r.bytes) r.bytes = 0;
    if (f) fclose(f);
    return r;
}

static int32_t range_index(const Memory *m, uint64_t at)
{
    for (int32_t i = 0; i < m->n_ranges; i++)
        if (at - m->ranges[i].at < (uint64_t)m->ranges[i].bytes) return i;
    for (int32_t i = 0; i < m->n_ranges; i++) // one past the end, or an empty buffer
        if (at - m->ranges[i].at == (uint64_t)m->ranges[i].bytes) return i;
    return -1;
}

/// @return the argument's name whose memory is not known, or NULL
static const char *memory_of(Memory *m, const Code *code, const uint8_t *args, int32_t n_ranges,
                             const MemRange *ranges)
{
    for (int32_t i = 0; i < n_ranges; i++)
        m->ranges[m->n_ranges++] =
            (FarRange){(uint64_t)(uintptr_t)ranges[i].begin, (int64_t)ranges[i].bytes};
    for (int32_t i = 0; i < code->n_params; i++) {
        uint64_t at;
        if (code->params[i].kind != SPEC_PTR) continue;
        memcpy(&at, args + code->params[i].offset, sizeof at);
        if (!at) continue;
        int32_t k = range_index(m, at);
        if (k < 0 && !n_ranges && m->n_ranges < FAR_MAX_RANGES) {
            m->ranges[k = m->n_ranges++] = mapping_of(at);
            if (!m->ranges[k].bytes) k = -1;
        }
        if (k < 0) return code->params[i].name;
        m->pointers[m->n_pointers++] =
            (FarPointer){code->params[i].offset, k, (int64_t)(at - m->ranges[k].at)};
    }
    return NULL;
}

static uint8_t *at_range(const FarRange *r)
{
    return (uint8_t *)(uintptr_t)r->at;
}

/// Copies what has changed there, and nothing else: a whole mapping holds much that changes here meanwhile.
static bool take_range(const Machine *m, const FarRange *r, const uint8_t *sent)
{
    uint8_t *got = malloc((size_t)r->bytes + 1);
    bool ok = got && get(m, got, (size_t)r->bytes);
    for (int64_t i = 0; ok && i < r->bytes; i++)
        if (got[i] != sent[i]) at_range(r)[i] = got[i];
    free(got);
    return ok;
}

static bool exchange(Machine *m, const FarRequest *q, const Memory *memory, const void *args,
                     FarReply *reply)
{
    bool ok = put(m, q, sizeof *q) &&
              put(m, memory->pointers, (size_t)q->n_pointers * sizeof(FarPointer)) &&
              put(m, memory->ranges, (size_t)q->n_ranges * sizeof(FarRange)) &&
              put(m, args, (size_t)q->args_bytes);
    for (int32_t i = 0; ok && i < q->n_ranges; i++)
        ok = put(m, memory->sent[i], (size_t)memory->ranges[i].bytes);
    ok = ok && get(m, reply, sizeof *reply);
    for (int32_t i = 0; ok && i < q->n_ranges; i++)
        ok = take_range(m, &memory->ranges[i], memory->sent[i]);
    return ok;
}

/// A range may be a whole section of data, with what a sanitizer keeps between its variables. Byte by byte: memcpy would
/// be the sanitizer's own.
__attribute__((no_sanitize("address"))) static void
copy_range(uint8_t *to, const volatile uint8_t *from, int64_t bytes)
{
    for (int64_t i = 0; i < bytes; i++)
        to[i] = from[i];
}

static KilnStatus far_run(void *self, const void *args, const Grid *grid, int64_t first, int64_t n,
                          int32_t n_ranges, const MemRange *ranges, Diag *diag)
{
    KilnStatus st = KILN_OK;
    FarImage *f = self;
    Memory memory = {0};
    FarReply reply = {0};
    const char *unknown = memory_of(&memory, f->code, args, n_ranges, ranges);
    if (unknown)
        return fail(diag, KILN_ERR_DEVICE, "K901", "where is the memory of `%s`?", unknown);
    for (int32_t i = 0; i < memory.n_ranges; i++) {
        memory.sent[i] = malloc((size_t)memory.ranges[i].bytes + 1);
        if (!memory.sent[i]) TRY(fail(diag, KILN_ERR_NOMEM, "K102", "no memory for a copy"));
        copy_range(memory.sent[i], at_range(&memory.ranges[i]), memory.ranges[i].bytes);
    }
    FarRequest q = {.op = FAR_RUN,
                    .image = f->index,
                    .grid = *grid,
                    .first = first,
                    .n = n,
                    .args_bytes = f->code->args_bytes,
                    .n_pointers = memory.n_pointers,
                    .n_ranges = memory.n_ranges};
    if (!f->machine->pid || !exchange(f->machine, &q, &memory, args, &reply))
        TRY(f->machine->pid
                ? ended(f->machine, diag)
                : fail(diag, KILN_ERR_DEVICE, "K901", "an earlier kernel ended the runner"));
    if (reply.fault)
        TRY(fail(diag, KILN_ERR_DEVICE, "K901", "device assert at line %d", (int)reply.fault));
done:
    for (int32_t i = 0; i < memory.n_ranges; i++)
        free(memory.sent[i]);
    return st;
}

static void far_free(void *self)
{
    FarImage *f = self;
    FarReply reply;
    if (!f) return;
    if (f->machine->pid) // else the image went with the runner
        (void)!ask(f->machine, &(FarRequest){.op = FAR_FREE, .image = f->index}, NULL, &reply,
                   NULL);
    heap_free(heap_default(), f);
}

static const ImageOps far_ops = {.run = far_run, .free = far_free};

KilnStatus far_image_load(const Code *code, Image *out, Diag *diag)
{
    FarRequest q = {
        .op = FAR_LOAD, .bytes = (int64_t)code->size, .scratch_bytes = code->scratch_bytes};
    FarReply reply = {0};
    Machine *m = machine_of(code->target.cpu);
    memcpy(q.entry, code->entry, sizeof q.entry);
    KilnStatus st = ask(m, &q, code->bytes, &reply, diag);
    if (st != KILN_OK) return st;
    FarImage *f = heap_new(heap_default(), FarImage);
    if (!f) return fail(diag, KILN_ERR_NOMEM, "K102", "no memory for an image");
    *f = (FarImage){m, code, reply.image};
    out->ops = &far_ops;
    out->self = f;
    return KILN_OK;
}
