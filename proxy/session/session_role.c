/*
 * Which server of a shard runs a statement: the primary, or a replica when it is provably a read
 * (planner/replica.c) and no transaction forbids it. Worker threads; see role.h for the picture.
 *
 * Nothing here costs a statement of a database without replicas more than a test of a pointer; with
 * replicas it costs some atomic loads.
 *
 * Why read-your-writes holds. Let W be the session's last write and T the moment when its next read
 * is being started: W was acknowledged before T, so its commit record lay before the end of the
 * primary's WAL then. A position P that the primary was asked for at T or later is at least that
 * end, so a replica that has replayed P has replayed W. What a replica has replayed only grows, but
 * for a restart, after which it may show an earlier state for a moment: so the sample counts only
 * for connections that were open before the replica was asked. P is the end of what was inserted,
 * as a commit may be acknowledged before it is flushed (synchronous_commit off). Replicas get only
 * what is flushed, and records of transactions that are still open may keep P unflushed for long;
 * but any commit is flushed within three wal_writer_delay, so once that has passed the end of what
 * is flushed covers W, too. Another primary (epoch) makes
 * positions of the old one worthless: the mark is set anew.
 */

#include "proxy/session/session_role.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "proxy/exec/moment.h"
#include "proxy/exec/op.h"
#include "proxy/exec/tx.h"

enum {
    TICK_US = 2 * 1000,           /* while somebody waits */
    CONNECT_AGAIN_US = 100 * 1000 /* a server that failed the statement is tried again */
};

/* ---- what the statement may use ---------------------------------------------------------------
 */

static enum plan_role role_wanted(const struct session *s, const struct plan *plan)
{
    if (plan->role != PLAN_ROLE_AUTO) {
        return plan->role;
    }
    const char *set = s->tx.kind == TX_KIND_NONE ? NULL : varset_get(s->tx.locals, "braid.role");
    set = set != NULL ? set : varset_get(s->vars, "braid.role");
    return set == NULL                       ? PLAN_ROLE_AUTO
           : strcasestr(set, "primary") != 0 ? PLAN_ROLE_PRIMARY
           : strcasestr(set, "replica") != 0 ? PLAN_ROLE_REPLICA
                                             : PLAN_ROLE_AUTO;
}

/* A transaction block that only reads may be on a replica, which knows no SERIALIZABLE. */
static int tx_allows(const struct session *s)
{
    switch (s->tx.kind) {
    case TX_KIND_NONE: return !s->in_session_mode;
    case TX_KIND_IMPLICIT: return 1; /* the caller looked at all statements of it */
    case TX_KIND_EXPLICIT: return s->tx.read_only && s->tx.level != PLAN_LEVEL_SERIALIZABLE;
    }
    return 0;
}

void role_plan(struct session *s, const struct plan *plan, int all_ok)
{
    s->role.need = ROLE_NEED_ANY;
    s->no_snapshot = plan->no_snapshot;
    if (!s->db->replicated || plan->kind == PLAN_TX || plan->kind == PLAN_SET ||
        plan->kind == PLAN_DEALLOCATE || plan->kind == PLAN_DISCARD_ALL) {
        return;
    }
    enum plan_role wanted = role_wanted(s, plan);
    int replica = wanted == PLAN_ROLE_REPLICA ||
                  (wanted == PLAN_ROLE_AUTO && plan->replica_ok && all_ok && tx_allows(s));
    s->role.need = replica && !s->pinned ? ROLE_NEED_REPLICA : ROLE_NEED_PRIMARY;
}

/* ---- waiting ----------------------------------------------------------------------------------
 */

static void on_tick(void *arg)
{
    struct worker *w = arg;
    list_each (node, &w->role_waiters) {
        session_wake(container_of(node, struct session, role.node));
    }
    if (!list_empty(&w->role_waiters)) {
        timer_set(&w->role_tick, TICK_US);
    }
}

void role_worker_init(struct worker *w)
{
    list_init(&w->role_waiters);
    timer_init(&w->role_tick, w->loop, on_tick, w);
}

void role_worker_free(struct worker *w)
{
    timer_free(&w->role_tick);
}

/* Wait on, unless it has waited for `limit_us`. The handler is run again at each tick. */
static int wait_some(struct session *s, int64_t *since_us, int64_t limit_us, enum metric counter)
{
    struct worker *w = s->worker;
    int64_t now_us = loop_now_us(w->loop);
    if (*since_us == 0) {
        *since_us = now_us;
        metric_add(&w->metrics, counter, 1);
    }
    if (now_us - *since_us >= limit_us) {
        return 0;
    }
    if (list_empty(&s->role.node)) {
        if (list_empty(&w->role_waiters)) {
            timer_set(&w->role_tick, TICK_US);
        }
        list_push_back(&w->role_waiters, &s->role.node);
    }
    return 1;
}

/* For a replica to show what the session wrote: once for a statement. */
static int wait_for_replay(struct session *s)
{
    return wait_some(s, &s->role.read_since_us, s->world->conf->read_wait_ms * 1000,
                     METRIC_replica_waits);
}

void role_stop_waiting(struct session *s)
{
    list_remove(&s->role.node);
    s->role.read_since_us = 0;
    s->role.write_since_us = 0;
}

int role_waits(const struct session *s)
{
    return !list_empty(&s->role.node);
}

void role_engaged(struct session *s)
{
    role_stop_waiting(s);
    s->role.avoid = 0;
    s->role.asked = NULL;
    s->role.need = ROLE_NEED_ANY;
}

void role_free(struct session *s)
{
    role_stop_waiting(s);
    mem_free(s->role.marks);
    s->role.marks = NULL;
}

static uint64_t avoided(struct session *s, uint32_t shard)
{
    if (s->role.avoid != 0 && loop_now_us(s->worker->loop) >= s->role.retry_us) {
        s->role.avoid = 0;
    }
    return s->role.avoid_shard == shard ? s->role.avoid : 0;
}

/* ---- read your writes -------------------------------------------------------------------------
 */

static struct role_mark *mark_of(struct session *s, uint32_t shard)
{
    const struct shard_state *state = s->db->shards[shard];
    struct session_role *r = &s->role;
    if (s->world->conf->read_your_writes == CONF_OFF || (r->marks == NULL && r->wrote == 0)) {
        return NULL;
    }
    if (r->marks == NULL) {
        r->marks = mem_zero(SHARDS_MAX * sizeof(*r->marks));
    }
    struct role_mark *mark = &r->marks[shard];
    uint32_t epoch = atomic_load(&state->epoch);
    int wrote = (r->wrote >> shard & 1) != 0;
    if (wrote || (mark->at_us != 0 && mark->epoch != epoch)) {
        *mark = (struct role_mark){.at_us = loop_now_us(s->worker->loop), .epoch = epoch};
        r->wrote &= ~(UINT64_C(1) << shard);
    }
    return mark->at_us == 0 ? NULL : mark;
}

/* The position that covers the writes, once the primary was asked after them. */
static int find_position(const struct shard_state *state, struct role_mark *mark)
{
    int primary = atomic_load(&state->primary);
    if (mark->settled || primary < 0) {
        return mark->lsn != 0;
    }
    struct server_state *p = state->members[primary].server;
    int64_t asked_us = atomic_load_explicit(&p->lsn_us, memory_order_acquire);
    if (asked_us < mark->at_us) {
        pg_wake_now(&p->wake);
        return 0;
    }
    if (mark->lsn == 0) {
        mark->lsn = atomic_load_explicit(&p->lsn, memory_order_relaxed);
    }
    if (asked_us - mark->at_us >= atomic_load_explicit(&p->settle_us, memory_order_relaxed)) {
        uint64_t flushed = atomic_load_explicit(&p->flushed, memory_order_relaxed);
        mark->settled = 1;
        mark->lsn = flushed < mark->lsn ? flushed : mark->lsn;
    }
    return mark->lsn != 0;
}

static int has_replayed(struct server_state *server, const struct role_mark *mark)
{
    return atomic_load_explicit(&server->lsn, memory_order_relaxed) >= mark->lsn;
}

/* Those of `mask` that show the session's writes. */
static uint64_t caught_up(struct session *s, uint32_t shard, uint64_t mask)
{
    struct shard_state *state = s->db->shards[shard];
    struct role_mark *mark = mark_of(s, shard);
    if (mark == NULL) {
        return mask;
    }
    uint64_t good = 0;
    if (find_position(state, mark)) {
        for (uint64_t left = mask; left != 0; left &= left - 1) {
            struct server_state *server = state->members[__builtin_ctzll(left)].server;
            if (has_replayed(server, mark)) {
                good |= left & -left;
            } else {
                pg_wake_now(&server->wake);
            }
        }
    }
    return good;
}

/* A held backend of a replica may be used now: it shows what the session wrote. */
static enum step verify(struct session *s, struct backend *b)
{
    struct shard_state *state = s->db->shards[b->shard];
    if (state == NULL || b->role != BACKEND_OF_REPLICA || b->began || !backend_quiet(b) ||
        b->unsynced || s->role.need != ROLE_NEED_REPLICA) {
        return STEP_DONE;
    }
    struct role_mark *mark = mark_of(s, b->shard);
    struct server_state *server = b->pool->server;
    if (mark == NULL ||
        (find_position(state, mark) && has_replayed(server, mark) &&
         b->ready_us <= atomic_load_explicit(&server->lsn_us, memory_order_acquire))) {
        return STEP_DONE;
    }
    pg_wake_now(&server->wake);
    if (wait_for_replay(s)) {
        return STEP_WAIT;
    }
    s->role.need = ROLE_NEED_PRIMARY;
    metric_add(&s->worker->metrics, METRIC_replica_misses, 1);
    session_let_go(s, b);
    session_wake(s);
    return STEP_WAIT;
}

/* ---- choosing ---------------------------------------------------------------------------------
 */

static uint32_t busy_there(struct session *s, uint32_t shard, struct server_state *server)
{
    if (s->world->conf->balance != CONF_BALANCE_LEAST_BUSY) {
        return 0;
    }
    const struct pool *p = pool_find_on(s->worker, s->db, shard, server, s->user);
    return p->held_count + p->waiters_count;
}

static struct server_state *pick(struct session *s, uint32_t shard, uint64_t mask)
{
    struct shard_state *state = s->db->shards[shard];
    struct balance_choice choices[ROLE_MEMBERS_MAX];
    for (size_t i = 0; i < state->count; i++) {
        struct shard_member *m = &state->members[i];
        choices[i] = (struct balance_choice){.weight = 0};
        if ((mask >> i & 1) != 0) {
            choices[i].weight = m->weight;
            choices[i].busy = busy_there(s, shard, m->server);
            choices[i].latency_us =
                atomic_load_explicit(&m->server->latency_us, memory_order_relaxed);
        }
    }
    int i = balance_pick(s->world->conf->balance, choices, state->count, s->worker->role_ticket++);
    return i < 0 ? NULL : state->members[i].server;
}

/* Whether waiting may help: one of `mask` was not further behind than that when it was asked. */
static int is_near(const struct session *s, const struct shard_state *state, uint64_t mask)
{
    for (uint64_t left = mask; left != 0; left &= left - 1) {
        int64_t lag_ms = atomic_load_explicit(&state->members[__builtin_ctzll(left)].lag_ms,
                                              memory_order_relaxed);
        if (lag_ms <= s->world->conf->read_wait_ms) {
            return 1;
        }
    }
    return 0;
}

/* STEP_FAILED: no replica can serve it. */
static enum step choose_replica(struct session *s, uint32_t shard, struct server_state **out)
{
    struct shard_state *state = s->db->shards[shard];
    const struct conf *conf = s->world->conf;
    int primary = atomic_load(&state->primary);
    uint64_t avoid = avoided(s, shard);
    uint64_t readers = atomic_load(&state->readers) & ~avoid;
    uint64_t mask = caught_up(s, shard, readers);
    if (mask == 0 && is_near(s, state, readers) && wait_for_replay(s)) {
        return STEP_WAIT;
    }
    if (s->role.read_since_us != 0 && !wait_for_replay(s)) {
        mask = 0; /* it has waited long enough */
    }
    if (conf->primary_reads == CONF_PRIMARY_READS_SHARE && primary >= 0) {
        mask |= UINT64_C(1) << primary & ~avoid;
    }
    *out = mask == 0 ? NULL : pick(s, shard, mask);
    if (*out == NULL) {
        metric_add(&s->worker->metrics, METRIC_replica_misses, 1);
    }
    return *out == NULL ? STEP_FAILED : STEP_DONE;
}

static enum err no_primary(const struct session *s, const struct shard_state *state,
                           struct note *note)
{
    enum err e = note_set(note, ERR_NO_PRIMARY, "shard %s of \"%s\" has no primary", state->shard,
                          s->database);
    note_hint(note, "None of its servers can be written, or none answers; nothing was sent. See "
                    "SHOW SHARDS and replicas.write_wait_ms.");
    return e;
}

static int64_t write_wait_us(const struct conf *conf)
{
    int64_t ms = conf->write_wait_ms;
    return (conf->query_wait_ms != 0 && conf->query_wait_ms < ms ? conf->query_wait_ms : ms) * 1000;
}

static enum step choose_primary(struct session *s, uint32_t shard, struct server_state **out,
                                enum err *e, struct note *note)
{
    struct shard_state *state = s->db->shards[shard];
    int primary = atomic_load(&state->primary);
    if (primary >= 0 && (avoided(s, shard) >> primary & 1) == 0) {
        *out = state->members[primary].server;
        return STEP_DONE;
    }
    if (wait_some(s, &s->role.write_since_us, write_wait_us(s->world->conf),
                  METRIC_primary_waits)) {
        return STEP_WAIT;
    }
    *e = no_primary(s, state, note);
    return STEP_FAILED;
}

static enum step choose(struct session *s, uint32_t shard, struct server_state **out, enum err *e,
                        struct note *note)
{
    if (s->role.need == ROLE_NEED_REPLICA) {
        enum step step = choose_replica(s, shard, out);
        if (step != STEP_FAILED) {
            return step;
        }
        if (s->world->conf->primary_reads == CONF_PRIMARY_READS_NEVER) {
            *e = note_set(note, ERR_NO_REPLICA, "no replica of shard %s can serve this read",
                          s->db->shards[shard]->shard);
            note_hint(note, "They are down, too far behind, or have not replayed this client's "
                            "writes; replicas.primary_reads forbids the primary. See SHOW SHARDS.");
            return STEP_FAILED;
        }
        s->role.need = ROLE_NEED_PRIMARY;
    }
    return choose_primary(s, shard, out, e, note);
}

enum step role_choose(struct session *s, uint32_t shard, struct pool **out, enum err *e,
                      struct note *note)
{
    struct server_state *server = NULL;
    enum step step = choose(s, shard, &server, e, note);
    if (step == STEP_DONE) {
        int reads = server != role_server(s->db, shard);
        *out = reads ? pool_find_on(s->worker, s->db, shard, server, s->user) : pool_of(s, shard);
        if (reads) {
            atomic_fetch_add_explicit(&server->reads, 1, memory_order_relaxed);
            metric_add(&s->worker->metrics, METRIC_queries_replica, 1);
        }
        s->role.asked = server;
        s->role.asked_shard = shard;
    }
    return step;
}

static uint64_t bit_of(const struct shard_state *state, const struct server_state *server)
{
    for (size_t i = 0; i < state->count; i++) {
        if (state->members[i].server == server) {
            return UINT64_C(1) << i;
        }
    }
    return 0;
}

int role_try_again(struct session *s, enum err e)
{
    uint32_t shard = s->role.asked_shard;
    struct shard_state *state = s->db->shards[shard];
    struct server_state *asked = s->role.asked;
    s->role.asked = NULL;
    if (state == NULL || asked == NULL || e == ERR_CANCELED || e == ERR_WAIT_TIMEOUT) {
        return 0;
    }
    int primary = atomic_load(&state->primary);
    int was_primary = primary >= 0 && state->members[primary].server == asked;
    int reads = s->role.need == ROLE_NEED_REPLICA;
    if (!reads && was_primary && e != ERR_SHARD_DOWN) {
        return 0; /* it spoke: full, or it does not want this user */
    }
    if (s->role.avoid_shard != shard) {
        s->role.avoid = 0;
    }
    s->role.avoid_shard = shard;
    s->role.avoid |= bit_of(state, asked);
    s->role.retry_us = loop_now_us(s->worker->loop) + CONNECT_AGAIN_US;
    if (e == ERR_SHARD_DOWN) {
        pg_wake_now(&asked->wake);
    }
    return 1;
}

/* ---- changing servers -------------------------------------------------------------------------
 */

static int has_open_portal(const struct session *s, uint32_t shard)
{
    list_each (node, &s->portals) {
        const struct portal *p = container_of(node, struct portal, node);
        if (p->live && p->on_backend && p->shard == shard) {
            return 1;
        }
    }
    return 0;
}

static enum err cannot_switch(struct note *note)
{
    enum err e = note_set(note, ERR_UNSUPPORTED,
                          "this statement must run on the primary, but its transaction has begun "
                          "to read from a replica");
    note_hint(note, "SET braid.role = 'primary' before such a transaction.");
    return e;
}

/* Leave a replica. Its transaction has read and nothing else, so its end loses nothing; what holds
 * one snapshot or an open portal cannot move. */
static enum step leave(struct session *s, struct backend *b, enum err *e, struct note *note)
{
    if (b->began && (tx_isolated(s) || has_open_portal(s, b->shard))) {
        *e = cannot_switch(note);
        return STEP_FAILED;
    }
    if (b->unsynced) {
        front_put_sync(stream_out(b->stream));
        stream_touch(b->stream);
        backend_expect(b, EXPECT_SYNC, TO_NOBODY);
    }
    if (b->began) {
        backend_query(b, SLICE("ROLLBACK"), TO_NOBODY);
        b->began = 0;
    }
    if (!backend_quiet(b)) {
        return session_wait_quiet(s);
    }
    if (s->tx.kind == TX_KIND_NONE) {
        session_end_portals(s);
    }
    session_let_go(s, b);
    return STEP_DONE;
}

enum step role_switch(struct session *s, uint64_t bits, enum err *e, struct note *note)
{
    list_each_safe (node, &s->held) {
        struct backend *b = container_of(node, struct backend, held);
        const struct shard_state *state = s->db->shards[b->shard];
        if (b->role == BACKEND_OF_UNKNOWN && state != NULL) {
            int primary = b->pool->server == role_server(s->db, b->shard);
            b->role = primary ? BACKEND_OF_PRIMARY : BACKEND_OF_REPLICA;
            b->dirty |= (atomic_load(&state->fenced) & bit_of(state, b->pool->server)) != 0;
        }
        if ((bits >> b->shard & 1) != 0 && b->role == BACKEND_OF_REPLICA &&
            s->role.need == ROLE_NEED_PRIMARY && !b->pinned) {
            enum step step = leave(s, b, e, note);
            if (step != STEP_DONE) {
                return step;
            }
        }
    }
    return STEP_DONE;
}

enum step role_engage_held(struct session *s, uint64_t bits, enum err *e, struct note *note)
{
    enum step step = role_switch(s, bits, e, note); /* roles of those that have just come */
    if (step == STEP_DONE && (bits & ~s->held_bits) != 0) {
        session_wake(s); /* one was given back: begin again */
        return STEP_WAIT;
    }
    bits_each (shard, bits) {
        step = step != STEP_DONE ? step : verify(s, session_backend(s, (uint32_t)shard));
    }
    return step;
}

void role_note_write(struct session *s, const struct backend *b)
{
    if (b->wrote && b->role != BACKEND_OF_REPLICA && s->db != NULL &&
        s->db->shards[b->shard] != NULL) {
        s->role.wrote |= UINT64_C(1) << b->shard;
    }
}

void role_let_go(struct session *s, struct backend *b)
{
    role_note_write(s, b);
    b->role = BACKEND_OF_UNKNOWN;
    if (!s->role.schema_touched || s->tx.kind != TX_KIND_NONE) {
        return;
    }
    s->role.schema_touched = 0;
    if (s->db != NULL && s->db->replicated && !s->sharded && !s->closing) {
        s->wait_refresh = 1; /* its next statement is planned by what it has made of the schema */
        control_refresh(s->worker->shared->control, s->database, s->worker->index, s->id);
    }
}

/* ---- what goes wrong --------------------------------------------------------------------------
 */

static struct shard_state *state_of(const struct pool *p)
{
    const struct world_db *db = world_find_db(p->worker->world, slice_of(p->database));
    return db == NULL || p->shard >= db->conf->shards_count ? NULL : db->shards[p->shard];
}

void role_see_error(struct backend *b, struct slice code)
{
    struct shard_state *state = NULL;
    if (b->role == BACKEND_OF_PRIMARY && slice_is(code, "25006") && b->session != NULL &&
        !b->session->tx.read_only) {
        state =
            state_of(b->pool); /* "cannot ... in a read-only transaction": no primary any more? */
    }
    if (state != NULL) {
        role_doubt(state);
        b->dirty = 1;
    }
}

enum err role_lost(const struct session *s, uint32_t shard, int in_doubt)
{
    int alone = s->db == NULL || s->db->shards[shard] == NULL;
    if (!alone) {
        role_doubt(s->db->shards[shard]);
    }
    return in_doubt ? (alone ? ERR_OUTCOME_UNKNOWN : ERR_LOST_UNKNOWN)
                    : (alone ? ERR_SHARD_DOWN : ERR_FAILED_OVER);
}

/* A connection that must not go on: the server may not be used, or is not what it was held for. */
static int is_over(const struct backend *b, const struct shard_state *state, uint64_t bit)
{
    int primary = atomic_load(&state->primary);
    if (primary >= 0 && bit == UINT64_C(1) << primary) {
        return 0;
    }
    if ((atomic_load(&state->fenced) & bit) != 0) {
        return 1;
    }
    int replica = (atomic_load(&state->replicas) & bit) != 0;
    /* Down or silent: reads have other places. A write waits on: it may yet be answered, as long
     * as nobody else has become primary. */
    return b->role == BACKEND_OF_PRIMARY ? primary >= 0 || replica : !replica;
}

static struct backend *find_over(struct list *list, const struct shard_state *state, uint64_t bit)
{
    list_each (node, list) {
        struct backend *b = container_of(node, struct backend, node);
        if (is_over(b, state, bit)) {
            return b;
        }
    }
    return NULL;
}

static void close_over(struct pool *p)
{
    const struct shard_state *state = state_of(p);
    uint64_t bit = state == NULL ? 0 : bit_of(state, p->server);
    struct backend *b;
    struct note note;
    if (bit == 0) {
        return;
    }
    p->retry_after_us = 0; /* roles changed: an old failure to connect says little */
    (void)note_set(&note, ERR_SHARD_DOWN, "server %s is not used for this any more: it is %s",
                   p->server->name, role_word(state, (size_t)__builtin_ctzll(bit)));
    while ((b = find_over(&p->idle, state, bit)) != NULL) {
        backend_close(b, "another role");
    }
    while ((b = find_over(&p->held, state, bit)) != NULL) {
        relay_lost(b, &note);
    }
}

void role_changed(struct worker *w)
{
    for (struct hnode *n = hmap_each(&w->pools, NULL); n != NULL; n = hmap_each(&w->pools, n)) {
        close_over(container_of(n, struct pool, node));
    }
    list_each (node, &w->role_waiters) {
        session_wake(container_of(node, struct session, role.node));
    }
}
