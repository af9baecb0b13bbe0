#include "compiler/lex.h"

#include <stdio.h>

// clang-format off
static const char *const token_texts[T_ID_COUNT] = {
    "",
    "**=", "//=", "<<=", ">>=", "...",
    "**", "//", "<<", ">>", "<=", ">=", "==", "!=", "->", ":=",
    "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "@=",
    "+", "-", "*", "/", "%", "&", "|", "^", "~", "<", ">", "=", "@",
    "(", ")", "[", "]", "{", "}", ",", ":", ".", ";", "!",
    "False", "None", "True", "and", "as", "assert", "async", "await", "break",
    "class", "continue", "def", "del", "elif", "else", "except", "finally", "for",
    "from", "global", "if", "import", "in", "is", "lambda", "nonlocal", "not",
    "or", "pass", "raise", "return", "try", "while", "with", "yield",
};
// clang-format on

const char *token_text(TokenId id)
{
    return token_texts[id];
}

/// The state of one scan. `at` never moves back, so a scan takes time linear in the text (f-string
/// fields are scanned once here and once when parsed).
typedef struct Lexer {
    Arena *arena;
    Str text;
    int32_t file, at, end;
    Tokens *out;
    Diag *diag;
    bool failed;
    struct {
        char open;
        int32_t at;
    } brackets[LEX_MAX_BRACKETS];
    int32_t n_brackets;
    int32_t indents[LEX_MAX_INDENT], alt_indents[LEX_MAX_INDENT]; ///< tabs to 8, and tabs as 1
    int32_t n_indents;
} Lexer;

static void lex_error(Lexer *lx, const char *code, int32_t begin, int32_t end, const char *text)
{
    if (!lx->failed) diag_add(lx->diag, DIAG_ERROR, code, (Span){lx->file, begin, end}, "%s", text);
    lx->failed = true;
}

/// The byte `ahead` of the current one, or 0 at the end.
static char peek(const Lexer *lx, int32_t ahead)
{
    return lx->at + ahead < lx->end ? lx->text.data[lx->at + ahead] : 0;
}

static void push(Lexer *lx, TokenKind kind, TokenId id, int32_t begin)
{
    vec_push(lx->arena, lx->out, (Token){kind, id, begin, lx->at});
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_name_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char)c >= 0x80;
}

static bool is_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static int32_t digit_value(char c)
{
    if (is_digit(c)) return c - '0';
    return (c | 32) - 'a' + 10;
}

/// Digits of `base` with single underscores between them. @return whether there was one
static bool digits(Lexer *lx, int32_t base)
{
    bool any = false;
    for (;;) {
        char c = peek(lx, 0);
        if (c == '_' && any && is_hex(peek(lx, 1))) {
            lx->at++;
            continue;
        }
        if (!is_hex(c) || digit_value(c) >= base) return any;
        lx->at++;
        any = true;
    }
}

static void lex_number(Lexer *lx)
{
    int32_t begin = lx->at;
    TokenKind kind = TOK_INT;
    char second = (char)(peek(lx, 1) | 32);
    if (peek(lx, 0) == '0' && (second == 'x' || second == 'o' || second == 'b')) {
        lx->at += 2;
        if (peek(lx, 0) == '_') lx->at++;
        if (!digits(lx, second == 'x' ? 16 : second == 'o' ? 8 : 2))
            lex_error(lx, "E0101", begin, lx->at, "a number has no digits after its base");
    } else {
        bool any = digits(lx, 10);
        if (peek(lx, 0) == '.') {
            kind = TOK_FLOAT;
            lx->at++;
            any = digits(lx, 10) || any;
        }
        char sign = peek(lx, 1);
        bool exponent = (peek(lx, 0) | 32) == 'e' &&
                        (is_digit(sign) || ((sign == '+' || sign == '-') && is_digit(peek(lx, 2))));
        if (exponent && any) {
            kind = TOK_FLOAT;
            lx->at += is_digit(sign) ? 1 : 2;
            digits(lx, 10);
        }
        if ((peek(lx, 0) | 32) == 'j') {
            kind = TOK_IMAGINARY;
            lx->at++;
        }
        if (kind == TOK_INT && lx->text.data[begin] == '0') {
            for (int32_t i = begin; i < lx->at; i++)
                if (lx->text.data[i] != '0' && lx->text.data[i] != '_') {
                    lex_error(lx, "E0101", begin, lx->at,
                              "a decimal number may not begin with 0; octal is written 0o17");
                    break;
                }
        }
    }
    // `1if x else y` is Python; `1abc` is not.
    if (is_name_start(peek(lx, 0))) {
        static const char *const may_follow[] = {"and", "else", "for", "if",
                                                 "in",  "is",   "not", "or"};
        int32_t stop = lx->at;
        while (stop < lx->end &&
               (is_name_start(lx->text.data[stop]) || is_digit(lx->text.data[stop])))
            stop++;
        Str word = {lx->text.data + lx->at, (size_t)(stop - lx->at)};
        bool allowed = false;
        for (int32_t i = 0; i < COUNT_OF(may_follow); i++)
            allowed |= str_is(word, may_follow[i]);
        if (!allowed) lex_error(lx, "E0101", begin, stop, "a name may not begin with a digit");
    }
    push(lx, kind, T_NONE, begin);
}

/// Skips a plain string that starts (quotes included) at `lx->at`. @return false: not closed
static bool skip_quoted(Lexer *lx)
{
    char quote = peek(lx, 0);
    bool triple = peek(lx, 1) == quote && peek(lx, 2) == quote;
    lx->at += triple ? 3 : 1;
    while (lx->at < lx->end) {
        char c = peek(lx, 0);
        if (c == '\\' && lx->at + 1 < lx->end) {
            lx->at += peek(lx, 1) == '\r' && peek(lx, 2) == '\n' ? 3 : 2;
            continue;
        }
        if (!triple && (c == '\n' || c == '\r')) return false;
        if (c == quote && (!triple || (peek(lx, 1) == quote && peek(lx, 2) == quote))) {
            lx->at += triple ? 3 : 1;
            return true;
        }
        lx->at++;
    }
    return false;
}

/// Length of a string prefix at `lx->at` that a quote follows, or -1. Sets `is_f`.
static int32_t string_prefix(const Lexer *lx, bool *is_f)
{
    *is_f = false;
    for (int32_t i = 0; i < 3; i++) {
        char c = peek(lx, i);
        if (c == '"' || c == '\'') return i;
        c |= 32;
        if (c == 'f' || c == 't')
            *is_f = true;
        else if (c != 'r' && c != 'b' && c != 'u')
            return -1;
    }
    return -1;
}

static bool skip_fstring(Lexer *lx, int32_t depth);

/// Skips `expr [!r] [:spec] }` of a replacement field; `lx->at` is past its brace.
static bool skip_field(Lexer *lx, int32_t depth, char quote, bool triple)
{
    int32_t nest = 0;
    bool in_spec = false;
    while (lx->at < lx->end) {
        char c = peek(lx, 0);
        if (in_spec) {
            if (c == '}') return lx->at++, true;
            if (c == '{') {
                lx->at++;
                if (depth >= LEX_MAX_FSTRING || !skip_field(lx, depth + 1, quote, triple))
                    return false;
                continue;
            }
            if (c == quote && !triple) return false;
            if (!triple && (c == '\n' || c == '\r')) return false;
            lx->at++;
            continue;
        }
        bool is_f;
        int32_t prefix = is_name_start(c) || c == '"' || c == '\'' ? string_prefix(lx, &is_f) : -1;
        if (prefix >= 0) {
            lx->at += prefix;
            if (!(is_f ? skip_fstring(lx, depth + 1) : skip_quoted(lx))) return false;
            continue;
        }
        if (is_name_start(c)) {
            while (is_name_start(peek(lx, 0)) || is_digit(peek(lx, 0)))
                lx->at++;
            continue;
        }
        if (c == '(' || c == '[' || c == '{') nest++;
        if (c == '}' && nest == 0) return lx->at++, true;
        if (c == ')' || c == ']' || c == '}') nest--;
        if (c == ':' && nest <= 0) in_spec = true;
        lx->at++;
    }
    return false;
}

/// Skips an f-string that starts (quotes included) at `lx->at`. @return false: not closed, or too
/// deep
static bool skip_fstring(Lexer *lx, int32_t depth)
{
    if (depth > LEX_MAX_FSTRING) return false;
    char quote = peek(lx, 0);
    bool triple = peek(lx, 1) == quote && peek(lx, 2) == quote;
    lx->at += triple ? 3 : 1;
    while (lx->at < lx->end) {
        char c = peek(lx, 0);
        if (c == '\\' && lx->at + 1 < lx->end && peek(lx, 1) != '{') {
            lx->at += 2;
        } else if (c == '{' && peek(lx, 1) == '{') {
            lx->at += 2;
        } else if (c == '{') {
            lx->at++;
            if (!skip_field(lx, depth, quote, triple)) return false;
        } else if (!triple && (c == '\n' || c == '\r')) {
            return false;
        } else if (c == quote && (!triple || (peek(lx, 1) == quote && peek(lx, 2) == quote))) {
            lx->at += triple ? 3 : 1;
            return true;
        } else {
            lx->at++;
        }
    }
    return false;
}

static void lex_string(Lexer *lx, int32_t prefix, bool is_f)
{
    int32_t begin = lx->at;
    lx->at += prefix;
    int32_t quotes = lx->at;
    bool closed = is_f ? skip_fstring(lx, 0) : skip_quoted(lx);
    if (!closed) {
        lex_error(lx, "E0101", begin, MIN(quotes + 1, lx->end), "this string is never closed");
        lx->at = lx->end;
    }
    push(lx, is_f ? TOK_FSTRING : TOK_STRING, T_NONE, begin);
}

static void lex_name(Lexer *lx)
{
    int32_t begin = lx->at;
    while (is_name_start(peek(lx, 0)) || is_digit(peek(lx, 0)))
        lx->at++;
    Str word = {lx->text.data + begin, (size_t)(lx->at - begin)};
    for (int32_t id = T_LAST_OP + 1; id < T_ID_COUNT; id++)
        if (str_is(word, token_texts[id])) {
            push(lx, TOK_KEYWORD, (TokenId)id, begin);
            return;
        }
    push(lx, TOK_NAME, T_NONE, begin);
}

static void open_bracket(Lexer *lx, char c)
{
    if (lx->n_brackets == LEX_MAX_BRACKETS) {
        lex_error(lx, "E0101", lx->at, lx->at + 1, "brackets are nested more than 200 deep");
        return;
    }
    lx->brackets[lx->n_brackets].open = c;
    lx->brackets[lx->n_brackets++].at = lx->at;
}

static void close_bracket(Lexer *lx, char c)
{
    char want = c == ')' ? '(' : c == ']' ? '[' : '{';
    if (lx->n_brackets == 0 || lx->brackets[lx->n_brackets - 1].open != want) {
        char text[64];
        snprintf(text, sizeof text, lx->n_brackets ? "`%c` closes a `%c`" : "`%c` closes nothing",
                 c, lx->n_brackets ? lx->brackets[lx->n_brackets - 1].open : ' ');
        lex_error(lx, "E0101", lx->at, lx->at + 1, text);
        return;
    }
    lx->n_brackets--;
}

static void lex_operator(Lexer *lx)
{
    int32_t begin = lx->at;
    for (int32_t id = 1; id <= T_LAST_OP; id++) {
        size_t len = strlen(token_texts[id]);
        if (lx->at + (int32_t)len > lx->end ||
            memcmp(lx->text.data + lx->at, token_texts[id], len) != 0)
            continue;
        char c = token_texts[id][0];
        if (len == 1 && (c == '(' || c == '[' || c == '{')) open_bracket(lx, c);
        if (len == 1 && (c == ')' || c == ']' || c == '}')) close_bracket(lx, c);
        lx->at += (int32_t)len;
        push(lx, TOK_OP, (TokenId)id, begin);
        return;
    }
    lex_error(lx, "E0101", begin, begin + 1, "this character is not part of any token");
    lx->at++;
}

/// Measures the blank start of a line and opens or closes suites.
static void lex_indent(Lexer *lx)
{
    int32_t column = 0, alt = 0, begin = lx->at;
    for (;; lx->at++) {
        char c = peek(lx, 0);
        if (c == ' ')
            column++, alt++;
        else if (c == '\t')
            column = (column / 8 + 1) * 8, alt++;
        else if (c == '\f')
            column = alt = 0;
        else
            break;
    }
    char c = peek(lx, 0);
    if (c == '#' || c == '\n' || c == '\r' || c == 0)
        return; // a blank line says nothing about suites
    if (c == '\\' && (peek(lx, 1) == '\n' || peek(lx, 1) == '\r')) return;
    int32_t top = lx->n_indents ? lx->indents[lx->n_indents - 1] : 0;
    int32_t alt_top = lx->n_indents ? lx->alt_indents[lx->n_indents - 1] : 0;
    if ((column == top && alt != alt_top) || (column > top && alt <= alt_top)) {
        lex_error(lx, "E0102", begin, lx->at, "this indentation mixes tabs and spaces ambiguously");
    } else if (column > top) {
        if (lx->n_indents == LEX_MAX_INDENT) {
            lex_error(lx, "E0101", begin, lx->at, "suites are nested more than 100 deep");
            return;
        }
        lx->indents[lx->n_indents] = column;
        lx->alt_indents[lx->n_indents++] = alt;
        push(lx, TOK_INDENT, T_NONE, begin);
    } else if (column < top) {
        while (lx->n_indents && lx->indents[lx->n_indents - 1] > column) {
            lx->n_indents--;
            push(lx, TOK_DEDENT, T_NONE, lx->at);
        }
        top = lx->n_indents ? lx->indents[lx->n_indents - 1] : 0;
        if (top != column)
            lex_error(lx, "E0101", begin, lx->at, "this indentation matches no enclosing suite");
    }
}

/// Bytes of the newline at `lx->at`: 0, 1, or 2 for CR LF.
static int32_t newline_len(const Lexer *lx)
{
    if (peek(lx, 0) == '\n') return 1;
    if (peek(lx, 0) != '\r') return 0;
    return peek(lx, 1) == '\n' ? 2 : 1;
}

/// Tokens until `lx->end`. `lines`: newlines and indentation count.
static void scan(Lexer *lx, bool lines)
{
    bool line_start = lines;
    while (lx->at < lx->end && !lx->failed) {
        if (line_start) {
            lex_indent(lx);
            line_start = false;
            continue;
        }
        char c = peek(lx, 0);
        int32_t nl = newline_len(lx);
        if (nl) {
            int32_t begin = lx->at;
            lx->at += nl;
            if (!lines || lx->n_brackets) continue;
            TokenKind last = lx->out->len ? vec_last(lx->out).kind : TOK_NEWLINE;
            if (last != TOK_NEWLINE && last != TOK_INDENT && last != TOK_DEDENT)
                push(lx, TOK_NEWLINE, T_NONE, begin);
            line_start = true;
        } else if (c == ' ' || c == '\t' || c == '\f') {
            lx->at++;
        } else if (c == '#') {
            while (lx->at < lx->end && !newline_len(lx))
                lx->at++;
        } else if (c == '\\') {
            lx->at++;
            nl = newline_len(lx);
            if (!nl)
                lex_error(lx, "E0101", lx->at - 1, lx->at,
                          "a backslash must be the last character of its line");
            lx->at += nl;
        } else if (is_digit(c) || (c == '.' && is_digit(peek(lx, 1)))) {
            lex_number(lx);
        } else {
            bool is_f;
            int32_t prefix = string_prefix(lx, &is_f);
            if (prefix >= 0)
                lex_string(lx, prefix, is_f);
            else if (is_name_start(c))
                lex_name(lx);
            else
                lex_operator(lx);
        }
    }
}

/// The first byte that is not UTF-8 (or a NUL), or -1.
static int32_t bad_utf8(Str text)
{
    for (size_t i = 0; i < text.len;) {
        unsigned char c = (unsigned char)text.data[i];
        size_t n = c < 0x80                ? 1
                   : c >= 0xC2 && c < 0xE0 ? 2
                   : c >= 0xE0 && c < 0xF0 ? 3
                   : c >= 0xF0 && c < 0xF5 ? 4
                                           : 0;
        if (c == 0 || n == 0 || i + n > text.len) return (int32_t)i;
        for (size_t k = 1; k < n; k++)
            if ((text.data[i + k] & 0xC0) != 0x80) return (int32_t)i;
        i += n;
    }
    return -1;
}

KilnStatus lex_file(Arena *arena, Str text, int32_t file, Tokens *out, Diag *diag)
{
    *out = (Tokens){0};
    Lexer *lx = arena_new(arena, Lexer);
    lx->arena = arena, lx->text = text, lx->file = file, lx->out = out, lx->diag = diag;
    if (text.len > LEX_MAX_BYTES) {
        lex_error(lx, "E0101", 0, 0, "a source file may have at most 16 MiB");
        return KILN_ERR_INPUT;
    }
    lx->end = (int32_t)text.len;
    int32_t bad = bad_utf8(text);
    if (bad >= 0) lex_error(lx, "E0101", bad, bad + 1, "the file is not UTF-8 text here");
    if (str_starts(text, "\xEF\xBB\xBF")) lx->at = 3;
    scan(lx, true);
    if (lx->n_brackets && !lx->failed) {
        int32_t at = lx->brackets[lx->n_brackets - 1].at;
        lex_error(lx, "E0101", at, at + 1, "this bracket is never closed");
    }
    if (out->len && vec_last(out).kind != TOK_NEWLINE) push(lx, TOK_NEWLINE, T_NONE, lx->at);
    for (; lx->n_indents; lx->n_indents--)
        push(lx, TOK_DEDENT, T_NONE, lx->at);
    push(lx, TOK_END, T_NONE, lx->at);
    return lx->failed ? KILN_ERR_INPUT : KILN_OK;
}

KilnStatus lex_range(Arena *arena, Str text, int32_t begin, int32_t end, int32_t file, Tokens *out,
                     Diag *diag)
{
    *out = (Tokens){0};
    Lexer *lx = arena_new(arena, Lexer);
    lx->arena = arena, lx->text = text, lx->file = file, lx->out = out, lx->diag = diag;
    lx->at = begin;
    lx->end = end;
    scan(lx, false);
    if (lx->n_brackets && !lx->failed) {
        int32_t at = lx->brackets[lx->n_brackets - 1].at;
        lex_error(lx, "E0101", at, at + 1, "this bracket is never closed");
    }
    push(lx, TOK_END, T_NONE, lx->at);
    return lx->failed ? KILN_ERR_INPUT : KILN_OK;
}

// ---- strings ----------------------------------------------------------------------------------

void string_bounds(Str text, const Token *t, int32_t *begin, int32_t *end, bool *is_raw)
{
    int32_t at = t->begin;
    *is_raw = false;
    while (at < t->end && text.data[at] != '"' && text.data[at] != '\'') {
        if ((text.data[at] | 32) == 'r') *is_raw = true;
        at++;
    }
    char quote = text.data[at];
    int32_t n =
        t->end - at >= 6 && text.data[at + 1] == quote && text.data[at + 2] == quote ? 3 : 1;
    *begin = at + n;
    *end = MAX(at + n, t->end - n);
}

/// Appends code point `c` as UTF-8. @return bytes written
static int32_t put_utf8(char *out, uint32_t c)
{
    if (c < 0x80) return out[0] = (char)c, 1;
    if (c < 0x800) return out[0] = (char)(0xC0 | c >> 6), out[1] = (char)(0x80 | (c & 63)), 2;
    if (c < 0x10000) {
        out[0] = (char)(0xE0 | c >> 12), out[1] = (char)(0x80 | (c >> 6 & 63)),
        out[2] = (char)(0x80 | (c & 63));
        return 3;
    }
    out[0] = (char)(0xF0 | c >> 18), out[1] = (char)(0x80 | (c >> 12 & 63));
    out[2] = (char)(0x80 | (c >> 6 & 63)), out[3] = (char)(0x80 | (c & 63));
    return 4;
}

/// A numeric escape of up to `max` digits of `base` at `*at`. @return false: fewer than `min`
static bool numeric_escape(Str text, int32_t *at, int32_t end, int32_t base, int32_t min,
                           int32_t max, uint32_t *out)
{
    int32_t n = 0;
    *out = 0;
    while (n < max && *at + n < end && is_hex(text.data[*at + n]) &&
           digit_value(text.data[*at + n]) < base)
        *out = *out * (uint32_t)base + (uint32_t)digit_value(text.data[*at + n++]);
    if (n < min || *out > 0x10FFFF) return false;
    *at += n;
    return true;
}

/// One to three octal digits, of which the first has just been read.
static bool octal_escape(Str text, int32_t *at, int32_t end, uint32_t *out)
{
    int32_t first = *at - 1;
    if (!numeric_escape(text, &first, end, 8, 1, 3, out)) return false;
    *at = first;
    return true;
}

Str string_unescape(Arena *arena, Str text, int32_t begin, int32_t end, bool is_raw)
{
    char *out = arena_alloc(arena, (size_t)(end - begin) * 2 + 4,
                            1); // \ooo of two bytes gives at most as many
    int32_t n = 0;
    for (int32_t at = begin; at < end;) {
        char c = text.data[at++];
        if (c != '\\' || is_raw || at >= end) {
            out[n++] = c;
            continue;
        }
        static const char simple[][2] = {{'n', '\n'},  {'t', '\t'}, {'r', '\r'}, {'\\', '\\'},
                                         {'\'', '\''}, {'"', '"'},  {'a', '\a'}, {'b', '\b'},
                                         {'f', '\f'},  {'v', '\v'}};
        char e = text.data[at++];
        uint32_t code;
        int32_t i = 0;
        while (i < COUNT_OF(simple) && simple[i][0] != e)
            i++;
        if (i < COUNT_OF(simple))
            out[n++] = simple[i][1];
        else if (e == '\n')
            continue;
        else if (e == '\r')
            at += at < end && text.data[at] == '\n';
        else if (e == 'x' && numeric_escape(text, &at, end, 16, 2, 2, &code))
            n += put_utf8(out + n, code);
        else if (e == 'u' && numeric_escape(text, &at, end, 16, 4, 4, &code))
            n += put_utf8(out + n, code);
        else if (e == 'U' && numeric_escape(text, &at, end, 16, 8, 8, &code))
            n += put_utf8(out + n, code);
        else if (octal_escape(text, &at, end, &code))
            n += put_utf8(out + n, code);
        else
            out[n++] = '\\', out[n++] = e;
    }
    out[n] = 0;
    return (Str){out, (size_t)n};
}

Str string_value(Arena *arena, Str text, const Token *t, bool *is_bytes)
{
    int32_t begin, end;
    bool is_raw;
    string_bounds(text, t, &begin, &end, &is_raw);
    *is_bytes = false;
    for (int32_t i = t->begin; i < begin; i++)
        *is_bytes |= (text.data[i] | 32) == 'b';
    return string_unescape(arena, text, begin, end, is_raw);
}

void tokens_print(Str text, const Tokens *tokens, StrBuf *out)
{
    static const char *const names[] = {"end",   "newline",   "indent", "dedent",  "name",    "int",
                                        "float", "imaginary", "string", "fstring", "keyword", "op"};
    for (int32_t i = 0; i < tokens->len; i++) {
        const Token *t = &tokens->data[i];
        strbuf_puts(out, names[t->kind]);
        if (t->kind >= TOK_NAME)
            strbuf_printf(out, " %.*s", t->end - t->begin, text.data + t->begin);
        strbuf_putc(out, '\n');
    }
}
