#ifndef PROXY_ADMIN_H
#define PROXY_ADMIN_H

/*
 * Inside of the admin console: commands are rows of a table in admin.c; what they print is in
 * admin_show.c (pools, lists), admin_sockets.c (connections), admin_stats.c (counters),
 * admin_config.c (settings) and admin_map.c (databases, tables, transactions). Control thread.
 */

#include "proxy/admin/admin_parse.h"
#include "proxy/admin/snapshot.h"

/* One statement being answered. */
struct admin_call {
    struct control *c;
    const struct snapshot *snap; /* what the command's row asked for, else NULL */
    const char *const *args;     /* words behind the command */
    size_t args_count;
    struct buf *out;
    struct note note;
    size_t columns_count;
    unsigned open : 1; /* a row has been begun */
    size_t _mark;
    size_t _values;
    size_t rows_count;
};

typedef enum err admin_fn(struct admin_call *call);

/*
 * Writing a result: columns once, then rows value by value.
 *   spec   names separated by spaces; "name:i" is int4, "name:q" int8, "name:n" numeric, else text
 */
void admin_columns(struct admin_call *call, const char *spec);
void admin_row(struct admin_call *call); /* begin the next row (ends the one before) */
void admin_text(struct admin_call *call, const char *text); /* NULL: NULL */
void admin_uint(struct admin_call *call, uint64_t v);
void admin_int(struct admin_call *call, int64_t v);
void admin_time(struct admin_call *call, int64_t wall_us); /* 0: "" */
void admin_end(struct admin_call *call);                   /* of the result: the tag SHOW */

const char *admin_mode_name(enum conf_pool_mode mode);
/* Names of the shards of `database` whose bits are set, with commas. */
void admin_shards(struct admin_call *call, const char *database, uint64_t shards);

/* Hosts and ports as PgBouncer prints them: "unix" for sockets; out has ADDR_TEXT_BYTES. */
const char *admin_host(const struct addr *a, char *out);

/* Connections per shard and user, as a database has it. */
uint64_t admin_pool_size(const struct conf *conf, const struct conf_database *db);

/* Whether `user` is in the list, or is the service user when there is no list. */
int admin_listed(const char *list, const char *user); /* comma separated; NULL: nobody */
int admin_allowed(const struct conf *conf, const char *user);

admin_fn admin_show_help, admin_show_version, admin_show_state, admin_show_pools,
    admin_show_shard_pools, admin_show_clients, admin_show_servers, admin_show_lists,
    admin_show_users, admin_show_config, admin_show_mem, admin_show_stats, admin_show_stats_totals,
    admin_show_stats_averages, admin_show_totals, admin_show_latency, admin_show_queries,
    admin_show_errors, admin_show_sockets, admin_show_active_sockets, admin_show_peers,
    admin_show_peer_pools, admin_show_dns_hosts, admin_show_dns_zones, admin_show_fds,
    admin_show_commands, admin_show_settings;
typedef void cdc_reset_fn(void *arg, enum err e, const struct note *note);
/* words: group, topic, place. `done` comes unless it fails at once. admin_cdc.c */
enum err cdc_reset_start(struct control *c, const char *const *words, cdc_reset_fn *done, void *arg,
                         struct note *note) MUST_CHECK;
admin_fn admin_show_cdc_log, admin_show_cdc_topics, admin_show_cdc_groups, admin_show_cdc_sinks;
admin_fn admin_show_databases, admin_show_shards, admin_show_tables, admin_show_buckets,
    admin_show_map_history, admin_show_map_at, admin_show_transactions, admin_show_fences,
    admin_show_schema_changes, admin_show_cdc, admin_cdc_copy;

#endif
