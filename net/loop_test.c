/*
 * Loops, timers, deferred functions, mailboxes and addresses. Method: a loop of our own per test,
 * stopped by what should happen.
 */

#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "base/clock.h"
#include "net/loop_testing.h"

TestSuite(loop, .init = loop_setup, .fini = loop_end);

/* ---- timers ---------------------------------------------------------------------------------- */

static char order[64];
static struct timer timers[4];
static char letter_a[] = "a";
static char letter_b[] = "b";
static char letter_z[] = "z";

static void on_letter(void *arg)
{
    strcat(order, arg);
    if (strcmp(arg, "z") == 0) {
        loop_stop(loop);
    }
}

Test(loop, timers_fire_in_the_order_of_their_deadlines_not_of_their_setting)
{
    char names[][2] = {"c", "a", "z", "b"};
    int64_t after[] = {3000, 1000, 9000, 2000};
    for (int i = 0; i < 4; i++) {
        timer_init(&timers[i], loop, on_letter, names[i]);
        timer_set(&timers[i], after[i]);
    }
    int64_t began = clock_now_us();
    loop_run(loop);
    cr_expect(clock_now_us() - began >= 9000 - 1000);
    cr_expect_str_eq(order, "abcz");
    for (int i = 0; i < 4; i++) {
        cr_expect_eq(timers[i].deadline_us, 0);
        timer_free(&timers[i]);
    }
}

Test(loop, a_timer_moved_later_or_earlier_or_cancelled_fires_when_it_was_last_told)
{
    char names[][2] = {"l", "e", "x", "z"};
    for (int i = 0; i < 4; i++) {
        timer_init(&timers[i], loop, on_letter, names[i]);
        timer_set(&timers[i], 3000);
    }
    timer_set(&timers[0], 8000);
    timer_set(&timers[1], 9000);
    timer_set(&timers[1], 5000);
    timer_cancel(&timers[2]);
    timer_set(&timers[3], 12000);
    loop_run(loop);
    cr_expect_str_eq(order, "elz");
    timer_set(&timers[2], 100); /* a cancelled timer can be set again */
    timer_set(&timers[3], 200);
    order[0] = '\0';
    loop_run(loop);
    cr_expect_str_eq(order, "xz");
    for (int i = 0; i < 4; i++) {
        timer_free(&timers[i]);
    }
}

static void on_free_the_other(void *arg)
{
    timer_free(&timers[1]);
    on_letter(arg);
}

Test(loop, a_timer_freed_by_another_in_the_same_turn_does_not_fire)
{
    timer_init(&timers[0], loop, on_free_the_other, letter_a);
    timer_init(&timers[1], loop, on_letter, letter_b);
    timer_init(&timers[2], loop, on_letter, letter_z);
    timer_set(&timers[0], 1000);
    timer_set(&timers[1], 1001);
    timer_set(&timers[2], 3000);
    usleep(2000); /* both are due when the loop looks */
    loop_run(loop);
    cr_expect_str_eq(order, "az");
    timer_free(&timers[0]);
    timer_free(&timers[2]);
}

Test(loop, many_timers_keep_their_order)
{
    enum {
        MANY = 500
    };
    static struct timer many[MANY];
    static char none[] = "";
    for (int i = 0; i < MANY; i++) {
        timer_init(&many[i], loop, on_letter, none);
        timer_set(&many[i], 1 + (i * 7919) % 5000);
    }
    for (int i = 0; i < MANY; i += 3) {
        timer_free(&many[i]);
    }
    timer_init(&timers[0], loop, on_letter, letter_z);
    timer_set(&timers[0], 6000);
    loop_run(loop);
    for (int i = 0; i < MANY; i++) {
        cr_expect(i % 3 == 0 || many[i].deadline_us == 0);
        timer_free(&many[i]);
    }
    timer_free(&timers[0]);
}

/* ---- deferred -------------------------------------------------------------------------------- */

static struct loop_deferred deferred;
static int deferred_runs;

static void on_deferred(void *arg)
{
    (void)arg;
    if (++deferred_runs == 3) {
        loop_stop(loop);
        return;
    }
    loop_defer(loop, &deferred, on_deferred, NULL);
}

Test(loop, a_deferred_function_runs_once_per_asking_and_may_ask_again)
{
    loop_defer(loop, &deferred, on_deferred, NULL);
    loop_defer(loop, &deferred, on_deferred, NULL);
    loop_run(loop);
    cr_expect_eq(deferred_runs, 3);
}

static void on_stop(void *arg)
{
    (void)arg;
    loop_stop(loop);
}

Test(loop, a_cancelled_deferred_function_does_not_run)
{
    struct loop_deferred stop = {0};
    loop_defer(loop, &deferred, on_deferred, NULL);
    loop_defer_cancel(&deferred);
    loop_defer(loop, &stop, on_stop, NULL);
    loop_run(loop);
    cr_expect_eq(deferred_runs, 0);
}

/* ---- signals --------------------------------------------------------------------------------- */

static int signals_seen;

static void on_signal(int signum, void *arg)
{
    (void)arg;
    signals_seen += signum == SIGUSR1;
    loop_stop(loop);
}

Test(loop, a_signal_reaches_its_function)
{
    struct loop_signal *s = loop_signal_new(loop, SIGUSR1, on_signal, NULL);
    cr_assert_eq(raise(SIGUSR1), 0);
    loop_run(loop);
    cr_expect_eq(signals_seen, 1);
    loop_signal_free(s);
}

/* ---- mailbox --------------------------------------------------------------------------------- */

enum {
    SENDERS = 4,
    MAILS = 5000
};

struct number {
    struct mail mail;
    int sender;
    int v;
};

static struct number numbers[SENDERS][MAILS];
static int next_of[SENDERS];
static int out_of_order;
static int received;
static struct mailbox *box;

static void on_number(struct mail *mail, void *arg)
{
    (void)arg;
    struct number *n = (struct number *)mail;
    out_of_order += n->v != next_of[n->sender]++;
    if (++received == SENDERS * MAILS) {
        loop_stop(loop);
    }
}

static void *send_numbers(void *arg)
{
    struct number *mine = arg;
    for (int i = 0; i < MAILS; i++) {
        mine[i].sender = (int)(mine - numbers[0]) / MAILS;
        mine[i].v = i;
        mailbox_send(box, &mine[i].mail);
    }
    return NULL;
}

Test(loop, mail_from_several_threads_arrives_completely_and_in_order_per_sender)
{
    box = mailbox_new(loop, on_number, NULL);
    pthread_t threads[SENDERS];
    for (int i = 0; i < SENDERS; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, send_numbers, numbers[i]), 0);
    }
    loop_run(loop);
    mailbox_free(box); /* also right behind the last message, while its sender still returns */
    for (int i = 0; i < SENDERS; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    cr_expect_eq(received, SENDERS * MAILS);
    cr_expect_eq(out_of_order, 0);
}

static void on_mail_free_box(struct mail *mail, void *arg)
{
    (void)mail;
    (void)arg;
    if (++received == 1) {
        mailbox_free(box);
        loop_stop(loop);
    }
}

Test(loop, a_mailbox_freed_by_its_own_function_delivers_the_rest_first)
{
    box = mailbox_new(loop, on_mail_free_box, NULL);
    for (int i = 0; i < 5; i++) {
        mailbox_send(box, &numbers[0][i].mail);
    }
    loop_run(loop);
    cr_expect_eq(received, 5);
}

static void *stop_later(void *arg)
{
    usleep(2000);
    loop_stop(arg);
    return NULL;
}

Test(loop, another_thread_can_stop_a_waiting_loop)
{
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, stop_later, loop), 0);
    loop_run(loop);
    (void)pthread_join(thread, NULL);
}

/* ---- addresses ------------------------------------------------------------------------------- */

static void expect_addr(const char *text, const char *shown, int port)
{
    struct addr a;
    struct note note = {0};
    char out[ADDR_TEXT_BYTES];
    cr_assert_eq(addr_parse(text, &a, &note), ERR_NONE, "%s: %s", text, note.text);
    cr_expect_str_eq(addr_text(&a, out), shown);
    cr_expect_eq(addr_port(&a), port);
}

Test(addr, numeric_addresses_are_read_and_shown)
{
    expect_addr("127.0.0.1:6432", "127.0.0.1:6432", 6432);
    expect_addr("[::1]:6432", "[::1]:6432", 6432);
    expect_addr("*:0", "[::]:0", 0);
    expect_addr("[::ffff:10.1.2.3]:5", "10.1.2.3:5", 5);
    expect_addr("/run/pg:5432", "unix:5432", 5432);
}

Test(addr, what_is_no_address_is_refused_with_an_example)
{
    const char *bad[] = {"",
                         "6432",
                         "127.0.0.1",
                         "127.0.0.1:",
                         "::1:6432",
                         "localhost:1",
                         "127.0.0.1:65536",
                         "127.0.0.1:1x",
                         "[1.2.3.4]:5",
                         "[]:5",
                         ":5",
                         "127.0.0.1:-1",
                         "127.0.0.1.2.3.4.5.6.7.8.9.10.11.12.13.14.15.16.17.18.19.20.21.22.23:1"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct addr a;
        struct note note = {0};
        cr_expect_eq(addr_parse(bad[i], &a, &note), ERR_BAD_SETTING, "%s", bad[i]);
        cr_expect(strstr(note.text, "127.0.0.1:") != NULL, "%s", note.text);
    }
    char longest[300];
    memset(longest, 'd', sizeof(longest));
    longest[0] = '/';
    memcpy(longest + sizeof(longest) - 3, ":1", 3);
    struct addr a;
    cr_expect_eq(addr_parse(longest, &a, NULL), ERR_BAD_SETTING);
}

Test(addr, names_and_socket_directories_are_resolved)
{
    struct addr a[4];
    size_t n = 0;
    char out[ADDR_TEXT_BYTES];
    struct note note = {0};
    cr_assert_eq(addr_resolve("127.0.0.1", 5432, a, 4, &n, &note), ERR_NONE, "%s", note.text);
    cr_expect_eq(n, 1);
    cr_expect_str_eq(addr_text(&a[0], out), "127.0.0.1:5432");
    cr_assert_eq(addr_resolve("/tmp", 5432, a, 4, &n, &note), ERR_NONE);
    cr_expect_eq(n, 1);
    cr_expect_eq(a[0].sa.ss_family, AF_UNIX);
    cr_expect_eq(addr_resolve("no.such.host.invalid", 1, a, 4, &n, &note), ERR_IO);
    cr_expect_eq(n, 0);
    cr_expect(strstr(note.text, "no.such.host.invalid") != NULL);
}
