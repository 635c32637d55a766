/*
 * The crew: a few threads that compute for the loops. Each has a loop of its own whose only guest
 * is a mailbox; a task goes there as mail and comes home as mail, so nothing here needs a lock.
 *
 * A task is given to the thread with the fewest waiting. The threads are nicer than the workers:
 * a burst of logins must not delay those who are logged in.
 */

#include <pthread.h>
#include <sys/resource.h>

#include "base/check.h"
#include "net/inside.h"

enum {
    CREW_MAX = 64,
    CREW_NICE = 5
};

/* Owner: crew_start() to crew_stop(). */
struct hand {
    pthread_t thread;
    struct loop *loop;
    struct mailbox *mail;
    _Atomic unsigned waiting;
};

static struct hand hands[CREW_MAX];
static size_t hands_count;
static _Atomic unsigned next_hand; /* where a search begins */

/* ---- a thread of the crew -------------------------------------------------------------------- */

static void on_task(struct mail *mail, void *arg)
{
    struct hand *hand = arg;
    struct task *task = (struct task *)(void *)mail;
    task->_work(task);
    atomic_fetch_sub_explicit(&hand->waiting, 1, memory_order_relaxed);
    mailbox_send(task->_home->homecoming, &task->_mail);
}

static void *run(void *arg)
{
    struct hand *hand = arg;
    (void)setpriority(PRIO_PROCESS, 0, CREW_NICE); /* on Linux of this thread alone */
    loop_run(hand->loop);
    return NULL;
}

void crew_start(size_t threads)
{
    check(hands_count == 0 && threads <= CREW_MAX);
    for (size_t i = 0; i < threads; i++) {
        hands[i].loop = loop_new();
        hands[i].mail = mailbox_new(hands[i].loop, on_task, &hands[i]);
        check(pthread_create(&hands[i].thread, NULL, run, &hands[i]) == 0);
    }
    hands_count = threads;
}

void crew_stop(void)
{
    for (size_t i = 0; i < hands_count; i++) {
        loop_stop(hands[i].loop);
        (void)pthread_join(hands[i].thread, NULL);
        mailbox_free(hands[i].mail);
        loop_free(hands[i].loop);
        hands[i] = (struct hand){0};
    }
    hands_count = 0;
}

size_t crew_size(void)
{
    return hands_count;
}

/* ---- giving and taking ----------------------------------------------------------------------- */

static void on_home(struct mail *mail, void *arg)
{
    struct loop *loop = arg;
    struct task *task = (struct task *)(void *)mail;
    loop->away--;
    task->_done(task);
}

static struct hand *least_busy(void)
{
    size_t at = atomic_fetch_add_explicit(&next_hand, 1, memory_order_relaxed);
    struct hand *best = &hands[at % hands_count];
    for (size_t i = 1; i < hands_count; i++) {
        struct hand *hand = &hands[(at + i) % hands_count];
        if (atomic_load_explicit(&hand->waiting, memory_order_relaxed) <
            atomic_load_explicit(&best->waiting, memory_order_relaxed)) {
            best = hand;
        }
    }
    return best;
}

void crew_run(struct loop *home, struct task *task, void (*work)(struct task *task),
              void (*done)(struct task *task))
{
    if (home->homecoming == NULL) {
        home->homecoming = mailbox_new(home, on_home, home);
    }
    task->_work = work;
    task->_done = done;
    task->_home = home;
    home->away++;
    if (hands_count == 0) {
        work(task);
        mailbox_send(home->homecoming, &task->_mail);
        return;
    }
    struct hand *hand = least_busy();
    atomic_fetch_add_explicit(&hand->waiting, 1, memory_order_relaxed);
    mailbox_send(hand->mail, &task->_mail);
}

void crew_come_home(struct loop *loop)
{
    while (loop->away != 0) {
        watches_wait(loop, 0);
    }
    mailbox_free(loop->homecoming);
    loop->homecoming = NULL;
}
