/*
 * What databases and users set for themselves: rows of pool_options.def. There is no code per
 * option; where a key stands is a column of its row.
 *
 *     users:
 *       alice: { pool: { size: 5, max_connections: 10 }, query_timeout_ms: 10s }
 *                 ^ keys "pool.size" ...                  ^ keys without a dot
 */

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "conf/reader.h"

struct option {
    size_t offset; /* in struct conf_pool_options */
    int64_t min, max;
    const char *unit;
    const char *keys[2]; /* of a database, of a user */
    size_t global;       /* in struct conf: the setting for all */
    const char *help;
};

static const struct option rows[] = {
#define POOL_OPTION(member, min_, max_, unit_, db_key, user_key, global_, help_) \
    {.offset = offsetof(struct conf_pool_options, member),                       \
     .min = (min_),                                                              \
     .max = (max_),                                                              \
     .unit = (unit_),                                                            \
     .keys = {db_key, user_key},                                                 \
     .global = offsetof(struct conf, global_),                                   \
     .help = (help_)},
#include "conf/pool_options.def"
};

enum {
    ROWS = sizeof(rows) / sizeof(rows[0])
};
static_assert((int)ROWS < (int)OPTION_FIELDS_MAX, "room for every option");

static const char POOL_PREFIX[] = "pool.";

static int64_t *member_of(struct conf_pool_options *options, const struct option *row)
{
    return (int64_t *)(void *)((char *)options + row->offset);
}

void conf_pool_options_init(struct conf_pool_options *options)
{
    for (size_t i = 0; i < ROWS; i++) {
        *member_of(options, &rows[i]) = CONF_UNSET;
    }
}

/* ---- resolving ------------------------------------------------------------------------------- */

static int options_named(const void *name, const void *options)
{
    return strcmp(name, ((const struct conf_user_options *)options)->name);
}

void conf_resolve(const struct conf *conf, const struct conf_database *db, const char *user,
                  struct conf_pool_options *out)
{
    const struct conf_user_options *own = NULL;
    if (conf->user_options_count != 0) {
        own = bsearch(user, conf->user_options, conf->user_options_count,
                      sizeof(conf->user_options[0]), options_named);
    }
#define POOL_OPTION(member, min, max, unit, db_key, user_key, global, help)        \
    out->member = own != NULL && own->pool.member != CONF_UNSET ? own->pool.member \
                  : db != NULL && db->pool.member != CONF_UNSET ? db->pool.member  \
                                                                : (int64_t)conf->global;
#include "conf/pool_options.def"
}

/* ---- reading --------------------------------------------------------------------------------- */

/* The key behind "pool.", or the whole key; NULL when the row does not stand at that level. */
static const char *key_at(const struct option *row, int of_user, int in_pool)
{
    const char *key = row->keys[of_user];
    size_t n = sizeof(POOL_PREFIX) - 1;
    if (key == NULL || (strncmp(key, POOL_PREFIX, n) == 0) != in_pool) {
        return NULL;
    }
    return in_pool ? key + n : key;
}

static size_t fields_at(int of_user, int in_pool, struct field *fields, const struct node **nodes)
{
    size_t count = 0;
    for (size_t i = 0; i < ROWS; i++) {
        const char *key = key_at(&rows[i], of_user, in_pool);
        if (key != NULL) {
            fields[count] = (struct field){key, &nodes[i]};
            count++;
        }
    }
    return count;
}

size_t option_fields(int of_user, struct field *fields, const struct node **nodes)
{
    fields[0] = (struct field){"pool", &nodes[ROWS]};
    return 1 + fields_at(of_user, 0, fields + 1, nodes);
}

static int has_words(const struct option *row)
{
    return strchr(row->unit, ',') != NULL;
}

static enum err read_option(struct reader *r, const struct node *node, const char *what,
                            const struct option *row, int64_t *out)
{
    if (has_words(row)) {
        unsigned word = 0;
        enum err e = read_word(r, node, what, row->unit, &word);
        *out = (int64_t)word;
        return e;
    }
    enum unit unit = strcmp(row->unit, "ms") == 0 ? UNIT_MS : UNIT_NONE;
    return read_int(r, node, what, (struct bounds){row->min, row->max, unit, row->unit}, out);
}

enum err options_read(struct reader *r, int of_user, const struct node *const *nodes,
                      const char *what, struct conf_pool_options *out)
{
    const struct node *all[OPTION_FIELDS_MAX] = {NULL};
    struct field fields[OPTION_FIELDS_MAX];
    enum err e = ERR_NONE;
    conf_pool_options_init(out);
    if (nodes[ROWS] != NULL && !node_is_null(nodes[ROWS])) {
        const char *pool = arena_printf(&r->scratch, "%s.pool", what);
        size_t count = fields_at(of_user, 1, fields, all);
        e = need_map(r, nodes[ROWS], pool, count, "{ size: 20 }");
        e = e ? e : read_fields(r, nodes[ROWS], pool, fields, count);
    }
    for (size_t i = 0; i < ROWS && !e; i++) {
        const struct node *node = nodes[i] != NULL ? nodes[i] : all[i];
        if (node != NULL) {
            const char *name = arena_printf(&r->scratch, "%s.%s", what, rows[i].keys[of_user]);
            e = read_option(r, node, name, &rows[i], member_of(out, &rows[i]));
        }
    }
    return e;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct conf_user_options *)a)->name,
                  ((const struct conf_user_options *)b)->name);
}

enum err user_options_read(struct reader *r, const struct node *node)
{
    struct conf *conf = r->conf;
    if (node_is_null(node)) {
        return ERR_NONE;
    }
    enum err e =
        need_map(r, node, "users", CONF_USER_OPTIONS_MAX, "{ alice: { pool: { size: 5 } } }");
    if (e) {
        return e;
    }
    conf->user_options = arena_zero(r->keep, node->count * sizeof(conf->user_options[0]));
    for (const struct node *child = node->first; child != NULL; child = child->next) {
        struct conf_user_options *user = &conf->user_options[conf->user_options_count++];
        const struct node *nodes[OPTION_FIELDS_MAX] = {NULL};
        struct field fields[OPTION_FIELDS_MAX];
        size_t count = option_fields(1, fields, nodes);
        const char *what = arena_printf(&r->scratch, "users.%s", child->key);
        e = check_name(r, child->line, "a user", child->key);
        e = e ? e : need_map(r, child, what, count, "{ pool: { size: 5 } }");
        e = e ? e : read_fields(r, child, what, fields, count);
        e = e ? e : options_read(r, 1, nodes, what, &user->pool);
        if (e) {
            return e;
        }
        user->name = arena_strdup(r->keep, child->key);
    }
    qsort(conf->user_options, conf->user_options_count, sizeof(conf->user_options[0]), by_name);
    return ERR_NONE;
}

/* ---- startup parameters of server connections ------------------------------------------------ */

enum err params_read(struct reader *r, const struct node *node, const char *what,
                     struct conf_param **out, size_t *count)
{
    enum err e = need_map(r, node, what, CONF_SETTINGS_MAX, "{ TimeZone: UTC }");
    if (e) {
        return e;
    }
    *out = arena_zero(r->keep, node->count * sizeof(**out));
    *count = 0;
    for (const struct node *child = node->first; child != NULL; child = child->next) {
        struct conf_param *param = &(*out)[(*count)++];
        const char *name = arena_printf(&r->scratch, "%s.%s", what, child->key);
        e = check_name(r, child->line, "a setting", child->key);
        e = e ? e : read_text(r, child, name, &param->value);
        if (e) {
            return e;
        }
        if (strcmp(child->key, "user") == 0 || strcmp(child->key, "database") == 0 ||
            strcmp(child->key, "replication") == 0) {
            return bad(r, child->line, "%s is no setting of a server; remove it", name);
        }
        param->name = arena_strdup(r->keep, child->key);
    }
    return ERR_NONE;
}

/* ---- the manual ------------------------------------------------------------------------------ */

static const char *setting_of(size_t offset)
{
    size_t i = 0;
    while (setting_at(i) != NULL && setting_at(i)->offset != offset) {
        i++;
    }
    check(setting_at(i) != NULL);
    return setting_at(i)->path;
}

void options_print_manual(int of_user, struct buf *out)
{
    for (size_t i = 0; i < ROWS; i++) {
        const struct option *row = &rows[i];
        if (row->keys[of_user] == NULL) {
            continue;
        }
        buf_printf(out, "| `%s` | `%s` | ", row->keys[of_user], setting_of(row->global));
        if (has_words(row)) {
            buf_text(out, row->unit);
        } else {
            buf_printf(out, "%lld..%lld %s", (long long)row->min, (long long)row->max, row->unit);
        }
        buf_printf(out, " | %s |\n", row->help);
    }
}
