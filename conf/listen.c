/*
 * Addresses to listen on: an entry is an address, or a map of an address and what is special about
 * it. And the networks whose proxies are believed.
 */

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "conf/reader.h"

static const char LISTEN_EXAMPLE[] = "[\"127.0.0.1:6432\"]";
static const char ENTRY_EXAMPLE[] = "{ address: \"127.0.0.1:6432\", proxy_protocol: on }";

/* ---- one entry ------------------------------------------------------------------------------- */

/* As chmod(1) writes it: three or four octal digits. */
static enum err read_mode(struct reader *r, const struct node *node, uint32_t *out)
{
    const char *text = NULL;
    enum err e = read_text(r, node, "listen.unix_mode", &text);
    if (e) {
        return e;
    }
    size_t n = strspn(text, "01234567");
    if (text[n] != '\0' || n < 3 || n > 4 || strtol(text, NULL, 8) > 0777) {
        return bad(r, node->line,
                   "listen.unix_mode is %s; write the bits as chmod does, from 000 to 0777",
                   shown(r, text));
    }
    *out = (uint32_t)strtol(text, NULL, 8);
    return ERR_NONE;
}

static enum err only_unix(struct reader *r, const struct node *node, const struct conf_listen *l)
{
    if (node != NULL && l->address[0] != '/' && l->address[0] != '@') {
        return bad(r, node->line, "listen.%s is for unix sockets and %s is none; remove it",
                   node->key, shown(r, l->address));
    }
    return ERR_NONE;
}

static enum err read_map(struct reader *r, const struct node *node, struct conf_listen *out)
{
    const struct node *address = NULL;
    const struct node *mode = NULL;
    const struct node *group = NULL;
    const struct node *proxy = NULL;
    const struct node *tls = NULL;
    const struct field fields[] = {{"address", &address},
                                   {"unix_mode", &mode},
                                   {"unix_group", &group},
                                   {"proxy_protocol", &proxy},
                                   {"tls", &tls}};
    unsigned word = 0;
    enum err e = need_map(r, node, "listen", 5, ENTRY_EXAMPLE);
    e = e ? e : read_fields(r, node, "listen", fields, 5);
    if (e) {
        return e;
    }
    if (address == NULL) {
        return bad(r, node->line, "an entry of listen has no address; write %s", ENTRY_EXAMPLE);
    }
    e = read_text(r, address, "listen.address", &out->address);
    e = e ? e : only_unix(r, mode, out);
    e = e ? e : only_unix(r, group, out);
    if (e == ERR_NONE && mode != NULL) {
        e = read_mode(r, mode, &out->unix_mode);
    }
    if (e == ERR_NONE && group != NULL) {
        e = read_text(r, group, "listen.unix_group", &out->unix_group);
    }
    if (e == ERR_NONE && proxy != NULL) {
        e = read_word(r, proxy, "listen.proxy_protocol", "off,on,required", &word);
        out->proxy_protocol = (enum conf_proxy_protocol)word;
    }
    if (e == ERR_NONE && tls != NULL) {
        e = read_word(r, tls, "listen.tls", "disable,allow,prefer,require,verify-ca,verify-full",
                      &word);
        out->has_tls_mode = 1;
        out->tls_mode = (enum conf_tls_mode)word;
    }
    return e;
}

static enum err read_entry(struct reader *r, const struct node *node, struct conf_listen *out)
{
    *out = (struct conf_listen){.unix_mode = 0777, .line = node->line};
    enum err e = node->kind == NODE_MAP ? read_map(r, node, out)
                                        : read_text(r, node, "listen", &out->address);
    return e ? e : check_address(r, node->line, "listen", out->address, 1);
}

enum err listen_read(struct reader *r, const struct node *node)
{
    struct conf *conf = r->conf;
    if (node == NULL) {
        conf->listen = arena_zero(r->keep, sizeof(conf->listen[0]));
        conf->listen[0] =
            (struct conf_listen){.address = "127.0.0.1:6432", .unix_mode = 0777, .line = 1};
        conf->listen_count = 1;
        return ERR_NONE;
    }
    enum err e = need_list(r, node, "listen", CONF_LISTEN_MAX, LISTEN_EXAMPLE);
    if (e) {
        return e;
    }
    conf->listen = arena_zero(r->keep, node->count * sizeof(conf->listen[0]));
    for (const struct node *child = node->first; child != NULL; child = child->next) {
        struct conf_listen *l = &conf->listen[conf->listen_count];
        e = read_entry(r, child, l);
        if (e) {
            return e;
        }
        for (size_t i = 0; i < conf->listen_count; i++) {
            if (strcmp(conf->listen[i].address, l->address) == 0) {
                return bad(r, child->line, "listen: %s stands here twice; remove one",
                           shown(r, l->address));
            }
        }
        conf->listen_count++;
    }
    return ERR_NONE;
}

/* ---- who may announce addresses -------------------------------------------------------------- */

static int parse_network(char *text, struct conf_network *out)
{
    *out = (struct conf_network){.family = AF_UNIX};
    if (strcmp(text, "unix") == 0) {
        return 1;
    }
    char *slash = strchr(text, '/');
    if (slash != NULL) {
        *slash = '\0';
    }
    out->family = strchr(text, ':') != NULL ? AF_INET6 : AF_INET;
    unsigned most = out->family == AF_INET6 ? 128 : 32;
    out->bits = most;
    if (slash != NULL) {
        size_t n = strspn(slash + 1, "0123456789");
        if (n == 0 || n > 3 || slash[1 + n] != '\0') {
            return 0;
        }
        out->bits = (unsigned)strtoul(slash + 1, NULL, 10);
    }
    return out->bits <= most && inet_pton(out->family, text, out->ip) == 1;
}

enum err networks_read(struct reader *r)
{
    static const char setting[] = "network.proxy_protocol_from";
    struct conf *conf = r->conf;
    if (conf->proxy_protocol_from == NULL) {
        for (size_t i = 0; i < conf->listen_count; i++) {
            if (conf->listen[i].proxy_protocol != CONF_PROXY_PROTOCOL_OFF) {
                return bad(r, conf->listen[i].line,
                           "listen.proxy_protocol believes nobody while %s is missing; name the "
                           "networks of the proxies there",
                           setting);
            }
        }
        return ERR_NONE;
    }
    conf->proxies = arena_zero(r->keep, CONF_NETWORKS_MAX * sizeof(conf->proxies[0]));
    char *rest = arena_strdup(&r->scratch, conf->proxy_protocol_from);
    for (char *word = strtok_r(rest, ", ", &rest); word != NULL;
         word = strtok_r(NULL, ", ", &rest)) {
        const char *as_written = arena_strdup(&r->scratch, word);
        if (conf->proxies_count == CONF_NETWORKS_MAX) {
            return bad(r, setting_line(r, setting), "%s: at most %d networks", setting,
                       CONF_NETWORKS_MAX);
        }
        if (!parse_network(word, &conf->proxies[conf->proxies_count])) {
            return bad(r, setting_line(r, setting),
                       "%s: %s is no network; write 10.0.0.0/8, fd00::/8, 192.0.2.1 or unix",
                       setting, shown(r, as_written));
        }
        conf->proxies_count++;
    }
    return ERR_NONE;
}

static int same_bits(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned whole = bits / 8;
    unsigned rest = bits % 8;
    unsigned mask = 0xFFU << (8 - rest) & 0xFFU;
    return memcmp(a, b, whole) == 0 && (rest == 0 || ((a[whole] ^ b[whole]) & mask) == 0);
}

int conf_trusts_proxy(const struct conf *conf, const struct sockaddr *peer)
{
    struct sockaddr_in four = {0};
    struct sockaddr_in6 six = {0};
    const uint8_t *ip = NULL;
    if (peer->sa_family == AF_INET) {
        memcpy(&four, peer, sizeof(four));
        ip = (const uint8_t *)&four.sin_addr;
    } else if (peer->sa_family == AF_INET6) {
        memcpy(&six, peer, sizeof(six));
        ip = six.sin6_addr.s6_addr;
    }
    for (size_t i = 0; i < conf->proxies_count; i++) {
        const struct conf_network *n = &conf->proxies[i];
        if (n->family == peer->sa_family && (ip == NULL || same_bits(ip, n->ip, n->bits))) {
            return 1;
        }
    }
    return 0;
}
