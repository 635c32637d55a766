/*
 * Cycles among waits. Edges that no cycle can use are dropped first, which leaves nothing in a
 * queue of plain waiters; then a walk in depth from each transaction, youngest first, looks for a
 * way back to it that is not on one shard only. The first one found is the youngest of its cycle:
 * every younger one is on none.
 */

#include "txn/waits.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"

static int compare_edges(const void *a, const void *b)
{
    const struct wait_edge *x = a;
    const struct wait_edge *y = b;
    if (x->from != y->from) {
        return x->from < y->from ? -1 : 1;
    }
    if (x->to != y->to) {
        return x->to < y->to ? -1 : 1;
    }
    return x->shard < y->shard ? -1 : x->shard > y->shard;
}

size_t waits_both(struct wait_edge *edges, size_t count, const struct wait_edge *other,
                  size_t other_count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        int found = 0;
        for (size_t j = 0; j < other_count && !found; j++) {
            found = compare_edges(&edges[i], &other[j]) == 0;
        }
        if (found) {
            edges[kept++] = edges[i];
        }
    }
    return kept;
}

/* First edge from `id`, or count: `edges` are sorted. */
static size_t first_from(const struct wait_edge *edges, size_t count, uint64_t id)
{
    size_t low = 0;
    size_t high = count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (edges[mid].from < id) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

static int waits_on(const struct wait_edge *edges, size_t count, uint64_t id)
{
    size_t at = first_from(edges, count, id);
    return at < count && edges[at].from == id;
}

static int is_waited_for(const struct wait_edge *edges, size_t count, uint64_t id)
{
    for (size_t i = 0; i < count; i++) {
        if (edges[i].to == id) {
            return 1;
        }
    }
    return 0;
}

/* Sort, and drop again and again what leads to somebody who does not wait, or comes from somebody
 * nobody waits for. */
static size_t prune(struct wait_edge *edges, size_t count)
{
    size_t before = count + 1;
    qsort(edges, count, sizeof(*edges), compare_edges);
    while (count < before) {
        before = count;
        for (size_t i = 0; i < count;) { /* sorted they stay */
            if (edges[i].from != edges[i].to && waits_on(edges, count, edges[i].to) &&
                is_waited_for(edges, count, edges[i].from)) {
                i++;
            } else {
                memmove(&edges[i], &edges[i + 1], (count - i - 1) * sizeof(*edges));
                count--;
            }
        }
    }
    return count;
}

/* A walk in depth; path[i] is an index into edges. */
struct walk {
    const struct wait_edge *edges;
    size_t count;
    size_t *path;
    size_t depth;
    size_t steps;
};

static int on_path(const struct walk *w, uint64_t id)
{
    for (size_t i = 0; i < w->depth; i++) {
        if (w->edges[w->path[i]].from == id) {
            return 1;
        }
    }
    return 0;
}

static int over_shards(const struct walk *w)
{
    for (size_t i = 1; i < w->depth; i++) {
        if (w->edges[w->path[i]].shard != w->edges[w->path[0]].shard) {
            return 1;
        }
    }
    return 0;
}

/* 1: path is a cycle from `id` over several shards. */
static int find_cycle(struct walk *w, uint64_t id)
{
    size_t next = first_from(w->edges, w->count, id);
    uint64_t at = id;
    w->depth = 0;
    while (w->steps++ < WAITS_STEPS_MAX) {
        if (next < w->count && w->edges[next].from == at) {
            uint64_t to = w->edges[next].to;
            w->path[w->depth++] = next;
            if (to == id && over_shards(w)) {
                return 1;
            }
            if (to == id || on_path(w, to)) {
                w->depth--;
                next++;
            } else {
                at = to;
                next = first_from(w->edges, w->count, to);
            }
        } else if (w->depth > 0) {
            next = w->path[--w->depth];
            at = w->edges[next].from;
            next++;
        } else {
            return 0;
        }
    }
    return 0;
}

static int younger(const void *a, const void *b)
{
    const struct wait_node *const *x = a;
    const struct wait_node *const *y = b;
    if ((*x)->began_us != (*y)->began_us) {
        return (*x)->began_us > (*y)->began_us ? -1 : 1;
    }
    return (*x)->id > (*y)->id ? -1 : (*x)->id < (*y)->id;
}

const struct wait_node *waits_victim(const struct wait_node *nodes, size_t nodes_count,
                                     const struct wait_edge *edges, size_t edges_count,
                                     struct wait_edge *cycle, size_t cycle_max, size_t *length)
{
    const struct wait_node *victim = NULL;
    struct wait_edge *copy = mem_alloc((edges_count + 1) * sizeof(*copy));
    const struct wait_node **order = mem_alloc((nodes_count + 1) * sizeof(*order));
    if (edges_count != 0) {
        memcpy(copy, edges, edges_count * sizeof(*copy));
    }
    struct walk w = {.edges = copy, .count = prune(copy, edges_count)};
    w.path = mem_alloc((w.count + 1) * sizeof(*w.path));
    for (size_t i = 0; i < nodes_count; i++) {
        order[i] = &nodes[i];
    }
    qsort(order, nodes_count, sizeof(*order), younger);
    *length = 0;
    for (size_t i = 0; i < nodes_count && victim == NULL && w.count > 0; i++) {
        if (order[i]->may_stop && find_cycle(&w, order[i]->id)) {
            victim = order[i];
        }
    }
    for (size_t i = 0; victim != NULL && i < w.depth && i < cycle_max; i++) {
        cycle[(*length)++] = copy[w.path[i]];
    }
    mem_free(w.path);
    mem_free(order);
    mem_free(copy);
    return victim;
}
