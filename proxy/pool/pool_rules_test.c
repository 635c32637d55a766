/*
 * Goal: the numbers that pools decide by: limits with reserve and for holders, back-off, ages.
 * Method: each rule at its bounds and between them.
 */

#include <criterion/criterion.h>

#include "proxy/pool/account.h"
#include "proxy/pool/pool_rules.h"

static const struct conf_pool_options rule = {.size = 10, .reserve_size = 3};

Test(pool_rules, the_reserve_opens_only_after_its_delay)
{
    cr_assert_eq(rule_limit(&rule, 5000, 4999, 1), 10);
    cr_assert_eq(rule_limit(&rule, 5000, 5000, 1), 13);
}

Test(pool_rules, without_a_reserve_waiting_changes_nothing)
{
    const struct conf_pool_options none = {.size = 10};
    cr_assert_eq(rule_limit(&none, 0, 1000000, 1), 10);
}

Test(pool_rules, who_holds_another_shard_may_go_past_the_size)
{
    cr_assert_eq(rule_limit(&rule, 5000, 0, 3), 30);
    const struct conf_pool_options huge = {.size = 100000, .reserve_size = 100000};
    cr_assert_eq(rule_limit(&huge, 0, 0, 64), 12800000);
}

Test(pool_rules, back_off_doubles_up_to_its_limit)
{
    cr_assert_eq(rule_backoff_us(0, 5000000, 0), 0);
    cr_assert_eq(rule_backoff_us(1, 5000000, 0), 100000);
    cr_assert_eq(rule_backoff_us(2, 5000000, 0), 200000);
    cr_assert_eq(rule_backoff_us(5, 5000000, 0), 1600000);
    cr_assert_eq(rule_backoff_us(7, 5000000, 0), 5000000);
    cr_assert_eq(rule_backoff_us(4000000000U, 5000000, 0), 5000000);
    cr_assert_eq(rule_backoff_us(3, 0, 0), 0);
}

Test(pool_rules, chance_shortens_a_pause_by_a_quarter_at_most)
{
    cr_assert_eq(rule_backoff_us(1, 5000000, 255), 75000);
    cr_assert_lt(rule_backoff_us(3, 5000000, 128), 400000);
    cr_assert_gt(rule_backoff_us(3, 5000000, 128), 300000);
}

Test(pool_rules, no_connection_outlives_its_lifetime_and_few_end_together)
{
    int64_t before = 0;
    for (int chance = 255; chance >= 0; chance--) {
        int64_t at = rule_expires_us(1000, 3600000000, (uint8_t)chance);
        cr_assert_geq(at, 1000 + 2880000000);
        cr_assert_leq(at, 1000 + 3600000000);
        cr_assert_gt(at, before);
        before = at;
    }
    cr_assert_eq(rule_expires_us(1000, 0, 7), TIME_NEVER_US);
}

Test(pool_rules, an_idle_connection_is_kept_at_least_its_time)
{
    cr_assert_eq(rule_idle_until_us(500, 1000, 0), 1500);
    cr_assert_eq(rule_idle_until_us(500, 1000, 255), 1700);
    cr_assert_eq(rule_idle_until_us(500, 0, 255), TIME_NEVER_US);
}

Test(pool_rules, a_counter_stops_at_its_limit_and_zero_is_none)
{
    _Atomic uint32_t n = 0;
    cr_assert(counter_take(&n, 2));
    cr_assert(counter_take(&n, 2));
    cr_assert_not(counter_take(&n, 2));
    cr_assert(counter_take(&n, 0));
    counter_give(&n);
    counter_give(&n);
    cr_assert(counter_take(&n, 2));
}

Test(pool_rules, a_wish_is_heard_by_who_came_later_until_it_is_served_or_old)
{
    struct account *a = account_get(ACCOUNT_DATABASE, "app");
    account_want(a, 1000, 5000);
    cr_assert(account_wanted(a, 2000, 6000));
    cr_assert_not(account_wanted(a, 900, 6000), "who came first gives way to nobody");
    cr_assert_not(account_wanted(a, 2000, 6000000), "not repeated: over");
    account_want(a, 800, 5000);
    cr_assert(account_wanted(a, 900, 6000));
    account_served(a, 900);
    cr_assert(account_wanted(a, 900, 6000), "somebody else was served");
    account_served(a, 800);
    cr_assert_not(account_wanted(a, INT64_MAX, 6000));
    account_put(a);
}

Test(pool_rules, one_unit_is_given_up_at_a_time)
{
    struct account *a = account_get(ACCOUNT_DATABASE, "app");
    cr_assert(account_promise(a, 1000000));
    cr_assert_not(account_promise(a, 1000001));
    cr_assert(account_promise(a, 1100000));
    account_put(a);
}

Test(pool_rules, an_account_lives_as_long_as_somebody_refers_to_it)
{
    struct account *a = account_get(ACCOUNT_USER, "bob");
    struct account *b = account_get(ACCOUNT_DATABASE, "bob");
    cr_assert_neq(a, b);
    cr_assert_eq(account_get(ACCOUNT_USER, "bob"), a);
    (void)counter_take(&a->clients, 0);
    account_put(a);
    cr_assert_eq(a->clients, 1);
    account_put(a);
    account_put(b);
    a = account_get(ACCOUNT_USER, "bob");
    cr_assert_eq(a->clients, 0, "a new one");
    account_put(a);
}
