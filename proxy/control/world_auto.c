/*
 * Databases that nobody configured: with a database "*", any other name is one, too.
 *
 *     world --> autos --> [bucket] -> (db, its row, its map) -> ...
 *
 * An entry is made when its name is asked for the first time, by whichever thread asks, and lives
 * as long as its world: a list only grows at its head, by compare and swap, so nobody ever waits.
 * Names come from clients that have not logged in yet: there is a limit, and the control thread
 * publishes a new world, which begins without entries, when there are many or when they are old.
 */

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "proxy/control/world.h"

enum {
    AUTO_BUCKETS = 256,
    AUTOS_MAX = 10000,
    AUTOS_MANY = AUTOS_MAX / 2,
    NAME_MAX_BYTES = 63
};

struct world_auto {
    struct world_auto *next;
    struct world_db db;
    struct conf_database row;
    char *name;
};

struct world_autos {
    struct world_db like; /* of "*": servers, row */
    _Atomic uint32_t count;
    _Atomic(struct world_auto *) buckets[AUTO_BUCKETS];
};

struct world_autos *world_autos_new(const struct world_db *like)
{
    struct world_autos *autos = mem_zero(sizeof(*autos));
    autos->like = *like;
    return autos;
}

static void free_auto(struct world_auto *one)
{
    map_unref(one->db.map);
    mem_free(one->name);
    mem_free(one);
}

void world_autos_free(struct world_autos *autos)
{
    for (size_t i = 0; autos != NULL && i < AUTO_BUCKETS; i++) {
        struct world_auto *next = NULL;
        for (struct world_auto *one = atomic_load(&autos->buckets[i]); one != NULL; one = next) {
            next = one->next;
            free_auto(one);
        }
    }
    mem_free(autos);
}

void world_each_auto(const struct world *w, void (*fn)(void *arg, const struct world_db *db),
                     void *arg)
{
    for (size_t i = 0; w->autos != NULL && i < AUTO_BUCKETS; i++) {
        const struct world_auto *one = atomic_load(&w->autos->buckets[i]);
        for (; one != NULL; one = one->next) {
            fn(arg, &one->db);
        }
    }
}

int world_autos_many(const struct world *w)
{
    return w->autos != NULL && atomic_load(&w->autos->count) > AUTOS_MANY;
}

int world_autos_any(const struct world *w)
{
    return w->autos != NULL && atomic_load(&w->autos->count) > 0;
}

/* What a database of the configuration could be called, too. */
static int is_name(struct slice name)
{
    int good = name.n > 0 && name.n <= NAME_MAX_BYTES && !slice_is(name, "pgbraid") &&
               !slice_is(name, "pgbouncer");
    for (size_t i = 0; good && i < name.n; i++) {
        good = name.p[i] >= 0x20 && name.p[i] != 0x7F;
    }
    return good;
}

static const struct world_db *find(struct world_auto *from, struct slice name)
{
    for (const struct world_auto *one = from; one != NULL; one = one->next) {
        if (slice_is(name, one->name)) {
            return &one->db;
        }
    }
    return NULL;
}

static struct world_auto *new_auto(const struct world_autos *autos, struct slice name)
{
    struct world_auto *one = mem_zero(sizeof(*one));
    struct note note;
    one->name = mem_alloc(name.n + 1);
    (void)snprintf(one->name, name.n + 1, SLICE_FMT, SLICE_ARG(name));
    one->row = *autos->like.conf;
    one->row.dbname = strcmp(one->row.dbname, one->row.name) == 0 ? one->name : one->row.dbname;
    one->row.name = one->name;
    one->db = autos->like;
    one->db.conf = &one->row;
    one->db.ready = 1; /* one server, no catalog */
    enum err e = map_build(&one->row, NULL, 0, 1, &one->db.map, &note);
    check(e == ERR_NONE); /* as it was for "*" */
    return one;
}

const struct world_db *world_find_auto(const struct world *w, struct slice name)
{
    struct world_autos *autos = w->autos;
    if (autos == NULL || !is_name(name)) {
        return NULL;
    }
    _Atomic(struct world_auto *) *bucket =
        &autos->buckets[hash_bytes(name.p, name.n, hash_process_seed()) % AUTO_BUCKETS];
    struct world_auto *head = atomic_load_explicit(bucket, memory_order_acquire);
    const struct world_db *found = find(head, name);
    if (found != NULL || atomic_load(&autos->count) >= AUTOS_MAX) {
        return found;
    }
    struct world_auto *mine = new_auto(autos, name);
    do {
        mine->next = head;
        found = find(head, name);
        if (found != NULL) { /* somebody else was faster */
            free_auto(mine);
            return found;
        }
    } while (!atomic_compare_exchange_weak_explicit(bucket, &head, mine, memory_order_acq_rel,
                                                    memory_order_acquire));
    atomic_fetch_add(&autos->count, 1);
    return &mine->db;
}
