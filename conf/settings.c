/*
 * The rows of settings.def and the one reader for all of them. There is no per-setting code here:
 * a rule that spans two settings stands in conf.c, where the whole snapshot is known, so the order
 * of lines in a file never matters.
 */

#include <stddef.h>
#include <string.h>

#include "base/check.h"
#include "conf/reader.h"

enum {
    START,
    LIVE
};

static const struct setting rows[] = {
#define SETTING_INT(member, path_, def_, min_, max_, unit_, reload_, help_) \
    {.path = (path_),                                                       \
     .kind = SETTING_KIND_INT,                                              \
     .offset = offsetof(struct conf, member),                               \
     .def = (def_),                                                         \
     .min = (min_),                                                         \
     .max = (max_),                                                         \
     .unit = (unit_),                                                       \
     .reload = (reload_),                                                   \
     .help = (help_)},
#define SETTING_TEXT(member, path_, def_, reload_, help_) \
    {.path = (path_),                                     \
     .kind = SETTING_KIND_TEXT,                           \
     .offset = offsetof(struct conf, member),             \
     .def_text = (def_),                                  \
     .reload = (reload_),                                 \
     .help = (help_)},
#define SETTING_ENUM(member, path_, type, def_, words_, reload_, help_) \
    {.path = (path_),                                                   \
     .kind = SETTING_KIND_ENUM,                                         \
     .offset = offsetof(struct conf, member),                           \
     .def = (def_),                                                     \
     .words = (words_),                                                 \
     .reload = (reload_),                                               \
     .help = (help_)},
#include "conf/settings.def"
};

enum {
    ROWS = sizeof(rows) / sizeof(rows[0])
};

/* Enum members are written and read as unsigned. */
#define SETTING_INT(member, path, def, min, max, unit, reload, help)
#define SETTING_TEXT(member, path, def, reload, help)
#define SETTING_ENUM(member, path, type, def, words, reload, help) \
    static_assert(sizeof(((struct conf *)NULL)->member) == sizeof(unsigned), "width of an enum");
#include "conf/settings.def"

const struct setting *setting_at(size_t index)
{
    return index < ROWS ? &rows[index] : NULL;
}

static void *member_of(struct conf *conf, const struct setting *s)
{
    return (char *)conf + s->offset;
}

static const void *member_of_const(const struct conf *conf, const struct setting *s)
{
    return (const char *)conf + s->offset;
}

void settings_default(struct conf *conf)
{
    for (size_t i = 0; i < ROWS; i++) {
        const struct setting *s = &rows[i];
        unsigned word = (unsigned)s->def;
        switch (s->kind) {
        case SETTING_KIND_INT:
            check(s->min <= s->def && s->def <= s->max);
            memcpy(member_of(conf, s), &s->def, sizeof(s->def));
            break;
        case SETTING_KIND_TEXT:
            memcpy(member_of(conf, s), &s->def_text, sizeof(s->def_text));
            break;
        case SETTING_KIND_ENUM: memcpy(member_of(conf, s), &word, sizeof(word)); break;
        }
    }
}

/* ---- reading --------------------------------------------------------------------------------- */

static enum unit unit_of(const struct setting *s)
{
    if (strcmp(s->unit, "ms") == 0) {
        return UNIT_MS;
    }
    return strcmp(s->unit, "bytes") == 0 ? UNIT_BYTES : UNIT_NONE;
}

/* Texts for which "" says something: nobody, nothing. */
static int may_be_empty(const struct setting *s)
{
    static const char *const paths[] = {"auth.admin_users", "pool.server_reset_query"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        if (strcmp(paths[i], s->path) == 0) {
            return 1;
        }
    }
    return 0;
}

static enum err read_setting(struct reader *r, const struct node *node, size_t row)
{
    const struct setting *s = &rows[row];
    int64_t value = 0;
    unsigned word = 0;
    const char *text = NULL;
    enum err e = ERR_NONE;
    switch (s->kind) {
    case SETTING_KIND_INT:
        e = read_int(r, node, s->path, (struct bounds){s->min, s->max, unit_of(s), s->unit},
                     &value);
        memcpy(member_of(r->conf, s), &value, sizeof(value));
        break;
    case SETTING_KIND_TEXT:
        if (node->kind == NODE_TEXT && !node->plain && node->text[0] == '\0' && may_be_empty(s)) {
            text = "";
        } else {
            e = read_text(r, node, s->path, &text);
        }
        memcpy(member_of(r->conf, s), &text, sizeof(text));
        break;
    case SETTING_KIND_ENUM:
        e = read_word(r, node, s->path, s->words, &word);
        memcpy(member_of(r->conf, s), &word, sizeof(word));
        break;
    }
    r->lines[row] = node->line;
    return e;
}

/* Does the row's path begin with `prefix` ("" or "tls." or "tls.client.")? The rest, or NULL. */
static const char *behind(const struct setting *s, const char *prefix)
{
    size_t n = strlen(prefix);
    return strncmp(s->path, prefix, n) == 0 ? s->path + n : NULL;
}

enum {
    ROW_IS_SECTION = -1,
    ROW_UNKNOWN = -2
};

static int row_of(const char *prefix, const char *key)
{
    size_t n = strlen(key);
    for (int i = 0; i < ROWS; i++) {
        const char *rest = behind(&rows[i], prefix);
        if (rest != NULL && strncmp(rest, key, n) == 0) {
            if (rest[n] == '\0') {
                return i;
            }
            if (rest[n] == '.' && n > 0) {
                return ROW_IS_SECTION;
            }
        }
    }
    return ROW_UNKNOWN;
}

/* The words that may stand at this level, for a message. */
static enum err unknown_setting(struct reader *r, const struct node *node, const char *prefix)
{
    const char *known[ROWS + 8];
    size_t count = 0;
    for (size_t i = 0; i < ROWS; i++) {
        const char *rest = behind(&rows[i], prefix);
        if (rest != NULL) {
            char *word = arena_strndup(&r->scratch, rest, strcspn(rest, "."));
            if (count == 0 || strcmp(known[count - 1], word) != 0) {
                known[count++] = word;
            }
        }
    }
    for (size_t i = 0; prefix[0] == '\0' && i < topology_keys_count; i++) {
        known[count++] = topology_keys[i];
    }
    size_t n = strlen(prefix);
    return bad_key(r, node, arena_strndup(&r->scratch, prefix, n == 0 ? 0 : n - 1), known, count);
}

static int is_topology_key(const char *key)
{
    for (size_t i = 0; i < topology_keys_count; i++) {
        if (strcmp(topology_keys[i], key) == 0) {
            return 1;
        }
    }
    return 0;
}

/* Recursion ends with the paths of the table: no section stands under a setting. */
static enum err read_section(struct reader *r, const struct node *map, const char *prefix)
{
    for (const struct node *child = map->first; child != NULL; child = child->next) {
        if (prefix[0] == '\0' && is_topology_key(child->key)) {
            continue;
        }
        int row = row_of(prefix, child->key);
        if (row == ROW_UNKNOWN) {
            return unknown_setting(r, child, prefix);
        }
        enum err e = ERR_NONE;
        if (row >= 0) {
            e = read_setting(r, child, (size_t)row);
        } else if (child->kind == NODE_MAP) {
            e = read_section(r, child, arena_printf(&r->scratch, "%s%s.", prefix, child->key));
        } else if (!node_is_null(child)) { /* a section whose lines are all comments is fine */
            e = bad(r, child->line, "%s%s is %s; it is a section: %s: { ... }", prefix, child->key,
                    child->kind == NODE_LIST ? "a list" : "a single value", child->key);
        }
        if (e) {
            return e;
        }
    }
    return ERR_NONE;
}

enum err settings_read(struct reader *r, const struct node *root)
{
    r->lines = arena_zero(&r->scratch, ROWS * sizeof(r->lines[0]));
    return read_section(r, root, "");
}

int setting_line(const struct reader *r, const char *path)
{
    for (size_t i = 0; i < ROWS; i++) {
        if (strcmp(rows[i].path, path) == 0) {
            return r->lines[i] == 0 ? 1 : r->lines[i];
        }
    }
    return 1;
}

/* ---- showing --------------------------------------------------------------------------------- */

static void add_word(const char *words, unsigned index, struct buf *out)
{
    for (; index > 0; index--) {
        words = strchr(words, ',');
        check(words != NULL);
        words++;
    }
    buf_add(out, words, strcspn(words, ","));
}

static void value_text(const struct conf *conf, const struct setting *s, struct buf *out)
{
    int64_t value = 0;
    unsigned word = 0;
    const char *text = NULL;
    switch (s->kind) {
    case SETTING_KIND_INT:
        memcpy(&value, member_of_const(conf, s), sizeof(value));
        buf_printf(out, "%lld", (long long)value);
        break;
    case SETTING_KIND_TEXT:
        memcpy(&text, member_of_const(conf, s), sizeof(text));
        buf_text(out, text == NULL ? "" : text);
        break;
    case SETTING_KIND_ENUM:
        memcpy(&word, member_of_const(conf, s), sizeof(word));
        add_word(s->words, word, out);
        break;
    }
}

void setting_default_text(const struct setting *s, struct buf *out)
{
    switch (s->kind) {
    case SETTING_KIND_INT: buf_printf(out, "%lld", (long long)s->def); break;
    case SETTING_KIND_TEXT: buf_text(out, s->def_text == NULL ? "" : s->def_text); break;
    case SETTING_KIND_ENUM: add_word(s->words, (unsigned)s->def, out); break;
    }
}

void setting_bounds_text(const struct setting *s, struct buf *out)
{
    switch (s->kind) {
    case SETTING_KIND_INT:
        buf_printf(out, "%lld..%lld %s", (long long)s->min, (long long)s->max, s->unit);
        break;
    case SETTING_KIND_TEXT: buf_text(out, "text"); break;
    case SETTING_KIND_ENUM:
        buf_text(out, "one of ");
        for (const char *p = s->words; *p != '\0'; p++) {
            buf_text(out, *p == ',' ? ", " : (char[]){*p, '\0'});
        }
        break;
    }
}

int conf_item(const struct conf *conf, size_t index, struct buf *scratch, struct conf_item *out)
{
    const struct setting *s = setting_at(index);
    if (s == NULL) {
        return 0;
    }
    scratch->n = 0;
    value_text(conf, s, scratch);
    buf_u8(scratch, 0);
    size_t def_at = scratch->n;
    setting_default_text(s, scratch);
    buf_u8(scratch, 0);
    size_t bounds_at = scratch->n;
    setting_bounds_text(s, scratch);
    buf_u8(scratch, 0);
    const char *texts = (const char *)scratch->p; /* only now: buf grows by moving */
    *out = (struct conf_item){.path = s->path,
                              .value = texts,
                              .def = texts + def_at,
                              .bounds = texts + bounds_at,
                              .help = s->help,
                              .reload = s->reload == LIVE};
    return 1;
}

static int same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static int same_listen(const struct conf *a, const struct conf *b)
{
    int same = a->listen_count == b->listen_count;
    for (size_t i = 0; same && i < a->listen_count; i++) {
        const struct conf_listen *x = &a->listen[i];
        const struct conf_listen *y = &b->listen[i];
        same = strcmp(x->address, y->address) == 0 && x->unix_mode == y->unix_mode &&
               same_text(x->unix_group, y->unix_group) && x->proxy_protocol == y->proxy_protocol &&
               x->has_tls_mode == y->has_tls_mode && x->tls_mode == y->tls_mode;
    }
    return same;
}

void conf_restart_needed(const struct conf *old, const struct conf *new_, struct buf *out)
{
    const char *comma = "";
    if (!same_listen(old, new_)) {
        buf_text(out, "listen");
        comma = ", ";
    }
    struct buf was = {0};
    struct buf is = {0};
    for (size_t i = 0; i < ROWS; i++) {
        if (rows[i].reload == LIVE) {
            continue;
        }
        was.n = 0;
        is.n = 0;
        value_text(old, &rows[i], &was);
        value_text(new_, &rows[i], &is);
        if (!slice_eq(buf_slice(&was), buf_slice(&is))) {
            buf_printf(out, "%s%s", comma, rows[i].path);
            comma = ", ";
        }
    }
    buf_free(&was);
    buf_free(&is);
}
