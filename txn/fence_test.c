/*
 * Goal: the promises of fence.h. Method: the paths a reader would think of first by hand; then
 * random orders of everything that may happen, from seeds, with what must hold looked at after each
 * step (FENCE_RUNS=n, FENCE_SEED=n); then threads, for the thread sanitizer and for what only
 * happens between two instructions.
 */

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <criterion/criterion.h>

#include "base/check.h"
#include "base/rng.h"
#include "txn/fence.h"

/* ---- by hand ----------------------------------------------------------------------------------
 */

struct waiter {
    struct fence_wait wait;
    _Atomic int granted;
};

static void on_granted(struct fence_wait *w)
{
    struct waiter *waiter = container_of(w, struct waiter, wait);
    atomic_fetch_add(&waiter->granted, 1);
}

static struct waiter waiter(void)
{
    return (struct waiter){.wait = {.granted = on_granted}};
}

Test(fence, commits_do_not_wait_for_each_other)
{
    struct fence *f = fence_new();
    struct fence_stats stats;
    cr_assert_eq(fence_commit_try(f), 1);
    cr_assert_eq(fence_commit_try(f), 1);
    fence_stats(f, &stats);
    cr_expect_eq(stats.visible, 2);
    cr_expect_eq(stats.phase, FENCE_OPEN);
    fence_commit_end(f, NULL);
    fence_commit_end(f, NULL);
    fence_free(f);
}

Test(fence, a_read_has_its_gap_when_the_last_visible_commit_has_ended)
{
    struct fence *f = fence_new();
    struct waiter read = waiter();
    cr_assert_eq(fence_commit_try(f), 1);
    cr_assert_eq(fence_commit_try(f), 1);
    cr_assert_eq(fence_read_begin(f, &read.wait), 0);
    fence_commit_end(f, NULL);
    cr_expect_eq(read.granted, 0);
    fence_commit_end(f, NULL);
    cr_expect_eq(read.granted, 1);
    fence_read_end(f);
    fence_free(f);
}

Test(fence, a_commit_waits_for_the_end_of_the_gap)
{
    struct fence *f = fence_new();
    struct waiter read = waiter();
    struct waiter one = waiter();
    struct waiter two = waiter();
    cr_assert_eq(fence_read_begin(f, &read.wait), 1);
    cr_assert_eq(fence_commit_try(f), 0);
    cr_assert_eq(fence_commit_begin(f, &one.wait), 0);
    cr_assert_eq(fence_commit_begin(f, &two.wait), 0);
    fence_read_end(f);
    cr_expect_eq(one.granted, 1);
    cr_expect_eq(two.granted, 1);
    cr_expect_eq(fence_commit_try(f), 1, "the fence is open again");
    fence_commit_end(f, NULL);
    fence_commit_end(f, NULL);
    fence_commit_end(f, NULL);
    fence_free(f);
}

Test(fence, reads_share_a_gap_until_a_commit_waits)
{
    struct fence *f = fence_new();
    struct waiter reads[3] = {waiter(), waiter(), waiter()};
    struct waiter commit = waiter();
    cr_assert_eq(fence_read_begin(f, &reads[0].wait), 1);
    cr_assert_eq(fence_read_begin(f, &reads[1].wait), 1);
    cr_assert_eq(fence_commit_begin(f, &commit.wait), 0);
    cr_assert_eq(fence_read_begin(f, &reads[2].wait), 0, "the commit was first");
    fence_read_end(f);
    cr_expect_eq(commit.granted, 0);
    fence_read_end(f);
    cr_expect_eq(commit.granted, 1);
    cr_expect_eq(reads[2].granted, 0);
    cr_expect_eq(fence_commit_try(f), 0, "now it is the read's turn");
    fence_commit_end(f, NULL);
    cr_expect_eq(reads[2].granted, 1);
    fence_read_end(f);
    fence_free(f);
}

Test(fence, a_read_that_gives_up_opens_the_fence)
{
    struct fence *f = fence_new();
    struct waiter read = waiter();
    struct waiter commit = waiter();
    cr_assert_eq(fence_commit_try(f), 1);
    cr_assert_eq(fence_read_begin(f, &read.wait), 0);
    cr_assert_eq(fence_commit_begin(f, &commit.wait), 0);
    cr_expect_eq(fence_read_withdraw(f, &read.wait), 1);
    cr_expect_eq(commit.granted, 1);
    cr_expect_eq(read.granted, 0);
    fence_commit_end(f, NULL);
    fence_commit_end(f, NULL);
    fence_free(f);
}

Test(fence, a_read_that_gives_up_too_late_has_a_gap_to_end)
{
    struct fence *f = fence_new();
    struct waiter read = waiter();
    cr_assert_eq(fence_commit_try(f), 1);
    cr_assert_eq(fence_read_begin(f, &read.wait), 0);
    fence_commit_end(f, NULL);
    cr_expect_eq(fence_read_withdraw(f, &read.wait), 0);
    fence_read_end(f);
    cr_expect_eq(fence_commit_try(f), 1);
    fence_commit_end(f, NULL);
    fence_free(f);
}

Test(fence, nobody_waits_for_a_commit_that_was_put_aside_but_its_shards_are_torn)
{
    struct fence *f = fence_new();
    struct waiter read = waiter();
    struct fence_aside aside = {.shards = 1 << 1 | 1 << 4};
    cr_assert_eq(fence_commit_try(f), 1);
    cr_assert_eq(fence_read_begin(f, &read.wait), 0);
    fence_commit_aside(f, &aside);
    cr_expect_eq(read.granted, 1);
    cr_expect_eq(fence_torn(f, 1 << 1 | 1 << 4), 1);
    cr_expect_eq(fence_torn(f, 1 << 0 | 1 << 1 | 1 << 2 | 1 << 4), 1);
    cr_expect_eq(fence_torn(f, 1 << 0 | 1 << 1), 0, "one of its shards shows it or does not");
    fence_read_end(f);
    fence_commit_end(f, &aside);
    cr_expect_eq(fence_torn(f, 1 << 1 | 1 << 4), 0);
    fence_free(f);
}

/* ---- every order, from seeds ------------------------------------------------------------------
 */

enum {
    ACTORS = 9,
    STEPS = 3000
};

enum doing {
    RESTS,
    WAITS,  /* in the fence's queue */
    INSIDE, /* visible, or in a gap */
    ASIDE
};

struct actor {
    struct fence_wait wait;
    int reads; /* else it commits */
    enum doing doing;
    struct fence_aside aside;
    unsigned ends_seen; /* of the other kind's phases since it waits */
};

struct play {
    struct fence *fence;
    struct rng rng;
    struct actor actors[ACTORS];
    unsigned phases; /* times that a kind has left the stage */
};

static void play_granted(struct fence_wait *w)
{
    struct actor *a = container_of(w, struct actor, wait);
    check(a->doing == WAITS);
    a->doing = INSIDE;
    a->ends_seen = 0;
}

static size_t count(const struct play *p, int reads, enum doing doing)
{
    size_t n = 0;
    for (size_t i = 0; i < ACTORS; i++) {
        n += p->actors[i].reads == reads && p->actors[i].doing == doing;
    }
    return n;
}

static void begin(struct play *p, struct actor *a)
{
    a->doing = WAITS; /* it may be granted at once, by nobody else here */
    int goes = a->reads ? fence_read_begin(p->fence, &a->wait)
                        : fence_commit_try(p->fence) || fence_commit_begin(p->fence, &a->wait);
    a->doing = goes ? INSIDE : WAITS;
    a->ends_seen = 0;
}

/* Who waited while the other kind left the stage must have gone on then. */
static void see_end(struct play *p, int reads)
{
    if (count(p, reads, INSIDE) != 0) {
        return;
    }
    for (size_t i = 0; i < ACTORS; i++) {
        struct actor *a = &p->actors[i];
        if (a->reads != reads && a->doing == WAITS) {
            a->ends_seen++;
        }
    }
}

static void end(struct play *p, struct actor *a)
{
    enum doing was = a->doing;
    a->doing = RESTS;
    if (a->reads) {
        fence_read_end(p->fence);
    } else {
        fence_commit_end(p->fence, was == ASIDE ? &a->aside : NULL);
    }
    if (was == INSIDE) {
        see_end(p, a->reads);
    }
}

static void one_step(struct play *p)
{
    struct actor *a = &p->actors[rng_below(&p->rng, ACTORS)];
    switch (a->doing) {
    case RESTS: begin(p, a); break;
    case WAITS:
        if (a->reads && rng_below(&p->rng, 8) == 0) {
            check(fence_read_withdraw(p->fence, &a->wait) == 1);
            a->doing = RESTS;
        }
        break;
    case INSIDE:
        if (!a->reads && rng_below(&p->rng, 8) == 0) {
            a->doing = ASIDE;
            a->aside.shards = 3;
            fence_commit_aside(p->fence, &a->aside);
            see_end(p, 0);
        } else {
            end(p, a);
        }
        break;
    case ASIDE: end(p, a); break;
    }
}

static void judge(struct play *p)
{
    struct fence_stats stats;
    fence_stats(p->fence, &stats);
    size_t visible = count(p, 0, INSIDE);
    size_t reads = count(p, 1, INSIDE);
    check(visible == 0 || reads == 0); /* the promise */
    check(stats.visible == visible && stats.reads == reads);
    check(stats.commits_waiting == count(p, 0, WAITS));
    check(stats.reads_waiting == count(p, 1, WAITS));
    check(fence_torn(p->fence, 3) == (count(p, 0, ASIDE) != 0));
    check(visible + reads != 0 || stats.commits_waiting + stats.reads_waiting == 0);
    for (size_t i = 0; i < ACTORS; i++) {
        check(p->actors[i].ends_seen <= 1); /* nobody starves */
    }
}

static void play(uint64_t seed)
{
    struct play p = {.fence = fence_new(), .rng = rng_seeded(seed)};
    for (size_t i = 0; i < ACTORS; i++) {
        p.actors[i] = (struct actor){.wait = {.granted = play_granted}, .reads = i % 3 == 0};
    }
    for (int i = 0; i < STEPS; i++) {
        one_step(&p);
        judge(&p);
    }
    for (size_t left = 1; left != 0;) {
        left = 0;
        for (size_t i = 0; i < ACTORS; i++) {
            if (p.actors[i].doing == INSIDE || p.actors[i].doing == ASIDE) {
                end(&p, &p.actors[i]);
            }
            left += p.actors[i].doing != RESTS;
        }
    }
    fence_free(p.fence);
}

static uint64_t from_env(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text == NULL ? otherwise : strtoull(text, NULL, 10);
}

Test(fence, keeps_its_promises_in_random_orders)
{
    uint64_t first = from_env("FENCE_SEED", 1);
    uint64_t runs = from_env("FENCE_RUNS", 200);
    for (uint64_t seed = first; seed < first + runs; seed++) {
        play(seed);
    }
}

/* ---- threads ----------------------------------------------------------------------------------
 */

enum {
    THREADS = 6,
    TURNS = 4000
};

/* Two words that a commit changes one after the other: shards. */
struct stage {
    struct fence *fence;
    pthread_mutex_t mutex; /* of the two, as a server's */
    uint64_t left, right;
    _Atomic uint64_t torn, commits, gaps;
};

struct player {
    struct stage *stage;
    uint64_t seed;
    int reads;
};

static void await(struct waiter *w)
{
    while (atomic_load(&w->granted) == 0) {
        (void)sched_yield();
    }
}

static void change(struct stage *s, uint64_t *word)
{
    (void)pthread_mutex_lock(&s->mutex);
    (*word)++;
    (void)pthread_mutex_unlock(&s->mutex);
}

static uint64_t look(struct stage *s, const uint64_t *word)
{
    (void)pthread_mutex_lock(&s->mutex);
    uint64_t value = *word;
    (void)pthread_mutex_unlock(&s->mutex);
    return value;
}

static void commit_once(struct stage *s, struct rng *rng)
{
    struct waiter w = waiter();
    if (!fence_commit_try(s->fence) && !fence_commit_begin(s->fence, &w.wait)) {
        await(&w);
    }
    change(s, &s->left);
    if (rng_below(rng, 4) == 0) {
        (void)sched_yield();
    }
    change(s, &s->right);
    atomic_fetch_add(&s->commits, 1);
    fence_commit_end(s->fence, NULL);
}

static void read_once(struct stage *s, struct rng *rng)
{
    struct waiter w = waiter();
    if (!fence_read_begin(s->fence, &w.wait)) {
        if (rng_below(rng, 3) == 0 && fence_read_withdraw(s->fence, &w.wait)) {
            return;
        }
        await(&w);
    }
    uint64_t left = look(s, &s->left);
    if (rng_below(rng, 4) == 0) {
        (void)sched_yield();
    }
    atomic_fetch_add(&s->torn, left != look(s, &s->right));
    atomic_fetch_add(&s->gaps, 1);
    fence_read_end(s->fence);
}

static void *perform(void *arg)
{
    struct player *p = arg;
    struct rng rng = rng_seeded(p->seed);
    for (int i = 0; i < TURNS; i++) {
        if (p->reads) {
            read_once(p->stage, &rng);
        } else {
            commit_once(p->stage, &rng);
        }
    }
    return NULL;
}

Test(fence, no_read_of_any_thread_is_torn)
{
    struct stage stage = {.fence = fence_new()};
    struct player players[THREADS];
    pthread_t threads[THREADS];
    (void)pthread_mutex_init(&stage.mutex, NULL);
    for (size_t i = 0; i < THREADS; i++) {
        players[i] = (struct player){.stage = &stage, .seed = i + 1, .reads = i % 2 == 0};
        cr_assert_eq(pthread_create(&threads[i], NULL, perform, &players[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    }
    cr_expect_eq(stage.torn, 0);
    cr_expect_eq(stage.commits, (uint64_t)TURNS * THREADS / 2);
    cr_expect_gt(stage.gaps, 0);
    fence_free(stage.fence);
    (void)pthread_mutex_destroy(&stage.mutex);
}
