/*
 * Goal: values in binary are ordered as PostgreSQL's btree operators order them. Method: for each
 * type a list of values in hexadecimal, as a PostgreSQL 15 server sent them, in the order in which
 * it sorted them; every pair is compared. What it calls equal stands in one line with "=".
 */

#include <stdlib.h>

#include <criterion/criterion.h>

#include "planner/combine_inner.h"

struct rising {
    uint32_t type;
    const char *values[12]; /* rising; behind "=" the same value as the one before */
};

static const struct rising lists[] = {
    {OID_CHAR, {"00", "30", "5a", "7e", "ff"}},
    {OID_MONEY, {"fffffffffffffb2e", "0000000000000000", "00000000000004d2", "7fffffffffffffff"}},
    {OID_INTERVAL,
     {"000000000000000000000000ffffffff", /* -1 mon */
      "0000000000000000fffffffe00000000", /* -2 days */
      "00000000000000000000000000000000",
      "0000000000000000ffffffe200000001=", "000000141dd760000000000000000000", /* 24 hours */
      "00000000000000000000000100000000=", "00000000000000000000000000000001", /* 1 mon */
      "00000000000000000000001e00000000=", "0000000000000000000000000000000c"}},
    {OID_TIMETZ,
     {"0000000a0eebb000ffff3b50", /* 12:00:00+13:59 is 22:01 of the day before */
      "0000000a0eebb00000000000", "0000000aead9a400fffff1f0", "0000000c94b8100000000000"}},
    {OID_BIT, {"0000000600", "0000000628", "00000006a8", "00000006ac", "00000006fc"}},
    {OID_VARBIT, {"00000000", "0000000240", "0000000180", "0000000280", "0000000480"}},
    {OID_INT4_ARRAY,
     {"000000000000000000000017",
      "000000010000000000000017000000020000000000000004000000010000000400000002",
      "000000010000000000000017000000020000000100000004000000010000000400000002",
      "0000000100000000000000170000000300000001000000040000000100000004000000020000000400000003",
      "0000000100000001000000170000000100000001ffffffff"}},
    {3904, /* int4range: empty, (,5), [1,5), [1,6), [1,), [2,5) */
     {"01", "080000000400000005", "0200000004000000010000000400000005",
      "0200000004000000010000000400000006", "120000000400000001",
      "0200000004000000020000000400000005"}},
    {3906, /* numrange: (,), [1,5), [1,5], (1,5] */
     {"18", "020000000a000100000000000000010000000a00010000000000000005",
      "060000000a000100000000000000010000000a00010000000000000005",
      "040000000a000100000000000000010000000a00010000000000000005"}},
    {4451, /* int4multirange: {}, {[1,2)}, {[1,2),[5,9)}, {[1,3)} */
     {"00000000", "00000001000000110200000004000000010000000400000002",
      "00000002000000110200000004000000010000000400000002000000110200000004000000050000000400000009",
      "00000001000000110200000004000000010000000400000003"}},
    {OID_RECORD, /* (1,NULL) is behind (1,'b') */
     {"00000002000000170000000400000001000000190000000161",
      "00000002000000170000000400000001000000190000000162",
      "0000000200000017000000040000000100000019ffffffff",
      "0000000200000017ffffffff00000019ffffffff"}}};

static size_t read_hex(const char *text, uint8_t *out)
{
    size_t n = 0;
    for (; text[0] != 0 && text[0] != '='; text += 2) {
        char digits[3] = {text[0], text[1], 0};
        out[n++] = (uint8_t)strtoul(digits, NULL, 16);
    }
    return n;
}

/* Its place in the order: equal ones have the same. */
static int place(const struct rising *l, size_t at)
{
    int place = 0;
    for (size_t i = 1; i <= at; i++) {
        place += strchr(l->values[i], '=') == NULL;
    }
    return place;
}

static void compare_all(const struct rising *l)
{
    uint8_t a[128], b[128];
    struct note note = {0};
    for (size_t i = 0; i < 12 && l->values[i] != NULL; i++) {
        for (size_t k = 0; k < 12 && l->values[k] != NULL; k++) {
            int order = 99, want = (place(l, i) > place(l, k)) - (place(l, i) < place(l, k));
            size_t n = read_hex(l->values[i], a), m = read_hex(l->values[k], b);
            enum err e =
                combine_order_binary(l->type, slice_bytes(a, n), slice_bytes(b, m), &order, &note);
            cr_assert_eq(e, ERR_NONE, "%s", note.text);
            cr_assert_eq((order > 0) - (order < 0), want, "type %u: %s against %s", l->type,
                         l->values[i], l->values[k]);
        }
    }
}

Test(combine_order, every_pair_is_as_the_server_has_it)
{
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        compare_all(&lists[i]);
    }
}

Test(combine_order, networks_are_ordered_by_what_their_masks_show_first)
{
    static const struct rising inet = {
        OID_INET,
        {"02100004c0a80000",                                         /* 192.168.0.0/16 */
         "02180004c0a80001", "02180004c0a800ff", "02200004c0a80001", /* 192.168.0.1 */
         "030a0010fe800000000000000000000000000000", "03800010fe800000000000000000000000000001"}};
    compare_all(&inet);
}

Test(combine_order, broken_values_are_refused)
{
    static const struct {
        uint32_t type;
        const char *value;
    } broken[] = {{OID_INTERVAL, "00"},
                  {OID_INET, "02200004c0a8"},
                  {OID_INET, "02ff0004c0a80001"},
                  {OID_INT4_ARRAY, "0000000100000000000000177fffffff00000001"},
                  {OID_INT4_ARRAY, "00000001000000000000001700000001000000010000ffff"},
                  {3904, ""},
                  {3904, "02000000040000"},
                  {4451, "0000000100000011"},
                  {OID_RECORD, "0000000100000017"},
                  {OID_BIT, "0000"}};
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        uint8_t bytes[64];
        struct note note;
        int order;
        struct slice v = slice_bytes(bytes, read_hex(broken[i].value, bytes));
        cr_assert_eq(combine_order_binary(broken[i].type, v, v, &order, &note), ERR_SHARD_PROTOCOL,
                     "%s", broken[i].value);
    }
}
