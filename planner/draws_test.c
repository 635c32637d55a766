/*
 * Goal: what a session is said to have drawn is what it drew. Method: a table of statements with
 * what they surely draw, and of questions with their places.
 */

#include <criterion/criterion.h>

#include "planner/plan_testing.h"

struct one {
    const char *sql, *drawn;
};

static const struct one statements[] = {
    {"SELECT 1", "none"},
    {"SELECT count(*) FROM users", "none"},
    {"SELECT * FROM user_names", "none"},
    {"UPDATE orders SET status = 'x' WHERE user_id = 1", "none"},
    {"DELETE FROM orders WHERE user_id = 1", "none"},
    {"INSERT INTO users (id, name) VALUES (1, 'x')", "none"},
    {"BEGIN", "none"},
    {"SET search_path = odd", "none"},
    {"SELECT currval('tickets_id_seq')", "none"},
    {"SELECT nextval('tickets_id_seq')", "127"},
    {"SELECT nextval('public.tickets_id_seq'::regclass), 7", "127"},
    {"SELECT nextval('tickets_id_seq'), nextval('\"accounts_id_seq\"')", "127 128"},
    {"SELECT setval('tickets_id_seq', 7)", "127="},
    {"SELECT setval('tickets_id_seq', 7, true), nextval('accounts_id_seq')", "127= 128"},
    {"INSERT INTO tickets (user_id) VALUES (1), (2)", "127"},
    {"INSERT INTO tickets (id, user_id) VALUES (DEFAULT, 1)", "127"},
    {"INSERT INTO tickets (id, user_id) VALUES (nextval('accounts_id_seq'), 1)", "128"},
    {"INSERT INTO tickets (id, user_id) VALUES (5, 1)", "none"},
    {"INSERT INTO accounts (email) VALUES ('x')", "128"},
    {"DELETE FROM tickets WHERE user_id = 1", "none"},
    {"COPY tickets (user_id) FROM STDIN", "127"},
    /* not that surely */
    {"SELECT nextval('nothing')", "unseen"},
    {"SELECT nextval($1)", "unseen"},
    {"SELECT nextval('tickets_id_seq') + 1", "unseen"},
    {"SELECT nextval('tickets_id_seq') WHERE false", "unseen"},
    {"SELECT nextval('tickets_id_seq') FROM settings", "unseen"},
    {"SELECT setval('tickets_id_seq', 7, false)", "unseen"},
    {"SELECT CASE WHEN true THEN nextval('tickets_id_seq') END", "unseen"},
    {"SELECT risky(1)", "unseen"},
    {"SELECT pure(1)", "none"},
    {"SELECT * FROM not_known", "unseen"},
    {"INSERT INTO tickets (id, user_id) VALUES (DEFAULT, 1), (5, 2)", "unseen"},
    {"DELETE FROM accounts WHERE id = 1", "unseen"},
    {"UPDATE tickets SET note = 'x' WHERE user_id = 1", "unseen"},
    {"UPDATE tickets SET id = DEFAULT WHERE user_id = 1", "unseen"},
    {"DO 'BEGIN END'", "unseen"},
    {"EXECUTE p", "unseen"},
    {"FETCH c", "unseen"},
    {"DISCARD SEQUENCES", "unseen"},
    {"DROP SEQUENCE tickets_id_seq", "unseen"},
    {"EXPLAIN ANALYZE SELECT nextval('tickets_id_seq')", "unseen"},
};

static struct plan_batch *made(const struct test_db *db, const char *sql)
{
    struct plan_env env = {.map = db->map, .catalog = db->catalog, .user = "app", .workspace = 7};
    struct plan_batch *batch = NULL;
    struct note note;
    int position = 0;
    env.extended = strchr(sql, '$') != NULL;
    cr_assert_eq(plan_make(&env, slice_of(sql), &batch, &position, &note), ERR_NONE, "%s", sql);
    return batch;
}

static void put_drawn(const struct plan *p, struct buf *out)
{
    out->n = 0;
    buf_text(out, p->draws == DRAWS_NONE ? "none" : p->draws == DRAWS_UNSEEN ? "unseen" : "");
    for (size_t i = 0; p->draws == DRAWS_SEEN && i < p->seen_count; i++) {
        buf_printf(out, "%s%d%s", i == 0 ? "" : " ", (int)p->seen[i].sequence,
                   p->seen[i].moves ? "" : "=");
    }
    buf_u8(out, 0);
}

Test(draws, only_what_is_surely_drawn_is_said_to_be)
{
    struct test_db db;
    struct buf out = {0};
    test_db_open(&db, 3);
    for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++) {
        struct plan_batch *batch = made(&db, statements[i].sql);
        put_drawn(batch->plans[0], &out);
        cr_expect_str_eq((const char *)out.p, statements[i].drawn, "%s: %s", statements[i].sql,
                         (const char *)out.p);
        plan_batch_unref(batch);
    }
    buf_free(&out);
    test_db_close(&db);
}

Test(draws, a_shape_does_not_stand_for_other_sequences)
{
    struct test_db db;
    test_db_open(&db, 3);
    static const char *const all[] = {"SELECT nextval('tickets_id_seq')", "SELECT lastval()",
                                      "SELECT currval('tickets_id_seq')"};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        struct plan_batch *batch = made(&db, all[i]);
        cr_expect_not(batch->shape_ok, "%s", all[i]);
        plan_batch_unref(batch);
    }
    test_db_close(&db);
}

Test(draws, columns_of_the_source_are_told)
{
    struct test_db db;
    test_db_open(&db, 3);
    struct plan_batch *batch =
        made(&db, "INSERT INTO tickets (user_id, note) VALUES (1, 'x'), (2, 'y')");
    const struct plan *p = batch->plans[0];
    cr_assert_eq(p->kind, PLAN_ROWS);
    cr_assert_eq(p->seen_count, 1);
    cr_expect_eq(p->seen[0].source, 2);
    cr_expect_eq(p->rows->drawn->draws[0].oid, 127);
    cr_expect_eq(p->rows->drawn->insert->draws, DRAWS_NONE);
    plan_batch_unref(batch);
    test_db_close(&db);
}

/* ---- asks ------------------------------------------------------------------------------------ */

static const struct one questions[] = {
    {"SELECT lastval()", "[lastval()]"},
    {"  SELECT 1; SELECT pg_catalog.lastval( ) AS x", "[pg_catalog.lastval( )]"},
    {"SELECT currval('a')", "[currval('a') 'a']"},
    {"SELECT currval('it''s (') + lastval()", "[currval('it''s (') 'it''s ('] [lastval()]"},
    {"SELECT currval($1)", "[currval($1) $1]"},
    {"SELECT currval(pg_get_serial_sequence('t', 'id'))",
     "[currval(pg_get_serial_sequence('t', 'id')) pg_get_serial_sequence('t', 'id')]"},
    {"INSERT INTO settings VALUES ('a', lastval())", "[lastval()]"},
    {"SELECT x FROM (SELECT currval('b') AS x) q WHERE x > currval('a')",
     "[currval('b') 'b'] [currval('a') 'a']"},
    /* left to the server */
    {"SELECT * FROM lastval()", ""},
    {"SELECT currval(currval('a')::text)", ""},
    {"SELECT currval(E'a\\n')", ""},
    {"SELECT currval($$a$$)", ""},
    {"SELECT currval(/* ) */ 'a')", ""},
    {"SELECT \"lastval\"()", ""},
    {"EXPLAIN SELECT lastval()", ""},
    {"CREATE VIEW w AS SELECT lastval()", ""},
};

static void put_asks(const struct plan *p, struct buf *out)
{
    out->n = 0;
    for (size_t i = 0; i < p->asks_count; i++) {
        const struct plan_ask *a = &p->asks[i];
        buf_printf(out, "%s[%.*s", i == 0 ? "" : " ", (int)a->bytes,
                   (const char *)p->text.p + a->at);
        if (a->argument_bytes != 0) {
            buf_printf(out, " %.*s", (int)a->argument_bytes,
                       (const char *)p->text.p + a->argument_at);
        }
        buf_text(out, "]");
    }
    buf_u8(out, 0);
}

Test(asks, calls_are_found_where_a_query_may_take_their_place)
{
    struct test_db db;
    struct buf out = {0};
    test_db_open(&db, 3);
    for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++) {
        struct plan_batch *batch = made(&db, questions[i].sql);
        put_asks(batch->plans[batch->count - 1], &out);
        cr_expect_str_eq((const char *)out.p, questions[i].drawn, "%s: %s", questions[i].sql,
                         (const char *)out.p);
        plan_batch_unref(batch);
    }
    buf_free(&out);
    test_db_close(&db);
}
