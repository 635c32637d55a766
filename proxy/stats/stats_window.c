/*
 * Counters over time: the periods that SHOW STATS averages over, and the traffic line of the log.
 * Both need what the workers have; a snapshot is taken once per period for each. Control thread.
 */

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "proxy/admin/snapshot.h"

/* All sets as one; `out` is its. */
static void add_up(struct stats_set *out, const struct stats *st)
{
    *out = (struct stats_set){.database = NULL};
    for (struct hnode *n = st == NULL ? NULL : hmap_each(&st->sets, NULL); n != NULL;
         n = hmap_each(&st->sets, n)) {
        const struct stats_set *s = container_of(n, struct stats_set, node);
        for (size_t i = 0; i < STATS_FIGURES; i++) {
            out->v[i] += s->v[i];
        }
        hist_merge(&out->requests, &s->requests);
    }
}

static void log_traffic(struct stats_window *w, struct stats *st, int64_t now_us)
{
    static struct stats_set now; /* large */
    static struct stats_set before;
    add_up(&now, st);
    add_up(&before, w->logged);
    double seconds = (double)(now_us - w->logged_us) / 1e6;
    uint64_t d[STATS_FIGURES];
    for (size_t i = 0; i < STATS_FIGURES; i++) {
        d[i] = now.v[i] - before.v[i];
    }
    hist_subtract(&now.requests, &before.requests);
    if (w->logged_us != 0 && seconds > 0) {
        uint64_t queries = d[STATS_QUERIES] == 0 ? 1 : d[STATS_QUERIES];
        uint64_t xacts = d[STATS_XACTS] == 0 ? 1 : d[STATS_XACTS];
        log_event(LOG_TRAFFIC,
                  "xacts_per_s=%.0f queries_per_s=%.0f in_per_s=%.0f out_per_s=%.0f "
                  "xact_us=%llu query_us=%llu query_p99_us=%llu wait_us=%llu errors=%llu",
                  (double)d[STATS_XACTS] / seconds, (double)d[STATS_QUERIES] / seconds,
                  (double)d[STATS_RECEIVED] / seconds, (double)d[STATS_SENT] / seconds,
                  (unsigned long long)(d[STATS_XACT_US] / xacts),
                  (unsigned long long)(d[STATS_QUERY_US] / queries),
                  (unsigned long long)hist_quantile(&now.requests, 0.99),
                  (unsigned long long)(d[STATS_WAIT_US] / queries),
                  (unsigned long long)d[STATS_ERRORS]);
    }
}

static int64_t period_us(const struct control *c)
{
    return c->world->conf->stats_period_ms * 1000;
}

static int64_t log_us(const struct control *c)
{
    return c->world->conf->log_stats_ms * 1000;
}

static void have_snapshot(struct control *c, struct snapshot *s, void *arg)
{
    struct stats_window *w = &c->stats;
    int64_t now_us = clock_now_us();
    (void)arg;
    w->asked = 0;
    if (log_us(c) != 0 && now_us - w->logged_us >= log_us(c)) {
        log_traffic(w, s->stats, now_us);
        stats_free(w->logged);
        w->logged = stats_new();
        stats_merge(w->logged, s->stats, STATS_WANT_SETS);
        w->logged_us = now_us;
    }
    if (w->now_us == 0 || now_us - w->now_us >= period_us(c)) {
        stats_free(w->before);
        w->before = w->now;
        w->before_us = w->now_us;
        w->now = s->stats;
        w->now_us = now_us;
        s->stats = NULL;
    }
    snapshot_free(s);
}

void stats_tick(struct control *c, int64_t now_us)
{
    struct stats_window *w = &c->stats;
    int log_due = log_us(c) != 0 && now_us - w->logged_us >= log_us(c);
    int due = log_due || w->now_us == 0 || now_us - w->now_us >= period_us(c);
    if (due && !w->asked && c->stopping == 0) {
        w->asked = 1;
        snapshot_take(c, SNAPSHOT_STATS, have_snapshot, NULL);
    }
}

void stats_window_free(struct stats_window *w)
{
    stats_free(w->now);
    stats_free(w->before);
    stats_free(w->logged);
}

/* ---- averages -------------------------------------------------------------------------------- */

static uint64_t figure_of(const struct stats *st, const char *database, enum stats_figure f)
{
    uint64_t sum = 0;
    for (struct hnode *n = st == NULL ? NULL : hmap_each(&st->sets, NULL); n != NULL;
         n = hmap_each(&st->sets, n)) {
        const struct stats_set *s = container_of(n, struct stats_set, node);
        sum += strcmp(s->database, database) == 0 ? s->v[f] : 0;
    }
    return sum;
}

static uint64_t growth(const struct stats_window *w, const struct stats_set *now,
                       enum stats_figure f)
{
    uint64_t at = figure_of(w->now, now->database, f);
    return w->before == NULL ? now->v[f] - at : at - figure_of(w->before, now->database, f);
}

uint64_t stats_average(const struct control *c, const struct stats_set *now, enum stats_figure f)
{
    const struct stats_window *w = &c->stats;
    uint64_t grown = growth(w, now, f);
    if (f == STATS_XACT_US || f == STATS_QUERY_US) {
        uint64_t count = growth(w, now, f == STATS_XACT_US ? STATS_XACTS : STATS_QUERIES);
        return count == 0 ? 0 : grown / count;
    }
    int64_t us = w->before == NULL ? clock_now_us() - w->now_us : w->now_us - w->before_us;
    return w->now_us == 0 || us <= 0 ? 0 : (uint64_t)((double)grown * 1e6 / (double)us);
}
