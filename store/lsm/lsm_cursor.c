/*
 * The cursor users have: of each key the one entry that its moment sees, both ways.
 *
 * Forward the merged run stands on the entry that is shown. Backward the entries of a key come
 * oldest first, so the newest visible one is known only when another key comes: it is shown from a
 * copy, and the run stands before all entries of its key. Entries newer than the moment are passed
 * over before anything else is looked at: they may appear at any time.
 */

#include "base/check.h"
#include "base/mem.h"
#include "store/lsm/key.h"
#include "store/lsm/lsm.h"
#include "store/lsm/merge.h"

struct lsm_cursor {
    struct kv_cursor cursor; /* first */
    struct lsm_view *view;
    struct run *run;
    uint64_t seq; /* the moment */
    int is_valid;
    int is_backward;
    struct buf key;   /* forward: the key that is passed over; backward: what is shown */
    struct buf value; /* backward: what is shown */
};

static struct lsm_cursor *cursor_of(struct kv_cursor *cursor)
{
    return (struct lsm_cursor *)(void *)cursor;
}

static struct run *open_runs(struct lsm *lsm, const struct lsm_view *view)
{
    const struct version *v = view->version;
    struct run **runs = mem_alloc((2 + v->levels[0].n + LSM_LEVELS) * sizeof(*runs));
    size_t n = 0;
    runs[n++] = memtable_run(view->active);
    if (view->frozen != NULL) {
        runs[n++] = memtable_run(view->frozen);
    }
    for (size_t i = 0; i < v->levels[0].n; i++) {
        runs[n++] = sst_run(&lsm->env, &v->levels[0].metas[i], 1, 0);
    }
    for (int i = 1; i < LSM_LEVELS; i++) {
        if (v->levels[i].n > 0) {
            runs[n++] = sst_run(&lsm->env, v->levels[i].metas, v->levels[i].n, 0);
        }
    }
    struct run *run = merge_run(runs, n);
    mem_free(runs);
    return run;
}

struct kv_cursor *lsm_cursor_open(struct kv *kv, struct kv_snapshot *at)
{
    struct lsm *lsm = lsm_of(kv);
    struct lsm_cursor *c = mem_zero(sizeof(*c));
    c->cursor.kv = kv;
    c->view = lsm_view_take(lsm, &c->seq);
    if (at != NULL) {
        c->seq = at->seq;
    }
    c->run = open_runs(lsm, c->view);
    atomic_fetch_add_explicit(&lsm->counters.searches, 1, memory_order_relaxed);
    return &c->cursor;
}

void lsm_cursor_close(struct kv_cursor *cursor)
{
    struct lsm_cursor *c = cursor_of(cursor);
    c->run->ops->close(c->run);
    lsm_view_release(c->view);
    buf_free(&c->key);
    buf_free(&c->value);
    mem_free(c);
}

static void keep(struct buf *b, struct slice s)
{
    b->n = 0;
    buf_add_slice(b, s);
}

static enum err arrive(struct lsm_cursor *c, enum err e, int *valid)
{
    c->is_valid = e ? 0 : c->is_valid;
    *valid = c->is_valid;
    return e;
}

/* From where the run stands to the first entry to be shown; `pass`: not of c->key. */
static enum err find_forward(struct lsm_cursor *c, int pass, struct note *note)
{
    struct run *run = c->run;
    c->is_backward = 0;
    c->is_valid = 0;
    enum err e = ERR_NONE;
    while (e == ERR_NONE && run->valid) {
        if (lsm_tag_seq(run->tag) <= c->seq && !(pass && slice_eq(run->key, buf_slice(&c->key)))) {
            if (!lsm_tag_is_delete(run->tag)) {
                c->cursor.key = run->key;
                c->cursor.value = run->value;
                c->is_valid = 1;
                return ERR_NONE;
            }
            keep(&c->key, run->key);
            pass = 1;
        }
        e = run->ops->next(run, note);
    }
    return e;
}

/* From where the run stands, before all entries of what was shown, back to the one before. */
static enum err find_backward(struct lsm_cursor *c, struct note *note)
{
    struct run *run = c->run;
    int found = 0;
    c->is_backward = 1;
    c->is_valid = 0;
    enum err e = ERR_NONE;
    while (e == ERR_NONE && run->valid) {
        if (lsm_tag_seq(run->tag) <= c->seq) {
            if (found && !slice_eq(run->key, buf_slice(&c->key))) {
                break;
            }
            found = !lsm_tag_is_delete(run->tag);
            if (found) {
                keep(&c->key, run->key);
                keep(&c->value, run->value);
            }
        }
        e = run->ops->prev(run, note);
    }
    if (e == ERR_NONE && found) {
        c->cursor.key = buf_slice(&c->key);
        c->cursor.value = buf_slice(&c->value);
        c->is_valid = 1;
    }
    return e;
}

enum err lsm_cursor_first(struct kv_cursor *cursor, int *valid, struct note *note)
{
    struct lsm_cursor *c = cursor_of(cursor);
    enum err e = c->run->ops->first(c->run, note);
    return arrive(c, e ? e : find_forward(c, 0, note), valid);
}

enum err lsm_cursor_last(struct kv_cursor *cursor, int *valid, struct note *note)
{
    struct lsm_cursor *c = cursor_of(cursor);
    enum err e = c->run->ops->last(c->run, note);
    return arrive(c, e ? e : find_backward(c, note), valid);
}

enum err lsm_cursor_seek(struct kv_cursor *cursor, struct slice key, int *valid, struct note *note)
{
    struct lsm_cursor *c = cursor_of(cursor);
    enum err e = c->run->ops->seek(c->run, key, lsm_tag_at(c->seq), note);
    return arrive(c, e ? e : find_forward(c, 0, note), valid);
}

enum err lsm_cursor_next(struct kv_cursor *cursor, int *valid, struct note *note)
{
    struct lsm_cursor *c = cursor_of(cursor);
    struct run *run = c->run;
    enum err e = ERR_NONE;
    if (!c->is_valid) {
        return arrive(c, ERR_NONE, valid);
    }
    if (c->is_backward) {
        e = run->ops->seek(run, buf_slice(&c->key), LSM_TAG_OLDEST, note);
        return arrive(c, e ? e : find_forward(c, 0, note), valid);
    }
    keep(&c->key, run->key);
    e = run->ops->next(run, note);
    return arrive(c, e ? e : find_forward(c, 1, note), valid);
}

enum err lsm_cursor_prev(struct kv_cursor *cursor, int *valid, struct note *note)
{
    struct lsm_cursor *c = cursor_of(cursor);
    struct run *run = c->run;
    enum err e = ERR_NONE;
    if (!c->is_valid) {
        return arrive(c, ERR_NONE, valid);
    }
    if (!c->is_backward) {
        keep(&c->key, run->key);
        e = run->ops->seek(run, buf_slice(&c->key), LSM_TAG_NEWEST, note);
        if (e == ERR_NONE) {
            e = run->valid ? run->ops->prev(run, note) : run->ops->last(run, note);
        }
    }
    return arrive(c, e ? e : find_backward(c, note), valid);
}
