#include "proxy/cdc/feed_cuts.h"

#include <inttypes.h>
#include <string.h>

#include "base/mem.h"
#include "replication/cdc/cut.h"

enum {
    TOPICS_CHUNK = 32
};

struct giving {
    struct cdc_log *log;
    const char *database;
    feed_cut_fn *fn;
    void *arg;
    uint32_t given;
};

int feed_wants_cuts(const struct feed_call *call)
{
    return strcmp(call->topic, "braid.cuts") == 0;
}

/* {"s0":12,"s1":7} for each partition. */
static enum err put_topic(const struct giving *g, const struct cdc_cut *cut,
                          const struct cdc_topic_view *topic, struct buf *out, struct note *note)
{
    enum err e = ERR_NONE;
    buf_text(out, "{\"topic\":");
    cdc_json_text(out, slice_of(topic->name));
    buf_text(out, ",\"partitions\":[");
    for (uint16_t p = 0; p < topic->partitions; p++) {
        buf_text(out, p == 0 ? "{" : ",{");
        for (size_t s = 0; e == ERR_NONE && s < cut->shards_count; s++) {
            uint64_t offset = 0;
            e = cdc_cut_offset(g->log, &cut->shards[s], topic->id, p, &offset, note);
            buf_text(out, s == 0 ? "" : ",");
            cdc_json_text(out, slice_of(cdc_log_source_name(g->log, cut->shards[s].source)));
            buf_printf(out, ":%" PRIu64, offset);
        }
        buf_u8(out, '}');
    }
    buf_text(out, "]}");
    return e;
}

static enum err put_topics(const struct giving *g, const struct cdc_cut *cut, struct buf *out,
                           struct note *note)
{
    struct cdc_topic_view list[TOPICS_CHUNK];
    size_t database_bytes = strlen(g->database);
    enum err e = ERR_NONE;
    uint32_t last = 0;
    const char *comma = "";
    for (size_t n = 1; e == ERR_NONE && n > 0;) {
        n = cdc_log_topics(g->log, last, list, TOPICS_CHUNK);
        for (size_t i = 0; e == ERR_NONE && i < n; i++) {
            last = list[i].id;
            if (strncmp(list[i].name, g->database, database_bytes) == 0 &&
                list[i].name[database_bytes] == '.' &&
                strncmp(list[i].name + database_bytes, ".braid.", 7) != 0) {
                buf_text(out, comma);
                comma = ",";
                e = put_topic(g, cut, &list[i], out, note);
            }
        }
    }
    return e;
}

static enum err put_cut(const struct giving *g, const struct cdc_cut *cut, struct buf *out,
                        struct note *note)
{
    buf_printf(out, "{\"cut\":%" PRIu64 ",\"ts_ms\":%" PRId64 ",\"shards\":[", cut->number,
               cut->time_us / 1000);
    for (size_t i = 0; i < cut->shards_count; i++) {
        const struct cdc_cut_shard *s = &cut->shards[i];
        buf_text(out, i == 0 ? "{\"shard\":" : ",{\"shard\":");
        cdc_json_text(out, slice_of(cdc_log_source_name(g->log, s->source)));
        buf_printf(out, ",\"epoch\":%" PRIu32 ",\"lsn\":%" PRIu64 "}", s->epoch, s->lsn);
    }
    buf_text(out, "],\"ahead\":[");
    for (size_t i = 0; i < cut->ahead_count; i++) {
        const struct cdc_cut_ahead *a = &cut->ahead[i];
        buf_text(out, i == 0 ? "{\"shard\":" : ",{\"shard\":");
        cdc_json_text(out, slice_of(cdc_log_source_name(g->log, a->source)));
        buf_printf(out, ",\"epoch\":%" PRIu32 ",\"lsn\":%" PRIu64 ",\"place\":%" PRIu64 "}",
                   a->epoch, a->lsn, a->place);
    }
    buf_text(out, "],\"topics\":[");
    enum err e = put_topics(g, cut, out, note);
    buf_text(out, "]}");
    return e;
}

static enum err is_stopping(const struct giving *g, struct note *note)
{
    return cdc_log_is_woken(g->log) ? note_set(note, ERR_SHUTDOWN, "the change log is being closed")
                                    : ERR_NONE;
}

static enum err give(struct giving *g, const struct cdc_cut *cut, int *goes_on, struct note *note)
{
    struct buf json = {0};
    enum err e = put_cut(g, cut, &json, note);
    if (e == ERR_NONE) {
        g->given++;
        *goes_on = g->fn(g->arg, cut->number, buf_slice(&json));
    }
    buf_free(&json);
    return e;
}

static enum err give_from(struct giving *g, struct cdc_cuts *cuts, uint32_t limit,
                          struct note *note)
{
    struct cdc_cut cut;
    int found = 1;
    int goes_on = 1;
    enum err e = ERR_NONE;
    while (e == ERR_NONE && found && goes_on && g->given < limit) {
        e = is_stopping(g, note);
        e = e ? e : cdc_cut_next(cuts, &cut, &found, note);
        if (e == ERR_NONE && found) {
            e = give(g, &cut, &goes_on, note);
        }
    }
    return e;
}

/* The last of those that follow. */
static enum err give_last(struct giving *g, struct cdc_cuts *cuts, struct note *note)
{
    struct cdc_cut cut;
    struct cdc_cut last = {0};
    int found = 1;
    int goes_on;
    enum err e = ERR_NONE;
    while (e == ERR_NONE && found) {
        e = is_stopping(g, note);
        e = e ? e : cdc_cut_next(cuts, &cut, &found, note);
        if (e == ERR_NONE && found) {
            mem_free((void *)(uintptr_t)last.shards);
            mem_free((void *)(uintptr_t)last.ahead);
            last = cut;
            last.shards = mem_dup(cut.shards, cut.shards_count * sizeof(cut.shards[0]));
            last.ahead = cut.ahead_count == 0
                             ? NULL
                             : mem_dup(cut.ahead, cut.ahead_count * sizeof(cut.ahead[0]));
        }
    }
    if (e == ERR_NONE && last.shards != NULL) {
        e = give(g, &last, &goes_on, note);
    }
    mem_free((void *)(uintptr_t)last.shards);
    mem_free((void *)(uintptr_t)last.ahead);
    return e;
}

static enum err check_arguments(const struct feed_call *call, struct note *note)
{
    int is_place = call->from == NULL || strcmp(call->from, "earliest") == 0 ||
                   strcmp(call->from, "latest") == 0;
    if (call->group != NULL || call->partition >= 0 || call->wait_ms > 0 || !is_place) {
        return note_set(note, ERR_BAD_SETTING,
                        "braid.cuts takes from => earliest or latest, offset => the number of a "
                        "cut, and limit");
    }
    return ERR_NONE;
}

enum err feed_cuts(struct cdc_log *log, const char *database, const struct feed_call *call,
                   feed_cut_fn *fn, void *arg, struct note *note)
{
    struct giving g = {.log = log, .database = database, .fn = fn, .arg = arg};
    struct cdc_cuts *cuts = NULL;
    int newest = call->offset < 0 && (call->from == NULL || strcmp(call->from, "latest") == 0);
    enum err e = check_arguments(call, note);
    e = e ? e : cdc_cuts_new(log, slice_of(database), &cuts, note);
    if (e) {
        return e;
    }
    e = cdc_cut_seek(cuts,
                     newest             ? CDC_CUT_NEWEST
                     : call->offset > 0 ? (uint64_t)call->offset
                                        : CDC_CUT_EARLIEST,
                     note);
    e = e        ? e
        : newest ? give_last(&g, cuts, note)
                 : give_from(&g, cuts, (uint32_t)call->limit, note);
    if (e == ERR_NONE && newest && g.given == 0) { /* the last ones gave none: is there any? */
        e = cdc_cut_seek(cuts, CDC_CUT_EARLIEST, note);
        e = e ? e : give_last(&g, cuts, note);
    }
    if (e == ERR_NONE && newest && g.given == 0) {
        const char *why = cdc_cut_waits(cuts);
        e = note_set(note, ERR_BAD_STATE, "there is no consistent cut of database \"%s\" yet: %s",
                     database, why[0] != '\0' ? why : "it takes three watermarks of all shards");
        note_hint(note, "See cdc.watermark_ms, and SHOW CDC_LOG for the newest watermark of each "
                        "shard.");
    }
    cdc_cuts_free(cuts);
    return e;
}
