/* The two walks over the segments of a partition: see log_compact.h for what is kept and why. */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/mem.h"
#include "replication/cdc/log_compact.h"

enum {
    READ_BYTES = 1 << 20,
    WRITE_BYTES = 256 << 10
};

struct compact_key {
    struct hnode node;
    uint64_t offset;
    size_t n;
    uint8_t bytes[];
};

/* ---- keys ------------------------------------------------------------------------------------ */

static struct compact_key *find_key(const struct hmap *map, struct slice key)
{
    for (struct hnode *n = hmap_find(map, hash_bytes(key.p, key.n, hash_process_seed())); n != NULL;
         n = hmap_more(n)) {
        struct compact_key *k = container_of(n, struct compact_key, node);
        if (slice_eq((struct slice){k->bytes, k->n}, key)) {
            return k;
        }
    }
    return NULL;
}

static void set_key(struct cdc_compaction *job, struct hmap *map, struct slice key, uint64_t offset)
{
    struct compact_key *k = find_key(map, key);
    if (k == NULL) {
        k = mem_alloc(sizeof(*k) + key.n);
        k->n = key.n;
        memcpy(k->bytes, key.p, key.n);
        hmap_add(map, &k->node, hash_bytes(key.p, key.n, hash_process_seed()));
        job->keys_bytes += sizeof(*k) + key.n + 2 * sizeof(void *);
    }
    k->offset = offset;
}

static void free_keys(struct hmap *map)
{
    for (struct hnode *n = hmap_each(map, NULL); n != NULL;) {
        struct compact_key *k = container_of(n, struct compact_key, node);
        n = hmap_each(map, n);
        mem_free(k);
    }
    hmap_free(map);
    *map = (struct hmap){0};
}

/* Shard, names and values of the replica identity. 0: it has none, or it is not all there. */
static int make_key(struct buf *out, uint16_t source, const struct change_relation *relation,
                    const struct change_column *columns, const struct change_column *old)
{
    uint16_t n = 0;
    out->n = 0;
    buf_be16(out, source);
    for (uint16_t i = 0; i < relation->n_columns; i++) {
        if (!relation->columns[i].is_key) {
            continue;
        }
        const struct change_column *c = &columns[i];
        c = c->kind == VALUE_UNCHANGED && old != NULL ? &old[i] : c;
        if (c->kind != VALUE_TEXT && c->kind != VALUE_BINARY) {
            return 0;
        }
        cdc_put_text(out, relation->columns[i].name);
        cdc_put_long(out, c->bytes);
        n++;
    }
    return n > 0 && relation->replica_identity != 'f';
}

/* ---- what a record says ---------------------------------------------------------------------- */

struct saying {
    uint8_t op, flags;
    uint64_t offset;
    uint16_t source;
    int64_t time_us;
    int has_key, has_old; /* job->key; job->old_key, another one */
    int is_whole;         /* it says all of the row */
    int is_apart;         /* the rest of the row is with its old key, which it ends */
};

static int is_row(uint8_t op)
{
    return op == CHANGE_INSERT || op == CHANGE_UPDATE || op == CHANGE_DELETE || op == CHANGE_ROW;
}

static int has_all(const struct change *change, uint16_t n)
{
    for (uint16_t i = 0; i < n; i++) {
        if (change->new_columns[i].kind == VALUE_UNCHANGED) {
            return 0;
        }
    }
    return 1;
}

static enum err read_row(struct cdc_compaction *job, const struct cdc_record *record,
                         struct saying *s, struct note *note)
{
    const struct change_relation *relation = cdc_log_schema(job->log, record->schema);
    if (relation == NULL) {
        return note_set(note, ERR_CORRUPT, "change log: a record has a schema that there is not");
    }
    if (job->columns_cap < relation->n_columns) {
        job->columns_cap = relation->n_columns;
        job->columns = mem_grow(job->columns, 2 * job->columns_cap * sizeof(job->columns[0]));
    }
    struct change c = {0};
    struct change_column *second = job->columns == NULL ? NULL : job->columns + job->columns_cap;
    enum err e = cdc_record_read(record, relation->n_columns, job->columns, second, &c, note);
    if (e) {
        return e;
    }
    const struct change_column *old = c.old_columns;
    if (c.new_columns == NULL) {
        s->has_key = old != NULL && make_key(&job->key, s->source, relation, old, NULL);
        s->is_apart = (record->flags & (CDC_RECORD_MOVED | CDC_RECORD_ALONE)) == CDC_RECORD_MOVED;
        s->is_whole = !s->is_apart;
        return ERR_NONE;
    }
    s->has_key = make_key(&job->key, s->source, relation, c.new_columns, old);
    s->is_whole = has_all(&c, relation->n_columns);
    if (s->has_key && old != NULL) {
        s->has_key = make_key(&job->old_key, s->source, relation, old, NULL);
        s->has_old = s->has_key && !slice_eq(buf_slice(&job->key), buf_slice(&job->old_key));
        s->is_apart = s->has_old && !s->is_whole;
    }
    return ERR_NONE;
}

static enum err read_saying(struct cdc_compaction *job, const struct cdc_frame *frame,
                            const struct cdc_record *record, struct saying *out, struct note *note)
{
    *out = (struct saying){.op = record->op,
                           .flags = record->flags,
                           .offset = frame->offset + record->delta,
                           .source = frame->source,
                           .time_us = frame->tx.time_us};
    return is_row(record->op) ? read_row(job, record, out, note) : ERR_NONE;
}

/* ---- the first walk -------------------------------------------------------------------------- */

static void learn_barrier(struct cdc_compaction *job, const struct saying *s)
{
    if (is_row(s->op) && s->has_key && s->is_apart) {
        struct buf *key = s->has_old ? &job->old_key : &job->key;
        set_key(job, &job->barriers, buf_slice(key), s->offset);
    }
}

static void learn(struct cdc_compaction *job, const struct saying *s)
{
    if (s->op == CHANGE_TRUNCATE) {
        size_t cap = (size_t)s->source + 1;
        if (job->truncated_cap < cap) {
            job->truncated = mem_grow(job->truncated, cap * sizeof(job->truncated[0]));
            memset(job->truncated + job->truncated_cap, 0,
                   (cap - job->truncated_cap) * sizeof(job->truncated[0]));
            job->truncated_cap = cap;
        }
        job->truncated[s->source] = s->offset + 1;
    }
    if (is_row(s->op) && s->has_key && s->is_whole) {
        set_key(job, &job->keys, buf_slice(&job->key), s->offset);
        if (s->has_old) {
            set_key(job, &job->keys, buf_slice(&job->old_key), s->offset);
        }
    }
}

/* ---- the second walk ------------------------------------------------------------------------- */

static int is_replaced(const struct cdc_compaction *job, struct slice key, uint64_t offset)
{
    const struct compact_key *k = find_key(&job->keys, key);
    return k != NULL && k->offset > offset;
}

static int is_behind_barrier(const struct cdc_compaction *job, struct slice key, uint64_t offset)
{
    const struct compact_key *k = find_key(&job->barriers, key);
    return k == NULL || k->offset < offset;
}

static int is_truncated(const struct cdc_compaction *job, const struct saying *s)
{
    return s->source < job->truncated_cap && job->truncated[s->source] > s->offset + 1;
}

static int may_forget(const struct cdc_compaction *job, const struct saying *s)
{
    return s->time_us > 0 && s->time_us < job->before_us;
}

static int keep_row(struct cdc_compaction *job, const struct saying *s)
{
    if (!s->has_key) {
        return 1;
    }
    int is_free = is_behind_barrier(job, buf_slice(&job->key), s->offset) &&
                  (!s->has_old || is_behind_barrier(job, buf_slice(&job->old_key), s->offset));
    int is_old = is_free && is_replaced(job, buf_slice(&job->key), s->offset);
    if (s->has_old) {
        if (is_old && is_replaced(job, buf_slice(&job->old_key), s->offset)) {
            return 0;
        }
        if (job->keys_bytes >= 2 * job->keys_max) {
            job->pins_all = 1;
            return 1;
        }
        set_key(job, &job->pinned, buf_slice(&job->key), s->offset);
        set_key(job, &job->pinned, buf_slice(&job->old_key), s->offset);
        return 1;
    }
    int is_gone = s->op == CHANGE_DELETE && is_free && may_forget(job, s) && !job->pins_all &&
                  find_key(&job->pinned, buf_slice(&job->key)) == NULL;
    return !is_old && !is_gone;
}

static int keep(struct cdc_compaction *job, const struct saying *s)
{
    if (s->offset >= job->upto) {
        return 1;
    }
    if (is_row(s->op)) {
        return !is_truncated(job, s) && keep_row(job, s);
    }
    if (s->op == CHANGE_TRUNCATE || s->op == CHANGE_GAP) {
        return !(s->op == CHANGE_TRUNCATE && is_truncated(job, s)) && !may_forget(job, s);
    }
    return 1;
}

/* ---- writing --------------------------------------------------------------------------------- */

static struct cdc_segment *last_out(const struct cdc_compaction *job)
{
    return job->out_count == 0 ? NULL : job->out[job->out_count - 1];
}

static enum err flush(struct cdc_compaction *job, struct note *note)
{
    struct cdc_segment *s = last_out(job);
    if (s == NULL || job->tail.n == 0) {
        return ERR_NONE;
    }
    enum err e = cdc_file_write(job->log, s->number, s->written == 0, s->written,
                                buf_slice(&job->tail), note);
    s->written += job->tail.n;
    job->tail.n = 0;
    return e;
}

static enum err end_segment(struct cdc_compaction *job, struct note *note)
{
    struct cdc_segment *s = last_out(job);
    if (s == NULL) {
        return ERR_NONE;
    }
    cdc_noting_free(&s->noting);
    return flush(job, note);
}

static enum err need_segment(struct cdc_compaction *job, uint64_t offset, size_t bytes,
                             struct note *note)
{
    struct cdc_segment *s = last_out(job);
    if (s != NULL && (s->bytes + bytes <= job->log->options.segment_bytes || job->numbers == 0)) {
        return ERR_NONE;
    }
    enum err e = end_segment(job, note);
    if (e) {
        return e;
    }
    check(job->numbers > 0);
    struct cdc_segment *made = mem_zero(sizeof(*made));
    *made = (struct cdc_segment){.number = job->number++,
                                 .base = s == NULL ? job->in[0]->base : offset,
                                 .bytes = CDC_SEGMENT_HEADER,
                                 .made_us = clock_wall_us(),
                                 .is_new = 1,
                                 .is_dirty = 1,
                                 .is_ended = 1};
    made->end = made->base;
    job->numbers--;
    job->out = mem_grow(job->out, (job->out_count + 1) * sizeof(job->out[0]));
    job->out[job->out_count++] = made;
    cdc_segment_header(&job->tail, job->topic, job->partition, made);
    return ERR_NONE;
}

/* The held frame covers all places before `end`, if its span can. */
static enum err close_held(struct cdc_compaction *job, uint64_t end, struct note *note)
{
    struct cdc_frame *f = &job->held_frame;
    if (job->held.n == 0) {
        return ERR_NONE;
    }
    f->span = end - f->offset > UINT32_MAX ? UINT32_MAX : (uint32_t)(end - f->offset);
    cdc_frame_close(&job->held, 0, f);
    f->bytes = job->held.n;
    enum err e = need_segment(job, f->offset, f->bytes, note);
    if (e) {
        return e;
    }
    struct cdc_segment *s = last_out(job);
    int64_t time_us = f->tx.time_us;
    buf_add_slice(&job->tail, buf_slice(&job->held));
    e = cdc_index_note(job->log, s, f, s->bytes, note);
    if (e) {
        return e;
    }
    s->bytes += f->bytes;
    s->end = f->offset + f->span;
    s->time_us = time_us > s->time_us ? time_us : s->time_us;
    s->time_min_us = s->time_min_us == 0 || time_us < s->time_min_us ? time_us : s->time_min_us;
    job->held.n = 0;
    return job->tail.n >= WRITE_BYTES ? flush(job, note) : ERR_NONE;
}

static void hold(struct cdc_compaction *job, const struct cdc_frame *frame)
{
    cdc_frame_open(&job->held, frame);
    job->held_frame = *frame;
    job->held_frame.tx.gid = job->held_frame.tx.origin = (struct slice){0}; /* borrowed */
}

static enum err rewrite(struct cdc_compaction *job, const struct cdc_frame *frame,
                        struct note *note)
{
    struct slice left = frame->records;
    int is_held = 0;
    while (left.n > 0) {
        struct cdc_record record;
        struct saying s;
        struct slice bytes = left;
        enum err e = cdc_record_next(&left, &record, note);
        e = e ? e : read_saying(job, frame, &record, &s, note);
        if (e) {
            return e;
        }
        if (!keep(job, &s)) {
            continue;
        }
        if (!is_held) {
            e = close_held(job, frame->offset, note);
            if (e) {
                return e;
            }
            hold(job, frame);
            is_held = 1;
        }
        buf_add(&job->held, bytes.p, bytes.n - left.n);
    }
    return ERR_NONE;
}

/* The last frame reaches to the end; if there is none, one without a record does. */
static enum err close_all(struct cdc_compaction *job, const struct cdc_frame *last,
                          struct note *note)
{
    uint64_t end = job->in[job->in_count - 1]->end;
    enum err e = ERR_NONE;
    if (job->held.n == 0) {
        struct cdc_frame none = *last;
        none.offset = job->in[0]->base;
        hold(job, &none);
    }
    while (e == ERR_NONE && job->held.n > 0) {
        struct cdc_frame next = job->held_frame;
        e = close_held(job, end, note);
        next.offset = job->held_frame.offset + job->held_frame.span;
        if (e == ERR_NONE && next.offset < end) {
            hold(job, &next);
        }
    }
    e = e ? e : end_segment(job, note);
    check(e || last_out(job)->end == end);
    for (size_t i = 0; e == ERR_NONE && i + 1 < job->out_count; i++) {
        job->out[i]->end = job->out[i + 1]->base; /* where a span was too long */
    }
    return e;
}

/* ---- walking --------------------------------------------------------------------------------- */

typedef enum err frame_fn(struct cdc_compaction *job, const struct cdc_frame *frame,
                          struct note *note);

static enum err damaged(const struct cdc_compaction *job, uint64_t number, uint64_t at, enum err e,
                        struct note *note)
{
    char path[CDC_PATH_MAX];
    char words[CDC_PATH_MAX + 32];
    cdc_file_path(job->log, path, number);
    (void)snprintf(words, sizeof(words), "%s: at %" PRIu64, path, at);
    return note_wrap(note, e, words);
}

static enum err walk_segment(struct cdc_compaction *job, const struct cdc_segment *s, frame_fn *fn,
                             struct note *note)
{
    struct buf chunk = {0};
    uint64_t read = CDC_SEGMENT_HEADER; /* bytes of the file in chunk, or before it */
    enum err e = ERR_NONE;
    while (e == ERR_NONE && (read < s->bytes || chunk.n > 0) && !atomic_load(&job->stop)) {
        size_t whole = chunk.n < 8 ? 0 : cdc_frame_bytes(chunk.p);
        uint64_t at = read - chunk.n;
        if (whole > 0 && whole <= chunk.n) {
            struct cdc_frame frame;
            size_t used = 0;
            while (e == ERR_NONE && whole > 0 && whole <= chunk.n - used) {
                e = cdc_frame_read(slice_from(buf_slice(&chunk), used), &frame, note);
                e = e ? damaged(job, s->number, at + used, e, note) : fn(job, &frame, note);
                used += whole;
                whole = chunk.n - used < 8 ? 0 : cdc_frame_bytes(chunk.p + used);
            }
            buf_drop(&chunk, used);
            continue;
        }
        if ((chunk.n >= 8 && whole == 0) || read >= s->bytes) {
            e = note_set(note, ERR_CORRUPT, "change log: the length of a frame is wrong");
            e = damaged(job, s->number, at, e, note);
            break;
        }
        size_t want = whole > chunk.n + READ_BYTES ? whole - chunk.n : READ_BYTES;
        size_t n = s->bytes - read < want ? (size_t)(s->bytes - read) : want;
        buf_reserve(&chunk, n);
        e = cdc_file_read(job->log, s->number, read, chunk.p + chunk.n, n, note);
        chunk.n += e ? 0 : n;
        read += n;
    }
    buf_free(&chunk);
    return e;
}

static enum err learn_frame(struct cdc_compaction *job, const struct cdc_frame *frame,
                            struct note *note)
{
    struct slice left = frame->records;
    while (left.n > 0 && !job->is_full) {
        struct cdc_record record;
        struct saying s;
        enum err e = cdc_record_next(&left, &record, note);
        e = e ? e : read_saying(job, frame, &record, &s, note);
        if (e) {
            return e;
        }
        job->is_full = s.offset >= job->clean && job->keys_bytes >= job->keys_max;
        if (!job->is_full) {
            learn_barrier(job, &s);
        }
        if (!job->is_full && s.offset >= job->clean) {
            learn(job, &s);
            job->upto = s.offset + 1;
        }
    }
    if (!job->is_full && frame->offset + frame->span > job->upto) {
        job->upto = frame->offset + frame->span;
    }
    return ERR_NONE;
}

static enum err rewrite_frame(struct cdc_compaction *job, const struct cdc_frame *frame,
                              struct note *note)
{
    job->last_frame = *frame; /* its texts are not looked at */
    job->last_frame.tx.gid = job->last_frame.tx.origin = (struct slice){0};
    return rewrite(job, frame, note);
}

/* Only up to the segment that holds `upto`: the others are let go. */
static void let_go(struct cdc_compaction *job)
{
    cdc_lock(job->log);
    while (job->in_count > 1 && job->in[job->in_count - 1]->base >= job->upto) {
        job->in[--job->in_count]->pins--;
    }
    cdc_unlock(job->log);
}

enum err cdc_compaction_run(struct cdc_compaction *job, struct note *note)
{
    enum err e = ERR_NONE;
    job->upto = job->clean;
    for (size_t i = 0; e == ERR_NONE && i < job->in_count && !job->is_full; i++) {
        e = walk_segment(job, job->in[i], learn_frame, note);
    }
    if (e == ERR_NONE && job->is_full && job->upto == job->clean) {
        e = note_set(note, ERR_TOO_BIG, "more keys were changed than can be remembered");
    }
    let_go(job);
    for (size_t i = 0; e == ERR_NONE && i < job->in_count; i++) {
        e = walk_segment(job, job->in[i], rewrite_frame, note);
    }
    if (e == ERR_NONE && !atomic_load(&job->stop)) {
        e = close_all(job, &job->last_frame, note);
    }
    return e;
}

void cdc_compaction_clear(struct cdc_compaction *job)
{
    free_keys(&job->keys);
    free_keys(&job->pinned);
    free_keys(&job->barriers);
    mem_free(job->truncated);
    mem_free(job->columns);
    buf_free(&job->held);
    buf_free(&job->tail);
    buf_free(&job->key);
    buf_free(&job->old_key);
}
