/* A few datagrams to NOTIFY_SOCKET; a library for them would be one dependency more. */

#include "proxy/control/systemd.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "proxy/control/control.h"

enum {
    FIRST_SOCKET = 3 /* SD_LISTEN_FDS_START */
};

/* ---- sockets --------------------------------------------------------------------------------- */

static long number_of(const char *name)
{
    const char *text = getenv(name);
    return text == NULL ? -1 : strtol(text, NULL, 10);
}

void systemd_take_sockets(struct inherited *all)
{
    long count = number_of("LISTEN_FDS");
    int ours = number_of("LISTEN_PID") == (long)getpid();
    (void)unsetenv("LISTEN_FDS");
    (void)unsetenv("LISTEN_PID");
    (void)unsetenv("LISTEN_FDNAMES");
    for (int i = 0; ours && i < count && i < LISTENERS_MAX; i++) {
        int fd = FIRST_SOCKET + i;
        if (fcntl(fd, F_SETFD, FD_CLOEXEC) == 0) {
            inherited_add(all, fd, 1);
        }
    }
}

/* ---- telling --------------------------------------------------------------------------------- */

static void tell(const char *text)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    size_t n = path == NULL ? 0 : strlen(path);
    if (n < 2 || n >= sizeof(un.sun_path) || (path[0] != '/' && path[0] != '@')) {
        return;
    }
    memcpy(un.sun_path, path, n);
    if (path[0] == '@') {
        un.sun_path[0] = '\0';
    }
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return;
    }
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
    (void)sendto(fd, text, strlen(text), MSG_NOSIGNAL, (const struct sockaddr *)&un, len);
    (void)close(fd);
}

void systemd_ready(const char *status)
{
    char text[256];
    (void)snprintf(text, sizeof(text), "READY=1\nSTATUS=%.200s", status);
    tell(text);
}

void systemd_reloading(void)
{
    char text[96];
    (void)snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%lld",
                   (long long)clock_now_us());
    tell(text);
}

void systemd_stopping(void)
{
    tell("STOPPING=1");
}

void systemd_main_pid(int pid)
{
    char text[64];
    (void)snprintf(text, sizeof(text), "MAINPID=%d", pid);
    tell(text);
}

void systemd_watchdog(int64_t now_us)
{
    static int64_t every_us = -1;
    static int64_t next_us;
    if (every_us < 0) {
        long asked = number_of("WATCHDOG_USEC");
        long pid = number_of("WATCHDOG_PID");
        every_us = asked > 0 && (pid < 0 || pid == (long)getpid()) ? asked / 2 : 0;
    }
    if (every_us > 0 && now_us >= next_us) {
        next_us = now_us + every_us;
        tell("WATCHDOG=1");
    }
}
