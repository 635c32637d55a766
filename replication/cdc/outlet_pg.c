/*
 * The sink that keeps tables of another PostgreSQL equal: every event by key, so that one that
 * comes twice does no harm. A batch is one transaction. When it fails for a reason of its own data
 * (class 22, 23, 42) it is done again with a savepoint per event; what fails then is a dead letter.
 *
 *     c, r, u   INSERT ... ON CONFLICT (key) DO UPDATE; a key that was changed: DELETE of the old
 *     u with a TOASTed value left alone: UPDATE of the others
 *     d         DELETE          t   TRUNCATE, or of a first copy that begins: DELETE of all
 *
 * Blocking libpq, on the sink's own thread.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>

#include "base/mem.h"
#include "replication/cdc/outlet.h"

/* A statement of the batch: kept, because it may have to be done a second time. */
struct statement {
    char *sql;
    char **values; /* NULL: NULL */
    int count;
    char *line; /* the event, for a dead letter */
    char *ddl;  /* makes its table; NULL: known */
};

struct pg_sink {
    char *conninfo;
    PGconn *conn;
    struct statement *batch;
    size_t batch_count, batch_cap;
    char **made; /* tables that this connection knows are there */
    size_t made_count;
};

/* ---- texts ----------------------------------------------------------------------------------- */

static void put_name(struct buf *out, struct slice name)
{
    buf_u8(out, '"');
    for (size_t i = 0; i < name.n; i++) {
        if (name.p[i] == '"') {
            buf_u8(out, '"');
        }
        buf_u8(out, name.p[i]);
    }
    buf_u8(out, '"');
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

static void add_value(struct statement *s, struct buf *sql, const struct change_column *c)
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

static struct statement *add(struct pg_sink *s, const struct cdc_event *event)
{
    struct buf line = {0};
    if (s->batch_count == s->batch_cap) {
        s->batch_cap = s->batch_cap == 0 ? 64 : s->batch_cap * 2;
        s->batch = mem_grow(s->batch, s->batch_cap * sizeof(s->batch[0]));
    }
    struct statement *st = &s->batch[s->batch_count++];
    *st = (struct statement){0};
    cdc_outlet_object(&line, event);
    st->line = take_text(&line);
    return st;
}

static void put_where(struct buf *sql, struct statement *st, const struct change_relation *r,
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

static void make_delete(struct pg_sink *s, const struct cdc_event *event)
{
    struct buf sql = {0};
    struct statement *st = add(s, event);
    buf_text(&sql, "DELETE FROM ");
    put_table(&sql, event->change.relation);
    put_where(&sql, st, event->change.relation, event->change.old_columns);
    st->sql = take_text(&sql);
}

static void make_upsert(struct pg_sink *s, const struct cdc_event *event)
{
    const struct change_relation *r = event->change.relation;
    struct buf sql = {0}, keys = {0}, sets = {0};
    struct statement *st = add(s, event);
    buf_text(&sql, "INSERT INTO ");
    put_table(&sql, r);
    for (uint16_t i = 0; i < r->n_columns; i++) {
        buf_text(&sql, i == 0 ? " (" : ", ");
        put_name(&sql, r->columns[i].name);
        struct buf *list = r->columns[i].is_key ? &keys : &sets;
        buf_text(list, list->n == 0 ? "" : ", ");
        put_name(list, r->columns[i].name);
        if (list == &sets) {
            buf_text(list, " = excluded.");
            put_name(list, r->columns[i].name);
        }
    }
    buf_text(&sql, ") OVERRIDING SYSTEM VALUE VALUES (");
    for (uint16_t i = 0; i < r->n_columns; i++) {
        buf_text(&sql, i == 0 ? "" : ", ");
        add_value(st, &sql, &event->change.new_columns[i]);
    }
    buf_text(&sql, ") ON CONFLICT (");
    buf_add_slice(&sql, buf_slice(&keys));
    buf_text(&sql, sets.n > 0 ? ") DO UPDATE SET " : ") DO NOTHING");
    buf_add_slice(&sql, buf_slice(&sets));
    buf_free(&keys);
    buf_free(&sets);
    st->sql = take_text(&sql);
}

static void make_update(struct pg_sink *s, const struct cdc_event *event,
                        const struct change_column *where)
{
    const struct change_relation *r = event->change.relation;
    struct buf sql = {0};
    struct statement *st = add(s, event);
    const char *word = " SET ";
    buf_text(&sql, "UPDATE ");
    put_table(&sql, r);
    for (uint16_t i = 0; i < r->n_columns; i++) {
        if (event->change.new_columns[i].kind != VALUE_UNCHANGED) {
            buf_text(&sql, word);
            put_name(&sql, r->columns[i].name);
            buf_text(&sql, " = ");
            add_value(st, &sql, &event->change.new_columns[i]);
            word = ", ";
        }
    }
    put_where(&sql, st, r, where);
    st->sql = take_text(&sql);
}

static void make_empty(struct pg_sink *s, const struct cdc_event *event)
{
    struct buf sql = {0};
    struct statement *st = add(s, event);
    if (event->partition != 0) { /* it stands in every partition */
        buf_text(&sql, "SELECT 1");
    } else {
        buf_text(&sql, slice_is(event->change.content, "copy") ? "DELETE FROM " : "TRUNCATE ");
        put_table(&sql, event->change.relation);
    }
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

static int has_key(const struct change_relation *r)
{
    int keys = 0;
    for (uint16_t i = 0; i < r->n_columns; i++) {
        keys += r->columns[i].is_key != 0;
    }
    return keys > 0 && r->replica_identity != 'f';
}

/* ---- tables ---------------------------------------------------------------------------------- */

/* Types that every PostgreSQL has keep their name, others become text. */
static char *make_ddl(const struct change_relation *r)
{
    struct buf sql = {0};
    const char *word = ", PRIMARY KEY (";
    buf_text(&sql, "DO $pgbraid$ BEGIN EXECUTE 'CREATE SCHEMA IF NOT EXISTS ' || quote_ident(");
    buf_text(&sql, "$pgbraid_name$");
    buf_add_slice(&sql, r->schema);
    buf_text(&sql, "$pgbraid_name$); EXECUTE $pgbraid_sql$CREATE TABLE IF NOT EXISTS ");
    put_table(&sql, r);
    buf_text(&sql, " ($pgbraid_sql$");
    for (uint16_t i = 0; i < r->n_columns; i++) {
        buf_printf(&sql, " || $pgbraid_sql$%s", i == 0 ? "" : ", ");
        put_name(&sql, r->columns[i].name);
        if (r->columns[i].type < 10000) {
            buf_printf(&sql, " $pgbraid_sql$ || pg_catalog.format_type(%u, %d)", r->columns[i].type,
                       (int)r->columns[i].typmod);
        } else {
            buf_text(&sql, " text$pgbraid_sql$");
        }
    }
    buf_text(&sql, " || $pgbraid_sql$");
    for (uint16_t i = 0; i < r->n_columns; i++) {
        if (r->columns[i].is_key) {
            buf_text(&sql, word);
            put_name(&sql, r->columns[i].name);
            word = ", ";
        }
    }
    buf_text(&sql, "))$pgbraid_sql$; END $pgbraid$");
    return take_text(&sql);
}

static int is_made(struct pg_sink *s, const struct change_relation *r)
{
    struct buf name = {0};
    put_table(&name, r);
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

static void forget_made(struct pg_sink *s)
{
    for (size_t i = 0; i < s->made_count; i++) {
        mem_free(s->made[i]);
    }
    s->made_count = 0;
}

/* ---- events ---------------------------------------------------------------------------------- */

static void refuse(struct pg_sink *s, const struct cdc_event *event, const char *why)
{
    struct buf sql = {0};
    struct statement *st = add(s, event);
    buf_printf(&sql, "DO $$ BEGIN RAISE EXCEPTION '%s' USING ERRCODE = '22000'; END $$", why);
    st->sql = take_text(&sql);
}

static void make_change(struct pg_sink *s, const struct cdc_event *event)
{
    const struct change *c = &event->change;
    switch ((enum change_op)c->op) {
    case CHANGE_INSERT:
    case CHANGE_ROW: make_upsert(s, event); return;
    case CHANGE_DELETE: make_delete(s, event); return;
    case CHANGE_TRUNCATE: make_empty(s, event); return;
    case CHANGE_UPDATE:
        if (has_unchanged(c)) {
            make_update(s, event, c->old_columns != NULL ? c->old_columns : c->new_columns);
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

static enum err pg_event(void *self, const struct cdc_event *event, struct note *note)
{
    struct pg_sink *s = self;
    const struct change *c = &event->change;
    (void)note;
    if (c->relation == NULL) {
        return ERR_NONE;
    }
    if (!has_key(c->relation) && c->op != CHANGE_TRUNCATE) {
        refuse(s, event, "the table has no key");
        return ERR_NONE;
    }
    size_t first = s->batch_count;
    make_change(s, event);
    if (s->batch_count > first && !is_made(s, c->relation)) {
        s->batch[first].ddl = make_ddl(c->relation);
    }
    return ERR_NONE;
}

/* ---- batches --------------------------------------------------------------------------------- */

static void drop_batch(struct pg_sink *s)
{
    for (size_t i = 0; i < s->batch_count; i++) {
        struct statement *st = &s->batch[i];
        for (int v = 0; v < st->count; v++) {
            mem_free(st->values[v]);
        }
        mem_free(st->values);
        mem_free(st->sql);
        mem_free(st->line);
        mem_free(st->ddl);
    }
    s->batch_count = 0;
}

static enum err open_connection(struct pg_sink *s, struct note *note)
{
    if (s->conn != NULL && PQstatus(s->conn) == CONNECTION_OK) {
        return ERR_NONE;
    }
    PQfinish(s->conn);
    s->conn = PQconnectdb(s->conninfo);
    if (PQstatus(s->conn) != CONNECTION_OK) {
        return note_set(note, ERR_SHARD_DOWN, "sink pg: %s", PQerrorMessage(s->conn));
    }
    PQclear(PQexec(s->conn, "SET client_encoding = 'UTF8'; SET statement_timeout = '60s'; "
                            "SET application_name = 'pgbraid sink'"));
    return ERR_NONE;
}

/* 0: fine; 1: the data's own fault; 2: it may work another time. */
static int outcome(struct pg_sink *s, PGresult *result, struct note *note)
{
    ExecStatusType status = PQresultStatus(result);
    int is_fine = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    int own = state != NULL && (strncmp(state, "22", 2) == 0 || strncmp(state, "23", 2) == 0 ||
                                strncmp(state, "42", 2) == 0);
    if (!is_fine) {
        (void)note_set(note, own ? ERR_BAD_STATE : ERR_SHARD_DOWN, "sink pg: %s",
                       state == NULL ? PQerrorMessage(s->conn)
                                     : PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY));
    }
    PQclear(result);
    return is_fine ? 0 : own ? 1 : 2;
}

static int command(struct pg_sink *s, const char *sql, struct note *note)
{
    return outcome(s, PQexec(s->conn, sql), note);
}

static int run(struct pg_sink *s, const struct statement *st, struct note *note)
{
    int how = st->ddl == NULL ? 0 : command(s, st->ddl, note);
    if (how == 0) {
        how = outcome(s,
                      PQexecParams(s->conn, st->sql, st->count, NULL,
                                   (const char *const *)st->values, NULL, NULL, 0),
                      note);
    }
    return how;
}

/* With a savepoint each; what does not go in is a dead letter. */
static int run_carefully(struct pg_sink *s, struct cdc_pour *pour, struct note *note)
{
    int how = command(s, "BEGIN", note);
    for (size_t i = 0; i < s->batch_count && how != 2; i++) {
        struct note why = {.text = ""};
        how = command(s, "SAVEPOINT e", note);
        how = how != 0 ? 2 : run(s, &s->batch[i], &why);
        if (how == 1) {
            how = command(s, "ROLLBACK TO e", note) != 0 ||
                          cdc_dead_bury(pour->dead, slice_of(s->batch[i].line), why.text, note) !=
                              ERR_NONE
                      ? 2
                      : 0;
        } else if (how == 2) {
            *note = why;
        }
    }
    return how == 0 ? command(s, "COMMIT", note) : 2;
}

static int run_at_once(struct pg_sink *s, struct note *note)
{
    int how = command(s, "BEGIN", note);
    for (size_t i = 0; i < s->batch_count && how == 0; i++) {
        how = run(s, &s->batch[i], note);
    }
    return how == 0 ? command(s, "COMMIT", note) : how;
}

static enum err pg_flush(void *self, struct cdc_pour *pour, struct note *note)
{
    struct pg_sink *s = self;
    enum err e = s->batch_count == 0 ? ERR_NONE : open_connection(s, note);
    if (e || s->batch_count == 0) {
        return e;
    }
    int how = run_at_once(s, note);
    if (how == 1 && command(s, "ROLLBACK", note) == 0) {
        how = run_carefully(s, pour, note);
    }
    if (how == 0) {
        drop_batch(s);
        return ERR_NONE;
    }
    return ERR_SHARD_DOWN;
}

static void pg_forget(void *self)
{
    struct pg_sink *s = self;
    drop_batch(s);
    forget_made(s);
    PQfinish(s->conn);
    s->conn = NULL;
}

static void pg_free(void *self)
{
    struct pg_sink *s = self;
    pg_forget(s);
    mem_free(s->made);
    mem_free(s->batch);
    mem_free(s->conninfo);
    mem_free(s);
}

const struct cdc_outlet_kind cdc_outlet_pg = {
    .name = "pg", .event = pg_event, .flush = pg_flush, .forget = pg_forget, .free = pg_free};

void *cdc_outlet_pg_make(const char *conninfo)
{
    struct pg_sink *s = mem_zero(sizeof(*s));
    s->conninfo = mem_strdup(conninfo);
    return s;
}
