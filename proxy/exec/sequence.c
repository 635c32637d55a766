/* See sequence.h. */

#include "proxy/exec/sequence.h"

#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "proxy/exec/drawn.h"
#include "proxy/exec/exec.h"
#include "proxy/exec/tx.h"
#include "wire/types.h"
#include "wire/value.h"

enum {
    BLOCKS_MAX = 1000 /* of a worker; the one that was not used for longest goes */
};

struct sequence_block {
    struct hnode node; /* by key */
    struct list lru;   /* most recently used first */
    char *key;         /* database, user, role, sequence; each with its 0 byte */
    size_t key_bytes;
    uint64_t epoch, version; /* of shard_facts and of the catalog, when they were drawn */
    int64_t *ids;
    size_t count, next;
};

struct sequence_blocks {
    struct hmap by_key;
    struct list lru;
    size_t count;
};

struct session_sequences {
    const struct plan_drawn *taken_for; /* NULL: none are */
    uint64_t taken_epoch;
    int64_t *taken; /* in the order of its draws */
    size_t taken_cap;
    struct buf bind; /* the Bind with them */
    char *wanted;    /* a transaction had none of this sequence; NULL: nothing is wanted */
    size_t wanted_count;
    struct buf error; /* body of the server's ErrorResponse when they were to be drawn */
};

static struct session_sequences *mine(struct session *s)
{
    if (s->sequences == NULL) {
        s->sequences = mem_zero(sizeof(*s->sequences));
    }
    return s->sequences;
}

void sequence_session_free(struct session *s)
{
    struct session_sequences *m = s->sequences;
    if (m != NULL) {
        mem_free(m->taken);
        mem_free(m->wanted);
        buf_free(&m->bind);
        buf_free(&m->error);
        mem_free(m);
        s->sequences = NULL;
    }
}

static uint64_t epoch_of(const struct session *s)
{
    return atomic_load(&s->db->facts->sequences_epoch);
}

void sequence_moved(struct session *s)
{
    if (s->db != NULL && s->db->facts != NULL) {
        atomic_fetch_add(&s->db->facts->sequences_epoch, 1);
    }
}

/* ---- blocks ---------------------------------------------------------------------------------- */

static void drop(struct sequence_blocks *blocks, struct sequence_block *block)
{
    hmap_remove(&blocks->by_key, &block->node);
    list_remove(&block->lru);
    blocks->count--;
    mem_free(block->key);
    mem_free(block->ids);
    mem_free(block);
}

void sequence_worker_free(struct worker *w)
{
    struct sequence_blocks *blocks = w->sequences;
    if (blocks != NULL) {
        while (!list_empty(&blocks->lru)) {
            drop(blocks, container_of(blocks->lru.next, struct sequence_block, lru));
        }
        hmap_free(&blocks->by_key);
        mem_free(blocks);
        w->sequences = NULL;
    }
}

static void put_key(const struct session *s, const char *sequence, struct buf *out)
{
    out->n = 0;
    buf_cstr(out, s->database);
    buf_cstr(out, session_server_user(s));
    buf_add_slice(out, buf_slice(&s->acting));
    buf_u8(out, 0);
    buf_cstr(out, sequence);
}

static struct sequence_blocks *blocks_of(struct worker *w)
{
    if (w->sequences == NULL) {
        w->sequences = mem_zero(sizeof(*w->sequences));
        list_init(&w->sequences->lru);
    }
    return w->sequences;
}

/* The block, or NULL: there is none that may be used. */
static struct sequence_block *find(struct session *s, const char *sequence)
{
    struct worker *w = s->worker;
    struct sequence_blocks *blocks = blocks_of(w);
    put_key(s, sequence, &w->scratch);
    uint64_t h = hash_bytes(w->scratch.p, w->scratch.n, hash_process_seed());
    for (struct hnode *n = hmap_find(&blocks->by_key, h); n != NULL; n = hmap_more(n)) {
        struct sequence_block *block = container_of(n, struct sequence_block, node);
        if (block->key_bytes != w->scratch.n ||
            memcmp(block->key, w->scratch.p, w->scratch.n) != 0) {
            continue;
        }
        if (block->epoch != epoch_of(s) || block->version != catalog_version(s->db->catalog)) {
            drop(blocks, block);
            return NULL;
        }
        list_remove(&block->lru);
        list_push_front(&blocks->lru, &block->lru);
        return block;
    }
    return NULL;
}

static size_t left(struct session *s, const char *sequence)
{
    const struct sequence_block *block = find(s, sequence);
    return block == NULL ? 0 : block->count - block->next;
}

/* ---- drawing a block ------------------------------------------------------------------------- */

struct draw_op {
    struct op op;
    char *sequence;
    uint64_t epoch, version;
    int64_t *ids;
    size_t count, cap;
};

static void draw_free(struct op *op)
{
    struct draw_op *d = (struct draw_op *)op;
    mem_free(d->sequence);
    mem_free(d->ids);
}

static void draw_message(struct op *op, struct backend *b, uint8_t type, struct slice body)
{
    struct draw_op *d = (struct draw_op *)op;
    struct back_walk walk;
    struct slice value;
    struct note note;
    (void)b;
    if (type == 'D' && d->count < d->cap && back_walk_row(body, &walk, &note) == ERR_NONE &&
        back_next_value(&walk, &value) == 1 && value.p != NULL &&
        value_read_int(OID_INT8, FORMAT_TEXT, value, &d->ids[d->count], &note) == ERR_NONE) {
        d->count++;
    }
}

/* What is left of an older block goes first: nobody else has those ids. */
static void keep(struct session *s, struct draw_op *d)
{
    struct worker *w = s->worker;
    struct sequence_blocks *blocks = blocks_of(w);
    struct sequence_block *block = find(s, d->sequence);
    if (d->epoch != epoch_of(s) || d->version != catalog_version(s->db->catalog)) {
        return; /* somebody has moved the sequence meanwhile */
    }
    if (block == NULL) {
        block = mem_zero(sizeof(*block));
        block->key = mem_dup(w->scratch.p, w->scratch.n); /* of find() */
        block->key_bytes = w->scratch.n;
        hmap_add(&blocks->by_key, &block->node,
                 hash_bytes(w->scratch.p, w->scratch.n, hash_process_seed()));
        list_push_front(&blocks->lru, &block->lru);
        blocks->count++;
    }
    size_t old = block->count - block->next;
    int64_t *ids = mem_alloc((old + d->count + 1) * sizeof(*ids));
    if (old > 0) {
        memcpy(ids, block->ids + block->next, old * sizeof(*ids));
    }
    memcpy(ids + old, d->ids, d->count * sizeof(*ids));
    mem_free(block->ids);
    block->ids = ids;
    block->count = old + d->count;
    block->next = 0;
    block->epoch = d->epoch;
    block->version = d->version;
    while (blocks->count > BLOCKS_MAX) {
        drop(blocks, container_of(blocks->lru.prev, struct sequence_block, lru));
    }
}

static void draw_then(struct op *op)
{
    struct draw_op *d = (struct draw_op *)op;
    struct session *s = op->session;
    struct session_sequences *m = mine(s);
    if (d->count == 0 && op->error.n != 0) {
        m->error.n = 0;
        buf_add_slice(&m->error, buf_slice(&op->error));
    } else { /* at the end of a sequence that does not cycle some came before the error */
        keep(s, d);
    }
    op_end(op);
}

/*
 * One transaction, whose commit is waited for: ids must be on disk before rows with them are
 * elsewhere. No more ids than a sequence has that does not cycle, as far as that can be told.
 */
static void put_draw(const char *sequence, size_t count, struct buf *sql)
{
    buf_printf(
        sql,
        "SELECT pg_catalog.set_config('synchronous_commit', 'on', true) "
        "WHERE pg_catalog.current_setting('synchronous_commit') = 'off'; "
        "SELECT pg_catalog.nextval(%s) FROM pg_catalog.generate_series(1, ("
        "SELECT CASE WHEN q.seqcycle THEN %zu ELSE GREATEST(1, LEAST(%zu, pg_catalog.floor("
        "(CASE WHEN q.seqincrement > 0 THEN q.seqmax ELSE q.seqmin END - "
        "COALESCE(pg_catalog.pg_sequence_last_value(q.seqrelid::pg_catalog.regclass)::numeric, "
        "q.seqstart::numeric - q.seqincrement)) / q.seqincrement))) END::int "
        "FROM pg_catalog.pg_sequence q WHERE q.seqrelid = %s))",
        sequence, count, count, sequence);
}

/* The home shard is held, outside of a transaction. */
static void draw(struct session *s, const char *sequence, size_t needed)
{
    size_t block = (size_t)s->worker->world->conf->sequence_block;
    struct draw_op *d = op_begin(s, sizeof(*d), "sequence");
    d->op.free_fn = draw_free;
    d->op.on_message = draw_message;
    d->sequence = mem_strdup(sequence);
    d->epoch = epoch_of(s);
    d->version = catalog_version(s->db->catalog);
    d->cap = needed > block ? needed : block;
    d->ids = mem_alloc(d->cap * sizeof(*d->ids));
    struct buf *sql = &s->worker->scratch;
    sql->n = 0;
    put_draw(sequence, d->cap, sql);
    struct backend *b = session_backend(s, 0);
    backend_query(b, buf_slice(sql), TO_OP);
    backend_drew(b, DRAWN_BY_NOBODY); /* whoever gets one has not drawn it there */
    b->drawn_old = 1;
    metric_add(&s->worker->metrics, METRIC_sequence_blocks, 1);
    op_round_sent(&d->op, HOME_SHARD_BIT, draw_then);
}

/* ---- an INSERT ------------------------------------------------------------------------------- */

/* How often a sequence is drawn from by the first `count` draws. */
static size_t draws_of(const struct plan_drawn *d, size_t count, const char *sequence)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        n += strcmp(d->draws[i].sequence, sequence) == 0;
    }
    return n;
}

/* The first sequence that has not enough ids; NULL: all have. */
static const char *missing(struct session *s, const struct plan_drawn *d, size_t *needed)
{
    for (size_t i = 0; i < d->draws_count; i++) {
        const char *sequence = d->draws[i].sequence;
        if (draws_of(d, i, sequence) != 0) {
            continue;
        }
        *needed = draws_of(d, d->draws_count, sequence);
        if (left(s, sequence) < *needed) {
            return sequence;
        }
    }
    return NULL;
}

static int fits(int64_t id, uint32_t type)
{
    return type == OID_INT8 || (type == OID_INT4 ? id == (int32_t)id : id == (int16_t)id);
}

static void take(struct session *s, const struct plan *plan)
{
    const struct plan_drawn *d = plan->rows->drawn;
    struct session_sequences *m = mine(s);
    if (m->taken_cap < d->draws_count) {
        m->taken_cap = d->draws_count;
        m->taken = mem_grow(m->taken, m->taken_cap * sizeof(*m->taken));
    }
    for (size_t i = 0; i < d->draws_count; i++) {
        struct sequence_block *block = find(s, d->draws[i].sequence);
        check(block != NULL && block->next < block->count);
        m->taken[i] = block->ids[block->next++];
        if (plan->draws == DRAWS_SEEN) {
            drawn_value(s, d->draws[i].oid, m->taken[i]);
        }
    }
    drawn_block(s);
    drawn_last(s, plan);
    m->taken_for = d;
    m->taken_epoch = epoch_of(s);
}

/* The client's Bind with the ids behind its values; without the two names, see gather_keep_bind().
 */
static void put_bind(struct session_sequences *m, const struct plan_drawn *d,
                     const struct front_bind *bind)
{
    static const struct front_bind nothing = {0};
    struct buf *out = &m->bind;
    bind = bind == NULL ? &nothing : bind;
    out->n = 0;
    buf_u8(out, 0);
    buf_u8(out, 0);
    buf_be16(out, (uint16_t)(d->params + d->draws_count));
    for (size_t i = 0; i < d->params; i++) {
        size_t at = bind->formats_count == 1 ? 0 : i;
        buf_be16(out, at < bind->formats_count ? be16_at(bind->formats + 2 * at) : FORMAT_TEXT);
    }
    for (size_t i = 0; i < d->draws_count; i++) {
        buf_be16(out, FORMAT_BINARY);
    }
    buf_be16(out, (uint16_t)(d->params + d->draws_count));
    buf_add_slice(out, bind->values);
    for (size_t i = 0; i < d->draws_count; i++) {
        uint64_t id = (uint64_t)m->taken[i];
        uint32_t bytes = d->draws[i].type == OID_INT8 ? 8 : d->draws[i].type == OID_INT4 ? 4 : 2;
        buf_be32(out, bytes);
        if (bytes == 8) {
            buf_be64(out, id);
        } else if (bytes == 4) {
            buf_be32(out, (uint32_t)id);
        } else {
            buf_be16(out, (uint16_t)id);
        }
    }
    buf_be16(out, bind->results_count);
    buf_add(out, bind->results, (size_t)bind->results_count * 2);
}

static enum step run(struct session *s, struct plan_drawn *d, const struct front_bind *bind)
{
    struct session_sequences *m = s->sequences;
    struct front_bind msg;
    struct note note;
    for (size_t i = 0; i < d->draws_count; i++) {
        if (!fits(m->taken[i], d->draws[i].type)) {
            m->taken_for = NULL;
            enum err e = note_set(&note, ERR_NUMERIC_RANGE, "%s out of range",
                                  d->draws[i].type == OID_INT4 ? "integer" : "smallint");
            return session_fail(s, e, &note, 0);
        }
    }
    put_bind(m, d, bind);
    enum err e = front_read_bind(buf_slice(&m->bind), &msg, &note);
    check(e == ERR_NONE);
    if (d->insert->described.p == NULL && d->params == 0 && !d->insert->returns_rows) {
        struct arena *memory = &d->insert->_batch->memory; /* nothing is to be asked */
        uint32_t *types = arena_alloc(memory, d->draws_count * sizeof(*types));
        for (size_t i = 0; i < d->draws_count; i++) {
            types[i] = d->draws[i].type;
        }
        d->insert->described = arena_copy(memory, SLICE("\0\0"));
        d->insert->described_types = types;
        d->insert->described_types_count = d->draws_count;
    }
    enum step step = session_run(s, d->insert, &msg);
    if (step != STEP_WAIT) {
        m->taken_for = NULL;
    }
    return step;
}

/* A statement that is no part of a transaction, nor of a pipeline that has begun one. */
static int is_apart(const struct session *s)
{
    if (s->tx.kind != TX_KIND_NONE) {
        return 0;
    }
    list_each (node, &s->held) {
        if (container_of(node, struct backend, held)->executed) {
            return 0;
        }
    }
    return 1;
}

static void want(struct session_sequences *m, const char *sequence, size_t count)
{
    if (m->wanted == NULL || strcmp(m->wanted, sequence) != 0) {
        mem_free(m->wanted);
        m->wanted = mem_strdup(sequence);
    }
    m->wanted_count = count;
}

static enum step fail_drawing(struct session *s)
{
    struct buf error = s->sequences->error;
    s->sequences->error = (struct buf){0};
    enum step step = session_fail_with(s, buf_slice(&error), session_shard_name(s, 0));
    buf_free(&error);
    return step;
}

static enum step begin_drawing(struct session *s, const char *sequence, size_t needed)
{
    enum err e = ERR_NONE;
    struct note note;
    if (!session_quiet(s)) {
        return session_wait_quiet(s);
    }
    enum step step = session_engage(s, HOME_SHARD_BIT, &e, &note);
    if (step != STEP_DONE) {
        return step == STEP_WAIT ? STEP_WAIT : session_fail(s, e, &note, 0);
    }
    draw(s, sequence, needed);
    return STEP_WAIT;
}

int sequence_insert(struct session *s, struct plan *plan, const struct front_bind *bind,
                    enum step *step)
{
    const struct plan_drawn *d = plan->rows->drawn;
    size_t needed = 0;
    if (d == NULL || s->worker->world->conf->sequence_block <= 1 || s->db->facts == NULL ||
        plan->keeps_unique || s->unique_plan != NULL || /* whose notes are taken with the rows */
        (bind == NULL ? 0 : bind->values_count) != d->params) {
        return 0;
    }
    struct session_sequences *m = mine(s);
    if (m->error.n != 0) {
        *step = fail_drawing(s);
        return 1;
    }
    if (m->taken_for != d || m->taken_epoch != epoch_of(s)) {
        m->taken_for = NULL;
        const char *sequence = missing(s, d, &needed);
        if (sequence != NULL && !is_apart(s)) {
            want(m, sequence, needed);
            return 0;
        }
        if (sequence != NULL) {
            *step = begin_drawing(s, sequence, needed);
            return 1;
        }
        take(s, plan);
    }
    *step = run(s, (struct plan_drawn *)(uintptr_t)d, bind);
    return 1;
}

enum step sequence_fill(struct session *s)
{
    struct session_sequences *m = s->sequences;
    if (m == NULL || m->wanted == NULL || s->worker->world->conf->sequence_block <= 1) {
        return STEP_DONE;
    }
    if (m->error.n != 0) { /* whoever needs them is told */
        m->error.n = 0;
        mem_free(m->wanted);
        m->wanted = NULL;
        return STEP_DONE;
    }
    if (!is_apart(s) || left(s, m->wanted) >= m->wanted_count) {
        return STEP_DONE;
    }
    s->writes_now = 1;
    return begin_drawing(s, m->wanted, m->wanted_count);
}
