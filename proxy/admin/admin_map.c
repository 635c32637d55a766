/* SHOW commands about databases, shards, tables and transactions. */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "proxy/admin/admin.h"
#include "proxy/admin/gate.h"
#include "proxy/control/role.h"
#include "proxy/pool/account.h"

enum {
    TRANSACTIONS_SHOWN_MAX = 1000
};

/* ---- databases and shards ---------------------------------------------------------------------
 */

uint64_t admin_pool_size(const struct conf *conf, const struct conf_database *db)
{
    return (uint64_t)(db->pool.size != CONF_UNSET ? db->pool.size : conf->pool_size);
}

/* Its connections and clients. A client that is idle holds no connection and is in no pool. */
static void count_database(const struct admin_call *call, const char *name, uint64_t *backends,
                           uint64_t *clients)
{
    const struct snapshot *s = call->snap;
    for (size_t i = 0; i < s->pools_count; i++) {
        const struct pool_view *p = &s->pools[i];
        if (strcmp(p->database, name) == 0) {
            *backends +=
                p->backends_active + p->backends_idle + p->backends_tested + p->backends_login;
        }
    }
    for (size_t i = 0; i < s->clients_count; i++) {
        *clients += strcmp(s->clients[i].database, name) == 0;
    }
}

static void put_database(struct admin_call *call, const struct world *w, const struct world_db *db)
{
    struct conf_pool_options options;
    uint64_t backends = 0;
    uint64_t clients = 0;
    conf_resolve(w->conf, db->conf, "", &options);
    count_database(call, db->conf->name, &backends, &clients);
    admin_row(call);
    admin_text(call, db->conf->name);
    admin_text(call, role_server(db, 0)->host);
    admin_uint(call, role_server(db, 0)->port);
    admin_text(call, db->conf->dbname);
    admin_text(call, db->conf->auth.user);
    admin_int(call, options.size);
    admin_int(call, options.min_size);
    admin_int(call, options.reserve_size);
    admin_int(call, options.server_lifetime_ms / 1000);
    admin_text(call, admin_mode_name((enum conf_pool_mode)options.mode));
    const struct server_state *server = db->servers[0];
    int several = strchr(server->host, ',') != NULL;
    admin_text(call, !several ? NULL : server->turns ? "round-robin" : "disable");
    admin_int(call, options.db_connections);
    admin_uint(call, backends);
    admin_int(call, options.db_clients);
    admin_uint(call, clients);
    unsigned gate = gate_of(db->conf->name);
    admin_uint(call, (gate & GATE_PAUSED) != 0);
    admin_uint(call, (gate & GATE_DISABLED) != 0);
    admin_uint(call, db->conf->shards_count);
    admin_text(call, db->ready ? "yes" : "no");
    admin_text(call, db->ready ? "" : db->why.text);
    admin_uint(call, db->map->epoch);
    admin_uint(call, db->map->tables_count);
}

static void put_auto(void *arg, const struct world_db *db)
{
    struct admin_call *call = arg;
    put_database(call, call->c->world, db);
}

enum err admin_show_databases(struct admin_call *call)
{
    admin_columns(call, "name host port:i database force_user pool_size:i min_pool_size:i "
                        "reserve_pool_size:i server_lifetime:i pool_mode load_balance_hosts "
                        "max_connections:i current_connections:i max_client_connections:i "
                        "current_client_connections:i paused:i disabled:i shards:i ready why "
                        "epoch:q tables:i");
    const struct world *w = call->c->world;
    for (size_t i = 0; i < w->dbs_count; i++) {
        put_database(call, w, &w->dbs[i]);
    }
    world_each_auto(w, put_auto, call);
    admin_end(call);
    return ERR_NONE;
}

/* ---- tables -----------------------------------------------------------------------------------
 */

static enum err check_database(struct admin_call *call, const char *name)
{
    if (name != NULL && world_find_db(call->c->world, slice_of(name)) == NULL) {
        return note_set(&call->note, ERR_NO_DATABASE, "database \"%.100s\" is not configured",
                        name);
    }
    return ERR_NONE;
}

static void put_buf(struct admin_call *call, struct buf *text)
{
    buf_u8(text, 0);
    admin_text(call, (const char *)text->p);
    text->n = 0;
}

static void put_table(struct admin_call *call, const struct world_db *db, const struct map_table *t,
                      struct buf *scratch)
{
    admin_row(call);
    admin_text(call, db->conf->name);
    admin_text(call, t->schema);
    admin_text(call, t->name);
    map_print_strategy(t, scratch);
    put_buf(call, scratch);
    admin_text(call, t->kind == MAP_REFERENCE ? "" : t->group_name);
    uint64_t shards = map_table_shards(db->map, t);
    admin_uint(call, (uint64_t)__builtin_popcountll(shards));
    int exists = 1;
    for (size_t k = 0; k < t->keys_count; k++) {
        exists &= t->key_types[k] != 0;
    }
    admin_text(call, t->from_sql ? "sql" : "file");
    admin_text(call, exists ? "yes" : "no");
}

enum err admin_show_tables(struct admin_call *call)
{
    const char *only = call->args_count > 0 ? call->args[0] : NULL;
    enum err e = check_database(call, only);
    if (e) {
        return e;
    }
    admin_columns(call, "database schema table strategy colocated_with shards:i declared_in "
                        "key_known");
    const struct world *w = call->c->world;
    struct buf scratch = {0};
    for (size_t i = 0; i < w->dbs_count; i++) {
        const struct world_db *db = &w->dbs[i];
        if (only != NULL && strcmp(only, db->conf->name) != 0) {
            continue;
        }
        for (size_t t = 0; t < db->map->tables_count; t++) {
            put_table(call, db, &db->map->tables[t], &scratch);
        }
    }
    buf_free(&scratch);
    admin_end(call);
    return ERR_NONE;
}

/* "table" or "schema.table". */
static const struct map_table *find_table(const struct map *map, const char *name)
{
    const char *dot = strchr(name, '.');
    for (size_t i = 0; i < map->tables_count; i++) {
        const struct map_table *t = &map->tables[i];
        int same_schema = dot == NULL ? strcmp(t->schema, "public") == 0
                                      : strlen(t->schema) == (size_t)(dot - name) &&
                                            strncmp(t->schema, name, (size_t)(dot - name)) == 0;
        if (same_schema && strcmp(t->name, dot == NULL ? name : dot + 1) == 0) {
            return t;
        }
    }
    return NULL;
}

static void put_buckets(struct admin_call *call, const struct world_db *db,
                        const struct map_table *t, const uint8_t *buckets)
{
    size_t counts[SHARDS_MAX] = {0};
    for (size_t b = 0; b < BUCKETS; b++) {
        check(buckets[b] < db->map->shards_count);
        counts[buckets[b]]++;
    }
    for (size_t s = 0; s < db->map->shards_count; s++) {
        char percent[32];
        (void)snprintf(percent, sizeof(percent), "%.2f %%", (double)counts[s] * 100.0 / BUCKETS);
        admin_row(call);
        admin_text(call, db->conf->name);
        admin_text(call, t->name);
        admin_text(call, db->map->shard_names[s]);
        admin_uint(call, counts[s]);
        admin_text(call, percent);
    }
}

/* Range, list, reference: what the map says of itself, a row per line. */
static void put_pieces(struct admin_call *call, const struct world_db *db,
                       const struct map_table *t)
{
    struct buf lines = {0};
    map_print_pieces(db->map, t, &lines);
    buf_u8(&lines, 0);
    char *rest = (char *)lines.p;
    for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
        if (line[0] == '\0') {
            continue;
        }
        admin_row(call);
        admin_text(call, db->conf->name);
        admin_text(call, t->name);
        admin_text(call, NULL);
        admin_text(call, NULL);
        admin_text(call, line);
    }
    buf_free(&lines);
}

enum err admin_show_buckets(struct admin_call *call)
{
    const char *only = call->args_count > 1 ? call->args[0] : NULL;
    const char *name = call->args[call->args_count - 1];
    enum err e = check_database(call, only);
    if (e) {
        return e;
    }
    const struct world *w = call->c->world;
    size_t found = 0;
    for (size_t i = 0; i < w->dbs_count; i++) {
        const struct world_db *db = &w->dbs[i];
        if (only != NULL && strcmp(only, db->conf->name) != 0) {
            continue;
        }
        const struct map_table *t = find_table(db->map, name);
        if (t == NULL) {
            continue;
        }
        if (found++ == 0) {
            admin_columns(call, "database table shard buckets:i piece");
        }
        const uint8_t *buckets = map_buckets(db->map, t);
        if (buckets != NULL) {
            put_buckets(call, db, t, buckets);
        } else {
            put_pieces(call, db, t);
        }
    }
    if (found == 0) {
        e = note_set(&call->note, ERR_NO_TABLE, "no sharded table is called \"%.100s\"", name);
        note_hint(&call->note, "SHOW TABLES lists them; a table that is not listed is local to the "
                               "home shard");
        return e;
    }
    admin_end(call);
    return ERR_NONE;
}

/* ---- transactions -----------------------------------------------------------------------------
 */

void admin_shards(struct admin_call *call, const char *database, uint64_t shards)
{
    const struct world_db *db = world_find_db(call->c->world, slice_of(database));
    struct buf text = {0};
    bits_each (s, shards) {
        buf_text(&text, text.n > 0 ? "," : "");
        if (db != NULL && s < db->conf->shards_count) {
            buf_text(&text, db->conf->shards[s].name);
        } else {
            buf_printf(&text, "#%u", (unsigned)s);
        }
    }
    put_buf(call, &text);
    buf_free(&text);
}

static void put_when(struct admin_call *call, int64_t wall_us)
{
    char text[40];
    time_t seconds = (time_t)(wall_us / 1000000);
    struct tm tm;
    size_t n = strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", gmtime_r(&seconds, &tm));
    (void)snprintf(text + n, sizeof(text) - n, ".%03d UTC", (int)(wall_us / 1000 % 1000));
    admin_text(call, text);
}

enum err admin_show_transactions(struct admin_call *call)
{
    struct ledger_row *rows = mem_zero(TRANSACTIONS_SHOWN_MAX * sizeof(*rows));
    const struct ledger *ledger = call->c->shared->ledger; /* NULL: no database needs one */
    size_t count =
        ledger == NULL ? 0 : ledger_list(call->c->shared->ledger, rows, TRANSACTIONS_SHOWN_MAX);
    count = count > TRANSACTIONS_SHOWN_MAX ? TRANSACTIONS_SHOWN_MAX : count;
    int64_t now_us = clock_now_us();
    int64_t wall_us = clock_wall_us();
    admin_columns(call, "id state database shards age_ms:q kept_by prepared decided_ms:q");
    for (size_t i = 0; i < count; i++) {
        const struct ledger_row *row = &rows[i];
        char id[48];
        (void)snprintf(id, sizeof(id), "%" PRIx64 "_%" PRIx64, row->txn.start, row->txn.seq);
        admin_row(call);
        admin_text(call, id);
        admin_text(call, ledger_state_name(row->state));
        admin_text(call, row->tag);
        admin_shards(call, row->tag, row->shards);
        admin_int(call, (now_us - row->since_us) / 1000);
        admin_text(call, row->is_elsewhere ? "shard" : "ledger");
        put_when(call, wall_us - (now_us - row->since_us));
        if (row->decided_us == 0) {
            admin_text(call, NULL);
        } else {
            admin_int(call, (row->decided_us - row->since_us) / 1000);
        }
    }
    mem_free(rows);
    admin_end(call);
    return ERR_NONE;
}

enum err admin_show_schema_changes(struct admin_call *call)
{
    struct schema_change *rows = mem_zero(CHANGES_KEPT * sizeof(*rows));
    int count = changes_list(&call->c->shared->changes, rows);
    int64_t now_us = clock_now_us();
    admin_columns(call, "id:q state database shards done shard since_ms:q began statement error");
    for (int i = 0; i < count; i++) {
        const struct schema_change *x = &rows[i];
        int at = x->state != CHANGE_DONE;
        admin_row(call);
        admin_int(call, (int64_t)x->id);
        admin_text(call, change_state_name(x->state));
        admin_text(call, x->database);
        admin_shards(call, x->database, x->shards);
        admin_shards(call, x->database, x->done);
        admin_shards(call, x->database, at ? UINT64_C(1) << x->shard : 0);
        admin_int(call, (now_us - x->changed_us) / 1000);
        admin_time(call, x->began_wall_us);
        admin_text(call, x->statement);
        admin_text(call, x->error);
    }
    mem_free(rows);
    admin_end(call);
    return ERR_NONE;
}

enum err admin_show_fences(struct admin_call *call)
{
    admin_columns(call, "database phase visible:q held:q in_gap:q waiting:q unfinished:q gaps:q "
                        "gap_reads:q held_commits:q");
    for (struct db_fence *f = call->c->servers.fences; f != NULL; f = f->next) {
        struct fence_stats stats;
        fence_stats(f->fence, &stats);
        admin_row(call);
        admin_text(call, f->database);
        admin_text(call, fence_phase_name(stats.phase));
        admin_int(call, (int64_t)stats.visible);
        admin_int(call, (int64_t)stats.commits_waiting);
        admin_int(call, (int64_t)stats.reads);
        admin_int(call, (int64_t)stats.reads_waiting);
        admin_int(call, (int64_t)stats.aside);
        admin_int(call, (int64_t)stats.gaps);
        admin_int(call, (int64_t)stats.gap_reads);
        admin_int(call, (int64_t)stats.held_commits);
    }
    admin_end(call);
    return ERR_NONE;
}
