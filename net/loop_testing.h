#ifndef NET_LOOP_TESTING_H
#define NET_LOOP_TESTING_H

/* A loop for tests: what should happen stops it, or, when that never does, a timer. */

#include <arpa/inet.h>
#include <fcntl.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "net/net.h"

static struct loop *loop;
static struct timer limit;
static int timed_out;

static void on_limit(void *arg)
{
    (void)arg;
    timed_out = 1;
    loop_stop(loop);
}

static inline void loop_begin(int64_t limit_us)
{
    loop = loop_new();
    timer_init(&limit, loop, on_limit, NULL);
    timer_set(&limit, limit_us);
    timed_out = 0;
}

static inline void loop_end(void)
{
    timer_free(&limit);
    loop_free(loop);
    cr_expect(!timed_out);
}

/* For a TestSuite. */
static inline void loop_setup(void)
{
    loop_begin(10 * 1000 * 1000);
}

static inline void on_turn(void *arg)
{
    (void)arg;
    loop_stop(loop);
}

/* A few turns, so that whatever is going to happen happens. */
static inline void run_a_while(int us)
{
    struct timer t;
    timer_init(&t, loop, on_turn, NULL);
    timer_set(&t, us);
    loop_run(loop);
    timer_free(&t);
}

/* Two ends of a connection over TCP. */
static inline void tcp_pair(int fds[2])
{
    int l = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t n = sizeof(at);
    cr_assert_eq(bind(l, (struct sockaddr *)&at, n), 0);
    cr_assert_eq(listen(l, 1), 0);
    cr_assert_eq(getsockname(l, (struct sockaddr *)&at, &n), 0);
    fds[1] = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(connect(fds[1], (struct sockaddr *)&at, n), 0);
    fds[0] = accept(l, NULL, NULL);
    (void)close(l);
    cr_assert_eq(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    cr_assert_eq(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
}

#endif
