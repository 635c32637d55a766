/*
 * Groups: rows with equal group keys are one, by a hash of the key's bytes (combine_group.c).
 *
 *     struct group    hash node, order of arrival, key bytes, then states[outputs_count]; one piece
 *                     of `memory`, so that a row touches few cache lines
 *     list            pointers to the groups in order of arrival; sorted before they are given out
 *
 * When nothing is added up and nothing sorted (DISTINCT), a row goes out as soon as its group is
 * new, so a LIMIT ends the statement early; else groups wait for combine_finish().
 *
 * Everything that is kept counts against memory_max.
 */

#include <stdalign.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/hmap.h"
#include "base/mem.h"
#include "planner/combine_inner.h"

struct group {
    struct hnode node;
    uint32_t number; /* order of arrival: ties of the sort keep it */
    uint32_t key_bytes;
    uint8_t key[];
};

struct combine_groups {
    struct arena memory;
    struct hmap map;
    struct group **list;
    size_t count, cap;
    struct combine_agg *aggs;          /* per output */
    struct combine_sets *sets;         /* NULL: nothing is DISTINCT */
    struct combine_conditions *having; /* NULL: every group stays */
    struct combine_sort_context {
        const struct combine *c;
        enum err err;
        struct note *note;
    } sorting;
    struct buf key, row;
    struct numeric scratch;
    uint64_t seed;
    size_t given;
    uint8_t at_once; /* new groups go out at once */
    uint8_t finished;
};

enum {
    ROW_BYTES_MAX = 0x3FFFFFFF /* as PostgreSQL's MaxAllocSize */
};

/* ---- open ------------------------------------------------------------------------------------ */

static int only_distinct(const struct combine_spec *spec)
{
    for (size_t i = 0; i < spec->outputs_count; i++) {
        if (spec->outputs[i].kind != COMBINE_AS_IS) {
            return 0;
        }
    }
    return spec->sorts_count == 0 && spec->groups_count != 0;
}

enum err combine_groups_columns(struct combine *c, struct note *note)
{
    const struct combine_spec *spec = c->spec;
    combine_groups_free(c); /* the columns of another shard were refused */
    struct combine_groups *g = mem_zero(sizeof(*g));
    c->groups = g;
    g->aggs = mem_zero((spec->outputs_count + 1u) * sizeof(*g->aggs));
    g->seed = hash_process_seed();
    g->at_once = only_distinct(spec) != 0;
    g->sets = spec->sets_count == 0 ? NULL : combine_sets_new(spec);
    check(spec->groups_count != 0 || spec->one_row);
    for (size_t i = 0; i < spec->sets_count; i++) {
        enum err e = combine_group_check(&c->columns[spec->sets[i].column], note);
        if (e) {
            return e;
        }
    }
    for (size_t i = 0; i < spec->groups_count; i++) {
        enum err e = combine_group_check(&c->columns[spec->groups[i]], note);
        if (e) {
            return e;
        }
    }
    for (size_t i = 0; i < spec->outputs_count; i++) {
        g->aggs[i].fewer_digits = c->fewer_digits;
        g->aggs[i].out_format = i < spec->visible ? c->out_formats[i] : (int16_t)FORMAT_BINARY;
        enum err e = combine_agg_open(&g->aggs[i], &spec->outputs[i], c->columns, note);
        if (e) {
            return e;
        }
    }
    enum err h = combine_having_open(spec, g->aggs, &g->having, note);
    if (h) {
        return h;
    }
    for (size_t i = 0; i < spec->sorts_count; i++) {
        const struct combine_sort *sort = &spec->sorts[i];
        enum err e = combine_agg_sorted(&g->aggs[sort->output], c->columns, sort, note);
        if (e) {
            return e;
        }
    }
    return ERR_NONE;
}

uint32_t combine_groups_type(const struct combine *c, size_t output)
{
    return c->groups == NULL ? 0 : c->groups->aggs[output].result_oid;
}

void combine_groups_free(struct combine *c)
{
    struct combine_groups *g = c->groups;
    if (g == NULL) {
        return;
    }
    arena_free(&g->memory);
    hmap_free(&g->map);
    buf_free(&g->key);
    buf_free(&g->row);
    mem_free(g->list);
    for (size_t i = 0; i < c->spec->outputs_count; i++) {
        combine_order_close(&g->aggs[i].order);
    }
    mem_free(g->aggs);
    combine_sets_free(g->sets);
    combine_having_free(g->having);
    mem_free(g);
    c->groups = NULL;
}

/* ---- rows in --------------------------------------------------------------------------------- */

static size_t states_offset(size_t key_bytes)
{
    size_t align = alignof(struct combine_state);
    return (sizeof(struct group) + key_bytes + align - 1) / align * align;
}

static struct combine_state *states_of(const struct group *group)
{
    return (struct combine_state *)(void *)((uint8_t *)group + states_offset(group->key_bytes));
}

static struct group *add_group(struct combine_groups *g, const struct combine_spec *spec,
                               uint64_t hash)
{
    size_t states = g->at_once ? 0 : spec->outputs_count;
    size_t offset = states_offset(g->key.n);
    struct group *group = arena_alloc(&g->memory, offset + states * sizeof(struct combine_state));
    memset((uint8_t *)group + offset, 0, states * sizeof(struct combine_state));
    check(g->count < UINT32_MAX);
    group->number = (uint32_t)g->count;
    group->key_bytes = (uint32_t)g->key.n;
    if (g->key.n > 0) {
        memcpy(group->key, g->key.p, g->key.n);
    }
    hmap_add(&g->map, &group->node, hash);
    if (g->count == g->cap) {
        g->cap = g->cap == 0 ? 64 : 2 * g->cap;
        g->list = mem_grow(g->list, g->cap * sizeof(*g->list));
    }
    g->list[g->count++] = group;
    return group;
}

static struct group *find_group(const struct combine_groups *g, uint64_t hash)
{
    for (struct hnode *n = hmap_find(&g->map, hash); n != NULL; n = hmap_more(n)) {
        struct group *group = container_of(n, struct group, node);
        if (group->key_bytes == g->key.n &&
            (g->key.n == 0 || memcmp(group->key, g->key.p, g->key.n) == 0)) {
            return group;
        }
    }
    return NULL;
}

static size_t kept_bytes(const struct combine_groups *g)
{
    return g->memory.bytes + g->cap * sizeof(*g->list) + g->map.count * 2 * sizeof(void *) +
           g->key.cap + g->row.cap + combine_sets_bytes(g->sets);
}

static enum err make_key(struct combine *c, struct note *note)
{
    struct combine_groups *g = c->groups;
    g->key.n = 0;
    for (size_t i = 0; i < c->spec->groups_count; i++) {
        size_t column = c->spec->groups[i];
        enum err e = combine_group_put(&c->columns[column], c->values[column], &g->scratch,
                                       &g->memory, &g->key, note);
        if (e) {
            return e;
        }
    }
    return ERR_NONE;
}

/* A row of the values as the shard sent them: only AS_IS outputs. */
static enum err give_values(struct combine *c, struct buf *out, struct note *note)
{
    size_t bytes = 0;
    for (size_t i = 0; i < c->spec->visible; i++) {
        bytes += c->values[c->spec->outputs[i].column].n;
    }
    if (bytes > ROW_BYTES_MAX) {
        return note_set(note, ERR_TOO_BIG, "a row of the result is larger than 1 GB");
    }
    size_t mark = back_begin_row(out, c->spec->visible);
    for (size_t i = 0; i < c->spec->visible; i++) {
        back_put_value(out, c->values[c->spec->outputs[i].column]);
    }
    frame_end(out, mark);
    return ERR_NONE;
}

/* The row's partial states, and its values where they are new. */
static enum err add_row(struct combine *c, struct group *group, struct note *note)
{
    struct combine_groups *g = c->groups;
    uint64_t news = 0;
    if (g->sets != NULL) {
        enum err e = combine_sets_see(g->sets, c, group->number, &news, note);
        if (e) {
            return e;
        }
    }
    struct combine_state *states = states_of(group);
    for (size_t i = 0; i < c->spec->outputs_count; i++) {
        struct combine_agg *agg = &g->aggs[i];
        if (agg->set != 0 && (news >> (agg->set - 1) & 1) == 0) {
            continue;
        }
        enum err e = combine_state_add(agg, &states[i], c->columns, c->values, &g->memory, note);
        if (e) {
            return e;
        }
    }
    return ERR_NONE;
}

enum err combine_groups_row(struct combine *c, struct slice body, struct buf *out,
                            struct note *note)
{
    struct combine_groups *g = c->groups;
    size_t visible_end = 0;
    enum err e = combine_split_row(c, body, &visible_end, note);
    if (!e) {
        e = make_key(c, note);
    }
    if (e) {
        return e;
    }
    uint64_t hash = hash_bytes(g->key.p, g->key.n, g->seed);
    struct group *group = find_group(g, hash);
    int is_new = group == NULL;
    if (is_new) {
        group = add_group(g, c->spec, hash);
    }
    if (g->at_once) {
        e = is_new && combine_limit_take(c) ? give_values(c, out, note) : ERR_NONE;
    } else {
        e = add_row(c, group, note);
    }
    if (!e && kept_bytes(g) > c->memory_max) {
        e = combine_no_memory(c, note);
    }
    return e;
}

/* ---- rows out -------------------------------------------------------------------------------- */

static enum err compare_groups(const struct combine *c, const struct group *a,
                               const struct group *b, int *out, struct note *note)
{
    *out = 0;
    for (size_t i = 0; i < c->spec->sorts_count && *out == 0; i++) {
        const struct combine_sort *sort = &c->spec->sorts[i];
        const struct combine_state *x = &states_of(a)[sort->output];
        const struct combine_state *y = &states_of(b)[sort->output];
        if (!x->seen || !y->seen) {
            *out = !x->seen - !y->seen;
            *out = sort->nulls_first ? -*out : *out;
            continue;
        }
        enum err e = combine_state_compare(&c->groups->aggs[sort->output], x, y, out, note);
        if (e) {
            return e;
        }
        *out = sort->desc ? -*out : *out;
    }
    return ERR_NONE;
}

static int by_sort_keys(const void *a, const void *b, void *arg)
{
    struct combine_sort_context *context = arg;
    const struct group *x = *(struct group *const *)a, *y = *(struct group *const *)b;
    int order = 0;
    if (!context->err) {
        context->err = compare_groups(context->c, x, y, &order, context->note);
    }
    return order != 0 ? order : (x->number > y->number) - (x->number < y->number);
}

/* ---- only the first groups are wanted -------------------------------------------------------- */

static void sift_down(struct group **heap, size_t count, struct combine_sort_context *context)
{
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= count) {
            return;
        }
        if (child + 1 < count && by_sort_keys(&heap[child], &heap[child + 1], context) < 0) {
            child++;
        }
        if (by_sort_keys(&heap[at], &heap[child], context) >= 0) {
            return;
        }
        struct group *g = heap[at];
        heap[at] = heap[child];
        heap[child] = g;
        at = child;
    }
}

static void sift_up(struct group **heap, size_t at, struct combine_sort_context *context)
{
    while (at > 0 && by_sort_keys(&heap[(at - 1) / 2], &heap[at], context) < 0) {
        struct group *g = heap[at];
        heap[at] = heap[(at - 1) / 2];
        heap[(at - 1) / 2] = g;
        at = (at - 1) / 2;
    }
}

/* Move the first `wanted` groups in order of the sort to the front of the list, unsorted: a heap
 * whose top is the last of them, beaten by each better one that comes. */
static void select_first(struct combine_groups *g, size_t wanted)
{
    for (size_t i = 0; i < wanted; i++) {
        sift_up(g->list, i, &g->sorting);
    }
    for (size_t i = wanted; i < g->count && !g->sorting.err; i++) {
        if (by_sort_keys(&g->list[i], &g->list[0], &g->sorting) < 0) {
            g->list[0] = g->list[i];
            sift_down(g->list, wanted, &g->sorting);
        }
    }
    g->count = wanted;
}

/* Groups that LIMIT and OFFSET can reach. */
static size_t groups_wanted(const struct combine *c)
{
    size_t count = c->groups->count;
    if (c->skip >= count || c->left >= count - c->skip) {
        return count;
    }
    return (size_t)(c->skip + c->left);
}

/* Groups that HAVING lets pass move to the front of the list. */
static enum err keep_groups(struct combine *c, struct note *note)
{
    struct combine_groups *g = c->groups;
    size_t kept = 0;
    for (size_t i = 0; i < g->count; i++) {
        int holds = 1;
        enum err e = combine_having_holds(g->having, g->aggs, states_of(g->list[i]), &g->memory,
                                          &holds, note);
        if (e) {
            return e;
        }
        if (holds) {
            g->list[kept++] = g->list[i];
        }
    }
    g->count = kept;
    return ERR_NONE;
}

static enum err finish_groups(struct combine *c, struct note *note)
{
    struct combine_groups *g = c->groups;
    if (c->spec->groups_count == 0 && g->count == 0) {
        g->key.n = 0;
        (void)add_group(g, c->spec, 0);
    }
    for (size_t i = 0; i < g->count; i++) {
        for (size_t k = 0; k < c->spec->outputs_count; k++) {
            enum err e =
                combine_state_finish(&g->aggs[k], &states_of(g->list[i])[k], &g->memory, note);
            if (e) {
                return e;
            }
        }
    }
    if (kept_bytes(g) > c->memory_max) {
        return combine_no_memory(c, note);
    }
    if (g->having != NULL) {
        enum err e = keep_groups(c, note);
        if (e) {
            return e;
        }
    }
    if (c->spec->sorts_count > 0 && g->count > 1) {
        g->sorting = (struct combine_sort_context){.c = c, .note = note};
        size_t wanted = groups_wanted(c);
        if (wanted < g->count) {
            select_first(g, wanted);
        }
        qsort_r(g->list, g->count, sizeof(struct group *), by_sort_keys, &g->sorting);
        return g->sorting.err;
    }
    return ERR_NONE;
}

static enum err give_group(struct combine *c, const struct group *group, struct buf *out,
                           struct note *note)
{
    struct combine_groups *g = c->groups;
    const struct combine_state *states = states_of(group);
    g->row.n = 0;
    for (size_t i = 0; i < c->spec->visible; i++) {
        enum err e = combine_state_put(&g->aggs[i], &states[i], &g->row, note);
        if (!e && g->row.n > ROW_BYTES_MAX) {
            e = note_set(note, ERR_TOO_BIG, "a row of the result is larger than 1 GB");
        }
        if (e) {
            return e;
        }
    }
    combine_put_raw(c, buf_slice(&g->row), out);
    return ERR_NONE;
}

enum err combine_groups_finish(struct combine *c, size_t bytes_max, struct buf *out, int *more,
                               struct note *note)
{
    struct combine_groups *g = c->groups;
    size_t start = out->n;
    if (g->at_once) {
        return ERR_NONE;
    }
    if (!g->finished) {
        enum err e = finish_groups(c, note);
        if (e) {
            return e;
        }
        g->finished = 1;
    }
    while (g->given < g->count && !c->done && out->n - start < bytes_max) {
        const struct group *group = g->list[g->given++];
        if (combine_limit_take(c)) {
            enum err e = give_group(c, group, out, note);
            if (e) {
                return e;
            }
        }
    }
    *more = g->given < g->count && !c->done;
    return ERR_NONE;
}
