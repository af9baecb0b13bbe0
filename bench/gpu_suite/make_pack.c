// bench/gpu_suite/make_pack.c - kiln_gpu_pack: runs every card's cases in the interpreter and stores what came out.
//
//   kiln_gpu_pack OUT [cases per card]
#include <stdlib.h>

#include "base/file.h"
#include "bench/gpu_suite/cards.h"

static KilnStatus store_card(const char *file, const Source *source, const Card *card,
                             int32_t n_cases, PackWriter *w, Diag *diag)
{
    KilnStatus st = KILN_OK;
    static const Target interp = {.kind = TARGET_INTERP};
    Code code = {0};
    Image *image = NULL;
    Case before = {0}, after = {0};
    TRY(compile_kernel(source, &card->spec, &interp, NULL, &code, diag));
    TRY(image_load(&code, source, &card->spec, &image, diag));
    for (int32_t i = 0; i < n_cases; i++) {
        MemRange ranges[CODE_MAX_PARAMS];
        int32_t n_ranges = 0;
        TRY(case_make(card, &code, suite_seed(i), &before, diag));
        TRY(case_copy(&before, &code, &after, diag));
        for (int32_t k = 0; k < card->spec.n_params; k++)
            if (after.buffers[k].at)
                ranges[n_ranges++] = (MemRange){after.buffers[k].at, after.buffers[k].bytes,
                                                card->spec.params[k].name};
        if (case_programs(&after))
            TRY(image_run(image, after.args, &after.grid, 0, case_programs(&after), n_ranges,
                          ranges, diag));
        pack_add(w, pack_key(file, card, suite_seed(i)), &before, &after);
        case_free(&before), case_free(&after);
        memset(&before, 0, sizeof before), memset(&after, 0, sizeof after);
    }
done:
    case_free(&before), case_free(&after);
    image_free(image);
    code_free(&code);
    return st;
}

int main(int argc, char **argv)
{
    KilnStatus st = KILN_OK;
    Diag diag;
    Arena arena;
    PackWriter w = {0};
    StrBuf out = {0};
    diag_init(&diag, heap_default());
    arena_init(&arena, heap_default());
    if (argc < 2) return fprintf(stderr, "usage: kiln_gpu_pack OUT [cases per card]\n"), 2;
    int32_t n_cases = w.n_cases = argc > 2 ? MAX(atoi(argv[2]), 1) : 4;
    for (int32_t f = 0; f < kernel_n_texts; f++) {
        Source *source;
        Card *cards;
        int32_t n;
        TRY(source_from_text(kernel_texts[f].name,
                             (Str){kernel_texts[f].text, kernel_texts[f].size}, &source, &diag));
        TRY(source_cards(source, NULL, &arena, &n, &cards, &diag));
        for (int32_t i = 0; i < n; i++)
            TRY(store_card(kernel_texts[f].name, source, &cards[i], n_cases, &w, &diag));
        source_close(source);
    }
    fprintf(stderr, "kiln_gpu_pack: %d cases, %zu bytes", w.n, w.bytes.len);
    TRY(pack_finish(&w, &out, &diag));
    fprintf(stderr, ", %zu stored\n", out.len);
    st = file_replace(argv[1], out.data, out.len, &diag);
done:;
    StrBuf text = {0};
    diag_render(&diag, &text);
    if (text.len) fputs(text.data, stderr);
    strbuf_free(&text), strbuf_free(&out), strbuf_free(&w.bytes);
    arena_reset(&arena);
    diag_reset(&diag);
    return st == KILN_OK ? 0 : 1;
}
