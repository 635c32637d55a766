/* Frames of an online restart: what was written is read back, and nothing else is taken. */

#include <string.h>
#include <sys/socket.h>

#include <criterion/criterion.h>

#include "proxy/control/handover.h"

static struct buf frame;
static struct note note;

static struct slice body_of(void)
{
    return slice_from(buf_slice(&frame), HANDOVER_HEADER_BYTES);
}

static void put(enum handover_tag tag, const void *p, size_t n)
{
    handover_field(&frame, tag, slice_bytes(p, n));
}

static const uint8_t address[16] = {AF_INET};
static const struct handover_numbers numbers = {.pid = 0x01020304,
                                                .protocol = 3 << 16,
                                                .connect_wall_us = 0x0102030405060708,
                                                .entrance = {1, 2, 3, 4}};

static void put_client(void)
{
    frame.n = 0;
    size_t at = handover_begin(&frame, HANDOVER_CLIENT);
    put(FIELD_USER, "app", 3);
    put(FIELD_DATABASE, "plain", 5);
    handover_put_numbers(&frame, &numbers);
    put(FIELD_KEY, "1234", 4);
    put(FIELD_PEER, address, sizeof(address));
    put(FIELD_LOCAL, address, sizeof(address));
    put(FIELD_VAR, "work_mem\0'1MB'", 15);
    put(FIELD_STATEMENT, "s\0\0\0\0\1\0\0\0\27SELECT $1", 19);
    handover_end(&frame, at);
}

Test(handover, a_client_is_read_back_as_it_was)
{
    put_client();
    struct handover_numbers got = {0};
    struct handover_statement st;
    cr_expect_eq(handover_length(frame.p), frame.n);
    cr_assert_eq(handover_check(HANDOVER_CLIENT, body_of(), &note), ERR_NONE, "%s", note.text);
    cr_expect(slice_is(handover_find(body_of(), FIELD_DATABASE), "plain"));
    cr_expect_null(handover_find(body_of(), FIELD_INPUT).p);
    handover_get_numbers(handover_find(body_of(), FIELD_NUMBERS), &got);
    cr_expect_eq(memcmp(&got, &numbers, sizeof(got)), 0);
    cr_assert_eq(handover_statement(handover_find(body_of(), FIELD_STATEMENT), &st), 1);
    cr_expect_str_eq(st.name, "s");
    cr_expect_eq(st.types_count, 1);
    cr_expect_eq(st.types[3], 23);
    cr_expect(slice_is(st.text, "SELECT $1"));
    buf_free(&frame);
}

Test(handover, every_shorter_body_is_refused)
{
    put_client();
    struct slice body = body_of();
    for (size_t i = 0; i + 24 + 20 < body.n; i++) { /* in front of the settings all are needed */
        cr_expect_eq(handover_check(HANDOVER_CLIENT, slice_bytes(body.p, i), &note), ERR_PROTOCOL);
    }
    cr_expect_eq(handover_check(HANDOVER_CLIENT, slice_bytes(body.p, body.n - 1), &note),
                 ERR_PROTOCOL);
    buf_free(&frame);
}

Test(handover, what_is_not_known_or_comes_twice_is_refused)
{
    static const struct {
        enum handover_tag tag;
        const char *p;
        size_t n;
    } rows[] = {
        {(enum handover_tag)'?', "x", 1},
        {FIELD_USER, "bob", 3},
        {FIELD_VAR, "work_mem", 8},
        {FIELD_VAR, "work_mem\0'1", 11},
        {FIELD_STATEMENT, "s\0\0\0\0\2abcd", 10},
        {FIELD_STATEMENT, "s", 1},
        {FIELD_APPLICATION, "a\0b", 3},
        {FIELD_CLIENT_KEY, "x", 1},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        put_client();
        put(rows[i].tag, rows[i].p, rows[i].n);
        cr_expect_eq(handover_check(HANDOVER_CLIENT, body_of(), &note), ERR_PROTOCOL, "row %zu", i);
    }
    cr_expect_eq(handover_check(HANDOVER_READY, body_of(), &note), ERR_PROTOCOL);
    buf_free(&frame);
}

Test(handover, a_header_with_a_strange_length_or_kind_is_none)
{
    static const uint8_t good[] = {0, 0, 0, 5, 'R'};
    static const uint8_t kind[] = {0, 0, 0, 5, 'Z'};
    static const uint8_t none[] = {0, 0, 0, 5, 0};
    static const uint8_t small[] = {0, 0, 0, 4, 'R'};
    static const uint8_t big[] = {1, 0, 0, 1, 'R'};
    cr_expect_eq(handover_length(good), 5);
    cr_expect_eq(handover_length(kind), 0);
    cr_expect_eq(handover_length(none), 0);
    cr_expect_eq(handover_length(small), 0);
    cr_expect_eq(handover_length(big), 0);
}
