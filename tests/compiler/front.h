// tests/compiler/front.h - kernel text in, tile text and messages out.
#ifndef TESTS_COMPILER_FRONT_H
#define TESTS_COMPILER_FRONT_H
#include "compiler/compile.h"

/// Compiles `text` for `spec` (target interp). Tile text and rendered messages are appended where
/// not NULL.
KilnStatus front_compile(const char *path, const char *text, const char *spec, StrBuf *tile,
                         StrBuf *messages);
/// The same with the messages as items of `d`.
KilnStatus front_compile_diag(const char *path, const char *text, const char *spec, StrBuf *tile,
                              Diag *d);
/// A whole file, or NULL. free() it.
char *front_read(const char *path);
/// Names of files in `dir` that end in `suffix`, sorted. @return how many, at most `cap`
int front_list(const char *dir, const char *suffix, char (*names)[128], int cap);
#endif
