// cli/command.h - what the commands share: output, messages, the exit code of a status, the compiler's tools.
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H
#include "base/log.h"
#include "cli/options.h"

/// One command. @return an exit code (options.h)
int command_compile(const Settings *s, Arena *arena, Diag *diag);
int command_run(const Settings *s, Arena *arena, Diag *diag);
int command_info(const Settings *s, Arena *arena, Diag *diag);
int command_doctor(const Settings *s, Arena *arena, Diag *diag);
int command_bench(const Settings *s, Arena *arena, Diag *diag);

/// The exit code that ux gives a status: resources are 3, all other failures 1.
int exit_of(KilnStatus st);
/// Writes all of `text` to standard output. @return false when the reader is gone
bool print_out(const StrBuf *text);
/// A line to stderr, unless --quiet.
void say(const Settings *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
/// Prints what `diag` holds to stderr and forgets it.
void show_messages(Diag *diag);
/// The cache directory by flag, environment or default; NULL with --no-cache. Arena.
const char *cache_dir_of(const Settings *s, Arena *arena);
/// A log to stderr at the level that -v asks for.
Log log_of(const Settings *s);
/// Monotonic seconds.
double seconds_now(void);

/// A table on stdout: cells are padded to the widest of their column, numbers to the right.
typedef struct Table {
    Arena *arena;
    int32_t n_columns;
    VEC(const char **) rows; ///< [n_columns] each; the first is the header
} Table;
void table_row(Table *t, const char *const *cells);
void table_print(const Table *t, StrBuf *out);

/// What the CUDA toolkit says of a PTX text, when it is installed.
typedef struct Assembled {
    bool present; ///< ptxas was found
    bool accepted;
    int32_t registers, spill_bytes, shared_bytes;
    const char *log;   ///< arena: its messages
    const char *cubin; ///< arena: path of a temporary file, or NULL; the caller unlinks it
} Assembled;
/// Assembles `ptx` for `target` ("sm_90a") by the `ptxas` on PATH or in /usr/local/cuda/bin.
void toolkit_assemble(Arena *arena, const char *target, Str ptx, bool keep_cubin, Assembled *out);
/// Disassembles a cubin by nvdisasm or cuobjdump (appended). @return false when neither is there
bool toolkit_disassemble(Arena *arena, const char *cubin, StrBuf *out);
#endif
