/*
 * A session changes workers. Only a quiet one does: between transactions, nothing sent, nothing
 * received, no backend held, nobody waiting for it.
 *
 * What a session shares with others of its worker (interned settings, prepared statements, plans)
 * cannot go along: settings and statements travel as copies of its own, which are exchanged for
 * the new worker's, and plans are made again when they are asked for. Everything else is its own.
 *
 * The mail carries the session; on the way it belongs to nobody and no thread touches it. A cancel
 * request follows it: see on_cancel() in worker.c.
 */

#include "base/check.h"
#include "proxy/pool/balance.h"
#include "proxy/session/session.h"
#include "proxy/session/watch.h"
#include "proxy/stats/stats.h"
#include "proxy/worker.h"

static int has_live_portal(const struct session *s)
{
    list_each (node, &s->portals) {
        if (container_of(node, struct portal, node)->live) {
            return 1;
        }
    }
    return 0;
}

static int is_quiet(const struct session *s)
{
    int between = s->tx.kind == TX_KIND_NONE && s->op == NULL && s->batch == NULL &&
                  s->copy_in == NULL && s->copy_left == 0 && s->pending_parse == NULL &&
                  !s->skip_until_sync && !s->midway && !s->want_quiet && !s->ready_owed &&
                  !s->guarded;
    int alone = list_empty(&s->held) && s->wait_pool == NULL && !s->wait_refresh &&
                s->wait_err == ERR_NONE && s->pinned == 0 && s->touched.n == 0 &&
                s->doubted == NULL && !has_live_portal(s);
    int silent = stream_in(s->client).n == 0 && stream_queued(s->client) == 0 && !s->client_paused;
    return s->state == SESSION_READY && !s->admin && s->entered && !s->pumping && !s->closing &&
           between && alone && silent;
}

static void take_statements_along(struct session *s)
{
    for (struct hnode *n = hmap_each(&s->pstmts, NULL); n != NULL; n = hmap_each(&s->pstmts, n)) {
        struct pstmt *p = container_of(n, struct pstmt, node);
        struct stmt *copy = stmt_copy(p->stmt);
        stmt_unref(s->worker, p->stmt);
        p->stmt = copy;
        varset_unref(&s->worker->vars, p->vars);
        p->vars = NULL;
        if (p->batch != NULL) {
            plan_batch_unref(p->batch);
            p->batch = NULL;
        }
    }
}

static void exchange_statements(struct session *s)
{
    for (struct hnode *n = hmap_each(&s->pstmts, NULL); n != NULL; n = hmap_each(&s->pstmts, n)) {
        struct pstmt *p = container_of(n, struct pstmt, node);
        p->stmt = stmt_exchange(s->worker, p->stmt);
    }
}

static struct varset *vars_along(struct worker *w, struct varset *v)
{
    struct varset *copy = varset_copy(v);
    varset_unref(&w->vars, v);
    return copy;
}

int session_move(struct session *s, struct worker *to)
{
    struct worker *w = s->worker;
    if (to == w || !is_quiet(s)) {
        return 0;
    }
    session_drop_portals(s);
    take_statements_along(s);
    s->vars = vars_along(w, s->vars);
    s->startup_vars = vars_along(w, s->startup_vars);
    loop_defer_cancel(&s->wake);
    int64_t deadline_us = s->timer.deadline_us;
    timer_free(&s->timer);
    timer_free(&s->watch);
    list_remove(&s->node);
    hmap_remove(&w->sessions_by_id, &s->by_id);
    terms_depart(w, s->terms);
    s->terms = NULL;
    stream_detach(s->client);
    atomic_fetch_sub_explicit(&w->clients, 1, memory_order_relaxed);
    s->worker = NULL;
    struct worker_mail *mail = worker_mail_new(WORKER_MAIL_SESSION);
    mail->session = s;
    mail->deadline_us = deadline_us;
    worker_send(to, mail);
    return 1;
}

void session_adopt(struct worker *w, struct session *s, int64_t deadline_us)
{
    check(s->worker == NULL);
    s->worker = w;
    atomic_fetch_add_explicit(&w->clients, 1, memory_order_relaxed);
    s->vars = varset_exchange(&w->vars, s->vars);
    s->startup_vars = varset_exchange(&w->vars, s->startup_vars);
    exchange_statements(s);
    s->terms = terms_arrive(w, s->database, s->user);
    s->stats = stats_set_of(w->stats, s->database, s->user);
    session_attach(s);
    if (deadline_us != 0) {
        int64_t left = deadline_us - loop_now_us(w->loop);
        timer_set(&s->timer, left < 1 ? 1 : left);
    }
    if (s->terms->timed) {
        watch_arm(s);
    }
    if (w->draining) {
        struct note note;
        enum err e =
            note_set(&note, ERR_SHUTDOWN, "terminating connection: pgbraid is shutting down");
        session_fatal(s, e, &note);
    }
}
