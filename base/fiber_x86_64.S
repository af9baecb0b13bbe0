// base/fiber_x86_64.S - the switch of base/fiber.c for x86-64 System V.
//
//   kiln_fiber_switch(void **from, void *to)
//   a saved stack, lowest address first: r15 r14 r13 r12 rbx rbp return
//   (a jump and not a ret: the predictor of returns would expect the wrong one every time; vector
//   registers are caller-saved; mxcsr and the x87 control word are the same on every fiber)
#if defined(__x86_64__)
    .text
    .globl kiln_fiber_switch
    .hidden kiln_fiber_switch
    .type kiln_fiber_switch, @function
    .p2align 4
kiln_fiber_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    popq %rcx
    jmpq *%rcx
    .size kiln_fiber_switch, . - kiln_fiber_switch

    .globl kiln_fiber_start
    .hidden kiln_fiber_start
    .type kiln_fiber_start, @function
    .p2align 4
kiln_fiber_start:
    movq %rbx, %rdi
    xorl %ebp, %ebp
    subq $8, %rsp
    call kiln_fiber_main
    ud2
    .size kiln_fiber_start, . - kiln_fiber_start
#endif
#if defined(__linux__) && defined(__ELF__)
    .section .note.GNU-stack, "", @progbits
#endif
