#ifndef PROXY_DEADLOCK_H
#define PROXY_DEADLOCK_H

/* Deadlocks over several shards; control thread. */

#include "proxy/control/control.h"

void deadlock_tick(struct control *c, int64_t now_us);
void deadlock_free(struct control *c);

#endif
