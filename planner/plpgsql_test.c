/*
 * Goal: of a function in PL/pgSQL all SQL is found, and what its variables and its row may become.
 * Method: small functions as pg_get_functiondef() prints them.
 */

#include <string.h>

#include <criterion/criterion.h>

#include "planner/reach.h"

static struct arena arena;
static struct plpgsql found;

static int read_body(const char *head, const char *body)
{
    const char *text = arena_printf(
        &arena, "CREATE OR REPLACE FUNCTION public.f%s LANGUAGE plpgsql AS $f$%s$f$", head, body);
    return plpgsql_read(text, &arena, &found);
}

static int has_sql(const char *part)
{
    for (size_t i = 0; i < found.sql_count; i++) {
        if (strstr(found.sql[i], part) != NULL) {
            return 1;
        }
    }
    return 0;
}

static void end(void)
{
    arena_free(&arena);
    memset(&arena, 0, sizeof(arena));
}

TestSuite(plpgsql, .fini = end);

Test(plpgsql, sql_is_found_wherever_it_stands)
{
    cr_assert(read_body(
        "(a integer) RETURNS SETOF integer",
        "DECLARE k int := (SELECT 1 FROM t0); r record; c CURSOR FOR SELECT * FROM t1; "
        "BEGIN SELECT x INTO k FROM t2; PERFORM g(k) FROM t3; "
        "IF EXISTS (SELECT 1 FROM t4) THEN NULL; ELSIF (SELECT true FROM t5) THEN NULL; END IF; "
        "FOR r IN SELECT * FROM t6 LOOP EXIT WHEN r.x > (SELECT 1 FROM t7); END LOOP; "
        "FOR i IN 1..(SELECT 3 FROM t8) LOOP NULL; END LOOP; "
        "WHILE (SELECT true FROM t9) LOOP NULL; END LOOP; "
        "RAISE NOTICE 'x %', (SELECT 4 FROM t10) USING HINT = (SELECT 'x' FROM t11); "
        "CASE a WHEN (SELECT 1 FROM t12) THEN NULL; ELSE NULL; END CASE; "
        "ASSERT (SELECT true FROM t13), 'x'; CALL p((SELECT 1 FROM t14)); "
        "BEGIN UPDATE t15 SET x = a; EXCEPTION WHEN division_by_zero THEN DELETE FROM t16; END; "
        "k := (SELECT 1 FROM t17); RETURN QUERY SELECT * FROM t18; "
        "RETURN NEXT (SELECT 1 FROM t19); END"));
    for (int i = 0; i < 20; i++) {
        cr_expect(has_sql(arena_printf(&arena, "t%d", i)), "t%d", i);
    }
}

Test(plpgsql, sql_made_at_run_time_and_ends_of_transactions_are_no_good)
{
    cr_assert(!read_body("() RETURNS void", "BEGIN EXECUTE 'SELECT 1'; END"));
    cr_assert(strstr(found.why, "run time") != NULL);
    cr_assert(!read_body("() RETURNS void",
                         "DECLARE r record; BEGIN FOR r IN EXECUTE 'x' LOOP NULL; END LOOP; END"));
    cr_assert(!read_body("() RETURNS SETOF int", "BEGIN RETURN QUERY EXECUTE 'SELECT 1'; END"));
    cr_assert(!read_body("() RETURNS void", "BEGIN COMMIT; END"));
    cr_assert(!read_body("() RETURNS void", "BEGIN this is nothing END"));
    cr_assert(found.why != NULL);
}

Test(plpgsql, arguments_that_change_are_known)
{
    cr_assert(read_body("(a int, b int) RETURNS void", "BEGIN PERFORM a, b; END"));
    cr_assert_eq(found.assigned & 3, 0);
    cr_assert(read_body("(a int, b int) RETURNS void", "BEGIN b := 1; END"));
    cr_assert_eq(found.assigned & 3, 2);
    cr_assert(read_body("(a int, b int) RETURNS void", "BEGIN a = 1; END")); /* 0 is not printed */
    cr_assert_eq(found.assigned & 1, 1);
    cr_assert(read_body("(a int, b int) RETURNS void", "BEGIN SELECT 1, 2 INTO b, a; END"));
    cr_assert_eq(found.assigned & 3, 3);
    cr_assert(read_body("(a int) RETURNS void", "BEGIN GET DIAGNOSTICS a = ROW_COUNT; END"));
    cr_assert_eq(found.assigned & 1, 1);
    cr_assert(read_body("(a int, x int[]) RETURNS void",
                        "BEGIN FOREACH a IN ARRAY x LOOP NULL; END LOOP; END"));
    cr_assert_eq(found.assigned & 1, 1);
}

static int row_becomes(const char *statements)
{
    cr_assert(read_body("() RETURNS trigger",
                        arena_printf(&arena, "DECLARE r record; BEGIN %s END", statements)),
              "%s: %s", statements, found.why);
    return found.row_any ? -1 : (int)found.row_count;
}

Test(plpgsql, columns_of_the_row_that_a_trigger_changes_are_known)
{
    cr_assert_eq(row_becomes("RETURN NEW;"), 0);
    cr_assert_eq(row_becomes("IF NEW.x > OLD.y THEN RETURN NULL; END IF; RETURN old;"), 0);
    cr_assert_eq(row_becomes("NEW.x := 1; RETURN NEW;"), 1);
    cr_assert_str_eq(found.row[0], "x");
    cr_assert_eq(row_becomes("new.Other_1 = 1; RETURN NEW;"), 1);
    cr_assert_str_eq(found.row[0], "other_1");
    cr_assert_eq(row_becomes("SELECT 1, 2 INTO NEW.x, r FROM t; RETURN NEW;"), 1);
    cr_assert_eq(row_becomes("NEW := r; RETURN NEW;"), -1);
    cr_assert_eq(row_becomes("SELECT * INTO NEW FROM t; RETURN NEW;"), -1);
    cr_assert_eq(row_becomes("RETURN r;"), -1);
    cr_assert_eq(row_becomes("RETURN coalesce(NEW, OLD);"), -1);
    cr_assert_eq(row_becomes("NEW.\"X\" := 1; RETURN NEW;"), -1);
    cr_assert_eq(row_becomes("FOR NEW IN SELECT * FROM t LOOP NULL; END LOOP; RETURN NEW;"), -1);
    cr_assert_eq(row_becomes("r := NEW; RETURN NEW;"), 0);
}
