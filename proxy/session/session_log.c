/* The life of a client in the log: login, end, errors of our own. Off by log.connections & co. */

#include "base/clock.h"
#include "base/log.h"
#include "proxy/session/session.h"

static const struct conf *conf_of(const struct session *s)
{
    return s->worker->world->conf;
}

static const char *tls_of(const struct session *s)
{
    return stream_is_tls(s->client) ? stream_tls_version(s->client) : "no";
}

static long long age_s(const struct session *s)
{
    return (long long)((clock_wall_us() - s->connect_wall_us) / 1000000);
}

void session_log_login(const struct session *s)
{
    char peer[ADDR_TEXT_BYTES];
    if (conf_of(s)->log_connections) {
        log_event(LOG_CLIENT_LOGIN, "client=%llu addr=%s user=%s database=%s tls=%s",
                  (unsigned long long)s->id, addr_text(stream_peer(s->client), peer), s->user,
                  s->database, tls_of(s));
    }
}

void session_log_closed(const struct session *s, const char *why)
{
    char peer[ADDR_TEXT_BYTES];
    if (s->state == SESSION_CLOSING) {
        return;
    }
    int in = s->state == SESSION_READY;
    const struct conf *conf = conf_of(s);
    struct session_auth_view auth;
    session_auth_describe(s, &auth);
    if (in ? conf->log_disconnections : conf->log_connections || conf->log_disconnections) {
        log_event(in ? LOG_CLIENT_CLOSED : LOG_CLIENT_REFUSED,
                  "client=%llu addr=%s user=%s database=%s tls=%s method=%s rule=%s reason=\"%s\" "
                  "why=\"%s\" age_s=%lld",
                  (unsigned long long)s->id, addr_text(stream_peer(s->client), peer),
                  s->user == NULL ? "" : s->user, s->database == NULL ? "" : s->database, tls_of(s),
                  auth.method, auth.rule, auth.why, why, age_s(s));
    }
}

void session_log_error(const struct session *s, enum err e, const char *why)
{
    char peer[ADDR_TEXT_BYTES];
    if (conf_of(s)->log_pooler_errors) {
        log_event(LOG_POOLER_ERROR,
                  "client=%llu addr=%s user=%s database=%s sqlstate=%s error=\"%s\"",
                  (unsigned long long)s->id, addr_text(stream_peer(s->client), peer), s->user,
                  s->database, err_sqlstate(e), why);
    }
}
