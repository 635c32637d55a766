/* Options of TCP sockets: the same for all connections of the process. */

#include <netinet/in.h>
#include <netinet/tcp.h>

#include "net/inside.h"

static struct socket_options options = {
    .keepalive = 1, .keepidle_s = 60, .keepintvl_s = 10, .keepcnt = 6};

void socket_options_set(const struct socket_options *o)
{
    options = *o;
}

static void set_unless_0(int fd, int level, int what, int value)
{
    if (value != 0) {
        (void)setsockopt(fd, level, what, &value, sizeof(value));
    }
}

void socket_tune(int fd)
{
    set_unless_0(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (options.keepalive) {
        set_unless_0(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
        set_unless_0(fd, IPPROTO_TCP, TCP_KEEPIDLE, options.keepidle_s);
        set_unless_0(fd, IPPROTO_TCP, TCP_KEEPINTVL, options.keepintvl_s);
        set_unless_0(fd, IPPROTO_TCP, TCP_KEEPCNT, options.keepcnt);
    }
    set_unless_0(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, options.user_timeout_ms);
    set_unless_0(fd, SOL_SOCKET, SO_RCVBUF, options.buffer_bytes);
    set_unless_0(fd, SOL_SOCKET, SO_SNDBUF, options.buffer_bytes);
}
