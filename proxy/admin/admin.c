/*
 * The console: a table of commands, and the walk through the statements of one query string.
 *
 *     control_admin() --mail--> run: next statement -> row of the table
 *                                 wants numbers of workers -> snapshot -> back here
 *                                 RELOAD                   -> reload   -> back here
 *                               end or first error -> worker_admin_done()
 *
 * Columns come in PgBouncer's order first, ours behind, so that what reads PgBouncer reads this.
 */

#include "proxy/admin/admin.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "proxy/admin/gate.h"
#include "wire/types.h"
#include "wire/wire.h"

enum {
    STATEMENTS_MAX = 64 /* of one query string */
};

/* ---- writing results --------------------------------------------------------------------------
 */

void admin_columns(struct admin_call *call, const char *spec)
{
    struct back_column columns[64];
    size_t count = 0;
    while (*spec != '\0') {
        check(count < sizeof(columns) / sizeof(columns[0]));
        size_t n = strcspn(spec, " ");
        const char *colon = memchr(spec, ':', n);
        struct back_column *column = &columns[count++];
        *column = (struct back_column){
            .name = slice_bytes(spec, n), .type_oid = OID_TEXT, .type_size = -1, .type_mod = -1};
        if (colon != NULL) {
            column->name.n = (size_t)(colon - spec);
            column->type_oid = colon[1] == 'q'   ? OID_INT8
                               : colon[1] == 'n' ? OID_NUMERIC
                                                 : OID_INT4;
            column->type_size = colon[1] == 'q' ? 8 : colon[1] == 'n' ? -1 : 4;
        }
        spec += n;
        spec += strspn(spec, " ");
    }
    back_put_columns(call->out, columns, count);
    call->columns_count = count;
    call->rows_count = 0;
}

static void close_row(struct admin_call *call)
{
    if (call->open) {
        check(call->_values == call->columns_count);
        frame_end(call->out, call->_mark);
        call->open = 0;
    }
}

void admin_row(struct admin_call *call)
{
    close_row(call);
    call->_mark = back_begin_row(call->out, (uint16_t)call->columns_count);
    call->_values = 0;
    call->open = 1;
    call->rows_count++;
}

void admin_text(struct admin_call *call, const char *text)
{
    check(call->open && call->_values < call->columns_count);
    call->_values++;
    back_put_value(call->out, text == NULL ? (struct slice){NULL, 0} : slice_of(text));
}

void admin_uint(struct admin_call *call, uint64_t v)
{
    char text[24];
    (void)snprintf(text, sizeof(text), "%" PRIu64, v);
    admin_text(call, text);
}

void admin_int(struct admin_call *call, int64_t v)
{
    char text[24];
    (void)snprintf(text, sizeof(text), "%" PRId64, v);
    admin_text(call, text);
}

void admin_time(struct admin_call *call, int64_t wall_us)
{
    char text[40] = "";
    time_t seconds = (time_t)(wall_us / 1000000);
    struct tm tm;
    if (wall_us != 0 && gmtime_r(&seconds, &tm) != NULL) {
        (void)strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", &tm);
    }
    admin_text(call, text);
}

void admin_end(struct admin_call *call)
{
    close_row(call);
    back_put_complete(call->out, "SHOW");
}

const char *admin_host(const struct addr *a, char *out)
{
    (void)snprintf(out, ADDR_TEXT_BYTES, "unix");
    if (a != NULL && a->sa.ss_family != AF_UNIX) {
        (void)addr_text(a, out);
        char *colon = strrchr(out, ':');
        if (colon != NULL) {
            *colon = '\0';
        }
        size_t n = strlen(out);
        if (out[0] == '[' && n > 2) { /* [::1] */
            memmove(out, out + 1, n - 2);
            out[n - 2] = '\0';
        }
    }
    return out;
}

/* ---- who may ----------------------------------------------------------------------------------
 */

int admin_listed(const char *list, const char *user)
{
    const char *p = list == NULL ? "" : list;
    while (*p != '\0') {
        p += strspn(p, ", \t");
        size_t n = strcspn(p, ", \t");
        if (n > 0 && strlen(user) == n && memcmp(p, user, n) == 0) {
            return 1;
        }
        p += n;
    }
    return 0;
}

int admin_allowed(const struct conf *conf, const char *user)
{
    if (user == NULL) {
        return 1;
    }
    if (conf->admin_users == NULL) {
        return strcmp(user, conf_service_user(conf)) == 0;
    }
    return admin_listed(conf->admin_users, user);
}

/* ---- commands that do something ---------------------------------------------------------------
 */

/* Settings of drivers mean nothing here and must not stop them from connecting. */
static enum err set_something(struct admin_call *call)
{
    static const char *const harmless[] = {"client_encoding",
                                           "client_min_messages",
                                           "application_name",
                                           "datestyle",
                                           "timezone",
                                           "extra_float_digits",
                                           "standard_conforming_strings",
                                           "bytea_output",
                                           "search_path"};
    for (size_t i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++) {
        if (strcasecmp(call->args[0], harmless[i]) == 0) {
            back_put_complete(call->out, "SET");
            return ERR_NONE;
        }
    }
    enum err e =
        note_set(&call->note, ERR_UNSUPPORTED, "settings cannot be changed from the console");
    note_hint(&call->note, "Change the configuration file and run RELOAD.");
    return e;
}

/* Handled by the walk itself, see step(): they go on later, or after the answer. */
static admin_fn do_reload, do_shutdown, do_kill, do_kill_client, do_pause, do_resume, do_suspend,
    do_disable, do_enable, do_reconnect, do_wait_close, do_cdc_reset;

#define DONE(name, tag)                                \
    static enum err do_##name(struct admin_call *call) \
    {                                                  \
        back_put_complete(call->out, tag);             \
        return ERR_NONE;                               \
    }
DONE(cdc_reset, "CDC_RESET")
DONE(pause, "PAUSE")
DONE(resume, "RESUME")
DONE(suspend, "SUSPEND")
DONE(disable, "DISABLE")
DONE(enable, "ENABLE")
DONE(reconnect, "RECONNECT")
DONE(wait_close, "WAIT_CLOSE")
DONE(kill, "KILL")
#undef DONE

static enum err do_failover(struct admin_call *call)
{
    const struct back_error notice = {.severity = SLICE("NOTICE"),
                                      .severity_raw = SLICE("NOTICE"),
                                      .code = SLICE("00000"),
                                      .message = slice_of(call->c->failover_said)};
    back_put_notice(call->out, &notice);
    back_put_complete(call->out, "FAILOVER");
    return ERR_NONE;
}

static enum err do_reload(struct admin_call *call)
{
    if (call->c->restart_needed[0] != '\0') {
        char text[sizeof(call->c->restart_needed) + 80];
        (void)snprintf(text, sizeof(text),
                       "what has changed in these settings waits for a restart: %s",
                       call->c->restart_needed);
        const struct back_error notice = {.severity = SLICE("NOTICE"),
                                          .severity_raw = SLICE("NOTICE"),
                                          .code = SLICE("00000"),
                                          .message = slice_of(text)};
        back_put_notice(call->out, &notice);
    }
    back_put_complete(call->out, "RELOAD");
    return ERR_NONE;
}

static enum err do_shutdown(struct admin_call *call)
{
    back_put_complete(call->out, "SHUTDOWN");
    return ERR_NONE;
}

static enum err do_kill_client(struct admin_call *call)
{
    if (call->snap->killed == 0) {
        return note_set(&call->note, ERR_BAD_SETTING, "no client has the id %s", call->args[0]);
    }
    back_put_complete(call->out, "KILL_CLIENT");
    return ERR_NONE;
}

/* ---- the table --------------------------------------------------------------------------------
 */

enum {
    C = SNAPSHOT_CLIENTS,
    B = SNAPSHOT_BACKENDS,
    P = SNAPSHOT_POOLS
};

struct command {
    const char *words; /* "SHOW POOLS" */
    const char *args;  /* for people: "[database]" */
    size_t args_min, args_max;
    unsigned wants; /* enum snapshot_wants */
    admin_fn *fn;
    const char *help;
};

/* clang-format off */
static const struct command commands[] = {
    {"SHOW HELP",           "",                 0, 0, 0,       admin_show_help,           "this list, as a notice"},
    {"SHOW COMMANDS",       "",                 0, 0, 0,       admin_show_commands,       "this list, as rows"},
    {"SHOW VERSION",        "",                 0, 0, 0,       admin_show_version,        "version of pgbraid"},
    {"SHOW STATE",          "",                 0, 0, 0,       admin_show_state,          "whether pgbraid serves, stops or is paused"},
    {"SHOW DATABASES",      "",                 0, 0, C|P,     admin_show_databases,      "databases; SHOW SHARDS has their shards"},
    {"SHOW POOLS",          "",                 0, 0, C|P,     admin_show_pools,          "clients and server connections per database and user"},
    {"SHOW SHARD_POOLS",    "",                 0, 0, P,       admin_show_shard_pools,    "the same per shard"},
    {"SHOW CLIENTS",        "",                 0, 0, C,       admin_show_clients,        "connections of clients"},
    {"SHOW SERVERS",        "",                 0, 0, B,       admin_show_servers,        "connections to servers"},
    {"SHOW STATS_TOTALS",   "",                 0, 0, SNAPSHOT_STATS,     admin_show_stats_totals,   "counters since the start"},
    {"SHOW STATS_AVERAGES", "",                 0, 0, SNAPSHOT_STATS,     admin_show_stats_averages, "per second or per statement, over stats.period_ms"},
    {"SHOW STATS",          "",                 0, 0, SNAPSHOT_STATS,     admin_show_stats,          "both of them"},
    {"SHOW TOTALS",         "",                 0, 0, SNAPSHOT_STATS,     admin_show_totals,         "every counter by name"},
    {"SHOW LATENCY",        "",                 0, 0, SNAPSHOT_STATS, admin_show_latency, "percentiles per database, user, shard and role"},
    {"SHOW QUERIES",        "[rows]",           0, 1, SNAPSHOT_QUERIES, admin_show_queries, "statement shapes, the costliest first (stats.queries_max)"},
    {"SHOW ERRORS",         "",                 0, 0, SNAPSHOT_STATS, admin_show_errors,  "errors by SQLSTATE"},
    {"SHOW SOCKETS",        "",                 0, 0, C|B,     admin_show_sockets,        "clients and servers with their buffers"},
    {"SHOW ACTIVE_SOCKETS", "",                 0, 0, C|B,     admin_show_active_sockets, "those that are at work"},
    {"SHOW PEERS",          "",                 0, 0, 0,       admin_show_peers,          "none: workers need no peers"},
    {"SHOW PEER_POOLS",     "",                 0, 0, 0,       admin_show_peer_pools,     "none"},
    {"SHOW DNS_HOSTS",      "",                 0, 0, 0,       admin_show_dns_hosts,      "addresses of the servers' hosts"},
    {"SHOW DNS_ZONES",      "",                 0, 0, 0,       admin_show_dns_zones,      "none"},
    {"SHOW FDS",            "",                 0, 0, 0,       admin_show_fds,            "refused: it would show secrets"},
    {"SHOW LISTS",          "",                 0, 0, C|B|P,   admin_show_lists,          "how many there are of what"},
    {"SHOW USERS",          "",                 0, 0, C|P,     admin_show_users,          "users of the users file, and those with settings"},
    {"SHOW CONFIG",         "",                 0, 0, 0,       admin_show_config,         "settings, also under PgBouncer's names"},
    {"SHOW SETTINGS",       "",                 0, 0, 0,       admin_show_settings,       "settings with their bounds and help"},
    {"SHOW MEM",            "",                 0, 0, SNAPSHOT_PLANS, admin_show_mem,     "memory of caches and of the process"},
    {"SHOW SHARDS",         "",                 0, 0, P,       admin_show_shards,         "shards with their servers and health"},
    {"SHOW TABLES",         "[database]",       0, 1, 0,       admin_show_tables,         "tables that are sharded, and how"},
    {"SHOW BUCKETS",        "[database] table", 1, 2, 0,       admin_show_buckets,        "where the pieces of a table are"},
    {"SHOW MAP_HISTORY",    "[database]",       0, 1, 0,       admin_show_map_history,    "epochs of the maps, the newest first, and what each changed"},
    {"SHOW MAP_AT",         "[database] epoch", 1, 2, 0,       admin_show_map_at,         "the map of an epoch"},
    {"SHOW TRANSACTIONS",   "",                 0, 0, 0,       admin_show_transactions,   "transactions over several shards that are under way"},
    {"SHOW SCHEMA_CHANGES", "",                 0, 0, 0,       admin_show_schema_changes, "schema changes that go shard by shard, how far they are, and those that failed"},
    {"SHOW CDC",            "",                 0, 0, 0,       admin_show_cdc,            "change capture: what is read of each shard, how far, and what is in the way"},
    {"SHOW FENCES",         "",                 0, 0, 0,       admin_show_fences,         "commits and snapshots over several shards, and who waits for whom"},
    {"SHOW CDC_LOG",        "",                 0, 0, 0,       admin_show_cdc_log,            "change log: shards, and how far each has been read"},
    {"SHOW CDC_TOPICS",     "",                 0, 0, 0,       admin_show_cdc_topics,     "tables in the change log"},
    {"SHOW CDC_GROUPS",     "",                 0, 0, 0,       admin_show_cdc_groups,     "consumer groups, and how many records each is behind"},
    {"SHOW CDC_SINKS",      "",                 0, 0, 0,       admin_show_cdc_sinks,      "where the change log flows to by itself"},
    {"CDC_RESET",           "group topic place", 3, 3, 0,      do_cdc_reset,              "set a consumer group without members to a place: earliest, latest, time:MS, lsn:SHARD:X/Y; or forget"},
    {"CDC_COPY",            "database [table]", 1, 2, 0,       admin_cdc_copy,            "change capture copies a table (schema.table) again, or all, without stopping"},
    {"RELOAD",              "",                 0, 0, 0,       do_reload,                 "read the configuration file again"},
    {"FAILOVER",            "[database] shard [FORCE]", 1, 3, 0, do_failover,             "fence the primary of a shard and promote its most advanced replica"},
    {"KILL",                "[database]",       0, 1, 0,       do_kill,                   "close all clients and server connections; new ones wait for RESUME"},
    {"KILL_CLIENT",         "id",               1, 1, SNAPSHOT_KILL, do_kill_client,      "close one client (id of SHOW CLIENTS)"},
    {"SHUTDOWN",            "[WAIT_FOR_SERVERS | WAIT_FOR_CLIENTS]", 0, 1, 0, do_shutdown, "stop at once, or when server connections have come free, or clients have gone"},
    {"SET",                 "name = value",     1, 12, 0,      set_something,             "not yet, but for settings of drivers, which are ignored"},
    {"PAUSE",               "[database]",       0, 1, 0,       do_pause,                  "close server connections as they come free; clients wait for RESUME"},
    {"RESUME",              "[database]",       0, 1, 0,       do_resume,                 "the end of PAUSE, SUSPEND and KILL"},
    {"SUSPEND",             "",                 0, 0, 0,       do_suspend,                "listen to clients no more when each has its answer"},
    {"DISABLE",             "database",         1, 1, 0,       do_disable,                "no new clients for the database"},
    {"ENABLE",              "database",         1, 1, 0,       do_enable,                 "the end of DISABLE"},
    {"RECONNECT",           "[database]",       0, 1, 0,       do_reconnect,              "replace server connections as they come free"},
    {"WAIT_CLOSE",          "[database]",       0, 1, 0,       do_wait_close,             "wait until RECONNECT has replaced all of them"},
};
/* clang-format on */
static const size_t commands_count = sizeof(commands) / sizeof(commands[0]);

enum err admin_show_commands(struct admin_call *call)
{
    admin_columns(call, "command arguments help");
    for (size_t i = 0; i < commands_count; i++) {
        admin_row(call);
        admin_text(call, commands[i].words);
        admin_text(call, commands[i].args);
        admin_text(call, commands[i].help);
    }
    admin_end(call);
    return ERR_NONE;
}

/* As PgBouncer: a notice with the commands in its detail, and no rows. */
enum err admin_show_help(struct admin_call *call)
{
    struct buf detail = {0};
    for (size_t i = 0; i < commands_count; i++) {
        const struct command *command = &commands[i];
        buf_printf(&detail, "\n\t%s%s%s", command->words, command->args[0] == '\0' ? "" : " ",
                   command->args);
    }
    const struct back_error notice = {.severity = SLICE("NOTICE"),
                                      .severity_raw = SLICE("NOTICE"),
                                      .code = SLICE("00000"),
                                      .message = SLICE("Console usage"),
                                      .detail = buf_slice(&detail)};
    back_put_notice(call->out, &notice);
    buf_free(&detail);
    back_put_complete(call->out, "SHOW");
    return ERR_NONE;
}

static enum err find_command(const struct admin_statement *s, const struct command **out,
                             size_t *words, struct note *note)
{
    for (size_t i = 0; i < commands_count; i++) {
        const struct command *command = &commands[i];
        size_t n = admin_begins(s, command->words);
        if (n == 0) {
            continue;
        }
        size_t args = s->count - n;
        if (args < command->args_min || args > command->args_max) {
            return note_set(note, ERR_SYNTAX, "%s takes: %s %s", command->words, command->words,
                            command->args);
        }
        *out = command;
        *words = n;
        return ERR_NONE;
    }
    enum err e = note_set(note, ERR_SYNTAX, "unknown console command \"%.60s%s%.60s\"", s->words[0],
                          s->count > 1 ? " " : "", s->count > 1 ? s->words[1] : "");
    note_hint(note, "This is the admin console of pgbraid, not a database. SHOW HELP lists its "
                    "commands.");
    return e;
}

/* ---- the walk ---------------------------------------------------------------------------------
 */

/* One query string. Owner: the control thread, after the mail. */
struct admin_run {
    struct control_mail mail; /* first */
    struct control *c;
    char *user;
    size_t worker;
    uint64_t session_id;
    struct buf sql;
    struct slice rest;
    struct arena memory; /* words of the current statement */
    struct admin_statement statement;
    const struct command *command;
    size_t command_words;
    struct buf out;
    size_t done_count;
    int shutdown;
};

static void finish(struct admin_run *run)
{
    struct control *c = run->c;
    if (run->worker < c->shared->workers_count) {
        worker_admin_done(c->shared->workers[run->worker], run->session_id, &run->out, 0);
    }
    if (run->shutdown) {
        control_shutdown(c, "SHUTDOWN");
        control_shutdown(c, "SHUTDOWN");
    }
    buf_free(&run->out); /* empty when the worker took it */
    buf_free(&run->sql);
    arena_free(&run->memory);
    mem_free(run->user);
    mem_free(run);
}

static void finish_failed(struct admin_run *run, enum err e, const struct note *note)
{
    back_put_failure(&run->out, "ERROR", e, note);
    finish(run);
}

static void step(struct admin_run *run);

/* Run the statement's function; 0: it failed and the run has ended. */
static int call_command(struct admin_run *run, const struct snapshot *snap)
{
    struct admin_call call = {.c = run->c,
                              .snap = snap,
                              .args = run->statement.words + run->command_words,
                              .args_count = run->statement.count - run->command_words,
                              .out = &run->out};
    enum err e = run->command->fn(&call);
    if (e) {
        finish_failed(run, e, &call.note);
        return 0;
    }
    return 1;
}

static void have_snapshot(struct control *c, struct snapshot *s, void *arg)
{
    (void)c;
    int go_on = call_command(arg, s);
    snapshot_free(s);
    if (go_on) {
        step(arg);
    }
}

static void have_reloaded(void *arg, enum err e, const struct note *note)
{
    struct admin_run *run = arg;
    if (e) {
        finish_failed(run, e, note);
    } else if (call_command(run, NULL)) {
        step(run);
    }
}

/* "0x12" as SHOW CLIENTS prints ptr, or "18" as it prints id. */
static enum err start_kill(struct admin_run *run, struct note *note)
{
    struct snapshot *s = snapshot_new(run->command->wants);
    const char *arg = run->statement.words[run->command_words];
    char *end = NULL;
    s->kill_client = strtoull(arg, &end, 0);
    if (end == arg || *end != '\0') {
        snapshot_free(s);
        return note_set(note, ERR_SYNTAX, "\"%s\" is no id of a client", arg);
    }
    snapshot_send(run->c, s, have_snapshot, run);
    return ERR_NONE;
}

static int is_gate(admin_fn *fn, enum gate_command *out)
{
    static const struct {
        admin_fn *fn;
        enum gate_command gate;
    } gates[] = {
        {do_pause, GATE_PAUSE},         {do_resume, GATE_RESUME},
        {do_suspend, GATE_SUSPEND},     {do_disable, GATE_DISABLE},
        {do_enable, GATE_ENABLE},       {do_kill, GATE_KILL},
        {do_reconnect, GATE_RECONNECT}, {do_wait_close, GATE_WAIT_CLOSE},
    };
    for (size_t i = 0; i < sizeof(gates) / sizeof(gates[0]); i++) {
        if (gates[i].fn == fn) {
            *out = gates[i].gate;
            return 1;
        }
    }
    return 0;
}

/* Without a word it stops at once, as PgBouncer does; commits over shards are ended first. */
static enum err start_shutdown(struct admin_run *run, int *waits, struct note *note)
{
    size_t at = run->command_words;
    const char *how = run->statement.count > at ? run->statement.words[at] : NULL;
    if (how == NULL) {
        run->shutdown = 1;
        *waits = 0;
        return ERR_NONE;
    }
    int clients = strcasecmp(how, "WAIT_FOR_CLIENTS") == 0;
    if (!clients && strcasecmp(how, "WAIT_FOR_SERVERS") != 0) {
        return note_set(note, ERR_SYNTAX, "SHUTDOWN takes WAIT_FOR_SERVERS or WAIT_FOR_CLIENTS");
    }
    gate_run(run->c, clients ? GATE_SHUTDOWN_CLIENTS : GATE_SHUTDOWN_SERVERS, NULL, run->worker,
             run->session_id, have_reloaded, run);
    return ERR_NONE;
}

/* Start what the statement needs. *waits: it goes on in a callback, which may already have come:
 * `run` is not to be touched then. */
static enum err start_command(struct admin_run *run, int *waits, struct note *note)
{
    enum gate_command gate = GATE_PAUSE;
    *waits = 1;
    if (run->command->fn == do_shutdown) {
        return start_shutdown(run, waits, note);
    }
    if (is_gate(run->command->fn, &gate)) {
        size_t at = run->command_words;
        gate_run(run->c, gate, run->statement.count > at ? run->statement.words[at] : NULL,
                 run->worker, run->session_id, have_reloaded, run);
        return ERR_NONE;
    }
    if (run->command->wants == SNAPSHOT_KILL) {
        return start_kill(run, note);
    }
    if (run->command->fn == do_reload) {
        control_reload(run->c, have_reloaded, run);
    } else if (run->command->fn == do_cdc_reset) {
        return cdc_reset_start(run->c, run->statement.words + run->command_words, have_reloaded,
                               run, note);
    } else if (run->command->fn == do_failover) {
        return failover_start(run->c, run->statement.words + run->command_words,
                              run->statement.count - run->command_words, have_reloaded, run, note);
    } else if (run->command->wants != 0) {
        snapshot_take(run->c, run->command->wants, have_snapshot, run);
    } else {
        *waits = 0;
    }
    return ERR_NONE;
}

/* SHOW is for all who are in; what changes something is logged. */
static enum err admit(const struct admin_run *run, struct note *note)
{
    const char *words = run->command->words;
    if (strncmp(words, "SHOW", 4) == 0) {
        return ERR_NONE;
    }
    if (!admin_allowed(run->c->parts->conf, run->user)) {
        enum err e = note_set(note, ERR_ADMIN_DENIED, "permission denied for %s", words);
        note_hint(note, "auth.stats_users may run SHOW commands only; auth.admin_users all.");
        return e;
    }
    log_event(LOG_COMMAND, "command=\"%s\" user=%s", words, run->user);
    return ERR_NONE;
}

static enum err read_statement(struct admin_run *run, int *found, struct note *note)
{
    arena_reset(&run->memory);
    enum err e = admin_next(&run->rest, &run->memory, &run->statement, found, note);
    if (e || !*found) {
        return e;
    }
    if (++run->done_count > STATEMENTS_MAX) {
        return note_set(note, ERR_TOO_BIG, "more than %d statements in one console query",
                        STATEMENTS_MAX);
    }
    e = find_command(&run->statement, &run->command, &run->command_words, note);
    return e ? e : admit(run, note);
}

static void step(struct admin_run *run)
{
    for (;;) {
        struct note note = {.text = ""};
        int found = 0;
        int waits = 0;
        enum err e = read_statement(run, &found, &note);
        if (!e && found) {
            e = start_command(run, &waits, &note);
        }
        if (e) {
            finish_failed(run, e, &note);
            return;
        }
        if (!found) {
            if (run->done_count == 0) {
                back_put_empty(&run->out, 'I');
            }
            finish(run);
            return;
        }
        if (waits || !call_command(run, NULL)) {
            return;
        }
    }
}

static void on_admin(struct control *c, struct control_mail *mail)
{
    struct admin_run *run = (struct admin_run *)(void *)mail;
    if (!admin_allowed(c->parts->conf, run->user) &&
        !admin_listed(c->parts->conf->stats_users, run->user)) {
        struct back_error denied = {
            .severity = SLICE("ERROR"),
            .severity_raw = SLICE("ERROR"),
            .code = SLICE("42501"),
            .message = SLICE("permission denied for the admin console"),
            .hint = SLICE("auth.admin_users names who may use it; without it only the service user "
                          "may")};
        back_put_error(&run->out, &denied);
        finish(run);
        return;
    }
    step(run);
}

void control_admin(struct control *c, struct slice sql, const char *user, size_t worker,
                   uint64_t session_id)
{
    struct admin_run *run = mem_zero(sizeof(*run));
    run->mail.fn = on_admin;
    run->c = c;
    run->user = user == NULL ? NULL : mem_strdup(user);
    run->worker = worker;
    run->session_id = session_id;
    buf_add_slice(&run->sql, sql);
    run->rest = buf_slice(&run->sql);
    control_send(c, &run->mail);
}
