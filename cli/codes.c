// cli/codes.c - the table of codes.def as text.
//
//   E0503  two shapes cannot be broadcast to one
//          insert axes with x[:, None] and x[None, :]
#include "cli/codes.h"

#include <ctype.h>
#include <stdlib.h>

typedef struct CodeRow {
    const char *code, *meaning, *action;
} CodeRow;

static const CodeRow rows[] = {
#define CODE(code, meaning, action) {code, meaning, action},
#include "cli/codes.def"
#undef CODE
};

bool code_shaped(const char *word)
{
    if (!word[0] || !strchr("EWKewk", word[0]) || !word[1]) return false;
    for (const char *c = word + 1; *c; c++)
        if (!isdigit((unsigned char)*c)) return false;
    return true;
}

static bool same_code(const char *word, const char *code)
{
    return toupper((unsigned char)word[0]) == code[0] && !strcmp(word + 1, code + 1);
}

static void put_row(const CodeRow *row, StrBuf *out)
{
    strbuf_printf(out, "%-6s %s\n       %s\n", row->code, row->meaning, row->action);
}

bool code_explain(const char *word, StrBuf *out)
{
    for (int32_t i = 0; i < COUNT_OF(rows); i++)
        if (same_code(word, rows[i].code)) {
            put_row(&rows[i], out);
            return true;
        }
    return false;
}

const char *code_nearest(const char *word)
{
    const char *best = NULL;
    long long wanted = strtoll(word + 1, NULL, 10), least = 0;
    for (int32_t i = 0; i < COUNT_OF(rows); i++) {
        long long number = strtoll(rows[i].code + 1, NULL, 10);
        long long away = wanted > number ? wanted - number : number - wanted;
        if (rows[i].code[0] != toupper((unsigned char)word[0]) || (best && away >= least)) continue;
        best = rows[i].code, least = away;
    }
    return best;
}

void code_table(StrBuf *out)
{
    for (int32_t i = 0; i < COUNT_OF(rows); i++)
        put_row(&rows[i], out);
}
