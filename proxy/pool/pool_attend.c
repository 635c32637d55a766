/*
 * What time does to a pool. Its timer stands at the next moment at which something may be due:
 *
 *     somebody waits           soon: tell him, let him use the reserve, let him fail
 *     something is open        when the first of them is too old, or idle for too long
 *     fewer than the minimum   a second later
 *     nothing                  pool.pool_idle_ms later: forget the pool
 *
 * A pool in use touches its timer only when it stands too late.
 */

#include "proxy/pool/pool.h"
#include "proxy/pool/pool_rules.h"
#include "proxy/session/session.h"
#include "proxy/worker.h"

enum {
    SURPLUS_US = 1000 * 1000, /* what is beyond pool.size is kept idle for so long */
    MIN_LOOK_US = 1000 * 1000
};

void pool_greet_waiters(struct pool *p)
{
    list_each_safe (node, &p->waiters) {
        struct session *s = container_of(node, struct session, pool_node);
        int proved = s->vars == s->worker->vars.empty || varset_proof(s->vars, p) != NULL;
        if (s->login_waits && s->passage == NULL && proved) {
            pool_stop_waiting(s);
            session_wake(s);
        }
    }
}

void pool_attend_by(struct pool *p, int64_t at_us)
{
    if (p->timer.deadline_us == 0 || at_us < p->timer.deadline_us) {
        int64_t after = at_us - loop_now_us(p->worker->loop);
        timer_set(&p->timer, after > 0 ? after : 0);
    }
}

/* ---- waiters --------------------------------------------------------------------------------- */

static void fail_waiter(struct pool *p, struct session *s, int64_t limit_ms)
{
    static const char *const why[] = {[BLOCK_NONE] = "pool.size",
                                      [BLOCK_POOL] = "pool.size",
                                      [BLOCK_RAMP] = "pool.server_connects",
                                      [BLOCK_PROCESS] = "pool.max_servers_total",
                                      [BLOCK_DATABASE] = "pool.max_db_connections",
                                      [BLOCK_USER] = "pool.max_user_connections"};
    struct note note;
    enum err e = note_set(&note, ERR_WAIT_TIMEOUT,
                          "no connection to shard %u of \"%s\" came free within %lld ms", p->shard,
                          p->database, (long long)limit_ms);
    note_hint(&note, "Raise %s or pool.query_wait_ms, or shorten transactions.",
              why[p->blocked_by]);
    pool_stop_waiting(s);
    session_backend_failed(s, e, &note);
}

/* In the middle of a row nothing may be put between its bytes. */
static int may_be_told(const struct session *s)
{
    list_each (node, &s->held) {
        const struct backend *b = container_of(node, struct backend, held);
        if (b->relay_left != 0) {
            return 0;
        }
    }
    return !s->wait_told;
}

static void tell_waiter(struct session *s, unsigned gate)
{
    struct back_error notice = {
        .severity = SLICE("NOTICE"),
        .severity_raw = SLICE("NOTICE"),
        .code = SLICE("00000"),
        .message = SLICE("no server connection is available, client is queued"),
        .hint = SLICE("The pool is busy or the server slow; SHOW POOLS on the console tells more."),
    };
    if ((gate & GATE_PAUSED) != 0) {
        notice.message = SLICE("the database is paused, client is queued");
        notice.hint = SLICE("RESUME on the console lets it go on.");
    }
    s->wait_told = 1;
    back_put_notice(session_out(s), &notice);
}

static void look_at_waiters(struct pool *p, int64_t now)
{
    int64_t limit = p->terms->rule.query_wait_ms;
    int64_t notify = p->worker->world->conf->query_wait_notify_ms;
    unsigned gate = terms_gate(p->terms);
    int64_t open_ms = (now - p->resumed_us) / 1000;
    list_each_safe (node, &p->waiters) {
        struct session *s = container_of(node, struct session, pool_node);
        int64_t waited_ms = (now - s->wait_since_us) / 1000;
        if ((gate & GATE_LEAVING) != 0 && !pool_is_holder(s)) {
            struct note note;
            enum err e = note_set(&note, ERR_SHUTDOWN, "pgbraid is shutting down");
            pool_stop_waiting(s);
            session_backend_failed(s, e, &note);
        } else if (limit != 0 && waited_ms >= limit && open_ms >= limit &&
                   !pool_gate_closed(p, s)) {
            fail_waiter(p, s, limit); /* in PAUSE they wait for RESUME */
        } else if (notify != 0 && waited_ms >= notify && may_be_told(s)) {
            tell_waiter(s, gate);
        }
    }
    if (p->waiters_count > p->connecting_count + p->tested_count) {
        pool_connect_more(p);
    }
}

/* ---- ages ------------------------------------------------------------------------------------ */

static void let_refresh_age(struct backend *b)
{
    b->expires_us =
        rule_expires_us(b->connect_us, b->pool->terms->rule.server_lifetime_ms * 1000, b->chance);
}

/* Closes what is too old; *next becomes the first moment at which one more will be. */
static void close_stale(struct pool *p, int64_t now, int64_t *next)
{
    const struct conf_pool_options *rule = &p->terms->rule;
    list_each_safe (node, &p->idle) {
        struct backend *b = container_of(node, struct backend, node);
        uint32_t open = atomic_load_explicit(&p->budget->open, memory_order_relaxed);
        int64_t idle_until =
            rule_idle_until_us(b->idle_since_us, rule->server_idle_ms * 1000, b->chance);
        if (open <= rule->min_size && p->terms->sessions > 0) {
            idle_until = TIME_NEVER_US;
        } else if (open > rule->size && idle_until > b->idle_since_us + SURPLUS_US) {
            idle_until = b->idle_since_us + SURPLUS_US;
        }
        let_refresh_age(b);
        if (now >= b->expires_us) {
            backend_close(b, "pool.server_lifetime_ms");
        } else if (now >= idle_until) {
            backend_close(b, open > rule->size ? "more are open than pool.size"
                                               : "pool.server_idle_ms");
        } else {
            int64_t until = b->expires_us < idle_until ? b->expires_us : idle_until;
            *next = until < *next ? until : *next;
        }
    }
    list_each (node, &p->held) {
        struct backend *b = container_of(node, struct backend, node);
        let_refresh_age(b);
        *next = now < b->expires_us && b->expires_us < *next ? b->expires_us : *next;
    }
}

static int is_empty(const struct pool *p)
{
    return p->connecting_count + p->idle_count + p->held_count + p->tested_count +
               p->waiters_count ==
           0;
}

static void on_timer(void *arg)
{
    struct pool *p = arg;
    int64_t now = loop_now_us(p->worker->loop);
    int64_t next = TIME_NEVER_US;
    if (p->waiters_count != 0) {
        look_at_waiters(p, now);
    }
    close_stale(p, now, &next);
    if (p->terms->rule.min_size != 0 && p->terms->sessions != 0) {
        pool_connect_min(p);
        next = now + MIN_LOOK_US < next ? now + MIN_LOOK_US : next;
    }
    if (p->waiters_count != 0) {
        next = now + POOL_LOOK_US;
    }
    if (is_empty(p)) {
        int64_t keep = p->worker->world->conf->pool_idle_ms * 1000;
        p->empty_since_us = p->empty_since_us == 0 ? now : p->empty_since_us;
        if (now >= p->empty_since_us + keep) {
            pool_free(p);
            return;
        }
        next = p->empty_since_us + keep < next ? p->empty_since_us + keep : next;
    } else {
        p->empty_since_us = 0;
    }
    if (next != TIME_NEVER_US) {
        pool_attend_by(p, next);
    }
}

void pool_attend_init(struct pool *p)
{
    timer_init(&p->timer, p->worker->loop, on_timer, p);
    pool_attend_by(p, loop_now_us(p->worker->loop) + POOL_LOOK_US);
}
