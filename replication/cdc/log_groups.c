/*
 * Committed offsets of consumer groups: records of the WAL like everything else here, in memory,
 * and at rest in a store of their own (log_offsets.c). An offset is the place of the next record to
 * be read. With each stands the generation of who committed it (group.h): a commit of an older one
 * than the last is void, so who lost a partition cannot move it back.
 */

#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "replication/cdc/log_impl.h"

enum {
    GROUP_COMMIT = 1, /* group, topic 4, count 2, (partition 2, generation 8, offset 8) each */
    GROUP_FORGET      /* group, topic 4 */
};

static uint64_t hash_of(struct slice group, uint32_t topic)
{
    return hash_bytes(group.p, group.n, hash_process_seed() + topic);
}

static struct cdc_offsets *find(const struct cdc_log *log, struct slice group, uint32_t topic)
{
    for (struct hnode *n = hmap_find(&log->groups, hash_of(group, topic)); n != NULL;
         n = hmap_more(n)) {
        struct cdc_offsets *o = container_of(n, struct cdc_offsets, node);
        if (o->topic == topic && slice_is(group, o->group)) {
            return o;
        }
    }
    return NULL;
}

void cdc_groups_add(struct cdc_log *log, struct cdc_offsets *offsets)
{
    hmap_add(&log->groups, &offsets->node, hash_of(slice_of(offsets->group), offsets->topic));
}

static struct cdc_offsets *need(struct cdc_log *log, struct slice group, uint32_t topic)
{
    struct cdc_offsets *o = find(log, group, topic);
    const struct cdc_topic *t = cdc_topic_get(log, topic);
    if (o != NULL || t == NULL) {
        return o;
    }
    o = mem_zero(sizeof(*o) + t->partitions * sizeof(o->parts[0]));
    o->topic = topic;
    o->count = t->partitions;
    memcpy(o->group, group.p, group.n);
    for (uint16_t p = 0; p < o->count; p++) {
        o->parts[p].offset = CDC_NO_OFFSET;
    }
    cdc_groups_add(log, o);
    return o;
}

static enum err contradiction(struct note *note)
{
    return note_set(note, ERR_CORRUPT, "change log: an event of a group is wrong");
}

static enum err apply_commit(struct cdc_log *log, struct cdc_bytes *in, struct slice group,
                             uint32_t topic, struct note *note)
{
    struct cdc_offsets *o = need(log, group, topic);
    uint16_t count = cdc_take_u16(in);
    for (uint16_t i = 0; i < count && o != NULL; i++) {
        uint16_t partition = cdc_take_u16(in);
        uint64_t generation = cdc_take_u64(in);
        uint64_t offset = cdc_take_u64(in);
        if (in->bad || partition >= o->count) {
            return contradiction(note);
        }
        if (generation >= o->parts[partition].generation) {
            o->parts[partition] = (struct cdc_offset){.generation = generation, .offset = offset};
            o->is_dirty = 1;
        }
    }
    return in->bad || o == NULL || in->left.n > 0 ? contradiction(note) : ERR_NONE;
}

enum err cdc_groups_apply(struct cdc_log *log, struct slice body, struct note *note)
{
    struct cdc_bytes in = {.left = body};
    uint8_t kind = cdc_take_u8(&in);
    struct slice group = cdc_take_short(&in);
    uint32_t topic = cdc_take_u32(&in);
    if (in.bad || group.n == 0 || group.n > CDC_GROUP_MAX || kind < GROUP_COMMIT ||
        kind > GROUP_FORGET) {
        return contradiction(note);
    }
    log->groups_dirty = 1;
    if (kind == GROUP_COMMIT) {
        return apply_commit(log, &in, group, topic, note);
    }
    struct cdc_offsets *o = find(log, group, topic);
    for (uint16_t p = 0; o != NULL && p < o->count; p++) {
        o->is_dirty = 1;
        o->parts[p].offset = CDC_NO_OFFSET; /* generations stay: nobody may bring it back */
    }
    return ERR_NONE;
}

enum err cdc_groups_get(struct cdc_log *log, struct cdc_bytes *in, struct note *note)
{
    uint32_t count = cdc_take_u32(in);
    for (uint32_t i = 0; i < count; i++) {
        struct slice group = cdc_take_short(in);
        uint32_t topic = cdc_take_u32(in);
        uint16_t parts = cdc_take_u16(in);
        const struct cdc_topic *t = cdc_topic_get(log, topic);
        if (in->bad || group.n == 0 || group.n > CDC_GROUP_MAX || t == NULL ||
            t->partitions != parts) {
            return contradiction(note);
        }
        struct cdc_offsets *o = need(log, group, topic);
        o->is_dirty = 1;
        log->groups_dirty = 1;
        for (uint16_t p = 0; p < parts; p++) {
            o->parts[p].generation = cdc_take_u64(in);
            o->parts[p].offset = cdc_take_u64(in);
        }
    }
    return in->bad ? contradiction(note) : ERR_NONE;
}

void cdc_groups_free(struct cdc_log *log)
{
    for (struct hnode *n = hmap_each(&log->groups, NULL); n != NULL;) {
        struct cdc_offsets *o = container_of(n, struct cdc_offsets, node);
        n = hmap_each(&log->groups, n);
        mem_free(o);
    }
    hmap_free(&log->groups);
    log->groups = (struct hmap){0};
}

/* ---- callers --------------------------------------------------------------------------------- */

struct cdc_offset cdc_log_committed(struct cdc_log *log, struct slice group, uint32_t topic,
                                    uint16_t partition)
{
    struct cdc_offset out = {.offset = CDC_NO_OFFSET};
    cdc_lock(log);
    const struct cdc_offsets *o = find(log, group, topic);
    if (o != NULL && partition < o->count) {
        out = o->parts[partition];
    }
    cdc_unlock(log);
    return out;
}

/* May it commit? Those that are there always may. */
static int has_room(struct cdc_log *log, struct slice group, uint32_t topic)
{
    cdc_lock(log);
    int has = log->groups.count < log->options.groups_max || find(log, group, topic) != NULL;
    cdc_unlock(log);
    return has;
}

static enum err check_group(struct cdc_log *log, struct slice group, uint32_t topic,
                            struct note *note)
{
    if (group.n == 0 || group.n > CDC_GROUP_MAX || memchr(group.p, 0, group.n) != NULL) {
        return note_set(note, ERR_BAD_SETTING, "the name of a group has 1 to %d bytes",
                        CDC_GROUP_MAX);
    }
    return cdc_log_topic_name(log, topic) == NULL
               ? note_set(note, ERR_NO_TABLE, "the change log has no such topic")
               : ERR_NONE;
}

static enum err send(struct cdc_log *log, const struct buf *body, struct note *note)
{
    struct cdc_piece *piece = cdc_piece_new(log, CDC_WAL_GROUP, body->n);
    memcpy(piece->body + 8, body->p, body->n);
    cdc_lock(log);
    cdc_piece_send(log, piece);
    enum err e = cdc_wait_applied(log, note);
    cdc_unlock(log);
    return e;
}

enum err cdc_log_commit(struct cdc_log *log, struct slice group, uint32_t topic,
                        const struct cdc_commit *commits, uint16_t count, struct note *note)
{
    struct buf body = {0};
    enum err e = check_group(log, group, topic, note);
    if (e == ERR_NONE && !has_room(log, group, topic)) {
        e = note_set(note, ERR_TOO_MANY, "the change log remembers %zu groups already",
                     log->options.groups_max);
        note_hint(note, "braidctl cdc groups lists them; those that were set to \"forget\" by "
                        "braidctl cdc reset make room after a restart.");
    }
    if (e || count == 0) {
        return e;
    }
    buf_u8(&body, GROUP_COMMIT);
    cdc_put_short(&body, group);
    buf_be32(&body, topic);
    buf_be16(&body, count);
    for (uint16_t i = 0; i < count; i++) {
        buf_be16(&body, commits[i].partition);
        buf_be64(&body, commits[i].generation);
        buf_be64(&body, commits[i].offset);
    }
    e = send(log, &body, note);
    buf_free(&body);
    for (uint16_t i = 0; i < count && e == ERR_NONE; i++) {
        struct cdc_offset is = cdc_log_committed(log, group, topic, commits[i].partition);
        if (is.generation > commits[i].generation) {
            e = note_set(note, ERR_FENCED, "partition %u belongs to another member of the group",
                         commits[i].partition);
        }
    }
    return e;
}

enum err cdc_log_forget(struct cdc_log *log, struct slice group, uint32_t topic, struct note *note)
{
    struct buf body = {0};
    enum err e = check_group(log, group, topic, note);
    if (e) {
        return e;
    }
    buf_u8(&body, GROUP_FORGET);
    cdc_put_short(&body, group);
    buf_be32(&body, topic);
    e = send(log, &body, note);
    buf_free(&body);
    return e;
}

int cdc_group_is_forgotten(const struct cdc_offsets *o)
{
    for (uint16_t p = 0; p < o->count; p++) {
        if (o->parts[p].offset != CDC_NO_OFFSET) {
            return 0;
        }
    }
    return 1;
}

/* What a partition has from an offset on. */
static void add_behind(struct cdc_group_view *v, const struct cdc_part *part, uint64_t from)
{
    for (size_t i = 0; i < part->segments_count; i++) {
        const struct cdc_segment *s = part->segments[i];
        if (s->end <= from || s->end == s->base) {
            continue;
        }
        double rest = from <= s->base ? 1 : (double)(s->end - from) / (double)(s->end - s->base);
        int64_t time_us = s->time_us - (int64_t)(rest * (double)(s->time_us - s->time_min_us));
        v->bytes += (uint64_t)(rest * (double)s->bytes);
        v->time_us = v->time_us == 0 || time_us < v->time_us ? time_us : v->time_us;
    }
}

size_t cdc_log_groups_count(struct cdc_log *log)
{
    cdc_lock(log);
    size_t n = log->groups.count;
    cdc_unlock(log);
    return n;
}

size_t cdc_log_groups(struct cdc_log *log, struct cdc_group_view *out, size_t max)
{
    size_t n = 0;
    cdc_lock(log);
    for (struct hnode *h = hmap_each(&log->groups, NULL); h != NULL && n < max;
         h = hmap_each(&log->groups, h)) {
        const struct cdc_offsets *o = container_of(h, struct cdc_offsets, node);
        const struct cdc_topic *topic = cdc_topic_get(log, o->topic);
        if (topic == NULL || topic->partitions != o->count || cdc_group_is_forgotten(o)) {
            continue;
        }
        struct cdc_group_view *v = &out[n++];
        *v = (struct cdc_group_view){.topic = o->topic, .partitions = o->count};
        memcpy(v->group, o->group, sizeof(v->group));
        for (uint16_t p = 0; p < o->count; p++) {
            uint64_t at = o->parts[p].offset;
            uint64_t from = at == CDC_NO_OFFSET ? topic->parts[p].start : at;
            v->lag += topic->parts[p].end > from ? topic->parts[p].end - from : 0;
            add_behind(v, &topic->parts[p], from);
            v->lost += topic->parts[p].start > from ? topic->parts[p].start - from : 0;
        }
    }
    cdc_unlock(log);
    return n;
}
