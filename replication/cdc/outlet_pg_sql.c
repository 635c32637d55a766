/*
 * Events as statements, see outlet_pg.c. Every event goes by its key, so that one that comes twice
 * does no harm.
 *
 *     c, r, u   INSERT ... ON CONFLICT (key) DO UPDATE; a key that was changed: DELETE of the old
 *     u with a TOASTed value left alone: UPDATE of the others, of the old key, then of the new one
 *     d         DELETE          t   DELETE of all of its own
 *
 * Shards and partitions have no order among each other, and each says "d" and "t" for itself: a
 * TRUNCATE comes from every shard in every partition, the first copy of one shard begins with a
 * "t" while rows of the others are here. So the tables have a column more, "_braid", that says
 * whose a row is ("shard/partition"), and what is deleted must be one's own. A row whose shard key
 * changes may be given by the new shard before it is deleted by the old one.
 */

#include "replication/cdc/outlet_pg_sql.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "replication/cdc/outlet.h"

/* ---- texts ----------------------------------------------------------------------------------- */

/* A name ("), or a literal ('). */
static void put_quoted(struct buf *out, uint8_t quote, struct slice text)
{
    buf_u8(out, quote);
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == quote) {
            buf_u8(out, quote);
        }
        buf_u8(out, text.p[i]);
    }
    buf_u8(out, quote);
}

static void put_name(struct buf *out, struct slice name)
{
    put_quoted(out, '"', name);
}

static void put_table(struct buf *out, const struct change_relation *r)
{
    put_name(out, r->schema);
    buf_u8(out, '.');
    put_name(out, r->name);
}

static char *take_text(struct buf *b)
{
    buf_u8(b, 0);
    char *text = mem_strdup((const char *)b->p);
    buf_free(b);
    return text;
}

static void add_value(struct pg_statement *s, struct buf *sql, const struct change_column *c)
{
    s->values = mem_grow(s->values, ((size_t)s->count + 1) * sizeof(s->values[0]));
    char *text = NULL;
    if (c->kind == VALUE_TEXT) {
        text = mem_zero(c->bytes.n + 1);
        memcpy(text, c->bytes.p, c->bytes.n);
    }
    s->values[s->count++] = text;
    buf_printf(sql, "$%d", s->count);
}

static void add_text(struct pg_statement *s, struct buf *sql, const char *text)
{
    s->values = mem_grow(s->values, ((size_t)s->count + 1) * sizeof(s->values[0]));
    s->values[s->count++] = mem_strdup(text);
    buf_printf(sql, "$%d", s->count);
}

/* Whose the row is. */
static void add_owner(struct pg_statement *s, struct buf *sql, const struct cdc_event *event)
{
    char text[160];
    (void)snprintf(text, sizeof(text), "%.120s/%u", event->shard, event->partition);
    add_text(s, sql, text);
}

static struct pg_statement *add(struct pg_batch *s, const struct cdc_event *event)
{
    struct buf line = {0};
    if (s->count == s->cap) {
        s->cap = s->cap == 0 ? 64 : s->cap * 2;
        s->all = mem_grow(s->all, s->cap * sizeof(s->all[0]));
    }
    struct pg_statement *st = &s->all[s->count++];
    *st = (struct pg_statement){0};
    cdc_outlet_object(&line, event);
    st->line = take_text(&line);
    return st;
}

static void put_where(struct buf *sql, struct pg_statement *st, const struct change_relation *r,
                      const struct change_column *columns)
{
    const char *word = " WHERE ";
    for (uint16_t i = 0; i < r->n_columns; i++) {
        if (r->columns[i].is_key) {
            buf_text(sql, word);
            put_name(sql, r->columns[i].name);
            buf_text(sql, " = ");
            add_value(st, sql, &columns[i]);
            word = " AND ";
        }
    }
}

static void make_delete(struct pg_batch *s, const struct cdc_event *event)
{
    struct buf sql = {0};
    struct pg_statement *st = add(s, event);
    buf_text(&sql, "DELETE FROM ");
    put_table(&sql, event->change.relation);
    put_where(&sql, st, event->change.relation, event->change.old_columns);
    buf_text(&sql, " AND (\"_braid\" IS NULL OR \"_braid\" = ");
    add_owner(st, &sql, event);
    buf_text(&sql, ")");
    st->sql = take_text(&sql);
}

static int is_unchanged(const struct cdc_event *event, uint16_t column)
{
    return event->change.new_columns[column].kind == VALUE_UNCHANGED;
}

/* What is not known (a large value of a row that came from another partition) is left out. */
static void make_upsert(struct pg_batch *s, const struct cdc_event *event)
{
    const struct change_relation *r = event->change.relation;
    struct buf sql = {0}, keys = {0}, sets = {0}, values = {0};
    struct pg_statement *st = add(s, event);
    buf_text(&sql, "INSERT INTO ");
    put_table(&sql, r);
    buf_text(&sql, " (\"_braid\"");
    buf_text(&sets, "\"_braid\" = excluded.\"_braid\"");
    add_owner(st, &values, event);
    for (uint16_t i = 0; i < r->n_columns; i++) {
        if (is_unchanged(event, i)) {
            st->has_unknown = 1;
            continue;
        }
        buf_text(&sql, ", ");
        put_name(&sql, r->columns[i].name);
        buf_text(&values, ", ");
        add_value(st, &values, &event->change.new_columns[i]);
        struct buf *list = r->columns[i].is_key ? &keys : &sets;
        buf_text(list, list->n == 0 ? "" : ", ");
        put_name(list, r->columns[i].name);
        if (list == &sets) {
            buf_text(list, " = excluded.");
            put_name(list, r->columns[i].name);
        }
    }
    buf_text(&sql, ") OVERRIDING SYSTEM VALUE VALUES (");
    buf_add_slice(&sql, buf_slice(&values));
    buf_text(&sql, ") ON CONFLICT (");
    buf_add_slice(&sql, buf_slice(&keys));
    buf_text(&sql, ") DO UPDATE SET ");
    buf_add_slice(&sql, buf_slice(&sets));
    buf_free(&keys);
    buf_free(&sets);
    buf_free(&values);
    st->sql = take_text(&sql);
}

/* The row moves to its new key: what is there goes, unless the row has moved already. */
static void make_room(struct pg_batch *s, const struct cdc_event *event)
{
    const struct change_relation *r = event->change.relation;
    struct buf sql = {0};
    struct pg_statement *st = add(s, event);
    buf_text(&sql, "DELETE FROM ");
    put_table(&sql, r);
    put_where(&sql, st, r, event->change.new_columns);
    buf_text(&sql, " AND EXISTS (SELECT FROM ");
    put_table(&sql, r);
    put_where(&sql, st, r, event->change.old_columns);
    buf_text(&sql, ")");
    st->sql = take_text(&sql);
}

static void make_update(struct pg_batch *s, const struct cdc_event *event,
                        const struct change_column *where, int must_hit)
{
    const struct change_relation *r = event->change.relation;
    struct buf sql = {0};
    struct pg_statement *st = add(s, event);
    st->must_hit = must_hit;
    buf_text(&sql, "UPDATE ");
    put_table(&sql, r);
    buf_text(&sql, " SET \"_braid\" = ");
    add_owner(st, &sql, event);
    for (uint16_t i = 0; i < r->n_columns; i++) {
        if (!is_unchanged(event, i)) {
            buf_text(&sql, ", ");
            put_name(&sql, r->columns[i].name);
            buf_text(&sql, " = ");
            add_value(st, &sql, &event->change.new_columns[i]);
        }
    }
    put_where(&sql, st, r, where);
    st->sql = take_text(&sql);
}

static void make_empty(struct pg_batch *s, const struct cdc_event *event)
{
    struct buf sql = {0};
    struct pg_statement *st = add(s, event);
    buf_text(&sql, "DELETE FROM ");
    put_table(&sql, event->change.relation);
    buf_text(&sql, " WHERE \"_braid\" = ");
    add_owner(st, &sql, event);
    st->sql = take_text(&sql);
}

static int has_unchanged(const struct change *c)
{
    for (uint16_t i = 0; i < c->relation->n_columns; i++) {
        if (c->new_columns[i].kind == VALUE_UNCHANGED) {
            return 1;
        }
    }
    return 0;
}

/* ---- tables ---------------------------------------------------------------------------------- */

/* What was gathered in `text` becomes a literal of an expression that is put together. */
static void end_piece(struct buf *sql, struct buf *text)
{
    put_quoted(sql, '\'', buf_slice(text));
    text->n = 0;
}

/* `"name" type`, behind a piece: types that every PostgreSQL has keep their name, others become
 * text. */
static void put_column(struct buf *sql, struct buf *text, const struct change_relation_column *c)
{
    put_name(text, c->name);
    buf_text(text, c->type < 10000 ? " " : " text");
    end_piece(sql, text);
    buf_text(sql, " || ");
    if (c->type < 10000) {
        buf_printf(sql, "pg_catalog.format_type(%u, %d) || ", c->type, (int)c->typmod);
    }
}

static void put_create(struct buf *sql, const struct change_relation *r)
{
    struct buf text = {0};
    int keys = 0;
    buf_text(sql, "EXECUTE ");
    buf_text(&text, "CREATE TABLE IF NOT EXISTS ");
    put_table(&text, r);
    buf_text(&text, " (\"_braid\" text");
    for (uint16_t i = 0; i < r->n_columns; i++) {
        buf_text(&text, ", ");
        put_column(sql, &text, &r->columns[i]);
    }
    for (uint16_t i = 0; i < r->n_columns; i++) {
        if (r->columns[i].is_key) {
            buf_text(&text, keys++ == 0 ? ", PRIMARY KEY (" : ", ");
            put_name(&text, r->columns[i].name);
        }
    }
    buf_text(&text, keys == 0 ? ")" : "))");
    end_piece(sql, &text);
    buf_text(sql, "; ");
    buf_free(&text);
}

static void put_alter(struct buf *sql, const struct change_relation *r)
{
    struct buf text = {0};
    buf_text(sql, "EXECUTE ");
    buf_text(&text, "ALTER TABLE ");
    put_table(&text, r);
    buf_text(&text, " ADD COLUMN IF NOT EXISTS \"_braid\" text");
    for (uint16_t i = 0; i < r->n_columns; i++) {
        buf_text(&text, ", ADD COLUMN IF NOT EXISTS ");
        put_column(sql, &text, &r->columns[i]);
    }
    end_piece(sql, &text);
    buf_text(sql, "; ");
    buf_free(&text);
}

/* The table when it is missing, then each column that it has not. Names are anybody's, so every
 * text is a literal: in quotes, of which those inside are doubled (backslashes are plain, as
 * outlet_pg.c has set). */
static char *make_ddl(const struct change_relation *r)
{
    struct buf sql = {0};
    struct buf block = {0};
    buf_text(&block, "BEGIN SET LOCAL client_min_messages = warning; "
                     "CREATE SCHEMA IF NOT EXISTS ");
    put_name(&block, r->schema);
    buf_text(&block, "; ");
    put_create(&block, r);
    put_alter(&block, r);
    buf_text(&block, "END");
    buf_text(&sql, "DO ");
    put_quoted(&sql, '\'', buf_slice(&block));
    buf_free(&block);
    return take_text(&sql);
}

static int is_made(struct pg_batch *s, const struct change_relation *r)
{
    struct buf name = {0};
    put_table(&name, r);
    buf_printf(&name, " %u", r->version);
    char *text = take_text(&name);
    for (size_t i = 0; i < s->made_count; i++) {
        if (strcmp(s->made[i], text) == 0) {
            mem_free(text);
            return 1;
        }
    }
    s->made = mem_grow(s->made, (s->made_count + 1) * sizeof(s->made[0]));
    s->made[s->made_count++] = text;
    return 0;
}

/* ---- events ---------------------------------------------------------------------------------- */

static void refuse(struct pg_batch *s, const struct cdc_event *event, const char *why)
{
    struct buf sql = {0};
    struct pg_statement *st = add(s, event);
    buf_printf(&sql, "DO $$ BEGIN RAISE EXCEPTION '%s' USING ERRCODE = '22000'; END $$", why);
    st->sql = take_text(&sql);
}

static void make_change(struct pg_batch *s, const struct cdc_event *event)
{
    const struct change *c = &event->change;
    switch ((enum change_op)c->op) {
    case CHANGE_INSERT:
    case CHANGE_ROW: make_upsert(s, event); return;
    case CHANGE_DELETE: make_delete(s, event); return;
    case CHANGE_TRUNCATE: make_empty(s, event); return;
    case CHANGE_UPDATE:
        if (has_unchanged(c)) {
            if (c->old_columns != NULL) {
                make_room(s, event);
                make_update(s, event, c->old_columns, 0);
            }
            make_update(s, event, c->new_columns, 1);
            return;
        }
        if (c->old_columns != NULL) {
            make_delete(s, event);
        }
        make_upsert(s, event);
        return;
    case CHANGE_BEGIN:
    case CHANGE_COMMIT:
    case CHANGE_MESSAGE:
    case CHANGE_DDL:
    case CHANGE_WATERMARK:
    case CHANGE_GAP: return;
    }
}

void pg_batch_add(struct pg_batch *s, const struct cdc_event *event)
{
    const struct change *c = &event->change;
    if (c->relation == NULL) {
        return;
    }
    if (!cdc_outlet_has_key(c->relation) && c->op != CHANGE_TRUNCATE) {
        refuse(s, event, "the table has no key");
        return;
    }
    size_t first = s->count;
    make_change(s, event);
    if (s->count > first && !is_made(s, c->relation)) {
        s->all[first].ddl = make_ddl(c->relation);
    }
}

/* ---- batches --------------------------------------------------------------------------------- */

void pg_batch_drop(struct pg_batch *s)
{
    for (size_t i = 0; i < s->count; i++) {
        struct pg_statement *st = &s->all[i];
        for (int v = 0; v < st->count; v++) {
            mem_free(st->values[v]);
        }
        mem_free(st->values);
        mem_free(st->sql);
        mem_free(st->line);
        mem_free(st->ddl);
    }
    s->count = 0;
}

void pg_batch_forget(struct pg_batch *s)
{
    pg_batch_drop(s);
    for (size_t i = 0; i < s->made_count; i++) {
        mem_free(s->made[i]);
    }
    s->made_count = 0;
}

void pg_batch_free(struct pg_batch *s)
{
    pg_batch_forget(s);
    mem_free(s->made);
    mem_free(s->all);
}
