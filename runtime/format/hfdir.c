// runtime/format/hfdir.c - which file holds which tensor.
#include "runtime/format/hfdir.h"

#include "base/file.h"
#include "base/map.h"
#include "runtime/format/guard.h"
#include "runtime/format/json.h"

struct HfDir {
    Heap *heap;
    Arena arena;
    const char *path;
    File config_file, generation_file, index_file; ///< mapped only while opening
    JsonDoc index;                                 ///< the same
    ModelConfig config;
    Safetensors **shards;
    const char **shard_names;
    int32_t n_shards;
    Map tensors; ///< name to SafeTensor
};

static Str text_of(const File *f)
{
    return (Str){(const char *)f->bytes, f->size};
}

static const char *inside(HfDir *d, const char *name)
{
    return arena_printf(&d->arena, "%s/%s", d->path, name);
}

static KilnStatus read_config(HfDir *d, Diag *diag)
{
    KilnStatus st = KILN_OK;
    const char *path = inside(d, "config.json"), *generation = inside(d, "generation_config.json");
    if (!file_exists(path))
        return fail_hint(diag, KILN_ERR_INPUT, "K204",
                         "give a directory with config.json, tokenizer.json and model.safetensors, "
                         "or a .gguf file",
                         "%s: config.json is missing from this directory", d->path);
    TRY(file_map(path, &d->config_file, diag));
    if (file_exists(generation)) TRY(file_map(generation, &d->generation_file, diag));
    TRY(config_from_hf(text_of(&d->config_file), path, text_of(&d->generation_file), generation,
                       d->heap, &d->config, diag));
done:
    return st;
}

/// File names from an index are a stranger's: only plain names of this directory.
static bool is_plain_name(Str name)
{
    if (name.len == 0 || name.len > 255 || name.data[0] == '.') return false;
    for (size_t i = 0; i < name.len; i++)
        if (name.data[i] == '/' || name.data[i] == '\\' || (uint8_t)name.data[i] < 0x20)
            return false;
    return str_ends(name, ".safetensors");
}

static KilnStatus open_shard(HfDir *d, Str name, Diag *diag)
{
    char *copy = arena_strndup(&d->arena, name.data, name.len);
    KilnStatus st = safetensors_open(inside(d, copy), d->heap, &d->shards[d->n_shards], diag);
    if (st != KILN_OK) return st;
    d->shard_names[d->n_shards++] = copy;
    return KILN_OK;
}

static void list_tensors(HfDir *d, const Safetensors *s)
{
    for (int32_t i = 0; i < safetensors_n_tensors(s); i++) {
        const SafeTensor *t = safetensors_tensor(s, i);
        map_put(&d->arena, &d->tensors, str_of(t->name), (void *)(uintptr_t)t);
    }
}

static void room_for_shards(HfDir *d, int32_t n)
{
    d->shards = arena_array(&d->arena, Safetensors *, n);
    d->shard_names = arena_array(&d->arena, const char *, n);
}

/// Opens every file that the weight map names, in order of first mention. `files`: name to 1 +
/// shard number.
static KilnStatus open_shards(HfDir *d, const JsonValue *weight_map, Map *files, Diag *diag)
{
    JsonIter it = {0};
    while (jval_next(weight_map, &it)) {
        Str name = jval_text(it.value);
        if (!is_plain_name(name))
            return fail(
                diag, KILN_ERR_INPUT, "K210",
                "%s: weight_map names a file that is no plain *.safetensors name of this directory",
                d->index.path);
        if (map_find(files, name) >= 0) continue;
        if (files->len == HFDIR_SHARDS_MAX)
            return fail(diag, KILN_ERR_INPUT, "K210", "%s: more than %d files", d->index.path,
                        HFDIR_SHARDS_MAX);
        map_put(&d->arena, files, name, NULL);
    }
    room_for_shards(d, files->len);
    for (int32_t i = 0; i < files->len; i++) {
        KilnStatus st = open_shard(d, files->entries[i].key, diag);
        if (st != KILN_OK) return st;
        files->entries[i].value = d->shards[i];
    }
    return KILN_OK;
}

static KilnStatus read_weight_map(HfDir *d, const JsonValue *weight_map, Diag *diag)
{
    Map files = {0};
    JsonIter it = {0};
    KilnStatus st = open_shards(d, weight_map, &files, diag);
    if (st != KILN_OK) return st;
    while (jval_next(weight_map, &it)) {
        const Safetensors *s = map_get(&files, jval_text(it.value));
        const char *name = arena_strndup(&d->arena, it.key.data, it.key.len);
        const SafeTensor *t = safetensors_find(s, name);
        if (!t)
            return fail(diag, KILN_ERR_INPUT, "K204",
                        "%s: tensor %s is missing, %s says it is there", safetensors_path(s), name,
                        d->index.path);
        map_put(&d->arena, &d->tensors, str_of(t->name), (void *)(uintptr_t)t);
    }
    for (int32_t i = 0; i < d->n_shards; i++)
        for (int32_t j = 0; j < safetensors_n_tensors(d->shards[i]); j++) {
            const SafeTensor *t = safetensors_tensor(d->shards[i], j),
                             *listed = map_get(&d->tensors, str_of(t->name));
            if (listed && listed != t)
                return fail(diag, KILN_ERR_INPUT, "K210", "%s: tensor %s is in two files", d->path,
                            t->name);
        }
    return KILN_OK;
}

static KilnStatus read_weights(HfDir *d, Diag *diag)
{
    KilnStatus st = KILN_OK;
    const char *single = inside(d, "model.safetensors"),
               *index = inside(d, "model.safetensors.index.json");
    if (file_exists(single)) {
        room_for_shards(d, 1);
        TRY(open_shard(d, STR("model.safetensors"), diag));
        list_tensors(d, d->shards[0]);
        return KILN_OK;
    }
    if (!file_exists(index))
        return fail_hint(
            diag, KILN_ERR_INPUT, "K204",
            file_exists(inside(d, "pytorch_model.bin"))
                ? "pytorch_model.bin is not read (pickle runs code); convert it to safetensors"
                : "weights must be in safetensors form",
            "%s: neither model.safetensors nor model.safetensors.index.json is in this directory",
            d->path);
    TRY(file_map(index, &d->index_file, diag));
    TRY(jsondoc_read(text_of(&d->index_file), index, JSON_STRICT, d->heap, &d->index, diag));
    const JsonValue *weight_map = jval_get(d->index.root, "weight_map");
    if (jval_kind(weight_map) != JKIND_OBJECT || jval_len(weight_map) == 0)
        return fail(diag, KILN_ERR_INPUT, "K210", "%s: weight_map is missing, empty or no object",
                    index);
    TRY(read_weight_map(d, weight_map, diag));
done:
    return st;
}

typedef struct Opening {
    HfDir *d;
    const char *dir;
} Opening;

static KilnStatus open_guarded(void *cx, Diag *diag)
{
    Opening *o = cx;
    size_t len = strlen(o->dir);
    while (len > 1 && o->dir[len - 1] == '/')
        len--;
    o->d->path = arena_strndup(&o->d->arena, o->dir, len);
    KilnStatus st = read_config(o->d, diag);
    return st == KILN_OK ? read_weights(o->d, diag) : st;
}

KilnStatus hfdir_open(const char *dir, Heap *heap, HfDir **out, Diag *diag)
{
    *out = NULL;
    HfDir *d = heap_new(heap, HfDir);
    if (!d) return fail(diag, KILN_ERR_NOMEM, "K102", "%s: no memory to open it", dir);
    d->heap = heap;
    arena_init(&d->arena, heap);
    Opening o = {d, dir};
    KilnStatus st = guard_run(&d->arena, open_guarded, &o, dir, diag);
    jsondoc_close(&d->index);
    file_unmap(&d->index_file);
    file_unmap(&d->generation_file);
    file_unmap(&d->config_file);
    if (st == KILN_OK)
        *out = d;
    else
        hfdir_close(d);
    return st;
}

void hfdir_close(HfDir *d)
{
    if (!d) return;
    Heap *heap = d->heap;
    for (int32_t i = 0; i < d->n_shards; i++)
        safetensors_close(d->shards[i]);
    arena_reset(&d->arena);
    heap_free(heap, d);
}

const ModelConfig *hfdir_config(const HfDir *d)
{
    return &d->config;
}

const SafeTensor *hfdir_find(const HfDir *d, const char *name)
{
    return map_get(&d->tensors, str_of(name));
}

int32_t hfdir_n_tensors(const HfDir *d)
{
    return d->tensors.len;
}

const SafeTensor *hfdir_tensor(const HfDir *d, int32_t i)
{
    return d->tensors.entries[i].value;
}

int32_t hfdir_n_shards(const HfDir *d)
{
    return d->n_shards;
}
