/*
 * See columns_ask.h.
 *
 * Binary values of composite types, and of arrays and ranges over types of users, hold numbers of
 * types, which differ from server to server; regclass and its like are such numbers. Arrays are
 * taken for text as elements of arrays, because unnest() would take them apart.
 */

#include "proxy/exec/columns_ask.h"

#define READS_NOTHING "(SELECT c%zu FROM pgbraid_s LIMIT 0)"
/* regproc and its like: numbers of what a server has */
#define NUMBERED "(24,2202,2203,2204,2205,2206,3734,3769,4089,4096,4191)"
#define QUOTED(t) \
    "pg_catalog.quote_ident(" t "n.nspname) || '.' || pg_catalog.quote_ident(" t ".typname)"
#define NO_SEND "x.typsend = 0 OR x.typreceive = 0 OR x.typtype = 'c' OR "

static const char before_collation[] =
    ") SELECT pg_catalog.format_type(v.t, CASE WHEN v.t = v.b THEN v.m ELSE -1 END), " QUOTED(
        "y") ", v.t <> v.b, " QUOTED("x") ", x.typarray, "
                                          "CASE WHEN y.typcollation <> 0 THEN CASE v.i";

static const char behind_collation[] =
    " END END, x.typtype = 'p', " NO_SEND
    "x.oid >= 16384 OR x.typcategory = 'A' OR x.typarray = 0 OR x.oid IN " NUMBERED ", " NO_SEND
    "x.typtype IN ('r', 'm') AND x.oid >= 16384 OR "
    "x.typcategory = 'A' AND x.typelem >= 16384 OR "
    "x.typelem IN (SELECT e.oid FROM pg_catalog.pg_type e WHERE e.typsend = 0) OR "
    "x.oid IN " NUMBERED " OR x.typelem IN " NUMBERED ", "
    "x.typtype <> 'e' AND x.oid NOT IN " NUMBERED
    " FROM v JOIN pg_catalog.pg_type y ON y.oid = v.t "
    "JOIN pg_catalog.pg_namespace yn ON yn.oid = y.typnamespace "
    "JOIN pg_catalog.pg_type x ON x.oid = v.b "
    "JOIN pg_catalog.pg_namespace xn ON xn.oid = x.typnamespace ORDER BY v.i";

void columns_put_question(struct slice source, struct back_walk columns, struct buf *sql)
{
    struct back_column column;
    struct buf values = {0};
    struct buf collations = {0};
    size_t count = columns.left;
    buf_text(sql, "WITH pgbraid_s(");
    for (size_t i = 1; i <= count && back_next_column(&columns, &column) == 1; i++) {
        buf_printf(sql, "%sc%zu", i == 1 ? "" : ", ", i);
        buf_printf(&values,
                   "%s(%zu, pg_catalog.pg_typeof(" READS_NOTHING ")::pg_catalog.oid, "
                   "%u::pg_catalog.oid, %d)",
                   i == 1 ? "" : ", ", i, i, column.type_oid, (int)column.type_mod);
        buf_printf(&collations, " WHEN %zu THEN pg_catalog.pg_collation_for(" READS_NOTHING ")", i,
                   i);
    }
    buf_text(sql, ") AS (");
    buf_add_slice(sql, source);
    buf_text(sql, "\n), v(i, t, b, m) AS (VALUES ");
    buf_add_slice(sql, buf_slice(&values));
    buf_text(sql, before_collation);
    buf_add_slice(sql, buf_slice(&collations));
    buf_text(sql, behind_collation);
    buf_free(&values);
    buf_free(&collations);
}

int columns_read_answers(struct slice body, struct slice out[COLUMN_ANSWERS])
{
    struct back_walk walk;
    struct note note;
    if (back_walk_row(body, &walk, &note) != ERR_NONE || walk.left != COLUMN_ANSWERS) {
        return 0;
    }
    for (size_t i = 0; i < COLUMN_ANSWERS; i++) {
        if (back_next_value(&walk, &out[i]) != 1) {
            return 0;
        }
    }
    return 1;
}
