/*
 * Shards of a database and what a server says of the reads it takes. A shard is one primary and
 * any number of replicas; the file only says where to look first, as the servers change roles.
 */

#include <string.h>
#include <strings.h>

#include "base/check.h"
#include "conf/reader.h"

/* ---- servers --------------------------------------------------------------------------------- */

enum err server_read_reads(struct reader *r, const char *name,
                           const struct node *const nodes[SERVER_READS_FIELDS],
                           struct conf_server *out)
{
    static const struct {
        const char *key;
        struct bounds bounds;
    } fields[SERVER_READS_FIELDS] = {
        {"weight", {0, CONF_WEIGHT_MAX, UNIT_NONE, ""}},
        {"max_lag_ms", {0, 86400000, UNIT_MS, "ms"}},
        {"max_lag_bytes", {0, INT64_C(1) << 50, UNIT_BYTES, "bytes"}},
    };
    int64_t values[SERVER_READS_FIELDS] = {1, -1, -1};
    for (size_t i = 0; i < SERVER_READS_FIELDS; i++) {
        const char *what = arena_printf(&r->scratch, "servers.%s.%s", name, fields[i].key);
        enum err e =
            nodes[i] == NULL ? ERR_NONE : read_int(r, nodes[i], what, fields[i].bounds, &values[i]);
        if (e) {
            return e;
        }
    }
    out->weight = (uint32_t)values[0];
    out->max_lag_ms = values[1];
    out->max_lag_bytes = values[2];
    return ERR_NONE;
}

static enum err find_server(struct reader *r, const struct node *node, const char *what,
                            uint16_t *out)
{
    const struct conf *conf = r->conf;
    const char *name = NULL;
    enum err e = read_text(r, node, what, &name);
    if (e) {
        return e;
    }
    for (size_t i = 0; i < conf->servers_count; i++) {
        if (strcmp(conf->servers[i].name, name) == 0) {
            *out = (uint16_t)i;
            return ERR_NONE;
        }
    }
    const char **known = arena_alloc(&r->scratch, conf->servers_count * sizeof(known[0]));
    for (size_t i = 0; i < conf->servers_count; i++) {
        known[i] = conf->servers[i].name;
    }
    const char *best = nearest_word(name, known, conf->servers_count);
    return bad(r, node->line, "%s is %s, which servers does not name; %s \"%s\"", what,
               shown(r, name),
               best == NULL ? "add it there, or use one of it such as" : "did you mean",
               best == NULL ? known[0] : best);
}

int same_place(const struct conf *conf, uint16_t a, uint16_t b)
{
    return a == b || (conf->servers[a].port == conf->servers[b].port &&
                      strcasecmp(conf->servers[a].host, conf->servers[b].host) == 0);
}

/* ---- shards ---------------------------------------------------------------------------------- */

static enum err add_replica(struct reader *r, const struct node *node, const char *what,
                            struct conf_shard *shard)
{
    uint16_t server = 0;
    enum err e = find_server(r, node, what, &server);
    if (e) {
        return e;
    }
    int taken = same_place(r->conf, server, shard->primary);
    for (size_t i = 0; i < shard->replicas_count; i++) {
        taken |= same_place(r->conf, server, shard->replicas[i]);
    }
    if (taken) {
        return bad(r, node->line, "%s: server %s serves this shard already; name each server once",
                   what, shown(r, r->conf->servers[server].name));
    }
    shard->replicas[shard->replicas_count++] = server;
    return ERR_NONE;
}

static enum err read_replicas(struct reader *r, const struct node *node, const char *what,
                              struct conf_shard *shard)
{
    enum err e = need_list(r, node, what, CONF_REPLICAS_MAX, "[s1, s2]");
    if (e) {
        return e;
    }
    shard->replicas = arena_zero(r->keep, node->count * sizeof(shard->replicas[0]));
    for (const struct node *child = node->first; child != NULL && !e; child = child->next) {
        e = add_replica(r, child, what, shard);
    }
    return e;
}

/* servers: [s0, s3, s4]; the first one is where the primary is looked for first. */
static enum err read_members(struct reader *r, const struct node *node, const char *what,
                             struct conf_shard *shard)
{
    enum err e = need_list(r, node, what, CONF_REPLICAS_MAX + 1, "[s0, s1, s2]");
    if (e) {
        return e;
    }
    if (node->first == NULL) {
        return bad(r, node->line, "%s is empty; write [s0, s1]", what);
    }
    shard->replicas = arena_zero(r->keep, node->count * sizeof(shard->replicas[0]));
    e = find_server(r, node->first, what, &shard->primary);
    for (const struct node *child = node->first->next; child != NULL && !e; child = child->next) {
        e = add_replica(r, child, what, shard);
    }
    return e;
}

static enum err check_roles(struct reader *r, const struct node *node, const char *what,
                            const struct node *const lists[3])
{
    const struct node *primary = lists[0], *replicas = lists[1], *servers = lists[2];
    if (servers != NULL && (primary != NULL || replicas != NULL)) {
        return bad(r, servers->line,
                   "%s has servers and %s; write servers: [s0, s1], or primary and replicas", what,
                   primary != NULL ? "primary" : "replicas");
    }
    if (primary == NULL && servers == NULL) {
        return bad(r, node->line, "%s has no primary; write { primary: s0 } or { servers: [s0] }",
                   what);
    }
    return ERR_NONE;
}

enum err shard_read(struct reader *r, const struct node *node, const char *shards_what,
                    struct conf_shard *out)
{
    const struct node *lists[3] = {NULL, NULL, NULL};
    const struct node *weight = NULL;
    const struct field fields[] = {{"primary", &lists[0]},
                                   {"replicas", &lists[1]},
                                   {"servers", &lists[2]},
                                   {"weight", &weight}};
    enum err e = check_label(r, node->line, "a shard", node->key);
    if (e) {
        return e;
    }
    const char *what = arena_printf(&r->scratch, "%s.%s", shards_what, node->key);
    e = need_map(r, node, what, 4, "{ primary: s0 }");
    e = e ? e : read_fields(r, node, what, fields, 4);
    if (e) {
        return e;
    }
    *out = (struct conf_shard){
        .name = arena_strdup(r->keep, node->key), .weight = 1, .line = node->line};
    e = check_roles(r, node, what, lists);
    if (!e && lists[2] != NULL) {
        e = read_members(r, lists[2], arena_printf(&r->scratch, "%s.servers", what), out);
    } else if (!e) {
        e = find_server(r, lists[0], arena_printf(&r->scratch, "%s.primary", what), &out->primary);
    }
    if (!e && lists[1] != NULL) {
        e = read_replicas(r, lists[1], arena_printf(&r->scratch, "%s.replicas", what), out);
    }
    if (e == ERR_NONE && weight != NULL) {
        int64_t number = 1;
        e = read_int(r, weight, arena_printf(&r->scratch, "%s.weight", what),
                     (struct bounds){1, CONF_WEIGHT_MAX, UNIT_NONE, ""}, &number);
        out->weight = (uint32_t)number;
    }
    return e;
}
