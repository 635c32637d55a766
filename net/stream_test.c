/*
 * Streams over real sockets. Method: one side is a stream on the test's loop, the other a blocking
 * socket of the test or another stream.
 */

#include <errno.h>
#include <pthread.h>

#include "base/mem.h"
#include "net/stream_testing.h"

TestSuite(stream, .init = loop_setup, .fini = loop_end);

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
