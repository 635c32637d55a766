/* The thread of a sink: see outlet.h. */

#include "replication/cdc/outlet.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

enum {
    BATCH = 500,
    RETRY_MIN_US = 100000,
    RETRY_MAX_US = 30000000,
    IDLE_US = 1000000,
    TOPICS_CHUNK = 64
};

struct cdc_outlet {
    struct cdc_outlet_options options;
    char *topics;
    char group[CDC_GROUP_MAX + 1];
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    int stopping;
    struct cdc_outlet_stats stats; /* under the mutex, but for lag */
};

static int is_stopping(struct cdc_outlet *o)
{
    (void)pthread_mutex_lock(&o->mutex);
    int stopping = o->stopping;
    (void)pthread_mutex_unlock(&o->mutex);
    return stopping;
}

/* ---- which topics ---------------------------------------------------------------------------- */

static int is_own(const char *name)
{
    const char *dot = strchr(name, '.');
    return dot != NULL && strncmp(dot, ".braid.", 7) == 0;
}

static int fits(const char *pattern, size_t n, const char *name)
{
    if (n > 0 && pattern[n - 1] == '*') {
        return strncmp(pattern, name, n - 1) == 0 && !is_own(name);
    }
    return strlen(name) == n && memcmp(pattern, name, n) == 0;
}

static int is_wanted(const struct cdc_outlet *o, const char *name)
{
    if (o->topics == NULL) {
        return !is_own(name);
    }
    for (const char *p = o->topics; *p != 0;) {
        p += strspn(p, ", ");
        size_t n = strcspn(p, ", ");
        if (n > 0 && fits(p, n, name)) {
            return 1;
        }
        p += n;
    }
    return 0;
}

/* ---- batches --------------------------------------------------------------------------------- */

struct gathering {
    struct cdc_outlet *o;
    enum err err;
    struct note note;
};

static int gather(void *arg, const struct cdc_event *event)
{
    struct gathering *g = arg;
    g->err = g->o->options.kind->event(g->o->options.self, event, &g->note);
    return g->err == ERR_NONE;
}

/* One batch of a topic: *count of events that are durable there now. */
static enum err pour(struct cdc_outlet *o, uint32_t topic, uint32_t *count, struct note *note)
{
    const struct cdc_outlet_kind *kind = o->options.kind;
    struct gathering g = {.o = o};
    struct cdc_consume what = {.topic = topic,
                               .group = slice_of(o->group),
                               .member = SLICE("sink"),
                               .ack = CDC_ACK_NONE,
                               .limit = o->options.batch,
                               .resets = 1};
    enum err e = cdc_consume(o->options.consumers, &what, gather, &g, count, note);
    if (e == ERR_NONE && g.err != ERR_NONE) {
        e = g.err;
        *note = g.note;
    }
    if (e == ERR_NONE && *count > 0) {
        e = kind->flush(o->options.self, note);
    }
    if (e == ERR_NONE && *count > 0) {
        e = cdc_consumer_commit(o->options.consumers, topic, what.group, what.member, note);
    }
    if (e) {
        kind->forget(o->options.self);
        cdc_consumer_leave(o->options.consumers, topic, what.group, what.member);
    }
    return e;
}

static void note_result(struct cdc_outlet *o, enum err e, uint32_t count, const struct note *note)
{
    struct cdc_outlet_stats *s = &o->stats;
    (void)pthread_mutex_lock(&o->mutex);
    if (e) {
        s->failures++;
        s->retry_us = s->retry_us == 0 ? RETRY_MIN_US : s->retry_us * 2;
        s->retry_us = s->retry_us > RETRY_MAX_US ? RETRY_MAX_US : s->retry_us;
        (void)snprintf(s->error, sizeof(s->error), "%.250s", note->text);
    } else if (count > 0) {
        s->events += count;
        s->batches++;
        s->retry_us = 0;
        s->error[0] = 0;
    }
    int64_t retry_us = s->retry_us;
    (void)pthread_mutex_unlock(&o->mutex);
    if (e) {
        log_event(LOG_CDC_SINK_FAILED, "sink=%s retry_ms=%lld why=\"%s\"", s->kind,
                  (long long)(retry_us / 1000), note->text);
    }
}

static void pause_for(struct cdc_outlet *o, int64_t us)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += us / 1000000;
    until.tv_nsec += us % 1000000 * 1000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    (void)pthread_mutex_lock(&o->mutex);
    while (!o->stopping && pthread_cond_timedwait(&o->wake, &o->mutex, &until) == 0) {
    }
    (void)pthread_mutex_unlock(&o->mutex);
}

/* Every topic once. 1: something came, or failed. */
static int pass(struct cdc_outlet *o)
{
    struct cdc_topic_view *list = mem_alloc(TOPICS_CHUNK * sizeof(*list));
    uint32_t last = 0;
    int busy = 0;
    for (size_t n = 1; n > 0 && !is_stopping(o);) {
        n = cdc_log_topics(o->options.log, last, list, TOPICS_CHUNK);
        for (size_t i = 0; i < n && !is_stopping(o); i++) {
            struct note note = {.text = ""};
            uint32_t count = 0;
            last = list[i].id;
            if (!is_wanted(o, list[i].name)) {
                continue;
            }
            enum err e = pour(o, last, &count, &note);
            note_result(o, e, count, &note);
            busy |= e != ERR_NONE || count > 0;
            if (e) {
                pause_for(o, o->stats.retry_us);
            }
        }
    }
    mem_free(list);
    return busy;
}

static void *run(void *arg)
{
    struct cdc_outlet *o = arg;
    while (!is_stopping(o)) {
        uint64_t seen = cdc_log_applied(o->options.log);
        if (!pass(o) && !is_stopping(o)) {
            cdc_log_wait(o->options.log, seen, IDLE_US);
        }
    }
    return NULL;
}

/* ---- life ------------------------------------------------------------------------------------ */

struct cdc_outlet *cdc_outlet_start(const struct cdc_outlet_options *options)
{
    struct cdc_outlet *o = mem_zero(sizeof(*o));
    o->options = *options;
    o->options.batch = options->batch == 0 ? BATCH : options->batch;
    o->topics = mem_strdup(options->topics);
    o->stats.kind = options->kind->name;
    (void)snprintf(o->group, sizeof(o->group), "sink:%s", options->kind->name);
    (void)pthread_mutex_init(&o->mutex, NULL);
    (void)pthread_cond_init(&o->wake, NULL);
    check(pthread_create(&o->thread, NULL, run, o) == 0);
    return o;
}

void cdc_outlet_stop(struct cdc_outlet *o)
{
    (void)pthread_mutex_lock(&o->mutex);
    o->stopping = 1;
    (void)pthread_cond_signal(&o->wake);
    (void)pthread_mutex_unlock(&o->mutex);
}

void cdc_outlet_free(struct cdc_outlet *o)
{
    if (o == NULL) {
        return;
    }
    cdc_outlet_stop(o);
    cdc_log_wake(o->options.log);
    (void)pthread_join(o->thread, NULL);
    o->options.kind->free(o->options.self);
    (void)pthread_mutex_destroy(&o->mutex);
    (void)pthread_cond_destroy(&o->wake);
    mem_free(o->topics);
    mem_free(o);
}

static uint64_t lag_of(const struct cdc_outlet *o)
{
    uint64_t lag = 0;
    struct cdc_topic_view t;
    for (uint32_t last = 0; cdc_log_topics(o->options.log, last, &t, 1) > 0; last = t.id) {
        for (uint16_t p = 0; is_wanted(o, t.name) && p < t.partitions; p++) {
            struct cdc_part_view part;
            uint64_t at = cdc_log_committed(o->options.log, slice_of(o->group), t.id, p).offset;
            if (cdc_log_part(o->options.log, t.id, p, &part, NULL) == ERR_NONE) {
                at = at == CDC_NO_OFFSET ? part.start : at;
                lag += part.end > at ? part.end - at : 0;
            }
        }
    }
    return lag;
}

void cdc_outlet_stats(struct cdc_outlet *o, struct cdc_outlet_stats *out)
{
    (void)pthread_mutex_lock(&o->mutex);
    *out = o->stats;
    (void)pthread_mutex_unlock(&o->mutex);
    out->dead = o->options.kind == &cdc_outlet_pg ? cdc_outlet_pg_dead(o->options.self) : 0;
    out->lag = lag_of(o);
}

void cdc_outlet_line(struct buf *out, const struct cdc_event *event)
{
    buf_text(out, "{\"topic\":");
    cdc_json_text(out, slice_of(event->topic));
    buf_printf(out, ",\"partition\":%u,\"offset\":%llu,\"key\":", event->partition,
               (unsigned long long)event->offset);
    cdc_event_key(out, event);
    buf_text(out, ",\"value\":");
    cdc_event_value(out, event);
    buf_text(out, "}\n");
}
