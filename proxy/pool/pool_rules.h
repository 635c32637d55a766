#ifndef PROXY_POOL_RULES_H
#define PROXY_POOL_RULES_H

/* Decisions about pools that need no pool: numbers in, numbers out. Times in microseconds. */

#include <stdint.h>

#include "conf/conf.h"

enum {
    BACKOFF_FIRST_US = 100 * 1000,
    TIME_NEVER_S = 1 << 30 /* about 34 years, in seconds */
};
#define TIME_NEVER_US ((int64_t)TIME_NEVER_S * 1000 * 1000)

/*
 * Up to how many connections may be open for a client to open one more.
 *   waited_us  how long it has waited for one
 *   shards     1; for who holds connections of other shards, as many as the database has
 * pool.size, with the reserve for who has waited pool.reserve_after_ms.
 */
uint32_t rule_limit(const struct conf_pool_options *rule, int64_t reserve_after_us,
                    int64_t waited_us, uint32_t shards);

/* Pause after the n-th failure in a row: 100 ms, doubled each time, at most max_us; a quarter of it
 * by chance, so that workers do not come back together. 0 when max_us is 0. */
int64_t rule_backoff_us(uint32_t failures, int64_t max_us, uint8_t chance);

/* When a connection is too old: between 80 and 100 percent of its lifetime after it was opened, so
 * that those opened together do not end together. TIME_NEVER_US for a lifetime of 0. */
int64_t rule_expires_us(int64_t opened_us, int64_t lifetime_us, uint8_t chance);
/* When an idle one is closed: 100 to 120 percent of the idle time. */
int64_t rule_idle_until_us(int64_t idle_since_us, int64_t idle_us, uint8_t chance);

#endif
