/* Goal: replication commands in all forms that clients of PostgreSQL 10 to 17 send are read as they
 * are meant, and what a stream over shards is not is refused with a word. Method: texts good, bad,
 * cut short and changed at every byte. */

#include <string.h>

#include <criterion/criterion.h>

#include "base/rng.h"
#include "proxy/cdc/slots.h"

static enum err read_call(const char *text, struct slots_call *out, struct arena *arena)
{
    struct note note = {.text = ""};
    cr_assert(slots_wants(slice_of(text)), "%s", text);
    enum err e = slots_read(slice_of(text), arena, out, &note);
    cr_expect(e == ERR_NONE || note.text[0] != 0, "%s", text);
    return e;
}

Test(slots, a_command_is_known_by_its_first_word)
{
    cr_expect(slots_wants(SLICE("IDENTIFY_SYSTEM")));
    cr_expect(slots_wants(SLICE("  identify_system;")));
    cr_expect(slots_wants(SLICE("BASE_BACKUP (LABEL 'x')")));
    cr_expect_not(slots_wants(SLICE("IDENTIFY_SYSTEMS")));
    cr_expect_not(slots_wants(SLICE("SHOW wal_level")));
    cr_expect_not(slots_wants(SLICE("SELECT 1")));
    cr_expect_not(slots_wants(SLICE("")));
}

Test(slots, a_slot_is_created_in_the_forms_of_all_versions)
{
    static const char *const texts[] = {
        "CREATE_REPLICATION_SLOT \"s_1\" LOGICAL \"braid_json\"",
        "CREATE_REPLICATION_SLOT s_1 LOGICAL braid_json NOEXPORT_SNAPSHOT",
        "create_replication_slot \"s_1\" logical \"braid_json\" (SNAPSHOT 'nothing')",
        "CREATE_REPLICATION_SLOT \"s_1\" LOGICAL \"braid_json\" (TWO_PHASE false, SNAPSHOT "
        "'nothing');",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct arena arena = {0};
        struct slots_call c;
        cr_assert_eq(read_call(texts[i], &c, &arena), ERR_NONE, "%s", texts[i]);
        cr_expect_eq(c.command, SLOTS_CREATE);
        cr_expect_str_eq(c.slot, "s_1");
        cr_expect_str_eq(c.plugin, "braid_json");
        arena_free(&arena);
    }
}

Test(slots, a_stream_begins_where_it_is_told)
{
    struct arena arena = {0};
    struct slots_call c;
    cr_assert_eq(read_call("START_REPLICATION SLOT \"a\" LOGICAL 1F/A0", &c, &arena), ERR_NONE);
    cr_expect_eq(c.command, SLOTS_START);
    cr_expect_eq(c.lsn, UINT64_C(0x1F000000A0));
    cr_expect_not(c.no_boundaries);
    cr_assert_eq(
        read_call("START_REPLICATION SLOT a LOGICAL 0/0 (\"transactions\" 'off')", &c, &arena),
        ERR_NONE);
    cr_expect(c.no_boundaries);
    cr_assert_eq(read_call("DROP_REPLICATION_SLOT \"a\" WAIT", &c, &arena), ERR_NONE);
    cr_expect_eq(c.command, SLOTS_DROP);
    arena_free(&arena);
}

Test(slots, what_it_cannot_be_is_refused)
{
    static const char *const bad[] = {
        "IDENTIFY_SYSTEM now",
        "CREATE_REPLICATION_SLOT",
        "CREATE_REPLICATION_SLOT \"\" LOGICAL braid_json",
        "CREATE_REPLICATION_SLOT \"It's\" LOGICAL braid_json",
        "CREATE_REPLICATION_SLOT a123456789b123456789c123456789d123456789e LOGICAL braid_json",
        "CREATE_REPLICATION_SLOT s LOGICAL",
        "CREATE_REPLICATION_SLOT s PHYSICAL RESERVE_WAL",
        "CREATE_REPLICATION_SLOT s TEMPORARY LOGICAL braid_json",
        "CREATE_REPLICATION_SLOT s LOGICAL braid_json EXPORT_SNAPSHOT",
        "CREATE_REPLICATION_SLOT s LOGICAL braid_json (SNAPSHOT 'use')",
        "CREATE_REPLICATION_SLOT s LOGICAL braid_json (TWO_PHASE)",
        "CREATE_REPLICATION_SLOT s LOGICAL braid_json (WHAT)",
        "CREATE_REPLICATION_SLOT s LOGICAL braid_json (",
        "START_REPLICATION 0/0",
        "START_REPLICATION SLOT s PHYSICAL 0/0",
        "START_REPLICATION SLOT s LOGICAL",
        "START_REPLICATION SLOT s LOGICAL 7",
        "START_REPLICATION SLOT s LOGICAL 0/0/0",
        "START_REPLICATION SLOT s LOGICAL 100000000/0",
        "START_REPLICATION SLOT s LOGICAL 0/FFFFFFFFF",
        "START_REPLICATION SLOT s LOGICAL 0/0 (proto_version '1')",
        "START_REPLICATION SLOT s LOGICAL 0/0 (transactions 'on'",
        "START_REPLICATION SLOT s LOGICAL 0/0 (transactions 'on",
        "DROP_REPLICATION_SLOT",
        "DROP_REPLICATION_SLOT s WAIT WAIT",
        "READ_REPLICATION_SLOT s",
        "BASE_BACKUP",
        "TIMELINE_HISTORY 1",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct arena arena = {0};
        struct slots_call c;
        cr_expect_neq(read_call(bad[i], &c, &arena), ERR_NONE, "%s", bad[i]);
        arena_free(&arena);
    }
}

Test(slots, a_text_of_any_length_takes_little_memory)
{
    enum {
        ALL = 1 << 20
    };
    static char text[ALL];
    static const char head[] = "START_REPLICATION SLOT s LOGICAL 0/0 (";
    static const char option[] = "\"transactions\" 'on', ";
    struct arena arena = {0};
    struct slots_call c;
    size_t n = sizeof(head) - 1;
    memcpy(text, head, n);
    for (; n + sizeof(option) < ALL; n += sizeof(option) - 1) {
        memcpy(text + n, option, sizeof(option) - 1);
    }
    cr_expect_eq(read_call(text, &c, &arena), ERR_SYNTAX);
    arena_free(&arena);
}

Test(slots, a_changed_text_is_read_or_refused_and_nothing_else)
{
    static const char good[] =
        "START_REPLICATION SLOT \"s\" LOGICAL 0/16B3748 (\"transactions\" 'o''f')";
    struct rng rng = rng_seeded(5);
    for (size_t n = 0; n + 1 < sizeof(good); n++) {
        struct arena arena = {0};
        struct slots_call c;
        struct note note = {.text = ""};
        char other[sizeof(good)];
        memcpy(other, good, sizeof(good));
        enum err e = slots_read(slice_bytes(good, n), &arena, &c, &note);
        cr_expect(e == ERR_NONE || note.text[0] != 0);
        other[n] = (char)rng_next(&rng);
        e = slots_read(slice_of(other), &arena, &c, &note);
        cr_expect(e == ERR_NONE || note.text[0] != 0);
        arena_free(&arena);
    }
}
