/*
 * What a round trip costs: N connections play ping-pong with 64-byte messages, both ends on one
 * loop, so that time is work and not waiting for another thread.
 *
 *     stream_bench [tcp|unix] [connections] [seconds] [PEM file for TLS]
 *
 * Count system calls with strace -c -f; a round trip is two messages, so two recv and two send.
 */

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "net/net.h"

enum {
    MESSAGE_BYTES = 64,
    CONNECTIONS_MAX = 1000
};

struct end {
    struct stream *stream;
    struct timer timeout; /* set for every message, as a session does */
    int client;
};

static struct loop *loop;
static struct end ends[CONNECTIONS_MAX][2];
static unsigned long round_trips;

static void on_timeout(void *arg)
{
    (void)arg;
}

static void on_stream(struct stream *s, enum stream_event event, void *arg)
{
    struct end *end = arg;
    if (event == STREAM_SECURE) {
        return;
    }
    check(event == STREAM_DATA);
    struct slice in = stream_in(s);
    timer_set(&end->timeout, INT64_C(30) * 1000 * 1000);
    buf_add_slice(stream_out(s), in);
    stream_touch(s);
    round_trips += end->client && in.n == MESSAGE_BYTES;
    stream_consume(s, in.n);
}

static void tcp_pair(int fds[2])
{
    int l = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t n = sizeof(at);
    check(bind(l, (struct sockaddr *)&at, n) == 0);
    check(listen(l, 1) == 0);
    check(getsockname(l, (struct sockaddr *)&at, &n) == 0);
    fds[0] = socket(AF_INET, SOCK_STREAM, 0);
    check(connect(fds[0], (struct sockaddr *)&at, n) == 0);
    fds[1] = accept4(l, NULL, NULL, SOCK_NONBLOCK);
    check(close(l) == 0);
}

static void open_end(struct end *end, int fd, int client)
{
    timer_init(&end->timeout, loop, on_timeout, NULL);
    end->client = client;
    end->stream = stream_new(loop, fd, on_stream, end);
}

/* `pem` holds a certificate and its key. */
static void secure_ends(const char *pem, long count)
{
    struct tls_context *server = NULL;
    struct tls_context *client = NULL;
    struct note note = {0};
    const struct tls_options o = {.mode = TLS_REQUIRE, .cert_path = pem, .key_path = pem};
    check(tls_server_new(&o, &server, &note) == ERR_NONE);
    const struct tls_options plain = {.mode = TLS_REQUIRE};
    check(tls_client_new(&plain, &client, &note) == ERR_NONE);
    for (long i = 0; i < count; i++) {
        check(stream_start_tls(ends[i][0].stream, client, 0, NULL, &note) == ERR_NONE);
        check(stream_start_tls(ends[i][1].stream, server, 1, NULL, &note) == ERR_NONE);
    }
    tls_unref(server);
    tls_unref(client);
}

static void on_end(void *arg)
{
    loop_stop(arg);
}

int main(int argc, char **argv)
{
    int is_unix = argc > 1 && strcmp(argv[1], "unix") == 0;
    long count = argc > 2 ? strtol(argv[2], NULL, 10) : 16;
    double seconds = argc > 3 ? strtod(argv[3], NULL) : 2;
    check(count > 0 && count <= CONNECTIONS_MAX && seconds > 0);
    loop = loop_new();
    for (long i = 0; i < count; i++) {
        int fds[2];
        if (is_unix) {
            check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
        } else {
            tcp_pair(fds);
        }
        open_end(&ends[i][0], fds[0], 1);
        open_end(&ends[i][1], fds[1], 0);
    }
    if (argc > 4) {
        secure_ends(argv[4], count);
    }
    for (long i = 0; i < count; i++) {
        const char message[MESSAGE_BYTES] = "ping";
        stream_write(ends[i][0].stream, message, sizeof(message));
    }
    struct timer end;
    timer_init(&end, loop, on_end, loop);
    timer_set(&end, (int64_t)(seconds * 1e6));
    int64_t began = clock_now_us();
    loop_run(loop);
    double took = (double)(clock_now_us() - began);
    (void)printf("%s, %ld connections: %lu round trips, %.0f ns each\n", is_unix ? "unix" : "tcp",
                 count, round_trips, took * 1000 / (double)round_trips);
    for (long i = 0; i < count; i++) {
        for (int k = 0; k < 2; k++) {
            timer_free(&ends[i][k].timeout);
            stream_free(ends[i][k].stream);
        }
    }
    timer_free(&end);
    loop_free(loop);
    return 0;
}
