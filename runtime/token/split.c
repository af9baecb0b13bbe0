// runtime/token/split.c - the one file that knows PCRE2.
//
// `\s` is spelled out: PCRE2's also takes U+180E, which lost White_Space in Unicode 6.3 and which
// the reference implementations do not split at.
#include "runtime/token/split.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "runtime/format/guard.h"

struct Splitter {
    Heap *heap;
    pcre2_general_context *memory;
    pcre2_code *code;
};

#define S_SET                                                                                      \
    "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}"    \
    "\\x{205f}\\x{3000}"
#define S       "[" S_SET "]"
#define NOT_S   "[^" S_SET "]"
#define NOT_SLN "[^" S_SET "\\p{L}\\p{N}]"

// clang-format off
static const struct {
    const char *regex; ///< as tokenizer.json spells it; NULL: it has another name there
    const char *pcre;
} patterns[SPLIT_COUNT] = {
    [SPLIT_GPT2] = {
        "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
        "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?" NOT_SLN "+|" S "+(?!" NOT_S ")|" S "+"},
    [SPLIT_LLAMA3] = {
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}"
        "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}"
        "| ?" NOT_SLN "+[\\r\\n]*|" S "*[\\r\\n]+|" S "+(?!" NOT_S ")|" S "+"},
    [SPLIT_QWEN2] = {
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}"
        "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}"
        "| ?" NOT_SLN "+[\\r\\n]*|" S "*[\\r\\n]+|" S "+(?!" NOT_S ")|" S "+"},
    [SPLIT_DIGIT] = {NULL, "\\p{N}"},
    [SPLIT_DIGITS] = {NULL, "\\p{N}+"},
};

static const struct {
    const char *name; ///< in tokenizer.ggml.pre
    int32_t n;
    SplitPattern steps[SPLIT_STEPS_MAX];
} names[] = {
    {"gpt-2",            1, {SPLIT_GPT2}},
    {"llama-bpe",        1, {SPLIT_LLAMA3}},
    {"llama3",           1, {SPLIT_LLAMA3}},
    {"llama-v3",         1, {SPLIT_LLAMA3}},
    {"qwen2",            1, {SPLIT_QWEN2}},
    {"deepseek-r1-qwen", 1, {SPLIT_QWEN2}},
    {"smollm",           2, {SPLIT_DIGIT, SPLIT_GPT2}},
};
// clang-format on

bool split_by_regex(Str regex, SplitPattern *out)
{
    for (int32_t i = 0; i < SPLIT_COUNT; i++) {
        if (!patterns[i].regex || !str_is(regex, patterns[i].regex)) continue;
        *out = (SplitPattern)i;
        return true;
    }
    return false;
}

int32_t split_by_name(Str name, SplitPattern out[SPLIT_STEPS_MAX])
{
    for (int32_t i = 0; i < COUNT_OF(names); i++) {
        if (!str_is(name, names[i].name)) continue;
        memcpy(out, names[i].steps, sizeof names[i].steps);
        return names[i].n;
    }
    return 0;
}

static void *take(PCRE2_SIZE size, void *heap)
{
    return heap_alloc(heap, size, _Alignof(max_align_t));
}

static void give(void *ptr, void *heap)
{
    heap_free(heap, ptr);
}

KilnStatus splitter_open(SplitPattern pattern, Heap *heap, Splitter **out, Diag *diag)
{
    int error = 0;
    PCRE2_SIZE at = 0;
    *out = NULL;
    Splitter *s = heap_new(heap, Splitter);
    if (!s) goto no_memory;
    s->heap = heap;
    s->memory = pcre2_general_context_create(take, give, heap);
    if (!s->memory) goto no_memory;
    pcre2_compile_context *cx = pcre2_compile_context_create(s->memory);
    if (!cx) goto no_memory;
    s->code = pcre2_compile((PCRE2_SPTR)patterns[pattern].pcre, PCRE2_ZERO_TERMINATED,
                            PCRE2_UTF | PCRE2_UCP, &error, &at, cx);
    pcre2_compile_context_free(cx);
    if (!s->code && error != PCRE2_ERROR_HEAP_FAILED)
        BUG("pattern %d does not compile: error %d", (int)pattern, error);
    if (!s->code) goto no_memory;
    (void)pcre2_jit_compile(s->code,
                            PCRE2_JIT_COMPLETE); // without executable memory the interpreter does
    *out = s;
    return KILN_OK;
no_memory:
    splitter_close(s);
    return fail(diag, KILN_ERR_NOMEM, "K102", "no memory for the tokenizer's splitting pattern");
}

void splitter_close(Splitter *s)
{
    if (!s) return;
    Heap *heap = s->heap;
    pcre2_code_free(s->code);
    pcre2_general_context_free(s->memory);
    heap_free(heap, s);
}

/// Steps and memory are bounded by a multiple of the text.
static pcre2_match_context *limits(const Splitter *s, size_t len)
{
    pcre2_match_context *cx = pcre2_match_context_create(s->memory);
    if (!cx) return NULL;
    pcre2_set_match_limit(cx, (uint32_t)MIN(len * 8 + 10000, (size_t)UINT32_MAX));
    pcre2_set_heap_limit(cx, (uint32_t)MIN(len + 20000, (size_t)UINT32_MAX)); // KiB
    return cx;
}

/// The next match at or after `at`. The machine stack of the JIT code is small: the interpreter
/// takes over.
static int match(const Splitter *s, Str text, size_t at, pcre2_match_data *data,
                 pcre2_match_context *cx)
{
    int n = pcre2_match(s->code, (PCRE2_SPTR)text.data, text.len, at, PCRE2_NO_UTF_CHECK, data, cx);
    if (n != PCRE2_ERROR_JIT_STACKLIMIT) return n;
    return pcre2_match(s->code, (PCRE2_SPTR)text.data, text.len, at,
                       PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data, cx);
}

typedef struct Run {
    const Splitter *s;
    Str text;
    Arena *arena;
    Words *out;
    pcre2_match_data *data;
    pcre2_match_context *limits;
} Run;

static KilnStatus split_all(void *cx, Diag *diag)
{
    Run *r = cx;
    for (size_t at = 0; at < r->text.len;) {
        int n = match(r->s, r->text, at, r->data, r->limits);
        size_t begin = r->text.len, end = r->text.len;
        if (n >= 0) {
            const PCRE2_SIZE *range = pcre2_get_ovector_pointer(r->data);
            begin = range[0];
            end = range[1];
        } else if (n != PCRE2_ERROR_NOMATCH) {
            return fail(
                diag, n == PCRE2_ERROR_NOMEMORY ? KILN_ERR_NOMEM : KILN_ERR_LIMIT, "K222",
                "splitting a text of %zu bytes into words failed at byte %zu (PCRE2 error %d)",
                r->text.len, at, n);
        }
        ASSERT(end > at); // no pattern of ours matches nothing
        if (begin > at) vec_push(r->arena, r->out, (Str){r->text.data + at, begin - at});
        if (end > begin) vec_push(r->arena, r->out, (Str){r->text.data + begin, end - begin});
        at = end;
    }
    return KILN_OK;
}

KilnStatus splitter_run(const Splitter *s, Str text, Arena *arena, Words *out, Diag *diag)
{
    if (!text.len) return KILN_OK;
    Run r = {s,
             text,
             arena,
             out,
             pcre2_match_data_create_from_pattern(s->code, s->memory),
             limits(s, text.len)};
    KilnStatus st = r.data && r.limits
                        ? guard_run(arena, split_all, &r, "splitting a text", diag)
                        : fail(diag, KILN_ERR_NOMEM, "K102", "no memory to split a text");
    pcre2_match_context_free(r.limits);
    pcre2_match_data_free(r.data);
    return st;
}
