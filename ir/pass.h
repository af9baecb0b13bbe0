// ir/pass.h - what a pass is, and pipelines of passes from text: "fold,cse,licm,dce".
//
// A pass is a file that exports one constant. It rewrites one function, keeps it sound (ir/verify.h), and
// takes the same decisions for the same input. A back end hands its own table of passes to the pipeline.
#ifndef IR_PASS_H
#define IR_PASS_H
#include "ir/build.h"

typedef struct Pass Pass;
typedef struct PassCx PassCx;

struct Pass {
    const char *name;
    KilnStatus (*run)(PassCx *cx, Func *fn);
};

/// What a pipeline is run with. Zero is fine for all but `module`.
struct PassCx {
    Module *module;
    Diag *diag;
    Arena *scratch;          ///< emptied after each pass; set by passes_run
    const Pass *const *more; ///< [n_more] passes of a back end, found by name before ours
    int32_t n_more;
    const void *target;                                    ///< the back end's own, for its passes
    void (*after)(void *user, const Pass *pass, Func *fn); ///< called after each pass; may be NULL
    void *user;
    Map counts;       ///< "pass.counter" -> int64_t *, in module's arena
    const Pass *pass; ///< the one that runs
};

extern const Pass
    pass_fold; ///< constants, identities, uniform tiles to scalars, known branches and masks
extern const Pass pass_cse;         ///< equal pure ops become one
extern const Pass pass_licm;        ///< pure ops that do not change in a loop move before it
extern const Pass pass_dce;         ///< ops, loop-carried values and results that nobody needs
extern const Pass pass_loop_facts;  ///< loops that never run or run once, carried values that stay
extern const Pass pass_affine_addr; ///< carried tiles that move as a whole become carried scalars

/// The passes that every target runs first.
#define PASSES_COMMON "fold,cse,loop-facts,affine-addr,fold,cse,licm,dce"

/// Runs the comma-separated `pipeline`; builds with KILN_ASSERTS verify after each pass.
/// @return KILN_OK; KILN_ERR_INPUT: no pass has that name (K118), or an error of a pass
MUST_USE KilnStatus passes_run(PassCx *cx, Func *fn, const char *pipeline);
/// One more of `what` done by the running pass.
void pass_count(PassCx *cx, const char *what);
/// The count of "pass.what", 0 when it never happened.
int64_t pass_counted(const PassCx *cx, const char *name);
#endif
