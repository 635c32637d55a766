/* Reading a database's catalog from its home shard: one snapshot, all rows fed to the planner. */

#include "base/check.h"
#include "replication/pq.h"

enum {
    CATALOG_COLUMNS_MAX = 64
};

static enum err feed_rows(const struct catalog_source *source, size_t query, const PGresult *result,
                          struct note *note)
{
    int columns = PQnfields(result);
    if (columns > CATALOG_COLUMNS_MAX) {
        return note_set(note, ERR_INTERNAL, "catalog query %zu has %d columns", query, columns);
    }
    struct slice values[CATALOG_COLUMNS_MAX];
    for (int row = 0; row < PQntuples(result); row++) {
        for (int column = 0; column < columns; column++) {
            values[column] = pq_cell(result, row, column);
        }
        enum err e = source->row(source->arg, query, values, (size_t)columns, note);
        if (e) {
            return e;
        }
    }
    return ERR_NONE;
}

static enum err read_all(PGconn *conn, const struct pg_target *home,
                         const struct catalog_source *source, struct pg_stop *stop,
                         struct note *note)
{
    enum err e =
        pq_run(conn, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
               (struct pq_wait){.timeout_ms = home->timeout_ms, .stop = stop}, NULL, NULL, note);
    for (size_t i = 0; e == ERR_NONE && i < source->queries_count; i++) {
        PGresult *result = NULL;
        e = pq_run(conn, source->query(i),
                   (struct pq_wait){.timeout_ms = home->timeout_ms, .stop = stop}, &result, NULL,
                   note);
        if (e == ERR_NONE && result != NULL) {
            e = feed_rows(source, i, result, note);
        }
        PQclear(result);
    }
    if (e == ERR_NONE) {
        e = pq_run(conn, "COMMIT", (struct pq_wait){.timeout_ms = home->timeout_ms, .stop = stop},
                   NULL, NULL, note);
    }
    return e;
}

/* A refusal is no reason not to read: what was declared in SQL is then just not there. */
static enum err install(PGconn *conn, const struct pg_target *home, const char *sql,
                        struct pg_stop *stop, struct note *why, struct note *note)
{
    enum err e = pq_run(conn, sql, (struct pq_wait){.timeout_ms = home->timeout_ms, .stop = stop},
                        NULL, NULL, note);
    if (e != ERR_SHARD_REFUSED) {
        return e;
    }
    *why = *note;
    note_hint(
        why,
        "let user \"%s\" create the schema once: GRANT CREATE ON DATABASE \"%s\" TO \"%s\"; until "
        "then tables can only be declared in the configuration file",
        home->user, home->dbname, home->user);
    return pq_run(conn, "ROLLBACK", (struct pq_wait){.timeout_ms = home->timeout_ms, .stop = stop},
                  NULL, NULL, note);
}

enum err catalog_load(const struct pg_target *home, const char *install_sql,
                      const struct catalog_source *source, struct pg_stop *stop,
                      struct note *install_note, struct note *note)
{
    install_note->text[0] = '\0';
    install_note->hint[0] = '\0';
    PGconn *conn = NULL;
    enum err e = pq_open(home, stop, &conn, NULL, note);
    if (e) {
        return e;
    }
    if (install_sql != NULL) {
        e = install(conn, home, install_sql, stop, install_note, note);
    }
    if (e == ERR_NONE) {
        e = read_all(conn, home, source, stop, note);
    }
    pq_close(conn);
    return e;
}
