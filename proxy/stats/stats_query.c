/*
 * The table of statements: bounded, and whoever costs most stays in it.
 *
 * A slot keeps its memory for good and changes its owner; its serial number tells an old owner's
 * plans that it is not theirs any more. When the table is full the one with the least total time
 * among PICKS slots gives way: a statement that matters has more time than most, so it is hardly
 * ever the least of its round, and finding one to drop costs the same however large the table is.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/mem.h"
#include "proxy/stats/stats.h"

enum {
    PICKS = 16,
    ID_SEED = 1 /* ids are the same in every process */
};

static void name_slot(struct stats_query *q, const char *database, struct slice shape)
{
    mem_free(q->database);
    mem_free(q->text);
    q->database = mem_strdup(database);
    q->text = mem_alloc(shape.n + 1);
    memcpy(q->text, shape.p, shape.n);
    q->text[shape.n] = '\0';
    q->id = hash_bytes(shape.p, shape.n, ID_SEED);
}

/* Never 0, and never the same for two statements: a plan's old one fits nobody. */
static uint32_t next_serial(struct stats *st)
{
    st->serials = st->serials == UINT32_MAX ? 1 : st->serials + 1;
    return st->serials;
}

static void clear(struct stats *st, struct stats_query *q)
{
    q->serial = next_serial(st);
    q->errors = 0;
    q->rows = 0;
    q->bytes = 0;
    q->shards = 0;
    q->min_us = 0;
    q->time = (struct hist){0};
}

static struct stats_query *add_slot(struct stats *st)
{
    if (st->slots_count == st->slots_cap) {
        st->slots_cap = st->slots_cap == 0 ? 64 : st->slots_cap * 2;
        st->slots = mem_grow(st->slots, st->slots_cap * sizeof(struct stats_query *));
    }
    struct stats_query *q = mem_zero(sizeof(*q));
    q->slot = (uint32_t)st->slots_count;
    st->slots[st->slots_count++] = q;
    return q;
}

static struct stats_query *pick_victim(struct stats *st)
{
    struct stats_query *least = NULL;
    for (int i = 0; i < PICKS; i++) {
        struct stats_query *q = st->slots[rng_below(&st->rng, st->slots_count)];
        if (least == NULL || q->time.sum < least->time.sum) {
            least = q;
        }
    }
    hmap_remove(&st->queries, &least->node);
    st->evicted++;
    return least;
}

struct stats_query *stats_query_of(struct stats *st, const char *database, struct slice shape,
                                   const char *tag)
{
    if (st->queries_max == 0) {
        return NULL;
    }
    uint64_t h = hash_bytes(shape.p, shape.n, hash_process_seed());
    h = hash_bytes(database, strlen(database), h);
    shape.n = shape.n < STATS_SHAPE_BYTES ? shape.n : STATS_SHAPE_BYTES;
    for (struct hnode *n = hmap_find(&st->queries, h); n != NULL; n = hmap_more(n)) {
        struct stats_query *q = container_of(n, struct stats_query, node);
        if (slice_is(shape, q->text) && strcmp(q->database, database) == 0) {
            return q;
        }
    }
    struct stats_query *q = st->slots_count < st->queries_max ? add_slot(st) : pick_victim(st);
    name_slot(q, database, shape);
    clear(st, q);
    (void)snprintf(q->tag, sizeof(q->tag), "%s", tag);
    hmap_add(&st->queries, &q->node, h);
    return q;
}

void stats_query_add(struct stats_query *q, const struct stats_answer *a)
{
    q->min_us = q->time.count == 0 || a->us < q->min_us ? a->us : q->min_us;
    q->errors += a->failed != 0;
    q->rows += a->rows;
    q->bytes += a->bytes;
    q->shards |= a->shards;
    hist_add(&q->time, a->us);
}

static int by_cost(const void *a, const void *b)
{
    const struct stats_query *x = *(struct stats_query *const *)a;
    const struct stats_query *y = *(struct stats_query *const *)b;
    if (x->time.sum != y->time.sum) {
        return x->time.sum > y->time.sum ? -1 : 1;
    }
    return strcmp(x->text, y->text);
}

size_t stats_queries_sorted(const struct stats *st, struct stats_query **out)
{
    size_t count = 0;
    for (size_t i = 0; i < st->slots_count; i++) {
        if (st->slots[i]->time.count != 0) {
            out[count++] = st->slots[i];
        }
    }
    qsort(out, count, sizeof(struct stats_query *), by_cost);
    return count;
}

static void drop_slot(struct stats *st, struct stats_query *q)
{
    hmap_remove(&st->queries, &q->node);
    mem_free(q->database);
    mem_free(q->text);
    mem_free(q);
}

void stats_queries_resize(struct stats *st, size_t max)
{
    st->queries_max = max;
    if (st->slots_count <= max) {
        return;
    }
    struct stats_query **sorted = mem_alloc(st->slots_count * sizeof(struct stats_query *));
    memcpy(sorted, st->slots, st->slots_count * sizeof(struct stats_query *));
    qsort(sorted, st->slots_count, sizeof(struct stats_query *), by_cost);
    for (size_t i = max; i < st->slots_count; i++) {
        drop_slot(st, sorted[i]);
        st->evicted++;
    }
    for (size_t i = 0; i < max; i++) {
        st->slots[i] = sorted[i];
        sorted[i]->slot = (uint32_t)i;
        sorted[i]->serial = next_serial(st);
    }
    mem_free(sorted);
    st->slots_count = max;
}
