/*
 * How the tables of a database are spread. Each table has one strategy:
 *
 *     hash: [a, b]                              over all shards, by bucket
 *     hash: [a], colocate: other                ... and row by row beside `other`
 *     range: [a], splits: [{ below: x, shard: s }, ..., { shard: t }]
 *     list: [a], splits: [{ values: [x, y], shard: s }, ..., { shard: t }]
 *     reference: true                           every row on every shard
 *
 * and, unless it is a reference table, the unique indexes that hold over all shards:
 *
 *     global_unique: [a, "b, c"]
 *
 * What needs the columns' types (is the key hashable, is a bound a value of the type) is checked
 * where the catalog is known, in shardmap/.
 */

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "conf/reader.h"

struct table_nodes {
    const struct node *hash;
    const struct node *range;
    const struct node *list;
    const struct node *reference;
    const struct node *colocate;
    const struct node *splits;
    const struct node *unique;
};

/* ---- name and keys --------------------------------------------------------------------------- */

/* "orders" is public.orders; "shop.orders" is what it says. */
static enum err split_name(struct reader *r, int line, const char *text, const char **schema,
                           const char **name)
{
    const char *dot = strchr(text, '.');
    if (dot != NULL && strchr(dot + 1, '.') != NULL) {
        return bad(r, line, "table name %s has two dots; write table or schema.table",
                   shown(r, text));
    }
    *schema = dot == NULL ? "public" : arena_strndup(r->keep, text, (size_t)(dot - text));
    *name = arena_strdup(r->keep, dot == NULL ? text : dot + 1);
    enum err e = check_name(r, line, "a schema", *schema);
    return e ? e : check_name(r, line, "a table", *name);
}

static enum err read_keys(struct reader *r, const struct node *node, const char *what,
                          struct conf_table *out)
{
    what = arena_printf(&r->scratch, "%s.%s", what, node->key);
    size_t max = out->kind == CONF_TABLE_HASH ? CONF_KEYS_MAX : 1;
    enum err e = need_list(r, node, what, max, "[column]");
    if (e) {
        return e;
    }
    out->keys = arena_zero(r->keep, node->count * sizeof(out->keys[0]));
    for (const struct node *child = node->first; child != NULL; child = child->next) {
        const char *column = NULL;
        e = read_text(r, child, what, &column);
        e = e ? e : check_name(r, child->line, "a column", column);
        if (e) {
            return e;
        }
        for (size_t i = 0; i < out->keys_count; i++) {
            if (strcmp(out->keys[i], column) == 0) {
                return bad(r, child->line, "%s names column %s twice; name each column once", what,
                           shown(r, column));
            }
        }
        out->keys[out->keys_count++] = column;
    }
    return ERR_NONE;
}

/* ---- splits ---------------------------------------------------------------------------------- */

/* A value of the key column; unlike other texts it may be "". */
static enum err read_key_text(struct reader *r, const struct node *node, const char *what,
                              const char **out)
{
    if (node->kind == NODE_TEXT && !node_is_null(node)) {
        *out = arena_strdup(r->keep, node->text);
        return ERR_NONE;
    }
    if (node_is_null(node)) {
        return bad(r, node->line, "%s: NULL is no key value; quote the word if it is a text", what);
    }
    return bad(r, node->line, "%s holds a list or a map; it takes single values", what);
}

static enum err read_values(struct reader *r, const struct node *node, const char *what,
                            struct conf_split *out)
{
    enum err e = need_list(r, node, what, SIZE_MAX, "[a, b]");
    if (e) {
        return e;
    }
    out->values = arena_zero(r->keep, node->count * sizeof(out->values[0]));
    for (const struct node *child = node->first; child != NULL; child = child->next) {
        e = read_key_text(r, child, what, &out->values[out->values_count++]);
        if (e) {
            return e;
        }
    }
    return ERR_NONE;
}

static enum err find_shard(struct reader *r, const struct node *node, const char *what,
                           const struct conf_database *db, uint16_t *out)
{
    const char *name = NULL;
    enum err e = read_text(r, node, what, &name);
    if (e) {
        return e;
    }
    int shard = shard_named(db, name);
    if (shard >= 0) {
        *out = (uint16_t)shard;
        return ERR_NONE;
    }
    const char *known[CONF_SHARDS_MAX];
    for (size_t i = 0; i < db->shards_count; i++) {
        known[i] = db->shards[i].name;
    }
    const char *best = nearest_word(name, known, db->shards_count);
    return bad(r, node->line, "%s: shard %s is not a shard of database \"%s\"; %s \"%s\"", what,
               shown(r, name), db->name,
               best == NULL ? "use one of its shards such as" : "did you mean",
               best == NULL ? known[0] : best);
}

static enum err read_split(struct reader *r, const struct node *node, const char *what,
                           const struct conf_database *db, enum conf_table_kind kind,
                           struct conf_split *out)
{
    int range = kind == CONF_TABLE_RANGE;
    const struct node *bound = NULL;
    const struct node *shard = NULL;
    const struct field fields[] = {{range ? "below" : "values", &bound}, {"shard", &shard}};
    enum err e = need_map(r, node, what, 2,
                          range ? "{ below: \"2026-01-01\", shard: shard0 }"
                                : "{ values: [a, b], shard: shard0 }");
    e = e ? e : read_fields(r, node, what, fields, 2);
    if (e) {
        return e;
    }
    out->line = node->line;
    if (shard == NULL) {
        return bad(r, node->line, "%s: a piece names no shard; add shard: %s", what,
                   db->shards[0].name);
    }
    e = find_shard(r, shard, what, db, &out->shard);
    if (e == ERR_NONE && bound != NULL) {
        e = range ? read_key_text(r, bound, what, &out->below) : read_values(r, bound, what, out);
    }
    return e;
}

/* Bounds ascend, and the last piece alone is open, so every value has exactly one piece. */
static enum err check_range(struct reader *r, const char *what, const struct conf_table *t)
{
    size_t last = t->splits_count - 1;
    if (t->splits[last].below != NULL) {
        return bad(r, t->splits[last].line,
                   "%s: no piece takes the values from %s on; end the list with { shard: NAME }",
                   what, shown(r, t->splits[last].below));
    }
    const char **bounds = arena_alloc(&r->scratch, t->splits_count * sizeof(bounds[0]));
    for (size_t i = 0; i < last; i++) {
        bounds[i] = t->splits[i].below;
        if (bounds[i] == NULL) {
            return bad(
                r, t->splits[i].line,
                "%s: a piece without below: stands before the end; only the last one is open",
                what);
        }
    }
    enum key_order order = key_order_of(bounds, last);
    for (size_t i = 1; i < last; i++) {
        int compared = key_order_compare(order, bounds[i - 1], bounds[i]);
        if (compared == 0) {
            return bad(r, t->splits[i].line, "%s: the bound %s stands twice; remove one piece",
                       what, shown(r, bounds[i]));
        }
        if (compared > 0) {
            return bad(r, t->splits[i].line,
                       "%s: pieces overlap: below %s comes after below %s; bounds must ascend",
                       what, shown(r, bounds[i]), shown(r, bounds[i - 1]));
        }
    }
    return ERR_NONE;
}

struct value_line {
    const char *text;
    int line;
};

static int by_text_then_line(const void *a, const void *b)
{
    const struct value_line *x = a;
    const struct value_line *y = b;
    int order = strcmp(x->text, y->text);
    return order != 0 ? order : (x->line > y->line) - (x->line < y->line);
}

/* No value twice, and at most one piece for all the others. */
static enum err check_list(struct reader *r, const char *what, const struct conf_table *t)
{
    size_t total = 0;
    const struct conf_split *rest = NULL;
    for (size_t i = 0; i < t->splits_count; i++) {
        const struct conf_split *split = &t->splits[i];
        if (split->values_count == 0 && rest != NULL) {
            return bad(
                r, split->line,
                "%s: two pieces have no values (the other on line %d); one may take the rest", what,
                rest->line);
        }
        rest = split->values_count == 0 ? split : rest;
        total += split->values_count;
    }
    struct value_line *all = mem_alloc((total + 1) * sizeof(all[0]));
    size_t n = 0;
    for (size_t i = 0; i < t->splits_count; i++) {
        for (size_t j = 0; j < t->splits[i].values_count; j++) {
            all[n++] = (struct value_line){t->splits[i].values[j], t->splits[i].line};
        }
    }
    qsort(all, n, sizeof(all[0]), by_text_then_line);
    enum err e = ERR_NONE;
    for (size_t i = 1; i < n && e == ERR_NONE; i++) {
        if (strcmp(all[i - 1].text, all[i].text) == 0) {
            e = bad(r, all[i].line,
                    "%s: the value %s stands twice (also in the piece of line %d); keep one", what,
                    shown(r, all[i].text), all[i - 1].line);
        }
    }
    mem_free(all);
    return e;
}

static enum err read_splits(struct reader *r, const struct node *node, const char *what,
                            const struct conf_database *db, struct conf_table *out)
{
    what = arena_printf(&r->scratch, "%s.splits", what);
    enum err e = need_list(r, node, what, CONF_SPLITS_MAX,
                           out->kind == CONF_TABLE_RANGE
                               ? "[{ below: 100, shard: shard0 }, { shard: shard1 }]"
                               : "[{ values: [a, b], shard: shard0 }, { shard: shard1 }]");
    if (e) {
        return e;
    }
    out->splits = arena_zero(r->keep, node->count * sizeof(out->splits[0]));
    for (const struct node *child = node->first; child != NULL; child = child->next) {
        e = read_split(r, child, what, db, out->kind, &out->splits[out->splits_count++]);
        if (e) {
            return e;
        }
    }
    return out->kind == CONF_TABLE_RANGE ? check_range(r, what, out) : check_list(r, what, out);
}

/* ---- global unique indexes ------------------------------------------------------------------- */

/* "b, c" -> "b,c" */
static enum err read_columns(struct reader *r, const struct node *node, const char *what,
                             const char **out)
{
    const char *text = NULL;
    enum err e = read_text(r, node, what, &text);
    if (e) {
        return e;
    }
    const char *joined = "";
    while (text != NULL) {
        const char *comma = strchr(text, ',');
        size_t n = comma == NULL ? strlen(text) : (size_t)(comma - text);
        for (; n > 0 && *text == ' '; text++, n--) {
        }
        for (; n > 0 && text[n - 1] == ' '; n--) {
        }
        const char *column = arena_strndup(&r->scratch, text, n);
        e = n == 0 ? bad(r, node->line, "%s: a column has no name; write [a, \"b, c\"]", what)
                   : check_name(r, node->line, "a column", column);
        if (e) {
            return e;
        }
        joined = arena_printf(r->keep, "%s%s%s", joined, *joined == 0 ? "" : ",", column);
        text = comma == NULL ? NULL : comma + 1;
    }
    *out = joined;
    return ERR_NONE;
}

static enum err read_uniques(struct reader *r, const struct node *node, const char *what,
                             struct conf_table *out)
{
    what = arena_printf(&r->scratch, "%s.%s", what, node->key);
    enum err e = need_list(r, node, what, CONF_UNIQUES_MAX, "[email, \"region, code\"]");
    if (e) {
        return e;
    }
    if (out->kind == CONF_TABLE_REFERENCE) {
        return bad(r, node->line,
                   "%s: every unique index of a reference table holds over all shards; remove it",
                   what);
    }
    out->uniques = arena_zero(r->keep, node->count * sizeof(out->uniques[0]));
    for (const struct node *child = node->first; child != NULL && !e; child = child->next) {
        e = read_columns(r, child, what, &out->uniques[out->uniques_count++]);
    }
    return e;
}

/* ---- one table ------------------------------------------------------------------------------- */

static const char STRATEGIES[] =
    "one of hash: [column], range: [column], list: [column] or reference: true";

/* The strategy and the node of its keys (NULL for reference). */
static enum err choose_kind(struct reader *r, const struct node *node, const char *what,
                            const struct table_nodes *in, enum conf_table_kind *kind,
                            const struct node **keys)
{
    int reference = 0;
    if (in->reference != NULL) {
        enum err e = read_bool(r, in->reference, arena_printf(&r->scratch, "%s.reference", what),
                               &reference);
        if (e) {
            return e;
        }
    }
    int chosen = (in->hash != NULL) + (in->range != NULL) + (in->list != NULL) + reference;
    if (chosen != 1) {
        return bad(r, node->line, "%s has %s; give it exactly %s", what,
                   chosen == 0 ? "no strategy" : "more than one strategy", STRATEGIES);
    }
    *kind = in->hash != NULL    ? CONF_TABLE_HASH
            : in->range != NULL ? CONF_TABLE_RANGE
            : in->list != NULL  ? CONF_TABLE_LIST
                                : CONF_TABLE_REFERENCE;
    *keys = in->hash != NULL ? in->hash : in->range != NULL ? in->range : in->list;
    return ERR_NONE;
}

static enum err check_extras(struct reader *r, const struct node *node, const char *what,
                             const struct table_nodes *in, enum conf_table_kind kind)
{
    int has_pieces = kind == CONF_TABLE_RANGE || kind == CONF_TABLE_LIST;
    if (in->colocate != NULL && kind != CONF_TABLE_HASH) {
        return bad(r, in->colocate->line, "%s has colocate but no hash; only hash tables colocate",
                   what);
    }
    if (in->splits != NULL && !has_pieces) {
        return bad(r, in->splits->line, "%s has splits but neither range nor list; remove them",
                   what);
    }
    if (in->splits == NULL && has_pieces) {
        return bad(r, node->line, "%s has no splits; say which piece is on which shard: %s", what,
                   kind == CONF_TABLE_RANGE
                       ? "splits: [{ below: 100, shard: shard0 }, { shard: shard1 }]"
                       : "splits: [{ values: [a, b], shard: shard0 }, { shard: shard1 }]");
    }
    return ERR_NONE;
}

static enum err read_table(struct reader *r, const struct node *node, const char *tables_what,
                           const struct conf_database *db, struct conf_table *out,
                           int *colocate_line)
{
    struct table_nodes in;
    const struct field fields[] = {{"hash", &in.hash},           {"range", &in.range},
                                   {"list", &in.list},           {"reference", &in.reference},
                                   {"colocate", &in.colocate},   {"splits", &in.splits},
                                   {"global_unique", &in.unique}};
    const struct node *keys = NULL;
    out->line = node->line;
    enum err e = split_name(r, node->line, node->key, &out->schema, &out->name);
    if (e) {
        return e;
    }
    const char *what = arena_printf(&r->scratch, "%s.%s", tables_what, node->key);
    e = need_map(r, node, what, 7, "{ hash: [column] }");
    e = e ? e : read_fields(r, node, what, fields, 7);
    e = e ? e : choose_kind(r, node, what, &in, &out->kind, &keys);
    e = e ? e : check_extras(r, node, what, &in, out->kind);
    if (e == ERR_NONE && keys != NULL) {
        e = read_keys(r, keys, what, out);
    }
    if (e == ERR_NONE && in.splits != NULL) {
        e = read_splits(r, in.splits, what, db, out);
    }
    if (e == ERR_NONE && in.unique != NULL) {
        e = read_uniques(r, in.unique, what, out);
    }
    if (e == ERR_NONE && in.colocate != NULL) {
        *colocate_line = in.colocate->line;
        e = read_text(r, in.colocate, arena_printf(&r->scratch, "%s.colocate", what),
                      &out->colocate);
    }
    return e;
}

/* ---- what tables say of each other ----------------------------------------------------------- */

struct index_entry {
    const struct conf_table *table;
};

static int compare_names(const struct conf_table *a, const struct conf_table *b)
{
    int order = strcmp(a->schema, b->schema);
    return order != 0 ? order : strcmp(a->name, b->name);
}

static int by_name_then_line(const void *a, const void *b)
{
    const struct conf_table *x = ((const struct index_entry *)a)->table;
    const struct conf_table *y = ((const struct index_entry *)b)->table;
    int order = compare_names(x, y);
    return order != 0 ? order : (x->line > y->line) - (x->line < y->line);
}

static int by_name(const void *a, const void *b)
{
    return compare_names(((const struct index_entry *)a)->table,
                         ((const struct index_entry *)b)->table);
}

/* Find the table that `t` wants to be beside; every rule but the one about circles. */
static enum err check_colocate(struct reader *r, const struct conf_database *db,
                               const struct index_entry *index, const struct conf_table *t,
                               int line, const struct conf_table **target)
{
    struct conf_table wanted = {0};
    enum err e = split_name(r, line, t->colocate, &wanted.schema, &wanted.name);
    if (e) {
        return e;
    }
    struct index_entry key = {&wanted};
    const struct index_entry *found =
        bsearch(&key, index, db->tables_count, sizeof(index[0]), by_name);
    const char *name = shown(r, t->colocate);
    if (found == NULL) {
        return bad(r, line,
                   "table \"%s\" is colocated with %s, which database \"%s\" does not list; "
                   "add it to tables or remove colocate",
                   t->name, name, db->name);
    }
    *target = found->table;
    if (*target == t) {
        return bad(r, line, "table \"%s\" is colocated with itself; name another hash table",
                   t->name);
    }
    if ((*target)->kind != CONF_TABLE_HASH) {
        return bad(r, line,
                   "table \"%s\" is colocated with %s, which is not a hash table; name one",
                   t->name, name);
    }
    if ((*target)->keys_count != t->keys_count) {
        return bad(r, line,
                   "table \"%s\" has %zu key columns and %s has %zu; colocated tables have "
                   "equally many",
                   t->name, t->keys_count, name, (*target)->keys_count);
    }
    return ERR_NONE;
}

/* Follow colocate from each table; a walk that meets itself is a circle. */
static enum err check_circles(struct reader *r, const struct conf_database *db,
                              const struct conf_table *const *target, const int *lines)
{
    size_t *walk_of = arena_zero(&r->scratch, db->tables_count * sizeof(walk_of[0]));
    for (size_t start = 0; start < db->tables_count; start++) {
        size_t at = start;
        while (walk_of[at] == 0) {
            walk_of[at] = start + 1;
            if (target[at] == NULL) {
                break;
            }
            at = (size_t)(target[at] - db->tables);
            if (walk_of[at] == start + 1) {
                return bad(r, lines[at],
                           "table \"%s\" is colocated with itself over other tables; one table of "
                           "the group has no colocate",
                           db->tables[at].name);
            }
        }
    }
    return ERR_NONE;
}

static enum err check_tables(struct reader *r, const struct conf_database *db, const int *lines)
{
    size_t n = db->tables_count;
    struct index_entry *index = arena_alloc(&r->scratch, n * sizeof(index[0]));
    for (size_t i = 0; i < n; i++) {
        index[i].table = &db->tables[i];
    }
    qsort(index, n, sizeof(index[0]), by_name_then_line);
    for (size_t i = 1; i < n; i++) {
        if (compare_names(index[i - 1].table, index[i].table) == 0) {
            return bad(r, index[i].table->line,
                       "table \"%s.%s\" stands here a second time; it is on line %d already",
                       index[i].table->schema, index[i].table->name, index[i - 1].table->line);
        }
    }
    const struct conf_table **target =
        arena_zero(&r->scratch, n * sizeof(const struct conf_table *));
    for (size_t i = 0; i < n; i++) {
        if (db->tables[i].colocate != NULL) {
            enum err e = check_colocate(r, db, index, &db->tables[i], lines[i], &target[i]);
            if (e) {
                return e;
            }
        }
    }
    return check_circles(r, db, target, lines);
}

enum err tables_read(struct reader *r, const struct node *map, const char *what,
                     struct conf_database *db)
{
    if (node_is_null(map) || (map->kind == NODE_MAP && map->count == 0)) {
        return ERR_NONE; /* all tables are local, or declared in SQL */
    }
    enum err e = need_map(r, map, what, CONF_TABLES_MAX, "tables: { users: { hash: [id] } }");
    if (e) {
        return e;
    }
    db->tables = arena_zero(r->keep, map->count * sizeof(db->tables[0]));
    int *lines = arena_zero(&r->scratch, map->count * sizeof(lines[0]));
    for (const struct node *child = map->first; child != NULL; child = child->next) {
        size_t i = db->tables_count++;
        e = read_table(r, child, what, db, &db->tables[i], &lines[i]);
        if (e) {
            return e;
        }
    }
    return check_tables(r, db, lines);
}
