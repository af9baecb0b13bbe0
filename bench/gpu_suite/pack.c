// bench/gpu_suite/pack.c - see pack.h.
#include "bench/gpu_suite/pack.h"

#include <stdlib.h>
#include <zstd.h>

static const char magic[8] = {'K', 'I', 'L', 'N', 'P', 'A', 'C', 'K'};
enum { HEADER = 8 + 8 + 4 + 4, MOST_BYTES = 1 << 30 };

Hash128 pack_key(const char *file, const Card *card, uint64_t seed)
{
    Arena a;
    Hasher h = {0};
    arena_init(&a, heap_default());
    hasher_add_text(&h, file);
    hasher_add_text(&h, spec_text(&a, &card->spec));
    for (int32_t i = 0; i < card->n_lets; i++) {
        hasher_add_text(&h, card->lets[i].name);
        hasher_add_text(&h, card->lets[i].text);
    }
    for (int32_t i = 0; i < 3; i++)
        hasher_add_text(&h, card->grid[i] ? card->grid[i] : "1");
    hasher_add_int(&h, (int64_t)seed);
    arena_reset(&a);
    return hasher_finish(&h);
}

static void put_u32(StrBuf *b, uint32_t v)
{
    for (int32_t i = 0; i < 4; i++)
        strbuf_putc(b, (char)(v >> 8 * i));
}

static uint32_t get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

// ---- writing ------------------------------------------------------------------------------------

void pack_add(PackWriter *w, Hash128 key, const Case *before, const Case *after)
{
    uint32_t n = 0;
    for (int32_t i = 0; i < CODE_MAX_PARAMS; i++)
        n += before->buffers[i].bytes > 0;
    strbuf_add(&w->bytes, (const char *)&key, sizeof key);
    put_u32(&w->bytes, n);
    for (int32_t i = 0; i < CODE_MAX_PARAMS; i++) {
        const CaseBuffer *b = &before->buffers[i], *a = &after->buffers[i];
        if (!b->bytes) continue;
        put_u32(&w->bytes, (uint32_t)i);
        put_u32(&w->bytes, (uint32_t)b->bytes);
        for (size_t k = 0; k < b->bytes; k++)
            strbuf_putc(&w->bytes, (char)(b->at[k] ^ a->at[k]));
    }
    w->n++;
}

KilnStatus pack_finish(PackWriter *w, StrBuf *out, Diag *diag)
{
    KilnStatus st = KILN_OK;
    char *packed = NULL;
    size_t cap = ZSTD_compressBound(w->bytes.len), n = 0;
    if (w->bytes.failed || !(packed = malloc(cap + 1)))
        TRY(fail(diag, KILN_ERR_NOMEM, "K102", "no memory for stored results"));
    ZSTD_CCtx *z = ZSTD_createCCtx();
    (void)ZSTD_CCtx_setParameter(z, ZSTD_c_compressionLevel, 12);
    (void)ZSTD_CCtx_setParameter(z, ZSTD_c_checksumFlag, 1);
    n = ZSTD_compress2(z, packed, cap, w->bytes.data, w->bytes.len);
    ZSTD_freeCCtx(z);
    if (ZSTD_isError(n)) TRY(fail(diag, KILN_ERR_INPUT, "K901", "zstd: %s", ZSTD_getErrorName(n)));
    strbuf_add(out, magic, sizeof magic);
    put_u32(out, (uint32_t)w->bytes.len);
    put_u32(out, (uint32_t)((uint64_t)w->bytes.len >> 32));
    put_u32(out, (uint32_t)w->n);
    put_u32(out, (uint32_t)w->n_cases);
    strbuf_add(out, packed, n);
done:
    free(packed);
    strbuf_free(&w->bytes);
    return st;
}

// ---- reading ------------------------------------------------------------------------------------

KilnStatus pack_open(const void *bytes, size_t size, Pack *out, Diag *diag)
{
    const uint8_t *p = bytes;
    memset(out, 0, sizeof *out);
    if (size < HEADER || memcmp(p, magic, sizeof magic) != 0 || get_u32(p + 12) != 0 ||
        get_u32(p + 8) > MOST_BYTES)
        return fail(diag, KILN_ERR_INPUT, "K901", "the stored results are damaged");
    out->size = get_u32(p + 8);
    out->n = (int32_t)get_u32(p + 16);
    out->n_cases = (int32_t)get_u32(p + 20);
    out->bytes = malloc(out->size + 1);
    if (!out->bytes) return fail(diag, KILN_ERR_NOMEM, "K102", "no memory for stored results");
    size_t n = ZSTD_decompress(out->bytes, out->size, p + HEADER, size - HEADER);
    if (n == out->size) return KILN_OK;
    pack_close(out);
    return fail(diag, KILN_ERR_INPUT, "K901", "the stored results are damaged: %s",
                ZSTD_isError(n) ? ZSTD_getErrorName(n) : "too short");
}

void pack_close(Pack *p)
{
    free(p->bytes);
    memset(p, 0, sizeof *p);
}

/// The buffers of `key`; `*n` of them. The bytes were checked by zstd.
static uint8_t *find(const Pack *p, Hash128 key, uint32_t *n)
{
    uint8_t *at = p->bytes;
    for (int32_t i = 0; i < p->n; i++) {
        bool is_it = !memcmp(at, &key, sizeof key);
        uint32_t buffers = get_u32(at + 16);
        at += 20;
        if (is_it) {
            *n = buffers;
            return at;
        }
        for (uint32_t k = 0; k < buffers; k++)
            at += 8 + get_u32(at + 4);
    }
    return NULL;
}

bool pack_apply(const Pack *p, Hash128 key, Case *c)
{
    uint32_t n = 0;
    const uint8_t *at = find(p, key, &n);
    for (uint32_t k = 0; at && k < n; k++) {
        uint32_t i = get_u32(at), bytes = get_u32(at + 4);
        if (i >= CODE_MAX_PARAMS || c->buffers[i].bytes != bytes) return false;
        for (uint32_t b = 0; b < bytes; b++)
            c->buffers[i].at[b] ^= at[8 + b];
        at += 8 + bytes;
    }
    return at != NULL;
}

bool pack_flip(Pack *p)
{
    uint8_t *at = p->bytes;
    for (int32_t i = 0; i < p->n; i++) {
        uint32_t buffers = get_u32(at + 16);
        at += 20;
        for (uint32_t k = 0; k < buffers; k++) {
            uint32_t bytes = get_u32(at + 4);
            if (bytes >=
                64) { // the highest byte of its last element: sign and exponent, or 2^24 of an integer
                at[8 + bytes - 1] ^= 0x5a;
                return true;
            }
            at += 8 + bytes;
        }
    }
    return false;
}
