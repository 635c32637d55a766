/*
 * CREATE UNIQUE INDEX ... with a comment "braid: global", or as the configuration says: an index of
 * every shard, its lookup table, and the triggers that note what changes; and what cannot be done
 * to a table while it has one. What all of that is for stands in catalog_unique.c.
 */

#include <string.h>

#include "planner/unique.h"

enum {
    NAME_MAX_BYTES = 50, /* the names of triggers and tables are made from it */
    COLUMNS_MAX = 4
};

/* ---- the comment ------------------------------------------------------------------------------
 */

static const char *skip_quoted(const char *p, const char *end)
{
    char quote = *p++;
    while (p < end && *p != quote) {
        p++;
    }
    return p < end ? p + 1 : end;
}

static int says_global(const char *p, const char *end)
{
    static const char words[] = "braid:global";
    size_t n = 0;
    for (; p < end; p++) {
        if (*p == ' ' || (*p >= '\t' && *p <= '\r')) {
            continue;
        }
        if (n == sizeof(words) - 1 || *p != words[n]) {
            return 0;
        }
        n++;
    }
    return n == sizeof(words) - 1;
}

static int has_comment(struct slice text)
{
    const char *p = (const char *)text.p, *end = p + text.n;
    while (p < end) {
        if (*p == '\'' || *p == '"') {
            p = skip_quoted(p, end);
        } else if (end - p > 1 && p[0] == '-' && p[1] == '-') {
            const char *line = memchr(p, '\n', (size_t)(end - p));
            p = line == NULL ? end : line;
        } else if (end - p > 3 && p[0] == '/' && p[1] == '*') {
            const char *close = memmem(p + 2, (size_t)(end - p) - 2, "*/", 2);
            if (close == NULL) {
                return 0;
            }
            if (says_global(p + 2, close)) {
                return 1;
            }
            p = close + 2;
        } else {
            p++;
        }
    }
    return 0;
}

/* ---- CREATE UNIQUE INDEX ----------------------------------------------------------------------
 */

static void step_of(struct build *b, struct plan *p, uint64_t shards, struct buf *sql)
{
    ddl_step(b, p, shards, arena_strndup(b->out, sql->p, sql->n));
    sql->n = 0;
}

static int check_column(const struct catalog_table *t, const PgQuery__IndexElem *e, struct plan *p)
{
    const struct catalog_column *c = e->name[0] == 0 ? NULL : catalog_column(t, e->name);
    if (e->name[0] == 0) {
        refuse(p, "Index a column.", "a global unique index cannot be on an expression");
    } else if (e->n_collation > 0 || e->n_opclass > 0) {
        refuse(p, "Leave it out.",
               "a global unique index cannot have a collation or operator class of its own");
    } else if (c != NULL && (!key_type_hashable(c->type) || !c->deterministic)) {
        refuse(p, "Use smallint, int, bigint, text, varchar or uuid.",
               "column \"%s\" has a type or collation that a global unique index cannot be on",
               c->name);
    } else {
        return 1; /* or the server says that there is no such column */
    }
    return 0;
}

static int check_index(const PgQuery__IndexStmt *x, struct plan *p)
{
    const char *what = x->where_clause != NULL               ? "be partial"
                       : x->n_index_including_params > 0     ? "include other columns"
                       : x->nulls_not_distinct               ? "take NULLs as equal"
                       : x->concurrent                       ? "be created CONCURRENTLY"
                       : x->if_not_exists                    ? "be created with IF NOT EXISTS"
                       : x->n_index_params > COLUMNS_MAX     ? "be on more than four columns"
                       : x->idxname[0] == 0                  ? "be without a name"
                       : strlen(x->idxname) > NAME_MAX_BYTES ? "have a name longer than 50 bytes"
                                                             : NULL;
    if (what != NULL) {
        refuse(p, "Leave that away, or add the sharding key to the index.",
               "a global unique index cannot %s", what);
    }
    return what == NULL;
}

static int check_table(const struct relation *r, struct plan *p)
{
    const struct catalog_table *t = r->known;
    const char *what = t == NULL ? "does not exist"
                       : t->kind != 'r' || t->children_count + t->parents_count > 0
                           ? "is partitioned or has parents or children"
                       : t->row_security ? "has row security"
                                         : NULL;
    if (what != NULL) {
        refuse(p,
               t != NULL && t->row_security
                   ? "DISABLE ROW LEVEL SECURITY, create the index, and enable it again."
                   : "Add the sharding key to the index.",
               "a global unique index cannot be on \"%s\", which %s", r->name, what);
    }
    return what == NULL;
}

static void put_triggers(struct build *b, struct plan *p, const struct ddl_object *o,
                         const char *index)
{
    static const struct {
        const char *name, *when, *rows, *each;
    } triggers[] = {
        {"insert", "INSERT", "REFERENCING NEW TABLE AS braid_new ", "STATEMENT"},
        {"delete", "DELETE", "REFERENCING OLD TABLE AS braid_old ", "STATEMENT"},
        {"truncate", "TRUNCATE", "", "STATEMENT"},
        {"update", "UPDATE", "", "ROW"},
    };
    const struct map_table *t = o->relation.table;
    const PgQuery__IndexStmt *x = o->node->index_stmt;
    struct buf sql = {0};
    for (size_t i = 0; i < 4; i++) {
        buf_text(&sql, "CREATE TRIGGER ");
        sql_put_quoted(&sql, '"',
                       arena_printf(&b->scratch, "braid_%s_%s", index, triggers[i].name));
        buf_printf(&sql, " AFTER %s ON ", triggers[i].when);
        sql_put_quoted(&sql, '"', o->relation.schema);
        buf_u8(&sql, '.');
        sql_put_quoted(&sql, '"', o->relation.name);
        buf_printf(&sql, " %sFOR EACH %s", triggers[i].rows, triggers[i].each);
        size_t n = i < 3 ? 0 : x->n_index_params + t->keys_count;
        for (size_t k = 0; k < n; k++) {
            const char *column = k < x->n_index_params ? x->index_params[k]->index_elem->name
                                                       : t->keys[k - x->n_index_params];
            buf_text(&sql, k == 0 ? " WHEN (OLD." : " OR OLD.");
            sql_put_quoted(&sql, '"', column);
            buf_text(&sql, " IS DISTINCT FROM NEW.");
            sql_put_quoted(&sql, '"', column);
            buf_text(&sql, k + 1 == n ? ")" : "");
        }
        buf_text(&sql, " EXECUTE FUNCTION braid.");
        sql_put_quoted(&sql, '"', arena_printf(&b->scratch, "unique_%s", index));
        buf_text(&sql, "()");
        step_of(b, p, o->shards, &sql);
    }
    buf_text(&sql, "ALTER TABLE ");
    sql_put_quoted(&sql, '"', o->relation.schema);
    buf_u8(&sql, '.');
    sql_put_quoted(&sql, '"', o->relation.name);
    for (size_t i = 0; i < 4; i++) {
        buf_text(&sql, i == 0 ? " ENABLE ALWAYS TRIGGER " : ", ENABLE ALWAYS TRIGGER ");
        sql_put_quoted(&sql, '"',
                       arena_printf(&b->scratch, "braid_%s_%s", index, triggers[i].name));
    }
    step_of(b, p, o->shards, &sql);
    buf_free(&sql);
}

static int is_indexed(const PgQuery__IndexStmt *x, const char *column)
{
    for (size_t i = 0; i < x->n_index_params; i++) {
        if (strcmp(x->index_params[i]->index_elem->name, column) == 0) {
            return 1;
        }
    }
    return 0;
}

/* Rows that are there are noted as if they had been inserted. */
static void put_rows(struct build *b, struct plan *p, const struct ddl_object *o)
{
    const struct map_table *t = o->relation.table;
    const PgQuery__IndexStmt *x = o->node->index_stmt;
    const char *lookup = arena_printf(&b->scratch, "unique_%s", x->idxname);
    struct buf sql = {0};
    buf_text(&sql, "SELECT braid.unique_note(");
    sql_put_quoted(&sql, '\'', x->idxname);
    buf_text(&sql, ", pg_catalog.array_agg(q.b), pg_catalog.array_agg(q.l)) FROM (SELECT braid.");
    sql_put_quoted(&sql, '"', lookup);
    for (size_t i = 0; i < x->n_index_params; i++) {
        buf_text(&sql, i == 0 ? "(v." : ", v.");
        sql_put_quoted(&sql, '"', x->index_params[i]->index_elem->name);
    }
    buf_text(&sql, ") AS b, pg_catalog.row_to_json(ROW(");
    for (size_t i = 0; i < x->n_index_params; i++) {
        buf_text(&sql, i == 0 ? "v." : ", v.");
        sql_put_quoted(&sql, '"', x->index_params[i]->index_elem->name);
    }
    for (size_t i = 0; i < t->keys_count; i++) {
        if (!is_indexed(x, t->keys[i])) {
            buf_text(&sql, ", v.");
            sql_put_quoted(&sql, '"', t->keys[i]);
        }
    }
    buf_text(&sql, ")::braid.");
    sql_put_quoted(&sql, '"', lookup);
    buf_text(&sql, ")::pg_catalog.text AS l, (pg_catalog.row_number() OVER () - 1) / 5000 AS part "
                   "FROM ");
    sql_put_quoted(&sql, '"', o->relation.schema);
    buf_u8(&sql, '.');
    sql_put_quoted(&sql, '"', o->relation.name);
    for (size_t i = 0; i < x->n_index_params; i++) {
        buf_text(&sql, i == 0 ? " v WHERE v." : " AND v.");
        sql_put_quoted(&sql, '"', x->index_params[i]->index_elem->name);
        buf_text(&sql, " IS NOT NULL");
    }
    buf_text(&sql, ") q GROUP BY q.part");
    step_of(b, p, o->shards, &sql);
    buf_free(&sql);
}

/* A dump does not have the comment, but it has made the domain before. */
static int is_restored(struct build *b, const char *index)
{
    const struct catalog *c = b->env->catalog;
    for (size_t i = 0; c != NULL && i < c->global_names_count; i++) {
        if (strcmp(c->global_names[i], index) == 0) {
            return 1;
        }
    }
    return 0;
}

static int names_column(const char *columns, const PgQuery__IndexElem *e)
{
    size_t n = strlen(e->name);
    for (const char *at = columns; at != NULL && n > 0; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, e->name, n) == 0 && (at[n] == 0 || at[n] == ',')) {
            return 1;
        }
    }
    return 0;
}

/* The configuration says that an index on these columns, in any order, is one. */
static int is_configured(const struct map_table *t, const PgQuery__IndexStmt *x)
{
    for (size_t i = 0; i < t->uniques_count; i++) {
        size_t columns = 1, found = 0;
        for (const char *c = strchr(t->uniques[i], ','); c != NULL; c = strchr(c + 1, ',')) {
            columns++;
        }
        for (size_t k = 0; k < x->n_index_params; k++) {
            found += IS(x->index_params[k], INDEX_ELEM) &&
                     names_column(t->uniques[i], x->index_params[k]->index_elem);
        }
        if (found == columns && x->n_index_params == columns) {
            return 1;
        }
    }
    return 0;
}

int unique_create(struct build *b, tnode *stmt, const struct ddl_object *o, struct plan *p)
{
    const PgQuery__IndexStmt *x = stmt->index_stmt;
    const struct map_table *t = o->relation.table;
    struct buf sql = {0};
    if (!has_comment(p->text) && !is_restored(b, x->idxname) && !is_configured(t, x)) {
        return 0;
    }
    int right = check_index(x, p) && check_table(&o->relation, p);
    for (size_t i = 0; right && i < x->n_index_params; i++) {
        right = IS(x->index_params[i], INDEX_ELEM) &&
                check_column(o->relation.known, x->index_params[i]->index_elem, p);
    }
    if (!right) {
        return 1;
    }
    ddl_changes(b, p, &o->relation);
    ddl_step(b, p, o->shards, (const char *)p->text.p);
    buf_text(&sql, "SELECT braid.unique_create(");
    sql_put_quoted(&sql, '\'', o->relation.schema);
    buf_text(&sql, ", ");
    sql_put_quoted(&sql, '\'', o->relation.name);
    buf_text(&sql, ", ");
    sql_put_quoted(&sql, '\'', x->idxname);
    for (size_t i = 0; i < t->keys_count; i++) {
        buf_text(&sql, i == 0 ? ", ARRAY[" : ", ");
        sql_put_quoted(&sql, '\'', t->keys[i]);
    }
    buf_text(&sql, "])");
    step_of(b, p, o->shards, &sql);
    struct ddl_object named = *o;
    named.node = stmt;
    put_triggers(b, p, &named, x->idxname);
    put_rows(b, p, &named);
    p->keeps_unique = 1;
    buf_free(&sql);
    return 1;
}

/* ---- what becomes of it -----------------------------------------------------------------------
 */

static void drop_one(struct build *b, struct plan *p, const char *index)
{
    struct buf sql = {0};
    buf_text(&sql, "SELECT braid.unique_drop(");
    sql_put_quoted(&sql, '\'', index);
    buf_u8(&sql, ')');
    step_of(b, p, map_all(b->env->map), &sql);
    buf_free(&sql);
}

void unique_drop(struct build *b, struct plan *p, const struct relation *r)
{
    const struct catalog_table *t =
        r->known != NULL && r->known->index_of != NULL ? r->known->index_of : r->known;
    for (size_t i = 0; t != NULL && i < t->uniques_count; i++) {
        const struct catalog_unique *u = &t->uniques[i];
        if (u->global && (t == r->known || strcmp(u->name, r->known->name) == 0)) {
            drop_one(b, p, u->name);
        }
    }
}

/* The global unique index that has the column; NULL: none. */
static const char *index_on(const struct catalog_table *t, const char *column)
{
    const struct catalog_column *c = t == NULL ? NULL : catalog_column(t, column);
    for (size_t i = 0; c != NULL && i < t->uniques_count; i++) {
        const struct catalog_unique *u = &t->uniques[i];
        for (size_t k = 0; u->global && k < u->columns_count; k++) {
            if (u->columns[k] == c->number) {
                return u->name;
            }
        }
    }
    return NULL;
}

static int refuse_column(const struct catalog_table *t, const char *column, struct plan *p)
{
    const char *index = index_on(t, column);
    if (index != NULL) {
        refuse(p, "Drop the index first, and create it again.",
               "column \"%s\" is in global unique index \"%s\" and cannot be changed", column,
               index);
    }
    return index == NULL;
}

static int is_ours(const char *trigger)
{
    return strncmp(trigger, "braid_", 6) == 0;
}

int unique_check_trigger(const struct catalog_table *t, const char *trigger, struct plan *p)
{
    if (unique_is_global(t) && (trigger == NULL || is_ours(trigger))) {
        refuse(p, "Drop its global unique indexes first, and create them again.",
               "the triggers of \"%s\" that keep a global unique index cannot be changed", t->name);
        return 0;
    }
    return 1;
}

int unique_check_command(const struct catalog_table *t, const PgQuery__AlterTableCmd *c,
                         struct plan *p)
{
#define AT(name) PG_QUERY__ALTER_TABLE_TYPE__AT_##name
    switch ((int)c->subtype) {
    case AT(DropColumn):
    case AT(AlterColumnType): return refuse_column(t, c->name, p);
    case AT(DisableTrigAll):
    case AT(DisableTrigUser): return unique_check_trigger(t, NULL, p);
    case AT(DisableTrig):
    case AT(EnableTrig):
    case AT(EnableReplicaTrig): return unique_check_trigger(t, c->name, p);
    case AT(AttachPartition):
    case AT(AddInherit):
        if (unique_is_global(t)) {
            refuse(p, "Drop the index first.",
                   "\"%s\" has a global unique index and cannot become a parent or child", t->name);
            return 0;
        }
        return 1;
    default: return 1;
    }
#undef AT
}

int unique_check_rename(const struct relation *r, PgQuery__ObjectType type, const char *column,
                        struct plan *p)
{
    const struct catalog_table *t = r->known;
    if (t != NULL && t->index_of != NULL) {
        for (size_t i = 0; i < t->index_of->uniques_count; i++) {
            if (t->index_of->uniques[i].global &&
                strcmp(t->index_of->uniques[i].name, t->name) == 0) {
                refuse(p, "Drop it, and create it by the new name.",
                       "global unique index \"%s\" cannot be renamed", t->name);
                return 0;
            }
        }
    }
    return type != PG_QUERY__OBJECT_TYPE__OBJECT_COLUMN || refuse_column(t, column, p);
}
