/*
 * Recovery's side of the ledger that shards keep (txn/ledger_table.h): making it, asking it, and
 * forgetting what it need not keep.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "replication/recovery_impl.h"

enum {
    LOCK_MS = 1000 /* a marker waits so long for a decider that is running */
};

static enum err ask(struct look *l, const char *sql, PGresult **out)
{
    return pq_run(l->conn, sql,
                  (struct pq_wait){.timeout_ms = l->place->target.timeout_ms, .stop = l->all->stop},
                  out, NULL, &l->note);
}

static enum err ask_buf(struct look *l, struct buf *sql, PGresult **out)
{
    buf_u8(sql, 0);
    enum err e = ask(l, (const char *)sql->p, out);
    buf_free(sql);
    return e;
}

/* Not permitted: the shard stays without; the connection goes on. */
static enum err install(struct look *l)
{
    struct buf sql = {0};
    ledger_table_install(&sql);
    enum err e = ask_buf(l, &sql, NULL);
    if (e == ERR_SHARD_REFUSED) {
        struct note why = l->note;
        e = ask(l, "ROLLBACK", NULL);
        check(pthread_mutex_lock(&l->all->lock) == 0);
        (void)note_wrap(&why, ERR_SHARD_REFUSED, l->place->shard);
        l->all->report->table_note = why;
        check(pthread_mutex_unlock(&l->all->lock) == 0);
    }
    return e;
}

static enum err read_place(struct look *l)
{
    PGresult *result = NULL;
    enum err e = ask(l, LEDGER_TABLE_PLACE, &result);
    if (!e && PQntuples(result) == 1) {
        l->here = (uint32_t)strtoul(PQgetvalue(result, 0, 0), NULL, 10);
    }
    PQclear(result);
    return e == ERR_SHARD_REFUSED ? ERR_NONE : e;
}

static enum err read_old(struct look *l)
{
    PGresult *result = NULL;
    struct buf sql = {0};
    ledger_table_old(&sql, l->all->forgettable);
    enum err e = ask_buf(l, &sql, &result);
    int rows = e ? 0 : PQntuples(result);
    l->old = rows == 0 ? NULL : mem_zero((size_t)rows * sizeof(*l->old));
    for (int i = 0; i < rows; i++) {
        struct old_row *row = &l->old[l->old_count];
        row->instance = (uint64_t)strtoll(PQgetvalue(result, i, 0), NULL, 10);
        row->txn.start = (uint64_t)strtoll(PQgetvalue(result, i, 1), NULL, 10);
        row->txn.seq = (uint64_t)strtoll(PQgetvalue(result, i, 2), NULL, 10);
        int n = snprintf(row->places, sizeof(row->places), "%s", PQgetvalue(result, i, 3));
        l->old_count += n > 0 && n < (int)sizeof(row->places);
    }
    PQclear(result);
    return e == ERR_SHARD_REFUSED ? ERR_NONE : e;
}

/* install: make the tables when they are missing. */
enum err recovery_open_table(struct look *l, int wants_table)
{
    PGresult *facts = NULL;
    enum err e = ask(l, LEDGER_TABLE_FACTS, &facts);
    if (e || PQntuples(facts) != 1 || strcmp(PQgetvalue(facts, 0, 0), "f") != 0) {
        PQclear(facts);
        return e; /* a standby: the list will say so */
    }
    struct recover_fact *fact = &l->all->report->facts[l->number];
    fact->is_known = 1;
    fact->prepared_max = (int)strtol(PQgetvalue(facts, 0, 1), NULL, 10);
    int has_table = strcmp(PQgetvalue(facts, 0, 2), "t") == 0;
    PQclear(facts);
    if (!has_table && wants_table) {
        e = install(l);
        has_table = !e;
    }
    if (!e && has_table) {
        e = read_place(l);
    }
    fact->place = l->here;
    return !e && l->here != 0 ? read_old(l) : e;
}

/* ---- decide ----------------------------------------------------------------------------------
 */

/* 'c', 'a', or 0: nobody knows yet. */
static char outcome_of(struct look *l, const struct gid *gid)
{
    PGresult *result = NULL;
    struct buf sql = {0};
    char outcome = 0;
    ledger_table_mark(&sql, gid);
    enum err e = ask_buf(l, &sql, NULL);
    if (!e) {
        ledger_table_ask(&sql, gid);
        e = ask_buf(l, &sql, &result);
    }
    if (!e && PQntuples(result) == 1) {
        outcome = PQgetvalue(result, 0, 0)[0];
    }
    PQclear(result);
    if (e && e != ERR_SHARD_REFUSED) {
        pq_close(l->conn);
        l->conn = NULL;
        l->err = e;
    }
    return outcome;
}

void recovery_decide(struct look *l)
{
    struct recovery *all = l->all;
    char sql[64];
    (void)snprintf(sql, sizeof(sql), "SET lock_timeout = %d", LOCK_MS);
    if (l->here == 0 || ask(l, sql, NULL) != ERR_NONE) {
        return;
    }
    for (size_t i = 0; i < all->count; i++) {
        for (struct asked *a = all->looks[i].asked; a != NULL && l->conn != NULL; a = a->next) {
            if (a->gid.place == l->here) {
                char outcome = outcome_of(l, &a->gid);
                check(pthread_mutex_lock(&all->lock) == 0);
                a->commits += outcome == 'c';
                a->aborts += outcome == 'a';
                check(pthread_mutex_unlock(&all->lock) == 0);
            }
        }
    }
}

/* ---- sweep -----------------------------------------------------------------------------------
 */

static const struct look *listed_place(const struct recovery *all, uint32_t place)
{
    for (size_t i = 0; i < all->count; i++) {
        if (all->looks[i].here == place && all->looks[i].is_listed) {
            return &all->looks[i];
        }
    }
    return NULL;
}

static int is_seen(const struct look *l, const struct old_row *row)
{
    for (size_t i = 0; i < l->seen_count; i++) {
        if (l->seen[i].instance == row->instance && txn_id_eq(l->seen[i].txn, row->txn)) {
            return 1;
        }
    }
    return 0;
}

/* Its shards' lists were read behind it, and it is on none of them. */
static int is_finished(const struct recovery *all, const struct old_row *row)
{
    const char *rest = row->places;
    while (*rest != '\0') {
        char *end;
        uint32_t place = (uint32_t)strtoul(rest, &end, 10);
        const struct look *l = listed_place(all, place);
        if (end == rest || place == 0 || l == NULL || is_seen(l, row)) {
            return 0;
        }
        rest = *end == ',' ? end + 1 : end;
    }
    return 1;
}

void recovery_sweep(struct look *l)
{
    if (l->here == 0) {
        return;
    }
    struct buf sql = {0};
    ledger_table_forget(&sql, l->all->forgettable);
    enum err e = ask_buf(l, &sql, NULL);
    e = e ? e : ask(l, LEDGER_TABLE_SWEEP, NULL);
    for (size_t i = 0; i < l->old_count && !e; i++) {
        if (is_finished(l->all, &l->old[i])) {
            ledger_table_drop(&sql, l->old[i].instance, l->old[i].txn);
            e = ask_buf(l, &sql, NULL);
        }
    }
    l->err = e;
}
