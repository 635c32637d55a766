/*
 * The sink that adds to Redis streams: a stream per table, an entry per event, with fields key,
 * value, partition and offset: what comes twice has the same of the latter two. A batch is MULTI,
 * its XADDs and EXEC in one go, so it is there whole or not at all, in order.
 *
 *     refused before EXEC (OOM, READONLY, NOPERM, LOADING, MOVED ...)   nothing is kept: again
 *     refused inside of it (WRONGTYPE)                                 that event is a dead letter
 *
 * hiredis without its own waiting: it connects, formats and parses, and poll(2) looks at the stop
 * and the clock. Only this file names it. Debian 12's has no TLS.
 */

#include <errno.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "replication/cdc/outlet.h"

enum {
    PORT = 6379,
    SECRET_BYTES = 1024
};

struct entry {
    struct cdc_outlet_place place;
    size_t key, value, end; /* in `texts` */
};

struct redis_sink {
    char *where, *secret_path, *prefix;
    uint64_t length_max;
    redisContext *conn;
    struct buf texts;
    struct entry *entries;
    size_t count, cap;
};

/* ---- where ----------------------------------------------------------------------------------- */

/* The number behind the character at *p; *p: behind it. */
static int take_number(const char **p, long min, long max, int *out)
{
    char *end = NULL;
    long n = (*p)[1] >= '0' && (*p)[1] <= '9' ? strtol(*p + 1, &end, 10) : -1;
    if (n < min || n > max) {
        return 0;
    }
    *out = (int)n;
    *p = end;
    return 1;
}

enum err cdc_redis_parse(const char *text, struct cdc_redis_place *out, struct note *note)
{
    *out = (struct cdc_redis_place){.port = PORT};
    if (strncmp(text, "unix:", 5) == 0) {
        (void)snprintf(out->host, sizeof(out->host), "%s", text + 5);
        out->is_unix = 1;
        return out->host[0] == '/'
                   ? ERR_NONE
                   : note_set(note, ERR_BAD_SETTING, "unix: is followed by an absolute path");
    }
    int bracket = text[0] == '[';
    const char *host = text + bracket;
    size_t n = strcspn(host, bracket ? "]" : ":/");
    const char *rest = host + n;
    rest += bracket && *rest == ']';
    int fine = n > 0 && n < sizeof(out->host) && (!bracket || host[n] == ']');
    fine = fine && (*rest != ':' || take_number(&rest, 1, 65535, &out->port));
    fine = fine && (*rest != '/' || take_number(&rest, 0, 1000000, &out->database));
    if (!fine || *rest != 0) {
        return note_set(note, ERR_BAD_SETTING,
                        "the server is not host:port, host:port/database or unix:/path");
    }
    (void)snprintf(out->host, sizeof(out->host), "%.*s", (int)n, host);
    return ERR_NONE;
}

/* ---- replies --------------------------------------------------------------------------------- */

static enum err lost(struct redis_sink *s, struct note *note)
{
    return note_set(note, ERR_SHARD_DOWN, "redis %s: %s", s->where,
                    s->conn->errstr[0] != 0 ? s->conn->errstr : strerror(errno));
}

/* Send what is to be sent, and read until a reply is there. */
static enum err next_reply(struct redis_sink *s, struct cdc_pour *pour, int64_t until_us,
                           redisReply **out, struct note *note)
{
    for (int sent = 0;;) {
        void *reply = NULL;
        if (redisGetReplyFromReader(s->conn, &reply) != REDIS_OK) {
            return lost(s, note);
        }
        if (reply != NULL) {
            *out = reply;
            return ERR_NONE;
        }
        short events = (short)(POLLIN | (sent ? 0 : POLLOUT));
        enum err e = cdc_pour_wait(pour, s->conn->fd, &events, until_us, note);
        if (e) {
            return note_wrap(note, e, s->where);
        }
        if ((events & POLLOUT) && redisBufferWrite(s->conn, &sent) != REDIS_OK) {
            return lost(s, note);
        }
        if ((events & ~POLLOUT) && redisBufferRead(s->conn) != REDIS_OK) {
            return lost(s, note);
        }
    }
}

static int64_t deadline(const struct cdc_pour *pour)
{
    return clock_now_us() + (int64_t)pour->timeout_ms * 1000;
}

/* One command whose answer must not be an error. The words themselves are not told. */
static enum err command(struct redis_sink *s, struct cdc_pour *pour, int count, const char **words,
                        struct note *note)
{
    redisReply *reply = NULL;
    check(redisAppendCommandArgv(s->conn, count, words, NULL) == REDIS_OK);
    enum err e = next_reply(s, pour, deadline(pour), &reply, note);
    if (e == ERR_NONE && reply->type == REDIS_REPLY_ERROR) {
        e = note_set(note, ERR_SHARD_REFUSED, "redis %s: %s: %.150s", s->where, words[0],
                     reply->str);
    }
    freeReplyObject(reply);
    return e;
}

/* ---- connection ------------------------------------------------------------------------------ */

/* "password" or "user password", on the first line of the file. */
static enum err log_in(struct redis_sink *s, struct cdc_pour *pour, struct note *note)
{
    char line[SECRET_BYTES];
    FILE *f = fopen(s->secret_path, "re");
    if (f == NULL) {
        return note_set(note, ERR_BAD_SETTING, "cannot open %s: %m", s->secret_path);
    }
    line[0] = 0;
    int has = fgets(line, sizeof(line), f) != NULL;
    (void)fclose(f);
    line[strcspn(line, "\r\n")] = 0;
    if (!has || line[0] == 0) {
        return note_set(note, ERR_BAD_SETTING, "%s is empty", s->secret_path);
    }
    char *blank = strchr(line, ' ');
    const char *words[3] = {"AUTH", line, blank == NULL ? NULL : blank + 1};
    if (blank != NULL) {
        *blank = 0;
    }
    enum err e = command(s, pour, blank == NULL ? 2 : 3, words, note);
    explicit_bzero(line, sizeof(line));
    return e;
}

static enum err open_conn(struct redis_sink *s, struct cdc_pour *pour, struct note *note)
{
    struct cdc_redis_place place;
    enum err e = s->conn != NULL ? ERR_NONE : cdc_redis_parse(s->where, &place, note);
    if (e || s->conn != NULL) {
        return e;
    }
    s->conn = place.is_unix ? redisConnectUnixNonBlock(place.host)
                            : redisConnectNonBlock(place.host, place.port);
    check(s->conn != NULL);
    if (s->conn->err != 0) {
        return lost(s, note);
    }
    if (s->secret_path != NULL) {
        e = log_in(s, pour, note);
    }
    if (e == ERR_NONE && place.database > 0) {
        char number[16];
        const char *words[2] = {"SELECT", number};
        (void)snprintf(number, sizeof(number), "%d", place.database);
        e = command(s, pour, 2, words, note);
    }
    return e;
}

/* ---- batches --------------------------------------------------------------------------------- */

static enum err redis_event(void *self, const struct cdc_event *event, struct note *note)
{
    struct redis_sink *s = self;
    (void)note;
    if (s->count == s->cap) {
        s->cap = s->cap == 0 ? 64 : s->cap * 2;
        s->entries = mem_grow(s->entries, s->cap * sizeof(s->entries[0]));
    }
    struct entry *n = &s->entries[s->count++];
    *n =
        (struct entry){.place = {event->topic, event->partition, event->offset}, .key = s->texts.n};
    cdc_event_key(&s->texts, event);
    n->value = s->texts.n;
    cdc_event_value(&s->texts, event);
    n->end = s->texts.n;
    return ERR_NONE;
}

struct words {
    const char *p[16];
    size_t n[16];
    int count;
};

static void word(struct words *w, const void *p, size_t n)
{
    w->p[w->count] = p;
    w->n[w->count++] = n;
}

static void word_text(struct words *w, const char *text)
{
    word(w, text, strlen(text));
}

static void append_entry(struct redis_sink *s, const struct entry *n)
{
    char length[24], partition[8], offset[24];
    struct buf stream = {0};
    struct words w = {.count = 0};
    buf_text(&stream, s->prefix == NULL ? "" : s->prefix);
    buf_text(&stream, n->place.topic);
    (void)snprintf(partition, sizeof(partition), "%u", n->place.partition);
    (void)snprintf(offset, sizeof(offset), "%llu", (unsigned long long)n->place.offset);
    word_text(&w, "XADD");
    word(&w, stream.p, stream.n);
    if (s->length_max > 0) {
        (void)snprintf(length, sizeof(length), "%llu", (unsigned long long)s->length_max);
        word_text(&w, "MAXLEN");
        word_text(&w, "~");
        word_text(&w, length);
    }
    word_text(&w, "*");
    word_text(&w, "key");
    word(&w, s->texts.p + n->key, n->value - n->key);
    word_text(&w, "value");
    word(&w, s->texts.p + n->value, n->end - n->value);
    word_text(&w, "partition");
    word_text(&w, partition);
    word_text(&w, "offset");
    word_text(&w, offset);
    check(redisAppendCommandArgv(s->conn, w.count, w.p, w.n) == REDIS_OK);
    buf_free(&stream);
}

static enum err bury(struct redis_sink *s, const struct entry *n, const char *why,
                     struct cdc_pour *pour, struct note *note)
{
    struct buf object = {0};
    struct slice texts = buf_slice(&s->texts);
    cdc_outlet_object_of(&object, &n->place, (struct slice){texts.p + n->key, n->value - n->key},
                         (struct slice){texts.p + n->value, n->end - n->value});
    enum err e = cdc_dead_bury(pour->dead, buf_slice(&object), why, note);
    buf_free(&object);
    return e;
}

/* What EXEC did: an array with an answer for each entry. */
static enum err take_results(struct redis_sink *s, const redisReply *exec, const struct note *why,
                             struct cdc_pour *pour, struct note *note)
{
    if (exec->type != REDIS_REPLY_ARRAY || exec->elements != s->count) {
        return note_set(note, ERR_SHARD_REFUSED, "redis %s: %.150s", s->where,
                        why->text[0] != 0                 ? why->text
                        : exec->type == REDIS_REPLY_ERROR ? exec->str
                                                          : "EXEC did nothing");
    }
    enum err e = ERR_NONE;
    for (size_t i = 0; i < s->count && e == ERR_NONE; i++) {
        if (exec->element[i]->type == REDIS_REPLY_ERROR) {
            e = bury(s, &s->entries[i], exec->element[i]->str, pour, note);
        }
    }
    return e;
}

static enum err add_batch(struct redis_sink *s, struct cdc_pour *pour, struct note *note)
{
    struct note why = {.text = ""};
    enum err e = ERR_NONE;
    check(redisAppendCommand(s->conn, "MULTI") == REDIS_OK);
    for (size_t i = 0; i < s->count; i++) {
        append_entry(s, &s->entries[i]);
    }
    check(redisAppendCommand(s->conn, "EXEC") == REDIS_OK);
    int64_t until_us = deadline(pour);
    for (size_t i = 0; i < s->count + 2 && e == ERR_NONE; i++) {
        redisReply *reply = NULL;
        e = next_reply(s, pour, until_us, &reply, note);
        if (e == ERR_NONE && i == s->count + 1) {
            e = take_results(s, reply, &why, pour, note);
        } else if (e == ERR_NONE && reply->type == REDIS_REPLY_ERROR && why.text[0] == 0) {
            (void)note_set(&why, ERR_SHARD_REFUSED, "%.150s", reply->str);
        }
        freeReplyObject(reply);
    }
    return e;
}

static void redis_drop(struct redis_sink *s)
{
    s->texts.n = 0;
    s->count = 0;
}

static enum err redis_flush(void *self, struct cdc_pour *pour, struct note *note)
{
    struct redis_sink *s = self;
    enum err e = s->count == 0 ? ERR_NONE : open_conn(s, pour, note);
    if (e == ERR_NONE && s->count > 0) {
        e = add_batch(s, pour, note);
    }
    if (e == ERR_NONE) {
        redis_drop(s);
    }
    return e;
}

static void redis_forget(void *self)
{
    struct redis_sink *s = self;
    redis_drop(s);
    if (s->conn != NULL) {
        redisFree(s->conn);
    }
    s->conn = NULL;
}

static void redis_free(void *self)
{
    struct redis_sink *s = self;
    redis_forget(s);
    buf_free(&s->texts);
    mem_free(s->entries);
    mem_free(s->where);
    mem_free(s->secret_path);
    mem_free(s->prefix);
    mem_free(s);
}

const struct cdc_outlet_kind cdc_outlet_redis = {.name = "redis",
                                                 .event = redis_event,
                                                 .flush = redis_flush,
                                                 .forget = redis_forget,
                                                 .free = redis_free};

void *cdc_outlet_redis_make(const struct cdc_redis_options *options)
{
    struct redis_sink *s = mem_zero(sizeof(*s));
    s->where = mem_strdup(options->where);
    s->secret_path = mem_strdup(options->secret);
    s->prefix = mem_strdup(options->prefix);
    s->length_max = options->length_max;
    return s;
}
