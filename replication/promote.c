/*
 * FAILOVER's two questions to servers: how far are you, and: become primary. Before that, the
 * operator's program that stops the old one (fencing).
 */

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/check.h"
#include "base/clock.h"
#include "replication/pq.h"

enum {
    LOOK_MS = 20,
    PROMOTE_S = 60, /* pg_promote() itself waits so long */
    SHELL_NOT_FOUND = 127
};

enum err promote_ask(const struct pg_target *target, struct pg_stop *stop,
                     struct promote_position *out, struct note *note)
{
    static const char sql[] =
        "SELECT pg_catalog.pg_is_in_recovery()::int, "
        "(SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()), "
        "greatest(pg_catalog.pg_last_wal_receive_lsn(), pg_catalog.pg_last_wal_replay_lsn()) "
        "- '0/0'::pg_catalog.pg_lsn";
    PGconn *conn = NULL;
    PGresult *result = NULL;
    struct pq_trouble trouble = {""};
    enum err e = pq_open(target, stop, &conn, &trouble, note);
    if (!e) {
        e = pq_run(conn, sql, (struct pq_wait){.timeout_ms = target->timeout_ms, .stop = stop},
                   &result, &trouble, note);
    }
    if (!e && PQntuples(result) == 1 && PQnfields(result) == 3) {
        out->in_recovery = PQgetvalue(result, 0, 0)[0] == '1';
        out->timeline = (uint32_t)strtoul(PQgetvalue(result, 0, 1), NULL, 10);
        out->received = strtoull(PQgetvalue(result, 0, 2), NULL, 10);
    }
    PQclear(result);
    pq_close(conn);
    return e;
}

enum err promote_server(const struct pg_target *target, struct pg_stop *stop, struct note *note)
{
    char sql[80];
    PGconn *conn = NULL;
    PGresult *result = NULL;
    struct pq_trouble trouble = {""};
    enum err e = pq_open(target, stop, &conn, &trouble, note);
    if (e) {
        return e;
    }
    (void)snprintf(sql, sizeof(sql), "SELECT pg_catalog.pg_promote(true, %d)", PROMOTE_S);
    int wait_ms = target->timeout_ms + PROMOTE_S * 1000;
    e = pq_run(conn, sql, (struct pq_wait){.timeout_ms = wait_ms, .stop = stop}, &result, &trouble,
               note);
    if (e && strcmp(trouble.sqlstate, "42501") == 0) {
        note_hint(note,
                  "On the primary, in database \"%.60s\": GRANT EXECUTE ON FUNCTION pg_promote TO "
                  "\"%.60s\".",
                  target->dbname, target->user);
    }
    if (!e && (PQntuples(result) != 1 || PQgetvalue(result, 0, 0)[0] != 't')) {
        e = note_set(note, ERR_SHARD_DOWN, "it was not promoted within %d s", PROMOTE_S);
    }
    PQclear(result);
    pq_close(conn);
    return e;
}

/* ---- fencing ----------------------------------------------------------------------------------
 */

/* Our environment and what the program is told. */
static char **make_environment(struct arena *a, const struct fence_order *order)
{
    size_t count = 0;
    while (environ[count] != NULL) {
        count++;
    }
    char **all = arena_zero(a, (count + 6) * sizeof(*all));
    memcpy(all, environ, count * sizeof(*all));
    all[count++] = arena_printf(a, "BRAID_DATABASE=%s", order->database);
    all[count++] = arena_printf(a, "BRAID_SHARD=%s", order->shard);
    all[count++] = arena_printf(a, "BRAID_SERVER=%s", order->server);
    all[count++] = arena_printf(a, "BRAID_HOST=%s", order->host);
    all[count] = arena_printf(a, "BRAID_PORT=%u", (unsigned)order->port);
    return all;
}

static enum err start_program(const struct fence_order *order, pid_t *pid, struct note *note)
{
    struct arena arena = {0};
    posix_spawnattr_t attr;
    char *words[] = {arena_strdup(&arena, "/bin/sh"), arena_strdup(&arena, "-c"),
                     arena_strdup(&arena, order->command), NULL};
    check(posix_spawnattr_init(&attr) == 0);
    (void)posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP);
    (void)posix_spawnattr_setpgroup(&attr, 0); /* what it starts ends with it */
    int status = posix_spawn(pid, words[0], NULL, &attr, words, make_environment(&arena, order));
    (void)posix_spawnattr_destroy(&attr);
    arena_free(&arena);
    return status == 0 ? ERR_NONE
                       : note_set(note, ERR_IO, "service.fence_command cannot be run: %s",
                                  strerror(status));
}

static enum err judge(int status, struct note *note)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        return ERR_NONE;
    }
    if (WIFEXITED(status)) {
        return note_set(note, ERR_IO, "service.fence_command ended with exit status %d%s",
                        WEXITSTATUS(status),
                        WEXITSTATUS(status) == SHELL_NOT_FOUND ? " (not found)" : "");
    }
    return note_set(note, ERR_IO, "service.fence_command was ended by signal %d",
                    WIFSIGNALED(status) ? WTERMSIG(status) : 0);
}

enum err fence_run(const struct fence_order *order, struct pg_stop *stop, struct note *note)
{
    pid_t pid = 0;
    int status = 0;
    enum err e = start_program(order, &pid, note);
    if (e) {
        return e;
    }
    int64_t deadline_us = clock_now_us() + (int64_t)order->timeout_ms * 1000;
    for (;;) {
        pid_t ended = waitpid(pid, &status, WNOHANG);
        if (ended == pid) {
            return judge(status, note);
        }
        if (ended < 0 && errno != EINTR) {
            return note_set(note, ERR_IO, "service.fence_command was lost: %s", strerror(errno));
        }
        if (clock_now_us() > deadline_us || !pq_sleep(stop, LOOK_MS)) {
            (void)kill(-pid, SIGKILL);
            (void)waitpid(pid, &status, 0);
            return note_set(note, ERR_IO, "service.fence_command did not end within %d ms",
                            order->timeout_ms);
        }
    }
}
