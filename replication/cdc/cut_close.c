/*
 * The cut at a watermark: shards' places move on until every two-phase commit that is before on one
 * of them is before, or prepared, on all. What is prepared then is ahead.
 */

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "replication/cdc/cut_impl.h"

/* ---- the cut --------------------------------------------------------------------------------- */

const struct cut_mark_shard *cut_shard_in(const struct cut_mark *mark, uint16_t source)
{
    for (size_t i = 0; i < mark->count; i++) {
        if (mark->shards[i].source == source) {
            return &mark->shards[i];
        }
    }
    return NULL;
}

/* The same shards, each in one thread of changes, and all of them tell what is prepared. */
static int goes_on(const struct cut_mark *a, const struct cut_mark *b)
{
    int same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++) {
        same = a->shards[i].source == b->shards[i].source &&
               a->shards[i].epoch == b->shards[i].epoch && b->shards[i].has_list &&
               a->shards[i].has_list;
    }
    return same;
}

/* Something was prepared at the mark so long ago that its commits elsewhere may not be known. */
static const struct cut_prepared *find_unsure(const struct cdc_cuts *c)
{
    for (size_t i = 0; !c->is_whole && i < c->mark.count; i++) {
        const struct cut_mark_shard *s = &c->mark.shards[i];
        const struct cut_mark_shard *second = cut_shard_in(&c->second, s->source);
        for (size_t k = 0; k < s->prepared_count; k++) {
            if (second == NULL || second->epoch != s->epoch || s->prepared[k].lsn <= second->lsn) {
                return &s->prepared[k];
            }
        }
    }
    return NULL;
}

static struct cdc_cut_shard *place_of(const struct cdc_cuts *c, uint16_t source)
{
    for (size_t i = 0; i < c->mark.count; i++) {
        if (c->places[i].source == source) {
            return &c->places[i];
        }
    }
    return NULL;
}

int cut_is_before(const struct cdc_cut_shard *at, uint32_t epoch, uint64_t lsn)
{
    return epoch < at->epoch || (epoch == at->epoch && lsn <= at->lsn);
}

static int has_begun(const struct cdc_cuts *c, const struct cut_global *g)
{
    for (uint32_t i = 0; i < g->count; i++) {
        const struct cut_piece *p = &g->pieces[i];
        const struct cdc_cut_shard *at = place_of(c, p->source);
        if (!p->is_open && at != NULL && cut_is_before(at, p->epoch, p->lsn)) {
            return 1;
        }
    }
    return 0;
}

/* Where a piece lies behind and was prepared there, the shard's place moves on to the PREPARE.
 * 0: it cannot be done. */
static int reach(struct cdc_cuts *c, const struct cut_global *g, int *moved)
{
    for (uint32_t i = 0; i < g->count; i++) {
        const struct cut_piece *p = &g->pieces[i];
        struct cdc_cut_shard *at = place_of(c, p->source);
        if (at == NULL || (!p->is_open && cut_is_before(at, p->epoch, p->lsn))) {
            continue;
        }
        if (p->prepare_lsn == 0 || p->epoch != at->epoch) {
            return 0;
        }
        if (p->prepare_lsn > at->lsn) {
            at->lsn = p->prepare_lsn;
            *moved = 1;
        }
    }
    return 1;
}

static int reach_all(struct cdc_cuts *c)
{
    int moved = 1;
    while (moved) {
        moved = 0;
        for (struct hnode *h = hmap_each(&c->globals, NULL); h != NULL;
             h = hmap_each(&c->globals, h)) {
            const struct cut_global *g = container_of(h, struct cut_global, node);
            if (has_begun(c, g) && !reach(c, g, &moved)) {
                return 0;
            }
        }
    }
    for (size_t i = 0; i < c->mark.count; i++) {
        if (c->places[i].lsn > c->horizon.shards[i].lsn) {
            return 0;
        }
    }
    return 1;
}

static void add_ahead(struct cdc_cuts *c, const struct cut_piece *p)
{
    if (c->ahead_count == c->ahead_cap) {
        c->ahead_cap = c->ahead_cap == 0 ? 8 : c->ahead_cap * 2;
        c->ahead = mem_grow(c->ahead, c->ahead_cap * sizeof(c->ahead[0]));
    }
    c->ahead[c->ahead_count++] = (struct cdc_cut_ahead){
        .source = p->source, .epoch = p->epoch, .lsn = p->lsn, .place = p->place};
}

enum fate {
    FATE_HERE,   /* its commit was found */
    FATE_NONE,   /* it brought nothing to the log, or was rolled back */
    FATE_WAITS,  /* it is not decided yet */
    FATE_UNKNOWN /* its shard lost the thread */
};

/* A piece that is still open at the horizon, but committed elsewhere before the cut: what became of
 * it? Followed from watermark to watermark. */
static enum err follow(struct cdc_cuts *c, const struct cut_global *g, struct cut_piece *p,
                       enum fate *fate, struct note *note)
{
    struct cut_scan marks = {.topic = c->marks.topic, .next = c->marks.next};
    struct cut_scan scan = {.topic = c->transactions,
                            .next = cut_shard_in(&c->horizon, p->source)->place};
    enum err e = ERR_NONE;
    int open = 1;
    *fate = FATE_WAITS;
    while (e == ERR_NONE && *fate == FATE_WAITS) {
        struct cut_mark mark = {0};
        int found;
        e = cut_read_mark(c, &marks, &mark, &found, note);
        const struct cut_mark_shard *to = e || !found ? NULL : cut_shard_in(&mark, p->source);
        open = to != NULL && to->epoch == p->epoch && to->has_list ? 0 : open;
        for (size_t i = 0; to != NULL && i < to->prepared_count; i++) {
            open |= to->prepared[i].gid_bytes == g->gid_bytes &&
                    memcmp(to->prepared[i].gid, g->gid, g->gid_bytes) == 0;
        }
        uint64_t until = to == NULL ? UINT64_MAX : to->place;
        int is_last = e == ERR_NONE && !found;
        cut_mark_free(&mark);
        int any = 1;
        while (e == ERR_NONE && *fate == FATE_WAITS && any) {
            e = cut_scan_next(c->log, &scan, p->source, until, &any, note);
            struct slice gid = any ? scan.frame.tx.gid : (struct slice){0};
            if (e == ERR_NONE && any && scan.frame.tx.epoch != p->epoch) {
                *fate = FATE_UNKNOWN;
            } else if (gid.n == g->gid_bytes && memcmp(gid.p, g->gid, gid.n) == 0) {
                e = e ? e : cut_piece_of(&scan, p, note);
                *fate = FATE_HERE;
            }
        }
        if (*fate == FATE_WAITS && (is_last || !open)) {
            *fate = open ? FATE_WAITS : FATE_NONE;
            break;
        }
    }
    cut_scan_free(&marks);
    cut_scan_free(&scan);
    return e;
}

/* Name the pieces that are ahead. */
static enum err collect(struct cdc_cuts *c, enum fate *fate, struct note *note)
{
    enum err e = ERR_NONE;
    *fate = FATE_HERE;
    c->ahead_count = 0;
    for (struct hnode *h = hmap_each(&c->globals, NULL); h != NULL && e == ERR_NONE;
         h = hmap_each(&c->globals, h)) {
        const struct cut_global *g = container_of(h, struct cut_global, node);
        for (uint32_t i = 0; i < g->count && has_begun(c, g); i++) {
            struct cut_piece p = g->pieces[i];
            const struct cdc_cut_shard *at = place_of(c, p.source);
            enum fate one = p.is_open ? FATE_WAITS : FATE_HERE;
            if (at == NULL || (!p.is_open && cut_is_before(at, p.epoch, p.lsn))) {
                continue;
            }
            if (p.is_open) {
                e = follow(c, g, &p, &one, note);
            }
            if (e == ERR_NONE && one == FATE_HERE) {
                add_ahead(c, &p);
            }
            if (one == FATE_WAITS || one == FATE_UNKNOWN) {
                (void)snprintf(c->waits, sizeof(c->waits),
                               "transaction \"%.*s\" is committed on one shard, and prepared on "
                               "%.64s",
                               g->gid_bytes, g->gid, cdc_log_source_name(c->log, p.source));
                *fate = one > *fate ? one : *fate;
            }
        }
    }
    return e;
}

/* Everything is read: 1: a cut; 0: this watermark gives none; -1: not yet. */
enum err cut_close(struct cdc_cuts *c, int *is_cut, struct note *note)
{
    const struct cut_prepared *unsure = find_unsure(c);
    *is_cut = 0;
    c->ahead_count = 0;
    if (c->older_is_coarse || c->is_coarse || !goes_on(&c->older, &c->mark) ||
        !goes_on(&c->mark, &c->horizon)) {
        (void)snprintf(c->waits, sizeof(c->waits), "%s",
                       "at the last watermarks a shard came or left, lost its thread, or does not "
                       "tell what is prepared there (PostgreSQL 15 and later do)");
        return ERR_NONE;
    }
    if (unsure != NULL) {
        (void)snprintf(c->waits, sizeof(c->waits),
                       "transaction \"%.*s\" was prepared before what the log still has",
                       unsure->gid_bytes, unsure->gid);
        return ERR_NONE;
    }
    c->places = mem_grow(c->places, (c->mark.count + 1) * sizeof(c->places[0]));
    for (size_t i = 0; i < c->mark.count; i++) {
        const struct cut_mark_shard *s = &c->mark.shards[i];
        c->places[i] =
            (struct cdc_cut_shard){.source = s->source, .epoch = s->epoch, .lsn = s->lsn};
    }
    if (!reach_all(c)) {
        return ERR_NONE;
    }
    enum fate fate;
    enum err e = collect(c, &fate, note);
    *is_cut = e || fate == FATE_UNKNOWN ? 0 : fate == FATE_WAITS ? -1 : 1;
    return e;
}
