/* Goal: no literal is ever in a shape that people see. */

#include <criterion/criterion.h>

#include "planner/planner.h"

static struct buf out;

static const char *shape_of(const char *text)
{
    struct lex lex = {0};
    out.n = 0;
    if (!plan_shape_text(&lex, slice_of(text), 0, &out)) {
        buf_text(&out, "?");
    }
    lex_free(&lex);
    buf_u8(&out, 0);
    return (const char *)out.p;
}

Test(shape, literals_become_parameters_behind_those_that_are_there)
{
    cr_assert_str_eq(shape_of("SELECT a,  'x' FROM t -- secret\n WHERE b = 5 AND c = $2;"),
                     "SELECT a, $3 FROM t WHERE b = $4 AND c = $2");
    cr_assert_str_eq(shape_of("INSERT INTO t VALUES (1, 'it''s', 2.5)"),
                     "INSERT INTO t VALUES ($1, $2, $3)");
}

Test(shape, what_the_lexer_leaves_alone_is_parsed)
{
    cr_assert(strstr(shape_of("SELECT E'hid\\'den', $$hidden$$, 1"), "hidden") == NULL);
    cr_assert(strstr((const char *)out.p, "SELECT ") != NULL);
}

Test(shape, what_cannot_be_parsed_has_none)
{
    cr_assert_str_eq(shape_of("SELEKT E'hidden"), "?");
}

Test(shape, with_backslashes_in_strings_nothing_is_guessed)
{
    struct lex lex = {0};
    out.n = 0;
    cr_assert_eq(plan_shape_text(&lex, SLICE("SELECT 'a\\' hidden'"), 1, &out), 0);
    cr_assert_eq(out.n, 0);
    cr_assert_eq(plan_shape_text(&lex, SLICE("SELECT 1"), 1, &out), 1);
    lex_free(&lex);
}
