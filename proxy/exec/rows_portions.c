/*
 * A source that is larger than the memory of a statement: it is read and written piece by piece.
 *
 *     source    a portal on each of its servers, which gives some rows at a time; its snapshot was
 *               taken when it was opened, so it never sees what the steps write meanwhile
 *     steps     run whenever the rows at hand have grown large, then the source is read on
 *
 * Only for one step, without RETURNING, whose rows may go in several statements: not for what fails
 * when a row is met twice, nor for a new sharding key, whose rows make room for each other.
 * Where everything fits into the first pieces, nothing is written before all is read.
 */

#include "base/check.h"
#include "proxy/exec/rows.h"

enum {
    FIRST_ROWS = 1000, /* of each shard; then by their size */
    LEAST_ROWS = 50,
    MOST_ROWS = 50000,
    PORTION_BYTES = 8 * 1024 * 1024, /* about, of each shard */
    READY_BYTES = 65536,
    FILL = 4 /* memory is that many times what is written at once */
};

int rows_in_portions(const struct rows *r)
{
    const struct plan_rows *rows = r->plan->rows;
    int reads = r->source->kind == PLAN_ONE || r->source->kind == PLAN_MANY ||
                r->source->kind == PLAN_WORKSPACE;
    return reads && rows->steps_count == 1 && !r->plan->returns_rows && !rows->steps[0].whole &&
           !rows->alone && r->outer == NULL;
}

uint32_t rows_portion(const struct rows *r)
{
    uint64_t rows = r->store.rows;
    uint64_t each = rows == 0 ? 0 : r->store.bytes.n / rows + 1;
    uint64_t shards = (uint64_t)__builtin_popcountll(r->w.g.shards | 1);
    uint64_t share = (uint64_t)r->w.g.op.session->world->conf->gather_memory / FILL / 2 / shards;
    uint64_t fit = each == 0 ? FIRST_ROWS : (share < PORTION_BYTES ? share : PORTION_BYTES) / each;
    return fit < LEAST_ROWS ? LEAST_ROWS : fit > MOST_ROWS ? MOST_ROWS : (uint32_t)fit;
}

static uint64_t at_hand(const struct rows *r)
{
    return r->store.bytes.n + r->store.mentions * sizeof(uint64_t);
}

static void take_ready(struct gather *g)
{
    struct slice rest = slice_from(buf_slice(&g->ready), g->ready_at);
    uint8_t type = 0;
    size_t total = 0;
    while (!g->err && frame_peek(rest, &type, &total) == 1) {
        rows_take(g, frame_body(rest, total));
        rest = slice_from(rest, total);
    }
    g->ready.n = g->ready_at = 0;
}

/* What the combiner has held back. */
static void take_rest(struct gather *g)
{
    int more = g->combine != NULL && !g->done;
    while (more && !g->err) {
        enum err e = combine_finish(g->combine, READY_BYTES, &g->ready, &more, &g->note);
        g->err = e;
        take_ready(g);
    }
}

static void closed(struct op *op)
{
    struct rows *r = (struct rows *)op;
    if (op->errors != 0) {
        rows_failed(r, ERR_NONE, NULL);
    } else if (r->source->kind == PLAN_WORKSPACE) {
        space_rest_done(&r->w.g);
    } else {
        rows_source_over(r);
    }
}

/* All rows have come. */
static void finish(struct rows *r)
{
    struct gather *g = &r->w.g;
    take_rest(g);
    r->more = 0;
    g->fetch = 0;
    if (g->err) {
        gather_end_badly(g, g->err, &g->note);
    } else if (g->op.session->tx.kind == TX_KIND_EXPLICIT && !g->apart) {
        gather_close_portions(g, closed);
    } else {
        g->op.errors = 0;
        closed(&g->op);
    }
}

void rows_portion_came(struct gather *g)
{
    struct rows *r = (struct rows *)g;
    uint64_t most = (uint64_t)g->op.session->world->conf->gather_memory;
    take_ready(g);
    if (g->err) {
        gather_end_badly(g, g->err, &g->note);
    } else if (at_hand(r) > most / FILL) {
        r->more = 1;
        rows_source_over(r);
    } else if (!gather_more(g, rows_portion(r))) {
        finish(r);
    }
}

void rows_read_on(struct rows *r)
{
    uint32_t portion = rows_portion(r);
    for (size_t i = 0; i < SHARDS_MAX; i++) {
        r->parts[i].count = 0;
    }
    r->store.bytes.n = 0;
    r->store.rows = 0;
    r->store.mentions = 0;
    r->step_shards[0] = 0;
    r->wrote = 1;
    r->more = 0;
    if (!gather_more(&r->w.g, portion)) {
        finish(r);
    }
}
