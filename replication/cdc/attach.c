/*
 * Before a stream begins: is it the server we know, is everything there that a stream needs, and is
 * the thread of changes whole. A doubt about that is a gap, never silence.
 *
 *     known system? --no--> gap        timeline: did we read past the point where it began? -> gap
 *     slot named, maybe made --> drop it, make it, copy
 *     slot recorded: there, not lost, not ahead of our place? --no--> gap
 *
 * Source: PostgreSQL documentation, "Streaming Replication Protocol", pg_replication_slots.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/rng.h"
#include "replication/cdc/source_impl.h"

enum {
    MAKE_SLOT_MS = 3600 * 1000, /* it waits for every transaction that runs */
    ALTER_MS = 60000,
    NAMES_SHOWN = 5
};

/* ---- gap ------------------------------------------------------------------------------------- */

static enum err drop_slot(struct cdc_source *s, const char *slot, struct note *note)
{
    struct buf sql = {0};
    buf_text(&sql, "SELECT pg_catalog.pg_drop_replication_slot(slot_name) "
                   "FROM pg_catalog.pg_replication_slots WHERE slot_name = ");
    source_put_text(&sql, slot);
    buf_u8(&sql, 0);
    enum err e = slot[0] == '\0' ? ERR_NONE : cdc_side(s, (const char *)sql.p, NULL, note);
    buf_free(&sql);
    return e;
}

enum err cdc_gap(struct cdc_source *s, const char *why, struct note *note)
{
    const struct cdc_sink *sink = s->o.sink;
    char old[CDC_SLOT_BYTES];
    struct note unused = {0};
    memcpy(old, s->state.slot, sizeof(old));
    log_event(LOG_CDC_GAP, "database=%s shard=%s slot=%s reason=\"%s\"", s->o.shard.database,
              s->o.shard.name, old, why);
    sink->drop(sink->arg, &s->o.shard);
    s->place = (struct cdc_mark){.epoch = s->place.epoch + 1, .ends = 1};
    const struct change gap = {.op = CHANGE_GAP,
                               .shard = s->o.shard.number,
                               .epoch = s->place.epoch,
                               .content = slice_of(why)};
    cdc_state_free(&s->state);
    memcpy(s->state.slot, old, sizeof(old)); /* whoever makes the next one drops it */
    enum err e = sink->change(sink->arg, &gap, note);
    e = e ? e : cdc_remember(s, 1, note);
    if (e) {
        return e;
    }
    (void)drop_slot(s, old, &unused); /* now, if it can be: it keeps the server's log */
    (void)pthread_mutex_lock(&s->lock);
    s->look.gaps++;
    (void)pthread_mutex_unlock(&s->lock);
    return note_set(note, ERR_STALE, "%s", why);
}

/* ---- the server ------------------------------------------------------------------------------ */

static enum err connect_both(struct cdc_source *s, struct note *note)
{
    struct pg_target t = cdc_target(s, 0);
    enum err e = pq_open(&t, &s->interrupt, &s->side, NULL, note);
    if (e) {
        return e;
    }
    s->version = PQserverVersion(s->side);
    PGresult *r = NULL;
    e = cdc_side(s, "SHOW wal_level", &r, note);
    if (e) {
        return e;
    }
    int logical = slice_is(pq_cell(r, 0, 0), "logical");
    PQclear(r);
    if (!logical) {
        e = note_set(note, ERR_BAD_SETTING, "the server has not wal_level = logical");
        note_hint(note, "set wal_level = logical in postgresql.conf and restart the server");
        return e;
    }
    t = cdc_target(s, 1);
    e = pq_open(&t, &s->interrupt, &s->stream, NULL, note);
    if (e == ERR_SHARD_REFUSED) {
        note_hint(note, "ALTER ROLE %s REPLICATION, and let it in by pg_hba.conf", s->here.user);
    }
    return e;
}

/* Where the timeline that we read last has ended, as the newer one tells; 0: it knows nothing of
 * it. */
static uint64_t end_of_timeline(struct slice history, uint32_t timeline)
{
    char line[256];
    while (history.n > 0) {
        const uint8_t *end = memchr(history.p, '\n', history.n);
        size_t n = end == NULL ? history.n : (size_t)(end - history.p);
        size_t keep = n < sizeof(line) - 1 ? n : sizeof(line) - 1;
        memcpy(line, history.p, keep);
        line[keep] = '\0';
        char *rest;
        if (strtoul(line, &rest, 10) == timeline && rest != line) {
            return cdc_read_lsn(rest);
        }
        history = slice_from(history, end == NULL ? n : n + 1);
    }
    return 0;
}

static enum err check_timeline(struct cdc_source *s, uint32_t timeline, struct note *note)
{
    if (s->state.phase == CDC_FRESH || s->state.timeline == timeline) {
        return ERR_NONE;
    }
    char sql[64];
    char why[200];
    PGresult *r = NULL;
    (void)snprintf(sql, sizeof(sql), "TIMELINE_HISTORY %" PRIu32, timeline);
    enum err e = pq_run(s->stream, sql, cdc_wait(s, CDC_SIDE_TIMEOUT_MS), &r, NULL, note);
    if (e == ERR_SHARD_DOWN || e == ERR_SHUTDOWN) {
        return e;
    }
    uint64_t end = e == ERR_NONE ? end_of_timeline(pq_cell(r, 0, 1), s->state.timeline) : 0;
    PQclear(r);
    if (end != 0 && s->place.resume <= end && s->place.lsn < end) {
        s->state.timeline = timeline;
        return cdc_remember(s, 0, note);
    }
    (void)snprintf(why, sizeof(why),
                   "the server is on timeline %" PRIu32
                   " now, and what was read of timeline %" PRIu32 " is not all part of it",
                   timeline, s->state.timeline);
    return cdc_gap(s, why, note);
}

static enum err identify(struct cdc_source *s, uint64_t *system, uint32_t *timeline,
                         struct note *note)
{
    PGresult *r = NULL;
    enum err e =
        pq_run(s->stream, "IDENTIFY_SYSTEM", cdc_wait(s, CDC_SIDE_TIMEOUT_MS), &r, NULL, note);
    if (e) {
        return e;
    }
    *system = strtoull(PQgetvalue(r, 0, 0), NULL, 10);
    *timeline = (uint32_t)strtoul(PQgetvalue(r, 0, 1), NULL, 10);
    PQclear(r);
    return ERR_NONE;
}

/* ---- publication ----------------------------------------------------------------------------- */

/* Tables for which a publication would make UPDATE and DELETE fail; in front: which tables. */
static const char NO_IDENTITY_SQL[] =
    "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class c "
    "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' "
    "AND c.relpersistence = 'p' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' "
    "AND (c.relreplident = 'n' OR c.relreplident = 'd' AND NOT EXISTS (SELECT FROM "
    "pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisprimary))";
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

static enum err make_publication(struct cdc_source *s, int exists, struct note *note)
{
    struct buf sql = {0};
    buf_text(&sql, exists ? "ALTER PUBLICATION " : "CREATE PUBLICATION ");
    source_put_name(&sql, s->o.publication);
    if (s->o.tables == NULL) {
        buf_text(&sql, " FOR ALL TABLES");
    } else {
        each_table(s->o.tables, &sql, exists ? " SET TABLE " : " FOR TABLE ", ", ");
    }
    buf_u8(&sql, 0);
    enum err e = pq_run(s->side, (const char *)sql.p, cdc_wait(s, ALTER_MS), NULL, NULL, note);
    if (e == ERR_SHARD_REFUSED) {
        note_hint(note, "let a superuser run: %.200s", (const char *)sql.p);
    }
    buf_free(&sql);
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

static enum err keep_publication(struct cdc_source *s, struct note *note)
{
    struct buf sql = {0};
    buf_text(&sql, "SELECT puballtables FROM pg_catalog.pg_publication WHERE pubname = ");
    source_put_text(&sql, s->o.publication);
    buf_u8(&sql, 0);
    PGresult *r = NULL;
    enum err e = cdc_side(s, (const char *)sql.p, &r, note);
    buf_free(&sql);
    if (e) {
        return e;
    }
    int exists = PQntuples(r) > 0;
    int all = exists && slice_is(pq_cell(r, 0, 0), "t");
    PQclear(r);
    if (s->o.tables == NULL) {
        if (!exists || s->o.full_identity) {
            e = check_identities(s, note);
        }
        return e || exists ? e : make_publication(s, 0, note);
    }
    if (all) {
        return note_set(note, ERR_BAD_STATE,
                        "publication \"%s\" is for all tables, but cdc.tables names some",
                        s->o.publication);
    }
    int same = 0;
    e = exists ? compare_publication(s, &same, note) : ERR_NONE;
    if (e == ERR_NONE && (!same || s->o.full_identity)) {
        e = check_identities(s, note);
    }
    return e || same ? e : make_publication(s, exists, note);
}

/* ---- slot ------------------------------------------------------------------------------------ */

/* Names of slots have only a-z, 0-9 and _. */
static void add_plain(char out[CDC_SLOT_BYTES], const char *text, size_t max)
{
    size_t n = strlen(out);
    for (size_t i = 0; text[i] != '\0' && i < max; i++) {
        char ch = text[i];
        int plain = (ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9');
        out[n++] = plain ? ch : '_';
    }
    out[n] = '\0';
}

static void choose_name(struct cdc_source *s)
{
    char chance[10];
    uint32_t bits;
    rng_secure(&bits, sizeof(bits));
    (void)snprintf(chance, sizeof(chance), "_%08" PRIx32, bits);
    s->state.slot[0] = '\0';
    add_plain(s->state.slot, s->o.slot_prefix, 24);
    add_plain(s->state.slot, "_", 1);
    add_plain(s->state.slot, s->o.shard.name, 24);
    add_plain(s->state.slot, chance, 9);
}

static enum err create_slot(struct cdc_source *s, struct note *note)
{
    char sql[256];
    const char *how =
        s->version >= 150000 ? "(SNAPSHOT 'export', TWO_PHASE true)" : "EXPORT_SNAPSHOT";
    (void)snprintf(sql, sizeof(sql), "CREATE_REPLICATION_SLOT %s LOGICAL pgoutput %s",
                   s->state.slot, how);
    cdc_doing(s, CDC_MAKING_SLOT);
    PGresult *r = NULL;
    enum err e = pq_run(s->stream, sql, cdc_wait(s, MAKE_SLOT_MS), &r, NULL, note);
    if (e) {
        return e;
    }
    s->state.point = cdc_read_lsn(PQgetvalue(r, 0, 1));
    (void)snprintf(s->barrier.snapshot, sizeof(s->barrier.snapshot), "%s", PQgetvalue(r, 0, 2));
    s->barrier.lsn = s->state.point;
    PQclear(r);
    return ERR_NONE;
}

/* A name that is remembered before the server has the slot; the slot; what is to be copied. */
static enum err make_slot(struct cdc_source *s, uint64_t system, uint32_t timeline,
                          struct note *note)
{
    enum err e = drop_slot(s, s->state.slot, note); /* its snapshot is lost, or a gap left it */
    if (e) {
        note_hint(note, "a slot that nobody reads keeps the server's log: see "
                        "pg_replication_slots, end who holds it, drop it");
        return e;
    }
    cdc_state_free(&s->state);
    choose_name(s);
    e = cdc_remember(s, 1, note);
    e = e ? e : create_slot(s, note);
    if (e) {
        return e;
    }
    log_event(LOG_CDC_SLOT, "database=%s shard=%s slot=%s publication=%s at=%X/%X",
              s->o.shard.database, s->o.shard.name, s->state.slot, s->o.publication,
              (unsigned)(s->state.point >> 32), (unsigned)s->state.point);
    s->state.system = system;
    s->state.timeline = timeline;
    s->place.lsn = s->state.point - 2; /* see assemble_idle() */
    s->place.index = UINT32_MAX;
    s->place.ends = 1;
    s->place.resume = s->state.point;
    if (s->o.copy == CDC_COPY_NEVER) {
        s->state.phase = CDC_STREAMING;
        return cdc_remember(s, 1, note);
    }
    s->state.phase = CDC_COPYING;
    e = cdc_list_tables(s, note);
    e = e ? e : cdc_remember(s, 1, note);
    return e ? e : cdc_copy_tables(s, note);
}

/* Tables that cdc.tables names since the last start are copied; of all tables, a new one is known
 * to the slot from its first row on. */
static enum err find_new_tables(struct cdc_source *s, struct note *note)
{
    if (s->o.tables == NULL || s->o.copy == CDC_COPY_NEVER) {
        return ERR_NONE;
    }
    enum err e = cdc_list_tables(s, note);
    for (size_t i = 0; e == ERR_NONE && i < s->state.tables_count; i++) {
        if (!s->state.tables[i].done && s->state.phase == CDC_STREAMING) {
            s->state.phase = CDC_COPYING;
            return cdc_remember(s, 1, note);
        }
    }
    return e;
}

static enum err check_slot(struct cdc_source *s, struct note *note)
{
    struct buf sql = {0};
    buf_printf(&sql,
               "SELECT confirmed_flush_lsn, %s FROM pg_catalog.pg_replication_slots "
               "WHERE slot_name = ",
               s->version >= 130000 ? "coalesce(wal_status, '')" : "''");
    source_put_text(&sql, s->state.slot);
    buf_u8(&sql, 0);
    PGresult *r = NULL;
    enum err e = cdc_side(s, (const char *)sql.p, &r, note);
    buf_free(&sql);
    if (e) {
        return e;
    }
    char why[300] = "";
    uint64_t confirmed = PQntuples(r) == 0 ? 0 : cdc_read_lsn(PQgetvalue(r, 0, 0));
    if (PQntuples(r) == 0) {
        (void)snprintf(why, sizeof(why), "replication slot \"%s\" does not exist any more",
                       s->state.slot);
    } else if (slice_is(pq_cell(r, 0, 1), "lost")) {
        (void)snprintf(why, sizeof(why),
                       "the server has dropped log that replication slot \"%s\" still needed",
                       s->state.slot);
    } else if (confirmed > s->place.resume) {
        (void)snprintf(why, sizeof(why),
                       "replication slot \"%s\" stands at %X/%X, somebody has moved it past %X/%X, "
                       "where our log ends",
                       s->state.slot, (unsigned)(confirmed >> 32), (unsigned)confirmed,
                       (unsigned)(s->place.resume >> 32), (unsigned)s->place.resume);
    }
    PQclear(r);
    return why[0] == '\0' ? find_new_tables(s, note) : cdc_gap(s, why, note);
}

/* ---- snapshot beside the stream -------------------------------------------------------------- */

enum err cdc_take_snapshot(struct cdc_source *s, struct note *note)
{
    struct pg_target t = cdc_target(s, 1);
    struct cdc_barrier *b = &s->barrier;
    enum err e = pq_open(&t, &s->interrupt, &b->holder, NULL, note);
    if (e) {
        return e;
    }
    char sql[256];
    (void)snprintf(sql, sizeof(sql),
                   "CREATE_REPLICATION_SLOT %.50s_copy TEMPORARY LOGICAL pgoutput %s",
                   s->state.slot, s->version >= 150000 ? "(SNAPSHOT 'export')" : "EXPORT_SNAPSHOT");
    PGresult *r = NULL;
    e = pq_run(b->holder, sql, cdc_wait(s, MAKE_SLOT_MS), &r, NULL, note);
    if (e) {
        cdc_drop_barrier(s);
        return e;
    }
    b->lsn = cdc_read_lsn(PQgetvalue(r, 0, 1));
    (void)snprintf(b->snapshot, sizeof(b->snapshot), "%s", PQgetvalue(r, 0, 2));
    b->wanted = 1;
    PQclear(r);
    cdc_doing(s, CDC_CATCHING_UP);
    return ERR_NONE;
}

void cdc_drop_barrier(struct cdc_source *s)
{
    pq_close(s->barrier.holder);
    memset(&s->barrier, 0, sizeof(s->barrier));
}

/* ---- all of it ------------------------------------------------------------------------------- */

enum err cdc_attach(struct cdc_source *s, struct note *note)
{
    uint64_t system = 0;
    uint32_t timeline = 0;
    enum err e = connect_both(s, note);
    e = e ? e : identify(s, &system, &timeline, note);
    if (e) {
        return e;
    }
    if (s->state.system != 0 && s->state.system != system) {
        return cdc_gap(s, "the server is another one: its system identifier has changed", note);
    }
    e = check_timeline(s, timeline, note);
    e = e ? e : keep_publication(s, note);
    if (e) {
        return e;
    }
    e = s->state.phase == CDC_FRESH ? make_slot(s, system, timeline, note) : check_slot(s, note);
    (void)pthread_mutex_lock(&s->lock);
    s->look.epoch = s->place.epoch;
    s->look.timeline = timeline;
    (void)snprintf(s->look.slot, sizeof(s->look.slot), "%s", s->state.slot);
    (void)pthread_mutex_unlock(&s->lock);
    return e;
}
