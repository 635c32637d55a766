/*
 * From the WAL to the partitions: records of ours in the order of their numbers, each exactly once,
 * live by the log's thread and again by the replay after a restart. What comes out depends on
 * nothing but those records, so a restart makes the same offsets.
 *
 * A unit of a transaction that has not ended is kept with its source (in memory, and from the next
 * checkpoint on in a file); when the last one comes, all are walked and become frames.
 */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "replication/cdc/envelope.h"
#include "replication/cdc/log_impl.h"

enum {
    CHUNK_BYTES = 1 << 20
};

/* A transaction being turned into frames. */
struct applying {
    struct cdc_log *log;
    struct cdc_source *source;
    struct cdc_tx tx;
    char prepared[24]; /* position of the PREPARE, "0": it decided by its commit; "": not known */
    int has_tx, is_copy;
    uint8_t gid[CDC_NAME_MAX], origin[CDC_NAME_MAX];
    uint64_t records;
};

static enum err contradiction(struct note *note, const char *what)
{
    return note_set(note, ERR_CORRUPT, "change log: %s", what);
}

/* Often enough for printf() to be seen; with a 0 byte. */
static const char *decimal(uint64_t n, char room[21])
{
    size_t at = 20;
    room[at] = '\0';
    do {
        room[--at] = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    return room + at;
}

static void put_number(struct buf *out, const char *before, uint64_t n)
{
    char room[21];
    buf_text(out, before);
    buf_text(out, decimal(n, room));
}

/* Its thread's own memory of topics, or the log's. */
static struct cdc_topic *topic_at(struct cdc_log *log, uint32_t id)
{
    struct cdc_topic **seen = &log->topics_seen[id % CDC_TOPICS_SEEN];
    if (*seen == NULL || (*seen)->id != id) {
        cdc_lock(log);
        struct cdc_topic *topic = cdc_topic_get(log, id);
        cdc_unlock(log);
        if (topic == NULL) {
            return NULL;
        }
        *seen = topic;
    }
    return *seen;
}

/* ---- frames ---------------------------------------------------------------------------------- */

static enum err end_frame(struct applying *a, struct cdc_topic *topic, uint16_t partition,
                          uint8_t flags, struct note *note)
{
    struct cdc_part *part = &topic->parts[partition];
    struct cdc_frame frame = {.offset = part->end,
                              .span = part->frame_count,
                              .source = a->source->id,
                              .flags = (uint8_t)(part->frame_flags | flags),
                              .tx = a->tx};
    cdc_frame_close(&part->frame, 0, &frame);
    frame.bytes = part->frame.n;
    enum err e = cdc_part_append(a->log, topic, partition, &frame, note);
    part->frame.n = 0;
    part->frame_count = 0;
    part->frame_flags = 0;
    return e;
}

static void touch(struct cdc_log *log, struct cdc_topic *topic, uint16_t partition)
{
    struct cdc_part *part = &topic->parts[partition];
    if (part->frame_unit == log->unit_number) {
        return;
    }
    if (log->touched_count == log->touched_cap) {
        log->touched_cap = log->touched_cap == 0 ? 64 : log->touched_cap * 2;
        log->touched = mem_grow(log->touched, log->touched_cap * sizeof(log->touched[0]));
    }
    log->touched[log->touched_count++] =
        (struct cdc_touched){.topic = topic->id, .partition = partition};
    part->frame_unit = log->unit_number;
    part->frame_flags = CDC_FRAME_FIRST;
    part->tx_from = part->end;
}

static enum err add_to(struct applying *a, struct cdc_topic *topic, uint16_t partition,
                       struct slice record, struct note *note)
{
    struct cdc_part *part = &topic->parts[partition];
    if (part->frame_count > 0 && part->frame.n + record.n > CDC_FRAME_BODY) {
        enum err e = end_frame(a, topic, partition, 0, note);
        if (e) {
            return e;
        }
    }
    touch(a->log, topic, partition);
    if (part->frame.n == 0) {
        struct cdc_frame frame = {.source = a->source->id, .tx = a->tx};
        cdc_frame_open(&part->frame, &frame);
    }
    size_t at = part->frame.n;
    buf_add_slice(&part->frame, record);
    buf_set_be32(&part->frame, at + 4, part->frame_count++);
    a->records++;
    return ERR_NONE;
}

/* A topic of one partition of this database; it is made when the first shard of it is attached. */
static struct cdc_topic *system_topic(struct applying *a, const char *name)
{
    char full[CDC_NAME_MAX + 32];
    (void)snprintf(full, sizeof(full), "%s.braid.%s", a->source->database, name);
    cdc_lock(a->log);
    struct cdc_topic *topic = cdc_topic_find(a->log, slice_of(full));
    cdc_unlock(a->log);
    return topic;
}

static enum err add_text(struct applying *a, const char *topic_name, uint8_t op,
                         struct slice prefix, const struct buf *text, struct note *note)
{
    struct cdc_topic *topic = op == CHANGE_COMMIT ? a->source->transactions : NULL;
    topic = topic != NULL ? topic : system_topic(a, topic_name);
    a->source->transactions = op == CHANGE_COMMIT ? topic : a->source->transactions;
    if (topic == NULL) {
        return contradiction(note, "a shard has records before it was attached");
    }
    struct change c = {.op = op, .prefix = prefix, .content = buf_slice(text)};
    struct cdc_record_options options = {.change = &c, .op = op};
    struct buf record = {0};
    cdc_record_make(&record, &options);
    enum err e = add_to(a, topic, 0, buf_slice(&record), note);
    buf_free(&record);
    return e;
}

/* ---- watermarks ------------------------------------------------------------------------------ */

static uint64_t number_in(struct slice text)
{
    uint64_t n = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9' || n > UINT64_MAX / 10 - 10) {
            return 0;
        }
        n = n * 10 + (uint64_t)(text.p[i] - '0');
    }
    return n;
}

static const struct cdc_passed *find_passed(const struct cdc_source *source, uint64_t n)
{
    for (size_t i = 0; i < source->passed_count; i++) {
        if (source->passed[i].n == n) {
            return &source->passed[i];
        }
    }
    return NULL;
}

static struct cdc_passed *add_passed(struct cdc_source *source)
{
    if (source->passed_count == CDC_PASSED_MAX) {
        buf_free(&source->passed[0].prepared);
        memmove(source->passed, source->passed + 1,
                (CDC_PASSED_MAX - 1) * sizeof(source->passed[0]));
        source->passed_count--;
    }
    struct cdc_passed *p = &source->passed[source->passed_count++];
    *p = (struct cdc_passed){0};
    return p;
}

static void describe_one(const struct cdc_source *s, const struct cdc_passed *passed,
                         struct buf *out)
{
    const char *comma = "";
    buf_printf(out, "{\"source\":%u,\"lsn\":%" PRIu64 ",\"epoch\":%" PRIu32 ",\"place\":%" PRIu64,
               s->id, passed->lsn, passed->epoch, passed->place);
    struct cdc_bytes in = {.left = buf_slice(&passed->prepared)};
    buf_text(out, passed->is_listed ? ",\"prepared\":[" : "");
    while (passed->is_listed && in.left.n > 0 && !in.bad) {
        uint64_t lsn = cdc_take_u64(&in);
        struct slice gid = cdc_take_short(&in);
        buf_printf(out, "%s{\"gid\":", comma);
        cdc_json_text(out, gid);
        buf_printf(out, ",\"lsn\":%" PRIu64 "}", lsn);
        comma = ",";
    }
    buf_text(out, passed->is_listed ? "]}" : "}");
}

/* Where each attached shard of the database passed it; 0: one has not, or too long ago. */
static int describe_passed(const struct applying *a, uint64_t n, struct buf *out)
{
    const char *comma = "";
    buf_printf(out, "{\"watermark\":%" PRIu64 ",\"shards\":[", n);
    for (size_t i = 0; i < a->log->sources_count; i++) {
        const struct cdc_source *s = a->log->sources[i];
        if (!s->is_attached || strcmp(s->database, a->source->database) != 0) {
            continue;
        }
        const struct cdc_passed *passed = find_passed(s, n);
        if (passed == NULL) {
            return 0;
        }
        buf_text(out, comma);
        describe_one(s, passed, out);
        comma = ",";
    }
    buf_text(out, "]}");
    return 1;
}

/* The last shard to pass it writes it down, with the places of all of them. `content`: see
 * assemble.h. */
static enum err add_watermark(struct applying *a, struct slice content, struct note *note)
{
    const uint8_t *end = content.n == 0 ? NULL : memchr(content.p, 0, content.n);
    size_t digits = end == NULL ? content.n : (size_t)(end - content.p);
    uint64_t n = number_in(slice_bytes(content.p, digits));
    struct cdc_topic *transactions = system_topic(a, "transactions");
    struct buf text = {0};
    int is_passed = 0;
    if (n == 0 || transactions == NULL) {
        return ERR_NONE;
    }
    cdc_lock(a->log);
    if (find_passed(a->source, n) == NULL) {
        struct cdc_passed *p = add_passed(a->source);
        p->n = n;
        p->lsn = a->tx.lsn;
        p->epoch = a->tx.epoch;
        p->place = transactions->parts[0].end;
        p->is_listed = end != NULL;
        buf_add_slice(&p->prepared,
                      end == NULL ? (struct slice){0} : slice_from(content, digits + 1));
        is_passed = describe_passed(a, n, &text);
    }
    cdc_unlock(a->log);
    enum err e =
        is_passed ? add_text(a, "watermarks", CHANGE_WATERMARK, SLICE(""), &text, note) : ERR_NONE;
    a->records -= is_passed ? 1 : 0; /* nothing that the transaction brought */
    buf_free(&text);
    return e;
}

static enum err apply_watermark(struct applying *a, struct slice bytes, struct note *note)
{
    struct cdc_record record;
    struct change c = {0};
    enum err e = cdc_record_next(&bytes, &record, note);
    if (e == ERR_NONE) {
        e = cdc_record_read(&record, 0, NULL, NULL, &c, note);
    }
    return e ? e : add_watermark(a, c.content, note);
}

/* ---- transactions ---------------------------------------------------------------------------- */

/* What the transaction brought, while its last frames are still open. */
static void describe(struct applying *a, struct buf *out)
{
    struct cdc_log *log = a->log;
    buf_text(out, a->is_copy ? "{\"status\":\"COPY\"" : "{\"status\":\"END\"");
    put_number(out, ",\"event_count\":", a->records);
    buf_text(out, ",\"data_collections\":[");
    for (size_t i = 0; i < log->touched_count; i++) {
        const struct cdc_touched *t = &log->touched[i];
        const struct cdc_topic *topic = topic_at(log, t->topic);
        const struct cdc_part *part = &topic->parts[t->partition];
        buf_text(out, i == 0 ? "{\"data_collection\":" : ",{\"data_collection\":");
        cdc_json_text(out, slice_of(topic->name + topic->database_bytes + 1));
        put_number(out, ",\"event_count\":", part->end + part->frame_count - part->tx_from);
        put_number(out, ",\"partition\":", t->partition);
        put_number(out, ",\"offset\":", part->tx_from);
        buf_u8(out, '}');
    }
    buf_text(out, "]}");
}

static enum err finish_tx(struct applying *a, struct note *note)
{
    struct cdc_log *log = a->log;
    enum err e = ERR_NONE;
    uint64_t records = a->records;
    if (a->has_tx && records > 0) {
        log->text.n = 0;
        describe(a, &log->text);
        e = add_text(a, "transactions", CHANGE_COMMIT, slice_of(a->prepared), &log->text, note);
    }
    for (size_t i = 0; i < log->touched_count && e == ERR_NONE; i++) {
        struct cdc_topic *topic = topic_at(log, log->touched[i].topic);
        e = end_frame(a, topic, log->touched[i].partition, CDC_FRAME_LAST, note);
    }
    atomic_fetch_add_explicit(&log->records, records, memory_order_relaxed);
    atomic_fetch_add_explicit(&log->transactions, records > 0 && !a->is_copy, memory_order_relaxed);
    log->touched_count = 0;
    log->unit_number++;
    a->records = 0;
    return e;
}

static enum err begin_tx(struct applying *a, const struct cdc_tx *tx, struct note *note)
{
    if (a->has_tx && a->tx.epoch == tx->epoch && a->tx.lsn == tx->lsn && a->tx.xid == tx->xid) {
        return ERR_NONE; /* goes on in another unit */
    }
    enum err e = finish_tx(a, note);
    a->tx = *tx;
    memcpy(a->gid, tx->gid.p, tx->gid.n);
    memcpy(a->origin, tx->origin.p, tx->origin.n);
    a->tx.gid.p = a->gid;
    a->tx.origin.p = a->origin;
    a->has_tx = 1;
    a->is_copy = 0;
    a->prepared[0] = '\0';
    return e;
}

/* ---- units ----------------------------------------------------------------------------------- */

static void see_version(struct cdc_log *log, struct slice bytes)
{
    struct cdc_record record;
    struct note note;
    if (cdc_record_next(&bytes, &record, &note) == ERR_NONE) {
        cdc_version_see(log, &record);
    }
}

static enum err apply_record(struct applying *a, const struct cdc_item *item, struct note *note)
{
    struct cdc_log *log = a->log;
    struct cdc_topic *topic = topic_at(log, item->topic);
    int is_everywhere = item->partition == CDC_EVERY_PARTITION;
    if (topic == NULL || item->record.n < CDC_RECORD_HEAD || !a->has_tx ||
        (!is_everywhere && item->partition >= topic->partitions)) {
        return contradiction(note, "a record is for a partition that there is not");
    }
    uint8_t op = item->record.p[8];
    if (op == CHANGE_WATERMARK) {
        return apply_watermark(a, item->record, note);
    }
    if (op == CHANGE_DDL) {
        see_version(a->log, item->record);
    }
    a->is_copy |= op == CHANGE_ROW;
    uint16_t first = is_everywhere ? 0 : item->partition;
    uint16_t last = is_everywhere ? (uint16_t)(topic->partitions - 1) : item->partition;
    enum err e = ERR_NONE;
    for (uint32_t p = first; e == ERR_NONE && p <= last; p++) {
        e = add_to(a, topic, (uint16_t)p, item->record, note);
    }
    return e;
}

/* What the record of the transaction says of it. */
static void take_parts(struct applying *a, const struct cdc_item *item)
{
    char room[21];
    const char *digits = decimal(item->prepare_lsn, room);
    memcpy(a->prepared, digits, strlen(digits) + 1);
    memcpy(a->gid, item->gid.p, item->gid.n);
    a->tx.gid = (struct slice){a->gid, item->gid.n};
}

/* Walk whole items; *left is what is behind the last of them. */
static enum err apply_items(struct applying *a, struct slice *left, struct note *note)
{
    for (size_t n = cdc_item_bytes(*left); n > 0; n = cdc_item_bytes(*left)) {
        struct cdc_item item;
        enum err e = cdc_item_read(*left, &item, note);
        if (e == ERR_NONE && item.kind == CDC_ITEM_TX) {
            e = begin_tx(a, &item.tx, note);
        } else if (e == ERR_NONE && item.kind == CDC_ITEM_PARTS) {
            take_parts(a, &item);
        } else if (e == ERR_NONE && item.kind == CDC_ITEM_RECORD) {
            e = apply_record(a, &item, note);
        }
        if (e) {
            return e;
        }
        *left = slice_from(*left, n);
    }
    return ERR_NONE;
}

static enum err apply_spill(struct applying *a, struct note *note)
{
    struct cdc_source *source = a->source;
    struct buf chunk = {0};
    enum err e = ERR_NONE;
    for (uint64_t at = 0; e == ERR_NONE && at < source->spill_bytes;) {
        uint64_t rest = source->spill_bytes - at;
        size_t n = rest > CHUNK_BYTES ? CHUNK_BYTES : (size_t)rest;
        buf_reserve(&chunk, n);
        e = cdc_file_read(a->log, source->spill, at, chunk.p + chunk.n, n, note);
        if (e == ERR_NONE) {
            chunk.n += n;
            at += n;
            struct slice left = buf_slice(&chunk);
            e = apply_items(a, &left, note);
            buf_drop(&chunk, chunk.n - left.n);
        }
    }
    if (e == ERR_NONE && chunk.n > 0) {
        e = contradiction(note, "a spilled transaction is cut off");
    }
    buf_free(&chunk);
    return e;
}

static void forget_open(struct cdc_log *log, struct cdc_source *source)
{
    if (source->spill != 0) {
        cdc_add_dead_file(log, source->spill);
    }
    log->open_bytes -= source->open.n;
    buf_free(&source->open);
    source->spill = 0;
    source->spill_bytes = 0;
    atomic_store_explicit(&source->open_seen, 0, memory_order_relaxed);
}

static void take_mark(struct applying *a, const struct cdc_mark *mark)
{
    struct cdc_source *source = a->source;
    cdc_lock(a->log);
    source->mark = *mark;
    source->mark.state = (struct slice){0};
    source->is_found = 1;
    source->time_us = a->has_tx && !a->is_copy ? a->tx.time_us : source->time_us;
    if (mark->state.p != NULL) {
        source->state.n = 0;
        buf_add_slice(&source->state, mark->state);
    }
    cdc_unlock(a->log);
}

/* The mark is the last item of a unit; *items is what stands before it. */
static enum err split_unit(struct slice unit, struct slice *items, struct cdc_mark *mark,
                           struct note *note)
{
    struct slice left = unit;
    size_t n = cdc_item_bytes(left);
    while (n > 0 && n < left.n) {
        left = slice_from(left, n);
        n = cdc_item_bytes(left);
    }
    struct cdc_item item;
    if (n == 0) {
        return contradiction(note, "a unit is cut off");
    }
    enum err e = cdc_item_read(left, &item, note);
    if (e == ERR_NONE && item.kind != CDC_ITEM_MARK) {
        e = contradiction(note, "a unit has no mark");
    }
    if (e == ERR_NONE) {
        *mark = item.mark;
        *items = (struct slice){unit.p, unit.n - left.n};
    }
    return e;
}

static enum err apply_unit(struct cdc_log *log, struct cdc_source *source, struct slice unit,
                           struct note *note)
{
    struct cdc_mark mark;
    struct slice items;
    struct applying a = {.log = log, .source = source};
    enum err e = split_unit(unit, &items, &mark, note);
    if (e) {
        return e;
    }
    if (mark.epoch != source->mark.epoch) {
        forget_open(log, source); /* its end was lost with the thread */
    }
    if (!mark.ends) {
        buf_add_slice(&source->open, items);
        log->open_bytes += items.n;
        atomic_fetch_add_explicit(&source->open_seen, items.n, memory_order_relaxed);
        take_mark(&a, &mark);
        return ERR_NONE;
    }
    log->unit_number++;
    e = apply_spill(&a, note);
    if (e == ERR_NONE) {
        struct slice left = buf_slice(&source->open);
        e = apply_items(&a, &left, note);
    }
    if (e == ERR_NONE) {
        e = apply_items(&a, &items, note);
    }
    if (e == ERR_NONE) {
        e = finish_tx(&a, note);
    }
    if (e == ERR_NONE) {
        forget_open(log, source);
        take_mark(&a, &mark);
    }
    return e;
}

static enum err apply_piece(struct cdc_log *log, struct slice body, struct note *note)
{
    struct cdc_bytes in = {.left = body};
    uint16_t id = cdc_take_u16(&in);
    uint8_t flags = cdc_take_u8(&in);
    cdc_lock(log);
    struct cdc_source *source = id < log->sources_count ? log->sources[id] : NULL;
    cdc_unlock(log);
    if (in.bad || source == NULL) {
        return contradiction(note, "a piece is of a shard that there is not");
    }
    if (flags & CDC_PIECE_FIRST) {
        source->pieces.n = 0;
    }
    if ((flags & CDC_PIECE_FIRST) && (flags & CDC_PIECE_LAST)) {
        return apply_unit(log, source, in.left, note);
    }
    buf_add_slice(&source->pieces, in.left);
    if (!(flags & CDC_PIECE_LAST)) {
        return ERR_NONE;
    }
    enum err e = apply_unit(log, source, buf_slice(&source->pieces), note);
    buf_free(&source->pieces);
    return e;
}

/* ---- records of the WAL ---------------------------------------------------------------------- */

static void detach_all(struct cdc_log *log)
{
    cdc_lock(log);
    for (size_t i = 0; i < log->sources_count; i++) {
        log->sources[i]->is_attached = 0;
    }
    cdc_unlock(log);
}

static enum err apply_topic(struct cdc_log *log, uint16_t type, struct slice body,
                            struct note *note)
{
    struct cdc_bytes in = {.left = body};
    uint32_t id = cdc_take_u32(&in);
    uint16_t partitions = cdc_take_u16(&in);
    struct slice name = cdc_take_text(&in);
    if (in.bad || (in.left.n > 0) != (type == CDC_WAL_TOPIC_BY)) {
        return contradiction(note, "a topic is cut off");
    }
    return cdc_topic_define(log, id, partitions, name, in.left, note);
}

static enum err apply_schema(struct cdc_log *log, struct slice body, struct note *note)
{
    struct cdc_bytes in = {.left = body};
    uint32_t id = cdc_take_u32(&in);
    uint32_t topic = cdc_take_u32(&in);
    return in.bad ? contradiction(note, "a schema is cut off")
                  : cdc_schema_define(log, id, topic, in.left, note);
}

static enum err apply_source(struct cdc_log *log, struct slice body, struct note *note)
{
    struct cdc_bytes in = {.left = body};
    uint16_t id = cdc_take_u16(&in);
    struct slice database = cdc_take_short(&in);
    struct slice name = cdc_take_short(&in);
    enum err e = in.bad ? contradiction(note, "a shard is cut off")
                        : cdc_source_define(log, id, database, name, note);
    if (e == ERR_NONE) {
        log->sources[id]->is_attached = 1;
    }
    return e;
}

static enum err define(struct cdc_log *log, uint16_t type, struct slice body, struct note *note)
{
    cdc_lock(log);
    enum err e = type == CDC_WAL_SCHEMA   ? apply_schema(log, body, note)
                 : type == CDC_WAL_SOURCE ? apply_source(log, body, note)
                                          : apply_topic(log, type, body, note);
    cdc_unlock(log);
    return e;
}

enum err cdc_apply(struct cdc_log *log, const struct wal_record *record, struct note *note)
{
    struct cdc_bytes in = {.left = record->body};
    uint64_t seq = cdc_take_u64(&in);
    enum err e = ERR_NONE;
    if (in.bad) {
        return contradiction(note, "a record of the WAL is cut off");
    }
    if (seq < log->applied) {
        return ERR_NONE; /* the checkpoint has it */
    }
    if (seq > log->applied) {
        return note_set(note, ERR_CORRUPT,
                        "change log: records %" PRIu64 " to %" PRIu64 " are missing in the WAL",
                        log->applied, seq - 1);
    }
    switch (record->type) {
    case CDC_WAL_START: detach_all(log); break;
    case CDC_WAL_TOPIC:
    case CDC_WAL_TOPIC_BY:
    case CDC_WAL_SCHEMA:
    case CDC_WAL_SOURCE: e = define(log, record->type, in.left, note); break;
    case CDC_WAL_PIECE: e = apply_piece(log, in.left, note); break;
    case CDC_WAL_GROUP:
        if (seq < log->offsets_applied) {
            break; /* the store has it, and what came behind it */
        }
        cdc_lock(log);
        e = cdc_groups_apply(log, in.left, note);
        cdc_unlock(log);
        break;
    default: e = contradiction(note, "a record of the WAL is of a newer version"); break;
    }
    log->applied = seq + 1;
    log->applied_lsn = record->lsn;
    log->since_checkpoint += record->body.n;
    return e;
}
