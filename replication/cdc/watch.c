/*
 * Looks at the slot from outside: how much of the server's log it holds, and whether that is too
 * much (keep.h). Also while tables are copied and between two tries, when a slot holds most.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "replication/cdc/source_impl.h"

static const char HINT[] = "see SHOW CDC for what does not go on";

static uint64_t number_at(const PGresult *r, int column)
{
    return strtoull(pq_text(r, 0, column), NULL, 10);
}

static void judge(struct cdc_source *s, const struct cdc_look *look)
{
    const struct cdc_keep_look keep = {
        .retained = look->retained_bytes,
        .safe = look->safe_bytes,
        .unreserved = strcmp(look->wal_status, "unreserved") == 0,
        .max = s->o.retained_max,
        .limit = s->state.phase == CDC_STREAMING ? s->o.retained_limit : 0};
    enum cdc_keep verdict = cdc_keep_judge(&s->keeping, &keep);
    if (verdict == CDC_KEEP_ALARM) {
        log_event(LOG_CDC_RETAINED,
                  "database=%s shard=%s slot=%s retained_bytes=%llu safe_bytes=%lld "
                  "wal_status=%s hint=\"%s\"",
                  s->o.shard.database, s->o.shard.name, s->state.slot,
                  (unsigned long long)keep.retained, (long long)keep.safe, look->wal_status, HINT);
    } else if (verdict == CDC_KEEP_RELIEF) {
        log_event(LOG_CDC_RELIEVED, "database=%s shard=%s slot=%s retained_bytes=%llu",
                  s->o.shard.database, s->o.shard.name, s->state.slot,
                  (unsigned long long)keep.retained);
    }
    s->is_over = verdict == CDC_KEEP_GIVE_UP;
}

static void take_look(struct cdc_source *s, const PGresult *r)
{
    uint64_t end = number_at(r, 0);
    uint64_t kept_from = number_at(r, 1);
    uint64_t confirmed = number_at(r, 2);
    (void)pthread_mutex_lock(&s->lock);
    struct cdc_look *look = &s->look;
    look->server_lsn = end;
    s->looked_us = clock_now_us();
    look->retained_bytes = end > kept_from ? end - kept_from : 0;
    look->unconfirmed_bytes = end > confirmed ? end - confirmed : 0;
    (void)snprintf(look->wal_status, sizeof(look->wal_status), "%s", pq_text(r, 0, 3));
    look->safe_bytes = PQgetisnull(r, 0, 4) ? -1 : strtoll(pq_text(r, 0, 4), NULL, 10);
    const struct cdc_look seen = *look;
    (void)pthread_mutex_unlock(&s->lock);
    judge(s, &seen);
    (void)pthread_mutex_lock(&s->lock);
    look->is_alarm = s->keeping.alarm;
    (void)pthread_mutex_unlock(&s->lock);
}

void cdc_watch(struct cdc_source *s)
{
    int64_t now_us = clock_now_us();
    if (now_us < s->watch_us || s->state.slot[0] == '\0') {
        return;
    }
    s->watch_us = now_us + (int64_t)(s->o.watch_ms > 0 ? s->o.watch_ms : CDC_WATCH_MS) * 1000;
    struct buf sql = {0};
    struct note note;
    PGresult *r = NULL;
    buf_printf(&sql,
               "SELECT pg_catalog.pg_current_wal_lsn() - '0/0', restart_lsn - '0/0', "
               "confirmed_flush_lsn - '0/0', %s FROM pg_catalog.pg_replication_slots "
               "WHERE slot_name = ",
               s->version >= 130000 ? "coalesce(wal_status, ''), safe_wal_size" : "'', NULL");
    source_put_text(&sql, s->state.slot);
    buf_u8(&sql, 0);
    if (cdc_side(s, (const char *)sql.p, &r, &note) == ERR_NONE) {
        if (PQntuples(r) == 1) {
            take_look(s, r);
        }
        PQclear(r);
    }
    buf_free(&sql);
    if (s->is_streaming) {
        cdc_watch_publication(s);
    }
}

enum err cdc_give_up(struct cdc_source *s, struct note *note)
{
    char why[300];
    s->is_over = 0;
    (void)snprintf(why, sizeof(why),
                   "replication slot \"%s\" made the server keep more of its log than "
                   "cdc.retained_limit_bytes (%llu), and did not catch up",
                   s->state.slot, (unsigned long long)s->o.retained_limit);
    return cdc_gap(s, why, note);
}
