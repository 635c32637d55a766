/*
 * The crew. Goal: every task is worked on once, elsewhere, and comes home to its own loop. Method:
 * two loops on threads of their own give tasks to a crew of three.
 */

#include <pthread.h>

#include <criterion/criterion.h>

#include "net/net.h"

enum {
    TASKS = 200
};

struct counted {
    struct task task; /* first */
    struct homes *home;
    pthread_t worked_on;
    int worked, came;
};

struct homes {
    struct loop *loop;
    pthread_t thread;
    struct counted tasks[TASKS];
    int came;
    int wrong_thread;
};

static void work(struct task *task)
{
    struct counted *c = (struct counted *)(void *)task;
    c->worked++;
    c->worked_on = pthread_self();
}

static void done(struct task *task)
{
    struct counted *c = (struct counted *)(void *)task;
    c->came++;
    c->home->wrong_thread |= !pthread_equal(pthread_self(), c->home->thread);
    if (++c->home->came == TASKS) {
        loop_stop(c->home->loop);
    }
}

static void *live(void *arg)
{
    struct homes *home = arg;
    home->thread = pthread_self();
    for (int i = 0; i < TASKS; i++) {
        home->tasks[i].home = home;
        crew_run(home->loop, &home->tasks[i].task, work, done);
    }
    loop_run(home->loop);
    return NULL;
}

static void expect_all_home(struct homes *home, int elsewhere)
{
    cr_expect_eq(home->came, TASKS);
    cr_expect(!home->wrong_thread);
    for (int i = 0; i < TASKS; i++) {
        cr_expect_eq(home->tasks[i].worked, 1);
        cr_expect_eq(home->tasks[i].came, 1);
        cr_expect_eq(!pthread_equal(home->tasks[i].worked_on, home->thread), elsewhere);
    }
}

Test(crew, every_task_is_done_elsewhere_and_comes_home)
{
    static struct homes homes[2];
    pthread_t threads[2];
    crew_start(3);
    cr_expect_eq(crew_size(), 3);
    for (int i = 0; i < 2; i++) {
        homes[i].loop = loop_new();
        cr_assert_eq(pthread_create(&threads[i], NULL, live, &homes[i]), 0);
    }
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
        loop_free(homes[i].loop);
    }
    crew_stop();
    expect_all_home(&homes[0], 1);
    expect_all_home(&homes[1], 1);
}

Test(crew, without_threads_the_caller_computes)
{
    static struct homes home;
    home.loop = loop_new();
    (void)live(&home);
    loop_free(home.loop);
    expect_all_home(&home, 0);
}

Test(crew, a_loop_that_is_freed_waits_for_its_tasks)
{
    static struct homes home;
    crew_start(1);
    home.loop = loop_new();
    home.thread = pthread_self();
    for (int i = 0; i < TASKS; i++) {
        home.tasks[i].home = &home;
        crew_run(home.loop, &home.tasks[i].task, work, done);
    }
    loop_free(home.loop);
    crew_stop();
    expect_all_home(&home, 1);
}
