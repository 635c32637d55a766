/*
 * Goal: settings follow a session from backend to backend exactly. Method: sets made in any order
 * are one object; the change from one set to another is read as SQL; lists of names survive the
 * way to SQL and back.
 */

#include <criterion/criterion.h>

#include "proxy/session/vars.h"

static struct varset_table table;

static void start(void)
{
    varset_table_init(&table);
}

static void stop(void)
{
    varset_table_free(&table);
}

TestSuite(vars, .init = start, .fini = stop);

static struct varset *with(struct varset *from, const char *name, const char *value)
{
    struct varset *v = varset_with(&table, from, name, value);
    if (from != table.empty) {
        varset_unref(&table, from);
    }
    return v;
}

static void expect_change(const struct varset *from, const struct varset *to, const char *sql)
{
    struct buf out = {0};
    varset_print_change(from, to, &out);
    buf_u8(&out, 0);
    cr_assert_str_eq((const char *)out.p, sql);
    buf_free(&out);
}

Test(vars, equal_settings_are_one_set_whatever_their_order)
{
    struct varset *a = with(with(table.empty, "work_mem", "'5MB'"), "timezone", "'UTC'");
    struct varset *b = with(with(table.empty, "timezone", "'UTC'"), "work_mem", "'5MB'");
    cr_assert_eq(a, b);
    struct varset *c = varset_with(&table, a, "work_mem", "'6MB'");
    cr_assert_neq(a, c);
    varset_unref(&table, a);
    varset_unref(&table, b);
    varset_unref(&table, c);
}

Test(vars, a_setting_taken_away_gives_the_set_before)
{
    struct varset *a = varset_with(&table, table.empty, "work_mem", "'5MB'");
    struct varset *b = varset_with(&table, a, "timezone", "'UTC'");
    struct varset *c = varset_with(&table, b, "timezone", NULL);
    cr_assert_eq(a, c);
    cr_assert_str_eq(varset_get(b, "timezone"), "'UTC'");
    cr_assert_null(varset_get(c, "timezone"));
    varset_unref(&table, a);
    varset_unref(&table, b);
    varset_unref(&table, c);
}

Test(vars, sets_nobody_holds_are_freed)
{
    size_t before = table.map.count;
    struct varset *a = varset_with(&table, table.empty, "a", "1");
    cr_assert_eq(table.map.count, before + 1);
    varset_unref(&table, a);
    cr_assert_eq(table.map.count, before);
}

Test(vars, a_change_resets_what_is_gone_and_sets_what_differs)
{
    struct varset *a = with(with(table.empty, "work_mem", "'5MB'"), "timezone", "'UTC'");
    struct varset *b = with(with(table.empty, "work_mem", "'6MB'"), "datestyle", "'ISO'");
    expect_change(a, a, "");
    expect_change(a, b,
                  "RESET \"timezone\"; SET \"datestyle\" TO 'ISO'; SET \"work_mem\" TO '6MB'");
    varset_unref(&table, a);
    varset_unref(&table, b);
}

Test(vars, the_role_is_left_first_and_taken_last)
{
    struct varset *a = with(with(table.empty, "role", "'x'"), "work_mem", "'5MB'");
    expect_change(a, table.empty, "RESET \"role\"; RESET \"work_mem\"");
    expect_change(table.empty, a, "SET \"work_mem\" TO '5MB'; SET \"role\" TO 'x'");
    varset_unref(&table, a);
}

Test(vars, names_are_quoted_part_by_part)
{
    struct varset *a = varset_with(&table, table.empty, "my.set\"ting", "'1'");
    expect_change(table.empty, a, "SET \"my\".\"set\"\"ting\" TO '1'");
    varset_unref(&table, a);
}

Test(vars, a_proof_holds_for_its_pool_only)
{
    struct varset *a = varset_with(&table, table.empty, "a", "1");
    int one = 0;
    int other = 0;
    cr_assert_null(varset_proof(a, &one));
    struct varset_proof *proof = varset_prove(a, &one);
    cr_assert_eq(varset_proof(a, &one), proof);
    cr_assert_null(varset_proof(a, &other));
    varset_unref(&table, a);
}

static void expect_list(const char *setting, const char *sql, const char *back)
{
    struct buf out = {0};
    var_list_from_setting(slice_of(setting), &out);
    buf_u8(&out, 0);
    cr_assert_str_eq((const char *)out.p, sql);
    struct buf again = {0};
    var_list_to_setting((const char *)out.p, &again);
    buf_u8(&again, 0);
    cr_assert_str_eq((const char *)again.p, back);
    buf_free(&out);
    buf_free(&again);
}

Test(vars, lists_of_names_keep_case_quotes_and_commas)
{
    expect_list("public", "'public'", "\"public\"");
    expect_list("\"$user\", Public", "'$user', 'public'", "\"$user\", \"public\"");
    expect_list("\"A,b\",c", "'A,b', 'c'", "\"A,b\", \"c\"");
    expect_list("\"a\"\"b\"", "'a\"b'", "\"a\"\"b\"");
    expect_list("\"it's\"", "'it''s'", "\"it's\"");
    expect_list("\"back\\slash\"", "E'back\\\\slash'", "\"back\\slash\"");
    expect_list("", "''", "\"\"");
}

Test(vars, literals_escape_only_when_they_must)
{
    struct buf out = {0};
    var_put_literal(SLICE("it's"), &out);
    var_put_literal(SLICE("a\\b'c"), &out);
    var_put_name("x\"; COMMIT; --", &out);
    buf_u8(&out, 0);
    cr_assert_str_eq((const char *)out.p, "'it''s'E'a\\\\b''c'\"x\"\"; COMMIT; --\"");
    buf_free(&out);
}

Test(vars, lists_are_read_as_postgresql_reads_them)
{
    static const char *const good[] = {"",     "  ", "a", "a, b", "\"a b\",c", "\"a\"\"b\" , c",
                                       "$user"};
    static const char *const bad[] = {"a b", "a,", ",", "\"a", "a,,b", "\"a\" b", "a, \"", " ,a"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        cr_assert(var_list_is_good(slice_of(good[i])), "%s", good[i]);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        cr_assert(!var_list_is_good(slice_of(bad[i])), "%s", bad[i]);
    }
}

static void change_is(struct varset_table *t, const struct varset *from, const struct varset *to,
                      const char *expected)
{
    struct buf sql = {0};
    varset_print_change(from, to, &sql);
    buf_u8(&sql, 0);
    cr_assert_str_eq((const char *)sql.p, expected);
    buf_free(&sql);
    (void)t;
}

Test(vars, who_the_session_is_comes_last_and_goes_first)
{
    struct varset_table t;
    varset_table_init(&t);
    struct varset *a = varset_with(&t, t.empty, "work_mem", "'7MB'");
    struct varset *b = varset_with(&t, a, "role", "'r'");
    struct varset *c = varset_with(&t, b, "session_authorization", "'u'");
    change_is(
        &t, t.empty, c,
        "SET \"work_mem\" TO '7MB'; SET \"session_authorization\" TO 'u'; SET \"role\" TO 'r'");
    change_is(&t, c, t.empty,
              "RESET \"role\"; RESET \"session_authorization\"; RESET \"work_mem\"");
    change_is(&t, b, c, "SET \"session_authorization\" TO 'u'; SET \"role\" TO 'r'");
    change_is(&t, c, b, "RESET \"session_authorization\"; SET \"role\" TO 'r'");
    varset_unref(&t, a);
    varset_unref(&t, b);
    varset_unref(&t, c);
    varset_table_free(&t);
}
