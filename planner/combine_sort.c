/*
 * Merge of shards that each send their rows in order: k-way, by a heap of shards whose first
 * waiting row is the key. DISTINCT is the same with rows equal to the last one left out.
 *
 *     queue of a shard   entry, entry, ...           [head .. bytes.n)
 *     entry              size, visible_end, keys x (offset, length), DataRow body
 *                        (all u32; offsets into the body; length UINT32_MAX: NULL)
 *
 * What always holds between calls: every shard with a waiting row is in the heap; `starved` counts
 * shards that have not ended and have no row waiting. Rows go out while nobody starves, so what is
 * left waits for the slowest shard. Ties go to the lower shard, so the merge is stable.
 *
 * A shard is paused past its window; it has rows waiting then, so it never starves by that.
 */

#include "base/check.h"
#include "base/mem.h"
#include "planner/combine_inner.h"

struct queue {
    struct buf bytes;
    size_t head;
};

struct combine_merge {
    struct combine_order *orders; /* per sort key */
    struct queue *queues;         /* per shard */
    uint8_t heap[SHARDS_MAX];
    size_t heap_count;
    size_t starved;
    uint64_t paused; /* bit per shard */
    size_t queued_bytes;
    size_t window_bytes;
    struct buf last; /* DISTINCT, WITH TIES: entry of the row given last */
    uint8_t has_last;
    uint8_t ties;    /* LIMIT is reached: only rows equal to the last one are given */
    uint8_t checked; /* a sort key has a locale: whether the shards agree with us is looked at */
    enum err err;    /* of a comparison inside the heap */
};

enum {
    ENTRY_SIZE = 0,
    ENTRY_VISIBLE = 4,
    ENTRY_KEYS = 8,
    KEY_BYTES = 8
};

static uint32_t u32_at(const uint8_t *p)
{
    uint32_t v = 0;
    memcpy(&v, p, sizeof(v));
    return v;
}

static void u32_set(uint8_t *p, size_t v)
{
    uint32_t u = (uint32_t)v;
    check(u == v);
    memcpy(p, &u, sizeof(u));
}

static size_t body_at(const struct combine *c)
{
    return ENTRY_KEYS + (size_t)c->spec->sorts_count * KEY_BYTES;
}

static const uint8_t *first_entry(const struct combine_merge *m, size_t shard)
{
    return m->queues[shard].bytes.p + m->queues[shard].head;
}

static struct slice key_of(const struct combine *c, const uint8_t *entry, size_t key)
{
    const uint8_t *at = entry + ENTRY_KEYS + key * KEY_BYTES;
    if (u32_at(at + 4) == UINT32_MAX) {
        return (struct slice){NULL, 0};
    }
    return slice_bytes(entry + body_at(c) + u32_at(at), u32_at(at + 4));
}

/* ---- order ----------------------------------------------------------------------------------- */

static enum err compare_first(const struct combine *c, size_t sorts, const uint8_t *a,
                              const uint8_t *b, int *out, struct note *note)
{
    *out = 0;
    for (size_t i = 0; i < sorts && *out == 0; i++) {
        const struct combine_sort *sort = &c->spec->sorts[i];
        struct slice x = key_of(c, a, i), y = key_of(c, b, i);
        if (x.p == NULL || y.p == NULL) {
            *out = (x.p == NULL) - (y.p == NULL);
            *out = sort->nulls_first ? -*out : *out;
            continue;
        }
        enum err e = combine_order_compare(&c->merge->orders[i], x, y, out, note);
        if (e) {
            return e;
        }
        *out = sort->desc ? -*out : *out;
    }
    return ERR_NONE;
}

static enum err compare_entries(const struct combine *c, const uint8_t *a, const uint8_t *b,
                                int *out, struct note *note)
{
    return compare_first(c, c->spec->sorts_count, a, b, out, note);
}

/* Whether shard a's first row goes before shard b's. A failure is kept for the caller. */
static int goes_before(struct combine *c, size_t a, size_t b, struct note *note)
{
    int order = 0;
    enum err e =
        compare_entries(c, first_entry(c->merge, a), first_entry(c->merge, b), &order, note);
    if (e) {
        c->merge->err = e;
    }
    return order != 0 ? order < 0 : a < b;
}

static void heap_down(struct combine *c, struct note *note)
{
    struct combine_merge *m = c->merge;
    size_t at = 0;
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

/* ---- queues ---------------------------------------------------------------------------------- */

static size_t waiting(const struct queue *q)
{
    return q->bytes.n - q->head;
}

static void append_entry(struct combine *c, struct queue *q, struct slice body, size_t visible_end)
{
    const struct combine_spec *spec = c->spec;
    size_t size = body_at(c) + body.n;
    if (q->head > 0 && q->head >= waiting(q)) { /* each byte is moved at most once for its size */
        buf_drop(&q->bytes, q->head);
        q->head = 0;
    }
    buf_reserve(&q->bytes, size);
    uint8_t *entry = q->bytes.p + q->bytes.n;
    u32_set(entry + ENTRY_SIZE, size);
    u32_set(entry + ENTRY_VISIBLE, visible_end);
    for (size_t i = 0; i < spec->sorts_count; i++) {
        struct slice value = c->values[spec->outputs[spec->sorts[i].output].column];
        uint8_t *at = entry + ENTRY_KEYS + i * KEY_BYTES;
        u32_set(at, value.p == NULL ? 0 : (size_t)(value.p - body.p));
        u32_set(at + 4, value.p == NULL ? UINT32_MAX : value.n);
    }
    memcpy(entry + body_at(c), body.p, body.n);
    q->bytes.n += size;
    c->merge->queued_bytes += size;
}

/* ---- rows out -------------------------------------------------------------------------------- */

static void keep_last(struct combine_merge *m, const uint8_t *entry)
{
    m->last.n = 0;
    buf_add(&m->last, entry, u32_at(entry + ENTRY_SIZE));
    m->has_last = 1;
}

static enum err is_repeated(struct combine *c, const uint8_t *entry, int *out, struct note *note)
{
    struct combine_merge *m = c->merge;
    size_t sorts = c->spec->unique_sorts == 0 ? c->spec->sorts_count : c->spec->unique_sorts;
    int order = 1;
    if (m->has_last) {
        enum err e = compare_first(c, sorts, m->last.p, entry, &order, note);
        if (e) {
            return e;
        }
    }
    *out = order == 0;
    if (order != 0) {
        keep_last(m, entry);
    }
    return ERR_NONE;
}

/* Behind the last row of LIMIT ... WITH TIES. */
static enum err give_tie(struct combine *c, const uint8_t *entry, int *given, struct note *note)
{
    int order = 0;
    enum err e = compare_entries(c, c->merge->last.p, entry, &order, note);
    *given = order == 0;
    c->done = !e && order != 0;
    c->rows += (uint64_t)(!e && order == 0);
    return e;
}

/* WITH TIES goes on where LIMIT would have been done. */
static int take(struct combine *c, const uint8_t *entry)
{
    struct combine_merge *m = c->merge;
    int given = combine_limit_take(c);
    if (c->spec->with_ties && c->spec->mode == COMBINE_MERGE && given && c->done) {
        keep_last(m, entry);
        m->ties = 1;
        c->done = 0;
    }
    return given;
}

/* Under a collation of the C library the servers' order must turn out to be ours. */
static enum err check_order(struct combine *c, const uint8_t *entry, struct note *note)
{
    struct combine_merge *m = c->merge;
    int order = 0;
    enum err e = m->has_last ? compare_entries(c, m->last.p, entry, &order, note) : ERR_NONE;
    if (!e && order > 0) {
        e = note_set(note, ERR_UNSUPPORTED,
                     "the servers do not sort text as the C library of this machine does");
        note_hint(note, "Add COLLATE \"C\" to the expression.");
    }
    if (!m->ties && c->spec->mode == COMBINE_MERGE) {
        keep_last(m, entry);
    }
    return e;
}

static enum err give(struct combine *c, const uint8_t *entry, struct buf *out, struct note *note)
{
    struct combine_merge *m = c->merge;
    int repeated = 0, given = 0;
    enum err e = m->checked ? check_order(c, entry, note) : ERR_NONE;
    if (!e && c->spec->mode == COMBINE_DISTINCT && !m->ties) {
        e = is_repeated(c, entry, &repeated, note);
    }
    if (!e && !repeated && m->ties) {
        e = give_tie(c, entry, &given, note);
    } else if (!e && !repeated) {
        given = take(c, entry);
    }
    if (given) {
        const uint8_t *values = entry + body_at(c) + 2;
        combine_put_raw(c, slice_bytes(values, u32_at(entry + ENTRY_VISIBLE) - 2), out);
    }
    return e;
}

static enum err drain(struct combine *c, struct buf *out, struct note *note)
{
    struct combine_merge *m = c->merge;
    while (m->starved == 0 && m->heap_count > 0 && !c->done && !m->err) {
        size_t shard = m->heap[0];
        struct queue *q = &m->queues[shard];
        const uint8_t *entry = first_entry(m, shard);
        size_t size = u32_at(entry + ENTRY_SIZE);
        enum err e = give(c, entry, out, note);
        if (e) {
            return e;
        }
        q->head += size;
        m->queued_bytes -= size;
        if (waiting(q) <= m->window_bytes / 2) {
            m->paused &= ~(UINT64_C(1) << shard);
        }
        if (waiting(q) == 0) {
            q->head = 0;
            q->bytes.n = 0;
            m->heap[0] = m->heap[--m->heap_count];
            m->starved += (c->ended >> shard & 1) == 0;
        }
        heap_down(c, note);
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
    for (size_t i = 0; i < spec->sorts_count; i++) {
        const struct combine_sort *sort = &spec->sorts[i];
        const struct combine_column *column = &c->columns[spec->outputs[sort->output].column];
        const char *what = spec->mode == COMBINE_DISTINCT ? "DISTINCT" : "ORDER BY";
        enum err e = combine_order_open_sort(&m->orders[i], column, sort, what, note);
        if (e) {
            return e;
        }
        m->checked |= m->orders[i].collator != NULL;
    }
    return ERR_NONE;
}

enum err combine_merge_row(struct combine *c, size_t shard, struct slice body, struct buf *out,
                           enum combine_next *next, struct note *note)
{
    struct combine_merge *m = c->merge;
    struct queue *q = &m->queues[shard];
    size_t visible_end = 0;
    enum err e = combine_split_row(c, body, &visible_end, note);
    if (e) {
        return e;
    }
    if (m->queued_bytes + body.n > c->memory_max || body.n > INT32_MAX) {
        return combine_no_memory(c, note);
    }
    int was_empty = waiting(q) == 0;
    append_entry(c, q, body, visible_end);
    if (was_empty) {
        m->starved--;
        heap_add(c, shard, note);
    }
    e = drain(c, out, note);
    if (waiting(q) > m->window_bytes) {
        m->paused |= UINT64_C(1) << shard;
        *next = COMBINE_PAUSE;
    }
    return e;
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
    mem_free(m->orders);
    mem_free(m->queues);
    mem_free(m);
    c->merge = NULL;
}
