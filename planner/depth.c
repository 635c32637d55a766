/*
 * How deep could this text nest? libpg_query recurses over the tree, one to six C frames per level,
 * so what it is given must be bounded first. The bound needs no grammar: a level of the tree costs
 * the text an opening bracket, a CASE, an operator, or one of a few words. Operators count since
 * the last comma, AND or OR of the same bracket level, because those begin a sibling; joins and set
 * operations chain over them and count without that.
 *
 * Too much is counted sometimes, too little never; 500 levels use about 4 of a thread's 8 MiB.
 */

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "planner/tree.h"

enum {
    CHAIN_SIBLING, /* ends with the next comma, AND or OR */
    CHAIN_LEVEL    /* ends with its bracket */
};

struct depth {
    struct slice sql;
    size_t at;
    size_t levels; /* open brackets and CASEs */
    struct {
        uint16_t sibling, level;
        uint8_t is_case;
    } stack[DEPTH_MAX + 1];
    size_t total; /* levels and everything counted on them */
};

static void add(struct depth *d, int chain)
{
    if (chain == CHAIN_SIBLING) {
        d->stack[d->levels].sibling++;
    } else {
        d->stack[d->levels].level++;
    }
    d->total++;
}

static void end_sibling(struct depth *d)
{
    d->total -= d->stack[d->levels].sibling;
    d->stack[d->levels].sibling = 0;
}

static void push(struct depth *d, uint8_t is_case)
{
    d->levels++;
    d->total++;
    d->stack[d->levels].sibling = 0;
    d->stack[d->levels].level = 0;
    d->stack[d->levels].is_case = is_case;
}

static void pop(struct depth *d)
{
    d->total -= d->stack[d->levels].sibling + d->stack[d->levels].level + 1u;
    d->levels--;
}

static uint8_t peek(const struct depth *d, size_t ahead)
{
    return d->at + ahead < d->sql.n ? d->sql.p[d->at + ahead] : 0;
}

static void skip_quoted(struct depth *d, uint8_t quote, int backslashes)
{
    d->at++;
    while (d->at < d->sql.n) {
        uint8_t c = d->sql.p[d->at++];
        if (c == '\\' && backslashes) {
            d->at++;
        } else if (c == quote) {
            return; /* a doubled quote begins a second string: same extent */
        }
    }
}

static void skip_block_comment(struct depth *d)
{
    size_t open = 0;
    do {
        if (peek(d, 0) == '/' && peek(d, 1) == '*') {
            open++;
            d->at += 2;
        } else if (peek(d, 0) == '*' && peek(d, 1) == '/') {
            open--;
            d->at += 2;
        } else {
            d->at++;
        }
    } while (open > 0 && d->at < d->sql.n);
}

/* $tag$ ... $tag$; 0 when this dollar begins no string. */
static int skip_dollar(struct depth *d)
{
    size_t n = 1;
    while (isalnum(peek(d, n)) || peek(d, n) == '_' || peek(d, n) >= 0x80) {
        n++;
    }
    if (peek(d, n) != '$' || isdigit(peek(d, 1))) {
        return 0;
    }
    const uint8_t *tag = d->sql.p + d->at;
    n++;
    d->at += n;
    const uint8_t *end =
        d->at < d->sql.n ? memmem(d->sql.p + d->at, d->sql.n - d->at, tag, n) : NULL;
    d->at = end == NULL ? d->sql.n : (size_t)(end - d->sql.p) + n;
    return 1;
}

static int word_is_one_of(const char *word, size_t n, const char *const *list)
{
    for (; *list != NULL; list++) {
        if (strlen(*list) == n && strncasecmp(word, *list, n) == 0) {
            return 1;
        }
    }
    return 0;
}

static void take_word(struct depth *d)
{
    static const char *const siblings[] = {"and", "or", NULL};
    static const char *const chains[] = {"join",  "union",   "except", "intersect", "natural",
                                         "cross", "explain", "create", NULL};
    static const char *const operators[] = {"not",     "is",   "isnull",      "notnull", "collate",
                                            "between", "like", "ilike",       "similar", "in",
                                            "at",      "any",  "all",         "some",    "operator",
                                            "array",   "when", "tablesample", NULL};
    const char *word = (const char *)d->sql.p + d->at;
    size_t n = 0;
    while (isalnum(peek(d, n)) || peek(d, n) == '_' || peek(d, n) == '$' || peek(d, n) >= 0x80) {
        n++;
    }
    d->at += n;
    if (n == 1 && (*word == 'e' || *word == 'E') && peek(d, 0) == '\'') {
        skip_quoted(d, '\'', 1);
    } else if (n == 4 && strncasecmp(word, "case", 4) == 0) {
        push(d, 1);
    } else if (n == 3 && strncasecmp(word, "end", 3) == 0) {
        if (d->stack[d->levels].is_case) {
            pop(d);
        }
    } else if (word_is_one_of(word, n, siblings)) {
        end_sibling(d);
    } else if (word_is_one_of(word, n, chains)) {
        add(d, CHAIN_LEVEL);
    } else if (word_is_one_of(word, n, operators)) {
        add(d, CHAIN_SIBLING);
    }
}

static void take_operator(struct depth *d)
{
    while (peek(d, 0) != 0 && strchr("+-*/<>=~!@#%^&|`?:", peek(d, 0)) != NULL) {
        if ((peek(d, 0) == '-' && peek(d, 1) == '-') || (peek(d, 0) == '/' && peek(d, 1) == '*')) {
            return;
        }
        add(d, CHAIN_SIBLING);
        d->at++;
    }
}

static void take_bracket(struct depth *d, uint8_t c)
{
    d->at++;
    if (c == '(' || c == '[') {
        if (c == '[') {
            add(d, CHAIN_SIBLING); /* x[1][2] */
        }
        push(d, 0);
    } else if (c == ',') {
        end_sibling(d);
    } else if (c == ';') {
        while (d->levels > 0) {
            pop(d);
        }
        d->total = 0;
        d->stack[0].sibling = d->stack[0].level = 0;
    } else {
        while (d->levels > 0 && d->stack[d->levels].is_case) {
            pop(d);
        }
        if (d->levels > 0) {
            pop(d);
        }
    }
}

enum err depth_check(struct slice sql, struct note *note)
{
    struct depth d = {.sql = sql};
    while (d.at < sql.n) {
        uint8_t c = sql.p[d.at];
        if (c == '\'' || c == '"') {
            skip_quoted(&d, c, 0);
        } else if (c == '-' && peek(&d, 1) == '-') {
            while (d.at < sql.n && sql.p[d.at] != '\n') {
                d.at++;
            }
        } else if (c == '/' && peek(&d, 1) == '*') {
            skip_block_comment(&d);
        } else if (c == '$' && skip_dollar(&d)) {
            continue;
        } else if (isalpha(c) || c == '_' || c >= 0x80) {
            take_word(&d);
        } else if (strchr("()[],;", c) != NULL && c != 0) {
            take_bracket(&d, c);
        } else if (c != 0 && strchr("+-*/<>=~!@#%^&|`?:", c) != NULL) {
            take_operator(&d);
        } else {
            d.at++;
        }
        if (d.total >= DEPTH_MAX) {
            note_set(note, ERR_TOO_DEEP, "%s", err_text(ERR_TOO_DEEP));
            note_hint(note, "Write it with fewer nested brackets or operators.");
            return ERR_TOO_DEEP;
        }
    }
    return ERR_NONE;
}
