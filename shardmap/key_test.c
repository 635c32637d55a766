/*
 * Goal: keys are read and hashed as PostgreSQL does. Method: vectors taken from a PostgreSQL 15
 * server with hash<type>extended(v, 8816678312871386365) and satisfies_hash_partition(). The same
 * over hundreds of thousands of random values is regress/shardmap.
 */

#include <criterion/criterion.h>

#include "shardmap/key.h"

static struct key_value text(const char *s)
{
    return (struct key_value){.bytes = slice_of(s)};
}

static int64_t hash_text(uint32_t type, const char *s)
{
    uint64_t h = 0;
    struct key_value v = text(s);
    struct note note;
    cr_assert_eq(key_hash(type, &v, &h, &note), ERR_NONE, "%s: %s", s, note.text);
    return (int64_t)h;
}

static enum err read_text(uint32_t type, const char *s, int64_t *out, struct note *note)
{
    struct key_datum d;
    struct key_value v = text(s);
    enum err e = key_read(type, &v, &d, note);
    if (!e && out != NULL) {
        *out = d.number;
    }
    return e;
}

static int64_t number(uint32_t type, const char *s)
{
    int64_t v = 0;
    struct note note;
    cr_assert_eq(read_text(type, s, &v, &note), ERR_NONE, "%s: %s", s, note.text);
    return v;
}

static void refused(uint32_t type, const char *s)
{
    struct note note = {.text = ""};
    enum err e = read_text(type, s, NULL, &note);
    cr_assert(e == ERR_BAD_KEY || e == ERR_NUMERIC_RANGE || e == ERR_BAD_DATETIME ||
                  e == ERR_UNSUPPORTED,
              "accepted: %s", s);
    cr_assert_neq(note.text[0], 0);
}

Test(key, numbers_hash_as_on_the_server)
{
    cr_assert_eq(hash_text(KEY_INT8, "0"), -4403592609991167795);
    cr_assert_eq(hash_text(KEY_INT8, "1"), 5968994663651403477);
    cr_assert_eq(hash_text(KEY_INT8, "-1"), -5017072347659237694);
    cr_assert_eq(hash_text(KEY_INT8, "2147483648"), 4938542303000433043);
    cr_assert_eq(hash_text(KEY_INT8, "-2147483649"), -6050265599104649060);
    cr_assert_eq(hash_text(KEY_INT8, "9223372036854775807"), 4938542303000433043);
    cr_assert_eq(hash_text(KEY_INT8, "-9223372036854775808"), -6050265599104649060);
}

Test(key, every_width_of_a_number_hashes_alike)
{
    cr_assert_eq(hash_text(KEY_INT8, "42"), 7363975540656877951);
    cr_assert_eq(hash_text(KEY_INT4, "42"), 7363975540656877951);
    cr_assert_eq(hash_text(KEY_INT2, "42"), 7363975540656877951);
    static const uint8_t two[] = {0, 42}, four[] = {0, 0, 0, 42},
                         eight[] = {0, 0, 0, 0, 0, 0, 0, 42};
    const struct key_value values[] = {
        {slice_bytes(two, 2), KEY_INT2, 1},   {slice_bytes(four, 4), KEY_INT4, 1},
        {slice_bytes(eight, 8), KEY_INT8, 1}, {slice_bytes(two, 2), 0, 1},
        {slice_bytes(four, 4), 0, 1},         {slice_bytes(eight, 8), KEY_UNKNOWN, 1},
    };
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        uint64_t h = 0;
        cr_assert_eq(key_hash(KEY_INT4, &values[i], &h, NULL), ERR_NONE);
        cr_assert_eq((int64_t)h, 7363975540656877951);
    }
}

Test(key, text_hashes_as_on_the_server_at_every_tail_length)
{
    static const struct {
        const char *s;
        int64_t hash;
    } rows[] = {{"", -5700645584453517373},
                {"a", -6705225459120232837},
                {"abcdefg", -1516236981150442578},
                {"abcdefgh", -7754745184861941070},
                {"abcdefghi", -7860738947571725408},
                {"abcdefghijk", -2046435308545367432},
                {"abcdefghijkl", -7876791541613377658},
                {"abcdefghijklm", -6785754114725280077},
                {"zażółć gęślą jaźń", 4346544855734966130}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cr_assert_eq(hash_text(KEY_TEXT, rows[i].s), rows[i].hash, "%s", rows[i].s);
        cr_assert_eq(hash_text(KEY_VARCHAR, rows[i].s), rows[i].hash, "%s", rows[i].s);
    }
}

Test(key, uuid_hashes_alike_in_every_form)
{
    static const char *const forms[] = {
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
        "{a0eebc999c0b4ef8bb6d6bb9bd380a11}", "a0eebc999c0b4ef8bb6d6bb9bd380a11",
        "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11"};
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        cr_assert_eq(hash_text(KEY_UUID, forms[i]), 424513190990560493, "%s", forms[i]);
    }
}

Test(key, buckets_are_the_servers_partitions)
{
    uint32_t bucket;
    struct key_value one = text("42");
    cr_assert_eq(key_bucket((uint32_t[]){KEY_INT8}, &one, 1, &bucket, NULL), ERR_NONE);
    cr_assert_eq(bucket, 2658);
    struct key_value two[] = {text("42"), text("x")};
    cr_assert_eq(key_bucket((uint32_t[]){KEY_INT8, KEY_TEXT}, two, 2, &bucket, NULL), ERR_NONE);
    cr_assert_eq(bucket, 3905);
    struct key_value three[] = {text("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"), text("-7"), text("")};
    cr_assert_eq(key_bucket((uint32_t[]){KEY_UUID, KEY_INT4, KEY_TEXT}, three, 3, &bucket, NULL),
                 ERR_NONE);
    cr_assert_eq(bucket, 775);
}

Test(key, numbers_are_read_with_white_space_and_sign)
{
    cr_assert_eq(number(KEY_INT8, "  42 "), 42);
    cr_assert_eq(number(KEY_INT8, "+5"), 5);
    cr_assert_eq(number(KEY_INT4, "\t\n\v\f\r-007\n"), -7);
    static const char *const bad[] = {"",
                                      " ",
                                      "-",
                                      "+",
                                      "- 5",
                                      "5 5",
                                      "1.0",
                                      "1e3",
                                      "0x1",
                                      "1_0",
                                      "--5",
                                      "5abc",
                                      "\xC2\xA0"
                                      "5"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        refused(KEY_INT8, bad[i]);
    }
}

Test(key, a_number_out_of_the_columns_range_still_routes)
{
    cr_assert_eq(hash_text(KEY_INT2, "2147483648"), hash_text(KEY_INT8, "2147483648"));
    refused(KEY_INT2, "9223372036854775808");
    refused(KEY_INT8, "-9223372036854775809");
    refused(KEY_INT8, "100000000000000000000000");
}

Test(key, uuids_that_the_server_refuses_are_refused)
{
    static const char *const bad[] = {"",
                                      "{",
                                      "{}",
                                      "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1",
                                      "a0eebc999c0b4ef8bb6d6bb9bd380a11-",
                                      "-a0eebc999c0b4ef8bb6d6bb9bd380a11",
                                      "{a0eebc999c0b4ef8bb6d6bb9bd380a11",
                                      "a0eebc999c0b4ef8bb6d6bb9bd380a11}",
                                      " a0eebc999c0b4ef8bb6d6bb9bd380a11",
                                      "a0-eebc999c0b4ef8bb6d6bb9bd380a11",
                                      "a0eebc999c0b4ef8bb6d6bb9bd380a1g",
                                      "a0ee--bc999c0b4ef8bb6d6bb9bd380a11"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        refused(KEY_UUID, bad[i]);
    }
}

Test(key, dates_and_timestamps_count_from_2000)
{
    const int64_t day = INT64_C(86400000000);
    cr_assert_eq(number(KEY_DATE, "2000-01-01"), 0);
    cr_assert_eq(number(KEY_DATE, " 2000-3-1 "), 60);
    cr_assert_eq(number(KEY_DATE, "1999-12-31 23:59:59"), -1);
    cr_assert_eq(number(KEY_DATE, "4714-11-24 BC"), -2451545);
    cr_assert_eq(number(KEY_DATE, "5874897-12-31"), 2145031948);
    cr_assert_eq(number(KEY_DATE, "epoch"), -10957);
    cr_assert_eq(number(KEY_DATE, "infinity"), INT32_MAX);
    cr_assert_eq(number(KEY_DATE, "-Infinity"), INT32_MIN);
    cr_assert_eq(number(KEY_TIMESTAMP, "2000-01-02T00:00:00.000001"), day + 1);
    cr_assert_eq(number(KEY_TIMESTAMP, "1999-12-31 24:00"), 0);
    cr_assert_eq(number(KEY_TIMESTAMP, "2000-01-01 00:00:00+05"), 0);
    cr_assert_eq(number(KEY_TIMESTAMP, "2000-01-01 00:00:00.0000005"), 0);
    cr_assert_eq(number(KEY_TIMESTAMP, "2000-01-01 00:00:00.0000015"), 2);
    cr_assert_eq(number(KEY_TIMESTAMPTZ, "2000-01-01 05:30:00+05:30"), 0);
    cr_assert_eq(number(KEY_TIMESTAMPTZ, "1999-12-31 16:00:00-0800"), 0);
    cr_assert_eq(number(KEY_TIMESTAMPTZ, "2000-01-01 00:00Z"), 0);
    cr_assert_eq(number(KEY_TIMESTAMPTZ, "infinity"), INT64_MAX);
    cr_assert_eq(number(KEY_TIMESTAMPTZ, "-infinity"), INT64_MIN);
}

Test(key, times_that_depend_on_the_session_are_refused)
{
    static const char *const bad[] = {"today",
                                      "now",
                                      "01/02/2026",
                                      "1-2-2026",
                                      "26-01-02",
                                      "Jan 5 2026",
                                      "2026-02-29",
                                      "2026-13-01",
                                      "2026-00-10",
                                      "0000-01-01",
                                      "2026-01-01 25:00",
                                      "2026-01-01 24:00:00.1",
                                      "2026-01-01 10:00 PM",
                                      "2026-01-01 10:00 CET",
                                      "2026-01-01x",
                                      "2026-01-01T",
                                      ""};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        refused(KEY_TIMESTAMP, bad[i]);
        refused(KEY_TIMESTAMPTZ, bad[i]);
        refused(KEY_DATE, bad[i]);
    }
    refused(KEY_TIMESTAMPTZ, "2026-01-01 10:00:00");
    refused(KEY_TIMESTAMPTZ, "2026-01-01");
    refused(KEY_TIMESTAMP, "294277-01-01 00:00:00");
    refused(KEY_DATE, "5874898-01-01");
    struct note note;
    cr_assert_eq(read_text(KEY_DATE, "today", NULL, &note), ERR_UNSUPPORTED);
    cr_assert_str_eq(note.text, "\"today\" is not a sharding key of type date in ISO form");
    cr_assert_neq(strstr(note.hint, "ISO"), NULL);
    cr_assert_eq(read_text(KEY_DATE, "01.04.2026", NULL, &note), ERR_UNSUPPORTED);
    cr_assert_eq(read_text(KEY_DATE, "never", NULL, &note), ERR_BAD_DATETIME);
    cr_assert_str_eq(note.text, "invalid input syntax for type date: \"never\"");
    cr_assert_eq(read_text(KEY_INT8, "99999999999999999999", NULL, &note), ERR_NUMERIC_RANGE);
}

Test(key, null_is_its_own_failure)
{
    uint64_t h;
    struct key_value null = {.bytes = {NULL, 0}};
    cr_assert_eq(key_hash(KEY_INT8, &null, &h, NULL), ERR_NULL_KEY);
    cr_assert_eq(key_hash(KEY_TEXT, &null, &h, NULL), ERR_NULL_KEY);
}

Test(key, binary_of_a_wrong_size_or_type_is_refused)
{
    static const uint8_t bytes[16] = {0};
    static const struct {
        uint32_t column, type;
        size_t n;
    } rows[] = {{KEY_INT8, KEY_INT4, 8},
                {KEY_INT8, KEY_INT8, 4},
                {KEY_INT4, 0, 3},
                {KEY_INT4, 0, 0},
                {KEY_UUID, KEY_UUID, 15},
                {KEY_DATE, KEY_DATE, 8},
                {KEY_INT8, 1700, 8},
                {KEY_INT8, KEY_TEXT, 8},
                {KEY_TEXT, KEY_INT8, 8},
                {KEY_DATE, KEY_TIMESTAMP, 8},
                {KEY_TIMESTAMP, KEY_DATE, 4},
                {KEY_TIMESTAMP, 0, 8},
                {KEY_TIMESTAMPTZ, 0, 8},
                {KEY_TIMESTAMPTZ, KEY_TIMESTAMP, 8}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct key_datum d;
        struct key_value v = {slice_bytes(bytes, rows[i].n), rows[i].type, 1};
        cr_assert_eq(key_read(rows[i].column, &v, &d, NULL), ERR_BAD_KEY, "row %zu", i);
    }
}

Test(key, types_agree_only_where_equality_means_equal_hashes)
{
    cr_assert(key_types_agree(KEY_INT4, KEY_INT8));
    cr_assert(key_types_agree(KEY_INT8, KEY_INT2));
    cr_assert(key_types_agree(KEY_TEXT, KEY_VARCHAR));
    cr_assert(key_types_agree(KEY_UUID, KEY_UNKNOWN));
    cr_assert(key_types_agree(KEY_DATE, 0));
    cr_assert_not(key_types_agree(KEY_INT8, 1700)); /* numeric */
    cr_assert_not(key_types_agree(KEY_INT8, 701));  /* float8 */
    cr_assert_not(key_types_agree(KEY_TEXT, 1042)); /* bpchar */
    cr_assert_not(key_types_agree(KEY_TEXT, 19));   /* name */
    cr_assert_not(key_types_agree(KEY_DATE, KEY_TIMESTAMP));
    cr_assert_not(key_types_agree(KEY_TIMESTAMP, KEY_TIMESTAMPTZ));
    cr_assert_not(key_types_agree(1700, 1700));
    cr_assert_not(key_type_hashable(KEY_DATE));
    cr_assert_not(key_type_hashable(0));
    cr_assert(key_type_orderable(KEY_DATE));
}

Test(key, order_is_by_value_and_text_by_bytes)
{
    static const struct {
        uint32_t type;
        const char *low, *high;
    } rows[] = {
        {KEY_INT8, "-10", "9"},
        {KEY_TEXT, "", "a"},
        {KEY_TEXT, "B", "a"},
        {KEY_TEXT, "a", "aa"},
        {KEY_TEXT, "z", "ż"},
        {KEY_DATE, "0001-01-01 BC", "0001-01-01"},
        {KEY_DATE, "-infinity", "4714-11-24 BC"},
        {KEY_TIMESTAMP, "9999-12-31 23:59:59", "infinity"},
        {KEY_TIMESTAMPTZ, "2026-01-01 00:00+02", "2026-01-01 00:00+01"},
        {KEY_UUID, "00000000-0000-0000-0000-0000000000ff", "f0000000-0000-0000-0000-000000000000"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int order = 9;
        struct key_value low = text(rows[i].low), high = text(rows[i].high);
        cr_assert_eq(key_compare(rows[i].type, &low, &high, &order, NULL), ERR_NONE);
        cr_assert_eq(order, -1, "%s", rows[i].low);
        cr_assert_eq(key_compare(rows[i].type, &high, &low, &order, NULL), ERR_NONE);
        cr_assert_eq(order, 1, "%s", rows[i].low);
        cr_assert_eq(key_compare(rows[i].type, &low, &low, &order, NULL), ERR_NONE);
        cr_assert_eq(order, 0, "%s", rows[i].low);
    }
}

Test(key, a_long_bad_value_is_quoted_to_a_whole_character)
{
    char s[201] = "";
    struct note note;
    for (size_t i = 0; i < 199; i += 2) {
        memcpy(s + i, "ż", 2);
    }
    cr_assert_eq(read_text(KEY_INT8, s, NULL, &note), ERR_BAD_KEY);
    const char *dots = strstr(note.text, "...\"");
    cr_assert_neq(dots, NULL);
    cr_assert_eq((uint8_t)dots[-1], 0xBC);
    cr_assert_lt(strlen(note.text), 120);
}
