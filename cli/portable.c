// cli/portable.c - two functions that let the one-file build run on older systems (static build only).
//
// LLVM's C++ runtime asks for arc4random (glibc 2.36) and libgcc's unwinder for _dl_find_object (2.35).
// With both defined here the binary asks for glibc 2.34 at most. The unwinder falls back to
// dl_iterate_phdr when _dl_find_object says that it found nothing; we throw no C++ exceptions.
#include <stdint.h>
#include <sys/random.h>

uint32_t arc4random(void);
int _dl_find_object(void *address, void *result); // NOLINT(readability-identifier-naming): glibc's

uint32_t arc4random(void)
{
    uint32_t x = 0;
    if (getrandom(&x, sizeof x, 0) != sizeof x)
        x = 4; // used to salt hash tables: any value is right
    return x;
}

int _dl_find_object(void *address, void *result)
{
    (void)address;
    (void)result;
    return -1;
}
