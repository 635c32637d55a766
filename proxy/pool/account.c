/* Accounts and budgets by name; see account.h. */

#include "proxy/pool/account.h"

#include <pthread.h>
#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/mem.h"

enum {
    SAID_US = 100 * 1000,  /* a wish that was not repeated for so long is over */
    PROMISE_US = 20 * 1000 /* whoever wants a unit tries again within that time */
};

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static struct hmap accounts;
static struct hmap budgets;

static void lock(void)
{
    check(pthread_mutex_lock(&registry_lock) == 0);
}

static void unlock(void)
{
    check(pthread_mutex_unlock(&registry_lock) == 0);
}

/* ---- counters -------------------------------------------------------------------------------- */

int counter_take(_Atomic uint32_t *counter, uint32_t limit)
{
    uint32_t n = atomic_load_explicit(counter, memory_order_relaxed);
    while (limit == 0 || n < limit) {
        if (atomic_compare_exchange_weak_explicit(counter, &n, n + 1, memory_order_relaxed,
                                                  memory_order_relaxed)) {
            return 1;
        }
    }
    return 0;
}

void counter_give(_Atomic uint32_t *counter)
{
    uint32_t before = atomic_fetch_sub_explicit(counter, 1, memory_order_relaxed);
    check(before > 0);
}

void account_want(struct account *a, int64_t since_us, int64_t now_us)
{
    int64_t first = atomic_load_explicit(&a->wanted_since_us, memory_order_relaxed);
    int64_t said = atomic_load_explicit(&a->wanted_said_us, memory_order_relaxed);
    if (first == 0 || since_us <= first || now_us - said > SAID_US) {
        atomic_store_explicit(&a->wanted_since_us, since_us, memory_order_relaxed);
        atomic_store_explicit(&a->wanted_said_us, now_us, memory_order_relaxed);
    }
}

int account_wanted(const struct account *a, int64_t ours_us, int64_t now_us)
{
    int64_t first = atomic_load_explicit(&a->wanted_since_us, memory_order_relaxed);
    int64_t said = atomic_load_explicit(&a->wanted_said_us, memory_order_relaxed);
    return first != 0 && first < ours_us && now_us - said <= SAID_US;
}

int account_promise(struct account *a, int64_t now_us)
{
    int64_t last = atomic_load_explicit(&a->promised_us, memory_order_relaxed);
    return now_us - last >= PROMISE_US &&
           atomic_compare_exchange_strong_explicit(&a->promised_us, &last, now_us,
                                                   memory_order_relaxed, memory_order_relaxed);
}

void account_served(struct account *a, int64_t since_us)
{
    if (atomic_load_explicit(&a->wanted_since_us, memory_order_relaxed) == since_us) {
        (void)atomic_compare_exchange_strong_explicit(&a->wanted_since_us, &since_us, 0,
                                                      memory_order_relaxed, memory_order_relaxed);
    }
}

/* ---- accounts -------------------------------------------------------------------------------- */

static uint64_t hash_account(enum account_kind kind, const char *name)
{
    return hash_bytes(name, strlen(name), hash_process_seed() + (uint64_t)kind);
}

struct account *account_get(enum account_kind kind, const char *name)
{
    uint64_t h = hash_account(kind, name);
    lock();
    struct account *found = NULL;
    for (struct hnode *n = hmap_find(&accounts, h); n != NULL && found == NULL; n = hmap_more(n)) {
        struct account *a = container_of(n, struct account, node);
        found = a->kind == kind && strcmp(a->name, name) == 0 ? a : NULL;
    }
    if (found == NULL) {
        found = mem_zero(sizeof(*found));
        found->kind = kind;
        found->name = mem_strdup(name);
        hmap_add(&accounts, &found->node, h);
    }
    found->refs++;
    unlock();
    return found;
}

struct account *account_ref(struct account *a)
{
    lock();
    a->refs++;
    unlock();
    return a;
}

static void drop_account(struct account *a)
{
    if (a != NULL && --a->refs == 0) {
        hmap_remove(&accounts, &a->node);
        mem_free(a->name);
        mem_free(a);
    }
}

static void free_empty(struct hmap *map)
{
    if (map->count == 0) { /* nothing is left behind at the end of the process */
        hmap_free(map);
        *map = (struct hmap){0};
    }
}

void account_put(struct account *a)
{
    lock();
    drop_account(a);
    free_empty(&accounts);
    unlock();
}

void account_each(enum account_kind kind, void (*fn)(struct account *a, void *arg), void *arg)
{
    lock();
    for (struct hnode *n = hmap_each(&accounts, NULL); n != NULL; n = hmap_each(&accounts, n)) {
        struct account *a = container_of(n, struct account, node);
        if (a->kind == kind) {
            fn(a, arg);
        }
    }
    unlock();
}

/* ---- budgets --------------------------------------------------------------------------------- */

uint64_t budget_hash(const char *database, uint32_t shard, const char *user)
{
    uint64_t h = hash_bytes(database, strlen(database), hash_process_seed());
    return hash_bytes(user, strlen(user), h + shard);
}

static struct pool_budget *find_budget(const struct server_state *server, const char *database,
                                       const char *dbname, const char *user, uint32_t shard,
                                       uint64_t h)
{
    for (struct hnode *n = hmap_find(&budgets, h); n != NULL; n = hmap_more(n)) {
        struct pool_budget *b = container_of(n, struct pool_budget, node);
        if (b->server == server && b->shard == shard && strcmp(b->database, database) == 0 &&
            strcmp(b->dbname, dbname) == 0 && strcmp(b->user, user) == 0) {
            return b;
        }
    }
    return NULL;
}

struct pool_budget *budget_get(struct server_state *server, const char *database,
                               const char *dbname, const char *user, uint32_t shard, size_t workers)
{
    uint64_t h = budget_hash(database, shard, user);
    struct account *of_process = account_get(ACCOUNT_PROCESS, "");
    struct account *of_database = account_get(ACCOUNT_DATABASE, database);
    struct account *of_user = account_get(ACCOUNT_USER, user);
    lock();
    struct pool_budget *b = find_budget(server, database, dbname, user, shard, h);
    if (b != NULL) {
        drop_account(of_process);
        drop_account(of_database);
        drop_account(of_user);
    } else {
        b = mem_zero(sizeof(*b) + workers * sizeof(b->slots[0]));
        b->server = server;
        b->database = mem_strdup(database);
        b->dbname = mem_strdup(dbname);
        b->user = mem_strdup(user);
        b->shard = shard;
        b->hash = h;
        b->of_process = of_process;
        b->of_database = of_database;
        b->of_user = of_user;
        b->slots_count = workers;
        hmap_add(&budgets, &b->node, h);
    }
    b->refs++;
    unlock();
    return b;
}

struct pool_budget *budget_ref(struct pool_budget *b)
{
    lock();
    b->refs++;
    unlock();
    return b;
}

void budget_put(struct pool_budget *b)
{
    lock();
    if (--b->refs == 0) {
        hmap_remove(&budgets, &b->node);
        free_empty(&budgets);
        drop_account(b->of_process);
        drop_account(b->of_database);
        drop_account(b->of_user);
        free_empty(&accounts);
        buf_free(&b->params);
        mem_free(b->database);
        mem_free(b->dbname);
        mem_free(b->user);
        mem_free(b);
    }
    unlock();
}

void budget_learn(struct pool_budget *b, struct slice params)
{
    lock();
    b->params.n = 0;
    buf_add_slice(&b->params, params);
    unlock();
}

void budget_tell(struct pool_budget *b, struct buf *out)
{
    lock();
    buf_add_slice(out, buf_slice(&b->params));
    unlock();
}

void budget_give(struct pool_budget *b)
{
    counter_give(&b->open);
    counter_give(&b->of_process->servers);
    counter_give(&b->of_database->servers);
    counter_give(&b->of_user->servers);
}
