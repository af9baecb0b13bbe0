#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static KilnStatus open_regular(const char *path, int *fd, size_t *size, Diag *diag)
{
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); // a FIFO without a writer would block
    if (*fd < 0)
        return fail(diag, KILN_ERR_IO, "K101", "%s: cannot be opened: %s", path, strerror(errno));
    struct stat st;
    if (fstat(*fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size < 0) {
        close(*fd);
        return fail(diag, KILN_ERR_IO, "K101", "%s: is not a regular file", path);
    }
    *size = (size_t)st.st_size;
    return KILN_OK;
}

KilnStatus file_map(const char *path, File *out, Diag *diag)
{
    *out = (File){0};
    int fd = -1;
    size_t size = 0;
    KilnStatus st = open_regular(path, &fd, &size, diag);
    if (st != KILN_OK) return st;
    void *at = NULL;
    if (size) at = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (size && at == MAP_FAILED)
        return fail(diag, KILN_ERR_IO, "K101", "%s: cannot be mapped: %s", path, strerror(errno));
    char *name = strdup(path);
    if (!name) {
        if (size) munmap(at, size);
        return fail(diag, KILN_ERR_NOMEM, "K102", "%s: no memory for its name", path);
    }
    *out = (File){at, size, name};
    return KILN_OK;
}

void file_unmap(File *f)
{
    if (f->bytes) munmap((void *)(uintptr_t)f->bytes, f->size);
    free((void *)(uintptr_t)f->path);
    *f = (File){0};
}

KilnStatus file_read(const char *path, StrBuf *out, Diag *diag)
{
    int fd = -1;
    size_t size = 0;
    KilnStatus st = open_regular(path, &fd, &size, diag);
    if (st != KILN_OK) return st;
    char chunk[1 << 16];
    ssize_t got;
    while ((got = read(fd, chunk, sizeof chunk)) > 0)
        strbuf_add(out, chunk, (size_t)got);
    int error = errno;
    close(fd);
    if (got < 0)
        return fail(diag, KILN_ERR_IO, "K101", "%s: cannot be read: %s", path, strerror(error));
    if (out->failed)
        return fail(diag, KILN_ERR_NOMEM, "K102", "%s: no memory for %zu bytes", path, size);
    return KILN_OK;
}

static bool write_all(int fd, const char *data, size_t size)
{
    while (size) {
        ssize_t n = write(fd, data, size);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        data += n;
        size -= (size_t)n;
    }
    return true;
}

KilnStatus file_replace(const char *path, const void *data, size_t size, Diag *diag)
{
    StrBuf temp = {0};
    strbuf_printf(&temp, "%s.XXXXXX", path);
    if (temp.failed) return fail(diag, KILN_ERR_NOMEM, "K102", "%s: no memory for its name", path);
    int fd = mkostemp(temp.data, O_CLOEXEC);
    bool ok = fd >= 0 && write_all(fd, data, size) && fchmod(fd, 0644) == 0;
    if (fd >= 0) ok &= close(fd) == 0;
    ok = ok && rename(temp.data, path) == 0;
    int error = errno;
    if (!ok && fd >= 0) unlink(temp.data);
    strbuf_free(&temp);
    return ok ? KILN_OK
              : fail(diag, KILN_ERR_IO, "K103", "%s: cannot be written: %s", path, strerror(error));
}

bool file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

bool file_is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

KilnStatus file_make_dirs(const char *path, Diag *diag)
{
    char *copy = strdup(path);
    if (!copy) return fail(diag, KILN_ERR_NOMEM, "K102", "%s: no memory for its name", path);
    for (char *slash = copy + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = 0;
        mkdir(copy, 0755);
        *slash = '/';
    }
    bool ok = mkdir(copy, 0700) == 0 || errno == EEXIST;
    int error = errno;
    free(copy);
    return ok && file_is_dir(path) ? KILN_OK
                                   : fail(diag, KILN_ERR_IO, "K103", "%s: cannot be created: %s",
                                          path, strerror(error));
}
