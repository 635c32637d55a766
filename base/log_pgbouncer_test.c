/*
 * Goal: with log.format pgbouncer a script that reads PgBouncer's log reads ours. Method: the lines
 * of events by hand, as PgBouncer 1.18 wrote them for the same; the zone of the machine is UTC.
 */

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <criterion/criterion.h>

#include "base/log.h"

static struct log_record record;
static struct log_line line;

PRINTF_LIKE(3, 4) static void expect(enum log_id id, const char *wanted, const char *fmt, ...)
{
    va_list args;
    setenv("TZ", "UTC", 1);
    tzset();
    va_start(args, fmt);
    record.id = id;
    record.wall_us = INT64_C(1795174927123456);
    record.pid = 4711;
    log_read_fields(&record, fmt, args);
    va_end(args);
    log_render(LOG_FORMAT_PGBOUNCER, &record, &line);
    cr_assert_eq(line.p[line.n - 1], '\n');
    line.p[line.n - 1] = '\0';
    cr_expect_str_eq(line.p, wanted);
}

#define HEAD "2026-11-20 11:42:07.123 UTC [4711] "

Test(log_pgbouncer, clients_come_and_go_in_its_words)
{
    expect(LOG_CLIENT_LOGIN,
           HEAD "LOG C-0x00000000001f: app/bob@127.0.0.1:39976 login attempt: db=app user=bob "
                "tls=no",
           "client=%llu addr=%s user=%s database=%s tls=%s", 31ULL, "127.0.0.1:39976", "bob", "app",
           "no");
    expect(LOG_CLIENT_CLOSED,
           HEAD "LOG C-0x00000000001f: app/bob@127.0.0.1:39976 closing because: client close "
                "request (age=5s)",
           "client=%llu addr=%s user=%s database=%s why=\"%s\" age_s=%d", 31ULL, "127.0.0.1:39976",
           "bob", "app", "client said goodbye", 5);
    expect(LOG_POOLER_ERROR,
           HEAD "WARNING C-0x00000000001f: (nodb)/(nouser)@127.0.0.1:39976 pooler error: no more "
                "connections allowed (max_client_conn)",
           "client=%llu addr=%s user=%s database=%s error=\"%s\"", 31ULL, "127.0.0.1:39976", "", "",
           "no more connections allowed (pool.max_clients)");
}

Test(log_pgbouncer, a_refused_client_is_two_lines_when_its_name_is_known)
{
    expect(LOG_CLIENT_REFUSED,
           HEAD
           "LOG C-0x00000000001f: app/bob@[::1]:39976 login attempt: db=app user=bob tls=no\n" HEAD
           "LOG C-0x00000000001f: app/bob@[::1]:39976 closing because: password "
           "authentication failed (age=0s)",
           "client=%llu addr=%s user=%s database=%s tls=%s why=\"%s\" age_s=%d", 31ULL,
           "[::1]:39976", "bob", "app", "no", "password authentication failed", 0);
    expect(LOG_CLIENT_REFUSED,
           HEAD "LOG C-0x00000000001f: (nodb)/(nouser)@unix:6432 closing because: x (age=0s)",
           "client=%llu addr=%s user=%s database=%s tls=%s why=\"%s\" age_s=%d", 31ULL, "unix:6432",
           "", "", "no", "x", 0);
}

Test(log_pgbouncer, servers_come_and_go_in_its_words)
{
    expect(LOG_BACKEND_OPEN,
           HEAD "LOG S-0x0000000000ff: app/bob@127.0.0.1:5432 new connection to server (from "
                "127.0.0.1:1)",
           "backend=%llu database=%s shard=%u addr=%s from=%s user=%s", 255ULL, "app", 0,
           "127.0.0.1:5432", "127.0.0.1:1", "bob");
    expect(LOG_BACKEND_CLOSED,
           HEAD "LOG S-0x0000000000ff: app/bob@127.0.0.1:5432 closing because: server idle timeout "
                "(age=600s)",
           "backend=%llu database=%s addr=%s user=%s why=\"%s\" age_s=%d", 255ULL, "app",
           "127.0.0.1:5432", "bob", "idle", 600);
}

Test(log_pgbouncer, an_event_without_words_is_its_name_and_pairs)
{
    expect(LOG_SERVER_DOWN, HEAD "WARNING SERVER_DOWN: server=s0 error=it is gone",
           "server=%s error=\"%s\"", "s0", "it is gone");
    expect(LOG_STOP, HEAD "LOG SIGINT: server connections dropped, exiting", "reason=%s note=%s",
           "SIGINT", "done");
}

Test(log_pgbouncer, a_value_cannot_begin_a_line_and_a_long_one_is_cut)
{
    char longer[2 * LOG_LINE_BYTES_MAX];
    expect(LOG_COMMAND, HEAD "LOG a b   c command issued", "command=%s",
           "a b\n\t\x7F"
           "c");
    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    record.id = LOG_CLIENT_REFUSED;
    record.fields_count = 0;
    log_render(LOG_FORMAT_PGBOUNCER, &record, &line);
    cr_assert_eq(line.p[line.n - 1], '\n');
    record.fields[0] = (struct log_field){slice_of("user"), slice_of(longer), 0};
    record.fields_count = 1;
    log_render(LOG_FORMAT_PGBOUNCER, &record, &line);
    cr_assert_eq(line.p[line.n - 1], '\n');
    cr_assert_leq(line.n, sizeof(line.p));
}
