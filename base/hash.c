#include "base/hash.h"

#include <stdio.h>
#include <xxhash.h>

Hash128 hash_bytes(const void *data, size_t len)
{
    XXH128_hash_t h = XXH3_128bits(data, len);
    return (Hash128){h.low64, h.high64};
}

void hash_hex(Hash128 h, char out[33])
{
    snprintf(out, 33, "%016llx%016llx", (unsigned long long)h.hi, (unsigned long long)h.lo);
}

void hasher_add(Hasher *h, const void *data, size_t len)
{
    uint64_t n = len;
    strbuf_add(&h->bytes, (const char *)&n, sizeof n);
    strbuf_add(&h->bytes, data, len);
}

void hasher_add_text(Hasher *h, const char *text)
{
    hasher_add(h, text, strlen(text));
}

void hasher_add_int(Hasher *h, int64_t value)
{
    hasher_add(h, &value, sizeof value);
}

Hash128 hasher_finish(Hasher *h)
{
    Hash128 out = hash_bytes(h->bytes.data, h->bytes.len);
    strbuf_free(&h->bytes);
    return out;
}
