/*
 * Looking at the prepared transactions of one database: list, ask the ledger, finish.
 *
 *     recover_database()   one pass over the ledger's orphans
 *       look_at_shard() x N threads   connect, RECOVER_QUERY, verdicts, COMMIT/ROLLBACK PREPARED
 *     recover_end()        orphans that no list shows are forgotten, when all lists were read
 *
 * The threads share the pass under a mutex; it is held for the ledger's answer, never over I/O.
 *
 * COMMIT PREPARED and ROLLBACK PREPARED belong to the transaction's owner or a superuser. Where the
 * service user is neither, the role of the owner is taken for that one statement, which works when
 * the service user is a member of it; else a connection is made as the owner, with the password of
 * the users file. Else the log says what to grant.
 */

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "replication/pq.h"

/* One pass. Lives on the stack of recover_database(); the lock guards pass and report. */
struct recovery {
    struct recover_pass pass;
    struct recover_report *report;
    struct slice tag;
    struct pg_stop *stop;
    pthread_mutex_t lock;
};

/* One shard of it, on a thread of its own. */
struct look {
    struct recovery *all;
    const struct recover_place *place;
    PGconn *conn;
    pthread_t thread;
};

static void say_failed(const struct look *l, const char *gid, const char *owner,
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
    enum err e = pq_run(l->conn, (const char *)set.p, (struct pq_wait){timeout_ms, l->all->stop},
                        NULL, NULL, &unused);
    buf_free(&set);
    if (e) {
        return e;
    }
    e = pq_run(l->conn, sql, (struct pq_wait){timeout_ms, l->all->stop}, NULL, trouble, note);
    if (e == ERR_NONE || e == ERR_SHARD_REFUSED) {
        /* A role that stays behind only makes the next one ask again; a lost connection shows. */
        enum err reset = pq_run(l->conn, "RESET ROLE", (struct pq_wait){timeout_ms, l->all->stop},
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
    e = pq_run(conn, sql, (struct pq_wait){target.timeout_ms, l->all->stop}, NULL, trouble,
               &unused);
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

static enum err finish(const struct look *l, int commit, const char *gid, const char *owner,
                       struct pq_trouble *trouble, struct note *note)
{
    char sql[GID_BYTES_MAX + 64];
    (void)snprintf(sql, sizeof(sql), "%s PREPARED '%s'", commit ? "COMMIT" : "ROLLBACK", gid);
    enum err e = pq_run(l->conn, sql, (struct pq_wait){l->place->target.timeout_ms, l->all->stop},
                        NULL, trouble, note);
    if (e == ERR_SHARD_REFUSED && strcmp(trouble->sqlstate, "42501") == 0) {
        struct note denied = *note;
        e = finish_for(l, sql, owner, trouble, &denied, note);
    }
    return e;
}

static enum recover_verdict ask_ledger(struct look *l, const char *text, struct gid *gid)
{
    check(pthread_mutex_lock(&l->all->lock) == 0);
    enum recover_verdict verdict = recover_seen(&l->all->pass, slice_of(text), gid);
    check(pthread_mutex_unlock(&l->all->lock) == 0);
    return verdict;
}

/* Count it. The ledger hears of a commit only from the server's own answer. */
static void note_outcome(struct look *l, int commit, struct gid gid, enum err e, int vanished,
                         const struct note *note)
{
    struct recover_report *report = l->all->report;
    check(pthread_mutex_lock(&l->all->lock) == 0);
    if (e == ERR_NONE && commit) {
        recover_committed(&l->all->pass, gid);
    }
    report->committed += e == ERR_NONE && commit;
    report->rolled_back += e == ERR_NONE && !commit;
    report->vanished += e != ERR_NONE && vanished;
    if (e != ERR_NONE && !vanished) {
        report->failed++;
        report->note = *note;
    }
    check(pthread_mutex_unlock(&l->all->lock) == 0);
}

/* ERR_NONE also when this one could not be finished but the connection goes on. */
static enum err handle_gid(struct look *l, const char *text, const char *owner, struct note *note)
{
    struct gid gid;
    enum recover_verdict verdict = ask_ledger(l, text, &gid);
    if (verdict == RECOVER_LEAVE) {
        return ERR_NONE;
    }
    int commit = verdict == RECOVER_COMMIT;
    struct pq_trouble trouble = {.sqlstate = ""};
    enum err e = finish(l, commit, text, owner, &trouble, note);
    int vanished = e == ERR_SHARD_REFUSED && strcmp(trouble.sqlstate, "42704") == 0;
    note_outcome(l, commit, gid, e, vanished, note);
    if (e == ERR_NONE) {
        log_event(LOG_TX_RECOVERED, "database=" SLICE_FMT " shard=%s gid=%s outcome=%s",
                  SLICE_ARG(l->all->tag), l->place->shard, text, commit ? "commit" : "rollback");
    } else if (!vanished && e != ERR_SHUTDOWN) {
        say_failed(l, text, owner, &trouble, note);
    }
    return e == ERR_SHARD_REFUSED ? ERR_NONE : e;
}

static enum err handle_list(struct look *l, const PGresult *list, struct note *note)
{
    int rows = PQntuples(list);
    if (PQnfields(list) != 3 || rows < 1) {
        return note_set(note, ERR_SHARD_PROTOCOL, "the list of prepared transactions is empty");
    }
    if (strcmp(PQgetvalue(list, 0, 0), "f") != 0) {
        return note_set(note, ERR_SHARD_REFUSED, "the server is a standby, not a primary");
    }
    enum err e = ERR_NONE;
    for (int i = 0; e == ERR_NONE && i < rows; i++) {
        if (!PQgetisnull(list, i, 1)) {
            e = handle_gid(l, PQgetvalue(list, i, 1), PQgetvalue(list, i, 2), note);
        }
    }
    return e;
}

static void *look_at_shard(void *arg)
{
    struct look *l = arg;
    const struct pg_target *target = &l->place->target;
    struct note note = {.text = ""};
    PGresult *list = NULL;
    enum err e = pq_open(target, l->all->stop, &l->conn, NULL, &note);
    if (!e) {
        e = pq_run(l->conn, RECOVER_QUERY, (struct pq_wait){target->timeout_ms, l->all->stop},
                   &list, NULL, &note);
    }
    if (!e) {
        e = handle_list(l, list, &note);
    }
    PQclear(list);
    pq_close(l->conn);
    check(pthread_mutex_lock(&l->all->lock) == 0);
    l->all->report->listed += e == ERR_NONE;
    if (e != ERR_NONE && e != ERR_SHUTDOWN && e != ERR_SHARD_DOWN) {
        struct recover_report *report = l->all->report;
        report->refused = 1;
        report->note = note;
        (void)note_wrap(&report->note, e, l->place->shard);
    }
    check(pthread_mutex_unlock(&l->all->lock) == 0);
    return NULL;
}

void recover_database(struct ledger *ledger, struct slice tag, const struct recover_place *places,
                      size_t count, struct pg_stop *stop, struct recover_report *out)
{
    check(count > 0 && count <= TXN_SHARDS_MAX);
    memset(out, 0, sizeof(*out));
    struct recovery all = {.report = out, .tag = tag, .stop = stop};
    check(pthread_mutex_init(&all.lock, NULL) == 0);
    recover_begin(&all.pass, ledger, tag);
    struct look looks[TXN_SHARDS_MAX] = {{0}};
    for (size_t i = 0; i < count; i++) {
        looks[i] = (struct look){.all = &all, .place = &places[i]};
        check(pthread_create(&looks[i].thread, NULL, look_at_shard, &looks[i]) == 0);
    }
    for (size_t i = 0; i < count; i++) {
        check(pthread_join(looks[i].thread, NULL) == 0);
    }
    recover_end(&all.pass, out->listed == count);
    check(pthread_mutex_destroy(&all.lock) == 0);
}
