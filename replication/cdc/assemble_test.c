/*
 * Goal: what committed is given once, whole, in the order of commits, and nothing else is.
 * Method: messages put together by hand; then random transactions of every kind, cut off at random
 * places and begun again from the last mark as a server would, against a list of what committed.
 */

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/rng.h"
#include "replication/cdc/assemble.h"
#include "store/file_sim.h"

/* ---- a sink that writes lines ---------------------------------------------------------------- */

struct lines {
    struct buf text;    /* of whole units */
    struct buf unit;    /* since the last mark */
    struct cdc_mark at; /* the last mark */
    unsigned marks;
};

static void add_columns(struct buf *b, char name, const struct change *c,
                        const struct change_column *columns)
{
    for (size_t i = 0; columns != NULL && i < c->relation->n_columns; i++) {
        static const char *const kinds[] = {"null", "", "bin:", "same", "-"};
        buf_printf(b, "%s%c%s" SLICE_FMT, i == 0 ? " " : ",", i == 0 ? name : ' ',
                   kinds[columns[i].kind], SLICE_ARG(columns[i].bytes));
    }
}

static uint64_t prepare_lsn; /* of the change that came last */
static struct buf watermark; /* the content of the last */

static enum err take_change(void *arg, const struct change *c, struct note *note)
{
    static const char *const ops[] = {"",       "begin",  "commit",    "insert",
                                      "update", "delete", "truncate",  "message",
                                      "ddl",    "row",    "watermark", "gap"};
    (void)note;
    struct lines *l = arg;
    prepare_lsn = c->prepare_lsn;
    if (c->op == CHANGE_WATERMARK) {
        watermark.n = 0;
        buf_add_slice(&watermark, c->content);
    }
    buf_printf(&l->unit, "%u/%u %s", (unsigned)c->lsn, c->index, ops[c->op]);
    if (c->relation != NULL) {
        buf_printf(&l->unit, " " SLICE_FMT, SLICE_ARG(c->relation->name));
        add_columns(&l->unit, 'o', c, c->old_columns);
        add_columns(&l->unit, 'n', c, c->new_columns);
    }
    const struct slice more[] = {c->gid, c->origin, c->prefix, c->content};
    for (size_t i = 0; i < 4; i++) {
        if (more[i].n > 0) {
            buf_printf(&l->unit, " " SLICE_FMT, SLICE_ARG(more[i]));
        }
    }
    buf_text(&l->unit, "\n");
    return ERR_NONE;
}

static enum err take_mark(void *arg, const struct cdc_shard *shard, const struct cdc_mark *mark,
                          struct note *note)
{
    (void)shard;
    (void)note;
    struct lines *l = arg;
    cr_assert(mark->lsn > l->at.lsn || (mark->lsn == l->at.lsn && mark->index > l->at.index),
              "marks ascend");
    cr_assert_geq(mark->resume, l->at.resume);
    buf_add_slice(&l->text, buf_slice(&l->unit));
    l->unit.n = 0;
    l->at = *mark;
    l->marks++;
    return ERR_NONE;
}

/* ---- messages -------------------------------------------------------------------------------- */

static struct lines lines;
static struct cdc_counts counts;
static struct note note;
static struct sim_disk *disk;
static struct assembler *a;
static size_t memory_max = 1 << 20;
static size_t unit_bytes = 0;
static struct cdc_beat *beat = NULL;
static int tells_prepared = 0;
static uint64_t (*fill)(void *arg, const struct change_relation *relation,
                        struct change_column *columns, const uint32_t xids[2]);
static uint32_t filled_for[2];
static enum err (*rolled_back)(void *arg, uint32_t *xids, size_t *count, struct note *note);

static const struct cdc_sink sink = {.arg = &lines, .change = take_change, .mark = take_mark};

static void begin_at(struct cdc_mark place)
{
    if (disk == NULL) {
        disk = sim_disk_new(1);
        int made;
        cr_assert_eq(sim_disk_fs(disk)->make_dir(sim_disk_fs(disk), "/spill", &made, &note), 0);
    }
    assemble_free(a);
    const struct assemble_options o = {.shard = {"db", "s0", 3},
                                       .sink = &sink,
                                       .fs = sim_disk_fs(disk),
                                       .dir = "/spill",
                                       .memory_max = memory_max,
                                       .unit_bytes = unit_bytes,
                                       .place = place,
                                       .beat = beat,
                                       .tells_prepared = tells_prepared ? 1 : 0,
                                       .fill = fill,
                                       .rolled_back = rolled_back,
                                       .counts = &counts};
    lines.at = place;
    cr_assert_eq(assemble_new(&o, &a, &note), ERR_NONE, "%s", note.text);
}

/* Letters say what follows: 1, 4, 8: a number of so many bytes; s: a text; v: a length and text. */
static void put(struct buf *b, char type, const char *fields, ...)
{
    va_list args;
    va_start(args, fields);
    b->n = 0;
    buf_u8(b, (uint8_t)type);
    for (; *fields != '\0'; fields++) {
        switch (*fields) {
        case '1': buf_u8(b, (uint8_t)va_arg(args, int)); break;
        case '2': buf_be16(b, (uint16_t)va_arg(args, int)); break;
        case '4': buf_be32(b, (uint32_t)va_arg(args, int)); break;
        case '8': buf_be64(b, (uint64_t)va_arg(args, int)); break;
        case 's': buf_cstr(b, va_arg(args, const char *)); break;
        default: {
            const char *text = va_arg(args, const char *);
            buf_be32(b, (uint32_t)strlen(text));
            buf_text(b, text);
            break;
        }
        }
    }
    va_end(args);
}

static enum err feed(const struct buf *b)
{
    uint8_t *copy = mem_dup(b->p, b->n);
    enum err e = assemble_feed(a, slice_bytes(copy, b->n), &note);
    mem_free(copy);
    return e;
}

#define FEED(...)                                           \
    do {                                                    \
        struct buf m_ = {0};                                \
        put(&m_, __VA_ARGS__);                              \
        cr_assert_eq(feed(&m_), ERR_NONE, "%s", note.text); \
        buf_free(&m_);                                      \
    } while (0)
#define REFUSED(says, ...)                                            \
    do {                                                              \
        struct buf m_ = {0};                                          \
        put(&m_, __VA_ARGS__);                                        \
        cr_expect_eq(feed(&m_), ERR_SHARD_PROTOCOL);                  \
        cr_expect_not_null(strstr(note.text, says), "%s", note.text); \
        buf_free(&m_);                                                \
    } while (0)

/* t (id, a), id is the key; R, or R inside of a streamed block */
#define TABLE(oid, name) \
    'R', "4ss121s441s44", oid, "public", name, 'd', 2, 1, "id", 23, -1, 0, "a", 25, -1
#define TABLE_IN(xid, oid, name) \
    'R', "44ss121s441s44", xid, oid, "public", name, 'd', 2, 1, "id", 23, -1, 0, "a", 25, -1
#define ROW(oid, id, text)         'I', "4121v1v", oid, 'N', 2, 't', id, 't', text
#define ROW_IN(xid, oid, id, text) 'I', "44121v1v", xid, oid, 'N', 2, 't', id, 't', text

static void expect_lines(const char *expected)
{
    buf_u8(&lines.text, 0);
    cr_expect_str_eq((const char *)lines.text.p, expected, "%s", (const char *)lines.text.p);
    lines.text.n = 0;
    cr_expect_eq(lines.unit.n, 0);
}

/* ---- by hand --------------------------------------------------------------------------------- */

Test(assemble, a_plain_transaction_is_given_as_it_comes)
{
    begin_at((struct cdc_mark){0});
    FEED('B', "884", 100, 0, 7);
    FEED(TABLE(1, "t"));
    FEED(ROW(1, "5", "x"));
    FEED('C', "1888", 0, 100, 110, 0);
    expect_lines("100/0 begin\n100/1 insert t n5, x\n100/2 commit\n");
    cr_expect_eq(lines.at.lsn, 100);
    cr_expect_eq(lines.at.index, 2);
}

Test(assemble, keys_and_values_that_did_not_change_are_told_apart)
{
    begin_at((struct cdc_mark){0});
    FEED('B', "884", 100, 0, 7);
    FEED(TABLE(1, "t"));
    FEED('U', "4121v1121v1", 1, 'K', 2, 't', "5", 'n', 'N', 2, 't', "6", 'u');
    FEED('U', "4121v1v121v1", 1, 'O', 2, 't', "6", 't', "long", 'N', 2, 't', "6", 'u');
    FEED('D', "4121v1", 1, 'K', 2, 't', "6", 'n');
    FEED('T', "414", 1, 3, 1);
    FEED('C', "1888", 0, 100, 110, 0);
    expect_lines("100/0 begin\n"
                 "100/1 update t o5, - n6, same\n"
                 "100/2 update t o6, long n6, long\n"
                 "100/3 delete t o6, -\n"
                 "100/4 truncate t public.t cascade restart\n"
                 "100/5 commit\n");
    cr_expect_eq(lines.at.resume, 110);
    cr_expect_eq(lines.at.ends, 1);
    cr_expect_eq(counts.unchanged_toast, 1);
}

static uint64_t fill_second(void *arg, const struct change_relation *relation,
                            struct change_column *columns, const uint32_t xids[2])
{
    (void)arg;
    cr_assert_eq(relation->n_columns, 2);
    cr_assert_eq(columns[1].kind, VALUE_UNCHANGED);
    memcpy(filled_for, xids, sizeof(filled_for));
    if (columns[0].bytes.p[0] == '7') {
        return 0; /* not found */
    }
    columns[1] = (struct change_column){.kind = VALUE_TEXT, .bytes = SLICE("looked up")};
    return 1;
}

Test(assemble, values_that_did_not_change_are_looked_up_when_asked)
{
    fill = fill_second;
    begin_at((struct cdc_mark){0});
    FEED('B', "884", 100, 0, 7);
    FEED(TABLE(1, "t"));
    FEED('U', "4121v1", 1, 'N', 2, 't', "6", 'u');
    FEED('U', "4121v1", 1, 'N', 2, 't', "7", 'u');
    FEED('U', "4121v1v121v1", 1, 'O', 2, 't', "6", 't', "long", 'N', 2, 't', "6", 'u');
    FEED('C', "1888", 0, 100, 110, 0);
    expect_lines("100/0 begin\n"
                 "100/1 update t n6, looked up\n"
                 "100/2 update t n7, same\n"
                 "100/3 update t o6, long n6, long\n"
                 "100/4 commit\n");
    cr_expect_eq(counts.filled_toast, 1);
    cr_expect_eq(counts.unchanged_toast, 1);
    cr_expect(filled_for[0] == 7 && filled_for[1] == 7);
    FEED('S', "41", 8, 1);
    FEED(TABLE_IN(8, 1, "t"));
    FEED('U', "44121v1", 9, 1, 'N', 2, 't', "6", 'u');
    FEED('E', "");
    cr_expect_eq(counts.filled_toast, 1, "not before the commit");
    FEED('c', "41888", 8, 0, 200, 210, 0);
    cr_expect_eq(counts.filled_toast, 2);
    cr_expect(filled_for[0] == 9 && filled_for[1] == 8, "the sub-transaction, and the whole one");
}

Test(assemble, nothing_is_looked_up_for_what_is_stored_already)
{
    fill = fill_second;
    begin_at((struct cdc_mark){.lsn = 100, .index = 1, .resume = 50});
    FEED('B', "884", 100, 0, 7);
    FEED(TABLE(1, "t"));
    FEED('U', "4121v1", 1, 'N', 2, 't', "6", 'u');
    cr_expect_eq(filled_for[0], 0);
    FEED('U', "4121v1", 1, 'N', 2, 't', "6", 'u');
    cr_expect_eq(filled_for[0], 7);
}

Test(assemble, a_streamed_transaction_waits_for_its_commit_without_what_was_rolled_back)
{
    begin_at((struct cdc_mark){0});
    FEED('S', "41", 7, 1);
    FEED(TABLE_IN(7, 1, "t"));
    FEED(ROW_IN(7, 1, "1", "kept"));
    FEED(ROW_IN(8, 1, "2", "sub, rolled back"));
    FEED('E', "");
    FEED('B', "884", 100, 0, 9);
    FEED(TABLE(1, "t"));
    FEED(ROW(1, "9", "in between"));
    FEED('C', "1888", 0, 100, 110, 0);
    FEED('A', "44", 7, 8);
    FEED('S', "41", 7, 0);
    FEED(ROW_IN(10, 1, "3", "sub, kept"));
    FEED('E', "");
    FEED('S', "41", 11, 1);
    FEED(TABLE_IN(11, 1, "t"));
    FEED(ROW_IN(11, 1, "4", "all rolled back"));
    FEED('E', "");
    FEED('A', "44", 11, 11);
    FEED('c', "41888", 7, 0, 200, 210, 0);
    expect_lines("100/0 begin\n100/1 insert t n9, in between\n100/2 commit\n"
                 "200/0 begin\n200/1 insert t n1, kept\n200/2 insert t n3, sub, kept\n"
                 "200/3 commit\n");
    cr_expect_eq(counts.open_transactions, 0);
    cr_expect_eq(counts.open_bytes, 0);
}

static enum err says_8_and_12(void *arg, uint32_t *xids, size_t *n, struct note *why)
{
    static const uint32_t asked[] = {8, 10, 12};
    (void)arg;
    (void)why;
    cr_assert_eq(*n, 3);
    cr_expect_eq(memcmp(xids, asked, sizeof(asked)), 0,
                 "each once; not the whole, nor what is gone");
    xids[1] = 12;
    *n = 2;
    return ERR_NONE;
}

Test(assemble, the_server_is_asked_which_parts_were_rolled_back)
{
    rolled_back = says_8_and_12;
    begin_at((struct cdc_mark){0});
    FEED('S', "41", 7, 1);
    FEED(TABLE_IN(7, 1, "t"));
    FEED(ROW_IN(10, 1, "1", "kept"));
    FEED(ROW_IN(8, 1, "2", "sub"));
    FEED(ROW_IN(10, 1, "3", "kept, too"));
    FEED(ROW_IN(9, 1, "4", "told to be rolled back"));
    FEED('E', "");
    FEED('A', "44", 7, 9);
    FEED('S', "41", 7, 0);
    FEED(ROW_IN(12, 1, "5", "sub"));
    FEED(ROW_IN(7, 1, "6", "the whole"));
    FEED('E', "");
    FEED('c', "41888", 7, 0, 200, 210, 0);
    expect_lines("200/0 begin\n200/1 insert t n1, kept\n200/2 insert t n3, kept, too\n"
                 "200/3 insert t n6, the whole\n200/4 commit\n");
    cr_expect_eq(counts.aborted, 3);
    cr_expect_eq(counts.open_bytes, 0);
}

static enum err cannot_say(void *arg, uint32_t *xids, size_t *n, struct note *why)
{
    (void)arg;
    (void)xids;
    (void)n;
    return note_set(why, ERR_SHARD_DOWN, "the connection is lost");
}

Test(assemble, without_an_answer_nothing_is_given)
{
    rolled_back = cannot_say;
    begin_at((struct cdc_mark){0});
    FEED('S', "41", 7, 1);
    FEED(TABLE_IN(7, 1, "t"));
    FEED(ROW_IN(8, 1, "2", "sub"));
    FEED('E', "");
    struct buf m = {0};
    put(&m, 'c', "41888", 7, 0, 200, 210, 0);
    cr_expect_eq(feed(&m), ERR_SHARD_DOWN);
    buf_free(&m);
    expect_lines("");
}

Test(assemble, a_prepared_transaction_comes_at_its_commit_and_holds_back_the_acknowledgement)
{
    begin_at((struct cdc_mark){0});
    FEED('b', "8884s", 100, 110, 0, 7, "g7");
    FEED(TABLE(1, "t"));
    FEED(ROW(1, "1", "prepared"));
    FEED('P', "18884s", 0, 100, 110, 0, 7, "g7");
    FEED('b', "8884s", 120, 130, 0, 8, "g8");
    FEED(ROW(1, "2", "rolled back"));
    FEED('P', "18884s", 0, 120, 130, 0, 8, "g8");
    FEED('B', "884", 140, 0, 9);
    FEED(ROW(1, "9", "other"));
    FEED('C', "1888", 0, 140, 150, 0);
    cr_expect_eq(lines.at.resume, 100, "the rows of g7 are needed again after a restart");
    FEED('K', "18884s", 0, 160, 170, 0, 7, "g7");
    cr_expect_eq(lines.at.resume, 120);
    FEED('r', "188884s", 0, 130, 180, 0, 0, 8, "g8");
    cr_expect_eq(assemble_idle(a, 190, &note), ERR_NONE);
    cr_expect_eq(lines.at.resume, 190);
    expect_lines("140/0 begin\n140/1 insert t n9, other\n140/2 commit\n"
                 "160/0 begin g7\n160/1 insert t n1, prepared g7\n160/2 commit g7\n");
}

Test(assemble, what_an_early_name_was_used_for_keeps_it)
{
    begin_at((struct cdc_mark){0});
    FEED('S', "41", 7, 1);
    FEED(TABLE_IN(7, 1, "before"));
    FEED(ROW_IN(7, 1, "1", ""));
    FEED('E', "");
    FEED('B', "884", 100, 0, 9);
    FEED(TABLE(1, "after"));
    FEED(ROW(1, "2", ""));
    FEED('C', "1888", 0, 100, 110, 0);
    FEED('c', "41888", 7, 0, 200, 210, 0);
    FEED('B', "884", 300, 0, 10);
    FEED(ROW(1, "3", ""));
    FEED('C', "1888", 0, 300, 310, 0);
    expect_lines("100/0 begin\n100/1 insert after n2, \n100/2 commit\n"
                 "200/0 begin\n200/1 insert before n1, \n200/2 commit\n"
                 "300/0 begin\n300/1 insert after n3, \n300/2 commit\n");
}

Test(assemble, an_announcement_outlives_the_part_that_was_rolled_back_around_it)
{
    begin_at((struct cdc_mark){0});
    FEED('S', "41", 7, 1);
    FEED(TABLE_IN(8, 1, "t"));
    FEED(ROW_IN(8, 1, "1", "rolled back"));
    FEED('E', "");
    FEED('A', "44", 7, 8);
    FEED('S', "41", 7, 0);
    FEED(ROW_IN(7, 1, "2", "kept"));
    FEED('E', "");
    FEED('c', "41888", 7, 0, 200, 210, 0);
    expect_lines("200/0 begin\n200/1 insert t n2, kept\n200/2 commit\n");
}

Test(assemble, an_announcement_holds_for_all_from_the_prepare_of_its_transaction_on)
{
    begin_at((struct cdc_mark){0});
    FEED('S', "41", 7, 1);
    FEED(TABLE_IN(8, 1, "t"));
    FEED(ROW_IN(8, 1, "1", "rolled back"));
    FEED('E', "");
    FEED('p', "18884s", 0, 80, 85, 0, 7, "g7");
    FEED('B', "884", 100, 0, 9);
    FEED(ROW(1, "2", "while it is prepared"));
    FEED('C', "1888", 0, 100, 110, 0);
    FEED('r', "188884s", 0, 85, 120, 0, 0, 7, "g7");
    FEED('B', "884", 130, 0, 10);
    FEED(ROW(1, "3", "afterwards"));
    FEED('C', "1888", 0, 130, 140, 0);
    expect_lines("100/0 begin\n100/1 insert t n2, while it is prepared\n100/2 commit\n"
                 "130/0 begin\n130/1 insert t n3, afterwards\n130/2 commit\n");
}

Test(assemble, the_name_of_a_prepared_transaction_does_not_replace_a_newer_one)
{
    begin_at((struct cdc_mark){0});
    FEED('S', "41", 7, 1);
    FEED(TABLE_IN(7, 1, "before"));
    FEED(ROW_IN(7, 1, "1", ""));
    FEED('E', "");
    FEED('B', "884", 100, 0, 9);
    FEED(TABLE(1, "after"));
    FEED(ROW(1, "2", ""));
    FEED('C', "1888", 0, 100, 110, 0);
    FEED('p', "18884s", 0, 115, 118, 0, 7, "g7");
    FEED('B', "884", 120, 0, 10);
    FEED(ROW(1, "3", ""));
    FEED('C', "1888", 0, 120, 130, 0);
    FEED('K', "18884s", 0, 140, 150, 0, 7, "g7");
    expect_lines("100/0 begin\n100/1 insert after n2, \n100/2 commit\n"
                 "120/0 begin\n120/1 insert after n3, \n120/2 commit\n"
                 "140/0 begin g7\n140/1 insert before n1,  g7\n140/2 commit g7\n");
}

/* As PostgreSQL 15.18 sends it: SELECT FOR UPDATE, PREPARE TRANSACTION, COMMIT PREPARED. */
Test(assemble, what_was_prepared_with_locks_only_is_passed_over)
{
    begin_at((struct cdc_mark){0});
    FEED('b', "8884s", 60, 70, 0, 6, "g6");
    FEED(TABLE(1, "t"));
    FEED(ROW(1, "1", "a"));
    FEED('P', "18884s", 0, 60, 70, 0, 6, "g6");
    FEED('K', "18884s", 0, 80, 90, 0, 7, "g7");
    cr_expect_eq(lines.at.lsn, 80);
    cr_expect_eq(lines.at.resume, 60, "g6 is needed again after a restart");
    FEED('K', "18884s", 0, 100, 110, 0, 6, "g6");
    cr_expect_eq(lines.at.resume, 110);
    FEED('K', "18884s", 0, 120, 130, 0, 8, "g8");
    cr_expect_eq(lines.at.resume, 130);
    expect_lines("100/0 begin g6\n100/1 insert t n1, a g6\n100/2 commit g6\n");
}

Test(assemble, rows_of_what_is_half_stored_must_come_again)
{
    begin_at((struct cdc_mark){.lsn = 100, .index = 1});
    REFUSED("did not come", 'K', "18884s", 0, 100, 110, 0, 7, "g7");
}

Test(assemble, our_moves_our_tables_and_heartbeats_are_left_out)
{
    begin_at((struct cdc_mark){0});
    FEED('B', "884", 100, 0, 7);
    FEED('O', "8s", 0, "pgbraid_move_4");
    FEED(TABLE(1, "t"));
    FEED(ROW(1, "1", "moved"));
    FEED('C', "1888", 0, 100, 110, 0);
    FEED('B', "884", 120, 0, 8);
    FEED('O', "8s", 0, "elsewhere");
    FEED('R', "4ss121s44", 2, "braid", "decisions", 'd', 1, 1, "id", 23, -1);
    FEED('I', "4121v", 2, 'N', 1, 't', "1");
    FEED(ROW(1, "2", "theirs"));
    FEED('C', "1888", 0, 120, 130, 0);
    FEED('M', "18sv", 0, 140, "braid.heartbeat", "");
    expect_lines("120/0 begin elsewhere\n120/2 insert t n2, theirs elsewhere\n"
                 "120/3 commit elsewhere\n");
    cr_expect_eq(lines.at.lsn, 139);
    cr_expect_eq(lines.at.resume, 140);
    cr_expect_eq(counts.left_out, 2);
}

Test(assemble, messages_are_what_their_prefix_says)
{
    begin_at((struct cdc_mark){0});
    FEED('M', "18sv", 0, 90, "braid.watermark", "17");
    FEED('B', "884", 100, 0, 7);
    FEED('M', "18sv", 1, 95, "braid.ddl", "12\nALTER TABLE t ...");
    FEED('M', "18sv", 1, 96, "braid.ddl", "no version");
    FEED('M', "18sv", 1, 97, "app", "body");
    FEED('C', "1888", 0, 100, 110, 0);
    expect_lines("89/0 watermark braid.watermark 17\n"
                 "100/0 begin\n100/1 ddl 12 ALTER TABLE t ...\n"
                 "100/2 message braid.ddl no version\n100/3 message app body\n100/4 commit\n");
}

Test(assemble, a_watermark_tells_what_is_prepared_and_not_decided)
{
    struct buf expected = {0};
    tells_prepared = 1;
    begin_at((struct cdc_mark){0});
    FEED('b', "8884s", 80, 85, 0, 7, "pgbraid_00c0ffee12345678_2f_1a94_3");
    FEED('P', "18884s", 0, 80, 85, 0, 7, "pgbraid_00c0ffee12345678_2f_1a94_3");
    FEED('b', "8884s", 86, 89, 0, 8, "g8");
    FEED('P', "18884s", 0, 86, 89, 0, 8, "g8");
    FEED('r', "188884s", 0, 86, 89, 90, 0, 8, "g8");
    FEED('M', "18sv", 0, 92, "braid.watermark", "17");
    buf_add(&expected, "17", 3);
    buf_be64(&expected, 80);
    buf_u8(&expected, 32);
    buf_text(&expected, "pgbraid_00c0ffee12345678_2f_1a94"); /* without which part it is */
    cr_expect(slice_eq(buf_slice(&watermark), buf_slice(&expected)));
    FEED('K', "18884s", 0, 100, 110, 0, 7, "pgbraid_00c0ffee12345678_2f_1a94_3");
    FEED('M', "18sv", 0, 120, "braid.watermark", "18");
    cr_expect(slice_eq(buf_slice(&watermark), slice_bytes("18", 3)));
    buf_free(&expected);
}

Test(assemble, what_two_phases_committed_says_where_it_was_prepared)
{
    begin_at((struct cdc_mark){0});
    FEED('b', "8884s", 80, 85, 0, 7, "g7");
    FEED(TABLE(1, "t"));
    FEED(ROW(1, "1", "a"));
    FEED('P', "18884s", 0, 80, 85, 0, 7, "g7");
    FEED('K', "18884s", 0, 100, 110, 0, 7, "g7");
    cr_expect_eq(prepare_lsn, 80);
    FEED('B', "884", 120, 0, 8);
    FEED(ROW(1, "2", "b"));
    FEED('C', "1888", 0, 120, 130, 0);
    cr_expect_eq(prepare_lsn, 0);
}

Test(assemble, parts_of_a_transaction_have_one_name_also_that_of_the_shard_that_decides)
{
    begin_at((struct cdc_mark){0});
    FEED('b', "8884s", 80, 85, 0, 7, "pgbraid_00c0ffee12345678_2f_1a94_3_5eed0042");
    FEED(TABLE(1, "t"));
    FEED(ROW(1, "1", "a"));
    FEED('P', "18884s", 0, 80, 85, 0, 7, "pgbraid_00c0ffee12345678_2f_1a94_3_5eed0042");
    FEED('K', "18884s", 0, 100, 110, 0, 7, "pgbraid_00c0ffee12345678_2f_1a94_3_5eed0042");
    expect_lines("100/0 begin pgbraid_00c0ffee12345678_2f_1a94\n"
                 "100/1 insert t n1, a pgbraid_00c0ffee12345678_2f_1a94\n"
                 "100/2 commit pgbraid_00c0ffee12345678_2f_1a94\n");
    FEED('R', "4ss121s441s441s44", 9, "braid", "ledger", 'd', 3, 1, "instance", 20, -1, 1, "start",
         20, -1, 1, "seq", 20, -1);
    FEED('B', "884", 120, 0, 8);
    FEED(ROW(1, "2", "b"));
    FEED('I', "4121v1v1v", 9, 'N', 3, 't', "54324593501165176", 't', "47", 't', "6804");
    FEED('C', "1888", 0, 120, 130, 0);
    expect_lines("120/0 begin\n120/1 insert t n2, b\n"
                 "120/3 commit pgbraid_00c0ffee12345678_2f_1a94\n");
    cr_expect_eq(prepare_lsn, 0);
}

Test(assemble, only_watermarks_of_our_own_beat_count)
{
    char content[CDC_BEAT_TEXT];
    beat = cdc_beat_new();
    begin_at((struct cdc_mark){0});
    FEED('M', "18sv", 0, 90, "braid.watermark", "17");
    FEED('M', "18sv", 0, 92, "braid.watermark", "17 0123456789abcdef");
    cr_assert(cdc_beat_enter(beat, 17, content));
    FEED('M', "18sv", 0, 94, "braid.watermark", content);
    expect_lines("93/0 watermark braid.watermark 17\n");
    cr_expect(cdc_beat_enter(beat, 17, content)); /* another shard, at the same time */
    cr_expect_not(cdc_beat_enter(beat, 18, content));
    cdc_beat_leave(beat, 1);
    cr_expect_not(cdc_beat_enter(beat, 18, content));
    cdc_beat_leave(beat, 0); /* its message may come at any time: it counts no more */
    FEED('M', "18sv", 0, 96, "braid.watermark", content);
    expect_lines("");
    cr_expect(cdc_beat_enter(beat, 18, content));
    cr_expect_not(cdc_beat_enter(beat, 17, content));
    cdc_beat_leave(beat, 1);
    FEED('M', "18sv", 0, 98, "braid.watermark", content);
    expect_lines("97/0 watermark braid.watermark 18\n");
    cdc_beat_free(beat);
    beat = NULL;
}

Test(assemble, large_transactions_are_given_in_units_and_go_on_behind_the_last)
{
    unit_bytes = 50;
    begin_at((struct cdc_mark){0});
    for (int round = 0; round < 2; round++) {
        FEED('B', "884", 100, 0, 7);
        FEED(TABLE(1, "t"));
        for (int i = 0; i < (round == 0 ? 5 : 9); i++) {
            FEED(ROW(1, "1", "0123456789"));
        }
        if (round == 0) { /* the connection is lost inside of the third unit */
            cr_expect_eq(lines.marks, 2);
            cr_expect_eq(lines.at.ends, 0);
            cr_expect_eq(lines.at.index, 4);
            lines.unit.n = 0;
            begin_at(lines.at);
        }
    }
    FEED('C', "1888", 0, 100, 110, 0);
    expect_lines("100/0 begin\n100/1 insert t n1, 0123456789\n100/2 insert t n1, 0123456789\n"
                 "100/3 insert t n1, 0123456789\n100/4 insert t n1, 0123456789\n"
                 "100/5 insert t n1, 0123456789\n100/6 insert t n1, 0123456789\n"
                 "100/7 insert t n1, 0123456789\n100/8 insert t n1, 0123456789\n"
                 "100/9 insert t n1, 0123456789\n100/10 commit\n");
}

Test(assemble, what_waits_goes_to_files_past_the_limit_and_comes_back_whole)
{
    memory_max = 500;
    begin_at((struct cdc_mark){0});
    static const int xids[] = {7, 8};
    for (int i = 0; i < 100; i++) {
        for (int x = 0; x < 2; x++) {
            char id[12];
            (void)snprintf(id, sizeof(id), "%d", i);
            FEED('S', "41", xids[x], i == 0);
            if (i == 0) {
                FEED(TABLE_IN(xids[x], 1, "t"));
            }
            FEED(ROW_IN(xids[x], 1, id, ""));
            FEED('E', "");
        }
        cr_assert_leq(counts.open_bytes, 500);
    }
    cr_expect_gt(counts.spilled_bytes, 4000);
    cr_expect_eq(counts.spilled_transactions, 2);
    FEED('c', "41888", 8, 0, 200, 210, 0);
    buf_u8(&lines.text, 0);
    const char *at = (const char *)lines.text.p;
    for (int i = 0; i < 100; i++) {
        char line[64];
        (void)snprintf(line, sizeof(line), "200/%d insert t n%d, \n", i + 1, i);
        at = strstr(at, line);
        cr_assert_not_null(at, "row %d", i);
    }
    size_t left;
    cr_expect_null(sim_disk_bytes(disk, "/spill/cdc_3_8.spill", &left));
    cr_expect_not_null(sim_disk_bytes(disk, "/spill/cdc_3_7.spill", &left));
    begin_at(lines.at);
    cr_expect_null(sim_disk_bytes(disk, "/spill/cdc_3_7.spill", &left));
}

Test(assemble, a_full_disk_is_an_error)
{
    memory_max = 100;
    begin_at((struct cdc_mark){0});
    FEED('S', "41", 7, 1);
    FEED(TABLE_IN(7, 1, "t"));
    sim_disk_fault(disk, SIM_ENOSPC, 1);
    enum err e = ERR_NONE;
    for (int i = 0; i < 20 && e == ERR_NONE; i++) {
        struct buf m = {0};
        put(&m, ROW_IN(7, 1, "1", "0123456789"));
        e = feed(&m);
        buf_free(&m);
    }
    cr_expect_eq(e, ERR_IO);
}

Test(assemble, messages_in_an_order_that_no_server_sends_are_refused)
{
    begin_at((struct cdc_mark){0});
    REFUSED("outside of any", ROW(1, "1", ""));
    REFUSED("not begun", 'E', "");
    REFUSED("did not come", 'c', "41888", 7, 0, 200, 210, 0);
    REFUSED("did not come", 'A', "44", 7, 8);
    REFUSED("prepare of nothing", 'P', "18884s", 0, 100, 110, 0, 7, "g7");
    REFUSED("where none can", 'S', "41", 7, 0);
    FEED('B', "884", 100, 0, 7);
    REFUSED("never announced", ROW(1, "1", ""));
    REFUSED("inside of another", 'B', "884", 100, 0, 7);
    REFUSED("comes in a transaction", 'M', "18sv", 0, 90, "x", "");
    REFUSED("another transaction", 'C', "1888", 0, 101, 110, 0);
    FEED(TABLE(1, "t"));
    REFUSED("other columns", 'I', "4121v", 1, 'N', 1, 't', "1");
    FEED('C', "1888", 0, 100, 110, 0);
    REFUSED("before the last one", 'B', "884", 100, 0, 7);
    REFUSED("before the last commit", 'M', "18sv", 0, 100, "x", "");
}

/* ---- random ---------------------------------------------------------------------------------- */

enum kind {
    PLAIN,
    STREAMED,
    TWO_PHASE,
    STREAMED_TWO_PHASE
};
enum {
    TXS = 12,
    STEPS_MAX = 8,
    MESSAGES_MAX = TXS * (STEPS_MAX * 4 + 8)
};

/* What a message means to a server that remembers what it has announced on this connection. */
enum says {
    SAYS_NOTHING,
    SAYS_ROW,       /* needs the table to be announced: by anybody */
    SAYS_ROW_IN,    /* ... in this transaction, as it is streamed */
    SAYS_COMMIT_OF, /* of one that was streamed: what it announced is known to all now */
    SAYS_ABORT_OF   /* ... or of a part of it: it is announced again, should more come */
};

/* One message of the server's life, and from which position on it is sent. */
struct sent {
    struct buf bytes;
    uint64_t until; /* sent on a start at or before this position */
    enum says says;
    int xid;
};

struct script {
    struct sent list[MESSAGES_MAX];
    size_t count;
    struct buf expected;
};

struct tx {
    enum kind kind;
    int xid, steps, done, state; /* state: 0 open, 1 prepared, 2 ended */
    int aborts;
    struct buf rows[STEPS_MAX];    /* what is expected of each; "" when rolled back */
    size_t own[STEPS_MAX * 4 + 8]; /* messages that are not settled yet */
    size_t own_count;
};

#define SAY_AS(s, t, what, ...)                         \
    do {                                                \
        (s)->list[(s)->count].says = (what);            \
        (s)->list[(s)->count].xid = (t)->xid;           \
        put(&(s)->list[(s)->count].bytes, __VA_ARGS__); \
        (t)->own[(t)->own_count++] = (s)->count++;      \
    } while (0)
#define SAY(s, t, ...) SAY_AS(s, t, SAYS_NOTHING, __VA_ARGS__)

/* What was said so far of this transaction is sent again until it is decided at lsn. */
static void settle(struct script *s, struct tx *t, uint64_t lsn)
{
    for (size_t i = 0; i < t->own_count; i++) {
        s->list[t->own[i]].until = lsn;
    }
    t->own_count = 0;
}

static void one_step(struct script *s, struct tx *t, struct rng *rng)
{
    char id[16];
    int sub = rng_below(rng, 3) == 0;
    (void)snprintf(id, sizeof(id), "%d.%d", t->xid, t->done);
    SAY(s, t, 'S', "41", t->xid, t->done == 0);
    SAY_AS(s, t, SAYS_ROW_IN, ROW_IN(sub ? t->xid + 100 + t->done : t->xid, 1, id, ""));
    SAY(s, t, 'E', "");
    if (sub && rng_below(rng, 2) == 0) {
        SAY_AS(s, t, SAYS_ABORT_OF, 'A', "44", t->xid, t->xid + 100 + t->done);
    } else {
        buf_printf(&t->rows[t->done], "insert t n%s, ", id);
    }
    t->done++;
}

static void all_steps(struct script *s, struct tx *t)
{
    for (; t->done < t->steps; t->done++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "%d.%d", t->xid, t->done);
        SAY_AS(s, t, SAYS_ROW, ROW(1, id, ""));
        buf_printf(&t->rows[t->done], "insert t n%s, ", id);
    }
}

static void expect_tx(struct script *s, const struct tx *t, uint64_t lsn, const char *gid)
{
    unsigned index = 0;
    buf_printf(&s->expected, "%u/%u begin%s\n", (unsigned)lsn, index++, gid);
    for (int i = 0; i < t->steps; i++) {
        if (t->rows[i].n > 0) {
            buf_printf(&s->expected, "%u/%u " SLICE_FMT "%s\n", (unsigned)lsn, index++,
                       SLICE_ARG(buf_slice(&t->rows[i])), gid);
        }
    }
    if (index == 1) { /* nothing is left of it: not even a beginning is given */
        s->expected.n -=
            strlen(gid) + strlen("/0 begin\n") + (size_t)snprintf(NULL, 0, "%u", (unsigned)lsn);
        return;
    }
    buf_printf(&s->expected, "%u/%u commit%s\n", (unsigned)lsn, index, gid);
}

static void prepare_tx(struct script *s, struct tx *t, uint64_t lsn)
{
    char gid[16];
    (void)snprintf(gid, sizeof(gid), "g%d", t->xid);
    int at = (int)lsn;
    if (t->kind == TWO_PHASE) {
        SAY(s, t, 'b', "8884s", at, at + 5, 0, t->xid, gid);
        all_steps(s, t);
        SAY(s, t, 'P', "18884s", 0, at, at + 5, 0, t->xid, gid);
    } else {
        SAY(s, t, 'p', "18884s", 0, at, at + 5, 0, t->xid, gid);
    }
    settle(s, t, lsn);
    t->state = 1;
}

static void end_tx(struct script *s, struct tx *t, uint64_t lsn)
{
    int at = (int)lsn;
    char gid[16] = "";
    t->state = 2;
    if (t->kind == TWO_PHASE || t->kind == STREAMED_TWO_PHASE) {
        (void)snprintf(gid, sizeof(gid), " g%d", t->xid);
        if (t->aborts) {
            SAY(s, t, 'r', "188884s", 0, at - 5, at + 5, 0, 0, t->xid, gid + 1);
        } else {
            SAY(s, t, 'K', "18884s", 0, at, at + 5, 0, t->xid, gid + 1);
        }
    } else if (t->kind == STREAMED && t->aborts) {
        SAY_AS(s, t, SAYS_ABORT_OF, 'A', "44", t->xid, t->xid);
    } else if (t->kind == STREAMED) {
        SAY_AS(s, t, SAYS_COMMIT_OF, 'c', "41888", t->xid, 0, at, at + 5, 0);
    } else {
        SAY(s, t, 'B', "884", at, 0, t->xid);
        all_steps(s, t);
        SAY(s, t, 'C', "1888", 0, at, at + 5, 0);
    }
    settle(s, t, lsn);
    if (!t->aborts) {
        expect_tx(s, t, lsn, gid);
    }
}

static void make_script(struct script *s, struct rng *rng)
{
    struct tx txs[TXS];
    memset(txs, 0, sizeof(txs));
    for (int i = 0; i < TXS; i++) {
        txs[i].kind = (enum kind)rng_below(rng, 4);
        txs[i].xid = 1000 * (i + 1);
        txs[i].steps = 1 + (int)rng_below(rng, STEPS_MAX);
        txs[i].aborts = txs[i].kind != PLAIN && rng_below(rng, 4) == 0;
    }
    uint64_t lsn = 1000;
    for (int open = TXS; open > 0; lsn += 10) {
        struct tx *t = &txs[rng_below(rng, TXS)];
        int streams = t->kind == STREAMED || t->kind == STREAMED_TWO_PHASE;
        if (t->state == 2) {
            continue;
        }
        if (streams && t->done < t->steps && t->state == 0) {
            one_step(s, t, rng);
        } else if (t->state == 0 && (t->kind == TWO_PHASE || t->kind == STREAMED_TWO_PHASE)) {
            prepare_tx(s, t, lsn);
        } else {
            end_tx(s, t, lsn);
            open--;
        }
    }
    for (int i = 0; i < TXS; i++) {
        for (int k = 0; k < STEPS_MAX; k++) {
            buf_free(&txs[i].rows[k]);
        }
    }
}

/* A disk of its own for each start: what is never synced fills up the simulated one. */
static void begin_anew(struct cdc_mark place)
{
    assemble_free(a);
    a = NULL;
    if (disk != NULL) {
        sim_disk_free(disk);
        disk = NULL;
    }
    begin_at(place);
}

/*
 * What a server has announced since the start: to all, or within one that it streams. It forgets
 * both when the table changes. What is streamed and then prepared stays the transaction's own.
 * Source: maybe_send_schema(), cleanup_rel_sync_cache() of pgoutput.c, PostgreSQL 14 to 17.
 */
struct announced {
    int to_all;
    int in[TXS + 1];
};

static enum err announce_for(const struct sent *m, struct announced *known, struct rng *rng)
{
    struct buf table = {0};
    enum err e = ERR_NONE;
    if (rng_below(rng, 20) == 0) {
        *known = (struct announced){0};
    }
    if (m->says == SAYS_ROW && !known->to_all) {
        put(&table, TABLE(1, "t"));
        e = feed(&table);
        known->to_all = 1;
    } else if (m->says == SAYS_ROW_IN && !known->in[m->xid / 1000]) {
        put(&table, TABLE_IN(m->xid, 1, "t"));
        e = feed(&table);
        known->in[m->xid / 1000] = 1;
    } else if (m->says == SAYS_COMMIT_OF || m->says == SAYS_ABORT_OF) {
        known->to_all |= m->says == SAYS_COMMIT_OF && known->in[m->xid / 1000];
        known->in[m->xid / 1000] = 0;
    }
    buf_free(&table);
    return e;
}

static void run_script(const struct script *s, struct rng *rng)
{
    struct cdc_mark durable = {0};
    size_t durable_bytes = 0;
    begin_anew(durable);
    for (unsigned starts = 0;; starts++) {
        size_t stop = starts < 20 ? rng_below(rng, s->count + 1) : s->count;
        struct announced known = {0};
        for (size_t i = 0; i < stop; i++) {
            if (s->list[i].until < durable.resume) {
                continue; /* the server was told that we have it */
            }
            cr_assert_eq(announce_for(&s->list[i], &known, rng), ERR_NONE, "%s", note.text);
            cr_assert_eq(feed(&s->list[i].bytes), ERR_NONE, "message %zu of %zu: %s", i, s->count,
                         note.text);
            if (rng_below(rng, 4) == 0) { /* what was given is durable now */
                durable_bytes = lines.text.n;
                durable = lines.at;
            }
        }
        if (stop == s->count) {
            break;
        }
        lines.unit.n = 0;
        lines.text.n = durable_bytes; /* a crash */
        begin_anew(durable);
    }
    cr_assert_eq(lines.unit.n, 0);
    cr_assert(slice_eq(buf_slice(&lines.text), buf_slice(&s->expected)),
              "expected\n" SLICE_FMT "\nbut was\n" SLICE_FMT, SLICE_ARG(buf_slice(&s->expected)),
              SLICE_ARG(buf_slice(&lines.text)));
}

Test(assemble, random_transactions_with_crashes_are_given_once_and_whole)
{
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct rng rng = rng_seeded(seed);
        struct script *s = mem_zero(sizeof(*s));
        make_script(s, &rng);
        memory_max = rng_below(&rng, 2) == 0 ? 200 : 1 << 20;
        unit_bytes = rng_below(&rng, 2) == 0 ? 50 : 0;
        lines.text.n = 0;
        lines.unit.n = 0;
        memset(&lines.at, 0, sizeof(lines.at));
        run_script(s, &rng);
        for (size_t i = 0; i < s->count; i++) {
            buf_free(&s->list[i].bytes);
        }
        buf_free(&s->expected);
        mem_free(s);
    }
}
