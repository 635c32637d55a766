/*
 * A cursor over tables, one after another: place of the table, place in its index, place in a
 * block.
 *
 *     tables   [ 3 | 7 | 4 | 9 ]          which table: `at`
 *                    |
 *     index    [ b1 | b2 | b3 | b4 ]      which block: `block`
 *                      |
 *     block    [ entry entry entry ]      which entry: `data`
 *
 * A block that is looked for comes from the cache of blocks, or goes into it. Who walks on to the
 * next ones reads a window of the file at once, larger each time; after a few blocks they are
 * unpacked into memory of the cursor: a long scan neither empties the cache nor asks for memory.
 */

#include "base/check.h"
#include "base/list.h"
#include "base/mem.h"
#include "store/lsm/key.h"
#include "store/lsm/sst.h"

enum {
    KEEP_BLOCKS = 4, /* in a row go into the cache, those behind them do not */
    WINDOW_MIN = 8 << 10,
    WINDOW_MAX = 128 << 10
};

struct sst_run {
    struct run run;
    struct sst_env *env;
    const struct sst_meta *const *tables;
    size_t count;

    size_t at; /* the open table; only with sst */
    struct sst *sst;
    struct cache_entry *sst_pin;
    struct cache_entry *block_pin; /* when `data` looks into the cache */

    struct buf window; /* bytes of the file from window_at on */
    uint64_t window_at;
    size_t ahead;      /* bytes of the next window */
    size_t fixed;      /* what the caller wants `ahead` to be, or 0 */
    unsigned in_a_row; /* blocks walked forward since the last search */
    struct buf scratch;

    struct sst_handle handle; /* of the block `data` is in */
    uint32_t block;           /* of the table's; its count: behind the last */
    struct block_cursor data; /* last: its memory for a key need not be cleared */
};

static struct sst_run *run_of(struct run *run)
{
    return container_of(run, struct sst_run, run);
}

static void drop_block(struct sst_run *r)
{
    cache_unpin(r->env->blocks, r->block_pin);
    r->block_pin = NULL;
    r->data.valid = 0;
}

static void drop_table(struct sst_run *r)
{
    drop_block(r);
    if (r->sst != NULL) {
        sst_release(r->env, r->sst_pin);
        r->sst = NULL;
    }
    r->window.n = 0;
}

static enum err damaged(struct sst_run *r, uint64_t offset, struct note *note)
{
    return sst_corrupt(r->env, sst_number(r->sst), offset, note);
}

static enum err open_table(struct sst_run *r, size_t at, struct note *note)
{
    if (r->sst != NULL && r->at == at) {
        return ERR_NONE;
    }
    drop_table(r);
    enum err e = sst_acquire(r->env, r->tables[at], &r->sst, &r->sst_pin, note);
    if (e) {
        r->sst = NULL;
        return e;
    }
    r->at = at;
    return ERR_NONE;
}

/* ---- blocks ---------------------------------------------------------------------------------- */

static enum err fill_window(struct sst_run *r, struct sst_handle handle, struct note *note)
{
    uint64_t left = sst_data_end(r->sst) - handle.offset;
    size_t n = r->ahead > handle.bytes ? r->ahead : handle.bytes;
    n = n < left ? n : (size_t)left;
    r->window.n = 0;
    buf_reserve(&r->window, n);
    enum err e = sst_read_raw(r->env, r->sst, handle.offset, r->window.p, &n, note);
    if (e) {
        return e;
    }
    r->window.n = n;
    r->window_at = handle.offset;
    if (r->fixed == 0) {
        r->ahead = r->ahead < WINDOW_MAX / 2 ? r->ahead * 2 : WINDOW_MAX;
    }
    return n < handle.bytes ? damaged(r, handle.offset + n, note) : ERR_NONE;
}

/* The block's stored bytes, by the window. */
static enum err stored_bytes(struct sst_run *r, struct sst_handle handle, struct slice *out,
                             struct note *note)
{
    uint64_t end = handle.offset + handle.bytes;
    if (handle.offset > sst_data_end(r->sst) || end > sst_data_end(r->sst)) {
        return damaged(r, handle.offset, note);
    }
    if (handle.offset < r->window_at || end > r->window_at + r->window.n || r->window.n == 0) {
        enum err e = fill_window(r, handle, note);
        if (e) {
            return e;
        }
    }
    *out = slice_bytes(r->window.p + (handle.offset - r->window_at), handle.bytes);
    return ERR_NONE;
}

static enum err block_of(struct sst_run *r, struct sst_handle handle, struct slice *out,
                         struct note *note)
{
    struct slice stored;
    if (r->fixed == 0 && r->in_a_row == 0) {
        return sst_cached_block(r->env, r->sst, handle, &r->block_pin, out, note);
    }
    if (r->fixed == 0 && sst_find_block(r->env, r->sst, handle, &r->block_pin, out)) {
        return ERR_NONE;
    }
    enum err e = stored_bytes(r, handle, &stored, note);
    if (e) {
        return e;
    }
    e = r->fixed == 0 && r->in_a_row < KEEP_BLOCKS
            ? sst_keep_block(r->env, r->sst, handle, stored, &r->block_pin, out)
            : sst_block_unpack(stored, &r->scratch, out);
    return e ? damaged(r, handle.offset, note) : ERR_NONE;
}

static enum err open_block(struct sst_run *r, struct note *note)
{
    struct slice bytes;
    drop_block(r);
    r->handle = sst_index_at(sst_index(r->sst), r->block);
    enum err e = block_of(r, r->handle, &bytes, note);
    if (e) {
        return e;
    }
    return block_open(&r->data, bytes) ? damaged(r, r->handle.offset, note) : ERR_NONE;
}

/* Words for what a block gave. */
static enum err judge(struct sst_run *r, enum err e, struct note *note)
{
    return e ? damaged(r, r->handle.offset, note) : ERR_NONE;
}

/* ---- moving ---------------------------------------------------------------------------------- */

static enum err arrive(struct sst_run *r, enum err e)
{
    r->run.valid = e == ERR_NONE && r->data.valid;
    if (r->run.valid) {
        r->run.key = r->data.key;
        r->run.tag = r->data.tag;
        r->run.value = r->data.value;
    } else {
        drop_block(r);
    }
    return e;
}

/* To the next block, or that of the next table, until there is an entry. */
static enum err forward(struct sst_run *r, struct note *note)
{
    enum err e = ERR_NONE;
    while (e == ERR_NONE && !r->data.valid) {
        if (r->block < sst_index(r->sst)->count) {
            r->block++;
        }
        if (r->block >= sst_index(r->sst)->count) {
            if (r->at + 1 >= r->count) {
                return ERR_NONE;
            }
            e = open_table(r, r->at + 1, note);
            r->block = 0;
        }
        if (e == ERR_NONE) {
            r->in_a_row++;
            e = open_block(r, note);
            e = e ? e : judge(r, block_first(&r->data), note);
        }
    }
    return e;
}

static enum err backward(struct sst_run *r, struct note *note)
{
    enum err e = ERR_NONE;
    while (e == ERR_NONE && !r->data.valid) {
        if (r->block == 0) {
            if (r->at == 0) {
                return ERR_NONE;
            }
            e = open_table(r, r->at - 1, note);
            r->block = e ? 0 : sst_index(r->sst)->count;
        }
        if (e == ERR_NONE) {
            r->block--;
            e = open_block(r, note);
            e = e ? e : judge(r, block_last(&r->data), note);
        }
    }
    return e;
}

/* Nothing is open in a way that a walk could go on from. */
static void start_search(struct sst_run *r)
{
    drop_block(r);
    r->in_a_row = 0;
    r->window.n = 0;
    r->ahead = r->fixed != 0 ? r->fixed : WINDOW_MIN;
}

static enum err run_first(struct run *run, struct note *note)
{
    struct sst_run *r = run_of(run);
    start_search(r);
    if (r->count == 0) {
        return arrive(r, ERR_NONE);
    }
    enum err e = open_table(r, 0, note);
    r->block = 0;
    if (e == ERR_NONE) {
        e = open_block(r, note);
        e = e ? e : judge(r, block_first(&r->data), note);
    }
    return arrive(r, e ? e : forward(r, note));
}

static enum err run_last(struct run *run, struct note *note)
{
    struct sst_run *r = run_of(run);
    start_search(r);
    if (r->count == 0) {
        return arrive(r, ERR_NONE);
    }
    enum err e = open_table(r, r->count - 1, note);
    if (e == ERR_NONE) {
        r->block = sst_index(r->sst)->count - 1;
        e = open_block(r, note);
        e = e ? e : judge(r, block_last(&r->data), note);
    }
    return arrive(r, e ? e : backward(r, note));
}

/* The first table that may have something not before the key. */
static size_t table_for(const struct sst_run *r, struct slice key)
{
    size_t low = 0;
    size_t high = r->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (lsm_compare_keys(r->tables[middle]->largest, key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static enum err run_seek(struct run *run, struct slice key, uint64_t tag, struct note *note)
{
    struct sst_run *r = run_of(run);
    start_search(r);
    size_t at = table_for(r, key);
    if (at == r->count) {
        return arrive(r, ERR_NONE);
    }
    enum err e = open_table(r, at, note);
    if (e) {
        return arrive(r, e);
    }
    r->block = sst_index_seek(sst_index(r->sst), key, tag);
    if (r->block < sst_index(r->sst)->count) {
        e = open_block(r, note);
        e = e ? e : judge(r, block_seek(&r->data, key, tag), note);
    }
    return arrive(r, e ? e : forward(r, note));
}

static enum err run_next(struct run *run, struct note *note)
{
    struct sst_run *r = run_of(run);
    enum err e = block_next(&r->data);
    if (e) {
        return arrive(r, judge(r, e, note));
    }
    return arrive(r, r->data.valid ? ERR_NONE : forward(r, note));
}

static enum err run_prev(struct run *run, struct note *note)
{
    struct sst_run *r = run_of(run);
    enum err e = block_prev(&r->data);
    if (e) {
        return arrive(r, judge(r, e, note));
    }
    return arrive(r, r->data.valid ? ERR_NONE : backward(r, note));
}

static void run_close(struct run *run)
{
    struct sst_run *r = run_of(run);
    drop_table(r);
    buf_free(&r->window);
    buf_free(&r->scratch);
    mem_free(r);
}

struct run *sst_run(struct sst_env *env, const struct sst_meta *const *tables, size_t count,
                    size_t ahead)
{
    static const struct run_ops ops = {
        .first = run_first,
        .last = run_last,
        .seek = run_seek,
        .next = run_next,
        .prev = run_prev,
        .close = run_close,
    };
    struct sst_run *r = mem_alloc(sizeof(*r));
    memset(r, 0, offsetof(struct sst_run, data._key));
    r->run.ops = &ops;
    r->env = env;
    r->tables = tables;
    r->count = count;
    r->fixed = ahead;
    return &r->run;
}
