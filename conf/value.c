/*
 * One node to one value: texts, whole numbers with PostgreSQL's units, booleans, words of a list,
 * names. Whatever does not fit exactly is refused; nothing is cut, rounded or guessed.
 */

#include <ctype.h>
#include <string.h>

#include "base/check.h"
#include "conf/reader.h"

static const char *kind_words(const struct node *node)
{
    if (node_is_null(node)) {
        return "empty";
    }
    switch (node->kind) {
    case NODE_TEXT: return "a single value";
    case NODE_LIST: return "a list";
    case NODE_MAP: return "a map";
    }
    return "";
}

enum err read_fields(struct reader *r, const struct node *map, const char *what,
                     const struct field *fields, size_t count)
{
    const char *known[FIELDS_MAX];
    check(map->kind == NODE_MAP && count <= FIELDS_MAX);
    for (size_t i = 0; i < count; i++) {
        known[i] = fields[i].key;
        *fields[i].node = NULL;
    }
    for (const struct node *child = map->first; child != NULL; child = child->next) {
        size_t i = 0;
        while (i < count && strcmp(fields[i].key, child->key) != 0) {
            i++;
        }
        if (i == count) {
            return bad_key(r, child, what, known, count);
        }
        *fields[i].node = child;
    }
    return ERR_NONE;
}

enum err need_list(struct reader *r, const struct node *node, const char *what, size_t max,
                   const char *example)
{
    if (node->kind != NODE_LIST) {
        return bad(r, node->line, "%s is %s; it is a list: %s", what, kind_words(node), example);
    }
    if (node->count == 0) {
        return bad(r, node->line, "%s is an empty list; write it as %s", what, example);
    }
    if (node->count > max) {
        return bad(r, node->line, "%s has %zu entries; at most %zu are allowed", what, node->count,
                   max);
    }
    return ERR_NONE;
}

enum err need_map(struct reader *r, const struct node *node, const char *what, size_t max,
                  const char *example)
{
    int empty = node_is_null(node) || (node->kind == NODE_MAP && node->count == 0);
    if (node->kind != NODE_MAP || empty) {
        return bad(r, node->line, "%s is %s; write it as %s", what,
                   empty ? "empty" : kind_words(node), example);
    }
    if (node->count > max) {
        return bad(r, node->line, "%s has %zu entries; at most %zu are allowed", what, node->count,
                   max);
    }
    return ERR_NONE;
}

/* The text of a scalar that says something. */
static enum err need_text(struct reader *r, const struct node *node, const char *what,
                          const char *wanted)
{
    if (node->kind != NODE_TEXT || node_is_null(node)) {
        return bad(r, node->line, "%s is %s; it takes %s", what, kind_words(node), wanted);
    }
    return ERR_NONE;
}

enum err read_text(struct reader *r, const struct node *node, const char *what, const char **out)
{
    enum err e = need_text(r, node, what, "one text");
    if (e) {
        return e;
    }
    if (node->text[0] == '\0') {
        return bad(r, node->line, "%s is an empty text; give a value or leave the line out", what);
    }
    *out = arena_strdup(r->keep, node->text);
    return ERR_NONE;
}

/* ---- numbers --------------------------------------------------------------------------------- */

struct unit_word {
    const char *word;
    int64_t factor;
};

/* As PostgreSQL writes them: case matters, "m" is no minute. */
static const struct unit_word ms_words[] = {
    {"ms", 1}, {"s", 1000}, {"min", 60000}, {"h", 3600000}, {"d", 86400000},
};
static const struct unit_word bytes_words[] = {
    {"B", 1},
    {"kB", INT64_C(1) << 10},
    {"MB", INT64_C(1) << 20},
    {"GB", INT64_C(1) << 30},
    {"TB", INT64_C(1) << 40},
};

static int unit_factor(enum unit unit, const char *word, int64_t *factor)
{
    const struct unit_word *words = unit == UNIT_MS ? ms_words : bytes_words;
    size_t count = unit == UNIT_MS ? sizeof(ms_words) / sizeof(ms_words[0])
                                   : sizeof(bytes_words) / sizeof(bytes_words[0]);
    for (size_t i = 0; i < count && unit != UNIT_NONE; i++) {
        if (strcmp(words[i].word, word) == 0) {
            *factor = words[i].factor;
            return 1;
        }
    }
    return 0;
}

/* 1: `text` is digits with an optional sign and unit. A number past int64 saturates. */
static int parse_int(const char *text, enum unit unit, int64_t *out)
{
    const char *p = text;
    int negative = *p == '-';
    p += *p == '-' || *p == '+';
    if (!isdigit((unsigned char)*p)) {
        return 0;
    }
    int64_t value = 0;
    int over = 0;
    for (; isdigit((unsigned char)*p); p++) {
        over |= __builtin_mul_overflow(value, (int64_t)10, &value) ||
                __builtin_add_overflow(value, (int64_t)(*p - '0'), &value);
    }
    int64_t factor = 1;
    if (*p != '\0') {
        p += strspn(p, " ");
        if (!unit_factor(unit, p, &factor)) {
            return 0;
        }
    }
    over |= __builtin_mul_overflow(value, factor, &value);
    value = over ? INT64_MAX : value;
    *out = negative ? -value : value;
    return 1;
}

static const char *int_wanted(enum unit unit)
{
    switch (unit) {
    case UNIT_NONE: return "a whole number";
    case UNIT_MS: return "whole milliseconds, or a number with ms, s, min, h or d";
    case UNIT_BYTES: return "whole bytes, or a number with B, kB, MB, GB or TB";
    }
    return "";
}

enum err read_int(struct reader *r, const struct node *node, const char *what, struct bounds bounds,
                  int64_t *out)
{
    enum err e = need_text(r, node, what, int_wanted(bounds.unit));
    if (e) {
        return e;
    }
    int64_t value = 0;
    if (!parse_int(node->text, bounds.unit, &value)) {
        return bad(r, node->line, "%s is %s; it takes %s", what, shown(r, node->text),
                   int_wanted(bounds.unit));
    }
    if (value < bounds.min || value > bounds.max) {
        return bad(r, node->line, "%s is %.40s; it must lie in %lld..%lld%s%s", what, node->text,
                   (long long)bounds.min, (long long)bounds.max, bounds.noun[0] == '\0' ? "" : " ",
                   bounds.noun);
    }
    *out = value;
    return ERR_NONE;
}

/* ---- words ----------------------------------------------------------------------------------- */

enum err read_bool(struct reader *r, const struct node *node, const char *what, int *out)
{
    static const char *const words[] = {"true", "yes", "on", "false", "no", "off"};
    enum err e = need_text(r, node, what, "true or false");
    if (e) {
        return e;
    }
    for (int i = 0; i < 6; i++) {
        if (strcasecmp(words[i], node->text) == 0) {
            *out = i < 3;
            return ERR_NONE;
        }
    }
    return bad(r, node->line, "%s is %s; it takes true or false", what, shown(r, node->text));
}

enum err read_word(struct reader *r, const struct node *node, const char *what, const char *words,
                   unsigned *out)
{
    const char *known[16];
    size_t count = 0;
    char *copy = arena_strdup(&r->scratch, words);
    for (char *p = copy; p != NULL; count++) {
        check(count < 16);
        known[count] = p;
        p = strchr(p, ',');
        if (p != NULL) {
            *p++ = '\0';
        }
    }
    enum err e = need_text(r, node, what, "one word");
    if (e) {
        return e;
    }
    for (size_t i = 0; i < count; i++) {
        if (strcmp(known[i], node->text) == 0) {
            *out = (unsigned)i;
            return ERR_NONE;
        }
    }
    const char *best = nearest_word(node->text, known, count);
    const char *list = known[0];
    for (size_t i = 1; i < count; i++) {
        list = arena_printf(&r->scratch, "%s, %s", list, known[i]);
    }
    if (best != NULL) {
        return bad(r, node->line, "%s is %s; did you mean \"%s\"? It is one of %s", what,
                   shown(r, node->text), best, list);
    }
    return bad(r, node->line, "%s is %s; it is one of %s", what, shown(r, node->text), list);
}

/* ---- names ----------------------------------------------------------------------------------- */

enum err check_name(struct reader *r, int line, const char *what, const char *name)
{
    size_t n = strlen(name);
    if (n == 0) {
        return bad(r, line, "%s has no name; give it one", what);
    }
    if (n > NAME_BYTES_MAX) {
        return bad(r, line, "the name %s of %s has %zu bytes; PostgreSQL cuts names at %d",
                   shown(r, name), what, n, NAME_BYTES_MAX);
    }
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7F) {
            return bad(r, line, "the name %s of %s holds a control character; remove it",
                       shown(r, name), what);
        }
    }
    return ERR_NONE;
}

enum err check_label(struct reader *r, int line, const char *what, const char *name)
{
    enum err e = check_name(r, line, what, name);
    if (e) {
        return e;
    }
    for (const char *p = name; *p != '\0'; p++) {
        if (!isalnum((unsigned char)*p) && strchr("_-.", *p) == NULL) {
            return bad(r, line, "the name %s of %s; use letters, digits, '_', '-' and '.' only",
                       shown(r, name), what);
        }
    }
    return ERR_NONE;
}
