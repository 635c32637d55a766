/*
 * Where clients come in: listeners of the configuration, over new sockets or over sockets that
 * somebody else opened (systemd, or the process before this one), and what is said about them to
 * the worker a client goes to.
 */

#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "proxy/admin/http.h"
#include "proxy/control/control.h"
#include "proxy/control/systemd.h"
#include "proxy/control/takeover.h"
#include "proxy/pool/balance.h"

/* ---- clients --------------------------------------------------------------------------------- */

static void hand_out(struct control *c, int fd, const struct entrance *e)
{
    worker_give_client(balance_worker(c->shared, c->parts->conf->worker_fill), fd, e);
}

static void on_client(int fd, const struct addr *peer, void *arg)
{
    const struct door *door = arg;
    struct control *c = door->control;
    if (!entrance_admits(c->parts->conf, &door->entrance, peer)) {
        char text[ADDR_TEXT_BYTES];
        log_event(LOG_CLIENT_REFUSED, "client=%s why=\"not of network.proxy_protocol_from\"",
                  addr_text(peer, text));
        (void)close(fd);
    } else if (c->open) {
        hand_out(c, fd, &door->entrance);
    } else if (c->early_count < ACCEPTS_WAITING_MAX) {
        c->early[c->early_count++] = (struct early_client){.fd = fd, .entrance = door->entrance};
    } else {
        (void)close(fd);
    }
}

/* Who came before the workers were there; 0: they are closed. */
static void serve_early(struct control *c, int serve)
{
    for (size_t i = 0; i < c->early_count; i++) {
        if (serve) {
            hand_out(c, c->early[i].fd, &c->early[i].entrance);
        } else {
            (void)close(c->early[i].fd);
        }
    }
    mem_free(c->early);
    c->early = NULL;
    c->early_count = 0;
}

/* ---- sockets that others opened -------------------------------------------------------------- */

void inherited_add(struct inherited *all, int fd, int keep)
{
    check(all->count < INHERITED_MAX);
    all->fds[all->count] = fd;
    all->keep[all->count++] = keep;
}

/* The socket that listens at `addr`, taken out; -1: none. */
static int inherited_take(struct inherited *all, const struct addr *addr, int *keep)
{
    for (size_t i = 0; i < all->count; i++) {
        struct addr at;
        struct note note;
        int fd = all->fds[i];
        if (listen_addr_of(fd, &at, &note) == ERR_NONE && addr_same(&at, addr)) {
            *keep = all->keep[i];
            all->count--;
            all->fds[i] = all->fds[all->count];
            all->keep[i] = all->keep[all->count];
            return fd;
        }
    }
    return -1;
}

/* ---- listening ------------------------------------------------------------------------------- */

/* Rounded up: less than a second is not nothing. */
static int seconds(int64_t ms)
{
    return (int)((ms + 999) / 1000);
}

static void set_socket_options(const struct conf *conf)
{
    const struct socket_options o = {.keepalive = conf->tcp_keepalive == CONF_ON,
                                     .keepidle_s = seconds(conf->tcp_keepidle_ms),
                                     .keepintvl_s = seconds(conf->tcp_keepintvl_ms),
                                     .keepcnt = (int)conf->tcp_keepcnt,
                                     .user_timeout_ms = (int)conf->tcp_user_timeout_ms,
                                     .buffer_bytes = (int)conf->tcp_socket_buffer};
    socket_options_set(&o);
}

static struct listen_options options_of(const struct conf *conf, const struct conf_listen *l)
{
    return (struct listen_options){.backlog = (int)conf->listen_backlog,
                                   .defer_accept_s = seconds(conf->tcp_defer_accept_ms),
                                   .reuseport = conf->so_reuseport == CONF_ON,
                                   .unix_mode = l->unix_mode,
                                   .unix_group = l->unix_group};
}

/* `fd` is -1 where a socket is to be made. */
static enum err open_door(struct control *c, const struct conf_listen *l,
                          const struct listen_options *o, int fd, int keep, struct note *note)
{
    struct door *door = &c->doors[c->doors_count];
    *door = (struct door){.control = c,
                          .entrance = {.proxy_protocol = (uint8_t)l->proxy_protocol,
                                       .has_tls_mode = l->has_tls_mode != 0,
                                       .tls_mode = (uint8_t)l->tls_mode,
                                       .is_unix = o->addr.sa.ss_family == AF_UNIX}};
    enum err e = fd >= 0 ? listen_adopt(c->loop, fd, o, on_client, door, &door->listener, note)
                         : listen_new(c->loop, o, on_client, door, &door->listener, note);
    door->owns_file = !keep;
    if (!e && (keep || c->successor != SUCCESSOR_NOT)) {
        listen_keep_file(door->listener); /* it is systemd's, or another process's still */
    }
    c->doors_count += e == ERR_NONE;
    return e;
}

static enum err open_listed(struct control *c, const struct conf_listen *l, struct note *note)
{
    struct listen_options o = options_of(c->parts->conf, l);
    enum err e = addr_parse(l->address, &o.addr, note);
    if (e) {
        return e;
    }
    int keep = 0;
    int fd = inherited_take(&c->inherited, &o.addr, &keep);
    return open_door(c, l, &o, fd, keep, note);
}

/* What systemd opened beyond `listen` is served, too; what the process before had and the file does
 * not name any more is closed. */
static enum err open_rest(struct control *c, struct note *note)
{
    static const struct conf_listen usual = {.unix_mode = 0777};
    enum err e = ERR_NONE;
    for (size_t i = 0; i < c->inherited.count && !e; i++) {
        struct listen_options o = options_of(c->parts->conf, &usual);
        int fd = c->inherited.fds[i];
        if (c->inherited.keep[i] && c->doors_count < LISTENERS_MAX) {
            e = listen_addr_of(fd, &o.addr, note);
            e = e ? e : open_door(c, &usual, &o, fd, 1, note);
        } else {
            (void)close(fd);
        }
    }
    c->inherited.count = 0;
    return e;
}

static enum err open_http(struct control *c, struct note *note)
{
    const char *address = c->parts->conf->http;
    if (address == NULL) {
        return ERR_NONE;
    }
    struct addr addr;
    enum err e = addr_parse(address, &addr, note);
    if (!e) {
        int keep = 0;
        int fd = inherited_take(&c->inherited, &addr, &keep);
        e = http_start(c, address, fd, &c->http, &c->http_fd, note);
    }
    return e;
}

enum err control_listen(struct control *c, struct note *note)
{
    const struct conf *conf = c->parts->conf;
    if (conf->listen_count > LISTENERS_MAX) {
        return note_set(note, ERR_BAD_SETTING, "%s: listen: at most %d addresses", conf->path,
                        LISTENERS_MAX);
    }
    set_socket_options(conf);
    for (size_t i = 0; i < conf->listen_count; i++) {
        enum err e = open_listed(c, &conf->listen[i], note);
        if (e) {
            return note_wrap(note, e, "listen");
        }
    }
    if (c->successor != SUCCESSOR_NOT) { /* HTTP and the rest when we serve */
        control_accept(c, 0);
        return ERR_NONE;
    }
    enum err e = open_http(c, note);
    return e ? e : open_rest(c, note);
}

void control_serve(struct control *c)
{
    struct note note = {.text = ""};
    if (c->successor != SUCCESSOR_NOT) {
        enum err e = open_http(c, &note);
        e = e ? e : open_rest(c, &note);
        if (e) {
            log_event(LOG_TAKEOVER_FAILED, "why=\"%s\" then=\"clients are served all the same\"",
                      note.text);
        }
        for (size_t i = 0; i < c->doors_count; i++) {
            if (c->doors[i].owns_file) {
                listen_own_file(c->doors[i].listener);
            }
        }
        control_accept(c, 1);
    }
    c->open = 1;
    serve_early(c, 1);
    takeover_listen(c);
    systemd_ready("serving clients");
}

void control_accept(struct control *c, int on)
{
    for (size_t i = 0; i < c->doors_count; i++) {
        listen_pause(c->doors[i].listener, !on);
    }
}

void control_unlisten(struct control *c)
{
    for (size_t i = 0; i < c->doors_count; i++) {
        listen_free(c->doors[i].listener);
    }
    c->doors_count = 0;
    serve_early(c, 0);
}

void control_log_addresses(const struct control *c)
{
    for (size_t i = 0; i < c->doors_count; i++) {
        char text[ADDR_TEXT_BYTES];
        log_event(LOG_LISTEN, "address=%s protocol=postgresql",
                  addr_text(listen_addr(c->doors[i].listener), text));
    }
    if (c->parts->conf->http != NULL) {
        log_event(LOG_LISTEN, "address=%s protocol=http", c->parts->conf->http);
    }
}
