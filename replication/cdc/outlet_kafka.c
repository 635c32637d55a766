/*
 * The sink that produces to Kafka: a topic per table, a message per record, its key the record's.
 *
 *     partition   the record's, modulo those that the topic has there: what the log has in order
 *                 stays in order, also a TRUNCATE, which speaks for its partition
 *     headers     braid.partition, braid.offset: what comes twice has the same
 *
 * The producer is idempotent and never gives a message up: what cannot be sent now stays in its
 * queue, in order. When that takes longer than the limit the batch has failed, and the next one is
 * sent when the queue is empty, behind what was in it, so nothing old comes behind something new.
 * A message that Kafka will never take fails with all that were sent with it: then the batch goes
 * again, one by one, and what fails alone is a dead letter.
 *
 * Only this file names librdkafka, which has a thread of its own and one per broker.
 */

#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "replication/cdc/outlet.h"
#include "replication/cdc/outlet_name.h"

enum {
    LINE_BYTES = 8192,
    POLL_MS = 50, /* how soon a stop is seen */
    CLOSE_MS = 200
};

enum fate {
    FATE_UNDER_WAY,
    FATE_KEPT,
    FATE_REFUSED, /* for good */
    FATE_FAILED
};

struct entry {
    struct cdc_outlet_place place;
    size_t key, value, end; /* in `texts` */
    int has_key;
};

/* A message under way: librdkafka has it until its report; it outlives the batch. */
struct parcel {
    struct kafka_sink *sink;
    uint64_t round;
    size_t index; /* of the entry, in that round */
    uint16_t partition;
};

struct kafka_sink {
    char *brokers, *properties, *prefix;
    rd_kafka_t *producer;
    struct buf texts;
    struct entry *entries;
    size_t count, cap;
    uint8_t *fates; /* of entries, in this round */
    uint64_t round;
    int is_unknown; /* the topic of the last message that was not kept */
    char why[200];  /* of that message */
    char said[200]; /* the library's last word on brokers */
};

/* ---- what the library calls, all from rd_kafka_poll() but the partitioner -------------------- */

static int is_refusal(rd_kafka_resp_err_t err)
{
    return err == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE || err == RD_KAFKA_RESP_ERR_INVALID_RECORD ||
           err == RD_KAFKA_RESP_ERR_POLICY_VIOLATION;
}

static int is_unknown_topic(rd_kafka_resp_err_t err)
{
    return err == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC ||
           err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
           err == RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION; /* it cannot be made */
}

static void note_why(struct kafka_sink *s, rd_kafka_resp_err_t err)
{
    s->is_unknown = is_unknown_topic(err);
    (void)snprintf(s->why, sizeof(s->why), "%s", rd_kafka_err2str(err));
}

static void on_report(rd_kafka_t *rk, const rd_kafka_message_t *message, void *arg)
{
    struct parcel *parcel = message->_private;
    struct kafka_sink *s = parcel->sink;
    (void)rk;
    (void)arg;
    if (parcel->round == s->round) {
        s->fates[parcel->index] = message->err == RD_KAFKA_RESP_ERR_NO_ERROR ? FATE_KEPT
                                  : is_refusal(message->err)                 ? FATE_REFUSED
                                                                             : FATE_FAILED;
        if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            note_why(s, message->err);
        } else {
            s->said[0] = 0; /* what was wrong with the brokers is over */
        }
    }
    mem_free(parcel);
}

static void on_error(rd_kafka_t *rk, int err, const char *reason, void *arg)
{
    struct kafka_sink *s = arg;
    (void)rk;
    (void)err;
    (void)snprintf(s->said, sizeof(s->said), "%s", reason);
}

static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    (void)rk; /* what matters comes as an error */
    (void)level;
    (void)facility;
    (void)text;
}

/* On a thread of the library's: the parcel does not change. */
static int32_t choose_partition(const rd_kafka_topic_t *topic, const void *key, size_t key_n,
                                int32_t partitions, void *topic_arg, void *message_arg)
{
    const struct parcel *parcel = message_arg;
    (void)topic;
    (void)key;
    (void)key_n;
    (void)topic_arg;
    return partitions <= 0 ? RD_KAFKA_PARTITION_UA : parcel->partition % partitions;
}

/* ---- producer -------------------------------------------------------------------------------- */

static enum err set(rd_kafka_conf_t *conf, const char *name, const char *value, const char *where,
                    struct note *note)
{
    char unused[200]; /* it may tell the value */
    if (rd_kafka_conf_set(conf, name, value, unused, sizeof(unused)) == RD_KAFKA_CONF_OK) {
        return ERR_NONE;
    }
    return note_set(note, ERR_BAD_SETTING,
                    "kafka: %s: librdkafka does not know the property %.80s, or not this value",
                    where, name);
}

/* Lines "name=value". */
static enum err read_properties(const struct kafka_sink *s, rd_kafka_conf_t *conf,
                                struct note *note)
{
    char line[LINE_BYTES];
    enum err e = ERR_NONE;
    FILE *f = fopen(s->properties, "re");
    if (f == NULL) {
        return note_set(note, ERR_BAD_SETTING, "kafka: cannot open %s: %m", s->properties);
    }
    while (e == ERR_NONE && fgets(line, sizeof(line), f) != NULL) {
        line[strcspn(line, "\r\n")] = 0;
        char *equals = strchr(line, '=');
        if (line[0] == 0 || line[0] == '#') {
            continue;
        }
        if (equals == NULL) {
            e = note_set(note, ERR_BAD_SETTING, "kafka: %s: a line is not name=value",
                         s->properties);
            continue;
        }
        *equals = 0;
        e = set(conf, line, equals + 1, s->properties, note);
    }
    (void)fclose(f);
    explicit_bzero(line, sizeof(line));
    return e;
}

/* What the promises of this file need, whatever the properties say. A topic that is not there is to
 * be told before the batch has failed for taking too long. */
static enum err set_up(struct kafka_sink *s, rd_kafka_conf_t *conf, const struct cdc_pour *pour,
                       struct note *note)
{
    char known_ms[24];
    (void)snprintf(known_ms, sizeof(known_ms), "%d", pour->timeout_ms / 2);
    const char *const own[][2] = {{"enable.idempotence", "true"},
                                  {"topic.metadata.propagation.max.ms", known_ms},
                                  {"acks", "all"},
                                  {"message.timeout.ms", "0"}, /* never given up */
                                  {"delivery.report.only.error", "false"},
                                  {"sticky.partitioning.linger.ms", "0"}, /* we choose */
                                  {"queue.buffering.max.messages", "1000000"},
                                  {"log_level", "0"}};
    enum err e = s->properties == NULL ? ERR_NONE : read_properties(s, conf, note);
    e = e ? e : set(conf, "bootstrap.servers", s->brokers, "cdc.sink_kafka", note);
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]) && e == ERR_NONE; i++) {
        e = set(conf, own[i][0], own[i][1], "itself", note);
    }
    rd_kafka_conf_set_opaque(conf, s);
    rd_kafka_conf_set_dr_msg_cb(conf, on_report);
    rd_kafka_conf_set_error_cb(conf, on_error);
    rd_kafka_conf_set_log_cb(conf, on_log);
    return e;
}

static enum err open_producer(struct kafka_sink *s, const struct cdc_pour *pour, struct note *note)
{
    char why[200];
    if (s->producer != NULL) {
        return ERR_NONE;
    }
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_topic_conf_t *topics = rd_kafka_topic_conf_new();
    rd_kafka_topic_conf_set_partitioner_cb(topics, choose_partition);
    rd_kafka_conf_set_default_topic_conf(conf, topics); /* set_up() puts those of topics into it */
    enum err e = set_up(s, conf, pour, note);
    s->said[0] = 0;
    s->producer = e ? NULL : rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof(why));
    if (s->producer == NULL) {
        rd_kafka_conf_destroy(conf);
        return e ? e : note_set(note, ERR_BAD_SETTING, "kafka: %.150s", why);
    }
    return ERR_NONE;
}

static void close_producer(struct kafka_sink *s)
{
    if (s->producer != NULL) {
        s->round++; /* reports from now on are of nobody's */
        (void)rd_kafka_purge(s->producer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
        (void)rd_kafka_flush(s->producer, CLOSE_MS); /* the reports free the parcels */
        rd_kafka_destroy(s->producer);
    }
    s->producer = NULL;
}

/* ---- sending --------------------------------------------------------------------------------- */

static void produce(struct kafka_sink *s, size_t i)
{
    const struct entry *n = &s->entries[i];
    const uint8_t *texts = s->texts.p;
    char partition[8], offset[24];
    struct buf topic = {0};
    struct slice key = {n->has_key ? texts + n->key : NULL, n->has_key ? n->value - n->key : 0};
    uint8_t *value = (uint8_t *)(uintptr_t)texts + n->value; /* copied */
    struct parcel *parcel = mem_zero(sizeof(*parcel));
    *parcel = (struct parcel){s, s->round, i, n->place.partition};
    (void)snprintf(partition, sizeof(partition), "%u", n->place.partition);
    (void)snprintf(offset, sizeof(offset), "%llu", (unsigned long long)n->place.offset);
    cdc_kafka_name(&topic, s->prefix, n->place.topic);
    rd_kafka_resp_err_t err = rd_kafka_producev(
        s->producer, RD_KAFKA_V_TOPIC((const char *)topic.p),
        RD_KAFKA_V_KEY((const void *)key.p, key.n),
        RD_KAFKA_V_VALUE((void *)value, n->end - n->value),
        RD_KAFKA_V_HEADER("braid.partition", partition, -1),
        RD_KAFKA_V_HEADER("braid.offset", offset, -1), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
        RD_KAFKA_V_OPAQUE(parcel), RD_KAFKA_V_END);
    buf_free(&topic);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        s->fates[i] = is_refusal(err) ? FATE_REFUSED : FATE_FAILED;
        note_why(s, err);
        mem_free(parcel);
    }
}

/* Until the queue is empty. */
static enum err drain(struct kafka_sink *s, struct cdc_pour *pour, struct note *note)
{
    int64_t until_us = clock_now_us() + (int64_t)pour->timeout_ms * 1000;
    while (rd_kafka_outq_len(s->producer) > 0) {
        (void)rd_kafka_poll(s->producer, POLL_MS);
        if (atomic_load(&pour->stop.set)) {
            return note_set(note, ERR_SHUTDOWN, "kafka: given up: pgbraid stops");
        }
        if (clock_now_us() > until_us) {
            return note_set(note, ERR_SHARD_DOWN, "kafka %.100s: not kept within %d ms%s%s",
                            s->brokers, pour->timeout_ms, s->said[0] != 0 ? ": " : "", s->said);
        }
    }
    return ERR_NONE;
}

static enum err fatal(struct kafka_sink *s, struct note *note)
{
    char why[200];
    if (rd_kafka_fatal_error(s->producer, why, sizeof(why)) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        return ERR_NONE;
    }
    close_producer(s); /* the next one begins anew */
    return note_set(note, ERR_SHARD_REFUSED, "kafka: %.150s", why);
}

/* All of a batch are of one. */
static enum err no_topic(const struct kafka_sink *s, const struct entry *n, struct note *note)
{
    struct buf name = {0};
    cdc_kafka_name(&name, s->prefix, n->place.topic);
    (void)note_set(note, ERR_SHARD_REFUSED,
                   "kafka: there is no topic %s, and the brokers do not make it (%s): make it, or "
                   "let them (auto.create.topics.enable)",
                   (const char *)name.p, s->why);
    buf_free(&name);
    return ERR_SHARD_REFUSED;
}

/* Entries [from, to), to their end. *worst: of their fates. */
static enum err send_span(struct kafka_sink *s, size_t from, size_t to, struct cdc_pour *pour,
                          enum fate *worst, struct note *note)
{
    s->round++;
    memset(s->fates, FATE_UNDER_WAY, s->count);
    for (size_t i = from; i < to; i++) {
        produce(s, i);
    }
    enum err e = drain(s, pour, note);
    e = e ? e : fatal(s, note);
    *worst = FATE_KEPT;
    for (size_t i = from; i < to && e == ERR_NONE; i++) {
        *worst = s->fates[i] > *worst ? s->fates[i] : *worst;
    }
    if (e || *worst != FATE_FAILED) {
        return e;
    }
    return s->is_unknown ? no_topic(s, &s->entries[from], note)
                         : note_set(note, ERR_SHARD_REFUSED, "kafka: %s", s->why);
}

static enum err bury(struct kafka_sink *s, const struct entry *n, struct cdc_pour *pour,
                     struct note *note)
{
    struct buf object = {0};
    const uint8_t *p = s->texts.p;
    cdc_outlet_object_of(&object, &n->place, (struct slice){p + n->key, n->value - n->key},
                         (struct slice){p + n->value, n->end - n->value});
    enum err e = cdc_dead_bury(pour->dead, buf_slice(&object), s->why, note);
    buf_free(&object);
    return e;
}

static enum err send_one_by_one(struct kafka_sink *s, struct cdc_pour *pour, struct note *note)
{
    enum err e = ERR_NONE;
    for (size_t i = 0; i < s->count && e == ERR_NONE; i++) {
        enum fate fate = FATE_KEPT;
        e = send_span(s, i, i + 1, pour, &fate, note);
        if (e == ERR_NONE && fate == FATE_REFUSED) {
            e = bury(s, &s->entries[i], pour, note);
        }
    }
    return e;
}

/* ---- kind ------------------------------------------------------------------------------------ */

static enum err kafka_event(void *self, const struct cdc_event *event, struct note *note)
{
    struct kafka_sink *s = self;
    const struct change *c = &event->change;
    (void)note;
    if (s->count == s->cap) {
        s->cap = s->cap == 0 ? 64 : s->cap * 2;
        s->entries = mem_grow(s->entries, s->cap * sizeof(s->entries[0]));
        s->fates = mem_grow(s->fates, s->cap);
    }
    struct entry *n = &s->entries[s->count++];
    *n =
        (struct entry){.place = {event->topic, event->partition, event->offset}, .key = s->texts.n};
    cdc_event_key(&s->texts, event);
    n->has_key = c->new_columns != NULL || c->old_columns != NULL;
    n->value = s->texts.n;
    cdc_event_value(&s->texts, event);
    n->end = s->texts.n;
    return ERR_NONE;
}

static void kafka_forget(void *self)
{
    struct kafka_sink *s = self;
    s->round++;
    s->texts.n = 0;
    s->count = 0;
}

static enum err kafka_flush(void *self, struct cdc_pour *pour, struct note *note)
{
    struct kafka_sink *s = self;
    enum fate worst = FATE_KEPT;
    if (s->count == 0) {
        return ERR_NONE;
    }
    enum err e = open_producer(s, pour, note);
    e = e ? e : drain(s, pour, note); /* of a batch that has failed */
    e = e ? e : fatal(s, note);
    e = e ? e : send_span(s, 0, s->count, pour, &worst, note);
    if (e == ERR_NONE && worst == FATE_REFUSED) {
        e = send_one_by_one(s, pour, note);
    }
    if (e == ERR_NONE) {
        kafka_forget(s);
    }
    return e;
}

static void kafka_free(void *self)
{
    struct kafka_sink *s = self;
    close_producer(s);
    buf_free(&s->texts);
    mem_free(s->entries);
    mem_free(s->fates);
    mem_free(s->brokers);
    mem_free(s->properties);
    mem_free(s->prefix);
    mem_free(s);
}

const struct cdc_outlet_kind cdc_outlet_kafka = {.name = "kafka",
                                                 .event = kafka_event,
                                                 .flush = kafka_flush,
                                                 .forget = kafka_forget,
                                                 .free = kafka_free};

void *cdc_outlet_kafka_make(const struct cdc_kafka_options *options)
{
    struct kafka_sink *s = mem_zero(sizeof(*s));
    s->brokers = mem_strdup(options->brokers);
    s->properties = mem_strdup(options->properties);
    s->prefix = mem_strdup(options->prefix);
    return s;
}
