/*
 * Whole transactions out of the log: see tx_reader.h. A lane per partition that the transaction
 * touched, in a heap by the number of the change; a lane holds the frames of one fetch.
 */

#include "replication/cdc/tx_reader.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"

enum {
    PLACES_BYTES = 64 << 10, /* of the topic of transactions, in one fetch */
    LANES_BYTES = 4 << 20,   /* all lanes together, as far as frames are so small */
    LANE_BYTES_MIN = 8 << 10,
    LANE_BYTES_MAX = 256 << 10,
    NAME_BYTES = 600
};

/* Records of one partition in a range of offsets. */
struct lane {
    uint32_t topic;
    uint16_t partition;
    uint64_t next, end; /* offsets */
    struct buf frames;
    struct slice left; /* of frames, behind the current one */
    struct cdc_frame frame;
    struct slice records; /* of the frame, behind the current one */
    struct cdc_record record;
};

struct cdc_tx_reader {
    struct cdc_log *log;
    uint32_t topic;
    char database[NAME_BYTES / 2];
    uint64_t place; /* of the next record of the topic */
    struct buf places;
    struct slice places_left, place_records;
    struct cdc_frame place_frame;
    /* the transaction that is being given */
    int is_open, is_copy;
    uint64_t open_place, open_count;
    struct lane **lanes; /* a heap, the lowest first */
    size_t lanes_count, lanes_all;
    int moves; /* the first lane's record was given: take its next one */
    int has_last;
    uint32_t last_index, last_topic; /* of the record that was given last */
    struct change_column *columns;
    size_t columns_cap;
};

struct cdc_tx_reader *cdc_tx_reader_new(struct cdc_log *log, uint32_t topic, uint64_t place)
{
    struct cdc_tx_reader *r = mem_zero(sizeof(*r));
    const char *name = cdc_log_topic_name(log, topic);
    size_t n = name == NULL ? 0 : strcspn(name, ".");
    check(n < sizeof(r->database));
    memcpy(r->database, name, n);
    r->log = log;
    r->topic = topic;
    r->place = place;
    return r;
}

static void free_lanes(struct cdc_tx_reader *r)
{
    for (size_t i = 0; i < r->lanes_all; i++) {
        buf_free(&r->lanes[i]->frames);
        mem_free(r->lanes[i]);
    }
    mem_free(r->lanes);
    r->lanes = NULL;
    r->lanes_count = r->lanes_all = 0;
}

void cdc_tx_reader_free(struct cdc_tx_reader *r)
{
    if (r == NULL) {
        return;
    }
    free_lanes(r);
    buf_free(&r->places);
    mem_free(r->columns);
    mem_free(r);
}

/* ---- lanes ----------------------------------------------------------------------------------- */

static size_t lane_bytes(const struct cdc_tx_reader *r)
{
    size_t n = LANES_BYTES / (r->lanes_all == 0 ? 1 : r->lanes_all);
    return n < LANE_BYTES_MIN ? LANE_BYTES_MIN : n > LANE_BYTES_MAX ? LANE_BYTES_MAX : n;
}

/* The next record of the range; *any 0: there is none. Offsets may be missing: compaction. */
static enum err lane_step(struct cdc_tx_reader *r, struct lane *l, int *any, struct note *note)
{
    *any = 0;
    for (;;) {
        while (l->records.n > 0) {
            enum err e = cdc_record_next(&l->records, &l->record, note);
            uint64_t offset = l->frame.offset + l->record.delta;
            if (e || offset >= l->end) {
                return e;
            }
            if (offset >= l->next) {
                l->next = offset + 1;
                *any = 1;
                return ERR_NONE;
            }
        }
        if (l->left.n > 0) {
            enum err e = cdc_frame_read(l->left, &l->frame, note);
            if (e) {
                return e;
            }
            l->left = slice_from(l->left, l->frame.bytes);
            l->records = l->frame.records;
            continue;
        }
        if (l->frame.bytes > 0 && l->frame.offset + l->frame.span > l->next) {
            l->next = l->frame.offset + l->frame.span; /* its last places are empty */
        }
        if (l->next >= l->end) {
            return ERR_NONE;
        }
        l->frames.n = 0;
        enum err e =
            cdc_log_fetch(r->log, l->topic, l->partition, l->next, lane_bytes(r), &l->frames, note);
        l->left = buf_slice(&l->frames);
        if (e || l->left.n == 0) {
            return e;
        }
    }
}

/* By the number of the change; of the halves of a row that moved, what left comes first. */
static int is_before(const struct lane *a, const struct lane *b)
{
    return a->record.index != b->record.index
               ? a->record.index < b->record.index
               : a->record.op == CHANGE_DELETE && b->record.op != CHANGE_DELETE;
}

static void sift_down(struct cdc_tx_reader *r, size_t at)
{
    for (;;) {
        size_t least = at;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < r->lanes_count; child++) {
            least = is_before(r->lanes[child], r->lanes[least]) ? child : least;
        }
        if (least == at) {
            return;
        }
        struct lane *l = r->lanes[at];
        r->lanes[at] = r->lanes[least];
        r->lanes[least] = l;
        at = least;
    }
}

/* A lane that has nothing more goes behind the heap. */
static void drop_lane(struct cdc_tx_reader *r, size_t at)
{
    struct lane *l = r->lanes[at];
    r->lanes_count--;
    r->lanes[at] = r->lanes[r->lanes_count];
    r->lanes[r->lanes_count] = l;
    buf_free(&l->frames);
}

static enum err open_lanes(struct cdc_tx_reader *r, const struct cdc_tx_part *parts, size_t count,
                           struct note *note)
{
    char name[NAME_BYTES];
    r->lanes = mem_zero((count + 1) * sizeof(struct lane *));
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(name, sizeof(name), "%s.%s", r->database, parts[i].name);
        uint32_t topic = cdc_log_topic(r->log, slice_of(name));
        if (topic == 0) {
            return note_set(note, ERR_CORRUPT,
                            "change log: a transaction names topic \"%.200s\", "
                            "which there is not",
                            name);
        }
        struct lane *l = mem_zero(sizeof(*l));
        *l = (struct lane){.topic = topic,
                           .partition = parts[i].partition,
                           .next = parts[i].offset,
                           .end = parts[i].offset + parts[i].count};
        r->lanes[r->lanes_all++] = l;
        r->open_count += parts[i].count;
    }
    r->lanes_count = r->lanes_all;
    for (size_t i = r->lanes_all; i-- > 0;) {
        int any = 0;
        enum err e = lane_step(r, r->lanes[i], &any, note);
        if (e) {
            return e;
        }
        if (!any) {
            drop_lane(r, i);
        }
    }
    for (size_t i = r->lanes_count / 2 + 1; i-- > 0;) {
        sift_down(r, i);
    }
    return ERR_NONE;
}

/* ---- transactions ---------------------------------------------------------------------------- */

/* The next record of the topic; *any 0: there is none yet. */
static enum err next_place(struct cdc_tx_reader *r, struct cdc_record *out, int *any,
                           struct note *note)
{
    *any = 0;
    for (;;) {
        while (r->place_records.n > 0) {
            enum err e = cdc_record_next(&r->place_records, out, note);
            uint64_t offset = r->place_frame.offset + out->delta;
            if (e) {
                return e;
            }
            if (offset >= r->place) {
                r->open_place = offset;
                r->place = offset + 1;
                *any = 1;
                return ERR_NONE;
            }
        }
        if (r->places_left.n == 0) {
            r->places.n = 0;
            enum err e =
                cdc_log_fetch(r->log, r->topic, 0, r->place, PLACES_BYTES, &r->places, note);
            r->places_left = buf_slice(&r->places);
            if (e || r->places_left.n == 0) {
                return e;
            }
        }
        enum err e = cdc_frame_read(r->places_left, &r->place_frame, note);
        if (e) {
            return e;
        }
        r->places_left = slice_from(r->places_left, r->place_frame.bytes);
        r->place_records = r->place_frame.records;
    }
}

static void fill(const struct cdc_tx_reader *r, enum cdc_tx_step step, struct cdc_tx_item *out)
{
    *out = (struct cdc_tx_item){.step = step,
                                .place = r->open_place,
                                .count = r->open_count,
                                .is_copy = r->is_copy,
                                .shard = cdc_log_source_name(r->log, r->place_frame.source),
                                .tx = r->place_frame.tx};
}

static enum err begin(struct cdc_tx_reader *r, struct cdc_tx_item *out, struct note *note)
{
    struct cdc_record record;
    struct change change = {0};
    struct cdc_tx_part *parts = NULL;
    size_t count = 0;
    int any = 0;
    enum err e = next_place(r, &record, &any, note);
    if (e || !any) {
        out->step = CDC_TX_NOTHING;
        return e;
    }
    e = cdc_record_read(&record, 0, NULL, NULL, &change, note);
    e = e ? e : cdc_tx_parts_read(change.content, &parts, &count, &r->is_copy, note);
    if (e) {
        return e;
    }
    free_lanes(r);
    r->open_count = 0;
    r->moves = r->has_last = 0;
    e = open_lanes(r, parts, count, note);
    cdc_tx_parts_free(parts, count);
    if (e) {
        return e;
    }
    r->is_open = 1;
    fill(r, CDC_TX_BEGIN, out);
    return ERR_NONE;
}

static enum err read_event(struct cdc_tx_reader *r, const struct lane *l, struct cdc_tx_item *out,
                           struct note *note)
{
    const struct cdc_record *record = &l->record;
    const struct change_relation *relation =
        record->schema == 0 ? NULL : cdc_log_schema(r->log, record->schema);
    uint16_t n = relation == NULL ? 0 : relation->n_columns;
    if (record->schema != 0 && relation == NULL) {
        return note_set(note, ERR_CORRUPT, "change log: a record has a schema that there is not");
    }
    if (r->columns_cap < n) {
        r->columns_cap = n;
        r->columns = mem_grow(r->columns, 2 * r->columns_cap * sizeof(r->columns[0]));
    }
    struct change_column *second = r->columns == NULL ? NULL : r->columns + r->columns_cap;
    out->event = (struct cdc_event){.topic = cdc_log_topic_name(r->log, l->topic),
                                    .partition = l->partition,
                                    .offset = l->frame.offset + record->delta,
                                    .shard = cdc_log_source_name(r->log, l->frame.source),
                                    .tx = l->frame.tx,
                                    .flags = record->flags,
                                    .change = {.relation = relation}};
    return cdc_record_read(record, n, r->columns, second, &out->event.change, note);
}

/* TRUNCATE stands in every partition of its table, a gap in those of every table: one of them is
 * the change, the others its copies. */
static int is_copy_of_last(const struct cdc_tx_reader *r, const struct lane *l)
{
    return r->has_last && r->last_index == l->record.index &&
           ((l->record.op == CHANGE_TRUNCATE && r->last_topic == l->topic) ||
            l->record.op == CHANGE_GAP);
}

/* Have the lowest record that was not given yet in the first lane; *any 0: there is none. */
static enum err advance(struct cdc_tx_reader *r, int *any, struct note *note)
{
    while (r->lanes_count > 0) {
        int has = 1;
        if (r->moves) {
            enum err e = lane_step(r, r->lanes[0], &has, note);
            if (e) {
                return e;
            }
            if (!has) {
                drop_lane(r, 0);
            }
            sift_down(r, 0);
        }
        r->moves = 0;
        if (r->lanes_count == 0 || !is_copy_of_last(r, r->lanes[0])) {
            break;
        }
        r->moves = 1;
    }
    *any = r->lanes_count > 0;
    return ERR_NONE;
}

enum err cdc_tx_next(struct cdc_tx_reader *r, struct cdc_tx_item *out, struct note *note)
{
    int any = 0;
    if (!r->is_open) {
        return begin(r, out, note);
    }
    enum err e = advance(r, &any, note);
    if (e) {
        return e;
    }
    if (!any) {
        r->is_open = 0;
        fill(r, CDC_TX_END, out);
        return ERR_NONE;
    }
    const struct lane *l = r->lanes[0];
    fill(r, CDC_TX_CHANGE, out);
    r->moves = r->has_last = 1;
    r->last_index = l->record.index;
    r->last_topic = l->topic;
    return read_event(r, l, out, note);
}
