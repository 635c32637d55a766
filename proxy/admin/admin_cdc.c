/* Change capture on the admin console: what has come in, what is kept, who is how far. */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "proxy/admin/admin.h"
#include "proxy/cdc/feed.h"
#include "proxy/cdc/feeds.h"
#include "proxy/control/cdc.h"
#include "replication/cdc/consumer.h"
#include "replication/cdc/outlet.h"

enum {
    SOURCES_MAX = 4096,
    TOPICS_CHUNK = 64
};

static void put_lsn(struct admin_call *call, uint64_t lsn)
{
    char text[24];
    (void)snprintf(text, sizeof(text), "%" PRIX32 "/%" PRIX32, (uint32_t)(lsn >> 32),
                   (uint32_t)lsn);
    admin_text(call, text);
}

/* What its source does, and why it does nothing. */
static void put_state(struct admin_call *call, const struct cdc_source_view *v)
{
    for (size_t i = 0; i < cdc_sources_count(call->c); i++) {
        const char *database;
        const char *shard;
        struct cdc_look l;
        cdc_sources_look(call->c, i, &database, &shard, &l);
        if (strcmp(database, v->database) == 0 && strcmp(shard, v->name) == 0) {
            admin_text(call, cdc_doing_word(l.doing));
            admin_text(call, l.error[0] == '\0' ? NULL : l.error);
            return;
        }
    }
    admin_text(call, NULL);
    admin_text(call, NULL);
}

enum err admin_show_cdc_log(struct admin_call *call)
{
    struct cdc_log *log = call->c->shared->cdc_log;
    admin_columns(call, "database shard stored resume watermark:q behind_ms:q open_bytes:q "
                        "state error");
    struct cdc_source_view *list = mem_alloc(SOURCES_MAX * sizeof(*list));
    size_t n = log == NULL ? 0 : cdc_log_sources(log, list, SOURCES_MAX);
    int64_t now = clock_wall_us();
    for (size_t i = 0; i < n; i++) {
        admin_row(call);
        admin_text(call, list[i].database);
        admin_text(call, list[i].name);
        put_lsn(call, list[i].lsn);
        put_lsn(call, list[i].resume);
        admin_uint(call, list[i].watermark);
        admin_int(call, list[i].time_us == 0 ? -1 : (now - list[i].time_us) / 1000);
        admin_uint(call, list[i].open_bytes);
        put_state(call, &list[i]);
    }
    mem_free(list);
    admin_end(call);
    return ERR_NONE;
}

static void put_topic(struct admin_call *call, struct cdc_log *log, const struct cdc_topic_view *t)
{
    uint64_t records = 0;
    uint64_t kept = 0;
    uint64_t bytes = 0;
    int64_t time_us = 0;
    for (uint16_t p = 0; p < t->partitions; p++) {
        struct cdc_part_view view;
        if (cdc_log_part(log, t->id, p, &view, &call->note) == ERR_NONE) {
            records += view.end;
            kept += view.end - view.start;
            bytes += view.bytes;
            time_us = view.time_us > time_us ? view.time_us : time_us;
        }
    }
    admin_row(call);
    admin_text(call, t->name);
    admin_uint(call, t->partitions);
    admin_uint(call, records);
    admin_uint(call, kept);
    admin_uint(call, bytes);
    admin_time(call, time_us);
}

enum err admin_show_cdc_topics(struct admin_call *call)
{
    struct cdc_log *log = call->c->shared->cdc_log;
    admin_columns(call, "topic partitions:q records:q kept:q bytes:q newest");
    struct cdc_topic_view *list = mem_alloc(TOPICS_CHUNK * sizeof(*list));
    uint32_t last = 0;
    for (size_t n = 1; log != NULL && n > 0;) {
        n = cdc_log_topics(log, last, list, TOPICS_CHUNK);
        for (size_t i = 0; i < n; i++) {
            put_topic(call, log, &list[i]);
            last = list[i].id;
        }
    }
    mem_free(list);
    admin_end(call);
    return ERR_NONE;
}

enum err admin_show_cdc_groups(struct admin_call *call)
{
    struct shared *shared = call->c->shared;
    admin_columns(call, "group topic members:q lag:q lost:q lag_bytes:q lag_ms:q");
    int64_t now = clock_wall_us();
    size_t max = shared->cdc_log == NULL ? 0 : cdc_log_groups_count(shared->cdc_log);
    struct cdc_group_view *list = mem_alloc((max + 1) * sizeof(*list));
    size_t n = max == 0 ? 0 : cdc_log_groups(shared->cdc_log, list, max);
    for (size_t i = 0; i < n; i++) {
        admin_row(call);
        admin_text(call, list[i].group);
        admin_text(call, cdc_log_topic_name(shared->cdc_log, list[i].topic));
        admin_uint(call, cdc_consumer_members(shared->cdc_consumers, list[i].topic,
                                              slice_of(list[i].group)));
        admin_uint(call, list[i].lag);
        admin_uint(call, list[i].lost);
        admin_uint(call, list[i].bytes);
        admin_int(call, list[i].time_us == 0 ? 0 : (now - list[i].time_us) / 1000);
    }
    mem_free(list);
    admin_end(call);
    return ERR_NONE;
}

enum err admin_show_cdc_sinks(struct admin_call *call)
{
    const struct shared *shared = call->c->shared;
    admin_columns(call, "sink events:q batches:q failures:q dead_letters:q lag:q retry_ms:q error");
    for (size_t i = 0; i < shared->cdc_sinks_count; i++) {
        struct cdc_outlet_stats s;
        cdc_outlet_stats(shared->cdc_sinks[i], &s);
        admin_row(call);
        admin_text(call, s.kind);
        admin_uint(call, s.events);
        admin_uint(call, s.batches);
        admin_uint(call, s.failures);
        admin_uint(call, s.dead);
        admin_uint(call, s.lag);
        admin_int(call, s.retry_us / 1000);
        admin_text(call, s.error);
    }
    admin_end(call);
    return ERR_NONE;
}

/* ---- CDC_RESET ------------------------------------------------------------------------------- */

struct reset_job {
    struct job job; /* first */
    char *group, *topic, *place;
    enum err err;
    struct note note;
    cdc_reset_fn *done;
    void *arg;
};

static enum err reset(struct shared *shared, struct reset_job *j)
{
    struct cdc_seek_to to;
    uint32_t topic = cdc_log_topic(shared->cdc_log, slice_of(j->topic));
    size_t database_bytes = strcspn(j->topic, ".");
    if (topic == 0) {
        return note_set(&j->note, ERR_NO_TABLE, "the change log has no topic \"%.100s\"", j->topic);
    }
    char *database = mem_zero(database_bytes + 1);
    memcpy(database, j->topic, database_bytes);
    int forgets = strcmp(j->place, "forget") == 0;
    enum err e =
        forgets ? ERR_NONE : feed_place(shared->cdc_log, database, j->place, &to, &j->note);
    mem_free(database);
    return e ? e
             : cdc_consumer_reset(shared->cdc_consumers, topic, slice_of(j->group),
                                  forgets ? NULL : &to, &j->note);
}

static void reset_work(struct job *job)
{
    struct reset_job *j = (struct reset_job *)(void *)job;
    struct shared *shared = job->control->shared;
    j->err = note_set(&j->note, ERR_SHUTDOWN, "the change log is being closed");
    if (feeds_enter(shared)) {
        j->err = reset(shared, j);
        feeds_leave(shared);
    }
}

static void reset_done(struct control *c, struct job *job)
{
    struct reset_job *j = (struct reset_job *)(void *)job;
    feeds_ended(c);
    j->done(j->arg, j->err, &j->note);
    mem_free(j->group);
    mem_free(j->topic);
    mem_free(j->place);
    mem_free(j);
}

enum err cdc_reset_start(struct control *c, const char *const *words, cdc_reset_fn *done, void *arg,
                         struct note *note)
{
    enum err e = feeds_begin(c, 0, note);
    if (e) {
        return e;
    }
    struct reset_job *j = mem_zero(sizeof(*j));
    j->group = mem_strdup(words[0]);
    j->topic = mem_strdup(words[1]);
    j->place = mem_strdup(words[2]);
    j->done = done;
    j->arg = arg;
    j->job.work = reset_work;
    j->job.done = reset_done;
    job_start(c, &j->job);
    return ERR_NONE;
}
