/*
 * Goal: OIDs of a shard become the home shard's and back, wherever they stand in values. Method:
 * two lists of types by hand and values as PostgreSQL's send functions make them; a value turned
 * there and back is the same; broken values are left alone (typemap_fuzz.c has many more).
 */

#include <string.h>

#include <criterion/criterion.h>

#include "planner/typemap.h"

/* oid|schema|name|kind|inner|table */
static const char *const home_types[] = {
    "16400|public|mood|e|0|0",      "16401|public|mood[]|a|16400|0",
    "16410|public|place|c|0|16409", "16411|public|place[]|a|16410|0",
    "16420|public|nick|d|25|0",     "16421|public|moods|d|16401|0",
    "16430|public|span|r|16410|0",  "16431|public|spans|m|16430|0",
    "16440|public|only_here|e|0|0"};
static const char *const shard_types[] = {
    "17010|public|place|c|0|17009",  "17011|public|place[]|a|17010|0",
    "17040|other|mood|e|0|0",        "17100|public|mood|e|0|0",
    "17101|public|mood[]|a|17100|0", "17120|public|nick|d|25|0",
    "17121|public|moods|d|17101|0",  "17130|public|span|r|17010|0",
    "17131|public|spans|m|17130|0"};

static struct typelist *list_of(const char *const *rows, size_t count)
{
    struct typelist *l = typelist_new();
    struct note note;
    for (size_t i = 0; i < count; i++) {
        struct slice values[6];
        const char *at = rows[i];
        for (size_t k = 0; k < 6; k++) {
            size_t n = strcspn(at, "|");
            values[k] = slice_bytes(at, n);
            at += n + (at[n] == '|');
        }
        cr_assert_eq(typelist_row(l, values, 6, &note), ERR_NONE);
    }
    return l;
}

#define LIST(rows) list_of(rows, sizeof(rows) / sizeof((rows)[0]))

/* Shards: home, another one, one like home, one that could not be read. */
static struct typemap *map_of(void)
{
    struct typelist *lists[4] = {LIST(home_types), LIST(shard_types), LIST(home_types), NULL};
    struct typemap *m = typemap_new(lists, 4);
    for (size_t i = 0; i < 4; i++) {
        typelist_unref(lists[i]);
    }
    return m;
}

Test(typemap, types_are_known_by_schema_and_name)
{
    struct typemap *m = map_of();
    cr_assert(!typemap_differs(m, 0));
    cr_assert(typemap_differs(m, 1));
    cr_assert(!typemap_differs(m, 2), "what is equal everywhere costs nothing");
    cr_assert(typemap_differs(m, 3));
    cr_assert(!typemap_differs(NULL, 1));
    cr_assert_eq(typemap_to_home(m, 1, 17100), 16400);
    cr_assert_eq(typemap_to_home(m, 1, 17101), 16401);
    cr_assert_eq(typemap_to_home(m, 1, 17040), TYPEMAP_UNKNOWN, "mood of another schema");
    cr_assert_eq(typemap_to_home(m, 1, 23), 23);
    cr_assert_eq(typemap_to_home(m, 2, 16400), 16400);
    cr_assert_eq(typemap_to_home(m, 3, 16400), TYPEMAP_UNKNOWN);
    cr_assert_eq(typemap_to_shard(m, 1, 16400), 17100);
    cr_assert_eq(typemap_to_shard(m, 1, 16440), 0, "the shard has no such type");
    cr_assert_eq(typemap_table_to_home(m, 1, 17009), 16409);
    cr_assert_eq(typemap_table_to_home(m, 1, 1259), 1259);
    typemap_unref(m);
}

Test(typemap, a_change_on_one_shard_makes_another_map)
{
    struct typelist *lists[2] = {LIST(home_types), LIST(shard_types)};
    struct typemap *a = typemap_new(lists, 2), *b = typemap_new(lists, 2);
    cr_assert(typemap_same(a, b));
    typelist_unref(lists[1]);
    lists[1] = list_of(shard_types, 8);
    struct typemap *c = typemap_new(lists, 2);
    cr_assert(!typemap_same(a, c));
    cr_assert(!typemap_same(a, NULL));
    cr_assert(typelist_same(typemap_list(a, 0), typemap_list(c, 0)));
    typelist_unref(lists[0]);
    typelist_unref(lists[1]);
    typemap_unref(a);
    typemap_unref(b);
    typemap_unref(c);
}

Test(typemap, arrays_rows_and_ranges_of_them_hold_oids)
{
    struct typemap *m = map_of();
    static const uint32_t yes[] = {16401, 16410, 16411, 16421, 16430,
                                   16431, 2249,  2287,  2205,  2206};
    static const uint32_t no[] = {16400, 16420, 16440, 23, 1007, 25, 0, 99999};
    for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
        cr_assert(typemap_holds_oids(m, yes[i]), "%u", yes[i]);
    }
    for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++) {
        cr_assert(!typemap_holds_oids(m, no[i]), "%u", no[i]);
    }
    typemap_unref(m);
}

/* ---- values ---------------------------------------------------------------------------------- */

static void add_value(struct buf *out, const struct buf *value)
{
    buf_be32(out, (uint32_t)value->n);
    buf_add_slice(out, buf_slice(value));
}

static void add_label(struct buf *out, const char *label)
{
    buf_be32(out, (uint32_t)strlen(label));
    buf_text(out, label);
}

/* {sad,NULL} */
static void put_moods(struct buf *out, uint32_t element)
{
    buf_be32(out, 1);
    buf_be32(out, 1);
    buf_be32(out, element);
    buf_be32(out, 2);
    buf_be32(out, 1);
    add_label(out, "sad");
    buf_be32(out, UINT32_MAX);
}

/* ("x",sad,{sad,NULL}) */
static void put_place(struct buf *out, uint32_t mood)
{
    struct buf moods = {0};
    put_moods(&moods, mood);
    buf_be32(out, 3);
    buf_be32(out, 25);
    add_label(out, "x");
    buf_be32(out, mood);
    add_label(out, "sad");
    buf_be32(out, mood + 1);
    add_value(out, &moods);
    buf_free(&moods);
}

/* {("x",...)} */
static void put_places(struct buf *out, uint32_t place, uint32_t mood)
{
    struct buf row = {0};
    put_place(&row, mood);
    buf_be32(out, 1);
    buf_be32(out, 0);
    buf_be32(out, place);
    buf_be32(out, 1);
    buf_be32(out, 1);
    add_value(out, &row);
    buf_free(&row);
}

/* [place,place] or [place, */
static void put_span(struct buf *out, uint32_t mood, int open)
{
    struct buf row = {0};
    put_place(&row, mood);
    buf_u8(out, open ? 0x12 : 0x02);
    add_value(out, &row);
    if (!open) {
        add_value(out, &row);
    }
    buf_free(&row);
}

static void put_spans(struct buf *out, uint32_t mood)
{
    struct buf span = {0};
    buf_be32(out, 2);
    for (int open = 0; open < 2; open++) {
        span.n = 0;
        put_span(&span, mood, open);
        add_value(out, &span);
    }
    buf_free(&span);
}

static void put(struct buf *out, uint32_t type, int at_home)
{
    uint32_t mood = at_home ? 16400 : 17100, place = at_home ? 16410 : 17010;
    switch (type) {
    case 16401:
    case 16421: put_moods(out, mood); break;
    case 16410:
    case 2249: put_place(out, mood); break;
    case 16411: put_places(out, place, mood); break;
    case 16430: put_span(out, mood, 0); break;
    case 16431: put_spans(out, mood); break;
    case 2206: buf_be32(out, mood); break;
    default: buf_text(out, "anything"); break;
    }
}

static const uint32_t tried[] = {16401, 16421, 16410, 2249, 16411, 16430, 16431, 2206, 23};

Test(typemap, values_are_turned_there_and_back)
{
    struct typemap *m = map_of();
    for (size_t i = 0; i < sizeof(tried) / sizeof(tried[0]); i++) {
        struct buf here = {0}, there = {0}, value = {0};
        put(&here, tried[i], 1);
        put(&there, tried[i], 0);
        buf_add_slice(&value, buf_slice(&there));
        struct typemap_way way = {m, 1, 1};
        typemap_edit_value(&way, tried[i], value.p, value.n);
        cr_assert(slice_eq(buf_slice(&value), buf_slice(&here)), "type %u to home", tried[i]);
        way.to_home = 0;
        typemap_edit_value(&way, tried[i], value.p, value.n);
        cr_assert(slice_eq(buf_slice(&value), buf_slice(&there)), "type %u to the shard", tried[i]);
        buf_free(&here);
        buf_free(&there);
        buf_free(&value);
    }
    typemap_unref(m);
}

/* Whatever is cut off: nothing beyond the end is read or written (the sanitizers look). */
Test(typemap, broken_values_do_no_harm)
{
    struct typemap *m = map_of();
    for (size_t i = 0; i < sizeof(tried) / sizeof(tried[0]); i++) {
        struct buf whole = {0};
        put(&whole, tried[i], 0);
        for (size_t n = 0; n < whole.n; n++) {
            struct buf cut = {0};
            struct typemap_way way = {m, 1, 1};
            buf_add(&cut, whole.p, n);
            typemap_edit_value(&way, tried[i], cut.p, n);
            buf_free(&cut);
        }
        buf_free(&whole);
    }
    typemap_unref(m);
}

Test(typemap, rows_and_descriptions_are_turned)
{
    struct typemap *m = map_of();
    struct buf row = {0}, want = {0}, moods = {0};
    struct typemap_way way = {m, 1, 1};
    put_moods(&moods, 17100);
    add_value(&row, &moods);
    buf_be32(&row, UINT32_MAX);
    add_value(&row, &moods);
    moods.n = 0;
    put_moods(&moods, 16400);
    add_value(&want, &moods);
    buf_be32(&want, UINT32_MAX);
    buf_add_slice(&want, slice_from(buf_slice(&row), 8 + moods.n));
    static const uint32_t types[] = {16401, 16401, 0};
    typemap_edit_values(&way, types, 3, row.p, row.n);
    cr_assert(slice_eq(buf_slice(&row), buf_slice(&want)), "only the columns that are named");

    row.n = 0;
    buf_be16(&row, 1);
    buf_cstr(&row, "m");
    buf_be32(&row, 17009);
    buf_be16(&row, 2);
    buf_be32(&row, 17101);
    buf_be16(&row, 0xffff);
    buf_be32(&row, 0xffffffff);
    buf_be16(&row, 1);
    typemap_edit_columns(&way, row.p, row.n);
    cr_assert_eq(be32_at(row.p + 4), 16409);
    cr_assert_eq(be32_at(row.p + 10), 16401);

    row.n = 0;
    buf_be16(&row, 2);
    buf_be32(&row, 23);
    buf_be32(&row, 17100);
    typemap_edit_parameters(&way, row.p, row.n);
    cr_assert_eq(be32_at(row.p + 2), 23);
    cr_assert_eq(be32_at(row.p + 6), 16400);
    buf_free(&row);
    buf_free(&want);
    buf_free(&moods);
    typemap_unref(m);
}
