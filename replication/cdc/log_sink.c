/*
 * The sources' side of the log: see sink.h. A change becomes an item of its source's unit, in the
 * source's own memory and without a lock; a mark cuts the unit into pieces for the WAL.
 *
 * Where a row goes is log_place.c's. When an UPDATE changes that place, it becomes a DELETE of the
 * old row and an INSERT of the new one, both marked as moved.
 */

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "replication/cdc/log_impl.h"

enum {
    TOPIC_NAME_MAX = 800,
    UNIT_BYTES_MAX = 1 << 30 /* of one unit; sources make a mark every few megabytes */
};

static struct cdc_source *source_of(struct cdc_log *log, unsigned number)
{
    return number >= CDC_SHARDS_MAX
               ? NULL
               : atomic_load_explicit(&log->by_number[number], memory_order_acquire);
}

static enum err is_dead(struct cdc_log *log, struct note *note)
{
    return cdc_log_failed(log, note) ? ERR_IO : ERR_NONE;
}

/* ---- which topic, which schema --------------------------------------------------------------- */

static void free_known(struct cdc_known *known)
{
    mem_free(known->keys);
    mem_free(known);
}

void cdc_source_clear(struct cdc_source *source)
{
    for (struct hnode *n = hmap_each(&source->known, NULL); n != NULL;) {
        struct cdc_known *known = container_of(n, struct cdc_known, node);
        n = hmap_each(&source->known, n);
        free_known(known);
    }
    hmap_free(&source->known);
    source->known = (struct hmap){0};
    source->last = NULL;
    buf_free(&source->unit);
}

static enum err too_many(struct note *note)
{
    return note_set(note, ERR_TOO_BIG, "change log: more than %d topics or %d schemas",
                    CDC_TOPICS_MAX, CDC_SCHEMAS_MAX);
}

static enum err learn(struct cdc_source *source, const struct change_relation *relation,
                      struct cdc_known *known, struct note *note)
{
    struct cdc_log *log = source->log;
    char name[TOPIC_NAME_MAX];
    int n = snprintf(name, sizeof(name), "%s." SLICE_FMT "." SLICE_FMT, source->database,
                     SLICE_ARG(relation->schema), SLICE_ARG(relation->name));
    if (n < 0 || (size_t)n >= sizeof(name)) {
        return note_set(note, ERR_TOO_BIG, "change log: the name of a table is too long");
    }
    struct buf rule = {0};
    cdc_lock(log);
    cdc_rule_make(log, source->database, relation, &rule);
    struct cdc_topic *topic = cdc_topic_need(log, slice_bytes(name, (size_t)n),
                                             log->options.partitions, buf_slice(&rule));
    struct cdc_schema *schema = topic == NULL ? NULL : cdc_schema_need(log, topic, relation);
    if (schema != NULL) {
        known->topic = topic->id;
        known->partitions = topic->partitions;
        known->schema = schema->id;
        cdc_rule_learn(known, buf_slice(&topic->rule), relation);
    }
    cdc_unlock(log);
    buf_free(&rule);
    if (schema == NULL) {
        return too_many(note);
    }
    known->version = relation->version;
    return ERR_NONE;
}

static enum err known_of(struct cdc_source *source, const struct change_relation *relation,
                         const struct cdc_known **out, struct note *note)
{
    const struct cdc_known *last = source->last;
    if (last != NULL && last->oid == relation->oid && last->version == relation->version) {
        *out = last;
        return ERR_NONE;
    }
    struct cdc_known *known = NULL;
    uint64_t hash = hash_u64(relation->oid, hash_process_seed());
    for (struct hnode *n = hmap_find(&source->known, hash); n != NULL; n = hmap_more(n)) {
        struct cdc_known *k = container_of(n, struct cdc_known, node);
        known = k->oid == relation->oid ? k : known;
    }
    if (known == NULL) {
        known = mem_zero(sizeof(*known));
        known->oid = relation->oid;
        hmap_add(&source->known, &known->node, hash);
    }
    if (known->schema == 0 || known->version != relation->version) {
        enum err e = learn(source, relation, known, note);
        if (e) {
            return e;
        }
    }
    *out = source->last = known;
    return ERR_NONE;
}

/* ---- changes to items ------------------------------------------------------------------------ */

static void put_tx(struct cdc_source *source, const struct change *c)
{
    if (source->unit_tx > 0 && source->tx_lsn == c->lsn && c->op != CHANGE_BEGIN) {
        return;
    }
    struct cdc_tx tx = {.epoch = c->epoch,
                        .lsn = c->lsn,
                        .time_us = c->time_us,
                        .xid = c->xid,
                        .gid = c->gid,
                        .origin = c->origin};
    cdc_item_tx(&source->unit, &tx);
    source->unit_tx++;
    source->tx_lsn = c->lsn;
}

/* One record for one partition, or for every one. */
struct put {
    uint32_t topic, schema;
    uint16_t partition;
    uint8_t op, flags;
};

static enum err put_record(struct cdc_source *source, const struct change *c, const struct put *put,
                           struct note *note)
{
    put_tx(source, c);
    size_t at = cdc_item_record(&source->unit, put->topic, put->partition);
    struct cdc_record_options options = {
        .change = c, .op = put->op, .flags = put->flags, .schema = put->schema};
    cdc_record_make(&source->unit, &options);
    size_t bytes = source->unit.n - at;
    cdc_item_end(&source->unit, at);
    if (bytes > CDC_RECORD_BYTES_MAX || source->unit.n > UNIT_BYTES_MAX) {
        source->unit.n = at;
        return note_set(note, ERR_TOO_BIG, "change log: a change of %zu bytes: more than %d", bytes,
                        CDC_RECORD_BYTES_MAX);
    }
    return ERR_NONE;
}

/* Values that the update left alone. */
static uint64_t count_unchanged(struct cdc_source *source, const struct change *c)
{
    uint64_t n = 0;
    for (uint16_t i = 0; c->new_columns != NULL && i < c->relation->n_columns; i++) {
        n += c->new_columns[i].kind == VALUE_UNCHANGED;
    }
    if (n > 0) {
        atomic_fetch_add_explicit(&source->log->unchanged, n, memory_order_relaxed);
    }
    return n;
}

static enum err put_row(struct cdc_source *source, const struct change *c, struct note *note)
{
    const struct cdc_known *known;
    enum err e = known_of(source, c->relation, &known, note);
    if (e) {
        return e;
    }
    check(c->old_columns != NULL || c->new_columns != NULL);
    uint8_t old = c->old_columns == NULL ? 0 : CDC_RECORD_OLD;
    uint8_t new_ = c->new_columns == NULL ? 0 : CDC_RECORD_NEW;
    struct put put = {.topic = known->topic,
                      .schema = known->schema,
                      .op = c->op,
                      .flags = (uint8_t)(old | new_)};
    put.partition = cdc_place_of(known, new_ ? c->new_columns : c->old_columns, c->old_columns);
    uint16_t from = old && new_ ? cdc_place_of(known, c->old_columns, NULL) : put.partition;
    uint64_t unchanged = count_unchanged(source, c);
    if (from == put.partition) {
        return put_record(source, c, &put, note);
    }
    struct put gone = put;
    gone.partition = from;
    gone.op = CHANGE_DELETE;
    gone.flags = CDC_RECORD_OLD | CDC_RECORD_MOVED | (unchanged == 0 ? CDC_RECORD_ALONE : 0);
    put.op = CHANGE_INSERT;
    put.flags = CDC_RECORD_NEW | CDC_RECORD_MOVED;
    e = put_record(source, c, &gone, note);
    return e ? e : put_record(source, c, &put, note);
}

/* Into a topic of the database's own. */
static enum err put_system(struct cdc_source *source, const struct change *c, const char *name,
                           struct note *note)
{
    struct cdc_log *log = source->log;
    char full[TOPIC_NAME_MAX];
    int n = snprintf(full, sizeof(full), "%s.braid.%s", source->database, name);
    cdc_lock(log);
    struct cdc_topic *topic = cdc_topic_need(log, slice_bytes(full, (size_t)n), 1, SLICE(""));
    cdc_unlock(log);
    if (topic == NULL) {
        return too_many(note);
    }
    struct put put = {.topic = topic->id, .op = c->op};
    return put_record(source, c, &put, note);
}

/* A gap concerns every partition of all tables of the database. */
static enum err put_everywhere(struct cdc_source *source, const struct change *c, struct note *note)
{
    struct cdc_log *log = source->log;
    cdc_lock(log);
    size_t count = log->topics_count;
    cdc_unlock(log);
    size_t database_bytes = strlen(source->database);
    enum err e = ERR_NONE;
    for (uint32_t id = 1; e == ERR_NONE && id <= count; id++) {
        cdc_lock(log);
        struct cdc_topic *topic = cdc_topic_get(log, id);
        cdc_unlock(log);
        if (topic->database_bytes == database_bytes &&
            memcmp(topic->name, source->database, database_bytes) == 0 &&
            strncmp(topic->name + database_bytes, ".braid.", 7) != 0) {
            struct put put = {.topic = id, .partition = CDC_EVERY_PARTITION, .op = c->op};
            e = put_record(source, c, &put, note);
        }
    }
    return e;
}

static enum err put_truncate(struct cdc_source *source, const struct change *c, struct note *note)
{
    const struct cdc_known *known;
    check(c->relation != NULL);
    enum err e = known_of(source, c->relation, &known, note);
    struct put put = {.partition = CDC_EVERY_PARTITION, .op = CHANGE_TRUNCATE};
    if (e == ERR_NONE) {
        put.topic = known->topic;
        put.schema = known->schema;
        e = put_record(source, c, &put, note);
    }
    return e;
}

static enum err sink_change(void *arg, const struct change *c, struct note *note)
{
    struct cdc_log *log = arg;
    struct cdc_source *source = source_of(log, c->shard);
    check(source != NULL);
    switch ((enum change_op)c->op) {
    case CHANGE_BEGIN: put_tx(source, c); return ERR_NONE;
    case CHANGE_COMMIT:
        if (c->gid.n > 0) {
            cdc_item_parts(&source->unit, c->prepare_lsn, c->gid);
        }
        return ERR_NONE;
    case CHANGE_INSERT:
    case CHANGE_UPDATE:
    case CHANGE_DELETE:
    case CHANGE_ROW: return put_row(source, c, note);
    case CHANGE_TRUNCATE: return put_truncate(source, c, note);
    case CHANGE_MESSAGE: return put_system(source, c, "messages", note);
    case CHANGE_DDL: return put_system(source, c, "schema", note);
    case CHANGE_WATERMARK: return put_system(source, c, "watermarks", note);
    case CHANGE_GAP: {
        enum err e = put_system(source, c, "messages", note);
        return e ? e : put_everywhere(source, c, note);
    }
    }
    return note_set(note, ERR_INTERNAL, "change log: a change of kind %u", c->op);
}

/* ---- units to pieces ------------------------------------------------------------------------- */

static void send_unit(struct cdc_log *log, struct cdc_source *source, int is_lazy)
{
    struct slice left = buf_slice(&source->unit);
    uint8_t flags = CDC_PIECE_FIRST;
    while (left.n > 0) {
        size_t max = log->options.piece_bytes;
        size_t n = left.n > max ? max : left.n;
        struct cdc_piece *piece = cdc_piece_new(log, CDC_WAL_PIECE, n + 3);
        flags |= n == left.n ? CDC_PIECE_LAST : 0;
        piece->body[8] = (uint8_t)(source->id >> 8);
        piece->body[9] = (uint8_t)source->id;
        piece->body[10] = flags;
        memcpy(piece->body + 11, left.p, n);
        piece->request.is_lazy = is_lazy ? 1 : 0;
        cdc_lock(log);
        cdc_piece_send(log, piece);
        cdc_unlock(log);
        left = slice_from(left, n);
        flags = 0;
    }
}

static enum err sink_mark(void *arg, const struct cdc_shard *shard, const struct cdc_mark *mark,
                          struct note *note)
{
    struct cdc_log *log = arg;
    struct cdc_source *source = source_of(log, shard->number);
    check(source != NULL && mark->state.n <= CDC_STATE_MAX);
    int is_idle = source->unit.n == 0 && mark->state.p == NULL;
    int64_t now = clock_now_us();
    if (is_idle && source->idle_us != 0 && !log->options.manual &&
        now - source->idle_us < CDC_IDLE_US) {
        return ERR_NONE; /* said again with the next */
    }
    source->idle_us = is_idle ? now : source->idle_us;
    enum err e = is_dead(log, note);
    if (e) {
        return e;
    }
    cdc_item_mark(&source->unit, mark);
    send_unit(log, source, is_idle);
    source->unit.n = 0;
    source->unit_tx = 0;
    return ERR_NONE;
}

static void sink_drop(void *arg, const struct cdc_shard *shard)
{
    struct cdc_source *source = source_of(arg, shard->number);
    if (source != NULL) {
        source->unit.n = 0;
        source->unit_tx = 0;
    }
}

static enum err sink_sync(void *arg, const struct cdc_shard *shard, struct note *note)
{
    struct cdc_log *log = arg;
    (void)shard;
    cdc_lock(log);
    enum err e = cdc_wait_applied(log, note);
    cdc_unlock(log);
    return e;
}

/* ---- what is here ---------------------------------------------------------------------------- */

static enum err sink_load(void *arg, const struct cdc_shard *shard, struct cdc_mark *out,
                          int *found, struct note *note)
{
    struct cdc_log *log = arg;
    if (shard->number >= CDC_SHARDS_MAX || strlen(shard->database) > CDC_NAME_MAX ||
        strlen(shard->name) > CDC_NAME_MAX) {
        return note_set(note, ERR_TOO_BIG, "change log: shard %u is one too many", shard->number);
    }
    enum err e = is_dead(log, note);
    if (e) {
        return e;
    }
    cdc_lock(log);
    struct cdc_source *source = cdc_source_need(log, shard);
    if (source != NULL) {
        source->loaded.n = 0;
        buf_add_slice(&source->loaded, buf_slice(&source->state));
        *out = source->mark;
        out->state = buf_slice(&source->loaded);
        *found = source->is_found;
    }
    cdc_unlock(log);
    if (source == NULL) {
        return note_set(note, ERR_TOO_BIG, "change log: too many shards");
    }
    source->unit.n = 0;
    source->unit_tx = 0;
    source->idle_us = 0;
    atomic_store_explicit(&log->by_number[shard->number], source, memory_order_release);
    return ERR_NONE;
}

static void sink_durable(void *arg, const struct cdc_shard *shard, struct cdc_mark *out)
{
    struct cdc_log *log = arg;
    struct cdc_source *source = source_of(log, shard->number);
    *out = (struct cdc_mark){0};
    if (source != NULL) {
        cdc_lock(log);
        *out = source->mark;
        cdc_unlock(log);
    }
    out->state = (struct slice){0};
}

static int sink_ready(void *arg, const struct cdc_shard *shard)
{
    struct cdc_log *log = arg;
    (void)shard;
    return atomic_load_explicit(&log->waiting, memory_order_relaxed) < CDC_WAITING_MAX;
}

void cdc_sink_init(struct cdc_log *log)
{
    log->sink = (struct cdc_sink){.arg = log,
                                  .load = sink_load,
                                  .change = sink_change,
                                  .mark = sink_mark,
                                  .drop = sink_drop,
                                  .durable = sink_durable,
                                  .sync = sink_sync,
                                  .ready = sink_ready};
}
