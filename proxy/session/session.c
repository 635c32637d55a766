/* Life of a session, and what every kind of statement needs. The picture is in session.h. */

#include "proxy/session/session.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "proxy/cdc/feed.h"
#include "proxy/exec/drawn.h"
#include "proxy/exec/exec.h"
#include "proxy/exec/moment.h"
#include "proxy/exec/op.h"
#include "proxy/exec/sequence.h"
#include "proxy/exec/still.h"
#include "proxy/exec/tx.h"
#include "proxy/session/passage.h"
#include "proxy/session/session_role.h"
#include "proxy/session/victim.h"
#include "proxy/session/watch.h"
#include "proxy/stats/stats_run.h"

enum {
    MESSAGES_PER_TURN = 64, /* of one client, so that a long pipeline does not starve others */
    LINGER_MS = 2000
};

/* ---- small helpers --------------------------------------------------------------------------- */

struct buf *session_out(struct session *s)
{
    return stream_append(s->client);
}

uint8_t session_status(const struct session *s)
{
    if (s->tx.kind != TX_KIND_EXPLICIT) {
        return 'I';
    }
    return s->tx.failed ? 'E' : 'T';
}

int session_quiet(const struct session *s)
{
    list_each (node, &s->held) {
        if (!backend_quiet(container_of(node, struct backend, held))) {
            return 0;
        }
    }
    return 1;
}

enum step session_wait_quiet(struct session *s)
{
    s->want_quiet = 1;
    list_each (node, &s->held) {
        struct backend *b = container_of(node, struct backend, held);
        if (!backend_quiet(b) && b->unsynced) {
            front_put_flush(stream_out(b->stream));
            stream_touch(b->stream);
        }
    }
    return STEP_WAIT;
}

struct backend *session_backend(const struct session *s, uint32_t shard)
{
    list_each (node, &s->held) {
        struct backend *b = container_of(node, struct backend, held);
        if (b->shard == shard) {
            return b;
        }
    }
    return NULL;
}

const char *session_shard_name(const struct session *s, uint32_t shard)
{
    const struct map *map = s->db->map;
    return map->shard_names[shard < map->shards_count ? shard : shard - map->shards_count];
}

const char *session_server_user(const struct session *s)
{
    const char *forced = s->db == NULL ? NULL : s->db->conf->auth.user;
    return forced == NULL ? s->user : forced;
}

enum err session_enter(struct session *s, struct note *note)
{
    struct world *newest = s->worker->world;
    if (s->world == newest || s->tx.kind != TX_KIND_NONE) {
        return ERR_NONE;
    }
    const struct world_db *db = world_find_db(newest, slice_of(s->database));
    if (db == NULL) {
        return note_set(note, ERR_NO_DATABASE, "database \"%s\" is no longer configured",
                        s->database);
    }
    world_unref(s->world);
    s->world = world_ref(newest);
    s->db = db;
    s->sharded = db->map->shards_count > 1;
    return ERR_NONE;
}

/* The search_path in force, as the planner reads it; NULL: the default of user and database. */
static const char *search_path(struct session *s)
{
    const char *local = s->tx.kind == TX_KIND_NONE ? NULL : varset_get(s->tx.locals, "search_path");
    const char *sql = local != NULL ? local : varset_get(s->vars, "search_path");
    if (sql == NULL) {
        return NULL;
    }
    s->search_path.n = 0;
    var_list_to_setting(sql, &s->search_path);
    buf_u8(&s->search_path, 0);
    return (const char *)s->search_path.p;
}

static const char *setting_of(struct session *s, const char *name)
{
    const char *local = s->tx.kind == TX_KIND_NONE ? NULL : varset_get(s->tx.locals, name);
    return local != NULL ? local : varset_get(s->vars, name);
}

/* Who the session acts as, for "$user" in search_path; NULL: as the user it came as. */
static const char *role_of(struct session *s)
{
    static const char *const names[] = {"role", "session_authorization"};
    for (size_t i = 0; i < 2; i++) {
        const char *sql = setting_of(s, names[i]);
        if (sql == NULL) {
            continue;
        }
        s->acting.n = 0;
        if (sql[0] == '\'') {
            for (sql++; *sql != 0 && (*sql != '\'' || sql[1] == '\''); sql++) {
                sql += *sql == '\'';
                buf_u8(&s->acting, (uint8_t)*sql);
            }
        } else {
            buf_text(&s->acting, sql);
        }
        buf_u8(&s->acting, 0);
        if (strcasecmp((const char *)s->acting.p, "none") != 0 &&
            strcasecmp((const char *)s->acting.p, "default") != 0) {
            return (const char *)s->acting.p;
        }
    }
    return NULL;
}

void session_plan_env(struct session *s, struct plan_env *env)
{
    *env = (struct plan_env){
        .map = s->db->map,
        .catalog = s->db->catalog,
        .user = session_server_user(s),
        .role = s->sharded || s->db->replicated ? role_of(s) : NULL,
        .search_path = s->sharded || s->db->replicated ? search_path(s) : NULL,
        .replicas = s->db->replicated != 0,
        .changed_tables = (const char *const *)s->tx.changed,
        .changed_tables_count = s->tx.changed_count,
        .workspace = s->sharded ? 7U : 0U,
    };
    const char *strings = varset_get(s->vars, "standard_conforming_strings");
    env->plain = session_is_plain(s) != 0;
    env->standard_strings_off =
        strings != NULL && strcasecmp(strings, "on") != 0 && strcasecmp(strings, "'on'") != 0;
}

void session_count(struct session *s, struct plan *plan, uint64_t shards, struct backend *b)
{
    stats_statement(s, plan, shards, b);
    if (b != NULL && plan->draws != DRAWS_NONE && s->sharded) {
        drawn_statement(s, plan, b);
    }
    struct metrics *m = &s->worker->metrics;
    metric_add(m, METRIC_queries, 1);
    metric_add(m, plan->reads_only ? METRIC_queries_reads : METRIC_queries_writes, 1);
    metric_add(
        m, (shards & (shards - 1)) == 0 ? METRIC_queries_single_shard : METRIC_queries_multi_shard,
        1);
}

/* ---- letting backends go --------------------------------------------------------------------- */

static void clean_by(struct backend *b, enum clean how)
{
    b->dirty |= ((b->pinned | b->suspect) & PIN_LOAD) != 0; /* nothing unloads a library */
    b->clean = (uint8_t)how;
    b->stained |= (b->suspect & PIN_SET) != 0;
    b->pinned = 0;
    b->suspect = 0;
}

void session_let_go(struct session *s, struct backend *b)
{
    role_let_go(s, b);
    s->held_bits &= ~(UINT64_C(1) << b->shard);
    if (s->copy_in == b) {
        s->copy_in = NULL;
    }
    relay_go_on(b);
    b->began = 0;
    b->wrote = 0;
    b->drawn_old = b->drawn_by != 0;
    b->no_prepare = NULL;
    if (s->draws_unseen) {
        drawn_settle(s);
    }
    if (!backend_quiet(b) || b->unsynced) {
        b->dirty = 1; /* it may ignore everything up to a Sync that never comes */
    } else if (b->in_session_mode || s->in_session_mode || s->terms->reset_always) {
        clean_by(b, CLEAN_RESET);
    } else if (b->pinned != 0 || b->suspect != 0) {
        clean_by(b, CLEAN_DISCARD);
    } else if (b->tx_status != 'I') {
        b->clean = CLEAN_ROLLBACK;
    }
    pool_put(b);
}

static int keeps_backends(const struct session *s)
{
    return s->tx.kind != TX_KIND_NONE || s->op != NULL || s->batch != NULL ||
           s->pending_parse != NULL || s->in_session_mode;
}

void session_release(struct session *s)
{
    if (s->op == NULL && !s->midway) {
        space_let_go(s); /* of a statement that failed while it waited for others */
    }
    if (list_empty(&s->held) || keeps_backends(s)) {
        return;
    }
    list_each_safe (node, &s->held) {
        struct backend *b = container_of(node, struct backend, held);
        if (backend_quiet(b) && !b->unsynced && b->pinned == 0 && b->suspect == 0) {
            session_let_go(s, b);
        }
    }
}

/* ---- beginning and end ----------------------------------------------------------------------- */

static void on_event(struct stream *stream, enum stream_event event, void *arg)
{
    struct session *s = arg;
    (void)stream;
    switch (event) {
    case STREAM_DATA: session_pump(s); break;
    case STREAM_DRAINED:
        list_each (node, &s->held) {
            relay_go_on(container_of(node, struct backend, held));
        }
        if (s->op != NULL && s->op->on_drained != NULL) {
            s->op->on_drained(s->op);
        }
        session_pump(s);
        break;
    case STREAM_SECURE: session_secured(s); break;
    case STREAM_CLOSED: {
        struct note note;
        (void)note_set(&note, ERR_NONE, "client closed the connection");
        (void)stream_error(s->client, &note);
        session_close(s, note.text);
        break;
    }
    }
}

static void on_timeout(void *arg)
{
    struct session *s = arg;
    if (s->state == SESSION_READY) {
        if (s->moment.state != MOMENT_NONE) {
            moment_timeout(s);
        } else if (s->op != NULL && (s->op->no_cancel || s->op->votes_out)) {
            tx_timeout(s);
        }
    } else {
        struct note note;
        if (s->wants_header) { /* whoever that is, it speaks another language */
            session_close(s, "no PROXY protocol header came in time");
            return;
        }
        enum err e = note_set(&note, ERR_AUTH_REFUSED, "canceling authentication due to timeout");
        note_hint(&note, "Logging in may take auth.login_timeout_ms (%lld).",
                  (long long)s->worker->world->conf->login_timeout_ms);
        metric_add(&s->worker->metrics, METRIC_auth_timeouts, 1);
        session_fatal(s, e, &note);
    }
}

void session_attach(struct session *s)
{
    struct worker *w = s->worker;
    list_push_back(&w->sessions, &s->node);
    hmap_add(&w->sessions_by_id, &s->by_id, hash_u64(s->id, 0));
    timer_init(&s->timer, w->loop, on_timeout, s);
    timer_init(&s->watch, w->loop, watch_on_timer, s);
    stream_attach(s->client, w->loop, on_event, s);
}

struct session *session_new(struct worker *w, int fd, const struct entrance *entrance)
{
    struct session *s = mem_zero(sizeof(*s));
    s->worker = w;
    s->id = ((uint64_t)w->index << 40) + ++w->next_session;
    s->pid = (uint32_t)w->index << 23 | (w->next_session & 0x7FFFFF);
    s->connect_wall_us = clock_wall_us();
    s->vars = varset_ref(w->vars.empty);
    list_init(&s->held);
    list_init(&s->portals);
    list_init(&s->pool_node);
    list_init(&s->role.node);
    list_push_back(&w->sessions, &s->node);
    hmap_add(&w->sessions_by_id, &s->by_id, hash_u64(s->id, 0));
    timer_init(&s->timer, w->loop, on_timeout, s);
    timer_set(&s->timer, w->world->conf->login_timeout_ms * 1000);
    timer_init(&s->watch, w->loop, watch_on_timer, s);
    s->client = stream_new(w->loop, fd, on_event, s);
    session_is_stranger(s, 1);
    session_enter_by(s, entrance);
    return s;
}

void session_fatal(struct session *s, enum err e, const struct note *note)
{
    stats_failed(s, slice_of(err_sqlstate(e)), 1);
    back_put_failure(session_out(s), "FATAL", e, note);
    char why[256];
    (void)snprintf(why, sizeof(why), "%.250s", note->text);
    session_log_error(s, e, why);
    session_close(s, why);
}

void session_fatal_with(struct session *s, struct slice error_body)
{
    struct back_error err;
    struct note note;
    char why[256];
    enum err e = back_read_error(error_body, &err, &note);
    if (e) {
        session_fatal(s, e, &note);
        return;
    }
    err.severity = SLICE("FATAL");
    err.severity_raw = SLICE("FATAL");
    back_put_error(session_out(s), &err);
    (void)snprintf(why, sizeof(why), SLICE_FMT, SLICE_ARG(err.message));
    session_close(s, why);
}

/* Backends in the middle of something are of no use to others: stop what runs, then close. */
static void drop_backends(struct session *s)
{
    list_each_safe (node, &s->held) {
        struct backend *b = container_of(node, struct backend, held);
        if (!backend_quiet(b)) {
            backend_cancel(b);
        }
        if (b->began && s->tx.kind != TX_KIND_NONE) { /* what ROLLBACK goes back to */
            varset_unref(&s->worker->vars, b->vars);
            b->vars = varset_ref(s->tx.vars);
        }
        session_let_go(s, b);
    }
}

static void free_parts(struct session *s)
{
    struct worker *w = s->worker;
    session_drop_portals(s);
    session_drop_pstmts(s);
    session_tx_end(s, 0);
    role_free(s);
    varset_unref(&w->vars, s->vars);
    if (s->batch != NULL) {
        plan_batch_unref(s->batch);
    }
    varset_unref(&w->vars, s->startup_vars);
    buf_free(&s->commit.error);
    session_auth_free(s);
    arena_free(&s->arena);
    buf_free(&s->search_path);
    buf_free(&s->acting);
    exec_forget_doubted(s);
    buf_free(&s->touched);
    drawn_free(s);
    sequence_session_free(s);
    mem_free(s->wait_note);
    buf_free(&s->notifications);
    buf_free(&s->wait_error);
    buf_free(&s->again_bind);
    victim_forget(s);
    buf_free(&s->tx.begin);
    buf_free(&s->tx.modes);
    buf_free(&s->tx.after);
    buf_free(&s->tx.copies);
    buf_free(&s->tx.transit);
    mem_free(s->tx.savepoints);
    mem_free(s->tx.changed);
    tx_catalog_drop(s);
    mem_free(s->user);
    mem_free(s->database);
    mem_free(s->application_name);
    world_unref(s->world);
    if (s->entered) {
        terms_leave(s->terms);
    }
    terms_put(w, s->terms);
}

void session_free(struct session *s)
{
    struct worker *w = s->worker;
    feed_gone(s);
    if (s->still) {
        still_end(s);
    }
    free_parts(s);
    mem_free(s);
    worker_session_gone(w);
}

/* Off the worker's lists; the client's socket is gone already. */
static void take_out(struct session *s)
{
    struct worker *w = s->worker;
    loop_defer_cancel(&s->wake);
    timer_free(&s->timer);
    timer_free(&s->watch);
    list_remove(&s->node);
    hmap_remove(&w->sessions_by_id, &s->by_id);
    s->state = SESSION_CLOSING;
    if (!s->pumping) {
        session_free(s);
    }
}

int session_give(struct session *s)
{
    check(!s->closing && !s->pumping && list_empty(&s->held));
    s->closing = 1;
    stats_client_bytes(s);
    int fd = stream_give(s->client);
    s->client = NULL;
    take_out(s);
    return fd;
}

void session_close(struct session *s, const char *why)
{
    if (s->closing) {
        return;
    }
    if (s->close_after_op && s->op != NULL) {
        return;
    }
    if (tx_must_end(s)) {
        s->close_after_op = 1; /* op_end() calls again */
        return;
    }
    s->closing = 1;
    struct worker *w = s->worker;
    session_is_stranger(s, 0);
    session_log_closed(s, why);
    if (s->state != SESSION_READY && s->state != SESSION_CLOSING) {
        metric_add(&w->metrics, METRIC_client_login_failures, 1);
    }
    pool_stop_waiting(s);
    if (s->op != NULL && s->admin) {
        control_admin_gave_up(w->shared->control, w->index, s->id);
    }
    if (s->op != NULL) {
        op_abandon(s->op);
    }
    rows_forget(s);
    passage_free(s);
    drop_backends(s);
    stats_client_bytes(s);
    if (s->goodbye && stream_queued(s->client) == 0) {
        stream_free(s->client); /* it reads no more: nothing to wait for */
    } else {
        stream_finish(s->client, LINGER_MS);
    }
    take_out(s);
}
