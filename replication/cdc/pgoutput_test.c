/*
 * Goal: what pgoutput sends is read as it was meant, and bytes that it would not send are refused.
 * Method: messages recorded from PostgreSQL 15 (protocol 3, streaming, two-phase); each of them cut
 * short at every byte, lengthened, and with hostile counts.
 */

#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "base/buf.h"
#include "base/mem.h"
#include "replication/cdc/pgoutput.h"

struct recorded {
    int in_stream;
    const char *hex;
};

/* t (id int primary key, a text, b text), f (id int, a text) with REPLICA IDENTITY FULL */
static const struct recorded recorded[] = {
    {0, "42000000000151e6f8000303bcff17da78000002dc"},
    {0,
     "52000040007075626c69630074006400030169640000000017ffffffff00610000000019ffffffff006200000000"
     "19ffffffff"},
    {0, "49000040004e00037400000001326e7400000000"},
    {0, "4300000000000151e6f8000000000151e728000303bcff17da78"},
    {0, "55000040004e00037400000001317400000003756e6f75"},
    {0, "55000040004b00037400000001326e6e4e00037400000001336e7400000000"},
    {0, "44000040004b00037400000001336e6e"},
    {0, "55000040074f00027400000001317400000001614e0002740000000131740000000162"},
    {0, "44000040074f0002740000000131740000000162"},
    {0, "590000400d7075626c6963006d6f6f6400"},
    {0, "5400000002030000400000004007"},
    {0, "4d0100000000015201e87072650000000004626f6479"},
    {0, "4d00000000000152025068620000000000"},
    {0, "4f000000000000000073686172646d6f766500"},
    {0, "6200000000015204000000000001520500000303bcff18e205000002e7706762726169645f673100"},
    {0, "500000000000015204000000000001520500000303bcff18e205000002e7706762726169645f673100"},
    {0, "4b0000000000015205000000000001520540000303bcff18ec85000002e7706762726169645f673100"},
    {0, "720000000000015206b800000000015206f0000303bcff18ed1e000303bcff19020a000002e8673200"},
    {0, "53000002e901"},
    {1, "52000002e9000040077075626c69630066006600020169640000000017ffffffff01610000000019ffffffff"},
    {1, "49000002eb000040074e000274000000022d3574000000046c617374"},
    {1, "45"},
    {0, "41000002e9000002ea"},
    {0, "63000002e90000000000015637400000000001563778000303bcff1938e0"},
    {0, "70000000000001584f700000000001585068000303bcff195321000002ec673300"},
};

enum {
    RECORDED = sizeof(recorded) / sizeof(recorded[0])
};

static struct arena arena;
static struct note note;

static struct buf unhex(const char *hex)
{
    struct buf b = {0};
    for (; hex[0] != '\0'; hex += 2) {
        unsigned byte;
        cr_assert_eq(sscanf(hex, "%2x", &byte), 1);
        buf_u8(&b, (uint8_t)byte);
    }
    return b;
}

/* A copy of exactly these bytes, so that the address sanitizer sees a step behind them. */
static enum err read_exact(const uint8_t *p, size_t n, int in_stream, struct pgoutput_message *m)
{
    uint8_t *copy = mem_dup(p, n);
    enum err e = pgoutput_read(slice_bytes(copy, n), in_stream, &arena, m, &note);
    mem_free(copy);
    return e;
}

static struct buf kept[RECORDED]; /* what messages are views of */

static struct pgoutput_message read_hex(size_t i, struct buf *bytes)
{
    struct pgoutput_message m;
    buf_free(&kept[i]);
    *bytes = unhex(recorded[i].hex);
    kept[i] = *bytes;
    cr_assert_eq(pgoutput_read(buf_slice(bytes), recorded[i].in_stream, &arena, &m, &note),
                 ERR_NONE, "%zu: %s", i, note.text);
    return m;
}

#define cr_expect_text(slice, text) \
    cr_expect(slice_is(slice, text), "\"" SLICE_FMT "\" is not \"%s\"", SLICE_ARG(slice), text)

Test(pgoutput, a_transaction_of_one_row_is_read)
{
    struct buf b[4];
    struct pgoutput_message begin = read_hex(0, &b[0]);
    cr_expect_eq(begin.type, PGOUTPUT_BEGIN);
    cr_expect_eq(begin.lsn, 0x151e6f8);
    cr_expect_eq(begin.xid, 732);
    cr_expect_eq(begin.time_us, INT64_C(0x000303bcff17da78) + INT64_C(946684800000000));
    struct pgoutput_message r = read_hex(1, &b[1]);
    cr_expect_eq(r.relation.oid, 0x4000);
    cr_expect_text(r.relation.schema, "public");
    cr_expect_text(r.relation.name, "t");
    cr_expect_eq(r.relation.replica_identity, 'd');
    cr_assert_eq(r.relation.n_columns, 3);
    cr_expect_eq(r.relation.columns[0].is_key, 1);
    cr_expect_eq(r.relation.columns[1].is_key, 0);
    cr_expect_eq(r.relation.columns[2].type, 25);
    cr_expect_eq(r.relation.columns[2].typmod, -1);
    struct pgoutput_message i = read_hex(2, &b[2]);
    cr_assert_eq(i.new_tuple.n_columns, 3);
    cr_expect_null(i.old_tuple.columns);
    cr_expect_text(i.new_tuple.columns[0].bytes, "2");
    cr_expect_eq(i.new_tuple.columns[1].kind, VALUE_NULL);
    cr_expect_eq(i.new_tuple.columns[2].kind, VALUE_TEXT);
    cr_expect_eq(i.new_tuple.columns[2].bytes.n, 0);
    struct pgoutput_message c = read_hex(3, &b[3]);
    cr_expect_eq(c.lsn, begin.lsn);
    cr_expect_eq(c.end_lsn, 0x151e728);
    cr_expect_eq(c.time_us, begin.time_us);
}

Test(pgoutput, rows_before_and_after_are_told_apart)
{
    struct buf b[5];
    struct pgoutput_message plain = read_hex(4, &b[0]);
    cr_expect_eq(plain.old_kind, 0);
    cr_expect_eq(plain.new_tuple.columns[2].kind, VALUE_UNCHANGED);
    struct pgoutput_message key = read_hex(5, &b[1]);
    cr_expect_eq(key.old_kind, 'K');
    cr_expect_text(key.old_tuple.columns[0].bytes, "2");
    cr_expect_text(key.new_tuple.columns[0].bytes, "3");
    struct pgoutput_message gone = read_hex(6, &b[2]);
    cr_expect_eq(gone.old_kind, 'K');
    cr_expect_null(gone.new_tuple.columns);
    struct pgoutput_message full = read_hex(7, &b[3]);
    cr_expect_eq(full.old_kind, 'O');
    cr_expect_text(full.old_tuple.columns[1].bytes, "a");
    cr_expect_text(full.new_tuple.columns[1].bytes, "b");
}

Test(pgoutput, truncate_messages_types_and_origins_are_read)
{
    struct buf b[5];
    struct pgoutput_message y = read_hex(9, &b[0]);
    cr_expect_text(y.schema, "public");
    cr_expect_text(y.name, "mood");
    struct pgoutput_message t = read_hex(10, &b[1]);
    cr_assert_eq(t.oids_count, 2);
    cr_expect_eq(t.oids[0], 0x4000);
    cr_expect_eq(t.oids[1], 0x4007);
    cr_expect_eq(t.flags, PGOUTPUT_TRUNCATE_CASCADE | PGOUTPUT_TRUNCATE_RESTART);
    struct pgoutput_message m = read_hex(11, &b[2]);
    cr_expect_eq(m.flags, PGOUTPUT_MESSAGE_TRANSACTIONAL);
    cr_expect_text(m.name, "pre");
    cr_expect_text(m.content, "body");
    struct pgoutput_message h = read_hex(12, &b[3]);
    cr_expect_eq(h.flags, 0);
    cr_expect_eq(h.lsn, 0x1520250);
    struct pgoutput_message o = read_hex(13, &b[4]);
    cr_expect_text(o.name, "shardmove");
}

Test(pgoutput, two_phase_commits_carry_their_names)
{
    for (size_t i = 14; i <= 16; i++) {
        struct buf b;
        struct pgoutput_message m = read_hex(i, &b);
        cr_expect_eq(m.xid, 0x2e7);
        cr_expect_text(m.gid, "pgbraid_g1");
        cr_expect_eq(m.lsn, i == 16 ? 0x1520500 : 0x1520400);
        cr_expect_eq(m.end_lsn, i == 16 ? 0x1520540 : 0x1520500);
    }
    struct buf b;
    struct pgoutput_message r = read_hex(17, &b);
    cr_expect_text(r.gid, "g2");
    cr_expect_eq(r.end_lsn, 0x15206f0);
    cr_expect_eq(r.time_us, pgoutput_time(0x000303bcff19020a));
}

Test(pgoutput, streamed_blocks_carry_transactions_and_parts_of_them)
{
    struct buf b[6];
    struct pgoutput_message s = read_hex(18, &b[0]);
    cr_expect_eq(s.xid, 0x2e9);
    cr_expect_eq(s.flags, 1);
    struct pgoutput_message i = read_hex(20, &b[1]);
    cr_expect_eq(i.xid, 0x2eb);
    cr_expect_eq(i.oid, 0x4007);
    cr_expect_text(i.new_tuple.columns[1].bytes, "last");
    struct pgoutput_message a = read_hex(22, &b[2]);
    cr_expect_eq(a.xid, 0x2e9);
    cr_expect_eq(a.subxid, 0x2ea);
    struct pgoutput_message c = read_hex(23, &b[3]);
    cr_expect_eq(c.xid, 0x2e9);
    cr_expect_eq(c.lsn, 0x1563740);
    struct pgoutput_message p = read_hex(24, &b[4]);
    cr_expect_eq(p.xid, 0x2ec);
    cr_expect_text(p.gid, "g3");
}

Test(pgoutput, an_abort_of_protocol_4_carries_position_and_time)
{
    static const uint8_t abort4[] = {'A', 0, 0, 2, 0xe9, 0, 0, 2, 0xea, 0, 0, 0, 0,
                                     1,   2, 3, 4, 0,    0, 0, 0, 0,    0, 0, 5};
    struct pgoutput_message m;
    cr_expect_eq(read_exact(abort4, sizeof(abort4), 0, &m), ERR_NONE);
    cr_expect_eq(m.subxid, 0x2ea);
    cr_expect_eq(m.lsn, 0x01020304);
    cr_expect_eq(m.time_us, pgoutput_time(5));
    cr_expect_eq(read_exact(abort4, 9, 0, &m), ERR_NONE);
    cr_expect_eq(read_exact(abort4, 17, 0, &m), ERR_SHARD_PROTOCOL);
}

Test(pgoutput, a_message_that_is_cut_or_too_long_is_refused)
{
    for (size_t i = 0; i < RECORDED; i++) {
        struct buf b = unhex(recorded[i].hex);
        struct pgoutput_message m;
        for (size_t n = 0; n < b.n; n++) {
            cr_expect_eq(read_exact(b.p, n, recorded[i].in_stream, &m), ERR_SHARD_PROTOCOL,
                         "message %zu cut to %zu bytes", i, n);
        }
        buf_u8(&b, 0);
        cr_expect_eq(read_exact(b.p, b.n, recorded[i].in_stream, &m), ERR_SHARD_PROTOCOL,
                     "message %zu with a byte more", i);
        buf_free(&b);
    }
}

Test(pgoutput, hostile_counts_lengths_and_kinds_are_refused)
{
    static const struct {
        const char *hex;
        const char *says;
    } cases[] = {
        {"7a", "unknown type 122"},
        {"00", "unknown type 0"},
        {"490000400051", "kind of row at byte 6"},
        {"49000040004b000174000000013100", "kind of row"},
        {"49000040004effff6e", "number of columns"},
        {"49000040004e000174ffffffff31", "column value"},
        {"49000040004e00017400000002"
         "31",
         "column value"},
        {"49000040004e000178", "column kind"},
        {"54ffffffff00", "number of tables"},
        {"5200004000700074006effff", "number of columns"},
        {"44000040004e00016e", "kind of row"},
        {"4d01000000000152000070720000000009626f6479", "content"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf b = unhex(cases[i].hex);
        struct pgoutput_message m;
        cr_expect_eq(read_exact(b.p, b.n, 0, &m), ERR_SHARD_PROTOCOL, "case %zu", i);
        cr_expect_not_null(strstr(note.text, cases[i].says), "%s", note.text);
        buf_free(&b);
    }
}

Test(pgoutput, an_empty_schema_is_the_catalogs_and_binary_values_are_kept_apart)
{
    struct pgoutput_message m;
    struct buf r = unhex("520000400000740064000001");
    r.n -= 1;
    cr_expect_eq(pgoutput_read(buf_slice(&r), 0, &arena, &m, &note), ERR_NONE, "%s", note.text);
    cr_expect_text(m.relation.schema, "pg_catalog");
    cr_expect_eq(m.relation.n_columns, 0);
    buf_free(&r);
    struct buf i = unhex("49000040004e0001620000000400000007");
    cr_expect_eq(pgoutput_read(buf_slice(&i), 0, &arena, &m, &note), ERR_NONE, "%s", note.text);
    cr_expect_eq(m.new_tuple.columns[0].kind, VALUE_BINARY);
    cr_expect_eq(m.new_tuple.columns[0].bytes.n, 4);
    buf_free(&i);
}
