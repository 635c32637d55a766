/*
 * The publication: made, kept, and never trusted. What it leaves out does not come by the slot, and
 * nobody says so. So it is looked at when a stream begins, and again each time the slot is:
 *
 *     gone, or it leaves out statements, rows or columns         a gap: changes are lost
 *     a table of cdc.tables was not in it, or is another one     that table is copied again
 *     for other tables than is asked for                         made so, or refused with a word
 *
 * Source: PostgreSQL documentation, pg_publication, pg_publication_rel, pg_publication_tables.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "replication/cdc/source_impl.h"

enum {
    ALTER_MS = 60000,
    NAMES_SHOWN = 5
};

/* ---- identities ------------------------------------------------------------------------------ */

/* Tables for which a publication would make UPDATE and DELETE fail; in front: which tables. */
static const char NO_IDENTITY_SQL[] =
    "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class c "
    "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' "
    "AND c.relpersistence = 'p' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' "
    "AND (c.relreplident = 'n' OR c.relreplident IN ('d', 'i') AND NOT EXISTS (SELECT FROM "
    "pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indimmediate AND CASE c.relreplident "
    "WHEN 'd' THEN i.indisprimary ELSE i.indisreplident END))";
/* Those named, with what inherits from them: a publication has their partitions, too. */
static const char NAMED_SQL[] =
    "), named(oid) AS (SELECT c.oid FROM wanted w JOIN pg_catalog.pg_namespace n ON n.nspname = w.s "
    "JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.t UNION "
    "SELECT i.inhrelid FROM named JOIN pg_catalog.pg_inherits i ON i.inhparent = named.oid) ";

static enum err set_identities(struct cdc_source *s, const PGresult *tables, struct note *note)
{
    enum err e = ERR_NONE;
    for (int i = 0; e == ERR_NONE && i < PQntuples(tables); i++) {
        struct buf sql = {0};
        buf_printf(&sql, "ALTER TABLE %s REPLICA IDENTITY FULL", PQgetvalue(tables, i, 0));
        buf_u8(&sql, 0);
        e = pq_run(s->side, (const char *)sql.p, cdc_wait(s, ALTER_MS), NULL, NULL, note);
        buf_free(&sql);
    }
    return e;
}

/* The names of the setting as SQL: "a"."b", ... or E'a',E'b'), (...; without a schema it is public.
 */
static void each_table(const char *list, struct buf *out, const char *head, const char *between)
{
    int first = 1;
    while (*list != '\0') {
        size_t n = strcspn(list, ",");
        struct slice name = slice_bytes(list, n);
        while (name.n > 0 && name.p[0] == ' ') {
            name = slice_from(name, 1);
        }
        while (name.n > 0 && name.p[name.n - 1] == ' ') {
            name.n--;
        }
        const uint8_t *dot = name.n == 0 ? NULL : memchr(name.p, '.', name.n);
        struct slice schema =
            dot == NULL ? SLICE("public") : slice_bytes(name.p, (size_t)(dot - name.p));
        if (dot != NULL) {
            name = slice_from(name, schema.n + 1);
        }
        if (name.n > 0) {
            char left[CDC_NAME_BYTES * 2];
            char right[CDC_NAME_BYTES * 2];
            (void)snprintf(left, sizeof(left), SLICE_FMT, SLICE_ARG(schema));
            (void)snprintf(right, sizeof(right), SLICE_FMT, SLICE_ARG(name));
            buf_text(out, first ? head : between);
            first = 0;
            if (between[0] == ',') {
                source_put_name(out, left);
                buf_u8(out, '.');
                source_put_name(out, right);
            } else {
                source_put_text(out, left);
                buf_u8(out, ',');
                source_put_text(out, right);
            }
        }
        list += n + (list[n] == ',');
    }
}

static enum err check_identities(struct cdc_source *s, struct note *note)
{
    PGresult *r = NULL;
    struct buf sql = {0};
    if (s->o.tables != NULL) {
        buf_text(&sql, "WITH RECURSIVE wanted(s, t) AS (VALUES ");
        each_table(s->o.tables, &sql, "(", "), (");
        buf_printf(&sql, ")%s", NAMED_SQL);
    }
    buf_printf(&sql, "%s%s ORDER BY 1", NO_IDENTITY_SQL,
               s->o.tables == NULL ? "" : " AND c.oid IN (SELECT oid FROM named)");
    buf_u8(&sql, 0);
    enum err e = cdc_side(s, (const char *)sql.p, &r, note);
    buf_free(&sql);
    if (e) {
        return e;
    }
    int count = PQntuples(r);
    if (count > 0 && s->o.full_identity) {
        e = set_identities(s, r, note);
    } else if (count > 0) {
        struct buf names = {0};
        for (int i = 0; i < count && i < NAMES_SHOWN; i++) {
            buf_printf(&names, "%s%s", i == 0 ? "" : ", ", PQgetvalue(r, i, 0));
        }
        buf_u8(&names, 0);
        e = note_set(
            note, ERR_BAD_STATE,
            "%d tables have no primary key and no other replica identity, so a publication "
            "would make their UPDATE and DELETE fail: %.200s%s",
            count, (const char *)names.p, count > NAMES_SHOWN ? ", ..." : "");
        note_hint(note, "ALTER TABLE ... REPLICA IDENTITY FULL, or set cdc.replica_identity: full, "
                        "or name other tables to capture in cdc.tables");
        buf_free(&names);
    }
    PQclear(r);
    return e;
}

/* ---- making it ------------------------------------------------------------------------------- */

static void hint_refusal(const char *sqlstate, const char *sql, struct note *note)
{
    if (strcmp(sqlstate, "42501") == 0) {
        note_hint(note, "let a superuser, or who owns the tables, run: %.200s", sql);
    } else if (strcmp(sqlstate, "42P01") == 0 || strcmp(sqlstate, "3F000") == 0) {
        note_hint(note, "cdc.tables must name tables that every shard has, as schema.table");
    } else if (strcmp(sqlstate, "25006") == 0) {
        note_hint(note, "change capture reads a primary that can be written to");
    }
}

static enum err make_publication(struct cdc_source *s, int exists, struct note *note)
{
    struct buf sql = {0};
    struct pq_trouble trouble;
    buf_text(&sql, exists ? "ALTER PUBLICATION " : "CREATE PUBLICATION ");
    source_put_name(&sql, s->o.publication);
    if (s->o.tables == NULL) {
        buf_text(&sql, " FOR ALL TABLES");
    } else {
        each_table(s->o.tables, &sql, exists ? " SET TABLE " : " FOR TABLE ", ", ");
    }
    buf_u8(&sql, 0);
    enum err e = pq_run(s->side, (const char *)sql.p, cdc_wait(s, ALTER_MS), NULL, &trouble, note);
    if (e == ERR_SHARD_REFUSED) {
        hint_refusal(trouble.sqlstate, (const char *)sql.p, note);
    }
    buf_free(&sql);
    return e;
}

/* ---- what it is ------------------------------------------------------------------------------ */

struct publication {
    int exists, all;
    const char *fault; /* what it leaves out; NULL: nothing */
    const char *mend;
};

static enum err look_at(struct cdc_source *s, struct publication *out, struct note *note)
{
    struct buf sql = {0};
    PGresult *r = NULL;
    buf_printf(&sql,
               "SELECT puballtables, pubinsert AND pubupdate AND pubdelete%s, %s, %s "
               "FROM pg_catalog.pg_publication p WHERE pubname = ",
               s->version >= 110000 ? " AND pubtruncate" : "",
               s->version >= 130000 ? "pubviaroot" : "false",
               s->version >= 150000 ? "EXISTS (SELECT FROM pg_catalog.pg_publication_rel r WHERE "
                                      "r.prpubid = p.oid AND (r.prqual IS NOT NULL OR r.prattrs "
                                      "IS NOT NULL))"
                                    : "false");
    source_put_text(&sql, s->o.publication);
    buf_u8(&sql, 0);
    enum err e = cdc_side(s, (const char *)sql.p, &r, note);
    buf_free(&sql);
    if (e) {
        return e;
    }
    *out = (struct publication){.exists = PQntuples(r) > 0};
    out->all = out->exists && slice_is(pq_cell(r, 0, 0), "t");
    if (out->exists && !slice_is(pq_cell(r, 0, 1), "t")) {
        out->fault = "leaves out some kinds of statements";
        out->mend = "ALTER PUBLICATION ... SET (publish = 'insert, update, delete, truncate')";
    } else if (out->exists && slice_is(pq_cell(r, 0, 2), "t")) {
        out->fault = "gives the rows of partitions as those of their parent";
        out->mend = "ALTER PUBLICATION ... SET (publish_via_partition_root = false)";
    } else if (out->exists && slice_is(pq_cell(r, 0, 3), "t")) {
        out->fault = "leaves out rows or columns";
        out->mend = "ALTER PUBLICATION ... SET TABLE, without WHERE and without lists of columns";
    }
    PQclear(r);
    return ERR_NONE;
}

/* What has been lost by it is lost; from then on it is in the way. */
static enum err refuse(struct cdc_source *s, const struct publication *p, struct note *note)
{
    char why[300];
    (void)snprintf(why, sizeof(why), "publication \"%s\" %s", s->o.publication,
                   p->exists ? p->fault : "does not exist any more");
    if (s->state.phase != CDC_FRESH) {
        return cdc_gap(s, why, note);
    }
    enum err e = note_set(note, ERR_BAD_STATE, "%s", why);
    note_hint(note, "%s", p->mend);
    return e;
}

/* Does the publication hold what the setting names? */
static enum err compare_publication(struct cdc_source *s, int *same, struct note *note)
{
    struct buf sql = {0};
    buf_text(&sql, "WITH have AS (SELECT schemaname::text AS s, tablename::text AS t FROM "
                   "pg_catalog.pg_publication_tables WHERE pubname = ");
    source_put_text(&sql, s->o.publication);
    buf_text(&sql, "), wanted(s, t) AS (VALUES ");
    each_table(s->o.tables, &sql, "(", "), (");
    buf_text(&sql, ")) SELECT (SELECT count(*) FROM (TABLE have EXCEPT TABLE wanted) x) + "
                   "(SELECT count(*) FROM (TABLE wanted EXCEPT TABLE have) y)");
    buf_u8(&sql, 0);
    PGresult *r = NULL;
    enum err e = cdc_side(s, (const char *)sql.p, &r, note);
    buf_free(&sql);
    if (e == ERR_NONE) {
        *same = slice_is(pq_cell(r, 0, 0), "0");
        PQclear(r);
    }
    return e;
}

/* ---- tables that were not in it -------------------------------------------------------------- */

static int is_published(const PGresult *r, const struct cdc_table *t)
{
    for (int i = 0; i < PQntuples(r); i++) {
        if (strcmp(pq_text(r, i, 0), t->schema) == 0 && strcmp(pq_text(r, i, 1), t->name) == 0) {
            return strtoul(pq_text(r, i, 2), NULL, 10) == t->oid;
        }
    }
    return 0;
}

/* Of tables that were copied, those whose changes did not come since: taken from the publication,
 * or another table of that name. They are forgotten, so that they are copied when they are in it.
 */
static enum err forget_lost_tables(struct cdc_source *s, struct note *note)
{
    struct buf sql = {0};
    PGresult *r = NULL;
    if (s->state.phase == CDC_FRESH || s->state.tables_count == 0) {
        return ERR_NONE;
    }
    buf_text(&sql, "SELECT n.nspname, c.relname, c.oid FROM pg_catalog.pg_publication_tables p "
                   "JOIN pg_catalog.pg_namespace n ON n.nspname = p.schemaname JOIN "
                   "pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename "
                   "WHERE p.pubname = ");
    source_put_text(&sql, s->o.publication);
    buf_u8(&sql, 0);
    enum err e = cdc_side(s, (const char *)sql.p, &r, note);
    buf_free(&sql);
    if (e) {
        return e;
    }
    size_t lost = 0;
    for (size_t i = s->state.tables_count; i > 0; i--) {
        struct cdc_table *t = &s->state.tables[i - 1];
        if (t->oid != 0 && !is_published(r, t)) {
            log_event(LOG_CDC_TABLE, "database=%s shard=%s table=%s.%s", s->o.shard.database,
                      s->o.shard.name, t->schema, t->name);
            cdc_state_drop(&s->state, i - 1);
            lost++;
        }
    }
    PQclear(r);
    return lost == 0 ? ERR_NONE : cdc_remember(s, 1, note); /* before they are in it again */
}

/* ---- changed while it is read ---------------------------------------------------------------- */

/* A text that is another one when the publication, or what cdc.tables names, is another one. */
static enum err read_signature(struct cdc_source *s, struct buf *out, struct note *note)
{
    struct buf sql = {0};
    PGresult *r = NULL;
    if (s->o.tables != NULL) {
        buf_text(&sql, "WITH wanted(s, t) AS (VALUES ");
        each_table(s->o.tables, &sql, "(", "), (");
        buf_text(&sql, ")) ");
    }
    buf_text(&sql, "SELECT pg_catalog.concat(p.oid, ' ', p.xmin");
    if (s->o.tables != NULL) {
        buf_text(&sql,
                 ", (SELECT pg_catalog.string_agg(pg_catalog.concat(' ', r.oid, ':', r.xmin),"
                 " '' ORDER BY r.oid) FROM pg_catalog.pg_publication_rel r WHERE r.prpubid = "
                 "p.oid), (SELECT pg_catalog.string_agg(pg_catalog.concat(' ', c.oid), '' "
                 "ORDER BY c.oid) FROM wanted w JOIN pg_catalog.pg_namespace n ON n.nspname = "
                 "w.s JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = "
                 "w.t)");
    }
    buf_text(&sql, ") FROM pg_catalog.pg_publication p WHERE p.pubname = ");
    source_put_text(&sql, s->o.publication);
    buf_u8(&sql, 0);
    enum err e = cdc_side(s, (const char *)sql.p, &r, note);
    buf_free(&sql);
    if (e == ERR_NONE) {
        out->n = 0;
        buf_add_slice(out, slice_of(pq_text(r, 0, 0)));
        PQclear(r);
    }
    return e;
}

void cdc_watch_publication(struct cdc_source *s)
{
    struct buf now = {0};
    struct note note;
    if (s->publication.n > 0 && read_signature(s, &now, &note) == ERR_NONE) {
        s->is_changed = !slice_eq(buf_slice(&now), buf_slice(&s->publication));
    }
    buf_free(&now);
}

/* ---- all of it ------------------------------------------------------------------------------- */

static enum err keep_for_all(struct cdc_source *s, const struct publication *p, struct note *note)
{
    enum err e = ERR_NONE;
    if (p->exists && !p->all) {
        e = note_set(note, ERR_BAD_STATE,
                     "publication \"%s\" is not for all tables, and cdc.tables does not say which",
                     s->o.publication);
        note_hint(note,
                  "name its tables in cdc.tables; or drop it, and replication slot \"%s\", so that "
                  "both are made anew and all tables are copied",
                  s->state.slot);
        return e;
    }
    if (!p->exists || s->o.full_identity) {
        e = check_identities(s, note);
    }
    return e || p->exists ? e : make_publication(s, 0, note);
}

static enum err keep_for_some(struct cdc_source *s, const struct publication *p, struct note *note)
{
    if (p->all) {
        enum err e = note_set(note, ERR_BAD_STATE,
                              "publication \"%s\" is for all tables, but cdc.tables names some",
                              s->o.publication);
        note_hint(note, "drop it, and it is made for these; changes may be lost then, and the "
                        "tables are copied again");
        return e;
    }
    int same = 0;
    enum err e = p->exists ? compare_publication(s, &same, note) : ERR_NONE;
    if (e == ERR_NONE && (!same || s->o.full_identity)) {
        e = check_identities(s, note);
    }
    e = e || !p->exists ? e : forget_lost_tables(s, note);
    return e || same ? e : make_publication(s, p->exists, note);
}

enum err cdc_keep_publication(struct cdc_source *s, struct note *note)
{
    struct publication p;
    enum err e = look_at(s, &p, note);
    if (e) {
        return e;
    }
    if (p.fault != NULL || (!p.exists && s->state.phase != CDC_FRESH)) {
        return refuse(s, &p, note);
    }
    e = s->o.tables == NULL ? keep_for_all(s, &p, note) : keep_for_some(s, &p, note);
    s->is_changed = 0;
    return e ? e : read_signature(s, &s->publication, note);
}
