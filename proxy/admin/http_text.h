#ifndef PROXY_HTTP_TEXT_H
#define PROXY_HTTP_TEXT_H

/*
 * What HTTP answers, as text: pure functions of one struct of numbers, so that their shape is
 * tested without a process around them.
 */

#include "base/buf.h"
#include "base/metric.h"
#include "proxy/stats/stats.h"
#include "replication/cdc/outlet.h"
#include "replication/cdc/source.h"

struct http_server {
    const char *name, *host;
    unsigned port;
    int healthy;
    int64_t latency_us;
    uint64_t connections, active, idle;
};

/* One server in one shard. */
struct http_place {
    const char *database, *shard, *server;
    const char *role, *state;
    uint32_t timeline;         /* 0: not known */
    int64_t lag_bytes, lag_ms; /* -1: none */
    int takes_reads;
    uint64_t reads;
};

struct http_database {
    const char *name;
    const char *const *shards;
    size_t shards_count;
    int ready;
    const char *why; /* not ready: because */
    uint64_t epoch;
    uint64_t tables;
};

/* The pools of one database: all its users and shards. */
struct http_pools {
    const char *database;
    uint64_t active, idle, login; /* server connections */
    uint64_t waiting;             /* clients */
    int64_t max_wait_us;
    double saturation; /* of its fullest pool: connections at work by pool.size */
};

struct http_cdc {
    const char *database, *shard;
    struct cdc_look look;
    int64_t behind_us;
};

/* A group's place in one topic. */
struct http_group {
    const char *group, *topic;
    uint64_t members, lag, lost, lag_bytes;
    int64_t lag_us;
};
struct http_topic {
    const char *topic;
    uint64_t records, kept, bytes;
};

struct http_numbers {
    const char *version;
    int64_t uptime_us;
    uint64_t workers;
    uint64_t clients_active, clients_idle, clients_waiting, clients_login;
    uint64_t counters[METRIC_COUNT];
    uint64_t in_doubt;  /* decided or unknown transactions that are not finished everywhere */
    uint64_t in_flight; /* two-phase commits under way */
    uint64_t plan_bytes, plans;
    const struct http_server *servers;
    size_t servers_count;
    const struct http_database *databases;
    size_t databases_count;
    const struct http_place *places; /* servers of a shard stand together */
    size_t places_count;
    int stopping;
    const struct stats *stats; /* of all workers; NULL: not asked for */
    size_t names_max;          /* databases and users with a label of their own */
    const struct http_pools *pools;
    size_t pools_count;
    const struct http_cdc *cdc; /* change capture, a row per shard */
    size_t cdc_count;
    const struct cdc_outlet_stats *sinks;
    size_t sinks_count;
    const struct http_group *groups; /* at most names_max of either */
    size_t groups_count;
    const struct http_topic *topics;
    size_t topics_count;
};

/* One JSON document with a line end. */
void http_print_stats(const struct http_numbers *n, struct buf *out);
/* Statement shapes, the costliest first. */
void http_print_queries(const struct http_numbers *n, struct buf *out);
/* OpenMetrics 1.0 text, with its "# EOF". */
void http_print_metrics(const struct http_numbers *n, struct buf *out);
/* {"status": ...}; returns the HTTP status: 200, or 503 when something is not well. */
int http_print_health(const struct http_numbers *n, struct buf *out);

/* ---- between the files that print ------------------------------------------------------------ */

struct json_t; /* jansson's */
struct json_t *http_json_latency(const struct http_numbers *n);
struct json_t *http_json_errors(const struct http_numbers *n);
struct json_t *http_json_pools(const struct http_numbers *n);
struct json_t *http_json_cdc(const struct http_numbers *n);
struct json_t *http_json_sinks(const struct http_numbers *n);
struct json_t *http_json_groups(const struct http_numbers *n);
struct json_t *http_json_topics(const struct http_numbers *n);
void metrics_put_groups(const struct http_numbers *n, struct buf *out); /* and topics */
void metrics_put_sinks(const struct http_numbers *n, struct buf *out);
void metrics_put_cdc(const struct http_numbers *n, struct buf *out);
struct json_t *http_json_places(const struct http_numbers *n);
struct json_t *http_json_shard_troubles(const struct http_numbers *n);
void metrics_put_places(const struct http_numbers *n, struct buf *out);
/* http_fields.c: numbers that each of several things has, in both documents. */
struct http_field {
    const char *name, *type, *unit, *help;
};
struct http_fields {
    const char *prefix; /* of all names; JSON does without it */
    const struct http_field *list;
    size_t count;
    size_t things;
    void (*put_labels)(const struct http_numbers *n, size_t thing, struct buf *out);
    double (*value)(const struct http_numbers *n, size_t thing, size_t field);
};
void metrics_put_fields(const struct http_fields *fields, const struct http_numbers *n,
                        struct buf *out);
void http_json_fields(const struct http_fields *fields, const struct http_numbers *n, size_t thing,
                      struct json_t *to);
/* http_metrics.c: HELP, TYPE and UNIT (or NULL); a label's value. */
void metrics_begin(struct buf *out, const char *name, const char *type, const char *unit,
                   const char *help);
void metrics_escaped(struct buf *out, const char *text);
void metrics_put_stats(const struct http_numbers *n, struct buf *out);

#endif
