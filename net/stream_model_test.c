/*
 * Goal: whatever both owners do, every byte arrives once, in order, and nothing stalls. Method: two
 * streams talk to each other; at every step a seeded generator writes pieces of all sizes, consumes
 * parts, asks for more, pauses, resumes and changes loops, and the bytes are compared with the
 * pattern of their position. Plain and TLS, TCP and unix sockets.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "base/rng.h"
#include "net/loop_testing.h"

enum {
    TOTAL = 1500 * 1000, /* bytes each way */
    PIECE_MAX = 100 * 1000
};

struct side {
    struct stream *stream;
    struct timer tick;
    struct side *peer;
    size_t sent;
    size_t received;
    size_t need;
    int bad;
    int closed;
};

static struct rng rng;
static struct side sides[2];
static uint8_t piece[PIECE_MAX];

static uint8_t pattern(size_t at)
{
    return (uint8_t)(at * 31 >> 3 ^ at >> 11);
}

static void take(struct side *s, size_t n)
{
    struct slice in = stream_in(s->stream);
    for (size_t i = 0; i < n; i++) {
        s->bad |= in.p[i] != pattern(s->received + i);
    }
    s->received += n;
    s->need = 0;
    stream_consume(s->stream, n);
    if (sides[0].received == TOTAL && sides[1].received == TOTAL) {
        loop_stop(loop);
    }
}

static void on_side(struct stream *stream, enum stream_event event, void *arg)
{
    struct side *s = arg;
    s->closed |= event == STREAM_CLOSED;
    if (event != STREAM_DATA) {
        return;
    }
    size_t have = stream_in(stream).n;
    s->bad |= have < s->need;
    s->bad |= stream_paused(stream) != 0;
    size_t rest = TOTAL - s->received;
    switch (rng_below(&rng, 6)) {
    case 0: { /* as for a message longer than what is there */
        s->need = have + rng_below(&rng, 200 * 1000);
        s->need = s->need > rest ? rest : s->need;
        stream_need(stream, s->need > have ? s->need : have);
        if (s->need <= have) {
            take(s, have);
        }
        break;
    }
    case 1: stream_pause(stream); break;
    case 2: take(s, rng_below(&rng, have + 1)); break;
    default: take(s, have); break;
    }
}

static void write_some(struct side *s)
{
    size_t n = rng_below(&rng, 4) == 0 ? rng_below(&rng, PIECE_MAX) : rng_below(&rng, 300);
    n = n > TOTAL - s->sent ? TOTAL - s->sent : n;
    for (size_t i = 0; i < n; i++) {
        piece[i] = pattern(s->sent + i);
    }
    s->sent += n;
    if (rng_below(&rng, 2) == 0) {
        stream_write(s->stream, piece, n);
    } else {
        buf_add(stream_out(s->stream), piece, n);
        stream_touch(s->stream);
    }
}

/* Now and then an owner acts by itself. What was left lying is taken here, so that no owner waits
 * for an event it was given already. */
static void on_tick(void *arg)
{
    struct side *s = arg;
    timer_set(&s->tick, (int64_t)rng_below(&rng, 400));
    for (size_t i = rng_below(&rng, 4); i != 0 && !stream_full(s->stream); i--) {
        write_some(s);
    }
    switch (rng_below(&rng, 5)) {
    case 0: stream_pause(s->stream); break;
    case 1:
    case 2: stream_resume(s->stream); break;
    case 3:
        if (s->need == 0 && !stream_paused(s->stream)) {
            take(s, rng_below(&rng, stream_in(s->stream).n + 1));
        }
        break;
    default:
        if (stream_in(s->stream).n == 0 && stream_queued(s->stream) == 0) {
            int paused = stream_paused(s->stream);
            stream_detach(s->stream);
            stream_attach(s->stream, loop, on_side, s);
            s->bad |= stream_paused(s->stream) != paused;
        }
        break;
    }
}

/* ---- the stage ------------------------------------------------------------------------------- */

static struct tls_context *self_signed(void)
{
    char file[] = "/tmp/net_model_XXXXXX";
    int fd = mkstemp(file);
    FILE *f = fdopen(fd, "w");
    cr_assert_not_null(f);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    X509_gmtime_adj(X509_getm_notBefore(cert), -60);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_set_pubkey(cert, key);
    X509_sign(cert, key, EVP_sha256());
    PEM_write_X509(f, cert);
    PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
    (void)fclose(f);
    X509_free(cert);
    EVP_PKEY_free(key);
    struct tls_context *tls = NULL;
    struct note note = {0};
    const struct tls_options o = {.cert_path = file, .key_path = file};
    cr_assert_eq(tls_server_new(&o, &tls, &note), ERR_NONE, "%s", note.text);
    (void)unlink(file);
    return tls;
}

static void play(uint64_t seed, int tcp, int tls)
{
    int fds[2];
    rng = rng_seeded(seed);
    loop_begin(60 * 1000 * 1000);
    memset(sides, 0, sizeof(sides));
    if (tcp) {
        tcp_pair(fds);
    } else {
        cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    }
    struct tls_context *server = tls ? self_signed() : NULL;
    struct tls_context *client = NULL;
    struct note note;
    const struct tls_options o = {.mode = TLS_REQUIRE};
    cr_assert(!tls || tls_client_new(&o, &client, &note) == ERR_NONE);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(fcntl(fds[i], F_SETFL, O_NONBLOCK), 0);
        sides[i].stream = stream_new(loop, fds[i], on_side, &sides[i]);
        sides[i].peer = &sides[!i];
        timer_init(&sides[i].tick, loop, on_tick, &sides[i]);
        timer_set(&sides[i].tick, 1);
        cr_assert(!tls || stream_start_tls(sides[i].stream, i ? client : server, !i, NULL, &note) ==
                              ERR_NONE);
    }
    loop_run(loop);
    for (int i = 0; i < 2; i++) {
        cr_expect_eq(sides[i].received, TOTAL, "seed %d side %d", (int)seed, i);
        cr_expect(!sides[i].bad, "seed %d side %d", (int)seed, i);
        cr_expect(!sides[i].closed, "seed %d side %d", (int)seed, i);
        timer_free(&sides[i].tick);
        stream_free(sides[i].stream);
    }
    tls_unref(server);
    tls_unref(client);
    loop_end();
}

Test(stream_model, every_byte_arrives_once_and_in_order_over_tcp)
{
    for (uint64_t seed = 1; seed <= 6; seed++) {
        play(seed, 1, 0);
    }
}

Test(stream_model, every_byte_arrives_once_and_in_order_over_unix_sockets)
{
    for (uint64_t seed = 101; seed <= 106; seed++) {
        play(seed, 0, 0);
    }
}

Test(stream_model, every_byte_arrives_once_and_in_order_over_tls)
{
    for (uint64_t seed = 201; seed <= 206; seed++) {
        play(seed, seed % 2, 1);
    }
}
