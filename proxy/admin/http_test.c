/*
 * Goal: what machines read from HTTP has the shape that the specifications and docs/ promise.
 * Method: numbers are printed and read again: JSON by its library, OpenMetrics by a small strict
 * reader written from its specification (families in one piece, metadata first, "_total", "# EOF").
 */

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "proxy/admin/http_text.h"

static const char *const shards[] = {"shard0", "shard1"};
static const struct http_server servers[] = {
    {.name = "s0",
     .host = "127.0.0.1",
     .port = 5501,
     .healthy = 1,
     .latency_us = 1500,
     .connections = 5,
     .active = 2,
     .idle = 2},
    {.name = "s\"1\\", .host = "a\nb", .port = 5502, .healthy = 0}};
static const struct http_database databases[] = {
    {.name = "app", .shards = shards, .shards_count = 2, .ready = 1, .epoch = 3, .tables = 4},
    {.name = "other", .shards = shards, .shards_count = 1, .ready = 0, .why = "not read yet"}};

static const struct http_group groups[] = {{.group = "g\"1",
                                            .topic = "app.public.t",
                                            .members = 2,
                                            .lag = 30,
                                            .lost = 4,
                                            .lag_bytes = 5000,
                                            .lag_us = 1500000}};
static const struct http_topic topics[] = {
    {.topic = "app.public.t", .records = 100, .kept = 60, .bytes = 9000}};

static struct http_numbers numbers(void)
{
    struct http_numbers n = {.version = "1.2.3",
                             .uptime_us = 12345678,
                             .workers = 2,
                             .clients_active = 1,
                             .clients_idle = 2,
                             .clients_waiting = 3,
                             .in_doubt = 4,
                             .in_flight = 5,
                             .plan_bytes = 6,
                             .plans = 7,
                             .servers = servers,
                             .servers_count = 2,
                             .databases = databases,
                             .databases_count = 2,
                             .groups = groups,
                             .groups_count = 1,
                             .topics = topics,
                             .topics_count = 1};
    for (size_t m = 0; m < METRIC_COUNT; m++) {
        n.counters[m] = 1000 + m;
    }
    n.counters[METRIC_query_time_us] = 2500001;
    return n;
}

static json_t *parse(struct buf *b)
{
    json_error_t error;
    json_t *o = json_loadb((const char *)b->p, b->n, 0, &error);
    cr_assert_not_null(o, "%s", error.text);
    buf_free(b);
    return o;
}

static json_int_t integer_at(json_t *o, const char *outer, const char *inner)
{
    json_t *value = json_object_get(json_object_get(o, outer), inner);
    cr_assert(json_is_integer(value), "%s.%s", outer, inner);
    return json_integer_value(value);
}

Test(http, stats_have_the_promised_members)
{
    struct http_numbers n = numbers();
    struct buf out = {0};
    http_print_stats(&n, &out);
    json_t *o = parse(&out);
    cr_assert_str_eq(json_string_value(json_object_get(o, "version")), "1.2.3");
    cr_assert_eq(json_integer_value(json_object_get(o, "uptime_s")), 12);
    cr_assert_eq(integer_at(o, "connections", "active"), 1);
    cr_assert_eq(integer_at(o, "connections", "idle"), 2);
    cr_assert_eq(integer_at(o, "connections", "waiting"), 3);
    cr_assert_eq(integer_at(o, "queries", "total"), 1000 + METRIC_queries);
    cr_assert_eq(integer_at(o, "queries", "reads"), 1000 + METRIC_queries_reads);
    cr_assert_eq(integer_at(o, "queries", "writes"), 1000 + METRIC_queries_writes);
    cr_assert_eq(integer_at(o, "queries", "single_shard"), 1000 + METRIC_queries_single_shard);
    cr_assert_eq(integer_at(o, "queries", "multi_shard"), 1000 + METRIC_queries_multi_shard);
    cr_assert_eq(integer_at(o, "queries", "refused"), 1000 + METRIC_queries_refused);
    cr_assert_eq(integer_at(o, "queries", "errors"), 1000 + METRIC_query_errors);
    cr_assert_eq(integer_at(o, "transactions", "one_phase"), 1000 + METRIC_tx_one_phase);
    cr_assert_eq(integer_at(o, "transactions", "two_phase"), 1000 + METRIC_tx_two_phase);
    cr_assert_eq(integer_at(o, "transactions", "aborted"), 1000 + METRIC_tx_aborted);
    cr_assert_eq(integer_at(o, "transactions", "in_doubt"), 4);
    cr_assert_eq(integer_at(o, "transactions", "recovered"), 1000 + METRIC_tx_recovered);
    cr_assert_eq(integer_at(o, "plan_cache", "hits"), 1000 + METRIC_plan_hits);
    json_decref(o);
}

Test(http, stats_tell_servers_and_databases_by_name)
{
    struct http_numbers n = numbers();
    struct buf out = {0};
    http_print_stats(&n, &out);
    json_t *o = parse(&out);
    json_t *s0 = json_object_get(json_object_get(o, "backends"), "s0");
    cr_assert(json_is_true(json_object_get(s0, "healthy")));
    cr_assert_float_eq(json_real_value(json_object_get(s0, "latency_ms")), 1.5, 1e-9);
    cr_assert_eq(json_integer_value(json_object_get(s0, "port")), 5501);
    cr_assert_eq(json_integer_value(json_object_get(s0, "active")), 2);
    json_t *odd = json_object_get(json_object_get(o, "backends"), "s\"1\\");
    cr_assert(json_is_false(json_object_get(odd, "healthy")));
    json_t *app = json_object_get(json_object_get(o, "databases"), "app");
    cr_assert_eq(json_array_size(json_object_get(app, "shards")), 2);
    cr_assert_eq(json_integer_value(json_object_get(app, "epoch")), 3);
    cr_assert_eq(json_integer_value(json_object_get(app, "tables")), 4);
    json_decref(o);
}

/* Two databases, one with a name that must be escaped. */
static struct stats *counted(void)
{
    struct stats *st = stats_new();
    struct stats_set *a = stats_set_of(st, "app", "job");
    a->v[STATS_XACTS] = 3;
    hist_add(&a->requests, 100);
    hist_add(&a->requests, 100000);
    hist_add(&stats_set_of(st, "a\"b\\c\n", "\xff")->requests, 7);
    hist_add(&stats_shard_of(st, "app", "s1", STATS_REPLICA)->trips, 50);
    stats_error(st, SLICE("23505"), 0);
    stats_queries_resize(st, 10);
    struct stats_answer answer = {.us = 9, .rows = 1, .shards = 3};
    stats_query_add(stats_query_of(st, "app", SLICE("SELECT \"a\\b\" \xff\n$1"), "SELECT"),
                    &answer);
    return st;
}

Test(http, stats_with_names_are_whole_json_whatever_the_names)
{
    struct http_numbers n = numbers();
    struct buf out = {0};
    struct stats *st = counted();
    n.stats = st;
    n.names_max = 10;
    http_print_stats(&n, &out);
    json_t *o = parse(&out);
    json_t *dbs = json_object_get(json_object_get(o, "latency"), "databases");
    cr_assert_eq(json_integer_value(json_object_get(json_object_get(dbs, "app"), "count")), 2);
    cr_assert_eq(integer_at(dbs, "app", "transactions"), 3);
    cr_assert_not_null(json_object_get(dbs, "a\"b\\c\n"));
    json_t *below = json_object_get(json_object_get(dbs, "app"), "below_us");
    cr_assert_eq(json_integer_value(json_object_get(below, "128")), 1);
    cr_assert_eq(json_integer_value(json_object_get(below, "131072")), 2);
    json_decref(o);
    http_print_queries(&n, &out);
    o = parse(&out);
    cr_assert_eq(json_array_size(json_object_get(o, "queries")), 1);
    json_decref(o);
    stats_free(st);
}

Test(http, names_past_the_limit_are_one)
{
    struct http_numbers n = numbers();
    struct buf out = {0};
    struct stats *st = counted();
    hist_add(&stats_set_of(st, "third", "job")->requests, 1);
    n.stats = st;
    n.names_max = 1;
    http_print_stats(&n, &out);
    json_t *o = parse(&out);
    json_t *dbs = json_object_get(json_object_get(o, "latency"), "databases");
    cr_assert_eq(json_object_size(dbs), 2);
    cr_assert_eq(integer_at(dbs, "other", "count"), 2);
    json_decref(o);
    stats_free(st);
}

Test(http, names_that_are_no_utf8_do_not_break_the_document)
{
    struct http_numbers n = numbers();
    const struct http_server odd[] = {{.name = "\xff\xfe", .host = "\xff", .port = 1}};
    n.servers = odd;
    n.servers_count = 1;
    struct buf out = {0};
    http_print_stats(&n, &out);
    json_decref(parse(&out));
}

Test(http, health_is_200_only_when_all_is_well)
{
    struct http_numbers n = numbers();
    struct buf out = {0};
    n.servers_count = 1;
    n.databases_count = 1;
    cr_assert_eq(http_print_health(&n, &out), 200);
    json_t *o = parse(&out);
    cr_assert_str_eq(json_string_value(json_object_get(o, "status")), "ok");
    json_decref(o);
    n.databases_count = 2;
    cr_assert_eq(http_print_health(&n, &out), 503);
    o = parse(&out);
    cr_assert_str_eq(json_string_value(json_object_get(json_object_get(o, "databases"), "other")),
                     "not read yet");
    cr_assert_null(json_object_get(o, "servers"));
    json_decref(o);
    n.databases_count = 1;
    n.servers_count = 2;
    cr_assert_eq(http_print_health(&n, &out), 503);
    json_decref(parse(&out));
    n.servers_count = 1;
    n.stopping = 1;
    cr_assert_eq(http_print_health(&n, &out), 503);
    json_decref(parse(&out));
}

/* ---- a strict reader of OpenMetrics -----------------------------------------------------------
 */

struct reading {
    char family[128];
    char type[32];
    char seen[256][128]; /* families, each may come once */
    size_t seen_count;
    int samples; /* of this family */
    int ended;
};

static void begin_family(struct reading *r, const char *name)
{
    if (strcmp(r->family, name) == 0) {
        cr_assert_eq(r->samples, 0, "metadata of %s behind its samples", name);
        return;
    }
    for (size_t i = 0; i < r->seen_count; i++) {
        cr_assert_str_neq(r->seen[i], name, "family in two pieces");
    }
    cr_assert_lt(r->seen_count, 256);
    (void)snprintf(r->seen[r->seen_count++], 128, "%s", name);
    (void)snprintf(r->family, sizeof(r->family), "%s", name);
    r->type[0] = '\0';
    r->samples = 0;
}

static void read_metadata(struct reading *r, char *line)
{
    char kind[16] = "";
    char name[128] = "";
    char rest[32] = "";
    cr_assert_geq(sscanf(line, "# %15s %127s %31s", kind, name, rest), 3, "%s", line);
    begin_family(r, name);
    if (strcmp(kind, "TYPE") == 0) {
        cr_assert_str_empty(r->type);
        (void)snprintf(r->type, sizeof(r->type), "%s", rest);
        cr_assert(strcmp(rest, "counter") == 0 || strcmp(rest, "gauge") == 0 ||
                  strcmp(rest, "info") == 0 || strcmp(rest, "histogram") == 0 ||
                  strcmp(rest, "summary") == 0);
    } else if (strcmp(kind, "UNIT") == 0) {
        size_t n = strlen(name);
        size_t u = strlen(rest);
        cr_assert(n > u && name[n - u - 1] == '_' && strcmp(name + n - u, rest) == 0,
                  "%s does not end in its unit %s", name, rest);
    } else {
        cr_assert_str_eq(kind, "HELP");
    }
}

/* {a="b",c="d"}: returns what follows. */
static const char *read_labels(const char *p, const char *line)
{
    do {
        p++;
        cr_assert(isalpha((unsigned char)*p), "label name: %s", line);
        p += strspn(p, "abcdefghijklmnopqrstuvwxyz_");
        cr_assert(p[0] == '=' && p[1] == '"', "label: %s", line);
        for (p += 2; *p != '"'; p++) {
            cr_assert(*p != '\0' && *p != '\n', "open label value: %s", line);
            if (*p == '\\') {
                p++;
                cr_assert(*p == '\\' || *p == '"' || *p == 'n', "escape: %s", line);
            }
        }
        p++;
    } while (*p == ',');
    cr_assert_eq(*p, '}', "%s", line);
    return p + 1;
}

static int suffix_fits(const char *type, const char *suffix)
{
    static const char *const rules[][5] = {{"counter", "_total"},
                                           {"info", "_info"},
                                           {"gauge", ""},
                                           {"histogram", "_bucket", "_count", "_sum"},
                                           {"summary", "", "_count", "_sum"}};
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        for (size_t k = 1; strcmp(rules[i][0], type) == 0 && k < 5 && rules[i][k] != NULL; k++) {
            if (strcmp(rules[i][k], suffix) == 0) {
                return 1;
            }
        }
    }
    return 0;
}

static void read_sample(struct reading *r, const char *line)
{
    size_t n = strspn(line, "abcdefghijklmnopqrstuvwxyz0123456789_");
    cr_assert(n >= strlen(r->family) && strncmp(line, r->family, strlen(r->family)) == 0,
              "sample of another family: %s, not %s", line, r->family);
    char suffix[160];
    (void)snprintf(suffix, sizeof(suffix), "%.*s", (int)(n - strlen(r->family)),
                   line + strlen(r->family));
    cr_assert(suffix_fits(r->type, suffix), "suffix %s of a %s: %s", suffix, r->type, line);
    const char *p = line + n;
    p = *p == '{' ? read_labels(p, line) : p;
    cr_assert_eq(*p, ' ', "%s", line);
    char *end = NULL;
    (void)strtod(p + 1, &end);
    cr_assert(end != p + 1 && *end == '\0', "number: %s", line);
    r->samples++;
}

static struct reading *read_metrics(char *text)
{
    struct reading *r = calloc(1, sizeof(*r));
    for (char *line; (line = strsep(&text, "\n")) != NULL;) {
        if (line[0] == '\0') {
            cr_assert_null(text, "an empty line");
            break;
        }
        cr_assert_not(r->ended, "text behind # EOF");
        if (strcmp(line, "# EOF") == 0) {
            r->ended = 1;
        } else if (line[0] == '#') {
            read_metadata(r, line);
        } else {
            read_sample(r, line);
        }
    }
    cr_assert(r->ended);
    return r;
}

Test(http, metrics_are_valid_openmetrics)
{
    struct http_numbers n = numbers();
    struct buf out = {0};
    http_print_metrics(&n, &out);
    buf_u8(&out, 0);
    struct reading *r = read_metrics((char *)out.p);
    cr_assert_gt(r->seen_count, (size_t)METRIC_COUNT);
    free(r);
    buf_free(&out);
}

Test(http, metrics_with_names_are_valid_openmetrics_whatever_the_names)
{
    struct http_numbers n = numbers();
    struct buf out = {0};
    struct stats *st = counted();
    n.stats = st;
    n.names_max = 10;
    http_print_metrics(&n, &out);
    buf_u8(&out, 0);
    const char *text = (const char *)out.p;
    cr_assert_not_null(
        strstr(text, "\npgbraid_request_seconds_bucket{database=\"app\",le=\"0.000128\"} 1\n"));
    cr_assert_not_null(
        strstr(text, "\npgbraid_request_seconds_bucket{database=\"app\",le=\"+Inf\"} 2\n"));
    cr_assert_not_null(strstr(text, "\npgbraid_request_seconds_sum{database=\"app\"} 0.100100\n"));
    cr_assert_not_null(strstr(text, "{database=\"a\\\"b\\\\c\\n\",le="));
    cr_assert_not_null(strstr(text, "{user=\"?\",quantile=\"0.99\"} 0.000007\n"));
    cr_assert_not_null(
        strstr(text, "{database=\"app\",shard=\"s1\",role=\"replica\",le=\"+Inf\"} 1\n"));
    cr_assert_not_null(
        strstr(text, "\npgbraid_errors_total{sqlstate=\"23505\",origin=\"server\"} 1\n"));
    struct reading *r = read_metrics((char *)out.p);
    free(r);
    buf_free(&out);
    stats_free(st);
}
Test(http, metrics_carry_the_values_in_base_units)
{
    struct http_numbers n = numbers();
    struct buf out = {0};
    http_print_metrics(&n, &out);
    buf_u8(&out, 0);
    const char *text = (const char *)out.p;
    cr_assert_not_null(strstr(text, "\npgbraid_query_time_seconds_total 2.500001\n"));
    cr_assert_not_null(strstr(text, "\n# TYPE pgbraid_client_in_bytes counter\n"));
    cr_assert_not_null(strstr(text, "\npgbraid_client_connections{state=\"waiting\"} 3\n"));
    cr_assert_not_null(strstr(
        text,
        "\npgbraid_server_latency_seconds{server=\"s0\",host=\"127.0.0.1\",port=\"5501\"} 0.001500\n"));
    cr_assert_not_null(strstr(
        text, "\npgbraid_server_healthy{server=\"s\\\"1\\\\\",host=\"a\\nb\",port=\"5502\"} 0\n"));
    cr_assert_not_null(strstr(text, "\npgbraid_tx_in_doubt 4\n"));
    buf_free(&out);
}
