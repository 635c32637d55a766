/*
 * Runs merged by a heap: its top is the run whose entry comes next in the direction of the walk.
 * Runs that have come to their end are not in the heap. To turn round, the others must be brought
 * to the far side of the entry we stand on: all are searched anew for it.
 */

#include "store/lsm/merge.h"

#include "base/buf.h"
#include "base/check.h"
#include "base/list.h"
#include "base/mem.h"
#include "store/lsm/key.h"

struct merge {
    struct run run;
    int is_backward;
    size_t count;
    size_t heap_count;
    struct buf key;     /* of the entry we turn round on */
    struct run **heap;  /* of `count` places */
    struct run *runs[]; /* all */
};

static struct merge *merge_of(struct run *run)
{
    return container_of(run, struct merge, run);
}

static inline int goes_first(const struct merge *m, const struct run *a, const struct run *b)
{
    int c = lsm_compare(a->key, a->tag, b->key, b->tag);
    return m->is_backward ? c > 0 : c < 0;
}

static void sift_down(struct merge *m, size_t at)
{
    struct run *moved = m->heap[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= m->heap_count) {
            break;
        }
        if (child + 1 < m->heap_count && goes_first(m, m->heap[child + 1], m->heap[child])) {
            child++;
        }
        if (!goes_first(m, m->heap[child], moved)) {
            break;
        }
        m->heap[at] = m->heap[child];
        at = child;
    }
    m->heap[at] = moved;
}

static enum err stand(struct merge *m)
{
    m->run.valid = m->heap_count > 0;
    if (m->run.valid) {
        const struct run *top = m->heap[0];
        m->run.key = top->key;
        m->run.tag = top->tag;
        m->run.value = top->value;
    }
    return ERR_NONE;
}

static enum err lost(struct merge *m, enum err e)
{
    m->heap_count = 0;
    m->run.valid = 0;
    return e;
}

/* All runs were placed: build the heap. */
static enum err gather(struct merge *m, int is_backward)
{
    m->is_backward = is_backward;
    m->heap_count = 0;
    for (size_t i = 0; i < m->count; i++) {
        if (m->runs[i]->valid) {
            m->heap[m->heap_count++] = m->runs[i];
        }
    }
    for (size_t i = m->heap_count / 2; i-- > 0;) {
        sift_down(m, i);
    }
    return stand(m);
}

static enum err merge_first(struct run *run, struct note *note)
{
    struct merge *m = merge_of(run);
    enum err e = ERR_NONE;
    for (size_t i = 0; e == ERR_NONE && i < m->count; i++) {
        e = m->runs[i]->ops->first(m->runs[i], note);
    }
    return e ? lost(m, e) : gather(m, 0);
}

static enum err merge_last(struct run *run, struct note *note)
{
    struct merge *m = merge_of(run);
    enum err e = ERR_NONE;
    for (size_t i = 0; e == ERR_NONE && i < m->count; i++) {
        e = m->runs[i]->ops->last(m->runs[i], note);
    }
    return e ? lost(m, e) : gather(m, 1);
}

static enum err merge_seek(struct run *run, struct slice key, uint64_t tag, struct note *note)
{
    struct merge *m = merge_of(run);
    enum err e = ERR_NONE;
    for (size_t i = 0; e == ERR_NONE && i < m->count; i++) {
        e = m->runs[i]->ops->seek(m->runs[i], key, tag, note);
    }
    return e ? lost(m, e) : gather(m, 0);
}

/* Each run to the last entry before (key, tag). */
static enum err place_before(struct merge *m, struct slice key, uint64_t tag, struct note *note)
{
    enum err e = ERR_NONE;
    for (size_t i = 0; e == ERR_NONE && i < m->count; i++) {
        struct run *r = m->runs[i];
        e = r->ops->seek(r, key, tag, note);
        if (e == ERR_NONE) {
            e = r->valid ? r->ops->prev(r, note) : r->ops->last(r, note);
        }
    }
    return e ? lost(m, e) : gather(m, 1);
}

/* The top has moved. */
static enum err settle(struct merge *m, enum err e)
{
    if (e) {
        return lost(m, e);
    }
    if (!m->heap[0]->valid) {
        m->heap[0] = m->heap[--m->heap_count];
    }
    if (m->heap_count > 1) {
        sift_down(m, 0);
    }
    return stand(m);
}

static struct slice keep_key(struct merge *m)
{
    m->key.n = 0;
    buf_add_slice(&m->key, m->run.key);
    return buf_slice(&m->key);
}

static enum err merge_next(struct run *run, struct note *note)
{
    struct merge *m = merge_of(run);
    check(run->valid);
    if (m->is_backward) {
        uint64_t tag = run->tag;
        enum err e = merge_seek(run, keep_key(m), tag, note);
        if (e || !run->valid) {
            return e;
        }
    }
    struct run *top = m->heap[0];
    return settle(m, top->ops->next(top, note));
}

static enum err merge_prev(struct run *run, struct note *note)
{
    struct merge *m = merge_of(run);
    check(run->valid);
    if (!m->is_backward) {
        uint64_t tag = run->tag;
        return place_before(m, keep_key(m), tag, note);
    }
    struct run *top = m->heap[0];
    return settle(m, top->ops->prev(top, note));
}

static void merge_close(struct run *run)
{
    struct merge *m = merge_of(run);
    for (size_t i = 0; i < m->count; i++) {
        m->runs[i]->ops->close(m->runs[i]);
    }
    buf_free(&m->key);
    mem_free(m->heap);
    mem_free(m);
}

struct run *merge_run(struct run *const *runs, size_t count)
{
    static const struct run_ops ops = {
        .first = merge_first,
        .last = merge_last,
        .seek = merge_seek,
        .next = merge_next,
        .prev = merge_prev,
        .close = merge_close,
    };
    struct merge *m = mem_zero(sizeof(*m) + count * sizeof(m->runs[0]));
    m->run.ops = &ops;
    m->count = count;
    m->heap = mem_zero((count + 1) * sizeof(*m->heap));
    for (size_t i = 0; i < count; i++) {
        m->runs[i] = runs[i];
    }
    return &m->run;
}
