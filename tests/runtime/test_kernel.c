// tests/runtime/test_kernel.c - compiled once, found again in memory and on disk; what is damaged is a miss.
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "runtime/launch.h"

static const char text[] =
    "import triton\n"
    "import triton.language as tl\n"
    "\n"
    "@triton.jit\n"
    "def scale(y, x, n, a, BLOCK: tl.constexpr):\n"
    "    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)\n"
    "    live = i < n\n"
    "    tl.store(y + i, tl.load(x + i, mask=live, other=0.0) * a, mask=live)\n";
static const KernelText texts[] = {{"scale.py", text, sizeof text - 1}};
static const char spec[] = "scale(y: *f32:16, x: *f32:16, n: i32, a: f32, BLOCK=64)";

typedef struct Place {
    char dir[64]; ///< a fresh cache folder
    Device *dev;
    KernelCache *cache;
} Place;

static void place_open(Place *p, size_t cap)
{
    cr_assert_eq(device_open(&(DeviceOptions){.name = "cpu"}, &p->dev, NULL), KILN_OK);
    KernelCacheOptions o = {.cache_dir = p->dir, .cap_bytes = cap, .texts = texts, .n_texts = 1};
    cr_assert_eq(kernel_cache_open(p->dev, &o, &p->cache, NULL), KILN_OK);
}

static void place_close(Place *p)
{
    kernel_cache_close(p->cache);
    device_close(p->dev);
}

static void fresh_dir(Place *p)
{
    snprintf(p->dir, sizeof p->dir, "kernel-cache.XXXXXX");
    cr_assert(mkdtemp(p->dir));
}

/// Calls `each(path)` for every file of the cache. @return how many
static int32_t each_file(const Place *p, void (*each)(const char *path))
{
    char path[400];
    snprintf(path, sizeof path, "%s/kernels", p->dir);
    DIR *d = opendir(path);
    int32_t n = 0;
    for (struct dirent *e; d && (e = readdir(d));) {
        if (e->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/kernels/%s", p->dir, e->d_name);
        if (each) each(path);
        n++;
    }
    if (d) closedir(d);
    return n;
}

static void remove_file(const char *path)
{
    unlink(path);
}

static void remove_dir(const Place *p)
{
    char path[400];
    each_file(p, remove_file);
    snprintf(path, sizeof path, "%s/kernels", p->dir);
    rmdir(path);
    rmdir(p->dir);
}

/// The kernel is found, and computes.
static void check_kernel(Place *p)
{
    Kernel *k;
    void *x, *y;
    Diag d;
    diag_init(&d, heap_default());
    KilnStatus st = kernel_find(p->cache, "scale.py", str_of(spec), &k, &d);
    cr_assert_eq(st, KILN_OK, "%s", diag_first(&d));
    cr_assert_eq(device_alloc(p->dev, 400, "x", &x, NULL), KILN_OK);
    cr_assert_eq(device_alloc(p->dev, 400, "y", &y, NULL), KILN_OK);
    float *in = x, *out = y;
    for (int32_t i = 0; i < 100; i++)
        in[i] = (float)i;
    Arg args[] = {arg_ptr("y", DTYPE_F32, y), arg_ptr("x", DTYPE_F32, x), arg_int("n", 99),
                  arg_float("a", 0.5)};
    cr_assert_eq(kernel_launch(k, grid_of(2, 1, 1), 4, args, NULL), KILN_OK);
    for (int32_t i = 0; i < 100; i++)
        cr_assert_eq(out[i], i < 99 ? (float)i * 0.5f : 0);
    device_free(p->dev, x);
    device_free(p->dev, y);
    arena_reset(&d.arena);
}

Test(kernel, is_compiled_once_and_found_again)
{
    Place p;
    fresh_dir(&p);
    place_open(&p, 0);
    check_kernel(&p);
    cr_expect_eq(p.dev->counters.compiles, 1);
    check_kernel(&p);
    Kernel *a, *b; // other words for the same specialisation
    cr_assert_eq(kernel_find(p.cache, "scale.py", str_of(spec), &a, NULL), KILN_OK);
    cr_assert_eq(kernel_find(p.cache, "scale.py",
                             STR("scale(y: *f32:16,x: *f32:16,n:i32,a: f32, BLOCK = 64)"), &b,
                             NULL),
                 KILN_OK);
    cr_expect_eq(a, b);
    cr_expect_eq(p.dev->counters.compiles, 1);
    cr_expect_eq(p.dev->counters.cached_mem, 3);
    place_close(&p);

    place_open(&p, 0); // another process, another day
    check_kernel(&p);
    cr_expect_eq(p.dev->counters.compiles, 0);
    cr_expect_eq(p.dev->counters.cached_disk, 1);
    place_close(&p);
    cr_expect_eq(each_file(&p, NULL), 1);
    remove_dir(&p);
}

static long
    damage_at; ///< byte to flip, or, below 0, -1 - length to cut to; set by the test before each_file

static void damage(const char *path)
{
    StrBuf b = {0};
    cr_assert_eq(file_read(path, &b, NULL), KILN_OK);
    size_t len = b.len;
    if (damage_at >= 0)
        b.data[(size_t)damage_at % b.len] ^= 0x10;
    else
        len = MIN(len, (size_t)(-1 - damage_at));
    cr_assert_eq(file_replace(path, b.data, len, NULL), KILN_OK);
    strbuf_free(&b);
}

Test(kernel, that_is_damaged_on_disk_is_compiled_again)
{
    Place p;
    fresh_dir(&p);
    place_open(&p, 0);
    check_kernel(&p);
    place_close(&p);
    const long places[] = {0, 5, 17, 60, 200, 700, 1500, 2000, 3001, -1, -2, -9, -100, -600, -1500};
    for (int32_t i = 0; i < COUNT_OF(places); i++) {
        damage_at = places[i];
        each_file(&p, damage);
        place_open(&p, 0);
        check_kernel(&p);
        cr_expect_eq(p.dev->counters.compiles, 1, "damage %ld was not noticed", places[i]);
        place_close(&p);
        place_open(&p, 0); // and it was written anew
        check_kernel(&p);
        cr_expect_eq(p.dev->counters.compiles, 0, "damage %ld was not repaired", places[i]);
        place_close(&p);
    }
    remove_dir(&p);
}

Test(kernel, is_not_read_from_a_folder_that_others_may_enter)
{
    Place p;
    fresh_dir(&p);
    char kernels[400];
    snprintf(kernels, sizeof kernels, "%s/kernels", p.dir);
    cr_assert_eq(mkdir(kernels, 0755), 0);
    cr_assert_eq(chmod(kernels, 0755), 0);
    Diag d;
    diag_init(&d, heap_default());
    cr_assert_eq(device_open(&(DeviceOptions){.name = "cpu"}, &p.dev, NULL), KILN_OK);
    KernelCacheOptions o = {.cache_dir = p.dir, .texts = texts, .n_texts = 1};
    cr_assert_eq(kernel_cache_open(p.dev, &o, &p.cache, &d), KILN_OK);
    cr_expect_eq(d.n_warnings, 1);
    check_kernel(&p);
    cr_expect_eq(each_file(&p, NULL), 0);
    place_close(&p);
    arena_reset(&d.arena);
    remove_dir(&p);
}

Test(kernel, makes_room_in_a_folder_that_is_full)
{
    Place p;
    fresh_dir(&p);
    place_open(&p, 0);
    Kernel *k;
    char words[128];
    for (int32_t block = 16; block <= 512; block *= 2) {
        snprintf(words, sizeof words, "scale(y: *f32, x: *f32, n: i32, a: f32, BLOCK=%d)", block);
        cr_assert_eq(kernel_find(p.cache, "scale.py", str_of(words), &k, NULL), KILN_OK);
    }
    cr_expect_eq(each_file(&p, NULL), 6);
    place_close(&p);
    place_open(&p, 1);
    check_kernel(&p); // one more, into a folder of one byte
    cr_expect_eq(each_file(&p, NULL), 0);
    place_close(&p);
    remove_dir(&p);
}

Test(kernel, may_be_compiled_by_several_processes_at_once)
{
    Place p;
    fresh_dir(&p);
    pid_t child[4];
    for (int32_t i = 0; i < 4; i++) {
        child[i] = fork();
        if (child[i]) continue;
        Kernel *k = NULL;
        place_open(&p, 0);
        _exit(kernel_find(p.cache, "scale.py", str_of(spec), &k, NULL) == KILN_OK ? 0 : 1);
    }
    for (int32_t i = 0; i < 4; i++) {
        int status = -1;
        cr_assert_eq(waitpid(child[i], &status, 0), child[i]);
        cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "child %d: %d", i, status);
    }
    place_open(&p, 0);
    check_kernel(&p);
    cr_expect_eq(p.dev->counters.compiles, 0);
    place_close(&p);
    cr_expect_eq(each_file(&p, NULL), 1, "no temporary name stays behind");
    remove_dir(&p);
}

Test(kernel, says_which_file_is_missing)
{
    Place p;
    fresh_dir(&p);
    place_open(&p, 0);
    Kernel *k;
    Diag d;
    diag_init(&d, heap_default());
    cr_expect_eq(kernel_find(p.cache, "nothing.py", str_of(spec), &k, &d), KILN_ERR_INPUT);
    cr_expect_str_eq(d.items.data[0]->code, "K104");
    cr_expect_null(k);
    cr_expect_neq(kernel_find(p.cache, "scale.py", STR("scale(y: *f32)"), &k, &d), KILN_OK);
    cr_expect_null(k);
    arena_reset(&d.arena);
    place_close(&p);
    remove_dir(&p);
}
