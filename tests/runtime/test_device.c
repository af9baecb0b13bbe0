// tests/runtime/test_device.c - names, accounts of memory, guard pages, bandwidth.
#include <criterion/criterion.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/random.h"
#include "runtime/device.h"

static Device *open_named(const char *name, bool guard)
{
    Device *dev;
    DeviceOptions o = {.name = name, .n_threads = 2, .guard = guard};
    cr_assert_eq(device_open(&o, &dev, NULL), KILN_OK);
    return dev;
}

Test(device, says_which_names_there_are)
{
    const char *const wrong[] = {"gpu", "", "cp", "cuda:x", "emu:sm_12", "cpu:avx9"};
    for (int32_t i = 0; i < COUNT_OF(wrong); i++) {
        Device *dev;
        Diag d;
        diag_init(&d, heap_default());
        cr_expect_neq(device_open(&(DeviceOptions){.name = wrong[i]}, &dev, &d), KILN_OK, "%s",
                      wrong[i]);
        cr_expect_null(dev);
        cr_expect_geq(d.n_errors, 1, "%s", wrong[i]);
        arena_reset(&d.arena);
    }
    const DeviceKind *kinds;
    int32_t n = device_kinds(&kinds);
    for (int32_t i = 0; i < n; i++)
        cr_expect(kinds[i].is_available || kinds[i].why_not, "%s says nothing", kinds[i].name);
}

Test(device, knows_its_facts)
{
    Device *dev = open_named("cpu", false);
    cr_expect_str_eq(dev->facts.name, "cpu");
    cr_expect_gt(strlen(dev->facts.model), 2);
    cr_expect_gt(dev->facts.memory_total, (size_t)1 << 28);
    cr_expect_leq(device_memory_free(dev), dev->facts.memory_total);
    cr_expect_geq(dev->facts.n_threads, 1);
    cr_expect(dev->facts.is_host_memory && !dev->facts.is_checked);
    device_close(dev);
    dev = open_named("interp", false);
    cr_expect(dev->facts.is_checked);
    cr_expect_eq(dev->facts.n_threads, 1);
    device_close(dev);
}

Test(device, counts_what_it_owns)
{
    Device *dev = open_named("cpu", false);
    enum { N = 200 };
    void *at[N] = {0};
    size_t bytes[N] = {0}, live = 0, peak = 0;
    Random r = {9};
    for (int32_t step = 0; step < 3000; step++) {
        int32_t i = (int32_t)random_below(&r, N);
        if (at[i]) {
            cr_assert_eq(((char *)at[i])[bytes[i] - 1], (char)i, "memory was not kept");
            device_free(dev, at[i]);
            live -= bytes[i];
            at[i] = NULL;
            continue;
        }
        bytes[i] = (size_t)(1 + random_below(&r, random_below(&r, 20) ? 5000 : 3 << 20));
        cr_assert_eq(device_alloc(dev, bytes[i], "block", &at[i], NULL), KILN_OK);
        cr_assert_eq((uintptr_t)at[i] % 64, 0);
        char *p = at[i];
        cr_assert(!p[0] && !p[bytes[i] / 2] && !p[bytes[i] - 1], "memory is not zeroed");
        memset(p, (char)i, bytes[i]);
        live += bytes[i];
        peak = MAX(peak, live);
        const MemRange *range = device_range(dev, p + bytes[i] - 1);
        cr_assert(range && range->begin == at[i] && range->bytes == bytes[i]);
    }
    cr_expect_eq(dev->counters.bytes_live, live);
    cr_expect_eq(dev->counters.bytes_peak, peak);
    cr_expect_null(device_range(dev, dev)); // not its memory
    device_close(dev);                      // with what is left
}

Test(device, takes_memory_of_others_in_place)
{
    Device *dev = open_named("cpu", false);
    static const float weights[64] = {1};
    size_t live = dev->counters.bytes_live;
    cr_assert_eq(device_import(dev, weights, sizeof weights, "weights"), KILN_OK);
    cr_expect_eq(dev->counters.bytes_live, live, "it is not the device's");
    cr_expect_str_eq(device_range(dev, weights + 63)->name, "weights");
    device_free(dev, (void *)(uintptr_t)weights);
    cr_expect_null(device_range(dev, weights));
    device_close(dev);
}

Test(device, refuses_more_than_there_is)
{
    Device *dev = open_named("cpu", false);
    void *at = dev;
    Diag d;
    diag_init(&d, heap_default());
    cr_expect_eq(device_alloc(dev, SIZE_MAX - 100, "everything", &at, &d), KILN_ERR_NOMEM);
    cr_expect_null(at);
    cr_expect_str_eq(d.items.data[0]->code, "K301");
    cr_expect_eq(device_alloc(dev, (size_t)1 << 60, "everything", &at, &d), KILN_ERR_NOMEM);
    arena_reset(&d.arena);
    device_close(dev);
}

Test(device, stops_a_write_past_a_guarded_buffer)
{
    for (int32_t past = 0; past < 2; past++) {
        pid_t child = fork();
        if (!child) {
            signal(SIGSEGV, SIG_DFL);
            Device *dev;
            void *at;
            if (device_open(&(DeviceOptions){.name = "cpu", .guard = true}, &dev, NULL) != KILN_OK)
                _exit(1);
            if (device_alloc(dev, 4096 - 64, "guarded", &at, NULL) != KILN_OK) _exit(1);
            volatile char *p = at;
            p[4096 - 64 - 1 + past] = 1;
            _exit(0);
        }
        int status;
        waitpid(child, &status, 0);
        bool stopped = WIFSIGNALED(status) ||
                       (WIFEXITED(status) && WEXITSTATUS(status) > 1); // a sanitizer exits
        cr_expect_eq(stopped, past == 1, "byte %d of 4032: status %#x", 4096 - 64 - 1 + past,
                     status);
    }
}

Test(device, measures_bandwidth_that_is_believable)
{
    Device *dev = open_named("cpu", false);
    DeviceBandwidth b;
    cr_assert_eq(device_measure_bandwidth(dev, 32 << 20, &b, NULL), KILN_OK);
    cr_expect(b.read > 1e8 && b.read < 1e13, "read %g", b.read);
    cr_expect(b.copy > 1e8 && b.copy < 1e13, "copy %g", b.copy);
    cr_expect_eq(dev->counters.bytes_live, 0);
    device_close(dev);
}
