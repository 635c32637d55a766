/*
 * Parts of clients' prepared transactions that were left behind: home's commit log says what became
 * of the transaction that a part names (txn/user_gid.h). While home still has it prepared, or its
 * session is at it, the answer is "in progress", and the part stays as it is, for ever if need be.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "replication/pq.h"

static const char LIST_SQL[] =
    "SELECT gid, owner FROM pg_catalog.pg_prepared_xacts WHERE "
    "database = pg_catalog.current_database() AND "
    "pg_catalog.left(gid, 13) = '" USER_GID_PREFIX "' AND NOT pg_catalog.pg_is_in_recovery()";

struct users {
    const struct recover_place *places;
    struct pg_stop *stop;
    struct slice tag;
    struct recover_report *out;
    PGconn *home; /* NULL: not asked yet */
    uint64_t system;
};

static struct pq_wait wait_of(const struct users *u, const struct recover_place *place)
{
    return (struct pq_wait){.timeout_ms = place->target.timeout_ms, .stop = u->stop};
}

static enum err open_home(struct users *u, struct note *note)
{
    PGresult *row = NULL;
    if (u->home != NULL) {
        return ERR_NONE;
    }
    enum err e = pq_open(&u->places[0].target, u->stop, &u->home, NULL, note);
    if (e) {
        u->home = NULL;
        return e;
    }
    e = pq_run(u->home,
               "SELECT system_identifier FROM pg_catalog.pg_control_system() "
               "WHERE NOT pg_catalog.pg_is_in_recovery()",
               wait_of(u, &u->places[0]), &row, NULL, note);
    u->system = e || PQntuples(row) != 1 ? 0 : strtoull(PQgetvalue(row, 0, 0), NULL, 10);
    PQclear(row);
    return e;
}

/* 1: committed, 0: aborted, -1: neither, or nobody knows. */
static int outcome(struct users *u, const struct user_gid *gid)
{
    char sql[128];
    struct note note;
    PGresult *row = NULL;
    int found = -1;
    if (open_home(u, &note) != ERR_NONE || u->system == 0 || u->system != gid->system) {
        return -1;
    }
    (void)snprintf(sql, sizeof(sql), "SELECT pg_catalog.txid_status(%" PRIu64 ")",
                   gid->transaction);
    if (pq_run(u->home, sql, wait_of(u, &u->places[0]), &row, NULL, &note) == ERR_NONE &&
        PQntuples(row) == 1) {
        const char *said = PQgetvalue(row, 0, 0);
        found = strcmp(said, "committed") == 0 ? 1 : strcmp(said, "aborted") == 0 ? 0 : -1;
    }
    PQclear(row);
    return found;
}

static enum err run_as(const struct users *u, const struct recover_place *place, PGconn *conn,
                       const char *sql, const char *owner, struct note *note)
{
    struct pq_trouble trouble = {.sqlstate = ""};
    enum err e = pq_run(conn, sql, wait_of(u, place), NULL, &trouble, note);
    if (e != ERR_SHARD_REFUSED || strcmp(trouble.sqlstate, "42501") != 0 || place->conf == NULL) {
        return strcmp(trouble.sqlstate, "42704") == 0 ? ERR_AGAIN : e;
    }
    struct pg_target target = place->target; /* only its owner or a superuser may */
    struct note unused;
    PGconn *own = NULL;
    pg_target_login_as(&target, place->conf, owner);
    if (pq_open(&target, u->stop, &own, NULL, &unused) != ERR_NONE) {
        return e;
    }
    enum err again = pq_run(own, sql, wait_of(u, place), NULL, &trouble, note);
    pq_close(own);
    return again;
}

static void end_part(struct users *u, const struct recover_place *place, PGconn *conn,
                     const char *gid, const char *owner)
{
    struct user_gid parsed;
    struct note note;
    struct buf sql = {0};
    int commit = user_gid_parse(slice_of(gid), &parsed) ? outcome(u, &parsed) : -1;
    char *literal = commit < 0 ? NULL : PQescapeLiteral(conn, gid, strlen(gid));
    if (literal == NULL) {
        return;
    }
    buf_printf(&sql, "%s PREPARED %s", commit ? "COMMIT" : "ROLLBACK", literal);
    buf_u8(&sql, 0);
    PQfreemem(literal);
    enum err e = run_as(u, place, conn, (const char *)sql.p, owner, &note);
    buf_free(&sql);
    if (e == ERR_NONE) {
        u->out->committed += (unsigned)commit;
        u->out->rolled_back += (unsigned)!commit;
        log_event(LOG_TX_RECOVERED, "database=" SLICE_FMT " shard=%s gid=%s outcome=%s",
                  SLICE_ARG(u->tag), place->shard, gid, commit ? "commit" : "rollback");
    } else if (e != ERR_AGAIN && e != ERR_SHUTDOWN) { /* AGAIN: somebody else was faster */
        u->out->failed++;
        log_event(LOG_TX_RECOVERY_FAILED,
                  "database=" SLICE_FMT " shard=%s gid=%s owner=%s error=\"%s\" hint=\"\"",
                  SLICE_ARG(u->tag), place->shard, gid, owner, note.text);
    }
}

void recover_users(const struct recover_place *places, size_t count, struct pg_stop *stop,
                   struct slice tag, struct recover_report *out)
{
    struct users u = {.places = places, .stop = stop, .tag = tag, .out = out};
    for (size_t i = 1; i < count; i++) {
        struct note note;
        PGconn *conn = NULL;
        PGresult *list = NULL;
        if (pq_open(&places[i].target, stop, &conn, NULL, &note) != ERR_NONE) {
            continue; /* the list of our own has said so */
        }
        enum err e = pq_run(conn, LIST_SQL, wait_of(&u, &places[i]), &list, NULL, &note);
        for (int row = 0; e == ERR_NONE && row < PQntuples(list); row++) {
            end_part(&u, &places[i], conn, PQgetvalue(list, row, 0), PQgetvalue(list, row, 1));
        }
        PQclear(list);
        pq_close(conn);
    }
    pq_close(u.home);
}
