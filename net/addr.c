/*
 * Addresses: text to sockaddr and back. A unix socket is named as PostgreSQL names it, by its
 * directory and port; the file inside is ".s.PGSQL.<port>".
 */

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "base/check.h"
#include "net/inside.h"

static const char unix_name[] = "/.s.PGSQL.";

static int parse_port(const char *text, uint16_t *out)
{
    unsigned long v = 0;
    size_t n = 0;
    for (; text[n] >= '0' && text[n] <= '9'; n++) {
        v = v * 10 + (unsigned long)(text[n] - '0');
        if (v > 65535) {
            return 0;
        }
    }
    if (n == 0 || text[n] != '\0') {
        return 0;
    }
    *out = (uint16_t)v;
    return 1;
}

static enum err unix_addr(const char *dir, size_t dir_n, uint16_t port, struct addr *out,
                          struct note *note)
{
    *out = (struct addr){0};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int n =
        snprintf(un.sun_path, sizeof(un.sun_path), "%.*s%s%u", (int)dir_n, dir, unix_name, port);
    if (n < 0 || (size_t)n >= sizeof(un.sun_path)) {
        return note_set(note, ERR_BAD_SETTING,
                        "the unix socket directory \"%.*s\" is too long: %d bytes with the file "
                        "name, at most %zu",
                        (int)(dir_n > 200 ? 200 : dir_n), dir, n, sizeof(un.sun_path) - 1);
    }
    int abstract = un.sun_path[0] == '@'; /* no file: the name begins with a 0 byte */
    un.sun_path[0] = abstract ? '\0' : un.sun_path[0];
    memcpy(&out->sa, &un, sizeof(un));
    size_t bytes = (size_t)n + (abstract ? 0 : 1);
    out->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + bytes);
    return ERR_NONE;
}

static void addr_from4(struct in_addr ip, uint16_t port, struct addr *out)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = ip};
    *out = (struct addr){.len = sizeof(in)};
    memcpy(&out->sa, &in, sizeof(in));
}

static void addr_from6(struct in6_addr ip, uint16_t port, struct addr *out)
{
    struct sockaddr_in6 in = {.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = ip};
    *out = (struct addr){.len = sizeof(in)};
    memcpy(&out->sa, &in, sizeof(in));
}

/* An IP address or "*" without the port; 0 when it is neither. */
static int ip_addr(const char *host, uint16_t port, struct addr *out)
{
    struct in_addr four;
    struct in6_addr six;
    if (strcmp(host, "*") == 0) {
        addr_from6(in6addr_any, port, out);
    } else if (inet_pton(AF_INET, host, &four) == 1) {
        addr_from4(four, port, out);
    } else if (inet_pton(AF_INET6, host, &six) == 1) {
        addr_from6(six, port, out);
        addr_unmap(out);
    } else {
        return 0;
    }
    return 1;
}

void addr_unmap(struct addr *a)
{
    struct sockaddr_in6 six;
    memcpy(&six, &a->sa, sizeof(six));
    if (six.sin6_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&six.sin6_addr)) {
        struct in_addr four;
        memcpy(&four, six.sin6_addr.s6_addr + 12, sizeof(four));
        addr_from4(four, ntohs(six.sin6_port), a);
    }
}

enum err addr_parse(const char *text, struct addr *out, struct note *note)
{
    const char *colon = strrchr(text, ':');
    uint16_t port = 0;
    if (colon == NULL || !parse_port(colon + 1, &port)) {
        return note_set(note, ERR_BAD_SETTING,
                        "\"%.100s\" has no port: write \"127.0.0.1:6432\", \"[::1]:6432\", "
                        "\"*:6432\" or \"/run/postgresql:6432\", with a port from 0 to 65535",
                        text);
    }
    size_t host_n = (size_t)(colon - text);
    if (text[0] == '/' || text[0] == '@') {
        return unix_addr(text, host_n, port, out, note);
    }
    int bracketed = host_n >= 2 && text[0] == '[' && colon[-1] == ']';
    char host[INET6_ADDRSTRLEN + 1] = "";
    if (host_n < sizeof(host)) {
        memcpy(host, text + bracketed, host_n - 2 * (size_t)bracketed);
        host[host_n - 2 * (size_t)bracketed] = '\0';
    }
    int six = strchr(host, ':') != NULL;
    if (host[0] == '\0' || six != bracketed || !ip_addr(host, port, out)) {
        return note_set(note, ERR_BAD_SETTING,
                        "\"%.100s\" does not begin with an IP address: write \"127.0.0.1:%u\", "
                        "\"[::1]:%u\" or \"*:%u\"",
                        text, port, port, port);
    }
    return ERR_NONE;
}

static enum err resolve_one(const char *host, uint16_t port, struct addr *out, size_t max,
                            size_t *count, struct note *note)
{
    check(max > 0);
    *count = 0;
    if (host[0] == '/') {
        enum err e = unix_addr(host, strlen(host), port, out, note);
        *count = e ? 0 : 1;
        return e;
    }
    char service[8];
    (void)snprintf(service, sizeof(service), "%u", port);
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    int rc = getaddrinfo(host, service, &hints, &found);
    if (rc != 0) {
        const char *why = gai_strerror(rc);
        why = rc == EAI_SYSTEM ? errno_text(errno) : why;
        return note_set(note, ERR_IO, "host name \"%.200s\" cannot be resolved: %s", host, why);
    }
    for (struct addrinfo *a = found; a != NULL && *count < max; a = a->ai_next) {
        if (a->ai_addrlen <= sizeof(out->sa)) {
            out[*count] = (struct addr){.len = a->ai_addrlen};
            memcpy(&out[*count].sa, a->ai_addr, a->ai_addrlen);
            *count += 1;
        }
    }
    freeaddrinfo(found);
    if (*count == 0) {
        return note_set(note, ERR_IO, "host name \"%.200s\" has no address", host);
    }
    return ERR_NONE;
}

enum err addr_resolve(const char *hosts, uint16_t port, struct addr *out, size_t max, size_t *count,
                      struct note *note)
{
    enum err e = ERR_NONE;
    *count = 0;
    for (const char *at = hosts; *count < max; at++) {
        char host[NI_MAXHOST];
        size_t n = strcspn(at, ",");
        size_t found = 0;
        if (n >= sizeof(host)) {
            return note_set(note, ERR_IO, "host name \"%.60s...\" is too long", hosts);
        }
        memcpy(host, at, n);
        host[n] = '\0';
        e = resolve_one(host, port, out + *count, max - *count, &found, note);
        *count += found;
        at += n;
        if (*at == '\0') {
            break;
        }
    }
    return *count > 0 ? ERR_NONE : e; /* some of several are enough */
}

const char *addr_host_at(const char *hosts, size_t index, size_t count, char out[ADDR_HOST_BYTES])
{
    size_t hosts_count = 1;
    for (const char *p = hosts; *p != '\0'; p++) {
        hosts_count += *p == ',';
    }
    for (size_t i = 0; hosts_count == count && i < index; i++) {
        hosts = strchr(hosts, ',') + 1;
    }
    (void)snprintf(out, ADDR_HOST_BYTES, "%.*s", (int)strcspn(hosts, ","), hosts);
    return out;
}

/* The port a PostgreSQL socket file is named after; 0 when it is named otherwise. */
static uint16_t unix_port(const struct addr *a)
{
    struct sockaddr_un un = {0};
    memcpy(&un, &a->sa, a->len < sizeof(un) ? a->len : sizeof(un));
    un.sun_path[sizeof(un.sun_path) - 1] = '\0';
    const char *path = un.sun_path[0] == '\0' ? un.sun_path + 1 : un.sun_path;
    const char *name = strstr(path, unix_name);
    uint16_t port = 0;
    return name != NULL && parse_port(name + sizeof(unix_name) - 1, &port) ? port : 0;
}

int addr_same(const struct addr *a, const struct addr *b)
{
    struct sockaddr_in four[2];
    struct sockaddr_in6 six[2];
    if (a->sa.ss_family != b->sa.ss_family) {
        return 0;
    }
    if (a->sa.ss_family == AF_INET) {
        memcpy(&four[0], &a->sa, sizeof(four[0]));
        memcpy(&four[1], &b->sa, sizeof(four[1]));
        return four[0].sin_port == four[1].sin_port &&
               four[0].sin_addr.s_addr == four[1].sin_addr.s_addr;
    }
    if (a->sa.ss_family == AF_INET6) {
        memcpy(&six[0], &a->sa, sizeof(six[0]));
        memcpy(&six[1], &b->sa, sizeof(six[1]));
        return six[0].sin6_port == six[1].sin6_port &&
               memcmp(&six[0].sin6_addr, &six[1].sin6_addr, sizeof(six[0].sin6_addr)) == 0;
    }
    return a->len == b->len && memcmp(&a->sa, &b->sa, a->len) == 0;
}

uint16_t addr_port(const struct addr *a)
{
    if (a->sa.ss_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, &a->sa, sizeof(in));
        return ntohs(in.sin_port);
    }
    if (a->sa.ss_family == AF_INET6) {
        struct sockaddr_in6 in;
        memcpy(&in, &a->sa, sizeof(in));
        return ntohs(in.sin6_port);
    }
    return a->sa.ss_family == AF_UNIX ? unix_port(a) : 0;
}

const char *addr_text(const struct addr *a, char out[ADDR_TEXT_BYTES])
{
    char ip[INET6_ADDRSTRLEN] = "";
    if (a->sa.ss_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, &a->sa, sizeof(in));
        (void)inet_ntop(AF_INET, &in.sin_addr, ip, sizeof(ip));
        (void)snprintf(out, ADDR_TEXT_BYTES, "%s:%u", ip, addr_port(a));
    } else if (a->sa.ss_family == AF_INET6) {
        struct sockaddr_in6 in;
        memcpy(&in, &a->sa, sizeof(in));
        (void)inet_ntop(AF_INET6, &in.sin6_addr, ip, sizeof(ip));
        (void)snprintf(out, ADDR_TEXT_BYTES, "[%s]:%u", ip, addr_port(a));
    } else if (a->sa.ss_family == AF_UNIX) {
        (void)snprintf(out, ADDR_TEXT_BYTES, "unix:%u", unix_port(a));
    } else {
        (void)snprintf(out, ADDR_TEXT_BYTES, "?");
    }
    return out;
}
