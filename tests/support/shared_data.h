// tests/support/shared_data.h - optional data beside the checkout: read it, or skip with a message.
#ifndef TESTS_SUPPORT_SHARED_DATA_H
#define TESTS_SUPPORT_SHARED_DATA_H
#include <criterion/criterion.h>

#include "base/file.h"

/// The bytes of a file under KILN_SHARED_DATA; skips the test when there is none. Freed by
/// strbuf_free().
static inline StrBuf shared_text(const char *name)
{
    StrBuf path = {0}, text = {0};
    strbuf_printf(&path, "%s/%s", KILN_SHARED_DATA, name);
    if (!file_exists(path.data))
        cr_skip("%s is not here: set KILN_SHARED_DATA to the directory that holds it", name);
    cr_assert_eq(file_read(path.data, &text, NULL), KILN_OK, "%s", path.data);
    strbuf_free(&path);
    return text;
}

/// The path of a file or directory under KILN_SHARED_DATA; skips the test when there is none. Freed
/// by strbuf_free().
static inline StrBuf shared_path(const char *name)
{
    StrBuf path = {0};
    strbuf_printf(&path, "%s/%s", KILN_SHARED_DATA, name);
    if (!file_exists(path.data))
        cr_skip("%s is not here: set KILN_SHARED_DATA to the directory that holds it", name);
    return path;
}
#endif
