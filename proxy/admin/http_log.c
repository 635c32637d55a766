/* What the change log has, for /metrics and /stats. Control thread; no I/O. */

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "proxy/admin/http.h"
#include "proxy/admin/http_text.h"
#include "replication/cdc/consumer.h"

/* Of those that are behind, and of the largest topics, the first that have a label of their own:
 * there may be very many of both. */
static int by_lag(const void *a, const void *b)
{
    const struct cdc_group_view *x = a;
    const struct cdc_group_view *y = b;
    return x->lag != y->lag ? (x->lag < y->lag) - (x->lag > y->lag) : strcmp(x->group, y->group);
}

static const struct http_group *list_groups(struct control *c, struct arena *a, size_t *count)
{
    struct cdc_log *log = c->shared->cdc_log;
    size_t names_max = (size_t)c->world->conf->stats_names_max;
    size_t max = log == NULL ? 0 : cdc_log_groups_count(log);
    struct cdc_group_view *views = mem_alloc((max + 1) * sizeof(*views));
    size_t n = max == 0 ? 0 : cdc_log_groups(log, views, max);
    qsort(views, n, sizeof(*views), by_lag);
    *count = n < names_max ? n : names_max;
    struct http_group *list = arena_zero(a, (*count + 1) * sizeof(*list));
    int64_t now_us = clock_wall_us();
    for (size_t i = 0; i < *count; i++) {
        const struct cdc_group_view *v = &views[i];
        list[i] = (struct http_group){
            .group = arena_strdup(a, v->group),
            .topic = cdc_log_topic_name(log, v->topic),
            .members = cdc_consumer_members(c->shared->cdc_consumers, v->topic, slice_of(v->group)),
            .lag = v->lag,
            .lost = v->lost,
            .lag_bytes = v->bytes,
            .lag_us = v->time_us == 0 ? 0 : now_us - v->time_us};
    }
    mem_free(views);
    return list;
}

static int by_records(const void *a, const void *b)
{
    const struct http_topic *x = a;
    const struct http_topic *y = b;
    return x->records != y->records ? (x->records < y->records) - (x->records > y->records)
                                    : strcmp(x->topic, y->topic);
}

static struct http_topic look_at_topic(struct cdc_log *log, const struct cdc_topic_view *view)
{
    struct http_topic t = {.topic = cdc_log_topic_name(log, view->id)};
    for (uint16_t p = 0; p < view->partitions; p++) {
        struct cdc_part_view part;
        struct note note;
        if (cdc_log_part(log, view->id, p, &part, &note) == ERR_NONE) {
            t.records += part.end;
            t.kept += part.end - part.start;
            t.bytes += part.bytes;
        }
    }
    return t;
}

static const struct http_topic *list_topics(struct control *c, struct arena *a, size_t *count)
{
    struct cdc_log *log = c->shared->cdc_log;
    size_t names_max = (size_t)c->world->conf->stats_names_max;
    struct cdc_log_stats stats = {0};
    size_t n = 0;
    if (log != NULL) {
        cdc_log_stats(log, &stats);
    }
    struct cdc_topic_view *views = mem_alloc((stats.topics + 1) * sizeof(*views));
    struct http_topic *all = mem_alloc((stats.topics + 1) * sizeof(*all));
    for (size_t k = log == NULL ? 0 : cdc_log_topics(log, 0, views, stats.topics); n < k; n++) {
        all[n] = look_at_topic(log, &views[n]);
    }
    qsort(all, n, sizeof(*all), by_records);
    *count = n < names_max ? n : names_max;
    struct http_topic *list = arena_zero(a, (*count + 1) * sizeof(*list));
    memcpy(list, all, *count * sizeof(*list));
    mem_free(views);
    mem_free(all);
    return list;
}

void http_look_at_log(struct control *c, struct arena *a, struct http_numbers *n)
{
    n->groups = list_groups(c, a, &n->groups_count);
    n->topics = list_topics(c, a, &n->topics_count);
}
