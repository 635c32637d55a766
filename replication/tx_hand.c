/*
 * What `braidctl tx` asks a shard: which transactions are prepared there, what it has decided, and
 * the end of one by hand. Connects anew each time: an operator is not in a hurry.
 */

#include <stdlib.h>
#include <string.h>

#include "replication/pq.h"
#include "txn/ledger_table.h"

static const char list_sql[] =
    "SELECT gid, owner, pg_catalog.to_char(prepared, 'YYYY-MM-DD HH24:MI:SS.MS TZ'), "
    "(EXTRACT(epoch FROM pg_catalog.clock_timestamp() - prepared) * 1000)::bigint "
    "FROM pg_catalog.pg_prepared_xacts WHERE database = pg_catalog.current_database() "
    "AND pg_catalog.left(gid, 8) = 'pgbraid_' ORDER BY prepared";

static enum err ask(PGconn *conn, const struct pg_target *target, const char *sql, PGresult **out,
                    struct note *note)
{
    return pq_run(conn, sql, (struct pq_wait){.timeout_ms = target->timeout_ms, .stop = NULL}, out,
                  NULL, note);
}

static enum err read_place(PGconn *conn, const struct pg_target *target, uint32_t *place,
                           struct note *note)
{
    PGresult *result = NULL;
    *place = 0;
    enum err e = ask(conn, target, LEDGER_TABLE_FACTS, &result, note);
    int has_table = !e && PQntuples(result) == 1 && strcmp(PQgetvalue(result, 0, 2), "t") == 0;
    PQclear(result);
    if (e || !has_table) {
        return e;
    }
    result = NULL;
    e = ask(conn, target, LEDGER_TABLE_PLACE, &result, note);
    if (!e && PQntuples(result) == 1) {
        *place = (uint32_t)strtoul(PQgetvalue(result, 0, 0), NULL, 10);
    }
    PQclear(result);
    return e;
}

enum err hand_list(const struct pg_target *target, hand_row_fn *row, void *arg, uint32_t *place,
                   struct note *note)
{
    PGconn *conn = NULL;
    PGresult *result = NULL;
    enum err e = pq_open(target, NULL, &conn, NULL, note);
    if (e) {
        return e;
    }
    e = read_place(conn, target, place, note);
    if (!e) {
        e = ask(conn, target, list_sql, &result, note);
    }
    for (int i = 0; !e && i < PQntuples(result); i++) {
        struct hand_prepared p = {.gid = PQgetvalue(result, i, 0),
                                  .owner = PQgetvalue(result, i, 1),
                                  .prepared = PQgetvalue(result, i, 2),
                                  .age_ms = strtoll(PQgetvalue(result, i, 3), NULL, 10)};
        row(arg, &p);
    }
    PQclear(result);
    pq_close(conn);
    return e;
}

enum err hand_decision(const struct pg_target *target, const struct gid *gid, int mark,
                       char *outcome, struct note *note)
{
    PGconn *conn = NULL;
    PGresult *result = NULL;
    struct buf sql = {0};
    *outcome = 0;
    enum err e = pq_open(target, NULL, &conn, NULL, note);
    if (e) {
        return e;
    }
    if (mark) {
        ledger_table_mark(&sql, gid);
        buf_u8(&sql, 0);
        e = ask(conn, target, "SET lock_timeout = '5s'", NULL, note);
        e = e ? e : ask(conn, target, (const char *)sql.p, NULL, note);
        sql.n = 0;
    }
    if (!e) {
        ledger_table_ask(&sql, gid);
        buf_u8(&sql, 0);
        e = ask(conn, target, (const char *)sql.p, &result, note);
    }
    if (!e && PQntuples(result) == 1) {
        *outcome = PQgetvalue(result, 0, 0)[0];
    }
    buf_free(&sql);
    PQclear(result);
    pq_close(conn);
    return e;
}

static enum err end_as(const struct pg_target *target, const char *gid, int commit,
                       struct pq_trouble *trouble, struct note *note)
{
    PGconn *conn = NULL;
    struct buf sql = {0};
    enum err e = pq_open(target, NULL, &conn, trouble, note);
    if (e) {
        return e;
    }
    buf_printf(&sql, "%s PREPARED '%s'", commit ? "COMMIT" : "ROLLBACK",
               gid); /* gid_parse() took it */
    buf_u8(&sql, 0);
    e = pq_run(conn, (const char *)sql.p,
               (struct pq_wait){.timeout_ms = target->timeout_ms, .stop = NULL}, NULL, trouble,
               note);
    buf_free(&sql);
    pq_close(conn);
    return e;
}

enum err hand_end(const struct pg_target *target, const struct conf *conf,
                  const struct hand_prepared *what, int commit, struct note *note)
{
    struct pq_trouble trouble = {.sqlstate = ""};
    enum err e = end_as(target, what->gid, commit, &trouble, note);
    if (e == ERR_SHARD_REFUSED && strcmp(trouble.sqlstate, "42501") == 0) {
        struct pg_target owner = *target; /* only its owner and a superuser may */
        struct note unused;
        pg_target_login_as(&owner, conf, what->owner);
        if (end_as(&owner, what->gid, commit, &trouble, &unused) == ERR_NONE) {
            e = ERR_NONE;
        }
    }
    return e;
}
