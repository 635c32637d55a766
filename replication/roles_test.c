/*
 * Goal: at most one server of a shard is ever written, the newest timeline wins, and what cannot be
 * known is not assumed. Method: tables of what servers say and what must be decided; the same for
 * health, lag and balance.
 */

#include <criterion/criterion.h>

#include "replication/roles.h"

/* ---- health -----------------------------------------------------------------------------------
 */

Test(roles, health_goes_down_step_by_step_and_comes_back_by_good_checks_in_a_row)
{
    static const struct health_limits limits = {2, 4, 3};
    static const struct {
        int good;
        enum role_health health;
    } steps[] = {
        {1, ROLE_HEALTH_UP},      {0, ROLE_HEALTH_UP},      {1, ROLE_HEALTH_UP},
        {0, ROLE_HEALTH_UP},      {0, ROLE_HEALTH_SUSPECT}, {0, ROLE_HEALTH_SUSPECT},
        {1, ROLE_HEALTH_UP},      {0, ROLE_HEALTH_UP},      {0, ROLE_HEALTH_SUSPECT},
        {0, ROLE_HEALTH_SUSPECT}, {0, ROLE_HEALTH_DOWN},    {0, ROLE_HEALTH_DOWN},
        {1, ROLE_HEALTH_PROBING}, {1, ROLE_HEALTH_PROBING}, {0, ROLE_HEALTH_DOWN},
        {1, ROLE_HEALTH_PROBING}, {1, ROLE_HEALTH_PROBING}, {1, ROLE_HEALTH_UP},
    };
    struct health_count c = {.health = ROLE_HEALTH_UNKNOWN};
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        health_step(&c, &limits, steps[i].good);
        cr_expect_eq(c.health, steps[i].health, "step %zu: %s", i, role_health_word(c.health));
    }
}

Test(roles, a_server_that_never_answered_is_down_after_as_many_checks_as_any)
{
    static const struct health_limits limits = {1, 2, 1};
    struct health_count c = {.health = ROLE_HEALTH_UNKNOWN};
    health_step(&c, &limits, 0);
    cr_expect_eq(c.health, ROLE_HEALTH_SUSPECT);
    health_step(&c, &limits, 0);
    cr_expect_eq(c.health, ROLE_HEALTH_DOWN);
    health_step(&c, &limits, 1);
    cr_expect_eq(c.health, ROLE_HEALTH_UP);
}

/* ---- roles ------------------------------------------------------------------------------------
 */

/*
 * One server as text: health u(p) s(uspect) d(own) p(robing) ?(unknown), standing w r ?, timeline,
 * and "!" for another cluster: "uw1", "dr2", "ur1!".
 */
static struct role_member member(const char *text)
{
    struct role_member m = {.timeline = (uint32_t)(text[2] - '0'),
                            .system = text[3] == '!'   ? 8
                                      : text[1] == '?' ? 0
                                                       : 7};
    m.health = text[0] == 'u'   ? ROLE_HEALTH_UP
               : text[0] == 's' ? ROLE_HEALTH_SUSPECT
               : text[0] == 'd' ? ROLE_HEALTH_DOWN
               : text[0] == 'p' ? ROLE_HEALTH_PROBING
                                : ROLE_HEALTH_UNKNOWN;
    m.standing = text[1] == 'w'   ? ROLE_STANDING_WRITABLE
                 : text[1] == 'r' ? ROLE_STANDING_RECOVERY
                                  : ROLE_STANDING_UNKNOWN;
    return m;
}

struct role_case {
    const char *members[4];
    int before; /* primary of the last verdict */
    uint32_t timeline_before;
    uint64_t barred;
    int primary;
    uint64_t fenced, replicas;
    int twins;
};

static void decide(const struct role_case *c, struct role_verdict *out)
{
    struct role_member members[4];
    size_t count = 0;
    while (count < 4 && c->members[count] != NULL) {
        members[count] = member(c->members[count]);
        count++;
    }
    struct role_verdict before = {.primary = c->before, .timeline = c->timeline_before};
    roles_decide(members, count, c->barred, &before, out);
}

Test(roles, the_newest_timeline_wins_and_nobody_else_is_written)
{
    static const struct role_case cases[] = {
        /* as configured, and the other way round */
        {{"uw1", "ur1", "ur1"}, -1, 0, 0, 0, 0, 6, 0},
        {{"ur1", "uw1", "ur1"}, -1, 0, 0, 1, 0, 5, 0},
        {{"ur1", "uw1", "ur1"}, 0, 1, 0, 1, 0, 5, 0},
        /* nobody is writable: no primary, replicas stay */
        {{"ur1", "ur1"}, -1, 0, 0, -1, 0, 3, 0},
        {{"dw1", "ur1"}, 0, 1, 0, -1, 0, 2, 0},
        {{"dw1", "dr1"}, 0, 1, 0, -1, 0, 0, 0},
        /* a missed check does not take the role away */
        {{"sw1", "ur1"}, 0, 1, 0, 0, 0, 2, 0},
        {{"s?0", "ur1"}, 0, 1, 0, 0, 0, 2, 0},
        {{"u?0", "ur1"}, 0, 1, 0, 0, 0, 2, 0},
        /* promoted while the old one is away, and when it comes back */
        {{"dw1", "uw2"}, 0, 1, 0, 1, 0, 0, 0},
        {{"uw1", "uw2"}, 1, 2, 0, 1, 1, 0, 0},
        {{"uw1", "uw2"}, 0, 1, 0, 1, 1, 0, 0},
        {{"pw1", "uw2"}, 1, 2, 0, 1, 1, 0, 0},
        /* the old one alone, while the new one is away: it was the newer timeline that counted */
        {{"uw1", "dw2"}, 1, 2, 0, -1, 1, 0, 0},
        {{"uw1", "d?0"}, 1, 2, 0, -1, 1, 0, 0},
        /* a replica of the new one proves it, also to somebody who has just begun */
        {{"uw1", "d?0", "ur2"}, -1, 0, 0, -1, 1, 4, 0},
        /* the old one comes back as a replica */
        {{"ur2", "uw2"}, 1, 2, 0, 1, 0, 1, 0},
        {{"ur1", "uw2"}, 1, 2, 0, 1, 0, 1, 0},
        /* two on one timeline: the one in use stays, else the first; said aloud */
        {{"uw2", "uw2"}, 1, 2, 0, 1, 1, 0, 1},
        {{"uw2", "uw2"}, -1, 0, 0, 0, 2, 0, 1},
        {{"uw1", "uw2", "uw2"}, 2, 2, 0, 2, 3, 0, 1},
        /* another cluster is never a member */
        {{"uw1", "uw3!", "ur1"}, 0, 1, 0, 0, 2, 4, 0},
        {{"uw1", "ur9!", "ur1"}, 0, 1, 0, 0, 0, 4, 0},
        /* one that FAILOVER fences does not become primary again */
        {{"uw1", "ur1"}, 0, 1, 1, -1, 1, 2, 0},
        {{"uw1", "uw2"}, -1, 1, 1, 1, 1, 0, 0},
        /* a timeline that is not told cannot be held against a server */
        {{"uw0", "ur0"}, -1, 0, 0, 0, 0, 2, 0},
        {{"d?0", "uw0"}, 0, 5, 0, 1, 0, 0, 0},
        /* nobody lets himself be asked: the configuration is all there is */
        {{"u?0", "u?0"}, -1, 0, 0, 0, 0, 0, 0},
        {{"d?0", "u?0"}, -1, 0, 0, -1, 0, 0, 0},
        {{"??0", "??0"}, -1, 0, 0, -1, 0, 0, 0},
        {{"u?0", "ur1"}, -1, 0, 0, -1, 0, 2, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct role_verdict v;
        decide(&cases[i], &v);
        cr_expect_eq(v.primary, cases[i].primary, "case %zu: primary %d", i, v.primary);
        cr_expect_eq(v.fenced, cases[i].fenced, "case %zu: fenced %d", i, (int)v.fenced);
        cr_expect_eq(v.replicas, cases[i].replicas, "case %zu: replicas %d", i, (int)v.replicas);
        cr_expect_eq(v.twins, (unsigned)cases[i].twins, "case %zu: twins %d", i, v.twins);
        cr_expect_geq(v.timeline, cases[i].timeline_before, "case %zu: timeline %u", i, v.timeline);
    }
}

Test(roles, whatever_servers_say_at_most_one_is_primary_and_it_is_not_fenced)
{
    static const char *const says[] = {"uw1", "uw2", "sw2",  "dw2", "ur1",  "ur2",
                                       "u?0", "d?0", "uw3!", "pw1", "ur2!", "??0"};
    enum {
        SAYS = sizeof(says) / sizeof(says[0])
    };
    for (int i = 0; i < SAYS * SAYS * SAYS * 5; i++) {
        int n = i / 5;
        struct role_case c = {{says[n % SAYS], says[n / SAYS % SAYS], says[n / SAYS / SAYS]},
                              i % 5 < 3 ? i % 5 : -1,
                              i % 5 == 4 ? 2 : 1,
                              i % 5 == 3,
                              0,
                              0,
                              0,
                              0};
        struct role_verdict v;
        decide(&c, &v);
        uint64_t primary = v.primary < 0 ? 0 : UINT64_C(1) << v.primary;
        cr_assert_eq(v.fenced & primary, 0);
        cr_assert_eq(v.replicas & (primary | v.fenced | v.strangers), 0);
        cr_assert_eq(c.barred & primary, 0);
        if (v.primary >= 0) {
            struct role_member m = member(c.members[v.primary]);
            cr_assert(m.standing != ROLE_STANDING_RECOVERY && m.health != ROLE_HEALTH_DOWN);
            cr_assert(m.timeline == 0 || m.timeline == v.timeline);
            cr_assert(m.system == 0 || m.system == v.system);
        }
    }
}

/* ---- lag --------------------------------------------------------------------------------------
 */

Test(roles, lag_is_what_the_primary_had_when_the_replica_was_asked)
{
    struct lag_clock clock = {.count = 0};
    struct lag lag = lag_of(&clock, 5000, 100);
    cr_expect_eq(lag.bytes, -1);
    lag_note(&clock, 1000, 100);
    lag_note(&clock, 2000000, 250);
    lag_note(&clock, 3000000, 400);
    lag = lag_of(&clock, 3500000, 400);
    cr_expect(lag.bytes == 0 && lag.ms == 0);
    lag = lag_of(&clock, 3500000, 300);
    cr_expect(lag.bytes == 100 && lag.ms == 500);
    lag = lag_of(&clock, 3500000, 100);
    cr_expect(lag.bytes == 300 && lag.ms == 1500);
    lag = lag_of(&clock, 2500000, 250); /* what came later does not count */
    cr_expect(lag.bytes == 0 && lag.ms == 0);
    lag = lag_of(&clock, 3500000, 500); /* ahead: the answer of the primary is the older one */
    cr_expect(lag.bytes == 0 && lag.ms == 0);
    lag_reset(&clock);
    cr_expect_eq(lag_of(&clock, 3500000, 1).bytes, -1);
}

Test(roles, lag_reaches_far_back_when_samples_are_many)
{
    struct lag_clock clock = {.count = 0};
    for (int64_t i = 1; i <= 10000; i++) {
        lag_note(&clock, i * 1000, (uint64_t)i);
        lag_note(&clock, i * 1000, (uint64_t)i); /* twice the same */
    }
    cr_expect_leq(clock.count, (size_t)LAG_SAMPLES_MAX);
    struct lag lag = lag_of(&clock, 10000 * 1000, 10);
    cr_expect_eq(lag.bytes, 9990);
    cr_expect(lag.ms > 8000 && lag.ms < 10000, "%ld", (long)lag.ms);
    lag = lag_of(&clock, 10000 * 1000, 9000);
    cr_expect(lag.ms > 800 && lag.ms <= 1000, "%ld", (long)lag.ms);
    lag = lag_of(&clock, 10000 * 1000, 9990);
    cr_expect(lag.ms < 200, "%ld", (long)lag.ms);
}

Test(roles, a_primary_that_stands_still_fills_no_samples)
{
    struct lag_clock clock = {.count = 0};
    for (int64_t i = 1; i <= 1000; i++) {
        lag_note(&clock, i * 1000000, 77);
    }
    cr_expect_eq(clock.count, 2);
    lag_note(&clock, 1001 * 1000000, 99);
    struct lag lag = lag_of(&clock, 1002 * 1000000, 77);
    cr_expect(lag.bytes == 22 && lag.ms == 1000, "%ld", (long)lag.ms);
    lag = lag_of(&clock, 1002 * 1000000, 50);
    cr_expect(lag.bytes == 49 && lag.ms == 1001 * 1000, "%ld", (long)lag.ms);
}

/* ---- balance ----------------------------------------------------------------------------------
 */

static void count_picks(enum conf_balance balance, const struct balance_choice *choices,
                        size_t count, unsigned tickets, unsigned *picks)
{
    for (unsigned t = 0; t < tickets; t++) {
        int i = balance_pick(balance, choices, count, t);
        cr_assert(i >= 0 && (size_t)i < count);
        picks[i]++;
    }
}

Test(roles, reads_go_by_turns_as_weights_say)
{
    static const struct balance_choice choices[] = {{1, 0, 0}, {0, 0, 0}, {3, 0, 0}};
    unsigned picks[3] = {0};
    count_picks(CONF_BALANCE_ROUND_ROBIN, choices, 3, 400, picks);
    cr_expect(picks[0] == 100 && picks[1] == 0 && picks[2] == 300);
    cr_expect_eq(balance_pick(CONF_BALANCE_ROUND_ROBIN, choices + 1, 1, 5), -1);
    cr_expect_eq(balance_pick(CONF_BALANCE_LEAST_BUSY, choices + 1, 1, 5), -1);
    cr_expect_eq(balance_pick(CONF_BALANCE_LATENCY, choices, 0, 5), -1);
}

Test(roles, the_least_busy_for_its_weight_gets_the_read_and_equals_take_turns)
{
    static const struct balance_choice busy[] = {{1, 3, 0}, {1, 1, 0}, {2, 4, 0}};
    unsigned picks[3] = {0};
    count_picks(CONF_BALANCE_LEAST_BUSY, busy, 3, 10, picks);
    cr_expect_eq(picks[1], 10);
    static const struct balance_choice heavy[] = {{1, 2, 0}, {4, 7, 0}};
    unsigned heavy_picks[2] = {0};
    count_picks(CONF_BALANCE_LEAST_BUSY, heavy, 2, 10, heavy_picks);
    cr_expect_eq(heavy_picks[1], 10);
    static const struct balance_choice idle[] = {{1, 0, 0}, {1, 0, 0}};
    unsigned idle_picks[2] = {0};
    count_picks(CONF_BALANCE_LEAST_BUSY, idle, 2, 10, idle_picks);
    cr_expect(idle_picks[0] == 5 && idle_picks[1] == 5);
}

Test(roles, a_far_server_gets_nothing_while_near_ones_share)
{
    static const struct balance_choice choices[] = {{1, 0, 400}, {1, 0, 600}, {1, 0, 9000}};
    unsigned picks[3] = {0};
    count_picks(CONF_BALANCE_LATENCY, choices, 3, 10, picks);
    cr_expect(picks[0] == 5 && picks[1] == 5 && picks[2] == 0);
}
