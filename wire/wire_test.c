/*
 * Goal: what one side puts, the other side reads, and broken bytes are refused with a note that
 * names the field. Method: bytes written by hand where the protocol's layout is the point, round
 * trips elsewhere; the fuzzers beside do the unkind part.
 */

#include <stdio.h>

#include <criterion/criterion.h>

#include "wire/wire.h"

/* Type and body of the one whole message in `b`. */
static struct slice only_message(const struct buf *b, uint8_t type)
{
    uint8_t found = 0;
    size_t total = 0;
    cr_assert_eq(frame_peek(buf_slice(b), &found, &total), 1);
    cr_assert_eq(found, type);
    cr_assert_eq(total, b->n);
    return frame_body(buf_slice(b), total);
}

#define cr_assert_slice(slice_, text) \
    cr_assert(slice_is(slice_, text), "\"" SLICE_FMT "\"", SLICE_ARG(slice_))

Test(frame, needs_five_bytes_and_a_length_that_counts_itself)
{
    uint8_t type;
    size_t total;
    cr_assert_eq(frame_peek(SLICE("Q\0\0\0"), &type, &total), 0);
    cr_assert_eq(frame_peek(SLICE("Q\0\0\0\3"), &type, &total), -1);
    cr_assert_eq(frame_peek(SLICE("Q\x80\0\0\0"), &type, &total), -1);
    cr_assert_eq(frame_peek(SLICE("Q\0\0\0\4"), &type, &total), 1);
    cr_assert_eq(total, 5);
}

Test(startup, reads_names_and_values)
{
    struct buf b = {0};
    struct startup_param params[] = {{SLICE("user"), SLICE("app")},
                                     {SLICE("database"), SLICE("shop")},
                                     {SLICE("options"), SLICE("")}};
    front_put_startup(&b, params, 3);
    size_t total;
    cr_assert_eq(startup_peek(buf_slice(&b), &total), 1);
    cr_assert_eq(total, b.n);
    struct startup s;
    cr_assert_eq(startup_read(buf_slice(&b), &s, NULL), ERR_NONE);
    cr_assert_eq(s.kind, STARTUP_MESSAGE);
    cr_assert_eq(s.version, PROTOCOL_3_0);
    cr_assert_eq(s.params_count, 3);
    cr_assert_slice(startup_param(&s, "database"), "shop");
    cr_assert(startup_param(&s, "options").p != NULL);
    cr_assert(startup_param(&s, "replication").p == NULL);
    buf_free(&b);
}

Test(startup, requests_have_no_parameters)
{
    struct startup s;
    struct buf b = {0};
    front_put_ssl_request(&b);
    cr_assert_eq(startup_read(buf_slice(&b), &s, NULL), ERR_NONE);
    cr_assert_eq(s.kind, STARTUP_SSL);
    b.n = 0;
    front_put_cancel(&b, 4711, SLICE("key0"));
    cr_assert_eq(b.n, 16);
    cr_assert_eq(startup_read(buf_slice(&b), &s, NULL), ERR_NONE);
    cr_assert_eq(s.kind, STARTUP_CANCEL);
    cr_assert_eq(s.cancel_pid, 4711);
    cr_assert_slice(s.cancel_key, "key0");
    cr_assert_eq(startup_read(SLICE("\0\0\0\x08\x04\xd2\x16\x30"), &s, NULL), ERR_NONE);
    cr_assert_eq(s.kind, STARTUP_GSSENC);
    buf_free(&b);
}

Test(startup, refuses_broken_packets)
{
    struct startup s;
    struct note note;
    size_t total;
    cr_assert_eq(startup_peek(SLICE("\0\0\0\7"), &total), -1);
    cr_assert_eq(startup_peek(SLICE("\0\0\x27\x11"), &total), -1); /* 10001 */
    cr_assert_eq(startup_peek(SLICE("\0\0\x27\x10"), &total), 1);
    cr_assert_eq(startup_peek(SLICE("\0\0\0"), &total), 0);
    cr_assert_eq(startup_read(SLICE("\0\0\0\x09\0\2\0\0\0"), &s, &note), ERR_PROTOCOL);
    cr_assert_str_eq(note.text, "unsupported frontend protocol 2.0: server supports 3.0 to 3.2");
    cr_assert_eq(startup_read(SLICE("\0\0\0\x0c\0\3\0\0user"), &s, &note), ERR_PROTOCOL);
    cr_assert_eq(startup_read(SLICE("\0\0\0\x0f\0\3\0\0user\0\0x"), &s, &note), ERR_PROTOCOL);
    cr_assert_str_eq(note.text, "invalid startup packet layout: expected terminator as last byte");
    cr_assert_eq(startup_read(SLICE("\0\0\0\x0f\x04\xd2\x16\x2e\0\0\0\1key"), &s, &note),
                 ERR_PROTOCOL); /* a key of three bytes */
    cr_assert_eq(startup_read(SLICE("\0\0\0\x0f\0\3\0\0\0"), &s, &note), ERR_PROTOCOL);
}

Test(startup, refuses_a_parameter_too_many)
{
    struct startup_param params[STARTUP_PARAMS_MAX + 1];
    for (size_t i = 0; i <= STARTUP_PARAMS_MAX; i++) {
        params[i] = (struct startup_param){SLICE("n"), SLICE("v")};
    }
    struct buf b = {0};
    struct startup s;
    front_put_startup(&b, params, STARTUP_PARAMS_MAX);
    cr_assert_eq(startup_read(buf_slice(&b), &s, NULL), ERR_NONE);
    b.n = 0;
    front_put_startup(&b, params, STARTUP_PARAMS_MAX + 1);
    cr_assert_eq(startup_read(buf_slice(&b), &s, NULL), ERR_PROTOCOL);
    buf_free(&b);
}

Test(front, query_is_one_text)
{
    struct buf b = {0};
    front_put_query(&b, SLICE("select 1"));
    struct front_query q;
    cr_assert_eq(front_read_query(only_message(&b, 'Q'), &q, NULL), ERR_NONE);
    cr_assert_slice(q.text, "select 1");
    cr_assert_eq(front_read_query(SLICE("select 1"), &q, NULL), ERR_PROTOCOL);
    cr_assert_eq(front_read_query(SLICE("select 1\0;\0"), &q, NULL), ERR_PROTOCOL);
    cr_assert_eq(front_read_query(slice_bytes(NULL, 0), &q, NULL), ERR_PROTOCOL);
    buf_free(&b);
}

Test(front, parse_carries_types)
{
    struct buf b = {0};
    front_put_parse(&b, "s1", SLICE("select $1"), (const uint32_t[]){23, 0}, 2);
    struct front_parse p;
    struct slice body = only_message(&b, 'P');
    cr_assert_eq(front_read_parse(body, &p, NULL), ERR_NONE);
    cr_assert_slice(p.name, "s1");
    cr_assert_slice(p.text, "select $1");
    cr_assert_eq(p.types_count, 2);
    cr_assert_eq(be32_at(p.types), 23);
    for (size_t n = 0; n < body.n; n++) {
        cr_assert_eq(front_read_parse(slice_bytes(body.p, n), &p, NULL), ERR_PROTOCOL);
    }
    buf_free(&b);
}

static const char bind_body[] = "portal\0stmt\0"
                                "\0\2\0\0\0\1"
                                "\0\2\0\0\0\2ab\xff\xff\xff\xff"
                                "\0\1\0\1";
#define BIND_BODY ((struct slice){(const uint8_t *)bind_body, sizeof(bind_body) - 1})

Test(front, bind_gives_values_with_their_formats)
{
    struct front_bind bind;
    cr_assert_eq(front_read_bind(BIND_BODY, &bind, NULL), ERR_NONE);
    cr_assert_slice(bind.portal, "portal");
    cr_assert_slice(bind.statement, "stmt");
    cr_assert_eq(bind.values_count, 2);
    struct front_value values[2];
    front_bind_values(&bind, values);
    cr_assert_slice(values[0].bytes, "ab");
    cr_assert_eq(values[0].format, 0);
    cr_assert_eq(values[0].is_null, 0);
    cr_assert_eq(values[1].is_null, 1);
    cr_assert_eq(values[1].format, 1);
    cr_assert_eq(bind.results_count, 1);
    cr_assert_eq(be16_at(bind.results), 1);
}

Test(front, bind_goes_on_under_another_name)
{
    struct front_bind bind;
    cr_assert_eq(front_read_bind(BIND_BODY, &bind, NULL), ERR_NONE);
    struct buf tail = {0};
    struct buf whole = {0};
    front_put_bind_tail(&tail, "portal", "stmt", bind.tail);
    front_put_bind(&whole, "portal", "stmt", &bind, (const int16_t[]){1}, 1);
    cr_assert(slice_eq(only_message(&tail, 'B'), BIND_BODY));
    cr_assert(slice_eq(only_message(&whole, 'B'), BIND_BODY));
    whole.n = 0;
    front_put_bind(&whole, "", "other", &bind, NULL, 0);
    struct front_bind again;
    cr_assert_eq(front_read_bind(only_message(&whole, 'B'), &again, NULL), ERR_NONE);
    cr_assert_slice(again.statement, "other");
    cr_assert_eq(again.results_count, 0);
    cr_assert(slice_eq(again.values, bind.values));
    buf_free(&tail);
    buf_free(&whole);
}

Test(front, bind_cut_anywhere_is_refused)
{
    struct front_bind bind;
    for (size_t n = 0; n < BIND_BODY.n; n++) {
        cr_assert_eq(front_read_bind(slice_bytes(bind_body, n), &bind, NULL), ERR_PROTOCOL);
    }
    struct note note;
    cr_assert_eq(front_read_bind(SLICE("\0\0\0\2\0\0\0\0\0\1\0\0\0\0\0\0"), &bind, &note),
                 ERR_PROTOCOL);
    cr_assert_str_eq(note.text, "bind message has 2 parameter formats but 1 parameters");
    /* a value of length -2, and one that says more than there is */
    cr_assert_eq(front_read_bind(SLICE("\0\0\0\0\0\1\xff\xff\xff\xfe\0\0"), &bind, NULL),
                 ERR_PROTOCOL);
    cr_assert_eq(front_read_bind(SLICE("\0\0\0\0\0\1\x7f\xff\xff\xff\0\0"), &bind, NULL),
                 ERR_PROTOCOL);
    cr_assert_eq(front_read_bind(SLICE("\0\0\0\0\0\0\0\0x"), &bind, NULL), ERR_PROTOCOL);
}

Test(front, describe_close_and_execute)
{
    struct buf b = {0};
    struct front_describe d;
    front_put_describe(&b, 'P', "c1");
    cr_assert_eq(front_read_describe(only_message(&b, 'D'), &d, NULL), ERR_NONE);
    cr_assert_eq(d.kind, 'P');
    cr_assert_slice(d.name, "c1");
    b.n = 0;
    front_put_close(&b, 'S', "");
    cr_assert_eq(front_read_describe(only_message(&b, 'C'), &d, NULL), ERR_NONE);
    cr_assert_eq(d.kind, 'S');
    cr_assert_eq(front_read_describe(SLICE("Xc1\0"), &d, NULL), ERR_PROTOCOL);
    struct front_execute x;
    b.n = 0;
    front_put_execute(&b, "c1", 100);
    cr_assert_eq(front_read_execute(only_message(&b, 'E'), &x, NULL), ERR_NONE);
    cr_assert_eq(x.rows_max, 100);
    cr_assert_eq(front_read_execute(SLICE("\0\xff\xff\xff\xff"), &x, NULL), ERR_NONE);
    cr_assert_eq(x.rows_max, 0);
    cr_assert_eq(front_read_execute(SLICE("\0\0\0\0"), &x, NULL), ERR_PROTOCOL);
    buf_free(&b);
}

Test(front, passwords_and_sasl)
{
    struct buf b = {0};
    struct slice text;
    struct slice data;
    front_put_password(&b, "secret");
    cr_assert_eq(front_read_password(only_message(&b, 'p'), &text, NULL), ERR_NONE);
    cr_assert_slice(text, "secret");
    cr_assert_eq(front_read_password(SLICE("a\0b\0"), &text, NULL), ERR_PROTOCOL);
    b.n = 0;
    front_put_sasl_initial(&b, "SCRAM-SHA-256", SLICE("n,,n=,r=x"));
    cr_assert_eq(front_read_sasl_initial(only_message(&b, 'p'), &text, &data, NULL), ERR_NONE);
    cr_assert_slice(text, "SCRAM-SHA-256");
    cr_assert_slice(data, "n,,n=,r=x");
    b.n = 0;
    front_put_sasl_initial(&b, "X", slice_bytes(NULL, 0));
    cr_assert_eq(front_read_sasl_initial(only_message(&b, 'p'), &text, &data, NULL), ERR_NONE);
    cr_assert(data.p == NULL);
    cr_assert_eq(front_read_sasl_initial(SLICE("X\0\0\0\0\5abc"), &text, &data, NULL),
                 ERR_PROTOCOL);
    buf_free(&b);
}

Test(front, copy_and_the_messages_without_a_body)
{
    struct buf b = {0};
    front_put_sync(&b);
    front_put_flush(&b);
    front_put_terminate(&b);
    front_put_copy_done(&b);
    cr_assert(slice_eq(buf_slice(&b), SLICE("S\0\0\0\4H\0\0\0\4X\0\0\0\4c\0\0\0\4")));
    b.n = 0;
    front_put_copy_data(&b, SLICE("1\t2\n"));
    cr_assert_slice(only_message(&b, 'd'), "1\t2\n");
    b.n = 0;
    front_put_copy_fail(&b, "no");
    cr_assert(slice_eq(only_message(&b, 'f'), SLICE("no\0")));
    b.n = 0;
    front_put_sasl_response(&b, SLICE("c=biws"));
    cr_assert_slice(only_message(&b, 'p'), "c=biws");
    buf_free(&b);
}

Test(back, login_messages)
{
    struct buf b = {0};
    struct back_auth auth;
    back_put_auth(&b, AUTH_MD5, SLICE("salt"));
    cr_assert_eq(back_read_auth(only_message(&b, 'R'), &auth, NULL), ERR_NONE);
    cr_assert_eq(auth.kind, AUTH_MD5);
    cr_assert_slice(auth.data, "salt");
    cr_assert_eq(back_read_auth(SLICE("\0\0\0\5sal"), &auth, NULL), ERR_SHARD_PROTOCOL);
    struct slice name;
    struct slice value;
    b.n = 0;
    back_put_parameter_status(&b, SLICE("TimeZone"), SLICE("UTC"));
    cr_assert_eq(back_read_parameter_status(only_message(&b, 'S'), &name, &value, NULL), ERR_NONE);
    cr_assert_slice(name, "TimeZone");
    cr_assert_slice(value, "UTC");
    uint32_t pid;
    b.n = 0;
    back_put_key_data(&b, 7, SLICE("12345678"));
    cr_assert_eq(back_read_key_data(only_message(&b, 'K'), &pid, &value, NULL), ERR_NONE);
    cr_assert_eq(pid, 7);
    cr_assert_slice(value, "12345678");
    cr_assert_eq(back_read_key_data(SLICE("\0\0\0\7"
                                          "123"),
                                    &pid, &value, NULL),
                 ERR_SHARD_PROTOCOL);
    b.n = 0;
    back_put_negotiate(&b, PROTOCOL_3_0, (const struct slice[]){SLICE("_pq_.x")}, 1);
    cr_assert(slice_eq(only_message(&b, 'v'), SLICE("\0\3\0\0\0\0\0\1_pq_.x\0")));
    buf_free(&b);
}

Test(back, every_error_field_survives)
{
    struct back_error e;
    struct slice *fields = (struct slice *)&e;
    enum {
        FIELDS = sizeof(e) / sizeof(struct slice)
    };
    char texts[FIELDS][8];
    for (size_t i = 0; i < FIELDS; i++) {
        (void)snprintf(texts[i], sizeof(texts[i]), "f%zu", i);
        fields[i] = slice_of(texts[i]);
    }
    struct buf b = {0};
    back_put_error(&b, &e);
    struct back_error out;
    cr_assert_eq(back_read_error(only_message(&b, 'E'), &out, NULL), ERR_NONE);
    for (size_t i = 0; i < FIELDS; i++) {
        cr_assert(slice_eq(((struct slice *)&out)[i], fields[i]), "field %zu", i);
    }
    buf_free(&b);
}

Test(back, a_failure_becomes_an_error_with_its_hint)
{
    struct note note;
    (void)note_set(&note, ERR_UNSUPPORTED, "window functions");
    note_hint(&note, "filter by the key");
    struct buf b = {0};
    back_put_failure(&b, "ERROR", ERR_UNSUPPORTED, &note);
    struct back_error e;
    cr_assert_eq(back_read_error(only_message(&b, 'E'), &e, NULL), ERR_NONE);
    cr_assert_slice(e.severity_raw, "ERROR");
    cr_assert_slice(e.code, "0A000");
    cr_assert_slice(e.message, "window functions");
    cr_assert_slice(e.hint, "filter by the key");
    cr_assert(e.detail.p == NULL);
    b.n = 0;
    back_put_failure(&b, "FATAL", ERR_SHUTDOWN, NULL);
    cr_assert_eq(back_read_error(only_message(&b, 'E'), &e, NULL), ERR_NONE);
    cr_assert_slice(e.message, err_text(ERR_SHUTDOWN));
    buf_free(&b);
}

Test(back, errors_without_an_end_are_refused_and_new_fields_ignored)
{
    struct back_error e;
    cr_assert_eq(back_read_error(SLICE("Mtext\0"), &e, NULL), ERR_SHARD_PROTOCOL);
    cr_assert_eq(back_read_error(SLICE("Mtext"), &e, NULL), ERR_SHARD_PROTOCOL);
    cr_assert_eq(back_read_error(SLICE("Mtext\0\0x"), &e, NULL), ERR_SHARD_PROTOCOL);
    cr_assert_eq(back_read_error(SLICE("Znew\0Mtext\0\0"), &e, NULL), ERR_NONE);
    cr_assert_slice(e.message, "text");
}

Test(back, complete_counts_rows)
{
    static const struct {
        const char *tag;
        uint64_t rows;
    } cases[] = {{"INSERT 0 5", 5},
                 {"SELECT 12", 12},
                 {"CREATE TABLE", 0},
                 {"UPDATE 0", 0},
                 {"7", 0},
                 {"SELECT 99999999999999999999999", UINT64_MAX},
                 {"", 0}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf b = {0};
        struct slice tag;
        uint64_t rows;
        back_put_complete(&b, cases[i].tag);
        cr_assert_eq(back_read_complete(only_message(&b, 'C'), &tag, &rows, NULL), ERR_NONE);
        cr_assert_slice(tag, cases[i].tag);
        cr_assert_eq(rows, cases[i].rows);
        buf_free(&b);
    }
}

Test(back, ready_says_how_the_transaction_is)
{
    struct buf b = {0};
    back_put_ready(&b, 'T');
    cr_assert(slice_eq(only_message(&b, 'Z'), SLICE("T")));
    buf_free(&b);
}

Test(back, columns_and_rows_are_walked)
{
    struct back_column columns[2] = {
        {SLICE("id"), 16384, 1, 23, 4, -1, 1},
        {SLICE("name"), 0, 0, 1043, -1, 36, 0},
    };
    struct buf b = {0};
    back_put_columns(&b, columns, 2);
    struct back_walk walk;
    struct back_column c;
    cr_assert_eq(back_walk_columns(only_message(&b, 'T'), &walk, NULL), ERR_NONE);
    for (size_t i = 0; i < 2; i++) {
        cr_assert_eq(back_next_column(&walk, &c), 1);
        cr_assert(slice_eq(c.name, columns[i].name));
        cr_assert_eq(c.table_oid, columns[i].table_oid);
        cr_assert_eq(c.column, columns[i].column);
        cr_assert_eq(c.type_oid, columns[i].type_oid);
        cr_assert_eq(c.type_size, columns[i].type_size);
        cr_assert_eq(c.type_mod, columns[i].type_mod);
        cr_assert_eq(c.format, columns[i].format);
    }
    cr_assert_eq(back_next_column(&walk, &c), 0);
    b.n = 0;
    back_put_text_row(&b, (const char *const[]){"a", NULL, ""}, 3);
    struct slice v;
    cr_assert_eq(back_walk_row(only_message(&b, 'D'), &walk, NULL), ERR_NONE);
    cr_assert_eq(back_next_value(&walk, &v), 1);
    cr_assert_slice(v, "a");
    cr_assert_eq(back_next_value(&walk, &v), 1);
    cr_assert(v.p == NULL);
    cr_assert_eq(back_next_value(&walk, &v), 1);
    cr_assert(v.p != NULL && v.n == 0);
    cr_assert_eq(back_next_value(&walk, &v), 0);
    b.n = 0;
    back_put_text_columns(&b, (const char *const[]){"a"}, 1);
    cr_assert_eq(back_walk_columns(only_message(&b, 'T'), &walk, NULL), ERR_NONE);
    cr_assert_eq(back_next_column(&walk, &c), 1);
    cr_assert_eq(c.type_oid, 25);
    cr_assert_eq(c.type_size, -1);
    cr_assert_eq(c.type_mod, -1);
    buf_free(&b);
}

Test(back, rows_cut_short_or_too_long_end_with_minus_one)
{
    struct back_walk walk;
    struct slice v;
    cr_assert_eq(back_walk_row(SLICE("\0"), &walk, NULL), ERR_SHARD_PROTOCOL);
    cr_assert_eq(back_walk_row(SLICE("\0\1\0\0\0\2a"), &walk, NULL), ERR_NONE);
    cr_assert_eq(back_next_value(&walk, &v), -1);
    cr_assert_eq(back_walk_row(SLICE("\0\1\0\0\0\1abc"), &walk, NULL), ERR_NONE);
    cr_assert_eq(back_next_value(&walk, &v), 1);
    cr_assert_eq(back_next_value(&walk, &v), -1);
}

Test(back, copy_and_parameter_descriptions)
{
    struct buf b = {0};
    back_put_copy(&b, 'G', 1, 3);
    cr_assert(slice_eq(only_message(&b, 'G'), SLICE("\1\0\3\0\1\0\1\0\1")));
    b.n = 0;
    back_put_parameters(&b, (const uint32_t[]){23, 25}, 2);
    cr_assert(slice_eq(only_message(&b, 't'), SLICE("\0\2\0\0\0\27\0\0\0\31")));
    buf_free(&b);
}

Test(back, messages_without_a_body)
{
    struct buf b = {0};
    for (const char *type = "123nsI"; *type != '\0'; type++) {
        b.n = 0;
        back_put_empty(&b, (uint8_t)*type);
        cr_assert_eq(only_message(&b, (uint8_t)*type).n, 0);
    }
    buf_free(&b);
}
