/*
 * What CREATE TABLE may end with here and PostgreSQL's grammar does not know:
 *
 *     SHARD BY HASH (column, ...) [COLOCATE WITH [schema.]table]
 *     SHARD BY RANGE (column) (BELOW (value) ON shard, ..., ON shard)
 *     SHARD BY LIST (column) (VALUES (value, ...) ON shard, ..., [DEFAULT] ON shard)
 *     REFERENCE
 *
 * and ALTER TABLE name with these, or LOCAL.
 *
 * The suffix is cut off by tokens, so names and strings that contain its words do no harm; the rest
 * goes to libpg_query.
 */

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "planner/ddl_inner.h"

enum token_kind {
    TOKEN_WORD,
    TOKEN_QUOTED, /* "identifier" */
    TOKEN_STRING, /* 'literal' */
    TOKEN_NUMBER,
    TOKEN_SIGN, /* one byte */
    TOKEN_END
};

struct token {
    enum token_kind kind;
    size_t from, to;
    int depth; /* of brackets in front of it */
};

struct tokens {
    struct build *build;
    struct slice text;
    struct token *items;
    size_t count, cap;
    size_t at; /* while parsing */
    struct note *note;
    enum err err;
    size_t err_at; /* the byte where it went wrong */
};

/* ---- tokens -----------------------------------------------------------------------------------
 */

static void add(struct tokens *t, enum token_kind kind, size_t from, size_t to, int depth)
{
    if (t->count == t->cap) {
        t->cap = t->cap == 0 ? 64 : 2 * t->cap;
        t->items = mem_grow(t->items, t->cap * sizeof(*t->items));
    }
    t->items[t->count++] = (struct token){kind, from, to, depth};
}

static size_t quoted_end(struct slice s, size_t at)
{
    uint8_t quote = s.p[at];
    for (at++; at < s.n; at++) {
        if (s.p[at] == quote) {
            if (at + 1 < s.n && s.p[at + 1] == quote) {
                at++;
            } else {
                return at + 1;
            }
        }
    }
    return s.n;
}

static size_t comment_end(struct slice s, size_t at)
{
    if (s.p[at] == '-') {
        const uint8_t *end = memchr(s.p + at, '\n', s.n - at);
        return end == NULL ? s.n : (size_t)(end - s.p);
    }
    size_t open = 0;
    while (at + 1 < s.n) {
        if (s.p[at] == '/' && s.p[at + 1] == '*') {
            open++;
            at += 2;
        } else if (s.p[at] == '*' && s.p[at + 1] == '/') {
            at += 2;
            if (--open == 0) {
                return at;
            }
        } else {
            at++;
        }
    }
    return s.n;
}

static int is_word(uint8_t c)
{
    return isalnum(c) || c == '_' || c == '$' || c >= 0x80;
}

/* Numbers may have a point and an exponent; a sign is a token of its own. */
static size_t word_end(struct slice s, size_t at, int number)
{
    while (at < s.n && (is_word(s.p[at]) || (number && s.p[at] == '.'))) {
        at++;
    }
    return at;
}

static void tokenize(struct tokens *t)
{
    struct slice s = t->text;
    int depth = 0;
    for (size_t at = 0; at < s.n;) {
        uint8_t c = s.p[at];
        size_t from = at;
        int next_same = at + 1 < s.n && s.p[at + 1] == c;
        if (isspace(c)) {
            at++;
        } else if ((c == '-' && next_same) || (c == '/' && at + 1 < s.n && s.p[at + 1] == '*')) {
            at = comment_end(s, at);
        } else if (c == '"' || c == '\'') {
            at = quoted_end(s, at);
            add(t, c == '"' ? TOKEN_QUOTED : TOKEN_STRING, from, at, depth);
        } else if (isdigit(c)) {
            at = word_end(s, at, 1);
            add(t, TOKEN_NUMBER, from, at, depth);
        } else if (is_word(c)) {
            at = word_end(s, at, 0);
            add(t, TOKEN_WORD, from, at, depth);
        } else {
            depth -= c == ')';
            at++;
            add(t, TOKEN_SIGN, from, at, depth);
            depth += c == '(';
        }
    }
    add(t, TOKEN_END, s.n, s.n, depth);
}

static int token_is(const struct tokens *t, size_t i, const char *word)
{
    const struct token *k = &t->items[i < t->count ? i : t->count - 1];
    size_t n = strlen(word);
    return (k->kind == TOKEN_WORD || k->kind == TOKEN_SIGN) && k->to - k->from == n &&
           strncasecmp((const char *)t->text.p + k->from, word, n) == 0;
}

/* ---- the grammar ------------------------------------------------------------------------------
 */

/* What the statement may end with, for who wrote something else. */
static void add_forms(struct tokens *t)
{
    int alter = token_is(t, 0, "alter");
    note_hint(
        t->note,
        "Write SHARD BY HASH (column, ...) [COLOCATE WITH table], SHARD BY RANGE (column) "
        "(BELOW (value) ON shard, ..., ON shard), SHARD BY LIST (column) (VALUES (value, ...) "
        "ON shard, ..., [DEFAULT ON shard])%s.",
        alter ? ", REFERENCE or LOCAL" : " or REFERENCE");
}

static int fail(struct tokens *t, const char *why)
{
    const struct token *k = &t->items[t->at];
    if (t->err == ERR_NONE) {
        char where[80] = "at end of input";
        if (k->kind != TOKEN_END) {
            (void)snprintf(where, sizeof(where), "at or near \"%.*s\"",
                           (int)(k->to - k->from > 60 ? 60 : k->to - k->from),
                           (const char *)t->text.p + k->from);
        }
        t->err_at = k->from;
        t->err = note_set(t->note, ERR_SYNTAX, "syntax error %s in SHARD BY: %s", where, why);
        add_forms(t);
    }
    return 0;
}

static int take(struct tokens *t, const char *word)
{
    if (!token_is(t, t->at, word)) {
        return 0;
    }
    t->at++;
    return 1;
}

static int expect(struct tokens *t, const char *word)
{
    return take(t, word) || fail(t, arena_printf(&t->build->scratch, "expected \"%s\"", word));
}

/* The text of a quoted token with its quotes undone. */
static const char *unquote(struct tokens *t, const struct token *k)
{
    char *out = arena_alloc(&t->build->scratch, k->to - k->from + 1);
    size_t n = 0;
    if (memchr(t->text.p + k->from, 0x1F, k->to - k->from) != NULL) {
        fail(t, "control characters cannot be used"); /* one of them separates fields */
    }
    uint8_t quote = t->text.p[k->from];
    for (size_t i = k->from + 1; i + 1 < k->to; i++) {
        out[n++] = (char)t->text.p[i];
        i += t->text.p[i] == quote;
    }
    out[n] = 0;
    return out;
}

static const char *take_name(struct tokens *t)
{
    const struct token *k = &t->items[t->at];
    if (k->kind == TOKEN_QUOTED) {
        t->at++;
        return unquote(t, k);
    }
    if (k->kind != TOKEN_WORD) {
        fail(t, "expected a name");
        return NULL;
    }
    t->at++;
    char *name = arena_strndup(&t->build->scratch, t->text.p + k->from, k->to - k->from);
    for (char *c = name; *c != 0; c++) {
        *c = (char)tolower((unsigned char)*c);
    }
    return name;
}

static const char *take_value(struct tokens *t)
{
    const char *sign = take(t, "-") ? "-" : "";
    const struct token *k = &t->items[t->at];
    if (k->kind == TOKEN_STRING && sign[0] == 0) {
        t->at++;
        return unquote(t, k);
    }
    if (k->kind != TOKEN_NUMBER) {
        fail(t, "expected a number or a string");
        return NULL;
    }
    t->at++;
    return arena_printf(&t->build->scratch, "%s%.*s", sign, (int)(k->to - k->from),
                        (const char *)t->text.p + k->from);
}

static int take_shard(struct tokens *t, struct map_decl_split *out)
{
    if (!expect(t, "ON")) {
        return 0;
    }
    const char *name = take_name(t);
    const struct map *map = t->build->env->map;
    for (size_t i = 0; name != NULL && i < map->shards_count; i++) {
        if (strcmp(map->shard_names[i], name) == 0) {
            out->shard = (uint16_t)i;
            return 1;
        }
    }
    int first = name != NULL && t->err == ERR_NONE;
    t->at -= name != NULL;
    (void)fail(t, "this shard is not configured");
    if (first) {
        struct buf names = {0};
        for (size_t i = 0; i < map->shards_count; i++) {
            buf_printf(&names, "%s%s", i == 0 ? "" : ", ", map->shard_names[i]);
        }
        buf_cstr(&names, "");
        note_hint(t->note, "The shards are %s.", (const char *)names.p);
        buf_free(&names);
    }
    return 0;
}

static int take_keys(struct tokens *t, struct map_decl *d, size_t max)
{
    const char **keys = arena_zero(&t->build->scratch, KEY_COLUMNS_MAX * sizeof(char *));
    if (!expect(t, "(")) {
        return 0;
    }
    do {
        if (d->keys_count == max) {
            return fail(t, "too many columns");
        }
        keys[d->keys_count] = take_name(t);
        if (keys[d->keys_count++] == NULL) {
            return 0;
        }
    } while (take(t, ","));
    d->keys = keys;
    return expect(t, ")");
}

static int take_piece(struct tokens *t, struct map_decl *d, struct map_decl_split *s, int *last)
{
    *last = 0;
    if (d->kind == MAP_RANGE && take(t, "below")) {
        return expect(t, "(") && (s->below = take_value(t)) != NULL && expect(t, ")") &&
               take_shard(t, s);
    }
    if (d->kind == MAP_LIST && take(t, "values")) {
        size_t cap = t->count;
        const char **values = arena_zero(&t->build->scratch, cap * sizeof(char *));
        if (!expect(t, "(")) {
            return 0;
        }
        do {
            values[s->values_count] = take_value(t);
            if (values[s->values_count++] == NULL) {
                return 0;
            }
        } while (take(t, ","));
        s->values = values;
        return expect(t, ")") && take_shard(t, s);
    }
    if (d->kind == MAP_LIST) {
        take(t, "default");
    }
    *last = 1;
    return take_shard(t, s);
}

static int take_pieces(struct tokens *t, struct map_decl *d)
{
    struct map_decl_split *splits =
        arena_zero(&t->build->scratch, t->count * sizeof(struct map_decl_split));
    int last = 0;
    if (!expect(t, "(")) {
        return 0;
    }
    do {
        if (last) {
            return fail(t, "nothing may follow the piece for the rest");
        }
        if (!take_piece(t, d, &splits[d->splits_count++], &last)) {
            return 0;
        }
    } while (take(t, ","));
    d->splits = splits;
    if (d->kind == MAP_RANGE && !last) {
        return fail(t, "the last piece must be ON a shard without BELOW");
    }
    return expect(t, ")");
}

static int take_colocate(struct tokens *t, struct map_decl *d)
{
    if (!expect(t, "WITH")) {
        return 0;
    }
    const char *name = take_name(t), *schema = NULL;
    if (name != NULL && take(t, ".")) {
        schema = name;
        name = take_name(t);
    }
    if (name == NULL) {
        return 0;
    }
    struct relation r;
    relation_find(t->build, schema, name, &r);
    d->colocate = arena_printf(&t->build->scratch, "%s.%s", r.schema, r.name);
    return 1;
}

static int take_suffix(struct tokens *t, struct map_decl *d)
{
    if (take(t, "reference")) {
        d->kind = MAP_REFERENCE;
    } else if (take(t, "local")) {
        t->build->suffix_local = 1;
    } else if (!expect(t, "SHARD") || !expect(t, "BY")) {
        return 0;
    } else if (take(t, "hash")) {
        d->kind = MAP_HASH;
        if (!take_keys(t, d, KEY_COLUMNS_MAX) || (take(t, "colocate") && !take_colocate(t, d))) {
            return 0;
        }
    } else if (take(t, "range")) {
        d->kind = MAP_RANGE;
        if (!take_keys(t, d, 1) || !take_pieces(t, d)) {
            return 0;
        }
    } else if (take(t, "list")) {
        d->kind = MAP_LIST;
        if (!take_keys(t, d, 1) || !take_pieces(t, d)) {
            return 0;
        }
    } else {
        return fail(t, "expected HASH, RANGE or LIST");
    }
    take(t, ";");
    return t->items[t->at].kind == TOKEN_END || fail(t, "expected the end of the statement");
}

/* Where the suffix begins: SHARD BY, or REFERENCE as the last word; outside of brackets. */
static size_t find_suffix(const struct tokens *t)
{
    int alter = token_is(t, 0, "alter") && token_is(t, 1, "table");
    if (!token_is(t, 0, "create") && !alter) {
        return 0;
    }
    for (size_t i = 1; i < t->count; i++) {
        if (t->items[i].depth == 0 && token_is(t, i, "shard") && token_is(t, i + 1, "by")) {
            return i;
        }
        int word = (token_is(t, i, "reference") && i > (alter ? 2 : 3)) ||
                   (alter && token_is(t, i, "local") && i > 2);
        if (t->items[i].depth == 0 && word &&
            (t->items[i + 1].kind == TOKEN_END || token_is(t, i + 1, ";"))) {
            return i;
        }
    }
    return 0;
}

enum err ddl_split_suffix(struct build *b, struct slice text, struct slice *rest,
                          struct map_decl **decl, int *position, struct note *note)
{
    struct tokens t = {.build = b, .text = text, .note = note};
    *rest = text;
    *decl = NULL;
    tokenize(&t);
    t.at = find_suffix(&t);
    if (t.at > 0) {
        struct map_decl *d = arena_zero(&b->scratch, sizeof(*d));
        size_t cut = t.items[t.at].from;
        d->from_sql = 1;
        b->suffix_local = 0;
        if (take_suffix(&t, d)) {
            /* ALTER TABLE needs some command to be parsed */
            int alter = token_is(&t, 0, "alter");
            *rest = slice_of(arena_printf(&b->scratch, "%.*s%s", (int)cut, (const char *)text.p,
                                          alter ? "OWNER TO CURRENT_USER" : ""));
            *decl = d;
        }
    }
    mem_free(t.items);
    for (size_t i = 0; t.err != ERR_NONE && i <= t.err_at && i < text.n; i++) {
        *position += i == 0 || (text.p[i] & 0xC0) != 0x80; /* counted in characters, from 1 */
    }
    return t.err;
}
