/*
 * Goal: what the writer takes for unread is read by nobody, and a reader's root is that of its
 * change. Method: readers come and go as fast as they can, by slots and by the list, while a writer
 * publishes changes and says after each which are not read any more.
 */

#include <pthread.h>
#include <stdatomic.h>

#include <criterion/criterion.h>

#include "base/clock.h"
#include "store/btree/readers.h"

enum {
    READERS = 4,
    MS = 700
};

static struct readers readers;
static _Atomic uint64_t unread; /* nobody reads this change or one before */
static _Atomic int is_over;

static struct view view_of(uint64_t change)
{
    return (struct view){change, (uint32_t)change, (uint32_t)(change % 20)};
}

static void expect_readable(const struct view *view)
{
    cr_assert_gt(view->change, atomic_load(&unread));
    cr_assert_eq(view->root, view_of(view->change).root);
    cr_assert_eq(view->height, view_of(view->change).height);
}

static void *read_by_slots(void *arg)
{
    while (!atomic_load(&is_over)) {
        struct held held;
        struct view view;
        int slot = readers_enter(&readers, &view, &held);
        expect_readable(&view);
        readers_leave(&readers, slot, &held, 1);
    }
    return arg;
}

static void *read_by_list(void *arg)
{
    while (!atomic_load(&is_over)) {
        struct held held;
        struct held same;
        readers_hold(&readers, &held);
        expect_readable(&held.view);
        readers_hold_same(&readers, &same, &held);
        readers_release(&readers, &held);
        expect_readable(&same.view);
        readers_release(&readers, &same);
    }
    return arg;
}

Test(btree_readers, what_is_called_unread_is_read_by_nobody)
{
    pthread_t threads[READERS];
    struct view first = view_of(1);
    readers_init(&readers, &first);
    for (int i = 0; i < READERS; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, i == 0 ? read_by_list : read_by_slots, NULL),
                     0);
    }
    int64_t until = clock_now_us() + MS * 1000LL;
    for (uint64_t change = 2; change % 64 != 0 || clock_now_us() < until; change++) {
        struct view view = view_of(change);
        struct readers_seen seen;
        readers_publish(&readers, &view);
        readers_look(&readers, &seen);
        uint64_t oldest = seen.count > 0 ? seen.changes[0] : change;
        atomic_store(&unread, oldest - 1);
    }
    atomic_store(&is_over, 1);
    for (int i = 0; i < READERS; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    readers_free(&readers);
}
