// runtime/format/hfdir.h - a Hugging Face directory: configuration texts and one or several
// safetensors.
//
//   config.json  generation_config.json  model.safetensors
//   or model.safetensors.index.json --> model-00001-of-00003.safetensors ...
//
// The index may name only plain files of the directory. Each is opened once.
//
// Source   the layout that transformers' save_pretrained() writes
// Tests    tests/runtime/format/test_weights.c
#ifndef RUNTIME_FORMAT_HFDIR_H
#define RUNTIME_FORMAT_HFDIR_H
#include "runtime/format/config.h"
#include "runtime/format/safetensors.h"

enum { HFDIR_SHARDS_MAX = 9999 };

typedef struct HfDir HfDir;

/// @param out  owned by the caller: hfdir_close(); NULL unless KILN_OK
/// @return KILN_OK; KILN_ERR_INPUT: K204, K208-K210; KILN_ERR_UNSUPPORTED: K205; KILN_ERR_IO;
///         KILN_ERR_NOMEM
MUST_USE KilnStatus hfdir_open(const char *dir, Heap *heap, HfDir **out, Diag *diag);
/// NULL is fine.
void hfdir_close(HfDir *d);

const ModelConfig *hfdir_config(const HfDir *d);
/// A tensor by the name the files use. @return NULL when there is none
const SafeTensor *hfdir_find(const HfDir *d, const char *name);
/// All tensors that the index (or the one file) lists.
int32_t hfdir_n_tensors(const HfDir *d);
const SafeTensor *hfdir_tensor(const HfDir *d, int32_t i);
int32_t hfdir_n_shards(const HfDir *d);
#endif
