/* Replication connections, passed through. The picture is in passage.h. */

#include "proxy/session/passage.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/check.h"
#include "base/mem.h"

static int is_one_of(struct slice value, const char *const *words)
{
    for (; *words != NULL; words++) {
        if (strlen(*words) == value.n && strncasecmp((const char *)value.p, *words, value.n) == 0) {
            return 1;
        }
    }
    return 0;
}

enum err passage_asked(struct session *s, struct slice value, struct note *note)
{
    static const char *const no[] = {"false", "off", "no", "0", "f", "n", NULL};
    static const char *const yes[] = {"true", "on", "yes", "1", "t", "y", NULL};
    int logical = slice_is(value, "database");
    if (is_one_of(value, no)) {
        return ERR_NONE;
    }
    if (!logical && !is_one_of(value, yes)) {
        enum err e = note_set(note, ERR_BAD_SETTING,
                              "invalid value for parameter \"replication\": \"" SLICE_FMT "\"",
                              SLICE_ARG(value));
        note_hint(note, "Valid values are: \"false\", 0, \"true\", 1, \"database\".");
        return e;
    }
    s->passage = mem_zero(sizeof(*s->passage));
    s->passage->kind = logical ? PASSAGE_LOGICAL : PASSAGE_PHYSICAL;
    return ERR_NONE;
}

/* What pgbraid says itself in the server's startup packet, where the last word on it counts: the
 * user that it is says who has proved to be whom. */
static int is_reserved(const char *name)
{
    static const char *const names[] = {"user", "database", "replication", "options"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcasecmp(name, names[i]) == 0) {
            return 1;
        }
    }
    return name[0] == '\0' || strncmp(name, "_pq_.", 5) == 0;
}

enum err passage_param(struct session *s, const char *name, struct slice value, struct note *note)
{
    struct passage *p = s->passage;
    if (is_reserved(name)) {
        return note_set(note, ERR_BAD_SETTING, "unrecognized configuration parameter \"%s\"", name);
    }
    char **ours = strcmp(name, "braid.shard") == 0      ? &p->shard
                  : strcmp(name, "braid.database") == 0 ? &p->database
                                                        : NULL;
    if (ours != NULL) {
        mem_free(*ours);
        *ours = mem_alloc(value.n + 1);
        (void)snprintf(*ours, value.n + 1, SLICE_FMT, SLICE_ARG(value));
        return ERR_NONE;
    }
    buf_text(&p->params, name);
    buf_u8(&p->params, 0);
    buf_add_slice(&p->params, value);
    buf_u8(&p->params, 0);
    return ERR_NONE;
}

const char *passage_database(const struct session *s, const struct world *world)
{
    const struct passage *p = s->passage;
    if (p == NULL || p->kind != PASSAGE_PHYSICAL) {
        return NULL;
    }
    if (p->database != NULL) {
        return p->database;
    }
    int other = strcmp(s->database, "replication") != 0;
    return other || world->conf->databases_count != 1 ? NULL : world->conf->databases[0].name;
}

/* ---- opening --------------------------------------------------------------------------------- */

static enum err choose_shard(const struct session *s, uint32_t *out, struct note *note)
{
    const struct map *map = s->db->map;
    const char *name = s->passage->shard;
    enum err e = ERR_NONE;
    for (uint32_t i = 0; i < map->shards_count; i++) {
        if ((name == NULL && map->shards_count == 1) ||
            (name != NULL && strcmp(name, map->shard_names[i]) == 0)) {
            *out = i;
            return ERR_NONE;
        }
    }
    if (name == NULL) {
        e = note_set(note, ERR_UNSUPPORTED,
                     "a replication connection is to one shard, and database \"%s\" has %zu",
                     s->database, (size_t)map->shards_count);
    } else {
        e = note_set(note, ERR_BAD_SETTING, "database \"%s\" has no shard \"%s\"", s->database,
                     name);
    }
    note_hint(note,
              "Name one of the shards, for example options='-c braid.shard=%s', or have "
              "cdc.enabled: on for one stream over all of them.",
              map->shard_names[0]);
    return e;
}

enum err passage_connect(struct session *s, struct note *note)
{
    uint32_t shard = 0;
    enum err e = choose_shard(s, &shard, note);
    if (!e) {
        s->passage->backend = pool_connect_own(pool_of(s, shard), s);
    }
    return e;
}

void passage_startup(const struct backend *b, struct buf *out)
{
    const struct passage *p = b->owner->passage;
    struct startup_param params[STARTUP_PARAMS_MAX + 3] = {
        {SLICE("user"), slice_of(b->pool->user)},
        {SLICE("replication"), p->kind == PASSAGE_LOGICAL ? SLICE("database") : SLICE("true")},
        {SLICE("database"), slice_of(b->pool->dbname)},
    };
    size_t count = 3;
    const char *at = (const char *)p->params.p;
    const char *end = at + p->params.n;
    while (at < end && count < sizeof(params) / sizeof(params[0])) {
        struct slice name = slice_of(at);
        struct slice value = slice_of(at + name.n + 1);
        params[count++] = (struct startup_param){name, value};
        at += name.n + value.n + 2;
    }
    front_put_startup(out, params, count);
}

void passage_ready(struct backend *b)
{
    struct session *s = b->owner;
    backend_set_state(b, BACKEND_HELD);
    b->session = s;
    b->dirty = 1; /* never another's */
    list_push_back(&s->held, &b->held);
    s->held_bits |= UINT64_C(1) << b->shard;
    session_wake(s); /* session_login_finish() goes on */
}

void passage_failed(struct backend *b, enum err e, const struct note *note)
{
    struct session *s = b->owner;
    struct note told = *note;
    s->passage->backend = NULL;
    b->owner = NULL;
    backend_log_lost(b, told.text);
    backend_close(b, NULL);
    session_fatal(s, e, &told);
}

void passage_free(struct session *s)
{
    struct passage *p = s->passage;
    if (p == NULL) {
        return;
    }
    if (p->backend != NULL && p->backend->state != BACKEND_HELD) {
        backend_close(p->backend, "its client is gone");
    }
    buf_free(&p->params);
    mem_free(p->shard);
    mem_free(p->database);
    mem_free(p);
    s->passage = NULL;
}

/* ---- bytes ----------------------------------------------------------------------------------- */

enum step passage_pump(struct session *s)
{
    struct backend *b = s->passage->backend;
    if (b == NULL || b->state != BACKEND_HELD) {
        return STEP_WAIT;
    }
    if (stream_full(b->stream)) { /* its STREAM_DRAINED wakes us */
        if (!s->client_paused) {
            s->client_paused = 1;
            stream_pause(s->client);
        }
        return STEP_WAIT;
    }
    if (s->client_paused) {
        s->client_paused = 0;
        stream_resume(s->client);
    }
    struct slice in = stream_in(s->client);
    if (in.n != 0) {
        stream_write(b->stream, in.p, in.n);
        stream_consume(s->client, in.n);
    }
    stream_need(s->client, 1);
    return STEP_WAIT;
}

void passage_data(struct backend *b)
{
    struct slice in = stream_in(b->stream);
    stream_write(b->session->client, in.p, in.n);
    stream_consume(b->stream, in.n);
}
