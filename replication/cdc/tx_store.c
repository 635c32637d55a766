/* Open transactions in memory and in files; see the header for the bytes. */

#include "replication/cdc/tx_store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/mem.h"

enum {
    RECORD_BYTES = 8,
    PATH_BYTES = 4096
};

static const char SUFFIX[] = ".spill";

/* ---- files ----------------------------------------------------------------------------------- */

static void path_of(const struct tx_store *s, uint32_t xid, char out[PATH_BYTES])
{
    int n = snprintf(out, PATH_BYTES, "%s/%s%" PRIu32 "%s", s->dir, s->prefix, xid, SUFFIX);
    check(n > 0 && n < PATH_BYTES);
}

struct leftovers {
    const struct tx_store *store;
    struct buf names; /* each with its 0 byte */
};

static void note_leftover(void *arg, const char *name)
{
    struct leftovers *l = arg;
    size_t n = strlen(name);
    size_t prefix = strlen(l->store->prefix);
    if (n > prefix + strlen(SUFFIX) && strncmp(name, l->store->prefix, prefix) == 0 &&
        strcmp(name + n - strlen(SUFFIX), SUFFIX) == 0) {
        buf_cstr(&l->names, name);
    }
}

enum err tx_store_clean(struct tx_store *s, struct note *note)
{
    struct leftovers l = {.store = s};
    enum err e = s->fs->list(s->fs, s->dir, note_leftover, &l, note);
    for (size_t at = 0; e == ERR_NONE && at < l.names.n;) {
        const char *name = (const char *)l.names.p + at;
        char path[PATH_BYTES];
        (void)snprintf(path, sizeof(path), "%s/%s", s->dir, name);
        e = s->fs->unlink(s->fs, path, note);
        at += strlen(name) + 1;
    }
    buf_free(&l.names);
    return e;
}

/* Move what waits in memory to the end of the file. */
static enum err spill(struct tx_store *s, struct open_tx *tx, struct note *note)
{
    char path[PATH_BYTES];
    path_of(s, tx->xid, path);
    if (tx->_fd < 0) {
        enum err e = s->fs->open(s->fs, path, FS_CREATE, &tx->_fd, note);
        if (e) {
            tx->_fd = -1;
            return note_wrap(note, e, "keeping a transaction that is not committed yet");
        }
        s->spilled_count++;
    }
    enum err e = s->fs->write(s->fs, tx->_fd, tx->_file_bytes, tx->_bytes.p, tx->_bytes.n, note);
    if (e) {
        return note_wrap(note, e, path);
    }
    s->memory -= tx->_bytes.n;
    s->spilled_bytes += tx->_bytes.n;
    tx->_file_bytes += tx->_bytes.n;
    buf_free(&tx->_bytes);
    memset(&tx->_bytes, 0, sizeof(tx->_bytes));
    return ERR_NONE;
}

static enum err make_room(struct tx_store *s, struct note *note)
{
    while (s->memory > s->memory_max) {
        struct open_tx *largest = NULL;
        for (struct open_tx *tx = tx_each(s, NULL); tx != NULL; tx = tx_each(s, tx)) {
            if (largest == NULL || tx->_bytes.n > largest->_bytes.n) {
                largest = tx;
            }
        }
        if (largest == NULL || largest->_bytes.n == 0) {
            break; /* the rest are lists of parts */
        }
        enum err e = spill(s, largest, note);
        if (e) {
            return e;
        }
    }
    return ERR_NONE;
}

/* ---- transactions ---------------------------------------------------------------------------- */

struct open_tx *tx_find(const struct tx_store *s, uint32_t xid)
{
    struct hnode *node = hmap_find(&s->_map, hash_u64(xid, 0));
    while (node != NULL) {
        struct open_tx *tx = container_of(node, struct open_tx, _node);
        if (tx->xid == xid) {
            return tx;
        }
        node = hmap_more(node);
    }
    return NULL;
}

struct open_tx *tx_each(const struct tx_store *s, const struct open_tx *last)
{
    struct hnode *node = hmap_each(&s->_map, last == NULL ? NULL : &last->_node);
    return node == NULL ? NULL : container_of(node, struct open_tx, _node);
}

size_t tx_count(const struct tx_store *s)
{
    return s->_map.count;
}

enum err tx_open(struct tx_store *s, uint32_t xid, struct open_tx **out, struct note *note)
{
    if (s->_map.count >= TX_STORE_MAX) {
        return note_set(note, ERR_TOO_BIG, "more than %d transactions are open at once",
                        TX_STORE_MAX);
    }
    struct open_tx *tx = mem_zero(sizeof(*tx));
    tx->xid = xid;
    tx->_fd = -1;
    hmap_add(&s->_map, &tx->_node, hash_u64(xid, 0));
    *out = tx;
    return ERR_NONE;
}

static void add_xid(struct tx_store *s, struct xids *x, uint32_t xid)
{
    if (x->count == x->cap) {
        size_t cap = x->cap == 0 ? 16 : x->cap * 2;
        s->memory += (cap - x->cap) * sizeof(uint32_t);
        x->xids = mem_grow(x->xids, cap * sizeof(uint32_t));
        x->cap = cap;
    }
    x->xids[x->count++] = xid;
}

static void free_xids(struct tx_store *s, struct xids *x)
{
    s->memory -= x->cap * sizeof(uint32_t);
    mem_free(x->xids);
}

/* Of a streamed transaction each message says which part it is of. 0: it says nothing. */
static uint32_t part_of(const struct open_tx *tx, struct slice message)
{
    return tx->streamed && message.n >= 5 ? be32_at(message.p + 1) : 0;
}

enum err tx_add(struct tx_store *s, struct open_tx *tx, struct slice message, uint32_t shape,
                struct note *note)
{
    check(message.n > 0 && message.n <= UINT32_MAX);
    uint32_t part = part_of(tx, message);
    const struct xids *parts = &tx->_parts;
    if (part != 0 && part != tx->xid &&
        (parts->count == 0 || parts->xids[parts->count - 1] != part)) {
        add_xid(s, &tx->_parts, part);
    }
    size_t before = tx->_bytes.n;
    buf_be32(&tx->_bytes, (uint32_t)message.n);
    buf_be32(&tx->_bytes, shape);
    buf_add_slice(&tx->_bytes, message);
    s->memory += tx->_bytes.n - before;
    return s->memory > s->memory_max ? make_room(s, note) : ERR_NONE;
}

void tx_abort_part(struct tx_store *s, struct open_tx *tx, uint32_t subxid)
{
    add_xid(s, &tx->_aborted, subxid);
}

static int compare_xids(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void sort(struct xids *x)
{
    if (x->count > 0) {
        qsort(x->xids, x->count, sizeof(uint32_t), compare_xids);
    }
}

static int has_xid(const struct xids *sorted, uint32_t xid)
{
    return sorted->count > 0 &&
           bsearch(&xid, sorted->xids, sorted->count, sizeof(uint32_t), compare_xids) != NULL;
}

size_t tx_parts(struct open_tx *tx, uint32_t **xids)
{
    struct xids *x = &tx->_parts;
    size_t n = 0;
    sort(x);
    sort(&tx->_aborted);
    for (size_t i = 0; i < x->count; i++) {
        if ((n == 0 || x->xids[n - 1] != x->xids[i]) && !has_xid(&tx->_aborted, x->xids[i])) {
            x->xids[n++] = x->xids[i];
        }
    }
    x->count = n;
    *xids = x->xids;
    return n;
}

void tx_drop(struct tx_store *s, struct open_tx *tx)
{
    if (tx->_fd >= 0) {
        char path[PATH_BYTES];
        path_of(s, tx->xid, path);
        s->fs->close(s->fs, tx->_fd);
        enum err e = s->fs->unlink(s->fs, path, NULL);
        (void)e; /* tx_store_clean() finds it the next time */
    }
    s->memory -= tx->_bytes.n;
    free_xids(s, &tx->_parts);
    free_xids(s, &tx->_aborted);
    hmap_remove(&s->_map, &tx->_node);
    buf_free(&tx->_bytes);
    buf_free(&tx->gid);
    buf_free(&tx->origin);
    names_free(&tx->names);
    mem_free(tx);
}

void tx_store_free(struct tx_store *s)
{
    struct open_tx *tx;
    while ((tx = tx_each(s, NULL)) != NULL) {
        tx_drop(s, tx);
    }
    hmap_free(&s->_map);
    memset(&s->_map, 0, sizeof(s->_map));
    check(s->memory == 0);
}

/* ---- reading --------------------------------------------------------------------------------- */

void tx_reader_init(struct tx_reader *r, const struct tx_store *s, struct open_tx *tx)
{
    *r = (struct tx_reader){._store = s, ._tx = tx, ._in_memory = tx->_fd < 0};
    sort(&tx->_aborted);
}

void tx_reader_free(struct tx_reader *r)
{
    buf_free(&r->_part);
}

/* More bytes of the file behind what is left of the last ones. */
static enum err load(struct tx_reader *r, size_t want, struct note *note)
{
    buf_drop(&r->_part, r->_used);
    r->_used = 0;
    while (r->_part.n < want) {
        size_t n = want > TX_READ_BYTES ? want : TX_READ_BYTES;
        uint64_t left = r->_tx->_file_bytes - r->_at;
        n = left < n ? (size_t)left : n;
        check(n > 0); /* records are written whole */
        buf_reserve(&r->_part, n);
        size_t asked = n;
        enum err e = r->_store->fs->read(r->_store->fs, r->_tx->_fd, r->_at,
                                         r->_part.p + r->_part.n, &n, note);
        if (e == ERR_NONE && n < asked) {
            e = note_set(note, ERR_IO, "the file of an open transaction is too short");
        }
        if (e) {
            return e;
        }
        r->_part.n += n;
        r->_at += n;
    }
    return ERR_NONE;
}

/* The whole record that is next, or an empty slice behind the last one. */
static enum err next_record(struct tx_reader *r, struct slice *out, struct note *note)
{
    *out = (struct slice){NULL, 0};
    if (!r->_in_memory) {
        if (r->_used == r->_part.n && r->_at == r->_tx->_file_bytes) {
            r->_in_memory = 1;
            r->_used = 0;
        } else {
            enum err e = ERR_NONE;
            if (r->_part.n - r->_used < RECORD_BYTES) {
                e = load(r, RECORD_BYTES, note);
            }
            size_t whole = e ? 0 : RECORD_BYTES + (size_t)be32_at(r->_part.p + r->_used);
            if (!e && r->_part.n - r->_used < whole) {
                e = load(r, whole, note);
            }
            if (e) {
                return e;
            }
            *out = slice_bytes(r->_part.p + r->_used, whole);
            r->_used += whole;
            return ERR_NONE;
        }
    }
    if (r->_used < r->_tx->_bytes.n) {
        const uint8_t *p = r->_tx->_bytes.p + r->_used;
        *out = slice_bytes(p, RECORD_BYTES + (size_t)be32_at(p));
        r->_used += out->n;
    }
    return ERR_NONE;
}

static int is_aborted(const struct open_tx *tx, struct slice message)
{
    uint32_t part = part_of(tx, message);
    return part != 0 && has_xid(&tx->_aborted, part);
}

enum err tx_reader_next(struct tx_reader *r, struct slice *message, uint32_t *shape, int *found,
                        struct note *note)
{
    *found = 0;
    for (;;) {
        struct slice record;
        enum err e = next_record(r, &record, note);
        if (e || record.n == 0) {
            return e;
        }
        *message = slice_from(record, RECORD_BYTES);
        *shape = be32_at(record.p + 4);
        if (!is_aborted(r->_tx, *message)) {
            *found = 1;
            return ERR_NONE;
        }
    }
}
