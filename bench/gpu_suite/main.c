// bench/gpu_suite/main.c - see suite.h: the parent, and what each of its children does.
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "bench/gpu_suite/broken.h"
#include "bench/gpu_suite/stages.h"
#include "runtime/model.h"

extern char **environ;

/// Seconds of each slot; together with the peers' 110 they fill 8 minutes 40.
const Stage stages[] = {
    {"environment", 15, stage_environment, "what this machine is", false},
    {"ceilings", 40, stage_ceilings, "memory, library products, gaps between launches", false},
    {"correctness", 120, stage_correctness, "every card against the interpreter", false},
    {"paged", 40, stage_paged, "attention of one token over a long context", false},
    {"decode", 80, stage_decode, "whole models, token by token", false},
    {"attention", 30, stage_attention, "attention of prompts", false},
    {"gemm", 50, stage_gemm, "matrix products", false},
    {"streaming", 25, stage_streaming, "row kernels", false},
    {"sanitizer", 50, stage_sanitizer, "broken modules under compute-sanitizer", false},
};
const int32_t n_stages = COUNT_OF(stages);

enum { PEERS_S = 110 };

typedef struct Options {
    const char *device, *out, *only, *stage, *broken, *cuda_lib, *cublas_lib;
    double begin; ///< suite_now() of the parent
    int32_t first_card;
    bool quick, no_judge, flip, no_peers;
} Options;

static int usage(void)
{
    fprintf(
        stderr,
        "usage: kiln_gpu_suite [--device cuda|cpu|emu:sm_80] [--out DIR] [--only STAGE,STAGE] "
        "[--quick]\n"
        "                      [--no-peers] [--no-judge] [--flip] [--cuda-lib FILE] [--cublas-lib "
        "FILE]\n"
        "  --out DIR    suite.jsonl and table.txt go there [gpu-suite-out]\n"
        "  --quick      sizes that an emulator can do\n"
        "  --no-judge   the device runs nothing (a recording driver): results are not compared\n"
        "  --flip       changes one stored byte first: the suite must find it and exit 1\n"
        "stages:\n");
    for (int32_t i = 0; i < n_stages; i++)
        fprintf(stderr, "  %-12s %4.0f s  %s\n", stages[i].name, stages[i].slot_s, stages[i].what);
    return 2;
}

static bool parse(int argc, char **argv, Options *o)
{
    const struct {
        const char *name;
        const char **text;
        bool *flag;
    } table[] = {{"--device", &o->device, NULL},
                 {"--out", &o->out, NULL},
                 {"--only", &o->only, NULL},
                 {"--stage", &o->stage, NULL},
                 {"--broken", &o->broken, NULL},
                 {"--cuda-lib", &o->cuda_lib, NULL},
                 {"--cublas-lib", &o->cublas_lib, NULL},
                 {"--quick", NULL, &o->quick},
                 {"--no-judge", NULL, &o->no_judge},
                 {"--flip", NULL, &o->flip},
                 {"--no-peers", NULL, &o->no_peers}};
    for (int i = 1; i < argc; i++) {
        bool known = false;
        for (int32_t k = 0; k < COUNT_OF(table) && !known; k++) {
            if (strcmp(argv[i], table[k].name) != 0) continue;
            known = true;
            if (table[k].flag)
                *table[k].flag = true;
            else if (i + 1 < argc)
                *table[k].text = argv[++i];
        }
        if (known) continue;
        if (i + 1 < argc && !strcmp(argv[i], "--first-card"))
            o->first_card = atoi(argv[++i]);
        else if (i + 1 < argc && !strcmp(argv[i], "--begin"))
            o->begin = atof(argv[++i]);
        else
            return false;
    }
    return true;
}

/// `name` is one of the comma-separated words of `list`; NULL: yes.
static bool is_among(const char *list, const char *name)
{
    size_t n = strlen(name);
    for (const char *at = list; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
        if (!strncmp(at, name, n) && (at[n] == ',' || !at[n])) return true;
    return !list;
}

// ---- a child ------------------------------------------------------------------------------------

KilnStatus suite_open_kernels(Suite *s)
{
    static KernelText texts[128];
    int32_t n = 0;
    for (; n < kernel_n_texts && n < COUNT_OF(texts) - 1; n++)
        texts[n] = kernel_texts[n];
    texts[n++] =
        (KernelText){"suite.py", suite_kernels, (size_t)(suite_kernels_end - suite_kernels)};
    KernelCacheOptions cache = {
        .texts = texts, .n_texts = n, .cache_dir = arena_printf(&s->arena, "%s/cache", s->out)};
    kernel_cache_close(s->kernels);
    s->kernels = NULL;
    return kernel_cache_open(s->dev, &cache, &s->kernels, &s->diag);
}

static const Stage *stage_named(const char *name)
{
    for (int32_t i = 0; i < n_stages; i++)
        if (!strcmp(stages[i].name, name)) return &stages[i];
    return NULL;
}

static int run_child(const Options *o, const char *program)
{
    static Suite s;
    KilnStatus st = KILN_OK;
    const Stage *stage = o->stage ? stage_named(o->stage) : NULL;
    if (!stage && !o->broken) return usage();
    arena_init(&s.arena, heap_default());
    diag_init(&s.diag, heap_default());
    s.program = program, s.out = o->out, s.cuda_lib = o->cuda_lib;
    s.quick = o->quick, s.no_judge = o->no_judge, s.flip = o->flip;
    s.first_card = o->first_card;
    s.regions = o->quick ? 3 : 11;
    s.begin = o->begin > 0 ? o->begin : suite_now();
    s.deadline = suite_now() + (stage ? stage->slot_s : 60);
    s.lines = fopen(arena_printf(&s.arena, "%s/suite.jsonl", o->out), "a");
    if (!s.lines) TRY(fail(&s.diag, KILN_ERR_IO, "K101", "%s: cannot be written", o->out));
    DeviceOptions device = {
        .name = o->device, .cuda_lib = o->cuda_lib, .cublas_lib = o->cublas_lib};
    TRY(device_open(&device, &s.dev, &s.diag));
    s.cache_bytes = !s.dev->facts.has_stream ? 1 << 20 : o->quick ? 4 << 20 : (size_t)60 << 20;
    TRY(suite_open_kernels(&s));
    st = o->broken ? broken_run(&s, o->broken) : stage->run(&s);
done:
    if (st != KILN_OK && s.lines) {
        StrBuf why = {0};
        diag_render(&s.diag, &why);
        fputs(why.data ? why.data : "", stderr);
        if (!o->broken)
            suite_text(&s, o->stage, "dead",
                       arena_printf(&s.arena, "%s: %s", o->stage, why.data ? why.data : ""));
        strbuf_free(&why);
    }
    kernel_cache_close(s.kernels);
    device_close(s.dev);
    if (s.lines) fclose(s.lines);
    return st != KILN_OK ? 3 : s.n_wrong ? 1 : 0;
}

// ---- the parent ---------------------------------------------------------------------------------

/// Starts a program and waits `slot_s` seconds for it. @return its exit status, or -1: killed, -2: crashed
static int run_slot(char *const *argv, double slot_s)
{
    pid_t pid;
    int status;
    if (posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ) != 0) return -2;
    double end = suite_now() + slot_s;
    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (suite_now() > end) {
            kill(pid, SIGKILL);
            waitpid(pid, &status, 0);
            return -1;
        }
        usleep(20000);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -2;
}

typedef struct Parent {
    const Options *o;
    const char *program;
    Arena arena;
    FILE *lines;
} Parent;

static void say(Parent *p, const char *stage, const char *text)
{
    fprintf(p->lines, "{\"v\":1,\"t\":%.1f,\"stage\":\"%s\",\"name\":\"dead\",\"text\":\"%s\"}\n",
            suite_now() - p->o->begin, stage, text);
    fflush(p->lines);
    fprintf(stderr, "%s: %s\n", stage, text);
}

static int run_stage(Parent *p, const Stage *stage, int32_t first_card)
{
    const Options *o = p->o;
    const char *argv[32] = {p->program, "--stage",  stage->name, "--out",
                            o->out,     "--device", o->device};
    int32_t n = 7;
    argv[n++] = "--begin", argv[n++] = arena_printf(&p->arena, "%.3f", o->begin);
    argv[n++] = "--first-card", argv[n++] = arena_printf(&p->arena, "%d", first_card);
    if (o->cuda_lib) argv[n++] = "--cuda-lib", argv[n++] = o->cuda_lib;
    if (o->cublas_lib) argv[n++] = "--cublas-lib", argv[n++] = o->cublas_lib;
    if (o->quick) argv[n++] = "--quick";
    if (o->no_judge) argv[n++] = "--no-judge";
    if (o->flip) argv[n++] = "--flip";
    argv[n] = NULL;
    // a stage ends itself in its slot; what hangs is ended a little later
    return run_slot((char *const *)(uintptr_t)argv, stage->slot_s + 15);
}

/// Runs a stage; cards that bring the device down are stepped over. @return was something wrong?
static bool run_whole_stage(Parent *p, const Stage *stage)
{
    int32_t first_card = 0;
    bool wrong = false;
    for (int32_t tries = 0; tries < 8; tries++) {
        double begin = suite_now();
        int status = run_stage(p, stage, first_card);
        fprintf(stderr, "%-12s %6.1f s  %s\n", stage->name, suite_now() - begin,
                status == 0   ? "done"
                : status == 1 ? "something is wrong"
                              : "ended early");
        wrong |= status == 1 || status == CARDS_LOST;
        if (status == -1) say(p, stage->name, "overran its slot and was ended");
        if (status == -2) say(p, stage->name, "crashed");
        if (status != CARDS_LOST) return wrong || status < 0 || status == 3;
        StrBuf next = {0};
        if (file_read(arena_printf(&p->arena, "%s/next-card", p->o->out), &next, NULL) == KILN_OK)
            first_card = atoi(next.data);
        strbuf_free(&next);
    }
    say(p, stage->name, "given up: too many cards brought the device down");
    return true;
}

/// Triton, PyTorch and cuBLAS, where python3 has them: their lines join ours.
static void run_peers(Parent *p)
{
    const char *script = arena_printf(&p->arena, "%s/gpu_peers.py", p->o->out);
    const char *kernels = arena_printf(&p->arena, "%s/kernels", p->o->out);
    Diag diag;
    diag_init(&diag, heap_default());
    KilnStatus st =
        file_replace(script, suite_peers, (size_t)(suite_peers_end - suite_peers), &diag);
    if (st == KILN_OK) st = file_make_dirs(kernels, &diag);
    for (int32_t i = 0; st == KILN_OK && i < kernel_n_texts; i++)
        st = file_replace(arena_printf(&p->arena, "%s/%s", kernels, kernel_texts[i].name),
                          kernel_texts[i].text, kernel_texts[i].size, &diag);
    const char *argv[] = {
        "python3", script, "--out", p->o->out, "--seconds", "100", p->o->quick ? "--quick" : NULL,
        NULL};
    if (st != KILN_OK) {
        say(p, "peers", "cannot be written");
    } else {
        int status = run_slot((char *const *)(uintptr_t)argv, PEERS_S);
        fprintf(stderr, "%-12s %s\n", "peers",
                status == 0   ? "done"
                : status == 4 ? "skipped: python3 has no torch with a GPU here"
                              : "ended early");
        if (status != 0 && status != 4) say(p, "peers", "ended early");
    }
    diag_reset(&diag);
}

static int run_parent(const Options *o, const char *program)
{
    Parent p = {.o = o, .program = program};
    bool wrong = false;
    Diag diag;
    arena_init(&p.arena, heap_default());
    diag_init(&diag, heap_default());
    const char *path = arena_printf(&p.arena, "%s/suite.jsonl", o->out);
    if (file_make_dirs(o->out, &diag) != KILN_OK || !(p.lines = fopen(path, "w"))) {
        fprintf(stderr, "%s: cannot be written\n", o->out);
        return 3;
    }
    for (int32_t i = 0; i < n_stages; i++)
        if (is_among(o->only, stages[i].name)) wrong |= run_whole_stage(&p, &stages[i]);
    if (!o->no_peers && !o->only) run_peers(&p);
    fclose(p.lines);
    FILE *table = fopen(arena_printf(&p.arena, "%s/table.txt", o->out), "w");
    int32_t n_wrong = report_print(path, stdout);
    if (table) (void)report_print(path, table), fclose(table);
    arena_reset(&p.arena);
    return wrong || n_wrong ? 1 : 0;
}

int main(int argc, char **argv)
{
    char program[4096];
    Options o = {.device = "cuda", .out = getenv("OUT") ? getenv("OUT") : "gpu-suite-out"};
    if (!parse(argc, argv, &o)) return usage();
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    if (n <= 0) return usage();
    program[n] = 0;
    if (o.stage || o.broken) return run_child(&o, program);
    o.begin = suite_now();
    return run_parent(&o, program);
}
