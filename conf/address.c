/*
 * Addresses as text. Listening takes numbers only: a name that resolves to something else tomorrow
 * must not open the proxy to another network. Servers may be named.
 */

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "conf/reader.h"

enum {
    HOST_BYTES_MAX = 253, /* of a DNS name */
    /* struct sockaddr_un has 108 bytes; "/.s.PGSQL.65535" and a 0 byte follow the directory. */
    SOCKET_DIR_BYTES_MAX = 108 - 16
};

static int is_port(const char *text)
{
    size_t n = strspn(text, "0123456789");
    if (n == 0 || n > 5 || text[n] != '\0') {
        return 0;
    }
    long port = strtol(text, NULL, 10);
    return port >= 1 && port <= 65535;
}

static int is_ipv4(const char *text)
{
    struct in_addr addr;
    return inet_pton(AF_INET, text, &addr) == 1;
}

static int is_ipv6(const char *text)
{
    struct in6_addr addr;
    return inet_pton(AF_INET6, text, &addr) == 1;
}

static enum err bad_address(struct reader *r, int line, const char *what, const char *text,
                            const char *why, int unix_too)
{
    return bad(r, line, "%s %s: %s; write 127.0.0.1:6432, [::1]:6432%s *:6432%s", what,
               shown(r, text), why, unix_too ? "," : " or", unix_too ? " or /dir:6432" : "");
}

enum err check_address(struct reader *r, int line, const char *what, const char *text, int unix_too)
{
    const char *colon = strrchr(text, ':');
    if (colon == NULL || colon == text) {
        return bad_address(r, line, what, text, colon == NULL ? "it has no port" : "it has no host",
                           unix_too);
    }
    if (!is_port(colon + 1)) {
        return bad_address(r, line, what, text, "the port is no number in 1..65535", unix_too);
    }
    char *host = arena_strndup(&r->scratch, text, (size_t)(colon - text));
    size_t n = strlen(host);
    if (host[0] == '/' || (host[0] == '@' && n > 1)) {
        if (!unix_too) {
            return bad_address(r, line, what, text, "a unix socket cannot be used here", unix_too);
        }
        if (n > SOCKET_DIR_BYTES_MAX) {
            return bad(r, line, "%s %s: the directory has more than %d bytes; use a shorter one",
                       what, shown(r, text), SOCKET_DIR_BYTES_MAX);
        }
        return ERR_NONE;
    }
    if (host[0] == '[' && host[n - 1] == ']') {
        host[n - 1] = '\0';
        return is_ipv6(host + 1)
                   ? ERR_NONE
                   : bad_address(r, line, what, text, "no IPv6 address stands in []", unix_too);
    }
    if (strcmp(host, "*") == 0 || is_ipv4(host)) {
        return ERR_NONE;
    }
    return bad_address(r, line, what, text,
                       is_ipv6(host) ? "an IPv6 address needs [] around it"
                                     : "the host is not a numeric address",
                       unix_too);
}

static enum err check_one_host(struct reader *r, int line, const char *what, const char *host)
{
    size_t n = strlen(host);
    if (host[0] == '/') {
        if (n > SOCKET_DIR_BYTES_MAX) {
            return bad(r, line,
                       "%s: the socket directory has more than %d bytes; use a shorter one", what,
                       SOCKET_DIR_BYTES_MAX);
        }
        return ERR_NONE;
    }
    if (is_ipv6(host)) {
        return ERR_NONE;
    }
    if (strchr(host, ':') != NULL) {
        return bad(r, line, "%s is %s; give the host alone and the port as port: 5432", what,
                   shown(r, host));
    }
    for (size_t i = 0; i < n; i++) {
        int plain = isalnum((unsigned char)host[i]) || strchr("-._", host[i]) != NULL;
        if (!plain || n > HOST_BYTES_MAX) {
            return bad(r, line,
                       "%s is %s; give a host name, a numeric address or a socket directory", what,
                       shown(r, host));
        }
    }
    return ERR_NONE;
}

enum err check_host(struct reader *r, int line, const char *what, const char *hosts)
{
    for (const char *at = hosts;; at++) {
        size_t n = strcspn(at, ",");
        const char *host = arena_strndup(&r->scratch, at, n);
        if (n == 0) {
            return bad(r, line, "%s is %s; a host is missing beside the comma", what,
                       shown(r, hosts));
        }
        enum err e = check_one_host(r, line, what, host);
        at += n;
        if (e || *at == '\0') {
            return e;
        }
    }
}
