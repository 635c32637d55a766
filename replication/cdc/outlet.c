/* The thread of a sink: see outlet.h. */

#include "replication/cdc/outlet.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "replication/cdc/topic_list.h"

enum {
    BATCH = 500,
    BATCH_BYTES = 4 << 20,
    TIMEOUT_MS = 30000,
    GRACE_US = 1000000, /* behind a stop: for what is under way */
    LEAVE_US = 6000000, /* then a thread that still hangs is left behind */
    RETRY_MS = 100,
    RETRY_MAX_MS = 30000,
    IDLE_US = 1000000,
    TOPICS_CHUNK = 64
};

/* A topic that has failed: it is left alone for a while, the others go on. */
struct trouble {
    uint32_t topic;
    int64_t retry_us, until_us;
};

struct cdc_outlet {
    struct cdc_outlet_options options;
    char *topics;
    char group[CDC_GROUP_MAX + 1];
    pthread_t thread;
    struct cdc_pour pour;
    struct trouble *troubles; /* the thread's, as the next two */
    size_t troubles_count;
    int64_t pause_us;      /* of all, as long as nothing works */
    pthread_mutex_t mutex; /* of all below */
    pthread_cond_t wake;   /* the thread's */
    pthread_cond_t ended;  /* those who wait for the thread */
    int stopping, has_ended;
    int is_inside; /* the thread is in the kind, and touches nothing else */
    int is_left;   /* nobody waits any more: it must touch nothing else ever */
    int64_t stopped_us;
    struct cdc_outlet_stats stats; /* but for lag and dead */
};

static int is_stopping(struct cdc_outlet *o)
{
    (void)pthread_mutex_lock(&o->mutex);
    int stopping = o->stopping;
    (void)pthread_mutex_unlock(&o->mutex);
    return stopping;
}

/* ---- which topics ---------------------------------------------------------------------------- */

static int is_wanted(const struct cdc_outlet *o, const char *name)
{
    return topic_list_has(o->topics == NULL ? "*" : o->topics, name);
}

/* ---- batches --------------------------------------------------------------------------------- */

struct gathering {
    struct cdc_outlet *o;
    size_t bytes;
    uint32_t count;
    enum err err;
    struct note note;
};

static size_t bytes_of(const struct cdc_event *event)
{
    const struct change *c = &event->change;
    size_t n = 256 + c->content.n + c->prefix.n;
    for (uint16_t i = 0; c->relation != NULL && i < c->relation->n_columns; i++) {
        n += c->new_columns != NULL ? c->new_columns[i].bytes.n : 0;
        n += c->old_columns != NULL ? c->old_columns[i].bytes.n : 0;
    }
    return n;
}

static int gather(void *arg, const struct cdc_event *event)
{
    struct gathering *g = arg;
    g->bytes += bytes_of(event);
    if (g->count > 0 && g->bytes > g->o->options.bytes) {
        return 0;
    }
    g->count++;
    g->err = g->o->options.kind->event(g->o->options.self, event, &g->note);
    return g->err == ERR_NONE;
}

static void go_inside(struct cdc_outlet *o)
{
    (void)pthread_mutex_lock(&o->mutex);
    o->is_inside = 1;
    (void)pthread_mutex_unlock(&o->mutex);
}

static void come_back(struct cdc_outlet *o)
{
    (void)pthread_mutex_lock(&o->mutex);
    o->is_inside = 0;
    while (o->is_left) { /* what the log was is gone; the process is about to end */
        (void)pthread_cond_wait(&o->wake, &o->mutex);
    }
    (void)pthread_mutex_unlock(&o->mutex);
}

static enum err flush(struct cdc_outlet *o, struct note *note)
{
    o->pour.retry_after_us = 0;
    go_inside(o);
    enum err e = o->options.kind->flush(o->options.self, &o->pour, note);
    come_back(o);
    return e;
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
                               .resets = 1,
                               .stays = 1}; /* a batch may take long */
    enum err e = cdc_consume(o->options.consumers, &what, gather, &g, count, note);
    if (e == ERR_NONE && g.err != ERR_NONE) {
        e = g.err;
        *note = g.note;
    }
    if (e == ERR_NONE && *count > 0) {
        e = flush(o, note);
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

static int64_t next_pause(const struct cdc_outlet *o, int64_t before_us)
{
    int64_t most_us = (int64_t)o->options.retry_max_ms * 1000;
    int64_t us = before_us == 0 ? (int64_t)o->options.retry_ms * 1000 : before_us * 2;
    us = o->pour.retry_after_us > us ? o->pour.retry_after_us : us;
    return us > most_us ? most_us : us;
}

static struct trouble *find_trouble(const struct cdc_outlet *o, uint32_t topic)
{
    for (size_t i = 0; i < o->troubles_count; i++) {
        if (o->troubles[i].topic == topic) {
            return &o->troubles[i];
        }
    }
    return NULL;
}

static int is_too_early(const struct cdc_outlet *o, uint32_t topic)
{
    const struct trouble *t = find_trouble(o, topic);
    return t != NULL && clock_now_us() < t->until_us;
}

static void note_failure(struct cdc_outlet *o, uint32_t topic, const struct note *note)
{
    struct cdc_outlet_stats *s = &o->stats;
    struct trouble *t = find_trouble(o, topic);
    if (t == NULL) {
        o->troubles = mem_grow(o->troubles, (o->troubles_count + 1) * sizeof(*t));
        t = &o->troubles[o->troubles_count++];
        *t = (struct trouble){.topic = topic};
    }
    t->retry_us = next_pause(o, t->retry_us);
    t->until_us = clock_now_us() + t->retry_us;
    o->pause_us = next_pause(o, o->pause_us);
    (void)pthread_mutex_lock(&o->mutex);
    s->failures++;
    s->retry_us = t->retry_us;
    (void)snprintf(s->error, sizeof(s->error), "%.250s", note->text);
    (void)pthread_mutex_unlock(&o->mutex);
    log_event(LOG_CDC_SINK_FAILED, "sink=%s retry_ms=%lld why=\"%s\"", s->kind,
              (long long)(t->retry_us / 1000), note->text);
}

static void note_success(struct cdc_outlet *o, uint32_t topic, uint32_t count)
{
    struct cdc_outlet_stats *s = &o->stats;
    struct trouble *t = find_trouble(o, topic);
    if (t != NULL) {
        *t = o->troubles[--o->troubles_count];
    }
    o->pause_us = 0;
    (void)pthread_mutex_lock(&o->mutex);
    s->events += count;
    s->batches += count > 0;
    if (o->troubles_count == 0) {
        s->retry_us = 0;
        s->error[0] = 0;
    }
    (void)pthread_mutex_unlock(&o->mutex);
}

static struct timespec after(int64_t us)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    us = us < 0 ? 0 : us;
    t.tv_sec += us / 1000000;
    t.tv_nsec += us % 1000000 * 1000;
    t.tv_sec += t.tv_nsec / 1000000000;
    t.tv_nsec %= 1000000000;
    return t;
}

static void pause_for(struct cdc_outlet *o, int64_t us)
{
    struct timespec until = after(us);
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
            if (!is_wanted(o, list[i].name) || is_too_early(o, last)) {
                continue;
            }
            enum err e = pour(o, last, &count, &note);
            busy |= e != ERR_NONE || count > 0;
            if (e && !is_stopping(o)) { /* else it was cut short: no failure of the other side */
                note_failure(o, last, &note);
                pause_for(o, o->pause_us);
            } else if (e == ERR_NONE && (count > 0 || find_trouble(o, last) != NULL)) {
                note_success(o, last, count); /* none: what failed was taken away, or passed over */
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
    go_inside(o); /* here, for it may hang: a library waits for threads of its own */
    o->options.kind->free(o->options.self);
    come_back(o);
    (void)pthread_mutex_lock(&o->mutex);
    o->has_ended = 1;
    (void)pthread_cond_signal(&o->ended);
    (void)pthread_mutex_unlock(&o->mutex);
    return NULL;
}

/* ---- life ------------------------------------------------------------------------------------ */

struct cdc_outlet *cdc_outlet_start(const struct cdc_outlet_options *options)
{
    struct cdc_outlet *o = mem_zero(sizeof(*o));
    struct note note;
    pthread_condattr_t monotonic;
    o->options = *options;
    o->options.batch = options->batch == 0 ? BATCH : options->batch;
    o->options.bytes = options->bytes == 0 ? BATCH_BYTES : options->bytes;
    o->options.retry_ms = options->retry_ms == 0 ? RETRY_MS : options->retry_ms;
    o->options.retry_max_ms = options->retry_max_ms == 0 ? RETRY_MAX_MS : options->retry_max_ms;
    o->pour.timeout_ms = options->timeout_ms == 0 ? TIMEOUT_MS : options->timeout_ms;
    o->pour.dead = options->dead == NULL ? NULL
                                         : cdc_dead_new(options->fs, options->kind->name,
                                                        options->dead, options->dead_bytes_max);
    check(pg_stop_init(&o->pour.stop, &note) == ERR_NONE);
    o->topics = mem_strdup(options->topics);
    o->stats.kind = options->kind->name;
    (void)snprintf(o->group, sizeof(o->group), "sink:%s", options->kind->name);
    (void)pthread_mutex_init(&o->mutex, NULL);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&o->wake, &monotonic);
    (void)pthread_cond_init(&o->ended, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    check(pthread_create(&o->thread, NULL, run, o) == 0);
    return o;
}

void cdc_outlet_stop(struct cdc_outlet *o)
{
    (void)pthread_mutex_lock(&o->mutex);
    o->stopped_us = o->stopping ? o->stopped_us : clock_now_us();
    o->stopping = 1;
    (void)pthread_cond_signal(&o->wake);
    (void)pthread_mutex_unlock(&o->mutex);
}

/* Wait for the thread until so long behind the stop, or if it is not inside its kind as long as it
 * takes. The mutex is held. */
static int has_ended_in(struct cdc_outlet *o, int64_t us)
{
    struct timespec until = after(o->stopped_us + us - clock_now_us());
    int in_time = 1;
    while (!o->has_ended && (in_time || !o->is_inside)) {
        if (in_time) {
            in_time = pthread_cond_timedwait(&o->ended, &o->mutex, &until) == 0;
        } else {
            struct timespec soon = after(10000);
            (void)pthread_cond_timedwait(&o->ended, &o->mutex, &soon);
        }
    }
    return o->has_ended;
}

void cdc_outlet_free(struct cdc_outlet *o)
{
    if (o == NULL) {
        return;
    }
    cdc_outlet_stop(o);
    cdc_log_wake(o->options.log);
    (void)pthread_mutex_lock(&o->mutex);
    if (!has_ended_in(o, GRACE_US)) {
        pg_stop_set(&o->pour.stop);
        o->is_left = !has_ended_in(o, LEAVE_US);
    }
    int is_left = o->is_left;
    (void)pthread_mutex_unlock(&o->mutex);
    if (is_left) {
        (void)pthread_detach(o->thread);
        return;
    }
    (void)pthread_join(o->thread, NULL);
    cdc_dead_free(o->pour.dead);
    pg_stop_free(&o->pour.stop);
    (void)pthread_mutex_destroy(&o->mutex);
    (void)pthread_cond_destroy(&o->wake);
    (void)pthread_cond_destroy(&o->ended);
    mem_free(o->topics);
    mem_free(o->troubles);
    mem_free(o);
}

static uint64_t records_behind(const struct cdc_outlet *o)
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
    out->dead = cdc_dead_count(o->pour.dead);
    out->lag = records_behind(o);
}

static void put_place(struct buf *out, const struct cdc_outlet_place *place)
{
    buf_text(out, "{\"topic\":");
    cdc_json_text(out, slice_of(place->topic));
    buf_printf(out, ",\"partition\":%u,\"offset\":%llu,\"key\":", place->partition,
               (unsigned long long)place->offset);
}

void cdc_outlet_object(struct buf *out, const struct cdc_event *event)
{
    put_place(out, &(struct cdc_outlet_place){event->topic, event->partition, event->offset});
    cdc_event_key(out, event);
    buf_text(out, ",\"value\":");
    cdc_event_value(out, event);
    buf_u8(out, '}');
}

void cdc_outlet_object_of(struct buf *out, const struct cdc_outlet_place *place, struct slice key,
                          struct slice value)
{
    put_place(out, place);
    buf_add_slice(out, key);
    buf_text(out, ",\"value\":");
    buf_add_slice(out, value);
    buf_u8(out, '}');
}

int cdc_outlet_has_key(const struct change_relation *r)
{
    int keys = 0;
    for (uint16_t i = 0; i < r->n_columns; i++) {
        keys += r->columns[i].is_key != 0;
    }
    return keys > 0 && r->replica_identity != 'f';
}

enum err cdc_pour_wait(struct cdc_pour *pour, int fd, short *events, int64_t until_us,
                       struct note *note)
{
    short wanted = *events;
    for (;;) {
        if (atomic_load(&pour->stop.set)) {
            return note_set(note, ERR_SHUTDOWN, "given up: pgbraid stops");
        }
        int64_t left_us = until_us - clock_now_us();
        if (left_us <= 0) {
            return note_set(note, ERR_SHARD_DOWN, "no answer within %d ms", pour->timeout_ms);
        }
        struct pollfd fds[2] = {{.fd = fd, .events = wanted},
                                {.fd = pour->stop._fd, .events = POLLIN}};
        int64_t left_ms = (left_us + 999) / 1000;
        int n = poll(fds, 2, left_ms > 60000 ? 60000 : (int)left_ms);
        if (n > 0 && fds[0].revents != 0) {
            *events = fds[0].revents;
            return ERR_NONE;
        }
    }
}
