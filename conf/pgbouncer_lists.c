/*
 * What is one line in PgBouncer's file and a list in ours: addresses to listen on, servers and
 * databases. Servers are made as databases name them, one per list of hosts and port.
 */

#include <arpa/inet.h>
#include <ctype.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "conf/pgbouncer.h"

enum {
    LABEL_BYTES_MAX = 48
};

/* ---- listening ------------------------------------------------------------------------------- */

static void listen_on(struct pgb *b, struct node *list, const char *host, int port, int line)
{
    int v6 = strchr(host, ':') != NULL;
    const char *text =
        arena_printf(&b->r->scratch, "%s%s%s:%d", v6 ? "[" : "", host, v6 ? "]" : "", port);
    for (const struct node *child = list->first; child != NULL; child = child->next) {
        if (child->kind == NODE_TEXT && strcmp(child->text, text) == 0) {
            return;
        }
    }
    node_text(b->r, list, NULL, text, line);
}

/* A name, or an address in a form of its own: every address it has. */
static enum err listen_on_name(struct pgb *b, struct node *list, const char *name, int port,
                               int line)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    int failed = getaddrinfo(name, NULL, &hints, &found);
    if (failed != 0) {
        return bad(b->r, line, "listen_addr: %s cannot be looked up: %s; write a numeric address",
                   shown(b->r, name), gai_strerror(failed));
    }
    for (struct addrinfo *a = found; a != NULL; a = a->ai_next) {
        char host[INET6_ADDRSTRLEN + 1];
        if (getnameinfo(a->ai_addr, a->ai_addrlen, host, sizeof(host), NULL, 0, NI_NUMERICHOST) ==
            0) {
            listen_on(b, list, host, port, line);
        }
    }
    freeaddrinfo(found);
    return ERR_NONE;
}

static enum err listen_on_all(struct pgb *b, struct node *list, int port)
{
    int line = 1;
    char *text = arena_strdup(&b->r->scratch, pgb_setting(b, "listen_addr", &line));
    char *rest = NULL;
    for (char *name = strtok_r(text, ", \t", &rest); name != NULL;
         name = strtok_r(NULL, ", \t", &rest)) {
        struct in6_addr addr;
        enum err e = ERR_NONE;
        if (strcmp(name, "*") == 0 || inet_pton(AF_INET, name, &addr) == 1 ||
            inet_pton(AF_INET6, name, &addr) == 1) {
            listen_on(b, list, name, port, line);
        } else {
            e = listen_on_name(b, list, name, port, line);
        }
        if (e) {
            return e;
        }
    }
    return ERR_NONE;
}

static void listen_on_unix(struct pgb *b, struct node *list, const char *dir, int port, int line)
{
    const char *mode = pgb_setting(b, "unix_socket_mode", NULL);
    const char *group = pgb_setting(b, "unix_socket_group", NULL);
    const char *text = arena_printf(&b->r->scratch, "%s:%d", dir, port);
    int own_mode = strtol(mode, NULL, 8) != 0777;
    if (!own_mode && group[0] == '\0') {
        node_text(b->r, list, NULL, text, line);
        return;
    }
    struct node *entry = node_map(b->r, list, NULL, line);
    node_text(b->r, entry, "address", text, line);
    if (own_mode) {
        node_text(b->r, entry, "unix_mode", mode, line);
    }
    if (group[0] != '\0') {
        node_text(b->r, entry, "unix_group", group, line);
    }
}

enum err pgb_listen(struct pgb *b)
{
    int port = 0;
    struct pgb_value value = {0};
    value.text = pgb_setting(b, "listen_port", &value.line);
    enum err e = pgb_port(b, "listen_port", value, &port);
    struct node *list = node_list(b->r, b->root, "listen", value.line);
    e = e ? e : listen_on_all(b, list, port);
    int line = 1;
    const char *dir = pgb_setting(b, "unix_socket_dir", &line);
    if (e == ERR_NONE && dir[0] != '\0') {
        listen_on_unix(b, list, dir, port, line);
    }
    if (e == ERR_NONE && list->count == 0) {
        e = bad(b->r, line,
                "nothing to listen on: listen_addr and unix_socket_dir are both empty; "
                "set one of them");
    }
    return e;
}

/* ---- servers --------------------------------------------------------------------------------- */

/* A name for the server, of its own: letters and digits of the host, and the port. */
static const char *new_label(struct pgb *b, const struct node *servers, const char *host, int port)
{
    char label[LABEL_BYTES_MAX + 1];
    size_t n = 0;
    for (const char *p = host[0] == '/' ? "unix" : host; *p != '\0' && n < LABEL_BYTES_MAX; p++) {
        label[n++] = isalnum((unsigned char)*p) || *p == '.' || *p == '-' ? *p : '_';
    }
    label[n] = '\0';
    const char *name = arena_printf(&b->r->scratch, "%s_%d", label, port);
    for (int i = 2; node_child(servers, name) != NULL; i++) {
        name = arena_printf(&b->r->scratch, "%s_%d.%d", label, port, i);
    }
    return name;
}

static const char *server_of(struct pgb *b, const char *host, int port, const char *balance,
                             int line)
{
    struct node *servers = node_child(b->root, "servers");
    const char *port_text = arena_printf(&b->r->scratch, "%d", port);
    for (const struct node *s = servers->first; s != NULL; s = s->next) {
        if (strcmp(node_child(s, "host")->text, host) == 0 &&
            strcmp(node_child(s, "port")->text, port_text) == 0 &&
            (node_child(s, "load_balance_hosts") != NULL) == (balance != NULL)) {
            return s->key;
        }
    }
    struct node *server = node_map(b->r, servers, new_label(b, servers, host, port), line);
    node_text(b->r, server, "host", host, line);
    node_text(b->r, server, "port", port_text, line);
    if (balance != NULL) {
        node_text(b->r, server, "load_balance_hosts", balance, line);
    }
    return server->key;
}

/* ---- databases ------------------------------------------------------------------------------- */

static struct pgb_value value_of(const struct pgb_values *values, const char *name)
{
    return values->of[pgb_row(PGB_DATABASE, name)];
}

static const char *without_blanks(struct pgb *b, const char *text)
{
    char *out = arena_strdup(&b->r->scratch, text);
    size_t n = 0;
    for (const char *p = text; *p != '\0'; p++) {
        if (*p != ' ' && *p != '\t') {
            out[n++] = *p;
        }
    }
    out[n] = '\0';
    return out;
}

static enum err put_server(struct pgb *b, struct node *db, const char *what,
                           const struct pgb_values *values, int line)
{
    struct pgb_value host = value_of(values, "host");
    struct pgb_value port = value_of(values, "port");
    int number = 5432;
    if (host.text == NULL || host.text[0] == '\0') {
        host.text = pgb_setting(b, "unix_socket_dir", NULL);
    }
    if (host.text[0] == '\0') {
        return bad(b->r, line, "%s has no host, and unix_socket_dir is empty; write host=...",
                   what);
    }
    if (port.text != NULL) {
        enum err e = pgb_port(b, arena_printf(&b->r->scratch, "%s: port", what), port, &number);
        if (e) {
            return e;
        }
    }
    /* PgBouncer allows blanks around the commas. */
    const char *hosts = without_blanks(b, host.text);
    const char *balance = value_of(values, "load_balance_hosts").text;
    const char *server = server_of(b, hosts, number, balance, line);
    node_put(b->r, db, "shards.shard0.primary", server, line);
    return ERR_NONE;
}

enum err pgb_database(struct pgb *b, const char *name, const struct pgb_values *values, int line)
{
    struct node *db = node_map(b->r, node_child(b->root, "databases"), name, line);
    const char *what = arena_printf(&b->r->scratch, "database %s", shown(b->r, name));
    enum err e = ERR_NONE;
    for (size_t i = 0; pgb_key_at(i) != NULL && e == ERR_NONE; i++) {
        const struct pgb_key *key = pgb_key_at(i);
        struct pgb_value value = values->of[i];
        if (key->section != PGB_DATABASE || value.text == NULL) {
            continue;
        }
        const char *key_what = arena_printf(&b->r->scratch, "%s: %s", what, key->name);
        if (strcmp(key->name, "password") == 0 && value_of(values, "user").text == NULL) {
            conf_warn(b->r, line,
                      "%s has no effect: no user stands beside it, so clients log in "
                      "as themselves",
                      key_what);
            continue;
        }
        e = pgb_put(b, db, key, key_what, value);
    }
    return e ? e : put_server(b, db, what, values, line);
}
