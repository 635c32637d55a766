/* Where sessions live. The picture is in balance.h. */

#include "proxy/pool/balance.h"

#include <time.h>

#include "base/clock.h"
#include "proxy/session/session.h"
#include "proxy/worker.h"

enum {
    STEP_US = 200 * 1000,
    REST_US = 1000 * 1000, /* between looks of a worker that does nothing */
    HIGH_MAX = 950,
    WORKS = 10 /* thousandths: below it a worker rests */
};

/* ---- the rules ------------------------------------------------------------------------------- */

size_t balance_place(const uint32_t *loads, size_t count, uint32_t room)
{
    size_t least = 0;
    for (size_t i = 0; i < count; i++) {
        if (loads[i] < room) {
            return i;
        }
        least = loads[i] < loads[least] ? i : least;
    }
    return least;
}

static uint32_t too_much(uint32_t room)
{
    uint32_t high = room * 17 / 12;
    return high > HIGH_MAX ? HIGH_MAX : high;
}

int balance_choose(const uint32_t *loads, size_t count, size_t self, uint32_t room,
                   struct balance_move *out)
{
    uint32_t mine = loads[self];
    if (mine > too_much(room)) {
        for (size_t i = 0; i < count; i++) {
            if (i != self && loads[i] < room) {
                *out = (struct balance_move){i, (mine - loads[i]) / 2 * 1000 / mine};
                return 1;
            }
        }
        return 0;
    }
    for (size_t i = 0; i < self; i++) {
        if (loads[i] + mine < room) {
            *out = (struct balance_move){i, 1000};
            return 1;
        }
    }
    return 0;
}

/* ---- loads ----------------------------------------------------------------------------------- */

static size_t read_loads(const struct shared *shared, uint32_t *loads)
{
    for (size_t i = 0; i < shared->workers_count; i++) {
        loads[i] = atomic_load_explicit(&shared->workers[i]->load, memory_order_relaxed);
    }
    return shared->workers_count;
}

static size_t fewest_clients(const struct shared *shared)
{
    size_t best = 0;
    for (size_t i = 1; i < shared->workers_count; i++) {
        if (worker_clients(shared->workers[i]) < worker_clients(shared->workers[best])) {
            best = i;
        }
    }
    return best;
}

struct worker *balance_worker(struct shared *shared, int64_t fill)
{
    uint32_t loads[WORKERS_MAX];
    size_t count = read_loads(shared, loads);
    return shared->workers[fill == 0 ? fewest_clients(shared)
                                     : balance_place(loads, count, (uint32_t)fill * 10)];
}

static int64_t thread_cpu_us(void)
{
    struct timespec t;
    return clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) != 0
               ? 0
               : (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static uint32_t measure(struct worker *w, int64_t now_us)
{
    int64_t cpu_us = thread_cpu_us();
    int64_t wall = now_us - w->balance_us;
    int64_t load = wall <= 0 ? 0 : (cpu_us - w->balance_cpu_us) * 1000 / wall;
    w->balance_cpu_us = cpu_us;
    load = load < 0 ? 0 : load > 1000 ? 1000 : load;
    atomic_store_explicit(&w->load, (uint32_t)load, memory_order_relaxed);
    return (uint32_t)load;
}

/* ---- moving ---------------------------------------------------------------------------------- */

static size_t count_active(const struct worker *w, int64_t since_us)
{
    size_t n = 0;
    list_each (node, &w->sessions) {
        n += container_of(node, struct session, node)->request_us > since_us;
    }
    return n;
}

static void move_some(struct worker *w, const struct balance_move *move, int64_t since_us)
{
    size_t active = count_active(w, since_us);
    size_t most = (active * move->share + 999) / 1000;
    most = most > BALANCE_MOVES ? BALANCE_MOVES : most;
    if (move->share < 1000 && active < 2) {
        return; /* one that takes a whole processor has nothing to share */
    }
    struct worker *to = w->shared->workers[move->to];
    size_t moved = 0;
    list_each_safe (node, &w->sessions) {
        struct session *s = container_of(node, struct session, node);
        if (moved < most && s->request_us > since_us) {
            moved += session_move(s, to) != 0;
        }
    }
    metric_add(&w->metrics, METRIC_client_moves, moved);
    if (moved != 0) { /* what others choose by until `to` has measured it */
        uint32_t load = atomic_load_explicit(&w->load, memory_order_relaxed);
        atomic_fetch_add_explicit(&to->load, (uint32_t)(load * moved / active),
                                  memory_order_relaxed);
    }
}

static void settle(struct worker *w, uint32_t mine, int64_t since_us)
{
    uint32_t loads[WORKERS_MAX];
    size_t count = read_loads(w->shared, loads);
    uint32_t room = (uint32_t)w->world->conf->worker_fill * 10;
    struct balance_move move;
    loads[w->index] = mine;
    if (room != 0 && balance_choose(loads, count, w->index, room, &move)) {
        move_some(w, &move, since_us);
    }
}

static void step(void *arg)
{
    struct worker *w = arg;
    struct shared *shared = w->shared;
    int64_t now = loop_now_us(w->loop);
    int64_t since = w->balance_us;
    uint32_t mine = measure(w, now);
    w->balance_us = now;
    if (mine != 0 && shared->workers_count > 1 && !w->draining && !atomic_load(&shared->stopping)) {
        settle(w, mine, since);
    }
    timer_set(&w->balance, mine < WORKS ? REST_US : STEP_US);
}

void balance_start(struct worker *w)
{
    timer_init(&w->balance, w->loop, step, w);
    timer_set(&w->balance, REST_US);
    w->balance_us = clock_now_us();
}

void balance_hurry(struct worker *w)
{
    int64_t soon = loop_now_us(w->loop) + STEP_US;
    if (w->balance.deadline_us > soon) {
        timer_set(&w->balance, STEP_US);
    }
}

void balance_end(struct worker *w)
{
    timer_free(&w->balance);
}
