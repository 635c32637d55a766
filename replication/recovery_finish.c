/*
 * COMMIT PREPARED and ROLLBACK PREPARED of what recovery has found. They belong to the
 * transaction's owner or a superuser. Where the service user is neither, the role of the owner is
 * taken for that one statement, which works when the service user is a member of it; else a
 * connection is made as the owner, with the password of the users file. Else the log says what to
 * grant.
 */

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "replication/recovery_impl.h"

void recovery_say_failed(const struct look *l, const char *gid, const char *owner,
                         const struct pq_trouble *trouble, const struct note *note)
{
    char hint[240] = "";
    if (strcmp(trouble->sqlstate, "42501") == 0) {
        (void)snprintf(
            hint, sizeof(hint),
            "only its owner or a superuser may finish it: GRANT %.60s TO %.60s, or finish "
            "it by hand",
            owner, l->place->target.user);
    }
    log_event(LOG_TX_RECOVERY_FAILED,
              "database=" SLICE_FMT " shard=%s gid=%s owner=%s error=\"%s\" hint=\"%s\"",
              SLICE_ARG(l->all->tag), l->place->shard, gid, owner, note->text, hint);
}

static enum err in_role_of(const struct look *l, const char *sql, const char *owner,
                           struct pq_trouble *trouble, struct note *note)
{
    int timeout_ms = l->place->target.timeout_ms;
    char *role = PQescapeIdentifier(l->conn, owner, strlen(owner));
    if (role == NULL) {
        return ERR_SHARD_REFUSED;
    }
    struct buf set = {0};
    buf_printf(&set, "SET ROLE %s", role);
    buf_u8(&set, 0);
    PQfreemem(role);
    struct note unused;
    enum err e = pq_run(l->conn, (const char *)set.p,
                        (struct pq_wait){.timeout_ms = timeout_ms, .stop = l->all->stop}, NULL,
                        NULL, &unused);
    buf_free(&set);
    if (e) {
        return e;
    }
    e = pq_run(l->conn, sql, (struct pq_wait){.timeout_ms = timeout_ms, .stop = l->all->stop}, NULL,
               trouble, note);
    if (e == ERR_NONE || e == ERR_SHARD_REFUSED) {
        /* A role that stays behind only makes the next one ask again; a lost connection shows. */
        enum err reset = pq_run(l->conn, "RESET ROLE",
                                (struct pq_wait){.timeout_ms = timeout_ms, .stop = l->all->stop},
                                NULL, NULL, &unused);
        (void)reset;
    }
    return e;
}

static enum err as_owner(const struct look *l, const char *sql, const char *owner,
                         struct pq_trouble *trouble)
{
    struct pg_target target = l->place->target;
    struct note unused;
    PGconn *conn = NULL;
    if (l->place->conf == NULL) {
        return ERR_SHARD_REFUSED;
    }
    pg_target_login_as(&target, l->place->conf, owner);
    enum err e = pq_open(&target, l->all->stop, &conn, NULL, &unused);
    if (e) {
        return e;
    }
    e = pq_run(conn, sql, (struct pq_wait){.timeout_ms = target.timeout_ms, .stop = l->all->stop},
               NULL, trouble, &unused);
    pq_close(conn);
    return e;
}

/* Denied: try it in the name of the owner. The first refusal stays the one to tell. */
static enum err finish_for(const struct look *l, const char *sql, const char *owner,
                           struct pq_trouble *trouble, const struct note *denied, struct note *note)
{
    struct pq_trouble again = *trouble;
    enum err e = in_role_of(l, sql, owner, &again, note);
    if (e == ERR_SHARD_REFUSED && strcmp(again.sqlstate, "42501") == 0) {
        e = as_owner(l, sql, owner, &again);
        e = e == ERR_SHARD_DOWN ? ERR_SHARD_REFUSED : e; /* this connection is not lost by that */
    }
    if (e == ERR_SHARD_REFUSED && strcmp(again.sqlstate, "42704") != 0) {
        *note = *denied;
        return e;
    }
    *trouble = again;
    return e;
}

enum err recovery_finish(const struct look *l, int commit, const char *gid, const char *owner,
                         struct pq_trouble *trouble, struct note *note)
{
    char sql[GID_BYTES_MAX + 64];
    (void)snprintf(sql, sizeof(sql), "%s PREPARED '%s'", commit ? "COMMIT" : "ROLLBACK", gid);
    enum err e =
        pq_run(l->conn, sql,
               (struct pq_wait){.timeout_ms = l->place->target.timeout_ms, .stop = l->all->stop},
               NULL, trouble, note);
    if (e == ERR_SHARD_REFUSED && strcmp(trouble->sqlstate, "42501") == 0) {
        struct note denied = *note;
        e = finish_for(l, sql, owner, trouble, &denied, note);
    }
    return e;
}
