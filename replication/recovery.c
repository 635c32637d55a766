/*
 * Looking at the prepared transactions of one database: list, ask the ledger, finish.
 *
 *     recover_database()   one pass over the ledger's orphans
 *       open      connect, facts, what the shard's own ledger still keeps of starts that are gone
 *       list      RECOVER_QUERY, verdicts, COMMIT/ROLLBACK PREPARED of what our log decides
 *       decide    of names with a place: the marker and the answer, where they belong
 *       finish    COMMIT/ROLLBACK PREPARED of those
 *       sweep     decisions and markers on the shards that nobody needs any more
 *     recover_end()        orphans that no list shows are forgotten, when all lists were read
 *
 * A phase is a thread per shard; the next one begins when all have ended, so that what is decided
 * was listed before, and what is swept was read before the lists. The threads share the pass under
 * a mutex; it is held for the ledger's answer, never over I/O. A shard that cannot be reached takes
 * part in no later phase.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "replication/recovery_impl.h"

static enum recover_verdict ask_ledger(struct look *l, const char *text, int64_t age_ms,
                                       struct gid *gid)
{
    check(pthread_mutex_lock(&l->all->lock) == 0);
    enum recover_verdict verdict = recover_seen(&l->all->pass, slice_of(text), age_ms, gid);
    check(pthread_mutex_unlock(&l->all->lock) == 0);
    return verdict;
}

/* Count it. The ledger hears of a commit only from the server's own answer. */
static void note_outcome(struct look *l, int commit, struct gid gid, enum err e, int vanished,
                         const struct note *note)
{
    struct recover_report *report = l->all->report;
    check(pthread_mutex_lock(&l->all->lock) == 0);
    if (e == ERR_NONE && (commit || gid.place != 0)) {
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
static enum err finish_one(struct look *l, int commit, const char *text, const char *owner,
                           struct gid gid)
{
    struct note *note = &l->note;
    struct pq_trouble trouble = {.sqlstate = ""};
    enum err e = recovery_finish(l, commit, text, owner, &trouble, note);
    int vanished = e == ERR_SHARD_REFUSED && strcmp(trouble.sqlstate, "42704") == 0;
    note_outcome(l, commit, gid, e, vanished, note);
    if (e == ERR_NONE) {
        log_event(LOG_TX_RECOVERED, "database=" SLICE_FMT " shard=%s gid=%s outcome=%s",
                  SLICE_ARG(l->all->tag), l->place->shard, text, commit ? "commit" : "rollback");
    } else if (!vanished && e != ERR_SHUTDOWN) {
        recovery_say_failed(l, text, owner, &trouble, note);
    }
    return e == ERR_SHARD_REFUSED ? ERR_NONE : e;
}

static void keep_seen(struct look *l, struct slice text)
{
    struct gid gid;
    if (!gid_parse(text, &gid) || gid.place == 0) {
        return;
    }
    if (l->seen_count == l->seen_cap) {
        l->seen_cap = l->seen_cap == 0 ? 16 : l->seen_cap * 2;
        l->seen = mem_grow(l->seen, l->seen_cap * sizeof(*l->seen));
    }
    l->seen[l->seen_count++] = gid;
}

static void keep_asked(struct look *l, const char *text, const char *owner, struct gid gid)
{
    struct asked *a = mem_zero(sizeof(*a));
    (void)snprintf(a->text, sizeof(a->text), "%s", text);
    (void)snprintf(a->owner, sizeof(a->owner), "%s", owner);
    a->gid = gid;
    a->next = l->asked;
    l->asked = a;
}

static enum err handle_gid(struct look *l, const PGresult *list, int row)
{
    const char *text = PQgetvalue(list, row, 1);
    const char *owner = PQgetvalue(list, row, 2);
    struct gid gid;
    keep_seen(l, slice_of(text));
    enum recover_verdict verdict =
        ask_ledger(l, text, strtoll(PQgetvalue(list, row, 3), NULL, 10), &gid);
    switch (verdict) {
    case RECOVER_LEAVE: break;
    case RECOVER_ASK: keep_asked(l, text, owner, gid); break;
    case RECOVER_COMMIT:
    case RECOVER_ROLLBACK: return finish_one(l, verdict == RECOVER_COMMIT, text, owner, gid);
    }
    return ERR_NONE;
}

static enum err handle_list(struct look *l, const PGresult *list)
{
    int rows = PQntuples(list);
    if (PQnfields(list) != 4 || rows < 1) {
        return note_set(&l->note, ERR_SHARD_PROTOCOL, "the list of prepared transactions is empty");
    }
    if (strcmp(PQgetvalue(list, 0, 0), "f") != 0) {
        return note_set(&l->note, ERR_SHARD_REFUSED, "the server is a standby, not a primary");
    }
    enum err e = ERR_NONE;
    for (int i = 0; e == ERR_NONE && i < rows; i++) {
        if (!PQgetisnull(list, i, 1)) {
            l->users |=
                strncmp(PQgetvalue(list, i, 1), USER_GID_PREFIX, sizeof(USER_GID_PREFIX) - 1) == 0;
            e = handle_gid(l, list, i);
        }
    }
    return e;
}

/* ---- phases ----------------------------------------------------------------------------------
 */

static void keep_error(struct look *l, enum err e)
{
    l->err = e;
    if (e) {
        pq_close(l->conn);
        l->conn = NULL;
    }
}

static void phase_open(struct look *l)
{
    const struct recover_options *o = l->all->options;
    enum err e = pq_open(&l->place->target, l->all->stop, &l->conn, NULL, &l->note);
    if (e) {
        l->conn = NULL;
    } else {
        e = recovery_open_table(l, o != NULL && o->keeps_ledger);
    }
    keep_error(l, e);
}

static void phase_list(struct look *l)
{
    PGresult *list = NULL;
    enum err e =
        pq_run(l->conn, RECOVER_QUERY,
               (struct pq_wait){.timeout_ms = l->place->target.timeout_ms, .stop = l->all->stop},
               &list, NULL, &l->note);
    if (!e) {
        e = handle_list(l, list);
    }
    PQclear(list);
    l->is_listed = e == ERR_NONE;
    keep_error(l, e);
}

/* None of them was decided where one shard of the place could not be asked. */
static int places_asked(const struct look *l, uint32_t place)
{
    int asked = 0;
    for (size_t i = 0; i < l->all->count; i++) {
        asked += l->all->looks[i].here == place;
    }
    return asked;
}

static void phase_finish(struct look *l)
{
    enum err e = ERR_NONE;
    for (const struct asked *a = l->asked; a != NULL && e == ERR_NONE; a = a->next) {
        int places = places_asked(l, a->gid.place);
        if (a->commits > 0) {
            e = finish_one(l, 1, a->text, a->owner, a->gid);
        } else if (places > 0 && a->aborts == places) {
            e = finish_one(l, 0, a->text, a->owner, a->gid);
        } else {
            check(pthread_mutex_lock(&l->all->lock) == 0);
            l->all->report->undecided++;
            check(pthread_mutex_unlock(&l->all->lock) == 0);
        }
    }
    keep_error(l, e);
}

struct phase_start {
    struct look *look;
    void (*fn)(struct look *l);
};

static void *run_phase(void *arg)
{
    struct phase_start *start = arg;
    start->fn(start->look);
    return NULL;
}

/* On every shard at once; the first phase connects, later ones leave out who is not connected. */
static void each_shard(struct recovery *all, void (*fn)(struct look *l))
{
    struct phase_start starts[TXN_SHARDS_MAX];
    for (size_t i = 0; i < all->count; i++) {
        struct look *l = &all->looks[i];
        starts[i] = (struct phase_start){.look = l, .fn = fn};
        if (fn == phase_open || l->conn != NULL) {
            check(pthread_create(&l->thread, NULL, run_phase, &starts[i]) == 0);
        }
        l->is_running = fn == phase_open || l->conn != NULL;
    }
    for (size_t i = 0; i < all->count; i++) {
        if (all->looks[i].is_running) {
            check(pthread_join(all->looks[i].thread, NULL) == 0);
        }
    }
}

static void end_look(struct look *l)
{
    struct recover_report *report = l->all->report;
    report->listed += (unsigned)l->is_listed;
    report->users |= l->users;
    if (l->err != ERR_NONE && l->err != ERR_SHUTDOWN && l->err != ERR_SHARD_DOWN) {
        report->refused = 1;
        report->note = l->note;
        (void)note_wrap(&report->note, l->err, l->place->shard);
    }
    pq_close(l->conn);
    while (l->asked != NULL) {
        struct asked *next = l->asked->next;
        mem_free(l->asked);
        l->asked = next;
    }
    mem_free(l->seen);
    mem_free(l->old);
}

void recover_database(struct ledger *ledger, const struct recover_options *options,
                      const struct recover_place *places, size_t count, struct pg_stop *stop,
                      struct recover_report *out)
{
    check(count > 0 && count <= TXN_SHARDS_MAX);
    memset(out, 0, sizeof(*out));
    struct recovery all = {
        .report = out, .options = options, .tag = options->tag, .stop = stop, .count = count};
    check(pthread_mutex_init(&all.lock, NULL) == 0);
    all.looks = mem_zero(count * sizeof(*all.looks));
    all.forgettable = mem_zero(sizeof(*all.forgettable));
    ledger_forgettable(ledger, all.forgettable);
    recover_begin(&all.pass, ledger, options->tag);
    all.pass.adopt_after_ms = options->adopt_after_ms;
    for (size_t i = 0; i < count; i++) {
        all.looks[i] = (struct look){.all = &all, .place = &places[i], .number = (int)i};
    }
    each_shard(&all, phase_open);
    each_shard(&all, phase_list);
    int asks = 0;
    int has_table = 0;
    for (size_t i = 0; i < count; i++) {
        asks |= all.looks[i].asked != NULL;
        has_table |= all.looks[i].here != 0;
    }
    if (asks) {
        each_shard(&all, recovery_decide);
        each_shard(&all, phase_finish);
    }
    if (has_table) {
        each_shard(&all, recovery_sweep);
    }
    for (size_t i = 0; i < count; i++) {
        end_look(&all.looks[i]);
    }
    recover_end(&all.pass, out->listed == count);
    check(pthread_mutex_destroy(&all.lock) == 0);
    mem_free(all.forgettable);
    mem_free(all.looks);
}
