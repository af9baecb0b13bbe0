// base/diag.h - messages for people: what happened, where, and what to do. Never a print.
//
//   softmax.py:14:9: error[E0503]: cannot broadcast shapes (64) and (128): ...
//      14 |     y = x + tl.load(p + tail)
//         |         ^~~~~~~~~~~~~~~~~~~~
//   softmax.py:12:5: note: `x` has 64 elements because BLOCK is 64 here
//     help: ...
//
// Two shapes of message share one list. E and W codes belong to a place in a kernel file (a Span);
// K codes belong to everything else and print as `kiln: error: WHERE: WHAT [K201]` with a `hint:`.
// A Diag owns its text. Recording never fails: past `limit` errors are only counted.
#ifndef BASE_DIAG_H
#define BASE_DIAG_H
#include "base/str.h"
#include "base/vec.h"

/// A half-open byte range of one registered file. file < 0: no place.
typedef struct Span {
    int32_t file, begin, end;
} Span;

#define NO_SPAN ((Span){-1, 0, 0})

typedef enum DiagLevel { DIAG_ERROR, DIAG_WARNING, DIAG_NOTE } DiagLevel;

typedef struct DiagNote {
    Span span;
    const char *text;
} DiagNote;

typedef struct DiagItem {
    DiagLevel level;
    char code[8]; ///< "E0503", "K201"; "" for none
    Span span;
    const char *text;
    const char *help; ///< NULL for none; printed after `help:` (E, W) or `hint:` (K)
    VEC(DiagNote) notes;
} DiagItem;

typedef struct DiagFile {
    const char *path; ///< as the user gave it
    Str text;         ///< copied
} DiagFile;

typedef struct Diag {
    Arena arena;
    VEC(DiagFile) files;
    VEC(DiagItem *) items;
    int32_t n_errors, n_warnings;
    int32_t limit;           ///< errors kept [20]
    const char *while_doing; ///< printed last, after "note: while compiling"; NULL for none
} Diag;

void diag_init(Diag *d, Heap *heap);
/// Forgets all messages and files. The Diag can be used again.
void diag_reset(Diag *d);

/// Registers a file so that spans can point into it. Copies both.
/// @return the file number for Span.file
int32_t diag_file(Diag *d, const char *path, Str text);
/// 1-based line and column (in code points, a tab is one) of byte `at`.
void diag_line_column(const Diag *d, int32_t file, int32_t at, int32_t *line, int32_t *column);

/// Records a message. `d` may be NULL: then nothing is recorded.
/// @return the item, to which notes and help can be added; never NULL unless `d` is
DiagItem *diag_add(Diag *d, DiagLevel level, const char *code, Span span, const char *fmt, ...)
    PRINTF_LIKE(5, 6);
void diag_note(Diag *d, DiagItem *item, Span span, const char *fmt, ...) PRINTF_LIKE(4, 5);
void diag_help(Diag *d, DiagItem *item, const char *fmt, ...) PRINTF_LIKE(3, 4);

/// Records an error without a place and returns `st`, so that callers can write
///     TRY(fail(diag, KILN_ERR_INPUT, "K201", "%s: not a GGUF file: ...", path));
KilnStatus fail(Diag *d, KilnStatus st, const char *code, const char *fmt, ...) PRINTF_LIKE(4, 5);
/// The same with a hint line.
KilnStatus fail_hint(Diag *d, KilnStatus st, const char *code, const char *hint, const char *fmt,
                     ...) PRINTF_LIKE(5, 6);
/// Records the error "path: what" for a file whose content is wrong. @return KILN_ERR_INPUT
KilnStatus fail_in(Diag *d, const char *code, const char *path, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
#ifdef __clang_analyzer__ // does not look into variadic functions: it is told what they return
#define fail(d, st, ...)      ((void)(fail)(d, st, __VA_ARGS__), (st))
#define fail_hint(d, st, ...) ((void)(fail_hint)(d, st, __VA_ARGS__), (st))
#define fail_in(...)          ((void)(fail_in)(__VA_ARGS__), KILN_ERR_INPUT)
#endif

/// Forgets the warnings behind the first `n` messages.
void diag_drop_warnings(Diag *d, int32_t n);

/// Appends all messages as text, in order, errors at one place and of one text once.
void diag_render(const Diag *d, StrBuf *out);
/// Appends one JSON object per line and message.
void diag_render_json(const Diag *d, StrBuf *out);
/// The first error's text, or "" (borrowed until reset).
const char *diag_first(const Diag *d);
#endif
