/*
 * Secrets that a server is asked for (auth.query), by a few threads of their own: they use libpq,
 * which blocks, and end when nobody asks any more.
 *
 *     login --> question (database, query, user) --> a thread asks --> kept for auth.query_cache_ms
 *                  ^ others who want the same wait here too
 *
 * One table under one lock. A question is answered for all who wait for it, by mail to their
 * workers; a failure is told to them and not kept.
 */

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/hmap.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "proxy/auth/auth.h"
#include "proxy/control/role.h"
#include "proxy/session/session.h"
#include "replication/replication.h"

enum {
    THREADS_MAX = 4,
    QUESTIONS_MAX = 4096, /* waiting; one more is refused */
    ANSWERS_MAX = 16384,  /* kept; the longest unused give way */
    THREAD_IDLE_S = 30,
    DOUBT_US = 1000 * 1000 /* an answer younger than this is believed */
};

struct waiter {
    struct waiter *next;
    size_t worker;
    uint64_t session_id;
};

enum question_state {
    QUESTION_WAITS,
    QUESTION_ASKED, /* by a thread, now */
    QUESTION_ANSWERED
};

struct question {
    struct hnode node;
    struct list line; /* WAITS: in `waiting`; ANSWERED: in `answered`, most recently used first */
    enum question_state state;
    char *dbname, *sql, *user;
    struct shared *shared;
    struct world *world; /* until it is answered */
    struct auth_place place;
    struct waiter *waiters;
    uint64_t generation; /* of the configuration; an older one's answer is not kept */
    char *secret;        /* ANSWERED; NULL: no such user */
    int64_t answered_us, expires_us;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t something = PTHREAD_COND_INITIALIZER; /* to ask, or to stop */
static pthread_cond_t thread_gone = PTHREAD_COND_INITIALIZER;
static struct hmap questions;
static struct list waiting, answered;
static size_t waiting_count, answered_count, threads_count, threads_idle;
static uint64_t generation;
static int ready, stopping;
static struct pg_stop stop;

/* ---- places ---------------------------------------------------------------------------------- */

int auth_place_of(const struct world *world, const struct world_db *db, struct auth_place *out)
{
    const struct conf *conf = world->conf;
    const struct conf_database_auth *own = db == NULL ? NULL : &db->conf->auth;
    const char *dbname =
        own != NULL && own->query_dbname != NULL ? own->query_dbname : conf->auth_query_dbname;
    out->user = own != NULL && own->query_user != NULL ? own->query_user : conf->auth_query_user;
    out->sql = own != NULL && own->query != NULL ? own->query : conf->auth_query;
    out->db = dbname == NULL ? db : world_find_db(world, slice_of(dbname));
    return out->user != NULL && out->db != NULL;
}

/* ---- questions ------------------------------------------------------------------------------- */

static void wipe_secret(char *secret)
{
    if (secret != NULL) {
        explicit_bzero(secret, strlen(secret));
        mem_free(secret);
    }
}

void auth_answer_free(struct auth_answer *answer)
{
    wipe_secret(answer->secret);
    answer->secret = NULL;
}

static uint64_t hash_question(const struct auth_place *place, const char *user)
{
    uint64_t h = hash_bytes(user, strlen(user), hash_process_seed());
    h = hash_bytes(place->sql, strlen(place->sql), h);
    return hash_bytes(place->db->conf->name, strlen(place->db->conf->name), h);
}

static struct question *find(const struct auth_place *place, const char *user)
{
    struct hnode *n = hmap_find(&questions, hash_question(place, user));
    for (; n != NULL; n = hmap_more(n)) {
        struct question *q = container_of(n, struct question, node);
        if (strcmp(q->user, user) == 0 && strcmp(q->dbname, place->db->conf->name) == 0 &&
            strcmp(q->sql, place->sql) == 0) {
            return q;
        }
    }
    return NULL;
}

static void drop(struct question *q)
{
    check(q->state != QUESTION_ASKED && q->waiters == NULL && q->world == NULL);
    answered_count -= q->state == QUESTION_ANSWERED;
    list_remove(&q->line);
    hmap_remove(&questions, &q->node);
    wipe_secret(q->secret);
    mem_free(q->dbname);
    mem_free(q->sql);
    mem_free(q->user);
    mem_free(q);
}

static struct question *add(const struct auth_place *place, const char *user)
{
    struct question *q = mem_zero(sizeof(*q));
    q->dbname = mem_strdup(place->db->conf->name);
    q->sql = mem_strdup(place->sql);
    q->user = mem_strdup(user);
    list_init(&q->line);
    hmap_add(&questions, &q->node, hash_question(place, user));
    return q;
}

static void add_waiter(struct question *q, const struct auth_asker *asker)
{
    struct waiter *w = mem_zero(sizeof(*w));
    w->worker = asker->worker;
    w->session_id = asker->session_id;
    w->next = q->waiters;
    q->waiters = w;
}

/* ---- answers --------------------------------------------------------------------------------- */

struct delivery {
    uint64_t session_id;
    struct auth_answer answer;
};

/* On the worker's thread. */
static void deliver(struct worker *w, void *arg)
{
    struct delivery *d = arg;
    struct session *s = worker_session(w, d->session_id);
    if (s != NULL) {
        session_auth_answered(s, &d->answer);
    }
    auth_answer_free(&d->answer);
    mem_free(d);
}

static void tell(const struct question *q, struct waiter *waiters, const struct auth_answer *answer)
{
    while (waiters != NULL) {
        struct waiter *w = waiters;
        waiters = w->next;
        struct delivery *d = mem_zero(sizeof(*d));
        d->session_id = w->session_id;
        d->answer = *answer;
        d->answer.secret = answer->secret == NULL ? NULL : mem_strdup(answer->secret);
        worker_visit(q->shared->workers[w->worker], deliver, d);
        mem_free(w);
    }
}

/* Under the lock. Keeps the answer, or drops the question. */
static void settle(struct question *q, struct auth_answer *answer)
{
    int64_t keep_us = q->world->conf->auth_query_cache_ms * 1000;
    struct waiter *waiters = q->waiters;
    q->waiters = NULL;
    tell(q, waiters, answer);
    world_unref(q->world);
    q->world = NULL;
    q->state = QUESTION_ANSWERED;
    q->answered_us = clock_now_us();
    q->expires_us = q->answered_us + keep_us;
    q->secret = answer->secret;
    answer->secret = NULL;
    answered_count++;
    list_push_front(&answered, &q->line);
    if (answer->err || keep_us == 0 || q->generation != generation) {
        drop(q);
    } else if (answered_count > ANSWERS_MAX) {
        drop(container_of(answered.prev, struct question, line));
    }
}

/* ---- the threads ----------------------------------------------------------------------------- */

static void target_of(const struct question *q, struct pg_target *out)
{
    const struct server_state *s = role_server(q->place.db, 0); /* the home shard's primary */
    *out = (struct pg_target){.host = s->host,
                              .addrs = s->addrs,
                              .addrs_count = s->addrs_count,
                              .port = s->port,
                              .dbname = q->place.db->conf->dbname};
    pg_target_login_as(out, q->world->conf, q->place.user);
    out->timeout_ms = (int)q->world->conf->auth_query_timeout_ms;
}

static void ask_server(struct question *q, struct secret_source *source, struct auth_answer *out)
{
    struct pg_target target;
    target_of(q, &target);
    *out = (struct auth_answer){0};
    const struct secret_question question = {.sql = q->sql, .user = q->user, .stop = &stop};
    out->err = secret_ask(source, &target, &question, &out->secret, &out->note);
    if (!out->err && out->secret != NULL && strlen(out->secret) > AUTH_SECRET_BYTES_MAX) {
        auth_answer_free(out);
        out->err = note_set(&out->note, ERR_SHARD_REFUSED, "the secret is longer than %d bytes",
                            AUTH_SECRET_BYTES_MAX);
    }
    if (out->err) {
        log_event(LOG_AUTH_QUERY_FAILED, "database=%s host=%s as=%s user=%s error=\"%s\"",
                  q->dbname, target.host, target.user, q->user, out->note.text);
    }
}

/* Under the lock. 0: nothing came for so long that the thread may end. */
static int wait_for_question(void)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += THREAD_IDLE_S;
    threads_idle++;
    int failed = 0;
    while (list_empty(&waiting) && !stopping && failed != ETIMEDOUT) {
        failed = pthread_cond_timedwait(&something, &lock, &until);
    }
    threads_idle--;
    return !list_empty(&waiting) && !stopping;
}

/* Under the lock: a server that does not answer one question is not waited for by the next ones. */
static void settle_others(const char *dbname, const struct auth_answer *answer)
{
    list_each_safe (node, &waiting) {
        struct question *q = container_of(node, struct question, line);
        if (strcmp(q->dbname, dbname) == 0) {
            struct auth_answer same = *answer;
            list_remove(&q->line);
            waiting_count--;
            settle(q, &same);
        }
    }
}

/* Under the lock: questions, as long as they come. */
static void answer_questions(struct secret_source *source)
{
    while (wait_for_question()) {
        struct question *q = container_of(list_pop(&waiting), struct question, line);
        struct auth_answer answer;
        waiting_count--;
        q->state = QUESTION_ASKED;
        (void)pthread_mutex_unlock(&lock);
        ask_server(q, source, &answer);
        (void)pthread_mutex_lock(&lock);
        if (answer.err == ERR_SHARD_DOWN) {
            settle_others(q->dbname, &answer);
        }
        settle(q, &answer);
    }
}

static void *run(void *arg)
{
    struct secret_source source = {0};
    (void)arg;
    (void)pthread_mutex_lock(&lock);
    do {
        answer_questions(&source);
        (void)pthread_mutex_unlock(&lock);
        secret_source_close(&source);
        (void)pthread_mutex_lock(&lock);
    } while (!stopping && !list_empty(&waiting)); /* one came while we closed */
    threads_count--;
    (void)pthread_cond_broadcast(&thread_gone);
    (void)pthread_mutex_unlock(&lock);
    return NULL;
}

/* Under the lock. */
static void wake_thread(void)
{
    pthread_t thread;
    if (threads_idle < waiting_count && threads_count < THREADS_MAX) {
        pthread_attr_t attr;
        check(pthread_attr_init(&attr) == 0);
        check(pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED) == 0);
        if (pthread_create(&thread, &attr, run, NULL) == 0) {
            threads_count++;
        }
        (void)pthread_attr_destroy(&attr);
    }
    (void)pthread_cond_signal(&something);
}

/* ---- asking ---------------------------------------------------------------------------------- */

/* Under the lock; once per process. */
static enum err make_ready(struct note *note)
{
    if (stopping) {
        return note_set(note, ERR_SHUTDOWN, "pgbraid is shutting down");
    }
    if (ready) {
        return ERR_NONE;
    }
    list_init(&waiting);
    list_init(&answered);
    enum err e = pg_stop_init(&stop, note);
    ready = e == ERR_NONE;
    return e;
}

static int is_good(const struct question *q)
{
    return q->state == QUESTION_ANSWERED && clock_now_us() < q->expires_us;
}

/* Under the lock: a question that nobody has asked yet, or whose answer is old. */
static enum err begin(struct question *q, const struct auth_asker *asker,
                      const struct auth_place *place, struct note *note)
{
    if (waiting_count == QUESTIONS_MAX) {
        if (q->state != QUESTION_ANSWERED) {
            drop(q);
        }
        return note_set(note, ERR_TOO_MANY, "too many logins wait for auth_query");
    }
    answered_count -= q->state == QUESTION_ANSWERED;
    list_remove(&q->line);
    wipe_secret(q->secret);
    q->secret = NULL;
    q->state = QUESTION_WAITS;
    q->shared = asker->shared;
    q->world = world_ref(asker->world);
    q->place = *place;
    q->generation = generation;
    list_push_back(&waiting, &q->line);
    waiting_count++;
    wake_thread();
    return ERR_NONE;
}

enum err auth_query_ask(const struct auth_asker *asker, const struct auth_place *place,
                        const char *user, struct auth_answer *out, struct note *note)
{
    (void)pthread_mutex_lock(&lock);
    enum err e = make_ready(note);
    struct question *q = e ? NULL : find(place, user);
    if (q != NULL && is_good(q)) {
        *out = (struct auth_answer){.secret = q->secret == NULL ? NULL : mem_strdup(q->secret)};
        list_remove(&q->line);
        list_push_front(&answered, &q->line);
    } else if (!e) {
        int fresh = q == NULL || q->state == QUESTION_ANSWERED;
        q = q == NULL ? add(place, user) : q;
        e = fresh ? begin(q, asker, place, note) : ERR_NONE;
        if (!e) {
            add_waiter(q, asker);
            e = ERR_AGAIN;
        }
    }
    (void)pthread_mutex_unlock(&lock);
    return e;
}

void auth_query_doubt(const struct auth_place *place, const char *user)
{
    (void)pthread_mutex_lock(&lock);
    struct question *q = ready ? find(place, user) : NULL;
    if (q != NULL && q->state == QUESTION_ANSWERED && clock_now_us() - q->answered_us > DOUBT_US) {
        drop(q);
    }
    (void)pthread_mutex_unlock(&lock);
}

void auth_query_drop_all(void)
{
    (void)pthread_mutex_lock(&lock);
    generation++;
    while (ready && !list_empty(&answered)) {
        drop(container_of(list_first(&answered), struct question, line));
    }
    (void)pthread_mutex_unlock(&lock);
}

/* ---- the end --------------------------------------------------------------------------------- */

void auth_query_stop(void)
{
    (void)pthread_mutex_lock(&lock);
    stopping = 1;
    if (ready) {
        pg_stop_set(&stop);
        (void)pthread_cond_broadcast(&something);
        while (threads_count > 0) {
            (void)pthread_cond_wait(&thread_gone, &lock);
        }
        while (!list_empty(&waiting)) {
            struct question *q = container_of(list_pop(&waiting), struct question, line);
            struct auth_answer answer = {.err = ERR_SHUTDOWN};
            (void)note_set(&answer.note, ERR_SHUTDOWN, "pgbraid is shutting down");
            waiting_count--;
            settle(q, &answer);
        }
        while (!list_empty(&answered)) {
            drop(container_of(list_first(&answered), struct question, line));
        }
        hmap_free(&questions);
        pg_stop_free(&stop);
        ready = 0;
    }
    (void)pthread_mutex_unlock(&lock);
}
