/*
 * Watermark after watermark: what lies between two of them, on all shards, is a window. For the
 * cut at a watermark two windows matter, the one before and the one behind: a two-phase commit
 * that the cut goes through has a piece in one of them, or was still prepared at the end of the
 * second, and pieces in older ones are kept as long as that lasts.
 *
 *     ... older ---- window ---- mark ---- window ---- horizon ...      the cut is at `mark`
 */

#include "replication/cdc/cut.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "replication/cdc/cut_impl.h"

enum {
    NEWEST_BACK = 4 /* watermarks from the end */
};

/* ---- from watermark to watermark ------------------------------------------------------------- */

static void forget(struct cdc_cuts *c)
{
    cut_mark_free(&c->older);
    cut_mark_free(&c->mark);
    cut_mark_free(&c->horizon);
    cut_mark_free(&c->second);
    c->has_older = c->has_mark = c->has_horizon = 0;
    c->older_is_coarse = c->is_coarse = c->is_whole = 0;
    cut_drop_all(c);
    for (size_t i = 0; i < c->streams_count; i++) {
        cut_scan_free(&c->streams[i].scan);
    }
    mem_free(c->streams);
    c->streams = NULL;
    c->streams_count = 0;
    c->waits[0] = '\0';
}

/* The horizon becomes the mark. */
static void shift(struct cdc_cuts *c)
{
    cut_drop_older(c);
    cut_mark_free(&c->older);
    c->older = c->mark;
    c->mark = c->horizon;
    c->horizon = (struct cut_mark){0};
    c->has_older = c->has_mark;
    c->has_mark = 1;
    c->has_horizon = 0;
    c->older_is_coarse = c->is_coarse;
}

/* The first one: streams begin where it stands, or at the beginning of the log. */
static enum err begin(struct cdc_cuts *c, struct note *note)
{
    struct cdc_part_view view;
    enum err e = cdc_log_part(c->log, c->transactions, 0, &view, note);
    if (e) {
        return e;
    }
    c->is_whole = view.start == 0 && c->marks.offset == 0;
    c->wants_second = 1;
    for (size_t i = 0; i < c->horizon.count; i++) {
        const struct cut_mark_shard *s = &c->horizon.shards[i];
        (void)cut_need_stream(c, s->source, c->is_whole ? 0 : s->place);
    }
    return ERR_NONE;
}

static void take_second(struct cdc_cuts *c)
{
    const struct cut_mark *from = &c->horizon;
    cut_mark_free(&c->second);
    c->second.count = from->count;
    c->second.shards = mem_zero((from->count + 1) * sizeof(from->shards[0]));
    for (size_t i = 0; i < from->count; i++) {
        c->second.shards[i] = from->shards[i];
        c->second.shards[i].prepared = NULL;
        c->second.shards[i].prepared_count = 0;
    }
    c->wants_second = 0;
}

static enum err advance(struct cdc_cuts *c, int *any, struct note *note)
{
    *any = 1;
    if (c->has_horizon) {
        return ERR_NONE;
    }
    enum err e = cut_read_mark(c, &c->marks, &c->horizon, any, note);
    if (e || !*any) {
        return e;
    }
    if (!c->has_mark) {
        e = begin(c, note);
    } else if (c->wants_second) {
        take_second(c);
    }
    e = e ? e : cut_read_window(c, note);
    c->has_horizon = e == ERR_NONE;
    return e;
}

enum err cdc_cut_next(struct cdc_cuts *c, struct cdc_cut *out, int *found, struct note *note)
{
    *found = 0;
    for (;;) {
        int any;
        int is_cut = 0;
        enum err e = advance(c, &any, note);
        if (e || !any) {
            return e;
        }
        if (c->has_older && c->mark.number >= c->wanted) {
            c->waits[0] = '\0';
            e = cut_close(c, &is_cut, note);
        }
        if (e || is_cut < 0) {
            return e;
        }
        uint64_t number = c->mark.number;
        int64_t time_us = c->mark.time_us;
        size_t count = c->mark.count;
        shift(c);
        if (is_cut) {
            *out = (struct cdc_cut){.number = number,
                                    .time_us = time_us,
                                    .shards = c->places,
                                    .shards_count = count,
                                    .ahead = c->ahead,
                                    .ahead_count = c->ahead_count};
            *found = 1;
            return ERR_NONE;
        }
    }
}

const char *cdc_cut_waits(const struct cdc_cuts *c)
{
    return c->waits;
}

/* ---- where to begin -------------------------------------------------------------------------- */

static void start_at(struct cdc_cuts *c, uint64_t offset)
{
    forget(c);
    cut_scan_to(&c->marks, offset);
}

/* The watermark at an offset, or the next that is kept. */
static enum err mark_at(struct cdc_cuts *c, uint64_t offset, struct cut_mark *out, int *found,
                        struct note *note)
{
    struct cut_scan scan = {.topic = c->marks.topic, .next = offset};
    enum err e = cut_read_mark(c, &scan, out, found, note);
    cut_scan_free(&scan);
    return e;
}

/* Offset of the first watermark of this number or a higher one. */
static enum err find_mark(struct cdc_cuts *c, uint64_t number, uint64_t low, uint64_t high,
                          uint64_t *out, struct note *note)
{
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        struct cut_mark mark;
        int found;
        enum err e = mark_at(c, middle, &mark, &found, note);
        if (e) {
            return e;
        }
        int is_less = found && mark.number < number;
        if (found) {
            cut_mark_free(&mark);
        }
        low = is_less ? middle + 1 : low;
        high = is_less ? high : middle;
    }
    *out = low;
    return ERR_NONE;
}

/* Was all that is prepared at `target` prepared behind the watermark at `second`? */
static int is_far_enough(const struct cut_mark *target, const struct cut_mark *second)
{
    for (size_t i = 0; i < target->count; i++) {
        const struct cut_mark_shard *t = &target->shards[i];
        const struct cut_mark_shard *s = cut_shard_in(second, t->source);
        for (size_t k = 0; k < t->prepared_count; k++) {
            if (s == NULL || s->epoch != t->epoch || t->prepared[k].lsn <= s->lsn) {
                return 0;
            }
        }
    }
    return 1;
}

/* How far back reading must begin for the cut at `at` to be known. */
static enum err find_start(struct cdc_cuts *c, uint64_t start, uint64_t at, uint64_t *out,
                           struct note *note)
{
    struct cut_mark target = {0};
    int found;
    enum err e = mark_at(c, at, &target, &found, note);
    uint64_t back = 2;
    int far = 0;
    *out = start;
    while (e == ERR_NONE && found && !far && at - start > back) {
        struct cut_mark second;
        e = mark_at(c, at - back + 1, &second, &found, note);
        if (e == ERR_NONE && found) {
            far = is_far_enough(&target, &second);
            cut_mark_free(&second);
        }
        *out = far ? at - back : start;
        back *= 2;
    }
    cut_mark_free(&target);
    return e;
}

enum err cdc_cut_seek(struct cdc_cuts *c, uint64_t number, struct note *note)
{
    struct cdc_part_view view;
    enum err e = cdc_log_part(c->log, c->marks.topic, 0, &view, note);
    if (e) {
        return e;
    }
    uint64_t at = view.end - view.start > NEWEST_BACK ? view.end - NEWEST_BACK : view.start;
    if (number != CDC_CUT_NEWEST) {
        e = find_mark(c, number, view.start, view.end, &at, note);
    }
    uint64_t from = at;
    if (e == ERR_NONE && at > view.start) {
        e = find_start(c, view.start, at, &from, note);
    }
    start_at(c, from);
    c->wanted = number == CDC_CUT_NEWEST ? 0 : number;
    return e;
}

enum err cdc_cuts_new(struct cdc_log *log, struct slice database, struct cdc_cuts **out,
                      struct note *note)
{
    char name[512];
    (void)snprintf(name, sizeof(name), SLICE_FMT ".braid.transactions", SLICE_ARG(database));
    uint32_t transactions = cdc_log_topic(log, slice_of(name));
    (void)snprintf(name, sizeof(name), SLICE_FMT ".braid.watermarks", SLICE_ARG(database));
    uint32_t marks = cdc_log_topic(log, slice_of(name));
    if (transactions == 0 || marks == 0) {
        return note_set(note, ERR_NO_TABLE,
                        "the change log has no watermarks of database \"" SLICE_FMT "\"",
                        SLICE_ARG(database));
    }
    struct cdc_cuts *c = mem_zero(sizeof(*c));
    c->log = log;
    c->transactions = transactions;
    c->marks.topic = marks;
    *out = c;
    enum err e = cdc_cut_seek(c, CDC_CUT_EARLIEST, note);
    if (e) {
        cdc_cuts_free(c);
    }
    return e;
}

void cdc_cuts_free(struct cdc_cuts *c)
{
    if (c == NULL) {
        return;
    }
    forget(c);
    hmap_free(&c->globals);
    cut_scan_free(&c->marks);
    mem_free(c->places);
    mem_free(c->ahead);
    mem_free(c);
}

/* ---- what a cut says ------------------------------------------------------------------------- */

int cdc_cut_has(const struct cdc_cut *cut, uint16_t source, const struct cdc_tx *tx)
{
    for (size_t i = 0; i < cut->shards_count; i++) {
        if (cut->shards[i].source == source && cut_is_before(&cut->shards[i], tx->epoch, tx->lsn)) {
            return 1;
        }
    }
    for (size_t i = 0; i < cut->ahead_count; i++) {
        const struct cdc_cut_ahead *a = &cut->ahead[i];
        if (a->source == source && a->epoch == tx->epoch && a->lsn == tx->lsn) {
            return 1;
        }
    }
    return 0;
}

enum err cdc_cut_offset(struct cdc_log *log, const struct cdc_cut_shard *shard, uint32_t topic,
                        uint16_t partition, uint64_t *offset, struct note *note)
{
    const struct cdc_seek_to to = {.how = CDC_SEEK_BEHIND,
                                   .value = shard->lsn,
                                   .source = shard->source,
                                   .epoch = shard->epoch};
    return cdc_log_seek(log, topic, partition, &to, offset, note);
}
