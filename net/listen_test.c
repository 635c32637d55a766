/*
 * Listening and dialling over real sockets, TCP and unix. Method: both ends are of the test's loop.
 */

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/clock.h"
#include "net/stream_testing.h"

TestSuite(listen, .init = loop_setup, .fini = loop_end);

Test(listen, two_streams_meet_over_tcp)
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

Test(listen, an_ipv4_peer_of_a_listener_on_everything_is_shown_as_ipv4)
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

Test(listen, a_unix_socket_is_listened_on_dialled_and_removed)
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

Test(listen, a_port_in_use_is_refused_with_a_hint)
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

Test(listen, a_listener_may_be_freed_by_its_own_function)
{
    struct meeting m = {.free_listener = 1};
    meet(&m, "127.0.0.1:0");
    cr_expect_null(m.listener);
    (void)close(m.accepted);
    (void)close(m.dialled);
}

Test(listen, running_out_of_descriptors_delays_accepting_but_does_not_end_it)
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

Test(listen, dialling_goes_on_to_the_next_address_and_tells_why_none_answered)
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

Test(listen, a_unix_socket_with_a_full_backlog_is_tried_until_the_time_is_over)
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
