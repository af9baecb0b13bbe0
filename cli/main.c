// cli/main.c - finds the command, reads its settings, runs it, and turns its answer into an exit code.
#include <signal.h>
#include <stdio.h>

#include "cli/codes.h"
#include "cli/command.h"

typedef struct CommandRow {
    const char *name;
    Command command;
    int (*run)(const Settings *, Arena *, Diag *);
    const char *usage, *what, *example;
} CommandRow;

static const CommandRow commands[] = {
    {"compile", CMD_COMPILE, command_compile, "kiln compile FILE[:FUNC] [options]",
     "compile kernels for this CPU and for GPUs; print what came out",
     "kiln compile kernels.dsl/rmsnorm.py --target cpu --target sm_90a\n"
     "  kiln compile kernels.dsl/softmax.py --target sm_80 --emit ptx"},
    {"run", CMD_RUN, command_run, "kiln run MODEL -p PROMPT [options]", "generate text",
     "kiln run models/data/kiln-tiny.gguf -p \"Once upon a time\" -n 100\n"
     "  kiln run MODEL --prompts-file prompts.jsonl --temp 0 --json"},
    {"bench", CMD_BENCH, command_bench, "kiln bench MODEL | FILE.py[:FUNC] [options]",
     "tokens per second of a model, or bytes and operations of kernels, beside this machine's "
     "ceiling",
     "kiln bench MODEL -p 512 -n 128 -d 0,2048 -r 5\n"
     "  kiln bench kernels.dsl/softmax.py --set R=8192"},
    {"info", CMD_INFO, command_info, "kiln info MODEL [--plan] [--graph] [--tensors]",
     "what a model file holds, needs and launches",
     "kiln info models/data/kiln-tiny.gguf --plan -c 8k"},
    {"doctor", CMD_DOCTOR, command_doctor, "kiln doctor",
     "what this machine offers, and what to do about the rest", "kiln doctor"},
};

static void overview(StrBuf *out)
{
    strbuf_puts(
        out, "kiln: compile Triton-language kernels, and run language models on them\n\nusage:\n");
    for (int32_t i = 0; i < COUNT_OF(commands); i++)
        strbuf_printf(out, "  %-50s %s\n", commands[i].usage, commands[i].what);
    strbuf_puts(out, "  kiln help COMMAND | CODE | codes | exit-codes | env\n  kiln --version\n");
}

static const char exit_codes[] = "0    done\n1    bad input or failed operation\n2    usage\n"
                                 "3    resource missing (device, memory, library)\n4    a check "
                                 "did not hold\n130  interrupted\n";
static const char environment[] =
    "KILN_<FLAG>   any long flag, upper case, - as _ (KILN_THREADS=4); a flag on the command line "
    "wins\n"
    "order: flag > environment > --config FILE > ~/.config/kiln/config > default\n";

static const CommandRow *find_command(const char *name)
{
    for (int32_t i = 0; i < COUNT_OF(commands); i++)
        if (!strcmp(commands[i].name, name)) return &commands[i];
    return NULL;
}

static void command_help(const CommandRow *row, StrBuf *out)
{
    strbuf_printf(out, "%s: %s\n\nexamples:\n  %s\n\noptions:\n", row->usage, row->what,
                  row->example);
    settings_help(row->command, out);
}

/// Explains the code of a message: `kiln help E0503`.
static int code_help(const char *word, Diag *diag, StrBuf *out)
{
    if (code_explain(word, out)) return EXIT_DONE;
    (void)fail(diag, KILN_ERR_INPUT, "", "no message has the code %s (did you mean %s?)", word,
               code_nearest(word));
    show_messages(diag);
    return EXIT_USAGE;
}

static int help(int argc, char **argv, Diag *diag, StrBuf *out)
{
    const CommandRow *row = argc > 2 ? find_command(argv[2]) : NULL;
    if (argc > 2 && code_shaped(argv[2])) return code_help(argv[2], diag, out);
    if (row)
        command_help(row, out);
    else if (argc > 2 && !strcmp(argv[2], "codes"))
        code_table(out);
    else if (argc > 2 && !strcmp(argv[2], "exit-codes"))
        strbuf_puts(out, exit_codes);
    else if (argc > 2 && !strcmp(argv[2], "env"))
        strbuf_puts(out, environment);
    else
        overview(out);
    return EXIT_DONE;
}

static int usage_error(Diag *diag, Str word)
{
    const char *names[COUNT_OF(commands)];
    for (int32_t i = 0; i < COUNT_OF(commands); i++)
        names[i] = commands[i].name;
    const char *near = str_nearest(word, names, COUNT_OF(commands));
    KilnStatus st = near ? fail(diag, KILN_ERR_INPUT, "",
                                "unknown command \"%.*s\" (did you mean %s?)", STR_ARG(word), near)
                         : fail_hint(diag, KILN_ERR_INPUT, "", "kiln help",
                                     "unknown command \"%.*s\"", STR_ARG(word));
    show_messages(diag);
    return st == KILN_OK ? EXIT_DONE : EXIT_USAGE;
}

static int dispatch(int argc, char **argv, Arena *arena, Diag *diag, StrBuf *out)
{
    if (argc < 2) {
        overview(out);
        return EXIT_USAGE;
    }
    if (!strcmp(argv[1], "help") || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
        return help(argc, argv, diag, out);
    if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "version")) {
        strbuf_printf(out, "kiln %s\n", KILN_VERSION_TEXT);
        return EXIT_DONE;
    }
    const CommandRow *row = find_command(argv[1]);
    if (!row) return usage_error(diag, str_of(argv[1]));
    Settings *settings = arena_new(arena, Settings);
    if (settings_read(row->command, argc, argv, 2, arena, settings, diag) != KILN_OK) {
        show_messages(diag);
        return EXIT_USAGE;
    }
    if (settings->help) {
        command_help(row, out);
        return EXIT_DONE;
    }
    int code = row->run(settings, arena, diag);
    show_messages(diag);
    return code;
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN); // a reader that goes away ends us quietly, by EPIPE
    Arena arena;
    Diag diag;
    StrBuf out = {0};
    arena_init(&arena, heap_default());
    diag_init(&diag, heap_default());
    int code = dispatch(argc, argv, &arena, &diag, &out);
    print_out(&out);
    strbuf_free(&out);
    diag_reset(&diag);
    arena_reset(&arena);
    return code;
}
