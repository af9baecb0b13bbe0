// tests/compiler/cpu/harness.h - compiles a function for the CPU and runs it beside the interpreter.
#ifndef TESTS_COMPILER_CPU_HARNESS_H
#define TESTS_COMPILER_CPU_HARNESS_H
#include "compiler/backend.h"
#include "compiler/interp/interp.h"
#include "ir/build.h"
#include "ir/text.h"
#include "tests/support/guard.h"

/// Everything that one function needs; reset with bench_close().
typedef struct Bench {
    Diag diag;
    Arena arena;
    Module *module;
    Func *fn;
    Code code;
    Image image;
    void *scratch;
    StrBuf text; ///< messages, or the function as text
    StrBuf llvm; ///< LLVM IR of the last compilation, when wants_llvm
    bool wants_llvm;
} Bench;

void bench_open(Bench *b);
void bench_close(Bench *b);
/// Parses one function. @return false with the message in b->text
bool bench_parse(Bench *b, const char *text);
/// Compiles b->fn for `level` and, where this machine runs it, links it. @return false with the message in b->text
bool bench_compile(Bench *b, CpuLevel level);
void bench_run(Bench *b, const void *args, Grid grid);
/// @return false with the message in b->text
bool bench_interpret(Bench *b, const void *args, Grid grid);
/// Can code of this level run here, or in an emulator?
bool bench_can_run(CpuLevel level);
extern const CpuLevel bench_levels[6];
const char *bench_level_name(CpuLevel level);
#endif
