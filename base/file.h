// base/file.h - map, read, and replace by rename. Every failure is a status and a K diagnostic.
#ifndef BASE_FILE_H
#define BASE_FILE_H
#include "base/diag.h"

/// A read-only mapping of a whole file.
typedef struct File {
    const uint8_t *bytes; ///< NULL when the file is empty
    size_t size;
    const char *path; ///< owned by the File
} File;

/// Maps `path` read-only. @return KILN_OK; KILN_ERR_IO with K101 when it cannot be opened or is no regular file
MUST_USE KilnStatus file_map(const char *path, File *out, Diag *diag);
/// A File that was never mapped (all zero) is fine.
void file_unmap(File *f);

/// Reads a whole file into `out` (appended). @return as file_map
MUST_USE KilnStatus file_read(const char *path, StrBuf *out, Diag *diag);
/// Writes to a temporary name beside `path`, then renames: readers see the old file or the new one.
MUST_USE KilnStatus file_replace(const char *path, const void *data, size_t size, Diag *diag);
bool file_exists(const char *path);
bool file_is_dir(const char *path);
/// Creates `path` and its parents, mode 0700 for the last. @return KILN_OK when it exists afterwards
MUST_USE KilnStatus file_make_dirs(const char *path, Diag *diag);
#endif
