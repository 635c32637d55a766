/* Life of a session, its pump, and what every kind of statement needs. The picture is in
 * session.h. */

#include "proxy/session.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "proxy/exec.h"
#include "proxy/op.h"
#include "proxy/passage.h"
#include "proxy/session_role.h"
#include "proxy/stats_run.h"
#include "proxy/tx.h"
#include "proxy/watch.h"

enum {
    MESSAGES_PER_TURN = 64,    /* of one client, so that a long pipeline does not starve others */
    LOGIN_MESSAGE_MAX = 16384, /* a password or a token; whoever sends it is still a stranger */
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

void session_plan_env(struct session *s, struct plan_env *env)
{
    *env = (struct plan_env){
        .map = s->db->map,
        .catalog = s->db->catalog,
        .user = session_server_user(s),
        .search_path = s->sharded || s->db->replicated ? search_path(s) : NULL,
        .replicas = s->db->replicated != 0,
        .changed_tables = (const char *const *)s->tx.changed,
        .changed_tables_count = s->tx.changed_count,
    };
    const char *strings = varset_get(s->vars, "standard_conforming_strings");
    env->plain = session_is_plain(s) != 0;
    env->standard_strings_off =
        strings != NULL && strcasecmp(strings, "on") != 0 && strcasecmp(strings, "'on'") != 0;
}

void session_count(struct session *s, struct plan *plan, uint64_t shards, struct backend *b)
{
    stats_statement(s, plan, shards, b);
    struct metrics *m = &s->worker->metrics;
    metric_add(m, METRIC_queries, 1);
    metric_add(m, plan->reads_only ? METRIC_queries_reads : METRIC_queries_writes, 1);
    metric_add(
        m, (shards & (shards - 1)) == 0 ? METRIC_queries_single_shard : METRIC_queries_multi_shard,
        1);
}

static void free_session(struct session *s);

/* ---- the pump -------------------------------------------------------------------------------- */

static enum step on_copy_message(struct session *s, uint8_t type, struct slice message,
                                 struct slice body)
{
    if (s->op != NULL) {
        return s->op->on_copy == NULL ? STEP_DONE : s->op->on_copy(s->op, type, body);
    }
    if (s->copy_in == NULL) {
        if (!session_quiet(s)) {
            return session_wait_quiet(s); /* sent ahead of the server's CopyInResponse */
        }
        return STEP_DONE; /* the COPY has failed meanwhile; PostgreSQL ignores these, too */
    }
    struct backend *b = s->copy_in;
    if (stream_full(b->stream)) {
        return STEP_WAIT;
    }
    stream_write(b->stream, message.p, message.n);
    if (type != 'd') {
        s->copy_in = NULL;
    }
    return STEP_DONE;
}

static enum step bad_message(struct session *s, uint8_t type)
{
    struct note note;
    enum err e = note_set(&note, ERR_PROTOCOL, "invalid frontend message type %u", type);
    session_fatal(s, e, &note);
    return STEP_CLOSE;
}

static enum step on_function_call(struct session *s, struct slice message)
{
    struct note note;
    enum err e = ERR_NONE;
    if (!session_quiet(s)) {
        return session_wait_quiet(s);
    }
    s->in_extended = 0;
    s->ready_owed = 1;
    if (s->sharded || s->admin) {
        e = note_set(&note, ERR_UNSUPPORTED,
                     "the fast-path function call protocol is not supported here");
        note_hint(&note, "Call the function with SELECT.");
        return session_fail(s, e, &note, 0);
    }
    enum step step = session_engage(s, 1, &e, &note);
    if (step != STEP_DONE) {
        return step == STEP_WAIT ? STEP_WAIT : session_fail(s, e, &note, 0);
    }
    struct backend *b = session_backend(s, 0);
    stream_write(b->stream, message.p, message.n);
    backend_expect(b, EXPECT_QUERY, TO_CLIENT);
    b->wrote = 1;
    s->ready_owed = 0;
    return STEP_DONE;
}

/* What is neither CopyData nor its end, while a COPY FROM STDIN waits for that. */
static enum step other_than_copy(struct session *s, uint8_t type)
{
    struct note note;
    enum err e = note_set(&note, ERR_PROTOCOL,
                          "unexpected message type 0x%02X during COPY from stdin", type);
    session_fatal(s, e, &note);
    return STEP_CLOSE;
}

static enum step dispatch(struct session *s, uint8_t type, struct slice message)
{
    struct slice body = frame_body(message, message.n);
    if (type == 'X') {
        session_close(s, "client said goodbye");
        return STEP_CLOSE;
    }
    if (s->state == SESSION_LOGIN) {
        return session_login_message(s, type, body);
    }
    if (type == 'd' || type == 'c' || type == 'f') {
        return on_copy_message(s, type, message, body);
    }
    if (s->copy_in != NULL || s->op != NULL) { /* as the server while it copies in */
        return type == 'S' || type == 'H' ? STEP_DONE : other_than_copy(s, type);
    }
    if (s->skip_until_sync && type != 'S') {
        return STEP_DONE;
    }
    if ((type == 'Q' || type == 'P' || type == 'B') && s->tx.kind == TX_KIND_NONE &&
        list_empty(&s->held) && atomic_load(&s->worker->shared->stopping)) {
        struct note note; /* nothing new begins; the drain itself comes with the next tick */
        enum err e =
            note_set(&note, ERR_SHUTDOWN, "terminating connection: pgbraid is shutting down");
        session_fatal(s, e, &note);
        return STEP_CLOSE;
    }
    if (type == 'Q' && s->worker->world->conf->disable_pqexec == CONF_ON && !s->admin) {
        struct note note;
        enum err e = note_set(&note, ERR_PROTOCOL, "simple queries are not allowed");
        note_hint(&note, "session.disable_pqexec is on: use the extended protocol.");
        session_fatal(s, e, &note);
        return STEP_CLOSE;
    }
    s->in_extended = type != 'Q';
    s->role.need = type == 'F' ? ROLE_NEED_PRIMARY : ROLE_NEED_ANY;
    stats_request(s);
    if (session_is_plain(s) && type != 0 && strchr("PBDEC", type) != NULL) {
        return session_plain(s, type, message, body);
    }
    switch (type) {
    case 'Q': return session_query(s, message, body);
    case 'P': return session_parse(s, body);
    case 'B': return session_bind(s, body);
    case 'D': return session_describe(s, body);
    case 'E': return session_execute(s, message, body);
    case 'C': return session_close_message(s, message, body);
    case 'S': return session_sync(s);
    case 'H': return session_flush(s);
    case 'F': return on_function_call(s, message);
    default: return bad_message(s, type);
    }
}

/* Rest of a long CopyData that is passed on in pieces. */
static enum step pass_copy_rest(struct session *s, struct slice in)
{
    struct backend *b = s->copy_in;
    size_t n = in.n < s->copy_left ? in.n : (size_t)s->copy_left;
    if (n == 0 || (b != NULL && stream_full(b->stream))) {
        return STEP_WAIT;
    }
    if (b != NULL) {
        stream_write(b->stream, in.p, n);
    }
    s->copy_left -= n;
    stream_consume(s->client, n);
    return STEP_DONE;
}

/* Take one message. STEP_WAIT: nothing to do now. */
static enum step pump_message(struct session *s)
{
    struct slice in = stream_in(s->client);
    uint8_t type = 0;
    size_t total = 0;
    s->needs_bytes = 0;
    if (s->copy_left != 0) {
        return pass_copy_rest(s, in);
    }
    int peek = frame_peek(in, &type, &total);
    size_t most =
        s->state == SESSION_READY ? (size_t)s->worker->world->conf->message_max : LOGIN_MESSAGE_MAX;
    if (peek < 0 || (peek > 0 && total > most)) {
        struct note note;
        enum err e = note_set(&note, ERR_PROTOCOL, "invalid message length in message '%c'",
                              type < ' ' || type > '~' ? '?' : type);
        note_hint(&note, "Messages may have up to limits.message_bytes (%zu).", most);
        session_fatal(s, e, &note);
        return STEP_CLOSE;
    }
    if (peek == 0) {
        stream_need(s->client, in.n == 0 ? 1 : FRAME_HEADER_BYTES);
        return STEP_WAIT;
    }
    if (total > in.n) {
        if (type == 'd' && s->copy_in != NULL && in.n >= 4096 && s->op == NULL &&
            !stream_full(s->copy_in->stream)) {
            stream_write(s->copy_in->stream, in.p, in.n);
            s->copy_left = total - in.n;
            stream_consume(s->client, in.n);
            return STEP_DONE;
        }
        stream_need(s->client, total);
        s->needs_bytes = 1;
        return STEP_WAIT;
    }
    if ((type == 'P' || type == 'B') && s->state == SESSION_READY && s->op == NULL &&
        s->copy_in == NULL) {
        size_t used = 0;
        enum step whole = session_unit(s, in, &used);
        if (used != 0 || whole == STEP_WAIT) {
            s->midway = whole == STEP_WAIT;
            stream_consume(s->client, used);
            return whole;
        }
    }
    enum step step = dispatch(s, type, slice_bytes(in.p, total));
    s->midway = step == STEP_WAIT;
    if (step == STEP_DONE) {
        stream_consume(s->client, total);
    }
    return step;
}

/* An operation takes CopyData only; anything else waits until it has ended. */
static enum step pump_copy_for_op(struct session *s)
{
    struct slice in = stream_in(s->client);
    uint8_t type = in.n == 0 ? 0 : in.p[0];
    if (s->op->on_copy == NULL || type == 0) {
        return type == 'X' ? pump_message(s) : STEP_WAIT;
    }
    if (s->worker->holding && session_held_back(s)) {
        return STEP_WAIT;
    }
    return pump_message(s);
}

static enum step pump_once(struct session *s)
{
    if (s->state == SESSION_STARTUP) {
        return session_startup(s);
    }
    if (s->op != NULL) {
        if (s->op->pending == 0 && s->op->then != NULL) {
            void (*then)(struct op * op) = s->op->then;
            s->op->then = NULL;
            then(s->op);
            return STEP_DONE;
        }
        return pump_copy_for_op(s);
    }
    if (s->wait_pool != NULL || s->wait_refresh) {
        return STEP_WAIT;
    }
    if (s->worker->suspended && !s->admin && !s->midway && s->state == SESSION_READY &&
        s->batch == NULL && s->copy_in == NULL) {
        return STEP_WAIT; /* worker_suspend() wakes us */
    }
    if (s->login_waits) {
        return s->worker->suspended && !s->admin ? STEP_WAIT : session_login_finish(s);
    }
    if (s->passage != NULL && s->state == SESSION_READY) {
        return passage_pump(s);
    }
    if (s->want_quiet) {
        if (!session_quiet(s)) {
            return STEP_WAIT;
        }
        s->want_quiet = 0;
    }
    if (s->guarded) {
        if (!session_quiet(s)) {
            return session_wait_quiet(s);
        }
        s->guarded = 0;
    }
    if (s->copy_in == NULL) {
        if (s->batch != NULL) {
            return session_batch_step(s);
        }
        if (!s->midway) {
            session_release(s);
            if (s->held_bits != 0 && s->tx.kind == TX_KIND_NONE && exec_check_state(s)) {
                return STEP_DONE;
            }
        }
    }
    return pump_message(s);
}

void session_pump(struct session *s)
{
    if (s->pumping) {
        return;
    }
    s->pumping = 1;
    enum step step = STEP_DONE;
    for (int i = 0; step == STEP_DONE && !s->closing; i++) {
        if (s->close_after_op && s->op == NULL) {
            session_close(s, "client closed the connection");
            break;
        }
        if (stream_full(s->client) && (s->op == NULL || !s->op->no_cancel)) {
            break; /* STREAM_DRAINED pumps again; a commit waits for no client */
        }
        if (i >= MESSAGES_PER_TURN) {
            session_wake(s);
            break;
        }
        step = pump_once(s);
    }
    s->pumping = 0;
    if (s->closing) {
        free_session(s); /* session_close() left that to us */
        return;
    }
    int waits = stream_in(s->client).n >= 65536 && step == STEP_WAIT && !s->needs_bytes;
    if (waits && !s->client_paused && (s->op != NULL || s->wait_pool != NULL || s->want_quiet)) {
        s->client_paused = 1;
        stream_pause(s->client);
    } else if (!waits && s->client_paused) {
        s->client_paused = 0;
        stream_resume(s->client);
    }
}

static void on_wake(void *arg)
{
    session_pump(arg);
}

void session_wake(struct session *s)
{
    loop_defer(s->worker->loop, &s->wake, on_wake, s);
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

/* ---- failures -------------------------------------------------------------------------------- */

void session_after_error(struct session *s)
{
    s->error_said = 1;
    if (s->tx.kind != TX_KIND_NONE) {
        s->tx.failed = 1;
        s->tx.untold = 0;
    }
    s->batch_failed = s->batch != NULL;
}

/* What runs already on servers in this pipeline must not be committed by the Sync to come. */
static void abort_pipelines(struct session *s)
{
    list_each (node, &s->held) {
        struct backend *b = container_of(node, struct backend, held);
        if (b->executed && !b->began && !b->skipping) {
            backend_execute(b, SLICE("ROLLBACK"));
        }
    }
}

static enum step after_failure(struct session *s, struct slice sqlstate, int ours)
{
    metric_add(&s->worker->metrics, METRIC_query_errors, 1);
    stats_failed(s, sqlstate, ours);
    stats_op_end(s, NULL, 1);
    session_after_error(s);
    s->wait_err = ERR_NONE; /* what it waited for as well is not the next one's failure */
    arena_reset(&s->arena);
    if (s->in_extended) {
        s->skip_until_sync = 1;
        abort_pipelines(s);
        return STEP_DONE;
    }
    if (s->tx.kind == TX_KIND_IMPLICIT && s->ready_owed) {
        return tx_abort_batch(s);
    }
    session_end_batch(s);
    return STEP_DONE;
}

enum step session_fail(struct session *s, enum err e, const struct note *note, int position)
{
    if (err_blame(e) != BLAME_CLIENT) {
        session_log_error(s, e, note->text);
    }
    struct back_error err = {
        .severity = SLICE("ERROR"),
        .severity_raw = SLICE("ERROR"),
        .code = slice_of(err_sqlstate(e)),
        .message = slice_of(note->text),
    };
    char at[16];
    if (note->hint[0] != '\0') {
        err.hint = slice_of(note->hint);
    }
    if (position > 0) {
        (void)snprintf(at, sizeof(at), "%d", position);
        err.position = slice_of(at);
    }
    if (e == ERR_UNSUPPORTED) {
        metric_add(&s->worker->metrics, METRIC_queries_refused, 1);
    }
    back_put_error(session_out(s), &err);
    return after_failure(s, err.code, 1);
}

enum step session_fail_with(struct session *s, struct slice error_body, const char *shard_name)
{
    struct back_error err;
    struct note note;
    enum err e = back_read_error(error_body, &err, &note);
    if (e) {
        return session_fail(s, e, &note, 0);
    }
    err.severity = SLICE("ERROR");
    err.severity_raw = SLICE("ERROR");
    if (s->timed_out && slice_is(err.code, "57014")) {
        (void)watch_words(s, &note);
        err.message = slice_of(note.text);
        err.hint = slice_of(note.hint);
    }
    if (shard_name != NULL) {
        int has = err.where.p != NULL;
        err.where = slice_of(
            arena_printf(&s->arena, SLICE_FMT "%sshard \"%s\"", has ? (int)err.where.n : 0,
                         has ? (const char *)err.where.p : "", has ? "\n" : "", shard_name));
    }
    back_put_error(session_out(s), &err);
    return after_failure(s, err.code, 0);
}

enum step session_complete(struct session *s, const char *tag)
{
    if (tag != NULL) {
        back_put_complete(session_out(s), tag);
    }
    stats_op_end(s, tag, 0);
    arena_reset(&s->arena);
    if (s->in_extended) {
        return STEP_DONE;
    }
    if (s->batch != NULL) {
        return STEP_DONE; /* session_batch_step() finds the end */
    }
    if (s->ready_owed) {
        session_end_batch(s);
    }
    return STEP_DONE;
}

void session_end_batch(struct session *s)
{
    if (s->batch != NULL) {
        plan_batch_unref(s->batch);
        s->batch = NULL;
    }
    if (s->ready_owed) {
        s->ready_owed = 0;
        back_put_ready(session_out(s), session_status(s));
        int64_t began_us = s->began_us;
        s->began_us = 0;
        stats_request_end(s, began_us);
        watch_ready(s);
    }
    session_release(s);
}

/* ---- backends come and go -------------------------------------------------------------------- */

void session_backend_granted(struct session *s)
{
    session_wake(s);
}

struct note *session_wait_note(struct session *s)
{
    s->wait_note = s->wait_note != NULL ? s->wait_note : mem_zero(sizeof(*s->wait_note));
    return s->wait_note;
}

void session_backend_failed(struct session *s, enum err e, const struct note *note)
{
    s->wait_err = e;
    *session_wait_note(s) = *note;
    session_wake(s);
}

static const struct expect *expected(const struct backend *b, uint32_t i)
{
    return &b->expects[(b->expect_first + i) & (b->expect_cap - 1)];
}

/* The end of a query or of a pipeline's segment, for the client. */
static int ends_for_client(const struct expect *e)
{
    return (e->kind == EXPECT_QUERY || e->kind == EXPECT_SYNC) && e->action <= TO_CLIENT_NO_READY;
}

/* Every query and every segment whose end has not come gets the error and its ReadyForQuery. */
static void answer_lost(struct session *s, struct backend *b, const struct back_error *err)
{
    int told = b->skipping && b->unit_retries != 2;
    uint32_t tail = b->expect_count; /* behind the last end */
    while (tail > 0 && !ends_for_client(expected(b, tail - 1))) {
        tail--;
    }
    for (uint32_t i = 0; i < b->expect_count; i++) {
        const struct expect *e = expected(b, i);
        if (e->kind == EXPECT_FAKE && i >= tail && !b->unsynced) {
            back_put_empty(session_out(s), e->fake); /* nothing of its segment was sent there */
            continue;
        }
        if (e->pstmt != 0) {
            pstmt_forget(s, e->pstmt);
        }
        if (!ends_for_client(e)) {
            continue;
        }
        if (!told) {
            back_put_error(session_out(s), err);
        }
        if (e->action == TO_CLIENT) {
            back_put_ready(session_out(s), session_status(s));
            stats_request_end(s, e->sent_us - e->before_us);
            watch_ready(s);
        }
        told = 0;
    }
    if (b->unsynced) {
        if (!told && !s->skip_until_sync) {
            back_put_error(session_out(s), err);
        }
        s->skip_until_sync = 1;
    }
}

/* A statement was running there: nobody knows whether a write of it happened. */
static void lost_in_relay(struct session *s, struct backend *b, const struct note *note)
{
    int in_doubt = 0;
    for (uint32_t i = 0; i < b->expect_count; i++) {
        in_doubt |= b->wrote && s->tx.kind == TX_KIND_NONE && ends_for_client(expected(b, i));
    }
    struct note told;
    enum err e = note_set(&told, role_lost(s, b->shard, in_doubt), "shard %s was lost: %.300s",
                          s->db->map->shard_names[b->shard], note->text);
    note_hint(&told, in_doubt ? "Ask the database whether the change was made before repeating it."
                              : "Nothing was changed; the statement may be repeated.");
    if (s->timed_out && !in_doubt) {
        e = watch_words(s, &told);
    }
    s->copy_in = s->copy_in == b ? NULL : s->copy_in;
    struct back_error err = {.severity = SLICE("ERROR"),
                             .severity_raw = SLICE("ERROR"),
                             .code = slice_of(err_sqlstate(e)),
                             .message = slice_of(told.text),
                             .hint = slice_of(told.hint)};
    metric_add(&s->worker->metrics, METRIC_query_errors, 1);
    stats_failed(s, err.code, 1);
    session_after_error(s); /* a batch is ended by session_batch_step() */
    answer_lost(s, b, &err);
}

static int expects_client_answer(const struct backend *b)
{
    for (uint32_t i = 0; i < b->expect_count; i++) {
        if (expected(b, i)->action <= TO_CLIENT_NO_READY) {
            return 1;
        }
    }
    return 0;
}

void session_backend_lost(struct session *s, struct backend *b, const struct note *note)
{
    if (s->passage != NULL) {
        s->passage->backend = NULL;
        char why[sizeof(note->text)];
        (void)snprintf(why, sizeof(why), "%s", note->text);
        session_close(s, why); /* what the server had to say has been passed on */
        return;
    }
    role_note_write(s, b);
    s->copy_in = s->copy_in == b ? NULL : s->copy_in;
    if (s->op != NULL) {
        op_backend_lost(s->op, b, note);
    } else if (b->relay_left != 0) {
        /* Half a row is with the client: no error can be put behind it. */
        struct note told = *note;
        session_fatal(s, ERR_SHARD_DOWN, &told);
        return;
    } else if (expects_client_answer(b) || (b->unsynced && session_quiet(s))) {
        lost_in_relay(s, b, note); /* unsynced: answered perhaps, but never committed */
    } else if (s->tx.kind != TX_KIND_NONE) {
        s->tx.untold |= !s->tx.failed; /* else the client knows that it failed */
        s->tx.failed = 1;
        s->tx.lost_shard = b->shard;
    }
    s->tx.lost = s->tx.kind != TX_KIND_NONE;
    if ((b->pinned != 0 || session_is_plain(s)) && s->op == NULL) {
        struct note told;
        enum err e = note_set(&told, ERR_SHARD_DOWN,
                              "the server connection that held this session's state was lost");
        session_fatal(s, e, &told);
        return;
    }
    session_wake(s);
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
        if (s->op != NULL && s->op->no_cancel) {
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
    exec_forget_doubted(s);
    buf_free(&s->touched);
    mem_free(s->wait_note);
    buf_free(&s->notifications);
    buf_free(&s->wait_error);
    buf_free(&s->tx.begin);
    mem_free(s->tx.savepoints);
    mem_free(s->tx.changed);
    mem_free(s->user);
    mem_free(s->database);
    mem_free(s->application_name);
    world_unref(s->world);
    if (s->entered) {
        terms_leave(s->terms);
    }
    terms_put(w, s->terms);
}

static void free_session(struct session *s)
{
    struct worker *w = s->worker;
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
        free_session(s);
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
    if (s->op != NULL && s->op->no_cancel) {
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
    passage_free(s);
    drop_backends(s);
    stats_client_bytes(s);
    stream_finish(s->client, LINGER_MS);
    take_out(s);
}
