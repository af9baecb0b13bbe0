// base/fiber.h - stacks that take turns: one host thread plays the threads of a GPU block.
//
//   [ stack ................ | Fiber | unused ]   FIBER_STACK bytes, aligned to FIBER_STACK
//                            ^ fiber_self() of code that runs on it: from its stack pointer, masked
//
// A switch saves the callee-saved registers only (fiber_x86_64.S); where we have no such file
// ucontext does it, a system call slower. Sanitizers are told of every switch. A fiber never moves
// to another host thread.
#ifndef BASE_FIBER_H
#define BASE_FIBER_H
#include "base/base.h"

enum { FIBER_STACK = 256 * 1024 };

typedef struct Fiber Fiber;

/// A fiber that will run entry(user) at its first resume. mmap'd; pages are touched as needed.
/// @return owned: fiber_free(); NULL: no memory
Fiber *fiber_new(void);
void fiber_free(Fiber *f);
/// Sets what the fiber runs next; it must not be in the middle of something that matters.
void fiber_start(Fiber *f, void (*entry)(void *user), void *user);
/// Runs `f` until it yields or its entry returns. @return true: it yielded; false: it is done
bool fiber_resume(Fiber *f);
/// From inside a fiber: back to its resumer.
void fiber_yield(Fiber *f);
/// From inside `from`: runs `to`, as if `from` had yielded and its resumer had resumed `to`, in half
/// the switches. Returns when somebody resumes or passes to `from` again.
/// @return false: not in this build (sanitizers, no switch of our own); yield instead
bool fiber_pass(Fiber *from, Fiber *to);
/// The fiber whose stack this code runs on; only valid inside one.
Fiber *fiber_self(void);
/// What fiber_start() was given.
void *fiber_user(const Fiber *f);
#endif
