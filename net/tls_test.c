/*
 * TLS over real sockets: two streams of one loop talk to each other, as tls_testing.h has them.
 */

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "net/tls_testing.h"

TestSuite(tls, .init = setup, .fini = teardown);

static enum err server_new(const char *cert, const char *key, const char *ca,
                           struct tls_context **out, struct note *note)
{
    const struct tls_options o = {.cert_path = cert, .key_path = key, .ca_path = ca};
    return tls_server_new(&o, out, note);
}

static enum err client_new(enum tls_mode mode, const char *ca, const char *cert, const char *key,
                           struct tls_context **out, struct note *note)
{
    const struct tls_options o = {.mode = mode, .ca_path = ca, .cert_path = cert, .key_path = key};
    return tls_client_new(&o, out, note);
}

static void connect_ends(enum tls_mode mode, const char *client_ca, const char *client_cert,
                         const char *server_ca, const char *host)
{
    char cert[64] = "";
    char key[64] = "";
    if (client_cert != NULL) {
        (void)snprintf(cert, sizeof(cert), "%s.crt", client_cert);
        (void)snprintf(key, sizeof(key), "%s.key", client_cert);
    }
    const struct tls_options s = {.cert_path = path("server.crt"),
                                  .key_path = path("server.key"),
                                  .ca_path = server_ca == NULL ? NULL : path(server_ca)};
    const struct tls_options c = {.mode = mode,
                                  .ca_path = client_ca == NULL ? NULL : path(client_ca),
                                  .cert_path = client_cert == NULL ? NULL : path(cert),
                                  .key_path = client_cert == NULL ? NULL : path(key)};
    start_ends(&s, TLS_SERVER, &c, TLS_CLIENT, host);
}

Test(tls, both_sides_become_secure_and_agree_on_the_channel)
{
    client.greeting = "hello";
    server.echo = 1;
    client.stop_at = 5;
    connect_ends(TLS_VERIFY_FULL, "ca.crt", NULL, NULL, "db.example");
    loop_run(loop);
    cr_expect_str_eq(client.events, "SD");
    cr_expect_str_eq(server.events, "SD");
    cr_expect_str_eq(client.first, "hello");
    cr_expect_str_eq(stream_tls_version(client.stream), "TLSv1.3");
    cr_expect_str_eq(stream_tls_cipher(client.stream), stream_tls_cipher(server.stream));
    uint8_t a[64] = {0};
    uint8_t b[64] = {0};
    cr_expect_eq(stream_tls_server_end_point(client.stream, a), 32);
    cr_expect_eq(stream_tls_server_end_point(server.stream, b), 32);
    cr_expect_eq(memcmp(a, b, 64), 0);
    stream_free(client.stream);
    client.stream = NULL;
    loop_run(loop); /* close_notify is a clean end */
    cr_expect_str_eq(server.events, "SDC");
    cr_expect_eq(server.error, ERR_NONE);
    free_ends();
}

Test(tls, the_certificate_is_checked_as_the_mode_says)
{
    static const struct {
        enum tls_mode mode;
        const char *ca;
        const char *host;
        const char *words; /* NULL: accepted */
    } rows[] = {
        {TLS_REQUIRE, NULL, "elsewhere.example", NULL},
        {TLS_VERIFY_CA, "ca.crt", "elsewhere.example", NULL},
        {TLS_VERIFY_CA, "other_ca.crt", "db.example", "certificate verify failed"},
        {TLS_VERIFY_FULL, "ca.crt", "127.0.0.1", NULL},
        {TLS_VERIFY_FULL, "ca.crt", "127.0.0.2", "IP address mismatch"},
        {TLS_VERIFY_FULL, "ca.crt", "elsewhere.example", "hostname mismatch"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        server = (struct end){0};
        client = (struct end){.wait_secure = 1};
        server.wait_secure = 1;
        connect_ends(rows[i].mode, rows[i].ca, NULL, NULL, rows[i].host);
        run_both();
        if (rows[i].words == NULL) {
            cr_expect_str_eq(client.events, "S", "row %zu: %s", i, client.why.text);
        } else {
            cr_expect_str_eq(client.events, "C", "row %zu", i);
            cr_expect_eq(client.error, ERR_IO);
            cr_expect(strcasestr(client.why.text, rows[i].words) != NULL, "%s", client.why.text);
        }
        free_ends();
    }
}

Test(tls, a_server_with_a_ca_takes_clients_of_that_ca_only)
{
    server = (struct end){.wait_secure = 1};
    client = (struct end){.wait_secure = 1};
    connect_ends(TLS_REQUIRE, NULL, "client", "ca.crt", NULL);
    run_both();
    cr_expect_str_eq(server.events, "S", "%s", server.why.text);
    free_ends();
    server = (struct end){0};
    client = (struct end){0};
    connect_ends(TLS_REQUIRE, NULL, "stranger", "ca.crt", NULL);
    run_both();
    cr_expect_str_eq(server.events, "C");
    cr_expect(strstr(server.why.text, "certificate verify failed") != NULL, "%s", server.why.text);
    free_ends();
}

Test(tls, megabytes_pass_both_ways_unchanged)
{
    enum {
        MANY = 3 * 1000 * 1000
    };
    server.echo = 1;
    client.stop_at = MANY;
    server.wait_secure = client.wait_secure = 1;
    connect_ends(TLS_REQUIRE, NULL, NULL, NULL, NULL);
    loop_run(loop);
    uint8_t *all = mem_alloc(MANY);
    for (size_t i = 0; i < MANY; i++) {
        all[i] = (uint8_t)(i * 31 >> 3);
    }
    stream_write(client.stream, all, MANY / 2); /* at once */
    for (size_t at = MANY / 2; at < MANY; at += 1000) {
        stream_write(client.stream, all + at, 1000); /* by the queue */
    }
    mem_free(all);
    client.received = 0;
    loop_run(loop);
    cr_expect_eq(client.received, MANY);
    cr_expect(!client.bad);
    free_ends();
}

Test(tls, a_paused_end_gets_everything_after_it_resumes)
{
    server = (struct end){.wait_secure = 1, .stop_at = 100};
    client = (struct end){.wait_secure = 1};
    connect_ends(TLS_REQUIRE, NULL, NULL, NULL, NULL);
    loop_run(loop);
    stream_pause(server.stream);
    for (int i = 0; i < 10; i++) {
        stream_write(client.stream, "0123456789", 10);
        struct timer t;
        timer_init(&t, loop, (void (*)(void *))loop_stop, loop);
        timer_set(&t, 1000);
        loop_run(loop);
        timer_free(&t);
    }
    cr_expect_eq(server.received, 0);
    stream_free(client.stream);
    client.stream = NULL;
    stream_resume(server.stream);
    loop_run(loop);
    cr_expect_eq(server.received, 100);
    if (strchr(server.events, 'C') == NULL) {
        loop_run(loop);
    }
    cr_expect_eq(server.error, ERR_NONE);
    free_ends();
}

/* One record is larger than the first buffer: its rest is inside OpenSSL, and no descriptor will
 * ever tell of it. */
static int hops;

static void on_half(struct stream *s, enum stream_event event, void *arg)
{
    size_t *received = arg;
    if (event != STREAM_DATA) {
        return;
    }
    *received += stream_in(s).n;
    stream_consume(s, stream_in(s).n);
    if (*received == 16000) {
        loop_stop(loop);
    } else if (hops) {
        stream_detach(s);
        stream_attach(s, loop, on_half, arg);
    } else {
        stream_pause(s);
        loop_stop(loop);
    }
}

static void send_one_record(size_t *received)
{
    static const uint8_t record[16000];
    server = (struct end){.wait_secure = 1};
    client = (struct end){.wait_secure = 1};
    connect_ends(TLS_REQUIRE, NULL, NULL, NULL, NULL);
    loop_run(loop);
    stream_set_owner(server.stream, on_half, received);
    stream_write(client.stream, record, sizeof(record));
    loop_run(loop);
}

Test(tls, the_rest_of_a_record_comes_after_a_pause)
{
    size_t received = 0;
    send_one_record(&received);
    cr_expect_eq(received, 8192);
    stream_resume(server.stream);
    loop_run(loop);
    cr_expect_eq(received, 16000);
    free_ends();
}

Test(tls, the_rest_of_a_record_moves_with_its_stream)
{
    size_t received = 0;
    hops = 1;
    send_one_record(&received);
    cr_expect_eq(received, 16000);
    free_ends();
}

Test(tls, a_stream_that_moves_before_its_handshake_began_still_begins_it)
{
    server = (struct end){.wait_secure = 1};
    client = (struct end){.wait_secure = 1};
    connect_ends(TLS_REQUIRE, NULL, NULL, NULL, NULL);
    stream_detach(client.stream);
    stream_attach(client.stream, loop, on_end, &client);
    loop_run(loop);
    cr_expect(stream_is_tls(client.stream));
    free_ends();
}

Test(tls, a_paused_end_learns_that_its_peer_said_goodbye)
{
    server = (struct end){.wait_secure = 1};
    client = (struct end){.wait_secure = 1};
    connect_ends(TLS_REQUIRE, NULL, NULL, NULL, NULL);
    loop_run(loop);
    stream_pause(server.stream);
    stream_free(client.stream);
    client.stream = NULL;
    loop_run(loop);
    cr_expect_str_eq(server.events, "SC");
    free_ends();
}

Test(tls, bytes_that_are_no_handshake_end_in_closed_with_words)
{
    int fds[2];
    struct note note = {0};
    tcp_pair(fds);
    cr_assert_eq(server_new(path("server.crt"), path("server.key"), NULL, &server_tls, &note),
                 ERR_NONE);
    server.stream = stream_new(loop, fds[0], on_end, &server);
    cr_assert_eq(stream_start_tls(server.stream, server_tls, 1, NULL, &note), ERR_NONE);
    cr_assert_eq(write(fds[1], "GET / HTTP/1.0\r\n\r\n", 18), 18);
    loop_run(loop);
    cr_expect_str_eq(server.events, "C");
    cr_expect_eq(server.error, ERR_IO);
    cr_expect_eq(strncmp(server.why.text, "TLS handshake: ", 15), 0, "%s", server.why.text);
    (void)close(fds[1]);
    stream_free(server.stream);
    server = (struct end){0};
    tcp_pair(fds);
    server.stream = stream_new(loop, fds[0], on_end, &server);
    cr_assert_eq(stream_start_tls(server.stream, server_tls, 1, NULL, &note), ERR_NONE);
    (void)close(fds[1]);
    loop_run(loop);
    cr_expect_str_eq(server.why.text, "TLS handshake: the peer closed the connection");
    free_ends();
}

static void on_first_data(struct stream *s, enum stream_event event, void *arg)
{
    (void)s;
    (void)arg;
    if (event == STREAM_DATA) {
        loop_stop(loop);
    }
}

Test(tls, plain_bytes_behind_the_request_are_refused)
{
    int fds[2];
    struct note note = {0};
    tcp_pair(fds);
    cr_assert_eq(server_new(path("server.crt"), path("server.key"), NULL, &server_tls, &note),
                 ERR_NONE);
    server.stream = stream_new(loop, fds[0], on_first_data, NULL);
    cr_assert_eq(write(fds[1], "SSLinjected", 11), 11);
    loop_run(loop);
    stream_consume(server.stream, 3);
    cr_expect_eq(stream_start_tls(server.stream, server_tls, 1, NULL, &note), ERR_PROTOCOL);
    (void)close(fds[1]);
    free_ends();
}

Test(tls, contexts_name_the_file_that_is_wrong)
{
    struct note note = {0};
    struct tls_context *tls = NULL;
    cr_expect_eq(server_new(path("nothing.crt"), path("server.key"), NULL, &tls, &note),
                 ERR_BAD_SETTING);
    cr_expect(strstr(note.text, "nothing.crt") != NULL, "%s", note.text);
    cr_expect_eq(server_new(path("server.crt"), path("client.key"), NULL, &tls, &note),
                 ERR_BAD_SETTING);
    cr_expect(strstr(note.text, "client.key") != NULL, "%s", note.text);
    cr_expect_eq(
        server_new(path("server.crt"), path("server.key"), path("server.key"), &tls, &note),
        ERR_BAD_SETTING);
    cr_expect_eq(client_new(TLS_VERIFY_CA, path("no.crt"), NULL, NULL, &tls, &note),
                 ERR_BAD_SETTING);
    cr_expect_eq(client_new(TLS_REQUIRE, NULL, path("client.crt"), NULL, &tls, &note),
                 ERR_BAD_SETTING);
    cr_expect_null(tls);
    cr_assert_eq(client_new(TLS_VERIFY_FULL, path("ca.crt"), NULL, NULL, &tls, &note), ERR_NONE);
    int fds[2];
    tcp_pair(fds);
    struct stream *s = stream_new(loop, fds[0], on_end, &client);
    cr_expect_eq(stream_start_tls(s, tls, 0, NULL, &note), ERR_BAD_SETTING);
    stream_free(s);
    (void)close(fds[1]);
    tls_unref(tls);
}
