/* Sets, shards and errors of a worker, and their sums; see stats.h. */

#include "proxy/stats/stats.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/mem.h"

struct stats *stats_new(void)
{
    struct stats *st = mem_zero(sizeof(*st));
    st->rng = rng_seeded(1);
    return st;
}

static void free_set(struct stats_set *s)
{
    mem_free(s->database);
    mem_free(s->user);
    mem_free(s);
}

static void free_shard(struct stats_shard *s)
{
    mem_free(s->database);
    mem_free(s->shard);
    mem_free(s);
}

static void free_sets(struct stats *st)
{
    struct hnode *n;
    while ((n = hmap_each(&st->sets, NULL)) != NULL) {
        struct stats_set *s = container_of(n, struct stats_set, node);
        hmap_remove(&st->sets, n);
        free_set(s);
    }
    hmap_free(&st->sets);
}

static void free_shards(struct stats *st)
{
    struct hnode *n;
    while ((n = hmap_each(&st->shards, NULL)) != NULL) {
        struct stats_shard *s = container_of(n, struct stats_shard, node);
        hmap_remove(&st->shards, n);
        free_shard(s);
    }
    hmap_free(&st->shards);
}

void stats_free(struct stats *st)
{
    if (st == NULL) {
        return;
    }
    free_sets(st);
    free_shards(st);
    for (size_t i = 0; i < st->slots_count; i++) {
        mem_free(st->slots[i]->database);
        mem_free(st->slots[i]->text);
        mem_free(st->slots[i]);
    }
    mem_free(st->slots);
    hmap_free(&st->queries);
    mem_free(st);
}

/* ---- finding --------------------------------------------------------------------------------- */

static uint64_t hash_names(const char *a, const char *b, uint64_t more)
{
    uint64_t h = hash_bytes(a, strlen(a), hash_process_seed() + more);
    return hash_bytes(b, strlen(b), h);
}

struct stats_set *stats_set_of(struct stats *st, const char *database, const char *user)
{
    uint64_t h = hash_names(database, user, 0);
    for (struct hnode *n = hmap_find(&st->sets, h); n != NULL; n = hmap_more(n)) {
        struct stats_set *s = container_of(n, struct stats_set, node);
        if (strcmp(s->database, database) == 0 && strcmp(s->user, user) == 0) {
            return s;
        }
    }
    if (st->sets.count >= STATS_SETS_MAX - 1 && strcmp(database, "other") != 0) {
        return stats_set_of(st, "other", "other");
    }
    if (st->sets.count >= STATS_SETS_MAX) { /* a database of that name: any will do */
        return container_of(hmap_each(&st->sets, NULL), struct stats_set, node);
    }
    struct stats_set *s = mem_zero(sizeof(*s));
    s->database = mem_strdup(database);
    s->user = mem_strdup(user);
    hmap_add(&st->sets, &s->node, h);
    return s;
}

struct stats_shard *stats_shard_of(struct stats *st, const char *database, const char *shard,
                                   enum stats_role role)
{
    uint64_t h = hash_names(database, shard, (uint64_t)role);
    for (struct hnode *n = hmap_find(&st->shards, h); n != NULL; n = hmap_more(n)) {
        struct stats_shard *s = container_of(n, struct stats_shard, node);
        if (s->role == role && strcmp(s->database, database) == 0 && strcmp(s->shard, shard) == 0) {
            return s;
        }
    }
    struct stats_shard *s = mem_zero(sizeof(*s));
    s->database = mem_strdup(database);
    s->shard = mem_strdup(shard);
    s->role = role;
    hmap_add(&st->shards, &s->node, h);
    return s;
}

static void add_error(struct stats *st, const char *sqlstate, unsigned ours, uint64_t count)
{
    size_t at = (hash_bytes(sqlstate, 5, 0) + ours) % (STATS_ERRORS_MAX - 1);
    for (size_t i = 0; i < STATS_ERRORS_MAX - 1; i++) {
        struct stats_error *e = &st->errors[(at + i) % (STATS_ERRORS_MAX - 1)];
        if (e->sqlstate[0] == '\0') {
            memcpy(e->sqlstate, sqlstate, 6);
            e->ours = ours & 1U;
        }
        if (e->ours == ours && memcmp(e->sqlstate, sqlstate, 6) == 0) {
            e->count += count;
            return;
        }
    }
    struct stats_error *rest = &st->errors[STATS_ERRORS_MAX - 1];
    memcpy(rest->sqlstate, "other", 6);
    rest->count += count;
}

void stats_error(struct stats *st, struct slice sqlstate, int ours)
{
    char text[6] = "XX000";
    for (size_t i = 0; i < 5 && sqlstate.n == 5; i++) { /* a server may send anything */
        uint8_t c = sqlstate.p[i];
        int ok = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z');
        text[i] = ok ? (char)c : '?';
    }
    add_error(st, text, ours != 0, 1);
}

/* ---- sums ------------------------------------------------------------------------------------ */

static void merge_set(struct stats_set *into, const struct stats_set *from)
{
    for (size_t i = 0; i < STATS_FIGURES; i++) {
        into->v[i] += from->v[i];
    }
    hist_merge(&into->requests, &from->requests);
    hist_merge(&into->waits, &from->waits);
}

static void merge_shard(struct stats_shard *into, const struct stats_shard *from)
{
    into->errors += from->errors;
    hist_merge(&into->trips, &from->trips);
    hist_merge(&into->waits, &from->waits);
}

static void merge_query(struct stats *st, const struct stats_query *from)
{
    struct stats_query *q = stats_query_of(st, from->database, slice_of(from->text), from->tag);
    q->min_us = q->time.count == 0 || from->min_us < q->min_us ? from->min_us : q->min_us;
    q->id = from->id;
    q->errors += from->errors;
    q->rows += from->rows;
    q->bytes += from->bytes;
    q->shards |= from->shards;
    hist_merge(&q->time, &from->time);
}

static void merge_sets(struct stats *into, const struct stats *from)
{
    for (struct hnode *n = hmap_each(&from->sets, NULL); n; n = hmap_each(&from->sets, n)) {
        const struct stats_set *s = container_of(n, struct stats_set, node);
        merge_set(stats_set_of(into, s->database, s->user), s);
    }
    for (struct hnode *n = hmap_each(&from->shards, NULL); n; n = hmap_each(&from->shards, n)) {
        const struct stats_shard *s = container_of(n, struct stats_shard, node);
        merge_shard(stats_shard_of(into, s->database, s->shard, s->role), s);
    }
    for (size_t i = 0; i < STATS_ERRORS_MAX; i++) {
        if (from->errors[i].count != 0) {
            add_error(into, from->errors[i].sqlstate, from->errors[i].ours, from->errors[i].count);
        }
    }
}

void stats_merge(struct stats *into, const struct stats *from, unsigned wants)
{
    if (wants & STATS_WANT_SETS) {
        merge_sets(into, from);
    }
    if (wants & STATS_WANT_QUERIES) {
        into->queries_max = SIZE_MAX;
        into->evicted += from->evicted;
        for (size_t i = 0; i < from->slots_count; i++) {
            if (from->slots[i]->time.count != 0) {
                merge_query(into, from->slots[i]);
            }
        }
    }
}

void stats_by_database(struct stats *into, const struct stats *from)
{
    for (struct hnode *n = hmap_each(&from->sets, NULL); n; n = hmap_each(&from->sets, n)) {
        const struct stats_set *s = container_of(n, struct stats_set, node);
        merge_set(stats_set_of(into, s->database, ""), s);
    }
}

void stats_by_user(struct stats *into, const struct stats *from)
{
    for (struct hnode *n = hmap_each(&from->sets, NULL); n; n = hmap_each(&from->sets, n)) {
        const struct stats_set *s = container_of(n, struct stats_set, node);
        merge_set(stats_set_of(into, "", s->user), s);
    }
}

static int by_requests(const void *a, const void *b)
{
    uint64_t x = (*(struct stats_set *const *)a)->requests.count;
    uint64_t y = (*(struct stats_set *const *)b)->requests.count;
    return x > y ? -1 : x < y;
}

void stats_bound_sets(struct stats *st, size_t max)
{
    size_t count = 0;
    struct stats_set **sets = stats_sets_sorted(st, &count);
    if (count > max) {
        qsort(sets, count, sizeof(struct stats_set *), by_requests);
    }
    for (size_t i = max; i < count; i++) {
        struct stats_set *s = sets[i];
        struct stats_set *other =
            s->database[0] != '\0' ? stats_set_of(st, "other", "") : stats_set_of(st, "", "other");
        if (other != s) {
            merge_set(other, s);
            hmap_remove(&st->sets, &s->node);
            free_set(s);
        }
    }
    mem_free(sets);
}

static int by_trips(const void *a, const void *b)
{
    uint64_t x = (*(struct stats_shard *const *)a)->trips.count;
    uint64_t y = (*(struct stats_shard *const *)b)->trips.count;
    return x > y ? -1 : x < y;
}

void stats_bound_shards(struct stats *st, size_t max)
{
    size_t count = 0;
    struct stats_shard **shards = stats_shards_sorted(st, &count);
    if (count > max) {
        qsort(shards, count, sizeof(struct stats_shard *), by_trips);
    }
    for (size_t i = max; i < count; i++) {
        struct stats_shard *s = shards[i];
        struct stats_shard *other = stats_shard_of(st, "other", "other", s->role);
        if (other != s) {
            merge_shard(other, s);
            hmap_remove(&st->shards, &s->node);
            free_shard(s);
        }
    }
    mem_free(shards);
}

static int by_names(const void *a, const void *b)
{
    const struct stats_set *x = *(struct stats_set *const *)a;
    const struct stats_set *y = *(struct stats_set *const *)b;
    int c = strcmp(x->database, y->database);
    return c != 0 ? c : strcmp(x->user, y->user);
}

struct stats_set **stats_sets_sorted(const struct stats *st, size_t *count)
{
    struct stats_set **out = mem_alloc((st->sets.count + 1) * sizeof(struct stats_set *));
    *count = 0;
    for (struct hnode *n = hmap_each(&st->sets, NULL); n != NULL; n = hmap_each(&st->sets, n)) {
        out[(*count)++] = container_of(n, struct stats_set, node);
    }
    qsort(out, *count, sizeof(struct stats_set *), by_names);
    return out;
}

static int by_shard(const void *a, const void *b)
{
    const struct stats_shard *x = *(struct stats_shard *const *)a;
    const struct stats_shard *y = *(struct stats_shard *const *)b;
    int c = strcmp(x->database, y->database);
    c = c != 0 ? c : strcmp(x->shard, y->shard);
    return c != 0 ? c : (int)x->role - (int)y->role;
}

struct stats_shard **stats_shards_sorted(const struct stats *st, size_t *count)
{
    struct stats_shard **out = mem_alloc((st->shards.count + 1) * sizeof(struct stats_shard *));
    *count = 0;
    for (struct hnode *n = hmap_each(&st->shards, NULL); n != NULL; n = hmap_each(&st->shards, n)) {
        out[(*count)++] = container_of(n, struct stats_shard, node);
    }
    qsort(out, *count, sizeof(struct stats_shard *), by_shard);
    return out;
}

const char *stats_role_name(enum stats_role role)
{
    static const char *const names[] = {"primary", "replica"};
    check(role < STATS_ROLES);
    return names[role];
}
