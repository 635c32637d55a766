/*
 * Goal: what the planner writes is read by a server as the tree it was written from. Method: every
 * kind of expression as the argument of every kind, parsed, written, and read back.
 */

#include <criterion/criterion.h>

#include "base/buf.h"
#include "planner/tree.h"

/* X stands for the argument. */
static const char *const outside[] = {
    "X IS NULL",
    "X IS TRUE",
    "X IS NOT FALSE",
    "X IS UNKNOWN",
    "NOT X",
    "X AND z",
    "z OR X",
    "X = z",
    "z = X",
    "z - X",
    "X || z",
    "- X",
    "X IN (1, 2)",
    "z IN (X, 2)",
    "X LIKE 'y'",
    "z NOT LIKE X",
    "X ILIKE z",
    "z SIMILAR TO X",
    "X BETWEEN 1 AND 2",
    "z BETWEEN X AND 2",
    "z NOT BETWEEN 1 AND X",
    "X = ANY (z)",
    "z <> ALL (X)",
    "X COLLATE \"C\"",
    "X::text",
    "z IS DISTINCT FROM X",
    "X IS NOT DISTINCT FROM z",
    "X AT TIME ZONE 'UTC'",
    "z AT TIME ZONE X",
    "CASE WHEN X THEN z ELSE X END",
    "f(X, z)",
    "ROW(X, z)",
    "ARRAY[X]",
    "X[1]",
    "(X).q",
    "X IN (SELECT 1)",
    "X = ANY (SELECT 1)",
    "coalesce(X, z)",
    "nullif(X, z)",
    "count(*) FILTER (WHERE X)",
    "sum(z) OVER (PARTITION BY X ORDER BY X DESC)",
    "position(X IN z)",
    "X IS DOCUMENT",
    "X IS NORMALIZED",
    "@ X",
};
static const char *const inside[] = {
    "a OR b",
    "a AND b",
    "NOT a",
    "a = b",
    "a + b",
    "a || b",
    "- a",
    "a IS DISTINCT FROM b",
    "a IS NULL",
    "a IS TRUE",
    "a IN (1, 2)",
    "a NOT IN (1, 2)",
    "a LIKE 'x'",
    "a LIKE b ESCAPE '!'",
    "a BETWEEN 1 AND 2",
    "a NOT BETWEEN b AND c",
    "a = ANY (b)",
    "a COLLATE \"C\"",
    "a::int",
    "-1",
    "a AT TIME ZONE 'UTC'",
    "CASE WHEN a THEN b END",
    "(SELECT 1)",
    "EXISTS (SELECT 1)",
    "a IN (SELECT 1)",
    "a NOT IN (SELECT 1)",
    "a < ANY (SELECT 1)",
    "ROW(a, b)",
    "ARRAY[1, 2]",
    "a[1]",
    "(a).b",
    "a @> b",
    "f(a)",
    "a IS DOCUMENT",
    "a IS NORMALIZED",
    "(a, b) OVERLAPS (c, d)",
    "(a, b) < (c, d)",
    "$1",
    "'x'",
    "interval '1 day'",
    "(a OR (b AND NOT c)) IS TRUE",
};

static void put(struct buf *out, const char *text, const char *argument)
{
    buf_text(out, "SELECT ");
    for (const char *p = text; *p != 0; p++) {
        if (*p == 'X') {
            buf_printf(out, "(%s)", argument);
        } else {
            buf_u8(out, (uint8_t)*p);
        }
    }
    buf_cstr(out, " FROM t");
    out->n--;
}

static void expect_same(const char *text)
{
    struct arena arena = {0};
    PgQuery__ParseResult *first, *again;
    struct note note;
    const char *out = NULL;
    int position;
    if (tree_parse(slice_of(text), &arena, &first, &position, &note) == ERR_NONE) {
        cr_expect(tree_deparse(first->stmts[0]->stmt, &arena, &out, &note) == ERR_NONE, "%s", text);
        cr_expect(out != NULL && tree_parse(slice_of(out), &arena, &again, &position, &note) == 0 &&
                      tree_equal(first->stmts[0]->stmt, again->stmts[0]->stmt),
                  "%s\n  written: %s", text, out);
    }
    arena_free(&arena);
}

Test(deparse, what_is_written_is_read_as_it_was)
{
    for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); i++) {
        for (size_t k = 0; k < sizeof(inside) / sizeof(inside[0]); k++) {
            struct buf text = {0};
            put(&text, outside[i], inside[k]);
            expect_same((const char *)text.p);
            buf_free(&text);
        }
    }
}

Test(deparse, parentheses_inside_of_parentheses_come_back)
{
    expect_same("SELECT ((a OR (b IS DISTINCT FROM c) IS TRUE) IS NULL) IS UNKNOWN FROM t");
    expect_same("SELECT 1 FROM t LIMIT coalesce(1, 2) OFFSET greatest(1, (a OR b) IS TRUE)");
    expect_same("SELECT 1 FROM t WHERE x < 't'::boolean AND f('f'::bool) = 'f'::bool");
    expect_same("SELECT braid_paren_9999_, (a OR b) IS TRUE FROM t");
}
