/*
 * libpq as C programs use it: pipeline mode with an error in the middle, single-row mode, binary
 * results, cancel, COPY, large objects over the fast path.
 *
 *     libpq PORT DATABASE TABLE        (SHARDED=1 in the environment: no large objects)
 */

#include <libpq/libpq-fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <libpq-fe.h>

static PGconn *conn;
static const char *table;

static void fail(const char *what, const char *why)
{
    (void)fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

static void expect(const char *what, int truth)
{
    if (!truth) {
        fail(what, PQerrorMessage(conn));
    }
}

static PGresult *next(const char *what, ExecStatusType status)
{
    PGresult *r = PQgetResult(conn);
    if (r == NULL) {
        fail(what, "no result");
    }
    if (PQresultStatus(r) != status) {
        (void)fprintf(stderr, "status %s\n", PQresStatus(PQresultStatus(r)));
        fail(what, PQresultErrorMessage(r));
    }
    return r;
}

static void skip(const char *what, ExecStatusType status)
{
    PQclear(next(what, status));
}

static void end_of_results(const char *what)
{
    expect(what, PQgetResult(conn) == NULL);
}

static void run(const char *sql, ExecStatusType status)
{
    PGresult *r = PQexec(conn, sql);
    if (PQresultStatus(r) != status) {
        fail(sql, PQresultErrorMessage(r));
    }
    PQclear(r);
}

static void send(const char *sql, const char *a, const char *b)
{
    const char *values[] = {a, b};
    expect(sql, PQsendQueryParams(conn, sql, b != NULL ? 2 : 1, NULL, values, NULL, NULL, 0));
}

static void pipeline(void)
{
    char insert[128];
    char select[128];
    (void)snprintf(insert, sizeof(insert), "INSERT INTO %s (id, name) VALUES ($1, $2)", table);
    (void)snprintf(select, sizeof(select), "SELECT name FROM %s WHERE id = $1", table);
    expect("enter", PQenterPipelineMode(conn));
    for (int i = 1; i <= 50; i++) {
        char id[12];
        (void)snprintf(id, sizeof(id), "%d", i);
        send(insert, id, "piped");
        expect("sync", PQpipelineSync(conn));
    }
    for (int i = 1; i <= 50; i++) {
        skip("insert", PGRES_COMMAND_OK);
        end_of_results("insert");
        skip("its sync", PGRES_PIPELINE_SYNC);
    }
    send(select, "7", NULL);
    send("SELECT 1 / $1::int", "0", NULL);
    send(select, "8", NULL);
    expect("sync", PQpipelineSync(conn));
    send(select, "9", NULL);
    expect("sync", PQpipelineSync(conn));
    skip("before the error", PGRES_TUPLES_OK);
    end_of_results("before the error");
    PGresult *r = next("the error", PGRES_FATAL_ERROR);
    expect("division by zero", strcmp(PQresultErrorField(r, PG_DIAG_SQLSTATE), "22012") == 0);
    PQclear(r);
    end_of_results("the error");
    skip("behind the error", PGRES_PIPELINE_ABORTED);
    end_of_results("behind the error");
    skip("its sync", PGRES_PIPELINE_SYNC);
    skip("the next segment", PGRES_TUPLES_OK);
    end_of_results("the next segment");
    skip("its sync", PGRES_PIPELINE_SYNC);
    expect("leave", PQexitPipelineMode(conn));
}

static void single_rows(void)
{
    char sql[128];
    (void)snprintf(sql, sizeof(sql), "SELECT id FROM %s ORDER BY id", table);
    expect("send", PQsendQueryParams(conn, sql, 0, NULL, NULL, NULL, NULL, 1));
    expect("single rows", PQsetSingleRowMode(conn));
    int rows = 0;
    PGresult *r = PQgetResult(conn);
    for (; r != NULL && PQresultStatus(r) == PGRES_SINGLE_TUPLE; r = PQgetResult(conn)) {
        rows++;
        expect("a binary bigint", PQgetlength(r, 0, 0) == 8 && PQgetvalue(r, 0, 0)[7] == rows);
        PQclear(r);
    }
    expect("the last", r != NULL && PQresultStatus(r) == PGRES_TUPLES_OK);
    PQclear(r);
    end_of_results("the last");
    expect("50 rows", rows == 50);
}

static void copy(void)
{
    char sql[128];
    (void)snprintf(sql, sizeof(sql), "COPY %s (id, name) FROM STDIN", table);
    run(sql, PGRES_COPY_IN);
    expect("data", PQputCopyData(conn, "100\tcopied\n101\tcop", 18) == 1);
    expect("data", PQputCopyData(conn, "ied\n", 4) == 1);
    expect("end", PQputCopyEnd(conn, NULL) == 1);
    skip("COPY", PGRES_COMMAND_OK);
    end_of_results("COPY");
    run(sql, PGRES_COPY_IN);
    expect("data", PQputCopyData(conn, "200\tlost\n", 9) == 1);
    expect("failed on purpose", PQputCopyEnd(conn, "changed my mind") == 1);
    skip("a failed COPY", PGRES_FATAL_ERROR);
    end_of_results("a failed COPY");
}

static void cancel(void)
{
    char why[256];
    expect("send", PQsendQuery(conn, "SELECT pg_sleep(30)"));
    (void)usleep(200000);
    PGcancel *c = PQgetCancel(conn);
    expect("cancel", PQcancel(c, why, sizeof(why)));
    PQfreeCancel(c);
    PGresult *r = next("cancelled", PGRES_FATAL_ERROR);
    expect("57014", strcmp(PQresultErrorField(r, PG_DIAG_SQLSTATE), "57014") == 0);
    PQclear(r);
    end_of_results("cancelled");
}

static void large_objects(void)
{
    char text[8] = "";
    run("BEGIN", PGRES_COMMAND_OK);
    Oid oid = lo_creat(conn, INV_READ | INV_WRITE);
    int fd = lo_open(conn, oid, INV_READ | INV_WRITE);
    expect("open", oid != 0 && fd >= 0);
    expect("write", lo_write(conn, fd, "large", 5) == 5);
    expect("seek", lo_lseek(conn, fd, 2, SEEK_SET) == 2);
    expect("read", lo_read(conn, fd, text, sizeof(text)) == 3 && strcmp(text, "rge") == 0);
    expect("close", lo_close(conn, fd) == 0 && lo_unlink(conn, oid) == 1);
    run("COMMIT", PGRES_COMMAND_OK);
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fail("usage", "libpq PORT DATABASE TABLE");
    }
    const char *keys[] = {"host", "port", "dbname", "user", "password", "options", NULL};
    const char *values[] = {"127.0.0.1", argv[1], argv[2], "app", "secret", "-c geqo=off", NULL};
    table = argv[3];
    conn = PQconnectdbParams(keys, values, 0);
    expect("connect", PQstatus(conn) == CONNECTION_OK);
    PGresult *r = PQexec(conn, "SHOW geqo");
    expect("options", PQntuples(r) == 1 && strcmp(PQgetvalue(r, 0, 0), "off") == 0);
    PQclear(r);
    pipeline();
    single_rows();
    copy();
    cancel();
    const char *sharded = getenv("SHARDED");
    if (sharded == NULL || strcmp(sharded, "1") != 0) {
        large_objects();
    }
    PQfinish(conn);
    return 0;
}
