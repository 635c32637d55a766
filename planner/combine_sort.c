/*
 * Merge of shards that each send their rows in order: k-way, by a heap of shards whose first
 * waiting row is the key. DISTINCT is the same with rows equal to the last one left out.
 *
 *     queue of a shard   DataRow messages as they came: on the wire, else copied      struct queue
 *     head of a queue    where the keys of its first row are, and a number that orders as the
 *                        first key does, as far as 64 bits tell it                     struct head
 *
 * What always holds between calls: every shard with a waiting row is in the heap; `starved` counts
 * shards that have not ended and have no row waiting. Rows go out while nobody starves, so what is
 * left waits for the slowest shard. Ties go to the lower shard, so the merge is stable. The first
 * shard gives rows as long as they go before the second one's, and they go out in one piece.
 *
 * A shard is paused past its window; it has rows waiting then, so it never starves by that.
 */

#include "base/check.h"
#include "base/mem.h"
#include "planner/combine_inner.h"

struct queue {
    struct slice wire; /* rows that just came, while they are looked at; else empty, */
    struct buf bytes;  /* and rows wait here from `head` on */
    size_t head;
};

enum rank { /* of the first key */
    RANK_NULL_FIRST,
    RANK_VALUE,
    RANK_NULL_LAST
};

struct place { /* of a key in its message; bytes UINT32_MAX: NULL */
    uint32_t at, bytes;
};

struct head {
    uint64_t prefix;      /* of the first key; 0 when it is NULL */
    uint32_t total;       /* of the message */
    uint32_t visible_end; /* of what the client sees, in the message */
    uint8_t rank;
    struct place *keys;
};

struct combine_merge {
    struct combine_order *orders; /* per sort key */
    struct queue *queues;         /* per shard */
    struct head *heads;           /* per shard, of the first waiting row; then that of `last` */
    struct place *places;         /* of their keys */
    uint16_t *key_columns;        /* of the shards' rows, per sort key */
    size_t walk;                  /* columns of a row that are looked at */
    uint8_t heap[SHARDS_MAX];
    size_t heap_count;
    size_t starved;
    uint64_t paused; /* bit per shard */
    size_t queued_bytes;
    size_t window_bytes;
    struct buf last;       /* DISTINCT, WITH TIES: message of the row given last */
    unsigned has_last : 1; /* 32 bits each: they are looked at for every row */
    unsigned ties : 1;     /* LIMIT is reached: only rows equal to the last one are given */
    unsigned
        checked : 1;    /* a sort key has a locale: whether the shards agree with us is looked at */
    unsigned plain : 1; /* rows go out as they came, all of them but for OFFSET and LIMIT */
    unsigned no_prefix : 1; /* the first key has none */
    unsigned exact : 1;     /* it tells all about the first key, which is the only one */
    enum err err;           /* of a comparison inside the heap */
};

static size_t waiting(const struct queue *q)
{
    return q->wire.n + q->bytes.n - q->head;
}

static const uint8_t *first_of(const struct queue *q)
{
    return q->wire.n != 0 ? q->wire.p : q->bytes.p + q->head;
}

/* The message of a head, `last` included. */
static const uint8_t *message_of(const struct combine *c, size_t head)
{
    const struct combine_merge *m = c->merge;
    return head == c->shards_count ? m->last.p : first_of(&m->queues[head]);
}

/* ---- heads ----------------------------------------------------------------------------------- */

static enum err broken_row(struct note *note)
{
    return note_set(note, ERR_SHARD_PROTOCOL, "DataRow does not hold its values");
}

static void see_value(struct combine *c, struct head *h, size_t column, const uint8_t *message,
                      struct slice value)
{
    const struct combine_merge *m = c->merge;
    for (size_t i = 0; i < c->spec->sorts_count; i++) {
        if (m->key_columns[i] == column) {
            h->keys[i].at = value.p == NULL ? 0 : (uint32_t)(value.p - message);
            h->keys[i].bytes = value.p == NULL ? UINT32_MAX : (uint32_t)value.n;
        }
    }
}

static struct slice key_of(const uint8_t *message, const struct head *h, size_t key)
{
    return h->keys[key].bytes == UINT32_MAX
               ? (struct slice){NULL, 0}
               : slice_bytes(message + h->keys[key].at, h->keys[key].bytes);
}

static void set_prefix(struct combine *c, struct head *h, const uint8_t *message)
{
    struct combine_merge *m = c->merge;
    const struct combine_sort *sort = &c->spec->sorts[0];
    struct slice value = key_of(message, h, 0);
    int exact = 0;
    if (value.p == NULL) {
        h->rank = sort->nulls_first ? RANK_NULL_FIRST : RANK_NULL_LAST;
        h->prefix = 0;
        return;
    }
    h->rank = RANK_VALUE;
    if (!combine_order_prefix(&m->orders[0], value, &h->prefix, &exact)) {
        m->no_prefix = 1;
        return;
    }
    m->exact = m->exact && exact;
    h->prefix = sort->desc ? ~h->prefix : h->prefix;
}

/* Of the first row of a shard that has one. */
static enum err read_head(struct combine *c, size_t shard, struct note *note)
{
    struct combine_merge *m = c->merge;
    const struct queue *q = &m->queues[shard];
    const uint8_t *message = first_of(q);
    struct head *h = &m->heads[shard];
    size_t left = waiting(q);
    check(left >= FRAME_HEADER_BYTES);
    size_t total = 1 + (size_t)be32_at(message + 1);
    check(total >= FRAME_HEADER_BYTES && total <= left && total <= INT32_MAX);
    const uint8_t *end = message + total, *at = message + FRAME_HEADER_BYTES + 2;
    if (at > end) {
        return broken_row(note);
    }
    if (be16_at(at - 2) != c->spec->columns_count) {
        return note_set(note, ERR_SHARD_PROTOCOL, "DataRow has %u columns where %u were described",
                        be16_at(at - 2), c->spec->columns_count);
    }
    h->total = (uint32_t)total;
    h->visible_end = (uint32_t)(c->spec->visible == 0 ? FRAME_HEADER_BYTES + 2 : total);
    for (size_t i = 0; i < m->walk; i++) {
        struct slice value = {NULL, 0};
        if (end - at < 4) {
            return broken_row(note);
        }
        int32_t bytes = (int32_t)be32_at(at);
        at += 4;
        if (bytes >= 0) {
            value = slice_bytes(at, (size_t)bytes);
            if (end - at < bytes) {
                return broken_row(note);
            }
            at += bytes;
        }
        see_value(c, h, i, message, value);
        if (i + 1 == c->spec->visible) {
            h->visible_end = (uint32_t)(at - message);
        }
    }
    if (!m->no_prefix) {
        set_prefix(c, h, message);
    }
    return ERR_NONE;
}

/* ---- order ----------------------------------------------------------------------------------- */

static enum err compare_first(const struct combine *c, size_t sorts, size_t a, size_t b, int *out,
                              struct note *note)
{
    const struct combine_merge *m = c->merge;
    const uint8_t *in_a = message_of(c, a), *in_b = message_of(c, b);
    *out = 0;
    for (size_t i = 0; i < sorts && *out == 0; i++) {
        const struct combine_sort *sort = &c->spec->sorts[i];
        struct slice x = key_of(in_a, &m->heads[a], i), y = key_of(in_b, &m->heads[b], i);
        if (x.p == NULL || y.p == NULL) {
            *out = (x.p == NULL) - (y.p == NULL);
            *out = sort->nulls_first ? -*out : *out;
            continue;
        }
        enum err e = combine_order_compare(&m->orders[i], x, y, out, note);
        if (e) {
            return e;
        }
        *out = sort->desc ? -*out : *out;
    }
    return ERR_NONE;
}

static enum err compare_heads(const struct combine *c, size_t a, size_t b, int *out,
                              struct note *note)
{
    return compare_first(c, c->spec->sorts_count, a, b, out, note);
}

/* What ranks and prefixes do not tell. */
static int goes_before_by_keys(struct combine *c, size_t a, size_t b, struct note *note)
{
    struct combine_merge *m = c->merge;
    int order = 0;
    if (m->exact && !m->no_prefix) {
        return a < b;
    }
    enum err e = compare_heads(c, a, b, &order, note);
    if (e) {
        m->err = e;
    }
    return order != 0 ? order < 0 : a < b;
}

/* Whether shard a's first row goes before shard b's. A failure is kept for the caller. */
static inline int goes_before(struct combine *c, size_t a, size_t b, struct note *note)
{
    const struct combine_merge *m = c->merge;
    const struct head *x = &m->heads[a], *y = &m->heads[b];
    if (!m->no_prefix && x->rank != y->rank) {
        return x->rank < y->rank;
    }
    if (!m->no_prefix && x->prefix != y->prefix) {
        return x->prefix < y->prefix;
    }
    return goes_before_by_keys(c, a, b, note);
}

/* What stands at `at` may belong further down. */
static void heap_down(struct combine *c, size_t at, struct note *note)
{
    struct combine_merge *m = c->merge;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= m->heap_count) {
            return;
        }
        if (child + 1 < m->heap_count && goes_before(c, m->heap[child + 1], m->heap[child], note)) {
            child++;
        }
        if (!goes_before(c, m->heap[child], m->heap[at], note)) {
            return;
        }
        uint8_t shard = m->heap[at];
        m->heap[at] = m->heap[child];
        m->heap[child] = shard;
        at = child;
    }
}

static void heap_add(struct combine *c, size_t shard, struct note *note)
{
    struct combine_merge *m = c->merge;
    size_t at = m->heap_count++;
    m->heap[at] = (uint8_t)shard;
    while (at > 0 && goes_before(c, m->heap[at], m->heap[(at - 1) / 2], note)) {
        uint8_t parent = m->heap[(at - 1) / 2];
        m->heap[(at - 1) / 2] = m->heap[at];
        m->heap[at] = parent;
        at = (at - 1) / 2;
    }
}

/* ---- rows out -------------------------------------------------------------------------------- */

static void keep_last(struct combine *c, size_t shard)
{
    struct combine_merge *m = c->merge;
    const struct head *h = &m->heads[shard];
    struct head *last = &m->heads[c->shards_count];
    struct place *keys = last->keys;
    m->last.n = 0;
    buf_add(&m->last, message_of(c, shard), h->total);
    *last = *h;
    last->keys = keys;
    memcpy(keys, h->keys, c->spec->sorts_count * sizeof(*keys));
    m->has_last = 1;
}

static enum err is_repeated(struct combine *c, size_t shard, int *out, struct note *note)
{
    struct combine_merge *m = c->merge;
    size_t sorts = c->spec->unique_sorts == 0 ? c->spec->sorts_count : c->spec->unique_sorts;
    int order = 1;
    if (m->has_last) {
        enum err e = compare_first(c, sorts, c->shards_count, shard, &order, note);
        if (e) {
            return e;
        }
    }
    *out = order == 0;
    if (order != 0) {
        keep_last(c, shard);
    }
    return ERR_NONE;
}

/* Behind the last row of LIMIT ... WITH TIES. */
static enum err give_tie(struct combine *c, size_t shard, int *given, struct note *note)
{
    int order = 0;
    enum err e = compare_heads(c, c->shards_count, shard, &order, note);
    *given = order == 0;
    c->done = !e && order != 0;
    c->rows += (uint64_t)(!e && order == 0);
    return e;
}

/* WITH TIES goes on where LIMIT would have been done. */
static int take(struct combine *c, size_t shard)
{
    int given = combine_limit_take(c);
    if (c->spec->with_ties && c->spec->mode == COMBINE_MERGE && given && c->done) {
        keep_last(c, shard);
        c->merge->ties = 1;
        c->done = 0;
    }
    return given;
}

/* Under a collation of the C library the servers' order must turn out to be ours. */
static enum err check_order(struct combine *c, size_t shard, struct note *note)
{
    struct combine_merge *m = c->merge;
    int order = 0;
    enum err e = m->has_last ? compare_heads(c, c->shards_count, shard, &order, note) : ERR_NONE;
    if (!e && order > 0) {
        e = note_set(note, ERR_UNSUPPORTED,
                     "the servers do not sort text as the C library of this machine does");
        note_hint(note, "Add COLLATE \"C\" to the expression.");
    }
    if (!m->ties && c->spec->mode == COMBINE_MERGE) {
        keep_last(c, shard);
    }
    return e;
}

static enum err give(struct combine *c, size_t shard, struct buf *out, struct note *note)
{
    const struct combine_merge *m = c->merge;
    int repeated = 0, given = 0;
    enum err e = m->checked ? check_order(c, shard, note) : ERR_NONE;
    if (!e && c->spec->mode == COMBINE_DISTINCT && !m->ties) {
        e = is_repeated(c, shard, &repeated, note);
    }
    if (!e && !repeated && m->ties) {
        e = give_tie(c, shard, &given, note);
    } else if (!e && !repeated) {
        given = take(c, shard);
    }
    if (given) {
        size_t begin = FRAME_HEADER_BYTES + 2;
        const uint8_t *values = message_of(c, shard) + begin;
        combine_put_raw(c, slice_bytes(values, m->heads[shard].visible_end - begin), out);
    }
    return e;
}

static void drop_first(struct combine_merge *m, size_t shard)
{
    struct queue *q = &m->queues[shard];
    size_t total = m->heads[shard].total;
    m->queued_bytes -= total;
    if (q->wire.n != 0) {
        q->wire = slice_from(q->wire, total);
    } else {
        q->head += total;
    }
}

/* Where in the heap the shard stands whose first row would be next without the first one's; 0:
 * there is none. */
static size_t second_of(struct combine *c, struct note *note)
{
    const struct combine_merge *m = c->merge;
    if (m->heap_count < 2) {
        return 0;
    }
    return m->heap_count > 2 && goes_before(c, m->heap[2], m->heap[1], note) ? 2 : 1;
}

static void leave_heap(struct combine *c, size_t shard)
{
    struct combine_merge *m = c->merge;
    struct queue *q = &m->queues[shard];
    q->head = 0;
    q->bytes.n = 0;
    m->heap[0] = m->heap[--m->heap_count];
    m->starved += (c->ended >> shard & 1) == 0;
}

/* Rows of the first shard, as long as they go before the second one's. Those that go out as they
 * came are one piece. */
static enum err give_run(struct combine *c, struct buf *out, struct note *note)
{
    struct combine_merge *m = c->merge;
    size_t shard = m->heap[0], second = second_of(c, note), rival = m->heap[second], run = 0;
    struct queue *q = &m->queues[shard];
    const uint8_t *begin = first_of(q);
    size_t from = 0; /* from where on the heap is no heap any more */
    enum err e = ERR_NONE;
    for (int first = 1; !e && !m->err && !c->done; first = 0) {
        if (!first && second != 0 && !goes_before(c, shard, rival, note)) {
            m->heap[0] = (uint8_t)rival;
            m->heap[second] = (uint8_t)shard;
            from = second;
            break;
        }
        size_t total = m->heads[shard].total;
        if (!m->plain) {
            e = give(c, shard, out, note);
        } else if (combine_limit_take(c)) {
            run += total;
        } else {
            begin += total; /* OFFSET: nothing went out before */
        }
        if (e) {
            break;
        }
        drop_first(m, shard);
        if (waiting(q) == 0) {
            break;
        }
        e = read_head(c, shard, note);
    }
    buf_add(out, begin, run);
    if (waiting(q) == 0) {
        leave_heap(c, shard);
    }
    if (waiting(q) <= m->window_bytes / 2) {
        m->paused &= ~(UINT64_C(1) << shard);
    }
    if (!e) {
        heap_down(c, from, note);
    }
    return e;
}

static enum err drain(struct combine *c, struct buf *out, struct note *note)
{
    struct combine_merge *m = c->merge;
    while (m->starved == 0 && m->heap_count > 0 && !c->done && !m->err) {
        enum err e = give_run(c, out, note);
        if (e) {
            return e;
        }
    }
    return m->err;
}

/* ---- called by combine.c --------------------------------------------------------------------- */

enum err combine_merge_columns(struct combine *c, struct note *note)
{
    const struct combine_spec *spec = c->spec;
    combine_merge_free(c); /* the columns of another shard were refused */
    struct combine_merge *m = mem_zero(sizeof(*m));
    c->merge = m;
    m->orders = mem_zero((spec->sorts_count + 1u) * sizeof(*m->orders));
    m->queues = mem_zero(c->shards_count * sizeof(*m->queues));
    size_t share = c->memory_max / c->shards_count;
    m->window_bytes = c->window_bytes < share ? c->window_bytes : share;
    m->starved = c->shards_count - (size_t)__builtin_popcountll(c->ended);
    m->heads = mem_zero((c->shards_count + 1) * sizeof(*m->heads));
    m->places = mem_zero((c->shards_count + 1) * (spec->sorts_count + 1u) * sizeof(*m->places));
    m->key_columns = mem_zero((spec->sorts_count + 1u) * sizeof(*m->key_columns));
    m->plain =
        spec->mode == COMBINE_MERGE && spec->visible == spec->columns_count && !spec->with_ties;
    m->exact = spec->sorts_count == 1;
    m->no_prefix = spec->sorts_count == 0;
    m->walk = spec->visible == spec->columns_count ? 0 : spec->visible;
    for (size_t i = 0; i <= c->shards_count; i++) {
        m->heads[i].keys = m->places + i * spec->sorts_count;
    }
    for (size_t i = 0; i < spec->sorts_count; i++) {
        const struct combine_sort *sort = &spec->sorts[i];
        m->key_columns[i] = spec->outputs[sort->output].column;
        m->walk = m->walk <= m->key_columns[i] ? m->key_columns[i] + 1u : m->walk;
        const struct combine_column *column = &c->columns[m->key_columns[i]];
        const char *what = spec->mode == COMBINE_DISTINCT ? "DISTINCT" : "ORDER BY";
        enum err e = combine_order_open_sort(&m->orders[i], column, sort, what, note);
        if (e) {
            return e;
        }
        m->checked |= m->orders[i].collator != NULL;
    }
    m->plain = m->plain && !m->checked;
    return ERR_NONE;
}

static void append(struct queue *q, struct slice rows)
{
    if (q->head > 0 && q->head >= waiting(q)) { /* each byte is moved at most once for its size */
        buf_drop(&q->bytes, q->head);
        q->head = 0;
    }
    buf_add_slice(&q->bytes, rows);
}

enum err combine_merge_rows(struct combine *c, size_t shard, struct slice rows, struct buf *out,
                            enum combine_next *next, struct note *note)
{
    struct combine_merge *m = c->merge;
    struct queue *q = &m->queues[shard];
    enum err e = ERR_NONE;
    if (m->queued_bytes + rows.n > c->memory_max) {
        return combine_no_memory(c, note);
    }
    m->queued_bytes += rows.n;
    if (waiting(q) != 0) {
        append(q, rows);
    } else if (rows.n != 0) {
        q->wire = rows;
        e = read_head(c, shard, note);
        if (!e) {
            m->starved--;
            heap_add(c, shard, note);
        }
    }
    e = e ? e : drain(c, out, note);
    rows = q->wire;
    q->wire = SLICE("");
    append(q, rows);
    if (waiting(q) > m->window_bytes) {
        m->paused |= UINT64_C(1) << shard;
        *next = COMBINE_PAUSE;
    }
    return e;
}

/* Outside of a message. */
enum err combine_merge_row(struct combine *c, size_t shard, struct slice body, struct buf *out,
                           enum combine_next *next, struct note *note)
{
    size_t visible_end = 0;
    enum err e = combine_split_row(c, body, &visible_end, note);
    if (!e && body.n > INT32_MAX) {
        e = combine_no_memory(c, note);
    }
    if (e) {
        return e;
    }
    c->row.n = 0;
    frame_put(&c->row, 'D', body);
    return combine_merge_rows(c, shard, buf_slice(&c->row), out, next, note);
}

enum err combine_merge_end(struct combine *c, size_t shard, struct buf *out, struct note *note)
{
    struct combine_merge *m = c->merge;
    if (waiting(&m->queues[shard]) == 0) {
        m->starved--;
    }
    return drain(c, out, note);
}

uint64_t combine_merge_starved(const struct combine *c)
{
    uint64_t out = 0;
    for (size_t i = 0; i < c->shards_count; i++) {
        out |= waiting(&c->merge->queues[i]) == 0 ? UINT64_C(1) << i : 0;
    }
    return out;
}

int combine_merge_wants(const struct combine *c, size_t shard)
{
    return (c->merge->paused >> shard & 1) == 0;
}

void combine_merge_free(struct combine *c)
{
    struct combine_merge *m = c->merge;
    if (m == NULL) {
        return;
    }
    for (size_t i = 0; i < c->shards_count; i++) {
        buf_free(&m->queues[i].bytes);
    }
    for (size_t i = 0; i < c->spec->sorts_count; i++) {
        combine_order_close(&m->orders[i]);
    }
    buf_free(&m->last);
    mem_free(m->heads);
    mem_free(m->places);
    mem_free(m->key_columns);
    mem_free(m->orders);
    mem_free(m->queues);
    mem_free(m);
    c->merge = NULL;
}
