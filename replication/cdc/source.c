/*
 * The thread of one shard: attach, stream, and after a failure once more, with growing pauses. What
 * the log of this process says of a failure it says once, until something else fails.
 */

#include "replication/cdc/source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "replication/cdc/source_impl.h"

enum {
    PAUSE_MIN_MS = 200,
    PAUSE_MAX_MS = 10000
};

/* Values come as text: the same value is always the same text. */
static const char TEXT_OPTIONS[] =
    "-c datestyle=ISO -c intervalstyle=postgres -c extra_float_digits=3 -c bytea_output=hex "
    "-c timezone=UTC -c statement_timeout=0 -c lock_timeout=0 "
    "-c idle_in_transaction_session_timeout=0";

/* ---- small things for all files ---------------------------------------------------------------
 */

const char *cdc_doing_word(enum cdc_doing doing)
{
    static const char *const words[] = {"starting",    "waiting", "making slot", "copying",
                                        "catching up", "reading", "paused"};
    check(doing < CDC_DOINGS);
    return words[doing];
}

void cdc_doing(struct cdc_source *s, enum cdc_doing doing)
{
    (void)pthread_mutex_lock(&s->lock);
    s->look.doing = doing;
    (void)pthread_mutex_unlock(&s->lock);
}

struct pq_wait cdc_wait(struct cdc_source *s, int timeout_ms)
{
    return (struct pq_wait){.timeout_ms = timeout_ms, .stop = &s->interrupt};
}

struct pg_target cdc_target(const struct cdc_source *s, int replication)
{
    struct pg_target t = s->here;
    t.replication = replication;
    t.options = TEXT_OPTIONS;
    return t;
}

void source_put_name(struct buf *b, const char *name)
{
    buf_u8(b, '"');
    for (; *name != '\0'; name++) {
        if (*name == '"') {
            buf_u8(b, '"');
        }
        buf_u8(b, (uint8_t)*name);
    }
    buf_u8(b, '"');
}

void source_put_text(struct buf *b, const char *text)
{
    buf_text(b, "E'");
    for (; *text != '\0'; text++) {
        if (*text == '\'' || *text == '\\') {
            buf_u8(b, (uint8_t)*text);
        }
        buf_u8(b, (uint8_t)*text);
    }
    buf_u8(b, '\'');
}

uint64_t cdc_read_lsn(const char *text)
{
    unsigned high;
    unsigned low;
    return text != NULL && sscanf(text, "%X/%X", &high, &low) == 2 ? (uint64_t)high << 32 | low : 0;
}

enum err cdc_remember(struct cdc_source *s, int sync, struct note *note)
{
    struct buf bytes = {0};
    cdc_state_put(&s->state, &bytes);
    struct cdc_mark mark = s->place;
    mark.state = buf_slice(&bytes);
    enum err e = ERR_NONE;
    if (bytes.n > CDC_STATE_MAX) {
        e = note_set(note, ERR_TOO_BIG, "more tables are to be copied than can be remembered");
    }
    const struct cdc_sink *sink = s->o.sink;
    e = e ? e : sink->mark(sink->arg, &s->o.shard, &mark, note);
    buf_free(&bytes);
    if (e == ERR_NONE && sync) {
        e = sink->sync(sink->arg, &s->o.shard, note);
    }
    return e;
}

enum err cdc_side(struct cdc_source *s, const char *sql, PGresult **out, struct note *note)
{
    if (s->side == NULL) {
        struct pg_target t = cdc_target(s, 0);
        enum err e = pq_open(&t, &s->interrupt, &s->side, NULL, note);
        if (e) {
            return e;
        }
    }
    enum err e = pq_run(s->side, sql, cdc_wait(s, CDC_SIDE_TIMEOUT_MS), out, NULL, note);
    if (e == ERR_SHARD_DOWN || e == ERR_SHUTDOWN) {
        pq_close(s->side);
        s->side = NULL;
    }
    return e;
}

/* ---- the thread ------------------------------------------------------------------------------ */

static void let_go(struct cdc_source *s)
{
    assemble_free(s->assembler);
    s->assembler = NULL;
    cdc_drop_barrier(s);
    pq_close(s->stream);
    pq_close(s->side);
    s->stream = NULL;
    s->side = NULL;
    PQclear(s->filled);
    s->filled = NULL;
    s->is_streaming = 0;
    s->o.sink->drop(s->o.sink->arg, &s->o.shard);
}

/* What is durable decides where to go on. */
static enum err load_place(struct cdc_source *s, struct note *note)
{
    const struct cdc_sink *sink = s->o.sink;
    struct cdc_mark stored = {0};
    int found = 0;
    enum err e = sink->sync(sink->arg, &s->o.shard, note);
    e = e ? e : sink->load(sink->arg, &s->o.shard, &stored, &found, note);
    if (e) {
        return e;
    }
    s->place = found ? stored : (struct cdc_mark){.ends = 1};
    e = cdc_state_read(found ? stored.state : (struct slice){NULL, 0}, &s->state, note);
    s->place.state = (struct slice){NULL, 0};
    return e;
}

static enum err one_attachment(struct cdc_source *s, struct note *note)
{
    (void)pthread_mutex_lock(&s->lock);
    arena_reset(&s->here_memory);
    pg_target_copy(&s->here_memory, &s->target, &s->here);
    s->look.attaches++;
    (void)pthread_mutex_unlock(&s->lock);
    cdc_doing(s, CDC_STARTING);
    enum err e = load_place(s, note);
    e = e ? e : cdc_attach(s, note);
    return e ? e : cdc_stream(s, note);
}

static void say_failed(struct cdc_source *s, const struct note *note)
{
    (void)pthread_mutex_lock(&s->lock);
    (void)snprintf(s->look.error, sizeof(s->look.error), "%s", note->text);
    (void)pthread_mutex_unlock(&s->lock);
    if (strcmp(s->said, note->text) != 0) {
        (void)snprintf(s->said, sizeof(s->said), "%s", note->text);
        log_event(LOG_CDC_LOST, "database=%s shard=%s slot=%s error=\"%s\" hint=\"%s\"",
                  s->o.shard.database, s->o.shard.name, s->state.slot, note->text, note->hint);
    }
}

/* The server keeps its log also while nothing can be read. */
static enum err watch_waiting(struct cdc_source *s, enum err e, struct note *note)
{
    if (s->version == 0 || s->state.phase == CDC_FRESH) {
        return e;
    }
    struct note why = {0};
    cdc_watch(s);
    enum err end = s->is_over ? cdc_give_up(s, &why) : ERR_NONE;
    pq_close(s->side);
    s->side = NULL;
    if (end == ERR_STALE) {
        *note = why;
        return end;
    }
    return e;
}

static int was_interrupted(struct cdc_source *s)
{
    (void)pthread_mutex_lock(&s->lock);
    int was = atomic_load(&s->interrupt.set);
    if (was && !atomic_load(&s->stop.set)) {
        pg_stop_clear(&s->interrupt);
    }
    (void)pthread_mutex_unlock(&s->lock);
    return was;
}

static void *run(void *arg)
{
    struct cdc_source *s = arg;
    int pause_ms = PAUSE_MIN_MS;
    while (!atomic_load(&s->stop.set)) {
        struct note note = {0};
        int64_t began_us = clock_now_us();
        enum err e = one_attachment(s, &note);
        let_go(s);
        if (atomic_load(&s->stop.set)) {
            break;
        }
        if (was_interrupted(s)) { /* another primary: at once */
            continue;
        }
        if (clock_now_us() - began_us > (int64_t)PAUSE_MAX_MS * 1000) {
            pause_ms = PAUSE_MIN_MS;
        }
        e = e == ERR_STALE ? e : watch_waiting(s, e, &note);
        if (e != ERR_STALE) { /* a gap was written down: begin anew */
            say_failed(s, &note);
            cdc_doing(s, CDC_WAITING);
            (void)pq_sleep(&s->interrupt, pause_ms);
            pause_ms = pause_ms * 2 > PAUSE_MAX_MS ? PAUSE_MAX_MS : pause_ms * 2;
        }
    }
    return NULL;
}

/* ---- for others ------------------------------------------------------------------------------ */

static enum err make_stops(struct cdc_source *s, struct note *note)
{
    enum err e = pg_stop_init(&s->stop, note);
    if (e) {
        return e;
    }
    e = pg_stop_init(&s->interrupt, note);
    if (e) {
        pg_stop_free(&s->stop);
    }
    return e;
}

static void release(struct cdc_source *s)
{
    cdc_state_free(&s->state);
    pg_stop_free(&s->stop);
    pg_stop_free(&s->interrupt);
    (void)pthread_mutex_destroy(&s->lock);
    buf_free(&s->recopy);
    buf_free(&s->publication);
    arena_free(&s->memory);
    arena_free(&s->target_memory);
    arena_free(&s->here_memory);
    mem_free(s);
}

enum err cdc_source_start(const struct cdc_source_options *options, struct cdc_source **out,
                          struct note *note)
{
    struct cdc_source *s = mem_zero(sizeof(*s));
    enum err e = make_stops(s, note);
    if (e) {
        mem_free(s);
        return e;
    }
    struct arena *a = &s->memory;
    s->o = *options;
    s->o.shard.database = arena_strdup(a, options->shard.database);
    s->o.shard.name = arena_strdup(a, options->shard.name);
    s->o.dir = arena_strdup(a, options->dir);
    s->o.publication = arena_strdup(a, options->publication);
    s->o.slot_prefix = arena_strdup(a, options->slot_prefix);
    s->o.tables = options->tables == NULL ? NULL : arena_strdup(a, options->tables);
    s->o.fill = options->fill == NULL ? NULL : arena_strdup(a, options->fill);
    pg_target_copy(&s->target_memory, &options->target, &s->target);
    s->look.counts = &s->counts;
    s->look.safe_bytes = -1;
    (void)pthread_mutex_init(&s->lock, NULL);
    int failed = pthread_create(&s->thread, NULL, run, s);
    if (failed) {
        release(s);
        return note_set(note, ERR_IO, "cannot make a thread: errno %d", failed);
    }
    *out = s;
    return ERR_NONE;
}

void cdc_source_stop(struct cdc_source *s)
{
    pg_stop_set(&s->stop);
    (void)pthread_mutex_lock(&s->lock);
    pg_stop_set(&s->interrupt);
    (void)pthread_mutex_unlock(&s->lock);
}

void cdc_source_free(struct cdc_source *s)
{
    if (s == NULL) {
        return;
    }
    cdc_source_stop(s);
    (void)pthread_join(s->thread, NULL);
    release(s);
}

void cdc_source_move(struct cdc_source *s, const struct pg_target *target, int now)
{
    (void)pthread_mutex_lock(&s->lock);
    arena_reset(&s->target_memory);
    pg_target_copy(&s->target_memory, target, &s->target);
    if (now) {
        pg_stop_set(&s->interrupt);
    }
    (void)pthread_mutex_unlock(&s->lock);
}

void cdc_source_recopy(struct cdc_source *s, const char *table)
{
    (void)pthread_mutex_lock(&s->lock);
    if (s->recopy.n < CDC_STATE_MAX) {
        buf_cstr(&s->recopy, table);
    }
    (void)pthread_mutex_unlock(&s->lock);
}

void cdc_source_look(struct cdc_source *s, struct cdc_look *out)
{
    (void)pthread_mutex_lock(&s->lock);
    *out = s->look;
    (void)pthread_mutex_unlock(&s->lock);
}
