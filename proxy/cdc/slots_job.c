/*
 * Replication commands where the log is: on the control thread, where it is known which slots are
 * read from, and on a job's thread, which may block. A stream's job turns until it is told to stop:
 * confirmed positions become committed offsets, a batch is read when the session wants one.
 */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "proxy/cdc/feeds.h"
#include "proxy/cdc/slots.h"
#include "replication/cdc/consumer.h"
#include "replication/cdc/output.h"
#include "replication/cdc/tx_reader.h"
#include "wire/wire.h"

enum {
    BATCH_BYTES = 256 << 10,
    LOOK_US = 50000,        /* between two looks whether anything was said */
    IDLE_WORD_US = 10000000 /* a keepalive at least so often */
};
#define MEMBER      SLICE("stream")
#define PG_EPOCH_US INT64_C(946684800000000) /* 2000-01-01 */

/* ---- bytes ----------------------------------------------------------------------------------- */

void slots_put_data(struct buf *out, uint64_t at, uint64_t end, int64_t wall_us, struct slice data)
{
    size_t mark = frame_begin(out, 'd');
    buf_u8(out, 'w');
    buf_be64(out, at);
    buf_be64(out, end);
    buf_be64(out, (uint64_t)(wall_us - PG_EPOCH_US));
    buf_add_slice(out, data);
    frame_end(out, mark);
}

void slots_put_keepalive(struct buf *out, uint64_t end, int64_t wall_us, int wants_answer)
{
    size_t mark = frame_begin(out, 'd');
    buf_u8(out, 'k');
    buf_be64(out, end);
    buf_be64(out, (uint64_t)(wall_us - PG_EPOCH_US));
    buf_u8(out, wants_answer ? 1 : 0);
    frame_end(out, mark);
}

static void put_failure(struct slots_job *j, enum err e, const struct note *note)
{
    struct buf message = {0};
    back_put_failure(&message, j->is_fatal ? "FATAL" : "ERROR", e, note);
    j->out.n = 0;
    buf_add_slice(&j->out, frame_body(buf_slice(&message), message.n));
    buf_free(&message);
    j->err = e;
}

/* What is in `out` to the session. */
static void say(struct slots_job *j, struct shared *shared, enum slots_word word)
{
    struct worker_mail *mail = worker_mail_new(WORKER_MAIL_SLOT);
    mail->session_id = j->session;
    mail->ticket = j->ticket;
    mail->messages = j->out;
    mail->count = word;
    mail->err = j->err;
    j->out = (struct buf){0};
    worker_send(shared->workers[j->worker], mail);
}

static void put_lsn(char out[24], uint64_t lsn)
{
    (void)snprintf(out, 24, "%" PRIX32 "/%" PRIX32, (uint32_t)(lsn >> 32), (uint32_t)lsn);
}

/* ---- slots ----------------------------------------------------------------------------------- */

static enum err find_topic(struct slots_job *j, struct cdc_log *log, struct note *note)
{
    char name[300];
    (void)snprintf(name, sizeof(name), "%s.braid.transactions", j->database);
    j->topic = cdc_log_topic(log, slice_of(name));
    if (j->topic != 0) {
        return ERR_NONE;
    }
    enum err e = note_set(note, ERR_BAD_STATE, "changes of database \"%s\" are not captured yet",
                          j->database);
    note_hint(note, "SHOW CDC on the admin console says how far it is.");
    return e;
}

/* Position behind everything. */
static uint64_t end_of(struct slots_job *j, struct cdc_log *log)
{
    struct cdc_part_view view = {0};
    struct note note;
    return cdc_log_part(log, j->topic, 0, &view, &note) == ERR_NONE ? view.end + 1 : 1;
}

/* The slot of this name, whatever its plugin: its group and offset. 0: none. */
static enum cdc_output find_slot(struct slots_job *j, struct cdc_log *log, struct cdc_offset *at)
{
    for (enum cdc_output o = CDC_OUTPUT_NONE + 1; o < CDC_OUTPUTS; o++) {
        (void)snprintf(j->group, sizeof(j->group), "slot:%s:%s", j->call.slot, cdc_output_name(o));
        *at = cdc_log_committed(log, slice_of(j->group), j->topic, 0);
        if (at->offset != CDC_NO_OFFSET) {
            return o;
        }
    }
    return CDC_OUTPUT_NONE;
}

static enum err no_slot(const struct slots_job *j, struct note *note)
{
    enum err e =
        note_set(note, ERR_NO_SLOT, "replication slot \"%s\" does not exist", j->call.slot);
    note_hint(note, "Slots over all shards are in SHOW CDC_GROUPS on the admin console; those of a "
                    "single shard belong to its server.");
    return e;
}

static enum err create(struct slots_job *j, struct cdc_log *log, struct note *note)
{
    struct cdc_offset at;
    if (cdc_output_of(j->call.plugin) == CDC_OUTPUT_NONE) {
        enum err e = note_set(note, ERR_UNSUPPORTED, "there is no output plugin \"%.60s\" here",
                              j->call.plugin);
        note_hint(note, "A stream over several shards comes as braid_json.");
        return e;
    }
    if (find_slot(j, log, &at) != CDC_OUTPUT_NONE) {
        return note_set(note, ERR_SLOT_EXISTS, "replication slot \"%s\" already exists",
                        j->call.slot);
    }
    (void)snprintf(j->group, sizeof(j->group), "slot:%s:%s", j->call.slot, j->call.plugin);
    uint64_t lsn = end_of(j, log);
    struct cdc_commit commit = {.generation = at.generation + 1, .offset = lsn - 1};
    enum err e = cdc_log_commit(log, slice_of(j->group), j->topic, &commit, 1, note);
    if (e == ERR_NONE) {
        char text[24];
        put_lsn(text, lsn);
        back_put_text_columns(&j->out,
                              (const char *const[]){"slot_name", "consistent_point",
                                                    "snapshot_name", "output_plugin"},
                              4);
        back_put_text_row(&j->out, (const char *const[]){j->call.slot, text, NULL, j->call.plugin},
                          4);
        back_put_complete(&j->out, "CREATE_REPLICATION_SLOT");
    }
    return e;
}

static enum err drop(struct slots_job *j, struct cdc_log *log, struct note *note)
{
    struct cdc_offset at;
    if (find_slot(j, log, &at) == CDC_OUTPUT_NONE) {
        return no_slot(j, note);
    }
    enum err e = cdc_log_forget(log, slice_of(j->group), j->topic, note);
    if (e == ERR_NONE) {
        back_put_complete(&j->out, "DROP_REPLICATION_SLOT");
    }
    return e;
}

/* The system is pgbraid with this database: a number that is always the same. */
static enum err identify(struct slots_job *j, struct cdc_log *log)
{
    static const struct back_column columns[] = {
        {.name = {(const uint8_t *)"systemid", 8}, .type_oid = 25, .type_size = -1, .type_mod = -1},
        {.name = {(const uint8_t *)"timeline", 8}, .type_oid = 23, .type_size = 4, .type_mod = -1},
        {.name = {(const uint8_t *)"xlogpos", 7}, .type_oid = 25, .type_size = -1, .type_mod = -1},
        {.name = {(const uint8_t *)"dbname", 6}, .type_oid = 25, .type_size = -1, .type_mod = -1}};
    char id[24];
    char lsn[24];
    (void)snprintf(id, sizeof(id), "%" PRIu64,
                   hash_bytes(j->database, strlen(j->database), 1) >> 1);
    put_lsn(lsn, end_of(j, log));
    back_put_columns(&j->out, columns, 4);
    back_put_text_row(&j->out, (const char *const[]){id, "1", lsn, j->database}, 4);
    back_put_complete(&j->out, "IDENTIFY_SYSTEM");
    return ERR_NONE;
}

/* ---- a stream -------------------------------------------------------------------------------- */

/* What comes next is no longer whole. Where it is whole again is said, so that it is the client who
 * leaves out what lies between. */
static enum err gone(const struct slots_job *j, struct cdc_log *log, struct note *note)
{
    struct note other;
    uint64_t place = 0;
    char lsn[24];
    int is_known = cdc_tx_first(log, j->topic, &place, &other) == ERR_NONE;
    enum err e = note_set(note, ERR_LOG_GONE,
                          "the change log no longer has what replication slot \"%s\" has not "
                          "confirmed",
                          j->call.slot);
    put_lsn(lsn, place + 1);
    note_hint(note,
              "Retention took it. START_REPLICATION SLOT %s LOGICAL %s (pg_recvlogical "
              "--startpos=%s) goes on where all is there again; braidctl cdc snapshot brings rows "
              "anew.",
              j->call.slot, is_known ? lsn : "X/X", is_known ? lsn : "X/X");
    return e;
}

/* Where it begins: where the slot stands, or behind that if the client says so. As a member of the
 * group it is seen, and nobody sets it back meanwhile. */
static enum err open_stream(struct slots_job *j, struct shared *shared, struct note *note)
{
    struct cdc_log *log = shared->cdc_log;
    struct cdc_offset at;
    struct cdc_part_view view;
    if (find_slot(j, log, &at) == CDC_OUTPUT_NONE) {
        return no_slot(j, note);
    }
    enum err e = cdc_log_part(log, j->topic, 0, &view, note);
    if (e) {
        return e;
    }
    j->generation = at.generation + 1;
    j->committed = at.offset + 1;
    j->sent = j->call.lsn > j->committed ? j->call.lsn : j->committed;
    if (j->sent > view.end + 1) {
        return note_set(note, ERR_BAD_SETTING,
                        "requested starting point %" PRIX64 " is ahead of the change log's end "
                        "%" PRIX64,
                        j->sent, view.end + 1);
    }
    if (j->sent - 1 < view.start) {
        return gone(j, log, note);
    }
    e = cdc_consumer_stay(shared->cdc_consumers, j->topic, slice_of(j->group), MEMBER, note);
    if (e) {
        return e;
    }
    j->reader = cdc_tx_reader_new(log, j->topic, j->sent - 1);
    back_put_copy(&j->out, 'W', 0, 0);
    return ERR_NONE;
}

/* A message that gets the position `at`. */
static void put_message(struct slots_job *j, uint64_t at, uint64_t end, struct slice message)
{
    slots_put_data(&j->out, at, end, clock_wall_us(), message);
    j->said_us = clock_now_us();
}

static void put_item(struct slots_job *j, const struct cdc_tx_item *item, uint64_t end)
{
    uint64_t before = item->place + 1;
    int is_end = item->step == CDC_TX_END;
    j->message.n = 0;
    if (!j->call.no_boundaries) {
        cdc_output_put(CDC_OUTPUT_JSON, &j->message, item);
        put_message(j, is_end ? before + 1 : before, end, buf_slice(&j->message));
    } else if (item->step != CDC_TX_BEGIN) { /* the last change stands for the whole transaction */
        if (j->held.n > 0) {
            put_message(j, is_end ? before + 1 : before, end, buf_slice(&j->held));
        }
        j->held.n = 0;
        if (!is_end) {
            cdc_output_put(CDC_OUTPUT_JSON, &j->held, item);
        }
    }
    j->sent = is_end ? before + 1 : j->sent;
}

/* Up to a batch into `out`; *any: something came. */
static enum err read_batch(struct slots_job *j, struct cdc_log *log, int *any, struct note *note)
{
    uint64_t end = end_of(j, log);
    struct cdc_tx_item item = {.step = CDC_TX_BEGIN};
    enum err e = ERR_NONE;
    *any = 0;
    while (e == ERR_NONE && item.step != CDC_TX_NOTHING && j->out.n < BATCH_BYTES) {
        e = cdc_tx_next(j->reader, &item, note);
        if (e == ERR_NONE && item.step != CDC_TX_NOTHING) {
            put_item(j, &item, end);
            *any = 1;
        }
    }
    if (*any && e == ERR_NONE && item.step == CDC_TX_NOTHING) {
        slots_put_keepalive(&j->out, j->sent, clock_wall_us(), 0);
    }
    return e == ERR_LOG_GONE ? gone(j, log, note) : e;
}

static enum err commit(struct slots_job *j, struct cdc_log *log, uint64_t lsn, struct note *note)
{
    if (lsn <= j->committed) {
        return ERR_NONE;
    }
    struct cdc_commit c = {.generation = j->generation, .offset = lsn - 1};
    enum err e = cdc_log_commit(log, slice_of(j->group), j->topic, &c, 1, note);
    j->committed = e ? j->committed : lsn;
    return e;
}

/* What was said until now; waits a little when there is nothing to do. */
struct heard {
    int wants, stops;
    uint64_t flushed;
    int64_t us;
};

static void hear(struct slots_job *j, struct heard *out)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += LOOK_US * 1000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    (void)pthread_mutex_lock(&j->lock);
    if (!j->wants && !j->stops && j->flushed <= j->committed) {
        (void)pthread_cond_timedwait(&j->wake, &j->lock, &until);
    }
    *out = (struct heard){
        .wants = j->wants, .stops = j->stops, .flushed = j->flushed, .us = j->heard_us};
    (void)pthread_mutex_unlock(&j->lock);
}

static void batch_is_out(struct slots_job *j, struct shared *shared)
{
    (void)pthread_mutex_lock(&j->lock);
    j->wants = 0;
    j->given = j->sent;
    (void)pthread_mutex_unlock(&j->lock);
    say(j, shared, SLOTS_GO_ON);
}

/* The client is there, or is asked whether it is. */
static enum err keep_alive(struct slots_job *j, const struct heard *heard, struct note *note)
{
    int64_t now = clock_now_us();
    int64_t silent = now - heard->us;
    if (j->timeout_us > 0 && silent > j->timeout_us) {
        j->is_fatal = 1;
        return note_set(note, ERR_IDLE_TIMEOUT,
                        "terminating connection due to replication timeout "
                        "(cdc.stream_timeout_ms)");
    }
    j->asked = silent < j->timeout_us / 2 ? 0 : j->asked;
    int asks = j->timeout_us > 0 && silent > j->timeout_us / 2 && !j->asked;
    if (heard->wants && (asks || now - j->said_us > IDLE_WORD_US)) {
        slots_put_keepalive(&j->out, j->sent, clock_wall_us(), asks);
        j->asked |= asks;
        j->said_us = now;
    }
    return ERR_NONE;
}

/* One turn; the log may be used. *stops: it was the last one. */
static enum err turn(struct slots_job *j, struct shared *shared, int *stops, struct note *note)
{
    struct cdc_log *log = shared->cdc_log;
    struct heard heard;
    int any = 0;
    hear(j, &heard);
    uint64_t seen = cdc_log_applied(log);
    enum err e = commit(j, log, heard.flushed, note);
    *stops = heard.stops;
    if (e || heard.stops) {
        return e;
    }
    e = heard.wants ? read_batch(j, log, &any, note) : ERR_NONE;
    e = e ? e : keep_alive(j, &heard, note);
    if (e == ERR_NONE && j->out.n > 0) {
        batch_is_out(j, shared);
    } else if (e == ERR_NONE && heard.wants) {
        cdc_log_wait(log, seen, LOOK_US);
    }
    return e;
}

static void stream(struct slots_job *j, struct shared *shared)
{
    struct note note = {.text = ""};
    enum err e = ERR_NONE;
    for (int stops = 0; e == ERR_NONE && !stops;) {
        if (atomic_load(&shared->stopping) || !feeds_enter(shared)) {
            j->is_fatal = 1;
            e = note_set(&note, ERR_SHUTDOWN, "terminating connection: pgbraid is shutting down");
            break;
        }
        e = turn(j, shared, &stops, &note);
        feeds_leave(shared);
    }
    if (feeds_enter(shared)) {
        cdc_consumer_leave(shared->cdc_consumers, j->topic, slice_of(j->group), MEMBER);
        feeds_leave(shared);
    }
    if (e) {
        put_failure(j, e, &note);
    }
}

/* ---- the job --------------------------------------------------------------------------------- */

static enum err run(struct slots_job *j, struct shared *shared, struct note *note)
{
    struct cdc_log *log = shared->cdc_log;
    enum err e = find_topic(j, log, note);
    if (e) {
        return e;
    }
    switch (j->call.command) {
    case SLOTS_IDENTIFY: return identify(j, log);
    case SLOTS_CREATE: return create(j, log, note);
    case SLOTS_DROP: return drop(j, log, note);
    case SLOTS_START: return open_stream(j, shared, note);
    }
    return ERR_INTERNAL;
}

static void work(struct job *job)
{
    struct slots_job *j = (struct slots_job *)(void *)job;
    struct shared *shared = job->control->shared;
    struct note note = {.text = ""};
    enum err e = note_set(&note, ERR_SHUTDOWN, "the change log is being closed");
    if (feeds_enter(shared)) {
        e = run(j, shared, &note);
        feeds_leave(shared);
    }
    if (e) {
        put_failure(j, e, &note);
    } else if (j->call.command == SLOTS_START) {
        batch_is_out(j, shared);
        stream(j, shared);
    }
    cdc_tx_reader_free(j->reader);
    j->reader = NULL;
}

static void on_call(struct control *c, struct control_mail *mail);

static void done(struct control *c, struct job *job)
{
    struct slots_job *j = (struct slots_job *)(void *)job;
    feeds_ended(c);
    list_remove(&j->node);
    while (!list_empty(&j->waiting)) {
        struct slots_job *next = container_of(list_pop(&j->waiting), struct slots_job, node);
        on_call(c, &next->mail);
    }
    say(j, c->shared, j->is_fatal ? SLOTS_FATAL : SLOTS_DONE);
    slots_unref(j);
}

/* The job that has the slot, of all that want it the first; NULL: none. */
static struct slots_job *find_active(const struct control *c, const struct slots_job *j)
{
    list_each (node, &c->slots) {
        struct slots_job *other = container_of(node, struct slots_job, node);
        if (strcmp(other->database, j->database) == 0 &&
            strcmp(other->call.slot, j->call.slot) == 0) {
            return other;
        }
    }
    return NULL;
}

/* Its client is gone, its thread will be in a moment. */
static int is_leaving(struct slots_job *j)
{
    (void)pthread_mutex_lock(&j->lock);
    int stops = j->stops;
    (void)pthread_mutex_unlock(&j->lock);
    return stops;
}

static void on_call(struct control *c, struct control_mail *mail)
{
    struct slots_job *j = container_of(mail, struct slots_job, mail);
    struct note note = {.text = ""};
    enum err e = ERR_NONE;
    int needs = j->call.command != SLOTS_IDENTIFY;
    struct slots_job *other = needs ? find_active(c, j) : NULL;
    if (other != NULL && (other->call.command != SLOTS_START || is_leaving(other))) {
        list_push_back(&other->waiting, &j->node);
        return;
    }
    if (other != NULL && j->call.command != SLOTS_CREATE) { /* which says that it is there */
        e = note_set(&note, ERR_SLOT_ACTIVE, "replication slot \"%s\" is active", j->call.slot);
    }
    e = e ? e : feeds_begin(c, j->call.command == SLOTS_START, &note);
    if (e) {
        put_failure(j, e, &note);
        say(j, c->shared, SLOTS_DONE);
        slots_unref(j);
        return;
    }
    if (needs) {
        list_push_back(&c->slots, &j->node);
    }
    j->job.work = work;
    j->job.done = done;
    job_start(c, &j->job);
}

void slots_send(struct slots_job *j)
{
    j->mail.fn = on_call;
    control_send(j->job.control, &j->mail);
}
