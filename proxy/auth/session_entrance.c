/*
 * How a client comes in, before its first message: who it is according to a proxy in front, and
 * whether and how it speaks TLS.
 *
 *     [PROXY protocol header]  >  SSLRequest, or TLS at once, or neither  >  startup packet
 */

#include <netinet/in.h>
#include <string.h>

#include "proxy/session/session.h"
#include "wire/proxy_header.h"

enum {
    TLS_HANDSHAKE_BYTE = 0x16 /* a record of type handshake; no startup packet is so long */
};

/* ---- PROXY protocol -------------------------------------------------------------------------- */

int entrance_admits(const struct conf *conf, const struct entrance *e, const struct addr *peer)
{
    return e->proxy_protocol != CONF_PROXY_PROTOCOL_REQUIRED ||
           conf_trusts_proxy(conf, (const struct sockaddr *)&peer->sa);
}

void session_enter_by(struct session *s, const struct entrance *e)
{
    const struct conf *conf = s->worker->world->conf;
    const struct addr *peer = stream_peer(s->client);
    s->entrance = *e;
    s->wants_header = e->proxy_protocol != CONF_PROXY_PROTOCOL_OFF &&
                      conf_trusts_proxy(conf, (const struct sockaddr *)&peer->sa);
    if (s->wants_header && conf->proxy_protocol_ms < conf->login_timeout_ms) {
        timer_set(&s->timer, conf->proxy_protocol_ms * 1000);
    }
}

static void put_addr(const uint8_t *ip, uint16_t port, enum proxy_family family, struct addr *out)
{
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    if (family == PROXY_IPV4) {
        memcpy(&four.sin_addr, ip, 4);
        *out = (struct addr){.len = sizeof(four)};
        memcpy(&out->sa, &four, sizeof(four));
    } else {
        memcpy(&six.sin6_addr, ip, 16);
        *out = (struct addr){.len = sizeof(six)};
        memcpy(&out->sa, &six, sizeof(six));
    }
}

enum step session_proxy_header(struct session *s)
{
    struct proxy_header header;
    struct note note;
    struct slice in = stream_in(s->client);
    size_t total = 0;
    int rc = proxy_header_read(in, &total, &header, &note);
    if (rc == 0) {
        stream_need(s->client, total);
        return STEP_WAIT;
    }
    if (rc < 0) { /* whoever sent this speaks another language: no answer */
        session_close(s, note.text);
        return STEP_CLOSE;
    }
    if (header.family != PROXY_NONE) {
        struct addr peer;
        struct addr local;
        put_addr(header.source, header.source_port, header.family, &peer);
        put_addr(header.target, header.target_port, header.family, &local);
        stream_announce(s->client, &peer, &local);
    }
    s->wants_header = 0;
    stream_need(s->client, 1);
    stream_consume(s->client, total);
    timer_set(&s->timer, s->worker->world->conf->login_timeout_ms * 1000);
    return STEP_DONE;
}

/* ---- TLS ------------------------------------------------------------------------------------- */

static enum conf_tls_mode tls_mode_of(const struct session *s)
{
    if (s->entrance.has_tls_mode) {
        return (enum conf_tls_mode)s->entrance.tls_mode;
    }
    if (s->entrance.is_unix) {
        return CONF_TLS_DISABLE; /* as PostgreSQL: nobody can listen in there */
    }
    return s->worker->world->conf->tls_client_mode;
}

static int offers_tls(const struct session *s)
{
    return s->worker->world->tls_clients != NULL && tls_mode_of(s) != CONF_TLS_DISABLE &&
           !stream_is_tls(s->client);
}

enum step session_answer_ssl(struct session *s)
{
    struct note note;
    if (!offers_tls(s)) {
        stream_write(s->client, "N", 1);
        return STEP_DONE;
    }
    stream_write(s->client, "S", 1);
    enum err e =
        stream_start_tls(s->client, s->worker->world->tls_clients, TLS_SERVER, NULL, &note);
    if (e) {
        session_fatal(s, e, &note);
        return STEP_CLOSE;
    }
    return STEP_WAIT;
}

int session_begins_tls(const struct session *s)
{
    struct slice in = stream_in(s->client);
    return in.n > 0 && in.p[0] == TLS_HANDSHAKE_BYTE && !stream_is_tls(s->client);
}

enum step session_start_tls(struct session *s)
{
    struct note note = {.text = "a TLS connection, but TLS is off at this address"};
    if (!offers_tls(s)) {
        session_close(s, note.text);
        return STEP_CLOSE;
    }
    enum err e =
        stream_start_tls(s->client, s->worker->world->tls_clients, TLS_SERVER_DIRECT, NULL, &note);
    if (e) {
        session_close(s, note.text);
        return STEP_CLOSE;
    }
    return STEP_WAIT;
}

enum err session_check_tls(const struct session *s, struct note *note)
{
    enum conf_tls_mode mode = tls_mode_of(s);
    char name[512];
    if (mode >= CONF_TLS_REQUIRE && !stream_is_tls(s->client)) {
        enum err e = note_set(note, ERR_AUTH_REFUSED, "TLS is required (tls.client.mode)");
        note_hint(note, "Connect with sslmode=require.");
        return e;
    }
    if (mode >= CONF_TLS_VERIFY_CA && stream_tls_peer_subject(s->client, name, sizeof(name)) == 0) {
        enum err e =
            note_set(note, ERR_AUTH_REFUSED, "connection requires a valid client certificate");
        note_hint(note, "Connect with sslcert and sslkey.");
        return e;
    }
    return ERR_NONE;
}
