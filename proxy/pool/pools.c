/* The pools of a worker: made when they are first asked for, and what is asked of all of them. */

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "proxy/control/role.h"
#include "proxy/exec/op.h"
#include "proxy/pool/pool.h"
#include "proxy/session/session.h"
#include "proxy/stats/stats_run.h"
#include "proxy/worker.h"

/* ---- one of them ----------------------------------------------------------------------------- */

static struct pool *find_pool(struct worker *w, const struct server_state *server,
                              const char *database, const char *dbname, uint32_t shard,
                              const char *user, uint64_t h)
{
    for (struct hnode *n = hmap_find(&w->pools, h); n != NULL; n = hmap_more(n)) {
        struct pool *p = container_of(n, struct pool, node);
        if (p->shard == shard && p->server == server && strcmp(p->database, database) == 0 &&
            strcmp(p->user, user) == 0 && strcmp(p->dbname, dbname) == 0) {
            return p;
        }
    }
    return NULL;
}

/* What it does is counted for its shard and the server's role. */
static void set_stats(struct pool *p, const struct world_db *db)
{
    p->stats =
        stats_shard_of(p->worker->stats, db->conf->name, db->conf->shards[p->shard].name,
                       p->server == role_server(db, p->shard) ? STATS_PRIMARY : STATS_REPLICA);
}

struct pool *pool_find_on(struct worker *w, const struct world_db *db, uint32_t shard,
                          struct server_state *server, const char *user)
{
    uint64_t h = budget_hash(db->conf->name, shard, user);
    struct pool *p = find_pool(w, server, db->conf->name, db->conf->dbname, shard, user, h);
    if (p != NULL) {
        return p;
    }
    p = mem_zero(sizeof(*p));
    p->worker = w;
    p->server = server;
    p->shard = shard;
    set_stats(p, db);
    p->database = mem_strdup(db->conf->name);
    p->dbname = mem_strdup(db->conf->dbname);
    p->user = mem_strdup(user);
    p->terms = terms_get(w, p->database, user);
    p->budget =
        budget_get(p->server, p->database, p->dbname, user, shard, w->shared->workers_count);
    budget_tell(p->budget, &p->params);
    list_init(&p->connecting);
    list_init(&p->idle);
    list_init(&p->held);
    list_init(&p->tested);
    list_init(&p->waiters);
    list_init(&p->proofs);
    list_init(&p->with_idle);
    list_init(&p->blocked);
    pool_attend_init(p);
    hmap_add(&w->pools, &p->node, h);
    return p;
}

static struct pool *find_on_primary(struct worker *w, const struct world_db *db, uint32_t shard,
                                    const char *user)
{
    return pool_find_on(w, db, shard, role_server(db, shard), user);
}

struct pool *pool_of(const struct session *s, uint32_t shard)
{
    const char *user = session_server_user(s);
    if (user != s->user) { /* of the database: kept under that user's terms, not the client's */
        return find_on_primary(s->worker, s->db, shard, user);
    }
    struct pool *p = s->terms->pools[shard];
    if (p == NULL || p->server != role_server(s->db, shard) ||
        strcmp(p->dbname, s->db->conf->dbname) != 0) {
        p = find_on_primary(s->worker, s->db, shard, user);
        s->terms->pools[shard] = p;
    }
    return p;
}

struct pool *pool_of_budget(struct worker *w, const struct pool_budget *budget)
{
    struct pool *p = find_pool(w, budget->server, budget->database, budget->dbname, budget->shard,
                               budget->user, budget->hash);
    return p != NULL && p->budget == budget ? p : NULL;
}

static void free_proofs(struct pool *p)
{
    list_each_safe (node, &p->proofs) {
        varset_disprove(container_of(node, struct varset_proof, of_pool));
    }
}

void pool_free(struct pool *p)
{
    struct worker *w = p->worker;
    check(p->connecting_count + p->idle_count + p->held_count + p->tested_count == 0);
    check(p->waiters_count == 0);
    atomic_store_explicit(&p->budget->slots[w->index].first_wait_us, 0, memory_order_relaxed);
    if (p->terms->pools[p->shard] == p) {
        p->terms->pools[p->shard] = NULL;
    }
    free_proofs(p);
    hmap_remove(&w->pools, &p->node);
    list_remove(&p->with_idle);
    list_remove(&p->blocked);
    timer_free(&p->timer);
    budget_put(p->budget);
    terms_put(w, p->terms);
    buf_free(&p->params);
    mem_free(p->database);
    mem_free(p->dbname);
    mem_free(p->user);
    mem_free(p);
}

/* ---- all of them, when somebody asks --------------------------------------------------------- */

void pools_roles(struct worker *w)
{
    for (struct hnode *n = hmap_each(&w->pools, NULL); n != NULL; n = hmap_each(&w->pools, n)) {
        struct pool *p = container_of(n, struct pool, node);
        const struct world_db *db = world_find_db(w->world, slice_of(p->database));
        if (db != NULL && p->shard < db->conf->shards_count) {
            set_stats(p, db);
        }
    }
}

static void close_idle(struct pool *p, const char *why)
{
    list_each_safe (node, &p->idle) {
        backend_close(container_of(node, struct backend, node), why);
    }
    pool_attend_by(p, loop_now_us(p->worker->loop) + POOL_LOOK_US);
}

static int is_of(const struct pool *p, const char *database)
{
    return database == NULL || strcmp(p->database, database) == 0;
}

void pools_refresh(struct worker *w)
{
    for (struct hnode *n = hmap_each(&w->pools, NULL); n != NULL; n = hmap_each(&w->pools, n)) {
        struct pool *p = container_of(n, struct pool, node);
        const struct world_db *db = world_find_db(w->world, slice_of(p->database));
        int same = db != NULL && p->shard < db->map->shards_count &&
                   role_has(db, p->shard, p->server) && strcmp(db->conf->dbname, p->dbname) == 0;
        if (!same) {
            close_idle(p, "no longer configured");
        } else {
            pool_attend_by(p, loop_now_us(w->loop) + POOL_LOOK_US * 10); /* ages may be others */
        }
    }
}

void pools_gate(struct worker *w, const char *database)
{
    for (struct hnode *n = hmap_each(&w->pools, NULL); n != NULL; n = hmap_each(&w->pools, n)) {
        struct pool *p = container_of(n, struct pool, node);
        if (!is_of(p, database)) {
            continue;
        }
        list_each_safe (node, &p->idle) {
            struct backend *b = container_of(node, struct backend, node);
            const char *why = pool_why_close(b);
            if (why != NULL) {
                backend_close(b, why);
            }
        }
        p->resumed_us = loop_now_us(w->loop);
        pool_attend_by(p, p->resumed_us + 1);
    }
}

size_t pools_stale(struct worker *w, const char *database)
{
    size_t count = 0;
    for (struct hnode *n = hmap_each(&w->pools, NULL); n != NULL; n = hmap_each(&w->pools, n)) {
        struct pool *p = container_of(n, struct pool, node);
        const struct list *lists[] = {&p->connecting, &p->idle, &p->held, &p->tested};
        for (size_t i = 0; is_of(p, database) && i < sizeof(lists) / sizeof(lists[0]); i++) {
            list_each (node, lists[i]) {
                const struct backend *b = container_of(node, struct backend, node);
                count += b->epoch != terms_epoch(p->terms);
            }
        }
    }
    return count;
}

/* A commit that is under way is ended; its backends are closed when they come back. */
static struct backend *killable(struct list *list)
{
    list_each (node, list) {
        struct backend *b = container_of(node, struct backend, node);
        if (b->session == NULL || b->session->op == NULL || !b->session->op->no_cancel) {
            return b;
        }
    }
    return NULL;
}

static void kill_list(struct pool *p, struct list *list)
{
    struct note note;
    (void)note_set(&note, ERR_SHARD_DOWN, "the connection was closed by KILL");
    struct backend *b = NULL;
    while ((b = killable(list)) != NULL) { /* one may take others with it */
        if (b->session != NULL) {
            relay_lost(b, &note);
        } else {
            backend_close(b, "KILL");
        }
    }
    pool_attend_by(p, loop_now_us(p->worker->loop) + POOL_LOOK_US);
}

void pools_kill(struct worker *w, const char *database)
{
    for (struct hnode *n = hmap_each(&w->pools, NULL); n != NULL; n = hmap_each(&w->pools, n)) {
        struct pool *p = container_of(n, struct pool, node);
        if (is_of(p, database)) {
            kill_list(p, &p->held);
            kill_list(p, &p->idle);
            kill_list(p, &p->tested);
            kill_list(p, &p->connecting);
        }
    }
}

void pools_free(struct worker *w)
{
    struct hnode *n = hmap_each(&w->pools, NULL);
    while (n != NULL) {
        struct pool *p = container_of(n, struct pool, node);
        close_idle(p, "shutdown");
        struct list *lists[] = {&p->connecting, &p->tested};
        for (size_t i = 0; i < 2; i++) {
            list_each_safe (node, lists[i]) {
                backend_close(container_of(node, struct backend, node), NULL);
            }
        }
        pool_free(p);
        n = hmap_each(&w->pools, NULL);
    }
    hmap_free(&w->pools);
}
