/* braidctl's way to the admin console: one statement, its rows as a table of plain text. */

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "replication/pq.h"

static void print_notice(void *arg, const PGresult *result)
{
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
    buf_printf(arg, "%s\n", text == NULL ? "" : text);
    if (detail != NULL) {
        buf_printf(arg, "%s\n", detail);
    }
}

/* Widths in bytes; names on the console are almost always ASCII. */
static void print_table(const PGresult *result, struct buf *out)
{
    int columns = PQnfields(result);
    int rows = PQntuples(result);
    size_t *width = mem_zero(((size_t)columns + 1) * sizeof(*width));
    for (int c = 0; c < columns; c++) {
        width[c] = strlen(PQfname(result, c));
        for (int r = 0; r < rows; r++) {
            size_t n = (size_t)PQgetlength(result, r, c);
            width[c] = n > width[c] ? n : width[c];
        }
    }
    for (int r = -1; r < rows; r++) {
        for (int c = 0; c < columns; c++) {
            const char *text = r < 0 ? PQfname(result, c) : PQgetvalue(result, r, c);
            buf_text(out, text);
            for (size_t n = strlen(text); c + 1 < columns && n < width[c] + 2; n++) {
                buf_u8(out, ' ');
            }
        }
        buf_u8(out, '\n');
    }
    mem_free(width);
}

/* The last column of each row, appended as a line each. */
static enum err run_for_values(PGconn *conn, const struct pg_target *target, const char *sql,
                               struct buf *out, struct note *note)
{
    PGresult *result = NULL;
    enum err e = pq_run(conn, sql, (struct pq_wait){.timeout_ms = target->timeout_ms, .stop = NULL},
                        &result, NULL, note);
    int rows = e || result == NULL ? 0 : PQntuples(result);
    for (int r = 0; r < rows; r++) {
        buf_printf(out, "%s\n", PQgetvalue(result, r, PQnfields(result) - 1));
    }
    PQclear(result);
    return e;
}

enum err console_values(const struct pg_target *target, const char *sql, struct buf *out,
                        struct note *note)
{
    PGconn *conn = NULL;
    enum err e = pq_open(target, NULL, &conn, NULL, note);
    if (e == ERR_NONE) {
        e = run_for_values(conn, target, sql, out, note);
        pq_close(conn);
    }
    return e;
}

enum err console_follow(const struct pg_target *target, const char *sql, console_lines_fn *fn,
                        void *arg, struct note *note)
{
    PGconn *conn = NULL;
    struct buf lines = {0};
    int goes_on = 1;
    enum err e = pq_open(target, NULL, &conn, NULL, note);
    if (e) {
        return e;
    }
    while (e == ERR_NONE && goes_on) {
        lines.n = 0;
        e = run_for_values(conn, target, sql, &lines, note);
        goes_on = e == ERR_NONE && fn(arg, buf_slice(&lines));
    }
    buf_free(&lines);
    pq_close(conn);
    return e;
}

enum err console_run(const struct pg_target *target, const char *sql, struct buf *out,
                     struct note *note)
{
    PGconn *conn = NULL;
    enum err e = pq_open(target, NULL, &conn, NULL, note);
    if (e) {
        return e;
    }
    (void)PQsetNoticeReceiver(conn, print_notice, out);
    PGresult *result = NULL;
    e = pq_run(conn, sql, (struct pq_wait){.timeout_ms = target->timeout_ms, .stop = NULL}, &result,
               NULL, note);
    if (!e && result != NULL && PQresultStatus(result) == PGRES_TUPLES_OK) {
        print_table(result, out);
    } else if (!e && result != NULL) {
        buf_printf(out, "%s\n", PQcmdStatus(result));
    }
    PQclear(result);
    pq_close(conn);
    return e;
}
