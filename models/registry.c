// models/registry.c - from the architecture's name in a file to its row.
#include "models/transformer.h"

static const Architecture *const architectures[] = {&arch_llama, &arch_mistral};

KilnStatus model_open(const char *path, const ModelOptions *options, Model **out, Diag *diag)
{
    KilnStatus st = KILN_OK;
    ModelFile *file = NULL;
    const Architecture *arch = NULL;
    *out = NULL;
    TRY(model_file_open(path, options->heap ? options->heap : heap_default(), &file, diag));
    const char *name = model_file_config(file)->arch;
    for (int32_t i = 0; i < COUNT_OF(architectures); i++)
        if (!strcmp(architectures[i]->name, name)) arch = architectures[i];
    if (!arch)
        TRY(fail_hint(diag, KILN_ERR_UNSUPPORTED, "K205", "supported: llama, mistral",
                      "%s: architecture \"%s\" is not supported", path, name));
    TRY(transformer_open(arch, file, options, out, diag));
    file = NULL;
done:
    model_file_close(file);
    return st;
}
