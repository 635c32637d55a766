/* /stats/queries, and the parts of /stats that have names on them. */

#include <jansson.h>
#include <stdio.h>

#include "base/check.h"
#include "base/mem.h"
#include "proxy/admin/http_text.h"

enum {
    QUERIES_MAX = 1000, /* of one answer */
    FIRST_BIT = 3,
    LAST_BIT = 35
};

/* Names and shapes may be any bytes: what is no UTF-8 becomes "?". */
static json_t *text(const char *s)
{
    json_t *value = json_string(s);
    return value != NULL ? value : json_string("?");
}

static void set(json_t *object, const char *name, json_t *value)
{
    check(json_object_set_new(object, name, value) == 0);
}

static void set_number(json_t *object, const char *name, uint64_t v)
{
    set(object, name, json_integer((json_int_t)v));
}

/* A key that is no UTF-8 is left out: jansson cannot hold it. */
static void set_named(json_t *object, const char *name, json_t *value)
{
    int failed = json_object_set_new(object, name, value);
    (void)failed;
}

static void set_quantiles(json_t *o, const struct hist *h)
{
    set_number(o, "count", h->count);
    set_number(o, "sum_us", h->sum);
    set_number(o, "mean_us", hist_mean(h));
    set_number(o, "p50_us", hist_quantile(h, 0.5));
    set_number(o, "p95_us", hist_quantile(h, 0.95));
    set_number(o, "p99_us", hist_quantile(h, 0.99));
    set_number(o, "p999_us", hist_quantile(h, 0.999));
    set_number(o, "max_us", h->max);
}

/* How many are below each power of two microseconds, from the first that has any to the first that
 * has all. */
static json_t *buckets(const struct hist *h)
{
    json_t *o = json_object();
    for (unsigned bit = FIRST_BIT; bit <= LAST_BIT; bit++) {
        uint64_t below = hist_below(h, bit);
        if (below != 0) {
            char name[24];
            (void)snprintf(name, sizeof(name), "%llu", 1ULL << bit);
            set_number(o, name, below);
        }
        if (below == h->count) {
            break;
        }
    }
    return o;
}

static json_t *latency(const struct hist *h)
{
    json_t *o = json_object();
    set_quantiles(o, h);
    set(o, "below_us", buckets(h));
    return o;
}

static const char *const figures[STATS_FIGURES] = {"server_assignments",
                                                   "transactions",
                                                   "requests",
                                                   "received_bytes",
                                                   "sent_bytes",
                                                   "transaction_us",
                                                   "request_us",
                                                   "wait_us",
                                                   "client_parses",
                                                   "server_parses",
                                                   "binds",
                                                   "client_logins",
                                                   "errors"};

static json_t *of_sets(const struct http_numbers *n,
                       void (*sum)(struct stats *, const struct stats *))
{
    json_t *o = json_object();
    struct stats *st = stats_new();
    size_t count = 0;
    sum(st, n->stats);
    stats_bound_sets(st, n->names_max);
    struct stats_set **sets = stats_sets_sorted(st, &count);
    for (size_t i = 0; i < count; i++) {
        const struct stats_set *s = sets[i];
        json_t *one = latency(&s->requests);
        for (size_t f = 0; f < STATS_FIGURES; f++) {
            set_number(one, figures[f], s->v[f]);
        }
        set(one, "waits", latency(&s->waits));
        set_named(o, s->database[0] != '\0' ? s->database : s->user, one);
    }
    mem_free(sets);
    stats_free(st);
    return o;
}

static json_t *of_shards(const struct http_numbers *n)
{
    json_t *list = json_array();
    struct stats *st = stats_new();
    size_t count = 0;
    stats_merge(st, n->stats, STATS_WANT_SETS);
    stats_bound_shards(st, n->names_max);
    struct stats_shard **shards = stats_shards_sorted(st, &count);
    for (size_t i = 0; i < count; i++) {
        const struct stats_shard *s = shards[i];
        json_t *one = latency(&s->trips);
        set(one, "database", text(s->database));
        set(one, "shard", text(s->shard));
        set(one, "role", text(stats_role_name(s->role)));
        set_number(one, "errors", s->errors);
        set(one, "waits", latency(&s->waits));
        check(json_array_append_new(list, one) == 0);
    }
    mem_free(shards);
    stats_free(st);
    return list;
}

struct json_t *http_json_latency(const struct http_numbers *n)
{
    json_t *o = json_object();
    if (n->stats != NULL) {
        set(o, "databases", of_sets(n, stats_by_database));
        set(o, "users", of_sets(n, stats_by_user));
        set(o, "shards", of_shards(n));
    }
    return o;
}

struct json_t *http_json_errors(const struct http_numbers *n)
{
    json_t *list = json_array();
    for (size_t i = 0; n->stats != NULL && i < STATS_ERRORS_MAX; i++) {
        const struct stats_error *e = &n->stats->errors[i];
        if (e->count != 0) {
            json_t *one = json_object();
            set(one, "sqlstate", text(e->sqlstate));
            set(one, "origin", text(e->ours ? "pgbraid" : "server"));
            set_number(one, "count", e->count);
            check(json_array_append_new(list, one) == 0);
        }
    }
    return list;
}

struct json_t *http_json_pools(const struct http_numbers *n)
{
    json_t *o = json_object();
    for (size_t i = 0; i < n->pools_count; i++) {
        const struct http_pools *p = &n->pools[i];
        json_t *one = json_object();
        set_number(one, "active", p->active);
        set_number(one, "idle", p->idle);
        set_number(one, "login", p->login);
        set_number(one, "waiting", p->waiting);
        set_number(one, "longest_wait_us", (uint64_t)p->max_wait_us);
        set(one, "saturation", json_real(p->saturation));
        set_named(o, p->database, one);
    }
    return o;
}

/* ---- statements ------------------------------------------------------------------------------ */

static json_t *query(const struct stats_query *q)
{
    char id[24];
    json_t *o = json_object();
    (void)snprintf(id, sizeof(id), "%016llx", (unsigned long long)q->id);
    set(o, "queryid", text(id));
    set(o, "database", text(q->database));
    set(o, "query", text(q->text));
    set_number(o, "calls", q->time.count);
    set_number(o, "errors", q->errors);
    set_number(o, "rows", q->rows);
    set_number(o, "bytes", q->bytes);
    set_number(o, "shards", (uint64_t)__builtin_popcountll(q->shards));
    set_quantiles(o, &q->time);
    set_number(o, "min_us", q->min_us);
    return o;
}

static int add_bytes(const char *p, size_t n, void *arg)
{
    buf_add(arg, p, n);
    return 0;
}

void http_print_queries(const struct http_numbers *n, struct buf *out)
{
    size_t count = 0;
    struct stats_query **sorted =
        mem_alloc((n->stats->slots_count + 1) * sizeof(struct stats_query *));
    count = stats_queries_sorted(n->stats, sorted);
    json_t *list = json_array();
    for (size_t i = 0; i < count && i < QUERIES_MAX; i++) {
        check(json_array_append_new(list, query(sorted[i])) == 0);
    }
    mem_free(sorted);
    json_t *o = json_object();
    set(o, "queries", list);
    set_number(o, "kept", count);
    set_number(o, "evicted", n->stats->evicted);
    check(json_dump_callback(o, add_bytes, out, JSON_INDENT(2)) == 0);
    buf_u8(out, '\n');
    json_decref(o);
}
