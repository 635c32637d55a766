#ifndef PROXY_GATE_H
#define PROXY_GATE_H

/*
 * What the console and signals ask of pools: PAUSE, RESUME, SUSPEND, DISABLE, ENABLE, KILL,
 * RECONNECT, WAIT_CLOSE and the ways to stop. Control thread.
 *
 * A command sets bits in an account (account.h), which workers read, and sends them a visit. One
 * that waits stands in a list that is looked at every CONTROL_TICK_MS; nothing here blocks.
 */

#include "proxy/control/control.h"

enum gate_command {
    GATE_PAUSE,
    GATE_RESUME,
    GATE_SUSPEND,
    GATE_DISABLE,
    GATE_ENABLE,
    GATE_KILL,
    GATE_RECONNECT,
    GATE_WAIT_CLOSE,
    GATE_SHUTDOWN_CLIENTS, /* listen no more; stop when the last client has gone */
    GATE_SHUTDOWN_SERVERS  /* listen no more; stop when the last server connection has come free */
};

/*
 * Do it for `database`, NULL: for all. `done` is called once, with the outcome, perhaps at once:
 * PAUSE, SUSPEND and WAIT_CLOSE only when what they wait for has happened. It may be NULL.
 *   worker, session  who waits, for gate_give_up(); 0, 0: a signal
 */
void gate_run(struct control *c, enum gate_command command, const char *database, size_t worker,
              uint64_t session, reload_fn *done, void *arg);
/* Once per tick of the control thread. */
void gate_tick(struct control *c);
void gate_free(struct control *c);
/* enum gate_bit of the database, with that of all. */
unsigned gate_of(const char *database);
unsigned gate_of_all(void);

#endif
