// cli/options.h - what the user asked for: flags > environment > --config > user file > defaults.
//
// One table (options.def) drives parsing, help, the environment and config files. The environment and
// standard output belong to this floor; the library below reads neither.
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H
#include "base/diag.h"

typedef enum Command {
    CMD_COMPILE = 1,
    CMD_RUN = 2,
    CMD_INFO = 4,
    CMD_DOCTOR = 8,
    CMD_BENCH = 16
} Command;

/// Exit codes (ux): nothing else is ever returned.
enum {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_RESOURCE = 3,
    EXIT_CHECK = 4,
    EXIT_INTERRUPT = 130
};

typedef struct TextList {
    const char *items[64];
    int32_t n;
} TextList;

// Member types by the type column.
#define OPT_FIELD_FLAG(name)  bool name;
#define OPT_FIELD_COUNT(name) int32_t name;
#define OPT_FIELD_INT(name)   int64_t name;
#define OPT_FIELD_REAL(name)  double name;
#define OPT_FIELD_TEXT(name)  const char *name;
#define OPT_FIELD_LIST(name)  TextList name;

typedef struct Settings {
    Command command;
    const char *args[8]; ///< positional arguments, borrowed from argv
    int32_t n_args;
#define OPT(field, type, names, metavar, commands, help) OPT_FIELD_##type(field)
#include "cli/options.def"
#undef OPT
    /// Set when the user gave the option, by any road.
    struct {
#define OPT(field, type, names, metavar, commands, help) bool field;
#include "cli/options.def"
#undef OPT
    } given;
} Settings;

/// Fills `out` with defaults, then the user's file, --config, the environment and argv[from..].
/// @return KILN_OK; KILN_ERR_INPUT with a usage message (exit 2)
MUST_USE KilnStatus settings_read(Command command, int argc, char **argv, int from, Arena *arena,
                                  Settings *out, Diag *diag);
/// Help of one command, from the table (appended).
void settings_help(Command command, StrBuf *out);
/// Parses a number with a suffix: k = 1000, K and Ki = 1024, m, M, Mi, g, G, Gi, with or without B.
bool parse_count(const char *text, int64_t *out);
#endif
