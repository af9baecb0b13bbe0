// tests/kernels/sass.h - what the CUDA assembler makes of PTX: registers, spills, machine instructions.
//
//   PTX --ptxas--> cubin --nvdisasm--> "HMMA.16816.F32.BF16*64 LDGSTS.E.BYPASS.128*16 ..."
//
// The tools are looked for in $KILN_CUDA_BIN, the toolkit's folders, build/cuda-tools (which
// scripts/cuda-tools fills from PyPI's triton), $PATH, and a triton package installed for python3.
#ifndef TESTS_KERNELS_SASS_H
#define TESTS_KERNELS_SASS_H
#include "base/hash.h"
#include "base/str.h"

typedef struct CudaTools {
    char ptxas[1024], nvdisasm[1024]; ///< paths; "" when there is none
    char ptxas_version[64], nvdisasm_version[64];
} CudaTools;

/// @param source_dir  of the checkout
void cuda_tools_find(const char *source_dir, CudaTools *out);

typedef struct Sass {
    bool ok; ///< ptxas accepted the text, nvdisasm its code
    int32_t registers, spill_bytes, stack_bytes;
    StrBuf ops; ///< "OPCODE*count " in order of first use; or the tools' complaint when !ok
} Sass;

/// One text to assemble: PTX with one entry.
typedef struct SassText {
    const char *ptx;
    size_t size;
} SassText;

/// Assembles `n` texts for `arch` ("sm_80") and reads the machine code back. Texts that allow it go through the
/// tools as one module, an entry each: starting a tool takes longer than a kernel.
/// @param cache_dir  answers are kept here by hash of tools, arch and text
/// @param out        [n] owned: sass_free() each
void sass_of(const CudaTools *tools, int32_t n, const SassText *texts, const char *arch,
             const char *cache_dir, Sass *out);
void sass_free(Sass *s);

/// Instructions in `ops` whose opcode has all the dotted words of `pattern`, in order, the first of them
/// first: "LDG.128" counts LDG.E.128.CONSTANT, but not LDGSTS.E.128.
int32_t ops_count(const char *ops, const char *pattern);
#endif
