/* Decisions about roles, lag and balance. The picture is in roles.h. */

#include "replication/roles.h"

#include <string.h>

#include "base/check.h"

/* ---- health -----------------------------------------------------------------------------------
 */

const char *role_health_word(enum role_health health)
{
    static const char *const words[] = {
#define HEALTH(name, word, help) word,
        ROLE_HEALTHS(HEALTH)
#undef HEALTH
    };
    check((size_t)health < sizeof(words) / sizeof(words[0]));
    return words[health];
}

static enum role_health after_good(const struct health_count *c, const struct health_limits *limits)
{
    int was_down = c->health == ROLE_HEALTH_DOWN || c->health == ROLE_HEALTH_PROBING;
    return was_down && c->good < limits->up_after ? ROLE_HEALTH_PROBING : ROLE_HEALTH_UP;
}

static enum role_health after_bad(const struct health_count *c, const struct health_limits *limits)
{
    if (c->health == ROLE_HEALTH_DOWN || c->health == ROLE_HEALTH_PROBING ||
        c->bad >= limits->down_after) {
        return ROLE_HEALTH_DOWN;
    }
    return c->bad >= limits->suspect_after ? ROLE_HEALTH_SUSPECT : c->health;
}

void health_step(struct health_count *c, const struct health_limits *limits, int good)
{
    check(limits->suspect_after > 0 && limits->down_after > 0 && limits->up_after > 0);
    c->good = good ? c->good + 1 : 0;
    c->bad = good ? 0 : c->bad + 1;
    c->health = good ? after_good(c, limits) : after_bad(c, limits);
}

/* ---- roles ------------------------------------------------------------------------------------
 */

static int answers(const struct role_member *m)
{
    return m->health == ROLE_HEALTH_UP || m->health == ROLE_HEALTH_SUSPECT ||
           m->health == ROLE_HEALTH_PROBING;
}

static int is_writable(const struct role_member *m)
{
    return answers(m) && m->standing == ROLE_STANDING_WRITABLE;
}

/* The cluster all members should be copies of: once known it stays; else that of the first member
 * that tells, so that the configuration decides. */
static uint64_t system_of(const struct role_member *members, size_t count,
                          const struct role_verdict *before)
{
    uint64_t system = before->system;
    for (size_t i = 0; i < count && system == 0; i++) {
        system = members[i].system;
    }
    return system;
}

static void find_strangers(const struct role_member *members, size_t count,
                           struct role_verdict *out)
{
    for (size_t i = 0; i < count; i++) {
        if (members[i].system != 0 && members[i].system != out->system) {
            out->strangers |= UINT64_C(1) << i;
        }
    }
}

/* A replica that follows timeline 3 proves that 3 exists, also while its primary is away. */
static void find_timeline(const struct role_member *members, size_t count, struct role_verdict *out)
{
    for (size_t i = 0; i < count; i++) {
        if ((out->strangers >> i & 1) == 0 && members[i].timeline > out->timeline) {
            out->timeline = members[i].timeline;
        }
    }
}

/* Writable and on the newest timeline; one that does not tell its timeline cannot be refused for
 * it. */
static uint64_t find_candidates(const struct role_member *members, size_t count, uint64_t barred,
                                const struct role_verdict *out)
{
    uint64_t candidates = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t bit = UINT64_C(1) << i;
        int newest = members[i].timeline == 0 || members[i].timeline == out->timeline;
        if (is_writable(&members[i]) && newest && ((out->strangers | barred) & bit) == 0) {
            candidates |= bit;
        }
    }
    return candidates;
}

/* The last primary while nothing speaks against it: it may miss a check or two, and what it said
 * last still counts; then the first member if nobody at all can be asked. */
static int keep_or_assume(const struct role_member *members, size_t count, uint64_t barred,
                          const struct role_verdict *before, struct role_verdict *out)
{
    int last = before->primary;
    if (last >= 0 && (size_t)last < count && (barred >> last & 1) == 0 &&
        (out->strangers >> last & 1) == 0 && members[last].health != ROLE_HEALTH_DOWN &&
        members[last].standing == ROLE_STANDING_UNKNOWN) {
        out->assumed = before->assumed;
        return last;
    }
    for (size_t i = 0; i < count; i++) {
        if (members[i].standing != ROLE_STANDING_UNKNOWN) {
            return -1;
        }
    }
    out->assumed = answers(&members[0]) && (barred & 1) == 0;
    return out->assumed ? 0 : -1;
}

static int choose(const struct role_member *members, size_t count, uint64_t barred,
                  const struct role_verdict *before, uint64_t candidates, struct role_verdict *out)
{
    if (candidates == 0) {
        return keep_or_assume(members, count, barred, before, out);
    }
    int kept = before->primary >= 0 && (candidates >> before->primary & 1) != 0;
    out->twins = (candidates & (candidates - 1)) != 0;
    return kept ? before->primary : __builtin_ctzll(candidates);
}

void roles_decide(const struct role_member *members, size_t count, uint64_t barred,
                  const struct role_verdict *before, struct role_verdict *out)
{
    check(count > 0 && count <= ROLE_MEMBERS_MAX);
    struct role_verdict v = {.primary = -1, .timeline = before->timeline};
    v.system = system_of(members, count, before);
    find_strangers(members, count, &v);
    find_timeline(members, count, &v);
    uint64_t candidates = find_candidates(members, count, barred, &v);
    v.primary = choose(members, count, barred, before, candidates, &v);
    for (size_t i = 0; i < count; i++) {
        uint64_t bit = UINT64_C(1) << i;
        if (is_writable(&members[i]) && (int)i != v.primary) {
            v.fenced |= bit;
        } else if (answers(&members[i]) && members[i].standing == ROLE_STANDING_RECOVERY &&
                   (v.strangers & bit) == 0) {
            v.replicas |= bit;
        }
    }
    *out = v;
}

/* ---- lag --------------------------------------------------------------------------------------
 */

void lag_reset(struct lag_clock *clock)
{
    clock->count = 0;
}

/* The gap that a sample leaves behind matters the less the older it is. The first one stays. */
static void drop_least_missed(struct lag_clock *clock, int64_t now_us)
{
    struct lag_sample *all = clock->samples;
    size_t worst = 1;
    double least = 0;
    for (size_t i = 1; i + 1 < clock->count; i++) {
        double gap = (double)(all[i + 1].at_us - all[i - 1].at_us);
        double missed = gap / (double)(now_us - all[i].at_us + 1);
        if (i == 1 || missed < least) {
            worst = i;
            least = missed;
        }
    }
    memmove(&all[worst], &all[worst + 1], (clock->count - worst - 1) * sizeof(all[0]));
    clock->count--;
}

void lag_note(struct lag_clock *clock, int64_t at_us, uint64_t lsn)
{
    size_t n = clock->count;
    if (n > 0 && (at_us <= clock->samples[n - 1].at_us || lsn < clock->samples[n - 1].lsn)) {
        return; /* the same answer seen twice */
    }
    if (n > 1 && clock->samples[n - 1].lsn == lsn && clock->samples[n - 2].lsn == lsn) {
        clock->samples[n - 1].at_us = at_us; /* it stands still: first and last say it all */
        return;
    }
    if (n == LAG_SAMPLES_MAX) {
        drop_least_missed(clock, at_us);
        n--;
    }
    clock->samples[n] = (struct lag_sample){at_us, lsn};
    clock->count = n + 1;
}

struct lag lag_of(const struct lag_clock *clock, int64_t at_us, uint64_t replayed)
{
    const struct lag_sample *last = NULL;
    const struct lag_sample *beyond = NULL;
    for (size_t i = 0; i < clock->count && clock->samples[i].at_us <= at_us; i++) {
        last = &clock->samples[i];
        if (beyond == NULL && last->lsn > replayed) {
            beyond = last;
        }
    }
    if (last == NULL) {
        return (struct lag){-1, -1};
    }
    if (beyond == NULL) {
        return (struct lag){0, 0};
    }
    return (struct lag){(int64_t)(last->lsn - replayed), (at_us - beyond->at_us) / 1000};
}

/* ---- balancing --------------------------------------------------------------------------------
 */

/* By turns, as often as their weights say. */
static int pick_by_turns(const struct balance_choice *choices, uint64_t among, uint64_t ticket)
{
    uint64_t total = 0;
    for (uint64_t left = among; left != 0; left &= left - 1) {
        total += choices[__builtin_ctzll(left)].weight;
    }
    if (total == 0) {
        return -1;
    }
    uint64_t place = ticket % total;
    for (uint64_t left = among; left != 0; left &= left - 1) {
        int i = __builtin_ctzll(left);
        if (place < choices[i].weight) {
            return i;
        }
        place -= choices[i].weight;
    }
    check(0 && "the place is below the total");
    return -1;
}

/* Fewest statements for its weight; equals by turns. */
static uint64_t least_busy(const struct balance_choice *choices, uint64_t among)
{
    uint64_t best = 0;
    int first = -1;
    for (uint64_t left = among; left != 0; left &= left - 1) {
        int i = __builtin_ctzll(left);
        uint64_t mine =
            ((uint64_t)choices[i].busy + 1) * (first < 0 ? 1 : (uint64_t)choices[first].weight);
        uint64_t theirs =
            first < 0 ? UINT64_MAX : ((uint64_t)choices[first].busy + 1) * choices[i].weight;
        if (mine < theirs) {
            best = 0;
            first = i;
        }
        best |= mine <= theirs ? UINT64_C(1) << i : 0;
    }
    return best;
}

/* Those that answer about as fast as the fastest: measured times are noisy, and one server alone
 * would become the slowest by taking everything. */
static uint64_t about_fastest(const struct balance_choice *choices, uint64_t among)
{
    enum {
        NOISE_US = 300
    };
    int64_t fastest = INT64_MAX;
    uint64_t good = 0;
    for (uint64_t left = among; left != 0; left &= left - 1) {
        int64_t us = choices[__builtin_ctzll(left)].latency_us;
        fastest = us < fastest ? us : fastest;
    }
    for (uint64_t left = among; left != 0; left &= left - 1) {
        int i = __builtin_ctzll(left);
        int64_t us = choices[i].latency_us;
        good |= us <= fastest + fastest / 2 + NOISE_US ? UINT64_C(1) << i : 0;
    }
    return good;
}

int balance_pick(enum conf_balance balance, const struct balance_choice *choices, size_t count,
                 uint64_t ticket)
{
    uint64_t among = 0;
    check(count <= ROLE_MEMBERS_MAX);
    for (size_t i = 0; i < count; i++) {
        among |= choices[i].weight > 0 ? UINT64_C(1) << i : 0;
    }
    if (balance == CONF_BALANCE_LEAST_BUSY) {
        among = least_busy(choices, among);
    } else if (balance == CONF_BALANCE_LATENCY) {
        among = about_fastest(choices, among);
    }
    return pick_by_turns(choices, among, ticket);
}
