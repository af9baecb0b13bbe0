// tests/base/test_file.c - mapping, replacing, and the messages of what cannot be opened.
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"

static char dir[64];
static Diag diag;

static void up(void)
{
    strcpy(dir, "/tmp/kiln-file-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    diag_init(&diag, heap_default());
}

static void down(void)
{
    diag_reset(&diag);
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    cr_assert_eq(system(command), 0);
}

TestSuite(file, .init = up, .fini = down);

Test(file, what_was_replaced_is_what_is_mapped)
{
    char path[128];
    snprintf(path, sizeof path, "%s/a/b", dir);
    cr_assert_eq(file_make_dirs(path, &diag), KILN_OK);
    strcat(path, "/f");
    for (int round = 0; round < 2; round++) {
        char text[32];
        int n = snprintf(text, sizeof text, "round %d", round);
        cr_assert_eq(file_replace(path, text, (size_t)n, &diag), KILN_OK);
        File f;
        cr_assert_eq(file_map(path, &f, &diag), KILN_OK);
        cr_expect(str_eq((Str){(const char *)f.bytes, f.size}, str_of(text)));
        file_unmap(&f);
    }
}

Test(file, missing_files_and_directories_are_errors_that_name_them)
{
    File f;
    cr_expect_eq(file_map("/nonexistent/x", &f, &diag), KILN_ERR_IO);
    cr_expect_not_null(strstr(diag_first(&diag), "/nonexistent/x"));
    cr_expect_eq(file_map(dir, &f, &diag), KILN_ERR_IO);
    StrBuf text = {0};
    cr_expect_eq(file_read(dir, &text, &diag), KILN_ERR_IO);
    strbuf_free(&text);
    cr_expect_eq(file_replace("/nonexistent/x", "a", 1, &diag), KILN_ERR_IO);
}

Test(file, an_empty_file_maps_to_nothing)
{
    char path[128];
    snprintf(path, sizeof path, "%s/empty", dir);
    cr_assert_eq(file_replace(path, "", 0, &diag), KILN_OK);
    File f;
    cr_assert_eq(file_map(path, &f, &diag), KILN_OK);
    cr_expect_eq(f.size, 0);
    file_unmap(&f);
}
