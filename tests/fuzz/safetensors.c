// tests/fuzz/safetensors.c - any bytes as a safetensors file; accepted tensors lie inside it and
// cover it.
#include <stdlib.h>

#include "runtime/format/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Heap heap;
    Diag diag;
    Safetensors *s = NULL;
    heap_init(&heap);
    diag_init(&diag, heap_default());
    if (safetensors_read((Str){(const char *)data, size}, "fuzz.safetensors", &heap, &s, &diag) ==
        KILN_OK) {
        for (int32_t i = 0; i < safetensors_n_tensors(s); i++) {
            const SafeTensor *t = safetensors_tensor(s, i);
            const uint8_t *at = t->data;
            if (at < data || at > data + size || t->size > (size_t)(data + size - at)) abort();
            if (safetensors_find(s, t->name) != t) abort();
        }
    } else if (diag.n_errors == 0) {
        abort();
    }
    safetensors_close(s);
    diag_reset(&diag);
    if (heap.n_live) abort();
    return 0;
}
