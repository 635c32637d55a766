/*
 * Reading a slot. One turn: take all that has arrived, acknowledge what is durable, do what is due
 * beside the stream, wait.
 *
 *     'w' message of pgoutput -> assembler -> sink
 *     'k' keepalive: where the server is; when it asks, it is answered in the same turn
 *     'r' ours: received | durable | durable | time
 *
 * What is durable is `resume` of the sink's last durable mark, nothing else: an idle slot moves on
 * by marks without changes (assemble_idle()), so that what was acknowledged is always stored
 * before. While the sink is full nothing is read, but acknowledgements go on.
 *
 * A server that stops waits until everything it has sent is acknowledged, and asks all the time; a
 * prepared transaction or a sink that is full can make that impossible. Then we leave.
 *
 * Source: PostgreSQL documentation, "Streaming Replication Protocol";
 * src/backend/replication/walsender.c.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "replication/cdc/pgoutput.h"
#include "replication/cdc/source_impl.h"

enum {
    START_MS = 30000,
    PUT_MS = 10000,
    FULL_MS = 10,     /* between two looks at a full sink */
    BATCH_MAX = 2000, /* messages of one turn */
    HEAD_BYTES = 25,  /* of 'w' */
    KEEPALIVE_BYTES = 18,
    STOPPING_ASKS = 20,  /* questions about the same position ... */
    STOPPING_MS = 3000,  /* ... in so long: the server wants to stop */
    IDLE_MS = 1000,      /* between two marks without changes */
    SHOW_MS = 50,        /* between two looks at what is durable */
    FULL_BYTES = 6144,   /* so many in one look may be all that libpq had room for */
    BUSY_BYTES = 4096,   /* so many ... */
    BUSY_US = 4000,      /* ... in so long: more is on its way ... */
    BUSY_PAUSE_US = 800, /* ... and is waited for, instead of waking up for each message */
    WATERMARK_AGAIN_MS = 5
};

/* ---- acknowledging --------------------------------------------------------------------------- */

static void put_status(struct buf *b, uint64_t received, uint64_t durable)
{
    buf_u8(b, 'r');
    buf_be64(b, received > durable ? received : durable);
    buf_be64(b, durable);
    buf_be64(b, durable);
    buf_be64(b, (uint64_t)(clock_wall_us() - INT64_C(946684800000000)));
    buf_u8(b, 0);
}

static uint64_t durable_lsn(struct cdc_source *s)
{
    struct cdc_mark mark = {0};
    s->o.sink->durable(s->o.sink->arg, &s->o.shard, &mark);
    return mark.epoch == s->place.epoch ? mark.resume : 0;
}

/* What is durable once the sink has stored all that it was given. */
static uint64_t given_lsn(const struct cdc_source *s)
{
    struct cdc_mark given = s->place;
    if (s->assembler != NULL) {
        assemble_place(s->assembler, &given);
    }
    return given.resume;
}

static void show_places(struct cdc_source *s, uint64_t durable)
{
    (void)pthread_mutex_lock(&s->lock);
    s->look.received = s->received;
    s->look.durable = durable;
    if (durable >= s->look.server_lsn && s->look.server_lsn > 0) {
        s->look.level_us = s->looked_us;
    }
    (void)pthread_mutex_unlock(&s->lock);
}

enum err cdc_status(struct cdc_source *s, int now, struct note *note)
{
    int64_t now_us = clock_now_us();
    if (!now && now_us < s->show_us) {
        return ERR_NONE;
    }
    uint64_t durable = durable_lsn(s);
    show_places(s, durable);
    s->show_us = now_us + (int64_t)SHOW_MS * 1000;
    if (!s->is_streaming || (!now && now_us < s->status_us)) {
        return ERR_NONE;
    }
    s->status_us = now_us + (int64_t)CDC_STATUS_MS * 1000;
    struct buf b = {0};
    put_status(&b, s->received, durable);
    enum err e = pq_copy_put(s->stream, buf_slice(&b), cdc_wait(s, PUT_MS), note);
    buf_free(&b);
    return e;
}

/* ---- beside the stream ----------------------------------------------------------------------- */

/* Its failures are not the stream's: the next time tries again. */
static enum err emit(struct cdc_source *s, const char *prefix, const char *content)
{
    char sql[200];
    struct note note;
    (void)snprintf(sql, sizeof(sql), "SELECT pg_catalog.pg_logical_emit_message(false, '%s', '%s')",
                   prefix, content);
    enum err e = cdc_side(s, sql, NULL, &note);
    if (e) {
        log_event(LOG_NOTE, "shard=%s what=cdc_emit error=\"%s\"", s->o.shard.name, note.text);
    }
    return e;
}

/* A table that is to be copied again is forgotten and listed anew. */
static enum err take_requests(struct cdc_source *s, struct note *note)
{
    struct buf asked = {0};
    (void)pthread_mutex_lock(&s->lock);
    buf_add_slice(&asked, buf_slice(&s->recopy));
    s->recopy.n = 0;
    (void)pthread_mutex_unlock(&s->lock);
    enum err e = ERR_NONE;
    if (asked.n > 0) {
        if (s->state.phase == CDC_STREAMING) {
            cdc_state_forget_tables(&s->state);
        }
        e = cdc_list_tables(s, note);
        for (size_t i = 0; e == ERR_NONE && i < s->state.tables_count; i++) {
            struct cdc_table *t = &s->state.tables[i];
            int is_asked = s->state.phase == CDC_COPYING && !t->done;
            for (size_t at = 0; at < asked.n; at += strlen((const char *)asked.p + at) + 1) {
                const char *name = (const char *)asked.p + at;
                size_t schema = strlen(t->schema);
                is_asked |= name[0] == '\0' ||
                            (strncmp(name, t->schema, schema) == 0 && name[schema] == '.' &&
                             strcmp(name + schema + 1, t->name) == 0) ||
                            (strcmp(t->schema, "public") == 0 && strcmp(name, t->name) == 0);
            }
            t->pages = is_asked && t->done ? 0 : t->pages;
            t->done = is_asked ? 0 : 1;
        }
        s->state.phase = CDC_COPYING;
        assemble_place(s->assembler, &s->place);
        e = e ? e : cdc_remember(s, 1, note);
    }
    buf_free(&asked);
    return e;
}

/* The number of now, unless it is out already, or another shard is not through with an older one;
 * then the next turn looks again. */
static int emit_watermark(struct cdc_source *s)
{
    char content[CDC_BEAT_TEXT];
    int64_t number = clock_wall_us() / ((int64_t)s->o.watermark_ms * 1000);
    if (number <= s->watermark || !cdc_beat_enter(s->o.beat, number, content)) {
        return 0;
    }
    s->watermark = number;
    enum err e = emit(s, CDC_PREFIX_WATERMARK, content);
    cdc_beat_leave(s->o.beat, e == ERR_NONE);
    return 1;
}

/* To the next number, so that all shards have it at nearly the same moment. */
static int64_t watermark_due_ms(const struct cdc_source *s)
{
    int64_t now_ms = clock_wall_us() / 1000;
    int64_t number = now_ms / s->o.watermark_ms;
    return number > s->watermark ? WATERMARK_AGAIN_MS : (number + 1) * s->o.watermark_ms - now_ms;
}

static enum err do_due(struct cdc_source *s, struct note *note)
{
    int64_t now_us = clock_now_us();
    if (s->o.watermark_ms > 0 && s->version >= 90600 && emit_watermark(s)) {
        s->heartbeat_us = now_us + (int64_t)s->o.heartbeat_ms * 1000; /* does as well */
    }
    if (s->o.heartbeat_ms > 0 && now_us >= s->heartbeat_us) {
        s->heartbeat_us = now_us + (int64_t)s->o.heartbeat_ms * 1000;
        (void)emit(s, CDC_PREFIX_HEARTBEAT, "0");
    }
    cdc_watch(s);
    if (s->is_over) {
        return cdc_give_up(s, note);
    }
    if (s->is_changed) {
        return note_set(note, ERR_CHANGED,
                        "publication \"%s\", or a table that it is for, has been "
                        "changed: it is looked at again",
                        s->o.publication);
    }
    if (assemble_is_inside(s->assembler)) {
        return ERR_NONE; /* what is remembered goes with a mark, and there can be none now */
    }
    enum err e = take_requests(s, note);
    if (e == ERR_NONE && s->state.phase == CDC_COPYING && !s->barrier.wanted) {
        e = cdc_take_snapshot(s, note);
    }
    return e;
}

static int next_due_ms(const struct cdc_source *s)
{
    int64_t next_us = s->status_us < s->watch_us ? s->status_us : s->watch_us;
    if (s->look.durable < given_lsn(s) && s->show_us < next_us) {
        next_us = s->show_us; /* soon it is */
    }
    if (s->o.heartbeat_ms > 0 && s->heartbeat_us < next_us) {
        next_us = s->heartbeat_us;
    }
    int64_t left_ms = (next_us - clock_now_us() + 999) / 1000;
    if (s->o.watermark_ms > 0 && s->version >= 90600 && left_ms > watermark_due_ms(s)) {
        left_ms = watermark_due_ms(s);
    }
    return left_ms < 0 ? 0 : (int)left_ms;
}

/* ---- messages -------------------------------------------------------------------------------- */

/* Position of what a message commits, or 0: it commits nothing. */
static uint64_t commit_of(struct slice message)
{
    size_t at;
    switch (message.n == 0 ? 0 : message.p[0]) {
    case PGOUTPUT_BEGIN: at = 1; break;
    case PGOUTPUT_COMMIT_PREPARED: at = 2; break;
    case PGOUTPUT_STREAM_COMMIT: at = 6; break;
    case PGOUTPUT_MESSAGE: at = 2; break; /* the end of its record */
    default: return 0;
    }
    uint64_t lsn = message.n >= at + 8 ? be64_at(message.p + at) : 0;
    return lsn > 0 && message.p[0] == PGOUTPUT_MESSAGE ? lsn - 1 : lsn;
}

/* Tables may still be waiting for their copy. */
static enum cdc_doing doing_now(const struct cdc_source *s)
{
    return s->state.phase == CDC_COPYING ? CDC_CATCHING_UP : CDC_READING;
}

/* Everything before the snapshot has been given: now its rows. */
static enum err pass_barrier(struct cdc_source *s, struct note *note)
{
    assemble_place(s->assembler, &s->place);
    enum err e = cdc_copy_tables(s, note);
    assemble_pass(s->assembler, &s->place);
    cdc_drop_barrier(s);
    cdc_doing(s, doing_now(s));
    return e;
}

static enum err take_data(struct cdc_source *s, struct slice bytes, struct note *note)
{
    if (bytes.n < HEAD_BYTES) {
        return note_set(note, ERR_SHARD_PROTOCOL, "the server's message is too short");
    }
    uint64_t start = be64_at(bytes.p + 1);
    struct slice message = slice_from(bytes, HEAD_BYTES);
    if (start > s->received) {
        s->received = start;
    }
    if (s->barrier.wanted && !assemble_is_inside(s->assembler) &&
        commit_of(message) >= s->barrier.lsn) {
        enum err e = pass_barrier(s, note);
        if (e) {
            return e;
        }
    }
    return assemble_feed(s->assembler, message, note);
}

static enum err take_keepalive(struct cdc_source *s, struct slice bytes, struct note *note)
{
    if (bytes.n != KEEPALIVE_BYTES) {
        return note_set(note, ERR_SHARD_PROTOCOL, "the server's keepalive has a wrong length");
    }
    uint64_t end = be64_at(bytes.p + 1);
    int64_t now_us = clock_now_us();
    int asks = bytes.p[17] != 0;
    if (end > s->received) {
        s->received = end;
    }
    if (s->barrier.wanted && !assemble_is_inside(s->assembler) && end >= s->barrier.lsn) {
        enum err e = pass_barrier(s, note);
        if (e) {
            return e;
        }
    }
    if (asks) {
        s->want_reply = 1;
        if (end != s->asked_at) {
            s->asked_at = end;
            s->asked_us = now_us;
            s->asked = 0;
        }
        s->asked++;
        if (s->asked > STOPPING_ASKS && now_us - s->asked_us > (int64_t)STOPPING_MS * 1000) {
            return note_set(note, ERR_SHARD_DOWN, "the server stops");
        }
    }
    if (asks || now_us >= s->idle_us) {
        s->idle_us = now_us + (int64_t)IDLE_MS * 1000;
        return assemble_idle(s->assembler, end, note);
    }
    return ERR_NONE;
}

static enum err take_message(struct cdc_source *s, struct slice bytes, struct note *note)
{
    if (bytes.p[0] == 'w') {
        return take_data(s, bytes, note);
    }
    if (bytes.p[0] == 'k') {
        return take_keepalive(s, bytes, note);
    }
    return note_set(note, ERR_SHARD_PROTOCOL, "the server sent an unknown message %u",
                    (unsigned)bytes.p[0]);
}

/* The stream, or its beginning, has failed: is it for good? */
static enum err judge_end(struct cdc_source *s, enum err e, const struct pq_trouble *trouble,
                          struct note *note)
{
    struct cdc_mark place = s->place;
    if (s->assembler != NULL) {
        assemble_place(s->assembler, &place);
    }
    const struct cdc_failure failure = {.err = e,
                                        .sqlstate = trouble->sqlstate,
                                        .text = note->text,
                                        .epoch = place.epoch,
                                        .lsn = place.lsn,
                                        .index = place.index};
    if (!cdc_judge(&s->failures, &failure)) {
        return e;
    }
    char why[300];
    (void)snprintf(why, sizeof(why), "%s: %.200s",
                   e == ERR_SHARD_PROTOCOL ? "what the server sends next cannot be read"
                                           : "the server cannot send what comes next",
                   note->text);
    s->failures = (struct cdc_failures){0};
    return cdc_gap(s, why, note);
}

/* All that has come, or a part of it when there is *more; *looked grows by its bytes. */
static enum err take_all(struct cdc_source *s, int *more, uint64_t *looked, struct note *note)
{
    struct pq_trouble trouble = {0};
    uint64_t bytes = 0;
    enum err e = ERR_NONE;
    int n = 0;
    for (*more = 1; e == ERR_NONE && n < BATCH_MAX; n++) {
        struct slice message;
        int ended;
        e = pq_copy_take(s->stream, &message, &ended, &trouble, note);
        if (ended) {
            return e ? judge_end(s, e, &trouble, note)
                     : note_set(note, ERR_SHARD_DOWN, "the server ended the stream");
        }
        if (e || message.n == 0) {
            *more = 0;
            break;
        }
        bytes += message.n;
        e = take_message(s, message, note);
        pq_copy_done(message);
        if (e == ERR_SHARD_PROTOCOL) {
            e = judge_end(s, e, &trouble, note);
        }
        if (s->want_reply) {
            break;
        }
    }
    if (bytes > 0) {
        (void)pthread_mutex_lock(&s->lock);
        s->look.bytes += bytes;
        (void)pthread_mutex_unlock(&s->lock);
    }
    *looked += bytes;
    return e;
}

/* ---- the stream ------------------------------------------------------------------------------ */

static enum err start(struct cdc_source *s, struct note *note)
{
    struct buf sql = {0};
    struct pq_trouble trouble = {0};
    uint64_t from = s->place.resume;
    int v = s->version;
    buf_printf(&sql, "START_REPLICATION SLOT %s LOGICAL %X/%X (proto_version '%d', ", s->state.slot,
               (unsigned)(from >> 32), (unsigned)from,
               v >= 160000   ? 4
               : v >= 150000 ? 3
               : v >= 140000 ? 2
                             : 1);
    struct buf name = {0};
    source_put_name(&name, s->o.publication);
    buf_text(&sql, "publication_names '");
    for (size_t i = 0; i < name.n; i++) {
        buf_text(&sql, name.p[i] == '\'' ? "'" : "");
        buf_u8(&sql, name.p[i]);
    }
    buf_u8(&sql, '\'');
    buf_free(&name);
    buf_text(&sql, v >= 160000 ? ", streaming 'parallel'" : v >= 140000 ? ", streaming 'on'" : "");
    buf_text(&sql, v >= 140000 ? ", messages 'true'" : "");
    buf_text(&sql, v >= 150000 ? ", two_phase 'on')" : ")");
    buf_u8(&sql, 0);
    enum err e =
        pq_copy_begin(s->stream, (const char *)sql.p, cdc_wait(s, START_MS), &trouble, note);
    buf_free(&sql);
    if (e) {
        return judge_end(s, e, &trouble, note);
    }
    s->is_streaming = 1;
    s->received = from;
    log_event(LOG_CDC_ATTACHED, "database=%s shard=%s slot=%s server=%d from=%X/%X",
              s->o.shard.database, s->o.shard.name, s->state.slot, v, (unsigned)(from >> 32),
              (unsigned)from);
    return ERR_NONE;
}

static enum err make_assembler(struct cdc_source *s, struct note *note)
{
    const struct assemble_options o = {.shard = s->o.shard,
                                       .sink = s->o.sink,
                                       .fs = s->o.fs,
                                       .dir = s->o.dir,
                                       .memory_max = s->o.memory_max,
                                       .place = s->place,
                                       .fill = s->o.fill == NULL ? NULL : cdc_fill,
                                       .rolled_back = cdc_rolled_back,
                                       .ask_arg = s,
                                       .counts = &s->counts,
                                       .beat = s->o.beat,
                                       .tells_prepared = s->version >= 150000};
    int made;
    enum err e = s->o.fs->make_dir(s->o.fs, s->o.dir, &made, note);
    return e ? e : assemble_new(&o, &s->assembler, note);
}

static void begin_reading(struct cdc_source *s)
{
    int64_t now_us = clock_now_us();
    s->status_us = 0;
    s->watch_us = now_us;
    s->heartbeat_us = now_us;
    s->idle_us = 0;
    s->asked = 0;
    s->want_reply = 0;
    s->said[0] = '\0';
    (void)pthread_mutex_lock(&s->lock);
    s->look.error[0] = '\0';
    s->look.doing = doing_now(s);
    (void)pthread_mutex_unlock(&s->lock);
}

/* What has come lately. */
struct pace {
    uint64_t looked; /* bytes of the last look */
    uint64_t taken;  /* of all looks ... */
    int64_t from_us; /* ... since then */
};

/* Until something comes, or something is due. A busy stream is let gather for a while, but only
 * once nothing is left of it: else the server would stand before a full socket. */
static int await(struct cdc_source *s, int ready, struct pace *pace)
{
    int64_t now_us = clock_now_us();
    int is_more = pace->looked >= FULL_BYTES;
    int is_old = now_us - pace->from_us >= BUSY_US;
    pace->taken += pace->looked;
    pace->looked = 0;
    if (!is_more && (is_old || pace->taken >= BUSY_BYTES)) {
        if (ready && !is_old) {
            const struct timespec pause = {.tv_nsec = BUSY_PAUSE_US * 1000L};
            (void)nanosleep(&pause, NULL);
        }
        pace->taken = 0;
        pace->from_us = now_us;
    }
    return pq_poll(&s->stream, ready ? 1 : 0, ready ? next_due_ms(s) : FULL_MS, &s->interrupt);
}

enum err cdc_stream(struct cdc_source *s, struct note *note)
{
    enum err e = make_assembler(s, note);
    e = e ? e : start(s, note);
    if (e) {
        return e;
    }
    begin_reading(s);
    int was_ready = 1;
    int more = 0;
    struct pace pace = {0};
    while (e == ERR_NONE) {
        int ready = s->o.sink->ready(s->o.sink->arg, &s->o.shard);
        if (ready != was_ready) {
            cdc_doing(s, ready ? doing_now(s) : CDC_PAUSED);
            was_ready = ready;
        }
        if (!(ready && more)) {
            int got = await(s, ready, &pace);
            if (got < 0) {
                return note_set(note, ERR_SHUTDOWN, "asked to leave");
            }
            e = got > 0 ? pq_copy_load(s->stream, note) : ERR_NONE;
        }
        e = e || !ready ? e : take_all(s, &more, &pace.looked, note);
        e = e ? e : cdc_status(s, s->want_reply, note);
        s->want_reply = 0;
        e = e ? e : do_due(s, note);
    }
    return e;
}
