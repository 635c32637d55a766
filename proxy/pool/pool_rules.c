/* See pool_rules.h. */

#include "proxy/pool/pool_rules.h"

enum {
    DOUBLINGS_MAX = 20,
    CHANCE_MAX = 255
};

uint32_t rule_limit(const struct conf_pool_options *rule, int64_t reserve_after_us,
                    int64_t waited_us, uint32_t shards)
{
    int64_t limit = rule->size;
    if (rule->reserve_size > 0 && waited_us >= reserve_after_us) {
        limit += rule->reserve_size;
    }
    limit *= shards;
    return limit > UINT32_MAX ? UINT32_MAX : (uint32_t)limit;
}

int64_t rule_backoff_us(uint32_t failures, int64_t max_us, uint8_t chance)
{
    if (failures == 0 || max_us == 0) {
        return 0;
    }
    uint32_t doublings = failures - 1 > DOUBLINGS_MAX ? DOUBLINGS_MAX : failures - 1;
    int64_t pause = (int64_t)BACKOFF_FIRST_US << doublings;
    pause = pause > max_us ? max_us : pause;
    return pause - pause / 4 * chance / CHANCE_MAX;
}

int64_t rule_expires_us(int64_t opened_us, int64_t lifetime_us, uint8_t chance)
{
    if (lifetime_us == 0) {
        return TIME_NEVER_US;
    }
    return opened_us + lifetime_us - lifetime_us / 5 * chance / CHANCE_MAX;
}

int64_t rule_idle_until_us(int64_t idle_since_us, int64_t idle_us, uint8_t chance)
{
    if (idle_us == 0) {
        return TIME_NEVER_US;
    }
    return idle_since_us + idle_us + idle_us / 5 * chance / CHANCE_MAX;
}
