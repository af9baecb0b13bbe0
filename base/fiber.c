// base/fiber.c - see fiber.h.
#include "base/fiber.h"

#include <sys/mman.h>

#if defined(__x86_64__)
#define FIBER_ASM 1
#else
#include <ucontext.h>
#endif
#if defined(__SANITIZE_ADDRESS__)
#define FIBER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FIBER_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define FIBER_TSAN 1
#endif

#ifdef FIBER_ASAN
void __asan_unpoison_memory_region(void const volatile *at, size_t size);
void __sanitizer_start_switch_fiber(void **fake, const void *bottom, size_t size);
void __sanitizer_finish_switch_fiber(void *fake, const void **bottom_old, size_t *size_old);
#endif
#ifdef FIBER_TSAN
void *__tsan_get_current_fiber(void);
void *__tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void *fiber);
void __tsan_switch_to_fiber(void *fiber, unsigned flags);
#endif

struct Fiber {
    void (*entry)(void *user);
    void *user;
    bool is_done;
#ifdef FIBER_ASM
    void *sp, *host_sp; ///< saved stack pointers of the side that does not run
#else
    ucontext_t own, host;
#endif
    const void *host_bottom; ///< of the resumer's stack, for asan
    size_t host_size;
    void *tsan, *host_tsan;
};

/// Where the Fiber lies in the stack that begins at `base`. All stacks begin at a multiple of their
/// size, so their tops would fall into the same few lines of every cache: each of 64 neighbours
/// starts a KiB lower than the one before.
static Fiber *fiber_of(char *base)
{
    size_t colour = ((uintptr_t)base / FIBER_STACK & 63) * 1024;
    return (Fiber *)(base + FIBER_STACK - ((sizeof(Fiber) + 63) & ~(size_t)63) - colour);
}

static char *stack_base(const Fiber *f)
{
    return (char *)((uintptr_t)f & ~(uintptr_t)(FIBER_STACK - 1));
}

static size_t stack_bytes(const Fiber *f)
{
    return (size_t)((const char *)f - stack_base(f));
}

#ifdef FIBER_ASM
/// Saves the callee-saved registers and the stack pointer in *from, takes `to`. fiber_x86_64.S
void kiln_fiber_switch(void **from, void *to);
/// Where a fresh stack begins: calls kiln_fiber_main with the Fiber it finds in a saved register.
void kiln_fiber_start(void);
void kiln_fiber_main(Fiber *f);
#endif

static void leave(Fiber *f)
{
#ifdef FIBER_TSAN
    __tsan_switch_to_fiber(f->host_tsan, 0);
#endif
#ifdef FIBER_ASM
    kiln_fiber_switch(&f->sp, f->host_sp);
#else
    swapcontext(&f->own, &f->host);
#endif
}

static void run(Fiber *f)
{
    for (;;) { // a finished fiber waits here to be started again
#ifdef FIBER_ASAN
        __sanitizer_finish_switch_fiber(NULL, &f->host_bottom, &f->host_size);
#endif
        f->entry(f->user);
        f->is_done = true;
#ifdef FIBER_ASAN
        __sanitizer_start_switch_fiber(NULL, f->host_bottom, f->host_size);
#endif
        leave(f);
    }
}

#ifdef FIBER_ASM
void kiln_fiber_main(Fiber *f)
{
    run(f);
}
#else
static void context_main(unsigned high, unsigned low)
{
    run((Fiber *)(uintptr_t)((uint64_t)high << 32 | low));
}
#endif

Fiber *fiber_new(void)
{
    size_t twice = 2 * (size_t)FIBER_STACK;
    char *raw = mmap(NULL, twice, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (raw == MAP_FAILED) return NULL;
    char *base = (char *)(((uintptr_t)raw + FIBER_STACK - 1) & ~(uintptr_t)(FIBER_STACK - 1));
    if (base > raw) munmap(raw, (size_t)(base - raw));
    if (base + FIBER_STACK < raw + twice)
        munmap(base + FIBER_STACK, (size_t)(raw + twice - base - FIBER_STACK));
    mprotect(base, 4096,
             PROT_NONE); // running off the end faults instead of writing into a neighbour
    Fiber *f = fiber_of(base);
    *f = (Fiber){0};
#ifdef FIBER_TSAN
    f->tsan = __tsan_create_fiber(0);
#endif
    return f;
}

void fiber_free(Fiber *f)
{
    if (!f) return;
#ifdef FIBER_TSAN
    __tsan_destroy_fiber(f->tsan);
#endif
    munmap(stack_base(f), FIBER_STACK);
}

void fiber_start(Fiber *f, void (*entry)(void *user), void *user)
{
    f->entry = entry;
    f->user = user;
    f->is_done = false;
#ifdef FIBER_ASAN
    __asan_unpoison_memory_region(stack_base(f), stack_bytes(f)); // of frames that were left
#endif
#ifdef FIBER_ASM
    uint64_t *top =
        (uint64_t *)(uintptr_t)f - 8; // 64-byte aligned; as kiln_fiber_switch leaves a stack
    memset(top, 0, 8 * sizeof *top);
    top[4] = (uint64_t)(uintptr_t)f; // rbx
    top[6] = (uint64_t)(uintptr_t)kiln_fiber_start;
    f->sp = top;
#else
    getcontext(&f->own);
    f->own.uc_stack.ss_sp = stack_base(f) + 4096;
    f->own.uc_stack.ss_size = stack_bytes(f) - 4096;
    f->own.uc_link = NULL;
    uint64_t at = (uint64_t)(uintptr_t)f;
    makecontext(&f->own, (void (*)(void))context_main, 2, (unsigned)(at >> 32), (unsigned)at);
#endif
}

bool fiber_resume(Fiber *f)
{
#ifdef FIBER_TSAN
    f->host_tsan = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(f->tsan, 0);
#endif
#ifdef FIBER_ASAN
    void *fake = NULL;
    __sanitizer_start_switch_fiber(&fake, stack_base(f), stack_bytes(f));
#endif
#ifdef FIBER_ASM
    kiln_fiber_switch(&f->host_sp, f->sp);
#else
    swapcontext(&f->host, &f->own);
#endif
#ifdef FIBER_ASAN
    __sanitizer_finish_switch_fiber(fake, NULL, NULL);
#endif
    (void)stack_bytes;
    return !f->is_done;
}

void fiber_yield(Fiber *f)
{
#ifdef FIBER_ASAN
    void *fake = NULL;
    __sanitizer_start_switch_fiber(&fake, f->host_bottom, f->host_size);
#endif
    leave(f);
#ifdef FIBER_ASAN
    __sanitizer_finish_switch_fiber(fake, &f->host_bottom, &f->host_size);
#endif
}

bool fiber_pass(Fiber *from, Fiber *to)
{
#if defined(FIBER_ASM) && !defined(FIBER_ASAN) && !defined(FIBER_TSAN)
    to->host_sp = from->host_sp;
    kiln_fiber_switch(&from->sp, to->sp);
    return true;
#else
    (void)from, (void)to;
    return false;
#endif
}

Fiber *fiber_self(void)
{
    return fiber_of(
        (char *)((uintptr_t)__builtin_frame_address(0) & ~(uintptr_t)(FIBER_STACK - 1)));
}

void *fiber_user(const Fiber *f)
{
    return f->user;
}
