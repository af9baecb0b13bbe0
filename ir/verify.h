// ir/verify.h - what holds between any two passes, op by op.
//
//   every operand is visible where it is used (defined earlier in its region or an enclosing one)
//   every use list agrees with the operands; regions end in their terminator and nowhere else
//   operand, result and region types are those that the row of op.def promises
//
// Layouts are compared only where both sides have one: then they are the same.
#ifndef IR_VERIFY_H
#define IR_VERIFY_H
#include "ir/ir.h"

/// Numbers the values (func_number).
/// @return KILN_OK, or KILN_ERR_INPUT: diag has E9999 with the op as printed and the types of its operands
MUST_USE KilnStatus func_verify(Func *fn, Diag *diag);
MUST_USE KilnStatus module_verify(Module *m, Diag *diag);
/// The types of one op, given that its operands are sound: NULL, or what is wrong (static text).
const char *op_check(const Op *op);
#endif
