/*
 * Topics, schemas and sources: names become numbers once and keep them. A new one is told to the
 * WAL before anything can refer to it, because both happen under the mutex. They are never given
 * up; entries are changed no more once they can be found, so their texts may be handed out.
 */

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "replication/cdc/log_impl.h"

static uint64_t hash_of(struct slice s)
{
    return hash_bytes(s.p, s.n, hash_process_seed());
}

static enum err contradiction(struct note *note, const char *what)
{
    return note_set(note, ERR_CORRUPT, "change log: records about a %s contradict each other",
                    what);
}

/* ---- topics ---------------------------------------------------------------------------------- */

struct cdc_topic *cdc_topic_get(const struct cdc_log *log, uint32_t id)
{
    return id == 0 || id > log->topics_count ? NULL : log->topics[id - 1];
}

struct cdc_topic *cdc_topic_find(const struct cdc_log *log, struct slice name)
{
    for (struct hnode *n = hmap_find(&log->topics_by_name, hash_of(name)); n != NULL;
         n = hmap_more(n)) {
        struct cdc_topic *topic = container_of(n, struct cdc_topic, by_name);
        if (slice_is(name, topic->name)) {
            return topic;
        }
    }
    return NULL;
}

static struct cdc_topic *add_topic(struct cdc_log *log, uint16_t partitions, struct slice name,
                                   struct slice rule)
{
    struct cdc_topic *topic = mem_zero(sizeof(*topic));
    if (log->topics_count == log->topics_cap) {
        log->topics_cap = log->topics_cap == 0 ? 16 : log->topics_cap * 2;
        log->topics = mem_grow(log->topics, log->topics_cap * sizeof(log->topics[0]));
    }
    log->topics[log->topics_count++] = topic;
    topic->id = (uint32_t)log->topics_count;
    topic->partitions = partitions;
    topic->name = mem_zero(name.n + 1);
    memcpy(topic->name, name.p, name.n);
    buf_add_slice(&topic->rule, rule);
    const uint8_t *dot = memchr(name.p, '.', name.n);
    topic->database_bytes = dot == NULL ? name.n : (size_t)(dot - name.p);
    topic->is_compacted = cdc_is_compacted(log, topic->name);
    topic->parts = mem_zero(partitions * sizeof(topic->parts[0]));
    hmap_add(&log->topics_by_name, &topic->by_name, hash_of(name));
    return topic;
}

struct cdc_topic *cdc_topic_need(struct cdc_log *log, struct slice name, uint16_t partitions,
                                 struct slice rule)
{
    struct cdc_topic *topic = cdc_topic_find(log, name);
    if (topic != NULL || log->topics_count == CDC_TOPICS_MAX || name.n > UINT16_MAX) {
        return topic;
    }
    topic = add_topic(log, partitions, name, rule);
    struct buf body = {0};
    buf_be32(&body, topic->id);
    buf_be16(&body, partitions);
    cdc_put_text(&body, name);
    buf_add_slice(&body, rule);
    enum cdc_wal_type type = rule.n == 0 ? CDC_WAL_TOPIC : CDC_WAL_TOPIC_BY;
    struct cdc_piece *piece = cdc_piece_new(log, type, body.n);
    memcpy(piece->body + 8, body.p, body.n);
    buf_free(&body);
    cdc_piece_send(log, piece);
    return topic;
}

enum err cdc_topic_define(struct cdc_log *log, uint32_t id, uint16_t partitions, struct slice name,
                          struct slice rule, struct note *note)
{
    struct cdc_topic *topic = cdc_topic_get(log, id);
    if (topic != NULL) {
        return topic->partitions == partitions && slice_is(name, topic->name) &&
                       slice_eq(buf_slice(&topic->rule), rule)
                   ? ERR_NONE
                   : contradiction(note, "topic");
    }
    if (id != log->topics_count + 1 || partitions == 0 || partitions > CDC_BUCKETS ||
        id > CDC_TOPICS_MAX || memchr(name.p, 0, name.n) != NULL ||
        cdc_topic_find(log, name) != NULL) {
        return contradiction(note, "topic");
    }
    (void)add_topic(log, partitions, name, rule);
    return ERR_NONE;
}

/* ---- schemas --------------------------------------------------------------------------------- */

struct cdc_schema *cdc_schema_get(const struct cdc_log *log, uint32_t id)
{
    return id == 0 || id > log->schemas_count ? NULL : log->schemas[id - 1];
}

static void make_definition(struct buf *out, const struct change_relation *relation)
{
    buf_u8(out, (uint8_t)relation->replica_identity);
    cdc_put_text(out, relation->schema);
    cdc_put_text(out, relation->name);
    buf_be16(out, relation->n_columns);
    for (uint16_t i = 0; i < relation->n_columns; i++) {
        buf_be32(out, relation->columns[i].type);
        buf_be32(out, (uint32_t)relation->columns[i].typmod);
        buf_u8(out, relation->columns[i].is_key);
        cdc_put_text(out, relation->columns[i].name);
    }
}

static enum err read_definition(struct cdc_schema *schema, struct note *note)
{
    struct cdc_bytes in = {.left = buf_slice(&schema->definition)};
    struct change_relation *r = &schema->relation;
    r->replica_identity = (char)cdc_take_u8(&in);
    r->schema = cdc_take_text(&in);
    r->name = cdc_take_text(&in);
    r->n_columns = cdc_take_u16(&in);
    if (in.left.n < r->n_columns * (size_t)11) {
        return contradiction(note, "schema");
    }
    schema->columns = mem_zero((r->n_columns + (size_t)1) * sizeof(schema->columns[0]));
    r->columns = schema->columns;
    for (uint16_t i = 0; i < r->n_columns; i++) {
        schema->columns[i].type = cdc_take_u32(&in);
        schema->columns[i].typmod = (int32_t)cdc_take_u32(&in);
        schema->columns[i].is_key = cdc_take_u8(&in);
        schema->columns[i].name = cdc_take_text(&in);
    }
    return in.bad || in.left.n > 0 ? contradiction(note, "schema") : ERR_NONE;
}

static void free_schema(struct cdc_schema *schema)
{
    buf_free(&schema->definition);
    mem_free(schema->columns);
    mem_free(schema);
}

static uint64_t hash_definition(uint32_t topic, struct slice definition)
{
    return hash_bytes(definition.p, definition.n, hash_process_seed() + topic);
}

/* Takes it over. */
static void add_schema(struct cdc_log *log, struct cdc_schema *schema)
{
    struct cdc_topic *topic = cdc_topic_get(log, schema->topic);
    if (log->schemas_count == log->schemas_cap) {
        log->schemas_cap = log->schemas_cap == 0 ? 16 : log->schemas_cap * 2;
        log->schemas = mem_grow(log->schemas, log->schemas_cap * sizeof(log->schemas[0]));
    }
    log->schemas[log->schemas_count++] = schema;
    schema->id = (uint32_t)log->schemas_count;
    schema->relation.version = ++topic->versions;
    hmap_add(&log->schemas_by_definition, &schema->by_definition,
             hash_definition(schema->topic, buf_slice(&schema->definition)));
}

static struct cdc_schema *find_schema(const struct cdc_log *log, uint32_t topic,
                                      struct slice definition)
{
    uint64_t hash = hash_definition(topic, definition);
    for (struct hnode *n = hmap_find(&log->schemas_by_definition, hash); n != NULL;
         n = hmap_more(n)) {
        struct cdc_schema *schema = container_of(n, struct cdc_schema, by_definition);
        if (schema->topic == topic && slice_eq(buf_slice(&schema->definition), definition)) {
            return schema;
        }
    }
    return NULL;
}

struct cdc_schema *cdc_schema_need(struct cdc_log *log, struct cdc_topic *topic,
                                   const struct change_relation *relation)
{
    struct cdc_schema *schema = mem_zero(sizeof(*schema));
    schema->topic = topic->id;
    make_definition(&schema->definition, relation);
    struct cdc_schema *old = find_schema(log, topic->id, buf_slice(&schema->definition));
    if (old != NULL || log->schemas_count == CDC_SCHEMAS_MAX ||
        read_definition(schema, NULL) != ERR_NONE) {
        free_schema(schema);
        return old;
    }
    add_schema(log, schema);
    struct buf body = {0};
    buf_be32(&body, schema->id);
    buf_be32(&body, schema->topic);
    buf_add_slice(&body, buf_slice(&schema->definition));
    struct cdc_piece *piece = cdc_piece_new(log, CDC_WAL_SCHEMA, body.n);
    memcpy(piece->body + 8, body.p, body.n);
    buf_free(&body);
    cdc_piece_send(log, piece);
    return schema;
}

enum err cdc_schema_define(struct cdc_log *log, uint32_t id, uint32_t topic,
                           struct slice definition, struct note *note)
{
    struct cdc_schema *old = cdc_schema_get(log, id);
    if (old != NULL) {
        return old->topic == topic && slice_eq(buf_slice(&old->definition), definition)
                   ? ERR_NONE
                   : contradiction(note, "schema");
    }
    if (id != log->schemas_count + 1 || id > CDC_SCHEMAS_MAX || cdc_topic_get(log, topic) == NULL) {
        return contradiction(note, "schema");
    }
    struct cdc_schema *schema = mem_zero(sizeof(*schema));
    schema->topic = topic;
    buf_add_slice(&schema->definition, definition);
    enum err e = read_definition(schema, note);
    if (e) {
        free_schema(schema);
        return e;
    }
    add_schema(log, schema);
    return ERR_NONE;
}

/* ---- sources --------------------------------------------------------------------------------- */

static struct cdc_source *add_source(struct cdc_log *log, struct slice database, struct slice name)
{
    struct cdc_source *source = mem_zero(sizeof(*source));
    if (log->sources_count == log->sources_cap) {
        log->sources_cap = log->sources_cap == 0 ? 16 : log->sources_cap * 2;
        log->sources = mem_grow(log->sources, log->sources_cap * sizeof(log->sources[0]));
    }
    source->id = (uint16_t)log->sources_count;
    log->sources[log->sources_count++] = source;
    source->log = log;
    source->database = mem_zero(database.n + 1);
    memcpy(source->database, database.p, database.n);
    source->name = mem_zero(name.n + 1);
    memcpy(source->name, name.p, name.n);
    return source;
}

struct cdc_source *cdc_source_need(struct cdc_log *log, const struct cdc_shard *shard)
{
    struct cdc_source *source = NULL;
    for (size_t i = 0; i < log->sources_count; i++) {
        struct cdc_source *s = log->sources[i];
        if (strcmp(s->database, shard->database) == 0 && strcmp(s->name, shard->name) == 0) {
            source = s;
        }
    }
    if (source == NULL && log->sources_count >= UINT16_MAX) {
        return NULL;
    }
    if (source == NULL) {
        source = add_source(log, slice_of(shard->database), slice_of(shard->name));
    }
    char topic[CDC_NAME_MAX + 32]; /* those that applying writes to must be there before */
    (void)snprintf(topic, sizeof(topic), "%s.braid.transactions", shard->database);
    (void)cdc_topic_need(log, slice_of(topic), 1, SLICE(""));
    (void)snprintf(topic, sizeof(topic), "%s.braid.watermarks", shard->database);
    (void)cdc_topic_need(log, slice_of(topic), 1, SLICE(""));
    struct buf body = {0};
    buf_be16(&body, source->id);
    cdc_put_short(&body, slice_of(source->database));
    cdc_put_short(&body, slice_of(source->name));
    struct cdc_piece *piece = cdc_piece_new(log, CDC_WAL_SOURCE, body.n);
    memcpy(piece->body + 8, body.p, body.n);
    buf_free(&body);
    cdc_piece_send(log, piece);
    return source;
}

enum err cdc_source_define(struct cdc_log *log, uint16_t id, struct slice database,
                           struct slice name, struct note *note)
{
    if (id < log->sources_count) {
        struct cdc_source *source = log->sources[id];
        return slice_is(database, source->database) && slice_is(name, source->name)
                   ? ERR_NONE
                   : contradiction(note, "shard");
    }
    if (id != log->sources_count) {
        return contradiction(note, "shard");
    }
    (void)add_source(log, database, name);
    return ERR_NONE;
}

/* ---- the end --------------------------------------------------------------------------------- */

static void free_source(struct cdc_source *source)
{
    cdc_source_clear(source);
    buf_free(&source->state);
    buf_free(&source->loaded);
    for (size_t i = 0; i < source->passed_count; i++) {
        buf_free(&source->passed[i].prepared);
    }
    buf_free(&source->pieces);
    buf_free(&source->open);
    mem_free(source->database);
    mem_free(source->name);
    mem_free(source);
}

void cdc_names_free(struct cdc_log *log)
{
    for (size_t i = 0; i < log->topics_count; i++) {
        struct cdc_topic *topic = log->topics[i];
        for (uint16_t p = 0; p < topic->partitions; p++) {
            cdc_part_free(&topic->parts[p]);
        }
        mem_free(topic->parts);
        buf_free(&topic->rule);
        mem_free(topic->name);
        mem_free(topic);
    }
    for (size_t i = 0; i < log->schemas_count; i++) {
        free_schema(log->schemas[i]);
    }
    for (size_t i = 0; i < log->sources_count; i++) {
        free_source(log->sources[i]);
    }
    mem_free(log->topics);
    mem_free(log->schemas);
    mem_free(log->sources);
    hmap_free(&log->topics_by_name);
    hmap_free(&log->schemas_by_definition);
}
