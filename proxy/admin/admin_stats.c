/*
 * SHOW commands about what was counted: PgBouncer's STATS, then latencies, statement shapes and
 * errors. Numbers of all workers come merged in the snapshot.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "proxy/admin/admin.h"

/* ---- PgBouncer's figures ----------------------------------------------------------------------
 */

#define STATS_TOTALS_COLUMNS                                                                   \
    "total_server_assignment_count:n total_xact_count:n total_query_count:n total_received:n " \
    "total_sent:n total_xact_time:n total_query_time:n total_wait_time:n "                     \
    "total_client_parse_count:n total_server_parse_count:n total_bind_count:n "                \
    "total_client_login_count:n"
#define STATS_AVERAGES_COLUMNS                                                                \
    "avg_server_assignment_count:n avg_xact_count:n avg_query_count:n avg_recv:n avg_sent:n " \
    "avg_xact_time:n avg_query_time:n avg_wait_time:n avg_client_parse_count:n "              \
    "avg_server_parse_count:n avg_bind_count:n avg_client_login_count:n"

static void put_totals(struct admin_call *call, const struct stats_set *set)
{
    for (size_t f = 0; f < STATS_FIGURES_OF_PGBOUNCER; f++) {
        admin_uint(call, set->v[f]);
    }
}

static void put_averages(struct admin_call *call, const struct stats_set *set)
{
    for (size_t f = 0; f < STATS_FIGURES_OF_PGBOUNCER; f++) {
        admin_uint(call, stats_average(call->c, set, (enum stats_figure)f));
    }
}

static void no_columns(struct admin_call *call, const struct stats_set *set)
{
    (void)call;
    (void)set;
}

static void put_errors(struct admin_call *call, const struct stats_set *set)
{
    admin_uint(call, set->v[STATS_ERRORS]);
}

typedef void put_fn(struct admin_call *call, const struct stats_set *set);

/* One row per database, those without traffic too. */
static enum err each_database(struct admin_call *call, const char *columns, put_fn *first,
                              put_fn *second, put_fn *third)
{
    admin_columns(call, columns);
    struct stats *by_database = stats_new();
    stats_by_database(by_database, call->snap->stats);
    const struct world *w = call->c->world;
    for (size_t i = 0; i < w->dbs_count; i++) {
        (void)stats_set_of(by_database, w->dbs[i].conf->name, "");
    }
    size_t count = 0;
    struct stats_set **sets = stats_sets_sorted(by_database, &count);
    for (size_t i = 0; i < count; i++) {
        admin_row(call);
        admin_text(call, sets[i]->database);
        first(call, sets[i]);
        second(call, sets[i]);
        third(call, sets[i]);
    }
    mem_free(sets);
    stats_free(by_database);
    admin_end(call);
    return ERR_NONE;
}

enum err admin_show_stats(struct admin_call *call)
{
    return each_database(
        call, "database " STATS_TOTALS_COLUMNS " " STATS_AVERAGES_COLUMNS " total_error_count:n",
        put_totals, put_averages, put_errors);
}

enum err admin_show_stats_totals(struct admin_call *call)
{
    return each_database(call,
                         "database server_assignment_count:n xact_count:n query_count:n "
                         "bytes_received:n bytes_sent:n xact_time:n query_time:n wait_time:n "
                         "client_parse_count:n server_parse_count:n bind_count:n "
                         "client_login_count:n error_count:n",
                         put_totals, put_errors, no_columns);
}

enum err admin_show_stats_averages(struct admin_call *call)
{
    return each_database(call,
                         "database server_assignment_count:n xact_count:n query_count:n "
                         "bytes_received:n bytes_sent:n xact_time:n query_time:n wait_time:n "
                         "avg_client_parse_count:n avg_server_parse_count:n avg_bind_count:n "
                         "avg_client_login_count:n",
                         put_averages, no_columns, no_columns);
}

/* PgBouncer's names of its figures in SHOW TOTALS, behind total_ and avg_. */
static const char *const figure_names[STATS_FIGURES_OF_PGBOUNCER] = {"server_assignment_count",
                                                                     "xact_count",
                                                                     "query_count",
                                                                     "client_bytes",
                                                                     "server_bytes",
                                                                     "xact_time",
                                                                     "query_time",
                                                                     "wait_time",
                                                                     "client_parse_count",
                                                                     "server_parse_count",
                                                                     "bind_count",
                                                                     "client_login_count"};

static void put_total(struct admin_call *call, const char *prefix, const char *name, uint64_t v)
{
    char text[64];
    (void)snprintf(text, sizeof(text), "%s%s", prefix, name);
    admin_row(call);
    admin_text(call, text);
    admin_uint(call, v);
    admin_text(call, "");
    admin_text(call, "as in PgBouncer");
}

enum err admin_show_totals(struct admin_call *call)
{
    uint64_t totals[STATS_FIGURES_OF_PGBOUNCER] = {0};
    uint64_t averages[STATS_FIGURES_OF_PGBOUNCER] = {0};
    struct stats *by_database = stats_new();
    stats_by_database(by_database, call->snap->stats);
    for (struct hnode *n = hmap_each(&by_database->sets, NULL); n != NULL;
         n = hmap_each(&by_database->sets, n)) {
        const struct stats_set *s = container_of(n, struct stats_set, node);
        for (size_t f = 0; f < STATS_FIGURES_OF_PGBOUNCER; f++) {
            totals[f] += s->v[f];
            averages[f] += stats_average(call->c, s, (enum stats_figure)f);
        }
    }
    stats_free(by_database);
    admin_columns(call, "name value:n unit help");
    for (size_t f = 0; f < STATS_FIGURES_OF_PGBOUNCER; f++) {
        put_total(call, "total_", figure_names[f], totals[f]);
    }
    for (size_t f = 0; f < STATS_FIGURES_OF_PGBOUNCER; f++) {
        put_total(call, "avg_", figure_names[f], averages[f]);
    }
    for (size_t m = 0; m < METRIC_COUNT; m++) {
        admin_row(call);
        admin_text(call, metric_name((enum metric)m));
        admin_uint(call, control_count(call->c, (enum metric)m));
        admin_text(call, metric_unit((enum metric)m));
        admin_text(call, metric_help((enum metric)m));
    }
    admin_end(call);
    return ERR_NONE;
}

/* ---- latencies --------------------------------------------------------------------------------
 */

struct latency {
    const char *kind, *name, *detail, *role;
    uint64_t errors;
    const struct hist *time, *waits;
};

static void put_latency(struct admin_call *call, const struct latency *l)
{
    admin_row(call);
    admin_text(call, l->kind);
    admin_text(call, l->name);
    admin_text(call, l->detail);
    admin_text(call, l->role);
    admin_uint(call, l->time->count);
    admin_uint(call, l->errors);
    admin_uint(call, hist_mean(l->time));
    admin_uint(call, hist_quantile(l->time, 0.5));
    admin_uint(call, hist_quantile(l->time, 0.95));
    admin_uint(call, hist_quantile(l->time, 0.99));
    admin_uint(call, hist_quantile(l->time, 0.999));
    admin_uint(call, l->time->max);
    admin_uint(call, l->waits->count);
    admin_uint(call, hist_quantile(l->waits, 0.5));
    admin_uint(call, hist_quantile(l->waits, 0.99));
    admin_uint(call, l->waits->max);
}

static void put_sets(struct admin_call *call, const struct stats *st, const char *kind)
{
    size_t count = 0;
    struct stats_set **sets = stats_sets_sorted(st, &count);
    for (size_t i = 0; i < count; i++) {
        const struct stats_set *s = sets[i];
        const char *name = s->database[0] != '\0' ? s->database : s->user;
        put_latency(call, &(struct latency){kind, name, "", "", s->v[STATS_ERRORS], &s->requests,
                                            &s->waits});
    }
    mem_free(sets);
}

enum err admin_show_latency(struct admin_call *call)
{
    const struct stats *st = call->snap->stats;
    struct stats *by_database = stats_new();
    struct stats *by_user = stats_new();
    stats_by_database(by_database, st);
    stats_by_user(by_user, st);
    admin_columns(call, "kind name shard role count:q errors:q mean_us:q p50_us:q p95_us:q "
                        "p99_us:q p999_us:q max_us:q waits:q wait_p50_us:q wait_p99_us:q "
                        "wait_max_us:q");
    put_sets(call, by_database, "database");
    put_sets(call, by_user, "user");
    stats_free(by_database);
    stats_free(by_user);
    size_t count = 0;
    struct stats_shard **shards = stats_shards_sorted(st, &count);
    for (size_t i = 0; i < count; i++) {
        const struct stats_shard *s = shards[i];
        put_latency(call,
                    &(struct latency){"shard", s->database, s->shard, stats_role_name(s->role),
                                      s->errors, &s->trips, &s->waits});
    }
    mem_free(shards);
    admin_end(call);
    return ERR_NONE;
}

/* ---- statements and errors --------------------------------------------------------------------
 */

static void put_query(struct admin_call *call, const struct stats_query *q)
{
    char id[24];
    (void)snprintf(id, sizeof(id), "%016llx", (unsigned long long)q->id);
    admin_row(call);
    admin_text(call, q->database);
    admin_text(call, id);
    admin_text(call, q->text);
    admin_uint(call, q->time.count);
    admin_uint(call, q->errors);
    admin_uint(call, q->rows);
    admin_uint(call, q->bytes);
    admin_shards(call, q->database, q->shards);
    admin_uint(call, q->time.sum);
    admin_uint(call, q->min_us);
    admin_uint(call, q->time.max);
    admin_uint(call, hist_mean(&q->time));
    admin_uint(call, hist_quantile(&q->time, 0.5));
    admin_uint(call, hist_quantile(&q->time, 0.95));
    admin_uint(call, hist_quantile(&q->time, 0.99));
}

enum err admin_show_queries(struct admin_call *call)
{
    size_t most = SIZE_MAX;
    const struct stats *st = call->snap->stats;
    if (call->args_count > 0) {
        char *end = NULL;
        most = (size_t)strtoull(call->args[0], &end, 10);
        if (*end != '\0' || end == call->args[0]) {
            return note_set(&call->note, ERR_SYNTAX, "SHOW QUERIES takes a number of rows");
        }
    }
    if (call->c->world->conf->stats_queries_max == 0) {
        enum err e = note_set(&call->note, ERR_UNSUPPORTED, "statements are not counted by shape");
        note_hint(&call->note, "Set stats.queries_max in the configuration file and RELOAD.");
        return e;
    }
    admin_columns(call, "database queryid query calls:q errors:q rows:q bytes:q shards total_us:q "
                        "min_us:q max_us:q mean_us:q p50_us:q p95_us:q p99_us:q");
    struct stats_query **sorted = mem_alloc((st->slots_count + 1) * sizeof(struct stats_query *));
    size_t count = stats_queries_sorted(st, sorted);
    for (size_t i = 0; i < count && i < most; i++) {
        put_query(call, sorted[i]);
    }
    mem_free(sorted);
    admin_end(call);
    return ERR_NONE;
}

static int by_count(const void *a, const void *b)
{
    uint64_t x = ((const struct stats_error *)a)->count;
    uint64_t y = ((const struct stats_error *)b)->count;
    return x > y ? -1 : x < y;
}

enum err admin_show_errors(struct admin_call *call)
{
    struct stats_error *errors =
        mem_dup(call->snap->stats->errors, sizeof(struct stats_error) * STATS_ERRORS_MAX);
    qsort(errors, STATS_ERRORS_MAX, sizeof(*errors), by_count);
    admin_columns(call, "sqlstate origin count:q");
    for (size_t i = 0; i < STATS_ERRORS_MAX && errors[i].count != 0; i++) {
        admin_row(call);
        admin_text(call, errors[i].sqlstate);
        admin_text(call, errors[i].ours ? "pgbraid" : "server");
        admin_uint(call, errors[i].count);
    }
    mem_free(errors);
    admin_end(call);
    return ERR_NONE;
}
