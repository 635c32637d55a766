/* Terms of users in databases; see terms.h. */

#include "proxy/pool/terms.h"

#include <string.h>

#include "base/check.h"
#include "base/list.h"
#include "base/mem.h"
#include "proxy/worker.h"

static void resolve(struct terms *t, struct conf *conf)
{
    struct conf *old = t->conf;
    t->conf = conf_ref(conf);
    conf_unref(old);
    t->in_conf = conf_find_database(conf, t->database);
    conf_resolve(conf, t->in_conf, t->user, &t->rule);
    t->check_after_us = conf->server_check_delay_ms * 1000;
    t->round_robin = conf->server_round_robin == CONF_ON;
    t->reset_always = conf->server_reset_always == CONF_ON;
    t->timed = t->rule.query_timeout_ms != 0 || t->rule.transaction_timeout_ms != 0 ||
               t->rule.idle_transaction_timeout_ms != 0 || t->rule.client_idle_timeout_ms != 0;
}

struct terms *terms_get(struct worker *w, const char *database, const char *user)
{
    uint64_t h = budget_hash(database, 0, user);
    for (struct hnode *n = hmap_find(&w->terms, h); n != NULL; n = hmap_more(n)) {
        struct terms *t = container_of(n, struct terms, node);
        if (strcmp(t->database, database) == 0 && strcmp(t->user, user) == 0) {
            return terms_ref(t);
        }
    }
    struct terms *t = mem_zero(sizeof(*t));
    t->refs = 1;
    t->database = mem_strdup(database);
    t->user = mem_strdup(user);
    t->of_process = account_get(ACCOUNT_PROCESS, "");
    t->of_database = account_get(ACCOUNT_DATABASE, database);
    t->of_user = account_get(ACCOUNT_USER, user);
    resolve(t, w->world->conf);
    hmap_add(&w->terms, &t->node, h);
    return t;
}

struct terms *terms_ref(struct terms *t)
{
    t->refs++;
    return t;
}

void terms_put(struct worker *w, struct terms *t)
{
    if (t == NULL || --t->refs != 0) {
        return;
    }
    check(t->sessions == 0);
    hmap_remove(&w->terms, &t->node);
    account_put(t->of_process);
    account_put(t->of_database);
    account_put(t->of_user);
    conf_unref(t->conf);
    mem_free(t->database);
    mem_free(t->user);
    mem_free(t);
}

void terms_refresh(struct worker *w)
{
    for (struct hnode *n = hmap_each(&w->terms, NULL); n != NULL; n = hmap_each(&w->terms, n)) {
        struct terms *t = container_of(n, struct terms, node);
        if (t->conf != w->world->conf) {
            resolve(t, w->world->conf);
        }
    }
}

/* ---- clients --------------------------------------------------------------------------------- */

static enum err refuse(const char *what, const char *name, int64_t limit, const char *setting,
                       struct note *note)
{
    enum err e = note_set(note, ERR_TOO_MANY, "no more connections allowed for %s \"%s\" (%s)",
                          what, name, setting);
    note_hint(note, "The limit is %lld clients; raise it or close idle clients.", (long long)limit);
    return e;
}

enum err terms_enter(struct terms *t, struct note *note)
{
    if (!counter_take(&t->of_database->clients, (uint32_t)t->rule.db_clients)) {
        return refuse("database", t->database, t->rule.db_clients, "max_db_client_connections",
                      note);
    }
    if (!counter_take(&t->of_user->clients, (uint32_t)t->rule.user_clients)) {
        counter_give(&t->of_database->clients);
        return refuse("user", t->user, t->rule.user_clients, "max_user_client_connections", note);
    }
    (void)counter_take(&t->of_process->clients, 0);
    t->sessions++;
    return ERR_NONE;
}

void terms_leave(struct terms *t)
{
    check(t->sessions > 0);
    t->sessions--;
    counter_give(&t->of_process->clients);
    counter_give(&t->of_database->clients);
    counter_give(&t->of_user->clients);
}

/* The accounts stay while nobody's terms name them. */
void terms_depart(struct worker *w, struct terms *t)
{
    check(t->sessions > 0);
    t->sessions--;
    (void)account_get(ACCOUNT_PROCESS, "");
    (void)account_get(ACCOUNT_DATABASE, t->database);
    (void)account_get(ACCOUNT_USER, t->user);
    terms_put(w, t);
}

struct terms *terms_arrive(struct worker *w, const char *database, const char *user)
{
    struct terms *t = terms_get(w, database, user);
    t->sessions++;
    account_put(t->of_process);
    account_put(t->of_database);
    account_put(t->of_user);
    return t;
}
