/* Goal: calls of braid.changes() are told from other texts and read as they are meant, or refused
 * with a word. Method: texts good, bad and cut short at every byte. */

#include <string.h>

#include <criterion/criterion.h>

#include "proxy/cdc/feed.h"

static enum err read_call(const char *text, struct feed_call *out, struct arena *arena)
{
    struct note note = {.text = ""};
    cr_assert(feed_wants(slice_of(text)), "%s", text);
    enum err e = feed_read(slice_of(text), arena, out, &note);
    cr_expect(e == ERR_NONE || note.text[0] != 0);
    return e;
}

Test(feed, a_call_is_known_by_its_first_words)
{
    cr_expect(feed_wants(SLICE("SELECT * FROM braid.changes('users')")));
    cr_expect(feed_wants(SLICE("  select * from BRAID.changes ('users')")));
    cr_expect(feed_wants(SLICE("\n\tSELECT *\n  FROM\tbraid.changes(\n 'users')")));
    cr_expect(feed_wants(SLICE("SELECT*FROM braid.changes('users')")));
    cr_expect(feed_wants(SLICE("/* app: a */ SELECT * -- all\n FROM braid.changes('users')")));
    cr_expect_not(feed_wants(SLICE("SELECT * FROMbraid.changes('users')")));
    cr_expect_not(feed_wants(SLICE("SELECT * FROM braid.changes /* ('users')")));
    cr_expect_not(feed_wants(SLICE("-- SELECT * FROM braid.changes('users')")));
    cr_expect_not(feed_wants(SLICE("/*/ SELECT * FROM braid.changes('users')")));
    cr_expect_not(feed_wants(SLICE("SELECT * FROM braid.changes_of('users')")));
    cr_expect_not(feed_wants(SLICE("SELECT * FROM braid.changes")));
    cr_expect_not(feed_wants(SLICE("SELECT * FROM users")));
    cr_expect_not(feed_wants(SLICE("")));
}

Test(feed, every_argument_has_its_place)
{
    struct arena arena = {0};
    struct feed_call c;
    enum err e = read_call("SELECT * FROM braid.changes('it''s', group => 'g', \"limit\" => 7, "
                           "member := 'm', wait_ms => 20, from => 'latest', ack => now);",
                           &c, &arena);
    cr_assert_eq(e, ERR_NONE);
    cr_expect_str_eq(c.topic, "it's");
    cr_expect_str_eq(c.group, "g");
    cr_expect_str_eq(c.member, "m");
    cr_expect_str_eq(c.from, "latest");
    cr_expect_eq(c.limit, 7);
    cr_expect_eq(c.wait_ms, 20);
    cr_expect_eq(c.ack, CDC_ACK_NOW);
    cr_expect_eq(c.partition, -1);
    cr_assert_eq(read_call("select * from braid.changes(topic => 't', partition => 3, offset => 9)",
                           &c, &arena),
                 ERR_NONE);
    cr_expect_eq(c.partition, 3);
    cr_expect_eq(c.offset, 9);
    cr_expect_eq(c.limit, FEED_LIMIT);
    cr_assert_eq(read_call("/* who */ SELECT *\n  FROM braid.changes( -- a topic\n  't',\n  "
                           "limit => 3 /* few */)\n/*traceparent='00-0'*/",
                           &c, &arena),
                 ERR_NONE);
    cr_expect_str_eq(c.topic, "t");
    cr_expect_eq(c.limit, 3);
    arena_free(&arena);
}

Test(feed, what_it_cannot_be_is_refused)
{
    static const char *const bad[] = {
        "SELECT * FROM braid.changes()",
        "SELECT * FROM braid.changes('t', limit => 0)",
        "SELECT * FROM braid.changes('t', limit => 'x')",
        "SELECT * FROM braid.changes('t', ack => 'maybe')",
        "SELECT * FROM braid.changes('t', nothing => 1)",
        "SELECT * FROM braid.changes('t') WHERE true",
        "SELECT * FROM braid.changes('t'; SELECT 1",
        "SELECT * FROM braid.changes('t', 'u')",
        "SELECT * FROM braid.changes($0)",
        "SELECT * FROM braid.changes($)",
        "SELECT * FROM braid.changes($70000)",
        "SELECT * FROM braid.changes('t', nothing => $1)",
        "SELECT * FROM braid.changes('t', limit => $1::)",
        "SELECT * FROM braid.changes(group => 'g')",
        "SELECT * FROM braid.changes('t', limit => 1, \"LIMIT\" => 2)",
        "SELECT * FROM braid.changes('t', topic => 'u')",
        "SELECT * FROM braid.changes('t', start => latest, from => latest)",
        "SELECT * FROM braid.changes('t', limit => $1, limit => $2)",
    };
    struct arena arena = {0};
    struct feed_call c;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        cr_expect_neq(read_call(bad[i], &c, &arena), ERR_NONE, "%s", bad[i]);
    }
    arena_free(&arena);
}

Test(feed, a_text_cut_short_is_no_call)
{
    static const char whole[] = "SELECT * FROM braid.changes('a''b', group => 'g', limit => 7)";
    struct arena arena = {0};
    struct feed_call c;
    struct note note;
    for (size_t n = 0; n + 1 < sizeof(whole); n++) {
        struct slice part = slice_bytes(whole, n);
        cr_expect(!feed_wants(part) || feed_read(part, &arena, &c, &note) != ERR_NONE, "%zu", n);
    }
    arena_free(&arena);
}

Test(feed, places_are_read_to_the_last_letter)
{
    static const char *const bad[] = {"",
                                      "Latest",
                                      "time:",
                                      "time:-1",
                                      "time: 1",
                                      "time:1x",
                                      "time:99999999999999999999",
                                      "lsn:s0",
                                      "lsn:s0:",
                                      "lsn:s0:15",
                                      "lsn:s0:/15",
                                      "lsn:s0:1/",
                                      "lsn:s0:1/g",
                                      "lsn:s0:1/1/1",
                                      "lsn:s0:-1/1",
                                      "lsn:s0:100000000/0"};
    struct note note;
    struct cdc_seek_to to;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        cr_expect_eq(feed_place(NULL, "db", bad[i], &to, &note), ERR_BAD_SETTING, "%s", bad[i]);
    }
    cr_expect_eq(feed_place(NULL, "db", "time:1795221330123", &to, &note), ERR_NONE);
    cr_expect_eq(to.value, UINT64_C(1795221330123000));
    cr_expect_eq(feed_place(NULL, "db", NULL, &to, &note), ERR_NONE);
    cr_expect_eq(to.how, CDC_SEEK_EARLIEST);
}

/* ---- parameters ------------------------------------------------------------------------------ */

/* A Bind of one value per text; formats: 'b' an integer of 4 bytes, 't' text, 'n' NULL. */
static struct front_bind bind_of(struct buf *body, const char *formats, const char *const *values)
{
    struct front_bind bind;
    struct note note;
    size_t n = strlen(formats);
    buf_add(body, "\0\0", 2);
    buf_be16(body, (uint16_t)n);
    for (size_t i = 0; i < n; i++) {
        buf_be16(body, formats[i] == 'b');
    }
    buf_be16(body, (uint16_t)n);
    for (size_t i = 0; i < n; i++) {
        if (formats[i] == 'n') {
            buf_be32(body, UINT32_MAX);
        } else if (formats[i] == 'b') {
            buf_be32(body, 4);
            buf_be32(body, (uint32_t)values[i][0]);
        } else {
            buf_be32(body, (uint32_t)strlen(values[i]));
            buf_text(body, values[i]);
        }
    }
    buf_be16(body, 0);
    cr_assert_eq(front_read_bind(buf_slice(body), &bind, &note), ERR_NONE);
    return bind;
}

Test(feed, parameters_are_arguments_of_their_types)
{
    struct arena arena = {0};
    struct feed_call c;
    struct note note = {.text = ""};
    struct buf body = {0};
    uint32_t *types = NULL;
    size_t count = 0;
    const uint32_t given[] = {0, 23};
    cr_assert_eq(read_call("SELECT * FROM braid.changes($1::text, limit => $2, group => $3, "
                           "member => $1)",
                           &c, &arena),
                 ERR_NONE);
    cr_assert_eq(feed_types(&c, given, 2, &arena, &types, &count, &note), ERR_NONE);
    cr_expect_eq(count, 3);
    cr_expect(types[0] == 25 && types[1] == 23 && types[2] == 25);
    struct front_bind bind = bind_of(&body, "tbn", (const char *const[]){"users", "\007", NULL});
    cr_assert_eq(feed_fill(&c, &bind, types, &arena, &note), ERR_NONE);
    cr_expect_str_eq(c.topic, "users");
    cr_expect_str_eq(c.member, "users");
    cr_expect_eq(c.limit, 7);
    cr_expect_null(c.group);
    buf_free(&body);
    arena_free(&arena);
}

Test(feed, parameters_that_cannot_be_are_refused)
{
    struct arena arena = {0};
    struct feed_call c;
    struct note note = {.text = ""};
    struct buf body = {0};
    uint32_t *types = NULL;
    size_t count = 0;
    const uint32_t date = 1082;
    cr_assert_eq(read_call("SELECT * FROM braid.changes($2, limit => $1)", &c, &arena), ERR_NONE);
    cr_expect_eq(feed_types(&c, &date, 1, &arena, &types, &count, &note), ERR_UNSUPPORTED);
    cr_assert_eq(feed_types(&c, NULL, 0, &arena, &types, &count, &note), ERR_NONE);
    struct front_bind one = bind_of(&body, "t", (const char *const[]){"5"});
    cr_expect_eq(feed_fill(&c, &one, types, &arena, &note), ERR_NO_PARAMETER);
    body.n = 0;
    struct front_bind no_table = bind_of(&body, "tn", (const char *const[]){"5", NULL});
    cr_expect_eq(feed_fill(&c, &no_table, types, &arena, &note), ERR_BAD_SETTING);
    body.n = 0;
    struct front_bind short_int = bind_of(&body, "bt", (const char *const[]){"\005", "users"});
    cr_expect_eq(feed_fill(&c, &short_int, types, &arena, &note), ERR_PROTOCOL); /* an int8 has 8 */
    cr_assert_eq(read_call("SELECT * FROM braid.changes($2)", &c, &arena), ERR_NONE);
    cr_expect_eq(feed_types(&c, NULL, 0, &arena, &types, &count, &note), ERR_NO_PARAMETER);
    buf_free(&body);
    arena_free(&arena);
}
