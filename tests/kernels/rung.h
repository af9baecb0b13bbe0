// tests/kernels/rung.h - one launch card's cases on two rungs of the ladder, and where they differ.
#ifndef TESTS_KERNELS_RUNG_H
#define TESTS_KERNELS_RUNG_H
#include "tests/kernels/agree.h"
#include "tests/kernels/reference.h"

/// A kernel file with its cards.
typedef struct KernelFile {
    Arena arena;
    Source *source;
    int32_t n_cards;
    Card *cards;
} KernelFile;

/// A specialisation, compiled and loaded for one target; or the formulas.
typedef struct Rung {
    Reference
        *reference; ///< the formulas, in f64; then only `code`'s layout is used of what follows
    Target target;
    Code code;
    Image *image;
    void *scratch;
} Rung;

/// What a comparison saw.
typedef struct Seen {
    int64_t cases, programs, elements;
    double worst; ///< largest error as a share of its tolerance
} Seen;

/// Opens kernels.dsl/`name`, or `text` under that name when it is not NULL. Fails the test on an error.
void file_up(KernelFile *f, const char *name, const char *text, const char *func);
void file_down(KernelFile *f);
/// A CPU takes no notice of warps and stages: is card `i` an earlier one but for them?
bool card_is_repeated(KernelFile *f, int32_t i);
/// @return false, with `diag` filled in, when the target cannot compile or run the kernel here
bool rung_up(Rung *r, const KernelFile *f, const Card *card, const Target *target, Diag *diag);
/// The bottom rung, with the argument layout of `above`.
void rung_reference(Rung *r, const Card *card, const Rung *above);
void rung_down(Rung *r);

/// Runs cases first .. first + n - 1 of `card` on `oracle` and on `rung`.
/// @return NULL when all buffers agree, else what differs (arena of `f`)
const char *rungs_compare(KernelFile *f, const Card *card, Rung *oracle, Rung *rung, uint64_t first,
                          int32_t n, Seen *seen);
#endif
