/*
 * Goal: the stream of whole transactions is what was committed: every change once, in the order of
 * its transaction, whatever partitions it went to. Method: a log on a disk in memory (see
 * log_testing.h); random transactions, read back in one go and from every place.
 */

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "replication/cdc/log_testing.h"
#include "replication/cdc/tx_reader.h"

static struct cdc_tx_reader *read_from(struct bench *b, uint64_t place)
{
    return cdc_tx_reader_new(b->log, cdc_log_topic(b->log, SLICE("shop.braid.transactions")),
                             place);
}

static struct cdc_tx_item next(struct cdc_tx_reader *r)
{
    struct cdc_tx_item item;
    struct note note = {0};
    cr_assert_eq(cdc_tx_next(r, &item, &note), ERR_NONE, "%s", note.text);
    return item;
}

static unsigned key_of(const struct cdc_tx_item *item)
{
    const struct change *c = &item->event.change;
    const struct change_column *row = c->new_columns != NULL ? c->new_columns : c->old_columns;
    return (unsigned)strtoul((const char *)row[0].bytes.p, NULL, 10);
}

Test(cdc_tx_reader, a_transaction_comes_whole_and_in_its_order)
{
    struct bench b;
    new_bench(&b, 300);
    give(&b, 200, 300, 40);
    struct cdc_tx_reader *r = read_from(&b, 0);
    for (unsigned t = 0, key = 0; t < 2; t++) {
        struct cdc_tx_item item = next(r);
        cr_assert_eq(item.step, CDC_TX_BEGIN);
        cr_expect_eq(item.place, t);
        cr_expect_eq(item.count, t == 0 ? 300 : 40);
        cr_expect_eq(item.tx.lsn, t == 0 ? 100 : 200);
        cr_expect_str_eq(item.shard, "s0");
        for (unsigned i = 0; i < (t == 0 ? 300 : 40); i++, key++) {
            item = next(r);
            cr_assert_eq(item.step, CDC_TX_CHANGE);
            cr_assert_eq(key_of(&item), key);
        }
        cr_expect_eq(next(r).step, CDC_TX_END);
    }
    cr_expect_eq(next(r).step, CDC_TX_NOTHING);
    give(&b, 300, 0, 1); /* what comes later is seen by the same reader */
    cr_expect_eq(next(r).step, CDC_TX_BEGIN);
    cdc_tx_reader_free(r);
    end_bench(&b);
}

Test(cdc_tx_reader, it_goes_on_behind_any_place_also_after_a_restart)
{
    struct bench b;
    new_bench(&b, 5);
    for (unsigned i = 1; i < 20; i++) {
        give(&b, 100 + i, i * 10, 1 + i % 7);
    }
    close_bench(&b);
    open_bench(&b);
    for (unsigned place = 0; place <= 20; place++) {
        struct cdc_tx_reader *r = read_from(&b, place);
        struct cdc_tx_item item = next(r);
        cr_assert_eq(item.step, place == 20 ? CDC_TX_NOTHING : CDC_TX_BEGIN);
        cr_expect(place == 20 || (item.place == place && item.tx.lsn == 100 + place));
        cdc_tx_reader_free(r);
    }
    end_bench(&b);
}

/* One change of a kind; keys decide partitions. */
static void put(struct bench *b, struct change *c, uint8_t op, unsigned was, unsigned is)
{
    const struct cdc_sink *sink = cdc_log_sink(b->log);
    struct note note = {0};
    char old_key[16];
    char new_key[16];
    (void)snprintf(old_key, sizeof(old_key), "%u", was);
    (void)snprintf(new_key, sizeof(new_key), "%u", is);
    struct change_column old[] = {{VALUE_TEXT, slice_of(old_key)}, {.kind = VALUE_ABSENT}};
    struct change_column row[] = {{VALUE_TEXT, slice_of(new_key)}, {.kind = VALUE_UNCHANGED}};
    c->op = op;
    c->index++;
    c->relation = &users;
    c->old_columns = op == CHANGE_UPDATE || op == CHANGE_DELETE ? old : NULL;
    c->new_columns = op == CHANGE_UPDATE || op == CHANGE_INSERT || op == CHANGE_ROW ? row : NULL;
    cr_assert_eq(sink->change(sink->arg, c, &note), ERR_NONE, "%s", note.text);
}

static void commit_unit(struct bench *b, const struct change *c)
{
    const struct cdc_sink *sink = cdc_log_sink(b->log);
    struct note note = {0};
    struct cdc_mark mark = {.lsn = c->lsn, .index = c->index + 1, .ends = 1, .resume = c->lsn};
    cr_assert_eq(sink->mark(sink->arg, &shard, &mark, &note), ERR_NONE);
    cr_assert_eq(sink->sync(sink->arg, &shard, &note), ERR_NONE);
}

Test(cdc_tx_reader, a_truncate_comes_once_and_a_moved_row_leaves_before_it_arrives)
{
    struct bench b;
    new_bench(&b, 1);
    struct change c = {.xid = 9, .lsn = 200};
    put(&b, &c, CHANGE_TRUNCATE, 0, 0);
    for (unsigned i = 0; i < 40; i++) {
        put(&b, &c, CHANGE_UPDATE, i, i + 1000);
    }
    commit_unit(&b, &c);
    struct cdc_tx_reader *r = read_from(&b, 1);
    cr_expect_eq(next(r).step, CDC_TX_BEGIN);
    struct cdc_tx_item item = next(r);
    cr_expect(item.step == CDC_TX_CHANGE && item.event.change.op == CHANGE_TRUNCATE);
    unsigned halves = 0;
    for (unsigned i = 0; i < 40; i++) {
        item = next(r);
        cr_assert(item.step == CDC_TX_CHANGE && item.event.change.index == i + 2);
        if (item.event.change.op == CHANGE_DELETE) {
            cr_expect(item.event.flags & CDC_RECORD_MOVED);
            cr_expect_eq(key_of(&item), i);
            item = next(r);
            cr_expect_eq(item.event.change.op, CHANGE_INSERT);
            cr_expect_eq(item.event.change.index, i + 2);
            halves++;
        }
        cr_expect_eq(key_of(&item), i + 1000);
    }
    cr_expect_gt(halves, 0);
    cr_expect_eq(next(r).step, CDC_TX_END);
    cdc_tx_reader_free(r);
    end_bench(&b);
}

Test(cdc_tx_reader, rows_of_a_copy_come_in_their_place)
{
    struct bench b;
    new_bench(&b, 3);
    struct change c = {.lsn = 150};
    put(&b, &c, CHANGE_TRUNCATE, 0, 0);
    put(&b, &c, CHANGE_ROW, 0, 7);
    put(&b, &c, CHANGE_ROW, 0, 8);
    commit_unit(&b, &c);
    give(&b, 200, 9, 1);
    struct cdc_tx_reader *r = read_from(&b, 1);
    struct cdc_tx_item item = next(r);
    cr_expect(item.step == CDC_TX_BEGIN && item.is_copy);
    cr_expect_eq(next(r).event.change.op, CHANGE_TRUNCATE);
    for (unsigned key = 7; key < 9; key++) {
        item = next(r);
        cr_expect_eq(item.event.change.op, CHANGE_ROW);
        cr_expect_eq(key_of(&item), key);
    }
    cr_expect_eq(next(r).step, CDC_TX_END);
    item = next(r);
    cr_expect(item.step == CDC_TX_BEGIN && !item.is_copy && item.place == 2);
    cdc_tx_reader_free(r);
    end_bench(&b);
}

/* All that there is from this place on; ERR_LOG_GONE: something is missing. */
static enum err read_all(struct bench *b, uint64_t place, unsigned *count)
{
    struct cdc_tx_reader *r = read_from(b, place);
    struct cdc_tx_item item = {.step = CDC_TX_BEGIN};
    struct note note = {0};
    enum err e = ERR_NONE;
    for (*count = 0; e == ERR_NONE && item.step != CDC_TX_NOTHING;) {
        e = cdc_tx_next(r, &item, &note);
        *count += e == ERR_NONE && item.step == CDC_TX_END;
    }
    cdc_tx_reader_free(r);
    return e;
}

Test(cdc_tx_reader, behind_what_retention_took_there_is_a_first_whole_transaction)
{
    for (unsigned round = 0; round < 3; round++) {
        struct bench b;
        struct note note = {0};
        uint64_t first = 99;
        unsigned count = 0;
        bench_segment_bytes = 1500;
        new_bench(&b, 5);
        uint32_t topic = cdc_log_topic(b.log, SLICE("shop.braid.transactions"));
        cr_assert_eq(cdc_tx_first(b.log, topic, &first, &note), ERR_NONE, "%s", note.text);
        cr_expect_eq(first, 0);
        for (unsigned i = 1; i < 40; i++) {
            give(&b, 100 + i, i * 20, 1 + i * 7 % (round == 0 ? 5 : 50));
        }
        cdc_log_limits(b.log, round < 2 ? 8000 : 1, 0);
        cr_assert_eq(cdc_log_checkpoint(b.log, &note), ERR_NONE);
        cr_assert_eq(cdc_tx_first(b.log, topic, &first, &note), ERR_NONE, "%s", note.text);
        cr_assert_gt(first, 0);
        cr_expect_eq(read_all(&b, first, &count), ERR_NONE, "from %u", (unsigned)first);
        cr_expect_eq(count, 40 - first);
        cr_expect_eq(read_all(&b, first - 1, &count), ERR_LOG_GONE);
        bench_segment_bytes = 0;
        end_bench(&b);
    }
}

Test(cdc_tx_reader, the_text_of_a_transaction_is_read_or_refused_as_a_whole)
{
    static const char good[] =
        "{\"status\":\"END\",\"event_count\":3,\"data_collections\":["
        "{\"data_collection\":\"public.it\\\"s \\u0009\\\\\",\"event_count\":2,"
        "\"partition\":7,\"offset\":18446744073709551600},"
        "{\"data_collection\":\"a.b\",\"event_count\":1,\"partition\":0,"
        "\"offset\":0}]}";
    struct cdc_tx_part *parts;
    size_t count = 0;
    int is_copy = 0;
    struct note note = {0};
    cr_assert_eq(cdc_tx_parts_read(slice_of(good), &parts, &count, &is_copy, &note), ERR_NONE);
    cr_assert_eq(count, 2);
    cr_expect_str_eq(parts[0].name, "public.it\"s \t\\");
    cr_expect(parts[0].partition == 7 && parts[0].count == 2 && !is_copy);
    cr_expect_eq(parts[0].offset, UINT64_C(18446744073709551600));
    cdc_tx_parts_free(parts, count);
    struct rng rng = rng_seeded(7);
    for (size_t n = 0; n + 1 < sizeof(good); n++) {
        cr_expect_neq(cdc_tx_parts_read(slice_bytes(good, n), &parts, &count, &is_copy, &note),
                      ERR_NONE, "%zu", n);
        char other[sizeof(good)];
        memcpy(other, good, sizeof(good));
        other[n] = (char)rng_next(&rng); /* read or refused: no third thing */
        if (cdc_tx_parts_read(slice_of(other), &parts, &count, &is_copy, &note) == ERR_NONE) {
            cdc_tx_parts_free(parts, count);
        }
    }
}
