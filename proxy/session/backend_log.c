/* The life of a server connection in the log. */

#include "base/clock.h"
#include "base/log.h"
#include "proxy/pool/pool.h"
#include "proxy/session/backend.h"

/* Where it is connected to, or would have been. */
static const char *address_of(const struct backend *b, char out[ADDR_TEXT_BYTES])
{
    const struct server_state *server = b->pool->server;
    if (b->stream != NULL && stream_peer(b->stream)->len > 0) {
        return addr_text(stream_peer(b->stream), out);
    }
    return server->addrs_count == 0 ? "unresolved" : addr_text(&server->addrs[0], out);
}

static long long age_s(const struct backend *b)
{
    return (long long)((clock_wall_us() - b->connect_wall_us) / 1000000);
}

void backend_log_open(const struct backend *b)
{
    const struct pool *p = b->pool;
    char addr[ADDR_TEXT_BYTES];
    char from[ADDR_TEXT_BYTES];
    log_event(LOG_BACKEND_OPEN,
              "backend=%llu database=%s shard=%u server=%s addr=%s from=%s user=%s pid=%u tls=%s",
              (unsigned long long)b->id, p->database, p->shard, p->server->name,
              address_of(b, addr), addr_text(stream_local(b->stream), from), p->user, b->pid,
              stream_is_tls(b->stream) ? stream_tls_version(b->stream) : "no");
}

void backend_log_closed(const struct backend *b, const char *why)
{
    const struct pool *p = b->pool;
    char addr[ADDR_TEXT_BYTES];
    log_event(LOG_BACKEND_CLOSED,
              "backend=%llu database=%s shard=%u server=%s addr=%s user=%s pid=%u why=\"%s\" "
              "age_s=%lld",
              (unsigned long long)b->id, p->database, p->shard, p->server->name,
              address_of(b, addr), p->user, b->pid, why, age_s(b));
}

void backend_log_lost(const struct backend *b, const char *error)
{
    const struct pool *p = b->pool;
    char addr[ADDR_TEXT_BYTES];
    log_event(LOG_BACKEND_LOST,
              "backend=%llu database=%s shard=%u server=%s addr=%s user=%s pid=%u error=\"%s\" "
              "age_s=%lld",
              (unsigned long long)b->id, p->database, p->shard, p->server->name,
              address_of(b, addr), p->user, b->pid, error, age_s(b));
}
