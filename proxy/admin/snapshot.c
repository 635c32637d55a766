/* Numbers out of workers; see snapshot.h. */

#include "proxy/admin/snapshot.h"

#include "base/check.h"
#include "base/mem.h"

/* The snapshot on its way. Owner: the thread that it visits. */
struct chain {
    struct control_mail mail; /* first; the way back */
    struct control *control;
    struct snapshot *snapshot;
    size_t worker;
    snapshot_fn *done;
    void *arg;
};

uint64_t control_count(const struct control *c, enum metric m)
{
    uint64_t sum = metric_get(&c->shared->control_metrics, m);
    for (size_t i = 0; i < c->shared->workers_count; i++) {
        sum += metric_get(worker_metrics(c->shared->workers[i]), m);
    }
    return sum;
}

static const struct addr *keep_addr(struct snapshot *s, const struct addr *a)
{
    if (a == NULL) {
        return NULL;
    }
    struct addr *copy = arena_alloc(&s->_memory, sizeof(*copy));
    *copy = *a;
    return copy;
}

static const char *keep_text(struct snapshot *s, const char *text)
{
    return arena_strdup(&s->_memory, text == NULL ? "" : text);
}

/* Room for one more in an array of the snapshot. */
static void *grow(void *array, size_t count, size_t *cap, size_t size)
{
    if (count == *cap) {
        *cap = *cap == 0 ? 64 : *cap * 2;
        return mem_grow(array, *cap * size);
    }
    return array;
}

static void add_client(const struct client_view *view, void *arg)
{
    struct snapshot *s = arg;
    s->clients = grow(s->clients, s->clients_count, &s->_clients_cap, sizeof(*s->clients));
    struct client_view *v = &s->clients[s->clients_count++];
    *v = *view;
    v->user = keep_text(s, view->user);
    v->database = keep_text(s, view->database);
    v->application_name = keep_text(s, view->application_name);
    v->tls = keep_text(s, view->tls);
    v->peer = keep_addr(s, view->peer);
    v->local = keep_addr(s, view->local);
}

static void add_backend(const struct backend_view *view, void *arg)
{
    struct snapshot *s = arg;
    s->backends = grow(s->backends, s->backends_count, &s->_backends_cap, sizeof(*s->backends));
    struct backend_view *v = &s->backends[s->backends_count++];
    *v = *view;
    v->user = keep_text(s, view->user);
    v->database = keep_text(s, view->database);
    v->shard = keep_text(s, view->shard);
    v->server = keep_text(s, view->server);
    v->state = keep_text(s, view->state);
    v->tls = keep_text(s, view->tls);
    v->peer = keep_addr(s, view->peer);
    v->local = keep_addr(s, view->local);
}

static void add_pool(const struct pool_view *view, void *arg)
{
    struct snapshot *s = arg;
    s->pools = grow(s->pools, s->pools_count, &s->_pools_cap, sizeof(*s->pools));
    struct pool_view *v = &s->pools[s->pools_count++];
    *v = *view;
    v->user = keep_text(s, view->user);
    v->database = keep_text(s, view->database);
    v->shard = keep_text(s, view->shard);
    v->server = keep_text(s, view->server);
}

static void visit(struct worker *w, void *arg)
{
    struct chain *chain = arg;
    struct snapshot *s = chain->snapshot;
    if (s->wants & SNAPSHOT_CLIENTS) {
        worker_each_client(w, add_client, s);
    }
    if (s->wants & SNAPSHOT_BACKENDS) {
        worker_each_backend(w, add_backend, s);
    }
    if (s->wants & SNAPSHOT_POOLS) {
        worker_each_pool(w, add_pool, s);
    }
    if (s->wants & SNAPSHOT_PLANS) {
        s->plan_bytes += worker_plan_cache_bytes(w);
        s->plans_count += worker_plan_cache_count(w);
    }
    if (s->stats != NULL) {
        stats_merge(s->stats, worker_stats(w),
                    (s->wants & SNAPSHOT_STATS ? STATS_WANT_SETS : 0) |
                        (s->wants & SNAPSHOT_QUERIES ? STATS_WANT_QUERIES : 0));
    }
    if (s->wants & SNAPSHOT_KILL) {
        s->killed += s->kill_database != NULL ? worker_kill_database(w, s->kill_database)
                                              : worker_kill_client(w, s->kill_client);
    }
    control_send(chain->control, &chain->mail);
}

/* Workers that have ended are not visited; there is nothing left in them either. */
static void next_visit(struct control *c, struct control_mail *mail)
{
    struct chain *chain = (struct chain *)(void *)mail;
    if (chain->snapshot->wants != 0 && chain->worker < c->shared->workers_count &&
        c->workers_gone == 0) {
        worker_visit(c->shared->workers[chain->worker++], visit, chain);
        return;
    }
    c->snapshots--;
    chain->done(c, chain->snapshot, chain->arg);
    mem_free(chain);
}

struct snapshot *snapshot_new(unsigned wants)
{
    struct snapshot *s = mem_zero(sizeof(*s));
    s->wants = wants;
    s->stats = wants & (SNAPSHOT_STATS | SNAPSHOT_QUERIES) ? stats_new() : NULL;
    return s;
}

void snapshot_send(struct control *c, struct snapshot *s, snapshot_fn *done, void *arg)
{
    struct chain *chain = mem_zero(sizeof(*chain));
    chain->mail.fn = next_visit;
    chain->control = c;
    chain->snapshot = s;
    chain->done = done;
    chain->arg = arg;
    c->snapshots++;
    next_visit(c, &chain->mail);
}

void snapshot_take(struct control *c, unsigned wants, snapshot_fn *done, void *arg)
{
    snapshot_send(c, snapshot_new(wants), done, arg);
}

void snapshot_free(struct snapshot *s)
{
    mem_free(s->clients);
    mem_free(s->backends);
    mem_free(s->pools);
    stats_free(s->stats);
    arena_free(&s->_memory);
    mem_free(s);
}
