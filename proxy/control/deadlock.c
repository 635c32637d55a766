/*
 * Deadlocks over several shards: no server sees them, so we ask all and put it together.
 *
 *     two transactions over shards are late --> sessions --> waits on servers --> sessions, again
 *                                               --> waits, again --> a victim --> its worker
 *
 * Sessions come by a chain of visits to the workers, waits by a job that asks the servers where
 * somebody waits. A cycle must be in both looks, with every session in the same statement, and the
 * victim still in it when its worker hears of it: see txn/waits.h for why that is enough.
 *
 * A transaction whose part on one shard is prepared already while another shard still runs its
 * statement (proxy/exec/tx_early.c) is found by the name of that part.
 *
 * Nothing is asked while fewer than two transactions that hold several shards are late. While the
 * same ones stay late and no cycle was found the pauses grow; a new one is looked at at once, for
 * it is what would close a cycle.
 */

#include "proxy/control/deadlock.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "proxy/control/role.h"
#include "proxy/session/victim.h"

enum {
    PAUSE_US_MIN = 250 * 1000,
    PAUSE_US_MAX = 2 * 1000 * 1000,
    KEEP_US = 10 * 1000 * 1000, /* connections, after the last look */
    EDGES_MAX = 20000,
    CYCLE_MAX = 12,
    ASK_MS_MAX = 2000
};

struct edges {
    struct wait_edge *all;
    size_t count, cap;
};

/* One look: two rounds of sessions and waits. Owner: whoever works on it. */
struct look {
    struct job job; /* first; its mail is the way back from visits, too */
    struct control *control;
    struct world *world;
    const struct world_db *db;
    size_t worker;
    int round; /* 0, 1 */
    int failed;
    struct waiting_list sessions[2];
    struct edges edges[2];
    uint32_t asking; /* shard */
};

/* Control thread's. */
struct deadlock {
    struct look *look; /* NULL: none is under way */
    uint64_t sum;      /* of those who were late at the last look */
    int64_t next_us, pause_us, last_us;
    char *database; /* that `sources` lead to */
    struct world *world;
    struct waits_source sources[SHARDS_MAX]; /* the job's while a look is under way */
};

/* ---- names for transactions ------------------------------------------------------------------ */

static uint64_t stranger(uint32_t shard, uint32_t pid)
{
    return UINT64_C(1) << 63 | (uint64_t)shard << 32 | pid;
}

static uint64_t who(const struct waiting_list *sessions, const char *database, uint32_t shard,
                    uint32_t pid)
{
    for (size_t i = 0; i < sessions->count; i++) {
        const struct waiting *w = &sessions->all[i];
        if (w->pids[shard] == pid && strcmp(w->database, database) == 0) {
            return w->id;
        }
    }
    return stranger(shard, pid);
}

/* Whose part on this shard is prepared under that name; NULL: nobody's who waits here. */
static const struct waiting *who_prepared(const struct waiting_list *sessions, const char *database,
                                          uint32_t shard, struct slice name)
{
    struct gid gid;
    if (!gid_parse(name, &gid) || gid.shard != shard) {
        return NULL;
    }
    for (size_t i = 0; i < sessions->count; i++) {
        const struct waiting *w = &sessions->all[i];
        if (w->instance == gid.instance && txn_id_eq(w->txn, gid.txn) &&
            strcmp(w->database, database) == 0) {
            return w;
        }
    }
    return NULL;
}

static const struct waiting *find(const struct waiting_list *sessions, uint64_t id)
{
    for (size_t i = 0; i < sessions->count; i++) {
        if (sessions->all[i].id == id) {
            return &sessions->all[i];
        }
    }
    return NULL;
}

/* ---- asking servers -------------------------------------------------------------------------- */

static void take_wait(void *arg, uint32_t waiter, uint32_t blocker, struct slice gid)
{
    struct look *l = arg;
    struct edges *e = &l->edges[l->round];
    const struct waiting_list *sessions = &l->sessions[l->round];
    const struct waiting *prepared =
        gid.n == 0 ? NULL : who_prepared(sessions, l->db->conf->name, l->asking, gid);
    if (gid.n != 0 && prepared == NULL) {
        return; /* it waits for nothing */
    }
    if (e->count == EDGES_MAX) {
        l->failed = 1;
        return;
    }
    if (e->count == e->cap) {
        e->cap = e->cap == 0 ? 64 : e->cap * 2;
        e->all = mem_grow(e->all, e->cap * sizeof(*e->all));
    }
    e->all[e->count++] = (struct wait_edge){
        .from = who(sessions, l->db->conf->name, l->asking, waiter),
        .to =
            prepared != NULL ? prepared->id : who(sessions, l->db->conf->name, l->asking, blocker),
        .shard = l->asking};
}

static uint64_t busy_shards(const struct look *l)
{
    uint64_t bits = 0;
    const struct waiting_list *sessions = &l->sessions[l->round];
    for (size_t i = 0; i < sessions->count; i++) {
        if (strcmp(sessions->all[i].database, l->db->conf->name) == 0) {
            bits |= sessions->all[i].busy;
        }
    }
    return bits;
}

static void ask_servers(struct job *job)
{
    struct look *l = (struct look *)(void *)job;
    struct deadlock *d = l->control->deadlock;
    bits_each (shard, busy_shards(l)) {
        struct pg_target target;
        struct note note;
        if (shard >= l->db->conf->shards_count ||
            !atomic_load(&role_server(l->db, (size_t)shard)->healthy)) {
            continue;
        }
        control_db_target(l->world, l->db, (size_t)shard, &target);
        target.timeout_ms = target.timeout_ms < ASK_MS_MAX ? target.timeout_ms : ASK_MS_MAX;
        l->asking = (uint32_t)shard;
        /* without its answer there are fewer edges, so fewer cycles: the next look asks again */
        if (waits_ask(&d->sources[shard], &target, &l->control->stop, take_wait, l, &note)) {
            l->failed |= l->edges[l->round].count == EDGES_MAX;
        }
    }
}

/* ---- the victim ------------------------------------------------------------------------------ */

struct order {
    uint64_t id, stamp;
    char detail[1024];
};

static void put_name(const struct look *l, uint64_t id, char *out, size_t bytes)
{
    (void)l;
    if (id >> 63 != 0) {
        (void)snprintf(out, bytes, "server process %u", (unsigned)(uint32_t)id);
    } else {
        (void)snprintf(out, bytes, "client %llu", (unsigned long long)id);
    }
}

static void describe(const struct look *l, const struct wait_edge *cycle, size_t length, char *out,
                     size_t bytes)
{
    size_t n = 0;
    for (size_t i = 0; i < length && n < bytes; i++) {
        char from[48];
        char to[48];
        put_name(l, cycle[i].from, from, sizeof(from));
        put_name(l, cycle[i].to, to, sizeof(to));
        const char *shard = cycle[i].shard < l->db->conf->shards_count
                                ? l->db->conf->shards[cycle[i].shard].name
                                : "";
        n += (size_t)snprintf(out + n, bytes - n, "%s%s waits on shard %s for %s",
                              i == 0 ? "" : "; ", from, shard, to);
    }
    if (n + 1 < bytes) {
        (void)snprintf(out + n, bytes - n, ".");
    }
}

static void deliver(struct worker *w, void *arg)
{
    struct order *o = arg;
    (void)victim_stop(w, o->id, o->stamp, o->detail);
    mem_free(o);
}

/* Those who ran one and the same statement in both rounds. */
static size_t steady(const struct look *l, struct wait_node *nodes)
{
    size_t count = 0;
    for (size_t i = 0; i < l->sessions[1].count; i++) {
        const struct waiting *now = &l->sessions[1].all[i];
        const struct waiting *before = find(&l->sessions[0], now->id);
        if (before != NULL && before->stamp == now->stamp) {
            nodes[count++] = (struct wait_node){.id = now->id,
                                                .stamp = now->stamp,
                                                .began_us = now->began_us,
                                                .may_stop = now->may_stop};
        }
    }
    return count;
}

/* Only edges between those and strangers. */
static size_t keep_steady(struct edges *e, const struct wait_node *nodes, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < e->count; i++) {
        int from = e->all[i].from >> 63 != 0;
        int to = e->all[i].to >> 63 != 0;
        for (size_t k = 0; k < count; k++) {
            from |= nodes[k].id == e->all[i].from;
            to |= nodes[k].id == e->all[i].to;
        }
        if (from && to) {
            e->all[kept++] = e->all[i];
        }
    }
    return kept;
}

static int stop_one(struct control *c, struct look *l)
{
    struct wait_edge cycle[CYCLE_MAX];
    struct edges *e = &l->edges[1];
    size_t length = 0;
    struct wait_node *nodes = mem_alloc((l->sessions[1].count + 1) * sizeof(*nodes));
    size_t count = steady(l, nodes);
    e->count = waits_both(e->all, e->count, l->edges[0].all, l->edges[0].count);
    e->count = keep_steady(e, nodes, count);
    const struct wait_node *v =
        waits_victim(nodes, count, e->all, e->count, cycle, CYCLE_MAX, &length);
    if (v != NULL && c->workers_gone == 0) {
        struct order *o = mem_zero(sizeof(*o));
        o->id = v->id;
        o->stamp = v->stamp;
        describe(l, cycle, length, o->detail, sizeof(o->detail));
        worker_visit(c->shared->workers[find(&l->sessions[1], v->id)->worker], deliver, o);
    }
    mem_free(nodes);
    return v != NULL;
}

/* ---- a look ---------------------------------------------------------------------------------- */

static void close_sources(struct deadlock *d)
{
    for (size_t i = 0; i < SHARDS_MAX; i++) {
        waits_close(&d->sources[i]);
    }
    mem_free(d->database);
    d->database = NULL;
    world_unref(d->world);
    d->world = NULL;
}

static void look_free(struct look *l)
{
    for (int i = 0; i < 2; i++) {
        waiting_free(&l->sessions[i]);
        mem_free(l->edges[i].all);
    }
    world_unref(l->world);
    mem_free(l);
}

static void look_over(struct control *c, struct look *l, int found)
{
    struct deadlock *d = c->deadlock;
    int64_t now_us = clock_now_us();
    d->look = NULL;
    d->last_us = now_us;
    int64_t longer_us = d->pause_us * 2 < PAUSE_US_MAX ? d->pause_us * 2 : PAUSE_US_MAX;
    d->pause_us = found ? PAUSE_US_MIN : longer_us;
    d->next_us = now_us + d->pause_us;
    look_free(l);
}

/* The database whose transactions are late: that of two of them. */
static const struct world_db *choose_db(const struct look *l)
{
    const struct waiting_list *s = &l->sessions[0];
    for (size_t i = 0; i < s->count; i++) {
        for (size_t k = i + 1; k < s->count; k++) {
            if (s->all[i].late && s->all[k].late &&
                strcmp(s->all[i].database, s->all[k].database) == 0) {
                return world_find_db(l->world, slice_of(s->all[i].database));
            }
        }
    }
    return NULL;
}

static void begin_round(struct control *c, struct look *l);

static void waits_known(struct control *c, struct job *job)
{
    struct look *l = (struct look *)(void *)job;
    if (l->failed || c->stopping || l->round == 1) {
        look_over(c, l, !l->failed && !c->stopping && stop_one(c, l));
        return;
    }
    l->round = 1;
    begin_round(c, l);
}

static void sessions_known(struct control *c, struct look *l)
{
    struct deadlock *d = c->deadlock;
    l->db = l->round == 0 ? choose_db(l) : l->db;
    if (l->db == NULL || c->stopping) {
        look_over(c, l, 0);
        return;
    }
    if (d->database != NULL &&
        (strcmp(d->database, l->db->conf->name) != 0 || d->world != l->world)) {
        close_sources(d);
    }
    if (d->database == NULL) {
        d->database = mem_strdup(l->db->conf->name);
        d->world = world_ref(l->world);
    }
    l->job.work = ask_servers;
    l->job.done = waits_known;
    job_start(c, &l->job);
}

static void visit(struct worker *w, void *arg)
{
    struct look *l = arg;
    victims_collect(w, &l->sessions[l->round]);
    control_send(l->control, &l->job.mail);
}

static void next_visit(struct control *c, struct control_mail *mail)
{
    struct look *l = (struct look *)(void *)mail;
    if (l->worker < c->shared->workers_count && c->workers_gone == 0) {
        worker_visit(c->shared->workers[l->worker++], visit, l);
        return;
    }
    c->snapshots--;
    sessions_known(c, l);
}

static void begin_round(struct control *c, struct look *l)
{
    l->worker = 0;
    l->job.mail.fn = next_visit;
    c->snapshots++;
    next_visit(c, &l->job.mail);
}

void deadlock_tick(struct control *c, int64_t now_us)
{
    struct deadlock *d = c->deadlock;
    uint64_t sum = 0;
    uint32_t late = 0;
    for (size_t i = 0; i < c->shared->workers_count; i++) {
        uint32_t count = 0;
        sum += worker_late(c->shared->workers[i], &count);
        late += count;
    }
    if (d == NULL && late >= 2) {
        d = c->deadlock = mem_zero(sizeof(*d));
    }
    if (d == NULL || d->look != NULL) {
        return;
    }
    if (late < 2) {
        d->sum = 0;
        if (d->database != NULL && now_us - d->last_us > KEEP_US) {
            close_sources(d);
        }
        return;
    }
    if (sum == d->sum && now_us < d->next_us) {
        return;
    }
    d->pause_us = sum == d->sum ? d->pause_us : PAUSE_US_MIN;
    d->sum = sum;
    struct look *l = d->look = mem_zero(sizeof(*l));
    l->control = c;
    l->world = world_ref(c->world);
    begin_round(c, l);
}

void deadlock_free(struct control *c)
{
    if (c->deadlock != NULL) {
        check(c->deadlock->look == NULL);
        close_sources(c->deadlock);
        mem_free(c->deadlock);
        c->deadlock = NULL;
    }
}
