/*
 * Large values that an UPDATE left alone do not come with it. Of tables that ask for it they are
 * read from the row, but only as long as that is still what this transaction wrote: its xmin says
 * so. A row that was written again since brings the value, or another look, with that later change;
 * then, and whenever the look fails, the mark stays. So what is filled in is never of another
 * moment, and an unchanged value is never NULL.
 *
 * A commit is sent before it can be seen by others: when nothing is found and the transaction is
 * still running there, it is waited for a little, once per transaction.
 */

#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"
#include "replication/cdc/source_impl.h"
#include "replication/cdc/topic_list.h"

enum {
    VISIBLE_TRIES = 20,
    VISIBLE_PAUSE_MS = 5
};

static int is_wanted(const struct cdc_source *s, const struct change_relation *r)
{
    char topic[800];
    (void)snprintf(topic, sizeof(topic), "%s." SLICE_FMT "." SLICE_FMT, s->o.shard.database,
                   SLICE_ARG(r->schema), SLICE_ARG(r->name));
    return topic_list_has(s->o.fill, topic);
}

static void put_text(struct buf *b, struct slice text, void (*put)(struct buf *, const char *))
{
    struct buf copy = {0};
    buf_add_slice(&copy, text);
    buf_u8(&copy, 0);
    put(b, (const char *)copy.p);
    buf_free(&copy);
}

/* 0: the row cannot be told by its key. */
static int put_question(struct buf *sql, const struct change_relation *r,
                        const struct change_column *columns, uint32_t xid)
{
    const char *comma = "SELECT ";
    for (uint16_t i = 0; i < r->n_columns; i++) {
        if (columns[i].kind == VALUE_UNCHANGED) {
            buf_text(sql, comma);
            put_text(sql, r->columns[i].name, source_put_name);
            comma = ", ";
        }
    }
    buf_text(sql, " FROM ");
    put_text(sql, r->schema, source_put_name);
    buf_u8(sql, '.');
    put_text(sql, r->name, source_put_name);
    buf_printf(sql, " WHERE tableoid = %" PRIu32 " AND xmin = '%" PRIu32 "'::pg_catalog.xid",
               r->oid, xid);
    int keys = 0;
    for (uint16_t i = 0; i < r->n_columns; i++) {
        if (!r->columns[i].is_key) {
            continue;
        }
        if (columns[i].kind != VALUE_TEXT) {
            return 0;
        }
        buf_text(sql, " AND ");
        put_text(sql, r->columns[i].name, source_put_name);
        buf_text(sql, " = ");
        put_text(sql, columns[i].bytes, source_put_text);
        keys++;
    }
    buf_u8(sql, 0);
    return keys > 0;
}

/* Does a new snapshot still see it running? */
static int is_running(struct cdc_source *s, uint32_t xid)
{
    char sql[400];
    struct note note;
    PGresult *r = NULL;
    (void)snprintf(
        sql, sizeof(sql),
        "SELECT FROM pg_catalog.txid_current_snapshot() s WHERE "
        "(pg_catalog.txid_snapshot_xmax(s) - %" PRIu32 " - 1) & 4294967295 >= 2147483648 OR "
        "EXISTS (SELECT FROM pg_catalog.txid_snapshot_xip(s) x WHERE x & 4294967295 = %" PRIu32 ")",
        xid, xid);
    int running = cdc_side(s, sql, &r, &note) == ERR_NONE && PQntuples(r) > 0;
    PQclear(r);
    return running;
}

static enum err ask_once(struct cdc_source *s, const char *sql, struct note *note)
{
    PQclear(s->filled);
    s->filled = NULL;
    return cdc_side(s, sql, &s->filled, note);
}

static enum err ask(struct cdc_source *s, const char *sql, uint32_t top, struct note *note)
{
    enum err e = ask_once(s, sql, note);
    if (e || PQntuples(s->filled) > 0 || s->not_visible == top) {
        return e;
    }
    int tries = 0;
    while (is_running(s, top)) {
        if (tries++ == VISIBLE_TRIES) {
            s->not_visible = top;
            return ERR_NONE;
        }
        if (!pq_sleep(&s->interrupt, VISIBLE_PAUSE_MS)) {
            return note_set(note, ERR_SHUTDOWN, "asked to leave");
        }
    }
    return ask_once(s, sql, note); /* it may have ended between the two questions */
}

/* What is not NULL; views of `filled`. */
static uint64_t take_values(const PGresult *r, const struct change_relation *relation,
                            struct change_column *columns)
{
    uint64_t count = 0;
    int at = 0;
    for (uint16_t i = 0; i < relation->n_columns; i++) {
        if (columns[i].kind != VALUE_UNCHANGED) {
            continue;
        }
        if (!PQgetisnull(r, 0, at)) {
            columns[i] = (struct change_column){.kind = VALUE_TEXT, .bytes = pq_cell(r, 0, at)};
            count++;
        }
        at++;
    }
    return count;
}

uint64_t cdc_fill(void *arg, const struct change_relation *relation, struct change_column *columns,
                  const uint32_t xids[2])
{
    struct cdc_source *s = arg;
    struct buf sql = {0};
    struct note note;
    uint64_t count = 0;
    if (is_wanted(s, relation) && put_question(&sql, relation, columns, xids[0])) {
        enum err e = ask(s, (const char *)sql.p, xids[1], &note);
        if (e) {
            log_event(LOG_NOTE, "shard=%s what=cdc_fill error=\"%s\"", s->o.shard.name, note.text);
        } else if (PQntuples(s->filled) == 1) {
            count = take_values(s->filled, relation, columns);
        }
    }
    buf_free(&sql);
    return count;
}
