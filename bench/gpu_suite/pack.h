// bench/gpu_suite/pack.h - the interpreter's results of every card's cases, as bytes inside the program.
//
//   zstd( { key 16 | buffers 4 | { argument 4 | bytes 4 | before XOR after } ... } ... )
//
// A case is made again from its seed wherever it runs, so only what the kernel changed is kept: XOR with
// what was there before is mostly zeros, which cost nothing.
#ifndef BENCH_GPU_SUITE_PACK_H
#define BENCH_GPU_SUITE_PACK_H
#include "base/hash.h"
#include "runtime/cards.h"

/// Which case: kernel file, specialisation, run-time words and seed.
Hash128 pack_key(const char *file, const Card *card, uint64_t seed);

typedef struct PackWriter {
    StrBuf bytes;
    int32_t n, n_cases; ///< entries; cases per card
} PackWriter;

/// Appends what changed from `before` to `after`.
void pack_add(PackWriter *w, Hash128 key, const Case *before, const Case *after);
/// The finished file, appended to `out`; frees the writer.
MUST_USE KilnStatus pack_finish(PackWriter *w, StrBuf *out, Diag *diag);

typedef struct Pack {
    uint8_t *bytes;
    size_t size;
    int32_t n, n_cases;
} Pack;

/// @return KILN_OK; KILN_ERR_INPUT: K901 damaged
MUST_USE KilnStatus pack_open(const void *bytes, size_t size, Pack *out, Diag *diag);
void pack_close(Pack *p);
/// Turns the untouched buffers of `c` into the stored results. @return false: nothing is stored for `key`
bool pack_apply(const Pack *p, Hash128 key, Case *c);
/// Changes one stored element beyond any tolerance; a comparison that sees nothing then is broken.
bool pack_flip(Pack *p);
#endif
