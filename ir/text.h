// ir/text.h - the text form of the tile IR. Printing what was parsed gives the same text.
//
//   #row = #l<64>{reg ; lane 1 2 4 8 16; warp 32}                    a layout and its name
//
//   func @add(%0.x: ptr<f32> {align=16}, %1.n: i32) -> f32 num_warps=8 {
//     %2 = arange {start=0} : tile<64xi32, #row>                     op, operands, attributes, result types
//     %3.y, %4 = split %2 : tile<32xi32>, tile<32xi32>               %label or %label.name; the label counts
//     store %5, %6, %7 {cache=cg}                                    attributes at their default are left out
//     %8 = for %9.i = %10 to %11 step %12 carry (%13 = %14) {stages=3} : f32 {
//       yield %15
//     }
//     %16 = while carry (%17 = %18) : i32 { ... condition %19, %20 } do (%21) { ... yield %22 }
//     if %23 { ... yield } else { ... yield }                        an else that only yields nothing is left out
//     %24 = reduce %25 {combine=region, axis=0} : f32 (%26: f32, %27: f32) { ... yield %28 }
//     return %24
//   }
//
// Floats are the shortest decimals that read back to the same bits; a `//` comment ends with its line.
#ifndef IR_TEXT_H
#define IR_TEXT_H
#include "ir/ir.h"

/// Appends the layouts' definitions and every function. Numbers the values (func_number).
void module_print(Module *m, StrBuf *out);
/// Appends one function. Numbers the values.
void func_print(Func *fn, StrBuf *out);
/// Appends one op with its regions, by the numbers its values have.
void op_print(const Op *op, StrBuf *out);

/// Reads functions and layouts into `m`; `path` is what diagnostics say. What it accepts has the right
/// number of operands and attributes and can be printed; types are the verifier's business.
/// @return KILN_OK, or KILN_ERR_INPUT with the place in m->diag
MUST_USE KilnStatus module_parse(Module *m, const char *path, Str text);

// ---- shared by both directions ------------------------------------------------------------------

typedef enum AttrForm {
    ATTR_FORM_VALUE,
    ATTR_FORM_INT,
    ATTR_FORM_BOOL,
    ATTR_FORM_ENUM,
    ATTR_FORM_LIST,
    ATTR_FORM_TEXT
} AttrForm;

typedef struct AttrFacts {
    const char *name;
    AttrForm form;
    bool is_optional;         ///< not printed when zero
    const char *const *names; ///< ENUM
    int32_t n_names;
} AttrFacts;

extern const AttrFacts attr_facts[ATTR_KEY_COUNT];
#endif
