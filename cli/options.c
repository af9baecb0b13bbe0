#include "cli/options.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"

typedef enum OptType { TYPE_FLAG, TYPE_COUNT, TYPE_INT, TYPE_REAL, TYPE_TEXT, TYPE_LIST } OptType;

typedef struct Option {
    OptType type;
    const char *names, *metavar, *help;
    uint8_t commands;
    uint16_t field, given; ///< offsets in Settings
} Option;

// The letters of the commands column; juxtaposed letters are joined by the unary plus of the next.
#define C   +CMD_COMPILE
#define R   +CMD_RUN
#define I   +CMD_INFO
#define D   +CMD_DOCTOR
#define B   +CMD_BENCH
#define ALL C R I D B

static const Option options[] = {
#define OPT(f, t, n, m, c, h)                                                                      \
    {.type = TYPE_##t,                                                                             \
     .names = n,                                                                                   \
     .metavar = m,                                                                                 \
     .help = h,                                                                                    \
     .commands = (uint8_t)(c),                                                                     \
     .field = offsetof(Settings, f),                                                               \
     .given = offsetof(Settings, given.f)},
#include "cli/options.def"
#undef OPT
};
#undef C
#undef R
#undef I
#undef D
#undef B
#undef ALL

static const Settings defaults = {
    .threads = 0,
    .color = "auto",
    .ubatch = 512,
    .cache_k = "f32",
    .activations = "auto",
    .page_size = 32,
    .mem_fraction = 0.9,
    .predict = -1,
    .seed = -1,
    .temp = 0.8,
    .top_k = 40,
    .top_p = 0.95,
    .num_warps = 0,
    .num_stages = 0,
    .repetitions = 5,
    .bench_output = "md",
};

bool parse_count(const char *text, int64_t *out)
{
    char *end;
    errno = 0;
    double whole = strtod(text, &end);
    if (end == text || errno) return false;
    static const struct {
        const char *suffix;
        double factor;
    } suffixes[] = {
        {"", 1},        {"k", 1e3},      {"K", 1024},      {"Ki", 1024},     {"KiB", 1024},
        {"m", 1e6},     {"M", 1 << 20},  {"Mi", 1 << 20},  {"MiB", 1 << 20}, {"g", 1e9},
        {"G", 1 << 30}, {"Gi", 1 << 30}, {"GiB", 1 << 30}, {"B", 1},         {"kB", 1e3},
        {"MB", 1e6},    {"GB", 1e9},
    };
    for (int32_t i = 0; i < COUNT_OF(suffixes); i++) {
        if (strcmp(end, suffixes[i].suffix) != 0) continue;
        double value = whole * suffixes[i].factor;
        if (!(value >= -9e18 && value <= 9e18) || value != (double)(int64_t)value) return false;
        *out = (int64_t)value;
        return true;
    }
    return false;
}

static bool has_name(const Option *o, const char *word, size_t len)
{
    for (const char *at = o->names; *at;) {
        size_t n = strcspn(at, " ");
        if (n == len && memcmp(at, word, n) == 0) return true;
        at += n + (at[n] == ' ');
    }
    return false;
}

/// The option of that name that `command` has; if it has none, another command's.
static const Option *find_option(const char *word, size_t len, Command command)
{
    const Option *other = NULL;
    for (int32_t i = 0; i < COUNT_OF(options); i++) {
        if (!has_name(&options[i], word, len)) continue;
        if (options[i].commands & command) return &options[i];
        other = &options[i];
    }
    return other;
}

static KilnStatus unknown(const char *word, size_t len, Command command, Arena *arena, Diag *diag)
{
    enum { MOST = 4 }; // names of one option
    const char *names[COUNT_OF(options) * MOST];
    int32_t n = 0;
    for (int32_t i = 0; i < COUNT_OF(options); i++)
        for (const char *at = options[i].names; *at && n < COUNT_OF(names); at += strspn(at, " ")) {
            size_t size = strcspn(at, " ");
            names[n++] = arena_strndup(arena, at, size);
            at += size;
        }
    const char *near = str_nearest((Str){word, len}, names, n);
    const Option *meant =
        near ? find_option(near, strlen(near), command) : NULL; // an alias stands for its long flag
    if (meant) near = arena_strndup(arena, meant->names, strcspn(meant->names, " "));
    if (near)
        return fail(diag, KILN_ERR_INPUT, "", "unknown option %.*s (did you mean %s?)", (int)len,
                    word, near);
    return fail(diag, KILN_ERR_INPUT, "", "unknown option %.*s", (int)len, word);
}

/// Stores `value` (NULL for a flag) into `s`; `where` names the source in messages.
static KilnStatus store(const Option *o, const char *value, const char *where, Settings *s,
                        Diag *diag)
{
    void *field = (char *)s + o->field;
    *((bool *)((char *)s + o->given)) = true;
    switch (o->type) {
    case TYPE_FLAG:
        *(bool *)field =
            !value || !(!strcmp(value, "0") || !strcmp(value, "off") || !strcmp(value, "false"));
        return KILN_OK;
    case TYPE_COUNT:
        ++*(int32_t *)field;
        return KILN_OK;
    case TYPE_INT:
        if (parse_count(value, field)) return KILN_OK;
        return fail(diag, KILN_ERR_INPUT, "", "%s: needs a number such as 512 or 4k, got \"%s\"",
                    where, value);
    case TYPE_REAL: {
        char *end;
        *(double *)field = strtod(value, &end);
        if (end != value && !*end) return KILN_OK;
        return fail(diag, KILN_ERR_INPUT, "", "%s: needs a number, got \"%s\"", where, value);
    }
    case TYPE_TEXT:
        *(const char **)field = value;
        return KILN_OK;
    case TYPE_LIST: {
        TextList *list = field;
        if (list->n == COUNT_OF(list->items))
            return fail(diag, KILN_ERR_INPUT, "", "%s: given too often", where);
        list->items[list->n++] = value;
        return KILN_OK;
    }
    }
    return KILN_OK;
}

static bool takes_value(const Option *o)
{
    return o->type != TYPE_FLAG && o->type != TYPE_COUNT;
}

static KilnStatus read_argv(int argc, char **argv, int from, Arena *arena, Settings *s, Diag *diag)
{
    bool only_args = false;
    for (int i = from; i < argc; i++) {
        const char *word = argv[i];
        if (only_args || word[0] != '-' || !word[1]) {
            if (s->n_args == COUNT_OF(s->args))
                return fail(diag, KILN_ERR_INPUT, "", "too many arguments at \"%s\"", word);
            s->args[s->n_args++] = word;
            continue;
        }
        if (!strcmp(word, "--")) {
            only_args = true;
            continue;
        }
        const char *equals = word[1] == '-' ? strchr(word, '=') : NULL;
        size_t len = equals ? (size_t)(equals - word) : strlen(word);
        const Option *o = find_option(word, len, s->command);
        if (!o) return unknown(word, len, s->command, arena, diag);
        if (!(o->commands & s->command))
            return fail(diag, KILN_ERR_INPUT, "", "option %.*s does not belong to this command",
                        (int)len, word);
        const char *value = equals ? equals + 1 : NULL;
        if (!value && takes_value(o)) {
            if (++i >= argc)
                return fail(diag, KILN_ERR_INPUT, "", "option %s needs a value %s", word,
                            o->metavar);
            value = argv[i];
        }
        KilnStatus st = store(o, value, arena_strndup(arena, word, len), s, diag);
        if (st != KILN_OK) return st;
    }
    return KILN_OK;
}

static KilnStatus read_environment(Arena *arena, Settings *s, Diag *diag)
{
    for (int32_t i = 0; i < COUNT_OF(options); i++) {
        const Option *o = &options[i];
        if (!(o->commands & s->command) || !strcmp(o->names, "--help -h")) continue;
        char *name =
            arena_printf(arena, "KILN_%.*s", (int)strcspn(o->names + 2, " "), o->names + 2);
        for (char *c = name; *c; c++)
            *c = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
        const char *value = getenv(name);
        if (!value || !*value) continue;
        KilnStatus st = store(o, value, name, s, diag);
        if (st != KILN_OK) return st;
    }
    return KILN_OK;
}

static Str trimmed(Str s)
{
    while (s.len && isspace((unsigned char)s.data[0]))
        s.data++, s.len--;
    while (s.len && isspace((unsigned char)s.data[s.len - 1]))
        s.len--;
    return s;
}

/// One `flag = value` per line, # comments, [sections] other than ours skipped.
static KilnStatus read_config(const char *path, Arena *arena, Settings *s, Diag *diag)
{
    StrBuf text = {0};
    KilnStatus st = file_read(path, &text, diag);
    bool skipping = false;
    int32_t line_number = 0;
    for (size_t at = 0; st == KILN_OK && at < text.len;) {
        size_t len = strcspn(text.data + at, "\n");
        Str line = trimmed((Str){text.data + at, MIN(len, strcspn(text.data + at, "#"))});
        at += len + 1;
        line_number++;
        if (!line.len) continue;
        if (line.data[0] == '[') {
            skipping = true;
            continue;
        }
        if (skipping) continue;
        const char *equals = memchr(line.data, '=', line.len);
        Str key = trimmed((Str){line.data, equals ? (size_t)(equals - line.data) : line.len});
        char *flag = arena_printf(arena, "--%.*s", STR_ARG(key));
        char *where = arena_printf(arena, "%s:%d: %.*s", path, line_number, STR_ARG(key));
        const Option *o = find_option(flag, strlen(flag), s->command);
        if (!o) {
            st = fail(diag, KILN_ERR_INPUT, "", "%s: is not a known setting", where);
            break;
        }
        Str value = equals ? trimmed((Str){equals + 1, (size_t)(line.data + line.len - equals - 1)})
                           : STR("1");
        if (o->commands & s->command)
            st = store(o, arena_strndup(arena, value.data, value.len), where, s, diag);
    }
    strbuf_free(&text);
    return st;
}

/// --config is needed before argv is read in full, because argv has the last word.
static const char *config_of(int argc, char **argv, int from)
{
    for (int i = from; i < argc; i++) {
        if (!strcmp(argv[i], "--config") && i + 1 < argc) return argv[i + 1];
        if (!strncmp(argv[i], "--config=", 9)) return argv[i] + 9;
    }
    return getenv("KILN_CONFIG");
}

KilnStatus settings_read(Command command, int argc, char **argv, int from, Arena *arena,
                         Settings *out, Diag *diag)
{
    KilnStatus st = KILN_OK;
    *out = defaults;
    out->command = command;
    const char *home = getenv("HOME"), *config_home = getenv("XDG_CONFIG_HOME");
    const char *user = config_home && *config_home
                           ? arena_printf(arena, "%s/kiln/config", config_home)
                           : arena_printf(arena, "%s/.config/kiln/config", home ? home : "");
    if (file_exists(user)) TRY(read_config(user, arena, out, diag));
    const char *config = config_of(argc, argv, from);
    if (config) TRY(read_config(config, arena, out, diag));
    TRY(read_environment(arena, out, diag));
    // Lists from argv replace those from files rather than add to them.
    for (int32_t i = 0; i < COUNT_OF(options); i++) {
        if (options[i].type != TYPE_LIST) continue;
        for (int a = from; a < argc; a++)
            if (has_name(&options[i], argv[a], strcspn(argv[a], "=")))
                ((TextList *)((char *)out + options[i].field))->n = 0;
    }
    TRY(read_argv(argc, argv, from, arena, out, diag));
    if (!out->given.cache_v) out->cache_v = out->cache_k;
    if (!out->model && out->n_args && (command & (CMD_RUN | CMD_INFO | CMD_BENCH)))
        out->model = out->args[0];
done:
    return st;
}

void settings_help(Command command, StrBuf *out)
{
    for (int32_t i = 0; i < COUNT_OF(options); i++) {
        const Option *o = &options[i];
        if (!(o->commands & command)) continue;
        char left[96];
        size_t n = 0;
        for (const char *at = o->names; *at;) {
            size_t len = strcspn(at, " ");
            n += (size_t)snprintf(left + n, sizeof left - n, "%s%.*s", n ? ", " : "", (int)len, at);
            at += len + (at[len] == ' ');
            if (n >= sizeof left) n = sizeof left - 1;
        }
        snprintf(left + n, sizeof left - n, " %s", o->metavar);
        strbuf_printf(out, "  %-44s %s\n", left, o->help);
    }
}
