/*
 * Streams, listening and dialling over real sockets. Method: one side is a stream on the test's
 * loop, the other a blocking socket of the test or another stream; a timer ends what hangs.
 */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "base/clock.h"
#include "base/mem.h"
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

static void setup(void)
{
    loop = loop_new();
    timer_init(&limit, loop, on_limit, NULL);
    timer_set(&limit, 10 * 1000 * 1000);
    timed_out = 0;
}

static void teardown(void)
{
    timer_free(&limit);
    loop_free(loop);
    cr_expect(!timed_out);
}

TestSuite(stream, .init = setup, .fini = teardown);

static enum err listen_at(const struct addr *addr, listen_fn *fn, void *arg, struct listener **out,
                          struct note *note)
{
    const struct listen_options o = {.addr = *addr, .unix_mode = 0777};
    return listen_new(loop, &o, fn, arg, out, note);
}

/* What a stream's owner saw, as letters: D data, R drained, S secure, C closed. */
struct seen {
    char events[256];
    char data[256];
    int count;
    int stop_at; /* events until the loop stops; 0: at the closing */
    int echo;
    int keep; /* leave the bytes in the stream */
    struct stream *free_too;
    struct note why;
    enum err error;
};

static void on_seen(struct stream *s, enum stream_event event, void *arg)
{
    struct seen *seen = arg;
    struct slice in = stream_in(s);
    if (seen->count < 255) {
        seen->events[seen->count] = "DRSC"[event];
    }
    seen->count++;
    if (event == STREAM_DATA && !seen->keep) {
        size_t have = strlen(seen->data);
        size_t n = in.n < 255 - have ? in.n : 255 - have;
        memcpy(seen->data + have, in.p, n);
        if (seen->echo) {
            stream_write(s, in.p, in.n);
        }
        stream_consume(s, in.n);
    }
    if (event == STREAM_CLOSED) {
        seen->error = stream_error(s, &seen->why);
    }
    if (seen->count == seen->stop_at || (seen->stop_at == 0 && event == STREAM_CLOSED)) {
        loop_stop(loop);
    }
    if (seen->free_too != NULL) {
        stream_free(seen->free_too);
        seen->free_too = NULL;
    }
}

static void pair(int fds[2])
{
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    cr_assert_eq(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
}

static void say(int fd, const char *text)
{
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static void on_turn(void *arg)
{
    (void)arg;
    loop_stop(loop);
}

/* A few turns, so that whatever is going to happen happens. */
static void run_a_while(int us)
{
    struct timer t;
    timer_init(&t, loop, on_turn, NULL);
    timer_set(&t, us);
    loop_run(loop);
    timer_free(&t);
}

Test(stream, bytes_come_in_and_go_out_and_an_idle_stream_holds_no_buffer)
{
    int fds[2];
    pair(fds);
    struct seen seen = {.echo = 1, .stop_at = 1};
    struct stream *s = stream_new(loop, fds[0], on_seen, &seen);
    size_t idle = stream_memory(s);
    say(fds[1], "hello");
    loop_run(loop);
    char back[16] = "";
    cr_expect_eq(read(fds[1], back, sizeof(back)), 5);
    cr_expect_str_eq(back, "hello");
    cr_expect_str_eq(seen.data, "hello");
    cr_expect_eq(stream_memory(s), idle);
    cr_expect_eq(stream_bytes_in(s), 5);
    cr_expect_eq(stream_bytes_out(s), 5);
    stream_free(s);
    cr_expect_eq(read(fds[1], back, sizeof(back)), 0);
    (void)close(fds[1]);
}

Test(stream, data_before_the_end_is_delivered_before_the_end)
{
    int fds[2];
    pair(fds);
    struct seen seen = {0};
    struct stream *s = stream_new(loop, fds[0], on_seen, &seen);
    say(fds[1], "last words");
    (void)close(fds[1]);
    loop_run(loop);
    cr_expect_str_eq(seen.events, "DC");
    cr_expect_str_eq(seen.data, "last words");
    cr_expect_eq(seen.error, ERR_NONE);
    stream_free(s);
}

Test(stream, need_holds_the_event_back_until_enough_is_there)
{
    int fds[2];
    pair(fds);
    struct seen seen = {.stop_at = 1};
    struct stream *s = stream_new(loop, fds[0], on_seen, &seen);
    stream_need(s, 10);
    say(fds[1], "12345");
    run_a_while(3000);
    cr_expect_eq(seen.count, 0);
    say(fds[1], "67890");
    loop_run(loop);
    cr_expect_str_eq(seen.data, "1234567890");
    stream_free(s);
    (void)close(fds[1]);
}

/* Writes `n` pattern bytes from another thread, as a peer that blocks would. */
struct feed {
    int fd;
    size_t n;
    int bad;
};

static void *write_pattern(void *arg)
{
    struct feed *f = arg;
    uint8_t piece[8192];
    for (size_t at = 0; at < f->n;) {
        size_t n = f->n - at < sizeof(piece) ? f->n - at : sizeof(piece);
        for (size_t i = 0; i < n; i++) {
            piece[i] = (uint8_t)((at + i) * 31 >> 3);
        }
        ssize_t sent = write(f->fd, piece, n);
        if (sent <= 0) {
            f->bad = 1;
            return NULL;
        }
        at += (size_t)sent;
    }
    return NULL;
}

static void *read_pattern(void *arg)
{
    struct feed *f = arg;
    uint8_t piece[8192];
    for (size_t at = 0; at < f->n;) {
        ssize_t got = read(f->fd, piece, sizeof(piece));
        if (got <= 0) {
            f->bad = 1;
            return NULL;
        }
        for (size_t i = 0; i < (size_t)got; i++) {
            f->bad |= piece[i] != (uint8_t)((at + i) * 31 >> 3);
        }
        at += (size_t)got;
    }
    return NULL;
}

static int is_pattern(struct slice in)
{
    for (size_t i = 0; i < in.n; i++) {
        if (in.p[i] != (uint8_t)(i * 31 >> 3)) {
            return 0;
        }
    }
    return 1;
}

Test(stream, a_long_message_is_gathered_whole)
{
    int fds[2];
    pair(fds);
    struct seen seen = {.stop_at = 1, .keep = 1};
    struct stream *s = stream_new(loop, fds[0], on_seen, &seen);
    struct feed feed = {.fd = fds[1], .n = 1000 * 1000};
    stream_need(s, feed.n);
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, write_pattern, &feed), 0);
    loop_run(loop);
    (void)pthread_join(thread, NULL);
    cr_expect_eq(stream_in(s).n, feed.n);
    cr_expect(is_pattern(stream_in(s)));
    size_t idle = sizeof(struct addr) * 8; /* far less than any buffer */
    stream_consume(s, feed.n);
    cr_expect_lt(stream_memory(s), idle + 1024);
    stream_free(s);
    (void)close(fds[1]);
}

Test(stream, an_announced_length_alone_takes_no_memory)
{
    int fds[2];
    pair(fds);
    struct seen seen = {.stop_at = 1};
    struct stream *s = stream_new(loop, fds[0], on_seen, &seen);
    stream_need(s, (size_t)1 << 30);
    say(fds[1], "x");
    run_a_while(3000);
    cr_expect_lt(stream_memory(s), 70 * 1024);
    stream_free(s);
    (void)close(fds[1]);
}

Test(stream, bytes_the_owner_leaves_lying_stop_the_reading_and_nothing_spins)
{
    int fds[2];
    pair(fds);
    struct seen seen = {.keep = 1, .stop_at = -1};
    struct stream *s = stream_new(loop, fds[0], on_seen, &seen);
    struct feed feed = {.fd = fds[1], .n = 300 * 1000};
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, write_pattern, &feed), 0);
    run_a_while(50 * 1000);
    cr_expect_lt(seen.count, 64); /* a turn per loop of a spinning one would be thousands */
    cr_expect_eq(stream_in(s).n, 64 * 1024);
    while (stream_bytes_in(s) < feed.n || stream_in(s).n != 0) {
        stream_consume(s, stream_in(s).n);
        run_a_while(1000);
        cr_assert(!timed_out);
    }
    (void)pthread_join(thread, NULL);
    stream_free(s);
    (void)close(fds[1]);
}

Test(stream, a_slow_reader_fills_the_queue_and_drained_comes_when_it_caught_up)
{
    int fds[2];
    pair(fds);
    struct seen seen = {.stop_at = 1};
    struct stream *s = stream_new(loop, fds[0], on_seen, &seen);
    struct feed feed = {.fd = fds[1], .n = 2000 * 1000};
    uint8_t *all = mem_alloc(feed.n);
    for (size_t i = 0; i < feed.n; i++) {
        all[i] = (uint8_t)(i * 31 >> 3);
    }
    stream_write(s, all, 1000 * 1000); /* at once, as far as it goes */
    cr_expect_gt(stream_bytes_out(s), 0);
    for (size_t at = 1000 * 1000; at < feed.n; at += 1000) {
        stream_write(s, all + at, 1000);
    }
    mem_free(all);
    cr_expect(stream_full(s));
    run_a_while(2000);
    cr_expect_eq(seen.count, 0);
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, read_pattern, &feed), 0);
    loop_run(loop);
    cr_expect_str_eq(seen.events, "R");
    while (stream_queued(s) != 0 && !timed_out) {
        run_a_while(1000);
    }
    (void)pthread_join(thread, NULL);
    cr_expect_eq(feed.bad, 0);
    stream_free(s);
    (void)close(fds[1]);
}

Test(stream, a_paused_stream_delivers_nothing_until_resumed)
{
    int fds[2];
    pair(fds);
    struct seen seen = {.stop_at = -1};
    struct stream *s = stream_new(loop, fds[0], on_seen, &seen);
    stream_pause(s);
    say(fds[1], "ab");
    run_a_while(2000);
    say(fds[1], "cd");
    run_a_while(2000);
    cr_expect_eq(seen.count, 0);
    stream_resume(s);
    run_a_while(2000);
    cr_expect_str_eq(seen.data, "abcd");
    say(fds[1], "ef");
    run_a_while(2000);
    cr_expect_str_eq(seen.data, "abcdef");
    stream_free(s);
    (void)close(fds[1]);
}

Test(stream, resuming_delivers_what_is_buffered_again)
{
    int fds[2];
    pair(fds);
    struct seen seen = {.stop_at = -1, .keep = 1};
    struct stream *s = stream_new(loop, fds[0], on_seen, &seen);
    say(fds[1], "ab");
    run_a_while(2000);
    cr_expect_str_eq(seen.events, "D");
    stream_pause(s);
    seen.keep = 0;
    stream_resume(s);
    cr_expect_str_eq(seen.events, "D"); /* never from inside */
    run_a_while(2000);
    cr_expect_str_eq(seen.events, "DD");
    cr_expect_str_eq(seen.data, "ab");
    stream_free(s);
    (void)close(fds[1]);
}

Test(stream, a_paused_stream_learns_that_its_peer_went_away)
{
    int fds[2];
    pair(fds);
    struct seen seen = {0};
    struct stream *s = stream_new(loop, fds[0], on_seen, &seen);
    stream_pause(s);
    run_a_while(1000);
    (void)close(fds[1]);
    loop_run(loop);
    cr_expect_str_eq(seen.events, "C");
    stream_free(s);
}

Test(stream, a_paused_stream_keeps_the_last_words_of_its_peer)
{
    int fds[2];
    pair(fds);
    struct seen seen = {0};
    struct stream *s = stream_new(loop, fds[0], on_seen, &seen);
    stream_pause(s);
    say(fds[1], "bye");
    (void)close(fds[1]);
    run_a_while(2000);
    cr_expect_eq(seen.count, 0);
    stream_resume(s);
    loop_run(loop);
    cr_expect_str_eq(seen.events, "DC");
    cr_expect_str_eq(seen.data, "bye");
    stream_free(s);
}

Test(stream, bytes_written_to_a_peer_that_left_end_in_closed_with_a_reason)
{
    int fds[2];
    pair(fds);
    struct seen seen = {0};
    struct stream *s = stream_new(loop, fds[0], on_seen, &seen);
    (void)shutdown(fds[1], SHUT_RD);
    stream_write(s, "x", 1);
    loop_run(loop);
    cr_expect_str_eq(seen.events, "C");
    cr_expect_eq(seen.error, ERR_IO);
    cr_expect_str_eq(seen.why.text, "writing: Broken pipe");
    stream_write(s, "y", 1); /* is dropped */
    cr_expect_eq(stream_queued(s), 0);
    stream_free(s);
    (void)close(fds[1]);
}

Test(stream, owners_may_free_their_own_and_any_other_stream_inside_an_event)
{
    int a[2];
    int b[2];
    pair(a);
    pair(b);
    struct seen seen_a = {.stop_at = 1};
    struct seen seen_b = {.stop_at = 1};
    struct stream *sa = stream_new(loop, a[0], on_seen, &seen_a);
    struct stream *sb = stream_new(loop, b[0], on_seen, &seen_b);
    say(a[1], "x");
    say(b[1], "x");
    stream_write(sa, "queued", 6);
    stream_write(sb, "queued", 6);
    seen_a.free_too = sb; /* both are ready: whoever is first frees the other */
    seen_b.free_too = sa;
    loop_run(loop);
    cr_expect_eq(seen_a.count + seen_b.count, 1);
    stream_free(seen_a.count ? sa : sb);
    int c[2];
    pair(c);
    struct seen seen_c = {.stop_at = 1};
    struct stream *sc = stream_new(loop, c[0], on_seen, &seen_c);
    seen_c.free_too = sc;
    say(c[1], "x");
    loop_run(loop);
    cr_expect_eq(seen_c.count, 1);
    (void)close(a[1]);
    (void)close(b[1]);
    (void)close(c[1]);
}

/* ---- listen and dial ------------------------------------------------------------------------- */

struct meeting {
    struct listener *listener;
    int accepted;
    int accepted_count;
    int dialled;
    int dials_done;
    int stop_at;
    int free_listener;
    struct note why;
};

static void on_accept(int fd, const struct addr *peer, void *arg)
{
    (void)peer;
    struct meeting *m = arg;
    if (m->accepted >= 0) {
        (void)close(m->accepted);
    }
    m->accepted = fd;
    m->accepted_count++;
    if (m->free_listener) {
        listen_free(m->listener);
        m->listener = NULL;
    }
    if (m->accepted_count + m->dials_done == m->stop_at) {
        loop_stop(loop);
    }
}

static void on_dialled(int fd, const struct note *note, void *arg)
{
    struct meeting *m = arg;
    m->dialled = fd;
    m->dials_done++;
    if (fd < 0) {
        m->why = *note;
    }
    if (m->accepted_count + m->dials_done == m->stop_at) {
        loop_stop(loop);
    }
}

static void meet(struct meeting *m, const char *address)
{
    struct addr addr;
    struct note note = {0};
    m->accepted = -1;
    m->dialled = -1;
    m->stop_at = 2;
    cr_assert_eq(addr_parse(address, &addr, &note), ERR_NONE);
    cr_assert_eq(listen_at(&addr, on_accept, m, &m->listener, &note), ERR_NONE, "%s", note.text);
    (void)dial_new(loop, listen_addr(m->listener), 1, 5000, on_dialled, m);
    cr_expect_eq(m->dials_done, 0);
    loop_run(loop);
    cr_assert_geq(m->accepted, 0);
    cr_assert_geq(m->dialled, 0, "%s", m->why.text);
}

Test(stream, two_streams_meet_over_tcp)
{
    struct meeting m = {0};
    meet(&m, "127.0.0.1:0");
    cr_expect_neq(addr_port(listen_addr(m.listener)), 0);
    struct seen server = {.stop_at = 1, .echo = 1};
    struct seen client = {.stop_at = 1};
    struct stream *a = stream_new(loop, m.accepted, on_seen, &server);
    struct stream *b = stream_new(loop, m.dialled, on_seen, &client);
    stream_write(b, "ping", 4);
    loop_run(loop);
    loop_run(loop);
    cr_expect_str_eq(client.data, "ping");
    char text[ADDR_TEXT_BYTES];
    char other[ADDR_TEXT_BYTES];
    cr_expect_str_eq(addr_text(stream_peer(a), text), addr_text(stream_local(b), other));
    stream_free(a);
    stream_free(b);
    listen_free(m.listener);
}

Test(stream, an_ipv4_peer_of_a_listener_on_everything_is_shown_as_ipv4)
{
    struct meeting m = {0};
    meet(&m, "*:0");
    struct addr at;
    char text[ADDR_TEXT_BYTES];
    (void)snprintf(text, sizeof(text), "127.0.0.1:%u", addr_port(listen_addr(m.listener)));
    (void)close(m.accepted);
    (void)close(m.dialled);
    m.accepted = -1;
    m.accepted_count = m.dials_done = 0;
    cr_assert_eq(addr_parse(text, &at, NULL), ERR_NONE);
    (void)dial_new(loop, &at, 1, 1000, on_dialled, &m);
    loop_run(loop);
    struct stream *s = stream_new(loop, m.accepted, on_seen, &(struct seen){0});
    cr_expect_eq(strncmp(addr_text(stream_peer(s), text), "127.0.0.1:", 10), 0, "%s", text);
    stream_free(s);
    (void)close(m.dialled);
    listen_free(m.listener);
}

/* A reset takes no farewell: it must be told though reading is paused, and behind data too. */
static void reset(int fd)
{
    struct linger now = {.l_onoff = 1};
    cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
    (void)close(fd);
}

Test(stream, a_reset_is_told_while_paused)
{
    struct meeting m = {0};
    meet(&m, "127.0.0.1:0");
    struct seen seen = {0};
    struct stream *s = stream_new(loop, m.accepted, on_seen, &seen);
    stream_pause(s);
    say(m.dialled, "unread");
    run_a_while(2000);
    reset(m.dialled);
    loop_run(loop);
    cr_expect_str_eq(seen.events, "C");
    cr_expect_eq(seen.error, ERR_IO);
    cr_expect_str_eq(seen.why.text, "reading: Connection reset by peer");
    stream_free(s);
    listen_free(m.listener);
}

Test(stream, a_reset_right_behind_data_is_told_too)
{
    struct meeting m = {0};
    meet(&m, "127.0.0.1:0");
    struct seen seen = {0};
    struct stream *s = stream_new(loop, m.accepted, on_seen, &seen);
    say(m.dialled, "data");
    reset(m.dialled);
    usleep(2000);
    loop_run(loop);
    cr_expect_eq(seen.events[seen.count - 1], 'C');
    cr_expect_eq(seen.error, ERR_IO);
    stream_free(s);
    listen_free(m.listener);
}

Test(stream, finish_sends_all_and_does_not_reset_a_peer_that_still_talks)
{
    struct meeting m = {0};
    meet(&m, "127.0.0.1:0");
    cr_assert_eq(fcntl(m.dialled, F_SETFL, 0), 0);
    struct seen seen = {0};
    struct stream *s = stream_new(loop, m.accepted, on_seen, &seen);
    struct feed feed = {.fd = m.dialled, .n = 6 * 1000 * 1000};
    uint8_t *all = mem_alloc(feed.n);
    for (size_t i = 0; i < feed.n; i++) {
        all[i] = (uint8_t)(i * 31 >> 3);
    }
    say(m.dialled, "bytes nobody will read");
    stream_write(s, all, feed.n);
    mem_free(all);
    stream_finish(s, 5000);
    run_a_while(1000);
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, read_pattern, &feed), 0);
    run_a_while(200 * 1000);
    (void)pthread_join(thread, NULL);
    char byte;
    cr_expect_eq(feed.bad, 0);
    cr_expect_eq(read(m.dialled, &byte, 1), 0);
    (void)close(m.dialled);
    run_a_while(2000);
    cr_expect_eq(seen.count, 0);
    listen_free(m.listener);
}

Test(stream, finish_with_unread_bytes_ends_cleanly_for_the_peer)
{
    struct meeting m = {0};
    meet(&m, "127.0.0.1:0");
    cr_assert_eq(fcntl(m.dialled, F_SETFL, 0), 0);
    say(m.dialled, "unread");
    struct stream *s = stream_new(loop, m.accepted, on_seen, &(struct seen){0});
    stream_write(s, "bye", 3);
    stream_finish(s, 1000);
    run_a_while(2000);
    char bytes[8];
    cr_expect_eq(read(m.dialled, bytes, sizeof(bytes)), 3);
    cr_expect_eq(read(m.dialled, bytes, sizeof(bytes)), 0, "errno %d", errno);
    (void)close(m.dialled);
    run_a_while(2000);
    listen_free(m.listener);
}

Test(stream, a_paused_stream_still_sends_and_drains)
{
    int fds[2];
    pair(fds);
    struct seen seen = {.stop_at = 1};
    struct stream *s = stream_new(loop, fds[0], on_seen, &seen);
    struct feed feed = {.fd = fds[1], .n = 1000 * 1000};
    uint8_t *all = mem_alloc(feed.n);
    for (size_t i = 0; i < feed.n; i++) {
        all[i] = (uint8_t)(i * 31 >> 3);
    }
    stream_pause(s);
    say(fds[1], "unread");
    run_a_while(2000); /* it is watched for the end only, from here on */
    stream_write(s, all, feed.n);
    mem_free(all);
    cr_expect(stream_full(s));
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, read_pattern, &feed), 0);
    loop_run(loop);
    while (stream_queued(s) != 0 && !timed_out) {
        run_a_while(1000);
    }
    (void)pthread_join(thread, NULL);
    cr_expect_str_eq(seen.events, "R");
    cr_expect(!feed.bad);
    stream_free(s);
    (void)close(fds[1]);
}

Test(stream, finish_gives_up_after_its_time)
{
    struct meeting m = {0};
    meet(&m, "127.0.0.1:0");
    struct stream *s = stream_new(loop, m.accepted, on_seen, &(struct seen){0});
    stream_write(s, "bye", 3);
    stream_finish(s, 20);
    run_a_while(60 * 1000);
    say(m.dialled, "x"); /* is answered by a reset, as the socket is gone */
    usleep(2000);
    char bytes[8];
    ssize_t got = read(m.dialled, bytes, sizeof(bytes));
    cr_expect(got == 3 || (got < 0 && errno == ECONNRESET));
    (void)close(m.dialled);
    listen_free(m.listener);
}

Test(stream, a_unix_socket_is_listened_on_dialled_and_removed)
{
    char dir[] = "/tmp/net_test_XXXXXX";
    cr_assert_neq(mkdtemp(dir), NULL);
    char address[64];
    char path[64];
    (void)snprintf(address, sizeof(address), "%s:5432", dir);
    (void)snprintf(path, sizeof(path), "%s/.s.PGSQL.5432", dir);
    struct meeting m = {0};
    meet(&m, address);
    struct stat st;
    cr_expect_eq(stat(path, &st), 0);
    struct addr addr;
    struct listener *second = NULL;
    struct note note = {0};
    cr_assert_eq(addr_parse(address, &addr, NULL), ERR_NONE);
    cr_expect_eq(listen_at(&addr, on_accept, &m, &second, &note), ERR_IO);
    cr_expect(strstr(note.text, "in use") != NULL, "%s", note.text);
    listen_free(m.listener);
    cr_expect_neq(stat(path, &st), 0);

    int stale = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(bind(stale, (struct sockaddr *)&addr.sa, addr.len), 0);
    (void)close(stale); /* its file stays, as after a crash */
    cr_expect_eq(listen_at(&addr, on_accept, &m, &second, &note), ERR_NONE, "%s", note.text);
    listen_free(second);
    (void)close(m.accepted);
    (void)close(m.dialled);
    (void)rmdir(dir);
}

Test(stream, a_port_in_use_is_refused_with_a_hint)
{
    struct meeting m = {0};
    meet(&m, "127.0.0.1:0");
    struct listener *second = NULL;
    struct note note = {0};
    cr_expect_eq(listen_at(listen_addr(m.listener), on_accept, &m, &second, &note), ERR_IO);
    cr_expect(strstr(note.text, "Address already in use") != NULL, "%s", note.text);
    cr_expect_neq(note.hint[0], '\0');
    (void)close(m.accepted);
    (void)close(m.dialled);
    listen_free(m.listener);
}

Test(stream, a_listener_may_be_freed_by_its_own_function)
{
    struct meeting m = {.free_listener = 1};
    meet(&m, "127.0.0.1:0");
    cr_expect_null(m.listener);
    (void)close(m.accepted);
    (void)close(m.dialled);
}

Test(stream, running_out_of_descriptors_delays_accepting_but_does_not_end_it)
{
    struct meeting m = {0};
    meet(&m, "127.0.0.1:0");
    struct rlimit before;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    int client = socket(AF_INET, SOCK_STREAM, 0);
    const struct addr *at = listen_addr(m.listener);
    cr_assert_eq(connect(client, (const struct sockaddr *)&at->sa, at->len), 0);
    struct rlimit few = {.rlim_cur = 3, .rlim_max = before.rlim_max};
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    run_a_while(20 * 1000);
    cr_expect_eq(m.accepted_count, 1);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    run_a_while(200 * 1000);
    cr_expect_eq(m.accepted_count, 2);
    (void)close(client);
    (void)close(m.accepted);
    (void)close(m.dialled);
    listen_free(m.listener);
}

Test(stream, dialling_goes_on_to_the_next_address_and_tells_why_none_answered)
{
    struct meeting m = {0};
    meet(&m, "127.0.0.1:0");
    struct addr addrs[2];
    cr_assert_eq(addr_parse("127.0.0.1:1", &addrs[0], NULL), ERR_NONE);
    addrs[1] = *listen_addr(m.listener);
    (void)close(m.accepted);
    (void)close(m.dialled);
    m = (struct meeting){.listener = m.listener, .accepted = -1, .stop_at = 2};
    (void)dial_new(loop, addrs, 2, 5000, on_dialled, &m);
    loop_run(loop);
    cr_expect_geq(m.dialled, 0);
    (void)close(m.accepted);
    (void)close(m.dialled);
    listen_free(m.listener);

    m = (struct meeting){.stop_at = 1};
    cr_assert_eq(addr_parse("/no/such/dir:5", &addrs[1], NULL), ERR_NONE);
    (void)dial_new(loop, addrs, 2, 5000, on_dialled, &m);
    loop_run(loop);
    cr_expect_eq(m.dialled, -1);
    cr_expect_str_eq(m.why.text,
                     "127.0.0.1:1: Connection refused; unix:5: No such file or directory");
    struct dial *d = dial_new(loop, addrs, 2, 5000, on_dialled, &m);
    dial_cancel(d);
    run_a_while(1000);
    cr_expect_eq(m.dials_done, 1);
}

Test(stream, a_unix_socket_with_a_full_backlog_is_tried_until_the_time_is_over)
{
    char dir[] = "/tmp/net_test_XXXXXX";
    cr_assert_neq(mkdtemp(dir), NULL);
    struct addr addr;
    size_t count = 0;
    cr_assert_eq(addr_resolve(dir, 1, &addr, 1, &count, NULL), ERR_NONE);
    int l = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(bind(l, (struct sockaddr *)&addr.sa, addr.len), 0);
    cr_assert_eq(listen(l, 0), 0);
    int filler = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    cr_assert_eq(connect(filler, (struct sockaddr *)&addr.sa, addr.len), 0);
    struct meeting m = {.stop_at = 1};
    int64_t began = clock_now_us();
    (void)dial_new(loop, &addr, 1, 50, on_dialled, &m);
    loop_run(loop);
    cr_expect_eq(m.dialled, -1);
    cr_expect_str_eq(m.why.text, "unix:1: Connection timed out");
    cr_expect_geq(clock_now_us() - began, 49 * 1000);
    m = (struct meeting){.stop_at = 1};
    (void)dial_new(loop, &addr, 1, 5000, on_dialled, &m);
    run_a_while(20 * 1000);
    cr_expect_eq(m.dials_done, 0);
    (void)close(accept(l, NULL, NULL));
    loop_run(loop);
    cr_expect_geq(m.dialled, 0);
    (void)close(m.dialled);
    (void)close(filler);
    (void)close(l);
    (void)unlink(((struct sockaddr_un *)&addr.sa)->sun_path);
    (void)rmdir(dir);
}

/* ---- from loop to loop ----------------------------------------------------------------------- */

enum {
    HOPS = 200
};

struct traveller {
    struct mail mail;
    struct stream *stream;
};

static struct {
    struct loop *loop;
    struct mailbox *box;
    pthread_t thread;
} homes[2];

static struct traveller traveller;
static int hops;
static int traveller_bad;

static int home_of(const void *arg)
{
    return arg == &homes[1];
}

/* Each home answers one byte and sends the stream to the other one, from inside the event. */
static void on_hop(struct stream *s, enum stream_event event, void *arg)
{
    if (event != STREAM_DATA || stream_in(s).n != 1) {
        traveller_bad = 1;
        loop_stop(homes[0].loop);
        loop_stop(homes[1].loop);
        return;
    }
    stream_consume(s, 1);
    hops++;
    traveller.stream = s;
    stream_detach(s);
    mailbox_send(homes[!home_of(arg)].box, &traveller.mail);
}

static int traveller_peer;

static void on_arrival(struct mail *mail, void *arg)
{
    struct traveller *t = (struct traveller *)mail;
    stream_attach(t->stream, homes[home_of(arg)].loop, on_hop, arg);
    if (hops == HOPS) {
        stream_free(t->stream);
        loop_stop(homes[0].loop);
        loop_stop(homes[1].loop);
        return;
    }
    ssize_t n = write(traveller_peer, "x", 1);
    traveller_bad |= n != 1;
}

static void *run_home(void *arg)
{
    loop_run(homes[home_of(arg)].loop);
    return NULL;
}

Test(travel, a_stream_moves_between_threads)
{
    int fds[2];
    pair(fds);
    traveller_peer = fds[1];
    for (int i = 0; i < 2; i++) {
        homes[i].loop = loop_new();
        homes[i].box = mailbox_new(homes[i].loop, on_arrival, &homes[i]);
    }
    struct stream *s = stream_new(homes[0].loop, fds[0], on_hop, &homes[0]);
    say(fds[1], "x");
    cr_assert_eq(pthread_create(&homes[1].thread, NULL, run_home, &homes[1]), 0);
    loop_run(homes[0].loop);
    (void)pthread_join(homes[1].thread, NULL);
    (void)s;
    cr_expect_eq(hops, HOPS);
    cr_expect(!traveller_bad);
    for (int i = 0; i < 2; i++) {
        mailbox_free(homes[i].box);
        loop_free(homes[i].loop);
    }
    (void)close(fds[1]);
}
