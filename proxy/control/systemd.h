#ifndef PROXY_SYSTEMD_H
#define PROXY_SYSTEMD_H

/*
 * What systemd and we tell each other: sockets it opened for us, and what state we are in. Without
 * systemd (no NOTIFY_SOCKET, no LISTEN_FDS) everything here does nothing. Control thread.
 * Source: sd_notify(3), sd_listen_fds(3), systemd.service(5) Type=notify-reload.
 */

#include <stdint.h>

#include "base/err.h"

struct inherited;

/* Take over the sockets of LISTEN_FDS when they are meant for this process. */
void systemd_take_sockets(struct inherited *all);

void systemd_ready(const char *status); /* after the start and after a reload */
void systemd_reloading(void);
void systemd_stopping(void);
/* Another process is the service from now on. */
void systemd_main_pid(int pid);
/* Call often: says that we live when WATCHDOG_USEC asks for it. */
void systemd_watchdog(int64_t now_us);

#endif
