/* SQL of the ledger on shards; ledger_table.h says why it is right. */

#include "txn/ledger_table.h"

#include <inttypes.h>

#include "base/rng.h"

static const char install_sql[] =
    "BEGIN;\n"
    "CREATE SCHEMA IF NOT EXISTS braid;\n"
    "GRANT USAGE ON SCHEMA braid TO PUBLIC;\n"
    "CREATE TABLE IF NOT EXISTS braid.ledger (instance bigint, start bigint, seq bigint, "
    "outcome \"char\" NOT NULL, places bigint[], made timestamptz NOT NULL, alive text[], "
    "PRIMARY KEY (instance, start, seq));\n"
    "CREATE TABLE IF NOT EXISTS braid.ledger_place (one boolean PRIMARY KEY DEFAULT true "
    "CHECK (one), place bigint NOT NULL);\n"
    "INSERT INTO braid.ledger_place (place) VALUES (%" PRIu32 ") ON CONFLICT DO NOTHING;\n"
    "CREATE OR REPLACE FUNCTION braid.decide(i bigint, s bigint, q bigint, here bigint, "
    "others bigint[]) RETURNS void LANGUAGE plpgsql SECURITY DEFINER "
    "SET search_path = pg_catalog, pg_temp AS $braid$\n"
    "BEGIN\n"
    "  IF NOT EXISTS (SELECT FROM braid.ledger_place WHERE place = here) THEN\n"
    "    RAISE EXCEPTION 'pgbraid takes this shard for another one' USING ERRCODE = '40001', "
    "HINT = 'It will know better soon; repeat the transaction.';\n"
    "  END IF;\n"
    "  INSERT INTO braid.ledger (instance, start, seq, outcome, places, made) "
    "VALUES (i, s, q, 'c', others, clock_timestamp()) ON CONFLICT DO NOTHING;\n"
    "  IF NOT FOUND THEN\n"
    "    RAISE EXCEPTION 'recovery has rolled the transaction back' USING ERRCODE = '40001', "
    "HINT = 'Nothing was changed; repeat the transaction.';\n"
    "  END IF;\n"
    "  IF current_setting('synchronous_commit') = 'off' THEN\n"
    "    PERFORM set_config('synchronous_commit', 'on', true);\n"
    "  END IF;\n"
    "END $braid$;\n"
    "COMMIT;\n";

void ledger_table_install(struct buf *out)
{
    uint32_t place = 0;
    while (place == 0) {
        rng_secure(&place, sizeof(place));
    }
    buf_printf(out, install_sql, place);
}

static void put_id(struct buf *out, uint64_t instance, struct txn_id txn, const char *between)
{
    buf_printf(out, "%" PRId64 "%s%" PRId64 "%s%" PRId64, (int64_t)instance, between,
               (int64_t)txn.start, between, (int64_t)txn.seq);
}

void ledger_table_decide(struct buf *out, const struct gid *gid, const uint32_t *places,
                         size_t places_count)
{
    buf_text(out, "SELECT braid.decide(");
    put_id(out, gid->instance, gid->txn, ",");
    buf_printf(out, ",%" PRIu32 ",'{", gid->place);
    for (size_t i = 0; i < places_count; i++) {
        buf_printf(out, i == 0 ? "%" PRIu32 : ",%" PRIu32, places[i]);
    }
    buf_text(out, "}')");
}

void ledger_table_mark(struct buf *out, const struct gid *gid)
{
    buf_text(out, "INSERT INTO braid.ledger (instance, start, seq, outcome, made, alive) SELECT ");
    put_id(out, gid->instance, gid->txn, ", ");
    buf_text(out, ", 'a', pg_catalog.clock_timestamp(), "
                  "(SELECT pg_catalog.array_agg(virtualtransaction) FROM pg_catalog.pg_locks "
                  "WHERE locktype = 'virtualxid') ON CONFLICT DO NOTHING");
}

void ledger_table_ask(struct buf *out, const struct gid *gid)
{
    buf_text(out, "SELECT outcome FROM braid.ledger WHERE (instance, start, seq) = (");
    put_id(out, gid->instance, gid->txn, ", ");
    buf_text(out, ")");
}

void ledger_table_forget(struct buf *out, const struct ledger_forgettable *what)
{
    buf_printf(out,
               "DELETE FROM braid.ledger WHERE instance = %" PRId64 " AND start = %" PRId64
               " AND seq <= %" PRId64 " AND outcome = 'c' AND seq <> ALL ('{",
               (int64_t)what->instance, (int64_t)what->start, (int64_t)what->seq);
    for (size_t i = 0; i < what->count; i++) {
        buf_printf(out, i == 0 ? "%" PRId64 : ",%" PRId64, (int64_t)what->open[i]);
    }
    buf_text(out, "}'::bigint[])");
}

void ledger_table_old(struct buf *out, const struct ledger_forgettable *now)
{
    buf_printf(out,
               "SELECT instance, start, seq, pg_catalog.array_to_string(places, ',') "
               "FROM braid.ledger WHERE outcome = 'c' AND (instance, start) <> (%" PRId64
               ", %" PRId64 ") AND made < pg_catalog.clock_timestamp() - interval '10 seconds' "
               "LIMIT %d",
               (int64_t)now->instance, (int64_t)now->start, LEDGER_OPEN_MAX);
}

void ledger_table_drop(struct buf *out, uint64_t instance, struct txn_id txn)
{
    buf_text(out, "DELETE FROM braid.ledger WHERE outcome = 'c' AND (instance, start, seq) = (");
    put_id(out, instance, txn, ", ");
    buf_text(out, ")");
}
