/*
 * Goal: a server that hangs, refuses or is gone costs its timeout and no more, and a stop ends
 * every wait; prepared transactions left behind end as the ledger says. Method: sockets of our own
 * that never speak. The last tests need a real server and are skipped without one:
 *
 *     PGBRAID_TEST_HOST=/tmp/sockets PGBRAID_TEST_PORT=5432 PGBRAID_TEST_DB=app \
 *     PGBRAID_TEST_USER=app build/release/replication_test
 *
 * It must have max_prepared_transactions > 0 and let the user in without a password.
 */

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "base/clock.h"
#include "replication/pq.h"

/* ---- a place that listens and never answers ---------------------------------------------------
 */

struct deaf {
    int fd;
    struct addr addr;
};

static struct deaf deaf_open(void)
{
    struct deaf d = {.fd = socket(AF_INET, SOCK_STREAM, 0)};
    struct sockaddr_in *in = (struct sockaddr_in *)(void *)&d.addr.sa;
    in->sin_family = AF_INET;
    in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    d.addr.len = sizeof(*in);
    cr_assert_eq(bind(d.fd, (struct sockaddr *)in, sizeof(*in)), 0);
    cr_assert_eq(listen(d.fd, 8), 0);
    cr_assert_eq(getsockname(d.fd, (struct sockaddr *)in, &d.addr.len), 0);
    return d;
}

static struct pg_target target_of(const struct deaf *d, int timeout_ms)
{
    return (struct pg_target){.host = "localhost",
                              .addrs = &d->addr,
                              .addrs_count = 1,
                              .port = addr_port(&d->addr),
                              .dbname = "app",
                              .user = "app",
                              .tls_mode = CONF_TLS_DISABLE,
                              .timeout_ms = timeout_ms};
}

Test(replication, a_server_that_never_answers_costs_the_timeout)
{
    struct deaf d = deaf_open();
    struct pg_target t = target_of(&d, 150);
    PGconn *conn = NULL;
    struct note note;
    struct pq_trouble trouble;
    int64_t start_us = clock_now_us();
    cr_assert_eq(pq_open(&t, NULL, &conn, &trouble, &note), ERR_SHARD_DOWN);
    int64_t took_ms = (clock_now_us() - start_us) / 1000;
    cr_assert(took_ms >= 140 && took_ms < 3000, "%lld ms", (long long)took_ms);
    cr_assert_not_null(strstr(note.text, "150 ms"));
    cr_assert_not(pq_alive(&trouble));
    (void)close(d.fd);
}

Test(replication, a_stop_ends_a_wait_that_has_begun)
{
    struct deaf d = deaf_open();
    struct pg_target t = target_of(&d, 60000);
    struct note note;
    struct pg_stop stop;
    cr_assert_eq(pg_stop_init(&stop, &note), ERR_NONE);
    pg_stop_set(&stop);
    PGconn *conn = NULL;
    cr_assert_eq(pq_open(&t, &stop, &conn, NULL, &note), ERR_SHUTDOWN);
    cr_assert_not(pq_sleep(&stop, 60000));
    pg_stop_free(&stop);
    (void)close(d.fd);
}

Test(replication, a_closed_port_is_told_at_once)
{
    struct deaf d = deaf_open();
    (void)close(d.fd);
    struct pg_target t = target_of(&d, 60000);
    PGconn *conn = NULL;
    struct note note;
    cr_assert_eq(pq_open(&t, NULL, &conn, NULL, &note), ERR_SHARD_DOWN);
    cr_assert_not_null(strstr(note.text, "refused"), "%s", note.text);
}

/* A child that asks the first caller for a password, as a server does. */
static pid_t ask_for_password(const struct deaf *d)
{
    pid_t pid = fork();
    if (pid == 0) {
        char startup[1024];
        int fd = accept(d->fd, NULL, NULL);
        ssize_t got = recv(fd, startup, sizeof(startup), 0);
        ssize_t sent = send(fd, "R\0\0\0\10\0\0\0\3", 9, MSG_NOSIGNAL);
        got = recv(fd, startup, sizeof(startup), 0); /* until the caller has gone */
        _exit(got < 0 || sent < 0);
    }
    return pid;
}

Test(replication, a_server_that_wants_a_password_we_do_not_have_is_alive_and_the_hint_says_why)
{
    struct deaf d = deaf_open();
    pid_t pid = ask_for_password(&d);
    struct pg_target t = target_of(&d, 5000);
    t.password_hashed = 1;
    PGconn *conn = NULL;
    struct note note;
    struct pq_trouble trouble;
    cr_assert_eq(pq_open(&t, NULL, &conn, &trouble, &note), ERR_SHARD_REFUSED, "%s", note.text);
    cr_assert(pq_alive(&trouble));
    cr_assert_not_null(strstr(note.hint, "plain password"), "%s", note.hint);
    cr_assert_eq(waitpid(pid, NULL, 0), pid);
    (void)close(d.fd);
}

/* ---- health -----------------------------------------------------------------------------------
 */

struct findings {
    _Atomic int count;
    _Atomic int last_healthy;
};

static void take(void *arg, const struct health_finding *finding)
{
    struct findings *f = arg;
    int healthy = finding->health == ROLE_HEALTH_UP;
    cr_assert(healthy || finding->latency_us == 0);
    atomic_store(&f->last_healthy, healthy);
    atomic_fetch_add(&f->count, 1);
}

Test(replication, a_probe_finds_a_closed_port_down_again_and_again)
{
    struct deaf d = deaf_open();
    (void)close(d.fd);
    struct findings f = {.last_healthy = 1};
    struct health_options o = {.name = "s0",
                               .target = target_of(&d, 1000),
                               .limits = {1, 3, 2},
                               .interval_ms = 5,
                               .known_up = 0,
                               .fn = take,
                               .arg = &f};
    struct health *h = health_start(&o);
    for (int i = 0; i < 2000 && atomic_load(&f.count) < 3; i++) {
        (void)usleep(1000);
    }
    health_free(h);
    cr_assert_geq(atomic_load(&f.count), 3);
    cr_assert_eq(atomic_load(&f.last_healthy), 0);
}

Test(replication, a_probe_that_waits_stops_at_once)
{
    struct deaf d = deaf_open();
    struct findings f = {.last_healthy = 1};
    struct health_options o = {.name = "s0",
                               .target = target_of(&d, 60000),
                               .limits = {1, 3, 2},
                               .interval_ms = 60000,
                               .known_up = 1,
                               .fn = take,
                               .arg = &f};
    struct health *h = health_start(&o);
    (void)usleep(50000);
    int64_t start_us = clock_now_us();
    health_free(h);
    cr_assert_lt(clock_now_us() - start_us, 5000000);
    cr_assert_eq(atomic_load(&f.count), 0);
    (void)close(d.fd);
}

Test(replication, a_probe_that_sleeps_looks_when_it_is_woken)
{
    struct deaf d = deaf_open();
    (void)close(d.fd);
    struct note note;
    struct pg_wake wake;
    struct findings f = {.last_healthy = 1};
    cr_assert_eq(pg_wake_init(&wake, &note), ERR_NONE);
    struct health_options o = {.name = "s0",
                               .target = target_of(&d, 1000),
                               .limits = {1, 1, 2},
                               .interval_ms = 600000,
                               .wake = &wake,
                               .fn = take,
                               .arg = &f};
    struct health *h = health_start(&o);
    for (int i = 0; i < 5000 && atomic_load(&f.count) < 4; i++) {
        pg_wake_now(&wake);
        (void)usleep(1000);
    }
    health_free(h);
    pg_wake_free(&wake);
    cr_assert_geq(atomic_load(&f.count), 4);
}

/* ---- what servers say -------------------------------------------------------------------------
 */

Test(replication, the_sqlstate_is_found_in_a_verbose_message)
{
    static const struct {
        const char *message, *code;
    } cases[] = {{"connection to server at \"127.0.0.1\", port 5 failed: FATAL:  28P01: password "
                  "authentication failed for user \"app\"\n",
                  "28P01"},
                 {"FATAL:  3D000: database \"x\" does not exist", "3D000"},
                 {"connection to server failed: Connection refused", ""},
                 {"FATAL:  password authentication failed", ""},
                 {"FATAL:  12345", ""},
                 {"", ""},
                 {":  ", ""}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char code[6] = "?";
        pq_find_sqlstate(cases[i].message, code);
        cr_assert_str_eq(code, cases[i].code, "%s", cases[i].message);
    }
}

Test(replication, a_refusal_is_life_but_a_start_or_a_stop_is_not)
{
    cr_assert(pq_alive(&(struct pq_trouble){.sqlstate = "28P01"}));
    cr_assert(pq_alive(&(struct pq_trouble){.sqlstate = "53300"}));
    cr_assert_not(pq_alive(&(struct pq_trouble){.sqlstate = "57P03"}));
    cr_assert_not(pq_alive(&(struct pq_trouble){.sqlstate = ""}));
}

Test(replication, the_service_user_logs_in_with_a_plain_password_only)
{
    struct conf_user users[] = {{.name = "a", .secret = "plain"},
                                {.name = "b", .secret = "md5aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
                                {.name = "c", .secret = "SCRAM-SHA-256$4096:x$y:z"},
                                {.name = "d", .secret = ""}};
    struct conf conf = {.users = users, .users_count = 4};
    struct pg_target t = {0};
    conf.service_user = "a";
    pg_target_login(&t, &conf);
    cr_assert_str_eq(t.password, "plain");
    cr_assert_not(t.password_hashed);
    conf.service_user = "b";
    pg_target_login(&t, &conf);
    cr_assert(t.password == NULL && t.password_hashed);
    conf.service_user = "c";
    pg_target_login(&t, &conf);
    cr_assert(t.password == NULL && t.password_hashed);
    conf.service_user = "d";
    pg_target_login(&t, &conf);
    cr_assert(t.password == NULL && !t.password_hashed);
}

/* ---- with a server ----------------------------------------------------------------------------
 */

struct real {
    struct addr addrs[4];
    struct pg_target target;
    char dir[64];
    char table[40]; /* tests run beside each other */
    struct ledger *ledger;
};

/* 0: there is none, the test has nothing to do. */
static int real_open(struct real *r)
{
    const char *host = getenv("PGBRAID_TEST_HOST");
    if (host == NULL) {
        return 0;
    }
    const char *port = getenv("PGBRAID_TEST_PORT");
    const char *dbname = getenv("PGBRAID_TEST_DB");
    const char *user = getenv("PGBRAID_TEST_USER");
    struct note note;
    r->target = (struct pg_target){.host = host,
                                   .addrs = r->addrs,
                                   .port = (uint16_t)(port == NULL ? 5432 : atoi(port)),
                                   .dbname = dbname == NULL ? "postgres" : dbname,
                                   .user = user == NULL ? "postgres" : user,
                                   .tls_mode = CONF_TLS_PREFER,
                                   .timeout_ms = 5000};
    cr_assert_eq(addr_resolve(host, r->target.port, r->addrs, 4, &r->target.addrs_count, &note),
                 ERR_NONE, "%s", note.text);
    (void)snprintf(r->dir, sizeof(r->dir), "/tmp/replication_test_XXXXXX");
    cr_assert_not_null(mkdtemp(r->dir));
    (void)snprintf(r->table, sizeof(r->table), "recovery_test_%d", (int)getpid());
    return 1;
}

static void ledger_start(struct real *r)
{
    struct note note;
    struct ledger_options o = {.data_dir = r->dir};
    cr_assert_eq(ledger_open(&o, &r->ledger, &note), ERR_NONE, "%s", note.text);
}

static void run(struct real *r, const char *verb, const char *rest)
{
    char sql[300];
    (void)snprintf(sql, sizeof(sql), "%s TABLE %s %s", verb, r->table, rest);
    PGconn *conn = NULL;
    struct note note;
    cr_assert_eq(pq_open(&r->target, NULL, &conn, NULL, &note), ERR_NONE, "%s", note.text);
    cr_assert_eq(
        pq_run(conn, sql, (struct pq_wait){.timeout_ms = 5000, .stop = NULL}, NULL, NULL, &note),
        ERR_NONE, "%s", note.text);
    pq_close(conn);
}

static long count_rows(struct real *r, int value)
{
    char sql[300];
    (void)snprintf(sql, sizeof(sql), "SELECT count(*) FROM %s WHERE a = %d", r->table, value);
    PGconn *conn = NULL;
    PGresult *result = NULL;
    struct note note;
    cr_assert_eq(pq_open(&r->target, NULL, &conn, NULL, &note), ERR_NONE, "%s", note.text);
    cr_assert_eq(
        pq_run(conn, sql, (struct pq_wait){.timeout_ms = 5000, .stop = NULL}, &result, NULL, &note),
        ERR_NONE, "%s", note.text);
    long count = strtol(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    pq_close(conn);
    return count;
}

/* Two writers on the one server: gids differ by shard. */
static struct txn_id prepare(struct real *r, int value)
{
    struct txn_id txn;
    struct note note;
    cr_assert_eq(ledger_next(r->ledger, &txn, &note), ERR_NONE);
    for (unsigned shard = 0; shard < 2; shard++) {
        char gid[GID_BYTES_MAX];
        char sql[300];
        ledger_gid(r->ledger, (struct ledger_name){.txn = txn, .shard = shard}, gid);
        (void)snprintf(sql, sizeof(sql), "INSERT INTO %s VALUES (%d)", r->table, value);
        PGconn *conn = NULL;
        cr_assert_eq(pq_open(&r->target, NULL, &conn, NULL, &note), ERR_NONE);
        cr_assert_eq(pq_run(conn, "BEGIN", (struct pq_wait){.timeout_ms = 5000, .stop = NULL}, NULL,
                            NULL, &note),
                     ERR_NONE);
        cr_assert_eq(pq_run(conn, sql, (struct pq_wait){.timeout_ms = 5000, .stop = NULL}, NULL,
                            NULL, &note),
                     ERR_NONE, "%s", note.text);
        (void)snprintf(sql, sizeof(sql), "PREPARE TRANSACTION '%s'", gid);
        cr_assert_eq(pq_run(conn, sql, (struct pq_wait){.timeout_ms = 5000, .stop = NULL}, NULL,
                            NULL, &note),
                     ERR_NONE, "%s", note.text);
        pq_close(conn);
    }
    return txn;
}

static void decided(void *arg, enum err e)
{
    cr_assert_eq(e, ERR_NONE);
    atomic_store((_Atomic int *)arg, 1);
}

static void decide(struct real *r, struct txn_id txn)
{
    _Atomic int done = 0;
    ledger_decide(r->ledger, txn, 3, SLICE("app"), decided, (void *)&done);
    for (int i = 0; i < 5000 && !atomic_load(&done); i++) {
        (void)usleep(1000);
    }
    cr_assert(atomic_load(&done));
}

static void recover(struct real *r, struct recover_report *report)
{
    struct recover_place places[2] = {{.target = r->target, .shard = "shard0"},
                                      {.target = r->target, .shard = "shard1"}};
    recover_database(r->ledger, &(struct recover_options){.tag = SLICE("app")}, places, 2, NULL,
                     report);
}

static void remove_dir(const char *dir)
{
    char command[128];
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    cr_assert_eq(system(command), 0);
}

Test(replication, after_a_crash_what_was_decided_is_committed_and_the_rest_rolled_back)
{
    struct real r = {0};
    if (!real_open(&r)) {
        return;
    }
    ledger_start(&r);
    run(&r, "CREATE", "(a int)");
    decide(&r, prepare(&r, 1));
    (void)prepare(&r, 2);
    struct recover_report report;
    recover(&r, &report); /* both are at work: left alone */
    cr_assert_eq(report.listed, 2);
    cr_assert_eq(report.committed + report.rolled_back + report.failed, 0);
    ledger_close(r.ledger); /* the crash */
    ledger_start(&r);
    recover(&r, &report);
    cr_assert_eq(report.listed, 2, "%s", report.note.text);
    cr_assert_eq(report.failed, 0, "%s", report.note.text);
    cr_assert_eq(report.committed, 2);
    cr_assert_eq(report.rolled_back, 2);
    cr_assert_eq(count_rows(&r, 1), 2);
    cr_assert_eq(count_rows(&r, 2), 0);
    recover(&r, &report);
    struct ledger_stats stats;
    ledger_stats(r.ledger, &stats);
    cr_assert_eq(stats.unsettled, 0);
    ledger_close(r.ledger);
    run(&r, "DROP", "");
    remove_dir(r.dir);
}

Test(replication, a_shard_that_is_down_keeps_nothing_from_being_finished_but_nothing_is_forgotten)
{
    struct real r = {0};
    if (!real_open(&r)) {
        return;
    }
    ledger_start(&r);
    run(&r, "CREATE", "(a int)");
    decide(&r, prepare(&r, 1));
    ledger_close(r.ledger);
    ledger_start(&r);
    struct deaf d = deaf_open();
    struct recover_place places[2] = {{.target = r.target, .shard = "shard0"},
                                      {.target = target_of(&d, 300), .shard = "shard1"}};
    struct recover_report report;
    recover_database(r.ledger, &(struct recover_options){.tag = SLICE("app")}, places, 2, NULL,
                     &report);
    cr_assert_eq(report.listed, 1);
    cr_assert_eq(report.committed, 2);
    struct ledger_stats stats;
    ledger_stats(r.ledger, &stats);
    cr_assert_eq(stats.unsettled, 1);
    recover(&r, &report);
    ledger_stats(r.ledger, &stats);
    cr_assert_eq(stats.unsettled, 0);
    ledger_close(r.ledger);
    run(&r, "DROP", "");
    remove_dir(r.dir);
    (void)close(d.fd);
}

static enum err count_row(void *arg, size_t query, const struct slice *values, size_t count,
                          struct note *note)
{
    cr_assert_eq(query, 0);
    cr_assert_eq(count, 2);
    cr_assert_null(values[1].p);
    *(int *)arg += 1;
    return slice_is(values[0], "3") ? note_set(note, ERR_INTERNAL, "enough") : ERR_NONE;
}

static const char *three_rows(size_t index)
{
    cr_assert_eq(index, 0);
    return "SELECT i, NULL FROM generate_series(1, 5) AS i";
}

Test(replication, catalog_rows_are_fed_until_one_is_refused)
{
    struct real r = {0};
    if (!real_open(&r)) {
        return;
    }
    int rows = 0;
    struct catalog_source source = {
        .queries_count = 1, .query = three_rows, .row = count_row, .arg = &rows};
    struct note install;
    struct note note;
    cr_assert_eq(catalog_load(&r.target, "SELECT 1/0", &source, NULL, &install, &note),
                 ERR_INTERNAL);
    cr_assert_eq(rows, 3);
    cr_assert_str_eq(note.text, "enough");
    cr_assert_not_null(strstr(install.text, "zero"));
    remove_dir(r.dir);
}
