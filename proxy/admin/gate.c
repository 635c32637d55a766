/* See gate.h. */

#include "proxy/admin/gate.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "proxy/pool/account.h"
#include "proxy/worker.h"

enum {
    LEAVE_LEAST_US = 500 * 1000 /* clients that are just logging in count, too */
};

/* A command whose answer waits. */
struct gate_wait {
    struct list node; /* in control.gate_waits */
    enum gate_command command;
    char *database; /* NULL: all */
    size_t worker;
    uint64_t session;
    int64_t since_us;
    int asking;  /* workers are being counted */
    int is_over; /* gave up meanwhile: goes when the count has come */
    _Atomic size_t found;
    reload_fn *done;
    void *arg;
};

/* An account with bits set; the reference keeps it while nobody else knows the database. */
struct gate_kept {
    struct list node; /* in control.gates_kept */
    struct account *account;
};

/* ---- visits ---------------------------------------------------------------------------------- */

struct gate_visit {
    enum gate_command command;
    char *database;
};

static void tell_worker(struct worker *w, void *arg)
{
    struct gate_visit *v = arg;
    if (v->command == GATE_SUSPEND) {
        worker_suspend(w, 1);
    } else if (v->command == GATE_KILL) {
        (void)worker_kill_database(w, v->database);
        pools_kill(w, v->database);
    } else {
        if (v->command == GATE_RESUME && v->database == NULL) {
            worker_suspend(w, 0);
        }
        pools_gate(w, v->database);
    }
    mem_free(v->database);
    mem_free(v);
}

static void tell_workers(struct control *c, enum gate_command command, const char *database)
{
    for (size_t i = 0; i < c->shared->workers_count && c->workers_gone == 0; i++) {
        struct gate_visit *v = mem_zero(sizeof(*v));
        v->command = command;
        v->database = database == NULL ? NULL : mem_strdup(database);
        worker_visit(c->shared->workers[i], tell_worker, v);
    }
}

/* ---- bits ------------------------------------------------------------------------------------ */

static struct account *account_of(const char *database)
{
    return database == NULL ? account_get(ACCOUNT_PROCESS, "")
                            : account_get(ACCOUNT_DATABASE, database);
}

static unsigned bits_of(const char *database)
{
    struct account *a = account_of(database);
    unsigned bits = atomic_load(&a->gate);
    account_put(a);
    return bits;
}

unsigned gate_of_all(void)
{
    return bits_of(NULL);
}

unsigned gate_of(const char *database)
{
    return bits_of(database) | bits_of(NULL);
}

static void keep(struct control *c, struct account *a)
{
    list_each (node, &c->gates_kept) {
        if (container_of(node, struct gate_kept, node)->account == a) {
            return;
        }
    }
    struct gate_kept *kept = mem_zero(sizeof(*kept));
    kept->account = account_ref(a);
    list_push_back(&c->gates_kept, &kept->node);
}

static void drop_kept(struct gate_kept *kept)
{
    list_remove(&kept->node);
    account_put(kept->account);
    mem_free(kept);
}

static void set_bits(struct control *c, const char *database, unsigned on, unsigned off)
{
    struct account *a = account_of(database);
    unsigned now = (atomic_load(&a->gate) | on) & ~off;
    atomic_store(&a->gate, now); /* only this thread writes it */
    keep(c, a);                  /* for good when it has an epoch, too */
    account_put(a);
}

static void clear_all(struct account *a, void *arg)
{
    (void)arg;
    atomic_fetch_and(&a->gate, ~(unsigned)GATE_PAUSED);
}

static void see_paused(struct account *a, void *arg)
{
    *(int *)arg |= (atomic_load(&a->gate) & GATE_PAUSED) != 0;
}

/* RESUME without a name ends what PAUSE and KILL did to single databases, too. */
static int any_paused(void)
{
    int any = 0;
    account_each(ACCOUNT_DATABASE, see_paused, &any);
    return any;
}

/* ---- what is waited for ---------------------------------------------------------------------- */

struct gate_count {
    struct control_mail mail; /* first */
    struct gate_wait *wait;
    size_t worker;
};

static void count_here(struct worker *w, void *arg)
{
    struct gate_count *count = arg;
    struct gate_wait *wait = count->wait;
    size_t found =
        wait->command == GATE_SUSPEND ? worker_unquiet(w) : pools_stale(w, wait->database);
    atomic_fetch_add(&wait->found, found);
    control_send(w->shared->control, &count->mail);
}

static void finish(struct gate_wait *wait, enum err e, const struct note *note)
{
    list_remove(&wait->node);
    if (wait->done != NULL) {
        wait->done(wait->arg, e, note);
    }
    mem_free(wait->database);
    mem_free(wait);
}

/* Next worker, or the sum. */
static void counted(struct control *c, struct control_mail *mail)
{
    struct gate_count *count = (struct gate_count *)(void *)mail;
    struct gate_wait *wait = count->wait;
    struct note none = {.text = ""};
    if (count->worker < c->shared->workers_count && c->workers_gone == 0) {
        worker_visit(c->shared->workers[count->worker++], count_here, count);
        return;
    }
    mem_free(count);
    wait->asking = 0;
    c->snapshots--;
    if (wait->is_over) {
        mem_free(wait->database);
        mem_free(wait);
    } else if (atomic_load(&wait->found) == 0) {
        finish(wait, ERR_NONE, &none);
    }
}

static void ask(struct control *c, struct gate_wait *wait)
{
    struct gate_count *count = mem_zero(sizeof(*count));
    count->mail.fn = counted;
    count->wait = wait;
    wait->asking = 1;
    atomic_store(&wait->found, 0);
    c->snapshots++;
    counted(c, &count->mail);
}

static void act(struct control *c, enum gate_command command, const char *database);

static uint32_t servers_of(const char *database)
{
    struct account *a = account_of(database);
    uint32_t servers = atomic_load(&a->servers);
    account_put(a);
    return servers;
}

static uint32_t clients_now(void)
{
    struct account *a = account_of(NULL);
    uint32_t clients = atomic_load(&a->clients);
    account_put(a);
    return clients;
}

static void look(struct control *c, struct gate_wait *wait)
{
    struct note note = {.text = ""};
    int64_t most_ms = c->parts->conf->suspend_timeout_ms;
    int late = clock_now_us() - wait->since_us > most_ms * 1000;
    if (wait->command == GATE_PAUSE) {
        if (servers_of(wait->database) == 0) {
            finish(wait, ERR_NONE, &note);
        }
    } else if (wait->command == GATE_SUSPEND && late && !wait->asking) {
        act(c, GATE_RESUME, NULL);
        tell_workers(c, GATE_RESUME, NULL);
        enum err e = note_set(&note, ERR_WAIT_TIMEOUT,
                              "not every client came to rest within %lld ms; nothing is suspended",
                              (long long)most_ms);
        finish(wait, e, &note);
    } else if (!wait->asking) {
        ask(c, wait);
    }
}

/* ---- stopping when the time has come --------------------------------------------------------- */

static void look_at_leaving(struct control *c)
{
    if (c->leaving == 0 || c->stopping != 0 ||
        clock_now_us() - c->leaving_since_us < LEAVE_LEAST_US) {
        return;
    }
    int by_clients = c->leaving == GATE_SHUTDOWN_CLIENTS;
    if (by_clients ? clients_now() == 0 : servers_of(NULL) == 0) {
        const char *why = by_clients ? "WAIT_FOR_CLIENTS" : "WAIT_FOR_SERVERS";
        control_shutdown(c, why);
        control_shutdown(c, why); /* at once: nothing is left to wait for */
    }
}

void gate_tick(struct control *c)
{
    list_each_safe (node, &c->gate_waits) {
        struct gate_wait *wait = container_of(node, struct gate_wait, node);
        if (c->stopping) {
            struct note note;
            enum err e = note_set(&note, ERR_SHUTDOWN, "pgbraid is shutting down");
            if (!wait->asking) {
                finish(wait, e, &note);
            }
        } else {
            look(c, wait);
        }
    }
    look_at_leaving(c);
}

/* ---- commands -------------------------------------------------------------------------------- */

static const char *const names[] = {
    [GATE_PAUSE] = "PAUSE",
    [GATE_RESUME] = "RESUME",
    [GATE_SUSPEND] = "SUSPEND",
    [GATE_DISABLE] = "DISABLE",
    [GATE_ENABLE] = "ENABLE",
    [GATE_KILL] = "KILL",
    [GATE_RECONNECT] = "RECONNECT",
    [GATE_WAIT_CLOSE] = "WAIT_CLOSE",
    [GATE_SHUTDOWN_CLIENTS] = "SHUTDOWN WAIT_FOR_CLIENTS",
    [GATE_SHUTDOWN_SERVERS] = "SHUTDOWN WAIT_FOR_SERVERS",
};

/* What stands against it, as PgBouncer says it. */
static enum err check_state(struct control *c, enum gate_command command, const char *database,
                            struct note *note)
{
    unsigned own = bits_of(database);
    int paused = (own & GATE_PAUSED) != 0;
    if (database != NULL && world_find_db(c->world, slice_of(database)) == NULL) {
        return note_set(note, ERR_NO_DATABASE, "no such database: \"%.100s\"", database);
    }
    if (c->stopping || (c->leaving != 0 && command >= GATE_SHUTDOWN_CLIENTS)) {
        return note_set(note, ERR_SHUTDOWN, "pgbraid is shutting down already");
    }
    if (command == GATE_PAUSE && (paused || c->suspended)) {
        return database == NULL
                   ? note_set(note, ERR_BAD_STATE, "already suspended/paused")
                   : note_set(note, ERR_BAD_STATE, "database \"%s\" is paused already", database);
    }
    if (command == GATE_SUSPEND && (paused || c->suspended)) {
        return note_set(note, ERR_BAD_STATE, "already suspended/paused");
    }
    if (command == GATE_RESUME && !paused && (database != NULL || !c->suspended) &&
        (database != NULL || !any_paused())) {
        return database == NULL
                   ? note_set(note, ERR_BAD_STATE, "pooler is not paused/suspended")
                   : note_set(note, ERR_BAD_STATE, "database \"%s\" is not paused", database);
    }
    return ERR_NONE;
}

static void reconnect(struct control *c, const char *database)
{
    struct account *a = account_of(database);
    atomic_fetch_add(&a->epoch, 1);
    keep(c, a);
    account_put(a);
}

static void leave(struct control *c, enum gate_command command)
{
    c->leaving = command;
    c->leaving_since_us = clock_now_us();
    control_unlisten(c);
    if (command == GATE_SHUTDOWN_SERVERS) {
        set_bits(c, NULL, GATE_LEAVING, 0);
    }
}

static void act(struct control *c, enum gate_command command, const char *database)
{
    switch (command) {
    case GATE_PAUSE:
    case GATE_KILL: set_bits(c, database, GATE_PAUSED, 0); break;
    case GATE_RESUME:
        if (database == NULL && !c->suspended) { /* those that were paused one by one, too */
            account_each(ACCOUNT_DATABASE, clear_all, NULL);
        }
        set_bits(c, database, 0, GATE_PAUSED);
        c->suspended = database != NULL && c->suspended;
        break;
    case GATE_SUSPEND: c->suspended = 1; break;
    case GATE_DISABLE: set_bits(c, database, GATE_DISABLED, 0); break;
    case GATE_ENABLE: set_bits(c, database, 0, GATE_DISABLED); break;
    case GATE_RECONNECT: reconnect(c, database); break;
    case GATE_WAIT_CLOSE: break;
    case GATE_SHUTDOWN_CLIENTS:
    case GATE_SHUTDOWN_SERVERS: leave(c, command); break;
    }
}

static int waits(enum gate_command command)
{
    return command == GATE_PAUSE || command == GATE_SUSPEND || command == GATE_WAIT_CLOSE;
}

void gate_run(struct control *c, enum gate_command command, const char *database, size_t worker,
              uint64_t session, reload_fn *done, void *arg)
{
    struct note note = {.text = ""};
    enum err e = check_state(c, command, database, &note);
    if (!e) {
        log_event(LOG_CONSOLE, "command=\"%s\" database=%s", names[command],
                  database == NULL ? "" : database);
        act(c, command, database);
        tell_workers(c, command, database);
    }
    if (e || !waits(command)) {
        if (done != NULL) {
            done(arg, e, &note);
        }
        return;
    }
    struct gate_wait *wait = mem_zero(sizeof(*wait));
    wait->command = command;
    wait->database = database == NULL ? NULL : mem_strdup(database);
    wait->worker = worker;
    wait->session = session;
    wait->since_us = clock_now_us();
    wait->done = done;
    wait->arg = arg;
    list_push_back(&c->gate_waits, &wait->node);
}

/* ---- who waits gives up ---------------------------------------------------------------------- */

struct gate_gave_up {
    struct control_mail mail; /* first */
    size_t worker;
    uint64_t session;
};

/* As PgBouncer: what a waiting PAUSE or SUSPEND has begun is taken back. */
static void on_gave_up(struct control *c, struct control_mail *mail)
{
    struct gate_gave_up *m = (struct gate_gave_up *)(void *)mail;
    list_each_safe (node, &c->gate_waits) {
        struct gate_wait *wait = container_of(node, struct gate_wait, node);
        if (wait->worker != m->worker || wait->session != m->session || wait->done == NULL) {
            continue;
        }
        if (wait->command != GATE_WAIT_CLOSE) {
            act(c, GATE_RESUME, wait->database);
            tell_workers(c, GATE_RESUME, wait->database);
        }
        struct note note;
        enum err e = note_set(&note, ERR_CANCELED, "canceling statement due to user request");
        wait->done(wait->arg, e, &note);
        wait->done = NULL;
        list_remove(&wait->node);
        wait->is_over = 1;
        if (!wait->asking) {
            mem_free(wait->database);
            mem_free(wait);
        }
    }
    mem_free(m);
}

void control_admin_gave_up(struct control *c, size_t worker, uint64_t session)
{
    struct gate_gave_up *m = mem_zero(sizeof(*m));
    m->mail.fn = on_gave_up;
    m->worker = worker;
    m->session = session;
    control_send(c, &m->mail);
}

void gate_free(struct control *c)
{
    struct note note;
    enum err e = note_set(&note, ERR_SHUTDOWN, "pgbraid is shutting down");
    list_each_safe (node, &c->gate_waits) {
        finish(container_of(node, struct gate_wait, node), e, &note);
    }
    list_each_safe (node, &c->gates_kept) {
        drop_kept(container_of(node, struct gate_kept, node));
    }
}
