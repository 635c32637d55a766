/*
 * Pieces of two-phase commits by gid, window by window. A window that has too many is coarse: of it
 * only pieces of what is open at its end are kept, and the watermarks at its ends give no cut.
 */

#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "replication/cdc/cut_impl.h"

enum {
    PIECES_MAX = 1 << 20 /* of a window */
};

/* ---- transactions of several shards ---------------------------------------------------------- */

static struct cut_global *find_global(const struct cdc_cuts *c, const void *gid, size_t n)
{
    uint64_t hash = hash_bytes(gid, n, hash_process_seed());
    for (struct hnode *h = hmap_find(&c->globals, hash); h != NULL; h = hmap_more(h)) {
        struct cut_global *g = container_of(h, struct cut_global, node);
        if (g->gid_bytes == n && memcmp(g->gid, gid, n) == 0) {
            return g;
        }
    }
    return NULL;
}

static struct cut_global *need_global(struct cdc_cuts *c, const void *gid, size_t n)
{
    struct cut_global *g = find_global(c, gid, n);
    if (g == NULL) {
        check(n <= UINT8_MAX);
        g = mem_zero(sizeof(*g) + n);
        g->gid_bytes = (uint8_t)n;
        memcpy(g->gid, gid, n);
        hmap_add(&c->globals, &g->node, hash_bytes(gid, n, hash_process_seed()));
    }
    return g;
}

static void add_piece(struct cut_global *g, const struct cut_piece *piece)
{
    if (g->count == g->cap) {
        g->cap = g->cap == 0 ? 2 : g->cap * 2;
        g->pieces = mem_grow(g->pieces, g->cap * sizeof(g->pieces[0]));
    }
    g->pieces[g->count++] = *piece;
}

/* Drop pieces for which `drops` says so, and globals that are left without any. */
static void sweep(struct cdc_cuts *c,
                  int (*drops)(const struct cdc_cuts *, const struct cut_global *,
                               const struct cut_piece *))
{
    struct hnode *next;
    for (struct hnode *h = hmap_each(&c->globals, NULL); h != NULL; h = next) {
        struct cut_global *g = container_of(h, struct cut_global, node);
        uint32_t kept = 0;
        next = hmap_each(&c->globals, h);
        for (uint32_t i = 0; i < g->count; i++) {
            if (!drops(c, g, &g->pieces[i])) {
                g->pieces[kept++] = g->pieces[i];
            }
        }
        g->count = kept;
        if (kept == 0) {
            hmap_remove(&c->globals, h);
            mem_free(g->pieces);
            mem_free(g);
        }
    }
}

static int drops_all(const struct cdc_cuts *c, const struct cut_global *g,
                     const struct cut_piece *p)
{
    (void)c, (void)g, (void)p;
    return 1;
}

static int is_open(const struct cut_global *g)
{
    int open = 0;
    for (uint32_t i = 0; i < g->count; i++) {
        open |= g->pieces[i].is_open;
    }
    return open;
}

/* What is open stands in the next watermark's list, if it still is. */
static int drops_open(const struct cdc_cuts *c, const struct cut_global *g,
                      const struct cut_piece *p)
{
    (void)c, (void)g;
    return p->is_open;
}

static int drops_newest(const struct cdc_cuts *c, const struct cut_global *g,
                        const struct cut_piece *p)
{
    return !p->is_open && p->window == c->window && !is_open(g);
}

/* Of older windows, what belongs to something that is open or has a piece in the newest is kept. */
static int drops_older(const struct cdc_cuts *c, const struct cut_global *g,
                       const struct cut_piece *p)
{
    int is_new = 0;
    for (uint32_t i = 0; i < g->count; i++) {
        is_new |= g->pieces[i].window == c->window;
    }
    return !is_new && !is_open(g) && !p->is_open;
}

/* ---- reading --------------------------------------------------------------------------------- */

static struct cut_stream *find_stream(const struct cdc_cuts *c, uint16_t source)
{
    for (size_t i = 0; i < c->streams_count; i++) {
        if (c->streams[i].source == source) {
            return &c->streams[i];
        }
    }
    return NULL;
}

struct cut_stream *cut_need_stream(struct cdc_cuts *c, uint16_t source, uint64_t place)
{
    struct cut_stream *s = find_stream(c, source);
    if (s == NULL) {
        c->streams = mem_grow(c->streams, (c->streams_count + 1) * sizeof(*c->streams));
        s = &c->streams[c->streams_count++];
        *s = (struct cut_stream){.source = source,
                                 .scan = {.topic = c->transactions, .next = place}};
    }
    return s;
}

static uint64_t number_of(struct slice text)
{
    uint64_t n = 0;
    for (size_t i = 0; i < text.n && i < 20 && text.p[i] >= '0' && text.p[i] <= '9'; i++) {
        n = n * 10 + (uint64_t)(text.p[i] - '0');
    }
    return n;
}

enum err cut_piece_of(const struct cut_scan *scan, struct cut_piece *out, struct note *note)
{
    struct change change = {0};
    enum err e = cdc_record_read(&scan->record, 0, NULL, NULL, &change, note);
    *out = (struct cut_piece){.source = scan->frame.source,
                              .epoch = scan->frame.tx.epoch,
                              .lsn = scan->frame.tx.lsn,
                              .prepare_lsn = number_of(change.prefix),
                              .place = scan->offset};
    if (slice_is(change.prefix, "0")) {
        out->prepare_lsn = out->lsn; /* it decided by its commit */
    }
    return e;
}

/* What one shard committed up to `until` and by two phases. only_open: of what is open at the
 * horizon, nothing else. */
static enum err read_stream(struct cdc_cuts *c, struct cut_stream *s, uint64_t until, int only_open,
                            struct note *note)
{
    int found;
    enum err e = cut_scan_next(c->log, &s->scan, s->source, until, &found, note);
    while (e == ERR_NONE && found) {
        struct slice gid = s->scan.frame.tx.gid;
        if (gid.n > 0 && (!only_open || find_global(c, gid.p, gid.n) != NULL)) {
            struct cut_piece piece;
            e = cut_piece_of(&s->scan, &piece, note);
            piece.window = c->window;
            c->pieces++;
            add_piece(need_global(c, gid.p, gid.n), &piece);
        }
        if (c->pieces > PIECES_MAX && !only_open) {
            return ERR_NONE;
        }
        e = e ? e : cut_scan_next(c->log, &s->scan, s->source, until, &found, note);
    }
    return e;
}

static void add_open(struct cdc_cuts *c)
{
    for (size_t i = 0; i < c->horizon.count; i++) {
        const struct cut_mark_shard *s = &c->horizon.shards[i];
        for (size_t k = 0; k < s->prepared_count; k++) {
            const struct cut_prepared *p = &s->prepared[k];
            struct cut_piece piece = {.source = s->source,
                                      .is_open = 1,
                                      .epoch = s->epoch,
                                      .prepare_lsn = p->lsn,
                                      .window = c->window};
            add_piece(need_global(c, p->gid, p->gid_bytes), &piece);
        }
    }
}

static enum err read_streams(struct cdc_cuts *c, int only_open, struct note *note)
{
    enum err e = ERR_NONE;
    for (size_t i = 0; i < c->horizon.count && e == ERR_NONE; i++) {
        const struct cut_mark_shard *to = &c->horizon.shards[i];
        struct cut_stream *s = cut_need_stream(c, to->source, to->place);
        e = read_stream(c, s, to->place, only_open, note);
    }
    return e;
}

/* The window up to the horizon. */
enum err cut_read_window(struct cdc_cuts *c, struct note *note)
{
    size_t count = c->streams_count;
    uint64_t *from = mem_alloc((count + 1) * sizeof(*from));
    for (size_t i = 0; i < count; i++) {
        from[i] = c->streams[i].scan.next;
    }
    c->window++;
    c->pieces = 0;
    sweep(c, drops_open);
    add_open(c);
    enum err e = read_streams(c, 0, note);
    c->is_coarse = c->pieces > PIECES_MAX;
    if (e == ERR_NONE && c->is_coarse) {
        sweep(c, drops_newest);
        for (size_t i = 0; i < count; i++) {
            cut_scan_to(&c->streams[i].scan, from[i]);
        }
        e = read_streams(c, 1, note);
    }
    if (e == ERR_LOG_GONE) { /* retention was quicker */
        for (size_t i = 0; i < c->horizon.count; i++) {
            const struct cut_mark_shard *to = &c->horizon.shards[i];
            cut_scan_to(&cut_need_stream(c, to->source, to->place)->scan, to->place);
        }
        c->is_coarse = 1;
        c->is_whole = 0;
        c->wants_second = 1;
        e = ERR_NONE;
    }
    mem_free(from);
    return e;
}

enum err cut_read_mark(struct cdc_cuts *c, struct cut_scan *scan, struct cut_mark *out, int *found,
                       struct note *note)
{
    struct change change = {0};
    enum err e = cut_scan_next(c->log, scan, -1, UINT64_MAX, found, note);
    if (e || !*found) {
        return e;
    }
    e = cdc_record_read(&scan->record, 0, NULL, NULL, &change, note);
    e = e ? e : cut_mark_read(change.content, out, note);
    out->time_us = e ? 0 : scan->frame.tx.time_us;
    return e;
}

void cut_drop_older(struct cdc_cuts *c)
{
    sweep(c, drops_older);
}

void cut_drop_all(struct cdc_cuts *c)
{
    sweep(c, drops_all);
}
