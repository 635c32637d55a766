/* Goal: counters keep their names apart, sums are sums, and the table of statements stays small
 * without losing what costs most. */

#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "proxy/stats/stats.h"

Test(stats, a_set_is_found_again_by_both_its_names)
{
    struct stats *st = stats_new();
    struct stats_set *a = stats_set_of(st, "shop", "app");
    cr_assert_eq(stats_set_of(st, "shop", "app"), a);
    cr_assert_neq(stats_set_of(st, "shop", "job"), a);
    cr_assert_neq(stats_set_of(st, "sho", "papp"), a);
    stats_free(st);
}

Test(stats, too_many_names_share_one_set)
{
    struct stats *st = stats_new();
    char user[16];
    for (int i = 0; i < 3 * STATS_SETS_MAX; i++) {
        (void)snprintf(user, sizeof(user), "u%d", i);
        stats_set_of(st, "shop", user)->v[STATS_QUERIES]++;
    }
    cr_assert_eq(st->sets.count, STATS_SETS_MAX);
    cr_assert_eq(stats_set_of(st, "other", "other")->v[STATS_QUERIES], 2 * STATS_SETS_MAX + 1);
    stats_free(st);
}

Test(stats, workers_are_added_up)
{
    struct stats *all = stats_new();
    for (uint64_t w = 1; w <= 2; w++) {
        struct stats *st = stats_new();
        stats_set_of(st, "shop", "app")->v[STATS_QUERIES] = w;
        hist_add(&stats_set_of(st, "shop", "app")->requests, 100 * w);
        stats_set_of(st, "shop", "job")->v[STATS_QUERIES] = 10;
        hist_add(&stats_shard_of(st, "shop", "s1", STATS_REPLICA)->trips, 5);
        stats_error(st, SLICE("23505"), 0);
        stats_error(st, SLICE("0A000"), 1);
        stats_merge(all, st, STATS_WANT_SETS);
        stats_free(st);
    }
    cr_assert_eq(stats_set_of(all, "shop", "app")->v[STATS_QUERIES], 3);
    cr_assert_eq(stats_set_of(all, "shop", "app")->requests.count, 2);
    cr_assert_eq(stats_shard_of(all, "shop", "s1", STATS_REPLICA)->trips.count, 2);
    cr_assert_eq(stats_shard_of(all, "shop", "s1", STATS_PRIMARY)->trips.count, 0);
    struct stats *dbs = stats_new();
    stats_by_database(dbs, all);
    cr_assert_eq(stats_set_of(dbs, "shop", "")->v[STATS_QUERIES], 23);
    uint64_t errors = 0;
    for (size_t i = 0; i < STATS_ERRORS_MAX; i++) {
        errors += all->errors[i].count;
        cr_assert(all->errors[i].count == 0 || all->errors[i].count == 2);
    }
    cr_assert_eq(errors, 4);
    stats_free(dbs);
    stats_free(all);
}

Test(stats, what_a_server_calls_an_sqlstate_is_tamed_and_bounded)
{
    struct stats *st = stats_new();
    char code[16];
    stats_error(st, SLICE("\"\n{}\x01"), 0);
    stats_error(st, SLICE("toolong"), 0);
    for (int i = 0; i < 5 * STATS_ERRORS_MAX; i++) {
        (void)snprintf(code, sizeof(code), "%05u", (unsigned)i % 100000U);
        stats_error(st, slice_of(code), 0);
    }
    uint64_t count = 0;
    for (size_t i = 0; i < STATS_ERRORS_MAX; i++) {
        count += st->errors[i].count;
        cr_assert(strpbrk(st->errors[i].sqlstate, "\"\n{}\x01") == NULL);
    }
    cr_assert_eq(count, 5 * STATS_ERRORS_MAX + 2);
    cr_assert_gt(st->errors[STATS_ERRORS_MAX - 1].count, 0);
    stats_free(st);
}

/* ---- statements ------------------------------------------------------------------------------ */

static void run(struct stats *st, const char *shape, uint64_t us)
{
    struct stats_answer a = {.us = us, .rows = 2, .bytes = 50, .shards = 1};
    struct stats_query *q = stats_query_of(st, "shop", slice_of(shape), "SELECT");
    stats_query_add(q, &a);
}

Test(stats, what_costs_most_stays_among_ten_thousand_passers_by)
{
    struct stats *st = stats_new();
    char shape[64];
    stats_queries_resize(st, 100);
    for (int i = 0; i < 10000; i++) {
        (void)snprintf(shape, sizeof(shape), "SELECT %d", i);
        run(st, shape, 10);
        (void)snprintf(shape, sizeof(shape), "SELECT heavy%d", i % 10);
        run(st, shape, 1000);
    }
    cr_assert_eq(st->slots_count, 100);
    cr_assert_eq(st->evicted, 10010 - 100);
    struct stats_query *sorted[100];
    cr_assert_eq(stats_queries_sorted(st, sorted), 100);
    for (int i = 0; i < 10; i++) {
        cr_assert(strncmp(sorted[i]->text, "SELECT heavy", 12) == 0, "%s", sorted[i]->text);
        cr_assert_eq(sorted[i]->time.count, 1000);
        cr_assert_eq(sorted[i]->rows, 2000);
    }
    stats_free(st);
}

Test(stats, a_slot_that_changed_its_statement_is_not_found_by_the_old_serial)
{
    struct stats *st = stats_new();
    stats_queries_resize(st, 1);
    struct stats_query *q = stats_query_of(st, "shop", SLICE("SELECT 1"), "SELECT");
    uint32_t serial = q->serial;
    cr_assert_eq(stats_query_at(st, 0, serial), q);
    cr_assert_eq(stats_query_at(st, 0, 0), NULL);
    (void)stats_query_of(st, "shop", SLICE("SELECT 2"), "SELECT");
    cr_assert_eq(stats_query_at(st, 0, serial), NULL);
    stats_free(st);
}

Test(stats, a_smaller_table_keeps_the_costliest_and_none_keeps_nothing)
{
    struct stats *st = stats_new();
    stats_queries_resize(st, 10);
    run(st, "SELECT cheap", 1);
    run(st, "SELECT dear", 100);
    struct stats_query *cheap = stats_query_of(st, "shop", SLICE("SELECT cheap"), "SELECT");
    uint32_t slot = cheap->slot;
    uint32_t serial = cheap->serial;
    stats_queries_resize(st, 1);
    cr_assert_eq(st->slots_count, 1);
    cr_assert_str_eq(st->slots[0]->text, "SELECT dear");
    cr_assert_eq(st->slots[0]->slot, 0);
    cr_assert_eq(stats_query_at(st, slot, serial), NULL);
    stats_queries_resize(st, 0);
    cr_assert_eq(stats_query_of(st, "shop", SLICE("SELECT 1"), "SELECT"), NULL);
    stats_queries_resize(st, 2);
    struct stats_query *again = stats_query_of(st, "shop", SLICE("SELECT new"), "SELECT");
    cr_assert_neq(again->serial, serial);
    stats_free(st);
}

Test(stats, statements_of_two_workers_are_one_row)
{
    struct stats *all = stats_new();
    for (uint64_t w = 1; w <= 2; w++) {
        struct stats *st = stats_new();
        stats_queries_resize(st, 10);
        run(st, "SELECT a", 10 * w);
        stats_merge(all, st, STATS_WANT_QUERIES);
        stats_free(st);
    }
    cr_assert_eq(all->slots_count, 1);
    cr_assert_eq(all->slots[0]->time.count, 2);
    cr_assert_eq(all->slots[0]->min_us, 10);
    cr_assert_eq(all->slots[0]->time.max, 20);
    cr_assert_eq(all->slots[0]->rows, 4);
    stats_free(all);
}
