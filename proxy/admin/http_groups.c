/* Groups of consumers and topics of the change log in /metrics and /stats. */

#include <jansson.h>

#include "proxy/admin/http_text.h"

enum group_field {
    LAG,
    LAG_BYTES,
    LAG_SECONDS,
    LOST,
    MEMBERS,
    GROUP_FIELDS
};
enum topic_field {
    RECORDS,
    KEPT,
    BYTES,
    TOPIC_FIELDS
};

static const struct http_field GROUP_LIST[GROUP_FIELDS] = {
    [LAG] = {"pgbraid_group_lag_records", "gauge", "records",
             "records of the topic that the group has not committed yet"},
    [LAG_BYTES] = {"pgbraid_group_lag_bytes", "gauge", "bytes", "their bytes, about"},
    [LAG_SECONDS] = {"pgbraid_group_lag_seconds", "gauge", "seconds",
                     "age of the oldest of them, about; 0: there are none"},
    [LOST] = {"pgbraid_group_lost_records", "gauge", "records",
              "of them, those that retention has taken"},
    [MEMBERS] = {"pgbraid_group_members", "gauge", NULL, "members of the group now"},
};
static const struct http_field TOPIC_LIST[TOPIC_FIELDS] = {
    [RECORDS] = {"pgbraid_topic_records", "counter", NULL, "records that came to the topic"},
    [KEPT] = {"pgbraid_topic_kept_records", "gauge", "records",
              "places of records that the change log still has"},
    [BYTES] = {"pgbraid_topic_bytes", "gauge", "bytes", "their files"},
};

static double group_value(const struct http_numbers *n, size_t i, size_t field)
{
    const struct http_group *g = &n->groups[i];
    switch ((enum group_field)field) {
    case LAG: return (double)g->lag;
    case LAG_BYTES: return (double)g->lag_bytes;
    case LAG_SECONDS: return (double)g->lag_us / 1e6;
    case LOST: return (double)g->lost;
    case MEMBERS: return (double)g->members;
    case GROUP_FIELDS: break;
    }
    return 0;
}

static double topic_value(const struct http_numbers *n, size_t i, size_t field)
{
    const struct http_topic *t = &n->topics[i];
    switch ((enum topic_field)field) {
    case RECORDS: return (double)t->records;
    case KEPT: return (double)t->kept;
    case BYTES: return (double)t->bytes;
    case TOPIC_FIELDS: break;
    }
    return 0;
}

static void group_labels(const struct http_numbers *n, size_t i, struct buf *out)
{
    buf_text(out, "group=\"");
    metrics_escaped(out, n->groups[i].group);
    buf_text(out, "\",topic=\"");
    metrics_escaped(out, n->groups[i].topic);
    buf_u8(out, '"');
}

static void topic_labels(const struct http_numbers *n, size_t i, struct buf *out)
{
    buf_text(out, "topic=\"");
    metrics_escaped(out, n->topics[i].topic);
    buf_u8(out, '"');
}

static struct http_fields group_fields(const struct http_numbers *n)
{
    return (struct http_fields){.prefix = "pgbraid_group_",
                                .list = GROUP_LIST,
                                .count = GROUP_FIELDS,
                                .things = n->groups_count,
                                .put_labels = group_labels,
                                .value = group_value};
}

static struct http_fields topic_fields(const struct http_numbers *n)
{
    return (struct http_fields){.prefix = "pgbraid_topic_",
                                .list = TOPIC_LIST,
                                .count = TOPIC_FIELDS,
                                .things = n->topics_count,
                                .put_labels = topic_labels,
                                .value = topic_value};
}

void metrics_put_groups(const struct http_numbers *n, struct buf *out)
{
    struct http_fields groups = group_fields(n);
    struct http_fields topics = topic_fields(n);
    metrics_put_fields(&groups, n, out);
    metrics_put_fields(&topics, n, out);
}

json_t *http_json_groups(const struct http_numbers *n)
{
    struct http_fields fields = group_fields(n);
    json_t *list = json_array();
    for (size_t i = 0; i < n->groups_count; i++) {
        json_t *one = json_object();
        (void)json_object_set_new(one, "group", json_string(n->groups[i].group));
        (void)json_object_set_new(one, "topic", json_string(n->groups[i].topic));
        http_json_fields(&fields, n, i, one);
        (void)json_array_append_new(list, one);
    }
    return list;
}

json_t *http_json_topics(const struct http_numbers *n)
{
    struct http_fields fields = topic_fields(n);
    json_t *list = json_array();
    for (size_t i = 0; i < n->topics_count; i++) {
        json_t *one = json_object();
        (void)json_object_set_new(one, "topic", json_string(n->topics[i].topic));
        http_json_fields(&fields, n, i, one);
        (void)json_array_append_new(list, one);
    }
    return list;
}
