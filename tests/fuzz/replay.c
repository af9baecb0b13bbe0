// tests/fuzz/replay.c - a main for builds without libFuzzer: runs every file of the directories it
// is given, in order of name.
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int is_file(const struct dirent *e)
{
    return e->d_name[0] != '.';
}

static int replay(const char *dir)
{
    struct dirent **names;
    int n = scandir(dir, &names, is_file, alphasort);
    for (int i = 0; i < n; i++) {
        StrBuf path = {0}, bytes = {0};
        strbuf_printf(&path, "%s/%s", dir, names[i]->d_name);
        if (file_read(path.data, &bytes, NULL) == KILN_OK) {
            char *exact = malloc(bytes.len ? bytes.len : 1); // no slack behind the bytes
            if (!exact) abort();
            if (bytes.len) memcpy(exact, bytes.data, bytes.len);
            LLVMFuzzerTestOneInput((const uint8_t *)exact, bytes.len);
            free(exact);
        }
        strbuf_free(&bytes);
        strbuf_free(&path);
        free(names[i]);
    }
    if (n >= 0) free(names);
    return n;
}

int main(int argc, char **argv)
{
    int n = 0;
    for (int i = 1; i < argc; i++)
        n += replay(argv[i]);
    printf("%d inputs\n", n);
    return n > 0 ? 0 : 1;
}
