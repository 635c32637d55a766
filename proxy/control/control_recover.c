/*
 * The control side of recovery: when to look for prepared transactions, the job that does, and what
 * it learns of the shards: whether they can prepare, and which of them keep decisions.
 *
 * A database is looked at when it is new, soon after a shard was lost, every
 * txn.recover_interval_ms while something is left, else once a minute.
 */

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "proxy/control/control.h"

enum {
    RECOVER_IDLE_US = 60000000,
    RECOVER_SOON_US = 30000000 /* how long a lost shard is looked at closely */
};

/* ---- the job --------------------------------------------------------------------------------- */

struct recover_job {
    struct job job; /* first */
    struct control_db *db;
    struct world *world;
    const struct world_db *wdb;
    struct recover_report report;
};

static void look_for_prepared(struct job *base)
{
    struct recover_job *job = (struct recover_job *)(void *)base;
    size_t count = job->wdb->conf->shards_count;
    struct recover_place *places = mem_zero(count * sizeof(*places));
    for (size_t i = 0; i < count; i++) {
        control_db_target(job->world, job->wdb, i, &places[i].target);
        places[i].conf = job->world->conf;
        places[i].shard = job->wdb->conf->shards[i].name;
    }
    const struct conf *conf = job->world->conf;
    const struct recover_options options = {.tag = slice_of(job->wdb->conf->name),
                                            .keeps_ledger = conf->ledger == CONF_LEDGER_SHARD,
                                            .adopt_after_ms = conf->adopt_after_ms};
    recover_database(base->control->shared->ledger, &options, places, count, &base->control->stop,
                     &job->report);
    if (job->report.users) {
        recover_users(places, count, &base->control->stop, options.tag, &job->report);
    }
    mem_free(places);
}

static void say_refused(struct control_db *db, const struct recover_report *report)
{
    if (!report->refused) {
        db->recover_said[0] = '\0';
        return;
    }
    if (strncmp(db->recover_said, report->note.text, sizeof(db->recover_said) - 1) != 0) {
        (void)snprintf(db->recover_said, sizeof(db->recover_said), "%s", report->note.text);
        log_event(LOG_TX_RECOVERY_FAILED, "database=%s error=\"%s\" hint=\"%s\"", db->name,
                  report->note.text, report->note.hint);
    }
}

/* ---- facts -----------------------------------------------------------------------------------
 */

static void say_cannot_prepare(const struct recover_job *job, size_t shard)
{
    log_event(
        LOG_TX_CANNOT_PREPARE,
        "database=%s shard=%s max_prepared_transactions=0 hint=\"set it to at least the number "
        "of connections pgbraid may have there and restart the server\"",
        job->wdb->conf->name, job->wdb->conf->shards[shard].name);
}

/* A shard that did not answer keeps what is known of it. */
static void keep_facts(struct recover_job *job)
{
    struct shard_facts *facts = job->wdb->facts;
    for (size_t i = 0; i < job->wdb->conf->shards_count; i++) {
        const struct recover_fact *fact = &job->report.facts[i];
        uint64_t bit = UINT64_C(1) << i;
        if (!fact->is_known) {
            continue;
        }
        uint64_t before = fact->prepared_max == 0 ? atomic_fetch_or(&facts->cannot_prepare, bit)
                                                  : atomic_fetch_and(&facts->cannot_prepare, ~bit);
        if (fact->prepared_max == 0 && (before & bit) == 0) {
            say_cannot_prepare(job, i);
        }
        atomic_store(&facts->places[i], fact->place);
        atomic_fetch_or(&facts->known, bit);
    }
}

static void say_no_table(struct control_db *db, const struct recover_report *report)
{
    const struct note *note = &report->table_note;
    int is_again =
        strcmp(db->table_note, note->text) == 0; /* once may be another pgbraid's doing */
    if (note->text[0] != '\0' && is_again && strcmp(db->table_said, note->text) != 0) {
        (void)snprintf(db->table_said, sizeof(db->table_said), "%s", note->text);
        log_event(LOG_TX_NO_TABLE,
                  "database=%s error=\"%s\" hint=\"GRANT CREATE ON DATABASE to the service user\"",
                  db->name, note->text);
    }
    (void)snprintf(db->table_note, sizeof(db->table_note), "%s", note->text);
}

/* Decisions on shards are swept, and what other pgbraids left behind is found, by looking. */
static int64_t idle_us(const struct control *c, struct control_db *db,
                       const struct ledger_stats *stats)
{
    const struct conf *conf = c->parts->conf;
    int new_decisions = stats->elsewhere != db->swept;
    db->swept = stats->elsewhere;
    if (conf->ledger != CONF_LEDGER_SHARD) {
        return new_decisions ? conf->recover_interval_ms * 1000 : RECOVER_IDLE_US;
    }
    int64_t adopt_us = conf->adopt_after_ms * 1000;
    return new_decisions                ? conf->recover_interval_ms * 1000
           : adopt_us < RECOVER_IDLE_US ? adopt_us
                                        : RECOVER_IDLE_US;
}

static void recover_done(struct control *c, struct job *base)
{
    struct recover_job *job = (struct recover_job *)(void *)base;
    struct control_db *db = job->db;
    const struct recover_report *report = &job->report;
    metric_add(&c->shared->control_metrics, METRIC_tx_recovered,
               report->committed + report->rolled_back);
    say_refused(db, report);
    say_no_table(db, report);
    keep_facts(job);
    db->recovering = 0;
    db->recover_unfinished = report->failed > 0 || report->vanished > 0 || report->undecided > 0 ||
                             report->listed < job->wdb->conf->shards_count ||
                             report->table_note.text[0] != '\0' ||
                             atomic_load(&job->wdb->facts->cannot_prepare) != 0;
    struct ledger_stats stats; /* there is a ledger: the database has several shards */
    ledger_stats(c->shared->ledger, &stats);
    int64_t now_us = clock_now_us();
    int busy = db->recover_unfinished || stats.unsettled > 0 || now_us < db->recover_soon_us;
    int64_t pause_us = busy ? c->parts->conf->recover_interval_ms * 1000 : idle_us(c, db, &stats);
    db->recover_us = db->recover_again ? now_us : now_us + pause_us;
    db->recover_again = 0;
    world_unref(job->world);
    mem_free(job);
}

void control_recover_start(struct control *c, struct control_db *db)
{
    const struct world_db *wdb = control_db_world(c, db);
    check(wdb != NULL && db->many && !db->recovering);
    struct recover_job *job = mem_zero(sizeof(*job));
    job->job.work = look_for_prepared;
    job->job.done = recover_done;
    job->db = db;
    job->world = world_ref(c->world);
    job->wdb = wdb;
    db->recovering = 1;
    db->recover_again = 0;
    job_start(c, &job->job);
}

struct recover_mail {
    struct control_mail mail; /* first */
    char *database;
};

static void on_recover_soon(struct control *c, struct control_mail *mail)
{
    struct recover_mail *m = (struct recover_mail *)(void *)mail;
    struct control_db *db = control_db_find(c, m->database);
    if (db != NULL && db->present && db->many) {
        db->recover_soon_us = clock_now_us() + RECOVER_SOON_US;
        db->recover_us = clock_now_us();
        db->recover_again = db->recovering;
    }
    mem_free(m->database);
    mem_free(m);
}

void control_recover_soon(struct control *c, const char *database)
{
    struct recover_mail *m = mem_zero(sizeof(*m));
    m->mail.fn = on_recover_soon;
    m->database = mem_strdup(database);
    control_send(c, &m->mail);
}

int control_dbs_recovering(const struct control *c)
{
    int some = 0;
    list_each (node, &c->dbs) {
        some |= container_of(node, struct control_db, node)->recovering;
    }
    return some;
}
