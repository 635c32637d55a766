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
#include "base/clock.h"
#include "base/log.h"
#include "base/rng.h"
#include "replication/cdc/source_impl.h"

enum {
    MAKE_SLOT_MS = 3600 * 1000, /* it waits for every transaction that runs */
    CHANCE_CHARS = 8,           /* at the end of a slot's name */
    WAITS_MS = 10000,           /* then the log says for whom */
    TRY_MIN_MS = 5000, /* a snapshot beside a stream is waited for so long, then twice, ... */
    TRY_MAX_MS = 300 * 1000
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
    struct pq_trouble trouble;
    e = pq_open(&t, &s->interrupt, &s->stream, &trouble, note);
    if (e == ERR_SHARD_REFUSED && strcmp(trouble.sqlstate, "53300") == 0) {
        note_hint(note,
                  "raise max_wal_senders (one per slot that is read, one more during a copy)");
    } else if (e == ERR_SHARD_REFUSED) {
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

/* Who the server is, and where its log ends. */
static enum err identify(struct cdc_source *s, uint64_t *system, uint32_t *timeline, uint64_t *end,
                         struct note *note)
{
    PGresult *r = NULL;
    enum err e =
        pq_run(s->stream, "IDENTIFY_SYSTEM", cdc_wait(s, CDC_SIDE_TIMEOUT_MS), &r, NULL, note);
    if (e) {
        return e;
    }
    *system = strtoull(pq_text(r, 0, 0), NULL, 10);
    *timeline = (uint32_t)strtoul(pq_text(r, 0, 1), NULL, 10);
    *end = cdc_read_lsn(pq_text(r, 0, 2));
    PQclear(r);
    if (*system == 0 || *timeline == 0 || *end == 0) {
        return note_set(note, ERR_SHARD_PROTOCOL, "the server does not say who it is");
    }
    return ERR_NONE;
}

/* A slot would begin behind the end of the log without a word, and leave out what comes until
 * then. */
static enum err check_end(struct cdc_source *s, uint64_t end, struct note *note)
{
    char why[300];
    if (s->state.phase == CDC_FRESH || s->place.resume <= end) {
        return ERR_NONE;
    }
    (void)snprintf(why, sizeof(why),
                   "the server's log ends at %X/%X, but was read up to %X/%X: the server has been "
                   "put back to an older state",
                   (unsigned)(end >> 32), (unsigned)end, (unsigned)(s->place.resume >> 32),
                   (unsigned)s->place.resume);
    return cdc_gap(s, why, note);
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

/* Who a slot that is being made waits for. */
static void say_waits(struct cdc_source *s)
{
    struct note note;
    PGresult *r = NULL;
    enum err e = cdc_side(
        s,
        "SELECT pg_catalog.concat_ws(', ', (SELECT 'pid ' || pid FROM pg_catalog.pg_stat_activity "
        "WHERE backend_xid IS NOT NULL ORDER BY pg_catalog.age(backend_xid) DESC LIMIT 1), (SELECT "
        "'prepared transaction ' || gid FROM pg_catalog.pg_prepared_xacts ORDER BY "
        "pg_catalog.age(transaction) DESC LIMIT 1))",
        &r, &note);
    log_event(LOG_CDC_WAITS, "database=%s shard=%s oldest=\"%s\" hint=\"%s\"", s->o.shard.database,
              s->o.shard.name, e == ERR_NONE ? pq_text(r, 0, 0) : "",
              "end them, or wait: see pg_stat_activity.backend_xid and pg_prepared_xacts");
    PQclear(r);
}

/* The stream, if there is one, is not read meanwhile; its server must not take us for dead. */
static enum err meanwhile(void *arg, struct note *note)
{
    struct cdc_source *s = arg;
    if (s->making_us != 0 && clock_now_us() - s->making_us > (int64_t)WAITS_MS * 1000) {
        s->making_us = 0; /* once */
        say_waits(s);
    }
    cdc_watch(s);
    return cdc_status(s, 0, note);
}

struct pq_wait cdc_wait_beside(struct cdc_source *s, int timeout_ms)
{
    return (struct pq_wait){timeout_ms, &s->interrupt, meanwhile, s};
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
    s->making_us = clock_now_us();
    enum err e = pq_run(s->stream, sql, cdc_wait_beside(s, MAKE_SLOT_MS), &r, NULL, note);
    s->making_us = 0;
    if (e) {
        return e;
    }
    s->state.point = cdc_read_lsn(pq_text(r, 0, 1));
    (void)snprintf(s->barrier.snapshot, sizeof(s->barrier.snapshot), "%s", pq_text(r, 0, 2));
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
    uint64_t confirmed = PQntuples(r) == 0 ? 0 : cdc_read_lsn(pq_text(r, 0, 0));
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

/* One of ours whose name nobody remembers, as when data_dir was lost, keeps the server's log for
 * ever. It may also be that of another pgbraid, which is off just now. */
static void look_for_others(struct cdc_source *s)
{
    char own[CDC_SLOT_BYTES];
    char pattern[CDC_SLOT_BYTES + 20];
    struct buf sql = {0};
    struct note note;
    PGresult *r = NULL;
    memcpy(own, s->state.slot, sizeof(own));
    own[strlen(own) < CHANCE_CHARS ? 0 : strlen(own) - CHANCE_CHARS] = '\0';
    (void)snprintf(pattern, sizeof(pattern), "^%s[0-9a-f]{8}$", own); /* of a-z, 0-9 and _ */
    buf_text(&sql, "SELECT slot_name, pg_catalog.pg_current_wal_lsn() - restart_lsn FROM "
                   "pg_catalog.pg_replication_slots WHERE plugin = 'pgoutput' AND NOT active AND "
                   "database = pg_catalog.current_database() AND slot_name ~ ");
    source_put_text(&sql, pattern);
    buf_text(&sql, " AND slot_name <> ");
    source_put_text(&sql, s->state.slot);
    buf_text(&sql, " ORDER BY 1");
    buf_u8(&sql, 0);
    enum err e = cdc_side(s, (const char *)sql.p, &r, &note);
    buf_free(&sql);
    for (int i = 0; e == ERR_NONE && i < PQntuples(r) && s->said_others == 0; i++) {
        log_event(LOG_CDC_SLOT_LEFT,
                  "database=%s shard=%s slot=%s retained_bytes=%s hint=\"unless another pgbraid "
                  "needs it: SELECT pg_drop_replication_slot('%s')\"",
                  s->o.shard.database, s->o.shard.name, pq_text(r, i, 0), pq_text(r, i, 1),
                  pq_text(r, i, 0));
    }
    s->said_others = 1;
    PQclear(r);
}

/* ---- snapshot beside the stream -------------------------------------------------------------- */

/* A server goes on waiting for a lock when who asked has gone, and keeps the slot until then. */
static void end_holder(struct cdc_source *s)
{
    char sql[80];
    struct note unused;
    (void)snprintf(sql, sizeof(sql), "SELECT pg_catalog.pg_terminate_backend(%d)",
                   PQbackendPID(s->barrier.holder));
    enum err e = cdc_side(s, sql, NULL, &unused);
    (void)e; /* then it ends with what it waits for */
    cdc_drop_barrier(s);
}

/* A transaction that does not end, or is prepared and left, must not keep the stream from going
 * on: the snapshot is given up then, and tried again. */
static void give_up_snapshot(struct cdc_source *s)
{
    int try_ms = s->try_ms;
    end_holder(s);
    s->try_ms = try_ms * 2 > TRY_MAX_MS ? TRY_MAX_MS : try_ms * 2;
    s->snapshot_us = clock_now_us() + (int64_t)try_ms * 1000;
    if (s->making_us != 0) {
        s->making_us = 0;
        say_waits(s);
    }
}

enum err cdc_take_snapshot(struct cdc_source *s, struct note *note)
{
    if (clock_now_us() < s->snapshot_us) {
        return ERR_NONE;
    }
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
    int is_first = s->try_ms == 0;
    s->try_ms = is_first ? (s->o.snapshot_ms > 0 ? s->o.snapshot_ms : TRY_MIN_MS) : s->try_ms;
    s->making_us = is_first ? clock_now_us() : 0;
    cdc_doing(s, CDC_MAKING_SLOT);
    int64_t until_us = clock_now_us() + (int64_t)s->try_ms * 1000;
    e = pq_run(b->holder, sql, cdc_wait_beside(s, s->try_ms), &r, NULL, note);
    cdc_doing(s, CDC_CATCHING_UP);
    if (e == ERR_SHARD_DOWN && clock_now_us() >= until_us) {
        give_up_snapshot(s);
        return ERR_NONE;
    }
    if (e) {
        end_holder(s);
        return e;
    }
    s->making_us = 0;
    s->try_ms = 0;
    b->lsn = cdc_read_lsn(pq_text(r, 0, 1));
    (void)snprintf(b->snapshot, sizeof(b->snapshot), "%s", pq_text(r, 0, 2));
    b->wanted = 1;
    PQclear(r);
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
    uint64_t end = 0;
    enum err e = connect_both(s, note);
    e = e ? e : identify(s, &system, &timeline, &end, note);
    if (e) {
        return e;
    }
    if (s->state.system != 0 && s->state.system != system) {
        return cdc_gap(s, "the server is another one: its system identifier has changed", note);
    }
    e = check_timeline(s, timeline, note);
    e = e ? e : check_end(s, end, note);
    e = e ? e : cdc_keep_publication(s, note);
    if (e) {
        return e;
    }
    e = s->state.phase == CDC_FRESH ? make_slot(s, system, timeline, note) : check_slot(s, note);
    if (e == ERR_NONE) {
        look_for_others(s);
    }
    (void)pthread_mutex_lock(&s->lock);
    s->look.epoch = s->place.epoch;
    s->look.timeline = timeline;
    (void)snprintf(s->look.slot, sizeof(s->look.slot), "%s", s->state.slot);
    (void)pthread_mutex_unlock(&s->lock);
    return e;
}
