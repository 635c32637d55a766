/*
 * Our SCRAM against a real PostgreSQL, on a blocking socket:
 *
 *     scram_login login PORT USER PASSWORD      log in as a client; prints "ok" or the reason
 *     scram_login passthrough PORT USER PASSWORD VERIFIER
 *                                               a client logs in to us with PASSWORD, and with the
 *                                               client key learnt from it we log in to the server
 *     scram_login verifier PASSWORD             prints a verifier
 */

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "net/scram.h"

enum {
    MESSAGE_MAX = 4096,
    AUTH_OK = 0,
    AUTH_SASL = 10,
    AUTH_SASL_CONTINUE = 11,
    AUTH_SASL_FINAL = 12
};

static int fd;

static void fail(const char *why)
{
    (void)printf("%s\n", why);
    exit(1);
}

static void send_all(const struct buf *b)
{
    check(write(fd, b->p, b->n) == (ssize_t)b->n);
}

static void receive(uint8_t *p, size_t n)
{
    for (size_t at = 0; at < n;) {
        ssize_t got = read(fd, p + at, n - at);
        if (got <= 0) {
            fail("the server closed the connection");
        }
        at += (size_t)got;
    }
}

/* One authentication message; its kind, and the bytes behind that. */
static uint32_t receive_auth(uint8_t body[MESSAGE_MAX], struct slice *rest)
{
    uint8_t head[5];
    receive(head, sizeof(head));
    size_t n = be32_at(head + 1) - 4;
    check(n <= MESSAGE_MAX);
    receive(body, n);
    if (head[0] == 'E') {
        for (size_t at = 0; at < n && body[at] != 0; at += strlen((char *)body + at) + 1) {
            if (body[at] == 'M') {
                fail((char *)body + at + 1);
            }
        }
    }
    check(head[0] == 'R' && n >= 4);
    *rest = slice_bytes(body + 4, n - 4);
    return be32_at(body);
}

static void start(uint16_t port, const char *user)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&at, sizeof(at)) != 0) {
        fail("no server");
    }
    struct buf b = {0};
    buf_be32(&b, 0);
    buf_be32(&b, 196608);
    buf_cstr(&b, "user");
    buf_cstr(&b, user);
    buf_cstr(&b, "database");
    buf_cstr(&b, "postgres");
    buf_u8(&b, 0);
    buf_set_be32(&b, 0, (uint32_t)b.n);
    send_all(&b);
    buf_free(&b);
}

static void send_sasl(const char *mechanism, const struct buf *message)
{
    struct buf b = {0};
    buf_u8(&b, 'p');
    buf_be32(&b, 0);
    if (mechanism != NULL) {
        buf_cstr(&b, mechanism);
        buf_be32(&b, (uint32_t)message->n);
    }
    buf_add_slice(&b, buf_slice(message));
    buf_set_be32(&b, 1, (uint32_t)b.n - 1);
    send_all(&b);
    buf_free(&b);
}

/* With a password, or with keys that stand for one. */
static void answer(struct scram_client *c, const char *password, const struct scram_keys *known,
                   struct slice challenge, struct buf *out)
{
    struct note note = {0};
    struct scram_keys keys;
    if (scram_client_challenge(c, challenge, &note) != ERR_NONE) {
        fail(note.text);
    }
    if (password != NULL) {
        scram_keys_make(password, c->salt, c->salt_bytes, c->iterations, &keys);
    }
    scram_client_final(c, password != NULL ? &keys : known, out);
}

static void login(uint16_t port, const char *user, const char *password,
                  const struct scram_keys *keys)
{
    struct scram_client client = {0};
    struct scram_client *c = &client;
    uint8_t body[MESSAGE_MAX];
    struct slice rest;
    struct buf out = {0};
    struct note note = {0};
    start(port, user);
    check(receive_auth(body, &rest) == AUTH_SASL);
    scram_client_first(c, &out);
    send_sasl("SCRAM-SHA-256", &out);
    check(receive_auth(body, &rest) == AUTH_SASL_CONTINUE);
    out.n = 0;
    answer(c, password, keys, rest, &out);
    send_sasl(NULL, &out);
    check(receive_auth(body, &rest) == AUTH_SASL_FINAL);
    if (scram_client_verify(c, rest, &note) != ERR_NONE) {
        fail(note.text);
    }
    check(receive_auth(body, &rest) == AUTH_OK);
    (void)printf("ok\n");
    buf_free(&out);
    scram_client_free(c);
}

/* A client proves `password` to us, who know the verifier only: the keys it shows by that. */
static void learn_keys(const char *password, const struct scram_verifier *v,
                       struct scram_keys *keys)
{
    struct scram_client c = {0};
    struct scram_server s = {.verifier = v};
    struct buf a = {0};
    struct buf b = {0};
    struct note note = {0};
    scram_client_first(&c, &a);
    check(scram_server_first(&s, buf_slice(&a), &b, &note) == ERR_NONE);
    a.n = 0;
    answer(&c, password, NULL, buf_slice(&b), &a);
    b.n = 0;
    if (scram_server_final(&s, buf_slice(&a), &b, &note) != ERR_NONE) {
        fail(note.text);
    }
    *keys = (struct scram_keys){0};
    memcpy(keys->client, s.client_key, SCRAM_KEY_BYTES);
    memcpy(keys->server, v->server_key, SCRAM_KEY_BYTES);
    scram_server_free(&s);
    scram_client_free(&c);
    buf_free(&a);
    buf_free(&b);
}

int main(int argc, char **argv)
{
    struct scram_verifier v;
    struct note note = {0};
    struct scram_keys keys;
    if (argc == 3 && strcmp(argv[1], "verifier") == 0) {
        struct buf out = {0};
        scram_verifier_make(argv[2], NULL, 0, SCRAM_ITERATIONS, &v, NULL);
        scram_verifier_print(&v, &out);
        (void)printf("%.*s\n", (int)out.n, (char *)out.p);
        buf_free(&out);
        return 0;
    }
    if (argc == 5 && strcmp(argv[1], "login") == 0) {
        login((uint16_t)strtoul(argv[2], NULL, 10), argv[3], argv[4], NULL);
        return 0;
    }
    if (argc == 6 && strcmp(argv[1], "passthrough") == 0) {
        if (scram_verifier_parse(argv[5], &v, &note) != ERR_NONE) {
            fail(note.text);
        }
        learn_keys(argv[4], &v, &keys);
        login((uint16_t)strtoul(argv[2], NULL, 10), argv[3], NULL, &keys);
        return 0;
    }
    fail("usage: see the head of scram_login.c");
}
