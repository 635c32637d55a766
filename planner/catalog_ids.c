/*
 * braid.next_id(): ids that rise with time, unique over the shards, without asking anybody but the
 * server that draws them. It is a function of every shard, so it is a column default everywhere,
 * also past pgbraid and under several of them.
 *
 *     63 bits: 41 of milliseconds since 2024-01-01 (until 2093), 10 of place, 12 of sequence
 *
 * place is the position of the shard's name among the sorted names of the database: other
 * configurations of the same shards (catalog_placement.c) say the same.
 *
 * The state of a shard is sequence braid.next_id_seq: n = milliseconds << 12 | sequence. An id sets
 * it to the clock if that is further, else to n + 1; more than 4096 in a millisecond, or a clock
 * that went back, borrow from the milliseconds to come. It is read and changed by nobody else, and
 * only under an advisory lock; so n rises strictly, and no two ids of a shard have the same. A
 * sequence is not undone by a rollback, and a crash leaves it where it was or further, unless what
 * drew was not committed.
 *
 * The lock ends with the sub-transaction that took it, which always fails: so it is never held
 * beyond the call, also when that is cancelled anywhere, and holds up no transaction. Who holds it
 * waits for nothing: the lock on the sequence itself is taken before.
 *
 * Source: PostgreSQL, "Explicit Locking", "Advisory Locks" (locks taken after a savepoint that is
 * rolled back are released at once); "Sequence Manipulation Functions".
 */

#include <string.h>

#include "planner/catalog.h"

static const char install_sql[] =
    "DO $ids$ BEGIN\n"
    "PERFORM pg_catalog.pg_advisory_xact_lock(1651663204, 1);\n" /* several of us start at once */
    "IF EXISTS (SELECT FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n "
    "ON n.oid = p.pronamespace WHERE n.nspname = 'braid' AND p.proname = 'next_id' "
    "AND pg_catalog.obj_description(p.oid, 'pg_proc') = 'pgbraid ids 1, place %zu') THEN RETURN; "
    "END IF;\n"
    "CREATE SCHEMA IF NOT EXISTS braid;\n"
    "GRANT USAGE ON SCHEMA braid TO PUBLIC;\n"
    "CREATE SEQUENCE IF NOT EXISTS braid.next_id_seq;\n"
    "GRANT SELECT ON SEQUENCE braid.next_id_seq TO PUBLIC;\n" /* for pg_dump */
    "CREATE OR REPLACE FUNCTION braid.next_id() RETURNS bigint LANGUAGE plpgsql VOLATILE "
    "SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $braid$\n"
    "DECLARE n bigint; t bigint;\n"
    "BEGIN\n"
    "  n := pg_sequence_last_value('braid.next_id_seq');\n"
    "  BEGIN\n"
    "    PERFORM pg_advisory_xact_lock(1651663204, 2);\n"
    "    n := coalesce(pg_sequence_last_value('braid.next_id_seq'), 0);\n"
    "    t := (extract(epoch FROM clock_timestamp()) * 1000 - 1704067200000)::bigint << 12;\n"
    "    IF n < t THEN n := setval('braid.next_id_seq', t);\n"
    "    ELSE n := nextval('braid.next_id_seq'); END IF;\n"
    "    RAISE EXCEPTION USING ERRCODE = 'BRAID';\n"
    "  EXCEPTION WHEN SQLSTATE 'BRAID' THEN NULL;\n"
    "  END;\n"
    "  RETURN ((n >> 12) << 22) | (%zu << 12) | (n & 4095);\n"
    "END $braid$;\n"
    "COMMENT ON FUNCTION braid.next_id() IS 'pgbraid ids 1, place %zu';\n"
    "END $ids$;\n";

void catalog_ids_print(const struct conf_database *db, size_t shard, struct buf *out)
{
    size_t place = 0;
    for (size_t i = 0; i < db->shards_count; i++) {
        place += strcmp(db->shards[i].name, db->shards[shard].name) < 0;
    }
    buf_printf(out, install_sql, place, place, place);
}
