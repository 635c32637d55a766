/*
 * Goal: a batch is found again for exactly what it was planned for, and the cache keeps to its
 * bytes. Method: a database of one shard without a catalog, where every statement can be planned;
 * `hit` and the identity of batches tell what happened.
 */

#include <stdio.h>

#include <criterion/criterion.h>

#include "planner/planner.h"
#include "wire/types.h"

static struct plan_env env;
static struct plan_cache *cache;
static struct lex lex;
static struct note note;
static int hit, position;

static struct map *map_of(const char *name, uint64_t epoch, size_t shards_count)
{
    static struct conf_shard shards[2] = {{.name = "a", .weight = 1}, {.name = "b", .weight = 1}};
    struct conf_database db = {
        .name = name, .dbname = name, .shards = shards, .shards_count = shards_count};
    struct map *map = NULL;
    cr_assert_eq(map_build(&db, NULL, 0, epoch, &map, &note), ERR_NONE, "%s", note.text);
    return map;
}

static void begin(void)
{
    env = (struct plan_env){.map = map_of("db", 1, 1), .user = "app"};
    cache = plan_cache_new(1 << 20);
}

static void end(void)
{
    plan_cache_free(cache);
    map_unref(env.map);
    lex_free(&lex);
}

TestSuite(plan_cache, .init = begin, .fini = end);

static struct plan_batch *get(const char *sql, struct lex *l)
{
    struct plan_batch *b = NULL;
    enum err e = plan_cache_get(cache, &env, slice_of(sql), l, &b, &hit, &position, &note);
    cr_assert_eq(e, ERR_NONE, "%s: %s", sql, note.text);
    return b;
}

Test(plan_cache, finds_the_same_text_again)
{
    struct plan_batch *first = get("select 1", NULL);
    cr_assert_eq(hit, 0);
    cr_assert_eq(get("select 1", NULL), first);
    cr_assert_eq(hit, 1);
    cr_assert_neq(get("select  1", NULL), first);
    cr_assert_eq(plan_cache_count(cache), 2);
    cr_assert_gt(plan_cache_bytes(cache), 0);
}

Test(plan_cache, finds_other_literals_by_the_shape)
{
    struct plan_batch *first = get("select * from shape where id = 1", &lex);
    cr_assert_eq(hit, 0);
    cr_assert_eq(lex.usable, first->shape_ok);
    cr_assert(first->shape_ok, "a statement for the only shard does not depend on its literals");
    cr_assert_eq(get("select * from  shape where id = 4711;", &lex), first);
    cr_assert_eq(hit, 1);
    cr_assert_eq(lex.literals_count, 1);
    struct buf scratch = {0};
    cr_assert(slice_is(lex_value(&lex, 0, &scratch), "4711"));
    (void)get("select * from shape where id = '1'", &lex); /* a literal of another kind */
    cr_assert_eq(hit, 0);
}

Test(plan_cache, plans_by_text_when_told_to)
{
    struct plan_batch *shape = get("select * from shape where id = 1", &lex);
    struct plan_batch *text = get("select * from shape where id = 1", NULL);
    cr_assert_eq(hit, 0);
    cr_assert_neq(shape, text);
    cr_assert_eq(get("select * from shape where id = 1", NULL), text);
    cr_assert_eq(hit, 1);
    cr_assert_eq(get("select * from shape where id = 1", &lex), shape);
    cr_assert_eq(hit, 1);
}

Test(plan_cache, unusable_shapes_are_found_by_text)
{
    struct plan_batch *first = get("select E'a' from shape", &lex);
    cr_assert_eq(lex.usable, 0);
    cr_assert_eq(get("select E'a' from shape", &lex), first);
    cr_assert_eq(hit, 1);
    cr_assert_eq(lex.usable, 0);
    env.standard_strings_off = 1;
    (void)get("select 'a' from shape", &lex);
    cr_assert_eq(lex.usable, 0);
}

Test(plan_cache, everything_a_plan_depends_on_is_part_of_the_key)
{
    static const uint32_t ints[] = {OID_INT4}, texts[] = {OID_TEXT};
    const struct plan_env plain = env;
    struct map *newer = map_of("db", 2, 1), *other = map_of("bd", 1, 1);
    struct plan_env envs[10];
    for (size_t i = 0; i < 10; i++) {
        envs[i] = plain;
        envs[i].extended = i != 8;
    }
    envs[1].user = "ap";
    envs[2].search_path = "";
    envs[3].search_path = "p";
    envs[4].map = newer;
    envs[5].map = other;
    envs[6].param_types = ints;
    envs[6].param_types_count = 1;
    envs[7].param_types = texts;
    envs[7].param_types_count = 1;
    envs[9].role = "app";
    struct plan_batch *made[10];
    for (size_t i = 0; i < 10; i++) {
        env = envs[i];
        made[i] = get("select 1", NULL);
        cr_assert_eq(hit, 0, "env %zu", i);
    }
    for (size_t i = 0; i < 10; i++) {
        env = envs[i];
        cr_assert_eq(get("select 1", NULL), made[i]);
        cr_assert_eq(hit, 1, "env %zu", i);
    }
    env = plain;
    map_unref(newer);
    map_unref(other);
}

Test(plan_cache, drops_what_was_not_used_for_longest)
{
    (void)get("select 1000", NULL);
    size_t one = plan_cache_bytes(cache);
    plan_cache_free(cache);
    cache = plan_cache_new(one * 4 + one / 2);
    char sql[32];
    for (int i = 0; i < 20; i++) {
        (void)snprintf(sql, sizeof(sql), "select 10%02d", i);
        (void)get("select 1000", NULL); /* always used again */
        (void)get(sql, NULL);
        cr_assert_leq(plan_cache_bytes(cache), one * 4 + one / 2);
    }
    cr_assert_geq(plan_cache_count(cache), 3);
    (void)get("select 1000", NULL);
    cr_assert_eq(hit, 1);
    (void)get("select 1003", NULL);
    cr_assert_eq(hit, 0);
}

Test(plan_cache, a_batch_in_use_survives_being_dropped)
{
    struct plan_batch *b = plan_batch_ref(get("select 1", NULL));
    plan_cache_clear(cache);
    cr_assert_eq(plan_cache_count(cache), 0);
    cr_assert_eq(plan_cache_bytes(cache), 0);
    cr_assert_eq(b->count, 1);
    cr_assert(slice_is(b->plans[0]->text, "select 1"));
    cr_assert_neq(get("select 1", NULL), b);
    plan_batch_unref(b);
}

Test(plan_cache, gives_what_does_not_fit_without_keeping_it)
{
    plan_cache_free(cache);
    cache = plan_cache_new(10);
    struct plan_batch *b = get("select 1", NULL);
    cr_assert_eq(b->count, 1);
    cr_assert_eq(plan_cache_count(cache), 0);
    (void)get("select 1", NULL);
    cr_assert_eq(hit, 0);
}

Test(plan_cache, is_not_asked_while_a_schema_change_is_open)
{
    static const char *const changed[] = {"public.t"};
    struct plan_batch *before = get("select 1", NULL);
    env.changed_tables = changed;
    env.changed_tables_count = 1;
    cr_assert_neq(get("select 1", NULL), before);
    cr_assert_eq(hit, 0);
    cr_assert_eq(plan_cache_count(cache), 1);
    env.changed_tables_count = 0;
    cr_assert_eq(get("select 1", NULL), before);
}

Test(plan_cache, failures_are_not_kept)
{
    struct plan_batch *b = NULL;
    map_unref(env.map);
    env.map = map_of("db", 1, 2); /* with one shard the server itself is asked */
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(plan_cache_get(cache, &env, SLICE("syntax error here ("), &lex, &b, &hit,
                                    &position, &note),
                     ERR_SYNTAX);
        cr_assert_eq(hit, 0);
    }
    cr_assert_eq(plan_cache_count(cache), 0);
}
